"""Adapter to POT (https://pythonot.github.io), the reference implementation: its solver in the logarithmic domain."""

import math

import torch

from sinkgen.ot.result import SinkhornResult


def solve(C, reg, a, b, tol, max_iter):
    """Solve one problem, or each of a batch, by :func:`ot.sinkhorn` with ``method="sinkhorn_log"``.

    Parameters and result are those of :func:`sinkgen.ot.solver.solve`. POT minimises the same objective but for a
    constant, and stops on the L2 norm of the marginals' error, which here is set to imply the L1 norm asked for.
    """
    if C.ndim == 2:
        return _solve_one(C, a, b, reg, tol, max_iter)
    return _stack([_solve_one(*problem, reg, tol, max_iter) for problem in zip(C, a, b, strict=True)])


def solve_symmetric(C, reg, a, tol, max_iter):
    """Solve the problem of points against themselves; POT has no solver of its own for it."""
    return solve(C, reg, a, a, tol, max_iter)


def _solve_one(C, a, b, reg, tol, max_iter):
    import ot  # here, since POT takes a second to import

    tol = tol or 0.0
    rows, columns = a > 0, b > 0  # POT divides by the weights
    a_used, b_used, C_used = a[rows], b[columns], C[rows][:, columns]
    plan, log = ot.sinkhorn(
        a_used,
        b_used,
        C_used,
        reg,
        method="sinkhorn_log",
        numItermax=max_iter,
        stopThr=tol / math.sqrt(len(b_used)),
        log=True,
        warn=False,  # the status says it
    )
    error = float((plan.sum(0) - b_used).abs().sum())
    status = "converged" if error <= tol else "max_iter"
    g_used = reg * (log["log_v"] - b_used.log())
    f = _transform(C[:, columns], reg, b_used, g_used)
    g = _transform(C[rows].t(), reg, a_used, f[rows])
    g[columns] = g_used
    return _result(C, reg, (a, b), (f, g), n_iter=log["niter"] + 1, error=error, status=status)


def _transform(C, reg, weights, potential):
    """Return the softened c-transform: the other side's potential, also where the weight is zero."""
    return -reg * torch.logsumexp((potential - C) / reg + weights.log(), 1)


def _result(C, reg, weights, potentials, **found):
    (a, b), (f, g) = weights, potentials
    kernel = ((f.unsqueeze(-1) + g.unsqueeze(-2) - C) / reg).exp_()
    kernel[(a == 0).unsqueeze(-1) & (b == 0)] = 0.0  # between weightless points nothing bounds it
    value = (a * f).sum() + (b * g).sum()
    return SinkhornResult(f, g, value, **found, kernel=kernel, left=a, right=b)


def _stack(results):
    names = ("f", "g", "value", "kernel", "left", "right")
    tensors = {name: torch.stack([getattr(r, name) for r in results]) for name in names}
    worst = max(results, key=lambda r: r.error)
    status = "max_iter" if any(r.status == "max_iter" for r in results) else worst.status
    return SinkhornResult(n_iter=max(r.n_iter for r in results), error=worst.error, status=status, **tensors)
