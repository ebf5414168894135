"""Fine texture of images: noise where brightness varies, outside of the directions that the mixture models.

Without it samples hold nothing but smooth shapes, and a classifier trained on them meets the first real texture unfit.
How fine it is, how its colours go together, and how strong it is at each pixel, is private, and is read off moments
that are released anyway.
"""

import math
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from sinkgen.denoise.frequencies import interpolate, stepped_frequencies
from sinkgen.images.curves import Table
from sinkgen.images.pixels import along_sides, colour_axes, held_waves, to_pixels, to_rows, waves

# Constants chosen by trials: docs/experiments.md, Images.
AROUND = 5  # pixels a side of the surroundings whose slopes tell how strong texture is
FLATTEST = 1e-7  # mean square of slopes, of brightness a pixel, that are not told from none
USUAL = 3e-4  # the same, below which texture is taken to be as strong as where all is flat, until it is known
BANDS_AN_OCTAVE = 2
STANDS_OUT = 3.0  # standard deviations of its noise that a wave of the strength, or a sum of texture, must exceed
MEDIAN_SIZE = 0.6745  # of a normal number of variance 1
N_SLOPES = 32
EDGES = torch.logspace(math.log10(FLATTEST) / 4, 0, N_SLOPES + 1)  # of steepness, see Texture.steepness


class TextureModel(NamedTuple):
    """What images hold outside of the directions, on the mean.

    Attributes
    ----------
    strength : Tensor of shape (D,)
        At each encoded number, in the unit of :meth:`Texture.gain`; 0 where there is no texture.
    spectrum : Tensor of shape (n_bands, c, c)
        Factors of the covariance of the channels, by band of frequencies; of white noise none are needed.
    gains : Tensor of shape (2, k)
        Curve of the amplitude by how steep an image is around a pixel.
    """

    strength: torch.Tensor
    spectrum: torch.Tensor
    gains: torch.Tensor


def _root_curve(n_knots=129):
    """Amplitude as photographs and handwriting have it: fourth root of the mean square slope, if that is not small."""
    steepness = torch.logspace(math.log10(FLATTEST) / 4, 0, n_knots, dtype=torch.float64)
    return torch.stack([steepness, (steepness**4 - FLATTEST + USUAL) ** 0.25]).float()


WHITE, ROOT = torch.zeros(0, 1, 1), _root_curve()


def wave_bands(height, width):
    """Band (h, w) of the frequency of each cosine wave, half an octave each; the mean, and waves below 1, are in 0.

    Examples
    --------
    >>> wave_bands(2, 4)
    tensor([[0, 1, 3, 4],
            [3, 3, 4, 4]])
    """
    rows, columns = torch.arange(height).double(), torch.arange(width).double()
    frequency = torch.hypot(rows[:, None] * max(height, width) / height, columns * max(height, width) / width)
    return (BANDS_AN_OCTAVE * frequency.clamp_min(0.5).log2() + 1 + 1e-9).floor().clamp_min(0).long()


def find_texture(moment, directions, image_shape, noise_scale):
    """What the directions leave out of images, on the mean; post-processing.

    Parameters
    ----------
    moment : Tensor of shape (D, D)
        Mean of z z^T with symmetric noise, z the records' coordinates in
        :func:`~sinkgen.images.pixels.cosine_basis`.
    directions : sinkgen.denoise.spectra.Directions
        Found in it. What they hold is taken off as estimated: to project the moment would take off as well what noise
        has lifted them by.
    image_shape : (h, w) or (h, w, c)
    noise_scale : float
        Standard deviation of the noise of a diagonal entry, and in any other orthonormal basis too.

    Returns
    -------
    TextureModel
        The strength relative to its mean square; none where not even its mean stands out of the noise. The spectrum by
        bands, whose mean is known well where single waves are not; where texture is strong, itself an image, by the few
        waves that stand out of their noise.
    """
    height, width, channels = (*image_shape, 1)[:3]
    rows, columns = held_waves(height), held_waves(width)
    held = (directions.basis * directions.held.sqrt()).view(rows * columns, channels, -1)
    blocks = moment.view(rows * columns, channels, rows * columns, channels)
    grey = blocks.diagonal(dim1=1, dim2=3).sum(2) - torch.einsum("icd,jcd->ij", held, held)
    strength = _strength(grey / math.sqrt(channels), (height, width), noise_scale)
    residual = blocks.diagonal(dim1=0, dim2=2) - torch.einsum("iad,ibd->abi", held, held)
    bands = wave_bands(height, width)
    # By pixels and by bands there are few numbers: what follows is told on the processor.
    spectrum = _spectrum(residual.cpu(), bands[:rows, :columns].flatten(), noise_scale)
    return TextureModel(strength.repeat_interleave(channels), _continued(spectrum, int(bands.max()) + 1), ROOT)


