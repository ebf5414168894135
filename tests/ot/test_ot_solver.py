"""Solvers: one contract for every backend, then what the torch solver promises beyond it."""

import math

import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sinkgen.ot import BACKENDS, resolve_cost, sinkhorn, sinkhorn_symmetric
from sinkgen.ot.solver import _Scalings

SHAPES = [(1, 1), (1, 6), (6, 1), (5, 5), (12, 7), (20, 33)]


def points(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def costs(seed, n, m, d=3, dtype=torch.float64):
    return resolve_cost("sqeuclidean").matrix(points(seed, n, d, dtype=dtype), points(seed + 1, m, d, dtype=dtype))


def weights(seed, n):
    return torch.softmax(points(seed, n), 0)


def assert_solves(result, C, reg, a, b, tol):
    """The plan has the marginals and the form of the optimum, which is unique; the value is its dual objective."""
    plan = a[..., :, None] * b[..., None, :] * ((result.f[..., :, None] + result.g[..., None, :] - C) / reg).exp()
    torch.testing.assert_close(result.plan, plan, rtol=1e-9, atol=1e-15)
    assert float((plan.sum(-1) - a).abs().sum(-1).max()) <= 1e-12
    assert float((plan.sum(-2) - b).abs().sum(-1).max()) <= result.error * (1 + 1e-6) + 1e-12
    assert result.error <= tol
    torch.testing.assert_close(result.value, (a * result.f).sum(-1) + (b * result.g).sum(-1))


@pytest.mark.parametrize("backend", BACKENDS)
class TestEveryBackend:
    @pytest.mark.parametrize(("n", "m"), SHAPES)
    @pytest.mark.parametrize("reg", [0.1, 1.0, 30.0])
    def test_solves_with_unequal_weights(self, backend, n, m, reg):
        C, a, b = costs(0, n, m), weights(2, n), weights(3, m)
        result = sinkhorn(C, reg, a, b, tol=1e-9, max_iter=20000, backend=backend)
        assert result.status == "converged"
        assert result.n_iter > 0
        assert_solves(result, C, reg, a, b, 1e-9)

    @pytest.mark.parametrize("solve", [sinkhorn, lambda C, *args, **options: sinkhorn_symmetric(C, *args, **options)])
    def test_without_a_tolerance_it_takes_all_iterations_and_tells_the_error(self, backend, solve):
        C = costs(0, 9, 9)
        if solve is not sinkhorn:
            C = resolve_cost("sqeuclidean").matrix(points(0, 9, 3), points(0, 9, 3))
        few, many = (solve(C, 3.0, tol=None, max_iter=n, backend=backend) for n in (3, 1000))
        assert few.n_iter == 3
        assert few.error > 1e-8 > many.error
        for result in (few, many):
            left = float((result.plan.sum(-2) - 1 / 9).abs().sum())
            assert left <= result.error * (1 + 1e-6) + 1e-12
        torch.testing.assert_close(many.plan, sinkhorn(C, 3.0, tol=1e-10, max_iter=20000).plan, rtol=1e-5, atol=1e-9)

    def test_without_a_tolerance_small_regularisation_stays_finite(self, backend):
        result = sinkhorn(100 * costs(0, 12, 7, dtype=torch.float32), 1e-3, tol=None, max_iter=50, backend=backend)
        assert torch.isfinite(result.plan).all()
        assert torch.isfinite(result.value)

    def test_value_is_that_of_the_primal_problem(self, backend):
        C, a, b = costs(0, 9, 14), weights(2, 9), weights(3, 14)
        result = sinkhorn(C, 0.5, a, b, tol=1e-12, max_iter=20000, backend=backend)
        plan = result.plan
        primal = (plan * C).sum() + 0.5 * (plan * (plan / (a[:, None] * b)).log()).sum()
        torch.testing.assert_close(result.value, primal, rtol=1e-10, atol=1e-10)

    def test_agrees_with_pot_itself(self, backend):
        C, a, b = costs(0, 9, 14), weights(2, 9), weights(3, 14)
        result = sinkhorn(C, 0.5, a, b, tol=1e-12, max_iter=20000, backend=backend)
        expected = ot.solve(C, a, b, reg=0.5, reg_type="KL", tol=1e-13, max_iter=20000)
        assert abs(float(result.value - expected.value)) < 1e-8
        assert float((result.plan - expected.plan).abs().max()) < 1e-8
        shift = result.f - 0.5 * (expected.potentials[0] - a.log())
        assert float(shift.max() - shift.min()) < 1e-8

    def test_apply_is_the_plan_times(self, backend):
        result = sinkhorn(costs(0, 9, 14), 0.5, backend=backend)
        y = points(5, 14, 4)
        torch.testing.assert_close(result.apply(y), result.plan @ y)

    def test_a_batch_is_a_loop(self, backend):
        C = torch.stack([costs(k, 8, 11) for k in range(4)])
        a, b = torch.stack([weights(k, 8) for k in range(4)]), weights(9, 11)
        batch = sinkhorn(C, 0.3, a, b, tol=1e-11, max_iter=20000, backend=backend)
        assert_solves(batch, C, 0.3, a, b.expand(4, 11), 1e-11)
        for k in range(4):
            single = sinkhorn(C[k], 0.3, a[k], b, tol=1e-11, max_iter=20000, backend=backend)
            torch.testing.assert_close(batch.value[k], single.value, rtol=1e-9, atol=1e-9)
            torch.testing.assert_close(batch.plan[k], single.plan, rtol=0, atol=1e-9)
        y = points(5, 4, 11, 2)
        torch.testing.assert_close(batch.apply(y), batch.plan @ y)

    @pytest.mark.parametrize("factor", [1e-3, 7.0, 1e4])
    def test_value_scales_with_costs_and_reg(self, backend, factor):
        C = costs(0, 9, 14)
        expected = factor * sinkhorn(C, 0.2, tol=1e-11, max_iter=20000, backend=backend).value
        scaled = sinkhorn(factor * C, factor * 0.2, tol=1e-11, max_iter=20000, backend=backend)
        torch.testing.assert_close(scaled.value, expected, rtol=1e-10, atol=0)

    def test_a_weight_of_zero_takes_the_point_out(self, backend):
        C, a, b = costs(0, 9, 14), weights(2, 9), weights(3, 14)
        a[[0, 4]], b[3:9] = 0, 0
        C[:, 5], C[4] = 1e4, 1e-4
        a, b = a / a.sum(), b / b.sum()
        result = sinkhorn(C, 0.1, a, b, tol=1e-10, max_iter=20000, backend=backend)
        kept = sinkhorn(C[a > 0][:, b > 0], 0.1, a[a > 0], b[b > 0], tol=1e-10, max_iter=20000, backend=backend)
        torch.testing.assert_close(result.value, kept.value, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(result.plan[a > 0][:, b > 0], kept.plan, rtol=0, atol=1e-9)
        assert float(result.plan[a == 0].abs().max()) == 0.0
        exponents = (result.g[b > 0] - C[:, b > 0]) / 0.1 + b[b > 0].log()
        torch.testing.assert_close(result.f, -0.1 * exponents.logsumexp(1), rtol=1e-8, atol=1e-8)

    @pytest.mark.parametrize("reg", [0.01, 1.0])
    def test_identical_points(self, backend, reg):
        result = sinkhorn(torch.zeros(6, 9, dtype=torch.float64), reg, backend=backend)
        torch.testing.assert_close(result.plan, torch.full((6, 9), 1 / 54, dtype=torch.float64))
        assert abs(float(result.value)) < 1e-12

    def test_iterations_that_run_out_are_reported(self, backend):
        result = sinkhorn(costs(0, 20, 20), 1e-3, tol=1e-12, max_iter=3, backend=backend)
        assert result.status == "max_iter"
        assert result.n_iter == 3
        assert result.error > 1e-12
        actual = float((result.plan.sum(0) - 1 / 20).abs().sum())
        assert actual == pytest.approx(result.error, rel=1e-6)

    def test_nothing_is_differentiated(self, backend):
        C = costs(0, 5, 5).requires_grad_()
        assert not sinkhorn(C, 0.5, backend=backend).value.requires_grad

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_dtype_is_kept(self, backend, dtype):
        result = sinkhorn(costs(0, 5, 6, dtype=dtype), 0.5, backend=backend)
        assert {result.f.dtype, result.g.dtype, result.value.dtype, result.plan.dtype} == {dtype}


@settings(deadline=None, derandomize=True, max_examples=50)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 25),
    m=st.integers(1, 25),
    log_reg=st.floats(-4, 2),
    spread=st.floats(0, 12),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_every_problem_gets_a_finite_answer_and_an_honest_status(seed, n, m, log_reg, spread, dtype):
    C = costs(seed, n, m, dtype=dtype)
    a, b = (torch.softmax(spread * points(seed + k, size), 0).to(dtype) for k, size in ((2, n), (3, m)))
    a, b = a / a.sum(), b / b.sum()
    result = sinkhorn(C, 10**log_reg, a, b, tol=1e-3, max_iter=300)
    tensors = (result.f, result.g, result.value, result.plan)
    assert all(bool(tensor.isfinite().all()) for tensor in tensors)
    assert (result.status == "converged") == (result.error <= 1e-3)
    columns = float((result.plan.double().sum(0) - b).abs().sum())
    assert columns == pytest.approx(result.error, rel=1e-3, abs=1e-5)
    torch.testing.assert_close(result.plan.double().sum(1), a.double(), rtol=1e-4, atol=1e-5)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 20), m=st.integers(1, 20), log_reg=st.floats(-2, 2))
