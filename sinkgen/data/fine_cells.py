"""Small cells in which numbers are counted where their bounds are known: bins are made of them. Public."""

import numpy as np

from sinkgen.denoise.grain import multiple

FINE_CELLS = 128
UNIT_CELLS = 512  # whole numbers within so wide bounds have a cell each


def fine_edges(column):
    """Ends of the cells in which a column's numbers are counted; public.

    Whole numbers, and dates of whole steps, have a cell each within narrow bounds. Else cells are of equal width, and,
    for numbers that may be skewed, also of equal ratio; the column's atoms have cells of their own.

    Examples
    --------
    >>> from sinkgen.data.table_columns import NumberColumn
    >>> fine_edges(NumberColumn("age", "int64", "integer", False, (0.0, 3.0))).tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0]
    """
    low, high = column.bounds
    whole = column.kind == "integer"
    grain = _whole_grain(column)
    if grain and (high - low) / grain < UNIT_CELLS:
        return multiple(np.arange(np.ceil(low / grain), np.floor(high / grain) + 2), grain)
    edges = [np.linspace(low, high, FINE_CELLS + 1)]
    if column.kind != "datetime":
        sizes = max(abs(low), abs(high)) * 2.0 ** (-np.arange(1, FINE_CELLS) / 4)
        atoms = np.asarray(column.atoms)
        edges += [sizes, -sizes, atoms, atoms + 1 if whole else np.nextafter(atoms, np.inf)]
    ends = np.concatenate(edges)
    ends = np.unique(np.ceil(ends) if whole else ends)
    last = np.floor(high) + 1 if whole else high
    return np.append(ends[(ends >= low) & (ends < last)], last)


def _whole_grain(column):
    """Public distance of a column's numbers, if it is a whole number; else None."""
    if column.kind == "float":
        return None
    grain = column.step or (1.0 if column.kind == "integer" else None)
    return grain if grain and grain == np.floor(grain) else None
