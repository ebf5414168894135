"""Tables in, tables out: what is public of their columns, in order.

A record is encoded as one cell a column (:mod:`sinkgen.data.table_columns`). What is drawn is a cell plus a fraction,
which says where inside the cell the number lies.
"""

import dataclasses
import datetime
import decimal
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sinkgen.data.arrangement import Arrangement, arrangement_from_dict
from sinkgen.data.arranging import arranged
from sinkgen.data.boxes import boxes, check_classes, cuts
from sinkgen.data.categories import key_of
from sinkgen.data.column import NUMBERS, Column
from sinkgen.data.dtypes import is_text, kind_of
from sinkgen.data.frames import FrameKind
from sinkgen.data.joint_columns import JointColumn
from sinkgen.data.limits import linked
from sinkgen.data.patterns import KeyColumn, Pattern
from sinkgen.data.schema import Schema
from sinkgen.data.table_columns import CATEGORIES, CategoryColumn, NumberColumn
from sinkgen.exceptions import BadTypeError, BadValueError


@dataclass(frozen=True)
class GroupIds:
    """Where ids of groups stood, and what they were.

    Attributes
    ----------
    name : str or int or None
        Of the column that held them; None where they came beside the table.
    place : int
        Of the column, among those that are not the label.
    dtype : str
        Name of the pandas dtype.

    Examples
    --------
    >>> GroupIds("patient", 0, "int64").ids(np.array([0, 0, 1])).tolist()
    [0, 0, 1]
    """

    name: Any
    place: int
    dtype: str

    def ids(self, numbers):
        """Made-up ids (m,) of groups with these numbers, as a pandas column."""
        import pandas as pd

        series = pd.Series(numbers, name=self.name)
        if pd.api.types.is_integer_dtype(self.dtype):
            return series.astype(self.dtype)
        return series.map("group {}".format).astype(self.dtype)

    def put(self, frame, numbers):
        """A table with these ids in their place."""
        frame.insert(min(self.place, frame.shape[1]), self.name, self.ids(numbers))  # others may be dropped
        return frame


