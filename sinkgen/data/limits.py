"""What cannot be: states of several columns that no record has together.

A rule that forbids is a union of boxes: in each, every one of a few columns lies in some of its states. Columns that
boxes link are looked at together; states of a column that the boxes do not tell apart are one *class* of it.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch

from sinkgen.exceptions import BadValueError

MOST = 200_000  # combinations of classes of linked columns
AT_ONCE = 4_000_000  # numbers that are held at once when states are drawn
NEVER = -1e4  # logit of what rules forbid: far below all that a model adds up
IMPOSSIBLE = -1e6  # logit of a state that is drawn where rules leave nothing else
HELD = -1e12  # logit of a label that is not the one wanted


@dataclass(frozen=True, eq=False)
class Box:
    """States that no record has together.

    Attributes
    ----------
    states : dict of int to BoolTensor of shape (n_states,)
        By the column's place, the label's last.
    rule : Rule
    """

    states: dict
    rule: object


@dataclass(frozen=True, eq=False)
class Limits:
    """Which states of linked columns may go together.

    Attributes
    ----------
    columns : tuple of int
        Places of the columns, rising; the label's is last.
    classes : tuple of LongTensor, each of shape (n_states,)
        Class of each state of each column.
    is_allowed : BoolTensor, of one axis a column
        Whether records may be of these classes.
    rules : tuple of Rule
        From which it comes, for messages.

    Examples
    --------
    >>> wanted = torch.tensor([False, True])
    >>> limits, = linked([Box({0: wanted, 2: wanted}, None)], [2, 3, 2])
    >>> limits.broken(torch.tensor([[0, 1, 1], [0, 0, 0], [1, 1, 0]])).tolist()
    [False, True, False]
    """

    columns: tuple
    classes: tuple
    is_allowed: torch.Tensor
    rules: tuple

    @property
    def logits(self):
        """What the classes add to the logit of a record, of the shape of ``is_allowed``."""
        return torch.where(self.is_allowed, 0.0, NEVER)

    def broken(self, codes):
        """Which records (m,) break the rules, of states (n_columns, m) of all columns; -1 goes with everything."""
        cell = torch.zeros(codes.shape[1], dtype=torch.long)
        known = torch.ones(codes.shape[1], dtype=torch.bool)
        for j, of, n in zip(self.columns, self.classes, self.is_allowed.shape, strict=True):
            known &= codes[j] >= 0
            cell = cell * n + of[codes[j].long().clamp_min(0)]
        return known & ~self.is_allowed.flatten()[cell]

    def possible(self, states):
        """Which of each column's states go with some of the others', where these are held to some themselves.

        Parameters
        ----------
        states : list of BoolTensor of shape (n_states,), or None
            Of all columns of the table, the label last; None is all.

        Returns
        -------
        list of BoolTensor
            Of the linked columns alone.
        """
        allowed = self.is_allowed.clone()
        own = [states[j] for j in self.columns]
        for axis, (held, of, n) in enumerate(zip(own, self.classes, allowed.shape, strict=True)):
            if held is not None:
                present = torch.zeros(n, dtype=torch.bool)
                present[of[held]] = True
                allowed &= present.view([-1 if axis == place else 1 for place in range(allowed.ndim)])
        found = []
        for axis, (held, of) in enumerate(zip(own, self.classes, strict=True)):
            others = [place for place in range(allowed.ndim) if place != axis]
            part = allowed.sum(others).bool()[of] if others else allowed[of]
            found.append(part if held is None else part & held)
        return found

    def held(self, codes, n_states):
        """Logits (m, n_states) of a column that is to stay as it is."""
        return torch.full((len(codes), n_states), HELD, dtype=torch.float64).scatter_(1, codes[:, None].long(), 0.0)

    def draw(self, logits, random):
        """States (n_linked, m) of records whose columns are independent but for the rules.

        Parameters
        ----------
        logits : list of Tensor of shape (m, n_states)
            Of each linked column.
        random : torch.Generator
        """
        rows = torch.nonzero(self.is_allowed)
        size = max(1, AT_ONCE // (len(rows) * max(1, len(self.columns))))
        parts = [
            self._draw(part, rows, random) for part in zip(*(of.double().split(size) for of in logits), strict=True)
        ]
        return torch.cat(parts, 1)

    def _draw(self, logits, rows, random):
        joint = torch.zeros(len(logits[0]), len(rows), dtype=torch.float64)
        for axis, (own, of, n) in enumerate(zip(logits, self.classes, self.is_allowed.shape, strict=True)):
            places = of.expand(len(own), -1)
            top = own.new_full((len(own), n), -torch.inf).scatter_reduce_(1, places, own, "amax")
            sums = torch.zeros_like(top).scatter_add_(1, places, (own - torch.take_along_dim(top, places, 1)).exp())
            joint += (sums.log() + top)[:, rows[:, axis]]
        chosen = rows[draw_one(joint, random)]
        out = []
        for axis, (own, of) in enumerate(zip(logits, self.classes, strict=True)):
            is_own = of[None] == chosen[:, axis : axis + 1]
            out.append(draw_one(own.masked_fill(~is_own, -torch.inf), random))
        return torch.stack(out)

    def nearest(self, cells, cell_states, ordered, label):
        """Cells of records that break no rule; those that did, as near as they may be.

        Of a record that breaks one, a column changes that alone can mend it: one of numbers, to the nearest cell that
        the rules allow; else one of categories, the last named first, which then counts for nothing (-1). If none alone
        can, all of them count for nothing. The label never changes.

        Parameters
        ----------
        cells : LongTensor of shape (n_columns + 1, m)
            Of all columns, the label last.
        cell_states : list of LongTensor
            State of each cell of each column, the label's last.
        ordered : list of int
            How many of each column's first cells have an order.
        label : int
            Place of the label.
        """
        pairs = zip(cell_states, cells, strict=True)
        states = torch.stack([torch.where(own >= 0, of[own.clamp_min(0)], -1) for of, own in pairs])
        rows = torch.nonzero(self.broken(states)).flatten()
        if not len(rows):
            return cells
        cells, shape = cells.clone(), self.is_allowed.shape
        found = [of[states[j, rows]] for j, of in zip(self.columns, self.classes, strict=True)]
        number = torch.zeros_like(rows)
        for own, n in zip(found, shape, strict=True):
            number = number * n + own
        for value in torch.unique(number).tolist():
            at = np.unravel_index(value, shape)
            self._mend(cells, rows[number == value], at, cell_states, ordered, label)
        return cells

    def _mend(self, cells, rows, at, cell_states, ordered, label):
        """Mend the records of one combination of classes, in place."""
        axes = [axis for axis, j in enumerate(self.columns) if j != label]
        for axis in sorted(axes, key=lambda axis: (ordered[self.columns[axis]] == 0, -axis)):
            index = [slice(None) if place == axis else int(own) for place, own in enumerate(at)]
            allowed, j = self.is_allowed[tuple(index)], self.columns[axis]
            if not allowed.any():
                continue
            free = torch.nonzero(allowed[self.classes[axis]][cell_states[j]]).flatten()
            free = free[free < ordered[j]]
            if len(free):
                place = torch.searchsorted(free, cells[j, rows]).clamp(1, max(1, len(free) - 1))
                below, above = free[(place - 1).clamp_max(len(free) - 1)], free[place.clamp_max(len(free) - 1)]
                is_below = (cells[j, rows] - below).abs() <= (above - cells[j, rows]).abs()
                cells[j, rows] = torch.where(is_below, below, above)
            else:
                cells[j, rows] = -1
            return
        for axis in axes:
            cells[self.columns[axis], rows] = -1


def draw_one(logits, random):
    """An index (m,) of each row's logits (m, k)."""
    exponential = torch.empty_like(logits).exponential_(generator=random).clamp_min_(1e-300)
    return (logits - exponential.log_()).argmax(1)


