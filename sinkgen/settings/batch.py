"""Settings of the paper's mechanism."""

import math
from dataclasses import dataclass
from typing import ClassVar

from sinkgen._validation import check_boolean, check_real
from sinkgen.exceptions import BadTypeError, BadValueError
from sinkgen.settings.base import AUTO, Settings, check_count, check_positive, is_auto
from sinkgen.settings.semidual import Semidual

LEAST_REG = 0.01


@dataclass(frozen=True)
class Batch(Settings):
    """The paper's mechanism: a network is trained by clipped and noised gradients of batches.

    Parameters
    ----------
    steps : int, default=3000
        Releases.
    sampling_rate : float, default=0.01
        Probability with which a record takes part in a step. At a given budget and number of steps, the smaller it is
        the less noise there is; the paper's is 50 of 60,000.
    clip : float or "auto", default="auto"
        Bound of the norm of the gradient in all points together, in encoded units; "auto" is half the typical one.
    reg : float, default=0.05
        Entropic regularisation, as a share of the mean cost between records spread evenly over their bounds.
    debias : float or None, default=0.2
        Share p of the self term's points that are drawn afresh; None leaves the self term out. With 1 and parts of as
        many records as points, nothing pulls at a network that draws what the records are.
    points : int, default=20
        Generated points of a step, n.
    label_weight : float, None or "auto", default="auto"
        None: each class is transported by itself, and its points' gradient clipped by itself, which is larger in all at
        the same privacy. A number: all classes share one problem, as in the paper; weight of the one-hot label in the
        cost, as a share of the typical distance. "auto": None where the cost is "sqeuclidean", L1 or their sum, and
        `reg` is at least 0.01; else 1.5.
    learning_rate : float, default=1e-3
        Of Adam, at the first step; it falls to 0 along a cosine.
    momentum : float, default=0.9
        Adam's first coefficient: what a step keeps of the mean of earlier gradients.
    iterations : int or None, default=20
        Iterations of Sinkhorn's algorithm in each transport problem; None for as many as it needs.
    balanced : bool, default=True
        Whether the points' classes come as often as they should in every step, and each class of a batch has the mass
        that it has among the points; else both are as they fall, and what a class has too many of is brought to points
        of other classes, unless each is transported by itself.
    microbatches : int or "auto", default="auto"
        Parts of a batch. Each has a transport problem of its own, and its gradient is clipped by itself; they are added
        up. A record is in one of them: the more, the larger the sum at the same noise. "auto" is as many as give each
        as many records as there are points, by the released number of records.
    directions : bool, default=False
        Whether the private gradient is that in the directions in which the records vary most, which are released first
        on a tenth of the budget: the noise then has fewer coordinates. Beyond them points are drawn to the released
        mean. With ``cost="sqeuclidean"`` alone.
    start : Semidual or None, default=None
        Where the network starts: at what the semidual mechanism with these settings releases, which it learns in
        public; None for a network that knows nothing. Directions are then those of that release.
    start_share : float, default=0.5
        Share of the budget that ``start`` takes.
    latent_dim : int or "auto", default="auto"
        Normal numbers that the network makes a record of; "auto" is the network's own number: 16 of ``"dcgan"``, 32 of
        all others.

    Raises
    ------
    TypeError, ValueError
        If a setting is of the wrong type or out of range; the message names it.

    References
    ----------
    .. [1] Cao, Bie, Vahdat, Fidler, Kreis, "Don't Generate Me: Training Differentially Private Generative Models with
       Sinkhorn Divergence", NeurIPS 2021, arXiv 2111.01177.

    Examples
    --------
    >>> from sinkgen import DPSinkhornGenerator
    >>> gen = DPSinkhornGenerator(mechanism=Batch(points=50))
    >>> gen.set_params(mechanism__steps=20_000).mechanism.steps
    20000
    """

    name: ClassVar[str] = "batch"

    steps: int = 3000
    sampling_rate: float = 0.01
    clip: float | str = AUTO
    reg: float = 0.05
    debias: float | None = 0.2
    points: int = 20
    label_weight: float | str | None = AUTO
    learning_rate: float = 1e-3
    momentum: float = 0.9
    iterations: int | None = 20
    balanced: bool = True
    microbatches: int | str = AUTO
    directions: bool = False
    start: Semidual | None = None
    start_share: float = 0.5
    latent_dim: int | str = AUTO

    def __post_init__(self):
        check_count("steps", self.steps)
        check_real("sampling_rate", self.sampling_rate, low=0, high=1, include_low=False)
        if not is_auto(self.clip):
            check_positive("clip", self.clip)
        check_positive("reg", self.reg)
        if self.debias is not None:
            check_real("debias", self.debias, low=0, high=1)
        check_count("points", self.points)
        if self.label_weight is None and not can_part_classes(self):
            raise BadValueError(f"label_weight=None needs a number of iterations, and reg of at least {LEAST_REG}")
        if not (self.label_weight is None or is_auto(self.label_weight)):
            check_real("label_weight", self.label_weight, low=0, high=math.inf, include_high=False)
        check_positive("learning_rate", self.learning_rate)
        check_real("momentum", self.momentum, low=0, high=1, include_high=False)
        if self.iterations is not None:
            check_count("iterations", self.iterations)
        parts = 1 if is_auto(self.microbatches) else check_count("microbatches", self.microbatches)
        if parts > 1 and self.sampling_rate == 1:
            raise BadValueError("microbatches are parts of a sample: sampling_rate must be below 1")
        check_boolean("balanced", self.balanced)
        check_boolean("directions", self.directions)
        if not (self.start is None or isinstance(self.start, Semidual)):
            raise BadTypeError(f"start must be sinkgen.Semidual(...) or None, got {type(self.start).__name__}")
        if self.start is not None and self.start.sampling_rate != 1:
            raise BadValueError("start must see all records: its sampling_rate must be 1")
        check_real("start_share", self.start_share, low=0, high=1, include_low=False, include_high=False)
        if not is_auto(self.latent_dim):
            check_count("latent_dim", self.latent_dim)


def can_part_classes(settings):
    """Whether each class can be transported by itself: that takes few iterations, of a kernel without far corners."""
    return settings.iterations is not None and settings.reg >= LEAST_REG
