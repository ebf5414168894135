"""From a user's columns to those that are modelled, and back: what rules, parents, keys and dropped columns come to.

A rule that fixes one column by others holds by construction: the column is not modelled, but made of the others when
records are drawn. Rules that forbid what cannot be are :mod:`sinkgen.data.limits`.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np

from sinkgen.data.joint_columns import JointColumn
from sinkgen.data.numbers import numbers_of, within
from sinkgen.data.patterns import KeyColumn
from sinkgen.data.rules import Inequality, Rule, Sum, rule_of
from sinkgen.data.table_columns import NumberColumn
from sinkgen.denoise.grain import multiple
from sinkgen.exceptions import BadValueError


@dataclass(frozen=True)
class Arrangement:
    """How the columns of a table become those that are modelled.

    Attributes
    ----------
    columns : tuple of NumberColumn, CategoryColumn or KeyColumn
        As they are drawn, in their order, by what is declared of them.
    rules : tuple of Rule
    label : str or int or None
        What rules call the labels, where there are some.
    classes : tuple
        The labels, as far as they are known.
    """

    columns: tuple
    rules: tuple[Rule, ...] = ()
    label: str | int | None = None
    classes: tuple = ()

    @property
    def names(self):
        """Names of the columns that are drawn."""
        return [column.name for column in self.columns]

    def __getitem__(self, name):
        """The column of a name."""
        return next(column for column in self.columns if column.name == name)

    @property
    def lows(self):
        """Of each column that an :class:`~sinkgen.Inequality` sets, the columns that it is at least; in order."""
        found: dict = {}
        for rule in self.rules:
            if isinstance(rule, Inequality):
                found.setdefault(rule.high, []).append(rule.low)
        return found

    @property
    def totals(self):
        """The parts of each column that a :class:`~sinkgen.Sum` sets."""
        return {rule.total: rule.parts for rule in self.rules if isinstance(rule, Sum)}

    @property
    def derived(self):
        """Names of the columns that are made of others, each after those that it is made of."""
        bases: dict = {**self.lows, **self.totals}
        done: list = []
        while len(done) < len(bases):
            ready = [
                name for name in bases if name not in done and all(b in done or b not in bases for b in bases[name])
            ]
            if not ready:
                raise BadValueError(f"rules go round in a circle: {[name for name in bases if name not in done]}")
            done += ready
        return done

    def above(self, name):
        """Name of the modelled column in place of one that is at least others."""
        lows = self.lows[name]
        return f"{name} - {lows[0]}" if len(lows) == 1 else f"{name} - max({', '.join(map(str, lows))})"

    def rule_for(self, name):
        """The rule that sets a derived column."""
        return next(
            rule for rule in self.rules
            if (isinstance(rule, Inequality) and rule.high == name) or (isinstance(rule, Sum) and rule.total == name)
        )  # fmt: skip

    # --- To what is modelled -----------------------------------------------------------------------------------------

    def arrange(self, frame, columns):
        """The modelled columns of a pandas frame; each row on its own.

        Parameters
        ----------
        frame : pandas.DataFrame
        columns : sequence of NumberColumn, CategoryColumn or JointColumn
        """
        import pandas as pd

        lows = {self.above(name): name for name in self.lows}
        out = {}
        for column in columns:
            if isinstance(column, JointColumn):
                out[column.name] = column.series(frame)
            elif column.name in lows:
                out[column.name] = pd.Series(self._rise(frame, lows[column.name]), index=frame.index)
            else:
                out[column.name] = frame[column.name]
        return pd.DataFrame(out, index=frame.index)

    def _rise(self, frame, name):
        """By how much a column lies above those that it is at least; 0 below, and where these are missing."""
        top = np.stack([self._known(frame, low) for low in self.lows[name]]).max(0)
        own = self[name].numbers(frame[name])
        rise = np.maximum(own - top, 0.0)
        return np.where(np.isnan(own), np.nan, np.where(np.isfinite(rise), rise, 0.0))

    def _known(self, frame, name):
        """Numbers of a column, minus infinity where they are missing, and clipped to the column's bounds."""
        numbers = self[name].numbers(frame[name])
        bounds = self.bounds.get(name)
        numbers = numbers if bounds is None else np.clip(numbers, *bounds)
        return np.where(np.isnan(numbers), -np.inf, numbers)

    @property
    def bounds(self):
        """Declared bounds of the columns of numbers; a column below another one ends where that one does."""
        found = {c.name: c.bounds for c in self.columns if isinstance(c, NumberColumn) and c.bounds is not None}
        for name in reversed(self.derived):
            for low in self.lows.get(name, ()):
                if low in found and name in found:
                    found[low] = (found[low][0], min(found[low][1], found[name][1]))
        return found

    # --- Back --------------------------------------------------------------------------------------------------------

    def restore(self, modelled, seed, start=0):
        """The user's columns of drawn ones.

        Parameters
        ----------
        modelled : dict of str to (NumberColumn or CategoryColumn, ndarray of shape (m,))
            Columns with their drawn places.
        seed : int
            Of keys.
        start : int
            Place of the first record in its draw, for keys.

        Returns
        -------
        dict of pandas.Series
        """
        drawn: dict = {}
        n = 0
        for column, places in modelled.values():
            n = len(places)
            if isinstance(column, JointColumn):
                parts = column.cells_of(places)
                drawn |= {name: self._plain(column, name, cells) for name, cells in parts.items()}
            else:
                drawn[column.name] = column.decode(places)
        for name in self.derived:
            drawn[name] = self._total(drawn, name) if name in self.totals else self._higher(drawn, name)
        keys = {c.name: c.draw(n, _seed_of(seed, c.name), start) for c in self.columns if isinstance(c, KeyColumn)}
        return {name: (drawn | keys)[name] for name in self.names}

    def _plain(self, joint, name, cells):
        """A column of objects as one of its own dtype."""
        import pandas as pd

        own = self[name]
        if isinstance(own, NumberColumn):
            is_missing = np.array([cell is None for cell in cells], dtype=bool)
            return own.restored(np.where(is_missing, 0, cells).astype(np.float64), is_missing)
        if own.dtype == "category":
            known = joint.members_of(name) if own.values is None else own.values
            known = [*known, *(value for value in joint.members_of(name) if value not in known)]
            return pd.Series(pd.Categorical(cells, categories=known, ordered=own.kind == "ordinal"))
        return pd.Series(cells, dtype=object).astype(own.dtype)

    def _total(self, drawn, name):
        own, parts = self[name], [drawn[part] for part in self.totals[name]]
        if own.kind == "integer" or any(self[column].is_written for column in (name, *self.totals[name])):
            numbers = np.sum([self[part].numbers(drawn[part]) for part in self.totals[name]], 0)
            is_missing = np.isnan(numbers)
            if own.kind == "integer" and (within(numbers, own.dtype) < numbers).any():  # it would begin anew
                own = dataclasses.replace(own, dtype="Int64" if is_missing.any() else "int64")
            return own.restored(np.nan_to_num(numbers), is_missing)
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total.astype(own.dtype)

    def _higher(self, drawn, name):
        """A column that is at least others: the greatest of them, and what was drawn on top."""
        own, rise = self[name], numbers_of(drawn[self.above(name)])
        lows = np.stack([np.nan_to_num(self[low].numbers(drawn[low]), nan=-np.inf) for low in self.lows[name]])
        base = _filled(np.where(np.isneginf(lows.max(0)), np.nan, lows.max(0)))
        if not own.nullable:
            base = np.nan_to_num(base)  # though no record is known to have what it lies above
        numbers, bounds = base + rise, self.bounds.get(name)
        grain = own.step or (0.0 if own.kind == "float" else 1.0)
        if grain:
            numbers = multiple(np.ceil(numbers / grain - 1e-9), grain)
        if bounds is not None:
            numbers = np.clip(numbers, *bounds)
        # Missing where it was drawn so; and where nothing at all is known of what it lies above.
        is_missing = np.isnan(numbers)
        return own.restored(np.where(is_missing, 0.0, np.maximum(numbers, base)), is_missing)

    # --- Conditions --------------------------------------------------------------------------------------------------

    def allowed(self, conditions, columns):
        """Part of each cell of the modelled columns that conditions on the table's own leave possible."""
        for name in conditions:
            if isinstance(self[name], KeyColumn):
                raise BadValueError(
                    f"column {name!r} holds keys, which are drawn apart from records: no condition holds of it"
                )
        parts = []
        for column in columns:
            names = column.members if isinstance(column, JointColumn) else (column.name,)
            own = {name: conditions[name] for name in names if name in conditions and name not in self.derived}
            parts.append(self._part(column, own) if own else None)
        for name in reversed(self.derived):
            if name in conditions:
                self._narrow(name, conditions[name], columns, parts)
        return parts

    def _part(self, column, wanted):
        if not isinstance(column, JointColumn):
            return column.allowed(wanted[column.name])
        meets = [
            column.meeting(name, of, is_number=isinstance(self[name], NumberColumn)) for name, of in wanted.items()
        ]
        if all(found.any() for found in meets) and not np.all(meets, 0).any():
            raise BadValueError(f"conditions contradict the combinations of {', '.join(map(repr, column.members))}")
        out = np.zeros((len(column.cell_states), 2))
        out[:, 1] = np.all(meets, 0)
        return out

    def _narrow(self, name, condition, columns, parts):
        """Hold what a derived column is made of to what its condition leaves possible, in place."""
        rule = self.rule_for(name)
        places = {column.name: j for j, column in enumerate(columns)}
        bases = [base for base in (*self.lows.get(name, ()), *self.totals.get(name, ())) if base in places]
        if name in self.lows:
            bases.append(self.above(name))
        spans = {base: _span(columns[places[base]], parts[places[base]]) for base in bases}
        if condition is None:
            if name in self.lows:
                parts[places[self.above(name)]] = columns[places[self.above(name)]].allowed(None)
            return
        if any(np.isinf(span[0]) for span in spans.values()):
            raise BadValueError(
                f"conditions contradict {rule!r}: where one of its columns is missing, nothing is known of {name!r}"
            )
        low, high = self[name].ends_of(condition)
        is_known = len(bases) == (len(self.lows.get(name, ())) + 1 if name in self.lows else len(self.totals[name]))
        for base in bases:
            others = [span for other, span in spans.items() if other != base]
            if name in self.totals:
                most = high - sum(span[0] for span in others) if is_known else np.inf
                least = low - sum(span[1] for span in others) if is_known else -np.inf
            elif base == self.above(name):
                most = high - max((span[0] for span in others), default=-np.inf)
                least = low - max((span[1] for span in others), default=np.inf) if is_known else -np.inf
            else:
                most, least = high, -np.inf
            column, j = columns[places[base]], places[base]
            span = spans[base]
            if most < span[0] or least > span[1]:
                raise BadValueError(f"conditions contradict {rule!r}")
            part = column.allowed((max(least, span[0]), min(most, span[1])))
            parts[j] = part if parts[j] is None else _both(parts[j], part)

    def meeting(self, frame, conditions):
        """Which rows (m,) of a drawn frame meet the conditions on columns that are made of others."""
        meets = np.ones(len(frame), dtype=bool)
        for name in set(conditions) & {*self.derived}:
            numbers = self[name].numbers(frame[name])
            if conditions[name] is None:
                meets &= np.isnan(numbers)
                continue
            low, high = self[name].ends_of(conditions[name])
            meets &= (numbers >= low) & (numbers <= high)
            if name in self.lows:  # else it follows those of whatever record comes before
                meets &= frame[self.lows[name]].notna().any(axis=1).to_numpy()
        return meets

    def to_dict(self):
        """What :func:`arrangement_from_dict` reads; JSON."""
        columns = [{"type": type(column).__name__, **dataclasses.asdict(column)} for column in self.columns]
        rules = [rule.to_dict() for rule in self.rules]
        return {"columns": columns, "rules": rules, "label": self.label, "classes": list(self.classes)}


