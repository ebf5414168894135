"""Two worlds side by side, one with a record more: what a fit asks of both, and how likely its answers are in each."""

from typing import Any

import numpy as np

from sinkgen.privacy.mechanism import GaussianMechanism
from sinkgen.records import joined


class Twins:
    """Records without and with one more, the canary; a fit sees those of one world.

    Parameters
    ----------
    others, canary : RecordSource
    is_there : bool
        Whether the canary is in the world that is seen.
    """

    def __init__(self, others: Any, canary: Any, is_there: bool) -> None:
        self.others, self.canary, self.is_there = others, canary, is_there

    def map(self, function):
        """The same records after ``function``, which acts on each record alone."""
        return Twins(self.others.map(function), self.canary.map(function), self.is_there)

    def reduce(self, fold, merge, draw=None):
        """What is left of one pass over the world that is seen."""
        return merge([fold(iter(self.gather(draw)))])

    def gather(self, draw=None):
        """The chunks of the world that is seen."""
        return joined([self.others.gather(draw), self.canary.gather() if self.is_there else []])

    def chunks(self, draw=None):
        """The same, one after the other."""
        return iter(self.gather(draw))

    def values(self, query, draw):
        """A query's value without the canary, and with it, each asked as the mechanism asks."""
        return [query.over(Twins(self.others, self.canary, is_there), draw) for is_there in (False, True)]


class WatchedMechanism(GaussianMechanism):
    """A mechanism that answers for one of two worlds, and keeps how much likelier its answers are with the canary.

    The adversary chooses no query, but knows all other records, also which of them a batch holds, and what each query
    gives in both worlds, for queries follow from what was released before. The noise is normal and of known size: so
    the likelihood ratio is known, and no other statistic tells more (Neyman, Pearson).

    Parameters
    ----------
    ratios : list of float
        What is released adds its log-likelihood ratio.
    parameters
        As for :class:`~sinkgen.privacy.mechanism.GaussianMechanism`.
    """

    def __init__(self, ratios: list, *parameters: Any, **named: Any) -> None:
        super().__init__(*parameters, **named)
        self._ratios = ratios
        self._coins = np.random.default_rng(list(self._journal.key))  # whether the canary is drawn

    def _noisy(self, what, step, query, records, scale):
        rate = self._rows[what].sampling_rate
        draw = self._draw(what, step)
        without, with_canary = records.values(query, draw)
        is_in = records.is_there and (rate == 1 or self._coins.random() < rate)
        value = (with_canary if is_in else without) + self._noise(what, step, without.shape, scale)
        difference = with_canary - without
        ratio = float(difference @ (value - (without + with_canary) / 2)) / max(scale, 1e-300) ** 2
        self._ratios.append(float(np.logaddexp(np.log1p(-rate), np.log(rate) + ratio)) if rate < 1 else ratio)
        return value
