"""What was not declared of the records, learned on the budget: bounds, categories, bins and labels."""

import numpy as np
import torch

from sinkgen.data.labels import label_set
from sinkgen.data.schema import numbers_of
from sinkgen.data.table import TableFormat
from sinkgen.data.table_columns import fine_edges, member_counts, members
from sinkgen.denoise.bounds import bounds_from_magnitudes
from sinkgen.denoise.frequencies import shrink_frequencies
from sinkgen.privacy.queries.bounds import MagnitudeQuery
from sinkgen.privacy.queries.tables import CellMagnitudeQuery, MarginalQuery
from sinkgen.records import Records

MOST_BINS = 24


def learn_table(form, source, mechanism):
    """The format with nothing missing: what is not declared is released.

    Parameters
    ----------
    form : TableFormat
    source : RecordSource
        Rows of the table.
    mechanism : GaussianMechanism
        Charged with the rows that ``form.missing`` names.

    Returns
    -------
    TableFormat
    """
    for what, learn in (("bounds", _learn_bounds), ("categories", _learn_categories), ("bins", _learn_bins)):
        waiting = [j for j, column in enumerate(form.columns) if what in column.missing]
        if waiting:
            learned = learn([form.columns[j] for j in waiting], source, mechanism)
            columns = dict(enumerate(form.columns)) | dict(zip(waiting, learned, strict=True))
            form = form.with_columns(columns.values())
    return form


def _learn_bounds(columns, source, mechanism):
    def numbers(records):
        cells = np.stack([numbers_of(records.values.frame[column.name]) for column in columns], 1)
        return Records(torch.from_numpy(cells))

    query = CellMagnitudeQuery(len(columns))
    counts = mechanism.release("bounds", query, source.map(numbers))
    bounds = bounds_from_magnitudes(counts, mechanism.noise_multiplier("bounds") * query.sensitivity)
    return [column.with_bounds(pair) for column, pair in zip(columns, bounds.tolist(), strict=True)]


def _learn_categories(columns, source, mechanism):
    def cells(records):
        return [member_counts(records.values.frame[column.name]) for column in columns]

    kept = mechanism.release_sets("categories", source, cells, len(columns))
    return [column.with_values(members(found.labels)) for column, found in zip(columns, kept, strict=True)]


def _learn_bins(columns, source, mechanism):
    fine = TableFormat(tuple(column.with_cells(fine_edges(column)) for column in columns))
    query = MarginalQuery(fine.widths)
    codes = source.map(lambda r: Records(fine.encode(r.values), torch.zeros(len(r), dtype=torch.long)))
    counts = mechanism.release("bins", query, codes)[0]
    noise = mechanism.noise_multiplier("bins") * query.sensitivity
    parts = zip(fine.columns, counts.split(fine.widths), strict=True)
    return [merge_cells(column, part, noise) for column, part in parts]


def merge_cells(column, counts, noise_scale):
    """Bins of about equal noisy counts, made of cells; post-processing.

    A cell that holds its bin's share alone stays alone. No bin holds less than stands out of the noise.

    Parameters
    ----------
    column : NumberColumn
        With a bin for each cell.
    counts : Tensor of shape (n_states,)
        Noisy counts of the cells, and of missing cells if the column is nullable.
    noise_scale : float
        Standard deviation of a count's noise.
    """
    present = counts[: len(column.bins)]
    total = float(present.sum().clamp_min(1.0))
    even = torch.tensor(np.diff(column.edges)).to(present)
    share = (total * shrink_frequencies(present / total, even / even.sum(), noise_scale / total)).numpy()
    heavy = share >= total / MOST_BINS
    wanted = share[~heavy].sum() / max(MOST_BINS - heavy.sum(), MOST_BINS / 4)
    wanted = max(wanted, 4 * noise_scale, 1e-9)
    bins, held = np.zeros(len(share), dtype=int), 0.0
    for cell in range(1, len(share)):
        held += share[cell - 1]
        alone = (heavy[cell - 1] or heavy[cell]) and share[[cell - 1, cell]].max() >= wanted
        full = held >= wanted and share[cell:].sum() >= wanted
        bins[cell] = bins[cell - 1] + (alone or full)
        held = 0.0 if bins[cell] > bins[cell - 1] else held
    smooth = share + 1e-3 * total / len(share)
    return column.with_cells(column.edges, bins, smooth)


def learn_form(facts, source, mechanism):
    """The format with nothing missing: what it has not, is released."""
    if not facts.form.missing:
        return facts.form
    if isinstance(facts.form, TableFormat):
        return learn_table(facts.form, source, mechanism)
    query = MagnitudeQuery(facts.form.n_groups, facts.form.n_encoded)
    noise = mechanism.noise_multiplier("bounds") * query.sensitivity
    counts = mechanism.release("bounds", query, source)
    return facts.form.with_bounds(bounds_from_magnitudes(counts, noise).tolist())


def learn_labels(facts, source, mechanism):
    """The label set and noisy counts of its labels; None each where they were not to be learned.

    Raises
    ------
    ValueError
        If no label occurs often enough to stand out; the budget is spent then.
    """
    if "labels" not in facts.missing:
        return facts.labels, None
    kept = mechanism.release_labels("labels", source)
    if not kept.labels:
        raise ValueError("no label occurs often enough to be learned on this budget; declare classes")
    return label_set(kept.labels, facts.y_dtype), kept.counts
