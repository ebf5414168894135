"""Counts that were released, with the noise that they have: what may be concluded rests on them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

LEAST_PRECISION = 1e-20
LEAST_NOISE = 1e-9


class NoisyCounts(NamedTuple):
    """How many records lie in each cell of a few columns, as it was released.

    Counts are unbiased: they are neither rounded nor kept from being negative. The noise of a cell is independent of
    that of all others, also of other counts.

    Attributes
    ----------
    what : str
        Name of the release in the statement.
    columns : tuple of int
        Places of the columns, rising; the label's is the number of columns.
    groups : tuple of LongTensor, each of shape (n_states,)
        Group of each state of each column.
    counts : Tensor, its shape the numbers of groups
    noise : float
        Standard deviation of a count's noise.

    Examples
    --------
    >>> pair = NoisyCounts("pairs", (0, 1), (torch.arange(2), torch.zeros(3).long()), torch.tensor([[4.0], [6.0]]), 2.0)
    >>> pair.within((1,)).counts.tolist(), round(pair.within((1,)).noise, 2)
    ([10.0], 2.83)
    """

    what: str
    columns: tuple[int, ...]
    groups: tuple[torch.Tensor, ...]
    counts: torch.Tensor
    noise: float

    def within(self, columns: tuple[int, ...]) -> "NoisyCounts":
        """The counts of some of the columns, summed over the others."""
        kept = [i for i, j in enumerate(self.columns) if j in columns]
        others = [i for i in range(len(self.columns)) if i not in kept]
        counts = self.counts.sum(others) if others else self.counts
        noise = self.noise * (self.counts.numel() / max(1, counts.numel())) ** 0.5
        return NoisyCounts(
            self.what, tuple(self.columns[i] for i in kept), tuple(self.groups[i] for i in kept), counts, noise
        )

    def to_dict(self) -> dict[str, Any]:
        """All but numbers that :func:`flat_counts` holds; JSON."""
        shape = {"columns": list(self.columns), "shape": list(self.counts.shape), "states": list(map(len, self.groups))}
        return {"what": self.what, "noise": self.noise, **shape}

    def has_groups_of(self, other: "NoisyCounts") -> bool:
        """Whether its cells are the same."""
        same = zip(self.groups, other.groups, strict=True) if self.columns == other.columns else []
        return self.columns == other.columns and all(torch.equal(a, b) for a, b in same)


def together(parts: list[NoisyCounts]) -> NoisyCounts:
    """Counts of the same cells as one, each by the inverse of its variance.

    Examples
    --------
    >>> one, other = (NoisyCounts("columns", (0,), (torch.arange(1),), torch.tensor([n]), 1.0) for n in (4.0, 6.0))
    >>> together([one, other]).counts.tolist()
    [5.0]
    """
    precisions = [max(part.noise, 1e-9) ** -2 for part in parts]
    weighted = zip(precisions, parts, strict=True)
    counts = sum((of * part.counts for of, part in weighted), torch.zeros(())) / sum(precisions)
    names = " and ".join(dict.fromkeys(part.what for part in parts))
    noise = 0.0 if not any(part.noise for part in parts) else sum(precisions) ** -0.5
    return parts[0]._replace(what=names, counts=counts, noise=noise)


def pooled(counts: Sequence[NoisyCounts]) -> tuple[NoisyCounts, ...]:
    """The same counts, of which none has the cells of another."""
    kinds: dict[Any, list[NoisyCounts]] = {}
    for part in counts:
        key = (part.columns, part.counts.shape, tuple(of.numpy().tobytes() for of in part.groups))
        kinds.setdefault(key, []).append(part)
    return tuple(together(parts) for parts in kinds.values())


class StateEstimate(NamedTuple):
    """What several counts say together of a column's states.

    Attributes
    ----------
    numbers : Tensor of shape (n_states,)
        Of records.
    covariance : Tensor of shape (n_states, n_states)
        Of their noise; very large where nothing was counted.
    """

    numbers: torch.Tensor
    covariance: torch.Tensor


def estimate_of(
    column: int, values: torch.Tensor, variances: torch.Tensor, counts: Sequence[NoisyCounts]
) -> StateEstimate:
    """How many records are in each state of a column, by all that counts them together: weighted least squares.

    Parameters
    ----------
    column : int
    values, variances : Tensor of shape (n_states,)
        Other counts of the states, and the variances of their noise; infinite where there are none.
    counts : sequence of NoisyCounts

    Examples
    --------
    >>> own = NoisyCounts("columns", (0,), (torch.arange(2),), torch.tensor([4.0, 6.0]), 2.0)
    >>> found = estimate_of(0, torch.tensor([0.0, 7.0]), torch.tensor([math.inf, 4.0]), [own])
    >>> found.covariance.diag(), found.numbers
    (tensor([4., 2.], dtype=torch.float64), tensor([4.0000, 6.5000], dtype=torch.float64))
    """
    weights = variances.double().clamp_min(1e-18).reciprocal()
    precision, weighed = torch.diag(LEAST_PRECISION + weights), weights * values.double()
    for part in counts:
        if column in part.columns:
            part = part.within((column,))
            groups, weight = torch.nn.functional.one_hot(part.groups[0]).double(), max(part.noise, 1e-9) ** -2
            precision += weight * groups @ groups.T
            weighed += weight * groups @ part.counts.double()
    covariance = torch.linalg.inv(precision)
    return StateEstimate(covariance @ weighed, covariance)


def pooled_column(
    values: torch.Tensor, noise: float, others: Sequence[tuple[torch.Tensor, torch.Tensor, float]]
) -> tuple[torch.Tensor, float]:
    """A column's states by their own counts, and by those of groups of them: weighted least squares.

    Parameters
    ----------
    values : Tensor of shape (n_states,)
        Noisy counts.
    noise : float
        Standard deviation of the noise of each.
    others : sequence of (LongTensor of shape (n_states,), Tensor of shape (n_groups,), float)
        Groups of the states, their noisy counts, and the noise of these.

    Returns
    -------
    Tensor of shape (n_states,)
    float
        Root mean square of the noise of its entries.

    Examples
    --------
    >>> pooled_column(torch.tensor([4.0, 6.0]), 2.0, [(torch.arange(2), torch.tensor([6.0, 6.0]), 2.0)])[0].tolist()
    [5.0, 6.0]
    """
    variance = max(noise, LEAST_NOISE) ** 2
    pulls, factors = values.double() / variance, [torch.zeros(len(values), 0, dtype=torch.float64)]
    for groups, counts, own in others:
        own = max(own, LEAST_NOISE) ** 2
        members = torch.nn.functional.one_hot(groups).double()
        factors.append(members / own**0.5)
        pulls = pulls + members @ counts.double() / own
    # The inverse of a precision matrix, which is diagonal but for a factor of few columns (Woodbury).
    factor = torch.cat(factors, 1)
    inner = torch.eye(factor.shape[1], dtype=torch.float64) + variance * factor.T @ factor
    gain = variance**2 * torch.linalg.solve(inner, factor.T)
    mean = variance * pulls - factor @ (gain @ pulls)
    return mean, float((variance - (factor * gain.T).sum(1)).mean().clamp_min(0).sqrt())


def flat_counts(counts: Sequence[NoisyCounts]) -> dict[str, torch.Tensor]:
    """The numbers of all counts, for a file: ``values`` and ``groups``."""
    values = [part.counts.float().flatten() for part in counts]
    groups = [of.int() for part in counts for of in part.groups]
    return {"values": torch.cat([torch.zeros(0), *values]), "groups": torch.cat([torch.zeros(0).int(), *groups])}


def counts_from(rows: Sequence[Mapping[str, Any]], numbers: Mapping[str, torch.Tensor]) -> tuple[NoisyCounts, ...]:
    """The counts whose :meth:`NoisyCounts.to_dict` and :func:`flat_counts` these are.

    Examples
    --------
    >>> pair = NoisyCounts("pairs", (0, 1), (torch.arange(2), torch.zeros(3).long()), torch.tensor([[4.0], [6.0]]), 2.0)
    >>> counts_from([pair.to_dict()], flat_counts([pair]))[0].counts.tolist()
    [[4.0], [6.0]]
    """
    if not rows:
        return ()
    values = iter(numbers["values"].split([math.prod(row["shape"]) for row in rows]))
    groups = iter(numbers["groups"].long().split([n for row in rows for n in row["states"]]))
    return tuple(
        NoisyCounts(
            str(row["what"]), tuple(row["columns"]), tuple(next(groups) for _ in row["states"]),
            next(values).double().view(row["shape"]), float(row["noise"]),
        )
        for row in rows
    )  # fmt: skip
