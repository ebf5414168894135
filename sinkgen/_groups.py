"""Records and points by class."""

import itertools
import math
from typing import Any, NamedTuple

import torch


def class_slices(classes):
    """Where each class lies in a sorted vector of classes: {class: slice}.

    Examples
    --------
    >>> class_slices(torch.tensor([0, 0, 2]))
    {0: slice(0, 2, None), 2: slice(2, 3, None)}
    """
    values, counts = torch.unique_consecutive(classes, return_counts=True)
    # One copy from where they lie: each number read alone would wait for a device.
    rows = torch.stack([values, counts, counts.cumsum(0)]).T.tolist()
    return {c: slice(end - count, end) for c, count, end in rows}


def sort_by_class(records):
    """The records, those of a class beside each other; a query over them then copies none.

    Examples
    --------
    >>> from sinkgen.records import Records
    >>> sort_by_class(Records(torch.tensor([[5.0], [6.0], [7.0]]), torch.tensor([1, 0, 1]))).values.flatten()
    tensor([6., 5., 7.])
    """
    labels = records.labels
    if labels is None or bool((labels[1:] >= labels[:-1]).all()):
        return records
    return records.take(labels.argsort(stable=True))


class ByClass(NamedTuple):
    """Records, those of a class beside each other.

    Attributes
    ----------
    records : Records
        First those of no class.
    slices : dict of int to slice
        Where each class that occurs lies among them.
    """

    records: Any
    slices: dict


def by_class(records, n_classes):
    """The records by class, and where each lies; a device is waited for once.

    Examples
    --------
    >>> from sinkgen.records import Records
    >>> by_class(Records(torch.tensor([5.0, 6.0, 7.0]), torch.tensor([1, -1, 0])), 2).slices
    {0: slice(1, 2, None), 1: slice(2, 3, None)}
    """
    labels = records.labels
    if labels.device.type != "cpu" or not bool((labels[1:] >= labels[:-1]).all()):
        records = records.take(labels.argsort(stable=True))
    edges = torch.searchsorted(records.labels, torch.arange(n_classes + 1, device=labels.device)).tolist()
    ends = itertools.pairwise(edges)
    return ByClass(records, {c: slice(start, end) for c, (start, end) in enumerate(ends) if start < end})


def split_by_class(records, classes):
    """Pairs of a class and its records, of those classes that occur; all are of class 0 without labels.

    Parameters
    ----------
    records : Records
    classes : Tensor of shape (n,), rising
        On the records' device; records of others are left out.

    Examples
    --------
    >>> from sinkgen.records import Records
    >>> records = Records(torch.tensor([[5.0], [6.0], [7.0]]), torch.tensor([1, 0, 1]))
    >>> [(c, own.values.flatten().tolist()) for c, own in split_by_class(records, torch.tensor([1, 2]))]
    [(1, [5.0, 7.0])]
    """
    if records.labels is None:
        return [(c, records) for c in classes.tolist() if c == 0 and len(records)]
    is_sorted, bounds = _bounds(records.labels, classes)
    if not is_sorted:
        records = sort_by_class(records)
        _, bounds = _bounds(records.labels, classes)
    return [(c, records.take(slice(start, end))) for c, start, end in bounds if start < end]


def _bounds(labels, classes):
    """Whether labels are sorted, and where each class lies then; one copy from a device."""
    starts, ends = torch.searchsorted(labels, classes), torch.searchsorted(labels, classes, right=True)
    is_sorted = (labels[1:] >= labels[:-1]).all().expand(len(classes)).long()
    rows = torch.stack([classes, starts, ends, is_sorted]).T.tolist()
    return all(row[3] for row in rows), [row[:3] for row in rows]


def count_cells(cliques, codes):
    """Number of records in each cell of each clique, all (size,).

    Parameters
    ----------
    cliques : sequence of Clique
        Columns, and the group of each state of each.
    codes : Tensor of shape (n_columns, m)
        States.

    Examples
    --------
    >>> from sinkgen.generators.cliques import Clique
    >>> pair = Clique((0, 1), (torch.tensor([0, 1, 1]), torch.arange(2)))
    >>> count_cells([pair], torch.tensor([[0, 1, 2], [1, 0, 0]]))
    [tensor([0, 1, 2, 0])]
    """
    known: dict = {}
    return [_count(clique, codes, known) for clique in cliques]


def _count(clique, codes, known):
    """Counts of one clique; groups of the records that are known are used again, others are put there."""
    widths, shape = tuple(map(len, clique.groups)), clique.shape
    if math.prod(widths) <= codes.shape[1]:  # states are few: they are counted, and their counts go into groups
        counts = torch.bincount(
            numbered([(codes[j], width) for j, width in zip(clique.columns, widths, strict=True)]),
            minlength=math.prod(widths),
        ).view(widths)
        for axis, of in enumerate(clique.groups):
            if shape[axis] < widths[axis]:
                sums = counts.new_zeros(*counts.shape[:axis], shape[axis], *counts.shape[axis + 1 :])
                counts = sums.index_add_(axis, of.to(codes.device), counts)
        return counts.flatten()
    parts = []
    for j, of, n in zip(clique.columns, clique.groups, shape, strict=True):
        if (j, id(of)) not in known:
            known[j, id(of)] = of.to(codes.device, torch.int32).index_select(0, codes[j].int())  # fewer bytes to move
        parts.append((known[j, id(of)], n))
    return torch.bincount(numbered(parts), minlength=clique.size)


def numbered(parts):
    """Places (m,) among all combinations, the last fastest, of places (m,) and how many of each there are.

    Of short integers they stay short, where there are so few: the fewer bytes are to move.
    """
    (first, n_all), *others = parts
    out = first
    for places, n in others:
        n_all *= n
        if n_all > torch.iinfo(out.dtype).max:
            out, places = out.int(), places.int()
        out = torch.add(places, out, alpha=n)
    return out
