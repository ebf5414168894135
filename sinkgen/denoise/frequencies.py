"""Frequencies from noisy ones: post-processing by the noise's known scale."""

import math

import torch

# Constants chosen by trials: docs/experiments.md, Tables.
CAUTION = 3.0  # standard deviations
STEP = 4.5  # standard deviations that a step must exceed: of a thousand of pure noise, hardly one does
MANY = 64  # states without an order; of fewer, a projection onto the simplex is as good
GRID, GRID_FINENESS, ROUNDS = 256, 16, 100  # places of a prior, near 0 so many a standard deviation of the noise
NONE, SOME = 6.0, 0.5  # prior weights of 0 and of all else, in columns
LIKELY, POSSIBLE, UNLIKELY = 0.8, 0.3, 0.05  # chance from which what may be 0 is not; is told of; up to which it is
PENALTIES = (0.0, *(10.0 ** (k / 2) for k in range(-2, 9)))


def project_simplex(values):
    """Euclidean projection (D,) of a vector onto the probability simplex; post-processing of noisy frequencies.

    References
    ----------
    .. [1] Duchi, Shalev-Shwartz, Singer, Chandra, "Efficient Projections onto the l1-Ball", ICML 2008.

    Examples
    --------
    >>> project_simplex(torch.tensor([0.9, 0.3, -0.4]))
    tensor([0.8000, 0.2000, 0.0000])
    """
    ordered = values.sort(descending=True).values
    excess = (ordered.cumsum(0) - 1) / torch.arange(1, len(values) + 1)
    return (values - excess[(ordered > excess).sum() - 1]).clamp_min(0)


def shrink_frequencies(noisy, prior, noise_scale):
    """Frequencies (D,) between noisy ones and what was expected of them: the expected ones where noise explains them.

    James and Stein's estimate, on the simplex. Cutting off what is negative would leave the noise of empty bins.

    Parameters
    ----------
    noisy : Tensor of shape (D,)
    prior : Tensor of shape (D,)
        Sum 1.
    noise_scale : float
        Standard deviation of the noise of each of the noisy ones.

    References
    ----------
    .. [1] James, Stein, "Estimation with Quadratic Loss", 1961.

    Examples
    --------
    >>> halves = torch.tensor([0.5, 0.5])
    >>> shrink_frequencies(torch.tensor([0.6, 0.4]), halves, 0.1)
    tensor([0.5000, 0.5000])
    >>> shrink_frequencies(torch.tensor([0.9, 0.1]), halves, 0.01)
    tensor([0.8993, 0.1007])
    """
    free = len(prior) - 1
    difference = noisy - prior
    # The noise's share of the difference has mean `free` and variance `2 free`: what might all be noise is left out.
    largest = free + CAUTION * math.sqrt(2 * free)
    gain = (1 - largest * noise_scale**2 / difference.square().sum().clamp_min(1e-300)).clamp_min(0)
    return project_simplex(prior + gain * difference)


def stepped_frequencies(noisy, prior, noise_scale):
    """Frequencies (D,) of states in an order: the expected ones, but where sums over neighbours stand out of the noise.

    From the whole down, a run of states is split between its halves as was expected, unless noise alone can hardly have
    made the difference [1]_; then as was found. So what is rare keeps its expected frequency, one by one and in sum,
    where the noise of many empty states would have added up, or been taken off from all.

    Parameters
    ----------
    noisy : Tensor of shape (D,)
    prior : Tensor of shape (D,)
        Sum 1.
    noise_scale : float
        Standard deviation of the noise of each of the noisy ones.

    References
    ----------
    .. [1] Donoho, Johnstone, "Ideal spatial adaptation by wavelet shrinkage", 1994: the hard threshold, of Haar's
       wavelets.

    Examples
    --------
    >>> noisy = torch.tensor([0.7, 0.01, 0.28, 0.01])
    >>> stepped_frequencies(noisy, torch.full((4,), 0.25), 0.03)
    tensor([0.7000, 0.0100, 0.2800, 0.0100])
    """
    found, below = (torch.cat([of.new_zeros(1), of.cumsum(0)]).double().tolist() for of in (noisy, prior))
    out, waiting = torch.zeros_like(prior), [(0, len(prior), 1.0)]
    while waiting:
        start, stop, share = waiting.pop()
        if stop == start + 1:
            out[start] = share
            continue
        middle, n = (start + stop) // 2, stop - start
        part = (middle - start) / n
        left = found[middle] - found[start] + part * (share - found[stop] + found[start])
        whole = below[stop] - below[start]
        expected = share * ((below[middle] - below[start]) / whole if whole > 0 else part)
        stands_out = abs(left - expected) > STEP * float(noise_scale) * math.sqrt(part * (1 - part) * n)
        left = min(max(left if stands_out else expected, 0.0), share)
        waiting += [(start, middle, left), (middle, stop, share - left)]
    return out


