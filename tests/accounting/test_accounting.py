"""Properties of the accountant: what must hold whatever the numbers are. Numbers are in test_accounting_oracles."""

import ast
import itertools
import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limits import time_limit
from scipy import stats

import sinkgen
from sinkgen.accounting import (
    GaussianRelease,
    PrivacySpent,
    calibrate,
    compose,
    composition,
    epsilon_spent,
    gaussian_epsilon,
    gaussian_mu,
    numerical,
)
from sinkgen.accounting.calibration import _smallest
from sinkgen.accounting.composition import ACCOUNTANTS, _group_delta
from sinkgen.accounting.statement import round_up

DELTA = 1e-5
few = settings(max_examples=6, deadline=None, derandomize=True)
many = settings(max_examples=200, deadline=None, derandomize=True)

noises = st.floats(0.6, 20)
rates = st.floats(5e-3, 0.9)
counts = st.integers(1, 200)
sampled_rows = st.builds(GaussianRelease, st.just("sampled"), noises, rates, counts)
full_rows = st.builds(GaussianRelease, st.just("full"), noises, st.just(1.0), counts)
any_rows = st.one_of(sampled_rows, full_rows)


@pytest.fixture
def fresh_cache():
    composition._price_rows.cache_clear()
    yield
    composition._price_rows.cache_clear()


# --- epsilon ---------------------------------------------------------------------------------------------------------


@few
@given(noises, rates, counts, st.floats(1.1, 3))
def test_epsilon_falls_with_noise_and_rises_with_rate_and_steps(noise, rate, steps, factor):
    rate = min(rate, 1 / factor)
    epsilon = epsilon_spent(noise, rate, steps, DELTA)
    assert epsilon_spent(noise * factor, rate, steps, DELTA) < epsilon
    assert epsilon_spent(noise, rate * factor, steps, DELTA) > epsilon
    assert epsilon_spent(noise, rate, math.ceil(steps * factor), DELTA) > epsilon


@many
@given(st.floats(1e-3, 1e4), st.floats(1e-4, 100), st.floats(1.0001, 3))
def test_gaussian_epsilon_is_monotone(mu, delta_exponent, factor):
    delta = 10**-delta_exponent
    epsilon = gaussian_epsilon(mu, delta)
    assert gaussian_epsilon(mu * factor, delta) >= epsilon
    assert gaussian_epsilon(mu, delta / factor) >= epsilon


@few
@given(any_rows, any_rows)
def test_composition_costs_at_least_each_part_and_at_most_their_sum(one, other):
    parts = [compose([row], DELTA) for row in (one, other)]
    assert compose([one, other], DELTA) >= max(parts) * (1 - 2e-3)  # the numerical error of the parts themselves
    assert compose([one, other], 2 * DELTA) <= sum(parts)  # basic composition: deltas add up, too


