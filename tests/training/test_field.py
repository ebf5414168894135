"""Tables without labels: queries by search, what is asked, the public fit, and draws."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sinkgen import Column, DPSinkhornGenerator
from sinkgen.accounting import GaussianRelease
from sinkgen.denoise.ratios import likely_cells
from sinkgen.exceptions import PoorFitWarning, ReproducibleNoiseWarning
from sinkgen.generators.cliques import Clique, even_groups
from sinkgen.generators.coupling import Coupling, Moments, value_scores
from sinkgen.generators.field import Field
from sinkgen.generators.kinds import Kinds
from sinkgen.generators.places import Places
from sinkgen.privacy.mechanism import GaussianMechanism
from sinkgen.privacy.queries.tables import CliqueQuery, DistanceQuery, ParityQuery
from sinkgen.records import ArraySource, Records
from sinkgen.training.tables.ascent import fit_field
from sinkgen.training.tables.coupling import covariance
from sinkgen.training.tables.structure import (
    Columns,
    Counted,
    Near,
    affordable,
    averaged,
    choose,
    denoised,
    frequencies_of,
    learn_pairs,
)

WIDTHS = (3, 2, 4, 2)  # the last is the label
RECORD = st.tuples(*(st.integers(-1, width - 1) for width in WIDTHS))
DATA = st.lists(RECORD, max_size=6)
CLIQUES = [
    Clique((0, 1), (torch.tensor([0, 1, 1]), torch.arange(2))),
    Clique((0, 2, 3), (torch.arange(3), torch.tensor([0, 0, 1, 1]), torch.arange(2))),
    Clique((2,), (torch.arange(4),)),
]


def records(rows):
    cells = torch.tensor(rows, dtype=torch.int16).view(len(rows), len(WIDTHS))
    return Records(cells[:, :-1], cells[:, -1].long())


PARITIES = [
    Clique((0, 1, 3), (torch.tensor([0, 1, 1]), torch.arange(2), torch.arange(2))),
    Clique((1, 2, 3), (torch.arange(2), torch.tensor([0, 0, 1, 1]), torch.arange(2))),
]
QUERIES = {
    "cliques": CliqueQuery(CLIQUES, [1.0, 3.0, 0.5]),
    "parities": ParityQuery(PARITIES),
    "distances": DistanceQuery(CLIQUES, [torch.full(clique.shape, 1.5) for clique in CLIQUES]),
}


@pytest.mark.parametrize("name", QUERIES)
@settings(max_examples=60, deadline=None)
@given(data=DATA, extra=RECORD)
def test_one_record_moves_a_query_by_its_sensitivity_at_most(name, data, extra):
    query = QUERIES[name]
    with_it, without = (query.evaluate([records(rows)]) for rows in ([*data, extra], data))
    assert len(with_it) == query.size
    assert (with_it - without).norm() <= query.sensitivity * (1 + 1e-9)


def test_sensitivities_are_reached():
    whole = [records([(0, 1, 3, 1)])]
    assert QUERIES["cliques"].evaluate(whole).norm() == pytest.approx(1, abs=1e-5)
    far = DistanceQuery(CLIQUES, [torch.zeros(clique.shape) for clique in CLIQUES])
    assert (far.evaluate(whole) - far.evaluate([])).norm() == pytest.approx(math.sqrt(3), abs=1e-4)


def test_counts_and_distances_are_those_of_the_records():
    chunks = [records([(0, 1, 3, 1), (2, 0, 0, 0)]), records([(2, 1, -1, 1)])]
    pairs, triples, single = QUERIES["cliques"].read(QUERIES["cliques"].evaluate(chunks))
    assert pairs.round().tolist() == [[0, 1], [1, 1]]
    assert triples.round()[0, 1, 1] == triples.round()[2, 0, 0] == 1
    assert triples.round().sum() == single.round().sum() == 2  # what has no state counts nowhere
    source = ArraySource(chunks[0].values, chunks[0].labels)
    distances = DistanceQuery(CLIQUES[:1], [torch.ones(2, 2)]).over(source, None)
    assert distances.tolist() == pytest.approx([2.0], abs=1e-4)


# --- Groups and choices ----------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(2, 9), st.data())
def test_groups_are_few_and_have_no_gaps(frequencies, n, data):
    n_ordered = data.draw(st.integers(0, len(frequencies)))
    groups = even_groups(torch.tensor(frequencies), n, n_ordered)
    assert torch.unique(groups).tolist() == list(range(int(groups.max()) + 1))
    assert groups.max() < max(n, 2)
    assert (groups[:n_ordered].diff() >= 0).all() or len(frequencies) <= n or not n_ordered


@given(st.lists(st.integers(1, 40), min_size=2, max_size=3), st.floats(0, 2000))
def test_a_pair_has_as_many_cells_as_it_pays_for(widths, n_cells):
    found = affordable(widths, n_cells)
    assert all(min(2, had) <= has <= had for has, had in zip(found, widths, strict=True))
    assert math.prod(found) <= max(n_cells, 2 ** len(widths)) or max(found) <= 2


def test_scores_are_values_of_mean_zero_and_what_is_far_out_counts_less():
    frequencies = torch.tensor([0.5, 0.2, 0.2, 0.1])
    found = value_scores(frequencies, torch.tensor([1.0, 2.0, 3.0]))
    assert found[3] == 0  # missing cells
    assert float(frequencies @ found) == pytest.approx(0, abs=1e-6)
    assert float(found[1] - found[0]) == pytest.approx(float(found[2] - found[1]), abs=1e-5)
    far = value_scores(torch.tensor([0.49, 0.5, 0.01]), torch.tensor([0.0, 1.0, 1e6]))
    assert far.abs().max() < 3
    assert float(far[1] - far[0]) > 0.5  # one far state does not hide the others


def test_covariances_lose_their_noise_and_keep_a_strong_pair():
    random = torch.Generator().manual_seed(0)
    loadings = 0.7 * torch.randn(40, 3, generator=random, dtype=torch.float64)
    loadings[:2] = 0  # the strong pair goes with each other alone
    real = loadings @ loadings.T / (1 + loadings.square().sum(1).max())
    real[0, 1] = real[1, 0] = 0.9
    real += torch.diag(1 - real.diag())
    noise = 0.05 * torch.randn(40, 40, generator=random, dtype=torch.float64).triu(1)
    found = covariance(real + noise + noise.T, 0.05 * 2**0.5)
    assert (found - real).square().mean() < 0.4 * (noise + noise.T).square().mean()
    assert float(found[0, 1]) > 0.7
    assert torch.linalg.eigvalsh(found).min() > 0
    torch.testing.assert_close(found.diag(), torch.ones(40, dtype=torch.float64))
    nothing = covariance(torch.eye(40) + noise + noise.T, 0.05 * 2**0.5)
    assert (nothing - torch.eye(40)).abs().max() < 0.1


@pytest.mark.parametrize("n", [3, 6, 12, 30])
@pytest.mark.parametrize("scale", [0.007, 0.03, 0.1])
def test_covariances_of_many_factors_are_hardly_farther_off_than_the_released_ones(n, scale):
    random, errors = torch.Generator().manual_seed(0), []
    for _ in range(8):
        loadings = torch.randn(n, n, generator=random, dtype=torch.float64)
        real = loadings @ loadings.T
        real = real / torch.outer(real.diag().sqrt(), real.diag().sqrt())
        noise = scale * torch.randn(n, n, generator=random, dtype=torch.float64).triu(1)
        found = covariance(real + noise + noise.T, scale * 2**0.5)
        errors.append([(found - real).square().mean(), (noise + noise.T).square().mean()])
    found, released = torch.tensor(errors).mean(0)
    assert found < 1.3 * released  # three times as far with the factors alone, where noise is least


def test_noise_is_no_covariance_of_columns_that_hardly_vary():
    random = torch.Generator().manual_seed(0)
    noise = 0.05 * torch.randn(40, 40, generator=random, dtype=torch.float64).triu(1)
    variances = torch.ones(40, dtype=torch.float64)
    variances[:10] = 0.05
    found = covariance(torch.diag(variances) + noise + noise.T, 0.05 * 2**0.5)
    assert (found - torch.diag(variances)).abs().max() < 0.02  # correlations of .4
    torch.testing.assert_close(found.diag(), variances)


@pytest.fixture(scope="module")
def wide_gen():
    random = np.random.default_rng(0)
    x = random.normal(size=(4000, 2)) @ random.normal(size=(2, 14)) + random.normal(size=(4000, 14))
    x[:, 13] = x[:, 13] > 0
    frame = pd.DataFrame(x, columns=[f"c{j}" for j in range(14)]).astype({"c13": bool})
    schema = {name: Column(edges=tuple(np.linspace(-6, 6, 13))) for name in frame.columns[:-1]}
    gen = DPSinkhornGenerator(3, schema=schema, random_state=0, noise_seed=0)
    with pytest.warns(ReproducibleNoiseWarning):
        gen.fit(frame)
    return frame, gen


def test_columns_that_are_nearly_the_same_keep_their_frequencies():
    """Eight columns of one hidden number: pairs and the coupling, which both have it, do not add up."""
    random = torch.Generator().manual_seed(0)
    hidden = torch.randn(20_000, 1, generator=random)
    ranks = torch.special.ndtr((hidden + 0.15 * torch.randn(20_000, 8, generator=random)) / (1 + 0.15**2) ** 0.5)
    codes = (10 * ranks).long()
    frequencies = [torch.full((10,), 0.1)] * 8 + [torch.ones(1)]
    scores = [value_scores(part, torch.arange(10.0)[: len(part)]) for part in frequencies[:8]] + [torch.zeros(1)]
    own = torch.stack([of[part] for of, part in zip(scores[:8], codes.T, strict=True)], 1).double()
    cliques = [Clique(pair, (torch.arange(10), torch.arange(10))) for pair in itertools.combinations(range(8), 2)]
    targets = [torch.zeros(100).index_add_(0, 10 * codes[:, i] + codes[:, j], torch.ones(20_000)).view(10, 10) / 20_000
               for i, j in (clique.columns for clique in cliques)]  # fmt: skip
    moments = Moments(scores, list(range(8)), own.T @ own / 20_000, None)
    field = fit_field(
        cliques, targets, [1e-4] * len(cliques), frequencies, Places((10,) * 8), sweeps=16, random=random,
        moments=moments,
    )  # fmt: skip
    drawn = field.draw(torch.zeros(5000, dtype=torch.long), random).long()
    off = [(torch.bincount(part, minlength=10) / 5000 - 0.1).abs().sum() / 2 for part in drawn.T]
    assert max(off) < 0.1
    together = np.corrcoef(drawn.T.numpy())
    assert together[np.triu_indices(8, 1)].mean() == pytest.approx(np.corrcoef(codes.T.numpy())[0, 1], abs=0.03)


@pytest.mark.filterwarnings("ignore::sinkgen.exceptions.ReproducibleNoiseWarning")
def test_a_few_columns_of_few_records_keep_their_correlations():
    hidden = np.random.default_rng(0)
    x = hidden.normal(size=(1000, 8)) + hidden.normal(size=(1000, 1))  # half of each is shared
    with pytest.warns(PoorFitWarning, match="of their spread"):
        gen = DPSinkhornGenerator(1, random_state=0, noise_seed=50).fit(pd.DataFrame(x).add_prefix("x"))
    assert spearman(gen.sample(3000, random_state=0)).mean() > 0.35


@pytest.mark.filterwarnings("ignore::sinkgen.exceptions.ReproducibleNoiseWarning")
def test_a_start_by_correlations_leaves_what_always_goes_together():
    random = np.random.default_rng(0)
    sex = random.integers(2, size=4000)
    role = np.where(random.random(4000) < 0.5, np.array(["wife", "husband"])[sex], "child")
    frame = pd.DataFrame(
        {"age": random.normal(size=4000) + sex, "sex": sex, "role": role, "pay": sex + random.random(4000)}
    )
    drawn = DPSinkhornGenerator(10, random_state=0, noise_seed=50).fit(frame).sample(4000, random_state=0)
    assert ((drawn["role"] == "husband") & (drawn["sex"] == 0)).mean() < 0.01
    assert abs((drawn["role"] == "wife").mean() - (role == "wife").mean()) < 0.02
    assert drawn["pay"].corr(drawn["sex"]) > 0.8


def spearman(frame):
    return frame.astype(float).corr("spearman").to_numpy()[np.triu_indices(frame.shape[1], 1)]


def test_many_columns_are_coupled(wide_gen):
    frame, gen = wide_gen
    assert "moments" in [row.what for row in gen.privacy_spent().releases]
    drawn = gen.sample(4000, random_state=0)
    assert np.abs(spearman(drawn) - spearman(frame)).mean() < 0.2 * np.abs(spearman(frame)).mean()


def test_a_coupled_field_is_saved_and_conditions_pull_what_is_coupled(wide_gen, tmp_path):
    frame, gen = wide_gen
    gen.save(tmp_path / "model")
    again = DPSinkhornGenerator.load(tmp_path / "model")
    pd.testing.assert_frame_equal(again.sample(50, random_state=1), gen.sample(50, random_state=1))
    name = frame.columns[int(frame.iloc[:, 1:13].corrwith(frame["c0"]).abs().argmax()) + 1]
    sign = np.sign(frame["c0"].corr(frame[name]))
    high = again.sample(2000, random_state=1, conditions={"c0": (1.0, 6.0)})[name].mean()
    assert sign * (high - frame[name].mean()) > 0.5 * abs(frame.loc[frame["c0"] > 1, name].mean() - frame[name].mean())


def test_what_is_within_the_noise_is_not_asked():
    ones = torch.ones(3, dtype=torch.float64)
    assert choose(torch.tensor([5.0, 3.0, -2.0]), 10.0, 0.1, ones) == []
    assert choose(torch.tensor([50.0, 30.0, -2.0]), 10.0, 0.1, ones) == [0, 1]
    assert choose(torch.tensor([50.0, 30.0, -2.0]), 10.0, 1000.0, ones) == []


def test_a_denoised_pair_keeps_the_columns_and_drops_noise():
    frequencies = [torch.tensor([0.5, 0.3, 0.2, 0.0]), torch.tensor([0.6, 0.4])]
    pair = Clique((0, 1), (torch.arange(4), torch.arange(2)))
    noise = 0.01 * torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    independent = pair.independent(frequencies)
    (found,) = denoised([independent + noise], [pair], frequencies, [0.02])
    assert (found - independent).abs().max() < 0.003
    alike = torch.tensor([[0.5, 0.0], [0.1, 0.2], [0.0, 0.2], [0.0, 0.0]])
    (found,) = denoised([alike + noise], [pair], frequencies, [0.01])
    assert found.sum(1).tolist() == pytest.approx([0.5, 0.3, 0.2, 0.0], abs=1e-3)
    assert (found - alike).abs().max() < 0.02


def test_cells_that_hold_nothing_are_known_by_those_of_other_pairs():
    random, noise, even = torch.Generator().manual_seed(0), 0.004, torch.full((6, 6), 1 / 36)
    exact = [torch.where(torch.rand(6, 6, generator=random) < 0.4, 0.0, even) for _ in range(30)]
    exact = [part / part.sum() for part in exact]
    noisy = [part + noise * torch.randn(6, 6, generator=random) for part in exact]
    found = torch.stack(likely_cells(noisy, [even] * 30, [noise] * 30))
    true, seen = torch.stack(exact), torch.stack(noisy)
    assert found[true == 0].mean() < 0.3 * seen.clamp_min(0)[true == 0].mean()
    assert (found - true).norm() < 0.8 * (seen - true).norm()
    exactly = likely_cells(exact, [even] * 30, [0.0] * 30)
    torch.testing.assert_close(torch.stack(exactly), true, atol=1e-6, rtol=0)


def test_cells_far_beyond_what_is_expected_stay():
    expected, seen = torch.tensor([[1e-5, 0.5], [0.25, 0.24999]]), torch.tensor([[0.3, 0.2], [0.25, 0.25]])
    (found,) = likely_cells([seen], [expected], [1e-4])
    torch.testing.assert_close(found, seen, atol=1e-3, rtol=0)


def test_what_pairs_count_of_a_column_adds_to_its_own_counts():
    pair = Clique((0, 1), (torch.arange(2), torch.tensor([0, 1, 1])))
    counted = Counted(CliqueQuery([pair], [1.0]), [torch.tensor([[10.0, 20.0], [30.0, 40.0]])], 3.0)
    columns = Columns([torch.tensor([40.0, 60.0]), torch.tensor([44.0, 30.0, 20.0])], [2.0, 2.0])
    found = counted.pooled(columns)
    # Sums of two cells have twice the variance: 18 beside 4.
    torch.testing.assert_close(
        found.counts[0], (torch.tensor([40.0, 60.0]) / 4 + torch.tensor([30.0, 70.0]) / 18).double() / (1 / 4 + 1 / 18)
    )
    assert found.noises[0] == pytest.approx((1 / 4 + 1 / 18) ** -0.5)
    # A group of two states moves both alike: their sum by its share, their difference not at all.
    torch.testing.assert_close(found.counts[1][1] - found.counts[1][2], torch.tensor(10.0, dtype=torch.float64))
    sums = found.counts[1][1:].sum()
    torch.testing.assert_close(sums, (torch.tensor(50.0) / 8 + torch.tensor(60.0) / 18).double() / (1 / 8 + 1 / 18))


def test_frequencies_are_of_the_noises_size_and_absent_states_are_never_drawn():
    first = Columns([torch.tensor([600.0, 390.0, 20.0])], [10.0])
    second = Columns([torch.tensor([620.0, 380.0, -10.0])], [20.0])
    both = averaged(first, second)
    assert both.noises == [pytest.approx(10 * 20 / math.hypot(10, 20))]
    assert both.counts[0][0] == pytest.approx(0.8 * 600 + 0.2 * 620)
    (frequencies,) = frequencies_of(both, 1000.0, [0], [[False, False, True]])
    assert frequencies[2] == 0
    assert frequencies.sum() == pytest.approx(1)
    (frequencies,) = frequencies_of(both, 1000.0, [0], [[False] * 3])
    assert 0 < frequencies[2] < 0.03


def test_pairs_are_asked_where_columns_depend_on_each_other():
    random = np.random.default_rng(0)
    a, c = random.integers(4, size=(2, 5000))
    b = np.where(random.random(5000) < 0.8, a % 2, 1 - a % 2)
    source = ArraySource(torch.from_numpy(np.stack([a, b, c], 1)), torch.zeros(5000, dtype=torch.long))
    frequencies = [torch.full((width,), 1 / width) for width in (4, 2, 4, 1)]
    rows = [GaussianRelease("distances", 10.0), GaussianRelease("pairs", 3.0)]
    counted = learn_pairs(
        source,
        frequencies,
        [0] * 4,
        5000.0,
        GaussianMechanism(rows, noise_seed=0),
        column_noises=[5.0] * 4,
        weights=torch.ones(4, 4, dtype=torch.float64),
    )
    assert 0 < counted.unseen < 0.03
    asked = counted.pairs.asked(frequencies, 5000.0)
    assert asked.cliques[0].columns == (0, 1)
    assert (1, 2) not in [clique.columns for clique in asked.cliques]
    assert asked.targets[0].sum(0).tolist() == pytest.approx([0.5, 0.5], abs=1e-3)
    assert asked.targets[0][0, 0] == pytest.approx(0.2, abs=0.01)


@pytest.fixture(scope="module")
def two_causes():
    """Two independent columns of three states, a third that follows from both, and the records' counts."""
    random = np.random.default_rng(0)
    a, b = random.integers(3, size=(2, 8000))
    both = np.array([0.0, 0.5, 2.0])[a] + np.array([1.5, 0.0, 0.7])[b] + 0.7 * random.normal(size=8000)
    states = np.stack([a, b, np.digitize(both, [0, 0.7, 1.4, 2.1, 2.8])], 1)
    return pd.DataFrame(states, columns=["a", "b", "both"]).astype(str).radd("v")


