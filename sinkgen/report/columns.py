"""Real records as columns that can be measured: numbers or categories, with bins."""

from typing import NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils.multiclass import type_of_target

from sinkgen.exceptions import BadValueError

N_BINS = 10
MOST_INDICATORS = 200  # of the categories of a column, as numbers
IDS, FEWEST_IDS = 0.9, 20  # share of the cells of a column that differ, and their number, from which they are ids
NANOSECONDS_OF_A_DAY = 86_400e9


class Part(NamedTuple):
    """Records, with labels or without."""

    X: object
    y: object = None


def as_part(given):
    """X or (X, y) as a :class:`Part`."""
    return Part(*given) if isinstance(given, tuple) else Part(given)


def hold_out(part, random):
    """Two thirds of the records, and one."""
    if len(part.X) < 2:
        raise BadValueError("real holds a single record, of which none can be held out: give test")
    if part.y is None:
        return tuple(map(Part, train_test_split(part.X, test_size=1 / 3, random_state=random)))
    X, X_test, y, y_test = train_test_split(part.X, part.y, test_size=1 / 3, random_state=random)
    return Part(X, y), Part(X_test, y_test)


class EncodedPair(NamedTuple):
    """What the measures need of some records: features as numbers (n, k), bins of each column (n, columns), labels."""

    numbers: np.ndarray
    bins: np.ndarray
    y: object


class Columns:
    """What is known of the columns, from the real records.

    Attributes
    ----------
    names : list
        Of the columns that are measured.
    ids : list
        Names of those that are not: columns of text whose cells differ from record to record.
    of : dict of name to Numbers or Categories
    target : Numbers, Categories or None
    """

    def __init__(self, part):
        columns = named_columns(part.X)
        of = {name: _column_kind(values)(values) for name, values in columns.items()}
        ids = [name for name, column in of.items() if isinstance(column, Categories) and column.are_ids]
        # What tells each record from all others says nothing of how alike two samples are: all of them differ in it.
        self.ids = ids if len(ids) < len(of) else []
        self.of = {name: column for name, column in of.items() if name not in self.ids}
        self.names = list(self.of)
        self.target = None if part.y is None else _target_kind(part.y)(part.y)
        if np.ndim(part.X) > 2:  # the pixels of images are of one kind: those at the border do not count more
            scale = np.sqrt(np.mean([column.scale**2 for column in self.of.values()]))
            for column in self.of.values():
                column.scale, column.edges = scale, column.quantiles  # nearly black is black

    def view(self, part):
        """The :class:`EncodedPair` of records of these columns."""
        columns = named_columns(part.X)
        if {*columns} != {*self.names, *self.ids} or [name for name in columns if name in self.of] != self.names:
            raise BadValueError("real and synthetic records must have the same columns")
        columns = {name: columns[name] for name in self.names}
        bins = [self.of[name].bins(values) for name, values in columns.items()]
        if self.target is not None and part.y is not None:
            bins.append(self.target.bins(part.y))
        numbers = np.column_stack([self.of[name].numbers(values) for name, values in columns.items()])
        return EncodedPair(numbers, np.column_stack(bins), None if part.y is None else np.asarray(part.y))

    def views(self, **parts):
        """The views of several parts, by name."""
        return {name: self.view(part) for name, part in parts.items()}


def named_columns(X):
    """Columns by name; those of an array, and the pixels of images, by number."""
    if hasattr(X, "columns"):
        return {name: X[name] for name in X.columns}
    X = np.asarray(X)
    return dict(enumerate(X.reshape(len(X), -1).T))


def _column_kind(values):
    return Numbers if values.dtype.kind in "biufmM" else Categories


def _target_kind(y):
    return Numbers if type_of_target(y).startswith("continuous") else Categories


