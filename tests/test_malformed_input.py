"""Malformed input of every kind: a clear TypeError or ValueError, at once, before any spend, and no value of the data.

Every array, table and label holds a secret number and a secret word, put together at run time: they must not occur in
the traceback, chained errors included.
"""

import datetime
import decimal
import traceback

import numpy as np
import pandas as pd
import pytest
import torch
from limits import time_limit
from scipy import sparse

from sinkgen import Column, DPSinkhornGenerator, PrivacyLedger

NUMBER = 31415 + 0.9265
WORD = "".join(reversed("eulb-narretlaw"))  # not in any line of source that a traceback could show
SECRETS = ["31415", WORD]


def table(**columns):
    return pd.DataFrame({"amount": [NUMBER, 1.0, 2.0], "who": [WORD, "a", "b"]} | columns)


X = np.full((4, 3), NUMBER)
Y = np.array([0, 1, 0, 1])


def replaced(value, dtype=float, at=(1, 2)):
    array = X.astype(dtype)
    array[at] = value
    return array


def boxed(value):
    return replaced(value, object)


# --- records ---------------------------------------------------------------------------------------------------------

ARRAYS = {
    **{f"{value} in {dtype}": replaced(value, dtype) for value in ("nan", "inf", "-inf") for dtype in ("f4", "f8")},
    "nan in f2": (X / 2).astype("f2") * np.nan,
    "nan in long double": replaced(np.nan, np.longdouble),
    "nan in the first cell": replaced(np.nan, at=(0, 0)),
    "all nan": X * np.nan,
    "nan in images": np.where(np.arange(48).reshape(3, 4, 4) == 7, np.nan, NUMBER),
    "inf in colour images": np.where(np.arange(96).reshape(2, 4, 4, 3) == 7, np.inf, NUMBER),
    "complex64": X.astype("c8"),
    "complex128": X + 1j,
    "boxed complex": boxed(NUMBER + 1j),
    "boxed dict": boxed({WORD: NUMBER}),
    "boxed list": boxed([NUMBER]),
    "boxed None": boxed(None),
    "boxed bytes": boxed(WORD.encode()),
    "boxed word": boxed(WORD),
    "boxed object": boxed(object()),
    "boxed array": boxed(np.array([NUMBER, 2.0])),
    "boxed huge integer": boxed(31415 * 10**400),
    "boxed date": boxed(datetime.date(2020, 1, 1)),
    "boxed missing": boxed(pd.NA),
    "boxed decimal nan": boxed(decimal.Decimal("nan")),
    "words": np.array([[WORD, "a"], ["b", "c"]]),
    "bytes": np.array([[WORD.encode(), b"a"]]),
    "dates": np.array([["2020-01-01", "2020-01-02"]], dtype="M8[s]"),
    "durations": np.array([[31415, 2]], dtype="m8[s]"),
    "structured": np.array([(NUMBER, 1.0)], dtype=[("a", float), ("b", float)]),
    "raw": np.zeros((2, 2), dtype="V8"),
    "masked": np.ma.masked_array(X, X > 0),
    **{
        f"sparse {kind}": getattr(sparse, f"{kind}_{form}")(X)
        for kind in ("csr", "csc", "coo", "lil", "dok", "dia", "bsr")
        for form in ("matrix", "array")
    },
    "ragged": [[NUMBER, 1], [2]],
    "ragged, deeper": [[[NUMBER], [1, 2]], [[1], [2]]],
    "ragged arrays": [np.full(3, NUMBER), np.full(2, NUMBER)],
    "a scalar": NUMBER,
    "an array scalar": np.array(NUMBER),
    "one dimension": np.full(5, NUMBER),
    "five dimensions": np.full((2, 2, 2, 2, 2), NUMBER),
    "six dimensions": np.full((1,) * 6, NUMBER),
    "no records": np.zeros((0, 3)),
    "no columns": np.zeros((3, 0)),
    "nothing": np.zeros((0, 0)),
    "no pixels": np.zeros((2, 0, 3)),
    "no channels": np.zeros((2, 3, 3, 0)),
    "an empty list": [],
    "a list of empty lists": [[], []],
    "None": None,
    "a dict": {"a": [NUMBER, 2.0]},
    "a set": {NUMBER, 2.0},
    "a generator": (row for row in X),
    "an iterator": iter(X.tolist()),
    "a function": lambda: X,
    "an object": object(),
    "a class": np.ndarray,
    "a series": pd.Series([NUMBER, 2.0]),
    "an index": pd.Index([NUMBER, 2.0]),
    "torch nan": torch.full((2, 2), torch.nan),
    "torch complex": torch.full((2, 2), NUMBER + 1j),
    "torch sparse": torch.eye(3).to_sparse(),
}

