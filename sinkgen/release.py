"""What the private stage releases: a noisy mixture, and what its noise's known scale lets one mend.

Nothing in this module sees a record. All of it is post-processing of :class:`~sinkgen.mechanism.GaussianMechanism`.
"""

import math
from dataclasses import dataclass

import torch

from sinkgen.accounting import PrivacySpent
from sinkgen.data.formats import NumericFormat
from sinkgen.data.labels import LabelSet
from sinkgen.queries import class_slices
from sinkgen.radii import draw_radii
from sinkgen.space import unlifted
from sinkgen.tilt import NO_TILT
from sinkgen.tones import NO_CURVES

TINY = 1e-9


@dataclass(frozen=True)
class Release:
    """All that a fit released. Whatever is made of it costs no more privacy.

    Attributes
    ----------
    generator : torch.nn.Module
        Draws encoded records: ``draw(labels, random)``.
    class_weights : Tensor of shape (n_classes,)
        Released frequency of each class; sum 1.
    form : NumericFormat
        How encoded records become what the user gave.
    labels : LabelSet or None
        None if the fit had no labels.
    spent : PrivacySpent
        The statement.

    Examples
    --------
    >>> import numpy as np
    >>> from sinkgen import DPSinkhornGenerator
    >>> X, y = np.random.default_rng(0).normal(size=(500, 2)), np.arange(500) % 2
    >>> release = DPSinkhornGenerator(epsilon=5, schema=(-4, 4), classes=[0, 1]).fit(X, y).release_
    >>> release.class_weights.shape, release.spent.epsilon <= 5
    (torch.Size([2]), True)
    """

    generator: torch.nn.Module
    class_weights: torch.Tensor
    form: NumericFormat
    labels: LabelSet | None
    spent: PrivacySpent


@dataclass(frozen=True)
class Mixture:
    """Weighted points with Gaussian variation around them, in the coordinates of a space.

    Attributes
    ----------
    points : Tensor of shape (n, d)
    classes : LongTensor of shape (n,), sorted
    mass : Tensor of shape (n,)
        Non-negative weight of each point within its class.
    factors : Tensor of shape (n_classes, d, d)
        The direction of a draw's offset from its point, of class c, is that of ``factors[c] @ standard normal``.
    radii : Tensor of shape (n_classes, k)
        Quantiles, at even ranks, of its length; with k = 0 it is that of the normal one.
    warp_factors : Tensor of shape (n_classes, q, q)
        Likewise the amounts by which images of class c are deformed; q = 0 where records are no images.
    texture : Tensor of shape (D,)
        Standard deviation, at each encoded number, of what lies outside of the space's directions; 0 where records are
        no images.
    class_weights : Tensor of shape (n_classes,)
        Non-negative, sum 1.
    tones : Tensor of shape (n_curves, 2, k)
        Curves that bring the draws to the records' tones, see :class:`sinkgen.tones.Tones`; none where records are no
        images.
    waves : Tensor of shape (d, q)
        Of the features that choose among draws, see :class:`sinkgen.tilt.Features`; empty where nothing does.
    tilts : Tensor of shape (n_classes, 2 q)
        Of draws of class c, the odds to be kept are ``exp(tilts[c] @ features)``.
    """

    points: torch.Tensor
    classes: torch.Tensor
    mass: torch.Tensor
    factors: torch.Tensor
    radii: torch.Tensor
    warp_factors: torch.Tensor
    texture: torch.Tensor
    class_weights: torch.Tensor
    tones: torch.Tensor = NO_CURVES
    waves: torch.Tensor = NO_TILT
    tilts: torch.Tensor = NO_TILT

    def draw(self, labels, generator):
        """One draw for each label: Tensor of shape (len(labels), d)."""
        out = self.points.new_empty(len(labels), self.points.shape[1])
        slices = class_slices(self.classes)
        for c in torch.unique(labels).tolist():
            rows = torch.nonzero(labels == c).flatten()
            chosen = torch.multinomial(self.mass[slices[c]], len(rows), replacement=True, generator=generator)
            normal = torch.randn(len(rows), out.shape[1], generator=generator).to(out)
            offsets = normal @ self.factors[c].T
            if self.radii.shape[1]:
                lengths = draw_radii(self.radii[c].expand(len(rows), -1), generator).to(out)
                offsets *= (lengths / offsets.norm(dim=1).clamp_min(1e-12))[:, None]
            out[rows] = self.points[slices[c]][chosen] + offsets
        return out


