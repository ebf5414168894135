"""The part of a person: rows get weights whose sum over all rows of one person is bounded.

Where the unit of privacy is a person, a query is not asked of the rows as they are. One pass finds how many rows each
person has, and which of them come first by a secret random order. Then either the first few of a person's rows take
part, or all do, with weights that sum to 1. So a person moves a sum of contributions by at most that many times what a
row can move it, whoever the other persons are: docs/proofs.md has the lemma.
"""

import hashlib
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from sinkgen.exceptions import BadValueError
from sinkgen.privacy.query import ROUNDING_MARGIN

_LAST = np.uint64(2**64 - 1)
_AT_ONCE = 2**20  # rows that a fold holds before it lets go of those that cannot be among the first


class Rows(NamedTuple):
    """What is kept of some rows: of each person, the number of rows and the first few in the secret order.

    Attributes
    ----------
    persons : ndarray of shape (P,), uint64, rising
        Keys of the persons.
    counts : ndarray of shape (P,)
        Rows of each.
    owners : ndarray of shape (m,), uint64
        Key of the person of each row that is kept.
    order : ndarray of shape (m,), uint64
        The row's place in the secret order.
    """

    persons: np.ndarray
    counts: np.ndarray
    owners: np.ndarray
    order: np.ndarray


class Persons(NamedTuple):
    """All persons of a source.

    Attributes
    ----------
    keys : ndarray of shape (P,), uint64, rising
    counts : ndarray of shape (P,)
    ends : ndarray of shape (P,), uint64
        In the secret order, where the rows end that come first.
    """

    keys: np.ndarray
    counts: np.ndarray
    ends: np.ndarray


class Bounding:
    """Turns ids into what :class:`~sinkgen.records.Records` says of groups once they are bounded.

    Parameters
    ----------
    persons : Persons
    secret : Secret
    shared : bool
        Whether all rows of a person share a weight of 1; else the first rows have a weight of 1 each.
    """

    def __init__(self, persons, secret, shared):
        self.persons, self.secret, self.shared = persons, secret, shared

    def __call__(self, records):
        number = np.searchsorted(self.persons.keys, self.secret.keys(records.groups))
        first = (self.secret.order(records.places) < self.persons.ends[number]).astype(np.float64)
        counts = self.persons.counts[number]
        shares = np.where(counts > 1, ROUNDING_MARGIN / counts, 1.0) if self.shared else first
        return records.having(groups=torch.from_numpy(np.stack([number, shares, first, counts], 1)), places=None)


class Secret:
    """The secret order of rows, and keys of persons.

    Parameters
    ----------
    key : bytes
    words : callable
        ``words(start, n)`` gives words start, ..., start + n - 1 of a secret stream, uint64.
    """

    def __init__(self, key, words):
        self.key, self.words = key, words

    def keys(self, ids):
        """64 bits a person: an integer as it is, a text by a keyed hash."""
        if ids.dtype.kind == "i":
            return ids.view(np.uint64)
        ids = ids.tolist()
        known = {name: self._hash(name) for name in set(ids)}
        return np.fromiter(map(known.__getitem__, ids), np.uint64, len(ids))

    def order(self, places):
        """Where rows at these places of the source stand in the secret order."""
        if not len(places):
            return np.zeros(0, dtype=np.uint64)
        start = int(places.min())
        return self.words(start, int(places.max()) + 1 - start)[places - start]

    def _hash(self, name):
        encoded = name.encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(encoded, key=self.key, digest_size=8).digest(), "little")


class BoundedSource:
    """Rows of a source with weights, whatever is asked of them.

    Parameters
    ----------
    source : RecordSource
        Its records have the ids of their groups.
    bounding : Bounding
    """

    def __init__(self, source, bounding):
        self._source, self._bounding = source, bounding

    def map(self, function):
        """See :class:`~sinkgen.records.RecordSource`."""
        return self._source.map(_Both(self._bounding, function))

    def reduce(self, fold, merge, draw=None):
        """See :class:`~sinkgen.records.RecordSource`; of all records alone."""
        if draw is not None:
            raise BadValueError("a sample of persons is drawn of encoded records")
        return self._source.reduce(partial(_fold, fold, self._bounding), merge)


class _Both:
    def __init__(self, first, second):
        self.first, self.second = first, second

    def __call__(self, records):
        return self.second(self.first(records))


def _fold(fold, bounding, chunks):
    return fold(map(bounding, chunks))


def bound(source, unit, secret):
    """The rows of a source, weighted so that a person counts for at most ``unit.max_rows`` of them.

    Parameters
    ----------
    source : RecordSource
        Its records have the ids of their groups.
    unit : Unit
    secret : Secret

    Returns
    -------
    BoundedSource, int
        And the number of persons, which is private.
    """
    rows = source.reduce(partial(_first_rows, secret, unit.max_rows), partial(_merged, unit.max_rows))
    persons = _ends(rows, unit.max_rows)
    return BoundedSource(source, Bounding(persons, secret, unit.shared)), len(persons.keys)


def _first_rows(secret, n, chunks):
    """What is kept of the rows of a shard."""
    kept, waiting = [], 0
    for records in chunks:
        keys = secret.keys(records.groups)
        persons, counts = np.unique(keys, return_counts=True)
        kept.append(Rows(persons, counts, keys, secret.order(records.places)))
        waiting += len(keys)
        if waiting >= _AT_ONCE:
            kept, waiting = [_merged(n, kept)], 0
    return _merged(n, kept)


def _merged(n, parts):
    """What is kept of several: of each person the first rows, one more than may take part."""
    if not parts:
        return Rows(*(np.zeros(0, dtype=kind) for kind in (np.uint64, np.int64, np.uint64, np.uint64)))
    persons, counts, owners, order = map(np.concatenate, zip(*parts, strict=True))
    persons, places = np.unique(persons, return_inverse=True)
    counts = np.bincount(places.ravel(), counts, len(persons)).astype(np.int64)
    rows = np.lexsort((order, owners))
    owners, order = owners[rows], order[rows]
    among_first = np.arange(len(owners)) - np.searchsorted(owners, owners) <= n
    return Rows(persons, counts, owners[among_first], order[among_first])


def _ends(rows, n):
    """Each person's row number n in the secret order, counted from 0, is the first that takes no part."""
    starts = np.searchsorted(rows.owners, rows.persons)
    ends = np.full(len(rows.persons), _LAST)
    more = rows.counts > n
    ends[more] = rows.order[starts[more] + n]
    return Persons(rows.persons, rows.counts, ends)
