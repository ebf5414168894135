"""scikit-learn's own estimator checks, none of which may fail; and what they leave out."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils import estimator_html_repr, get_tags
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_estimators_nan_inf,
    parametrize_with_checks,
)

from sinkgen import DPSinkhornGenerator, PrivacyLedger, TSTRClassifier, TSTRRegressor

# The checks fit few records, whose labels they do not declare, and expect the same result twice: so much budget, trust
# and seeded noise are for them alone. They also want the same result for the same numbers in an array and in a data
# frame: with the schema of an array, a data frame is one.
FAST = {"epsilon": 100.0, "metadata": "trust", "steps": 4, "noise_seed": 0, "random_state": 0}
GENERATOR = DPSinkhornGenerator(schema=(-5, 5), **FAST)
ESTIMATORS = [
    DPSinkhornGenerator(**FAST),
    TSTRClassifier(GENERATOR, LogisticRegression(), n_samples=300, random_state=0),
    TSTRRegressor(GENERATOR, Ridge(), n_samples=300, random_state=0),
]


@pytest.mark.filterwarnings("ignore::sinkgen.PrivacyLeakWarning")
@pytest.mark.filterwarnings("ignore::sinkgen.exceptions.ReproducibleNoiseWarning")
@parametrize_with_checks(ESTIMATORS)
def test_estimator_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_tags_repr_clone_and_pickle(estimator):
    assert get_tags(estimator).non_deterministic
    assert get_tags(estimator).input_tags.three_d_array
    assert type(estimator).__name__ in estimator_html_repr(estimator)
    for copy in (clone(estimator), pickle.loads(pickle.dumps(estimator))):
        assert str(copy.get_params()) == str(estimator.get_params())
    with config_context(print_changed_only=False):
        assert "n_samples" in repr(estimator) or "schema" in repr(estimator)


@pytest.mark.parametrize(
    "estimator",
    [
        TSTRClassifier(GENERATOR, RandomForestClassifier(3), n_samples=300, random_state=0),
        TSTRRegressor(GENERATOR, RandomForestRegressor(3), n_samples=300, random_state=0),
    ],
    ids=["classifier", "regressor"],
)
@pytest.mark.filterwarnings("ignore::sinkgen.PrivacyLeakWarning")
@pytest.mark.filterwarnings("ignore::sinkgen.exceptions.ReproducibleNoiseWarning")
def test_missing_cells_of_arrays_are_refused_whatever_the_model_takes(estimator):
    check_estimators_nan_inf(type(estimator).__name__, estimator)


def test_tags_follow_the_inner_model():
    binary = GaussianProcessClassifier()
    assert get_tags(TSTRClassifier(GENERATOR, binary)).classifier_tags == get_tags(binary).classifier_tags
    assert get_tags(TSTRRegressor(GENERATOR, DummyRegressor())).regressor_tags.poor_score
    assert get_tags(TSTRClassifier(GENERATOR)).classifier_tags.multi_class


def test_parameters_of_the_parts_can_be_set():
    model = clone(TSTRClassifier(DPSinkhornGenerator(), LogisticRegression()))
    model.set_params(generator__epsilon=3.0, classifier__C=0.5)
    assert (model.generator.epsilon, model.classifier.C) == (3.0, 0.5)


def test_the_repr_of_a_fitted_estimator_shows_no_charge(blobs):
    ledger = PrivacyLedger()
    gen = DPSinkhornGenerator(schema=(-4, 4), classes=[0, 1], ledger=ledger).fit(*blobs)
    assert "PrivacyLedger" in estimator_html_repr(gen)
    assert len(ledger) == 1


@pytest.mark.parametrize("shape", [(30, 4, 5), (30, 4, 5, 3), (30, 6)])
def test_n_features_in_is_the_numbers_of_a_record(shape):
    gen = DPSinkhornGenerator(schema=(0, 1), steps=2).fit(np.zeros(shape))
    assert gen.n_features_in_ == np.prod(shape[1:])
    assert not hasattr(gen, "feature_names_in_")


def test_names_of_columns_are_kept_and_forgotten():
    frame = pd.DataFrame(np.random.default_rng(0).uniform(-1, 1, (50, 2)), columns=["a", "b"])
    gen = DPSinkhornGenerator(schema=(-1, 1), classes=[0, 1], steps=2).fit(frame, np.arange(50) % 2)
    assert gen.feature_names_in_.tolist() == ["a", "b"]
    assert gen.feature_names_in_.dtype == object
    drawn = gen.sample(3)[0]
    assert isinstance(drawn, pd.DataFrame)
    assert list(drawn.columns) == ["a", "b"]
    gen.fit(frame.to_numpy())
    assert not hasattr(gen, "feature_names_in_")
    assert not hasattr(gen, "classes_")
    assert isinstance(gen.sample(3), np.ndarray)


def test_a_frame_of_images_is_saved_with_its_names(tmp_path):
    frame = pd.DataFrame(np.random.default_rng(0).uniform(0, 1, (50, 4))).add_prefix("pixel")
    DPSinkhornGenerator(schema=(0, 1), image_shape=(2, 2), steps=2).fit(frame).save(tmp_path)
    assert list(DPSinkhornGenerator.load(tmp_path).sample(2).columns) == list(frame.columns)
    frame["pixel0"] = 1
    with pytest.raises(TypeError, match="several dtypes"):
        DPSinkhornGenerator(schema=(0, 1)).fit(frame)


@pytest.mark.parametrize("estimator", ESTIMATORS[1:], ids=lambda estimator: type(estimator).__name__)
@pytest.mark.filterwarnings("ignore::sinkgen.PrivacyLeakWarning")
@pytest.mark.filterwarnings("ignore::sinkgen.exceptions.ReproducibleNoiseWarning")
def test_names_of_columns_are_checked_when_predicting(estimator):
    """A check of scikit-learn's that it runs on its own estimators only."""
    check_dataframe_column_names_consistency(type(estimator).__name__, estimator)
