"""What noisy counts of cells show of where numbers lie; public."""

import bisect
import math

import numpy as np

from sinkgen.denoise.cells import LEAST, OCTAVES, TINY, Cells, Counts, cumulated
from sinkgen.denoise.grids import ENOUGH

COSTS = (1.25, 1.0, 0.75, 0.5)  # of a cell of a run, in standard deviations of its noise
END_COST = 0.75
EVIDENCE = 1.0  # twice the logarithm of how much likelier it must be that an end is empty, than that it is as was hoped
FALSE_RUNS, VAGUE = 0.01, 0.1  # chance, nearly, of a run where there is only noise; that asks for another count
FAINT = 2.0  # standard deviations that the largest octaves stand out by, at least
ALONE = 4.4  # standard deviations by which a single cell of hundreds stands out
HINT, NEGLIGIBLE, SURE = 1.5, 2.0, 3.0  # standard deviations
SUSPECTS = 4  # cells but zero that are counted on, wherever others seem to lie


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
    low, high = _without_faint(counts, zero, runs[0][0], runs[-1][1])
    ends = {end for start, stop in runs for end in range(max(start, low), min(stop, high) + 1)}
    if low < zero < high or high - low >= 4:
        ends |= {zero, zero + 1}
    places = np.array(sorted(ends))
    return Cells(cells.edges[places], np.full(len(places) - 1, 1 / (len(places) - 1))), counts.grouped(places)


def _without_faint(counts, zero, low, high):
    """The first and last cells without the largest octaves, as long as these together do not stand out.

    A number in the octave beyond all others is twice as large as any: few that are not there would be most of a
    variance. If they are, they are counted beyond the cells that come next.
    """
    scores = counts.values / counts.noise
    dropped = 0.0, 0
    while high > max(zero + 1, low + 1) and _is_faint(dropped, scores[high - 1]):
        dropped, high = (dropped[0] + scores[high - 1], dropped[1] + 1), high - 1
    dropped = 0.0, 0
    while low < min(zero, high - 1) and _is_faint(dropped, scores[low]):
        dropped, low = (dropped[0] + scores[low], dropped[1] + 1), low + 1
    return low, high


def _is_faint(dropped, score):
    return max(score, (dropped[0] + score) / math.sqrt(dropped[1] + 1)) < FAINT


def _runs(counts, zero, costs):
    """Pairs (start, stop) of cells; at most one before the cell of zero, and one from it on."""
    found, is_sure = _sure_runs(counts, zero, costs)
    if is_sure:
        return found
    # There are others, but where is less sure.
    if found != [(zero, zero + 1)]:
        return _mirrored(found, counts, zero, least=0.0)
    start, stop, _ = _beside_zero(counts, zero, costs)
    start, stop = min(start, zero), max(stop, zero + 1)
    return [(a, b) for a, b in ((start, min(stop, zero)), (max(start, zero), stop)) if a < b]


def _sure_runs(counts, zero, costs):
    """Runs that noise hardly makes, and whether no others stand out beside them."""
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
                return parts, True
        found = parts or found
    return found, False


def _beside_zero(counts, zero, costs):
    """Start, stop and score of the run beside the cell of zero that most likely holds what is not zero."""
    scores = counts.values / counts.noise - COSTS[-1] * costs
    return max((_best_run(scores, *side) for side in ((0, zero), (zero + 1, len(scores)))), key=lambda run: run[2])


def is_vague(cells, counts):
    """Whether only zero surely holds any, though others lie elsewhere: noise may have said in which octaves.

    Numbers that are taken to lie where noise is largest may be a million times too large.
    """
    zero, costs = int(np.searchsorted(cells.edges, 0.0)), _costs(cells.edges)
    if _sure_runs(counts, zero, costs) != ([(zero, zero + 1)], False):
        return False
    return _beside_zero(counts, zero, costs)[2] < math.log(0.3 * len(counts.values) / VAGUE) / (2 * COSTS[-1])


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
    sums = cumulated(scores[low:high])
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
    """Twice the logarithm of how much better no record in some cells explains their counts than what was hoped.

    Where some stand out, none does not explain them, however many more were hoped; nor where a single cell does, whose
    records the noise of all others hides.
    """
    found, deviation = counts.records(where)
    one = counts.values[where] > ALONE * counts.noise * np.sqrt(counts.sizes[where])
    if found > NEGLIGIBLE * deviation or one.any():
        return -math.inf
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
    found, below, sizes = (cumulated(of).tolist() for of in (counts.values / total, expected, counts.sizes))
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
