"""Curves of brightness and texture, followed at many places at once."""

from typing import NamedTuple

import torch

from sinkgen.denoise.frequencies import interpolate

N_CELLS = 16_384


def ends_of(curves):
    """Where curves (..., 2, k) begin and end: a list of two, or a list of such lists; a card is waited for once."""
    return curves[..., 0, :: curves.shape[-1] - 1].tolist()


class Table(NamedTuple):
    """A curve's heights on an even grid, where a place is found by a multiplication; constant beyond its ends."""

    first: torch.Tensor
    scale: float
    heights: torch.Tensor

    @classmethod
    def of(cls, curve, ends=None):
        """The table of a curve (2, k), where that lies; a card is not waited for if its ends are known."""
        low, high = ends_of(curve) if ends is None else ends
        scale = (N_CELLS - 1) / max(high - low, 1e-12)
        heights = interpolate(torch.linspace(low, high, N_CELLS, device=curve.device), *curve)
        return cls(torch.tensor(0.5 - low * scale), scale, heights)

    def __call__(self, values):
        """Heights at the grid's nearest places to values of any shape."""
        # In 16,384 cells the nearest is as near as eight bits could tell; to interpolate would take twice as long.
        place = torch.add(self.first, values, alpha=self.scale).clamp_(0, N_CELLS - 1).int()
        return self.heights.index_select(0, place.view(-1)).view(values.shape)
