"""Tables in, tables out: cells of mixed kinds to the codes of a few states a column, and back.

Every column has a public, finite set of states: bins of its numbers or its categories, one state for what is learned to
be rare, one for missing cells. Bins are made of smaller cells; of other states each is one cell. A record is encoded as
one cell a column. What is drawn is a cell plus a fraction, which says where inside the cell the number lies.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch

from sinkgen.data.frames import FrameKind
from sinkgen.data.schema import Column, Schema, as_number, kind_of, numbers_of

OTHER = "other"  # what text of the reserved state reads when drawn
FINE_CELLS = 128
UNIT_CELLS = 512  # whole numbers within so wide bounds have a cell each


# --- Columns ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NumberColumn:
    """Numbers or dates, in bins that are made of cells.

    Attributes
    ----------
    name : str or int
    dtype : str
        Name of the pandas dtype.
    kind : {"float", "integer", "datetime"}
        Dates are counted in seconds since 1970.
    nullable : bool
        Whether a state for missing cells stands after the bins.
    bounds : (low, high) or None
        None as long as they are not known.
    atoms : tuple of float
        Numbers that get a cell of their own.
    step : float or None
        Numbers are rounded down to multiples of it.
    edges : tuple of float or None
        Ends of the cells (n_cells + 1,); a cell holds its left end. None as long as bins are not known.
    bins : tuple of int
        Bin of each cell, rising by 0 or 1.
    weights : tuple of float
        Weight of each cell within its bin, positive: what is known of them before they are counted within classes.
    """

    name: str | int
    dtype: str
    kind: str
    nullable: bool
    bounds: tuple | None = None
    atoms: tuple = ()
    step: float | None = None
    edges: tuple | None = None
    bins: tuple = ()
    weights: tuple = ()

    @property
    def missing(self):
        """Names of the releases that this column waits for."""
        bounds = () if self.bounds else ("bounds",)
        return bounds + (() if self.edges else ("bins",))

    @property
    def n_states(self):
        """Bins, and the state for missing cells."""
        return self.n_ordered + self.nullable

    @property
    def n_ordered(self):
        """Bins."""
        return self.bins[-1] + 1

    @property
    def optional(self):
        """Which states may never occur."""
        return (False,) * self.n_ordered + (True,) * self.nullable

    @property
    def cell_states(self):
        """State of each cell; the last is for missing cells if the column is nullable."""
        return (*self.bins, *[self.n_ordered] * self.nullable)

    @property
    def cell_weights(self):
        """Weight of each cell within its state."""
        return (*self.weights, *[1.0] * self.nullable)

    @property
    def is_fine(self):
        """Whether its states are, or may be when they are learned, of several cells each."""
        return not self.edges or len(self.bins) > self.n_ordered

    @property
    def undeclared(self):
        """What the user could have declared and did not."""
        return None if self.bounds else "bounds"

    def extremes(self, series):
        """The least and the greatest cell."""
        numbers = numbers_of(series)
        places = np.flatnonzero(np.isfinite(numbers))
        return series.iloc[places[[numbers[places].argmin(), numbers[places].argmax()]] if len(places) else []]

    def observe(self, series):
        """The column with bounds: its own, or those that its cells show."""
        if self.bounds:
            return self
        numbers = numbers_of(series)
        numbers = numbers[np.isfinite(numbers)]
        return self.with_bounds((numbers.min(), numbers.max()) if len(numbers) else (0.0, 1.0))

    def with_bounds(self, bounds):
        """The column with bounds, at least 1 apart if they are the same."""
        low, high = map(float, bounds)
        return dataclasses.replace(self, bounds=(low, high if high > low else low + 1))

    def with_cells(self, edges, bins=None, weights=None):
        """The same column with cells; by default each is a bin of its own."""
        n_cells = len(edges) - 1
        bins = range(n_cells) if bins is None else bins
        weights = [1.0] * n_cells if weights is None else weights
        return dataclasses.replace(
            self, edges=tuple(map(float, edges)), bins=tuple(map(int, bins)), weights=tuple(map(float, weights))
        )

    def with_bins(self, edges):
        """The same column with declared bins, and cells in them, in which records lie evenly for all that is known."""
        edges = np.unique(np.ceil(edges)) if self.kind == "integer" else np.asarray(edges)
        fine = fine_edges(self)
        ends = np.union1d(edges, fine[(fine > edges[0]) & (fine < edges[-1])])
        bins = np.searchsorted(edges, ends[:-1], side="right") - 1
        return self.with_cells(ends, bins, np.diff(ends))

    def encode(self, series):
        """Cells (m,) of a pandas column; -1 for missing ones of a column that has no state for them."""
        numbers = numbers_of(series)
        cells = np.clip(np.searchsorted(self.edges, numbers, side="right") - 1, 0, len(self.bins) - 1)
        return np.where(np.isnan(numbers), len(self.bins) if self.nullable else -1, cells)

    def decode(self, places):
        """A pandas column of drawn places (m,), cell plus fraction."""
        edges = np.asarray(self.edges)
        cell = np.clip(np.floor(places).astype(int), 0, len(self.bins) - 1)
        left, width = edges[cell], np.diff(edges)[cell]
        is_atom = width <= 2 * np.abs(np.spacing(left))
        numbers = np.where(is_atom, left, left + np.clip(places - cell, 0, 1) * width)
        if self.kind == "integer":
            numbers = np.clip(np.floor(numbers), left, edges[cell + 1] - 1)
        if self.step is not None:
            numbers = np.maximum(np.floor(numbers / self.step) * self.step, self.bounds[0])
        return self._restore(np.minimum(numbers, self.bounds[1]), np.asarray(places) >= len(self.bins))

    def allowed(self, condition):
        """Part of each cell that meets a condition: (n_cells, 2), from and to.

        Parameters
        ----------
        condition : number, (low, high) or None
            None asks for a missing cell.
        """
        out = np.zeros((len(self.cell_states), 2))
        if condition is None:
            out[len(self.bins) :, 1] = 1
            return out
        if isinstance(condition, (list, set)):
            raise TypeError(
                f"column {self.name!r} holds numbers or dates: a condition is one, a pair (low, high) or None"
            )
        low, high = map(as_number, condition if isinstance(condition, tuple) else (condition, condition))
        grain = self.step or float(self.kind == "integer")
        high = (np.floor(high / grain) + 1) * grain if grain else np.nextafter(high, np.inf)
        cells = np.arange(len(self.bins))
        start, stop = np.interp([low, high], self.edges, np.arange(len(self.edges)))
        out[: len(cells)] = np.clip(np.stack([start - cells, stop - cells], 1), 0, 1)
        return out

    def _restore(self, numbers, is_missing):
        import pandas as pd

        if self.kind == "datetime":
            return _dates(numbers, is_missing, self.dtype)
        if is_missing.any():
            numbers = pd.array(numbers, dtype="Float64") if self.dtype[0].isupper() else numbers
            numbers[is_missing] = pd.NA if self.dtype[0].isupper() else np.nan
        return pd.Series(numbers, name=self.name).astype(self.dtype)


def _dates(seconds, is_missing, dtype):
    import pandas as pd

    dates = np.floor(seconds).astype("int64").astype("datetime64[s]")
    dates[is_missing] = np.datetime64("NaT")
    series = pd.Series(dates)
    return series.dt.tz_localize("UTC").astype(dtype) if "," in dtype else series.astype(dtype)


@dataclass(frozen=True)
class CategoryColumn:
    """Categories, ordered or not, and booleans.

    Attributes
    ----------
    name : str or int
    dtype : str
        Name of the pandas dtype; "category" for its categories.
    kind : {"category", "ordinal", "boolean"}
    nullable : bool
        Whether the last state is for missing cells.
    values : tuple or None
        None as long as they are not known.
    other : bool
        Whether a state after the values holds all other categories: so where the values are learned.
    """

    name: str | int
    dtype: str
    kind: str
    nullable: bool
    values: tuple | None = None
    other: bool = False

    @property
    def missing(self):
        """Names of the releases that this column waits for."""
        return () if self.values is not None else ("categories",)

    @property
    def n_states(self):
        """Values, the state for others, the state for missing cells."""
        return len(self.optional)

    @property
    def cell_states(self):
        """State of each cell: they are the same."""
        return tuple(range(self.n_states))

    @property
    def cell_weights(self):
        """Weight of each cell within its state."""
        return (1.0,) * self.n_states

    is_fine = False

    @property
    def n_ordered(self):
        """Values, where they have an order."""
        return len(self.values) if self.kind == "ordinal" else 0

    @property
    def optional(self):
        """Which states may never occur."""
        return (False,) * len(self.values) + (True,) * (self.other + self.nullable)

    @property
    def undeclared(self):
        """What the user could have declared and did not."""
        return None if self.values is not None else "values"

    def extremes(self, series):
        """Every category once."""
        return series.drop_duplicates()

    def observe(self, series):
        """The column with values: its own, or all that occur."""
        if self.values is not None:
            return self
        return dataclasses.replace(self, values=tuple(sorted(member_counts(series))), other=False)

    def with_values(self, values):
        """The column with values that were learned."""
        return dataclasses.replace(self, values=tuple(values))

    def encode(self, series):
        """Codes (m,) of a pandas column; -1 for cells that no state holds."""
        places, present = series.factorize()
        codes = {value: code for code, value in enumerate(self.values)}
        rest = len(self.values) if self.other else -1
        found = [codes.get(value, rest) for value in python_values(present)]
        return np.array([*found, self.n_states - 1 if self.nullable else -1])[places]

    def decode(self, places):
        """A pandas column of drawn places (m,), code plus fraction."""
        import pandas as pd

        is_text = not self.values or isinstance(self.values[0], str)
        states = [*self.values, *[OTHER if is_text else None] * self.other, *[None] * self.nullable]
        cells = np.empty(len(states), dtype=object)
        cells[:] = states
        cells = cells[np.floor(places).astype(int)]
        if self.dtype == "category":
            categories = [state for state in dict.fromkeys(states) if state is not None]
            return pd.Series(pd.Categorical(cells, categories=categories, ordered=self.kind == "ordinal"))
        return pd.Series(cells, dtype=object).astype(self.dtype)

    def allowed(self, condition):
        """Part of each cell that meets a condition: (n_cells, 2), from and to.

        Parameters
        ----------
        condition : category, list of categories, or None
            None asks for a missing cell.
        """
        out = np.zeros((self.n_states, 2))
        if condition is None:
            out[self.n_states - 1, 1] = float(self.nullable)
            return out
        wanted = condition if isinstance(condition, (list, tuple, set)) else [condition]
        codes = {value: code for code, value in enumerate(self.values)}
        if self.other:
            codes.setdefault(OTHER, len(self.values))
        for value in wanted:
            if value not in codes:
                raise ValueError(f"column {self.name!r} knows the categories {list(codes)}")
            out[codes[value], 1] = 1
        return out


def member_counts(series):
    """How often each cell of a pandas column that is not missing occurs: {Python scalar: count}."""
    places, present = series.factorize()
    counts = np.bincount(places[places >= 0], minlength=len(present)).tolist()
    return {value: count for value, count in zip(python_values(present), counts, strict=True) if count}


def python_values(values):
    """Cells as Python scalars, so that they are found whatever dtype held them."""
    return [value.item() if isinstance(value, np.generic) else value for value in values]


def fine_edges(column):
    """Ends of the cells in which a column's numbers are counted; public.

    Whole numbers, and dates of whole steps, have a cell each within narrow bounds. Else cells are of equal width, and,
    for numbers that may be skewed, also of equal ratio; the column's atoms have cells of their own.

    Examples
    --------
    >>> fine_edges(NumberColumn("age", "int64", "integer", False, (0.0, 3.0))).tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0]
    """
    low, high = column.bounds
    whole = column.kind == "integer"
    grain = _whole_grain(column)
    if grain and (high - low) / grain < UNIT_CELLS:
        return np.arange(np.ceil(low / grain), np.floor(high / grain) + 2) * grain
    edges = [np.linspace(low, high, FINE_CELLS + 1)]
    if column.kind != "datetime":
        sizes = max(abs(low), abs(high)) * 2.0 ** (-np.arange(1, FINE_CELLS) / 4)
        atoms = np.asarray(column.atoms)
        edges += [sizes, -sizes, atoms, atoms + 1 if whole else np.nextafter(atoms, np.inf)]
    ends = np.concatenate(edges)
    ends = np.unique(np.ceil(ends) if whole else ends)
    last = np.floor(high) + 1 if whole else high
    return np.append(ends[(ends >= low) & (ends < last)], last)


def _whole_grain(column):
    """Public distance of a column's numbers, if it is a whole number; else None."""
    if column.kind == "float":
        return None
    grain = column.step or (1.0 if column.kind == "integer" else None)
    return grain if grain and grain == np.floor(grain) else None


