"""What is known of persons before pairs of columns are looked at: how many rows they have, and what stays the same."""

from typing import NamedTuple

import torch

from sinkgen.privacy.queries.people import ChangesQuery

# Constants chosen by trials on a made-up panel: docs/experiments.md, Persons.
SURE = 2.0  # standard deviations, and
FEW = 0.02  # share of the persons with several rows, up to which changes of a column are taken for none
UNKNOWN = 0.25  # the same share, as noise, from which it cannot be told


class People(NamedTuple):
    """What is known of persons before their rows are looked at.

    Attributes
    ----------
    total : float
        Noisy number of persons.
    sizes : Tensor of shape (S,)
        Share of them that have each number of rows, in the cells of ``SIZES``.
    constant : Constant
    """

    total: float
    sizes: torch.Tensor
    constant: "Constant"

    @property
    def several(self):
        """Number of persons with more than one row, at least 1."""
        return max(1.0, self.total * float(1 - self.sizes[0]))


class Constant(NamedTuple):
    """What does not change within a person.

    Attributes
    ----------
    columns : Tensor of bool, (n_columns,)
    label : bool
    """

    columns: torch.Tensor
    label: bool


def learn_constant(source, form, sizes, total, mechanism):
    """Which columns, and whether the label, are the same in all rows of a person: as declared, or found."""
    n = len(form.columns)
    declared = torch.tensor([column.per_group for column in form.columns])
    several = total * float(1 - sizes[0])
    query = ChangesQuery(n)
    changes = mechanism.release("changes", query, source)
    noise = mechanism.noise_multiplier("changes") * query.sensitivity
    if noise > UNKNOWN * several:
        return Constant(declared, False)
    found = changes < max(FEW * several, SURE * noise)
    return Constant(declared | found[:n], bool(found[n]))
