"""What was not declared of the records, learned on the budget: bounds, categories, bins and labels."""

import dataclasses
import math
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from sinkgen.data.categories import key_of
from sinkgen.data.facts import STEPS
from sinkgen.data.formats import NumericFormat
from sinkgen.data.joint_columns import JointColumn
from sinkgen.data.labels import LabelSet, label_set, stand_in
from sinkgen.data.table import TableFormat
from sinkgen.data.table_columns import CATEGORIES
from sinkgen.denoise.frequencies import UNLIKELY, some_or_none
from sinkgen.denoise.grids import first_cells
from sinkgen.denoise.search import NEGLIGIBLE, Counted, Numbers
from sinkgen.privacy.queries.moments import CountQuery
from sinkgen.privacy.queries.tables import MarginalQuery
from sinkgen.training.numbers import count_numbers
from sinkgen.training.stage import StateCounts

SURE = 3.0  # standard deviations by which what lies outside of a declaration has to stand out
FAR_TOO_WIDE = 4.0  # times where the numbers lie; narrower bounds clip fewer of them than they would gain


class Outside(NamedTuple):
    """Shares of the records outside of what is declared.

    Attributes
    ----------
    columns : dict of int to float
        Of columns, by their places: outside of bounds or values.
    rules : list of float
        Of each rule of a table: those that break it.
    """

    columns: dict[int, float]
    rules: list[float]


class LearnedForm(NamedTuple):
    """A format with nothing missing, and what counts have shown of columns, by their places.

    Attributes
    ----------
    form : NumericFormat or TableFormat
    counted : dict of int to Counted
        Of columns of numbers.
    states : dict of int to StateCounts
        Of columns of tables whose states were learned.
    """

    form: NumericFormat | TableFormat
    counted: dict[int, Counted]
    states: dict[int, StateCounts]


def learn_form(facts, source, total, mechanism):
    """The format with nothing missing: what it has not, is released.

    Parameters
    ----------
    facts : Facts
    source : RecordSource
        Records as they came.
    total : float
        Noisy number of records.
    mechanism : GaussianMechanism
        Charged with the rows that ``facts.form.missing`` names.

    Returns
    -------
    LearnedForm
    """
    form = facts.form
    if isinstance(form, TableFormat):
        return learn_table(form, source, total, mechanism)
    if not form.missing:
        return LearnedForm(form, {}, {})
    counted = _count_bounds(form, source, total, mechanism)
    declared = dict(enumerate(form.bounds or ()))
    bounds = declared | {j: _bounds(*pair) for j, pair in counted.items()}
    form = form.with_bounds([bounds[j] for j in range(form.n_groups)])
    return LearnedForm(form, {j: _worse(pair) for j, pair in counted.items()}, {})


def learn_table(form, source, total, mechanism):
    """A table's format with nothing missing; see :func:`learn_form`."""
    columns, counted = dict(enumerate(form.columns)), {}
    states: dict[int, StateCounts] = {}
    waiting = {what: [j for j, of in columns.items() if what in of.missing] for what in ("categories", "bins")}
    if waiting["categories"]:
        waited = [columns[j] for j in waiting["categories"]]
        learned, known = _learn_categories(form, waited, source, total, mechanism)
        columns |= dict(zip(waiting["categories"], learned, strict=True))
        states |= {waiting["categories"][place]: of for place, of in known.items()}
    if waiting["bins"]:
        found = _count_bins(form, [columns[j] for j in waiting["bins"]], source, total, mechanism)
        counted = {j: of.with_tails() for j, of in zip(waiting["bins"], found, strict=True)}
        chances, _ = some_or_none(*torch.tensor([of.absent for of in found]).T)
        for (j, of), may in zip(counted.items(), (chances > UNLIKELY).tolist(), strict=True):
            made = _with_counted(columns[j], of, may_miss=may)
            states[j] = _counts_of_bins(made, of)._replace(lacks_none=columns[j].nullable and not made.nullable)
            columns[j] = made
    return LearnedForm(form.with_columns(columns.values()), counted, states)


def learn_outside(form, source, total, mechanism):
    """Share of the records outside of what is declared, where it stands out; else 0.

    Returns
    -------
    Outside
    """
    n_columns, n_rules = len(form.declared), len(form.counted_rules)
    if not n_columns + n_rules:
        return Outside({}, [])
    query = MarginalQuery([1] * (n_columns + n_rules))
    outside = source.map(partial(_outside, form))
    counts = mechanism.release("outside", query, outside)[0] / max(total, 1.0)
    noise = mechanism.noise_multiplier("outside") * query.sensitivity / max(total, 1.0)
    shares = torch.where(counts > SURE * noise, counts.clamp_max(1.0), 0.0).tolist()
    return Outside(dict(zip(form.declared, shares[:n_columns], strict=True)), shares[n_columns:])


def _outside(form, records):
    found = [form.outside(records.values)] if form.declared else []
    found += [form.broken(records.values, records.labels)] if form.counted_rules else []
    codes = np.concatenate(found, 1).astype(np.int16) - 1
    return records.having(values=torch.from_numpy(codes), labels=torch.zeros(len(records), dtype=torch.long))


