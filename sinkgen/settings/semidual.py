"""Settings of the mechanism that moves points."""

from dataclasses import dataclass
from typing import Any, ClassVar

from sinkgen._validation import check_boolean, check_real
from sinkgen.exceptions import BadValueError
from sinkgen.settings.base import AUTO, Settings, check_count, check_positive, is_auto


@dataclass(frozen=True)
class Semidual(Settings):
    """The mechanism that moves points by transport, with a bound on what each record contributes.

    Parameters
    ----------
    steps : int or "auto", default="auto"
        Releases of the points; "auto" is fewer the smaller the budget.
    sampling_rate : float, default=1.0
        Probability with which a record takes part in such a release.
    clip : float, default=0.5
        Bound of one record's displacement, as a share of the typical distance between records.
    mass_share : float, default=0.2
        Bound of one record's mass, as a share of ``clip``.
    reg : float or (float, float), default=(0.1, 0.01)
        Entropic regularisation as a share of the mean cost between typical records; of a pair, the first is that at the
        start and the second that from ``settle * steps`` on; geometric in between.
    debias : bool, default=False
        Whether the exact self term is taken off. Its points are the points themselves (p = 0): free points have no
        others to draw.
    settle : float, default=0.6
        Share of the steps that anneal; the others average.
    relaxation : float, default=0.5
        Share of a half-iteration of Sinkhorn's that a step moves the potentials.
    floor : float, default=0.2
        Least mass, as a share of the mean, that a point's displacement is divided by.
    deform : bool, default=True
        Whether deformations of images are learned.
    moments : float or "auto", default="auto"
        Share of the budget of the second moments that show the directions.
    features : float or "auto", default="auto"
        Share of the budget, beside the others', of the mean features that tilt the mixture; 0 for none.

    Raises
    ------
    TypeError, ValueError
        If a setting is of the wrong type or out of range; the message names it.

    Examples
    --------
    >>> Semidual(steps=10, clip=0.4)
    Semidual(steps=10, sampling_rate=1.0, clip=0.4, mass_share=0.2, reg=(0.1, 0.01), debias=False, settle=0.6, \
relaxation=0.5, floor=0.2, deform=True, moments='auto', features='auto')
    """

    name: ClassVar[str] = "semidual"

    steps: Any = AUTO
    sampling_rate: float = 1.0
    clip: float = 0.5
    mass_share: float = 0.2
    reg: Any = (0.1, 0.01)
    debias: bool = False
    settle: float = 0.6
    relaxation: float = 0.5
    floor: float = 0.2
    deform: bool = True
    moments: Any = AUTO
    features: Any = AUTO

    def __post_init__(self):
        if not is_auto(self.steps):
            check_count("steps", self.steps)
        check_real("sampling_rate", self.sampling_rate, low=0, high=1, include_low=False)
        check_positive("clip", self.clip)
        check_positive("mass_share", self.mass_share)
        if len(regs_of(self)) != 2:
            raise BadValueError("reg must be a number or a pair of numbers")
        for value in regs_of(self):
            check_positive("reg", value)
        check_boolean("debias", self.debias)
        check_real("settle", self.settle, low=0, high=1)
        check_real("relaxation", self.relaxation, low=0, high=1)
        check_real("floor", self.floor, low=0, high=1, include_low=False)
        check_boolean("deform", self.deform)
        for name in ("moments", "features"):
            if not is_auto(getattr(self, name)):
                check_real(name, getattr(self, name), low=0, high=0.5, include_low=name == "features")


def regs_of(settings):
    """Regularisation at the start and at the end, as a pair, also where it is one number."""
    return tuple(settings.reg) if isinstance(settings.reg, (tuple, list)) else (settings.reg, settings.reg)