def from_independent(frame):
    shares = pd.crosstab(frame["a"], frame["b"], normalize=True).to_numpy()
    return np.abs(shares - np.outer(shares.sum(1), shares.sum(0))).sum() / 2


def test_causes_of_the_same_stay_as_independent_as_they_were_seen_to_be(two_causes):
    schema = {"a": ["v0", "v1", "v2"], "b": ["v0", "v1", "v2"], "both": [f"v{i}" for i in range(6)]}
    gen = DPSinkhornGenerator(3, schema=schema, random_state=0, noise_seed=0)
    with pytest.warns(ReproducibleNoiseWarning):
        drawn = gen.fit(two_causes).sample(8000, random_state=0)
    assert from_independent(drawn) < 0.02  # .05 by what both have to do with the third
    tables = [pd.crosstab(frame["a"], frame["both"], normalize=True).to_numpy() for frame in (drawn, two_causes)]
    assert np.abs(tables[0] - tables[1]).sum() / 2 < 0.03


def test_a_pair_is_held_at_what_was_released_of_it_in_the_shape_that_draws_have():
    pairs, targets, frequencies = loop(0.9)
    field = fit_field(
        pairs[:2], targets[:2], [1e-4] * 2, frequencies, Places((2, 2, 2)), sweeps=20,
        random=torch.Generator().manual_seed(0),
    )  # fmt: skip
    has = field.population.long()[0] == field.population.long()[2]  # .82 of the draws
    for excess, wanted in ((-50.0, 0.5), (320.0, 0.66)):
        asked = Near([pairs[2]], torch.tensor([excess]), 10.0).held(field, (), 1000.0)
        assert float(asked.targets[0].diag().sum()) == pytest.approx(wanted, abs=0.01)
    assert 0.8 < has.float().mean() < 0.84
    assert not Near([pairs[2]], torch.tensor([620.0]), 10.0).held(field, (), 1000.0).cliques  # as far as was seen
    assert not Near([pairs[2]], torch.tensor([0.0]), 400.0).held(field, (), 1000.0).cliques  # nothing was seen
    assert not Near([pairs[2]], torch.tensor([0.0]), 10.0).held(field, (0, 2), 1000.0).cliques  # known otherwise


