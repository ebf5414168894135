"""Persons that are drawn with all their rows: what is the same stays so, and rows are as alike as real ones."""

import warnings
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from sinkgen import Column, DPSinkhornGenerator, Marginals, PrivacyLedger
from sinkgen.data.group_ids import GroupIds
from sinkgen.exceptions import ReproducibleNoiseWarning
from sinkgen.generators.people import SIZES, PeopleMixture, spread_of
from sinkgen.sources import chunks
from sinkgen.training.persons import learn_sizes
from sinkgen.training.tables.marginals import Marginals as Counts
from sinkgen.training.tables.people.across import Across
from sinkgen.training.tables.people.known import Constant
from sinkgen.training.tables.people.row_types import PeopleFit
from sinkgen.training.tables.people.spread import feasible

pytestmark = [pytest.mark.filterwarnings("ignore::sinkgen.exceptions.ReproducibleNoiseWarning")]
WHOLE = Marginals(whole_groups=True, steps=300)
QUICK = {"mechanism": Marginals(whole_groups=True, steps=20)}
GIVEN = {"mechanism": WHOLE, "noise_seed": 0, "random_state": 0}


def panel(n=3000, seed=0):
    """Persons with 1 to 12 visits: two constant columns, a weight that rises, and a habit."""
    random = np.random.default_rng(seed)
    who = np.repeat(np.arange(n), np.minimum(1 + random.poisson(random.gamma(2.0, 1.5, n)), 12))
    sex, born = random.choice(["f", "m"], n), random.integers(1940, 2000, n)
    years = random.uniform(0, 3, n)[who] + random.uniform(0, 2, len(who))
    level = random.normal(size=n) + 0.02 * (1970 - born)
    weight = 75 + 8 * level[who] + 4 * (years - 2.5) + 3 * random.normal(size=len(who))
    habit = random.dirichlet([0.5, 0.5], n)[who, 0]
    date = pd.Timestamp("2015-01-01") + pd.to_timedelta((365 * years).astype(int), "D")
    frame = {"seen": date, "who": who + 7000, "sex": sex[who], "born": born[who], "weight": weight.round(1)}
    return pd.DataFrame(frame | {"kind": np.where(random.random(len(who)) < habit, "u", "v")})


def alike(frame, ids, one, other):
    """Correlation of a column in one row with a column in another of the same person; each person counts once."""
    numbers = np.unique(ids, return_inverse=True)[1]
    scores = torch.tensor(
        np.stack([frame[name].astype("int64" if name == "seen" else float) for name in (one, other)], 1)
    )
    scores, numbers = (scores.double() - scores.double().mean(0)) / scores.double().std(0), torch.from_numpy(numbers)
    order = numbers.argsort(stable=True)
    total, across = spread_of(scores[order], numbers[order], torch.bincount(numbers))
    return float(across[0, 1] / (total[0, 0] * total[1, 1]).sqrt()), float((total - across)[0, 1])


@pytest.fixture(scope="module")
def fitted():
    frame = panel()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReproducibleNoiseWarning)
        gen = DPSinkhornGenerator(20, **GIVEN).fit(frame, groups="who")
    return frame, gen, gen.sample(n_groups=3000, random_state=0)


def test_what_is_constant_is_found_and_stays(fitted):
    frame, gen, drawn = fitted
    assert drawn.columns.tolist() == frame.columns.tolist()
    assert dict(zip(gen.release_.form.names, gen.release_.generator.constant.tolist(), strict=False)) == {
        "seen": False, "sex": True, "born": True, "weight": False, "kind": False,
    }  # fmt: skip
    assert (drawn.groupby("who")[["sex", "born"]].nunique() == 1).all(axis=None)
    assert drawn["who"].unique().tolist() == list(range(3000))
    assert drawn.groupby("who")["weight"].nunique().gt(1).any()


