"""Reports of single records: how much they tell of one, and what they tell together."""

import math

import numpy as np
import pandas as pd
import pytest

from sinkgen.exceptions import BadTypeError, BadValueError
from sinkgen.local import LocalRandomizer
from sinkgen.local.randomizer import REPORT, _hash, _Ways

SCHEMA = {"age": (18, 90), "town": ["A", "B", "C"]}


def people(n, seed=0):
    random = np.random.default_rng(seed)
    y = np.where(random.random(n) < 0.3, "yes", "no")
    age = np.where(y == "yes", random.integers(50, 91, n), random.integers(18, 70, n))
    return pd.DataFrame({"age": age, "town": random.choice(["A", "B", "C"], n, p=[0.6, 0.3, 0.1])}), y


@pytest.mark.parametrize(("n_states", "epsilon"), [(2, 0.1), (6, 1.0), (40, 0.5), (300, 3.0), (9, 4.0)])
def test_no_report_is_likelier_of_one_record_than_epsilon_allows(n_states, epsilon):
    ways = _Ways.of(n_states, epsilon)
    lie = (1 - ways.truth) / (ways.n_answers - 1)
    assert ways.truth / lie <= math.exp(epsilon) * (1 + 1e-12)
    # With the key held, an answer is likely by truth or lie alone; what has no state reports evenly, in between.
    assert lie <= 1 / ways.n_answers <= ways.truth


@pytest.mark.parametrize("epsilon", [0.3, 2.0])
def test_what_is_reported_is_as_likely_as_it_should_be(epsilon):
    frame = pd.DataFrame({"a": ["x"] * 40_000})
    randomizer = LocalRandomizer({"a": list("xyzuvw")}, [0, 1], epsilon)
    reports = randomizer.randomize(frame, np.zeros(40_000, dtype=int))
    ways = _Ways.of(12, epsilon)
    true = ways.values(np.zeros(40_000, dtype=np.int64), reports["key"])
    assert abs(np.mean(reports["answer"] == true) - ways.truth) < 5 * 0.5 / 200
    others = np.bincount((reports["answer"][reports["answer"] != true]), minlength=ways.n_answers)
    assert others[others > 0].min() > 0.7 * others[others > 0].mean()


def test_the_column_that_is_reported_does_not_depend_on_the_record():
    X, y = people(30_000)
    share = np.mean(LocalRandomizer(SCHEMA, ["no", "yes"], 3).randomize(X, y)["column"] == 0)
    assert abs(share - 0.5) < 5 * 0.5 / 30_000**0.5


@pytest.mark.parametrize("epsilon", [1.0, 4.0])
def test_counts_have_no_bias_and_the_error_that_is_told(epsilon):
    X, y = people(20_000)
    randomizer, found = LocalRandomizer(SCHEMA, ["no", "yes"], epsilon), []
    true = np.array([[np.sum((X["town"] == town) & (y == c)) for town in "ABC"] for c in ("no", "yes")])
    for _ in range(12):
        estimate = randomizer.estimate(randomizer.randomize(X, y), X[:1])
        found.append(estimate.marginals[1] - true)
    assert (np.abs(np.mean(found, 0)) < 5 * estimate.errors[1] * 2 / 12**0.5 + 0.02 * true).all()
    rare = np.std([part[1, 2] for part in found])
    assert 0.4 * estimate.errors[1] < rare < 2.5 * estimate.errors[1]
    assert abs(estimate.counts.sum() - 20_000) < 6 * max(estimate.errors) * 10


def test_samples_have_the_marginals_within_classes():
    X, y = people(60_000)
    randomizer = LocalRandomizer(SCHEMA, ["no", "yes"], 5)
    estimate = randomizer.estimate(randomizer.randomize(X, y), X[:1])
    drawn, labels = estimate.sample(5000, random_state=0)
    assert abs(np.mean(labels == "yes") - 0.3) < 0.03
    assert abs(drawn["age"][labels == "yes"].mean() - X["age"][y == "yes"].mean()) < 3
    assert abs((drawn["town"] == "A").mean() - 0.6) < 0.05
    assert abs(estimate.label_means[0][-1][1] - 1) < 0.1  # of the oldest, nearly all are "yes"


def test_what_has_no_state_or_class_reports_like_any():
    X = pd.DataFrame({"a": ["x"] * 20_000})
    reports = LocalRandomizer({"a": ["u", "v"]}, [0, 1], 3).randomize(X, np.zeros(20_000, dtype=int))
    assert np.abs(np.bincount(reports["answer"]) / 20_000 - 0.25).max() < 0.02
    reports = LocalRandomizer({"a": ["x", "v"]}, [0, 1], 3).randomize(X, np.full(20_000, 7))
    assert np.abs(np.bincount(reports["answer"]) / 20_000 - 0.25).max() < 0.02


def test_hashes_of_different_states_are_independent():
    keys = np.arange(20_000, dtype=np.uint32)
    one, other = _hash(np.int64(3), keys, 5), _hash(np.int64(4), keys, 5)
    assert abs(np.mean(one == other) - 0.2) < 0.02
    assert np.abs(np.bincount(one) / 20_000 - 0.2).max() < 0.02


def test_reports_differ_from_call_to_call():
    X, y = people(100)
    randomizer = LocalRandomizer(SCHEMA, ["no", "yes"], 1)
    assert (randomizer.randomize(X, y) != randomizer.randomize(X, y)).any()


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"epsilon": 0}, ValueError, "epsilon"),
        ({"epsilon": math.inf}, BadValueError, "finite"),
        ({"classes": ["no"]}, BadValueError, "two or more"),
        ({"bins": 1}, ValueError, "bins"),
        ({"schema": {"age": (18, 90)}}, BadValueError, "does not declare column 'town'"),
    ],
)
def test_bad_parameters_are_refused(settings, error, match):
    X, y = people(10)
    with pytest.raises(error, match=match):
        LocalRandomizer(**{"schema": SCHEMA, "classes": ["no", "yes"], "epsilon": 1.0} | settings).randomize(X, y)


def test_bad_records_and_reports_are_refused():
    X, y = people(10)
    randomizer = LocalRandomizer(SCHEMA, ["no", "yes"], 1)
    with pytest.raises(BadValueError, match="10 records, and y 9"):
        randomizer.randomize(X, y[:9])
    with pytest.raises(BadTypeError, match="data frame"):
        randomizer.randomize(X.to_numpy(), y)
    for reports in ([1, 2], np.zeros(0, dtype=REPORT)):
        with pytest.raises(BadTypeError, match="what randomize gives"):
            randomizer.estimate(reports, X)
