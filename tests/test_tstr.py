"""Train on synthetic, test on real; the generator in pipelines."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict, cross_val_score, cross_validate
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, Normalizer, OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from sinkgen import (
    DPSinkhornGenerator,
    PoorFitWarning,
    PrivacyLeakWarning,
    PrivacyLedger,
    SyntheticResampler,
    TSTRClassifier,
    TSTRRegressor,
    sample_from_pipeline,
)

PUBLIC = {"schema": (-4, 4), "classes": [0, 1], "steps": 4}


def make(**parameters):
    return DPSinkhornGenerator(10.0, **{**PUBLIC, **parameters})


# --- the classifier --------------------------------------------------------------------------------------------------


def test_a_classifier_of_synthetic_records_is_right_on_real_ones(blobs):
    X, y = blobs
    model = TSTRClassifier(make(), LogisticRegression(), n_samples=200).fit(X, y)
    assert model.score(X, y) > 0.95
    assert model.classes_.tolist() == [0, 1]
    assert model.n_features_in_ == 3
    assert model.predict_proba(X).shape == (600, 2)
    assert model.decision_function(X).shape == (600,)
    assert model.generator_.privacy_spent().epsilon <= 10


def texts(blobs):
    return blobs[0], np.array(["no", "yes"])[blobs[1]]


@pytest.mark.parametrize("ensemble", [
    lambda model: VotingClassifier([("a", model), ("b", LogisticRegression())], voting="soft"),
    lambda model: StackingClassifier([("a", model)], LogisticRegression(), cv=2),
], ids=["voting", "stacking"])  # fmt: skip
def test_declared_classes_of_texts_go_through_what_encodes_labels(ensemble, blobs):
    X, y = texts(blobs)
    model = TSTRClassifier(make(classes=["no", "yes"]), LogisticRegression(), n_samples=200)
    assert ensemble(model).fit(X, y).score(X, y) > 0.9
    assert model.fit(X, y).classes_.tolist() == ["no", "yes"]


def test_declared_classes_of_texts_go_through_cross_val_predict(blobs):
    X, y = texts(blobs)
    model = TSTRClassifier(make(classes=["no", "yes"]), LogisticRegression(), n_samples=200)
    found = cross_val_predict(model, X, y, cv=2, method="predict_proba")
    assert (found.argmax(1) == blobs[1]).mean() > 0.9


def test_declared_numbers_that_are_encoded_are_refused_before_any_spend(blobs):
    ledger = PrivacyLedger()
    model = TSTRClassifier(make(classes=[1, 2], ledger=ledger), LogisticRegression(), n_samples=200)
    with pytest.raises(ValueError, match=r"classes=range\(2\)"):
        VotingClassifier([("a", model)]).fit(blobs[0], blobs[1] + 1)
    assert not len(ledger)
    assert model.fit(blobs[0], blobs[1] + 1).classes_.tolist() == [1, 2]


def test_the_resampler_takes_codes_in_place_of_texts(blobs):
    drawn = SyntheticResampler(make(classes=["no", "yes"]), n_samples=50).fit_resample(*blobs)[1]
    assert set(drawn) == {0, 1}


@pytest.mark.parametrize(
    ("classifier", "has"),
    [(LinearSVC(), "decision_function"), (KNeighborsClassifier(), "predict_proba"), (None, "predict_proba")],
)
def test_it_has_the_methods_of_its_classifier(classifier, has, blobs):
    model = TSTRClassifier(make(), classifier, n_samples=50)
    for _ in range(2):
        assert hasattr(model, has)
        assert hasattr(model, "predict_proba") != hasattr(model, "decision_function")
        model.fit(*blobs)


def test_parameters_are_not_touched_and_parts_are_cloned(blobs):
    generator, classifier = make(), LogisticRegression()
    model = TSTRClassifier(generator, classifier, n_samples=50)
    with pytest.raises(NotFittedError):
        model.predict(blobs[0])
    model.fit(*blobs)
    assert model.get_params(deep=False) == {
        "generator": generator, "classifier": classifier, "n_samples": 50, "random_state": None,
    }  # fmt: skip
    assert not hasattr(generator, "generator_")
    assert not hasattr(classifier, "classes_")


def test_random_state_seeds_the_drawing_alone(blobs):
    drawn = []

    class Recorder(LogisticRegression):
        def fit(self, X, y):
            drawn.append(X)
            return super().fit(X, y)

    class Frozen(BaseEstimator):
        def fit(self, X, y):
            self.release_, self.classes_, self.n_features_in_ = fitted.release_, fitted.classes_, 3
            return self

        def sample(self, n, random_state):
            return fitted.sample(n, random_state=random_state)

    fitted = make().fit(*blobs)
    for seed in (0, 0, 1, None, None):
        TSTRClassifier(Frozen(), Recorder(), n_samples=20, random_state=seed).fit(*blobs)
    assert np.array_equal(drawn[0], drawn[1])
    assert not any(np.array_equal(drawn[i], drawn[i + 1]) for i in (1, 2, 3))


def test_what_is_drawn_by_default_does_not_depend_on_the_records(blobs):
    X, y = blobs
    sizes = [len(TSTRClassifier(make(), KNeighborsClassifier()).fit(X[::k], y[::k]).classifier_._y) for k in (1, 7)]
    assert sizes == [2000, 2000]


def test_columns_of_labels_are_warned_of_as_elsewhere(blobs):
    X, y = blobs
    with pytest.warns(DataConversionWarning, match="column-vector"):
        TSTRClassifier(make(), LogisticRegression(), n_samples=50).fit(X, y[:, None])


class LossyGenerator(BaseEstimator):
    """Knows one class only."""

    def __init__(self, classes=None):
        self.classes = classes

    def fit(self, X, y):
        self.n_features_in_ = X.shape[1]
        return self

    def sample(self, n_samples, random_state=None):
        return np.zeros((n_samples, self.n_features_in_)), np.zeros(n_samples, dtype=int)


def test_a_single_class_is_a_classifier_that_always_says_it(blobs):
    X, y = blobs
    model = TSTRClassifier(LossyGenerator(), LogisticRegression()).fit(X, y)
    assert model.classes_.tolist() == [0]
    assert set(model.predict(X)) == {0}
    assert model.predict_proba(X).shape == (len(X), 1)
    assert not hasattr(model, "decision_function")
    assert set(SyntheticResampler(LossyGenerator()).fit_resample(X, y)[1]) == {0}


def test_a_class_too_rare_to_be_learned_fails_nothing_and_tells_nothing(blobs):
    X, y = blobs
    rare = np.where(np.arange(len(y)) == 0, 2, y)
    told = []
    for labels in (y, rare):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = TSTRClassifier(make(classes=None), LogisticRegression()).fit(X, labels)
        told.append([str(warning.message) for warning in caught])
        assert model.classes_.tolist() == [0, 1]
    assert told == [[], []]


@pytest.mark.parametrize("fit", ["fit", "fit_resample"])
def test_classes_that_are_not_drawn_are_told(fit, blobs):
    X, y = blobs
    gen = make(classes=[0, 1, *range(2, 40)])
    model = TSTRClassifier(gen, random_state=0) if fit == "fit" else SyntheticResampler(gen, random_state=0)
    model.n_samples = 40
    with pytest.warns(PoorFitWarning, match=r"no synthetic record is of the classes \[.*38, 39\]: raise n_samples"):
        getattr(model, fit)(X, y)


@pytest.mark.parametrize("make_model", [TSTRClassifier, TSTRRegressor, SyntheticResampler])
def test_a_warning_that_is_made_an_error_loses_no_release(make_model, blobs):
    X, y = blobs
    model = make_model(DPSinkhornGenerator(0.01))
    with warnings.catch_warnings():
        warnings.simplefilter("error", PoorFitWarning)
        with pytest.raises(PoorFitWarning):
            model.fit(X[:40], y[:40])
    assert len(model.generator_.sample(2)) == 2


WRONG = {
    "n_samples": ({"n_samples": 0}, None, "n_samples"),
    "random_state": ({"random_state": "seed"}, None, "seed"),
    "generator": ({"generator": LogisticRegression()}, None, "fit and sample"),
    "a classifier that is none": ({"classifier": "forest"}, None, "forest"),
    "no labels": ({}, "none", "requires y"),
    "continuous labels": ({}, np.linspace(0, 1, 600), "continuous"),
    "nan": ({}, np.full(600, np.nan), "NaN"),
    "short": ({}, [0, 1], "one label for each"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_is_refused_before_anything_is_spent(name, blobs):
    parameters, y, message = WRONG[name]
    y = blobs[1] if y is None else None if isinstance(y, str) else y
    ledger = PrivacyLedger()
    model = TSTRClassifier(make(ledger=ledger), LogisticRegression()).set_params(**parameters)
    with pytest.raises((ValueError, TypeError), match=message):
        model.fit(blobs[0], y)
    assert len(ledger) == 0


def test_what_was_spent_is_kept_where_the_classifier_fails(blobs):
    model = TSTRClassifier(make(), KNeighborsClassifier(n_neighbors=-1), n_samples=50)
    with pytest.raises(ValueError, match="n_neighbors"):
        model.fit(*blobs)
    assert model.generator_.sample(5)[0].shape == (5, 3)
    with pytest.raises(NotFittedError):
        model.predict(blobs[0])


@pytest.mark.parametrize("kind", ["str", "object", "bool"])
def test_labels_come_back_in_kind(kind, blobs):
    X, y = blobs
    names = {"str": np.array(["no", "yes"]), "object": np.array(["no", "yes"], dtype=object), "bool": [False, True]}
    y = np.asarray(names[kind])[y]
    model = TSTRClassifier(make(classes=None), LogisticRegression(), n_samples=100).fit(X, y)
    assert model.score(X, y) > 0.9
    assert set(model.predict(X).tolist()) == set(y.tolist())


def test_inside_a_pipeline_and_around_one(digits):
    X, y = digits[0][:600], digits[1][:600]
    gen = DPSinkhornGenerator(50.0, schema=(0, 4), image_shape=(8, 8), classes=range(10), steps=5)
    inside = make_pipeline(FunctionTransformer(np.sqrt, np.square), TSTRClassifier(gen, KNeighborsClassifier()))
    around = TSTRClassifier(gen, make_pipeline(StandardScaler(), KNeighborsClassifier()))
    assert cross_val_score(inside, X, y, cv=2, error_score="raise").mean() > 0.5
    assert cross_val_score(around, np.sqrt(X), y, cv=2, error_score="raise").mean() > 0.5


def test_images(digits):
    X, y = digits[0][:600].reshape(-1, 8, 8), digits[1][:600]
    gen = DPSinkhornGenerator(50.0, schema=(0, 16), classes=range(10), steps=5)
    model = TSTRClassifier(gen, make_pipeline(FunctionTransformer(flatten), KNeighborsClassifier())).fit(X, y)
    assert model.score(X, y) > 0.5
    assert model.n_features_in_ == 64


def flatten(X):
    return X.reshape(len(X), -1)


def test_digits_at_epsilon_10(digits):
    gen = DPSinkhornGenerator(10, schema=(0, 16), image_shape=(8, 8), classes=range(10))
    scores = cross_val_score(TSTRClassifier(gen, RandomForestClassifier()), *digits, cv=3)
    assert scores.mean() >= 0.80


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(0)
    y = random.integers(2, size=800)
    city = np.where(random.random(800) < 0.9, np.array(["Oslo", "Rome"])[y], "Kyiv")
    frame = pd.DataFrame({"age": random.normal(40 + 10 * y, 5), "city": city})
    return frame, pd.Series(np.array(["no", "yes"])[y], name="answer")


SCHEMA = {"age": (0, 100), "city": ["Kyiv", "Oslo", "Rome"]}


def test_tables_with_a_column_transformer_inside_the_classifier(table):
    columns = ColumnTransformer([("age", StandardScaler(), ["age"]), ("city", OneHotEncoder(), ["city"])])
    gen = DPSinkhornGenerator(10.0, schema=SCHEMA, classes=["no", "yes"])
    model = TSTRClassifier(gen, make_pipeline(columns, LogisticRegression()))
    assert model.fit(*table).score(*table) > 0.85
    assert model.feature_names_in_.tolist() == ["age", "city"]
    with pytest.raises(ValueError, match="city"):
        model.predict(table[0][["age"]])


def refused(model, X, y):
    """The error of a model that cannot take the table; nothing was spent."""
    ledger = PrivacyLedger()
    with pytest.raises(TypeError, match=r"takes no columns that are not numbers by dtype, such as \['city'\]") as error:
        TSTRClassifier(DPSinkhornGenerator(ledger=ledger), model).fit(X, y)
    assert len(ledger) == 0
    return str(error.value)


@pytest.mark.parametrize("cells", [np.array, lambda city: np.where(city == "Oslo", 1, 0).astype(object)])
def test_columns_of_objects_are_refused_by_dtype_whatever_their_cells(table, cells):
    X, y = table
    X = X.assign(city=pd.Series(cells(X["city"]), dtype=object))
    assert "infer_objects" in refused(LogisticRegression(), X, y)


def test_models_within_votes_and_searches_are_asked_as_well(table):
    vote = VotingClassifier([("trees", HistGradientBoostingClassifier()), ("nb", GaussianNB())])
    for model in (vote, GridSearchCV(LogisticRegression(), {"C": [1, 2]}), CalibratedClassifierCV(GaussianNB())):
        refused(model, *table)
    columns = ColumnTransformer([("city", OneHotEncoder(), ["city"])])
    search = GridSearchCV(make_pipeline(columns, LogisticRegression()), {"logisticregression__C": [1, 2]}, cv=2)
    assert TSTRClassifier(DPSinkhornGenerator(10.0, schema=SCHEMA), search).fit(*table).score(*table) > 0.85


@pytest.mark.parametrize("model", [TSTRClassifier, TSTRRegressor])
def test_a_model_that_takes_no_texts_is_refused_before_anything_is_spent(model, table):
    (X, y), ledger = table, PrivacyLedger()
    target = y if model is TSTRClassifier else X["age"].rename("years")
    with pytest.raises(TypeError, match=r"takes no columns that are not numbers by dtype, such as \['city'\]"):
        model(DPSinkhornGenerator(ledger=ledger)).fit(X, target)
    assert len(ledger) == 0


def test_a_model_that_takes_categories_is_given_them(table):
    X, y = table
    gen = DPSinkhornGenerator(10.0, schema=SCHEMA, classes=["no", "yes"])
    model = TSTRClassifier(gen, HistGradientBoostingClassifier(max_iter=3)).fit(X.astype({"city": "category"}), y)
    assert model.score(X.astype({"city": "category"}), y) > 0.8


def test_a_numeric_target_in_a_table(table):
    columns = ColumnTransformer([("city", OneHotEncoder(), ["city"])])
    gen = DPSinkhornGenerator(10.0, schema=SCHEMA)
    model = TSTRRegressor(gen, make_pipeline(columns, Ridge()))
    X, age = table[0][["city"]], table[0]["age"]
    assert model.fit(X, age).score(X, age) > 0.2
    assert model.feature_names_in_.tolist() == ["city"]
    with pytest.raises(ValueError, match="'age': give y another name"):
        model.fit(table[0], age)


# --- the regressor ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plane():
    random = np.random.default_rng(0)
    X = random.uniform(-1, 1, (1000, 2))
    return X, X @ [1.0, -1.0] + random.normal(0, 0.05, 1000)


def test_a_regressor_of_synthetic_records_is_right_on_real_ones(plane):
    X, y = plane
    model = TSTRRegressor(DPSinkhornGenerator(10.0, schema=[(-1, 1), (-1, 1), (-2, 2)], steps=5), Ridge())
    assert cross_val_score(model, X, y, cv=2, error_score="raise").mean() > 0.8
    model.fit(X, y)
    assert model.n_features_in_ == 2
    assert model.generator_.n_features_in_ == 3
    assert not hasattr(model, "predict_proba")


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.zeros((3, 2)), None, "requires y"),
        (np.zeros((3, 2)), ["1", "2", "3"], "numbers"),
        (np.zeros((3, 2)), [1.0, np.inf, 2.0], "infinity"),
        (np.zeros((3, 2)), [1.0], "one target for each"),
        (np.zeros((3, 2, 2)), np.zeros(3), "2 dimensions"),
    ],
)
def test_wrong_targets_are_refused_before_anything_is_spent(X, y, message):
    ledger = PrivacyLedger()
    with pytest.raises((ValueError, TypeError), match=message):
        TSTRRegressor(DPSinkhornGenerator(ledger=ledger)).fit(X, y)
    assert len(ledger) == 0


# --- pipelines -------------------------------------------------------------------------------------------------------


class Halver(TransformerMixin, BaseEstimator):
    """Somebody's own transformer that learns nothing."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X / 2

    def inverse_transform(self, X):
        return 2 * X