def test_pairs_of_a_target_are_asked_though_none_stands_out():
    random = np.random.default_rng(0)
    a = random.integers(4, size=300)
    b = np.where(random.random(300) < 0.8, a % 2, 1 - a % 2)
    c = random.integers(4, size=300)
    source = ArraySource(torch.from_numpy(np.stack([a, b, c], 1)), torch.zeros(300, dtype=torch.long))
    frequencies = [torch.full((width,), 1 / width) for width in (4, 2, 4, 1)]
    found = []
    for targets in ((), (1,)):
        mechanism = GaussianMechanism([GaussianRelease("distances", 50.0), GaussianRelease("pairs", 5.0)], noise_seed=0)
        found.append(
            learn_pairs(
                source,
                frequencies,
                [0] * 4,
                300.0,
                mechanism,
                column_noises=[5.0] * 4,
                weights=torch.ones(4, 4, dtype=torch.float64),
                targets=targets,
            )
        )
    assert found[0].pairs is None
    assert found[0].unseen > 0.1
    asked = found[1].pairs.asked(frequencies, 300.0)
    assert [clique.columns for clique in asked.cliques] == [(0, 1), (1, 2)]
    assert asked.targets[0][0, 0] > asked.targets[0][0, 1]


# --- The field -------------------------------------------------------------------------------------------------------


