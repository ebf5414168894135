"""Messages as bytes: a JSON, arrays as safetensors, and a digest of both; no code, no pickle."""

import hashlib
import json
import struct
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sinkgen.exceptions import BadValueError

MAGIC = b"sinkgen owners 1"
_LENGTH = struct.Struct("<Q")


class Message(NamedTuple):
    """What a message holds.

    Attributes
    ----------
    content : dict of str to object
        JSON; "kind" says what the message is.
    arrays : dict of str to ndarray
    """

    content: dict[str, Any]
    arrays: dict[str, np.ndarray]


def pack(content: dict[str, Any], arrays: dict[str, np.ndarray] | None = None) -> bytes:
    """The bytes of a message.

    Examples
    --------
    >>> unpack(pack({"kind": "greeting"})).content
    {'kind': 'greeting'}
    """
    text = json.dumps(content, sort_keys=True).encode("ascii")
    blob = save({name: np.asarray(array, order="C") for name, array in (arrays or {}).items()})
    body = _LENGTH.pack(len(text)) + text + blob
    return MAGIC + hashlib.sha256(body).digest() + body


def unpack(message: bytes) -> Message:
    """What :func:`pack` put together; ValueError if it is damaged, or none."""
    head, body = message[: len(MAGIC) + 32], message[len(MAGIC) + 32 :]
    if head != MAGIC + hashlib.sha256(body).digest():
        raise BadValueError("a message is damaged, or none of this protocol")
    try:
        (length,) = _LENGTH.unpack_from(body)
        content = json.loads(body[_LENGTH.size : _LENGTH.size + length])
        arrays = load(body[_LENGTH.size + length :])
    except (struct.error, ValueError, RecursionError, SafetensorError) as error:
        raise BadValueError("a message cannot be read") from error
    if not isinstance(content, dict) or not isinstance(content.get("kind"), str):
        raise BadValueError("a message says not what it is")
    return Message(content, arrays)


def field(message: Message, name: str, kind: type) -> Any:
    """A part of a message's content; ValueError if it is missing, or of another type."""
    value = message.content.get(name)
    if type(value) is not kind:
        raise BadValueError(f"a message has no {name} of type {kind.__name__}")
    return value


def expect(message: Message, **wanted: Any) -> None:
    """Raise ValueError, naming the part, unless parts of a message's content are these."""
    for name, value in wanted.items():
        if message.content.get(name) != value:
            raise BadValueError(f"a message has another {name} than this one is for; it is repeated, late, or misled")