LOG = FunctionTransformer(np.log1p, np.expm1)
PUBLIC_STEPS = {
    "function": LOG,
    "own": Halver(),
    "nested": make_pipeline(Halver(), "passthrough", LOG),
    "frozen": FrozenEstimator(MinMaxScaler().fit([[0.0, 0.0], [4.0, 4.0]])),
    "none": "passthrough",
}
LEAKS = {
    "scaler": StandardScaler(),
    "range": MinMaxScaler(),
    "nested": make_pipeline(LOG, StandardScaler()),
}


@pytest.fixture(scope="module")
def positive():
    return np.random.default_rng(0).lognormal(0, 0.3, (500, 2))


@pytest.mark.parametrize("name", PUBLIC_STEPS)
def test_sampling_leads_back_through_public_steps(name, positive):
    pipe = Pipeline([("step", PUBLIC_STEPS[name]), ("gen", DPSinkhornGenerator(20.0, schema=(0, 3)))])
    X = sample_from_pipeline(clone(pipe).fit(positive), 400)  # a warning would be an error here
    assert X.shape == (400, 2)
    assert np.allclose(np.median(X, 0), np.median(positive, 0), atol=0.2)


@pytest.mark.parametrize("name", LEAKS)
def test_a_step_fitted_to_the_records_leaks(name, positive):
    pipe = Pipeline([("log", LOG), ("leak", LEAKS[name]), ("gen", DPSinkhornGenerator(20.0, schema=(-4, 4)))])
    with pytest.warns(PrivacyLeakWarning, match="leak$"):
        X = sample_from_pipeline(clone(pipe).fit(positive), 400)
    assert np.allclose(np.median(X, 0), np.median(positive, 0), atol=0.2)