@few
@given(st.lists(any_rows, min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(rows, random):
    shuffled = random.sample(rows, len(rows))
    assert compose(shuffled, DELTA, "rdp") == compose(rows, DELTA, "rdp")
    assert composition.merge(shuffled) == composition.merge(rows)


def test_rows_split_and_rows_together_cost_the_same():
    whole = GaussianRelease("points", 1.5, 0.01, steps=300)
    parts = [GaussianRelease("first", 1.5, 0.01, steps=100), GaussianRelease("rest", 1.5, 0.01, steps=200)]
    assert compose(parts, DELTA) == compose([whole], DELTA)
    assert compose([GaussianRelease("", 3.0)] * 9, DELTA) == pytest.approx(epsilon_spent(1.0, 1, 1, DELTA), rel=1e-9)


def test_what_releases_nothing_costs_nothing():
    nothing = [
        GaussianRelease("no step", 1.0, steps=0),
        GaussianRelease("nobody sampled", 0.0, sampling_rate=0.0),
        GaussianRelease("all noise", math.inf, 0.1, 100),
    ]
    assert compose(nothing, DELTA) == 0
    assert compose([], DELTA) == 0
    some = GaussianRelease("some", 2.0)
    assert compose([*nothing, some], DELTA) == compose([some], DELTA)


@pytest.mark.parametrize("rate", [1.0, 0.5, 1e-6])
@pytest.mark.parametrize("accountant", ACCOUNTANTS)
def test_no_noise_is_infinite_never_nan(rate, accountant):
    assert epsilon_spent(0.0, rate, 3, DELTA, accountant) == math.inf
    with time_limit(60):
        assert epsilon_spent(1e-3, rate, 3, DELTA, accountant) > 0
        assert epsilon_spent(1e-200, rate, 3, DELTA, accountant) > 0


def test_own_deltas_are_taken_off_first():
    plain, thresholded = GaussianRelease("labels", 2.0), GaussianRelease("labels", 2.0, delta=4e-6)
    assert compose([thresholded], DELTA) == compose([plain], DELTA - 4e-6)
    assert compose([thresholded] * 3, DELTA) == math.inf
    assert compose([GaussianRelease("set", math.inf, delta=4e-6)], DELTA) == 0


def test_sampling_never_costs():
    full = epsilon_spent(2.0, 1.0, 10, DELTA)
    assert full * 0.99 < epsilon_spent(2.0, 1 - 1e-9, 10, DELTA) <= full


@few
@given(sampled_rows)
def test_auto_is_the_lowest_bound(row):
    auto, prv, rdp = (compose([row], DELTA, name) for name in ACCOUNTANTS)
    assert auto <= min(prv, rdp)
    assert auto <= compose([GaussianRelease("", row.noise_multiplier, 1.0, row.steps)], DELTA)


@pytest.mark.parametrize("failure", [RuntimeError, ValueError, IndexError])
def test_where_prv_fails_rdp_stands_in(monkeypatch, fresh_cache, failure):
    def fail(*_):
        raise failure("numerical trouble")

    monkeypatch.setattr(numerical, "_compose_losses", fail)
    row = GaussianRelease("points", 1.1, 0.01, 100)
    assert PrivacySpent.of([row], DELTA).accountant == "RDP"
    assert compose([row], DELTA, "prv") == compose([row], DELTA) == compose([row], DELTA, "rdp")


@pytest.mark.parametrize(
    ("noise", "rate", "steps", "delta"),
    [
        (1.1, 0.01, 1000, 1e-12),
        (1.1, 1e-9, 10**9, DELTA),
        (0.3, 1e-6, 3_450_000, DELTA),
        (0.01, 0.5, 10, DELTA),
        (1e6, 0.5, 2**53, DELTA),
        (1e6, 0.5, 3, DELTA),
        (1e300, 1e-300, 1, 0.999),
        (1e-300, 1e-300, 1, 1e-300),
    ],
)
def test_extreme_settings_end_and_are_no_nan(noise, rate, steps, delta):
    with time_limit(60):
        assert epsilon_spent(noise, rate, steps, delta) >= 0  # nan fails


def test_warning_filters_and_numpy_state_are_left_alone():
    before = np.geterr(), list(warnings.filters)
    epsilon_spent(0.31, 0.5, 3, DELTA)  # opacus and numpy would warn here; pytest makes that an error
    assert (np.geterr(), warnings.filters) == before


def test_opacus_is_imported_here_only_and_late():
    """Its import takes seconds, and releases of all records do not need it."""
    trees = {path.name: ast.parse(path.read_text()) for path in Path(sinkgen.__file__).parent.rglob("*.py")}
    assert [name for name, tree in trees.items() if "opacus" in _imports(ast.walk(tree))] == ["numerical.py"]
    assert "opacus" not in _imports(trees["numerical.py"].body)


def _imports(nodes):
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0]


# --- Gaussian differential privacy -----------------------------------------------------------------------------------


@many
@given(st.floats(1e-3, 1e6), st.floats(0.5, 300))
def test_mu_and_epsilon_are_inverse(epsilon, delta_exponent):
    delta = 10**-delta_exponent
    assert gaussian_epsilon(gaussian_mu(epsilon, delta), delta) == pytest.approx(epsilon, rel=1e-6)


def test_mu_at_the_ends():
    assert gaussian_mu(math.inf, DELTA) == math.inf
    assert gaussian_epsilon(0.0, DELTA) == 0
    assert gaussian_epsilon(math.inf, DELTA) == math.inf
    assert gaussian_epsilon(1e200, DELTA) == math.inf
    assert gaussian_epsilon(gaussian_mu(0.0, DELTA), DELTA) == pytest.approx(0, abs=1e-9)


# --- calibration -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [0.1, 0.2, 1.0, 10.0])
@pytest.mark.parametrize("rate", [1.0, 0.1, 0.01, 0.001])
@pytest.mark.parametrize(
    "steps", [100, pytest.param(1, marks=pytest.mark.slow), pytest.param(10**5, marks=pytest.mark.slow)]
)
def test_calibrated_noise_uses_up_the_budget(epsilon, rate, steps):
    with time_limit(60):
        noise = calibrate(epsilon, DELTA, rate, steps)
    assert epsilon * (1 - 2e-3) <= epsilon_spent(noise, rate, steps, DELTA) <= epsilon


@pytest.mark.parametrize("rate", [1.0, 0.02])
@pytest.mark.parametrize("accountant", ACCOUNTANTS)
def test_calibration_leaves_room_for_what_was_spent(rate, accountant):
    spent = [
        GaussianRelease("bounds", 30.0),
        GaussianRelease("labels", 25.0, delta=2e-6),
        GaussianRelease("centres", 3.0, 0.02, 50),
    ]
    noise = calibrate(1.0, DELTA, rate, 100, spent=spent, accountant=accountant)
    together = compose([*spent, GaussianRelease("points", noise, rate, 100)], DELTA, accountant)
    assert 0.998 <= together <= 1.0
    assert noise > calibrate(1.0, DELTA, rate, 100, accountant=accountant)


@many
@given(st.floats(0.01, 100), st.integers(1, 10**6), st.floats(0, 0.999))
def test_calibration_is_exact_for_releases_of_all_records(epsilon, steps, share):
    mu = gaussian_mu(epsilon, DELTA)
    spent = [GaussianRelease("first", 1 / (mu * math.sqrt(share)) if share else math.inf)]
    noise = calibrate(epsilon, DELTA, 1.0, steps, spent=spent)
    together = compose([*spent, GaussianRelease("rest", noise, steps=steps)], DELTA)
    assert epsilon * (1 - 2e-9) <= together <= epsilon


@pytest.mark.parametrize("rate", [1.0, 0.01])
def test_a_budget_almost_spent(rate):
    spent = [GaussianRelease("most", calibrate(0.99, DELTA, rate, 100), rate, 100)]
    with time_limit(60):
        noise = calibrate(1.0, DELTA, rate, 100, spent=spent)
    assert 0.997 < compose([*spent, GaussianRelease("rest", noise, rate, 100)], DELTA) <= 1.0


@pytest.mark.parametrize("rate", [1.0, 0.01])
@pytest.mark.parametrize("limit", [0.5, 1.0])
def test_a_budget_wholly_spent_is_an_error_and_no_endless_search(rate, limit):
    spent = [GaussianRelease("all", calibrate(1.0, DELTA, rate, 100), rate, 100)]
    with time_limit(60), pytest.raises(ValueError, match="spent"):
        calibrate(limit * compose(spent, DELTA), DELTA, rate, 100, spent=spent)


def test_no_budget_limit_asks_for_no_noise():
    assert calibrate(math.inf, DELTA, 0.1, 10) == 0.0


@pytest.mark.parametrize(("epsilon", "rate", "steps"), [(1e3, 0.01, 100), (1e6, 1.0, 10**9), (1e-3, 1e-3, 10)])
def test_extreme_budgets_end_and_hold(epsilon, rate, steps):
    with time_limit(60):
        assert 0 < epsilon_spent(calibrate(epsilon, DELTA, rate, steps), rate, steps, DELTA) <= epsilon


# --- bad input -------------------------------------------------------------------------------------------------------

GOOD = {
    calibrate: {"epsilon": 1.0, "delta": DELTA, "sampling_rate": 0.1, "steps": 10, "spent": (), "accountant": "auto"},
    epsilon_spent: {"noise_multiplier": 1.0, "sampling_rate": 0.1, "steps": 10, "delta": DELTA, "accountant": "auto"},
    compose: {"releases": (), "delta": DELTA, "accountant": "auto"},
    gaussian_mu: {"epsilon": 1.0, "delta": DELTA},
    gaussian_epsilon: {"mu": 1.0, "delta": DELTA},
    GaussianRelease: {"what": "x", "noise_multiplier": 1.0, "sampling_rate": 0.1, "steps": 10, "delta": 0.0},
}
BAD = {
    "epsilon": [-1.0, math.nan, "1", None, True],
    "mu": [-1.0, math.nan, "1", None],
    "delta": [-0.1, 1.0, 2.0, math.nan, "1e-5", None],
    "noise_multiplier": [-1.0, math.nan, "1", None, 1j],
    "sampling_rate": [-0.1, 1.1, math.nan, math.inf, "0.1", None],
    "steps": [-1, 1.5, math.nan, 10**400, "10", None, True],
    "accountant": ["gdp", "PRV", None, 1],
    "releases": [None, 1, ["points"], [(1.0, 0.1, 10)]],
    "spent": [None, 1, ["points"]],
    "what": [None, 1],
}
BAD_TO_CALIBRATE = {"epsilon": [0.0], "sampling_rate": [0.0], "steps": [0]}
CASES = [
    (function, name, value)
    for function, arguments in GOOD.items()
    for name in arguments
    for value in BAD[name] + (BAD_TO_CALIBRATE.get(name, []) if function is calibrate else [])
]


@pytest.mark.parametrize(("function", "name", "value"), CASES, ids=lambda case: getattr(case, "__name__", None))
def test_bad_input_raises_at_once_and_names_the_parameter(function, name, value):
    expected = "releases" if name == "spent" else name
    with time_limit(20), pytest.raises((TypeError, ValueError), match=expected):
        function(**GOOD[function] | {name: value})


@pytest.mark.parametrize("assumptions", ["label set", None, [3]])
def test_assumptions_are_a_list_of_texts(assumptions):
    with pytest.raises(TypeError, match="assumptions"):
        PrivacySpent.of((), DELTA, assumptions=assumptions)


def test_delta_zero_is_no_guarantee():
    for function in (calibrate, epsilon_spent, compose, gaussian_mu, gaussian_epsilon):
        with pytest.raises(ValueError, match="delta"):
            function(**GOOD[function] | {"delta": 0.0})


def test_numpy_numbers_are_as_good_as_pythons():
    row = GaussianRelease("points", np.float32(1.5), np.float64(0.5), np.int64(10), np.float64(0))
    assert row == GaussianRelease("points", 1.5, 0.5, 10)
    assert all(type(value) in (str, float, int) for value in row.to_dict().values())


# --- the statement ---------------------------------------------------------------------------------------------------

ROWS = (
    GaussianRelease("bounds of 3 columns", 60.0, delta=1e-6),
    GaussianRelease("points", 12.0, steps=20),
    GaussianRelease("gradients", 1.3, 0.01, 500),
)


def test_statement_says_all_that_a_reader_needs():
    spent = PrivacySpent.of(ROWS, DELTA, assumptions=["number of columns", "label set"])
    text = str(spent)
    for part in ["ifferential privacy", "epsilon", "delta = 1e-05", "add or remove one record", spent.accountant]:
        assert part in text
    for row in ROWS:
        line = next(line for line in text.splitlines() if line.startswith(row.what))
        for value in (row.noise_multiplier, row.sampling_rate, row.steps):
            assert f" {value:g} " in line
    assert "number of columns; label set" in text
    assert "NOT PRIVATE" not in text
    assert "REPRODUCIBLE" not in text
    assert spent.epsilon == compose(ROWS, DELTA)


def test_statement_never_promises_more_than_was_computed():
    assert round_up(1.00001) == "1.001"
    assert round_up(1.0) == "1"
    assert round_up(123456.0) == "123500"
    assert round_up(0.0) == "0"


def test_statement_without_noise_says_so():
    spent = PrivacySpent.of([*ROWS, GaussianRelease("means", 0.0)], DELTA)
    assert spent.epsilon == math.inf
    assert "epsilon = inf" in str(spent)
    assert "NOT PRIVATE" in str(spent)
    assert spent.shares == (0.0, 0.0, 0.0, 1.0)
    assert str(PrivacySpent.of([GaussianRelease("means", 0.0)], DELTA)).endswith("Noise: none.")


def test_statement_of_reproducible_noise_says_so():
    assert "REPRODUCIBLE" in str(PrivacySpent.of(ROWS, DELTA, reproducible_noise=True))


@few
@given(st.lists(any_rows, min_size=1, max_size=4))
def test_shares_sum_to_one(rows):
    shares = PrivacySpent.of(rows, DELTA).shares
    assert math.fsum(shares) == pytest.approx(1)
    assert all(0 <= share <= 1 for share in shares)


def test_shares_follow_mu_squared():
    spent = PrivacySpent.of([GaussianRelease("one", 2.0), GaussianRelease("three", 2.0, steps=3)], DELTA)
    assert spent.shares == pytest.approx((0.25, 0.75))
    sampled = GaussianRelease("sampled", 1.3, 0.01, 500)
    twin = GaussianRelease("its price", 1 / gaussian_mu(compose([sampled], DELTA), DELTA))
    assert PrivacySpent.of([sampled, twin], DELTA).shares == pytest.approx((0.5, 0.5))
    assert PrivacySpent.of([GaussianRelease("nothing", 1.0, steps=0)], DELTA).shares == (0.0,)
    assert PrivacySpent.of([], DELTA).shares == ()


@pytest.mark.parametrize("noise", [2.0, 0.0, math.inf])
def test_statement_survives_json(noise):
    spent = PrivacySpent.of([*ROWS, GaussianRelease("last", noise)], DELTA, assumptions=("label set",))
    assert PrivacySpent.from_dict(json.loads(json.dumps(spent.to_dict(), allow_nan=False))) == spent


@pytest.mark.parametrize("change", [{"extra": 1}, {"delta": 2.0}, {"epsilon": -1.0}, {"releases": [{"what": "x"}]}])
def test_statement_from_a_wrong_dict_raises(change):
    with pytest.raises((TypeError, ValueError)):
        PrivacySpent.from_dict(PrivacySpent.of(ROWS, DELTA).to_dict() | change)


def test_accountants_are_named():
    names = {
        (full, sampled): PrivacySpent.of(full * [ROWS[1]] + sampled * [ROWS[2]], DELTA).accountant
        for full, sampled in itertools.product([0, 1], repeat=2)
    }
    assert names[1, 0] == names[0, 0] == "analytic Gaussian"
    assert names[0, 1] == names[1, 1] == "PRV"
    assert PrivacySpent.of(ROWS, DELTA, accountant="rdp").accountant == "RDP"


@pytest.mark.parametrize("target", [0.3, 2.0, 17.0])
def test_last_digits_of_a_price_do_not_change_the_noise(target):
    """They depend on the number of threads, and a fit that was interrupted may go on with another."""
    found = {
        _smallest(lambda noise, off=off: (1 + off) / noise, target, 1.1 / target, tolerance=2e-3)
        for off in (-1e-13, 0.0, 1e-13)
    }
    assert len(found) == 1
    assert 0.997 < found.pop() * target < 1.003


# --- Groups ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("epsilon", "size", "together"), [(1, 10, 14.43), (10, 5, 91.85), (1, 1, 1.0)])
def test_a_group_pays_more_than_epsilon_times_its_size(epsilon, size, together):
    spent = PrivacySpent.of([GaussianRelease("points", calibrate(epsilon, DELTA, 1.0, 7), steps=7)], DELTA)
    assert spent.for_group(size) == pytest.approx(together, abs=0.01)
    # What a Gaussian of that many records is worth, by the definition of (epsilon, delta).
    distance = size * math.sqrt(7) / spent.releases[0].noise_multiplier
    outcomes = np.linspace(-12, 12 + distance, 400_001)
    loss = stats.norm.pdf(outcomes, distance) - math.exp(spent.for_group(size)) * stats.norm.pdf(outcomes)
    assert loss.clip(0).sum() * (outcomes[1] - outcomes[0]) == pytest.approx(DELTA, rel=1e-3)


@pytest.mark.parametrize("sampled", [False, True])
def test_a_group_of_one_costs_epsilon_and_larger_ones_more(sampled):
    rows = [GaussianRelease("labels", 26.0, delta=1e-6), GaussianRelease("points", 20.0, steps=20)]
    rows += [GaussianRelease("gradients", 1.3, 0.01, 500)] * sampled
    spent = PrivacySpent.of(rows, DELTA)
    costs = [spent.for_group(size) for size in (1, 2, 3, 5, 10)]
    assert costs[0] == spent.epsilon
    assert all(size * costs[0] < cost for size, cost in zip((2, 3, 5, 10), costs[1:], strict=True))
    assert costs == sorted(costs)
    assert spent.for_group(10_000) == math.inf
    for wrong in (0, -1, 1.5, True, "2"):
        with pytest.raises((TypeError, ValueError), match="size"):
            spent.for_group(wrong)


def test_a_sample_of_nearly_all_costs_a_group_what_all_cost():
    all_of_them = PrivacySpent.of([GaussianRelease("points", 9.0, steps=4)], DELTA)
    nearly = PrivacySpent.of([GaussianRelease("points", 9.0, 1 - 1e-9, steps=4)], DELTA)
    assert nearly.for_group(4) == pytest.approx(all_of_them.for_group(4), rel=1e-6)


def test_members_of_a_group_pass_the_threshold_no_oftener_than_its_delta_says():
    noise, delta, size = 2.0, 0.01, 3
    threshold = 1 + noise * stats.norm.isf(delta)
    ways = [(3,), (2, 1), (1, 1, 1)]  # counts of the members that the group alone has
    passes = max(1 - math.prod(stats.norm.cdf((threshold - count) / noise) for count in way) for way in ways)
    own = _group_delta(GaussianRelease("labels", noise, delta=delta), size, 1)
    assert passes <= own * (1 + 1e-9) <= 1.05 * passes


def test_nothing_and_everything_for_groups():
    assert PrivacySpent.of([], DELTA).for_group(5) == 0
    assert PrivacySpent.of([GaussianRelease("points", 0.0)], DELTA).for_group(5) == math.inf


# --- Statements that were edited -------------------------------------------------------------------------------------


@pytest.mark.parametrize("accountant", ["auto", "prv", "rdp"])
def test_an_edited_statement_is_composed_anew_and_refused(accountant):
    content = json.loads(json.dumps(PrivacySpent.of(ROWS, DELTA, accountant).to_dict()))
    assert PrivacySpent.from_dict(content).epsilon == content["epsilon"]
    quieter = [content["releases"][0] | {"noise_multiplier": 3.0}, *content["releases"][1:]]
    for change in (
        {"epsilon": 0.01}, {"epsilon": 1.01 * content["epsilon"]}, {"epsilon": "inf"}, {"epsilon": None},
        {"releases": []}, {"releases": content["releases"][:-1]}, {"releases": quieter}, {"releases": None},
        {"delta": 1e-3}, {"neighbours": "nobody"}, {"accountant": "me"}, {"reproducible_noise": "no"},
        {"assumptions": "none"},
    ):  # fmt: skip
        with pytest.raises((TypeError, ValueError)):
            PrivacySpent.from_dict(content | change)
    for wrong in (None, [], 3, "statement"):
        with pytest.raises((TypeError, ValueError)):
            PrivacySpent.from_dict(wrong)