def linked(boxes, widths):
    """The limits that boxes come to: one for each set of columns that they link.

    Parameters
    ----------
    boxes : sequence of Box
    widths : sequence of int
        Number of states of each column, the label's last.

    Returns
    -------
    tuple of Limits

    Raises
    ------
    ValueError
        If they leave no record possible, or link more columns than can be looked at together.
    """
    groups: list[tuple[set, list]] = []
    for box in boxes:
        touching = [group for group in groups if group[0] & box.states.keys()]
        groups = [group for group in groups if not group[0] & box.states.keys()]
        columns = set(box.states).union(*(group[0] for group in touching))
        groups.append((columns, [*itertools.chain.from_iterable(group[1] for group in touching), box]))
    return tuple(_limits(tuple(sorted(columns)), own, widths) for columns, own in groups)


def _limits(columns, boxes, widths):
    rules = tuple(dict.fromkeys(box.rule for box in boxes))
    classes, patterns = [], []
    for j in columns:
        inside = torch.stack([box.states.get(j, torch.ones(widths[j], dtype=torch.bool)) for box in boxes], 1)
        pattern, of = torch.unique(inside, dim=0, return_inverse=True)
        classes.append(of)
        patterns.append(pattern)
    shape = [len(pattern) for pattern in patterns]
    if math.prod(shape) > MOST:
        raise BadValueError(
            f"these rules link columns in {math.prod(shape):,} ways, and {MOST:,} can be looked at: make fewer of them "
            f"name the same columns: {', '.join(map(repr, rules))}"
        )
    is_forbidden = torch.zeros(shape, dtype=torch.bool)
    for place in range(len(boxes)):
        inside = torch.ones(shape, dtype=torch.bool)
        for axis, pattern in enumerate(patterns):
            inside &= pattern[:, place].view([-1 if axis == other else 1 for other in range(len(shape))])
        is_forbidden |= inside
    if is_forbidden.all():
        raise BadValueError(f"these rules leave no record possible: {', '.join(map(repr, rules))}")
    return Limits(columns, tuple(classes), ~is_forbidden, rules)