def _continued(spectrum, n_bands):
    """A spectrum (n, c, c) with the bands of finer waves than were asked of: they fall as the last ones did."""
    bands = list(spectrum)
    while len(bands) < n_bands:
        share = float(bands[-1].norm() / bands[-2].norm().clamp_min(1e-30)) if len(bands) > 1 else 0.0
        bands.append(bands[-1] * min(share, 1.0))
    return torch.stack(bands)


def _strength(residual, shape, noise_scale):
    """Root of the residual, in the waves that are held, at each pixel (h w,); relative to its mean square."""
    rows, columns = (waves(side, held_waves(side)).to(residual) for side in shape)
    sides = (rows.shape[1], columns.shape[1])
    lines = torch.einsum("ya,yc,abcd->ybd", rows, rows, residual.view(*sides, *sides))
    pixels = torch.einsum("xb,xd,ybd->yx", columns, columns, lines)
    heights = rows.T @ pixels @ columns
    # What was missed of the directions is noise to them, too: most waves of the strength hold nothing else.
    noise = max(noise_scale, float(heights.abs().median()) / MEDIAN_SIZE)
    if float(heights[0, 0]) <= STANDS_OUT * noise:  # the mean of all pixels: what is left may be noise alone
        return torch.zeros(pixels.numel())
    variances = rows @ torch.where(heights.abs() > STANDS_OUT * noise, heights, 0.0) @ columns.T
    variances = variances.clamp_min(0).flatten()
    return (variances / variances.mean().clamp_min(1e-30)).sqrt()


def _spectrum(blocks, bands, noise_scale):
    """Factors (n_bands, c, c) of the mean of the blocks (c, c, k) over each band; without what may be noise.

    Bands that do not stand out are told together with others, as if variance fell with the square of the frequency as
    in photographs. Else the few waves of the finest ones, lifted by noise, would show as a pattern.
    """
    channels, sizes = len(blocks), torch.bincount(bands).double()
    sums = torch.zeros(channels, channels, len(sizes)).index_add_(2, bands, blocks).double()
    usual = 2.0 ** -torch.arange(len(sizes), dtype=torch.float64)
    groups = _told_together(usual * sums.diagonal().sum(1), usual.square() * sizes, noise_scale * math.sqrt(channels))
    weights = torch.zeros(len(sizes), dtype=torch.float64).index_add_(0, groups, usual.square() * sizes)
    heights = torch.zeros_like(sums).index_add_(2, groups, usual * sums) / weights.clamp_min(1e-300)
    values, vectors = torch.linalg.eigh(heights.permute(2, 0, 1))
    edges = noise_scale * math.sqrt(2 * channels) / weights.clamp_min(1e-300).sqrt()
    kept = torch.where(values > edges[:, None], values, 0.0)
    axes = colour_axes(channels)
    factors = axes.T @ vectors * kept.sqrt()[:, None]
    return (factors[groups] * usual.sqrt()[:, None, None]).float()


