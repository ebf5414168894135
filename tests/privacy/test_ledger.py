"""The ledger holds every charge, once, in order, whatever happens around it."""

import copy
import json
import os
import pickle
import random
import resource
import signal
import threading
import time
from datetime import datetime, timezone

import joblib
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GridSearchCV

from sinkgen.accounting import GaussianRelease, compose, gaussian_epsilon, gaussian_mu
from sinkgen.exceptions import BudgetExceededError
from sinkgen.privacy.ledger import LedgerEntry, PrivacyLedger

DELTA = 1e-5
ROWS = (GaussianRelease("counts", 40.0), GaussianRelease("points", 20.0, steps=5, delta=1e-7))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.jsonl"


@pytest.fixture(params=["memory", "file"])
def ledger(request, path):
    return PrivacyLedger(path if request.param == "file" else None)


def fork(work):
    """Process id of a child that does ``work`` and ends."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


# a child does nothing here that threads of its parent could have left half done
forking = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


# --- charging and reading --------------------------------------------------------------------------------------------


def test_a_charge_is_one_entry_of_all_its_rows(ledger):
    before = datetime.now(timezone.utc).replace(microsecond=0)
    entry = ledger.charge(ROWS, what="first fit", delta=2e-5, assumptions=["label set"], reproducible_noise=True)
    ledger.charge(iter(ROWS))
    assert len(ledger) == 2
    assert entry == LedgerEntry("first fit", entry.time, ROWS, entry.id, 2e-5, ("label set",), True)
    assert next(iter(ledger)) == entry
    assert before <= datetime.fromisoformat(entry.time) <= datetime.now(timezone.utc)
    assert len({charge.id for charge in ledger}) == 2
    assert entry.spent().epsilon == compose(ROWS, 2e-5)


def test_total_composes_all_rows_in_one_accountant(ledger):
    sampled = GaussianRelease("gradients", 1.5, 0.01, 100)
    ledger.charge([*ROWS, sampled], assumptions=["label set"])
    ledger.charge([sampled], assumptions=["label set", "bounds"], reproducible_noise=True)
    total = ledger.total(delta=3e-5)
    assert total.releases == (*ROWS, sampled, sampled)
    assert total.epsilon == compose(total.releases, 3e-5)
    assert total.assumptions == ("label set", "bounds")
    assert total.reproducible_noise


def test_an_empty_ledger_is_a_ledger_that_spent_nothing(ledger):
    assert ledger
    assert len(ledger) == 0
    assert ledger.total(DELTA).epsilon == 0
    assert list(ledger) == []


@pytest.mark.parametrize(("epsilon", "together"), [(10.0, 28.4), (1.0, 2.44)])
def test_folds_cost_their_composition(epsilon, together):
    """The numbers in the docstring."""
    ledger = PrivacyLedger()
    for _ in range(5):
        ledger.charge([GaussianRelease("fit", 1 / gaussian_mu(epsilon, DELTA))])
    assert ledger.total(DELTA).epsilon == pytest.approx(together, abs=0.05)
    assert ledger.total(DELTA).epsilon == pytest.approx(gaussian_epsilon(5**0.5 * gaussian_mu(epsilon, DELTA), DELTA))


def test_text(ledger):
    ledger.charge(ROWS, what="fold 1")
    assert all(part in str(ledger) for part in ["1 charge.", "fold 1", "points", "add or remove one record"])
    assert "\n" not in repr(ledger)
    assert repr(PrivacyLedger(epsilon=2.0, delta=1e-6)) == "PrivacyLedger(epsilon=2.0, delta=1e-06)"
    assert "Budget: epsilon = 2, delta = 1e-06." in str(PrivacyLedger(epsilon=2.0, delta=1e-6))


def test_the_file_holds_rows_and_no_more(path):
    PrivacyLedger(path).charge(ROWS)
    record = json.loads(path.read_text())
    assert set(record) == {
        *(
            "what",
            "time",
            "releases",
            "id",
            "delta",
            "assumptions",
            "reproducible_noise",
            "secure_noise",
            "version",
            "unit",
            "hash",
        )
    }
    assert record["releases"] == [row.to_dict() for row in ROWS]


def test_two_ledgers_on_one_file_are_one_book(path):
    one, other = PrivacyLedger(path), PrivacyLedger(str(path))
    one.charge(ROWS)
    other.charge(ROWS)
    assert list(one) == list(other)
    assert len(one) == 2


def test_a_row_without_noise_or_without_signal_survives_the_file(path):
    rows = (GaussianRelease("nothing", float("inf")), GaussianRelease("everything", 0.0))
    PrivacyLedger(path).charge(rows)
    assert next(iter(PrivacyLedger(path))).releases == rows


# --- budget ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_charge_over_budget_is_refused_before_anything_is_written(path, on_disk):
    ledger = PrivacyLedger(path if on_disk else None, epsilon=1.0, delta=DELTA)
    fit = GaussianRelease("fit", 1 / gaussian_mu(0.8, DELTA))
    ledger.charge([fit])
    content = path.read_bytes() if on_disk else b""
    with pytest.raises(BudgetExceededError, match="budget of 1; nothing was charged"):
        ledger.charge([fit], what="one too many")
    assert len(ledger) == 1
    assert not on_disk or path.read_bytes() == content
    ledger.charge([GaussianRelease("small", 50.0)])
    assert ledger.total(DELTA).epsilon <= 1.0


def test_the_budget_counts_what_others_charged(path):
    PrivacyLedger(path).charge([GaussianRelease("fit", 1.0)])
    with pytest.raises(BudgetExceededError):
        PrivacyLedger(path, epsilon=1.0, delta=DELTA).charge([GaussianRelease("small", 100.0)])


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        {"epsilon": 1.0},
        {"delta": DELTA},
        {"epsilon": 0.0, "delta": DELTA},
        {"epsilon": 1.0, "delta": 1.0},
        {"epsilon": float("nan"), "delta": DELTA},
        {"path": 3.5},
    ],
)
def test_bad_parameters_raise(arguments):
    with pytest.raises((TypeError, ValueError)):
        PrivacyLedger(**arguments)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"releases": None}, "releases"),
        ({"releases": ["points"]}, "releases"),
        ({"delta": 0.0}, "delta"),
        ({"what": 3}, "what"),
        ({"assumptions": [3]}, "assumptions"),
    ],
)
def test_a_bad_charge_raises_and_charges_nothing(ledger, arguments, name):
    with pytest.raises((TypeError, ValueError), match=name):
        ledger.charge(**{"releases": ROWS} | arguments)
    assert len(ledger) == 0


def test_a_folder_that_is_missing_is_an_error_of_the_charge(tmp_path):
    ledger = PrivacyLedger(tmp_path / "missing" / "ledger.jsonl")
    assert len(ledger) == 0
    with pytest.raises(FileNotFoundError):
        ledger.charge(ROWS)


def test_a_relative_path_is_bound_to_where_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ledger = PrivacyLedger("ledger.jsonl")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    ledger.charge(ROWS)
    assert (tmp_path / "ledger.jsonl").exists()


# --- copies ----------------------------------------------------------------------------------------------------------


class ChargingEstimator(BaseEstimator):
    """Spends on every fit, and does nothing else."""

    def __init__(self, ledger=None, noise=20.0):
        self.ledger = ledger
        self.noise = noise

    def fit(self, X, y=None):
        self.ledger.charge([GaussianRelease("fit", self.noise)])
        return self

    def score(self, X, y=None):
        return self.noise


def test_every_copy_within_the_process_is_the_ledger_itself(ledger):
    assert clone(ChargingEstimator(ledger)).ledger is ledger
    assert copy.copy(ledger) is ledger
    assert copy.deepcopy({"ledger": ledger})["ledger"] is ledger
    assert pickle.loads(pickle.dumps([ledger, ledger])) == [ledger, ledger]


def charge_once(ledger):
    ledger.charge(ROWS)
    return os.getpid()


@pytest.mark.parametrize("jobs", [1, 2])
def test_three_settings_two_folds_and_a_refit_are_seven_charges(path, jobs):
    ledger = PrivacyLedger(path)
    search = GridSearchCV(ChargingEstimator(ledger), {"noise": [20.0, 30.0, 40.0]}, cv=2, n_jobs=jobs)
    search.fit([[0.0]] * 8)
    assert len(ledger) == 7
    assert search.best_estimator_.ledger is ledger


def test_processes_share_a_file(path):
    ledger = PrivacyLedger(path)
    workers = joblib.Parallel(n_jobs=2)(joblib.delayed(charge_once)(ledger) for _ in range(8))
    assert os.getpid() not in workers
    assert len(ledger) == 8


def test_another_process_cannot_charge_what_is_in_memory():
    ledger = PrivacyLedger()
    ledger.charge(ROWS)
    with pytest.raises(RuntimeError, match="Give the ledger a path"):
        joblib.Parallel(n_jobs=2)(joblib.delayed(charge_once)(ledger) for _ in range(2))
    assert len(ledger) == 1


def test_a_pickle_that_outlives_its_ledger_is_no_fresh_ledger():
    ledger = PrivacyLedger()
    ledger.charge(ROWS)
    content = pickle.dumps(ledger)
    del ledger
    restored = pickle.loads(content)
    for use in (lambda: restored.charge(ROWS), lambda: restored.total(DELTA), lambda: len(restored)):
        with pytest.raises(RuntimeError, match="Give the ledger a path"):
            use()


def test_a_pickle_with_a_path_finds_its_charges(path):
    ledger = PrivacyLedger(path, epsilon=3.0, delta=DELTA)
    ledger.charge(ROWS)
    content = pickle.dumps(ledger)
    del ledger
    restored = pickle.loads(content)
    assert (len(restored), restored.epsilon, restored.delta) == (1, 3.0, DELTA)
    assert pickle.loads(content) is restored
    path.unlink()
    with pytest.raises(ValueError, match="missing"):
        restored.charge(ROWS)


@forking
def test_a_forked_process_cannot_charge_what_is_in_memory():
    ledger = PrivacyLedger()
    receiver, sender = os.pipe()

    def charge():
        try:
            ledger.charge(ROWS)
        except RuntimeError as error:
            os.write(sender, str(error).encode())

    os.waitpid(fork(charge), 0)
    os.close(sender)
    with open(receiver) as message:
        assert "Give the ledger a path" in message.read()
    ledger.charge(ROWS)
    assert len(ledger) == 1


def test_threads_lose_no_charge(ledger):
    threads = [threading.Thread(target=lambda: [ledger.charge(ROWS) for _ in range(5)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({entry.id for entry in ledger}) == 40


# --- damage ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def written(path):
    """A file of four charges."""
    ledger = PrivacyLedger(path)
    for number in range(4):
        ledger.charge(ROWS, what=f"fit {number}")
    return path


def assert_refused(path, match):
    content = path.read_bytes()
    fresh = PrivacyLedger(path)
    for use in (lambda: fresh.charge(ROWS), lambda: fresh.total(DELTA), lambda: len(fresh)):
        with pytest.raises(ValueError, match=match):
            use()
    assert path.read_bytes() == content


@pytest.mark.parametrize("line", range(4))
def test_any_changed_byte_is_found_and_its_line_named(written, line):
    lines = written.read_bytes().splitlines(keepends=True)
    generator = random.Random(line)
    for position in generator.sample(range(len(lines[line])), 25):
        changed = bytearray(lines[line])
        changed[position] ^= 1 << generator.randrange(8)
        written.write_bytes(b"".join([*lines[:line], bytes(changed), *lines[line + 1 :]]))
        assert_refused(written, f"line {line + 1}: ")


@pytest.mark.parametrize("cut", [1, 2, 30, 200])
def test_a_torn_last_line_is_found(written, cut):
    written.write_bytes(written.read_bytes()[:-cut])
    assert_refused(written, "line 4: incomplete")


@pytest.mark.parametrize("order", [(0, 2, 3), (1, 2, 3), (0, 2, 1, 3), (0, 0, 1), (0, 1, 1)])
def test_missing_moved_and_repeated_lines_are_found(written, order):
    lines = written.read_bytes().splitlines(keepends=True)
    written.write_bytes(b"".join(lines[number] for number in order))
    assert_refused(written, r"line \d: damaged")


@pytest.mark.parametrize("content", [b"\n", b"{}\n", b"[]\n", b"3\n", b"\xff\n", b"null\n", b'{"hash": 3}\n', b"NaN\n"])
def test_other_files_are_no_ledgers(path, content):
    path.write_bytes(content)
    assert_refused(path, "line 1: damaged")


@pytest.mark.parametrize("keep", [0, 2])
def test_a_ledger_notices_that_charges_it_saw_are_gone(written, keep):
    ledger = PrivacyLedger(written)
    assert len(ledger) == 4
    written.write_bytes(b"".join(written.read_bytes().splitlines(keepends=True)[:keep]))
    for use in (lambda: ledger.charge(ROWS), lambda: ledger.total(DELTA)):
        with pytest.raises(ValueError, match="missing or changed"):
            use()


def test_a_ledger_notices_that_its_file_was_replaced(path, tmp_path):
    ledger = PrivacyLedger(path)
    ledger.charge(ROWS)
    other = PrivacyLedger(tmp_path / "other")
    other.charge(ROWS)
    os.replace(other.path, path)
    with pytest.raises(ValueError, match="missing or changed"):
        ledger.charge(ROWS)


# --- failures while writing ------------------------------------------------------------------------------------------


def test_a_failing_sync_leaves_the_file_as_it_was(path, monkeypatch):
    ledger = PrivacyLedger(path)
    ledger.charge(ROWS)
    content = path.read_bytes()

    def fail(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="No space left"):
            ledger.charge(ROWS)
    assert path.read_bytes() == content
    ledger.charge(ROWS)
    assert len(ledger) == len(PrivacyLedger(path)) == 2


@pytest.mark.parametrize("room", [0, 1, 100])
def test_a_full_disk_leaves_the_file_as_it_was(path, room):
    ledger = PrivacyLedger(path)
    ledger.charge(ROWS)
    content = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) + room, limits[1]))  # a real short write
    try:
        with pytest.raises(OSError, match="too large"):
            ledger.charge(ROWS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == content
    ledger.charge(ROWS)
    assert len(PrivacyLedger(path)) == 2


def test_an_interrupt_leaves_the_file_as_it_was(path, monkeypatch):
    ledger = PrivacyLedger(path)

    def interrupt(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            ledger.charge(ROWS)
    assert path.read_bytes() == b""
    assert len(ledger) == 0


@forking
def test_kill_in_the_midst_of_charging_loses_no_charge_that_returned(path):
    """Ten children charge without pause until they are killed, each at some moment of its own."""
    generator = random.Random(0)
    receiver, sender = os.pipe()

    def charge_for_ever():
        ledger = PrivacyLedger(path)
        while True:
            os.write(sender, f"{ledger.charge(ROWS[:1]).id}\n".encode())

    for _ in range(10):
        child = fork(charge_for_ever)
        time.sleep(generator.uniform(0.02, 0.15))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    os.close(sender)
    with open(receiver) as file:
        returned = file.read().split()
    kept = [entry.id for entry in PrivacyLedger(path)]
    assert returned
    assert set(returned) <= set(kept)
    assert len(kept) <= len(returned) + 10  # at most the one in flight at each kill
    PrivacyLedger(path).charge(ROWS)
