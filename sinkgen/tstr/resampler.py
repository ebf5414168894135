"""Synthetic records in place of real ones: a step of the pipelines of imbalanced-learn."""

from typing import Any

from sklearn.base import BaseEstimator

from sinkgen._types import RandomState
from sinkgen.estimator import DPSinkhornGenerator
from sinkgen.tstr.plan import Plan, adopt_features, checked_target, fit, tell_of_classes_not_drawn

__all__ = ["SyntheticResampler"]


class SyntheticResampler(BaseEstimator):
    """What replaces records by synthetic ones: a step for the Pipeline of imbalanced-learn.

    Such a pipeline calls ``fit_resample`` when it is fitted and passes the step over when it predicts, so that all
    that comes after it is trained on synthetic records and tested on real ones.

    Parameters
    ----------
    generator : DPSinkhornGenerator or other estimator, default=None
        A clone of it is fitted. None is ``DPSinkhornGenerator()``.
    n_samples : int, default=None
        Number of records to draw; None is 2000.
    random_state : int, numpy.random.RandomState or None, default=None
        Seeds the drawing of records.

    Attributes
    ----------
    generator_ : estimator
        The fitted generator.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> gen = DPSinkhornGenerator(epsilon=20, schema=(0, 8), classes=range(3))
    >>> X, y = SyntheticResampler(gen, n_samples=50).fit_resample(*load_iris(return_X_y=True))
    >>> X.shape, y.shape
    ((50, 4), (50,))
    """

    def __init__(
        self,
        generator: DPSinkhornGenerator | None = None,
        n_samples: int | None = None,
        random_state: RandomState = None,
    ) -> None:
        self.generator = generator
        self.n_samples = n_samples
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None) -> "SyntheticResampler":
        """Fit the generator.

        Parameters
        ----------
        X : array of shape (n, ...) or data frame
        y : array of shape (n,)
        groups : array of shape (n,), default=None
            Whose each row is, for the generator: persons are protected then.

        Returns
        -------
        self : SyntheticResampler

        Raises
        ------
        TypeError, ValueError
            If a parameter or the data are unusable; before anything is spent.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> gen = DPSinkhornGenerator(epsilon=20, schema=(0, 8), classes=range(3))
        >>> SyntheticResampler(gen).fit(*load_iris(return_X_y=True)).generator_.sample(5)[0].shape
        (5, 4)
        """
        self._plan_and_fit(X, y, groups)
        return self

    def fit_resample(self, X: Any, y: Any, groups: Any = None) -> tuple[Any, Any]:
        """Fit the generator and return synthetic records in place of the real ones.

        Parameters
        ----------
        X : array of shape (n, ...) or data frame
        y : array of shape (n,)
        groups : array of shape (n,), default=None
            Whose each row is, for the generator: persons are protected then.

        Returns
        -------
        X : like the ``X`` given, n_samples records
        y : ndarray of shape (n_samples,)

        Raises
        ------
        TypeError, ValueError
            As :meth:`TSTRClassifier.fit`.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> gen = DPSinkhornGenerator(epsilon=20, schema=(0, 8), classes=range(3))
        >>> X, y = SyntheticResampler(gen, n_samples=50).fit_resample(*load_iris(return_X_y=True))
        >>> X.shape, y.shape
        ((50, 4), (50,))
        """
        drawn = self._plan_and_fit(X, checked_target(X, y), groups).draw()
        tell_of_classes_not_drawn(drawn[1], self.generator_)
        return drawn

    def _plan_and_fit(self, X, y, groups):
        plan = Plan(self.generator, None, self.n_samples, self.random_state)
        plan.take_codes(checked_target(X, y))
        self.generator_ = plan.generator  # at once: a warning that is made an error must not lose what is paid for
        fit(plan.generator, X, y, groups=groups)
        adopt_features(self, self.generator_)
        return plan
