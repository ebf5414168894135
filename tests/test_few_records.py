"""However few the records and small the budget: what is fitted can be drawn, saved, loaded and stated."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from sinkgen import Column, DPSinkhornGenerator, html_report, score_report

SEEDED = pytest.mark.filterwarnings("ignore::sinkgen.exceptions.ReproducibleNoiseWarning")
pytestmark = pytest.mark.usefixtures("quick_fields")
DECLARED = {
    "float": (-5, 5),
    "integer": (0, 100),
    "text": ["a", "b"],
    "date": ("2020-01-01", "2021-01-01"),
    "gaps": Column(bounds=(0, 2), nullable=True),
    "object": Column(values=["x", "y"], nullable=True),
    "written": Column(decimal=","),
}


def table(n, random):
    return pd.DataFrame({
        "float": random.normal(size=n),
        "integer": random.integers(0, 100, n),
        "text": random.choice(["a", "b"], n),
        "boolean": random.random(n) < 0.5,
        "date": pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 99, n), unit="D"),
        "gaps": np.where(random.random(n) < 0.5, np.nan, 1.0),
        "constant": np.full(n, 7.0),
        "object": pd.Series(random.choice(["x", "y", None], n), dtype=object),
        "id": [f"id{i}" for i in range(n)],
        "ordered": pd.Categorical(random.choice(["s", "m"], n), categories=["s", "m", "l"], ordered=True),
        "zoned": pd.Timestamp("2020-03-29", tz="Europe/Paris") + pd.to_timedelta(random.integers(0, 99, n), unit="h"),
        "masked": pd.array(random.integers(0, 3, n), dtype="Int64"),
        "written": pd.Series([f"{i},5" for i in random.integers(0, 9, n)], dtype="str"),
        "arrow": pd.Series(pd.Timestamp("2020-01-01"), index=range(n)).astype("date32[pyarrow]"),
    })  # fmt: skip


@pytest.mark.usefixtures("quick_tables")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    n=st.integers(1, 60), epsilon=st.sampled_from([0.01, 0.1, 1.0, 10.0]), seed=st.integers(0, 2**32 - 1),
    names=st.sets(st.sampled_from(list(table(1, np.random.default_rng(0)).columns)), min_size=1, max_size=5),
    declared=st.sets(st.sampled_from(list(DECLARED))), labelled=st.booleans(),
)  # fmt: skip
def test_what_is_fitted_can_be_drawn_saved_and_stated(tmp_path_factory, n, epsilon, seed, names, declared, labelled):
    random = np.random.default_rng(seed)
    X = table(n, random)[sorted(names)]
    y = random.choice(["p", "q"], n) if labelled else None
    schema = {name: DECLARED[name] for name in sorted(declared & names)} or None
    gen = DPSinkhornGenerator(epsilon, schema=schema, classes=["p", "q"] if labelled else None, random_state=seed)
    gen.fit(X, y)
    drawn = gen.sample(20)
    drawn = drawn[0] if labelled else drawn
    assert drawn.shape == (20, len(names))
    folder = tmp_path_factory.mktemp("model")
    gen.save(folder)
    again = DPSinkhornGenerator.load(folder)
    again.sample(3)
    assert str(again.privacy_spent()) == str(gen.privacy_spent())
    real, synthetic = ((X, y), gen.sample(20)) if labelled else (X, drawn)
    scores = score_report(real, synthetic, test=synthetic, models=QUICK, random_state=0)
    assert scores.loc["one-way marginals"].between(0, 1).all()


@SEEDED
@pytest.mark.parametrize("n", [1, 30, 200])
def test_many_columns_of_which_nothing_stands_out(n):
    X = pd.DataFrame(np.random.default_rng(n).normal(size=(n, 14)).round(1)).add_prefix("x")
    gen = DPSinkhornGenerator(0.05, noise_seed=n, random_state=n).fit(X)
    assert gen.sample(20).shape == (20, 14)
    assert all(column.remarks for column in gen.schema_.columns)


@SEEDED
@pytest.mark.parametrize("labelled", [False, True])
def test_missing_cells_of_many_columns_are_drawn_as_often(labelled):
    random = np.random.default_rng(0)
    X = pd.DataFrame(random.normal(size=(600, 14))).add_prefix("x").mask(random.random((600, 14)) < 0.12)
    X["full"] = random.normal(size=600)
    y, shares = random.choice(["p", "q"], 600) if labelled else None, []
    for seed in range(3):
        gen = DPSinkhornGenerator(1.0, classes=["p", "q"] if labelled else None, noise_seed=seed, random_state=0)
        drawn = gen.fit(X, y).sample(600)
        shares.append((drawn[0] if labelled else drawn).isna().mean())
    lacking = np.array(shares)[:, :14]
    assert (lacking > 0.05).mean() > 0.9
    assert abs(lacking.mean() - 0.12) < 0.03
    assert sum(of["full"] == 0 for of in shares) >= 2


QUICK = {"linear": LogisticRegression(max_iter=5)}


@pytest.mark.parametrize("n", [1, 2, 7])
def test_the_page_of_few_records(n):
    random = np.random.default_rng(n)
    X, S = table(n, random), table(20, random)
    page = html_report((X, ["p"] * n), (S, ["p"] * 20), test=(S, random.choice(["p", "q"], 20)), random_state=0)
    assert "ordered" in page
    if n == 1:
        with pytest.raises(ValueError, match="give test"):
            score_report(X, S)


@SEEDED
@pytest.mark.parametrize("make", [
    lambda X: pd.DataFrame(X), lambda X: X, lambda X: X.reshape(-1, 1, 2),
], ids=["table", "array", "images"])  # fmt: skip
def test_numbers_from_zero_to_one_are_never_above(make):
    X = np.random.default_rng(0).random((2000, 2))
    X[:600] = 1.0
    drawn = np.asarray(DPSinkhornGenerator(10, noise_seed=0).fit(make(X)).sample(500))
    assert drawn.max() <= 1


def grained(n=3000):
    random = np.random.default_rng(0)
    days = pd.Series(pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 1000, n), unit="D"))
    return pd.DataFrame({
        "age": random.integers(18, 90, n).astype(float),
        "gaps": np.where(random.random(n) < 0.2, np.nan, random.integers(0, 40, n)),
        "price": random.choice([9.99, 15024.0, 1.5], n),
        "cents": random.gamma(2, 20, n).round(2),
        "single": random.gamma(2, 20, n).round(2).astype(np.float32),
        "tenth": random.integers(300, 420, n) / 10,
        "large": random.integers(0, 10**9, n).astype(float),
        "day": days,
        "paris": days.dt.tz_localize("Europe/Paris"),
        "lima": days.dt.tz_localize("America/Lima"),
    })  # fmt: skip


@SEEDED
@pytest.mark.parametrize("labelled", [False, True])
def test_categories_keep_their_frequencies_where_cells_are_missing(labelled):
    random, shares = np.random.default_rng(0), np.array([0.5, 0.2, 0.1, 0.05, 0.05, 0.05, 0.05])
    X = pd.DataFrame({name: random.choice([*"abcdefg"], 3000, p=shares) for name in ("first", "second")})
    X["second"] = X["second"].mask(random.random(3000) < 0.4)
    gen = DPSinkhornGenerator(2.0, classes=["p", "q"] if labelled else None, noise_seed=0, random_state=0)
    drawn = gen.fit(X, random.choice(["p", "q"], 3000) if labelled else None).sample(3000)
    drawn = drawn[0] if labelled else drawn
    assert drawn["second"].isna().mean() == pytest.approx(0.4, abs=0.05)
    for name in X:
        apart = drawn[name].value_counts(normalize=True).sub(X[name].value_counts(normalize=True), fill_value=0)
        assert apart.abs().sum() / 2 < 0.06


@SEEDED
def test_grain_of_many_columns_of_few_records():
    random, n = np.random.default_rng(0), 700
    X = pd.DataFrame({f"whole{i}": random.integers(17, 90, n).astype(float) for i in range(4)})
    X = X.assign(**{f"cents{i}": random.lognormal(3, 0.8, n).round(2) for i in range(4)})
    X = X.assign(**{f"part{i}": random.normal(size=n) for i in range(4)})
    days = {
        f"day{i}": pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 900, n), unit="D") for i in range(4)
    }
    drawn = DPSinkhornGenerator(1.0, noise_seed=0, random_state=0).fit(X.assign(**days)).sample(300)
    kept = {name: np.isclose(drawn[name], drawn[name].round(2 * ("cents" in name))).mean() for name in X}
    assert np.mean([kept[f"whole{i}"] for i in range(4)]) > 0.9
    assert np.mean([kept[f"cents{i}"] for i in range(4)]) > 0.5
    assert max(kept[f"part{i}"] for i in range(4)) < 0.5
    assert np.mean([(drawn[name] == drawn[name].dt.normalize()).mean() for name in days]) > 0.7


DIGITS = {"age": 0, "gaps": 0, "price": 2, "cents": 2, "single": 2, "tenth": 1, "large": 0}
WIDE = {"tenth": (25, 45), "large": (0, 1e9), "day": ("2020-01-01", "2023-01-01"), "lima": ("2020-01-01", "2023-01-01")}


def assert_grain_is_kept(drawn):
    for name, cells in drawn.items():
        cells = cells.dropna()
        assert (cells == (cells.round(DIGITS[name]) if name in DIGITS else cells.dt.normalize())).all(), name


@SEEDED
@pytest.mark.parametrize(
    ("names", "schema"),
    [(["age", "gaps", "price", "single"], None), (["cents", "tenth", "day", "paris"], None), (list(WIDE), WIDE)],
    ids=["numbers", "cents and days", "declared"],
)
def test_grain_is_kept(names, schema):
    drawn = DPSinkhornGenerator(3, schema=schema, noise_seed=0).fit(grained()[names]).sample(500)
    assert_grain_is_kept(drawn)
    if "price" in names:
        assert drawn["price"].isin([9.99, 15024.0, 1.5]).mean() > 0.95


@SEEDED
def test_grain_is_kept_in_files_and_by_the_command_line(tmp_path):
    runner, app = pytest.importorskip("typer.testing"), pytest.importorskip("sinkgen.cli.app").app
    X = grained()[["age", "cents", "day"]]
    X.to_parquet(tmp_path / "data.parquet")
    gen = DPSinkhornGenerator(3, noise_seed=0).fit(tmp_path / "data.parquet")
    gen.sample_to_parquet(tmp_path / "out", 500)
    assert_grain_is_kept(pd.read_parquet(tmp_path / "out"))
    X.to_csv(tmp_path / "data.csv", index=False)
    fit = ["fit", tmp_path / "data.csv", "--epsilon", 5, "-q", "-o", tmp_path / "m"]
    for arguments in (fit, ["sample", tmp_path / "m", "-n", 500, "-o", tmp_path / "synth.csv"]):
        assert not runner.CliRunner().invoke(app, list(map(str, arguments))).exit_code
    assert_grain_is_kept(pd.read_csv(tmp_path / "synth.csv", parse_dates=["day"]))


@SEEDED
@pytest.mark.parametrize("numbers", [[0, 1], [0, 1, 2], [1, 2], [-1, 0]])
def test_few_whole_numbers_in_a_column_of_floats_come_back_as_they_are(numbers):
    X = pd.DataFrame({"a": np.random.default_rng(0).choice(np.array(numbers, dtype=float), 2000)})
    drawn = DPSinkhornGenerator(3, noise_seed=0).fit(X).sample(300)
    assert set(drawn["a"]) == set(numbers)
