"""Draws that occur as often as their probabilities say, by the streams of torch; see :mod:`sinkgen.lite.balance`."""

import numpy as np
import torch

from sinkgen.lite import balance
from sinkgen.lite.balance import MOST_BALANCED as MOST_BALANCED


class TorchRandom:
    """A stream of torch as one of numpy.

    Parameters
    ----------
    stream : torch.Generator
    """

    def __init__(self, stream):
        self._stream = stream

    def random(self, size=None):
        """Uniform on [0, 1)."""
        return torch.rand(() if size is None else size, generator=self._stream, dtype=torch.float64).numpy()

    def gumbel(self, *, size):
        """Minus the logarithm of exponential numbers."""
        return -torch.empty(size, dtype=torch.float64).exponential_(generator=self._stream).log_().numpy()

    def permutation(self, n):
        """0, ..., n - 1 in random order."""
        return torch.randperm(n, generator=self._stream).numpy()


def balanced_states(frequencies, counts, widths, random):
    """See :func:`sinkgen.lite.balance.balanced_states`."""
    return balance.balanced_states(frequencies, counts, widths, TorchRandom(random))


def draw_labels(logits, states, wanted, n_states, random):
    """See :func:`sinkgen.lite.balance.draw_labels`; tensors in, and out."""
    parts = logits.double().numpy(), states.numpy(), wanted.numpy()
    return torch.from_numpy(balance.draw_labels(*parts, n_states, TorchRandom(random)).astype(np.int64))