# --- The table -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TableFormat:
    """The public facts of a table: its columns, in their order.

    Attributes
    ----------
    columns : tuple of NumberColumn or CategoryColumn
    frame_kind : FrameKind or None
        What frame of another library than pandas the table was.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"age": [31, 50], "sex": ["F", "M"]})
    >>> schema = {"age": Column(edges=(0, 40, 90)), "sex": ["F", "M"]}
    >>> form = table_format(frame, schema)
    >>> form.states(form.encode(Rows(frame))).tolist()
    [[0, 0], [1, 1]]
    """

    columns: tuple
    frame_kind: FrameKind | None = None

    @property
    def missing(self):
        """Names of the releases that have to find what is not known, in their order."""
        wanted = {what for column in self.columns for what in column.missing}
        return tuple(what for what in ("bounds", "categories", "bins") if what in wanted)

    @property
    def undeclared(self):
        """What the user could have declared and did not, for messages."""
        return tuple(f"schema[{c.name!r}] ({c.undeclared})" for c in self.columns if c.undeclared)

    @property
    def assumptions(self):
        """What is public without having been released."""
        declared = [str(column.name) for column in self.columns if not column.undeclared]
        return (f"bounds or values, as declared or by dtype, of: {', '.join(declared)}",) if declared else ()

    def check(self, rows):
        """Check the cells of :class:`Rows` against what is declared of them; before anything is spent.

        Raises
        ------
        TypeError
            If a column holds what no table can: the message names the column.
        ValueError
            If cells are missing or infinite where that is not declared.
        """
        for column in self.columns:
            _check_cells(column, rows.frame[column.name])

    def extremes(self, chunks):
        """A few cells that :meth:`observe` reads like all those of the chunks of :class:`Rows`."""
        import pandas as pd

        parts = [{c.name: c.extremes(rows.frame[c.name]) for c in self.columns} for rows in chunks]
        return Rows({c.name: pd.concat([part[c.name] for part in parts]) for c in self.columns}) if parts else None

    def observe(self, X):
        """The same format, with bounds and values read off a table that is trusted to be public."""
        return self.with_columns(column.observe(X.frame[column.name]) for column in self.columns)

    def with_columns(self, columns):
        """The same table with more known of its columns."""
        return dataclasses.replace(self, columns=tuple(columns))

    @property
    def names(self):
        """Names of the columns."""
        return [column.name for column in self.columns]

    @property
    def widths(self):
        """Number of states of each column."""
        return tuple(column.n_states for column in self.columns)

    @property
    def ordered(self):
        """Number of each column's first states that have an order."""
        return tuple(column.n_ordered for column in self.columns)

    @property
    def optional(self):
        """Whether each of the D states is one for missing or other cells, that may never occur."""
        return tuple(flag for column in self.columns for flag in column.optional)

    @property
    def record_shape(self):
        """One row."""
        return (len(self.columns),)

    @property
    def n_encoded(self):
        """Numbers in an encoded record."""
        return len(self.columns)

    @property
    def cell_counts(self):
        """Number of cells of each column."""
        return tuple(len(column.cell_states) for column in self.columns)

    @property
    def cell_states(self):
        """Which of the D states of all columns each of the C cells belongs to, LongTensor (C,)."""
        starts = np.cumsum([0, *self.widths[:-1]])
        parts = zip(starts, self.columns, strict=True)
        return torch.from_numpy(np.concatenate([start + np.asarray(column.cell_states) for start, column in parts]))

    @property
    def cell_shares(self):
        """Share of each cell in its state, by what is known before they are counted within classes, (C,)."""
        weights = torch.tensor([weight for c in self.columns for weight in c.cell_weights], dtype=torch.float64)
        states = self.cell_states
        return weights / torch.zeros(sum(self.widths), dtype=torch.float64).index_add_(0, states, weights)[states]

    @property
    def fine(self):
        """Places of the columns whose states are, or may be, of several cells each."""
        return tuple(j for j, column in enumerate(self.columns) if column.is_fine)

    def encode(self, rows):
        """Cells (m, n_columns) of :class:`Rows`, each record on its own: what no cell holds is -1."""
        cells = np.stack([column.encode(rows.frame[column.name]) for column in self.columns], 1)
        return torch.from_numpy(cells.astype(np.int16 if max(self.cell_counts) < 2**15 else np.int32))

    def states(self, cells):
        """States (m, n_columns) of cells; -1 stays."""
        table = [torch.tensor([*column.cell_states, -1], dtype=cells.dtype) for column in self.columns]
        return torch.stack([of[part.long()] for of, part in zip(table, cells.T, strict=True)], 1)

    def decode(self, encoded):
        """The table (pandas.DataFrame) of drawn places (m, n_columns), each a cell plus a fraction."""
        import pandas as pd

        places = encoded.detach().cpu().double().numpy()
        series = [column.decode(place) for column, place in zip(self.columns, places.T, strict=True)]
        frame = pd.concat(series, axis=1)
        count = pd.RangeIndex(len(self.names))
        frame.columns = count if self.names == list(count) else pd.Index(self.names)
        return frame

    def allowed(self, conditions):
        """Part of each cell that meets the conditions: one (n_cells, 2) a column, or None.

        Parameters
        ----------
        conditions : dict
            Column to a category or a list of them, a number or date, ``(low, high)``, or None, nan or NaT for missing.

        Raises
        ------
        TypeError, ValueError
            If a column is unknown, or a category is, or numbers have other conditions.
        """
        import pandas as pd

        unknown = set(conditions) - set(self.names)
        if unknown:
            raise ValueError(f"conditions name columns that the table lacks; it has {self.names}")
        conditions = {
            name: None if pd.api.types.is_scalar(wanted) and pd.isna(wanted) else wanted
            for name, wanted in conditions.items()
        }
        return [c.allowed(conditions[c.name]) if c.name in conditions else None for c in self.columns]

    def to_dict(self):
        """What :meth:`from_dict` reads; JSON."""
        columns = [{"type": type(column).__name__, **dataclasses.asdict(column)} for column in self.columns]
        kind = None if self.frame_kind is None else self.frame_kind.to_dict()
        return {"kind": type(self).__name__, "columns": columns, "frame_kind": kind}

    @classmethod
    def from_dict(cls, state):
        """The format whose ``to_dict`` gave ``state``."""
        kind = state.get("frame_kind")
        columns = tuple(_column_from_dict(dict(column)) for column in state["columns"])
        return cls(columns, None if kind is None else FrameKind(**kind))


