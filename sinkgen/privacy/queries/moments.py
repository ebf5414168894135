"""What the mechanisms ask of the private records: statistics with a proven bound on one record's influence.

Every class says what its value is and why its ``sensitivity`` holds. Nothing here adds noise; nothing here is of use
without :class:`~sinkgen.privacy.mechanism.GaussianMechanism`.
"""

import math

import torch

from sinkgen._device import bincount, cached
from sinkgen._groups import by_class
from sinkgen.denoise.radii import N_LENGTHS, radius_bins
from sinkgen.inference.counts import NoisyCounts
from sinkgen.privacy.query import SumQuery, clip_rows, times_weights


class CountQuery(SumQuery):
    """Number of records of each class; a record of no class counts nowhere. Sensitivity 1.

    Parameters
    ----------
    n_classes : int
    """

    sensitivity = 1.0

    def __init__(self, n_classes):
        self.size = n_classes

    def contribution(self, records):
        """Counts of one chunk."""
        return bincount(records.labels.clamp_min(-1) + 1, self.size + 1)[1:]

    def counted(self, what, value, scale):
        """The counts of the classes; of no column."""
        return [NoisyCounts(what, (), (), value, scale)]


class ToneQuery(SumQuery):
    """Mean frequencies of each image's brightness, details and chroma, summed over images. Sensitivity 2, or sqrt 6.

    An image adds four histograms, in colour six, each of frequencies that sum to 1, whose norms are at most 1.

    Parameters
    ----------
    tones : sinkgen.images.tones.Tones
    """

    def __init__(self, tones):
        self.tones = tones
        self.size = tones.n_histograms * tones.n_bins
        self.sensitivity = math.sqrt(tones.n_histograms)

    def contribution(self, records):
        """Sum of one chunk."""
        return self.tones.histograms(records.values).flatten()

    def read(self, value):
        """Histograms, (n_histograms, n_bins)."""
        return value.view(self.tones.n_histograms, self.tones.n_bins)


class NormQuery(SumQuery):
    """Histogram of the records' distances to a point, on a logarithmic scale. Sensitivity 1.

    Parameters
    ----------
    centre : Tensor of shape (d,)
    largest : float
        Public bound of the distance.
    """

    RATIO = 1.2
    N_BINS = 24

    sensitivity = 1.0
    size = N_BINS

    def __init__(self, centre, largest):
        self.centre = centre
        self.largest = largest

    def contribution(self, records):
        """Counts of one chunk."""
        norms = (records.values - self.centre).norm(dim=1).clamp_min(1e-30)
        below = torch.floor(torch.log(self.largest / norms) / math.log(self.RATIO))
        return bincount(below.clamp(0, self.N_BINS - 1).long(), self.N_BINS)

    def read(self, value):
        """The median distance: the middle, on the logarithmic scale, of the bin that holds it."""
        share = value.clamp_min(0).cumsum(0)
        bin_ = int(torch.searchsorted(share, 0.5 * share[-1:]).clamp_max(self.N_BINS - 1))
        return self.largest * self.RATIO ** -(bin_ + 0.5)


class RadiusQuery(SumQuery):
    """Histograms, by class, of the lengths of rows that records give, on a logarithmic scale. Sensitivity 1.

    Parameters
    ----------
    largest : float
        Public; what is longer counts as this.
    n_classes : int
    rows : callable
        Maps records, as :func:`~sinkgen._groups.by_class` gives them, to rows (m, d), each from its own record alone.
    """

    weighs = True
    sensitivity = 1.0

    def __init__(self, largest, n_classes, rows):
        self.largest, self.n_classes, self.rows = largest, n_classes, rows
        self.size = n_classes * N_LENGTHS

    def contribution(self, records):
        """Counts of one chunk; a record of no class counts nowhere."""
        classes = by_class(records, self.n_classes)
        records, bins = classes.records, radius_bins(self.rows(classes).norm(dim=1).nan_to_num(0.0), self.largest)
        weights = times_weights((records.labels >= 0).double(), records)
        return bincount(bins + N_LENGTHS * records.labels.clamp_min(0), self.size, weights)

    def read(self, value):
        """Counts, (n_classes, N_LENGTHS)."""
        return value.view(self.n_classes, N_LENGTHS)


