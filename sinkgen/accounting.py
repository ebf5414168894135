"""What was released with how much noise, and what that costs.

A :class:`GaussianRelease` says what happened; :func:`compose` says what all of it costs together, and :func:`calibrate`
how much noise a budget asks for. Neighbouring data sets differ by one record, added or removed. All numbers are upper
bounds of the cost: exact where every release sees all records, numerical (opacus) where releases see a Poisson sample.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from decimal import ROUND_CEILING, Context
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from scipy import fft
from scipy.optimize import brentq
from scipy.special import erf, log_ndtr

from sinkgen._validation import check_choice, check_integer, check_real

__all__ = [
    "GaussianRelease",
    "PrivacySpent",
    "calibrate",
    "compose",
    "epsilon_spent",
    "gaussian_epsilon",
    "gaussian_mu",
]

ACCOUNTANTS = ("auto", "prv", "rdp")
_MAX_STEPS = 2**53  # beyond it a float no longer counts single steps


# ---------------------------------------------------------------------------------------------------------------------
# What happened
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GaussianRelease:
    """One row of a statement: what was released, and with how much noise.

    Parameters
    ----------
    what : str
        What was released, in words for the reader of the statement.
    noise_multiplier : float
        Standard deviation of the noise over the L2 sensitivity (one record added or removed); 0 is no noise, inf is no
        release.
    sampling_rate : float
        Probability with which each record takes part in a step, independently of the others (Poisson sampling).
    steps : int
        Number of times it was released.
    delta : float
        Probability spent outright by the whole row, beside the Gaussian noise: a set of categories released by
        thresholded noisy counts, for example.

    Raises
    ------
    TypeError, ValueError
        If a value is of the wrong type or out of range; the message names the parameter.

    Examples
    --------
    >>> GaussianRelease("gradients", noise_multiplier=1.1, sampling_rate=0.01, steps=1000)
    GaussianRelease(what='gradients', noise_multiplier=1.1, sampling_rate=0.01, steps=1000, delta=0.0)
    """

    what: str
    noise_multiplier: float
    sampling_rate: float = 1.0
    steps: int = 1
    delta: float = 0.0

    def __post_init__(self):
        if not isinstance(self.what, str):
            raise TypeError(f"what must be a string, got {type(self.what).__name__}")
        checked = {
            "noise_multiplier": check_real("noise_multiplier", self.noise_multiplier, low=0),
            "sampling_rate": check_real("sampling_rate", self.sampling_rate, low=0, high=1),
            "steps": check_integer("steps", self.steps, low=0, high=_MAX_STEPS),
            "delta": check_real("delta", self.delta, low=0, high=1, include_high=False),
        }
        for name, value in checked.items():  # numpy scalars become Python's, so that rows compare, hash and print alike
            object.__setattr__(self, name, value)

    def to_dict(self):
        """Return the row as JSON values.

        Returns
        -------
        dict
            An infinite noise multiplier is the string ``"inf"`` in it.

        Examples
        --------
        >>> GaussianRelease("counts", 20.0).to_dict()
        {'what': 'counts', 'noise_multiplier': 20.0, 'sampling_rate': 1.0, 'steps': 1, 'delta': 0.0}
        """
        return asdict(self) | {"noise_multiplier": _to_json(self.noise_multiplier)}

    @classmethod
    def from_dict(cls, row):
        """Return the row that :meth:`to_dict` wrote, checked anew.

        Parameters
        ----------
        row : dict

        Returns
        -------
        GaussianRelease

        Raises
        ------
        TypeError, ValueError
            If a field is missing, unknown or out of range.

        Examples
        --------
        >>> GaussianRelease.from_dict(GaussianRelease("counts", 20.0).to_dict())
        GaussianRelease(what='counts', noise_multiplier=20.0, sampling_rate=1.0, steps=1, delta=0.0)
        """
        _check_fields(cls, row)
        return cls(**row | {"noise_multiplier": _from_json(row["noise_multiplier"])})


def _to_json(number):
    return "inf" if number == math.inf else number  # JSON has no infinity


def _from_json(number):
    return math.inf if number == "inf" else number


def _check_fields(cls, content):
    names = {field.name for field in fields(cls)}
    if not isinstance(content, dict) or set(content) != names:
        raise ValueError(f"{cls.__name__} needs exactly the fields {', '.join(sorted(names))}")


# ---------------------------------------------------------------------------------------------------------------------
# Gaussian differential privacy, exact
# ---------------------------------------------------------------------------------------------------------------------


def gaussian_mu(epsilon, delta):
    """Return the largest ``mu`` for which mu-Gaussian DP implies (epsilon, delta)-DP.

    T releases of noise multiplier sigma, each of all records, are exactly mu-Gaussian DP with ``mu = sqrt(T) / sigma``,
    and several kinds of release add up by ``mu**2``.

    Parameters
    ----------
    epsilon : float
        At least 0.
    delta : float
        Within (0, 1).

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If a parameter is not a number or out of range.

    References
    ----------
    Balle, Wang 2018 (arXiv 1805.06530), theorem 8; Dong, Roth, Su 2019 (arXiv 1905.02383), corollary 2.13.

    Examples
    --------
    >>> [round(gaussian_mu(epsilon, 1e-5), 4) for epsilon in (10, 1, 0.2)]
    [2.0004, 0.2681, 0.0613]
    """
    epsilon = check_real("epsilon", epsilon, low=0)
    delta = check_delta(delta)
    if epsilon == math.inf:
        return math.inf
    high = 1.0
    while _gaussian_delta(epsilon, high) < delta:
        high *= 2
    return _root(lambda mu: _gaussian_delta(epsilon, mu) - delta, high)


def gaussian_epsilon(mu, delta):
    """Return the smallest ``epsilon`` for which mu-Gaussian DP implies (epsilon, delta)-DP.

    Parameters
    ----------
    mu : float
        At least 0; for T releases of noise multiplier sigma, each of all records, ``sqrt(T) / sigma``.
    delta : float
        Within (0, 1).

    Returns
    -------
    float
        0 if ``delta`` alone covers it, inf if ``mu`` is infinite.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not a number or out of range.

    References
    ----------
    Balle, Wang 2018 (arXiv 1805.06530), theorem 8; Dong, Roth, Su 2019 (arXiv 1905.02383), corollary 2.13.

    Examples
    --------
    >>> round(gaussian_epsilon(2.0, 1e-5), 4)
    9.9973
    """
    mu = check_real("mu", mu, low=0)
    delta = check_delta(delta)
    if _gaussian_delta(0.0, mu) <= delta:
        return 0.0
    high = mu * (mu / 2 + math.sqrt(2 * math.log(1 / delta)))  # the tail bound of the privacy loss N(mu^2/2, mu^2)
    if high == math.inf:
        return math.inf
    epsilon = _root(lambda epsilon: _gaussian_delta(epsilon, mu) - delta, high)
    return epsilon * (1 + 1e-12)  # the conservative end of the solver's tolerance


def _root(function, high):
    return brentq(function, 0, high, xtol=1e-300, rtol=1e-14, maxiter=2000)


def _gaussian_delta(epsilon, mu):
    """Return ``Phi(-epsilon/mu + mu/2) - exp(epsilon) Phi(-epsilon/mu - mu/2)`` without cancellation or overflow."""
    if mu == 0:
        return 0.0
    if epsilon == 0 or mu == math.inf:
        return float(erf(mu / math.sqrt(8)))
    log_first, log_second = log_ndtr(-epsilon / mu + mu / 2), log_ndtr(-epsilon / mu - mu / 2)
    if log_first == -math.inf:
        return 0.0
    return float(np.exp(log_first) * -np.expm1(min(epsilon + log_second - log_first, 0.0)))


def check_delta(delta):
    """Return ``delta`` as a float within (0, 1), or raise an error that names it."""
    return check_real("delta", delta, low=0, high=1, include_low=False, include_high=False)


# ---------------------------------------------------------------------------------------------------------------------
# What it costs
# ---------------------------------------------------------------------------------------------------------------------


class _Row(NamedTuple):
    """The part of a release that the price depends on."""

    sigma: float
    q: float
    steps: int


class _Price(NamedTuple):
    """An upper bound of epsilon, and the accountant that gave it."""

    epsilon: float
    accountant: str


def compose(releases, delta, accountant="auto"):
    """Return the epsilon that all releases cost together.

    Parameters
    ----------
    releases : iterable of GaussianRelease
        In any order: the price does not depend on it.
    delta : float
        Within (0, 1). The releases' own deltas are taken off it first; where nothing is left, epsilon is inf.
    accountant : {"auto", "prv", "rdp"}
        "auto": if every release is of all records, the exact price of the Gaussian mechanism; else the lower of two
        upper bounds, numerical composition of privacy loss variables (PRV) and Renyi differential privacy (RDP). "prv"
        or "rdp": that one alone (RDP also where PRV fails numerically).

    Returns
    -------
    float
        Upper bound of epsilon; inf if a release has no noise.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong type or out of range.

    Notes
    -----
    A Poisson sample never costs more than all records (the hockey-stick divergence is convex), so the exact price
    without sampling is a third upper bound, which "auto" uses where it is the lowest. PRV prices the removal of a
    record: the worse of the two directions wherever dp-accounting, which prices both, was asked (the tests' grid).

    References
    ----------
    Exact: Balle, Wang 2018 (arXiv 1805.06530). PRV: Gopi, Lee, Wutschitz 2021 (arXiv 2106.02848). RDP: Mironov, Talwar,
    Zhang 2019 (arXiv 1908.10530), turned into epsilon by Balle and others 2020 (arXiv 1905.09982).

    Examples
    --------
    >>> counts = GaussianRelease("class counts", noise_multiplier=20.0)
    >>> gradients = GaussianRelease("gradients", noise_multiplier=1.12, sampling_rate=256 / 60_000, steps=14_062)
    >>> print(f"{compose([counts], 1e-5):.3f} {compose([counts, gradients], 1e-5):.2f}")
    0.160 2.32
    """
    return _price(check_releases(releases), check_delta(delta), accountant).epsilon


def epsilon_spent(noise_multiplier, sampling_rate, steps, delta, accountant="auto"):
    """Return the epsilon that ``steps`` releases of one kind cost.

    Parameters
    ----------
    noise_multiplier : float
        Standard deviation of the noise over the L2 sensitivity; at least 0.
    sampling_rate : float
        Probability with which each record takes part in a step; within [0, 1].
    steps : int
        Number of releases; 0 costs nothing.
    delta : float
        Within (0, 1).
    accountant : {"auto", "prv", "rdp"}
        See :func:`compose`.

    Returns
    -------
    float
        Upper bound of epsilon; inf without noise.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong type or out of range.

    References
    ----------
    See :func:`compose`.

    Examples
    --------
    >>> round(epsilon_spent(noise_multiplier=10.0, sampling_rate=1.0, steps=25, delta=1e-5), 3)
    1.993
    """
    return compose([GaussianRelease("", noise_multiplier, sampling_rate, steps)], delta, accountant)


def check_releases(releases):
    """Return ``releases`` as a tuple of :class:`GaussianRelease`, or raise TypeError."""
    if not isinstance(releases, Iterable):
        raise TypeError(f"releases must be an iterable of GaussianRelease, got {type(releases).__name__}")
    releases = tuple(releases)
    for release in releases:
        if not isinstance(release, GaussianRelease):
            raise TypeError(f"releases must hold GaussianRelease only, got {type(release).__name__}")
    return releases


def check_assumptions(assumptions):
    """Return ``assumptions`` as a tuple of strings, or raise TypeError."""
    if isinstance(assumptions, str) or not isinstance(assumptions, Iterable):
        raise TypeError(f"assumptions must be an iterable of strings, got {type(assumptions).__name__}")
    assumptions = tuple(assumptions)
    if not all(isinstance(text, str) for text in assumptions):
        raise TypeError("assumptions must hold strings only")
    return assumptions


def _price(releases, delta, accountant):
    check_choice("accountant", accountant, ACCOUNTANTS)
    rows, left = _merge(releases), _delta_left(releases, delta)
    if any(row.sigma == 0 for row in rows) or left < 0 or (left == 0 and rows):
        return _Price(math.inf, "none")
    if not rows:
        return _Price(0.0, "analytic Gaussian")
    return _price_rows(rows, left, accountant)


def _delta_left(releases, delta):
    return delta - math.fsum(release.delta for release in releases)


def _merge(releases):
    """Return what the price depends on: free releases dropped, equal ones added up, in one order.

    Releases of all records compose exactly into one Gaussian, of ``mu**2 = sum(steps / sigma**2)``.
    """
    steps: Counter[tuple[float, float]] = Counter()
    for release in releases:
        if release.steps and release.sampling_rate and release.noise_multiplier < math.inf:
            steps[release.noise_multiplier, release.sampling_rate] += release.steps
    rows = [_Row(sigma, q, count) for (sigma, q), count in sorted(steps.items())]
    of_all, sampled = [row for row in rows if row.q == 1], [row for row in rows if row.q < 1]
    if of_all:
        mu = _unsampled_mu(of_all)
        sampled.append(_Row(1 / mu if mu else math.inf, 1.0, 1))
    return tuple(sampled)


def _unsampled_mu(rows):
    return math.hypot(*(math.sqrt(row.steps) / row.sigma if row.sigma else math.inf for row in rows))


@lru_cache(maxsize=4096)
def _price_rows(rows, delta, accountant):
    unsampled = gaussian_epsilon(_unsampled_mu(rows), delta)
    if accountant == "auto" and all(row.q == 1 for row in rows):
        return _Price(unsampled, "analytic Gaussian")
    rdp = _Price(_rdp_epsilon(rows, delta), "RDP")
    if accountant == "rdp":
        return rdp
    prv = _Price(_prv_epsilon(rows, delta), "PRV")
    if accountant == "prv":
        return prv if prv.epsilon < math.inf else rdp
    return min(prv, rdp, _Price(unsampled, "analytic Gaussian, sampling disregarded"))


# --- Renyi differential privacy --------------------------------------------------------------------------------------

# opacus's own orders end at 63, where epsilon cannot fall below 0.1; its binomials overflow past 1029
_FRACTIONAL_ORDERS = np.concatenate([np.arange(1.1, 2, 0.1), np.arange(2.25, 4, 0.25), np.arange(4.5, 8, 0.5)])
_INTEGER_ORDERS = np.concatenate([np.arange(2, 64), np.unique(np.geomspace(64, 1024, 17).round())])
_ORDERS = np.unique(np.concatenate([_FRACTIONAL_ORDERS, _INTEGER_ORDERS]))


def _rdp_epsilon(rows, delta):
    """Return the best conversion over all orders (arXiv 1905.09982, theorem 21)."""
    epsilons = _total_divergence(rows) - (math.log(delta) + np.log(_ORDERS)) / (_ORDERS - 1) + np.log1p(-1 / _ORDERS)
    return max(float(np.min(epsilons)), 0.0)


def _total_divergence(rows):
    return sum(row.steps * _renyi_divergences(row.sigma, row.q) for row in rows)


@lru_cache(maxsize=4096)
def _renyi_divergences(sigma, q):
    return np.array([_renyi_divergence(sigma, q, float(order)) for order in _ORDERS])


def _renyi_divergence(sigma, q, order):
    """Return an upper bound of the divergence of one step; inf at an order where opacus fails or would take long."""
    from opacus.accountants.analysis.rdp import compute_rdp

    if q < 1 and sigma > 100 and not order.is_integer():
        return math.inf  # opacus's series has some 8 sigma terms; with this much noise the best order is large anyway
    try:
        with np.errstate(all="ignore"):
            divergence = float(compute_rdp(q=q, noise_multiplier=sigma, steps=1, orders=order))
    except (ValueError, OverflowError, ZeroDivisionError):
        return math.inf
    return math.inf if math.isnan(divergence) else max(divergence, 0.0)


# --- Privacy loss random variables -----------------------------------------------------------------------------------

_RELATIVE_ERROR, _ERROR = 0.002, 0.01  # what discretisation may add to epsilon: the lesser of the two,
_MAX_POINTS = 2**21  # unless that takes more than a second of Fourier transforms,
_MAX_ERROR = 0.1  # and never more than this
_COARSE = 0.05
_MAX_LENGTH = 700.0  # exp of it is still a double
_MIN_RATE, _MIN_DELTA = 1e-7, 1e-9  # below them rounding in double precision is felt


def _prv_epsilon(rows, delta):
    """Return the upper end of opacus's numerical composition, or inf where it cannot be trusted."""
    if delta < _MIN_DELTA or min(row.q for row in rows) < _MIN_RATE:
        return math.inf
    rough = _rough_epsilon(rows, delta)  # may be far too high: a coarse pass tells how fine the second must be
    coarse = _prv_upper_end(rows, delta, min(_COARSE * rough, _MAX_ERROR))
    return _prv_upper_end(rows, delta, min(_RELATIVE_ERROR * coarse, _ERROR)) if 0 < coarse < math.inf else coarse


def _prv_upper_end(rows, delta, error):
    delta_error = delta / 1000
    length = _domain_length(rows, error, delta_error)
    root = math.sqrt(sum(row.steps for row in rows) * math.log(12 / delta_error) / 2)  # mesh = error / root
    error = max(error, 2 * length * root / _MAX_POINTS)
    if not 0 < error <= _MAX_ERROR or length > _MAX_LENGTH:
        return math.inf
    with np.errstate(all="ignore"):  # overflow to inf is handled below
        try:
            epsilon = float(_compose_losses(rows, length, error / root).compute_epsilon(delta, delta_error, error)[2])
        except (RuntimeError, ValueError, IndexError):  # opacus's own checks of its accuracy
            return math.inf
    return math.inf if math.isnan(epsilon) else max(epsilon, 0.0)


def _rough_epsilon(rows, delta):
    return min(_rdp_epsilon(rows, delta), gaussian_epsilon(_unsampled_mu(rows), delta))


def _domain_length(rows, error, delta_error):
    """Return how far the privacy loss is discretised: what lies beyond must fit into ``delta_error``.

    arXiv 2106.02848, theorem 5.5 and remark 5.6 bound that mass by epsilon at a small delta, plus 2; the Chernoff bound
    of the loss itself needs no such allowance, and so affords a finer mesh where epsilon is small.
    """
    total = sum(row.steps for row in rows)
    single = max(_loss_quantile((row._replace(steps=1),), delta_error / (16 * total)) for row in rows)
    return max(_loss_quantile(rows, delta_error / 8), single) + error


def _loss_quantile(rows, probability):
    """Return a length that the privacy loss exceeds, on either side, with at most ``probability`` each (Chernoff)."""
    return float(np.min(_total_divergence(rows) + math.log(1 / probability) / (_ORDERS - 1)))


def _compose_losses(rows, length, mesh):
    from opacus.accountants.analysis import prv

    points = fft.next_fast_len(2 * math.ceil(length / mesh) + 2, real=True)
    points += points % 2
    half = (points // 2 - 1.5) * mesh  # opacus rounds both ends outwards to the mesh
    domain = prv.Domain.create_aligned(-half, half, mesh)
    losses = [prv.discretize(_PrivacyLoss(row, domain), domain) for row in rows]
    return prv.compose_heterogeneous(losses, [row.steps for row in rows])


class _PrivacyLoss:
    """The truncated privacy loss of one step, as ``opacus...discretize`` wants it, with a more accurate mean.

    opacus integrates the mean by adaptive quadrature, to about 1e-9; times ten million steps that is as much as the
    whole error allowed to epsilon.
    """

    def __init__(self, row, domain):
        from opacus.accountants.analysis.prv import PoissonSubsampledGaussianPRV, TruncatedPrivacyRandomVariable

        loss = PoissonSubsampledGaussianPRV(row.q, row.sigma)
        self.cdf = TruncatedPrivacyRandomVariable(loss, domain.t_min, domain.t_max).cdf
        self.row = row

    def mean(self):
        """Return the Kullback-Leibler divergence of one step, by the trapezoidal rule (exponentially accurate).

        Truncation moves the mean by less than ``delta_error``, over all steps.
        """
        sigma, q = self.row.sigma, self.row.q
        step = min(sigma, sigma**2) / 8  # the logarithm's singularity lies pi sigma^2 off the real axis
        x = np.arange(-12 * sigma, 1 + 12 * sigma, step)
        ratio = (2 * x - 1) / (2 * sigma**2)
        loss = ratio if q == 1 else np.logaddexp(np.log1p(-q), np.log(q) + ratio)
        weight = np.exp(-(x**2) / (2 * sigma**2)) * (1 - q) + np.exp(-((x - 1) ** 2) / (2 * sigma**2)) * q
        return float(np.sum(weight * loss) * step / (sigma * math.sqrt(2 * math.pi)))


# ---------------------------------------------------------------------------------------------------------------------
# How much noise a budget asks for
# ---------------------------------------------------------------------------------------------------------------------


def calibrate(epsilon, delta, sampling_rate, steps, *, spent=(), accountant="auto"):
    """Return the smallest noise multiplier with which ``steps`` releases stay within the budget.

    Parameters
    ----------
    epsilon : float
        Greater than 0; inf asks for no noise and gives 0.
    delta : float
        Within (0, 1).
    sampling_rate : float
        Probability with which each record takes part in a step; within (0, 1].
    steps : int
        Number of releases, at least 1.
    spent : iterable of GaussianRelease
        Other releases on the same budget.
    accountant : {"auto", "prv", "rdp"}
        See :func:`compose`.

    Returns
    -------
    float
        With it, :func:`compose` of all releases is at most ``epsilon``, and within 0.2 % of it (1e-9 if all are of all
        records).

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong type or out of range, or if ``spent`` leaves nothing.

    References
    ----------
    See :func:`compose`. The search starts from the central limit of Dong, Roth, Su 2019 (arXiv 1905.02383), section
    5.2, which is no upper bound and is used for nothing else.

    Examples
    --------
    >>> round(calibrate(1.0, 1e-5, sampling_rate=1.0, steps=25), 3)
    18.653
    >>> counts = GaussianRelease("class counts", noise_multiplier=20.0)
    >>> round(calibrate(1.0, 1e-5, sampling_rate=1.0, steps=25, spent=[counts]), 3)
    18.986
    """
    epsilon = check_real("epsilon", epsilon, low=0, include_low=False)
    delta = check_delta(delta)
    sampling_rate = check_real("sampling_rate", sampling_rate, low=0, high=1, include_low=False)
    steps = check_integer("steps", steps, low=1, high=_MAX_STEPS)
    spent = check_releases(spent)
    check_choice("accountant", accountant, ACCOUNTANTS)
    if epsilon == math.inf:
        return 0.0
    guess = _guess_noise(epsilon, delta, sampling_rate, steps, spent, compose(spent, delta, accountant))

    def price(noise_multiplier):
        return compose((*spent, GaussianRelease("", noise_multiplier, sampling_rate, steps)), delta, accountant)

    exact = accountant == "auto" and sampling_rate == 1 and all(row.q == 1 for row in _merge(spent))
    return _smallest(price, epsilon, guess, tolerance=1e-9 if exact else 2e-3)


def _guess_noise(epsilon, delta, sampling_rate, steps, spent, used):
    """Return where to start the search: exact where every release is of all records, else by the central limit."""
    if used >= epsilon:
        raise ValueError(f"the releases in spent leave no budget: they cost epsilon {used:.4g} at delta {delta:g}")
    left = _delta_left(spent, delta)
    mu, mu_used = gaussian_mu(epsilon, left), gaussian_mu(used, left) if used else 0.0
    step_mu = math.sqrt(max(mu - mu_used, 1e-12 * mu) * (mu + mu_used)) / math.sqrt(steps) / sampling_rate
    return 1 / step_mu if sampling_rate == 1 else 1 / math.sqrt(math.log1p(min(step_mu, 1e150) ** 2))


def _smallest(price, target, guess, tolerance):
    """Return the smallest noise multiplier whose price is at most ``target``, by secants in logarithms, bracketed.

    Only a noise multiplier whose price has been computed and found within ``target`` is ever returned.
    """
    too_low = good = None  # (log of the noise multiplier, log of price over target)
    at = start = math.log(guess)
    for turn in range(100):
        excess = _log_ratio(price(math.exp(at)), target)
        if excess > 0:
            too_low = at, excess
        else:
            good = at, excess
        if good and (good[1] >= -tolerance or (too_low and good[0] - too_low[0] < tolerance / 20)):
            return math.exp(good[0])
        if at > start + 20:
            break
        at = _next_trial(too_low, good, tolerance, turn)
    raise ValueError("no noise keeps within the budget: the releases in spent leave too little of it")


def _log_ratio(price, target):
    return math.log(price / target) if 0 < price < math.inf else math.copysign(math.inf, price - target)


def _next_trial(too_low, good, tolerance, turn):
    """Return the next logarithm to try: inside the bracket if there is one, else outwards, by ever longer steps."""
    least = 2**turn * tolerance
    if good is None:
        return too_low[0] + min(max(1.1 * too_low[1], least), 4)
    if too_low is None:
        return good[0] - min(max(-1.1 * good[1], least), 4)
    (left, above), (right, below) = too_low, good
    if turn % 4 == 3 or not math.isfinite(above - below):
        return (left + right) / 2
    share = (above + tolerance / 2) / (above - below)
    return left + min(max(share, 0.02), 0.98) * (right - left)


# ---------------------------------------------------------------------------------------------------------------------
# The statement
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PrivacySpent:
    """What a fit, or all fits on a ledger, cost: ``print`` it for a statement that can stand in a paper.

    Parameters
    ----------
    epsilon, delta : float
        The guarantee; ``epsilon`` is inf where there was none.
    neighbours : str
        The neighbouring relation.
    accountant : str
        Name of the accountant that gave ``epsilon``.
    releases : tuple of GaussianRelease
        Everything that was released.
    assumptions : tuple of str
        What was taken as public, and so lies outside the guarantee.
    reproducible_noise : bool
        Whether the noise came from a fixed seed.
    secure_noise : bool
        Whether all noise came from a cipher, in sums of four normals.

    Examples
    --------
    >>> rows = [GaussianRelease("class counts", 40.0), GaussianRelease("points", 20.0, steps=20)]
    >>> print(PrivacySpent.of(rows, delta=1e-5, assumptions=["the range of each column"]))
    Differential privacy: epsilon = 0.8254, delta = 1e-05.
    Neighbouring data sets: add or remove one record.
    Accountant: analytic Gaussian.
    <BLANKLINE>
    release       noise multiplier  sampling rate  steps   share
    class counts                40              1      1   1.2 %
    points                      20              1     20  98.8 %
    <BLANKLINE>
    Taken as public, outside the guarantee: the range of each column.
    Noise: fresh, keyed by the operating system.
    """

    epsilon: float
    delta: float
    neighbours: str = "add or remove one record"
    accountant: str = ""
    releases: tuple[GaussianRelease, ...] = ()
    assumptions: tuple[str, ...] = ()
    reproducible_noise: bool = False
    secure_noise: bool = False

    @classmethod
    def of(cls, releases, delta, accountant="auto", assumptions=(), reproducible_noise=False, secure_noise=False):
        """Return the statement of ``releases``, priced by :func:`compose`.

        Parameters
        ----------
        releases : iterable of GaussianRelease
        delta : float
            Within (0, 1).
        accountant : {"auto", "prv", "rdp"}
            See :func:`compose`.
        assumptions : iterable of str
            What was taken as public.
        reproducible_noise : bool
            Whether the noise came from a fixed seed.
        secure_noise : bool
            Whether the noise came from a cipher.

        Returns
        -------
        PrivacySpent

        Raises
        ------
        TypeError, ValueError
            If a parameter is of the wrong type or out of range.

        Examples
        --------
        >>> PrivacySpent.of([GaussianRelease("means", 1.0)], delta=1e-5).accountant
        'analytic Gaussian'
        """
        releases, delta = check_releases(releases), check_delta(delta)
        epsilon, name = _price(releases, delta, accountant)
        return cls(
            epsilon=epsilon,
            delta=delta,
            accountant=name,
            releases=releases,
            assumptions=check_assumptions(assumptions),
            reproducible_noise=bool(reproducible_noise),
            secure_noise=bool(secure_noise),
        )

    @cached_property
    def shares(self):
        """Share of the budget that each release has, by its part of ``mu**2``; they sum to 1 if anything was spent.

        A release of a sample counts with the ``mu`` of a Gaussian release of all records that has its price. Releases
        without noise share all of it.

        Examples
        --------
        >>> rows = [GaussianRelease("means", 3.0), GaussianRelease("points", 3.0, steps=3)]
        >>> [round(share, 3) for share in PrivacySpent.of(rows, delta=1e-5).shares]
        [0.25, 0.75]
        """
        mus = [_equivalent_mu(release, self.delta) for release in self.releases]
        squares = [mu * mu for mu in mus]
        if math.inf in squares:
            squares = [float(square == math.inf) for square in squares]
        total = math.fsum(squares)
        return tuple(square / total if total else 0.0 for square in squares)

    def best_guess(self):
        """Return how often, at most, anyone guesses rightly whether a given record was among those fitted.

        The record was there or not by the toss of a coin; the guess is made with all other records and all outcomes in
        hand. Without any outcome it is right half of the time.

        Returns
        -------
        float
            From 0.5 to 1.

        Notes
        -----
        (epsilon, delta) bounds it by ``(exp(epsilon) + delta) / (exp(epsilon) + 1)`` [1]_; Gaussian releases of all
        records, of ``mu`` together, by ``Phi(mu / 2)``, with half of the releases' own deltas added. Sampling only
        lowers it. The lower of the two is returned.

        Raises
        ------
        ValueError
            If a release of the statement is out of range.

        References
        ----------
        .. [1] Kairouz, Oh, Viswanath, "The Composition Theorem for Differential Privacy", arXiv 1311.0776.
        .. [2] Dong, Roth, Su, "Gaussian Differential Privacy", arXiv 1905.02383.

        Examples
        --------
        >>> rows = [GaussianRelease("points", 20.0, steps=20)]
        >>> round(PrivacySpent.of(rows, delta=1e-5).best_guess(), 3)
        0.545
        """
        if self.epsilon == math.inf or self.reproducible_noise:
            return 1.0
        by_epsilon = (1 + self.delta * math.exp(-self.epsilon)) / (1 + math.exp(-self.epsilon))
        own = math.fsum(release.delta for release in self.releases)
        by_noise = 0.5 * (1 + _gaussian_delta(0.0, _unsampled_mu(_merge(self.releases))) + own)
        # A statement without releases says no more than its epsilon.
        return min(1.0, by_epsilon, by_noise) if self.releases else by_epsilon

    def epsilon_after(self, steps_done):
        """Return about what the first steps of the releases cost, to be shown while a fit runs; no guarantee.

        The steps count by their :attr:`shares`, as Gaussian releases of all records do exactly.

        Parameters
        ----------
        steps_done : dict of str to int
            Steps made of each release, by its name.

        Returns
        -------
        float
            From 0 to ``epsilon``.

        Raises
        ------
        KeyError
            If ``steps_done`` lacks a release.

        Examples
        --------
        >>> spent = PrivacySpent.of([GaussianRelease("points", 20.0, steps=20)], delta=1e-5)
        >>> [round(spent.epsilon_after({"points": steps}), 3) for steps in (0, 10, 20)]
        [0.0, 0.561, 0.82]
        """
        rows = zip(self.releases, self.shares, strict=True)
        done = math.fsum(share * steps_done[row.what] / row.steps for row, share in rows if row.steps)
        if not done or not self.epsilon:
            return 0.0
        return min(self.epsilon, gaussian_epsilon(math.sqrt(done) * gaussian_mu(self.epsilon, self.delta), self.delta))

    def to_dict(self):
        """Return the statement as JSON values.

        Returns
        -------
        dict
            An infinite epsilon is the string ``"inf"`` in it.

        Examples
        --------
        >>> PrivacySpent.of([], delta=1e-5).to_dict()["epsilon"]
        0.0
        """
        return asdict(self) | {
            "epsilon": _to_json(self.epsilon),
            "releases": [release.to_dict() for release in self.releases],
            "assumptions": list(self.assumptions),
        }

    @classmethod
    def from_dict(cls, content):
        """Return the statement that :meth:`to_dict` wrote.

        Parameters
        ----------
        content : dict

        Returns
        -------
        PrivacySpent

        Raises
        ------
        TypeError, ValueError
            If a field is missing, unknown or, within a release, out of range.

        Examples
        --------
        >>> spent = PrivacySpent.of([GaussianRelease("means", 1.0)], delta=1e-5)
        >>> PrivacySpent.from_dict(spent.to_dict()) == spent
        True
        """
        content = {"secure_noise": False, **content}  # unknown to the first versions
        _check_fields(cls, content)
        return cls(
            **content
            | {
                "epsilon": check_real("epsilon", _from_json(content["epsilon"]), low=0),
                "delta": check_delta(content["delta"]),
                "releases": tuple(GaussianRelease.from_dict(row) for row in content["releases"]),
                "assumptions": check_assumptions(content["assumptions"]),
            }
        )

    def __str__(self):
        return "\n".join([*self._guarantee(), "", *self._table(), "", *self._circumstances()])

    def _guarantee(self):
        yield f"Differential privacy: epsilon = {round_up(self.epsilon)}, delta = {self.delta:g}."
        if self.epsilon == math.inf:
            yield "NOT PRIVATE: no finite epsilon holds at this delta; the records are not protected."
        yield f"Neighbouring data sets: {self.neighbours}."
        yield f"Accountant: {self.accountant}."

    def _table(self):
        rows = [["release", "noise multiplier", "sampling rate", "steps", "own delta", "share"]]
        rows += [_cells(release, share) for release, share in zip(self.releases, self.shares, strict=True)]
        if not any(release.delta for release in self.releases):
            rows = [[*row[:4], row[5]] for row in rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for first, *rest in rows:
            yield "  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])])

    def _circumstances(self):
        if self.assumptions:
            yield f"Taken as public, outside the guarantee: {'; '.join(self.assumptions)}."
        if not any(release.steps and 0 < release.noise_multiplier < math.inf for release in self.releases):
            yield "Noise: none."
        elif self.reproducible_noise:
            yield "Noise: REPRODUCIBLE from a seed. The guarantee fails against whoever knows or guesses the seed."
        elif self.secure_noise:
            yield "Noise: fresh, of a cipher keyed by the operating system, in sums of four normals."
        else:
            yield "Noise: fresh, keyed by the operating system."


def _cells(release, share):
    noise = f"{release.noise_multiplier:.5g}" if release.noise_multiplier else "0 (none)"
    rate, percent = f"{release.sampling_rate:.5g}", f"{100 * share:.1f} %"
    return [release.what, noise, rate, str(release.steps), f"{release.delta:g}", percent]


def _equivalent_mu(release, delta):
    if release.sampling_rate == 1 or not release.noise_multiplier or not release.steps:
        return _unsampled_mu([_Row(release.noise_multiplier, 1.0, release.steps)]) if release.steps else 0.0
    return gaussian_mu(compose([release], delta), delta)


def round_up(epsilon):
    """Return ``epsilon`` as text of four digits, rounded up: a statement must not promise more than was computed."""
    if not 0 < epsilon < math.inf:
        return f"{epsilon:g}"
    return f"{Context(prec=4, rounding=ROUND_CEILING).create_decimal_from_float(epsilon).normalize():f}"
