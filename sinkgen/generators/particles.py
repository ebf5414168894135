"""Points with variation around them, and what draws records from them; public."""

from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from torch import nn

from sinkgen._device import moved, normal, sent
from sinkgen._groups import class_slices
from sinkgen.denoise.radii import radii_at
from sinkgen.generators.columnwise import NO_CURVES as NO_COLUMNS
from sinkgen.generators.columnwise import follow
from sinkgen.generators.space import Space
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
    columns : Tensor of shape (D, 2, k)
        Curves that bring the columns of arrays to where their numbers lie, see
        :func:`sinkgen.generators.columnwise.fit_columns`; or none.
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
    columns: torch.Tensor = NO_COLUMNS

    def to(self, device):
        """The same mixture on a device."""
        return PointMixture(**{name: sent(part, device) for name, part in self.parts().items()})

    def parts(self):
        """The tensors by their names."""
        return {own.name: getattr(self, own.name) for own in fields(self)}

    def draw(self, labels, random):
        """One draw for each label (m,): Tensor of shape (m, d), where the mixture lies; labels lie on the processor."""
        return self.drawing()(labels, random)

    def drawing(self):
        """What :meth:`draw` does, for many calls: a card is asked but once how heavy the points are."""
        slices, mass, d = class_slices(self.classes), self.mass.cpu(), self.points.shape[1]

        def draw(labels, random):
            labels, order = labels.sort(stable=True)
            chosen, offsets, ranks = torch.empty_like(labels), torch.empty(len(labels), d), torch.empty(len(labels))
            parts = class_slices(labels)
            for c, rows in parts.items():
                own, n = slices[c], rows.stop - rows.start
                chosen[rows] = torch.multinomial(mass[own], n, replacement=True, generator=random) + own.start
                torch.randn(n, d, generator=random, out=offsets[rows])
                if self.radii.shape[1]:
                    torch.rand(n, generator=random, out=ranks[rows])
            labels, order, chosen, ranks, standard = (
                sent(part, self.points) for part in (labels, order, chosen, ranks, offsets)
            )
            offsets = torch.empty_like(standard)
            for c, rows in parts.items():
                torch.mm(standard[rows], self.factors[c].T, out=offsets[rows])
            return torch.empty_like(offsets).index_copy_(0, order, self._around(chosen, labels, offsets, ranks))

        return draw

    def draws_of_classes(self, n, random):
        """Draws (n, d) of each class in turn, an iterator; the same normal numbers are behind all, and sent once."""
        standard = normal((n, self.points.shape[1]), random, self.points)
        ranks, mass = sent(torch.rand(n, generator=random), self.points), self.mass.cpu()
        for c, own in class_slices(self.classes).items():
            chosen = torch.multinomial(mass[own], n, replacement=True, generator=random) + own.start
            labels = torch.full((n,), c, device=self.points.device)
            yield self._around(sent(chosen, self.points), labels, standard @ self.factors[c].T, ranks)

    def _around(self, chosen, labels, offsets, ranks):
        """Draws (m, d) around the chosen points, whose offsets are turned already, at ranks of their length."""
        if self.radii.shape[1]:
            offsets *= (radii_at(self.radii, labels, ranks) / offsets.norm(dim=1).clamp_min(1e-12))[:, None]
        if len(self.scales):
            offsets *= self.scales[chosen, None]
        return self.points[chosen] + offsets


BLOCK, LEAST = 2**18, 16  # numbers that are drawn at once: few enough for a processor's cache; and records
EVEN_DRAWS = 1024  # by which the mean amplitude of texture is found


