"""Several columns of categories as one, whose categories are what they hold together."""

import dataclasses
import json
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from sinkgen.data.bounds import range_of
from sinkgen.data.categories import key_of, keyed, member_counts, members, named_by
from sinkgen.data.table_columns import OTHER, CategoryColumn
from sinkgen.exceptions import BadValueError

TINY = 1e-6  # weight of a combination that seems to be of no record, so that it can be drawn where it is asked for


@dataclass(frozen=True)
class JointColumn(CategoryColumn):
    """Combinations of the values of several columns, each written as a list in JSON.

    Where the first column is the *parent* of the others, its values are the states, and the combinations are cells
    within them: they are counted and drawn as the cells of a bin of numbers are, and however many there are, other
    columns are concerned with the states alone. Else every combination is a state.

    Attributes
    ----------
    members : tuple of str or int
        Names of the columns.
    fillers : tuple
        What each column reads where a combination is none of those that are known.
    is_nested : bool
        Whether the first column is the parent of the others.
    parents : tuple or None
        Values of the first column, in order, where it is the parent; None as long as they are not known.
    weights : tuple of float
        Weight of each nested combination within its parent: what is known of them before they are counted.
    is_listed : bool
        Whether the combinations were declared: then another one counts as that which agrees with it most.

    Examples
    --------
    >>> column = joint_column(("city", "state"), nullable=False, combinations=[["Lyon", "France"], ["Rome", "Italy"]])
    >>> column.n_states, column.combinations
    (2, (('Lyon', 'France'), ('Rome', 'Italy')))
    """

    members: tuple = ()
    fillers: tuple = ()
    is_nested: bool = False
    parents: tuple | None = None
    weights: tuple = ()
    is_listed: bool = False

    @property
    def _texts(self):
        return self.values or ()

    @property
    def combinations(self):
        """Rows of tuples: the values of all columns in each cell, that for all others last, but for missing ones."""
        rows = [tuple(json.loads(text)) for text in self._texts]
        return (*rows, *[self.fillers] * self.other)

    @property
    def is_filler(self):
        """Which cells (n_cells,) say nothing of the columns but the first."""
        rows = [*(row[1:] == self.fillers[1:] for row in self.combinations), *[False] * self.nullable]
        return np.array(rows, dtype=bool)

    @property
    def n_states(self):
        """Parents or combinations, the state for others, the state for missing cells."""
        known = len(self.parents or ()) if self.is_nested else len(self._texts)
        return known + self.other + self.nullable

    @property
    def cell_states(self):
        """State of each cell."""
        if not self.is_nested:
            return tuple(range(self.n_states))
        places = {key_of(value): place for place, value in enumerate(self.parents or ())}
        own = [places[key_of(row[0])] for row in self.combinations[: len(self._texts)]]
        return (*own, *range(len(self.parents or ()), self.n_states))

    @property
    def cell_weights(self):
        """Weight of each cell within its state."""
        return (*(self.weights or (1.0,) * len(self._texts)), *[1.0] * (self.other + self.nullable))

    @property
    def is_fine(self):
        """Whether its states are, or may be when they are learned, of several cells each."""
        return self.is_nested

    @property
    def optional(self):
        """Which states may never occur."""
        return (False,) * (self.n_states - self.other - self.nullable) + (True,) * (self.other + self.nullable)

    @property
    def is_declared(self):
        """Whether its values are, so that others may occur: of combinations others never count for nothing."""
        return False

    def outside(self, series):
        """Which cells (m,) are none of the values, and not missing."""
        return np.zeros(len(series), dtype=bool)

    def series(self, frame):
        """The columns of a pandas frame as one of texts in JSON, missing where the parent is, or else where all are."""
        import pandas as pd

        codes, texts, missing = [], [], []
        for name in self.members:
            places, keys = keyed(frame[name])
            missing.append(places < 0)
            codes.append(np.where(places < 0, len(keys), places))
            texts.append([*keys, "null"])
        rows, places = np.unique(np.stack(codes, 1), axis=0, return_inverse=True)
        joined = [f"[{', '.join(of[code] for of, code in zip(texts, row, strict=True))}]" for row in rows.tolist()]
        is_missing = missing[0] if self.is_nested else np.all(missing, 0)
        cells = np.array([*joined, None], dtype=object)[np.where(is_missing, len(joined), places.ravel())]
        return pd.Series(cells, index=frame.index, name=self.name)

    def member_sets(self, series):
        """How often each member occurs of the sets that are to be learned: combinations, and parents before them."""
        counts = member_counts(series)
        if not self._learns_parents:
            return [counts]
        of_parents: dict = defaultdict(int)
        for key, count in counts.items():
            of_parents[key_of(json.loads(json.loads(key))[0])] += count
        return [dict(of_parents), counts]

    @property
    def n_sets(self):
        """How many sets are to be learned."""
        return 1 + self._learns_parents

    @property
    def _learns_parents(self):
        return self.is_nested and self.parents is None

    def with_sets(self, sets):
        """The column with what was learned: noisy counts of parents, where these are not known, and of combinations.

        Nested, each parent has one more cell for all other combinations in it.
        """
        counts = {json.loads(key): max(float(count), TINY) for key, count in sets[-1].items()}
        if not self.is_nested:
            is_other = not counts or None in self.fillers or all(isinstance(filler, str) for filler in self.fillers)
            return dataclasses.replace(self, values=members(sets[0]), other=is_other)
        totals = {key: float(count) for key, count in sets[0].items()} if self._learns_parents else {}
        parents = members(totals) if self._learns_parents else self.parents or ()
        rows: dict = {_text((parent, *self.fillers[1:])): 0.0 for parent in parents}
        of_parents = {key_of(parent): 0.0 for parent in parents}
        for text, count in counts.items():
            key = key_of(json.loads(text)[0])
            if key in of_parents:
                of_parents[key] += count
                rows[text] = rows.get(text, 0.0) + count
        for parent in parents:  # what of a parent's records is of no combination that stands out
            key = key_of(parent)
            rows[_text((parent, *self.fillers[1:]))] += max(totals.get(key, 0.0) - of_parents[key], TINY)
        return self.listing(parents, rows, other=self._learns_parents)

    def listing(self, parents, rows, *, other=False):
        """The nested column with these parents, and combinations (texts in JSON) with their weights, by parent."""
        places = {key_of(parent): place for place, parent in enumerate(parents)}
        values = sorted(rows, key=lambda text: places[key_of(json.loads(text)[0])])
        return dataclasses.replace(
            self, parents=tuple(parents), values=tuple(values), weights=tuple(map(rows.get, values)), other=other
        )

    def observe(self, series):
        """The column with combinations: its own, or all that occur."""
        if self.values is not None:
            return self
        found = self.with_sets(self.member_sets(series))
        return found if self.is_nested else dataclasses.replace(found, other=False)

    def encode(self, series):
        """Cells (m,) of a pandas column; of what no cell holds the one that agrees with it most, or else -1."""
        places, present = keyed(series)
        cells = {text: cell for cell, text in enumerate(self._texts)}
        nearest = self._nearest()
        texts = map(json.loads, present)
        found = [cells[text] if text in cells else nearest(tuple(json.loads(text))) for text in texts]
        last = len(self._texts) + self.other if self.nullable else -1
        return np.array([*found, last])[places]

    def _nearest(self):
        rest = len(self._texts) if self.other else -1
        rows = [tuple(json.loads(text)) for text in self._texts]
        if self.is_nested and not self.is_listed:
            fillers = {key_of(row[0]): cell for cell, row in enumerate(rows) if row[1:] == self.fillers[1:]}
            return lambda row: fillers.get(key_of(row[0]), rest)
        if not self.is_listed:
            return lambda row: rest
        holding: dict = defaultdict(list)
        for cell, row in enumerate(rows):
            for place, value in enumerate(row):
                holding[place, key_of(value)].append(cell)

        def nearest(row):
            agreed: dict = defaultdict(int)
            for place, value in enumerate(row):
                for cell in holding.get((place, key_of(value)), ()):
                    agreed[cell] += 2 ** len(row) + 2 ** (len(row) - place - 1)
            return max(agreed, key=lambda cell: (agreed[cell], -cell)) if agreed else rest

        return nearest

    def cells_of(self, places):
        """What each column holds (m,) of drawn places (m,), code plus fraction: {name: array of objects}."""
        rows = [*self.combinations, *[(None,) * len(self.members)] * self.nullable]
        codes = np.floor(places).astype(int)
        columns = {}
        for place, name in enumerate(self.members):
            states = np.empty(len(rows), dtype=object)
            states[:] = [row[place] for row in rows]
            columns[name] = states[codes]
        return columns

    def members_of(self, name):
        """The values of one of the columns in all cells, each once, in the cells' order."""
        place = self.members.index(name)
        return tuple(dict.fromkeys(row[place] for row in self.combinations if row[place] is not None))

    def meeting(self, name, condition, *, is_number=False):
        """Which cells (n_cells,) meet a condition on one of the columns.

        Parameters
        ----------
        name : str or int
        condition : category, list of categories, number, (low, high), or None
        is_number : bool
            Whether a pair is a range.
        """
        place = self.members.index(name)
        cells = [*(row[place] for row in self.combinations), *[None] * self.nullable]
        if condition is None:
            return np.array([cell is None for cell in cells])
        if is_number:
            low, high = range_of(name, condition)
            return np.array([cell is not None and low <= cell <= high for cell in cells])
        keys, known = set(map(key_of, named_by(condition))), self.members_of(name)
        if not keys <= set(map(key_of, known)):
            raise BadValueError(f"column {name!r} knows the categories {list(known)}")
        return np.array([cell is not None and key_of(cell) in keys for cell in cells])

    def allowed(self, condition):
        """Conditions name the columns that this one is made of."""
        raise BadValueError(f"conditions name the columns {list(self.members)}, each on its own")


