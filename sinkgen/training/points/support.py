"""The points that the semidual steps move, and how they follow a noisy target."""

import torch


class FreePoints:
    """Points that are their own parameters: they go where the target is.

    Parameters
    ----------
    points : Tensor of shape (n, d)
    """

    def __init__(self, points):
        self._points = points

    def points(self):
        """Where the points are now, (n, d)."""
        return self._points

    def fit(self, target, weight):
        """Move to ``target`` (n, d)."""
        self._points = target


class ParametricPoints:
    """Points that a differentiable function gives, such as records seen through a feature map.

    A few inner optimiser steps bring them towards the target; the function's smoothness denoises. They touch no
    record and so cost no privacy.

    Parameters
    ----------
    forward : callable
        Takes nothing, returns the points (n, d), differentiable.
    parameters : iterable of Tensor
    inner_steps : int
    learning_rate : float
    """

    def __init__(self, forward, parameters, inner_steps=20, learning_rate=0.02):
        self._forward = forward
        self._inner_steps = inner_steps
        self._optimiser = torch.optim.Adam(parameters, learning_rate)

    @torch.no_grad()
    def points(self):
        """Where the points are now, (n, d)."""
        return self._forward()

    def fit(self, target, weight):
        """Inner steps on the mean of ``weight * ||points - target||^2``; weight is (n,)."""
        for _ in range(self._inner_steps):
            distances = (self._forward() - target).square().sum(1)
            loss = (weight * distances).sum() / weight.sum()
            self._optimiser.zero_grad()
            loss.backward()
            self._optimiser.step()
