"""Tables through the front door: what goes in comes out alike; bad input; what neighbours may not change."""

import datetime
import decimal

import numpy as np
import pandas as pd
import pytest
import torch

from sinkgen import Column, DPSinkhornGenerator, Inequality, PrivacyLeakWarning, PrivacyLedger, Schema
from sinkgen.accounting import GaussianRelease
from sinkgen.data.facts import STEPS
from sinkgen.data.table import Rows, TableFormat, table_format
from sinkgen.data.table_columns import CATEGORIES
from sinkgen.exceptions import BadValueError
from sinkgen.privacy.mechanism import GaussianMechanism
from sinkgen.records import ArraySource
from sinkgen.training.tables import ascent, field, tabular
from sinkgen.training.undeclared import learn_table

N = 600


@pytest.fixture(scope="module", autouse=True)
def quick_fit():
    """Public fits of few steps: how well they fit hardly matters here."""
    mixture, quick = tabular.TabularSettings, {"members": 1, "components": 10, "steps": 60, "refinement_steps": 10}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tabular, "TabularSettings", lambda **given: mixture(**{**given, **quick}))
        patch.setattr(ascent, "POPULATION", 2000)
        patch.setattr(field, "CELLS_SWEPT", 0)
        yield


def make_frame(n=N):
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "float": random.normal(size=n),
            "single": random.normal(size=n).astype(np.float32),
            "integer": random.integers(0, 50, n),
            "small": random.integers(0, 5, n).astype(np.int8),
            "boolean": random.random(n) < 0.3,
            "text": random.choice(["u", "v", "w"], n),
            "object": random.choice(np.array(["u", "v", "w"], dtype=object), n).astype(object),
            "category": pd.Categorical(random.choice(list("xyz"), n), categories=list("zyx")),
            "ordinal": pd.Categorical(random.choice(list("sml"), n), categories=list("sml"), ordered=True),
            "date": pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 1000, n), unit="D"),
            "zoned": pd.date_range("2021-01-01", periods=n, freq="h", tz="Europe/Paris"),
            "nullable": pd.array(random.integers(0, 5, n), dtype="Int64"),
            "maybe": pd.array(random.random(n) < 0.5, dtype="boolean"),
            "atom": np.where(random.random(n) < 0.5, 0.0, random.exponential(size=n)),
        },
        index=range(5, 5 + n),
    )
    for j, name in enumerate(["float", "text", "object", "category", "date", "zoned", "nullable", "maybe"]):
        frame.loc[20 * j : 20 * j + 150, name] = None
    return frame


SCHEMA = {
    "float": Column(bounds=(-4, 4), nullable=True),
    "single": (-4, 4),
    "integer": (0, 49),
    "small": (0, 4),
    "text": Column(values=("u", "v", "w"), nullable=True),
    "object": Column(values=("u", "v", "w"), nullable=True),
    "category": Column(values=("z", "y", "x"), nullable=True),
    "ordinal": ["s", "m", "l"],
    "date": Column(bounds=("2020-01-01", "2022-12-31"), nullable=True, step=86400),
    "zoned": Column(bounds=("2021-01-01", "2021-03-01"), nullable=True),
    "nullable": Column(bounds=(0, 4), nullable=True),
    "maybe": Column("boolean", nullable=True),
    "atom": (0, 20),
}


@pytest.fixture(scope="module")
def frame():
    return make_frame()


def fitted(frame, y=None, **parameters):
    return DPSinkhornGenerator(**{"epsilon": 10, "random_state": 0, "schema": SCHEMA, **parameters}).fit(frame, y)


def test_same_table_out(frame):
    gen = fitted(frame, metadata="require")
    drawn = gen.sample(400, random_state=0)
    assert drawn.dtypes.equals(frame.dtypes)
    assert list(drawn.columns) == list(frame.columns)
    assert isinstance(drawn.index, pd.RangeIndex)
    assert len(drawn) == 400
    assert (drawn["atom"] == 0).mean() == pytest.approx(0.5, abs=0.15)
    assert drawn["integer"].between(0, 49).all()
    assert drawn["float"].dropna().between(-4, 4).all()
    assert (drawn["date"].dropna() == drawn["date"].dropna().dt.normalize()).all()
    for name in frame:
        assert drawn[name].isna().mean() == pytest.approx(frame[name].isna().mean(), abs=0.15), name
    assert gen.privacy_spent().epsilon <= 10
    assert list(gen.feature_names_in_) == list(frame.columns)


