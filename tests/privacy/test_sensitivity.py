"""Sensitivity by search, end to end: neighbouring raw data through all that a fit does with them before the noise.

A fit is run once, and every query that it releases is kept, with the functions that its records went through: encoding,
projection, features. Then adversarial records are added to other data, and the queries asked again.
"""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sinkgen import DPSinkhornGenerator
from sinkgen.accounting.unit import Unit
from sinkgen.data.table import Rows
from sinkgen.ot import MixedCost
from sinkgen.privacy.groups import Secret, bound
from sinkgen.privacy.mechanism import GaussianMechanism
from sinkgen.privacy.sealed import unseal
from sinkgen.privacy.streams import Streams, new_key
from sinkgen.records import ArraySource, Records

EXTREME = st.sampled_from([0.0, -0.0, 1e-30, 5e-324, 4.0, -4.0, 1e18, -1e18, 1e300, -1e300, 1.7e308])
NUMBER = st.one_of(EXTREME, st.floats(-10, 10), st.floats(allow_nan=False, allow_infinity=False))
ROW = st.tuples(st.lists(NUMBER, min_size=4, max_size=4), st.sampled_from([0, 1, 7]))
CELLS = st.tuples(
    st.one_of(st.none(), NUMBER),
    st.sampled_from(["a", "b", "never seen", None]),
    st.booleans(),
    st.sampled_from([0, 7]),
)

FEATURES = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU()).requires_grad_(False)
COSTS = {"l2": "sqeuclidean", "l1": "l1", "l1+l2": "l1+l2", "mixed": MixedCost(3.0), "features": FEATURES}
FITS = {
    **{f"semidual, {name}": {"cost": cost, "steps": 3} for name, cost in COSTS.items()},
    **{f"batch, {name}": {"mechanism": "batch", "cost": cost, "steps": 3} for name, cost in COSTS.items()},
    "semidual, network": {"generator": "mlp", "steps": 3},
    "semidual, images": {"image_shape": (2, 2), "generator": "conv", "steps": 3},
    "batch, images": {"mechanism": "batch", "image_shape": (2, 2), "steps": 3},
    "semidual, learned bounds": {"schema": None, "steps": 3},
    "batch, learned bounds": {"mechanism": "batch", "schema": None, "steps": 3},
    "semidual, sampled": {"steps": 3, "sampling_rate": 0.5},
}


@pytest.fixture
def asked(monkeypatch):
    """All queries of a fit, by name, with what the records go through before."""
    queries, mapped, release = {}, ArraySource.map, GaussianMechanism.release

    def map_and_note(self, function):
        source = mapped(self, function)
        source.path = [*getattr(self, "path", ()), function]
        return source

    def release_and_note(self, what, query, source):
        queries.setdefault(what, []).append((query, getattr(unseal(source), "path", [])))
        return release(self, what, query, source)

    monkeypatch.setattr(ArraySource, "map", map_and_note)
    monkeypatch.setattr(GaussianMechanism, "release", release_and_note)
    monkeypatch.setattr("sinkgen.generators.distill.STEPS", 2)
    return queries


def value(query, path, records):
    """The query's value on raw records, if there are any."""
    if not len(records):
        return query.evaluate([])
    for function in path:
        records = function(records)
    return query.evaluate([records])


def assert_bounded(queries, without, with_it, max_rows=1):
    for what, uses in queries.items():
        for query, path in {0: uses[0], 1: uses[-1]}.values():
            difference = value(query, path, with_it) - value(query, path, without)
            assert torch.isfinite(difference).all(), what
            assert difference.norm() <= query.reach(max_rows) * (1 + 1e-5), what


