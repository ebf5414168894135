"""scikit-learn's own estimator checks, none of which may fail; and what they leave out."""

import pickle

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils import estimator_html_repr, get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from sinkgen import DPSinkhornGenerator, PrivacyLedger, TSTRClassifier, TSTRRegressor

# The checks fit few records without declaring anything, and expect the same result twice: so much budget, trust and
# seeded noise are for them alone.
GENERATOR = DPSinkhornGenerator(100.0, metadata="trust", steps=4, noise_seed=0, random_state=0)
ESTIMATORS = [
    GENERATOR,
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
