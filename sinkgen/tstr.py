"""Train on synthetic, test on real; and the generator as a part of pipelines."""

import warnings
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import check_random_state, column_or_1d, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from sinkgen._types import RandomState
from sinkgen._validation import check_integer
from sinkgen.data.check import check_finite, check_records, unpack_numbers
from sinkgen.estimator import DPSinkhornGenerator
from sinkgen.exceptions import BadTypeError, BadValueError, PoorFitWarning, PrivacyLeakWarning

__all__ = ["SyntheticResampler", "TSTRClassifier", "TSTRRegressor", "sample_from_pipeline"]

# Synthetic records are free, and the number of real ones is private: what is drawn by default depends on neither.
DEFAULT_SAMPLES = 2000


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
        plan = _Plan(self.generator, self._model(), self.n_samples, self.random_state)
        y = _column(y)
        check_classification_targets(y)
        plan.take_codes(y)
        plan.check_samples(y)
        self.generator_ = plan.generator  # at once: a warning that is made an error must not lose what is paid for
        _fit(plan.generator, X, y, groups=groups)
        X_new, y_new = plan.draw()
        # Many classifiers refuse a single class, and what is paid for must not be lost with them.
        model = plan.model if len(np.unique(y_new)) > 1 else DummyClassifier(strategy="most_frequent")
        self.classifier_ = model.fit(X_new, y_new)
        self.classes_ = self.classifier_.classes_
        _adopt_features(self, self.generator_)
        _tell_of_classes_not_drawn(y_new, self.generator_)
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
        return self.classifier_.predict(_finite(X))

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
        return self.classifier_.predict_proba(_finite(X))

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
        return self.classifier_.decision_function(_finite(X))

    def __sklearn_tags__(self):
        return _adapt_tags(super().__sklearn_tags__(), self.generator, self._model())

    def _model(self):
        return RandomForestClassifier() if self.classifier is None else self.classifier


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
        plan = _Plan(self.generator, self._model(), self.n_samples, self.random_state)
        joint = _frame_with_target(X, y) if hasattr(X, "columns") else _array_with_target(X, y)
        self.generator_ = plan.generator  # at once: a warning that is made an error must not lose what is paid for
        _fit(plan.generator, joint, groups=groups)
        self.regressor_ = plan.model.fit(*_without_target(plan.draw()))
        _adopt_features(self, self.generator_, but=1)
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
        return self.regressor_.predict(_finite(X))

    def __sklearn_tags__(self):
        return _adapt_tags(super().__sklearn_tags__(), self.generator, self._model())

    def _model(self):
        return RandomForestRegressor() if self.regressor is None else self.regressor


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
        drawn = self._plan_and_fit(X, _column(y), groups).draw()
        _tell_of_classes_not_drawn(drawn[1], self.generator_)
        return drawn

    def _plan_and_fit(self, X, y, groups):
        plan = _Plan(self.generator, None, self.n_samples, self.random_state)
        plan.take_codes(_column(y))
        self.generator_ = plan.generator  # at once: a warning that is made an error must not lose what is paid for
        _fit(plan.generator, X, y, groups=groups)
        _adopt_features(self, self.generator_)
        return plan


def sample_from_pipeline(pipeline: Any, n_samples: int = 1, *, y: Any = None, random_state: RandomState = None) -> Any:
    """Draw from a pipeline whose last step is a generator, back through the steps before it.

    Parameters
    ----------
    pipeline : sklearn.pipeline.Pipeline
        Fitted; its last step has ``sample``, and those before it ``inverse_transform``.
    n_samples, y, random_state
        As for :meth:`DPSinkhornGenerator.sample <sinkgen.DPSinkhornGenerator.sample>`.

    Returns
    -------
    X : array of shape (n_samples, ...) or data frame
        In the units of what the pipeline was fitted to.
    y : ndarray of shape (n,)
        Only if the generator was fitted with labels.

    Raises
    ------
    TypeError
        If ``pipeline`` is none, or a step cannot be inverted.

    Warns
    -----
    PrivacyLeakWarning
        If a step before the generator was fitted to the records: what it learned of them (a mean, a maximum, a
        category) is outside the privacy budget, and is in the samples. Public are steps without state, such as
        ``FunctionTransformer``, and a ``FrozenEstimator``, which was fitted elsewhere.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> X = np.random.default_rng(0).lognormal(size=(500, 2))
    >>> gen = DPSinkhornGenerator(epsilon=5, schema=(0, 3))
    >>> pipe = make_pipeline(FunctionTransformer(np.log1p, np.expm1), gen).fit(X)
    >>> sample_from_pipeline(pipe, 100).shape
    (100, 2)
    """
    before, generator = _split_pipeline(pipeline)
    learned = [name for name, step in before if not _is_public(step)]
    if learned:
        message = f"fitted to the records outside the privacy budget, and in what is drawn: {', '.join(learned)}"
        warnings.warn(message, PrivacyLeakWarning, stacklevel=2)
    drawn = generator.sample(n_samples, y=y, random_state=random_state)
    X, labels = drawn if isinstance(drawn, tuple) else (drawn, None)
    for _, step in reversed(before):
        X = step.inverse_transform(X)
    return X if labels is None else (X, labels)


# --- Training on synthetic records -----------------------------------------------------------------------------------


