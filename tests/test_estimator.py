"""The contract that every mechanism, generator, backend and cost keeps, through the front door."""

import io
import pickle
import time
import warnings
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import KNeighborsClassifier

from sinkgen import DPSinkhornGenerator, PrivacyLeakWarning, PrivacyLedger
from sinkgen.exceptions import ReproducibleNoiseWarning
from sinkgen.ot import MixedCost
from sinkgen.progress import Progress

PUBLIC = {"schema": (-4, 4), "classes": [0, 1]}
FAST = {"semidual": {"steps": 4}, "batch": {"steps": 4, "sampling_rate": 0.1}}


def tiny_network(latent_dim, output_shape, n_classes):
    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(latent_dim + n_classes, int(np.prod(output_shape)))

        def forward(self, latents, labels):
            one_hot = torch.nn.functional.one_hot(labels, n_classes)
            return torch.sigmoid(self.linear(torch.cat([latents, one_hot], 1))).view(-1, *output_shape)

    return Module()


@pytest.fixture(autouse=True)
def quick_distillation(monkeypatch):
    monkeypatch.setattr("sinkgen.generators.distill.STEPS", 2)


FEATURES = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh())
SETTINGS = {
    f"{mechanism}-{generator}": {"mechanism": mechanism, "generator": generator}
    for mechanism in ("semidual", "batch")
    for generator in ("auto", "particles", "mlp")
    if (mechanism, generator) != ("batch", "particles")
} | {
    f"{mechanism}-{name}": {"mechanism": mechanism, **setting}
    for mechanism in ("semidual", "batch")
    for name, setting in {
        "own network": {"generator": tiny_network},
        "pot": {"backend": "pot", "debias": 0.0},
        "l1": {"cost": "l1"},
        "l1+l2": {"cost": "l1+l2"},
        "mixed": {"cost": MixedCost(3.0)},
        "features": {"cost": FEATURES},
        "rdp": {"accountant": "rdp"},
        "no self term": {"debias": None},
        "sampled": {"sampling_rate": 0.2},
        "all records": {"sampling_rate": 1.0},
        "no noise": {"epsilon": np.inf},
        "fixed reg": {"reg": 0.05, "clip": 0.5},
    }.items()
}


@pytest.mark.parametrize("name", SETTINGS)
def test_fit_and_sample(name, blobs):
    X, y = blobs
    setting = {**FAST[SETTINGS[name]["mechanism"]], **PUBLIC, "epsilon": 2.0, **SETTINGS[name]}
    gen = DPSinkhornGenerator(random_state=0, **setting).fit(X, y)
    X_new, y_new = gen.sample(50)
    assert X_new.shape == (50, 3)
    assert X_new.dtype == X.dtype
    assert y_new.dtype == y.dtype
    assert np.isfinite(X_new).all()
    assert (np.abs(X_new) <= 4).all()
    assert set(y_new) <= {0, 1}
    spent = gen.privacy_spent()
    assert spent.epsilon <= setting["epsilon"]
    assert spent.epsilon >= 0.98 * setting["epsilon"]
    assert spent.delta == 1e-5


@pytest.mark.parametrize("mechanism", ["semidual", "batch"])
@pytest.mark.parametrize("epsilon", [0.2, 1.0, 10.0])
@pytest.mark.parametrize("facts", [PUBLIC, {}])
def test_the_budget_is_used_and_never_exceeded(mechanism, epsilon, facts, blobs):
    X, y = blobs
    gen = DPSinkhornGenerator(epsilon, mechanism=mechanism, **FAST[mechanism], **facts)
    gen.fit(X, y)
    assert 0.98 * epsilon <= gen.privacy_spent().epsilon <= epsilon


