"""Stage B: a network learns what was released, by the Sinkhorn divergence; no record, no cost, as often as wanted."""

import copy
import math

import torch

from sinkgen._device import sent
from sinkgen.ot import debias_pair, entropic_cost, with_labels

STEPS = 1500
BATCH = 128
DEBIAS = 0.2
REG = 0.02
LEARNING_RATE = 2e-3


def distill(network, particles, class_weights, *, random, backend="torch", progress=iter):
    """Train ``network`` in place to draw what ``particles`` draws.

    Parameters
    ----------
    network : Network
    particles : Particles
        The released mixture.
    class_weights : Tensor of shape (n_classes,)
        Zero weights are classes without records.
    random : torch.Generator
    backend : str
    progress : callable
        Wraps the range of steps.

    References
    ----------
    .. [1] Genevay, Peyre, Cuturi, "Learning Generative Models with Sinkhorn Divergences", arXiv 1706.00292.
    """
    home, n_classes = network.device, len(class_weights)
    particles = copy.deepcopy(particles).to(home)
    total = round(BATCH * (1 + DEBIAS))
    sample = particles.draw(torch.multinomial(class_weights, 512, True, generator=random), random)
    scale = 2 * float(sample.var(0).sum()) + 1e-12
    weight = math.sqrt(2 * scale) if n_classes > 1 else 0.0
    optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE, betas=(0.5, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for _ in progress(range(STEPS)):
        labels = torch.multinomial(class_weights, total, True, generator=random)
        drawn, labels = particles.draw(labels[:BATCH], random), sent(labels, home)
        target = with_labels(drawn, labels[:BATCH], n_classes, weight)
        generated = with_labels(network(network.latents(total, random), labels), labels, n_classes, weight)
        x, x_self = debias_pair(generated, DEBIAS)
        loss = entropic_cost(x, target, REG * scale, backend=backend)
        loss = loss - 0.5 * entropic_cost(x, x_self, REG * scale, backend=backend)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
