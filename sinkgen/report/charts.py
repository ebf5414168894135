"""What the report page draws: numbers in, coordinates and texts out; no markup."""

import itertools
import math
from collections import Counter
from typing import NamedTuple

import numpy as np

from sinkgen.report.columns import floats

MOST_BARS = 24  # of a histogram
MOST_CATEGORIES = 10  # the others are one bar
HEIGHT, WIDTH = 60.0, 240.0  # of a histogram, in units of its drawing


class Histogram(NamedTuple):
    """A column of numbers or dates.

    Attributes
    ----------
    bars : list of (x, y, width, height)
        Of the real records.
    steps : str
        Outline of the synthetic ones: the points of a polyline.
    low, high : str
        Ends of the axis; what lies beyond is counted in the last bars.
    """

    bars: list
    steps: str
    low: str
    high: str
    kind: str = "histogram"


class Bar(NamedTuple):
    """Shares of one category, and their parts of the longest bar, in percent."""

    label: str
    real: float
    synthetic: float
    real_length: float
    synthetic_length: float


class Bars(NamedTuple):
    """A column of categories, the commonest real ones first."""

    bars: list
    kind: str = "bars"


def draw_column(real, synthetic):
    """The chart of a column.

    Parameters
    ----------
    real, synthetic : array or pandas.Series
        Cells of the same column.

    Returns
    -------
    Histogram or Bars

    Examples
    --------
    >>> draw_column(np.array(["a", "b", "a", "a"]), np.array(["a", "b"])).bars[0]
    Bar(label='a', real=0.75, synthetic=0.5, real_length=100.0, synthetic_length=66.66666666666667)
    """
    if real.dtype.kind in "iufmM" and np.isfinite(floats(real)).any():
        return _histogram(floats(real), floats(synthetic), real.dtype.kind)
    return _bars(_present(real), _present(synthetic))


def missing_share(values):
    """Share of the cells of a column that are missing."""
    return float(np.mean(_is_missing(values)))


def _is_missing(values):
    return values.isna().to_numpy() if hasattr(values, "isna") else np.zeros(len(values), dtype=bool)


def _present(values):
    return [str(value) for value in np.asarray(values)[~_is_missing(values)]]


def _histogram(real, synthetic, kind):
    real, synthetic = real[np.isfinite(real)], synthetic[np.isfinite(synthetic)]
    edges = _edges(real, kind)
    shares = [_shares(values, edges) for values in (real, synthetic)]
    scale = HEIGHT / max(shares[0].max(), shares[1].max(), 1e-12)
    width = WIDTH / len(shares[0])
    bars = [(round(k * width, 2), *_place(share * scale), round(width, 2)) for k, share in enumerate(shares[0])]
    tops = [HEIGHT - share * scale for share in shares[1]]
    corners = [(0.0, HEIGHT)]
    for k, top in enumerate(tops):
        corners += [(k * width, top), ((k + 1) * width, top)]
    corners.append((WIDTH, HEIGHT))
    steps = " ".join(f"{x:.2f},{y:.2f}" for x, y in corners)
    is_whole = kind in "iu"
    low = ("≤ " if real.min() < edges[0] else "") + format_number(edges[0] + 0.5 * is_whole, kind)
    high = ("≥ " if real.max() > edges[-1] else "") + format_number(edges[-1] - 0.5 * is_whole, kind)
    return Histogram([(x, y, w, h) for x, y, h, w in bars], steps, low, high)


def _place(height):
    return round(HEIGHT - height, 2), round(height, 2)


def _edges(values, kind):
    """Ends of bins of one width; whole numbers lie in their middle, and few values beyond the ends."""
    low, high = np.quantile(values, [0.005, 0.995])
    if low == high:
        low, high = values.min(), values.max()
    if kind in "iu":
        step = math.ceil((high - low + 1) / MOST_BARS)
        n = math.ceil((high - low + 1) / step)
        return math.floor(low) - 0.5 + step * np.arange(n + 1)
    return np.linspace(low, high if high > low else low + 1, MOST_BARS + 1)


def _shares(values, edges):
    return np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / max(len(values), 1)


def format_number(number, kind="f"):
    """A number of an axis, as a person reads it.

    Examples
    --------
    >>> format_number(1500000, "i"), format_number(0.12345), format_number(1e18, "M")
    ('1,500,000', '0.123', '2001-09-09')
    """
    if kind == "M":
        return str(np.datetime64(int(number), "ns").astype("datetime64[D]"))
    if kind == "m":
        return str(np.timedelta64(int(number), "ns").astype("timedelta64[s]"))
    return f"{number:,.0f}" if kind in "iu" or 1000 <= abs(number) < 1e9 else f"{number:.3g}"


def _bars(real, synthetic):
    first, second = Counter(real), Counter(synthetic)
    names = sorted(first | second, key=lambda name: (-first[name], name))
    n_shown = len(names) if len(names) <= MOST_CATEGORIES + 1 else MOST_CATEGORIES
    rows = [(name, first[name], second[name]) for name in names[:n_shown]]
    rest = names[n_shown:]
    if rest:
        rows.append((f"{len(rest)} others", sum(first[name] for name in rest), sum(second[name] for name in rest)))
    shares = [(label, a / max(len(real), 1), b / max(len(synthetic), 1)) for label, a, b in rows]
    longest = max([share for _, *both in shares for share in both], default=1) or 1
    return Bars([Bar(label, a, b, 100 * a / longest, 100 * b / longest) for label, a, b in shares])


# --- How columns go together -----------------------------------------------------------------------------------------


def associations(bins):
    """Cramer's V of every two columns, corrected for chance: 0 if they have nothing to do with each other, 1 if one
    tells the other.

    Parameters
    ----------
    bins : ndarray of int, shape (n, columns)

    Returns
    -------
    ndarray of shape (columns, columns)

    References
    ----------
    .. [1] Bergsma, "A bias-correction for Cramer's V and Tschuprow's T", J. Korean Statistical Society 42 (2013).

    Examples
    --------
    >>> bins = np.array([[0, 0, 0], [1, 1, 0], [0, 0, 1], [1, 1, 1]] * 25)
    >>> associations(bins).round(2).tolist()
    [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    codes = [np.unique(column, return_inverse=True)[1].ravel() for column in bins.T]
    matrix = np.eye(len(codes))
    for i, j in itertools.combinations(range(len(codes)), 2):
        matrix[i, j] = matrix[j, i] = _cramers_v(codes[i], codes[j])
    return matrix


def _cramers_v(first, second):
    n, r, k = len(first), first.max() + 1, second.max() + 1
    table = np.bincount(first * k + second, minlength=r * k).reshape(r, k)
    expected = table.sum(1, keepdims=True) * table.sum(0) / n
    if n < 2:
        return 0.0
    phi = max(0.0, ((table - expected) ** 2 / expected).sum() / n - (r - 1) * (k - 1) / (n - 1))
    sides = min(side - (side - 1) ** 2 / (n - 1) for side in (r, k)) - 1
    return min(1.0, math.sqrt(phi / sides)) if sides > 0 else 0.0


class Cell(NamedTuple):
    """One square of a map: its place, how dark it is (0 to 1), and what it says."""

    column: int
    row: int
    shade: float
    text: str


def draw_map(matrix, names, most=1.0):
    """Squares of the lower triangle of a matrix; ``most`` is the darkest value."""
    return [
        Cell(j, i, round(min(1.0, abs(float(matrix[i, j])) / most), 3), f"{names[j]}, {names[i]}: {matrix[i, j]:.2f}")
        for i in range(1, len(matrix))
        for j in range(i)
    ]
