"""Public records, or what draws such: how they are read, and what of them is refused."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture

from sinkgen import DPSinkhornGenerator
from sinkgen.data.formats import numeric_format
from sinkgen.data.prior import N_DRAWS, is_prior, read_prior

IMAGES = numeric_format(np.zeros((1, 4, 4), "uint8"))
ROWS = numeric_format(np.zeros((1, 2)), schema=(0, 1))


def test_records_are_taken_as_they_are():
    values = np.arange(48, dtype="uint8").reshape(3, 4, 4)
    prior = read_prior(values, IMAGES)
    assert prior.values is values
    assert prior.assumption == "3 public records as prior"


def test_a_fitted_generator_is_drawn_from_the_same_way_each_time():
    public = np.random.default_rng(0).uniform(size=(200, 2))
    gen = DPSinkhornGenerator(np.inf, schema=(0, 1), random_state=0).fit(public, np.arange(200) % 2)
    first, second = read_prior(gen, ROWS), read_prior(gen, ROWS)
    np.testing.assert_array_equal(first.values, second.values)
    assert first.values.shape == (N_DRAWS, 2)
    assert "DPSinkhornGenerator" in first.origin


def test_a_generator_of_another_library_is_drawn_from():
    mixture = GaussianMixture(2, random_state=0).fit(np.random.default_rng(0).uniform(size=(200, 2)))
    assert read_prior(mixture, ROWS).values.shape == (N_DRAWS, 2)


def test_a_generator_that_is_not_fitted_says_so():
    with pytest.raises(NotFittedError):
        read_prior(DPSinkhornGenerator(), ROWS)


@pytest.mark.parametrize(
    ("values", "error", "told"),
    [
        (np.zeros((5, 4, 5), "uint8"), ValueError, r"shape of X's, \(m, 4, 4\), got \(5, 4, 5\)"),
        (np.zeros(5, "uint8"), ValueError, "shape of X's"),
        (np.zeros((5, 4, 4)), TypeError, "dtype of X, uint8, got float64"),
        (np.zeros((1, 4, 4), "uint8"), ValueError, "at least 2 records"),
    ],
)
def test_what_does_not_fit_is_told(values, error, told):
    with pytest.raises(error, match=told):
        read_prior(values, IMAGES)


def test_numbers_must_be_finite():
    with pytest.raises(ValueError, match="prior contains NaN"):
        read_prior(np.array([[0.0, np.nan], [0.0, 1.0]]), ROWS)


def test_a_fit_that_goes_on_tells_priors_apart_by_all_of_their_values():
    values = np.zeros((3000, 4, 4), "uint8")
    other = values.copy()
    other[1500, 2, 2] = 1  # in the middle, which numpy leaves out of what it prints
    assert repr(read_prior(values, IMAGES)) == repr(read_prior(values.copy(), IMAGES))
    assert repr(read_prior(values, IMAGES)) != repr(read_prior(other, IMAGES))


@pytest.mark.parametrize("wrong", ["cifar10", 3, object(), DPSinkhornGenerator])
def test_what_is_no_prior_is_told(wrong):
    if wrong is not DPSinkhornGenerator:  # a class has sample, too: it fails when it is drawn from
        assert not is_prior(wrong)
