"""Parameters of the estimator: what each may be, which go together, and what random states and devices stand for.

What is wrong with them is told here, before anything is spent.
"""

import math
import os
from collections.abc import Callable
from numbers import Integral
from typing import Any, Protocol

import numpy as np
import torch

from sinkgen._validation import check_boolean, check_choice, check_integer, check_real
from sinkgen.accounting.composition import ACCOUNTANTS
from sinkgen.data.facts import POLICIES
from sinkgen.data.prior import is_prior
from sinkgen.exceptions import BadTypeError, BadValueError
from sinkgen.generators.networks import FACTORIES, OF_IMAGES
from sinkgen.images.augment import AUGMENTATIONS
from sinkgen.ot import BACKENDS
from sinkgen.ot.costs import check_cost, is_plain
from sinkgen.privacy.streams import require_secure
from sinkgen.settings import SETTINGS, Settings, mechanism_of

MECHANISMS = ("auto", *SETTINGS)


class Parameters(Protocol):
    """What :class:`~sinkgen.DPSinkhornGenerator` is given; see there."""

    epsilon: float
    delta: float
    mechanism: str | Settings
    generator: str | Callable
    backend: str
    cost: Any
    schema: Any
    image_shape: tuple[int, ...] | None
    augment: Any
    prior: Any
    classes: Any
    metadata: str
    accountant: str
    max_rows_per_group: int | str | None
    ledger: Any
    device: str
    random_state: Any
    noise_seed: int | None
    secure_noise: bool
    checkpoint_dir: Any
    verbose: int
    callback: Callable | None

    def get_params(self, deep: bool = ...) -> dict[str, Any]:
        """All of them, by name."""


def check_parameters(estimator):
    """Check all parameters, so far as no data are needed for it.

    Parameters
    ----------
    estimator : DPSinkhornGenerator
        Only its parameters are looked at.

    Returns
    -------
    dict
        The settings that are not left to "auto".

    Raises
    ------
    TypeError, ValueError
        The message names the parameter.
    ImportError
        If ``secure_noise`` needs a package that is not there.
    """
    check_real("epsilon", estimator.epsilon, low=0, include_low=False)
    check_real("delta", estimator.delta, low=0, high=1, include_low=False, include_high=False)
    if not isinstance(estimator.mechanism, Settings):
        check_choice("mechanism", estimator.mechanism, MECHANISMS)
    check_choice("backend", estimator.backend, BACKENDS)
    check_choice("metadata", estimator.metadata, POLICIES)
    check_choice("accountant", estimator.accountant, ACCOUNTANTS)
    if not callable(estimator.generator):
        check_choice("generator", estimator.generator, ["auto", "particles", *FACTORIES])
    if mechanism_of(estimator.mechanism) == "batch" and estimator.generator == "particles":
        raise BadValueError(
            "generator='particles' needs mechanism='semidual'; 'batch' trains 'mlp', 'conv' or your own"
        )
    _check_optional("callback", estimator.callback, "callable", callable)
    if not (estimator.augment is None or callable(estimator.augment)):
        check_choice("augment", estimator.augment, ["auto", *AUGMENTATIONS, None])
    _check_optional("prior", estimator.prior, "an array of public records, or a generator with sample", is_prior)
    if estimator.prior is not None and mechanism_of(estimator.mechanism) not in ("auto", "semidual"):
        raise BadValueError("prior needs mechanism='semidual' (or 'auto' with arrays and images)")
    check_cost(estimator.cost)
    if not isinstance(estimator.verbose, (bool, np.bool_)):
        check_integer("verbose", estimator.verbose, low=0)
    if estimator.noise_seed is not None:
        check_integer("noise_seed", estimator.noise_seed, low=0)
    if check_boolean("secure_noise", estimator.secure_noise):
        require_secure()
    _check_optional("ledger", estimator.ledger, "a PrivacyLedger", lambda ledger: hasattr(ledger, "charge"))
    _check_optional("checkpoint_dir", estimator.checkpoint_dir, "a path", lambda it: isinstance(it, (str, os.PathLike)))
    if not (estimator.max_rows_per_group is None or is_auto(estimator.max_rows_per_group)):
        check_integer("max_rows_per_group", estimator.max_rows_per_group, low=1)
    torch_device(estimator.device)
    _check_random_state(estimator.random_state)
    return _check_settings(estimator)


def _check_optional(name, value, what, is_one):
    if not (value is None or is_one(value)):
        raise BadTypeError(f"{name} must be {what} or None, got {type(value).__name__}")


def _check_settings(estimator):
    given = _settings_of_object(estimator) if isinstance(estimator.mechanism, Settings) else _flat_settings(estimator)
    if estimator.augment is None and mechanism_of(estimator.mechanism) in ("auto", "semidual"):
        given["deform"] = False
    return given


