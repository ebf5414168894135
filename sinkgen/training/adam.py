"""Adam where gradients are written out and steps are short: ``torch.optim`` takes as long as the products in them."""

import math

import torch

BETAS = 0.9, 0.99
TINY = 1e-8


class Adam:
    """Adam [1]_ on one tensor, in place; its rate falls to 0 along a cosine.

    Parameters
    ----------
    parameters : Tensor
    rate : float
        At the first step.
    steps : int

    References
    ----------
    .. [1] Kingma, Ba, "Adam: A Method for Stochastic Optimization", arXiv 1412.6980.

    Examples
    --------
    >>> x = torch.tensor([3.0, -2.0])
    >>> descent = Adam(x, 0.2, 100)
    >>> for _ in range(100):
    ...     descent.step(2 * x)
    >>> bool(x.abs().max() < 0.05)
    True
    """

    def __init__(self, parameters, rate, steps):
        self.parameters, self.rate, self.steps = parameters, rate, steps
        self._mean, self._square = torch.zeros_like(parameters), torch.zeros_like(parameters)
        self._done = 0

    def step(self, gradient):
        """One step along the gradient."""
        rate = self.rate * (1 + math.cos(math.pi * self._done / self.steps)) / 2
        self._done += 1
        first, second = BETAS
        self._mean.lerp_(gradient, 1 - first)
        self._square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        scale = (self._square / (1 - second**self._done)).sqrt_().add_(TINY)
        self.parameters.addcdiv_(self._mean, scale, value=-rate / (1 - first**self._done))
