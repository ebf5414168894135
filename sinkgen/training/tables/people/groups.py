"""Groups of a column's states, of which pairs are counted: the fewer, the more noise there is.

A correlation over tables of g by g even groups has about g times the noise of a cell.
"""

import math

from sinkgen.training.tables.grouping import even_grouping

TINY = 1e-9
# Constants chosen by trials on a made-up panel: docs/experiments.md, Persons.
WITHIN, ACROSS = (5, 12), (3, 12)  # fewest and most groups of a column's states, for pairs within rows, and across
BLUR = 0.02  # of a correlation: the noise from which fewer groups are taken


def pair_groups(states, known, total, noise):
    """Groups of the states of each column, of which pairs are counted: the fewer, the more noise there is.

    Parameters
    ----------
    states : States
    known : dict of int to StateCounts
        By which groups are even; without them they are of equally many states.
    total : float
        Noisy number of persons.
    noise : float
        Noise multiplier of the release.
    """
    return even_grouping(states, known, most_groups(WITHIN, total, noise, math.comb(len(states.widths), 2)))


def most_groups(bounds, total, noise, n_pairs):
    """Groups a column, at least and at most ``bounds``, at which a correlation is known to about ``BLUR``.

    Parameters
    ----------
    bounds : (int, int)
    total : float
        Noisy number of persons that are counted.
    noise : float
        Noise multiplier of the release of all pairs.
    n_pairs : float
        Pairs of columns.
    """
    fewest, most = bounds
    return int(min(most, max(fewest, BLUR * total / max(TINY, noise * n_pairs**0.5))))