def _settings_of_object(estimator):
    mechanism, flat = estimator.mechanism, ("steps", "sampling_rate", "clip", "debias", "reg")
    twice = ", ".join(name for name in flat if not is_auto(getattr(estimator, name)))
    if twice:
        name = type(mechanism).__name__
        raise BadValueError(f"mechanism={name}(...) holds all settings: give {twice} in it, not beside")
    given = mechanism.given()
    if given.get("directions") and estimator.cost != "sqeuclidean":
        raise BadValueError("directions=True needs cost='sqeuclidean': another cost does not survive a rotation")
    if given.get("label_weight", 0) is None and not is_plain(estimator.cost):
        raise BadValueError("label_weight=None needs a cost of the values themselves: 'sqeuclidean', 'l1' or 'l1+l2'")
    if given.get("whole_groups") and estimator.max_rows_per_group is not None:
        raise BadValueError("whole_groups=True counts all rows of a group, by shares: leave max_rows_per_group None")
    return given


def _flat_settings(estimator):
    given = {}
    if not is_auto(estimator.steps):
        given["steps"] = check_integer("steps", estimator.steps, low=1)
    if not is_auto(estimator.sampling_rate):
        rate = check_real("sampling_rate", estimator.sampling_rate, low=0, high=1, include_low=False)
        given["sampling_rate"] = rate
    if not is_auto(estimator.clip):
        given["clip"] = _positive("clip", estimator.clip)
    if not is_auto(estimator.debias):
        given["debias"] = _check_debias(estimator.debias, estimator.mechanism)
    if not is_auto(estimator.reg):
        given["reg"] = _check_reg(estimator.reg, estimator.mechanism)
    return given


def _check_debias(debias, mechanism):
    debias = None if debias is None else check_real("debias", debias, low=0, high=1)
    if mechanism == "batch":
        return debias
    if debias:
        raise BadValueError("debias must be 0, None or 'auto' for mechanism='semidual': its points are free")
    return debias is not None


def _check_reg(reg, mechanism):
    pair = tuple(reg) if isinstance(reg, (tuple, list)) else (reg, reg)
    if len(pair) != 2:
        raise BadValueError("reg must be a number, a pair of numbers or 'auto'")
    pair = tuple(_positive("reg", value) for value in pair)
    if mechanism == "batch" and pair[0] != pair[1]:
        raise BadValueError("reg must be one number for mechanism='batch'")
    return pair[0] if mechanism == "batch" else pair


def _positive(name, value):
    return check_real(name, value, low=0, high=math.inf, include_low=False, include_high=False)


def check_table_parameters(estimator, given):
    """Raise ValueError if a parameter, or one of the settings that :func:`check_parameters` gave, is not for tables."""
    mechanism = mechanism_of(estimator.mechanism)
    if mechanism not in ("auto", "marginals") or estimator.generator not in ("auto", "particles"):
        raise BadValueError("tables need mechanism='marginals' (or 'auto') and generator='auto' or 'particles'")
    is_plain = estimator.augment is None or is_auto(estimator.augment)
    if (
        (given.keys() - {"deform"} and not isinstance(estimator.mechanism, Settings))
        or not is_plain
        or estimator.image_shape is not None
        or estimator.cost != "sqeuclidean"
        or estimator.prior is not None
    ):
        raise BadValueError(
            "steps, sampling_rate, clip, reg, debias, cost, image_shape, augment and prior have no meaning for tables"
        )


def check_array_parameters(estimator, form):
    """Raise an error if a parameter does not go with arrays of this format, or is a factory that does not work."""
    if mechanism_of(estimator.mechanism) == "marginals":
        raise BadValueError("mechanism='marginals' is for tables: give a data frame, or leave mechanism at 'auto'")
    is_image = len(form.network_shape) > 1
    if not (is_image or estimator.augment is None or is_auto(estimator.augment)):
        raise BadValueError("augment varies images; give image_shape, or leave it at 'auto'")
    if not is_image and estimator.generator in OF_IMAGES:
        raise BadValueError(
            f"generator={estimator.generator!r} makes images; give image_shape, or use 'mlp' or 'particles'"
        )


def is_auto(value):
    """Whether a parameter is "auto"; it may be an array or anything else."""
    return isinstance(value, str) and value == "auto"


def torch_device(device):
    """Return the torch device that ``device`` names; "auto" is CUDA where there is one."""
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(device)
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise BadValueError(f"device must be 'auto' or a torch device, got {device!r}") from error


def torch_stream(random_state):
    """Return a torch stream of its own; no global one is read, set or moved."""
    _check_random_state(random_state)
    return torch.Generator().manual_seed(draw_seed(random_state))


def draw_seed(random_state):
    """Return the seed that a checked random state gives; one that is a generator moves on."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0] >> 1)
    if isinstance(random_state, Integral):
        return int(random_state)
    draw = random_state.integers if isinstance(random_state, np.random.Generator) else random_state.randint
    return int(draw(2**31))


def _check_random_state(random_state):
    if isinstance(random_state, Integral):
        check_integer("random_state", random_state, low=0, high=2**64 - 1)
    elif not (random_state is None or isinstance(random_state, (np.random.RandomState, np.random.Generator))):
        raise BadTypeError(
            f"random_state must be an int, RandomState, Generator or None, got {type(random_state).__name__}"
        )