def test_value_lies_between_transport_and_independence(seed, n, m, log_reg):
    """<P, C> of the best plan <= W_reg <= <a b^T, C>, and W_reg grows with reg."""
    C, reg = costs(seed, n, m), 10**log_reg
    low, high = (float(sinkhorn(C, r, tol=1e-9, max_iter=20000).value) for r in (reg, 2 * reg))
    assert float(ot.emd2(C.new_full((n,), 1 / n), C.new_full((m,), 1 / m), C)) <= low + 1e-7
    assert low <= high + 1e-7
    assert high <= float(C.mean()) + 1e-7


@pytest.mark.parametrize(("divisor", "iterations"), [(512, 300), (5100, 600)])
@pytest.mark.parametrize(("n", "m", "d"), [(200, 200, 784), (300, 500, 10), (400, 400, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_small_regularisation_converges(divisor, iterations, n, m, d, dtype):
    C = costs(0, n, m, d, dtype=dtype)
    result = sinkhorn(C, float(C.mean()) / divisor, tol=1e-3, max_iter=iterations)
    assert result.status == "converged"


def test_over_relaxation_and_annealing_save_iterations():
    """POT's plain iterations need thousands here."""
    C = costs(0, 100, 100, 2)
    reg = float(C.mean()) / 512
    fast, plain = (sinkhorn(C, reg, tol=1e-3, max_iter=10000, backend=name) for name in ("torch", "pot"))
    assert fast.status == plain.status == "converged"
    assert 5 * fast.n_iter < plain.n_iter


def test_float32_asked_for_too_much_says_floor():
    C = costs(0, 300, 400, 20, dtype=torch.float32)
    result = sinkhorn(C, float(C.mean()) / 20, tol=1e-6)
    assert result.status == "floor"
    assert 1e-6 < result.error <= 1e-5
    assert sinkhorn(C.double(), float(C.mean()) / 20, tol=1e-6).status == "converged"


def test_stalling_above_the_floor_ends_the_iterations():
    """A cost of one pair that dwarfs the rest leaves float32 few digits for them."""
    C = costs(0, 40, 40, dtype=torch.float32) + 3e4
    result = sinkhorn(C, 0.3, tol=1e-4, max_iter=10000)
    assert result.status == "floor"
    assert result.n_iter < 1000


def test_padding_makes_problems_of_one_size():
    C = torch.zeros(2, 8, 11, dtype=torch.float64)
    sizes = [(8, 11), (5, 4)]
    a, b = torch.zeros(2, 8, dtype=torch.float64), torch.zeros(2, 11, dtype=torch.float64)
    for k, (n, m) in enumerate(sizes):
        C[k, :n, :m], a[k, :n], b[k, :m] = costs(k, n, m), 1 / n, 1 / m
    batch = sinkhorn(C, 0.05, a, b, tol=1e-10, max_iter=20000)
    for k, (n, m) in enumerate(sizes):
        single = sinkhorn(C[k, :n, :m], 0.05, tol=1e-10, max_iter=20000)
        torch.testing.assert_close(batch.value[k], single.value, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(batch.plan[k, :n, :m], single.plan, rtol=0, atol=1e-9)


def test_an_overflow_is_undone(monkeypatch):
    """Weights over 37 decades, beyond what scalings of float32 can hold."""
    retreats = []
    retreat = _Scalings.retreat
    monkeypatch.setattr(_Scalings, "retreat", lambda self: retreats.append(1) or retreat(self))
    C = costs(0, 60, 80, dtype=torch.float32)
    a, b = (torch.logspace(-37, 0, 60), torch.logspace(0, -37, 80))
    result = sinkhorn(C, 1e-3, a / a.sum(), b / b.sum(), tol=1e-2)
    assert retreats
    assert result.error <= 1e-2
    assert bool(result.f.isfinite().all() and result.g.isfinite().all())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("solve", [sinkhorn, sinkhorn_symmetric])
def test_one_cost_that_is_not_finite_is_refused(solve, value, backend):
    C = costs(0, 9, 9)
    C[3, 5] = value
    with pytest.raises(ValueError, match="C must be finite"):
        solve(C, 0.5, backend=backend)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("distance", [30.0, 1e4])
@pytest.mark.parametrize("side", [0, 1])
def test_a_point_far_from_all_others_is_served_as_it_should_be(side, distance, dtype):
    """All its entries in the first kernel are smaller than the numbers hold: cut off there, they look alike."""
    points_of = [points(0, 40, 2), points(1, 50, 2)]
    points_of[side][0] = distance
    C = resolve_cost("sqeuclidean").matrix(*points_of)
    reg = float(C.mean()) / 40
    result, exact = sinkhorn(C.to(dtype), reg), sinkhorn(C, reg, tol=1e-9, max_iter=20000, backend="pot")
    assert result.status == "converged"
    torch.testing.assert_close(result.value.double(), exact.value, rtol=1e-4, atol=0)
    assert float((result.plan - exact.plan).abs().sum()) <= 1e-2


def test_a_scaling_that_vanishes_at_the_end_leaves_no_infinite_potential(monkeypatch):
    def finish(self):
        monkeypatch.undo()
        self.finish()
        self.right[2] = 0.0

    monkeypatch.setattr(_Scalings, "finish", finish)
    C, a, b = costs(0, 9, 14), weights(2, 9), weights(3, 14)
    assert_solves(sinkhorn(C, 0.5, a, b, tol=1e-9), C, 0.5, a, b, 1e-9)


@pytest.mark.parametrize("reg", [0.01, 0.3, 10.0])
def test_symmetric_problem_is_the_general_one(reg):
    x = points(0, 15, 3)
    C = resolve_cost("sqeuclidean").matrix(x, x)
    a = weights(1, 15)
    general = sinkhorn(C, reg, a, a, tol=1e-10, max_iter=20000)
    symmetric = sinkhorn_symmetric(C, reg, a, tol=1e-10)
    assert symmetric.status == "converged"
    assert symmetric.n_iter <= 60
    torch.testing.assert_close(symmetric.value, general.value, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(symmetric.plan, general.plan, rtol=0, atol=1e-8)
    actual = float((symmetric.plan.sum(0) - a).abs().sum())
    assert actual <= symmetric.error + 1e-14


def test_symmetric_problem_reports_its_limits():
    x = points(0, 15, 3, dtype=torch.float32)
    C = resolve_cost("sqeuclidean").matrix(x, x)
    assert sinkhorn_symmetric(C, 0.3, tol=1e-7, max_iter=200).status == "floor"
    assert sinkhorn_symmetric(C, 0.3, max_iter=1).status == "max_iter"


@pytest.mark.parametrize("backend", BACKENDS)
def test_symmetric_problems_come_in_batches_and_must_be_square(backend):
    C = torch.stack([resolve_cost("sqeuclidean").matrix(x, x) for x in (points(0, 6, 2), points(1, 6, 2))])
    batch = sinkhorn_symmetric(C, 1.0, tol=1e-9, backend=backend)
    for k in range(2):
        torch.testing.assert_close(batch.plan[k], sinkhorn(C[k], 1.0, tol=1e-9).plan, rtol=0, atol=1e-8)
    with pytest.raises(ValueError, match="C must be square"):
        sinkhorn_symmetric(C[:, :3], 1.0, backend=backend)


SQUARE = torch.ones(3, 3)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"C": [[1.0]]}, "C must be a torch.Tensor, got list"),
        ({"C": SQUARE.half()}, "C must be float32 or float64"),
        ({"C": SQUARE.int()}, "C must be float32 or float64"),
        ({"C": SQUARE[0]}, "C must have 2 or 3 dimensions"),
        ({"C": SQUARE[:0]}, "C must have 2 or 3 dimensions, none of them empty"),
        ({"C": SQUARE * math.nan}, "C must be finite"),
        ({"C": SQUARE * math.inf}, "C must be finite"),
        ({"reg": 0.0}, "reg must lie in"),
        ({"reg": math.nan}, "reg must lie in"),
        ({"reg": "1"}, "reg must be a number"),
        ({"tol": 0.0}, "tol must lie in"),
        ({"max_iter": 0}, "max_iter must be at least 1"),
        ({"max_iter": 1.5}, "max_iter must be an integer"),
        ({"backend": "jax"}, "backend must be one of 'torch', 'pot'"),
        ({"a": torch.ones(3)}, "a must be non-negative and sum to one"),
        ({"a": torch.tensor([1.5, -0.5, 0.0])}, "a must be non-negative and sum to one"),
        ({"b": torch.ones(4) / 4}, r"b must have shape \(3,\), got \(4,\)"),
        ({"b": [1.0]}, "b must be a torch.Tensor"),
        ({"b": torch.tensor([math.nan, 0.5, 0.5])}, "b must be finite"),
    ],
)
def test_wrong_parameters_are_named(arguments, match):
    with pytest.raises((TypeError, ValueError), match=match):
        sinkhorn(**{"C": SQUARE, "reg": 1.0, **arguments})