# --- labels ----------------------------------------------------------------------------------------------------------

LABELS = {
    "one too few": [0, 1, 0],
    "one too many": [0, 1, 0, 1, 0],
    "none": [],
    "two columns": np.full((4, 2), 31415),
    "three dimensions": np.full((4, 1, 1), 31415),
    "a number": 31415,
    "nan": [0, 1, np.nan, NUMBER],
    "inf": [0, 1, np.inf, 31415.0],
    "fractions": np.full(4, NUMBER),
    "complex": np.full(4, NUMBER + 1j),
    "missing": [31415, 1, None, 1],
    "missing words": [WORD, "a", None, "b"],
    "words and numbers": np.array([WORD, 1, 0, 31415], dtype=object),
    "dicts": [{WORD: 1}] * 4,
    "lists": [[31415], [1, 2], [3], [4]],
    "dates": np.array(["2020-01-01"] * 4, dtype="M8[D]"),
    "durations": np.full(4, 31415, dtype="m8[s]"),
    "boxed dates": [datetime.date(2020, 1, 1)] * 4,
    "sparse": sparse.csr_matrix([[31415], [1], [0], [1]]),
    "huge integers": [31415 * 10**40] * 4,
    "sets": [{31415}] * 4,
    "a dict": {0: 31415},
    "a generator": (label for label in Y),
    "a function": lambda: Y,
    "an object": object(),
    "a series with gaps": pd.Series([31415, 1, np.nan, 0]),
    "a nullable series with gaps": pd.Series([31415, 1, None, 0], dtype="Int64"),
    "a frame": pd.DataFrame({"a": [31415, 1, 0, 1], "b": [1, 2, 3, 4]}),
    "raw": np.zeros(4, dtype="V8"),
    "a column of an array": "label",
}

# --- tables ----------------------------------------------------------------------------------------------------------

TABLES = {
    "mixed cells": table(who=[WORD, 3, "b"]),
    "cells of dicts": table(who=[{WORD: 1}, {}, {}]),
    "cells of lists": table(who=[[WORD], [], []]),
    "cells of objects": table(who=[object()] * 3),
    "cells of bytes and text": table(who=[WORD.encode(), "a", "b"]),
    "complex numbers": table(amount=[NUMBER + 1j, 1, 2]),
    "durations": table(amount=pd.to_timedelta([31415, 1, 2], "s")),
    "periods": table(amount=pd.period_range("2020", periods=3, freq="D")),
    "intervals": table(amount=pd.IntervalIndex.from_breaks([0, 1, 2, 31415.9])),
    "no rows": table().iloc[:0],
    "no columns": table()[[]],
    "names that repeat": table().set_axis(["amount", "amount"], axis=1),
    "names of tuples": table().set_axis(pd.MultiIndex.from_tuples([("a", 1), ("b", 2)]), axis=1),
    "names of floats": table().set_axis([0.5, 1.5], axis=1),
    "names of None": table().set_axis([None, "who"], axis=1),
}
BOUNDED = {
    "missing": [NUMBER, None, 2.0],
    "infinite": [NUMBER, np.inf, 2.0],
    "minus infinite": [-np.inf, NUMBER, 2.0],
    "of a sparse column, missing": pd.arrays.SparseArray([NUMBER, np.nan, 2.0]),
    "of a nullable dtype, missing": pd.array([31415, None, 2], dtype="Int64"),
}

