"""Rules, parents and keys: they hold in every record drawn, whatever the noise; what contradicts them is told."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sinkgen import (
    Column,
    DPSinkhornGenerator,
    FixedCombinations,
    Inequality,
    Never,
    Schema,
    Sum,
    Within,
    sources,
)
from sinkgen.data.limits import Box, linked
from sinkgen.data.patterns import Pattern
from sinkgen.data.table import Rows, table_format
from sinkgen.denoise.search import Numbers
from sinkgen.training.tables import ascent, field, tabular

N = 400


@pytest.fixture(scope="module", autouse=True)
def quick_fit():
    """Public fits of few steps: how well they fit does not matter here."""
    mixture, fields = tabular.TabularSettings, field.FieldSettings
    quick = {"members": 1, "components": 8, "steps": 30, "refinement_steps": 5}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tabular, "TabularSettings", lambda **own: mixture(**{**own, **quick}))
        patch.setattr(
            field, "FieldSettings", lambda shares, sweeps, *more, **own: fields(shares, min(sweeps, 4), *more, **own)
        )
        patch.setattr(ascent, "POPULATION", 1000)
        yield


def make_frame(seed=0, n=N):
    """A table whose records break every rule now and then."""
    random = np.random.default_rng(seed)
    start = pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 300, n), unit="D")
    frame = pd.DataFrame(
        {
            "id": [f"{i:05d}" for i in range(n)],
            "start": start,
            "end": start + pd.to_timedelta(random.integers(-20, 40, n), unit="D"),
            "rent": random.integers(0, 50, n),
            "food": random.integers(0, 20, n),
            "total": random.integers(0, 99, n),
            "city": random.choice(["Lyon", "Rome", "Nice"], n),
            "state": random.choice(["F", "I"], n),
            "sex": random.choice(["m", "f"], n),
            "pregnant": random.choice(["yes", "no", None], n),
            "school": random.choice(["primary", "secondary", "none"], n),
            "age": random.normal(20, 20, n),
        }
    )
    frame.loc[: n // 10, "start"] = pd.NaT
    frame.loc[n // 20 : n // 8, "end"] = pd.NaT
    return frame


DATES = Column(bounds=("2020-01-01", "2021-06-30"), nullable=True, step=86400)
COLUMNS = {
    "id": Column(pattern="[0-9]{5}", unique=True),
    "start": DATES,
    "end": DATES,
    "rent": (0, 50),
    "food": (0, 20),
    "sex": ["m", "f"],
    "pregnant": Column(values=("yes", "no"), nullable=True),
    "school": ["primary", "secondary", "none"],
    "age": (-50, 100),
}
CITIES = [["Lyon", "F"], ["Rome", "I"], ["Nice", "F"]]
RULES = [
    Inequality("start", "end"),
    Sum("total", ["rent", "food"]),
    FixedCombinations(["city", "state"], CITIES),
    Never({"sex": "m", "pregnant": "yes"}),
    Within("age", given="school", bounds={"primary": (5, 12), "secondary": (10, None)}),
]
ABOUT_LABELS = [Never({"y": "b", "school": ["primary"]}), Never({"y": "a", "age": (50, 200), "sex": "m"})]


def broken(frame, y=None):
    """How many records break each rule; told here in other words than the package's."""
    found = {
        "order": (frame["end"] < frame["start"]).sum(),
        "sum": (frame["total"] != frame["rent"] + frame["food"]).sum(),
        "city": (~frame[["city", "state"]].apply(list, axis=1).isin(CITIES)).sum(),
        "never": ((frame["sex"] == "m") & (frame["pregnant"] == "yes")).sum(),
        "primary": ((frame["school"] == "primary") & ~frame["age"].between(5, 12)).sum(),
        "secondary": ((frame["school"] == "secondary") & (frame["age"] < 10)).sum(),
        "id": frame["id"].duplicated().sum() + (~frame["id"].str.fullmatch("[0-9]{5}")).sum(),
    }
    if y is not None:
        found["label"] = ((y == "b") & (frame["school"] == "primary")).sum()
        found["label, age"] = ((y == "a") & (frame["age"] >= 50) & (frame["sex"] == "m")).sum()
    return {rule: int(n) for rule, n in found.items() if n}


def fitted(frame, y=None, *, epsilon=3, rules=RULES, columns=COLUMNS, **parameters):
    classes = None if y is None else ["a", "b"]
    gen = DPSinkhornGenerator(epsilon, schema=Schema(columns, rules), random_state=0, classes=classes, **parameters)
    return gen.fit(frame, y)


