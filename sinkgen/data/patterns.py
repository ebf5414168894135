"""Keys: texts of a public pattern, numbered, so that as many as are wanted can be drawn without one coming twice."""

import math
import string
from dataclasses import dataclass
from typing import Any

import numpy as np

from sinkgen.exceptions import BadValueError

LARGEST = 2**62  # numbers that are shuffled
ROUNDS = 6  # of the Feistel network
SHORTHANDS = {"d": string.digits}
UNSUPPORTED = {
    "*": "repetition without end (*)", "+": "repetition without end (+)", "?": "an optional part (?)",
    ".": "any character (.)", "^": "an anchor (^)", "$": "an anchor ($)", "|": "alternatives without parentheses (|)",
    "}": "a brace that was not opened", "]": "a bracket that was not opened", ")": "a parenthesis that was not opened",
}  # fmt: skip


@dataclass(frozen=True)
class Pattern:
    r"""The texts that a regular expression of a small kind describes, in an order.

    It may hold characters that stand for themselves (others after a backslash), ``\d``, classes such as
    ``[A-Z0-9_]``, groups of alternatives of one length such as ``(AB|CD)``, and ``{n}`` behind any of these.

    Attributes
    ----------
    expression : str
    parts : tuple of tuple of str
        What may stand at each place, each a text.

    Examples
    --------
    >>> pattern = Pattern.of("C[0-9]{2}")
    >>> pattern.size, pattern.texts([0, 7, 42])
    (100, ['C00', 'C07', 'C42'])
    """

    expression: str
    parts: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, expression: str) -> "Pattern":
        """The pattern of an expression.

        Raises
        ------
        ValueError
            If it holds what is not supported; the message names it.
        """
        parts: list[tuple[str, ...]] = []
        rest = expression
        while rest:
            head, rest = rest[0], rest[1:]
            if head == "[":
                part, rest = _class(expression, rest)
            elif head == "(":
                part, rest = _group(expression, rest)
            elif head == "{":
                raise _unsupported(expression, "a repetition of nothing")
            elif head == "\\":
                part, rest = _escaped(expression, rest)
            elif head in UNSUPPORTED:
                raise _unsupported(expression, UNSUPPORTED[head])
            else:
                part = (head,)
            times, rest = _times(expression, rest)
            parts += [part] * times
        if not parts:
            raise BadValueError("pattern must not be empty")
        return cls(expression, tuple(parts))

    @property
    def size(self) -> int:
        """How many texts there are."""
        return math.prod(map(len, self.parts))

    def texts(self, numbers: Any) -> list[str]:
        """The texts of numbers (m,) from 0 on, below :attr:`size`; integers of any size."""
        left, columns = np.asarray(numbers), []
        for part in reversed(self.parts):
            columns.append(np.array(part, dtype=object)[(left % len(part)).astype(np.int64)])
            left = left // len(part)
        return ["".join(row) for row in zip(*reversed(columns), strict=True)]

    def random_texts(self, n: int, random: np.random.Generator) -> list[str]:
        """Texts (n,) drawn each on its own; one may come twice."""
        columns = [random.choice(np.array(part, dtype=object), n) for part in self.parts]
        return ["".join(row) for row in zip(*columns, strict=True)]

    def split(self, largest: int) -> "tuple[Pattern | None, Pattern]":
        """The pattern as a head and a tail, the longest whose size is at most ``largest``; None for an empty head."""
        place = len(self.parts) - 1
        while place and math.prod(map(len, self.parts[place - 1 :])) <= largest:
            place -= 1
        head, tail = (Pattern(self.expression, parts) for parts in (self.parts[:place], self.parts[place:]))
        return (head if place else None), tail


def _unsupported(expression, what):
    return BadValueError(
        f"pattern {expression!r} holds {what}, which is not supported; it may hold plain characters, \\d, classes such "
        "as [A-Z0-9], groups of alternatives of one length such as (AB|CD), and {n} behind any of these"
    )


def _escaped(expression, rest):
    if not rest:
        raise _unsupported(expression, "a backslash at its end")
    if rest[0] in SHORTHANDS:
        return tuple(SHORTHANDS[rest[0]]), rest[1:]
    if rest[0].isalnum():
        raise _unsupported(expression, f"\\{rest[0]}")
    return (rest[0],), rest[1:]


