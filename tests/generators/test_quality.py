"""What a release shows to be poor is said, by column and remedy; what is not, is not."""

import re
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from sinkgen import Column, DPSinkhornGenerator, PoorFitWarning
from sinkgen.data.table_columns import CategoryColumn
from sinkgen.denoise.cells import Cells
from sinkgen.denoise.doubt import Doubt
from sinkgen.denoise.search import Counted, Numbers
from sinkgen.exceptions import ReproducibleNoiseWarning
from sinkgen.generators.quality import FittedSchema, column_quality, drifts, number_remarks

N = 2000


def table():
    random = np.random.default_rng(0)
    return pd.DataFrame({
        "age": random.integers(18, 90, N),
        "sex": random.choice(["Female", "Male"], N, p=[0.9, 0.1]),
        "id": [f"id{i}" for i in range(N)],
        "code": random.choice([1, 2], N),
    })  # fmt: skip


def remarks(X, y=None, epsilon=3, **parameters):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gen = DPSinkhornGenerator(epsilon, random_state=0, **{"noise_seed": 0} | parameters).fit(X, y)
    told = [str(warning.message) for warning in caught if warning.category is PoorFitWarning]
    assert told == ([gen.schema_.summary()] if gen.schema_.remarks else [])
    return gen.schema_


@pytest.mark.parametrize(("name", "declared", "told"), [
    ("sex", ["female", "male"], "no declared value of 'sex' occurs"),
    ("sex", ["Male"], "of 'sex' are none of its declared values"),
    ("code", [7, 8], "no declared value of 'code' occurs: declare those that do; a range stands in a tuple: (7, 8)"),
    ("age", (0, 1), "lie outside of its bounds"),
    ("age", Column(edges=(0, 20, 50)), "lie outside of its bounds"),
    ("id", Column(), "of 'id' are other: leave it out if it is an id, else declare its values"),
])  # fmt: skip
def test_a_declaration_that_misses_the_data_is_told(name, declared, told):
    X = table()[[name]]
    schema = remarks(X.astype({name: object}) if name == "code" else X, schema={name: declared})
    assert len(schema.remarks) == 1
    assert told in schema.remarks[0]
    assert schema[name].remarks == schema.remarks


@pytest.mark.parametrize(("X", "bounds", "named"), [
    (np.full((N, 2), (500.0, 0.5)), (0, 1), "column 0"),
    (np.full((N, 2), (7, 3)), [(0, 10), (10, 20)], "column 1"),
    (np.full((N, 2), True), [(0, 1), (-1, 0)], "column 1"),
    (np.full((N, 4, 4), 255.0), (0, 1), "'pixels'"),
    (np.full((N, 4, 4), 255, np.uint8), (0, 127), "'pixels'"),
])  # fmt: skip
def test_bounds_of_an_array_that_miss_its_numbers_are_told(X, bounds, named):
    schema = remarks(X, schema=bounds)
    (remark,) = schema.remarks
    assert f"of {named} lie outside of its bounds: declare bounds that hold them" in remark
    assert schema.columns[0].clipped > 0.9
    held = remarks(X, schema=(-1, 1000) if X.dtype == float else (0, 255))
    assert not any("outside" in of for of in held.remarks)


@pytest.mark.parametrize("bounds", [(0, 1000), (-1e6, 1e6)])
@pytest.mark.parametrize("shape", [(2000, 3), (2000, 4, 4)])
def test_arrays_in_bounds_that_are_far_too_wide_are_as_within_tight_ones(bounds, shape):
    X = np.random.default_rng(0).random(shape)
    for seed in range(3):
        gen = DPSinkhornGenerator(1, schema=bounds, random_state=0, noise_seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReproducibleNoiseWarning)
            gen.fit(X)
        drawn = gen.sample(2000, random_state=0)
        assert 0.2 < drawn.std() < 0.4
        assert not gen.schema_.remarks


def test_pixels_a_little_beyond_their_bounds_in_a_few_places_are_as_they_should_be():
    X = np.full((N, 8, 8), 0.5)
    X[:, 0, :3] = 1.01  # as some ways to resize leave them
    assert remarks(X, schema=(0, 1)).remarks == ()


