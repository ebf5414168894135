"""The two training loops and stage B, at the level of their algorithms."""

import copy
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from stages import make_stage

from sinkgen import DPSinkhornGenerator
from sinkgen.accounting import GaussianRelease
from sinkgen.data.formats import numeric_format
from sinkgen.exceptions import ReproducibleNoiseWarning
from sinkgen.generators.distill import distill
from sinkgen.generators.networks import MLP, make_network
from sinkgen.generators.particles import Particles, PointMixture
from sinkgen.generators.space import Space
from sinkgen.ot import debias_pair, entropic_cost, resolve_cost, sinkhorn_divergence
from sinkgen.privacy.mechanism import GaussianMechanism
from sinkgen.privacy.queries.moments import CountQuery
from sinkgen.privacy.queries.transport import CrossGradientQuery
from sinkgen.records import ArraySource, ChunkedSource, Records
from sinkgen.settings import Batch, Semidual
from sinkgen.training.batch import BatchLoop, self_gradient, train_batch
from sinkgen.training.points.semidual import (
    NORM_STEPS,
    auto_steps,
    averaged_steps,
    is_averaging,
    reg_at,
    self_displacement,
    train_semidual,
)
from sinkgen.training.points.support import FreePoints, ParametricPoints
from sinkgen.training.points.variation import Explained, Offsets, Seen, find_scales


def ring(n, seed=0):
    """Records on two rings in [0, 1]^2, one a class."""
    random = np.random.default_rng(seed)
    angle, labels = random.uniform(0, 2 * math.pi, n), random.integers(0, 2, n)
    radius = np.where(labels, 0.4, 0.15)
    values = 0.5 + np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    return torch.tensor(values, dtype=torch.float32), torch.tensor(labels)


def semidual(source, counts, noise=0.0, seed=0, **given):
    settings = Semidual(**{"steps": 15, "moments": 0.1, "features": 0.0, **given})
    rows = [GaussianRelease(name, noise) for name in ("mean", "moments", "scales", "radii", "residuals")]
    rows += [GaussianRelease("norms", noise, 1.0, NORM_STEPS), GaussianRelease("points", noise, 1.0, settings.steps)]
    mechanism = GaussianMechanism(rows, noise_seed=seed)
    form = numeric_format(np.zeros((1, 2)), schema=(0, 1))
    particles = train_semidual(make_stage(source, counts, form, mechanism, settings)).generator
    return particles.mixture, particles.space


def test_semidual_puts_its_points_on_the_records():
    values, labels = ring(4000)
    mixture, space = semidual(ArraySource(values, labels), torch.bincount(labels).double())
    points = space.lift(mixture.points) - 0.5
    for label, radius in ((0, 0.15), (1, 0.4)):
        own = points[mixture.classes == label].norm(dim=1)
        assert float((own - radius).abs().mean()) < 0.02
    assert float(mixture.class_weights.sum()) == pytest.approx(1)


