"""How many rows persons have, and what that says of how to bound them."""

from dataclasses import dataclass

import torch

from sinkgen.accounting.unit import MOST_ROWS, Unit
from sinkgen.denoise.frequencies import project_simplex, smooth_frequencies
from sinkgen.generators.people import SIZES
from sinkgen.privacy.queries.tables import MarginalQuery

# Constants of "auto", set by reasoning and looked at on a made-up panel: docs/experiments.md, Persons.
DEPENDS = 0.25  # distance of a column's distributions in persons of different numbers of rows
TOLD = 110.0  # error of two columns of ten states, of twenty columns, on all of the budget: in noise of this release


def learn_sizes(what, source, mechanism, total=None):
    """Share of the persons that have each number of rows, in the cells of ``SIZES``.

    Parameters
    ----------
    what : str
        The charged row.
    source : SealedSource
        Rows of a person share a weight of one.
    mechanism : GaussianMechanism
    total : float, optional
        Noisy number of persons; by default the sum of what is released.

    Returns
    -------
    Sizes
    """
    noise = mechanism.noise_multiplier(what)
    noisy = mechanism.release(what, MarginalQuery([len(SIZES)]), source.map(sizes_alone))[0]
    total = max(1.0, float(noisy.sum())) if total is None else total
    return Sizes(_shares(noisy / total, noise / total, total), total, noise)


@dataclass(frozen=True)
class Sizes:
    """Numbers of rows of persons.

    Attributes
    ----------
    shares : Tensor of shape (S,)
        Of the persons, in the cells of ``SIZES``.
    total : float
        Noisy number of persons.
    noise : float
        Standard deviation of a count's noise.
    """

    shares: torch.Tensor
    total: float
    noise: float

    def best_unit(self):
        """How to bound a person so that what is drawn is nearest to rows as they come: by shares, or at most k rows.

        Rows that count differently from how they come bias a column by as much as it depends on the number of rows; k
        rows a person make noise k times as large, and sums larger by less than that.

        Examples
        --------
        >>> shares = torch.zeros(len(SIZES), dtype=torch.float64)
        >>> shares[[0, 3]] = 0.5
        >>> [Sizes(shares, total, 1.0).best_unit().max_rows for total in (300.0, 1e6)]
        [1, 4]
        """
        n_rows, wanted = SIZES.middle, self.shares * SIZES.middle
        ways = [Unit.of_groups(None), *map(Unit.of_groups, range(2, MOST_ROWS + 1))]
        counting = [self.shares if way.shared else self.shares * n_rows.clamp_max(way.max_rows) for way in ways]
        errors = []
        for way, counts in zip(ways, counting, strict=True):
            bias = DEPENDS * 0.5 * float((counts / counts.sum() - wanted / wanted.sum()).abs().sum())
            noise = TOLD * way.max_rows * self.noise / (self.total * float(counts.sum()))
            errors.append(bias**2 + noise**2)
        return ways[errors.index(min(errors))]


def sizes_alone(records):
    """Records whose only value is the cell of their person's number of rows."""
    cells = SIZES.cell(records.groups[:, 3])
    return records.having(values=cells[:, None], labels=torch.zeros_like(cells))


def _shares(noisy, noise, total):
    # Smooth where each cell is one number; beyond, cells are wider and wider.
    single = SIZES.n_single
    smooth = torch.cat([smooth_but_for_chance(noisy[:single], noise, total), noisy[single:]])
    # What is not there would get a share of the noise of each of many cells: they end where to leave the rest out is
    # the lesser error, by the unbiased estimate of it.
    lost = (noisy.square() - 2 * noise**2).flip(0).cumsum(0).flip(0)
    end = max(1, int(torch.cat([lost, lost.new_zeros(1)]).argmin()))
    found = torch.zeros_like(noisy)
    found[:end] = project_simplex(smooth[:end])
    return found / found.sum()


def smooth_but_for_chance(noisy, noise, total):
    """Frequencies (D,) of ``total`` persons from noisy ones: smooth ones, and about these what chance explains of them.

    Of persons who are drawn from smooth frequencies p, cells have shares of variance p / total around these. So of what
    noisy shares differ by from smooth ones, the part of that variance in both is kept (Wiener).

    Examples
    --------
    >>> noisy = torch.tensor([0.3, 0.25, 0.17, 0.15, 0.13], dtype=torch.float64)
    >>> smooth_but_for_chance(noisy, 1e-6, 1000.0).allclose(noisy, atol=1e-4)
    True
    """
    expected = smooth_frequencies(noisy, noise).clamp_min(0)
    expected = smooth_frequencies(noisy, float((noise**2 + expected.mean() / total).sqrt())).clamp_min(0)
    chance = expected / total
    # Without noise, and where nobody is expected, both are 0.
    return expected + chance / (chance + noise**2).clamp_min(torch.finfo(chance.dtype).tiny) * (noisy - expected)
