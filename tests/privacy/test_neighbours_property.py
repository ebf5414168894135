"""A neighbouring record of any kind, in any source: all that is public and no noisy number stays what it was."""

import dataclasses
import datetime
import decimal
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from sinkgen import Column, DPSinkhornGenerator, PrivacyLedger, Semidual
from sinkgen.exceptions import DataFreeError, PoorFitWarning

N = 40
RELEASED = ("bounds", "edges", "values", "bins", "atoms", "step", "weights")  # noisy numbers, and what hangs on these


def boxed(values):
    """A one-dimensional array of objects, also of objects that are sequences."""
    array = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        array[place] = value
    return array


def shown(X, y, **parameters):
    """All that is public of a fit and no noisy number; None of records that are refused, which costs nothing."""
    ledger = PrivacyLedger()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            gen = DPSinkhornGenerator(8, ledger=ledger, noise_seed=0, random_state=0, **parameters).fit(X, y)
        except DataFreeError:
            assert not len(ledger)
            return None
        drawn = gen.sample(3)
    X_new, y_new = drawn if isinstance(drawn, tuple) else (drawn, None)
    spent, form = gen.privacy_spent(), gen.release_.form
    columns, declared = getattr(form, "columns", ()), parameters.get("schema") or {}
    return {
        "dtypes": str(X_new.dtypes.to_dict() if hasattr(X_new, "dtypes") else X_new.dtype),
        "shape": X_new.shape,
        "labels": None if y_new is None else (y_new.dtype, y_new.shape, gen.classes_.dtype),
        "columns": [
            {
                f.name: getattr(column, f.name)
                for f in dataclasses.fields(column)
                # Whether cells are missing of a column of which nothing is declared, is released as well.
                if f.name not in RELEASED and (f.name != "nullable" or column.name in declared)
            }
            for column in columns
        ],
        "classes": gen.classes_.tolist() if parameters.get("classes") else None,  # else they are released
        "names": form.names,
        "assumptions": spent.assumptions,
        "releases": spent.releases,
        "ledger": [(row.what, row.assumptions) for row in ledger],
        "warnings": sorted(
            {
                (str(warning.category), str(warning.message))
                for warning in told
                if warning.category is not PoorFitWarning
            }
        ),  # those depend on released numbers alone
    }


# A column of each dtype, what is declared of it, and cells that this dtype can hold, or that objects can.
ANY = [5.5, True, 2**40, 1e30, -0.0, 0, "1", "word", "", "1,5", "2020-01-01", datetime.date(2020, 1, 1), b"a", None,
       float("inf"), float("nan"), np.int8(3), np.float32(1), decimal.Decimal("1.5"),
       pd.Timestamp("2020", tz="UTC")]  # fmt: skip
COLUMNS = {
    "float64": ([0.5, 1.5], (0, 2), [1e30, -0.0, 5e-324, float("inf"), float("nan")]),
    "float32": ([0.5, 1.5], None, [1e30, -0.0, 1e-40]),
    "int64": ([1, 2], None, [2**40, -(2**62), 0]),
    "uint8": ([1, 2], None, [0, 255]),
    "Int64": ([1, None], None, [2**40, 0, None]),
    "bool": ([True, False], None, [True]),
    "boolean": ([True, None], None, [False, None]),
    "datetime64[s]": (["2020-01-01", "2020-02-01"], None, ["1800-01-01", "2500-01-01 03:04:05"]),
    "str": (["a", "b"], None, ["1", "", "word", "2020-01-01", "nan"]),
    "category": (["a", "b"], ["a", "b"], ["a"]),
    "declared objects": (["a", "b"], ["a", "b"], [cell for cell in ANY if cell is not None]),
    "numbers as objects": ([1, 2], Column(kind="float", bounds=(0, 3), nullable=True), ANY),
    "texts as objects": (["a", "b"], Column(kind="category", nullable=True), ["1", "", "word", None, "2020-01-01"]),
    "written": (["1,5", "2,5"], Column(decimal=",", bounds=(0, 9), nullable=True), ANY),
    "days": (["01.02.2020", "05.02.2020"], Column(format="%d.%m.%Y", nullable=True), ANY),
}
LABELS = [0, 1, 2, True, 1.0, -0.0, np.int8(1), np.float32(0), 7]


def column(name, cells):
    if name in ("declared objects", "numbers as objects", "texts as objects", "written", "days"):
        return pd.Series(boxed(cells), dtype=object)
    return pd.Series(cells).astype(name) if name != "category" else pd.Series(pd.Categorical(cells, ["a", "b"]))


def with_record(cells, cell, place):
    return [*cells[:place], cell, *cells[place:]]


@st.composite
def tables(draw):
    """A table and its neighbour, with what is declared of both."""
    names = draw(st.lists(st.sampled_from(list(COLUMNS)), min_size=1, max_size=4, unique=True))
    place = draw(st.integers(0, N))
    few = {name: COLUMNS[name][0] * (N // 2) for name in names}
    more = {name: with_record(few[name], draw(st.sampled_from(COLUMNS[name][2])), place) for name in names}
    declared = {name: COLUMNS[name][1] for name in names if COLUMNS[name][1] is not None}
    if "float64" in declared:
        declared["float64"] = Column(bounds=(0, 2), nullable=True)
    y, label = ([0, 1] * (N // 2), draw(st.sampled_from(LABELS))) if draw(st.booleans()) else (None, None)
    beside = None if y is None else boxed(with_record(y, label, place))
    parameters = {"schema": declared or None, "classes": None if y is None else draw(st.sampled_from([[0, 1], None]))}
    one, two = (pd.DataFrame({name: column(name, cells) for name, cells in data.items()}) for data in (few, more))
    return (one, None if y is None else boxed(y)), (two, beside), parameters


@st.composite
def arrays(draw):
    """Rows of numbers, as lists, objects or an array, and their neighbour."""
    few = [[0, 1], [1, 0]] * (N // 2)
    cells = st.sampled_from([5.5, True, 2**40, 1e30, -0.0, np.int8(3), np.float32(1)])
    row = draw(st.lists(cells, min_size=2, max_size=2))
    more = with_record(few, row, draw(st.integers(0, N)))
    made = draw(st.sampled_from([list, lambda rows: np.array(rows, object), lambda rows: np.array(rows, float)]))
    schema = draw(st.sampled_from([(0, 1), None]))
    return (made(few), None), (made(more), None), {"schema": schema, "mechanism": Semidual(steps=2)}


@pytest.mark.filterwarnings("ignore::sinkgen.exceptions.ReproducibleNoiseWarning")
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(neighbours=st.one_of(tables(), arrays()))
def test_a_record_of_any_kind_changes_nothing_public(quick_tables, neighbours):
    one, two, parameters = neighbours
    neighbour = shown(*two, **parameters)
    assume(neighbour is not None)  # of what cannot be read nothing is released at all
    assert shown(*one, **parameters) == neighbour


@pytest.mark.filterwarnings("ignore::sinkgen.exceptions.ReproducibleNoiseWarning")
@pytest.mark.parametrize("classes", [[0, 1], None])
@pytest.mark.parametrize("label", LABELS, ids=repr)
def test_a_label_of_any_kind_changes_no_dtype(label, classes):
    X, y = np.zeros((N + 1, 2)), [0, 1] * (N // 2)
    parameters = {"schema": (0, 1), "classes": classes, "mechanism": Semidual(steps=2)}
    neighbour = shown(X, boxed([*y, label]), **parameters)
    assert neighbour is not None
    assert shown(X[:-1], boxed(y), **parameters) == neighbour
    assert shown(X[:-1], y, **parameters) == neighbour
