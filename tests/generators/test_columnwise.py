"""Columns of arrays lie where their numbers were counted: heavy zeros, whole numbers, long tails."""

import warnings

import numpy as np
import pytest
import torch

from sinkgen import DPSinkhornGenerator, lite
from sinkgen.denoise.search import Numbers, Search
from sinkgen.generators.columnwise import NO_CURVES, fit_columns, follow

pytestmark = [
    pytest.mark.filterwarnings("ignore::sinkgen.exceptions.ReproducibleNoiseWarning"),
    pytest.mark.filterwarnings("ignore::sinkgen.exceptions.PoorFitWarning"),
]
N = 4000
BOUNDS = [(-5, 5), (0, 20), (0, 1), (0, 4), (0, 2000), (-5, 5)]


def mixed(seed=0):
    """A normal column, one with zeros, zeros and ones, whole numbers, a long tail, and one that goes with the first."""
    random = np.random.default_rng(seed)
    z = random.normal(size=N)
    return np.stack([
        z, np.where(random.random(N) < 0.5, 0, random.exponential(size=N)), (random.random(N) < 0.3).astype(float),
        random.integers(0, 5, N), np.exp(3 + random.normal(size=N)), 0.6 * z + 0.8 * random.normal(size=N),
    ], 1)  # fmt: skip


@pytest.fixture(scope="module", params=["declared", "not declared"])
def fitted(request):
    schema = BOUNDS if request.param == "declared" else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return DPSinkhornGenerator(10, schema=schema, random_state=0, noise_seed=0).fit(mixed())


def test_columns_are_what_they_are(fitted):
    real, drawn = mixed(), fitted.sample(5000, random_state=0)
    assert (drawn[:, 1] == 0).mean() == pytest.approx(0.5, abs=0.05)
    assert np.isin(drawn[:, 2].round(6), [0, 1]).mean() > 0.95
    assert drawn[:, 2].mean() == pytest.approx(0.3, abs=0.05)
    ranks = (np.arange(1000) + 0.5) / 1000
    for j in range(6):
        off = np.abs(np.quantile(real[:, j], ranks) - np.quantile(drawn[:, j], ranks)).mean() / real[:, j].std()
        assert off < 0.12, j
    assert np.corrcoef(drawn.T)[0, 5] == pytest.approx(0.6, abs=0.12)


def test_what_was_saved_draws_the_same_and_so_does_numpy_alone(fitted, tmp_path):
    drawn = fitted.sample(4000, random_state=0)
    for compact in (False, True):
        fitted.save(tmp_path / "model", compact=compact)
        loaded, small = DPSinkhornGenerator.load(tmp_path / "model"), lite.load(tmp_path / "model")
        if not compact:
            np.testing.assert_array_equal(loaded.sample(4000, random_state=0), drawn)
        for other in (loaded.sample(4000, random_state=1), small.sample(4000, random_state=0)):
            assert (other[:, 1] == 0).mean() == pytest.approx((drawn[:, 1] == 0).mean(), abs=0.05)
            assert other[:, 4].std() == pytest.approx(drawn[:, 4].std(), rel=0.2)


def test_normal_columns_stay_as_they_are_drawn():
    X = np.random.default_rng(0).normal(size=(2000, 3))
    gen = DPSinkhornGenerator(1, schema=(-6, 6), random_state=0, noise_seed=0).fit(X)
    assert not len(gen.generator_.mixture.columns)


def test_curves_rise_and_stay_within_bounds(fitted):
    curves = fitted.generator_.mixture.columns
    assert curves.shape[:2] == (6, 2)
    assert (curves.diff() >= 0).all()
    assert curves.min() >= 0
    assert curves.max() <= 1
    records = torch.rand(500, 6, generator=torch.Generator().manual_seed(0))
    moved = follow(records, curves)
    order = records.argsort(0)
    assert (moved.gather(0, order).diff(dim=0) >= 0).all()
    torch.testing.assert_close(follow(records, NO_CURVES), records)


COLUMNS = {
    "zeros": lambda random, n: np.zeros(n),
    "constant": lambda random, n: np.full(n, 37.5),
    "negative": lambda random, n: -random.integers(0, 3, n).astype(float),
    "huge": lambda random, n: random.normal(size=n) * 1e300,
    "tiny": lambda random, n: random.normal(size=n) * 1e-300,
    "far": lambda random, n: 1e6 + random.integers(0, 3, n),
    "large": lambda random, n: random.integers(0, 10**12, n).astype(float),
}


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize(("n", "noise"), [(1, 5.0), (20, 3.0), (3000, 5.0), (3000, 1e-9)])
def test_any_counts_give_curves_that_can_be_followed(name, n, noise):
    for seed in range(3):
        random = np.random.default_rng(seed)
        search = Search(Numbers.of(None, "float"), max(n + noise * random.normal(), 1.0))
        values = COLUMNS[name](random, n)
        for _ in range(3):
            search.cut(noise)
            ends, codes = search.places()
            found = np.bincount(codes[np.searchsorted(ends, values, side="right")], minlength=codes.max() + 2)
            search.learn(found + noise * random.standard_normal(len(found)), noise)
        counted = search.counted
        if counted.cells is None:
            continue
        low, high = counted.cells.edges[[0, -1]]
        for draws in (torch.rand(500, 1), torch.zeros(500, 1)):
            curves = fit_columns(draws, [(low, max(high, low + 1))], {0: counted})
            assert ((curves >= 0) & (curves <= 1)).all()
            assert (curves.diff() >= 0).all()
            assert follow(torch.rand(50, 1), curves).isfinite().all()


def test_of_nothing_counted_there_are_no_curves():
    assert not len(fit_columns(torch.rand(100, 2), [(0, 1)] * 2, {}))
