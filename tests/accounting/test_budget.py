import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sinkgen.accounting import compose
from sinkgen.accounting.budget import split_budget
from sinkgen.data.facts import Facts
from sinkgen.data.formats import numeric_format
from sinkgen.fitting import TRAINERS, plan_budget

SHARES = st.dictionaries(st.sampled_from("abcdef"), st.floats(0.001, 1.0), min_size=1)


@settings(deadline=None)
@given(st.floats(0.01, 20), st.floats(1e-9, 1e-3), SHARES, st.integers(1, 50))
def test_full_passes_use_the_budget_to_the_last_digit(epsilon, delta, shares, steps):
    rows = split_budget(epsilon, delta, shares, steps={min(shares): steps})
    assert epsilon * (1 - 1e-6) <= compose(rows, delta) <= epsilon
    squares = {row.what: row.steps / row.noise_multiplier**2 for row in rows}
    total = sum(shares.values())
    for what, share in shares.items():
        assert squares[what] / sum(squares.values()) == pytest.approx(share / total)


@pytest.mark.parametrize("epsilon", [0.2, 1.0, 10.0])
@pytest.mark.parametrize("accountant", ["auto", "rdp"])
def test_sampled_releases_use_what_is_left(epsilon, accountant):
    rows = split_budget(
        epsilon, 1e-5, {"count": 0.02, "main": 0.98}, steps={"main": 200}, sampled=("main", 0.01), accountant=accountant
    )
    assert [row.what for row in rows] == ["count", "main"]
    assert rows[1].sampling_rate == 0.01
    assert 0.98 * epsilon <= compose(rows, 1e-5, accountant) <= epsilon


def test_what_thresholds_take_of_delta_is_priced():
    rows = split_budget(1.0, 1e-5, {"labels": 0.1, "points": 0.9}, own_delta={"labels": 1e-6})
    assert 0.999 < compose(rows, 1e-5) <= 1.0
    assert compose(rows, 0.9e-6) == math.inf


def test_an_infinite_budget_is_no_noise():
    rows = split_budget(math.inf, 1e-5, {"a": 1, "b": 1}, sampled=("b", 0.1), steps={"b": 3})
    assert [row.noise_multiplier for row in rows] == [0.0, 0.0]


@pytest.mark.parametrize("mechanism", ["semidual", "batch"])
@pytest.mark.parametrize(
    "missing",
    [
        ("bounds", "count", "outside"),
        ("bounds", "labels", "count"),
        ("bounds", "labels", "count", "outside"),
        ("bounds", "count"),
    ],
)
def test_plans_hold_a_row_for_everything_that_is_missing(mechanism, missing):
    form = numeric_format(np.zeros((1, 4, 4)), schema=(0, 1) if "outside" in missing else None)
    facts = Facts(form, None, np.dtype(int) if "labels" in missing else None)
    assert set(facts.missing) == set(missing)
    plan = plan_budget(TRAINERS[mechanism], facts, {"steps": 5}, 1.0, 1e-5, "auto")
    rows = {row.what: row for row in plan.releases}
    assert set(missing) <= set(rows)
    assert rows["points" if mechanism == "semidual" else "gradients"].steps == 5
    assert rows.get("labels", rows[missing[-1]]).delta == pytest.approx(1e-6 if "labels" in missing else 0)
    assert 0.98 <= compose(plan.releases, 1e-5) <= 1.0