@pytest.fixture(scope="module")
def plain():
    return fitted(make_frame())


@pytest.fixture(scope="module")
def labelled():
    frame = make_frame()
    y = np.random.default_rng(0).choice(["a", "b"], N)
    return fitted(frame, y, rules=[*RULES, *ABOUT_LABELS])


@pytest.mark.filterwarnings("ignore::sinkgen.PoorFitWarning")
class TestDraws:
    def test_no_record_breaks_a_rule(self, plain):
        frame = make_frame()
        assert len(broken(frame)) == 6  # the real ones do, all but keys
        drawn = plain.sample(3000, random_state=0)
        assert not broken(drawn)
        assert list(drawn.columns) == list(frame.columns)
        assert drawn.dtypes.equals(frame.dtypes)

    def test_nor_with_labels_in_rules(self, labelled):
        X, y = labelled.sample(2000, random_state=0)
        assert not broken(X, y)
        wanted = ["b"] * 300 + ["a"] * 100
        X, y = labelled.sample(y=wanted, random_state=0)
        assert y.tolist() == wanted
        assert not broken(X, y)

    @pytest.mark.parametrize("conditions", [
        {"pregnant": "yes"},
        {"sex": "m", "age": (0, 9)},
        {"end": ("2020-03-01", "2020-04-30")},
        {"total": (60, 70)},
        {"state": "F", "school": "primary"},
        {"pregnant": None},
    ])  # fmt: skip
    def test_nor_under_conditions_which_hold(self, plain, labelled, conditions):
        X, y = labelled.sample(150, conditions=conditions, random_state=0)
        assert not broken(X, y)
        drawn = plain.sample(150, conditions=conditions, random_state=0)
        assert not broken(drawn)
        for name, wanted in conditions.items():
            for frame in (X, drawn):
                cells = frame[name]
                is_range = isinstance(wanted, tuple)
                meets = cells.isna() if wanted is None else cells.between(*wanted) if is_range else cells == wanted
                assert meets.all(), name

    def test_labels_are_as_likely_as_what_meets_the_conditions_makes_them(self):
        random = np.random.default_rng(0)
        X = pd.DataFrame({"start": random.integers(0, 60, 4000)}).assign(
            end=lambda of: of.start + random.poisson(5, 4000)
        )
        y = np.where(X.start > 40, "late", "early")
        schema = Schema({"start": (0, 60), "end": (0, 90)}, rules=[Inequality("start", "end")])
        gen = DPSinkhornGenerator(10, schema=schema, classes=["early", "late"], random_state=0).fit(X, y)
        drawn, labels = gen.sample(500, conditions={"end": (60, 80)}, random_state=0)
        assert drawn["end"].between(60, 80).all()
        assert (labels == "late").mean() > 0.9  # of all, a third is

    def test_a_label_that_conditions_rule_out_does_not_come(self, labelled):
        _, y = labelled.sample(200, conditions={"school": "primary"}, random_state=0)
        assert set(y) == {"a"}
        with pytest.raises(ValueError, match="labels that, by the rules, do not go with the conditions"):
            labelled.sample(y=["b"], conditions={"school": "primary"})

    @pytest.mark.parametrize(("conditions", "rule"), [
        ({"sex": "m", "pregnant": "yes"}, "Never"),
        ({"school": "primary", "age": (20, 30)}, "Within"),
        ({"city": "Lyon", "state": "I"}, "combinations of 'city', 'state'"),
        ({"start": ("2021-01-01", "2021-02-01"), "end": ("2020-01-01", "2020-06-01")}, "Inequality"),
        ({"rent": (0, 5), "total": (60, 70)}, "Sum"),
    ])  # fmt: skip
    def test_conditions_that_contradict_a_rule_are_told(self, plain, conditions, rule):
        with pytest.raises(ValueError, match=f"conditions contradict .*{rule}"):
            plain.sample(3, conditions=conditions)

    def test_a_condition_on_a_key_is_told(self, plain):
        with pytest.raises(ValueError, match="holds keys"):
            plain.sample(3, conditions={"id": "00001"})

    def test_saved_models_keep_them(self, labelled, tmp_path):
        labelled.save(tmp_path)
        again = DPSinkhornGenerator.load(tmp_path)
        X, y = again.sample(500, random_state=3)
        assert not broken(X, y)
        pd.testing.assert_frame_equal(X, labelled.sample(500, random_state=3)[0])
        assert again.release_.form.arrangement.rules == tuple([*RULES, *ABOUT_LABELS])

    def test_parts_of_a_large_draw_keep_them_and_keys_do_not_come_twice(self, plain, tmp_path):
        plain.sample_to_parquet(tmp_path, 2000, partition_size=600, random_state=0)
        drawn = pd.read_parquet(tmp_path)
        assert len(drawn) == 2000
        assert not broken(drawn)

    def test_answers_are_about_the_columns_that_were_counted(self, plain):
        assert plain.release_.histogram("school").columns == ("school",)
        assert [cell for cell in plain.release_.histogram("sex").cells[0]] == ["m", "f"]
        with pytest.raises(ValueError, match="columns must be different ones of"):
            plain.release_.histogram("end")

    def test_keys_that_are_used_up(self, plain):
        with pytest.raises(ValueError, match="its pattern has 100000 keys, and 100001 were asked for"):
            plain.sample(100_001)


