"""Coordinates in which records weigh alike and noise is spent on few directions."""

from typing import NamedTuple

import torch

from sinkgen._device import cached, sent
from sinkgen.ot.rows import by_columns, product


class Space(NamedTuple):
    """An affine map between encoded records (D numbers) and coordinates (d <= D numbers).

    Attributes
    ----------
    centre : Tensor of shape (D,)
    weights : Tensor of shape (D,)
        What each encoded number is multiplied with, so that a typical record lies at distance 1 of the centre.
    basis : Tensor of shape (D, d)
        Orthonormal columns.
    """

    centre: torch.Tensor
    weights: torch.Tensor
    basis: torch.Tensor

    def to(self, device):
        """The same map on a device."""
        return Space(*(sent(part, device) for part in self))

    def project(self, encoded):
        """Coordinates (m, d) of encoded records (m, D)."""
        centre, weights, basis = (part.to(encoded) for part in self)
        basis = by_columns(basis)
        out, size = encoded.new_empty(len(encoded), basis.shape[1]), cached(encoded)
        for rows, own in zip(encoded.split(size), out.split(size), strict=True):
            own[:] = product((rows - centre).mul_(weights), basis)
        return out

    def lift(self, coordinates):
        """Encoded records (m, D), where the space lies, of coordinates (m, d)."""
        return self.centre + (coordinates.to(self.basis.device) @ self.basis.T) / self.weights
