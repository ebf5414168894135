"""A record's answer to one question about it, by chance a false one; and what many answers tell together."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from sinkgen._types import RandomState
from sinkgen._validation import check_integer, check_real
from sinkgen.data.labels import LabelSet, declared_labels
from sinkgen.data.table import Rows, TableFormat, table_format
from sinkgen.data.table_checks import check_columns
from sinkgen.denoise.frequencies import project_simplex, smooth_frequencies
from sinkgen.exceptions import BadTypeError, BadValueError
from sinkgen.generators.product import ProductMixture, stratified
from sinkgen.parameters import torch_stream
from sinkgen.privacy.streams import new_key

REPORT = np.dtype([("column", "<i2"), ("key", "<u4"), ("answer", "<u2")])


class LocalRandomizer:
    """Makes records noisy where they lie, so that whoever gets the reports need not be trusted.

    A record draws one of its columns at random, and reports in which state that column and the label are together: the
    truth with the odds that epsilon allows, else another state, each as likely. Where there are many states it reports
    a random hash of it instead. So a report has a few bytes, and tells little of any record.

    Parameters
    ----------
    schema : dict or Schema
        Public facts of all columns: bounds of the numbers, categories; see :class:`sinkgen.Schema`.
    classes : sequence
        Public set of labels, at least two.
    epsilon : float
        How much likelier any report is of one record than of any other: at most ``exp(epsilon)`` times. There is no
        delta. A record that reports twice has spent it twice.
    bins : int, default=16
        Bins of a column of numbers of which the schema has none.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong type or out of range.

    References
    ----------
    .. [1] Warner, "Randomized Response", 1965; Kairouz, Bonawitz, Ramage, "Discrete Distribution Estimation under Local
       Privacy", ICML 2016.
    .. [2] Wang, Blocki, Li, Jha, "Locally Differentially Private Protocols for Frequency Estimation", USENIX Security
       2017 (the hash, of ``exp(epsilon) + 1`` values, and its variance).

    Examples
    --------
    >>> import pandas as pd
    >>> random = np.random.default_rng(0)
    >>> people = pd.DataFrame({"age": random.integers(18, 91, 20_000)})
    >>> back = np.where(random.random(20_000) < people["age"] / 100, "yes", "no")
    >>> randomizer = LocalRandomizer({"age": (18, 91)}, ["no", "yes"], epsilon=4)
    >>> reports = randomizer.randomize(people, back)          # each row for itself, on its owner's device
    >>> estimate = randomizer.estimate(reports, like=people[:1])
    >>> bool(abs(estimate.counts[1] / 20_000 - np.mean(back == "yes")) < 0.03)
    True
    """

    def __init__(self, schema: Mapping[Any, Any], classes: Iterable[Any], epsilon: float, *, bins: int = 16) -> None:
        self.schema, self.classes = dict(schema), list(classes)
        self.epsilon = check_real("epsilon", epsilon, low=0, include_low=False)
        self.bins = check_integer("bins", bins, low=2)
        if len(self.classes) < 2 or not self.schema:
            raise BadValueError("classes must be two or more, and schema must have a column")
        if not math.isfinite(self.epsilon):
            raise BadValueError("epsilon must be finite")

    def randomize(self, X: Any, y: Any) -> np.ndarray:
        """One report of each record; each made of that record alone.

        Parameters
        ----------
        X : data frame of shape (n, columns)
        y : array of shape (n,)

        Returns
        -------
        ndarray of shape (n,), of fields column, key and answer

        Raises
        ------
        TypeError, ValueError
            If X or y are not of the schema and classes.

        Examples
        --------
        >>> import pandas as pd
        >>> randomizer = LocalRandomizer({"smoker": ["no", "yes"]}, [0, 1], epsilon=2)
        >>> randomizer.randomize(pd.DataFrame({"smoker": ["no"]}), [1])["column"].tolist()
        [0]
        """
        form, labels = self._format(X, y)
        # Of the operating system's entropy: whoever knows the stream knows the truth.
        random = np.random.Generator(np.random.Philox(key=np.frombuffer(new_key()[:16], "<u8")))
        states = form.states(form.encode(Rows(X))).numpy().astype(np.int64)
        classes, n = labels.encode(np.asarray(y)).numpy(), len(X)
        reports = np.zeros(n, dtype=REPORT)
        reports["column"] = random.integers(len(form.columns), size=n)
        reports["key"] = random.integers(2**32, size=n)
        state = np.take_along_axis(states, reports["column"][:, None].astype(np.int64), 1)[:, 0]
        for j, width in enumerate(form.widths):
            rows, ways = np.flatnonzero(reports["column"] == j), _Ways.of(width * len(labels.classes), self.epsilon)
            # What has no class, or no state, reports at random: the same reports are possible for all records.
            known = (state[rows] >= 0) & (classes[rows] >= 0)
            true = ways.values(state[rows] + width * classes[rows], reports["key"][rows])
            other = (true + random.integers(1, ways.n_answers, size=len(rows))) % ways.n_answers
            answer = np.where(random.random(len(rows)) < ways.truth, true, other)
            reports["answer"][rows] = np.where(known, answer, random.integers(ways.n_answers, size=len(rows)))
        return reports

    def estimate(self, reports: np.ndarray, like: Any) -> "LocalEstimate":
        """What reports tell together; of a record's reports only one may be among them.

        Parameters
        ----------
        reports : ndarray of shape (n,)
            What :meth:`randomize` gave, of many records.
        like : data frame
            Of the records' columns and dtypes, for what is drawn; its cells are not looked at.

        Returns
        -------
        LocalEstimate

        Raises
        ------
        TypeError, ValueError
            If they are no reports.

        Examples
        --------
        >>> import pandas as pd
        >>> people = pd.DataFrame({"smoker": ["no", "yes"] * 5000})
        >>> randomizer = LocalRandomizer({"smoker": ["no", "yes"]}, [0, 1], epsilon=2)
        >>> estimate = randomizer.estimate(randomizer.randomize(people, [0, 1] * 5000), people)
        >>> (estimate.counts / 10_000).round(1)
        array([0.5, 0.5])
        """
        if getattr(reports, "dtype", None) != REPORT or not len(reports):
            raise BadTypeError("reports must be what randomize gives, of at least one record")
        form, labels = self._format(like, None)
        n, n_classes = len(reports), len(labels.classes)
        marginals, errors = [], []
        for j, width in enumerate(form.widths):
            own, ways = reports[reports["column"] == j], _Ways.of(width * n_classes, self.epsilon)
            seen = ways.support(own["answer"].astype(np.int64), own["key"])
            chance = (1 - ways.truth) / (ways.n_answers - 1) if ways.is_direct else 1 / ways.n_answers
            scale = n / max(1, len(own)) / (ways.truth - chance)
            marginals.append((scale * (seen - len(own) * chance)).reshape(n_classes, width))
            errors.append(scale * math.sqrt(max(1, len(own)) * chance * (1 - chance)))
        return LocalEstimate(marginals, errors, n, form, labels)

    def _format(self, X, y):
        if not hasattr(X, "columns"):
            raise BadTypeError(f"X must be a pandas data frame, got {type(X).__name__}")
        check_columns(X)
        form = table_format(X, self.schema)
        form = form.with_columns([self._binned(column) for column in form.columns])
        labels = declared_labels(self.classes, np.array(self.classes) if y is None else np.asarray(y))
        if y is not None and len(y) != len(X):
            raise BadValueError(f"X has {len(X)} records, and y {len(y)}")
        return form, labels

    def _binned(self, column):
        if column.undeclared:
            raise BadValueError(f"schema does not declare column {column.name!r}: it has to, for nothing is learned")
        if "bins" not in column.missing:
            return column
        low, high = column.bounds
        last = high + 1 if column.kind == "integer" else high
        return column.with_bins(np.linspace(low, last, self.bins + 1))


class _Ways(NamedTuple):
    """How a state of so many is reported: as it is, or as a hash of it."""

    n_states: int
    n_answers: int
    truth: float
    is_direct: bool

    @classmethod
    def of(cls, n_states, epsilon):
        """The way of less variance."""
        odds = math.exp(epsilon)
        is_direct = n_states < 3 * odds + 2
        n_answers = n_states if is_direct else min(2**16, round(odds) + 1)
        return cls(n_states, n_answers, odds / (odds + n_answers - 1), is_direct)

    def values(self, states, keys):
        """What states (m,) are reported as, if truly."""
        return states if self.is_direct else _hash(states, keys, self.n_answers)

    def support(self, answers, keys):
        """How many reports each state would have truly led to, (n_states,)."""
        if self.is_direct:
            return np.bincount(answers, minlength=self.n_states)
        return np.array([np.sum(_hash(np.int64(c), keys, self.n_answers) == answers) for c in range(self.n_states)])


def _hash(states, keys, n):
    """One of n values, for each state and key as good as independent of the others."""
    words = keys.astype(np.uint64) << np.uint64(32) ^ np.asarray(states).astype(np.uint64)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)  # the finaliser of splitmix64
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((words ^ (words >> np.uint64(31))) >> np.uint64(11)).astype(np.int64) % n


class LocalEstimate:
    """Counts of what reports were of, without their bias; post-processing.

    Parameters
    ----------
    marginals : list of ndarray, (n_classes, n_states) each
        Estimated number of records of each class and state, of each column.
    errors : list of float
        Standard deviation of each of those numbers, where few records have the state.
    n_records : int
    form : TableFormat
    labels : LabelSet

    Attributes
    ----------
    counts : ndarray of shape (n_classes,)
        Estimated number of records of each class.

    Examples
    --------
    See :class:`LocalRandomizer`.

    >>> from sinkgen.data.labels import LabelSet
    >>> halves = LocalEstimate([np.array([[2.0, 4.0], [2.0, 0.0]])], [0.1], 8, None, LabelSet((0, 1), "int64"))
    >>> halves.counts, halves.label_means[0]
    (array([6., 2.]), array([[0.5, 0.5],
           [1. , 0. ]]))
    """

    def __init__(
        self, marginals: list[np.ndarray], errors: list[float], n_records: int, form: TableFormat, labels: LabelSet
    ) -> None:
        self.marginals, self.errors, self.n_records, self.form, self.labels = marginals, errors, n_records, form, labels
        self.counts = np.mean([part.sum(1) for part in marginals], axis=0)

    @property
    def label_means(self) -> list[np.ndarray]:
        """Share of each class among the records of each state, (n_states, n_classes) of each column.

        Examples
        --------
        >>> from sinkgen.data.labels import LabelSet
        >>> estimate = LocalEstimate([np.array([[3.0], [1.0]])], [0.1], 4, None, LabelSet((0, 1), "int64"))
        >>> estimate.label_means
        [array([[0.75, 0.25]])]
        """
        parts = [np.maximum(part.T, 0) for part in self.marginals]
        return [part / np.maximum(part.sum(1, keepdims=True), 1e-9) for part in parts]

    def sample(self, n_samples: int = 1, random_state: RandomState = None) -> Any:
        """Draw synthetic records, whose columns are independent within a class: more was not reported.

        Parameters
        ----------
        n_samples : int
        random_state : int, numpy.random.RandomState, numpy.random.Generator or None

        Returns
        -------
        X : pandas.DataFrame of shape (n_samples, columns)
        y : ndarray of shape (n_samples,)

        Raises
        ------
        ValueError
            If ``n_samples`` is not positive.

        Examples
        --------
        >>> import pandas as pd
        >>> people = pd.DataFrame({"smoker": ["no", "yes"] * 5000})
        >>> randomizer = LocalRandomizer({"smoker": ["no", "yes"]}, [0, 1], epsilon=2)
        >>> X, y = randomizer.estimate(randomizer.randomize(people, [0, 1] * 5000), people).sample(6)
        >>> list(X.columns), len(y)
        (['smoker'], 6)
        """
        n, random = check_integer("n_samples", n_samples, low=1), torch_stream(random_state)
        weights = project_simplex(torch.from_numpy(self.counts / self.n_records))
        weights = weights.clamp_min(1e-6) / weights.clamp_min(1e-6).sum()
        parts = zip(self.marginals, self.errors, self.form.columns, strict=True)
        frequencies = torch.cat([self._frequencies(*part) for part in parts], 1)
        mixture = ProductMixture(
            torch.diag(weights), frequencies, self.form.widths, self.form.cell_states,
            self.form.cell_shares.expand(len(weights), -1),
        )  # fmt: skip
        codes = stratified(weights, n, random)[torch.randperm(n, generator=random)]
        return self.form.decode(mixture.draw(codes, random)), self.labels.decode(codes)

    def _frequencies(self, marginal, error, column):
        counts, rows = np.maximum(self.counts, 1.0), []
        for of, count in zip(torch.from_numpy(marginal), counts, strict=True):
            shares = of / count
            if column.n_ordered > 2:
                ordered = smooth_frequencies(shares[: column.n_ordered], error / count)
                shares = torch.cat([ordered, shares[column.n_ordered :]])
            rows.append(project_simplex(shares).clamp_min(1e-6))
        made = torch.stack(rows)
        return made / made.sum(1, keepdim=True)
