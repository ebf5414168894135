"""The named result of a solved transport problem."""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class SinkhornResult:
    r"""Solution of W_reg(a, b) = min_P <P, C> + reg KL(P | a b^T) over plans P with marginals a and b.

    The plan is P_ij = a_i b_j exp((f_i + g_j - C_ij) / reg). Its row sums are a but for rounding; its column sums
    are b but for ``error``. A batch of problems puts B before each shape.

    Attributes
    ----------
    f : Tensor of shape (n,)
        Dual potentials of the rows.
    g : Tensor of shape (m,)
        Dual potentials of the columns, up to one constant that moves from f to g.
    value : Tensor of shape ()
        <a, f> + <b, g>, which is W_reg(a, b) up to an error of second order in ``error``.
    n_iter : int
        Iterations: updates of both potentials.
    error : float
        Bound of the L1 error of the marginals, sum_j abs(sum_i P_ij - b_j); over a batch, the largest.
    status : {"converged", "floor", "max_iter"}
        "floor" says that the numbers' precision allowed no more, "max_iter" that iterations ran out.
    kernel, left, right : Tensor of shape (n, m), (n,) and (m,)
        The plan in factors, diag(left) kernel diag(right).

    Examples
    --------
    >>> import torch
    >>> from sinkgen.ot import sinkhorn
    >>> result = sinkhorn(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), reg=0.5)
    >>> result.status, round(result.value.item(), 4)
    ('converged', 0.2831)
    """

    f: torch.Tensor
    g: torch.Tensor
    value: torch.Tensor
    n_iter: int
    error: float
    status: str
    # The plan in factors, diag(left) kernel diag(right): the solver holds these, and most callers need no more.
    kernel: torch.Tensor = field(repr=False)
    left: torch.Tensor = field(repr=False)
    right: torch.Tensor = field(repr=False)

    @property
    def plan(self) -> Tensor:
        """Transport plan P, shape (n, m); computed anew at each access.

        Examples
        --------
        >>> import torch
        >>> from sinkgen.ot import sinkhorn
        >>> sinkhorn(torch.zeros(2, 2), reg=1.0).plan
        tensor([[0.2500, 0.2500],
                [0.2500, 0.2500]])
        """
        return scale(self.kernel, self.left, self.right)

    def apply(self, y: Tensor) -> Tensor:
        """Return P y without forming P.

        Parameters
        ----------
        y : Tensor of shape (m, k)

        Returns
        -------
        Tensor of shape (n, k)

        Examples
        --------
        >>> import torch
        >>> from sinkgen.ot import sinkhorn
        >>> result = sinkhorn(torch.zeros(2, 4), reg=1.0)
        >>> result.apply(torch.ones(4, 1))
        tensor([[0.5000],
                [0.5000]])
        """
        return self.left.unsqueeze(-1) * (self.kernel @ (self.right.unsqueeze(-1) * y))


def scale(kernel, left, right):
    """Return diag(left) kernel diag(right)."""
    return (kernel * left.unsqueeze(-1)).mul_(right.unsqueeze(-2))
