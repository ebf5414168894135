"""Where in its state a record lies, as :class:`~sinkgen.generators.places.Places` draws it."""

import numpy as np


class Places:
    """Cells of states, and draws of them and of fractions of them.

    Parameters
    ----------
    tensors : dict of str to ndarray
        Those of :class:`~sinkgen.generators.places.Places`.
    """

    def __init__(self, tensors):
        self.widths, self._cell_states = (tensors[name].astype(np.int64) for name in ("widths", "cell_states"))
        self._shares, self._parts = (tensors[name].astype(np.float64) for name in ("cell_shares", "parts"))
        self._columns = np.repeat(np.arange(len(self.widths)), self.widths)[self._cell_states]

    def draw(self, codes, labels, random):
        """Places (m, n_columns), a cell plus a fraction, of records of these states (m, n_columns) and labels (m,)."""
        n_cells = np.bincount(self._columns, minlength=len(self.widths))
        starts, places = np.cumsum(n_cells) - n_cells, np.empty(codes.shape)
        for j in range(codes.shape[1]):
            cells = self._cells(j, codes[:, j], labels, random)
            low, high = self._parts[cells + starts[j]].T
            places[:, j] = cells + low + (high - low) * random.random(len(codes)) * (1 - 1e-9)
        return places

    def at_ranks(self, column, codes, labels, ranks):
        """Places (m,) of one column's records of these states (m,), whose ranks within their states are known."""
        own, n_states = self._columns == column, int(self.widths[column])
        states, shares = self._cell_states[own] - int(self.widths[:column].sum()), self._shares[:, own]
        labels = labels if len(shares) > 1 else np.zeros_like(labels)
        ends = np.cumsum(shares, 1)
        sought = labels * n_states + codes + ranks.clip(0, 1 - 1e-9)
        offsets = n_states * np.arange(len(shares))
        cells = np.searchsorted((ends + offsets[:, None]).ravel(), sought, side="right") - len(states) * labels
        lowest, highest = (np.searchsorted(states, codes, side=side) for side in ("left", "right"))
        cells = np.clip(cells, lowest, highest - 1)
        share = shares[labels, cells]
        inside = (sought - (ends[labels, cells] - share + offsets[labels])) / share.clip(1e-300)
        low, high = self._parts[own][cells].T
        return cells + low + (high - low) * inside.clip(0, 1 - 1e-9)

    def _cells(self, column, codes, labels, random):
        """Cells (m,) of one column's records, given their states and classes."""
        own = self._columns == column
        states, shares, n_states = self._cell_states[own], self._shares[:, own], int(self.widths[column])
        if len(states) == n_states:
            return codes
        labels = labels if len(shares) > 1 else np.zeros_like(labels)
        # Records of a class and state lie evenly, in random order, between that pair's number and the next.
        group = labels * n_states + codes
        order = (group + random.random(len(group)) * (1 - 1e-9)).argsort()
        counts = np.bincount(group, minlength=len(shares) * n_states)
        sorted_group = group[order]
        rank = np.arange(len(group)) - (np.cumsum(counts) - counts)[sorted_group]
        places = sorted_group + (rank + random.random(len(counts))[sorted_group] * (1 - 1e-9)) / counts[sorted_group]
        ends = np.cumsum(shares, 1) + n_states * np.arange(len(shares))[:, None]
        found = np.searchsorted(ends.ravel(), places, side="right") - len(states) * labels[order]
        lowest, highest = (np.searchsorted(states - states[0], codes[order], side=side) for side in ("left", "right"))
        out = np.empty_like(codes)
        out[order] = np.clip(found, lowest, highest - 1)
        return out