def loop(copied=0.9):
    """Three binary columns, each pair of which is alike: a loop, so that no tree has it."""
    pairs = [Clique(of, (torch.arange(2), torch.arange(2))) for of in ((0, 1), (1, 2), (0, 2))]
    table = torch.tensor([[copied, 1 - copied], [1 - copied, copied]]) / 2
    return pairs, [table] * 3, [torch.full((2,), 0.5)] * 3 + [torch.ones(1)]


def test_draws_have_the_frequencies_that_are_wanted():
    pairs, targets, frequencies = loop(0.8)
    random = torch.Generator().manual_seed(0)
    field = fit_field(pairs, targets, [1e-4] * 3, frequencies, Places((2, 2, 2)), sweeps=40, random=random)
    codes = field.draw(torch.zeros(4000, dtype=torch.long), random).floor().long().T
    for pair, target in zip(pairs, targets, strict=True):
        assert (pair.frequencies(codes) - target).abs().max() < 0.01
    assert torch.equal(field.draw(torch.zeros(0, dtype=torch.long), random), torch.zeros(0, 3, dtype=torch.float64))


def test_many_records_are_drawn_in_parts(monkeypatch):
    pairs, targets, frequencies = loop()
    field = fit_field(
        pairs, targets, [1e-4] * 3, frequencies, Places((2, 2, 2)), sweeps=30, random=torch.Generator().manual_seed(0)
    )
    monkeypatch.setattr("sinkgen.generators.field.MOST_BALANCED", 1500)
    codes = field.draw(torch.zeros(4000, dtype=torch.long), torch.Generator().manual_seed(1)).floor().long().T
    assert codes.shape == (3, 4000)
    assert (pairs[0].frequencies(codes) - targets[0]).abs().max() < 0.04


