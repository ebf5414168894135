"""Columns bound together more tightly than a mixture can hold: a field of the same released marginals. Public."""

import itertools
from typing import NamedTuple

import torch

from sinkgen.denoise.ratios import cells_and_doubts
from sinkgen.generators.cliques import Clique
from sinkgen.generators.field import Field
from sinkgen.generators.settling import settle
from sinkgen.training.tables.ascent import fit_field
from sinkgen.training.tables.structure import NOISE_PER_CELL, denoised, raked_cells

RELATED = 0.005  # share of the records by which the marginals of two columns are off independent
SOME, MUCH = 0.05, 0.1  # the same, by which draws are off them; that is told
CLOSE = 0.4  # share of the records by which groups of two columns are off independent, that may be hiding more
OUTWEIGHS = 0.85  # times what is in doubt, that a mixture may be off
SURE = 4.0  # standard deviations
MOST_NAMED = 3
HOLD = 0.1  # how strongly noise holds potentials near 0
LEAST_FREQUENCY = 1e-6
SWEEPS, COLUMNS_SWEPT = 40, 600


class Misfit(NamedTuple):
    """How far a mixture's draws are from the two-way marginals that were released, of every two columns.

    Attributes
    ----------
    couples : list of (int, int)
        Places of the columns.
    distances : list of float
        Share of the records by which draws are off what the marginals most likely are.
    doubts : list of float
        Share of the records by which these may be off.
    is_sure : list of bool
        Whether noise does not explain them.
    """

    couples: list
    distances: list
    doubts: list
    is_sure: list

    @classmethod
    def of(cls, mixture, pairs, states):
        """That of a mixture (weights, frequencies), to pairs of states, or groups of these.

        A mixture of products has to spend components on each combination of what depends on each other. A few columns
        that nearly follow from others take more than it has; then it holds none of them well.
        """
        of_component, frequencies, widths = mixture[0].sum(1), mixture[1], states.widths
        if pairs.grouping is not None:
            frequencies, widths = frequencies @ pairs.grouping.matrix, pairs.grouping.widths
        seen = _tables(pairs.shares.sum(0), widths)
        drawn = _tables((of_component[:, None] * frequencies).T @ frequencies, widths)
        likely, doubts = cells_and_doubts(seen, drawn, [_noise(pairs)] * len(seen))
        return cls(
            list(itertools.combinations(range(len(states.widths)), 2)),
            [_distance(*of) for of in zip(likely, drawn, strict=True)],
            [NOISE_PER_CELL * float(of.sum()) / 2 for of in doubts],
            [_least_square(*of, _noise(pairs)) > 0 for of in zip(seen, drawn, strict=True)],
        )

    @property
    def is_large(self):
        """Whether it is much, and about as much as is in doubt anyway: then the marginals say more than the mixture."""
        return max(self.distances, default=0.0) > SOME and sum(self.distances) > OUTWEIGHS * sum(self.doubts)

    def remarks(self, names, *, has_labels):
        """What is poor of how single columns go together, by their names."""
        parts = zip(self.distances, self.is_sure, self.couples, strict=True)
        far = sorted((distance, couple) for distance, is_sure, couple in parts if is_sure and distance > MUCH)
        return _told([couple for _, couple in reversed(far)], names, "than draws have it", has_labels)


def close_remarks(one_way, pairs, states, names, *, has_labels):
    """What groups of states cannot tell of columns that go together closely, by their names.

    Parameters
    ----------
    one_way : OneWay
    pairs : Pairs
        Of groups.
    states : States
    names : sequence of str
    has_labels : bool
    """
    widths, groups = pairs.grouping.widths, pairs.grouping.groups
    is_coarse = [len(of) > width for of, width in zip(groups, widths, strict=True)]
    parts = zip(one_way.frequencies(states), groups, widths, strict=True)
    alone = [torch.zeros(width).index_add_(0, of, part) for part, of, width in parts]
    couples, distances = list(itertools.combinations(range(len(names)), 2)), []
    for (a, b), seen in zip(couples, _tables(pairs.shares.sum(0), widths), strict=True):
        # As if all cells were equally far.
        distance = (seen.numel() * _least_square(seen, torch.outer(alone[a], alone[b]), _noise(pairs))) ** 0.5 / 2
        if distance > CLOSE and is_coarse[a] and is_coarse[b]:
            distances.append((distance, (a, b)))
    far = [couple for _, couple in sorted(distances, reverse=True)]
    return _told(far, names, "than the few groups of values that are counted", has_labels)


