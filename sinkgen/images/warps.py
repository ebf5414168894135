"""Smooth deformations of images: public displacement fields, their tangents at an image, and their application.

How much images are deformed is private, and is released as second moments of the amounts; the fields are not.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from sinkgen.images.pixels import to_pixels, to_rows

# Constants chosen by trials: docs/experiments.md, Images.
WAVES = 3


class Warps(nn.Module):
    """Displacement fields spanned by the lowest cosine waves, each of root mean square 1/28 of a side.

    Relative to the image, so that what is usual is the same at every size: a pixel at 28 x 28.

    Parameters
    ----------
    image_shape : (h, w) or (h, w, c)
    waves : int
        Waves a side, w; there are q = 2 w^2 fields, half of them along each axis.

    Examples
    --------
    >>> warps = Warps((5, 5))
    >>> image = torch.eye(5).view(1, 25)
    >>> bool((warps.deform(image, torch.zeros(1, warps.size)) - image).abs().max() < 1e-6)
    True
    """

    _fields: torch.Tensor
    _identity: torch.Tensor

    def __init__(self, image_shape, waves=WAVES):
        super().__init__()
        self.image_shape = tuple(image_shape)
        height, width = self.image_shape[:2]
        rows, columns = (_waves(side, waves) for side in (height, width))
        patterns = torch.einsum("ya,xb->abyx", rows, columns).reshape(-1, height, width)
        along = torch.eye(2) * 2 / 28  # grid_sample counts from -1 to 1
        fields = (patterns[None, ..., None] * along[:, None, None, None]).flatten(0, 1)
        identity = F.affine_grid(torch.eye(2, 3)[None], [1, 1, height, width], align_corners=False)
        self.register_buffer("_fields", fields, persistent=False)
        self.register_buffer("_identity", identity, persistent=False)

    @property
    def size(self):
        """Number of fields, q."""
        return len(self._fields)

    def deform(self, images, amounts):
        """Images (m, D), deformed by amounts (m, q); what comes in from outside repeats the border.

        Interpolation may overshoot [0, 1] a little.
        """
        pixels = to_pixels(images, self.image_shape)
        grid = self._identity + torch.einsum("mq,qyxk->myxk", amounts, self._fields)
        # Bicubic: what classifiers make of bilinear interpolation's blur costs more than the overshoot.
        moved = F.grid_sample(pixels, grid, mode="bicubic", padding_mode="border", align_corners=False)
        return to_rows(moved)

    def tangents(self, images):
        """Derivatives (n, q, D) of the images (n, D) by each amount, at no deformation; central differences."""
        step = 0.5
        units = step * torch.eye(self.size, device=images.device)[:, None].expand(-1, len(images), -1)
        return torch.stack([(self.deform(images, unit) - self.deform(images, -unit)) / (2 * step) for unit in units], 1)

    def draw(self, images, factors, standard):
        """Images (m, D), deformed by amounts with covariance ``factors[i] @ factors[i].T``, of standard ones (m, q)."""
        return self.deform(images, torch.einsum("mqr,mr->mq", factors, standard))


def _waves(side, count):
    i = torch.arange(side, dtype=torch.float32)
    columns = torch.cos(math.pi / side * (i[:, None] + 0.5) * torch.arange(min(count, side)))
    return columns / columns.square().mean(0).sqrt()
