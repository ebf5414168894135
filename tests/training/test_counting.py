"""Columns of numbers, counted on the budget: far values are found, and what was counted is not counted for nothing."""

import numpy as np
import pytest
import torch

from sinkgen.accounting import GaussianRelease
from sinkgen.data.facts import STEPS
from sinkgen.denoise.search import FAR, Mean, Numbers
from sinkgen.privacy.mechanism import GaussianMechanism
from sinkgen.records import ArraySource
from sinkgen.training.numbers import count_numbers
from sinkgen.training.stage import StateCounts

SEEDS = range(8)


def counted(values, noise, seed, bounds=None, kind="float"):
    """A column among others, whose counts have noise of a standard deviation of some records."""
    steps = STEPS["bins"]
    mechanism = GaussianMechanism([GaussianRelease("bins", noise, 1.0, steps)], noise_seed=seed)
    source = ArraySource(torch.from_numpy(np.asarray(values, dtype=float)[:, None]), torch.zeros(len(values)).long())
    known = Numbers.of(bounds, kind)
    return count_numbers([known], source, float(len(values)), mechanism, "bins", steps)[0]


@pytest.mark.parametrize("far", [15_024.0, -999.0])
@pytest.mark.parametrize("declared", [False, True])
def test_a_far_value_of_a_tenth_of_the_records_is_kept(far, declared):
    random = np.random.default_rng(0)
    values = np.where(random.random(2000) < 0.1, far, random.normal(50, 10, 2000))
    bounds = (min(values) - 1, max(values) + 1) if declared else None
    held = []
    for seed in SEEDS:
        cells = counted(values, 55.0, seed, bounds).cells
        held.append(cells.shares[(cells.edges[:-1] <= far) & (far < cells.edges[1:])].sum())
    assert np.mean(np.array(held) > 0.03) >= 0.75
    assert 0.05 < np.mean(held) < 0.15


def test_counts_are_those_of_the_cells_that_are_found():
    values = np.random.default_rng(0).normal(50, 10, 5000)
    found = counted(values, 0.0, 0)
    own = np.histogram(values, found.cells.edges)[0]
    assert found.values.tolist() == pytest.approx(own.tolist(), abs=1e-3)
    assert found.absent[0] == pytest.approx(0, abs=1e-3)


def test_means_of_several_counts_are_weighed_by_their_noise():
    mean = Mean(10.0, 1.0).with_one(20.0, 2.0)
    assert mean == pytest.approx((12.0, 0.8**0.5))
    assert mean.stands_out(FAR)
    assert not Mean(4.0, 1.0).stands_out(FAR)


def test_two_counts_of_the_same_states_are_one():
    known = StateCounts(torch.tensor([10.0, 0.0]).double(), torch.tensor([1.0, float("inf")]).double())
    values, variances = known.joined(torch.tensor([20.0, 5.0]).double(), 4.0)
    assert values.tolist() == pytest.approx([12.0, 5.0])
    assert variances.tolist() == pytest.approx([0.8, 4.0])


def test_noise_alone_shows_no_far_values():
    for seed in range(12):
        cells = counted(np.full(2000, 37.5), 80.0, seed).cells
        assert cells.edges[0] >= 0
        assert cells.edges[-1] <= 128


def test_many_that_surely_lie_beyond_the_cells_are_drawn():
    values = np.random.default_rng(0).exponential(size=2000)
    found = [counted(values, 170.0, seed) for seed in range(40)]
    assert all((np.diff(of.cells.edges) > 0).all() for of in found)
    assert max(of.outside for of in found) < 0.2  # as long as they were told of and not drawn, up to .45
