"""What of a table is asked: its columns, then the pairs that depend on each other, as finely as they can pay for."""

import itertools
import math
from typing import NamedTuple

import torch

from sinkgen._groups import count_cells
from sinkgen.denoise.densities import of_columns
from sinkgen.denoise.frequencies import LIKELY, project_simplex, some_or_none
from sinkgen.denoise.ratios import likely_cells
from sinkgen.generators.cliques import Clique, even_groups
from sinkgen.inference.counts import pooled_column
from sinkgen.privacy.queries.tables import CliqueQuery, DistanceQuery

COARSE = 8  # groups of a column in which dependence is looked for
NOISE_PER_CELL = math.sqrt(2 / math.pi)  # mean absolute value of a normal number
PAY = 3.0  # by how much a pair's distance from independence has to exceed what noise adds to it
STANDS_OUT, STATES_STAND_OUT = 2.0, 2.0  # standard deviations
LEAST_FREQUENCY = 1e-6
LEAST_CELLS = 4  # of a pair that is asked
# Interactions: how many groups of a column by the number of columns, how many candidates, and the least share of the
# records that one has to move beyond what pairs say.
INTERACTION_GROUPS, MOST_CANDIDATES, MUCH = {3: 4, 4: 2}, {3: 10_000, 4: 2000}, 0.1
RAKINGS = 10
TINY = 1e-9


class Asked(NamedTuple):
    """Cliques, shares of the records in their cells, and the standard deviation of the noise of each."""

    cliques: list
    targets: list
    noises: list


class Columns(NamedTuple):
    """Noisy counts of the states of every column, the label last, and the standard deviation of each column's noise."""

    counts: list
    noises: list


def learn_columns(source, widths, mechanism, weights, what="columns"):
    """Release how many records have each state of every column; on the row ``what``.

    Parameters
    ----------
    source : RecordSource
        States (m, n_columns) with classes.
    widths : sequence of int
        Number of states of each column, the label last.
    mechanism : GaussianMechanism
    weights : sequence of float
        Of each column.
    what : str

    Returns
    -------
    Columns
    """
    cliques = [Clique((j,), (torch.arange(width),)) for j, width in enumerate(widths)]
    query = CliqueQuery(cliques, weights)
    counts = mechanism.release(what, query, source)
    return Columns(counts, [mechanism.noise_multiplier(what) / scale for scale in query.scales])


def averaged(first, second):
    """Two releases of the same columns as one, each by the inverse of its variance."""
    share = [b**2 / max(a**2 + b**2, TINY**2) for a, b in zip(first.noises, second.noises, strict=True)]
    counts = [of * a + (1 - of) * b for of, a, b in zip(share, first.counts, second.counts, strict=True)]
    return Columns(counts, [a * of**0.5 for of, a in zip(share, first.noises, strict=True)])


def frequencies_of(columns, total, ordered, optional, known=None, missing=()):
    """Frequencies of the states of each column: smooth where states have an order, and on the simplex.

    Parameters
    ----------
    columns : Columns
    total : float
        Number of records.
    ordered : sequence of int
        How many of each column's first states have an order.
    optional : sequence of sequence of bool
        Which states are for missing or other cells: those that do not stand out are never drawn.
    known : dict of int to StateCounts, optional
        Other counts of some columns.
    missing : sequence of int
        Columns whose last state is for missing cells.
    """
    counts = list(columns.counts)
    noises = [torch.full((len(of),), noise).double() for of, noise in zip(counts, columns.noises, strict=True)]
    for j, of in (known or {}).items():
        counts[j], variances = of.joined(counts[j].double(), columns.noises[j] ** 2)
        noises[j] = variances.sqrt()
    if missing:
        numbers, doubts = (torch.tensor([float(of[j][-1]) for j in missing]) for of in (counts, noises))
        n_none = sum(of.lacks_none for of in (known or {}).values())
        chances, lacking = some_or_none(numbers, doubts, n_none)
        for j, chance, number in zip(missing, chances, lacking, strict=True):
            counts[j] = torch.cat([counts[j][:-1].double(), number[None] * (chance > LIKELY)])
            noises[j] = torch.cat([noises[j][:-1], number.new_zeros(1)])  # that it is there, is decided
    absent = [_absent(*of) for of in zip(counts, optional, noises, strict=True)]
    found = of_columns(counts, noises, ordered, absent, total)
    # Whatever is declared can be drawn where it is asked for.
    held = [torch.where(gone, 0.0, of.clamp_min(LEAST_FREQUENCY)) for gone, of in zip(absent, found, strict=True)]
    return [(of / of.sum()).float() for of in held]


