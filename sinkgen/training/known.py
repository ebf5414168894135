"""What is known of the columns and the classes of a fit, and how well; public."""

import math
from typing import NamedTuple

import torch

from sinkgen.data.formats import NumericFormat
from sinkgen.data.joint_columns import JointColumn
from sinkgen.data.labels import LabelSet
from sinkgen.data.table import TableFormat
from sinkgen.denoise.frequencies import LIKELY, POSSIBLE, some_or_none
from sinkgen.denoise.search import Counted
from sinkgen.generators.product import stratified
from sinkgen.generators.quality import (
    FittedSchema,
    Hidden,
    class_quality,
    column_frequencies,
    column_quality,
    drifts,
    group_quality,
    missing_remarks,
    rule_remarks,
)
from sinkgen.inference.counts import estimate_of
from sinkgen.privacy.mechanism import GaussianMechanism
from sinkgen.training.stage import StateCounts, Trained
from sinkgen.training.undeclared import LearnedLabels, Outside

DRAWS, MOST_CELLS = 4096, 2**23  # by which it is told whether a column of an array varies, and their numbers
DEVIATIONS = 2.0  # of the noise: so many missing cells a column may have, though it seems to have none


class Known(NamedTuple):
    """What has been counted: of columns, by place, numbers, states, what lies outside of declarations; of labels.

    Attributes
    ----------
    asked : NumericFormat or TableFormat
        The format as it was before anything of it was learned.
    counted : dict of int to Counted
    states : dict of int to StateCounts
    outside : Outside
    classes : LearnedLabels
    """

    asked: NumericFormat | TableFormat
    counted: dict[int, Counted]
    states: dict[int, StateCounts]
    outside: Outside
    classes: LearnedLabels


def fitted_schema(
    form: NumericFormat | TableFormat, labels: LabelSet | None, counts: torch.Tensor, known: Known,
    trained: Trained, mechanism: GaussianMechanism,
) -> FittedSchema:  # fmt: skip
    """How well columns and classes are known; post-processing."""
    if isinstance(form, TableFormat):
        estimates = [_estimate(j, column, known, mechanism) for j, column in enumerate(form.columns)]
        hidden, nested = _hidden(form.columns, estimates, known), _nested(form.columns, trained)
        drawn = zip(column_frequencies(trained.generator), drifts(trained.generator), strict=True)
        parts = enumerate(zip(form.columns, estimates, drawn, strict=True))
        columns = [
            column_quality(
                column, known.counted.get(j), known.outside.columns.get(j, 0.0), frequencies, estimate.covariance,
                hidden=hidden.get(j, Hidden())._replace(nested=nested.get(j, 0.0)), drift=drift,
            )
            for j, (column, estimate, (frequencies, drift)) in parts
        ]  # fmt: skip
        whole = (*rule_remarks(known.asked.counted_rules, known.outside.rules), *trained.remarks)
        whole += form.unknown_remarks()
        whole = (*whole, *missing_remarks(_unseen_missing(known, estimates, [of.missing for of in columns])))
        noise = mechanism.noise_multiplier(trained.counted) * len(columns) ** 0.5 if labels else 0.0
    else:
        assert isinstance(known.asked, NumericFormat)
        whole, declared = trained.remarks, known.asked.bounds or (None,) * form.n_groups
        # Bounds that stay as they were declared are not known by counts.
        bounds = zip(form.bounds or (), declared, strict=True)
        counted = {j: known.counted.get(j) for j, (now, before) in enumerate(bounds) if now != before}
        groups = enumerate(zip(form.group_names, _spreads(form, trained), strict=True))
        columns = [
            of for j, (name, spread) in groups
            if (of := group_quality(name, counted.get(j), known.outside.columns.get(j, 0.0), spread)).remarks
        ]  # fmt: skip
        noise = known.classes.noise
    are_known = known.classes.coded is labels
    classes = class_quality(labels, counts, noise, known.classes.unlabelled, are_known=are_known)
    return FittedSchema(tuple(columns), classes, whole)


def _spreads(form, trained):
    """Standard deviations of what is drawn of each column of an array, within its bounds; see :func:`group_quality`."""
    if form.n_groups < form.n_encoded or form.dtype == "bool":
        return [math.inf] * form.n_groups
    random = torch.Generator().manual_seed(0)
    n = max(2, min(DRAWS // 4, MOST_CELLS // form.n_encoded))
    labels = torch.multinomial(trained.class_weights.double(), n, replacement=True, generator=random)
    return trained.generator.draw(labels, random).std(0).tolist()


def _estimate(place, column, known, mechanism):
    nothing = StateCounts(torch.zeros(column.n_states), torch.full((column.n_states,), torch.inf))
    counts = known.states.get(place, nothing)
    return estimate_of(place, counts.values, counts.variances, mechanism.counts)


def _hidden(columns, estimates, known):
    """Shares of the cells of columns, by their places, that may be missing or other, though more likely none are."""
    missing = [j for j, column in enumerate(columns) if column.nullable]
    open_ended = {
        j: column.n_states - 1 - column.nullable for j, column in enumerate(columns) if getattr(column, "other", False)
    }
    last = [(of.numbers[-1], of.covariance[-1, -1].sqrt()) for of in (estimates[j] for j in missing)]
    seen, doubts = torch.tensor(last).reshape(-1, 2).T
    n_none = sum(of.lacks_none for of in known.states.values())
    chances, numbers = some_or_none(seen, doubts, n_none)
    may = (chances > POSSIBLE) & (chances <= LIKELY)
    unseen = {j: float(n) for j, n, told in zip(missing, numbers, may, strict=True) if told}
    # Values that are rare there are nearly always: of these a deviation more than was found is possible.
    others = {j: _one_more(estimates[j], state) for j, state in open_ended.items()}
    return {
        j: Hidden(*(of.get(j, 0.0) / max(known.classes.total, 1.0) for of in (unseen, others)))
        for j in range(len(columns))
    }


def _nested(columns, trained):
    """Share of what is drawn of columns within others, by their places, that is none of their values."""
    nested = [j for j, column in enumerate(columns) if isinstance(column, JointColumn) and column.is_nested]
    if not nested:
        return {}
    random = torch.Generator().manual_seed(0)
    labels = stratified(trained.class_weights.double(), DRAWS, random)
    cells = trained.generator.draw(labels, random).floor().long()
    return {j: float(torch.from_numpy(columns[j].is_filler)[cells[:, j]].double().mean()) for j in nested}


def _unseen_missing(known, estimates, drawn):
    """Of the columns that seem to have no missing cells: the share that noise may hide, of each."""
    hidden = []
    for j, (column, estimate, share) in enumerate(zip(known.asked.columns, estimates, drawn, strict=True)):
        if column.nullable and not share:
            # Of numbers that were counted, the states that are drawn have no missing cells any more.
            noise = known.counted[j].absent[1] if j in known.counted else float(estimate.covariance[-1, -1]) ** 0.5
            hidden.append(min(DEVIATIONS * noise / max(known.classes.total, 1.0), 1.0))
    return hidden


def _one_more(estimate, state):
    return max(float(estimate.numbers[state]), 0.0) + float(estimate.covariance[state, state].sqrt())
