"""Rounding stays within the stated bound, however many records there are, and whatever the products are made of."""

import threading

import pytest
import torch

from sinkgen.generators.tilt import Features
from sinkgen.ot import resolve_cost
from sinkgen.ot.rows import product, softmax, whole
from sinkgen.privacy.queries.moments import FeatureQuery, MeanQuery, MomentQuery
from sinkgen.privacy.queries.tables import JointQuery, MarginalQuery, PairQuery, ServiceQuery
from sinkgen.privacy.queries.transport import TransportQuery
from sinkgen.privacy.query import SumQuery, full_precision
from sinkgen.records import CHUNK, Records

N_CHUNKS = 2**23 // CHUNK


def numbers(random, period):
    return 2 * torch.rand(period, 8, generator=random) - 1


def cells(random, period):
    return torch.randint(3, (period, 8), generator=random)


def transport(random, n_points=6):
    points, potentials = torch.rand(n_points, 8, generator=random), 0.1 * torch.randn(n_points, generator=random)
    cost = resolve_cost("sqeuclidean")
    classes = torch.zeros(n_points, dtype=torch.long)
    return TransportQuery(points, classes, potentials, reg=0.3, clip=0.5, mass_clip=0.1, cost=cost)


def service(random):
    return ServiceQuery(torch.rand(5, 1, generator=random), torch.rand(5, 24, generator=random), [3] * 8)


QUERIES = {
    "mean": (numbers, lambda random: MeanQuery(torch.zeros(8), 0.7)),
    "moments": (numbers, lambda random: MomentQuery(8, 0.7)),
    "transport": (numbers, transport),
    "transport to one point": (numbers, lambda random: transport(random, 1)),
    "features": (
        numbers,
        lambda random: FeatureQuery(Features(torch.randn(8, 16, generator=random)), 1, lambda records: records.values),
    ),
    "service": (cells, service),
    "both": (cells, lambda random: JointQuery([MarginalQuery([3] * 8), PairQuery([3] * 8)], [0.3, 0.7])),
}


def moved(query, rows):
    """How far one row in front moves the value, of 2^23 records that are these rows of a chunk again and again.

    All chunks but the first two and the last then hold the same: their sums, which are multiples of one number, count
    as often as there are chunks.
    """
    labels = torch.zeros(len(rows), dtype=torch.long)

    def value(rows):
        return query.evaluate([Records(rows, labels[: len(rows)])])

    before = N_CHUNKS * value(rows)
    shifted = torch.cat([rows[-1:], rows[:-1]])
    after = N_CHUNKS * value(shifted) + value(rows[-1:])
    return float((after - before).norm())


