"""What the user declares as public: bounds of numbers."""

import math
from numbers import Real


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
        raise TypeError(f"schema must be (low, high) or a list of them, got {type(schema).__name__}")
    if len(pairs) != n_groups:
        raise ValueError(f"schema has {len(pairs)} entries for {n_groups} columns")
    return tuple(_interval(f"schema[{i}]", pair) for i, pair in enumerate(pairs))


def _is_pair(value):
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(isinstance(end, Real) for end in value)


def _interval(name, pair):
    if not _is_pair(pair):
        raise TypeError(f"{name} must be a pair of numbers (low, high)")
    low, high = map(float, pair)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"{name} must be finite with low < high, got {pair!r}")
    return low, high
