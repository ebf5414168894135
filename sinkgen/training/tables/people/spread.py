"""Correlations of ordered columns, within rows and across rows of a person: what types of rows cannot tell."""

from typing import NamedTuple

import torch

from sinkgen.generators.people import SIZES
from sinkgen.privacy.queries.people import ResidualsQuery, ScoresQuery

TINY = 1e-9
# Constants chosen by trials on a made-up panel: docs/experiments.md, Persons.
LENGTHS, REST_LENGTHS = (1.2, 2.5), (2.0, 5.0)  # typical ones, at which what a person adds is clipped
CLEAR = 0.005  # noise of a correlation up to which fewer are clipped
LEAST_VARIANCE = 0.05  # of ranks, that may be noisy
MOST_BLUR, LEAST = 0.2, 0.01  # noise of a correlation up to which it is used; least eigenvalue


class Spread(NamedTuple):
    """Correlations of normal scores; see :class:`~sinkgen.generators.people.PeopleMixture`."""

    ordered: torch.Tensor
    held: torch.Tensor
    spread: torch.Tensor


NO_SPREAD = Spread(torch.zeros(0).long(), torch.zeros(0).long(), torch.zeros(2, 0, 0))


def learn_spread(source, form, one_way, people, mechanism):
    """Correlations of columns of ordered states, within rows and across rows; of none where it is all noise.

    A state's score is the rank of its middle. Ranks within a state, which are drawn evenly, are independent of all
    else: what they add to the variance of a column, its jitter, is known.
    """
    columns = [j for j, n in enumerate(form.ordered) if n > 1]
    columns.sort(key=lambda j: not people.constant.columns[j])
    fixed = people.constant.columns[columns]
    if fixed.all():
        return NO_SPREAD
    shares = one_way.shares.sum(0)[: sum(form.widths)].split(form.widths)
    ranked = [middle_ranks(shares[j], form.ordered[j]) for j in columns]
    scores = [(j, ranks) for j, (ranks, _) in zip(columns, ranked, strict=True)]
    jitter = torch.tensor([of for _, of in ranked], dtype=torch.float64)
    whole = torch.stack([_variance(shares[j], ranks) for j, ranks in scores])
    several = people.several
    means = ScoresQuery(scores, _length(LENGTHS, several, 3 * mechanism.noise_multiplier("scores"), len(scores)))
    first, means_squared = mechanism.release("scores", means, source)
    noise = mechanism.noise_multiplier("scores") * means.sensitivity
    if noise > MOST_BLUR / 3 * several:
        return NO_SPREAD
    first = first / several
    between = means_squared / several - first[:, None] * first
    # Means of m rows have a part of 1 / m of what rows differ by, which differ from their mean by the rest of it.
    kept = inverse_sizes(people)
    own = ((whole - between.diagonal()) / (1 - kept))[~fixed].clamp_min(noise / several)
    moving = [pair for pair, same in zip(scores, fixed.tolist(), strict=True) if not same]
    length = _length(REST_LENGTHS, several, mechanism.noise_multiplier("residuals"), len(moving) ** 0.5)
    residuals = ResidualsQuery(moving, ((1 - kept) * own).sqrt(), length)
    rest = mechanism.release("residuals", residuals, source) / several / (1 - kept)
    bounds = residuals.bounds
    error = mechanism.noise_multiplier("residuals") * residuals.sensitivity / several / (1 - kept)
    error = error * bounds[:, None] * bounds
    across, within = between.clone(), between.clone()
    both = (~fixed[:, None]) & ~fixed
    across[both] -= kept * rest.flatten()
    within[both] += (1 - kept) * rest.flatten()
    scale = (within.diagonal() + jitter).clamp_min(LEAST_VARIANCE).sqrt()
    scale, own = scale[:, None] * scale, scale[~fixed, None] * scale[~fixed]
    ranks, rest = (within + jitter.diag()) / scale, (rest + jitter[~fixed].diag()) / own
    held = [sum(state < form.ordered[j] for state in form.columns[j].cell_states) for j in columns]
    return Spread(torch.tensor(columns), torch.tensor(held), feasible(ranks, rest, fixed, error / own))


