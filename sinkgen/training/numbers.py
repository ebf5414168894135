"""The cells of columns of numbers, counted on the budget until they are as fine as the noise allows."""

import math
from functools import partial

import numpy as np
import torch

from sinkgen.denoise.grain import grain_of
from sinkgen.denoise.search import Search
from sinkgen.privacy.queries.tables import JointQuery, MarginalQuery, SomeColumnsQuery

GRAIN_SHARE = 0.15  # of the first count


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
    states = [Search(known, max(total, 1.0)) for known in columns]
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
    return [state.counted for state in states]


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