def test_draws_differ_and_seeds_repeat(frame):
    gen = fitted(frame)
    assert gen.sample(20, random_state=1).equals(gen.sample(20, random_state=1))
    assert not gen.sample(20).equals(gen.sample(20))


def test_nothing_declared(frame):
    gen = fitted(frame.drop(columns="ordinal"), schema=None)
    drawn = gen.sample(200)
    dtypes = frame.drop(columns=["ordinal", "category"]).dtypes
    assert drawn.drop(columns="category").dtypes.equals(dtypes)
    assert set(drawn["category"].cat.categories) <= {"x", "y", "z", "other"}
    assert {"categories", "bins"} <= {row.what for row in gen.privacy_spent().releases}


def test_labels(frame):
    y = np.where(frame["atom"] > 0, "yes", "no")
    gen = fitted(frame, y, classes=["no", "yes"])
    drawn, labels = gen.sample(y=["yes", "no", "no"] * 50)
    assert labels.tolist() == ["yes", "no", "no"] * 50
    assert (drawn["atom"][labels == "yes"] > 0).mean() > (drawn["atom"][labels == "no"] > 0).mean() + 0.5


def test_many_classes_are_one_more_column(frame):
    y = frame["integer"].to_numpy() // 5
    columns = ["integer", "text"]
    gen = fitted(frame[columns], y, classes=range(10), schema={name: SCHEMA[name] for name in columns})
    drawn, labels = gen.sample(300)
    assert abs(drawn["integer"] - (5 * labels + 2)).mean() < 8
    assert drawn["text"].isna().any()
    assert gen.sample(y=[3, 3])[1].tolist() == [3, 3]


def test_one_column_and_one_row(frame):
    assert fitted(frame[["text"]], schema={"text": SCHEMA["text"]}).sample(9).shape == (9, 1)
    few = frame[["text", "atom"]].head(1)
    schema = {name: SCHEMA[name] for name in few}
    assert fitted(few, schema=schema, epsilon=0.1).sample(5).dtypes.equals(few.dtypes)


@pytest.fixture(scope="module")
def plain(frame):
    return fitted(frame)


def test_conditions(frame):
    gen = fitted(frame, frame["small"].to_numpy() > 2, classes=[False, True])
    wanted = {"text": ["u", "v"], "integer": (10, 20), "float": (0.0, 0.5), "category": None, "boolean": True}
    drawn, _ = gen.sample(200, conditions=wanted)
    assert set(drawn["text"]) == {"u", "v"}
    assert drawn["integer"].between(10, 20).all()
    assert drawn["float"].between(0, 0.5).all()
    assert drawn["category"].isna().all()
    assert drawn["boolean"].all()
    drawn, labels = gen.sample(y=[True] * 5, conditions={"date": ("2020-06-01", "2020-06-30")})
    assert labels.all()
    assert drawn["date"].between("2020-06-01", "2020-07-01").all()
    drawn, _ = gen.sample(9, conditions={"integer": 7, "date": "2020-06-01", "atom": 0})
    assert set(drawn["integer"]) == {7}
    assert set(drawn["date"]) == {pd.Timestamp("2020-06-01")}
    assert set(drawn["atom"]) == {0}


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"nothing": 1}, "lacks"),
        ({"text": "q"}, "'text'"),
        ({"integer": (90, 99)}, "can meet"),
        ({"atom": None}, "can meet"),
    ],
)
def test_conditions_that_cannot_be_met(plain, conditions, message):
    with pytest.raises(ValueError, match=message):
        plain.sample(3, conditions=conditions)


def test_conditions_on_missing_cells_and_bad_ones(frame):
    gen = fitted(frame[["float", "integer"]], schema={name: SCHEMA[name] for name in ("float", "integer")})
    assert gen.sample(5, conditions={"float": np.nan})["float"].isna().all()
    for bad in ([1, 2], "many", (1, 2, 3), (np.nan, 3), "40", ("1900", None), pd.Timestamp(0)):
        with pytest.raises(TypeError, match="'integer' holds numbers"):
            gen.sample(5, conditions={"integer": bad})


