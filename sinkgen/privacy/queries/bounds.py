"""Bounds of numbers that nobody declared: noisy counts of magnitudes, and what is read off them."""

import math

import numpy as np
import torch

from sinkgen.denoise.bounds import EXPONENTS
from sinkgen.privacy.query import SumQuery


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

    def __init__(self, n_groups, n_columns):
        self.n_groups = n_groups
        self.n_ends = 1 if n_groups == n_columns else 2
        self.n_bins = 2 * len(EXPONENTS) + 1
        self.size = n_groups * self.n_ends * self.n_bins
        self.sensitivity = math.sqrt(n_groups * self.n_ends)

    def contribution(self, records):
        """Counts of one chunk."""
        with np.errstate(over="ignore"):  # of a wider dtype: infinite is as large as any
            rows = np.asarray(records.values, dtype=np.float64).reshape(len(records), self.n_groups, -1)
        ends = rows if self.n_ends == 1 else np.stack([rows.min(2), rows.max(2)], 2)
        bins = self._bin(ends).reshape(len(records), -1) + self.n_bins * np.arange(self.n_groups * self.n_ends)
        return torch.from_numpy(np.bincount(bins.ravel(), minlength=self.size))

    def _bin(self, values):
        exponents = np.frexp(values)[1] - 1
        order = np.clip(exponents - EXPONENTS.start + 1, 0, len(EXPONENTS))
        order = np.where(np.isinf(values), len(EXPONENTS), order)
        return len(EXPONENTS) + np.sign(values).astype(int) * order

    def read(self, value):
        """Counts (n_groups, 2, n_bins) of least and greatest values, from most negative to most positive."""
        return value.view(self.n_groups, self.n_ends, self.n_bins).expand(-1, 2, -1)
