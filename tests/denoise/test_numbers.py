"""A column's cells from noisy counts: where the numbers lie, at the resolution that the noise allows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sinkgen.denoise.bins import merged
from sinkgen.denoise.cells import Cells, Counts
from sinkgen.denoise.grain import DECIMALS, grain_of, likely_grain
from sinkgen.denoise.grids import finer_cells, first_cells, is_resolved, n_cells
from sinkgen.denoise.numbers import held_cells, is_vague, located, without_empty_ends
from sinkgen.denoise.search import Numbers, Search
from sinkgen.denoise.tails import with_tails

NOISE = 20.0


def counts(cells, values, random, noise=NOISE):
    places = np.searchsorted(cells.edges, values, side="right") - 1
    found = np.bincount(places.clip(0, len(cells.shares) - 1), minlength=len(cells.shares))
    return Counts(found + noise * random.normal(size=len(found)), np.ones(len(found)), noise, float(len(values)))


def estimated(values, bounds=None, grain=None, noise=NOISE, rounds=3, seed=0):
    """Cells after an octave count and a few of cells that get finer."""
    random = np.random.default_rng(seed)
    cells = first_cells(bounds, grain, n_cells(len(values), noise, 32))
    noisy = counts(cells, values, random, noise)
    found = without_empty_ends(cells, noisy, cells.shares) if bounds else located(cells, noisy)
    if found is None:
        return None
    cells = held_cells(*found)
    for _ in range(rounds):
        grid, cut = finer_cells(cells, n_cells(len(values), noise), grain)
        cells = held_cells(*without_empty_ends(grid, counts(grid, values, random, noise), cut))
    return cells


def mean(cells):
    return float(cells.shares @ (cells.edges[1:] + cells.edges[:-1]) / 2)


def distance(cells, values):
    """Wasserstein distance to values, over their standard deviation."""
    below = np.interp(ranks := (np.arange(2000) + 0.5) / 2000, np.r_[0, np.cumsum(cells.shares)], cells.edges)
    return np.abs(below - np.quantile(values, ranks)).mean() / np.std(values)


@given(bounds=st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)).filter(lambda pair: pair[0] < pair[1]),
       grain=st.sampled_from([None, 1.0, 0.01]), n=st.integers(1, 32))  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_first_cells_cover_the_bounds(bounds, grain, n):
    edges, shares = first_cells(bounds, grain, n)
    assert (np.diff(edges) > 0).all()
    assert edges[0] == bounds[0]
    assert edges[-1] > bounds[1]
    assert shares.sum() == pytest.approx(1)


@pytest.mark.parametrize(("make", "grain"), [
    (lambda random: random.normal(size=5000), None),
    (lambda random: random.normal(1000, 3, 5000), None),
    (lambda random: random.integers(1950, 2020, 5000).astype(float), 1.0),
    (lambda random: 86_400.0 * random.integers(18_000, 19_000, 5000), 86_400.0),
    (lambda random: np.where(random.random(5000) < 0.5, -1e-3, 1e4) * random.uniform(1, 2, 5000), None),
])  # fmt: skip
def test_numbers_of_any_scale_are_found(make, grain):
    values = make(np.random.default_rng(1))
    cells = estimated(values, grain=grain)
    assert distance(cells, values) < 0.15
    span = np.ptp(values)
    outside = (cells.edges[:-1] > values.max() + span / 10) | (cells.edges[1:] < values.min() - span / 10)
    assert cells.shares[outside].sum() < 0.02


@pytest.mark.parametrize("bounds", [None, (0, 1e5), (0, 1e7)])
def test_bounds_however_wide_do_not_move_a_mean(bounds):
    values = np.random.default_rng(0).lognormal(8, 1.5, 20_000)
    assert 0.85 < mean(estimated(values, bounds)) / values.clip(0, 1e5 if bounds == (0, 1e5) else None).mean() < 1.15


def test_numbers_from_zero_to_one_stay_there():
    values = np.random.default_rng(0).random(2000)
    values[:500] = 1.0
    assert estimated(values).last(None) == 1.0


def test_bounds_that_fit_are_kept_where_nothing_is_known():
    values = np.random.default_rng(0).uniform(14, 84, 300)
    for seed in range(10):
        cells = estimated(values, (14.0, 84.0), noise=500.0, seed=seed)
        assert cells.edges[0] < 20
        assert cells.edges[-1] > 70


def test_both_signs_are_found_alike_where_one_alone_hardly_stands_out():
    random, cells, found = np.random.default_rng(0), first_cells(None, None, 1), []
    for _ in range(40):
        kept = located(cells, counts(cells, random.normal(size=2000), random, noise=90.0))
        found.append((False, False) if kept is None else (kept[0].edges[0] < -0.5, kept[0].edges[-1] > 0.5))
    assert np.mean(found, axis=0).min() > 0.85


def test_noise_alone_shows_no_numbers():
    found = [estimated(np.zeros(0), noise=NOISE, rounds=0, seed=seed) for seed in range(100)]
    assert sum(cells is not None for cells in found) <= 3


def test_a_single_number_is_found_to_its_grain():
    values = np.full(2000, 15_024.37)
    cells = estimated(values, grain=0.01)
    top = int(cells.shares.argmax())
    assert cells.edges[top] == pytest.approx(15_024.37, abs=1e-6)
    assert np.diff(cells.edges)[top] == pytest.approx(0.01)
    assert is_resolved(cells, 10, 0.01)
    assert not is_resolved(cells, 10, 0.001)


def test_far_tails_that_do_not_stand_out_are_empty_and_what_does_is_kept():
    cells = Cells(np.array([0.0, 1.0, 10.0, 100.0, 1000.0]), np.full(4, 0.25))
    noisy = Counts(np.array([900.0, 150.0, 12.0, 15.0]), np.ones(4), 20.0, 1050.0)
    kept = held_cells(cells, noisy)
    assert kept.edges.tolist() == [0.0, 1.0, 10.0]
    assert kept.shares == pytest.approx([900 / 1050, 150 / 1050], abs=0.02)


@pytest.mark.parametrize("share", [0.5, 0.2, 0.1])
@pytest.mark.parametrize("seed", range(4))
def test_many_zeros_do_not_hide_the_other_numbers(share, seed):
    # A first count had not told zeros from small numbers apart: of all cells as much was hoped.
    random = np.random.default_rng(seed)
    values = np.where(random.random(10_000) < share, random.lognormal(3, 1, 10_000).clip(0.01, 1900), 0.0)
    cells = Cells(np.r_[np.linspace(0, 2, 201), np.geomspace(2, 2000, 97)[1:]], np.full(296, 1 / 296))
    hoped = np.r_[np.full(200, (1 - 0.9 * share) / 200), np.full(96, 0.9 * share / 96)]
    held = held_cells(*without_empty_ends(cells, counts(cells, values, random), hoped))
    assert held.shares[held.edges[:-1] >= 0.01].sum() == pytest.approx(share, abs=0.06)


def searched(values, noise, seed, rounds=4):
    """What several counts show of a column of which nothing is declared."""
    random = np.random.default_rng(seed)
    search = Search(Numbers.of(None, "float"), len(values) + noise * random.normal())
    for _ in range(rounds):
        search.cut(noise)
        ends, codes = search.places()
        found = np.bincount(codes[np.searchsorted(ends, values, side="right")], minlength=codes.max() + 2)
        search.learn(found + noise * random.standard_normal(len(found)), noise)
    return search.counted.cells


@pytest.mark.parametrize(("n", "noise"), [(1500, 9.7), (2000, 60.0), (600, 20.0)])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_noise_in_octaves_beyond_all_numbers_adds_none(n, noise, scale):
    far = []
    for seed in range(60):
        values = np.random.default_rng([seed, n]).normal(scale / 6, scale, n)
        cells = searched(values, noise, seed)
        middles = (cells.edges[1:] + cells.edges[:-1]) / 2
        widths = np.diff(cells.edges)
        variance = cells.shares @ (middles**2 + widths**2 / 12) - (cells.shares @ middles) ** 2
        far.append(variance**0.5 > 1.3 * values.std())
    assert sum(far) <= 3


@pytest.mark.parametrize(("n", "noise"), [(2000, 6.0), (20_000, 60.0)])
def test_a_value_far_from_all_others_is_not_lost_among_empty_cells(n, noise):
    lost = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        values = random.choice([9.99, 19.99, 4.5, 15_024.0], n, p=[0.4, 0.3, 0.2, 0.1])
        cells = searched(values, noise, seed)
        lost.append(cells.shares[cells.edges[1:] > 10_000].sum() < 0.05)
    assert sum(lost) <= 1


def test_where_others_than_zeros_lie_is_counted_again_until_it_shows():
    random, off = np.random.default_rng(0), []
    for seed in range(40):
        values = np.where(random.random(2000) < 0.8, 0.0, random.lognormal(5, 1, 2000))
        cells = searched(values, 45.0, seed)
        off.append(cells.edges[-1] > 2**17 or cells.edges[0] < -(2**17))
    assert sum(off) <= 2


def test_a_run_that_noise_may_have_made_is_vague_and_one_that_stands_out_is_not():
    cells = first_cells(None, None, 32)
    zero = int(np.searchsorted(cells.edges, 0.0))
    values = np.zeros(len(cells.shares))
    values[zero], values[zero + 40] = 900.0, 50.0
    noisy = Counts(values, np.ones(len(values)), 20.0, 1100.0)
    assert is_vague(cells, noisy)
    values[zero + 36 : zero + 40] = 50.0
    assert not is_vague(cells, noisy)
    values[zero] = 0.0
    assert not is_vague(cells, noisy)


@given(data=st.data(), noise=st.sampled_from([1e-9, 1.0, 1e6]), total=st.floats(1, 1e6))
@settings(max_examples=60, deadline=None)
def test_shares_are_shares_whatever_is_counted(data, noise, total):
    n = data.draw(st.integers(1, 12))
    values = np.array(data.draw(st.lists(st.floats(-1e6, 1e6), min_size=n, max_size=n)))
    cells = Cells(np.arange(n + 1.0), np.full(n, 1 / n))
    noisy = Counts(values, np.ones(n), noise, total)
    for kept in (held_cells(cells, noisy), held_cells(*without_empty_ends(cells, noisy, cells.shares))):
        assert kept.shares.sum() == pytest.approx(1)
        assert (kept.shares >= 0).all()
        assert len(kept.edges) == len(kept.shares) + 1


def test_bins_hold_about_equal_counts_and_atoms_stay_alone():
    counts = np.r_[np.full(100, 10.0), 500.0, np.full(100, 10.0)]
    bins = merged(counts, 1.0)
    assert (bins == bins[100]).sum() == 1
    assert 15 < bins[-1] < 30
    assert merged(np.full(100, 3.0), 1000.0).max() == 0


@pytest.mark.parametrize(("numbers", "grain"), [
    ([20.0, 21.0, -3.0], 1.0), ([9.99, 15_024.5, 3.0], 0.01), ([1 / 3, 2.0, 1e-5], None), ([0.1, 0.7, 12.3], 0.1),
])  # fmt: skip
def test_grain_is_found(numbers, grain):
    places = grain_of(np.array(numbers * 300), DECIMALS)
    noisy = np.bincount(places, minlength=6) + np.random.default_rng(0).normal(size=6)
    assert likely_grain(noisy, DECIMALS, 1.0, len(places)) == grain


def test_the_largest_numbers_have_a_grain_too():
    assert grain_of(np.array([1e300, 1.7e308, np.inf, -np.inf, 0.0]), DECIMALS).tolist() == [0, 0, 4, 4, 0]


def test_no_grain_is_believed_in_much_noise():
    assert likely_grain(np.array([100.0, 0, 0, 0, 0, 0]), DECIMALS, 100.0, 100.0) is None


@pytest.mark.parametrize(("shares", "grain"), [
    ([1.0, 0, 0, 0, 0, 0], 1.0),
    ([0.01, 0.09, 0.9, 0, 0, 0], 0.01),
    ([0, 0, 0, 0, 1.0, 0], None),
    ([0, 0, 0, 0, 0.3, 0.7], None),
    ([0.8, 0, 0, 0, 0, 0.2], 1.0),
])  # fmt: skip
def test_a_grain_that_noise_half_hides_is_the_likeliest_if_it_is_small(shares, grain):
    random, wide, narrow = np.random.default_rng(0), *(Cells(np.array([0.0, end]), np.ones(1)) for end in (90.0, 9.0))
    noisy = [1000 * np.array(shares) + random.normal(0, 150, 6) for _ in range(200)]
    found = [likely_grain(counts, DECIMALS, 150.0, 1000.0, wide) for counts in noisy]
    assert found.count(grain) > 120
    assert 1.0 not in {likely_grain(counts, DECIMALS, 150.0, 1000.0, narrow) for counts in noisy}


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_heavy_zero_beside_the_last_cell_makes_no_tail(sign):
    edges = np.array([-12.0, 0.0, 5e-324, 4.0]) if sign > 0 else np.array([-4.0, 0.0, 5e-324, 12.0])
    cells = Cells(edges, np.array([0.05, 0.75, 0.2])[:: int(sign)])
    given = Counts(200 * cells.shares, np.ones(3), 2.0, 200.0)
    found, _ = with_tails(cells, given, (-400.0, 400.0), None)
    assert np.isfinite(found.shares).all()
    assert (found.shares >= 0).all()
    assert found.shares.sum() == pytest.approx(1)


def test_numbers_that_lie_apart_at_an_end_have_no_tail():
    edges = np.concatenate([[-999.01, -998.99], np.arange(0.0, 101.0, 10.0)])
    body = np.exp(-((edges[3:] - 55.0) ** 2) / 200)
    shares = np.concatenate([[0.1, 0.0], 0.9 * body / body.sum()])
    cells, given = Cells(edges, shares), Counts(2000 * shares, np.ones(len(shares)), 5.0, 2000.0)
    found, _ = with_tails(cells, given, (-6000.0, 6000.0), None)
    assert found.edges[0] == -999.01  # such as a code for a missing cell


def test_cells_of_which_nothing_was_expected_hold_what_is_found():
    cells = Cells(np.arange(4.0), np.array([0.0, 0.0, 1.0]))  # as in bounds of many magnitudes
    found = held_cells(cells, Counts(np.array([60.0, 40.0, -9.0]), np.ones(3), 2.0, 100.0))
    assert found.shares.tolist() == pytest.approx([0.6, 0.4], abs=0.1)
