"""Rules for several data sets: the variance is that of sampling and of privacy, and intervals hold."""

import traceback
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sinkgen import PoorFitWarning, inference


@settings(max_examples=20, deadline=None)
@given(st.floats(0.1, 3), st.integers(0, 50))
def test_intervals_of_noisy_sets_hold(noise, seed):
    """Means that have the sampling error once and the noise of each set: the truth is within 95 % intervals."""
    random = np.random.default_rng(seed)
    released = random.normal(size=2000) + noise * random.normal(size=2000)
    sets = released + noise * random.normal(size=(20, 2000))
    low, high = inference.combine(sets, np.ones((20, 2000))).interval()
    assert 0.93 < np.mean((low <= 0) & (high >= 0)) < 0.975


def test_several_estimates_at_once_are_each_alone():
    values, variances = np.random.default_rng(0).normal(size=(2, 5, 3)) ** 2
    both = inference.combine(values, variances)
    alone = [inference.combine(values[:, j], variances[:, j]) for j in range(3)]
    assert both.estimate == pytest.approx([of.estimate for of in alone])
    assert both.standard_error == pytest.approx([of.standard_error for of in alone])
    assert both.interval(0.9).high == pytest.approx([of.interval(0.9).high for of in alone])
    assert len(str(both).splitlines()) == 3


def test_equal_sets_have_no_noise_of_privacy():
    found = inference.combine([2.0, 2.0, 2.0], [0.25, 0.25, 0.25])
    assert found.privacy_share == 0
    assert found.standard_error == 0.5


@pytest.mark.parametrize(
    ("values", "variances"), [([1.0], [1.0]), ([1.0, 2.0], [1.0]), ([1.0, 2.0], [1.0, -1.0]), ([1.0, np.nan], [1, 1])]
)
def test_what_cannot_be_combined_is_refused(values, variances):
    with pytest.raises(ValueError, match="estimates"):
        inference.combine(values, variances)


def sets(m=4, n=400):
    random = np.random.default_rng(0)
    return [
        (pd.DataFrame({"x": random.normal(size=n), "g": random.choice(["a", "b"], n)}), random.integers(0, 2, n))
        for _ in range(m)
    ]


def test_estimates_are_those_of_each_set():
    data = sets()
    assert inference.mean(data, "x").estimate == pytest.approx(np.mean([X.x.mean() for X, _ in data]))
    assert inference.proportion(data, {"g": "a"}).estimate == pytest.approx(
        np.mean([(X.g == "a").mean() for X, _ in data])
    )
    both = inference.proportion(data, {"x": (0, 9), "label": 1}).estimate
    assert both == pytest.approx(np.mean([((X.x >= 0) & (y == 1)).mean() for X, y in data]))
    median = inference.quantile(data, "x")
    assert abs(median.estimate) < 0.1
    assert 0.03 < median.standard_error < 0.2  # 1.25 / sqrt(400), and what sets differ by


@pytest.mark.parametrize("wanted", ["A", ["a", "c"], 1])
def test_what_no_set_holds_is_no_share_of_nothing(wanted):
    with pytest.raises(ValueError, match=r"in none of the data sets .* occurs in column 'g'; these do, .*'a'"):
        inference.proportion(sets(), {"g": wanted})


def test_of_a_share_that_no_set_holds_the_interval_is_of_some_width():
    found = inference.proportion(sets(), {"x": (50, 60)})
    assert found.estimate == 0
    assert 1 / 400 < found.interval().high < 10 / 400
    every = inference.proportion(sets(), {"x": (-60, 60)})
    assert every.estimate == 1
    assert every.interval().low < 1 - 1 / 400


def test_regressions_are_those_of_the_users_library_and_warn():
    def fit(data):
        slope = np.cov(data.x, data.label)[0, 1] / data.x.var()
        return SimpleNamespace(params=pd.Series({"x": slope}), bse=pd.Series({"x": 0.025}))

    with pytest.warns(PoorFitWarning, match="may be too near 0"):
        found = inference.regression(sets(), fit)
    assert abs(found["x"].estimate) < 0.1
    assert found["x"].standard_error > 0.025
    with pytest.raises(TypeError, match="params and bse"):
        inference.regression(sets(), lambda data: None)


def test_columns_that_are_not_there_are_told():
    with pytest.raises(ValueError, match="column must be one of"):
        inference.mean(sets(), "age")
    with pytest.raises(TypeError, match="data frames"):
        inference.mean([np.zeros((3, 2))] * 2, "x")


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Oslo"])
def test_dates_are_seconds_whatever_their_unit_and_zone(unit, zone):
    days = pd.date_range("2024-01-01", periods=5, unit=unit, tz=zone)
    sets = [pd.DataFrame({"when": days}), pd.DataFrame({"when": days})]
    wanted = days[2].timestamp()
    assert float(inference.mean(sets, "when").estimate) == wanted
    assert float(inference.quantile(sets, "when").estimate) == wanted


@pytest.mark.parametrize("estimate", [inference.mean, inference.quantile])
def test_categories_have_no_mean(estimate):
    sets = [pd.DataFrame({"cat": ["secret", "b"]})] * 2
    with pytest.raises(TypeError, match=r"column 'cat' holds no numbers: ask for a proportion") as caught:
        estimate(sets, "cat")
    assert "secret" not in "".join(traceback.format_exception(caught.value))
