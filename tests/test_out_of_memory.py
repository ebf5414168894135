"""Memory that runs out inside a step: the same batch in smaller parts, one charge, the same release."""

import pytest
import torch

from sinkgen import DPSinkhornGenerator, PrivacyLedger
from sinkgen.accounting import GaussianRelease
from sinkgen.privacy.mechanism import GaussianMechanism
from sinkgen.privacy.queries.moments import MeanQuery
from sinkgen.privacy.query import SumQuery
from sinkgen.records import ArraySource

ERRORS = {
    "python": MemoryError(),
    "torch, cpu": RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
    "torch, cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
}


def short_of_memory(monkeypatch, error, most):
    """Queries cannot hold more than ``most`` records; how many times they could not is counted."""
    sum_of, failures = SumQuery._at, []

    class Short:
        def __init__(self, query):
            self.query = query

        def contribution(self, records):
            if len(records) > most:
                failures.append(len(records))
                raise error
            return self.query.contribution(records)

    monkeypatch.setattr(SumQuery, "_at", lambda self, device: Short(sum_of(self, device)))
    return failures


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_a_step_goes_on_in_smaller_parts(error, monkeypatch):
    values = torch.randn(1000, 5, generator=torch.Generator().manual_seed(0))

    def release():
        mechanism = GaussianMechanism([GaussianRelease("mean", 2.0, 0.5, 3)], noise_seed=0)
        return [mechanism.release("mean", MeanQuery(torch.zeros(5), 1.0), ArraySource(values)) for _ in range(3)]

    expected = release()
    failures = short_of_memory(monkeypatch, error, 37)
    for value, other in zip(release(), expected, strict=True):
        torch.testing.assert_close(value, other, rtol=1e-4, atol=1e-4)
    assert len(failures) > 10


@pytest.mark.filterwarnings("ignore:noise_seed")
def test_a_whole_fit_ends_as_with_enough_memory_at_one_charge(blobs, monkeypatch):
    def fit():
        ledger = PrivacyLedger()
        gen = DPSinkhornGenerator(5.0, schema=(-4, 4), steps=4, noise_seed=0, random_state=0, ledger=ledger)
        gen.fit(*blobs)
        assert [entry.releases for entry in ledger] == [gen.privacy_spent().releases]
        return gen.release_.generator.mixture

    expected = fit()
    failures = short_of_memory(monkeypatch, MemoryError(), 50)
    torch.testing.assert_close(fit().points, expected.points, rtol=1e-3, atol=1e-3)
    assert failures


def test_one_record_that_does_not_fit_is_an_error_and_stays_charged(blobs, monkeypatch):
    short_of_memory(monkeypatch, MemoryError(), 0)
    ledger = PrivacyLedger()
    with pytest.raises(MemoryError):
        DPSinkhornGenerator(schema=(-4, 4), ledger=ledger).fit(*blobs)
    assert len(ledger) == 1


def test_other_errors_are_not_taken_for_it(blobs, monkeypatch):
    failures = short_of_memory(monkeypatch, RuntimeError("shapes do not fit"), 0)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        DPSinkhornGenerator(schema=(-4, 4)).fit(*blobs)
    assert len(failures) == 1