class Chance(NamedTuple):
    """Normal numbers behind the records that are made of a mixture's draws; None of what these do not have.

    Attributes
    ----------
    amounts : Tensor of shape (m, q), or None
        Of their deformations.
    noise : Tensor of shape (m, D), or None
        Of their texture.
    """

    amounts: torch.Tensor | None
    noise: torch.Tensor | None

    def take(self, rows):
        """Those of some of the records."""
        return Chance(*(None if part is None else part[rows] for part in self))


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
        self._mixture, self._space = _Buffers(mixture.parts()), _Buffers(space._asdict())
        self.warps, self.texture, self.tones = warps, texture, tones

    @property
    def mixture(self):
        """The released mixture."""
        return PointMixture(**dict(self._mixture.named_buffers()))

    @property
    def space(self):
        """Of its coordinates."""
        return Space(**dict(self._space.named_buffers()))

    @classmethod
    def of(cls, mixture, space, form):
        """What draws a mixture of records of this format: with what of images the mixture has."""
        warps = form.warps() if mixture.warp_factors.numel() else None
        tones = form.tones() if len(mixture.tones) else None
        texture = form.texture() if mixture.texture.any() else None
        return cls(mixture, space, moved(warps, mixture.points), moved(texture, mixture.points), tones)

    def with_even_texture(self, random):
        """The same, its texture divided by what images amplify it by on the mean: so as strong as it was found."""
        if self.texture is None:
            return self
        mixture, space = self.mixture, self.space
        smooth = replace(mixture, texture=torch.zeros_like(mixture.texture), tones=NO_CURVES)
        labels = torch.multinomial(mixture.class_weights.cpu(), EVEN_DRAWS, replacement=True, generator=random)
        images = Particles(smooth, space, self.warps, None, None).draw(labels, random)
        gains = self.texture.gain(images, mixture.gains).square().mean(0).sqrt()
        even = replace(mixture, texture=mixture.texture / gains)
        return Particles(even, space, self.warps, self.texture, self.tones)

    def draw(self, labels, random):
        """Encoded records (m, D), where the mixture lies, of the given classes (m,); these lie on the processor."""
        draw, finish, centre = self._drawing(), self.finishing(), self.space.centre
        out = centre.new_empty(len(labels), len(centre))
        size = max(LEAST, BLOCK // out.shape[1])
        for part, rows in zip(labels.split(size), out.split(size), strict=True):
            if len(part):
                coordinates = draw(part, random)
                rows[:] = finish(coordinates, sent(part, coordinates), self.chance(len(part), random))
        return out

    def _drawing(self):
        """What draws coordinates (m, d): of several draws the one that the tilts choose."""
        mixture = self.mixture
        draw, features, tilts = mixture.drawing(), Features(mixture.waves), mixture.tilts
        if not len(tilts):
            return draw

        def draw_one(labels, random):
            pools = draw(labels.repeat_interleave(POOL), random).unflatten(0, (len(labels), POOL))
            odds = features.odds(pools, tilts, sent(labels, pools))
            return pools[torch.arange(len(labels), device=pools.device), keep_one(odds, random)]

        return draw_one

    def chance(self, n, random):
        """What is random in so many records beside their coordinates: :class:`Chance`."""
        centre, warps = self.space.centre, self.warps
        amounts = None if warps is None else normal((n, warps.size), random, centre)
        return Chance(amounts, None if self.texture is None else normal((n, len(centre)), random, centre))

    def finishing(self):
        """What makes records (m, D) of a mixture's draws (m, d): with what of images lies outside of their coordinates.

        Returns
        -------
        callable
            Takes coordinates (m, d), labels (m,) and :class:`Chance`, where the mixture lies.
        """
        mixture, space = self.mixture, self.space
        tone = None if self.tones is None else self.tones.mapping(mixture.tones)
        texture = None
        if self.texture is not None:
            model = TextureModel(mixture.texture, mixture.spectrum, mixture.gains)
            texture = self.texture.drawing(model, space)

        def finish(coordinates, labels, chance):
            records = space.lift(coordinates).clamp_(0, 1)
            if self.warps is not None:
                records = self.warps.draw(records, mixture.warp_factors[labels], chance.amounts)
            if texture is not None:
                records = texture(records, chance.noise)
            records = records.clamp_(0, 1)
            records = records if tone is None else tone(records).clamp_(0, 1)
            return follow(records, mixture.columns)

        return finish


class _Buffers(nn.Module):
    """Tensors by their names, which go where the module goes."""

    def __init__(self, tensors):
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)
