"""Where within their states numbers lie, as :mod:`sinkgen.generators.within` has it."""

import itertools

import numpy as np

SWEEPS = 3  # over the columns
LEAST_VALUE = 0.02  # of a matrix of correlations
LEAST_VARIANCE = 1e-3  # of scores that go together with others
FARTHEST, TINY = 9.0, 1e-9
# The normal distribution by numbers, for there is none in NumPy.
_AT = np.linspace(-FARTHEST, FARTHEST, 18_001)
_BELOW = np.cumsum(np.exp(-(_AT**2) / 2))
_BELOW /= _BELOW[-1]


def correlations_of(scores):
    """Columns whose scores (m, n_columns) vary over records, and their correlations, positive definite."""
    covariance = np.cov(scores.T.astype(np.float64), ddof=0)
    columns = np.flatnonzero(covariance.diagonal() > LEAST_VARIANCE)
    units = np.sqrt(covariance.diagonal()[columns])
    values, vectors = np.linalg.eigh(covariance[np.ix_(columns, columns)] / np.outer(units, units))
    found = (vectors * values.clip(LEAST_VALUE)) @ vectors.T
    units = np.sqrt(found.diagonal())
    return columns, found / np.outer(units, units)


def within_states(rows, ordered, columns, correlations, random):
    """Ranks of records within their states, from 0 to 1, of columns with more than two states that have an order.

    Parameters
    ----------
    rows : ndarray of shape (m, n_columns + 1)
        States, and the label.
    ordered : sequence of int
        How many of each column's first states have an order.
    columns : ndarray of int
        Those that go together.
    correlations : ndarray of shape (n, n)
    random : numpy.random.Generator

    Returns
    -------
    dict of int to ndarray of shape (m,)
    """
    moving = [(i, j) for i, j in enumerate(columns.tolist()) if ordered[j] > 2]
    if not moving:
        return {}
    known = [_normal_scores(rows[:, j], ordered[j]) for j in columns]
    scores = np.stack([of[rows[:, j]] for j, (of, _) in zip(columns, known, strict=True)], 1)
    precisions = np.linalg.inv(correlations)
    for _, (i, j) in itertools.product(range(SWEEPS), moving):
        precision, ends, codes = precisions[i, i], known[i][1], rows[:, j]
        mean = scores[:, i] - scores @ precisions[i] / precision
        low, high = (np.interp((ends[codes + side] - mean) * precision**0.5, _AT, _BELOW) for side in (0, 1))
        drawn = (random.random(len(mean)) * (high - low) + low).clip(TINY, 1 - TINY)
        drawn = np.interp(drawn, _BELOW, _AT) / precision**0.5 + mean
        scores[:, i] = np.where(codes < ordered[j], drawn, 0.0)
    return {j: _ranked(rows[:, j], scores[:, i], random) for i, j in moving}


def _normal_scores(codes, n_ordered):
    """Mean normal score of each state of a column, and the scores at the ends of states, (n_states + 1,)."""
    counts = np.bincount(codes, minlength=max(2, n_ordered)).astype(np.float64)
    n = 2 if len(counts) == 2 else n_ordered
    own = counts[:n] / max(counts[:n].sum(), 1)
    ends = np.interp(np.append(0.0, own.cumsum()).clip(0, 1), _BELOW, _AT)
    ends[0], ends[-1] = -FARTHEST, FARTHEST
    heights = np.exp(-(ends**2) / 2) / np.sqrt(2 * np.pi)
    scores = np.zeros_like(counts)
    scores[:n] = (heights[:-1] - heights[1:]) / own.clip(TINY)
    if n == 2:
        scores[:n] /= max(np.sqrt(own @ scores[:n] ** 2), TINY)
    return scores, np.append(ends, np.zeros(len(counts) - n))


def _ranked(codes, values, random):
    """The rank of each record's value among those of its state, from 0 to 1."""
    order = np.lexsort((values, codes))
    counts = np.bincount(codes)
    own, ranks = codes[order], np.empty(len(codes))
    ranks[order] = (np.arange(len(codes)) - (counts.cumsum() - counts)[own] + random.random(len(codes))) / counts[own]
    return ranks
