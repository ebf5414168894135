"""Public symmetries of images: what is drawn is varied in ways that its user knows to be harmless."""

import torch
from torch.nn import functional as F

from sinkgen._device import normal, sent
from sinkgen.images.pixels import to_pixels, to_rows

# Constants chosen by trials: docs/experiments.md, Images.
# Standard deviations: turn and shear in radians, scale as a share of the size, shift as a share of the half side.
TURN, SCALE, SHEAR, SHIFT = 0.12, 0.08, 0.12, 0.04


def random_affine(images, random):
    """Small random turns, scalings, shears and shifts, other ones for each image.

    Parameters
    ----------
    images : Tensor of shape (m, h, w) or (m, h, w, c), in [0, 1]
    random : torch.Generator

    Returns
    -------
    Tensor of the same shape, in [0, 1]
        What comes in from outside repeats the border.

    Examples
    --------
    >>> random_affine(torch.ones(2, 5, 5), torch.Generator().manual_seed(0)).shape
    torch.Size([2, 5, 5])
    """
    spreads = torch.tensor([[TURN], [SCALE], [SHEAR], [SHIFT], [SHIFT]])
    turn, scale, shear, x, y = normal((5, len(images)), random, images) * sent(spreads, images)
    scale = 1 + scale
    maps = torch.stack([scale * turn.cos(), shear - turn.sin(), x, turn.sin(), scale * turn.cos(), y], 1).view(-1, 2, 3)
    pixels = to_pixels(images, images.shape[1:])
    grid = F.affine_grid(maps, list(pixels.shape), align_corners=False)
    moved = F.grid_sample(pixels, grid, mode="bicubic", padding_mode="border", align_corners=False)
    return to_rows(moved).reshape(images.shape).clamp(0, 1)


AUGMENTATIONS = {"affine": random_affine}


class Augmented:
    """A generator of images whose draws are varied.

    Parameters
    ----------
    generator : torch.nn.Module
        Draws encoded images (m, D): ``draw(labels, random)``.
    augment : callable
        Takes images (m, *image_shape) in [0, 1], where the generator lies, and a torch.Generator of the processor;
        returns such images.
    image_shape : (h, w) or (h, w, c)
    """

    def __init__(self, generator, augment, image_shape):
        self.generator, self.augment, self.image_shape = generator, augment, tuple(image_shape)

    def draw(self, labels, random):
        """Encoded images (m, D) of the given classes (m,)."""
        parts = self.generator.draw(labels, random).view(-1, *self.image_shape).split(4096)
        return torch.cat([self.augment(part, random).flatten(1) for part in parts])