LABELS = {
    "int64": np.arange(600), "uint16": np.arange(600).astype(np.uint16), "text": np.arange(600).astype(str),
    "object": np.arange(600).astype(str).astype(object), "list": [f"{i}" for i in range(600)],
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:noise_seed")
@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("data", ["semidual", "batch", "table"])
def test_where_no_label_stands_out_records_are_learned_all_the_same(data, name, blobs, tmp_path, quick_tables):
    X, y = (pd.DataFrame(blobs[0], columns=list("abc")) if data == "table" else blobs[0]), LABELS[name]
    schema = {column: (-4, 4) for column in "abc"} if data == "table" else (-4, 4)
    gen = DPSinkhornGenerator(schema=schema, noise_seed=0, random_state=0, **FAST.get(data, {})).fit(X, y)
    stand_in = 0 if "int" in name else "unknown"
    assert gen.classes_.tolist() == [stand_in]
    told = f"no label stands out of the noise: all records are drawn with {stand_in!r}"
    assert any(remark.startswith(told) for remark in gen.schema_.remarks)
    assert gen.schema_.classes[0].records == pytest.approx(600, abs=300)
    gen.save(tmp_path)
    X_new, y_new = DPSinkhornGenerator.load(tmp_path).sample(1000)
    assert set(y_new) == {stand_in}
    if data != "batch":  # of three steps
        assert np.asarray(X_new).std() == pytest.approx(blobs[0].std(), rel=0.3)


def test_synthetic_digits_teach_a_classifier(digits):
    X, y = digits
    gen = DPSinkhornGenerator(10, schema=(0, 16), image_shape=(8, 8), classes=range(10), random_state=0)
    gen.fit(X[:1200], y[:1200])
    score = KNeighborsClassifier(3).fit(*gen.sample(500, random_state=0)).score(X[1200:], y[1200:])
    assert score > 0.85


@pytest.mark.parametrize("mechanism", ["semidual", "batch"])
def test_without_noise_the_classes_are_found(mechanism, blobs):
    X, y = blobs
    steps = {} if mechanism == "semidual" else {"steps": 300, "sampling_rate": 0.2}
    gen = DPSinkhornGenerator(np.inf, mechanism=mechanism, random_state=0, **PUBLIC, **steps).fit(X, y)
    X_new, y_new = gen.sample(400, random_state=0)
    for label in (0, 1):
        np.testing.assert_allclose(X_new[y_new == label].mean(0), X[y == label].mean(0), atol=0.5)
    assert (y_new == 1).mean() == pytest.approx(0.5, abs=0.1)


# --- shapes, types, labels -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("generator", ["auto", "conv", "mlp"])
@pytest.mark.parametrize("shape", [(28, 28), (32, 32, 3), (5, 9, 1), (32, 32)])
def test_images_of_any_size_come_back_as_they_went_in(shape, generator):
    X = np.random.default_rng(0).integers(0, 256, (40, *shape), dtype=np.uint8)
    gen = DPSinkhornGenerator(10, generator=generator, random_state=0).fit(X)
    images = gen.sample(7)
    assert images.shape == (7, *shape)
    assert images.dtype == np.uint8


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, bool])
def test_dtypes_and_bounds_are_kept(dtype):
    X = np.random.default_rng(0).integers(0, 2, (200, 4)).astype(dtype)
    X_new = DPSinkhornGenerator(5, schema=(0, 1)).fit(X).sample(20)
    assert X_new.dtype == dtype
    assert X_new.min() >= 0
    assert X_new.max() <= 1


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


ORDERS = {
    "backwards": lambda X: X[::-1].copy()[::-1],
    "mirrored": lambda X: np.flip(X, -1).copy()[..., ::-1],
    "every other": lambda X: np.repeat(X, 2, 0)[::2],
    "of columns": np.asfortranarray,
    "of other bytes": lambda X: X.astype(X.dtype.newbyteorder()),
    "read-only": read_only,
}


@pytest.mark.filterwarnings("ignore:noise_seed")
@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("shape", [(300, 3), (60, 4, 5)])
@pytest.mark.parametrize("schema", [None, (-4, 4)])
def test_how_an_array_lies_in_memory_changes_nothing(schema, shape, name):
    X = np.random.default_rng(0).normal(size=shape)
    gen = DPSinkhornGenerator(10, schema=schema, steps=2, noise_seed=0, random_state=0)
    drawn, as_laid = (gen.fit(laid).sample(5, random_state=0) for laid in (X, ORDERS[name](X)))
    np.testing.assert_array_equal(as_laid, drawn)


@pytest.mark.parametrize("classes", [["no", "yes"], None])
@pytest.mark.parametrize("dtype", ["U3", object])
def test_string_labels(classes, dtype, blobs):
    X, y = blobs
    y = np.array(["no", "yes"], dtype=dtype)[y]
    gen = DPSinkhornGenerator(5, schema=(-4, 4), classes=classes).fit(X, y)
    y_new = gen.sample(40)[1]
    assert set(y_new) == {"no", "yes"} == set(gen.classes_)
    assert y_new.dtype.kind == np.dtype(dtype).kind


