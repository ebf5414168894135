"""How all columns of a field with an order go together roughly: each by one score a state, any two by one number."""

from typing import NamedTuple

import torch

from sinkgen.inference.moments import NoisyMoments

FARTHEST, CLIPPINGS = 2.0, 40  # standard deviations to which values are clipped, and how often these are found anew
LEAST_VARIANCE = 1e-3  # share of a column's that is added to what draws have
LEAST_VALUE = 0.02  # of a matrix of correlations: of less, noise is most
LARGEST_MOVE = 0.3  # of a weight in a whole step, for scores of variance 1
TINY = 1e-9


class Coupling(NamedTuple):
    """Adds ``sum_jk weights_jk s_j(x_j) s_k(x_k) / 2`` to the log-probability of a field's record.

    Attributes
    ----------
    scores : list of Tensor, each of shape (n_states,)
        Of the states of each column, the label last; 0 for all states of a column that is not coupled.
    weights : Tensor of shape (n_columns + 1, n_columns + 1)
        Symmetric, 0 on the diagonal.

    Examples
    --------
    >>> coupling = Coupling([torch.tensor([-1.0, 1.0])] * 2, torch.tensor([[0.0, 3.0], [3.0, 0.0]]))
    >>> coupling.of(torch.tensor([[0, 1]]))
    tensor([[-1.,  1.]])
    """

    scores: list
    weights: torch.Tensor

    def of(self, rows):
        """Scores (m, n_columns + 1) of records' states (m, n_columns + 1)."""
        return torch.stack([of[codes] for of, codes in zip(self.scores, rows.T, strict=True)], 1)

    def correlations(self, rows):
        """Columns whose scores vary over records (m, n_columns + 1), and their correlations, positive definite."""
        scores = self.of(rows).double()
        covariance = torch.cov(scores.T, correction=0)
        columns = torch.nonzero(covariance.diag() > LEAST_VARIANCE).flatten()
        covariance = covariance[columns[:, None], columns]
        units = covariance.diag().sqrt()
        return columns.tolist(), like_correlations(covariance / torch.outer(units, units))

    @property
    def ordered(self):
        """How many of each column's first states have an order: those up to the last that has a score."""
        return [int(torch.nonzero(of).max()) + 1 if of.any() else 0 for of in self.scores]


def value_scores(frequencies, values):
    """Scores of states by their values: of mean 0 and variance 1, but none beyond some standard deviations.

    What lies farther out counts as this: one record shall not be all that a product of scores tells of.

    Parameters
    ----------
    frequencies : Tensor of shape (n_states,)
    values : Tensor of shape (n,)
        Of the first states; those beyond (missing cells) have 0, which is the mean.

    Returns
    -------
    Tensor of shape (n_states,)

    Examples
    --------
    >>> value_scores(torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0.0, 1.0, 3.0]))
    tensor([-0.8165,  0.0000,  1.6330])
    """
    n, scores = len(values), torch.zeros_like(frequencies)
    own, of = frequencies[:n].double(), values.double()
    own = own / own.sum().clamp_min(TINY)
    for _ in range(CLIPPINGS):
        of = of - own @ of
        of = (of / (own @ of.square()).sqrt().clamp_min(TINY)).clamp(-FARTHEST, FARTHEST)
    scores[:n] = (of - own @ of).to(scores.dtype)
    return scores


class Moments(NamedTuple):
    """Second moments of columns' scores.

    Attributes
    ----------
    scores : list of Tensor, each of shape (n_states,)
    columns : list of int
        Those that have scores.
    covariance : Tensor of shape (n, n)
        Of these columns, positive definite.
    released : NoisyMoments
        What it was made of.
    """

    scores: list
    columns: list
    covariance: torch.Tensor
    released: NoisyMoments

    @property
    def are_correlated(self):
        """Whether any two columns are."""
        return bool((self.covariance - torch.diag(self.covariance.diag())).any())

    def of(self, columns):
        """Those of some of the columns."""
        places = torch.tensor([self.columns.index(j) for j in columns], dtype=torch.long)
        return self._replace(columns=list(columns), covariance=self.covariance[places[:, None], places])

    def weights(self, n_columns):
        """Weights (n_columns, n_columns) of a coupling that has these moments, where scores are nearly normal."""
        return self._spread(-torch.linalg.inv(self.covariance), n_columns)

    def given_others(self, heights):
        """Heights of states, list of Tensor, without what a column's others leave of its variance less than it has.

        For normal scores, with :meth:`weights`, each column then has the frequencies whose logarithms the heights are.
        """
        heights, narrower = list(heights), torch.linalg.inv(self.covariance).diag() - 1 / self.covariance.diag()
        for j, precision in zip(self.columns, narrower.tolist(), strict=True):
            heights[j] = heights[j] - precision / 2 * self.scores[j].square()
        return heights

    def move(self, coupling, codes, step):
        """Move a coupling's weights, in place, by a share of what they lack: the difference of inverse covariances.

        For normal scores a whole step is Newton's.
        """
        own = coupling.of(codes.T)[:, self.columns].double()
        own = own - own.mean(0)
        has = own.T @ own / len(own) + LEAST_VARIANCE * torch.diag(self.covariance.diag())
        difference = torch.linalg.inv(has) - torch.linalg.inv(self.covariance)
        # Where draws hardly vary, the inverse of what they have is anything.
        units = self.covariance.diag().sqrt()
        units = torch.outer(units, units)
        difference = (difference * units).clamp(-LARGEST_MOVE, LARGEST_MOVE) / units
        coupling.weights.add_(step * self._spread(difference, len(coupling.weights)))

    def _spread(self, weights, n_columns):
        return spread((weights - torch.diag(weights.diag())).float(), self.columns, n_columns)


def spread(values, columns, n_columns):
    """Values (n, n) of some of the columns as those (n_columns, n_columns) of all: 0 elsewhere."""
    out = values.new_zeros(n_columns, n_columns)
    places = torch.tensor(columns, dtype=torch.long)
    out[places[:, None], places] = values
    return out


def kept_by_clipping(moments, codes):
    """Share (k, k) that clipping has left of the products of scores.

    Of columns that go together a little more, ``exp(w s_j s_k)``, the product is more by ``w`` times the mean of
    ``s_j^2 s_k^2``, and what is left of it by this mean with the records' factors.
    """
    scores = torch.stack([moments.scores[j].double()[codes[j]] for j in moments.columns], 1)
    squares = scores.square()
    factors = (moments.clip**2 / squares.sum(1, keepdim=True).clamp_min(TINY)).clamp_max(1)
    whole = (squares.T @ squares).clamp_min(TINY)
    return (squares.T @ (factors * squares)).clamp_min(TINY) / whole


def like_correlations(found):
    """The symmetric matrix with ones on the diagonal, made positive definite.

    Examples
    --------
    >>> like_correlations(torch.tensor([[1.0, 3.0], [3.0, 1.0]]))[0, 1] < 1
    tensor(True)
    """
    values, vectors = torch.linalg.eigh(found - torch.diag(found.diag() - 1))
    found = (vectors * values.clamp_min(LEAST_VALUE)) @ vectors.T
    units = found.diag().sqrt()
    return found / torch.outer(units, units)
