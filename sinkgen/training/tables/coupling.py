"""What any two columns with an order have to do with each other, roughly: a release of moments, without its noise."""

import math
from functools import partial

import torch

from sinkgen.data.table_columns import NumberColumn
from sinkgen.denoise.spectra import spectrum
from sinkgen.generators.answers import middles_of
from sinkgen.generators.coupling import Moments, kept_by_clipping, like_correlations, spread, value_scores
from sinkgen.inference.moments import NoisyMoments
from sinkgen.privacy.queries.moments import MomentQuery

ROOM = 2.0  # standard deviations of a record's squared norm over its mean, if columns were independent
ALONE, MOST_CELLS = 20_000, 1_000_000  # records of independent columns that tell what the clip takes, and their cells
ROUNDS = 5  # in which what a column shares with others is found
PROBES, PROBE = 4, 0.2  # of how much noise factors take with them; how far off, in its standard deviations
MOST_PROBED = 100  # columns, of all probes together
DOUBT = 2.0  # standard deviations of its own noise by which what is left has to exceed noise
MOST_SHARED = 0.95  # of a column's variance
LEAST_SCORED = 0.05  # variance of scores; of less, nearly all records are in one state, and a weight could be anything
TINY = 1e-9


def scores_of(form, cell_shares, frequencies):
    """Scores of the states of all columns, the label last, by their values; 0 of those without an order.

    What is concluded of means, slopes and correlations rests on products of these, and so do draws.
    """
    shares = cell_shares.mean(0) if cell_shares.dim() > 1 else cell_shares
    shares, scores = shares.double().split(form.cell_counts), []
    for column, part, own, n in zip(form.columns, frequencies, shares, form.ordered, strict=False):
        n = len(part) if len(part) == 2 else n
        values = torch.arange(float(n))
        if isinstance(column, NumberColumn) and n > 1:
            middles = torch.from_numpy(middles_of(column)[0])
            states = torch.tensor(column.cell_states)[: len(middles)]
            values = torch.zeros(len(part), dtype=torch.float64).index_add_(0, states, own[: len(middles)] * middles)
        scores.append(value_scores(part, values[:n]) if n > 1 else torch.zeros_like(part))
    return [*scores, torch.zeros_like(frequencies[-1])]


def learn_moments(source, frequencies, scores, total, mechanism):
    """Release the second moments of all columns' scores, and take the noise out of them.

    Parameters
    ----------
    source : RecordSource
        States (m, n_columns) with classes.
    frequencies : list of Tensor
        Of the states of each column, the label last.
    scores : list of Tensor, of the same shapes
        Of mean 0; all 0 of columns without.
    total : float
        Number of records.
    mechanism : GaussianMechanism
        Charged with "moments".

    Returns
    -------
    Moments or None
        None where fewer than two columns have scores that vary: nothing is asked.
    """
    variances = torch.stack([(part * of.square()).sum() for part, of in zip(frequencies, scores, strict=True)]).double()
    columns = torch.nonzero(variances > LEAST_SCORED).flatten().tolist()
    if len(columns) < 2:
        return None
    variances, fourth = variances[columns], sum(float(frequencies[j] @ scores[j] ** 4) for j in columns)
    chance = math.sqrt(max(fourth - float(variances.square().sum()), 0.0))
    most = sum(float(scores[j].square().max()) for j in columns)
    clip = math.sqrt(min(float(variances.sum()) + ROOM * chance, most))
    query = MomentQuery(len(columns), clip, residual=partial(_scored, scores, columns))
    noisy = mechanism.release("moments", query, source)[0] / total
    noise = mechanism.noise_multiplier("moments") * query.sensitivity / total
    products = noisy - torch.diag(noisy.diag() - variances)
    released = NoisyMoments(tuple(scores), spread(products, columns, len(frequencies)), noise / math.sqrt(2), clip)
    return Moments(scores, columns, covariance(*_unclipped(products, noise, released, frequencies)), released)


