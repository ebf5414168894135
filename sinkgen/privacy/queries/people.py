"""What is asked of persons with all their rows at once: how alike rows of a person are.

A value is a sum over persons, not over rows: what a person with m rows adds is bounded as one vector. As in
:mod:`sinkgen.privacy.queries.moments`, every class says why its ``sensitivity`` holds.
"""

import math

import torch
from torch.nn import functional as F

from sinkgen.privacy.queries.tables import JointQuery
from sinkgen.privacy.query import ROUNDING_MARGIN, on_grid
from sinkgen.records import Records, joined

STEP = 2.0**-20
BLOCK = 2**14  # rows that are looked at together, but for a person with more
# Constants chosen by trials on a made-up panel: docs/experiments.md, Persons.
FIRST = 0.5  # weight of means beside products of two: they are needed only to centre these
WIDEST = 4.0  # deviations at which differences within a person are clipped


class PersonQuery:
    """A query whose value is a sum over persons of what all rows of each add together.

    All rows are brought to one place, and those of a person beside each other. Persons of as many rows are summed
    together, and what a row, or a pair of rows, adds is a whole number, or a multiple of ``STEP``: so sums are exact
    whatever other persons there are, before they are multiplied by the weight of persons of so many rows and rounded to
    the grid.

    Attributes
    ----------
    size : int
        Length of its value.
    sensitivity : float
        Largest norm of what a person adds, with however many rows.
    """

    size: int
    sensitivity: float

    def contribution(self, rows, persons):
        """Sum (size,) of what persons of equally many rows add, before the weight; exact.

        Parameters
        ----------
        rows : Tensor of shape (P, m, n_columns)
            Codes of the rows of each.
        persons : Records
            The same rows, in that order.
        """
        raise NotImplementedError

    def weight(self, n_rows):
        """What the contribution of a person of so many rows is multiplied by: one number, or a tensor (size,)."""
        raise NotImplementedError

    def evaluate(self, chunks):
        """The value on all persons."""
        return self._value(list(chunks))

    def over(self, source, draw):
        """All rows come to one place, as codes; what they add is summed there."""
        return self._value(source.reduce(list, joined, draw))

    def reach(self, max_rows):
        """A person counts once here, with however many rows."""
        return self.sensitivity

    def read(self, value):
        """The value as it is."""
        return value

    def _value(self, chunks):
        total = torch.zeros(self.size, dtype=torch.float64)
        if not sum(map(len, chunks)):
            return total
        values = torch.cat([chunk.values for chunk in chunks]).cpu()
        labels = torch.cat([chunk.labels for chunk in chunks]).cpu()
        owner = torch.cat([chunk.groups[:, 0] for chunk in chunks]).cpu().long()
        order = owner.argsort(stable=True)
        records = Records(values[order], labels[order])
        counts = torch.unique_consecutive(owner[order], return_counts=True)[1]
        starts = counts.cumsum(0) - counts
        for n_rows in counts.unique().tolist():
            weight = ROUNDING_MARGIN * torch.as_tensor(self.weight(n_rows), dtype=torch.float64)
            if weight.any():
                own = starts[counts == n_rows]
                summed = torch.zeros(self.size, dtype=torch.float64)
                for part in own.split(max(1, BLOCK // n_rows)):
                    rows = records.take((part[:, None] + torch.arange(n_rows)).flatten())
                    summed += self.contribution(rows.values.long().view(len(part), n_rows, -1), rows)
                total += on_grid(weight * summed, self.sensitivity)
        return total


class SizedQuery(JointQuery):
    """Marginals of rows whose last column is how many rows the person has, and is none of the table's."""

    def counted(self, what, value, scale):
        """The counts of states of the table's columns."""
        last, found = len(self.queries[0].widths) - 1, super().counted(what, value, scale)
        own = [part for part in found if last not in part.columns]
        return [part._replace(columns=tuple(j - (j > last) for j in part.columns)) for part in own]


class ChangesQuery(PersonQuery):
    """How many persons do not have the same code in all rows, of each column and of the label.

    A person adds 1 to each count at most: the sensitivity is the square root of their number.

    Parameters
    ----------
    n_columns : int
        Without the label, which comes last.
    """

    def __init__(self, n_columns):
        self.size = n_columns + 1
        self.sensitivity = math.sqrt(self.size)

    def weight(self, n_rows):
        """Who has one row does not change."""
        return float(n_rows > 1)

    def contribution(self, rows, persons):
        """Persons that change."""
        codes = torch.cat([rows, persons.labels.long().view(*rows.shape[:2], 1)], 2)
        return (codes != codes[:, :1]).any(1).sum(0).double()


class AcrossQuery(PersonQuery):
    """Counts of the pairs of states that two rows of a person have: of two columns, or of one in both rows.

    A person with m rows adds the mean over its ordered pairs of different rows: for each pair of columns numbers that
    are not negative and sum to 1 at most, so that their norm is at most 1, however the rows are chosen. Within one
    column the two orders are counted together, in one half of the table. The sensitivity is the square root of the
    number of pairs, of a column with itself included. Who has one row adds nothing.

    Parameters
    ----------
    states : sequence of (int, LongTensor)
        Of each column asked about its place, the label's behind all others, and which group of states each of its codes
        belongs to.
    """

    def __init__(self, states):
        self.columns, self.groups = [j for j, _ in states], [of for _, of in states]
        self.widths = [int(of.max()) + 1 for of in self.groups]
        column = torch.repeat_interleave(torch.arange(len(self.widths)), torch.tensor(self.widths))
        self.same = column[:, None] == column
        self._asked = torch.ones(len(column), len(column), dtype=torch.bool).triu()
        self.size = int(self._asked.sum())
        self.sensitivity = math.sqrt(len(self.widths) * (len(self.widths) + 1) / 2)

    def weight(self, n_rows):
        """One over the number of ordered pairs."""
        return 1 / (n_rows * (n_rows - 1)) if n_rows > 1 else 0.0

    def contribution(self, rows, persons):
        """Pairs of rows."""
        codes = torch.cat([rows, persons.labels.long().view(*rows.shape[:2], 1)], 2)
        blocks = []
        for j, of, width in zip(self.columns, self.groups, self.widths, strict=True):
            known = torch.cat([of, of.new_full((1,), -1)])[codes[:, :, j]]  # -1, no state, stays
            blocks.append(F.one_hot(known + 1, width + 1)[:, :, 1:])
        cells = torch.cat(blocks, 2).double()
        of_person = cells.sum(1)
        flat = cells.flatten(0, 1)
        pairs = of_person.T @ of_person - flat.T @ flat
        pairs = torch.where(self.same & self._asked.triu(1), 2 * pairs, pairs)
        return pairs[self._asked]

    def read(self, value):
        """Symmetric counts (E, E) of the E groups of states of all columns."""
        out = torch.zeros(self._asked.shape, dtype=value.dtype)
        out[self._asked] = value
        out = torch.where(self.same & self._asked.triu(1), out / 2, out)
        return out + out.triu(1).T


class ClippedQuery(PersonQuery):
    """A query whose value is a sum of vectors, one a person, each clipped as a whole to a norm of ``bound``.

    Most vectors are far shorter than their entries would let them be: a bound of typical length has far less noise, and
    clips few. A vector is rounded to multiples of ``STEP`` first, so that its norm is exact, and is on the grid after:
    who else is summed with it changes nothing. Who has one row adds nothing.

    Parameters
    ----------
    size : int
    bound : float
        The sensitivity.
    """

    def __init__(self, size, bound):
        self.size, self.sensitivity = size, float(bound)

    def weight(self, n_rows):
        """Who has one row adds nothing."""
        return float(n_rows > 1)

    def contribution(self, rows, persons):
        """Clipped vectors of persons."""
        vectors = (self.vectors(rows) / STEP).round() * STEP
        norms = vectors.square().sum(1, keepdim=True).sqrt()
        factors = (ROUNDING_MARGIN * self.sensitivity / norms.clamp_min(STEP)).clamp_max(1.0)  # the grid rounds up, too
        return on_grid(factors * vectors, self.sensitivity).sum(0)

    def vectors(self, rows):
        """One (P, size) a person, of codes (P, m, n_columns) of the rows of each: of entries in [-1, 1]."""
        raise NotImplementedError


class ScoresQuery(ClippedQuery):
    """First and second moments of persons' mean scores.

    A score is in [-1, 1]. A person with m > 1 rows adds its mean of each score, times ``FIRST``, and the product of any
    two of these means.

    Parameters
    ----------
    scores : sequence of (int, Tensor)
        Of each column asked about its place, and the score of each of its codes, rounded to a multiple of 2^-10.
    length : float
        The bound, in units of the typical length where scores are even and all columns alike.
    """

    def __init__(self, scores, length):
        self.columns = [j for j, _ in scores]
        self.scores = [_clipped(of.double()) for _, of in scores]
        p = len(self.columns)
        self._upper = torch.ones(p, p, dtype=torch.bool).triu()
        super().__init__(p + p * (p + 1) // 2, length * math.sqrt(FIRST**2 * p / 3 + p * (p + 1) / 10))

    def vectors(self, rows):
        """Means and products; a code of -1 has the score 0."""
        means = _scores(rows, self.columns, self.scores).sum(1) / rows.shape[1]
        return torch.cat([FIRST * means, (means[:, :, None] * means[:, None])[:, self._upper]], 1)

    def read(self, value):
        """Sums (p,), and symmetric sums of products (p, p)."""
        p = len(self.columns)
        return value[:p] / FIRST, _symmetric(value[p:], self._upper)


class ResidualsQuery(ClippedQuery):
    """Second moments of what rows of a person differ by from that person's mean, in scores.

    Differences are divided by a scale of their own for each column, and clipped to ``WIDEST`` of these. A person with m
    > 1 rows adds the mean over rows of the products of any two. Where rows of a person are alike, scales are small, and
    so is the noise in units of what they differ by.

    Parameters
    ----------
    scores : sequence of (int, Tensor)
        As for :class:`ScoresQuery`.
    scales : sequence of float
        Positive, one a column: deviations that are expected.
    length : float
        The bound, in units of the length where differences are of that scale and independent.
    """

    def __init__(self, scores, scales, length):
        self.columns = [j for j, _ in scores]
        self.scores = [of.double() for _, of in scores]
        self.bounds = WIDEST * torch.as_tensor(scales, dtype=torch.float64)
        p = len(self.columns)
        self._upper = torch.ones(p, p, dtype=torch.bool).triu()
        super().__init__(p * (p + 1) // 2, length * math.sqrt(p) / WIDEST**2)

    def vectors(self, rows):
        """Products of clipped differences; a code of -1 has the score 0."""
        scores = _scores(rows, self.columns, self.scores)
        rest = _clipped((scores - scores.sum(1, keepdim=True) / rows.shape[1]) / self.bounds)
        return (rest.transpose(1, 2) @ rest)[:, self._upper] / rows.shape[1]

    def read(self, value):
        """Symmetric sums of products (p, p), in units of scores."""
        return _symmetric(value, self._upper) * self.bounds[:, None] * self.bounds


def _symmetric(value, upper):
    full = torch.zeros(upper.shape, dtype=value.dtype)
    full[upper] = value
    return full + full.triu(1).T


def _clipped(numbers):
    """Numbers in [-1, 1], rounded to multiples of 2^-10: products of two are then summed exactly."""
    return (numbers.clamp(-1, 1) * 2**10).round() / 2**10


def _scores(rows, columns, scores):
    """Scores (P, m, p) of codes; of -1 it is 0."""
    tables = [torch.cat([of, of.new_zeros(1)]) for of in scores]
    return torch.stack([of[rows[:, :, j]] for j, of in zip(columns, tables, strict=True)], 2)