def _class(expression, rest):
    if rest.startswith("^"):
        raise _unsupported(expression, "a class of all but some characters ([^...])")
    found: list[str] = []
    while rest and rest[0] != "]":
        members, rest = _escaped(expression, rest[1:]) if rest[0] == "\\" else ((rest[0],), rest[1:])
        if len(members) == 1 and len(rest) > 1 and rest[0] == "-" and rest[1] != "]":
            last, rest = _escaped(expression, rest[2:]) if rest[1] == "\\" else ((rest[1],), rest[2:])
            if len(last) != 1 or last[0] < members[0]:
                raise _unsupported(expression, "a range that ends before it begins")
            members = tuple(map(chr, range(ord(members[0]), ord(last[0]) + 1)))
        found += members
    if not rest:
        raise _unsupported(expression, "a bracket that is not closed")
    if not found:
        raise _unsupported(expression, "an empty class")
    return tuple(dict.fromkeys(found)), rest[1:]


def _group(expression, rest):
    body, closed, rest = rest.partition(")")
    if not closed:
        raise _unsupported(expression, "a parenthesis that is not closed")
    if any(mark in body for mark in "([{\\?*+.^$"):
        raise _unsupported(expression, "a group of anything but plain alternatives")
    alternatives = tuple(body.split("|"))
    if len({*map(len, alternatives)}) != 1 or not alternatives[0]:
        raise _unsupported(expression, "alternatives of different lengths")
    return tuple(dict.fromkeys(alternatives)), rest


def _times(expression, rest):
    if not rest.startswith("{"):
        return 1, rest
    times, closed, rest = rest[1:].partition("}")
    if not (closed and times.isdecimal() and times.isascii() and int(times) > 0):
        raise _unsupported(expression, "a repetition other than {n}")
    return int(times), rest


@dataclass(frozen=True)
class KeyColumn:
    """A column of keys: drawn apart from records, and never looked at.

    Attributes
    ----------
    name : str or int
    dtype : str
    pattern : str
    unique : bool
        Whether no key may come twice in one draw.
    """

    name: str | int
    dtype: str
    pattern: str
    unique: bool

    def check_room(self, n):
        """Raise ValueError if ``n`` keys are more than there are."""
        size = Pattern.of(self.pattern).size
        if self.unique and n > size:
            raise BadValueError(
                f"column {self.name!r}: its pattern has {size} keys, and {n} were asked for; draw fewer records, widen "
                "the pattern, or declare unique=False"
            )

    def draw(self, n, seed, start=0):
        """Keys (n,) of a draw, from its place ``start`` on, as a pandas column.

        Unique ones are those that a bijection, chosen by the seed, gives of the places: parts of one draw have none in
        common.
        """
        import pandas as pd

        self.check_room(start + n)
        pattern, random = Pattern.of(self.pattern), np.random.default_rng([*seed, start])
        if self.unique:
            # The tail alone keeps keys apart where there are more than machine numbers.
            head, tail = pattern.split(LARGEST)
            texts = tail.texts(shuffled(np.arange(start, start + n, dtype=np.uint64), tail.size, seed))
            if head is not None:
                texts = [a + b for a, b in zip(head.random_texts(n, random), texts, strict=True)]
        else:
            texts = pattern.random_texts(n, random)
        keys = pd.Series(texts, dtype=object, name=self.name)
        return keys if self.dtype == "object" else keys.astype(self.dtype)


def shuffled(places, size, seed):
    """Numbers below ``size`` in a random order that the seed chooses: those at the given places (m,) of it.

    A Feistel network [1]_ on as many bits as ``size`` has; what it sends beyond goes through it again, until it lies
    below: both are bijections.

    References
    ----------
    .. [1] Black, Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002.

    Examples
    --------
    >>> sorted(shuffled(np.arange(10, dtype=np.uint64), 10, [3]).tolist())
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    half = np.uint64(max(1, -(-(size - 1).bit_length() // 2)))
    mask = (np.uint64(1) << half) - np.uint64(1)
    keys = np.random.default_rng(seed).integers(2**64, size=ROUNDS, dtype=np.uint64)
    out, beyond = places.copy(), np.arange(len(places))
    while len(beyond):
        left, right = out[beyond] >> half, out[beyond] & mask
        for key in keys:
            left, right = right, left ^ (_mixed(right + key) & mask)
        out[beyond] = (left << half) | right
        beyond = beyond[out[beyond] >= size]
    return out


def _mixed(words):
    """The finaliser of splitmix64."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
