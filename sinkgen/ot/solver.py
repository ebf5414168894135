"""The torch solver: Sinkhorn's iterations on a kernel that is kept near the plan.

Cuturi 2013 (arXiv 1306.0895) scales exp(-C / reg) by two vectors. Here K = exp((f + g - C) / reg) holds the potentials
already, so that no entry that matters underflows, and an iteration is two matrix-vector products. Over-relaxation:
Thibault et al. 2017 (arXiv 1711.01851), Lehmann et al. 2021 (arXiv 2012.12562).
"""

import math
from typing import NamedTuple

import torch

from sinkgen.ot.result import SinkhornResult

CHECK_EVERY = 5
FIRST_CHECKS = {0: 2, 2: 3}  # easy problems are solved at once
# The product of two such scalings is still far inside float32.
LARGEST_LOG_SCALING = 25.0
# Smaller weights, zero above all, are taken as this: too small to be felt, and large enough to be divided by.
NO_WEIGHT = 1e-20

# Annealing comes down to reg from above mean(C) / 50, and stays at a stage only as long as that helps the next.
ANNEAL_BELOW = 1 / 50
ANNEAL_FACTOR = 0.2
STAGE_TOL = 0.005
STAGE_ITERATIONS = 80


def solve(C, reg, a, b, tol, max_iter):
    """Solve one problem, or a batch of equal size, by over-relaxed Sinkhorn iterations.

    Parameters
    ----------
    C : Tensor of shape (n, m) or (B, n, m)
        Costs.
    reg : float
        Regularisation.
    a, b : Tensor of shape (n,) and (m,), or (B, n) and (B, m)
        Weights that sum to one. A weight of zero is padding: it changes nothing, and its potential is the
        c-transform of the others.
    tol : float
        L1 error of the marginals to reach; raised to what the precision allows.
    max_iter : int
        Iterations, those of annealing included.

    Returns
    -------
    SinkhornResult
    """
    scalings = _Scalings.start(C, a, b)
    return scalings.result(*descend(scalings, C.dtype, _mean_cost(C, a, b), reg, tol, max_iter))