@dataclass(frozen=True)
class TableFormat:
    """The public facts of a table: its columns, in their order.

    Attributes
    ----------
    columns : tuple of NumberColumn, CategoryColumn or JointColumn
        That are modelled.
    frame_kind : FrameKind or None
        What frame of another library than pandas the table was.
    arrangement : Arrangement or None
        How the table's own columns become those that are modelled; None where they are the same.
    group : GroupIds or None
        Where the ids of the groups stood, if the rows belong to groups.

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
    arrangement: Arrangement | None = None
    group: GroupIds | None = None

    @property
    def own_columns(self):
        """The columns of the table itself, as they are drawn."""
        return self.columns if self.arrangement is None else self.arrangement.columns

    @property
    def missing(self):
        """Names of the releases that have to find what is not known, in their order."""
        wanted = {what for column in self.columns for what in column.missing}
        return tuple(what for what in (*CATEGORIES, "bins") if what in wanted)

    @property
    def declared(self):
        """Places of the columns of which it is counted how many records lie outside of what is declared."""
        return tuple(j for j, column in enumerate(self.columns) if column.is_declared)

    @property
    def undeclared(self):
        """What the user could have declared and did not, for messages."""
        return tuple(f"{_declared_as(self.arrangement, c)} ({c.undeclared})" for c in self.columns if c.undeclared)

    @property
    def assumptions(self):
        """What is public without having been released."""
        declared = [str(column.name) for column in self.columns if not column.undeclared]
        found = (f"bounds or values, as declared or by dtype, of: {', '.join(declared)}",) if declared else ()
        rules = () if self.arrangement is None else tuple(f"the rule {rule!r}" for rule in self.arrangement.rules)
        return found + rules

    def check(self, rows):
        """Check the cells of :class:`Rows` against what is declared of them; before anything is spent.

        Raises
        ------
        TypeError
            If a column holds what no table can: the message names the column.
        ValueError
            If cells are missing or infinite where that is not declared.
        """
        for column in self.own_columns:
            if not isinstance(column, KeyColumn):
                check_cells(column, rows.frame[column.name])

    def arrange(self, rows, columns=None):
        """The modelled columns, or some of them, of :class:`Rows` of the table's own, each row on its own."""
        columns = self.columns if columns is None else columns
        return rows if self.arrangement is None else Rows(self.arrangement.arrange(rows.frame, columns))

    def outside(self, rows):
        """Which cells lie outside of what is declared of their columns, bool (m, number of declared columns)."""
        columns = [self.columns[j] for j in self.declared]
        frame = self.arrange(rows, columns).frame
        return np.stack([column.outside(frame[column.name]) for column in columns], 1)

    def extremes(self, chunks):
        """A few cells that :meth:`observe` reads like all those of the chunks of :class:`Rows`."""
        import pandas as pd

        chunks = map(self.arrange, chunks)
        parts = [{c.name: c.extremes(rows.frame[c.name]) for c in self.columns} for rows in chunks]
        return Rows({c.name: pd.concat([part[c.name] for part in parts]) for c in self.columns}) if parts else None

    def observe(self, X):
        """The same format, with bounds and values read off a table that is trusted to be public."""
        return self.with_columns(column.observe(X.frame[column.name]) for column in self.columns)

    def completed(self, labels):
        """The same table, of which nothing is missing, with what rules need: labels, and cells that end with them."""
        if self.arrangement is None or not self.arrangement.rules:
            return self
        made, columns = self.arrangement, list(self.columns)
        for j, column in enumerate(columns):
            ends = cuts(made.rules, column, made.label) if isinstance(column, NumberColumn) else []
            columns[j] = column.split_at(ends) if ends else column
        classes = () if labels is None else labels.classes
        return dataclasses.replace(self, columns=tuple(columns), arrangement=dataclasses.replace(made, classes=classes))

    def check_rules(self, *, are_declared):
        """Raise ValueError if rules leave no record possible, link too much, or name labels that are none.

        Parameters
        ----------
        are_declared : bool
            Whether the labels are.
        """
        if self.limits and are_declared:
            check_classes(self.arrangement.rules, self.arrangement.label, self.arrangement.classes)

    @functools.cached_property
    def limits(self):
        """Which states may not go together: a tuple of Limits, where the label is one more column, the last."""
        made = self.arrangement
        if made is None or not made.rules:
            return ()
        found = boxes(made.rules, self.columns, made.columns, made.label, made.classes)
        return linked(found, [*self.widths, max(1, len(made.classes))])

    def obeying(self, cells, labels):
        """Cells (m, n_columns) of records that break no rule: those that did, as near as they may be; each on its own.

        Parameters
        ----------
        cells : Tensor of shape (m, n_columns)
        labels : LongTensor of shape (m,)
        """
        if not self.limits:
            return cells
        states = [torch.tensor(column.cell_states) for column in self.columns]
        states.append(torch.arange(max(1, len(self.arrangement.classes))))
        ordered = [len(c.bins) if isinstance(c, NumberColumn) else c.n_ordered for c in self.columns] + [0]
        codes = torch.cat([cells.T.long(), labels[None].long()])
        for limits in self.limits:
            codes = limits.nearest(codes, states, ordered, len(self.columns))
        return codes[:-1].T.to(cells.dtype)

    def with_columns(self, columns):
        """The same table with more known of its columns."""
        return dataclasses.replace(self, columns=tuple(columns))

    @property
    def names(self):
        """Names of the table's columns."""
        return [column.name for column in self.own_columns]

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
    def missing_states(self):
        """Which of the D states are for missing cells."""
        ends = np.cumsum(self.widths).tolist()
        return tuple(end - 1 for end, column in zip(ends, self.columns, strict=True) if column.nullable)

    @property
    def record_shape(self):
        """One row."""
        return (len(self.own_columns),)

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
        rows = self.arrange(rows)
        cells = np.stack([column.encode(rows.frame[column.name]) for column in self.columns], 1)
        return torch.from_numpy(cells.astype(np.int16 if max(self.cell_counts) < 2**15 else np.int32))

    def states(self, cells):
        """States (m, n_columns) of cells; -1 stays."""
        settings = {"dtype": cells.dtype, "device": cells.device}
        table = [torch.tensor([*column.cell_states, -1], **settings) for column in self.columns]
        return torch.stack([of[part.long()] for of, part in zip(table, cells.T, strict=True)], 1)

    def check_room(self, n):
        """Raise ValueError if a column has fewer keys than ``n``, and none may come twice."""
        for column in self.own_columns:
            if isinstance(column, KeyColumn):
                column.check_room(n)

    def decode(self, encoded, seed=0, start=0):
        """The table (pandas.DataFrame) of drawn places (m, n_columns), each a cell plus a fraction.

        Parameters
        ----------
        encoded : Tensor of shape (m, n_columns)
        seed : int
            Of the keys, which are drawn apart from records.
        start : int
            How many records of the same draw came before, whose keys do not come again.
        """
        import pandas as pd

        places = encoded.detach().cpu().double().numpy()
        pairs = list(zip(self.columns, places.T, strict=True))
        if self.arrangement is None:
            series = [column.decode(place) for column, place in pairs]
        else:
            series = list(self.arrangement.restore({c.name: (c, place) for c, place in pairs}, seed, start).values())
        frame = pd.concat(series, axis=1)
        count = pd.RangeIndex(len(self.names))
        frame.columns = count if self.names == list(count) else pd.Index(self.names)
        return frame

    def allowed(self, conditions):
        """Part of each cell that meets the conditions: one (n_cells, 2) a column, or None.

        Of columns that are made of others, what the others must be at least: see :meth:`meeting`.

        Parameters
        ----------
        conditions : dict
            Column to a category or a list of them, a number or date, ``(low, high)`` with None for no end, or None, nan
            or NaT for missing.

        Raises
        ------
        TypeError, ValueError
            If a column is unknown, or a category is, or numbers have other conditions; or if they contradict a rule.
        """
        conditions = self._checked(conditions)
        if self.arrangement is None:
            return [c.allowed(conditions[c.name]) if c.name in conditions else None for c in self.columns]
        parts = self.arrangement.allowed(conditions, self.columns)
        self.possible_classes(parts, max(1, len(self.arrangement.classes)))
        return parts

    def possible_classes(self, parts, n_classes):
        """Which classes (n_classes,) go, by the rules, with records of these parts of cells; see :meth:`allowed`.

        Raises
        ------
        ValueError
            If none does: the message names the rule.
        """
        states = [None if part is None else self._states_of(j, part) for j, part in enumerate(parts)]
        possible = torch.ones(n_classes, dtype=torch.bool)
        for limits in self.limits:
            found = limits.possible([*states, possible])
            if not all(own.any() for own in found):
                raise BadValueError(f"conditions contradict {' and '.join(map(repr, limits.rules))}")
            possible = found[-1] if limits.columns[-1] == len(self.columns) else possible
        return possible

    def _states_of(self, j, part):
        """Which states of a column have a cell of which some part is allowed."""
        out = torch.zeros(self.columns[j].n_states, dtype=torch.bool)
        out[torch.tensor(self.columns[j].cell_states)[torch.from_numpy(part[:, 1] > part[:, 0])]] = True
        return out

    def meeting(self, frame, conditions):
        """Which rows (m,) meet the conditions on columns that are made of others; None where there are none."""
        if self.arrangement is None or not set(conditions) & {*self.arrangement.derived}:
            return None
        return self.arrangement.meeting(frame, self._checked(conditions))

    def _checked(self, conditions):
        import pandas as pd

        unknown = set(conditions) - set(self.names)
        if unknown:
            raise BadValueError(f"conditions name columns that the table lacks; it has {self.names}")
        return {
            name: None if pd.api.types.is_scalar(wanted) and pd.isna(wanted) else wanted
            for name, wanted in conditions.items()
        }

    def to_dict(self):
        """What :meth:`from_dict` reads; JSON."""
        columns = [{"type": type(column).__name__, **dataclasses.asdict(column)} for column in self.columns]
        kind = None if self.frame_kind is None else self.frame_kind.to_dict()
        arrangement = None if self.arrangement is None else self.arrangement.to_dict()
        group = None if self.group is None else dataclasses.asdict(self.group)
        parts = {"frame_kind": kind, "arrangement": arrangement, "group": group}
        return {"kind": type(self).__name__, "columns": columns, **parts}

    @classmethod
    def from_dict(cls, state):
        """The format whose ``to_dict`` gave ``state``."""
        kind, arrangement = state.get("frame_kind"), state.get("arrangement")
        columns = tuple(_column_from_dict(dict(column)) for column in state["columns"])
        if arrangement is not None:
            arrangement = arrangement_from_dict(arrangement, _column_from_dict)
        group = None if state.get("group") is None else GroupIds(**state["group"])
        return cls(columns, None if kind is None else FrameKind(**kind), arrangement, group)


