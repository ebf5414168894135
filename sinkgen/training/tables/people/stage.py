"""The private stage for tables of persons with several rows: types of persons, and types of rows given these.

A mixture of product distributions as in :mod:`sinkgen.training.tables.tabular`, whose components stand together: each
type of person has a few types of rows, a distribution of the number of rows, and one of each column that is the same in
all rows of a person. It is fitted to pairs of columns within a row, and to pairs across rows of one person.
"""

from dataclasses import dataclass, replace
from functools import partial

import torch

from sinkgen.exceptions import BadValueError
from sinkgen.generators.people import SIZES, PeopleMixture
from sinkgen.generators.product import ProductMixture
from sinkgen.privacy.queries.people import SizedQuery
from sinkgen.training.persons import learn_sizes
from sinkgen.training.stage import Schedule, StateCounts, Trained
from sinkgen.training.tables.cells import learn_cells
from sinkgen.training.tables.labelling import POOLS, learn_labelling, pool_labelling
from sinkgen.training.tables.marginals import States, below_noise, measure_marginals, share_of_one_way
from sinkgen.training.tables.people.across import learn_across
from sinkgen.training.tables.people.groups import pair_groups
from sinkgen.training.tables.people.known import People, learn_constant
from sinkgen.training.tables.people.row_types import fit_types
from sinkgen.training.tables.people.spread import learn_spread
from sinkgen.training.tables.tabular import TabularSettings, auto_settings


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
    fitted = fit_types(one_way, pairs, across, states, people, stage)
    rows = ProductMixture(fitted.weights, fitted.frequencies[:, :-n_bins], form.widths, *cells)
    if n_classes > 1:
        rows = learn_labelling(rows, settings.own_share, stage.random)
        rows = pool_labelling(rows, source, mechanism) if "labelling" in charged - unasked else rows
    made = PeopleMixture.of(
        rows, types=fitted.types, sizes=sizes, size_frequencies=fitted.frequencies[:, -n_bins:],
        constant=torch.cat([people.constant.columns, torch.tensor([people.constant.label])]), **spread._asdict(),
    )  # fmt: skip
    return Trained(made, made.class_weights, remarks=people.constant.remarks)


def _as_states(form, records):
    return records.having(values=form.states(records.values))


def _with_sizes(records):
    bins = SIZES.bins.to(records.values)[SIZES.cell(records.groups[:, 3])]
    return records.having(values=torch.cat([records.values, bins[:, None]], 1))
