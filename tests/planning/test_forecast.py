"""Plans: of public facts alone, in the order that budgets have, and near what fits give."""

import numpy as np
import pandas as pd
import pytest

from sinkgen import Column, DPSinkhornGenerator, Schema, plan
from sinkgen.planning.forecast import Plan

SCHEMA = {"age": Column(edges=(0, 20, 40, 60, 90)), "sex": ["F", "M"], "region": list("abcde")}


def people(n=2000):
    random = np.random.default_rng(0)
    age = np.clip(90 * random.normal(0.4, 0.15, n), 0, 89.9)
    region = random.choice(list("abcde"), n, p=[0.5, 0.25, 0.125, 0.0625, 0.0625])
    return pd.DataFrame({"age": age, "sex": random.choice(["F", "M"], n), "region": region})


@pytest.mark.parametrize("classes", [None, ["no", "yes"]])
def test_more_budget_and_more_records_are_better(classes):
    small, large = (plan(SCHEMA, n, [0.3, 3, 1], classes=classes) for n in (1000, 20_000))
    assert [of.epsilon for of in small.forecasts] == [0.3, 1, 3]
    for made in (small, large):
        distances = [of.distance for of in made.forecasts]
        assert distances == sorted(distances, reverse=True)
        assert [of.category for of in made.forecasts] == sorted((of.category for of in made.forecasts), reverse=True)
    assert small.forecasts[1].distance > large.forecasts[1].distance
    assert (small.forecasts[0].label > 0) == (classes is not None)


@pytest.mark.filterwarnings("ignore:noise_seed")
def test_a_forecast_is_near_what_a_fit_gives():
    frame = people()
    made = plan(SCHEMA, len(frame), 1).forecasts[0]
    found = []
    for seed in range(3):
        release = DPSinkhornGenerator(1, schema=SCHEMA, random_state=seed, noise_seed=seed).fit(frame).release_
        for name in ("sex", "region"):
            drawn = release.generator.frequencies[list(frame.columns).index(name)].numpy()
            real = frame[name].value_counts(normalize=True).reindex(SCHEMA[name]).to_numpy()
            found.append(np.abs(drawn - real).sum() / 2)
    assert 0.4 < np.mean([made.distances[name] for name in ("sex", "region")]) / np.mean(found) < 2.5
    noise = release.marginal("region").privacy_errors.mean() * len(frame)
    assert 0.6 < made.category / (2 * noise) < 2.5  # columns that are independent get what pairs would have had


def test_a_wanted_distance_is_reached_where_it_is_said():
    made = plan(SCHEMA, 3000, 1, error=0.02)
    assert plan(SCHEMA, 3000, made.enough).forecasts[0].distance <= 0.02
    assert plan(SCHEMA, 3000, made.enough / 1.5).forecasts[0].distance > 0.02
    assert plan(SCHEMA, 10, 1, error=1e-4).enough == np.inf
    assert "is reached at" in str(made)


def test_what_is_not_declared_is_told():
    bare = plan(people().iloc[:0], 3000, 1)
    assert "declaring bounds or values of 'age'" in bare.gains[0]
    assert isinstance(bare, Plan)
    assert not plan(SCHEMA, 3000, 1).gains
    assert plan(Schema(SCHEMA), 3000, 1) == plan(SCHEMA, 3000, 1)


def test_no_record_of_a_frame_is_looked_at():
    assert plan(people(), 3000, 1) == plan(people().iloc[:0], 3000, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({}, 10), "at least one column"),
        ((SCHEMA, 0), "n must be"),
        ((SCHEMA, 10, []), "at least one budget"),
        ((SCHEMA, 10, [0]), "epsilon must lie"),
        ((SCHEMA, 10, np.inf), "epsilon must lie"),
    ],
)
def test_what_cannot_be_planned_is_refused(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        plan(*arguments)
