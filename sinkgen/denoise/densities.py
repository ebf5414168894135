"""Frequencies of a column's states from noisy ones: as even, or as smooth, as the noise leaves open."""

from functools import partial
from typing import NamedTuple

import torch

from sinkgen.denoise.frequencies import many_frequencies, project_simplex, smooth_frequencies

# Constants chosen by trials: docs/experiments.md, Tables.
ORDERS = (0, 1, 2, 3)  # of the differences that are penalised; 0 alone where states have no order
PENALTIES = (2, 1, 0, -1, -2)  # powers of ten, and one more for each order
LOOSE = 1e-3  # inverse variance of a state's logarithm, whatever its neighbours' are
SMOOTHER = 0.25  # prior log-odds of a penalty over the next smaller one
FIRST_STEPS, STEPS, CLOSE, LONGEST = 25, 6, 1e-2, 8.0  # of Newton's method for a penalty
MOST, MOST_EVEN = 256, 64  # states; of more, or of more that are even so far, what takes less than their number's cube
LEAST_NOISE = 1e-6  # of a share: less is not told from rounding
TINY, ROUNDING = 1e-9, 1e-12


def likely_frequencies(noisy, noises, is_ordered, base=None):
    """Frequencies of the states of several columns, from noisy ones and what they are expected to be like.

    The logarithm of a frequency over the base's is a Gaussian process: independent, or of independent differences of
    first, second or third order, so that an even column, an exponential or a normal one costs nothing [1]_. The mode
    of its posterior is found for each order and penalty, and these are averaged by their marginal likelihoods
    (Laplace's method): nothing else decides how far a column leaves its base. Where noise is all there is, the base is
    left; tails fall as the middle says, where the noise of many states that hold nothing would have added up.

    Parameters
    ----------
    noisy : Tensor of shape (n_columns, n_states)
        Shares of the records.
    noises : Tensor of shape (n_columns, n_states)
        Standard deviation of the noise of each.
    is_ordered : bool
        Whether states have an order.
    base : Tensor of shape (n_columns, n_states), optional
        What is expected, positive; even by default.

    Returns
    -------
    Tensor of shape (n_columns, n_states)
        Each row sums to 1.

    References
    ----------
    .. [1] Silverman, "On the Estimation of a Probability Density Function by the Maximum Penalized Likelihood Method",
       Annals of Statistics 10, 1982.

    Examples
    --------
    >>> bell = torch.softmax(-(torch.linspace(-3, 3, 20, dtype=torch.float64) ** 2) / 2, 0)
    >>> noise = 0.01 * torch.randn(50, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> found = likely_frequencies(bell + noise, torch.full((50, 20), 0.01), True)
    >>> bool((found - bell).abs().sum() < 0.4 * noise.abs().sum()), bool((found > 0).all())
    (True, True)
    """
    wanted, precision = noisy.double(), noises.double().clamp_min(LEAST_NOISE) ** -2
    if _are_many(wanted.shape[1], is_ordered, base):
        scales = (precision.mean(1) ** -0.5).tolist()
        return torch.stack([_of_many(*of, is_ordered, base is None) for of in zip(wanted, scales, strict=True)])
    modes = _modes(wanted, precision, is_ordered, base)
    return (modes.chances[:, :, None] * modes.found).sum(1)


