"""What all of them do: a clone of the generator is fitted to the records, and records are drawn to train on."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import clone
from sklearn.utils import check_random_state, column_or_1d, get_tags

from sinkgen._validation import check_integer
from sinkgen.data.check import check_finite, check_order
from sinkgen.estimator import DPSinkhornGenerator
from sinkgen.exceptions import BadTypeError, BadValueError, PoorFitWarning

# Synthetic records are free, and the number of real ones is private: what is drawn by default depends on neither.
DEFAULT_SAMPLES = 2000


class Plan:
    """Checked parameters, before anything is spent: what to fit, and what to draw."""

    def __init__(self, generator, model, n_samples, random_state):
        self.generator = clone(generator_or_default(generator))
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

    def check_model(self, X, target):
        """Raise TypeError where the model takes no tables of such dtypes, as it stands alone; by their dtypes only.

        Parameters
        ----------
        X : array or data frame
        target : ndarray of shape (2,)
            Two labels or numbers of the kind of ``y``.
        """
        no_numbers = [name for name in X.columns if _is_no_number(X[name])] if hasattr(X, "iloc") else []
        if not no_numbers:
            return
        made_up = pd.DataFrame({name: _two_cells(X[name]) if name in no_numbers else [0.0, 1.0] for name in X.columns})
        for model in _takers(self.model):
            try:
                clone(model).fit(made_up, target)
            except (TypeError, ValueError):
                kind = type(model).__name__
                raise BadTypeError(
                    f"{kind} takes no columns that are not numbers by dtype, such as {no_numbers}: give numbers such a "
                    "dtype, as by infer_objects(), and put a transformer of the others before it, as in "
                    "make_pipeline(make_column_transformer((OneHotEncoder(handle_unknown='ignore'), "
                    f"{no_numbers}), remainder='passthrough'), {kind}())"
                ) from None

    def draw(self):
        """Synthetic records to train on."""
        return self.generator.sample(self.n_samples, random_state=self.seed)


def _takers(model):
    """Models of scikit-learn that get a table as it stands: of searches and votes those inside, of pipelines none."""
    if hasattr(model, "steps"):
        return []
    inner = [model.estimator] if getattr(model, "estimator", None) is not None else getattr(model, "estimators", ())
    inner = [part[1] if isinstance(part, tuple) else part for part in inner]
    if inner:
        return [taker for part in inner if hasattr(part, "fit") for taker in _takers(part)]
    has_parts = len(model.get_params(deep=True)) > len(model.get_params(deep=False))
    return [] if has_parts or not type(model).__module__.startswith("sklearn.") else [model]


def _is_no_number(series):
    # Objects are taken for text, as a fit takes them for categories: to look at the cells would tell of them.
    return not pd.api.types.is_numeric_dtype(series.dtype)


def _two_cells(series):
    """Two cells that might stand in a column of texts, categories or dates."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        return pd.Categorical(["a", "b"])
    return pd.Series([0, 1]).astype(series.dtype) if series.dtype.kind == "M" else ["a", "b"]


def fit(generator, *data, groups):
    """Fit a generator; groups are for one that knows them, and other estimators need not."""
    generator.fit(*data, **{} if groups is None else {"groups": groups})


def checked_target(X, y):
    """Labels or targets of records as one column, none of which is missing."""
    if y is None:
        raise BadValueError("this estimator requires y to be passed, but the target y is None")
    check_order(X, y, "y")
    y = column_or_1d(y, warn=True)
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise BadValueError("y contains NaN or infinity")
    return y


def tell_of_classes_not_drawn(drawn, generator):
    """Warn of classes that the generator knows and none of the drawn records has; of released facts alone."""
    lost = np.setdiff1d(getattr(generator, "classes_", drawn), drawn)
    if len(lost):
        message = f"no synthetic record is of the classes {lost.tolist()}: raise n_samples, or epsilon"
        warnings.warn(message, PoorFitWarning, stacklevel=3)  # the caller of fit


def adopt_features(estimator, generator, but=0):
    """Number and names of the features that the generator saw, ``but`` the last ones."""
    estimator.n_features_in_ = generator.n_features_in_ - but
    if hasattr(generator, "feature_names_in_"):
        estimator.feature_names_in_ = generator.feature_names_in_[: estimator.n_features_in_]


def adapted_tags(tags, generator, model):
    """Tags of an estimator that takes what its generator takes, and predicts as its model does."""
    tags.non_deterministic = True  # so is the generator's noise
    tags.input_tags = get_tags(generator_or_default(generator)).input_tags
    of_model = get_tags(model)
    tags.classifier_tags, tags.regressor_tags = of_model.classifier_tags, of_model.regressor_tags
    return tags


def finite(X):
    """``X``, where it is an array only if it is finite: so were the records fitted, whatever the model would take."""
    if not (hasattr(X, "columns") or sparse.issparse(X)):
        check_finite(np.asarray(X))
    return X


def generator_or_default(generator):
    """What None stands for."""
    return DPSinkhornGenerator() if generator is None else generator
