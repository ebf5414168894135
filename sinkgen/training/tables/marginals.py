"""What a table is asked first: its marginals, as far as they stand out of the noise."""

import itertools
import math
from typing import NamedTuple

import torch
from torch.nn import functional as F

from sinkgen.denoise.densities import of_columns
from sinkgen.denoise.frequencies import LIKELY, project_simplex, some_or_none
from sinkgen.privacy.queries.tables import GroupedPairQuery, JointQuery, MarginalQuery, PairQuery, pair_mask
from sinkgen.privacy.query import SumQuery

# Constants chosen by trials: docs/experiments.md, Tables.
# How large an average count has to be, in standard deviations of its noise, for a release to be worth its share.
LEAST_CELL, LEAST_PAIR, LEAST_SERVED, LEAST_MOMENT = 0.3, 0.15, 0.15, 2.0
LEAST_SHARE, ENOUGH = 0.3, 20.0  # of one-way marginals; the same ratio at which half of a release does for them
GAIN = 0.005  # of a label's log-likelihood, that has to stand out
APART = 0.5  # of what classes differ by in noisy shares and not in the likeliest, that is kept where noise is small
RARE = 2.0  # standard deviations that missing or other cells stand out by, at least
TINY, LEAST_FREQUENCY = 1e-9, 1e-6


class States(NamedTuple):
    """Public facts of the states of all columns.

    Attributes
    ----------
    widths : tuple of int
        Number of states of each column; D in all.
    ordered : tuple of int
        How many of each column's first states have an order.
    optional : tuple of bool
        Which of the D states are for missing or other cells.
    missing : tuple of int
        Those of the D states that are for missing cells.
    """

    widths: tuple
    ordered: tuple
    optional: tuple
    missing: tuple = ()


class OneWay(NamedTuple):
    """Noisy one-way marginals of each class.

    Attributes
    ----------
    shares : Tensor of shape (n_classes, D)
        Of all records.
    noise : float
        Standard deviation of a share's noise, before bins of numbers were smoothed.
    together : Tensor of shape (D,), or None
        The same of all classes together, where more is known of these.
    """

    shares: torch.Tensor
    noise: float
    together: torch.Tensor | None = None

    def frequencies(self, states):
        """Of the states of each column, in records of all classes: list of Tensor."""
        shares = self.shares.sum(0).clamp_min(0).split(states.widths)
        return [(part + TINY) / (part + TINY).sum() for part in shares]

    def absent(self, states):
        """Which of the D states are for missing or other cells, and do not stand out: but never all of a column."""
        noise = self.noise * math.sqrt(len(self.shares)) if self.together is None else self.together
        quiet = self.shares.sum(0) <= RARE * noise
        absent = torch.tensor(states.optional) & quiet
        # A column of which nothing stands out has all of its states.
        return torch.cat([part & ~part.all() for part in absent.split(states.widths)])


class Grouping(NamedTuple):
    """Groups of states, of which pairs are counted.

    Attributes
    ----------
    groups : tuple of LongTensor
        Of each column, the group of each state; E groups in all.
    """

    groups: tuple

    @property
    def widths(self):
        """Number of groups of each column."""
        return tuple(int(of.max()) + 1 for of in self.groups)

    @property
    def matrix(self):
        """Which of all groups (D, E) each of all states belongs to: 0 or 1."""
        return torch.block_diag(*(F.one_hot(of).float() for of in self.groups))


class Pairs(NamedTuple):
    """Noisy two-way marginals, of each class or of all together.

    Attributes
    ----------
    shares : Tensor of shape (n_split, D, D)
        Of all records; or (n_split, E, E), of groups of states.
    noise : float
        Standard deviation of a share's noise.
    grouping : Grouping, optional
    """

    shares: torch.Tensor
    noise: float
    grouping: Grouping | None = None

    def excess(self, weights, frequencies, widths, n_records):
        """How far they are from naive Bayes', squared, beyond noise and the chance of records, in units of these.

        Rows and columns of each table are centred first: what one-way marginals could be off by counts for little.
        About 0 where columns are independent within classes.

        Parameters
        ----------
        weights : Tensor of shape (n_classes, n_classes)
        frequencies : Tensor of shape (n_classes, D)
            Naive Bayes.
        widths : sequence of int
        n_records : float
        """
        if self.grouping is not None:
            frequencies, widths = frequencies @ self.grouping.matrix, self.grouping.widths
        pairs, width = pair_mask(widths), torch.repeat_interleave(torch.tensor(widths), torch.tensor(widths))
        centred = torch.eye(len(width)) - (~pairs) / width[:, None]
        own = weights.T if len(self.shares) > 1 else weights.sum(1)[None]
        simple = (own[:, None, :] * frequencies.T) @ frequencies
        freedom = pairs * (1 - 1 / width[:, None]) * (1 - 1 / width)
        variance = self.noise**2 * freedom * len(own) + freedom * simple.sum(0) / n_records
        squares = (centred @ (self.shares - simple) @ centred).square() * pairs
        return float(squares.sum() / variance.sum().clamp_min(TINY**2)) - 1