def test_values_that_noise_may_hide_are_told():
    few, told = pd.DataFrame({"sex": ["Female"] * 100}), []
    for seed in range(6):
        found = " ".join(remarks(few, epsilon=0.5, noise_seed=seed)["sex"].remarks)
        told.append("may be other values than stand out of the noise" in found or "are other" in found)
    assert all(told)
    assert remarks(pd.concat([few] * 40), epsilon=0.5).remarks == ()


def test_numbers_that_noise_may_hide_behind_a_single_one_are_told():
    one = Cells(np.array([40.0, 41.0]), np.ones(1))
    sizes, known = np.ones(1), Numbers(None, 1.0)
    for noise, is_told in ((2.0, False), (7.5, True)):
        found = Counted(one, 1.0, 100.0, noise, 100 * sizes, sizes, (0.0, 1.0), 0.0, True, known, (noise,))
        told = number_remarks("age", found, Doubt(0.0, 0.01))
        assert [("up to about 15% may be others" in remark) for remark in told] == [True] * is_told


def test_others_than_the_only_number_that_stands_out_are_told():
    one = Cells(np.array([40.0, 41.0]), np.ones(1))
    sizes, known = np.ones(1), Numbers(None, 1.0)
    found = Counted(one, 1.0, 1000.0, 5.0, 970 * sizes, sizes, (0.0, 1.0), 0.03, True, known, (5.0,))
    (told,) = number_remarks("age", found, Doubt(0.0, 0.01))
    assert "about 3% of 'age' are other numbers than the only one that stands out" in told


def test_numbers_of_an_array_that_lie_in_a_narrow_part_of_its_range_are_told():
    X = np.random.default_rng(0).normal(1e9, 1.0, (2000, 2))
    told = [remark for seed in range(3) for remark in remarks(X, noise_seed=seed).remarks]
    assert len(told) == 6
    assert all("lie closer together than could be told apart: declare its bounds" in remark for remark in told)


def test_columns_of_an_array_that_noise_makes_flat_are_told():
    X = np.random.default_rng(0).normal(size=(600, 20)).clip(-5, 5)
    gen = DPSinkhornGenerator(1, schema=(-5, 5), random_state=0, noise_seed=0)
    with pytest.warns(ReproducibleNoiseWarning), pytest.warns(PoorFitWarning, match="nearly one number is drawn"):
        gen.fit(X)
    told = {of.name for of in gen.schema_.columns if any("nearly one number" in remark for remark in of.remarks)}
    spreads = gen.sample(3000, random_state=0).std(0)
    assert told
    assert {int(j) for j in np.flatnonzero(spreads < 0.02)} <= {of.name for of in gen.schema_.columns}
    assert all(spreads[j] < 0.2 for j in told)


def test_what_is_well_known_is_not_remarked_on():
    X = table()[["age", "sex"]]
    assert remarks(X, schema={"age": (18, 90), "sex": ["Female", "Male"]}).remarks == ()
    assert remarks(X, np.arange(N) % 2).remarks == ()


def test_numbers_and_classes_that_do_not_stand_out_are_told():
    random = np.random.default_rng(0)
    few = remarks(pd.DataFrame(random.normal(size=(60, 3)), columns=list("abc")), epsilon=0.1)
    assert [column.name for column in few.columns if "declare its bounds" in column.remarks[0]] == list("abc")
    rare = remarks(table()[["age"]], np.arange(N) < 4, epsilon=1, classes=[False, True])
    assert any(remark.startswith("class True: about") for remark in rare.remarks)
    assert (
        remarks(random.normal(size=(20, 2)), epsilon=0.1)
        .remarks[0]
        .startswith("the numbers of column 0 do not stand out")
    )


