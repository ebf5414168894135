"""How far a column of numbers is off, by what was released of it; public.

A parametric bootstrap [1]_: what was found is taken for the truth, the known noise is added to its counts anew, and
cells are estimated again as they were. How far these lie from what was found is about how far that lies from the truth.
What no new noise shows is where in a cell its numbers lie (anywhere), and where counts say little, of which estimates
are then much the same: their noise alone is the least.

References
----------
.. [1] Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7, 1979.
"""

import math
from typing import NamedTuple

import numpy as np

TIMES = 4  # that noise is added
WITHIN = 0.3  # of a cell's width: how far its numbers are from evenly spread, if they lie at one place of it
LEAST_SPREAD = 1e-3  # of what is constant, over its size
FAR_OFF, MUCH = 5.0, 0.1  # times the distance of two samples, and standard deviations: from there on numbers are wrong


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
        """Whether the numbers are far from what another sample of the real ones could be."""
        return self.error > max(MUCH, FAR_OFF * self.chance)


UNKNOWN = Doubt(1.0, 0.0)  # of numbers of which nothing stands out


def doubt(cells, n, grain, counts, estimate, grid):
    """How far the numbers in cells are off.

    Parameters
    ----------
    cells : Cells
        What was found.
    n : float
        Number of records.
    grain : float or None
        Distance of the numbers.
    counts : Counts
        What it was found from: of the cells of a grid.
    estimate : callable
        Takes counts, and returns what they show: Cells or None.
    grid : Cells

    Returns
    -------
    Doubt

    Examples
    --------
    >>> from sinkgen.denoise.numbers import Cells, Counts, held_cells
    >>> grid = Cells(np.arange(5.0), np.full(4, 0.25))
    >>> counts = Counts(np.array([60.0, 38.0, -3.0, 2.0]), np.ones(4), 2.0, 100.0)
    >>> found = held_cells(grid, counts)
    >>> doubt(found, 100, 1.0, counts, lambda counts: held_cells(grid, counts), grid).is_much
    False
    """
    random, spread = np.random.default_rng(0), _spread(cells)
    shares = np.diff(np.interp(grid.edges, cells.edges, _below(cells)))
    own, distances = grid._replace(shares=shares / max(shares.sum(), np.finfo(float).tiny)), []
    for _ in range(TIMES):
        noise = counts.noise * np.sqrt(counts.sizes) * random.standard_normal(len(shares))
        found = estimate(counts._replace(values=counts.total * own.shares + noise))
        distances.append(spread if found is None else distance(found, own))
    within = WITHIN * float(cells.shares @ (np.diff(cells.edges) - (grain or 0.0)).clip(0))
    error = max(float(np.mean(distances)), _unshrunk(own, counts)) + within
    return Doubt(error / spread, _of_two_samples(cells, n) / spread)


def _unshrunk(cells, counts):
    """Distance by the counts' noise alone, no more than not to know at all: of much noise, estimates agree."""
    sizes, below = np.cumsum(counts.sizes)[:-1], np.cumsum(cells.shares)[:-1]
    noise = counts.noise * np.sqrt(sizes * (1 - sizes / counts.sizes.sum()).clip(0)) / max(counts.total, 1.0)
    off = np.concatenate([[0.0], np.minimum(noise, np.sqrt((below * (1 - below)).clip(0))), [0.0]])
    return math.sqrt(2 / math.pi) * float((off[1:] + off[:-1]) / 2 @ np.diff(cells.edges))


def distance(a, b):
    """Wasserstein distance of two rows of cells.

    Examples
    --------
    >>> from sinkgen.denoise.numbers import Cells
    >>> distance(Cells(np.array([0.0, 1.0]), np.ones(1)), Cells(np.array([2.0, 3.0]), np.ones(1)))
    2.0
    """
    edges = np.union1d(a.edges, b.edges)
    apart = np.abs(np.interp(edges, a.edges, _below(a)) - np.interp(edges, b.edges, _below(b)))
    return float((apart[1:] + apart[:-1]) / 2 @ np.diff(edges))


def _below(cells):
    return np.concatenate([[0.0], np.cumsum(cells.shares)])


def _spread(cells):
    """Standard deviation."""
    middles, widths = (cells.edges[1:] + cells.edges[:-1]) / 2, np.diff(cells.edges)
    mean = cells.shares @ middles
    variance = cells.shares @ ((middles - mean) ** 2 + widths**2 / 12)
    return max(math.sqrt(variance), LEAST_SPREAD * abs(mean), np.finfo(float).tiny)


def _of_two_samples(cells, n):
    """The integral of how far two empirical distribution functions differ: normal, of variance 2 F (1 - F) / n."""
    below = _below(cells)
    middle = (below[1:] + below[:-1]) / 2
    ends, inner = (np.sqrt((of * (1 - of)).clip(0)) for of in (below, middle))
    return float(((ends[1:] + ends[:-1] + 4 * inner) / 6) @ np.diff(cells.edges)) * 2 / math.sqrt(math.pi * max(n, 1.0))
