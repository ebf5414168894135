"""Frequencies from noisy ones, of several columns together."""

import pytest
import torch

from sinkgen.denoise.frequencies import LIKELY, some_or_none


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
