"""A fit that was killed goes on where it stopped: same end to the bit, no second charge, nothing shown."""

import math
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sinkgen import DPSinkhornGenerator, PrivacyLedger
from sinkgen.exceptions import BudgetExceededError
from sinkgen.privacy.journal import NAME, Journal
from sinkgen.privacy.mechanism import GaussianMechanism
from sinkgen.training.tables.tabular import TabularSettings

# Learned bounds and labels are releases of their own, of another kind than the steps.
SETTINGS = {
    "semidual": {"epsilon": 20.0, "steps": 6},
    "batch": {
        "epsilon": 20.0,
        "mechanism": "batch",
        "generator": "mlp",
        "steps": 25,
        "sampling_rate": 0.3,
        "schema": (-4, 4),
    },
    "tabular": {"epsilon": 30.0},
}
EVERY = pytest.mark.parametrize("name", SETTINGS)


def data(name):
    random = np.random.default_rng(0)
    y = np.repeat([0, 1], 100)
    X = np.clip(random.normal(np.where(y, 1.5, -1.5)[:, None], 0.5, (200, 3)), -4, 4)
    if name == "tabular":
        X = pd.DataFrame({"size": X[:, 0], "kind": np.array(["a", "b"])[y], "many": random.integers(0, 5, 200)})
    return X, y


def quick_tables(patch):
    """Fewer public steps; the releases stay as they are."""
    settings = {"members": 1, "components": 4, "steps": 3, "refinement_steps": 2, "refinements": 3}
    patch.setattr(
        "sinkgen.training.tables.tabular.auto_settings",
        lambda mu, n_columns, **facts: TabularSettings(
            cell_share=0.05, label_share=0.02, refinement_share=0.3, **settings
        ),
    )


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    quick_tables(monkeypatch)


def generator(name, folder, **settings):
    ledger = PrivacyLedger(folder / "ledger.jsonl")
    return DPSinkhornGenerator(**{**SETTINGS[name], "ledger": ledger, "checkpoint_dir": folder / "fit", **settings})


def finish(name, folder):
    """The state that a fit in this folder ends with, and its ledger."""
    gen = generator(name, folder).fit(*data(name))
    assert [path.name for path in (folder / "fit").iterdir()] == [NAME]
    gen.save(folder / "model")
    assert not list((folder / "fit").iterdir())
    state = {path.name: path.read_bytes() for path in (folder / "model").iterdir()}
    shutil.rmtree(folder / "model")
    return state, gen.ledger


class Crash(BaseException):
    """As sudden as a kill: no handler for errors sees it."""


def crash(*args, **kwargs):
    raise Crash


def crash_before(step, monkeypatch):
    """Let the process "die" instead of keeping release number ``step``, counted from 0."""
    done, keep = [], Journal.keep

    def crash(self, what, number, content):
        if len(done) == step:
            raise Crash
        done.append((what, number))
        keep(self, what, number, content)

    monkeypatch.setattr(Journal, "keep", crash)


def interrupted(name, folder, step):
    with pytest.MonkeyPatch.context() as patch:
        crash_before(step, patch)
        quick_tables(patch)
        with pytest.raises(Crash):
            generator(name, folder).fit(*data(name))


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """For each kind of fit: a folder with fresh keys, a charge and nothing released; and where it leads."""
    torch.set_num_threads(1)  # as in the tests: sums of two threads round otherwise
    folders = {}
    for name in SETTINGS:
        folder = tmp_path_factory.mktemp(name)
        interrupted(name, folder, 0)
        whole = folder / "whole"
        shutil.copytree(folder, whole)
        with pytest.MonkeyPatch.context() as patch:
            quick_tables(patch)
            folders[name] = folder, finish(name, whole)[0]
        shutil.rmtree(whole)
    return folders


def releases(ledger):
    return sum(row.steps for entry in ledger for row in entry.releases)


@EVERY
def test_a_fit_that_crashed_anywhere_ends_as_the_uninterrupted_one(name, begun, tmp_path):
    folder, expected = begun[name]
    ledger = PrivacyLedger(folder / "ledger.jsonl")
    for step in range(0, releases(ledger), 3 if name == "batch" else 1):
        at = shutil.copytree(folder, tmp_path / str(step))
        interrupted(name, at, step)
        state, ledger = finish(name, at)
        assert state == expected
        assert len(ledger) == 1


@EVERY
def test_it_may_crash_again_and_again(name, begun, tmp_path):
    folder, expected = begun[name]
    at = shutil.copytree(folder, tmp_path / "fit")
    for _ in range(3):
        interrupted(name, at, 2)
    state, ledger = finish(name, at)
    assert state == expected
    assert len(ledger) == 1