def _absent(counts, optional, noise):
    absent = torch.tensor(optional) & ((counts < STATES_STAND_OUT * noise) | (counts <= 0))
    return absent & ~absent.all()  # of which nothing stands out, has all of its states


class Counted(NamedTuple):
    """A query of pairs, their noisy counts, and the noise multiplier of these."""

    query: CliqueQuery
    counts: list
    noise: float

    def again(self, source, mechanism, what):
        """The same pairs, counted once more on the row ``what``: both together, each by the inverse of its variance."""
        noise, counts = mechanism.noise_multiplier(what), mechanism.release(what, self.query, source)
        share = noise**2 / max(self.noise**2 + noise**2, TINY**2)
        both = [share * a + (1 - share) * b for a, b in zip(self.counts, counts, strict=True)]
        return Counted(self.query, both, self.noise * share**0.5)

    def pooled(self, columns):
        """Columns by their own counts and what pairs count of them, each by the inverse of its variance."""
        parts = [self._pooled(j, *part) for j, part in enumerate(zip(*columns, strict=True))]
        return Columns(*map(list, zip(*parts, strict=True)))

    def _pooled(self, column, counts, noise):
        """Counts of one column's states, and the root mean square of their noise."""
        others = []
        for clique, part, scale in zip(self.query.cliques, self.counts, self.query.scales, strict=True):
            if column in clique.columns:
                rows = clique.rows(part.double(), column)
                others.append((clique.groups_of(column), rows.sum(0), len(rows) ** 0.5 * self.noise / scale))
        return pooled_column(counts, noise, others)

    def asked(self, frequencies, total):
        """The pairs, denoised: :class:`Asked`."""
        cliques, noises = list(self.query.cliques), [self.noise / scale / total for scale in self.query.scales]
        shares = [part.float() / total for part in self.counts]
        return Asked(cliques, denoised(shares, cliques, frequencies, noises), noises)


class Near(NamedTuple):
    """Pairs of columns that were looked at and not counted, for they did not look far from independent.

    Attributes
    ----------
    cliques : list of Clique
        In coarse groups.
    excess : Tensor of shape (n_pairs,)
        Distance of each from independent beyond chance, in records; noisy.
    doubt : float
        Standard deviation of its noise.
    """

    cliques: list
    excess: torch.Tensor
    doubt: float

    @classmethod
    def nothing(cls):
        """No pairs."""
        return cls([], torch.zeros(0), 0.0)

    def held(self, field, known, total):
        """What a field has to be held at: pairs that its draws have farther from independent than was released.

        Two columns that both go together with a third go together in a field's draws, unless it is told otherwise. How
        they differ from independent is left as it is; by how much, is what was released.

        Parameters
        ----------
        field : Field
        known : collection of int
            Columns of which any two are known.
        total : float
            Number of records.

        Returns
        -------
        Asked
        """
        rows = [i for i, clique in enumerate(self.cliques) if not {*clique.columns} <= {*known}]
        cliques, codes = [self.cliques[i] for i in rows], field.population.long()
        asked = Asked([], [], [])
        for i, clique, counts in zip(rows, cliques, count_cells(cliques, codes), strict=True):
            expected = clique.independent(field.frequencies).double()
            difference = counts.view(clique.shape).double() / codes.shape[1] - expected
            chance = NOISE_PER_CELL * (expected / codes.shape[1]).sqrt().sum()
            has, seen = total * float(difference.abs().sum() - chance), max(float(self.excess[i]), 0.0)
            if has > seen + STANDS_OUT * self.doubt:
                asked.cliques.append(clique)
                asked.targets.append((expected + seen / has * difference).float())
                asked.noises.append(self.doubt / total / clique.size)
        return asked


class Related(NamedTuple):
    """What is known of which columns go together.

    Attributes
    ----------
    pairs : Counted or None
        None where no pair is far from independent.
    near : Near
        The others.
    unseen : float
        Share of the records by which a pair may be from independent, and is not counted.
    """

    pairs: Counted | None
    near: Near
    unseen: float