def _learn_categories(form, columns, source, total, mechanism):
    """The columns with what occurs often; rarer categories are looked for where most records have none of these yet."""
    owners = [j for j, column in enumerate(columns) for _ in range(column.n_sets)]  # of each set
    found: list[dict] = [{} for _ in owners]
    for what in CATEGORIES:
        # Nothing but what was released says of which sets the second look is.
        looked = _worth_a_look([total - math.fsum(count for count, _ in known.values()) for known in found])
        read = partial(_new_members, form, columns, looked, [set(found[i]) for i in looked])
        kept = mechanism.release_sets(what, source, read, len(looked))
        noise = mechanism.noise_multiplier(what) * math.sqrt(len(looked))
        for i, new in zip(looked, kept, strict=True):
            found[i] |= {member: (count, noise) for member, count in zip(new.labels, new.counts.tolist(), strict=True)}
    learned, known = [], {}
    for j, column in enumerate(columns):
        sets = [of for of, owner in zip(found, owners, strict=True) if owner == j]
        learned.append(column.with_sets([{member: count for member, (count, _) in of.items()} for of in sets]))
        if not isinstance(column, JointColumn):
            known[j] = _counts_of_values(learned[j], sets[0])
    return learned, known


def _worth_a_look(unknown):
    """Sets of which most records hold unknown members, by the noise that each more adds to the others'."""
    order = sorted(range(len(unknown)), key=lambda j: -unknown[j])
    gains = np.cumsum([max(unknown[j], 0.0) for j in order]) / np.sqrt(np.arange(1, len(order) + 1))
    return sorted(order[: int(gains.argmax()) + 1])


def _new_members(form, columns, looked, known, records):
    frame = form.arrange(records.values, columns).frame
    sets = [of for column in columns for of in column.member_sets(frame[column.name])]
    return [
        {member: count for member, count in sets[i].items() if member not in old}
        for i, old in zip(looked, known, strict=True)
    ]


def _counts_of_values(column, found):
    """Of the values that were released; nothing is known of the others, or of missing cells."""
    rest = column.n_states - len(column.values)
    counts = [*(found[key_of(value)] for value in column.values), *[(0.0, math.inf)] * rest]
    values, noises = torch.tensor(counts).double().T
    return StateCounts(values, noises.square())


def _counts_of_bins(column, found):
    """Of the cells of each bin, and of missing cells; nothing is known where no cells were found."""
    if found.cells is None:
        return StateCounts(torch.zeros(column.n_states).double(), torch.full((column.n_states,), math.inf).double())
    starts = np.flatnonzero(np.diff(column.bins, prepend=-1))
    values, sizes = (np.add.reduceat(part, starts) for part in (found.values, found.sizes))
    missing, doubt = ([part] * column.nullable for part in found.absent)
    variances = [*(sizes * found.noise**2), *(of**2 for of in doubt)]
    return StateCounts(torch.tensor([*values, *missing]).double(), torch.tensor(variances).double())


def completed(form, labels, states):
    """A learned format with what rules need of it, and the counts of those columns' states that are as they were.

    Parameters
    ----------
    form : NumericFormat or TableFormat
    labels : LabelSet or None
    states : dict of int to StateCounts
    """
    if not isinstance(form, TableFormat):
        return form, states
    made = form.completed(labels)
    same = [old.n_states == new.n_states for old, new in zip(form.columns, made.columns, strict=True)]
    return made, {j: counts for j, counts in states.items() if same[j]}


def _count_bins(form, columns, source, total, mechanism):
    known = [Numbers.of(column.bounds, column.kind, column.step) for column in columns]
    return count_numbers(known, source.map(partial(_numbers, form, columns)), total, mechanism, "bins", STEPS["bins"])


def _numbers(form, columns, records):
    frame = form.arrange(records.values, columns).frame
    cells = np.stack([column.numbers(frame[column.name]) for column in columns], 1)
    return records.having(values=torch.from_numpy(cells), labels=None)


def _with_counted(column, found, *, may_miss):
    """The column with the cells that were found, in bins; evenly between its bounds where nothing was.

    ``may_miss`` says whether cells may be missing of what was not declared.
    """
    grain = None if column.kind == "integer" else found.grain
    cells = found.cells
    if cells is None:
        cells = first_cells(column.bounds or (0.0, 1.0), found.grain, 1)
        bins = np.zeros(len(cells.shares))
    else:
        bins = found.bins()
    # What was not declared may be missing by its dtype; whether it is, these counts say first.
    is_nullable = column.nullable and (column.bounds is not None or may_miss)
    low, last = cells.first(), cells.last(found.grain)
    bounds = (low, last if last > low else float(cells.edges[-1]))
    made = column.with_learned(bounds, grain, cells.edges, bins, np.maximum(cells.shares, NEGLIGIBLE))
    return dataclasses.replace(made, nullable=is_nullable)