def shrink_points(points, classes, noise):
    """Wiener filter of each class's points under white noise of known standard deviation.

    Parameters
    ----------
    points : Tensor of shape (n, d)
    classes : LongTensor of shape (n,), sorted
    noise : Tensor of shape (n,)
        Standard deviation of the noise in each coordinate of a point.

    Returns
    -------
    Tensor of shape (n, d)
    """
    out = points.clone()
    for rows in class_slices(classes).values():
        x, variance = points[rows], noise[rows].square()
        centre = (x / variance[:, None]).sum(0) / (1 / variance).sum() if (variance > 0).all() else x.mean(0)
        # In double: the single-precision decompositions return nan for matrices of rank well below their size.
        _, lengths, basis = torch.linalg.svd((x - centre).double(), full_matrices=False)
        signal = (lengths.square() / len(x) - variance.mean()).clamp_min(0)
        gain = signal / (signal + variance[:, None]).clamp_min(1e-12)
        out[rows] = centre + (((x - centre).double() @ basis.T * gain) @ basis).float()
    return out


def spectrum(values, edge):
    """Eigenvalues without what symmetric noise of spectral edge ``edge`` has lifted them by; 0 for those within it."""
    return torch.where(values > edge, unlifted(values.clamp_min(edge), edge), 0.0)


def covariance_factors(moments, counts, noise_scale):
    """Factors of each class's covariance, from noisy sums of outer products; post-processing.

    A class's own mean moment is shrunk towards the one pooled over classes by the share of noise in it; then what lies
    under the noise's spectral edge is dropped.

    Parameters
    ----------
    moments : Tensor of shape (n_classes, d, d)
        Sums over the records of each class, with symmetric noise.
    counts : Tensor of shape (n_classes,)
        Noisy number of records of each class, at least 1.
    noise_scale : float
        Standard deviation of the noise of a diagonal entry of a sum.

    Returns
    -------
    Tensor of shape (n_classes, d, d)
    """
    spectra = _spectra(moments, counts, noise_scale)
    return torch.stack([(vectors * kept.sqrt()).float() for _, kept, vectors in spectra])


def shape_factors(moments, counts, noise_scale, prior):
    """Like :func:`covariance_factors`, but what noise hides of the trace has the shape of the prior; post-processing.

    For directions alone: how large a covariance is, does not matter.

    Parameters
    ----------
    moments, counts, noise_scale
        As there.
    prior : Tensor of shape (d,)
        Variances that are expected of the coordinates, up to a factor.

    Returns
    -------
    Tensor of shape (n_classes, d, d)
    """
    factors = []
    for trace, kept, vectors in _spectra(moments, counts, noise_scale):
        hidden = vectors[:, kept == 0]
        inside = hidden.T * prior @ hidden
        missing = (trace - kept.sum()).clamp_min(TINY)  # where all is noise, the prior is all there is
        expected, within = torch.linalg.eigh(inside)
        filled = (missing * expected / expected.sum().clamp_min(1e-30)).clamp_min(0)
        known = vectors[:, kept > 0] * kept[kept > 0].sqrt()
        factors.append(torch.cat([known, hidden @ within * filled.sqrt()], 1).float())
    return torch.stack(factors)


def _spectra(moments, counts, noise_scale):
    """Of each class's mean moment, shrunk towards the pooled one: trace, eigenvalues less their noise, eigenvectors."""
    d, n_classes = moments.shape[-1], len(moments)
    pooled = moments.sum(0) / counts.sum()
    pooled_noise = math.sqrt(n_classes) * noise_scale / counts.sum()
    for moment, count in zip(moments / counts[:, None, None], counts, strict=True):
        own_noise = noise_scale / count
        excess = (moment - pooled).square().sum()
        noise_energy = own_noise**2 * d * (d + 1) / 2
        own = (1 - noise_energy / excess.clamp_min(1e-30)).clamp(0, 1)
        scale = torch.hypot(own * own_noise, (1 - own) * pooled_noise)
        blend = (own * moment + (1 - own) * pooled).double()
        values, vectors = torch.linalg.eigh(blend)
        yield blend.trace(), spectrum(values, scale * math.sqrt(2 * d)), vectors
