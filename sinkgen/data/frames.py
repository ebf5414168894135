"""Data frames of other libraries than pandas: in as a pandas frame, out as they were."""

from dataclasses import dataclass

from sinkgen.exceptions import BadTypeError

# Dtypes that a table's column may have, by the names of narwhals.
INTEGERS = tuple(f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64))
FLOATS = ("Float32", "Float64")
TEXT = ("String", "Categorical", "Enum")


def is_foreign(X):
    """Whether ``X`` is a data frame that pandas or Dask did not make."""
    kind = type(X)  # to ask a lazy frame itself for its columns may take long
    return hasattr(kind, "columns") and not (hasattr(kind, "iloc") or hasattr(kind, "__dask_graph__"))


@dataclass(frozen=True)
class FrameKind:
    """What is public about a data frame of another library, so that one like it can be made.

    Attributes
    ----------
    library : str
        "polars" or another that narwhals can make frames of.
    dtypes : dict of str to list
        Name of each column's dtype, and its arguments; JSON values.
    """

    library: str
    dtypes: dict

    def restore(self, frame):
        """A frame of the library, of the columns and rows of a pandas frame; what is missing there is null."""
        nw = _narwhals()
        first, *others = (_column_of(nw, frame[name], self.dtypes[name], self.library) for name in frame.columns)
        # Not by nw.from_dict, which makes an Enum of polars a Categorical.
        return first.to_frame().with_columns(*others).to_native()

    def to_dict(self):
        """What ``FrameKind(**state)`` reads; JSON."""
        return {"library": self.library, "dtypes": self.dtypes}


def to_pandas(X):
    """A pandas frame of the same cells, and the kind that ``X`` has.

    Integers and booleans may be missing in every other library; they become the masked dtypes of pandas.

    Raises
    ------
    TypeError
        If it is no frame in memory that narwhals knows, or a column holds what no table can: the message names it.

    Examples
    --------
    >>> import pyarrow
    >>> frame, kind = to_pandas(pyarrow.table({"age": [31, None]}))
    >>> str(frame.dtypes["age"]), kind.library, kind.dtypes
    ('Int64', 'pyarrow', {'age': ['Int64']})
    """
    import pandas as pd

    nw = _narwhals()
    try:
        frame = nw.from_native(X, eager_only=True)
    except TypeError:
        raise BadTypeError(
            f"X is a {type(X).__name__}: a data frame must lie in memory, of pandas, polars or another library that "
            "narwhals knows; collect it, or pass X.to_pandas()"
        ) from None
    kind = FrameKind(frame.implementation.value, {name: _described(name, frame.schema[name]) for name in frame.columns})
    columns = {name: _to_pandas_column(nw, frame[name], kind.dtypes[name][0]) for name in frame.columns}
    return pd.DataFrame(columns), kind


def _narwhals():
    try:
        import narwhals.stable.v2
    except ImportError:
        raise BadTypeError("data frames of other libraries than pandas need narwhals: sinkgen[polars]") from None
    return narwhals.stable.v2


def _described(name, dtype):
    what = type(dtype).__name__
    if what not in (*INTEGERS, *FLOATS, *TEXT, "Boolean", "Date", "Datetime"):
        raise BadTypeError(
            f"column {name!r} has dtype {dtype}; columns hold numbers, booleans, text, categories or dates"
        )
    if what == "Datetime":
        return [what, dtype.time_unit, dtype.time_zone]
    return [what, list(dtype.categories)] if what == "Enum" else [what]


def _to_pandas_column(nw, series, what):
    import pandas as pd

    if what in FLOATS:
        return series.to_numpy()
    if what in TEXT:
        return pd.Series(series.cast(nw.String).to_list(), dtype=object)
    if what in INTEGERS:
        return pd.arrays.IntegerArray(series.fill_null(0).to_numpy().copy(), series.is_null().to_numpy().copy())
    if what == "Boolean":
        return pd.arrays.BooleanArray(series.fill_null(False).to_numpy().copy(), series.is_null().to_numpy().copy())
    zone = series.dtype.time_zone if what == "Datetime" else None
    if zone is not None:
        series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    dates = pd.Series(series.cast(nw.Datetime("us")).to_numpy())
    return dates if zone is None else dates.dt.tz_localize("UTC").dt.tz_convert(zone)


def _column_of(nw, series, described, library):
    what, *arguments = described
    if getattr(series.dtype, "tz", None) is not None:
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    cells = series.astype(object).where(series.notna(), None).tolist()
    if what == "Enum":  # learned categories come with one more
        arguments = [list(dict.fromkeys([*arguments[0], *filter(None, cells)]))]
    if what not in ("Date", "Datetime"):
        dtype = getattr(nw, what)
        return nw.new_series(str(series.name), cells, dtype(*arguments) if arguments else dtype, backend=library)
    made = nw.new_series(str(series.name), cells, nw.Datetime("us"), backend=library)
    if what == "Date":
        return made.cast(nw.Date)
    unit, zone = arguments
    made = made.cast(nw.Datetime(unit))
    return made if zone is None else made.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
