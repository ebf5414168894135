"""Lengths of offsets: bins, quantiles from noisy counts, draws."""

import pytest
import torch

from sinkgen.denoise.radii import N_LENGTHS, fit_radii, radii_at, radius_bins


@pytest.fixture
def random():
    return torch.Generator().manual_seed(0)


def counted(lengths, largest=10.0):
    return torch.bincount(radius_bins(lengths, largest), minlength=N_LENGTHS).double()


def test_quantiles_are_those_of_each_class_where_noise_is_small(random):
    near, far = torch.rand(5000, generator=random) + 0.5, 3 * torch.rand(5000, generator=random) + 2
    counts = torch.stack([counted(near), counted(far)])
    radii = fit_radii(counts, torch.rand(500, generator=random), 10.0, 1e-3)
    for row, lengths in zip(radii, (near, far), strict=True):
        torch.testing.assert_close(row[16:49:16], lengths.quantile(torch.tensor([0.25, 0.5, 0.75])), rtol=0.1, atol=0)
        assert bool((row.diff() >= 0).all())


def test_noise_alone_gives_what_was_expected(random):
    expected = 1 + torch.rand(2000, generator=random)
    noise = 1000 * torch.randn(3, N_LENGTHS, generator=random, dtype=torch.float64)
    radii = fit_radii(noise + 10, expected, 10.0, 1000.0)
    want = expected.quantile(torch.tensor([0.25, 0.5, 0.75]))
    for row in radii:
        torch.testing.assert_close(row[16:49:16], want, rtol=0.1, atol=0)


def test_draws_have_the_quantiles(random):
    quantiles = torch.linspace(0, 1, 65).square()
    drawn = radii_at(quantiles.expand(2, -1), torch.ones(20000).long(), torch.rand(20000, generator=random))
    ranks = torch.tensor([0.1, 0.5, 0.9])
    torch.testing.assert_close(drawn.quantile(ranks), ranks.square(), rtol=0.05, atol=0.01)


def test_noise_in_far_bins_is_not_drawn(random):
    counts = torch.stack([counted(1 + torch.rand(5000, generator=random)) for _ in range(5)])
    noise = 60 * torch.randn(5, N_LENGTHS, generator=random, dtype=torch.float64)
    radii = fit_radii(counts + noise, torch.rand(500, generator=random), 10.0, 60.0)
    assert float(radii.max()) < 2.5
    assert float(radii.min()) > 0.5
