"""A disk that is full: told before anything is spent; and if it fills up later, what was paid for is not lost."""

import errno
import os
import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer")

from typer.testing import CliRunner

from sinkgen import DPSinkhornGenerator
from sinkgen._durable import replaced
from sinkgen.cli import console
from sinkgen.cli.app import app
from sinkgen.privacy.journal import NAME
from sinkgen.progress import FitProgress, Progress

FULL = Path("/dev/full")  # whatever is written there fails as on a full disk, in the kernel
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")

X = np.random.default_rng(0).normal(size=(300, 2))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with records; temporary folders are made within it."""
    np.savez(tmp_path / "data.npz", X=X)
    (tmp_path / "data.csv").write_text("a,b\n" + "\n".join(f"{i % 7},{'xy'[i % 2]}" for i in range(300)))
    (tmp_path / "schema.json").write_text('{"a": {"kind": "integer", "bounds": [0, 6]}, "b": {"values": ["x", "y"]}}')
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fit(*more, data="data.npz", code=0):
    line = ["fit", data, "--epsilon", "5", "--ledger", "spent", "-o", "model", "-q", *more]
    result = CliRunner().invoke(app, line)
    assert result.exit_code == code, result.output
    return result.stderr


def charges(place):
    return len((place / "spent").read_bytes().splitlines()) if (place / "spent").exists() else 0


def fill(place, name="model.safetensors"):
    (place / "model").mkdir(exist_ok=True)
    (place / "model" / name).symlink_to(FULL)


@pytest.mark.parametrize("fault", ["full", "forbidden"])
def test_what_can_be_found_is_found_before_anything_is_spent(fault, place, monkeypatch):
    def make_file(dir, buffering):
        if fault == "forbidden":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(dir))
        return FULL.open("wb", buffering=0)

    monkeypatch.setattr("tempfile.TemporaryFile", make_file)
    told = fit(code=1)
    reason = "No space left on device" if fault == "full" else "Permission denied"
    assert told == f"sinkgen: model: {reason}; 32 MiB must be free there. Nothing was spent\n"
    assert charges(place) == 0


def test_a_model_that_cannot_be_written_is_written_elsewhere(place):
    fill(place)
    told = fit(code=1)
    assert "sinkgen: model: No space left on device. The budget is spent: epsilon 5. The model was written to " in told
    assert charges(place) == 1
    folder = re.search(r"written to (\S+) instead", told)[1]
    assert folder.startswith(str(place / "temporary"))
    assert DPSinkhornGenerator.load(folder).sample(3).shape == (3, 2)
    assert os.listdir(place / "model") == ["model.safetensors"]


@pytest.mark.parametrize("name", ["model.safetensors", "model.json", "table.json"])
def test_a_checkpoint_holds_what_could_not_be_written_and_the_same_line_goes_on(name, place):
    more = ["--checkpoint", "kept", "--schema", "schema.json", "--target", "b", "--seed", "0", "--force"]
    fill(place, name)
    told = fit(*more, data="data.csv", code=1)
    assert "The budget is spent: epsilon 5. kept holds all that was released: make room" in told
    assert os.listdir(place / "kept") == [NAME]
    (place / "model" / name).unlink()
    fit(*more, data="data.csv")
    assert charges(place) == 1
    assert os.listdir(place / "kept") == []
    assert sorted(os.listdir(place / "model")) == ["model.json", "model.safetensors", "table.json"]
    assert CliRunner().invoke(app, ["sample", "model", "-n", "2"]).stdout.startswith("a,b\n")


def test_what_is_lost_all_the_same_is_said(place, monkeypatch):
    def fail(prefix):
        raise OSError(errno.ENOSPC, "full")

    fill(place)
    monkeypatch.setattr("tempfile.mkdtemp", fail)
    assert "it is lost. Next time give --checkpoint" in fit(code=1)


def test_a_failed_save_loses_nothing(place):
    fill(place)
    gen = DPSinkhornGenerator(epsilon=5, schema=(-4, 4), checkpoint_dir="kept").fit(X)
    with pytest.raises(OSError, match="No space left on device: no model was written") as caught:
        gen.save("model")
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == "model"
    assert os.listdir("kept") == [NAME]
    gen.save("other")
    assert os.listdir("kept") == []
    assert DPSinkhornGenerator.load("other").sample(3).shape == (3, 2)


def test_the_journal_goes_once_the_model_is_on_the_disk(place, monkeypatch):
    order, sync, unlink = [], os.fsync, os.unlink
    gen = DPSinkhornGenerator(epsilon=5, schema=(-4, 4), checkpoint_dir="kept").fit(X)
    monkeypatch.setattr("os.fsync", lambda file: order.append("sync") or sync(file))
    monkeypatch.setattr("os.unlink", lambda path, **how: order.append(os.path.basename(path)) or unlink(path, **how))
    gen.save("model")
    assert order[: order.index(NAME)].count("sync") == 4  # two files, and for each the folder


def test_a_file_takes_its_place_when_it_is_on_the_disk(place, monkeypatch):
    def fail(file):
        raise OSError(errno.ENOSPC, "quota")

    (place / "one").write_text("former")
    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="quota"), replaced(place / "one") as aside:
        aside.write_text("new")
    assert (place / "one").read_text() == "former"
    assert not list(place.glob(".one*"))


# --- Nobody reads the errors -----------------------------------------------------------------------------------------


@pytest.fixture
def unread(monkeypatch):
    """A standard error whose reader has gone, as after ``| head -1``."""
    read, write = os.pipe()
    os.close(read)
    file = os.fdopen(write, "w", buffering=1)
    monkeypatch.setattr("sys.stderr", file)
    yield
    monkeypatch.undo()
    with suppress(BrokenPipeError):
        file.close()


def test_a_fit_that_nobody_watches_ends_as_any(unread):
    with console.progress_bar(5.0, False) as show:
        for step in range(3):
            show(FitProgress("steps", step, 3, 1.0))
    console.say("done")
    with Progress(verbose=1) as progress:
        assert list(progress.steps("steps")(range(3))) == [0, 1, 2]