class Correlated(NamedTuple):
    """Second moments that are wanted of the scores of some columns.

    Attributes
    ----------
    scores : Tensor of shape (D, d)
        Of the states, for each column that has some; 0 of other columns' states.
    moments : Tensor of shape (d, d)
    precision : Tensor of shape (d, d)
        Inverse variance of each, halved: any two columns stand twice in it. 0 on the diagonal.
    """

    scores: torch.Tensor
    moments: torch.Tensor
    precision: torch.Tensor

    @classmethod
    def of(cls, moments):
        """From moments of all columns, the label last."""
        scores = torch.block_diag(*(part[:, None] for part in moments.scores[:-1]))[:, moments.columns]
        apart = 1 - torch.eye(len(moments.columns))
        return cls(scores.float(), moments.covariance.float(), apart / (2 * max(moments.released.noise, TINY) ** 2))

    def excess(self, weights, frequencies):
        """How far they are from naive Bayes', squared, in units of their noise.

        Parameters
        ----------
        weights : Tensor of shape (n_classes, n_classes)
        frequencies : Tensor of shape (n_classes, D)
            Naive Bayes.
        """
        means = frequencies @ self.scores
        simple = (weights.sum(1, keepdim=True) * means).T @ means
        return float(2 * (self.precision * (self.moments - simple).square()).sum() / (self.precision > 0).sum())


class Marginals(NamedTuple):
    """Noisy marginals, as shares of the records.

    Attributes
    ----------
    one_way : Tensor of shape (n_classes, D)
    two_way : Tensor of shape (n_classes, D, D), or (1, D, D)
        Of states, or groups of these.
    one_way_weight, two_way_weight : Tensor of the same shapes
        Inverse variance of each, in units of ``1 / unit``; 0 where nothing was released.
    unit : float
        Smallest variance.
    grouping : Grouping, optional
        Of the states of the two-way marginals.
    correlated : Correlated, optional
    """

    one_way: torch.Tensor
    two_way: torch.Tensor
    one_way_weight: torch.Tensor
    two_way_weight: torch.Tensor
    unit: float
    grouping: Grouping | None = None
    correlated: Correlated | None = None


def below_noise(n_records, states, mechanism, charged, *, n_split, cell_counts, n_pools, n_components):
    """Releases that would hold hardly anything but noise; post-processing of the noisy number of records.

    The noise of every release is fixed beforehand; what it is asked is not. In place of these the marginals are asked
    again.

    Parameters
    ----------
    n_records : float
    states : States
    n_split : int
        Classes that get two-way marginals of their own; 1 for pairs over all classes.
    cell_counts : sequence of int
        Number of cells of each column whose cells are counted.
    n_pools : int
        Ways to draw labels between which the records decide.
    n_components : int
        Components that records are served by.
    mechanism : GaussianMechanism
    charged : collection of str
        Its releases.

    Returns
    -------
    set of str
    """
    n_fine, n_columns = len(cell_counts), len(states.widths)
    # An average count (or sum), and the least in units of the noise multiplier.
    signals = {
        "cells": (n_records * n_fine / max(1, sum(cell_counts)) / n_split, LEAST_CELL * n_fine**0.5),
        "labelling": (n_records * GAIN, n_pools**0.5),
        "moments": (n_records, LEAST_MOMENT * n_columns**0.5),
        "refinements": (n_records * _mean_share(states) / n_components, LEAST_SERVED * (n_columns + 1) ** 0.5),
    }
    return {what for what in charged & signals.keys() if _is_below(*signals[what], mechanism.noise_multiplier(what))}


def _is_below(signal, least, noise):
    return signal < least * noise


def _mean_share(states):
    """Average share of the records in a state."""
    return sum(1 / width for width in states.widths) / len(states.widths)


