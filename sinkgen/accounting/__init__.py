"""What was released with how much noise, and what that costs.

A :class:`GaussianRelease` says what happened; :func:`compose` says what all of it costs together, and :func:`calibrate`
how much noise a budget asks for. Neighbouring data sets differ by one record, added or removed. All numbers are upper
bounds of the cost: exact where every release sees all records, numerical (opacus) where releases see a Poisson sample.
"""

from sinkgen.accounting.calibration import calibrate
from sinkgen.accounting.composition import compose, epsilon_spent
from sinkgen.accounting.gaussian import gaussian_epsilon, gaussian_mu
from sinkgen.accounting.releases import GaussianRelease
from sinkgen.accounting.statement import PrivacySpent

__all__ = [
    "GaussianRelease",
    "PrivacySpent",
    "calibrate",
    "compose",
    "epsilon_spent",
    "gaussian_epsilon",
    "gaussian_mu",
]