COLUMN_TYPES = {kind.__name__: kind for kind in (NumberColumn, CategoryColumn)}


def _column_from_dict(state):
    kind: type = COLUMN_TYPES[state.pop("type")]
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in state.items()})


def table_format(frame, schema=None, frame_kind=None):
    """The format of a table, from public facts alone: names and dtypes of its columns, and what is declared.

    Parameters
    ----------
    frame : pandas.DataFrame
        Checked by :func:`check_columns`; its rows do not matter.
    schema : Schema or dict, optional
    frame_kind : FrameKind, optional

    Raises
    ------
    TypeError, ValueError
        If the schema names a column that the table lacks, or does not fit a column's dtype.
    """
    schema = _as_schema(schema, frame.columns)
    columns = (_column_format(name, frame.dtypes[name], schema.get(name)) for name in frame.columns)
    return TableFormat(tuple(columns), frame_kind)


def _as_schema(schema, names):
    schema = schema if isinstance(schema, Schema) else Schema({} if schema is None else schema)
    # JSON has written the names that are numbers as texts.
    by_text = {str(name): name for name in names} | {name: name for name in names}
    unknown = [name for name in schema if name not in by_text]
    if unknown:
        raise ValueError(f"schema names columns that X lacks: {unknown}; X has {list(names)}")
    return Schema({by_text[name]: column for name, column in schema.items()})


