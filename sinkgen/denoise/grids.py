"""The cells in which numbers are counted next."""

import math

import numpy as np

from sinkgen.denoise.cells import LEAST, OCTAVES, Cells, after, cumulated
from sinkgen.denoise.grain import multiple

MOST_EVEN, MOST_CELLS = 32, 128
ENOUGH = 3.0  # standard deviations of the noise that a cell's records should be, on average
UNCERTAIN = 0.15  # share of what is counted next that is spread evenly over the cells, whatever was counted before
TAIL = 64.0  # ratio of the numbers of an outermost cell that are told apart by magnitude
FINE, PARTED = 128, 6.0  # parts of a cell that holds many, at most; and by how many deviations all of them stand out
FINEST = 2.0**-12  # of the span of known bounds: smaller magnitudes are not told apart at first
UNRESOLVED = 4.0  # times the average share, that a cell holds which should be cut once more


def n_cells(total, noise, most=MOST_CELLS):
    """In how many cells so many records are counted, that they stand out of so much noise on average.

    Examples
    --------
    >>> n_cells(600, 10), n_cells(600, 1000)
    (20, 1)
    """
    return int(np.clip(total / (ENOUGH * max(noise, LEAST)), 1, most))


def first_cells(bounds, grain, n_even):
    """Octaves, and within bounds that are known ``n_even`` even cells.

    Positive octaves hold their upper end, negative ones their lower end: numbers from -1 to 1 stay there.

    Parameters
    ----------
    bounds : (low, high) or None
    grain : float or None
        Distance of the numbers, where it is known; cells hold whole multiples of it.
    n_even : int

    Returns
    -------
    Cells

    Examples
    --------
    >>> first_cells((0.0, 4.0), 1.0, 2).edges.tolist()
    [0.0, 1.0, 2.0, 4.0, 5.0]
    """
    edges = np.concatenate([-OCTAVES, [0.0, after(0.0)], after(OCTAVES)])
    if bounds is None:
        edges = _on_grain(edges, grain)
        return Cells(edges, np.full(len(edges) - 1, 1 / (len(edges) - 1)))
    low, high = bounds
    end = multiple(math.floor(high / grain + 1e-9) + 1, grain) if grain else after(high)
    edges = edges[(edges == 0) | (edges == after(0.0)) | (np.abs(edges) > FINEST * (high - low))]
    edges = np.concatenate([edges, np.linspace(low, high, n_even + 1)])
    edges = _on_grain(edges[(edges > low) & (edges <= high)], grain)
    edges = np.concatenate([[low], edges[(edges > low) & (edges < end)], [max(end, after(low))]])
    return Cells(edges, np.diff(edges) / (edges[-1] - low))


def finer_cells(cells, n, grain):
    """About ``n`` cells of equal shares, or a little more where these are in doubt.

    Returns
    -------
    tuple of (Cells, ndarray)
        With the shares as they are expected, and as the cells were cut.
    """
    edges, shares = cells
    held = shares > 0
    doubted = np.where(held, (1 - UNCERTAIN) * shares + UNCERTAIN / held.sum(), 0.0)
    doubted /= doubted.sum()
    ends_of_gaps = edges[1:-1][held[1:] != held[:-1]]
    unresolved = np.flatnonzero(_unresolved(cells, n, grain))
    parts = ((ENOUGH * n * shares[unresolved] / PARTED) ** 2).clip(2, FINE).astype(int)
    full = [np.linspace(edges[cell], edges[cell + 1], of + 1) for cell, of in zip(unresolved, parts, strict=True)]
    inner = np.concatenate([np.interp(np.arange(1, n) / n, cumulated(doubted), edges), ends_of_gaps, *full])
    new = np.unique(np.concatenate([edges[[0, -1]], _on_grain(inner, grain)]).clip(edges[0], edges[-1]))
    tails = np.concatenate([_octaves(*new[-2:]), -_octaves(*-new[1::-1])])
    new = np.union1d(new, _on_grain(tails, grain).clip(edges[0], edges[-1]))
    expected = np.diff(np.interp(new, edges, cumulated(shares))).clip(LEAST)
    return Cells(new, expected / expected.sum()), np.diff(np.interp(new, edges, cumulated(doubted)))


def is_resolved(cells, n, grain):
    """Whether no cell holds far more than one of ``n``, but those of a single number."""
    return not _unresolved(cells, n, grain).any()


def _unresolved(cells, n, grain):
    single = np.diff(cells.edges) <= 1.01 * (grain or 0.0) + 4 * np.spacing(np.abs(cells.edges[1:]))
    return ~single & (cells.shares >= min(UNRESOLVED / n, n**-0.5))


def _on_grain(edges, grain):
    if grain:
        edges = multiple(np.concatenate([np.ceil(edges / grain - 1e-9), np.floor(edges / grain + 1e-9)]), grain)
    return np.unique(edges)


def _octaves(low, high):
    """Ends of octaves in the outermost cell: beyond the bulk, numbers lie by magnitude rather than by value."""
    last = np.nextafter(high, -np.inf)  # an octave holds its upper end: beyond it there is no cell
    return OCTAVES[(max(low, high / TAIL) < OCTAVES) & (last > OCTAVES)] if low > 0 else OCTAVES[:0]
