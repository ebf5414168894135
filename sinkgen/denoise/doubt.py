"""How far a column of numbers is off, by what was released of it; public.

At the ends of bins, the distribution function is off by the noise of their counts, which is known, and by chance, as
any sample is. Within a bin it is found by a parametric bootstrap [1]_: what was found is taken for the truth, the known
noise is added to its counts anew, and cells are estimated again as they were. What no new noise shows is where numbers
lie in a cell, or in a bin whose cells do not stand out.

References
----------
.. [1] Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7, 1979.
"""

import math
from typing import NamedTuple

import numpy as np

from sinkgen.denoise.grids import is_resolved

WITHIN = 0.15  # of its width: how far numbers are from evenly spread where nothing tells them apart
LEAST_SPREAD, MOST_SPREADS = 1e-3, 1e3  # of what is constant, over its size; and that numbers are said to be off
CLEAR = 2.0  # deviations by which a bin must stand out to count for the spread
FAR_OFF, MUCH = 5.0, 0.1  # times the distance of two samples, and standard deviations: from there on numbers are wrong
MOST = 0.7  # standard deviations: from there on they are, however few there are
CAUTION = 0.7  # silence about what is wrong is worse than a word about what is nearly so
OF_DEVIATION = math.sqrt(2 / math.pi)  # mean size of a normal number
LEAST = 1e-12  # share of the numbers of a bin of which something is known
TINY = np.finfo(float).tiny


class Doubt(NamedTuple):
    """How far numbers are off, in their standard deviations.

    Attributes
    ----------
    error : float
        Expected Wasserstein distance to the real numbers.
    chance : float
        Expected Wasserstein distance of two samples of so many real numbers.
    """

    error: float
    chance: float

    @property
    def is_much(self):
        """Whether the numbers are likely far from what another sample of the real ones could be, or hardly known."""
        return self.error > CAUTION * min(max(MUCH, FAR_OFF * self.chance), MOST)


UNKNOWN = Doubt(1.0, 0.0)  # of numbers of which nothing stands out


def refilled(cells, bins, real):
    """The cells, of whose bins each holds what it really does: numbers beyond them are clipped to them.

    Parameters
    ----------
    cells : Cells
    bins : ndarray of shape (k,)
        Number of each cell's bin, rising from 0.
    real : Cells

    Examples
    --------
    >>> from sinkgen.denoise.cells import Cells
    >>> found, real = Cells(np.array([0.0, 1.0, 3.0]), np.ones(2) / 2), Cells(np.array([0.0, 2.0, 4.0]), np.ones(2) / 2)
    >>> refilled(found, np.arange(2), real).shares.tolist()
    [0.25, 0.75]
    """
    starts = np.flatnonzero(np.diff(bins, prepend=-1))
    inner = below(real, cells.edges[starts[1:]])
    held = np.diff(inner, prepend=0.0, append=1.0).clip(0)
    parts = cells.shares + LEAST
    return cells._replace(shares=parts / np.add.reduceat(parts, starts)[bins] * held[bins])


def doubt(cells, starts, covariance, others, *, noises, n, n_most, grain=None):
    """How far numbers that are drawn in cells are off.

    Parameters
    ----------
    cells : Cells
        As they are drawn.
    starts : ndarray of shape (k,)
        The first cell of each bin; rising from 0.
    covariance : ndarray of shape (k, k)
        Of the noise of the bins' counts.
    others : sequence of Cells or None
        How the same numbers might be drawn, had there been other noise; None where nothing had stood out of it.
    noises : ndarray of shape (n_cells,)
        Standard deviations of the noise of the counts by which cells were found.
    n : float
        Number of records.
    n_most : float
        How many there may be; of more, two samples are more alike.
    grain : float, optional
        Distance of the numbers.

    Returns
    -------
    Doubt

    Examples
    --------
    >>> from sinkgen.denoise.cells import Cells
    >>> cells = Cells(np.arange(4.0), np.array([0.6, 0.38, 0.02]))
    >>> doubt(cells, np.arange(3), 4 * np.eye(3), [], noises=np.ones(3), n=100, n_most=100, grain=1.0).is_much
    False
    >>> doubt(cells, np.arange(3), 900 * np.eye(3), [], noises=np.ones(3), n=100, n_most=100, grain=1.0).is_much
    True
    """
    edges = np.unique(np.concatenate([cells.edges, *(of.edges for of in others if of is not None)]))
    ends, number = cells.edges[[*starts, -1]], np.arange(len(starts) + 1)
    own, at_ends = below(cells, edges), below(cells, ends)
    # Of shares: what all counts have too much, each of them gets less.
    sums = np.tri(len(number), len(starts), -1) @ (np.eye(len(starts)) - np.diff(at_ends)[:, None])
    deviations = np.sqrt(np.einsum("ij,jk,ik->i", sums, covariance, sums).clip(0)) / max(n, 1.0)
    between, unknown = np.interp(_places(cells, ends, edges), number, deviations), (own * (1 - own)).clip(0)
    between = OF_DEVIATION * np.sqrt(np.minimum(between**2, unknown) + unknown / max(n, 1.0))
    within = [np.sqrt(unknown) if of is None else np.abs(below(of, edges) - own) for of in others]
    off = np.hypot(between, np.median(within, axis=0) if within else 0.0)
    apart = WITHIN * float(cells.shares @ (_resolved(cells, starts, n, noises) - (grain or 0.0)).clip(0))
    surely = _standing_out(cells, starts, np.sqrt(np.diag(covariance)) / max(n, 1.0))
    spread = _spread(surely, grain)
    chance, most = _of_two_samples(surely, n_most), MOST_SPREADS * spread
    return Doubt(min(_integral(off, edges) + apart, most) / spread, min(chance, most) / spread)


