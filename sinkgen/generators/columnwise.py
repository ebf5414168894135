"""A monotone curve for each column of an array: it takes draws to where the column's numbers were counted. Public.

Points with Gaussian variation have no heavy zeros, no long tails and no whole numbers. Where bounds were sought, each
column was counted in cells: these say how much of it lies where, at no further cost.
"""

import numpy as np
import torch

from sinkgen.denoise.frequencies import stepped_frequencies

NO_CURVES = torch.zeros(0, 2, 0)
N_KNOTS = 257  # of a curve, even in rank; at cells' ends there are more
MOST_STEPS = 200  # of a column of few numbers: between these nothing is drawn
TINY, DIGITS = 1e-12, 9


def fit_columns(draws, bounds, counted):
    """Curves (D, 2, k): values of draws before, and after; none where no column is off by more than noise.

    Where the draws' own frequencies in the cells are no further from the counts than noise would bring them, they stay;
    else they become what the counts showed. Within a cell draws lie as they did. One curve serves all classes.

    Parameters
    ----------
    draws : Tensor of shape (m, D)
        Encoded records of all classes, as often as they occur.
    bounds : sequence of (low, high)
        Of each column.
    counted : dict of int to Counted
        Of some columns.
    """
    found: dict[int, tuple] = {}
    for j, column in counted.items():
        if column.cells is not None:
            low, high = bounds[j]
            curve = _curve(np.sort(draws[:, j].double().numpy()), column, low, high - low)
            found |= {} if curve is None else {j: curve}
    if not found:
        return NO_CURVES
    width = max(len(before) for before, _ in found.values())
    out = torch.linspace(0, 1, width, dtype=torch.float64).repeat(draws.shape[1], 2, 1)
    for j, parts in found.items():
        for side, part in enumerate(parts):
            out[j, side] = torch.from_numpy(np.pad(part, (0, width - len(part)), mode="edge"))
    return out.float()


def follow(records, curves):
    """Records (m, D) after the curves of :func:`fit_columns`, each column along its own."""
    if not len(curves):
        return records
    before, after = curves.unbind(1)
    values = records.T.contiguous()
    right = torch.searchsorted(before.contiguous(), values).clamp(1, before.shape[1] - 1)
    low, high = before.gather(1, right - 1), before.gather(1, right)
    part = ((values - low) / (high - low).clamp_min(TINY)).clamp(0, 1)
    start, stop = after.gather(1, right - 1), after.gather(1, right)
    return (start + part * (stop - start)).T.contiguous()


def _curve(ordered, column, low, size):
    """Knots before and after, both rising, of one column's sorted draws; None where these are as counted."""
    # Rounded, as is all that follows: what sums of another order leave in the last digits shall move no draw.
    ends = ((column.cells.edges - low) / size).clip(0, 1).round(DIGITS)
    below = np.searchsorted(ordered, ends) / len(ordered)
    below[0], below[-1] = 0.0, 1.0
    own = np.diff(below)
    total, noise = max(column.present, 1.0), column.noise * float(np.sqrt(column.sizes.mean()))
    stepped = stepped_frequencies(torch.from_numpy(column.values / total), torch.from_numpy(own), noise / total)
    if np.allclose(stepped.numpy(), own):
        return None
    shares = (column.cells.shares / column.cells.shares.sum()).round(DIGITS)
    above = np.concatenate([[0.0], shares.cumsum()]).clip(0, 1)
    above[-1] = 1.0
    steps = None if column.grain is None else (column.cells.edges[-1] - column.cells.edges[0]) / column.grain
    if steps is not None and steps <= MOST_STEPS:
        ranks, after = _stepwise(column, above, low, size)
    else:
        ranks = np.union1d((np.arange(N_KNOTS) + 0.5) / N_KNOTS, above)
        ranks = np.sort(np.concatenate([ranks, (above - TINY).clip(0)]))
        cell = np.searchsorted(above, ranks, side="right").clip(1, len(shares)) - 1
        part = ((ranks - above[cell]) / np.maximum(shares[cell], TINY)).clip(0, 1)
        lie_there = own[cell] > TINY
        drawn = np.interp(below[cell] + part * own[cell], (np.arange(len(ordered)) + 0.5) / len(ordered), ordered)
        even = ends[cell] + part * (ends[cell + 1] - ends[cell])
        after = np.where(lie_there, drawn, even).clip(ends[cell], ends[cell + 1])
    before = np.interp(ranks, (np.arange(len(ordered)) + 0.5) / len(ordered), ordered)
    return np.maximum.accumulate(before), np.maximum.accumulate(after)


def _stepwise(column, above, low, size):
    """Ranks at which one number ends and the next begins, and these numbers, encoded."""
    grain, edges = column.grain, column.cells.edges
    numbers = np.arange(np.ceil(edges[0] / grain - 1e-9), np.ceil(edges[-1] / grain - 1e-9)) * grain
    at = np.interp(np.append(numbers, numbers[-1] + grain), edges, above)
    ranks = np.stack([at[:-1], np.maximum(at[1:] - TINY, at[:-1])], 1).flatten()
    return ranks, np.repeat(((numbers - low) / size).clip(0, 1), 2)
