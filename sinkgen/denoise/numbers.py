"""One column of numbers, from noisy counts of its cells; public.

A column is counted several times, in cells that get finer where its numbers lie. First come octaves (by magnitude,
around zero), and even cells between bounds that are known; then cells that hold about equal shares by all that the
counts before have shown. So whatever the scale, the resolution is what the noise allows.
"""

import bisect
import math
from typing import NamedTuple

import numpy as np

# Constants chosen by trials: docs/experiments.md, Numbers.
OCTAVES = 2.0 ** np.arange(-30, 65)  # what is smaller in magnitude counts as tiny, what is larger as the largest
MOST_EVEN, MOST_CELLS = 32, 128
ENOUGH = 3.0  # standard deviations of the noise that a cell's records should be, on average
COSTS = (1.25, 1.0, 0.75, 0.5)  # of a cell of a run, in standard deviations of its noise
END_COST = 0.75
EVIDENCE = 1.0  # twice the logarithm of how much likelier it must be that an end is empty, than that it is as was hoped
FALSE_RUNS = 0.01  # chance, nearly, of a run where there is only noise
HINT, NEGLIGIBLE, SURE = 1.5, 2.0, 3.0  # standard deviations
UNCERTAIN = 0.15  # share of what is counted next that is spread evenly over the cells, whatever was counted before
TAIL = 64.0  # ratio of the numbers of an outermost cell that are told apart by magnitude
FINE, PARTED = 128, 6.0  # parts of a cell that holds many, at most; and by how many deviations all of them stand out
FINEST = 2.0**-12  # of the span of known bounds: smaller magnitudes are not told apart at first
UNRESOLVED = 4.0  # times the average share, that a cell holds which should be cut once more
SUSPECTS = 4  # cells but zero that are counted on, wherever others seem to lie
LEAST, TINY = 1e-12, 1e-300


class Cells(NamedTuple):
    """Cells of numbers, and the share of the records that is expected in each.

    Attributes
    ----------
    edges : ndarray of shape (k + 1,)
        Rising; a cell holds its left end.
    shares : ndarray of shape (k,)
        Non-negative, sum 1.
    """

    edges: np.ndarray
    shares: np.ndarray

    def part(self, start, stop):
        """Some of the cells in a row."""
        return Cells(self.edges[start : stop + 1], self.shares[start:stop])

    def spread(self):
        """Length of the middle that holds nine in ten."""
        ends = np.concatenate([[0.0], self.shares.cumsum()])
        return float(np.diff(np.interp([0.05, 0.95], ends, self.edges))[0])

    def zeros(self):
        """Share of what is zero, where that has a cell of its own."""
        return float(self.shares[(self.edges[:-1] == 0) & (self.edges[1:] == _after(0.0))].sum())

    def first(self):
        """The least number that a cell holds, but for rounding."""
        below = float(np.nextafter(self.edges[0], -np.inf))
        return below if below in OCTAVES or below == 0 else float(self.edges[0])

    def last(self, grain):
        """The greatest number that a cell holds, of distance ``grain``; the last but rounding without one.

        Examples
        --------
        >>> of_octaves, of_grain = (Cells(np.array([0.0, end]), np.ones(1)) for end in (np.nextafter(1.0, 2.0), 2.0))
        >>> of_octaves.last(1.0), of_grain.last(1.0)
        (1.0, 1.0)
        """
        below = float(np.nextafter(self.edges[-1], -np.inf))
        if grain is None:
            return below
        is_octave = below in OCTAVES or below == 0  # cut before the grain was known, it holds its upper end
        return multiple(math.floor(below / grain), grain) if is_octave else float(self.edges[-1] - grain)


