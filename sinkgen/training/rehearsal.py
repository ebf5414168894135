"""What a fit would do after the charge, done before it on records that are made up of public facts alone.

Whatever fails for every set of records of this format fails here, and costs nothing.
"""

import dataclasses
import json

import numpy as np
import torch

from sinkgen.data.dtypes import NUMERIC
from sinkgen.data.facts import Facts
from sinkgen.data.fine_cells import fine_edges
from sinkgen.data.formats import NumericFormat
from sinkgen.data.joint_columns import JointColumn
from sinkgen.data.labels import label_set
from sinkgen.data.table import TableFormat
from sinkgen.data.table_columns import NumberColumn
from sinkgen.exceptions import BadValueError, DataFreeError
from sinkgen.generators.networks import FACTORIES, make_network
from sinkgen.ot.costs import Cost
from sinkgen.settings.base import AUTO

ROWS = 7  # made-up records; unlike other numbers, so that a shape that is not theirs shows


def rehearse(
    facts: Facts, cost: Cost, generator: object, device: torch.device, augment: object = None, *,
    latent_dim: int | str = AUTO,
) -> None:  # fmt: skip
    """Raise ValueError, naming the parameter, if cost, device, generator, augment or format fail on made-up records.

    Parameters
    ----------
    facts : Facts
    cost : Cost
    generator : str or callable
    device : torch.device
    augment : str, callable or None
    latent_dim : int or "auto"
        Of the generator.
    """
    form = completed(facts.form)
    check_device(device)
    if isinstance(form, TableFormat):
        for possible in (form, completed(facts.form, found=False)):
            starts = np.zeros((ROWS, len(possible.columns)))
            ends = np.array([len(column.cell_states) - 1 for column in possible.columns]) + np.zeros((ROWS, 1))
            for places in (starts, ends):
                _check_decoding(possible, torch.from_numpy(places))
    else:
        records = torch.rand(ROWS, form.n_encoded, generator=torch.Generator().manual_seed(0))
        _check_cost(cost, records)
        _check_generator(generator, form, device, latent_dim)
        _check_augment(augment, form, records)
        for drawn in (records, torch.zeros_like(records), torch.ones_like(records)):
            _check_decoding(form, drawn)
    labels = facts.labels
    if labels is None and facts.y_dtype is not None:
        labels = label_set(["a", "b"] if facts.y_dtype.kind in "OUS" else [0, 1], facts.y_dtype)
    if isinstance(form, TableFormat):
        form.completed(labels).check_rules(are_declared=facts.labels is not None)
    try:
        if labels is not None:
            labels.decode(range(len(labels.classes)))
        json.dumps([form.to_dict(), labels.to_dict() if labels is not None else None])
    except (TypeError, ValueError, OverflowError) as error:
        raise BadValueError("the names of X's columns, or classes, are none that a model can be saved with") from error


def completed(form, *, found=True):
    """The format with something in place of what is to be learned; or, unless ``found``, where no category was."""
    if isinstance(form, NumericFormat):
        return form if form.bounds else form.with_bounds([(0.0, 1.0)] * form.n_groups)
    return form.with_columns([_completed_column(column, found) for column in form.columns])


def _completed_column(column, found):
    if isinstance(column, NumberColumn):
        column = column if column.bounds else column.with_bounds((0.0, 1.0))
        return column if column.edges else column.with_cells(fine_edges(column))
    if column.values is not None:
        return column
    if isinstance(column, JointColumn):
        return column.with_sets([{}] * column.n_sets)
    values = (0, 1) if column.dtype.lower().startswith(NUMERIC) else ("a", "b")
    return dataclasses.replace(column, values=values if found else ())


def check_device(device):
    """Raise ValueError if a torch device is not there, or does not compute."""
    try:
        one = torch.ones(2, 2, device=device)
        works = float((one @ one).sum().cpu()) == 8
    except Exception as error:  # of many kinds, by the device
        raise BadValueError(f"device {str(device)!r} cannot be used here: {type(error).__name__}") from error
    if not works:
        raise BadValueError(f"device {str(device)!r} does not compute")


def _check_cost(cost, records):
    try:
        features, few = cost.embed(records), cost.embed(records[:3])
    except Exception as error:  # of the user's own module
        raise BadValueError(f"cost fails on made-up records of shape {tuple(records.shape)}: {error}") from error
    is_tensor = isinstance(features, torch.Tensor) and isinstance(few, torch.Tensor)
    fits = is_tensor and features.ndim == 2 and len(features) == len(records) and features.is_floating_point()
    if not fits or not bool(features.isfinite().all()):
        raise BadValueError("cost must give finite features of shape (m, k) of m records")
    if len(few) != 3 or not torch.allclose(few, features[:3], rtol=1e-3, atol=1e-5):
        raise BadValueError("cost must map each record on its own: features of some change with the others")


def _check_generator(generator, form, device, latent_dim):
    if not (callable(generator) or generator in FACTORIES):
        return
    random = torch.Generator().manual_seed(0)
    try:
        network = make_network(generator, form.network_shape, 2, random, latent_dim).to(device)
        if next(network.parameters(), None) is None:
            raise BadValueError("generator makes a network without weights: there is nothing to fit")
        drawn = network(network.latents(2, random), torch.tensor([0, 1], device=device))
    except DataFreeError:
        raise
    except Exception as error:  # of the user's own factory
        raise BadValueError(f"generator fails on made-up latents: {type(error).__name__}: {error}") from error
    if not (drawn.is_floating_point() and bool(drawn.isfinite().all())):
        raise BadValueError("generator must draw records that are finite numbers")


def _check_augment(augment, form, records):
    if not callable(augment):
        return
    images = records.view(-1, *form.network_shape)
    try:
        varied = augment(images.clone(), torch.Generator().manual_seed(0))
    except Exception as error:  # of the user's own function
        raise BadValueError(
            f"augment fails on made-up images of shape {tuple(images.shape)}: {type(error).__name__}: {error}"
        ) from error
    fits = isinstance(varied, torch.Tensor) and varied.shape == images.shape and varied.dtype == images.dtype
    if not fits or not bool(varied.isfinite().all()):
        raise BadValueError(f"augment must give finite {images.dtype} of the shape of its images, one for each")


def _check_decoding(form, drawn):
    try:
        records = form.decode(drawn)
        if isinstance(form, TableFormat) and form.frame_kind is not None:
            form.frame_kind.restore(records)
    except Exception as error:
        raise BadValueError(
            f"schema does not go with the dtypes of X: records could not be drawn ({type(error).__name__})"
        ) from error