# --- Any rules -------------------------------------------------------------------------------------------------------

NUMBERS, WORDS = ("p", "q", "r"), ("u", "v", "w")


@st.composite
def rule_sets(draw):
    """Rules of random columns that do not contradict each other by their names."""
    rules, free = [], list(NUMBERS)
    if draw(st.booleans()):
        rules.append(Inequality("p", "q"))
        free = ["p", "r"]
    elif draw(st.booleans()):
        rules.append(Sum("r", ["p", "q"]))
        free = ["p", "q"]
    values = st.sampled_from(["a", "b", "c"])
    for _ in range(draw(st.integers(0, 3))):
        names = draw(st.lists(st.sampled_from(WORDS), min_size=2, max_size=3, unique=True))
        conditions = {name: draw(st.lists(values, min_size=1, max_size=2, unique=True)) for name in names}
        if draw(st.booleans()):
            low = draw(st.integers(-5, 20))
            conditions[draw(st.sampled_from(free))] = (low, low + draw(st.integers(0, 9)))
        rules.append(Never(conditions))
    if draw(st.booleans()):
        bounds = {
            value: (draw(st.integers(0, 6)), draw(st.integers(6, 12))) for value in draw(st.sets(values, min_size=1))
        }
        rules.append(Within(draw(st.sampled_from(free)), draw(st.sampled_from(WORDS)), bounds))
    return rules


def breaks(rule, row):
    """Whether a record breaks a rule, told one cell after the other."""
    if isinstance(rule, Inequality):
        return row[rule.low] > row[rule.high]
    if isinstance(rule, Sum):
        return row[rule.total] != sum(row[part] for part in rule.parts)
    if isinstance(rule, Within):
        low, high = dict(rule.bounds).get(row[rule.given], (-np.inf, np.inf))
        return not low <= row[rule.column] <= high
    return all(
        wanted[0] <= row[name] <= wanted[1] if name in NUMBERS else row[name] in wanted
        for name, wanted in rule.conditions
    )


def test_a_rule_on_a_column_called_y_is_not_one_on_the_labels():
    random = np.random.default_rng(0)
    frame = pd.DataFrame({name: random.choice(["a", "b"], 300) for name in ("y", "other")})
    labels = random.choice(["a", "b"], 300)
    rules = [Never({"y": "a", "other": "a"}), Never({"y_": "a", "other": "b"})]
    schema = Schema({"y": ["a", "b"], "other": ["a", "b"]}, rules)
    X, y = DPSinkhornGenerator(5, schema=schema, classes=["a", "b"]).fit(frame, labels).sample(500, random_state=0)
    assert set(X["y"] + X["other"]) == {"ab", "ba", "bb"}
    assert set(y + X["other"]) == {"aa", "ba", "bb"}


