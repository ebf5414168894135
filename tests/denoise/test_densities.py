"""Frequencies of states: what is known stays, whatever noise others have."""

import pytest
import torch

from sinkgen.denoise.densities import drawn_frequencies, of_columns

SHARES = torch.tensor([0.05, 0.02, 0.025, 0.06, 0.32, 0.035, 0.05, 0.025, 0.025, 0.39], dtype=torch.float64)


@pytest.mark.parametrize("n_ordered", [0, 9])
@pytest.mark.parametrize("n_columns", [1, 5])
def test_a_state_without_noise_leaves_those_beside_it_alone(n_ordered, n_columns):
    """Missing cells, that were decided to be there, once made all categories beside them alike."""
    random = torch.Generator().manual_seed(0)
    noise = torch.full((10,), 50.0, dtype=torch.float64)
    noise[9] = 0.0
    counts = [20_000 * SHARES + noise * torch.randn(10, generator=random) for _ in range(n_columns)]
    gone = [torch.zeros(10, dtype=torch.bool)] * n_columns
    for found in of_columns(counts, [noise] * n_columns, [n_ordered] * n_columns, gone, 20_000.0):
        assert float((found - SHARES).abs().sum()) < 0.04
        assert float(found[9]) == pytest.approx(0.39, abs=0.01)


def test_without_noise_frequencies_are_those_of_the_counts():
    gone = [torch.arange(10) == 2]
    (found,) = of_columns([20_000 * SHARES], [torch.zeros(10).double()], [0], gone, 20_000.0)
    wanted = torch.where(gone[0], 0.0, SHARES)
    torch.testing.assert_close(found, wanted / wanted.sum())


@pytest.mark.parametrize("is_ordered", [True, False])
def test_draws_of_frequencies_hold_the_true_ones_as_often_as_they_should(is_ordered):
    random = torch.Generator().manual_seed(0)
    true = torch.softmax(-(torch.linspace(-2, 2, 9, dtype=torch.float64) ** 2) / 2, 0).expand(40, 9)
    if not is_ordered:
        true = torch.stack([of[torch.randperm(9, generator=random)] for of in true])
    noisy = true + 0.02 * torch.randn(true.shape, generator=random, dtype=torch.float64)
    noises = torch.full(true.shape, 0.02)
    draws = torch.stack([drawn_frequencies(noisy, noises, is_ordered, random) for _ in range(20)])
    rank = (draws < true).double().mean(0)
    assert 0.7 < ((rank >= 0.1) & (rank <= 0.9)).double().mean() < 0.92  # 17 of 21
    assert draws.std(0).mean() < 0.02