class Counts(NamedTuple):
    """Noisy counts of cells in a row.

    Attributes
    ----------
    values : ndarray of shape (k,)
    sizes : ndarray of shape (k,)
        How many noisy counts each is the sum of.
    noise : float
        Standard deviation of the noise of one.
    total : float
        Number of records, known better.
    """

    values: np.ndarray
    sizes: np.ndarray
    noise: float
    total: float

    def part(self, start, stop):
        """Those of some cells in a row."""
        return self._replace(values=self.values[start:stop], sizes=self.sizes[start:stop])

    def grouped(self, ends):
        """Sums of the counts between ends, which rise."""
        values, sizes = (np.add.reduceat(part[: ends[-1]], ends[:-1]) for part in (self.values, self.sizes))
        return self._replace(values=values, sizes=sizes)

    def records(self, where):
        """Records in the cells of a mask, and the standard deviation: from their counts, and the others' and the total.

        The best of the unbiased estimates that are linear in the counts.
        """
        own, others = self.sizes[where].sum(), self.sizes[~where].sum()
        if not own:
            return 0.0, 0.0
        share = own / (own + others)
        found = self.values[where].sum() + share * (self.total - self.values.sum())
        return float(found), self.noise * math.sqrt(own * (1 - share))


def n_cells(total, noise, most=MOST_CELLS):
    """In how many cells so many records are counted, that they stand out of so much noise on average.

    Examples
    --------
    >>> n_cells(600, 10), n_cells(600, 1000)
    (20, 1)
    """
    return int(np.clip(total / (ENOUGH * max(noise, LEAST)), 1, most))


# --- What is counted -------------------------------------------------------------------------------------------------


def first_cells(bounds, grain, n_even):
    """Octaves, and within bounds that are known ``n_even`` even cells.

    Positive octaves hold their upper end, negative ones their lower end: numbers from -1 to 1 stay there.

    Parameters
    ----------
    bounds : (low, high) or None
    grain : float or None
        Distance of the numbers, where it is known; cells hold whole multiples of it.
    n_even : int

    Returns
    -------
    Cells

    Examples
    --------
    >>> first_cells((0.0, 4.0), 1.0, 2).edges.tolist()
    [0.0, 1.0, 2.0, 4.0, 5.0]
    """
    edges = np.concatenate([-OCTAVES, [0.0, _after(0.0)], _after(OCTAVES)])
    if bounds is None:
        edges = _on_grain(edges, grain)
        return Cells(edges, np.full(len(edges) - 1, 1 / (len(edges) - 1)))
    low, high = bounds
    end = multiple(math.floor(high / grain + 1e-9) + 1, grain) if grain else _after(high)
    edges = edges[(edges == 0) | (edges == _after(0.0)) | (np.abs(edges) > FINEST * (high - low))]
    edges = np.concatenate([edges, np.linspace(low, high, n_even + 1)])
    edges = _on_grain(edges[(edges > low) & (edges <= high)], grain)
    edges = np.concatenate([[low], edges[(edges > low) & (edges < end)], [max(end, _after(low))]])
    return Cells(edges, np.diff(edges) / (edges[-1] - low))


def finer_cells(cells, n, grain):
    """About ``n`` cells of equal shares, or a little more where these are in doubt.

    Returns
    -------
    tuple of (Cells, ndarray)
        With the shares as they are expected, and as the cells were cut.
    """
    edges, shares = cells
    held = shares > 0
    doubted = np.where(held, (1 - UNCERTAIN) * shares + UNCERTAIN / held.sum(), 0.0)
    doubted /= doubted.sum()
    ends_of_gaps = edges[1:-1][held[1:] != held[:-1]]
    unresolved = np.flatnonzero(_unresolved(cells, n, grain))
    parts = ((ENOUGH * n * shares[unresolved] / PARTED) ** 2).clip(2, FINE).astype(int)
    full = [np.linspace(edges[cell], edges[cell + 1], of + 1) for cell, of in zip(unresolved, parts, strict=True)]
    inner = np.concatenate([np.interp(np.arange(1, n) / n, _sums(doubted), edges), ends_of_gaps, *full])
    new = np.unique(np.concatenate([edges[[0, -1]], _on_grain(inner, grain)]).clip(edges[0], edges[-1]))
    tails = np.concatenate([_octaves(*new[-2:]), -_octaves(*-new[1::-1])])
    new = np.union1d(new, _on_grain(tails, grain).clip(edges[0], edges[-1]))
    expected = np.diff(np.interp(new, edges, _sums(shares))).clip(LEAST)
    return Cells(new, expected / expected.sum()), np.diff(np.interp(new, edges, _sums(doubted)))


