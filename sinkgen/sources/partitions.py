"""The partitions of a Dask collection, cut where chunks begin: so a query sees what it sees of records in memory."""

import itertools
from functools import cached_property
from typing import NamedTuple

import numpy as np
from dask import delayed

from sinkgen.exceptions import BadValueError
from sinkgen.records import CHUNK
from sinkgen.sources.cluster import compute, futures, held_to, persist


class Shard(NamedTuple):
    """A run of records that begins, and but for the last of all ends, where a chunk does, or a span of them.

    Attributes
    ----------
    start : int
        Position of its first record among all.
    home : int
        Number of the partition that holds most of it.
    pieces : list
        For each partition with a part of it: number, first row, one after the last, and a list of a chunk and its
        labels and groups, whatever Dask makes of them.
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
    groups : list of Delayed, or None
        The same of the ids of groups.
    layout : Layout
    sizes : list of int, or None
        Records of each, if that is known.
    watch : callable
        Wraps the partitions' numbers, once a pass, as far as they are done.
    """

    def __init__(self, chunks, labels, layout, sizes=None, watch=iter, groups=None):
        self.chunks, self.labels, self.groups, self.layout = chunks, labels, groups, layout
        self._sizes, self._watch = sizes, watch
        self._shards: dict = {}
        self._futures = [futures(list(chunk.__dask_optimize__(chunk.dask, [chunk.key]).values())) for chunk in chunks]

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

    def shards(self, unit=CHUNK):
        """Each partition, but with its ends moved to a multiple of ``unit`` records: a list of :class:`Shard`."""
        if unit not in self._shards:
            self._shards[unit] = self._cut(unit)
        return self._shards[unit]

    def _cut(self, unit):
        places = np.cumsum([0, *self._counted])
        inner = (unit * np.round(places[1:-1] / unit)).astype(int)
        starts = np.unique([0, *inner[inner < places[-1]]])
        cuts: list[list] = [[] for _ in starts]
        for low, high in itertools.pairwise(np.unique([*places, *starts]).tolist()):
            i, shard = (int(np.searchsorted(ends, low, "right")) - 1 for ends in (places, starts))
            cuts[shard].append((i, low - int(places[i]), high - int(places[i])))
        main = [max(pieces, key=lambda piece: piece[2] - piece[1], default=(0,))[0] for pieces in cuts]
        moved = self._moved([(piece, i) for i, pieces in zip(main, cuts, strict=True) for piece in pieces])
        brought = [
            [
                [i, 0, high - low, moved[i, low]] if (i, low) in moved else [i, low, high, self._pair(i)]
                for i, low, high in pieces
            ]
            for pieces in cuts
        ]
        return list(map(Shard, starts.tolist(), main, brought))

    @cached_property
    def _counted(self):
        """Records of each partition."""
        if self._sizes is not None:
            return self._sizes
        counts = [delayed(_lengths)(*self._pair(i)) for i in range(len(self))]
        sizes = compute(delayed(counts), counts, self.told(len(counts)))
        for i, (n, *others) in enumerate(sizes):
            for what, length in zip(("y", "groups"), others, strict=True):
                if length not in (None, n):
                    raise BadValueError(
                        f"{what} must hold one entry for each record of X; in partition {i} it does not"
                    )
        return [n for n, *_ in sizes]

    def _moved(self, pieces):
        """Rows that go to where most of their shard is; they alone travel, and but once where they are in memory."""
        homes, rows, held = self.homes(), {}, {}
        for (i, low, high), home in pieces:
            if i != home:
                taken = delayed(rows_of)(self._pair(i), low, high)
                if self._futures[i]:
                    with held_to(homes[home]):
                        held[i, low] = delayed(_as_is)(taken)
                rows[i, low] = taken
        return rows | persist(held)

    def told(self, n_parts):
        """What is to be called as each part of a pass ends; of partitions it tells, however the parts share them."""
        return _Told(self._watch, len(self), n_parts)

    def _pair(self, i):
        return [self.chunks[i], *(None if own is None else own[i] for own in (self.labels, self.groups))]


class _Told:
    """Tells of the partitions one by one: their number is public, that of the parts is not."""

    def __init__(self, watch, n_partitions, n_parts):
        self._partitions = iter(watch(range(n_partitions)))
        self._due = iter(np.diff(np.arange(n_parts + 1) * n_partitions // n_parts).tolist())
        next(self._partitions)

    def __call__(self):
        for _ in range(next(self._due, 0)):
            next(self._partitions, None)


def _as_is(value):
    return value


def _lengths(*parts):
    return [None if part is None else len(part) for part in parts]


def rows_of(pair, low, high):
    """Some rows of a chunk, and of its labels."""
    return [part.iloc[low:high] if hasattr(part, "iloc") else part if part is None else part[low:high] for part in pair]
