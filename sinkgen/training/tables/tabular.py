"""The private stage for tables: noisy marginals, and a mixture of product distributions that agrees with them.

Read :func:`train_mixture` first. A component of the mixture is what a point is for transport: one-hot cells have
frequencies for a mean. Its one-way and two-way marginals are polynomials of its parameters, so that it can be fitted to
noisy marginals as public post-processing; a few releases then let the records themselves say which component serves
them, by the softmax of entropic transport.
"""

import itertools
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.nn import functional as F

from sinkgen.data.facts import Facts
from sinkgen.data.table_columns import NumberColumn
from sinkgen.generators.places import Places
from sinkgen.generators.product import ProductMixture
from sinkgen.privacy.queries.tables import ServiceQuery
from sinkgen.training.adam import Adam
from sinkgen.training.stage import Schedule, Stage, Trained
from sinkgen.training.tables.bound import Misfit, close_remarks, field_of, with_cliques
from sinkgen.training.tables.cells import CELL_SHARE, cell_share, learn_cells
from sinkgen.training.tables.coupling import learn_moments, scores_of
from sinkgen.training.tables.grouping import even_grouping
from sinkgen.training.tables.label_cliques import far_cliques, learn_label_cliques, n_candidates, would_drown
from sinkgen.training.tables.labelling import POOLS, learn_labelling, pool_labelling
from sinkgen.training.tables.marginals import (
    Correlated,
    States,
    below_noise,
    clearness,
    measure_marginals,
    naive_bayes,
    noise_together,
    share_of_one_way,
    weigh_marginals,
)

# Constants chosen by trials: docs/experiments.md, Tables.
MOST_CLASSES = 4  # so many get two-way marginals each; beyond, those of all classes are counted together
EFFORT = 2e12  # multiplications that all fits together may take
LABEL_SHARE, MOMENT_SHARE = 0.02, 0.06
CLEAR, COARSE = 3.0, 4  # clearness below which pairs of states are too fine, and groups of these are counted
LOOK_SHARE, CLIQUE_SHARE = 0.01, 0.02
PRIOR, LEAST_PRIOR, MOST_PRIOR = 0.35, 0.2, 10.0
OWN_CLASS = 2.0  # by how much a component's own class is likelier at first, in its logits
TINY = 1e-9
NO_PAIRS = (
    "columns are drawn as if independent within each class{but}, for noise hides how they go together: raise epsilon"
)
LEAST_REFINED = 0.2  # share of the budget below which refinements do not pay


@dataclass(frozen=True)
class TabularSettings:
    """Public settings.

    Attributes
    ----------
    cell_share : float
        Share of the budget (of mu squared) for the cells within bins; 0 where all states are one cell each.
    label_share : float
        Share of the budget (of mu squared) for how well labels fit; 0 where there are none.
    moment_share : float
        Share of the budget (of mu squared) for the second moments of numbers; 0 where fewer than two columns are.
    look_share, clique_share : float
        Shares of the budget (of mu squared) for how far draws are in what the label and three columns say together,
        and for what they say where that is far; 0 where it is not looked for.
    own_share : float
        Share of the mixture's own log-probabilities in those that labels are drawn by.
    refinements : int
        Releases in which the records say which component serves them.
    refinement_share : float
        Share of the budget (of mu squared) for them.
    members : int
        Mixtures that are fitted from starts of their own. Together they are the mixture released, which has less of the
        noise than each.
    components : int
        Components of a member.
    steps, refinement_steps : int
        Steps of Adam for each member, and after each refinement.
    learning_rate, refinement_rate : float
    spread : float
        Standard deviation of the starting logits around the marginals'.
    sharp : float
        How fast a component's logits may differ between neighbouring bins, from 0 to 1; see :func:`smoother`.
    bandwidth : float
        How many bins the smooth part reaches.
    relative : float
        Share of a count that is added to the variance of its noise: what the mixture cannot fit is left where counts
        are large.
    """

    cell_share: float = 0.0
    label_share: float = 0.0
    moment_share: float = 0.0
    look_share: float = 0.0
    clique_share: float = 0.0
    own_share: float = 0.1
    refinements: int = 0
    refinement_share: float = 0.0
    members: int = 5
    components: int = 60
    steps: int = 800
    refinement_steps: int = 100
    learning_rate: float = 0.1
    refinement_rate: float = 0.05
    spread: float = 0.5
    sharp: float = 0.3
    bandwidth: float = 3.0
    relative: float = 0.0

    @property
    def shares(self):
        """Share of the budget (of mu squared) of each release."""
        small = {"cells": self.cell_share, "labelling": self.label_share, "moments": self.moment_share}
        small |= {"interaction parities": self.look_share, "interactions": self.clique_share}
        small = {what: share for what, share in small.items() if share}
        left = 1 - sum(small.values())
        refinements = {"refinements": self.refinement_share * left} if self.refinements else {}
        return small | {"marginals": (1 - self.refinement_share) * left} | refinements

    def rows(self, unasked):
        """Names of the releases in which marginals are asked, each as often as it is charged."""
        steps = {"refinements": self.refinements}
        return ["marginals", *(what for what in sorted(unasked) for _ in range(steps.get(what, 1)))]


