"""Products of columns' scores that were released, with the noise that they have: what regressions rest on."""

import math
from typing import NamedTuple

import torch


class NoisyMoments(NamedTuple):
    """Mean products of the scores of any two columns over the records, as they were released.

    Attributes
    ----------
    scores : tuple of Tensor, each of shape (n_states,)
        Of the states of each column, the label last; 0 for all states of a column that has none.
    products : Tensor of shape (n_columns, n_columns)
        Symmetric; the diagonal is what single columns say.
    noise : float
        Standard deviation of the noise of a product, but for the diagonal.
    clip : float
        Norm to which a record's scores were clipped before they were multiplied; infinite of models that older versions
        saved.

    Examples
    --------
    >>> ends = torch.tensor([-1.0, 1.0])
    >>> NoisyMoments((ends, torch.zeros(3), ends), torch.diag(torch.tensor([1.0, 0.0, 1.0])), 0.1).columns
    [0, 2]
    """

    scores: tuple[torch.Tensor, ...]
    products: torch.Tensor
    noise: float
    clip: float = math.inf

    @property
    def columns(self) -> list[int]:
        """Places of the columns of which products were released: of others hardly any record differs."""
        return torch.nonzero(self.products.diag() > 0).flatten().tolist()

    def tensors(self) -> dict[str, torch.Tensor]:
        """What :meth:`from_tensors` reads."""
        widths = torch.tensor([len(of) for of in self.scores])
        numbers = {name: torch.tensor(getattr(self, name), dtype=torch.float64) for name in ("noise", "clip")}
        return {"scores": torch.cat(self.scores), "widths": widths, "products": self.products, **numbers}

    @classmethod
    def from_tensors(cls, tensors: dict[str, torch.Tensor]) -> "NoisyMoments":
        """The moments whose :meth:`tensors` these are.

        Examples
        --------
        >>> own = NoisyMoments((torch.tensor([-1.0, 1.0]),) * 2, torch.eye(2), 0.1)
        >>> NoisyMoments.from_tensors(own.tensors()).products.tolist()
        [[1.0, 0.0], [0.0, 1.0]]
        """
        scores = tensors["scores"].split(tensors["widths"].tolist())
        return cls(tuple(scores), tensors["products"], float(tensors["noise"]), float(tensors.get("clip", math.inf)))