def _told_together(sums, variances, noise_scale):
    """Group of each band: neighbours, from the finest on, until their sum stands out of its noise.

    Parameters
    ----------
    sums, variances : Tensor of shape (n_bands,)
        What a band adds to a sum, and to the variance of its noise, in units of that of the scale.
    noise_scale : float

    Examples
    --------
    >>> _told_together(torch.tensor([9.0, 9.0, 0.5, 9.0, 2.0]), torch.ones(5), 1.0)
    tensor([2, 1, 1, 0, 0])
    """
    groups, group, total, variance = torch.zeros(len(sums), dtype=torch.long), 0, 0.0, 0.0
    for band in range(len(sums) - 1, -1, -1):
        groups[band] = group
        total, variance = total + float(sums[band]), variance + float(variances[band])
        if total > STANDS_OUT * noise_scale * math.sqrt(variance):
            group, total, variance = group + 1, 0.0, 0.0
    return groups if variance == 0 else groups.clamp_max(max(group - 1, 0))


class Texture(nn.Module):
    """Draws texture: the stronger the more the brightness varies around a pixel.

    Natural images have their details near edges: what smooth images leave out has a standard deviation of about the
    fourth root of the mean square slope around, on photographs as on handwriting. How the records at hand have it, a
    curve tells.

    Parameters
    ----------
    image_shape : (h, w) or (h, w, c)

    References
    ----------
    .. [1] Wainwright, Simoncelli, "Scale Mixtures of Gaussians and the Statistics of Natural Images", NIPS 1999.

    Examples
    --------
    >>> texture, image = Texture((4, 8)), torch.zeros(4, 8)
    >>> image[:, 4:] = 1.0
    >>> texture.gain(image.view(1, 32), ROOT).view(4, 8)[0]
    tensor([0.1316, 0.5006, 0.5628, 0.5628, 0.5628, 0.5628, 0.5006, 0.1316])
    """

    n_slopes = N_SLOPES

    def __init__(self, image_shape):
        super().__init__()
        self.image_shape = tuple(image_shape)
        self.n_channels, sides = (*self.image_shape, 1)[2], self.image_shape[:2]
        self.n_bands = int(wave_bands(*sides).max()) + 1
        parts = {"_bands": wave_bands(*sides)}
        for axis, side in zip(("down", "across"), sides, strict=True):
            parts |= {f"_waves_{axis}": waves(side).float(), f"_means_{axis}": _running_mean(side)}
        self._usual = Table.of(ROOT)
        for name, part in (parts | {"_usual_heights": self._usual.heights}).items():
            self.register_buffer(name, part, persistent=False)

    def draw(self, images, model, space, white):
        """Images (m, D) with texture of a :class:`TextureModel`, outside of the space's directions; of white noise."""
        return self.drawing(model, space)(images, white)

    def drawing(self, model, space):
        """What :meth:`draw` does, for many calls: what follows from the model alone is made once."""
        strength, gains = model.strength * space.weights, Table.of(model.gains)

        def draw(images, white):
            noise = self.coloured(white, model.spectrum).mul_(strength) if len(model.spectrum) else white * strength
            noise -= (noise @ space.basis) @ space.basis.T
            return torch.addcmul(images, noise.div_(space.weights), self._gain(images, gains))

        return draw

    def coloured(self, noise, spectrum):
        """Noise (m, D) of a spectrum, of white noise of as many numbers."""
        white, gains = to_pixels(noise, self.image_shape).contiguous(), spectrum[self._bands].permute(2, 3, 0, 1)
        if self.n_channels == 1:
            mixed = white * gains[0]
        else:
            mixed = torch.stack([(white * of_channel).sum(1) for of_channel in gains], 1)
        return to_rows(along_sides(mixed, self._waves_down, self._waves_across))

    def gain(self, images, curve):
        """Amplitude (m, D) at each pixel of images (m, D), the same for all channels; multiplies the strength.

        Parameters
        ----------
        images : Tensor
        curve : Tensor of shape (2, k)
            Of the amplitude, by :meth:`steepness`.
        """
        return self._gain(images, Table.of(curve))

    def _gain(self, images, table):
        gain = table(self.steepness(images))
        return gain if self.n_channels == 1 else gain.repeat_interleave(self.n_channels, 1)

    def steepness(self, images):
        """Fourth root (m, h w) of the mean square slope around each pixel of images (m, D)."""
        pixels = to_pixels(images, self.image_shape)
        light = pixels if self.n_channels == 1 else pixels.mean(1, keepdim=True)
        padded = F.pad(light.clamp(0, 1), (1, 1, 1, 1), mode="replicate")
        across = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
        down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
        slopes = across.square_().addcmul_(down, down).mul_(0.25)
        around = along_sides(slopes, self._means_down, self._means_across).clamp_min_(0)
        return around.add_(FLATTEST).sqrt_().sqrt_().flatten(1)

    def by_steepness(self, images, space, strength):
        """Expected and true texture of images (m, D): means over pixels, by how steep it is around them.

        Parameters
        ----------
        images : Tensor of shape (m, D)
        space : sinkgen.generators.space.Space
            Texture is what lies outside of its directions, and an image as they hold it is as steep as a draw is.
        strength : Tensor of shape (D,)
            Expected where the amplitude is 1.

        Returns
        -------
        (Tensor, Tensor)
            Each of shape (m, N_SLOPES).
        """
        smooth = space.lift(space.project(images)).clamp_(0, 1)
        steepness, left = self.steepness(smooth), (images - smooth).unflatten(1, (-1, self.n_channels))
        usual = self._usual._replace(heights=self._usual_heights)
        expected = strength.to(images)[:: self.n_channels] * usual(steepness)
        bins = (steepness.log() - EDGES[0].log()).div_((EDGES[1] / EDGES[0]).log()).long().clamp_(0, N_SLOPES - 1)
        sums = steepness.new_zeros(len(images), N_SLOPES)
        parts = expected, left[:, :, 0].abs() if self.n_channels == 1 else left.square().mean(2).sqrt()
        return tuple(sums.scatter_add(1, bins, part) / bins.shape[1] for part in parts)

    def fit_gains(self, expected, true, own, noise_scale):
        """Curve (2, N_SLOPES + 1) of the amplitude by how steep a draw is; post-processing.

        Draws are steep more or less often than records: a place of a draw that is as steep as a share of the draws'
        expected texture has the amplitude that records have where they are as steep as this share of theirs.

        Parameters
        ----------
        expected, true : Tensor of shape (N_SLOPES,)
            Noisy means over the records of :meth:`by_steepness`.
        own : Tensor of shape (N_SLOPES,)
            Mean of the expected ones over the draws.
        noise_scale : float
        """
        reached, drawn = torch.zeros(2, N_SLOPES + 1, dtype=torch.float64)
        total = float(expected.sum().clamp_min(max(noise_scale, 1e-12)))
        wanted = stepped_frequencies(expected / total, own / own.sum(), noise_scale / total)
        reached[1:], drawn[1:] = wanted.cumsum(0), (own / own.sum()).cumsum(0)
        known = torch.minimum(expected, true) > STANDS_OUT * noise_scale
        if not known.any():
            return ROOT
        centres = (EDGES[1:] * EDGES[:-1]).sqrt().double().log()
        off = torch.log(true[known] / expected[known])
        places = interpolate(drawn.clamp(1e-4, 1 - 1e-4), reached, EDGES.double().log())
        known_off = off.expand(len(places)) if len(off) == 1 else interpolate(places, centres[known], off)
        usual = Table.of(ROOT)(places.exp().float())
        return torch.stack([EDGES, usual * known_off.exp().float()])


def _running_mean(side):
    """Means of each place's neighbours, at most AROUND, as a matrix."""
    near = ((torch.arange(side)[:, None] - torch.arange(side)).abs() <= AROUND // 2).float()
    return near / near.sum(1, keepdim=True)
