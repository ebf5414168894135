"""A mixture of product distributions over the columns of a table, from which cells are drawn."""

import torch
from torch import nn


class ProductMixture(nn.Module):
    """Draws records of a table: a component by its weight, then each column's state by the component's frequencies.

    Draws of one call are stratified: components and, within a component, the states of each column occur as often as
    their probabilities say, up to rounding at random. Each record has the mixture's distribution; together they follow
    it more closely than independent ones.

    Parameters
    ----------
    weights : Tensor of shape (n_components, n_classes)
        Non-negative, sum 1: joint probability of a component and a class.
    frequencies : Tensor of shape (n_components, D)
        Probability of each of the D states of all columns; sums 1 over the states of a column.
    widths : sequence of int
        Number of states of each column.
    parts : Tensor of shape (D, 2), optional
        From where to where in each state, of 0 to 1, records may lie; everywhere by default.

    Examples
    --------
    >>> mixture = ProductMixture(torch.ones(1, 1), torch.tensor([[0.5, 0.5, 1.0]]), (2, 1))
    >>> mixture.draw(torch.zeros(4, dtype=torch.long), torch.Generator().manual_seed(0)).floor().sum(0).tolist()
    [2.0, 0.0]
    """

    weights: torch.Tensor
    frequencies: torch.Tensor
    widths: torch.Tensor
    parts: torch.Tensor

    def __init__(self, weights, frequencies, widths, parts=None):
        super().__init__()
        whole = torch.tensor([0.0, 1.0], dtype=torch.float64).repeat(sum(widths), 1)
        self.register_buffer("weights", weights.double())
        self.register_buffer("frequencies", frequencies.double())
        self.register_buffer("widths", torch.as_tensor(tuple(widths)))
        self.register_buffer("parts", whole if parts is None else parts.double())

    @property
    def class_weights(self):
        """Probability of each class, (n_classes,)."""
        return self.weights.sum(0)

    def draw(self, labels, generator):
        """Places (m, n_columns), a state plus a fraction, of records of the given classes (m,)."""
        out = torch.empty(len(labels), len(self.widths), dtype=torch.float64)
        for c in torch.unique(labels).tolist():
            rows = torch.nonzero(labels == c).flatten()
            if not self.weights[:, c].sum() > 0:
                raise ValueError("no record of a class that is wanted can meet the conditions")
            component = stratified(self.weights[:, c], len(rows), generator)
            out[rows[torch.randperm(len(rows), generator=generator)]] = self._cells(component, generator)
        return out

    def _cells(self, component, generator):
        """Places of records of the given components (m,), which are sorted."""
        counts = torch.bincount(component, minlength=len(self.weights))
        first = counts.cumsum(0) - counts
        columns, start = [], 0
        for width in self.widths.tolist():
            states = slice(start, start + width)
            offset = _fraction(len(counts), generator)[component]
            share = (self._rank(component, generator) - first[component] + offset) / counts[component]
            code = _invert(self.frequencies[:, states], component, share)
            low, high = self.parts[states][code].T
            columns.append(code + low + (high - low) * _fraction(len(code), generator))
            start += width
        return torch.stack(columns, 1)

    @staticmethod
    def _rank(component, generator):
        """A random order of the records within each component: their ranks among all, components after each other."""
        order = (component + _fraction(len(component), generator)).argsort()
        return torch.empty_like(order).scatter_(0, order, torch.arange(len(order)))

    def condition(self, parts):
        """The mixture given that each column's state lies in a part of its states.

        Parameters
        ----------
        parts : list of arrays (n_states, 2), or None
            One a column: from where to where in each state records may lie. None is everywhere.

        Returns
        -------
        ProductMixture

        Raises
        ------
        ValueError
            If no record can meet the conditions.
        """
        weights, frequencies, inside = self.weights, self.frequencies.clone(), self.parts.clone()
        start = 0
        for width, part in zip(self.widths.tolist(), parts, strict=True):
            states, start = slice(start, start + width), start + width
            if part is None:
                continue
            inside[states] = torch.as_tensor(part)
            allowed = frequencies[:, states] * (inside[states, 1] - inside[states, 0])
            chance = allowed.sum(1, keepdim=True)
            weights = weights * chance
            frequencies[:, states] = torch.where(chance > 0, allowed / chance, frequencies[:, states])
        if not weights.sum() > 0:
            raise ValueError("no record can meet the conditions")
        return ProductMixture(weights / weights.sum(), frequencies, self.widths.tolist(), inside)


def stratified(weights, n, generator):
    """Indices (n,), sorted, each as often as its weight says up to rounding at random.

    Examples
    --------
    >>> stratified(torch.tensor([1.0, 0.0, 3.0]), 8, torch.Generator().manual_seed(0)).tolist()
    [0, 0, 2, 2, 2, 2, 2, 2]
    """
    ends = weights.cumsum(0) / weights.sum()
    places = (torch.arange(n, dtype=torch.float64) + torch.rand((), generator=generator)) / n
    return torch.searchsorted(ends, places, right=True).clamp_max(int(torch.nonzero(weights)[-1]))


def _invert(frequencies, component, share):
    """State (m,) at each share (m,) of the cumulated frequencies of its component."""
    ends = frequencies.cumsum(1)
    ends = (ends / ends[:, -1:] + torch.arange(len(ends))[:, None]).flatten()
    width = frequencies.shape[1]
    code = torch.searchsorted(ends, component + share, right=True) - component * width
    last = width - 1 - (frequencies > 0).flip(1).int().argmax(1)
    return torch.minimum(code.clamp_min(0), last[component])


def _fraction(n, generator):
    # Below 1 by more than rounding takes off when it is added to an index.
    return torch.rand(n, generator=generator, dtype=torch.float64) * (1 - 1e-9)