SCHEMAS = {
    "an unknown column": {"other": (0, 1)},
    "bounds the wrong way round": {"amount": (1, 0)},
    "equal bounds": {"amount": (1, 1)},
    "bounds of nan": {"amount": (np.nan, 1)},
    "infinite bounds": {"amount": (0, np.inf)},
    "one bound": {"amount": (0,)},
    "bounds of words": {"amount": ("a", "b", 3)},
    "a number": {"amount": 3},
    "None": {"amount": None},
    "categories that repeat": {"who": ["a", "a"]},
    "no categories": {"who": []},
    "edges that fall": {"amount": "edges"},
    "a name of another kind": {3: (0, 1)},
    "a string": "auto",
    "an int": 7,
    "a set": {"amount", "who"},
}

# --- parameters ------------------------------------------------------------------------------------------------------

JUNK = {
    "nan": np.nan, "inf": np.inf, "minus inf": -np.inf, "minus 1": -1, "0": 0, "a word": "junk", "bytes": b"junk",
    "None": None, "a list": [], "a dict": {}, "a tuple": (), "an object": object(), "complex": 1j, "True": True,
    "a huge integer": 10**400, "an array": np.array([1, 2]), "a tensor": torch.ones(2), "2.5": 2.5,
}  # fmt: skip
# What is no junk there, or means something.
ALLOWED = {
    "epsilon": {"inf", "2.5"},
    "delta": set(),
    "mechanism": set(),
    "generator": set(),
    "backend": set(),
    "callback": {"None"},
    "cost": set(),
    "reg": {"2.5"},
    "debias": {"None", "0"},
    "steps": {"a huge integer"},
    "sampling_rate": set(),
    "clip": {"2.5"},
    "schema": {"None"},
    "image_shape": {"None"},
    "classes": {"None", "an array", "a tensor"},
    "metadata": set(),
    "accountant": set(),
    "ledger": {"None"},
    "device": set(),
    "random_state": {"None", "0"},
    "noise_seed": {"None", "0", "a huge integer"},
    "secure_noise": {"True"},
    "checkpoint_dir": {"None", "a word"},
    "verbose": {"0", "True", "a huge integer"},
}
SHAPES = [(0, 3), (2, 2), (3,), "ab", 3, (1.5, 2), (-1, -3), (np.nan, 1), ((1, 3),), (1, 3, 1, 1), (3, 1, 0), [None, 3]]
BOUNDS = [
    (1, 0), (0, 0), (np.nan, 1), (0, np.inf), (-np.inf, 0), (0,), (0, 1, 2), [(0, 1)], [(0, 1)] * 4, [(0, "a")] * 3,
    [(0, 1), (0, 1), None], [[0, 1], [0, 1], [1, 0]], (0, 1j), (None, 1), "01", {"a": (0, 1)}, np.zeros((3, 3)),
]  # fmt: skip
CLASSES = [[], [0, 0], ["a", "b"], [[0, 1]], [None, 1], [0, np.nan], [{}, {}], 3, "ab", {0: 1}, [object()], [1j, 2j]]


def cases():
    for name, value in ARRAYS.items():
        yield f"X: {name}", value, None, {}
        if name in ("nan in f8", "boxed dict", "sparse csr_matrix", "complex128"):
            yield f"X: {name}, with labels and bounds", value, Y, {"schema": (0, 1), "classes": [0, 1]}
    for name, value in LABELS.items():
        yield f"y: {name}", X, value, {}
    for name, value in TABLES.items():
        yield f"table: {name}", value, None, {}
    for name, value in BOUNDED.items():
        yield f"table: bounded numbers, {name}", table(amount=value), None, {"schema": {"amount": (0, 1)}}
    for name, value in SCHEMAS.items():
        schema = {"amount": Column} if value == {"amount": "edges"} else value
        yield f"schema of a table: {name}", table(), None, {"schema": schema}
    for name, allowed in ALLOWED.items():
        for junk, value in JUNK.items():
            if junk not in allowed:
                yield f"{name}: {junk}", X, Y, {name: value}
    yield from ((f"image_shape: {value}", X, Y, {"image_shape": value}) for value in SHAPES)
    yield from ((f"bounds: {value}", X, Y, {"schema": value}) for value in BOUNDS)
    yield from ((f"classes: number {i}", X, Y, {"classes": value}) for i, value in enumerate(CLASSES))


