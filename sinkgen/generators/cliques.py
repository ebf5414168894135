"""Cliques: a few columns of a table with their states in groups, whose joint frequencies a field agrees with."""

import math
from typing import NamedTuple

import torch

from sinkgen._groups import count_cells, numbered

TINY = 1e-9


class Clique(NamedTuple):
    """A few columns, the states of each in groups.

    Attributes
    ----------
    columns : tuple of int
        Places of the columns, rising.
    groups : tuple of LongTensor, each of shape (n_states,)
        Group of each state of each column, from 0 on without gaps.

    Examples
    --------
    >>> clique = Clique((0, 2), (torch.tensor([0, 1, 1]), torch.tensor([0, 1])))
    >>> clique.shape, clique.cells(torch.tensor([[2], [7], [1]])).tolist()
    ((2, 2), [3])
    """

    columns: tuple
    groups: tuple

    @property
    def shape(self):
        """Number of groups of each column."""
        return tuple(map(_n_groups, self.groups))

    @property
    def size(self):
        """Number of cells."""
        return math.prod(self.shape)

    def cells(self, codes):
        """Number of the cell (m,) that each record lies in, given the states (n_columns, m)."""
        return self._cells(codes, self.columns)

    def _cells(self, codes, columns):
        parts = zip(self.columns, self.groups, self.shape, strict=True)
        return numbered([(of.to(codes.device).index_select(0, codes[j]), n) for j, of, n in parts if j in columns])

    def frequencies(self, codes):
        """Share of the records in each cell, of the clique's shape."""
        return count_cells([self], codes)[0].view(self.shape).float() / max(1, codes.shape[1])

    def independent(self, frequencies):
        """Share of each cell if columns were independent, of frequencies (n_states,) of every column."""
        out = torch.ones(())
        for j, of, n in zip(self.columns, self.groups, self.shape, strict=True):
            out = out[..., None] * frequencies[j].new_zeros(n).index_add(0, of, frequencies[j])
        return out

    def rows(self, values, column):
        """Values of the clique's shape as (cells of its other columns, groups of ``column``)."""
        place = self.columns.index(column)
        return values.movedim(place, -1).reshape(-1, values.shape[place])

    def others(self, codes, column):
        """Number of the cell of the other columns (m,) that each record lies in."""
        return self._cells(codes, set(self.columns) - {column})

    def partner(self, column):
        """The other column of a pair."""
        return self.columns[1 - self.columns.index(column)]

    def groups_of(self, column):
        """Group of each state of one of its columns."""
        return self.groups[self.columns.index(column)]


def _n_groups(groups):
    return int(groups.max()) + 1


def even_groups(frequencies, n, n_ordered):
    """States in at most ``n`` groups: neighbours together where they have an order, of the others the rarest.

    Groups of neighbours are even in the roots of frequencies.

    Parameters
    ----------
    frequencies : Tensor of shape (n_states,)
    n : int
        At least 2.
    n_ordered : int
        How many of the first states have an order.

    Returns
    -------
    LongTensor of shape (n_states,)

    Examples
    --------
    >>> even_groups(torch.tensor([0.2, 0.3, 0.1, 0.4]), 2, 4).tolist()
    [0, 0, 1, 1]
    >>> even_groups(torch.tensor([0.2, 0.3, 0.1, 0.4]), 3, 0).tolist()
    [2, 1, 2, 0]
    """
    n_states = len(frequencies)
    if n_states <= n:
        return torch.arange(n_states)
    if n_ordered:
        # By the roots of frequencies: what is rare, such as a large gain beside many zeros, tells as much.
        frequencies = frequencies.clamp_min(0).sqrt()
        # States beyond the ordered ones (missing cells) stand alone, as far as there is room.
        n_apart = min(n_states - n_ordered, n - 2)
        n_even = n_states - n_apart
        middle = frequencies[:n_even].cumsum(0) - frequencies[:n_even] / 2
        share = middle / frequencies[:n_even].sum().clamp_min(TINY) * (n - n_apart)
        group = torch.unique(share.floor().clamp(0, n - n_apart - 1), return_inverse=True)[1]
        return torch.cat([group, group.max() + 1 + torch.arange(n_apart)])
    group = torch.full((n_states,), n - 1)
    group[frequencies.argsort(descending=True, stable=True)[: n - 1]] = torch.arange(n - 1)
    return group
