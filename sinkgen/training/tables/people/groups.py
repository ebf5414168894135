"""Groups of a column's states, of which pairs are counted: the fewer, the more noise there is.

A correlation over tables of g by g even groups has about g times the noise of a cell.
"""

import math

import torch

from sinkgen.training.tables.marginals import Grouping

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
    most = most_groups(WITHIN, total, noise, math.comb(len(states.widths), 2))
    groups = []
    for j, (width, n_ordered) in enumerate(zip(states.widths, states.ordered, strict=True)):
        if n_ordered:
            shares = known[j].values.clamp_min(0) if j in known else torch.ones(width)
            groups.append(even_groups(shares, n_ordered, most))
        else:
            groups.append(torch.arange(width))
    return Grouping(tuple(groups))


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


def even_groups(shares, n_ordered, most):
    """Which of at most ``most`` groups each state belongs to: of neighbouring ones where states have an order.

    The first groups are of about even shares; states without an order are put together, all but the most frequent ones.

    Parameters
    ----------
    shares : Tensor of shape (n_states,)
        Noisy.
    n_ordered : int
        How many of the first states have an order.
    most : int

    Returns
    -------
    LongTensor of shape (n_states,)

    Examples
    --------
    >>> even_groups(torch.tensor([0.1, 0.4, 0.2, 0.2, 0.1]), 5, 2).tolist()
    [0, 0, 1, 1, 1]
    >>> even_groups(torch.tensor([0.1, 0.4, 0.1, 0.4]), 0, 3).tolist()
    [2, 0, 2, 1]
    """
    shares = shares.double().clamp_min(TINY)
    if n_ordered:
        ends = shares[:n_ordered].cumsum(0) - shares[:n_ordered] / 2
        found = (ends / shares[:n_ordered].sum() * most).long().clamp_max(most - 1)
        groups = torch.unique(found, return_inverse=True)[1]
        rest = torch.arange(len(shares) - n_ordered) + int(groups.max()) + 1
        return torch.cat([groups, rest])
    rank = shares.argsort(descending=True, stable=True).argsort()
    return rank.clamp_max(most - 1)
