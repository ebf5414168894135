"""Records in chunks, Poisson batches of them, and what is computed over them.

Both mechanisms see the private data as a *record source*: something that gives every record once, in chunks, as often
as asked. An array in memory is one; a file that is read again at each pass is another, and so are the shards of a
cluster. What a query wants of a source is a fold of the chunks of each shard, and a merge of what the shards gave: so
the records stay where they are, and only the folds' results travel.
"""

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from sinkgen.exceptions import FitError

CHUNK = 8192  # records that a query sees at once: bounds its memory
SPAN = 8  # chunks whose drawn records are cut into chunks together
TOGETHER = 4  # chunks that are cut by weight together
PIECE = 2**16  # records, and
PIECE_NUMBERS = 2**21  # numbers in them, that are encoded at once


class Records(NamedTuple):
    """Some records: values (m, ...) and, where there are classes, labels (m,).

    Where rows belong to persons, ``groups`` says to whom: first by the ids (m,) that the user gave, with the ``places``
    (m,) of the rows in the source; then, once a person's part is bounded (:mod:`sinkgen.privacy.groups`), by a tensor
    (m, 4) of doubles: number of the person, weight of the row in sums, whether it counts in sets, 0 or 1, and how many
    rows the person has.
    """

    values: Any
    labels: Any = None
    groups: Any = None
    places: Any = None

    def __len__(self):
        return len(self.values)

    def take(self, rows):
        """The records at ``rows`` (indices or a slice)."""
        return Records(*(None if part is None else part[rows] for part in self))

    def having(self, **parts):
        """The same records with other parts, such as ``values=``."""
        return Records(**dict(zip(self._fields, self, strict=True)) | parts)

    def numbered(self, start):
        """The same, with places from ``start`` on where somebody needs them."""
        return self if self.groups is None else self.having(places=np.arange(start, start + len(self)))


class Coins(Protocol):
    """One coin for each record of a source, by its position there."""

    def rows(self, start: int, n: int, rate: float) -> Any:
        """Which of the ``n`` records from position ``start`` on are drawn, each with probability ``rate``, rising."""

    def parts(self, n: int, n_parts: int) -> Any:
        """Numbers below ``n_parts``, each as likely, for ``n`` who are drawn."""


class Draw(NamedTuple):
    """A Poisson batch: each record is in it with probability ``rate``, independently of the others.

    Attributes
    ----------
    rate : float
        In (0, 1).
    coins : Coins
        The step's own, see :mod:`sinkgen.privacy.streams`; a record's coin is that of its position in the source,
        however the records are cut into chunks and shards, and whoever reads them.
    n_persons : int or None
        Where rows belong to persons, how many these are: a coin is then a person's, and falls for all rows together.
    """

    rate: float
    coins: Coins
    n_persons: int | None = None

    def rows(self, start, n):
        """Which of the ``n`` records from position ``start`` on are drawn: ndarray of int, rising."""
        return self.coins.rows(start, n, self.rate)

    def parts(self, n, n_parts):
        """Which part each of ``n`` drawn records falls into, or each person, when a batch is cut: tensor of int64.

        Each falls for itself, so that one more changes no other's.
        """
        return torch.from_numpy(self.coins.parts(n, n_parts))

    def persons(self):
        """Whether each person is drawn: tensor of bool, (n_persons,)."""
        drawn = torch.zeros(self.n_persons or 0, dtype=torch.bool)
        drawn[self.coins.rows(0, len(drawn), self.rate)] = True
        return drawn


class RecordSource(Protocol):
    """Private records, read in passes."""

    def map(self, function: Callable[[Records], Records]) -> "RecordSource":
        """The source of the same records after ``function``, which acts on each record alone.

        What acts on encoded records, which is any but the first, is given whole chunks, and may reorder one; a record
        then has the coin of its place after that.
        """

    def reduce(
        self, fold: Callable[[Iterator[Records]], Any], merge: Callable[[list], Any], draw: Draw | None = None
    ) -> Any:
        """What is left of one pass.

        Parameters
        ----------
        fold : callable
            Makes a result of the chunks of one shard, where that shard lies.
        merge : callable
            Makes one result of a list of at least one, in any order: associative and commutative.
        draw : Draw, optional
            The batch; by default every record.
        """

    def gather(self, draw: Draw | None = None) -> list[Records]:
        """The chunks themselves, in order."""