def is_resolved(cells, n, grain):
    """Whether no cell holds far more than one of ``n``, but those of a single number."""
    return not _unresolved(cells, n, grain).any()


def _unresolved(cells, n, grain):
    single = np.diff(cells.edges) <= 1.01 * (grain or 0.0) + 4 * np.spacing(np.abs(cells.edges[1:]))
    return ~single & (cells.shares >= min(UNRESOLVED / n, n**-0.5))


def _after(values):
    return np.nextafter(values, np.inf)


def _on_grain(edges, grain):
    if grain:
        edges = multiple(np.concatenate([np.ceil(edges / grain - 1e-9), np.floor(edges / grain + 1e-9)]), grain)
    return np.unique(edges)


def _octaves(low, high):
    """Ends of octaves in the outermost cell: beyond the bulk, numbers lie by magnitude rather than by value."""
    last = np.nextafter(high, -np.inf)  # an octave holds its upper end: beyond it there is no cell
    return OCTAVES[(max(low, high / TAIL) < OCTAVES) & (last > OCTAVES)] if low > 0 else OCTAVES[:0]


def _sums(values):
    return np.concatenate([[0.0], np.cumsum(values)])


# --- What the counts show --------------------------------------------------------------------------------------------


def located(cells, counts):
    """Those of the octaves that hold numbers, and their counts; None where nothing stands out.

    On each side of zero, a run of cells is sought that has most records less a cost a cell: the sum of many counts
    stands out where none does alone. The cells between both, or between zero and a run of many octaves, are one.

    Parameters
    ----------
    cells : Cells
    counts : Counts

    Returns
    -------
    tuple of (Cells, Counts), or None
    """
    zero = int(np.searchsorted(cells.edges, 0.0))
    runs = _runs(counts, zero, _costs(cells.edges))
    if not runs:
        return None
    ends = {end for start, stop in runs for end in range(start, stop + 1)}
    low, high = runs[0][0], runs[-1][1]
    if low < zero < high or high - low >= 4:
        ends |= {zero, zero + 1}
    places = np.array(sorted(ends))
    return Cells(cells.edges[places], np.full(len(places) - 1, 1 / (len(places) - 1))), counts.grouped(places)


def _runs(counts, zero, costs):
    """Pairs (start, stop) of cells; at most one before the cell of zero, and one from it on."""
    n, found = len(counts.values), list[tuple]()
    scores = counts.values / counts.noise
    for cost in COSTS:
        # The largest sum of a random walk with this drift: all but exponential.
        least = math.log(0.3 * n / FALSE_RUNS) / (2 * cost)
        sides = [_best_run(scores - cost * costs, *side) for side in ((0, zero), (zero, n))]
        runs = _needed([side for side in sides if side[2] > least], counts)
        for extent in [dearer for dearer in COSTS if dearer >= cost]:  # what surely is there, may reach less far
            parts = [_best_run(scores - extent * costs, *run)[:2] for run in runs]
            parts = _mirrored([(start, stop) for start, stop in parts if start < stop], counts, zero)
            if parts and not _stands_out(counts, parts):
                return parts
        found = parts or found
    # There are others, but where is less sure.
    if not found or found != [(zero, zero + 1)]:
        return _mirrored(found, counts, zero, least=0.0)
    sides = [_best_run(scores - 0.5 * costs, *side) for side in ((0, found[0][0]), (found[-1][1], n))]
    start, stop, _ = max(sides, key=lambda side: side[2])
    start, stop = min(start, found[0][0]), max(stop, found[-1][1])
    return [(a, b) for a, b in ((start, min(stop, zero)), (max(start, zero), stop)) if a < b]


