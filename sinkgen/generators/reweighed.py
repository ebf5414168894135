"""Draws of a mixture with the weights by which they have counts that may have been the true ones. Public."""

import math
from typing import NamedTuple

import torch

from sinkgen._groups import count_cells
from sinkgen.generators.cliques import Clique
from sinkgen.generators.product import stratified
from sinkgen.generators.within import Records, ranked

SWEEPS = 12  # over all counts, in which draws are brought to agree with them
HOLD = 1.0  # inverse variance of what a log-probability moves by, before anything is known of it
LEAST_GAIN = 0.02  # of counts that are looked at: of others hardly anything stands out of the noise
LARGEST = 4.0  # of a record's log-weight
TINY = 1e-9


class Known(NamedTuple):
    """Released shares of a clique's cells, (size,), the deviation of their noise, and the clique."""

    clique: Clique
    shares: torch.Tensor
    noise: float


class Reweighed:
    """Draws records of a mixture for counts that differ from the released ones as the true ones may.

    The true count of a cell is near the released one, by the same noise, as far as what stands out of the noise at all
    goes (James, Stein). Records of the model get the weights, nearest to even, with which they have such counts, and
    are drawn by them.

    Parameters
    ----------
    release : Release
    n_records : int
    """

    is_vague = False  # all pairs of a mixture's columns were counted

    def __init__(self, release, n_records):
        self._release = release
        self._known = [
            Known(Clique(part.columns, part.groups), part.counts.flatten().double() / n_records,
                  max(part.noise / n_records, TINY))
            for part in release.counts if part.columns
        ]  # fmt: skip

    def draw(self, n, random):
        """The records of one data set: each lies where a record of the model does."""
        release = self._release
        labels = stratified(release.class_weights.double(), n, random)[torch.randperm(n, generator=random)]
        places = release.generator.draw(labels, random)
        codes = torch.cat([release.form.states(places.floor().long()).T, labels[None]]).contiguous()
        rows = stratified(self._weights(codes, random), n, random)[torch.randperm(n, generator=random)]
        codes, places, n_classes = codes[:, rows], places[rows].T, len(release.class_weights)
        ranks = {j: ranked(codes[j] * n_classes + codes[-1], place, random) for j, place in enumerate(places)}
        return Records(codes, ranks)

    def _weights(self, codes, random):
        """Weights (m,) of records (n_columns + 1, m) with which they have counts that may have been the true ones."""
        wanted = [(known, *self._target(known, codes, random)) for known in self._known]
        parts = [(known, target, known.clique.cells(codes)) for known, target, gain in wanted if gain > LEAST_GAIN]
        moved = [torch.zeros_like(target) for _, target, _ in parts]
        logits = torch.zeros(codes.shape[1], dtype=torch.float64)
        for _ in range(SWEEPS):
            for q, (known, target, cells) in enumerate(parts):
                weights = logits.softmax(0)
                has = torch.zeros_like(target).index_add_(0, cells, weights)
                precision = known.noise**-2
                slope = has * (target - has) * precision - HOLD * moved[q]
                step = (slope / (has.square() * precision + HOLD)).clamp(-1, 1)
                moved[q] += step
                logits += step[cells]
            logits.clamp_(-LARGEST, LARGEST)
        return logits.softmax(0)

    def _target(self, known, codes, random):
        """Shares of a clique's cells that may be the true ones, and the share of what was released that is no noise."""
        shape = known.clique.shape
        has = count_cells([known.clique], codes)[0].double() / codes.shape[1]
        gain = _gain(known.shares.view(shape), has.view(shape), known.noise) if len(shape) > 1 else 1.0
        noise = known.noise * torch.randn(has.shape, generator=random, dtype=torch.float64)
        target = has + gain * (known.shares - has) + math.sqrt(gain) * noise
        return target + (1 - target.sum()) / len(target), gain


def _gain(shares, has, noise):
    """Share of the square of what is released beyond what single columns say that is no noise (James, Stein)."""
    difference = shares - independent(has)
    for axis in range(shares.dim()):
        difference = difference - difference.mean(axis, keepdim=True)
    freedom = math.prod(n - 1 for n in shares.shape)
    return float((1 - freedom * noise**2 / difference.square().sum().clamp_min(1e-30)).clamp(0, 1))


def independent(shares):
    """Shares of cells if columns were independent.

    Examples
    --------
    >>> independent(torch.tensor([[0.5, 0.0], [0.0, 0.5]]))
    tensor([[0.2500, 0.2500],
            [0.2500, 0.2500]])
    """
    out = torch.ones((), dtype=shares.dtype)
    for axis in range(shares.dim()):
        others = [other for other in range(shares.dim()) if other != axis]
        out = out[..., None] * shares.sum(others)
    return out