class Numbers:
    """A column of numbers or dates."""

    def __init__(self, values):
        values = floats(values)
        values = values[~np.isnan(values)]
        known = values if len(values) else np.zeros(1)
        self.quantiles, counts = np.unique(np.quantile(known, np.linspace(0, 1, N_BINS + 1)[1:-1]), return_counts=True)
        # A number that is two quantiles is a bin of its own: zero, among many zeros.
        self.edges = np.sort(np.concatenate([self.quantiles, np.nextafter(self.quantiles[counts > 1], np.inf)]))
        self.centre, self.scale = known.mean(), known.std() or 1.0

    def bins(self, values):
        values = floats(values)
        return np.where(np.isnan(values), N_BINS, np.searchsorted(self.edges, values, side="right"))

    def numbers(self, values):
        return np.nan_to_num((floats(values) - self.centre) / self.scale)[:, None]

    def draw(self, ax, parts):
        kind = parts["real"].dtype.kind
        numbers = {label: floats(values) for label, values in parts.items()}
        if kind in "mM":
            numbers = {label: values / NANOSECONDS_OF_A_DAY for label, values in numbers.items()}
        edges = _edges(numbers["real"][np.isfinite(numbers["real"])], whole=kind in "biu")
        for label, values in numbers.items():
            ax.hist(np.clip(values, edges[0], edges[-1]), edges, density=True, alpha=0.5, label=label)
        if kind == "M":
            from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

            ax.xaxis_date()
            ax.xaxis.set_major_locator(locator := AutoDateLocator(maxticks=5))
            ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        if kind == "b":
            ax.set_xticks([0, 1], ["False", "True"])


def _edges(values, whole):
    """Ends of some 20 bins of equal width; of whole numbers in each, so that no bin is empty by its place alone."""
    if not whole:
        return np.histogram_bin_edges(values, 20)
    low, high = values.min(), values.max()
    width = -(-(high - low + 1) // 25)
    return np.arange(low, high + width + 1, width) - 0.5


def differing_share(values):
    """Share of the cells of a column, missing ones left out, that are different from each other."""
    texts = _texts(values)
    texts = texts[texts != ""]
    return len(np.unique(texts)) / max(len(texts), 1)


class Categories:
    """A column of anything else; what is missing is a category of its own."""

    def __init__(self, values):
        self.names, counts = np.unique(_texts(values), return_counts=True)
        commonest = np.sort(np.argsort(-counts, kind="stable")[:MOST_INDICATORS])
        self.indicators = np.full(len(self.names) + 1, len(commonest))
        self.indicators[commonest] = np.arange(len(commonest))
        self.are_ids = len(values) >= FEWEST_IDS and differing_share(values) > IDS
        # Two categories that the real records lack are two: other real records have more of them than synthetic ones.
        self.codes = {text: code for code, text in enumerate(self.names.tolist())}

    def bins(self, values):
        present, places = np.unique(_texts(values), return_inverse=True)
        codes = [self.codes.setdefault(text, len(self.codes)) for text in present.tolist()]
        return np.array(codes, dtype=np.int64)[places.ravel()]

    def numbers(self, values):
        # Two categories are at distance 1; one that the real records lack, or that is rare among many, is nothing.
        codes = self.indicators[self.bins(values).clip(max=len(self.names))]
        n_indicators = self.indicators[-1]
        return np.eye(n_indicators + 1, n_indicators)[codes] / np.sqrt(2)

    def draw(self, ax, parts):
        for offset, (label, values) in zip((-0.2, 0.2), parts.items(), strict=True):
            shares = np.bincount(self.bins(values), minlength=len(self.names)) / len(values)
            ax.bar(np.arange(len(self.names)) + offset, shares[: len(self.names)], 0.4, alpha=0.7, label=label)
        ax.set_xticks(range(len(self.names)), self.names, rotation=90)


def floats(values):
    """A column's cells as float64, missing ones as nan; dates in nanoseconds since 1970."""
    if values.dtype.kind in "mM":
        of_arrow = getattr(values.dtype, "pyarrow_dtype", None)
        if getattr(of_arrow or values.dtype, "tz", None) is not None:
            values = values.dt.tz_localize(None)
        if of_arrow is not None:
            values = values.astype("datetime64[ns]" if values.dtype.kind == "M" else "timedelta64[ns]")
        nanoseconds = np.asarray(values, dtype=f"{values.dtype.kind}8[ns]")
        return np.where(np.isnat(nanoseconds), np.nan, nanoseconds.astype(np.int64))
    if hasattr(values, "to_numpy"):  # a nullable column of pandas
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.asarray(values, dtype=np.float64)


def _texts(values):
    texts = np.array([str(value) for value in values])
    return np.where(values.isna(), "", texts) if hasattr(values, "isna") else texts
