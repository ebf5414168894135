"""What is asked of private tables: counts of the states of columns, and of pairs of columns.

As in :mod:`sinkgen.privacy.queries.moments`, every class says why its ``sensitivity`` holds.
"""

import itertools
import math
from typing import NamedTuple

import torch
from torch.nn import functional as F

from sinkgen._groups import count_cells
from sinkgen.exceptions import BadValueError
from sinkgen.inference.counts import NoisyCounts
from sinkgen.ot.rows import product
from sinkgen.privacy.query import ROUNDING_MARGIN, SumQuery, by_weight, on_grid
from sinkgen.records import Records, rechunked

MANY_CODES = 2**21  # that are counted at once in cells of many cliques


class MarginalQuery(SumQuery):
    """Counts of the states of every column, within each class.

    A record counts once a column, in its own class: the sensitivity is the square root of the number of columns. A code
    of -1 counts nowhere.

    Parameters
    ----------
    widths : sequence of int
        Number of states of each column.
    n_classes : int
        1 for counts over all classes.
    """

    def __init__(self, widths, n_classes=1):
        self.widths, self.n_classes = tuple(widths), n_classes
        self.size = n_classes * sum(widths)
        self.sensitivity = math.sqrt(len(self.widths))

    def contribution(self, records):
        """Counts of one chunk."""
        codes, labels = _known_classes(records, self.n_classes, self.widths)
        places = labels[:, None] * sum(self.widths) + _starts(self.widths).to(codes) + codes
        return torch.bincount(places[codes >= 0], minlength=self.size)

    def read(self, value):
        """Counts (n_classes, D) of the D states of all columns."""
        return value.view(self.n_classes, -1)

    def counts_of_states(self, what, value, scale):
        """Counts of each column's states within classes, where codes are states."""
        label, states = (len(self.widths),), [torch.arange(width) for width in (*self.widths, self.n_classes)]
        parts = enumerate(self.read(value).T.split(self.widths))
        return [NoisyCounts(what, (j, *label), (states[j], states[-1]), part, scale) for j, part in parts]


class SomeColumnsQuery(SumQuery):
    """A query on codes, asked of some of the columns alone.

    What one record adds to it is what the record of these columns adds: the sensitivity is the query's own.

    Parameters
    ----------
    query : SumQuery
    columns : slice
    """

    def __init__(self, query, columns):
        self.query, self.columns = query, columns
        self.size, self.sensitivity = query.size, query.sensitivity

    def contribution(self, records):
        """Sums of one chunk."""
        return self.query.contribution(Records(records.values[:, self.columns], records.labels))

    def read(self, value):
        """What the query reads."""
        return self.query.read(value)


class PairQuery(SumQuery):
    """Counts of the pairs of states of any two columns, within each class.

    A record counts once in each pair of columns, in its own class: the sensitivity is the square root of the number of
    pairs. Only one of (a, b) and (b, a) is released. A code of -1 counts nowhere.

    Parameters
    ----------
    widths : sequence of int
        Number of states of each column; at least two columns.
    n_classes : int
        1 for counts over all classes.
    """

    def __init__(self, widths, n_classes=1):
        self.widths, self.n_classes = tuple(widths), n_classes
        self._above = pair_mask(widths).triu()
        self.size = n_classes * int(self._above.sum())
        self.sensitivity = math.sqrt(math.comb(len(self.widths), 2))

    def contribution(self, records):
        """Counts of one chunk."""
        codes, labels = _known_classes(records, self.n_classes, self.widths)
        columns = list((codes + 1).T.contiguous())  # a state more, for -1, which is then left out
        starts, counts = _starts(self.widths).tolist(), codes.new_zeros(self.n_classes, *self._above.shape)
        for a, b in itertools.combinations(range(len(self.widths)), 2):
            width_a, width_b = self.widths[a], self.widths[b]
            shape = (self.n_classes, width_a + 1, width_b + 1)
            places = (labels * shape[1] + columns[a]) * shape[2] + columns[b]
            block = counts[:, starts[a] : starts[a] + width_a, starts[b] : starts[b] + width_b]
            block += torch.bincount(places, minlength=math.prod(shape)).view(shape)[:, 1:, 1:]
        return counts[:, self._above].flatten()

    def read(self, value):
        """Symmetric counts (n_classes, D, D) of the D states of all columns; 0 within a column."""
        out = torch.zeros(self.n_classes, *self._above.shape, dtype=value.dtype)
        out[:, self._above] = value.view(self.n_classes, -1)
        return out + out.transpose(1, 2)

    def counts_of_states(self, what, value, scale):
        """Counts of each pair of columns, within classes unless these are counted together."""
        counts, states = self.read(value), [*self._groups(), torch.arange(self.n_classes)]
        ends = list(itertools.accumulate(self.widths))
        blocks = [slice(end - width, end) for end, width in zip(ends, self.widths, strict=True)]
        found = []
        for a, b in itertools.combinations(range(len(self.widths)), 2):
            columns = (a, b, len(self.widths)) if self.n_classes > 1 else (a, b)
            part = counts[:, blocks[a], blocks[b]].movedim(0, -1)
            part = part.clone() if self.n_classes > 1 else part[..., 0].clone()
            found.append(NoisyCounts(what, columns, tuple(states[j] for j in columns), part, scale))
        return found

    def _groups(self):
        """Of each column, which of what is counted each state belongs to."""
        return [torch.arange(width) for width in self.widths]


