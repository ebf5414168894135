"""Faults put into the privacy code on purpose: each must be caught by an audit that the clean code passes.

Audits return a p-value of the hypothesis that the code keeps its contract: the clean code passes at 1e-5 (that is the
rate of false alarms), a mutant must fall below 1e-6.
"""

import math
import tempfile
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from sinkgen import DPSinkhornGenerator, PrivacyLedger, records
from sinkgen.accounting import GaussianRelease
from sinkgen.accounting.unit import Unit
from sinkgen.denoise.search import Numbers
from sinkgen.exceptions import FitError
from sinkgen.ot import resolve_cost
from sinkgen.privacy import groups
from sinkgen.privacy import query as sums
from sinkgen.privacy.journal import Journal
from sinkgen.privacy.mechanism import GaussianMechanism, _add_counts, _count_members, _threshold
from sinkgen.privacy.queries.moments import CountQuery, MeanQuery, MomentQuery, RadiusQuery
from sinkgen.privacy.queries.people import AcrossQuery, ChangesQuery, ResidualsQuery, ScoresQuery
from sinkgen.privacy.queries.tables import JointQuery, MarginalQuery, PairQuery
from sinkgen.privacy.queries.transport import CrossGradientQuery, TransportQuery
from sinkgen.privacy.query import by_weight
from sinkgen.privacy.sealed import seal, unseal
from sinkgen.privacy.streams import Coins, Streams, new_key
from sinkgen.records import ArraySource, Draw, Records
from sinkgen.training import persons as persons_of
from sinkgen.training.numbers import count_numbers

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
    transport = {"reg": 0.1, "cost": resolve_cost("sqeuclidean"), "backend": "torch"}
    queries = [
        MeanQuery(torch.zeros(2), 0.5),
        MomentQuery(2, 0.5),
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


def audit_microbatches():
    """How far a record, or a person's rows of two classes, move a batch that is cut; 1 if within the bound, else 0."""
    points, labels = torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5], [0.5, 0.5]]), torch.arange(4) % 2
    transport = {"reg": 0.1, "cost": resolve_cost("sqeuclidean"), "tol": None, "max_iter": 10}
    few, many = (CrossGradientQuery(points, labels, 2, None, transport, 0.2, microbatches=parts) for parts in (3, 8))
    far = torch.cat([torch.full((12, 2), -3.0), torch.full((20, 2), 3.0)])  # a person has the last twenty
    owners = torch.stack([torch.arange(32.0).clamp_max(12), *torch.ones(3, 32)], 1).double()
    owned = Records(far, torch.arange(32) % 2, owners)
    for seed in range(20):
        draw = Draw(0.5, Streams(new_key(seed)).sampling("gradients", 0), 13)
        mixed = Records(3 * torch.randn(40, 2, generator=torch.Generator().manual_seed(seed)), torch.arange(40) % 2)
        of_records = [many.evaluate([mixed.take(slice(0, n))], draw._replace(n_persons=None)) for n in (39, 40)]
        of_persons = [few.evaluate([owned.take(slice(0, n))], draw) for n in (12, 32)]
        for one, other in (of_records, of_persons):
            if (one - other).norm() > few.sensitivity * (1 + 1e-5):
                return 0.0
    return 1.0


def persons(mechanism, values, ids):
    records = Records(values, torch.zeros(len(ids), dtype=torch.long), np.array(ids)).numbered(0)
    return mechanism.bound(seal(ArraySource(*records))).map(lambda r: r)


class PlainTransport(TransportQuery):
    read = sums.SumQuery.read


def audit_persons():
    """How far a person with eight rows moves several sums, over the noise that is added to each."""
    worst, cost, point = 1.0, resolve_cost("sqeuclidean"), torch.zeros(1, D)
    queries = (
        MeanQuery(torch.zeros(D), 1.0),
        CountQuery(D),
        RadiusQuery(10.0, 1, lambda classes: classes.records.values),
        PlainTransport(point, torch.zeros(1).long(), torch.zeros(1), 1.0, cost, clip=1.0, mass_clip=0.5),
    )
    for unit in (Unit.of_groups(3), Unit.of_groups(None)):
        for query in queries:
            moved = []
            for ids in ([0, 0], [0, 0, *[1] * 8]):
                exact = GaussianMechanism([GaussianRelease("mean", 0.0)], noise_seed=0, unit=unit)
                moved.append(exact.release("mean", query, persons(exact, torch.full((len(ids), D), 9.0), ids)))
            noisy = GaussianMechanism([GaussianRelease("mean", 1.0)], unit=unit)
            noise = noisy.release("mean", query, persons(noisy, torch.full((2, D), 9.0), [0, 0])) - moved[0]
            ratio = float((noise.numpy() ** 2).sum() / (moved[1] - moved[0]).norm() ** 2)
            worst = min(worst, 2 * stats.chi2.cdf(ratio, query.size), 2 * stats.chi2.sf(ratio, query.size))
    return worst


