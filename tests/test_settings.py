"""Settings of the mechanisms as objects: frozen, searched by scikit-learn, told in statements, kept in models."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from sinkgen import Batch, DPSinkhornGenerator, Marginals, PrivacyLedger, PrivacySpent, Semidual, TSTRClassifier
from sinkgen.settings import SETTINGS, changed, from_json

QUICK = Batch(steps=3, points=6, sampling_rate=0.1)
STARTED = dataclasses.replace(QUICK, start=Semidual(steps=2, reg=(0.2, 0.02)), directions=True)
MANY = [QUICK, Semidual(steps=3, reg=0.05), Semidual(steps=3, reg=(0.2, 0.02), clip=0.4), STARTED]


@pytest.mark.parametrize("kind", SETTINGS.values())
def test_settings_are_frozen_and_say_what_is_wrong_with_them(kind):
    settings = kind()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.steps = 5
    for name in settings.get_params():
        with pytest.raises((TypeError, ValueError), match=name):
            kind(**{name: 1.5 if name == "target" else "many"})  # a column may have any name
    with pytest.raises(ValueError, match=f"{kind.__name__} has no setting 'depth'; it has"):
        changed(settings, {"depth": 3})


def test_they_are_nested_parameters_as_scikit_learn_has_them():
    gen = DPSinkhornGenerator(mechanism=QUICK)
    assert gen.get_params()["mechanism__points"] == 6
    copy = clone(gen).set_params(mechanism__points=9, epsilon=3)
    assert (copy.mechanism, copy.epsilon) == (dataclasses.replace(QUICK, points=9), 3)
    assert gen.mechanism == QUICK
    assert DPSinkhornGenerator().set_params(mechanism="batch", mechanism__steps=7).mechanism == Batch(steps=7)
    outer = TSTRClassifier(gen, LogisticRegression()).set_params(generator__mechanism__learning_rate=0.01)
    assert outer.generator.mechanism.learning_rate == 0.01
    with pytest.raises(ValueError, match="mechanism='auto' has no settings: name one of semidual, batch"):
        DPSinkhornGenerator().set_params(mechanism__steps=7)


@pytest.mark.usefixtures("quick_networks")
@pytest.mark.parametrize("settings", MANY, ids=repr)
def test_statements_and_saved_models_hold_them(settings, blobs, tmp_path):
    gen = DPSinkhornGenerator(epsilon=5, mechanism=settings, schema=(-4, 4), classes=[0, 1]).fit(*blobs)
    spent = gen.privacy_spent()
    assert f"Mechanism: {type(settings).__name__}(steps=3," in str(spent)
    assert PrivacySpent.from_dict(spent.to_dict()) == spent
    gen.save(tmp_path)
    loaded = DPSinkhornGenerator.load(tmp_path)
    assert loaded.mechanism == settings
    assert loaded.privacy_spent() == spent


@pytest.mark.usefixtures("quick_networks")
@pytest.mark.parametrize("epsilon", [0.5, 10.0])
def test_a_start_is_charged_with_the_rest_and_asked_but_once(epsilon, blobs):
    spent = DPSinkhornGenerator(epsilon, mechanism=STARTED, schema=(-4, 4), classes=[0, 1]).fit(*blobs).privacy_spent()
    assert 0.98 * epsilon <= spent.epsilon <= epsilon
    rows = {row.what: row for row in spent.releases}
    assert len(rows) == len(spent.releases)
    assert (rows["points"].steps, rows["gradients"].steps, rows["gradients"].sampling_rate) == (2, 3, 0.1)
    shares = dict(zip([row.what for row in spent.releases], spent.shares, strict=True))
    assert 0.3 < shares["gradients"] < 0.7


def test_a_start_is_of_the_other_mechanism_and_sees_all_records():
    with pytest.raises(TypeError, match="start must be"):
        Batch(start="semidual")
    with pytest.raises(ValueError, match="start must see all records"):
        Batch(start=Semidual(sampling_rate=0.5))


def test_classes_are_apart_and_batches_in_parts_only_where_that_can_be():
    with pytest.raises(ValueError, match="label_weight=None needs a number of iterations"):
        Batch(label_weight=None, iterations=None)
    with pytest.raises(ValueError, match="reg of at least"):
        Batch(label_weight=None, reg=1e-3)
    with pytest.raises(ValueError, match="parts of a sample: sampling_rate must be below 1"):
        Batch(microbatches=2, sampling_rate=1.0)
    assert Batch(reg=1e-3, iterations=None, sampling_rate=1.0).label_weight == "auto"


def test_settings_of_an_object_are_those_of_the_flat_parameters(blobs):
    flat = DPSinkhornGenerator(mechanism="batch", steps=3, sampling_rate=0.1, reg=0.1, debias=None, clip=0.5)
    whole = DPSinkhornGenerator(mechanism=Batch(steps=3, sampling_rate=0.1, reg=0.1, debias=None, clip=0.5))
    for gen in (flat, whole):
        gen.set_params(schema=(-4, 4), noise_seed=0, random_state=0)
        with pytest.warns(UserWarning, match="noise_seed"):
            gen.fit(blobs[0])
    assert flat.privacy_spent() == whole.privacy_spent()
    np.testing.assert_array_equal(flat.sample(5, random_state=0), whole.sample(5, random_state=0))


def test_the_number_of_latents_is_a_setting_that_models_keep(blobs, tmp_path):
    gen = DPSinkhornGenerator(mechanism=QUICK, generator="mlp", schema=(-4, 4), random_state=0)
    assert gen.set_params(mechanism__latent_dim=5).fit(*blobs).generator_.latent_dim == 5
    gen.save(tmp_path)
    again = DPSinkhornGenerator.load(tmp_path)
    for drawn, kept in zip(gen.sample(9, random_state=1), again.sample(9, random_state=1), strict=True):
        np.testing.assert_array_equal(drawn, kept)


def test_a_network_that_cannot_take_so_many_latents_is_refused_before_the_charge(blobs):
    def factory(latent_dim, shape, n_classes):
        return torch.nn.Bilinear(7, n_classes, shape[0])

    ledger = PrivacyLedger(epsilon=10, delta=1e-5)
    gen = DPSinkhornGenerator(mechanism=dataclasses.replace(QUICK, latent_dim=5), generator=factory, ledger=ledger)
    with pytest.raises(ValueError, match="generator fails on made-up latents"):
        gen.set_params(schema=(-4, 4)).fit(*blobs)
    assert len(ledger) == 0


def test_a_table_has_settings_of_its_own():
    frame = pd.DataFrame({"a": ["x", "y"] * 100, "b": ["u", "v", "v", "u"] * 50})
    gen = DPSinkhornGenerator(
        epsilon=5, mechanism=Marginals(members=1, components=3, steps=5, refinements=0),
        schema={"a": ["x", "y"]}, classes=["u", "v"],
    )  # fmt: skip
    gen.fit(frame, y="b")
    assert "members=1, components=3, steps=5" in str(gen.privacy_spent())
    with pytest.raises(ValueError, match="for tables with labels; leave out components, members"):
        gen.set_params(classes=None).fit(frame[["a"]])
    with pytest.raises(ValueError, match="tables need mechanism='marginals'"):
        gen.set_params(mechanism=QUICK).fit(frame[["a"]])


def test_pairs_of_a_target_are_asked_more_finely():
    random = np.random.default_rng(0)
    x = random.integers(8, size=3000)
    frame = pd.DataFrame({name: (x + random.integers(6, size=3000)) % 8 for name in "abcd"})
    schema, cells = {name: list(range(8)) for name in frame}, {}
    for target in ("auto", "c"):
        gen = DPSinkhornGenerator(1, mechanism=Marginals(target=target), schema=schema, noise_seed=0, random_state=0)
        with pytest.warns(UserWarning, match="noise_seed"):
            gen.fit(frame)
        cells[target] = [
            sum(q.size for q in gen.generator_.cliques if (2 in q.columns) == own) for own in (True, False)
        ]
    assert cells["c"][0] > 1.2 * cells["auto"][0]
    assert cells["c"][1] < cells["auto"][1]
    assert "target=('c',)" in str(gen.privacy_spent())


def test_noise_follows_the_weights_of_columns_and_pairs():
    random = np.random.default_rng(0)
    x = random.integers(8, size=3000)
    frame = pd.DataFrame({name: (x + random.integers(4, size=3000)) % 8 for name in "abcd"})
    schema, noises = {name: list(range(8)) for name in frame}, {}
    for weight in ("auto", {"c": 4, ("a", "b"): 8.0}):
        gen = DPSinkhornGenerator(1, mechanism=Marginals(weight=weight), schema=schema, noise_seed=0, random_state=0)
        with pytest.warns(UserWarning, match="noise_seed"):
            gen.fit(frame)
        found = gen.release_.counts
        noises[str(weight)] = [{part.columns: part.noise for part in found if len(part.columns) == n} for n in (1, 2)]
        cells = {q.columns: q.size for q in gen.generator_.cliques if len(q.columns) == 2}
        noises[str(weight)].append(cells)
    (even, _, even_cells), (own, pairs, cells) = noises.values()
    assert even[2,] == pytest.approx(even[0,])
    assert own[2,] == pytest.approx(own[0,] / 4)
    # Of pairs by the cube roots of cells, too.
    assert len(pairs) > 1
    for pair, noise in pairs.items():
        weight = 8 if pair == (0, 1) else 4 if 2 in pair else 1
        assert noise * weight * cells[pair] ** (1 / 3) == pytest.approx(pairs[0, 1] * 8 * cells[0, 1] ** (1 / 3))
    assert own[0,] > even[0,]  # what one gets, others lack
    assert cells[0, 1] > even_cells.get((0, 1), 0)
    assert "weight=((('c',), 4.0), (('a', 'b'), 8.0))" in str(gen.privacy_spent())


def test_weights_are_of_columns_of_a_table_without_y():
    frame, ledger = pd.DataFrame({"a": [0, 1] * 50, "b": [0, 1] * 50}), PrivacyLedger()
    gen = DPSinkhornGenerator(mechanism=Marginals(weight={"c": 2}), schema={"a": [0, 1], "b": [0, 1]}, ledger=ledger)
    with pytest.raises(ValueError, match=r"weight names columns that the table lacks: \['c'\]; it has \['a', 'b'\]"):
        gen.fit(frame)
    with pytest.raises(ValueError, match="weight is for tables without y"):
        gen.set_params(mechanism__weight={"a": 2}, schema=None).fit(frame, y="b")
    for wrong in (3, {("a", "b", "c"): 1}, {("a", "a"): 2}, {1.5: 2}):
        with pytest.raises(TypeError, match="weight"):
            Marginals(weight=wrong)
    with pytest.raises(ValueError, match="weight of 'a'"):
        Marginals(weight={"a": 0})
    assert len(ledger) == 0


def test_a_target_is_a_column_of_a_table_without_y():
    frame, ledger = pd.DataFrame({"a": [0, 1] * 50, "b": [0, 1] * 50}), PrivacyLedger()
    gen = DPSinkhornGenerator(mechanism=Marginals(target="c"), schema={"a": [0, 1], "b": [0, 1]}, ledger=ledger)
    with pytest.raises(ValueError, match=r"target names columns that the table lacks: \['c'\]; it has \['a', 'b'\]"):
        gen.fit(frame)
    with pytest.raises(ValueError, match="target is for tables without y"):
        gen.set_params(mechanism__target=("a",), schema=None).fit(frame, y="b")
    with pytest.raises(TypeError, match="target must be the name of a column"):
        Marginals(target=1.5)
    assert len(ledger) == 0


def test_what_does_not_go_together_is_told_before_anything_is_spent(blobs):
    ledger = PrivacyLedger()
    wrong = [
        ({"mechanism": QUICK, "steps": 5, "clip": 1.0}, r"Batch\(...\) holds all settings: give steps, clip in it"),
        ({"mechanism": Batch(directions=True), "cost": "l1"}, "directions=True needs cost='sqeuclidean'"),
        ({"mechanism": Batch(label_weight=None), "cost": torch.nn.Identity()}, "a cost of the values themselves"),
        ({"mechanism": Marginals()}, "'marginals' is for tables"),
        ({"mechanism": QUICK, "generator": "particles"}, "'particles' needs mechanism='semidual'"),
        ({"mechanism": QUICK, "generator": "dcgan"}, "generator='dcgan' makes images"),
    ]
    for given, match in wrong:
        with pytest.raises(ValueError, match=match):
            DPSinkhornGenerator(schema=(-4, 4), ledger=ledger, **given).fit(blobs[0])
    assert len(ledger) == 0


def test_a_statement_says_its_settings_in_one_printable_line():
    content = PrivacySpent.of([], 1e-5).to_dict()
    with pytest.raises(ValueError, match="one line"):
        PrivacySpent.from_dict(content | {"settings": "Batch()\nepsilon = 0"})
    del content["settings"]  # of an earlier version
    assert PrivacySpent.from_dict(content).settings == ""


def test_weights_are_saved_and_come_back(tmp_path, quick_tables):
    weight = {"c": 4, ("a", "b"): 8.0}
    frame = pd.DataFrame(np.random.default_rng(0).integers(3, size=(300, 3)), columns=list("abc"))
    schema = {name: [0, 1, 2] for name in frame}
    DPSinkhornGenerator(1, mechanism=Marginals(weight=weight), schema=schema).fit(frame).save(tmp_path / "model")
    assert DPSinkhornGenerator.load(tmp_path / "model").mechanism.weight == weight


@pytest.mark.parametrize("damaged", [[1], [[["a"], 1, 2]], [[[["a"]], 1]], [[{}, 1]]])
def test_weights_that_are_damaged_are_refused(damaged):
    with pytest.raises(ValueError, match="weight"):
        from_json({"name": "marginals", "weight": damaged})