def test_wanted_labels_come_in_their_order(blobs):
    gen = DPSinkhornGenerator(10, **PUBLIC).fit(*blobs)
    wanted = np.array([1, 0, 0, 1, 1])
    X_new, y_new = gen.sample(y=wanted)
    assert np.array_equal(y_new, wanted)
    assert np.array_equal(X_new.mean(1) > 0, wanted == 1)
    with pytest.raises(ValueError, match=r"does not know; it knows \[0, 1\]"):
        gen.sample(y=[2])


def test_labels_that_are_not_declared_take_no_part(blobs):
    X, y = blobs
    gen = DPSinkhornGenerator(10, schema=(-4, 4), classes=[0]).fit(X, y)
    X_new, y_new = gen.sample(100)
    assert set(y_new) == {0}
    assert X_new.mean() < 0


def test_a_class_without_records_survives(blobs):
    gen = DPSinkhornGenerator(10, schema=(-4, 4), classes=[0, 1, 7]).fit(*blobs)
    assert gen.sample(y=[7, 7])[0].shape == (2, 3)


@pytest.mark.parametrize(
    "X",
    [
        np.zeros((1, 2)),
        np.ones((50, 3)),
        np.hstack([np.arange(50.0)[:, None]] * 2),
        np.full((50, 1), 1e300),
        np.array([[1e300, -1e300], [0, 1]]),
    ],
    ids=["one row", "constant", "duplicate columns", "one huge value", "huge values"],
)
@pytest.mark.parametrize("mechanism", ["semidual", "batch"])
@pytest.mark.parametrize("schema", [None, (-1, 1)])
def test_odd_data_are_survived(X, mechanism, schema):
    gen = DPSinkhornGenerator(1, mechanism=mechanism, schema=schema, **FAST[mechanism]).fit(X)
    assert gen.sample(3).shape == (3, X.shape[1])
    assert np.isfinite(gen.sample(3)).all()


# --- metadata --------------------------------------------------------------------------------------------------------


def test_what_is_not_declared_is_learned_on_the_budget(blobs):
    gen = DPSinkhornGenerator(5).fit(*blobs)
    rows = [row.what for row in gen.privacy_spent().releases]
    assert {"bounds", "labels"} <= set(rows)
    assert set(gen.classes_) == {0, 1}
    assert all(-9 < low < 0 < high < 9 for low, high in gen.release_.form.bounds)


@pytest.mark.filterwarnings("ignore:noise_seed")  # a bound may be an octave too far where noise is large
def test_one_extreme_or_rare_record_changes_no_public_fact():
    random = np.random.default_rng(0)
    X, y = random.uniform(1, 2, (3000, 2)), np.repeat(["a", "b"], 1500)
    neighbour = np.vstack([X, [[1e12, -1e12]]]), np.append(y, "a very rare label")
    for data in ((X, y), neighbour):
        gen = DPSinkhornGenerator(5, noise_seed=0).fit(*data)
        X_new, y_new = gen.sample(200)
        for low, high in gen.release_.form.bounds:
            assert 0.8 < low < 1.2
            assert 1.8 < high < 2.2
        assert list(gen.classes_) == ["a", "b"]
        assert X_new.dtype == float
        assert y_new.dtype == "<U1"


def test_trusted_metadata_warn_and_are_told(blobs):
    with pytest.warns(PrivacyLeakWarning, match="schema .* classes") as seen:
        gen = DPSinkhornGenerator(5, metadata="trust").fit(*blobs)
    assert seen[0].filename == __file__
    assert any("classes" in line for line in gen.privacy_spent().assumptions)
    assert "bounds" not in [row.what for row in gen.privacy_spent().releases]


def test_required_metadata_are_named(blobs):
    ledger = PrivacyLedger()
    with pytest.raises(ValueError, match=r"schema .* classes"):
        DPSinkhornGenerator(5, metadata="require", ledger=ledger).fit(*blobs)
    DPSinkhornGenerator(5, metadata="require", ledger=ledger, **PUBLIC).fit(*blobs)
    assert len(ledger) == 1


# --- errors before anything is spent ---------------------------------------------------------------------------------

