"""The public fit: types of persons and their types of rows, to pairs of columns within a row and across rows."""

from typing import NamedTuple

import torch
from torch.nn import functional as F

from sinkgen.generators.product import stratified
from sinkgen.training.tables.marginals import naive_bayes, weigh_marginals
from sinkgen.training.tables.tabular import OWN_CLASS, Fit, prior_of, smoother

TINY = 1e-9


class PeopleFit(Fit):
    """The same weighted squares, with those of pairs across rows.

    With weights w_krc of a type k of persons, its type r of rows and class c, a type has ``e_k = sum_rc w_krc (q_kr,
    one-hot c)``, and pairs across rows are ``sum_k p_k e_k e_k^T / w_k``, where p_k is the chance of several rows.

    Parameters
    ----------
    marginals, widths, smooth, prior
        See :class:`~sinkgen.training.tables.tabular.Fit`; the last column is the number of rows.
    across : Across or None
    n_rows : int
        Types of rows of each type of persons.
    constant : Constant
    """

    def __init__(self, marginals, widths, smooth, prior, *, across, n_rows, constant):
        super().__init__(marginals, widths, smooth, prior)
        self._n_rows, self._across = n_rows, across
        flags = torch.cat([constant.columns, torch.tensor([True])])
        self._constant = torch.repeat_interleave(flags, torch.tensor(widths))
        self._one_row = sum(widths[:-1])
        if across is not None:
            self._across_weight = (marginals.unit * across.weight).float()

    def _tied(self, in_offsets):
        """Slopes that leave constant columns the same in all rows of a type."""
        out = in_offsets.view(-1, self._n_rows, in_offsets.shape[1]).clone()
        out[:, :, self._constant] = out[:, :, self._constant].mean(1, keepdim=True)
        return out.view_as(in_offsets)

    def _slopes(self, frequencies, weights):
        in_frequencies, in_weights = super()._slopes(frequencies, weights)
        if self._across is None:
            return in_frequencies, in_weights
        n_states, own = self._one_row, weights.sum(1)
        coarse, classes = self._across.coarse[:n_states], self._across.coarse[n_states:]
        of_rows = frequencies[:, :n_states] @ coarse
        summed = (own[:, None] * of_rows + weights @ classes).view(-1, self._n_rows, coarse.shape[1]).sum(1)
        of_type = own.view(-1, self._n_rows).sum(1).clamp_min(TINY)
        several = 1 - frequencies[:: self._n_rows, self._one_row]
        scale = several / of_type
        moved = torch.addmm(self._across.shares, (scale[:, None] * summed).T, summed, beta=-1).mul_(self._across_weight)
        moved = summed @ moved
        in_summed = 4 * scale[:, None] * moved
        in_scale = 2 * (moved * summed).sum(1)
        each = in_summed.repeat_interleave(self._n_rows, 0)
        in_frequencies[:, :n_states] += own[:, None] * (each @ coarse.T)
        in_frequencies[:, self._one_row] -= (in_scale / of_type).repeat_interleave(self._n_rows) / self._n_rows
        in_weights += (each * of_rows).sum(1, keepdim=True) + each @ classes.T
        in_weights -= (in_scale * several / of_type.square()).repeat_interleave(self._n_rows)[:, None]
        return in_frequencies, in_weights


class Types(NamedTuple):
    """Components (K) of a fit, each a type of rows of a type of persons.

    Attributes
    ----------
    weights : Tensor of shape (K, n_classes)
    frequencies : Tensor of shape (K, D)
    types : LongTensor of shape (K,), rising
    """

    weights: torch.Tensor
    frequencies: torch.Tensor
    types: torch.Tensor


def fit_types(one_way, pairs, across, states, people, stage):
    """Types of rows, as far as what was counted of pairs shows any; without pairs, one a class.

    Parameters
    ----------
    one_way, pairs : OneWay, Pairs
        Within rows; pairs may be None.
    across : Across or None
    states : States
    people : People
    stage : Stage
    """
    weights, frequencies = naive_bayes(one_way, states)
    if pairs is None:
        return Types(weights, frequencies, torch.arange(len(weights)))
    settings, random = stage.settings, stage.random
    # Pairs of many states say little each: those across rows, of few groups, may show types where these do not.
    excess = max(pairs.excess(weights, frequencies, states.widths, people.total), across.excess if across else 0.0)
    marginals = weigh_marginals(one_way, pairs, people.total, states, settings.relative)
    fit = PeopleFit(
        marginals, states.widths, smoother(states, settings), prior_of(excess),
        across=across, n_rows=settings.row_types, constant=people.constant,
    )  # fmt: skip
    shares = weights.sum(0).clamp_min(1e-4)
    n_classes, n_types, n_rows = len(shares), max(settings.types, len(shares)), settings.row_types
    # Every type belongs to a class at first, one to each, and the others by their shares.
    own = torch.cat([torch.arange(n_classes), stratified(shares, n_types - n_classes, random)])
    base = torch.where(one_way.absent(states), -60.0, frequencies[own].clamp_min(1e-4).log())
    base = base.repeat_interleave(n_rows, 0)
    of_type = settings.spread * torch.randn(n_types, base.shape[1], generator=random)
    of_row = settings.row_spread * torch.randn(base.shape, generator=random) * ~fit._constant
    elsewhere = 1 - F.one_hot(own, n_classes).float()
    class_logits = shares.log() - OWN_CLASS * elsewhere + torch.randn(elsewhere.shape, generator=random)
    of_row_class = settings.row_spread * torch.randn(len(base), n_classes, generator=random)
    class_logits = class_logits.repeat_interleave(n_rows, 0) + of_row_class
    offsets = of_type.repeat_interleave(n_rows, 0) + of_row
    for _ in stage.progress("public fits")(range(1)):
        made = fit.run(base, offsets, class_logits, settings.steps, settings.learning_rate)
    return Types(made.weights, made.frequencies, torch.arange(n_types).repeat_interleave(n_rows))