CASES = {name: case for name, *case in cases()}


def test_there_are_enough():
    assert len(CASES) >= 200


@pytest.mark.parametrize("name", CASES)
def test_malformed_input_is_refused_at_once_for_free_and_in_silence(name):
    records, labels, settings = CASES[name]
    ledger = PrivacyLedger()
    with time_limit(20), pytest.raises((TypeError, ValueError)) as caught:
        DPSinkhornGenerator(**{"ledger": ledger, **settings}).fit(records, labels)
    assert len(ledger) == 0
    told = "".join(traceback.format_exception(caught.value))
    assert not any(secret in told for secret in SECRETS)
    assert str(caught.value)
    for parameter in settings.keys() & ALLOWED.keys():
        assert "schema" in settings or parameter in str(caught.value)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (table(amount=pd.arrays.SparseArray([31415, 0, 2])), r"convert it by .sparse.to_dense\(\)"),
        ("people.csv", r"pass pandas.read_csv\(path\)"),
        ("people.csv.gz", r"pass pandas.read_csv\(path\)"),
        ("arrays.npz", "reads those of Parquet alone"),
        (np.zeros((5, 3, 32, 32)), r"transpose\(0, 2, 3, 1\), or say image_shape=\(3, 32, 32\)"),
    ],
    ids=["sparse column", "csv", "zipped csv", "npz", "channels first"],
)
def test_a_slip_is_told_with_what_to_do(records, message):
    with pytest.raises((TypeError, ValueError), match=message):
        DPSinkhornGenerator().fit(records)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([WORD, None, "a", "b"], "leave such records out"),
        (pd.Series([WORD, pd.NA, "a", "b"], dtype="string"), "leave such records out"),
        (pd.Categorical([WORD, None, "a", "b"]), "leave such records out"),
        (np.array([WORD, 1, "a", 2], dtype=object), r"convert it by .astype\('str'\)"),
        (3, "or be the name, as text, of a table's column"),
    ],
    ids=["none", "NA", "category", "mixed", "a number"],
)
def test_a_slip_in_labels_is_told_with_what_to_do(labels, message):
    with pytest.raises((TypeError, ValueError), match=message):
        DPSinkhornGenerator().fit(X, labels)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_tensors_are_arrays_whoever_made_them(dtype):
    tensor = torch.rand(200, 2, dtype=torch.float32).to(dtype).requires_grad_()
    drawn, labels = DPSinkhornGenerator(5, schema=(0, 1), steps=2).fit(tensor, tensor[:, 0] > 0.5).sample(3)
    assert drawn.dtype == (np.float16 if dtype == torch.float16 else np.float32)
    assert labels.dtype == bool


def test_conditions_in_a_table_are_refused():
    gen = DPSinkhornGenerator(5, schema={"a": (0, 9)}).fit(pd.DataFrame({"a": np.arange(500) % 10}))
    with pytest.raises(TypeError, match=r"sample for each of frame.to_dict\('records'\)"):
        gen.sample(2, conditions=pd.DataFrame({"a": [1, 2]}))


def test_channels_first_that_are_said_to_be_rows_are_taken():
    gen = DPSinkhornGenerator(5, schema=(0, 1), image_shape=(3, 5, 6), steps=2).fit(np.zeros((50, 3, 5, 6)))
    assert gen.sample(2).shape == (2, 3, 5, 6)