def learn_pairs(source, frequencies, ordered, total, mechanism, *, column_noises, weights, targets=()):
    """Release how far each pair of columns is from independent, then the counts of those that are far.

    Parameters
    ----------
    source : RecordSource
        States (m, n_columns) with classes.
    frequencies : list of Tensor
        Of the states of each column, the label last.
    ordered : sequence of int
        How many of each column's first states have an order.
    total : float
        Number of records.
    column_noises : sequence of float
        Standard deviation of the noise of a state's count, of each column.
    weights : Tensor of shape (n_columns, n_columns)
        Of each pair.
    targets : collection of int
        Columns whose pairs are asked in any case.
    mechanism : GaussianMechanism
        Charged with "distances" and "pairs".

    Returns
    -------
    Related
    """
    several = [j for j, part in enumerate(frequencies) if len(part) > 1]
    pairs = list(itertools.combinations(several, 2))
    if not pairs:
        return Related(None, Near.nothing(), 0.0)
    grouped = [even_groups(part, COARSE, n) for part, n in zip(frequencies, ordered, strict=True)]
    coarse = [Clique(pair, tuple(grouped[j] for j in pair)) for pair in pairs]
    shares = [
        torch.zeros(int(of.max()) + 1).index_add_(0, of, part) for of, part in zip(grouped, frequencies, strict=True)
    ]
    expected = [total * torch.outer(shares[a], shares[b]) for a, b in pairs]
    query = DistanceQuery(coarse, expected)
    distances = mechanism.release("distances", query, source)
    by_chance = [_by_chance(clique, part, column_noises) for clique, part in zip(coarse, expected, strict=True)]
    excess = distances - torch.stack(by_chance)
    doubt = mechanism.noise_multiplier("distances") * query.sensitivity
    noise = mechanism.noise_multiplier("pairs")
    weight = torch.stack([weights[a, b] for a, b in pairs])
    wanted = torch.tensor([not {*pair}.isdisjoint(targets) for pair in pairs])
    chosen = choose(excess, doubt, noise, weight)
    chosen += sorted({*torch.nonzero(wanted).flatten().tolist()} - {*chosen})
    least = float(_least(noise * (1 + weight[chosen].square().sum()).sqrt(), doubt))
    unseen = least / 2 / max(total, 1.0) if len(chosen) < len(pairs) else 0.0
    others = sorted({*range(len(pairs))} - {*chosen})
    near = Near([coarse[i] for i in others], excess[others], doubt)
    if not chosen:
        return Related(None, near, unseen)
    # What goes with a target is worth knowing however little it is: as finely as stands out of the noise on average.
    worth = torch.where(wanted, torch.maximum(excess, torch.tensor(PAY * NOISE_PER_CELL * total)), excess)
    cliques, own = _affordable(pairs, chosen, worth, weight, frequencies, ordered, noise=noise)
    counts = CliqueQuery(cliques, own)
    return Related(Counted(counts, mechanism.release("pairs", counts, source), noise), near, unseen)


def _by_chance(clique, expected, column_noises):
    """Mean distance of a pair of independent columns: chance of records, and noise of what is expected of them."""
    expected = expected.double().clamp_min(0)
    variance = expected.clone()
    for axis, (j, of) in enumerate(zip(clique.columns, clique.groups, strict=True)):
        share = expected / expected.sum(1 - axis, keepdim=True).clamp_min(TINY)
        variance += share.square() * (column_noises[j] ** 2 * torch.bincount(of)).unsqueeze(1 - axis)
    return NOISE_PER_CELL * variance.sqrt().sum()


