"""Pairs of states across rows of a person: how alike rows of the same person are."""

from typing import NamedTuple

import torch

from sinkgen.privacy.queries.people import AcrossQuery
from sinkgen.training.tables.grouping import even_groups
from sinkgen.training.tables.people.groups import ACROSS, TINY, most_groups


class Across(NamedTuple):
    """Noisy pairs across rows.

    Attributes
    ----------
    shares : Tensor of shape (E, E)
        Of the persons, of pairs of groups of states.
    weight : Tensor of shape (E, E)
        Inverse variance.
    coarse : Tensor of shape (D + n_classes, E)
        Which group each state of each column, and each class, belongs to: 0 or 1.
    excess : float
        How far rows of a person are from independent ones, squared, beyond noise, in units of it; about 0 where they
        are independent.
    """

    shares: torch.Tensor
    weight: torch.Tensor
    coarse: torch.Tensor
    excess: float = 0.0


def learn_across(source, form, one_way, people, mechanism):
    """Pairs of states across rows of a person, of the columns that change; None where there are none."""
    shares, constant, total = one_way.shares, people.constant, people.total
    n, n_classes, n_states = len(form.columns), len(shares), sum(form.widths)
    changing = [j for j in range(n) if not constant.columns[j]] + [n] * (n_classes > 1 and not constant.label)
    if not changing:
        return None
    parts = [*shares.sum(0)[:n_states].split(form.widths), shares.sum(1)]
    ordered = [*form.ordered, 0]
    noise = mechanism.noise_multiplier("across")
    n_pairs = len(changing) * (len(changing) + 1) / 2
    most = most_groups(ACROSS, people.several, noise, n_pairs)
    groups = [even_groups(parts[j], ordered[j], most) for j in changing]
    query = AcrossQuery(list(zip(changing, groups, strict=True)))
    noisy = mechanism.release("across", query, source) / total
    scale = noise * query.sensitivity / total
    coarse = torch.zeros(n_states + n_classes, len(noisy))
    starts, start = torch.tensor([0, *form.widths]).cumsum(0).tolist(), 0
    for j, of in zip(changing, groups, strict=True):
        coarse[starts[j] + torch.arange(len(of)), start + of] = 1.0
        start += int(of.max()) + 1
    variance = torch.full(noisy.shape, scale**2, dtype=torch.float64)
    halves = query.same & ~torch.eye(len(noisy), dtype=torch.bool)
    variance[halves] /= 4
    # Half: each pair stands twice in the symmetric matrix, but for those on the diagonal.
    weight = torch.where(torch.eye(len(noisy), dtype=torch.bool), 1.0, 0.5) / (variance + TINY / total)
    of_groups = torch.cat(parts).double().clamp_min(0) @ coarse.double()
    independent = people.several / total * of_groups[:, None] * of_groups
    squares = (noisy - independent).square().sum() / (variance + independent / total).sum().clamp_min(TINY**2)
    return Across(noisy.float(), weight, coarse, float(squares) - 1)
