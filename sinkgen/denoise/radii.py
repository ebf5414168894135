"""How far records lie from the points that serve them: of most a little, of some a lot.

One Gaussian a class would put all draws at about the same, average distance. Its covariance gives the direction of a
draw's offset instead, and the released distribution of the records' distances its length: an elliptical distribution.
"""

import math

import torch

from sinkgen.denoise.frequencies import interpolate, shrink_frequencies

# Constants chosen by trials: docs/experiments.md, Images.
RATIO, N_LENGTHS = 1.2, 24
N_QUANTILES = 65
STANDS_OUT = 2.0  # standard deviations of its noise that a frequency over all classes must exceed


def radius_bins(lengths, largest):
    """Bin (m,) of each length (m,): the last ends at ``largest``, each begins at 1 / 1.2 of its end, the first at 0."""
    above = torch.log(lengths.clamp_min(1e-30) / largest) / math.log(RATIO) + N_LENGTHS
    return above.floor().clamp(0, N_LENGTHS - 1).long()


def fit_radii(counts, expected, largest, noise_scale):
    """Quantiles of the lengths of offsets, by class; post-processing.

    A class's frequencies are shrunk to those of all classes, and these to the expected ones. A class that has none of
    the lengths that stand out over all has those of all.

    Parameters
    ----------
    counts : Tensor of shape (n_classes, N_LENGTHS)
        Noisy number of records of each class in each bin.
    expected : Tensor of shape (m,)
        Lengths as they would be expected without a record.
    largest : float
    noise_scale : float
        Standard deviation of the noise of a count.

    Returns
    -------
    Tensor of shape (n_classes, N_QUANTILES)
        At even ranks from 0 to 1.
    """
    prior = torch.bincount(radius_bins(expected, largest), minlength=N_LENGTHS).double() / len(expected)
    sizes = counts.sum(1).clamp_min(1.0)
    total = float(sizes.sum())
    pooled_noise = noise_scale * math.sqrt(len(counts)) / total
    pooled = shrink_frequencies(counts.sum(0) / total, prior, pooled_noise)
    # A length that does not stand out over all classes is drawn in none: what noise leaves of far bins shows.
    seen = pooled > STANDS_OUT * pooled_noise
    seen = seen if seen.any() else prior > 0
    edges = largest * RATIO ** torch.arange(-N_LENGTHS, 1, dtype=torch.float64)
    edges[0] = 0
    ranks = torch.linspace(1e-9, 1, N_QUANTILES, dtype=torch.float64)  # rank 0 would be below empty bins
    rows = []
    for count, size in zip(counts, sizes, strict=True):
        own = shrink_frequencies(count / size, pooled, noise_scale / float(size)) * seen
        own = own if own.sum() > 0 else pooled
        reached = torch.cat([torch.zeros(1, dtype=torch.float64), own.cumsum(0)])
        rows.append(interpolate(ranks * reached[-1], reached, edges))
    return torch.stack(rows).float()


def radii_at(quantiles, classes, ranks):
    """Lengths (m,) at ranks (m,) from 0 to 1 of the quantiles (n_classes, N_QUANTILES) of classes (m,)."""
    places = ranks * (quantiles.shape[1] - 1)
    low = places.long().clamp_max(quantiles.shape[1] - 2)
    return torch.lerp(quantiles[classes, low], quantiles[classes, low + 1], places - low)
