"""Draws from a field over a table's columns, as :class:`~sinkgen.generators.field.Field` makes them."""

import math
from typing import NamedTuple

import numpy as np

from sinkgen.lite.places import Places
from sinkgen.lite.within import correlations_of, within_states

SWEEPS = 3  # over the columns, in which a draw leaves the record of the population that it starts from
BLOCKS = 16  # of records whose states are drawn at once
MOST_BALANCED = 100_000  # records; of more, independent draws are as good
LARGEST_BLOCK = 2**16


class Field:
    """A field's tensors, and draws from it; without rules.

    Parameters
    ----------
    tensors : dict of str to ndarray
        Those of :meth:`sinkgen.generators.field.Field.tensors`.
    """

    def __init__(self, tensors):
        self._places = Places(tensors)
        tensors = {name: own.astype(np.float32) if own.dtype.kind == "f" else own for name, own in tensors.items()}
        self._widths = [*self._places.widths.tolist(), int(tensors["n_classes"])]
        cliques = [tuple(j for j in row if j >= 0) for row in tensors["cliques"].tolist()]
        groups = iter(_split(tensors["groups"].astype(np.int64), [self._widths[j] for of in cliques for j in of]))
        self._cliques = [_Clique(of, tuple(next(groups) for _ in of)) for of in cliques]
        sizes = [math.prod(clique.shape) for clique in self._cliques]
        self._potentials, self._targets = (
            [part.reshape(of.shape) for part, of in zip(_split(tensors[name], sizes), self._cliques, strict=True)]
            for name in ("potentials", "targets")
        )
        self._heights, self._frequencies = (_split(tensors[name], self._widths) for name in ("heights", "frequencies"))
        self._population = tensors["population"]
        # Without a coupling there are none.
        self._scores, self._coupling = _split(tensors.get("scores", ()), self._widths), tensors.get("coupling", ())
        if len(self._coupling):
            self._correlations = correlations_of(self._scored(self._population.T.astype(np.int64)))
        self._kinds = [self._kinds_of(j) for j in range(len(self._widths) - 1)]

    def draw(self, labels, random):
        """Places (m, n_columns), a cell plus a fraction, of records of the given classes (m,)."""
        parts = np.array_split(labels, max(1, -(-len(labels) // MOST_BALANCED)))
        rows = np.concatenate([self._states(part, len(parts) == 1, random) for part in parts])
        places = self._places.draw(rows[:, :-1], labels, random)
        if len(self._coupling):
            ordered = [int(np.flatnonzero(of).max(initial=-1)) + 1 for of in self._scores]
            columns, correlations = self._correlations
            for j, ranks in within_states(rows, ordered, columns, correlations, random).items():
                places[:, j] = self._places.at_ranks(j, rows[:, j], labels, ranks)
        return places

    def _states(self, labels, alone, random):
        """States (m, n_columns + 1) of records of the given classes."""
        rows, wanted = self._start(labels, random), np.bincount(labels, minlength=self._widths[-1])
        is_usual = (np.abs(wanted - len(labels) * self._frequencies[-1].astype(np.float64)) <= 1).all()
        columns = np.flatnonzero(np.array(self._widths[:-1]) > 1)
        for _ in range(SWEEPS):
            scores = self._scored(rows) if len(self._coupling) else None
            for j in random.permutation(columns).tolist():
                pull = None if scores is None else scores @ self._coupling[:, j]
                self._draw_column(j, rows, pull, alone and is_usual, random)
                if scores is not None:
                    scores[:, j] = self._scores[j][rows[:, j]]
        return rows

    def _scored(self, rows):
        return np.stack([of[own] for of, own in zip(self._scores, rows.T, strict=True)], 1)

    def _start(self, labels, random):
        """Records of the population, (m, n_columns + 1), with the given labels; any where it has none of a class."""
        chosen = np.empty(len(labels), dtype=np.int64)
        for c in np.unique(labels):
            wanted, pool = np.flatnonzero(labels == c), np.flatnonzero(self._population[-1] == c)
            pool = random.permutation(pool if len(pool) else self._population.shape[1])
            chosen[wanted] = np.resize(pool, len(wanted))
        rows = np.ascontiguousarray(self._population[:, chosen].T.astype(np.int64))
        rows[:, -1] = labels
        return rows

    def _draw_column(self, column, rows, pull, balanced, random):
        """Draw a column of the records (m, n_columns + 1) given the others, in place."""
        n, kinds, of_clique = len(rows), self._kinds[column], []
        for q, clique in enumerate(self._cliques):
            if column in clique.columns:
                of_clique.append((clique.rows(self._potentials[q], column), clique.others(rows, column), q, clique))
        balances = []
        if balanced:
            own = rows[:, column]
            for _, cells, q, clique in of_clique:
                wanted = n * clique.rows(self._targets[q], column)
                balances.append(_Balance(wanted, cells, clique.groups_of(column), own))
            balances.append(_Balance(n * self._frequencies[column][None], np.zeros_like(own), None, own))
        n_blocks = BLOCKS if balanced else -(-n // LARGEST_BLOCK)
        for block in np.array_split(random.permutation(n), min(n, n_blocks)):
            height = self._heights[column] + (balances[-1].pull()[0] if balanced else 0)
            logits = np.broadcast_to(kinds.heights(height), (len(block), len(kinds.firsts))).astype(np.float32)
            for place, (potential, cells, _, clique) in enumerate(of_clique):
                table = potential + balances[place].pull() if balanced else potential
                logits += table[:, clique.groups_of(column)[kinds.firsts]][cells[block]]
            if pull is not None:
                logits += np.outer(pull[block], self._scores[column][kinds.firsts])
            logits -= logits.max(1, keepdims=True)
            ends = np.cumsum(np.exp(logits, out=logits), 1)
            found = (ends <= random.random((len(block), 1), dtype=np.float32) * ends[:, -1:]).sum(1)
            drawn = kinds.draw(np.minimum(found, logits.shape[1] - 1), height, random)
            for balance in balances:
                balance.move(block, rows[block, column], drawn)
            rows[block, column] = drawn

    def _kinds_of(self, column):
        """States of a column that neither cliques nor, where it has an order, the coupling tell apart."""
        n_states = self._widths[column]
        of_state = np.zeros(n_states, dtype=np.int64)
        if self._scores[column].any():
            of_state = np.arange(n_states)
        for clique in self._cliques:
            if column in clique.columns:
                groups = clique.groups_of(column)
                of_state = np.unique(of_state * (groups.max() + 1) + groups, return_inverse=True)[1].reshape(-1)
        order = of_state.argsort(kind="stable")
        sizes = np.bincount(of_state)
        return _Kinds(of_state, order[np.cumsum(sizes) - sizes], order, sizes)


class _Clique(NamedTuple):
    """A few columns, the states of each in groups; see :class:`~sinkgen.generators.cliques.Clique`."""

    columns: tuple
    groups: tuple

    @property
    def shape(self):
        return tuple(int(of.max()) + 1 for of in self.groups)

    def rows(self, values, column):
        place = self.columns.index(column)
        return np.moveaxis(values, place, -1).reshape(-1, values.shape[place])

    def others(self, rows, column):
        cells = np.zeros(len(rows), dtype=np.int64)
        for j, of, n in zip(self.columns, self.groups, self.shape, strict=True):
            if j != column:
                cells = cells * n + of[rows[:, j]]
        return cells

    def groups_of(self, column):
        return self.groups[self.columns.index(column)]


class _Kinds(NamedTuple):
    """States of a column that are drawn as one, and then apart; see :class:`~sinkgen.generators.kinds.Kinds`."""

    of_state: np.ndarray
    firsts: np.ndarray
    order: np.ndarray
    sizes: np.ndarray

    def heights(self, heights):
        if len(self.firsts) == len(heights):
            return heights[self.firsts]
        top = np.full(len(self.firsts), -np.inf)
        np.maximum.at(top, self.of_state, heights)
        safe = np.where(np.isfinite(top), top, 0.0)
        with np.errstate(divide="ignore"):
            return safe + np.log(np.bincount(self.of_state, np.exp(heights - safe[self.of_state]), len(top)))

    def draw(self, kinds, heights, random):
        if len(self.firsts) == len(heights):
            return self.firsts[kinds]
        shares = np.exp(heights - self.heights(heights)[self.of_state], dtype=np.float64)[self.order]
        ends = np.cumsum(self.sizes)
        found = np.searchsorted(np.cumsum(shares), kinds + random.random(len(kinds)), side="right")
        return self.order[np.clip(found, ends[kinds] - self.sizes[kinds], ends[kinds] - 1)]


class _Balance:
    """How often each cell is wanted, and how often it has been drawn."""

    def __init__(self, wanted, cells, groups, states):
        self._wanted, self._cells, self._groups = wanted, cells, groups
        self._doubt = np.float32(0.1 * math.sqrt(len(cells)))
        self._counts = self._counted(slice(None), states)

    def pull(self):
        """Logits by which what is missing becomes likelier."""
        return np.clip((self._wanted - self._counts) / (self._wanted + self._doubt), -1, 1)

    def move(self, rows, before, after):
        """Count a change of states of some records."""
        self._counts += self._counted(rows, after) - self._counted(rows, before)

    def _counted(self, rows, states):
        groups, width = states if self._groups is None else self._groups[states], self._wanted.shape[1]
        counts = np.bincount(self._cells[rows] * width + groups, minlength=self._wanted.size)
        return counts.reshape(self._wanted.shape).astype(np.float32)


def _split(values, sizes):
    return np.split(values, np.cumsum(sizes)[:-1]) if len(sizes) else []
