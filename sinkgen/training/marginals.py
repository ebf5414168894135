"""What a table is asked first: its marginals, as far as they stand out of the noise."""

import math
from typing import NamedTuple

import torch

from sinkgen.frequencies import project_simplex, smooth_frequencies
from sinkgen.sampling import Records
from sinkgen.table_queries import MarginalQuery, PairQuery, pair_mask

# How large an average count has to be, in standard deviations of its noise, for a release to be worth its share.
LEAST_CELL, LEAST_PAIR = 0.3, 0.15
GAIN = 0.005  # of a label's log-likelihood, that has to stand out
TINY = 1e-9


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
    """

    widths: tuple
    ordered: tuple
    optional: tuple


class OneWay(NamedTuple):
    """Noisy one-way marginals of each class.

    Attributes
    ----------
    shares : Tensor of shape (n_classes, D)
        Of all records.
    noise : float
        Standard deviation of a share's noise, before bins of numbers were smoothed.
    """

    shares: torch.Tensor
    noise: float

    def absent(self, states):
        """Which of the D states are for missing or other cells, and do not stand out."""
        return torch.tensor(states.optional) & (self.shares.sum(0) < 3 * self.noise * math.sqrt(len(self.shares)))


class Marginals(NamedTuple):
    """Noisy marginals, as shares of the records.

    Attributes
    ----------
    one_way : Tensor of shape (n_classes, D)
    two_way : Tensor of shape (n_classes, D, D), or (1, D, D)
    one_way_weight, two_way_weight : Tensor of the same shapes
        Inverse variance of each, in units of ``1 / unit``; 0 where nothing was released.
    unit : float
        Smallest variance.
    """

    one_way: torch.Tensor
    two_way: torch.Tensor
    one_way_weight: torch.Tensor
    two_way_weight: torch.Tensor
    unit: float


def drowned(n_records, states, n_classes, cell_counts, n_pools, shares, mechanism):
    """Releases that would hold hardly anything but noise; post-processing of the noisy number of records.

    The noise of every release is fixed beforehand; what it is asked is not. In place of these the one-way marginals are
    asked again.

    Parameters
    ----------
    n_records : float
    states : States
    n_classes : int
        Classes that get two-way marginals of their own.
    cell_counts : sequence of int
        Number of cells of each column whose cells are counted.
    n_pools : int
        Ways to draw labels between which the records decide.
    shares : collection of str
        The releases that are charged.
    mechanism : GaussianMechanism

    Returns
    -------
    set of str
    """
    n_pairs, n_cells = math.comb(len(states.widths), 2), max(1, sum(cell_counts))
    shares_of_states = 1 / torch.tensor(states.widths, dtype=torch.float64)
    share_of_pairs = float(torch.outer(shares_of_states, shares_of_states).triu(1).sum()) / max(1, n_pairs)
    # An average count (or sum), and the least in units of the noise multiplier.
    signals = {
        "cells": (n_records * len(cell_counts) / n_cells / n_classes, LEAST_CELL * len(cell_counts) ** 0.5),
        "two-way": (n_records * share_of_pairs / n_classes, LEAST_PAIR * n_pairs**0.5),
        "labelling": (n_records * GAIN, n_pools**0.5),
    }
    found = {what for what in signals.keys() & set(shares) if not _stands_out(what, *signals[what], mechanism)}
    return found | ({"refinements", "labelling"} & set(shares) if "two-way" in found else set())


def _stands_out(what, signal, least, mechanism):
    return signal >= least * mechanism.noise_multiplier(what)


def measure_one_way(source, total, states, n_classes, names, mechanism):
    """Release the one-way marginals of each class, as shares of ``total``, once for each of the charged ``names``."""
    query = MarginalQuery(states.widths, n_classes)
    noisy = torch.stack([mechanism.release(what, query, source) for what in names])
    precision = torch.tensor([max(mechanism.noise_multiplier(what), TINY) ** -2 for what in names]).to(noisy)
    shares = (precision[:, None, None] * noisy).sum(0) / precision.sum() / total
    noise = query.sensitivity / total / float(precision.sum()) ** 0.5
    return OneWay(smoothed(shares, states, noise).float(), noise)


def smoothed(shares, states, noise):
    """Noisy shares of each class, smooth in the bins of numbers as far as their noise allows."""
    out, start = shares.clone(), 0
    for width, n in zip(states.widths, states.ordered, strict=True):
        if n > 2:
            for row in out[:, start : start + n]:
                row.copy_(smooth_frequencies(row, noise))
        start += width
    return out


def measure_pairs(one_way, source, total, states, n_classes, mechanism, relative):
    """Release the two-way marginals, of each class or of all together, and put them beside the one-way ones.

    Parameters
    ----------
    one_way : OneWay
    source : RecordSource
    total : float
        Number of records.
    states : States
    n_classes : int
        1 for pairs over all classes.
    mechanism : GaussianMechanism
        Charged with "two-way", if there are two columns.
    relative : float
        Share of a count that is added to the variance of its noise.

    Returns
    -------
    Marginals
    """
    shares, noise = one_way
    widths = states.widths
    one_way_variance = noise**2 + relative * shares.clamp_min(0) / total + TINY / total
    two_way = weight = torch.zeros(n_classes, sum(widths), sum(widths))
    if len(widths) > 1:
        query = PairQuery(widths, n_classes)
        taken = source if n_classes > 1 else source.map(_without_labels)
        two_way = mechanism.release("two-way", query, taken).float() / total
        pair_noise = mechanism.noise_multiplier("two-way") * query.sensitivity / total
        own = (shares if n_classes > 1 else shares.sum(0, keepdim=True)).clamp_min(0)
        of_class = (own.sum(1) / len(widths)).clamp_min(TINY)
        expected = own[:, :, None] * own[:, None, :] / of_class[:, None, None]
        # Half: each pair of columns stands twice in the symmetric matrix.
        weight = 0.5 * pair_mask(widths) / (pair_noise**2 + relative * expected / total + TINY / total)
    unit = one_way_variance.min()
    return Marginals(shares, two_way, unit / one_way_variance, unit * weight, float(unit))


def _without_labels(records):
    return Records(records.values, records.labels.clamp_max(0))  # -1 stays: a record without a class counts nowhere


def naive_bayes(one_way, states):
    """Weights (n_classes, n_classes) and frequencies (n_classes, D) of one component a class; post-processing.

    A class that does not stand out of the noise has the frequencies of all.
    """
    shares, noise = torch.where(one_way.absent(states), 0.0, one_way.shares), one_way.noise
    weights = project_simplex(shares.sum(1) / len(states.widths))
    rows = [own if own.sum() > noise * len(own) ** 0.5 else shares.sum(0) for own in shares]
    frequencies = torch.stack([torch.cat([_frequencies(part) for part in row.split(states.widths)]) for row in rows])
    return torch.diag(weights), frequencies


def _frequencies(shares):
    total = shares.sum()
    return project_simplex(shares / total) if total > 0 else torch.full_like(shares, 1 / len(shares))
