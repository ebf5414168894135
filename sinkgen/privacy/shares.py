"""What an owner of records gives of them where no one holds all: its sum, and its share of the noise, as whole numbers.

With :mod:`sinkgen.privacy.mechanism` this is all that evaluates queries. What comes from here is not private enough on
its own, and must not leave the owner but under :mod:`sinkgen.privacy.masks`.
"""

import math

import numpy as np

from sinkgen.exceptions import BadValueError, FitError
from sinkgen.privacy.query import SumQuery, grid_unit
from sinkgen.privacy.sealed import SealedSource, unseal
from sinkgen.privacy.streams import Streams

RANGE = 2.0**61  # units of the grid, to which all owners' sums, and their noise, have to keep


class NoiseShares:
    """An owner's part in the noisy sums of all owners.

    Parameters
    ----------
    releases : sequence of GaussianRelease
        All that may be asked.
    key : bytes
        Secret of the owner, of this fit alone.
    honest : int
        How many owners' noise there is at least in any sum, beside that of owners who tell theirs.
    owners : int
        How many there are.

    Notes
    -----
    With noise of variance ``sigma^2 / honest`` each, the sum of that of ``honest`` owners has the variance of the one
    mechanism. It is rounded to the grid that sums are on, ``2^-36`` of the sensitivity: sums of owners are then exact
    modulo 2^64. See docs/proofs.md.
    """

    def __init__(self, releases, key, honest, owners):
        self._rows = {row.what: row for row in releases}
        self._streams, self._honest, self._largest = Streams(key, secure=True), honest, RANGE / owners

    def check(self, what: str, step: int) -> None:
        """Raise ValueError unless it is a step of what was agreed on."""
        row = self._rows.get(what)
        if row is None or not 0 <= step < row.steps:
            raise BadValueError(f"step {step} of {what!r} is no release that was agreed on")

    def answer(self, what: str, step: int, query: SumQuery, source: SealedSource) -> np.ndarray:
        """The owner's sum with its share of the noise, in units of the grid: uint64, modulo 2^64.

        Raises
        ------
        ValueError
            If it was not agreed on.
        RuntimeError
            If the sum is too large to be exact.
        """
        self.check(what, step)
        unit = grid_unit(query.sensitivity)
        value = query.over(unseal(source), None).numpy() / unit
        scale = self._rows[what].noise_multiplier * query.reach(1) / math.sqrt(self._honest)
        noise = np.rint(scale / unit * self._streams.normal(what, step, value.shape).numpy())
        if not all((np.abs(part) < self._largest).all() for part in (value, noise)):
            raise FitError(f"the sum of {what!r}, or its noise, is not finite, or too large to be added up")
        return (np.rint(value).astype(np.int64) + noise.astype(np.int64)).view(np.uint64)


def value_of(words: np.ndarray, sensitivity: float) -> np.ndarray:
    """What the sum of all owners' answers, modulo 2^64, stands for: doubles."""
    return words.view(np.int64).astype(np.float64) * grid_unit(sensitivity)
