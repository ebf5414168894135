"""Where in a bin numbers lie: cells, counted within classes."""

from functools import partial

import torch

from sinkgen.denoise.frequencies import MANY, many_frequencies, shrink_frequencies
from sinkgen.privacy.queries.tables import MarginalQuery

EMPTY = 1e-9  # share of a state's records
THIN = 0.3  # standard deviations of the noise: a cell of which fewer records are expected is drawn as it is expected
LEAST = 1e-6  # the same, of what can be drawn where it is asked for
CELL_SHARE, LISTED_SHARE = 0.05, 0.15  # of the budget, for numbers in bins, and for listed categories in parents


def cell_share(form):
    """Share of the budget that cells get: more where they are categories, of which nothing else tells."""
    if not form.fine:
        return 0.0
    return LISTED_SHARE if any(getattr(form.columns[j], "is_listed", False) for j in form.fine) else CELL_SHARE


def learn_cells(source, form, n_classes, mechanism):
    """Release how many records lie in each cell of the numbers' columns, and shares of cells within states from it.

    Parameters
    ----------
    source : RecordSource
        Cells (m, n_columns) with classes.
    form : TableFormat
    n_classes : int
        1 for counts over all classes.
    mechanism : GaussianMechanism
        Charged with "cells" if ``form.fine`` names columns.

    Returns
    -------
    Tensor of shape (n_classes, C)
    """
    shares, fine = form.cell_shares, form.fine
    if not fine:
        return shares.expand(n_classes, -1)
    counts = [form.cell_counts[j] for j in fine]
    query = MarginalQuery(counts, n_classes)
    taken = source.map(partial(_take_columns, list(fine)))
    noisy = mechanism.release("cells", query, taken)
    noise = mechanism.noise_multiplier("cells") * query.sensitivity
    column = torch.repeat_interleave(torch.arange(len(form.columns)), torch.tensor(form.cell_counts))
    cells = torch.isin(column, torch.tensor(fine))
    out = shares.repeat(n_classes, 1)
    expected = torch.cat([
        _expected(form.columns[j], of, prior, noise * n_classes**0.5)
        for j, of, prior in zip(fine, noisy.sum(0).split(counts), shares[cells].split(counts), strict=True)
    ])  # fmt: skip
    out[:, cells] = shares_within(noisy, form.cell_states[cells], expected, noise)
    return out


def _expected(column, counts, prior, noise):
    """What is expected of the cells of a column (n_cells,): of listed categories, what their counts show together."""
    if not getattr(column, "is_listed", False) or len(counts) <= MANY:
        return prior
    states = torch.tensor(column.cell_states)
    found = many_frequencies(counts, noise)
    sums = torch.zeros(column.n_states, dtype=found.dtype).index_add_(0, states, found)[states]
    return torch.where(sums > EMPTY, (found / sums.clamp_min(EMPTY)).clamp_min(LEAST), prior).to(prior.dtype)


def _take_columns(columns, records):
    return records.having(values=records.values[:, columns])


def shares_within(counts, states, expected, noise):
    """Shares of cells within their states, from noisy counts; post-processing.

    All classes' counts together are shrunk towards what is expected, those of each class towards these, both by the
    share of noise in how they differ (James, Stein), at the upper end of what it may be; what is left is projected onto
    the simplex.

    Parameters
    ----------
    counts : Tensor of shape (n_classes, C)
    states : LongTensor of shape (C,), rising
    expected : Tensor of shape (C,)
        Sums 1 over the cells of a state.
    noise : float
        Standard deviation of the noise of a count.

    Returns
    -------
    Tensor of shape (n_classes, C)

    Examples
    --------
    >>> counts = torch.tensor([[90.0, 10.0, 40.0, 41.0]], dtype=torch.float64)
    >>> halves = torch.full((4,), 0.5, dtype=torch.float64)
    >>> shares_within(counts, torch.tensor([0, 0, 1, 1]), halves, 3.0)
    tensor([[0.8941, 0.1059, 0.5000, 0.5000]], dtype=torch.float64)
    """
    sizes = torch.unique_consecutive(states, return_counts=True)[1].tolist()
    parts = zip(counts.split(sizes, 1), expected.split(sizes), strict=True)
    return torch.cat([_shares_of_state(part, prior, noise) for part, prior in parts], 1)


def _shares_of_state(counts, prior, noise):
    pooled = _shares(counts.sum(0), prior, noise * len(counts) ** 0.5)
    return torch.stack([_shares(of_class, pooled, noise) for of_class in counts])


def _shares(counts, prior, noise):
    total = counts.sum()
    # What seems to hold nothing, or hardly any, stays so, in all classes: its noise would be drawn.
    held = (prior > EMPTY) & (prior * total > THIN * noise)
    own, part = counts[held].sum(), prior[held].sum()
    if total <= 0 or own <= 0 or held.sum() < 2:
        return prior
    out = prior.clone()
    out[held] = part * shrink_frequencies(counts[held] / own, prior[held] / part, noise / own)
    return out / out.sum()