@EVERY
def test_all_charged_steps_are_executed_and_none_again_that_is_in_the_journal(name, begun, tmp_path, monkeypatch):
    at = shutil.copytree(begun[name][0], tmp_path / "fit")
    interrupted(name, at, 5)
    total, asked, noise = releases(PrivacyLedger(at / "ledger.jsonl")), [], GaussianMechanism._noise

    def count(self, what, step, shape, scale):
        asked.append((what, step))
        return noise(self, what, step, shape, scale)

    monkeypatch.setattr(GaussianMechanism, "_noise", count)
    finish(name, at)
    assert len(set(asked)) == len(asked) == total - 5


@pytest.mark.parametrize("torn", [1, 11, 12, 13, 40, -1])
def test_a_torn_record_is_dropped(torn, begun, tmp_path):
    """The last record's first bytes, cut within its frame, its head or its values."""
    folder, expected = begun["semidual"]
    sizes = []
    for step in (3, 4):
        at = shutil.copytree(folder, tmp_path / str(step))
        interrupted("semidual", at, step)
        sizes.append((at / "fit" / NAME).stat().st_size)
    with open(at / "fit" / NAME, "r+b") as file:
        file.truncate(sizes[0] + torn if torn > 0 else sizes[1] + torn)
    assert finish("semidual", at)[0] == expected


def test_a_damaged_record_is_released_again_with_the_same_noise(begun, tmp_path):
    folder, expected = begun["semidual"]
    at = shutil.copytree(folder, tmp_path / "fit")
    interrupted("semidual", at, 6)
    path = at / "fit" / NAME
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    assert finish("semidual", at)[0] == expected


def test_keys_of_two_fits_differ_and_random_state_is_kept(begun, tmp_path):
    folder, expected = begun["semidual"]
    interrupted("semidual", tmp_path, 0)
    assert (tmp_path / "fit" / NAME).read_bytes() != (folder / "fit" / NAME).read_bytes()
    assert finish("semidual", tmp_path)[0] != expected


# --- what it costs ---------------------------------------------------------------------------------------------------


def test_without_its_keys_a_fit_is_charged_again_in_full(tmp_path):
    interrupted("semidual", tmp_path, 4)
    shutil.rmtree(tmp_path / "fit")
    _, ledger = finish("semidual", tmp_path)
    one, other = (entry.releases for entry in ledger)
    assert one == other
    assert ledger.total().epsilon > 1.3 * 20.0


def test_a_ledger_that_lacks_the_charge_is_charged_whatever_the_journal_holds(tmp_path):
    interrupted("semidual", tmp_path, 4)
    other = PrivacyLedger()
    generator("semidual", tmp_path, ledger=other).fit(*data("semidual"))
    assert len(other) == 1
    assert next(iter(other)).id == next(iter(PrivacyLedger(tmp_path / "ledger.jsonl"))).id


