"""A regressor trained on synthetic records: its target is one more column of what the generator is fitted to."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import RandomForestRegressor
from sklearn.utils.validation import check_is_fitted

from sinkgen._types import RandomState
from sinkgen.data.check import check_records, unpack_numbers
from sinkgen.estimator import DPSinkhornGenerator
from sinkgen.exceptions import BadTypeError, BadValueError
from sinkgen.tstr.plan import Plan, adapted_tags, adopt_features, checked_target, finite, fit

__all__ = ["TSTRRegressor"]


class TSTRRegressor(RegressorMixin, BaseEstimator):
    """A regressor trained on synthetic records alone, to be tested on real ones.

    As :class:`TSTRClassifier`. The target is one more column of what the generator is fitted to.

    Parameters
    ----------
    generator : DPSinkhornGenerator or other estimator, default=None
        Has ``fit(X)`` and ``sample(n, random_state=...) -> X``; a clone of it is fitted. None is
        ``DPSinkhornGenerator()``. Its ``schema``, if it has one, is that of all columns and the target: the last
        column of an array; in a data frame the column of ``y``'s name, or "target" if it has none.
    regressor : regressor, default=None
        A clone of it is fitted. None is ``RandomForestRegressor()``.
    n_samples : int, default=None
        Number of synthetic records to train on; None is 2000.
    random_state : int, numpy.random.RandomState or None, default=None
        Seeds the drawing of records.

    Attributes
    ----------
    generator_ : estimator
        The fitted generator.
    regressor_ : regressor
        The fitted regressor.
    n_features_in_ : int
        Number of columns of ``X``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Only where the columns of ``X`` have names.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> X = random.uniform(-1, 1, (2000, 2))
    >>> y = X[:, 0] - X[:, 1]
    >>> model = TSTRRegressor(DPSinkhornGenerator(epsilon=10, schema=[(-1, 1), (-1, 1), (-2, 2)])).fit(X, y)
    >>> bool(model.score(X, y) > 0.5)
    True
    """

    def __init__(
        self,
        generator: DPSinkhornGenerator | None = None,
        regressor: Any = None,
        n_samples: int | None = None,
        random_state: RandomState = None,
    ) -> None:
        self.generator = generator
        self.regressor = regressor
        self.n_samples = n_samples
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None) -> "TSTRRegressor":
        """Fit the generator to records and targets, and the regressor to its samples.

        Parameters
        ----------
        X : array of shape (n, columns) or data frame
        y : array of shape (n,)
            Numbers.
        groups : array of shape (n,), default=None
            Whose each row is, for the generator: persons are protected then. In a search or cross-validation ask for
            it by ``set_fit_request(groups=True)``, with scikit-learn's metadata routing.

        Returns
        -------
        self : TSTRRegressor

        Raises
        ------
        TypeError, ValueError
            If a parameter or the data are unusable; before anything is spent.

        Examples
        --------
        >>> X = np.random.default_rng(0).uniform(-1, 1, (500, 2))
        >>> model = TSTRRegressor(DPSinkhornGenerator(epsilon=10, schema=(-1, 1))).fit(X, X[:, 0])
        >>> model.n_features_in_
        2
        """
        plan = Plan(self.generator, self._model(), self.n_samples, self.random_state)
        plan.check_model(X, np.arange(2.0))
        joint = _frame_with_target(X, y) if hasattr(X, "columns") else _array_with_target(X, y)
        self.generator_ = plan.generator  # at once: a warning that is made an error must not lose what is paid for
        fit(plan.generator, joint, groups=groups)
        self.regressor_ = plan.model.fit(*_without_target(plan.draw()))
        adopt_features(self, self.generator_, but=1)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict the targets of real records.

        Parameters
        ----------
        X : array of shape (n, columns) or data frame

        Returns
        -------
        ndarray of shape (n,)

        Raises
        ------
        NotFittedError
            Before ``fit``.

        Examples
        --------
        >>> X = np.random.default_rng(0).uniform(-1, 1, (500, 2))
        >>> model = TSTRRegressor(DPSinkhornGenerator(epsilon=10, schema=(-1, 1))).fit(X, X[:, 0])
        >>> model.predict(X[:3]).shape
        (3,)
        """
        check_is_fitted(self, "regressor_")
        return self.regressor_.predict(finite(X))

    def __sklearn_tags__(self):
        return adapted_tags(super().__sklearn_tags__(), self.generator, self._model())

    def _model(self):
        return RandomForestRegressor() if self.regressor is None else self.regressor


def _target(X, y):
    y = unpack_numbers(checked_target(X, y))
    if y.dtype.kind not in "biuf":
        raise BadTypeError(f"y must hold numbers, got dtype {y.dtype}")
    return y


def _array_with_target(X, y):
    X, y = check_records(X), _target(X, y)
    if X.ndim != 2:
        raise BadValueError(f"X must have 2 dimensions, so that the target can be one more column; got {X.ndim}")
    if len(X) != len(y):
        raise BadValueError(f"y must hold one target for each record of X, got shape {y.shape}")
    return np.column_stack([X, y])


def _frame_with_target(X, y):
    name = getattr(y, "name", None) or "target"
    if name in X.columns:
        raise BadValueError(f"X has a column {name!r}: give y another name")
    joint = X.copy(deep=False)
    joint[name] = _target(X, y)
    return joint


def _without_target(joint):
    if hasattr(joint, "columns"):
        return joint[joint.columns[:-1]], joint[joint.columns[-1]]
    return joint[:, :-1], joint[:, -1]
