"""Tables with labels whose columns are bound together more tightly than a mixture can hold, and one-hot coded ones."""

import numpy as np
import pandas as pd
import pytest
import torch

from sinkgen import DPSinkhornGenerator, lite
from sinkgen.exceptions import PoorFitWarning
from sinkgen.generators.field import Field
from sinkgen.generators.raking import raked
from sinkgen.training.tables.structure import interaction_candidates


def bound(n, seed=0):
    """Three pairs of columns, each of which follows from one hidden number, and a label of the first."""
    random = np.random.default_rng(seed)
    hidden = random.integers(0, 8, (3, n))
    columns = {f"{name}{j}": [f"{name}{v}" for v in row] for j, row in enumerate(hidden) for name in "ab"}
    return pd.DataFrame(columns), np.where(hidden[0] + random.normal(size=n) > 4, "high", "low")


SCHEMA = {f"{name}{j}": [f"{name}{v}" for v in range(8)] for j in range(3) for name in "ab"}


@pytest.mark.parametrize("epsilon", [10.0, np.inf])
def test_columns_that_follow_from_each_other_do_in_draws_with_labels(epsilon):
    X, y = bound(5000)
    gen = DPSinkhornGenerator(epsilon, schema=SCHEMA, classes=["high", "low"], random_state=0).fit(X, y)
    drawn, labels = gen.sample(4000, random_state=0)
    for j in range(3):
        assert (drawn[f"a{j}"].str[1:] == drawn[f"b{j}"].str[1:]).mean() > 0.95
    assert isinstance(gen.generator_, Field)
    assert (labels == "high").mean() == pytest.approx((y == "high").mean(), abs=0.03)
    first = drawn["a0"].str[1:].astype(int)
    assert (labels[first > 5] == "high").mean() > 0.85
    assert (labels[first < 3] == "high").mean() < 0.15
    assert set(gen.sample(y=["high"] * 9)[1]) == {"high"}


def test_so_they_do_in_saved_models_and_several_data_sets(tmp_path):
    X, y = bound(5000)
    gen = DPSinkhornGenerator(10, schema=SCHEMA, classes=["high", "low"], random_state=0).fit(X, y)
    gen.save(tmp_path)
    again, plain = DPSinkhornGenerator.load(tmp_path), lite.load(tmp_path)
    pd.testing.assert_frame_equal(gen.sample(50, random_state=0)[0], again.sample(50, random_state=0)[0])
    drawn = plain.sample(500, random_state=0)[0]
    assert np.mean([a[1:] == b[1:] for a, b in zip(drawn["a1"], drawn["b1"], strict=True)]) > 0.95
    for drawn, labels in gen.sample_posterior(2, random_state=0):
        assert (drawn["a2"].str[1:] == drawn["b2"].str[1:]).mean() > 0.95
        assert (labels == "high").mean() == pytest.approx((y == "high").mean(), abs=0.04)


def test_that_noise_hides_how_closely_columns_go_together_is_told_by_their_names():
    X, y = bound(5000)
    gen = DPSinkhornGenerator(0.5, schema=SCHEMA, classes=["high", "low"], random_state=0)
    with pytest.warns(PoorFitWarning, match="'a0' and 'b0'.* go together more closely than .*make the labels one of"):
        gen.fit(X, y)


@pytest.mark.parametrize("k", [3, 5])
def test_one_hot_coded_columns_are_as_frequent_as_they_are(k):
    random = np.random.default_rng(k)
    codes = random.choice(k, 6000, p=random.dirichlet(np.full(k, 3.0)))
    X = pd.get_dummies(pd.Series(codes), prefix="is", dtype=int).assign(x=random.normal(size=6000) + codes)
    gen = DPSinkhornGenerator(10, schema={name: [0, 1] for name in X.columns[:-1]} | {"x": (-4, k + 4)}, random_state=0)
    drawn = gen.fit(X).sample(6000, random_state=0)
    ones = [name for name in X if name != "x"]
    assert (drawn[ones].sum(axis=1) == 1).mean() > 0.98
    np.testing.assert_allclose(drawn[ones].mean(), X[ones].mean(), atol=0.025)


def test_raked_records_have_the_frequencies_and_are_records():
    random = torch.Generator().manual_seed(0)
    codes = torch.stack([torch.arange(3).repeat(400), torch.arange(3).repeat(400)])
    wanted = torch.tensor([0.7, 0.2, 0.1])
    found = raked(codes, [wanted, wanted], random)
    assert found.shape == codes.shape
    assert found[0].equal(found[1])
    torch.testing.assert_close(torch.bincount(found[0]) / 1200, wanted, atol=0.02, rtol=0)


def test_sets_of_many_columns_are_looked_at_with_the_target_alone():
    even = [torch.full((2,), 0.5)] * 20
    sizes = [len(clique.columns) for clique in interaction_candidates(even, [0] * 20)]
    assert (sizes.count(3), sizes.count(4)) == (1140, 0)
    with_target = interaction_candidates(even, [0] * 20, [7])
    assert [len(clique.columns) for clique in with_target].count(4) == 969
    assert all(7 in clique.columns for clique in with_target if len(clique.columns) == 4)