def auto_settings(mu, n_columns, *, has_cells=True, has_labels=True, has_moments=False):
    """Settings from the budget's Gaussian-DP parameter, and whether states may be of several cells.

    Refinements pay where there is little noise.
    """
    settings = TabularSettings(
        cell_share=CELL_SHARE if has_cells else 0.0,
        label_share=LABEL_SHARE if has_labels else 0.0,
        moment_share=MOMENT_SHARE if has_moments else 0.0,
        own_share=min(0.5, max(0.1, 0.015 / mu)),
    )
    if has_labels and n_candidates(n_columns):
        settings = replace(settings, look_share=LOOK_SHARE, clique_share=CLIQUE_SHARE)
    refined = 0.5 * min(1.0, mu) if n_columns > 1 else 0.0
    if refined < LEAST_REFINED:
        return settings
    return replace(settings, steps=600, refinements=4, refinement_share=refined, relative=0.2)


class Served(NamedTuple):
    """Noisy shares of the records that each component serves.

    Attributes
    ----------
    states : Tensor of shape (n_components, D)
    classes : Tensor of shape (n_components, n_classes)
    weight : float
        Inverse variance, in the units of the marginals.
    """

    states: torch.Tensor
    classes: torch.Tensor
    weight: float


def plan_mixture(mu: float, facts: Facts, given: dict) -> Schedule:
    """Settings and releases, from the budget's Gaussian-DP parameter and public facts alone."""
    form: Any = facts.form
    n_numbers = sum(isinstance(column, NumberColumn) for column in form.columns)
    settings = auto_settings(
        mu, form.n_encoded,
        has_cells=bool(form.fine), has_labels=facts.y_dtype is not None, has_moments=n_numbers > 1,
    )  # fmt: skip
    settings = replace(settings, **{"cell_share": cell_share(form)} | given)
    if settings.refinements:
        settings = replace(settings, refinement_share=max(LEAST_REFINED, settings.refinement_share))
    return Schedule(settings, settings.shares, {"refinements": settings.refinements})


