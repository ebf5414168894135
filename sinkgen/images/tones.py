"""Tones of images: how often each brightness occurs, and each difference to the surroundings, brought to the records'.

Averages are grey where records are black or white. One monotone curve, the same for all pixels and classes, takes the
distribution of the draws' brightness to that of the records; so do curves for the details at two scales, and of
photographs for each axis of chroma. A record's histograms are bounded and hold next to nothing of it, so that their
noise hardly counts.
"""

import functools
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from sinkgen._device import bincount, sent
from sinkgen.denoise.frequencies import interpolate, stepped_frequencies
from sinkgen.images.curves import Table, ends_of
from sinkgen.images.pixels import along_sides, to_pixels, to_rows

# Constants chosen by trials: docs/experiments.md, Images.
N_TONES = 128
N_KNOTS = 513
ROUNDS = 3
TAIL = 0.02  # share of details at each end whose curve is no steeper than the others'
N_RANKED = 2**18  # values by whose ranks a curve is found
N_LIGHT = 4  # histograms of luminance: details at two scales, the rest, brightness
NO_CURVES = torch.zeros(0, 2, N_KNOTS)


class _Light:
    """Bins of brightness: black and white are states of their own, half a step of 8-bit images wide."""

    first, width = 1 / 512, (1 - 2 / 512) / (N_TONES - 2)
    edges = torch.cat([torch.zeros(1), torch.linspace(1 / 512, 1 - 1 / 512, N_TONES - 1), torch.ones(1)])

    @classmethod
    def bins(cls, values):
        """Bin of each value."""
        return (values - cls.first).div_(cls.width).floor_().add_(1).clamp_(0, N_TONES - 1).int()


class _Differences:
    """Bins of details and chroma, in [-1, 1]: finest around zero, where most lie."""

    edges = torch.linspace(-1, 1, N_TONES + 1).sign() * torch.linspace(-1, 1, N_TONES + 1).square()

    @classmethod
    def bins(cls, values):
        """Bin of each value."""
        roots = values.abs().sqrt_().copysign_(values)
        return roots.add_(1).mul_(N_TONES / 2).clamp_(0, N_TONES - 1).int()


DETAILS = (0, 1)
# Of details at two scales, the rest, brightness, and two axes of chroma.
BINS: tuple[type[_Light] | type[_Differences], ...] = (*[_Differences] * 2, *[_Light] * 2, *[_Differences] * 2)


class Planes(NamedTuple):
    """An image apart into what varies on its own.

    Attributes
    ----------
    light : Tensor of shape (m, k, h, w)
        Luminance, or each channel of what is no colour; in [0, 1].
    chroma : Tensor of shape (m, 0 or 2, h, w)
        Red less blue, and green less both; in [-1, 1].
    """

    light: torch.Tensor
    chroma: torch.Tensor


def split_colours(pixels):
    """The planes of pixels (m, c, h, w): of three channels or more, the first three are colours.

    Examples
    --------
    >>> pixels = torch.rand(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    >>> planes = split_colours(pixels)
    >>> planes.light.shape[1], planes.chroma.shape[1]
    (2, 2)
    >>> bool(torch.allclose(join_colours(planes), pixels, atol=1e-6))
    True
    """
    if pixels.shape[1] < 3:
        return Planes(pixels, pixels[:, :0])
    red, green, blue = pixels[:, 0], pixels[:, 1], pixels[:, 2]
    both = red + blue
    light = torch.cat([((both + green) / 3)[:, None], pixels[:, 3:]], 1)
    return Planes(light, torch.stack([red - blue, green - both / 2], 1))


def join_colours(planes):
    """Pixels (m, c, h, w) of :func:`split_colours`."""
    if not planes.chroma.shape[1]:
        return planes.light
    light, (apart, green) = planes.light[:, 0], planes.chroma.unbind(1)
    rest = light - green / 3
    colours = [rest + apart / 2, light + 2 / 3 * green, rest - apart / 2]
    return torch.cat([torch.stack(colours, 1), planes.light[:, 1:]], 1)


