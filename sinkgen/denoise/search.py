"""How the cells of a column of numbers are sought, count after count; public: of noisy counts alone.

A column is counted several times, in cells that get finer where its numbers lie. First come octaves (by magnitude,
around zero), and even cells between bounds that are known; then cells that hold about equal shares by all that the
counts before have shown. So whatever the scale, the resolution is what the noise allows.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from sinkgen.denoise.bins import merged
from sinkgen.denoise.cells import Cells, Counts
from sinkgen.denoise.doubt import UNKNOWN, below, doubt, refilled
from sinkgen.denoise.grain import CALENDAR, DECIMALS, likely_grain
from sinkgen.denoise.grids import MOST_EVEN, finer_cells, first_cells, is_resolved, n_cells
from sinkgen.denoise.numbers import (
    by_magnitude,
    held_cells,
    is_vague,
    likeliest_beyond,
    located,
    with_far,
    without_empty_ends,
)
from sinkgen.denoise.tails import with_tails

LEAST_NOISE, DECIMAL_PLACES = 1e-6, 6
PRESENT = 3.0  # standard deviations by which what is missing, or outside of the cells, has to stand out
FEW = 2.0  # standard deviations by which there may be more records than were counted
FAR = 4.4  # the same, of numbers far from all others: one that is not there would be most of a mean
NEAR = 2.0  # the same, of zero beside numbers that begin near it
MANY = 0.05  # share of the records beyond the cells, from which these are made wider
LOST = 0.5  # share of the records outside of the cells, from which these are sought again
NEGLIGIBLE = 1e-12  # weight of a cell that seems to hold nothing, so that it can be drawn where it is asked for
TIMES = 3  # that columns are sought again, for doubt


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
    known : Numbers
        What was known before.
    noises : tuple of float
        Standard deviations of the noise of the counts of each step.
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
    known: Numbers
    noises: tuple[float, ...]

    @property
    def is_bounded(self):
        """Whether bounds were declared."""
        return self.known.bounds is not None

    @property
    def n_counted(self):
        """Noisy number of records in all cells, whatever they are known to be."""
        return float(self.values.sum())

    @property
    def noise_of_all(self):
        """Standard deviation of the noise of :attr:`n_counted`."""
        return self.noise * float(self.sizes.sum()) ** 0.5

    @property
    def is_constant(self):
        """Whether all numbers seem to be the same."""
        return self.cells is not None and len(self.cells.shares) == 1 and is_resolved(self.cells, 1, self.grain)

    def bins(self):
        """Number of the bin (k,) of each cell that was found."""
        assert self.cells is not None
        return merged(self.cells.shares * self.present, self.noise)

    def with_tails(self):
        """The same, with cells up to the bounds that were declared."""
        if self.cells is None or not self.is_bounded:
            return self
        counts = Counts(self.values, self.sizes, max(self.noise, NEGLIGIBLE), max(self.present, 1.0))
        cells, counts = with_tails(self.cells, counts, self.known.bounds, self.known.grain or self.grain)
        return self._replace(cells=cells, values=counts.values, sizes=counts.sizes)

    def again(self, cells):
        """What might have been found with other noise, if numbers lay as these cells have them; list of Counted."""
        random = np.random.default_rng(0)
        return [self._again(cells, random) for _ in range(TIMES)]

    def _again(self, cells, random):
        search = Search(self.known, self.present + max(self.absent[0], 0.0))
        for noise in self.noises:
            search.cut(noise)
            ends, codes = search.places()
            held = self.present * np.diff(below(cells, np.concatenate([[-np.inf], ends, [np.inf]]))).clip(0)
            counts = np.bincount(codes, held, minlength=codes.max() + 2)
            counts[-1] = max(self.absent[0], 0.0)
            search.learn(counts + noise * random.standard_normal(len(counts)), noise)
            search.grain = self.grain  # little is left in doubt of it
        return search.counted

    def doubt(self, cells=None, starts=None, covariance=None):
        """How far numbers are off that are drawn in cells; by default in those that were found, evenly in each.

        Parameters
        ----------
        cells : Cells, optional
        starts : ndarray of shape (k,), optional
            The first cell of each bin.
        covariance : ndarray of shape (k, k), optional
            Of the noise of the bins' counts.

        Returns
        -------
        Doubt
        """
        if self.cells is None:
            return UNKNOWN
        has_bins = cells is not None
        if cells is None:
            cells, starts = self.cells, np.arange(len(self.cells.shares))
            covariance = self.noise**2 * np.diag(self.sizes)
        noises = self.noise * np.sqrt(
            self.sizes if len(self.sizes) == len(cells.shares) else np.ones(len(cells.shares))
        )
        n_most = self.present + FEW * self.noise  # no noise of their number is more than that
        found = [of.with_tails() for of in self.again(cells)]
        others = [
            None if of.cells is None else refilled(of.cells, of.bins() if has_bins else np.arange(len(of.sizes)), cells)
            for of in found
        ]  # fmt: skip
        return doubt(cells, starts, covariance, others, noises=noises, n=self.present, n_most=n_most, grain=self.grain)


class Mean(NamedTuple):
    """Mean of noisy counts of the same, and its standard deviation: infinite of none."""

    value: float
    noise: float

    def with_one(self, count, noise):
        """One count more, each by the inverse of its variance."""
        share = 1 / (1 + (noise / self.noise) ** 2)
        return Mean(float(self.value + share * (count - self.value)), noise * math.sqrt(share))

    def stands_out(self, times):
        """Whether it is more than so many times its noise."""
        return self.value > times * self.noise


class Search:
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
        self.of_first: Any = (0.0, 0)  # their counts so far
        self.likely: Any = np.array([], dtype=int)  # places of those of them that are counted on, wherever others lie
        self.far: dict[int, Mean] = {}  # what counts since have shown of these
        self.suspects: Any = self.likely  # those that lie outside of the grid
        self.noises: list[float] = []  # of each count
        self.counted: Any = None

    def cut(self, noise):
        """Make the cells that are counted next; those of before, if they are fine enough."""
        if self.grid is not None:
            return
        if self.cells is None:
            self.n = n_cells(self.total, noise, MOST_EVEN)
            self.grid = self.first or first_cells(self.known.bounds, self.grain, self.n)
            self.hoped = None
        else:
            if self.grain_of is not None:
                self.grain, self.grain_of = self.grain_of(self.cells), None
            self.n = max(2, n_cells(self.total, noise))
            self.grid, self.hoped = finer_cells(self.cells, self.n, self.grain)
        is_again = self.first is not None and self.grid is self.first
        self.sums, self.times = self.of_first if is_again else (0.0, 0)
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
        counts = np.round(counts, DECIMAL_PLACES)  # what sums of another order leave beyond, decides nothing
        for place, count in zip(self.suspects.tolist(), counts[len(self.grid.edges) + 1 : -1], strict=True):
            self.far[place] = self.far[place].with_one(count, max(noise, LEAST_NOISE))
        self.sums, self.times = self.sums + counts, self.times + 1
        self.missing.append(float(counts[-1]))
        self.noises.append(noise)
        missing, missing_noise = np.mean(self.missing), max(noise / math.sqrt(len(self.missing)), LEAST_NOISE)
        noise = max(noise / math.sqrt(self.times), LEAST_NOISE)
        below, *inner, above = (self.sums / self.times)[: len(self.grid.edges) + 1]
        present = max(self.total - (missing if missing > PRESENT * missing_noise else 0.0), 1.0)
        values, sizes = np.array(inner), np.ones(len(inner))
        is_out = np.zeros(len(counts) - 1, dtype=bool)
        is_out[[0, len(self.grid.edges)]] = True
        apart = Counts((self.sums / self.times)[:-1], np.ones(len(is_out)), noise, present)
        outside, doubt_of_outside = apart.records(is_out)
        outside = outside if outside > PRESENT * doubt_of_outside else 0.0
        far = {place: self.far[place] for place in self.suspects.tolist() if self._is_there(place)}
        within = max(present - outside - sum(of.value for of in far.values()), 1.0)
        is_whole = self.known.bounds is not None or self.first is None
        if is_whole:  # what lies outside is clipped to bounds, or counts as the largest there may be
            for end, count in ((0, below), (-1, above)):
                values[end], sizes[end] = values[end] + count, sizes[end] + 1
            within += outside
        counts = Counts(values, sizes, noise, within)
        cells = _held(self.grid, self.hoped, self.known.bounds is not None, counts)
        own = self._counts_of(cells, counts)
        resolved = cells is not None and is_resolved(cells, self.n, self.grain)
        ends = [(self.first.edges[place], self.first.edges[place + 1], *of) for place, of in far.items()]
        beyond: list[tuple] = []
        whole = None
        if cells is not None:
            beyond = self._beyond(apart, ends) if outside and not is_whole else []
            cells, own = with_far(cells, own, beyond)
            whole, own = with_far(cells, own, ends)
        lost = max(outside - sum(of[2] for of in beyond), 0.0)
        self.counted = Counted(
            whole, self.grain, present, noise, own.values, own.sizes, (float(missing), float(missing_noise)),
            min(lost / present, 1.0), resolved, self.known, tuple(self.noises),
        )  # fmt: skip
        is_lost = not self.known.bounds and outside > (0.0 if self._is_one_number() else LOST * present)
        is_lost |= self.known.bounds is None and self.hoped is None and is_vague(self.grid, counts)
        if self.first is None:
            self.first, self.likely = self.grid, likeliest_beyond(self.grid, counts, cells)
            # The count by which they were chosen among all is no news of them: the largest noise was.
            self.far = dict.fromkeys(self.likely.tolist(), Mean(0.0, math.inf))
        if self.grid is self.first:
            self.of_first = self.sums, self.times
        self.cells = None if is_lost else cells
        if is_lost or beyond or (cells is not None and not (resolved and self.hoped is not None)):
            self.grid = None

    def _beyond(self, counts, ends):
        """Cells beside the grid, half as wide as it, where many lie beyond it; as :func:`with_far` takes them.

        That there are some on one side or the other is known. None where others, of which the ``ends`` are known, lie
        apart already.
        """
        if self._is_one_number():
            return []  # where others lie it does not say
        first, last = self.grid.edges[[0, -1]]
        width = (last - first) / 2
        if self.grain:
            width = math.ceil(width / self.grain) * self.grain
        places, found = np.arange(len(counts.values)), []
        for start, stop, place in ((first - width, first, 0), (last, last + width, len(self.grid.edges))):
            records, deviation = counts.records(places == place)
            if records > max(FEW * deviation, MANY * self.total):
                found.append((start, stop, records, deviation))
        return [new for new in found if all(new[1] <= old[0] or old[1] <= new[0] for old in ends)]

    def _is_there(self, place):
        """Whether one of the suspects surely holds some; zero is less surprising than others, where it is not far."""
        first, last = self.grid.edges[[0, -1]]
        is_near = self.first.edges[place] == 0 < first <= last - first
        return self.far[place].stands_out(NEAR if is_near else FAR)

    def _is_one_number(self):
        """Whether the grid is a single number, of no distance to others."""
        return not self.grain and len(self.grid.shares) == 1 and is_resolved(self.grid, 1, None)

    def _counts_of(self, cells, counts):
        """Counts of some of the cells that are counted, or of several together."""
        if cells is None:
            return counts.part(0, 0)
        return counts.grouped(np.searchsorted(self.grid.edges, cells.edges))


def _held(grid, hoped, is_bounded, counts):
    """The cells of a grid that hold numbers; None where nothing stands out."""
    if not is_bounded and hoped is None:
        found = located(grid, counts)
        return None if found is None else held_cells(*found)
    aimed = grid.shares if hoped is None else hoped
    cells, counts = without_empty_ends(grid, counts, aimed)
    is_narrower = hoped is None and len(cells.shares) < len(aimed)
    return held_cells(by_magnitude(cells) if is_narrower else cells, counts)
