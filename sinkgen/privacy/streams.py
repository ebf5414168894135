"""Secret randomness: from one key, a stream of its own for the noise and the sample of every release.

A stream is counter-based: word number i of it is a function of its key and i alone. So a step that is repeated after a
crash draws the noise that it drew before, and whether a record is in a sample does not depend on how the records were
cut into chunks, or on who read them.
"""

import bisect
import functools
import hashlib
import json
import math
import secrets
from typing import NamedTuple

import numpy as np
import torch

from sinkgen.exceptions import MissingPackageError

KEY_BYTES = 32
_PIECE = 2**18  # words made at a time: bounds the memory, changes nothing

# A sample is drawn block by block of positions. None of a block is drawn with probability exp(-16) or more, so that 128
# bits say with what probability the next one is; of few blocks more than 32 are.
_RARELY_NONE, _JUMPS = 16.0, 32
_LARGEST_BLOCK = 2**16
# Where, in a stream, the words lie that few blocks need.
_MORE_JUMPS, _LOW_WORDS = 2**64, 2**96
# And those that say into which part of a sample each falls.
_PARTS = 2**112


def new_key(seed=None):
    """A secret key: 256 bits of the operating system's entropy, or a function of ``seed`` for tests.

    Examples
    --------
    >>> len(new_key()), new_key() == new_key(), new_key(3) == new_key(3)
    (32, False, True)
    """
    if seed is None:
        return secrets.token_bytes(KEY_BYTES)
    return hashlib.blake2b(str(seed).encode("ascii"), digest_size=KEY_BYTES, person=b"sinkgen seed").digest()


def require_secure():
    """Raise ImportError, with what to install, where the cryptographic streams cannot be had."""
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            "secure_noise=True needs the package cryptography; pip install 'sinkgen[secure]'"
        ) from error


class Streams:
    """The streams of one fit.

    Parameters
    ----------
    key : bytes
        Whoever knows it can take the noise off all releases.
    secure : bool
        Streams of a cipher, AES-256 in counter mode, instead of Philox: to tell them from random words, or one word
        from others, is to break the cipher. Noise is then the sum of four normals over 2 [1]_.

    References
    ----------
    .. [1] Holohan, Braghin, "Secure Random Sampling in Differential Privacy", arXiv 2107.10138.
    .. [2] Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011 (Philox).

    Examples
    --------
    >>> streams = Streams(new_key(0))
    >>> streams.sampling("points", 0).rows(0, 20, 0.1)
    array([ 1, 11])
    >>> bool(streams.normal("points", 0, (2,)).equal(streams.normal("points", 1, (2,))))
    False
    """

    def __init__(self, key, *, secure=False):
        self._key = key
        self._words: type[_CipherWords] | type[_PhiloxWords]
        self._words, self._normals = (_CipherWords, _summed_normals) if secure else (_PhiloxWords, _plain_normals)

    def normal(self, what, step, shape):
        """Standard normal noise of one step of a release, double precision, of any ``shape``."""
        size = math.prod(shape)
        return torch.from_numpy(self._normals(self._words(self._derive("noise", what, step)), size)).view(shape)

    def sampling(self, what, step):
        """The :class:`Coins` that choose the sample of one step of a release."""
        return Coins(self._words(self._derive("sampling", what, step)))

    def persons(self):
        """A key to hash the ids of persons, and the words of the order in which a person's rows take part."""
        return self._derive("persons"), self._words(self._derive("rows of persons"))

    def _derive(self, *path):
        return hashlib.blake2b(json.dumps(path).encode("ascii"), key=self._key, digest_size=KEY_BYTES).digest()


