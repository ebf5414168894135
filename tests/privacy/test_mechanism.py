import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sinkgen.accounting import GaussianRelease
from sinkgen.privacy.ledger import PrivacyLedger
from sinkgen.privacy.mechanism import GaussianMechanism
from sinkgen.privacy.queries.moments import CountQuery, MeanQuery
from sinkgen.privacy.query import SumQuery, clip_factors
from sinkgen.records import ArraySource, Records


def empty(width=200):
    return ArraySource(torch.zeros(0, width), torch.zeros(0, dtype=torch.long))


def test_noise_on_an_empty_batch_is_normal_with_the_stated_deviation():
    """Chi-square for the scale, Kolmogorov-Smirnov for the shape; false alarm 1e-5 each."""
    sigma, clip = 1.7, 3.0
    mechanism = GaussianMechanism([GaussianRelease("mean", sigma, 0.5, 50)])
    query = MeanQuery(torch.zeros(200), clip)
    noise = torch.cat([mechanism.release("mean", query, empty()) for _ in range(50)]).numpy() / (sigma * clip)
    assert 1e-5 < stats.chi2.cdf((noise**2).sum(), len(noise)) < 1 - 1e-5
    assert stats.kstest(noise, "norm").pvalue > 1e-5
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 5 / np.sqrt(len(noise))


def test_nothing_is_released_that_was_not_charged():
    mechanism = GaussianMechanism([GaussianRelease("mean", 1.0, steps=2)])
    query = MeanQuery(torch.zeros(200), 1.0)
    for _ in range(2):
        mechanism.release("mean", query, empty())
    with pytest.raises(RuntimeError, match="all its steps are used"):
        mechanism.release("mean", query, empty())
    with pytest.raises(RuntimeError, match="'other' was not charged"):
        mechanism.release("other", query, empty())


def test_the_ledger_is_charged_with_every_row_before_the_first_release():
    ledger = PrivacyLedger()
    rows = (GaussianRelease("a", 2.0), GaussianRelease("b", 3.0, 0.1, 10))
    GaussianMechanism(rows, ledger=ledger)
    assert [entry.releases for entry in ledger] == [rows]


def test_two_rows_of_one_name_are_refused():
    with pytest.raises(ValueError, match="same name"):
        GaussianMechanism([GaussianRelease("a", 1.0), GaussianRelease("a", 1.0)])


def test_noise_differs_between_fits_whatever_the_global_seed():
    def noise():
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002
        mechanism = GaussianMechanism([GaussianRelease("mean", 1.0)])
        return mechanism.release("mean", MeanQuery(torch.zeros(5), 1.0), empty(5))

    assert not torch.equal(noise(), noise())


def test_noise_seed_repeats_the_noise_and_moves_no_global_stream():
    def noise():
        mechanism = GaussianMechanism([GaussianRelease("mean", 1.0)], noise_seed=3)
        return mechanism.release("mean", MeanQuery(torch.zeros(5), 1.0), empty(5))

    before, numpy_before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    assert torch.equal(noise(), noise())
    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


@given(
    st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=8),
    st.floats(1e-6, 1e6),
)
def test_clipped_vectors_are_within_the_bound(values, bound):
    vector = torch.tensor(values, dtype=torch.float32)
    clipped = vector * clip_factors(vector.norm()[None], bound)
    assert clipped.double().norm() <= bound
    if vector.norm() <= bound * 0.99:
        assert torch.equal(clipped, vector)


def test_vectors_that_are_not_finite_are_clipped_to_nothing():
    assert clip_factors(torch.tensor([torch.nan, torch.inf, 0.0]), 1.0).tolist() == [0.0, 0.0, 1.0]


# --- sums ------------------------------------------------------------------------------------------------------------


class Rows(SumQuery):
    """The sum of the records, as they are."""

    def __init__(self, size, sensitivity):
        self.size, self.sensitivity = size, sensitivity

    def contribution(self, records):
        return records.values.sum(0)


@given(st.integers(0, 2**20), st.floats(1e-6, 1e6), st.integers(2, 20))
def test_sums_of_chunks_do_not_depend_on_who_adds_them(seed, sensitivity, n_chunks):
    random = torch.Generator().manual_seed(seed)
    values = [sensitivity * torch.randn(100, 3, generator=random, dtype=torch.float64) for _ in range(n_chunks)]
    query, chunks = Rows(3, sensitivity), list(map(Records, values))
    whole, cut = query.evaluate(chunks), int(torch.randint(n_chunks, (), generator=random))
    assert torch.equal(query.evaluate(chunks[::-1]), whole)
    assert torch.equal(query.evaluate(chunks[cut:]) + query.evaluate(chunks[:cut]), whole)
    moved = (whole - torch.cat(values).sum(0)).norm()
    assert moved <= n_chunks * math.sqrt(3) * 2.0**-36 * sensitivity


@given(st.floats(1.0, 1e4), st.integers(1, 2**40))
def test_whole_counts_stay_whole(sensitivity, count):
    counts = torch.tensor([[count, 1.0]], dtype=torch.float64)
    assert torch.equal(Rows(2, sensitivity).evaluate([Records(counts)] * 3), 3 * counts[0])


# --- learned label sets ----------------------------------------------------------------------------------------------


def labels(*counts):
    y = np.repeat(np.arange(len(counts)), counts)
    return ArraySource(np.zeros((len(y), 1)), y)


def test_frequent_labels_are_learned_with_their_counts():
    mechanism = GaussianMechanism([GaussianRelease("labels", 4.0, delta=1e-6)])
    kept = mechanism.release_labels("labels", labels(500, 300, 1))
    assert kept.labels == [0, 1]
    assert (kept.counts - torch.tensor([500.0, 300.0])).abs().max() < 6 * 4.0


def test_a_label_of_one_record_passes_no_more_often_than_its_delta():
    """2,000 fits at delta 0.01; the binomial bound has false alarm 1e-5."""
    passed = 0
    for _ in range(2000):
        mechanism = GaussianMechanism([GaussianRelease("labels", 2.0, delta=0.01)])
        passed += 1 in mechanism.release_labels("labels", labels(50, 1)).labels
    assert 0 < passed < stats.binom.isf(1e-5, 2000, 0.01)


def test_counts_are_released_in_the_order_of_classes():
    mechanism = GaussianMechanism([GaussianRelease("count", 0.0)])
    source = ArraySource(torch.zeros(6, 1), torch.tensor([2, 0, 2, -1, 2, 0]))
    assert mechanism.release("count", CountQuery(3), source).tolist() == [2.0, 0.0, 3.0]
