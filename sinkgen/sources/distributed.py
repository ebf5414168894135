"""Dask: records in the partitions of a cluster, or of the threads of one machine.

A pass sends the query to the workers, once; each partition is encoded and folded where it lies, clipped contributions
are added up in a tree, and one sum comes back to the mechanism, which adds the noise. A partition whose worker dies is
folded again by another, to the same value: what a record adds is a function of the record, of the query, and of the
step's keys.
"""

from dataclasses import dataclass
from typing import Any

import dask
import numpy as np
from dask import delayed

from sinkgen.data.check import check_groups, check_labels
from sinkgen.data.layout import Layout, make_layout
from sinkgen.exceptions import BadTypeError, BadValueError
from sinkgen.records import CHUNK, SPAN, ChunkedSource, joined
from sinkgen.sources.cluster import compute, current_client, futures, held_to, on_cluster, persist
from sinkgen.sources.partitions import Partitions, rows_of

FAN_IN = 8  # results that one task of the tree merges; partitions in memory that one task folds


class DaskSource:
    """Records in the partitions of a Dask collection: a shard each.

    They are computed on a cluster, or by Dask's threads; persisted partitions stay where they are, but for the rows at
    their ends that complete a chunk of a neighbour's; others are read again at each pass.

    Parameters
    ----------
    partitions : Partitions
    functions : sequence of callable
        See :meth:`map`.
    client : distributed.Client, or None
        Of the cluster that all passes run on; None for threads.
    """

    def __init__(self, partitions, functions=(), client=None):
        self._partitions, self._functions, self._client = partitions, tuple(functions), client
        with on_cluster(client):  # there once, not once a pass
            self._known = persist(delayed(_Known(partitions.layout, self._functions), traverse=False))

    def map(self, function):
        """Apply ``function`` at each pass, where the records lie; keep nothing."""
        return DaskSource(self._partitions, (*self._functions, function), self._client)

    def reduce(self, fold, merge, draw=None):
        """See :class:`~sinkgen.records.RecordSource`.

        Raises
        ------
        TypeError, ValueError
            If a partition is not like the others, or a cell cannot be encoded.
        RuntimeError
            If the scheduler is lost, or all workers are.
        """
        with on_cluster(self._client):
            shards = self._partitions.shards(CHUNK if draw is None else SPAN * CHUNK)
            return self._reduced(_Fold(fold, merge, draw), self._by_home(shards))

    def gather(self, draw=None):
        """See :class:`~sinkgen.records.RecordSource`; raises as :meth:`reduce` does."""
        with on_cluster(self._client):
            return self._reduced(_Fold(list, joined, draw), {None: [[shard] for shard in self._partitions.shards()]})

    def _reduced(self, wanted, tasks):
        sent = delayed(wanted, traverse=False)  # a task of its own: to a worker once, and from there to the others
        folds, trees = [], []
        for home, groups in tasks.items():
            with held_to(home):
                own = [delayed(_fold)(sent, self._known, [[s.start, s.pieces] for s in group]) for group in groups]
            folds += own
            # Within a worker first: what crosses the network is one result a worker.
            trees.append(_tree(wanted.merge, own))
        result = compute(_tree(wanted.merge, trees), folds, self._partitions.told(len(folds)))
        if isinstance(result, _Refused):
            raise result.error
        return result

    def _by_home(self, shards):
        """Shards that a task folds, for each worker: few where they are in memory, as each task is some messages."""
        homes = self._partitions.homes()
        threads = self._partitions.client.nthreads() if any(homes) else {}
        by_home: dict = {}
        for shard in shards:
            by_home.setdefault(homes[shard.home], []).append(shard)
        tasks = {}
        for home, own in by_home.items():
            size = 1 if home is None else min(FAN_IN, -(-len(own) // threads.get(home, 1)))
            tasks[home] = [own[first : first + size] for first in range(0, len(own), size)]
        return tasks


@dataclass(frozen=True)  # no tuple: Dask takes one with a callable for a task
class _Known:
    """What all passes need."""

    layout: Layout
    functions: tuple


@dataclass(frozen=True)
class _Fold:
    """What a pass is for."""

    fold: Any
    merge: Any
    draw: Any


@dataclass(frozen=True)
class _Refused:
    """An error that came up on a worker; returned, for a worker that raises writes its arguments into its log."""

    error: Exception


def _tree(merge, results):
    while len(results) > 1:
        groups = [results[first : first + FAN_IN] for first in range(0, len(results), FAN_IN)]
        results = [delayed(_merge)(merge, group) for group in groups]
    return results[0]


def _fold(wanted, known, shards):
    try:
        return wanted.merge([_fold_shard(wanted, known, *shard) for shard in shards])
    except (TypeError, ValueError) as error:
        return _Refused(error.with_traceback(None))


def _fold_shard(wanted, known, start, pieces):
    def read():
        for i, low, high, pair in pieces:
            yield known.layout.checked(f"partition {i}", *rows_of(pair, low, high))

    return wanted.fold(ChunkedSource(read, known.functions, start).chunks(wanted.draw))


def _merge(merge, results):
    refused = [result for result in results if isinstance(result, _Refused)]
    return refused[0] if refused else merge(results)


def _delayed_partitions(collection):
    # What is optimised no longer knows the futures of persisted partitions.
    parts = collection.to_delayed(optimize_graph=not futures(collection))
    return parts.ravel().tolist() if hasattr(parts, "ravel") else parts


def open_dask(X, y, groups, as_array, watch=iter):
    """The source, and the layout, of a Dask collection; nothing is computed.

    Parameters
    ----------
    X : dask.dataframe.DataFrame, or dask.array.Array of 2 to 4 dimensions
    y, groups : str, array, dask.array.Array, dask.dataframe.Series, or None
    as_array : bool
    watch : callable
        See :func:`sinkgen.sources.open.open_records`.

    Raises
    ------
    TypeError
        If ``X`` is another collection.
    ValueError
        If ``y`` or ``groups`` has not the partitions of ``X``.
    """
    if hasattr(type(X), "columns"):
        template, chunks, sizes = X._meta.iloc[:0], _delayed_partitions(X), None
    elif hasattr(type(X), "rechunk"):
        X = X.rechunk({axis: -1 for axis in range(1, X.ndim)})
        template, chunks = np.empty((0, *X.shape[1:]), X.dtype), _delayed_partitions(X)
        sizes = None if np.isnan(X.chunks[0]).any() else X.chunks[0]
    else:
        raise BadTypeError(f"X must be a dask.array or a dask.dataframe, got {type(X).__name__}")
    labels, y = _partitions_of("y", check_labels, X, y, len(chunks))
    ids, groups = _partitions_of("groups", check_groups, X, groups, len(chunks))
    groups = groups if groups is None or isinstance(groups, str) else check_groups(groups, 0)
    layout = make_layout(template, y, groups, as_array=as_array)
    return DaskSource(Partitions(chunks, labels, layout, sizes, watch, ids), client=current_client()), layout


def _partitions_of(what, check, X, y, n):
    """Partitions of labels or ids, and those of no record; where they are a column, None and its name."""
    if y is None or isinstance(y, str):
        return None, y
    if not dask.is_dask_collection(y):
        if not hasattr(X, "rechunk"):
            raise BadTypeError(f"{what} must be the name of a column, or a Dask collection with the partitions of X")
        import dask.array as da

        y = da.from_array(check(y, len(X)), chunks=(X.chunks[0],))
    if hasattr(y, "rechunk") and hasattr(X, "rechunk") and not np.isnan([*y.chunks[0], *X.chunks[0]]).any():
        if len(y) != len(X):
            raise BadValueError(f"{what} must hold one entry for each record of X")
        y = y.rechunk((X.chunks[0],))
    parts = _delayed_partitions(y)
    if len(parts) != n:
        raise BadValueError(f"{what} must have the partitions of X: it has {len(parts)}, X has {n}")
    return parts, np.asarray(y._meta)[:0]
