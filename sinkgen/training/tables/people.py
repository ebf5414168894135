"""The private stage for tables of persons with several rows: types of persons, and types of rows given these.

A mixture of product distributions as in :mod:`sinkgen.training.tables.tabular`, whose components stand together: each
type of person has a few types of rows, a distribution of the number of rows, and one of each column that is the same in
all rows of a person. It is fitted to pairs of columns within a row, and to pairs across rows of one person.
"""

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
from torch.nn import functional as F

from sinkgen.exceptions import BadValueError
from sinkgen.generators.people import SIZES, PeopleMixture
from sinkgen.generators.product import ProductMixture, stratified
from sinkgen.privacy.queries.people import AcrossQuery, ChangesQuery, ResidualsQuery, ScoresQuery, SizedQuery
from sinkgen.training.persons import learn_sizes
from sinkgen.training.stage import Schedule, StateCounts, Trained
from sinkgen.training.tables.cells import learn_cells
from sinkgen.training.tables.labelling import POOLS, learn_labelling, pool_labelling
from sinkgen.training.tables.marginals import (
    Grouping,
    States,
    below_noise,
    measure_marginals,
    naive_bayes,
    share_of_one_way,
    weigh_marginals,
)
from sinkgen.training.tables.tabular import OWN_CLASS, Fit, TabularSettings, auto_settings, prior_of, smoother

TINY = 1e-9
# Constants chosen by trials on a made-up panel: docs/experiments.md, Persons.
FEWEST, MOST = 3, 12  # groups of a column's states, of which pairs across rows are counted
FEWEST_PAIRED, MOST_PAIRED = 5, 12  # the same, within rows
BLUR = 0.02  # of a correlation: the noise from which fewer groups are taken
SURE = 2.0  # standard deviations, and
FEW = 0.02  # share of the persons with several rows, up to which changes of a column are taken for none
LENGTHS, REST_LENGTHS = (1.2, 2.5), (2.0, 5.0)  # typical ones, at which what a person adds is clipped
CLEAR = 0.005  # noise of a correlation up to which fewer are clipped
LEAST_VARIANCE = 0.05  # of ranks, that may be noisy
MOST_BLUR, LEAST = 0.2, 0.01  # noise of a correlation up to which it is used; least eigenvalue
UNKNOWN = 0.25  # the same share, as noise, from which it cannot be told


@dataclass(frozen=True)
class PeopleSettings(TabularSettings):
    """Public settings.

    Attributes
    ----------
    size_share, change_share, score_share, residual_share, across_share : float
        Share of the budget (of mu squared) for the number of rows a person, for which columns change within a person,
        for correlations of persons' means, for those of what rows of a person differ by, and for pairs of states across
        rows.
    types, row_types : int
        Types of persons, and of rows given each.
    row_spread : float
        Standard deviation of the starting logits of a type's rows around the type's.
    """

    size_share: float = 0.3
    change_share: float = 0.03
    score_share: float = 0.12
    residual_share: float = 0.05
    across_share: float = 0.1
    types: int = 60
    row_types: int = 4
    row_spread: float = 0.5

    @property
    def shares(self):
        """Share of the budget (of mu squared) of each release."""
        own = {
            "sizes": self.size_share,
            "changes": self.change_share,
            "scores": self.score_share,
            "residuals": self.residual_share,
            "across": self.across_share,
        }
        own = {what: share for what, share in own.items() if share}
        left = 1 - sum(own.values())
        return own | {what: share * left for what, share in super().shares.items()}


