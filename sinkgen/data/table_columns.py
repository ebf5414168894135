"""Columns of tables: cells of one kind to the codes of a few states, and back.

Every column has a public, finite set of states: bins of its numbers or its categories, one state for what is learned to
be rare, one for missing cells. Bins are made of smaller cells; of other states each is one cell.
"""

import dataclasses
import json
from dataclasses import dataclass
from numbers import Real

import numpy as np

from sinkgen.data.bounds import range_of
from sinkgen.data.categories import key_of, keyed, member_counts, members, named_by
from sinkgen.data.dtypes import NUMERIC, dtype_named
from sinkgen.data.fine_cells import fine_edges
from sinkgen.data.numbers import cells_of, numbers_of, on_the_clock
from sinkgen.denoise.grain import multiple
from sinkgen.exceptions import BadTypeError, BadValueError

CATEGORIES = ("categories", "rare categories")  # releases in which these are learned
OTHER = "other"  # what text of the reserved state reads when drawn


@dataclass(frozen=True)
class NumberColumn:
    """Numbers or dates, in bins that are made of cells.

    Attributes
    ----------
    name : str or int
    dtype : str
        Name of the pandas dtype.
    kind : {"float", "integer", "datetime", "duration"}
        Dates are counted in seconds since 1970, and what lies between two in seconds.
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
    format, decimal : str or None
        How dates, or numbers, stand in a column of text.
    per_group : bool
        Whether it is declared to be the same in all rows of a group.
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
    format: str | None = None
    decimal: str | None = None
    per_group: bool = False

    @property
    def missing(self):
        """Names of the releases that this column waits for."""
        return () if self.edges else ("bins",)

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
    def is_written(self):
        """Whether its cells are objects, such as texts of numbers or dates."""
        return bool(self.dtype == "object" or self.format or self.decimal)

    @property
    def undeclared(self):
        """What the user could have declared and did not."""
        return None if self.bounds else "bounds"

    @property
    def is_declared(self):
        """Whether its states are: else they are learned, and so is how many records lie outside of its bounds."""
        return bool(self.edges)

    def outside(self, series):
        """Which cells (m,) lie outside of the bounds."""
        numbers = self.numbers(series)
        return (numbers < self.bounds[0]) | (numbers > self.bounds[1])

    def numbers(self, series):
        """Cells of a pandas column as float64 (m,), missing ones as nan."""
        return numbers_of(series, self)

    def extremes(self, series):
        """The least and the greatest cell."""
        numbers = self.numbers(series)
        places = np.flatnonzero(np.isfinite(numbers))
        return series.iloc[places[[numbers[places].argmin(), numbers[places].argmax()]] if len(places) else []]

    def observe(self, series):
        """The column with bounds: its own, or those that its cells show."""
        if self.bounds:
            return self
        numbers = self.numbers(series)
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

    def with_learned(self, bounds, step, edges, bins, weights):
        """The same column with cells that were learned; bounds and step are its own where they are declared."""
        made = self.with_cells(edges, bins, weights)
        return dataclasses.replace(made, bounds=self.bounds or bounds, step=self.step or step)

    def with_bins(self, edges):
        """The same column with declared bins, and cells in them, in which records lie evenly for all that is known."""
        edges = np.unique(np.ceil(edges)) if self.kind == "integer" else np.asarray(edges)
        fine = fine_edges(self)
        ends = np.union1d(edges, fine[(fine > edges[0]) & (fine < edges[-1])])
        bins = np.searchsorted(edges, ends[:-1], side="right") - 1
        return self.with_cells(ends, bins, np.diff(ends))

    def split_at(self, ends):
        """The same column with bins, and cells, that end at some numbers; a cell's weight goes with its width."""
        old = np.asarray(self.edges)
        ends = np.ceil(ends) if self.kind == "integer" else np.asarray(ends)
        ends = np.unique(ends[(ends > old[0]) & (ends < old[-1])])
        edges = np.union1d(old, ends)
        own = np.searchsorted(old, edges[:-1], side="right") - 1
        weights = np.asarray(self.weights)[own] * np.diff(edges) / np.diff(old)[own]
        starts = np.diff(np.asarray(self.bins)[own], prepend=0).astype(bool) | np.isin(edges[:-1], ends)
        return self.with_cells(edges, np.cumsum(starts), weights)

    def encode(self, series):
        """Cells (m,) of a pandas column; -1 for missing ones of a column that has no state for them."""
        numbers = self.numbers(series)
        cells = np.clip(np.searchsorted(self.edges, numbers, side="right") - 1, 0, len(self.bins) - 1)
        return np.where(np.isnan(numbers), len(self.bins) if self.nullable else -1, cells)

    def decode(self, places):
        """A pandas column of drawn places (m,), cell plus fraction."""
        return self.restored(self.numbers_at(places), self.missing_at(places))

    def missing_at(self, places):
        """Which drawn places (m,) are those of missing cells."""
        return np.asarray(places) >= len(self.bins)

    def numbers_at(self, places):
        """Numbers (m,), dates in seconds, of drawn places."""
        edges = np.asarray(self.edges)
        cell = np.clip(np.floor(places).astype(int), 0, len(self.bins) - 1)
        left, width = edges[cell], np.diff(edges)[cell]
        is_atom = width <= 2 * np.abs(np.spacing(left))
        numbers = np.where(is_atom, left, left + np.clip(places - cell, 0, 1) * width)
        numbers = np.maximum(np.minimum(numbers, np.nextafter(edges[cell + 1], -np.inf)), left)  # below the next cell
        if self.kind == "integer":
            numbers = np.clip(np.floor(numbers), left, edges[cell + 1] - 1)
        if self.step is not None:
            times = np.floor(numbers / self.step + 1e-9)
            first, last = np.ceil(self.bounds[0] / self.step - 1e-9), np.floor(self.bounds[1] / self.step + 1e-9)
            if first <= last:  # learned ends are no multiples
                return multiple(np.clip(times, first, last), self.step)
            numbers = np.maximum(multiple(times, self.step), self.bounds[0])
        return np.minimum(numbers, self.bounds[1])

    def allowed(self, condition):
        """Part of each cell that meets a condition: (n_cells, 2), from and to.

        Parameters
        ----------
        condition : number, (low, high) or None
            None asks for a missing cell; of a pair, for no end.
        """
        out = np.zeros((len(self.cell_states), 2))
        if condition is None:
            out[len(self.bins) :, 1] = 1
            return out
        low, high = self._span_of_cells(*self.ends_of(condition))
        cells = np.arange(len(self.bins))
        start, stop = np.interp([low, max(low, high)], self.edges, np.arange(len(self.edges)))
        out[: len(cells)] = np.clip(np.stack([start - cells, stop - cells], 1), 0, 1)
        return out

    def ends_of(self, condition):
        """Least and greatest number of a condition; of a date with a time zone, as a clock of the column's shows it.

        Raises
        ------
        TypeError
            If the condition is neither a number, nor a date, nor a pair of these; or of numbers a date.
        """
        ends = condition if isinstance(condition, tuple) else (condition,)
        if self.kind in ("float", "integer") and not all(end is None or isinstance(end, Real) for end in ends):
            raise BadTypeError(
                f"column {self.name!r} holds numbers: a condition is one, a pair (low, high), None for no end, or None "
                "for a missing cell"
            )
        ends = tuple(on_the_clock(end, self) for end in ends)
        return range_of(self.name, ends if isinstance(condition, tuple) else ends[0])

    def span(self, low, high):
        """From where on, and up to below what, numbers lie that are drawn as ``low`` to ``high``.

        Numbers are drawn as multiples of the grain, if there is one: what lies between the multiples holds none.
        Either end may be infinite.
        """
        grain = self._grain
        if not grain:
            return low, np.nextafter(high, np.inf)
        return multiple(np.ceil(low / grain - 1e-9), grain), multiple(np.floor(high / grain + 1e-9) + 1, grain)

    @property
    def _grain(self):
        return self.step or float(self.kind == "integer")

    def _span_of_cells(self, low, high):
        """The same, where an edge of the cells that is an end but for rounding is that end."""
        ends, grain = np.array(self.span(low, high)), self._grain
        if not grain:
            return ends.tolist()
        edges = np.asarray(self.edges)
        places = np.searchsorted(edges, ends - 1e-9 * grain).clip(0, len(edges) - 1)
        return np.where(np.abs(edges[places] - ends) <= 1e-9 * grain, edges[places], ends).tolist()

    def restored(self, numbers, is_missing):
        """A pandas column of numbers (m,), of its own dtype."""
        return cells_of(numbers, is_missing, self)


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
    per_group : bool
        Whether it is declared to be the same in all rows of a group.
    """

    name: str | int
    dtype: str
    kind: str
    nullable: bool
    values: tuple | None = None
    other: bool = False
    per_group: bool = False

    @property
    def missing(self):
        """Names of the releases that this column waits for."""
        return () if self.values is not None else CATEGORIES

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

    @property
    def is_fine(self):
        """Whether its states are, or may be when they are learned, of several cells each: never."""
        return False

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

    @property
    def is_declared(self):
        """Whether its values are, so that others may occur."""
        return self.values is not None and not self.other and self.kind != "boolean"

    def outside(self, series):
        """Which cells (m,) are none of the values, and not missing."""
        return (self.encode(series) < 0) & series.notna().to_numpy()

    def extremes(self, series):
        """Every category once."""
        return series.drop_duplicates()

    def observe(self, series):
        """The column with values: its own, or all that occur."""
        if self.values is not None:
            return self
        return dataclasses.replace(self, values=members(member_counts(series)), other=False)

    @property
    def n_sets(self):
        """How many sets are to be learned."""
        return 1

    def member_sets(self, series):
        """How often each member occurs of the sets that are to be learned: the categories."""
        return [member_counts(series)]

    def with_sets(self, sets):
        """The column with what was learned: noisy counts of the categories, by their keys."""
        return dataclasses.replace(self, values=members(sets[0]))

    def encode(self, series):
        """Codes (m,) of a pandas column; -1 for cells that no state holds."""
        places, present = keyed(series)
        codes = {key_of(value): code for code, value in enumerate(self.values)}
        rest = len(self.values) if self.other else -1
        found = [codes.get(key, rest) for key in present]
        return np.array([*found, self.n_states - 1 if self.nullable else -1])[places]

    def decode(self, places):
        """A pandas column of drawn places (m,), code plus fraction."""
        import pandas as pd

        cells = self.cells_at(places)
        if self.dtype == "category":
            categories = [state for state in dict.fromkeys(self._states) if state is not None]
            return pd.Series(pd.Categorical(cells, categories=categories, ordered=self.kind == "ordinal"))
        return pd.Series(cells, dtype=object).astype(dtype_named(self.dtype))

    @property
    def _states(self):
        # Of a column of which no value is known only the dtype says of what kind they are.
        is_text = isinstance(self.values[0], str) if self.values else not self.dtype.lower().startswith(NUMERIC)
        return [*self.values, *[OTHER if is_text else None] * self.other, *[None] * self.nullable]

    def cells_at(self, places):
        """Objects (m,) of drawn places: categories, or None for missing."""
        cells = np.empty(len(self._states), dtype=object)
        cells[:] = self._states
        return cells[np.floor(places).astype(int)]

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
        wanted = named_by(condition)
        codes = {key_of(value): code for code, value in enumerate(self.values)}
        if self.other:
            codes.setdefault(key_of(OTHER), len(self.values))
        for value in wanted:
            if key_of(value) not in codes:
                raise BadValueError(f"column {self.name!r} knows the categories {list(map(json.loads, codes))}")
            out[codes[key_of(value)], 1] = 1
        return out