def learn_interactions(source, field, ordered, total, mechanism, targets=()):
    """Release how far three and four columns are from what a field of pairs has, then the counts of those that are far.

    Parameters
    ----------
    source : RecordSource
        States (m, n_columns) with classes.
    field : Field
    ordered, total, mechanism, targets
        As for :func:`learn_pairs`; charged with "interaction distances" and "interactions".

    Returns
    -------
    Asked
        Where nothing is far, nothing, and "interactions" is left for something else.
    """
    candidates = interaction_candidates(field.frequencies, ordered, targets)
    if not candidates:
        return Asked([], [], [])
    codes = field.population.long()
    share = total / codes.shape[1]
    counts = zip(count_cells(candidates, codes), candidates, strict=True)
    expected = [share * part.view(clique.shape) for part, clique in counts]
    query = DistanceQuery(candidates, expected)
    distances = mechanism.release("interaction distances", query, source)
    chance = (1 + share) ** 0.5  # the field's frequencies are those of its population
    excess = distances - chance * torch.stack([NOISE_PER_CELL * part.double().sqrt().sum() for part in expected])
    doubt = mechanism.noise_multiplier("interaction distances") * query.sensitivity
    return count_far(candidates, excess, doubt, source, codes, total=total, mechanism=mechanism)


def count_far(candidates, excess, doubt, source, codes, *, total, mechanism):
    """Release the counts of the cliques that are far from what a model's draws have.

    Parameters
    ----------
    candidates : sequence of Clique
    excess : Tensor of shape (n_candidates,)
        How far each is, in records, beyond what chance and noise make.
    doubt : float
        Standard deviation of its noise.
    source : RecordSource
        States (m, n_columns) with classes.
    codes : LongTensor of shape (n_columns + 1, n)
        The draws, the label last.
    total : float
        Number of records.
    mechanism : GaussianMechanism
        Charged with "interactions".

    Returns
    -------
    Asked
        Where nothing is far, nothing, and "interactions" is left.
    """
    far = torch.nonzero(excess > max(2 * MUCH * total, 2 * STANDS_OUT * doubt)).flatten()
    noise = mechanism.noise_multiplier("interactions")
    chosen = [int(far[i]) for i in choose(excess[far], doubt, noise, torch.ones(len(far)))]
    if not chosen:
        return Asked([], [], [])
    cliques = [candidates[i] for i in chosen]
    counts = CliqueQuery(cliques, [1.0] * len(cliques))
    noises = [noise / scale / total for scale in counts.scales]
    parts = zip(mechanism.release("interactions", counts, source), cliques, noises, strict=True)
    return Asked(cliques, [_shrunk(part.float() / total, q.frequencies(codes), s) for part, q, s in parts], noises)


def interaction_candidates(frequencies, ordered, targets=()):
    """Cliques of three and of four columns, of few groups each; of too many, those with a target alone.

    Examples
    --------
    >>> len(interaction_candidates([torch.full((2,), 0.5)] * 6, [0] * 6))
    35
    """
    several = [j for j, part in enumerate(frequencies) if len(part) > 1]
    found: list = []
    for n_columns, n_groups in INTERACTION_GROUPS.items():
        grouped = [even_groups(part, n_groups, n) for part, n in zip(frequencies, ordered, strict=True)]
        for must in (set(), {*targets} & {*several}):
            sets = _sets(several, n_columns, must)
            if sets is not None:
                found += [Clique(columns, tuple(grouped[j] for j in columns)) for columns in sets]
                break
    return found


def n_sets(n_columns, size, n_must=0):
    """How many sets of so many columns there are, which hold one of those that they must, if there are any.

    Examples
    --------
    >>> n_sets(5, 3), n_sets(5, 3, 1)
    (10, 6)
    """
    return math.comb(n_columns, size) - (math.comb(n_columns - n_must, size) if n_must else 0)


def _sets(columns, size, must):
    """Sets of so many columns, which hold one of those that they must, if there are any; None of too many."""
    if n_sets(len(columns), size, len(must)) > MOST_CANDIDATES[size]:
        return None
    return [of for of in itertools.combinations(columns, size) if not must or not must.isdisjoint(of)]


def _shrunk(shares, expected, noise):
    """Shares of cells between noisy ones and expected ones (James, Stein), on the simplex."""
    difference = shares - expected
    gain = (1 - difference.numel() * noise**2 / difference.square().sum().clamp_min(1e-30)).clamp(0, 1)
    return project_simplex((expected + gain * difference).flatten()).view_as(expected)


