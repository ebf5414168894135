"""Categories of two releases that bear other names, matched by what was released."""

import numpy as np
import pandas as pd
import pytest

from sinkgen import DPSinkhornGenerator
from sinkgen.exceptions import BadTypeError, BadValueError
from sinkgen.federated import align

WARDS, TOWNS = ["heart", "eyes", "birth"], ["A", "B", "C", "D"]
GERMAN = {"heart": "Kreislauf", "eyes": "Augen", "birth": "Geburt"}
NUMBERS = {"A": "4", "B": "2", "C": "1", "D": "3"}


def register(n, seed, noise=0.1):
    random = np.random.default_rng(seed)
    ward = random.choice(WARDS, n)
    age = random.normal(pd.Series(ward).map({"heart": 75, "eyes": 55, "birth": 30}), 5).clip(18, 95).round()
    # A town is known by its wards alone, none of which has the same name elsewhere.
    town = pd.Series(ward).map({"heart": "A", "eyes": "B", "birth": "C"}).to_numpy()
    town = np.where(random.random(n) < noise, "D", town)
    frame = pd.DataFrame({"age": age, "ward": ward, "town": town, "smoker": random.choice(["no", "yes"], n)})
    return frame, np.where(age > 60, "back", "well")


class Drawn:
    """Stands for a fitted generator: what it draws is given."""

    def __init__(self, frame, y=None):
        self.frame, self.y = frame, y

    def sample(self, n, random_state=None):
        rows = random_state.randint(len(self.frame), size=n)
        X = self.frame.iloc[rows].reset_index(drop=True)
        return X if self.y is None else (X, self.y[rows])


def renamed(frame):
    return frame.replace({"ward": GERMAN, "town": NUMBERS})


def test_categories_are_matched_by_how_they_go_with_what_is_common():
    (one, y), (other, z) = register(3000, 0), register(3000, 1)
    found = align(Drawn(one, y), Drawn(renamed(other), z), n_draws=4000, random_state=0)
    assert found.names == {"ward": GERMAN, "town": NUMBERS}
    plan = found.plans["ward"]
    assert plan.loc["heart", "Kreislauf"] > 0.9 * plan.loc["heart"].sum()
    assert plan.to_numpy().sum() == pytest.approx(1, abs=1e-3)


def test_releases_are_aligned(quick_tables):
    gens = []
    for seed, rename in ((0, lambda frame: frame), (1, renamed)):
        X, y = register(3000, seed)
        X = rename(X)
        schema = {"age": (18, 95), **{name: sorted(set(X[name])) for name in ("ward", "town", "smoker")}}
        gens.append(DPSinkhornGenerator(epsilon=5, schema=schema, classes=["back", "well"], random_state=0).fit(X, y))
    assert align(*gens, n_draws=3000, random_state=0).names["ward"] == GERMAN


def test_columns_with_the_same_names_need_no_match_and_missing_cells_have_none():
    one, other = register(2000, 0)[0], renamed(register(2000, 1)[0])
    for frame in (one, other):
        frame.loc[::7, "ward"] = None
        frame.loc[::5, "age"] = np.nan
    found = align(Drawn(one), Drawn(other), n_draws=3000, random_state=0)
    assert found.names["ward"] == GERMAN
    assert set(found.names) == {"ward", "town"}


def test_more_categories_on_one_side_leave_some_without_a_match():
    one, other = register(2000, 0)[0], renamed(register(2000, 1)[0])
    other = other[other["ward"] != "Geburt"]
    names = align(Drawn(one), Drawn(other), n_draws=3000, random_state=0).names["ward"]
    assert len(names) == 2
    assert names["heart"] == "Kreislauf"


def test_what_cannot_be_aligned_is_refused():
    frame = register(100, 0)[0]
    with pytest.raises(BadValueError, match="not the same columns"):
        align(Drawn(frame), Drawn(frame.drop(columns="age")))
    with pytest.raises(BadValueError, match="n_draws"):
        align(Drawn(frame), Drawn(frame), n_draws=0)
    with pytest.raises(BadTypeError, match="data frames"):
        align(*[DPSinkhornGenerator(epsilon=5, schema=(0, 1)).fit(np.random.default_rng(0).random((100, 2)))] * 2)
