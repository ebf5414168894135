"""Which records break a rule: counted on the budget in a fit, and shown to those who hold the records."""

import numpy as np

from sinkgen.data.boxes import forbidden, range_in_rule
from sinkgen.data.categories import key_of, keyed
from sinkgen.data.rules import FixedCombinations, Inequality, Sum
from sinkgen.data.table_columns import NumberColumn

TOLERANCE = 1e-6  # share of the numbers by which a sum may be off: they are rounded


def broken(rule, frame, columns, label=None, labels=None):
    """Which records break a rule; where a number that it is about is missing, it says nothing.

    Parameters
    ----------
    rule : Rule
    frame : pandas.DataFrame
        Of m records.
    columns : sequence of NumberColumn, CategoryColumn or KeyColumn
        The table's own.
    label : str, int or None
        What the rule calls the labels.
    labels : ndarray of shape (m,), optional

    Returns
    -------
    ndarray of shape (m,), bool
    """
    import pandas as pd

    own = {column.name: column for column in columns}
    cells = dict(frame.items()) if labels is None else {label: pd.Series(labels, index=frame.index), **frame}

    def numbers(name):
        return own[name].numbers(cells[name])

    if isinstance(rule, Inequality):
        return numbers(rule.low) > numbers(rule.high)
    if isinstance(rule, Sum):
        parts = np.stack([numbers(part) for part in rule.parts])
        total = numbers(rule.total)
        return np.abs(total - parts.sum(0)) > TOLERANCE * (np.abs(total) + np.abs(parts).sum(0))
    if isinstance(rule, FixedCombinations):
        return _is_unlisted(rule, cells)
    out = np.zeros(len(frame), dtype=bool)
    for _, conditions in forbidden([rule], label):
        meets = [_meets(own.get(name), cells[name], kind, wanted) for name, kind, wanted in conditions]
        out |= np.all(meets, 0)
    return out


def _is_unlisted(rule, cells):
    if rule.combinations is None:
        return np.zeros(len(cells[rule.columns[0]]), dtype=bool)
    listed = {tuple(None if value is None else key_of(value) for value in row) for row in rule.combinations}
    codes, keys = zip(*(keyed(cells[name]) for name in rule.columns), strict=True)
    rows, places = np.unique(np.stack(codes, 1), axis=0, return_inverse=True)
    known = [
        tuple(None if code < 0 else of[code] for code, of in zip(row, keys, strict=True)) in listed
        for row in rows.tolist()
    ]
    return ~np.array(known, dtype=bool)[places.ravel()]


def _meets(column, series, kind, wanted):
    """Which cells (m,) meet a condition, of the kinds of :func:`~sinkgen.data.boxes.forbidden`."""
    if kind == "missing":
        return series.isna().to_numpy()
    if isinstance(column, NumberColumn):
        found = column.numbers(series)
        low, high = range_in_rule(column, wanted)
        inside = (found >= low) & (found < high)
        return ~inside & ~np.isnan(found) if kind == "out" else inside
    places, keys = keyed(series)
    named = set(map(key_of, wanted if isinstance(wanted, tuple) else (wanted,)))
    return np.array([*((key in named) != (kind == "isn't") for key in keys), False], dtype=bool)[places]