def _needed(runs, counts):
    """The runs (start, stop, score) without their scores; the strongest alone if it is enough."""
    found = [(start, stop) for start, stop, _ in runs]
    strongest = found[max(range(len(runs)), key=lambda place: runs[place][2])] if runs else None
    return found if len(found) < 2 or _stands_out(counts, [strongest]) else [strongest]


def _stands_out(counts, runs):
    """Whether records outside of runs do."""
    outside = np.ones(len(counts.values), dtype=bool)
    for start, stop in runs:
        outside[start:stop] = False
    found, deviation = counts.records(outside)
    return found > SURE * deviation


def _mirrored(runs, counts, zero, least=HINT):
    """With a run of the other sign, of the same magnitudes, which needs less to be believed."""
    if len(runs) != 1:
        return runs
    (start, stop) = runs[0]
    start = max(start, zero + 1) if start >= zero else start  # zero is its own mirror image
    start, stop = max(2 * zero + 1 - stop, 0), min(2 * zero + 1 - start, len(counts.values))
    part = counts.part(start, stop)
    if stop <= start or part.values.sum() < least * counts.noise * math.sqrt(part.sizes.sum()):
        return runs
    return sorted([*runs, (start, stop)])


def _costs(edges):
    """What each cell of a run costs, over one of usual magnitude: 1 to about 4."""
    sizes = np.maximum(np.abs(edges[:-1]), np.abs(edges[1:]))
    odd = (np.abs(np.log2(sizes.clip(OCTAVES[0], OCTAVES[-1])) - 5) - 12).clip(0) / 15
    return np.where(sizes < OCTAVES[0], 1.0, 1 + odd)  # zero is usual


def _best_run(scores, low=0, high=None):
    """Start, stop and sum of the run of largest sum between two places."""
    sums = _sums(scores[low:high])
    stop = int((sums - np.minimum.accumulate(sums)).argmax())
    start = int(sums[: stop + 1].argmin())
    return start + low, stop + low, float(sums[stop] - sums[start])


def without_empty_ends(cells, counts, hoped):
    """The run of cells that holds most, less a cost a cell, and beyond it what the counts do not show to be empty.

    Parameters
    ----------
    cells : Cells
    counts : Counts
    hoped : ndarray of shape (k,)
        Shares of the records for which the cells were cut; of little, little has to stand out.

    Returns
    -------
    tuple of (Cells, Counts)
    """
    n, weights = len(counts.values), (hoped * counts.total / (ENOUGH * counts.noise)).clip(0, 1)
    start, stop, _ = _best_run(counts.values / counts.noise - END_COST * weights)
    for part in ((start, stop), (start, n), (0, stop)) if start < stop else ():
        if _holds_all(counts, hoped, *part):
            return cells.part(*part), counts.part(*part)
    return cells, counts


def _holds_all(counts, hoped, start, stop):
    """Whether it explains the counts clearly better than what was hoped, that all records are in this run of cells.

    Each end by itself; and both together by so much more as there was less reason to expect them all in just this run:
    of many runs the noise makes some look like the only one.
    """
    place = np.arange(len(hoped))
    ends = [where for where in (place < start, place >= stop) if where.any()]
    if not ends or not all(_evidence_of_none(counts, hoped, where) > EVIDENCE for where in ends):
        return False
    surprise = -2 * math.log(max(hoped[start:stop].sum(), TINY))
    return _evidence_of_none(counts, hoped, (place < start) | (place >= stop)) > EVIDENCE + surprise


def _evidence_of_none(counts, hoped, where):
    """Twice the logarithm of how much better no record in some cells explains their counts than what was hoped."""
    found, deviation = counts.records(where)
    hope = hoped[where].sum() * counts.total
    return hope * (hope - 2 * max(found, 0.0)) / deviation**2


