"""Numbers and dates as they stand in columns of pandas, and as float64: by dtype, or as it is written in text."""

from numbers import Complex, Integral, Number, Real

import numpy as np

from sinkgen.data.dtypes import dtype_named, held_range, is_text
from sinkgen.exceptions import BadTypeError

DAY = 86_400.0
YEARS = (-62_135_596_800.0, 253_402_300_799.0)  # seconds of the years 1 to 9999, as dates of Python are
OF_NANOSECONDS = (-9_223_372_036.0, 9_223_372_036.0)


def numbers_of(series, declared=None):
    """Cells of a pandas column of numbers or dates as float64, missing ones as nan; dates in seconds since 1970.

    Dates are what a clock and a calendar of their own time zone show: a day begins at midnight in all of them.

    Parameters
    ----------
    series : pandas.Series
    declared : Column or NumberColumn, optional
        How numbers or dates stand in a column of text; what cannot be read so is nan.
    """
    import pandas as pd

    if is_text(series.dtype):
        series = _read_text(series, declared)
    if series.dtype.kind != "M":
        numbers = series.to_numpy(dtype=np.float64, na_value=np.nan)
        if series.dtype.kind in "iub":
            return numbers
        is_short = str(series.dtype).lower().startswith("float32")
        return _shortest(numbers, np.float32) if is_short else _decimal(numbers)
    if isinstance(series.dtype, pd.ArrowDtype):
        values = _arrow_dates(series)
    else:
        values = (series if getattr(series.dtype, "tz", None) is None else series.dt.tz_localize(None)).to_numpy()
    seconds = values.astype("datetime64[us]").astype(np.int64) / 1e6
    return np.where(np.isnat(values), np.nan, seconds)


def _shortest(numbers, dtype):
    """The shortest decimals that are these numbers of a shorter dtype: 9.99, where it is 9.989999771118164."""
    found = numbers.copy()
    with np.errstate(over="ignore", invalid="ignore"):
        for digits in range(6, -1, -1):
            rounded = np.round(numbers, digits)
            found = np.where(rounded.astype(dtype) == numbers.astype(dtype), rounded, found)
    return found


def _decimal(numbers):
    """The same numbers; those that are thousandths but for rounding, as 0.7 - 0.13 is, as their decimals are read."""
    with np.errstate(over="ignore", invalid="ignore"):
        decimals = np.round(numbers, 3)
        is_near = (np.abs(numbers - decimals) <= 4 * np.spacing(np.abs(numbers))) & (np.abs(numbers) < 1e12)
    return np.where(is_near, decimals, numbers)


def _arrow_dates(series):
    import pyarrow
    import pyarrow.compute

    dates = pyarrow.array(series, from_pandas=True)
    if getattr(dates.type, "tz", None) is not None:
        dates = pyarrow.compute.local_timestamp(dates)
    return dates.cast(pyarrow.timestamp("us")).to_numpy(zero_copy_only=False)


def _read_text(series, declared):
    """Text, or numbers and dates as objects, as numbers or dates."""
    import pandas as pd

    if declared.kind == "datetime":
        if declared.format is not None:
            return pd.to_datetime(series.where(~series.map(_is_number)), format=declared.format, errors="coerce")
        return pd.to_datetime(series.where(series.map(_is_no_text)), errors="coerce")
    if declared.decimal is None:
        return pd.to_numeric(series.where(series.map(_may_be_double)), errors="coerce")
    texts = series.astype("str").str.strip()
    if declared.decimal == ",":
        texts = texts.where(~texts.str.contains(".", regex=False)).str.replace(",", ".", regex=False)
    return pd.to_numeric(texts, errors="coerce")


def _is_no_text(cell):
    return not isinstance(cell, str)


def _is_number(cell):
    """Whether a cell of a column of written dates is a number, that pandas would read as if it were written so."""
    return isinstance(cell, Number)


def _may_be_double(cell):
    """Whether a cell is neither text, nor complex, nor an integer beyond all doubles, for which pandas raises."""
    if isinstance(cell, Integral):
        return abs(int(cell)) <= float(np.finfo(float).max)
    return isinstance(cell, Real) or not isinstance(cell, (str, Complex))