class Tones:
    """What is counted of images, and the curves that bring draws there.

    Parameters
    ----------
    image_shape : (h, w) or (h, w, c)

    Examples
    --------
    >>> tones = Tones((8, 8))
    >>> images = torch.rand(3, 64, generator=torch.Generator().manual_seed(0))
    >>> tones.histograms(images).shape, Tones((8, 8, 3)).n_histograms
    (torch.Size([4, 128]), 6)
    """

    n_bins = N_TONES

    def __init__(self, image_shape):
        self.image_shape = tuple(image_shape)
        self.n_histograms = N_LIGHT + (2 if (*self.image_shape, 1)[2] >= 3 else 0)

    def histograms(self, images):
        """Sum over images (m, D) of each one's frequencies, (n_histograms, N_TONES).

        Those of luminance are of details at two scales, the rest, and brightness; then one an axis of chroma. Those of
        an image sum to 1 in each, so that together their norm is at most the root of their number.
        """
        counts = torch.zeros(self.n_histograms, N_TONES, dtype=torch.long, device=images.device)
        sizes = torch.ones(self.n_histograms, 1, dtype=torch.float64, device=images.device)
        for block in images.split(512):  # large images: no more than a few copies of so many at once
            planes = self._planes(block.nan_to_num(0.0).clamp(0, 1))
            for i, (part, of) in enumerate(zip(_counted(planes), BINS, strict=False)):
                counts[i] += bincount(of.bins(part).flatten(), N_TONES)
                sizes[i] = part[0].numel()
        return counts.double() / sizes

    def _planes(self, images):
        return split_colours(to_pixels(images, self.image_shape).contiguous())

    def fit_curves(self, frequencies, draws, noise_scale):
        """Curves that take draws to the records' tones; post-processing.

        The brightness is mapped first; then details, rest and brightness in turn, a few times, since each moves the
        others [1]_; chroma last.

        Parameters
        ----------
        frequencies : Tensor of shape (n_histograms, N_TONES)
            Noisy mean of the records' :meth:`histograms`.
        draws : Tensor of shape (m, D)
        noise_scale : float
            Standard deviation of a frequency's noise. Where the draws' own frequencies are no further away than noise
            would bring them, they stay.

        Returns
        -------
        Tensor of shape (1 + 4 ROUNDS or 3 + 4 ROUNDS, 2, N_KNOTS)
            Values before and after, in the order of application.

        References
        ----------
        .. [1] Heeger, Bergen, "Pyramid-Based Texture Analysis/Synthesis", SIGGRAPH 1995.
        """
        own = (self.histograms(draws) / len(draws)).cpu()
        wanted = [stepped_frequencies(row, mean, noise_scale) for row, mean in zip(frequencies, own, strict=True)]
        planes, curves = self._planes(draws), []

        @functools.cache
        def some(n):  # places by whose values alone a curve is found, where there are many
            places = torch.randint(n, (N_RANKED,), generator=torch.Generator().manual_seed(0))
            return sent(places.int(), draws)  # half the bytes to move

        def follow(part, i):
            values = part.flatten()
            values = values if len(values) <= N_RANKED else values[some(len(values))]
            curve = _curve(values, wanted[i], BINS[i].edges)
            curve = _calm(curve) if i in DETAILS else curve
            curves.append(sent(curve, part))
            return Table.of(curves[-1], ends_of(curve))(part)

        light = follow(planes.light, 3)
        for _ in range(ROUNDS):
            light = follow(sum(follow(part, i) for i, part in enumerate(_details(light))), 3)
        for k in range(planes.chroma.shape[1]):
            follow(planes.chroma[:, k], N_LIGHT + k)
        return torch.stack(curves)

    def mapping(self, curves):
        """What takes images (m, D) along the curves of :meth:`fit_curves`; colours may leave [0, 1].

        Parameters
        ----------
        curves : Tensor of shape (n_curves, 2, k)

        Returns
        -------
        callable
            Images to images, both (m, D).
        """
        tables = [Table.of(curve, ends) for curve, ends in zip(curves, ends_of(curves), strict=True)]
        blurs = [self._blurs(scale, curves) for scale in (1, 2)]

        def relight(light, tables):
            light = tables[0](light)
            for first in range(1, len(tables), 4):
                fine = along_sides(light, *blurs[0])
                coarse = along_sides(fine, *blurs[1])
                parts = zip((light.sub_(fine), fine.sub_(coarse), coarse), tables[first : first + 3], strict=True)
                fine, coarse, rest = (table(part) for part, table in parts)
                light = tables[first + 3](fine.add_(coarse).add_(rest))
            return light

        def relight_colours(images):
            light, chroma = self._planes(images)
            mapped = [table(part) for part, table in zip(chroma.unbind(1), tables[-2:], strict=True)]
            return to_rows(join_colours(Planes(relight(light, tables[:-2]), torch.stack(mapped, 1))))

        def relight_channels(images):  # also of models of before colours were told apart
            return to_rows(relight(to_pixels(images, self.image_shape).contiguous(), tables))

        return relight_channels if len(curves) % 4 == 1 else relight_colours

    def apply(self, images, curves):
        """Images (m, D) after the curves of :meth:`fit_curves`; colours may leave [0, 1]."""
        return self.mapping(curves)(images)

    def _blurs(self, scale, like):
        """The blur of a side, for both, as matrices, where another tensor lies."""
        units = [torch.eye(side, device=like.device).view(1, 1, side, side) for side in self.image_shape[:2]]
        return [_blur(unit, scale, axes=(2,))[0, 0] for unit in units]


