"""Coordinates in which records weigh alike and noise is spent on few directions."""

import math
from typing import NamedTuple

import torch


class Space(NamedTuple):
    """An affine map between encoded records (D numbers) and coordinates (d <= D numbers).

    Attributes
    ----------
    centre : Tensor of shape (D,)
    weights : Tensor of shape (D,)
        What each encoded number is multiplied with, so that a typical record lies at distance 1 of the centre.
    basis : Tensor of shape (D, d)
        Orthonormal columns.
    """

    centre: torch.Tensor
    weights: torch.Tensor
    basis: torch.Tensor

    def project(self, encoded):
        """Coordinates (m, d) of encoded records (m, D)."""
        centre, weights, basis = (part.to(encoded) for part in self)
        return ((encoded - centre) * weights) @ basis

    def lift(self, coordinates):
        """Encoded records (m, D) that lie in the subspace, of coordinates (m, d)."""
        return self.centre + (coordinates @ self.basis.T) / self.weights


# Standard deviations of its noise that a coordinate's variance must exceed: few must where variance is spread out.
STANDS_OUT = (1.5, 3.0)


class Directions(NamedTuple):
    """Orthonormal directions (D, d) as columns, by falling variance, and their variances (d,)."""

    basis: torch.Tensor
    variances: torch.Tensor


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
        # An eigenvector of variance v is off by an angle whose squared sine is (edge / 2v)^2.
        v = unlifted(self.values[self.values > self.edge], self.edge)
        return float((v - self.edge**2 / (4 * v).clamp_min(1e-30)).sum())


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
    basis = torch.zeros(len(moment), d)
    basis[kept] = vectors[:, -d:].flip(1).float()
    variances = unlifted(values[-d:].flip(0).clamp_min(edge), edge)
    return Directions(basis, variances.clamp_min(1e-12).float())


def cosine_basis(height, width, channels=1):
    """Orthonormal cosine waves of an image, the type-II discrete cosine transform; public.

    Returns
    -------
    Tensor of shape (height * width * channels, height * width * channels)
        One wave a column.
    """

    def waves(n):
        i = torch.arange(n, dtype=torch.float64)
        columns = torch.cos(math.pi / n * (i[:, None] + 0.5) * i)
        return columns / columns.norm(dim=0)

    return torch.kron(torch.kron(waves(height), waves(width)), torch.eye(channels, dtype=torch.float64))