def on_the_clock(date, column):
    """A date with a time zone as a clock of a column's time zone shows it; anything else as it is.

    Raises
    ------
    TypeError
        If the column has no time zone.
    """
    import pandas as pd

    try:
        moment = None if column.kind != "datetime" or isinstance(date, Real) else pd.Timestamp(date)
    except (TypeError, ValueError):
        return date
    if moment is None or moment.tz is None:
        return date
    own = pd.api.types.pandas_dtype(dtype_named(column.dtype))
    zone = getattr(own, "tz", None) or getattr(getattr(own, "pyarrow_dtype", None), "tz", None)
    if zone is None:
        raise BadTypeError(f"column {column.name!r} has no time zone: give dates without one")
    return moment.tz_convert(zone).tz_localize(None)


def cells_of(numbers, is_missing, column):
    """A pandas column of numbers (m,), of its own dtype: what :func:`numbers_of` reads.

    Parameters
    ----------
    numbers : ndarray of shape (m,)
        Dates in seconds since 1970.
    is_missing : ndarray of bool, (m,)
    column : NumberColumn
    """
    import pandas as pd

    if column.is_written:
        cells = np.empty(len(numbers), dtype=object)
        cells[:] = _objects(np.where(is_missing, np.nan, numbers), column)
        cells[is_missing] = None
        return pd.Series(cells).astype(column.dtype)
    if column.kind == "datetime":
        return _dates(numbers, is_missing, column.dtype)
    if is_missing.any():
        numbers = pd.array(numbers, dtype="Float64") if column.dtype[0].isupper() else numbers
        numbers[is_missing] = pd.NA if column.dtype[0].isupper() else np.nan
    return pd.Series(within(numbers, column.dtype), name=column.name).astype(dtype_named(column.dtype))


def _objects(numbers, column):
    """Numbers or dates as texts, where it is declared how they stand in it; else one by one, nan for missing."""
    if column.kind == "datetime":
        dates = _dates(np.nan_to_num(numbers), np.isnan(numbers), "datetime64[s]")
        if column.format:
            return dates.dt.strftime(column.format).tolist()
        return (dates.dt.date if column.step and column.step % DAY == 0 else dates.astype(object)).tolist()
    if column.kind == "integer":
        numbers = [int(number) for number in np.nan_to_num(numbers)]
    if not column.decimal:
        return np.asarray(numbers).tolist()
    digits = _digits(column.step)
    shown = [str(number) if digits is None else f"{number:.{digits}f}" for number in numbers]
    return [text.replace(".", column.decimal) for text in shown]


def _digits(step):
    """Decimals of the multiples of a step, if it is a power of ten; else None."""
    return next((digits for digits in range(10) if step and np.isclose(step, 10.0**-digits, rtol=1e-12)), None)


def within(numbers, dtype):
    """Numbers that a dtype can hold: where cells were learned, noise may have taken them beyond."""
    import pandas as pd

    made = pd.api.types.pandas_dtype(dtype_named(dtype))
    ends = held_range(np.dtype(getattr(made, "numpy_dtype", made)))
    # Of an array pandas itself takes a hundred times as long.
    return numbers.clip(*ends) if isinstance(numbers, np.ndarray) else pd.Series(numbers).clip(*ends)


def _dates(seconds, is_missing, dtype):
    import pandas as pd

    seconds = np.clip(seconds, *(OF_NANOSECONDS if "[ns" in dtype else YEARS))
    dates = np.floor(seconds).astype("int64").astype("datetime64[s]")
    dates[is_missing] = np.datetime64("NaT")
    series = pd.Series(dates)
    if "," not in dtype:
        return series.astype(dtype)
    made = pd.api.types.pandas_dtype(dtype)
    zone = getattr(made, "tz", None) or made.pyarrow_dtype.tz
    is_summer = np.ones(len(series), dtype=bool)  # of the hour that comes twice
    return series.dt.tz_localize(zone, ambiguous=is_summer, nonexistent="shift_forward").astype(dtype)