@pytest.mark.filterwarnings("ignore::sinkgen.PoorFitWarning")
@settings(max_examples=12, deadline=None)
@given(rules=rule_sets(), seed=st.integers(0, 99), has_labels=st.booleans(), is_whole=st.booleans())
def test_any_rules_hold_in_any_table(rules, seed, has_labels, is_whole):
    random = np.random.default_rng(seed)
    numbers = {name: random.integers(-5, 20, 120).astype(int if is_whole else float) for name in NUMBERS}
    frame = pd.DataFrame(numbers | {name: random.choice(["a", "b", "c"], 120) for name in WORDS})
    columns = {name: (-5, 20) for name in NUMBERS if not (name == "r" and any(isinstance(r, Sum) for r in rules))}
    columns |= {name: ["a", "b", "c"] for name in WORDS}
    classes = [0, 1] if has_labels else None
    gen = DPSinkhornGenerator(0.05, schema=Schema(columns, rules), random_state=seed, classes=classes)
    try:
        drawn = gen.fit(frame, random.integers(0, 2, 120) if has_labels else None).sample(200, random_state=seed)
    except ValueError as error:
        assert "leave no record possible" in str(error)  # noqa: PT017
        return
    X = drawn[0] if has_labels else drawn
    assert not [rule for rule in rules if X.apply(lambda row, rule=rule: breaks(rule, row), axis=1).any()]


@given(
    masks=st.lists(st.tuples(*[st.lists(st.booleans(), min_size=3, max_size=3)] * 3), min_size=1, max_size=4),
    seed=st.integers(0, 9),
)
@settings(max_examples=40, deadline=None)
def test_the_nearest_allowed_record_is_allowed_and_allowed_ones_stay(masks, seed):
    boxes = [Box({j: torch.tensor(own) for j, own in enumerate(mask)}, "rule") for mask in masks]
    try:
        (limits,) = linked(boxes, [3, 3, 3])
    except ValueError:
        return
    cells = torch.cartesian_prod(*[torch.arange(3)] * 3).T
    forbidden = [any(all(box.states[j][c] for j, c in enumerate(cell)) for box in boxes) for cell in cells.T]
    assert limits.broken(cells).tolist() == forbidden
    states = [torch.arange(3)] * 3
    mended = limits.nearest(cells, states, [3, 0, 0], 2)
    assert not limits.broken(mended).any()
    assert torch.equal(mended[:, ~torch.tensor(forbidden)], cells[:, ~torch.tensor(forbidden)])
    assert torch.equal(mended[2], cells[2])  # the label
    # Each record on its own, whatever the others are.
    order = torch.randperm(27, generator=torch.Generator().manual_seed(seed))[:5]
    assert torch.equal(limits.nearest(cells[:, order], states, [3, 0, 0], 2), mended[:, order])
    logits = [torch.randn(50, 3, generator=torch.Generator().manual_seed(seed)) for _ in range(3)]
    drawn = limits.draw(logits, torch.Generator().manual_seed(seed))
    assert not limits.broken(drawn).any()


def test_linked_columns_are_drawn_in_proportion():
    limits = linked([Box({0: torch.tensor([True, False]), 1: torch.tensor([True, False])}, "rule")], [2, 2])[0]
    logits = [torch.tensor([0.6, 0.4]).log().expand(20_000, 2), torch.tensor([0.5, 0.5]).log().expand(20_000, 2)]
    drawn = limits.draw(logits, torch.Generator().manual_seed(0))
    counts = torch.bincount(drawn[0] * 2 + drawn[1], minlength=4) / 20_000
    assert counts.tolist() == pytest.approx([0, 0.3 / 0.7, 0.2 / 0.7, 0.2 / 0.7], abs=0.02)


# --- Declarations ----------------------------------------------------------------------------------------------------


def test_json_and_back():
    schema = Schema(COLUMNS, [*RULES, *ABOUT_LABELS])
    assert Schema.from_json(schema.to_json()) == schema
    assert json.loads(schema.to_json())["rules"][0] == {"rule": "Inequality", "low": "start", "high": "end"}
    assert Schema.from_json(schema.to_json()) != Schema(COLUMNS)


