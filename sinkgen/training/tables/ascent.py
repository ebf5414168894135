"""The public fit of a field: potentials whose draws have the cliques' frequencies. No record is at hand here."""

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from sinkgen.generators.coupling import Coupling
from sinkgen.generators.field import Field
from sinkgen.generators.kinds import Kinds
from sinkgen.generators.settling import LARGEST, settle
from sinkgen.training.tables.coupling import draw_copula

POPULATION, MOST_CELLS = 20_000, 1_000_000  # draws that the fit goes on with, and their cells
TINY = 1e-9
LEAST = -60.0  # height of a state that does not occur


def fit_field(cliques, targets, doubts, frequencies, places, *, sweeps, random, moments=None, limits=(), progress=iter):
    """The field of greatest entropy whose draws have the frequencies that are wanted, nearly.

    Persistent contrastive divergence [1]_: a population of records goes through Gibbs sweeps; after each, potentials
    move by the relative difference of what is wanted of a cell and what the population has. It starts from the tree of
    the pairs that say most about each other, of which potentials and draws are known in closed form [2]_.

    Parameters
    ----------
    cliques : sequence of Clique
    targets : sequence of Tensor, each of its clique's shape
        Shares of the records in each cell.
    doubts : sequence of float
        Standard deviation of a share, by which its potential is held near 0.
    frequencies : sequence of Tensor
        Of the states of each column, the label last.
    places : Places
    sweeps : int
    random : torch.Generator
    moments : Moments, optional
        Wanted of all columns with an order.
    progress : callable
        Wraps the range of sweeps.
    limits : sequence of Limits
        What may not go together.

    Returns
    -------
    Field

    References
    ----------
    .. [1] Tieleman, "Training Restricted Boltzmann Machines using Approximations to the Likelihood Gradient",
       ICML 2008.
    .. [2] Chow, Liu, "Approximating Discrete Probability Distributions with Dependence Trees", 1968.
    """
    potentials, population, trees = _tree(cliques, targets, frequencies, random)
    heights = [part.log().clamp_min(LEAST) for part in frequencies]
    coupling = None
    if moments is not None:
        # What hangs together with columns that have no scores starts from their tree: Gibbs steps hardly mend records
        # in which what always goes together does not.
        others = {trees[j] for j in {*range(len(frequencies))} - {*moments.columns}}
        alone = moments.of([j for j in moments.columns if trees[j] not in others])
        population = draw_copula(alone, population, frequencies, random)
        coupling = Coupling(moments.scores, alone.weights(len(frequencies)))
        heights = alone.given_others(heights)
        # What the coupling has of two columns, it need not have twice.
        apart = [not {*clique.columns} <= {*alone.columns} for clique in cliques]
        potentials = [of * is_apart for of, is_apart in zip(potentials, apart, strict=True)]
    field = Field(
        cliques, potentials, targets, heights, frequencies, population,
        places=places, coupling=coupling, limits=limits,
    )  # fmt: skip
    field.population = field.obeying(population.long(), random).to(field.population.dtype)
    return settle(field, doubts, sweeps, random, moments=moments, progress=progress)


def _tree(cliques, targets, frequencies, random):
    """Potentials of the trees of the most telling pairs, else 0, records drawn from them, and each column's tree."""
    potentials = [torch.zeros_like(part) for part in targets]
    pairs = [q for q, clique in enumerate(cliques) if len(clique.columns) == 2]
    ratios = {q: _log_ratio(targets[q], cliques[q].independent(frequencies)) for q in pairs}
    told = [-1e-6 - float((targets[q] * ratios[q]).sum().clamp_min(0)) for q in pairs]
    # Older SciPy's tree wants indices of 32 bits.
    first, second = (np.array([cliques[q].columns[side] for q in pairs], dtype=np.int32) for side in (0, 1))
    p = len(frequencies)
    tree = minimum_spanning_tree(coo_array((told, (first, second)), shape=(p, p)).tocsr()).tocoo()
    trees = connected_components(tree, directed=False)[1].tolist()
    edges = {frozenset((int(a), int(b))) for a, b in zip(tree.row, tree.col, strict=True)}
    of_edge = {frozenset(cliques[q].columns): q for q in pairs if frozenset(cliques[q].columns) in edges}
    for q in of_edge.values():
        potentials[q] = ratios[q]
    return potentials, _ancestral(cliques, targets, frequencies, of_edge, random), trees


def _log_ratio(wanted, expected):
    return (wanted.clamp_min(TINY) / expected.clamp_min(TINY)).log().clamp(-LARGEST, LARGEST)


def _ancestral(cliques, targets, frequencies, of_edge, random):
    n = min(POPULATION, MOST_CELLS // len(frequencies))
    codes = torch.stack([_places(row, torch.rand(n, generator=random)) for row in frequencies])
    waiting, done = list(range(len(frequencies))), set()
    while waiting:
        column = waiting.pop(0)
        if column in done:
            continue
        front = [column]
        while front:
            known = front.pop()
            done.add(known)
            for edge, q in of_edge.items():
                if known not in edge or edge <= done:
                    continue
                (other,) = edge - {known}
                clique = cliques[q]
                chances = clique.rows(targets[q], other)[clique.others(codes, other)]
                kinds = Kinds.of(len(frequencies[other]), [clique.groups_of(other)])
                heights = frequencies[other].clamp_min(TINY).log()
                codes[other] = kinds.draw(_draw(chances, random), heights, random)
                front.append(other)
    return codes


def _places(chances, uniform):
    """Places (m,) in a row of chances (n_states,), of even numbers between 0 and 1."""
    ends = chances.cumsum(0)
    return torch.searchsorted(ends, uniform * ends[-1], right=True).clamp_max(len(ends) - 1)


def _draw(chances, random):
    ends = chances.cumsum(1)
    return (ends <= torch.rand(len(ends), 1, generator=random) * ends[:, -1:]).sum(1).clamp_max(chances.shape[1] - 1)
