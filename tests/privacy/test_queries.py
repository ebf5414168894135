"""Sensitivity by search: neighbouring data, with adversarial records, through the whole clipped statistic."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sinkgen._groups import class_slices, sort_by_class
from sinkgen.generators.space import Space
from sinkgen.generators.tilt import Features
from sinkgen.images.texture import Texture
from sinkgen.images.tones import Tones
from sinkgen.ot import MixedCost, entropic_cost, resolve_cost
from sinkgen.privacy.queries.moments import (
    CountQuery,
    FeatureQuery,
    GainQuery,
    MeanQuery,
    MomentQuery,
    NormQuery,
    RadiusQuery,
    ScaleQuery,
    ToneQuery,
)
from sinkgen.privacy.queries.transport import CrossGradientQuery, TransportQuery
from sinkgen.privacy.streams import Streams, new_key
from sinkgen.records import Draw, Records

D, N_CLASSES = 3, 2
EXTREME = st.sampled_from([0.0, 1e-30, -1e-30, 1.0, -1.0, 5.0, 1e6, -1e6, 1e18, -1e18, 3e38])
NUMBER = st.one_of(EXTREME, st.floats(-10, 10, width=32))
RECORD = st.tuples(st.lists(NUMBER, min_size=D, max_size=D), st.integers(-1, N_CLASSES - 1))
DATA = st.lists(RECORD, max_size=6)


def records(rows):
    values = torch.tensor([value for value, _ in rows], dtype=torch.float32).view(len(rows), D)
    return Records(values, torch.tensor([label for _, label in rows], dtype=torch.long))


def transport(cost, reg, spread=1.0):
    random = torch.Generator().manual_seed(0)
    points = spread * torch.randn(5, D, generator=random)
    potentials = torch.randn(5, generator=random)
    return TransportQuery(
        points, torch.tensor([0, 0, 0, 1, 1]), potentials, reg, resolve_cost(cost), clip=0.7, mass_clip=0.2
    )


def cross_gradient(cost, balanced=False, label_weight=1.0, microbatches=1, **options):
    points = torch.randn(4, D, generator=torch.Generator().manual_seed(1))
    settings_ = {"reg": 0.5, "cost": resolve_cost(cost), "backend": "torch"} | options
    return CrossGradientQuery(
        points, torch.tensor([0, 0, 1, 1]), N_CLASSES, label_weight, settings_, 0.3, balanced=balanced,
        microbatches=microbatches,
    )  # fmt: skip


def gains():
    space = Space(torch.full((D,), 0.5), torch.ones(D), torch.eye(D)[:, :1])
    return GainQuery(Texture((1, D)), space, torch.ones(D), 0.02)


def by_class(cost, microbatches=1):
    return cross_gradient(cost, label_weight=None, microbatches=microbatches, tol=None, max_iter=10)


SUMS = {
    "count": lambda: CountQuery(N_CLASSES),
    "norm": lambda: NormQuery(torch.zeros(D), 10.0),
    "radius": lambda: RadiusQuery(10.0, N_CLASSES, lambda r: 2 * r.records.values - 1),
    "scale": lambda: ScaleQuery(
        1.0, 8.0, 3, N_CLASSES, lambda r: ((10 * r.records.values[:, 0]).long() % 3, 2 * r.records.values - 1)
    ),
    "texture": gains,
    "features": lambda: FeatureQuery(Features(torch.eye(D)), N_CLASSES, lambda r: 2 * r.values - 1),
    "tones": lambda: ToneQuery(Tones((1, D))),
    "tones of colours": lambda: ToneQuery(Tones((1, D // 3, 3))),
    "mean": lambda: MeanQuery(torch.full((D,), 0.5), 2.0),
    "moment": lambda: MomentQuery(D, 1.5),
    "moment of classes": lambda: MomentQuery(D, 1.5, N_CLASSES, lambda r: 2 * r.records.values - 1),
    "transport, squared L2": lambda: transport("sqeuclidean", 0.5),
    "transport, tiny reg": lambda: transport("sqeuclidean", 1e-3),
    "transport, wide points": lambda: transport("sqeuclidean", 10.0, spread=100.0),
    "transport, L1": lambda: transport("l1", 0.5),
    "transport, mixed": lambda: transport(MixedCost(3.0), 0.5),
}
QUERIES = SUMS | {
    "cross gradient": lambda: cross_gradient("sqeuclidean"),
    "cross gradient, L1": lambda: cross_gradient("l1"),
    "cross gradient, balanced": lambda: cross_gradient("sqeuclidean", balanced=True),
    "cross gradient, few iterations": lambda: cross_gradient("sqeuclidean", balanced=True, tol=None, max_iter=3),
    "cross gradient, microbatches": lambda: cross_gradient("sqeuclidean", balanced=True, microbatches=3),
    "cross gradient of classes": lambda: by_class("sqeuclidean", 3),
    "cross gradient of classes, L1": lambda: by_class("l1", 2),
}


@pytest.mark.parametrize("name", QUERIES)
@settings(max_examples=60, deadline=None)
@given(DATA, RECORD)
def test_one_record_moves_the_value_by_at_most_the_sensitivity(name, data, extra):
    query = QUERIES[name]()
    without = query.evaluate([records(data)])
    with_it = query.evaluate([records([*data, extra])])
    assert with_it.shape == without.shape == (query.size,)
    assert torch.isfinite(with_it).all()
    assert torch.linalg.vector_norm(with_it - without) <= query.sensitivity * (1 + 1e-5)


@pytest.mark.parametrize("name", QUERIES)
def test_the_bound_is_not_far_from_what_a_record_can_reach(name):
    """Else the noise would be larger than needed; and a query that sees nothing would pass the test above."""
    query, best = QUERIES[name](), 0.0
    random = np.random.default_rng(0)
    for scale in (0.1, 1.0, 10.0, 1e4):
        for _ in range(30):
            rows = [((scale * random.normal(size=D)).tolist(), int(random.integers(N_CLASSES))) for _ in range(2)]
            one, other = (query.evaluate([records([row])]) for row in rows)
            alone = max(float(one.norm()), float(other.norm()))
            best = max(best, float((one - other).norm()) if name.startswith("cross") else alone)
    assert best > 0.9 * query.sensitivity


@pytest.mark.parametrize("name", SUMS)
def test_chunks_do_not_matter(name):
    rows = [(list(map(float, np.random.default_rng(i).normal(size=D))), i % 3 - 1) for i in range(9)]
    query = SUMS[name]()
    whole = query.evaluate([records(rows)])
    parts = query.evaluate([records(rows[:4]), records([]), records(rows[4:])])
    torch.testing.assert_close(whole, parts, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in SUMS if "transport" in name])
def test_blocks_do_not_matter(name, monkeypatch):
    random = np.random.default_rng(0)
    rows = [(random.normal(size=D).tolist(), int(random.integers(-1, 2))) for _ in range(40)]
    whole = SUMS[name]().evaluate([records(rows)])
    monkeypatch.setattr(TransportQuery, "LEAST_RECORDS", 1)
    monkeypatch.setattr(TransportQuery, "BLOCK_ENTRIES", 9)
    torch.testing.assert_close(SUMS[name]().evaluate([records(rows)]), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("extreme", [3e38, math.inf, math.nan])
def test_a_record_too_large_for_the_plan_sends_nothing(extreme):
    query = transport("sqeuclidean", 0.5)
    rows = [([0.5, -0.5, 0.2], 0), ([extreme, 0.0, 1.0], 0)]
    torch.testing.assert_close(query.evaluate([records(rows)]), query.evaluate([records(rows[:1])]), rtol=1e-6, atol=0)


def test_sorting_by_class_keeps_each_record_with_its_label():
    batch = records([([float(i)] * D, label) for i, label in enumerate([1, -1, 0, 1, 0])])
    sorted_batch = sort_by_class(batch)
    assert sorted_batch.labels.tolist() == [-1, 0, 0, 1, 1]
    assert sorted_batch.values[:, 0].tolist() == [1.0, 2.0, 4.0, 0.0, 3.0]
    assert sort_by_class(sorted_batch) is sorted_batch


@pytest.mark.parametrize("name", QUERIES)
def test_an_empty_batch_gives_zeros_of_the_public_size(name):
    query = QUERIES[name]()
    assert torch.equal(query.evaluate([]), torch.zeros(query.size, dtype=torch.float64))
    assert torch.equal(query.evaluate([records([])]), torch.zeros(query.size, dtype=torch.float64))


@pytest.mark.parametrize(
    "name", [name for name in QUERIES if "transport" in name or "cross" in name or "class" in name]
)
def test_records_of_no_class_contribute_nothing(name):
    query = QUERIES[name]()
    assert not query.evaluate([records([([1.0, 2.0, 3.0], -1)])]).any()


# --- what the values mean --------------------------------------------------------------------------------------------


def test_transport_is_mass_and_barycentric_displacement():
    query = transport("sqeuclidean", 0.5)
    query = TransportQuery(
        query.points, torch.zeros(5).long(), query.potentials, 0.5, query.cost, clip=1e6, mass_clip=1.0
    )
    y = torch.randn(7, D, generator=torch.Generator().manual_seed(2))
    mass, displacement = query.read(query.evaluate([Records(y, torch.zeros(7).long())]))
    plan = torch.softmax((query.potentials[:, None] - torch.cdist(query.points, y).square()) / 0.5, 0)
    expected = (plan[:, :, None] * (y[None] - query.points[:, None])).sum(1)
    torch.testing.assert_close(mass.float(), plan.sum(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(displacement.float(), expected, rtol=1e-4, atol=1e-4)
    assert mass.sum() == pytest.approx(7, rel=1e-5)


@pytest.mark.parametrize("n_classes", [1, 2])
def test_moments_are_read_as_symmetric_matrices(n_classes):
    query = MomentQuery(D, 100.0, n_classes)
    batch = records([([1.0, 2.0, 3.0], 0), ([0.0, -1.0, 2.0], n_classes - 1)])
    moments = query.read(query.evaluate([batch]))
    outer = [torch.outer(x, x).double() for x in batch.values]
    expected = torch.stack(outer) if n_classes == 2 else (outer[0] + outer[1])[None]
    torch.testing.assert_close(moments, expected, rtol=1e-5, atol=1e-6)


def test_noise_of_moments_is_smaller_off_the_diagonal_by_the_square_root_of_two():
    value = torch.randn(200 * 201 // 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matrix = MomentQuery(200, 1.0).read(value)[0]
    off = matrix[torch.triu(torch.ones(200, 200), 1).bool()]
    assert torch.equal(matrix, matrix.T)
    assert float(off.std()) == pytest.approx(math.sqrt(0.5), rel=0.05)
    assert float(matrix.diagonal().std()) == pytest.approx(1, rel=0.2)


@pytest.mark.parametrize("make", [by_class, lambda cost, parts: cross_gradient(cost, True, microbatches=parts)])
@settings(max_examples=60, deadline=None)
@given(DATA, RECORD)
def test_a_record_is_in_one_microbatch_and_changes_no_other(make, data, extra):
    """It comes last, so that those before it keep their coins."""
    query, draw = make("sqeuclidean", 4), Draw(0.5, Streams(new_key(0)).sampling("gradients", 0))
    without, with_it = (query.evaluate([records(rows)], draw) for rows in (data, [*data, extra]))
    assert torch.linalg.vector_norm(with_it - without) <= query.sensitivity * (1 + 1e-5)


@settings(max_examples=40, deadline=None)
@given(DATA, st.lists(RECORD, max_size=5), st.booleans())
def test_the_rows_of_a_person_are_in_one_microbatch_of_whatever_class(data, own, are_weighted):
    """What a person's rows weigh says nothing of how many classes they are of."""
    query, draw = by_class("sqeuclidean", 4), Draw(0.5, Streams(new_key(0)).sampling("gradients", 0), 2)

    def owned(rows, persons):
        weights = torch.tensor([1 / persons.count(person) if are_weighted else 1.0 for person in persons])
        numbers = torch.tensor(persons, dtype=torch.float64)
        groups = torch.stack(
            [numbers, weights.double(), torch.ones(len(rows)).double(), torch.ones(len(rows)).double()], 1
        )
        return records(rows).having(groups=groups)

    batches = owned(data, [0] * len(data)), owned([*data, *own], [0] * len(data) + [1] * len(own))
    without, with_it = (query.evaluate([batch], draw) for batch in batches)
    assert torch.linalg.vector_norm(with_it - without) <= query.reach(5) * (1 + 1e-5)


