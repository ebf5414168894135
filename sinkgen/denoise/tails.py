"""Tails beyond the cells of a column that stand out, up to known bounds."""

import math

import numpy as np

from sinkgen.denoise.cells import LEAST, Cells
from sinkgen.denoise.grain import multiple

STEEP, BODY = 2.0, 0.25  # times the records of an end, and share of all, that lie beyond where its slope is read from
SURE = 3.0  # standard deviations
TAIL_CELLS = 2.0 ** np.arange(-1, 8)  # ends of a tail's cells, in units of its scale


def with_tails(cells, counts, bounds, grain):
    """The cells, and more of them beyond both ends, up to known bounds.

    Beyond the last cell nothing stands out of the noise; what lies there was counted in that cell. Of the few records
    of an end, as many lie beyond it as an exponential tail has, whose scale is that of the cells before.

    Parameters
    ----------
    cells : Cells
    counts : Counts
        Of the cells.
    bounds : (low, high)
    grain : float or None

    Returns
    -------
    tuple of (Cells, Counts)

    Examples
    --------
    >>> from sinkgen.denoise.cells import Counts
    >>> cells = Cells(np.array([0.0, 1.0, 2.0]), np.array([0.75, 0.25]))
    >>> counts = Counts(np.array([75.0, 25.0]), np.ones(2), 1.0, 100.0)
    >>> found = with_tails(cells, counts, (0.0, 3.0), None)[0]
    >>> found.edges[2:].round(1).tolist(), found.shares[1:].round(2).tolist()
    ([2.0, 2.4, 2.7, 3.0], [0.2, 0.03, 0.02, 0.01])
    """
    for sign in (1, -1):
        edges, end = sign * cells.edges[::sign], sign * bounds[sign > 0]
        if grain and sign > 0:
            end = multiple(math.floor(end / grain + 1e-9) + 1, grain)
        own = _tail(edges, cells.shares[::sign], counts.noise / counts.total, end, grain)
        if own is None:
            continue
        ends, parts = own
        nothing = np.zeros(len(parts) - 1)
        columns = (cells.shares[::sign], counts.values[::sign], counts.sizes[::sign])
        shares, values, sizes = (np.concatenate([of, nothing])[::sign] for of in columns)
        place = -len(parts) if sign > 0 else len(parts) - 1
        tail = slice(place, None) if sign > 0 else slice(0, len(parts))
        shares[tail] = (shares[place] * parts)[::sign]
        cells = Cells(sign * np.concatenate([edges, ends])[::sign], shares)
        counts = counts._replace(values=values, sizes=sizes)
    return cells, counts


def _tail(edges, shares, noise, end, grain):
    """Ends of cells beyond the last, and the shares of the last one's records in it and in these; None for no tail."""
    beyond = np.cumsum(shares[::-1])[::-1]
    is_atom = grain and edges[-1] - edges[-2] <= 1.01 * grain
    steep = np.flatnonzero(beyond >= max(STEEP * beyond[-1], beyond[-1] + SURE * noise, BODY))
    if end <= edges[-1] + 4 * np.spacing(abs(edges[-1])) or is_atom or not len(steep) or beyond[-1] <= 0:
        return None
    start = steep[-1]
    scale = (edges[-2] - edges[start]) / math.log(beyond[start] / beyond[-1])
    if scale <= LEAST * (edges[-1] - edges[-2]):
        return None  # most is a single number, which lies beside the last cell and says nothing of a slope
    middle = np.interp((edges[start] + edges[-2]) / 2, edges[:-1], beyond) - beyond[-1]
    expected = math.sqrt(beyond[start] * beyond[-1]) - beyond[-1]
    if expected > max(2 * middle, noise):
        return None  # what lies at the end lies apart: it is no end of a slope
    ends = edges[-1] + scale * TAIL_CELLS
    ends = np.unique(np.append(multiple(np.ceil(ends / grain), grain) if grain else ends, end))
    ends = ends[ends <= end]
    below = np.exp(-(np.concatenate([edges[-2:], ends]) - edges[-2]) / scale)
    return ends, -np.diff(below) / (1 - below[-1])