@pytest.mark.parametrize("made", [list, np.array, pd.Series, pd.Index, frozenset])
def test_categories_of_a_condition_stand_in_any_list(plain, made):
    assert set(plain.sample(50, conditions={"text": made(["u", "v"])})["text"]) == {"u", "v"}


def test_conditions_may_have_one_end(plain):
    assert plain.sample(50, conditions={"integer": (None, 20)})["integer"].max() <= 20
    assert plain.sample(50, conditions={"date": ("2020-06-01", None)})["date"].min() >= pd.Timestamp("2020-06-01")


@pytest.mark.parametrize("labelled", [False, True])
def test_what_is_asked_for_is_drawn_or_refused_however_rare_it_is(labelled):
    random = np.random.default_rng(0)
    X = pd.DataFrame({"text": random.choice(["u", "v"], 500), "number": random.normal(size=500)})
    gen = fitted(X, X["number"].to_numpy() > 0 if labelled else None, schema=None, classes=None)
    for conditions in ({"text": None}, {"text": "other"}, {"number": None}):
        ((name, wanted),) = conditions.items()
        try:
            drawn = gen.sample(50, conditions=conditions)
        except BadValueError:
            continue
        cells = (drawn[0] if labelled else drawn)[name]
        assert cells.isna().all() if wanted is None else (cells == wanted).all()


@pytest.mark.parametrize(("cells", "remedy"), [
    (pd.to_timedelta([1, 2, 3], unit="D"), "total_seconds"),
    (pd.period_range("2020", periods=3, freq="M"), "to_timestamp"),
    (pd.arrays.SparseArray([0.0, 1.0, 0.0]), "to_dense"),
    ([1j, 2j, 3j], "columns hold numbers"),
])  # fmt: skip
def test_columns_of_other_dtypes_are_told_how_to_be_converted(cells, remedy):
    gen = DPSinkhornGenerator()
    with pytest.raises(TypeError, match=f"column 'a' has dtype.*{remedy}"):
        gen.fit(pd.DataFrame({"a": cells}))


@pytest.fixture(scope="module")
def visits():
    """Of a fit that has no labels, and so a field: of days, prices, and what never occurs."""
    random, n = np.random.default_rng(0), 1500
    day = pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 300, n), unit="D")
    frame = pd.DataFrame({
        "text": random.choice(["u", "v"], n),
        "integer": random.integers(0, 9, n),
        "price": random.choice([0.1, 0.57, 2.03], n),
        "computed": random.choice([0.7, 1.2], n) - 0.13,
        "zoned": pd.Timestamp("2024-01-01", tz="Europe/Paris") + pd.to_timedelta(random.integers(0, 9999, n), unit="h"),
        "day": day,
        "end": day + pd.to_timedelta(random.integers(0, 20, n), unit="D"),
    })  # fmt: skip
    schema = Schema({}, rules=[Inequality("day", "end")])
    return DPSinkhornGenerator(10, schema=schema, random_state=0).fit(frame)


@pytest.mark.parametrize("wanted", [{"text": None}, {"text": "other"}])
def test_what_never_occurred_comes_where_it_is_wanted_and_nothing_else_does(visits, wanted):
    drawn = visits.sample(50, conditions=wanted, random_state=0)["text"]
    assert drawn.isna().all() if wanted["text"] is None else set(drawn) == {"other"}


@pytest.mark.parametrize(
    "wanted", [{"integer": 3.5}, {"integer": (3.2, 3.9)}, {"price": 0.575}, {"day": "2024-02-01T12:00"}]
)
def test_what_lies_between_the_numbers_that_are_drawn_is_refused(visits, wanted):
    with pytest.raises(ValueError, match=r"no record can meet the conditions: column '.*' has no such cells"):
        visits.sample(3, conditions=wanted)
    assert visits.sample(50, conditions={"integer": (2.5, 4.5)}, random_state=0)["integer"].between(2.5, 4.5).all()