def test_a_crash_between_keys_and_charge_is_charged_once(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(PrivacyLedger, "charge", crash)
        patch.setattr(Journal, "erase", lambda self: None)  # a killed process erases nothing
        with pytest.raises(Crash):
            generator("semidual", tmp_path).fit(*data("semidual"))
    assert (tmp_path / "fit" / NAME).exists()
    assert len(finish("semidual", tmp_path)[1]) == 1


def test_a_refused_charge_leaves_no_journal(tmp_path):
    ledger = PrivacyLedger(epsilon=1.0, delta=1e-5)
    gen = generator("semidual", tmp_path, ledger=ledger)
    with pytest.raises(BudgetExceededError):
        gen.fit(*data("semidual"))
    assert not list((tmp_path / "fit").iterdir())
    gen.set_params(epsilon=0.9, classes=[0, 1]).fit(*data("semidual"))
    assert len(ledger) == 1


def test_after_it_is_saved_the_next_fit_in_the_same_folder_is_a_new_one(tmp_path):
    first, ledger = finish("semidual", tmp_path)
    second, ledger = finish("semidual", tmp_path)
    assert first != second
    assert len(ledger) == 2


@EVERY
def test_a_fit_that_is_finished_and_not_saved_is_had_again_at_no_charge(name, begun, tmp_path, monkeypatch):
    folder, expected = begun[name]
    at = shutil.copytree(folder, tmp_path / "fit")
    generator(name, at).fit(*data(name))
    monkeypatch.setattr(GaussianMechanism, "_noise", None)  # all is read again, and nothing released
    state, ledger = finish(name, at)
    assert state == expected
    assert len(ledger) == 1


def test_the_same_estimator_fitted_anew_spends_anew(tmp_path):
    gen = generator("semidual", tmp_path).fit(*data("semidual"))
    first = gen.sample(50, random_state=0)[0]
    assert (gen.fit(*data("semidual")).sample(50, random_state=0)[0] != first).any()
    assert len(gen.ledger) == 2
    with pytest.MonkeyPatch.context() as patch:
        crash_before(3, patch)
        with pytest.raises(Crash):
            gen.fit(*data("semidual"))
    gen.fit(*data("semidual"))  # goes on with the third
    assert len(gen.ledger) == 3


def test_a_second_fit_that_is_refused_takes_nothing_from_the_first(tmp_path):
    ledger = PrivacyLedger(epsilon=SETTINGS["semidual"]["epsilon"], delta=1e-5)
    gen = generator("semidual", tmp_path, ledger=ledger).fit(*data("semidual"))
    kept = (tmp_path / "fit" / NAME).read_bytes()
    with pytest.raises(BudgetExceededError):
        gen.fit(*data("semidual"))
    assert [path.name for path in (tmp_path / "fit").iterdir()] == [NAME]
    assert (tmp_path / "fit" / NAME).read_bytes() == kept
    generator("semidual", tmp_path, ledger=ledger).fit(*data("semidual"))  # has the first again
    assert len(ledger) == 1


@pytest.mark.parametrize("is_charged", [False, True], ids=["before the charge", "after it"])
def test_a_kill_within_a_second_fit_loses_one_release_at_most_and_no_charge(is_charged, tmp_path, monkeypatch):
    gen = generator("semidual", tmp_path).fit(*data("semidual"))
    with monkeypatch.context() as patch:  # a killed process erases nothing and puts nothing back
        patch.setattr("sinkgen.privacy.journal._erase", lambda *of: None)
        patch.setattr(Journal, "erase", lambda self: None)
        if is_charged:
            crash_before(2, patch)
        else:
            patch.setattr(PrivacyLedger, "charge", crash)
        with pytest.raises(Crash):
            gen.fit(*data("semidual"))
    assert (tmp_path / "fit" / f"{NAME}.former").exists()
    assert len(finish("semidual", tmp_path)[1]) == 2


def test_what_a_kill_left_aside_is_taken_back(begun, tmp_path):
    folder, expected = begun["semidual"]
    at = shutil.copytree(folder, tmp_path / "fit")
    os.replace(at / "fit" / NAME, at / "fit" / f"{NAME}.former")
    state, ledger = finish("semidual", at)
    assert state == expected
    assert len(ledger) == 1


def test_a_fit_in_another_folder_erases_the_former_once_it_is_charged(tmp_path):
    gen = generator("semidual", tmp_path).fit(*data("semidual"))
    gen.set_params(checkpoint_dir=tmp_path / "other").fit(*data("semidual"))
    assert not list((tmp_path / "fit").iterdir())
    assert (tmp_path / "other" / NAME).exists()


def test_saving_erases_no_journal_that_is_of_another_fit_by_now(tmp_path):
    gen = generator("semidual", tmp_path).fit(*data("semidual"))
    (tmp_path / "fit" / NAME).unlink()
    interrupted("semidual", tmp_path, 2)
    gen.save(tmp_path / "model")
    assert (tmp_path / "fit" / NAME).exists()
    assert len(finish("semidual", tmp_path)[1]) == 2


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [{"epsilon": 4.0}, {"reg": 0.05}, {"schema": (-9, 9)}, {"classes": [0, 1]}, {"random_state": 3}, {"cost": "l1"}],
    ids=lambda changed: next(iter(changed)),
)
def test_other_settings_are_refused_by_name_and_cost_nothing(changed, tmp_path):
    interrupted("semidual", tmp_path, 4)
    with pytest.raises(ValueError, match=rf"another .*{next(iter(changed))}"):
        generator("semidual", tmp_path, **changed).fit(*data("semidual"))
    assert len(finish("semidual", tmp_path)[1]) == 1


def test_records_of_another_shape_are_refused(tmp_path):
    interrupted("semidual", tmp_path, 4)
    X, y = data("semidual")
    with pytest.raises(ValueError, match="another format of X"):
        generator("semidual", tmp_path).fit(X[:, :2], y)


def test_other_files_are_no_journals(tmp_path):
    (tmp_path / "fit").mkdir()
    (tmp_path / "fit" / NAME).write_bytes(b"{}\n")
    with pytest.raises(ValueError, match="give another checkpoint_dir"):
        generator("semidual", tmp_path).fit(*data("semidual"))
    assert not (tmp_path / "ledger.jsonl").exists()


def test_two_fits_do_not_share_a_folder(tmp_path, monkeypatch):
    keep, refused = Journal.keep, []

    def fit_another(self, what, step, content):
        if not refused:
            with pytest.raises(RuntimeError, match="give each fit its own"):
                generator("semidual", tmp_path).fit(*data("semidual"))
            refused.append(what)
        keep(self, what, step, content)

    monkeypatch.setattr(Journal, "keep", fit_another)
    assert len(finish("semidual", tmp_path)[1]) == 1
    assert refused