COLUMN_TYPES = {kind.__name__: kind for kind in (NumberColumn, CategoryColumn, JointColumn, KeyColumn)}


def _column_from_dict(state):
    kind: type = COLUMN_TYPES[state.pop("type")]
    column = kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in state.items()})
    if isinstance(column, NumberColumn) and column.edges is not None:
        rises = np.diff((-1, *column.bins))
        fits = len(column.edges) - 1 == len(column.bins) == len(column.weights) and rises[0] == 1
        if not (fits and np.isin(rises, (0, 1)).all() and (np.diff(column.edges) > 0).all()):
            raise BadValueError(f"column {column.name!r} has cells that are none")
    if isinstance(column, NumberColumn) and column.bounds is not None and not column.bounds[0] < column.bounds[1]:
        raise BadValueError(f"column {column.name!r} has bounds that are none")
    return column


def table_format(frame, schema=None, frame_kind=None, label=None):
    """The format of a table, from public facts alone: names and dtypes of its columns, and what is declared.

    Parameters
    ----------
    frame : pandas.DataFrame
        Checked by :func:`check_columns`; its rows do not matter.
    schema : Schema or dict, optional
    frame_kind : FrameKind, optional
    label : str or int, optional
        What rules call the labels, where there are some.

    Raises
    ------
    TypeError, ValueError
        If the schema names a column that the table lacks, or does not fit a column's dtype.
    """
    schema = _as_schema(schema, frame.columns)
    kept = [name for name in frame.columns if not (name in schema and schema[name].drop)]
    columns = [column_format(name, frame.dtypes[name], schema.get(name)) for name in kept]
    arrangement, modelled = arranged(columns, schema, schema.rules, label)
    if frame_kind is not None:
        frame_kind = FrameKind(frame_kind.library, {name: frame_kind.dtypes[name] for name in kept})
    return TableFormat(tuple(modelled), frame_kind, arrangement)