@pytest.mark.parametrize("price", [0.1, 0.57, 2.03])
def test_decimals_are_wanted_as_they_are_read(visits, price):
    assert set(visits.sample(9, conditions={"price": price}, random_state=0)["price"]) == {price}


def test_decimals_are_drawn_as_they_are_read_whatever_they_are_multiples_of(visits):
    drawn = visits.sample(900, random_state=0)
    assert drawn["price"].isin([0.1, 0.57, 2.03]).mean() > 0.97
    assert drawn["computed"].isin([0.57, 1.07]).mean() > 0.97


def test_days_after_days_are_days(visits):
    drawn = visits.sample(300, random_state=0)
    assert (drawn["end"] == drawn["end"].dt.normalize()).all()
    assert (drawn["end"] >= drawn["day"]).all()


@pytest.mark.parametrize("zone", ["Europe/Paris", "UTC", "Asia/Tokyo"])
def test_dates_of_conditions_are_of_their_own_time_zone(visits, zone):
    low, high = (pd.Timestamp(f"2024-05-0{day}", tz=zone) for day in (5, 7))
    for wanted in [(low, high), (low.isoformat(), high.isoformat()), (low.to_pydatetime(), high)]:
        drawn = visits.sample(60, conditions={"zoned": wanted}, random_state=0)["zoned"]
        assert drawn.between(low, high).all()
        assert drawn.min() < low + pd.Timedelta("8h")


def test_dates_whose_time_zone_says_nothing_are_refused(visits):
    noon = pd.Timestamp("2024-05-05", tz="UTC")
    with pytest.raises(TypeError, match="'day' has no time zone: give dates without one"):
        visits.sample(3, conditions={"day": noon})
    for date in (noon, "2024-05-05T00:00Z"):
        with pytest.raises(TypeError, match="as a clock of the column's zone shows it"):
            Column(bounds=(date, "2025-01-01"))


def test_three_numbers_are_no_condition(visits):
    with pytest.raises(TypeError, match="'integer' holds numbers or dates"):
        visits.sample(3, conditions={"integer": (1, 2, 3)})


def test_columns_without_names_and_a_schema_from_a_file():
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(200, 2)))
    schema = Schema.from_json(Schema({0: (-4, 4), 1: (-4, 4)}).to_json())
    drawn = fitted(X, schema=schema, metadata="require").sample(5)
    assert drawn.columns.equals(X.columns)
    assert isinstance(drawn.columns, pd.RangeIndex)


def test_save_and_load(frame, tmp_path):
    gen = fitted(frame, frame["small"].to_numpy(), classes=range(5))
    gen.save(tmp_path)
    again = DPSinkhornGenerator.load(tmp_path)
    assert again.sample(50, random_state=3)[0].equals(gen.sample(50, random_state=3)[0])
    assert again.privacy_spent() == gen.privacy_spent()
    assert again.release_.form == gen.release_.form


def test_numbers_are_encoded_to_their_bin_and_back():
    frame = pd.DataFrame({"x": [-5.0, 0.0, 0.5, 2.0, 9.0, np.nan], "c": ["a", "b", "q", "a", "b", None]})
    schema = {"x": Column(edges=(0, 1, 2, 4), nullable=True), "c": Column(values=["a", "b"], nullable=True)}
    form = table_format(frame, schema)
    cells = form.encode(Rows(frame))
    assert form.states(cells).tolist() == [[0, 0], [0, 1], [0, -1], [2, 0], [2, 1], [3, 2]]
    edges = np.array(form.columns[0].edges)
    assert (edges[cells[2, 0]] <= 0.5) & (edges[cells[2, 0] + 1] > 0.5)
    of_half, of_more = np.interp([0.5, 2.5], edges, range(len(edges)))
    places = [[of_half, 0.1], [of_more, 1.9], [len(edges) - 1, 2.0]]
    drawn = form.decode(torch.tensor(places, dtype=torch.float64))
    assert drawn["x"].tolist()[:2] == [0.5, 2.5]
    assert drawn.isna().to_numpy().tolist() == [[False, False], [False, False], [True, True]]
    assert TableFormat.from_dict(form.to_dict()) == form


# --- Bad input -------------------------------------------------------------------------------------------------------

