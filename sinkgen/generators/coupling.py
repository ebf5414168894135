"""How all columns of a field with an order go together roughly: each by one score a state, any two by one number."""

from typing import NamedTuple

import torch


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


def rank_scores(frequencies, n_ordered):
    """Scores of states from -1 to 1: how many records have lower states, less how many have higher ones.

    Their products with those of another column have, over records, Spearman's correlation, up to ties. A column has
    them if its states have an order, or are two; states beyond those in order (missing cells) have 0.

    Parameters
    ----------
    frequencies : Tensor of shape (n_states,)
    n_ordered : int

    Returns
    -------
    Tensor of shape (n_states,)
        Of mean 0.

    Examples
    --------
    >>> rank_scores(torch.tensor([0.5, 0.25, 0.25]), 3)
    tensor([-0.5000,  0.2500,  0.7500])
    """
    n = len(frequencies) if len(frequencies) == 2 else n_ordered
    scores = torch.zeros_like(frequencies)
    if n > 1:
        own = frequencies[:n]
        scores[:n] = 2 * own.cumsum(0) - own - own.sum()
    return scores
