"""Direct answers: what a release says of a table by itself, with standard errors. No record is at hand here."""

import itertools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from sinkgen._groups import count_cells
from sinkgen.data.table import TableFormat
from sinkgen.data.table_columns import OTHER, NumberColumn
from sinkgen.exceptions import BadTypeError, BadValueError
from sinkgen.generators.cliques import Clique
from sinkgen.inference.counts import NoisyCounts, together
from sinkgen.inference.estimates import Estimate

LABEL = "label"  # what the labels are called where no column is
TINY = 1e-12
UNEVEN = 0.7  # of the deviation of one number's place, by which a cell's share beside a cut is off: nearly all or none
HIDDEN = 0.3  # standard deviations of a bin's numbers by which their mean is off where nothing tells of them
DRAWS = 100_000  # of the model, for what was not released


@dataclass(frozen=True)
class Marginal:
    """Shares of the records in the cells of one or a few columns.

    Attributes
    ----------
    columns : tuple
        Names.
    cells : tuple of list, one a column
        What each place stands for: a category, None for missing cells, a ``pandas.Interval`` of numbers, or a list of
        these where several are counted together.
    shares : ndarray, one axis a column
        Of the records that lie in one of the cells; where they were released unbiased: noise may make some negative.
    privacy_errors : ndarray of the same shape
        Standard deviation of the shares by the noise of privacy; nan where they are the model's.
    sampling_errors : ndarray of the same shape
        Standard deviation of the shares by the choice of the records from a population, each on its own.
    origin : {"released", "model"}
    release : str
        The rows of the statement that they come from; empty for the model's.
    """

    columns: tuple
    cells: tuple
    shares: np.ndarray
    privacy_errors: np.ndarray
    sampling_errors: np.ndarray
    origin: str
    release: str

    @property
    def standard_errors(self) -> np.ndarray:
        """Of both kinds together."""
        return np.hypot(self.privacy_errors, self.sampling_errors)

    def to_frame(self) -> Any:
        """One row a cell (pandas.DataFrame): the columns, ``share``, ``privacy_error``, ``sampling_error``.

        Examples
        --------
        >>> import numpy as np
        >>> errors = np.array([0.01, 0.01])
        >>> cells, shares = (["F", "M"],), np.array([0.4, 0.6])
        >>> print(Marginal(("sex",), cells, shares, errors, errors, "released", "columns").to_frame())
          sex  share  privacy_error  sampling_error
        0   F    0.4           0.01            0.01
        1   M    0.6           0.01            0.01
        """
        import pandas as pd

        places = np.indices(self.shares.shape).reshape(len(self.columns), -1)
        parts = {}
        for name, cells, of in zip(self.columns, self.cells, places, strict=True):
            column = np.empty(len(of), dtype=object)
            column[:] = [cells[place] for place in of]
            parts[name] = column
        numbers = {"share": self.shares, "privacy_error": self.privacy_errors, "sampling_error": self.sampling_errors}
        return pd.DataFrame(parts | {name: values.ravel() for name, values in numbers.items()})

    def __str__(self) -> str:
        told = f"released as {self.release}" if self.origin == "released" else "of the model: its error is not known"
        return f"{self.to_frame().to_string(index=False)}\n{told}"


def marginal(release: Any, columns: Any) -> Marginal:
    """Shares of the cells of a few columns; see :meth:`sinkgen.Release.marginal`."""
    places, names = _places(release, columns)
    counts = _counted(release, places)
    origin = "model" if counts is None else "released"
    if counts is None:
        counts, total, doubt = _of_model(release, places), float(DRAWS), 0.0
    else:
        total, doubt = _total(release)
    order = [counts.columns.index(j) for j in places]
    even = 1 / counts.counts.numel()
    # What cells hold together is the number of records, which is known better than their sum.
    shares = counts.counts.permute(order).double().numpy() / total
    shares = shares + even * (1 - shares.sum())
    privacy = np.hypot(counts.noise * (1 - even) ** 0.5, (shares - even) * doubt) / total
    privacy = privacy if origin == "released" else np.full(shares.shape, np.nan)
    held = np.clip(shares, 0, 1)
    sampling = np.sqrt(held * (1 - held) / _n_records(release))
    cells = tuple(_cells(release, j, counts.groups[i]) for i, j in zip(order, places, strict=True))
    return Marginal(names, cells, shares, privacy, sampling, origin, counts.what if origin == "released" else "")


