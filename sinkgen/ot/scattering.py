"""A fixed feature map of images: moduli of wavelets, averaged. It is public: two integers tell it."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sinkgen._validation import check_integer
from sinkgen.exceptions import BadValueError

BLOCK = 256  # images that are looked at together: what lies in memory is that many times the wavelets
WIDTH, FREQUENCY = 0.8, 3 * math.pi / 4  # of the finest wavelet, in pixels and radians a pixel
REACH = 4.0  # widths, beyond which a window is 0: numbers that are nearly so take processors ten times as long
SMOOTH = 1e-8  # under the root of a modulus, whose slope at 0 is infinite otherwise


class Scattering(nn.Module):
    r"""Scattering coefficients of images: averages of the image, of its edges by scale and direction, and of theirs.

    Averages :math:`x * \phi`, :math:`|x * \psi_1| * \phi` and :math:`||x * \psi_1| * \psi_2| * \phi` over windows of
    ``2^scales`` pixels, of Morlet wavelets :math:`\psi` in round windows. Small shifts and bends change these less than
    they change pixels. Beyond its edges an image is black.

    Parameters
    ----------
    image_shape : (h, w) or (h, w, c)
        Channels are looked at one by one.
    scales : int, default=2
        Wavelets' widths, each twice the one before.
    angles : int, default=4
        Wavelets' directions.

    Raises
    ------
    TypeError, ValueError
        If the shape is none of images, or a number is below 1.

    References
    ----------
    .. [1] Bruna, Mallat, "Invariant Scattering Convolution Networks", IEEE TPAMI 35 (2013), section 2.
    .. [2] Tramer, Boneh, "Differentially Private Learning Needs Better Features (or Much More Data)", ICLR 2021.

    Examples
    --------
    >>> import torch
    >>> Scattering((28, 28))(torch.zeros(3, 784)).shape
    torch.Size([3, 1225])
    """

    def __init__(self, image_shape: Sequence[int], scales: int = 2, angles: int = 4) -> None:
        super().__init__()
        if len(image_shape) not in (2, 3):
            raise BadValueError(f"image_shape must be (h, w) or (h, w, c), got {tuple(image_shape)}")
        self.image_shape = tuple(check_integer("image_shape", side, low=1) for side in image_shape)
        self.scales, self.angles = check_integer("scales", scales, low=1), check_integer("angles", angles, low=1)
        turns = math.pi * torch.arange(self.angles).double() / self.angles
        for scale in range(self.scales):
            self.register_buffer(f"share_{scale}", _parts(_shares(scale, turns))[:, None, None, :, None])
        for level in range(self.scales):
            height, width = (-(-side // 2**level) for side in self.image_shape[:2])
            last = self.scales - level
            self.register_buffer(f"rows_{level}_window", _waves(height, last, turns[:0])[0].real.float())
            self.register_buffer(f"columns_{level}_window", _waves(width, last, turns[:0])[0].real.float())
            for scale in range(last):
                rows, columns = _waves(height, scale, turns.cos()), _waves(width, scale, turns.sin()).mT
                self.register_buffer(f"rows_{level}_{scale}", _parts(rows).movedim(-1, 0).contiguous())
                both = torch.stack([_parts(columns).movedim(-1, 2), _parts(1j * columns).movedim(-1, 2)])
                self.register_buffer(f"columns_{level}_{scale}", both.flatten(3).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """Coefficients (m, k) of images that are rows; with the defaults, k is about 1.6 times h * w * c.

        Parameters
        ----------
        x : Tensor of shape (m, h * w * c)

        Returns
        -------
        Tensor of shape (m, k)

        Examples
        --------
        >>> import torch
        >>> Scattering((4, 4, 3))(torch.rand(2, 48)).shape
        torch.Size([2, 75])
        """
        blocks = x.float().split(BLOCK) if len(x) else [x.new_zeros(1, math.prod(self.image_shape)).float()]
        return torch.cat([self._block(part) for part in blocks])[: len(x)]

    def _block(self, x):
        height, width, channels = (*self.image_shape, 1)[:3]
        # An axis of the image comes first and the other last: what lies between is any number of maps.
        maps = x.reshape(len(x), height, width, channels).permute(1, 0, 3, 2).flatten(1, 2)
        out = [self._averaged(maps, 0)]
        for scale in range(self.scales):
            edges = self._moduli(maps, 0, scale)
            out.append(self._averaged(edges, scale))
            for wider in range(1, self.scales - scale):
                out.append(self._averaged(self._moduli(edges, scale, wider), scale + wider))
        found = [part.reshape(len(part), -1, len(x), channels, part.shape[2]) for part in out]
        return torch.cat([part.permute(2, 1, 3, 0, 4).flatten(1) for part in found], 1)

    def _moduli(self, maps, level, scale):
        """Moduli (h', angles * k, w') of a scale's wavelets of maps (h, k, w), at every 2^scale-th pixel."""
        rows, columns = (getattr(self, f"{axis}_{level}_{scale}") for axis in ("rows", "columns"))
        n, side = rows.shape[1:3]
        real, imaginary = (rows.flatten(0, 2) @ maps.flatten(1)).reshape(2, n, -1, maps.shape[2])
        # Complex products by those of real numbers, which are much faster.
        both = torch.baddbmm(imaginary @ columns[1], real, columns[0]).reshape(n, side, maps.shape[1], 2, -1)
        # Less what is the same in all of the window, which comes first: of mean 0.
        waves = both[1:] - getattr(self, f"share_{scale}") * both[:1, :, :, :1]
        return (waves.square().sum(3) + SMOOTH).sqrt().transpose(0, 1).flatten(1, 2)

    def _averaged(self, maps, level):
        """Maps (h, k, w) of a level under a window of 2^scales pixels."""
        rows, columns = (getattr(self, f"{axis}_{level}_window") for axis in ("rows", "columns"))
        return (rows @ maps.flatten(1)).reshape(len(rows), -1, maps.shape[2]) @ columns.T


def _parts(numbers):
    """Real and imaginary parts of complex numbers, along a new last axis."""
    return torch.view_as_real(numbers.resolve_conj().contiguous()).float()


def _waves(side, scale, parts):
    """What each pixel of an axis adds to every 2^scale-th, complex (1 + angles, ceil(side / 2^scale), side).

    The first is the window; the others are waves in it, which along this axis have ``parts`` of the frequency.
    """
    at = torch.arange(side).double()
    apart = at[:: 2**scale, None] - at
    frequency = torch.cat([parts.new_zeros(1), parts]) * FREQUENCY / 2**scale
    return _window(apart, scale) * torch.exp(1j * frequency[:, None, None] * apart)


def _window(apart, scale):
    width = WIDTH * 2**scale
    window = torch.exp(-0.5 * (apart / width).square()) / (width * math.sqrt(2 * math.pi))
    return torch.where(apart.abs() <= REACH * width, window, 0.0)


def _shares(scale, turns):
    """Sum of each wave in its window (angles,), over that of the window."""
    at = torch.arange(-8 * 2**scale, 8 * 2**scale + 1).double()
    window, frequency = _window(at, scale), FREQUENCY / 2**scale
    sums = [(window * torch.exp(1j * of[:, None] * frequency * at)).sum(1) for of in (turns.cos(), turns.sin())]
    return sums[0] * sums[1] / window.sum() ** 2