def test_conditions_hold_and_move_what_depends_on_them():
    pairs, targets, frequencies = loop()
    field = fit_field(
        pairs, targets, [1e-4] * 3, frequencies, Places((2, 2, 2)), sweeps=30, random=torch.Generator().manual_seed(0)
    )
    first = field.condition([np.array([[0.0, 0.0], [0.25, 0.5]]), None, None])
    places = first.draw(torch.zeros(500, dtype=torch.long), torch.Generator().manual_seed(1))
    assert places[:, 0].min() >= 1.25
    assert places[:, 0].max() <= 1.5
    assert (places[:, 1] >= 1).double().mean() == pytest.approx(0.9, abs=0.05)
    with pytest.raises(ValueError, match="no record can meet the conditions"):
        field.condition([np.zeros((2, 2)), None, None])


def test_conditions_hold_on_states_that_never_occur():
    pair = Clique((0, 1), (torch.arange(3), torch.arange(2)))
    target = torch.tensor([[0.4, 0.1], [0.1, 0.4], [0.0, 0.0]])
    parts = [target.sum(1), target.sum(0), torch.ones(1)]
    random = torch.Generator().manual_seed(0)
    field = fit_field([pair], [target], [1e-4], parts, Places((3, 2)), sweeps=30, random=random)
    held = field.condition([np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 1.0]]), None])
    assert (held.draw(torch.zeros(200, dtype=torch.long), random)[:, 0] >= 2).all()


