"""Data that several tests share; small, seeded, made here."""

import itertools
from dataclasses import replace

import contracts
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from sinkgen.training.tables import ascent, tabular

collect_ignore = ["typing"]  # scripts that a type checker reads, and that are not run


@pytest.fixture(autouse=True)
def one_thread():
    """Small problems run faster on one thread, and two test processes do not fight for cores."""
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
def quick_tables(monkeypatch):
    """Hardly any steps of a table's public fit, for tests of what comes before it."""
    auto = tabular.auto_settings
    quick = {"steps": 5, "members": 1, "refinement_steps": 5}
    monkeypatch.setattr(tabular, "auto_settings", lambda *facts, **given: replace(auto(*facts, **given), **quick))
    monkeypatch.setattr(ascent, "POPULATION", 500)


def pytest_addoption(parser):
    """Add the option of `make privacy`."""
    parser.addoption("--contracts", action="store_true", help="run what docs/privacy.md names, and print its counts")


def pytest_collection_modifyitems(config, items):
    """Keep what the privacy page names or counts."""
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
