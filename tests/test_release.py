"""Post-processing: the coordinates, the mixture, and what the noise's known scale mends."""

import math

import pytest
import torch

from sinkgen.release import Mixture, covariance_factors, shrink_points
from sinkgen.space import Space, cosine_basis, principal_directions
from sinkgen.tones import NO_CURVES


@pytest.fixture
def random():
    return torch.Generator().manual_seed(0)


def symmetric_noise(d, scale, random):
    noise = scale * torch.randn(d, d, generator=random, dtype=torch.float64)
    return (noise + noise.T) / 2 + torch.diag(noise.diagonal() * (math.sqrt(0.5) - 0.5))


def orthogonal(d, k, random):
    return torch.linalg.qr(torch.randn(d, k, generator=random))[0]


@pytest.mark.parametrize("shape", [(8, 8), (5, 7), (4, 6, 3)])
def test_cosine_basis_is_orthonormal_and_starts_with_the_mean(shape):
    basis = cosine_basis(*shape)
    torch.testing.assert_close(basis.T @ basis, torch.eye(math.prod(shape), dtype=torch.float64))
    channels = shape[2] if len(shape) == 3 else 1
    assert (basis[::channels, 0].std() < 1e-12).item()


def test_lift_undoes_project_within_the_subspace(random):
    space = Space(torch.rand(6, generator=random), torch.full((6,), 0.3), orthogonal(6, 3, random))
    z = torch.randn(10, 3, generator=random)
    torch.testing.assert_close(space.project(space.lift(z)), z)


def test_strong_directions_are_found_and_noise_is_not_taken_for_one(random):
    truth = orthogonal(60, 3, random)
    moment = truth @ torch.diag(torch.tensor([3.0, 2.0, 1.0])) @ truth.T
    noisy = moment.double() + symmetric_noise(60, 0.02, random)
    found = principal_directions(noisy.float(), 0.02, edge_share=1.1, most=40)
    assert found.basis.shape == (60, 3)
    torch.testing.assert_close(found.basis.T @ found.basis, torch.eye(3))
    assert float((found.basis.T @ truth).square().sum()) > 2.8
    torch.testing.assert_close(found.variances, torch.tensor([3.0, 2.0, 1.0]), rtol=0.1, atol=0)


def test_pure_noise_leaves_one_direction(random):
    found = principal_directions(symmetric_noise(30, 1.0, random).float(), 1.0, edge_share=1.1, most=40)
    assert found.basis.shape[1] == 1


def test_shrinking_brings_noisy_points_nearer_to_the_truth(random):
    classes = torch.repeat_interleave(torch.arange(2), 50)
    truth = torch.randn(100, 2, generator=random) @ torch.randn(2, 20, generator=random) + 5 * classes[:, None]
    noise = torch.full((100,), 0.8)
    points = truth + noise[:, None] * torch.randn(100, 20, generator=random)
    shrunk = shrink_points(points, classes, noise)
    assert (shrunk - truth).square().mean() < 0.4 * (points - truth).square().mean()
    torch.testing.assert_close(shrink_points(points, classes, torch.zeros(100)), points, rtol=1e-3, atol=1e-3)


def test_covariances_are_those_of_the_classes_where_noise_is_small(random):
    true = [torch.diag(torch.tensor([4.0, 1.0, 0.0])), torch.diag(torch.tensor([0.0, 2.0, 1.0]))]
    moments = torch.stack([1000 * matrix for matrix in true])
    factors = covariance_factors(moments, torch.tensor([1000.0, 1000.0]), 0.5)
    for factor, matrix in zip(factors, true, strict=True):
        torch.testing.assert_close(factor @ factor.T, matrix, rtol=0.01, atol=0.01)


def test_pure_noise_gives_no_variation(random):
    noise = torch.stack([symmetric_noise(20, 100.0, random).float() for _ in range(3)])
    factors = covariance_factors(noise, torch.full((3,), 10.0), 100.0)
    assert float(factors.abs().max()) < 1e-3 or float((factors != 0).any(1).sum()) <= 3


def test_mixture_draws_points_by_mass_with_their_class_variation(random):
    mixture = Mixture(
        points=torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 50.0]]),
        classes=torch.tensor([0, 0, 1]),
        mass=torch.tensor([1.0, 3.0, 1.0]),
        factors=torch.stack([0.1 * torch.eye(2), torch.diag(torch.tensor([0.0, 2.0]))]),
        warp_factors=torch.zeros(2, 0, 0),
        texture=torch.zeros(2),
        class_weights=torch.tensor([0.5, 0.5]),
        tones=NO_CURVES,
    )
    labels = torch.tensor([0] * 4000 + [1] * 1000)
    drawn = mixture.draw(labels, random)
    assert float((drawn[:4000, 0] > 5).float().mean()) == pytest.approx(0.75, abs=0.03)
    assert float(drawn[:4000, 1].std()) == pytest.approx(0.1, rel=0.1)
    assert float(drawn[4000:, 0].abs().max()) == 0
    assert float(drawn[4000:, 1].std()) == pytest.approx(2, rel=0.1)
