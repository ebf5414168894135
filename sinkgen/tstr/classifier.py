"""A classifier trained on synthetic records."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from sinkgen._types import RandomState
from sinkgen.estimator import DPSinkhornGenerator
from sinkgen.tstr.plan import Plan, adapted_tags, adopt_features, checked_target, finite, fit, tell_of_classes_not_drawn

__all__ = ["TSTRClassifier"]


class TSTRClassifier(ClassifierMixin, BaseEstimator):
    """A classifier trained on synthetic records alone, to be tested on real ones.

    ``fit`` fits the generator to the records, and the classifier to what the generator draws: a private classifier, as
    anything made of a release is, and in ``cross_val_score`` a measure of what the synthetic data are good for.

    Parameters
    ----------
    generator : DPSinkhornGenerator or other estimator, default=None
        Has ``fit(X, y)`` and ``sample(n, random_state=...) -> X, y``; a clone of it is fitted. None is
        ``DPSinkhornGenerator()``.
    classifier : classifier, default=None
        A clone of it is fitted. None is ``RandomForestClassifier()``.
    n_samples : int, default=None
        Number of synthetic records to train on; scores depend on it, and more cost time but no privacy. None is
        2000, whatever the number of records in ``X``, which is private.
    random_state : int, numpy.random.RandomState or None, default=None
        Seeds the drawing of records; neither the generator nor the classifier, which have their own.

    Attributes
    ----------
    generator_ : estimator
        The fitted generator; ``generator_.privacy_spent()`` is what ``fit`` cost.
    classifier_ : classifier
        The fitted classifier; a ``DummyClassifier`` where the records drawn are of one class.
    classes_ : ndarray of shape (n_classes,)
        Classes that the classifier knows.
    n_features_in_ : int
        Number of columns of ``X``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Only where the columns of ``X`` have names.

    Notes
    -----
    The classifier is as private as the generator. A score on real records is not: it is computed from them, without
    noise. Every fold and every setting of a search is a spend of its own; give the generator a
    :class:`~sinkgen.PrivacyLedger` to add them up.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> X, X_test, y, y_test = train_test_split(*load_digits(return_X_y=True), random_state=0)
    >>> gen = DPSinkhornGenerator(epsilon=10, schema=(0, 16), image_shape=(8, 8), classes=range(10))
    >>> bool(TSTRClassifier(gen).fit(X, y).score(X_test, y_test) > 0.7)
    True
    """

    def __init__(
        self,
        generator: DPSinkhornGenerator | None = None,
        classifier: Any = None,
        n_samples: int | None = None,
        random_state: RandomState = None,
    ) -> None:
        self.generator = generator
        self.classifier = classifier
        self.n_samples = n_samples
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None) -> "TSTRClassifier":
        """Fit the generator to the records and the classifier to its samples.

        Parameters
        ----------
        X : array of shape (n, ...) or data frame
            Whatever the generator takes.
        y : array of shape (n,)
            Labels.
        groups : array of shape (n,), default=None
            Whose each row is, for the generator: persons are protected then. In a search or cross-validation ask for
            it by ``set_fit_request(groups=True)``, with scikit-learn's metadata routing.

        Returns
        -------
        self : TSTRClassifier

        Raises
        ------
        TypeError, ValueError
            If a parameter or the data are unusable; before anything is spent.

        Warns
        -----
        PoorFitWarning
            Of what is poorly known of the release, and if none of the records drawn is of some class. The classifier
            then knows the others; where only one class is drawn, it is one that always says this.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> model = TSTRClassifier(DPSinkhornGenerator(epsilon=20, schema=(0, 8), classes=range(3)))
        >>> model.fit(*load_iris(return_X_y=True)).classes_.tolist()
        [0, 1, 2]
        """
        plan = Plan(self.generator, self._model(), self.n_samples, self.random_state)
        y = checked_target(X, y)
        check_classification_targets(y)
        plan.take_codes(y)
        plan.check_samples(y)
        plan.check_model(X, np.arange(2))
        self.generator_ = plan.generator  # at once: a warning that is made an error must not lose what is paid for
        fit(plan.generator, X, y, groups=groups)
        X_new, y_new = plan.draw()
        # Many classifiers refuse a single class, and what is paid for must not be lost with them.
        model = plan.model if len(np.unique(y_new)) > 1 else DummyClassifier(strategy="most_frequent")
        self.classifier_ = model.fit(X_new, y_new)
        self.classes_ = self.classifier_.classes_
        adopt_features(self, self.generator_)
        tell_of_classes_not_drawn(y_new, self.generator_)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict the labels of real records.

        Parameters
        ----------
        X : array of shape (n, ...) or data frame

        Returns
        -------
        ndarray of shape (n,)

        Raises
        ------
        NotFittedError
            Before ``fit``.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = TSTRClassifier(DPSinkhornGenerator(epsilon=20, schema=(0, 8), classes=range(3))).fit(X, y)
        >>> model.predict(X[:2]).shape
        (2,)
        """
        check_is_fitted(self, "classifier_")
        return self.classifier_.predict(finite(X))

    @available_if(lambda self: _model_has(self, "predict_proba"))
    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict the probabilities of the classes of real records; only where the classifier does.

        Parameters
        ----------
        X : array of shape (n, ...) or data frame

        Returns
        -------
        ndarray of shape (n, n_classes)

        Raises
        ------
        NotFittedError
            Before ``fit``.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = TSTRClassifier(DPSinkhornGenerator(epsilon=20, schema=(0, 8), classes=range(3))).fit(X, y)
        >>> model.predict_proba(X[:2]).shape
        (2, 3)
        """
        check_is_fitted(self, "classifier_")
        return self.classifier_.predict_proba(finite(X))

    @available_if(lambda self: _model_has(self, "decision_function"))
    def decision_function(self, X: Any) -> np.ndarray:
        """Give the decision values of real records; only where the classifier does.

        Parameters
        ----------
        X : array of shape (n, ...) or data frame

        Returns
        -------
        ndarray of shape (n,) or (n, n_classes)

        Raises
        ------
        NotFittedError
            Before ``fit``.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.linear_model import LogisticRegression
        >>> X, y = load_iris(return_X_y=True)
        >>> gen = DPSinkhornGenerator(epsilon=20, schema=(0, 8), classes=range(3))
        >>> TSTRClassifier(gen, LogisticRegression(max_iter=1000)).fit(X, y).decision_function(X[:2]).shape
        (2, 3)
        """
        check_is_fitted(self, "classifier_")
        return self.classifier_.decision_function(finite(X))

    def __sklearn_tags__(self):
        return adapted_tags(super().__sklearn_tags__(), self.generator, self._model())

    def _model(self):
        return RandomForestClassifier() if self.classifier is None else self.classifier


def _model_has(self, method):
    """True if the classifier, fitted or to be, has the method; AttributeError if not."""
    getattr(getattr(self, "classifier_", self._model()), method)
    return True
