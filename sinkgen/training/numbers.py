"""The cells of columns of numbers, counted on the budget until they are as fine as the noise allows."""

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from sinkgen.denoise.doubt import UNKNOWN, doubt, redrawn
from sinkgen.denoise.numbers import (
    CALENDAR,
    DECIMALS,
    MOST_EVEN,
    Cells,
    Counts,
    by_magnitude,
    finer_cells,
    first_cells,
    grain_of,
    held_cells,
    is_resolved,
    likeliest_beyond,
    likely_grain,
    located,
    n_cells,
    with_far,
    without_empty_ends,
)
from sinkgen.privacy.queries.tables import JointQuery, MarginalQuery, SomeColumnsQuery

GRAIN_SHARE = 0.15  # of the first count
LEAST_NOISE = 1e-6
PRESENT = 3.0  # standard deviations by which what is missing, or outside of the cells, has to stand out
FEW = 2.0  # standard deviations by which there may be more records than were counted
FAR = 4.4  # the same, of a cell that was chosen among all, for its first count
MANY = 0.05  # share of the records beyond the cells, from which these are made wider
LOST = 0.5  # share of the records outside of the cells, from which these are sought again


class Numbers(NamedTuple):
    """What is known of a column of numbers before it is counted.

    Attributes
    ----------
    bounds : (low, high) or None
    grain : float or None
        Distance of the numbers, where it is known.
    grains : tuple of float
        Distances that are tried, from the largest, where it is not.
    """

    bounds: tuple | None
    grain: float | None
    grains: tuple = ()

    @classmethod
    def of(cls, bounds, kind, step=None):
        """By the kind of a column: "float", "integer", "datetime" or "duration"."""
        if step is not None or kind == "integer":
            return cls(bounds, step or 1.0)
        return cls(bounds, None, CALENDAR if kind in ("datetime", "duration") else DECIMALS)


class Counted(NamedTuple):
    """What the counts of a column have shown.

    Attributes
    ----------
    cells : Cells or None
        None where nothing stood out.
    grain : float or None
    present : float
        Noisy number of records that are not missing.
    noise : float
        Standard deviation of the noise of a cell's count.
    values, sizes : ndarray of shape (k,)
        Noisy counts of the cells, and how many noisy counts each is the sum of.
    absent : tuple of float
        Noisy number of records that are missing, and the standard deviation of its noise.
    outside : float
        Noisy share of the numbers that lie outside of the cells, or of the bounds that are known.
    is_resolved : bool
        Whether the cells are as fine as the numbers are spread.
    is_bounded : bool
        Whether bounds were declared.
    others : tuple of Cells
        What might have been found with other noise.
    """

    cells: Cells | None
    grain: float | None
    present: float
    noise: float
    values: np.ndarray
    sizes: np.ndarray
    absent: tuple[float, float]
    outside: float
    is_resolved: bool
    is_bounded: bool
    others: tuple[Cells, ...] = ()

    def doubt(self, cells=None, starts=None, covariance=None):
        """How far numbers are off that are drawn in cells; by default in those that were found."""
        if self.cells is None:
            return UNKNOWN
        if cells is None:
            cells, starts = self.cells, np.arange(len(self.cells.shares))
            covariance = self.noise**2 * np.diag(self.sizes)
        noises = self.noise * np.sqrt(
            self.sizes if len(self.sizes) == len(cells.shares) else np.ones(len(cells.shares))
        )
        n_most = self.present + FEW * self.noise  # no noise of their number is more than that
        return doubt(
            cells, starts, covariance, self.others, noises=noises, n=self.present, n_most=n_most, grain=self.grain
        )


def count_numbers(columns, source, total, mechanism, what, steps):
    """Release counts of the cells of columns of numbers, several times, in cells that get finer.

    Parameters
    ----------
    columns : sequence of Numbers
    source : RecordSource
        Numbers (m, n_columns) in double precision; nan is missing.
    total : float
        Noisy number of records.
    mechanism : GaussianMechanism
    what : str
        The charged row.
    steps : int
        Its steps.

    Returns
    -------
    list of Counted
    """
    states = [_Column(known, max(total, 1.0)) for known in columns]
    grained = [j for j, known in enumerate(columns) if known.grains]
    for step in range(steps):
        # What is asked last of all is where the numbers lie; first also of what they are multiples.
        asked = grained if step == 0 else []
        shares = [1 - GRAIN_SHARE, GRAIN_SHARE] if asked else [1.0]
        noises = [
            mechanism.noise_multiplier(what) * math.sqrt(n / share)
            for n, share in zip((len(columns), len(asked)), shares, strict=False)
        ]
        for state in states:
            state.cut(noises[0])
        grids, grains = [state.places() for state in states], [(j, columns[j].grains) for j in asked]
        widths = [[int(codes.max()) + 2 for _, codes in grids], [len(tried) + 2 for _, tried in grains]][: len(shares)]
        query = JointQuery(_queries_in_a_row(widths), shares)
        released = mechanism.release(what, query, source.map(partial(_codes, grids, grains)))
        parts = [counts[0].split(of) for counts, of in zip(released, widths, strict=True)]
        for j, counts in zip(asked, parts[-1], strict=False):
            states[j].learn_grain(counts.numpy(), noises[-1])
        for state, counts in zip(states, parts[0], strict=True):
            state.learn(counts.numpy(), noises[0])
    return [state.counted._replace(others=state.redrawn()) for state in states]


