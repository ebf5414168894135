"""Two neighbouring data sets, some hundred fits of each: can they be told apart better than epsilon allows?

The adversary sees every released value of the fit, more than the fitted estimator holds, and knows both data sets. A
linear discriminant and its threshold are learned on one part of the fits; on the others, the rates of true and false
alarms bound epsilon from below: ``log((tpr - delta) / fpr)``, by Clopper and Pearson.
"""

import numpy as np
import pytest
from scipy import stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from sinkgen import DPSinkhornGenerator
from sinkgen.privacy.journal import Unkept
from sinkgen.privacy.mechanism import GaussianMechanism

EPSILON, DELTA, STEPS = 2.0, 1e-5, 4
LEARN, TEST = 100, 400
FALSE_ALARM = 1e-3
SETTINGS = {
    "semidual": {"steps": STEPS},
    "batch": {"mechanism": "batch", "generator": "mlp", "steps": STEPS, "sampling_rate": 1.0},
}


def transcripts(name, with_canary, n, monkeypatch):
    """What each of ``n`` fits releases, with or without a record at the edge, alone in its class."""
    X, y = np.array([[0.0], [4.0]]), np.array([7, 0])  # the label 7 is not declared: its record is in no class
    rows = slice(0, 2 if with_canary else 1)
    seen = []
    monkeypatch.setattr(
        Unkept, "keep", lambda self, what, step, content: seen.append(reached(what, np.frombuffer(content)))
    )
    fits = []
    for _ in range(n):
        seen.clear()
        DPSinkhornGenerator(EPSILON, DELTA, schema=(-4, 4), classes=[0], **SETTINGS[name]).fit(X[rows], y[rows])
        fits.append(np.concatenate(seen))
    return np.array(fits)


def reached(what, values):
    """The part of a release in which the record shows."""
    if what == "points":
        return values[[0, -1]]  # mass of the first point, displacement of the last; as a rule there is but one
    return values.sum(keepdims=True) if what == "gradients" else values[:1]


def epsilon_at_least(hits, alarms):
    tpr = stats.beta.ppf(FALSE_ALARM / 2, hits, TEST - hits + 1) if hits else 0.0
    fpr = stats.beta.ppf(1 - FALSE_ALARM / 2, alarms + 1, TEST - alarms) if alarms < TEST else 1.0
    return float(np.log(max(tpr - DELTA, 1e-9) / fpr))


def audit(name, monkeypatch):
    """Lower bound of epsilon, wrong with probability ``FALSE_ALARM`` at most."""
    without, with_it = (transcripts(name, canary, LEARN + TEST, monkeypatch) for canary in (False, True))
    learner = LinearDiscriminantAnalysis()
    learner.fit(np.concatenate([without[:LEARN], with_it[:LEARN]]), np.repeat([0, 1], LEARN))
    out, inside = (learner.decision_function(fits) for fits in (without, with_it))
    # The threshold whose rates, smoothed, differ most on the fits that were learned from.
    thresholds = np.quantile(out[:LEARN], np.linspace(0.5, 0.99, 20))
    gains = [np.mean(inside[:LEARN] > t) / (np.mean(out[:LEARN] > t) + 0.02) for t in thresholds]
    threshold = thresholds[int(np.argmax(gains))]
    return epsilon_at_least(int((inside[LEARN:] > threshold).sum()), int((out[LEARN:] > threshold).sum()))


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_neighbours_cannot_be_told_apart_better_than_epsilon(name, monkeypatch, record_property):
    found = audit(name, monkeypatch)
    record_property("epsilon at least", round(found, 2))
    assert found <= EPSILON


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_a_tenth_of_the_noise_is_caught(name, monkeypatch, record_property):
    noise = GaussianMechanism._noise
    monkeypatch.setattr(GaussianMechanism, "_noise", lambda self, *at, scale=0.1: scale * noise(self, *at))
    found = audit(name, monkeypatch)
    record_property("epsilon at least", round(found, 2))
    assert found > EPSILON
