"""A ledger that no copy, process or crash gets round."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sinkgen import (
    BudgetExceededError,
    DPSinkhornGenerator,
    PrivacyLedger,
    PrivacySpent,
    TSTRClassifier,
    sample_from_pipeline,
)

PUBLIC = {"schema": (-4, 4), "classes": [0, 1], "steps": 4}


def search(ledger, n_jobs=1):
    """Three settings, two folds, and a refit."""
    model = TSTRClassifier(DPSinkhornGenerator(ledger=ledger, **PUBLIC), LogisticRegression(), n_samples=50)
    grid = {"generator__epsilon": [1.0, 3.0, 10.0]}
    return GridSearchCV(model, grid, cv=2, n_jobs=n_jobs, error_score="raise")


def rows_of(ledger):
    return [release for entry in ledger for release in entry.releases]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_grid_search_is_charged_fit_by_fit(n_jobs, blobs, tmp_path):
    ledger = PrivacyLedger(tmp_path / "ledger.jsonl")
    found = search(ledger, n_jobs).fit(*blobs)
    assert len(ledger) == 7
    assert found.best_estimator_.generator.ledger is ledger
    own = [entry.spent().epsilon for entry in ledger]
    assert np.allclose(sorted(own[:6]), [1, 1, 3, 3, 10, 10], rtol=1e-3)
    total = ledger.total(1e-5).epsilon
    assert total == PrivacySpent.of(rows_of(ledger), 1e-5).epsilon
    assert max(own) < total < sum(own)
    assert len(PrivacyLedger(tmp_path / "ledger.jsonl")) == 7


def test_in_memory_it_counts_in_one_process(blobs):
    ledger = PrivacyLedger()
    search(ledger).fit(*blobs)
    assert len(ledger) == 7


def test_in_memory_it_refuses_other_processes(blobs):
    ledger = PrivacyLedger()
    with pytest.raises(RuntimeError, match="Give the ledger a path"):
        search(ledger, n_jobs=2).fit(*blobs)
    assert len(ledger) == 0


def test_five_folds_cost_more_than_one_and_less_than_five(blobs):
    ledger = PrivacyLedger()
    model = TSTRClassifier(DPSinkhornGenerator(10.0, ledger=ledger, **PUBLIC), LogisticRegression(), n_samples=50)
    cross_val_score(model, *blobs, cv=5, error_score="raise")
    assert len(ledger) == 5
    assert ledger.total(1e-5).epsilon == pytest.approx(28.38, abs=0.01)


def test_a_budget_ends_a_search_before_it_is_exceeded(blobs):
    ledger = PrivacyLedger(epsilon=5.0, delta=1e-5)
    with pytest.raises(BudgetExceededError):
        search(ledger).fit(*blobs)
    assert [round(entry.spent().epsilon) for entry in ledger] == [1, 1, 3, 3]  # the fifth, at 10, is one too many
    assert ledger.total(1e-5).epsilon <= 5.0


def test_clones_pipelines_and_resampling_share_the_ledger(blobs):
    ledger = PrivacyLedger()
    gen = DPSinkhornGenerator(ledger=ledger, **PUBLIC)
    pipe = clone(make_pipeline(FunctionTransformer(), clone(gen)))
    sample_from_pipeline(clone(pipe).fit(*blobs), 10)
    pipe.fit(*blobs)
    assert len(ledger) == 2


KILLED = textwrap.dedent(
    """
    import sys
    import numpy as np
    from sinkgen import DPSinkhornGenerator, PrivacyLedger

    def factory(latent_dim, output_shape, n_classes):
        import torch

        class Module(torch.nn.Linear):
            def forward(self, latents, labels):
                print("training", flush=True)
                return torch.sigmoid(super().forward(latents))

        return Module(latent_dim, output_shape[0])

    gen = DPSinkhornGenerator(
        2.0, mechanism="batch", generator=factory, schema=(0, 1), steps=10**5, sampling_rate=1.0,
        ledger=PrivacyLedger(sys.argv[1]),
    )
    gen.fit(np.full((100, 2), 0.5))
    """
)


def test_a_fit_that_is_killed_is_on_the_ledger(tmp_path):
    path = tmp_path / "ledger.jsonl"
    command = [sys.executable, "-c", KILLED, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}) as process:
        for _ in range(5):  # the first is the check of the factory, before the charge; the others are steps
            assert process.stdout.readline() == b"training\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    ledger = PrivacyLedger(path)
    assert len(ledger) == 1
    assert 1.9 < ledger.total(1e-5).epsilon <= 2.0
    DPSinkhornGenerator(1.0, schema=(0, 1), steps=4, ledger=ledger).fit(np.full((100, 2), 0.5))
    assert len(ledger) == 2


@pytest.mark.parametrize("damage", ["truncated", "changed", "line missing"])
def test_a_damaged_ledger_stops_a_fit(damage, blobs, tmp_path):
    path = tmp_path / "ledger.jsonl"
    gen = DPSinkhornGenerator(ledger=PrivacyLedger(path), **PUBLIC)
    gen.fit(*blobs).fit(*blobs)
    whole = path.read_bytes()
    damaged = {
        "truncated": whole[:-20],
        "changed": whole.replace(b'"steps":4', b'"steps":1', 1),
        "line missing": whole.split(b"\n", 1)[1],
    }[damage]
    assert damaged != whole
    path.write_bytes(damaged)
    for ledger in (gen.ledger, PrivacyLedger(path)):
        with pytest.raises(ValueError, match=r"ledger\.jsonl, line [12]"):
            clone(gen).set_params(ledger=ledger).fit(*blobs)
    assert path.read_bytes() == damaged
