"""Cells of many tables from noisy ones: how far cells are from what is expected of them, as all of them show."""

import math
from typing import NamedTuple

import torch

# Constants chosen by trials: docs/experiments.md, Tables.
STEP, LEAST, MOST = 1.5, 0.05, 150.0  # of the places around which ratios are thought to lie, beside 0 and 1
WIDTH = 0.6 * math.log(STEP)  # standard deviation around a place, as a share of it
OWN, COMMON = 6.0, 1.0  # cells of a table, and tables, that what is expected of ratios counts for
ROUNDS = 40
TINY = 1e-12


def likely_cells(noisy, expected, noises):
    """Cells of several tables, from noisy ones: posterior means, under the priors that all tables show.

    The ratio of a cell and what is expected of it is 0, or 1, or around one of several places. How often it is each of
    these, is found for each table and for all together, as likely as can be (empirical Bayes [1]_): a table of few
    cells, or of much noise, is taken to be like the others. So what seems not to go together at all, does not, if that
    is known to happen, where a table shrunk as a whole to what is expected has a little of it in every cell.

    Parameters
    ----------
    noisy, expected : sequence of Tensor, each of the table's shape
        Shares of the records.
    noises : sequence of float
        Standard deviation of the noise of a cell, of each table.

    Returns
    -------
    list of Tensor
        Not negative.

    References
    ----------
    .. [1] Efron, "Two Modeling Strategies for Empirical Bayes Estimation", Statistical Science 29, 2014.

    Examples
    --------
    >>> even = torch.full((10, 10), 0.01)
    >>> apart = even * (1 - torch.eye(10))
    >>> noise = 0.002 * torch.randn(10, 10, generator=torch.Generator().manual_seed(0))
    >>> (found,) = likely_cells([apart + noise], [even], [0.002])
    >>> bool((found - apart).norm() < 0.7 * noise.norm()), bool(found.diag().mean() < 0.001)
    (True, True)
    """
    return cells_and_doubts(noisy, expected, noises)[0]


def cells_and_doubts(noisy, expected, noises):
    """Cells as :func:`likely_cells` finds them, and the standard deviation of each one's posterior.

    Examples
    --------
    >>> even, noise = torch.full((10, 10), 0.01), torch.randn(10, 10, generator=torch.Generator().manual_seed(0))
    >>> (found,), (doubt,) = cells_and_doubts([even + 0.002 * noise], [even], [0.002])
    >>> bool(doubt.mean() < 0.001)  # far less than the noise: all seem to be as is expected
    True
    """
    found = _ratios(noisy, expected, noises)
    means = (found.parts * found.means).sum(1)
    variances = (found.parts * (found.means.square() + found.spreads.square())).sum(1) - means.square()
    # What lies far beyond all places is hardly noise.
    means = torch.where(found.is_far, found.seen, means).clamp_min(0)
    doubts = torch.where(found.is_far, found.noise, variances.clamp_min(0).sqrt())
    return _as_tables(means, noisy), _as_tables(doubts, noisy)


class _Ratios(NamedTuple):
    """Of each cell (n,) what was seen, the noise, and of each place (n, n_places) chance, mean and spread there."""

    seen: torch.Tensor
    noise: torch.Tensor
    is_far: torch.Tensor
    parts: torch.Tensor
    means: torch.Tensor
    spreads: torch.Tensor


def _as_tables(cells, tables):
    sizes = [of.numel() for of in tables]
    return [part.view(of.shape).to(of.dtype) for part, of in zip(cells.split(sizes), tables, strict=True)]


def _ratios(noisy, expected, noises):
    sizes = torch.tensor([part.numel() for part in noisy])
    table = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
    seen, mean = (torch.cat([part.double().flatten() for part in parts])[:, None] for parts in (noisy, expected))
    noise = torch.tensor(noises).double().clamp_min(TINY)[table][:, None]
    places, widths = _places()
    spread = mean * widths
    variance = noise.square() + spread.square()
    heights = -0.5 * ((seen - mean * places).square() / variance + variance.log())
    heights = (heights - heights.amax(1, keepdim=True)).exp()
    anything = torch.full_like(places, 0.5 / len(places)) + 0.5 * ((places == 1) & (widths == 0))
    common = anything
    weights = common.expand(len(sizes), -1)
    for _ in range(ROUNDS):
        parts = _parts(heights, weights[table])
        own = torch.zeros(len(sizes), len(places), dtype=torch.float64).index_add_(0, table, parts)
        common = (own / sizes[:, None]).sum(0) + COMMON * anything
        common = common / common.sum()
        weights = (own + OWN * common) / (sizes + OWN)[:, None]
    return _Ratios(
        seen[:, 0], noise[:, 0], seen[:, 0] > MOST * mean[:, 0] + 4 * noise[:, 0], _parts(heights, weights[table]),
        mean * places + spread.square() / variance * (seen - mean * places), spread * noise / variance.sqrt(),
    )  # fmt: skip


def _parts(heights, weights):
    parts = heights * weights
    return parts / parts.sum(1, keepdim=True)


def _places():
    """Ratios, and how far around them others are: of 0 and 1, which may be exact, 0."""
    powers = range(math.floor(math.log(LEAST) / math.log(STEP)), math.ceil(math.log(MOST) / math.log(STEP)) + 1)
    exact = torch.tensor([0.0, 1.0], dtype=torch.float64)
    around = torch.tensor([STEP**k for k in powers], dtype=torch.float64)
    return torch.cat([exact, around]), torch.cat([torch.zeros_like(exact), WIDTH * around])
