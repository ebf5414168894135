"""Spectra of noisy moments, and points under noise: what the known scale of the noise lets one mend; public."""

import math
from typing import NamedTuple

import torch

from sinkgen._device import normal
from sinkgen._groups import class_slices

TINY = 1e-9


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


# Constants chosen by trials: docs/experiments.md, Images.
# Standard deviations of its noise that a coordinate's variance must exceed: few must where variance is spread out.
STANDS_OUT = (1.5, 3.0)
ITERATIONS = 4


class Directions(NamedTuple):
    """Directions in which records vary.

    Attributes
    ----------
    basis : Tensor of shape (D, d)
        Orthonormal columns, by falling variance.
    variances : Tensor of shape (d,)
        Of the directions that were looked for: corrected for the noise's.
    held : Tensor of shape (d,)
        What of it the records have in those that were found, which noise has turned.
    """

    basis: torch.Tensor
    variances: torch.Tensor
    held: torch.Tensor


class _Spectrum(NamedTuple):
    """Eigenvalues and eigenvectors of the kept coordinates' moments, and the noise's spectral edge among them."""

    kept: torch.Tensor
    values: torch.Tensor
    vectors: torch.Tensor
    edge: float

    @classmethod
    def of(cls, moment, noise_scale, threshold):
        """Keep the coordinates whose variance exceeds ``threshold * noise_scale``, or else the largest."""
        variances = moment.diagonal()
        kept = torch.nonzero(variances > threshold * noise_scale).flatten()
        kept = kept if len(kept) else variances.argmax()[None]
        values, vectors = torch.linalg.eigh(moment[kept][:, kept].double())
        return cls(kept, values, vectors, noise_scale * math.sqrt(2 * len(kept)))

    def found(self):
        """Variance, as estimated, along the eigenvectors beyond the edge."""
        return float(_held(unlifted(self.values[self.values > self.edge], self.edge), self.edge).sum())


def _held(variances, edge):
    """Variance along an eigenvector that is off by an angle whose squared sine is (edge / 2v)^2."""
    return (variances - edge**2 / (4 * variances).clamp_min(1e-30)).clamp_min(0)


def unlifted(values, edge):
    """Eigenvalues beyond the edge of noise, without what it has lifted them by.

    Noise of spectral edge e lifts an eigenvalue v > e / 2 to v + e^2 / 4v (Baik, Ben Arous, Peche 2005); this inverts
    that.
    """
    return (values + (values.square() - edge**2).clamp_min(0).sqrt()) / 2


def principal_directions(moment, noise_scale, *, edge_share, most):
    """Directions of a noisy second-moment matrix that stand out of its noise; post-processing.

    First the coordinates whose variance does not stand out of its own noise are left out: the noise that remains
    spans fewer dimensions, so that its largest eigenvalue, ``sqrt(2 m)`` times the scale at m coordinates [1]_, falls.
    How far they must stand out is what lets the most variance be found.
    Then the eigenvectors whose eigenvalue exceeds ``edge_share`` of that one are kept.

    Parameters
    ----------
    moment : Tensor of shape (D, D)
        Mean of x x^T with symmetric Gaussian noise: ``noise_scale`` on the diagonal, ``noise_scale / sqrt 2`` off it.
    noise_scale : float
    edge_share : float
        A direction somewhat below the noise's edge is still mostly signal in sum.
    most : int
        At most so many directions.

    Returns
    -------
    Directions
        1 <= d <= most of them; their variances are corrected for the noise's.

    References
    ----------
    .. [1] Anderson, Guionnet, Zeitouni, "An Introduction to Random Matrices", 2010, theorem 2.1.22.
    """
    tried = (_Spectrum.of(moment, noise_scale, threshold) for threshold in STANDS_OUT)
    kept, values, vectors, edge = max(tried, key=_Spectrum.found)
    d = min(most, max(1, int((values > edge_share * edge).sum())))
    basis = moment.new_zeros(len(moment), d)
    basis[kept] = vectors[:, -d:].flip(1).float()
    variances = unlifted(values[-d:].flip(0).clamp_min(edge), edge)
    return Directions(basis, variances.clamp_min(1e-12).float(), _held(variances, edge).float())


def updated_directions(moment, noise_scale, expected, *, share, most):
    """Directions of a noisy second-moment matrix, of which public records say what to expect; post-processing.

    The expected moment, as large as fits best, and what of the difference to it stands out of the noise: it does so
    the sooner, the fewer directions are expected, for the noise of k of them has eigenvalues up to ``sqrt(2 k)``.

    Parameters
    ----------
    moment, noise_scale, most
        As for :func:`principal_directions`.
    expected : Directions
        Of the public records.
    share : float
        Of the variance that they hold, which is enough.

    Returns
    -------
    Directions
        Within the span of the expected ones.
    """
    usual = expected.variances.double()
    turned = (expected.basis.T @ moment @ expected.basis).double()
    usual = usual * (turned.diagonal() @ usual / (usual @ usual)).clamp_min(0)
    values, vectors = torch.linalg.eigh(turned - usual.diag())
    differences = values.sign() * spectrum(values.abs(), noise_scale * math.sqrt(2 * len(usual)))
    values, vectors = torch.linalg.eigh(usual.diag() + vectors * differences @ vectors.T)
    variances = values.flip(0).clamp_min(1e-12)
    reached = variances.cumsum(0) / variances.sum()
    d = min(most, 1 + int((reached < share).sum()))
    basis = expected.basis @ vectors.flip(1)[:, :d].float()
    return Directions(basis, variances[:d].float(), variances[:d].float())


def exact_directions(rows, count, random):
    """The first directions of records that need no protection, by subspace iteration.

    Parameters
    ----------
    rows : Tensor of shape (m, D)
    count : int
        Of directions; fewer where there are fewer records or numbers.
    random : torch.Generator

    Returns
    -------
    Directions
    """
    rows = rows - rows.mean(0)
    basis = normal((rows.shape[1], min(count, *rows.shape)), random, rows)
    for _ in range(ITERATIONS):
        basis = torch.linalg.qr(rows.T @ (rows @ basis)).Q
    values, vectors = torch.linalg.eigh((rows @ basis).T.double() @ (rows @ basis).double() / len(rows))
    variances = values.flip(0).clamp_min(1e-12).float()
    return Directions(basis @ vectors.flip(1).float(), variances, variances)
