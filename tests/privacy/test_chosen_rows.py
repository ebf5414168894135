"""``max_rows_per_group="auto"``: a release of how many rows persons have says how to bound them."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sinkgen import DPSinkhornGenerator, Marginals, PrivacyLedger
from sinkgen.accounting import GaussianRelease, PrivacySpent
from sinkgen.accounting.unit import AUTO, MOST_ROWS, PERSONS, Unit
from sinkgen.generators.people import SIZES
from sinkgen.privacy.mechanism import GaussianMechanism
from sinkgen.privacy.sealed import seal
from sinkgen.records import ArraySource, Records
from sinkgen.training.persons import Sizes, learn_sizes

FAST = {"schema": (-3, 3), "classes": [0, 1], "steps": 2}


def released(ids, monkeypatch):
    """The exact numbers of persons that have each number of rows, as the door gives them without noise."""
    kept = []
    monkeypatch.setattr("sinkgen.training.persons._shares", lambda noisy, noise, total: kept.append(noisy * total))
    exact = GaussianMechanism([GaussianRelease("rows", 0.0)], noise_seed=0, unit=Unit.of_groups(AUTO))
    records = Records(np.zeros((len(ids), 1)), np.array(["label"] * len(ids)), np.array(ids, dtype=np.int64))
    source = exact.bound(seal(ArraySource(*records.numbered(0))), Unit.of_groups(None))
    learn_sizes("rows", source, exact, total=1.0)
    return kept[-1]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(1, 1200))
def test_a_person_moves_the_release_by_one(others, n_rows):
    with pytest.MonkeyPatch.context() as patch:
        without, with_it = (released([*others, *[9] * n], patch) for n in (0, n_rows))
    assert (with_it - without).norm() <= 1
    assert (with_it - without)[SIZES.cell(torch.tensor([n_rows]))] == pytest.approx(1, abs=1e-4)


def sizes(counts, noise, n_rows=(1, 2, 6, 20)):
    shares = torch.zeros(len(SIZES), dtype=torch.float64)
    shares[SIZES.cell(torch.tensor(n_rows))] = torch.tensor(counts, dtype=torch.float64) / sum(counts)
    return Sizes(shares, float(sum(counts)), noise)


def test_more_rows_count_where_noise_is_low_and_persons_are_uneven():
    uneven = [5000, 3000, 3000, 400]
    chosen = [sizes(uneven, noise).best_unit() for noise in (30.0, 1.0, 0.1, 0.0)]
    assert chosen[0].shared
    assert chosen[-1] == Unit.of_groups(MOST_ROWS)
    assert [unit.max_rows for unit in chosen] == sorted(unit.max_rows for unit in chosen)
    assert chosen[2].max_rows > 1
    for counts in ([1, 0, 0, 0], [0, 0, 900, 0]):  # who all have as many rows are as well told by shares
        assert sizes(counts, 0.0).best_unit().shared


def uneven(n=3000, seed=0):
    random = np.random.default_rng(seed)
    ids = np.repeat(np.arange(n), np.where(random.random(n) < 0.5, 1, 9))
    return random.normal(size=(len(ids), 2)).clip(-3, 3), random.integers(0, 2, len(ids)), ids


@pytest.mark.filterwarnings("ignore:noise_seed")
def test_the_statement_says_what_was_chosen():
    X, y, ids = uneven()
    ledger = PrivacyLedger()
    given = {"max_rows_per_group": "auto", "noise_seed": 0, "random_state": 0} | FAST
    gen = DPSinkhornGenerator(200.0, ledger=ledger, **given).fit(X, y, groups=ids)
    spent = gen.privacy_spent()
    assert 1 < spent.max_rows <= MOST_ROWS
    assert f"of a person count, as a release chose, at most {spent.max_rows} rows" in str(spent)
    assert f"count as {spent.max_rows} rows at most" in str(spent)
    assert PrivacySpent.from_dict(spent.to_dict()) == spent
    assert (spent.neighbours, ledger.total().neighbours) == (PERSONS, PERSONS)
    assert spent.epsilon <= 200
    assert sum(release.what == "rows" for release in spent.releases) == 1
    few = DPSinkhornGenerator(0.5, **given).fit(X[:300], y[:300], groups=ids[:300]).privacy_spent()
    assert few.max_rows == 1
    assert "all rows, in shares of one" in str(few)


@pytest.mark.filterwarnings("ignore:noise_seed")
def test_what_was_chosen_is_what_is_asked():
    """The noise of each release after it, and the bound of each person, are those of a fit with that number."""
    X, y, ids = uneven()
    seen = []

    class Watching(GaussianMechanism):
        def release(self, what, query, source):
            seen.append((what, self.noise_multiplier(what), self._rows[what].noise_multiplier))
            return super().release(what, query, source)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sinkgen.fitting.fit.__kwdefaults__", {"door": Watching})
        gen = DPSinkhornGenerator(200.0, max_rows_per_group="auto", noise_seed=0, **FAST).fit(X, y, groups=ids)
    (first, *others), k = seen, gen.privacy_spent().max_rows
    assert first[0] == "rows"
    assert first[1] == first[2]
    assert {row[1] / row[2] for row in others} == {k}


def test_a_source_is_never_bounded_for_more_than_was_charged():
    records = Records(np.zeros((3, 1)), None, np.array([1, 1, 2])).numbered(0)
    noisy = GaussianMechanism([GaussianRelease("rows", 1.0)], unit=Unit.of_groups(3))
    source = seal(ArraySource(*records))
    for unit in (Unit.of_groups(4), Unit()):
        with pytest.raises(RuntimeError, match="more rows"):
            noisy.bound(source, unit)
    noisy.bound(source, Unit.of_groups(2))
    with pytest.raises(RuntimeError, match="fewer rows"):
        noisy.bound(source, Unit.of_groups(None))
    assert noisy.noise_multiplier("rows") == 2.0


@pytest.mark.filterwarnings("ignore::sinkgen.exceptions.PoorFitWarning")
@pytest.mark.usefixtures("quick_tables")
def test_tables_and_mistakes():
    X, y, ids = uneven(60)
    frame = pd.DataFrame({"a": X[:, 0], "who": ids, "b": y})
    gen = DPSinkhornGenerator(50.0, max_rows_per_group="auto").fit(frame, "b", groups="who")
    assert list(gen.sample(5)[0]) == ["a"]
    with pytest.raises(ValueError, match="leave max_rows_per_group None"):
        DPSinkhornGenerator(mechanism=Marginals(whole_groups=True), max_rows_per_group="auto").fit(frame, groups="who")
    with pytest.raises(ValueError, match="give fit the groups, or leave it None"):
        DPSinkhornGenerator(max_rows_per_group="auto").fit(frame)
    with pytest.raises((TypeError, ValueError), match="max_rows_per_group must be"):
        DPSinkhornGenerator(max_rows_per_group="most").fit(frame, groups="who")