@pytest.mark.parametrize(("rules", "message"), [
    ([Inequality("start", "ende")], "names columns that X lacks"),
    ([Inequality("sex", "end")], "'sex' must be a column of numbers or dates"),
    ([Inequality("rent", "end")], "both must be numbers, or both dates"),
    ([Inequality("rent", "food"), Inequality("food", "rent")], "round in a circle"),
    ([Sum("total", ["rent", "food"]), Inequality("rent", "total")], "made of others by two rules"),
    ([Sum("rent", ["total", "start"])], "dates have no sum"),
    ([Sum("rent", ["total", "age"])], "holds whole numbers, and so must its parts"),
    ([Inequality("start", "end"), Within("end", "school", {"none": (0, 1)})], "another rule makes of others"),
    ([FixedCombinations(["city", "state"]), FixedCombinations(["city", "sex"])], "combined with others twice"),
    ([FixedCombinations(["city", "start"])], "dates cannot be combined"),
    ([Never({"id": "1", "sex": "m"})], "is a key"),
    ([Never({"sex": "male", "pregnant": "yes"})], "'sex' is declared to be one of"),
    ([Never({"sex": ["m", "f"], "school": ["primary", "secondary", "none"]})], "leave no record possible"),
    ([Never({"sex": "m", "age": "old"})], "must be numbers or dates"),
    ([Within("age", "rent", {1: (0, 1)})], "must be a column of categories"),
    ([Never({"sex": "m", "y": "rich"})], "names columns that X lacks"),
])  # fmt: skip
def test_rules_that_do_not_fit_are_told_before_anything_is_spent(rules, message):
    gen = DPSinkhornGenerator(schema=Schema(COLUMNS, rules))
    with pytest.raises((TypeError, ValueError), match=message):
        gen.fit(make_frame())
    assert not hasattr(gen, "release_")


@pytest.mark.parametrize(("rule", "message"), [
    (lambda: Inequality("a", "a"), "distinct"),
    (lambda: Sum("a", ["b"]), "at least two"),
    (lambda: Sum("a", "bc"), "must be a list"),
    (lambda: FixedCombinations(["a", "b"], [["x"]]), "2 values each"),
    (lambda: Within("a", "b", {}), "at least one category"),
    (lambda: Never({"a": 1}), "at least two columns"),
    (lambda: Schema({}, [{"rule": "Order", "low": "a"}]), "a rule must be one of Inequality"),
    (lambda: Schema({}, [{"rule": "Inequality", "low": "a"}]), "missing 1 required"),
    (lambda: Schema({}, {"rule": "Inequality"}), "must be a list of rules"),
    (lambda: Column(unique=True), "declare their pattern"),
    (lambda: Column(pattern="a", values=("a",)), "leave out values"),
    (lambda: Column(parent="a", values=("a",)), "leave out values"),
])  # fmt: skip
def test_declarations_that_are_none(rule, message):
    with pytest.raises((TypeError, ValueError), match=message):
        rule()


def test_bounds_that_a_rule_narrows():
    frame = pd.DataFrame({"a": [1.0, 9.0], "b": [2.0, 3.0]})
    form = table_format(frame, Schema({"a": (0, 10), "b": (0, 5)}, [Inequality("a", "b")]))
    assert [column.bounds for column in form.columns] == [(0, 5), (0, 5)]
    with pytest.raises(ValueError, match="always lies above"):
        table_format(frame, Schema({"a": (6, 10), "b": (0, 5)}, [Inequality("a", "b")]))
    with pytest.raises(ValueError, match="can add up to less or more"):
        table_format(frame.assign(c=1.0), Schema({"a": (0, 10), "b": (0, 5), "c": (0, 9)}, [Sum("c", ["a", "b"])]))


def test_what_lies_between_two_dates_is_counted_in_days_if_it_may_be():
    days = pd.date_range("2024-01-01", periods=3)
    form = table_format(pd.DataFrame({"a": days, "b": days}), Schema({}, [Inequality("a", "b")]))
    assert {Numbers.of(None, column.kind).grains[0] for column in form.columns} == {86400.0}


@pytest.mark.filterwarnings("ignore::sinkgen.PoorFitWarning")
def test_chains_and_several_that_one_is_above():
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(300, 4)), columns=list("abcd"))
    rules = [Inequality("a", "b"), Inequality("b", "d"), Inequality("c", "d")]
    drawn = DPSinkhornGenerator(schema=Schema(dict.fromkeys("abcd", (-3, 3)), rules)).fit(frame).sample(500)
    assert (drawn["a"] <= drawn["b"]).all()
    assert (drawn[["b", "c"]].max(axis=1) <= drawn["d"]).all()
    assert drawn.max().max() <= 3


@pytest.mark.filterwarnings("ignore::sinkgen.PoorFitWarning")
@pytest.mark.parametrize("above", [False, True])
def test_a_rule_keeps_midnights_and_whole_numbers(above):
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"age": random.integers(17, 90, 2000), "price": random.gamma(2, 20, 2000).round(2)})
    frame["start"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 700, 2000), unit="D")
    frame["end"] = frame["start"] + pd.to_timedelta(random.integers(0, 30, 2000), unit="D")
    schema = Schema({}, [Inequality("start", "end")] if above else [])
    drawn = DPSinkhornGenerator(3, schema=schema).fit(frame).sample(500)
    for name in ("start", "end"):
        assert (drawn[name] == drawn[name].dt.normalize()).all()
    assert np.allclose(drawn["price"], drawn["price"].round(2))


