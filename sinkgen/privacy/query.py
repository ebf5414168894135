"""What may be asked of private records: sums of bounded contributions, clipped, and exact in any order."""

import copy
import math
from typing import Protocol

import torch

# Clipped norms are computed in floating point: staying this much below the bound keeps rounding on the safe side.
ROUNDING_MARGIN = 1 - 2.0**-18
# Sums are of multiples of about this share of the sensitivity: in double precision they are then exact, in any order.
GRID = 2.0**-36


class Query(Protocol):
    """A statistic of a batch of records.

    Attributes
    ----------
    size : int
        Length of its value: public, the same for every batch, the empty one included.
    sensitivity : float
        Largest Euclidean distance between its values on two batches that differ in one record.
    """

    size: int
    sensitivity: float

    def evaluate(self, chunks) -> torch.Tensor:
        """The value, (size,), on a batch that comes in chunks."""

    def over(self, source, draw) -> torch.Tensor:
        """The value, (size,), on what ``draw`` takes of a source; on all of it if None."""

    def read(self, value):
        """The released value in the shape that its user wants; post-processing."""


class SumQuery:
    """A query whose value is a sum over records, so that its sensitivity is the bound of one contribution.

    The sum of each chunk is rounded to a multiple of a power of two, near ``2^-36`` of the sensitivity. So sums of
    chunks do not depend on their order, or on who adds them up: they are exact in double precision as long as no
    coordinate exceeds 131,072 times the sensitivity, and beyond that rounded as any sum is. Whole counts are left as
    they are; of other values the rounding stays within :data:`ROUNDING_MARGIN`.
    """

    size: int
    sensitivity: float

    def contribution(self, records) -> torch.Tensor:
        """Sum of the records' clipped contributions, (size,)."""
        raise NotImplementedError

    def evaluate(self, chunks):
        """Sum over all chunks, in double precision; each chunk's where its records lie."""
        total = torch.zeros(self.size, dtype=torch.float64)
        for records in chunks:
            if len(records):
                total += _on_grid(self._sum(records), self.sensitivity)
        return total

    def _sum(self, records):
        """The contribution of a chunk; where it needs more memory than there is, that of its halves."""
        try:
            return self._at(records.values.device).contribution(records).to("cpu", torch.float64)
        except (MemoryError, RuntimeError) as error:
            if len(records) == 1 or not _is_out_of_memory(error):
                raise
        half = len(records) // 2  # out here, where the error no longer holds on to what had been allocated
        return self._sum(records.take(slice(0, half))) + self._sum(records.take(slice(half, None)))

    def over(self, source, draw):
        """Each shard's sum is made where the shard lies; the coordinator gets the sum of them."""
        return source.reduce(self.evaluate, sum, draw)

    def _at(self, device):
        if str(device) == "cpu":
            return self
        moved = copy.copy(self)
        tensors = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, torch.Tensor)}
        vars(moved).update(tensors)
        return moved

    def read(self, value):
        """The value as it is."""
        return value


def _on_grid(value, sensitivity):
    unit = GRID * 2.0 ** math.frexp(sensitivity)[1]
    return unit * torch.round(value / unit)


def _is_out_of_memory(error):
    # Torch raises RuntimeError, of a class of its own only for devices and in some versions.
    signs = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in signs)


def clip_factors(norms, bound):
    """What each vector is multiplied with so that its norm is at most ``bound``; 0 where the norm is not finite.

    Parameters
    ----------
    norms : Tensor of shape (m,)
    bound : float

    Returns
    -------
    Tensor of shape (m,), in [0, 1]

    Examples
    --------
    >>> clip_factors(torch.tensor([1.0, 4.0, torch.inf]), 2.0)
    tensor([1.0000, 0.5000, 0.0000])
    """
    factors = ROUNDING_MARGIN * bound / norms.clamp_min(torch.finfo(norms.dtype).tiny)
    return factors.clamp_max_(1).nan_to_num_(0.0)


def clip_rows(rows, bound):
    """Rows (m, d) with their norms clipped to ``bound``; a row that is not finite becomes zero.

    Examples
    --------
    >>> clip_rows(torch.tensor([[3.0, 4.0], [torch.inf, 0.0], [0.0, 1.0]]), 2.5)
    tensor([[1.5000, 2.0000],
            [0.0000, 0.0000],
            [0.0000, 1.0000]])
    """
    factors = clip_factors(rows.norm(dim=1), bound)[:, None]
    return torch.where(factors > 0, rows * factors, torch.zeros_like(rows))
