"""Draws of images: seconds of a processor for 60,000 of them, from a mixture with all that images have.

    python benchmarks/draws.py                      # 28 x 28 and 32 x 32 x 3
    python benchmarks/draws.py --shape 64 64 3 --samples 2000

The mixture is made up, without records: its size is that of a fit at epsilon 10 (ten classes of a hundred points, 120
directions, deformations, texture, tones and tilts). Seconds are of one thread, of the processor.
"""

import argparse
import resource
import time

import torch

from sinkgen.data.formats import ImageFormat
from sinkgen.generators.particles import Particles, PointMixture
from sinkgen.generators.space import Space
from sinkgen.generators.tilt import make_features
from sinkgen.images.pixels import cosine_basis

ASKED = {(28, 28): 6.0, (32, 32, 3): 40.0}  # seconds for 60,000
N_CLASSES, N_POINTS, N_DIRECTIONS = 10, 100, 120


def made_up(shape):
    """A mixture, with all its parts, for images of this shape."""
    random = torch.Generator().manual_seed(0)
    form = ImageFormat("uint8", ((0, 255),), image_shape=shape)
    D, d, n = form.n_encoded, N_DIRECTIONS, N_CLASSES * N_POINTS
    basis = cosine_basis(*shape).float()
    waves = torch.argsort((basis.diff(dim=0).square()).sum(0))[:d]  # smooth ones
    space = Space(torch.full((D,), 0.5), torch.full((D,), 3 / D**0.5), basis[:, waves].contiguous())
    points = 0.1 * torch.randn(n, d, generator=random)
    texture, tones = form.texture(), form.tones()
    spectrum = 0.05 * torch.eye(texture.n_channels).expand(texture.n_bands, -1, -1).contiguous()
    warps = 0.3 * torch.eye(form.warps().size).expand(N_CLASSES, -1, -1).contiguous()
    mixture = PointMixture(
        points, torch.arange(N_CLASSES).repeat_interleave(N_POINTS), torch.ones(n),
        0.05 * torch.eye(d).expand(N_CLASSES, -1, -1).contiguous(), torch.linspace(0.3, 1, 65).expand(N_CLASSES, -1),
        warps, torch.full((D,), 2.0), torch.full((N_CLASSES,), 1 / N_CLASSES), spectrum=spectrum,
    )  # fmt: skip
    features = make_features(points, random)
    tilts = 0.5 * torch.randn(N_CLASSES, features.size, generator=random)
    frequencies = torch.full((tones.n_histograms, tones.n_bins), 1 / tones.n_bins, dtype=torch.float64)
    curves = tones.fit_curves(frequencies, torch.rand(256, D, generator=random), 1e-3)
    whole = PointMixture(**{**vars(mixture), "tones": curves, "waves": features.waves, "tilts": tilts})
    return Particles.of(whole, space, form)


def main():
    """Draw, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", type=int, nargs="+", action="append", help="h w or h w c; may be repeated")
    parser.add_argument("--samples", type=int, default=6_000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'shape':>12}{'samples':>9}{'s':>8}{'s for 60,000':>14}{'ns a number':>13}{'peak GB':>9}")
    for shape in map(tuple, args.shape or ASKED):
        particles, random = made_up(shape), torch.Generator().manual_seed(0)
        labels = torch.randint(N_CLASSES, (args.samples,), generator=random)
        particles.draw(labels[:100], random)
        start = time.process_time()
        drawn = particles.draw(labels, random)
        seconds = time.process_time() - start
        whole, peak = seconds * 60_000 / args.samples, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        asked = ASKED.get(shape)
        verdict = "" if asked is None else f"  {'pass' if whole <= asked else 'short'} (at most {asked:g})"
        name = "x".join(map(str, shape))
        rate = 1e9 * seconds / drawn.numel()
        print(f"{name:>12}{args.samples:9}{seconds:8.2f}{whole:14.1f}{rate:13.1f}{peak:9.2f}{verdict}", flush=True)


if __name__ == "__main__":
    main()