def proportion(release: Any, conditions: Any) -> Estimate:
    """Share of the records that meet a condition on one column; see :meth:`sinkgen.Release.proportion`."""
    if not isinstance(conditions, dict) or len(conditions) != 1:
        raise BadTypeError("conditions must be a dict of one column: what several share, draws of the model tell")
    (place,), _ = _places(release, list(conditions))
    if place == release.form.n_encoded:
        wanted = next(iter(conditions.values()))
        codes = release.labels.encode(np.atleast_1d(wanted))
        if (codes < 0).any():
            raise BadValueError(f"the release knows the labels {list(release.labels.classes)}")
        weights = torch.zeros(len(release.labels.classes)).index_fill(0, codes, 1.0).double().numpy()
        return _linear(release, place, weights, weights, None)
    part = np.diff(release.form.allowed(conditions)[place])[:, 0]
    weights = np.bincount(_states(release, place), _within(release, place) * part)
    return _linear(release, place, weights, weights, None, _part_doubts(release, place, part, weights))


def mean(release: Any, column: Any) -> Estimate:
    """Mean of a column of numbers; see :meth:`sinkgen.Release.mean`."""
    (place,), _ = _places(release, [column])
    of = release.form.columns[place] if place < release.form.n_encoded else None
    if not isinstance(of, NumberColumn):
        raise BadTypeError(f"column {column!r} holds no numbers: ask for a proportion")
    middles, widths = middles_of(of)
    shares, states, n = _within(release, place), _states(release, place), of.n_states
    present = np.arange(n) < of.n_ordered
    first = np.bincount(states[: len(middles)], shares[: len(middles)] * middles, n)
    second = np.bincount(states[: len(middles)], shares[: len(middles)] * (middles**2 + widths**2 / 12), n)
    return _linear(release, place, first, second, present.astype(float), within_doubts(release, place))


def histogram(release: Any, column: Any) -> Marginal:
    """The marginal of one column; see :meth:`sinkgen.Release.histogram`."""
    return marginal(release, [column])


def _linear(release, place, weights, squares, present, within=None):
    """Estimate of the sum of weights over the records, by the share of each state; of those present, if given.

    ``within`` tells how well it is known where within states numbers lie.
    """
    found, counts = marginal(release, [_names(release)[place]]), _counted(release, [place])
    shares, even = found.shares, 1 / len(found.shares)
    weights, squares = weights[: len(shares)], squares[: len(shares)]
    whole = 1.0 if present is None else max(float(present @ shares), 1e-12)
    value = float(weights @ shares) / whole
    slopes = (weights - value * (0 if present is None else present)) / whole
    privacy = math.nan
    if counts is not None:
        total, doubt = _total(release)
        own = counts.noise**2 * max(float(slopes @ slopes) - even * float(slopes.sum()) ** 2, 0.0)
        privacy = (own + (doubt * float(slopes @ (shares - even))) ** 2) / total**2
    held = np.clip(shares, 0, None)
    if within is not None:
        spread = np.sqrt(np.maximum(squares - weights**2, 0.0))
        privacy += float(np.square(held * spread * within.errors.numpy()[: len(held)]).sum()) / whole**2
    spread = float(squares @ held) / (whole if present is not None else 1.0) - value**2
    sampling = max(spread, 0.0) / (_n_records(release) * whole)
    variance = privacy + sampling
    return Estimate(value, math.sqrt(variance), privacy / variance if variance else 0.0, found.origin)


def _names(release):
    names = [column.name for column in release.form.columns]  # that were counted: rules may make others of them
    return [*names, LABEL] if release.labels is not None and LABEL not in names else names