def likeliest_beyond(cells, counts, held):
    """Places of the few cells that most likely hold some, of those beyond the cells that seem to (None for none).

    Zero is always one of them.
    """
    scores = counts.values / (counts.noise * np.sqrt(counts.sizes)) - _costs(cells.edges)
    if held is not None:
        scores[(cells.edges[1:] > held.edges[0]) & (cells.edges[:-1] < held.edges[-1])] = -np.inf
    zero = np.flatnonzero((cells.edges[:-1] == 0) & np.isfinite(scores))
    scores[zero] = -np.inf
    places = np.argsort(-scores)[:SUSPECTS]
    return np.union1d(places[np.isfinite(scores[places])], zero)


def with_far(cells, counts, far):
    """The cells, and others that lie apart.

    Parameters
    ----------
    cells : Cells
    counts : Counts
        Of the cells.
    far : sequence of (start, stop, records, noise)
        Ends of cells of which none holds others, noisy numbers of records, and the deviations of their noise.

    Returns
    -------
    tuple of (Cells, Counts)

    Examples
    --------
    >>> cells, counts = Cells(np.array([0.0, 1.0]), np.ones(1)), Counts(np.array([90.0]), np.ones(1), 5.0, 90.0)
    >>> with_far(cells, counts, [(8.0, 16.0, 10.0, 5.0)])[0]
    Cells(edges=array([ 0.,  1.,  8., 16.]), shares=array([0.9, 0. , 0.1]))
    """
    for start, stop, records, noise in sorted(far, key=lambda of: abs(of[0] - cells.edges[0])):  # from within
        share = min(records / (counts.total + records), 1.0)
        found = ([start, stop], [share], [records], [(noise / counts.noise) ** 2])
        own = (cells.edges, (1 - share) * cells.shares, counts.values, counts.sizes)
        first, second = (found, own) if stop <= cells.edges[0] else (own, found)
        gap = [0.0] * int(first[0][-1] < second[0][0])
        edges = np.concatenate([first[0], second[0] if gap else second[0][1:]])
        shares, values, sizes = (np.concatenate([a, gap, b]) for a, b in zip(first[1:], second[1:], strict=True))
        cells, counts = Cells(edges, shares), Counts(values, sizes, counts.noise, counts.total + records)
    return cells, counts


def by_magnitude(cells):
    """Cells of bounds that turned out too wide: as much is expected by magnitude as by value."""
    return cells._replace(shares=0.5 * cells.shares / max(cells.shares.sum(), TINY) + 0.5 / len(cells.shares))


def held_cells(cells, counts):
    """The cells, from the first to the last that seems to hold any, with shares of the records as the counts show them.

    Down a binary tree of cells, a node's records are split between its halves as they were expected to be, as far as
    noise may explain the difference [1]_. A half of which nothing stands out, and more was expected, is empty: the
    positive half of the noise of far tails would be most of a mean.

    Parameters
    ----------
    cells : Cells
    counts : Counts

    Returns
    -------
    Cells

    References
    ----------
    .. [1] Gao, "Wavelet Shrinkage Denoising Using the Non-Negative Garrote", 1998.

    Examples
    --------
    >>> even = Cells(np.arange(5.0), np.full(4, 0.25))
    >>> held_cells(even, Counts(np.array([60.0, 38.0, -3.0, 2.0]), np.ones(4), 2.0, 100.0)).edges.tolist()
    [0.0, 1.0, 2.0]
    """
    zero = int(np.searchsorted(cells.edges, 0.0))
    shares = _split(cells.shares / cells.shares.sum(), counts, (zero, zero + 1), _half)
    held = np.flatnonzero(shares)
    # Again, of those that are not empty alone: the noise of what is empty is no news of them.
    some = Counts(counts.values[held], counts.sizes[held], counts.noise, counts.total)
    ends = np.searchsorted(held, (zero, zero + 1)).tolist()
    expected = cells.shares[held] + TINY  # of wide bounds, a narrow cell's share may be no number above 0
    shares[held] = _split(expected / expected.sum(), some, ends, _shrunk)
    kept = Cells(cells.edges, shares).part(held[0], held[-1] + 1)
    return kept._replace(shares=kept.shares / kept.shares.sum())


