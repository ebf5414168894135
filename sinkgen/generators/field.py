"""A field over the columns of a table says what goes together; records are drawn from it by Gibbs sampling."""

import math
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from sinkgen.data.limits import IMPOSSIBLE
from sinkgen.exceptions import BadValueError
from sinkgen.generators.cliques import Clique
from sinkgen.generators.coupling import Coupling
from sinkgen.generators.kinds import Kinds
from sinkgen.generators.places import Places
from sinkgen.generators.within import within_states

SWEEPS = 3  # over the columns, in which a draw leaves the record of the population that it starts from
SETTLING = 15  # the same, for a population that meets conditions
BLOCKS = 16  # of records whose states are drawn at once
MOST_BALANCED = 100_000  # records; of more, independent draws are as good
LARGEST_BLOCK = 2**16
MOST_COLUMNS = 4  # of a clique
NEVER = -1e3  # the logit of what conditions rule out: far below all that a model adds up, far above what rules forbid


class Field(nn.Module):
    """Draws records of a table from ``p(x, c) ~ exp(sum_j heights_j[x_j] + sum_q potentials_q[cell_q(x)])``.

    The sum is over cliques q: two to four columns, whose states are in groups. The label is the last column. A
    *population* of records that were drawn from it is part of the field: each draw starts from one of them, and its
    columns are drawn anew, one after the other, given the others (Gibbs sampling [1]_).

    Draws of one call are balanced: a block of records after the other is drawn, and what occurs less often so far than
    the field's frequencies say becomes likelier. Each record has the same distribution, nearly, as if it were drawn
    alone; together they follow it more closely than independent ones.

    Parameters
    ----------
    cliques : sequence of Clique
    potentials : sequence of Tensor, each of its clique's shape
    targets : sequence of Tensor, of the same shapes
        The frequencies that draws follow.
    heights : sequence of Tensor, each of shape (n_states,)
    frequencies : sequence of Tensor, of the same shapes
        Of the states of each column; the label's are those of the classes.
    population : Tensor of shape (n_columns + 1, m)
        States, and the label.
    places : Places
        Where in its state a cell lies.
    coupling : Coupling, optional
        Of all columns with an order, beside the cliques.
    limits : sequence of Limits
        What may not go together: never drawn.

    References
    ----------
    .. [1] Geman, Geman, "Stochastic Relaxation, Gibbs Distributions, and the Bayesian Restoration of Images", 1984.

    Examples
    --------
    >>> pair = Clique((0, 1), (torch.arange(2), torch.arange(2)))
    >>> alike, even = torch.tensor([[4.0, -4.0], [-4.0, 4.0]]), torch.full((2,), 0.5)
    >>> states = torch.tensor([[0, 1], [0, 1], [0, 0]])
    >>> field = Field([pair], [alike], [torch.eye(2) / 2], [torch.zeros(2)] * 2 + [torch.zeros(1)],
    ...               [even, even, torch.ones(1)], states, places=Places((2, 2)))
    >>> drawn = field.draw(torch.zeros(100, dtype=torch.long), torch.Generator().manual_seed(0)).floor()
    >>> bool((drawn[:, 0] == drawn[:, 1]).float().mean() > 0.9)
    True
    """

    def __init__(
        self, cliques, potentials, targets, heights, frequencies, population, *, places, coupling=None, limits=(),
    ):  # fmt: skip
        super().__init__()
        self.cliques, self.places, self.coupling, self.limits = list(cliques), places, coupling, tuple(limits)
        self.potentials, self.targets = [part.float() for part in potentials], [part.float() for part in targets]
        self.heights, self.frequencies = [part.float() for part in heights], [part.float() for part in frequencies]
        self.population = population.short() if max(map(len, heights)) < 2**15 else population.int()
        self.is_free = True  # of conditions: its frequencies are known then
        self._kinds: dict[int, Kinds] = {}
        self._correlations: tuple | None = None  # of scores

    def tensors(self):
        """All of it as tensors, of which :meth:`from_tensors` makes it again."""
        columns = torch.full((len(self.cliques), MOST_COLUMNS), -1)
        for row, clique in zip(columns, self.cliques, strict=True):
            row[: len(clique.columns)] = torch.tensor(clique.columns)
        groups = [of for clique in self.cliques for of in clique.groups]
        parts = {"groups": groups, "potentials": self.potentials, "targets": self.targets}
        parts |= {"heights": self.heights, "frequencies": self.frequencies}
        flat = {name: torch.cat([part.flatten() for part in [torch.zeros(0), *of]]) for name, of in parts.items()}
        own = {"cliques": columns, "population": self.population, "n_classes": torch.tensor(len(self.heights[-1]))}
        if self.coupling is not None:
            own |= {"scores": torch.cat(self.coupling.scores), "coupling": self.coupling.weights}
        return own | flat | dict(self.places.named_buffers())

    @classmethod
    def from_tensors(cls, tensors, limits=()):
        """The field whose :meth:`tensors` these are, with limits, which are public."""
        places = Places(
            tensors["widths"].tolist(), *(tensors[name] for name in ("cell_states", "cell_shares", "parts"))
        )
        widths = [*tensors["widths"].tolist(), int(tensors["n_classes"])]
        columns = [tuple(j for j in row if j >= 0) for row in tensors["cliques"].tolist()]
        groups = iter(tensors["groups"].long().split([widths[j] for of in columns for j in of]))
        cliques = [Clique(of, tuple(next(groups) for _ in of)) for of in columns]
        sizes = [clique.size for clique in cliques]
        potentials, targets = (
            [part.view(clique.shape) for part, clique in zip(tensors[name].split(sizes), cliques, strict=True)]
            for name in ("potentials", "targets")
        )
        heights, frequencies = (tensors[name].split(widths) for name in ("heights", "frequencies"))
        coupling = Coupling(list(tensors["scores"].split(widths)), tensors["coupling"]) if "scores" in tensors else None
        return cls(
            cliques, potentials, targets, heights, frequencies, tensors["population"],
            places=places, coupling=coupling, limits=limits,
        )  # fmt: skip

    @property
    def class_weights(self):
        """Probability of each class, (n_classes,)."""
        return self.frequencies[-1].double()

    def draw(self, labels, rng):
        """Places (m, n_columns), a cell plus a fraction, of records of the given classes (m,)."""
        parts = labels.split(MOST_BALANCED) if len(labels) > MOST_BALANCED else [labels]
        codes = torch.cat([self.draw_states(part, len(parts) == 1, rng) for part in parts], 1)
        places = self.places.draw(codes[:-1].T, labels, rng)
        for j, ranks in self._together(codes, rng).items():
            places[:, j] = self.places.at_ranks(j, codes, ranks)
        return places

    def _together(self, codes, rng):
        """Ranks within states of numbers that go together, by column: what states do, places in them do as well."""
        if self.coupling is None:
            return {}
        if self._correlations is None:
            self._correlations = self.coupling.correlations(self.population.long().T)
        return within_states(codes, self.coupling.ordered, *self._correlations, random=rng)

    def draw_states(self, labels, alone, rng):
        """States (n_columns + 1, m) of records of the given classes; balanced if they are all of a draw (``alone``)."""
        codes = self._start(labels, rng)
        wanted = torch.bincount(labels, minlength=len(self.heights[-1]))
        is_usual = ((wanted - len(labels) * self.class_weights).abs() <= 1).all()
        for _ in range(SWEEPS):
            codes = self.sweep(codes, rng, self._columns(), alone and self.is_free and bool(is_usual))
        return self.obeying(codes, rng)

    def obeying(self, codes, rng):
        """Codes (n_columns + 1, m) of which none is against the limits: if one was, linked columns are drawn anew.

        First given all other columns, as if they were independent but for the limits; then one after the other.
        """
        for limits in self.limits:
            columns = [j for j in limits.columns if j < len(self.heights) - 1]
            is_out = limits.broken(codes)
            for j in columns:  # and what conditions hold of the same columns
                is_out |= self.heights[j][codes[j]] <= NEVER / 2
            places = torch.nonzero(is_out).flatten()
            if not len(places):
                continue
            drawn = self._anew(limits, codes[:, places], rng)
            for _ in range(SWEEPS):
                drawn = self.sweep(drawn, rng, columns)
            codes = codes.clone()
            codes[:, places] = drawn
            places = places[limits.broken(drawn)]  # by rounding alone
            codes[:, places] = self._anew(limits, codes[:, places], rng)
        return codes

    def _anew(self, limits, codes, rng):
        if not codes.shape[1]:
            return codes
        rows = codes.T.contiguous()
        logits = []
        for j in limits.columns:
            if j == len(self.heights) - 1:  # the label is as it is wanted
                logits.append(limits.held(codes[j], len(self.heights[j])))
            else:
                own = _Site(self, j, rows, False, None, set(limits.columns) - {j}).logits()
                logits.append(torch.where(self.heights[j] > NEVER / 2, own, IMPOSSIBLE))
        codes = codes.clone()
        codes[list(limits.columns)] = limits.draw(logits, rng)
        return codes

    def kinds(self, column):
        """States of a column that neither cliques nor limits nor, where it has an order, a coupling tell apart."""
        if column not in self._kinds:
            n_states = len(self.heights[column])
            parts = [clique.groups_of(column) for clique in self.cliques if column in clique.columns]
            parts += [of.classes[of.columns.index(column)] for of in self.limits if column in of.columns]
            if self.coupling is not None and self.coupling.scores[column].any():
                self._kinds[column] = Kinds.apart(n_states)
            else:
                self._kinds[column] = Kinds.of(n_states, parts)
        return self._kinds[column]

    def _columns(self):
        """Places of the columns to be drawn: all that have a choice, but for the label."""
        return [j for j, height in enumerate(self.heights[:-1]) if len(height) > 1]

    def _start(self, labels, rng):
        """Records of the population, (n_columns + 1, m), with the given labels; any where it has none of a class."""
        rows = torch.empty_like(labels)
        for c in torch.unique(labels).tolist():
            wanted = torch.nonzero(labels == c).flatten()
            pool = torch.nonzero(self.population[-1] == c).flatten()
            pool = pool if len(pool) else torch.arange(self.population.shape[1])
            pool = pool[torch.randperm(len(pool), generator=rng)]
            rows[wanted] = pool.repeat(math.ceil(len(wanted) / len(pool)))[: len(wanted)]
        codes = self.population[:, rows].long()
        codes[-1] = labels
        return codes

    def sweep(self, codes, rng, columns, balanced=False):
        """Codes (n_columns + 1, m) after each of these columns, in random order, has been drawn given the others."""
        rows = codes.T.contiguous()  # a record's states lie side by side
        scores = None if self.coupling is None else self.coupling.of(rows)
        for place in torch.randperm(len(columns), generator=rng).tolist():
            j = columns[place]
            pull = None if scores is None else _Pull(scores @ self.coupling.weights[:, j], self.coupling.scores[j])
            _Site(self, j, rows, balanced, pull).draw(rng)
            if scores is not None:
                scores[:, j] = self.coupling.scores[j][rows[:, j]]
        return rows.T.contiguous()

    def condition(self, parts):
        """The field given that each column's cell lies in a part of its cells.

        Parameters
        ----------
        parts : list of arrays (n_cells, 2), or None
            One a column: from where to where in each cell records may lie. None is everywhere.

        Returns
        -------
        Field

        Raises
        ------
        ValueError
            If no record can meet the conditions.
        """
        weights = self.class_weights[:, None]
        places, of_classes = self.places.condition(parts, weights.expand(-1, int(self.places.widths.sum())))
        chances = [None if of is None else (weights * of).sum(0) if len(of) > 1 else of[0] for of in of_classes]
        if any(chance is not None and not chance.any() for chance in chances):
            raise BadValueError("no record can meet the conditions")
        heights = [
            height if chance is None else _narrowed(height, chance)
            for height, chance in zip(self.heights, [*chances, None], strict=True)
        ]
        states = [None if chance is None else chance > 0 for chance in chances]
        for limits in self.limits:
            for j, possible in zip(limits.columns, limits.possible([*states, None]), strict=True):
                heights[j] = torch.where(possible, heights[j], NEVER) if j < len(chances) else heights[j]
        made = Field(
            self.cliques, self.potentials, self.targets, heights, self.frequencies, self.population,
            places=places, coupling=self.coupling, limits=self.limits,
        )  # fmt: skip
        made.is_free = False
        random, codes = torch.Generator().manual_seed(0), self.population.long()
        columns = [j for j, chance in enumerate(chances) if chance is not None]
        codes = made.sweep(codes, random, columns)
        columns = [j for j, height in enumerate(heights) if len(height) > 1]
        for _ in range(SETTLING):
            codes = made.sweep(codes, random, columns)
        codes = made.obeying(codes, random)
        made.population = codes.to(self.population.dtype)
        counts = torch.bincount(codes[-1], minlength=len(heights[-1]))
        made.frequencies = [*self.frequencies[:-1], counts.float() / counts.sum()]
        return made