def train_mixture(stage: Stage) -> Trained:
    """From encoded records, cells (m, n_columns) with classes, to a mixture of product distributions."""
    counts, form, mechanism, settings = stage.counts, stage.form, stage.mechanism, stage.settings
    source, random, progress = stage.source, stage.random, stage.progress
    total, n_classes = float(counts.clamp_min(1.0).sum()), len(counts)
    states = States(form.widths, form.ordered, form.optional, form.missing_states)
    n_split = n_classes if n_classes <= MOST_CLASSES else 1
    charged, n_fine = settings.shares.keys(), [form.cell_counts[j] for j in form.fine]
    unasked = below_noise(
        total, states, mechanism, charged,
        n_split=n_split, cell_counts=n_fine, n_pools=len(POOLS), n_components=settings.members * settings.components,
    )  # fmt: skip
    grouping, noise = None, noise_together(settings.rows(unasked), mechanism)
    if form.n_encoded > 1 and clearness(total, states, n_split, noise) < CLEAR:
        grouping = even_grouping(states, stage.known, COARSE)
    share = share_of_one_way(total, states, n_classes, n_split, noise, grouping)
    together = charged & {"interaction parities", "interactions"}
    if together and would_drown(form.n_encoded, total, mechanism):
        unasked |= together
    if share == 1:  # no pairs: nothing to refine, nor another way to draw labels
        unasked |= charged & {"refinements", "labelling"} | together
    if grouping is None and share < 1:  # pairs say it better
        unasked |= charged & {"moments"}
    asked = charged - unasked
    cell_shares = form.cell_shares
    if "cells" in asked:
        cell_shares = learn_cells(source, form, n_split, mechanism)
    cells = (form.cell_states, cell_shares.expand(n_classes, -1))
    source = source.map(partial(_as_states, form))
    names = settings.rows(unasked)
    one_way, pairs = measure_marginals(
        source, total, states, mechanism, names, n_classes=n_classes, n_split=n_split, share=share, known=stage.known,
        grouping=grouping,
    )  # fmt: skip
    simple = ComponentMixture(*naive_bayes(one_way, states))
    moments = None
    if "moments" in asked:
        frequencies = [*one_way.frequencies(states), torch.ones(n_classes) / n_classes]
        scores = scores_of(form, cell_shares, frequencies)
        moments = learn_moments(source, frequencies, scores, total, mechanism)
    correlated = None if moments is None or not moments.are_correlated else Correlated.of(moments)
    but = "" if correlated is None else ", but for correlations of numbers"
    remarks = (NO_PAIRS.format(but=but),) if pairs is None and form.n_encoded > 1 else ()
    if pairs is None and correlated is None:
        made = ProductMixture(simple.weights, simple.frequencies, form.widths, *cells, limits=form.limits)
        return Trained(made, made.class_weights, remarks=remarks)
    excesses = [] if pairs is None else [pairs.excess(*simple, form.widths, total)]
    excesses += [] if correlated is None else [correlated.excess(*simple)]
    marginals = weigh_marginals(one_way, pairs, total, states, settings.relative)._replace(correlated=correlated)
    fit = Fit(marginals, form.widths, smoother(states, settings), prior_of(max(excesses)))
    mixture = fit_members(fit, simple, one_way.absent(states), settings, random, progress("public fits"))
    for _ in progress("refinements")(range(settings.refinements if "refinements" in asked else 0)):
        mixture = refine(mixture, fit, source, total, stage)
    names = [column.name for column in form.columns]
    if pairs is not None:
        misfit = Misfit.of(mixture, pairs, states)
        if grouping is not None:
            remarks += close_remarks(one_way, pairs, states, names, has_labels=n_classes > 1)
        elif misfit.is_large:
            field = field_of(
                one_way, pairs, mixture.weights.sum(0), states,
                places=Places(form.widths, *cells), limits=form.limits, random=random, progress=progress("public fits"),
            )  # fmt: skip
            if together - unasked and n_classes > 1:
                codes, of = field.population.long(), field.frequencies
                more = far_cliques(codes, of, source, form.ordered, total=total, mechanism=mechanism)
                field = with_cliques(field, more, random)
            return Trained(field, field.class_weights, remarks=remarks)
        remarks += misfit.remarks(names, has_labels=n_classes > 1)
    made = ProductMixture(mixture.weights, mixture.frequencies, form.widths, *cells, limits=form.limits)
    labelled = learn_labelling(made, settings.own_share, random)
    labelled = pool_labelling(labelled, source, mechanism) if "labelling" in asked else labelled
    if together - unasked and n_classes > 1:
        labelled = learn_label_cliques(labelled, source, form.ordered, total, mechanism, random)
    return Trained(labelled, labelled.class_weights, remarks=remarks)


class ComponentMixture(NamedTuple):
    """Weights (k, n_classes), sum 1, and frequencies (k, D)."""

    weights: torch.Tensor
    frequencies: torch.Tensor


def _as_states(form, records):
    return records.having(values=form.states(records.values))


# --- What is released ------------------------------------------------------------------------------------------------


def refine(mixture, fit, source, total, stage):
    """Release what each component serves, and fit the mixture to that as well."""
    mechanism, settings = stage.mechanism, stage.settings
    query = ServiceQuery(mixture.weights, mixture.frequencies, stage.form.widths)
    states, classes = mechanism.release("refinements", query, source)
    noise = mechanism.noise_multiplier("refinements") * query.sensitivity / total
    weight = fit.marginals.unit / max(noise, TINY) ** 2
    served = Served(states.float() / total, classes.float() / total, weight)
    class_logits, base = (part.clamp_min(TINY).log() for part in mixture)
    steps, rate = settings.refinement_steps, settings.refinement_rate
    return fit.run(base, torch.zeros_like(base), class_logits, steps, rate, served)


