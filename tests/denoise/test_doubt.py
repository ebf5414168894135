"""How far numbers are expected to be off, beside how far they are."""

import numpy as np
import pytest

from sinkgen.denoise.cells import Cells, Counts
from sinkgen.denoise.doubt import UNKNOWN, Doubt, distance, doubt, refilled
from sinkgen.denoise.numbers import held_cells
from sinkgen.denoise.search import Numbers, Search


def cut(n_cells, n, noise, seed):
    """Even cells of numbers between 0 and 1, their noisy counts, and what these show."""
    random = np.random.default_rng(seed)
    grid = Cells(np.linspace(0, 1, n_cells + 1), np.full(n_cells, 1 / n_cells))
    real = np.bincount((random.beta(2, 5, n) * n_cells).astype(int), minlength=n_cells)
    counts = Counts(real + noise * random.normal(size=n_cells), np.ones(n_cells), noise, float(n))
    return grid, real / n, counts, held_cells(grid, counts)


def of_bins(cells, noise, n, **more):
    """Each cell a bin of its own."""
    k = len(cells.shares)
    return doubt(cells, np.arange(k), noise**2 * np.eye(k), [], **{"n": n, "n_most": n, "noises": np.zeros(k)} | more)


def test_the_expected_error_of_bins_is_that_of_their_noise():
    random, edges, n, noise = np.random.default_rng(0), np.arange(9.0), 2000, 60.0
    shares = random.dirichlet(np.full(8, 5.0))
    actual = []
    for _ in range(200):
        noisy = random.multinomial(n, shares) + noise * random.normal(size=8)
        actual.append(distance(Cells(edges, noisy / noisy.sum()), Cells(edges, shares)))
    spread = np.sqrt(shares @ (edges[:-1] + 0.5) ** 2 - (shares @ (edges[:-1] + 0.5)) ** 2 + 1 / 12)
    found = of_bins(Cells(edges, shares), noise, n, grain=1.0).error
    assert found == pytest.approx(np.mean(actual) / spread, rel=0.1)


def sought(values, noise, random, bounds=None, steps=4):
    """What noisy counts of numbers show, in steps as a fit has them."""
    search = Search(Numbers(bounds, None), float(len(values)))
    for _ in range(steps):
        search.cut(noise)
        ends, codes = search.places()
        counts = np.bincount(codes[np.searchsorted(ends, values, side="right")], minlength=codes.max() + 2)
        search.learn(counts + noise * random.normal(size=len(counts)), noise)
    return search.counted


@pytest.mark.parametrize("noise", [12.0, 40.0])
def test_the_expected_error_is_that_of_a_search_with_fresh_noise(noise):
    expected, actual = [], []
    for seed in range(12):
        random = np.random.default_rng(seed)
        values = np.sort(random.normal(50, 10, 2000))
        found = sought(values, noise, random)
        cells = refilled(found.cells, found.bins(), empirical(values))
        starts = np.flatnonzero(np.diff(found.bins(), prepend=-1))
        expected.append(found.doubt(cells, starts, np.zeros((len(starts), len(starts)))).error)
        actual.append(distance(cells, empirical(values)) / 10)
    assert 0.5 < np.mean(expected) / np.mean(actual) < 2.5


def empirical(values):
    """Sorted values as cells of next to no width."""
    edges = np.append(values, values[-1] + 1e-9)
    return Cells(edges, np.full(len(values), 1 / len(values)))


@pytest.mark.parametrize("bounds", [(1950.0, 2019.0), (-1e4, 1e4)])
def test_noise_alone_is_no_reason_to_believe_in_a_single_number(bounds):
    random = np.random.default_rng(0)
    for _ in range(40):
        found = sought(random.uniform(1950, 2019, 200), 74.0, random, bounds)
        assert np.diff(found.cells.edges[[0, -1]]) > 10 or found.doubt().is_much or found.is_constant  # which is told


def test_a_far_cell_that_was_chosen_for_its_noise_is_not_believed():
    wrong = 0
    for seed in range(300):
        random = np.random.default_rng(seed)
        found = sought(random.gamma(4, 7, 1500), 40.0, random)
        wrong += np.abs(found.cells.edges).max() > 1e5
    assert wrong == 0


