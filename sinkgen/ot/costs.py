"""Ground costs c(x, y) between rows: the matrix, its gradient summed over a plan, and bounds on single gradients.

Nothing here ever holds an (n, m, d) tensor. Every cost is symmetric, c(x, y) = c(y, x), and zero on the diagonal.
"""

import copy
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from sinkgen._validation import check_choice, check_integer, check_real
from sinkgen.exceptions import BadTypeError, BadValueError
from sinkgen.ot.scattering import Scattering


@runtime_checkable
class Cost(Protocol):
    """What a ground cost must be able to do.

    A point is first embedded (:meth:`embed`, the identity but for feature maps); the other three methods take points
    already embedded, so that records which do not change are embedded once. A gradient in x itself is the gradient in
    ``embed(x)`` pulled back by autograd.

    Examples
    --------
    A class of your own that has these four methods is a cost; here one of which half is as far as the whole of another:

    >>> import torch
    >>> class HalfCost(SquaredEuclideanCost):
    ...     def embed(self, x):
    ...         return x / 2**0.5
    >>> isinstance(HalfCost(), Cost)
    True
    >>> from sinkgen.ot import entropic_cost
    >>> round(entropic_cost(torch.zeros(1, 2), torch.ones(1, 2), reg=0.1, cost=HalfCost()).item(), 4)
    1.0
    """

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Map points to where the cost measures them, differentiably.

        Parameters
        ----------
        x : Tensor of shape (n, d)

        Returns
        -------
        Tensor of shape (n, k)
        """
        ...

    def matrix(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the costs c(x_i, y_j) >= 0 of embedded points.

        Parameters
        ----------
        x : Tensor of shape (n, k)
        y : Tensor of shape (m, k)

        Returns
        -------
        Tensor of shape (n, m)
        """
        ...

    def weighted_gradient(self, weights: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return sum_j weights_ij grad_x c(x_i, y_j).

        Parameters
        ----------
        weights : Tensor of shape (n, m)
        x : Tensor of shape (n, k)
        y : Tensor of shape (m, k)

        Returns
        -------
        Tensor of shape (n, k)
        """
        ...

    def squared_gradient_norms(self, x: torch.Tensor, y: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
        """Return upper bounds of ||grad_x c(x_i, y_j)||^2.

        Parameters
        ----------
        x : Tensor of shape (n, k)
        y : Tensor of shape (m, k)
        matrix : Tensor of shape (n, m)
            ``matrix(x, y)``, which many bounds can be made of.

        Returns
        -------
        Tensor of shape (n, m)
        """
        ...


class SquaredEuclideanCost:
    r"""Squared distance, c(x, y) = ||x - y||^2, by one matrix product.

    Examples
    --------
    >>> import torch
    >>> SquaredEuclideanCost().matrix(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[25.,  1.]])
    """

    def embed(self, x: Tensor) -> Tensor:
        """Return ``x``: distances are measured where the points are."""
        return x

    def matrix(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ||x_i - y_j||^2, shape (n, m), never below zero; close points keep an error of rounding."""
        norms = _squared_norms(x).unsqueeze(1) + _squared_norms(y)
        return norms.addmm_(x, y.t(), alpha=-2.0).clamp_(min=0.0)

    def weighted_gradient(self, weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Return sum_j 2 weights_ij (x_i - y_j), shape (n, k)."""
        return (x * weights.sum(1, keepdim=True).mul_(2.0)).addmm_(weights, y, alpha=-2.0)

    def squared_gradient_norms(self, x: Tensor, y: Tensor, matrix: Tensor) -> Tensor:
        """Return 4 c(x_i, y_j), shape (n, m), plus a bound of the error of rounding in ``matrix``.

        With a rounding of r, that error is at most r S, where S = ||x||^2 + ||y||^2 <= 3 ||x||^2 + 2 ||x - y||^2, and
        the last is at most the entry plus r S; so too with y in the place of x. That is what is taken, however
        many there are of each: what is found of a row must not depend on the number of others.
        """
        rounding = (x.shape[1] + 8) * torch.finfo(x.dtype).eps  # of a sum of k products, relative to what is summed
        rounding *= 1.0 + 3.0 * rounding
        return torch.add(12.0 * rounding * _squared_norms(y), matrix, alpha=4.0 * (1.0 + 3.0 * rounding))


class L1Cost:
    r"""Sum of absolute differences, c(x, y) = ||x - y||_1, a row at a time.

    Examples
    --------
    >>> import torch
    >>> L1Cost().matrix(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[7., 1.]])
    """

    def embed(self, x: Tensor) -> Tensor:
        """Return ``x``: distances are measured where the points are."""
        return x

    def matrix(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ||x_i - y_j||_1, shape (n, m)."""
        if len(x) > len(y):
            return self.matrix(y, x).t()
        matrix, difference = x.new_empty(len(x), len(y)), torch.empty_like(y)
        for row, point in zip(matrix, x, strict=True):
            torch.sum(torch.sub(y, point, out=difference).abs_(), 1, out=row)
        return matrix

    def weighted_gradient(self, weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Return sum_j weights_ij sign(x_i - y_j), shape (n, k)."""
        gradient, difference = torch.empty_like(x), torch.empty_like(y)
        for row, weight, point in zip(gradient, weights, x, strict=True):
            torch.mv(torch.sub(point, y, out=difference).sign_().t(), weight, out=row)
        return gradient

    def squared_gradient_norms(self, x: Tensor, y: Tensor, matrix: Tensor) -> Tensor:
        """Return the dimension k everywhere, shape (n, m): an entry of the gradient is -1, 0 or 1."""
        return torch.full_like(matrix, x.shape[1])


class MixedCost:
    r"""Squared distance plus a multiple of L1, c(x, y) = ||x - y||^2 + m ||x - y||_1.

    The cost of Cao et al. 2021 (arXiv 2111.01177), where m is 1 or 3.

    Parameters
    ----------
    l1_weight : float, default=1.0
        The multiple m >= 0.

    Raises
    ------
    TypeError, ValueError
        If ``l1_weight`` is no number, or negative.

    Examples
    --------
    >>> import torch
    >>> MixedCost(l1_weight=3.0).matrix(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
    tensor([[46.]])
    """

    def __init__(self, l1_weight: float = 1.0) -> None:
        self.l1_weight = check_real("l1_weight", l1_weight, low=0.0)
        self._squared, self._l1 = SquaredEuclideanCost(), L1Cost()

    def __repr__(self):
        return f"{type(self).__name__}(l1_weight={self.l1_weight:g})"

    def embed(self, x: Tensor) -> Tensor:
        """Return ``x``: distances are measured where the points are."""
        return x

    def matrix(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ||x_i - y_j||^2 + m ||x_i - y_j||_1, shape (n, m)."""
        return self._squared.matrix(x, y).add_(self._l1.matrix(x, y), alpha=self.l1_weight)

    def weighted_gradient(self, weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Return sum_j weights_ij (2 (x_i - y_j) + m sign(x_i - y_j)), shape (n, k)."""
        l1 = self._l1.weighted_gradient(weights, x, y)
        return self._squared.weighted_gradient(weights, x, y).add_(l1, alpha=self.l1_weight)

    def squared_gradient_norms(self, x: Tensor, y: Tensor, matrix: Tensor) -> Tensor:
        """Return 4 c(x_i, y_j) + m^2 k, shape (n, m), plus a bound of rounding.

        With delta = x - y, ||2 delta + m sign(delta)||^2 = 4 ||delta||^2 + 4 m ||delta||_1 + m^2 ||sign(delta)||^2.
        """
        signs = self.l1_weight**2 * x.shape[1] * (1.0 + 8.0 * torch.finfo(x.dtype).eps)
        return self._squared.squared_gradient_norms(x, y, matrix).add_(signs)


class FeatureCost(SquaredEuclideanCost):
    r"""Squared distance between features, c(x, y) = ||phi(x) - phi(y)||^2.

    Parameters
    ----------
    module : torch.nn.Module
        The feature map phi from (n, ...) to (n, k). It must be public and must map each row on its own. A frozen copy
        in evaluation mode is kept, so that the caller's module is neither changed nor trained.

    Raises
    ------
    TypeError
        If ``module`` is none.
    ValueError
        From its methods, if the features are not of shape (n, k).

    Examples
    --------
    >>> import torch
    >>> phi = torch.nn.Linear(3, 2)
    >>> FeatureCost(phi).embed(torch.zeros(4, 3)).shape
    torch.Size([4, 2])
    """

    def __init__(self, module: torch.nn.Module) -> None:
        if not isinstance(module, torch.nn.Module):
            raise BadTypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
        # In training mode a batch norm would mix rows, and keep statistics of private records.
        self.module = copy.deepcopy(module).eval().requires_grad_(False)

    def embed(self, x: Tensor) -> Tensor:
        """Return phi(x), shape (n, k); gradients flow back to ``x``."""
        self.module.to(x.device)  # the copy follows; the caller's module stays where it is
        features = self.module(x)
        if features.ndim != 2 or len(features) != len(x):
            raise BadValueError(f"the feature map must return shape ({len(x)}, k), got {tuple(features.shape)}")
        return features


COSTS: dict[str, type[Cost]] = {"sqeuclidean": SquaredEuclideanCost, "l1": L1Cost, "l1+l2": MixedCost}
# Feature maps by name, made for the shape of the images.
FEATURE_MAPS: dict[str, type[torch.nn.Module]] = {"scattering": Scattering}

CostLike = str | Cost | torch.nn.Module


def check_cost(cost: CostLike) -> None:
    """Raise ValueError or TypeError unless ``cost`` is a name, a feature map, or a cost itself.

    Examples
    --------
    >>> check_cost("scattering")
    """
    if isinstance(cost, str):
        check_choice("cost", cost, [*COSTS, *FEATURE_MAPS])
    elif isinstance(cost, type) or not isinstance(cost, (torch.nn.Module, Cost)):
        names = ", ".join(map(repr, [*COSTS, *FEATURE_MAPS]))
        raise BadTypeError(f"cost must be one of {names}, a torch.nn.Module or a Cost, got {type(cost).__name__}")


def is_plain(cost: CostLike) -> bool:
    """Whether a cost measures values as they are, and for that needs no others beside them.

    Examples
    --------
    >>> is_plain("l1"), is_plain(MixedCost(3.0)), is_plain(torch.nn.Identity())
    (True, True, False)
    """
    return cost in COSTS if isinstance(cost, str) else type(cost) in COSTS.values()


def resolve_cost(cost: CostLike, image_shape: Sequence[int] | None = None) -> Cost:
    """Return the :class:`Cost` that is meant by a name, a feature map, or a cost itself.

    Parameters
    ----------
    cost : {"sqeuclidean", "l1", "l1+l2", "scattering"}, torch.nn.Module or Cost
        "l1+l2" is ``MixedCost(1.0)``; a module is taken as ``FeatureCost(module)``, and "scattering" is that of
        :class:`~sinkgen.ot.scattering.Scattering`.
    image_shape : (h, w) or (h, w, c), optional
        Of the images that points are, one a row; "scattering" needs it.

    Returns
    -------
    Cost

    Raises
    ------
    ValueError
        If ``cost`` is a string that names no cost, or is one of images and there are none.
    TypeError
        If ``cost`` is nothing of the kind.

    Examples
    --------
    >>> resolve_cost("l1+l2").l1_weight
    1.0
    """
    check_cost(cost)
    if isinstance(cost, str) and cost in FEATURE_MAPS:
        if image_shape is None or len(image_shape) < 2:
            raise BadValueError(f"cost={cost!r} compares images: give image_shape, or take one of {', '.join(COSTS)}")
        return FeatureCost(FEATURE_MAPS[cost](image_shape))
    if isinstance(cost, str):
        return COSTS[cost]()
    return FeatureCost(cost) if isinstance(cost, torch.nn.Module) else cost


def with_labels(x: Tensor, labels: Tensor, n_classes: int, weight: float = 15.0) -> Tensor:
    """Append the one-hot labels, times ``weight``, as columns: classes then enter the cost beside the values.

    Under squared L2 two points of different classes lie 2 weight^2 further apart. The weight 15 is that of the code
    of Cao et al. 2021 (arXiv 2111.01177), for pixels in [-1, 1].

    Parameters
    ----------
    x : Tensor of shape (n, d)
        Points.
    labels : Tensor of shape (n,)
        Integers from 0 to n_classes - 1.
    n_classes : int
        Columns to append.
    weight : float, default=15.0
        The entry of a point's class.

    Returns
    -------
    Tensor of shape (n, d + n_classes)

    Raises
    ------
    ValueError
        If the labels do not fit the points or the classes.

    Examples
    --------
    >>> import torch
    >>> with_labels(torch.zeros(2, 1), torch.tensor([1, 0]), n_classes=2, weight=3.0)
    tensor([[0., 0., 3.],
            [0., 3., 0.]])
    """
    n_classes = check_integer("n_classes", n_classes, low=1)
    weight = check_real("weight", weight, low=0.0)
    if labels.shape != x.shape[:1] or labels.is_floating_point():
        raise BadValueError(f"labels must be {len(x)} integers, got {labels.dtype} of shape {tuple(labels.shape)}")
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < n_classes:
        raise BadValueError(f"labels must be from 0 to n_classes - 1 = {n_classes - 1}")
    one_hot = torch.nn.functional.one_hot(labels.long(), n_classes).to(x)
    return torch.cat([x, weight * one_hot], dim=1)


def _squared_norms(x):
    return torch.linalg.vector_norm(x, dim=1).square_()  # unlike x.square().sum(1), without another (n, k)
