"""Products of rows, each of which is rounded as if no other were there.

A library chooses by the shapes how it multiplies matrices, and so how it rounds. What a record adds must not depend on
that: a record more moves all others by one place, and changes how many stand in a block.
"""

import torch
from torch.nn import functional as F

UNIT = 16  # blocks of rows are multiples of it: the longest vectors of processors hold so many numbers


def whole(rows):
    """Rows (m, d) with rows of zeros behind them, so that there is a multiple of 16.

    Examples
    --------
    >>> whole(torch.ones(17, 2)).shape
    torch.Size([32, 2])
    """
    missing = -len(rows) % UNIT
    return F.pad(rows, (0, 0, 0, missing)) if missing else rows


def by_columns(matrix):
    """The matrix (d, k) as it lies in memory for :func:`product`, where several products are taken with it.

    Examples
    --------
    >>> by_columns(torch.ones(3, 2)).stride()
    (1, 3)
    """
    return matrix.T.contiguous().T


def product(rows, matrix):
    """The product (m, k) of rows (m, d) and a matrix (d, k).

    Examples
    --------
    >>> product(torch.ones(3, 2), torch.eye(2)).shape
    torch.Size([3, 2])
    """
    # The other matrix column by column: with its rows, how a row of the product is rounded depends on its place.
    return F.linear(whole(rows), by_columns(matrix).T)[: len(rows)]


def softmax(rows):
    """The softmax of each row (m, k), where m is a multiple of 16.

    Examples
    --------
    >>> softmax(torch.zeros(16, 2))[0]
    tensor([0.5000, 0.5000])
    """
    # Short rows take Torch ten times as long as columns.
    return torch.softmax(rows.T, 0).T if rows.shape[1] < UNIT else torch.softmax(rows, 1)