def test_the_problem_of_each_class_and_microbatch_is_solved_as_if_alone():
    """Whatever the others are, the farthest included, and however many: to far less than the margin."""
    points = torch.rand(6, D, generator=torch.Generator().manual_seed(0))
    transport = {"reg": 0.05, "cost": resolve_cost("sqeuclidean"), "tol": None, "max_iter": 20}
    query = CrossGradientQuery(points, torch.tensor([0, 0, 0, 1, 1, 1]), 2, None, transport, 1e9, microbatches=3)
    y, labels = torch.rand(5, D, generator=torch.Generator().manual_seed(1)), torch.zeros(5, dtype=torch.long)
    alone = query.gradient(Records(y, labels), torch.zeros(5, dtype=torch.long), 3)
    others = 10.0 ** torch.randint(-3, 9, (40, D), generator=torch.Generator().manual_seed(2))
    batch = Records(torch.cat([y, others]), torch.cat([labels, torch.arange(40) % 2]))
    parts = torch.cat([torch.zeros(5, dtype=torch.long), 1 + torch.arange(40) % 2])
    parts[5:][batch.labels[5:] == 1] = 0  # the same microbatch, another class; the same class, another microbatch
    gradients = [query.gradient(batch.take(parts == part), parts[parts == part], 3)[:3] for part in range(2)]
    whole = query.gradient(batch, parts, 3)[:3]
    assert torch.dist(gradients[0], alone[:3]) < 1e-12 * alone.norm()
    assert torch.dist(whole, sum(gradients)) < 1e-9 * whole.norm()


