"""Post-processing: the coordinates, the mixture, and what the noise's known scale mends."""

import math

import pytest
import torch

from sinkgen.denoise.spectra import covariance_factors, principal_directions, shape_factors, shrink_points
from sinkgen.generators.particles import PointMixture
from sinkgen.generators.space import Space
from sinkgen.images.pixels import cosine_basis


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


def test_what_noise_hides_of_a_covariance_has_the_shape_of_the_prior(random):
    true = torch.diag(torch.tensor([4.0, 0.2, 0.2, 0.05, 0.05]))
    moments = 1000 * true[None] + symmetric_noise(5, 80.0, random).float()
    (factor,) = shape_factors(moments, torch.tensor([1000.0]), 80.0, torch.tensor([9.0, 4, 4, 1, 1]).double())
    found = factor @ factor.T
    assert float(found.trace()) == pytest.approx(float(moments[0].trace()) / 1000, rel=0.1)
    assert float(found[0, 0]) == pytest.approx(4, rel=0.1)
    assert float(found[1, 1] + found[2, 2]) == pytest.approx(4 * float(found[3, 3] + found[4, 4]), rel=0.3)
    exact = shape_factors(1000 * true[None], torch.tensor([1000.0]), 1e-6, torch.ones(5).double())[0]
    torch.testing.assert_close(exact @ exact.T, true, rtol=0.01, atol=0.01)


def test_mixture_draws_offsets_of_the_released_lengths(random):
    mixture = PointMixture(
        points=torch.zeros(1, 2), classes=torch.tensor([0]), mass=torch.ones(1), factors=torch.eye(2)[None],
        radii=torch.linspace(1, 3, 65)[None], warp_factors=torch.zeros(1, 0, 0), texture=torch.zeros(2),
        class_weights=torch.ones(1),
    )  # fmt: skip
    lengths = mixture.draw(torch.zeros(4000, dtype=torch.long), random).norm(dim=1)
    assert float(lengths.min()) > 0.99
    assert float(lengths.max()) < 3.01
    assert float(lengths.mean()) == pytest.approx(2, abs=0.05)
    assert float(lengths.std()) == pytest.approx(2 / 12**0.5, abs=0.03)


def test_mixture_draws_points_by_mass_with_their_class_variation(random):
    mixture = PointMixture(
        points=torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 50.0]]),
        classes=torch.tensor([0, 0, 1]),
        mass=torch.tensor([1.0, 3.0, 1.0]),
        factors=torch.stack([0.1 * torch.eye(2), torch.diag(torch.tensor([0.0, 2.0]))]),
        radii=torch.zeros(2, 0),
        warp_factors=torch.zeros(2, 0, 0),
        texture=torch.zeros(2),
        class_weights=torch.tensor([0.5, 0.5]),
    )
    labels = torch.tensor([0] * 4000 + [1] * 1000)
    drawn = mixture.draw(labels, random)
    assert float((drawn[:4000, 0] > 5).float().mean()) == pytest.approx(0.75, abs=0.03)
    assert float(drawn[:4000, 1].std()) == pytest.approx(0.1, rel=0.1)
    assert float(drawn[4000:, 0].abs().max()) == 0
    assert float(drawn[4000:, 1].std()) == pytest.approx(2, rel=0.1)
