"""Faults put into the privacy code on purpose: each must be caught by an audit that the clean code passes.

Audits return a p-value of the hypothesis that the code keeps its contract: the clean code passes at 1e-5 (that is the
rate of false alarms), a mutant must fall below 1e-6.
"""

from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats

from sinkgen import records
from sinkgen.accounting import GaussianRelease
from sinkgen.accounting.unit import Unit
from sinkgen.ot import resolve_cost
from sinkgen.privacy import groups
from sinkgen.privacy.mechanism import GaussianMechanism
from sinkgen.privacy.queries.moments import CountQuery, MeanQuery
from sinkgen.privacy.queries.transport import CrossGradientQuery, LabelledCost, TransportQuery
from sinkgen.privacy.query import by_weight
from sinkgen.privacy.sealed import seal, unseal
from sinkgen.privacy.streams import Coins
from sinkgen.records import ArraySource, Draw, Records

D, N = 2000, 1000


def released(sigma, rate, steps, source, query):
    noisy = GaussianMechanism([GaussianRelease("mean", sigma, rate, steps)])
    return [noisy.release("mean", query, source) for _ in range(steps)]


def audit_noise():
    """Scale and independence of the noise, on a batch that is not empty."""
    nothing = torch.zeros(50, D)  # contributes nothing, but has a size
    query = MeanQuery(torch.zeros(D), 2.0)
    first, second = (value.numpy() / 6.0 for value in released(3.0, 1.0, 2, ArraySource(nothing), query))
    scale = stats.chi2.cdf((first**2).sum(), D)
    correlation = stats.norm.sf(abs(first @ second) / np.sqrt(D))
    return 2 * min(scale, 1 - scale, correlation)


def audit_canaries():
    """2,000 orthogonal canaries, each in with probability 1/2: is mu larger than 1 / sigma?

    The score of a canary is its coordinate of the release; in and out differ by the sensitivity, and the noise must be
    as large as stated (Steinke, Nasr, Jagielski, "Privacy auditing with one training run", arXiv 2305.08846).
    """
    sigma, clip = 4.0, 1.0
    inside = np.random.default_rng(0).random(D) < 0.5
    canaries = 50 * torch.eye(D)[torch.from_numpy(inside)]  # far above the clip
    (scores,) = released(sigma, 1.0, 1, ArraySource(canaries), MeanQuery(torch.zeros(D), clip))
    scores = scores.numpy() / (sigma * clip)
    difference = scores[inside].mean() - scores[~inside].mean()
    error = np.sqrt(1 / inside.sum() + 1 / (~inside).sum())
    # One-sided in the canaries' gain, two-sided in the noise's scale.
    gain = stats.norm.sf((difference - 1 / sigma) / error)
    scale = stats.chi2.cdf((scores[~inside] ** 2).sum(), (~inside).sum())
    return min(gain, 2 * scale, 2 * (1 - scale))


def audit_sampling():
    """Mean and spread of the batch sizes of Poisson samples: shuffled batches of a fixed size have no spread."""
    source, rate, repeats = ArraySource(torch.zeros(N, 1), torch.zeros(N, dtype=torch.long)), 0.1, 400
    exact = GaussianMechanism([GaussianRelease("count", 0.0, rate, repeats)], noise_seed=0)
    sizes = [float(exact.release("count", CountQuery(1), source)) for _ in range(repeats)]
    spread = np.var(sizes) * repeats / (N * rate * (1 - rate))
    tail = stats.chi2.cdf(spread, repeats - 1)
    return min(2 * tail, 2 * (1 - tail), stats.binomtest(int(sum(sizes)), N * repeats, rate).pvalue)