def test_semidual_is_the_same_for_every_way_to_chunk_the_records():
    values, labels = ring(900)
    counts = torch.bincount(labels).double()
    whole, _ = semidual(ArraySource(values, labels), counts, noise=30.0)
    small, _ = semidual(ArraySource(values, labels, chunk_size=64), counts, noise=30.0)

    def read():
        return (Records(values[i : i + 100], labels[i : i + 100]) for i in range(0, 900, 100))

    streamed, _ = semidual(ChunkedSource(read), counts, noise=30.0)
    for other in (small, streamed):
        # float32 sums in another order; the softmax of a small reg makes a little more of it
        torch.testing.assert_close(other.points, whole.points, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(other.mass, whole.mass, rtol=1e-3, atol=0.1)


def test_points_become_fewer_as_noise_grows():
    values, labels = ring(900)
    counts = torch.bincount(labels).double()
    sizes = [len(semidual(ArraySource(values, labels), counts, noise=noise)[0].points) for noise in (1.0, 20.0, 5000.0)]
    assert sizes[0] > sizes[1] > sizes[2] == 2


def test_annealing_ends_where_averaging_begins():
    settings = Semidual(steps=10)
    regs = [reg_at(settings, step) for step in range(10)]
    assert regs[0] == 0.1
    assert regs[6:] == pytest.approx([0.01] * 4)
    assert regs == sorted(regs, reverse=True)
    assert [is_averaging(settings, step) for step in (5, 6)] == [False, True]
    assert averaged_steps(settings) == 4


def test_little_budget_means_few_steps():
    assert [auto_steps(mu) for mu in (0.0, 0.06, 0.27, 2.0, math.inf)] == sorted(
        auto_steps(mu) for mu in (0.0, 0.06, 0.27, 2.0, math.inf)
    )
    assert auto_steps(0.0) == 3
    assert auto_steps(math.inf) == 25


def test_the_self_term_pushes_points_apart_as_its_gradient_says():
    points = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    classes = torch.tensor([0, 0, 0, 0, 1, 1])
    moved = self_displacement(points, classes, 0.8, resolve_cost("sqeuclidean"), "torch")
    for rows in (slice(0, 4), slice(4, 6)):
        x = points[rows].clone().requires_grad_()
        value = entropic_cost(x, x.detach(), 0.8, tol=1e-9)
        (gradient,) = torch.autograd.grad(value, x)
        torch.testing.assert_close(moved[rows], -0.5 * len(x) * gradient, rtol=5e-3, atol=5e-3)


def test_the_self_term_undoes_the_blur_of_a_large_reg():
    values, labels = ring(4000)
    spread = {}
    for debias in (False, True):
        mixture, space = semidual(
            ArraySource(values, labels), torch.bincount(labels).double(), reg=(0.5, 0.5), debias=debias, steps=25
        )
        outer = space.lift(mixture.points)[mixture.classes == 1] - 0.5
        spread[debias] = float(outer.norm(dim=1).mean())
    assert spread[False] < 0.31
    assert 0.37 < spread[True] < 0.43


def test_parametric_points_follow_their_target():
    weights = torch.zeros(4, 2, requires_grad=True)
    support = ParametricPoints(lambda: torch.tanh(weights), [weights], inner_steps=300)
    target = torch.tensor([[0.5, -0.5]] * 4)
    support.fit(target, torch.ones(4))
    torch.testing.assert_close(support.points(), target, rtol=0.05, atol=0.02)
    free = FreePoints(torch.zeros(4, 2))
    free.fit(target, torch.ones(4))
    assert torch.equal(free.points(), target)


# --- batch -----------------------------------------------------------------------------------------------------------


def batch(debias, steps=250, learning_rate=5e-3, **given):
    values, labels = ring(2000)
    settings = Batch(steps=steps, sampling_rate=0.1, debias=debias, learning_rate=learning_rate, **given)
    mechanism = GaussianMechanism([GaussianRelease("gradients", 0.0, 0.1, steps)], noise_seed=0)
    form, counts = numeric_format(np.zeros((1, 2)), schema=(0, 1)), torch.tensor([1000.0, 1000.0])
    network = train_batch(make_stage(ArraySource(values, labels), counts, form, mechanism, settings)).generator
    drawn = network.draw(torch.zeros(300, dtype=torch.long), torch.Generator().manual_seed(1))
    return sinkhorn_divergence(drawn, values[labels == 0][:500], 0.01).item(), network


# Without a self term points shrink towards the middle, and with one on independent points they are noisy.
@pytest.mark.parametrize(("debias", "share"), [(None, 0.8), (0.0, 0.4), (0.2, 0.4), (1.0, 0.8)])
def test_the_papers_loop_learns(debias, share):
    untrained, _ = batch(debias, steps=1, learning_rate=1e-9)
    assert batch(debias)[0] < share * untrained


def test_a_network_may_start_at_what_the_other_mechanism_released(monkeypatch):
    """Before its first step that counts it draws nearly what the points draw."""
    monkeypatch.setattr("sinkgen.generators.distill.STEPS", 200)
    values, labels = ring(2000)
    form, counts = numeric_format(np.zeros((1, 2)), schema=(0, 1)), torch.tensor([1000.0, 1000.0])
    settings = Batch(
        steps=1, sampling_rate=0.1, learning_rate=1e-9, start=Semidual(steps=10, moments=0.1, features=0.0)
    )
    names = {"norms": 2, "mean": 1, "moments": 1, "points": 10, "residuals": 1, "scales": 1, "radii": 1}
    releases = [GaussianRelease(what, 0.0, 1.0, steps) for what, steps in names.items()]
    mechanism = GaussianMechanism([*releases, GaussianRelease("gradients", 0.0, 0.1, 1)], noise_seed=0)
    network = train_batch(make_stage(ArraySource(values, labels), counts, form, mechanism, settings)).generator
    drawn = network.draw(torch.zeros(300, dtype=torch.long), torch.Generator().manual_seed(1))
    started = sinkhorn_divergence(drawn, values[labels == 0][:500], 0.01).item()
    assert started < 0.2 * batch(0.2, steps=1, learning_rate=1e-9)[0]


@pytest.mark.parametrize("balanced", [False, True])
def test_a_class_that_a_batch_has_too_many_of_is_brought_to_its_own_points_where_classes_are_balanced(balanced):
    """Two points of each class on their records; a batch of one class alone moves the other's points, or does not."""
    points, classes = torch.tensor([[0.1], [0.1], [0.9], [0.9]]), torch.tensor([0, 0, 1, 1])
    transport = {"reg": 0.01, "cost": resolve_cost("sqeuclidean"), "backend": "torch"}
    query = CrossGradientQuery(points, classes, 2, 3.0, transport, 10.0, balanced=balanced)
    both = Records(torch.tensor([[0.2], [0.2], [0.2], [0.7]]), torch.tensor([0, 0, 0, 1]))
    one = both.take(slice(0, 3))
    of_both, of_one = (query.evaluate([batch]).view(4) for batch in (both, one))
    if balanced:  # each point to a record of its class: 2 (x - y) / 4
        torch.testing.assert_close(of_both, torch.tensor([-0.05, -0.05, 0.1, 0.1]).double(), rtol=0.01, atol=1e-4)
        torch.testing.assert_close(of_one, torch.tensor([-0.05, -0.05, 0.0, 0.0]).double(), rtol=0.01, atol=1e-4)
    else:  # half of the second class's mass comes from the first; of one class, all
        assert float(of_both[2:].sum()) > 0.25
        assert float(of_one[2:].sum()) > 0.6


def test_directions_hold_the_private_gradient_and_the_mean_the_rest(monkeypatch):
    """Of four columns two are directions: the release has twice as many numbers as points, and no noise lies beyond."""
    centre = torch.tensor([0.5, 0.5, 0.3, 0.3])
    space = Space(centre, torch.ones(4), torch.eye(4)[:, :2])
    monkeypatch.setattr("sinkgen.training.batch.find_space", lambda stage: SimpleNamespace(space=space))
    values, labels = ring(2000)
    settings = Batch(steps=1, sampling_rate=0.1, points=6, microbatches=1, debias=None, directions=True, clip=100.0)
    mechanism, released = GaussianMechanism([GaussianRelease("gradients", 1.0, 0.1, 1)], noise_seed=0), []
    mechanism.release = lambda what, query, source: released.append(query) or torch.full(query.shape, 7.0)
    form, counts = numeric_format(np.zeros((1, 4)), schema=(0, 1)), torch.tensor([1000.0, 1000.0])
    source = ArraySource(torch.cat([values, torch.full_like(values, 0.3)], 1), labels)
    loop, seen = BatchLoop(make_stage(source, counts, form, mechanism, settings)), []
    forward = loop.network.forward

    def watched(latents, classes):
        points = forward(latents, classes)
        points.register_hook(lambda gradient: seen.append((points.detach().clone(), gradient.clone())))
        return points

    loop.network.forward = watched
    loop.step(0.0)
    (query,), ((points, gradient),) = released, seen
    assert query.shape == (6, 2)
    torch.testing.assert_close(gradient[:, :2], torch.full((6, 2), 7.0))
    torch.testing.assert_close(gradient[:, 2:], 2 / 6 * (points - centre)[:, 2:])


def test_a_loop_goes_on_from_its_state():
    """As many steps in two processes as in one: the same network, of the same releases."""
    values, labels = ring(500)
    form, counts = numeric_format(np.zeros((1, 2)), schema=(0, 1)), torch.tensor([250.0, 250.0])
    settings, source = Batch(steps=6, sampling_rate=0.2, points=6), ArraySource(values, labels)

    def loop():
        mechanism = GaussianMechanism([GaussianRelease("gradients", 0.0, 0.2, 6)], noise_seed=0)
        return BatchLoop(make_stage(source, counts, form, mechanism, settings)), mechanism

    (whole, _), (second, second_mechanism) = loop(), loop()
    for step in range(3):
        whole.step(step / 6)
    state = copy.deepcopy(whole.state_dict())
    for _ in range(3):
        second_mechanism.release("gradients", CountQuery(2), source)
    second.load_state_dict(state)
    for each in (whole, second):
        for step in range(3, 6):
            each.step(step / 6)
    for one, other in zip(whole.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_every_step_of_the_papers_loop_is_charged():
    mechanism = GaussianMechanism([GaussianRelease("gradients", 1.0, 1e-6, 5)])
    source = ArraySource(torch.rand(3, 2), torch.zeros(3, dtype=torch.long))
    settings, form = Batch(steps=6, sampling_rate=1e-6), numeric_format(np.zeros((1, 2)), schema=(0, 1))
    with pytest.raises(RuntimeError, match="all its steps are used"):
        train_batch(make_stage(source, torch.ones(1), form, mechanism, settings, cost=resolve_cost("l1")))


@pytest.mark.parametrize("label_weight", [None, 0.0])
@pytest.mark.parametrize("debias", [0.0, 0.4, 1.0])
def test_the_self_gradient_is_on_average_that_of_the_semi_debiased_loss(debias, label_weight):
    """What was drawn afresh and what it takes the place of are alike: with both orders, the gradient is the loss's."""
    x = torch.randn(round(10 * (1 + debias)), 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    transport = {"reg": 0.5, "cost": resolve_cost("sqeuclidean"), "backend": "torch", "tol": None, "max_iter": 9000}
    fresh, classes = len(x) - 10, torch.zeros(len(x), dtype=torch.long)
    swapped = torch.cat([torch.arange(10, len(x)), torch.arange(fresh, 10), torch.arange(fresh)])
    whole, expected = x.clone().requires_grad_(), torch.zeros_like(x)
    first, last = debias_pair(whole, debias)
    (loss,) = torch.autograd.grad(-0.5 * entropic_cost(first, last, 0.5, tol=1e-9), whole)
    for order in (torch.arange(len(x)), swapped):
        own = CrossGradientQuery(x[order[:10]], classes[:10], 1, label_weight, transport, 1e6)
        expected[order[:10]] += 0.5 * self_gradient(own, x[order], classes)
    torch.testing.assert_close(expected, loss, rtol=1e-4, atol=1e-6)


# --- stage B and networks --------------------------------------------------------------------------------------------


def test_a_network_learns_the_released_mixture(monkeypatch):
    monkeypatch.setattr("sinkgen.generators.distill.STEPS", 300)
    mixture = PointMixture(
        torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0, 1]), torch.ones(3),
        torch.stack([0.1 * torch.eye(2)] * 2), torch.zeros(2, 0), torch.zeros(2, 0, 0), torch.zeros(2),
        torch.tensor([0.7, 0.3]),
    )  # fmt: skip
    particles = Particles(mixture, Space(torch.full((2,), 0.5), torch.full((2,), 6.0), torch.eye(2)), *[None] * 3)
    random = torch.Generator().manual_seed(0)
    network = make_network("mlp", (2,), 2, random)
    distill(network, particles, mixture.class_weights, random=random)
    labels = torch.tensor([0] * 200 + [1] * 200)
    one, other = network.draw(labels, random), particles.draw(labels, random)
    for rows in (slice(0, 200), slice(200, 400)):
        assert sinkhorn_divergence(one[rows], other[rows], 0.001).item() < 0.004


def test_networks_start_from_their_own_stream():
    first, second = (make_network("conv", (6, 5), 2, torch.Generator().manual_seed(4)) for _ in range(2))
    labels = torch.tensor([0, 1])
    drawn = [network.draw(labels, torch.Generator().manual_seed(0)) for network in (first, second)]
    assert torch.equal(*drawn)
    assert drawn[0].shape == (2, 30)


@pytest.mark.parametrize("name", ["dcgan", "biggan"])
@pytest.mark.parametrize("shape", [(8, 8), (7, 5, 3)])
def test_the_papers_networks_make_images_of_any_size(name, shape):
    network = make_network(name, shape, 2, torch.Generator().manual_seed(4))
    random = torch.Generator().manual_seed(0)
    latents = network.latents(6, random)
    assert latents.shape[1] == {"dcgan": 16, "biggan": 32}[name]
    images = network(latents, torch.tensor([0, 1] * 3)).view(6, *shape)
    assert 0 <= float(images.detach().min()) < float(images.detach().max()) <= 1
    images.sum().backward()
    assert all(part.grad is not None for part in network.parameters())
    labels = torch.tensor([0, 0, 1])
    drawn = network.draw(labels, torch.Generator().manual_seed(1))
    again = network.draw(torch.tensor([0, 0, 0]), torch.Generator().manual_seed(1))
    torch.testing.assert_close(drawn[:2], again[:2])  # a draw neither moves a norm's mean nor depends on other draws
    assert not torch.allclose(drawn[2], again[2])
    with pytest.raises(ValueError, match=f"generator='{name}' makes images"):
        make_network(name, (9,), 2, random)


def test_networks_use_latents_and_classes():
    network = make_network(MLP, (3,), 2, torch.Generator().manual_seed(0))
    latents = network.latents(4, torch.Generator().manual_seed(0))
    zeros, ones = torch.zeros(4, dtype=torch.long), torch.ones(4, dtype=torch.long)
    assert not torch.allclose(network(latents, zeros), network(latents, ones))
    assert not torch.allclose(network(latents, zeros)[0], network(latents, zeros)[1])


def scaled(noise):
    """Scales of two points that serve 2,000 records each, of which one's lie eight times as far away."""
    points, labels = torch.tensor([[0.25, 0.5], [0.75, 0.5]]), torch.zeros(4000, dtype=torch.long)
    spread = torch.tensor([0.01, 0.08]).repeat_interleave(2000)[:, None]
    around = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0))
    source = ArraySource(points.repeat_interleave(2000, 0) + spread * around, labels)
    mechanism = GaussianMechanism([GaussianRelease("scales", noise)], noise_seed=0)
    form = numeric_format(np.zeros((1, 2)), schema=(0, 1))
    stage = make_stage(source, torch.tensor([4000.0]).double(), form, mechanism, None)
    space = Space(torch.zeros(2), torch.ones(2), torch.eye(2))
    cost = resolve_cost("sqeuclidean")
    seen = Seen(cost, space.project, points)
    offsets = Offsets(points, torch.zeros(2, dtype=torch.long), seen, torch.zeros(2), space)
    explained = Explained.of(stage.source, offsets, None)
    return find_scales(stage, explained, offsets.classes, torch.full((2,), 0.003))


def test_each_point_varies_as_far_as_its_own_records_do():
    narrow, wide = scaled(1.0)
    assert wide / narrow == pytest.approx(8, rel=0.1)


def test_where_noise_hides_how_far_all_points_vary_alike():
    torch.testing.assert_close(scaled(1e5), torch.ones(2), atol=0.3, rtol=0)


@pytest.mark.parametrize("seed", [1, 2, 4])
def test_images_whose_texture_is_nothing_at_all_are_fitted(seed):
    X = np.random.default_rng(0).integers(0, 256, (300, 28, 28)).astype(np.uint8)
    with pytest.warns(ReproducibleNoiseWarning):
        gen = DPSinkhornGenerator(10, random_state=0, noise_seed=seed, steps=5).fit(X)
    assert abs(gen.sample(50, random_state=0).mean() - 127.5) < 5
