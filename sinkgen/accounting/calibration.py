"""How much noise a budget asks for."""

import math
from collections.abc import Iterable

from sinkgen._validation import check_choice, check_integer, check_real
from sinkgen.accounting.composition import ACCOUNTANTS, compose, delta_left, merge
from sinkgen.accounting.gaussian import check_delta, gaussian_mu
from sinkgen.accounting.releases import MAX_STEPS, GaussianRelease, check_releases
from sinkgen.exceptions import BadValueError


def calibrate(
    epsilon: float,
    delta: float,
    sampling_rate: float,
    steps: int,
    *,
    spent: Iterable[GaussianRelease] = (),
    accountant: str = "auto",
) -> float:
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
    steps = check_integer("steps", steps, low=1, high=MAX_STEPS)
    spent = check_releases(spent)
    check_choice("accountant", accountant, ACCOUNTANTS)
    if epsilon == math.inf:
        return 0.0
    guess = _guess_noise(epsilon, delta, sampling_rate, steps, spent, compose(spent, delta, accountant))

    def price(noise_multiplier):
        return compose((*spent, GaussianRelease("", noise_multiplier, sampling_rate, steps)), delta, accountant)

    exact = accountant == "auto" and sampling_rate == 1 and all(row.q == 1 for row in merge(spent))
    return _smallest(price, epsilon, guess, tolerance=1e-9 if exact else 2e-3)


def _guess_noise(epsilon, delta, sampling_rate, steps, spent, used):
    """Return where to start the search: exact where every release is of all records, else by the central limit."""
    if used >= epsilon:
        raise BadValueError(f"the releases in spent leave no budget: they cost epsilon {used:.4g} at delta {delta:g}")
    left = delta_left(spent, delta)
    mu, mu_used = gaussian_mu(epsilon, left), gaussian_mu(used, left) if used else 0.0
    step_mu = math.sqrt(max(mu - mu_used, 1e-12 * mu) * (mu + mu_used)) / math.sqrt(steps) / sampling_rate
    return 1 / step_mu if sampling_rate == 1 else 1 / math.sqrt(math.log1p(min(step_mu, 1e150) ** 2))


def _smallest(price, target, guess, tolerance):
    """Return the smallest noise multiplier whose price is at most ``target``, by secants in logarithms, bracketed.

    Only a noise multiplier whose price has been computed and found within ``target`` is ever returned.
    """
    too_low = good = None  # (log of the noise multiplier, log of price over target)
    at, found = math.log(guess), math.inf
    start = at
    for turn in range(100):
        # Numerical accountants' last digits change with the number of threads: a fit must go on in another process.
        noise = _rounded_up(math.exp(at), 1e-6 * tolerance)
        excess = _log_ratio(price(noise), target)
        if excess > 0:
            too_low = at, excess
        else:
            good, found = (at, excess), noise
        if good and (good[1] >= -tolerance or (too_low and good[0] - too_low[0] < tolerance / 20)):
            return found
        if at > start + 20:
            break
        at = _next_trial(too_low, good, tolerance, turn)
    raise BadValueError("no noise keeps within the budget: the releases in spent leave too little of it")


def _rounded_up(value, relative):
    """The next multiple of a power of two of about this share of a positive value."""
    step = 2.0 ** math.floor(math.log2(value * relative))
    return math.ceil(value / step) * step


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