def audit_sensitivity():
    """The farthest that adversarial records move each query; 1 if within the bound, else 0."""
    points = torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5]])
    labels = torch.zeros(3, dtype=torch.long)
    transport = {"reg": 0.1, "cost": LabelledCost(resolve_cost("sqeuclidean"), 1), "backend": "torch"}
    queries = [
        MeanQuery(torch.zeros(2), 0.5),
        TransportQuery(points, labels, torch.zeros(3), 0.01, resolve_cost("sqeuclidean"), clip=0.3, mass_clip=0.1),
        CrossGradientQuery(points, labels, 1, 0.0, transport, 0.2),
    ]
    base = [Records(torch.tensor([[-9.0, 3.0]]), labels[:1])]
    for query in queries:
        for extreme in (0.4, 3.0, 1e3, 1e18):
            for direction in ([1.0, 0.0], [0.0, -1.0], [1.0, 1.0]):
                extra = Records(extreme * torch.tensor([direction]), labels[:1])
                for batch in ([], base):
                    moved = query.evaluate([*batch, extra]) - query.evaluate(batch)
                    if moved.norm() > query.sensitivity * (1 + 1e-5):
                        return 0.0
    return 1.0


def persons(mechanism, values, ids):
    records = Records(values, torch.zeros(len(ids), dtype=torch.long), np.array(ids)).numbered(0)
    return mechanism.bound(seal(ArraySource(*records))).map(lambda r: r)


def audit_persons():
    """How far a person with eight rows moves a mean and a count, over the noise that is added to each."""
    worst = 1.0
    for unit in (Unit.of_groups(3), Unit.of_groups(None)):
        for query in (MeanQuery(torch.zeros(D), 1.0), CountQuery(D)):
            moved = []
            for ids in ([0, 0], [0, 0, *[1] * 8]):
                exact = GaussianMechanism([GaussianRelease("mean", 0.0)], noise_seed=0, unit=unit)
                moved.append(exact.release("mean", query, persons(exact, torch.full((len(ids), D), 9.0), ids)))
            noisy = GaussianMechanism([GaussianRelease("mean", 1.0)], unit=unit)
            noise = noisy.release("mean", query, persons(noisy, torch.full((2, D), 9.0), [0, 0])) - moved[0]
            ratio = float((noise.numpy() ** 2).sum() / (moved[1] - moved[0]).norm() ** 2)
            worst = min(worst, 2 * stats.chi2.cdf(ratio, D), 2 * stats.chi2.sf(ratio, D))
    return worst


def audit_sampling_of_persons():
    """Spread of the sizes of samples of persons with five rows each: coins of rows would make less of it."""
    rate, repeats, n, unit = 0.1, 200, 200, Unit.of_groups(5)
    exact = GaussianMechanism([GaussianRelease("count", 0.0, rate, repeats)], noise_seed=0, unit=unit)
    source = persons(exact, torch.zeros(5 * n, 1), np.arange(5 * n) % n)
    sizes = [float(exact.release("count", CountQuery(1), source)) for _ in range(repeats)]
    spread = np.var(sizes) * repeats / (25 * n * rate * (1 - rate))
    tail = stats.chi2.cdf(spread, repeats - 1)
    return min(2 * tail, 2 * (1 - tail), stats.binomtest(int(sum(sizes) / 5), n * repeats, rate).pvalue)


def audit_sets_of_persons():
    """How often labels that one person brings, with twelve rows, pass: no more often than the row spends of delta."""
    delta, repeats, worst = 0.05, 200, 1.0
    for unit in (Unit.of_groups(3), Unit.of_groups(None)):
        for labels in (torch.zeros(12).long(), torch.arange(12)):
            passed = 0
            for _ in range(repeats):
                row = GaussianRelease("labels", 0.2, delta=delta)
                noisy = GaussianMechanism([row], delta=0.5, unit=unit)
                records = Records(torch.zeros(12, 1), labels, np.zeros(12, dtype=int)).numbered(0)
                source = noisy.bound(seal(ArraySource(*records)))
                passed += bool(noisy.release_labels("labels", source).labels)
            worst = min(worst, stats.binomtest(passed, repeats, delta, alternative="greater").pvalue)
    return worst


AUDITS = [
    audit_noise, audit_canaries, audit_sampling, audit_sensitivity, audit_persons, audit_sampling_of_persons,
    audit_sets_of_persons,
]  # fmt: skip


@pytest.mark.parametrize("audit", AUDITS)
def test_clean_code_passes(audit):
    assert audit() > 1e-5


def scaled_noise(factor):
    original = GaussianMechanism._noise
    return lambda self, what, step, shape, scale: original(self, what, step, shape, factor * scale)


