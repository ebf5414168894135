"""Data frames of other libraries than pandas: the same columns and dtypes out, by one contract for all of them."""

import datetime

import numpy as np
import pytest

from sinkgen import Column, DPSinkhornGenerator
from sinkgen.data.frames import FrameKind, to_pandas
from sinkgen.training.tables import tabular

nw = pytest.importorskip("narwhals.stable.v2")
N = 400
DAY = datetime.datetime(2024, 1, 1)


@pytest.fixture(autouse=True)
def quick_fit(monkeypatch, quick_fields):
    quick = {"members": 1, "components": 10, "steps": 60, "refinement_steps": 10}
    made = tabular.TabularSettings
    monkeypatch.setattr(tabular, "TabularSettings", lambda **given: made(**{**given, **quick}))


@pytest.fixture(params=["polars", "pyarrow"])
def library(request):
    pytest.importorskip(request.param)
    return request.param


def column(library, name, cells, dtype):
    return nw.new_series(name, cells, dtype, backend=library)


def make_frame(library):
    random = np.random.default_rng(0)
    numbers = random.integers(0, 50, N).tolist()
    days = [DAY + datetime.timedelta(days=number) for number in numbers]
    some = [None if number < 10 else number for number in numbers]
    letters = [None if number < 10 else "abc"[number % 3] for number in numbers]
    dates = [None if number < 10 else day for number, day in zip(numbers, days, strict=True)]
    columns = {
        "small": (some, nw.Int8),
        "whole": (numbers, nw.UInt32),
        "float": ([None if number is None else number / 7 for number in some], nw.Float64),
        "single": ([number / 7 for number in numbers], nw.Float32),
        "flag": ([None if number is None else number > 20 for number in some], nw.Boolean),
        "text": (letters, nw.String),
        "moment": (dates, nw.Datetime("ms")),
    }
    made = {name: column(library, name, cells, dtype) for name, (cells, dtype) in columns.items()}
    made["day"] = column(library, "day", days, nw.Datetime("us")).cast(nw.Date)
    zoned = column(library, "zoned", dates, nw.Datetime("us")).dt.replace_time_zone("UTC")
    made["zoned"] = zoned.dt.convert_time_zone("Asia/Tokyo")
    made["category"] = made["text"].cast(nw.Categorical).alias("category")
    if library == "polars":
        made["enum"] = made["text"].cast(nw.Enum(["c", "b", "a"])).alias("enum")
    first, *others = made.values()
    return first.to_frame().with_columns(*others).to_native()


def schema_of(frame):
    return nw.from_native(frame, eager_only=True).schema


def missing_share(frame, name):
    return nw.from_native(frame, eager_only=True)[name].is_null().mean()


def test_the_same_frame_out(library, tmp_path):
    frame = make_frame(library)
    gen = DPSinkhornGenerator(10, random_state=0).fit(frame)
    drawn = gen.sample(300, random_state=0)
    assert type(drawn) is type(frame)
    learned = {name: dtype for name, dtype in schema_of(drawn).items() if name != "enum"}
    assert learned == {name: dtype for name, dtype in schema_of(frame).items() if name != "enum"}
    if library == "polars":
        assert schema_of(drawn)["enum"].categories[:3] == schema_of(frame)["enum"].categories
    assert nw.from_native(drawn, eager_only=True).shape == (300, len(learned) + (library == "polars"))
    for name in learned:
        assert missing_share(drawn, name) == pytest.approx(missing_share(frame, name), abs=0.12), name
    gen.save(tmp_path)
    again = DPSinkhornGenerator.load(tmp_path).sample(300, random_state=0)
    assert again.equals(drawn)


def test_labels_conditions_and_declared_columns(library):
    frame = make_frame(library)
    categories = Column(values=["c", "b", "a"], nullable=True)
    schema = {"text": categories, "day": ("2024-01-01", "2024-03-01")}
    schema |= {"enum": categories} if library == "polars" else {}
    gen = DPSinkhornGenerator(10, schema=schema, classes=range(50), random_state=0).fit(frame, "whole")
    drawn, labels = gen.sample(y=[20, 30, 40], conditions={"text": "a", "day": "2024-01-05"})
    assert labels.tolist() == [20, 30, 40]
    assert "whole" not in schema_of(drawn)
    assert nw.from_native(drawn, eager_only=True)["text"].to_list() == ["a"] * 3
    assert nw.from_native(drawn, eager_only=True)["day"].to_list() == [datetime.date(2024, 1, 5)] * 3
    if library == "polars":
        assert schema_of(drawn)["enum"] == schema_of(frame)["enum"]


def test_there_and_back(library):
    frame = make_frame(library)
    cells, kind = to_pandas(frame)
    assert FrameKind(**kind.to_dict()).restore(cells).equals(frame)


def test_columns_that_no_table_holds_are_named(library):
    lists = nw.from_dict({"fine": column(library, "fine", [1], nw.Int64)}, backend=library)
    lists = lists.with_columns(nested=column(library, "nested", [[1, 2]], nw.List(nw.Int64))).to_native()
    with pytest.raises(TypeError, match="'nested'"):
        DPSinkhornGenerator().fit(lists)
    with pytest.raises(TypeError, match="taken as an array"):
        DPSinkhornGenerator(schema=(0, 1)).fit(make_frame(library))


def test_a_lazy_frame_is_to_be_collected():
    polars = pytest.importorskip("polars")
    with pytest.raises(TypeError, match="collect"):
        DPSinkhornGenerator().fit(polars.LazyFrame({"a": [1]}))
