"""What categories are counted by, in whatever form a record has them."""

import json

import numpy as np


def member_counts(series):
    """How often each cell of a pandas column that is not missing occurs: {key: count}, see :func:`key_of`."""
    places, keys = keyed(series)
    counts = np.bincount(places[places >= 0], minlength=len(keys)).tolist()
    return {key: count for key, count in zip(keys, counts, strict=True) if count}


def key_of(value):
    """What a category is counted by: its text in JSON, the same in whatever form a record has it.

    Examples
    --------
    >>> [key_of(value) for value in (1, 1.0, np.float32(1), -0.0, True, "1")]
    ['1', '1', '1', '0', 'true', '"1"']
    """
    value = value.item() if isinstance(value, np.generic) else value
    is_whole = isinstance(value, float) and value.is_integer()
    return json.dumps(int(value) if is_whole else value, default=repr)


def named_by(condition):
    """The categories that a condition names: one, or those of a list, an array or the like.

    Examples
    --------
    >>> named_by("a"), named_by(np.array([1, 2]))
    (['a'], [1, 2])
    """
    if isinstance(condition, (list, tuple, set, frozenset, range)):
        return list(condition)
    return np.asarray(condition).tolist() if np.ndim(condition) == 1 else [condition]


def members(keys):
    """The categories that keys stand for, in order: booleans, numbers, texts; a tuple.

    Examples
    --------
    >>> members(['"b"', "10", "2.5", '"a"'])
    (2.5, 10, 'a', 'b')
    """
    return tuple(
        sorted(map(json.loads, keys), key=lambda value: (isinstance(value, str), type(value) is not bool, value))
    )


def keyed(series):
    """Codes (m,) of a pandas column's cells, -1 for missing ones, and the keys that these are codes of."""
    import pandas as pd

    if series.dtype == object and pd.api.types.infer_dtype(series, skipna=True) not in ("string", "empty"):
        places, keys = series.map(key_of, na_action="ignore").factorize()  # True is 1 to pandas
        return places, list(keys)
    places, present = series.factorize()
    return places, list(map(key_of, present))
