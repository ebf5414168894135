"""How faithful synthetic records are: a table of measures.

All of it looks at real records without noise: it is for those who hold them, and no part of a release.
"""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import type_of_target

from sinkgen._types import RandomState
from sinkgen.exceptions import BadValueError
from sinkgen.report.columns import Columns, as_part, differing_share, hold_out, named_columns

__all__ = ["score_report"]

MOST_PAIRS = 200
DIFFERENT = "different cells, "


def score_report(
    real: Any,
    synthetic: Any,
    *,
    test: Any = None,
    models: Mapping[str, Any] | None = None,
    random_state: RandomState = None,
) -> Any:
    """Measure how well synthetic records stand in for real ones.

    Parameters
    ----------
    real : X or (X, y)
        What the generator was fitted to: array, images or data frame, with labels or a numeric target if they are to
        be learned.
    synthetic : X or (X, y)
        What it drew.
    test : X or (X, y), default=None
        Real records that the generator has not seen. None holds out a third of ``real``: then what is tested on has
        been seen by the generator, though through its noise.
    models : dict of str to estimator, default=None
        Classifiers or regressors to train on synthetic records and test on real ones (TSTR). None is a linear model
        and a random forest. Data frames reach them as numbers, categories one-hot.
    random_state : int, numpy.random.RandomState or None, default=None
        Seeds the split, the forest and the choice of pairs where there are many columns.

    Returns
    -------
    pandas.DataFrame
        One row a measure, with two columns: "synthetic", and, as the mark to reach, "real": the same measure with the
        real training records in place of the synthetic ones.

        ``accuracy, <model>`` (or ``R2``)
            Score on the test records of a model trained on these.
        ``class coverage``
            How often each class is drawn, beside how often it occurs: the mean over classes of the ratio, 1 where it is
            more. What class a record is of says the last of the classifiers, trained on real records. 1 is best; a
            generator that has lost a class of ten has 0.9 at most.
        ``one-way marginals``, ``two-way marginals``
            Total variation distance to the test records' histogram of a column, or of a pair of columns, in ten bins
            of the real records' quantiles or in categories; mean over columns. 0 is best, 1 worst.
        ``nearest-record ratio``
            Median distance of these to the nearest real training record (other than itself), over that of the test
            records. Far below 1: records were copied.
        ``different cells, <column>``
            Of columns of text whose cells nearly all differ in the real records, such as names or numbers of persons:
            the share of cells that do. All other measures leave such columns out, for two samples of real records are
            as far apart in them as can be.

    Raises
    ------
    ImportError
        Without pandas.
    ValueError
        If the parts differ in their columns, or only some of them have labels.

    Notes
    -----
    Every number is computed from real records, without noise. Show it to nobody whom you would not show the records.

    Examples
    --------
    >>> from sinkgen import DPSinkhornGenerator
    >>> random = np.random.default_rng(0)
    >>> y = random.integers(2, size=600)
    >>> X = random.normal(y[:, None], 0.3, (600, 2))
    >>> gen = DPSinkhornGenerator(epsilon=10, schema=(-1, 2), classes=[0, 1]).fit(X, y)
    >>> report = score_report((X, y), gen.sample(600), random_state=0)
    >>> list(report.index)[2:]
    ['class coverage', 'one-way marginals', 'two-way marginals', 'nearest-record ratio']
    >>> bool(report.loc["accuracy, random forest", "synthetic"] > 0.8)
    True
    """
    import pandas as pd

    random = check_random_state(random_state)
    real, synthetic = as_part(real), as_part(synthetic)
    real, test = hold_out(real, random) if test is None else (real, as_part(test))
    if len({part.y is None for part in (real, synthetic, test)}) == 2:
        raise BadValueError("real, synthetic and test must all have labels, or none of them")
    columns = Columns(real)
    views = columns.views(synthetic=synthetic, real=real, test=test)
    rows = _learning_rows(views, models, random) | _marginal_rows(views, random) | _nearest_row(views)
    rows |= {
        f"{DIFFERENT}{name}": [differing_share(named_columns(part.X)[name]) for part in (synthetic, real)]
        for name in columns.ids
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["synthetic", "real"]).rename_axis("measure")


# --- Measures --------------------------------------------------------------------------------------------------------


def _learning_rows(views, models, random):
    test = views["test"]
    if test.y is None:
        return {}
    models = _default_models(views["real"].y, random) if models is None else models
    rows, coverage = {}, None
    for name, model in models.items():
        measure = "accuracy" if is_classifier(model) else "R2"
        fitted = [_fitted(model, view) for view in (views["synthetic"], views["real"])]
        rows[f"{measure}, {name}"] = [each.score(test.numbers, test.y) for each in fitted]
        if is_classifier(model):
            coverage = [class_coverage(fitted[1], views[of].numbers, test.numbers) for of in ("synthetic", "real")]
    return rows | ({} if coverage is None else {"class coverage": coverage})


def class_coverage(classifier, synthetic, test):
    """Mean over classes of how often synthetic records are read as each, beside test records; 1 where it is more.

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier
    >>> one_class = DummyClassifier(strategy="constant", constant=1).fit([[0], [0]], [0, 1])
    >>> class_coverage(one_class, [[0]], [[0]])
    1.0
    """
    occur, drawn = (
        {c: np.mean(read == c) for c in np.unique(read)} for read in map(classifier.predict, (test, synthetic))
    )
    return float(np.mean([min(1.0, drawn.get(c, 0.0) / share) for c, share in occur.items()]))


def _fitted(model, view):
    """A clone of the model, fitted; of a single class, which many classifiers refuse, what always says it."""
    is_single = is_classifier(model) and len(np.unique(view.y)) < 2
    return (DummyClassifier() if is_single else clone(model)).fit(view.numbers, view.y)


def _default_models(y, random):
    seed = random.randint(2**31)
    if type_of_target(y).startswith("continuous"):
        return {"linear": Ridge(), "random forest": RandomForestRegressor(random_state=seed)}
    return {"linear": LogisticRegression(max_iter=1000), "random forest": RandomForestClassifier(random_state=seed)}


def _marginal_rows(views, random):
    n = views["test"].bins.shape[1]
    pairs = list(itertools.combinations(range(n), 2))
    pairs = [pairs[k] for k in random.permutation(len(pairs))[:MOST_PAIRS]]
    groups = {"one-way marginals": [(k,) for k in range(n)], "two-way marginals": pairs}
    return {
        name: [_mean_distance(views[which].bins, views["test"].bins, columns) for which in ("synthetic", "real")]
        for name, columns in groups.items()
        if columns
    }


def _mean_distance(bins, other, columns):
    return float(np.mean([_total_variation(bins[:, list(k)], other[:, list(k)]) for k in columns]))


def _total_variation(cells, other):
    """Half the sum of absolute differences of the shares of each cell; cells are rows of integers."""
    _, places = np.unique(np.concatenate([cells, other]), axis=0, return_inverse=True)
    places = places.ravel()
    size = places.max() + 1
    shares, others = (np.bincount(p, minlength=size) / len(p) for p in (places[: len(cells)], places[len(cells) :]))
    return 0.5 * np.abs(shares - others).sum()


def _nearest_row(views):
    index = NearestNeighbors(n_neighbors=1).fit(views["real"].numbers)
    near = {name: np.median(index.kneighbors(views[name].numbers)[0]) for name in ("synthetic", "test")}
    is_alone = len(views["real"].numbers) < 2
    own = np.nan if is_alone else np.median(index.kneighbors()[0])  # without a record itself
    mark = near["test"] or np.nan
    return {"nearest-record ratio": [near["synthetic"] / mark, own / mark]}
