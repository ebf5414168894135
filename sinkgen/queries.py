"""What the mechanisms ask of the private records: statistics with a proven bound on one record's influence.

Every class says what its value is and why its ``sensitivity`` holds. Nothing here adds noise; nothing here is of use
without :class:`~sinkgen.mechanism.GaussianMechanism`.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from sinkgen.mechanism import ROUNDING_MARGIN, SumQuery, clip_factors, clip_rows
from sinkgen.ot import entropic_cost, with_labels
from sinkgen.radii import N_BINS as N_RADII
from sinkgen.radii import radius_bins
from sinkgen.tones import N_BINS

# A record cannot stop a fit: what a feature map makes of it is held within this, and not finite becomes zero.
LARGEST = 1e9


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
        labels = records.labels
        return torch.bincount(labels[labels >= 0], minlength=self.size)


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


class ToneQuery(SumQuery):
    """Mean frequencies of each image's brightness and details, summed over images. Sensitivity 2.

    An image adds four histograms, each of frequencies that sum to 1, whose norms are at most 1.

    Parameters
    ----------
    tones : sinkgen.tones.Tones
    """

    def __init__(self, tones):
        self.tones = tones
        self.size = tones.n_histograms * N_BINS
        self.sensitivity = math.sqrt(tones.n_histograms)

    def contribution(self, records):
        """Sum of one chunk."""
        return self.tones.histograms(records.values).flatten()

    def read(self, value):
        """Histograms, (4, N_BINS)."""
        return value.view(self.tones.n_histograms, N_BINS)


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
        return torch.bincount(below.clamp(0, self.N_BINS - 1).long(), minlength=self.N_BINS)

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
        Maps records to rows (m, d), each from its own record alone.
    """

    sensitivity = 1.0

    def __init__(self, largest, n_classes, rows):
        self.largest, self.n_classes, self.rows = largest, n_classes, rows
        self.size = n_classes * N_RADII

    def contribution(self, records):
        """Counts of one chunk; a record of no class counts nowhere."""
        bins = radius_bins(self.rows(records).norm(dim=1).nan_to_num(0.0), self.largest)
        own = records.labels >= 0
        return torch.bincount(bins[own] + N_RADII * records.labels[own], minlength=self.size)

    def read(self, value):
        """Counts, (n_classes, N_BINS)."""
        return value.view(self.n_classes, N_RADII)


