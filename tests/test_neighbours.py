"""What is public tells no record: a neighbouring row of any kind changes no dtype, shape, set of classes, or kind."""

import json

import numpy as np
import pytest

pytest.importorskip("typer")
Image = pytest.importorskip("PIL.Image")

from sinkgen.cli.model import read_private  # noqa: E402

# --- Files of text ---------------------------------------------------------------------------------------------------

HEADER = "age,score,member,city,grade\n"
ROWS = ["31,0.5,true,Oslo,1", "64,1.5,false,Rome,2", "50,2.5,true,Oslo,1"] * 5
ODD = [
    "35.5,1,true,Oslo,1", "x,1,true,Oslo,1", ",1,true,Oslo,1", "9999999999999999999,1,true,Oslo,1", "007,1,true,Oslo,1",
    "31,inf,true,Oslo,1", "31,word,true,Oslo,1", "31,1e999,true,Oslo,1", "31,2020-01-01,true,Oslo,1",
    "31,1,maybe,Oslo,1", "31,1,,Oslo,1", "31,1,3,Oslo,1", "31,1,true,,1", "31,1,true,7,1", "31,1,true,2020-01-01,1",
    "31,1,true,Oslo,", "31,1,true,Oslo,1.0", "31,1,true,Oslo,one", "31,1,true,Oslo,NA", "31,1,true,Oslo,9", "31",
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
    assert private.observed == ("the kinds of the columns age, member, city",)


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
    one = read_private(pictures(tmp_path / "one"), None, None, "3,7", shape)
    two = read_private(pictures(tmp_path / "two", **odd), None, None, "3,7", shape)
    assert public(one) == public(two)
    assert one.X.shape[1:] == shape
    assert one.classes == (3, 7)
    assert one.y.dtype == np.int64
    undeclared = [read_private(folder, None, None, None, shape).y for folder in tmp_path.iterdir()]
    assert {y.dtype for y in undeclared} == {np.dtype(object)}


def test_what_is_read_off_pictures_is_told(tmp_path):
    assert read_private(pictures(tmp_path / "one"), None, None, None).observed == ("size and colour of the pictures",)
