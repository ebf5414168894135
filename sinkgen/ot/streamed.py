"""The torch solver for point clouds whose cost matrix does not fit memory: blocks of rows, computed in every iteration.

An iteration is one pass: a block's rows are solved as soon as its kernel K = exp((f + g - C) / reg) is there, and then
add to the columns' sums. Memory is that of the points, the potentials and one block.
"""

import math
from typing import NamedTuple

import torch

from sinkgen.ot.costs import Cost
from sinkgen.ot.solver import NO_WEIGHT, average_down, descend, gibbs_kernel, marginal_error, relaxed_step

# A larger matrix is not held: half a gibibyte in float32, of which the solver needs three.
LARGEST_MATRIX = 2**27
BLOCK_ENTRIES = 2**21


def automatic_rows(n, m):
    """Return the rows of a block: all n where the matrix of n x m fits memory.

    Examples
    --------
    >>> automatic_rows(1000, 1000), automatic_rows(100_000, 50_000)
    (1000, 41)
    """
    return n if n * m <= LARGEST_MATRIX else max(1, BLOCK_ENTRIES // m)


class PointCloud(NamedTuple):
    """Embedded points x (n, k) and y (m, k) and the cost between them, seen in blocks of rows."""

    x: torch.Tensor
    y: torch.Tensor
    cost: Cost
    block_rows: int

    def blocks(self):
        """Yield slices of rows, and their costs."""
        for start in range(0, len(self.x), self.block_rows):
            rows = slice(start, min(start + self.block_rows, len(self.x)))
            yield rows, self.cost.matrix(self.x[rows], self.y)

    def mean_cost(self):
        """Return the mean cost of rows evenly spaced, no more than a block of them."""
        stride = math.ceil(len(self.x) / self.block_rows)
        return abs(float(self.cost.matrix(self.x[::stride], self.y).mean()))


class Solved(NamedTuple):
    """Potentials of a solved problem; as :class:`SinkhornResult`, but for the plan, which is not held."""

    f: torch.Tensor
    g: torch.Tensor
    value: torch.Tensor
    n_iter: int
    error: float
    status: str


def solve(cloud, reg, a, b, tol, max_iter):
    """Solve the problem of a point cloud as :func:`sinkgen.ot.solver.solve` does, without its matrix.

    Parameters
    ----------
    cloud : PointCloud
    reg, a, b, tol, max_iter
        As there; one problem, not a batch.

    Returns
    -------
    Solved
    """
    sweeps = _Sweeps.start(cloud, a, b)
    tol = tol or 0.0  # checks cost nothing here: no reason to go on beyond what the precision allows
    return sweeps.result(*descend(sweeps, a.dtype, cloud.mean_cost(), reg, tol, max_iter))


def solve_symmetric(cloud, reg, a, tol, max_iter):
    """Solve the problem of points against themselves as :func:`sinkgen.ot.solver.solve_symmetric` does."""
    sweeps = _Sweeps(cloud, a, a, torch.zeros_like(a))
    tol = tol or 0.0
    return sweeps.result(*average_down(sweeps, a.dtype, cloud.mean_cost(), reg, tol, max_iter))


def gradients(cloud, reg, weights, potentials, wants_x, wants_y):
    """Return sum_j P_ij grad_x c(x_i, y_j), (n, k), and sum_i P_ij grad_y c(x_i, y_j), (m, k); None if not wanted."""
    (a, b), (f, g) = weights, potentials
    parts_x, grad_y = [], torch.zeros_like(cloud.y) if wants_y else None
    for rows, C in cloud.blocks():
        plan = gibbs_kernel(C, f[rows], g, reg, out=C).mul_(a[rows].unsqueeze(1)).mul_(b)
        if wants_x:
            parts_x.append(cloud.cost.weighted_gradient(plan, cloud.x[rows], cloud.y))
        if wants_y:
            grad_y += cloud.cost.weighted_gradient(plan.t(), cloud.y, cloud.x[rows])
    return torch.cat(parts_x) if wants_x else None, grad_y


class _Sweeps:
    """Potentials f and g, and passes that improve them; unlike the dense solver's scalings, they are always absorbed.

    A pass first solves the rows for the g that it finds, and so learns that g's error at no cost: ``solved`` are these
    rows' potentials. Its steps, which may be over-relaxed, are ``f`` and ``next_g``.
    """

    def __init__(self, cloud, a, b, f):
        self.cloud, self.weights = cloud, (a, b)
        self.a, self.b = a.clamp_min(NO_WEIGHT), b.clamp_min(NO_WEIGHT)
        self.f, self.solved = f, f.clone()
        self.g = self.next_g = torch.zeros_like(b)

    @classmethod
    def start(cls, cloud, a, b):
        """Start where K lies in [0, 1] with a 1 in every row."""
        return cls(cloud, a, b, torch.cat([C.amin(1) for _, C in cloud.blocks()]))

    def take_kernel(self, reg):
        """Go on at ``reg``."""
        self.reg = reg

    def absorb(self):
        """Do nothing: there are no scalings."""

    def steps_to_check(self, n_iter, expected):
        """Return 1: checks cost nothing."""
        return 1

    def iterate(self, omega, count):
        """Take ``count`` steps; return the error of the columns were the rows exact."""
        for _ in range(count):
            self.g = self.next_g
            relaxed_sums, sums = self.b.new_zeros(2, len(self.b))
            for rows, C in self.cloud.blocks():
                kernel = gibbs_kernel(C, self.f[rows], self.g, self.reg, out=C)
                a, row_sums = self.a[rows], kernel @ self.b
                exact, left = a / row_sums, relaxed_step(a, a, row_sums, omega)
                both = torch.stack((left, exact)) @ kernel
                relaxed_sums += both[0]
                sums += both[1]
                self.solved[rows] = self._moved(self.f[rows], exact, a)
                self.f[rows] = self._moved(self.f[rows], left, a)
            self.next_g = self._moved(self.g, relaxed_step(self.b, self.b, relaxed_sums, omega), self.b)
        return float(marginal_error(self.b, self.b, sums))

    def extent(self):
        """Return 0: there are no scalings."""
        return 0.0

    def _moved(self, potential, scaling, weights):
        return potential + self.reg * (scaling / weights).log_()

    def average(self):
        """Take a step of the symmetric problem; return a bound of the columns' error were the rows exact."""
        self.g, sums = self.next_g, torch.empty_like(self.a)
        for rows, C in self.cloud.blocks():
            torch.mv(gibbs_kernel(C, self.g[rows], self.g, self.reg, out=C), self.a, out=sums[rows])
        self.solved = self.g - self.reg * sums.log()
        self.next_g = (self.g + self.solved) / 2
        return 2.0 * float(marginal_error(self.a, self.a, sums))

    def retreat(self):
        """Start anew after an overflow; return the error, which is not known yet."""
        self.f, self.next_g = torch.zeros_like(self.f), torch.zeros_like(self.g)
        return math.inf

    def finish(self):
        """Make the rows exact."""
        self.f = self.solved.clone()

    def result(self, n_iter, error, status):
        """Return the named result."""
        a, b = self.weights
        return Solved(self.f, self.g, a @ self.f + b @ self.g, n_iter, error, status)
