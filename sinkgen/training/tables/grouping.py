"""Groups of a column's states, of which pairs are counted."""

import torch

from sinkgen.training.tables.marginals import Grouping

TINY = 1e-9


def even_grouping(states, known, most):
    """Groups of the states of each column: at most ``most`` of those in an order, the others by themselves.

    Parameters
    ----------
    states : States
    known : dict of int to StateCounts
        By which groups are even; without them they are of equally many states.
    most : int

    Returns
    -------
    Grouping
    """
    groups = []
    for j, (width, n_ordered) in enumerate(zip(states.widths, states.ordered, strict=True)):
        if n_ordered:
            shares = known[j].values.clamp_min(0) if j in known else torch.ones(width)
            groups.append(even_groups(shares, n_ordered, most))
        else:
            groups.append(torch.arange(width))
    return Grouping(tuple(groups))


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
