"""What may be asked of private records: sums of bounded contributions, clipped, and exact in any order."""

import copy
import functools
import itertools
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import torch

from sinkgen._device import sent
from sinkgen.inference.counts import NoisyCounts
from sinkgen.records import CHUNK, TOGETHER, Draw, Records, RecordSource, concatenated, sorted_by_weight

# Norms are computed and clipped in single precision, and sums of chunks are rounded to a grid: staying this much below
# the bound keeps both on the safe side.
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

    def reach(self, max_rows: int) -> float:
        """Largest distance between its values on two batches of which one has a person more, of so many records."""

    def evaluate(self, chunks: Iterator[Records]) -> torch.Tensor:
        """The value, (size,), on a batch that comes in chunks."""

    def over(self, source: RecordSource, draw: Draw | None) -> torch.Tensor:
        """The value, (size,), on what ``draw`` takes of a source; on all of it if None."""

    def read(self, value: torch.Tensor) -> Any:
        """The released value in the shape that its user wants; post-processing."""


@runtime_checkable
class Counting(Protocol):
    """A query whose value says how many records lie in cells of a table's columns."""

    def counted(self, what: str, value: torch.Tensor, scale: float) -> list[NoisyCounts]:
        """The counts in a released value, whose noise has the standard deviation ``scale``; post-processing."""


class SumQuery:
    """A query whose value is a sum over records, so that its sensitivity is the bound of one contribution.

    A record more moves all that come behind it by one place, and so changes what every chunk holds: the sums of all
    chunks are then rounded anew. So contributions are summed in double precision, or are whole counts, whose sums are
    exact; and the sum of each chunk is rounded to a multiple of a power of two, near ``2^-36`` of the sensitivity. Sums
    of chunks then do not depend on their order, or on who adds them up: they are exact in double precision as long as
    no coordinate exceeds 131,072 times the sensitivity, and beyond that rounded as any sum is. Whole counts are left as
    they are; of other values all of that rounding together stays within :data:`ROUNDING_MARGIN`, see docs/proofs.md.

    Where records have weights, each contribution is multiplied by its record's: here, where those of a weight are
    summed together; or where it is made, by a query that ``weighs``, which takes less time if its sums are small.
    """

    size: int
    sensitivity: float
    asked: tuple
    weighs = False

    def __new__(cls, *args, **kwargs):
        """Keep what it is made with: who is sent these makes the same query, and bounds it by what is proven here."""
        query = super().__new__(cls)
        query.asked = (args, kwargs)
        return query

    def contribution(self, records: Records) -> torch.Tensor:
        """Sum of the records' clipped contributions, (size,): whole counts, or summed in double precision."""
        raise NotImplementedError

    def evaluate(self, chunks):
        """Sum over all chunks, in double precision, where the records lie; it is fetched from there once."""
        total = None
        at = functools.lru_cache(self._at)  # what is public travels to a device once a release
        for records in several(chunks):
            parts = [
                weight * self._sum(part.take(slice(start, start + CHUNK)), at)
                for weight, part in ([(1.0, records)] if self.weighs else by_weight(records))
                for start in range(0, len(part), CHUNK)
            ]
            if parts:
                value = on_grid(sum(parts), self.sensitivity)
                total = value if total is None else total.add_(value)
        return torch.zeros(self.size, dtype=torch.float64) if total is None else total.cpu()

    def reach(self, max_rows):
        """By the triangle inequality: so many times what a record can move the sum."""
        return max_rows * self.sensitivity

    def _sum(self, records, at):
        """The contribution of a chunk; where it needs more memory than there is, that of its halves.

        Likewise where it is not finite, down to the records that made it so: such a record contributes nothing,
        whatever lies beside it. A sum is looked at once, here, since a look at numbers on a device waits for them.
        """
        try:
            with full_precision():
                value = at(records.values.device).contribution(records).double()
            if torch.isfinite(value).all():
                return value
            if len(records) == 1:
                return torch.zeros_like(value)
        except (MemoryError, RuntimeError) as error:
            if len(records) == 1 or not _is_out_of_memory(error):
                raise
        half = len(records) // 2  # out here, where the error no longer holds on to what had been allocated
        return self._sum(records.take(slice(0, half)), at) + self._sum(records.take(slice(half, None)), at)

    def over(self, source, draw):
        """Each shard's sum is made where the shard lies; the coordinator gets the sum of them."""
        return source.reduce(self.evaluate, sum, draw)

    def _at(self, device):
        if str(device) == "cpu":
            return self
        moved = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, torch.Tensor):
                setattr(moved, name, sent(value, device))
            elif isinstance(value, torch.nn.Module):  # a copy: a module moves in place
                setattr(moved, name, copy.deepcopy(value).to(device))
        return moved

    def read(self, value):
        """The value as it is."""
        return value