def audit_chosen_rows():
    """How far a person with twelve rows moves the release of how many rows persons have, over its noise."""
    noisy = []
    for ids in ([0, 0], [0, 0, *[1] * 12]):
        records = Records(torch.zeros(len(ids), 1), torch.zeros(len(ids)).long(), np.array(ids)).numbered(0)
        mechanism = GaussianMechanism([GaussianRelease("rows", 1.0)], noise_seed=0, unit=Unit.of_groups("auto"))
        release = mechanism.release
        mechanism.release = lambda *asked, release=release: noisy.append(release(*asked)) or noisy[-1]
        persons_of.learn_sizes("rows", mechanism.bound(seal(ArraySource(*records)), Unit.of_groups(None)), mechanism)
    return float((noisy[1] - noisy[0]).norm() <= 1)


def audit_charged_rows():
    """Whether a source can be bounded for more rows of a person than the ledger was told of."""
    mechanism = GaussianMechanism([GaussianRelease("rows", 1.0)], unit=Unit.of_groups(2))
    records = Records(torch.zeros(3, 1), torch.zeros(3).long(), np.zeros(3, dtype=int)).numbered(0)
    try:
        mechanism.bound(seal(ArraySource(*records)), Unit.of_groups(3))
    except FitError:
        return 1.0
    return 0.0


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


