"""Cells of many dtypes, and in many scripts: what goes in comes out alike, and a schema that misses them is told."""

import datetime

import numpy as np
import pandas as pd
import pytest
import torch

from sinkgen import Column, DPSinkhornGenerator, PoorFitWarning, sources
from sinkgen.data.formats import ArrayFormat
from sinkgen.data.table_columns import NumberColumn

SEEDED = pytest.mark.filterwarnings("ignore::sinkgen.exceptions.ReproducibleNoiseWarning")

N = 1500
DAYS = np.random.default_rng(0).integers(0, 60, N)
DATES = pd.Series(pd.Timestamp("2020-01-01") + pd.to_timedelta(DAYS, unit="D"))
WRITTEN = {
    "dates as objects": (DATES.dt.date, Column("datetime", step=86400), datetime.date),
    "integers as objects": (pd.Series(DAYS, dtype=object), Column("integer"), int),
    "floats as objects": (pd.Series(DAYS / 100, dtype=object), Column("float"), float),
    "German dates": (DATES.dt.strftime("%d.%m.%Y"), Column(format="%d.%m.%Y"), str),
    "German dates, missing": (
        DATES.dt.strftime("%d.%m.%Y").mask(DAYS > 40),
        Column(format="%d.%m.%Y", nullable=True),
        str,
    ),
    "German numbers": (
        pd.Series(DAYS / 100).map("{:.2f}".format).str.replace(".", ","),
        Column(decimal=",", step=0.01),
        str,
    ),
    "English numbers": (pd.Series(DAYS / 100).map("{:.2f}".format), Column(decimal=".", step=0.01), str),
    "integers in text": (pd.Series(DAYS).astype("str"), Column("integer", decimal="."), str),
}


@SEEDED
@pytest.mark.parametrize("name", WRITTEN)
def test_cells_come_back_as_they_are_written(name):
    cells, declared, kind = WRITTEN[name]
    gen = DPSinkhornGenerator(20, schema={"a": declared}, noise_seed=0).fit(pd.DataFrame({"a": cells}))
    drawn = gen.sample(N, random_state=0)["a"]
    assert drawn.dtype == cells.dtype
    assert set(map(type, drawn.dropna())) == {kind}
    assert drawn.isin(set(cells)).mean() > 0.95
    assert drawn.isna().mean() == pytest.approx(cells.isna().mean(), abs=0.05)
    assert not gen.schema_.remarks


ARROW = {
    "date32": lambda arrow: arrow.date32(),
    "date64": lambda arrow: arrow.date64(),
    "timestamp": lambda arrow: arrow.timestamp("us"),
    "zoned": lambda arrow: arrow.timestamp("ns", "Europe/Paris"),
    "decimal": lambda arrow: arrow.decimal128(10, 2),
    "text": lambda arrow: arrow.large_string(),
    "dictionary": lambda arrow: arrow.dictionary(arrow.int32(), arrow.string()),
    "integer": lambda arrow: arrow.int16(),
    "float": lambda arrow: arrow.float32(),
    "boolean": lambda arrow: arrow.bool_(),
}


@SEEDED
@pytest.mark.parametrize("name", ARROW)
@pytest.mark.parametrize("nullable", [False, True])
def test_arrow_dtypes_of_pandas_come_back(name, nullable):
    dtype = pd.ArrowDtype(ARROW[name](pytest.importorskip("pyarrow")))
    cells = {"text": DATES.dt.day_name(), "dictionary": DATES.dt.day_name(), "boolean": pd.Series(DAYS > 30)}
    cells |= dict.fromkeys(("integer", "float"), pd.Series(DAYS)) | {"decimal": pd.Series(DAYS / 100)}
    cells |= {"zoned": DATES.dt.tz_localize("Europe/Paris")}
    cells = cells.get(name, DATES).astype(dtype)
    cells = cells.mask(DAYS % 5 == 0) if nullable else cells
    gen = DPSinkhornGenerator(20, noise_seed=0).fit(pd.DataFrame({"a": cells}))
    drawn = gen.sample(N, random_state=0)["a"]
    assert drawn.dtype == dtype
    assert drawn.dropna().isin(set(cells.dropna())).mean() > 0.95
    assert drawn.isna().mean() == pytest.approx(cells.isna().mean(), abs=0.05)


@SEEDED
def test_the_order_of_an_ordered_dtype_is_taken_and_told():
    dtype = pd.CategoricalDtype(["s", "m", "l"], ordered=True)
    X = pd.DataFrame({"size": pd.Series(np.array(["s", "m", "l"])[DAYS % 3]).astype(dtype)})
    gen = DPSinkhornGenerator(5, noise_seed=0).fit(X)
    assert gen.sample(50)["size"].dtype == dtype
    assert gen.release_.form.columns[0].n_ordered == 3
    assert (
        "the categories of 'size' and their order, by its dtype, read off the records"
        in gen.privacy_spent().assumptions
    )
    with pytest.raises(ValueError, match="'size'"):
        DPSinkhornGenerator(5, metadata="require").fit(X)


