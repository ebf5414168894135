"""What images have beside points: deformations, texture, tones; the same as in :mod:`sinkgen.images`, by numpy."""

import math

import numpy as np

WAVES = 3
CUBIC = -0.75  # the parameter of bicubic interpolation
BANDS_AN_OCTAVE = 2
AROUND, FLATTEST, USUAL = 5, 1e-7, 3e-4
N_CELLS = 16_384


class Warps:
    """Smooth deformations; see :class:`sinkgen.images.warps.Warps`.

    Parameters
    ----------
    image_shape : (h, w) or (h, w, c)
    """

    def __init__(self, image_shape):
        self._shape = image_shape
        rows, columns = (_waves(side, WAVES) for side in image_shape[:2])
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
    """Noise where brightness varies; see :class:`sinkgen.images.texture.Texture`.

    Parameters
    ----------
    image_shape : (h, w) or (h, w, c)
    """

    def __init__(self, image_shape):
        self._shape = (*image_shape, 1)[:3]
        sides = self._shape[:2]
        self._waves = [(_waves(side, side) / math.sqrt(side)).astype(np.float32) for side in sides]
        frequencies = np.hypot(*np.ix_(*[np.arange(side) * (max(sides) / side) for side in sides]))
        bands = np.floor(BANDS_AN_OCTAVE * np.log2(np.maximum(frequencies, 0.5)) + 1 + 1e-9)
        self._bands = np.maximum(bands, 0).astype(int)

    def coloured(self, noise, spectrum):
        """Noise (m, D) of a spectrum (n_bands, c, c), of white noise of as many numbers."""
        height, width, channels = self._shape
        white, gains = noise.reshape(-1, *self._shape), spectrum[self._bands]
        mixed = sum(white[..., k, None] * gains[..., k] for k in range(channels))
        rows, columns = self._waves
        lines = rows @ mixed.reshape(-1, height, width * channels)
        return (columns @ lines.reshape(-1, width, channels)).reshape(noise.shape)

    def gain(self, images, curve):
        """Amplitude (m, D), by a curve (2, k), at each pixel of images (m, D), the same for all channels."""
        light = _pixels(images, self._shape).mean(1).clip(0, 1)
        padded = np.pad(light, ((0, 0), (1, 1), (1, 1)), mode="edge")
        across, down = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2], padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
        slopes = (np.square(across) + np.square(down)) / 4
        for axis in (1, 2):
            slopes = _running_mean(slopes, axis)
        gain = _follow(np.sqrt(np.sqrt(slopes + np.float32(FLATTEST))), curve)
        return np.repeat(gain.reshape(len(images), -1), self._shape[2], 1)


def root_curve():
    """The curve of a model of before it was released, see :data:`sinkgen.images.texture.ROOT`."""
    steepness = np.logspace(math.log10(FLATTEST) / 4, 0, 129)
    return np.stack([steepness, (steepness**4 - FLATTEST + USUAL) ** 0.25])


def _running_mean(values, axis):
    """Means over AROUND neighbours along an axis, of fewer at the border."""
    n, half = values.shape[axis], AROUND // 2
    sides = [(0, 0)] * 3
    sides[axis] = (half, half)
    padded, inside = np.pad(values, sides), np.pad(np.ones(n, dtype=np.float32), half)
    sums, held = np.zeros_like(values), np.zeros(n, dtype=np.float32)
    for start in range(AROUND):
        sums += padded.take(range(start, start + n), axis)
        held += inside[start : start + n]
    return sums / (held[:, None] if axis == 1 else held)


class Tones:
    """Curves of brightness, details and chroma; see :class:`sinkgen.images.tones.Tones`.

    Parameters
    ----------
    image_shape : (h, w) or (h, w, c)
    """

    def __init__(self, image_shape):
        self._shape = image_shape

    def apply(self, images, curves):
        """Images (m, D) after curves (1 + 4 n, 2, k), or (3 + 4 n, 2, k) of colour images."""
        pixels = np.ascontiguousarray(_pixels(images, self._shape))
        if len(curves) % 4 == 1:
            return _rows(_relight(pixels, curves))
        red, green, blue = pixels[:, 0], pixels[:, 1], pixels[:, 2]
        light = np.concatenate([((red + blue + green) / 3)[:, None], pixels[:, 3:]], 1)
        apart, hue = _follow(red - blue, curves[-2]), _follow(green - (red + blue) / 2, curves[-1])
        light = _relight(light, curves[:-2])
        rest = light[:, 0] - hue / 3
        colours = np.stack([rest + apart / 2, light[:, 0] + 2 / 3 * hue, rest - apart / 2], 1)
        return _rows(np.concatenate([colours, light[:, 1:]], 1))


def _relight(light, curves):
    light = _follow(light, curves[0])
    for first in range(1, len(curves), 4):
        fine = _blur(light, 1)
        coarse = _blur(fine, 2)
        parts = light - fine, fine - coarse, coarse
        light = _follow(sum(map(_follow, parts, curves[first : first + 3])), curves[first + 3])
    return light


def _blur(pixels, scale):
    for axis in (2, 3):
        n, sides = pixels.shape[axis], [(0, 0)] * 4
        sides[axis] = (scale, scale)
        padded = np.pad(pixels, sides, mode="edge")
        before, middle, after = (padded.take(range(start, start + n), axis) for start in (0, scale, 2 * scale))
        pixels = (before + after) / 4 + middle / 2
    return pixels


def _waves(side, count):
    columns = np.cos(math.pi / side * (np.arange(side)[:, None] + 0.5) * np.arange(min(count, side)))
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
    heights = np.interp(np.linspace(low, high, N_CELLS), *_rising(knots, heights)).astype(np.float32)
    place = (values - low) * ((N_CELLS - 1) / max(high - low, 1e-12)) + 0.5
    return heights[place.clip(0, N_CELLS - 1).astype(np.int32)]


def _rising(knots, heights):
    """Knots that repeat, once: the first of them."""
    first = np.concatenate([[True], np.diff(knots) > 0])
    return knots[first].astype(np.float64), heights[first].astype(np.float64)


def _pixels(images, image_shape):
    height, width, channels = (*image_shape, 1)[:3]
    return images.reshape(len(images), height, width, channels).transpose(0, 3, 1, 2)


def _rows(pixels):
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)).reshape(len(pixels), -1)
