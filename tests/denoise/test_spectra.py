"""Directions that are expected: kept where noise hides the records, given up where these differ."""

import math

import torch

from sinkgen.denoise.spectra import Directions, exact_directions, updated_directions


def noise(d, scale, seed):
    square = torch.randn(d, d, generator=torch.Generator().manual_seed(seed)) * scale
    return (square + square.T) / 2


def expected(d=20, k=8):
    variances = 0.5 ** torch.arange(k)
    return Directions(torch.eye(d)[:, :k], variances, variances)


def test_exact_directions_are_those_of_the_covariance():
    random = torch.Generator().manual_seed(0)
    rows = torch.randn(500, 12, generator=random) * 0.7 ** torch.arange(12) + 3.0
    found = exact_directions(rows, 4, random)
    values, vectors = torch.linalg.eigh(torch.cov(rows.T, correction=0))
    torch.testing.assert_close(found.variances, values.flip(0)[:4], rtol=1e-3, atol=0)
    torch.testing.assert_close((found.basis.T @ vectors.flip(1)[:, :4]).abs(), torch.eye(4), rtol=0, atol=0.05)


def test_there_are_no_more_directions_than_records_or_numbers():
    random = torch.Generator().manual_seed(0)
    assert exact_directions(torch.randn(3, 12, generator=random), 8, random).basis.shape == (12, 3)


def test_where_noise_hides_the_records_the_expected_directions_stay():
    prior = expected()
    true = prior.basis @ prior.variances.diag() @ prior.basis.T
    found = updated_directions(true + noise(20, 0.5, 1), 0.5, prior, share=1.0, most=8)
    torch.testing.assert_close(found.basis.abs(), prior.basis, rtol=0, atol=1e-4)


def test_directions_that_differ_are_turned_where_they_stand_out():
    prior = expected()
    along = torch.zeros(20)
    along[:2] = math.sqrt(0.5)
    true = 3.0 * torch.outer(along, along) + 0.1 * prior.basis @ prior.variances.diag() @ prior.basis.T
    found = updated_directions(true + noise(20, 0.05, 2), 0.05, prior, share=1.0, most=3)
    assert float((found.basis[:, 0] @ along).abs()) > 0.99
    assert abs(float(found.variances[0]) - 3.1) < 0.2


def test_what_is_expected_is_made_as_large_as_the_records():
    prior = expected()
    true = 0.01 * prior.basis @ prior.variances.diag() @ prior.basis.T
    found = updated_directions(true, 1e-4, prior, share=1.0, most=8)
    torch.testing.assert_close(found.variances, 0.01 * prior.variances, rtol=0.05, atol=1e-5)


def test_directions_that_hold_next_to_nothing_are_left_out():
    prior = expected()
    true = prior.basis @ prior.variances.diag() @ prior.basis.T
    for share, d in ((0.7, 2), (0.9, 4)):  # of variances that halve
        assert updated_directions(true, 1e-4, prior, share=share, most=8).basis.shape == (20, d)
