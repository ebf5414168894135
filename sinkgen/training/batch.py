"""The batch mechanism: the paper's training loop, with its private part told apart from its public one.

Cao, Bie, Vahdat, Fidler, Kreis, "Don't Generate Me: Training Differentially Private Generative Models with Sinkhorn
Divergence", NeurIPS 2021, arXiv 2111.01177, algorithm 1.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch

from sinkgen.data.facts import Facts
from sinkgen.generators.networks import make_network, network_name
from sinkgen.ot import debias_pair, entropic_cost, with_labels
from sinkgen.privacy.queries.transport import CrossGradientQuery, LabelledCost
from sinkgen.privacy.query import clip_factors
from sinkgen.training.stage import Schedule, Stage, Trained

SHARES = {"gradients": 0.98}


@dataclass(frozen=True)
class BatchSettings:
    """Public settings of the loop.

    Attributes
    ----------
    steps : int
    sampling_rate : float
        Probability with which a record takes part in a step.
    clip : float or None
        Bound of the norm of the gradient in all points together; None for half the typical one.
    reg : float
        Entropic regularisation as a share of the mean cost between records spread evenly over their bounds.
    debias : float or None
        Fraction p of the self term's points that are drawn afresh; None leaves the term out.
    points : int
        Number n of generated points in the cross term.
    label_weight : float
        Weight of the one-hot label in the cost, as a share of the typical distance.
    learning_rate : float
    """

    steps: int = 3000
    sampling_rate: float = 0.01
    clip: float | None = None
    reg: float = 0.05
    debias: float | None = 0.2
    points: int = 20
    label_weight: float = 1.5
    learning_rate: float = 1e-3


def plan_batch(mu: float, facts: Facts, given: dict) -> Schedule:
    """Settings and releases, from public facts alone; the budget shows in the noise."""
    settings = BatchSettings(**given)
    return Schedule(settings, SHARES, {"gradients": settings.steps}, ("gradients", settings.sampling_rate))


def train_batch(stage: Stage) -> Trained:
    """Train a network by the semi-debiased Sinkhorn loss with privatised cross gradients.

    Each step draws n (1 + p) points; X are the first n, X' the last n. The mechanism releases the clipped gradient of
    ``W(X, Y)`` in X with noise; the self term ``-W(X, X') / 2`` holds no record, and its gradient is added exactly. It
    is clipped to the same norm: where both terms balance, their gradients are equal, and stay so.
    """
    mechanism, settings, cost, random = stage.mechanism, stage.settings, stage.cost, stage.random
    class_weights = stage.counts.clamp_min(1).float() / stage.counts.clamp_min(1).float().sum()
    network = make_network(
        network_name(stage.generator, stage.form), stage.form.network_shape, len(class_weights), random
    )
    network.to(stage.device)
    n_classes, n = len(class_weights), settings.points
    total = round(n * (1 + (settings.debias or 0)))
    scale = public_scale(cost, stage.form.n_encoded, random)
    clip = settings.clip or 0.5 * scale.force / math.sqrt(n)
    weight = settings.label_weight * math.sqrt(scale.cost) if n_classes > 1 else 0.0
    transport = {"reg": settings.reg * scale.cost, "cost": LabelledCost(cost, n_classes), "backend": stage.backend}
    optimiser = torch.optim.Adam(network.parameters(), settings.learning_rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    for _ in stage.progress("private steps")(range(settings.steps)):
        classes = torch.multinomial(class_weights, total, replacement=True, generator=random).to(network.device)
        generated = network(network.latents(total, random), classes)
        tagged = with_labels(generated.detach(), classes, n_classes, weight)
        gradient = torch.zeros_like(generated)
        gradient[:n] = mechanism.release(
            "gradients", CrossGradientQuery(tagged[:n], n_classes, weight, transport, clip), stage.source
        )
        if settings.debias is not None:
            own = self_gradient(tagged, settings.debias, transport)[:, : generated.shape[1]]
            gradient += own * clip_factors(own.norm()[None], clip)
        optimiser.zero_grad()
        generated.backward(gradient)
        optimiser.step()
        schedule.step()
    return Trained(network.cpu(), class_weights)


def self_gradient(generated, debias, transport):
    """Gradient of ``-W(X, X') / 2`` in all generated points, (n (1 + p), d); no private data."""
    generated = generated.requires_grad_()
    first, last = debias_pair(generated, debias)
    return torch.autograd.grad(-0.5 * entropic_cost(first, last, **transport), generated)[0]


class _Scale(NamedTuple):
    cost: float
    force: float


def public_scale(cost, d, random):
    """Mean cost, and root mean square gradient, between points spread evenly over the records' bounds, [0, 1]^d."""
    x, y = (cost.embed(torch.rand(64, d, generator=random)) for _ in range(2))
    matrix = cost.matrix(x, y)
    return _Scale(float(matrix.mean()), float(cost.squared_gradient_norms(x, y, matrix).mean().sqrt()))
