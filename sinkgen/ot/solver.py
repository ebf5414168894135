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
# Sums of a column of K that are smaller may be of entries that were cut off.
FAR_COLUMN = 1e-26
# Smaller weights, zero above all, are taken as this: too small to be felt, and large enough to be divided by.
NO_WEIGHT = 1e-20

# Annealing comes down to reg from above mean(C) / 50, and stays at a stage only as long as that helps the next.
ANNEAL_BELOW = 1 / 50
ANNEAL_FACTOR = 0.2
STAGE_TOL = 0.005
STAGE_ITERATIONS = 80


class CostsNotFinite(ValueError):
    """Costs that are infinite or nan, or whose mean is."""


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
    tol : float or None
        L1 error of the marginals to reach; raised to what the precision allows. None: ``max_iter`` iterations at
        ``reg``, and not a look at the error between them.
    max_iter : int
        Iterations, those of annealing included.

    Returns
    -------
    SinkhornResult
    """
    scalings = _Scalings.start(C, a, b)
    if tol is None:
        scalings.take_kernel(reg)
        error = scalings.iterate(1.0, max_iter)
        scalings.finish()
        return scalings.result(max_iter, error, "max_iter")
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
    if tol is None:
        scalings.take_kernel(reg)
        for _ in range(max_iter):
            scalings.average_once()
        error = scalings.symmetric_error()
        scalings.finish()
        return scalings.result(max_iter, error, "max_iter")
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

    ``left`` is a exp(df / reg), where df is what was added to f since K was computed; likewise ``right``. Small
    problems take as long as the number of calls: each here is needed.
    """

    def __init__(self, C, a, b, f, g, *, padded, kernel=None):
        self.C, self.f, self.g, self.padded = C, f, g, padded
        self.a, self.b = (a.clamp_min(NO_WEIGHT), b.clamp_min(NO_WEIGHT)) if padded else (a, b)
        self.kernel = torch.empty_like(C) if kernel is None else kernel
        self.transposed = self.kernel.mT

    @classmethod
    def start(cls, C, a, b):
        """Start where K lies in [0, 1] with a 1 in every row: nothing can overflow, and a row cannot vanish."""
        if min(float(a.amin()), float(b.amin())) <= NO_WEIGHT:
            return cls._start_padded(C, a, b, (a <= NO_WEIGHT).unsqueeze(-1), (b <= NO_WEIGHT).unsqueeze(-2))
        return cls(C, a, b, C.amin(-1), torch.zeros_like(b), padded=False)

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
        self.reg, self.left, self.right = reg, self.a, self.b
        gibbs_kernel(self.C, self.f, self.g, reg, out=self.kernel)
        self.row_sums = _product(self.kernel, self.right)

    def absorb(self):
        """Move the scalings into the potentials; the kernel is to be taken anew."""
        self.f = torch.add(self.f, (self.left / self.a).log_(), alpha=self.reg)
        self.g = torch.add(self.g, (self.right / self.b).log_(), alpha=self.reg)

    def steps_to_check(self, n_iter, expected):
        """Return how many steps to take before the next check, which costs half a step."""
        return FIRST_CHECKS.get(n_iter, expected)

    def iterate(self, omega, count):
        """Take ``count`` steps; return :meth:`column_error`."""
        for _ in range(count):
            self.left = relaxed_step(self.left, self.a, self.row_sums, omega)
            self.right = relaxed_step(self.right, self.b, _product(self.transposed, self.left), omega)
            self.row_sums = _product(self.kernel, self.right)
        return self.column_error()

    def column_error(self):
        """Return the error of the columns were the rows exact, infinite where it cannot be told.

        Relaxed scalings are off by far more than the next plain step: measured there, errors compare across omega.
        """
        sums = _product(self.transposed, self.a / self.row_sums)
        return float(marginal_error(self.b, self.right, sums)) if float(sums.amin()) > FAR_COLUMN else math.inf

    def extent(self):
        """Return the largest absolute logarithm of the scalings; infinite where one is zero or not finite."""
        ends = torch.stack((*torch.aminmax(self.left / self.a), *torch.aminmax(self.right / self.b))).tolist()
        return max(abs(math.log(end)) if end > 0.0 else math.inf for end in ends)

    def average(self):
        """Take a step of the symmetric problem; return a bound of the columns' error were the rows exact."""
        self.average_once()
        return self.symmetric_error()

    def average_once(self):
        """Take a step of the symmetric problem."""
        self.right = (self.right * self.a).div_(self.row_sums).sqrt_()
        self.row_sums = _product(self.kernel, self.right)

    def symmetric_error(self):
        """Return a bound of the columns' error were the rows exact."""
        return 2.0 * float(marginal_error(self.a, self.right, self.row_sums))

    def retreat(self):
        """Undo what overflowed: from the potentials absorbed last, take one step that cannot; return its error."""
        f, C, reg = self.f.unsqueeze(-1), self.C, self.reg
        self.g = (f - C).div_(reg).add_(self.a.log().unsqueeze(-1)).logsumexp(-2).mul_(-reg)
        g = self.g.unsqueeze(-2)
        self.f = (g - C).div_(reg).add_(self.b.log().unsqueeze(-2)).logsumexp(-1).mul_(-reg)
        self.take_kernel(reg)
        return self.column_error()

    def finish(self):
        """Make the rows exact."""
        self.left = self.a / self.row_sums

    def value(self):
        """Return the dual objective of the potentials."""
        return torch.linalg.vecdot(self.a, self.f) + torch.linalg.vecdot(self.b, self.g)

    def result(self, n_iter, error, status):
        """Return the named result."""
        self.absorb()
        value = self.value()
        if not math.isfinite(float(value.sum())):  # a scaling vanished just before the end
            self.retreat()
            self.finish()
            value = self.value()
        if self.padded:
            self.left, self.right = self.left * (self.a > NO_WEIGHT), self.right * (self.b > NO_WEIGHT)
        return SinkhornResult(self.f, self.g, value, n_iter, error, status, self.kernel, self.left, self.right)