def _text(row):
    """A combination in JSON, the same in whatever form a record has its values."""
    return f"[{', '.join(map(key_of, row))}]"


def filler(is_text, is_nullable, low):
    """What a column reads where nothing is known of it: text, else nothing, else its least number."""
    return OTHER if is_text else None if is_nullable else low


def joint_column(names, *, nullable, combinations=None, fillers=(), is_nested=False, parents=None):
    """A :class:`JointColumn` of the columns with these names.

    Parameters
    ----------
    names : tuple of str or int
        The parent first, if there is one.
    nullable : bool
        Whether the parent, or else all columns together, may be missing.
    combinations : sequence of sequences, optional
        In the order of names; by default to be learned.
    fillers : tuple
    is_nested : bool
    parents : sequence, optional
        Values of the parent, in their order.
    """
    name = " and ".join(map(str, names))
    made = JointColumn(
        name, "object", "category", nullable, None, combinations is None,
        members=tuple(names), fillers=tuple(fillers), is_nested=is_nested, is_listed=combinations is not None,
    )  # fmt: skip
    if combinations is None:
        return made
    texts = list(dict.fromkeys(map(_text, combinations)))
    if not is_nested:
        return dataclasses.replace(made, values=tuple(texts))
    first = [json.loads(text)[0] for text in texts]
    known = list(dict.fromkeys(first)) if parents is None else list(parents)
    present = set(map(key_of, first))
    return made.listing([parent for parent in known if key_of(parent) in present], dict.fromkeys(texts, 1.0))