_pinning = threading.Lock()
_pinned: list = []  # a list of precisions to go back to, for each context that is open


@contextmanager
def full_precision():
    """Context in which products of single precision are not made of shorter numbers, whatever the user's script says.

    Clips are computed from such products. The setting is that of the process: the last of several threads restores it.
    """
    with _pinning:
        _pinned.append(_precisions() if not _pinned else None)
        _set_precisions(["ieee", "ieee"] if _HAS_PLACES else "highest")
    try:
        yield
    finally:
        with _pinning:
            former = _pinned[0]
            _pinned.pop()
            if not _pinned:
                _set_precisions(former)


_PLACES = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul) if hasattr(torch.backends.mkldnn, "matmul") else ()
_HAS_PLACES = bool(_PLACES) and all(hasattr(place, "fp32_precision") for place in _PLACES)  # torch 2.9 and newer


def _precisions():
    if _HAS_PLACES:
        return [place.fp32_precision for place in _PLACES]
    return torch.get_float32_matmul_precision()


def _set_precisions(wanted):
    if not _HAS_PLACES:
        torch.set_float32_matmul_precision(wanted)
        return
    for place, precision in zip(_PLACES, wanted, strict=True):
        place.fp32_precision = precision


def several(chunks):
    """The chunks; of encoded records with weights, a few together, for each is cut into as many parts as has weights.

    Examples
    --------
    >>> from sinkgen.records import Records
    >>> [len(part) for part in several(Records(torch.zeros(n, 1), groups=torch.ones(n, 4)) for n in (9, 9, 9, 9, 5))]
    [36, 5]
    """
    chunks = iter(chunks)
    for records in chunks:
        if records.groups is None or not isinstance(records.values, torch.Tensor):
            yield records
        else:
            yield concatenated([records, *itertools.islice(chunks, TOGETHER - 1)])


def by_weight(records):
    """Pairs of a weight and the records that have it; without those of weight 0, or of no weight at all.

    Examples
    --------
    >>> from sinkgen.records import Draw, RecordSource, Records
    >>> shares = torch.tensor([[0, 0.5, 1], [1, 0.0, 0], [0, 0.5, 0], [2, 1.0, 1]])
    >>> [(weight, part.values.tolist()) for weight, part in by_weight(Records(torch.arange(4), groups=shares))]
    [(0.5, [0, 2]), (1.0, [3])]
    """
    if records.groups is None:
        return [(1.0, records)] if len(records) else []
    records = sorted_by_weight(records)
    found, counts = records.groups[:, 1].cpu().unique_consecutive(return_counts=True)
    ends = counts.cumsum(0).tolist()
    slices = [slice(end - count, end) for end, count in zip(ends, counts.tolist(), strict=True)]
    return [(weight, records.take(own)) for weight, own in zip(found.tolist(), slices, strict=True) if weight]


def times_weights(contributions, records):
    """Contributions (m, ...), in double precision, each multiplied by its record's weight, in place."""
    if records.groups is not None:
        contributions *= records.groups[:, 1].view(-1, *[1] * (contributions.dim() - 1))
    return contributions


def on_grid(value, sensitivity):
    """The nearest multiple of a power of two, near ``2^-36`` of the sensitivity: sums of such are exact."""
    unit = grid_unit(sensitivity)
    return unit * torch.round(value / unit)


def grid_unit(sensitivity):
    """The power of two that sums are multiples of."""
    return GRID * 2.0 ** math.frexp(sensitivity)[1]


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
    return (rows * factors).masked_fill_(~(factors > 0), 0.0)  # also where a factor is no number