@pytest.mark.parametrize("period", [2, 3, 7, 8, 64, CHUNK])
@pytest.mark.parametrize("name", QUERIES)
def test_a_row_in_front_of_eight_million_moves_a_sum_by_no_more_than_stated(name, period):
    make_rows, make_query = QUERIES[name]
    for turn in range(4):
        random = torch.Generator().manual_seed(turn)
        query, part = make_query(random), make_rows(random, period)
        rows = part.repeat(-(-CHUNK // period), 1)[:CHUNK].contiguous()
        assert moved(query, rows) <= query.sensitivity


def test_contributions_are_whole_or_summed_in_double_precision():
    random = torch.Generator().manual_seed(0)
    for make_rows, make_query in QUERIES.values():
        records = Records(make_rows(random, 50), torch.zeros(50, dtype=torch.long))
        assert make_query(random).contribution(records).dtype in (torch.float64, torch.long)


# --- Each row as if it were alone -------------------------------------------------------------------------------------

SIZES = [1, 2, 3, 5, 15, 16, 17, 33, 100, 819, 820, 1024, 2047]


def of_rows(function, rows):
    """What a function makes of many rows, and of some of them, at other places and in smaller blocks."""
    whole = function(rows)
    for n in SIZES:
        for start in (0, 1, 7, 16, 37):
            yield function(rows[start : start + n]), whole[start : start + n]
    yield function(rows.roll(1, 0)), whole.roll(1, 0)


@pytest.mark.parametrize("dim", [1, 2, 8, 20, 64, 120, 784])
@pytest.mark.parametrize("width", [1, 2, 3, 7, 10, 16, 17, 50])
def test_a_row_is_rounded_the_same_in_any_block_at_any_place(dim, width):
    random = torch.Generator().manual_seed(dim + width)
    rows, matrix = torch.randn(2112, dim, generator=random), torch.randn(dim, width, generator=random)
    potentials, cost = torch.randn(width, generator=random), resolve_cost("sqeuclidean")

    def plan(block):
        return softmax(potentials - cost.matrix(whole(block), matrix.T.contiguous()))[: len(block)]

    for function in (lambda block: product(block, matrix), plan):
        for part, same in of_rows(function, rows):
            assert torch.equal(part, same)


def test_products_take_any_number_of_rows():
    matrix = torch.rand(3, 2)
    assert product(torch.ones(0, 3), matrix).shape == (0, 2)
    torch.testing.assert_close(product(torch.ones(5, 3), matrix), torch.ones(5, 3) @ matrix)
    torch.testing.assert_close(softmax(torch.eye(16)), torch.softmax(torch.eye(16), 1))


@pytest.mark.parametrize("n_points", [1, 7, 40])
def test_records_are_served_the_same_whoever_stands_in_front(n_points):
    """The sums of a chunk, of a row alone at a time, are those of the rows moved by one place, to the last bit."""
    random = torch.Generator().manual_seed(n_points)
    query, rows = transport(random, n_points), 2 * torch.rand(999, 8, generator=random) - 1

    def served(block):
        labels = torch.zeros(len(block), dtype=torch.long)
        return query.contribution(Records(block, labels))

    alone = torch.stack([served(row[None]) for row in rows[:40]])
    for n in (2, 17, 999):
        block = torch.cat([rows[-n + 1 :], rows[:1]])  # the first row, at the last place of a block
        others = served(block[:-1])
        torch.testing.assert_close(served(block) - others, alone[0], rtol=0, atol=1e-12)


# --- Products of shorter numbers -------------------------------------------------------------------------------------


class Seen(SumQuery):
    """Tells of the precision that products have while a contribution is computed."""

    size, sensitivity = 1, 1.0

    def contribution(self, records):
        self.seen = torch.get_float32_matmul_precision(), precisions()
        return torch.zeros(1)


def precisions():
    places = (torch.backends.cuda.matmul, getattr(torch.backends.mkldnn, "matmul", None))
    return [getattr(place, "fp32_precision", None) for place in places]


@pytest.mark.parametrize("wanted", ["high", "medium", "highest"])
def test_a_scripts_precision_does_not_reach_contributions_and_is_left_as_it_was(wanted):
    former, query = torch.get_float32_matmul_precision(), Seen()
    torch.set_float32_matmul_precision(wanted)
    try:
        before = precisions()
        query.evaluate([Records(torch.zeros(2, 1), torch.zeros(2))])
        assert (torch.get_float32_matmul_precision(), precisions()) == (wanted, before)
        assert not {"tf32", "bf16"} & set(query.seen[1])
        assert query.seen[1][0] is not None or query.seen[0] == "highest"
    finally:
        torch.set_float32_matmul_precision(former)


def test_the_last_of_several_threads_gives_the_precision_back():
    former = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        before, inside, leave = precisions(), threading.Event(), threading.Event()

        def stay():
            with full_precision():
                inside.set()
                leave.wait(10)

        thread = threading.Thread(target=stay)
        thread.start()
        inside.wait(10)
        with full_precision():
            pass
        held = precisions()
        leave.set()
        thread.join()
        assert "tf32" not in held
        assert precisions() == before
    finally:
        torch.set_float32_matmul_precision(former)