WRONG = {
    "epsilon": [0, -1, np.nan, "1", None],
    "delta": [0, 1, -0.1, np.nan, None],
    "mechanism": ["semi", None],
    "generator": ["gan", None, 3],
    "backend": ["jax"],
    "cost": ["l3", 7],
    "reg": [0, -1, "small", (1, 2, 3), (0, 1), np.inf],
    "debias": [-0.1, 1.1, 0.5, "yes"],
    "steps": [0, 1.5, "many"],
    "sampling_rate": [0, 1.1, None],
    "clip": [0, np.inf, None],
    "schema": [(1, 0), (0, np.inf), [(0, 1)], "auto", [(0, 1), (0, 1), (0, "a")]],
    "image_shape": [(2, 2), (3,), (0, 3)],
    "classes": [[], [0, 0], ["a", "b"]],
    "metadata": ["guess", None],
    "accountant": ["gdp"],
    "ledger": ["ledger.json"],
    "device": ["abacus", 1.5],
    "random_state": ["a", -1, 1.5],
    "noise_seed": [-1, "a"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in WRONG for value in WRONG[name]])
def test_wrong_parameters_are_refused_before_anything_is_spent(name, value, blobs):
    ledger = PrivacyLedger()
    parameters = {"ledger": ledger, **PUBLIC, name: value}
    with pytest.raises((ValueError, TypeError), match=name):
        DPSinkhornGenerator(**parameters).fit(*blobs)
    assert len(ledger) == 0


SECRET = 123.456
DATA = {
    "nan": (np.array([[SECRET, np.nan]]), None, ValueError, "NaN"),
    "infinity": (np.array([[SECRET, np.inf]]), None, ValueError, "infinity"),
    "no records": (np.zeros((0, 2)), None, ValueError, "0 records"),
    "no columns": (np.zeros((3, 0)), None, ValueError, "no numbers"),
    "one dimension": (np.full(3, SECRET), None, ValueError, "Reshape your data"),
    "five dimensions": (np.full((1, 2, 2, 2, 2), SECRET), None, ValueError, "dimensions"),
    "sparse": (sparse.eye(3).tocsr() * SECRET, None, TypeError, "toarray"),
    "complex": (np.full((3, 2), SECRET + 1j), None, ValueError, "Complex data not supported"),
    "objects": (np.array([[SECRET, {}], [1, 2]], dtype=object), None, TypeError, "objects"),
    "strings": (np.array([[str(SECRET)]]), None, TypeError, "numbers"),
    "ragged": ([[SECRET, 1], [2]], None, ValueError, "differ in shape"),
    "short y": (np.full((3, 2), SECRET), [0, 1], ValueError, "one label for each"),
    "y with nan": (np.full((2, 2), SECRET), [0, np.nan], ValueError, "not whole"),
    "y of objects": (np.full((2, 2), SECRET), np.array([SECRET, {}], dtype=object), TypeError, "numbers or strings"),
    "continuous y": (np.full((2, 2), 1.0), [SECRET, 1], ValueError, "not whole"),
}


@pytest.mark.parametrize("name", DATA)
def test_unusable_data_are_refused_before_anything_is_spent_and_not_shown(name):
    X, y, error, message = DATA[name]
    ledger = PrivacyLedger()
    with pytest.raises(error, match=message) as caught:
        DPSinkhornGenerator(ledger=ledger).fit(X, y)
    assert len(ledger) == 0
    assert "123" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_combinations_that_cannot_work_are_refused_before_anything_is_spent(blobs):
    ledger = PrivacyLedger()

    def wrong_shape(latent_dim, output_shape, n_classes):
        return tiny_network(latent_dim, (2,), n_classes)

    for setting, message in [
        ({"generator": "conv"}, "makes images"),
        ({"generator": "particles", "mechanism": "batch"}, "needs mechanism='semidual'"),
        ({"generator": wrong_shape}, r"must map 2 latents to \(2, \*\(3,\)\)"),
        ({"generator": lambda *_: 3}, r"torch\.nn\.Module"),
        ({"reg": (0.1, 0.2), "mechanism": "batch"}, "one number"),
    ]:
        with pytest.raises((ValueError, TypeError), match=message):
            DPSinkhornGenerator(ledger=ledger, **PUBLIC, **setting).fit(*blobs)
    assert len(ledger) == 0


