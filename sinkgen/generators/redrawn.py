"""A field for counts and products that may have been the true ones, for all that the released ones tell. Public."""

import itertools
import math
from typing import NamedTuple

import torch

from sinkgen.denoise.densities import drawn_columns
from sinkgen.denoise.ratios import cells_and_doubts
from sinkgen.generators.cliques import Clique
from sinkgen.generators.coupling import Coupling, Moments, kept_by_clipping, like_correlations
from sinkgen.generators.field import Field
from sinkgen.generators.product import stratified
from sinkgen.generators.raking import agreeing
from sinkgen.generators.settling import settle
from sinkgen.generators.unknown import Unknown
from sinkgen.generators.within import Records, within_states
from sinkgen.inference.counts import pooled_column

COUPLING_STEP = 0.6  # share of a Newton step: there are few
SWEEPS = 6  # of draws, in which they come to agree with what was drawn of the release
MOST_SETTLED = 50_000  # records that go through these; of more, the others follow from them
STRONGER = 0.3  # the more columns share, the more of it lies between groups: of normal numbers in 2 to 8 of these
RAKINGS = 10
TINY = 1e-9


class Pair(NamedTuple):
    """What is known of the cells of a clique.

    Attributes
    ----------
    clique : Clique
    ratios, doubts : Tensor of the clique's shape
        Shares over what they are expected to be if columns were independent, and their standard deviation.
    products : FromCells or None
        What the cells tell of the product of both columns' scores.
    """

    clique: Clique
    ratios: torch.Tensor
    doubts: torch.Tensor
    products: "FromCells | None"


class FromCells(NamedTuple):
    """A product of two columns' scores by counts of cells.

    Attributes
    ----------
    places : (int, int)
        Of the columns among those that have scores.
    means : (Tensor, Tensor)
        Mean score of each group.
    found, noise : float
        The product of the mean scores, and the standard deviation of its noise.
    held : float
        Share of both columns' variance that lies between groups.
    """

    places: tuple
    means: tuple
    found: float
    noise: float
    held: float

    def share(self, correlation):
        """Of a product of scores, what lies between the groups."""
        return self.held ** (1 - STRONGER * correlation**2)