@pytest.mark.filterwarnings("ignore::sinkgen.PoorFitWarning")
def test_whole_numbers_above_what_is_mostly_missing():
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"low": np.where(random.random(400) < 0.95, np.nan, 3.0), "high": random.integers(5, 9, 400)})
    gen = DPSinkhornGenerator(3, schema=Schema({}, [Inequality("low", "high")])).fit(frame)
    assert gen.sample(1)["high"].dtype == "int64"


# --- Parents ---------------------------------------------------------------------------------------------------------


def make_places(n_states=6, n_zips=60, n=6000):
    random = np.random.default_rng(0)
    zips = random.zipf(1.3, n) % n_zips
    frame = pd.DataFrame({"state": [f"S{z % n_states}" for z in zips], "zip": [f"{z:05d}" for z in zips]})
    frame["price"] = np.where(frame["state"] == "S1", 5.0, 1.0) + random.normal(size=n) / 4
    return frame


@pytest.mark.filterwarnings("ignore::sinkgen.PoorFitWarning")
@pytest.mark.parametrize("is_listed", [False, True])
@pytest.mark.parametrize("has_labels", [False, True])
def test_categories_stay_in_their_parent_and_only_this_is_modelled(is_listed, has_labels):
    frame = make_places()
    pairs = frame[["state", "zip"]].drop_duplicates().to_numpy().tolist()
    rules = [FixedCombinations(["zip", "state"], [row[::-1] for row in pairs])] if is_listed else []
    schema = Schema({"zip": Column(parent="state"), "price": (0, 8)}, rules)
    y = np.random.default_rng(0).integers(0, 2, len(frame)) if has_labels else None
    gen = DPSinkhornGenerator(epsilon=5, schema=schema, random_state=0, classes=[0, 1] if has_labels else None)
    drawn = gen.fit(frame, y).sample(2000, random_state=0)
    drawn = drawn[0] if has_labels else drawn
    known = drawn[drawn["zip"] != "other"]
    assert len(known) > 1500
    assert is_listed is False or len(known) == len(drawn)
    assert known[["state", "zip"]].apply(list, axis=1).isin(pairs).all()
    expected = frame["zip"].value_counts(normalize=True)
    assert drawn["zip"].value_counts(normalize=True)[expected.index[:5]].to_numpy() == pytest.approx(
        expected[:5].to_numpy(), abs=0.05
    )
    assert drawn.groupby("state")["price"].mean()["S1"] > 3
    zips = gen.sample(50, conditions={"zip": expected.index[1]}, random_state=0)
    zips = zips[0] if has_labels else zips
    assert set(zips["state"]) == {frame.loc[frame["zip"] == expected.index[1], "state"].iloc[0]}
    assert sum(gen.release_.form.widths) < 60


@pytest.mark.filterwarnings("ignore::sinkgen.PoorFitWarning")
@pytest.mark.parametrize("is_nested", [False, True])
def test_frequencies_of_many_codes_are_not_those_of_the_noise(is_nested):
    frame = make_places(n_zips=1000)
    pairs = [[f"S{z % 6}", f"{z:05d}"] for z in range(1000)]
    listed = Schema({"zip": Column(parent="state"), "price": (0, 8)}, [FixedCombinations(["state", "zip"], pairs)])
    flat = Schema({"state": sorted({s for s, _ in pairs}), "zip": [z for _, z in pairs], "price": (0, 8)})
    drawn = DPSinkhornGenerator(1, schema=listed if is_nested else flat, random_state=0).fit(frame).sample(6000)
    shares = [part["zip"].value_counts(normalize=True) for part in (frame, drawn)]
    # 1,000 counts of noise alone, cut off at 0, would be more than all records: .7 and more.
    assert 0.5 * shares[0].subtract(shares[1], fill_value=0).abs().sum() < 0.4