def _places(release, columns):
    """Places of the columns, and their names as a tuple."""
    if not isinstance(release.form, TableFormat):
        raise BadTypeError("direct answers are of tables: of arrays hardly anything but the model is released")
    columns = [columns] if isinstance(columns, (str, int)) else list(columns)
    names = _names(release)
    if not columns or len(set(columns)) != len(columns) or not set(columns) <= set(names):
        raise BadValueError(f"columns must be different ones of {names}")
    return [names.index(name) for name in columns], tuple(columns)


def _total(release):
    """Noisy number of records, and the standard deviation of its noise."""
    counts = next(part for part in release.counts if not part.columns)
    return max(float(counts.counts.sum()), 1.0), counts.noise * counts.counts.numel() ** 0.5


def _n_records(release):
    return _total(release)[0] if release.counts else math.nan


def _counted(release, places):
    """Released counts of exactly these columns, as finely as there are any; None where there are none."""
    parts = [part.within(tuple(places)) for part in release.counts if set(places) <= set(part.columns)]
    if release.labels is not None and places == [release.form.n_encoded]:
        n = len(release.labels.classes)
        own = [part for part in release.counts if not part.columns and part.counts.numel() == n]
        parts += [part._replace(columns=tuple(places), groups=(torch.arange(n),)) for part in own]
    if not parts:
        return None
    best = min(parts, key=lambda part: (-part.counts.numel(), part.noise))
    return together([part for part in parts if part.has_groups_of(best)])


def _of_model(release, places):
    """Counts of draws of the model."""
    random = torch.Generator().manual_seed(0)
    labels = _labels(release, DRAWS, random)
    cells = release.generator.draw(labels, random).floor().long()
    codes = torch.cat([release.form.states(cells).T, labels[None]])
    widths = [*release.form.widths, len(release.class_weights)]
    columns = tuple(sorted(places))
    clique = Clique(columns, tuple(torch.arange(widths[j]) for j in columns))
    return NoisyCounts("", columns, clique.groups, count_cells([clique], codes)[0].view(clique.shape), 0.0)


def _labels(release, n, random):
    ends = release.class_weights.cumsum(0)
    places = (torch.arange(n, dtype=torch.float64) + 0.5) / n * ends[-1]
    return torch.searchsorted(ends.double(), places).clamp_max(len(ends) - 1)[torch.randperm(n, generator=random)]


def _cells(release, place, groups):
    """What each group of a column's states stands for."""
    if place == release.form.n_encoded:
        return release.labels.decode(range(len(release.labels.classes))).tolist()
    named = _states_named(release.form.columns[place])
    members = [[named[s] for s in torch.nonzero(groups == g).flatten().tolist()] for g in range(int(groups.max()) + 1)]
    return [_as_one(of) for of in members]


def _states_named(column):
    import pandas as pd

    if not isinstance(column, NumberColumn):
        return [*column.values, *[OTHER] * column.other, *[None] * column.nullable]
    starts = np.searchsorted(column.bins, np.arange(column.n_ordered))
    ends = np.asarray(column.edges)[np.append(starts, len(column.bins))]
    if column.kind == "datetime":
        ends = [pd.Timestamp(end, unit="s") for end in ends]
    return [*(pd.Interval(a, b, "left") for a, b in itertools.pairwise(ends)), *[None] * column.nullable]


def _as_one(members):
    import pandas as pd

    if len(members) > 1 and all(isinstance(of, pd.Interval) for of in members):
        return pd.Interval(members[0].left, members[-1].right, "left")
    return members[0] if len(members) == 1 else members


def _states(release, place):
    return np.asarray(release.form.columns[place].cell_states)


def _within(release, place):
    """Share of each of a column's cells in its state, as it is drawn over all classes."""
    generator, counts = release.generator, release.form.cell_counts
    places = getattr(generator, "places", generator)
    shares = places.cell_shares.double()
    weights = release.class_weights.double() if len(shares) > 1 else torch.ones(1, dtype=torch.float64)
    start = sum(counts[:place])
    return (weights @ shares[:, start : start + counts[place]]).numpy() / float(weights.sum())


class WithinDoubt(NamedTuple):
    """How well it is known where within its states a column's numbers lie.

    Attributes
    ----------
    errors : Tensor of shape (n_states,)
        Standard deviation of a state's mean, in standard deviations of its numbers; 0 for categories.
    directions : Tensor of shape (n_cells,)
        Distance of a cell from its state's mean, in the same units.
    """

    errors: torch.Tensor
    directions: torch.Tensor


