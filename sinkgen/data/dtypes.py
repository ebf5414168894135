"""What a dtype of pandas is, and can hold; public."""

import re

import numpy as np

NUMERIC = ("int", "uint", "float", "double", "halffloat", "decimal", "bool")  # how dtypes of numbers begin


def held_range(dtype):
    """Least and greatest number of a numeric dtype of numpy that are numbers of double precision; of others all.

    Bounds and cells that were learned may reach beyond: they were found by noisy counts, in octaves.

    Examples
    --------
    >>> held_range(np.dtype("int8")), held_range(np.dtype("float16"))
    ((-128.0, 127.0), (-65504.0, 65504.0))
    >>> held_range(np.dtype("int64"))[1] < 2**63
    True
    """
    if dtype.kind not in "iuf":
        return -np.inf, np.inf
    ends = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    last = float(ends.max)
    return float(ends.min), float(np.nextafter(last, 0)) if last > ends.max else last


def kind_of(dtype, declared):
    """Kind of a column by its pandas dtype, where it is not declared; None for a dtype that no table can hold."""
    if declared.kind is not None:
        return declared.kind
    name, code = str(dtype), getattr(dtype, "kind", "O")
    if hasattr(dtype, "categories") and not name.startswith("interval"):
        return "ordinal" if dtype.ordered else "category"
    if declared.values is not None:
        return "category"
    if code == "b":
        return "boolean"
    if code in "iuf" or name.startswith("decimal"):
        return "integer" if code in "iu" else "float"
    if code == "M":
        return "datetime"
    return "category" if is_text(dtype) or name.startswith("dictionary") else None


def is_text(dtype):
    """Whether a pandas dtype is one of text, or of objects, that mostly are."""
    return str(dtype).startswith(("object", "str", "string", "large_string"))


def dtype_named(name):
    """The pandas dtype of a name, or the name where pandas knows it: decimals and dictionaries of Arrow it does not."""
    decimal = re.fullmatch(r"decimal128\((\d+), (\d+)\)\[pyarrow\]", name)
    dictionary = re.fullmatch(r"dictionary<values=(\w+), indices=(\w+), ordered=[01]>\[pyarrow\]", name)
    if decimal is not None:
        import pandas as pd
        import pyarrow

        return pd.ArrowDtype(pyarrow.decimal128(*map(int, decimal.groups())))
    if dictionary is not None:
        import pandas as pd
        import pyarrow

        values, indices = map(pyarrow.type_for_alias, dictionary.groups())
        return pd.ArrowDtype(pyarrow.dictionary(indices, values))
    return name
