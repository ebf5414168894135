"""Cells of numbers in a row, and noisy counts of them."""

import math
from typing import NamedTuple

import numpy as np

from sinkgen.denoise.grain import multiple

# Constants of cells and of what is made of them were chosen by trials: docs/experiments.md, Numbers.
OCTAVES = 2.0 ** np.arange(-30, 65)  # what is smaller in magnitude counts as tiny, what is larger as the largest
LEAST, TINY = 1e-12, 1e-300


class Cells(NamedTuple):
    """Cells of numbers, and the share of the records that is expected in each.

    Attributes
    ----------
    edges : ndarray of shape (k + 1,)
        Rising; a cell holds its left end.
    shares : ndarray of shape (k,)
        Non-negative, sum 1.
    """

    edges: np.ndarray
    shares: np.ndarray

    def part(self, start, stop):
        """Some of the cells in a row."""
        return Cells(self.edges[start : stop + 1], self.shares[start:stop])

    def spread(self):
        """Length of the middle that holds nine in ten."""
        ends = np.concatenate([[0.0], self.shares.cumsum()])
        return float(np.diff(np.interp([0.05, 0.95], ends, self.edges))[0])

    def zeros(self):
        """Share of what is zero, where that has a cell of its own."""
        return float(self.shares[(self.edges[:-1] == 0) & (self.edges[1:] == after(0.0))].sum())

    def first(self):
        """The least number that a cell holds, but for rounding."""
        below = float(np.nextafter(self.edges[0], -np.inf))
        return below if below in OCTAVES or below == 0 else float(self.edges[0])

    def last(self, grain):
        """The greatest number that a cell holds, of distance ``grain``; the last but rounding without one.

        Examples
        --------
        >>> of_octaves, of_grain = (Cells(np.array([0.0, end]), np.ones(1)) for end in (np.nextafter(1.0, 2.0), 2.0))
        >>> of_octaves.last(1.0), of_grain.last(1.0)
        (1.0, 1.0)
        """
        below = float(np.nextafter(self.edges[-1], -np.inf))
        if grain is None:
            return below
        is_octave = below in OCTAVES or below == 0  # cut before the grain was known, it holds its upper end
        return multiple(math.floor(below / grain), grain) if is_octave else float(self.edges[-1] - grain)


class Counts(NamedTuple):
    """Noisy counts of cells in a row.

    Attributes
    ----------
    values : ndarray of shape (k,)
    sizes : ndarray of shape (k,)
        How many noisy counts each is the sum of.
    noise : float
        Standard deviation of the noise of one.
    total : float
        Number of records, known better.
    """

    values: np.ndarray
    sizes: np.ndarray
    noise: float
    total: float

    def part(self, start, stop):
        """Those of some cells in a row."""
        return self._replace(values=self.values[start:stop], sizes=self.sizes[start:stop])

    def grouped(self, ends):
        """Sums of the counts between ends, which rise."""
        values, sizes = (np.add.reduceat(part[: ends[-1]], ends[:-1]) for part in (self.values, self.sizes))
        return self._replace(values=values, sizes=sizes)

    def records(self, where):
        """Records in the cells of a mask, and the standard deviation: from their counts, and the others' and the total.

        The best of the unbiased estimates that are linear in the counts.
        """
        own, others = self.sizes[where].sum(), self.sizes[~where].sum()
        if not own:
            return 0.0, 0.0
        share = own / (own + others)
        found = self.values[where].sum() + share * (self.total - self.values.sum())
        return float(found), self.noise * math.sqrt(own * (1 - share))


def after(values):
    """The next larger numbers."""
    return np.nextafter(values, np.inf)


def cumulated(values):
    """Of the first so many values, from none to all."""
    return np.concatenate([[0.0], np.cumsum(values)])
