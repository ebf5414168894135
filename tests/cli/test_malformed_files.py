"""Files that are not what their names say, or not quite: refused for free, in a line without a cell; or fitted."""

import io

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("typer")
from PIL import Image
from typer.testing import CliRunner

from sinkgen import PrivacyLedger
from sinkgen.cli.app import app

SECRET = "Rumpelstiltskin"
N = 30
LINES = [f"{20 + i % 9},{'ab'[i % 2]},{i % 3}" for i in range(N)]


def text(header="age,who,n", lines=LINES, end="\n"):
    return end.join([header, *lines, ""]).encode()


def changed(place, line):
    return [*LINES[:place], line, *LINES[place + 1 :]]


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def png(size=(4, 4), mode="L"):
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, "PNG")
    return buffer.getvalue()


def parquet(frame):
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


X, Y = np.tile([[0.0, 1.0], [1.0, 0.0]], (N // 2, 1)), np.arange(N) % 2
FILES = {
    **{
        f"line {place}: {what}": ("x.csv", text(lines=changed(place, line)))
        for place in (0, 15, N - 1)
        for what, line in {
            "empty": "",
            "blanks": "  ",
            "a secret for a number": f"{SECRET},a,0",
            "one field more": f"21,a,0,{SECRET}",
            "one field less": f"{SECRET},a",
            "an open quote": f'21,"{SECRET},0',
            "a null character": f"21,{SECRET}\0,0",
            "half a character": "21,a\ud800,0".encode("utf-8", "surrogatepass").decode("latin1"),
            "commas": ",,",
            "a huge number": f"{'9' * 400},a,0",
            "another mark": "21;a;0",
            "a header again": "age,who,n",
            "not a number": "nan,nan,nan",
            "infinite": "inf,a,0",
        }.items()
    },
    "nothing": ("x.csv", b""),
    "a byte order mark alone": ("x.csv", b"\xef\xbb\xbf"),
    "a header alone": ("x.csv", text(lines=[])),
    "one row": ("x.csv", text(lines=LINES[:1])),
    "no header": ("x.csv", text(header=LINES[0])),
    "a name twice": ("x.csv", text(header="age,age,n")),
    "no name": ("x.csv", text(header="age,,n")),
    "UTF-16": ("x.csv", text().decode().encode("utf-16")),
    "other bytes": ("x.csv", bytes(range(256)) * 9),
    "zeros": ("x.csv", bytes(999)),
    "a picture": ("x.csv", png()),
    "returns alone": ("x.csv", text(end="\r")),
    "no gzip": ("x.csv.gz", text()),
    "a zip": ("x.csv", npz(X=X)),
    "a table as Parquet": ("x.parquet", text()),
    "half a Parquet": ("x.parquet", parquet(pd.DataFrame(X, columns=["a", "b"]))[:-40]),
    "empty Parquet": ("x.parquet", b""),
    "Parquet without rows": ("x.parquet", parquet(pd.DataFrame({"a": [], "b": []}))),
    "Parquet of lists": ("x.parquet", parquet(pd.DataFrame({"a": [[1]] * N}))),
    "Parquet of bytes": ("x.parquet", parquet(pd.DataFrame({"a": [SECRET.encode()] * N}))),
    "no npz": ("x.npz", text()),
    "empty npz": ("x.npz", b""),
    "half an npz": ("x.npz", npz(X=X)[:-30]),
    "npz without X": ("x.npz", npz(data=X)),
    "npz of objects": ("x.npz", npz(X=np.array([SECRET] * N, object))),
    "npz of texts": ("x.npz", npz(X=np.array([[SECRET]] * N))),
    "npz of one number": ("x.npz", npz(X=np.array(1.0))),
    "npz without rows": ("x.npz", npz(X=X[:0])),
    "npz of nan": ("x.npz", npz(X=X * np.nan)),
    "npz of complex numbers": ("x.npz", npz(X=X + 1j)),
    "npz of other labels": ("x.npz", npz(X=X, y=Y[:-1])),
    "npz of labels of two columns": ("x.npz", npz(X=X, y=X)),
    "npz of five axes": ("x.npz", npz(X=np.zeros((N, 1, 2, 2, 2)))),
    "npz": ("x.npz", npz(X=X, y=Y)),
    "another suffix": ("x.xlsx", text()),
    "no suffix": ("x", text()),
}
FOLDERS = {
    "no pictures": {},
    "one picture": {"a.png": png()},
    "two sizes": {f"{i}.png": png((4 + i, 4)) for i in range(9)},
    "two modes": {f"{i}.png": png(mode=["L", "RGB"][i % 2]) for i in range(9)},
    "no PNG": {"a.png": text(), "b.png": text()},
    "half a PNG": {f"{i}.png": png()[:40] for i in range(9)},
    "texts beside": {"a.txt": b"", "a.png": png(), "b.png": png()},
    "labels and none": {"a/1.png": png(), "b/1.png": png(), "2.png": png()},
    "a label without pictures": {"a/1.png": png(), "b/x.txt": b""},
    "folders in folders": {"a/b/1.png": png()},
    "palettes": {f"{i}.png": png(mode="P") for i in range(9)},
    "sixteen bits": {f"{i}.png": png(mode="I;16") for i in range(9)},
    "alpha": {f"{i}.png": png(mode="RGBA") for i in range(9)},
    "one pixel": {f"{i}.png": png((1, 1)) for i in range(9)},
}


def check(data, folder):
    book = folder / "book.jsonl"
    arguments = ["fit", data, "--epsilon", 5, "--delta", 1e-4, "--ledger", book, "-q", "-o", folder / "model"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert SECRET not in result.output
    assert isinstance(result.exception, SystemExit | None), repr(result.exception)
    if result.exit_code:
        assert not (book.exists() and len(PrivacyLedger(book)))
        assert result.stderr.count("\n") == 1, result.stderr
        return
    drawn = CliRunner().invoke(app, ["sample", str(folder / "model"), "-n", "2", "-o", str(folder / "drawn.npz")])
    assert drawn.exit_code == 0 or "tables" in drawn.output or ".csv" in drawn.output, drawn.output


@pytest.mark.usefixtures("quick_tables")
@pytest.mark.parametrize("name", FILES)
def test_a_file_is_refused_for_free_or_fitted(name, tmp_path):
    path, content = FILES[name]
    (tmp_path / path).write_bytes(content)
    check(tmp_path / path, tmp_path)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_is_refused_for_free_or_fitted(name, tmp_path):
    (tmp_path / "pictures").mkdir()
    for path, content in FOLDERS[name].items():
        (tmp_path / "pictures" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pictures" / path).write_bytes(content)
    check(tmp_path / "pictures", tmp_path)
