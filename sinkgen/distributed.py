"""Dask: records in the partitions of a cluster, or of the threads of one machine.

A pass sends the query to the workers, once; each partition is encoded and folded where it lies, clipped contributions
are added up in a tree, and one sum comes back to the mechanism, which adds the noise. A partition whose worker dies is
folded again by another, to the same value: what a record adds is a function of the record, of the query, and of the
step's keys. Partitions are folded in chunks that begin where those of memory do, so the sum is that of memory too.
"""

import itertools
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import dask
import numpy as np
from dask import delayed
from dask.callbacks import Callback

from sinkgen.data.check import check_labels
from sinkgen.data.layout import Layout, make_layout
from sinkgen.sampling import CHUNK, ChunkedSource, joined

FAN_IN = 8  # results that one task of the tree merges; partitions in memory that one task folds

LOST = (
    "the connection to the Dask scheduler was lost in the middle of a pass. What this fit may release was charged "
    "before its first pass and stays charged; nothing of this pass was released. Fit again on a running cluster"
)


class Shard(NamedTuple):
    """A run of records that begins, and but for the last of all ends, where a chunk does.

    Attributes
    ----------
    start : int
        Position of its first record among all.
    home : int
        Number of the partition that holds most of it.
    pieces : list
        For each partition with a part of it: number, first row, one after the last, and a pair of a chunk and its
        labels, whatever Dask makes of them.
    """

    start: int
    home: int
    pieces: list


class Partitions:
    """The partitions of a Dask collection.

    Parameters
    ----------
    chunks : list of Delayed
        Data frames or arrays.
    labels : list of Delayed, or None
        An array or series of labels each, where they do not lie in the frames.
    layout : Layout
    sizes : list of int, or None
        Records of each, if that is known.
    """

    def __init__(self, chunks, labels, layout, sizes=None):
        self.chunks, self.labels, self.layout, self._sizes = chunks, labels, layout, sizes
        self._futures = [_futures(list(chunk.__dask_optimize__(chunk.dask, [chunk.key]).values())) for chunk in chunks]

    def __len__(self):
        return len(self.chunks)

    @property
    def client(self):
        """Of the cluster that holds partitions in memory; None where none does."""
        return next((futures[0].client for futures in self._futures if futures), None)

    def homes(self):
        """Address of a worker that holds each partition now; None where none does."""
        if self.client is None:
            return [None] * len(self)
        places = self.client.who_has([futures[0] for futures in self._futures if futures])
        found = [places.get(futures[0].key) if futures else None for futures in self._futures]
        return [sorted(workers)[0] if workers else None for workers in found]

    @cached_property
    def shards(self):
        """Each partition, but with the ends of its neighbours moved to where a chunk begins."""
        places = np.cumsum([0, *self._counted()])
        inner = (CHUNK * np.round(places[1:-1] / CHUNK)).astype(int)
        starts = np.unique([0, *inner[inner < places[-1]]])
        cuts: list[list] = [[] for _ in starts]
        for low, high in itertools.pairwise(np.unique([*places, *starts]).tolist()):
            i, shard = (int(np.searchsorted(ends, low, "right")) - 1 for ends in (places, starts))
            cuts[shard].append((i, low - int(places[i]), high - int(places[i])))
        homes = self.homes()
        return [self._shard(start, pieces, homes) for start, pieces in zip(starts.tolist(), cuts, strict=True)]

    def _counted(self):
        """Records of each partition."""
        if self._sizes is not None:
            return self._sizes
        sizes = _compute(delayed([delayed(_lengths)(*self._pair(i)) for i in range(len(self))]))
        for i, (n, n_labels) in enumerate(sizes):
            if n_labels not in (None, n):
                raise ValueError(f"y must hold one label for each record of X; in partition {i} it does not")
        return [n for n, _ in sizes]

    def _shard(self, start, pieces, homes):
        home = max(pieces, key=lambda piece: piece[2] - piece[1], default=(0,))[0]
        brought = [
            [i, low, high, self._pair(i)] if i == home else [i, 0, high - low, self._moved(i, low, high, homes[home])]
            for i, low, high in pieces
        ]
        return Shard(start, home, brought)

    def _pair(self, i):
        return [self.chunks[i], None if self.labels is None else self.labels[i]]

    def _moved(self, i, low, high, home):
        """Rows of another partition; they alone travel, and but once where that is in memory."""
        rows = delayed(_rows)(self._pair(i), low, high)
        if not self._futures[i]:
            return rows
        with _held_to(home):
            return _persist(delayed(_as_is)(rows))


