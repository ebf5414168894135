"""The format of one column, from public facts alone: its dtype, and what is declared of it."""

import numpy as np

from sinkgen.data.categories import key_of
from sinkgen.data.column import NUMBERS, Column
from sinkgen.data.dtypes import is_text, kind_of
from sinkgen.data.patterns import KeyColumn, Pattern
from sinkgen.data.table_columns import CategoryColumn, NumberColumn
from sinkgen.exceptions import BadTypeError, BadValueError


def column_format(name, dtype, declared):
    """The format of a column of a dtype, of which a :class:`Column` is declared, or None."""
    column = declared or Column()
    if column.pattern is not None:
        return _key_column(name, dtype, column)
    kind = kind_of(dtype, column)
    _check_kind(name, column, kind, dtype)
    # What is not declared may be missing wherever the dtype allows: whether it ever is, is private.
    nullable = column.nullable if declared else _holds_missing(dtype)
    per_group = column.of is not None
    text = "category" if hasattr(dtype, "categories") else str(dtype)
    if kind in NUMBERS:
        made = NumberColumn(
            name, text, kind, nullable, column.bounds, (*column.atoms, 0.0), step=column.step or _step_of(dtype),
            format=column.format, decimal=column.decimal, per_group=per_group,
        )  # fmt: skip
        return made if column.edges is None else made.with_bins(column.edges)
    if column.bounds is not None or column.step is not None:
        raise BadTypeError(
            f"column {name!r} is declared as numbers and has dtype {dtype}; name its values instead, or if numbers or "
            "dates are written in it, how: decimal='.', decimal=',' or format='%d.%m.%Y'"
        )
    values = (False, True) if kind == "boolean" else column.values
    if kind == "ordinal" and values is None:
        values = _ordered_categories(name, dtype)
    if not (values is None or text in ("category", "object") or _holds(dtype, values)):
        raise BadTypeError(f"column {name!r} has dtype {dtype}, and is declared to hold values that it cannot hold")
    return CategoryColumn(name, text, kind, nullable, values, values is None, per_group)


def _key_column(name, dtype, column):
    first = Pattern.of(column.pattern).texts([0])
    text = "object" if hasattr(dtype, "categories") else str(dtype)
    if not (text == "object" or text.startswith("str") or getattr(dtype, "kind", "O") in "iu"):
        raise BadTypeError(f"column {name!r} has dtype {dtype}: keys of a pattern are text or whole numbers")
    if getattr(dtype, "kind", "O") in "iu" and not all(key.isdecimal() for key in first):
        raise BadTypeError(f"column {name!r} has dtype {dtype}, which cannot hold keys such as {first[0]!r}")
    return KeyColumn(name, text, column.pattern, column.unique)


CONVERSIONS = {
    "timedelta": ": convert it by .dt.total_seconds()",
    "period": ": convert it by .dt.to_timestamp()",
    "Sparse": ": convert it by .sparse.to_dense()",
}


def _check_kind(name, declared, kind, dtype):
    """Raise TypeError where a column of this dtype cannot be what it is declared as."""
    text, are_dates = is_text(dtype), getattr(dtype, "kind", "O") == "M"
    told = f"column {name!r} has dtype {dtype}" + ("" if kind is None else f" and is declared as {kind}")
    can_be = {
        "datetime": are_dates or text,
        "float": text or _are_numbers(dtype),
        "integer": text or _are_numbers(dtype),
    }
    if kind is None or str(dtype).startswith("Sparse"):
        remedy = CONVERSIONS.get(str(dtype).partition("[")[0].partition("64")[0], "")
        raise BadTypeError(
            f"column {name!r} has dtype {dtype}; columns hold numbers, booleans, text, categories or datetimes{remedy}"
        )
    if not can_be.get(kind, not are_dates):
        raise BadTypeError(f"{told}, which it cannot hold: convert it, or declare what it holds")
    if are_dates and declared.kind is None and declared.bounds is not None:
        raise BadTypeError(f"{told}, by bounds that are numbers: give dates, or kind='datetime' for seconds since 1970")
    if not text and (declared.format or declared.decimal):
        raise BadTypeError(f"{told}, with format or decimal: these say how dates and numbers are written in text")
    is_written = {"datetime": declared.format, "float": declared.decimal, "integer": declared.decimal}
    if text and str(dtype) != "object" and not is_written.get(kind, True):
        how = "format='%Y-%m-%d'" if kind == "datetime" else "decimal='.' or decimal=','"
        raise BadTypeError(f"{told}: declare how they are written in it, as by {how}")


def _are_numbers(dtype):
    return getattr(dtype, "kind", "O") in "biuf" or str(dtype).startswith("decimal")


def _ordered_categories(name, dtype):
    """The categories of an ordered dtype, in its order."""
    if not getattr(dtype, "ordered", False) or not len(dtype.categories):
        raise BadValueError(f"column {name!r} is ordered: declare its values in the schema, in their order")
    try:
        return Column("ordinal", values=tuple(dtype.categories)).values
    except TypeError:
        raise BadTypeError(
            f"column {name!r} has categories that are neither texts nor numbers: convert it by .astype('str')"
        ) from None


def _step_of(dtype):
    """Distance of the numbers that a dtype of decimals holds; else None."""
    scale = getattr(getattr(dtype, "pyarrow_dtype", None), "scale", None)
    return None if scale is None else 10.0**-scale


def _holds(dtype, values):
    """Whether a column of this dtype can hold all of the values."""
    import pandas as pd

    try:
        held = pd.Series(list(values), dtype=object).astype(dtype).tolist()
        return list(map(key_of, held)) == list(map(key_of, values))  # to Python, True is 1
    except (TypeError, ValueError, OverflowError):
        return False


def _holds_missing(dtype):
    return not (isinstance(dtype, np.dtype) and dtype.kind in "biu")
