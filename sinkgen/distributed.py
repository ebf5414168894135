"""Dask: records in the partitions of a cluster, or of the threads of one machine.

A pass sends the query to the workers, once; each partition is encoded and folded where it lies, clipped contributions
are added up in a tree, and one sum comes back to the mechanism, which adds the noise. A partition whose worker dies is
folded again by another, to the same value: what a record adds is a function of the record, of the query, and of the
step's keys.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dask
import numpy as np
from dask import delayed

from sinkgen.data.check import check_labels
from sinkgen.data.layout import Layout, make_layout
from sinkgen.sampling import ChunkedSource

FAN_IN = 8  # results that one task of the tree merges

LOST = (
    "the connection to the Dask scheduler was lost in the middle of a pass. What this fit may release was charged "
    "before its first pass and stays charged; nothing of this pass was released. Fit again on a running cluster"
)


class Partitions:
    """The partitions of a Dask collection.

    Parameters
    ----------
    chunks : list of Delayed
        Data frames or arrays.
    labels : list of Delayed, or None
        An array or series of labels each, where they do not lie in the frames.
    layout : Layout
    """

    def __init__(self, chunks, labels, layout):
        self.chunks, self.labels, self.layout = chunks, labels, layout

        self._futures = [_futures(list(chunk.__dask_optimize__(chunk.dask, [chunk.key]).values())) for chunk in chunks]

    def __len__(self):
        return len(self.chunks)

    def __iter__(self):
        return zip(self.chunks, self.labels or [None] * len(self), strict=True)

    def homes(self):
        """Address of a worker that holds each partition now; None where none does."""
        firsts = [futures[0] if futures else None for futures in self._futures]
        persisted = [future for future in firsts if future is not None]
        places = persisted[0].client.who_has(persisted) if persisted else {}
        found = [None if future is None else places.get(future.key) for future in firsts]
        return [sorted(workers)[0] if workers else None for workers in found]

    @cached_property
    def starts(self):
        """Position of the first record of each partition among all."""
        sizes = _compute(delayed([delayed(len)(chunk) for chunk in self.chunks]))
        return np.cumsum([0, *sizes[:-1]]).tolist()


class DaskSource:
    """Records in the partitions of a Dask collection: a shard each.

    They are computed on the current ``distributed.Client``, or else by Dask's threads; persisted partitions stay where
    they are, others are read again at each pass.

    Parameters
    ----------
    partitions : Partitions
    functions : sequence of callable
        See :meth:`map`.
    """

    def __init__(self, partitions, functions=()):
        self._partitions, self._functions = partitions, tuple(functions)
        # On the cluster once, not once a pass.
        self._known = _persist(delayed(_Known(partitions.layout, self._functions), traverse=False))

    def map(self, function):
        """Apply ``function`` at each pass, where the records lie; keep nothing."""
        return DaskSource(self._partitions, (*self._functions, function))

    def reduce(self, fold, merge, draw=None):
        """See :class:`~sinkgen.sampling.RecordSource`.

        Raises
        ------
        TypeError, ValueError
            If a partition is not like the others, or a cell cannot be encoded.
        RuntimeError
            If the scheduler is lost.
        """
        wanted = delayed(_as_is)(delayed(_Pass(fold, draw), traverse=False))
        starts = [0] * len(self._partitions) if draw is None else self._partitions.starts
        homes = self._partitions.homes()
        by_home: dict = {}
        for i, (start, home, (chunk, labels)) in enumerate(zip(starts, homes, self._partitions, strict=True)):
            with _held_to(home):
                result = delayed(_fold)(wanted, self._known, i, start, chunk, labels)
            by_home.setdefault(home, []).append(result)
        # Within a worker first: what crosses the network is one result a worker.
        result = _compute(_tree(merge, [_tree(merge, results) for results in by_home.values()]))
        if isinstance(result, _Refused):
            raise result.error
        return result


@dataclass(frozen=True)  # no tuple: Dask takes one with a callable for a task
class _Known:
    """What all passes need."""

    layout: Layout
    functions: tuple


@dataclass(frozen=True)
class _Pass:
    """What a pass is for."""

    fold: Any
    draw: Any


@dataclass(frozen=True)
class _Refused:
    """An error that came up on a worker; returned, for a worker that raises writes its arguments into its log."""

    error: Exception


def _tree(merge, results):
    while True:
        groups = [results[first : first + FAN_IN] for first in range(0, len(results), FAN_IN)]
        results = [delayed(_merge)(merge, group) for group in groups]
        if len(results) == 1:
            return results[0]


def _as_is(value):
    return value


def _fold(wanted, known, i, start, chunk, labels):
    try:
        records = known.layout.checked(f"partition {i}", chunk, labels)
        source = ChunkedSource(lambda: iter([records] if len(records) else []), known.functions, start)
        return wanted.fold(source.chunks(wanted.draw))
    except (TypeError, ValueError) as error:
        return _Refused(error.with_traceback(None))


def _merge(merge, results):
    refused = [result for result in results if isinstance(result, _Refused)]
    return refused[0] if refused else merge(results)


def _futures(collection):
    try:
        from distributed import futures_of
    except ImportError:  # Dask's threads alone
        return []
    return futures_of(collection)


def _delayed_partitions(collection):
    # What is optimised no longer knows the futures of persisted partitions.
    parts = collection.to_delayed(optimize_graph=not _futures(collection))
    return parts.ravel().tolist() if hasattr(parts, "ravel") else parts


def _held_to(worker):
    # Preferred, not required: where a worker has died, another reads the partition.
    return nullcontext() if worker is None else dask.annotate(workers=[worker], allow_other_workers=True)


def _persist(value):
    return dask.persist(value)[0]


def _compute(value):
    try:
        return dask.compute(value)[0]
    except Exception as error:
        if type(error).__module__.split(".")[0] == "distributed" and _is_lost():
            raise RuntimeError(LOST) from error
        raise


def _is_lost():
    from distributed import get_client

    try:
        return get_client().status != "running"
    except ValueError:  # there is none any more
        return True


def open_dask(X, y, as_array):
    """The source, and the layout, of a Dask collection; nothing is computed.

    Parameters
    ----------
    X : dask.dataframe.DataFrame, or dask.array.Array of 2 to 4 dimensions
    y : str, array, dask.array.Array, dask.dataframe.Series, or None
    as_array : bool

    Raises
    ------
    TypeError
        If ``X`` is another collection.
    ValueError
        If ``y`` has not the partitions of ``X``.
    """
    if hasattr(type(X), "columns"):
        template, chunks = X._meta.iloc[:0], _delayed_partitions(X)
    elif hasattr(type(X), "rechunk"):
        X = X.rechunk({axis: -1 for axis in range(1, X.ndim)})
        template, chunks = np.empty((0, *X.shape[1:]), X.dtype), _delayed_partitions(X)
    else:
        raise TypeError(f"X must be a dask.array or a dask.dataframe, got {type(X).__name__}")
    if y is None or isinstance(y, str):
        layout, labels = make_layout(template, y, as_array=as_array), None
    else:
        labels, empty = _label_partitions(X, y, len(chunks))
        layout = make_layout(template, empty, as_array=as_array)
    return DaskSource(Partitions(chunks, labels, layout)), layout


def _label_partitions(X, y, n):
    if not dask.is_dask_collection(y):
        if not hasattr(X, "rechunk"):
            raise TypeError("y must be the name of a column, or a Dask collection with the partitions of X")
        import dask.array as da

        y = da.from_array(check_labels(y, len(X)), chunks=(X.chunks[0],))
    if hasattr(y, "rechunk") and hasattr(X, "rechunk") and not np.isnan([*y.chunks[0], *X.chunks[0]]).any():
        if len(y) != len(X):
            raise ValueError("y must hold one label for each record of X")
        y = y.rechunk((X.chunks[0],))
    parts = _delayed_partitions(y)
    if len(parts) != n:
        raise ValueError(f"y must have the partitions of X: it has {len(parts)}, X has {n}")
    return parts, np.asarray(y._meta)[:0]
