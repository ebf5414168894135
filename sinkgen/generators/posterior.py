"""Several plausible data sets: the release given its noise, and draws of the model that agree with it. Public."""

import itertools
import math
from typing import NamedTuple

import torch

from sinkgen._groups import count_cells
from sinkgen.exceptions import BadTypeError, BadValueError
from sinkgen.generators.answers import within_doubts
from sinkgen.generators.cliques import Clique
from sinkgen.generators.places import at_quantiles
from sinkgen.generators.product import stratified
from sinkgen.generators.unknown import Unknown

SWEEPS = 12  # over all counts, in which draws are brought to agree with them
HOLD, MOMENTS_HOLD = 1.0, 4.0  # inverse variance of what a log-probability moves by, before anything is known of it
RANK_TO_NORMAL = math.sqrt(math.pi / 3)  # correlation of normal scores with anything normal, over that of ranks
LEAST_GAIN = 0.02  # of counts that are looked at: of others hardly anything stands out of the noise
LARGEST = 4.0  # of a record's log-weight
SETTLING = 3  # sweeps over the columns, in which numbers find their places within bins
LEAST_VALUE = 0.02  # of a matrix of correlations: of less, noise is most
LEAST_FREE = 0.15
MOST_TILTED = 1.0  # of the logarithm of a cell's share
TINY = 1e-9


class Known(NamedTuple):
    """Released shares of a clique's cells, (size,), the deviation of their noise, and the clique."""

    clique: Clique
    shares: torch.Tensor
    noise: float


class Posterior:
    """Draws data sets that may have been the real one, for all that the release tells.

    What was released of a cell is the true count and noise of known size: so the true count is near the released one,
    by the same noise, as far as what stands out of the noise at all goes (James, Stein). Each data set is drawn for
    counts of its own: records of the model get the weights, nearest to even, with which they have these counts, and are
    drawn by them [1]_. The same goes for products of ranks, by which numbers also find their places within bins.

    What was not released differs from one data set to the next as well, as much as the release leaves open: where
    within a bin numbers lie, and how columns that were not counted together depend on each other.

    Parameters
    ----------
    release : Release

    References
    ----------
    .. [1] Raisa, Jalko, Kaski, Honkela, "Noise-aware statistical inference with differentially private synthetic data",
       AISTATS 2023, arXiv 2205.14485.
    """

    def __init__(self, release):
        counts = [part for part in release.counts if part.columns]
        if not hasattr(release.form, "widths"):
            raise BadTypeError(
                "several plausible data sets are drawn of tables: of arrays no counts are released. Fit a data frame "
                "with a schema by column; or refit the generator on its own samples, to see what its noise does"
            )
        if getattr(release.form, "arrangement", None) is not None:
            raise BadValueError("several plausible data sets do not obey rules and keys of a schema yet: use sample")
        if not counts:
            raise BadValueError("the model was saved by a version that kept no released counts: fit it anew")
        self._release = release
        total = next(part for part in release.counts if not part.columns)
        self.n_records = max(1, round(float(total.counts.sum())))
        self._known = [
            Known(Clique(part.columns, part.groups), part.counts.flatten().double() / self.n_records,
                  max(part.noise / self.n_records, TINY))
            for part in counts
        ]  # fmt: skip
        self._doubts = [within_doubts(release, j) for j in range(len(release.form.columns))]
        cells = [torch.tensor(column.cell_states) for column in release.form.columns]
        self._alone = [torch.bincount(of, minlength=int(of.max()) + 1) == 1 for of in cells]
        self.unknown = Unknown.of(release, [known.clique for known in self._known], self.n_records)

    def draw(self, n, random):
        """Places (n, n_columns) of the records of one data set, and their labels (n,)."""
        release, generator = self._release, self._release.generator
        labels = stratified(release.class_weights.double(), n, random)[torch.randperm(n, generator=random)]
        cells = generator.draw(labels, random).floor().long()
        codes = torch.cat([release.form.states(cells).T, labels[None]]).contiguous()
        moments = None
        if release.moments is not None:
            ordered = [*release.form.ordered, 0]
            moments = _Moments.drawn(release.moments, generator.frequencies, ordered, random)
        logits = self.unknown.logits(codes, random)
        rows = stratified(self._weights(codes, logits, moments, random), n, random)
        codes = codes[:, rows[torch.randperm(n, generator=random)]]
        quantiles = self._quantiles(codes, moments, random)
        tilts = []
        for j, (errors, directions) in enumerate(self._doubts):
            shift = errors * torch.randn(errors.shape, generator=random, dtype=torch.float64)
            own = shift[list(release.form.columns[j].cell_states)]
            tilts.append((own * directions).clamp(-MOST_TILTED, MOST_TILTED))
            alone = torch.where(self._alone[j], math.sqrt(12) * shift, 0.0)  # a state of one cell
            quantiles[j] = tilted(quantiles[j], alone[codes[j]])
        return at_quantiles(generator.places, codes, quantiles, tilts), codes[-1]

    def _weights(self, codes, logits, moments, random):
        """Weights (m,) of records (n_columns + 1, m) with which they have counts that may have been the true ones."""
        wanted = [(known, *self._target(known, codes, random)) for known in self._known]
        parts = [(known, target, known.clique.cells(codes)) for known, target, gain in wanted if gain > LEAST_GAIN]
        moved = [torch.zeros_like(target) for _, target, _ in parts]
        fitted = None if moments is None else _Fitted(moments, codes, [known.clique for known, _, _ in parts])
        for _ in range(SWEEPS):
            if fitted is not None:
                logits += fitted.step(logits.softmax(0))
            for q, (known, target, cells) in enumerate(parts):
                weights = logits.softmax(0)
                has = torch.zeros_like(target).index_add_(0, cells, weights)
                precision = known.noise**-2
                slope = has * (target - has) * precision - HOLD * moved[q]
                step = (slope / (has.square() * precision + HOLD)).clamp(-1, 1)
                moved[q] += step
                logits += step[cells]
            logits.clamp_(-LARGEST, LARGEST)
        return logits.softmax(0)

    def _target(self, known, codes, random):
        """Shares of a clique's cells that may be the true ones, and the share of what was released that is no noise."""
        shape = known.clique.shape
        has = count_cells([known.clique], codes)[0].double() / codes.shape[1]
        gain = _gain(known.shares.view(shape), has.view(shape), known.noise) if len(shape) > 1 else 1.0
        noise = known.noise * torch.randn(has.shape, generator=random, dtype=torch.float64)
        target = has + gain * (known.shares - has) + math.sqrt(gain) * noise
        return target + (1 - target.sum()) / len(target), gain

    def _quantiles(self, codes, moments, random):
        """Where within their states records lie, from 0 to 1: evenly in each state, and by what other columns are.

        Normal scores are drawn, one column after the other, given all others and the state (Gibbs).
        """
        places = [_ranked(of, torch.rand(len(of), generator=random), random) for of in codes[:-1]]
        if moments is None:
            return places
        ordered = self._release.form.ordered
        scores = moments.of(codes)
        for _, (i, j) in itertools.product(range(SETTLING), enumerate(moments.columns)):
            if j == len(ordered) or ordered[j] <= 2:
                continue
            precision = moments.precision[i, i]
            mean = scores[:, i] - scores @ moments.precision[i] / precision
            low, high = ((moments.ends[i][codes[j] + side] - mean) * precision.sqrt() for side in (0, 1))
            low, high = torch.special.ndtr(low), torch.special.ndtr(high)
            drawn = torch.rand(len(mean), generator=random, dtype=torch.float64) * (high - low) + low
            places[j] = _ranked(codes[j], torch.special.ndtri(drawn) / precision.sqrt() + mean, random)
            below, above = (torch.special.ndtr(moments.ends[i][codes[j] + side]) for side in (0, 1))
            normal = torch.special.ndtri((below + (above - below) * places[j]).clamp(1e-9, 1 - 1e-9))
            scores[:, i] = torch.where(codes[j] < ordered[j], normal, 0.0)
        return places


