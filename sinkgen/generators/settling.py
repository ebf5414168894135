"""Steps by which a field's draws come to have the frequencies and moments that are wanted of it. Public."""

import torch

from sinkgen._groups import count_cells
from sinkgen.generators.raking import raked

COUPLING_STEP = 0.2
STEP, LARGEST_STEP = 1.4, 0.3  # of all cliques of a column together; of one
SETTLED = 0.6  # share of the sweeps after which steps shrink
LARGEST = 8.0  # of a potential
TINY = 1e-9
RAKED = (0, 2, 5, 10, 20)  # sweeps before which records are raked: seldom, so that heights learn what draws lack


def settle(field, doubts, sweeps, random, *, moments=None, coupling_step=None, progress=iter, is_raked=True):
    """The field after more steps of its potentials and its population, in place.

    Cliques beyond the ``doubts`` keep their potentials.

    Parameters
    ----------
    field : Field
    doubts : sequence of float
        Standard deviation of a share of each clique, by which its potential is held near 0.
    sweeps : int
    random : torch.Generator
    moments : Moments, optional
        Wanted of all columns with an order; the field has a coupling then.
    coupling_step : float, optional
        Share of a Newton step that the coupling moves by; by default no more than potentials do.
    progress : callable
        Wraps the range of sweeps.
    is_raked : bool
        Whether records are raked now and then; not where they are weighted afterwards.
    """
    codes, n = field.population.long(), field.population.shape[1]
    columns = [j for j, height in enumerate(field.heights) if len(height) > 1]
    of_column = torch.zeros(len(field.heights))
    for clique in field.cliques:
        of_column[list(clique.columns)] += 1
    for sweep in progress(range(sweeps)):
        late = 1 + 0.3 * max(0.0, sweep - SETTLED * sweeps)
        steps = (STEP / of_column.clamp_min(TINY)).clamp_max(LARGEST_STEP) / late  # of each column
        if is_raked and sweep in RAKED:
            codes = raked(codes, field.frequencies, random)
        codes = field.sweep(codes, random, columns)
        counts = count_cells(field.cliques, codes)
        for q, doubt in enumerate(doubts):
            clique = field.cliques[q]
            move = _move(counts[q].view(clique.shape) / n, field.targets[q], field.potentials[q], doubt, n)
            step = float(steps[list(clique.columns)].min())
            field.potentials[q] = (field.potentials[q] + step * move).clamp(-LARGEST, LARGEST)
        if moments is not None:
            moments.move(field.coupling, codes, coupling_step or min(float(steps.min()), COUPLING_STEP))
        for j in columns:
            has = torch.bincount(codes[j], minlength=len(field.heights[j])) / n
            off = ((field.frequencies[j] + 1e-6) / (has + 1e-4)).log()
            field.heights[j] = field.heights[j] + float(steps[j]) * off.clamp(-1, 1)
    codes = raked(codes, field.frequencies, random) if is_raked else codes
    field.population = codes.to(field.population.dtype)
    return field


def _move(has, wanted, potential, doubt, n):
    """By how much a potential should move: a step of Newton's method of one cell alone, held by doubt."""
    move = (wanted - has - doubt**2 * potential / (has + 1e-3)) / (has + doubt + 1 / n)
    if has.dim() > 2:  # what single columns and pairs say, their own cliques know better
        for axis in range(has.dim()):
            move = move - move.mean(axis, keepdim=True)
    return move.clamp(-10, 10)
