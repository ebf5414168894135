"""Draws from saved models by numpy alone: no torch, no scikit-learn, no pandas is imported.

For where only sampling is wanted: a web service, a small machine, a command that must answer at once. Models of arrays,
images and tables can be drawn from, unless a network was trained of them, or a table has rules, keys or groups.
:meth:`sinkgen.DPSinkhornGenerator.save` with ``compact=True`` makes them small.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path as Folder
from typing import Any

import numpy as np
from safetensors.numpy import load as load_tensors

from sinkgen._types import Path
from sinkgen._validation import check_integer
from sinkgen.data.table_columns import CategoryColumn, NumberColumn
from sinkgen.exceptions import BadValueError
from sinkgen.lite.field import Field
from sinkgen.lite.mixture import Mixture, stratified
from sinkgen.lite.points import Points
from sinkgen.lite.tensors import restored

__all__ = ["Model", "load"]

COLUMNS: dict[str, Any] = {kind.__name__: kind for kind in (NumberColumn, CategoryColumn)}


def load(path: Path) -> "Model":
    """Read a model that :meth:`sinkgen.DPSinkhornGenerator.save` wrote. Executes nothing.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Model

    Raises
    ------
    FileNotFoundError
        If there is no model at ``path``.
    ValueError
        If the files are damaged, or the model is one that needs torch: a network, or a table that has rules, keys or
        groups.

    Examples
    --------
    >>> import tempfile
    >>> from sinkgen import DPSinkhornGenerator, lite
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     DPSinkhornGenerator(epsilon=5, schema=(-4, 4)).fit(X).save(folder, compact=True)
    ...     lite.load(folder).sample(3).shape
    (3, 2)
    """
    text, blob = ((Folder(path) / name).read_bytes() for name in ("model.json", "model.safetensors"))
    try:
        content = json.loads(text)
        if content["tensors_sha256"] != hashlib.sha256(blob).hexdigest():
            raise BadValueError("the tensors are not those that it was written with")
        if content["own_generator"]:
            raise BadValueError("it draws by a network: sinkgen.DPSinkhornGenerator.load reads it")
        tensors = load_tensors(blob)
        weights = tensors.pop("class_weights").astype(np.float64)
        own = {name.removeprefix("release."): value for name, value in tensors.items() if name.startswith("release.")}
        tensors = restored(own)
        form, labels = content["form"], content["labels"]
        if form.get("arrangement") is not None or form.get("group"):
            raise BadValueError("its table has rules, keys or groups: sinkgen.DPSinkhornGenerator.load reads it")
        if any(_is_written(column) for column in form.get("columns", ())):
            raise BadValueError(
                "its table has numbers or dates as text or objects: sinkgen.DPSinkhornGenerator.load reads it"
            )
        draws: Points | Mixture | Field
        if {"points", "basis"} <= set(tensors):
            draws = Points(tensors, form.get("image_shape"))
        elif {"frequencies", "tilt"} <= set(tensors):
            draws = Mixture(tensors)
        elif {"cliques", "population"} <= set(tensors):
            draws = Field(tensors)
        else:
            raise BadValueError("it is of an older version: sinkgen.DPSinkhornGenerator.load reads it")
        return Model(draws, weights, form, labels)
    except BadValueError as error:
        raise BadValueError(f"{path}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadValueError(f"{path} holds no readable model: {type(error).__name__}") from error


def _is_written(column):
    """Whether numbers or dates of a column stand in it as text or objects."""
    is_text = column.get("format") or column.get("decimal") or column["dtype"] == "object"
    return column["type"] == "NumberColumn" and bool(is_text)


class Model:
    """A saved model that numpy draws from; :func:`load` makes it.

    Parameters
    ----------
    draws : Points, Mixture or Field
    class_weights : ndarray of shape (n_classes,)
    form, labels : dict
        As ``model.json`` has them; ``labels`` is None without labels.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,), or None
        Labels that the model knows.

    Examples
    --------
    See :func:`load`, and

    >>> import tempfile
    >>> from sinkgen import DPSinkhornGenerator, lite
    >>> gen = DPSinkhornGenerator(epsilon=9, schema=(0, 1), classes=["no", "yes"])
    >>> gen = gen.fit(np.random.default_rng(0).random((500, 2)), np.repeat(["no", "yes"], 250))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     gen.save(folder)
    ...     lite.load(folder).classes_.tolist()
    ['no', 'yes']
    """

    def __init__(
        self, draws: Points | Mixture | Field, class_weights: np.ndarray, form: Mapping[str, Any], labels: Any
    ) -> None:
        self._draws, self._weights, self._form = draws, class_weights, form
        self.classes_ = None if labels is None else np.array(labels["classes"], dtype=labels["dtype"])

    def sample(self, n_samples: int = 1, y: Any = None, random_state: int | None = None) -> Any:
        """Draw synthetic records, as :meth:`sinkgen.DPSinkhornGenerator.sample` does.

        Parameters
        ----------
        n_samples : int
            Not used where ``y`` is given.
        y : array of shape (n,), optional
            Labels of the records wanted, in that order.
        random_state : int, optional
            Without one, every call draws other records.

        Returns
        -------
        X : ndarray, or for tables a dict of ndarrays (n,) by column
            ``pandas.DataFrame(X)`` makes a data frame of a dict. Missing numbers are nan, dates ``datetime64[s]``.
        y : ndarray of shape (n,)
            Only if the model has labels.

        Raises
        ------
        ValueError
            If ``n_samples`` is not positive, or ``y`` holds a label that the model does not know.

        Examples
        --------
        See :func:`load`.

        >>> import tempfile
        >>> from sinkgen import DPSinkhornGenerator, lite
        >>> gen = DPSinkhornGenerator(epsilon=9, schema=(0, 1)).fit(np.random.default_rng(0).random((500, 2)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     gen.save(folder)
        ...     lite.load(folder).sample(4, random_state=0).shape
        (4, 2)
        """
        random = np.random.default_rng(random_state)
        if y is None:
            n = check_integer("n_samples", n_samples, low=1)
            codes = random.permutation(stratified(self._weights, n, random))
        else:
            codes = self._codes(np.asarray(y))
        X = self._decoded(self._draws.draw(codes, random))
        return X if self.classes_ is None else (X, self.classes_[codes])

    def _codes(self, y):
        if self.classes_ is None:
            raise BadValueError("y was given, but the model has no labels")
        places = {label: code for code, label in enumerate(self.classes_.tolist())}
        codes = np.array([places.get(label, -1) for label in y.tolist()], dtype=np.int64)
        if (codes < 0).any() or not len(codes):
            raise BadValueError(f"y holds labels that the model does not know; it knows {list(places)}")
        return codes

    def _decoded(self, drawn):
        form = self._form
        if "columns" in form:
            columns = [_column(state) for state in form["columns"]]
            return {column.name: _cells(column, places) for column, places in zip(columns, drawn.T, strict=True)}
        image = form.get("image_shape")
        shape = image if image and not form.get("as_rows") else [drawn.shape[1]]
        bounds = np.array(form["bounds"], dtype=np.float64)
        low, high = bounds[:, :1], bounds[:, 1:]
        values = low + drawn.astype(np.float64).reshape(len(drawn), len(bounds), -1).clip(0, 1) * (high - low)
        dtype = np.dtype(form["dtype"])
        if dtype.kind != "f":
            values = np.clip(np.rint(values), np.ceil(low), np.floor(high))
        assert math.prod(shape) == drawn.shape[1]
        return values.reshape(len(drawn), *shape).astype(dtype)


def _column(state):
    state = dict(state)
    kind = COLUMNS[state.pop("type")]
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in state.items()})


def _cells(column, places):
    if isinstance(column, CategoryColumn):
        cells = column.cells_at(places)
        return cells if any(cell is None or isinstance(cell, str) for cell in cells) else np.array(cells.tolist())
    numbers, missing = column.numbers_at(places), column.missing_at(places)
    if column.kind == "datetime":
        dates = np.floor(numbers).astype(np.int64).astype("datetime64[s]")
        dates[missing] = np.datetime64("NaT")
        return dates
    if missing.any():
        return np.where(missing, np.nan, numbers)
    return numbers.astype(np.int64) if column.kind == "integer" else numbers