@pytest.mark.filterwarnings("ignore::sinkgen.PoorFitWarning", "ignore::sinkgen.exceptions.ReproducibleNoiseWarning")
def test_chunks_and_memory_give_the_same(tmp_path):
    frame = make_frame(n=9000)
    frame.to_parquet(tmp_path / "part.parquet", row_group_size=2500)
    whole, parts = (fitted(data, noise_seed=0) for data in (frame, sources.parquet(tmp_path / "part.parquet")))
    pd.testing.assert_frame_equal(whole.sample(50, random_state=0), parts.sample(50, random_state=0), check_dtype=False)


def test_parents_of_parents_are_one_family():
    frame = pd.DataFrame({"zip": ["a", "b"], "county": ["c", "d"], "state": ["e", "e"], "x": [1.0, 2.0]})
    schema = Schema({"zip": Column(parent="county"), "county": Column(parent="state"), "x": (0, 3)})
    assert [column.name for column in table_format(frame, schema).columns] == ["state and zip and county", "x"]
    loop = Schema({"zip": Column(parent="county"), "county": Column(parent="zip")})
    with pytest.raises(ValueError, match="each other's parents"):
        table_format(frame, loop)
    with pytest.raises(TypeError, match="must be one of categories"):
        table_format(frame, Schema({"x": Column(parent="zip")}))


# --- Keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("expression", "size", "example"), [
    ("C[0-9]{3}", 1000, "C012"),
    (r"\d{2}\.[A-CX]", 400, "42.X"),
    ("(AB|CD)-[0-9a-f]{2}", 512, "CD-0a"),
    ("[a\\]-]x", 3, "]x"),
])  # fmt: skip
def test_patterns(expression, size, example):
    import re

    pattern = Pattern.of(expression)
    texts = pattern.texts(np.arange(size))
    assert pattern.size == size == len(set(texts))
    assert example in texts
    assert all(re.fullmatch(expression, text) for text in texts)


@pytest.mark.parametrize(("expression", "what"), [
    ("a*", "repetition without end"), ("a+", "repetition without end"), ("a?", "an optional part"),
    ("a{1,3}", r"a repetition other than \{n\}"), ("a{0}", "a repetition other"), (".", "any character"),
    ("^a", "an anchor"), ("a|b", "alternatives without parentheses"), ("(a|bc)", "alternatives of different lengths"),
    ("(a[0-9])", "a group of anything but"), (r"\w", r"\\w"), ("[^a]", "all but some"),
    ("[a", "not closed"),
    ("(a", "not closed"), ("[]", "an empty class"), ("[b-a]", "ends before it begins"),
    ("{2}", "repetition of nothing"), ("", "must not be empty"), ("a\\", "a backslash at its end"),
    ("a]", "was not opened"),
])  # fmt: skip
def test_patterns_that_are_not_supported_are_told_by_name(expression, what):
    with pytest.raises(ValueError, match=what):
        Column(pattern=expression)


@given(seed=st.integers(0, 2**32), n=st.integers(1, 60))
@settings(max_examples=30, deadline=None)
def test_keys_are_unique_through_the_parts_of_a_draw(seed, n):
    frame = pd.DataFrame({"id": ["00"], "x": [1.0]})
    form = table_format(frame, Schema({"id": Column(pattern="[0-9]{2}", unique=True), "x": (0, 1)}))
    (key, _) = form.own_columns
    parts = [key.draw(n, [seed], start) for start in (0, n) if start + n <= 100]
    drawn = pd.concat(parts)
    assert drawn.is_unique
    assert drawn.str.fullmatch("[0-9]{2}").all()


def test_keys_without_end_and_of_numbers():
    frame = pd.DataFrame({"id": [7], "token": ["x"], "x": [1.0]})
    columns = {"id": Column(pattern="[1-9][0-9]{3}", unique=True), "token": Column(pattern="[a-z0-9]{40}", unique=True)}
    number, token, _ = table_format(frame, Schema(columns)).own_columns
    assert number.draw(9000, [0]).is_unique
    assert number.draw(9000, [0]).between(1000, 9999).all()
    assert token.draw(500, [0]).is_unique
    assert token.draw(500, [0]).str.len().eq(40).all()
    with pytest.raises(TypeError, match="cannot hold keys such as 'C0'"):
        table_format(frame, Schema({"id": Column(pattern="C[0-9]")}))


