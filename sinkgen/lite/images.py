"""What images have beside points: deformations, texture, tones; the same as in :mod:`sinkgen.images`, by numpy."""

import math

import numpy as np

WAVES = 3
CUBIC = -0.75  # the parameter of bicubic interpolation
DARKEST = 0.05
N_CELLS = 4096


class Warps:
    """Smooth deformations; see :class:`sinkgen.images.warps.Warps`.

    Parameters
    ----------
    image_shape : (h, w) or (h, w, c)
    """

    def __init__(self, image_shape):
        self._shape = image_shape
        rows, columns = (_waves(side) for side in image_shape[:2])
        patterns = np.einsum("ya,xb->abyx", rows, columns).reshape(-1, *image_shape[:2])
        zero = np.zeros_like(patterns)
        # Amounts move along x first, then along y; in pixels.
        height, width = image_shape[:2]
        self._x = np.concatenate([patterns * (width / 28), zero]).astype(np.float32)
        self._y = np.concatenate([zero, patterns * (height / 28)]).astype(np.float32)
        self.size = len(self._x)

    def apply(self, images, amounts):
        """Images (m, D), deformed by amounts (m, q), by bicubic interpolation; the border is repeated outside."""
        pixels = _pixels(images, self._shape)
        m, channels, height, width = pixels.shape
        x = np.arange(width, dtype=np.float32) + np.tensordot(amounts, self._x, 1)
        y = np.arange(height, dtype=np.float32)[:, None] + np.tensordot(amounts, self._y, 1)
        left, top = np.floor(x), np.floor(y)
        across, down = _cubic(x - left), _cubic(y - top)
        left, top = left.astype(np.int32), top.astype(np.int32)
        flat, out = pixels.reshape(m, channels, -1), np.zeros_like(pixels)
        image = np.arange(m)[:, None, None]
        for i in range(4):
            row = np.clip(top + (i - 1), 0, height - 1) * width
            for j in range(4):
                place = row + np.clip(left + (j - 1), 0, width - 1)
                weight = down[i] * across[j]
                for channel in range(channels):
                    out[:, channel] += weight * flat[image, channel, place]
        return _rows(out)


class Texture:
    """White noise where images are bright; see :class:`sinkgen.images.texture.Texture`.

    Parameters
    ----------
    image_shape : (h, w) or (h, w, c)
    """

    def __init__(self, image_shape):
        self._shape = image_shape

    def gain(self, images, mean):
        """Amplitude (m, D) at each pixel of images (m, D), about 1 where ``mean`` (D,) is theirs."""
        usual = np.sqrt(self._around(mean[None].clip(0, 1))) + DARKEST
        return np.sqrt(self._around(images.clip(0, 1))) / usual

    def _around(self, images):
        pixels = _pixels(images, self._shape)
        height, width = pixels.shape[2:]
        padded = np.pad(pixels, ((0, 0), (0, 0), (1, 1), (1, 1)))
        inside = np.pad(np.ones((height, width), dtype=np.float32), 1)
        parts = [(slice(i, i + height), slice(j, j + width)) for i in range(3) for j in range(3)]
        return _rows(sum(padded[:, :, a, b] for a, b in parts) / sum(inside[a, b] for a, b in parts))


class Tones:
    """Curves of brightness and details; see :class:`sinkgen.images.tones.Tones`.

    Parameters
    ----------
    image_shape : (h, w) or (h, w, c)
    """

    def __init__(self, image_shape):
        self._shape = image_shape

    def apply(self, images, curves):
        """Images (m, D) in [0, 1] after curves (1 + 4 n, 2, k)."""
        images = _follow(images, curves[0])
        for first in range(1, len(curves), 4):
            fine = self._blur(images, 1)
            coarse = self._blur(fine, 2)
            parts = images - fine, fine - coarse, coarse
            images = _follow(sum(map(_follow, parts, curves[first : first + 3])), curves[first + 3])
        return images

    def _blur(self, images, scale):
        pixels = _pixels(images, self._shape)
        for axis in (2, 3):
            n, sides = pixels.shape[axis], [(0, 0)] * 4
            sides[axis] = (scale, scale)
            padded = np.pad(pixels, sides, mode="edge")
            before, middle, after = (padded.take(range(start, start + n), axis) for start in (0, scale, 2 * scale))
            pixels = (before + after) / 4 + middle / 2
        return _rows(pixels)


def _waves(side):
    columns = np.cos(math.pi / side * (np.arange(side)[:, None] + 0.5) * np.arange(min(WAVES, side)))
    return columns / np.sqrt(np.square(columns).mean(0))


def _cubic(t):
    """Weights of the four pixels around a place, the second of which lies ``t`` before it."""
    a = CUBIC

    def near(x):
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x):
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return far(t + 1), near(t), near(1 - t), far(2 - t)


def _follow(values, curve):
    """The curve's heights at values of any shape; constant beyond its ends."""
    knots, heights = curve
    low, high = float(knots[0]), float(knots[-1])
    even = np.interp(np.linspace(low, high, N_CELLS + 1), *_rising(knots, heights)).astype(np.float32)
    place = ((values - low) * (N_CELLS / max(high - low, 1e-12))).clip(0, N_CELLS * (1 - 2.0**-20))
    cell = place.astype(np.int32)
    return even[cell] + np.diff(even)[cell] * (place - cell)


def _rising(knots, heights):
    """Knots that repeat, once: the first of them."""
    first = np.concatenate([[True], np.diff(knots) > 0])
    return knots[first].astype(np.float64), heights[first].astype(np.float64)


def _pixels(images, image_shape):
    height, width, channels = (*image_shape, 1)[:3]
    return images.reshape(len(images), height, width, channels).transpose(0, 3, 1, 2)


def _rows(pixels):
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)).reshape(len(pixels), -1)
