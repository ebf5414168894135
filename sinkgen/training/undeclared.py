"""What was not declared of the records, learned on the budget: bounds, categories, bins and labels."""

import dataclasses
from functools import partial

import numpy as np
import torch

from sinkgen.data.facts import STEPS
from sinkgen.data.labels import label_set
from sinkgen.data.schema import numbers_of
from sinkgen.data.table import TableFormat
from sinkgen.data.table_columns import member_counts, members
from sinkgen.denoise.numbers import first_cells, merged
from sinkgen.privacy.queries.moments import CountQuery
from sinkgen.training.numbers import Numbers, count_numbers

MISSING = 1.0  # standard deviations by which missing cells have to stand out, to be looked for
NEGLIGIBLE = 1e-12  # weight of a cell that seems to hold nothing, so that it can be drawn where it is asked for


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
    NumericFormat or TableFormat
    """
    form = facts.form
    if isinstance(form, TableFormat):
        return learn_table(form, source, total, mechanism)
    return form.with_bounds(_learn_bounds(form, source, total, mechanism)) if form.missing else form


def learn_table(form, source, total, mechanism):
    """A table's format with nothing missing; see :func:`learn_form`."""
    for what, learn in (("categories", _learn_categories), ("bins", _learn_bins)):
        waiting = [j for j, column in enumerate(form.columns) if what in column.missing]
        if waiting:
            learned = learn([form.columns[j] for j in waiting], source, total, mechanism)
            columns = dict(enumerate(form.columns)) | dict(zip(waiting, learned, strict=True))
            form = form.with_columns(columns.values())
    return form


def _learn_categories(columns, source, total, mechanism):
    def cells(records):
        return [member_counts(records.values.frame[column.name]) for column in columns]

    kept = mechanism.release_sets("categories", source, cells, len(columns))
    return [column.with_values(members(found.labels)) for column, found in zip(columns, kept, strict=True)]


def _learn_bins(columns, source, total, mechanism):
    names = [column.name for column in columns]
    known = [Numbers.of(column.bounds, column.kind, column.step) for column in columns]
    counted = count_numbers(known, source.map(partial(_numbers, names)), total, mechanism, "bins", STEPS["bins"])
    return [_with_counted(column, found) for column, found in zip(columns, counted, strict=True)]


def _numbers(names, records):
    cells = np.stack([numbers_of(records.values.frame[name]) for name in names], 1)
    return records.having(values=torch.from_numpy(cells), labels=None)


def _with_counted(column, found):
    """The column with the cells that were found, in bins; evenly between its bounds where nothing was."""
    grain = None if column.kind == "integer" else found.grain
    cells = found.cells
    if cells is None:
        cells = first_cells(column.bounds or (0.0, 1.0), found.grain, 1)
        bins = np.zeros(len(cells.shares))
    else:
        bins = merged(cells.shares * found.present, found.noise)
    # What was not declared may be missing by its dtype; whether it is, these counts say first.
    is_nullable = column.nullable and (column.bounds is not None or found.missing > MISSING)
    low, last = cells.first(), cells.last(found.grain)
    bounds = (low, last if last > low else float(cells.edges[-1]))
    made = column.with_learned(bounds, grain, cells.edges, bins, np.maximum(cells.shares, NEGLIGIBLE))
    return dataclasses.replace(made, nullable=is_nullable)


def _learn_bounds(form, source, total, mechanism):
    """Of columns; or, where many share theirs, of their least and greatest numbers."""
    kind = "float" if np.dtype(form.dtype).kind == "f" else "integer"
    ends = 1 if form.n_groups == form.n_encoded else 2
    known = [Numbers(None, 1.0 if kind == "integer" else None)] * form.n_groups * ends
    numbers = source.map(partial(_extremes, form.n_groups, ends))
    counted = count_numbers(known, numbers, total, mechanism, "bounds", STEPS["bounds"])
    pairs = zip(counted[::ends], counted[ends - 1 :: ends], strict=True)
    return [_bounds(least, greatest) for least, greatest in pairs]


def _extremes(n_groups, ends, records):
    with np.errstate(over="ignore"):  # of a wider dtype: infinite is as large as any
        rows = np.asarray(records.values, dtype=np.float64).reshape(len(records), n_groups, -1)
    extremes = rows if ends == 1 else np.stack([rows.min(2), rows.max(2)], 2)
    return records.having(values=torch.from_numpy(extremes.reshape(len(rows), -1)), labels=None)


def _bounds(least, greatest):
    if least.cells is None or greatest.cells is None:
        return 0.0, 1.0
    low, high = least.cells.first(), greatest.cells.last(greatest.grain)
    return (low, high) if high > low else (low, low + 1.0)


def learn_labels(facts, source, mechanism):
    """The label set, None without labels, and noisy counts of the records of each.

    Raises
    ------
    ValueError
        If no label occurs often enough to stand out; the budget is spent then.
    """
    if "labels" not in facts.missing:
        query = CountQuery(len(facts.labels.classes) if facts.labels else 1)
        return facts.labels, mechanism.release("count", query, source.map(partial(_coded, facts.labels)))
    kept = mechanism.release_labels("labels", source)
    if not kept.labels:
        raise ValueError("no label occurs often enough to be learned on this budget; declare classes")
    return label_set(kept.labels, facts.y_dtype), kept.counts


def _coded(labels, records):
    n = len(records)
    codes = torch.zeros(n, dtype=torch.long) if labels is None else labels.encode(records.labels)
    return records.having(values=torch.zeros(n, 1), labels=codes)