def choose(excess, doubt, noise, weights):
    """Places of the pairs to be asked, farthest first: as many as are worth the noise that so many have.

    Parameters
    ----------
    excess : Tensor of shape (n_pairs,)
        Distance of each beyond chance, in records.
    doubt : float
        Standard deviation of its noise.
    noise : float
        Noise multiplier of the release of those that are chosen.
    weights : Tensor of shape (n_pairs,)
        Of each in that release.

    Returns
    -------
    list of int

    Examples
    --------
    >>> choose(torch.tensor([5.0, 900.0, 300.0]), 10.0, 10.0, torch.ones(3))
    [1, 2]
    """
    order = excess.argsort(descending=True)
    noises = noise * weights[order].square().cumsum(0).sqrt() / weights[order]
    worth = torch.nonzero(excess[order] >= _least(noises, doubt)).flatten()
    return order[: int(worth[-1]) + 1].tolist() if len(worth) else []


def _least(noises, doubt):
    """By how many records a pair has to be from independent to be asked, by the noise of its cells' counts."""
    return (LEAST_CELLS * PAY * NOISE_PER_CELL * noises).clamp_min(STANDS_OUT * doubt)


def _affordable(pairs, chosen, excess, weights, frequencies, ordered, *, noise):
    """Cliques of the chosen pairs, each of as many cells as its distance pays for, and their weights in the release.

    The sum of the errors of all cells is least with weights as the cube roots of the numbers of cells.
    """
    own = weights[chosen]
    cells = excess[chosen] / (PAY * NOISE_PER_CELL * max(noise, TINY) * own.norm() / own)
    widths = [
        affordable([len(frequencies[j]) for j in pairs[i]], n) for i, n in zip(chosen, cells.tolist(), strict=True)
    ]
    cliques = [_clique(pairs[i], n, frequencies, ordered) for i, n in zip(chosen, widths, strict=True)]
    return cliques, [float(of) * clique.size ** (1 / 3) for of, clique in zip(own, cliques, strict=True)]


def affordable(widths, n_cells):
    """Numbers of groups of columns: at most ``n_cells`` cells together, but at least two groups each.

    Examples
    --------
    >>> affordable([24, 2], 20), affordable([24, 9], 1000)
    ([10, 2], [24, 9])
    """
    widths = list(widths)
    while math.prod(widths) > n_cells and max(widths) > 2:
        widest = widths.index(max(widths))
        widths[widest] = max(2, min(widths[widest] - 1, int(0.9 * widths[widest])))
    return widths


def _clique(columns, n_groups, frequencies, ordered):
    parts = zip(columns, n_groups, strict=True)
    return Clique(tuple(columns), tuple(even_groups(frequencies[j], n, ordered[j]) for j, n in parts))


def denoised(shares, cliques, frequencies, noises):
    """Shares of the cells of several pairs from noisy ones; post-processing.

    What both columns of a pair have alone is known better: it is taken out, and is kept by raking. What is left of a
    cell, beside what it would hold if they were independent, is judged by all cells of all pairs.

    Parameters
    ----------
    shares : sequence of Tensor, each of its clique's shape
    cliques : sequence of Clique
    frequencies : list of Tensor
    noises : sequence of float
        Standard deviation of the noise of a share, of each pair.

    Returns
    -------
    list of Tensor, each of its clique's shape

    Examples
    --------
    >>> pair = Clique((0, 1), (torch.arange(2), torch.arange(2)))
    >>> (found,) = denoised([torch.tensor([[0.52, -0.01], [0.01, 0.48]])], [pair], [torch.full((2,), 0.5)] * 2, [0.01])
    >>> bool((found - torch.eye(2) / 2).abs().max() < 0.01)
    True
    """
    expected = [clique.independent(frequencies) for clique in cliques]
    noisy, left = [], []
    for part, mean, noise in zip(shares, expected, noises, strict=True):
        difference = part - mean
        for axis in range(2):
            difference = difference - difference.mean(axis, keepdim=True)
        noisy.append(mean + difference)
        left.append(noise * math.sqrt(math.prod((n - 1) / n for n in mean.shape)))
    found = likely_cells(noisy, expected, left)
    return [raked_cells(part + LEAST_FREQUENCY / 10, mean) for part, mean in zip(found, expected, strict=True)]


def raked_cells(cells, expected):
    """Cells times factors of rows and of columns, which have the sums that are expected."""
    for _ in range(RAKINGS):
        for axis in range(2):
            cells = cells * (expected.sum(axis) / cells.sum(axis).clamp_min(TINY**2)).unsqueeze(axis)
    return cells