def test_labels_that_do_not_stand_out_are_told():
    some = np.where(np.arange(N) % 4 == 0, np.arange(N), 0).astype(str)
    told = remarks(table()[["age", "sex"]], some).remarks
    assert len(told) == 1
    assert re.fullmatch(
        r"about 2\d% of the records have labels that do not stand out of the noise: declare classes", told[0]
    )
    assert (
        remarks(table()[["age"]], [f"id{i}" for i in range(N)])
        .remarks[0]
        .startswith("no label stands out of the noise")
    )


def test_it_is_saved(tmp_path):
    gen = DPSinkhornGenerator(3, schema={"sex": ["female"]}).fit(table()[["sex"]])
    gen.save(tmp_path)
    again = DPSinkhornGenerator.load(tmp_path).schema_
    assert again == gen.schema_
    assert "POOR: no declared value of 'sex' occurs" in str(again)
    assert FittedSchema.from_dict(again.to_dict()) == again
    with pytest.raises(KeyError):
        again["age"]


def test_a_warning_that_is_made_an_error_loses_no_release():
    gen = DPSinkhornGenerator(epsilon=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("error", PoorFitWarning)
        with pytest.raises(PoorFitWarning):
            gen.fit(pd.DataFrame({"a": np.random.default_rng(0).normal(size=30)}))
    assert len(gen.sample(5)) == 5


def test_the_fitted_schema_is_a_mapping_of_columns_by_name():
    schema = remarks(table()[["age", "sex"]])
    assert [*schema] == ["age", "sex"]
    assert len(schema) == 2
    assert {name: of.learned for name, of in schema.items()} == {"age": True, "sex": True}
    frame = schema.to_frame()
    assert frame.index.tolist() == ["age", "sex"]
    assert frame.loc["sex", "remarks"] == schema["sex"].remarks
    assert "height" not in schema
    assert FittedSchema().to_frame().empty


@pytest.mark.parametrize("labelled", [False, True])
def test_missing_cells_that_noise_hides_are_told_of_where_they_are_drawn_nowhere(labelled, quick_tables):
    random, lost, silent, needless = np.random.default_rng(0), 0, 0, 0
    X = pd.DataFrame(random.normal(size=(600, 24))).add_prefix("x")
    X.iloc[:, :12] = X.iloc[:, :12].mask(random.random((600, 12)) < 0.12)
    y = random.choice(["p", "q"], 600) if labelled else None
    for seed in range(1, 4):
        gen = DPSinkhornGenerator(0.6, classes=["p", "q"] if labelled else None, noise_seed=seed, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gen.fit(X, y)
        assert any("drawn without missing cells" in remark for remark in gen.schema_.whole)  # of all of them
        told = [any("may be missing" in remark for remark in gen.schema_[name].remarks) for name in X]
        is_lost = [gen.schema_[name].missing < 0.04 for name in X.columns[:12]]
        lost += sum(is_lost)
        silent += sum(gone and not known for gone, known in zip(is_lost, told[:12], strict=True))
        needless += sum(told[12:])
    assert lost > 5
    assert silent <= lost / 2
    assert needless <= 12


def test_missing_cells_that_noise_would_not_hide_are_no_news(quick_tables):
    random = np.random.default_rng(0)
    told = remarks(pd.DataFrame({"x": random.normal(size=2000), "g": random.choice(["a", "b"], 2000)}), epsilon=1)
    assert not [remark for remark in told.remarks if "missing" in remark]


def test_draws_that_leave_what_was_released_are_told_of():
    drawn = torch.tensor([[0] * 80 + [1] * 20, [0, 1] * 50, [0] * 100])
    field = SimpleNamespace(
        population=drawn,
        class_weights=torch.ones(1),
        draw_states=lambda labels, alone, random: drawn,
        frequencies=[torch.tensor([0.5, 0.5]), torch.tensor([0.5, 0.5]), torch.ones(1)],
    )
    assert drifts(field) == pytest.approx([0.3, 0.0])
    column = CategoryColumn("sex", "object", "category", False, ("f", "m"))
    told = [column_quality(column, None, 0.0, field.frequencies[0], drift=off).remarks for off in drifts(field)]
    assert "drawn with other frequencies than were released, by 30%" in told[0][0]
    assert told[1] == ()