def _queries_in_a_row(widths):
    """Counts of codes: of the columns of the first list, then of those of the second."""
    ends = np.cumsum([0, *map(len, widths)]).tolist()
    parts = zip(widths, ends[:-1], ends[1:], strict=True)
    return [SomeColumnsQuery(MarginalQuery(of), slice(start, stop)) for of, start, stop in parts]


def _codes(grids, grains, records):
    """Places of numbers: as the grids say, of what is missing the last; then the grain of some columns."""
    numbers = records.values.numpy()
    codes = np.empty((len(numbers), len(grids) + len(grains)), dtype=np.int16)
    for code, column, (edges, places) in zip(codes.T, numbers.T, grids, strict=False):
        order = column.argsort()  # a sort and a search for each end take half the time of a search for each number
        ends = column[order].searchsorted(edges)
        code[order] = places.repeat(np.diff(ends, prepend=0, append=len(column)))
        code[np.isnan(column)] = places.max() + 1
    for code, (j, tried) in zip(codes.T[len(grids) :], grains, strict=True):
        code[:] = grain_of(numbers[:, j], tried)
    return records.having(values=torch.from_numpy(codes), labels=torch.zeros(len(numbers), dtype=torch.long))


class Mean(NamedTuple):
    """Mean of noisy counts of the same, and its standard deviation."""

    value: float
    noise: float

    def with_one(self, count, noise):
        """One count more, each by the inverse of its variance."""
        share = self.noise**2 / (self.noise**2 + noise**2)
        return Mean(float(self.value + share * (count - self.value)), noise * math.sqrt(share))

    @property
    def stands_out(self):
        """Whether there surely are any, though they were looked for in many places."""
        return self.value > FAR * self.noise


