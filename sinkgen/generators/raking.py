"""Records drawn anew by weights, so that every column has the frequencies that are wanted of it. Public."""

import torch

RAKINGS = 20
MOST = 4.0  # times that a weight changes by at once
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
    weights = torch.ones(n, dtype=torch.float64)
    for _ in range(RAKINGS):
        for of, wanted in zip(codes, frequencies, strict=True):
            has = torch.bincount(of, weights, minlength=len(wanted)) / weights.sum()
            weights *= ((wanted.double() + TINY) / (has + TINY)).clamp(1 / MOST, MOST)[of]
    ends = weights.cumsum(0)
    places = (torch.arange(n) + torch.rand(1, generator=random, dtype=torch.float64)) / n * ends[-1]
    return codes[:, torch.searchsorted(ends, places).clamp_max(n - 1)]