def test_states_that_nothing_tells_apart_are_drawn_by_their_own_frequencies():
    """Eight codes in three groups: within a group by height, between groups by the other column."""
    groups = torch.tensor([2, 0, 1, 1, 2, 0, 2, 1])
    pair = Clique((0, 1), (groups, torch.arange(2)))
    frequencies = torch.tensor([0.05, 0.2, 0.1, 0.15, 0.1, 0.1, 0.25, 0.05])
    of_group = torch.zeros(3).index_add_(0, groups, frequencies)
    target = of_group[:, None] * torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    parts = [frequencies, target.sum(0), torch.ones(1)]
    random = torch.Generator().manual_seed(0)
    field = fit_field([pair], [target], [1e-4], parts, Places((8, 2)), sweeps=30, random=random)
    assert len(field.kinds(0).firsts) == 3
    codes = field.draw(torch.zeros(8000, dtype=torch.long), random).floor().long().T
    assert (torch.bincount(codes[0]) / 8000 - frequencies).abs().max() < 0.01
    assert (pair.frequencies(torch.cat([codes, codes[:1] * 0])) - target).abs().max() < 0.02
    # A condition on one code of a group holds, and moves the other column as the group does.
    asked = np.zeros((8, 2))
    asked[2, 1] = 1
    codes = field.condition([asked, None]).draw(torch.zeros(2000, dtype=torch.long), random).floor().long().T
    assert (codes[0] == 2).all()
    assert (codes[1] == 1).double().mean() == pytest.approx(0.8, abs=0.05)


