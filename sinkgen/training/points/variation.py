"""What varies around the points that serve the records: deformations of images, and Gaussian variation."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch

from sinkgen._device import cached, normal, sent
from sinkgen._groups import by_class, class_slices
from sinkgen.denoise.radii import fit_radii
from sinkgen.denoise.spectra import covariance_factors, shape_factors
from sinkgen.ot.costs import Cost
from sinkgen.ot.rows import whole
from sinkgen.privacy.queries.moments import MomentQuery, RadiusQuery, ScaleQuery
from sinkgen.privacy.sealed import SealedSource

# Constants chosen by trials: docs/experiments.md, Images.
LONGEST = 3.0  # length of an offset, as a share of the records' root mean square distance to the centre
CLIP_RANK = 0.3  # share of the records whose remainder is not clipped
RESIDUAL_VARIANCE = 0.4  # share of the records' variance that is around their points
SCALE_FOLD = 8.0  # a point's offsets are at most so many times as long, or as short, as is usual
SCALE_VARIANCE = 0.02  # of log lengths at a point, to the base of the fold
SHARPENING_ROUNDS, SHARPENING_DRAWS = 2, 8
WARP_CLIP, WARP_SIZE = 3.0, 0.7  # in 1/28 of a side: bound of a record's deformation, its typical size by each field


class Seen(NamedTuple):
    """Points as a cost sees them, and what it sees of records.

    Attributes
    ----------
    cost : Cost
    measure : callable
        Encoded records (m, D) to measured ones (m, k).
    points : Tensor of shape (n, k)
    """

    cost: Cost
    measure: Callable
    points: torch.Tensor


class Offsets:
    """Each record's offset from the point that serves it; a function of that record alone.

    Parameters
    ----------
    points : Tensor of shape (n, d)
        In the space's coordinates.
    classes : LongTensor of shape (n,), sorted
    seen : Seen
        The same points, as the cost sees them.
    potentials : Tensor of shape (n,)
    space : Space
    """

    def __init__(self, points, classes, seen, potentials, space):
        self.points, self.classes, self.seen, self.potentials, self.space = points, classes, seen, potentials, space
        self._slices = class_slices(classes)
        self.n_classes = max(self._slices) + 1

    def __call__(self, classes):
        """Index (m,) of each record's point, and offsets (m, d), of records by class; zero for one of no class."""
        values = classes.records.values
        coordinates = self.space.project(values)
        # Squared distances are measured in the space itself.
        seen = coordinates if self.seen.measure == self.space.project else self.seen.measure(values)
        serving = torch.full((len(values),), -1, dtype=torch.long, device=values.device)
        for c, own in classes.slices.items():
            part = self._slices.get(c)
            if part is not None:
                cost = self.seen.cost.matrix(self.seen.points[part].to(seen), whole(seen[own]))
                nearest = (cost[:, : own.stop - own.start] - self.potentials[part, None].to(seen)).nan_to_num(torch.inf)
                serving[own] = nearest.argmin(0) + part.start
        offsets = torch.where(serving[:, None] >= 0, coordinates - self.points.to(coordinates)[serving], 0.0)
        return serving.clamp_min(0), offsets


class FittedWarps(NamedTuple):
    """Linear maps between offsets and amounts of deformation, one for each point.

    Attributes
    ----------
    tangents : Tensor of shape (n, q, d)
        What a unit of each deformation adds to a point's coordinates.
    fits : Tensor of shape (n, q, d)
        Amounts of an offset: ridge regression on the tangents.
    """

    tangents: torch.Tensor
    fits: torch.Tensor

    def explain(self, serving, offsets):
        """Amounts (m, q) that explain offsets (m, d) from the points that serve, and what they leave, (m, d)."""
        fits, tangents = self.fits.to(offsets), self.tangents.to(offsets)
        amounts, left = offsets.new_empty(len(offsets), fits.shape[1]), torch.empty_like(offsets)
        size = cached(offsets, fits[0].numel())
        parts = (part.split(size) for part in (serving, offsets, amounts, left))
        for own, rows, found, rest in zip(*parts, strict=True):
            found[:] = torch.einsum("mqd,md->mq", fits[own], rows)
            torch.sub(rows, torch.einsum("mqd,mq->md", tangents[own], found), out=rest)
        return amounts, left


def fit_warps(warps, points, space, variances):
    """How a deformation of each point shows in its coordinates; None without deformations. No record is seen.

    References
    ----------
    .. [1] Simard, LeCun, Denker, Victorri, "Transformation invariance in pattern recognition: tangent distance and
       tangent propagation", 1998.
    """
    if warps is None:
        return None
    tangents = warps.tangents(space.lift(points).clamp(0, 1)) * space.weights @ space.basis
    noise = RESIDUAL_VARIANCE * float(variances.mean())
    gram = tangents @ tangents.mT / noise + torch.eye(warps.size, device=points.device) / WARP_SIZE**2
    return FittedWarps(tangents, torch.linalg.solve(gram, tangents / noise))


class Explained(NamedTuple):
    """Records as their points and deformations explain them; found once, for several releases.

    Attributes
    ----------
    source : SealedSource
        Of rows: the index of a record's point, the amounts of its deformation, and what is left of its offset.
    n_amounts : int
        0 without deformations.
    """

    source: SealedSource
    n_amounts: int

    @classmethod
    def of(cls, source, offsets, warps):
        """The records of a source, each explained by itself."""
        n_amounts = 0 if warps is None else warps.fits.shape[1]
        return cls(source.map(partial(_explained, warps, offsets)), n_amounts)


