"""Tables in, tables out: what is public of their columns, in order.

A record is encoded as one cell a column (:mod:`sinkgen.data.table_columns`). What is drawn is a cell plus a fraction,
which says where inside the cell the number lies.
"""

import dataclasses
import functools
from dataclasses import dataclass

import numpy as np
import torch

from sinkgen.data.arrangement import Arrangement, arrangement_from_dict
from sinkgen.data.arranging import arranged
from sinkgen.data.boxes import boxes, check_classes, cuts, unknown_remarks
from sinkgen.data.breaking import broken
from sinkgen.data.column_formats import column_format
from sinkgen.data.frames import FrameKind
from sinkgen.data.group_ids import GroupIds
from sinkgen.data.joint_columns import JointColumn
from sinkgen.data.limits import linked
from sinkgen.data.patterns import KeyColumn
from sinkgen.data.schema import Schema, by_names_of, schema_of
from sinkgen.data.table_checks import check_cells
from sinkgen.data.table_columns import CATEGORIES, CategoryColumn, NumberColumn
from sinkgen.exceptions import BadValueError


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
    >>> from sinkgen import Column
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

    @property
    def counted_rules(self):
        """Rules of which it is counted how many records break them."""
        return () if self.arrangement is None else self.arrangement.rules

    def unknown_remarks(self):
        """What is told, once values are learned, of rules that name others."""
        made = self.arrangement
        return () if made is None else unknown_remarks(made.rules, self.columns, made.label)

    def broken(self, rows, labels=None):
        """Which records break each of the rules that are counted, bool (m, number of them)."""
        made = self.arrangement
        found = [broken(rule, rows.frame, made.columns, made.label, labels) for rule in self.counted_rules]
        return np.stack(found, 1)

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
            parts = [c.allowed(conditions[c.name]) if c.name in conditions else None for c in self.columns]
            _check_possible(self.columns, parts)
            return parts
        parts = self.arrangement.allowed(conditions, self.columns)
        _check_possible(self.columns, parts)
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
        columns = [{"type": type(column).__name__, **_state(column)} for column in self.columns]
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


def _state(column):
    """Its fields as they are: they hold nothing that changes, and copies of all cells of wide tables take seconds."""
    return {field.name: getattr(column, field.name) for field in dataclasses.fields(column)}


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
        Checked by :func:`~sinkgen.data.table_checks.check_columns`; its rows do not matter.
    schema : Schema or dict, optional
    frame_kind : FrameKind, optional
    label : str or int, optional
        What rules call the labels, where there are some.

    Raises
    ------
    TypeError, ValueError
        If the schema names a column that the table lacks, or does not fit a column's dtype.
    """
    schema = schema_of(schema, frame.columns)
    kept = [name for name in frame.columns if not (name in schema and schema[name].drop)]
    columns = [column_format(name, frame.dtypes[name], schema.get(name)) for name in kept]
    arrangement, modelled = arranged(columns, schema, schema.rules, label)
    if frame_kind is not None:
        frame_kind = FrameKind(frame_kind.library, {name: frame_kind.dtypes[name] for name in kept})
    return TableFormat(tuple(modelled), frame_kind, arrangement)


def orders_of_dtypes(form, schema):
    """What is known of ordered columns by their dtypes alone, in words: for the statement."""
    declared = by_names_of(form.names, schema if isinstance(schema, Schema) else Schema(schema or {}))
    of_dtype = [
        c.name for c in form.own_columns if getattr(c, "kind", None) == "ordinal" and not _names_values(declared, c)
    ]
    return tuple(f"the categories of {name!r} and their order, by its dtype" for name in of_dtype)


def _names_values(schema, column):
    return column.name in schema and schema[column.name].values is not None


def _declared_as(arrangement, column):
    """Where the user could have declared what a modelled column lacks."""
    if isinstance(column, JointColumn):
        return f"a rule FixedCombinations of {', '.join(map(str, column.members))}"
    rises = {} if arrangement is None else {arrangement.above(name): name for name in arrangement.lows}
    return f"schema[{rises.get(column.name, column.name)!r}]"


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


def _check_possible(columns, parts):
    """Refuse conditions that no cell of a column meets, by its name."""
    for column, part in zip(columns, parts, strict=True):
        if part is not None and not np.diff(part).any():
            raise BadValueError(f"no record can meet the conditions: column {column.name!r} has no such cells")