def _unclipped(products, noise, released, frequencies):
    """Products as they were before the clip, for columns that hardly go together, and the deviation of their noise."""
    random = torch.Generator().manual_seed(0)
    n = min(ALONE, max(1, MOST_CELLS // len(frequencies)))
    codes = [torch.multinomial(of.double(), n, replacement=True, generator=random) for of in frequencies]
    kept = kept_by_clipping(released, torch.stack(codes)).fill_diagonal_(1)
    return products / kept, noise / float(kept.mean())


def _scored(scores, columns, classes):
    records = classes.records
    codes = torch.cat([records.values.long(), records.labels.long()[:, None]], 1)
    # A state more, for -1, which has 0.
    return torch.stack([torch.cat([scores[j], scores[j].new_zeros(1)])[codes[:, j]] for j in columns], 1)


def covariance(noisy, noise):
    """Covariance from a noisy one: what factors share that stand out of the noise, and of the rest a part.

    The part is that of least risk, by its unbiased estimate [1]_: where noise is little, products stay as released.

    Parameters
    ----------
    noisy : Tensor of shape (n, n)
        Symmetric; its diagonal, the columns' variances, is known.
    noise : float
        Standard deviation that the noise would have on the diagonal; it is sqrt 2 times less off it.

    Returns
    -------
    Tensor of shape (n, n)
        Positive definite, with the same diagonal.

    References
    ----------
    .. [1] Stein, "Estimation of the Mean of a Multivariate Normal Distribution", Annals of Statistics 1981; its
       divergence by random probes: Ramani, Blu, Unser, "Monte-Carlo SURE", IEEE Transactions on Image Processing 2008.

    Examples
    --------
    >>> alike = torch.full((20, 20), 0.5, dtype=torch.float64)
    >>> covariance(alike + torch.eye(20) / 2, 0.01)[0, :3]
    tensor([1.0000, 0.5000, 0.5000], dtype=torch.float64)
    """
    variances = noisy.diag()
    off = noisy - torch.diag(variances)
    shared = _shared(off, variances, noise)
    left, pairs = off - shared, len(noisy) * (len(noisy) - 1) / 2
    random, taken, step = torch.Generator().manual_seed(0), [], PROBE * noise
    probes = max(1, min(PROBES, MOST_PROBED // len(noisy)))  # of many pairs one tells as much
    for _ in range(probes if noise > 0 else 0):
        signs = (torch.rand(noisy.shape, generator=random, dtype=noisy.dtype) - 0.5).sign().triu(1)
        signs = signs + signs.T
        ahead, behind = (_shared(off + side * step * signs, variances, noise) for side in (1, -1))
        taken.append(float((signs * (ahead - behind)).sum()) / (4 * step))
    # Of as many pairs, factors have taken the noise with them.
    free = pairs - min(max(sum(taken) / probes, 0.0), pairs)
    chance = free * noise**2 * (1 + DOUBT * math.sqrt(2 / pairs))
    found = shared + left * (1 - chance / left.square().sum().clamp_min(TINY**2)).clamp_min(0)
    units = torch.outer(variances.sqrt(), variances.sqrt())
    return like_correlations(found / units + torch.eye(len(noisy))) * units


def _shared(off, variances, noise):
    """What factors that stand out of the noise have of products off the diagonal, (n, n); 0 on it.

    Factors are sought in the units of the noise, which is the same everywhere: in correlations, that of columns which
    hardly vary would be the largest, and taken for what they share.
    """
    most = MOST_SHARED * variances
    shared = torch.minimum(off.abs().amax(1), most)
    for _ in range(ROUNDS):
        values, vectors = torch.linalg.eigh(off + torch.diag(shared))
        found = (vectors * spectrum(values, noise * math.sqrt(2 * len(off)))) @ vectors.T
        shared = torch.minimum(found.diag().clamp_min(0), most)
    scale = (shared / found.diag().clamp_min(TINY)).sqrt().clamp_max(1)
    return (found * torch.outer(scale, scale)).fill_diagonal_(0)


def draw_copula(moments, codes, frequencies, rng):
    """States (n_columns, m) in which columns with scores have been drawn anew, with nearly these moments.

    They are the ranks of normal numbers with the correlations of the scores.
    """
    codes = codes.clone()
    spread = moments.covariance.diag().sqrt()
    factor = torch.linalg.cholesky(moments.covariance / torch.outer(spread, spread)).float()
    drawn = torch.randn(codes.shape[1], len(moments.columns), generator=rng) @ factor.T
    for j, column in zip(moments.columns, torch.special.ndtr(drawn).T, strict=True):
        ends = frequencies[j].cumsum(0)
        codes[j] = torch.searchsorted(ends, column.contiguous(), right=True).clamp_max(len(ends) - 1)
    return codes
