"""What a private stage works with, and what it gives back: the same for every mechanism."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from sinkgen.data.prior import Prior
from sinkgen.inference.moments import NoisyMoments
from sinkgen.ot.costs import Cost
from sinkgen.privacy.mechanism import GaussianMechanism
from sinkgen.privacy.sealed import SealedSource


class Schedule(NamedTuple):
    """The releases that a mechanism will ask for, before any is made.

    Attributes
    ----------
    settings : object
        The mechanism's public settings.
    shares : dict of str to float
        Share of the budget (of mu squared) of each release; they need not sum to 1.
    steps : dict of str to int
        How often a release is made; once where it is not named.
    sampled : (str, float) or None
        Name and sampling rate of the one release that sees Poisson samples.
    """

    settings: Any
    shares: Mapping[str, float]
    steps: Mapping[str, int]
    sampled: tuple[str, float] | None = None


class StateCounts(NamedTuple):
    """Noisy counts of the states of a column, released when these were learned.

    Attributes
    ----------
    values, variances : Tensor of shape (n_states,)
        The variance of the noise is infinite where nothing was released.
    lacks_none : bool
        Whether cells might have been missing, and these counts say that none are.
    """

    values: torch.Tensor
    variances: torch.Tensor
    lacks_none: bool = False

    def joined(self, counts, variance):
        """The best of other counts of the same records, of noise of a variance, and these; and the new variances."""
        # 0 where these say nothing, or both are exact.
        share = variance / (variance + self.variances).clamp_min(torch.finfo(torch.float64).tiny)
        return torch.where(share > 0, counts + share * (self.values - counts), counts), variance * (1 - share)


@dataclass(frozen=True)
class Stage:
    """What a mechanism trains with.

    Attributes
    ----------
    source : SealedSource
        Encoded records with classes. It can be mapped, and asked about by the mechanism.
    counts : Tensor of shape (n_classes,)
        Noisy number of records of each class.
    form : NumericFormat or TableFormat
        Public facts of the records.
    mechanism : GaussianMechanism
        Charged with the releases of the schedule.
    settings : object
        The schedule's.
    cost : Cost
    backend : str
        Who solves transport problems.
    generator : str or callable
        What draws, as the estimator was given it.
    device : torch.device
    random : torch.Generator
        Public stream: starts and latents.
    progress : callable
        Takes the name of a stage; what it returns wraps the range of its steps.
    known : dict of int to StateCounts
        Of columns of tables, by their places, whose states were learned.
    counted : dict of int to Counted
        What is known of columns of numbers that were sought, by their places.
    prior : Prior or None
        Public records, where there are some.
    """

    source: SealedSource
    counts: torch.Tensor
    form: Any
    mechanism: GaussianMechanism
    settings: Any
    cost: Cost
    backend: str
    generator: "str | Callable"
    device: torch.device
    random: torch.Generator
    progress: Callable[[str], Callable]
    known: Mapping[int, StateCounts] = field(default_factory=dict)
    counted: Mapping[int, Any] = field(default_factory=dict)
    prior: Prior | None = None


class Trained(NamedTuple):
    """What a mechanism makes of its releases.

    Attributes
    ----------
    generator : torch.nn.Module
        Draws encoded records.
    class_weights : Tensor of shape (n_classes,)
        Frequency of each class; sum 1.
    moments : NoisyMoments or None
        Where they were released.
    remarks : tuple of str
        What of the records as a whole does not stand out of the noise, and what to do.
    counted : str
        The release of how many records have each state of a column of a table.
    """

    generator: torch.nn.Module
    class_weights: torch.Tensor
    moments: NoisyMoments | None = None
    remarks: tuple[str, ...] = ()
    counted: str = "marginals"
