"""The private stage for tables: noisy marginals, and a mixture of product distributions that has them.

Read :func:`train_tabular` first. A mixture of products is what transport to weighted points is for one-hot cells: a
point is a vector of frequencies. Its one-way and two-way marginals are polynomials of its parameters, so that it can be
fitted to noisy marginals as public post-processing, with no further look at a record.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch

from sinkgen.product import ProductMixture
from sinkgen.table_queries import MarginalQuery, PairQuery, pair_mask


@dataclass(frozen=True)
class TabularSettings:
    """Public settings.

    Attributes
    ----------
    n_columns : int
    members : int
        Mixtures that are fitted from starts of their own; together they are the mixture released. Their mean has less
        of the noise than each.
    components : int
        Components of a member.
    steps : int
        Steps of Adam, for each member.
    learning_rate : float
    spread : float
        Standard deviation of the starting logits around the marginals'.
    relative : float
        Share of a count that is added to the variance of its noise: what the mixture cannot fit is left where counts
        are large.
    """

    n_columns: int
    members: int = 5
    components: int = 60
    steps: int = 800
    learning_rate: float = 0.1
    spread: float = 0.5
    relative: float = 0.0

    @property
    def shares(self):
        """Share of the budget (of mu squared) of each release: two-way marginals where there are two columns."""
        return {"one-way": 0.3, "two-way": 0.7} if self.n_columns > 1 else {"one-way": 1.0}


class Marginals(NamedTuple):
    """Noisy marginals, as shares of the records.

    Attributes
    ----------
    one_way : Tensor of shape (n_classes, D)
    two_way : Tensor of shape (n_classes, D, D)
    one_way_weight, two_way_weight : Tensor of the same shapes
        Inverse variance of each; 0 where nothing was released.
    widths : tuple of int
    """

    one_way: torch.Tensor
    two_way: torch.Tensor
    one_way_weight: torch.Tensor
    two_way_weight: torch.Tensor
    widths: tuple


def train_tabular(source, counts, form, mechanism, settings, *, random, progress=iter):
    """From encoded records to a released mixture.

    Parameters
    ----------
    source : RecordSource
        Codes (m, n_columns) with classes.
    counts : Tensor of shape (n_classes,)
        Noisy number of records of each class.
    form : TableFormat
    mechanism : GaussianMechanism
        Charged with the rows of ``settings.shares``.
    settings : TabularSettings
    random : torch.Generator
        Public stream: starts.
    progress : callable
        Wraps the range of members.

    Returns
    -------
    ProductMixture
    """
    marginals = measure(source, counts.clamp_min(1.0), form.widths, mechanism, settings.relative)
    members = [fit_mixture(marginals, settings, random) for _ in progress(range(settings.members))]
    weights, frequencies = (torch.cat(parts) for parts in zip(*members, strict=True))
    return ProductMixture(weights / weights.sum(), frequencies, form.widths)


def measure(source, counts, widths, mechanism, relative):
    """Release one-way and two-way marginals of each class."""
    total = counts.sum()
    query = MarginalQuery(widths, len(counts))
    one_way = mechanism.release("one-way", query, source) / total
    variance = (mechanism.noise_multiplier("one-way") * query.sensitivity / total) ** 2
    one_way_weight = 1 / (variance + relative * one_way.clamp_min(0) / total + 1e-3 / total**2)
    two_way = torch.zeros(len(counts), sum(widths), sum(widths), dtype=torch.float64)
    two_way_weight = two_way
    if len(widths) > 1:
        query = PairQuery(widths, len(counts))
        two_way = mechanism.release("two-way", query, source) / total
        variance = (mechanism.noise_multiplier("two-way") * query.sensitivity / total) ** 2
        expected = one_way.clamp_min(0)
        expected = expected[:, :, None] * expected[:, None, :] / (counts / total)[:, None, None]
        two_way_weight = 0.5 * pair_mask(widths) / (variance + relative * expected / total + 1e-3 / total**2)
    return Marginals(one_way, two_way, one_way_weight, two_way_weight, tuple(widths))


def fit_mixture(marginals, settings, random):
    """Weights (k, n_classes) and frequencies (k, D) of a mixture that has the marginals, by weighted least squares.

    With frequencies q_k and weights w_kc, the mixture's marginals of class c are ``sum_k w_kc q_k`` and
    ``sum_k w_kc q_k q_k^T``. Logits of both are moved by Adam [1]_, with gradients written out: two matrix products a
    class and step.

    References
    ----------
    .. [1] Kingma, Ba, "Adam: A Method for Stochastic Optimization", arXiv 1412.6980.
    """
    n_classes, size = marginals.one_way.shape
    scale = marginals.one_way_weight.max()
    target = [part.float() for part in (marginals.one_way, marginals.two_way)]
    weight = [(part / scale).float() for part in (marginals.one_way_weight, marginals.two_way_weight)]
    column = torch.repeat_interleave(torch.arange(len(marginals.widths)), torch.tensor(marginals.widths))
    blocks = torch.nn.functional.one_hot(column).float()
    start = target[0].sum(0).clamp_min(1e-4).log()
    logits = start + settings.spread * torch.randn(settings.components, size, generator=random)
    class_logits = target[0].sum(1).clamp_min(1e-4).log() + torch.randn(
        settings.components, n_classes, generator=random
    )
    parameters = [torch.nn.Parameter(logits), torch.nn.Parameter(class_logits)]
    optimiser = torch.optim.Adam(parameters, settings.learning_rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    with torch.no_grad():
        for _ in range(settings.steps):
            frequencies, weights = _probabilities(parameters, blocks)
            slopes = _slopes(frequencies, weights, target, weight)
            parameters[0].grad = frequencies * (slopes[0] - (frequencies * slopes[0]) @ blocks @ blocks.T)
            parameters[1].grad = weights * (slopes[1] - (weights * slopes[1]).sum())
            optimiser.step()
            schedule.step()
        frequencies, weights = _probabilities(parameters, blocks)
    return weights.double(), frequencies.double()


def _probabilities(parameters, blocks):
    logits, class_logits = parameters
    grown = (logits - logits.amax(1, keepdim=True)).clamp_min(-60).exp()
    return grown / (grown @ blocks @ blocks.T), class_logits.flatten().softmax(0).view_as(class_logits)


def _slopes(frequencies, weights, target, weight):
    """Gradient of the weighted squares in frequencies and weights."""
    in_frequencies, in_weights = torch.zeros_like(frequencies), torch.zeros_like(weights)
    for c in range(weights.shape[1]):
        own = weights[:, c, None]
        one = weight[0][c] * (own.T @ frequencies - target[0][c])
        two = weight[1][c] * ((own * frequencies).T @ frequencies - target[1][c])
        moved = frequencies @ two
        in_frequencies += 2 * own * (one + 2 * moved)
        in_weights[:, c] = 2 * ((one + moved) * frequencies).sum(1)
    return in_frequencies, in_weights