class _Plan:
    """Checked parameters, before anything is spent: what to fit, and what to draw."""

    def __init__(self, generator, model, n_samples, random_state):
        self.generator = clone(_generator(generator))
        if not hasattr(self.generator, "sample"):
            raise BadTypeError(f"generator must have fit and sample, got {type(generator).__name__}")
        if not (model is None or (hasattr(model, "fit") and hasattr(model, "predict"))):
            raise BadTypeError(f"the classifier or regressor must have fit and predict, got {model!r}")
        self.model: Any = None if model is None else clone(model)
        self.n_samples = DEFAULT_SAMPLES if n_samples is None else check_integer("n_samples", n_samples, low=1)
        self.seed = None if random_state is None else check_random_state(random_state).randint(2**31)

    def take_codes(self, y):
        """Declare codes in place of the classes where ``y`` holds these, as VotingClassifier and its like encode it.

        How many classes there are is public, and so is of what dtype y is.
        """
        declared = getattr(self.generator, "classes", None)
        if declared is None or y.dtype.kind not in "iu" or not len(y):
            return
        classes = list(declared)
        are_codes = y.min() >= 0 and y.max() < len(classes)
        if are_codes and all(isinstance(label, str) for label in classes):
            self.generator.set_params(classes=range(len(classes)))
        elif are_codes and y.min() == 0 and 0 not in classes:
            raise BadValueError(
                "y holds the number 0, which is not declared: VotingClassifier, StackingClassifier and "
                f"cross_val_predict encode labels from 0 on; declare classes=range({len(classes)})"
            )

    def check_samples(self, y):
        """Raise ValueError where fewer records are to be drawn than there are classes."""
        declared = getattr(self.generator, "classes", None)
        if self.n_samples < len(np.unique(y) if declared is None else declared):
            raise BadValueError(
                f"n_samples is {self.n_samples}, and there are more classes: each needs a record at least"
            )

    def draw(self):
        return self.generator.sample(self.n_samples, random_state=self.seed)


def _fit(generator, *data, groups):
    """Fit a generator; groups are for one that knows them, and other estimators need not."""
    generator.fit(*data, **{} if groups is None else {"groups": groups})


def _column(y):
    if y is None:
        raise BadValueError("this estimator requires y to be passed, but the target y is None")
    y = column_or_1d(y, warn=True)
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise BadValueError("y contains NaN or infinity")
    return y


def _tell_of_classes_not_drawn(drawn, generator):
    """Warn of classes that the generator knows and none of the drawn records has; of released facts alone."""
    lost = np.setdiff1d(getattr(generator, "classes_", drawn), drawn)
    if len(lost):
        message = f"no synthetic record is of the classes {lost.tolist()}: raise n_samples, or epsilon"
        warnings.warn(message, PoorFitWarning, stacklevel=3)  # the caller of fit


def _target(y):
    y = unpack_numbers(_column(y))
    if y.dtype.kind not in "biuf":
        raise BadTypeError(f"y must hold numbers, got dtype {y.dtype}")
    return y


def _array_with_target(X, y):
    X, y = check_records(X), _target(y)
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
    joint[name] = _target(y)
    return joint


def _without_target(joint):
    if hasattr(joint, "columns"):
        return joint[joint.columns[:-1]], joint[joint.columns[-1]]
    return joint[:, :-1], joint[:, -1]


def _adopt_features(estimator, generator, but=0):
    """Number and names of the features that the generator saw, ``but`` the last ones."""
    estimator.n_features_in_ = generator.n_features_in_ - but
    if hasattr(generator, "feature_names_in_"):
        estimator.feature_names_in_ = generator.feature_names_in_[: estimator.n_features_in_]


def _model_has(self, method):
    """True if the classifier, fitted or to be, has the method; AttributeError if not."""
    getattr(getattr(self, "classifier_", self._model()), method)
    return True


def _adapt_tags(tags, generator, model):
    tags.non_deterministic = True  # so is the generator's noise
    tags.input_tags = get_tags(_generator(generator)).input_tags
    of_model = get_tags(model)
    tags.classifier_tags, tags.regressor_tags = of_model.classifier_tags, of_model.regressor_tags
    return tags


def _finite(X):
    """``X``, where it is an array only if it is finite: so were the records fitted, whatever the model would take."""
    if not (hasattr(X, "columns") or sparse.issparse(X)):
        check_finite(np.asarray(X))
    return X


def _generator(generator):
    return DPSinkhornGenerator() if generator is None else generator


# --- Pipelines -------------------------------------------------------------------------------------------------------


def _split_pipeline(pipeline):
    """Named steps before the generator, and the generator."""
    if not isinstance(pipeline, Pipeline) or not hasattr(pipeline[-1], "sample"):
        raise BadTypeError("pipeline must be a Pipeline with a generator, which has `sample`, as its last step")
    before = [(name, step) for name, step in pipeline.steps[:-1] if step is not None and step != "passthrough"]
    for name, step in before:
        one_way = isinstance(step, FunctionTransformer) and step.func is not None and step.inverse_func is None
        if one_way or not hasattr(step, "inverse_transform"):
            raise BadTypeError(f"step {name!r} cannot be inverted")
    return before, pipeline[-1]


def _is_public(step):
    """Whether a fitted step knows nothing of what it was fitted to.

    It does if it says so by its tags, or was frozen before, or holds nothing but its parameters, and so do these.
    """
    if isinstance(step, FrozenEstimator) or not get_tags(step).requires_fit:
        return True
    own = {"n_features_in_", "feature_names_in_", *step.get_params(deep=False)}
    learned = [name for name in vars(step) if name not in own and not name.startswith(("_sklearn", "_metadata"))]
    inner = [value for value in step.get_params().values() if hasattr(value, "fit")]
    return not learned and all(map(_is_public, inner))
