"""Where the ground cost measures distances, and the points that live there.

A *view* is what the semidual steps need to know of a cost: how a record is seen by it, points in the same coordinates,
how those lead back to the coordinates of the space, and the cost's public scale.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from sinkgen.ot.costs import Cost, FeatureCost, SquaredEuclideanCost
from sinkgen.ot.rows import whole
from sinkgen.privacy.queries.transport import LARGEST
from sinkgen.training.points.support import FreePoints, ParametricPoints


@dataclass(frozen=True)
class CostView:
    """How records and points are seen by a cost.

    Attributes
    ----------
    cost : Cost
    measure : callable
        Encoded records (m, D) to measured ones (m, k), each from its own record alone.
    support : FreePoints or ParametricPoints
        The points, measured (n, k).
    coordinates : callable
        Takes nothing; the points now in the space's coordinates, (n, d).
    """

    cost: Cost
    measure: Callable
    support: object
    coordinates: Callable


def make_view(cost, space, start):
    """The view of free points.

    Squared distances are measured in the space itself; L1 in all encoded numbers, for it does not survive a rotation;
    a feature map's in its features, where points follow by inner steps on their coordinates.

    Parameters
    ----------
    cost : Cost
    space : Space
    start : Tensor of shape (n, d)
        Coordinates of the points to start from.
    """
    if isinstance(cost, FeatureCost):
        return _feature_view(cost, space, start)
    if isinstance(cost, SquaredEuclideanCost):
        support = FreePoints(start)
        return CostView(cost, space.project, support, support.points)
    support = FreePoints(space.lift(start).cpu())
    return CostView(cost, _as_encoded, support, lambda: space.project(support.points()))


def _as_encoded(encoded):
    return encoded


def _feature_view(cost, space, start):
    free = start.to(space.basis.device, copy=True).requires_grad_()

    def measure(encoded):
        features = cost.embed(whole(encoded.clamp(0, 1)))[: len(encoded)].float()
        return features.nan_to_num(0.0).clamp(-LARGEST, LARGEST)

    support = ParametricPoints(lambda: measure(space.lift(free)), [free])
    return CostView(SquaredEuclideanCost(), measure, support, lambda: free.detach().clone())


@dataclass(frozen=True)
class CostScale:
    """Public scale of a cost between typical records.

    Attributes
    ----------
    mean : float
        Mean cost.
    force : float
        Root mean square norm of half the cost's gradient; for squared L2, of the displacement.
    step : float
        What turns a mean half gradient into a move: 1 for squared L2.
    """

    mean: float
    force: float
    step: float


def cost_scale(view, x, y):
    """Scale of the view's cost between two sets of public encoded records, (m, D) each."""
    x, y = view.measure(x), view.measure(y)
    matrix = view.cost.matrix(x, y)
    force = math.sqrt(float(view.cost.squared_gradient_norms(x, y, matrix).mean()) / 4)
    distance = math.sqrt(float(SquaredEuclideanCost().matrix(x, y).mean()))
    return CostScale(max(float(matrix.mean()), 1e-12), max(force, 1e-6), distance / max(force, 1e-6))
