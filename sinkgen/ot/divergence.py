"""The front door: entropic transport between weighted points, with gradients, over a table of solvers."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sinkgen._validation import check_choice, check_integer, check_real
from sinkgen.exceptions import BadTypeError, BadValueError
from sinkgen.ot import pot, solver, streamed
from sinkgen.ot.costs import Cost, CostLike, resolve_cost
from sinkgen.ot.result import SinkhornResult, scale

# A backend is a module with solve(C, reg, a, b, tol, max_iter) and solve_symmetric(C, reg, a, tol, max_iter).
BACKENDS = {"torch": solver, "pot": pot}


def sinkhorn(
    C: Tensor,
    reg: float,
    a: Tensor | None = None,
    b: Tensor | None = None,
    *,
    tol: float = 1e-3,
    max_iter: int = 2000,
    backend: str = "torch",
) -> SinkhornResult:
    r"""Solve W_reg(a, b) = min_P <P, C> + reg KL(P | a b^T) over plans P with marginals a and b.

    Nothing is differentiated here; see :func:`entropic_cost`.

    Parameters
    ----------
    C : Tensor of shape (n, m) or (B, n, m)
        Costs, float32 or float64; three dimensions are a batch of independent problems.
    reg : float
        Regularisation, in units of C.
    a, b : Tensor of shape (n,) and (m,), optional
        Weights, non-negative, of sum one; with B in front, or shared by the batch. Uniform if not given. A weight of
        zero takes the point out, so that problems of different sizes can be padded to one.
    tol : float or None, default=1e-3
        L1 error of the marginals at which to stop. None: all of ``max_iter`` iterations at ``reg``, for small problems
        where a look at the error takes as long as an iteration.
    max_iter : int, default=2000
        Iterations at most.
    backend : {"torch", "pot"}, default="torch"
        Who solves it; "pot" is the reference implementation, slower.

    Returns
    -------
    SinkhornResult
        Potentials ``f`` and ``g``, ``value``, ``n_iter``, ``error``, ``status``, ``plan``, ``apply(y)``.

    Raises
    ------
    TypeError, ValueError
        If a parameter is wrong; the message names it.

    References
    ----------
    Cuturi 2013, "Sinkhorn distances", arXiv 1306.0895.

    Examples
    --------
    >>> import torch
    >>> result = sinkhorn(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), reg=0.5)
    >>> result.status
    'converged'
    >>> result.plan
    tensor([[0.4404, 0.0596],
            [0.0596, 0.4404]])
    """
    C = _check_array("C", C, ndim=(2, 3)).detach()
    reg, tol, max_iter, solver = _check_reg(reg), _check_tol(tol), _check_max_iter(max_iter), _backend(backend)
    a, b = _check_weights("a", a, C, -2), _check_weights("b", b, C, -1)
    return _solved(solver, solver.solve, C, reg, a, b, tol, max_iter)


def sinkhorn_symmetric(
    C: Tensor, reg: float, a: Tensor | None = None, *, tol: float = 1e-3, max_iter: int = 2000, backend: str = "torch"
) -> SinkhornResult:
    r"""Solve W_reg(a, a) of points against themselves, at half the products an iteration and fewer iterations.

    Parameters
    ----------
    C : Tensor of shape (n, n) or (B, n, n)
        Symmetric costs, zero on the diagonal, such that exp(-C / reg) is positive definite (squared L2, L1 and their
        sum are), float32 or float64; three dimensions are a batch of independent problems.
    reg : float
        Regularisation, in units of C.
    a : Tensor of shape (n,), optional
        Weights, as in :func:`sinkhorn`.
    tol : float or None, default=1e-3
        L1 error of the marginals at which to stop. None: all of ``max_iter`` iterations at ``reg``, for small problems
        where a look at the error takes as long as an iteration.
    max_iter : int, default=2000
        Iterations at most.
    backend : {"torch", "pot"}, default="torch"
        Who solves it; "pot" has no solver of its own for this, and takes the general one.

    Returns
    -------
    SinkhornResult
        As of :func:`sinkhorn`, with ``f`` equal to ``g`` but for ``error``.

    Raises
    ------
    TypeError, ValueError
        If a parameter is wrong; the message names it.

    References
    ----------
    Feydy et al. 2019, "Interpolating between optimal transport and MMD using Sinkhorn divergences", arXiv 1810.08278,
    equation 25.

    Examples
    --------
    >>> import torch
    >>> sinkhorn_symmetric(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), reg=0.5).plan
    tensor([[0.4404, 0.0596],
            [0.0596, 0.4404]])
    """
    C = _check_array("C", C, ndim=(2, 3)).detach()
    if C.shape[-1] != C.shape[-2]:
        raise BadValueError(f"C must be square, got {tuple(C.shape)}")
    reg, tol, max_iter, solver = _check_reg(reg), _check_tol(tol), _check_max_iter(max_iter), _backend(backend)
    return _solved(solver, solver.solve_symmetric, C, reg, _check_weights("a", a, C, -1), tol, max_iter)


def entropic_cost(
    x: Tensor,
    y: Tensor,
    reg: float,
    *,
    a: Tensor | None = None,
    b: Tensor | None = None,
    cost: CostLike = "sqeuclidean",
    tol: float = 1e-3,
    max_iter: int = 2000,
    backend: str = "torch",
    block_rows: int | None = None,
) -> Tensor:
    r"""Return W_reg between the weighted points x and y, differentiable in both.

    The gradient is that of the envelope theorem, sum_j P_ij grad c(x_i, y_j), at the solved plan P; no graph of the
    iterations is kept, and second derivatives are not available. If ``y`` is ``x`` itself, the problem is solved as
    symmetric, and the gradient is that in both places.

    Parameters
    ----------
    x, y : Tensor of shape (n, d) and (m, d)
        Points, float32 or float64.
    reg : float
        Regularisation, in units of the cost.
    a, b : Tensor of shape (n,) and (m,), optional
        Weights, non-negative, of sum one; uniform if not given. Constants: no gradient flows to them.
    cost : {"sqeuclidean", "l1", "l1+l2"}, torch.nn.Module or Cost, default="sqeuclidean"
        See :func:`resolve_cost`.
    tol : float or None, default=1e-3
        L1 error of the marginals at which to stop. None: all of ``max_iter`` iterations at ``reg``, for small problems
        where a look at the error takes as long as an iteration.
    max_iter : int, default=2000
        Iterations at most.
    backend : {"torch", "pot"}, default="torch"
        Who solves it; "pot" is the reference implementation, slower.
    block_rows : int, optional
        Rows of the cost matrix in memory at a time; fewer than all are computed anew in each iteration, by "torch"
        alone. By default all rows, unless the matrix has more than 2^27 entries.

    Returns
    -------
    Tensor of shape ()

    Raises
    ------
    TypeError, ValueError
        If a parameter is wrong; the message names it.

    References
    ----------
    Cuturi 2013, arXiv 1306.0895; Feydy et al. 2019, "Interpolating between optimal transport and MMD using Sinkhorn
    divergences", arXiv 1810.08278 (gradient, symmetric problem).

    Examples
    --------
    >>> import torch
    >>> x = torch.zeros(1, 2, requires_grad=True)
    >>> value = entropic_cost(x, torch.ones(3, 2), reg=0.1)
    >>> value.backward()
    >>> round(value.item(), 4), x.grad
    (2.0, tensor([[-2., -2.]]))
    """
    _check_points(x, y)
    problem = _Problem.checked(reg, cost, tol, max_iter, backend, block_rows)
    same = y is x and b is a
    a = _check_weights("a", a, x, 0)
    b = a if same else _check_weights("b", b, y, 0)
    x, y = problem.embed(x, y)
    return problem.value(x, y, a, b)


def sinkhorn_divergence(
    x: Tensor,
    y: Tensor,
    reg: float,
    *,
    a: Tensor | None = None,
    b: Tensor | None = None,
    cost: CostLike = "sqeuclidean",
    debias: float | None = 0.0,
    tol: float = 1e-3,
    max_iter: int = 2000,
    backend: str = "torch",
    block_rows: int | None = None,
) -> Tensor:
    r"""Return the semi-debiased Sinkhorn divergence of generated points x and records y, differentiable in x and y.

    .. math:: W_{reg}(X, Y) - \frac12 W_{reg}(X, X') - \frac12 W_{reg}(Y, Y)

    Of the n (1 + p) rows of ``x``, p = ``debias``, X is the first n and X' the last n. With p = 0, X' is X and this is
    the Sinkhorn divergence; with p = 1 the points of the self term are independent, and its gradient unbiased.

    Parameters
    ----------
    x : Tensor of shape (n (1 + p), d)
        Generated points, float32 or float64.
    y : Tensor of shape (m, d)
        Records.
    reg : float
        Regularisation, in units of the cost.
    a, b : Tensor of shape (n (1 + p),) and (m,), optional
        Weights, non-negative, of sum one; uniform if not given. Those of X and X' are scaled to sum one each.
    cost : {"sqeuclidean", "l1", "l1+l2"}, torch.nn.Module or Cost, default="sqeuclidean"
        See :func:`resolve_cost`.
    debias : float or None, default=0.0
        The fraction p, from 0 to 1. None leaves both self terms out: W_reg(X, Y) alone.
    tol : float or None, default=1e-3
        L1 error of the marginals at which to stop. None: all of ``max_iter`` iterations at ``reg``, for small problems
        where a look at the error takes as long as an iteration.
    max_iter : int, default=2000
        Iterations at most.
    backend : {"torch", "pot"}, default="torch"
        Who solves it; "pot" is the reference implementation, slower.
    block_rows : int, optional
        Rows of the cost matrix in memory at a time; fewer than all are computed anew in each iteration, by "torch"
        alone. By default all rows, unless the matrix has more than 2^27 entries.

    Returns
    -------
    Tensor of shape ()

    Raises
    ------
    TypeError, ValueError
        If a parameter is wrong; the message names it.

    References
    ----------
    Cao, Bie, Vahdat, Fidler, Kreis 2021, "Don't generate me: training differentially private generative models with
    Sinkhorn divergence", arXiv 2111.01177 (the semi-debiased loss); Feydy et al. 2019, arXiv 1810.08278, equation 3.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([[0.0], [1.0]])
    >>> round(sinkhorn_divergence(x, x + 2, reg=0.5, tol=1e-5).item(), 4)
    4.0
    """
    if debias is None:
        return entropic_cost(
            x, y, reg, a=a, b=b, cost=cost, tol=tol, max_iter=max_iter, backend=backend, block_rows=block_rows
        )
    _check_points(x, y)
    problem = _Problem.checked(reg, cost, tol, max_iter, backend, block_rows)
    a1, a2 = _pair_weights(_check_weights("a", a, x, 0), debias)
    b = _check_weights("b", b, y, 0)
    x, y = problem.embed(x, y)
    x1, x2 = debias_pair(x, debias)
    cross = problem.value(x1, y, a1, b)
    return cross - 0.5 * problem.value(x1, x2, a1, a2) - 0.5 * problem.value(y, y, b, b)


def debias_pair(x: Tensor, debias: float) -> tuple[Tensor, Tensor]:
    """Return X, the first n of the n (1 + debias) rows of x, and X', the last n.

    Parameters
    ----------
    x : Tensor of shape (n (1 + debias), ...)
    debias : float
        From 0 to 1.

    Returns
    -------
    tuple of Tensor
        Both of shape (n, ...); the same tensor twice if ``debias`` is 0.

    Raises
    ------
    TypeError, ValueError
        If ``debias`` is no number from 0 to 1.

    Examples
    --------
    >>> import torch
    >>> [part.tolist() for part in debias_pair(torch.arange(6), debias=0.5)]
    [[0, 1, 2, 3], [2, 3, 4, 5]]
    """
    debias = check_real("debias", debias, low=0.0, high=1.0)
    n = max(1, round(len(x) / (1.0 + debias)))
    if n == len(x):
        return x, x
    return x[:n], x[-n:]


def _pair_weights(a, debias):
    a1, a2 = debias_pair(a, debias)
    return (a1, a2) if a1 is a2 else (a1 / a1.sum(), a2 / a2.sum())


@dataclass(frozen=True)
class _Problem:
    """What a transport problem needs beside points and weights."""

    reg: float
    cost: Cost
    tol: float
    max_iter: int
    backend: object
    block_rows: int | None

    @classmethod
    def checked(cls, reg, cost, tol, max_iter, backend, block_rows):
        checked = _check_reg(reg), resolve_cost(cost), _check_tol(tol), _check_max_iter(max_iter), _backend(backend)
        if block_rows is not None:
            block_rows = check_integer("block_rows", block_rows, low=1)
            if backend != "torch":
                raise BadValueError(f"block_rows needs backend='torch'; {backend!r} holds the whole matrix")
        return cls(*checked, block_rows)

    @property
    def limits(self):
        """When to stop."""
        return self.tol, self.max_iter

    def embed(self, x, y):
        """Return both where the cost measures them; the same tensor if they are the same."""
        embedded = self.cost.embed(x)
        return embedded, embedded if y is x else self.cost.embed(y)

    def value(self, x, y, a, b):
        """Return W_reg between embedded points."""
        rows = self.block_rows
        if rows is None:
            rows = streamed.automatic_rows(len(x), len(y)) if self.backend is solver else len(x)
        if rows < len(x) or self.backend is not solver:
            _check_finite(x=x, y=y)
        if rows < len(x):
            return _StreamedValue.apply(x, y, self, a, b, rows)
        try:
            return _SelfValue.apply(x, self, a) if y is x and b is a else _CrossValue.apply(x, y, self, a, b)
        except solver.CostsNotFinite:  # it is told without a pass over the points
            _check_finite(x=x, y=y)
            raise


class _CrossValue(torch.autograd.Function):
    """W_reg(x, y); the gradient is that of the envelope theorem, with the plan taken as a constant."""

    @staticmethod
    def forward(ctx, x, y, problem, a, b):
        C = problem.cost.matrix(x, y)
        result = problem.backend.solve(C, problem.reg, a, b, *problem.limits)
        ctx.cost = problem.cost
        ctx.save_for_backward(x, y, result.kernel, result.left, result.right)
        return result.value

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_value):
        x, y, kernel, left, right = ctx.saved_tensors
        plan = scale(kernel, grad_value * left, right)
        wants_x, wants_y = ctx.needs_input_grad[:2]
        grad_x = ctx.cost.weighted_gradient(plan, x, y) if wants_x else None
        grad_y = ctx.cost.weighted_gradient(plan.t(), y, x) if wants_y else None
        return grad_x, grad_y, None, None, None


class _SelfValue(torch.autograd.Function):
    """W_reg(x, x), as :class:`_CrossValue`, with the gradient in both places."""

    @staticmethod
    def forward(ctx, x, problem, a):
        C = problem.cost.matrix(x, x)
        result = problem.backend.solve_symmetric(C, problem.reg, a, *problem.limits)
        ctx.cost = problem.cost
        ctx.save_for_backward(x, result.kernel, result.left, result.right)
        return result.value

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_value):
        x, kernel, left, right = ctx.saved_tensors
        plan = scale(kernel, grad_value * left, right)
        return ctx.cost.weighted_gradient(plan + plan.t(), x, x), None, None


class _StreamedValue(torch.autograd.Function):
    """W_reg(x, y) as :class:`_CrossValue`, or W_reg(x, x) if y is x, with no more than a block of the matrix held."""

    @staticmethod
    def forward(ctx, x, y, problem, a, b, rows):
        cloud = streamed.PointCloud(x, y, problem.cost, rows)
        if y is x and b is a:
            result = streamed.solve_symmetric(cloud, problem.reg, a, *problem.limits)
        else:
            result = streamed.solve(cloud, problem.reg, a, b, *problem.limits)
        ctx.problem, ctx.rows = problem, rows
        ctx.save_for_backward(x, y, a, b, result.f, result.g)
        return result.value

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_value):
        x, y, *solution = ctx.saved_tensors
        weights, potentials = solution[:2], solution[2:]
        cloud = streamed.PointCloud(x, y, ctx.problem.cost, ctx.rows)
        gradients = streamed.gradients(cloud, ctx.problem.reg, weights, potentials, *ctx.needs_input_grad[:2])
        return *(None if part is None else grad_value * part for part in gradients), None, None, None, None


def _solved(backend, solve, C, *problem):
    """Return the result for costs given by the caller."""
    if backend is not solver:
        _check_finite(C=C)
    try:
        return solve(C, *problem)
    except solver.CostsNotFinite:  # it is told without a pass over the costs
        raise BadValueError("C must be finite") from None


def _backend(name):
    return BACKENDS[check_choice("backend", name, BACKENDS)]


def _check_reg(reg):
    return check_real("reg", reg, low=0.0, include_low=False)


def _check_tol(tol):
    return None if tol is None else check_real("tol", tol, low=0.0, include_low=False)


def _check_max_iter(max_iter):
    return check_integer("max_iter", max_iter, low=1)


def _check_array(name, array, ndim):
    if not isinstance(array, torch.Tensor):
        raise BadTypeError(f"{name} must be a torch.Tensor, got {type(array).__name__}; see torch.as_tensor")
    if array.dtype not in (torch.float32, torch.float64):
        raise BadTypeError(f"{name} must be float32 or float64, got {array.dtype}")
    if array.ndim not in ndim or array.numel() == 0:
        shapes = " or ".join(map(str, ndim))
        raise BadValueError(f"{name} must have {shapes} dimensions, none of them empty, got {tuple(array.shape)}")
    return array


def _check_finite(**arrays):
    for name, array in arrays.items():
        if not math.isfinite(float(array.detach().sum())):
            raise BadValueError(f"{name} must be finite")


def _check_points(x, y):
    _check_array("x", x, ndim=(2,))
    _check_array("y", y, ndim=(2,))
    if x.shape[1] != y.shape[1]:
        raise BadValueError(f"x and y must have as many columns, got {x.shape[1]} and {y.shape[1]}")
    if (x.dtype, x.device) != (y.dtype, y.device):
        raise BadTypeError(f"x and y must agree, got {x.dtype} on {x.device} and {y.dtype} on {y.device}")


def _check_weights(name, weights, like, dim):
    """Return weights of sum one for dimension ``dim`` of ``like``, with its batch in front if it has one."""
    size = like.shape[dim]
    shape = (*like.shape[:-2], size)
    if weights is None:
        return like.new_full(shape, 1.0 / size)
    weights = _check_array(name, weights, ndim=(1, len(shape))).detach().to(like)
    _check_finite(**{name: weights})
    if weights.shape != shape and weights.shape != shape[-1:]:
        raise BadValueError(f"{name} must have shape {shape}, got {tuple(weights.shape)}")
    total = weights.sum(-1, keepdim=True)
    if bool((weights < 0).any()) or bool((total - 1).abs().max() > torch.finfo(like.dtype).eps ** 0.5):
        raise BadValueError(f"{name} must be non-negative and sum to one")
    return (weights / total).expand(shape)
