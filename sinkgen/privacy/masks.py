"""Masks that cancel: what owners add to their sums, so that only the sum of all of them can be read.

Each owner adds a mask for each of its *neighbours*, with a plus where that one has a minus, and one of its own. All
of it is modulo 2^64, where a uniform mask makes any number uniform: while one mask of a sum is unknown, that sum tells
nothing but to who can tell the cipher's words from random ones.
"""

import hashlib
import hmac

import numpy as np

from sinkgen.exceptions import BadValueError, MissingPackageError

KEY_BYTES = 32


def new_private_key() -> bytes:
    """A private key of an owner: secret, and for all fits that the owner takes part in.

    Returns
    -------
    bytes
        32 of them.

    Raises
    ------
    ImportError
        Without the package cryptography.

    Examples
    --------
    >>> len(public_key(new_private_key()))
    32
    """
    private = _x25519().X25519PrivateKey.generate()
    return private.private_bytes_raw()


def public_key(private: bytes) -> bytes:
    """What the other owners, and the coordinator, know the owner of a private key by.

    Parameters
    ----------
    private : bytes
        As :func:`new_private_key` makes it.

    Returns
    -------
    bytes
        32 of them.

    Raises
    ------
    ImportError
        Without the package cryptography.

    Examples
    --------
    >>> public_key(bytes(range(32))).hex()[:16]
    '8f40c5adb68f2562'
    """
    return _x25519().X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def shared_secret(private: bytes, peer: bytes, context: bytes) -> bytes:
    """What two owners, and nobody else, can derive: the same for both, another in any other ``context``.

    Parameters
    ----------
    private : bytes
        The own private key.
    peer : bytes
        The other's public key.
    context : bytes
        What the secret is for.

    Raises
    ------
    ValueError
        If ``peer`` is no public key.

    References
    ----------
    .. [1] Langley, Hamburg, Turner, "Elliptic Curves for Security", RFC 7748 (X25519).
    .. [2] Krawczyk, Eronen, "HMAC-based Extract-and-Expand Key Derivation Function", RFC 5869.

    Examples
    --------
    >>> one, other = new_private_key(), new_private_key()
    >>> shared_secret(one, public_key(other), b"a fit") == shared_secret(other, public_key(one), b"a fit")
    True
    """
    kind = _x25519()
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    try:
        agreed = kind.X25519PrivateKey.from_private_bytes(private).exchange(
            kind.X25519PublicKey.from_public_bytes(peer)
        )
    except ValueError:
        raise BadValueError("a public key of an owner is none") from None
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=b"sinkgen masks" + context).derive(agreed)


def derived(secret: bytes, *path: str | int) -> bytes:
    """A secret of its own for each path, of which none tells of another."""
    return hmac.digest(secret, "/".join(map(str, path)).encode(), hashlib.sha256)


def mask(seed: bytes, size: int) -> np.ndarray:
    """Words (size,), uint64, of AES-256 in counter mode.

    Examples
    --------
    >>> bool((mask(bytes(32), 5)[:2] == mask(bytes(32), 2)).all())
    True
    """
    _x25519()
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    cipher = Cipher(algorithms.AES(seed), modes.CTR(bytes(16))).encryptor()
    return np.frombuffer(cipher.update(bytes(8 * size)), "<u8")


def neighbours(names: list[str], own: str, cuts: int) -> list[str]:
    """With whom an owner shares masks, so that those who are left are connected when any ``cuts`` are taken away.

    Owners stand in a ring, and each is joined to the ``ceil((cuts + 1) / 2)`` next on either side: no smaller number of
    masks an owner, even, would do [1]_.

    References
    ----------
    .. [1] Harary, "The maximum connectivity of a graph", PNAS 48, 1962.

    Examples
    --------
    >>> neighbours(list("ABCDE"), "A", 1), neighbours(list("ABCDE"), "A", 2)
    (['B', 'E'], ['B', 'C', 'D', 'E'])
    """
    ring = sorted(names)
    place, reach = ring.index(own), min(len(ring) - 1, cuts // 2 + 1)
    near = {ring[(place + step) % len(ring)] for step in range(-reach, reach + 1)}
    return sorted(near - {own})


def _x25519():
    try:
        from cryptography.hazmat.primitives.asymmetric import x25519
    except ImportError as error:
        raise MissingPackageError(
            "owners' masks need the package cryptography; pip install 'sinkgen[secure]'"
        ) from error
    return x25519
