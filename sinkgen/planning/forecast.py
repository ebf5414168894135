"""The noise of a fit before its budget is spent, and what will stand out of it: of tables, from public facts alone."""

import dataclasses
import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sinkgen import fitting
from sinkgen._validation import check_integer, check_real
from sinkgen.data import facts as metadata
from sinkgen.data.schema import Schema
from sinkgen.data.table import TableFormat, table_format
from sinkgen.data.table_columns import NumberColumn
from sinkgen.denoise.bins import merged
from sinkgen.denoise.densities import of_columns
from sinkgen.exceptions import BadTypeError, BadValueError
from sinkgen.training.rehearsal import completed
from sinkgen.training.tables.marginals import States, below_noise, noise_together, share_of_one_way
from sinkgen.training.tables.tabular import MOST_CLASSES, POOLS

SURE = 2.0  # standard deviations of its noise that a count should have
STRONG = 0.3  # distance of a pair of columns from independence that is taken to be there
WORTH = 10.0  # deviations of noise that a pair's distance has to exceed, to be asked
CELLS = 128  # in which made-up numbers lie
TRIALS = 12  # of made-up noise
LEARNED = 12  # categories that are expected of a column where none are declared
GRID = np.geomspace(0.05, 20, 25)  # of epsilon, in which a wanted error is looked for
TINY = 1e-9


@dataclass(frozen=True)
class PlannedRelease:
    """One release of a fit.

    Attributes
    ----------
    what : str
        As the statement will call it.
    noise : float
        Standard deviation of the noise of a count in it.
    expected : float
        Mean number of records that such a count is of; nan where it is no count of cells.
    """

    what: str
    noise: float
    expected: float


@dataclass(frozen=True)
class Forecast:
    """What a fit would give at one epsilon.

    Attributes
    ----------
    epsilon : float
    releases : tuple of PlannedRelease
    category : float
        Records of the smallest category that stands out of the noise, in the mean of the columns.
    label : float
        Records of the smallest class whose columns stand out of the noise, on average; 0 without labels.
    distances : dict of str to float
        Expected total variation distance of each column's categories or bins from the real ones.
    """

    epsilon: float
    releases: tuple[PlannedRelease, ...]
    category: float
    label: float
    distances: dict[Any, float]

    @property
    def distance(self) -> float:
        """Mean of the columns' distances."""
        return float(np.mean(list(self.distances.values())))


@dataclass(frozen=True)
class Plan:
    """What fits of some budgets would give; print it.

    Attributes
    ----------
    n : int
        Records.
    delta : float
    forecasts : tuple of Forecast
        By epsilon, rising.
    gains : tuple of str
        What declaring more would gain.
    seconds, megabytes : float
        Rough: of one processor, and of memory beside the records.
    wanted : float or None
        Distance that is asked for.
    enough : float or None
        The epsilon at which it is reached; None if no distance is asked for, inf if none up to 20 does.

    Examples
    --------
    >>> plan({"sex": ["F", "M"]}, n=3000, epsilon=1).forecasts[0].epsilon
    1.0
    """

    n: int
    delta: float
    forecasts: tuple[Forecast, ...]
    gains: tuple[str, ...]
    seconds: float
    megabytes: float
    wanted: float | None = None
    enough: float | None = None

    def __str__(self) -> str:
        lines = [f"{self.n} records, delta {self.delta:g}: nothing is spent by this plan, and no record looked at."]
        lines += ["epsilon  distance  smallest category  smallest class"]
        for of in self.forecasts:
            label = f"{of.label:14.0f}" if of.label else f"{'-':>14}"
            lines.append(f"{of.epsilon:7.3g}  {of.distance:8.3f}  {of.category:17.0f}  {label}")
        for of in self.forecasts:
            told = ", ".join(
                f"{row.what} {row.noise:.0f}" + (f" of {row.expected:.0f}" if math.isfinite(row.expected) else "")
                for row in of.releases
            )
            lines.append(f"noise of a count at epsilon {of.epsilon:g}: {told}")
            worst = max(of.distances, key=lambda name: of.distances[name])
            lines.append(f"  worst column: {worst!r}, distance {of.distances[worst]:.3f}")
        if self.wanted is not None:
            reached = f"epsilon {self.enough:.2g}" if self.enough != math.inf else "no epsilon up to 20"
            lines.append(f"a distance of {self.wanted:g} is reached at {reached}")
        return "\n".join(
            [*lines, *self.gains, f"about {self.seconds:.0f} s, {self.megabytes:.0f} MB beside the records"]
        )