def inverse_sizes(people):
    """Mean of one over the number of rows, of persons with several."""
    own = people.sizes[1:]
    return float((own / SIZES.middle[1:]).sum() / own.sum().clamp_min(TINY)) if own.sum() > 0 else 0.5


def _length(bounds, several, noise, typical):
    """Typical lengths at which what a person adds is clipped: as far out as the noise of a correlation allows."""
    low, high = bounds
    return min(high, max(low, CLEAR * several / max(TINY, noise * typical)))


def _variance(shares, ranks):
    own = shares.double().clamp_min(TINY)
    return (own * ranks.square()).sum() / own.sum()


def middle_ranks(shares, n_ordered):
    """Scores of states, from -1 to 1, by the rank of their middle, 0 for those without an order; and their jitter.

    Examples
    --------
    >>> middle_ranks(torch.tensor([0.5, 0.5, 0.2]), 2)[0].tolist()
    [-0.5, 0.5, 0.0]
    """
    own = shares[:n_ordered].double().clamp_min(TINY)
    own = own / own.sum()
    ranks = 2 * own.cumsum(0) - own - 1
    return torch.cat([ranks, ranks.new_zeros(len(shares) - n_ordered)]), float(own.pow(3).sum() / 3)


def normal(ranks):
    """Correlations of normal scores that correlations of ranks belong to, in [-1, 1]."""
    return (2 * torch.sin(torch.pi / 6 * ranks)).clamp(-1, 1)


def feasible(ranks, rest, fixed, error):
    """The nearest correlations (2, p, p) of normal scores that rows of persons can have; of noisy ones maybe none can.

    Those of what rows of a person differ by are shrunk towards independence by the share of the noise in them (James,
    Stein).

    Parameters
    ----------
    ranks : Tensor of shape (p, p)
        Correlations of ranks within rows.
    rest : Tensor of shape (q, q)
        What rows of a person differ by, in the same units; of the columns that are not constant.
    fixed : Tensor of bool, (p,)
        Columns that are constant.
    error : Tensor of shape (q, q)
        Standard deviation of the noise of each of ``rest``.
    """
    moving, both = ~fixed, (~fixed[:, None]) & ~fixed
    across = ranks.clone()
    across[both] -= rest.flatten()
    total = normal(ranks).fill_diagonal_(1.0)
    rest = (total - normal(across))[moving][:, moving]
    total = _correlation(total)
    own = rest.diagonal().maximum(error.diagonal()).clamp(LEAST, 1.0)
    root = own[:, None].sqrt() * own.sqrt()
    noise, n = (error / root).square(), len(own)
    correlation = (rest / root).fill_diagonal_(0.0)
    gain = (1 - (noise.sum() - noise.diagonal().sum()) / correlation.square().sum().clamp_min(TINY)).clamp(0, 1)
    rest = _correlation(gain * correlation + torch.eye(n, dtype=rest.dtype)) * root
    across = total.clone()
    across[both] -= rest.flatten()
    # In units of the total, what is across rows has eigenvalues between 0 and 1.
    values, vectors = torch.linalg.eigh(total)
    half, back = ((vectors * values**power) @ vectors.T for power in (0.5, -0.5))
    values, vectors = torch.linalg.eigh(back @ across @ back)
    across = half @ (vectors * values.clamp(LEAST, 1)) @ vectors.T @ half
    return torch.stack([total, across])


def _correlation(matrix):
    """The matrix with eigenvalues that are positive, and a diagonal of 1."""
    values, vectors = torch.linalg.eigh(matrix)
    matrix = (vectors * values.clamp_min(LEAST)) @ vectors.T
    root = matrix.diagonal().sqrt()
    return matrix / (root[:, None] * root)