def within_doubts(release: Any, place: int) -> WithinDoubt:
    """By the noise of the counts of cells, and without any by what bins usually hide; see :class:`WithinDoubt`."""
    column = release.form.columns[place]
    states, n_states = _states(release, place), column.n_states
    if not isinstance(column, NumberColumn) or not release.counts:
        return WithinDoubt(torch.zeros(n_states).double(), torch.zeros(len(states)).double())
    middles, widths = middles_of(column)
    shares, states = _within(release, place)[: len(middles)], states[: len(middles)]
    mean = np.bincount(states, shares * middles, n_states)
    offset = middles - mean[states]
    spread = np.sqrt(np.bincount(states, shares * (offset**2 + widths**2 / 12), n_states))
    directions = offset / np.maximum(spread, 1e-12)[states]
    known = np.bincount(states, shares * directions**2, n_states)  # the rest is within cells
    counts = _counted(release, [place])
    records = np.clip(counts.counts.numpy(), counts.noise, None) if len(counts.counts) == n_states else np.inf
    reach = np.sqrt(np.bincount(states, directions**2, n_states))
    noise = _noise_of_cells(release) * reach / np.maximum(records * known, 1e-12)
    of_cells = 1 / np.sqrt(1 / HIDDEN**2 + 1 / np.maximum(noise, 1e-12) ** 2)
    errors = np.where(spread > 0, np.where(known > 0.5, of_cells, HIDDEN), 0.0)
    nothing = [0.0] * column.nullable
    return WithinDoubt(torch.from_numpy(errors), torch.tensor([*directions, *nothing]).double())


def _part_doubts(release, place, part, weights):
    """How well it is known what share of a state's numbers meets a condition that cuts its cells; None for categories.

    Within a cell numbers are taken to lie evenly. That is likely where neighbours are about as dense, and may be far
    off where they are not, such as between two modes.
    """
    column = release.form.columns[place]
    if not isinstance(column, NumberColumn):
        return None
    (middles, widths), shares = middles_of(column), _within(release, place)
    states, n = _states(release, place)[: len(middles)], len(middles)
    found = np.clip(marginal(release, [_names(release)[place]]).shares, TINY, None)
    with np.errstate(divide="ignore"):
        density = np.log(found[states] * shares[:n] + TINY) - np.log(widths)
    with np.errstate(invalid="ignore"):  # two numbers alone are as dense as each other
        steps = np.nan_to_num(np.abs(np.diff(density)), nan=0.0, posinf=np.inf)
    unlike = np.maximum(np.append(steps, 0.0), np.insert(steps, 0, 0.0)).clip(max=1.0)
    off = UNEVEN * shares[:n] * np.sqrt(part[:n] * (1 - part[:n])) * unlike
    of_state = np.sqrt(np.bincount(states, off**2, column.n_states))
    spread = np.sqrt(np.clip(weights - weights**2, 0.0, None))
    errors = np.divide(of_state, spread, out=np.zeros_like(of_state), where=spread > 0)
    return WithinDoubt(torch.from_numpy(errors), torch.zeros(0))


def _noise_of_cells(release):
    """Standard deviation of the noise of the number of records in a cell."""
    rows = {row.what: row.noise_multiplier for row in release.spent.releases}
    fine, n = release.form.fine, sum(isinstance(column, NumberColumn) for column in release.form.columns)
    known = [rows[what] * many**0.5 for what, many in (("cells", len(fine)), ("bins", n)) if what in rows and many]
    return math.fsum(max(noise, 1e-9) ** -2 for noise in known) ** -0.5 if known else math.inf


def middles_of(column):
    """Middles and widths of the cells of a column of numbers."""
    edges = np.asarray(column.edges)
    grain = column.step or float(column.kind == "integer")
    widths = np.maximum(np.diff(edges) - grain, 0.0)
    widths = np.where(widths <= 2 * np.abs(np.spacing(edges[:-1])), 0.0, widths)
    return edges[:-1] + widths / 2, widths
