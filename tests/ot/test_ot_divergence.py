"""Losses: values, gradients against finite differences and POT, and what autograd may expect of them."""

import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sinkgen.ot import (
    BACKENDS,
    FeatureCost,
    MixedCost,
    debias_pair,
    entropic_cost,
    resolve_cost,
    sinkhorn_divergence,
    streamed,
)

COSTS = ["sqeuclidean", "l1", "l1+l2", MixedCost(3.0)]
PRECISE = {"tol": 1e-12, "max_iter": 50000}


def points(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def weights(seed, n):
    return torch.softmax(points(seed, n), 0)


def value_and_gradient(loss, x):
    x = x.detach().requires_grad_()
    value = loss(x)
    return value.detach(), torch.autograd.grad(value, x)[0]


@pytest.mark.parametrize(("n", "m", "d"), [(1, 1, 2), (8, 8, 1), (6, 13, 4), (30, 20, 9)])
@pytest.mark.parametrize("cost", COSTS, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_backends_agree_on_value_and_gradient(n, m, d, cost, weighted):
    x, y = points(0, n, d), points(1, m, d) + 0.3
    a, b = (weights(2, n), weights(3, m)) if weighted else (None, None)

    def loss(backend):
        return lambda x: entropic_cost(x, y, 0.7, a=a, b=b, cost=cost, backend=backend, **PRECISE)

    (value, gradient), *others = [value_and_gradient(loss(backend), x) for backend in BACKENDS]
    for other_value, other_gradient in others:
        assert abs(float(value - other_value)) < 1e-8
        assert float((gradient - other_gradient).abs().max()) < 1e-8


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("n", "m", "reg"), [(7, 9, 0.5), (12, 5, 3.0)])
def test_agrees_with_pot_solve_sample(backend, n, m, reg):
    x, y, a, b = points(0, n, 3), points(1, m, 3), weights(2, n), weights(3, m)
    value, gradient = value_and_gradient(lambda x: entropic_cost(x, y, reg, a=a, b=b, backend=backend, **PRECISE), x)
    expected, pot_gradient = value_and_gradient(
        lambda x: ot.solve_sample(x, y, a, b, reg=reg, reg_type="KL", grad="envelope", tol=1e-13, max_iter=50000).value,
        x,
    )
    assert abs(float(value - expected)) < 1e-8
    assert float((gradient - pot_gradient).abs().max()) < 1e-8


@pytest.mark.parametrize("cost", [*COSTS, "features"], ids=str)
def test_gradient_is_that_of_finite_differences(cost):
    if cost == "features":
        cost = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh()).double()
    x, y = points(0, 4, 2).requires_grad_(), points(1, 5, 2).requires_grad_()
    b = weights(3, 5)
    assert torch.autograd.gradcheck(lambda x, y: entropic_cost(x, y, 0.5, b=b, cost=cost, **PRECISE), (x, y))


@pytest.mark.parametrize("cost", ["sqeuclidean", "l1+l2"])
def test_gradient_of_points_against_themselves_counts_both_places(cost):
    x = points(0, 5, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: entropic_cost(x, x, 0.5, cost=cost, **PRECISE), x)
    a = weights(1, 5)
    assert torch.autograd.gradcheck(lambda x: entropic_cost(x, x, 0.5, a=a, b=a, cost=cost, **PRECISE), x)
    assert torch.autograd.gradcheck(lambda x: entropic_cost(x, x, 0.5, a=a, cost=cost, **PRECISE), x)


@pytest.mark.parametrize("debias", [0.0, 0.5, 1.0, None])
def test_gradient_of_the_divergence_is_that_of_finite_differences(debias):
    x, y, a = points(0, 6, 2).requires_grad_(), points(1, 5, 2).requires_grad_(), weights(2, 6)
    assert torch.autograd.gradcheck(lambda x: sinkhorn_divergence(x, y, 0.5, debias=debias, **PRECISE), x)
    assert torch.autograd.gradcheck(lambda x, y: sinkhorn_divergence(x, y, 0.5, a=a, debias=debias, **PRECISE), (x, y))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("debias", [0.0, 0.5, 1.0])
def test_divergence_is_its_three_terms(backend, debias):
    x, y = points(0, 6, 2), points(1, 5, 2)
    x1, x2 = debias_pair(x, debias)

    def term(x, y):
        return entropic_cost(x, y, 0.5, backend=backend, **PRECISE)

    expected = term(x1, y) - (term(x1, x2.clone()) + term(y, y.clone())) / 2
    actual = sinkhorn_divergence(x, y, 0.5, debias=debias, backend=backend, **PRECISE)
    assert abs(float(actual - expected)) < 1e-8


@pytest.mark.parametrize(
    ("rows", "debias", "n"), [(10, 0.0, 10), (10, 1.0, 5), (12, 0.2, 10), (60, 0.2, 50), (1, 1.0, 1)]
)
def test_rows_are_shared_by_the_fraction(rows, debias, n):
    x = torch.arange(rows)
    first, second = debias_pair(x, debias)
    assert first.tolist() == list(range(n))
    assert second.tolist() == list(range(rows - n, rows))


