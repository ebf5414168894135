"""Frequencies from noisy ones: post-processing by the noise's known scale."""

import math

import torch

CAUTION = 3.0  # standard deviations


def project_simplex(values):
    """Euclidean projection (D,) of a vector onto the probability simplex; post-processing of noisy frequencies.

    References
    ----------
    .. [1] Duchi, Shalev-Shwartz, Singer, Chandra, "Efficient Projections onto the l1-Ball", ICML 2008.

    Examples
    --------
    >>> project_simplex(torch.tensor([0.9, 0.3, -0.4]))
    tensor([0.8000, 0.2000, 0.0000])
    """
    ordered = values.sort(descending=True).values
    excess = (ordered.cumsum(0) - 1) / torch.arange(1, len(values) + 1)
    return (values - excess[(ordered > excess).sum() - 1]).clamp_min(0)


def shrink_frequencies(noisy, prior, noise_scale):
    """Frequencies (D,) between noisy ones and what was expected of them: the expected ones where noise explains them.

    James and Stein's estimate, on the simplex. Cutting off what is negative would leave the noise of empty bins.

    Parameters
    ----------
    noisy : Tensor of shape (D,)
    prior : Tensor of shape (D,)
        Sum 1.
    noise_scale : float
        Standard deviation of the noise of each of the noisy ones.

    References
    ----------
    .. [1] James, Stein, "Estimation with Quadratic Loss", 1961.

    Examples
    --------
    >>> halves = torch.tensor([0.5, 0.5])
    >>> shrink_frequencies(torch.tensor([0.6, 0.4]), halves, 0.1)
    tensor([0.5000, 0.5000])
    >>> shrink_frequencies(torch.tensor([0.9, 0.1]), halves, 0.01)
    tensor([0.8984, 0.1016])
    """
    free = len(prior) - 1
    difference = noisy - prior
    # The noise's share of the difference has mean `free` and variance `2 free`: what might all be noise is left out.
    largest = free + CAUTION * math.sqrt(2 * free)
    gain = (1 - largest * noise_scale**2 / difference.square().sum().clamp_min(1e-300)).clamp_min(0)
    return project_simplex(prior + gain * difference)