def share_of_one_way(n_records, states, n_classes, n_split, noise, grouping=None):
    """Share of the marginals' release that the one-way ones get; post-processing of the noisy number of records.

    Their average count within a class, over the noise that it would have on the whole release, says what they need:
    classifiers lose by the inverse of its square. Where that leaves pairs too little to stand out, nothing is left for
    them.

    Parameters
    ----------
    n_records : float
    states : States
    n_classes : int
    n_split : int
        Classes that get two-way marginals of their own; 1 for pairs over all classes.
    noise : float
        Noise multiplier of the release, or of all in which marginals are asked.
    grouping : Grouping, optional
        Of what pairs are counted; by default of states.

    Returns
    -------
    float
        1 for no pairs.
    """
    n_columns, noise = len(states.widths), max(noise, TINY)
    if n_columns == 1:
        return 1.0
    one_way = n_records * _mean_share(states) / n_classes / (noise * n_columns**0.5)
    share = max(LEAST_SHARE, 1 / (1 + (one_way / ENOUGH) ** 2))
    clear = clearness(n_records, states, n_split, noise, grouping)
    return share if clear * (1 - share) ** 0.5 >= LEAST_PAIR else 1.0


def clearness(n_records, states, n_split, noise, grouping=None):
    """Average count of a cell of two columns, over its noise if pairs had all of the release.

    Parameters
    ----------
    n_records, states, n_split, noise, grouping
        As for :func:`share_of_one_way`.
    """
    widths = states.widths if grouping is None else grouping.widths
    pairs = [1 / (a * b) for a, b in itertools.combinations(widths, 2)]
    return n_records * sum(pairs) / len(pairs) / n_split / (max(noise, TINY) * len(pairs) ** 0.5)


def noise_together(names, mechanism):
    """Noise multiplier of the average of several releases of the same, each by the inverse of its variance."""
    return math.fsum(max(mechanism.noise_multiplier(what), TINY) ** -2 for what in names) ** -0.5


def measure_marginals(
    source, total, states, mechanism, names, *, n_classes, n_split, share, known=None, joint=JointQuery, grouping=None
):
    """Release one-way marginals of each class and, on what is left of the share, two-way marginals.

    Parameters
    ----------
    source : RecordSource
    total : float
        Number of records.
    states : States
    n_classes : int
    n_split : int
        Classes that get two-way marginals of their own; 1 for pairs over all classes.
    share : float
        Of the one-way marginals; 1 for no pairs.
    names : sequence of str
        The charged releases, each of which is asked all of it.
    known : dict of int to StateCounts, optional
        Other counts of some columns, of all classes together.
    joint : type, default=JointQuery
        What asks them together.
    grouping : Grouping, optional
        Of what pairs are counted; by default of states.
    mechanism : GaussianMechanism

    Returns
    -------
    tuple of (OneWay, Pairs or None)
    """
    queries: list[SumQuery] = [MarginalQuery(states.widths, n_classes)]
    if share < 1:
        by_states = grouping is None
        queries.append(PairQuery(states.widths, n_split) if by_states else GroupedPairQuery(grouping.groups, n_split))
    query = joint(queries, [share, 1 - share][: len(queries)])
    precision = torch.tensor([max(mechanism.noise_multiplier(what), TINY) ** -2 for what in names]).double()
    released = zip(*(mechanism.release(what, query, source) for what in names), strict=True)
    noises = [noise_together(names, mechanism) / (scale * total) for scale in query.scales]
    shares = [torch.tensordot(precision, torch.stack(part), 1) / precision.sum() / total for part in released]
    joined, together = _joined(shares[0], states, noises[0], known or {}, total)
    one_way = OneWay(smoothed(joined, states, noises[0], together).float(), noises[0], together)
    return one_way, Pairs(shares[1].float(), noises[1], grouping) if share < 1 else None


def weigh_marginals(one_way, pairs, total, states, relative):
    """One-way and two-way marginals, each with its weight.

    Parameters
    ----------
    one_way : OneWay
    pairs : Pairs or None
    total : float
        Number of records.
    states : States
    relative : float
        Share of a count that is added to the variance of its noise.

    Returns
    -------
    Marginals
    """
    shares, noise = one_way.shares, one_way.noise
    one_way_variance = noise**2 + relative * shares.clamp_min(0) / total + TINY / total
    unit = one_way_variance.min()
    if pairs is None:
        nothing = torch.zeros(0, 0, 0)
        return Marginals(shares, nothing, unit / one_way_variance, nothing, float(unit))
    own = (shares if len(pairs.shares) > 1 else shares.sum(0, keepdim=True)).clamp_min(0)
    of_class = (own.sum(1) / len(states.widths)).clamp_min(TINY)
    widths = states.widths
    if pairs.grouping is not None:
        own, widths = own @ pairs.grouping.matrix, pairs.grouping.widths
    expected = own[:, :, None] * own[:, None, :] / of_class[:, None, None]
    # Half: each pair of columns stands twice in the symmetric matrix.
    weight = 0.5 * pair_mask(widths) / (pairs.noise**2 + relative * expected / total + TINY / total)
    return Marginals(shares, pairs.shares, unit / one_way_variance, unit * weight, float(unit), pairs.grouping)