@SEEDED
def test_categories_may_change_from_chunk_to_chunk_but_not_those_of_an_order():
    texts = np.array(["u", "v", "w"])[DAYS % 3]
    parts = [pd.DataFrame({"a": pd.Categorical(part)}) for part in (texts[texts == "u"], texts[texts != "u"])]
    gen = DPSinkhornGenerator(5, noise_seed=0).fit(sources.chunks(parts))
    assert set(gen.sample(200)["a"]) == {"u", "v", "w"}
    ordered = [part.assign(a=part["a"].cat.as_ordered()) for part in parts]
    with pytest.raises(TypeError, match="'a'"):
        DPSinkhornGenerator(5).fit(sources.chunks(ordered))


SAID = {
    "no category occurs": (["Male", "Female"], ["male", "female"], "no declared value of 'a' occurs"),
    "some occur": (["Male", "female"], ["male", "female"], "none of its declared values"),
    "ages between 0 and 1": ([30.0, 40.0], (0, 1), "'a' lie outside of its bounds"),
    "bins of ages": ([30.0, 40.0], Column(edges=(0, 0.5, 1)), "'a' lie outside of its bounds"),
    "numbers in text": ([f"${k}.50" for k in range(900)], None, r"are other: .* decimal= or format="),
}


@SEEDED
@pytest.mark.parametrize("name", SAID)
def test_a_schema_that_misses_the_data_is_told_by_name_and_remedy(name):
    cells, declared, message = SAID[name]
    X = pd.DataFrame({"a": np.array(cells)[np.arange(N) % len(cells)]})
    with pytest.warns(PoorFitWarning, match=message):
        gen = DPSinkhornGenerator(1, schema=declared and {"a": declared}, noise_seed=0).fit(X)
    assert gen.schema_["a"].remarks


@SEEDED
def test_a_table_that_comes_back_as_other_is_told_column_by_column():
    random = np.random.default_rng(0)
    X = pd.DataFrame({f"c{j}": random.choice(list("abcdefghij"), 2000) for j in range(30)} | {"id": range(2000)})
    X["id"] = "u" + X["id"].astype("str")
    with pytest.warns(PoorFitWarning, match="leave it out if it is an id, else declare its values"):
        gen = DPSinkhornGenerator(1, noise_seed=0).fit(X)
    others = (gen.sample(2000) == "other").mean()
    assert others.mean() > 0.7
    for name in others.index[others > 0.3]:
        (remark,) = gen.schema_[name].remarks
        assert f"{name!r} are other" in remark
        assert "declare its values" in remark
    statement = str(gen.privacy_spent())
    assert all(f"- {remark}" in statement for remark in gen.schema_.remarks)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "UInt8", "int64", "Int64", "float16", "float32", "int8[pyarrow]"])
def test_numbers_that_were_learned_beyond_what_a_dtype_holds_come_back_within_it(dtype):
    far = np.array([-1e40, -1e19, 0.0, 300.0, 1e19, 1e40])
    column = NumberColumn("a", dtype, "float" if "float" in dtype else "integer", True)
    for is_missing in (np.zeros(6, dtype=bool), np.arange(6) == 2) if dtype[0] in "UIf" else (np.zeros(6, dtype=bool),):
        cells = column.restored(far.copy(), is_missing)
        assert str(cells.dtype) == dtype
        held = cells[~is_missing].astype(float)
        assert np.isfinite(held).all()
        assert held.is_monotonic_increasing
        assert cells.isna().tolist() == is_missing.tolist()


@pytest.mark.parametrize("dtype", ["datetime64[ns]", "datetime64[us]", "datetime64[s]", "datetime64[ns, UTC]"])
def test_dates_that_were_learned_beyond_what_a_dtype_holds_come_back_within_it(dtype):
    column = NumberColumn("a", dtype, "datetime", False)
    cells = column.restored(np.array([-1e19, 0.0, 1e10, 1e19]), np.zeros(4, dtype=bool))
    assert str(cells.dtype) == dtype
    assert cells.is_monotonic_increasing
    assert cells.notna().all()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64", "float16"])
@pytest.mark.parametrize("bounds", [(-1e40, 1e40), (1e39, 1e40), (-1e40, -1e39), (3.0, 3.0)])
def test_bounds_of_arrays_that_were_learned_beyond_what_a_dtype_holds_lie_within_it(dtype, bounds):
    form = ArrayFormat(dtype, None, n_columns=1).with_bounds([bounds])
    ((low, high),) = form.bounds
    assert low < high
    drawn = form.decode(torch.tensor([[0.0], [0.5], [1.0]]))[:, 0].astype(float)
    assert drawn.tolist() == sorted(drawn.tolist())  # nothing wraps round
    assert np.isfinite(drawn).all()