class _Moments(NamedTuple):
    """Correlations of normal scores that may be the true ones.

    Attributes
    ----------
    columns : list of int
    scores : list of Tensor, each of shape (n_states,)
    ends : list of Tensor, each of shape (n_states + 1,)
        Normal scores at the ends of states.
    correlations : Tensor of shape (n, n)
    precision : Tensor of shape (n, n)
        Its inverse.
    noise : float
        Standard deviation of a correlation.
    """

    columns: list
    scores: list
    ends: list
    correlations: torch.Tensor
    precision: torch.Tensor
    noise: float

    @classmethod
    def drawn(cls, moments, frequencies, ordered, random):
        """Released products by the noise that they have, and as near to these as products can be."""
        columns = moments.columns
        normal = [_normal_scores(frequencies[j].double(), ordered[j]) for j in columns]
        spread = moments.products.double().diag()[columns].sqrt()
        units = torch.outer(spread, spread)
        found = moments.products.double()[columns][:, columns] / units
        noise = torch.randn(found.shape, generator=random, dtype=torch.float64).triu(1) * moments.noise / units
        found = found + noise + noise.T
        more = torch.tensor([RANK_TO_NORMAL if ordered[j] > 2 else 1.0 for j in columns], dtype=torch.float64)
        found = found * torch.outer(more, more)
        values, vectors = torch.linalg.eigh(found - torch.diag(found.diag() - 1))
        found = (vectors * values.clamp_min(LEAST_VALUE)) @ vectors.T
        found = found / torch.outer(found.diag().sqrt(), found.diag().sqrt())
        scores, ends = map(list, zip(*normal, strict=True))
        size = max(float((moments.noise / units).triu(1).sum() / max(1, math.comb(len(columns), 2))), TINY)
        return cls(columns, scores, ends, found, torch.linalg.inv(found), size)

    def of(self, codes):
        """Scores (m, n) of records."""
        return torch.stack([of[codes[j]] for j, of in zip(self.columns, self.scores, strict=True)], 1)