def drawn_frequencies(noisy, noises, is_ordered, random):
    """Frequencies that may be the true ones, for all that noisy ones tell: a draw of the posterior.

    Of what :func:`likely_frequencies` averages: an order and a penalty are drawn by their likelihood; then the noisy
    frequencies get noise once more, the prior's centre is drawn of the prior, and the mode is sought again [1]_. Where
    noise is all there is, draws differ as the prior does; where it is little, as the noise does.

    Parameters
    ----------
    noisy, noises, is_ordered
        As for :func:`likely_frequencies`.
    random : torch.Generator

    Returns
    -------
    Tensor of shape (n_columns, n_states)
        Each row sums to 1.

    References
    ----------
    .. [1] Bardsley, Solonen, Haario, Laine, "Randomize-Then-Optimize: A Method for Sampling from Posterior
       Distributions in Nonlinear Inverse Problems", SIAM Journal on Scientific Computing 36, 2014.

    Examples
    --------
    >>> random = torch.Generator().manual_seed(0)
    >>> noisy = torch.tensor([[0.5, 0.3, 0.2, 0.0]]).expand(300, 4)
    >>> found = drawn_frequencies(noisy, torch.full((300, 4), 0.02), False, random)
    >>> bool((found > 0).all()), bool((found.std(0)[:3] - 0.02).abs().max() < 0.006)
    (True, True)
    """
    precision = noises.double().clamp_min(LEAST_NOISE) ** -2
    again = noisy.double() + precision**-0.5 * torch.randn(noisy.shape, generator=random, dtype=torch.float64)
    if _are_many(noisy.shape[1], is_ordered, None):
        return likely_frequencies(again, noises, is_ordered)
    modes = _modes(noisy.double(), precision, is_ordered, None)
    chosen = torch.multinomial(modes.chances, 1, generator=random)
    priors = modes.priors[chosen]  # (n_columns, 1, n, n)
    spread = torch.randn(*priors.shape[:3], 1, generator=random, dtype=torch.float64)
    centre = torch.linalg.solve_triangular(torch.linalg.cholesky(priors).mT, spread, upper=True)[..., 0]
    places = modes.places.gather(1, chosen[..., None].expand(-1, -1, noisy.shape[1]))
    base = torch.zeros(len(noisy), 1, 1, dtype=torch.float64)
    return _mode(again, precision, base, priors, places, FIRST_STEPS, centre=centre)[1][:, 0]


class _Modes(NamedTuple):
    """Modes of the posterior by prior: places and frequencies (n_columns, n_priors, n), and each prior's chance."""

    priors: torch.Tensor
    places: torch.Tensor
    found: torch.Tensor
    chances: torch.Tensor


def _are_many(n, is_ordered, base):
    return n > (MOST_EVEN if base is None and not is_ordered else MOST)


def _modes(wanted, precision, is_ordered, base):
    n = wanted.shape[1]
    base = torch.ones_like(wanted) if base is None else base.double()
    base = base.clamp_min(TINY).log()[:, None]
    priors = _priors(n, ORDERS if is_ordered else ORDERS[:1])
    places = torch.zeros(len(wanted), priors.shape[1], n, dtype=torch.float64)
    tried = []
    for i, prior in enumerate(priors):  # from the smoothest: each starts where the last one ended
        places, found, evidence = _mode(wanted, precision, base, prior, places, STEPS if i else FIRST_STEPS)
        tried.append((places, found, evidence - SMOOTHER * i))
    places, found, evidence = (torch.cat(parts, 1) for parts in zip(*tried, strict=True))
    return _Modes(priors.flatten(0, 1), places, found, evidence.softmax(1))


def _of_many(noisy, noise, is_ordered, is_even):
    if is_even and not is_ordered:
        return many_frequencies(noisy, noise)
    return project_simplex(smooth_frequencies(noisy, noise) if is_ordered else noisy)


def _priors(n, orders):
    """Inverse covariances (n_penalties, n_orders, n, n)."""
    eye = torch.eye(n, dtype=torch.float64)
    squares = [(order, of.T @ of) for order in orders if order < n for of in [eye.diff(n=order, dim=0)]]
    return torch.stack(
        [torch.stack([10.0 ** (power + order) * of + LOOSE * eye for order, of in squares]) for power in PENALTIES]
    )


