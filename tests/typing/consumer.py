"""A user's script, all of whose types must hold under `mypy --strict`; it is not run."""

import numpy as np
import torch

from sinkgen import (
    Column,
    DPSinkhornGenerator,
    FidelityDisplay,
    FitProgress,
    PrivacyLedger,
    PrivacySpent,
    Release,
    Schema,
    SyntheticResampler,
    TSTRClassifier,
    TSTRRegressor,
    accounting,
    html_report,
    ot,
    sample_from_pipeline,
    score_report,
    sources,
)


def show(state: FitProgress) -> None:
    """A display of the user's own."""
    print(state.what, state.step, state.epsilon)


def main(X: np.ndarray, y: np.ndarray) -> float:
    """Fit, draw, save and load; use every public name once."""
    ledger = PrivacyLedger("ledger.jsonl", epsilon=3.0, delta=1e-5)
    schema = Schema({"age": (18, 90), "sex": ["F", "M"], "income": Column(bounds=(0, 1e6), nullable=True)})
    gen = DPSinkhornGenerator(
        1.0, 1e-5, mechanism="auto", schema=schema, classes=[0, 1], ledger=ledger, random_state=0, callback=show
    ).fit(X, y)
    drawn, labels = gen.sample(100, y=None, random_state=np.random.default_rng(0))
    spent: PrivacySpent = gen.privacy_spent()
    release: Release = gen.release_
    gen.save("model")
    again: DPSinkhornGenerator = DPSinkhornGenerator.load("model")
    DPSinkhornGenerator.from_release(release, generator="mlp")
    again.sample_to_parquet("folder", 1_000_000)
    total: PrivacySpent = ledger.total(1e-5)
    entry = ledger.charge([accounting.GaussianRelease("means", 10.0)], what="survey")
    noise: float = accounting.calibrate(1.0, 1e-5, 0.01, 1000)
    epsilon: float = accounting.epsilon_spent(noise, 0.01, 1000, 1e-5) + accounting.compose(total.releases, 1e-5)
    result: ot.SinkhornResult = ot.sinkhorn(torch.rand(3, 4), 0.1)
    plan: torch.Tensor = result.plan
    cost: torch.Tensor = ot.sinkhorn_divergence(torch.rand(5, 2), torch.rand(5, 2), 0.1, cost=ot.L1Cost())
    DPSinkhornGenerator().fit(sources.parquet("records"), "label")
    DPSinkhornGenerator().fit(sources.chunks(lambda: iter([X])))
    TSTRClassifier(gen).fit(X, y).predict_proba(X)
    TSTRRegressor(gen).fit(X, y).predict(X)
    SyntheticResampler(gen).fit_resample(X, y)
    sample_from_pipeline(None, 10)
    page: str = html_report((X, y), (drawn, labels), spent=spent)
    print(score_report(X, drawn), FidelityDisplay.from_samples(X, drawn), page, plan, cost, entry.what)
    return epsilon + spent.epsilon
