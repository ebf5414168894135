"""Public knowledge of what records look like: records that are no secret, or what draws such."""

import hashlib
import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np

from sinkgen.exceptions import BadTypeError, BadValueError

N_DRAWS = 10_000  # of a public generator
FEWEST = 2


@dataclass(frozen=True, eq=False)
class Prior:
    """Public records of the format of the private ones.

    Attributes
    ----------
    values : ndarray of shape (m, *record_shape)
    origin : str
        What they are, for the statement.
    """

    values: np.ndarray
    origin: str

    @property
    def assumption(self):
        """What the statement says of them."""
        return f"{self.origin} as prior"

    def __repr__(self):
        # What a fit that goes on is compared by.
        return f"Prior({self.origin}, {hashlib.sha256(self.values.tobytes()).hexdigest()})"


def is_prior(given: Any) -> bool:
    """Whether this may be one: what draws records, or records."""
    return callable(getattr(given, "sample", None)) or isinstance(given, (np.ndarray, list, tuple))


def read_prior(given: Any, form: Any) -> Prior:
    """The public records that ``prior=`` stands for.

    Parameters
    ----------
    given : array of shape (m, *record_shape), or an object with ``sample(n)``
        Drawn from where it is a generator, with a seed where it takes one, so that a fit can be repeated.
    form : NumericFormat
        Of the private records.

    Raises
    ------
    TypeError, ValueError
        If the records are not of the private ones' shape and dtype, or not finite; and whatever ``sample`` raises.

    Examples
    --------
    >>> from sinkgen.data.formats import ImageFormat
    >>> read_prior(np.zeros((5, 2, 2), "uint8"), ImageFormat("uint8", ((0, 255),), image_shape=(2, 2))).origin
    '5 public records'
    """
    draws = callable(getattr(given, "sample", None))
    values, origin = _drawn(given) if draws else (np.asarray(given), f"{len(given)} public records")
    dtype = np.dtype(form.dtype)
    if values.ndim < 2 or values.shape[1:] != form.record_shape:
        raise BadValueError(
            f"prior must hold records of the shape of X's, (m, {', '.join(map(str, form.record_shape))}), "
            f"got {values.shape}"
        )
    if values.dtype != dtype:
        raise BadTypeError(f"prior must have the dtype of X, {dtype}, got {values.dtype}: both are scaled alike")
    if len(values) < FEWEST:
        raise BadValueError(f"prior must hold at least {FEWEST} records, got {len(values)}")
    if not np.isfinite(values).all():
        raise BadValueError("prior contains NaN or infinity")
    return Prior(values, origin)


def _drawn(generator):
    seeded = {"random_state": 0} if "random_state" in inspect.signature(generator.sample).parameters else {}
    drawn = generator.sample(N_DRAWS, **seeded)
    drawn = drawn[0] if isinstance(drawn, tuple) else drawn
    return np.asarray(drawn), f"{len(drawn)} draws of a {type(generator).__name__} that was fitted to public records"