def _narrowed(height, chances):
    """Heights of a column's states by the chance of each to meet a condition; also where it is asked for what is rare.

    Examples
    --------
    >>> _narrowed(torch.tensor([0.0, NEVER]), torch.tensor([0.0, 1.0]))
    tensor([-1000.,     0.])
    """
    height = height + chances.clamp_min(1e-30).log().float()
    return torch.where(chances > 0, height - height[chances > 0].max(), NEVER)


class _Pull(NamedTuple):
    """What other columns' scores add to a state's logit in each record (m,), for each unit of its score (n_states,)."""

    of_record: torch.Tensor
    scores: torch.Tensor

    def add_to(self, logits, rows, states):
        """Add it to the logits (m, n) of some of the records and states, in place."""
        return logits.addr_(self.of_record[rows], self.scores[states])


class _Site:
    """One column of some records, to be drawn given the others, or given those that are not ``unknown``.

    Each of its cliques is a table whose rows are the states of the clique's other column, or the cells of its others
    where these are several; all tables lie one below the other.
    """

    def __init__(self, field, column, rows, balanced, pull, unknown=frozenset()):
        self._rows, self._column, self._height, self._pull = rows, column, field.heights[column], pull
        self._kinds = field.kinds(column)
        numbers = [
            q for q, clique in enumerate(field.cliques)
            if column in clique.columns and unknown.isdisjoint(clique.columns)
        ]  # fmt: skip
        own_limits = [limits for limits in field.limits if column in limits.columns and not unknown]
        self._limits = [_forbidding(limits, column, rows.T) for limits in own_limits]
        self._cliques = [field.cliques[q] for q in numbers]
        self._potentials = [field.cliques[q].rows(field.potentials[q], column) for q in numbers]
        self._places = self._places_of_rows() if numbers else None
        self._balances: list[_Balance] = []
        if balanced:
            n, own = len(rows), rows[:, column]
            self._cells = [clique.others(rows.T, column) for clique in self._cliques]
            for q, clique, cells in zip(numbers, self._cliques, self._cells, strict=True):
                wanted = n * clique.rows(field.targets[q], column)
                self._balances.append(_Balance(wanted, cells, clique.groups_of(column)[own]))
            # The column itself comes last, as a clique whose other columns have one cell.
            self._cells.append(torch.zeros_like(own))
            self._balances.append(_Balance(n * field.frequencies[column][None], self._cells[-1], own))

    def _places_of_rows(self):
        """Row of each clique's table that each record is at, (m, n_cliques)."""
        pairs = [clique.partner(self._column) for clique in self._cliques if len(clique.columns) == 2]
        larger = [clique.others(self._rows.T, self._column) for clique in self._cliques if len(clique.columns) > 2]
        places = self._rows.index_select(1, torch.tensor(pairs, dtype=torch.long))
        places = torch.cat([places, torch.stack(larger, 1)], 1) if larger else places
        sizes = [len(self._spread(clique, part)) for clique, part in self._parts(self._potentials)]
        return places + torch.tensor([0, *sizes[:-1]]).cumsum(0)

    def _parts(self, values):
        """Cliques with their values, pairs first."""
        return sorted(zip(self._cliques, values, strict=True), key=lambda part: len(part[0].columns) > 2)

    def _spread(self, clique, values):
        """Values (cells of the other columns, groups of this one) of a clique as its table."""
        if len(clique.columns) == 2:
            values = values[clique.groups_of(clique.partner(self._column))]
        return values[:, clique.groups_of(self._column)[self._kinds.firsts]]

    def draw(self, rng):
        """Draw the column, in place."""
        n = len(self._rows)
        blocks = BLOCKS if self._balances else math.ceil(n / LARGEST_BLOCK)
        parts = torch.randperm(n, generator=rng).chunk(blocks) if n > blocks > 1 else [slice(None)]
        for rows in parts:
            pulls = [balance.pull() for balance in self._balances]
            height = self._height + pulls.pop()[0] if pulls else self._height
            logits = self._logits(rows, pulls) + self._kinds.heights(height)
            for table, cells in self._limits:
                logits = logits + table[cells[rows]][:, self._kinds.firsts]
            ends = (logits - logits.amax(1, keepdim=True)).exp_().cumsum(1)
            kinds = (ends <= torch.rand(len(logits), 1, generator=rng) * ends[:, -1:]).sum(1)
            drawn = self._kinds.draw(kinds.clamp_max_(logits.shape[1] - 1), height, rng)
            if self._balances:
                before = self._rows[rows, self._column]
                groups = [
                    *(clique.groups_of(self._column) for clique in self._cliques),
                    torch.arange(len(self._height)),
                ]
                for balance, cells, of in zip(self._balances, self._cells, groups, strict=True):
                    balance.move(cells[rows], of[before], of[drawn])
            self._rows[rows, self._column] = drawn

    def logits(self):
        """Logits (m, n_states) of all records, but for the limits."""
        return self._logits(slice(None), [])[:, self._kinds.of_state] + self._height

    def _logits(self, rows, pulls):
        """What others add to the logit of each kind (m, n_kinds)."""
        found = torch.zeros(len(self._rows[rows]), len(self._kinds.firsts))
        if self._places is not None:
            values = [a + b for a, b in zip(self._potentials, pulls, strict=True)] if pulls else self._potentials
            table = torch.cat([self._spread(clique, part) for clique, part in self._parts(values)])
            found = F.embedding_bag(self._places[rows], table, mode="sum")
        return found if self._pull is None else self._pull.add_to(found, rows, self._kinds.firsts)


def _forbidding(limits, column, codes):
    """What limits add to the logits of a column: rows of a table, and the row of each record."""
    clique = Clique(limits.columns, limits.classes)
    table = clique.rows(limits.logits, column)[:, clique.groups_of(column)]
    cells = clique.others(codes, column)
    return table, torch.zeros(codes.shape[1], dtype=torch.long) if cells is None else cells


class _Balance:
    """How often each cell is wanted, and how often it has been drawn."""

    def __init__(self, wanted, cells, groups):
        self._wanted, self._width = wanted, wanted.shape[1]
        self._counts = torch.bincount(cells * self._width + groups, minlength=wanted.numel()).float()
        self._doubt = 0.1 * math.sqrt(len(cells))

    def pull(self):
        """Logits by which what is missing becomes likelier."""
        missing = self._wanted - self._counts.view_as(self._wanted)
        return (missing / (self._wanted + self._doubt)).clamp(-1, 1)

    def move(self, cells, before, after):
        """Count a change of groups in some cells."""
        one = torch.ones(len(cells))
        self._counts.index_add_(0, cells * self._width + after, one)
        self._counts.index_add_(0, cells * self._width + before, -one)
