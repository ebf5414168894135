"""Bounds of numbers that nobody declared: noisy counts of magnitudes, and what is read off them."""

import math

import numpy as np
import torch

from sinkgen.mechanism import SumQuery


class MagnitudeQuery(SumQuery):
    """Histograms, for each group of columns, of a record's least and greatest value by sign and binary magnitude.

    From them public bounds are made (:func:`bounds_from_magnitudes`). A record counts once in each histogram; there are
    two a group, or one where the group is a single column and both are the same. The sensitivity is the square root of
    their number.

    Parameters
    ----------
    n_groups : int
        1 if all columns share their bounds (the pixels of an image), else the number of columns.
    n_columns : int
    """

    EXPONENTS = range(-30, 64)  # |x| in [2^e, 2^(e+1)); what is smaller counts as zero, what is larger as largest

    def __init__(self, n_groups, n_columns):
        self.n_groups = n_groups
        self.n_ends = 1 if n_groups == n_columns else 2
        self.n_bins = 2 * len(self.EXPONENTS) + 1
        self.size = n_groups * self.n_ends * self.n_bins
        self.sensitivity = math.sqrt(n_groups * self.n_ends)

    def contribution(self, records):
        """Counts of one chunk."""
        rows = np.asarray(records.values, dtype=np.float64).reshape(len(records), self.n_groups, -1)
        ends = np.stack([rows.min(2), rows.max(2)], 2)[:, :, : self.n_ends]
        bins = self._bin(ends).reshape(len(records), -1) + self.n_bins * np.arange(self.n_groups * self.n_ends)
        return torch.from_numpy(np.bincount(bins.ravel(), minlength=self.size))

    def _bin(self, values):
        exponents = np.frexp(values)[1] - 1
        order = np.clip(exponents - self.EXPONENTS.start + 1, 0, len(self.EXPONENTS))
        order = np.where(np.isinf(values), len(self.EXPONENTS), order)
        return len(self.EXPONENTS) + np.sign(values).astype(int) * order

    def read(self, value):
        """Counts (n_groups, 2, n_bins) of least and greatest values, from most negative to most positive."""
        return value.view(self.n_groups, self.n_ends, self.n_bins).expand(-1, 2, -1)


def bounds_from_magnitudes(counts, noise_scale):
    """Bounds of each group from noisy counts of its values' magnitudes.

    The ends are the outermost bins whose count stands out of the noise, and out of a thousandth of the records: one
    extreme record moves nothing.

    Parameters
    ----------
    counts : Tensor of shape (n_groups, 2, n_bins)
    noise_scale : float
        Standard deviation of the noise of a count.

    Returns
    -------
    Tensor of shape (n_groups, 2)
        Low and high, each 0 or a power of two with a sign. (0, 1) where nothing stands out.
    """
    positive = torch.tensor([2.0**e for e in MagnitudeQuery.EXPONENTS], dtype=torch.float64)
    zero = torch.zeros(1, dtype=torch.float64)
    low_edges = torch.cat([-2 * positive.flip(0), zero, positive])
    high_edges = torch.cat([-positive.flip(0), zero, 2 * positive])
    n_bins = counts.shape[-1]
    threshold = max(noise_scale * math.sqrt(2 * math.log(1000.0 * n_bins)), 1e-3 * float(counts[0, 0].sum()), 0.5)
    bounds = []
    for least, greatest in counts:
        lows, highs = (torch.nonzero(row > threshold).flatten() for row in (least, greatest))
        found = len(lows) and len(highs)
        low, high = (float(low_edges[lows[0]]), float(high_edges[highs[-1]])) if found else (0.0, 1.0)
        bounds.append((low, high) if high > low else (low, low + 1.0))
    return torch.tensor(bounds, dtype=torch.float64)
