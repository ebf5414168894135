"""Queries on tables, by search for a record that moves them too far; the mixture, its fit and its draws."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from stages import make_stage

from sinkgen import DPSinkhornGenerator
from sinkgen.accounting import GaussianRelease
from sinkgen.data.table import TableFormat
from sinkgen.data.table_columns import CategoryColumn
from sinkgen.denoise.densities import likely_frequencies
from sinkgen.denoise.frequencies import many_frequencies, project_simplex, smooth_frequencies
from sinkgen.generators.balance import MOST_BALANCED, balanced_states, draw_labels
from sinkgen.generators.coupling import Moments
from sinkgen.generators.product import ProductMixture
from sinkgen.inference.moments import NoisyMoments
from sinkgen.privacy.mechanism import GaussianMechanism
from sinkgen.privacy.queries.tables import (
    GroupedPairQuery,
    JointQuery,
    LabelGainQuery,
    MarginalQuery,
    PairQuery,
    ServiceQuery,
    SomeColumnsQuery,
)
from sinkgen.records import ArraySource, Records
from sinkgen.training.stage import StateCounts
from sinkgen.training.tables.cells import shares_within
from sinkgen.training.tables.labelling import learn_labelling
from sinkgen.training.tables.marginals import (
    LEAST_SHARE,
    Correlated,
    Grouping,
    Marginals,
    OneWay,
    States,
    below_noise,
    measure_marginals,
    naive_bayes,
    share_of_one_way,
    smoothed,
)
from sinkgen.training.tables.tabular import Fit, TabularSettings, auto_settings, prior_of, smoother, train_mixture

WIDTHS, N_CLASSES = (3, 2, 4), 2
RECORD = st.tuples(*(st.integers(-1, width - 1) for width in WIDTHS), st.integers(-1, N_CLASSES - 1))
DATA = st.lists(RECORD, max_size=6)


def records(rows):
    cells = torch.tensor(rows, dtype=torch.int16).view(len(rows), len(WIDTHS) + 1)
    return Records(cells[:, :-1], cells[:, -1].long())


def service_query(peaked=False):
    random = torch.Generator().manual_seed(0)
    logits = [(50 if peaked else 1) * torch.randn(5, width, generator=random) for width in WIDTHS]
    frequencies = torch.cat([part.softmax(1) for part in logits], 1)
    return ServiceQuery(torch.rand(5, N_CLASSES, generator=random), frequencies, WIDTHS)


def labelled_mixture():
    random = torch.Generator().manual_seed(0)
    frequencies = torch.cat([torch.randn(5, width, generator=random).softmax(1) for width in WIDTHS], 1)
    tilt = 9 * torch.randn(sum(WIDTHS), N_CLASSES, generator=random)
    return ProductMixture(torch.full((5, N_CLASSES), 0.1), frequencies, WIDTHS, tilt=tilt, share=0.1)


QUERIES = {
    "marginals": MarginalQuery(WIDTHS, N_CLASSES),
    "pairs": PairQuery(WIDTHS, N_CLASSES),
    "pairs of all": PairQuery(WIDTHS),
    "pairs of groups": GroupedPairQuery([torch.arange(width) // 2 for width in WIDTHS], N_CLASSES),
    "both": JointQuery([MarginalQuery(WIDTHS, N_CLASSES), PairQuery(WIDTHS)], [0.3, 0.7]),
    "some columns": SomeColumnsQuery(MarginalQuery(WIDTHS[1:], N_CLASSES), slice(1, 3)),
    "service": service_query(),
    "peaked service": service_query(peaked=True),
    "labels' gain": LabelGainQuery(labelled_mixture(), (0.3, 1.0)),
}


@pytest.mark.parametrize("name", QUERIES)
@settings(max_examples=60, deadline=None)
@given(data=DATA, extra=RECORD)
def test_one_record_moves_a_query_by_its_sensitivity_at_most(name, data, extra):
    query = QUERIES[name]
    with_it, without = (query.evaluate([records(rows)]) for rows in ([*data, extra], data))
    assert len(with_it) == query.size
    assert (with_it - without).norm() <= query.sensitivity * (1 + 1e-6)


def test_pairs_are_counted():
    query = PairQuery((2, 3))
    rows = Records(torch.tensor([[0, 2], [0, 2], [1, 0], [-1, 1]]), torch.zeros(4, dtype=torch.long))
    (table,) = query.read(query.evaluate([rows]))
    assert table[:2, 2:].tolist() == [[0, 0, 2], [1, 0, 0]]
    assert torch.equal(table, table.T)


def test_pairs_of_groups_are_sums_of_pairs():
    groups = [torch.tensor([0, 1, 0, 0]), torch.tensor([1, 0, 0])]
    random = torch.Generator().manual_seed(0)
    rows = torch.stack([torch.randint(-1, width, (50,), generator=random) for width in (4, 3)], 1)
    rows = Records(rows, torch.zeros(50, dtype=torch.long))
    pairs, grouped = PairQuery((4, 3)), GroupedPairQuery(groups)
    matrix = Grouping(tuple(groups)).matrix.double()
    (fine,), (coarse,) = (query.read(query.evaluate([rows])) for query in (pairs, grouped))
    assert torch.equal(matrix.T @ fine @ matrix, coarse)


def test_each_of_two_joint_queries_reads_its_own():
    parts = [MarginalQuery(WIDTHS, N_CLASSES), PairQuery(WIDTHS)]
    joint, chunks = JointQuery(parts, [0.25, 0.75]), [records([(0, 1, 3, 1), (2, 1, 0, 0)])]
    for part, value in zip(parts, joint.read(joint.evaluate(chunks)), strict=True):
        assert torch.allclose(value, part.read(part.evaluate(chunks)), atol=1e-5)


# --- Cells within bins -----------------------------------------------------------------------------------------------


def test_shares_of_cells_follow_their_counts_out_of_the_noise():
    random = torch.Generator().manual_seed(0)
    states = torch.tensor([0] * 10 + [1] * 10)
    even = torch.full((20,), 0.1, dtype=torch.float64)
    truth = torch.full((2, 20), 100.0, dtype=torch.float64)
    truth[1, 3] = 2000.0  # a number that one class alone often has
    noisy = truth + 10 * torch.randn(2, 20, generator=random, dtype=torch.float64)
    shares = shares_within(noisy, states, even, 10.0)
    assert (shares >= 0).all()
    assert shares.view(2, 2, 10).sum(2).flatten().tolist() == pytest.approx([1] * 4)
    assert shares[1, 3] == pytest.approx(2000 / 2900, abs=0.02)
    assert (shares[0, :10] - 0.1).abs().max() < 0.05
    assert (shares[:, 10:] - 0.1).abs().max() < 1e-12  # what might all be noise


def test_cells_that_seem_empty_stay_empty_in_every_class():
    expected = torch.tensor([0.5, 0.5, 1e-12], dtype=torch.float64)
    noisy = torch.tensor([[50.0, 40.0, 30.0], [10.0, 80.0, -5.0]], dtype=torch.float64)
    shares = shares_within(noisy, torch.tensor([0, 0, 0]), expected, 1.0)
    assert (shares[:, 2] < 1e-9).all()
    assert shares.sum(1).tolist() == pytest.approx([1, 1])


def test_little_is_known_of_cells_in_much_noise():
    noisy = 1000 * torch.randn(3, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = torch.tensor([0.25, 0.75, 0.1, 0.2, 0.3, 0.4, 1.0, 1.0], dtype=torch.float64)
    shares = shares_within(noisy, torch.tensor([0, 0, 1, 1, 1, 1, 2, 3]), expected, 1000.0)
    assert (shares - expected).abs().max() < 1e-12


def with_cells():
    """Two columns of two states, the first of three and one cell; class 1 has its numbers in the first cell."""
    weights = torch.tensor([[0.25, 0.25], [0.3, 0.2]])
    frequencies = torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.9, 0.1, 0.0, 1.0]])
    shares = torch.tensor([[0.2, 0.3, 0.5, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 1.0, 1.0, 1.0]])
    return ProductMixture(weights, frequencies, (2, 2), torch.tensor([0, 0, 0, 1, 2, 3]), shares)


def test_cells_are_drawn_within_state_and_class():
    labels = torch.arange(2000) % 2
    cells = with_cells().draw(labels, torch.Generator().manual_seed(0)).floor().long()
    first = cells[cells[:, 0] < 3, 0], labels[cells[:, 0] < 3]
    assert (first[0][first[1] == 1] == 0).all()
    drawn = torch.bincount(first[0][first[1] == 0]) / (first[1] == 0).sum()
    assert drawn.tolist() == pytest.approx([0.2, 0.3, 0.5], abs=0.003)  # stratified
    assert cells[:, 1].max() == 1


def test_conditions_on_cells_reweight_classes():
    mixture = with_cells()
    half = mixture.condition([np.array([[0.5, 1.0], [0, 0], [0, 0], [0, 0]]), None])
    odds = (0.25 * 0.5 + 0.3 * 0.9) * 0.2 / (0.25 * 0.5 + 0.2 * 0.9)
    assert half.class_weights[0] / half.class_weights[1] == pytest.approx(odds)
    places = half.draw(torch.zeros(40, dtype=torch.long), torch.Generator().manual_seed(0))
    assert places[:, 0].min() >= 0.5
    assert places[:, 0].max() < 1
    never = mixture.condition([np.array([[0, 0], [0, 1], [0, 0], [0, 0]]), None])
    assert never.class_weights[1] == 0


# --- The mixture -----------------------------------------------------------------------------------------------------


def test_draws_follow_the_mixture_closely():
    random = torch.Generator().manual_seed(0)
    weights = torch.tensor([[0.1, 0.2], [0.3, 0.4]])
    frequencies = torch.tensor([[0.2, 0.8, 0.5, 0.5], [0.9, 0.1, 0.0, 1.0]])
    labels = torch.arange(300) % 10 < 4
    places = ProductMixture(weights, frequencies, (2, 2)).draw(1 - labels.long(), random)
    states = places.floor()
    assert places.shape == (300, 2)
    assert (states[:, 0] == 0).sum() == pytest.approx(300 * (0.2 * 0.3 + 0.9 * 0.7), abs=1)
    assert (states[:, 1] == 0).sum() == pytest.approx(300 * 0.5 * 0.3, abs=1)
    # P(class 0, state) of each column, up to what labels are drawn of
    for column, wanted in ((0, 0.1 * 0.2 + 0.3 * 0.9), (1, 0.1 * 0.5)):
        assert (states[labels, column] == 0).sum() == pytest.approx(300 * wanted, abs=12)
    assert states[:100, 0].mean() == pytest.approx(float(states[:, 0].mean()), abs=0.15)  # the order is random


def test_a_class_wanted_more_often_than_it_occurs_has_its_own_records():
    weights = torch.tensor([[0.02, 0.38], [0.02, 0.58]])
    frequencies = torch.tensor([[0.2, 0.8], [0.9, 0.1]])
    tilt = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    mixture = ProductMixture(weights, frequencies, (2,), tilt=tilt, share=0.0)
    places = mixture.draw(torch.zeros(4000, dtype=torch.long), torch.Generator().manual_seed(0))
    ones = 0.4 * 0.8 + 0.6 * 0.1
    odds = ones * math.e / (1 + math.e) / ((1 - ones) * 0.5)
    assert (places >= 1).double().mean() == pytest.approx(odds / (1 + odds), abs=0.02)


def test_single_draws_have_the_probabilities():
    mixture = ProductMixture(torch.tensor([[0.3], [0.7]]), torch.tensor([[0.2, 0.8], [0.9, 0.1]]), (2,))
    random = torch.Generator().manual_seed(0)
    draws = torch.stack([mixture.draw(torch.zeros(1, dtype=torch.long), random) for _ in range(1000)])
    assert (draws < 1).double().mean() == pytest.approx(0.3 * 0.2 + 0.7 * 0.9, abs=0.05)


# --- Balance ---------------------------------------------------------------------------------------------------------


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_balanced_states_are_whole_and_complete(data):
    widths = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    n = data.draw(st.integers(1, 6))
    cells = data.draw(arrays(float, (n, sum(widths)), elements=st.sampled_from([0.0, 1e-12, 0.1, 0.5, 1.0])))
    starts = np.cumsum(widths) - widths
    cells[:, starts] += 1e-3
    frequencies = cells / np.repeat(np.add.reduceat(cells, starts, axis=1), widths, axis=1)
    counts = np.array(data.draw(st.lists(st.integers(1, 50), min_size=n, max_size=n)))
    states = balanced_states(frequencies, counts, widths, torch.Generator().manual_seed(0))
    assert (np.add.reduceat(states, starts, axis=1) == counts[:, None]).all()
    assert (states >= 0).all()
    assert (states <= np.ceil(counts[:, None] * frequencies) + 1e-6).all()


def test_errors_of_balanced_states_do_not_add_up():
    random = np.random.default_rng(0)
    frequencies = random.dirichlet(np.ones(5), 200)
    counts = np.full(200, 3)
    states = balanced_states(frequencies, counts, [5], torch.Generator().manual_seed(0)).sum(0)
    assert np.abs(states - (3 * frequencies).sum(0)).max() < 5  # independent draws: about 10


def test_labels_are_as_likely_as_their_probabilities_say_and_their_number_is_exact():
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(3000, 3, generator=random).log_softmax(1)
    wanted = torch.tensor([1000, 1200, 800])
    states = torch.arange(3000)[:, None]
    labels = draw_labels(logits, states, wanted, 3000, random)
    assert torch.equal(torch.bincount(labels), wanted)
    likely = logits.exp().square().sum(1).mean()
    assert logits.exp().gather(1, labels[:, None]).mean() == pytest.approx(float(likely), abs=0.02)


def test_only_wanted_classes_are_drawn():
    states = torch.zeros(7, 1, dtype=torch.long)
    labels = draw_labels(torch.zeros(7, 3), states, torch.tensor([0, 7, 0]), 1, torch.Generator().manual_seed(0))
    assert labels.tolist() == [1] * 7


def test_of_many_records_labels_are_independent_and_as_many_as_are_wanted():
    random, n = torch.Generator().manual_seed(0), MOST_BALANCED + 1
    states, wanted = torch.zeros(n, 1, dtype=torch.long), torch.tensor([n // 3, n - n // 3])
    logits = torch.randn(n, 2, generator=random)
    labels = draw_labels(logits, states, wanted, 1, random)
    assert torch.equal(torch.bincount(labels), wanted)
    assert (labels == 1)[logits[:, 1] > logits[:, 0]].double().mean() > 0.75


@pytest.mark.parametrize("n", [300, 4000])
def test_states_have_each_class_about_as_often_as_expected(n):
    random = torch.Generator().manual_seed(0)
    states = torch.randint(5, (n, 4), generator=random) + 5 * torch.arange(4)
    logits = torch.randn(20, 3, generator=random)[states].sum(1).log_softmax(1)
    chances = logits.exp().double()
    wanted = chances.sum(0).round().long()
    wanted[0] += n - wanted.sum()
    labels = draw_labels(logits, states, wanted, 20, random)
    one_hot = torch.nn.functional.one_hot(labels, 3).double()
    errors, variances = (
        torch.zeros(20, 3).double().index_add_(0, states.flatten(), part.repeat_interleave(4, 0))
        for part in (one_hot - chances, chances * (1 - chances))
    )
    assert errors.square().mean() < 0.4 * variances.mean()  # independent ones: about 1 times


# --- Labels ----------------------------------------------------------------------------------------------------------


def test_labels_are_additive_and_keep_the_marginals_within_classes():
    random = torch.Generator().manual_seed(0)
    weights = torch.rand(8, 2, generator=random)
    frequencies = torch.cat([torch.rand(8, 4, generator=random).square().softmax(1) for _ in range(6)], 1)
    mixture = ProductMixture(weights / weights.sum(), frequencies, (4,) * 6)
    labelled = learn_labelling(mixture, 0.2, random)
    wanted = mixture.weights.T @ mixture.frequencies
    labels = (torch.rand(20_000, generator=random) > mixture.class_weights[0]).long()
    codes = labelled.draw(labels, random).floor().long()
    for c in range(2):
        rows = labelled.state_numbers(codes[labels == c])
        assert (torch.bincount(rows.flatten(), minlength=24) / 20_000 - wanted[c]).abs().max() < 0.01


def test_labels_that_no_sum_over_columns_tells_are_the_mixtures():
    random = np.random.default_rng(0)
    X = pd.DataFrame({"a": random.integers(2, size=3000), "b": random.integers(2, size=3000)}).astype(bool)
    y = (X["a"] ^ X["b"]).to_numpy()
    drawn, labels = DPSinkhornGenerator(5, classes=[False, True], random_state=0).fit(X, y).sample(1000)
    assert ((drawn["a"] ^ drawn["b"]) == labels).mean() > 0.9


def test_conditions_reweight():
    frequencies = torch.tensor([[0.2, 0.8, 1.0, 0.0], [0.9, 0.1, 0.0, 1.0]])
    mixture = ProductMixture(torch.tensor([[0.5], [0.5]]), frequencies, (2, 2))
    given_first = mixture.condition([np.array([[0, 1], [0, 0]]), None])
    assert given_first.weights.flatten().tolist() == pytest.approx([0.2 / 1.1, 0.9 / 1.1])
    places = given_first.draw(torch.zeros(50, dtype=torch.long), torch.Generator().manual_seed(0))
    assert (places[:, 0] < 1).all()
    half = mixture.condition([np.array([[0.5, 1], [0, 0]]), None])
    places = half.draw(torch.zeros(50, dtype=torch.long), torch.Generator().manual_seed(0))
    assert ((places[:, 0] >= 0.5) & (places[:, 0] < 1)).all()


def test_a_class_that_cannot_meet_the_conditions():
    mixture = ProductMixture(torch.eye(2) / 2, torch.eye(2), (2,)).condition([np.array([[0, 1], [0, 0]])])
    with pytest.raises(ValueError, match="class"):
        mixture.draw(torch.tensor([0, 1]), torch.Generator().manual_seed(0))


# --- The private stage -----------------------------------------------------------------------------------------------


def dependent(n=4000):
    random = np.random.default_rng(0)
    hidden = random.integers(3, size=n)
    codes = np.stack([(hidden + (random.random(n) < 0.1)) % 3 for _ in range(3)], 1)
    return torch.from_numpy(codes), torch.from_numpy((hidden == 0).astype(int))


FORM = TableFormat(tuple(CategoryColumn(str(j), "object", "category", False, (0, 1, 2)) for j in range(3)))
QUICK = {"members": 2, "components": 12, "steps": 200, "refinement_steps": 40}


def trained(chosen, noise_multiplier):
    codes, labels = dependent()
    steps = {"refinements": chosen.refinements}
    releases = [GaussianRelease(what, noise_multiplier, 1.0, steps.get(what, 1)) for what in chosen.shares]
    source, counts = ArraySource(codes, labels), torch.bincount(labels).double()
    mechanism = GaussianMechanism(releases, noise_seed=0)
    return train_mixture(make_stage(source, counts, FORM, mechanism, chosen)).generator


@pytest.mark.parametrize("refinements", [0, 2])
@pytest.mark.parametrize("noise_multiplier", [0.0, 3.0])
def test_the_mixture_has_the_two_way_marginals(refinements, noise_multiplier):
    mixture = trained(TabularSettings(refinements=refinements, refinement_share=0.3, **QUICK), noise_multiplier)
    codes, labels = dependent()
    for c, (a, b) in itertools.product(range(2), itertools.combinations(range(3), 2)):
        truth = np.histogram2d(codes[labels == c, a], codes[labels == c, b], bins=3, range=[[-0.5, 2.5]] * 2)[0]
        joint = (mixture.weights[:, c, None] * mixture.frequencies[:, 3 * a : 3 * a + 3]).T
        made = joint @ mixture.frequencies[:, 3 * b : 3 * b + 3]
        assert 0.5 * np.abs(truth / len(codes) - made.numpy()).sum() < 0.02


def test_of_many_classes_naive_bayes_is_what_is_left_in_noise():
    random = np.random.default_rng(0)
    labels = random.integers(6, size=6000)
    codes = (labels[:, None] // [1, 2, 3] + (random.random((6000, 3)) < 0.2)) % 3
    chosen, releases = TabularSettings(**QUICK), [GaussianRelease("marginals", 5.0, 1.0)]
    source, counts = (
        ArraySource(torch.from_numpy(codes), torch.from_numpy(labels)),
        torch.bincount(torch.from_numpy(labels)),
    )
    mechanism = GaussianMechanism(releases, noise_seed=0)
    mixture = train_mixture(make_stage(source, counts.double(), FORM, mechanism, chosen)).generator
    joint = mixture.weights.T @ mixture.frequencies
    truth = np.stack([np.bincount(codes[labels == c, j], minlength=3) for c in range(6) for j in range(3)]) / 6000
    assert np.abs(joint.numpy().reshape(18, 3) - truth).max() < 0.01


def test_public_settings_of_the_budget():
    assert "refinements" not in auto_settings(0.27, 10).shares
    assert "refinements" in auto_settings(2.0, 10).shares
    assert auto_settings(2.0, 1, has_cells=False, has_labels=False).shares == {"marginals": 1.0}
    assert list(auto_settings(2.0, 1).shares) == ["cells", "labelling", "marginals"]
    assert "interactions" in auto_settings(0.27, 10).shares
    assert "interactions" not in auto_settings(0.27, 30).shares  # too many sets of three
    assert "interactions" not in auto_settings(0.27, 10, has_labels=False).shares
    for mu in (0.03, 0.3, 3.0):
        assert sum(auto_settings(mu, 10).shares.values()) == pytest.approx(1)


def exclusive(n=4000):
    """Five columns of two states; the label is the exclusive or of the first three."""
    codes = torch.from_numpy(np.random.default_rng(0).integers(2, size=(n, 5)))
    return codes, codes[:, :3].sum(1) % 2


BITS = TableFormat(tuple(CategoryColumn(str(j), "object", "category", False, (0, 1)) for j in range(5)))


@pytest.mark.parametrize("noise_multiplier", [0.0, 20.0])
def test_what_columns_say_of_a_label_together_alone_is_kept(noise_multiplier):
    codes, labels = exclusive()
    chosen = TabularSettings(label_share=0.1, look_share=0.1, clique_share=0.1, **QUICK)
    mechanism = GaussianMechanism(
        [GaussianRelease(what, noise_multiplier, 1.0) for what in chosen.shares], noise_seed=0
    )
    stage = make_stage(ArraySource(codes, labels), torch.bincount(labels).double(), BITS, mechanism, chosen)
    mixture = train_mixture(stage).generator
    wanted = torch.arange(2).repeat(1000)
    drawn = mixture.draw(wanted, torch.Generator().manual_seed(0)).floor().long()
    assert (drawn[:, :3].sum(1) % 2 == wanted).double().mean() > 0.95
    assert len(mixture.clique_steps) == 1
    again = ProductMixture(**dict(mixture.named_buffers()) | {"widths": mixture.widths.tolist()})
    assert torch.equal(again.class_logits(codes)[1], mixture.class_logits(codes)[1])
    # Conditions keep it: of records whose first column has state 1, the label is the others' equality.
    given = mixture.condition([np.array([[0.0, 0.0], [0.0, 1.0]]), None, None, None, None])
    drawn = given.draw(wanted, torch.Generator().manual_seed(0)).floor().long()
    assert (drawn[:, 0] == 1).all()
    assert (drawn[:, :3].sum(1) % 2 == wanted).double().mean() > 0.95


def test_where_noise_would_hide_it_marginals_are_asked_instead():
    codes, labels = exclusive(300)
    chosen = TabularSettings(label_share=0.1, look_share=0.1, clique_share=0.1, **QUICK)
    mechanism = GaussianMechanism([GaussianRelease(what, 30.0, 1.0) for what in chosen.shares], noise_seed=0)
    stage = make_stage(ArraySource(codes, labels), torch.bincount(labels).double(), BITS, mechanism, chosen)
    mixture = train_mixture(stage).generator
    assert not len(mixture.clique_steps)
    assert mechanism.steps_done["interaction parities"] == mechanism.steps_done["interactions"] == 1


def test_a_label_that_follows_from_pairs_is_left_as_it_is():
    codes, labels = dependent()
    chosen = TabularSettings(label_share=0.1, look_share=0.1, clique_share=0.1, **QUICK)
    mechanism = GaussianMechanism([GaussianRelease(what, 1.0, 1.0) for what in chosen.shares], noise_seed=0)
    stage = make_stage(ArraySource(codes, labels), torch.bincount(labels).double(), FORM, mechanism, chosen)
    assert not len(train_mixture(stage).generator.clique_steps)
    assert mechanism.steps_done["interactions"] == 0


def test_only_ordered_states_are_smoothed():
    matrix = smoother(States((2, 4), (0, 3), (False,) * 6), TabularSettings())
    assert torch.equal(matrix[:2, :2], torch.eye(2))
    assert torch.equal(matrix[5], torch.eye(6)[5])
    assert (matrix[2:5, 2:5] > 0).all()


def test_one_column_and_a_label():
    random = np.random.default_rng(0)
    y = random.integers(3, size=600)
    gen = DPSinkhornGenerator(20, schema={"x": (0, 3)}, classes=range(3)).fit(pd.DataFrame({"x": y + 0.5}), y)
    X, labels = gen.sample(300)
    assert (np.floor(X["x"]) == labels).mean() > 0.8


def test_releases_that_would_drown_are_not_asked():
    states, charged = States((10, 10), (0, 0), (False,) * 20), {"marginals", "cells", "labelling", "refinements"}

    def found(n_records, noise_multiplier):
        mechanism = GaussianMechanism([GaussianRelease(what, noise_multiplier, 1.0) for what in charged], noise_seed=0)
        return below_noise(
            n_records, states, mechanism, charged, n_split=2, cell_counts=[100], n_pools=3, n_components=300
        )

    assert found(1.0, 0.0) == set()
    assert found(1e6, 10.0) == set()
    assert found(30_000.0, 100.0) == {"labelling", "refinements"}
    assert found(10.0, 100.0) == {"cells", "labelling", "refinements"}


def test_the_more_noise_and_classes_the_more_of_it_one_way_marginals_get():
    states = States((10, 10, 10), (0, 0, 0), (False,) * 30)
    shares = [share_of_one_way(30_000.0, states, n_classes, 1, noise) for n_classes in (2, 6) for noise in (0, 30, 90)]
    assert shares == sorted(shares[:3]) + sorted(shares[3:])
    assert shares[0] == shares[3] == LEAST_SHARE
    assert shares[1] < shares[4]
    assert share_of_one_way(30_000.0, states, 6, 1, 1e4) == 1  # pairs would drown
    assert share_of_one_way(30_000.0, States((10,), (0,), (False,) * 10), 2, 2, 0.0) == 1  # there are none


@pytest.mark.parametrize("refinements", [0, 2])
def test_of_few_records_one_way_marginals_are_asked_on_the_whole_budget(refinements):
    chosen = TabularSettings(
        label_share=0.1, refinements=refinements, refinement_share=0.3 * (refinements > 0), **QUICK
    )
    codes, labels = dependent(200)
    steps = {"refinements": refinements}
    releases = [GaussianRelease(what, 400.0, 1.0, steps.get(what, 1)) for what in chosen.shares]
    mechanism = GaussianMechanism(releases, noise_seed=0)
    counts = torch.bincount(labels).double()
    mixture = train_mixture(make_stage(ArraySource(codes, labels), counts, FORM, mechanism, chosen)).generator
    assert mixture.weights.shape == (2, 2)
    assert mechanism.steps_done == {what: steps.get(what, 1) for what in chosen.shares}
    with pytest.raises(RuntimeError):
        mechanism.release("marginals", MarginalQuery(FORM.widths), ArraySource(codes, labels))


def test_repeated_marginals_have_less_noise():
    names = ["marginals", "cells"]
    mechanism = GaussianMechanism(
        [GaussianRelease("marginals", 10.0, 1.0), GaussianRelease("cells", 5.0, 1.0)], noise_seed=0
    )
    states, source = States((50, 50), (0, 0), (False,) * 100), ArraySource(torch.zeros(1, 2), torch.zeros(1).long())
    one_way, pairs = measure_marginals(source, 1.0, states, mechanism, names, n_classes=1, n_split=1, share=0.25)
    assert one_way.noise == pytest.approx((20 * 2 / 0.25) ** 0.5)
    assert pairs.noise == pytest.approx((20 / 0.75) ** 0.5)
    assert pairs.shares[0, :50, 50:].std() == pytest.approx(pairs.noise, rel=0.1)


@pytest.mark.parametrize("n_split", [1, 3])
def test_pairs_stand_out_of_naive_bayes_where_columns_depend_on_each_other(n_split):
    random = np.random.default_rng(0)
    labels, shift = random.integers(3, size=5000), random.integers(8, size=5000)
    independent = (random.integers(3, size=(5000, 4)) + labels[:, None]) % 8
    states = States((8,) * 4, (0,) * 4, (False,) * 32)

    def excess(codes, noise_multiplier):
        source = ArraySource(torch.from_numpy(codes), torch.from_numpy(labels))
        mechanism = GaussianMechanism([GaussianRelease("marginals", noise_multiplier, 1.0)], noise_seed=0)
        one_way, pairs = measure_marginals(
            source, 5000.0, states, mechanism, ["marginals"], n_classes=3, n_split=n_split, share=0.5
        )
        return pairs.excess(*naive_bayes(one_way, states), states.widths, 5000.0)

    dependent = (independent + shift[:, None]) % 8
    for noise_multiplier in (0.0, 3.0):
        assert excess(independent, noise_multiplier) < 0.2
        assert excess(dependent, noise_multiplier) > 1
    assert prior_of(excess(independent, 3.0)) > prior_of(excess(dependent, 3.0))


def test_one_component_a_class_has_its_marginals():
    shares = torch.tensor([[0.3, 0.1, 0.4, 0.0], [0.0, 0.6, 0.6, 0.0], [0.0, 0.0, 0.0, -0.0]])
    weights, frequencies = naive_bayes(OneWay(shares, 1e-6), States((2, 2), (0, 0), (False, False, False, True)))
    assert weights.diagonal().tolist() == pytest.approx([0.4, 0.6, 0.0], abs=1e-5)
    assert (weights.diagonal() > 0).all()
    assert frequencies[0].tolist() == pytest.approx([0.75, 0.25, 1.0, 0.0], abs=1e-5)
    assert frequencies[2].tolist() == pytest.approx([0.3, 0.7, 1.0, 0.0], abs=1e-5)  # nothing known of it: as all


def test_cells_that_count_nowhere_do_not_bend_the_others_of_their_column():
    counted = torch.tensor([[0.05, 0.15, 0.3, 0.1], [0.1, 0.2, 0.0, 0.6]])  # half of the first column's cells are
    _, frequencies = naive_bayes(OneWay(counted, 1e-6), States((2, 2), (0, 0), (False,) * 4))
    assert frequencies[0, :2].diff() == pytest.approx(0.5, abs=0.02)
    assert frequencies[1].tolist() == pytest.approx([1 / 3, 2 / 3, 0, 1], abs=0.02)


def test_what_classes_have_together_is_smooth_and_what_they_differ_by():
    random = torch.Generator().manual_seed(0)
    hill = torch.exp(-0.5 * ((torch.arange(20.0) - 10) / 4).square()) / 100
    shares = torch.stack([hill, hill * torch.linspace(0.5, 1.5, 20), 2 * hill]).double()
    noisy = shares + 0.005 * torch.randn(3, 20, generator=random).double()
    found = smoothed(noisy, States((20,), (20,), (False,) * 20), 0.005)
    assert (found - shares).norm() < 0.5 * (noisy - shares).norm()
    exact = smoothed(shares, States((20,), (20,), (False,) * 20), 0.0)
    assert torch.allclose(exact, shares, atol=1e-9)


@pytest.mark.filterwarnings("ignore::sinkgen.exceptions.ReproducibleNoiseWarning")
@pytest.mark.filterwarnings("ignore::sinkgen.exceptions.PoorFitWarning")
@pytest.mark.parametrize(
    ("n", "epsilon", "noise_seed", "least"),
    [
        (500, 10.0, 0, 0.3),  # pairs of all states drown, and gave none
        (1500, 1.0, 50, 0.25),  # pairs of groups alone gave .1
    ],
)
def test_columns_of_few_records_go_together_within_classes(n, epsilon, noise_seed, least):
    random = np.random.default_rng(0)
    X = pd.DataFrame(random.normal(size=(n, 8)) + random.normal(size=(n, 1))).add_prefix("x")
    gen = DPSinkhornGenerator(epsilon, classes=["p", "q"], noise_seed=noise_seed, random_state=0)
    gen.fit(X, random.choice(["p", "q"], n))
    correlations = gen.sample(2000, random_state=0)[0].corr().to_numpy()[np.triu_indices(8, 1)]
    assert correlations.mean() > least  # of .5


def test_slopes_of_the_fit_are_those_of_its_squares_of_moments():
    random = torch.Generator().manual_seed(0)
    scores, noise = [torch.tensor([-1.0, 0.0, 1.0]), torch.zeros(2), torch.tensor([-1.0, 1.0]), torch.zeros(2)], 0.3
    covariance = torch.tensor([[1.0, 0.4], [0.4, 1.0]], dtype=torch.float64)
    released = NoisyMoments(tuple(scores), torch.eye(4).double(), noise)
    correlated = Correlated.of(Moments(scores, [0, 2], covariance, released))
    nothing, one_way = torch.zeros(0, 0, 0), torch.rand(2, 7, generator=random)
    marginals = Marginals(one_way, nothing, torch.ones(2, 7), nothing, 2.0, correlated=correlated)
    fit = Fit(marginals, (3, 2, 2), torch.eye(7), 0.1)
    frequencies, weights = torch.rand(5, 7, generator=random), torch.rand(5, 2, generator=random)

    def squares(frequencies, weights):
        x, z = (frequencies[:, part] @ of for part, of in ((slice(3), scores[0]), (slice(5, 7), scores[2])))
        lacks = (weights.sum(1) * x * z).sum() - 0.4
        return (weights.T @ frequencies - one_way).square().sum() + 2.0 * (lacks / noise).square()

    frequencies.requires_grad_(), weights.requires_grad_()
    wanted = torch.autograd.grad(squares(frequencies, weights), [frequencies, weights])
    with torch.no_grad():
        torch.testing.assert_close(fit._slopes(frequencies, weights), wanted, rtol=1e-4, atol=1e-4)


def test_moments_are_asked_where_pairs_do_not_stand_out():
    assert "moments" not in auto_settings(0.27, 10).shares  # of categories
    assert "moments" in auto_settings(0.27, 10, has_moments=True).shares
    assert sum(auto_settings(0.27, 10, has_moments=True).shares.values()) == pytest.approx(1)
    states, charged = States((10, 10), (10, 10), (False,) * 20), {"marginals", "moments"}
    mechanism = GaussianMechanism([GaussianRelease(what, 100.0, 1.0) for what in charged], noise_seed=0)
    given = {"n_split": 2, "cell_counts": [100], "n_pools": 3, "n_components": 300}
    assert below_noise(100.0, states, mechanism, charged, **given) == {"moments"}
    assert below_noise(1000.0, states, mechanism, charged, **given) == set()


@pytest.mark.parametrize(
    ("apart", "least", "most"), [(0.0, 0.0, 0.5), (0.15, 0.75, 1.1), (0.3, 0.8, 1.1), (0.6, 0.9, 1.1)]
)
def test_classes_differ_about_as_much_as_they_do(apart, least, most):
    noise, sizes = 0.02, []
    for seed in range(10):
        random = torch.Generator().manual_seed(seed)
        off = 0.2 * apart * torch.randn(8, 5, generator=random).double()
        off = (off - off.mean(1, keepdim=True)).flatten()
        shares = torch.stack([0.2 + off, 0.2 - off]) / 2
        noisy = shares + noise * torch.randn(2, 40, generator=random).double()
        found = smoothed(noisy, States((5,) * 8, (0,) * 8, (False,) * 40), noise)
        sizes.append((found[0] - found[1]).norm() / max(off.norm(), noise * 80**0.5 * (apart == 0)))
    assert least <= sum(sizes) / 10 < most


@pytest.mark.parametrize(("exponent", "noise", "gain"), [(0.0, 1e-3, 0.3), (1.0, 3e-4, 0.8), (1.0, 5e-3, 0.8)])
def test_many_frequencies_are_nearer_than_a_projection(exponent, noise, gain):
    true = (torch.arange(2000, dtype=torch.float64) + 10) ** -exponent
    true /= true.sum()
    noisy = true + noise * torch.randn(2000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = many_frequencies(noisy, noise)
    assert found.min() >= 0
    assert found.sum() == pytest.approx(1)
    assert (found - true).abs().sum() < gain * (project_simplex(noisy) - true).abs().sum()


def test_many_frequencies_without_noise_or_records():
    few = torch.tensor([0.5, 0.3, 0.2] + [0.0] * 97)
    assert torch.allclose(many_frequencies(few, 0.0), few, atol=1e-6)
    assert torch.allclose(many_frequencies(torch.full((100,), -1.0), 1e-3), torch.full((100,), 0.01))


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_smooth_frequencies_follow_what_is_not_smooth(noise):
    random = torch.Generator().manual_seed(0)
    places = torch.arange(20, dtype=torch.float64)
    hill, spikes = (torch.exp(-0.5 * ((places - 10) / 4).square()) / 10, (places % 5 == 0) / 4)
    errors = noise * torch.randn(20, generator=random, dtype=torch.float64)
    assert (smooth_frequencies(hill + errors, noise) - hill).norm() <= 0.8 * errors.norm() + 1e-9
    assert (smooth_frequencies(spikes + errors, noise) - spikes).norm() <= 1.1 * errors.norm() + 1e-9


SHAPES = [  # a normal, an exponential one, zero and the rest, even
    torch.exp(-0.5 * ((torch.arange(24) - 11.5) / 3).square()),
    torch.exp(-torch.arange(24) / 3),
    torch.cat([torch.tensor([80.0]), torch.ones(23)]),
    torch.ones(24),
]


@pytest.mark.parametrize("noise", [0.003, 0.03, 0.1])
def test_frequencies_with_an_order_are_as_smooth_as_they_seem(noise):
    random, of_found, of_plain = torch.Generator().manual_seed(0), 0.0, 0.0
    for shape in SHAPES:
        true = (shape / shape.sum()).double()
        noisy = true + noise * torch.randn(20, 24, generator=random, dtype=torch.float64)
        found = likely_frequencies(noisy, torch.full_like(noisy, noise), True)
        of_found += float((found - true).abs().sum())
        of_plain += sum(float((project_simplex(smooth_frequencies(row, noise)) - true).abs().sum()) for row in noisy)
    assert of_found < 0.8 * of_plain


@pytest.mark.parametrize(("noise", "gain"), [(0.003, 1.0), (0.03, 0.8), (0.3, 0.8)])
def test_frequencies_without_an_order_are_as_even_as_they_seem(noise, gain):
    random, of_found, of_plain = torch.Generator().manual_seed(0), [], []
    for true in (torch.tensor([0.9, 0.1]), torch.full((6,), 1 / 6), 1 / (torch.arange(15) + 1)):
        exact = (true / true.sum()).double()
        noisy = exact + noise * torch.randn(20, len(exact), generator=random, dtype=torch.float64)
        found = likely_frequencies(noisy, torch.full_like(noisy, noise), False)
        of_found.append(float((found - exact).abs().sum()))
        of_plain.append(sum(float((project_simplex(row) - exact).abs().sum()) for row in noisy))
    assert sum(of_found) < gain * sum(of_plain)


@pytest.mark.parametrize("is_ordered", [True, False])
def test_likely_frequencies_keep_what_is_exact_and_the_base_where_all_is_noise(is_ordered):
    random = torch.Generator().manual_seed(0)
    exact = torch.rand(3, 30, generator=random).double()
    exact /= exact.sum(1, keepdim=True)
    torch.testing.assert_close(likely_frequencies(exact, torch.zeros_like(exact), is_ordered), exact, atol=1e-5, rtol=0)
    base = exact.flip(0)
    found = likely_frequencies(exact, torch.full_like(exact, 100.0), is_ordered, base)
    torch.testing.assert_close(found, base, atol=1e-4, rtol=0)


@pytest.mark.parametrize("n", [1, 2, 3, 30, 70, 300])
@pytest.mark.parametrize("noise", [0.0, 1e-6, 1.0, 1e6])
def test_likely_frequencies_of_anything_are_frequencies(n, noise):
    noisy = torch.randn(3, n, generator=torch.Generator().manual_seed(0)).double() * torch.tensor([[0.0], [1.0], [1e9]])
    base = torch.full_like(noisy, 1 / n) ** 8
    for is_ordered in (False, True):
        for expected in (None, base):
            found = likely_frequencies(noisy, torch.full_like(noisy, noise), is_ordered, expected)
            assert (found >= 0).all()
            torch.testing.assert_close(found.sum(1), torch.ones(3, dtype=torch.float64))


def test_exact_counts_of_two_kinds_are_kept():
    exact = torch.tensor([3.0, 0.0], dtype=torch.float64)
    values, variances = StateCounts(exact, torch.zeros(2, dtype=torch.float64)).joined(exact, 0.0)
    assert values.tolist() == [3.0, 0.0]
    assert variances.tolist() == [0.0, 0.0]
