"""Checks of parameters: every message names the parameter and says what is allowed, none shows data."""

import math
from numbers import Integral, Real

import numpy as np

from sinkgen.exceptions import BadTypeError, BadValueError


def check_real(name, value, *, low=-math.inf, high=math.inf, include_low=True, include_high=True):
    """Return ``value`` as a float within the interval, or raise an error that names the parameter.

    Parameters
    ----------
    name : str
        Name of the parameter, for the message.
    value : object
        What the user gave.
    low, high : float
        Ends of the interval of allowed values.
    include_low, include_high : bool
        Whether the ends themselves are allowed.

    Raises
    ------
    TypeError
        If ``value`` is not a real number.
    ValueError
        If ``value`` is nan or outside the interval.

    Examples
    --------
    >>> check_real("delta", 1e-5, low=0, high=1, include_low=False, include_high=False)
    1e-05
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise BadTypeError(f"{name} must be a number, got {type(value).__name__}")
    try:
        value = float(value)
    except OverflowError:
        value = math.nan  # an integer beyond all floats
    above = value >= low if include_low else value > low
    below = value <= high if include_high else value < high
    if not (above and below):  # nan fails both
        left, right = "[" if include_low else "(", "]" if include_high else ")"
        raise BadValueError(f"{name} must lie in {left}{low:g}, {high:g}{right}, got {value!r}")
    return value


def check_integer(name, value, *, low=None, high=None):
    """Return ``value`` as an int of at least ``low`` and at most ``high``, or raise an error that names the parameter.

    Examples
    --------
    >>> check_integer("steps", 20, low=1)
    20
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise BadTypeError(f"{name} must be an integer, got {type(value).__name__}")
    value = int(value)
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = f"at least {low}" if high is None else f"from {low} to {high}"
        raise BadValueError(f"{name} must be {bounds}, got {value}")
    return value


def check_choice(name, value, choices):
    """Return ``value`` if it is one of ``choices`` (strings), or raise an error that lists them.

    Examples
    --------
    >>> check_choice("mechanism", "batch", ["semidual", "batch"])
    'batch'
    """
    if not isinstance(value, str) or value not in choices:
        raise BadValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def check_boolean(name, value):
    """Return ``value`` if it is True or False, or raise an error that names the parameter.

    Examples
    --------
    >>> check_boolean("secure_noise", True)
    True
    """
    if not isinstance(value, (bool, np.bool_)):
        raise BadTypeError(f"{name} must be True or False, got {type(value).__name__}")
    return bool(value)