def _standing_out(cells, starts, deviations):
    """The cells without those bins that may be noise: a few far numbers that are none would be most of a spread."""
    shares = np.add.reduceat(cells.shares, starts)
    stands_out = np.repeat(shares > CLEAR * deviations, np.diff([*starts, len(cells.shares)]))
    held = np.where(stands_out, cells.shares, 0.0)
    return cells._replace(shares=held / held.sum()) if held.sum() > 0 else cells


def _resolved(cells, starts, n, noises):
    """Width within which nothing tells numbers apart: a cell's, or as much of its bin's as its records are noise.

    Where they are, all cells are as they were expected to be, whatever the noise.
    """
    shares, variances = (np.add.reduceat(of, starts) for of in (cells.shares, np.square(noises)))
    deviations = np.sqrt(variances)
    hidden = deviations / np.maximum(np.maximum(n * shares, deviations), TINY)  # 1 at most
    of_bins = np.repeat(hidden * _widths(cells, starts), np.diff([*starts, len(cells.shares)]))
    return np.maximum(np.diff(cells.edges), of_bins)


def _widths(cells, starts):
    """Of bins: how wide evenly spread numbers of the same deviation are; a tail of next to nothing is not counted."""
    sizes = np.diff([*starts, len(cells.shares)])
    shares = cells.shares / np.repeat(np.maximum(np.add.reduceat(cells.shares, starts), TINY), sizes)
    ends = np.stack([cells.edges[:-1], cells.edges[1:]]) - np.repeat(cells.edges[starts], sizes)
    middles, widths = ends.mean(0), np.diff(ends, axis=0)[0]
    means = np.add.reduceat(shares * middles, starts)
    squares = shares * ((middles - np.repeat(means, sizes)) ** 2 + widths**2 / 12)
    return np.sqrt(12 * np.add.reduceat(squares, starts))


def _places(cells, ends, edges):
    """Number of the bin of each place, and the share of its numbers that are below; evenly if there are none."""
    own, at_ends = below(cells, edges), below(cells, ends)
    bins = np.clip(np.searchsorted(ends, edges, side="right") - 1, 0, len(ends) - 2)
    held = np.diff(at_ends)[bins]
    part = (own - at_ends[bins]) / np.where(held > LEAST, held, 1.0)
    evenly = np.interp(edges, ends, np.arange(len(ends))) - bins
    return bins + np.where(held > LEAST, part, evenly).clip(0, 1)


def distance(a, b):
    """Wasserstein distance of two rows of cells.

    Examples
    --------
    >>> from sinkgen.denoise.cells import Cells
    >>> distance(Cells(np.array([0.0, 1.0]), np.ones(1)), Cells(np.array([2.0, 3.0]), np.ones(1)))
    2.0
    """
    edges = np.union1d(a.edges, b.edges)
    return _integral(np.abs(below(a, edges) - below(b, edges)), edges)


def _integral(values, edges):
    return float((values[1:] + values[:-1]) / 2 @ np.diff(edges))


def below(cells, places):
    """Shares of numbers below some places."""
    return np.interp(places, cells.edges, np.concatenate([[0.0], np.cumsum(cells.shares)]))


def _spread(cells, grain):
    """Standard deviation; of one number, by its size: others may lie as far from zero as they like, as times do."""
    middles, widths = (cells.edges[1:] + cells.edges[:-1]) / 2, np.diff(cells.edges)
    mean = cells.shares @ middles
    variance = cells.shares @ ((middles - mean) ** 2 + widths**2 / 12)
    held = cells.part(*np.flatnonzero(cells.shares)[[0, -1]] + [0, 1])
    is_one = len(held.shares) == 1 and is_resolved(held, 1, grain)
    return max(math.sqrt(variance), LEAST_SPREAD * abs(mean) * is_one, TINY)


def _of_two_samples(cells, n):
    """The integral of how far two empirical distribution functions differ: normal, of variance 2 F (1 - F) / n."""
    own = below(cells, cells.edges)
    middle = (own[1:] + own[:-1]) / 2
    ends, inner = (np.sqrt((of * (1 - of)).clip(0)) for of in (own, middle))
    return float(((ends[1:] + ends[:-1] + 4 * inner) / 6) @ np.diff(cells.edges)) * 2 / math.sqrt(math.pi * max(n, 1.0))