def test_kinds_of_all_groupings_together():
    kinds = Kinds.of(5, [torch.tensor([1, 1, 0, 0, 1]), torch.tensor([0, 0, 0, 1, 1])])
    assert kinds.of_state.tolist() == [2, 2, 0, 1, 3]
    heights = torch.tensor([0.3, 0.1, 0.2, 0.3, 0.1]).log()
    assert torch.allclose(kinds.heights(heights).exp(), torch.tensor([0.2, 0.3, 0.4, 0.1]))
    drawn = kinds.draw(torch.full((4000,), 2), heights, torch.Generator().manual_seed(0))
    assert set(drawn.tolist()) == {0, 1}
    assert (drawn == 0).double().mean() == pytest.approx(0.75, abs=0.03)
    swapped = Kinds.of(2, [torch.tensor([1, 0])])
    assert swapped.draw(torch.tensor([0, 1]), heights[:2], torch.Generator()).tolist() == [1, 0]
    assert torch.equal(swapped.heights(heights[:2]), heights[:2].flip(0))


def test_a_field_is_made_again_of_its_tensors():
    pairs, targets, frequencies = loop()
    field = fit_field(
        pairs, targets, [1e-4] * 3, frequencies, Places((2, 2, 2)), sweeps=3, random=torch.Generator().manual_seed(0)
    )
    again, labels = Field.from_tensors(field.tensors()), torch.zeros(50, dtype=torch.long)
    drawn = (made.draw(labels, torch.Generator().manual_seed(1)) for made in (field, again))
    assert torch.equal(*drawn)