def _column_format(name, dtype, declared):
    column = declared or Column()
    kind = kind_of(dtype, column)
    _check_kind(name, kind, dtype)
    # What is not declared may be missing wherever the dtype allows: whether it ever is, is private.
    nullable = column.nullable if declared else _holds_missing(dtype)
    text = "category" if hasattr(dtype, "categories") else str(dtype)
    if kind in ("float", "integer", "datetime"):
        made = NumberColumn(name, text, kind, nullable, column.bounds, (*column.atoms, 0.0), column.step)
        return made if column.edges is None else made.with_bins(column.edges)
    if kind == "ordinal" and column.values is None:
        raise ValueError(f"column {name!r} is ordered: declare its values in the schema, in their order")
    values = (False, True) if kind == "boolean" else column.values
    return CategoryColumn(name, text, kind, nullable, values, other=values is None)


def _check_kind(name, kind, dtype):
    if kind is None or (kind == "datetime") != (getattr(dtype, "kind", "O") == "M"):
        raise TypeError(
            f"column {name!r} has dtype {dtype}" + ("" if kind is None else f" and is declared as {kind}")
            + "; columns hold numbers, booleans, text, categories or datetimes"
        )  # fmt: skip


def _holds_missing(dtype):
    return not (isinstance(dtype, np.dtype) and dtype.kind in "biu")


