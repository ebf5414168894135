"""What a label follows from only if several columns are seen together: asked where a mixture does not have it."""

import itertools
import math

import torch

from sinkgen._groups import count_cells
from sinkgen.generators.cliques import Clique, even_groups
from sinkgen.privacy.queries.tables import ParityQuery
from sinkgen.training.tables.structure import MOST_CANDIDATES, MUCH, NOISE_PER_CELL, STANDS_OUT, Asked, count_far

N_COLUMNS, N_GROUPS = 3, 2
DRAWS = 20_000
ROUNDS = 20
LEAST = 1e-3  # probability of a class in a cell
LARGEST = 8.0  # of what a cell adds to a class's logit
TINY = 1e-9


def n_candidates(n_columns):
    """How many sets of columns are looked at beside the label; 0 where these would be too many."""
    n = math.comb(n_columns, N_COLUMNS)
    return n if n <= MOST_CANDIDATES[4] else 0


def would_drown(n_columns, total, mechanism):
    """Whether the noise of "interaction parities" hides whatever is looked for in so many records."""
    noise = mechanism.noise_multiplier("interaction parities") * math.sqrt(n_candidates(n_columns))
    return MUCH * total < STANDS_OUT * noise


def learn_label_cliques(mixture, source, ordered, total, mechanism, random):
    """The mixture, whose labels also follow from columns together: where draws are far from the records in that.

    Parameters
    ----------
    mixture : ProductMixture
    source : RecordSource
        States (m, n_columns) with classes.
    ordered : sequence of int
        How many of each column's first states have an order.
    total : float
        Number of records.
    mechanism : GaussianMechanism
        Charged with "interaction parities" and "interactions".
    random : torch.Generator

    Returns
    -------
    ProductMixture
    """
    states = mixture.draw_states(DRAWS, random)
    labels = torch.multinomial(mixture.class_logits(states)[1].exp(), 1, generator=random)[:, 0]
    codes = torch.cat([states.T, labels[None]])
    frequencies = (mixture.weights.sum(1) @ mixture.frequencies).split(mixture.widths.tolist())
    asked = far_cliques(codes, [*frequencies, mixture.class_weights], source, ordered, total=total, mechanism=mechanism)
    return _with_cliques(mixture, asked, states, codes) if asked.cliques else mixture


def far_cliques(codes, frequencies, source, ordered, *, total, mechanism):
    """Release the counts of the label and of columns that say more of it together than draws have.

    Parameters
    ----------
    codes : LongTensor of shape (n_columns + 1, n)
        Draws, the label last.
    frequencies : sequence of Tensor
        Of the states of each column, the label last.
    source, ordered, total, mechanism
        As for :func:`learn_label_cliques`.

    Returns
    -------
    Asked
    """
    candidates = _candidates(frequencies, ordered)
    if not candidates:
        return Asked([], [], [])
    query = ParityQuery(candidates)
    share, drawn = total / codes.shape[1], query.parities(count_cells(candidates, codes)).double()
    noise = mechanism.noise_multiplier("interaction parities") * query.sensitivity
    lacks = mechanism.release("interaction parities", query, source) - share * drawn
    variance = noise**2 + total * (1 + share) * frequencies[-1].double()
    excess = lacks.abs().sum(1) - NOISE_PER_CELL * variance.sqrt().sum()
    doubt = noise * lacks.shape[1] ** 0.5
    return count_far(candidates, excess, doubt, source, codes, total=total, mechanism=mechanism)


def _candidates(frequencies, ordered):
    groups = [even_groups(part, N_GROUPS, n) for part, n in zip(frequencies[:-1], ordered, strict=True)]
    label = torch.arange(len(frequencies[-1]))
    several = [j for j, of in enumerate(groups) if len(of.unique()) == N_GROUPS]
    sets = itertools.combinations(several, N_COLUMNS)
    return [Clique((*of, len(groups)), (*(groups[j] for j in of), label)) for of in sets]


def _with_cliques(mixture, asked, states, codes):
    """The mixture whose labels, given the cells of cliques, are as the released counts say, over its own draws."""
    n_classes, widths = len(mixture.class_weights), mixture.widths.tolist()
    n_cells = [clique.size // n_classes for clique in asked.cliques]
    steps = torch.stack([_steps(clique, widths) for clique in asked.cliques])
    tilts = torch.zeros(len(asked.cliques), max(n_cells), n_classes, dtype=torch.float64)
    wanted = [target.reshape(-1, n_classes).double() for target in asked.targets]
    for _ in range(ROUNDS):
        made = mixture.with_cliques(steps, tilts)
        chances = made.class_logits(states)[1].exp()
        for q, clique in enumerate(asked.cliques):
            cells = clique.others(codes, len(widths))
            has = torch.zeros_like(wanted[q]).index_add_(0, cells, chances)
            move = _log_shares(wanted[q]) - _log_shares(has)
            tilts[q, : n_cells[q]] = (tilts[q, : n_cells[q]] + move / len(asked.cliques)).clamp(-LARGEST, LARGEST)
    return mixture.with_cliques(steps, tilts)


def _log_shares(counts):
    """Logarithms of the classes' shares in each cell; even where a cell is empty."""
    sums = counts.sum(1, keepdim=True)
    shares = torch.where(sums > TINY, counts / sums.clamp_min(TINY), 1 / counts.shape[1])
    return shares.clamp_min(LEAST).log()


def _steps(clique, widths):
    """What each of the states of all columns adds to the number of a record's cell (D,)."""
    parts, step = [torch.zeros(width, dtype=torch.long) for width in widths], 1
    for j, of, n in reversed(list(zip(clique.columns[:-1], clique.groups[:-1], clique.shape[:-1], strict=True))):
        parts[j] = step * of
        step *= n
    return torch.cat(parts)