def test_sample_refuses_what_it_cannot_give(blobs):
    gen = DPSinkhornGenerator(**PUBLIC)
    with pytest.raises(NotFittedError):
        gen.sample()
    gen.fit(*blobs)
    for n in (0, -1, 1.5, "3"):
        with pytest.raises((ValueError, TypeError), match="n_samples"):
            gen.sample(n)
    with pytest.raises(ValueError, match="without labels"):
        DPSinkhornGenerator(**PUBLIC).fit(blobs[0]).sample(y=[0])
    for labels in (0, "a", [], np.array(1)):
        with pytest.raises((ValueError, TypeError), match=r"y (must hold the label of each|holds no label)"):
            gen.sample(y=labels)


# --- randomness ------------------------------------------------------------------------------------------------------


def samples(gen, **kwargs):
    return gen.sample(20, **kwargs)[0]


def test_samples_differ_unless_seeded(blobs):
    gen = DPSinkhornGenerator(random_state=0, **PUBLIC).fit(*blobs)
    assert not np.array_equal(samples(gen), samples(gen))
    assert np.array_equal(samples(gen, random_state=3), samples(gen, random_state=3))
    assert not np.array_equal(samples(gen, random_state=3), samples(gen, random_state=4))


@pytest.mark.parametrize("mechanism", ["semidual", "batch"])
def test_random_state_does_not_seed_the_noise(mechanism, blobs):
    first, second = (
        DPSinkhornGenerator(0.5, mechanism=mechanism, random_state=0, **PUBLIC, **FAST[mechanism]).fit(*blobs)
        for _ in range(2)
    )
    assert not np.array_equal(samples(first, random_state=0), samples(second, random_state=0))


@pytest.mark.parametrize("mechanism", ["semidual", "batch"])
def test_noise_seed_makes_a_fit_repeatable_warns_and_is_told(mechanism, blobs):
    gen = DPSinkhornGenerator(mechanism=mechanism, random_state=0, noise_seed=1, **PUBLIC, **FAST[mechanism])
    with pytest.warns(ReproducibleNoiseWarning):
        first = samples(gen.fit(*blobs), random_state=0)
    with pytest.warns(ReproducibleNoiseWarning):
        second = samples(gen.fit(*blobs), random_state=0)
    assert np.array_equal(first, second)
    assert gen.privacy_spent().reproducible_noise
    assert "REPRODUCIBLE" in str(gen.privacy_spent())


@pytest.mark.parametrize("mechanism", ["semidual", "batch"])
def test_no_global_stream_is_moved(mechanism, blobs):
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    gen = DPSinkhornGenerator(mechanism=mechanism, generator="mlp", random_state=0, **PUBLIC, **FAST[mechanism])
    gen.fit(*blobs).sample(3)
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


# --- what leaves by other doors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["semidual", "batch"])
def test_verbose_output_is_the_same_for_neighbouring_data(mechanism, blobs):
    """Apart from the clock's digits, which tqdm prints."""
    X, y = blobs
    texts = []
    for rows in (slice(None), slice(1, None)):
        gen = DPSinkhornGenerator(
            mechanism=mechanism, verbose=1, noise_seed=0, random_state=0, **PUBLIC, **FAST[mechanism]
        )
        out = io.StringIO()
        with redirect_stdout(out), redirect_stderr(out), warnings.catch_warnings():
            warnings.simplefilter("ignore", ReproducibleNoiseWarning)
            gen.fit(X[rows], y[rows])
        texts.append([line.split("[")[0] for line in out.getvalue().split("\r")][-1])
    assert "private steps" in texts[0]
    assert texts[0] == texts[1]


def test_the_clock_moves_within_a_step(capsys, monkeypatch):
    monkeypatch.setattr("sinkgen.progress.TICK", 0.02)
    with Progress(verbose=1) as progress:
        for _ in progress.parts(["all records"]):
            time.sleep(0.3)
    seen = capsys.readouterr().err.split("\r")
    assert sum("pass: check:   0%" in line for line in seen) > 3
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_a_fit_is_silent_by_default(blobs, capsys):
    DPSinkhornGenerator(**PUBLIC).fit(*blobs)
    assert capsys.readouterr() == ("", "")