def test_labels_and_randomness_are_handed_on(blobs):
    pipe = make_pipeline(Halver(), make()).fit(*blobs)
    X, y = sample_from_pipeline(pipe, y=[0, 1, 1], random_state=3)
    assert y.tolist() == [0, 1, 1]
    assert np.array_equal(X, 2 * pipe[-1].sample(y=[0, 1, 1], random_state=3)[0])
    assert len(sample_from_pipeline(pipe, 7)[0]) == 7


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        (DPSinkhornGenerator(), "must be a Pipeline"),
        (make_pipeline(Halver(), LogisticRegression()), "has `sample`"),
        (make_pipeline(Normalizer(), DPSinkhornGenerator()), "'normalizer' cannot be inverted"),
        (make_pipeline(FunctionTransformer(np.log1p), DPSinkhornGenerator()), "'functiontransformer' cannot"),
    ],
)
def test_pipelines_without_a_way_back_are_refused(pipeline, message):
    with pytest.raises(TypeError, match=message):
        sample_from_pipeline(pipeline)


def test_a_pipeline_before_fit_is_not_sampled():
    with pytest.raises(NotFittedError):
        sample_from_pipeline(make_pipeline(LOG, DPSinkhornGenerator()))


def test_the_pipeline_of_imbalanced_learn_takes_the_resampler(blobs):
    imblearn = pytest.importorskip("imblearn.pipeline")
    X, y = blobs
    ledger = PrivacyLedger()
    resampler = SyntheticResampler(make(ledger=ledger), n_samples=100)
    pipe = imblearn.make_pipeline(Halver(), resampler, LogisticRegression())
    assert cross_val_score(pipe, X, y, cv=2, error_score="raise").mean() > 0.95
    assert len(ledger) == 2
    drawn = resampler.fit_resample(X, y)
    assert [part.shape for part in drawn] == [(100, 3), (100,)]
    assert resampler.fit(X, y).generator_.privacy_spent().epsilon <= 10
    assert len(ledger) == 4


