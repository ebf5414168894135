"""Records in chunks, and Poisson batches of them.

Both mechanisms see the private data as a *record source*: something that yields every record once, in chunks, as
often as asked. An array in memory is one; a file that is read again at each pass is another.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import torch


class Records(NamedTuple):
    """Some records: values (m, ...) and, where there are classes, labels (m,)."""

    values: Any
    labels: Any = None

    def __len__(self):
        return len(self.values)

    def take(self, rows):
        """The records at ``rows`` (indices or a slice)."""
        return Records(self.values[rows], None if self.labels is None else self.labels[rows])


class RecordSource(Protocol):
    """Private records, read in passes."""

    def chunks(self) -> Iterator[Records]:
        """Every record once, in chunks."""

    def map(self, function: Callable[[Records], Records]) -> "RecordSource":
        """The source of the same records after ``function``, which acts on each record alone."""


class ArraySource:
    """Records that lie in memory.

    Parameters
    ----------
    values : array or tensor of shape (n_records, ...)
    labels : array or tensor of shape (n_records,), optional
    chunk_size : int
        Records in a chunk; bounds the memory of a pass.

    Examples
    --------
    >>> [len(chunk) for chunk in ArraySource(torch.zeros((5, 2)), chunk_size=2).chunks()]
    [2, 2, 1]
    """

    def __init__(self, values, labels=None, chunk_size=8192):
        self._records = Records(values, labels)
        self._chunk_size = chunk_size

    def chunks(self):
        """Every record once, in chunks."""
        for start in range(0, len(self._records), self._chunk_size):
            yield self._records.take(slice(start, start + self._chunk_size))

    def map(self, function):
        """Apply ``function`` now, and keep what it gives."""
        parts = [function(chunk) for chunk in self.chunks()]
        labels = None if parts[0].labels is None else torch.cat([part.labels for part in parts])
        return ArraySource(torch.cat([part.values for part in parts]), labels, self._chunk_size)

    def sample(self, rate, coins):
        """One Poisson batch, without a pass over the records."""
        yield self._records.take(torch.from_numpy(coins.rows(0, len(self._records), rate)))


class ChunkedSource:
    """Records that are read anew at each pass, such as a file larger than memory.

    Parameters
    ----------
    read : callable
        Returns a fresh iterator over :class:`Records` each time it is called.

    Examples
    --------
    >>> source = ChunkedSource(lambda: iter([Records(torch.zeros((3, 2))), Records(torch.ones((1, 2)))]))
    >>> sum(len(chunk) for chunk in source.chunks())
    4
    """

    def __init__(self, read):
        self._read = read

    def chunks(self):
        """Every record once, in chunks."""
        return self._read()

    def map(self, function):
        """Apply ``function`` at each pass, and keep nothing."""
        return ChunkedSource(lambda: map(function, self._read()))

    def sample(self, rate, coins):
        """One Poisson batch, chunk by chunk."""
        start = 0
        for chunk in self.chunks():
            yield chunk.take(torch.from_numpy(coins.rows(start, len(chunk), rate)))
            start += len(chunk)


def poisson_sample(source, rate, coins):
    """Chunks of one Poisson batch: each record is in it with probability ``rate``, independently of the others.

    Parameters
    ----------
    source : RecordSource
    rate : float
        Probability of each record, in (0, 1]; 1 is a full pass.
    coins : Coins
        The step's own; a record's coin is that of its position, however the records are cut into chunks.

    Returns
    -------
    iterator of Records
        The batch may be empty.
    """
    return source.chunks() if rate == 1 else source.sample(rate, coins)