SECRET = "secret-7731"
BAD = {
    "missing where not nullable": ({"a": [1.0, np.nan]}, {"a": (0, 2)}, ValueError),
    "infinite where not nullable": ({"a": [1.0, np.inf]}, {"a": (0, 2)}, ValueError),
    "missing text where not nullable": ({"a": [SECRET, None]}, {"a": [SECRET]}, ValueError),
    "lists in cells": ({"a": [[SECRET], [1]]}, {}, TypeError),
    "text among numbers": ({"a": np.array([SECRET, 1], dtype=object)}, {}, TypeError),
    "complex": ({"a": [1j, 2]}, {}, TypeError),
    "durations": ({"a": pd.to_timedelta([1, 2])}, {}, TypeError),
    "number declared as date": ({"a": [1, 2]}, {"a": Column("datetime")}, TypeError),
    "text declared as number": ({"a": [SECRET, "b"]}, {"a": Column("float", bounds=(0, 1))}, TypeError),
    "ordinal without its order": ({"a": ["a", "b"]}, {"a": Column("ordinal")}, ValueError),
    "ordinal of intervals": ({"a": pd.cut([1, 2], 2)}, {}, TypeError),
    "infinite, declared nullable": ({"a": [1.0, np.inf]}, {"a": Column(bounds=(0, 2), nullable=True)}, ValueError),
    "infinite, not declared": ({"a": [1.0, -np.inf]}, {}, ValueError),
    "infinite in a masked column": ({"a": pd.array([1.0, np.inf], dtype="Float64")}, {}, ValueError),
    "bounds of text": ({"a": [SECRET, "b"]}, {"a": (0, 50)}, TypeError),
    "bounds of text in categories": ({"a": pd.Categorical([SECRET, "b"])}, {"a": (0, 50)}, TypeError),
    "texts for integers": ({"a": [1, 2]}, {"a": ["1", "2"]}, TypeError),
    "texts for integers as objects": ({"a": np.array([1, 2], dtype=object)}, {"a": ["1", "2"]}, TypeError),
    "texts for categories of integers": ({"a": pd.Categorical([1, 2])}, {"a": ["1", "2"]}, TypeError),
    "integers for text": ({"a": ["1", SECRET]}, {"a": [1, 2]}, TypeError),
    "integers for text as objects": ({"a": np.array(["1", SECRET], dtype=object)}, {"a": [1, 2]}, TypeError),
    "integers for truth values": ({"a": [True, False]}, {"a": [0, 1]}, TypeError),
    "truth values for integers": ({"a": [1, 0]}, {"a": [True, False]}, TypeError),
    "integers declared as boolean": ({"a": [1, 0]}, {"a": Column("boolean")}, TypeError),
    "other categories than those of the dtype": ({"a": pd.Categorical([SECRET])}, {"a": ["male"]}, TypeError),
    "an ordered category more than declared": (
        {"a": pd.Categorical(["s", "m"], ordered=True)},
        {"a": ["s"]},
        TypeError,
    ),
    "dates for integers": ({"a": [1, 2]}, {"a": ("2020-01-01", "2021-01-01")}, TypeError),
    "numbers for dates": ({"a": pd.to_datetime(["2020-01-01"] * 2)}, {"a": (2020, 2022)}, TypeError),
    "dates as objects": ({"a": np.array([datetime.date(2020, 1, 1)], dtype=object)}, {}, TypeError),
    "decimals as objects": ({"a": np.array([decimal.Decimal(1)], dtype=object)}, {}, TypeError),
    "text dates, and not how": ({"a": ["31.12.2021", SECRET]}, {"a": Column("datetime")}, TypeError),
    "text dates, written otherwise": ({"a": ["31.12.2021", SECRET]}, {"a": Column(format="%d.%m.%Y")}, TypeError),
    "text numbers, and not how": ({"a": ["1,5", SECRET]}, {"a": Column("float")}, TypeError),
    "text numbers, written otherwise": ({"a": ["1.234,5", "1"]}, {"a": Column(decimal=",")}, TypeError),
    "a decimal mark of what is no text": ({"a": [1.0, 2.0]}, {"a": Column(decimal=",")}, TypeError),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_cells_name_the_column_before_anything_is_spent(name):
    cells, schema, error = BAD[name]
    ledger = PrivacyLedger()
    with pytest.raises(error, match="'a'") as caught:
        DPSinkhornGenerator(schema=schema, ledger=ledger).fit(pd.DataFrame(cells))
    assert SECRET not in str(caught.value)
    assert not len(ledger)


@pytest.mark.parametrize(
    ("frame", "parameters", "message"),
    [
        (pd.DataFrame({"a": []}), {}, "0 records"),
        (pd.DataFrame(index=[1, 2]), {}, "0 columns"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), {}, "distinct"),
        (pd.DataFrame({"a": [1, 2]}), {"schema": {"b": (0, 1)}}, "'b'"),
        (pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), {"metadata": "require"}, r"'a'.*'b'"),
        (pd.DataFrame({"a": [1, 2]}), {"mechanism": "batch"}, "marginals"),
        (pd.DataFrame({"a": [1, 2]}), {"generator": "mlp"}, "particles"),
        (pd.DataFrame({"a": [1, 2]}), {"steps": 7}, "steps"),
        (pd.DataFrame({"a": [1, 2]}), {"augment": "affine"}, "augment"),
    ],
)
def test_bad_tables(frame, parameters, message):
    with pytest.raises(ValueError, match=message):
        DPSinkhornGenerator(**parameters).fit(frame)


