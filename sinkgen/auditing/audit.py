"""A lower bound of epsilon, from fits with and without one record: what the promise is worth, tried."""

import math
import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import stats
from sklearn.base import clone

from sinkgen import fitting
from sinkgen._validation import check_choice, check_integer
from sinkgen.accounting import gaussian_epsilon
from sinkgen.auditing.twins import Twins, WatchedMechanism
from sinkgen.data.table import TableFormat
from sinkgen.exceptions import BadValueError, PoorFitWarning, PrivacyLeakWarning
from sinkgen.parameters import check_parameters
from sinkgen.progress import Progress
from sinkgen.sources.open import open_records
from sinkgen.training.rehearsal import completed

FALSE_ALARM = 0.05  # chance that the lower bound is too large


@dataclass(frozen=True)
class AuditReport:
    """What fits with and without a record showed; print it.

    Attributes
    ----------
    claimed : float
        Epsilon of the statement.
    at_least : float
        Epsilon that the fits show to be spent, wrong with a chance of 5 % at most; read off the rates of true and false
        alarms as those of Gaussian noise.
    at_least_counted : float
        The same from these rates alone, whatever the noise: with few fits it cannot be large.
    delta : float
    fits : int
        With the record, and as many without it, that were counted.
    hits, alarms : int
        In how many of them the record was told to be there: with it, and without it.
    data : {"made-up", "given"}

    Examples
    --------
    >>> AuditReport(10.0, 7.9, 1.1, 1e-5, 500, 400, 90, "made-up").holds
    True
    """

    claimed: float
    at_least: float
    at_least_counted: float
    delta: float
    fits: int
    hits: int
    alarms: int
    data: str

    @property
    def holds(self) -> bool:
        """Whether no more was seen to be spent than is claimed.

        Examples
        --------
        >>> AuditReport(1.0, 7.9, 1.1, 1e-5, 500, 400, 90, "made-up").holds
        False
        """
        return self.at_least <= self.claimed

    def __str__(self) -> str:
        looked = (
            "given: this audit is a look at them" if self.data == "given" else "made up: none of yours was looked at"
        )
        verdict = "the claim was not refuted" if self.holds else "MORE IS SPENT THAN CLAIMED"
        return "\n".join([
            f"Epsilon: claimed {self.claimed:.4g}, seen to be at least {self.at_least:.3g} (delta {self.delta:g}).",
            f"Told to have the record: {self.hits} of {self.fits} fits with it, {self.alarms} of {self.fits} without.",
            f"Rates alone, whatever the noise: at least {max(self.at_least_counted, 0):.3g}.",
            f"Records: {looked}.",
            f"Result: {verdict}. An audit finds faults; that there are none only a proof tells.",
        ])  # fmt: skip


def audit(estimator: Any, X: Any, y: Any = None, *, data: str = "made-up", fits: int = 500) -> AuditReport:
    """Fit with and without one extreme record, many times, and see how well the fits can be told apart.

    The adversary sees what the fit releases, step by step, and knows all other records. So it knows what each release
    would be with the record and without it, but for the noise, and tells by the likelihood ratio of all releases
    together. How often it is right is counted (Clopper, Pearson), and the rates are read as those of Gaussian noise
    [1]_. Sets of categories and labels that are learned are not looked at.

    Parameters
    ----------
    estimator : DPSinkhornGenerator
        Its parameters are those of the fits; it is not fitted, and its ledger is not charged.
    X, y
        As ``fit`` takes them. Of made-up data only their format counts: columns, dtypes, what is declared.
    data : {"made-up", "given"}, default="made-up"
        "made-up": fits are of two records at the ends of what is declared, the case in which a record shows most.
        "given": of these records, and one more; that is a look at them, and a
        :class:`~sinkgen.PrivacyLeakWarning` says so.
    fits : int, default=500
        With the record, and as many without it. The more, the closer the bound.

    Returns
    -------
    AuditReport

    Raises
    ------
    TypeError, ValueError
        If a parameter or the data are unusable, the budget is without noise, or persons have several rows.

    Warns
    -----
    PrivacyLeakWarning

    References
    ----------
    .. [1] Nasr, Hayes, Steinke, Balle, Tramer, Jagielski, Carlini, Terzis, "Tight Auditing of Differentially Private
       Machine Learning", USENIX Security 2023, arXiv 2302.07956.

    Examples
    --------
    >>> import pandas as pd
    >>> from sinkgen import DPSinkhornGenerator
    >>> people = pd.DataFrame({"sex": ["F", "M"], "smokes": ["no", "yes"]})
    >>> gen = DPSinkhornGenerator(epsilon=10, schema={"sex": ["F", "M"], "smokes": ["no", "yes"]})
    >>> audit(gen, people, fits=20).holds
    True
    """
    check_choice("data", data, ("made-up", "given"))
    check_integer("fits", fits, low=8)
    if not math.isfinite(estimator.epsilon):
        raise BadValueError("epsilon must be finite: without noise there is nothing to try")
    if data == "given":
        warnings.warn(
            "data='given' looks at the records: what you conclude of this audit is not private", PrivacyLeakWarning,
            stacklevel=2,
        )  # fmt: skip
    worlds = _worlds(estimator, X, y, data)
    own = clone(estimator).set_params(ledger=None, checkpoint_dir=None, verbose=0, callback=None)
    alarms, hits = (sum(_score(own, worlds, is_there) > 0 for _ in range(fits)) for is_there in (False, True))
    return _report(estimator, fits, hits, alarms, data)