class Rows:
    """A table that can be cut by position, as a record source wants it.

    Parameters
    ----------
    frame : pandas.DataFrame
    """

    device = "cpu"

    def __init__(self, frame):
        self.frame = frame

    def __len__(self):
        return len(self.frame)

    @property
    def shape(self):
        """Records and columns."""
        return self.frame.shape

    def __getitem__(self, rows):
        return Rows(self.frame.iloc[rows])


# --- Checks ----------------------------------------------------------------------------------------------------------


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
        raise TypeError("a data frame in parts must be of pandas; pass X.to_pandas()")
    if not len(frame.columns):
        raise ValueError("X has 0 columns; at least 1 is needed")
    if not all(isinstance(name, (str, int)) for name in frame.columns) or not frame.columns.is_unique:
        raise ValueError("X must have column names that are distinct texts or integers")


def _check_cells(column, series):
    if isinstance(column, CategoryColumn):
        _check_categories(column, series)
    elif column.kind != "datetime" and series.dtype.kind not in "biuf":
        raise TypeError(f"column {column.name!r} is declared as {column.kind} and has dtype {series.dtype}")
    if column.nullable:
        return
    if series.isna().any() or (series.dtype.kind == "f" and not np.isfinite(series.to_numpy(dtype=float)).all()):
        raise ValueError(f"column {column.name!r} has missing or infinite cells; declare Column(..., nullable=True)")


def _check_categories(column, series):
    if series.dtype != object:
        return
    kinds = {str if isinstance(value, str) else type(value) for value in series.dropna()}
    are_plain = all(issubclass(kind, (str, bool, int, float, np.generic)) for kind in kinds)
    if not are_plain or (str in kinds and len(kinds) > 1):
        raise TypeError(f"column {column.name!r} holds mixed or composite objects; text or numbers are needed")
