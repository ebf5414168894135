"""Ends of numbers and dates as users write them: of an array's columns, of a table's, and of conditions."""

import math
import warnings
from numbers import Real

import numpy as np

from sinkgen._validation import check_real
from sinkgen.exceptions import BadTypeError, BadValueError


def parse_bounds(schema, n_groups):
    """Bounds of each column, from a schema for arrays.

    Parameters
    ----------
    schema : None, (low, high), or a list of (low, high), one a column
        One pair holds for all columns.
    n_groups : int
        Number of columns (1 for images, whose pixels share their bounds).

    Returns
    -------
    tuple of (low, high), or None if nothing is declared

    Raises
    ------
    TypeError, ValueError
        If the schema is something else, has another length, or an interval is empty or not finite.

    Examples
    --------
    >>> parse_bounds((0, 16), 2)
    ((0.0, 16.0), (0.0, 16.0))
    """
    if schema is None:
        return None
    pairs = [schema] * n_groups if _is_pair(schema) else schema
    if not isinstance(pairs, (list, tuple)):
        raise BadTypeError(f"schema must be (low, high) or a list of them, got {type(schema).__name__}")
    if len(pairs) != n_groups:
        raise BadValueError(f"schema has {len(pairs)} entries for {n_groups} columns")
    return tuple(interval(f"schema[{i}]", pair) for i, pair in enumerate(pairs))


def _is_pair(value):
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(isinstance(end, Real) for end in value)


def interval(name, pair):
    if not _is_pair(pair):
        raise BadTypeError(f"{name} must be a pair of numbers (low, high)")
    low, high = map(float, pair)
    if not (low < high and math.isfinite(high - low)):
        raise BadValueError(f"{name} must be finite with low < high, and so must be high - low; got {pair!r}")
    return low, high


def as_number(value):
    """A finite number; of a date, what a clock shows, in seconds since 1970.

    Raises
    ------
    TypeError
        If it is neither, or a date with a time zone: nothing says what a clock of the column's zone shows then.
    """
    if isinstance(value, Real):
        return check_real("a bound, edge or atom", value, low=-1e300, high=1e300)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy would warn of a time zone, and take the clock of UTC
            date = np.datetime64(value, "us")
    except (TypeError, ValueError):
        date = np.datetime64("NaT")
    except Warning:
        raise BadTypeError(
            "a date has a time zone: give it as a clock of the column's zone shows it, without one, as by "
            ".tz_localize(None)"
        ) from None
    if np.isnat(date):
        raise BadTypeError("bounds, edges and atoms must be numbers or dates; categories stand in a list")
    return float(date.astype(np.int64)) / 1e6


def range_of(name, condition):
    """From where to where numbers lie that meet a condition on a column: one of them, or a pair, of which None is open.

    Examples
    --------
    >>> range_of("age", (30, None)), range_of("age", 5)
    ((30.0, inf), (5.0, 5.0))
    """
    low, high = condition if isinstance(condition, tuple) and len(condition) == 2 else (condition, condition)
    is_open = isinstance(condition, tuple)
    try:
        return (
            -math.inf if low is None and is_open else as_number(low),
            math.inf if high is None and is_open else as_number(high),
        )
    except (TypeError, ValueError):
        raise BadTypeError(
            f"column {name!r} holds numbers or dates: a condition is one, a pair (low, high), None for no end, or None "
            "for a missing cell"
        ) from None
