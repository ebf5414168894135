"""Upper bounds of what Poisson samples cost, by numerical accountants; alone in importing opacus."""

import math
from functools import lru_cache

import numpy as np
from scipy import fft

from sinkgen.accounting.gaussian import gaussian_epsilon, unsampled_mu

# --- Renyi differential privacy --------------------------------------------------------------------------------------

# opacus's own orders end at 63, where epsilon cannot fall below 0.1; its binomials overflow past 1029
_FRACTIONAL_ORDERS = np.concatenate([np.arange(1.1, 2, 0.1), np.arange(2.25, 4, 0.25), np.arange(4.5, 8, 0.5)])
_INTEGER_ORDERS = np.concatenate([np.arange(2, 64), np.unique(np.geomspace(64, 1024, 17).round())])
_ORDERS = np.unique(np.concatenate([_FRACTIONAL_ORDERS, _INTEGER_ORDERS]))


def rdp_epsilon(rows, delta):
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


def prv_epsilon(rows, delta):
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
    return min(rdp_epsilon(rows, delta), gaussian_epsilon(unsampled_mu(rows), delta))


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
