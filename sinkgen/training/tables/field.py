"""The private stage for tables without labels: columns, the pairs that depend on each other, and a field that has both.

Read :func:`train_field` first. Every column may be the one to be predicted: a field of greatest entropy says how any of
them depends on the others, as far as the noise lets it.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from sinkgen.data.table_columns import NumberColumn
from sinkgen.exceptions import BadValueError
from sinkgen.generators.field import Field
from sinkgen.generators.places import Places
from sinkgen.generators.quality import relation_remarks
from sinkgen.generators.settling import settle
from sinkgen.training.stage import Schedule, Stage, Trained
from sinkgen.training.tables.ascent import fit_field
from sinkgen.training.tables.cells import cell_share, learn_cells
from sinkgen.training.tables.coupling import learn_moments, scores_of
from sinkgen.training.tables.structure import (
    MOST_CANDIDATES,
    Asked,
    Near,
    averaged,
    frequencies_of,
    learn_columns,
    learn_interactions,
    learn_pairs,
    n_sets,
)

COLUMN_SHARE, DISTANCE_SHARE = 0.22, 0.05
TARGET_WEIGHT = 3.0
MORE_FOR_MANY = 0.2  # that the columns of a table of very many get
INTERACTION_DISTANCE_SHARE, INTERACTION_SHARE = 0.02, 0.06
MANY_COUPLED = 24  # columns of numbers whose moments get half of the rest
MOMENTS_SHARE = 0.1  # that they get at least: what is concluded of two columns of numbers rests on them
CELLS_SWEPT = 600  # columns times sweeps, but never more than 40 or less than 8 sweeps


@dataclass(frozen=True)
class FieldSettings:
    """Public settings.

    Attributes
    ----------
    shares : dict of str to float
        Share of the budget (of mu squared) of each release.
    sweeps : int
        Sweeps of the population in the public fit.
    target : tuple of str or int
        Columns whose pairs weigh more: a pair's weight is the product of both of its columns'.
    weight : tuple of (tuple of str or int, float)
        Further weights of columns, and of pairs.
    hold : float
        How strongly noise holds potentials near 0.
    """

    shares: dict
    sweeps: int = 40
    target: tuple = ()
    weight: tuple = ()
    hold: float = 0.1


def plan_field(form: Any, target: tuple = (), weight: dict | None = None) -> Schedule:
    """Settings and releases, from public facts alone: how many columns, of what cells, which matter more."""
    names = [column.name for column in form.columns]
    weighed = tuple(
        (key if isinstance(key, tuple) else (key,), float(value)) for key, value in (weight or {}).items()
    )  # fmt: skip
    for what, given in (("target", target), ("weight", tuple(name for key, _ in weighed for name in key))):
        unknown = [name for name in given if name not in names]
        if unknown:
            raise BadValueError(f"{what} names columns that the table lacks: {unknown}; it has {names}")
    cells = {"cells": cell_share(form)} if form.fine else {}
    if form.n_encoded == 1:
        shares = cells | {"columns": 1 - sum(cells.values())}
    else:
        n = sum(isinstance(column, NumberColumn) for column in form.columns)
        many = n**2 / (n**2 + MANY_COUPLED**2)
        shares = cells | {"columns": COLUMN_SHARE + MORE_FOR_MANY * many, "distances": DISTANCE_SHARE}
        if form.n_encoded >= 3 and n_sets(form.n_encoded, 3, len(target)) <= MOST_CANDIDATES[3]:
            shares |= {"interaction distances": INTERACTION_DISTANCE_SHARE, "interactions": INTERACTION_SHARE}
        if n >= 2 and form.n_encoded >= 3:
            shares["moments"] = max(many, MOMENTS_SHARE) * (1 - sum(shares.values()))
        shares["pairs"] = 1 - sum(shares.values())
    sweeps = min(40, max(8, CELLS_SWEPT // form.n_encoded))
    return Schedule(FieldSettings(shares, sweeps, target, weighed), shares, {})


def train_field(stage: Stage) -> Trained:
    """From encoded records, cells (m, n_columns) with classes, to a field."""
    form, mechanism, settings = stage.form, stage.mechanism, stage.settings
    total, n_classes = float(stage.counts.clamp_min(1.0).sum()), len(stage.counts)
    cell_shares = form.cell_shares
    if "cells" in settings.shares:
        cell_shares = learn_cells(stage.source, form, n_classes, mechanism)
    places = Places(form.widths, form.cell_states, cell_shares.expand(n_classes, -1))
    source = stage.source.map(partial(_as_states, form))
    widths, ordered = [*form.widths, n_classes], [*form.ordered, 0]
    optional = [*(column.optional for column in form.columns), [False] * n_classes]
    missing = [j for j, column in enumerate(form.columns) if column.nullable]
    own, of_pairs = weights_of(form, settings)
    columns = learn_columns(source, widths, mechanism, own)
    frequencies = frequencies_of(columns, total, ordered, optional, stage.known, missing)
    targets = [j for j, column in enumerate(form.columns) if column.name in settings.target]
    pairs, near, unseen = None, Near.nothing(), 0.0
    if "pairs" in settings.shares:
        pairs, near, unseen = learn_pairs(
            source, frequencies, ordered, total, mechanism,
            column_noises=columns.noises, weights=of_pairs, targets=targets,
        )  # fmt: skip
        if pairs is None:  # what pairs would have had goes to the columns
            columns = averaged(columns, learn_columns(source, widths, mechanism, own, "pairs"))
        else:
            columns = pairs.pooled(columns)
        frequencies = frequencies_of(columns, total, ordered, optional, stage.known, missing)
    asked = Asked([], [], []) if pairs is None else pairs.asked(frequencies, total)
    doubts, progress = [settings.hold * noise for noise in asked.noises], stage.progress("public fits")
    moments = None
    if "moments" in settings.shares:
        scores = scores_of(form, cell_shares, frequencies)
        moments = learn_moments(source, frequencies, scores, total, mechanism)
    released = None if moments is None else moments.released
    are_correlated = moments is not None and moments.are_correlated
    remarks = relation_remarks(unseen, are_some_known=pairs is not None, are_correlated=are_correlated)
    sweeps = settings.sweeps if asked.cliques or moments else 0
    made = fit_field(
        asked.cliques, asked.targets, doubts, frequencies, places, sweeps=sweeps, random=stage.random, moments=moments,
        limits=form.limits, progress=progress,
    )  # fmt: skip
    final = asked
    if pairs is not None:
        final = _both(asked, near.held(made, () if moments is None else moments.columns, total))
    if "interactions" in settings.shares:
        more = learn_interactions(source, made, ordered, total, mechanism, targets)
        if not more.cliques and pairs is not None:  # what interactions would have had goes to the pairs
            again = pairs.again(source, mechanism, "interactions").asked(frequencies, total)
            final = Asked(*(new + old[len(new) :] for new, old in zip(again, final, strict=True)))
        final = _both(final, more)
        made = _settled(made, final, moments, stage) if final.cliques else made
    elif len(final.cliques) > len(asked.cliques):
        made = _settled(made, final, moments, stage)
    return Trained(made, made.class_weights, released, remarks, counted="columns")


def weights_of(form, settings):
    """Weights of all columns' counts, the label last, and those (n_columns + 1, n_columns + 1) of their pairs."""
    places = {column.name: j for j, column in enumerate(form.columns)}
    own = torch.ones(len(places) + 1, dtype=torch.float64)
    between = torch.ones(len(own), len(own), dtype=torch.float64)
    for key, value in settings.weight:
        if len(key) == 1:
            own[places[key[0]]] = value
        else:
            first, second = (places[name] for name in key)
            between[first, second] = between[second, first] = value
    of_target = own.clone()
    of_target[[places[name] for name in settings.target]] *= TARGET_WEIGHT
    return own.tolist(), torch.outer(of_target, of_target) * between


def _both(first, second):
    return Asked(*(a + b for a, b in zip(first, second, strict=True)))


def _settled(field, asked, moments, stage):
    """The field after more sweeps, with other targets and perhaps more cliques."""
    more = [torch.zeros_like(target) for target in asked.targets[len(field.cliques) :]]
    start = Field(
        asked.cliques, [*field.potentials, *more], asked.targets, field.heights, field.frequencies, field.population,
        places=field.places, coupling=field.coupling, limits=field.limits,
    )  # fmt: skip
    doubts = [stage.settings.hold * noise for noise in asked.noises]
    return settle(start, doubts, stage.settings.sweeps // 2, stage.random, moments=moments)


def _as_states(form, records):
    return records.having(values=form.states(records.values))
