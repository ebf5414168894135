"""Schemas of tables: what may be declared, JSON, and reading one off a table."""

import numpy as np
import pandas as pd
import pytest

from sinkgen import Column, PrivacyLeakWarning, Schema


def test_declarations_of_each_form():
    schema = Schema({"age": (17, 90), "sex": ["F", "M"], "code": {"kind": "category"}, "day": Column("datetime")})
    assert schema["age"].bounds == (17.0, 90.0)
    assert schema["sex"].values == ("F", "M")
    assert schema["code"].kind == "category"
    assert list(schema) == ["age", "sex", "code", "day"]


def test_json_round_trip():
    columns = {
        "age": Column("integer", edges=(0, 10, 20), nullable=True),
        "size": Column("ordinal", values=("s", "m", "l")),
        "day": Column("datetime", bounds=("2020-01-01", np.datetime64("2021-01-01")), step=86400),
        "gain": Column(bounds=(0, 99.5), atoms=(0, 7)),
        "flag": Column("boolean"),
        "code": [1, 2, 3],
    }
    schema = Schema(columns)
    assert Schema.from_json(schema.to_json()) == schema
    assert schema["age"].bounds == (0, 20)
    assert schema["day"].bounds[1] - schema["day"].bounds[0] == 366 * 86400


BAD = {
    "a list of nothing": ([], ValueError),
    "repeated values": (["a", "a"], ValueError),
    "empty interval": ((3, 3), ValueError),
    "infinite bound": ((0, np.inf), ValueError),
    "three ends": ((0, 1, 2), TypeError),
    "text for values": (Column, TypeError),
    "unknown kind": ({"kind": "number"}, ValueError),
    "unknown field": ({"low": 3}, TypeError),
    "falling edges": ({"edges": [3, 2, 1]}, ValueError),
    "values and bounds": ({"values": ["a"], "bounds": (0, 1)}, ValueError),
    "bounds of categories": ({"kind": "category", "bounds": (0, 1)}, ValueError),
    "missing among values": (["a", None], TypeError),
    "no number": ({"bounds": ("a", "b")}, TypeError),
    "a step of nothing": ({"step": 0}, ValueError),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_declarations_name_the_column(name):
    declared, error = BAD[name]
    with pytest.raises(error, match="'income'"):
        Schema({"income": declared})


def test_a_schema_is_a_mapping():
    with pytest.raises(TypeError, match="dict"):
        Schema([(0, 1)])


def test_from_frame_wants_trust():
    frame = pd.DataFrame({"a": [1, 2, 2], "b": ["x", None, "y"], "c": [True, False, True], "d": [0.5, np.nan, 2.0]})
    with pytest.raises(ValueError, match="trust=True"):
        Schema.from_frame(frame)
    with pytest.warns(PrivacyLeakWarning):
        schema = Schema.from_frame(frame, trust=True)
    assert schema["a"] == Column("integer", bounds=(1, 2))
    assert schema["b"] == Column("category", values=("x", "y"), nullable=True)
    assert schema["c"] == Column("boolean")
    assert schema["d"] == Column("float", bounds=(0.5, 2), nullable=True)


CELLS = {
    "age": [31.5, 180.0, np.nan, 40.0],
    "sex": ["Male", "male", "Male", None],
    "size": [1, 2, 2, 9],
    "wage": ["1,5", "2,5", "x", "1,0"],
    "day": pd.to_datetime(["2020-01-01 00:00", "2020-01-02 10:00", "2031-01-01 00:00", "2020-03-01 00:00"]),
    "id": [1, 2, 3, 4],
}
DECLARED = {
    "age": Column("integer", bounds=(0, 120), nullable=True),
    "sex": Column(values=["male", "female"]),
    "size": [1, 2],
    "wage": Column(decimal=","),
    "day": Column(bounds=("2020-01-01", "2021-01-01"), step=86400),
    "gone": (0, 1),
}


@pytest.mark.parametrize("library", ["pandas", "pyarrow"])
def test_validate_tells_what_does_not_fit(library):
    frame = pd.DataFrame(CELLS)
    if library == "pyarrow":
        frame = pytest.importorskip("pyarrow").Table.from_pandas(frame)
    check = Schema(DECLARED).validate(frame)
    assert (check.n_records, check.absent, check.extra, check.fits) == (4, ("gone",), ("id",), False)
    assert (check["age"].missing, check["age"].outside, check["age"].off_step, check["age"].refused) == (1, 1, 1, None)
    assert check["sex"].undeclared == (("Male", 2),)
    assert "missing cells" in check["sex"].refused
    assert (check["size"].outside, check["size"].undeclared) == (1, ((9, 1),))
    assert "cannot be read" in check["wage"].refused
    assert (check["day"].outside, check["day"].off_step) == (1, 1)
    told = str(check)
    assert told.startswith("4 records, looked at without privacy")
    for line in ("'Male' (2)", "gone: declared, and ABSENT", "id: not declared", "wage: ", "REFUSED"):
        assert line in told


def test_validate_finds_nothing_where_all_fits_and_refuses_dtypes():
    frame = pd.DataFrame({"age": [31, 50], "sex": ["F", "M"]})
    check = Schema({"age": (0, 120), "sex": ["F", "M"]}).validate(frame)
    assert check.fits
    assert str(check).splitlines()[1] == "age: int64, fits"
    assert "'sex'" in Schema({"sex": (0, 1)}).validate(frame)["sex"].refused
    with pytest.raises(TypeError, match="ndarray"):
        Schema({}).validate(np.zeros((2, 2)))


@pytest.mark.parametrize("name", ["bounds of dates for integers", "a decimal mark of dates", "a format of integers"])
def test_what_only_dates_are_declared_as_says_the_kind(name):
    assert Column(bounds=("2020-01-01", "2021-01-01")).kind == "datetime"
    assert Column(format="%Y").kind == "datetime"
    assert Column(decimal=",").kind == "float"
    wrong = {
        "bounds of dates for integers": {"kind": "integer", "bounds": ("2020-01-01", "2021-01-01")},
        "a decimal mark of dates": {"kind": "datetime", "decimal": ","},
        "a format of integers": {"kind": "integer", "format": "%Y"},
    }
    with pytest.raises(ValueError, match="kind"):
        Column(**wrong[name])
