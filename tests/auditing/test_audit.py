"""The audit: the claim is not refuted where it holds, and a tenth of the noise is caught."""

import numpy as np
import pandas as pd
import pytest

from sinkgen import Batch, DPSinkhornGenerator, PrivacyLeakWarning, audit, fitting
from sinkgen.accounting import gaussian_mu
from sinkgen.auditing import audit as audit_module
from sinkgen.privacy.mechanism import GaussianMechanism

PEOPLE = pd.DataFrame({"age": [30, 40], "sex": ["F", "M"]})
SCHEMA = {"age": (0, 100), "sex": ["F", "M"]}
CUT = Batch(steps=3, sampling_rate=0.9, points=2, microbatches=2)
CASES = {
    "field": ({"schema": SCHEMA}, (PEOPLE,)),
    "mixture": ({"schema": SCHEMA, "classes": [0, 1]}, (PEOPLE, [0, 1])),
    "arrays": ({"schema": (-4, 4), "classes": [0, 1], "steps": 3}, (np.zeros((2, 1)), [0, 1])),
}


# Of few fits too little is seen of a gradient, which a record can turn round and seldom does, to catch less noise.
CASES_OF_ALL = CASES | {
    "batch, cut": ({"schema": (-4, 4), "classes": [0, 1], "mechanism": CUT}, (np.zeros((2, 1)), [0, 1])),
}


@pytest.mark.parametrize("name", CASES_OF_ALL)
def test_a_claim_that_holds_is_not_refuted(name, quick_tables):
    parameters, data = CASES_OF_ALL[name]
    found = audit(DPSinkhornGenerator(2, **parameters), *data, fits=16)
    assert found.holds
    assert found.claimed == 2
    assert 0 <= found.alarms <= found.fits <= 16


@pytest.mark.parametrize("name", CASES)
def test_a_tenth_of_the_noise_is_caught(name, monkeypatch, quick_tables):
    noise = GaussianMechanism._noise
    monkeypatch.setattr(GaussianMechanism, "_noise", lambda self, *at: 0.1 * noise(self, *at))
    parameters, data = CASES[name]
    found = audit(DPSinkhornGenerator(2, **parameters), *data, fits=16)
    assert not found.holds
    assert "MORE IS SPENT" in str(found)


def test_all_that_is_released_counts():
    """The ratio's mean is half of the square of the promise's mu: nothing that a record shows is left out."""
    gen = DPSinkhornGenerator(10, **CASES["arrays"][0])
    worlds = audit_module._worlds(gen, *CASES["arrays"][1], "made-up")
    scores = [audit_module._score(gen, worlds, True) for _ in range(12)]
    mu = gaussian_mu(10, gen.delta)
    assert 0.5 * mu**2 / 2 < np.mean(scores) < 2 * mu**2 / 2


def test_no_record_is_looked_at_unless_asked(monkeypatch):
    seen = []
    monkeypatch.setattr(fitting, "fit", lambda own, data, *rest, door: seen.append(data.source.others) or _stop())
    gen = DPSinkhornGenerator(2, schema=SCHEMA)
    with pytest.raises(KeyError):
        audit(gen, PEOPLE)
    (low,) = seen[0].gather()
    assert low.values.frame.age.tolist() == [0]
    with pytest.raises(KeyError), pytest.warns(PrivacyLeakWarning, match="looks at the records"):
        audit(gen, PEOPLE, data="given")
    (given,) = seen[1].gather()
    assert given.values.frame.equals(PEOPLE)


def _stop():
    raise KeyError


def test_records_that_are_given_are_audited():
    with pytest.warns(PrivacyLeakWarning):
        found = audit(DPSinkhornGenerator(2, schema=SCHEMA), pd.concat([PEOPLE] * 5), data="given", fits=8)
    assert found.data == "given"
    assert found.holds


@pytest.mark.parametrize(("parameters", "message"), [({"data": "mine"}, "data must be"), ({"fits": 2}, "fits must be")])
def test_what_cannot_be_audited_is_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        audit(DPSinkhornGenerator(2, schema=SCHEMA), PEOPLE, **parameters)
    with pytest.raises(ValueError, match="epsilon must be finite"):
        audit(DPSinkhornGenerator(np.inf, schema=SCHEMA), PEOPLE)