class Redrawn:
    """Draws fields whose counts and products differ from the released ones as the true ones may.

    Each thing is drawn from all that was released of it: columns by their counts and those of pairs, given how smooth
    columns are; cells of pairs by the ratios that all pairs show; products of scores by what was released of them and
    what cells tell. Potentials then take some steps from where the fit left them, with the records (Gibbs).

    Parameters
    ----------
    release : Release
        Of a field.
    n_records : int
    """

    def __init__(self, release, n_records):
        field = release.generator
        self._field, self._n = field, n_records
        self._ordered = [*release.form.ordered, 0]
        self._frequencies = [of.double() for of in field.frequencies]
        self._moments = release.moments
        self._kept = torch.ones(0, 0)
        if self._moments is not None:
            self._kept = kept_by_clipping(self._moments, field.population.long())
        counts = [part for part in release.counts if part.columns]
        self._columns = [self._column(j, counts) for j in range(len(self._frequencies))]
        several = [part for part in counts if len(part.columns) > 1]
        self._pairs = self._known(several)
        self._start = [field.potentials[self._place(pair.clique)] for pair in self._pairs]
        self._unknown = Unknown.of(release, [pair.clique for pair in self._pairs], n_records)

    @staticmethod
    def fits(release):
        """Whether a field holds all that was counted of several columns: one that was made of all pairs does not."""
        counted = [Clique(part.columns, part.groups) for part in release.counts if len(part.columns) > 1]
        return all(_place(release.generator, clique) is not None for clique in counted)

    @property
    def is_vague(self):
        """Whether more is not known of pairs of columns than data sets differ by."""
        return self._unknown.is_much

    def _column(self, j, counts):
        """Noisy counts of the states of a column, and their noise."""
        own = next((part for part in counts if part.columns == (j,)), None)
        parts = [part.within((j,)) for part in counts if j in part.columns and len(part.columns) > 1]
        others = [(part.groups[0], part.counts, part.noise) for part in parts]
        if own is None:
            return self._n * self._frequencies[j], torch.zeros_like(self._frequencies[j])
        found, noise = pooled_column(own.counts, own.noise, others)
        return found, torch.full_like(found, noise)

    def _known(self, several):
        cliques = [Clique(part.columns, part.groups) for part in several]
        expected = [clique.independent(self._frequencies) for clique in cliques]
        noisy, left = [], []
        for part, mean in zip(several, expected, strict=True):
            noisy.append(mean + centred(part.counts.double() / self._n - mean))
            left.append(part.noise / self._n * math.sqrt(math.prod((n - 1) / n for n in mean.shape)))
        means, doubts = cells_and_doubts(noisy, expected, left) if cliques else ([], [])
        found = []
        for part, clique, of, mean, doubt in zip(several, cliques, expected, means, doubts, strict=True):
            of = of.clamp_min(TINY)
            if len(clique.columns) > 2:  # what pairs say is in it
                mean = self._field.targets[self._place(clique)].double()
                doubt = torch.full_like(doubt, part.noise / self._n)
            found.append(Pair(clique, mean / of, doubt / of, self._from_cells(clique, part.counts / self._n, part)))
        return found

    def _from_cells(self, clique, shares, part):
        moments = self._moments
        if moments is None or len(clique.columns) != 2 or not set(clique.columns) <= set(moments.columns):
            return None
        means, held = [], 1.0
        for j, of, n in zip(clique.columns, clique.groups, clique.shape, strict=True):
            own, scores = self._frequencies[j], moments.scores[j].double()
            weights = torch.zeros(n, dtype=torch.float64).index_add_(0, of, own)
            mean = torch.zeros(n, dtype=torch.float64).index_add_(0, of, own * scores) / weights.clamp_min(TINY)
            spread_of = (own @ scores.square()).sqrt()
            held *= float(weights @ mean.square() / spread_of**2)
            mean = mean / spread_of
            means.append(mean)
        slope = torch.outer(*means)
        return FromCells(
            tuple(map(moments.columns.index, clique.columns)), tuple(means), float((slope * shares).sum()),
            part.noise / self._n * float(slope.norm()), held,
        )  # fmt: skip

    def draw(self, n, random):
        """The records of one data set: within their states they lie by the scores that products were released of."""
        counts, noises = zip(*self._columns, strict=True)
        absent = [of <= 0 for of in self._frequencies]
        frequencies = drawn_columns(counts, noises, self._ordered, absent, float(self._n), random=random)
        correlations = None if self._moments is None else self._correlations(random)
        moments = self._wanted(correlations, frequencies)
        coupling, heights = self._coupling(moments, frequencies)
        targets = [self._cells(pair, frequencies, correlations, random).float() for pair in self._pairs]
        # What the coupling has of two columns, it need not have twice.
        start = [
            torch.zeros_like(of) if moments is not None and pair.products else of.clone()
            for pair, of in zip(self._pairs, self._start, strict=True)
        ]
        cliques = [pair.clique for pair in self._pairs]
        for clique, shares in self._unknown.shares(frequencies, random):
            cliques.append(clique)
            targets.append(raked(shares, clique.independent(frequencies)).float())
            start.append(torch.zeros_like(targets[-1]))
        more = self._unknown.potentials(random)
        made = Field(
            [*cliques, *(clique for clique, _ in more)], [*start, *(of for _, of in more)], targets, heights,
            frequencies, self._population(min(n, MOST_SETTLED), random), places=self._field.places, coupling=coupling,
            limits=self._field.limits,
        )  # fmt: skip
        settle(made, [0.0] * len(cliques), SWEEPS, random, moments=moments, coupling_step=COUPLING_STEP, is_raked=False)
        codes = made.population.long()
        if n > codes.shape[1]:
            codes = made.draw_states(codes[-1][torch.arange(n) % codes.shape[1]], False, random)
        singles = [Clique((j,), (torch.arange(len(of)),)) for j, of in enumerate(frequencies)]
        pairs = [of for of in zip(cliques, targets, strict=True) if len(of[0].columns) == 2]
        weights = agreeing(codes, [*zip(singles, frequencies, strict=True), *pairs], RAKINGS // 3)
        rows = stratified(weights, codes.shape[1], random)
        codes = codes[:, rows[torch.randperm(len(rows), generator=random)]]
        columns = [] if correlations is None else self._moments.columns
        return Records(codes, within_states(codes, self._ordered, columns, correlations, random=random))

    def _population(self, n, random):
        population = self._field.population
        rows = torch.cat([torch.randperm(population.shape[1], generator=random) for _ in
                          range(math.ceil(n / population.shape[1]))])[:n]  # fmt: skip
        return population[:, rows]

    def _place(self, clique):
        return _place(self._field, clique)

    def _correlations(self, random):
        """Correlations (k, k) of scores that may be the true ones; positive definite."""
        moments = self._moments
        columns, products = moments.columns, moments.products.double()
        units = products.diag()[columns].sqrt()
        units = torch.outer(units, units) * self._kept
        found, noise = products[columns][:, columns] / units, moments.noise / units
        for pair in self._pairs:
            cells = pair.products
            if cells is None:
                continue
            a, b = cells.places
            share = cells.share(float(found[a, b].clamp(-1, 1)))
            own, doubt = cells.found / share, cells.noise / share
            weight = noise[a, b] ** 2 / (noise[a, b] ** 2 + doubt**2 + TINY**2)
            found[a, b] = found[b, a] = found[a, b] + weight * (own - found[a, b])
            noise[a, b] = noise[b, a] = noise[a, b] * (1 - weight) ** 0.5
        drawn = (noise * torch.randn(found.shape, generator=random, dtype=torch.float64)).triu(1)
        return like_correlations(found + drawn + drawn.T)

    def _wanted(self, correlations, frequencies):
        """Moments with these correlations."""
        if correlations is None:
            return None
        scores, columns = self._moments.scores, self._moments.columns
        units = torch.stack([_variance(frequencies[j], scores[j].double()) for j in columns]).sqrt()
        return Moments(list(scores), columns, correlations * torch.outer(units, units), self._moments)

    def _cells(self, pair, frequencies, correlations, random):
        """Shares of a clique's cells that may be the true ones."""
        expected = pair.clique.independent(frequencies)
        shape, freedom = expected.shape, math.prod((n - 1) / n for n in expected.shape)
        noise = centred(torch.randn(shape, generator=random, dtype=torch.float64)) / math.sqrt(max(freedom, TINY))
        cells = raked((expected * (pair.ratios + pair.doubts * noise)).clamp_min(0) + TINY * expected, expected)
        if pair.products is not None:
            (a, b), means = pair.products.places, pair.products.means
            wanted = float(correlations[a, b])
            wanted = wanted * pair.products.share(wanted)
            slope = torch.outer(*means)
            for _ in range(3):
                missing = wanted - (slope * cells).sum()
                tilt = missing / (slope.square() * cells).sum().clamp_min(TINY)
                cells = raked(cells * (tilt * slope).clamp(-3, 3).exp(), expected)
        return cells

    def _coupling(self, moments, frequencies):
        """The coupling that steps start from, or None, and the heights of states."""
        if moments is None:
            own = self._field.coupling
            return None if own is None else Coupling(own.scores, own.weights.clone()), self._field.heights
        # Anew, for these moments: the field's own has less, as much as stands out of the noise.
        heights = moments.given_others([of.clamp_min(TINY**2).log() for of in frequencies])
        return Coupling(moments.scores, moments.weights(len(frequencies))), heights


def centred(values):
    """Values without the means along each axis."""
    for axis in range(values.dim()):
        values = values - values.mean(axis, keepdim=True)
    return values


def raked(cells, expected):
    """Cells times factors of each column's groups, which have the sums that are expected."""
    for _, axis in itertools.product(range(RAKINGS), range(cells.dim())):
        others = [other for other in range(cells.dim()) if other != axis]
        factor = expected.sum(others, keepdim=True) / cells.sum(others, keepdim=True).clamp_min(TINY**2)
        cells = cells * factor
    return cells


def _variance(frequencies, scores):
    return frequencies @ (scores - frequencies @ scores).square()


def _place(field, clique):
    """Which of a field's cliques it is; None if it is none."""
    for q, own in enumerate(field.cliques):
        if own.columns == clique.columns and all(map(torch.equal, own.groups, clique.groups)):
            return q
    return None