def _joined(shares, states, noise, known, total):
    """Shares of each class, whose sums are joined with other counts; and the deviation of the noise of these sums."""
    n_classes, shares = len(shares), shares.double()
    together, starts = torch.full((shares.shape[1],), noise * n_classes**0.5).double(), [0]
    for width in states.widths:
        starts.append(starts[-1] + width)
    for j, of in known.items():
        part = slice(starts[j], starts[j + 1])
        found, variances = of.joined(total * shares[:, part].sum(0), n_classes * (total * noise) ** 2)
        shares[:, part] += (found / total - shares[:, part].sum(0)) / n_classes
        together[part] = variances.sqrt() / total
    if states.missing:
        places, sums = torch.tensor(states.missing), shares.sum(0)
        n_none = sum(of.lacks_none for of in known.values())
        chances, lacking = some_or_none(sums[places], together[places], n_none)
        shares[:, places] += (lacking - sums[places]) / n_classes
        shares[:, places[chances <= LIKELY]] = 0.0
        together[places] = 0.0  # whether any are there, is decided
    return shares, together


def smoothed(shares, states, noise, together=None):
    """Shares of each class from noisy ones, as even or smooth as the noise leaves open: of all classes, then of each.

    All classes' shares together are taken from what they seem to be like, and each class's from these. What is
    likeliest of each class makes classes more alike than they are [1]_, and of few draws no classifier learns so little
    a difference: so some of the noisy one is kept, of which all classes together show nothing.

    References
    ----------
    .. [1] Louis, "Estimating a Population of Parameter Values Using Bayes and Empirical Bayes Methods", JASA 79, 1984.
    """
    together = torch.full((shares.shape[1],), noise * len(shares) ** 0.5) if together is None else together
    everyone, optional = shares.sum(0), torch.tensor(states.optional)
    gone = [part & ~part.all() for part in (optional & (everyone <= RARE * together)).split(states.widths)]
    common = of_columns(everyone.split(states.widths), together.split(states.widths), states.ordered, gone, 1.0)
    noises, out = torch.full((shares.shape[1],), noise).split(states.widths), []
    for row, of_class in zip(shares, shares.sum(1) / len(states.widths), strict=True):
        share = max(float(of_class), TINY)
        own = of_columns(row.split(states.widths), noises, states.ordered, gone, share, common)
        out.append(share * torch.cat(own))
    found, weights = torch.stack(out), shares.sum(1, keepdim=True).clamp_min(TINY)
    weights = weights / weights.sum()
    return found + APART * _true_size(shares, weights, noise) * _differences(shares - found, weights)


def _differences(shares, weights):
    """What each class's shares are beyond its part of all classes'."""
    return shares - weights * shares.sum(0)


def _true_size(shares, weights, noise):
    """About how large the differences of classes are, beside those of their noisy shares: from 0 to 1."""
    n_classes, n_states = shares.shape
    by_noise = noise**2 * n_states * (n_classes - 2 + n_classes * weights.square().sum())
    noisy = _differences(shares, weights).square().sum().clamp_min(TINY**2)
    return (1 - by_noise / noisy).clamp_min(0).sqrt()


def naive_bayes(one_way, states):
    """Weights (n_classes, n_classes) and frequencies (n_classes, D) of one component a class; post-processing.

    A class's share of all cells of a column is taken to be that of all columns, of which more is known. A class that
    does not stand out of the noise has the frequencies of all.
    """
    shares, noise = torch.where(one_way.absent(states), 0.0, one_way.shares).double(), one_way.noise
    everyone, widths = shares.sum(0), states.widths
    counted = torch.stack([part.sum() for part in everyone.split(widths)]).clamp_min(0)
    counted /= counted.sum().clamp_min(TINY)
    rows = [own if own.sum() > noise * len(own) ** 0.5 else everyone for own in shares]
    frequencies = [
        torch.cat([_frequencies(part, row.sum() * of_column) for part, of_column in zip(parts, counted, strict=True)])
        for row, parts in ((row, row.split(widths)) for row in rows)
    ]
    present = (~one_way.absent(states) * torch.stack(frequencies)).split(widths, 1)
    whole = torch.cat([part / part.sum(1, keepdim=True) for part in present], 1)
    return torch.diag(_frequencies(shares.sum(1), shares.sum())).float(), whole.float()


def _frequencies(shares, total):
    found = project_simplex(shares / total) if total > 0 else torch.ones_like(shares)
    found = found.clamp_min(LEAST_FREQUENCY)  # whatever is declared can be drawn where it is asked for
    return found / found.sum()