class _Progress(NamedTuple):
    n_iter: int
    error: float
    stalled: bool


def _converge(scalings, target, floor, max_iter):
    """Iterate until the error is at most ``target``, stalls near the ``floor``, or ``max_iter`` is reached."""
    relaxation, n_iter, error = _Relaxation(floor), 0, math.inf
    while n_iter < max_iter and error > target and not relaxation.stalled:
        count = min(scalings.steps_to_check(n_iter, relaxation.steps_to(target)), max_iter - n_iter)
        error = scalings.iterate(relaxation.omega, count)
        n_iter += count
        extent = 0.0 if error <= target else scalings.extent()
        if not math.isfinite(error + extent):
            relaxation, error = _Relaxation(floor), scalings.retreat()
            continue
        relaxation.observe(error, count)
        if extent > LARGEST_LOG_SCALING:
            scalings.absorb()
            scalings.take_kernel(scalings.reg)
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
    """Return the scaling that solves its marginal, over-relaxed.

    Raising a scaling by a large factor and then some can lower the dual objective (Thibault et al. 2017, arXiv
    1711.01851, which lowers omega for it): here the excess of an entry is that of a threefold step at most.
    """
    solved = weights / sums
    if omega == 1.0:
        return solved
    return (solved / scaling).clamp_(max=3.0).pow_(omega - 1.0).mul_(solved)


def _mean_cost(C, a, b):
    """Return the mean cost between points with weight, the largest of a batch."""
    return abs(float(_largest(torch.linalg.vecdot(a, _product(C, b)))))


def precision_floor(dtype, mean_cost, reg):
    """Return the smallest L1 error of the marginals to ask for at a precision: 1e-5 or more for float32.

    Rounding moves the exponents (f + g - C) / reg by eps C / reg; where the plan has mass C is hardly above its mean.
    """
    if not math.isfinite(mean_cost):
        raise CostsNotFinite("costs must be finite")
    return torch.finfo(dtype).eps * max(84.0, mean_cost / reg)


def _annealing(mean_cost, reg):
    """Return the regularisations to pass through, the largest first and ``reg`` last."""
    stages = [reg]
    while stages[0] < ANNEAL_BELOW * mean_cost:
        stages.insert(0, stages[0] / ANNEAL_FACTOR)
    return stages


def _product(matrix, vector):
    return torch.mv(matrix, vector) if vector.ndim == 1 else torch.bmm(matrix, vector.unsqueeze(-1)).squeeze(-1)


def marginal_error(weights, scaling, sums):
    """Return the L1 error of one marginal, the largest of a batch."""
    return _largest(torch.linalg.vector_norm(torch.addcmul(weights, scaling, sums, value=-1.0), 1, -1))


def _largest(values):
    return values.amax() if values.ndim else values


def solved_status(error, tol, floor, stalled=False):
    if error <= tol:
        return "converged"
    return "floor" if stalled or error <= floor else "max_iter"