class GroupedPairQuery(PairQuery):
    """Counts of the pairs of groups of states: a cell's noise is that of a cell of states, and there are fewer.

    Parameters
    ----------
    groups : sequence of LongTensor
        Of each column, the group of each state.
    n_classes : int
    """

    def __init__(self, groups, n_classes=1):
        super().__init__([int(of.max()) + 1 for of in groups], n_classes)
        self.groups = list(groups)

    def contribution(self, records):
        """Counts of one chunk; a code of -1 stays none."""
        _check_columns(records, self.widths)
        tables = [torch.cat([of, of.new_full((1,), -1)]).to(records.values.device) for of in self.groups]
        codes = [of[column] for of, column in zip(tables, records.values.long().T, strict=True)]
        return super().contribution(records.having(values=torch.stack(codes, 1)))

    def _groups(self):
        return self.groups


class JointQuery(SumQuery):
    """Several queries on the same records in one release, each with its share of the squared sensitivity.

    A record moves the value of query i by at most its sensitivity, and so ``sqrt(share_i) / sensitivity_i`` times that
    value by at most ``sqrt(share_i)``; shares sum to 1: the sensitivity is 1. The noise of query i's value is then
    ``sensitivity_i / sqrt(share_i)`` times the release's.

    Parameters
    ----------
    queries : sequence of SumQuery
    shares : sequence of float
        Positive, sum 1.
    """

    sensitivity = 1.0

    def __init__(self, queries, shares):
        if min(shares) < 0 or sum(shares) > 1 + 1e-9:
            raise BadValueError("shares of queries must sum to 1")
        self.queries = tuple(queries)
        self.scales = [math.sqrt(share) / query.sensitivity for query, share in zip(queries, shares, strict=True)]
        self.size = sum(query.size for query in queries)

    def contribution(self, records):
        """Scaled sums of one chunk."""
        queries = [query._at(records.values.device) for query in self.queries]
        parts = zip(queries, self.scales, strict=True)
        return ROUNDING_MARGIN * torch.cat([scale * query.contribution(records).double() for query, scale in parts])

    def read(self, value):
        """What each query reads."""
        parts = zip(self.queries, self.scales, value.split([query.size for query in self.queries]), strict=True)
        return tuple(query.read(part / scale) for query, scale, part in parts)

    def counted(self, what, value, scale):
        """The counts of states in it; those of other codes say nothing by themselves."""
        parts = zip(self.queries, self.scales, value.split([query.size for query in self.queries]), strict=True)
        own = [part for part in parts if isinstance(part[0], (MarginalQuery, PairQuery))]
        return [found for query, s, part in own for found in query.counts_of_states(what, part / s, scale / s)]


def pair_mask(widths):
    """Which entries (D, D) belong to two different columns.

    Examples
    --------
    >>> pair_mask([1, 2]).int().tolist()
    [[0, 1, 1], [1, 0, 0], [1, 0, 0]]
    """
    column = torch.repeat_interleave(torch.arange(len(widths)), torch.tensor(widths))
    return column[:, None] != column


def _starts(widths):
    """Where the states of each column start among those of all."""
    return torch.tensor([0, *widths[:-1]]).cumsum(0)


def _known_classes(records, n_classes, widths):
    """Codes (m, n_columns) and labels (m,) of the records that have a class; one class is all of them together."""
    _check_columns(records, widths)
    labels = records.labels if n_classes > 1 else records.labels.clamp_max(0)
    known = (labels >= 0) & (labels < n_classes)
    return records.values[known].long(), labels[known].long()


def _check_columns(records, widths):
    if records.values.shape[1:] != (len(widths),):
        raise BadValueError("a query of a table's columns is asked of records that have others")


def _one_hot_by_class(records, widths, n_classes):
    """One-hot rows (m_c, D) of each class; float32, in which counts below 2^24 are exact."""
    _check_columns(records, widths)
    codes = records.values.long()
    # A state more, for -1, which is then left out.
    blocks = [F.one_hot(codes[:, j] + 1, width + 1)[:, 1:] for j, width in enumerate(widths)]
    rows = torch.cat(blocks, 1).float()
    return [rows[records.labels == c] for c in range(n_classes)]


