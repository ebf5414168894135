"""Data that several tests share; small, seeded, made here."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from sinkgen.training import tabular


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
def quick_tables(monkeypatch):
    """Hardly any steps of a table's public fit, for tests of what comes before it."""
    auto = tabular.auto_settings
    quick = {"steps": 5, "members": 1, "refinement_steps": 5}
    monkeypatch.setattr(tabular, "auto_settings", lambda *facts, **given: replace(auto(*facts, **given), **quick))