def _count_bounds(form, source, total, mechanism):
    """Of groups of columns, by place; or, where many share theirs, of their least and greatest numbers: a pair each.

    Bounds that were declared may be far wider than the numbers lie: where within these do, is counted.
    """
    kind = "float" if np.dtype(form.dtype).kind == "f" else "integer"
    ends = 1 if form.n_groups == form.n_encoded else 2
    groups = list(form.declared) if form.bounds else list(range(form.n_groups))
    known = [
        Numbers(form.bounds and form.bounds[j], 1.0 if kind == "integer" else None) for j in groups for _ in range(ends)
    ]
    numbers = source.map(partial(_extremes, form.n_groups, groups, ends))
    counted = count_numbers(known, numbers, total, mechanism, "bounds", STEPS["bounds"])
    return dict(zip(groups, zip(counted[::ends], counted[ends - 1 :: ends], strict=True), strict=True))


def _worse(pair):
    """What is known of the worse known end; that extremes of many numbers lie close together is as it should be."""
    least, greatest = pair
    worse = min(pair, key=lambda counted: counted.cells is not None)
    return least if least is greatest else worse._replace(is_resolved=True)


def _extremes(n_groups, groups, ends, records):
    with np.errstate(over="ignore"):  # of a wider dtype: infinite is as large as any
        # A copy: torch takes no array that runs backwards, and warns of one that must not be written to.
        rows = np.array(records.values, dtype=np.float64, order="C").reshape(len(records), n_groups, -1)[:, groups]
    extremes = rows if ends == 1 else np.stack([rows.min(2), rows.max(2)], 2)
    return records.having(values=torch.from_numpy(extremes.reshape(len(rows), -1)), labels=None)


def _bounds(least, greatest):
    """Where the numbers lie; of declared bounds, if these are not many times as wide."""
    declared = least.known.bounds
    if least.cells is None or greatest.cells is None:
        return declared or (0.0, 1.0)
    low, high = _first(least), _last(greatest)
    if declared and (high - low) > (declared[1] - declared[0]) / FAR_TOO_WIDE:
        return declared
    return (low, high) if high > low else (low, low + 1.0)


def _first(found):
    cells = found.cells
    far = _far_ends(cells.edges[-1] - cells.edges[:-1], found.values, found.sizes, found.noise)
    return cells.part(far, len(cells.shares)).first()


def _last(found):
    cells = found.cells
    widths = cells.edges[:0:-1] - cells.edges[0]
    far = _far_ends(widths, found.values[::-1], found.sizes[::-1], found.noise)
    return cells.part(0, len(cells.shares) - far).last(found.grain)


def _far_ends(widths, values, sizes, noise):
    """How many cells at an end do not stand out together, and without them the rest (k,) is many times narrower."""
    does_not = np.cumsum(values) < SURE * noise * np.sqrt(np.cumsum(sizes))
    is_far = widths[1:] * FAR_TOO_WIDE**2 < widths[0]
    places = np.flatnonzero(does_not[:-1] & is_far)
    return int(places[-1]) + 1 if len(places) else 0


class LearnedLabels(NamedTuple):
    """The classes, and what was counted of them.

    Attributes
    ----------
    labels : LabelSet or None
        None without labels.
    coded : LabelSet or None
        By which records get their classes; None where all are of one.
    counts : Tensor of shape (n_classes,)
        Noisy numbers of records.
    total : float
        Noisy number of the records of all classes, also of those that are not known.
    noise : float
        Standard deviation of the noise of a class's count.
    unlabelled : float
        Share of the records whose labels do not stand out, as far as that share does.
    """

    labels: LabelSet | None
    coded: LabelSet | None
    counts: torch.Tensor
    total: float
    noise: float
    unlabelled: float = 0.0


def learn_labels(facts, source, mechanism):
    """The label set, and noisy counts of the records of each.

    Where the set is not declared and no label stands out of the noise, all records are of one class, which has a
    stand-in for a label: what else was paid for is not lost with the labels.
    """
    declared = facts.labels
    query = CountQuery(len(declared.classes) if declared else 1)
    counts = mechanism.release("count", query, source.map(partial(_coded, declared)))
    total = float(counts.sum())
    if not facts.labels_unknown:
        return LearnedLabels(declared, declared, counts, total, mechanism.noise_multiplier("count"))
    kept = mechanism.release_labels("labels", source)
    if not kept.labels:
        return LearnedLabels(stand_in(facts.y_dtype), None, counts, total, mechanism.noise_multiplier("count"))
    found, left = label_set(kept.labels, facts.y_dtype), total - float(kept.counts.sum())
    own = mechanism.noise_multiplier("labels")
    noise = math.hypot(mechanism.noise_multiplier("count"), own * math.sqrt(len(kept.labels)))
    unlabelled = left / total if left > SURE * noise else 0.0
    return LearnedLabels(found, found, kept.counts, total, own, unlabelled)


def _coded(labels, records):
    n = len(records)
    codes = torch.zeros(n, dtype=torch.long) if labels is None else labels.encode(records.labels)
    return records.having(values=torch.zeros(n, 1), labels=codes)
