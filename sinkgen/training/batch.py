"""The batch mechanism: the paper's training loop, with its private part told apart from its public one.

Cao, Bie, Vahdat, Fidler, Kreis, "Don't Generate Me: Training Differentially Private Generative Models with Sinkhorn
Divergence", NeurIPS 2021, arXiv 2111.01177, algorithm 1.
"""

import math
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch

from sinkgen.data.facts import Facts
from sinkgen.generators.distill import distill
from sinkgen.generators.networks import make_network, network_name
from sinkgen.generators.product import stratified
from sinkgen.generators.space import Space
from sinkgen.ot.costs import is_plain
from sinkgen.privacy.queries.transport import CrossGradientQuery
from sinkgen.records import Records
from sinkgen.settings import Batch
from sinkgen.settings.batch import can_part_classes
from sinkgen.training.points.semidual import NORM_STEPS, _measured, find_space, plan_semidual, train_semidual
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
    ``W(X, Y)`` in X with noise. The self term ``-W(X, X') / 2`` holds no record. Its gradient in both places is, on
    average, minus that of ``W(X, X')`` in X with X' held: the same query, put to the network's own draws, exact.
    Clipped alike, both are equal on average where the network draws what the records are.

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
        shape, latent_dim = stage.form.network_shape, settings.latent_dim
        self.network = make_network(name, shape, n_classes, stage.random, latent_dim).to(stage.device)
        self._optimiser = torch.optim.Adam(
            self.network.parameters(), settings.learning_rate, betas=(float(settings.momentum), 0.99),
            fused=stage.device.type in ("cpu", "cuda"),
        )  # fmt: skip
        scale = public_scale(stage.cost, stage.form.n_encoded, stage.random)
        self._microbatches = microbatches(settings, float(counts.sum()))
        self._label_weight = label_weight(settings, stage.cost)
        clipped_apart = n_classes if self._label_weight is None else 1
        typical = 0.5 * scale.force / math.sqrt(settings.points * clipped_apart)
        self._clip = typical if settings.clip == "auto" else settings.clip
        if self._label_weight is not None:
            self._label_weight *= math.sqrt(scale.cost) if n_classes > 1 else 0.0
        self._transport: dict[str, Any] = {
            "reg": settings.reg * scale.cost, "cost": stage.cost, "backend": stage.backend,
        }  # fmt: skip
        if settings.iterations is not None:
            self._transport |= {"tol": None, "max_iter": settings.iterations}
        self._source = stage.source
        space: Space | None = None
        if settings.start is not None:
            space = self._learn_start()
        elif settings.directions:
            space = find_space(stage).space
        self._space: Space | None = None
        if space is not None and settings.directions:
            self._settle(space)

    def _settle(self, space):
        """Measure records and points by their coordinates in released directions, and all lengths in units of these."""
        self._space = Space(*(part.to(self._stage.device) for part in space))
        self._source = self._stage.source.map(partial(_measured, space.project))
        unit = float(space.weights[0])
        self._clip *= unit
        self._transport["reg"] *= unit**2
        if self._label_weight is not None:
            self._label_weight *= unit

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
        measured = points if self._space is None else self._space.project(points)
        query = self._query(measured[:n], classes[:n])
        cross = self._stage.mechanism.release("gradients", query, self._source) / self._microbatches
        gradient = cross if settings.debias is None else cross + self_gradient(query, measured, classes)
        if self._space is not None:
            gradient = lifted(gradient, points[:n], self._space)
        self._optimiser.zero_grad()
        generated[:n].backward(gradient)
        self._optimiser.step()

    def _query(self, points, classes):
        return CrossGradientQuery(
            points, classes, len(self.class_weights), self._label_weight, self._transport, self._clip,
            balanced=self._stage.settings.balanced, microbatches=self._microbatches,
        )  # fmt: skip

    def _draw_classes(self):
        """Classes of X and of what is drawn afresh; where they are balanced, as often as they should come."""
        settings, random = self._stage.settings, self._stage.random
        fresh = round(settings.points * (settings.debias or 0))
        if not settings.balanced:
            total = settings.points + fresh
            return torch.multinomial(self.class_weights, total, replacement=True, generator=random)
        first = stratified(self.class_weights, settings.points, random)
        first = first[torch.randperm(len(first), generator=random)]
        return torch.cat([first, first[:fresh]])

    def state_dict(self) -> dict[str, Any]:
        """All that the next steps depend on, beside the stage."""
        return {
            "network": self.network.state_dict(), "optimiser": self._optimiser.state_dict(),
            "random": self._stage.random.get_state(),
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._stage.random.set_state(state["random"])


def label_weight(settings, cost):
    """Weight of labels, as a share of the typical distance; None where each class is transported by itself."""
    if settings.label_weight != "auto":
        return settings.label_weight
    return None if is_plain(cost) and can_part_classes(settings) else 1.5


def microbatches(settings, n_records):
    """Parts of a batch: as many as give each as many records as there are points.

    Examples
    --------
    >>> microbatches(Batch(sampling_rate=0.02, points=60), 60_000.0), microbatches(Batch(sampling_rate=1.0), 60_000.0)
    (20, 1)
    """
    if settings.microbatches != "auto":
        return settings.microbatches
    if settings.sampling_rate == 1:
        return 1
    return max(1, round(settings.sampling_rate * n_records / settings.points))


def self_gradient(query, points, classes):
    """Gradient of ``-W(X, X')`` in X, (n, d), by the query that is put to the records; no private data.

    Parameters
    ----------
    query : CrossGradientQuery
        Of the points X, the first n of all.
    points : Tensor of shape (n (1 + p), d)
    classes : LongTensor of shape (n (1 + p),)
    """
    last = slice(len(points) - len(query.points), None)
    own = torch.zeros(len(query.points), dtype=torch.long)
    return -query.gradient(Records(points[last], classes[last]), own, 1).to(points)


def lifted(gradient, points, space):
    """Gradient in points, of that in their coordinates; beyond these they are drawn to the released mean."""
    offset = points - space.centre
    beyond = offset - offset @ space.basis @ space.basis.T
    return gradient @ space.basis.T / space.weights + 2 / len(points) * beyond


class _Scale(NamedTuple):
    cost: float
    force: float


def public_scale(cost, d, random):
    """Mean cost, and root mean square gradient, between points spread evenly over the records' bounds, [0, 1]^d."""
    x, y = (cost.embed(torch.rand(64, d, generator=random)) for _ in range(2))
    matrix = cost.matrix(x, y)
    return _Scale(float(matrix.mean()), float(cost.squared_gradient_norms(x, y, matrix).mean().sqrt()))