def descend(scalings, dtype, mean_cost, reg, tol, max_iter):
    """Bring ``scalings`` to a solution at ``reg`` by way of larger ones; return iterations, error and status."""
    floor, n_iter = precision_floor(dtype, mean_cost, reg), 0
    *stages, reg = _annealing(mean_cost, reg)
    for stage_reg in stages:
        scalings.take_kernel(stage_reg)
        budget = min(STAGE_ITERATIONS, (max_iter - n_iter) // 2)
        n_iter += _converge(scalings, max(STAGE_TOL, floor), floor, budget).n_iter
        scalings.absorb()
    scalings.take_kernel(reg)
    last = _converge(scalings, max(tol, floor), floor, max_iter - n_iter)
    return n_iter + last.n_iter, last.error, solved_status(last.error, tol, floor, last.stalled)


def solve_symmetric(C, reg, a, tol, max_iter):
    """Solve the problem of points against themselves by the averaged iteration f <- (f + T f) / 2.

    Feydy et al. 2019 (arXiv 1810.08278). The kernel of the costs here is positive definite, so that near the solution
    an iteration, of one product, at least halves the error.

    Parameters
    ----------
    C : Tensor of shape (n, n) or (B, n, n)
        Symmetric, zero on the diagonal.
    reg, a, tol, max_iter
        As in :func:`solve`.

    Returns
    -------
    SinkhornResult
    """
    scalings = _Scalings.start_symmetric(C, a)
    return scalings.result(*average_down(scalings, C.dtype, _mean_cost(C, a, a), reg, tol, max_iter))


def average_down(scalings, dtype, mean_cost, reg, tol, max_iter):
    """Bring ``scalings`` to a solution of the symmetric problem; return iterations, error and status."""
    floor, n_iter, error = precision_floor(dtype, mean_cost, reg), 0, math.inf
    scalings.take_kernel(reg)
    while n_iter < max_iter and error > max(tol, floor):
        error = scalings.average()
        n_iter += 1
    scalings.finish()
    return n_iter, error, solved_status(error, tol, floor)


class _Scalings:
    """Potentials f and g in K = exp((f + g - C) / reg), and scalings of it: the plan is diag(left) K diag(right).

    ``left`` is a exp(df / reg), where df is what was added to f since K was computed; likewise ``right``. What belongs
    to rows and to columns lies in one tensor each, (..., n + m), and all work is done in place: small problems take as
    long as the number of calls.
    """

    def __init__(self, C, a, b, f, g, padded):
        self.C, self.padded = C, padded
        self.weights, self.potentials = torch.cat((a, b), -1), torch.cat((f, g), -1)
        if padded:
            self.weights.clamp_min_(NO_WEIGHT)
        self.a, self.b = self._split(self.weights)
        self.scalings = torch.empty_like(self.weights)
        self.left, self.right = self._split(self.scalings)
        self.row_sums, self.column_sums = torch.empty_like(a), torch.empty_like(b)
        self.kernel = torch.empty_like(C)
        self.transposed = self.kernel.transpose(-1, -2)

    def _split(self, both):
        return both.split(self.C.shape[-2:], -1)

    @classmethod
    def start(cls, C, a, b):
        """Start where K lies in [0, 1] with a 1 in every row and column: nothing can overflow or vanish."""
        if float(a.amin()) <= NO_WEIGHT or float(b.amin()) <= NO_WEIGHT:
            return cls._start_padded(C, a, b, (a <= NO_WEIGHT).unsqueeze(-1), (b <= NO_WEIGHT).unsqueeze(-2))
        f = C.amin(-1)
        return cls(C, a, b, f, (C - f.unsqueeze(-1)).amin(-2), padded=False)

    @classmethod
    def _start_padded(cls, C, a, b, no_a, no_b):
        """Start so among the points that have weight; padding follows them, and never meets other padding."""
        f = C.masked_fill(no_b, math.inf).amin(-1)
        g = (C - f.unsqueeze(-1)).masked_fill_(no_a, math.inf).amin(-2)
        f = (C - g.unsqueeze(-2)).masked_fill_(no_b, math.inf).amin(-1)
        return cls(C.masked_fill(no_a & no_b, math.inf), a, b, f, g, padded=True)

    @classmethod
    def start_symmetric(cls, C, a):
        """Start the problem of points against themselves at zero."""
        zero = torch.zeros_like(a)
        return cls(C, a, a, zero, zero, padded=float(a.amin()) <= NO_WEIGHT)

    def take_kernel(self, reg):
        """Take the kernel of the potentials at ``reg``, not scaled."""
        self.reg = reg
        self.scalings.copy_(self.weights)
        f, g = self._split(self.potentials)
        gibbs_kernel(self.C, f, g, reg, out=self.kernel)
        _product(self.kernel, self.right, out=self.row_sums)

    def absorb(self):
        """Move the scalings into the potentials; the kernel is to be taken anew."""
        self.potentials = torch.div(self.scalings, self.weights).log_().mul_(self.reg).add_(self.potentials)

    def steps_to_check(self, n_iter, expected):
        """Return how many steps to take before the next check, which costs half a step."""
        return FIRST_CHECKS.get(n_iter, expected)

    def iterate(self, omega, count):
        """Take ``count`` steps; return the error of the columns were the rows exact, and the extent of the scalings."""
        for _ in range(count):
            relaxed_step(self.left, self.a, self.row_sums, omega)
            _product(self.transposed, self.left, out=self.column_sums)
            relaxed_step(self.right, self.b, self.column_sums, omega)
            _product(self.kernel, self.right, out=self.row_sums)
        # Relaxed scalings are off by far more than the next plain step: measured there, errors compare across omega.
        _product(self.transposed, self.a / self.row_sums, out=self.column_sums)
        error = marginal_error(self.b, self.right, self.column_sums)
        error, *reached = torch.stack((error, *torch.aminmax(self.scalings / self.weights))).tolist()
        return error, max(abs(math.log(extreme)) if extreme > 0.0 else math.inf for extreme in reached)

    def average(self):
        """Take a step of the symmetric problem; return a bound of the columns' error were the rows exact."""
        self.right.mul_(self.a).div_(self.row_sums).sqrt_()
        _product(self.kernel, self.right, out=self.row_sums)
        return 2.0 * float(marginal_error(self.a, self.right, self.row_sums))

    def retreat(self):
        """Undo what overflowed: go back to the potentials absorbed last, and take one step that cannot."""
        f, _ = self._split(self.potentials)
        g = (f.unsqueeze(-1) - self.C).div_(self.reg).add_(self.a.log().unsqueeze(-1)).logsumexp(-2).mul_(-self.reg)
        f = (g.unsqueeze(-2) - self.C).div_(self.reg).add_(self.b.log().unsqueeze(-2)).logsumexp(-1).mul_(-self.reg)
        self.potentials = torch.cat((f, g), -1)
        self.take_kernel(self.reg)

    def finish(self):
        """Make the rows exact."""
        torch.div(self.a, self.row_sums, out=self.left)

    def result(self, n_iter, error, status):
        """Return the named result."""
        self.absorb()
        f, g = self._split(self.potentials)
        value = torch.linalg.vecdot(self.weights, self.potentials)
        if self.padded:
            self.scalings.mul_(self.weights > NO_WEIGHT)
        return SinkhornResult(f, g, value, n_iter, error, status, self.kernel, self.left, self.right)


class _Progress(NamedTuple):
    n_iter: int
    error: float
    stalled: bool


def _converge(scalings, target, floor, max_iter):
    """Iterate until the error is at most ``target``, stalls near the ``floor``, or ``max_iter`` is reached."""
    relaxation, n_iter, error, growth = _Relaxation(floor), 0, math.inf, 0.0
    while n_iter < max_iter and error > target and not relaxation.stalled:
        if growth > LARGEST_LOG_SCALING:
            scalings.absorb()
            scalings.take_kernel(scalings.reg)
        count = min(scalings.steps_to_check(n_iter, relaxation.steps_to(target)), max_iter - n_iter)
        error, growth = scalings.iterate(relaxation.omega, count)
        n_iter += count
        if math.isfinite(error + growth):
            relaxation.observe(error, count)
        else:
            scalings.retreat()
            relaxation, error, growth = _Relaxation(floor), math.inf, 0.0
    scalings.finish()
    return _Progress(n_iter, error, relaxation.stalled)


class _Relaxation:
    """The exponent omega of the steps, chosen from the errors seen.

    A mode of the error that plain iterations multiply by eta is multiplied by theta, the larger root of
    (theta + omega - 1)^2 = theta omega^2 eta, up to the best omega, 2 / (1 + sqrt(1 - eta)), and by omega - 1 in
    absolute value beyond it (Lehmann et al. 2021, arXiv 2012.12562). So the rate seen tells eta, and the best omega.
    """

    FIRST, LARGEST = 1.5, 1.99
    START_BELOW = 0.5
    PATIENCE = 100  # iterations without a tenth of progress

    def __init__(self, floor):
        self.omega, self.largest, self.floor = 1.0, self.LARGEST, floor
        self.rate, self.last, self.best, self.idle = 1.0, math.inf, math.inf, 0

    @property
    def stalled(self):
        """Whether the error has stopped falling, even without relaxation."""
        return self.largest == 1.0 and self.idle >= self.PATIENCE

    def steps_to(self, target):
        """Return how many steps to take before the next check: no more than it takes at the rate seen last."""
        if not 0.0 < self.rate < 1.0:
            return CHECK_EVERY
        return max(1, min(CHECK_EVERY, math.ceil(math.log(target / self.last) / math.log(self.rate))))

    def observe(self, error, steps):
        """Choose omega for the next steps, after ``steps`` with the last."""
        self.rate, self.last = (error / self.last) ** (1.0 / steps), error
        self.idle = 0 if error < 0.9 * self.best else self.idle + steps
        self.best = min(self.best, error)
        if self.idle >= self.PATIENCE and error < 3.0 * self.floor and self.largest > 1.0:
            self.omega, self.largest, self.idle = 1.0, 1.0, 0  # relaxation amplifies rounding: once more without
        elif error < self.START_BELOW and self.largest > 1.0:
            self.omega = min(self._adapted(self.rate), self.largest) if self.omega > 1.0 else self.FIRST

    def _adapted(self, rate):
        excess, missing = self.omega - 1.0, 2.0 - self.omega
        if rate >= 1.0 or rate <= excess + 0.1 * missing:  # no mode to measure, or omega about the best or beyond
            return 1.0 + 0.9 * excess
        eta = (rate + excess) ** 2 / (rate * self.omega**2)
        best = 2.0 / (1.0 + math.sqrt(max(0.0, 1.0 - eta)))
        return min(best, 2.0 - 0.5 * missing)  # a rate seen early is a rough guess


def gibbs_kernel(C, f, g, reg, out):
    """Return exp((f + g - C) / reg), in ``out``, which may be C itself."""
    unit = reg * math.log(2.0)  # exp2 is two to three times faster than exp
    torch.add((f / unit).unsqueeze(-1), C, alpha=-1.0 / unit, out=out)
    # Smaller numbers may become denormal, which is slow; larger ones stand between weightless points alone.
    limit = -0.92 * math.log2(torch.finfo(C.dtype).tiny)
    return out.add_((g / unit).unsqueeze(-2)).clamp_(-limit, limit).exp2_()


def relaxed_step(scaling, weights, sums, omega):
    """Turn a scaling into the one that solves its marginal, over-relaxed; ``sums`` are used up.

    Raising a scaling by a large factor and then some can lower the dual objective (Thibault et al. 2017, arXiv
    1711.01851, which lowers omega for it): here the excess of an entry is that of a threefold step at most.
    """
    if omega == 1.0:
        torch.div(weights, sums, out=scaling)
    else:
        solved = torch.div(weights, sums, out=sums)
        torch.div(solved, scaling, out=scaling).clamp_(max=3.0).pow_(omega - 1.0).mul_(solved)


def _mean_cost(C, a, b):
    """Return the mean cost between points with weight, the largest of a batch."""
    return float(torch.linalg.vector_norm(torch.linalg.vecdot(a, _product(C, b)), math.inf))


def precision_floor(dtype, mean_cost, reg):
    """Return the smallest L1 error of the marginals to ask for at a precision: 1e-5 or more for float32.

    Rounding moves the exponents (f + g - C) / reg by eps C / reg; where the plan has mass C is hardly above its mean.
    """
    return torch.finfo(dtype).eps * max(84.0, mean_cost / reg)


def _annealing(mean_cost, reg):
    """Return the regularisations to pass through, the largest first and ``reg`` last."""
    stages = [reg]
    while stages[0] < ANNEAL_BELOW * mean_cost:
        stages.insert(0, stages[0] / ANNEAL_FACTOR)
    return stages


def _product(matrix, vector, out=None):
    if vector.ndim == 1:
        return torch.mv(matrix, vector, out=out)
    out = None if out is None else out.unsqueeze(-1)
    return torch.bmm(matrix, vector.unsqueeze(-1), out=out).squeeze(-1)


def marginal_error(weights, scaling, sums):
    """Return the L1 error of one marginal, the largest of a batch."""
    errors = torch.linalg.vector_norm(torch.addcmul(weights, scaling, sums, value=-1.0), 1, -1)
    return errors.amax() if errors.ndim else errors


def solved_status(error, tol, floor, stalled=False):
    if error <= tol:
        return "converged"
    return "floor" if stalled or error <= floor else "max_iter"