class Service(NamedTuple):
    """Noisy counts of what each component serves: states (n_components, D) and classes (n_components, n_classes)."""

    states: torch.Tensor
    classes: torch.Tensor


class ServiceQuery(SumQuery):
    """How many records of each state and class each component of a mixture serves.

    Record j is served by component k to the share ``r_k = softmax_k(log w_kc + sum_a log q_ka(x_ja))``: its column of
    an entropic transport plan, with minus the log-probability for cost, ``reg`` 1 and ``log w`` for potentials [1]_. It
    adds ``r (x) (one-hot cells, one-hot class)``. As ``||r|| <= 1``, the norm is at most that of the one-hot part, the
    square root of the number of columns plus 1: the sensitivity.

    Parameters
    ----------
    weights : Tensor of shape (n_components, n_classes)
    frequencies : Tensor of shape (n_components, D)
    widths : sequence of int

    References
    ----------
    .. [1] Mena, Nejatbakhsh, Varol, Niles-Weed, "Sinkhorn EM: An Expectation-Maximization algorithm based on entropic
       optimal transport", arXiv 2006.16548.
    """

    def __init__(self, weights, frequencies, widths):
        self.widths, self.n_classes = tuple(widths), weights.shape[1]
        self.log_weights = weights.clamp_min(1e-12).log()
        self.log_frequencies = frequencies.clamp_min(1e-9).log()
        self.size = len(weights) * (self.n_classes + frequencies.shape[1])
        self.sensitivity = math.sqrt(len(self.widths) + 1)

    def contribution(self, records):
        """Counts of one chunk."""
        states = torch.zeros_like(self.log_frequencies, dtype=torch.float64)
        classes = torch.zeros_like(self.log_weights, dtype=torch.float64)
        for c, rows in enumerate(_one_hot_by_class(records, self.widths, self.n_classes)):
            served = torch.softmax(product(rows, self.log_frequencies.T) + self.log_weights[:, c], 1)
            states += served.T.double() @ rows.double()
            classes[:, c] = served.sum(0, dtype=torch.float64)
        return ROUNDING_MARGIN * torch.cat([states.flatten(), classes.flatten()])

    def read(self, value):
        """The counts, in :class:`Service`."""
        states, classes = value.split([self.log_frequencies.numel(), self.log_weights.numel()])
        return Service(states.view_as(self.log_frequencies), classes.view_as(self.log_weights))


class LabelGainQuery(SumQuery):
    """How much likelier the records' labels are by other ways to draw labels of a mixture than by the mixture's.

    A way is a log-linear pool of the probabilities that the mixture draws by and of its own, see
    :meth:`~sinkgen.generators.product.ProductMixture.pooled`. A record adds, for each way, the difference of
    log-probabilities of its label, clipped to [-1, 1]: the sensitivity is the square root of the number of ways. A
    record of which a code is -1 adds nothing.

    Parameters
    ----------
    mixture : ProductMixture
    shares : sequence of float
        Share of the mixture's own in each way.
    """

    def __init__(self, mixture, shares):
        self.mixture, self.shares = mixture, tuple(shares)
        self.size = len(self.shares)
        self.sensitivity = math.sqrt(self.size)

    def contribution(self, records):
        """Clipped sums of one chunk."""
        codes, labels = _known_classes(records, len(self.mixture.class_weights), self.mixture.widths)
        whole = (codes >= 0).all(1)
        own, drawn = self.mixture.class_logits(codes[whole])
        ways = [drawn, *[((1 - share) * drawn + share * own).log_softmax(1) for share in self.shares]]
        first, *others = [way.gather(1, labels[whole, None])[:, 0] for way in ways]
        return ROUNDING_MARGIN * torch.stack([(other - first).clamp(-1, 1).sum() for other in others])


