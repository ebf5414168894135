"""A person's part: whole persons come and go, with adversarial rows, and move each sum by no more than is stated."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from test_queries import N_CLASSES, NUMBER, QUERIES, SUMS, D

from sinkgen import DPSinkhornGenerator, PrivacyLedger, SyntheticResampler, TSTRClassifier, TSTRRegressor
from sinkgen.accounting import GaussianRelease, PrivacySpent, gaussian_epsilon
from sinkgen.accounting.unit import PERSONS, RECORDS, Unit
from sinkgen.data.check import check_groups
from sinkgen.privacy.groups import Secret, bound
from sinkgen.privacy.mechanism import GaussianMechanism
from sinkgen.privacy.queries.moments import CountQuery, MeanQuery
from sinkgen.privacy.query import ROUNDING_MARGIN, by_weight, several
from sinkgen.privacy.sealed import seal
from sinkgen.privacy.streams import Streams, new_key
from sinkgen.records import CHUNK, ArraySource, ChunkedSource, Draw, Records, concatenated

UNITS = {"one row": Unit.of_groups(1), "three rows": Unit.of_groups(3), "shares": Unit.of_groups(None)}
ROWS = st.lists(st.tuples(st.lists(NUMBER, min_size=D, max_size=D), st.integers(-1, N_CLASSES - 1)), max_size=7)


def secret(seed=0):
    return Secret(*Streams(new_key(seed)).persons())


def owned(rows, ids):
    values = torch.tensor([value for value, _ in rows], dtype=torch.float32).view(len(rows), D)
    labels = torch.tensor([label for _, label in rows], dtype=torch.long)
    return Records(values, labels, np.array(ids, dtype=np.int64)).numbered(0)


def value(query, records, unit):
    return query.over(bound(ArraySource(*records), unit, secret())[0].map(lambda records: records), None)


def groups(ids, unit, seed=0, **given):
    """Numbers of persons, weights, whether rows count in sets, and how many rows the person has; by row."""
    ids = check_groups(ids, len(ids))
    records = Records(torch.arange(len(ids)), None, ids).numbered(0)
    mapped = bound(ArraySource(*records, **given), unit, secret(seed))[0].map(lambda records: records)
    rows, _, owners, _ = concatenated(list(mapped.chunks()))
    return owners[rows.argsort()].numpy().T


# --- The bound -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("name", QUERIES)
@settings(max_examples=12, deadline=None)
@given(ROWS, st.lists(st.integers(0, 2), min_size=7, max_size=7), ROWS, st.booleans())
def test_one_person_moves_the_value_by_at_most_its_reach(name, unit, others, ids, own, are_equal):
    """The person's rows come last: so the others' places, by which the secret order is drawn, stay what they are."""
    query, unit, ids = QUERIES[name](), UNITS[unit], ids[: len(others)]
    own = own[:1] * len(own) if are_equal else own  # all in one direction: as far as rows can go together
    without = value(query, owned(others, ids), unit) if others else torch.zeros(query.size, dtype=torch.float64)
    rows = [*others, *own]
    with_it = value(query, owned(rows, [*ids, *[9] * len(own)]), unit) if rows else without
    assert torch.linalg.vector_norm(with_it - without) <= query.reach(unit.max_rows) * (1 + 1e-5)


@pytest.mark.parametrize("name", SUMS)
def test_a_sum_weighs_each_contribution(name):
    """Wherever the weights are applied: a record of weight 1/4 adds a quarter of what it adds alone."""
    random = np.random.default_rng(0)
    query, weights = SUMS[name](), torch.from_numpy(random.choice([0.0, 0.25, 0.5, 1.0], 40))
    records = owned([(random.normal(size=D).tolist(), int(random.integers(-1, N_CLASSES))) for _ in weights], [0] * 40)
    own = torch.stack([torch.zeros(40), weights, torch.ones(40), torch.ones(40)], 1)
    alone = torch.stack([query.evaluate([records.having(groups=None).take([i])]) for i in range(40)])
    torch.testing.assert_close(query.evaluate([records.having(groups=own)]), weights @ alone)


@pytest.mark.parametrize("name", QUERIES)
def test_a_person_can_reach_what_is_stated(name):
    """Else the noise would be larger than needed; and a bound by zero would pass the test above."""
    query, unit, best = QUERIES[name](), UNITS["three rows"], 0.0
    random = np.random.default_rng(0)
    for scale in (0.1, 1.0, 1e4):
        for _ in range(15):
            one, other = (((scale * random.normal(size=D)).tolist(), int(random.integers(N_CLASSES))) for _ in "ab")
            base = [other] if name.startswith("cross") else []
            with_it = value(query, owned([*base, *[one] * 5], [0] * len(base) + [1] * 5), unit)
            best = max(best, float((with_it - (value(query, owned(base, [0]), unit) if base else 0)).norm()))
    assert best > (0.5 if name.startswith("cross") else 0.9) * query.reach(3)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=60), st.integers(0, 5))
def test_weights_of_a_person_sum_to_what_counts(ids, k):
    ids = np.array(ids)
    person, weights, first, counts = groups(ids, Unit.of_groups(k or None))
    assert np.array_equal(counts, [(ids == i).sum() for i in ids])
    for i in np.unique(ids):
        own = ids == i
        assert len(np.unique(person[own])) == 1
        if k:
            assert set(weights[own]) <= {0.0, 1.0}
            assert weights[own].sum() == first[own].sum() == min(k, own.sum())
        else:
            assert 1 - 2 * (1 - ROUNDING_MARGIN) <= weights[own].sum() <= 1
            assert first[own].sum() == 1
    assert len(np.unique(person)) == len(np.unique(ids))


def test_who_takes_part_is_even_and_independent_of_the_others():
    rows = np.array([groups([7, 1, 7, 7, 1, 7], Unit.of_groups(1), seed)[1] for seed in range(400)])
    assert stats.chisquare(rows[:, [0, 2, 3, 5]].sum(0)).pvalue > 1e-4
    pairs = rows[:, 0] * 2 + rows[:, 1]
    assert stats.chi2_contingency([[sum(pairs == 0), sum(pairs == 1)], [sum(pairs == 2), sum(pairs == 3)]])[1] > 1e-4


def test_how_rows_come_does_not_matter():
    """What is cut by weight is the same rows in the same order, and so a sum the same to the last bit."""
    random, n = np.random.default_rng(0), 5 * CHUNK
    ids, values = random.integers(0, 900, n), torch.arange(float(n))[:, None]
    whole = ArraySource(*Records(values, None, ids).numbered(0))

    def read():
        return (Records(values[i : i + 999], None, ids[i : i + 999]) for i in range(0, len(ids), 999))

    draw = Draw(0.1, Streams(new_key(3)).sampling("points", 0), 900)
    for unit in UNITS.values():
        one, other = (
            bound(source, unit, secret())[0].map(lambda r: r).map(lambda r: r)
            for source in (whole, ChunkedSource(read))
        )
        for batch in (None, draw):
            parts = [
                [part for records in several(source.chunks(batch)) for _, part in by_weight(records)]
                for source in (one, other)
            ]
            for first, second in zip(*parts, strict=True):
                assert torch.equal(first.values, second.values)
                assert torch.equal(first.groups, second.groups)
        query = MeanQuery(torch.zeros(1), 1.0)
        assert torch.equal(query.over(one, None), query.over(other, None))


def test_a_sample_has_all_rows_of_a_person_or_none():
    ids = np.arange(3000) % 300
    source, n = bound(ArraySource(*Records(torch.zeros(3000, 1), None, ids).numbered(0)), UNITS["shares"], secret())
    mapped = source.map(lambda records: records)
    sizes = []
    for step in range(30):
        drawn = torch.cat([r.groups for r in mapped.chunks(Draw(0.2, Streams(new_key(1)).sampling("p", step), n))])
        counts = torch.bincount(drawn[:, 0].long(), minlength=n)
        assert set(counts.tolist()) == {0, 10}
        sizes.append(int((counts > 0).sum()))
    assert stats.binomtest(sum(sizes), 300 * 30, 0.2).pvalue > 1e-4
    assert len(set(sizes)) > 5


def test_texts_are_keyed_and_boxed_numbers_are_texts():
    names = check_groups(["ann", "bob", "ann"], 3)
    one, other = secret(0).keys(names), secret(1).keys(names)
    assert one[0] == one[2] != one[1]
    assert not set(one.tolist()) & set(other.tolist())
    assert check_groups(np.array([5, "5"], dtype=object), 2).tolist() == ["5", "5"]


# --- The door --------------------------------------------------------------------------------------------------------


def bounded(mechanism, ids, labels):
    records = Records(torch.zeros(len(ids), 1), torch.as_tensor(labels), check_groups(ids, len(ids))).numbered(0)
    return mechanism.bound(seal(ArraySource(*records)))


def test_noise_is_as_many_times_larger():
    row = GaussianRelease("count", 2.0)
    for unit in UNITS.values():
        noisy = GaussianMechanism([row], unit=unit)
        source = bounded(noisy, [1, 1], [0, 0])
        noise = noisy.release("count", CountQuery(4000), source)[1:].numpy()
        assert abs(noise.std() / (2.0 * unit.max_rows) - 1) < 0.06
        assert noisy.noise_multiplier("count") == 2.0 * unit.max_rows


def test_an_unbounded_source_is_refused():
    noisy = GaussianMechanism([GaussianRelease("count", 2.0)], unit=UNITS["shares"])
    with pytest.raises(RuntimeError, match="not bounded"):
        noisy.release("count", CountQuery(1), seal(ArraySource(torch.zeros(2, 1), torch.zeros(2).long())))


def test_a_map_that_forgets_whose_records_are_is_refused():
    source = bounded(GaussianMechanism([], unit=UNITS["shares"]), [1, 1], [0, 0]).map(lambda records: records)
    with pytest.raises(RuntimeError, match="whose they are"):
        source.map(lambda records: Records(records.values, records.labels))


@pytest.mark.parametrize("unit", UNITS)
def test_labels_of_one_person_pass_no_more_often_than_is_charged(unit):
    """Rows of one person alone, all with one label or each with its own, against what the row spends of delta."""
    for labels in ([5] * 12, list(range(12))):
        passed, repeats, delta = 0, 300, 0.2
        for seed in range(repeats):
            noisy = GaussianMechanism(
                [GaussianRelease("labels", 1.0, delta=delta)], unit=UNITS[unit], delta=0.5, noise_seed=seed
            )
            source = bounded(noisy, [1] * 12, labels)
            passed += bool(noisy.release_labels("labels", source).labels)
        assert stats.binomtest(passed, repeats, delta, alternative="greater").pvalue > 1e-3
        assert passed  # neither can nobody pass


# --- The fit ---------------------------------------------------------------------------------------------------------

N = 400
FAST = {"schema": (-3, 3), "classes": [0, 1], "steps": 2}


def data(seed=0):
    random = np.random.default_rng(seed)
    ids = random.integers(0, 120, N)
    return random.normal(size=(N, 2)).clip(-3, 3), random.integers(0, 2, N), ids


CASES = {
    "arrays": FAST,
    "sampled": FAST | {"sampling_rate": 0.5},
    "batch": FAST | {"mechanism": "batch", "sampling_rate": 0.5},
}


@pytest.mark.parametrize("k", [None, 2])
@pytest.mark.parametrize("name", CASES)
def test_statements_and_ledgers_say_whom_they_protect(name, k):
    X, y, ids = data()
    ledger = PrivacyLedger()
    gen = DPSinkhornGenerator(epsilon=2, max_rows_per_group=k, ledger=ledger, **CASES[name]).fit(X, y, groups=ids)
    spent = gen.privacy_spent()
    assert (spent.neighbours, spent.max_rows, spent.epsilon <= 2) == (PERSONS, k or 1, True)
    assert PrivacySpent.from_dict(spent.to_dict()) == spent
    assert f"count as {'one row' if k is None else '2 rows'} at most" in str(spent)
    assert ledger.total().neighbours == PERSONS
    assert str(ledger).count(PERSONS) == 1


def test_by_shares_releases_and_noise_are_those_of_a_fit_by_rows():
    X, y, ids = data()
    by_row, by_person = (
        DPSinkhornGenerator(epsilon=2, **FAST).fit(X, y, groups=given).privacy_spent() for given in (None, ids)
    )
    assert by_row.releases == by_person.releases
    assert (by_row.neighbours, by_person.neighbours) == (RECORDS, PERSONS)


@pytest.mark.filterwarnings("ignore:noise_seed")
def test_rows_of_their_own_are_as_without_groups():
    X, y, _ = data()
    ids = np.random.default_rng(1).permutation(N)
    for k in (None, 1):
        one = DPSinkhornGenerator(epsilon=2, noise_seed=0, random_state=0, **FAST).fit(X, y)
        other = DPSinkhornGenerator(epsilon=2, noise_seed=0, random_state=0, max_rows_per_group=k, **FAST)
        other.fit(X, y, groups=ids)
        assert np.array_equal(one.sample(20, random_state=0)[0], other.sample(20, random_state=0)[0])


@pytest.mark.filterwarnings("ignore:noise_seed")
@pytest.mark.usefixtures("quick_tables")
def test_a_column_of_groups_is_no_feature():
    X, y, ids = data()
    frame = pd.DataFrame({"who": ids, "a": X[:, 0], "b": np.where(X[:, 1] > 0, "u", "v"), "y": y})
    given = {"epsilon": 20, "noise_seed": 0, "random_state": 0, "schema": {"a": (-3, 3), "b": ["u", "v"]}}
    named = DPSinkhornGenerator(**given).fit(frame, "y", groups="who")
    assert named.feature_names_in_.tolist() == ["a", "b"]
    beside = DPSinkhornGenerator(**given).fit(frame[["a", "b"]], y, groups=ids)
    pd.testing.assert_frame_equal(named.sample(9, random_state=0)[0], beside.sample(9, random_state=0)[0])


@pytest.mark.usefixtures("quick_tables")
def test_persons_count_once_whatever_their_rows():
    """Half of the rows are of one person, and of a class of its own: by shares, hardly anybody has it."""
    ids = np.r_[np.zeros(2000), np.arange(1, 2001)].astype(int)
    frame = pd.DataFrame({"a": np.r_[np.ones(2000), np.zeros(2000)]})
    gen = DPSinkhornGenerator(epsilon=50, schema={"a": [0.0, 1.0]}).fit(frame, groups=ids)
    assert gen.sample(1000)["a"].mean() < 0.02
    assert DPSinkhornGenerator(epsilon=50, schema={"a": [0.0, 1.0]}).fit(frame).sample(1000)["a"].mean() > 0.4


def test_one_person_with_all_rows_can_be_fitted():
    X, y, _ = data()
    for k in (None, 5):
        gen = DPSinkhornGenerator(epsilon=2, max_rows_per_group=k, **FAST).fit(X, y, groups=np.zeros(N, dtype=int))
        assert np.isfinite(gen.sample(5)[0]).all()


MALFORMED = {
    "short": ([31337] * 3, ValueError, "groups must hold one id for each record"),
    "missing number": ([31337.0, *[math.nan] * (N - 1)], ValueError, "groups holds missing values"),
    "missing in a frame": (pd.DataFrame({"who": [31337.0, *[None] * (N - 1)]}), ValueError, "holds missing values"),
    "a number": (3, ValueError, "or be the name, as text, of a table's column"),
    "missing text": (["patient-31337", *[None] * (N - 1)], ValueError, "groups holds missing values"),
    "missing in pandas": (pd.Series([31337, *[None] * (N - 1)], dtype="Int64"), ValueError, "groups holds missing"),
    "fractions": ([31337.5] * N, TypeError, "whole numbers or strings"),
    "a column's name": ("patient-31337", TypeError, "groups names a column, but X is an array"),
    "two columns": ([[31337, 31337]] * N, ValueError, "groups must hold one id for each record"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_groups_are_refused_before_the_charge_and_without_a_value(name):
    X, y, _ = data()
    ids, error, message = MALFORMED[name]
    ledger = PrivacyLedger()
    with pytest.raises(error, match=message) as caught:
        DPSinkhornGenerator(ledger=ledger, **FAST).fit(X, y, groups=ids)
    assert "31337" not in str(caught.value)
    assert not len(ledger)


def test_columns_that_cannot_be_groups_are_refused_by_name():
    X, y, ids = data()
    frame = pd.DataFrame({"who": np.where(ids == 3, np.nan, ids), "a": X[:, 0]})
    with pytest.raises(ValueError, match="column 'who', the groups, holds missing values"):
        DPSinkhornGenerator().fit(frame, groups="who")
    with pytest.raises(ValueError, match=r"groups names a column that X lacks: 'nobody'; X has \['who', 'a'\]"):
        DPSinkhornGenerator().fit(frame, groups="nobody")
    table = pd.DataFrame({"who": ids, "a": X[:, 0], "b": y})
    for schema, words in (
        ({"who": (0, 9)}, "leave it out of the schema"),
        ({"b": [0, 1]}, "declare these by classes="),
    ):
        with pytest.raises(ValueError, match=words):
            DPSinkhornGenerator(schema=schema).fit(table, "b", groups="who")
    with pytest.raises(ValueError, match="groups has the index of X in another order"):
        DPSinkhornGenerator().fit(table[["a"]], groups=table["who"].sample(frac=1, random_state=0))
    for estimator in (DPSinkhornGenerator(), TSTRClassifier(), TSTRRegressor(), SyntheticResampler()):
        with pytest.raises(ValueError, match="y has the index of X in another order"):
            estimator.fit(table[["a"]], table["b"].sample(frac=1, random_state=0))
    for blank in ("", "  "):
        with pytest.raises(ValueError, match="groups holds missing values"):
            DPSinkhornGenerator(**FAST).fit(X, y, groups=[blank, *map(str, ids[1:])])
    with pytest.raises(ValueError, match="y and groups name the same column"):
        DPSinkhornGenerator().fit(frame, "who", groups="who")
    with pytest.raises(ValueError, match="max_rows_per_group bounds the rows of a group; give fit the groups"):
        DPSinkhornGenerator(max_rows_per_group=2, **FAST).fit(X, y)
    with pytest.raises(ValueError, match="max_rows_per_group must be"):
        DPSinkhornGenerator(max_rows_per_group=0, **FAST).fit(X, y, groups=ids)


def test_a_ledger_adds_up_fits_that_protect_the_same():
    X, y, ids = data()
    ledger = PrivacyLedger()
    DPSinkhornGenerator(ledger=ledger, **FAST).fit(X, y)
    with pytest.raises(ValueError, match="another neighbouring relation"):
        DPSinkhornGenerator(ledger=ledger, **FAST).fit(X, y, groups=ids)
    assert len(ledger) == 1


def test_a_ledger_on_disk_and_a_saved_model_keep_the_unit(tmp_path):
    X, y, ids = data()
    ledger = PrivacyLedger(tmp_path / "ledger")
    gen = DPSinkhornGenerator(ledger=ledger, max_rows_per_group=2, **FAST).fit(X, y, groups=ids)
    assert next(iter(PrivacyLedger(tmp_path / "ledger"))).unit == Unit.of_groups(2)
    gen.save(tmp_path / "model")
    loaded = DPSinkhornGenerator.load(tmp_path / "model")
    assert loaded.privacy_spent() == gen.privacy_spent()


def test_statements_of_another_unit_are_not_believed():
    state = PrivacySpent.of([GaussianRelease("points", 3.0)], 1e-5).to_dict()
    for wrong in ({"max_rows": 2}, {"neighbours": "nobody"}, {"max_rows": 0}):
        with pytest.raises(ValueError, match=r"neighbouring|max_rows"):
            PrivacySpent.from_dict(state | wrong)


def test_the_price_of_several_persons_is_an_upper_bound():
    """Where each counts as several rows, also of members that hold a part of these."""
    rows = [GaussianRelease("labels", 30.0, delta=1e-6)]
    one = PrivacySpent.of(rows, 1e-4, unit=Unit.of_groups(1))
    three = PrivacySpent.of(rows, 1e-4, unit=Unit.of_groups(3))
    assert one.for_group(2) <= three.for_group(2) <= 1.05 * one.for_group(2)


@pytest.mark.parametrize("unit", [Unit.of_groups(1), Unit.of_groups(4), Unit.of_groups(None)])
@pytest.mark.parametrize("size", [2, 3])
def test_the_price_of_several_persons_is_that_of_how_far_they_move_a_release(unit, size):
    """Each person has six rows beyond the clip; what they move, over the noise, is the mu of one Gaussian release."""
    moved, dim = [], 20_000
    for ids in ([9], [9, *np.repeat(np.arange(size), 6)]):
        exact = GaussianMechanism([GaussianRelease("mean", 0.0)], noise_seed=0, unit=unit)
        rows = Records(torch.full((len(ids), dim), 5.0), torch.zeros(len(ids)).long(), np.array(ids)).numbered(0)
        moved.append(exact.release("mean", MeanQuery(torch.zeros(dim), 1.0), exact.bound(seal(ArraySource(*rows)))))
    release = GaussianRelease("mean", 2.0)
    noisy = GaussianMechanism([release], unit=unit)
    one = Records(torch.full((1, dim), 5.0), torch.zeros(1).long(), np.array([9])).numbered(0)
    noise = noisy.release("mean", MeanQuery(torch.zeros(dim), 1.0), noisy.bound(seal(ArraySource(*one)))) - moved[0]
    mu = float((moved[1] - moved[0]).norm() / noise.std())
    spent = PrivacySpent.of([release], 1e-5, unit=unit)
    assert spent.for_group(size) == pytest.approx(gaussian_epsilon(mu, 1e-5), rel=0.05)
    assert spent.for_group(size) == PrivacySpent.of([release], 1e-5).for_group(size)