@settings(deadline=None, derandomize=True, max_examples=30)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 12), m=st.integers(1, 12), d=st.integers(1, 5))
def test_divergence_is_positive_symmetric_and_zero_at_equality(seed, n, m, d):
    x, y = points(seed, n, d), points(seed + 1, m, d)
    forth, back = (sinkhorn_divergence(*pair, 1.0, tol=1e-10, max_iter=20000) for pair in ((x, y), (y, x)))
    assert float(forth) > -1e-8
    torch.testing.assert_close(forth, back, rtol=1e-7, atol=1e-7)
    assert abs(float(sinkhorn_divergence(x, x.clone(), 1.0, tol=1e-10, max_iter=20000))) < 1e-8


@settings(deadline=None, derandomize=True, max_examples=20)
@given(seed=st.integers(0, 10**6), shift=st.floats(-3, 3))
def test_divergence_of_a_shift_is_its_square(seed, shift):
    x = points(seed, 8, 2)
    value = sinkhorn_divergence(x, x + shift, 0.5, tol=1e-10, max_iter=20000)
    torch.testing.assert_close(float(value), 2 * shift**2, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("cost", [*COSTS, "features"], ids=str)
@pytest.mark.parametrize("rows", [1, 4, 7])
@pytest.mark.parametrize("weighted", [False, True])
def test_blocks_of_rows_give_the_value_and_gradient_of_the_whole_matrix(cost, rows, weighted):
    if cost == "features":
        cost = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh()).double()
    x, y = points(0, 9, 3).requires_grad_(), (points(1, 11, 3) + 0.3).requires_grad_()
    a, b = (weights(2, 9), weights(3, 11)) if weighted else (None, None)
    if weighted:
        a[4] = b[0] = 0
        a, b = a / a.sum(), b / b.sum()

    def loss(**blocks):
        value = sinkhorn_divergence(x, y, 0.3, a=a, b=b, cost=cost, **blocks, **PRECISE)
        return value.detach(), torch.autograd.grad(value, (x, y))

    torch.testing.assert_close(loss(block_rows=rows), loss(), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("divisor", [20, 512, 5100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blocks_of_rows_solve_small_regularisations(divisor, dtype, monkeypatch):
    """As many iterations as the whole matrix takes, and as exact."""
    results = []
    for name in ("solve", "solve_symmetric"):
        solve = getattr(streamed, name)
        monkeypatch.setattr(streamed, name, lambda *args, solve=solve: (results.append(solve(*args)), results[-1])[1])
    x, y = points(0, 150, 5, dtype=dtype), points(1, 200, 5, dtype=dtype) + 0.3
    reg = float(resolve_cost("sqeuclidean").matrix(x, y).mean()) / divisor
    value = sinkhorn_divergence(x, y, reg, block_rows=32)
    assert [result.status for result in results] == ["converged"] * 3
    assert max(result.n_iter for result in results) <= 300
    torch.testing.assert_close(value, sinkhorn_divergence(x, y, reg), rtol=1e-3, atol=0)


def test_a_matrix_that_does_not_fit_memory_is_never_formed(monkeypatch, largest_tensor):
    monkeypatch.setattr(streamed, "LARGEST_MATRIX", 50 * 50 - 1)
    monkeypatch.setattr(streamed, "BLOCK_ENTRIES", 700)
    x, y = points(0, 50, 3).requires_grad_(), points(1, 70, 3)
    with largest_tensor:
        sinkhorn_divergence(x, y, 0.5).backward()
    assert largest_tensor.numel <= 700
    with largest_tensor:
        entropic_cost(x[:30], y, 0.5)
    assert largest_tensor.numel == 30 * 70


def test_order_of_points_does_not_matter():
    x, y = points(0, 9, 3), points(1, 7, 3)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    value, gradient = value_and_gradient(lambda x: entropic_cost(x, y, 0.5, **PRECISE), x)
    moved, moved_gradient = value_and_gradient(lambda x: entropic_cost(x, y, 0.5, **PRECISE), x[order])
    torch.testing.assert_close(moved, value)
    torch.testing.assert_close(moved_gradient, gradient[order])


def test_features_are_squared_distance_between_them():
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh()).double()
    x, y = points(0, 6, 3), points(1, 8, 3)
    value, gradient = value_and_gradient(lambda x: entropic_cost(x, y, 0.5, cost=module, **PRECISE), x)
    expected = value_and_gradient(lambda x: entropic_cost(module(x), module(y).detach(), 0.5, **PRECISE), x)
    torch.testing.assert_close((value, gradient), expected)
    assert resolve_cost(module).embed(x).shape == (6, 4)
    assert not FeatureCost(module).embed(y).requires_grad


def test_grad_mode_and_constants_are_respected():
    x, y = points(0, 6, 3).requires_grad_(), points(1, 8, 3)
    with torch.no_grad():
        for value in (entropic_cost(x, y, 0.5), entropic_cost(x, x, 0.5), sinkhorn_divergence(x, y, 0.5)):
            assert not value.requires_grad
    assert not sinkhorn_divergence(x.detach(), y, 0.5).requires_grad
    assert sinkhorn_divergence(x, y, 0.5).requires_grad


def test_gradient_flows_on_to_a_generator():
    generator = torch.nn.Linear(2, 3).double()
    z, y = points(0, 6, 2), points(1, 8, 3)
    (3 * sinkhorn_divergence(generator(z), y, 0.5)).backward()
    _, gradient = value_and_gradient(lambda x: sinkhorn_divergence(x, y, 0.5), generator(z))
    torch.testing.assert_close(generator.weight.grad, 3 * gradient.t() @ z)


def test_second_derivatives_are_refused():
    x = points(0, 4, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(entropic_cost(x, points(1, 5, 2), 0.5), x, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        gradient.sum().backward()


@pytest.mark.parametrize("cost", ["sqeuclidean", "l1"])
def test_moving_against_the_gradient_brings_points_to_the_records(cost):
    x, y = points(0, 20, 2), points(1, 20, 2) + 4
    start = float(sinkhorn_divergence(x, y, 0.1, cost=cost))
    for _ in range(60):
        _, gradient = value_and_gradient(lambda x: sinkhorn_divergence(x, y, 0.1, cost=cost), x)
        x = x - len(x) * 0.1 * gradient
    assert float(sinkhorn_divergence(x, y, 0.1, cost=cost)) < 0.2 * start


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_value_and_gradient_keep_the_dtype(dtype):
    value, gradient = value_and_gradient(
        lambda x: sinkhorn_divergence(x, points(1, 5, 2, dtype=dtype), 0.5), points(0, 4, 2, dtype=dtype)
    )
    assert value.dtype == gradient.dtype == dtype


GOOD = torch.ones(4, 2)


@pytest.mark.parametrize("loss", [entropic_cost, sinkhorn_divergence])
@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"x": GOOD.numpy()}, "x must be a torch.Tensor, got ndarray"),
        ({"y": GOOD.tolist()}, "y must be a torch.Tensor, got list"),
        ({"x": GOOD.long()}, "x must be float32 or float64"),
        ({"x": GOOD[0]}, "x must have 2 dimensions"),
        ({"y": GOOD[:0]}, "y must have 2 dimensions, none of them empty"),
        ({"y": GOOD * float("nan")}, "y must be finite"),
        ({"y": torch.ones(4, 3)}, "x and y must have as many columns, got 2 and 3"),
        ({"y": GOOD.double()}, "x and y must agree, got torch.float32"),
        ({"reg": -1.0}, "reg must lie in"),
        ({"tol": 0}, "tol must lie in"),
        ({"max_iter": 0}, "max_iter must be at least 1"),
        ({"backend": "ott"}, "backend must be one of 'torch', 'pot'"),
        ({"cost": "l3"}, "cost must be one of 'sqeuclidean'"),
        ({"a": GOOD[:, 0]}, "a must be non-negative and sum to one"),
        ({"b": torch.ones(3) / 3}, r"b must have shape \(4,\)"),
        ({"block_rows": 0}, "block_rows must be at least 1"),
        ({"block_rows": 2, "backend": "pot"}, "block_rows needs backend='torch'"),
    ],
)
def test_wrong_parameters_are_named(loss, arguments, match):
    with pytest.raises((TypeError, ValueError), match=match):
        loss(**{"x": GOOD, "y": GOOD + 1, "reg": 1.0, **arguments})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("given", [{}, {"backend": "pot"}, {"block_rows": 2}, {"a": torch.tensor([1.0, 0, 0, 0])}])
@pytest.mark.parametrize("name", ["x", "y"])
def test_one_entry_that_is_not_finite_is_refused(name, given, value):
    """Of a point without weight too."""
    points = {"x": GOOD.clone(), "y": GOOD + 1}
    points[name][-1, 0] = value
    with pytest.raises(ValueError, match=f"{name} must be finite"):
        entropic_cost(**points, reg=1.0, **given)


@pytest.mark.parametrize("given", [{}, {"block_rows": 2}])
def test_costs_that_overflow_are_refused(given):
    x = torch.full((6, 2), 1e25)
    for y in (-x, torch.cat([x, -x])):
        with pytest.raises(ValueError, match="costs must be finite"):
            entropic_cost(x, y, 1.0, **given)


@pytest.mark.parametrize("debias", [-0.1, 1.5, "none"])
def test_fraction_must_lie_between_zero_and_one(debias):
    with pytest.raises((TypeError, ValueError), match="debias must"):
        sinkhorn_divergence(GOOD, GOOD, 1.0, debias=debias)