def _told(couples, names, than, has_labels):
    if not couples:
        return ()
    some = ", ".join(f"{names[a]!r} and {names[b]!r}" for a, b in couples[:MOST_NAMED])
    more = f" and {len(couples) - MOST_NAMED} more pairs" if len(couples) > MOST_NAMED else ""
    remedy = "make the labels one of the table's columns in place of y, or " * has_labels + "raise epsilon"
    return (f"{some}{more} go together more closely {than}: {remedy}",)


def field_of(one_way, pairs, class_weights, states, *, places, limits, random, progress):
    """The field whose draws have the released marginals, of the pairs of columns that are not independent.

    Parameters
    ----------
    one_way : OneWay
    pairs : Pairs
    class_weights : Tensor of shape (n_classes,)
    states : States
    places : Places
    limits : sequence of Limits
    random : torch.Generator
    progress : callable
        Wraps the range of sweeps.

    Returns
    -------
    Field
    """
    absent = one_way.absent(states).split(states.widths)
    frequencies = [
        torch.where(gone, 0.0, of.clamp_min(LEAST_FREQUENCY))
        for of, gone in zip(one_way.frequencies(states), absent, strict=True)
    ]
    frequencies = [(of / of.sum()).float() for of in frequencies] + [(class_weights / class_weights.sum()).float()]
    n, every = len(states.widths), [torch.arange(len(of)) for of in frequencies]
    couples = [Clique((a, b), (every[a], every[b])) for a, b in itertools.combinations(range(n), 2)]
    noise = _noise(pairs)
    likely = denoised(_tables(pairs.shares.sum(0), states.widths), couples, frequencies, [noise] * len(couples))
    apart = [
        _distance(of, couple.independent(frequencies)) > RELATED for of, couple in zip(likely, couples, strict=True)
    ]
    cliques, targets = (list(itertools.compress(of, apart)) for of in (couples, likely))
    noises = [noise] * len(cliques)
    if len(class_weights) > 1:
        own = [Clique((j, n), (every[j], every[n])) for j in range(n)]
        cells = [part.T.clamp_min(LEAST_FREQUENCY / 10) for part in one_way.shares.split(states.widths, 1)]
        targets += [raked_cells(*of) for of in zip(cells, (of.independent(frequencies) for of in own), strict=True)]
        cliques, noises = cliques + own, noises + [one_way.noise] * n
    return fit_field(
        cliques, targets, [HOLD * of for of in noises], frequencies, places,
        sweeps=_sweeps(n), random=random, progress=progress, limits=limits,
    )  # fmt: skip


def with_cliques(field, asked, random):
    """The field after some more sweeps, in which it also comes to have the frequencies of other cliques.

    Parameters
    ----------
    field : Field
    asked : Asked
    random : torch.Generator

    Returns
    -------
    Field
    """
    if not asked.cliques:
        return field
    nothing, n = [torch.zeros_like(target) for target in asked.targets], len(field.heights) - 1
    made = Field(
        [*field.cliques, *asked.cliques], [*field.potentials, *nothing], [*field.targets, *asked.targets],
        field.heights, field.frequencies, field.population, places=field.places, limits=field.limits,
    )  # fmt: skip
    doubts = [HOLD * noise for noise in (*[0.0] * len(field.cliques), *asked.noises)]
    return settle(made, doubts, _sweeps(n) // 2, random)


def _sweeps(n_columns):
    return min(SWEEPS, max(8, COLUMNS_SWEPT // n_columns))


def _noise(pairs):
    """Standard deviation of the noise of a share, of all classes together."""
    return pairs.noise * len(pairs.shares) ** 0.5


def _tables(matrix, widths):
    """Those of every two columns of a matrix (D, D) of all states, or groups."""
    rows = [part.split(widths, 1) for part in matrix.split(widths)]
    return [rows[a][b] for a, b in itertools.combinations(range(len(rows)), 2)]


def _least_square(seen, expected, noise):
    """The least that tables surely are apart, squared; 0 where noise explains it."""
    found = float((seen - expected).double().square().sum())
    return max(found - noise**2 * (seen.numel() + SURE * (2 * seen.numel()) ** 0.5), 0.0)


def _distance(first, second):
    return float((first - second).abs().sum()) / 2
