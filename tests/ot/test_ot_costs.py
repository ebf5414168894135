"""Costs: values and gradients against explicit single pairs, and bounds that are bounds."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sinkgen.ot import COSTS, Cost, FeatureCost, MixedCost, resolve_cost, with_labels
from sinkgen.ot.apart import stacked_costs, stacked_gradients

NAMED = [*COSTS, MixedCost(3.0)]
REFERENCES = {
    "sqeuclidean": lambda delta: (delta**2).sum(-1),
    "l1": lambda delta: delta.abs().sum(-1),
    "l1+l2": lambda delta: (delta**2).sum(-1) + delta.abs().sum(-1),
}


def points(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def reference(cost, delta):
    return REFERENCES[cost](delta) if isinstance(cost, str) else (delta**2).sum(-1) + 3 * delta.abs().sum(-1)


@pytest.mark.parametrize("cost", NAMED, ids=str)
@pytest.mark.parametrize(("n", "m", "d"), [(1, 1, 1), (7, 5, 3), (4, 30, 11)])
def test_matrix_is_the_cost_of_each_pair(cost, n, m, d):
    x, y = points(0, n, d), points(1, m, d)
    expected = reference(cost, x[:, None] - y[None])
    torch.testing.assert_close(resolve_cost(cost).matrix(x, y), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cost", NAMED, ids=str)
def test_weighted_gradient_is_that_of_autograd(cost):
    x, y, weights = points(0, 6, 4).requires_grad_(), points(1, 9, 4), points(2, 6, 9).abs()
    (expected,) = torch.autograd.grad((weights * reference(cost, x[:, None] - y[None])).sum(), x)
    actual = resolve_cost(cost).weighted_gradient(weights, x.detach(), y)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cost", NAMED, ids=str)
def test_weighted_gradient_takes_a_transposed_plan(cost):
    x, y, weights = points(0, 6, 4), points(1, 9, 4), points(2, 6, 9).abs()
    cost = resolve_cost(cost)
    expected = cost.weighted_gradient(weights.t().contiguous(), y, x)
    torch.testing.assert_close(cost.weighted_gradient(weights.t(), y, x), expected)


@pytest.mark.parametrize("cost", NAMED, ids=str)
@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    d=st.integers(1, 12),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
    offset=st.sampled_from([0.0, 1.0, 1e3]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_gradient_norms_are_bounded_for_every_pair(cost, seed, d, scale, offset, dtype):
    x, y = scale * points(seed, 3, d, dtype=dtype) + offset, scale * points(seed + 1, 4, d, dtype=dtype) + offset
    y[0] = x[0]
    y[1] = x[1] + 1e-6 * scale
    y[2, 0] = x[2, 0]
    resolved = resolve_cost(cost)
    bounds = resolved.squared_gradient_norms(x, y, resolved.matrix(x, y))
    for i in range(3):
        for j in range(4):
            point = x[i].double().requires_grad_()
            (gradient,) = torch.autograd.grad(reference(cost, point - y[j].double()), point)
            assert float(gradient.square().sum()) <= float(bounds[i, j])


@settings(deadline=None, derandomize=True, max_examples=30)
@given(seed=st.integers(0, 10**6), d=st.integers(1, 800))
def test_gradient_bound_of_squared_distance_is_hardly_above_it(seed, d):
    x, y = points(seed, 3, d), points(seed + 1, 4, d)
    cost = resolve_cost("sqeuclidean")
    matrix = cost.matrix(x, y)
    torch.testing.assert_close(cost.squared_gradient_norms(x, y, matrix), 4 * matrix, rtol=1e-9, atol=1e-9)


def test_squared_distance_is_never_negative():
    x = 100 + points(0, 50, 20, dtype=torch.float32)
    matrix = resolve_cost("sqeuclidean").matrix(x, x)
    assert bool((matrix >= 0).all())


def test_costs_never_hold_a_row_of_columns_of_coordinates(largest_tensor):
    """An (n, m, d) tensor here would have 2.2 million entries, the largest in need 60 thousand."""
    x, y, weights = points(0, 60, 300), points(1, 120, 300), points(2, 60, 120)
    with largest_tensor:
        for cost in map(resolve_cost, NAMED):
            cost.squared_gradient_norms(x, y, cost.matrix(x, y))
            cost.weighted_gradient(weights, x, y)
    assert largest_tensor.numel <= 120 * 300


def test_feature_map_is_a_frozen_copy_in_evaluation_mode():
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).double()
    cost = FeatureCost(module)
    x = points(0, 8, 3).requires_grad_()
    before = cost.embed(x)
    before.sum().backward()
    assert x.grad is not None
    assert module.training
    assert all(parameter.grad is None for parameter in module.parameters())
    with torch.no_grad():
        module[0].weight.zero_()
    torch.testing.assert_close(cost.embed(x), before)


def test_feature_map_must_give_a_row_a_point():
    with pytest.raises(ValueError, match=r"feature map must return shape \(8, k\)"):
        FeatureCost(torch.nn.Flatten(0)).embed(points(0, 8, 3))


def test_resolve_cost_takes_names_costs_and_modules():
    cost = MixedCost(2.0)
    assert resolve_cost(cost) is cost
    assert isinstance(resolve_cost(torch.nn.Identity()), FeatureCost)
    assert all(isinstance(resolve_cost(name), Cost) for name in COSTS)


@pytest.mark.parametrize("cost", ["l2", "", None, 3, MixedCost, lambda x, y: 0])
def test_resolve_cost_lists_what_is_allowed(cost):
    with pytest.raises((ValueError, TypeError), match=r"cost must be one of 'sqeuclidean', 'l1', 'l1\+l2'"):
        resolve_cost(cost)


@pytest.mark.parametrize("weight", [-1.0, float("nan")])
def test_mixed_cost_refuses_a_negative_weight(weight):
    with pytest.raises(ValueError, match="l1_weight"):
        MixedCost(weight)


def test_feature_cost_refuses_what_is_no_module():
    with pytest.raises(TypeError, match=r"module must be a torch\.nn\.Module"):
        FeatureCost(abs)


def test_labels_move_classes_apart_by_twice_the_squared_weight():
    x = with_labels(torch.zeros(3, 2, dtype=torch.float64), torch.tensor([0, 1, 1]), n_classes=4)
    assert x.shape == (3, 6)
    matrix = resolve_cost("sqeuclidean").matrix(x, x)
    expected = 2 * 15.0**2 * torch.tensor([[0, 1, 1], [1, 0, 0], [1, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(matrix, expected)


@pytest.mark.parametrize(
    ("labels", "n_classes", "weight", "match"),
    [
        (torch.tensor([0, 1]), 2, 15.0, "labels must be 3 integers"),
        (torch.tensor([0.0, 1.0, 1.0]), 2, 15.0, "labels must be 3 integers"),
        (torch.tensor([0, 1, 2]), 2, 15.0, "from 0 to n_classes - 1"),
        (torch.tensor([0, 1, -1]), 2, 15.0, "from 0 to n_classes - 1"),
        (torch.tensor([0, 1, 1]), 0, 15.0, "n_classes must be at least 1"),
        (torch.tensor([0, 1, 1]), 2, -1.0, "weight must lie"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, n_classes, weight, match):
    with pytest.raises(ValueError, match=match):
        with_labels(torch.zeros(3, 2), labels, n_classes, weight)


@pytest.mark.parametrize("cost", NAMED, ids=str)
def test_costs_of_many_problems_are_those_of_each(cost):
    x, y, plan = points(0, 3, 4, 5), points(1, 3, 6, 5), points(2, 3, 4, 6).abs()
    cost = resolve_cost(cost)
    matrices = torch.stack([cost.matrix(*pair) for pair in zip(x, y, strict=True)])
    gradients = torch.stack([cost.weighted_gradient(*each) for each in zip(plan, x, y, strict=True)])
    torch.testing.assert_close(stacked_costs(cost, x, y), matrices, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(stacked_gradients(cost, plan, x, y), gradients, rtol=1e-12, atol=1e-12)
