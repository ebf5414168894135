"""What releases cost together, by the accountant that is asked for."""

import math
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from sinkgen._validation import check_choice
from sinkgen.accounting.gaussian import check_delta, gaussian_epsilon, unsampled_mu
from sinkgen.accounting.numerical import prv_epsilon, rdp_epsilon
from sinkgen.accounting.releases import GaussianRelease, Row, check_releases

ACCOUNTANTS = ("auto", "prv", "rdp")


class _Price(NamedTuple):
    """An upper bound of epsilon, and the accountant that gave it."""

    epsilon: float
    accountant: str


def compose(releases: Iterable[GaussianRelease], delta: float, accountant: str = "auto") -> float:
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
    return price(check_releases(releases), check_delta(delta), accountant).epsilon


def epsilon_spent(
    noise_multiplier: float, sampling_rate: float, steps: int, delta: float, accountant: str = "auto"
) -> float:
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


def price(releases, delta, accountant):
    """Return what :func:`compose` does, of checked releases, and the name of the accountant that gave it."""
    check_choice("accountant", accountant, ACCOUNTANTS)
    rows, left = merge(releases), delta_left(releases, delta)
    if any(row.sigma == 0 for row in rows) or left < 0 or (left == 0 and rows):
        return _Price(math.inf, "none")
    if not rows:
        return _Price(0.0, "analytic Gaussian")
    return _price_rows(rows, left, accountant)


def group_price(releases, delta, size, max_rows=1):
    """Return an epsilon that holds for ``size`` records together at the same ``delta``; exact where :func:`price` is.

    Parameters
    ----------
    releases : tuple of GaussianRelease
        Rows that spend a delta of their own are sets of members whose noisy counts passed a threshold.
    delta : float
    size : int
        At least 1.
    max_rows : int
        Of persons instead of records: as how many rows each counts.

    Returns
    -------
    float

    Notes
    -----
    Releases of all records are one Gaussian of ``mu``; a group moves it ``size`` times as far, and so makes it one of
    ``size * mu`` (Dong, Roth, Su 2019, theorem 2.14). A group whose members nobody else has brings counts of up to
    ``size``, and these pass thresholds more easily: see :func:`_group_delta`. Of samples, the better of two upper
    bounds is taken: sampling disregarded; and (epsilon, delta) of one record, turned into
    ``(size * epsilon, delta (exp(size * epsilon) - 1) / (exp(epsilon) - 1))`` at the best delta (Vadhan 2017, lemma
    2.2).
    """
    rows = merge(releases)
    left = delta - math.fsum(_group_delta(release, size, max_rows) for release in releases if release.delta)
    if any(row.sigma == 0 for row in rows) or left < 0 or (left == 0 and rows):
        return math.inf
    if not rows:
        return 0.0
    gaussian = gaussian_epsilon(size * unsampled_mu(rows), left)
    return gaussian if all(row.q == 1 for row in rows) else min(gaussian, _group_of_samples(rows, left, size))


def _group_delta(release, size, max_rows):
    """How likely a member that only the group has passes the threshold of a set.

    Noise of scale s and a threshold of ``1 + s * isf(delta)`` let the count 1 pass with probability delta, and the
    count c with ``sf(isf(delta) - (c - 1) / s)``. The group's records make at most ``size / c`` members of c each. If
    the row is of several sets, s and the threshold are larger, and the probability is smaller. Of persons that count as
    several rows each, counts and noise are in units of these rows, and counts below 1 pass with what
    :meth:`~sinkgen.privacy.mechanism.GaussianMechanism.release_sets` leaves them.
    """
    n = size * max_rows
    counts = np.arange(max_rows, n + 1) / max_rows if n <= 10**6 else np.geomspace(1, size, 10**6)
    shift = (counts - 1) / release.noise_multiplier if release.noise_multiplier else np.where(counts > 1, np.inf, 0.0)
    return float(np.max(size / counts * norm.sf(norm.isf(release.delta) - shift)))


def _group_of_samples(rows, delta, size):
    best = math.inf
    for own in np.geomspace(delta, 1e-290, 400).tolist():
        one = rdp_epsilon(rows, own)
        if one == 0:
            together = size * own
        else:
            log_factor = (size - 1) * one + math.log(-math.expm1(-size * one)) - math.log(-math.expm1(-one))
            together = own * math.exp(min(log_factor, 700.0))
        if together <= delta:
            best = min(best, size * one)
    return best


def delta_left(releases, delta):
    """Return what the releases' own deltas leave of ``delta``; negative if they take more."""
    return delta - math.fsum(release.delta for release in releases)


def merge(releases):
    """Return what the price depends on: free releases dropped, equal ones added up, in one order.

    Releases of all records compose exactly into one Gaussian, of ``mu**2 = sum(steps / sigma**2)``.
    """
    steps: Counter[tuple[float, float]] = Counter()
    for release in releases:
        if release.steps and release.sampling_rate and release.noise_multiplier < math.inf:
            steps[release.noise_multiplier, release.sampling_rate] += release.steps
    rows = [Row(sigma, q, count) for (sigma, q), count in sorted(steps.items())]
    of_all, sampled = [row for row in rows if row.q == 1], [row for row in rows if row.q < 1]
    if of_all:
        mu = unsampled_mu(of_all)
        sampled.append(Row(1 / mu if mu else math.inf, 1.0, 1))
    return tuple(sampled)


@lru_cache(maxsize=4096)
def _price_rows(rows, delta, accountant):
    unsampled = gaussian_epsilon(unsampled_mu(rows), delta)
    if accountant == "auto" and all(row.q == 1 for row in rows):
        return _Price(unsampled, "analytic Gaussian")
    rdp = _Price(rdp_epsilon(rows, delta), "RDP")
    if accountant == "rdp":
        return rdp
    prv = _Price(prv_epsilon(rows, delta), "PRV")
    if accountant == "prv":
        return prv if prv.epsilon < math.inf else rdp
    return min(prv, rdp, _Price(unsampled, "analytic Gaussian, sampling disregarded"))