def test_that_noise_hides_what_is_constant_is_told_by_name():
    random, n = np.random.default_rng(0), 600
    who = np.repeat(np.arange(n), 1 + random.poisson(2, n))
    frame = pd.DataFrame(
        {"who": who, "sex": random.choice(["f", "m"], n)[who], "ward": random.choice(["a", "b"], len(who))}
    )
    for schema, names in ((None, ["'sex'"]), ({"sex": Column(values=["f", "m"], of="group"), "ward": ["a", "b"]}, [])):
        gen = DPSinkhornGenerator(0.1, schema=schema, **QUICK, noise_seed=0).fit(frame, groups="who")
        told = [remark for remark in gen.schema_.remarks if "the same in all rows of a group noise hides" in remark]
        assert all(any(name in remark for remark in told) for name in names)
        assert not (schema and any("'sex'" in remark for remark in told))
    clear = DPSinkhornGenerator(50, **QUICK, noise_seed=0).fit(frame, groups="who")
    assert not any("noise hides" in remark for remark in clear.schema_.remarks)


def test_how_many_rows_a_person_has_goes_with_other_columns():
    random, n = np.random.default_rng(0), 3000
    ill = random.random(n) < 0.3
    n_rows = 1 + random.poisson(np.where(ill, 4.0, 0.7))
    frame = pd.DataFrame({"who": np.repeat(np.arange(n), n_rows), "ill": np.repeat(ill, n_rows)})
    drawn = DPSinkhornGenerator(20, **GIVEN).fit(frame, groups="who").sample(n_groups=n, random_state=0)
    sizes, found = drawn.groupby("who").size(), drawn.groupby("who")["ill"].first()
    for value in (True, False):
        assert sizes[found == value].mean() == pytest.approx(n_rows[ill == value].mean(), abs=0.15)


def test_persons_have_as_many_rows_as_real_ones_and_dates_in_order(fitted):
    frame, gen, drawn = fitted
    real, made = (part.groupby("who").size().value_counts(normalize=True) for part in (frame, drawn))
    assert real.sub(made, fill_value=0).abs().sum() / 2 < 0.02
    assert drawn.groupby("who")["seen"].apply(lambda dates: dates.is_monotonic_increasing).all()
    by_weight = gen.sample(n_groups=50, order_by="weight", random_state=0)
    assert by_weight.groupby("who")["weight"].apply(lambda numbers: numbers.is_monotonic_increasing).all()


def test_rows_of_a_person_are_as_alike_as_real_ones(fitted):
    frame, _, drawn = (part.assign(is_u=part["kind"] == "u") if hasattr(part, "assign") else part for part in fitted)
    for one, other in (
        ("weight", "weight"),
        ("seen", "seen"),
        ("weight", "seen"),
        ("is_u", "is_u"),
        ("born", "weight"),
    ):
        (real, rest), (made, rest_made) = (alike(part, part["who"], one, other) for part in (frame, drawn))
        assert abs(made - real) < 0.05, (one, other)
        assert abs(rest_made - rest) < 0.05, (one, other)


def test_a_column_in_which_persons_do_not_differ_leaves_the_others_alone():
    random = np.random.default_rng(0)
    who = np.repeat(np.arange(2000), 1 + random.binomial(7, 0.4, 2000))
    frame = pd.DataFrame({"who": who, "day": random.uniform(0, 365, len(who))})
    frame["weight"] = 75 + 10 * random.normal(size=2000)[who] + 1.5 * random.normal(size=len(who))
    frame["pulse"] = 72 + 0.4 * (frame["weight"] - 75) + 6 * random.normal(size=len(who))
    schema = {"day": (0, 365), "weight": (30, 120), "pulse": (30, 120)}
    drawn = (
        DPSinkhornGenerator(20, schema=schema, **GIVEN).fit(frame, groups="who").sample(n_groups=2000, random_state=0)
    )
    for names in (("pulse", "pulse"), ("weight", "pulse"), ("day", "pulse")):
        assert np.allclose(alike(frame, frame["who"], *names), alike(drawn, drawn["who"], *names), atol=0.1), names