def find_warp_factors(stage, explained):
    """Factors (n_classes, q, q) of the covariance of the records' deformations; q = 0 without deformations."""
    counts, mechanism, size = stage.counts, stage.mechanism, explained.n_amounts
    if not size:
        return torch.zeros(len(counts), 0, 0)
    query = MomentQuery(size, WARP_CLIP, len(counts), partial(_amounts, size))
    moments = mechanism.release("warps", query, explained.source).float()
    factors = covariance_factors(moments, counts.float(), mechanism.noise_multiplier("warps") * query.sensitivity)
    return sent(factors, stage.device)


def sharpen_points(points, classes, warp_factors, warps, space, random):
    """Points that have the released ones as the mean of their deformations; post-processing.

    A released point is the mean of records that are deformed, and so it is blurred; to deform it blurs once more.

    References
    ----------
    .. [1] Jansson, "Deconvolution of Images and Spectra", 1997: Van Cittert's iteration, stopped before it lifts noise.
    """
    standard = normal((SHARPENING_DRAWS, len(points), warps.size), random, points)
    amounts = torch.einsum("nqr,knr->knq", warp_factors[sent(classes, points)], standard)
    amounts = torch.cat([amounts, -amounts])  # so that what is linear in them is no part of the mean
    sharp = points
    for _ in range(SHARPENING_ROUNDS):
        images = space.lift(sharp).clamp(0, 1)
        mean = sum(space.project(warps.deform(images, each)) for each in amounts) / len(amounts)
        sharp = sharp + points - mean
    return sharp


class Variation(NamedTuple):
    """Offsets from the points that nothing else explains.

    Attributes
    ----------
    factors : Tensor of shape (n_classes, d, d)
        Of the covariance of their directions.
    radii : Tensor of shape (n_classes, k)
        Quantiles, at even ranks, of their lengths.
    """

    factors: torch.Tensor
    radii: torch.Tensor


def find_scales(stage, explained, classes, variances):
    """How long what is left of the offsets from each point (n,) is, relative to its class.

    A patch of sky varies less than one of leaves. Mean log lengths by point, each drawn towards its class's by the
    share of noise in it.
    """
    mechanism = stage.mechanism
    expected = math.sqrt(RESIDUAL_VARIANCE * float(variances.sum()))
    query = ScaleQuery(expected, SCALE_FOLD, len(classes), len(stage.counts), partial(_served, explained.n_amounts))
    counts, sums = mechanism.release("scales", query, explained.source)
    noise = mechanism.noise_multiplier("scales") * query.sensitivity
    n_classes = len(stage.counts)
    of_class = torch.zeros(2, n_classes, dtype=torch.float64).index_add_(1, classes, torch.stack([counts, sums]))
    means = (of_class[1] / of_class[0].clamp_min(1.0)).clamp(-1, 1)[classes]
    served, off = counts.clamp_min(0.0), sums - means * counts
    chance = noise**2 * (1 + means.square()) + SCALE_VARIANCE * served
    between = ((off.square() - chance).sum() / served.square().sum().clamp_min(1.0)).clamp_min(0)
    share = between * served / (between * served.square() + chance).clamp_min(1e-12)
    return sent((SCALE_FOLD ** (share * off).clamp(-1, 1)).float(), stage.device)


def find_variation(stage, explained, scales, variances):
    """What deformations leave of the records' offsets, over their points' scales: how long it is, then its directions.

    A class's typical length bounds what a record adds to the moments: that far away it adds a direction alone.
    """
    source, counts, mechanism = explained.source, stage.counts, stage.mechanism
    remainders = partial(_remainders, explained.n_amounts, scales)
    expected = gaussian(512, RESIDUAL_VARIANCE * variances, stage.random).norm(dim=1)
    lengths = RadiusQuery(LONGEST * math.sqrt(float(variances.sum())), len(counts), remainders)
    noisy = mechanism.release("radii", lengths, source)
    radii = fit_radii(noisy, expected, lengths.largest, mechanism.noise_multiplier("radii") * lengths.sensitivity)
    clips = radii[:, round(CLIP_RANK * (radii.shape[1] - 1))].clamp_min(1e-12)
    query = MomentQuery(len(variances), 1.0, len(counts), partial(_scaled, remainders, sent(clips, stage.device)))
    moments = mechanism.release("residuals", query, source).float()
    noise = mechanism.noise_multiplier("residuals") * query.sensitivity
    return Variation(shape_factors(moments, counts.float(), noise, variances.double()), radii)


def _explained(warps, offsets, records):
    classes = by_class(records, offsets.n_classes)
    serving, left = offsets(classes)
    parts = [serving[:, None].to(left)]  # exact: points are few
    if warps is not None:
        amounts, left = warps.explain(serving, left)
        parts.append(amounts)
    return classes.records.having(values=torch.cat([*parts, left], 1))


def _amounts(size, classes):
    return classes.records.values[:, 1 : 1 + size]


def _served(size, classes):
    values = classes.records.values
    return values[:, 0].long(), values[:, 1 + size :]


def _remainders(size, scales, classes):
    serving, rows = _served(size, classes)
    return rows / scales.to(rows)[serving, None]


def _scaled(rows, scales, classes):
    return rows(classes) / scales.to(classes.records.values)[classes.records.labels][:, None]


def gaussian(n, variances, random):
    """Normal draws (n, d) with the given variances (d,); public."""
    return torch.randn(n, len(variances), generator=random) * variances.sqrt()