class CliqueQuery(SumQuery):
    """Counts of the cells of cliques, each with its weight.

    A record lies in one cell of each clique and adds the clique's weight to it, divided by the norm of all weights: the
    sensitivity is 1. The noise of a clique's counts is then ``norm / weight`` times the release's.

    Parameters
    ----------
    cliques : sequence of Clique
        Of the record's columns, of which the last is the label.
    weights : sequence of float
        Positive.
    """

    sensitivity = 1.0

    def __init__(self, cliques, weights):
        self.cliques = tuple(cliques)
        self.scales = [weight / math.hypot(*weights) for weight in weights]
        self.size = sum(clique.size for clique in cliques)

    def contribution(self, records):
        """Scaled counts of one chunk; a record counts nowhere in cliques of which it has no state."""
        return ROUNDING_MARGIN * torch.cat(
            [scale * counts for scale, counts in zip(self.scales, _clique_counts(self.cliques, records), strict=True)]
        )

    def read(self, value):
        """Counts of each clique, of its shape."""
        parts = value.split([clique.size for clique in self.cliques])
        return [
            (part / scale).view(clique.shape)
            for part, scale, clique in zip(parts, self.scales, self.cliques, strict=True)
        ]

    def counted(self, what, value, scale):
        """The counts of each clique."""
        parts = zip(self.cliques, self.read(value), self.scales, strict=True)
        return [NoisyCounts(what, q.columns, q.groups, counts, scale / own) for q, counts, own in parts]


class ParityQuery(SumQuery):
    """How many more records of each class have an even than an odd number of columns in their second group.

    A record adds 1 or -1 to one number of each clique: the sensitivity is the square root of the number of cliques.

    Parameters
    ----------
    cliques : sequence of Clique
        Of columns in two groups each, and the label.
    """

    def __init__(self, cliques):
        self.cliques = tuple(cliques)
        self.n_classes = self.cliques[0].shape[-1]
        self.size = len(self.cliques) * self.n_classes
        self.sensitivity = math.sqrt(len(self.cliques))

    def contribution(self, records):
        """Sums of one chunk."""
        return self.parities(_clique_counts(self.cliques, records)).flatten()

    def parities(self, counts):
        """Even less odd (n_cliques, n_classes), of counts (size,) of the cells of each clique."""
        return torch.stack([_even_less_odd(of, clique.shape) for of, clique in zip(counts, self.cliques, strict=True)])

    def read(self, value):
        """Sums (n_cliques, n_classes)."""
        return value.view(-1, self.n_classes)


def _even_less_odd(counts, shape):
    counts = counts.view(shape)
    for _ in shape[:-1]:
        counts = counts[0] - counts[1]
    return counts


class DistanceQuery:
    """How far the counts of each clique's cells are from expected ones: the sum of absolute differences.

    A record changes one count of a clique by 1, and so each distance by at most 1: the sensitivity is the square root
    of their number. A distance is no sum over records; counts are, and what is released is read off their sum.

    Parameters
    ----------
    cliques : sequence of Clique
        Of the record's columns, of which the last is the label.
    expected : sequence of Tensor
        Public, each of its clique's shape.
    """

    def __init__(self, cliques, expected):
        self.cliques, self.expected = tuple(cliques), [part.double().flatten() for part in expected]
        self.size = len(self.cliques)
        self.sensitivity = math.sqrt(self.size)

    def evaluate(self, chunks):
        """Distances (n_cliques,) of all chunks together."""
        return self._distances(self._count(chunks))

    def over(self, source, draw):
        """Each shard's counts are made where the shard lies; distances are those of their sum."""
        return self._distances(source.reduce(self._count, sum, draw))

    def _count(self, chunks):
        total = torch.zeros(sum(map(len, self.expected)), dtype=torch.float64)
        # Cliques are thousands, and what each of their calls costs is paid once for many records: counts are exact.
        n_columns = 1 + max((j for clique in self.cliques for j in clique.columns), default=0)
        for records in rechunked(chunks, itertools.repeat(MANY_CODES // n_columns + 1)):
            for weight, part in by_weight(records):
                total += on_grid(weight * torch.cat(_clique_counts(self.cliques, part)).cpu(), 1.0)
        return total

    def reach(self, max_rows):
        """The weights of a person's records, which sum to so much, move the counts of a clique by no more together."""
        return max_rows * self.sensitivity

    def _distances(self, counts):
        parts = zip(counts.split([len(part) for part in self.expected]), self.expected, strict=True)
        return ROUNDING_MARGIN * torch.stack([(part - expected).abs().sum() for part, expected in parts])

    def read(self, value):
        """The distances as they are."""
        return value


def _clique_counts(cliques, records):
    """Counts (size,) of the cells of each clique, float64; what has no state in a clique (-1) counts nowhere there."""
    is_short = max((len(of) for clique in cliques for of in clique.groups), default=0) <= torch.iinfo(torch.int16).max
    dtype = torch.int16 if is_short else torch.int32  # the fewer bytes are to move
    columns = torch.cat([records.values.to(dtype).T, records.labels.to(dtype)[None]]).contiguous()
    if (columns >= 0).all():
        return [counts.double() for counts in count_cells(cliques, columns)]
    rows = (columns[:, (columns[list(clique.columns)] >= 0).all(0)] for clique in cliques)
    return [count_cells([clique], of)[0].double() for clique, of in zip(cliques, rows, strict=True)]
