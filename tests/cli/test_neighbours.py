"""What is public tells no record: a neighbouring row of any kind changes no dtype, shape, set of classes, or kind."""

import json

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("typer")
Image = pytest.importorskip("PIL.Image")

from typer.testing import CliRunner  # noqa: E402

from sinkgen import DPSinkhornGenerator, PrivacyLedger  # noqa: E402
from sinkgen.cli.app import app  # noqa: E402
from sinkgen.cli.private import read_private  # noqa: E402
from sinkgen.data.categories import member_counts  # noqa: E402
from sinkgen.data.table_columns import CategoryColumn  # noqa: E402


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


# --- Files of text ---------------------------------------------------------------------------------------------------

HEADER = "age,score,member,city,grade\n"
ROWS = ["31,0.5,true,Oslo,1", "64,1.5,false,Rome,2", "50,2.5,true,Oslo,1"] * 5
ODD = [
    "35.5,1,true,Oslo,1", "x,1,true,Oslo,1", ",1,true,Oslo,1", "9999999999999999999,1,true,Oslo,1", "007,1,true,Oslo,1",
    "31,inf,true,Oslo,1", "31,word,true,Oslo,1", "31,1e999,true,Oslo,1", "31,2020-01-01,true,Oslo,1",
    "31,1,maybe,Oslo,1", "31,1,,Oslo,1", "31,1,3,Oslo,1", "31,1,true,,1", "31,1,true,7,1", "31,1,true,2020-01-01,1",
    "31,1,true,Oslo,", "31,1,true,Oslo,1.0", "31,1,true,Oslo,one", "31,1,true,Oslo,NA", "31,1,true,Oslo,9",
]  # fmt: skip
SCHEMA = {
    "age": {"bounds": [0.0, 99.0], "nullable": True},  # as Schema.to_json writes it
    "score": {"kind": "float", "bounds": [0, 3], "nullable": True},
    "member": {"kind": "boolean", "nullable": True},
    "city": {"values": ["Oslo", "Rome"]},
}


def public(private):
    """All that a fit takes as public of what was read."""
    kinds = None if not hasattr(private.X, "dtypes") else {name: str(kind) for name, kind in private.X.dtypes.items()}
    shape = private.X.shape[1:] if kinds is None else tuple(kinds)
    y = None if private.y is None else (private.y.dtype, private.classes)
    return kinds, shape, y, private.layout, private.observed


@pytest.mark.parametrize("classes", [None, "1,2", "1,two"])
@pytest.mark.parametrize("row", ODD)
def test_a_line_of_text_changes_nothing_public(row, classes, tmp_path):
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    seen = []
    for name, rows in {"one.csv": ROWS, "first.csv": [row, *ROWS], "last.csv": [*ROWS, row]}.items():
        (tmp_path / name).write_text(HEADER + "\n".join(rows) + "\n")
        seen.append(public(read_private(tmp_path / name, tmp_path / "schema.json", "grade", classes)))
    assert seen[0] == seen[1] == seen[2]
    assert seen[0][0]["age"] == "float64"
    assert seen[0][4] == ()


def test_kinds_that_nothing_declares_are_told(tmp_path):
    (tmp_path / "data.csv").write_text(HEADER + "\n".join(ROWS))
    (tmp_path / "schema.json").write_text('{"age": {"nullable": true}, "score": {"kind": "float"}}')
    private = read_private(tmp_path / "data.csv", tmp_path / "schema.json", "grade", None)
    facts = ("the kinds of the columns age, member, city", "that no text is nearly all numbers or dates")
    assert private.observed == facts  # a table of which either does not hold has another model, or none


# --- Pictures --------------------------------------------------------------------------------------------------------


def pictures(folder, **odd):
    for label in ("3", "7"):
        (folder / label).mkdir(parents=True)
        Image.fromarray(np.zeros((6, 5), np.uint8)).save(folder / label / "a.png")
    for label, mode in odd.items():
        (folder / label).mkdir(exist_ok=True)
        Image.new(mode, (5, 6)).save(folder / label / "odd.png")
    return folder


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1), (6, 5, 3)])
@pytest.mark.parametrize("odd", [{"3": "RGB"}, {"3": "L"}, {"unknown": "L"}, {"unknown": "RGBA"}])
def test_a_picture_changes_nothing_public(odd, shape, tmp_path):
    one = read_private(pictures(tmp_path / "one"), None, None, "3,7", shape=shape)
    two = read_private(pictures(tmp_path / "two", **odd), None, None, "3,7", shape=shape)
    assert public(one) == public(two)
    assert one.X.shape[1:] == shape
    assert one.classes == (3, 7)
    assert one.y.dtype == np.int64
    undeclared = [read_private(folder, None, None, None, shape=shape).y for folder in tmp_path.iterdir()]
    assert {y.dtype for y in undeclared} == {np.dtype(object)}


def test_what_is_read_off_pictures_is_told(tmp_path):
    assert read_private(pictures(tmp_path / "one"), None, None, None).observed == ("size and colour of the pictures",)


# --- Files with a schema of their own --------------------------------------------------------------------------------


