"""Points with variation around them, and what draws records from them; public."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from sinkgen._groups import class_slices
from sinkgen.denoise.radii import draw_radii
from sinkgen.generators.tilt import NO_TILT, POOL, Features, keep_one
from sinkgen.images.texture import ROOT, WHITE, TextureModel
from sinkgen.images.tones import NO_CURVES

NO_SCALES = torch.zeros(0)


@dataclass(frozen=True)
class PointMixture:
    """Weighted points with Gaussian variation around them, in the coordinates of a space.

    Attributes
    ----------
    points : Tensor of shape (n, d)
    classes : LongTensor of shape (n,), sorted
    mass : Tensor of shape (n,)
        Non-negative weight of each point within its class.
    factors : Tensor of shape (n_classes, d, d)
        The direction of a draw's offset from its point, of class c, is that of ``factors[c] @ standard normal``.
    radii : Tensor of shape (n_classes, k)
        Quantiles, at even ranks, of its length; with k = 0 it is that of the normal one.
    warp_factors : Tensor of shape (n_classes, q, q)
        Likewise the amounts by which images of class c are deformed; q = 0 where records are no images.
    texture : Tensor of shape (D,)
        Strength, at each encoded number, of what lies outside of the space's directions; 0 where records are no images.
    class_weights : Tensor of shape (n_classes,)
        Non-negative, sum 1.
    tones : Tensor of shape (n_curves, 2, k)
        Curves that bring the draws to the records' tones, see :class:`sinkgen.images.tones.Tones`; none where records
        are no images.
    waves : Tensor of shape (d, q)
        Of the features that choose among draws, see :class:`sinkgen.generators.tilt.Features`; empty where nothing
        does.
    tilts : Tensor of shape (n_classes, 2 q)
        Of draws of class c, the odds to be kept are ``exp(tilts[c] @ features)``.
    spectrum : Tensor of shape (n_bands, c, c)
        Of the texture, see :class:`sinkgen.images.texture.TextureModel`; empty where it is white, or there is none.
    scales : Tensor of shape (n,)
        What the length of an offset from each point is multiplied by; empty where it is the same for all.
    gains : Tensor of shape (2, k)
        Curve of the texture's amplitude by how steep an image is, see :meth:`sinkgen.images.texture.Texture.gain`.
    """

    points: torch.Tensor
    classes: torch.Tensor
    mass: torch.Tensor
    factors: torch.Tensor
    radii: torch.Tensor
    warp_factors: torch.Tensor
    texture: torch.Tensor
    class_weights: torch.Tensor
    tones: torch.Tensor = NO_CURVES
    waves: torch.Tensor = NO_TILT
    tilts: torch.Tensor = NO_TILT
    spectrum: torch.Tensor = WHITE
    scales: torch.Tensor = NO_SCALES
    gains: torch.Tensor = ROOT

    def draw(self, labels, random):
        """One draw for each label: Tensor of shape (len(labels), d)."""
        out = self.points.new_empty(len(labels), self.points.shape[1])
        slices = class_slices(self.classes)
        for c in torch.unique(labels).tolist():
            rows = torch.nonzero(labels == c).flatten()
            chosen = torch.multinomial(self.mass[slices[c]], len(rows), replacement=True, generator=random)
            normal = torch.randn(len(rows), out.shape[1], generator=random).to(out)
            offsets = normal @ self.factors[c].T
            if self.radii.shape[1]:
                lengths = draw_radii(self.radii[c].expand(len(rows), -1), random).to(out)
                offsets *= (lengths / offsets.norm(dim=1).clamp_min(1e-12))[:, None]
            if len(self.scales):
                offsets *= self.scales[slices[c]][chosen, None]
            out[rows] = self.points[slices[c]][chosen] + offsets
        return out


BLOCK, LEAST = 2**18, 16  # numbers that are drawn at once: few enough for a processor's cache; and records
EVEN_DRAWS = 1024  # by which the mean amplitude of texture is found


class Particles(nn.Module):
    """Draws from a released mixture: a point by its mass, its variation; of images deformation, texture and tones.

    Where the mixture is tilted, of several points with their variation one is kept.

    Parameters
    ----------
    mixture : sinkgen.generators.particles.PointMixture
    space : sinkgen.generators.space.Space
    warps : sinkgen.images.warps.Warps or None
    texture : sinkgen.images.texture.Texture or None
    tones : sinkgen.images.tones.Tones or None
    """

    def __init__(self, mixture, space, warps, texture, tones):
        super().__init__()
        self.mixture, self.space, self.warps, self.texture, self.tones = mixture, space, warps, texture, tones

    @classmethod
    def of(cls, mixture, space, form):
        """What draws a mixture of records of this format: with what of images the mixture has."""
        warps = form.warps() if mixture.warp_factors.numel() else None
        tones = form.tones() if len(mixture.tones) else None
        return cls(mixture, space, warps, form.texture() if mixture.texture.any() else None, tones)

    def with_even_texture(self, random):
        """The same, its texture divided by what images amplify it by on the mean: so as strong as it was found."""
        if self.texture is None:
            return self
        smooth = replace(self.mixture, texture=torch.zeros_like(self.mixture.texture), tones=NO_CURVES)
        labels = torch.multinomial(self.mixture.class_weights, EVEN_DRAWS, replacement=True, generator=random)
        images = Particles(smooth, self.space, self.warps, None, None).draw(labels, random)
        gains = self.texture.gain(images, self.mixture.gains).square().mean(0).sqrt()
        even = replace(self.mixture, texture=self.mixture.texture / gains)
        return Particles(even, self.space, self.warps, self.texture, self.tones)

    def draw(self, labels, random):
        """Encoded records (m, D) of the given classes (m,)."""
        out = torch.empty(len(labels), len(self.space.centre))
        if not len(labels):
            return out
        tone = self.toning()
        size = max(LEAST, BLOCK // out.shape[1])
        for part, rows in zip(labels.split(size), out.split(size), strict=True):
            rows[:] = self.finish(self._coordinates(part, random), part, random, tone)
        return out

    def _coordinates(self, labels, random):
        """Coordinates (m, d): of several draws the one that the tilts choose."""
        if not len(self.mixture.tilts):
            return self.mixture.draw(labels, random)
        pools = self.mixture.draw(labels.repeat_interleave(POOL), random).unflatten(0, (len(labels), POOL))
        odds = Features(self.mixture.waves).odds(pools, self.mixture.tilts, labels)
        return pools[torch.arange(len(labels)), keep_one(odds, random)]

    def toning(self):
        """What takes drawn images to the records' tones, for :meth:`finish`; None without any."""
        return None if self.tones is None else self.tones.mapping(self.mixture.tones)

    def finish(self, coordinates, labels, random, tone):
        """Records (m, D) of a mixture's draws (m, d): with what of images lies outside of their coordinates."""
        records = self.space.lift(coordinates).clamp_(0, 1)
        if self.warps is not None:
            records = self.warps.draw(records, self.mixture.warp_factors[labels], random)
        if self.texture is not None:
            model = TextureModel(self.mixture.texture, self.mixture.spectrum, self.mixture.gains)
            records = self.texture.draw(records, model, self.space, random)
        records = records.clamp(0, 1)
        return records if tone is None else tone(records).clamp_(0, 1)