class FeatureQuery(SumQuery):
    """Sums, by class, of features of norm 1. Sensitivity 1.

    Parameters
    ----------
    features : sinkgen.tilt.Features
    n_classes : int
    rows : callable
        Maps records to the coordinates (m, d) that features are of, each from its own record alone.
    """

    BLOCK = 4096  # records whose features are held at once

    sensitivity = 1.0

    def __init__(self, features, n_classes, rows):
        self.features, self.n_classes, self.rows = features, n_classes, rows
        self.size = n_classes * features.size

    def contribution(self, records):
        """Clipped sums of one chunk; a record of no class counts nowhere."""
        sums = torch.zeros(self.n_classes, self.features.size, dtype=torch.float64, device=records.values.device)
        for start in range(0, len(records), self.BLOCK):
            block = records.take(slice(start, start + self.BLOCK))
            features = clip_rows(self.features(self.rows(block)), 1.0).double()
            own = block.labels >= 0
            sums.index_add_(0, block.labels[own], features[own])
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
        return clip_rows(records.values - self.centre, self.clip).sum(0)


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
        Maps records to the rows (m, dim) whose moments are wanted, each from its own record alone.
    """

    def __init__(self, dim, clip, n_classes=1, residual=None):
        self.dim, self.clip, self.n_classes = dim, clip, n_classes
        self.residual = residual
        self.size = n_classes * dim * (dim + 1) // 2
        self.sensitivity = clip**2

    def contribution(self, records):
        """Clipped sums of one chunk."""
        rows = records.values if self.residual is None else self.residual(records)
        rows = clip_rows(rows, self.clip)
        if self.n_classes == 1:
            return self._pack(rows.T @ rows)
        parts = [rows[records.labels == c] for c in range(self.n_classes)]
        return torch.cat([self._pack(part.T @ part) for part in parts])

    def _pack(self, matrix):
        i, j = torch.triu_indices(self.dim, self.dim)
        return torch.where(i == j, 1.0, math.sqrt(2.0)).to(matrix) * matrix[i, j]

    def read(self, value):
        """Symmetric matrices (n_classes, dim, dim)."""
        i, j = torch.triu_indices(self.dim, self.dim)
        out = torch.zeros(self.n_classes, self.dim, self.dim, dtype=value.dtype)
        entries = value.view(self.n_classes, -1) * torch.where(i == j, 1.0, math.sqrt(0.5)).to(value)
        out[:, i, j] = entries
        out[:, j, i] = entries
        return out


class Transported(NamedTuple):
    """What a step of the semidual mechanism releases.

    Attributes
    ----------
    mass : Tensor of shape (n,)
        Noisy number of records that each point serves, M_i.
    displacement : Tensor of shape (n, d)
        Noisy sum of what moves each point towards them, S_i.
    """

    mass: torch.Tensor
    displacement: torch.Tensor


class TransportQuery(SumQuery):
    """Mass and displacement that the records send to the generated points, by entropic transport.

    With the potentials f of the points held, a record's column of the transport plan depends on that record alone [1]_:

        p_ij = softmax_i((f_i - c(x_i, y_j)) / reg)        over the points i of the record's class.

    A record contributes ``mass_clip * p_j`` (norm at most mass_clip, for ||p_j|| <= 1) and the block
    ``-1/2 p_ij grad_1 c(x_i, y_j)`` (for squared L2: ``p_ij (y_j - x_i)``), clipped as a whole to norm ``clip``. Their
    joint norm, the sensitivity, is at most ``sqrt(clip^2 + mass_clip^2)``. No (records, points, dimensions) array is
    ever formed.

    Parameters
    ----------
    points : Tensor of shape (n, d)
    point_classes : LongTensor of shape (n,), sorted
    potentials : Tensor of shape (n,)
    reg : float
        Entropic regularisation, in units of the cost.
    clip, mass_clip : float
    cost : sinkgen.ot.costs.Cost

    References
    ----------
    .. [1] Genevay, Cuturi, Peyre, Bach, "Stochastic Optimization for Large-scale Optimal Transport", NIPS 2016,
       arXiv 1605.08527, equation (S_eps).
    """

    # A block of records and its plan stay in the processor's cache from one product to the next.
    LEAST_RECORDS, MOST_RECORDS, BLOCK_ENTRIES = 128, 4096, 2**18

    def __init__(self, points, point_classes, potentials, reg, clip, mass_clip, cost):
        self.points, self.potentials, self.reg, self.cost = points, potentials, reg, cost
        self.clip, self.mass_clip = clip, mass_clip
        self.size = len(points) * (1 + points.shape[1])
        self.sensitivity = math.hypot(clip, mass_clip)
        self._slices = class_slices(point_classes)

    def contribution(self, records):
        """Clipped sums of one chunk: n masses, then n * d displacements."""
        mass = self.points.new_zeros(len(self.points))
        gradient = torch.zeros_like(self.points)
        for c, own in split_by_class(records):
            if c in self._slices:
                rows = self._slices[c]
                for block in own.split(self._block_size(rows)):
                    block_mass, block_gradient = self._transport(block, rows)
                    mass[rows] += block_mass
                    gradient[rows] += block_gradient
        return torch.cat([ROUNDING_MARGIN * self.mass_clip * mass, -0.5 * gradient.flatten()])

    def _block_size(self, rows):
        n_points = rows.stop - rows.start
        return min(self.MOST_RECORDS, max(self.LEAST_RECORDS, self.BLOCK_ENTRIES // n_points))

    def _transport(self, y, rows):
        """What a block of records sends to the points of their class: mass, and -2 times the displacement."""
        x = self.points[rows]
        cost = self.cost.matrix(y, x)
        plan = torch.softmax(torch.add(self.potentials[rows] / self.reg, cost, alpha=-1 / self.reg), 1)
        squared_norms = self.cost.squared_gradient_norms(y, x, cost).mul_(plan).mul_(plan)
        norms = squared_norms.sum(1).sqrt_()  # of twice the displacement
        if not math.isfinite(float(norms.sum())):
            lost = ~torch.isfinite(norms)  # numbers too large for the plan: such a record sends nothing
            y, plan = y.masked_fill(lost[:, None], 0), plan.masked_fill_(lost[:, None], 0)
        mass = plan.sum(0)
        plan *= clip_factors(norms, 2 * self.clip)[:, None]
        return mass, self.cost.weighted_gradient(plan.t(), x, y)

    def read(self, value):
        """The release, in :class:`Transported`."""
        n = len(self.points)
        return Transported(value[:n] / self.mass_clip, value[n:].view(n, -1))


def class_slices(classes):
    """Where each class lies in a sorted vector of classes: {class: slice}.

    Examples
    --------
    >>> class_slices(torch.tensor([0, 0, 2]))
    {0: slice(0, 2, None), 2: slice(2, 3, None)}
    """
    values, counts = torch.unique_consecutive(classes, return_counts=True)
    ends = counts.cumsum(0)
    return {int(c): slice(int(e - k), int(e)) for c, k, e in zip(values, counts, ends, strict=True)}


def sort_by_class(records):
    """The records, those of a class beside each other; a query over them then copies none.

    Examples
    --------
    >>> from sinkgen.sampling import Records
    >>> sort_by_class(Records(torch.tensor([[5.0], [6.0], [7.0]]), torch.tensor([1, 0, 1]))).values.flatten()
    tensor([6., 5., 7.])
    """
    labels = records.labels
    if labels is None or bool((labels[1:] >= labels[:-1]).all()):
        return records
    return records.take(labels.argsort(stable=True))


def split_by_class(records):
    """Pairs of a class and its records' values; all are of class 0 where there are no labels."""
    records = sort_by_class(records)
    if records.labels is None:
        return [(0, records.values)]
    return [(c, records.values[rows]) for c, rows in class_slices(records.labels).items()]