class ScaleQuery(SumQuery):
    """Sums, by point, of records that it serves and of their rows' log lengths. Sensitivity sqrt 2.

    A record adds 1, and a log length in [-1, 1], to one point.

    Parameters
    ----------
    expected : float
        Public length whose logarithm counts as 0.
    fold : float
        Lengths that are so many times as large, or as small, or more, count as 1 and -1.
    n_points, n_classes : int
    rows : callable
        Maps records, as :func:`~sinkgen._groups.by_class` gives them, to indices (m,) of points and rows (m, d), each
        from its own record alone.
    """

    weighs = True
    sensitivity = math.sqrt(2.0)

    def __init__(self, expected, fold, n_points, n_classes, rows):
        self.expected, self.fold, self.n_points, self.n_classes = expected, fold, n_points, n_classes
        self.rows = rows
        self.size = 2 * n_points

    def contribution(self, records):
        """Sums of one chunk; a record of no class counts nowhere."""
        classes = by_class(records, self.n_classes)
        records, (serving, rows) = classes.records, self.rows(classes)
        lengths = rows.double().norm(dim=1).nan_to_num(0.0).clamp_min(1e-30)
        logs = (torch.log(lengths / self.expected) / math.log(self.fold)).clamp(-1, 1)
        sums = torch.zeros(2, self.n_points, dtype=torch.float64, device=rows.device)
        added = times_weights(torch.stack([torch.ones_like(logs), logs], 1), records)
        return sums.index_add_(1, serving, torch.where(records.labels >= 0, added.T, 0.0)).flatten()

    def read(self, value):
        """Numbers of records, and sums of log lengths, (2, n_points)."""
        return value.view(2, self.n_points)


class GainQuery(SumQuery):
    """Sums, by how steep an image is around a pixel, of expected and of true texture. Sensitivity sqrt 2.

    An image adds a mean over its pixels of each, of norm at most 1: what it has more is clipped.

    Parameters
    ----------
    texture : sinkgen.images.texture.Texture
    space : sinkgen.generators.space.Space
    strength : Tensor of shape (D,)
        Texture that is expected at each encoded number, where an image is as steep as usual.
    largest : float
        Public; an image's mean texture that counts as 1.
    """

    BLOCK = 512  # images whose pixels are held at once

    sensitivity = math.sqrt(2.0)

    def __init__(self, texture, space, strength, largest):
        self.texture, self.space, self.strength, self.largest = texture, space, strength, largest
        self.size = 2 * texture.n_slopes

    def contribution(self, records):
        """Clipped sums of one chunk."""
        sums = torch.zeros(self.size, dtype=torch.float64, device=records.values.device)
        for start in range(0, len(records), self.BLOCK):
            images = records.values[start : start + self.BLOCK].nan_to_num(0.0).clamp(0, 1)
            parts = self.texture.by_steepness(images, self.space, self.strength)
            sums += torch.cat([clip_rows(part / self.largest, 1.0) for part in parts], 1).double().sum(0)
        return sums

    def read(self, value):
        """Expected and true sums, (2, N_SLOPES)."""
        return self.largest * value.view(2, -1)