def test_groups_reach_the_generator_through_cross_validation():
    """Each fold is by persons, and each fit protects them."""
    X, y = load_iris(return_X_y=True)
    ids = np.random.default_rng(0).integers(0, 60, len(X))
    model = TSTRClassifier(DPSinkhornGenerator(epsilon=50, schema=(0, 8), classes=range(3), steps=2))
    with config_context(enable_metadata_routing=True):
        found = cross_validate(
            model.set_fit_request(groups=True), X, y, params={"groups": ids}, cv=GroupKFold(2), return_estimator=True
        )
    for fitted in found["estimator"]:
        assert fitted.generator_.privacy_spent().neighbours == "add or remove one person with all rows"


def test_regressors_and_resamplers_pass_groups_on():
    X, y = load_iris(return_X_y=True)
    ids = np.arange(len(X)) // 2
    gen = DPSinkhornGenerator(epsilon=50, schema=(0, 8), steps=2)
    regressor = TSTRRegressor(gen, n_samples=20).fit(X[:, :3], X[:, 3], groups=ids)
    resampler = SyntheticResampler(gen.set_params(classes=range(3)), n_samples=100)
    resampler.fit_resample(X, y, groups=ids)
    for fitted in (regressor, resampler, SyntheticResampler(gen).fit(X, y, groups=ids)):
        assert fitted.generator_.privacy_spent().neighbours == "add or remove one person with all rows"
    with config_context(enable_metadata_routing=True):
        model = TSTRRegressor(gen).set_fit_request(groups=True)
        found = cross_validate(
            model, X[:, :3], X[:, 3], params={"groups": ids}, cv=GroupKFold(2), return_estimator=True
        )
    assert all(made.generator_.privacy_spent().max_rows == 1 for made in found["estimator"])