def test_the_number_of_records_moves_neither_noise_nor_epsilon(blobs):
    X, y = blobs
    for mechanism in ("semidual", "batch"):
        few, many = (
            DPSinkhornGenerator(mechanism=mechanism, **PUBLIC, **FAST[mechanism]).fit(X[rows], y[rows]).privacy_spent()
            for rows in (slice(0, 300, 30), slice(None))
        )
        assert replace(few, remarks=()) == replace(many, remarks=())  # these are of released numbers


# --- estimator -------------------------------------------------------------------------------------------------------


def test_fit_changes_no_parameter_and_clone_starts_afresh(blobs):
    ledger = PrivacyLedger()
    gen = DPSinkhornGenerator(3.0, ledger=ledger, **PUBLIC)
    before = gen.get_params()
    gen.fit(*blobs)
    assert gen.get_params() == before
    copy = clone(gen)
    assert copy.get_params() == before
    assert copy.ledger is ledger
    with pytest.raises(NotFittedError):
        copy.sample()


def test_every_fit_is_a_charge(blobs):
    ledger = PrivacyLedger()
    gen = DPSinkhornGenerator(1.0, ledger=ledger, **PUBLIC)
    for _ in range(3):
        gen.fit(*blobs)
    clone(gen).fit(*blobs)
    assert len(ledger) == 4
    assert 1.9 < ledger.total(1e-5).epsilon < 4.0
    assert next(entry.releases for entry in ledger) == gen.privacy_spent().releases


def test_pickle_keeps_the_fitted_state(blobs):
    gen = DPSinkhornGenerator(**PUBLIC).fit(*blobs)
    again = pickle.loads(pickle.dumps(gen))
    assert np.array_equal(samples(gen, random_state=0), samples(again, random_state=0))
    assert again.privacy_spent() == gen.privacy_spent()


def test_a_new_generator_from_a_release_costs_nothing(blobs):
    ledger = PrivacyLedger()
    gen = DPSinkhornGenerator(3.0, ledger=ledger, **PUBLIC).fit(*blobs)
    again = DPSinkhornGenerator.from_release(gen.release_, generator="mlp", random_state=0)
    assert len(ledger) == 1
    assert again.privacy_spent() == gen.privacy_spent()
    assert samples(again).shape == (20, 3)
    assert np.array_equal(again.classes_, gen.classes_)


def test_callback_follows_the_steps_and_the_budget_but_not_the_records(blobs):
    def follow(X, y, **settings):
        seen = []
        DPSinkhornGenerator(
            2.0, schema=(-4, 4), classes=[0, 1], random_state=0, callback=seen.append, **settings
        ).fit(X, y)  # fmt: skip
        return seen

    for settings in ({"steps": 4}, {"mechanism": "batch", "steps": 2, "sampling_rate": 0.1}):
        seen = follow(*blobs, **settings)
        assert [progress.step for progress in seen] == list(range(settings["steps"] + 1))
        spent = [progress.epsilon for progress in seen]
        assert spent == sorted(spent)
        assert 0 < spent[0] < spent[-1] <= 2
        assert seen == follow(np.full((7, 3), 4.0), np.ones(7, dtype=int), **settings)


def test_callback_of_a_network_counts_its_public_steps(blobs, monkeypatch):
    monkeypatch.setattr("sinkgen.generators.distill.STEPS", 3)
    seen = []
    DPSinkhornGenerator(2.0, schema=(-4, 4), steps=2, generator="mlp", callback=seen.append).fit(blobs[0])
    assert [(progress.what, progress.step) for progress in seen[-2:]] == [("public steps", 2), ("public steps", 3)]
    with pytest.raises(TypeError, match="callback"):
        DPSinkhornGenerator(callback="print").fit(blobs[0])


def test_epsilon_stays_what_it_is(blobs, tmp_path):
    """By clone, pickle, saving and loading, another order of the records, another fit."""
    X, y = blobs
    gen = DPSinkhornGenerator(2.0, **PUBLIC).fit(X, y)
    spent = gen.privacy_spent()
    gen.save(tmp_path)
    assert pickle.loads(pickle.dumps(gen)).privacy_spent() == spent
    assert DPSinkhornGenerator.load(tmp_path).privacy_spent() == spent
    assert DPSinkhornGenerator.from_release(gen.release_).privacy_spent() == spent
    order = np.random.default_rng(0).permutation(len(X))
    assert clone(gen).fit(X[order], y[order]).privacy_spent() == spent == gen.fit(X, y).privacy_spent()
