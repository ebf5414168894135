"""Records that are made anew, chunk by chunk, at each pass."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from sinkgen.data.check import as_records, check_groups, check_labels
from sinkgen.data.layout import make_layout
from sinkgen.data.table_checks import is_table
from sinkgen.exceptions import BadTypeError, BadValueError


def chunks(make: Callable[[], Iterator[Any]] | Iterable[Any]) -> "Chunks":
    """Records that are made anew, chunk by chunk, at each pass.

    Parameters
    ----------
    make : callable or iterable
        Returns an iterator over the chunks each time it is called; or a list of them. A chunk is an array, a pair
        ``(X, y)`` or triple ``(X, y, groups)`` of arrays (y may be None in it), or a pandas data frame; all have the
        same columns and dtypes, and every pass gives the same records in the same order.

    Returns
    -------
    Chunks
        For ``fit``; with data frames, ``y`` may be the name of the label's column.

    Raises
    ------
    TypeError
        If it is an iterator, which could be read only once.

    Examples
    --------
    >>> import numpy as np, sinkgen
    >>> def make():
    ...     for shard in range(5):
    ...         yield np.random.default_rng(shard).normal(size=(100, 2))
    >>> sinkgen.DPSinkhornGenerator(epsilon=5, schema=(-4, 4)).fit(chunks(make)).sample(3).shape
    (3, 2)
    """
    if isinstance(make, Iterator) or not (callable(make) or hasattr(make, "__iter__")):
        raise BadTypeError(
            "chunks needs a callable that returns a new iterator at each pass, or a list, "
            f"got {type(make).__name__}: a pass would use an iterator up"
        )
    return Chunks(make if callable(make) else partial(iter, make))


class Chunks:
    """What :func:`chunks` returns.

    Parameters
    ----------
    make : callable
    """

    def __init__(self, make):
        self._make = make

    def layout(self, y, groups, as_array):
        """Public facts, of the first chunk."""
        if y is not None and not isinstance(y, str):
            raise BadTypeError("y must be the name of a column, or None where chunks are pairs (X, y)")
        if groups is not None and not isinstance(groups, str):
            raise BadTypeError("groups must be the name of a column, or None where chunks are triples (X, y, groups)")
        first = next(iter(self._make()), None)
        if first is None:
            raise BadValueError("X has 0 records; at least 1 is needed")
        values, labels, ids = _parts(first)
        if y is not None and not is_table(values):
            raise BadTypeError("y names a column, but the chunks are arrays: give pairs (X, y)")
        values = values if is_table(values) else as_records(values)
        y = y if labels is None else check_labels(labels, len(values))
        groups = groups if ids is None else check_groups(ids, len(values))
        return make_layout(values[:0], none_of(y), none_of(groups), as_array=as_array)

    def parts(self, layout):
        """One part, for the number of chunks may tell that of the records: what reads it once, checked."""
        return [partial(self._read, layout)]

    def _read(self, layout):
        for i, chunk in enumerate(self._make()):
            values, labels, groups = _parts(chunk)
            if len(values):
                yield layout.checked(f"chunk {i}", values, labels, groups)


def _parts(chunk):
    """Values, labels and groups."""
    parts = chunk if isinstance(chunk, tuple) and len(chunk) in (2, 3) else (chunk,)
    return (*parts, None, None)[:3]


def none_of(y):
    return y if y is None or isinstance(y, str) else y[:0]
