"""Rules that records break: counted in a fit, shown by who validates, and told."""

import numpy as np
import pandas as pd
import pytest

from sinkgen import (
    Column,
    DPSinkhornGenerator,
    FixedCombinations,
    Inequality,
    Never,
    Schema,
    Sum,
    Within,
    audit,
    plan,
)
from sinkgen.data.breaking import broken
from sinkgen.data.table import Rows, table_format
from sinkgen.exceptions import PoorFitWarning

FRAME = pd.DataFrame({
    "low": [1.0, 5.0, np.nan, 2.0], "high": [2.0, 4.0, 1.0, 2.0], "sum": [3.0, 9.0, 1.0, 5.0],
    "sex": ["m", "f", "m", None], "sick": ["yes", "yes", "no", "yes"], "city": ["Lyon", "Rome", "Rome", None],
})  # fmt: skip
PLACES = [["m", "Lyon"], ["f", "Rome"]]


@pytest.mark.parametrize(("rule", "places"), [
    (Inequality("low", "high"), [1]),
    (Sum("sum", ["low", "high"]), [3]),  # of what is missing it says nothing
    (Never({"sex": "m", "sick": "yes"}), [0]),
    (Never({"sex": None, "sick": "yes"}), [3]),
    (Within("high", given="sex", bounds={"m": (0, 1), "f": (4, None)}), [0]),
    (FixedCombinations(["sex", "city"], PLACES), [2, 3]),
    (FixedCombinations(["sex", "city"], [*PLACES, [None, None]]), [2]),
    (FixedCombinations(["sex", "city"]), []),
    (Never({"y": "b", "sex": "m"}), [2]),
])  # fmt: skip
def test_records_that_break_a_rule(rule, places):
    columns = table_format(FRAME, {}).own_columns
    found = broken(rule, FRAME, columns, "y", np.array(["a", "a", "b", "b"]))
    assert np.flatnonzero(found).tolist() == places


def test_whoever_holds_the_records_sees_how_many_break_a_rule():
    schema = Schema({}, rules=[Inequality("low", "high"), Inequality("low", "sum"), Never({"y": 1, "sex": "m"})])
    check = schema.validate(FRAME)
    assert [n for _, n in check.rules] == [1, 0]
    assert not check.fits
    assert "Inequality(low='low', high='high'): 1 records BREAK it" in str(check)
    assert Schema({}, rules=[Inequality("low", "sum")]).validate(FRAME).fits


def people(n=2000):
    random = np.random.default_rng(0)
    low = random.integers(0, 90, n)
    return pd.DataFrame({"a": low, "b": low - 5, "sex": random.choice(["m", "f"], n), "sick": random.choice([0, 1], n)})


@pytest.mark.parametrize(("rule", "told"), [
    (Inequality("a", "b"), "about .*% of the records break the rule Inequality of a, b, and count as if"),
    (Never({"sex": "male", "sick": 1}), r"Never of sex, sick names \['male'\], and no such value of 'sex' stands out"),
    (FixedCombinations(["sex", "sick"], [["m", 0], ["f", 0]]), "break the rule FixedCombinations of sex, sick"),
])  # fmt: skip
def test_it_is_told_of_rules_that_records_break_and_of_values_that_none_has(rule, told):
    gen = DPSinkhornGenerator(3, schema=Schema({}, rules=[rule]), random_state=0)
    with pytest.warns(PoorFitWarning, match=told):
        gen.fit(people())


def test_nothing_is_told_of_rules_that_hold():
    rules = [Inequality("b", "a"), Never({"sex": "m", "sick": 2})]
    gen = DPSinkhornGenerator(3, schema=Schema({"sick": [0, 1, 2], "sex": ["m", "f"]}, rules=rules), random_state=0)
    assert not [remark for remark in gen.fit(people()).schema_.remarks if "rule" in remark]
    assert "outside" in {row.what for row in gen.privacy_spent().releases}


def test_a_column_within_another_of_which_nearly_all_is_other_is_told_by_its_name():
    random = np.random.default_rng(0)
    state = random.choice(["S", "T"], 1500)
    X = pd.DataFrame(
        {"state": state, "zip": [f"{s}{z}" for s, z in zip(state, random.integers(0, 300, 1500), strict=True)]}
    )
    schema = Schema({"zip": Column(parent="state")})
    with pytest.warns(PoorFitWarning, match="% of 'zip' are other, of which too few stand out"):
        gen = DPSinkhornGenerator(1, schema=schema, random_state=0).fit(X)
    assert gen.schema_["state and zip"].other > 0.5
    assert audit(DPSinkhornGenerator(1, schema=schema), X, fits=8).holds
    assert "zip" in str(plan(Schema({"state": ["S", "T"], "zip": Column(parent="state")}), 2000, 1))


def test_totals_of_few_bits_do_not_begin_again():
    random = np.random.default_rng(0)
    X = pd.DataFrame({name: random.integers(0, 128, 2000).astype("uint8") for name in "ab"}).assign(
        t=lambda of: of.a + of.b
    )
    drawn = DPSinkhornGenerator(1, schema=Schema({}, rules=[Sum("t", ["a", "b"])]), random_state=0).fit(X).sample(3000)
    assert (drawn["t"].astype(int) == drawn["a"].astype(int) + drawn["b"].astype(int)).all()


def test_rows_of_labels_count_as_well():
    form = table_format(people(), Schema({}, rules=[Never({"y": "u", "sex": "m"})]), label="y")
    found = form.broken(Rows(people()), np.full(2000, "u"))
    assert found[:, 0].tolist() == (people()["sex"] == "m").tolist()
