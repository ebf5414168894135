"""What happened: kinds of release, with their noise."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from sinkgen._validation import check_integer, check_real
from sinkgen.exceptions import BadTypeError, BadValueError

MAX_STEPS = 2**53  # beyond it a float no longer counts single steps


@dataclass(frozen=True)
class GaussianRelease:
    """One row of a statement: what was released, and with how much noise.

    Parameters
    ----------
    what : str
        What was released, in words for the reader of the statement.
    noise_multiplier : float
        Standard deviation of the noise over the L2 sensitivity (one record added or removed); 0 is no noise, inf is no
        release.
    sampling_rate : float
        Probability with which each record takes part in a step, independently of the others (Poisson sampling).
    steps : int
        Number of times it was released.
    delta : float
        Probability spent outright by the whole row, beside the Gaussian noise: a set of categories released by
        thresholded noisy counts, for example.

    Raises
    ------
    TypeError, ValueError
        If a value is of the wrong type or out of range; the message names the parameter.

    Examples
    --------
    >>> GaussianRelease("gradients", noise_multiplier=1.1, sampling_rate=0.01, steps=1000)
    GaussianRelease(what='gradients', noise_multiplier=1.1, sampling_rate=0.01, steps=1000, delta=0.0)
    """

    what: str
    noise_multiplier: float
    sampling_rate: float = 1.0
    steps: int = 1
    delta: float = 0.0

    def __post_init__(self):
        if not isinstance(self.what, str):
            raise BadTypeError(f"what must be a string, got {type(self.what).__name__}")
        checked = {
            "noise_multiplier": check_real("noise_multiplier", self.noise_multiplier, low=0),
            "sampling_rate": check_real("sampling_rate", self.sampling_rate, low=0, high=1),
            "steps": check_integer("steps", self.steps, low=0, high=MAX_STEPS),
            "delta": check_real("delta", self.delta, low=0, high=1, include_high=False),
        }
        for name, value in checked.items():  # numpy scalars become Python's, so that rows compare, hash and print alike
            object.__setattr__(self, name, value)

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON values.

        Returns
        -------
        dict
            An infinite noise multiplier is the string ``"inf"`` in it.

        Examples
        --------
        >>> GaussianRelease("counts", 20.0).to_dict()
        {'what': 'counts', 'noise_multiplier': 20.0, 'sampling_rate': 1.0, 'steps': 1, 'delta': 0.0}
        """
        return asdict(self) | {"noise_multiplier": to_json(self.noise_multiplier)}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> "GaussianRelease":
        """Return the row that :meth:`to_dict` wrote, checked anew.

        Parameters
        ----------
        row : dict

        Returns
        -------
        GaussianRelease

        Raises
        ------
        TypeError, ValueError
            If a field is missing, unknown or out of range.

        Examples
        --------
        >>> GaussianRelease.from_dict(GaussianRelease("counts", 20.0).to_dict())
        GaussianRelease(what='counts', noise_multiplier=20.0, sampling_rate=1.0, steps=1, delta=0.0)
        """
        check_fields(cls, row)
        return cls(**dict(row) | {"noise_multiplier": from_json(row["noise_multiplier"])})


class Row(NamedTuple):
    """The part of a release that the price depends on."""

    sigma: float
    q: float
    steps: int


def check_releases(releases):
    """Return ``releases`` as a tuple of :class:`GaussianRelease`, or raise TypeError."""
    if not isinstance(releases, Iterable):
        raise BadTypeError(f"releases must be an iterable of GaussianRelease, got {type(releases).__name__}")
    releases = tuple(releases)
    for release in releases:
        if not isinstance(release, GaussianRelease):
            raise BadTypeError(f"releases must hold GaussianRelease only, got {type(release).__name__}")
    return releases


def to_json(number):
    """Return a number as JSON can hold it: there is no infinity in it."""
    return "inf" if number == math.inf else number


def from_json(number):
    """Return the number that :func:`to_json` wrote."""
    return math.inf if number == "inf" else number


def check_fields(cls, content):
    """Raise ValueError unless ``content`` is a dict of all fields of the dataclass ``cls``, and no other."""
    names = {field.name for field in fields(cls)}
    if not isinstance(content, dict) or set(content) != names:
        raise BadValueError(f"{cls.__name__} needs exactly the fields {', '.join(sorted(names))}")