class _Column:
    """What has been learned of a column so far."""

    def __init__(self, known, total):
        self.known, self.grain, self.total = known, known.grain, total
        self.grain_of: Any = None  # by the spread of the numbers, what they may be multiples of
        self.grid: Any = None  # cells that are counted, as long as they are fine enough
        self.hoped: Any = None  # shares for which they were cut; None of the first
        self.cells: Any = None  # what the counts so far have shown
        self.sums: Any = 0.0
        self.times, self.n = 0, 0
        self.missing: list[float] = []  # of each count
        self.first: Any = None  # the cells that were counted first
        self.likely: Any = np.array([], dtype=int)  # places of those of them that are counted on, wherever others lie
        self.far: dict[int, Mean] = {}  # what counts since have shown of these
        self.suspects: Any = self.likely  # those that lie outside of the grid
        self.last: Any = None  # counts, what estimates cells from them, and the grid
        self.counted: Any = None

    def cut(self, noise):
        """Make the cells that are counted next; those of before, if they are fine enough."""
        if self.grid is not None:
            return
        if self.cells is None:
            self.n = n_cells(self.total, noise, MOST_EVEN)
            self.grid, self.hoped = first_cells(self.known.bounds, self.grain, self.n), None
        else:
            if self.grain_of is not None:
                self.grain, self.grain_of = self.grain_of(self.cells), None
            self.n = max(2, n_cells(self.total, noise))
            self.grid, self.hoped = finer_cells(self.cells, self.n, self.grain)
        self.sums, self.times = 0.0, 0
        if self.first is not None:
            edges, own = self.first.edges, self.grid.edges
            lies_outside = (edges[self.likely + 1] <= own[0]) | (edges[self.likely] >= own[-1])
            self.suspects = self.likely[lies_outside]

    def places(self):
        """Ends (k,) of cells, and a code (k + 1,) for what lies between: below, the cells, above, suspects in a row."""
        own, first = self.grid.edges, self.grid if self.first is None else self.first
        edges = np.unique(np.concatenate([own, first.edges[self.suspects], first.edges[self.suspects + 1]]))
        starts = np.concatenate([[-np.inf], edges])
        codes = np.searchsorted(own, starts, side="right")
        for code, suspect in enumerate(self.suspects, len(own) + 1):
            codes[(starts >= first.edges[suspect]) & (starts < first.edges[suspect + 1])] = code
        return edges, codes.astype(np.int16)

    def learn_grain(self, counts, noise):
        """Take the distance that the numbers show."""
        self.grain_of = partial(likely_grain, counts, self.known.grains, noise, self.total)
        self.grain = self.grain_of()

    def learn(self, counts, noise):
        """Take noisy counts of the codes, in their order: below, the cells, above, suspects, missing."""
        for place, count in zip(self.suspects.tolist(), counts[len(self.grid.edges) + 1 : -1], strict=True):
            self.far[place] = self.far[place].with_one(count, max(noise, LEAST_NOISE))
        self.sums, self.times = self.sums + counts, self.times + 1
        self.missing.append(float(counts[-1]))
        missing, missing_noise = np.mean(self.missing), max(noise / math.sqrt(len(self.missing)), LEAST_NOISE)
        noise = max(noise / math.sqrt(self.times), LEAST_NOISE)
        below, *inner, above = (self.sums / self.times)[: len(self.grid.edges) + 1]
        present = max(self.total - (missing if missing > PRESENT * missing_noise else 0.0), 1.0)
        values, sizes = np.array(inner), np.ones(len(inner))
        outside = below + above if below + above > PRESENT * math.sqrt(2) * noise else 0.0
        far = {place: of for place in self.suspects.tolist() if (of := self.far[place]).stands_out}
        within = max(present - outside - sum(of.value for of in far.values()), 1.0)
        if self.known.bounds:  # what lies outside is clipped to them
            for end, count in ((0, below), (-1, above)):
                values[end], sizes[end] = values[end] + count, sizes[end] + 1
            within += outside
        counts = Counts(values, sizes, noise, within)
        self.last = counts, partial(_held, self.grid, self.hoped, self.known.bounds is not None), self.grid
        cells = self.last[1](counts)
        own = self._counts_of(cells, counts)
        resolved = cells is not None and is_resolved(cells, self.n, self.grain)
        ends = [(self.first.edges[place], self.first.edges[place + 1], *of) for place, of in far.items()]
        beyond: list[tuple] = []
        whole = None
        if cells is not None:
            beyond = [] if self.known.bounds else self._beyond(below, above, noise, ends)
            cells, own = with_far(cells, own, beyond)
            whole, own = with_far(cells, own, ends)
        lost = max(outside - sum(of[2] for of in beyond), 0.0)
        self.counted = Counted(
            whole, self.grain, present, noise, own.values, own.sizes, (float(missing), float(missing_noise)),
            min(lost / present, 1.0), resolved, self.known.bounds is not None,
        )  # fmt: skip
        if self.first is None:
            self.first, self.likely = self.grid, likeliest_beyond(self.grid, counts, cells)
            self.far = {place: Mean(float(values[place]), noise) for place in self.likely.tolist()}
        is_lost = not self.known.bounds and outside > LOST * present
        self.cells = None if is_lost else cells
        if is_lost or beyond or (cells is not None and not (resolved and self.hoped is not None)):
            self.grid = None

    def _beyond(self, below, above, noise, ends):
        """Cells beside the grid, half as wide as it, where many surely lie beyond it; as :func:`with_far` takes them.

        None where others, of which the ``ends`` are known, lie apart already.
        """
        first, last = self.grid.edges[[0, -1]]
        width, least = (last - first) / 2, max(PRESENT * noise, MANY * self.total)
        if self.grain:
            width = math.ceil(width / self.grain) * self.grain
        sides = ((first - width, first, below), (last, last + width, above))
        found = [(start, stop, float(count), noise) for start, stop, count in sides if count > least]
        return [new for new in found if all(new[1] <= old[0] or old[1] <= new[0] for old in ends)]

    def _counts_of(self, cells, counts):
        """Counts of some of the cells that are counted, or of several together."""
        if cells is None:
            return counts.part(0, 0)
        return counts.grouped(np.searchsorted(self.grid.edges, cells.edges))

    def redrawn(self):
        """Cells that might have been found with other noise."""
        cells = self.counted.cells
        return () if cells is None else tuple(redrawn(cells, *self.last))


def _held(grid, hoped, is_bounded, counts):
    """The cells of a grid that hold numbers; None where nothing stands out."""
    if not is_bounded and hoped is None:
        found = located(grid, counts)
        return None if found is None else held_cells(*found)
    aimed = grid.shares if hoped is None else hoped
    cells, counts = without_empty_ends(grid, counts, aimed)
    is_narrower = hoped is None and len(cells.shares) < len(aimed)
    return held_cells(by_magnitude(cells) if is_narrower else cells, counts)