def _mode(wanted, precision, base, prior, places, steps, *, centre=0.0):
    """Where the posterior is highest, the frequencies there, and the logarithm of its integral up to a constant."""
    wanted, precision = wanted[:, None], precision[:, None]
    damping = torch.full(places.shape[:2], 1e-3, dtype=torch.float64)

    def value(places):
        found = (base + places).softmax(2)
        off = places - centre
        pull = (off[..., None, :] @ prior)[..., 0, :]
        return ((precision * (wanted - found).square()).sum(2) + (off * pull).sum(2)) / 2, found, pull

    def curvature(found):
        slopes = torch.diag_embed(found) - found[..., None] * found[..., None, :]
        own = slopes @ (precision[..., None] * slopes) + prior
        return slopes, own + torch.diag_embed(ROUNDING * own.diagonal(dim1=2, dim2=3))

    height, found, pull = value(places)
    for _ in range(steps):
        slopes, own = curvature(found)
        pulled = pull - (slopes @ (precision * (wanted - found))[..., None])[..., 0]
        held = torch.diag_embed(damping[..., None] * own.diagonal(dim1=2, dim2=3))
        step = torch.cholesky_solve(pulled[..., None], torch.linalg.cholesky(own + held))[..., 0]
        tried = places - step.clamp(-LONGEST, LONGEST)
        then = value(tried)
        better = then[0] <= height
        gained = (height - then[0]).clamp_min(0)
        places, found, pull = (
            torch.where(better[..., None], new, old)
            for new, old in ((tried, places), (then[1], found), (then[2], pull))
        )
        height, damping = height - gained, torch.where(better, damping * 0.2, damping * 6).clamp(1e-8, 1e4)
        if bool(better.all()) and float(gained.max()) < CLOSE:
            break
    return places, found, _half_log_det(prior) - _half_log_det(curvature(found)[1]) - height


def _half_log_det(matrices):
    return torch.linalg.cholesky(matrices).diagonal(dim1=-2, dim2=-1).log().sum(-1)


def of_columns(counts, noises, ordered, absent, total, base=None, *, estimate=likely_frequencies):
    """Frequencies of the states of each column, from noisy counts; see :func:`likely_frequencies`.

    Parameters
    ----------
    counts, noises : sequence of Tensor, each of shape (n_states,)
    ordered : sequence of int
        How many of each column's first states have an order; the others of such a column keep their own counts, as
        does what has no noise.
    absent : sequence of Tensor of bool, each of shape (n_states,)
        States that hold nothing.
    total : float
        Number of records.
    base : sequence of Tensor, each of shape (n_states,), optional
        What is expected.
    estimate : callable
        Makes frequencies of noisy ones.

    Returns
    -------
    list of Tensor
        Each sums to 1.
    """
    found: list = []
    alike: dict = {}
    for j, (of, noise, n, gone) in enumerate(zip(counts, noises, ordered, absent, strict=True)):
        # What is known, such as that cells are missing, needs no likelihood: others' could not be found beside it.
        apart = (torch.arange(len(of)) >= n if n else gone) | (noise == 0)
        found.append(torch.where(apart & ~gone, of.double() / total, 0.0).clamp_min(0))
        left = max(1 - float(found[j].sum()), TINY)
        if not apart.all():
            alike.setdefault((n > 0, int((~apart).sum())), []).append((j, ~apart, left))
    for (is_ordered, _), blocks in alike.items():
        noisy = torch.stack([counts[j][own].double() / (total * left) for j, own, left in blocks])
        known_by = torch.stack([noises[j][own].double() / (total * left) for j, own, left in blocks])
        expected = None if base is None else torch.stack([base[j][own] for j, own, _ in blocks])
        for (j, own, left), part in zip(blocks, estimate(noisy, known_by, is_ordered, expected), strict=True):
            found[j][own] = left * part
    return [of / of.sum() for of in found]


def drawn_columns(counts, noises, ordered, absent, total, *, random):
    """Frequencies of each column that may be the true ones; see :func:`of_columns` and :func:`drawn_frequencies`."""
    counts = list(counts)
    for j, (of, noise, n) in enumerate(zip(counts, noises, ordered, strict=True)):
        again = of + noise * torch.randn(of.shape, generator=random, dtype=torch.float64)
        # Of states beyond those in order no prior is known.
        counts[j] = torch.where((torch.arange(len(of)) >= n) & (n > 0), again, of.double())
    return of_columns(counts, noises, ordered, absent, total, estimate=partial(_drawn, random))


def _drawn(random, noisy, noises, is_ordered, _):
    return drawn_frequencies(noisy, noises, is_ordered, random)
