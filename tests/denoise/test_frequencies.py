"""Frequencies from noisy ones, of several columns together."""

import pytest
import torch

from sinkgen.denoise.frequencies import LIKELY, UNLIKELY, some_or_none, stepped_frequencies


def found(true, noise, seed):
    random = torch.Generator().manual_seed(seed)
    noisy = true + noise * torch.randn(len(true), generator=random, dtype=torch.float64)
    chances, numbers = some_or_none(noisy, torch.full((len(true),), noise))
    return torch.where(chances > LIKELY, numbers, 0.0)


def test_many_columns_of_the_same_share_tell_it_together():
    true = torch.full((14,), 0.12).double()
    estimates = torch.stack([found(true, 0.035, seed) for seed in range(20)])
    assert ((estimates > 0.08) & (estimates < 0.16)).double().mean() > 0.9


def test_of_nothing_there_is_nothing():
    estimates = torch.stack([found(torch.zeros(14).double(), 0.035, seed) for seed in range(20)])
    assert (estimates > 0).double().mean() < 0.03


def test_what_surely_is_there_is_not_shrunk():
    true = torch.tensor([0.5, 0.3, 0.02, 0.0, 0.0, 0.0]).double()
    estimates = torch.stack([found(true, 0.003, seed) for seed in range(20)]).mean(0)
    torch.testing.assert_close(estimates, true, atol=0.003, rtol=0)


@pytest.mark.parametrize(("number", "is_there"), [(1.0, False), (3.0, True), (-40.0, False), (1e6, True)])
def test_one_column_has_to_stand_out_by_itself(number, is_there):
    chances, numbers = some_or_none(torch.tensor([number]), torch.ones(1))
    assert (chances > LIKELY).item() == is_there
    if is_there:
        assert numbers.item() == pytest.approx(number)


def test_known_without_noise_it_is_what_it_is():
    chances, numbers = some_or_none(torch.tensor([0.0, 5.0]), torch.zeros(2))
    assert (chances > LIKELY).tolist() == [False, True]
    assert numbers[1] == 5


def test_columns_that_are_looked_at_again_do_not_speak_for_all():
    # Of thirty columns of which nothing is there, those few that noise lifted are counted once more.
    random, false = torch.Generator().manual_seed(0), 0
    for _ in range(200):
        first, second = torch.randn(2, 30, generator=random, dtype=torch.float64)
        kept = some_or_none(first, torch.ones(30))[0] > UNLIKELY
        if kept.any():
            both = (first + second)[kept] / 2**0.5
            chances, _ = some_or_none(both, torch.ones(len(both)), int((~kept).sum()))
            false += bool((chances > LIKELY).any())
    assert false <= 12


def test_what_is_rare_and_spread_keeps_its_share_beside_a_peak():
    # 85 % of the pixels are of one brightness, which draws have blurred; the others are as bright as anything.
    prior = torch.full((128,), 0.15 / 100, dtype=torch.float64)
    prior[:28] = 0.0
    true, prior[5:15] = prior.clone(), 0.085
    true[10], noise, shares = 0.85, 0.008, []
    for seed in range(10):
        random = torch.Generator().manual_seed(seed)
        noisy = true + noise * torch.randn(128, generator=random, dtype=torch.float64)
        found = stepped_frequencies(noisy, prior, noise)
        assert found.min() >= 0
        assert float(found.sum()) == pytest.approx(1)
        assert float(found[10]) == pytest.approx(0.85, abs=0.05)
        shares.append(float(found[28:].sum()))
    assert shares == pytest.approx([0.15] * 10, abs=0.01)
