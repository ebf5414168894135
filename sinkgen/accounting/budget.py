"""From a privacy budget to the noise of every release, before anything is released."""

import math

from sinkgen.accounting import GaussianRelease, calibrate, gaussian_mu


def split_budget(epsilon, delta, shares, *, steps=None, own_delta=None, sampled=None, accountant="auto"):
    """Noise multipliers of several releases that cost (epsilon, delta) together.

    Releases of all records add up by ``mu**2`` (Gaussian differential privacy); each gets its share of it. A release
    of a Poisson sample comes last and gets the noise that uses up what is left, by the numerical accountant.

    Parameters
    ----------
    epsilon, delta : float
        The whole budget; epsilon may be inf, for no noise at all.
    shares : dict of str to float
        Name of each release and its share of the budget; they need not sum to 1.
    steps : dict of str to int, optional
        Number of steps of a release, 1 by default.
    own_delta : dict of str to float, optional
        Part of delta that a release spends outright (a thresholded set of labels).
    sampled : tuple of (str, float), optional
        Name and sampling rate of the one release that sees Poisson samples.
    accountant : str
        See :func:`sinkgen.accounting.compose`.

    Returns
    -------
    tuple of GaussianRelease

    References
    ----------
    .. [1] Dong, Roth, Su, "Gaussian differential privacy", arXiv 1905.02383, corollary 3.3.

    Examples
    --------
    >>> rows = split_budget(1.0, 1e-5, {"count": 1, "points": 3}, steps={"points": 4})
    >>> [round(row.noise_multiplier, 2) for row in rows]
    [7.46, 8.62]
    """
    steps, own_delta = steps or {}, own_delta or {}
    mu = _whole_mu(epsilon, delta - math.fsum(own_delta.values()), accountant)
    total = math.fsum(shares.values())

    def full_pass(what, share):
        times = steps.get(what, 1)
        return GaussianRelease(what, math.sqrt(times * total / share) / mu, 1.0, times, own_delta.get(what, 0.0))

    if sampled is None or sampled[1] == 1:
        return tuple(full_pass(what, share) for what, share in shares.items())
    name, rate = sampled
    rows = tuple(full_pass(what, share) for what, share in shares.items() if what != name)
    times = steps.get(name, 1)
    noise = calibrate(epsilon, delta, rate, times, spent=rows, accountant=accountant)
    return (*rows, GaussianRelease(name, noise, rate, times))


def _whole_mu(epsilon, delta, accountant):
    # A hair less than all of it: what rounding adds must not exceed the budget.
    if accountant == "auto" or epsilon == math.inf:
        return gaussian_mu(epsilon, delta) * (1 - 1e-9)
    return (1 - 1e-9) / calibrate(epsilon, delta, 1.0, 1, accountant=accountant)