def test_what_is_left_over_is_outside_even_where_its_own_count_says_little():
    # Only their sum tells that a quarter of the numbers, spread over many octaves, are not in the cells that are known.
    told = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        values = np.where(random.random(450) < 0.7, 0.0, 10 ** random.uniform(0, 6, 450))
        found = sought(values, 40.0, random)
        told += found.outside > 0.05 or found.doubt().is_much
    assert told >= 18


def test_more_noise_wider_cells_and_fewer_records_are_more_doubt():
    def error(n_cells, noise, n=3000):
        return of_bins(cut(n_cells, n, 1.0, 0)[3], noise, n)

    assert error(30, 1.0).error < error(30, 50.0).error
    assert error(30, 1.0).error < error(3, 1.0).error
    assert error(30, 0.0).error < error(30, 0.0, 300).error
    assert not error(60, 1.0).is_much
    assert error(60, 300.0).is_much
    assert error(30, 1e9).error < 3  # no more than not to know at all
    assert UNKNOWN.is_much


@pytest.mark.parametrize("far", [1e6, 1e9, 2e15])
def test_how_far_off_numbers_are_does_not_depend_on_how_far_from_zero_they_lie(far):
    random = np.random.default_rng(0)
    assert sought(far + far * 1e-12 * random.normal(size=2000), 20.0, random).doubt().is_much
    assert not of_bins(Cells(far + np.array([0.0, 1.0]), np.ones(1)), 20.0, 2000, grain=1.0).is_much  # one number


def test_numbers_beyond_cells_that_might_have_been_found_are_clipped_to_them():
    real, narrow = Cells(np.arange(5.0), np.array([0.5, 0.0, 0.0, 0.5])), Cells(np.array([0.0, 1.0]), np.ones(1))
    assert refilled(narrow, np.zeros(1, dtype=int), real).shares.tolist() == [1.0]
    none, many = np.zeros(4), 1e12
    exact = {"noises": none, "n": many, "n_most": many, "grain": 1.0}
    found = doubt(real, [0, 1, 3], np.zeros((3, 3)), [narrow], **exact).error
    assert found == pytest.approx(1.5 / real_deviation(real), rel=1e-3)  # half of them, by three
    assert doubt(real, [0, 1, 3], np.zeros((3, 3)), [real], **exact).error == pytest.approx(0, abs=1e-5)


def real_deviation(cells):
    middles = (cells.edges[1:] + cells.edges[:-1]) / 2
    return np.sqrt(cells.shares @ (middles - cells.shares @ middles) ** 2 + 1 / 12)


def test_cells_that_do_not_stand_out_are_doubted_as_their_bin_is():
    cells = Cells(np.linspace(0, 1, 17), np.full(16, 1 / 16))
    seen, unseen = (
        doubt(cells, [0], np.zeros((1, 1)), [cells], noises=np.full(16, noise), n=3000, n_most=3000).error
        for noise in (1.0, 1e4)
    )
    assert seen < 0.1 < 0.5 < unseen


def test_of_whole_numbers_a_cell_of_one_is_exact():
    cells = Cells(np.arange(3.0), np.array([0.7, 0.3]))
    assert of_bins(cells, 0.0, 1e12, grain=1.0).error < 1e-5
    assert of_bins(cells, 0.0, 1e12).error > 0.1


def test_two_samples_are_as_far_apart_as_is_said():
    random, cells = np.random.default_rng(0), Cells(np.linspace(0, 1, 51), np.full(50, 0.02))
    found = [np.abs(np.sort(random.random(200)) - np.sort(random.random(200))).mean() for _ in range(200)]
    assert of_bins(cells, 0.0, 200).chance == pytest.approx(np.mean(found) * 12**0.5, rel=0.1)
    # Of more records than were counted, for all that is known, two samples are more alike.
    assert of_bins(cells, 0.0, 200, n_most=800).chance == pytest.approx(of_bins(cells, 0.0, 200).chance / 2)


def test_what_is_much_is_so_beside_chance():
    assert Doubt(0.2, 0.03).is_much
    assert not Doubt(0.2, 0.06).is_much
    assert not Doubt(0.06, 0.001).is_much