def _report(estimator, n, hits, alarms, data):
    delta = estimator.delta
    tpr, fpr = _at_least(hits, n), 1 - _at_least(n - alarms, n)
    mu = float(stats.norm.isf(min(fpr, 1 - 1e-12)) + stats.norm.ppf(max(tpr, 1e-12)))
    by_noise = gaussian_epsilon(mu, delta) if mu > 0 else 0.0
    counted = math.log(max(tpr - delta, 1e-12) / max(fpr, 1e-12))
    return AuditReport(float(estimator.epsilon), float(by_noise), counted, delta, n, hits, alarms, data)


def _at_least(hits, n):
    """Lower end of a rate (Clopper, Pearson), half of the chance of a false alarm each."""
    return float(stats.beta.ppf(FALSE_ALARM / 2, hits, n - hits + 1)) if hits else 0.0


# --- Two worlds ------------------------------------------------------------------------------------------------------


class _Worlds(NamedTuple):
    """Records X with labels y: the canary, and all others."""

    others: tuple
    canary: tuple
    as_array: bool


def _worlds(estimator, X, y, data):
    if isinstance(y, str):
        X, y = X.drop(columns=y), X[y].to_numpy()
    as_array = isinstance(estimator.schema, (tuple, list))
    opened = open_records(X, y, None, as_array=as_array)
    facts = fitting.declared_facts(estimator, opened, check_parameters(estimator))
    form = completed(facts.form)
    low, high = _extreme_rows(form)
    labels = None if facts.y_dtype is None else _extreme_labels(facts)
    base, own = (X, y) if data == "given" else (low, None if labels is None else labels[:1])
    return _Worlds((base, own), (high, None if labels is None else labels[1:]), as_array)


def _extreme_rows(form):
    """A record at the lower and one at the upper end of all that is declared."""
    if not isinstance(form, TableFormat):
        return [form.decode(torch.full((1, form.n_encoded), float(end))) for end in (0, 1)]
    known = [sum(not column.optional[state] for state in column.cell_states) for column in form.columns]
    ends = [max(n - 1, 0) for n in known]  # of combinations that are not known yet, there are none
    rows = [form.decode(torch.tensor([of], dtype=torch.float64)) for of in ([0] * len(ends), ends)]
    return rows if form.frame_kind is None else [form.frame_kind.restore(row) for row in rows]


def _extreme_labels(facts):
    if facts.labels is not None:
        return facts.labels.decode([0, len(facts.labels.classes) - 1])
    return np.array(["a", "b"] if facts.y_dtype.kind in "OUS" else [0, 1]).astype(facts.y_dtype)


# --- What fits release -----------------------------------------------------------------------------------------------


def _score(estimator, worlds, is_there):
    """Log-likelihood ratio of all that one fit released: above 0 where the canary seems to be there."""
    given, ratios = check_parameters(estimator), list[float]()
    others, canary = (open_records(X, y, None, as_array=worlds.as_array) for X, y in (worlds.others, worlds.canary))
    data = others._replace(source=Twins(others.source, canary.source, is_there))
    with warnings.catch_warnings(), Progress(0, None) as progress:
        warnings.simplefilter("ignore", PoorFitWarning)
        fitting.fit(estimator, data, given, progress, door=partial(WatchedMechanism, ratios))
    return math.fsum(ratios)