def _span(column, part):
    """Least and greatest number that a column may have, in the parts of its cells that are allowed."""
    if part is None:
        return column.edges[0], column.edges[-1]
    held = part[: len(column.bins)]
    cells = np.flatnonzero(held[:, 1] > held[:, 0])
    if not len(cells):
        return -np.inf, np.inf  # missing
    widths = np.diff(column.edges)
    first, last = cells[0], cells[-1]
    return column.edges[first] + held[first, 0] * widths[first], column.edges[last] + held[last, 1] * widths[last]


def _both(one, other):
    """The part of each cell that lies in two parts."""
    low, high = np.maximum(one[:, 0], other[:, 0]), np.minimum(one[:, 1], other[:, 1])
    return np.where((high > low)[:, None], np.stack([low, high], 1), 0.0)


def _filled(numbers):
    """Numbers, where they are missing those of the record before; all missing, if they all are."""
    places = np.where(np.isnan(numbers), -1, np.arange(len(numbers)))
    known = np.flatnonzero(places >= 0)
    if not len(known):
        return numbers
    places = np.maximum.accumulate(places)
    return numbers[np.where(places < 0, known[-1], places)]


def _seed_of(seed, name):
    return [seed, *str(name).encode()]


def arrangement_from_dict(state, column_from_dict):
    """The arrangement whose ``to_dict`` gave ``state``."""
    columns = tuple(column_from_dict(dict(column)) for column in state["columns"])
    return Arrangement(columns, tuple(map(rule_of, state["rules"])), state["label"], tuple(state["classes"]))
