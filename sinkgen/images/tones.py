"""Tones of images: how often each brightness occurs, and each difference to the surroundings, brought to the records'.

Averages are grey where records are black or white. One monotone curve, the same for all pixels and classes, takes the
distribution of the draws' brightness to that of the records; so do curves for the details at two scales. A record's
histograms are bounded and hold next to nothing of it, so that their noise hardly counts.
"""

import math

import torch
from torch.nn import functional as F

from sinkgen.denoise.frequencies import interpolate, shrink_frequencies
from sinkgen.images.pixels import to_pixels, to_rows

# Constants chosen by trials: docs/experiments.md, Images.
N_TONES = 128
N_KNOTS = 513
N_CELLS = 4096
ROUNDS = 3
LARGEST_NOISE = 0.05  # norm of a histogram's noise from which on its curves would follow it
NO_CURVES = torch.zeros(0, 2, N_KNOTS)


def _pixel_edges():
    # Black and white are states of their own: half a step of 8-bit images wide.
    return torch.cat([torch.zeros(1), torch.linspace(1 / 512, 1 - 1 / 512, N_TONES - 1), torch.ones(1)])


def _detail_edges():
    steps = torch.linspace(-1, 1, N_TONES + 1)  # finest around zero, where most details lie
    return steps.sign() * steps.square()


class Tones:
    """What is counted of images, and the curves that bring draws there.

    Parameters
    ----------
    image_shape : (h, w) or (h, w, c)

    Examples
    --------
    >>> tones = Tones((8, 8))
    >>> images = torch.rand(3, 64, generator=torch.Generator().manual_seed(0))
    >>> details, coarse = tones.details(images)
    >>> bool(torch.allclose(sum(details) + coarse, images, atol=1e-6))
    True
    >>> tones.histograms(images).shape
    torch.Size([4, 128])
    """

    n_histograms = 4
    n_bins = N_TONES

    def __init__(self, image_shape):
        self.image_shape = tuple(image_shape)
        self._edges = [_detail_edges(), _detail_edges(), _pixel_edges(), _pixel_edges()]

    def details(self, images):
        """Differences (m, D) to a blurred image at two scales, and what is left; images (m, D) are their sum.

        References
        ----------
        .. [1] Burt, Adelson, "The Laplacian Pyramid as a Compact Image Code", 1983.
        """
        details, rest = [], images
        for scale in (1, 2):
            blurred = self._blur(rest, scale)
            details.append(rest - blurred)
            rest = blurred
        return details, rest

    def _blur(self, images, scale):
        pixels = to_pixels(images, self.image_shape)
        for sides in ((0, 0, scale, scale), (scale, scale, 0, 0)):
            padded = F.pad(pixels, sides, mode="replicate")
            axis = 2 if sides[2] else 3
            n = pixels.shape[axis]
            before, middle, after = (padded.narrow(axis, start, n) for start in (0, scale, 2 * scale))
            pixels = (before + after) / 4 + middle / 2
        return to_rows(pixels)

    def histograms(self, images):
        """Sum over images (m, D) of each one's frequencies, (4, N_TONES): details at two scales, the rest, brightness.

        Those of an image sum to 1 in each of the four, so that together their norm is at most 2.
        """
        counts = torch.zeros(self.n_histograms, N_TONES, dtype=torch.long, device=images.device)
        for block in images.split(512):  # large images: no more than a few copies of so many at once
            parts = self._parts(block.nan_to_num(0.0).clamp(0, 1))
            for row, part, edges in zip(counts, parts, self._edges, strict=True):
                row += torch.bincount(_bins(part, edges), minlength=N_TONES)
        return counts.double() / images.shape[1]

    def _parts(self, images):
        details, rest = self.details(images)
        return [*details, rest, images]

    def fit_curves(self, frequencies, draws, noise_scale):
        """Curves that take draws to the records' tones; post-processing.

        The brightness is mapped first; then details, rest and brightness in turn, a few times, since each moves the
        others [1]_.

        Parameters
        ----------
        frequencies : Tensor of shape (4, N_TONES)
            Noisy mean of the records' :meth:`histograms`.
        draws : Tensor of shape (m, D)
        noise_scale : float
            Standard deviation of a frequency's noise. Where the draws' own frequencies are no further away than noise
            would bring them, they stay.

        Returns
        -------
        Tensor of shape (1 + 4 ROUNDS, 2, N_KNOTS)
            Brightness before and after, in the order of application. None of them where the noise is too large.

        References
        ----------
        .. [1] Heeger, Bergen, "Pyramid-Based Texture Analysis/Synthesis", SIGGRAPH 1995.
        """
        if noise_scale * math.sqrt(N_TONES) > LARGEST_NOISE:
            return NO_CURVES
        own = self.histograms(draws) / len(draws)
        wanted = [shrink_frequencies(row, mean, noise_scale) for row, mean in zip(frequencies, own, strict=True)]
        curves = []

        def follow(part, i):
            curves.append(_curve(part, wanted[i], self._edges[i]))
            return _follow(part, curves[-1])

        images = follow(draws, 3)
        for _ in range(ROUNDS):
            parts = self._parts(images)[:3]
            images = follow(sum(follow(part, i) for i, part in enumerate(parts)), 3)
        return torch.stack(curves)

    def apply(self, images, curves):
        """Images (m, D) in [0, 1] after the curves of :meth:`fit_curves`."""
        images = _follow(images, curves[0])
        for details, finer, rest, brightness in curves[1:].split(4):
            parts = self._parts(images)[:3]
            parts = [_follow(part, curve) for part, curve in zip(parts, (details, finer, rest), strict=True)]
            images = _follow(sum(parts), brightness)
        return images


def _follow(values, curve):
    """The curve's heights at values of any shape; constant beyond its ends."""
    # On an even grid a place is found by a multiplication, ten times as fast as by a search among the knots.
    low, high = float(curve[0, 0]), float(curve[0, -1])
    heights = interpolate(torch.linspace(low, high, N_CELLS + 1), *curve)
    place = (values - low).mul_(N_CELLS / max(high - low, 1e-12)).clamp_(0, N_CELLS * (1 - 2.0**-20))
    cell = place.int()
    start, rise = (part.index_select(0, cell.flatten()).view_as(values) for part in (heights, heights.diff()))
    return start.addcmul_(rise, place - cell)


def _bins(values, edges):
    return torch.bucketize(values.flatten(), edges[1:-1].to(values), right=True)


def _curve(values, frequencies, edges):
    """The monotone curve (2, N_KNOTS) from the distribution of ``values`` to that of the frequencies' bins."""
    ranks = torch.linspace(0, 1, N_KNOTS, dtype=torch.float64)
    ordered = values.flatten().sort().values
    before = ordered[(ranks * (len(ordered) - 1)).long()]
    reached = torch.cat([torch.zeros(1, dtype=torch.float64), frequencies.cumsum(0)])
    after = interpolate(ranks, reached, edges.double())
    _, group = torch.unique_consecutive(before, return_inverse=True)  # values that occur often go to their mean
    means = torch.zeros(int(group[-1]) + 1, dtype=torch.float64).scatter_reduce(
        0, group, after, "mean", include_self=False
    )
    return torch.stack([before, means[group].float()])
