"""Where within their states records lie: as their ranks go together with those of other columns. Public."""

import itertools
import math
from typing import NamedTuple

import torch

SWEEPS = 3  # over the columns
TINY = 1e-9


class Records(NamedTuple):
    """Records of a data set.

    Attributes
    ----------
    codes : LongTensor of shape (n_columns + 1, n)
        States; the label last.
    ranks : dict of int to Tensor of shape (n,)
        How far up in its state each record lies, from 0 to 1; of the columns of which that is known.
    """

    codes: torch.Tensor
    ranks: dict


def within_states(codes, ordered, columns, correlations, *, random):
    """Ranks of records within their states, from 0 to 1: even in each state, and by what other columns are.

    Normal scores are drawn, one column after the other, given all others and the state (Gibbs).

    Parameters
    ----------
    codes : LongTensor of shape (n_columns + 1, m)
        States, and the label.
    ordered : sequence of int
        How many of each column's first states have an order.
    columns : sequence of int
        Those that go together.
    correlations : Tensor of shape (n, n)
        Of these columns; positive definite.
    random : torch.Generator

    Returns
    -------
    dict of int to Tensor of shape (m,)
        For each of these columns with more than two states that have an order.
    """
    moving = [(i, j) for i, j in enumerate(columns) if j < len(ordered) and ordered[j] > 2]
    if not moving:
        return {}
    known = [_normal_scores(codes[j], ordered[j] if j < len(ordered) else 0) for j in columns]
    scores = torch.stack([of[codes[j]] for j, (of, _) in zip(columns, known, strict=True)], 1)
    precisions = torch.linalg.inv(correlations)
    for _, (i, j) in itertools.product(range(SWEEPS), moving):
        precision, ends = precisions[i, i], known[i][1]
        mean = scores[:, i] - scores @ precisions[i] / precision
        low, high = (torch.special.ndtr((ends[codes[j] + side] - mean) * precision.sqrt()) for side in (0, 1))
        drawn = torch.rand(len(mean), generator=random, dtype=torch.float64) * (high - low) + low
        drawn = torch.special.ndtri(drawn.clamp(TINY, 1 - TINY)) / precision.sqrt() + mean
        scores[:, i] = torch.where(codes[j] < ordered[j], drawn, 0.0)
    return {j: ranked(codes[j], scores[:, i], random) for i, j in moving}


def _normal_scores(codes, n_ordered):
    """Mean normal score of each state of a column, and the scores at the ends of states, (n_states + 1,)."""
    counts = torch.bincount(codes, minlength=max(2, n_ordered)).double()
    n = 2 if len(counts) == 2 else n_ordered
    own = counts[:n] / counts[:n].sum().clamp_min(1)
    ends = torch.cat([own.new_zeros(1), own.cumsum(0)]).clamp(0, 1)
    ends[-1] = 1.0
    ends = torch.special.ndtri(ends).clamp(-9, 9)
    heights = torch.exp(-(ends**2) / 2) / math.sqrt(2 * math.pi)
    scores = torch.zeros_like(counts)
    scores[:n] = (heights[:-1] - heights[1:]) / own.clamp_min(TINY)
    if n == 2:
        scores[:n] /= (own @ scores[:n].square()).sqrt().clamp_min(TINY)
    return scores, torch.cat([ends, ends.new_zeros(len(counts) - n)])


def tilted(fractions, slopes):
    """Quantiles of densities ``exp(slope x)`` on 0 to 1.

    Examples
    --------
    >>> tilted(torch.tensor([0.5, 0.5]), torch.tensor([0.0, 5.0]))
    tensor([0.5000, 0.8627])
    """
    slopes = torch.where(slopes.abs() < 1e-4, 1e-4, slopes.clamp(-60, 60))
    return torch.log1p(fractions * torch.expm1(slopes)) / slopes


def ranked(codes, values, random):
    """The rank of each record's value among those of its state, from 0 to 1."""
    order = torch.argsort(values)
    order = order[torch.argsort(codes[order], stable=True)]
    counts = torch.bincount(codes)
    starts = counts.cumsum(0) - counts
    ranks = torch.empty(len(codes), dtype=torch.float64)
    own = codes[order]
    ranks[order] = (
        torch.arange(len(codes)) - starts[own] + torch.rand(len(codes), generator=random, dtype=torch.float64)
    ) / counts[own]
    return ranks
