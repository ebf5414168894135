"""The batch mechanism: the paper's training loop, with its private part told apart from its public one.

Cao, Bie, Vahdat, Fidler, Kreis, "Don't Generate Me: Training Differentially Private Generative Models with Sinkhorn
Divergence", NeurIPS 2021, arXiv 2111.01177, algorithm 1.
"""

import math
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from sinkgen.data.facts import Facts
from sinkgen.generators.distill import distill
from sinkgen.generators.networks import make_network, network_name
from sinkgen.generators.product import stratified
from sinkgen.generators.space import Space
from sinkgen.ot import debias_pair, entropic_cost, with_labels
from sinkgen.privacy.queries.transport import CrossGradientQuery, LabelledCost
from sinkgen.privacy.query import clip_factors
from sinkgen.settings import Batch
from sinkgen.training.points.semidual import NORM_STEPS, find_space, plan_semidual, train_semidual
from sinkgen.training.stage import Schedule, Stage, Trained

SHARES = {"gradients": 0.98}
# With directions, which are found as the semidual mechanism finds them.
DIRECTION_SHARES = {"norms": 0.01, "mean": 0.01, "moments": 0.08, "gradients": 0.88}


def plan_batch(mu: float, facts: Facts, given: dict) -> Schedule:
    """Settings and releases, from public facts alone; the budget shows in the noise."""
    settings = Batch(**given)
    if settings.start is not None:
        return _plan_start(mu, facts, settings)
    steps = {"gradients": settings.steps} | ({"norms": NORM_STEPS} if settings.directions else {})
    shares = DIRECTION_SHARES if settings.directions else SHARES
    return Schedule(settings, shares, steps, ("gradients", settings.sampling_rate))


def _plan_start(mu, facts, settings):
    """Settings and releases where the semidual mechanism comes first."""
    share = settings.start_share
    first = plan_semidual(mu * math.sqrt(share), facts, settings.start.given())
    whole = math.fsum(first.shares.values())
    shares = {what: share * part / whole for what, part in first.shares.items()} | {"gradients": 1 - share}
    settings = replace(settings, start=first.settings)
    steps = {**first.steps, "gradients": settings.steps}
    return Schedule(settings, shares, steps, ("gradients", settings.sampling_rate))


def train_batch(stage: Stage) -> Trained:
    """Train a network by the semi-debiased Sinkhorn loss with privatised cross gradients."""
    loop = BatchLoop(stage)
    for step in stage.progress("private steps")(range(stage.settings.steps)):
        loop.step(step / stage.settings.steps)
    return Trained(loop.network.cpu(), loop.class_weights)


class BatchLoop:
    """The loop between two steps: a network, its optimiser, and what every step needs.

    Each step draws n (1 + p) points; X are the first n, X' the last n. The mechanism releases the clipped gradient of
    ``W(X, Y)`` in X with noise; the self term ``-W(X, X') / 2`` holds no record, and its gradient is added exactly. It
    is clipped to the same norm: where both terms balance, their gradients are equal, and stay so.

    Parameters
    ----------
    stage : Stage

    Attributes
    ----------
    network : Network
    class_weights : Tensor of shape (n_classes,)
    """

    def __init__(self, stage: Stage) -> None:
        self._stage, settings = stage, stage.settings
        counts = stage.counts.clamp_min(1).float()
        self.class_weights = counts / counts.sum()
        n_classes = len(counts)
        name = network_name(stage.generator, stage.form)
        self.network = make_network(name, stage.form.network_shape, n_classes, stage.random).to(stage.device)
        self._optimiser = torch.optim.Adam(
            self.network.parameters(), settings.learning_rate, betas=(float(settings.momentum), 0.99)
        )
        scale = public_scale(stage.cost, stage.form.n_encoded, stage.random)
        typical = 0.5 * scale.force / math.sqrt(settings.points)
        self._clip = typical if settings.clip == "auto" else settings.clip
        self._label_weight = settings.label_weight * math.sqrt(scale.cost) if n_classes > 1 else 0.0
        self._transport: dict[str, Any] = {
            "reg": settings.reg * scale.cost, "cost": LabelledCost(stage.cost, n_classes), "backend": stage.backend,
        }  # fmt: skip
        if settings.iterations is not None:
            self._transport |= {"tol": None, "max_iter": settings.iterations}
        self._space: Space | None = None
        space: Space | None = None
        if settings.start is not None:
            space = self._learn_start()
        elif settings.directions:
            space = find_space(stage).space
        if space is not None and settings.directions:
            self._space = Space(*(part.to(stage.device) for part in space))

    def _learn_start(self):
        """Release points by the semidual mechanism, bring the network to draw what they draw: their space."""
        stage = self._stage
        first = train_semidual(replace(stage, settings=stage.settings.start))
        distill(
            self.network, first.generator, first.class_weights,
            random=stage.random, backend=stage.backend, progress=stage.progress("public steps"),
        )  # fmt: skip
        return first.generator.space

    def step(self, done: float) -> None:
        """One private step.

        Parameters
        ----------
        done : float
            Share of the loop that is done, from 0 to 1, for the learning rate.
        """
        settings, n = self._stage.settings, self._stage.settings.points
        for group in self._optimiser.param_groups:
            group["lr"] = settings.learning_rate * (1 + math.cos(math.pi * done)) / 2
        classes = self._draw_classes().to(self._stage.device)
        generated = self.network(self.network.latents(len(classes), self._stage.random), classes)
        points = generated.detach()
        gradient = torch.zeros_like(points)
        gradient[:n] = self._private_gradient(points[:n], classes[:n])
        if settings.debias is not None:
            tagged = with_labels(points, classes, len(self.class_weights), self._label_weight)
            own = self_gradient(tagged, settings.debias, self._transport)[:, : points.shape[1]]
            gradient += own * clip_factors(own.norm()[None], self._clip)
        self._optimiser.zero_grad()
        generated.backward(gradient)
        self._optimiser.step()

    def _draw_classes(self):
        """Classes of the n (1 + p) points; where they are balanced, of X and of X' as often as they should come."""
        settings, random = self._stage.settings, self._stage.random
        more = round(settings.points * (settings.debias or 0))
        if not settings.balanced:
            return torch.multinomial(self.class_weights, settings.points + more, replacement=True, generator=random)
        first = stratified(self.class_weights, settings.points, random)
        first = first[torch.randperm(len(first), generator=random)]
        return torch.cat([first, first[:more]])

    def _private_gradient(self, points, classes):
        """Gradient of the cross term in all points, (n, D), released."""
        stage, space = self._stage, self._space
        query = CrossGradientQuery(
            points, classes, len(self.class_weights), self._label_weight, self._transport, self._clip,
            balanced=stage.settings.balanced, basis=None if space is None else space.basis,
        )  # fmt: skip
        gradient = stage.mechanism.release("gradients", query, stage.source)
        if space is None:
            return gradient
        offset = points - space.centre
        beyond = offset - offset @ space.basis @ space.basis.T
        return gradient @ space.basis.T + 2 / len(points) * beyond

    def state_dict(self) -> dict[str, Any]:
        """All that the next steps depend on, beside the stage."""
        return {
            "network": self.network.state_dict(), "optimiser": self._optimiser.state_dict(),
            "random": self._stage.random.get_state(), "space": self._space,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._stage.random.set_state(state["random"])
        self._space = state["space"]


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
