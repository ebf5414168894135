"""One estimate of several plausible data sets, and what may be estimated of each."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sinkgen._validation import check_real
from sinkgen.exceptions import BadTypeError, BadValueError, PoorFitWarning
from sinkgen.inference.estimates import Estimate

MOST_LISTED = 8
LABEL = "label"  # the column of the labels, where data sets are pairs (X, y)


def combine(estimates: Any, variances: Any) -> Estimate:
    """One estimate of those of several plausible data sets.

    Parameters
    ----------
    estimates : array of shape (m,) or (m, k)
        Of each data set of :meth:`~sinkgen.DPSinkhornGenerator.sample_posterior`.
    variances : array of the same shape
        Of each: the square of the standard error that a textbook gives for a data set of this size.

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        If shapes differ, there are fewer than 2 data sets, or a variance is negative.

    Notes
    -----
    With the mean variance u within data sets and the variance b between their m estimates, the variance is
    ``u + (1 + 1/m) b`` [1]_. Each data set is one that may have been the real one for all that the release tells: their
    sampling error is one and the same, which b does not hold, and b is the noise of privacy. Where data sets are drawn
    of parameters that have a sampling error of their own, as in [2]_ and [3]_, it is ``(1 + 1/m) b - u`` instead.
    Variances are those of data sets as large as the real one: leave ``n_samples`` of ``sample_posterior`` as it is.

    References
    ----------
    .. [1] Rubin, "Multiple Imputation for Nonresponse in Surveys", 1987.
    .. [2] Raghunathan, Reiter, Rubin, "Multiple Imputation for Statistical Disclosure Limitation", Journal of Official
       Statistics, 2003.
    .. [3] Raisa, Jalko, Kaski, Honkela, "Noise-aware statistical inference with differentially private synthetic data",
       AISTATS 2023, arXiv 2205.14485.

    Examples
    --------
    >>> found = combine([10.0, 12.0, 11.0], [1.0, 1.0, 1.0])
    >>> float(found.estimate), round(float(found.standard_error), 3), round(float(found.privacy_share), 3)
    (11.0, 1.528, 0.571)
    """
    values, within = (np.asarray(of, dtype=float) for of in (estimates, variances))
    if values.shape != within.shape or values.ndim not in (1, 2) or len(values) < 2:
        raise BadValueError("estimates and variances must be of one shape, (m,) or (m, k), of at least 2 data sets")
    if not (within >= 0).all() or not np.isfinite(values).all():
        raise BadValueError("estimates must be finite, and variances not negative")
    m, mean = len(values), values.mean(0)
    between = (1 + 1 / m) * values.var(0, ddof=1)
    total = within.mean(0) + between
    share = np.divide(between, total, out=np.zeros_like(total), where=total > 0)
    freedom = (m - 1) / np.maximum(share, 1e-9) ** 2
    return Estimate(mean, np.sqrt(total), share, "data sets", freedom)


def mean(data_sets: Sequence[Any], column: str | int) -> Estimate:
    """Mean of a column of numbers, dates in seconds since 1970, where it is not missing.

    Parameters
    ----------
    data_sets : sequence of data frames, or of pairs (X, y)
        Of :meth:`~sinkgen.DPSinkhornGenerator.sample_posterior`.
    column : str or int

    Returns
    -------
    Estimate

    Raises
    ------
    TypeError, ValueError
        If data sets are no data frames, or lack the column, or it holds no numbers.

    Examples
    --------
    >>> import pandas as pd
    >>> sets = [pd.DataFrame({"age": [30.0, 40.0, 50.0]}), pd.DataFrame({"age": [32.0, 42.0, 52.0]})]
    >>> float(mean(sets, "age").estimate)
    41.0
    """
    parts = [_numbers(data, column) for data in data_sets]
    return combine([part.mean() for part in parts], [part.var(ddof=1) / len(part) for part in parts])


def proportion(data_sets: Sequence[Any], conditions: Mapping[Any, Any]) -> Estimate:
    """Share of the records that meet all conditions.

    Parameters
    ----------
    data_sets : sequence of data frames, or of pairs (X, y)
    conditions : dict
        Column to a category or a list of them, a number, ``(low, high)`` with both ends, or None for missing cells.

    Returns
    -------
    Estimate

    Raises
    ------
    TypeError, ValueError
        As for :func:`mean`, and if a category or number is in none of the data sets: it may be misspelt, or be too rare
        to be drawn.

    Notes
    -----
    Of n records, all or none of which meet the conditions, the variance is that of a share of 1 / n.

    Examples
    --------
    >>> import pandas as pd
    >>> sets = [pd.DataFrame({"sex": ["F", "M", "M", "M"]}), pd.DataFrame({"sex": ["F", "F", "M", "M"]})]
    >>> float(proportion(sets, {"sex": "F"}).estimate)
    0.375
    """
    data_sets = list(data_sets)
    for name, wanted in conditions.items():
        _check_occurs([_column(data, name) for data in data_sets], name, wanted)
    shares, variances = [], []
    for data in data_sets:
        met = np.all([_meets(_column(data, name), wanted) for name, wanted in conditions.items()], axis=0)
        shares.append(met.mean())
        least = min(0.5, 1 / len(met))
        possible = np.clip(shares[-1], least, 1 - least)
        variances.append(possible * (1 - possible) / len(met))
    return combine(shares, variances)


def quantile(data_sets: Sequence[Any], column: str | int, q: float = 0.5) -> Estimate:
    """Quantile of a column of numbers, dates in seconds since 1970, where it is not missing.

    Parameters
    ----------
    data_sets : sequence of data frames, or of pairs (X, y)
    column : str or int
    q : float, default=0.5
        From 0 to 1; the median by default.

    Returns
    -------
    Estimate
        The variance within a data set is from the quantiles a standard error of their share below and above [1]_.

    Raises
    ------
    TypeError, ValueError
        As for :func:`mean`, and if ``q`` is not between 0 and 1.

    References
    ----------
    .. [1] Woodruff, "Confidence intervals for medians and other position measures", JASA 1952.

    Examples
    --------
    >>> import pandas as pd
    >>> sets = [pd.DataFrame({"age": range(101)}), pd.DataFrame({"age": range(2, 103)})]
    >>> float(quantile(sets, "age").estimate)
    51.0
    """
    check_real("q", q, low=0, high=1, include_low=False, include_high=False)
    parts = [_numbers(data, column) for data in data_sets]
    found = []
    for part in parts:
        reach = np.sqrt(q * (1 - q) / len(part))
        found.append(np.quantile(part, np.clip([q, q - reach, q + reach], 0, 1)))
    middle, low, high = np.transpose(found)
    return combine(middle, ((high - low) / 2) ** 2)


def regression(data_sets: Sequence[Any], fit: Callable[[Any], Any]) -> dict[str, Estimate]:
    """Coefficients of a regression.

    Their intervals count the noise of privacy and of sampling, and what of pairs of columns was not released. They do
    not count relations of another shape than the model has: beyond the groups in which pairs were counted, numbers go
    together as normal ones do, and what three columns do together is mostly not there. A
    :class:`~sinkgen.PoorFitWarning` says so.

    Parameters
    ----------
    data_sets : sequence of data frames, or of pairs (X, y)
        Labels are the column "label".
    fit : callable
        Takes a data frame; what it returns has ``params`` and ``bse`` by name, as results of statsmodels have:
        ``lambda data: smf.ols("income ~ age + sex", data).fit()``.

    Returns
    -------
    dict of str to Estimate

    Raises
    ------
    TypeError, ValueError
        As for :func:`mean`, and if what ``fit`` returns has no coefficients, or other ones for each data set.

    Warns
    -----
    PoorFitWarning

    Examples
    --------
    >>> import pandas as pd, warnings
    >>> from types import SimpleNamespace
    >>> def slope(data):
    ...     found = pd.Series({"x": data.y.cov(data.x) / data.x.var()})
    ...     return SimpleNamespace(params=found, bse=pd.Series({"x": 0.1}))
    >>> sets = [pd.DataFrame({"x": [0.0, 1.0], "y": [0.0, 2.0]}), pd.DataFrame({"x": [0.0, 1.0], "y": [1.0, 3.0]})]
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     float(regression(sets, slope)["x"].estimate)
    2.0
    """
    results = [fit(_frame(data)) for data in data_sets]
    if not all(hasattr(result, "params") and hasattr(result, "bse") for result in results):
        raise BadTypeError("fit must return what has params and bse by name, as results of statsmodels do")
    names = list(results[0].params.index)
    if any(list(result.params.index) != names for result in results):
        raise BadValueError("fit gives other coefficients for other data sets: declare the categories in its formula")
    warnings.warn(
        "coefficients of synthetic data may be too near 0: intervals do not count relations of another shape than the "
        "model has (of three columns at once; within bins, any but a monotone one)", PoorFitWarning, stacklevel=2,
    )  # fmt: skip
    found = combine(
        [result.params.to_numpy() for result in results], [result.bse.to_numpy() ** 2 for result in results]
    )
    parts = zip(names, found.estimate, found.standard_error, found.privacy_share, found.freedom, strict=True)
    return {name: Estimate(value, error, share, found.origin, of) for name, value, error, share, of in parts}


def _frame(data):
    X, y = data if isinstance(data, tuple) else (data, None)
    if not hasattr(X, "columns"):
        raise BadTypeError("data_sets must be data frames, as sample_posterior draws them")
    X = X if hasattr(X, "iloc") else X.to_pandas()
    return X if y is None or LABEL in X.columns else X.assign(**{LABEL: y})


def _column(data, name):
    frame = _frame(data)
    if name not in frame.columns:
        raise BadValueError(f"column must be one of {list(frame.columns)}")
    return frame[name]


def _numbers(data, name):
    """What is not missing of a column, as numbers: dates as seconds since 1970, and spans of time as seconds."""
    import pandas as pd

    column = _column(data, name).dropna()
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        column = column - pd.Timestamp(0, tz=getattr(column.dtype, "tz", None) and "UTC")
    if pd.api.types.is_timedelta64_dtype(column.dtype):
        return column.dt.total_seconds().to_numpy(dtype=float)
    try:
        return column.to_numpy(dtype=float)
    except (TypeError, ValueError):
        raise BadTypeError(f"column {name!r} holds no numbers: ask for a proportion") from None


def _check_occurs(columns, name, wanted):
    """Raise ValueError if something that is wanted is in none of the (synthetic) columns."""
    if wanted is None or isinstance(wanted, tuple):
        return
    for value in wanted if isinstance(wanted, (list, set)) else [wanted]:
        if not any(series.isin([value]).any() for series in columns):
            found = columns[0].dropna().unique()
            occurring = f"; these do, among others: {', '.join(map(repr, found[:MOST_LISTED].tolist()))}"
            raise BadValueError(
                f"in none of the data sets {value!r} occurs in column {name!r}{occurring}. It is misspelt, of another "
                "type, or too rare to be drawn: release_.proportion tells what was released of it; of numbers ask for "
                "a range, (low, high)"
            )


def _meets(series, wanted):
    if wanted is None:
        return series.isna().to_numpy()
    if isinstance(wanted, tuple):
        return series.between(*wanted).to_numpy()
    return series.isin(wanted if isinstance(wanted, (list, set)) else [wanted]).to_numpy()