# --- The fit: public -------------------------------------------------------------------------------------------------


def smoother(states, settings):
    """Matrix (D, D) that turns parameters into logits: neighbouring bins share some of them.

    Numbers in neighbouring bins go with much the same cells in other columns; noise does not. The block of a column of
    ordered states is ``sharp * I + (1 - sharp) * K``, with the rows of a Gaussian kernel K of unit norm; of others, I.

    Parameters
    ----------
    states : States
    settings : TabularSettings
    """
    matrix, start = torch.eye(sum(states.widths)), 0
    for width, n in zip(states.widths, states.ordered, strict=True):
        places = torch.arange(n) / settings.bandwidth
        kernel = F.normalize(torch.exp(-0.5 * (places[:, None] - places).square()), dim=1)
        block = slice(start, start + n)
        matrix[block, block] = settings.sharp * torch.eye(n) + (1 - settings.sharp) * kernel
        start += width
    return matrix


def prior_of(excess):
    """Inverse variance, halved, of the components' prior around naive Bayes: large where pairs hardly leave it."""
    return min(MOST_PRIOR, max(LEAST_PRIOR, PRIOR / max(excess, TINY) ** 0.5))


class Fit:
    """Weighted least squares for a mixture, given noisy marginals.

    With frequencies q_k and weights w_kc, the mixture's marginals of class c are ``sum_k w_kc q_k`` and
    ``sum_k w_kc q_k q_k^T``. Parameters are moved by Adam, with gradients written out: two matrix products a class and
    step.

    Parameters
    ----------
    marginals : Marginals
    widths : sequence of int
    smooth : Tensor of shape (D, D)
        See :func:`smoother`.
    prior : float
        Inverse variance, halved, of a normal prior of a component's parameters around where it starts.
    """

    def __init__(self, marginals, widths, smooth, prior):
        self.marginals, self._decay = marginals, 2 * prior * marginals.unit
        ends = list(itertools.accumulate(widths))
        columns = [slice(end - width, end) for width, end in zip(widths, ends, strict=True)]
        blocks = [(states, smooth[states, states]) for states in columns]
        self._smooth = [(states, block) for states, block in blocks if not torch.equal(block, torch.eye(len(block)))]
        self._spread = [(states, block.T) for states, block in self._smooth]
        column = torch.repeat_interleave(torch.arange(len(widths)), torch.tensor(widths))
        self._blocks = F.one_hot(column).float()
        self._grouping = None if marginals.grouping is None else marginals.grouping.matrix

    def run(self, base, offsets, class_logits, steps, learning_rate, served=None):
        """The mixture to which the parameters lead.

        Parameters
        ----------
        base : Tensor of shape (k, D) or (D,)
            Logits to start from.
        offsets : Tensor of shape (k, D)
            Parameters to start from; logits are ``base + offsets @ smooth.T``.
        class_logits : Tensor of shape (k, n_classes)
        steps : int
        learning_rate : float
        served : Served, optional
        """
        parameters = torch.cat([offsets, class_logits], 1)
        parts = parameters.split([offsets.shape[1], class_logits.shape[1]], 1)
        descent = Adam(parameters, learning_rate, steps)
        for _ in range(steps):
            frequencies, weights = self._probabilities(base, *parts)
            slopes = self._slopes(frequencies, weights)
            if served is not None:
                slopes = _add_served(slopes, frequencies, weights, served)
            in_frequencies, in_weights = slopes
            in_logits = frequencies * (in_frequencies - self._per_column(frequencies * in_frequencies))
            in_offsets = self._tied(self._times(in_logits, self._smooth)) + self._decay * parts[0]
            in_class_logits = weights * (in_weights - (weights * in_weights).sum())
            descent.step(torch.cat([in_offsets, in_class_logits], 1))
        frequencies, weights = self._probabilities(base, *parts)
        return ComponentMixture(weights, frequencies)

    def _tied(self, in_offsets):
        """Slopes of parameters, each on its own."""
        return in_offsets

    def _probabilities(self, base, offsets, class_logits):
        logits = base + self._times(offsets, self._spread)
        grown = (logits - logits.amax(1, keepdim=True)).clamp_min_(-60).exp_()
        return grown / self._per_column(grown), class_logits.flatten().softmax(0).view_as(class_logits)

    def _times(self, values, blocks):
        """Values (k, D) times a matrix, of which the blocks of columns are given that are not the identity."""
        out = values.clone()
        for states, block in blocks:
            out[:, states] = values[:, states] @ block
        return out

    def _per_column(self, values):
        """Each state's sum over its column."""
        return values @ self._blocks @ self._blocks.T

    def _slopes(self, frequencies, weights):
        """Gradient of the weighted squares in frequencies and weights."""
        one_way, two_way, one_way_weight, two_way_weight, *_, correlated = self.marginals
        one = one_way_weight * (weights.T @ frequencies - one_way)
        in_frequencies, in_weights = 2 * weights @ one, 2 * frequencies @ one.T
        counted = frequencies if self._grouping is None else frequencies @ self._grouping
        for c, (pairs, weight) in enumerate(zip(two_way, two_way_weight, strict=True)):
            classes = slice(c, c + 1) if len(two_way) > 1 else slice(None)
            own = weights[:, classes].sum(1, keepdim=True)
            moved = counted @ torch.addmm(pairs, (own * counted).T, counted, beta=-1).mul_(weight)
            in_weights[:, classes] += 2 * (moved * counted).sum(1, keepdim=True)
            in_counted = 4 * own * moved
            in_frequencies += in_counted if self._grouping is None else in_counted @ self._grouping.T
        if correlated is not None:
            own, means = weights.sum(1, keepdim=True), frequencies @ correlated.scores
            moved = means @ (
                self.marginals.unit * correlated.precision * ((own * means).T @ means - correlated.moments)
            )
            in_weights += 2 * (moved * means).sum(1, keepdim=True)
            in_frequencies += (4 * own * moved) @ correlated.scores.T
        return in_frequencies, in_weights