# --- End to end ------------------------------------------------------------------------------------------------------


def test_a_functional_dependency_is_kept():
    random = np.random.default_rng(0)
    number = random.integers(6, size=3000)
    code, other = np.array(list("uvwxyz"))[number], random.integers(4, size=3000)
    frame = pd.DataFrame({"code": code, "number": number, "other": other})
    schema = {"code": list("uvwxyz"), "number": list(range(6)), "other": list(range(4))}
    drawn = DPSinkhornGenerator(2, schema=schema, random_state=0).fit(frame).sample(2000, random_state=0)
    kept = drawn["code"].map(dict(zip("uvwxyz", range(6), strict=True))) == drawn["number"]
    assert kept.mean() > 0.95


def test_a_label_that_four_columns_tell_together_alone_is_kept():
    random = np.random.default_rng(0)
    bits = random.integers(2, size=(6000, 6))
    bits[:, 5] = bits[:, 0] ^ bits[:, 1] ^ bits[:, 2]
    frame = pd.DataFrame(bits.astype(bool), columns=list("abcdef"))
    drawn = DPSinkhornGenerator(1, random_state=0).fit(frame).sample(3000, random_state=0)
    assert (drawn["f"] == drawn["a"] ^ drawn["b"] ^ drawn["c"]).mean() > 0.95


def test_the_relation_of_numbers_does_not_vanish_where_records_are_few():
    random = np.random.default_rng(0)
    x = random.normal(size=(3000, 6))
    x[:, 1] = 0.8 * x[:, 0] + 0.6 * x[:, 1]
    frame = pd.DataFrame(x, columns=list("abcdef"))
    schema = dict.fromkeys("abcdef", Column(edges=np.linspace(-4, 4, 25).tolist()))
    slopes = []
    for seed in range(3):
        drawn = DPSinkhornGenerator(1, schema=schema, random_state=seed).fit(frame).sample(3000, random_state=0)
        slopes.append(np.polyfit(drawn["a"], drawn["b"], 1)[0])
    assert 0.45 < np.mean(slopes) < 0.9


def test_a_column_that_hardly_varies_in_the_draws_moves_its_weights_by_little():
    scores = [torch.tensor([-1.0, 1.0])] * 3
    wanted = torch.tensor([[1.0, 0.3, 0.0], [0.3, 1.0, 0.2], [0.0, 0.2, 1.0]], dtype=torch.float64)
    moments = Moments(scores, [0, 1, 2], wanted, None)
    codes = torch.randint(0, 2, (3, 1000), generator=torch.Generator().manual_seed(0))
    codes[0] = 1
    codes[0, 0], codes[1, 0] = 0, 1 - codes[1, 0]
    coupling = Coupling(scores, torch.zeros(3, 3))
    moments.move(coupling, codes, 1.0)
    assert 0 < coupling.weights.abs().max() <= 0.3
