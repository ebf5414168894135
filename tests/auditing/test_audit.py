"""The audit: the claim is not refuted where it holds, and a tenth of the noise is caught."""

import numpy as np
import pandas as pd
import pytest

from sinkgen import DPSinkhornGenerator, PrivacyLeakWarning, audit
from sinkgen.privacy.mechanism import GaussianMechanism

PEOPLE = pd.DataFrame({"age": [30, 40], "sex": ["F", "M"]})
SCHEMA = {"age": (0, 100), "sex": ["F", "M"]}
CASES = {
    "field": ({"schema": SCHEMA}, (PEOPLE,)),
    "mixture": ({"schema": SCHEMA, "classes": [0, 1]}, (PEOPLE, [0, 1])),
    "arrays": ({"schema": (-4, 4), "classes": [0, 1], "steps": 3}, (np.zeros((2, 1)), [0, 1])),
}


@pytest.mark.parametrize("name", CASES)
def test_a_claim_that_holds_is_not_refuted(name):
    parameters, data = CASES[name]
    found = audit(DPSinkhornGenerator(2, **parameters), *data, fits=16)
    assert found.holds
    assert found.claimed == 2
    assert 0 <= found.alarms <= found.fits <= 16


@pytest.mark.parametrize("name", CASES)
def test_a_tenth_of_the_noise_is_caught(name, monkeypatch):
    noise = GaussianMechanism._noise
    monkeypatch.setattr(GaussianMechanism, "_noise", lambda self, *at: 0.1 * noise(self, *at))
    parameters, data = CASES[name]
    found = audit(DPSinkhornGenerator(2, **parameters), *data, fits=16)
    assert not found.holds
    assert "MORE IS SPENT" in str(found)


def test_no_record_is_looked_at_unless_asked(monkeypatch):
    seen = []
    monkeypatch.setattr(DPSinkhornGenerator, "fit", lambda self, X, y=None: seen.append(X) or _stop())
    gen = DPSinkhornGenerator(2, schema=SCHEMA)
    with pytest.raises(StopIteration):
        audit(gen, PEOPLE)
    assert len(seen[0]) == 1
    assert seen[0].age.tolist() == [0]
    with pytest.raises(StopIteration), pytest.warns(PrivacyLeakWarning, match="looks at the records"):
        audit(gen, PEOPLE, data="given")
    assert seen[1].equals(PEOPLE)


def _stop():
    raise StopIteration


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
