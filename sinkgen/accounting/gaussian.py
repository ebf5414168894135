"""Gaussian differential privacy, exact."""

import math

import numpy as np
from scipy.optimize import brentq
from scipy.special import erf, log_ndtr

from sinkgen._validation import check_real


def gaussian_mu(epsilon: float, delta: float) -> float:
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
    while gaussian_delta(epsilon, high) < delta:
        high *= 2
    return _root(lambda mu: gaussian_delta(epsilon, mu) - delta, high)


def gaussian_epsilon(mu: float, delta: float) -> float:
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
    if gaussian_delta(0.0, mu) <= delta:
        return 0.0
    high = mu * (mu / 2 + math.sqrt(2 * math.log(1 / delta)))  # the tail bound of the privacy loss N(mu^2/2, mu^2)
    if high == math.inf:
        return math.inf
    epsilon = _root(lambda epsilon: gaussian_delta(epsilon, mu) - delta, high)
    return epsilon * (1 + 1e-12)  # the conservative end of the solver's tolerance


def _root(function, high):
    return brentq(function, 0, high, xtol=1e-300, rtol=1e-14, maxiter=2000)


def gaussian_delta(epsilon, mu):
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


def unsampled_mu(rows):
    """Return the ``mu`` of all rows together, as if each were of all records."""
    return math.hypot(*(math.sqrt(row.steps) / row.sigma if row.sigma else math.inf for row in rows))
