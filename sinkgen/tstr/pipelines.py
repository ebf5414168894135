"""Draws of a pipeline whose last step is a generator, in the units of what the pipeline was fitted to."""

import warnings
from typing import Any

from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import get_tags

from sinkgen._types import RandomState
from sinkgen.exceptions import BadTypeError, PrivacyLeakWarning

__all__ = ["sample_from_pipeline"]


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
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from sinkgen import DPSinkhornGenerator
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