class AskedRecords:
    """Records of owners who keep them: they can be asked for sums, which come clipped and with their noise.

    See :mod:`sinkgen.federated`; a fit takes one in place of ``X``.
    """

    @property
    def noise_factor(self) -> float:
        """By how much noise is larger than the statement's, at most: what colluding and absent owners may take off."""
        return 1.0

    @property
    def fingerprint(self) -> int:
        """A number that another set of owners hardly shares; public."""
        raise NotImplementedError

    def layout(self, as_array: bool) -> Any:
        """Public facts of the records: a :class:`~sinkgen.data.layout.Layout`."""
        raise NotImplementedError

    def agree(self, terms: "Terms") -> None:
        """Raise, before anything is charged, unless all owners take part on these terms."""
        raise NotImplementedError

    def assumptions(self) -> tuple[str, ...]:
        """What the statement rests on beside what each owner's own would."""
        raise NotImplementedError

    def map(self, function: Callable[[Records], Records]) -> "AskedRecords":
        """The same records after ``function``, which acts on each record alone, where it lies."""
        raise NotImplementedError

    def ask(self, what: str, step: int, query: Any) -> torch.Tensor:
        """The value (size,) of a query, with the noise of the charged row ``what``."""
        raise NotImplementedError


class Terms(NamedTuple):
    """What owners are asked to take part in.

    Attributes
    ----------
    session : str
        Of one charge: a fit that goes on after a crash has that of before.
    releases : tuple of GaussianRelease
    delta : float
    accountant : str
    form : NumericFormat or TableFormat
        In which records have to be encoded.
    """

    session: str
    releases: tuple
    delta: float
    accountant: str
    form: Any


class ArraySource:
    """Records that lie in memory: one shard.

    Parameters
    ----------
    values : array or tensor of shape (n_records, ...)
    labels, groups, places : array or tensor of shape (n_records, ...), optional
        See :class:`Records`.
    chunk_size : int
        Records in a chunk; bounds the memory of a pass.

    Examples
    --------
    >>> [len(chunk) for chunk in ArraySource(torch.zeros(5, 2), chunk_size=2).chunks()]
    [2, 2, 1]
    """

    def __init__(self, values, labels=None, groups=None, places=None, chunk_size=CHUNK):
        self._records = Records(values, labels, groups, places)
        self._chunk_size = chunk_size

    def chunks(self, draw=None):
        """Every record once, in chunks; or those of a batch."""
        n, size = len(self._records), self._chunk_size
        chunks = (self._records.take(slice(start, start + size)) for start in range(0, n, size))
        if draw is None:
            return chunks
        if draw.n_persons is not None:
            return _drawn_by_person(chunks, draw, size)
        # Which they are is known without a walk through the others.
        spans = (first + draw.rows(first, min(SPAN * size, n - first)) for first in range(0, n, SPAN * size))
        return (self._records.take(rows[i : i + size]) for rows in spans for i in range(0, len(rows), size))

    def map(self, function):
        """Apply ``function`` now, and keep what it gives."""
        mapped = _filled((_applied(function, chunk) for chunk in self.chunks()), len(self._records))
        if isinstance(mapped.groups, torch.Tensor):
            # Sums cut by weight what they hold together: here that is done once, and not at each pass.
            span = TOGETHER * self._chunk_size
            parts = [mapped.take(slice(start, start + span)) for start in range(0, len(mapped), span)]
            mapped = concatenated([sorted_by_weight(part) for part in parts] or [mapped])
        return ArraySource(mapped.values, mapped.labels, mapped.groups, mapped.places, self._chunk_size)

    def reduce(self, fold, merge, draw=None):
        """See :class:`RecordSource`."""
        return merge([fold(self.chunks(draw))])

    def gather(self, draw=None):
        """See :class:`RecordSource`."""
        return list(self.chunks(draw))


class ChunkedSource:
    """Records that are read anew at each pass, such as a file larger than memory: one shard.

    Chunks may be of any size: they are encoded in pieces, and what was encoded is cut and joined into chunks of one
    size. What a query sees, and so its value, does not depend on how the records came, nor do the chunks of a batch.

    Parameters
    ----------
    read : callable
        Returns a fresh iterator over :class:`Records` each time it is called.
    functions : sequence of callable
        See :meth:`map`.
    start : int
        Position of the first record among those of all shards; where a chunk begins, and for a batch a span.

    Examples
    --------
    >>> source = ChunkedSource(lambda: iter([Records(torch.zeros(3, 2)), Records(torch.ones(1, 2))]))
    >>> sum(len(chunk) for chunk in source.chunks())
    4
    """

    def __init__(self, read, functions=(), start=0):
        self._read, self._functions, self._start = read, tuple(functions), start

    def chunks(self, draw=None):
        """Every record once, in chunks; or those of a batch."""
        # To encode is a matter of each record: of those that are drawn alone, where nothing else is to be done. A map
        # of encoded records is given whole chunks: a product of matrices rounds by its shape.
        if draw is not None and draw.n_persons is not None:
            return _drawn_by_person(self.chunks(), draw, CHUNK)
        early = draw if len(self._functions) < 2 else None
        chunks = self._pieces() if early is None else _drawn(self._pieces(), draw, self._start)
        for function in self._functions:
            chunks = rechunked(map(partial(_applied, function), chunks), _sizes(early, self._start))
        if early is draw:
            return chunks
        return rechunked(_drawn(chunks, draw, self._start), _sizes(draw, self._start))

    def map(self, function):
        """Apply ``function`` at each pass, and keep nothing."""
        return ChunkedSource(self._read, (*self._functions, function), self._start)

    def reduce(self, fold, merge, draw=None):
        """See :class:`RecordSource`."""
        return merge([fold(self.chunks(draw))])

    def gather(self, draw=None):
        """See :class:`RecordSource`."""
        return list(self.chunks(draw))

    def _pieces(self):
        position = self._start
        for chunk in self._read():
            chunk, size = chunk.numbered(position), _piece_size(chunk)
            position += len(chunk)
            for first in range(0, len(chunk), size):
                yield chunk.take(slice(first, first + size))


