"""The grain of a column of numbers: the distance, such as a cent or a day, of which all are multiples."""

import math

import numpy as np

DECIMALS = (1.0, 0.1, 0.01, 0.001)
CALENDAR = (86400.0, 3600.0, 60.0, 1.0)  # seconds
OFF_GRAIN = 0.005  # share of the records that may be off it
SURE = 3.0  # standard deviations of the noise
FINE_GRAIN = 0.05  # of the spread of numbers: by as much of it none is far off


def multiple(times, grain):
    """Times a grain; of grains such as .01 the number that is nearest to the decimal.

    Examples
    --------
    >>> 57 * 0.01, float(multiple(57, 0.01))
    (0.5700000000000001, 0.57)
    """
    parts = np.rint(1 / grain) if grain < 1 else 0
    return times / parts if parts and np.isclose(parts * grain, 1, rtol=1e-12) else times * grain


def grain_of(numbers, grains):
    """Which of some distances is the first of which each number (m,) is a multiple; as many as there are if none.

    One more for nan.

    Examples
    --------
    >>> grain_of(np.array([3.0, 9.99, 1 / 3, np.nan]), DECIMALS).tolist()
    [0, 2, 4, 5]
    """
    found = np.full(len(numbers), len(grains))
    for place in range(len(grains) - 1, -1, -1):
        with np.errstate(over="ignore", invalid="ignore"):  # of the largest numbers, and the infinite ones
            nearest = np.rint(numbers / grains[place]) * grains[place]
            found[np.abs(numbers - nearest) <= 4 * np.spacing(np.abs(numbers))] = place
    found[np.isnan(numbers)] = len(grains) + 1
    return found


def likely_grain(counts, grains, noise, total, cells=None):
    """The first of some distances that all but a few numbers are multiples of; None if there is none.

    Where noise leaves that open, it is the first of which that is likelier than not, and which is so small beside the
    spread of the numbers that none is far off if it is wrong.

    Parameters
    ----------
    counts : ndarray of shape (len(grains) + 2,)
        Noisy counts of :func:`grain_of`.
    grains : sequence of float
    noise : float
    total : float
        What they sum to.
    cells : Cells, optional
        Where the numbers lie, roughly.

    Examples
    --------
    >>> likely_grain(np.array([20.0, 75.0, 900.0, -4.0, 6.0, 0.0]), DECIMALS, 5.0, 1000.0)
    0.01
    >>> from sinkgen.denoise.cells import Cells
    >>> rough, cells = np.array([700.0, 100.0, -300.0, 200.0, 150.0, 20.0]), Cells(np.array([1.0, 64.0]), np.ones(1))
    >>> likely_grain(rough, DECIMALS, 200.0, 1000.0), likely_grain(rough, DECIMALS, 200.0, 1000.0, cells)
    (None, 1.0)
    """
    spread, told = (0.0, 1.0) if cells is None else (cells.spread(), 1 - cells.zeros())
    counts = counts + (total - counts.sum()) / len(counts)
    present = max(told * (total - max(counts[-1], 0.0)), noise)  # zeros are multiples of all
    for place, grain in enumerate(grains):
        n_finer = len(grains) - place
        finer = counts[place + 1 : -1].sum()
        sure = SURE * noise * math.sqrt(n_finer * (1 - n_finer / len(counts)))  # their sum is known
        known = sure < present / 3
        if finer < min(sure, present / 3) + OFF_GRAIN * present and (known or grain < FINE_GRAIN * spread):
            return grain
    return None
