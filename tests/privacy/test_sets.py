"""Sets that are learned, and pairs of many columns: what the tests of three columns and one set cannot tell apart."""

import math
from collections import Counter

import pytest
import torch

from sinkgen.accounting import GaussianRelease
from sinkgen.privacy.mechanism import GaussianMechanism
from sinkgen.privacy.queries.tables import PairQuery
from sinkgen.records import ArraySource, Records

N_SETS, SIGMA, DELTA, MEMBERS = 4, 3.0, 0.2, 20_000


def released(count):
    """What is kept of the first set, of members that occur so often each; the other sets are empty."""

    def read(records):
        return [Counter({f"member {i}": count for i in range(MEMBERS)}), *[Counter()] * (N_SETS - 1)]

    mechanism = GaussianMechanism([GaussianRelease("sets", SIGMA, delta=DELTA)])
    return mechanism.release_sets("sets", ArraySource(torch.zeros(1, 1)), read, N_SETS)[0]


def test_counts_of_sets_have_the_noise_of_all_sets_together():
    noise = released(1000).counts - 1000
    assert len(noise) == MEMBERS
    assert float(noise.std()) == pytest.approx(SIGMA * math.sqrt(N_SETS), rel=0.05)


def test_a_member_of_one_record_passes_with_its_sets_part_of_delta():
    assert len(released(1).labels) / MEMBERS == pytest.approx(DELTA / N_SETS, rel=0.15)


@pytest.mark.parametrize("n_columns", [2, 3, 5, 7])
def test_one_record_moves_pairs_by_the_square_root_of_their_number(n_columns):
    query = PairQuery([2] * n_columns)
    record = Records(torch.ones(1, n_columns, dtype=torch.long), torch.zeros(1, dtype=torch.long))
    moved = float((query.evaluate([record, record]) - query.evaluate([record])).norm())
    assert moved == pytest.approx(math.sqrt(math.comb(n_columns, 2)))
    assert moved <= query.sensitivity * (1 + 1e-12)
    assert query.sensitivity == pytest.approx(moved)
