"""How the cells of a table fit a schema: for those who hold the records. Nothing of it reaches a fit."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sinkgen.data.breaking import broken
from sinkgen.data.column import Column
from sinkgen.data.column_formats import column_format
from sinkgen.data.frames import is_foreign, to_pandas
from sinkgen.data.rules import Rule
from sinkgen.data.schema import by_names_of
from sinkgen.data.table_checks import check_cells, check_columns, is_table
from sinkgen.data.table_columns import NumberColumn
from sinkgen.exceptions import BadTypeError, DataFreeError

MOST_NAMED = 5  # undeclared categories


@dataclass(frozen=True)
class ColumnCheck:
    """How the cells of one column fit its declaration.

    Attributes
    ----------
    name : str or int
    dtype : str
        Of the column in the table.
    refused : str or None
        Why a fit would refuse the column.
    missing, outside, off_step : int
        Cells that are missing; that lie outside of the bounds, or are none of the categories; that are no multiples of
        the step, or not whole where integers are declared.
    undeclared : tuple of (category, int)
        The commonest categories that are not declared, with their numbers.
    """

    name: Any
    dtype: str
    refused: str | None = None
    missing: int = 0
    outside: int = 0
    off_step: int = 0
    undeclared: tuple[tuple[Any, int], ...] = ()

    @property
    def fits(self) -> bool:
        """Whether no cell is refused, clipped, rounded or left out."""
        return self.refused is None and not (self.outside or self.off_step)

    def __str__(self) -> str:
        where = "are none of its values" if self.undeclared else "lie outside of its bounds"
        named = ", ".join(f"{value!r} ({count:,})" for value, count in self.undeclared)
        told = [
            f"REFUSED: {self.refused}" if self.refused else "",
            f"{self.outside:,} {where}" + f": {named}" * bool(named) if self.outside else "",
            f"{self.off_step:,} are no multiples of its step" if self.off_step else "",
            f"{self.missing:,} missing" if self.missing else "",
        ]
        return f"{self.name}: {self.dtype}, " + ("; ".join(filter(None, told)) or "fits")


@dataclass(frozen=True)
class SchemaCheck:
    """What :meth:`~sinkgen.Schema.validate` has seen; print it. It tells of single records.

    Attributes
    ----------
    n_records : int
    columns : tuple of ColumnCheck
        Those that are declared and in the table.
    absent : tuple
        Names of columns that are declared, and which the table lacks.
    extra : tuple
        Names of columns that are not declared: a fit learns what it needs of them, on its budget.
    rules : tuple of (Rule, int)
        How many records break each rule; of those about the labels, nothing is known here.
    """

    n_records: int
    columns: tuple[ColumnCheck, ...]
    absent: tuple[Any, ...] = ()
    extra: tuple[Any, ...] = ()
    rules: tuple[tuple[Rule, int], ...] = ()

    def __getitem__(self, name: Any) -> ColumnCheck:
        """The column of a name."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def fits(self) -> bool:
        """Whether all columns are there, all cells as declared, and no record breaks a rule."""
        return not self.absent and all(column.fits for column in self.columns) and not any(n for _, n in self.rules)

    def __str__(self) -> str:
        lines = [
            f"{self.n_records:,} records, looked at without privacy: this is for those who may see them, and nothing "
            "of it reaches a fit."
        ]
        lines += map(str, self.columns)
        lines += [f"{name}: declared, and ABSENT" for name in self.absent]
        lines += [f"{name}: not declared; a fit learns it on its budget" for name in self.extra]
        lines += [f"{rule!r}: {f'{n:,} records BREAK it' if n else 'holds'}" for rule, n in self.rules]
        return "\n".join(lines)


def validate(schema, frame):
    """See :meth:`sinkgen.Schema.validate`."""
    if not is_table(frame):
        raise BadTypeError(f"a schema is of a data frame, got {type(frame).__name__}")
    frame = to_pandas(frame)[0] if is_foreign(frame) else frame
    check_columns(frame)
    declared = by_names_of(frame.columns, schema)
    # Of keys, and of what is dropped, a fit looks at nothing.
    looked = [
        name for name in frame.columns if name in declared and not (declared[name].pattern or declared[name].drop)
    ]
    checks = [_check_column(name, frame[name], declared[name]) for name in looked]
    absent = tuple(name for name in declared if name not in frame.columns)
    extra = tuple(name for name in frame.columns if name not in declared)
    return SchemaCheck(len(frame), tuple(checks), absent, extra, _check_rules(schema.rules, frame, declared))


def _check_rules(rules, frame, declared):
    columns: dict[Any, Any] = {}
    found: list[tuple[Rule, int]] = []
    for rule in rules:
        if not {*rule.names} <= {*frame.columns}:
            continue  # of labels
        for name in rule.names:
            columns[name] = columns.get(name) or column_format(name, frame[name].dtype, declared.get(name, Column()))
        found.append((rule, int(broken(rule, frame, [columns[name] for name in rule.names]).sum())))
    return tuple(found)


def _check_column(name, series, declared):
    column, refused = None, None
    try:
        column = column_format(name, series.dtype, declared)
        check_cells(column, series)
    except DataFreeError as error:
        refused = str(error)
    missing = int(series.isna().sum())
    if column is None:
        return ColumnCheck(name, str(series.dtype), refused, missing)
    outside, off_step = np.zeros(len(series), dtype=bool), 0
    undeclared: tuple = ()
    if isinstance(column, NumberColumn):
        off_step = _off_step(column, column.numbers(series))
        outside = column.outside(series) if column.bounds else outside
    elif column.is_declared:
        outside = column.outside(series)
        found = series[outside].astype(object).value_counts().head(MOST_NAMED)
        undeclared = tuple(zip(found.index.tolist(), found.tolist(), strict=True))
    return ColumnCheck(name, str(series.dtype), refused, missing, int(outside.sum()), off_step, undeclared)


def _off_step(column, numbers):
    step = column.step or (1.0 if column.kind == "integer" else None)
    if step is None:
        return 0
    numbers = numbers[np.isfinite(numbers)]
    return int((np.abs(numbers - np.rint(numbers / step) * step) > 1e-9 * np.maximum(np.abs(numbers), step)).sum())