def _as_schema(schema, names):
    schema = schema if isinstance(schema, Schema) else Schema({} if schema is None else schema)
    declared = by_names_of(names, schema)
    unknown = [name for name in declared if name not in set(names)]
    if unknown:
        raise BadValueError(f"schema names columns that X lacks: {unknown}; X has {list(names)}")
    by_text = {str(name): name for name in names} | {name: name for name in names}
    columns = {name: _with_parent(column, by_text) for name, column in declared.items()}
    return Schema(columns, [rule.renamed(by_text) for rule in schema.rules])


def _with_parent(column, by_text):
    parent = by_text.get(column.parent, column.parent)
    return column if column.parent is None else dataclasses.replace(column, parent=parent)


def by_names_of(names, schema):
    """Columns of a schema by a table's names: JSON has written those that are numbers as texts; dict."""
    by_text = {str(name): name for name in names} | {name: name for name in names}
    return {by_text.get(name, name): column for name, column in schema.items()}


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


def orders_of_dtypes(form, schema):
    """What is known of ordered columns by their dtypes alone, in words: for the statement."""
    declared = by_names_of(form.names, schema if isinstance(schema, Schema) else Schema(schema or {}))
    of_dtype = [
        c.name for c in form.own_columns if getattr(c, "kind", None) == "ordinal" and not _names_values(declared, c)
    ]
    return tuple(f"the categories of {name!r} and their order, by its dtype" for name in of_dtype)


def _names_values(schema, column):
    return column.name in schema and schema[column.name].values is not None


def _step_of(dtype):
    """Distance of the numbers that a dtype of decimals holds; else None."""
    scale = getattr(getattr(dtype, "pyarrow_dtype", None), "scale", None)
    return None if scale is None else 10.0**-scale


def _declared_as(arrangement, column):
    """Where the user could have declared what a modelled column lacks."""
    if isinstance(column, JointColumn):
        return f"a rule FixedCombinations of {', '.join(map(str, column.members))}"
    rises = {} if arrangement is None else {arrangement.above(name): name for name in arrangement.lows}
    return f"schema[{rises.get(column.name, column.name)!r}]"


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
        raise BadTypeError("a data frame in parts must be of pandas; pass X.to_pandas()")
    if not len(frame.columns):
        raise BadValueError("X has 0 columns; at least 1 is needed")
    if not all(isinstance(name, (str, int)) for name in frame.columns) or not frame.columns.is_unique:
        raise BadValueError("X must have column names that are distinct texts or integers")


def check_cells(column, series):
    """Check the cells of a pandas column against its format; see :meth:`TableFormat.check`."""
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
        raise BadTypeError(f"column {column.name!r} holds mixed or composite objects; text or numbers are needed")
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
