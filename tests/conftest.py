"""Data that several tests share; small, seeded, made here."""

import contextlib
import hashlib
import itertools
import os
import random
from dataclasses import replace

# Small problems run faster on one thread, and two test processes do not fight for cores, nor do theirs: read by what is
# imported from here on, and by the processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"

import contracts
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from sinkgen.privacy import streams
from sinkgen.training.tables import ascent, field, tabular

collect_ignore = ["typing"]  # scripts that a type checker reads, and that are not run


@contextlib.contextmanager
def _randomness_of(name):
    """Within it, what asks the system for entropy gets numbers that only ``name`` and their order decide.

    Keys still differ from each other, so nothing is less random to a test than it would be; but a test that passes once
    passes again, whatever ran before it and in whichever process.
    """
    drawn = itertools.count()

    def token_bytes(nbytes=32):
        return hashlib.blake2b(f"{name} {next(drawn)}".encode(), digest_size=nbytes).digest()

    # What scikit-learn's random_state=None reads is NumPy's legacy state.
    before = streams.secrets, random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    seed = int.from_bytes(token_bytes(4), "big")
    streams.secrets = _Entropy(token_bytes)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    try:
        yield
    finally:
        streams.secrets = before[0]
        random.setstate(before[1])
        np.random.set_state(before[2])  # noqa: NPY002
        torch.set_rng_state(before[3])


class _Entropy:
    """What the module ``secrets`` gives to the noise."""

    def __init__(self, token_bytes):
        self.token_bytes = token_bytes


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    """Every test has randomness of its own, its noise included."""
    with _randomness_of(item.nodeid):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef, request):
    """What several tests share does not depend on which of them comes first."""
    if fixturedef.scope == "function":
        return (yield)
    with _randomness_of(f"{fixturedef.baseid}::{fixturedef.argname} {getattr(request, 'param_index', 0)}"):
        return (yield)


@pytest.fixture(autouse=True)
def one_thread():
    """Also where a test has asked for more."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits():
    """Real digits as rows of 64 numbers from 0 to 16, and their labels; shuffled."""
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    return X[order], y[order]


@pytest.fixture(scope="session")
def blobs():
    """Two classes of 300 rows of 3 numbers in [-4, 4], well apart."""
    random = np.random.default_rng(0)
    y = np.repeat([0, 1], 300)
    return np.clip(random.normal(np.where(y, 1.5, -1.5)[:, None], 0.5, (600, 3)), -4, 4), y


class _LargestTensor(torch.utils._python_dispatch.TorchDispatchMode):
    """Notes the largest result of any operation."""

    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.numel = max(self.numel, tensor.numel())
        return result


@pytest.fixture
def largest_tensor():
    """A context that notes the largest tensor formed within it, in ``numel``."""
    return _LargestTensor()


@pytest.fixture
def quick_networks(monkeypatch):
    """Hardly any public steps of a network."""
    monkeypatch.setattr("sinkgen.generators.distill.STEPS", 5)


@pytest.fixture
def quick_fields(monkeypatch):
    """Few sweeps of a table's field, over few draws, for tests of other things than how well it fits."""
    monkeypatch.setattr(ascent, "POPULATION", 2000)
    monkeypatch.setattr(field, "CELLS_SWEPT", 0)


@pytest.fixture
def quick_tables(monkeypatch, quick_fields):
    """Hardly any steps of a table's public fit, for tests of what comes before it."""
    auto = tabular.auto_settings
    quick = {"steps": 5, "members": 1, "refinement_steps": 5}
    monkeypatch.setattr(tabular, "auto_settings", lambda *facts, **given: replace(auto(*facts, **given), **quick))
    monkeypatch.setattr(ascent, "POPULATION", 500)


def pytest_addoption(parser):
    """Add the option of `make privacy`."""
    parser.addoption("--contracts", action="store_true", help="run what docs/privacy.md names, and print its counts")


def pytest_collection_modifyitems(config, items):
    """Leave out what needs a card unless asked for; with an option, keep what the privacy page names or counts."""
    if "gpu" not in config.option.markexpr:
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("gpu")])
        items[:] = [item for item in items if not item.get_closest_marker("gpu")]
    if config.getoption("--contracts"):
        names = [*itertools.chain(*contracts.contracts().values(), *contracts.COUNTED.values())]
        left_out = [item for item in items if not contracts.is_named(item.nodeid, names)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter, config):
    """Print the counts of the privacy page."""
    if config.getoption("--contracts"):
        outcomes = ("passed", "failed", "error")
        reports = [report for outcome in outcomes for report in terminalreporter.stats.get(outcome, [])]
        terminalreporter.section("contracts")
        for line in contracts.summary([report for report in reports if report.when == "call" or report.failed]):
            terminalreporter.line(line)