@pytest.mark.parametrize("wrong", [3, ["fit"], b"fit", True])
def test_the_folder_must_be_a_path(wrong, blobs):
    with pytest.raises(TypeError, match="checkpoint_dir must be a path"):
        DPSinkhornGenerator(checkpoint_dir=wrong).fit(*blobs)


# --- what is on the disk ---------------------------------------------------------------------------------------------


def test_only_its_owner_can_read_the_journal_and_it_holds_no_record(tmp_path):
    interrupted("semidual", tmp_path, 8)
    path = tmp_path / "fit" / NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    content, X = path.read_bytes(), data("semidual")[0]
    assert not any(row.astype(dtype).tobytes() in content for row in X for dtype in ("f4", "f8"))


def test_the_key_is_overwritten_when_the_fit_is_saved(tmp_path):
    interrupted("semidual", tmp_path, 4)
    path = tmp_path / "fit" / NAME
    with open(path, "rb") as still_open:
        finish("semidual", tmp_path)
        assert still_open.read(4096) == bytes(4096)
    assert not path.exists()


def test_a_disk_that_fills_up_stops_the_fit_and_it_goes_on_later(begun, tmp_path, monkeypatch):
    """Syncing fails while a release is kept: it is not used. With room again, the fit ends as if it had not."""
    folder, expected = begun["semidual"]
    at = shutil.copytree(folder, tmp_path / "fit")
    interrupted("semidual", at, 4)
    size = (at / "fit" / NAME).stat().st_size

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"No space left on device: a release could not be kept in .*Make room"):
            generator("semidual", at).fit(*data("semidual"))
    assert (at / "fit" / NAME).stat().st_size == size
    state, ledger = finish("semidual", at)
    assert state == expected
    assert len(ledger) == 1


def test_a_disk_that_is_full_while_charging_lets_nothing_out(tmp_path, monkeypatch, blobs):
    sync, released = os.fsync, []

    def full(descriptor):
        if "ledger" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(28, "No space left on device")
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        patch.setattr(GaussianMechanism, "_noise", lambda *args: released.append(args))
        with pytest.raises(OSError, match=r"No space left on device.*nothing was charged or released"):
            generator("semidual", tmp_path).fit(*blobs)
    assert not released
    assert not list((tmp_path / "fit").iterdir())
    assert len(PrivacyLedger(tmp_path / "ledger.jsonl")) == 0


# --- kill -9 ---------------------------------------------------------------------------------------------------------

CHILD = """
import os, signal, sys, pathlib, pytest, torch, test_checkpoints as here
torch.set_num_threads(1)
here.quick_tables(pytest.MonkeyPatch())
name = sys.argv[1]
here.generator(name, pathlib.Path(sys.argv[2])).fit(*here.data(name))
os.kill(os.getpid(), signal.SIGKILL)  # between fit and save
"""


def kill_at(name, folder, size, delay):
    """Fit in another process, killed a delay after its journal has grown to ``size``, or when the fit is finished."""
    path, here = folder / "fit" / NAME, Path(__file__).parent
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{here}:{here.parent}:{here.parents[1]}"}
    with subprocess.Popen([sys.executable, "-c", CHILD, name, folder], env=environment) as process:
        while process.poll() is None:
            if path.exists() and path.stat().st_size >= size:
                time.sleep(delay)
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.0005)
    assert process.returncode == -signal.SIGKILL


def kills_survived(name, begun, tmp_path, n, seed):
    """Kill ``n`` fits at random points; each must end as the uninterrupted one, at one charge. How many did."""
    folder, expected = begun[name]
    whole = shutil.copytree(folder, tmp_path / "whole")
    generator(name, whole).fit(*data(name))
    start, end = ((at / "fit" / NAME).stat().st_size for at in (folder, whole))
    chance = random.Random(seed)
    sizes = [math.inf, *(chance.uniform(start + 1, end) for _ in range(n))]  # the first: between fit and save
    for trial, size in enumerate(sizes):
        at = shutil.copytree(folder, tmp_path / str(trial))
        kill_at(name, at, size, chance.choice([0, 0.001, 0.01]))
        assert len(PrivacyLedger(at / "ledger.jsonl")) == 1  # before the first release, whenever the kill came
        state, ledger = finish(name, at)
        assert state == expected
        assert len(ledger) == 1
    return n


@pytest.mark.parametrize("name", ["semidual", "batch"])
def test_kill_9_is_survived(name, begun, tmp_path):
    assert kills_survived(name, begun, tmp_path, 1, seed=1) == 1


@pytest.mark.slow
@EVERY
def test_kill_9_at_twenty_random_points(name, begun, tmp_path, record_property):
    record_property("counts", 20)
    assert kills_survived(name, begun, tmp_path, 20, seed=2) == 20
