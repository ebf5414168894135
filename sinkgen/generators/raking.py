"""Weights by which records have the frequencies that are wanted of them, and records drawn anew by these. Public."""

import torch

from sinkgen.generators.cliques import Clique

RAKINGS = 20
FACTOR = 2.0  # by which a cell's records get more or less weight at once
TINY = 1e-9


def raked(codes, frequencies, random):
    """Records of which some are left out, and others there twice, so that their columns have these frequencies.

    Gibbs steps draw one column after the other. Where several columns are bound together, such as one-hot coded ones,
    none can move alone, and how many records have which of their values stays as it was in the first of all draws. Of
    such records this mends what steps cannot; what goes together in a record, it leaves together.

    Parameters
    ----------
    codes : LongTensor of shape (n_columns, m)
        States.
    frequencies : sequence of Tensor
        Of the states of each column.
    random : torch.Generator

    Returns
    -------
    LongTensor of shape (n_columns, m)

    References
    ----------
    .. [1] Deming, Stephan, "On a Least Squares Adjustment of a Sampled Frequency Table When the Expected Marginal
       Totals are Known", Annals of Mathematical Statistics 11 (1940).

    Examples
    --------
    >>> codes = torch.tensor([[0, 0, 0, 1], [1, 1, 1, 0]])
    >>> raked(codes, [torch.tensor([0.5, 0.5])] * 2, torch.Generator()).sum(1).tolist()
    [2, 2]
    """
    n = codes.shape[1]
    codes = codes[:, torch.randperm(n, generator=random)]  # even steps over what comes in turns would miss some of it
    singles = [Clique((j,), (torch.arange(len(of)),)) for j, of in enumerate(frequencies)]
    weights = agreeing(codes, list(zip(singles, frequencies, strict=True)), RAKINGS)
    ends = weights.cumsum(0)
    places = (torch.arange(n) + torch.rand(1, generator=random, dtype=torch.float64)) / n * ends[-1]
    return codes[:, torch.searchsorted(ends, places).clamp_max(n - 1)]


def agreeing(codes, known, rounds):
    """Weights (m,) of records with which these have the shares of cells that are known (raking), nearly.

    Parameters
    ----------
    codes : LongTensor of shape (n_columns + 1, m)
    known : sequence of (Clique, Tensor)
    rounds : int

    Examples
    --------
    >>> pair = Clique((0,), (torch.arange(2),))
    >>> agreeing(torch.tensor([[0, 0, 0, 1]]), [(pair, torch.tensor([0.6, 0.4]))], 3)
    tensor([0.2000, 0.2000, 0.2000, 0.4000], dtype=torch.float64)
    """
    weights = torch.full((codes.shape[1],), 1 / codes.shape[1], dtype=torch.float64)
    cells = [clique.cells(codes) for clique, _ in known]
    for _ in range(rounds):
        for of, (_, wanted) in zip(cells, known, strict=True):
            wanted = wanted.double().flatten()
            has = torch.zeros_like(wanted).index_add_(0, of, weights)
            weights *= ((wanted + TINY) / (has + TINY)).clamp(1 / FACTOR, FACTOR)[of]
    return weights / weights.sum()
