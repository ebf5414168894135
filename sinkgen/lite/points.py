"""Draws from points with variation, as :class:`~sinkgen.generators.particles.Particles` makes them."""

import math

import numpy as np

from sinkgen.lite.images import Texture, Tones, Warps, root_curve

BLOCK, LEAST = 2**18, 16  # numbers that are drawn at once, and records
POOL = 4  # draws of which one is kept, where the mixture is tilted
EVEN_DRAWS = 512


class Points:
    """A point mixture's tensors with its space, and draws from it.

    Parameters
    ----------
    tensors : dict of str to ndarray
        Those of :class:`~sinkgen.generators.particles.PointMixture` and :class:`~sinkgen.generators.space.Space`.
    image_shape : tuple of int, or None
        None where records are no images.
    """

    def __init__(self, tensors, image_shape):
        self._parts = {
            name: value.astype(np.float32) if value.dtype.kind == "f" else value for name, value in tensors.items()
        }
        parts = self._parts
        self._warps = Warps(image_shape) if parts["warp_factors"].size else None
        self._texture = Texture(image_shape) if parts["texture"].any() else None
        self._tones = Tones(image_shape) if len(parts["tones"]) else None
        if "spectrum" not in parts:  # a model of before version 12, see sinkgen.storage
            parts["tilts"] = parts["tilts"][:0]
        self._gains = parts["gains"] if "gains" in parts else root_curve()
        if self._texture is not None and "spectrum" not in parts:
            parts["texture"] = parts["texture"] / self._mean_gain(self._texture, len(parts["factors"]))

    def _mean_gain(self, texture, n_classes):
        """What images amplify texture by on the mean (root of the mean square)."""
        random = np.random.default_rng(0)
        smooth = self._smooth(random.integers(n_classes, size=EVEN_DRAWS), random)
        return np.sqrt(np.square(texture.gain(smooth, self._gains)).mean(0))

    def draw(self, labels, random):
        """Encoded records (m, D), in [0, 1], of the given classes (m,)."""
        size = max(LEAST, BLOCK // len(self._parts["centre"]))
        starts = range(0, len(labels), size)
        return np.concatenate([self._draw(labels[first : first + size], random) for first in starts])

    def _chosen(self, labels, random):
        """Coordinates (m, d): of several draws the one that the tilts choose."""
        parts = self._parts
        if not len(parts["tilts"]):
            return self._coordinates(labels, random)
        pools = self._coordinates(np.repeat(labels, POOL), random)
        phases = pools @ parts["waves"]
        features = np.concatenate([np.cos(phases), np.sin(phases)], 1) / math.sqrt(phases.shape[1])
        odds = (features * np.repeat(parts["tilts"][labels], POOL, 0)).sum(1).reshape(-1, POOL)
        kept = (odds + random.gumbel(size=odds.shape)).argmax(1)
        return pools.reshape(len(labels), POOL, -1)[np.arange(len(labels)), kept]

    def _smooth(self, labels, random):
        """Images, or records, without texture and tones."""
        parts = self._parts
        records = parts["centre"] + (self._chosen(labels, random) @ parts["basis"].T) / parts["weights"]
        records = records.clip(0, 1)
        if self._warps is not None:
            normal = random.standard_normal((len(labels), self._warps.size), dtype=np.float32)
            amounts = np.einsum("mqr,mr->mq", parts["warp_factors"][labels], normal)
            records = self._warps.apply(records, amounts)
        return records

    def _draw(self, labels, random):
        parts, records = self._parts, self._smooth(labels, random)
        if self._texture is not None:
            noise = random.standard_normal(records.shape, dtype=np.float32)
            if len(parts.get("spectrum", ())):
                noise = self._texture.coloured(noise, parts["spectrum"])
            noise = noise * parts["texture"] * parts["weights"]
            noise = (noise - (noise @ parts["basis"]) @ parts["basis"].T) / parts["weights"]
            records = records + noise * self._texture.gain(records, self._gains)
        records = records.clip(0, 1)
        records = records if self._tones is None else self._tones.apply(records, parts["tones"]).clip(0, 1)
        for column, (before, after) in zip(records.T, parts.get("columns", ()), strict=False):
            column[:] = np.interp(column, before, after)
        return records

    def _coordinates(self, labels, random):
        parts = self._parts
        out = np.empty((len(labels), parts["points"].shape[1]), dtype=np.float32)
        for c in np.unique(labels):
            rows, own = np.flatnonzero(labels == c), np.flatnonzero(parts["classes"] == c)
            mass = parts["mass"][own].astype(np.float64)
            chosen = own[random.choice(len(own), len(rows), p=mass / mass.sum())]
            offsets = random.standard_normal((len(rows), out.shape[1]), dtype=np.float32) @ parts["factors"][c].T
            if parts["radii"].shape[1]:
                ranks = np.linspace(0, 1, parts["radii"].shape[1])
                lengths = np.interp(random.random(len(rows)), ranks, parts["radii"][c]).astype(np.float32)
                norms = np.linalg.norm(offsets, axis=1)
                offsets *= (lengths / np.maximum(norms, 1e-12))[:, None]
            if len(parts.get("scales", ())):
                offsets *= parts["scales"][chosen, None]
            out[rows] = parts["points"][chosen] + offsets
        return out