class FeatureQuery(SumQuery):
    """Sums, by class, of features of norm 1. Sensitivity 1.

    Parameters
    ----------
    features : sinkgen.generators.tilt.Features
    n_classes : int
    rows : callable
        Maps records to the coordinates (m, d) that features are of, each from its own record alone.
    """

    weighs = True
    sensitivity = 1.0

    def __init__(self, features, n_classes, rows):
        self.features, self.n_classes, self.rows = features, n_classes, rows
        self.size = n_classes * features.size

    def contribution(self, records):
        """Clipped sums of one chunk; a record of no class counts nowhere."""
        sums = torch.zeros(self.n_classes, self.features.size, dtype=torch.float64, device=records.values.device)
        size = cached(records.values, self.features.size // 2)
        for start in range(0, len(records), size):
            block = records.take(slice(start, start + size))
            features = times_weights(clip_rows(self.features(self.rows(block)), 1.0).double(), block)
            features *= (block.labels >= 0)[:, None]
            sums.index_add_(0, block.labels.clamp_min(0), features)
        return sums.flatten()

    def read(self, value):
        """Sums, (n_classes, 2 q)."""
        return value.view(self.n_classes, -1)


class MeanQuery(SumQuery):
    """Sum of the records' differences to a point, each clipped. Sensitivity ``clip``.

    Parameters
    ----------
    centre : Tensor of shape (d,)
    clip : float
    """

    def __init__(self, centre, clip):
        self.centre = centre
        self.sensitivity = self.clip = clip
        self.size = len(centre)

    def contribution(self, records):
        """Clipped sum of one chunk."""
        return clip_rows(records.values - self.centre, self.clip).sum(0, dtype=torch.float64)


class MomentQuery(SumQuery):
    """Sum of x x^T over records x, each clipped to norm ``clip``; one sum a class.

    Only the upper triangle is released, its off-diagonal entries times sqrt 2: then the released vector's norm is the
    matrix's Frobenius norm, ``||x||^2 <= clip^2`` (the sensitivity), and the noise of an off-diagonal entry is
    sqrt 2 times smaller than that of a diagonal one.

    Parameters
    ----------
    dim : int
    clip : float
    n_classes : int
        1 for one sum over all records; else a record counts in its own class's sum alone.
    residual : callable, optional
        Maps records, as :func:`~sinkgen._groups.by_class` gives them, to the rows (m, dim) whose moments are wanted,
        each from its own record alone.
    """

    def __init__(self, dim, clip, n_classes=1, residual=None):
        self.dim, self.clip, self.n_classes = dim, clip, n_classes
        self.residual = residual
        self.size = n_classes * dim * (dim + 1) // 2
        self.sensitivity = clip**2

    def contribution(self, records):
        """Clipped sums of one chunk."""
        if self.residual is None and self.n_classes == 1:
            return self._pack(_upper_products(clip_rows(records.values, self.clip).double()))
        classes = by_class(records, self.n_classes)
        rows = classes.records.values if self.residual is None else self.residual(classes)
        rows = clip_rows(rows, self.clip)
        if self.n_classes == 1:
            return self._pack(_upper_products(rows.double()))
        parts = (rows[classes.slices.get(c, slice(0, 0))] for c in range(self.n_classes))
        return torch.cat([self._pack(_upper_products(part.double())) for part in parts])

    def _pack(self, matrix):
        i, j = torch.triu_indices(self.dim, self.dim, device=matrix.device)
        return torch.where(i == j, 1.0, math.sqrt(2.0)).to(matrix) * matrix[i, j]

    def read(self, value):
        """Symmetric matrices (n_classes, dim, dim)."""
        i, j = torch.triu_indices(self.dim, self.dim)
        out = torch.zeros(self.n_classes, self.dim, self.dim, dtype=value.dtype)
        entries = value.view(self.n_classes, -1) * torch.where(i == j, 1.0, math.sqrt(0.5)).to(value)
        out[:, i, j] = entries
        out[:, j, i] = entries
        return out


def _upper_products(rows):
    """The upper triangle of rows^T rows, in blocks of columns: what is below it is not needed, and mostly not made."""
    dim, size = rows.shape[1], max(64, -(-rows.shape[1] // 8))
    out = rows.new_zeros(dim, dim)
    for start in range(0, dim, size):
        torch.mm(rows[:, start : start + size].T, rows[:, start:], out=out[start : start + size, start:])
    return out
