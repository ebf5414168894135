"""What is known of persons before pairs of columns are looked at: how many rows they have, and what stays the same."""

from typing import NamedTuple

import torch

from sinkgen.denoise.frequencies import some_or_none
from sinkgen.privacy.queries.people import ChangesQuery

# Constants chosen by trials on a made-up panel: docs/experiments.md, Persons.
FEW = 0.02  # share of the persons with several rows, up to which changes of a column are taken for none
UNKNOWN = 0.25  # the same share, as noise, from which it cannot be told
LIKELY, DOUBTFUL = 0.5, (0.05, 0.95)  # chances that a column changes: from which it does, and that are told of
MANY = 0.15  # share of the persons in whom a column that is taken for constant may change untold
NOT_TOLD = (
    "whether {} the same in all rows of a group noise hides: {} drawn so. Declare what is with Column(of='group'), or "
    "raise epsilon"
)


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
    remarks : tuple of str
        Of what noise hides.
    """

    columns: torch.Tensor
    label: bool
    remarks: tuple[str, ...] = ()


def learn_constant(source, form, sizes, total, mechanism):
    """Which columns, and whether the label, are the same in all rows of a person: as declared, or found."""
    n = len(form.columns)
    declared = torch.tensor([column.per_group for column in form.columns])
    several = total * float(1 - sizes[0])
    query = ChangesQuery(n)
    changes = mechanism.release("changes", query, source)
    noise = mechanism.noise_multiplier("changes") * query.sensitivity
    open_ones = torch.nonzero(~declared)[:, 0].tolist()
    if noise > UNKNOWN * several:
        return Constant(declared, False, _remarks(form, open_ones, declared))
    # What the columns are like together says how likely one of them changes that hardly stands out.
    chances, _ = some_or_none(changes, torch.full((n + 1,), noise))
    found = (chances < LIKELY) | (changes < FEW * several)
    low, high = DOUBTFUL
    is_doubtful = (chances > low) & (chances < high) | found & (changes + noise > MANY * several)
    doubtful = [j for j in open_ones if is_doubtful[j] and noise > FEW * several]
    return Constant(declared | found[:n], bool(found[n]), _remarks(form, doubtful, found))


def _remarks(form, places, found):
    """That some columns are drawn as constant in a group, and others are not, though noise hides whether they are."""
    told = []
    for is_constant in (True, False):
        names = [repr(form.columns[j].name) for j in places if bool(found[j]) == is_constant]
        if names:
            are, they = ("is", "it is") if len(names) == 1 else ("are", "they are")
            told.append(NOT_TOLD.format(f"{', '.join(names)} {are}", they if is_constant else f"{they} not"))
    return tuple(told)