def _drawn(chunks, draw, position):
    """What a batch holds of each chunk, if anything; the first chunk begins at ``position``."""
    for chunk in chunks:
        rows = draw.rows(position, len(chunk))
        position += len(chunk)
        if len(rows):
            yield chunk.take(rows)


def _drawn_by_person(chunks, draw, size):
    """What a batch of persons holds: chunks of ``size``, but for the last of each span."""
    drawn = draw.persons()
    while span := list(itertools.islice(chunks, SPAN)):
        taken = [chunk.take(drawn.to(chunk.groups.device)[chunk.groups[:, 0].long()].nonzero()[:, 0]) for chunk in span]
        batch = sorted_by_weight(concatenated(taken))
        for first in range(0, len(batch), size):
            yield batch.take(slice(first, first + size))


def _applied(function, records):
    """What a map makes of some records; whose they are may not get lost on the way."""
    mapped = function(records)
    if records.groups is not None and (mapped.groups is None or len(mapped.groups) != len(mapped)):
        raise FitError("a map of records must say whose they are: use records.having(values=...)")
    return mapped


def _filled(chunks, most):
    """The records of chunks, at most so many in all: put where they stay, and not held twice."""
    first = next(chunks)
    if len(first) == most:
        return first
    out = Records(*(None if part is None else part.new_empty(most, *part.shape[1:]) for part in first))
    end = 0
    for chunk in itertools.chain([first], chunks):
        rows = slice(end, end + len(chunk))
        for part, own in zip(chunk, out, strict=True):
            if own is not None:
                own[rows] = part
        end = rows.stop
    return out.take(slice(0, end))


def _sizes(draw, position, size=CHUNK):
    """Records of each chunk: as many as can be, but for what a batch holds of a span, which begins a new chunk."""
    if draw is None:
        yield from itertools.repeat(size)
    for first in itertools.count(position, SPAN * size):
        n = len(draw.rows(first, SPAN * size))
        yield from [size] * (n // size)
        yield n % size


def _piece_size(chunk):
    numbers = 1
    for side in chunk.values.shape[1:]:
        numbers *= side
    return min(PIECE, max(1, PIECE_NUMBERS // max(1, numbers)))


def rechunked(chunks, sizes):
    """The same records, of tensors, in chunks of the ``sizes`` given, an iterator; only the last may be smaller.

    Examples
    --------
    >>> [len(chunk) for chunk in rechunked([Records(torch.zeros(n, 1)) for n in (1, 5, 0, 1)], iter([3, 0, 2, 9]))]
    [3, 2, 2]
    """
    waiting: list[Records] = []
    missing = 0
    for chunk in chunks:
        start = 0
        while start < len(chunk):
            while not missing:
                missing = next(sizes)
            waiting.append(chunk.take(slice(start, start + missing)))
            start += len(waiting[-1])
            missing -= len(waiting[-1])
            if not missing:
                yield concatenated(waiting)
                waiting = []
    if waiting:
        yield concatenated(waiting)


def sorted_by_weight(records):
    """Records of persons, those of a weight beside each other; else as they were.

    Examples
    --------
    >>> groups = torch.tensor([[0, 0.5, 1, 2], [1, 0.25, 1, 4], [0, 0.5, 0, 2]])
    >>> sorted_by_weight(Records(torch.arange(3), groups=groups)).values.tolist()
    [1, 0, 2]
    """
    weights = records.groups[:, 1]
    if (weights[1:] >= weights[:-1]).all():
        return records
    return records.take(weights.cpu().argsort(stable=True).numpy())


def joined(lists):
    """One list of several."""
    return list(itertools.chain.from_iterable(lists))


def concatenated(chunks):
    if len(chunks) == 1:
        return chunks[0]
    parts = zip(*chunks, strict=True)
    return Records(*(None if part[0] is None else torch.cat(part) for part in parts))
