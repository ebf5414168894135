"""Dependence of columns that a release leaves open, for draws of what may be so."""

import itertools
import math
from typing import NamedTuple

import torch

from sinkgen.generators.cliques import Clique, even_groups

COARSE = 8  # groups of a column in which dependence is looked for
MEAN_ABSOLUTE = math.sqrt(2 / math.pi)  # of a normal number
OF_PRODUCT = 0.7  # mean absolute value of a product of two columns' standardised scores, about
STANDS_OUT = 3.0  # standard deviations: of less, a pair may not have been asked
MOST = 1.5  # variance of records' log-probabilities by all pairs: of more, columns would be another's shadow
LEAST = 0.01
MOST_PAIRS = 200
LEAST_RATIO = 0.05  # of a share to what it is of independent columns


class Open(NamedTuple):
    """Two columns whose dependence is not known, or not in each of their states.

    Attributes
    ----------
    columns : tuple of int
    groups : tuple of LongTensor, or None
        Of each column's states: dependence of these is known. None where none is.
    size : float
        Standard deviation of a correlation.
    """

    columns: tuple
    groups: tuple | None
    size: float


class Unknown(NamedTuple):
    """What is not known of pairs of columns.

    Attributes
    ----------
    pairs : list of Open
    frequencies : list of Tensor
    ordered : list of int
    is_much : bool
        Whether draws are nearer to independent than the release tells, for more could not be drawn.
    """

    pairs: list
    frequencies: list
    ordered: list
    is_much: bool

    @classmethod
    def of(cls, release, cliques, n):
        """Of a field: what was not counted because it did not stand out."""
        frequencies = [part.double() for part in release.generator.frequencies]
        ordered = [*release.form.ordered, 0]
        scored = set() if release.moments is None else set(release.moments.columns)
        several = [j for j, part in enumerate(frequencies) if len(part) > 1]
        known = {clique.columns: clique for clique in cliques if len(clique.columns) == 2}
        counts = {part.columns: part for part in release.counts}
        pairs = []
        for pair in itertools.combinations(several, 2):
            if set(pair) <= scored:
                continue
            hidden = _hidden(release, frequencies, pair, len(several), n, counts)
            if pair not in known:
                pairs.append(Open(pair, None, hidden))
            elif any(len(of) > k for of, k in zip(known[pair].groups, known[pair].shape, strict=True)):
                pairs.append(Open(pair, known[pair].groups, math.hypot(hidden, _strength(counts[pair]))))
        whole = math.fsum(pair.size**2 for pair in pairs)
        scale = min(1.0, math.sqrt(MOST / max(whole, 1e-12)))
        pairs = [pair._replace(size=scale * pair.size) for pair in pairs if scale * pair.size > LEAST]
        pairs.sort(key=lambda pair: -pair.size)
        return cls(pairs[:MOST_PAIRS], frequencies, ordered, scale < 1 or len(pairs) > MOST_PAIRS)

    def shares(self, frequencies, random):
        """Cliques of columns that were not counted together, and shares of their cells: other ones each time.

        Dependence was looked for in groups, and hardly any was found: so of these it is little.
        """
        found = []
        for pair in self.pairs:
            if pair.groups is None:
                groups = [even_groups(self.frequencies[j], COARSE, self.ordered[j]) for j in pair.columns]
                clique = Clique(pair.columns, tuple(groups))
                expected = clique.independent(frequencies)
                scores = [_by_group(frequencies[j], self._scores(j, None, random).whole, of)
                          for j, of in zip(pair.columns, groups, strict=True)]  # fmt: skip
                size = pair.size * float(torch.randn((), generator=random))
                found.append((clique, expected * (1 + size * torch.outer(*scores)).clamp_min(LEAST_RATIO)))
        return found

    def potentials(self, random):
        """Cliques of the states of columns of which groups were counted, and what a cell adds to a log-probability."""
        found = []
        for pair in self.pairs:
            if pair.groups is not None:
                first, second = (self._scores(j, of, random) for j, of in zip(pair.columns, pair.groups, strict=True))
                added = torch.outer(first.within, second.whole) + torch.outer(first.whole, second.within)
                size = pair.size * float(torch.randn((), generator=random))
                states = tuple(torch.arange(n) for n in added.shape)
                found.append((Clique(pair.columns, states), (size * added).float()))
        return found

    def _scores(self, column, groups, random):
        """Standardised scores of a column's states: rising where they have an order, else any; and within groups."""
        frequencies, n = self.frequencies[column], self.ordered[column]
        if n > 2:
            whole = torch.zeros_like(frequencies)
            whole[:n] = 2 * frequencies[:n].cumsum(0) - frequencies[:n]
        else:
            whole = torch.randn(len(frequencies), generator=random, dtype=torch.float64)
        whole = whole - frequencies @ whole
        scale = (frequencies @ whole.square()).sqrt().clamp_min(1e-6)
        if n <= 2:  # any category may be what differs
            scale = scale / math.sqrt(max(1, len(frequencies) - 1))
        whole = (whole / scale).clamp(-3, 3)
        within = torch.zeros_like(whole)
        if groups is not None and n <= 2:
            sums = torch.zeros(int(groups.max()) + 1, dtype=torch.float64)
            means = sums.index_add(0, groups, frequencies * whole) / sums.index_add(0, groups, frequencies)
            within = whole - means[groups]
        return _Scores(whole, within)


class _Scores(NamedTuple):
    whole: torch.Tensor
    within: torch.Tensor


def _by_group(frequencies, scores, groups):
    """Mean score of each group."""
    sums = torch.zeros(int(groups.max()) + 1, dtype=torch.float64)
    return sums.index_add(0, groups, frequencies * scores) / sums.index_add(0, groups, frequencies).clamp_min(1e-12)


def _hidden(release, frequencies, pair, n_columns, n, counts):
    """Correlation of two columns that would just have stood out, in the distance that was released of them."""
    rows = {row.what: row.noise_multiplier for row in release.spent.releases}
    doubt = rows.get("distances", math.inf) * math.sqrt(math.comb(n_columns, 2))
    if not math.isfinite(doubt):
        return 1.0
    groups = [min(COARSE, len(frequencies[j])) for j in pair]
    expected = n / math.prod(groups)
    variance = expected
    for j, own in zip(pair, groups, strict=True):
        noise = counts[(j,)].noise if (j,) in counts else 0.0
        variance += (own / math.prod(groups)) ** 2 * noise**2 * len(frequencies[j]) / own
    chance = MEAN_ABSOLUTE * math.sqrt(variance) * math.prod(groups)
    hidden = math.sqrt((chance + STANDS_OUT * doubt) ** 2 - chance**2)
    return min(1.0, hidden / n / OF_PRODUCT)


def _strength(part):
    """Root mean square of the dependence of two columns in the cells in which they were counted."""
    total = max(float(part.counts.sum()), 1.0)
    shares = part.counts.double().clamp_min(0) / total
    expected = torch.outer(shares.sum(1), shares.sum(0)).clamp_min(1e-9)
    noise = (part.noise / total) ** 2
    excess = ((shares - expected).square() - noise) / expected
    return math.sqrt(max(float(excess.sum()), 0.0))