def _split(expected, counts, first, half):
    """Shares of cells, from the whole down; nodes are cut at the ``first`` places, then in halves, by ``half``."""
    total = max(counts.total, LEAST)
    # As lists: the nodes are hundreds, and each takes a few numbers of them.
    found, below, sizes = (_sums(of).tolist() for of in (counts.values / total, expected, counts.sizes))
    noise, out, waiting = float(counts.noise / total), np.zeros(len(expected)), [(0, len(expected), 1.0)]
    while waiting:
        start, stop, share = waiting.pop()
        if stop == start + 1:
            out[start] = share
            continue
        middle = next((place for place in first if start < place < stop), None)
        if middle is None:
            middle = _halfway(below, start, stop)
        part = (sizes[middle] - sizes[start]) / (sizes[stop] - sizes[start])
        lacking = share - (found[stop] - found[start])
        left = found[middle] - found[start] + part * lacking
        deviation = noise * math.sqrt(part * (1 - part) * (sizes[stop] - sizes[start]))
        prior = (below[middle] - below[start]) / max(below[stop] - below[start], LEAST**2)
        of_left = half(left, share * min(prior, 1.0), share, deviation)
        waiting += [(start, middle, of_left), (middle, stop, share - of_left)]
    return out


def _halfway(sums, start, stop):
    """The first place between two at which rising sums are nearest to half of what lies between."""
    aim = (sums[start] + sums[stop]) / 2
    after = min(bisect.bisect_left(sums, aim, start + 1, stop), stop - 1)
    before = max(after - 1, start + 1)
    nearest = min(sums[before], sums[after], key=lambda of: abs(of - aim))
    return bisect.bisect_left(sums, nearest, start + 1, stop)


def _half(found, expected, share, deviation):
    """Share of one half of a node; nothing, of which nothing stands out though much was expected."""
    for known, hoped, whole in ((found, expected, 0.0), (share - found, share - expected, share)):
        if known < deviation and hoped > max(known, 0.0) + NEGLIGIBLE * deviation:
            return whole
    return _shrunk(found, expected, share, deviation)


def _shrunk(found, expected, share, deviation):
    """The same, none of both empty."""
    difference = found - expected
    gain = max(0.0, 1 - 2 * deviation**2 / max(difference**2, TINY))
    gain *= share**2 / (share**2 + 4 * deviation**2) if share else 0.0  # noise is no news of what is smaller
    return min(max(expected + gain * difference, 0.0), share)


STEEP, BODY = 2.0, 0.25  # times the records of an end, and share of all, that lie beyond where its slope is read from
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
    ends = edges[-1] + scale * TAIL_CELLS
    ends = np.unique(np.append(multiple(np.ceil(ends / grain), grain) if grain else ends, end))
    ends = ends[ends <= end]
    below = np.exp(-(np.concatenate([edges[-2:], ends]) - edges[-2]) / scale)
    return ends, -np.diff(below) / (1 - below[-1])


MOST_BINS = 24


def merged(counts, noise):
    """Bins (k,) of about equal counts, made of cells in a row.

    A cell that holds its bin's share alone stays alone. No bin holds less than stands out of the noise.

    Parameters
    ----------
    counts : ndarray of shape (k,)
        Records in each cell, as they are believed to be.
    noise : float
        Standard deviation of the noise of a cell's count.

    Examples
    --------
    >>> merged(np.array([900.0, 20.0, 30.0, 25.0, 26.0]), 10.0).tolist()
    [0, 1, 1, 2, 2]
    """
    heavy = counts >= counts.sum() / MOST_BINS
    wanted = counts[~heavy].sum() / max(MOST_BINS - heavy.sum(), MOST_BINS / 4)
    wanted = max(wanted, 4 * noise, 1e-9)
    bins, held = np.zeros(len(counts), dtype=int), 0.0
    left = counts.sum() - np.cumsum(counts)
    for cell in range(1, len(counts)):
        held += counts[cell - 1]
        alone = (heavy[cell - 1] or heavy[cell]) and counts[[cell - 1, cell]].max() >= wanted
        full = held >= wanted and left[cell - 1] >= wanted
        bins[cell] = bins[cell - 1] + (alone or full)
        held = 0.0 if bins[cell] > bins[cell - 1] else held
    return bins