class Coins:
    """Who is in a sample: each record of a source with the same probability, independently of the others.

    Positions are cut into blocks, each with words of its own in the stream, and in a block the sample jumps from one
    record that is drawn to the next [1]_: what is not drawn costs nothing.

    Parameters
    ----------
    words : callable
        ``words(start, n)`` gives words start, ..., start + n - 1 of a stream, uint64.

    References
    ----------
    .. [1] Devroye, "Non-Uniform Random Variate Generation", 1986, chapter XV (the gaps of a Bernoulli sample).
    """

    def __init__(self, words):
        self._words = words

    def rows(self, start, n, rate):
        """Which of the ``n`` records from position ``start`` on are drawn, each with probability ``rate``.

        Parameters
        ----------
        start : int
            Position of the first among all records.
        n : int
        rate : float
            In [0, 1). A record is never more likely than that, given whatever became of the others, and less likely by
            2^-64 at most.

        Returns
        -------
        ndarray of int
            Rising, from 0 to n - 1.
        """
        threshold = int(rate * 2.0**64)
        if not threshold or not n:
            return np.zeros(0, dtype=np.intp)
        gaps = _gaps(threshold)
        blocks = range(start // gaps.block, (start + n - 1) // gaps.block + 1)
        at_once = _PIECE // gaps.jumps
        drawn = [self._drawn(blocks[i : i + at_once], gaps) for i in range(0, len(blocks), at_once)]
        rows = np.concatenate(drawn) - start
        return rows[np.searchsorted(rows, 0) : np.searchsorted(rows, n)]

    def parts(self, n, n_parts):
        """Which of ``n_parts`` parts of a sample each of ``n`` who are drawn falls into, independently of the others.

        Parameters
        ----------
        n, n_parts : int

        Returns
        -------
        ndarray of int64

        Examples
        --------
        >>> Streams(new_key(0)).sampling("points", 0).parts(6, 3)
        array([2, 2, 1, 1, 0, 0])
        """
        return (self._words(_PARTS, n) % np.uint64(n_parts)).astype(np.int64)

    def _drawn(self, blocks, gaps):
        """Positions of the sample in some blocks that follow each other, rising."""
        ends = np.cumsum(self._jumps(gaps.jumps * blocks[0], len(blocks), gaps), axis=1)
        inside = ends <= gaps.block
        rows = ends + (gaps.block * np.arange(blocks[0], blocks[-1] + 1))[:, None] - 1
        unfinished = np.flatnonzero(inside[:, -1])
        if not len(unfinished):
            return rows[inside]
        parts = [row[within] for row, within in zip(rows, inside, strict=True)]
        for i in unfinished.tolist():
            parts[i] = np.concatenate([parts[i], self._rest(blocks[i], ends[i, -1], gaps)])
        return np.concatenate(parts)

    def _rest(self, block, end, gaps):
        """Positions of a block of which there are more than jumps at hand."""
        parts, start = [], gaps.jumps * block
        while end < gaps.block:
            start += _MORE_JUMPS
            ends = end + np.cumsum(self._jumps(start, 1, gaps)[0])
            parts.append(gaps.block * block + ends[ends <= gaps.block] - 1)
            end = ends[-1]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.intp)

    def _jumps(self, start, n_blocks, gaps):
        """How far it is from each record of the sample to the next, (n_blocks, jumps)."""
        high = self._words(start, n_blocks * gaps.jumps)
        beyond = np.searchsorted(gaps.high, high, side="right")
        jumps = gaps.block + 1 - beyond
        for i in np.flatnonzero(np.searchsorted(gaps.high, high, side="left") != beyond).tolist():
            low = int(self._words(_LOW_WORDS + start + i, 1)[0])
            jumps[i] = gaps.block + 1 - bisect.bisect_right(gaps.exact, int(high[i]) << 64 | low)
        return jumps.reshape(n_blocks, gaps.jumps)


class _Gaps(NamedTuple):
    """How long the gaps of a sample are, exactly, in units of 2^-128.

    ``exact[block - k]`` is the probability that no record among k in a row is drawn, k = 1, ..., block; ``high`` holds
    the upper 64 of its 128 bits, by which a comparison with a random number is settled but for a chance of 2^-64.
    ``jumps`` words are at hand for each block.
    """

    block: int
    jumps: int
    exact: list
    high: np.ndarray


@functools.lru_cache(maxsize=8)
def _gaps(threshold):
    """The gaps where each record is drawn with probability ``threshold / 2^64``, in blocks of a size that suits it."""
    longest = _RARELY_NONE / -math.log1p(-threshold / 2**64)
    block = 2 ** math.floor(math.log2(min(max(1.0, longest), _LARGEST_BLOCK)))
    free, exact = 2**128, []
    for _ in range(block):
        free -= free * threshold >> 64  # rounded so that the next record is not drawn too often
        exact.append(free)
    exact.reverse()
    return _Gaps(block, min(_JUMPS, block + 1), exact, np.array([free >> 64 for free in exact], dtype=np.uint64))


class _PhiloxWords:
    """Philox 4x64, keyed with 128 bits: four words a counter."""

    def __init__(self, key):
        self._key = np.frombuffer(key[:16], "<u8")

    def __call__(self, start, n):
        counter, skipped = divmod(start, 4)
        return np.random.Philox(key=self._key, counter=counter).random_raw(skipped + n)[skipped:]

    def generator(self):
        return np.random.Generator(np.random.Philox(key=self._key))


class _CipherWords:
    """AES-256 in counter mode: two words a block."""

    def __init__(self, key):
        self._key = key

    def __call__(self, start, n):
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        block, skipped = divmod(start, 2)
        cipher = Cipher(algorithms.AES(self._key), modes.CTR(block.to_bytes(16, "big"))).encryptor()
        return np.frombuffer(cipher.update(bytes(8 * (skipped + n))), "<u8")[skipped:]


def _plain_normals(words, size):
    return words.generator().standard_normal(size)


def _summed_normals(words, size):
    """Four normals each, by Box and Muller from words of their own, over 2: eight words a value."""
    values = np.empty(size)
    for first in range(0, size, _PIECE // 8):
        n = min(_PIECE // 8, size - first)
        uniform = (words(8 * first, 8 * n) >> np.uint64(11)).reshape(2, 4, n) * 2.0**-53
        radius, angle = np.sqrt(-2 * np.log1p(-uniform[0])), 2 * np.pi * uniform[1]
        values[first : first + n] = (radius * np.cos(angle)).sum(0) / 2
    return values