@pytest.mark.filterwarnings("ignore::sinkgen.PoorFitWarning")
def test_keys_and_dropped_columns_cost_nothing_and_are_not_looked_at():
    frame = pd.DataFrame({"id": [[1], {}, None] * 100, "note": [object()] * 300, "x": np.linspace(0, 1, 300)})
    schema = Schema({"id": Column(pattern="A[0-9]{4}"), "note": Column(drop=True), "x": (0, 1)})
    assert [check.name for check in schema.validate(frame).columns] == ["x"]
    gen = DPSinkhornGenerator(schema=schema, random_state=0).fit(frame)
    drawn = gen.sample(200, random_state=0)
    assert list(drawn.columns) == ["id", "x"]
    assert drawn["id"].str.fullmatch("A[0-9]{4}").all()
    alone = DPSinkhornGenerator(schema={"x": (0, 1)}).fit(frame[["x"]]).privacy_spent()
    assert [row.what for row in alone.releases] == [row.what for row in gen.privacy_spent().releases]
    assert gen.sample(200, random_state=0).equals(drawn)


def test_nothing_is_left_to_be_modelled():
    frame = pd.DataFrame({"a": [1.0, 2.0], "id": ["C1", "C2"]})
    for key in (Column(drop=True), Column(pattern="C[0-9]")):
        with pytest.raises(ValueError, match="no column to be modelled"):
            DPSinkhornGenerator(schema={"a": Column(drop=True), "id": key}).fit(frame)


def test_text_that_is_nearly_all_different_is_told_to_be_a_key():
    frame = pd.DataFrame({"name": [f"n{i}" for i in range(600)], "x": np.linspace(0, 1, 600)})
    with pytest.warns(UserWarning, match=r"of 'name' are other: .* if it holds keys, their pattern.* or drop=True"):
        DPSinkhornGenerator(epsilon=1, schema={"x": (0, 1)}, noise_seed=None).fit(frame)


# --- Records that break rules ----------------------------------------------------------------------------------------


def test_records_that_break_rules_count_as_the_nearest_that_do_not():
    frame = pd.DataFrame({
        "start": [5.0, 5.0], "end": [3.0, 9.0], "city": ["Lyon", "Rome"], "state": ["I", "I"],
        "school": ["primary", "primary"], "age": [40.0, 7.0], "sex": ["m", "f"], "pregnant": ["yes", "yes"],
    })  # fmt: skip
    columns = {
        "start": Column(edges=(0, 5, 10)), "age": Column(edges=(0, 20, 60)), "school": ["primary", "secondary", "none"],
        "sex": ["m", "f"], "pregnant": ["yes", "no"],
    }  # fmt: skip
    form = table_format(frame, Schema({**columns, "end": (0, 10)}, RULES[:1] + RULES[2:])).completed(None)
    rows = form.arrange(Rows(frame))
    assert rows.frame["end - start"].tolist() == [0, 4]
    names = [column.name for column in form.columns]
    form = form.with_columns(c.with_cells([0, 5, 10]) if c.name == "end - start" else c for c in form.columns)
    cells = form.obeying(form.encode(Rows(frame)), torch.zeros(2, dtype=torch.long))
    assert cells[:, names.index("city and state")].tolist() == [0, 1]  # Lyon is in F
    assert cells[:, names.index("pregnant")].tolist() == [-1, 0]  # counts for nothing
    age = form.columns[names.index("age")]
    assert [age.edges[cell] < 12 for cell in cells[:, names.index("age")].tolist()] == [True, True]
    assert age.edges[int(cells[0, names.index("age")]) + 1] == pytest.approx(12)


@pytest.mark.filterwarnings("ignore::sinkgen.PoorFitWarning")
def test_rules_in_files_of_the_command_line(tmp_path):
    from sinkgen.cli.private import read_private

    frame = make_frame().assign(label=np.random.default_rng(0).choice(["a", "b"], N))
    frame.to_csv(tmp_path / "data.csv", index=False)
    rules = [*RULES, *(rule.renamed({"y": "label"}) for rule in ABOUT_LABELS)]
    whole = {name: Column("integer", COLUMNS[name]) for name in ("rent", "food")}
    schema = Schema({**COLUMNS, **whole, "label": ["a", "b"]}, rules)
    (tmp_path / "schema.json").write_text(schema.to_json())
    private = read_private(tmp_path / "data.csv", tmp_path / "schema.json", "label", None)
    assert private.X["id"].tolist() == frame["id"].tolist()  # text, though it looks like numbers
    gen = DPSinkhornGenerator(3, schema=private.schema, classes=private.classes, random_state=0)
    X, y = gen.fit(private.X, private.y).sample(300, random_state=0)
    assert not broken(X, y)
