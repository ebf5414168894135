"""Records and points by class."""

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


def split_by_class(records):
    """Pairs of a class and its records' values; all are of class 0 where there are no labels."""
    records = sort_by_class(records)
    if records.labels is None:
        return [(0, records.values)]
    return [(c, records.values[rows]) for c, rows in class_slices(records.labels).items()]