def test_rows_are_drawn_as_ever(fitted):
    frame, gen, _ = fitted
    rows = gen.sample(2000, random_state=0)
    assert rows.columns.tolist() == ["seen", "sex", "born", "weight", "kind"]
    assert gen.sample(50, conditions={"sex": "f"})["sex"].eq("f").all()
    shares = frame.groupby("who")["sex"].first().eq("f").mean()
    assert abs(rows["sex"].eq("f").mean() - shares) < 0.03


def test_single_rows_are_as_alike_in_their_columns_as_those_of_persons():
    random, n = np.random.default_rng(0), 4000
    who = np.repeat(np.arange(n), 1 + random.poisson(1, n))
    level = random.normal(size=n)[who]
    own = {name: level + 0.3 * random.normal(size=len(who)) for name in "ab"}
    label = np.where(random.random(len(who)) < 1 / (1 + np.exp(-level)), "high", "low")
    schema = {"a": (-6, 6), "b": (-6, 6)}
    gen = DPSinkhornGenerator(20, schema=schema, **GIVEN).fit(pd.DataFrame(own), label, groups=who)
    real = np.corrcoef(own["a"], own["b"])[0, 1]
    rows, labels = gen.sample(3000, random_state=0)
    assert rows.corr().iloc[0, 1] == pytest.approx(real, abs=0.04)
    assert rows["a"][labels == "high"].mean() - rows["a"][labels == "low"].mean() > 0.5
    # Of one class the correlation is another, and so it is where that class alone is drawn.
    of_class = gen.sample(y=np.repeat("high", 2000), random_state=0)[0]
    assert of_class.corr().iloc[0, 1] == pytest.approx(rows[labels == "high"].corr().iloc[0, 1], abs=0.06)
    assert of_class["a"].mean() == pytest.approx(rows["a"][labels == "high"].mean(), abs=0.15)
    sets = gen.sample_posterior(m=3, random_state=0)
    assert np.mean([data.corr().iloc[0, 1] for data, _ in sets]) == pytest.approx(real, abs=0.08)


def test_a_saved_model_draws_the_same_persons(fitted, tmp_path):
    _, gen, _ = fitted
    gen.save(tmp_path)
    loaded = DPSinkhornGenerator.load(tmp_path)
    assert loaded.mechanism == WHOLE
    assert isinstance(loaded.release_.generator, PeopleMixture)
    one, other = (made.sample(n_groups=9, random_state=3) for made in (gen, loaded))
    pd.testing.assert_frame_equal(one, other)
    gen.save(tmp_path / "small", compact=True)
    small = DPSinkhornGenerator.load(tmp_path / "small").sample(n_groups=2000, random_state=3)
    assert (small.groupby("who")[["sex", "born"]].nunique() == 1).all(axis=None)


def test_many_persons_come_in_partitions_whose_ids_count_on(fitted, tmp_path):
    frame, gen, _ = fitted
    gen.sample_to_parquet(tmp_path / "people", n_groups=25, partition_size=10, random_state=0)
    drawn = pd.read_parquet(tmp_path / "people")
    assert drawn.columns.tolist() == frame.columns.tolist()
    assert len(list((tmp_path / "people").iterdir())) == 3
    assert drawn["who"].unique().tolist() == list(range(25))
    assert (drawn.groupby("who")[["sex", "born"]].nunique() == 1).all(axis=None)
    assert drawn.groupby("who")["seen"].apply(lambda dates: dates.is_monotonic_increasing).all()
    with pytest.raises(ValueError, match="n_groups must be at least 1"):
        gen.sample_to_parquet(tmp_path / "none", n_groups=0)
    dask = pytest.importorskip("dask")
    with dask.config.set(scheduler="synchronous"):
        again = gen.sample_dask(n_groups=25, partition_size=10, random_state=0).compute()
    pd.testing.assert_frame_equal(again.reset_index(drop=True), drawn, check_dtype=False)


def test_counts_that_are_kept_are_of_the_tables_columns(fitted):
    frame, gen, _ = fitted
    names = gen.release_.form.names
    once = frame.drop_duplicates("who")["sex"].value_counts()
    found = {part.columns: part for part in gen.release_.counts}
    assert {j for columns in found for j in columns} == set(range(len(names) + 1))  # the last is the label's place
    released = found[names.index("sex"), len(names)].counts
    assert np.abs(released[:2, 0].numpy() - once.sort_index().to_numpy()).max() < 100


