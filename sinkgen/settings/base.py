"""What the settings of all mechanisms have in common."""

import math
from dataclasses import fields
from typing import Any, ClassVar

from sinkgen._validation import check_integer, check_real

AUTO = "auto"


class Settings:
    """What the settings of all mechanisms have in common: they are parameters as scikit-learn has them, and frozen."""

    name: ClassVar[str]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All settings, by name; scikit-learn's searches, ``clone`` and displays read them here.

        Parameters
        ----------
        deep : bool
            Makes no difference: none holds others.

        Returns
        -------
        dict

        Examples
        --------
        >>> from sinkgen import Marginals, Semidual
        >>> Marginals(members=3).get_params()["members"]
        3
        """
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    def given(self) -> dict[str, Any]:
        """The settings that are not left to "auto".

        Examples
        --------
        >>> from sinkgen import Semidual
        >>> "steps" in Semidual().given(), Semidual(steps=5).given()["steps"]
        (False, 5)
        """
        return {name: value for name, value in self.get_params().items() if not is_auto(value)}


def is_auto(value):
    """Whether a setting is left to the fit."""
    return isinstance(value, str) and value == AUTO


MOST = 2**31 - 1  # of anything that is counted: what is larger can neither be held nor waited for


def check_count(name, value, low=1):
    """Raise an error that names the setting, unless it is an integer from ``low`` to :data:`MOST`."""
    return check_integer(name, value, low=low, high=MOST)


def check_positive(name, value):
    """Raise an error that names the setting, unless it is a positive number."""
    return check_real(name, value, low=0, high=math.inf, include_low=False, include_high=False)