def _add_served(slopes, frequencies, weights, served):
    mass = weights.sum(1, keepdim=True)
    states = served.weight * (mass * frequencies - served.states)
    classes = served.weight * (weights - served.classes)
    in_frequencies = slopes[0] + 2 * mass * states
    return in_frequencies, slopes[1] + 2 * (states * frequencies).sum(1, keepdim=True) + 2 * classes


def fit_members(fit, simple, absent, settings, random, progress):
    """Mixtures from starts of their own, together: a mixture of ``members * components`` components.

    Every component belongs to a class at first, and starts, and is held by the prior, near naive Bayes' frequencies of
    that class: the less is known of pairs of columns, the more of naive Bayes is left.

    Parameters
    ----------
    fit : Fit
    simple : ComponentMixture
        Naive Bayes: one component a class.
    absent : Tensor of shape (D,)
        States that are never drawn.
    settings : TabularSettings
    random : torch.Generator
    progress : callable
    """
    cost = 4 * settings.components * settings.steps * max(1, fit.marginals.two_way.numel())
    n = max(1, min(settings.members, int(EFFORT / cost)))
    members = [_member(fit, simple, absent, settings, random) for _ in progress(range(n))]
    weights, frequencies = (torch.cat(parts) for parts in zip(*members, strict=True))
    return ComponentMixture(weights / weights.sum(), frequencies)


def _member(fit, simple, absent, settings, random):
    shares, k = simple.weights.sum(0).clamp_min(1e-4), settings.components
    n_classes = len(shares)
    places = (torch.arange(max(0, k - n_classes)) + 0.5) / max(1, k - n_classes)
    more = torch.searchsorted(shares.cumsum(0) / shares.sum(), places).clamp_max(n_classes - 1)
    own = torch.cat([torch.arange(n_classes), more])
    base = torch.where(absent, -60.0, simple.frequencies[own].clamp_min(1e-4).log())
    offsets = settings.spread * torch.randn(base.shape, generator=random)
    elsewhere = 1 - F.one_hot(own, n_classes).float()
    class_logits = shares.log() - OWN_CLASS * elsewhere + torch.randn(elsewhere.shape, generator=random)
    return fit.run(base, offsets, class_logits, settings.steps, settings.learning_rate)
