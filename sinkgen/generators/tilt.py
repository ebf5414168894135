"""Of several draws one is kept, so that the draws' mean features agree with the records'.

A mixture's draws differ from the records in ways that none of its numbers can express. The means of many bounded
features tell where: they are released once, by class, and the mixture is tilted towards them, as little as explains
them.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize

from sinkgen._device import cached, normal, sent
from sinkgen.ot.rows import by_columns, product

# Constants chosen by trials: docs/experiments.md, Images.
N_WAVES = 1024
WIDTHS = (0.5, 0.25)  # of the features' kernels, as shares of the median distance between draws
POOL = 4  # draws of which one is kept
STEPS, ACCURACY = 50, 1e-5  # of the dual, whose values are entropies
NO_TILT = torch.zeros(0, 0)
LARGEST_SHARE = 0.97  # effective share of the draws from which on a tilt changes too little to be made


class Features(NamedTuple):
    """Random Fourier features: all of norm 1, and their means tell distributions apart.

    Attributes
    ----------
    waves : Tensor of shape (d, q)
        Frequencies; there are 2 q features.

    References
    ----------
    .. [1] Rahimi, Recht, "Random Features for Large-Scale Kernel Machines", 2007.
    .. [2] Harder, Adamczewski, Park, "DP-MERF: Differentially Private Mean Embeddings with Random Features for
       Practical Privacy-Preserving Data Generation", AISTATS 2021: they train a network on such means.

    Examples
    --------
    >>> features = Features(torch.ones(3, 5))
    >>> bool(torch.allclose(features(torch.randn(7, 3)).norm(dim=1), torch.ones(7))), features.size
    (True, 10)
    """

    waves: torch.Tensor

    @property
    def size(self):
        """Number of features, 2 q."""
        return 2 * self.waves.shape[1]

    def __call__(self, coordinates):
        """Features (m, 2 q) of coordinates (m, d)."""
        waves, size = by_columns(self.waves.to(coordinates)), cached(coordinates, self.size // 2)
        out = coordinates.new_empty(len(coordinates), self.size)
        for rows, own in zip(coordinates.split(size), out.split(size), strict=True):
            phases, (even, odd) = product(rows, waves), own.chunk(2, 1)
            torch.cos(phases, out=even)
            torch.sin(phases, out=odd)
            own /= math.sqrt(waves.shape[1])
        return out

    def odds(self, coordinates, weights, classes):
        """Products (m, k) of the features of coordinates (m, k, d) with the weights (n_classes, 2 q) of their classes.

        A cosine and a sine of one phase, weighed, are one cosine with a phase of its own.
        """
        even, odd = weights.chunk(2, 1)
        amplitudes = torch.hypot(even, odd) / math.sqrt(self.waves.shape[1])
        phases = (coordinates.flatten(0, 1) @ self.waves).view(*coordinates.shape[:2], -1)
        waves = phases.sub_(torch.atan2(odd, even)[classes][:, None]).cos_()
        return (waves @ amplitudes[classes][:, :, None])[:, :, 0]


def make_features(draws, random):
    """Features whose kernels are as wide as the distances between draws (m, d) suggest; public."""
    distance = torch.cdist(*draws.chunk(2)).median().clamp_min(1e-12)
    widths = distance * sent(torch.tensor(WIDTHS).repeat_interleave(N_WAVES // len(WIDTHS)), draws)
    return Features(normal((draws.shape[1], N_WAVES), random, draws) / widths)


class Tilt(NamedTuple):
    """Exponential weights of draws.

    Attributes
    ----------
    weights : Tensor of shape (2 q,)
        A draw with features phi has the odds ``exp(weights @ phi)``.
    effective_share : Tensor of shape ()
        Effective share of the draws under these odds, 1 where all are equal; where the draws lie.
    """

    weights: torch.Tensor
    effective_share: torch.Tensor


def fit_tilt(mean, draws, noise_scale, count):
    """The tilt of a class's draws towards its records' mean features; post-processing.

    The posterior mode: as far from the draws, in relative entropy, as a mean that is off by its noise and by the
    records' and draws' own randomness is worth. Its dual is convex.

    Parameters
    ----------
    mean : Tensor of shape (2 q,)
        Noisy; on the processor.
    draws : Tensor of shape (m, 2 q)
        Features of draws; on whatever device.
    noise_scale : float
        Standard deviation of the noise of each entry of the mean.
    count : float
        Noisy number of records.

    Returns
    -------
    Tilt

    References
    ----------
    .. [1] Altun, Smola, "Unifying Divergence Minimization and Statistical Inference via Convex Duality", COLT 2006.

    Examples
    --------
    >>> draws = torch.eye(2).repeat(500, 1)
    >>> odds = draws[:2] @ fit_tilt(torch.tensor([0.7, 0.3]), draws, 0.0, 1e9).weights
    >>> torch.softmax(odds, 0)
    tensor([0.5993, 0.4007])
    """
    n = 1 / (1 / count + 1 / len(draws))  # records and draws, as if they were one sample
    ridge = n * noise_scale**2 + 1 / draws.shape[1]
    wanted = mean.double().numpy()

    def dual(weights):
        odds = draws @ sent(torch.from_numpy(weights).float(), draws)
        total, reached = torch.logsumexp(odds.double(), 0), (torch.softmax(odds, 0)[None] @ draws)[0]
        found = torch.cat([total[None], reached.double()]).cpu().numpy()  # one copy from a device
        value = found[0] - wanted @ weights + 0.5 * ridge * (weights @ weights)
        return value, found[1:] - wanted + ridge * weights

    options = {"maxiter": STEPS, "ftol": ACCURACY}
    found = minimize(dual, np.zeros(draws.shape[1]), jac=True, method="L-BFGS-B", options=options)
    weights = torch.from_numpy(found.x).float()
    shares = torch.softmax(draws @ sent(weights, draws), 0)
    return Tilt(weights, 1 / (shares.square().sum() * len(draws)))


def keep_one(odds, random):
    """Which draw of each pool is kept, (m,), by odds (m, k) in the logarithmic domain.

    Examples
    --------
    >>> keep_one(torch.tensor([[0.0, 50.0], [50.0, 0.0]]), torch.Generator().manual_seed(0))
    tensor([1, 0])
    """
    # As torch.multinomial does for one of each row: the soonest of exponential times, here of the processor's stream.
    times = torch.empty(odds.shape).exponential_(generator=random)
    return (torch.softmax(odds, 1) / sent(times, odds)).argmax(1)