def test_the_gradient_of_classes_is_the_sum_of_the_problems_gradients():
    random = torch.Generator().manual_seed(0)
    points, classes = torch.rand(9, D, generator=random), torch.tensor([0, 1, 0, 1, 0, 1, 1, 1, 2])
    y, labels = torch.rand(30, D, generator=random), torch.randint(2, (30,), generator=random)
    parts = torch.randint(2, (30,), generator=random)
    transport = {"reg": 0.1, "cost": resolve_cost("sqeuclidean"), "tol": None, "max_iter": 200}
    query = CrossGradientQuery(points, classes, 3, None, transport, 1e9)
    expected = torch.zeros(9, D, dtype=torch.float64)
    for c in range(2):
        for part in range(2):
            x = points[classes == c].double().requires_grad_()
            loss = entropic_cost(x, y[(labels == c) & (parts == part)].double(), 0.1, tol=1e-9)
            expected[classes == c] += torch.autograd.grad(len(x) / 9 * loss, x)[0]
    torch.testing.assert_close(query.gradient(Records(y, labels), parts, 2), expected, rtol=1e-4, atol=1e-6)


def test_more_microbatches_say_more_at_the_same_sensitivity():
    rows = [([5.0, 5.0, 5.0], i % 2) for i in range(400)]
    draw = Draw(0.5, Streams(new_key(0)).sampling("gradients", 0))
    one, many = (by_class("sqeuclidean", parts).evaluate([records(rows)], draw).norm() for parts in (1, 20))
    assert float(one) == pytest.approx(math.sqrt(2) * 0.3, rel=1e-4)
    assert float(many) == pytest.approx(20 * float(one), rel=1e-4)