# --- Grain -----------------------------------------------------------------------------------------------------------

DECIMALS = (1.0, 0.1, 0.01, 0.001)
CALENDAR = (86400.0, 3600.0, 60.0, 1.0)  # seconds
OFF_GRAIN = 0.005  # share of the records that may be off it
FINE_GRAIN = 0.05  # of the spread of numbers: by as much of it none is far off


def multiple(times, grain):
    """Times a grain; of grains such as .01 the number that is nearest to the decimal.

    Examples
    --------
    >>> 57 * 0.01, float(multiple(57, 0.01))
    (0.5700000000000001, 0.57)
    """
    parts = np.rint(1 / grain) if grain < 1 else 0
    return times / parts if parts and np.isclose(parts * grain, 1, rtol=1e-12) else times * grain


def grain_of(numbers, grains):
    """Which of some distances is the first of which each number (m,) is a multiple; as many as there are if none.

    One more for nan.

    Examples
    --------
    >>> grain_of(np.array([3.0, 9.99, 1 / 3, np.nan]), DECIMALS).tolist()
    [0, 2, 4, 5]
    """
    found = np.full(len(numbers), len(grains))
    for place in range(len(grains) - 1, -1, -1):
        with np.errstate(over="ignore", invalid="ignore"):  # of the largest numbers, and the infinite ones
            nearest = np.rint(numbers / grains[place]) * grains[place]
            found[np.abs(numbers - nearest) <= 4 * np.spacing(np.abs(numbers))] = place
    found[np.isnan(numbers)] = len(grains) + 1
    return found


def likely_grain(counts, grains, noise, total, cells=None):
    """The first of some distances that all but a few numbers are multiples of; None if there is none.

    Where noise leaves that open, it is the first of which that is likelier than not, and which is so small beside the
    spread of the numbers that none is far off if it is wrong.

    Parameters
    ----------
    counts : ndarray of shape (len(grains) + 2,)
        Noisy counts of :func:`grain_of`.
    grains : sequence of float
    noise : float
    total : float
        What they sum to.
    cells : Cells, optional
        Where the numbers lie, roughly.

    Examples
    --------
    >>> likely_grain(np.array([20.0, 75.0, 900.0, -4.0, 6.0, 0.0]), DECIMALS, 5.0, 1000.0)
    0.01
    >>> rough, cells = np.array([700.0, 100.0, -300.0, 200.0, 150.0, 20.0]), Cells(np.array([1.0, 64.0]), np.ones(1))
    >>> likely_grain(rough, DECIMALS, 200.0, 1000.0), likely_grain(rough, DECIMALS, 200.0, 1000.0, cells)
    (None, 1.0)
    """
    spread, told = (0.0, 1.0) if cells is None else (cells.spread(), 1 - cells.zeros())
    counts = counts + (total - counts.sum()) / len(counts)
    present = max(told * (total - max(counts[-1], 0.0)), noise)  # zeros are multiples of all
    for place, grain in enumerate(grains):
        n_finer = len(grains) - place
        finer = counts[place + 1 : -1].sum()
        sure = SURE * noise * math.sqrt(n_finer * (1 - n_finer / len(counts)))  # their sum is known
        known = sure < present / 3
        if finer < min(sure, present / 3) + OFF_GRAIN * present and (known or grain < FINE_GRAIN * spread):
            return grain
    return None
