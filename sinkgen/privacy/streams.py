"""Secret randomness: from one key, a stream of its own for the noise and the sample of every release.

A stream is counter-based: word number i of it is a function of its key and i alone. So a step that is repeated after a
crash draws the noise that it drew before, and whether a record is in a sample does not depend on how the records were
cut into chunks, or on who read them.
"""

import hashlib
import json
import math
import secrets

import numpy as np
import torch

KEY_BYTES = 32
_PIECE = 2**18  # words made at a time: bounds the memory, changes nothing


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
        raise ImportError("secure_noise=True needs the package cryptography; pip install 'sinkgen[secure]'") from error


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
    array([ 4,  9, 11, 17])
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
    """One coin for each record of a source, by its position there.

    Parameters
    ----------
    words : callable
        ``words(start, n)`` gives words start, ..., start + n - 1 of a stream, uint64.
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
            In [0, 1). Rounded down to a multiple of 2^-64: never more likely than what is charged.

        Returns
        -------
        ndarray of int
            Rising, from 0 to n - 1.
        """
        threshold = np.uint64(int(rate * 2.0**64))
        firsts = range(0, n, _PIECE)
        drawn = [
            first + np.flatnonzero(self._words(start + first, min(_PIECE, n - first)) < threshold) for first in firsts
        ]
        return np.concatenate(drawn) if drawn else np.zeros(0, dtype=np.intp)


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
