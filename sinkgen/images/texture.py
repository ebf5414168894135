"""Fine texture of images: white noise where images are bright, outside of the directions that the mixture models.

Without it samples hold nothing but smooth shapes, and a classifier trained on them meets the first real texture unfit.
How strong it is at each pixel is private, and is read off moments that are released anyway.
"""

import torch
from torch.nn import functional as F

from sinkgen.images.pixels import to_pixels, to_rows

# Constants chosen by trials: docs/experiments.md, Images.
DARKEST = 0.05  # mean brightness below which texture is not made stronger where an image is brighter than usual


def texture_deviation(moment, directions, basis, noise_scale):
    """Standard deviation at each encoded number of what the directions leave out; post-processing.

    Parameters
    ----------
    moment : Tensor of shape (D, D)
        Mean of z z^T with symmetric noise, z the records' coordinates in ``basis``.
    directions : Tensor of shape (D, d)
        Orthonormal columns, in the same coordinates.
    basis : Tensor of shape (D, D)
        Orthonormal and public; also where the deviation, itself an image, stands out of its noise in few coordinates.
    noise_scale : float
        Standard deviation of the noise of a diagonal entry, and in any other orthonormal basis too.

    Returns
    -------
    Tensor of shape (D,)
        At least 0.
    """
    residual = moment - directions @ (directions.T @ moment)
    residual = residual - (residual @ directions) @ directions.T
    variances = torch.einsum("pi,ij,pj->p", basis, residual, basis)
    waves = variances @ basis
    return (basis @ torch.where(waves.abs() > 3 * noise_scale, waves, 0.0)).clamp_min(0).sqrt()


class Texture:
    """Draws texture: the stronger the brighter an image is around a pixel, compared with the mean image.

    Parameters
    ----------
    image_shape : (h, w) or (h, w, c)

    Examples
    --------
    >>> texture = Texture((4, 4))
    >>> texture.gain(torch.zeros(1, 16), torch.full((16,), 0.5)).max()
    tensor(0.)
    """

    def __init__(self, image_shape):
        self.image_shape = tuple(image_shape)

    def draw(self, images, deviation, space, random):
        """Images (m, D) with texture of ``deviation`` (D,), orthogonal to the space's directions."""
        noise = torch.randn(images.shape, generator=random) * deviation * space.weights
        noise = (noise - (noise @ space.basis) @ space.basis.T) / space.weights
        return images + noise * self.gain(images, space.centre)

    def gain(self, images, mean):
        """Amplitude (m, D) at each pixel of images (m, D), about 1 where ``mean`` (D,) is theirs."""
        usual = self._around(mean[None].clamp(0, 1)).sqrt() + DARKEST
        return self._around(images.clamp(0, 1)).sqrt() / usual

    def _around(self, images):
        pixels = to_pixels(images, self.image_shape)
        return to_rows(F.avg_pool2d(pixels, 3, 1, 1, count_include_pad=False))