def _normal_scores(frequencies, n_ordered):
    """Mean normal score of each state, and the scores at the ends of states, (n_states + 1,)."""
    n = len(frequencies) if len(frequencies) == 2 else n_ordered
    own = frequencies[:n] / frequencies[:n].sum()
    ends = torch.cat([torch.zeros(1), own.cumsum(0)]).double().clamp(0, 1)
    ends[-1] = 1.0
    ends = torch.special.ndtri(ends).clamp(-9, 9)
    heights = torch.exp(-(ends**2) / 2) / math.sqrt(2 * math.pi)
    scores = torch.zeros_like(frequencies)
    scores[:n] = (heights[:-1] - heights[1:]) / own.clamp_min(TINY)
    if n == 2:
        scores[:n] /= (own @ scores[:n].square()).sqrt().clamp_min(TINY)
    return scores, torch.cat([ends, ends.new_zeros(len(frequencies) - n)])


class _Fitted:
    """Records' weights that have correlations of scores."""

    def __init__(self, moments, codes, cliques):
        self._scores = moments.of(codes)
        spread = self._scores.std(0)
        self._free = _free(moments.columns, self._scores, codes, cliques)
        self._wanted, self._noise = moments.correlations * torch.outer(spread, spread), moments.noise
        self._moved = torch.zeros_like(self._wanted)

    def step(self, weights):
        """What log-weights move by: half a step of Newton's method, each product alone."""
        scores = self._scores - weights @ self._scores
        has = scores.T @ (weights[:, None] * scores)
        precision = self._noise**-2
        slope = (self._wanted - has) * precision - MOMENTS_HOLD * self._moved
        step = (0.5 * slope / (self._free * precision + MOMENTS_HOLD)).clamp(-0.3, 0.3).fill_diagonal_(0.0)
        self._moved += step
        return ((scores @ step) * scores).sum(1) / 2


def _free(columns, scores, codes, cliques):
    """Share of a product's variance that lies within the cells of which counts are held: by it a step is longer."""
    out = torch.ones(len(columns), len(columns), dtype=torch.float64)
    for clique in cliques:
        if len(clique.columns) == 2 and set(clique.columns) <= set(columns):
            i, j = map(columns.index, clique.columns)
            held = [_between(scores[:, k], of[codes[c]]) for k, c, of in zip((i, j), clique.columns, clique.groups,
                    strict=True)]  # fmt: skip
            out[i, j] = out[j, i] = min(out[i, j], max(LEAST_FREE, 1 - held[0] * held[1]))
    return out


def _between(scores, groups):
    """Share of the variance of scores that lies between groups."""
    counts = torch.bincount(groups).clamp_min(1)
    means = torch.zeros(len(counts), dtype=scores.dtype).index_add_(0, groups, scores) / counts
    return float(means[groups].var() / scores.var().clamp_min(TINY))


def tilted(fractions, slopes):
    """Quantiles of densities ``exp(slope x)`` on 0 to 1.

    Examples
    --------
    >>> tilted(torch.tensor([0.5, 0.5]), torch.tensor([0.0, 5.0]))
    tensor([0.5000, 0.8627])
    """
    slopes = torch.where(slopes.abs() < 1e-4, 1e-4, slopes.clamp(-60, 60))
    return torch.log1p(fractions * torch.expm1(slopes)) / slopes


def _ranked(codes, values, random):
    """The rank of each record's value among those of its state, from 0 to 1."""
    order = torch.argsort(values)
    order = order[torch.argsort(codes[order], stable=True)]
    counts = torch.bincount(codes)
    starts = counts.cumsum(0) - counts
    ranks = torch.empty(len(codes), dtype=torch.float64)
    own = codes[order]
    ranks[order] = (
        torch.arange(len(codes)) - starts[own] + torch.rand(len(codes), generator=random, dtype=torch.float64)
    ) / counts[own]
    return ranks


def _gain(shares, has, noise):
    """Share of the square of what is released beyond what single columns say that is no noise (James, Stein)."""
    difference = shares - independent(has)
    for axis in range(shares.dim()):
        difference = difference - difference.mean(axis, keepdim=True)
    freedom = math.prod(n - 1 for n in shares.shape)
    return float((1 - freedom * noise**2 / difference.square().sum().clamp_min(1e-30)).clamp(0, 1))


def independent(shares):
    """Shares of cells if columns were independent.

    Examples
    --------
    >>> independent(torch.tensor([[0.5, 0.0], [0.0, 0.5]]))
    tensor([[0.2500, 0.2500],
            [0.2500, 0.2500]])
    """
    out = torch.ones((), dtype=shares.dtype)
    for axis in range(shares.dim()):
        others = [other for other in range(shares.dim()) if other != axis]
        out = out[..., None] * shares.sum(others)
    return out