class LabelledCost:
    """A cost between rows whose last columns are weighted one-hot labels, as :func:`sinkgen.ot.with_labels` makes them.

    A feature map sees the values alone; labels stand beside its features.

    Parameters
    ----------
    cost : Cost
    n_classes : int
    """

    def __init__(self, cost, n_classes):
        self._cost, self._n_classes = cost, n_classes
        self.matrix = cost.matrix
        self.weighted_gradient = cost.weighted_gradient
        self.squared_gradient_norms = cost.squared_gradient_norms

    def embed(self, x):
        """Features of the values, and the labels."""
        values, labels = x[:, : -self._n_classes], x[:, -self._n_classes :]
        features = self._cost.embed(values).nan_to_num(0.0).clamp(-LARGEST, LARGEST)
        return torch.cat([features, labels], 1)


class CrossGradientQuery:
    """Gradient of the entropic cost between generated points and a batch, clipped as a whole: the paper's release.

    The points' number n is public and fixed; an empty batch gives the zero gradient. A record can turn the whole
    clipped matrix round, hence the sensitivity ``2 * clip``.

    Parameters
    ----------
    points : Tensor of shape (n, d + n_classes)
        Generated points with their labels, see :func:`sinkgen.ot.with_labels`.
    n_classes : int
    label_weight : float
    transport : dict
        Keyword arguments of :func:`sinkgen.ot.entropic_cost`: reg, cost, backend.
    clip : float

    References
    ----------
    .. [1] Cao, Bie, Vahdat, Fidler, Kreis, "Don't Generate Me", arXiv 2111.01177, section 3.2 and algorithm 1.
    """

    def __init__(self, points, n_classes, label_weight, transport, clip):
        self.points, self.n_classes, self.label_weight = points, n_classes, label_weight
        self.transport, self.clip = transport, clip
        self.shape = (len(points), points.shape[1] - n_classes)
        self.size = math.prod(self.shape)
        self.sensitivity = 2 * clip

    def evaluate(self, chunks):
        """Clipped gradient in the points' values, flat, on one batch."""
        batch = [chunk.take(chunk.labels >= 0) for chunk in chunks]
        if not sum(map(len, batch)):
            return torch.zeros(self.size, dtype=torch.float64)
        values, labels = (torch.cat(parts) for parts in zip(*batch, strict=True))
        values = values.nan_to_num(0.0).clamp(-LARGEST, LARGEST)
        y = with_labels(values, labels, self.n_classes, self.label_weight)
        x = self.points.to(y).detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(entropic_cost(x, y, **self.transport), x)
        gradient = gradient[:, : self.shape[1]].double().cpu().flatten().nan_to_num(0.0, 0.0, 0.0)
        return gradient * clip_factors(gradient.norm()[None], self.clip)

    def over(self, source, draw):
        """No sum over records: the batch itself is brought together."""
        return self.evaluate(source.gather(draw))

    def read(self, value):
        """The gradient, (n, d)."""
        return value.view(self.shape).to(self.points)