@pytest.mark.filterwarnings("ignore::sinkgen.exceptions.PoorFitWarning")
def test_ids_and_labels_come_back_as_they_were_given(tmp_path):
    frame = panel(400)
    texts = frame["who"].map("patient {}".format)
    well = frame["sex"].map({"f": "yes", "m": "no"})  # a label that is the same in all rows of a person
    beside = DPSinkhornGenerator(50, **GIVEN).fit(frame.drop(columns=["who", "sex"]), well, groups=texts)
    X, y, ids = beside.sample(n_groups=30, random_state=0)
    assert len(X) == len(y) == len(ids)
    assert ids.unique().tolist() == [f"group {i}" for i in range(30)]
    assert (pd.Series(y).groupby(ids.to_numpy()).nunique() == 1).all()
    assert beside.release_.generator.constant[-1]
    beside.sample_to_parquet(tmp_path, n_groups=7, label="well", partition_size=5, random_state=0)
    many = pd.read_parquet(tmp_path)
    assert many.columns.tolist() == [*X.columns, "group", "well"]
    assert many["group"].nunique() == 7
    with pytest.raises(ValueError, match="'group' is to be the column of ids"):
        beside.sample_to_parquet(tmp_path / "other", n_groups=7, label="group")
    named = DPSinkhornGenerator(50, **GIVEN).fit(frame.assign(who=texts), "kind", groups="who")
    X, y = named.sample(n_groups=30, random_state=0)
    assert X.columns.tolist() == ["seen", "who", "sex", "born", "weight"]
    assert X["who"].dtype == texts.dtype
    assert pd.Series(y).groupby(X["who"].to_numpy()).nunique().max() == 2


@pytest.mark.filterwarnings("ignore::sinkgen.exceptions.PoorFitWarning")
def test_declared_constants_are_constant_where_nothing_can_be_found():
    frame = panel(200)
    schema = {"sex": Column(values=("f", "m"), of="group"), "born": Column(bounds=(1940, 2000), of="group")}
    gen = DPSinkhornGenerator(0.01, schema=schema, **GIVEN | QUICK).fit(frame, groups="who")
    drawn = gen.sample(n_groups=40, random_state=0)
    assert (drawn.groupby("who")[["sex", "born"]].nunique() == 1).all(axis=None)
    assert gen.release_.generator.constant.tolist() == [False, True, True, False, False, False]


@pytest.mark.filterwarnings("ignore::sinkgen.exceptions.PoorFitWarning")
def test_rows_of_a_person_may_lie_in_several_chunks():
    frame = panel(300).sample(frac=1, random_state=0)
    whole, parted = (
        DPSinkhornGenerator(5, **GIVEN | QUICK).fit(X, groups="who")
        for X in (frame, chunks([frame.iloc[i : i + 111] for i in range(0, len(frame), 111)]))
    )
    one, other = (gen.sample(n_groups=20, random_state=0) for gen in (whole, parted))
    pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize("dtype", ["float64", "Float32", "boolean", "uint8"])
def test_ids_of_any_dtype_name_each_group_once(dtype):
    ids = GroupIds("who", 0, dtype).ids(np.arange(200))
    assert ids.nunique() == 200
    assert dtype == "boolean" or ids.dtype == dtype
    if dtype == "uint8":
        with pytest.raises(ValueError, match="more groups than ids of dtype uint8"):
            GroupIds("who", 0, dtype).ids(np.arange(257))


