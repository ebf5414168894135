"""Bounds that are read off noisy counts of magnitudes; public."""

import math

import torch

EXPONENTS = range(-30, 64)  # |x| in [2^e, 2^(e+1)); what is smaller counts as zero, what is larger as largest


def bounds_from_magnitudes(counts, noise_scale):
    """Bounds of each group from noisy counts of its values' magnitudes.

    The ends are the outermost bins whose count stands out of the noise, and out of a thousandth of the records: one
    extreme record moves nothing.

    Parameters
    ----------
    counts : Tensor of shape (n_groups, 2, n_bins)
    noise_scale : float
        Standard deviation of the noise of a count.

    Returns
    -------
    Tensor of shape (n_groups, 2)
        Low and high, each 0 or a power of two with a sign. (0, 1) where nothing stands out.
    """
    positive = torch.tensor([2.0**e for e in EXPONENTS], dtype=torch.float64)
    zero = torch.zeros(1, dtype=torch.float64)
    low_edges = torch.cat([-2 * positive.flip(0), zero, positive])
    high_edges = torch.cat([-positive.flip(0), zero, 2 * positive])
    n_bins = counts.shape[-1]
    threshold = max(noise_scale * math.sqrt(2 * math.log(1000.0 * n_bins)), 1e-3 * float(counts[0, 0].sum()), 0.5)
    bounds = []
    for least, greatest in counts:
        lows, highs = (torch.nonzero(row > threshold).flatten() for row in (least, greatest))
        found = len(lows) and len(highs)
        low, high = (float(low_edges[lows[0]]), float(high_edges[highs[-1]])) if found else (0.0, 1.0)
        bounds.append((low, high) if high > low else (low, low + 1.0))
    return torch.tensor(bounds, dtype=torch.float64)
