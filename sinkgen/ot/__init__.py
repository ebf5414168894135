"""Entropic optimal transport: costs, solvers and differentiable losses; useful alone."""

import torch

from sinkgen.ot.costs import (
    COSTS,
    Cost,
    FeatureCost,
    L1Cost,
    MixedCost,
    SquaredEuclideanCost,
    resolve_cost,
    with_labels,
)
from sinkgen.ot.divergence import (
    BACKENDS,
    debias_pair,
    entropic_cost,
    sinkhorn,
    sinkhorn_divergence,
    sinkhorn_symmetric,
)
from sinkgen.ot.result import SinkhornResult
from sinkgen.ot.scattering import Scattering

__all__ = [
    "BACKENDS",
    "COSTS",
    "Cost",
    "FeatureCost",
    "L1Cost",
    "MixedCost",
    "Scattering",
    "SinkhornResult",
    "SquaredEuclideanCost",
    "debias_pair",
    "entropic_cost",
    "resolve_cost",
    "sinkhorn",
    "sinkhorn_divergence",
    "sinkhorn_symmetric",
    "with_labels",
]

# glibc returns freed memory to the system beyond twice the largest piece that was freed so far. After this one, which
# is never touched, 32 MiB stay, and the buffers of a step need not be paged in anew, which took up to half of its time.
torch.empty(2**22)
