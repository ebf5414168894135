"""Encoded images, a row of numbers each, as the pixels that torch's image functions take."""

import math

import torch


def colour_axes(channels):
    """Orthonormal axes (c, c), as rows: luminance and two of chroma, where the first three channels are colours.

    Channels of photographs move together: most of their variance is luminance, and chroma varies slowly.

    References
    ----------
    .. [1] Ohta, Kanade, Sakai, "Color Information for Region Segmentation", 1980.

    Examples
    --------
    >>> (colour_axes(3).square() * 6).round().int()
    tensor([[2, 2, 2],
            [3, 0, 3],
            [1, 4, 1]], dtype=torch.int32)
    >>> colour_axes(1)
    tensor([[1.]], dtype=torch.float64)
    """
    axes = torch.eye(channels, dtype=torch.float64)
    if channels >= 3:
        axes[:3, :3] = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 2.0, -1.0]])
    return axes / axes.norm(dim=1, keepdim=True)


def waves(side, count=None):
    """Orthonormal cosine waves (side, count) along one axis, one a column: the type-II discrete cosine transform."""
    place = torch.arange(side, dtype=torch.float64)[:, None] + 0.5
    columns = torch.cos(math.pi / side * place * torch.arange(side if count is None else count))
    return columns / columns.norm(dim=0)


MOST_WAVES = 32  # a side: of larger images, only waves as coarse as an image of this size can have are told apart


def held_waves(side):
    """Number of waves of a side that :func:`cosine_basis` holds."""
    return min(side, MOST_WAVES)


def cosine_basis(height, width, channels=1):
    """Orthonormal cosine waves of an image along the axes of its colours; public.

    Of sides of more than 32 pixels the coarsest 32 waves, so that second moments of large images stay affordable: what
    records have in common is coarse, and the finer waves of each are texture.

    Returns
    -------
    Tensor of shape (height * width * channels, k)
        One wave a column; k is that of an image of at most 32 x 32 pixels.

    Examples
    --------
    >>> cosine_basis(4, 8, 3).shape, cosine_basis(40, 8).shape
    (torch.Size([96, 96]), torch.Size([320, 256]))
    """
    rows, columns = (waves(side, held_waves(side)) for side in (height, width))
    return torch.kron(torch.kron(rows, columns), colour_axes(channels).T.contiguous())


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
    if channels == 1:  # the same, but for strides that torch takes for those of channels that come last, and is slow by
        return images.reshape(len(images), 1, height, width)
    return images.reshape(len(images), height, width, channels).permute(0, 3, 1, 2)


def to_rows(pixels):
    """Pixels (m, c, h, w) as images (m, D); undoes :func:`to_pixels`."""
    return pixels.permute(0, 2, 3, 1).flatten(1)


def along_sides(pixels, down, across):
    """Pixels (m, c, h, w), of which each column is multiplied by ``down`` (h, h), each row by ``across`` (w, w).

    A filter of few taps is faster so than by shifts: an image fits where a processor multiplies.
    """
    return torch.matmul(down, pixels @ across.T)
