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
