"""Encoded images, a row of numbers each, as the pixels that torch's image functions take."""

import math

import torch


def cosine_basis(height, width, channels=1):
    """Orthonormal cosine waves of an image, the type-II discrete cosine transform; public.

    Returns
    -------
    Tensor of shape (height * width * channels, height * width * channels)
        One wave a column.
    """

    def waves(n):
        i = torch.arange(n, dtype=torch.float64)
        columns = torch.cos(math.pi / n * (i[:, None] + 0.5) * i)
        return columns / columns.norm(dim=0)

    return torch.kron(torch.kron(waves(height), waves(width)), torch.eye(channels, dtype=torch.float64))


def to_pixels(images, image_shape):
    """Images (m, D), or of shape (m, *image_shape), as pixels (m, c, h, w).

    Parameters
    ----------
    images : Tensor
    image_shape : (h, w) or (h, w, c)

    Examples
    --------
    >>> import torch
    >>> pixels = to_pixels(torch.zeros(5, 24), (2, 4, 3))
    >>> pixels.shape, to_rows(pixels).shape
    (torch.Size([5, 3, 2, 4]), torch.Size([5, 24]))
    """
    height, width, channels = (*image_shape, 1)[:3]
    return images.reshape(len(images), height, width, channels).permute(0, 3, 1, 2)


def to_rows(pixels):
    """Pixels (m, c, h, w) as images (m, D); undoes :func:`to_pixels`."""
    return pixels.permute(0, 2, 3, 1).flatten(1)
