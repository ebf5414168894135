"""A lower bound of epsilon, from fits with and without one record: what the promise is worth, tried."""

import math
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import stats
from sklearn.base import clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from sinkgen import fitting
from sinkgen._validation import check_choice, check_integer
from sinkgen.accounting import gaussian_epsilon
from sinkgen.data.table import Rows, TableFormat
from sinkgen.exceptions import BadValueError, PoorFitWarning, PrivacyLeakWarning
from sinkgen.generators.cliques import Clique
from sinkgen.parameters import check_parameters
from sinkgen.privacy.journal import transcript
from sinkgen.sources.open import open_records
from sinkgen.training.rehearsal import completed

LEARN = 0.25  # share of the fits from which it is learned how to tell
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

    The adversary sees what the fit releases, step by step, and knows all other records. Of tables it weighs the
    released counts of the record's cells by their noise, the likelihood ratio of these; of arrays a linear discriminant
    of the released values is learned on a quarter of the fits. The others are counted (Clopper, Pearson), and the rates
    are read as those of Gaussian noise [1]_.

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
    seen = [[_released(estimator, worlds, which) for _ in range(fits)] for which in (0, 1)]
    scores, first = _scores(seen, fits)
    out, inside = (of[first:] for of in scores)
    hits, alarms = int((inside > 0).sum()), int((out > 0).sum())
    return _report(estimator, fits - first, hits, alarms, data)


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


def _scores(seen, fits):
    """Scores of each world's fits, above 0 where the record seems to be there, and how many of them taught that."""
    if isinstance(seen[0][0], float):
        return [np.array(world) for world in seen], 0
    first = max(4, int(LEARN * fits))
    width = max(len(row) for world in seen for row in world)
    worlds = [np.array([np.pad(row, (0, width - len(row))) for row in world]) for world in seen]
    learner = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    learner.fit(np.concatenate([world[:first] for world in worlds]), np.repeat([0, 1], first))
    return [learner.decision_function(world) for world in worlds], first


# --- Two worlds ------------------------------------------------------------------------------------------------------


class _Worlds(NamedTuple):
    """Records without and with the canary: the latter's are the former's, and one more, the last."""

    X: tuple
    y: tuple
    is_table: bool


def _worlds(estimator, X, y, data):
    if isinstance(y, str):
        X, y = X.drop(columns=y), X[y].to_numpy()
    opened = open_records(X, y, None, as_array=isinstance(estimator.schema, (tuple, list)))
    facts = fitting.declared_facts(estimator, opened, check_parameters(estimator))
    form = completed(facts.form)
    low, high = _extreme_rows(form)
    labels = None if facts.y_dtype is None else _extreme_labels(facts)
    base, own = (X, y) if data == "given" else (low, None if labels is None else labels[:1])
    more = None if labels is None else np.concatenate([np.asarray(own), labels[1:]])
    return _Worlds((base, _stacked(base, high)), (own, more), isinstance(form, TableFormat))


def _extreme_rows(form):
    """A record at the lower and one at the upper end of all that is declared."""
    if not isinstance(form, TableFormat):
        return [form.decode(torch.full((1, form.n_encoded), float(end))) for end in (0, 1)]
    ends = [sum(not column.optional[state] for state in column.cell_states) - 1 for column in form.columns]
    rows = [form.decode(torch.tensor([of], dtype=torch.float64)) for of in ([0] * len(ends), ends)]
    return rows if form.frame_kind is None else [form.frame_kind.restore(row) for row in rows]


def _extreme_labels(facts):
    if facts.labels is not None:
        return facts.labels.decode([0, len(facts.labels.classes) - 1])
    return np.array(["a", "b"] if facts.y_dtype.kind in "OUS" else [0, 1]).astype(facts.y_dtype)


def _stacked(X, row):
    """Records and one more."""
    if not hasattr(X, "columns"):
        return np.concatenate([np.asarray(X), np.asarray(row)])
    import pandas as pd

    X, row = (of if hasattr(of, "iloc") else of.to_pandas() for of in (X, row))
    return pd.concat([X, row.astype(X.dtypes)], ignore_index=True)


# --- What fits release -----------------------------------------------------------------------------------------------


def _released(estimator, worlds, which):
    """Of one fit: how much likelier its counts are with the canary than without; of arrays, numbers of each release."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore", PoorFitWarning)
        keep = None if worlds.is_table else Path(folder) / "fit"
        gen = clone(estimator).set_params(ledger=None, checkpoint_dir=keep, verbose=0, callback=None)
        gen.fit(worlds.X[which], worlds.y[which])
        if worlds.is_table:
            return _log_ratio(gen.release_, worlds.X[1], worlds.y[1])
        return _summary(transcript(keep))


def _summary(released):
    """Numbers in which one record shows: of each kind of release the first, the last, and the sum, over all steps."""
    found: dict[str, np.ndarray] = {}
    for what, content in released:
        values = np.frombuffer(content)
        found[what] = found.get(what, 0) + np.array([values[0], values[-1], values.sum()])
    return np.concatenate(list(found.values()))


def _log_ratio(release, X, y):
    """Log-likelihood of the released counts with the last record of X less that without it, as far as it is known."""
    form, n_classes = release.form, len(release.class_weights)
    cells = form.encode(Rows(X if hasattr(X, "iloc") else X.to_pandas()))
    labels = (
        torch.zeros(len(cells), dtype=torch.long) if release.labels is None else release.labels.encode(np.asarray(y))
    )
    codes = torch.cat([form.states(cells).long().T, labels[None]])
    ratio = 0.0
    for part in release.counts:
        columns = part.columns or (len(form.columns),)
        groups = part.groups if part.columns else (torch.arange(n_classes),)
        known = codes[:, (codes[list(columns)] >= 0).all(0)]
        if len(columns) == 1 and part.counts.numel() != int(groups[0].max()) + 1:
            continue  # counts of all classes together
        if not (codes[list(columns), -1] >= 0).all():
            continue
        places = Clique(columns, groups).cells(known)
        place = int(places[-1])
        others = int((places == place).sum()) - 1
        ratio += (float(part.counts.flatten()[place]) - others - 0.5) / max(part.noise, 1e-9) ** 2
    return ratio