def test_cross_gradient_is_clipped_as_a_whole():
    query = cross_gradient("sqeuclidean")
    value = query.evaluate([records([([50.0, 50.0, 50.0], 0), ([-50.0, 0.0, 50.0], 1)])])
    assert float(value.norm()) == pytest.approx(0.3, rel=1e-4)
    assert query.read(value).shape == (4, D)


@pytest.mark.parametrize("radius", [0.5, 3.0, 9.0])
def test_median_norm_is_found_within_a_bin(radius):
    directions = torch.nn.functional.normalize(torch.randn(500, D, generator=torch.Generator().manual_seed(0)))
    query = NormQuery(torch.zeros(D), 10.0)
    found = query.read(query.evaluate([Records(radius * directions)]))
    assert radius / 1.2 <= found <= radius * 1.2


def test_radii_are_counted_by_class_and_what_is_not_finite_somewhere():
    query = RadiusQuery(1.0, 2, lambda r: r.records.values)
    values = torch.tensor([[0.9, 0.0], [5.0, 0.0], [0.7, 0.0], [0.0, 0.0], [torch.inf, 0.0], [torch.nan, 0.0]])
    counts = query.read(query.evaluate([Records(values, torch.tensor([0, 0, 1, 1, 1, -1]))]))
    assert counts[:, -1].tolist() == [2, 1]
    assert counts[1, -2] == counts[1, 0] == 1
    assert counts.sum() == 5


def test_class_slices_need_no_class_to_be_present():
    assert class_slices(torch.tensor([1, 1, 3])) == {1: slice(0, 2), 3: slice(2, 3)}
