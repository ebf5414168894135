"""Plans of many small problems at once, each as if no other were there."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch

from sinkgen.ot.costs import L1Cost, MixedCost, SquaredEuclideanCost

# The largest span of exponents of a kernel whose scalings stay far inside double precision.
SPAN = 600.0


def stacked_costs(cost, x, y):
    """Costs (B, n, m) between the points x (B, n, d) and y (B, m, d) of each problem.

    Examples
    --------
    >>> from sinkgen.ot import L1Cost
    >>> x, y = torch.zeros(2, 1, 3), torch.ones(2, 2, 3)
    >>> bool(stacked_costs(L1Cost(), x, y).equal(stacked_costs(SquaredEuclideanCost(), x, y)))
    True
    """
    if type(cost) is MixedCost:
        return _squared_costs(x, y).add_(_l1_costs(x, y), alpha=cost.l1_weight)
    if type(cost) in _STACKED:
        return _STACKED[type(cost)].costs(x, y)
    return torch.stack([cost.matrix(*pair) for pair in zip(x, y, strict=True)])


def stacked_gradients(cost, plan, x, y):
    """Gradients (B, n, d) in x of the costs under a plan (B, n, m).

    Examples
    --------
    >>> x, y, plan = torch.ones(1, 2, 1), torch.zeros(1, 3, 1), torch.full((1, 2, 3), 1 / 6)
    >>> stacked_gradients(SquaredEuclideanCost(), plan, x, y)
    tensor([[[1.],
             [1.]]])
    """
    if type(cost) is MixedCost:
        return _squared_gradients(plan, x, y).add_(_l1_gradients(plan, x, y), alpha=cost.l1_weight)
    if type(cost) in _STACKED:
        return _STACKED[type(cost)].gradients(plan, x, y)
    return torch.stack([cost.weighted_gradient(*each) for each in zip(plan, x, y, strict=True)])


def _squared_costs(x, y):
    norms = x.square().sum(2).unsqueeze(2) + y.square().sum(2).unsqueeze(1)
    return norms.baddbmm_(x, y.mT, alpha=-2.0).clamp_(min=0.0)


def _squared_gradients(plan, x, y):
    return (x * plan.sum(2, keepdim=True)).sub_(plan @ y).mul_(2.0)


def _l1_costs(x, y):
    """A point of every problem at a time: there are far fewer of them than problems."""
    return torch.stack([torch.sub(y, point).abs_().sum(2) for point in x.split(1, 1)], 1)


def _l1_gradients(plan, x, y):
    points = zip(plan.split(1, 1), x.split(1, 1), strict=True)
    return torch.cat([weights @ torch.sub(point, y).sign_() for weights, point in points], 1)


class _Stacked(NamedTuple):
    costs: Callable
    gradients: Callable


_STACKED = {
    SquaredEuclideanCost: _Stacked(_squared_costs, _squared_gradients), L1Cost: _Stacked(_l1_costs, _l1_gradients)
}  # fmt: skip


def plans(C, reg, a, b, n_iter):
    """Plans of independent problems after a fixed number of Sinkhorn's iterations, rows exact.

    Problems of different sizes are padded to one. No decision looks at more than one of them, and none at how many
    there are: what is found of a problem is, but for the last bits of double precision, what would be found of it
    alone. :func:`sinkgen.ot.sinkhorn` stops a batch when all of it is solved, and so cannot promise that.

    Parameters
    ----------
    C : Tensor of shape (B, n, m), float64
        Costs. In units of ``reg``, what a cost is above the least of its row and column counts up to 600.
    reg : float
        Regularisation.
    a, b : Tensor of shape (B, n) and (B, m), float64
        Weights, of sum one each. Zeros are padding; a problem that is nothing but padding has the plan of zeros.
    n_iter : int

    Returns
    -------
    Tensor of shape (B, n, m)

    References
    ----------
    Cuturi 2013, "Sinkhorn distances", arXiv 1306.0895.

    Examples
    --------
    Two points on two records, and one on one:

    >>> C = torch.tensor([[[0.0, 1.0], [1.0, 0.0]], [[5.0, 0.0], [0.0, 0.0]]]).double()
    >>> weights = torch.tensor([[0.5, 0.5], [1.0, 0.0]]).double()
    >>> plans(C, 0.5, weights, weights, 20).float()
    tensor([[[0.4404, 0.0596],
             [0.0596, 0.4404]],
    <BLANKLINE>
            [[1.0000, 0.0000],
             [0.0000, 0.0000]]])
    """
    no_a, no_b = (a <= 0).unsqueeze(2), (b <= 0).unsqueeze(1)
    f = C.masked_fill(no_b, math.inf).amin(2, keepdim=True).nan_to_num_(0.0, 0.0, 0.0)
    g = (C - f).masked_fill_(no_a, math.inf).amin(1, keepdim=True).nan_to_num_(0.0, 0.0, 0.0)
    kernel = (f + g - C).div_(reg).clamp_(-SPAN, 0.0).exp_().masked_fill_(no_a | no_b, 0.0)
    a, b, transposed = a.unsqueeze(2), b.unsqueeze(2), kernel.mT
    left, right = torch.empty_like(a), b.clone()
    for _ in range(n_iter):
        torch.div(a, _positive(torch.bmm(kernel, right, out=left)), out=left)
        torch.div(b, _positive(torch.bmm(transposed, left, out=right)), out=right)
    torch.div(a, _positive(torch.bmm(kernel, right, out=left)), out=left)
    return kernel.mul_(left).mul_(right.mT)


def _positive(sums):
    return sums.clamp_min_(torch.finfo(sums.dtype).tiny)
