"""How far numbers are expected to be off, beside how far they are."""

import numpy as np
import pytest

from sinkgen.denoise.doubt import UNKNOWN, Doubt, distance, doubt
from sinkgen.denoise.numbers import Cells, Counts, held_cells


def cut(n_cells, n, noise, seed):
    """Even cells of numbers between 0 and 1, their noisy counts, and what these show."""
    random = np.random.default_rng(seed)
    grid = Cells(np.linspace(0, 1, n_cells + 1), np.full(n_cells, 1 / n_cells))
    real = np.bincount((random.beta(2, 5, n) * n_cells).astype(int), minlength=n_cells)
    counts = Counts(real + noise * random.normal(size=n_cells), np.ones(n_cells), noise, float(n))
    return grid, real / n, counts, held_cells(grid, counts)


def test_the_expected_error_is_that_of_fresh_noise():
    expected, actual = [], []
    for seed in range(12):
        grid, real, counts, found = cut(30, 3000, 25.0, seed)
        expected.append(doubt(found, 3000, None, counts, lambda counts, of=grid: held_cells(of, counts), grid).error)
        actual.append(distance(found, Cells(grid.edges, real)) / 0.16)
    assert 0.5 < np.mean(expected) / np.mean(actual) < 2


def test_more_noise_and_wider_cells_are_more_doubt():
    def error(n_cells, noise):
        grid, _, counts, found = cut(n_cells, 3000, noise, 0)
        return doubt(found, 3000, None, counts, lambda counts: held_cells(grid, counts), grid)

    assert error(30, 1.0).error < error(30, 50.0).error
    assert error(30, 1.0).error < error(3, 1.0).error
    assert not error(60, 1.0).is_much
    assert error(3, 1.0).is_much
    assert UNKNOWN.is_much


def test_of_whole_numbers_a_cell_of_one_is_exact():
    grid, counts = Cells(np.arange(3.0), np.full(2, 0.5)), Counts(np.array([70.0, 30.0]), np.ones(2), 1e-6, 100.0)
    found = held_cells(grid, counts)
    assert doubt(found, 100, 1.0, counts, lambda counts: held_cells(grid, counts), grid).error < 1e-6
    assert doubt(found, 100, None, counts, lambda counts: held_cells(grid, counts), grid).error > 0.1


def test_two_samples_are_as_far_apart_as_is_said():
    random, cells = np.random.default_rng(0), Cells(np.linspace(0, 1, 51), np.full(50, 0.02))
    found = [np.abs(np.sort(random.random(200)) - np.sort(random.random(200))).mean() for _ in range(200)]
    counts = Counts(np.full(50, 4.0), np.ones(50), 1e-6, 200.0)
    chance = doubt(cells, 200, None, counts, lambda counts: cells, cells).chance
    assert chance == pytest.approx(np.mean(found) * 12**0.5, rel=0.1)


def test_what_is_much_is_so_beside_chance():
    assert Doubt(0.2, 0.03).is_much
    assert not Doubt(0.2, 0.05).is_much
    assert not Doubt(0.09, 0.001).is_much
