"""The cells of columns of numbers, counted on the budget until they are as fine as the noise allows."""

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

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
    likely_grain,
    located,
    n_cells,
    without_empty_ends,
)
from sinkgen.privacy.queries.tables import JointQuery, MarginalQuery, SomeColumnsQuery

GRAIN_SHARE = 0.15  # of the first count
LEAST_NOISE = 1e-6
PRESENT = 3.0  # standard deviations by which what is missing, or outside of the cells, has to stand out
ROUGHNESS = 0.6  # of the error of numbers, by the root of the noise of a cell over all records
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
        """By the kind of a column: "float", "integer" or "datetime"."""
        if step is not None or kind == "integer":
            return cls(bounds, step or 1.0)
        return cls(bounds, None, CALENDAR if kind == "datetime" else DECIMALS)


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
    missing : float
        Noisy number of records that are, in standard deviations of the noise.
    outside : float
        Noisy share of the numbers that lie outside of the cells, or of the bounds that are known.
    is_resolved : bool
        Whether the cells are as fine as the numbers are spread.
    is_bounded : bool
        Whether bounds were declared.
    """

    cells: Cells | None
    grain: float | None
    present: float
    noise: float
    missing: float
    outside: float
    is_resolved: bool
    is_bounded: bool

    @property
    def error(self):
        """About how far the numbers are off, on average, in their standard deviations; by noise and chance."""
        return ROUGHNESS * math.sqrt(self.noise / self.present)


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
        grids, grains = [state.grid.edges for state in states], [(j, columns[j].grains) for j in asked]
        widths = [[len(edges) + 2 for edges in grids], [len(tried) + 1 for _, tried in grains]][: len(shares)]
        query = JointQuery(_queries_in_a_row(widths), shares)
        released = mechanism.release(what, query, source.map(partial(_codes, grids, grains)))
        parts = [counts[0].split(of) for counts, of in zip(released, widths, strict=True)]
        for j, counts in zip(asked, parts[-1], strict=False):
            states[j].learn_grain(counts.numpy(), noises[-1])
        for state, counts in zip(states, parts[0], strict=True):
            state.learn(counts.numpy(), noises[0])
    return [state.counted for state in states]


def _queries_in_a_row(widths):
    """Counts of codes: of the columns of the first list, then of those of the second."""
    ends = np.cumsum([0, *map(len, widths)]).tolist()
    parts = zip(widths, ends[:-1], ends[1:], strict=True)
    return [SomeColumnsQuery(MarginalQuery(of), slice(start, stop)) for of, start, stop in parts]


def _codes(grids, grains, records):
    """Places of numbers: below all cells, in a cell, above, or missing; then the grain of some columns."""
    numbers = records.values.numpy()
    codes = [np.searchsorted(edges, column, side="right") for edges, column in zip(grids, numbers.T, strict=True)]
    for edges, code, column in zip(grids, codes, numbers.T, strict=True):
        code[np.isnan(column)] = len(edges) + 1
    codes += [grain_of(numbers[:, j], tried) for j, tried in grains]
    values = torch.from_numpy(np.stack(codes, 1).astype(np.int16))
    return records.having(values=values, labels=torch.zeros(len(numbers), dtype=torch.long))


class _Column:
    """What has been learned of a column so far."""

    def __init__(self, known, total):
        self.known, self.grain, self.total = known, known.grain, total
        self.grid: Any = None  # cells that are counted, as long as they are fine enough
        self.hoped: Any = None  # shares for which they were cut; None of the first
        self.cells: Any = None  # what the counts so far have shown
        self.sums: Any = 0.0
        self.times, self.n = 0, 0
        self.missing: list[float] = []  # of each count
        self.counted: Any = None

    def cut(self, noise):
        """Make the cells that are counted next; those of before, if they are fine enough."""
        if self.grid is not None:
            return
        if self.cells is None:
            self.n = n_cells(self.total, noise, MOST_EVEN)
            self.grid, self.hoped = first_cells(self.known.bounds, self.grain, self.n), None
        else:
            self.n = max(2, n_cells(self.total, noise))
            self.grid, self.hoped = finer_cells(self.cells, self.n, self.grain)
        self.sums, self.times = 0.0, 0

    def learn_grain(self, counts, noise):
        """Take the distance that the numbers show."""
        self.grain = likely_grain(counts, self.known.grains, noise, self.total)

    def learn(self, counts, noise):
        """Take noisy counts of the cells, in their order: below, the cells, above, missing."""
        self.sums, self.times = self.sums + counts, self.times + 1
        self.missing.append(float(counts[-1]))
        missing, doubt = np.mean(self.missing), max(noise / math.sqrt(len(self.missing)), LEAST_NOISE)
        noise = max(noise / math.sqrt(self.times), LEAST_NOISE)
        below, *inner, above, _ = self.sums / self.times
        present = max(self.total - (missing if missing > PRESENT * doubt else 0.0), 1.0)
        values, sizes = np.array(inner), np.ones(len(inner))
        outside = below + above if below + above > PRESENT * math.sqrt(2) * noise else 0.0
        within = max(present - outside, 1.0)
        if self.known.bounds:  # what lies outside is clipped to them
            for end, count in ((0, below), (-1, above)):
                values[end], sizes[end], within = values[end] + count, sizes[end] + 1, present
        cells = self._held(Counts(values, sizes, noise, within))
        resolved = cells is not None and is_resolved(cells, self.n, self.grain)
        self.counted = Counted(
            cells, self.grain, present, noise, float(missing / doubt), min(outside / present, 1.0), resolved,
            self.known.bounds is not None,
        )  # fmt: skip
        is_lost = not self.known.bounds and outside > LOST * present
        self.cells = None if is_lost else cells
        if is_lost or (cells is not None and not (resolved and self.hoped is not None)):
            self.grid = None

    def _held(self, counts):
        if self.known.bounds is None and self.hoped is None:
            found = located(self.grid, counts)
            return None if found is None else held_cells(*found)
        hoped = self.grid.shares if self.hoped is None else self.hoped
        cells, counts = without_empty_ends(self.grid, counts, hoped)
        is_narrower = self.hoped is None and len(cells.shares) < len(hoped)
        return held_cells(by_magnitude(cells) if is_narrower else cells, counts)