def test_a_missing_cell_of_parquet_changes_nothing_public(tmp_path):
    import pyarrow
    from pyarrow import parquet

    schema = pyarrow.schema([("age", pyarrow.int64()), ("code", pyarrow.string()), ("grade", pyarrow.int32())])
    rows = {"age": [31, 64], "code": ["1", "2"], "grade": [1, 2]}
    odd = {"age": [None, 64], "code": [None, "x"], "grade": [None, 2]}
    seen = []
    for name, columns in {"one": rows, "two": odd}.items():
        parquet.write_table(pyarrow.table(columns, schema), tmp_path / f"{name}.parquet")
        seen.append(public(read_private(tmp_path / f"{name}.parquet", None, "grade", "1,2")))
    assert seen[0] == seen[1]
    assert seen[0][0]["age"] == "Int64"
    assert seen[0][2] == (np.dtype("int32"), (1, 2))
    assert seen[0][4] == ()


# --- What was read off goes where the statement is -------------------------------------------------------------------


def test_statement_and_ledger_tell_what_was_read_off_the_cells(tmp_path):
    (tmp_path / "data.csv").write_text(HEADER + "\n".join(ROWS * 20))
    fit = ["fit", tmp_path / "data.csv", "--epsilon", 5, "-q", "--ledger", tmp_path / "book", "-o"]
    kinds = "the kinds of the columns age, score, member, city, grade, read off the records"
    texts = "that no text is nearly all numbers or dates, read off the records"
    assert run(*fit, tmp_path / "m").exit_code == 0
    for where in (tmp_path / "m", tmp_path / "book"):
        told = run("privacy", where).stdout
        assert kinds in told
        assert texts in told
    refused = run(*fit, tmp_path / "n", "--metadata", "require")
    assert "the kinds of the columns" in refused.stderr
    assert refused.exit_code == 1


# --- Values of no dtype of their own ---------------------------------------------------------------------------------

NUMBERS = [[3, 1], [2, 0]] * 20
PLAIN = {"schema": (0, 9), "epsilon": 50.0}
ODD_ROWS = [[5.5, 1], [True, 0], [2**40, 1], [1e30, 0], [-0.0, 1], [np.int8(3), np.float32(1)]]


def drawn(X, y=None, **settings):
    gen = DPSinkhornGenerator(**PLAIN | settings).fit(X, y)
    X_new, y_new = gen.sample(4) if y is not None else (gen.sample(4), np.zeros(4))
    return X_new.dtype, X_new.shape, y_new.dtype, getattr(gen, "classes_", np.zeros(0)).tolist()


@pytest.mark.parametrize("row", ODD_ROWS)
def test_no_row_of_a_list_chooses_the_dtype(row):
    boxed = [np.array([*NUMBERS, row], dtype=object), np.array(NUMBERS, dtype=object)]
    assert len({str(drawn(X)) for X in (NUMBERS, [*NUMBERS, row], [row, *NUMBERS], *boxed)}) == 1


@pytest.mark.parametrize("label", [1.0, True, 7, np.int8(1), np.float32(0.0), -0.0])
@pytest.mark.parametrize("box", [list, lambda y: np.array(y, dtype=object), lambda y: pd.Series(y, dtype=object)])
def test_no_label_of_a_list_chooses_the_dtype(label, box):
    y = [0, 1] * 20
    results = [drawn(NUMBERS, box([*y[:-1], end]), classes=[0, 1]) for end in (1, label)]
    assert results[0] == results[1]
    assert results[0][2] == np.int64
    assert drawn(NUMBERS, [True, False] * 20, classes=[False, True])[2] == np.dtype(bool)


def test_bytes_are_no_labels_before_anything_is_spent():
    ledger = PrivacyLedger()
    for classes in (None, [b"a", b"b"]):
        with pytest.raises((TypeError, ValueError), match="y"):
            DPSinkhornGenerator(**PLAIN, ledger=ledger, classes=classes).fit(NUMBERS, np.array([b"a", b"b"] * 20))
    assert not len(ledger)


@pytest.mark.parametrize("first", [True, 1.0, np.float32(1), np.int8(1)])
def test_a_category_is_of_one_form_whoever_has_it_first(first):
    cells = [1, 2, 3] * 60
    frame = pd.DataFrame({"kind": pd.Series([first, *cells], dtype=object)})
    for X in (frame, frame[::-1].reset_index(drop=True)):
        form = DPSinkhornGenerator(epsilon=50).fit(X).release_.form
        assert [repr(value) for value in form.columns[0].values] == ["1", "2", "3"]


def test_true_one_and_its_text_are_three_categories():
    counts = member_counts(pd.Series([True, 1, 1.0, -0.0, 0, None, False, True], dtype=object))
    assert counts == {"true": 2, "1": 2, "0": 2, "false": 1}
    assert member_counts(pd.Series(["1", "true", "1"])) == {'"1"': 2, '"true"': 1}
    assert member_counts(pd.Series([0.0, -0.0, np.nan])) == {"0": 2}
    column = CategoryColumn("a", "object", "category", True, (0, 1, True), other=True)
    assert column.encode(pd.Series([True, 1, 0.0, "1", None], dtype=object)).tolist() == [2, 1, 0, 3, 4]


def test_one_number_beyond_doubles_warns_of_nothing():
    X = np.ones((50, 2), dtype=np.longdouble)
    X[0, 0] = np.finfo(np.longdouble).max
    for schema in ((0, 1), None):
        assert DPSinkhornGenerator(schema=schema).fit(X).sample(3).shape == (3, 2)