@pytest.mark.filterwarnings("ignore::sinkgen.exceptions.PoorFitWarning")
@pytest.mark.parametrize("epsilon", [1e-3, float("inf")])
@pytest.mark.parametrize("ids", ["one each", "one person"])
def test_every_table_gives_persons(epsilon, ids):
    frame = panel(60)
    groups = np.arange(len(frame)) if ids == "one each" else np.zeros(len(frame), dtype=int)
    gen = DPSinkhornGenerator(epsilon, **GIVEN | QUICK).fit(frame.drop(columns="who"), groups=groups)
    X, drawn = gen.sample(n_groups=10, random_state=0)
    assert drawn.nunique() == 10
    assert len(X) == len(drawn)
    if epsilon > 1:
        assert len(X) == (10 if ids == "one each" else 10 * len(X) // 10)


def test_what_cannot_be_is_refused_before_the_charge():
    frame, ledger = panel(50), PrivacyLedger()
    for message, given, groups in (
        ("draws whole groups of rows: give fit the groups", {}, None),
        ("leave max_rows_per_group None", {"max_rows_per_group": 3}, "who"),
        ("has no members, target", {"mechanism": Marginals(whole_groups=True, members=2, target="sex")}, "who"),
        ("does not go with rules, keys or parents", {"schema": {"sex": Column(parent="kind")}}, "who"),
        ("has no refinements", {"mechanism": Marginals(whole_groups=True, refinements=2)}, "who"),
    ):
        with pytest.raises(ValueError, match=message):
            DPSinkhornGenerator(ledger=ledger, **GIVEN | given).fit(frame, groups=groups)
    assert not len(ledger)
    with pytest.raises(ValueError, match="of must be"):
        Column(of="person")


def test_what_is_asked_of_a_sample_is_checked(fitted):
    _, gen, _ = fitted
    for message, wrong in (
        ("leave y and conditions out", {"n_groups": 2, "conditions": {"sex": "f"}}),
        ("give n_groups, too", {"order_by": "weight"}),
        ("order_by must be a column of numbers, dates or ordered values", {"n_groups": 2, "order_by": "kind"}),
        ("n_groups must be at least 1", {"n_groups": 0}),
    ):
        with pytest.raises(ValueError, match=message):
            gen.sample(**wrong)
    frame = panel(100).drop(columns=["seen", "who"])
    plain = DPSinkhornGenerator(50, mechanism=Marginals(steps=1), schema={"sex": ["f", "m"]}, classes=["u", "v"])
    plain.fit(frame[["sex", "kind"]], "kind")
    for draw in (plain.sample, plain.sample_dask):
        with pytest.raises(ValueError, match="this fit knows no whole groups"):
            draw(n_groups=3)


# --- Parts -----------------------------------------------------------------------------------------------------------


def test_cells_of_sizes_hold_each_number_once():
    numbers = torch.arange(1, 1025)
    cells = SIZES.cell(numbers)
    assert cells[0] == 0
    assert set(cells.diff().tolist()) == {0, 1}
    assert len(cells.unique()) == len(SIZES)
    assert (SIZES.cell(torch.tensor([5000])) == len(SIZES) - 1).all()
    drawn = SIZES.draw(cells.repeat(5), torch.Generator().manual_seed(0))
    assert torch.equal(SIZES.cell(drawn), cells.repeat(5))
    assert all(SIZES.bins[SIZES.cell(torch.tensor(2**k))] == 2 * k - 1 for k in range(1, 11))


@pytest.mark.parametrize("shape", ["smooth", "one number", "far away"])
def test_noise_adds_no_rows_where_nobody_has_so_many(shape):
    """Noise in a cell of some hundred rows would be most of the rows; and numbers are smooth but for chance."""
    random, n, noise = np.random.default_rng(0), 5000, 9.0
    real = {"smooth": 1 + random.poisson(random.gamma(1.5, 4.0, n)), "one number": np.full(n, 6)}
    real["far away"] = np.where(random.random(n) < 0.1, 365, 3)
    cells = torch.bincount(SIZES.cell(torch.from_numpy(real[shape])), minlength=len(SIZES)).double()
    off, means = [], []
    for _ in range(20):
        noisy = cells + noise * torch.from_numpy(random.normal(size=len(SIZES)))
        mechanism = SimpleNamespace(release=lambda *_, of=noisy: [of], noise_multiplier=lambda _: noise)
        found = learn_sizes("sizes", SimpleNamespace(map=lambda _: None), mechanism, float(n)).shares
        assert abs(float(found.sum()) - 1) < 1e-9
        off.append(float((found - cells / n).abs().sum() / 2))
        means.append(float((found * SIZES.middle).sum() / real[shape].mean()))
    assert np.mean(off) < {"smooth": 0.022, "one number": 0.002, "far away": 0.04}[shape]
    assert np.abs(np.array(means) - 1).max() < {"smooth": 0.1, "one number": 0.01, "far away": 0.1}[shape]


def test_slopes_of_the_fit_are_those_of_its_squares():
    random = torch.Generator().manual_seed(0)
    widths, n_classes, n_rows, n_types = (3, 2, 4), 2, 2, 3
    D, K, E = sum(widths), n_types * n_rows, 4

    def symmetric(n):
        made = torch.rand(n, n, generator=random)
        return made + made.T

    two_way = symmetric(D)[None]
    counts = Counts(
        torch.rand(n_classes, D, generator=random), two_way, torch.rand(n_classes, D, generator=random),
        symmetric(D)[None], 1.0,
    )  # fmt: skip
    coarse = torch.zeros(5 + n_classes, E)
    coarse[torch.arange(7), torch.tensor([0, 1, 1, 2, 3, 0, 3])] = 1.0
    across = Across(symmetric(E), symmetric(E).double(), coarse)
    constant = Constant(torch.tensor([False, False]), False)
    fit = PeopleFit(counts, widths, torch.eye(D), 0.1, across=across, n_rows=n_rows, constant=constant)
    frequencies = torch.rand(K, D, generator=random)
    last = torch.arange(D) >= 5  # the number of rows is of a type
    frequencies[:, last] = frequencies[::n_rows, last].repeat_interleave(n_rows, 0)
    weights = torch.rand(K, n_classes, generator=random)

    def squares(frequencies, weights):
        pairs = frequencies.T @ (weights.sum(1)[:, None] * frequencies)
        out = (counts.one_way_weight * (weights.T @ frequencies - counts.one_way).square()).sum()
        out = out + (counts.two_way_weight * (pairs - two_way).square()).sum()
        shares = torch.cat([weights.sum(1)[:, None] * frequencies[:, :5], weights], 1) @ coarse
        of_type = shares.view(n_types, n_rows, E).sum(1)
        several = 1 - frequencies.view(n_types, n_rows, D)[:, :, 5].mean(1)
        of = several / weights.sum(1).view(n_types, n_rows).sum(1)
        made = of_type.T @ (of[:, None] * of_type)
        return out + (across.weight.float() * (made - across.shares).square()).sum()

    frequencies.requires_grad_(), weights.requires_grad_()
    wanted = torch.autograd.grad(squares(frequencies, weights), [frequencies, weights])
    with torch.no_grad():
        slopes = fit._slopes(frequencies, weights)
    for found, expected in zip(slopes, wanted, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_correlations_that_cannot_be_are_mended():
    random = torch.Generator().manual_seed(0)
    for _ in range(20):
        ranks = torch.randn(4, 4, generator=random, dtype=torch.float64)
        ranks = (ranks + ranks.T).clamp(-1, 1).fill_diagonal_(1.0)
        rest = torch.randn(3, 3, generator=random, dtype=torch.float64)
        fixed = torch.tensor([True, False, False, False])
        total, across = feasible(ranks, rest + rest.T, fixed, torch.full((3, 3), 0.1).double())
        assert torch.allclose(total.diagonal(), torch.ones(4).double())
        assert torch.linalg.eigvalsh(across).min() > 0
        assert torch.linalg.eigvalsh((total - across)[1:, 1:]).min() > -1e-9


def test_numbers_of_rows_are_drawn_as_often_as_released(fitted):
    _, gen, drawn = fitted
    made = gen.release_.generator
    counts = drawn.groupby("who").size().to_numpy().copy()
    expected = made.sizes * 3000
    assert np.abs(np.bincount(SIZES.cell(torch.from_numpy(counts)), minlength=len(SIZES)) - expected.numpy()).max() <= 1
    assert all(low < high for low, high in pairwise(SIZES.edges.tolist()))
