"""Where records lie within states: cells, and fractions of them."""

import torch
from torch import nn


class Places(nn.Module):
    """Draws where in its state a record lies: a cell given the state and the label, and a fraction of it.

    Draws of one call are stratified: cells occur, given states and labels, as often as their shares say, nearly.

    Parameters
    ----------
    widths : sequence of int
        Number of states of each column; D in all.
    cell_states : Tensor of shape (C,), optional
        Which of the D states each of the C cells of all columns belongs to, rising; each state is one cell by default.
    cell_shares : Tensor of shape (n_classes, C), optional
        Probability of each cell given its state and the class; sums 1 over the cells of a state.
    parts : Tensor of shape (C, 2), optional
        From where to where in each cell, of 0 to 1, records may lie; everywhere by default.

    Examples
    --------
    >>> places = Places((1,), torch.zeros(2, dtype=torch.long), torch.tensor([[0.25, 0.75]]))
    >>> codes, labels = torch.zeros(8, 1, dtype=torch.long), torch.zeros(8, dtype=torch.long)
    >>> places.draw(codes, labels, torch.Generator().manual_seed(0)).floor().sum().item()
    6.0
    """

    widths: torch.Tensor
    cell_states: torch.Tensor
    cell_shares: torch.Tensor
    parts: torch.Tensor

    def __init__(self, widths, cell_states=None, cell_shares=None, parts=None):
        super().__init__()
        cell_states = torch.arange(sum(widths)) if cell_states is None else cell_states
        cell_shares = torch.ones(1, len(cell_states)) if cell_shares is None else cell_shares
        whole = torch.tensor([0.0, 1.0], dtype=torch.float64).repeat(len(cell_states), 1)
        self.register_buffer("widths", torch.as_tensor(tuple(widths)))
        self.register_buffer("cell_states", cell_states.long())
        self.register_buffer("cell_shares", cell_shares.double())
        self.register_buffer("parts", whole if parts is None else parts.double())

    def draw(self, codes, labels, rng):
        """Places (m, n_columns), a cell plus a fraction, of records of these states (m, n_columns) and labels (m,)."""
        columns = range(codes.shape[1])
        cells = torch.stack([self._draw_cells(j, codes[:, j], labels, rng) for j in columns], 1)
        n_cells = torch.bincount(self._cell_columns, minlength=len(self.widths))
        low, high = self.parts[cells + n_cells.cumsum(0) - n_cells].unbind(2)
        within = torch.stack([fraction(len(codes), rng) for _ in columns], 1)
        return cells + low + (high - low) * within

    def _draw_cells(self, column, codes, labels, rng):
        """Cells (m,) of one column's records, given their states and classes."""
        own = self._cell_columns == column
        states, shares = self.cell_states[own], self.cell_shares[:, own]
        if len(states) == self.widths[column]:
            return codes
        labels = labels if len(shares) > 1 else torch.zeros_like(labels)
        first, n_states = states[0], int(self.widths[column])
        # Records of a class and state lie evenly, in random order, between that pair's number and the next.
        group = labels * n_states + codes
        order = (group + fraction(len(group), rng)).argsort()
        counts = torch.bincount(group, minlength=len(shares) * n_states)
        offsets = fraction(len(counts), rng)[group[order]]
        rank = torch.arange(len(group)) - (counts.cumsum(0) - counts)[group[order]]
        places = group[order] + (rank + offsets) / counts[group[order]]
        ends = shares.cumsum(1) + n_states * torch.arange(len(shares))[:, None]
        found = torch.searchsorted(ends.flatten(), places, right=True) - len(states) * labels[order]
        lowest, highest = (torch.searchsorted(states - first, codes[order], right=side) for side in (False, True))
        return torch.empty_like(codes).scatter_(0, order, found.clamp(lowest, highest - 1))

    def at_ranks(self, column, codes, ranks, tilt=None):
        """Places (m,) of one column's records, whose ranks within their states are known.

        Parameters
        ----------
        column : int
        codes : LongTensor of shape (n_columns + 1, m)
            States, and the label.
        ranks : Tensor of shape (m,)
            From 0 to 1.
        tilt : Tensor of shape (n_cells,), optional
            What is added to the logarithm of each cell's share.
        """
        own, labels = codes[column], codes[-1] if len(self.cell_shares) > 1 else torch.zeros_like(codes[-1])
        cells, n_states = self._cell_columns == column, int(self.widths[column])
        state = self.cell_states[cells] - int(self.widths[:column].sum())
        shares = self.cell_shares[:, cells] if tilt is None else self.cell_shares[:, cells] * tilt.exp()
        shares = shares / _sums(shares, state, n_states)[:, state].clamp_min(1e-300)
        ends = shares.cumsum(1)
        lowest, highest = (torch.searchsorted(state, torch.arange(n_states), right=side) for side in (False, True))
        sought = labels * n_states + own + ranks.clamp(0, 1 - 1e-9)
        offsets = n_states * torch.arange(len(shares))[:, None]
        cell = torch.searchsorted((ends + offsets).flatten(), sought, right=True) - len(state) * labels
        cell = torch.minimum(torch.maximum(cell, lowest[own]), highest[own] - 1)
        share = shares[labels, cell]
        start = ends[labels, cell] - share + offsets[labels, 0]
        inside = ((sought - start) / share.clamp_min(1e-300)).clamp(0, 1 - 1e-9)
        low, high = self.parts[cells][cell].unbind(1)
        return cell + low + (high - low) * inside

    @property
    def _cell_columns(self):
        """Column of each cell, (C,)."""
        return torch.repeat_interleave(torch.arange(len(self.widths)), self.widths)[self.cell_states]

    def condition(self, parts, joint):
        """The places that meet conditions, and how likely each state does, given the class.

        Parameters
        ----------
        parts : list of arrays (n_cells, 2), or None
            One a column: from where to where in each cell records may lie. None is everywhere.
        joint : Tensor of shape (n_classes, D)
            Probability of each class and state.

        Returns
        -------
        Places
        list of Tensor of shape (n_classes, n_states), or None
            None for a column without conditions.
        """
        allowed, shares = self.parts.clone(), self.cell_shares.clone()
        joint = joint if len(shares) > 1 else joint.sum(0, keepdim=True)
        found: list[torch.Tensor | None] = []
        starts, columns = self.widths.cumsum(0) - self.widths, self._cell_columns
        for j, part in enumerate(parts):
            if part is None:
                found.append(None)
                continue
            cells = columns == j
            allowed[cells] = torch.as_tensor(part, dtype=torch.float64)
            low, high = allowed[cells].unbind(1)
            state = self.cell_states[cells] - starts[j]
            meeting = shares[:, cells] * (high - low).clamp_min(0)
            chances = _sums(meeting, state, int(self.widths[j]))
            # Where a class has no such cells, those of all classes serve.
            anyone = (joint[:, self.cell_states[cells]] * meeting).sum(0)
            meeting = torch.where(chances[:, state] > 0, meeting, anyone)
            sums = _sums(meeting, state, int(self.widths[j]))[:, state]
            shares[:, cells] = torch.where(sums > 0, meeting / sums, shares[:, cells])
            found.append(chances)
        return Places(self.widths.tolist(), self.cell_states, shares, allowed), found


def _sums(values, states, n_states):
    """Sums (n_classes, n_states) of the values (n_classes, n_cells) of each state's cells."""
    return values.new_zeros(len(values), n_states).index_add_(1, states, values)


def fraction(n, rng):
    """Numbers (n,) from 0 to 1, below 1 by more than rounding takes off when one is added to an index."""
    return torch.rand(n, generator=rng, dtype=torch.float64) * (1 - 1e-9)