def plan_people(mu, facts, given):
    """Settings and releases, from the budget's Gaussian-DP parameter and public facts alone."""
    form = facts.form
    if form.group is None:
        raise BadValueError("mechanism=Marginals(whole_groups=True) draws whole groups of rows: give fit the groups")
    if form.arrangement is not None:
        raise BadValueError("whole_groups=True does not go with rules, keys or parents: leave these out")
    has_labels = facts.y_dtype is not None
    plain = auto_settings(mu, 1, has_cells=bool(form.fine), has_labels=has_labels)
    settings = PeopleSettings(**vars(plain))
    given = {name: value for name, value in given.items() if name != "whole_groups"}
    unused = sorted(given.keys() & {"refinements", "members", "target", "weight"})
    if unused:
        raise BadValueError(f"whole_groups=True has no {', '.join(unused)}: leave it out")
    if "components" in given:
        settings = replace(settings, types=max(1, given.pop("components") // settings.row_types))
    settings = replace(settings, **given)
    return Schedule(settings, settings.shares, {})


class People(NamedTuple):
    """What is known of persons before their rows are looked at.

    Attributes
    ----------
    total : float
        Noisy number of persons.
    sizes : Tensor of shape (S,)
        Share of them that have each number of rows, in the cells of ``SIZES``.
    constant : Constant
    """

    total: float
    sizes: torch.Tensor
    constant: "Constant"

    @property
    def several(self):
        """Number of persons with more than one row, at least 1."""
        return max(1.0, self.total * float(1 - self.sizes[0]))


class Constant(NamedTuple):
    """What does not change within a person.

    Attributes
    ----------
    columns : Tensor of bool, (n_columns,)
    label : bool
    """

    columns: torch.Tensor
    label: bool


def train_people(stage):
    """From encoded records, cells (m, n_columns) with classes, to a mixture that draws persons with their rows."""
    counts, form, mechanism, settings, source = stage.counts, stage.form, stage.mechanism, stage.settings, stage.source
    total, n_classes = float(counts.clamp_min(1.0).sum()), len(counts)
    sizes = learn_sizes("sizes", source, mechanism, total).shares
    people = People(total, sizes, learn_constant(source, form, sizes, total, mechanism))
    n_bins = int(SIZES.bins[-1]) + 1
    states = States(
        (*form.widths, n_bins), (*form.ordered, n_bins), (*form.optional, *[False] * n_bins), form.missing_states
    )
    n_fine = [form.cell_counts[j] for j in form.fine]
    charged = settings.shares.keys() - {"sizes", "changes", "scores", "residuals", "across"}
    unasked = below_noise(
        total, states, mechanism, charged, n_split=1, cell_counts=n_fine, n_pools=len(POOLS), n_components=1
    )
    cell_shares = form.cell_shares
    if "cells" in charged - unasked:
        cell_shares = learn_cells(source, form, 1, mechanism)
    cells = (form.cell_states, cell_shares.expand(n_classes, -1))
    source = source.map(partial(_as_states, form))
    sized = source.map(_with_sizes)
    octaves = torch.zeros(n_bins, dtype=torch.float64).index_add_(0, SIZES.bins, sizes)
    noise = mechanism.noise_multiplier("sizes")
    known_octaves = StateCounts(total * octaves, noise**2 * torch.bincount(SIZES.bins).double())
    known = stage.known | {len(form.columns): known_octaves}
    whole = mechanism.noise_multiplier("marginals")
    grouping = pair_groups(states, known, total, whole)
    one_way, pairs = measure_marginals(
        sized, total, states, mechanism, settings.rows(unasked), n_classes=n_classes, n_split=1,
        share=share_of_one_way(total, states, n_classes, 1, whole, grouping), known=known, joint=SizedQuery,
        grouping=grouping,
    )  # fmt: skip
    across = learn_across(source, form, one_way, people, mechanism)
    spread = learn_spread(source, form, one_way, people, mechanism)
    fitted = _fit_types(one_way, pairs, across, states, people, stage)
    rows = ProductMixture(fitted.weights, fitted.frequencies[:, :-n_bins], form.widths, *cells)
    if n_classes > 1:
        rows = learn_labelling(rows, settings.own_share, stage.random)
        rows = pool_labelling(rows, source, mechanism) if "labelling" in charged - unasked else rows
    made = PeopleMixture.of(
        rows, types=fitted.types, sizes=sizes, size_frequencies=fitted.frequencies[:, -n_bins:],
        constant=torch.cat([people.constant.columns, torch.tensor([people.constant.label])]), **spread._asdict(),
    )  # fmt: skip
    return Trained(made, made.class_weights)


def pair_groups(states, known, total, noise):
    """Groups of the states of each column, of which pairs are counted: the fewer, the more noise there is.

    A correlation over tables of g by g even groups has about g times the noise of a cell.

    Parameters
    ----------
    states : States
    known : dict of int to StateCounts
        By which groups are even; without them they are of equally many states.
    total : float
        Noisy number of persons.
    noise : float
        Noise multiplier of the release.
    """
    n_pairs = math.comb(len(states.widths), 2)
    most = int(min(MOST_PAIRED, max(FEWEST_PAIRED, BLUR * total / max(TINY, noise * n_pairs**0.5))))
    groups = []
    for j, (width, n_ordered) in enumerate(zip(states.widths, states.ordered, strict=True)):
        if n_ordered:
            shares = known[j].values.clamp_min(0) if j in known else torch.ones(width)
            groups.append(even_groups(shares, n_ordered, most))
        else:
            groups.append(torch.arange(width))
    return Grouping(tuple(groups))


# --- What is released ------------------------------------------------------------------------------------------------


def _as_states(form, records):
    return records.having(values=form.states(records.values))


def _with_sizes(records):
    bins = SIZES.bins.to(records.values)[SIZES.cell(records.groups[:, 3])]
    return records.having(values=torch.cat([records.values, bins[:, None]], 1))


def learn_constant(source, form, sizes, total, mechanism):
    """Which columns, and whether the label, are the same in all rows of a person: as declared, or found."""
    n = len(form.columns)
    declared = torch.tensor([column.per_group for column in form.columns])
    several = total * float(1 - sizes[0])
    query = ChangesQuery(n)
    changes = mechanism.release("changes", query, source)
    noise = mechanism.noise_multiplier("changes") * query.sensitivity
    if noise > UNKNOWN * several:
        return Constant(declared, False)
    found = changes < max(FEW * several, SURE * noise)
    return Constant(declared | found[:n], bool(found[n]))


class Across(NamedTuple):
    """Noisy pairs across rows.

    Attributes
    ----------
    shares : Tensor of shape (E, E)
        Of the persons, of pairs of groups of states.
    weight : Tensor of shape (E, E)
        Inverse variance.
    coarse : Tensor of shape (D + n_classes, E)
        Which group each state of each column, and each class, belongs to: 0 or 1.
    excess : float
        How far rows of a person are from independent ones, squared, beyond noise, in units of it; about 0 where they
        are independent.
    """

    shares: torch.Tensor
    weight: torch.Tensor
    coarse: torch.Tensor
    excess: float = 0.0


def learn_across(source, form, one_way, people, mechanism):
    """Pairs of states across rows of a person, of the columns that change; None where there are none."""
    shares, constant, total = one_way.shares, people.constant, people.total
    n, n_classes, n_states = len(form.columns), len(shares), sum(form.widths)
    changing = [j for j in range(n) if not constant.columns[j]] + [n] * (n_classes > 1 and not constant.label)
    if not changing:
        return None
    parts = [*shares.sum(0)[:n_states].split(form.widths), shares.sum(1)]
    ordered = [*form.ordered, 0]
    noise = mechanism.noise_multiplier("across")
    n_pairs = len(changing) * (len(changing) + 1) / 2
    # A correlation over tables of g by g even groups has about g times the noise of a cell.
    most = int(min(MOST, max(FEWEST, BLUR * people.several / max(TINY, noise * n_pairs**0.5))))
    groups = [even_groups(parts[j], ordered[j], most) for j in changing]
    query = AcrossQuery(list(zip(changing, groups, strict=True)))
    noisy = mechanism.release("across", query, source) / total
    scale = noise * query.sensitivity / total
    coarse = torch.zeros(n_states + n_classes, len(noisy))
    starts, start = torch.tensor([0, *form.widths]).cumsum(0).tolist(), 0
    for j, of in zip(changing, groups, strict=True):
        coarse[starts[j] + torch.arange(len(of)), start + of] = 1.0
        start += int(of.max()) + 1
    variance = torch.full(noisy.shape, scale**2, dtype=torch.float64)
    halves = query.same & ~torch.eye(len(noisy), dtype=torch.bool)
    variance[halves] /= 4
    # Half: each pair stands twice in the symmetric matrix, but for those on the diagonal.
    weight = torch.where(torch.eye(len(noisy), dtype=torch.bool), 1.0, 0.5) / (variance + TINY / total)
    of_groups = torch.cat(parts).double().clamp_min(0) @ coarse.double()
    independent = people.several / total * of_groups[:, None] * of_groups
    squares = (noisy - independent).square().sum() / (variance + independent / total).sum().clamp_min(TINY**2)
    return Across(noisy.float(), weight, coarse, float(squares) - 1)


class Spread(NamedTuple):
    """Correlations of normal scores; see :class:`~sinkgen.generators.people.PeopleMixture`."""

    ordered: torch.Tensor
    held: torch.Tensor
    spread: torch.Tensor


NO_SPREAD = Spread(torch.zeros(0).long(), torch.zeros(0).long(), torch.zeros(2, 0, 0))


def learn_spread(source, form, one_way, people, mechanism):
    """Correlations of columns of ordered states, within rows and across rows; of none where it is all noise.

    A state's score is the rank of its middle. Ranks within a state, which are drawn evenly, are independent of all
    else: what they add to the variance of a column, its jitter, is known.
    """
    columns = [j for j, n in enumerate(form.ordered) if n > 1]
    columns.sort(key=lambda j: not people.constant.columns[j])
    fixed = people.constant.columns[columns]
    if fixed.all():
        return NO_SPREAD
    shares = one_way.shares.sum(0)[: sum(form.widths)].split(form.widths)
    ranked = [middle_ranks(shares[j], form.ordered[j]) for j in columns]
    scores = [(j, ranks) for j, (ranks, _) in zip(columns, ranked, strict=True)]
    jitter = torch.tensor([of for _, of in ranked], dtype=torch.float64)
    whole = torch.stack([_variance(shares[j], ranks) for j, ranks in scores])
    several = people.several
    means = ScoresQuery(scores, _length(LENGTHS, several, 3 * mechanism.noise_multiplier("scores"), len(scores)))
    first, means_squared = mechanism.release("scores", means, source)
    noise = mechanism.noise_multiplier("scores") * means.sensitivity
    if noise > MOST_BLUR / 3 * several:
        return NO_SPREAD
    first = first / several
    between = means_squared / several - first[:, None] * first
    # Means of m rows have a part of 1 / m of what rows differ by, which differ from their mean by the rest of it.
    kept = inverse_sizes(people)
    own = ((whole - between.diagonal()) / (1 - kept))[~fixed].clamp_min(noise / several)
    moving = [pair for pair, same in zip(scores, fixed.tolist(), strict=True) if not same]
    length = _length(REST_LENGTHS, several, mechanism.noise_multiplier("residuals"), len(moving) ** 0.5)
    residuals = ResidualsQuery(moving, ((1 - kept) * own).sqrt(), length)
    rest = mechanism.release("residuals", residuals, source) / several / (1 - kept)
    bounds = residuals.bounds
    error = mechanism.noise_multiplier("residuals") * residuals.sensitivity / several / (1 - kept)
    error = error * bounds[:, None] * bounds
    across, within = between.clone(), between.clone()
    both = (~fixed[:, None]) & ~fixed
    across[both] -= kept * rest.flatten()
    within[both] += (1 - kept) * rest.flatten()
    scale = (within.diagonal() + jitter).clamp_min(LEAST_VARIANCE).sqrt()
    scale, own = scale[:, None] * scale, scale[~fixed, None] * scale[~fixed]
    ranks, rest = (within + jitter.diag()) / scale, (rest + jitter[~fixed].diag()) / own
    held = [sum(state < form.ordered[j] for state in form.columns[j].cell_states) for j in columns]
    return Spread(torch.tensor(columns), torch.tensor(held), feasible(ranks, rest, fixed, error / own))


def inverse_sizes(people):
    """Mean of one over the number of rows, of persons with several."""
    own = people.sizes[1:]
    return float((own / SIZES.middle[1:]).sum() / own.sum().clamp_min(TINY)) if own.sum() > 0 else 0.5


def _length(bounds, several, noise, typical):
    """Typical lengths at which what a person adds is clipped: as far out as the noise of a correlation allows."""
    low, high = bounds
    return min(high, max(low, CLEAR * several / max(TINY, noise * typical)))


def _variance(shares, ranks):
    own = shares.double().clamp_min(TINY)
    return (own * ranks.square()).sum() / own.sum()


def middle_ranks(shares, n_ordered):
    """Scores of states, from -1 to 1, by the rank of their middle, 0 for those without an order; and their jitter.

    Examples
    --------
    >>> middle_ranks(torch.tensor([0.5, 0.5, 0.2]), 2)[0].tolist()
    [-0.5, 0.5, 0.0]
    """
    own = shares[:n_ordered].double().clamp_min(TINY)
    own = own / own.sum()
    ranks = 2 * own.cumsum(0) - own - 1
    return torch.cat([ranks, ranks.new_zeros(len(shares) - n_ordered)]), float(own.pow(3).sum() / 3)


def normal(ranks):
    """Correlations of normal scores that correlations of ranks belong to, in [-1, 1]."""
    return (2 * torch.sin(torch.pi / 6 * ranks)).clamp(-1, 1)


def feasible(ranks, rest, fixed, error):
    """The nearest correlations (2, p, p) of normal scores that rows of persons can have; of noisy ones maybe none can.

    Those of what rows of a person differ by are shrunk towards independence by the share of the noise in them (James,
    Stein).

    Parameters
    ----------
    ranks : Tensor of shape (p, p)
        Correlations of ranks within rows.
    rest : Tensor of shape (q, q)
        What rows of a person differ by, in the same units; of the columns that are not constant.
    fixed : Tensor of bool, (p,)
        Columns that are constant.
    error : Tensor of shape (q, q)
        Standard deviation of the noise of each of ``rest``.
    """
    moving, both = ~fixed, (~fixed[:, None]) & ~fixed
    across = ranks.clone()
    across[both] -= rest.flatten()
    total = normal(ranks).fill_diagonal_(1.0)
    rest = (total - normal(across))[moving][:, moving]
    total = _correlation(total)
    own = rest.diagonal().maximum(error.diagonal()).clamp(LEAST, 1.0)
    root = own[:, None].sqrt() * own.sqrt()
    noise, n = (error / root).square(), len(own)
    correlation = (rest / root).fill_diagonal_(0.0)
    gain = (1 - (noise.sum() - noise.diagonal().sum()) / correlation.square().sum().clamp_min(TINY)).clamp(0, 1)
    rest = _correlation(gain * correlation + torch.eye(n, dtype=rest.dtype)) * root
    across = total.clone()
    across[both] -= rest.flatten()
    # In units of the total, what is across rows has eigenvalues between 0 and 1.
    values, vectors = torch.linalg.eigh(total)
    half, back = ((vectors * values**power) @ vectors.T for power in (0.5, -0.5))
    values, vectors = torch.linalg.eigh(back @ across @ back)
    across = half @ (vectors * values.clamp(LEAST, 1)) @ vectors.T @ half
    return torch.stack([total, across])


def _correlation(matrix):
    """The matrix with eigenvalues that are positive, and a diagonal of 1."""
    values, vectors = torch.linalg.eigh(matrix)
    matrix = (vectors * values.clamp_min(LEAST)) @ vectors.T
    root = matrix.diagonal().sqrt()
    return matrix / (root[:, None] * root)


def even_groups(shares, n_ordered, most):
    """Which of at most ``most`` groups each state belongs to: of neighbouring ones where states have an order.

    The first groups are of about even shares; states without an order are put together, all but the most frequent ones.

    Parameters
    ----------
    shares : Tensor of shape (n_states,)
        Noisy.
    n_ordered : int
        How many of the first states have an order.
    most : int

    Returns
    -------
    LongTensor of shape (n_states,)

    Examples
    --------
    >>> even_groups(torch.tensor([0.1, 0.4, 0.2, 0.2, 0.1]), 5, 2).tolist()
    [0, 0, 1, 1, 1]
    >>> even_groups(torch.tensor([0.1, 0.4, 0.1, 0.4]), 0, 3).tolist()
    [2, 0, 2, 1]
    """
    shares = shares.double().clamp_min(TINY)
    if n_ordered:
        ends = shares[:n_ordered].cumsum(0) - shares[:n_ordered] / 2
        found = (ends / shares[:n_ordered].sum() * most).long().clamp_max(most - 1)
        groups = torch.unique(found, return_inverse=True)[1]
        rest = torch.arange(len(shares) - n_ordered) + int(groups.max()) + 1
        return torch.cat([groups, rest])
    rank = shares.argsort(descending=True, stable=True).argsort()
    return rank.clamp_max(most - 1)


# --- The fit: public -------------------------------------------------------------------------------------------------


class PeopleFit(Fit):
    """The same weighted squares, with those of pairs across rows.

    With weights w_krc of a type k of persons, its type r of rows and class c, a type has ``e_k = sum_rc w_krc (q_kr,
    one-hot c)``, and pairs across rows are ``sum_k p_k e_k e_k^T / w_k``, where p_k is the chance of several rows.

    Parameters
    ----------
    marginals, widths, smooth, prior
        See :class:`~sinkgen.training.tables.tabular.Fit`; the last column is the number of rows.
    across : Across or None
    n_rows : int
        Types of rows of each type of persons.
    constant : Constant
    """

    def __init__(self, marginals, widths, smooth, prior, *, across, n_rows, constant):
        super().__init__(marginals, widths, smooth, prior)
        self._n_rows, self._across = n_rows, across
        flags = torch.cat([constant.columns, torch.tensor([True])])
        self._constant = torch.repeat_interleave(flags, torch.tensor(widths))
        self._one_row = sum(widths[:-1])
        if across is not None:
            self._across_weight = (marginals.unit * across.weight).float()

    def _tied(self, in_offsets):
        """Slopes that leave constant columns the same in all rows of a type."""
        out = in_offsets.view(-1, self._n_rows, in_offsets.shape[1]).clone()
        out[:, :, self._constant] = out[:, :, self._constant].mean(1, keepdim=True)
        return out.view_as(in_offsets)

    def _slopes(self, frequencies, weights):
        in_frequencies, in_weights = super()._slopes(frequencies, weights)
        if self._across is None:
            return in_frequencies, in_weights
        n_states, own = self._one_row, weights.sum(1)
        coarse, classes = self._across.coarse[:n_states], self._across.coarse[n_states:]
        of_rows = frequencies[:, :n_states] @ coarse
        summed = (own[:, None] * of_rows + weights @ classes).view(-1, self._n_rows, coarse.shape[1]).sum(1)
        of_type = own.view(-1, self._n_rows).sum(1).clamp_min(TINY)
        several = 1 - frequencies[:: self._n_rows, self._one_row]
        scale = several / of_type
        moved = torch.addmm(self._across.shares, (scale[:, None] * summed).T, summed, beta=-1).mul_(self._across_weight)
        moved = summed @ moved
        in_summed = 4 * scale[:, None] * moved
        in_scale = 2 * (moved * summed).sum(1)
        each = in_summed.repeat_interleave(self._n_rows, 0)
        in_frequencies[:, :n_states] += own[:, None] * (each @ coarse.T)
        in_frequencies[:, self._one_row] -= (in_scale / of_type).repeat_interleave(self._n_rows) / self._n_rows
        in_weights += (each * of_rows).sum(1, keepdim=True) + each @ classes.T
        in_weights -= (in_scale * several / of_type.square()).repeat_interleave(self._n_rows)[:, None]
        return in_frequencies, in_weights


class Types(NamedTuple):
    """Components (K) of a fit, each a type of rows of a type of persons.

    Attributes
    ----------
    weights : Tensor of shape (K, n_classes)
    frequencies : Tensor of shape (K, D)
    types : LongTensor of shape (K,), rising
    """

    weights: torch.Tensor
    frequencies: torch.Tensor
    types: torch.Tensor


def _fit_types(one_way, pairs, across, states, people, stage):
    weights, frequencies = naive_bayes(one_way, states)
    if pairs is None:
        return Types(weights, frequencies, torch.arange(len(weights)))
    settings, random = stage.settings, stage.random
    # Pairs of many states say little each: those across rows, of few groups, may show types where these do not.
    excess = max(pairs.excess(weights, frequencies, states.widths, people.total), across.excess if across else 0.0)
    marginals = weigh_marginals(one_way, pairs, people.total, states, settings.relative)
    fit = PeopleFit(
        marginals, states.widths, smoother(states, settings), prior_of(excess),
        across=across, n_rows=settings.row_types, constant=people.constant,
    )  # fmt: skip
    shares = weights.sum(0).clamp_min(1e-4)
    n_classes, n_types, n_rows = len(shares), max(settings.types, len(shares)), settings.row_types
    # Every type belongs to a class at first, one to each, and the others by their shares.
    own = torch.cat([torch.arange(n_classes), stratified(shares, n_types - n_classes, random)])
    base = torch.where(one_way.absent(states), -60.0, frequencies[own].clamp_min(1e-4).log())
    base = base.repeat_interleave(n_rows, 0)
    of_type = settings.spread * torch.randn(n_types, base.shape[1], generator=random)
    of_row = settings.row_spread * torch.randn(base.shape, generator=random) * ~fit._constant
    elsewhere = 1 - F.one_hot(own, n_classes).float()
    class_logits = shares.log() - OWN_CLASS * elsewhere + torch.randn(elsewhere.shape, generator=random)
    of_row_class = settings.row_spread * torch.randn(len(base), n_classes, generator=random)
    class_logits = class_logits.repeat_interleave(n_rows, 0) + of_row_class
    offsets = of_type.repeat_interleave(n_rows, 0) + of_row
    for _ in stage.progress("public fits")(range(1)):
        made = fit.run(base, offsets, class_logits, settings.steps, settings.learning_rate)
    return Types(made.weights, made.frequencies, torch.arange(n_types).repeat_interleave(n_rows))