def of_persons(records, n_others, unit):
    """The records, of which the first belong to persons of two rows each and the others to one, with their weights."""
    ids = np.r_[np.arange(n_others) // 2, np.full(len(records) - n_others, 99)].astype(np.int64)
    records = records.having(groups=ids).numbered(0)
    source, _ = bound(ArraySource(*records), unit, Secret(*Streams(new_key(0)).persons()))
    return source._bounding(records)


UNITS = {"two rows": Unit.of_groups(2), "shares": Unit.of_groups(None)}


def assert_persons_bounded(queries, make, others, own):
    """A person comes with all rows; last, so that what is drawn for the others' rows stays."""
    for unit in UNITS.values():
        pair = [of_persons(make(rows), len(others), unit) for rows in (others, [*others, *own])]
        assert_bounded(queries, *pair, unit.max_rows)


def raw(rows):
    return Records(np.array([row for row, _ in rows]).reshape(-1, 4), np.array([label for _, label in rows], dtype=int))


search = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("name", FITS)
def test_no_record_moves_what_a_fit_asks_by_more_than_its_sensitivity(name, asked):
    random = np.random.default_rng(0)
    X, y = np.clip(random.normal(size=(60, 4)), -4, 4), random.integers(0, 2, 60)
    DPSinkhornGenerator(20.0, **{"schema": (-4, 4), "classes": [0, 1], **FITS[name]}).fit(X, y)
    queries = dict(asked)
    assert ("points" if name.startswith("semidual") else "gradients") in queries

    @search
    @given(st.lists(ROW, max_size=4), ROW)
    def look(data, extra):
        assert_bounded(queries, raw(data), raw([*data, extra]))

    look()

    @search
    @given(st.lists(ROW, max_size=4), ROW, st.lists(ROW, max_size=3), st.integers(0, 3))
    def look_at_persons(data, extra, more, times):
        assert_persons_bounded(queries, raw, data, [extra, *more, *[extra] * times])

    look_at_persons()


def frame(rows):
    columns = list(zip(*rows, strict=True)) if rows else [()] * 4
    cells = {"amount": np.array(columns[0], dtype=float), "who": pd.Series(columns[1], dtype=object)}
    return Records(
        Rows(pd.DataFrame(cells | {"is": np.array(columns[2], dtype=bool)})), np.array(columns[3], dtype=int)
    )


@pytest.mark.parametrize("labelled", [True, False], ids=["labels", "no labels"])
@pytest.mark.parametrize("schema", [{"amount": (-4, 4)}, None], ids=["declared", "learned"])
def test_no_row_moves_what_a_table_is_asked_by_more_than_its_sensitivity(schema, labelled, asked):
    random = np.random.default_rng(0)
    rows = [(float(a), "ab"[i % 2], i % 3 == 0, i % 2) for i, a in enumerate(random.normal(size=300))]
    data = frame(rows)
    if labelled:
        DPSinkhornGenerator(50.0, schema=schema, classes=[0, 1]).fit(data.values.frame, data.labels)
    else:
        DPSinkhornGenerator(50.0, schema=schema).fit(data.values.frame)
    queries = dict(asked)
    assert ({"marginals", "refinements"} if labelled else {"columns", "distances", "pairs"}) <= set(queries)

    @search
    @given(st.lists(CELLS, max_size=4), CELLS)
    def look(data, extra):
        assert_bounded(queries, frame(data), frame([*data, extra]))

    look()

    @search
    @given(st.lists(CELLS, max_size=4), CELLS, st.lists(CELLS, max_size=3), st.integers(0, 3))
    def look_at_persons(data, extra, more, times):
        assert_persons_bounded(queries, frame, data, [extra, *more, *[extra] * times])

    look_at_persons()


@pytest.mark.parametrize("what", ["mean", "points"])
@pytest.mark.parametrize("spoil", [1.001, 2.0])
def test_the_search_finds_a_query_that_understates_its_sensitivity(what, spoil, asked):
    DPSinkhornGenerator(20.0, schema=(-4, 4), steps=3).fit(np.random.default_rng(0).normal(size=(60, 4)))
    query, path = asked[what][0]
    query.sensitivity /= spoil

    def look():
        for corner in np.array(np.meshgrid(*[[-4.0, 0.0, 4.0]] * 4)).reshape(4, -1).T:
            assert_bounded({what: [(query, path)]}, raw([]), raw([(corner, 0)]))

    with pytest.raises(AssertionError, match=what):
        look()