def many_frequencies(noisy, noise_scale):
    """Frequencies (D,) of many states without an order: posterior means, under the prior that all of them show.

    The prior is the likeliest of all [1]_, on the support of what was seen and a grid near 0; a state is then as
    frequent as those that seem as frequent are on average [2]_. A projection onto the simplex would leave some states
    with the noise of all.

    Parameters
    ----------
    noisy : Tensor of shape (D,)
    noise_scale : float
        Standard deviation of the noise of each.

    References
    ----------
    .. [1] Kiefer, Wolfowitz, "Consistency of the Maximum Likelihood Estimator in the Presence of Infinitely Many
       Incidental Parameters", 1956.
    .. [2] Jiang, Zhang, "General Maximum Likelihood Empirical Bayes Estimation of Normal Means", 2009.

    Examples
    --------
    >>> noise = 0.01 * torch.randn(100, generator=torch.Generator().manual_seed(0))
    >>> found = many_frequencies(noise + torch.tensor([0.5] + [0.5 / 99] * 99), 0.01)
    >>> bool((found[1:] - 0.5 / 99).abs().max() < noise.abs().max()), bool(0.4 < found[0] < 0.6)
    (True, True)
    """
    values, scale = noisy.double(), max(float(noise_scale), 1e-12)
    near = scale * torch.arange(GRID, dtype=torch.float64) / GRID_FINENESS
    support = torch.cat([near, values.clamp_min(0).topk(min(len(values), GRID)).values])
    likelihood = -0.5 * ((values[:, None] - support) / scale).square()
    likelihood = (likelihood - likelihood.amax(1, keepdim=True)).exp()
    prior = torch.ones_like(support)
    for _ in range(ROUNDS):
        served = likelihood * prior
        prior = (served / served.sum(1, keepdim=True)).mean(0)
    served = likelihood * prior
    found = (served @ support) / served.sum(1)
    return (found / found.sum()).to(noisy.dtype) if found.sum() > 0 else torch.ones_like(noisy) / len(noisy)


def some_or_none(noisy, noises, n_none=0):
    """Of what may be 0 in some of several columns, the chances that it is not, and what it is then: each of shape (n,).

    Empirical Bayes: the true numbers are taken for draws of 0 and of the noisy numbers, by the weights with which the
    noisy ones are likeliest [1]_. So a column whose own number hardly stands out of the noise is taken for what others
    are like.

    Parameters
    ----------
    noisy : Tensor of shape (n,)
    noises : Tensor of shape (n,)
        Standard deviation of the noise of each.
    n_none : int
        Further columns, of which it is known already that theirs is 0: what is left is no fair sample of all.

    References
    ----------
    .. [1] Jiang, Zhang, "General Maximum Likelihood Empirical Bayes Estimation of Normal Means", Annals of Statistics
       37, 2009; with prior weights, as of a few numbers more.

    Examples
    --------
    >>> chances, numbers = some_or_none(torch.tensor([0.0, 4.0, 4.5, 5.0, 2.6]), torch.ones(5))
    >>> (chances > 0.5).tolist()
    [False, True, True, True, True]
    """
    numbers, noises = noisy.double(), noises.double().clamp_min(1e-12)
    places = torch.cat([numbers.new_zeros(1), numbers.clamp_min(0)])
    heights = -((numbers[:, None] - places) / noises[:, None]).square() / 2
    heights = (heights - heights.amax(1, keepdim=True)).exp()
    prior = torch.full_like(places, SOME / max(len(numbers), 1))
    prior[0] = NONE + n_none
    weights = prior
    for _ in range(ROUNDS):
        parts = heights * weights
        parts = parts / parts.sum(1, keepdim=True)
        weights = parts.sum(0) + prior
    chances = parts[:, places > 0].sum(1)
    return chances, parts @ places / chances.clamp_min(1e-12)


def smooth_frequencies(noisy, noise_scale):
    """Frequencies (D,) of states in an order, as smooth as they seem to be under the noise.

    Squares of second differences are penalised [1]_; by how much, the unbiased estimate of the error says [2]_. Where
    frequencies are not smooth, or not noisy, they stay as they are.

    Parameters
    ----------
    noisy : Tensor of shape (D,)
    noise_scale : float
        Standard deviation of the noise of each.

    References
    ----------
    .. [1] Whittaker, "On a New Method of Graduation", 1923.
    .. [2] Stein, "Estimation of the Mean of a Multivariate Normal Distribution", 1981.

    Examples
    --------
    >>> line = torch.linspace(0.0, 0.2, 11, dtype=torch.float64)
    >>> rough = 0.01 * torch.tensor([1.0, -1.0] * 6, dtype=torch.float64)[:11]
    >>> bool((smooth_frequencies(line + rough, 0.01) - line).norm() < 0.5 * rough.norm())
    True
    """
    values, waves = torch.linalg.eigh(_squared_differences(len(noisy)).to(noisy))
    gains = 1 / (1 + torch.tensor(PENALTIES).to(noisy)[:, None] * values.clamp_min(0))
    heights = noisy @ waves
    errors = ((1 - gains).square() * heights.square() + 2 * noise_scale**2 * gains).sum(1)
    return waves @ (gains[errors.argmin()] * heights)


def _squared_differences(n):
    differences = torch.eye(n, dtype=torch.float64).diff(n=2, dim=0)
    return differences.T @ differences


def interpolate(x, knots, heights):
    """Piecewise linear, constant beyond the ends; knots (k,) rise, and may repeat."""
    right = torch.searchsorted(knots, x.contiguous()).clamp(1, len(knots) - 1)
    low, high = knots[right - 1], knots[right]
    share = ((x - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
    return torch.lerp(heights[right - 1], heights[right], share)
