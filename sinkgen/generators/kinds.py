"""States of a column that nothing tells apart but how often each occurs: they are drawn as one, and then apart."""

from typing import NamedTuple

import torch


class Kinds(NamedTuple):
    """States of a column, those together that other columns do not tell apart.

    A column of thousands of codes is drawn in the time that its few kinds take.

    Attributes
    ----------
    of_state : LongTensor of shape (n_states,)
        Kind of each state.
    firsts : LongTensor of shape (n_kinds,)
        A state of each kind.
    order : LongTensor of shape (n_states,)
        States, those of a kind in a row.

    Examples
    --------
    >>> kinds = Kinds.of(4, [torch.tensor([0, 1, 1, 1]), torch.tensor([0, 0, 0, 2])])
    >>> kinds.of_state.tolist(), kinds.heights(torch.zeros(4)).exp().tolist()
    ([0, 1, 1, 2], [1.0, 2.0, 1.0])
    """

    of_state: torch.Tensor
    firsts: torch.Tensor
    order: torch.Tensor

    @classmethod
    def of(cls, n_states, groups):
        """The kinds of states (n_states,) that several groupings of them make together."""
        kinds = torch.zeros(n_states, dtype=torch.long)
        for part in groups:
            kinds = torch.unique(kinds * (int(part.max()) + 1) + part, return_inverse=True)[1]
            if int(kinds.max()) + 1 == n_states:
                break
        order = kinds.argsort(stable=True)
        sizes = torch.bincount(kinds)
        return cls(kinds, order[sizes.cumsum(0) - sizes], order)

    @classmethod
    def apart(cls, n_states):
        """Each state alone."""
        return cls(*[torch.arange(n_states)] * 3)

    def heights(self, heights):
        """Logarithms (n_kinds,) of the sums of what states (n_states,) have the logarithms of."""
        if len(self.firsts) == len(heights):
            return heights[self.firsts]
        top = torch.full((len(self.firsts),), -torch.inf, dtype=heights.dtype)
        top.scatter_reduce_(0, self.of_state, heights, "amax")
        sums = torch.zeros_like(top).index_add_(0, self.of_state, (heights - top[self.of_state]).exp())
        return top + sums.log()

    def draw(self, kinds, heights, rng):
        """States (m,) of these kinds, each by its height."""
        if len(self.firsts) == len(heights):
            return self.firsts[kinds]
        shares = (heights - self.heights(heights)[self.of_state]).double().exp()[self.order]
        sizes = torch.bincount(self.of_state)
        ends = sizes.cumsum(0)
        found = torch.searchsorted(
            shares.cumsum(0), kinds + torch.rand(len(kinds), generator=rng, dtype=torch.float64), right=True
        )
        return self.order[found.clamp(ends[kinds] - sizes[kinds], ends[kinds] - 1)]
