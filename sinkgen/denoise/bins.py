"""Bins of about equal counts, of cells in a row."""

import numpy as np

MOST_BINS = 24


def merged(counts, noise):
    """Bins (k,) of about equal counts, made of cells in a row.

    A cell that holds its bin's share alone stays alone. No bin holds less than stands out of the noise.

    Parameters
    ----------
    counts : ndarray of shape (k,)
        Records in each cell, as they are believed to be.
    noise : float
        Standard deviation of the noise of a cell's count.

    Examples
    --------
    >>> merged(np.array([900.0, 20.0, 30.0, 25.0, 26.0]), 10.0).tolist()
    [0, 1, 1, 2, 2]
    """
    heavy = counts >= counts.sum() / MOST_BINS
    wanted = counts[~heavy].sum() / max(MOST_BINS - heavy.sum(), MOST_BINS / 4)
    wanted = max(wanted, 4 * noise, 1e-9)
    bins, held = np.zeros(len(counts), dtype=int), 0.0
    left = counts.sum() - np.cumsum(counts)
    for cell in range(1, len(counts)):
        held += counts[cell - 1]
        alone = (heavy[cell - 1] or heavy[cell]) and counts[[cell - 1, cell]].max() >= wanted
        full = held >= wanted and left[cell - 1] >= wanted
        bins[cell] = bins[cell - 1] + (alone or full)
        held = 0.0 if bins[cell] > bins[cell - 1] else held
    return bins
