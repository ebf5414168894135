"""What a table can be, and its cells, before anything is spent: what cannot be read is refused by the column's name."""

import datetime
import decimal

import numpy as np

from sinkgen.data.categories import key_of
from sinkgen.data.dtypes import is_text
from sinkgen.data.table_columns import CategoryColumn
from sinkgen.exceptions import BadTypeError, BadValueError


def is_table(X):
    """Whether ``X`` is a data frame of any library."""
    return hasattr(X, "columns")


def check_columns(frame):
    """Check that a data frame is one that a table can be.

    Raises
    ------
    TypeError
        If it is not a pandas data frame.
    ValueError
        If it has no columns, or their names repeat.
    """
    if not hasattr(frame, "iloc"):
        raise BadTypeError("a data frame in parts must be of pandas; pass X.to_pandas()")
    if not len(frame.columns):
        raise BadValueError("X has 0 columns; at least 1 is needed")
    if not all(isinstance(name, (str, int)) for name in frame.columns) or not frame.columns.is_unique:
        raise BadValueError(
            "X must have column names that are distinct texts or integers: rename its columns, by X.columns = [...]"
        )


def check_cells(column, series):
    """Check the cells of a pandas column against its format; see :meth:`~sinkgen.data.table.TableFormat.check`."""
    if isinstance(column, CategoryColumn):
        _check_categories(column, series)
        if not column.nullable and series.isna().any():
            raise BadValueError(f"column {column.name!r} has missing cells; declare Column(..., nullable=True)")
        return
    numbers = column.numbers(series)
    missing = np.isnan(numbers)
    if is_text(series.dtype) and (missing & series.notna().to_numpy()).any():
        how = f", format={column.format!r}" * bool(column.format) + f", decimal={column.decimal!r}" * bool(
            column.decimal
        )
        raise BadTypeError(
            f"column {column.name!r} is declared as {column.kind}{how}, and has cells that cannot be read so"
        )
    if np.isinf(numbers).any():
        raise BadValueError(
            f"column {column.name!r} has infinite cells: replace them by finite ones, or by missing ones and declare "
            "Column(..., nullable=True)"
        )
    if not column.nullable and missing.any():
        raise BadValueError(f"column {column.name!r} has missing cells; declare Column(..., nullable=True)")


def _check_categories(column, series):
    kinds = _kinds_of_cells(series)
    if any(issubclass(kind, (datetime.date, decimal.Decimal)) for kind in kinds):
        raise BadTypeError(
            f"column {column.name!r} holds dates or decimals as objects: convert it by pandas.to_datetime or "
            "pandas.to_numeric, or declare Column(kind='datetime') or Column(kind='float')"
        )
    are_plain = all(issubclass(kind, (str, bool, int, float)) for kind in kinds)
    if not are_plain or (any(issubclass(kind, str) for kind in kinds) and len(kinds) > 1):
        raise BadTypeError(
            f"column {column.name!r} holds mixed or composite objects; text or numbers are needed: convert it by "
            ".astype('str'), or declare Column(drop=True)"
        )
    held, declared = ({_word(kind) for kind in of} for of in (kinds, map(type, column.values or ())))
    if held and declared and not held & declared:
        raise BadTypeError(
            f"column {column.name!r} holds {' and '.join(sorted(held))}, and is declared to hold "
            f"{' and '.join(sorted(declared))}: declare values as they are in it"
        )
    if not hasattr(series.dtype, "categories") or column.values is None or not len(series.dtype.categories):
        return
    unknown = set(map(key_of, series.dtype.categories)) - set(map(key_of, column.values))
    if len(unknown) == len(series.dtype.categories) or (unknown and column.kind == "ordinal"):
        raise BadTypeError(
            f"column {column.name!r} has a dtype of other categories than those declared: declare values as they are "
            "in it, the same in all chunks if they are ordered"
        )


def _kinds_of_cells(series):
    """Types of the cells of a column of categories; by its dtype, where that says it."""
    cells = series.dtype.categories if hasattr(series.dtype, "categories") else series.dropna()
    if str(cells.dtype).startswith(("str", "string", "large_string", "dictionary")):
        return {str}
    if cells.dtype.kind in "biuf":
        return {{"b": bool, "f": float}.get(cells.dtype.kind, int)}
    return {type(value.item() if isinstance(value, np.generic) else value) for value in cells}


def _word(kind):
    return "texts" if issubclass(kind, str) else "truth values" if kind is bool else "numbers"