PERSON_QUERIES = {
    "changes": lambda: ChangesQuery(2),
    "across": lambda: AcrossQuery([(j, torch.arange(3) // 2) for j in range(2)]),
    "scores": lambda: ScoresQuery([(j, torch.tensor([-1.0, 0.5, 1.0])) for j in range(2)], 1.2),
    "residuals": lambda: ResidualsQuery([(j, torch.tensor([-1.0, 0.5, 1.0])) for j in range(2)], [0.02, 0.06], 2.0),
}


def audit_whole_persons():
    """How far a person moves what is asked of whole persons, with rows that are alike and others, over the noise."""
    for make in PERSON_QUERIES.values():
        for rows in ([[2, 2, 0]] * 9, [[2, 2, 0], [0, 0, 1]] * 4, [[0, 2, 1], [2, 0, 1], [2, 2, -1]]):
            moved = []
            for own in ([], rows):
                codes = torch.tensor([[0, 1, 0], [1, 1, 1], *own])
                exact = GaussianMechanism([GaussianRelease("whole", 0.0)], noise_seed=0, unit=Unit.of_groups(None))
                records = Records(codes[:, :2], codes[:, 2], np.array([5, 5, *[9] * len(own)])).numbered(0)
                query = make()
                query.read = lambda value: value
                moved.append(exact.release("whole", query, exact.bound(seal(ArraySource(*records))).map(lambda r: r)))
            if (moved[1] - moved[0]).norm() > query.reach(1) * (1 + 1e-5):
                return 0.0
    return 1.0


def audit_pairs():
    """One record in all pairs of five columns: of three, there are as many pairs as columns."""
    query, record = PairQuery([2] * 5), Records(torch.ones(1, 5).long(), torch.zeros(1).long())
    return float(query.evaluate([record]).norm() <= query.sensitivity * (1 + 1e-12))


def audit_sets():
    """Noise of the counts of four sets, and how often members of a single record pass."""
    n_sets, members, sigma, delta = 4, 2000, 3.0, 0.2

    def released_sets(count):
        counts = [Counter({f"member {i}": count for i in range(members)}), *[Counter()] * (n_sets - 1)]
        noisy = GaussianMechanism([GaussianRelease("sets", sigma, delta=delta)])
        return noisy.release_sets("sets", ArraySource(torch.zeros(1, 1)), lambda _: counts, n_sets)[0]

    noise = released_sets(1000).counts.numpy() - 1000
    scale = stats.chi2.cdf((noise**2).sum() / (sigma**2 * n_sets), members)
    passed = stats.binomtest(len(released_sets(1).labels), members, delta / n_sets, alternative="greater").pvalue
    return min(2 * scale, 2 * (1 - scale), passed)


class Asking:
    """A mechanism that asks each query also of one record more, and notes how far that moves it."""

    def __init__(self, rows, more):
        self.batches, self.worst = [rows, torch.cat([rows, more])], 0.0
        self.noise_multiplier = lambda what: 1.0

    def release(self, what, query, code):
        without, with_it = (query.evaluate([code(Records(rows))]) for rows in self.batches)
        self.worst = max(self.worst, float((with_it - without).norm()) / query.sensitivity)
        return query.read(with_it)


def audit_learned_bounds():
    """How far a record moves the counts of magnitudes, of cells and of grains by which bounds are learned."""
    rows = 100 * torch.rand(500, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    worst = 0.0
    for value in (0.25, 1e9, -1e300, math.nan):
        asking = Asking(rows, torch.full((1, 5), value, dtype=torch.float64))
        columns = [Numbers.of(None, "float")] * 2 + [Numbers.of(None, "integer")] * 3
        count_numbers(columns, SimpleNamespace(map=lambda code: code), 500.0, asking, "bounds", 3)
        worst = max(worst, asking.worst)
    return float(0.9 < worst <= 1)


def audit_grid():
    """A row in front shifts all others, and the sum of every chunk from just below to just above a middle of the grid.

    The rows are ``k d`` and ``middle - (k + 1/2) d`` by turns: two in a chunk make less than the middle before, and
    more of it after.
    """
    size, n_chunks, query = 64, 256, MeanQuery(torch.zeros(64, dtype=torch.float64), 1.0)
    unit = sums.GRID * 2.0  # public, as all of the code
    step = unit / 1024
    k = torch.arange(n_chunks, dtype=torch.float64)
    rows = torch.stack([k * step, unit / 2 - (k + 0.5) * step], 1).flatten()[:, None].expand(-1, size)
    front = torch.full((1, size), 9.0, dtype=torch.float64)
    values = [
        query.evaluate([Records(chunk, torch.zeros(len(chunk))) for chunk in batch.split(2)])
        for batch in (rows, torch.cat([front, rows]))
    ]
    return float((values[1] - values[0]).norm() <= query.sensitivity)


class Noting(CountQuery):
    """Counts, and what holds while a contribution is computed, or before."""

    def __init__(self, note):
        super().__init__(1)
        self.note, self.noted = note, []

    def contribution(self, records):
        self.noted.append(self.note())
        return super().contribution(records)


ONE = ArraySource(torch.zeros(1, 1), torch.zeros(1, dtype=torch.long))


def audit_precision():
    """Whether products are of full precision while a contribution is computed, in a script that wants shorter ones."""
    query, former = Noting(sums._precisions), torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        query.over(ONE, None)
    finally:
        torch.set_float32_matmul_precision(former)
    return float(query.noted in ([["ieee", "ieee"]], ["highest"]))


def audit_charge():
    """Whether a ledger is charged before a record is looked at."""
    ledger = PrivacyLedger()
    query = Noting(lambda: len(ledger))
    GaussianMechanism([GaussianRelease("count", 1.0)], ledger=ledger).release("count", query, ONE)
    return float(query.noted == [1])


def audit_coins():
    """Whether exactly the upper words, as many as the rate says, draw the first record; none where there are none."""
    rate = 0.1
    least = 2**64 - int(rate * 2.0**64)
    drawn = [len(Coins(constant_words(word)).rows(0, 1, rate)) for word in (least, least - 1)]
    never = Coins(constant_words(2**64 - 1)).rows(0, 1, 2.0**-70)
    return float(drawn == [1, 0] and not len(never))


def constant_words(word):
    return lambda start, n: np.full(n, word, dtype=np.uint64)


def small_fit(**parameters):
    return DPSinkhornGenerator(5.0, **{"schema": (-1, 2), "steps": 2, **parameters})


SOME = np.random.default_rng(0).uniform(-1, 2, (40, 2))


class Nothing(torch.nn.Module):
    def forward(self, x):
        return x * torch.nan


def audit_rehearsal():
    """Whether a fit that fails for all records is charged."""
    ledger = PrivacyLedger()
    try:
        small_fit(ledger=ledger, cost=Nothing()).fit(SOME)
    except Exception:  # a mutant may fail in many ways, or not at all
        return float(len(ledger) == 0)
    return 0.0


def audit_records_of_a_journal():
    """Whether a fit that was begun on some records goes on with others, and gives them the same noise."""

    class Crash(BaseException):
        pass

    def crash(self, what, step, content):
        keep(self, what, step, content)
        raise Crash

    keep = Journal.keep
    with tempfile.TemporaryDirectory() as folder:
        ledger = PrivacyLedger(Path(folder) / "ledger")
        gen = small_fit(ledger=ledger, checkpoint_dir=Path(folder) / "fit")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Journal, "keep", crash)
            with pytest.raises(Crash):
                gen.fit(SOME)
        try:
            gen.fit(SOME[1:])
        except ValueError as error:
            return float("set of records" in str(error))
        return 0.0


AUDITS = [
    audit_noise, audit_canaries, audit_sampling, audit_sensitivity, audit_microbatches, audit_pairs, audit_sets,
    audit_learned_bounds, audit_grid, audit_precision, audit_charge, audit_coins, audit_rehearsal,
    audit_records_of_a_journal,
    audit_persons, audit_chosen_rows, audit_charged_rows, audit_whole_persons, audit_sampling_of_persons,
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


def sensitivity_of_columns(self, widths, n_classes=1):
    _made["pairs"](self, widths, n_classes)
    self.sensitivity = math.sqrt(len(self.widths))


def sensitivity_of_one(self, widths, n_classes=1):
    _made["marginals"](self, widths, n_classes)
    self.sensitivity = 1.0


def shares_as_they_are(self, queries, shares):
    _made["joint"](self, queries, shares)
    self.scales = [1 / query.sensitivity for query in queries]


def clipped_late(self, dim, clip, n_classes=1, residual=None):
    _made["moments"](self, dim, clip, n_classes, residual)
    self.clip = 1.1 * clip


def weights_of_pairs(self, n_rows):
    return 1 / n_rows if n_rows > 1 else 0.0


def alone(self, widths):
    _made["across"](self, widths)
    self.sensitivity = math.sqrt(len(self.widths))


_made = {
    "across": AcrossQuery.__init__,
    "pairs": PairQuery.__init__,
    "marginals": MarginalQuery.__init__,
    "joint": JointQuery.__init__,
    "moments": MomentQuery.__init__,
    "mechanism": GaussianMechanism.__init__,
    "release": GaussianMechanism.release,
    "coins": Coins.rows,
    "parts": CrossGradientQuery._drawn_parts,
    "classes": CrossGradientQuery._of_classes,
    "sizes": persons_of.sizes_alone,
    "bound": GaussianMechanism.bound,
}


def noisy_sets(norm_of, parts_of):
    """Learned sets with another norm of what a record adds, and other parts of delta."""

    def mutant(self, what, step, row, source, read, n_sets):
        counts = unseal(source).reduce(lambda chunks: _count_members(read, n_sets, chunks), _add_counts)
        scale = row.noise_multiplier * norm_of(n_sets)
        noise = iter(self._noise(what, step, (sum(map(len, counts)),), scale).tolist())
        return [_threshold(count, noise, 1 + scale * stats.norm.isf(row.delta / parts_of(n_sets))) for count in counts]

    return mutant


def charge_later(self, releases, delta=1e-5, *, ledger=None, **others):
    _made["mechanism"](self, releases, delta, **others)
    self.owed = [] if ledger is None else [lambda: ledger.charge(tuple(releases), delta=delta)]


def charge_now(self, what, query, source):
    value = _made["release"](self, what, query, source)
    while self.owed:
        self.owed.pop()()
    return value


def coins_rounded_up(self, start, n, rate):
    return _made["coins"](self, start, n, math.ceil(rate * 2.0**32) / 2.0**32)


def parts_of_equal_size(self, n, n_parts):
    return np.arange(n)[::-1] * n_parts // max(1, n)


def parts_of_rows(self, chunks, draw):
    rows = draw is None or draw.n_persons is None
    return _made["parts"](self, chunks, draw if rows else draw._replace(n_persons=None))


def persons_as_rows(self, y, labels, parts, n_parts, weights):
    return _made["classes"](self, y, labels, parts, n_parts, None)


def rows_as_persons(records):
    """Each row counts in full."""
    sized = _made["sizes"](records)
    ones = torch.ones_like(sized.groups[:, 1])
    return sized.having(groups=torch.stack([sized.groups[:, 0], ones, ones, sized.groups[:, 3]], 1))


def bound_as_asked(self, source, unit=None):
    self._most = 10**6
    return _made["bound"](self, source, unit)


MUTANTS = {
    "a person counted in each row where rows are chosen": [("sinkgen.training.persons.sizes_alone", rows_as_persons)],
    "more rows than were charged": [("sinkgen.privacy.mechanism.GaussianMechanism.bound", bound_as_asked)],
    "microbatches of equal size": [("sinkgen.privacy.streams.Coins.parts", parts_of_equal_size)],
    "a person's rows in several microbatches": [
        ("sinkgen.privacy.queries.transport.CrossGradientQuery._drawn_parts", parts_of_rows)
    ],
    "a person's classes clipped apart": [
        ("sinkgen.privacy.queries.transport.CrossGradientQuery._of_classes", persons_as_rows)
    ],
    "pairs of a person's rows weighted as rows": [
        ("sinkgen.privacy.queries.people.AcrossQuery.weight", weights_of_pairs)
    ],
    "what a person adds is not clipped": [
        ("sinkgen.privacy.queries.people.ClippedQuery.contribution", lambda self, rows, _: self.vectors(rows).sum(0))
    ],
    "what a person adds is clipped row by row": [
        ("sinkgen.privacy.queries.people.ClippedQuery.weight", lambda self, n: float(n))
    ],
    "a person counted in each row": [("sinkgen.privacy.queries.people.ChangesQuery.weight", lambda self, n: float(n))],
    "pairs across rows with the sensitivity of columns": [
        ("sinkgen.privacy.queries.people.AcrossQuery.__init__", alone)
    ],
    "pairs with the sensitivity of columns": [
        ("sinkgen.privacy.queries.tables.PairQuery.__init__", sensitivity_of_columns)
    ],
    "all columns with the sensitivity of one": [
        ("sinkgen.privacy.queries.tables.MarginalQuery.__init__", sensitivity_of_one)
    ],
    "queries of one release without their shares": [
        ("sinkgen.privacy.queries.tables.JointQuery.__init__", shares_as_they_are)
    ],
    "moments clipped a tenth too late": [("sinkgen.privacy.queries.moments.MomentQuery.__init__", clipped_late)],
    "all learned sets with the noise of one": [
        ("sinkgen.privacy.mechanism.GaussianMechanism._noisy_sets", noisy_sets(lambda n: 1, lambda n: n))
    ],
    "each learned set with all of delta": [
        ("sinkgen.privacy.mechanism.GaussianMechanism._noisy_sets", noisy_sets(math.sqrt, lambda n: 1))
    ],
    "a grid coarser than the margin": [("sinkgen.privacy.query.GRID", 2.0**-24)],
    "no margin for rounding": [("sinkgen.privacy.query.ROUNDING_MARGIN", 1.0)],
    "products of the script's precision": [("sinkgen.privacy.query.full_precision", nullcontext)],
    "a charge after the release": [
        ("sinkgen.privacy.mechanism.GaussianMechanism.__init__", charge_later),
        ("sinkgen.privacy.mechanism.GaussianMechanism.release", charge_now),
    ],
    "a sampling rate that is rounded up": [("sinkgen.privacy.streams.Coins.rows", coins_rounded_up)],
    "no rehearsal": [("sinkgen.fitting.rehearse", lambda *facts, **settings: None)],
    "other records in a journal": [("sinkgen.fitting.fingerprint", lambda source: 0)],
    "a journal that is not checked": [("sinkgen.privacy.journal.Journal.check", lambda self, settings: None)],
    "the cap ignored in one query": [("sinkgen.privacy.queries.moments.MeanQuery.evaluate", means_unweighted)],
    "the cap ignored": [("sinkgen.privacy.groups._ends", first_rows_of_all)],
    "weights not applied": [("sinkgen.privacy.query.by_weight", weights_of_one)],
    "weights not applied to the transport": [
        ("sinkgen.privacy.queries.transport.times_weights", lambda contributions, records: contributions)
    ],
    "weights not applied to lengths": [
        ("sinkgen.privacy.queries.moments.times_weights", lambda contributions, records: contributions)
    ],
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