def plan(
    schema: Any, n: int, epsilon: Any = (0.3, 1.0, 3.0), *, delta: float = 1e-5, classes: Any = None,
    error: float | None = None,
) -> Plan:  # fmt: skip
    """Say what a fit of a table would give, from public facts alone.

    Noise is that which the fit would plan. What stands out of it is tried on made-up columns, of numbers that are bell
    shaped and categories of which each is half as frequent as the one before it, or even where there are two.

    Parameters
    ----------
    schema : Schema, dict, or data frame
        What is declared of each column; of a data frame its columns and dtypes alone, and nothing is declared then.
    n : int
        About how many records there are.
    epsilon : float or sequence of float, default=(0.3, 1.0, 3.0)
    delta : float, default=1e-5
    classes : sequence or None, default=None
        Labels, where the fit is given some as ``y``.
    error : float, default=None
        A distance that is wanted: at which epsilon is it reached?

    Returns
    -------
    Plan

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong type or out of range.

    Examples
    --------
    >>> made = plan({"age": (0, 100), "sex": ["F", "M"], "region": list("abcdefgh")}, n=3000, epsilon=[0.3, 3])
    >>> weak, strong = made.forecasts
    >>> weak.distance > 3 * strong.distance, round(strong.category) < round(weak.category)
    (True, True)
    """
    n = check_integer("n", n, low=1)
    given = [epsilon] if not isinstance(epsilon, Iterable) else list(epsilon)
    budgets = sorted(check_real("epsilon", of, low=0, include_low=False, include_high=False) for of in given)
    check_real("delta", delta, low=0, high=1, include_low=False, include_high=False)
    if not budgets:
        raise BadValueError("epsilon must hold at least one budget")
    form, labels = _form(schema), None if classes is None else np.asarray(list(classes))
    forecasts = tuple(_forecast(form, labels, n, of, delta) for of in budgets)
    enough = None
    if error is not None:
        check_real("error", error, low=0, high=1, include_low=False)
        tried = ((of, _forecast(form, labels, n, float(of), delta).distance) for of in GRID)
        enough = next((float(of) for of, distance in tried if distance <= error), math.inf)
    cells = sum(_completed(form, n, np.inf).widths) ** 2 * (1 if labels is None else len(labels))
    seconds = 4 + 2e-5 * cells + 3e-6 * n * len(form.columns)
    return Plan(
        n, delta, forecasts, _gains(form, labels, n, budgets[len(budgets) // 2], delta), seconds,
        200 + 1.6e-5 * cells + 2e-5 * n * len(form.columns), error, enough,
    )  # fmt: skip


def _form(schema):
    if hasattr(schema, "columns"):
        import pandas as pd

        frame = schema.iloc[:0] if hasattr(schema, "iloc") else schema[:0].to_pandas()
        return table_format(pd.DataFrame(frame))
    declared = schema if isinstance(schema, Schema) else Schema(schema)
    if not len(declared):
        raise BadTypeError("schema must declare at least one column")
    return table_format(_empty(declared), declared)


def _empty(schema):
    """A table without rows, whose dtypes go with what is declared."""
    import pandas as pd

    return pd.DataFrame({name: pd.Series(dtype=_dtype(column)) for name, column in schema.items()})


def _dtype(column):
    if column.format or column.decimal:
        return "object"
    if column.values is not None:
        return "object" if isinstance(column.values[0], str) else np.asarray(column.values).dtype
    kinds = {"float": "float64", "integer": "int64", "datetime": "datetime64[s]", "boolean": "bool"}
    numbers = "float64" if column.bounds is not None or column.edges is not None else "object"
    return kinds.get(column.kind or "", numbers)


# --- One budget ------------------------------------------------------------------------------------------------------


def _releases(form, labels, epsilon, delta):
    """Settings, and noise multipliers by name."""
    facts = metadata.collect(form, labels, labels, "learn")
    made = fitting.plan_budget(fitting.TRAINERS["marginals"], facts, {}, epsilon, delta, "auto")
    return made.settings, {row.what: row.noise_multiplier for row in made.releases}


class _Noises:
    """Noise multipliers as the mechanism tells them."""

    def __init__(self, rows):
        self.noise_multiplier = rows.__getitem__


def _forecast(form, labels, n, epsilon, delta):
    settings, rows = _releases(form, labels, epsilon, delta)
    learned = rows.get("bins", 0.0) * sum(isinstance(c, NumberColumn) and not c.edges for c in form.columns) ** 0.5
    full = _completed(form, n, learned)
    n_classes = 1 if labels is None else len(labels)
    if labels is None:
        noises, of_state, of_class = _noises_of_field(full, n, settings, rows)
    else:
        noises, of_state, of_class = _noises_of_mixture(full, n, settings, rows, n_classes)
    names = [column.name for column in full.columns]
    distances = dict(zip(names, _distances(full.columns, n, noises), strict=True))
    told = [PlannedRelease("count", rows["count"], n / n_classes)]
    told += [PlannedRelease("bins", learned, n / CELLS)] if learned else []
    told += [PlannedRelease(what, noise, expected) for what, noise, expected in of_state]
    return Forecast(epsilon, tuple(told), SURE * float(np.mean(noises)), of_class, distances)


def _noises_of_field(form, n, settings, rows):
    """Noise of each column's states once all counts of them are put together; releases; 0 for classes."""
    p, widths = len(form.columns), form.widths
    alone = rows["columns"] * (p + 1) ** 0.5
    told, noise = [("columns", alone, n / np.mean(widths))], alone
    if "pairs" in rows:
        pairs_are_asked = STRONG * n > WORTH * rows["pairs"]
        if pairs_are_asked:
            asked = max(1, min(math.comb(p, 2), int((STRONG * n / WORTH / rows["pairs"]) ** 2)))
            told.append(("pairs", rows["pairs"] * asked**0.5, n / float(np.mean(widths)) ** 2))
        else:  # what pairs would have had goes to the columns
            again = rows["pairs"] * (p + 1) ** 0.5
            told.append(("pairs", again, n / np.mean(widths)))
            noise = (alone**-2 + again**-2) ** -0.5
    return [noise] * p, told, 0.0


def _noises_of_mixture(form, n, settings, rows, n_classes):
    p, widths = len(form.columns), form.widths
    states = States(widths, form.ordered, form.optional)
    n_split, door = n_classes if n_classes <= MOST_CLASSES else 1, _Noises(rows)
    charged = settings.shares.keys()
    unasked = below_noise(
        n, states, door, charged, n_split=n_split, cell_counts=[form.cell_counts[j] for j in form.fine],
        n_pools=len(POOLS), n_components=settings.members * settings.components,
    )  # fmt: skip
    whole = noise_together(settings.rows(unasked), door)
    share = share_of_one_way(n, states, n_classes, n_split, whole)
    if share == 1:
        whole = noise_together(settings.rows(unasked | (charged & {"refinements", "labelling"})), door)
    one = whole * (p / share) ** 0.5
    told = [("marginals of a class", one, n / np.mean(widths) / n_classes)]
    precision = [1 / (n_classes * one**2)] * p
    if share < 1:
        two = whole * (math.comb(p, 2) / (1 - share)) ** 0.5
        told.append(("pairs", two, n / float(np.mean(widths)) ** 2 / n_split))
        for a, b in itertools.permutations(range(p), 2):
            precision[a] += 1 / (n_split * widths[b] * two**2)
    return [of**-0.5 for of in precision], told, SURE * one * float(np.mean(widths)) / 2


def _distances(columns, n, noises):
    """Expected total variation distance of made-up columns from themselves with noise, once that is mended."""
    true, ordered = [_made_up(column) for column in columns], [column.n_ordered for column in columns]
    random = torch.Generator().manual_seed(0)
    scales = [torch.full((len(of),), noise / n).double() for of, noise in zip(true, noises, strict=True)]
    shares = [
        of + scale * torch.randn(len(of), generator=random, dtype=torch.float64)
        for _ in range(TRIALS)
        for of, scale in zip(true, scales, strict=True)
    ]
    none = [torch.zeros(len(of), dtype=torch.bool) for of in true]
    found = of_columns(shares, scales * TRIALS, ordered * TRIALS, none * TRIALS, 1.0)
    off = [0.5 * float((of - exact).abs().sum()) for of, exact in zip(found, true * TRIALS, strict=True)]
    return np.reshape(off, (TRIALS, -1)).mean(0).tolist()


def _made_up(column):
    """Frequencies of a column's states; nothing is missing, and nothing other."""
    n = column.n_ordered or column.n_states - column.other - column.nullable
    if isinstance(column, NumberColumn):
        shares = _bell(len(column.bins))
        shares = np.bincount(np.asarray(column.bins), shares, n)
    else:
        shares = np.ones(n) if n == 2 else 0.5 ** np.arange(n)
    out = torch.zeros(column.n_states, dtype=torch.float64)
    out[:n] = torch.from_numpy(shares / shares.sum())
    return out


def _bell(n):
    places = (np.arange(n) + 0.5) / n
    return np.exp(-0.5 * ((places - 0.4) / 0.15) ** 2)


def _completed(form, n, noise):
    """The format with something in place of what would be learned: bins that stand out of so much noise."""
    filled: Any = completed(form)
    columns: list[Any] = []
    parts: Any = zip(form.columns, filled.columns, strict=True)
    for own, column in parts:
        if isinstance(own, NumberColumn) and not own.edges:
            shares = _bell(CELLS)
            bins = merged(n * shares / shares.sum(), min(noise, n))
            column = column.with_cells(np.linspace(column.bounds[0], column.bounds[1], CELLS + 1), bins)
        elif not isinstance(own, NumberColumn) and own.values is None:
            column = dataclasses.replace(column, values=tuple(map(str, range(LEARNED))))
        columns.append(column)
    return TableFormat(tuple(columns), form.frame_kind)


def _gains(form, labels, n, epsilon, delta):
    """What declaring all that is not would gain, in a line."""
    undeclared = [c.name for c in form.columns if c.missing and c.undeclared]
    binned = [c.name for c in form.columns if isinstance(c, NumberColumn) and not c.edges]
    if not undeclared and not binned:
        return ()
    parts: Any = zip(form.columns, _completed(form, n, 0.0).columns, strict=True)
    columns = [_declared(own, full) for own, full in parts]
    whole = form.with_columns(columns)
    before, after = (_forecast(of, labels, n, epsilon, delta).category for of in (form, whole))
    names = ", ".join(map(repr, (undeclared or binned)[:5]))
    what = "bounds or values" if undeclared else "bins (edges)"
    gain = f"{before:.0f} to {after:.0f} records at epsilon {epsilon:g}"
    return (f"declaring {what} of {names} would move the smallest category that stands out from {gain}",)


def _declared(own, full):
    """A column as if all of it had been declared."""
    if isinstance(own, NumberColumn) and not own.edges:
        return full.with_bins(np.linspace(full.bounds[0], full.bounds[1], 13))
    return full if own.missing else own
