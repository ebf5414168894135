"""What is asked of whole persons: one person more, with adversarial rows, moves no value by more than is stated."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sinkgen.accounting import GaussianRelease
from sinkgen.accounting.unit import Unit
from sinkgen.privacy.groups import Secret, bound
from sinkgen.privacy.mechanism import GaussianMechanism
from sinkgen.privacy.queries.people import FIRST, AcrossQuery, ChangesQuery, ResidualsQuery, ScoresQuery
from sinkgen.privacy.sealed import seal
from sinkgen.privacy.streams import Streams, new_key
from sinkgen.records import ArraySource, ChunkedSource, Records

WIDTHS, N_CLASSES = (3, 2), 2
SCORES = [(0, torch.tensor([-1.0, 0.1, 1.0])), (1, torch.tensor([1.0, -1.0]))]
QUERIES = {
    "changes": lambda: ChangesQuery(2),
    "across": lambda: AcrossQuery([(0, torch.tensor([0, 1, 1])), (1, torch.tensor([1, 0])), (2, torch.arange(2))]),
    "across one column": lambda: AcrossQuery([(0, torch.arange(3))]),
    "scores": lambda: ScoresQuery(SCORES, 1.2),
    "residuals": lambda: ResidualsQuery(SCORES, [0.05, 0.25], 2.0),
}
ROW = st.tuples(st.integers(-1, 2), st.integers(-1, 1), st.integers(-1, 1))


def owned(rows, ids):
    rows = torch.tensor(rows, dtype=torch.long).view(len(rows), 3)
    return Records(rows[:, :2], rows[:, 2], np.array(ids, dtype=np.int64)).numbered(0)


def value(query, records, read=None):
    source = ArraySource(*records) if read is None else ChunkedSource(read)
    secret = Secret(*Streams(new_key(0)).persons())
    return query.over(bound(source, Unit.of_groups(None), secret)[0].map(lambda records: records), None)


@pytest.mark.parametrize("name", QUERIES)
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(ROW, st.integers(0, 3)), max_size=9), st.lists(ROW, min_size=1, max_size=8), st.booleans())
def test_one_person_moves_the_value_by_at_most_the_sensitivity(name, others, own, are_equal):
    query, own = QUERIES[name](), own[:1] * len(own) if are_equal else own
    rows, ids = [row for row, _ in others], [i for _, i in others]
    without = value(query, owned(rows, ids)) if rows else torch.zeros(query.size, dtype=torch.float64)
    with_it = value(query, owned([*rows, *own], [*ids, *[9] * len(own)]))
    assert with_it.shape == (query.size,)
    for max_rows in (1, 5):
        assert (with_it - without).norm() <= query.reach(max_rows) * (1 + 1e-5)


@pytest.mark.parametrize("name", QUERIES)
def test_a_person_can_reach_what_is_stated(name):
    """Else the noise would be larger than needed; and a query that sees nothing would pass the test above."""
    query, best = QUERIES[name](), 0.0
    random = np.random.default_rng(0)
    for m in (2, 2, 2, 3, 40):
        for _ in range(40):
            rows = random.integers(0, (3, 2, 2), (m, 3))
            for own in (rows, np.repeat(rows[:1], m, 0)):
                best = max(best, float(value(query, owned(own.tolist(), [1] * m)).norm()))
    assert best > 0.9 * query.sensitivity


def test_who_has_one_row_adds_nothing():
    for make in QUERIES.values():
        assert not value(make(), owned([[1, 1, 1], [2, 0, 0]], [3, 4])).any()


@pytest.mark.parametrize("name", QUERIES)
def test_how_rows_come_does_not_matter(name):
    random = np.random.default_rng(0)
    records = owned(random.integers(-1, (3, 2, 2), (500, 3)).tolist(), random.integers(0, 60, 500))
    shuffled = records.take(random.permutation(500))

    def read():
        return (shuffled.having(places=None).take(slice(i, i + 77)) for i in range(0, 500, 77))

    assert torch.equal(value(QUERIES[name](), records), value(QUERIES[name](), shuffled, read))


def test_who_else_is_summed_with_a_person_does_not_change_what_it_adds():
    """To the last bit: persons of as many rows are clipped and summed together."""
    random = np.random.default_rng(1)
    others = random.integers(-1, (3, 2, 2), (300, 3)).tolist()
    ids = np.repeat(np.arange(100), 3)
    for name in ("scores", "residuals"):
        query = QUERIES[name]()
        rows = torch.tensor(others).view(100, 3, 3)[:, :, :2]
        whole = query.contribution(rows, None)
        parts = [query.contribution(rows[i : i + n], None) for i, n in ((0, 1), (1, 30), (31, 69))]
        assert torch.equal(whole, sum(parts))
        assert (value(query, owned(others, ids)) - whole).norm() < 1e-4 * whole.norm()


def test_values_are_what_they_are_called():
    rows = [[0, 0, 0], [0, 1, 0], [2, 1, 0], [1, 1, 1], [1, 1, 1]]
    records = owned(rows, [1, 1, 1, 2, 2])
    read = {name: (query := make()).read(value(query, records)) for name, make in QUERIES.items()}
    torch.testing.assert_close(read["changes"], torch.tensor([1.0, 1, 0]).double(), atol=1e-4, rtol=0)
    # The first has 0, 0, 2: of six ordered pairs two are (0, 0), and two each (0, 2) and (2, 0); the second 1 and 1.
    pairs = torch.tensor([[2.0, 0, 2], [0, 6, 0], [2, 0, 0]]).double() / 6
    torch.testing.assert_close(read["across one column"], pairs, atol=1e-4, rtol=0)
    scores = torch.stack([SCORES[0][1][[0, 0, 2]], SCORES[1][1][[0, 1, 1]]], 1).double()
    mean, same = scores.mean(0), torch.tensor([round(0.1 * 1024) / 1024, -1.0]).double()
    upper, bound = torch.ones(2, 2).triu().bool(), QUERIES["scores"]().sensitivity
    first, products = 0.0, 0.0
    for of in (mean, same):
        factor = min(1.0, bound / float(torch.cat([FIRST * of, torch.outer(of, of)[upper]]).norm()))
        first, products = first + factor * of, products + factor * torch.outer(of, of)
    assert factor < 1  # the second is beyond the bound
    torch.testing.assert_close(read["scores"][0], first, atol=1e-4, rtol=0)
    torch.testing.assert_close(read["scores"][1], products, atol=1e-4, rtol=0)
    query = QUERIES["residuals"]()
    bounds = torch.outer(query.bounds, query.bounds)
    rest = (scores - mean).clamp(-query.bounds, query.bounds)
    rest = rest.T @ rest / 3
    factor = min(1.0, query.sensitivity / float((rest / bounds)[upper].norm()))
    assert factor < 1
    torch.testing.assert_close(read["residuals"], factor * rest, atol=3e-3, rtol=0)


def test_the_noise_is_that_of_one_person():
    query = QUERIES["across"]()
    noisy = GaussianMechanism([GaussianRelease("across", 3.0, steps=400)], unit=Unit.of_groups(None), noise_seed=0)
    query.read = lambda value: value
    source = noisy.bound(seal(ArraySource(*owned([[0, 0, 0]], [1])))).map(lambda records: records)
    drawn = torch.stack([noisy.release("across", query, source) for _ in range(400)])
    assert abs(float(drawn.std()) / (3.0 * 6**0.5) - 1) < 0.03