def test_trusting_warns_and_is_told(frame):
    with pytest.warns(PrivacyLeakWarning, match="'float'"):
        gen = fitted(frame[["float", "text"]], schema=None, metadata="trust")
    assert set(gen.sample(50)["text"].dropna()) <= {"u", "v", "w"}
    assert "schema['text'] (values)" in gen.privacy_spent().assumptions


# --- What one record may not change ----------------------------------------------------------------------------------


def learned(frame, seed):
    form = table_format(frame)
    steps = dict.fromkeys(CATEGORIES, 1) | STEPS
    releases = [GaussianRelease(what, 4.0, 1.0, steps[what], 1e-6 * (what in CATEGORIES)) for what in form.missing]
    mechanism = GaussianMechanism(releases, noise_seed=seed)
    return learn_table(form, ArraySource(Rows(frame)), float(len(frame)), mechanism).form


def test_an_extreme_record_leaves_bounds_and_bins_alone(frame):
    numbers = frame[["float", "integer", "atom"]]
    extreme = pd.DataFrame({"float": [1e300], "integer": [2**62], "atom": [-1e300]})
    same = []
    for seed in range(6):
        form, other = (learned(table, seed) for table in (numbers, pd.concat([numbers, extreme])))
        for column, moved in zip(form.columns, other.columns, strict=True):
            span = column.bounds[1] - column.bounds[0]
            assert np.abs(np.subtract(moved.bounds, column.bounds)).max() < span
            is_same = moved.bounds == pytest.approx(column.bounds, abs=0.1 * span)
            same.append(is_same and abs(moved.n_states - column.n_states) <= 1)
        assert [column.dtype for column in form.columns] == [column.dtype for column in other.columns]
    assert np.mean(same) > 0.8  # a tail that noise nearly hides may come or go with any record


@pytest.mark.parametrize("seed", range(20))
def test_a_rare_category_stays_unknown(frame, seed):
    texts = frame[["text", "category"]].astype({"category": object})
    rare = pd.DataFrame({"text": ["rare"], "category": ["rare"]})
    for column in learned(pd.concat([texts, rare]), seed).columns:
        assert set(column.values) <= {"u", "v", "w", "x", "y", "z"}
        assert column.other


def test_a_missing_cell_does_not_make_a_column_nullable(frame):
    complete = frame[["atom"]].reset_index(drop=True)
    with_gap = complete.copy()
    with_gap.loc[0, "atom"] = np.nan
    form, other = table_format(complete), table_format(with_gap)
    assert form == other
    assert not fitted(with_gap, schema=None, epsilon=1).sample(500)["atom"].isna().any()


def test_a_schema_object_serves_as_well(frame):
    assert fitted(frame[["single"]], schema=Schema({"single": (-4, 4)})).sample(2).shape == (2, 1)
