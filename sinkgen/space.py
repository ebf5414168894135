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


STANDS_OUT = 3.0  # standard deviations of its noise that a coordinate's variance must exceed


class Directions(NamedTuple):
    """Orthonormal directions (D, d) as columns, by falling variance, and their variances (d,)."""

    basis: torch.Tensor
    variances: torch.Tensor


def principal_directions(moment, noise_scale, *, edge_share, most):
    """Directions of a noisy second-moment matrix that stand out of its noise; post-processing.

    First the coordinates whose variance does not stand out of its own noise are left out: the noise that remains
    spans fewer dimensions, so that its largest eigenvalue, ``sqrt(2 m)`` times the scale at m coordinates [1]_, falls.
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
    variances = moment.diagonal()
    kept = torch.nonzero(variances > STANDS_OUT * noise_scale).flatten()
    if not len(kept):
        kept = variances.argmax()[None]
    values, vectors = torch.linalg.eigh(moment[kept][:, kept].double())
    edge = noise_scale * math.sqrt(2 * len(kept))
    d = min(most, max(1, int((values > edge_share * edge).sum())))
    basis = torch.zeros(len(moment), d)
    basis[kept] = vectors[:, -d:].flip(1).float()
    # Noise of spectral edge e lifts an eigenvalue v > e / 2 to v + e^2 / 4v (Baik, Ben Arous, Peche 2005); invert it.
    lifted = values[-d:].flip(0).clamp_min(edge)
    variances = (lifted + (lifted.square() - edge**2).clamp_min(0).sqrt()) / 2
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