class DaskSource:
    """Records in the partitions of a Dask collection: a shard each.

    They are computed on the current ``distributed.Client``, or else by Dask's threads; persisted partitions stay where
    they are, but for the rows at their ends that complete a chunk of a neighbour's; others are read again at each pass.

    Parameters
    ----------
    partitions : Partitions
    functions : sequence of callable
        See :meth:`map`.
    watch : callable
        Wraps the partitions' numbers, once a pass, as far as they are done.
    """

    def __init__(self, partitions, functions=(), watch=iter):
        self._partitions, self._functions, self._watch = partitions, tuple(functions), watch
        # On the cluster once, not once a pass.
        self._known = _persist(delayed(_Known(partitions.layout, self._functions), traverse=False))

    def map(self, function):
        """Apply ``function`` at each pass, where the records lie; keep nothing."""
        return DaskSource(self._partitions, (*self._functions, function), self._watch)

    def reduce(self, fold, merge, draw=None):
        """See :class:`~sinkgen.sampling.RecordSource`.

        Raises
        ------
        TypeError, ValueError
            If a partition is not like the others, or a cell cannot be encoded.
        RuntimeError
            If the scheduler is lost.
        """
        return self._reduced(_Pass(fold, merge, draw), self._by_home())

    def gather(self, draw=None):
        """See :class:`~sinkgen.sampling.RecordSource`; raises as :meth:`reduce` does."""
        return self._reduced(_Pass(list, joined, draw), {None: [[shard] for shard in self._partitions.shards]})

    def _reduced(self, wanted, tasks):
        sent = delayed(wanted, traverse=False)  # a task of its own: to a worker once, and from there to the others
        folds, trees = [], []
        for home, groups in tasks.items():
            with _held_to(home):
                own = [delayed(_fold)(sent, self._known, [[s.start, s.pieces] for s in group]) for group in groups]
            folds += own
            # Within a worker first: what crosses the network is one result a worker.
            trees.append(_tree(wanted.merge, own))
        result = _compute(_tree(wanted.merge, trees), folds, _Told(self._watch, len(self._partitions), len(folds)))
        if isinstance(result, _Refused):
            raise result.error
        return result

    def _by_home(self):
        """Shards that a task folds, for each worker: few where they are in memory, as each task is some messages."""
        shards, homes = self._partitions.shards, self._partitions.homes()
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
class _Pass:
    """What a pass is for."""

    fold: Any
    merge: Any
    draw: Any


class _Told:
    """Tells of the partitions one by one while folds end: as many as there are, however the folds share them."""

    def __init__(self, watch, n_partitions, n_folds):
        self._partitions = iter(watch(range(n_partitions)))
        self._due = iter(np.diff(np.arange(n_folds + 1) * n_partitions // n_folds).tolist())
        next(self._partitions)

    def __call__(self):
        for _ in range(next(self._due, 0)):
            next(self._partitions, None)


@dataclass(frozen=True)
class _Refused:
    """An error that came up on a worker; returned, for a worker that raises writes its arguments into its log."""

    error: Exception


def _tree(merge, results):
    while len(results) > 1:
        groups = [results[first : first + FAN_IN] for first in range(0, len(results), FAN_IN)]
        results = [delayed(_merge)(merge, group) for group in groups]
    return results[0]


def _as_is(value):
    return value


def _lengths(chunk, labels):
    return len(chunk), None if labels is None else len(labels)


def _rows(pair, low, high):
    return [part.iloc[low:high] if hasattr(part, "iloc") else part if part is None else part[low:high] for part in pair]


def _fold(wanted, known, shards):
    try:
        return wanted.merge([_fold_shard(wanted, known, *shard) for shard in shards])
    except (TypeError, ValueError) as error:
        return _Refused(error.with_traceback(None))


def _fold_shard(wanted, known, start, pieces):
    def read():
        for i, low, high, pair in pieces:
            yield known.layout.checked(f"partition {i}", *_rows(pair, low, high))

    return wanted.fold(ChunkedSource(read, known.functions, start).chunks(wanted.draw))


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


def _compute(value, parts=(), told=None):
    """The value; ``told()`` is called as each of the parts, which it is made of, is there."""
    client = _client()
    try:
        if client is None:
            keys = {part.key for part in parts}
            with Callback(posttask=lambda key, *_: told() if key in keys else None):
                return dask.compute(value)[0]
        whole, *futures = client.compute([value, *parts])
        for _ in _as_completed(futures):
            told()
        return whole.result()
    except Exception as error:
        if type(error).__module__.split(".")[0] == "distributed" and _is_lost():
            raise RuntimeError(LOST) from error
        raise


def _client():
    """The client of the cluster that Dask computes on; None where it does on threads."""
    return getattr(dask.base.get_scheduler(), "__self__", None)


def _as_completed(futures):
    from distributed import as_completed

    return as_completed(futures)


def _is_lost():
    from distributed import get_client

    try:
        return get_client().status != "running"
    except ValueError:  # there is none any more
        return True


def open_dask(X, y, as_array, watch=iter):
    """The source, and the layout, of a Dask collection; nothing is computed.

    Parameters
    ----------
    X : dask.dataframe.DataFrame, or dask.array.Array of 2 to 4 dimensions
    y : str, array, dask.array.Array, dask.dataframe.Series, or None
    as_array : bool
    watch : callable
        See :func:`sinkgen.sources.open_records`.

    Raises
    ------
    TypeError
        If ``X`` is another collection.
    ValueError
        If ``y`` has not the partitions of ``X``.
    """
    if hasattr(type(X), "columns"):
        template, chunks, sizes = X._meta.iloc[:0], _delayed_partitions(X), None
    elif hasattr(type(X), "rechunk"):
        X = X.rechunk({axis: -1 for axis in range(1, X.ndim)})
        template, chunks = np.empty((0, *X.shape[1:]), X.dtype), _delayed_partitions(X)
        sizes = None if np.isnan(X.chunks[0]).any() else X.chunks[0]
    else:
        raise TypeError(f"X must be a dask.array or a dask.dataframe, got {type(X).__name__}")
    if y is None or isinstance(y, str):
        layout, labels = make_layout(template, y, as_array=as_array), None
    else:
        labels, empty = _label_partitions(X, y, len(chunks))
        layout = make_layout(template, empty, as_array=as_array)
    return DaskSource(Partitions(chunks, labels, layout, sizes), watch=watch), layout


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