def _counted(planes):
    return [*_details(planes.light), planes.light, *planes.chroma.unbind(1)]


def _details(pixels):
    """Differences of pixels (m, k, h, w) to blurred ones at two scales, and what is left; pixels are their sum.

    References
    ----------
    .. [1] Burt, Adelson, "The Laplacian Pyramid as a Compact Image Code", 1983.

    Examples
    --------
    >>> pixels = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> bool(torch.allclose(sum(_details(pixels)), pixels, atol=1e-6))
    True
    """
    fine = _blur(pixels, 1)
    coarse = _blur(fine, 2)
    return [pixels - fine, fine - coarse, coarse]


def _blur(pixels, scale, axes=(2, 3)):
    for axis in axes:
        sides = (0, 0, scale, scale) if axis == 2 else (scale, scale, 0, 0)
        padded = F.pad(pixels, sides, mode="replicate")
        n = pixels.shape[axis]
        before, middle, after = (padded.narrow(axis, start, n) for start in (0, scale, 2 * scale))
        pixels = (before + after).mul_(0.25).add_(middle, alpha=0.5)
    return pixels


def _curve(values, frequencies, edges):
    """The monotone curve (2, N_KNOTS) from the distribution of ``values`` to that of the frequencies' bins.

    It ends half a rank before the outermost values: what lies beyond goes where the last ones go, not to the ends.
    """
    ranks = (torch.arange(N_KNOTS, dtype=torch.float64) + 0.5) / N_KNOTS
    # Numbers without their places are sorted ten times as fast, which torch does not offer.
    ordered = torch.from_numpy(np.sort(values.numpy())) if values.device.type == "cpu" else values.sort().values
    before = ordered[sent((ranks * (len(ordered) - 1)).long(), values)].cpu()  # few, and what follows is of few
    reached = torch.cat([torch.zeros(1, dtype=torch.float64), frequencies.cumsum(0)])
    after = interpolate(ranks, reached, edges.double())
    _, group = torch.unique_consecutive(before, return_inverse=True)  # values that occur often go to their mean
    means = torch.zeros(int(group[-1]) + 1, dtype=torch.float64).scatter_reduce(
        0, group, after, "mean", include_self=False
    )
    return torch.stack([before, means[group].float()])


def _calm(curve):
    """The curve (2, N_KNOTS), its ends no steeper than the middle on the mean, or the identity.

    Large details of records are edges, which lie together; the largest of a draw's texture lie anywhere, and to make
    them as large as edges would make specks of them.
    """
    before, after = curve
    tail = round(TAIL * N_KNOTS)
    middle = (after[-tail - 1] - after[tail]) / (before[-tail - 1] - before[tail]).clamp_min(1e-12)
    most, calm = middle.clamp_min(1.0) * before.diff(), after.clone()
    calm[-tail:] = after[-tail - 1] + torch.minimum(after.diff(), most)[-tail:].cumsum(0)
    calm[:tail] = after[tail] - torch.minimum(after.diff(), most)[:tail].flip(0).cumsum(0).flip(0)
    return torch.stack([before, calm])
