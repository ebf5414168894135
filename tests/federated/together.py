"""What owners' fits are compared with, here and in benchmarks/federated.py: their records and noise on one machine."""

import torch

from sinkgen.privacy.query import on_grid
from sinkgen.privacy.streams import Streams
from sinkgen.records import AskedRecords
from sinkgen.sources.open import open_records
from sinkgen.storage import _tensors


class Together(AskedRecords):
    """The same records on one machine, without messages or masks: sums of doubles, and the owners' noise."""

    fingerprint = 0

    def __init__(self, owners, template, honest):
        self.owners, self.template, self.honest = owners, template, honest
        self.sources = [open_records(owner._X, owner._y).source for owner in owners]

    def layout(self, as_array):
        return open_records(*self.template, as_array=as_array).layout

    def assumptions(self):
        return ()

    def agree(self, terms):
        self.rows = {row.what: row for row in terms.releases}

    def map(self, function):
        mapped = Together(self.owners, self.template, self.honest)
        mapped.sources, mapped.rows = [source.map(function) for source in self.sources], self.rows
        return mapped

    def ask(self, what, step, query):
        total = torch.zeros(query.size, dtype=torch.float64)
        for owner, source in zip(self.owners, self.sources, strict=True):
            (session,) = owner._sessions.values()
            scale = self.rows[what].noise_multiplier * query.sensitivity / self.honest**0.5
            noise = scale * Streams(session.memory.secret, secure=True).normal(what, step, (query.size,))
            total += query.over(source, None) + on_grid(noise, query.sensitivity)
        return total


def released(gen):
    return {"class_weights": gen.release_.class_weights} | _tensors("release", gen.release_.generator)


def assert_same(one, other):
    first, second = released(one), released(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert value.equal(second[name]), name