def noise_over_batch_size(self, what, query, source):
    row, step = self._spend(what)
    draw = None if row.sampling_rate == 1 else Draw(row.sampling_rate, self._streams.sampling(what, step))
    chunks = list(unseal(source).chunks(draw))
    size = max(1, sum(map(len, chunks)))
    scale = row.noise_multiplier * query.sensitivity / size
    return query.read(query.evaluate(chunks) + self._noise(what, step, (query.size,), scale))


def repeated_noise(self, what, step, shape, scale):
    return scale * self._streams.normal(what, 0, shape)


def fixed_size_batches(self, start, n):
    return np.random.default_rng().permutation(n)[: round(self.rate * n)]


def one_sample(self, what, step):
    return Coins(self._words(self._derive("sampling", what, 0)))


def greedy_coins(self, start, n):
    return self.coins.rows(start, n, 1.2 * self.rate)


def unclipped(norms, bound):
    return torch.ones_like(norms)


def loosely_clipped(norms, bound):
    return (2 * bound / norms.clamp_min(1e-30)).clamp_max(1)


def clipped_rows(factors):
    return lambda rows, bound: rows * factors(rows.norm(dim=1), bound)[:, None]


def means_unweighted(self, chunks):
    return sum(self.contribution(records).double() for records in chunks)


def weights_of_one(records):
    return [(1.0, records)] if len(records) else []


def weights_rounded(records):
    return [(float(weight > 0), part) for weight, part in by_weight(records)]


def coins_of_rows(chunks, draw, size):
    return records._drawn(chunks, draw, 0)


def reach_of_a_row(self, max_rows):
    return self.sensitivity


def first_rows_of_all(rows, n):
    return groups.Persons(rows.persons, rows.counts, np.full(len(rows.persons), groups._LAST))


def every_row_in_sets(read, n_sets, chunks):
    return [sum((read(records)[i] for records in chunks), Counter()) for i in range(n_sets)]


MUTANTS = {
    "the cap ignored in one query": [("sinkgen.privacy.queries.moments.MeanQuery.evaluate", means_unweighted)],
    "the cap ignored": [("sinkgen.privacy.groups._ends", first_rows_of_all)],
    "weights not applied": [("sinkgen.privacy.query.by_weight", weights_of_one)],
    "weights of one where they are shares": [("sinkgen.privacy.query.by_weight", weights_rounded)],
    "a coin for each row of a person": [("sinkgen.records._drawn_by_person", coins_of_rows)],
    "noise for one row of a person": [("sinkgen.privacy.query.SumQuery.reach", reach_of_a_row)],
    "all rows of a person in sets": [("sinkgen.privacy.mechanism._count_members", every_row_in_sets)],
    "no noise": [("sinkgen.privacy.mechanism.GaussianMechanism._noise", scaled_noise(0.0))],
    "half the noise": [("sinkgen.privacy.mechanism.GaussianMechanism._noise", scaled_noise(0.5))],
    "noise over the batch's size": [("sinkgen.privacy.mechanism.GaussianMechanism.release", noise_over_batch_size)],
    "the same noise every step": [("sinkgen.privacy.mechanism.GaussianMechanism._noise", repeated_noise)],
    "no clip": [
        ("sinkgen.privacy.queries.transport.clip_factors", unclipped),
        ("sinkgen.privacy.queries.moments.clip_rows", clipped_rows(unclipped)),
    ],
    "no clip of the displacement": [("sinkgen.privacy.queries.transport.clip_factors", unclipped)],
    "twice the sensitivity": [
        ("sinkgen.privacy.queries.transport.clip_factors", loosely_clipped),
        ("sinkgen.privacy.queries.moments.clip_rows", clipped_rows(loosely_clipped)),
    ],
    "shuffled batches": [("sinkgen.records.Draw.rows", fixed_size_batches)],
    "the same sample every step": [("sinkgen.privacy.streams.Streams.sampling", one_sample)],
    "a fifth more records in the sample": [("sinkgen.records.Draw.rows", greedy_coins)],
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_caught(name, monkeypatch):
    for target, replacement in MUTANTS[name]:
        monkeypatch.setattr(target, replacement)
    assert any(audit() < 1e-6 for audit in AUDITS)
