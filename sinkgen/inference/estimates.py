"""What an estimate is: a number, how sure it is, and how much of the doubt is the noise of privacy."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from sinkgen._validation import check_real


class Interval(NamedTuple):
    """Ends of a confidence interval.

    Parameters
    ----------
    low, high : float or ndarray of shape (k,)

    Examples
    --------
    >>> Interval(0.2, 0.4).high
    0.4
    """

    low: Any
    high: Any


@dataclass(frozen=True)
class Estimate:
    """A number, or several, with its doubt.

    Attributes
    ----------
    estimate : float or ndarray of shape (k,)
    standard_error : float or ndarray of shape (k,)
        Of privacy's noise and of sampling together; nan where the noise's part is not known.
    privacy_share : float or ndarray of shape (k,)
        Share of the variance that is by the noise of privacy; nan where it is not known.
    origin : {"released", "model", "data sets"}
        Noisy numbers as they were released; draws of the model, where nothing of it was released; or several plausible
        data sets.
    freedom : float or ndarray of shape (k,)
        Degrees of freedom of the standard error.

    Examples
    --------
    >>> share = Estimate(0.5, 0.1, 0.36, "released")
    >>> low, high = share.interval()
    >>> round(low, 3), round(high, 3)
    (0.304, 0.696)
    """

    estimate: Any
    standard_error: Any
    privacy_share: Any
    origin: str
    freedom: Any = np.inf

    def interval(self, level: float = 0.95) -> Interval:
        """Ends between which the value lies with this confidence.

        Parameters
        ----------
        level : float, default=0.95

        Returns
        -------
        Interval
            Named ``low`` and ``high``.

        Raises
        ------
        ValueError
            If ``level`` is not between 0 and 1.

        Examples
        --------
        >>> round(Estimate(0.0, 1.0, 0.0, "released").interval(0.9).high, 3)
        1.645
        """
        check_real("level", level, low=0, high=1, include_low=False, include_high=False)
        reach = stats.t.ppf(0.5 + level / 2, self.freedom) * self.standard_error
        low, high = self.estimate - reach, self.estimate + reach
        return Interval(low, high) if np.ndim(low) else Interval(float(low), float(high))

    def __str__(self) -> str:
        if np.ndim(self.estimate):
            rows = zip(*map(np.atleast_1d, (self.estimate, *self.interval())), strict=True)
            return "\n".join(f"{value:.4g} ({low:.4g} to {high:.4g})" for value, low, high in rows)
        low, high = self.interval()
        digits = _digits(self.estimate, high - low)
        told = f", {self.privacy_share:.0%} of the variance by privacy" if np.isfinite(self.privacy_share) else ""
        return f"{self.estimate:.{digits}g} (95 % interval {low:.{digits}g} to {high:.{digits}g}{told}; {self.origin})"


def _digits(value, width):
    """As many as tell an interval of a width from a point, and 4 at least.

    Examples
    --------
    >>> _digits(1688123456.0, 86400.0), _digits(2.0, 1.0)
    (7, 4)
    """
    if not (np.isfinite(value) and np.isfinite(width)) or width <= 0 or value == 0:
        return 4
    return int(np.clip(np.ceil(np.log10(abs(value) / width)) + 2, 4, 17))
