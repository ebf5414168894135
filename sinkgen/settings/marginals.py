"""Settings of the mechanism for tables."""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from sinkgen._validation import check_boolean, check_real
from sinkgen.exceptions import BadTypeError
from sinkgen.settings.base import AUTO, Settings, check_count, check_positive


@dataclass(frozen=True)
class Marginals(Settings):
    """The mechanism for tables: counts of the states of columns and their pairs.

    ``target`` and ``weight`` are for tables without labels, of which a field is released. All others are for tables
    with labels, or with ``whole_groups``, to which a mixture is fitted; what has a number here is what "auto" is there.

    Parameters
    ----------
    members : int or "auto", default="auto"
        Mixtures that are fitted from starts of their own, 5. Together they are the mixture released, which has less of
        the noise than each.
    components : int or "auto", default="auto"
        Components of a member, 60.
    steps : int or "auto", default="auto"
        Steps of Adam for each member, 800, or 600 where refinements follow; they see no record.
    learning_rate : float or "auto", default="auto"
        0.1.
    refinements : int or "auto", default="auto"
        Releases in which the records say which component serves them: 4, or none where they do not pay.
    relative : float or "auto", default="auto"
        Share of a count that is added to the variance of its noise: what the mixture cannot fit is left where counts
        are large. 0, or 0.2 where there are refinements.
    target : str, int, tuple of them or "auto", default="auto"
        Name of the column that is to be predicted from the others, or names of several; public. Pairs with it are asked
        with less noise and more finely, others with more; and they are asked even where so few records do not show
        that they depend on each other. "auto": none; all columns weigh the same.
    weight : dict or "auto", default="auto"
        How much more than others, 1, columns and pairs of columns matter; public. ``{"income": 3, ("age", "sex"): 5}``:
        the noise of the column's counts is as many times less beside that of others', and so is that of its pairs, or
        of this pair. All of them together have the same budget.
    whole_groups : bool or "auto", default="auto"
        Whether groups can be drawn with all their rows, by ``sample(n_groups=)``: a part of the budget then goes to how
        many rows a group has, and how alike these are. "auto": not.

    Raises
    ------
    TypeError, ValueError
        If a setting is of the wrong type or out of range; the message names it.

    Examples
    --------
    >>> Marginals(components=30).components, Marginals(target="income").target
    (30, ('income',))
    """

    name: ClassVar[str] = "marginals"

    members: Any = AUTO
    components: Any = AUTO
    steps: Any = AUTO
    learning_rate: Any = AUTO
    refinements: Any = AUTO
    relative: Any = AUTO
    target: Any = AUTO
    weight: Any = field(default=AUTO, hash=False)
    whole_groups: Any = AUTO

    def __post_init__(self):
        given = self.given()
        for name in given.keys() & {"members", "components", "steps"}:
            check_count(name, given[name])
        if "refinements" in given:
            check_count("refinements", self.refinements, low=0)
        if "target" in given:
            names = self.target if isinstance(self.target, (list, tuple)) else (self.target,)
            if not (names and all(isinstance(name, (str, int)) and not isinstance(name, bool) for name in names)):
                raise BadTypeError("target must be the name of a column, or a tuple of such names")
            object.__setattr__(self, "target", tuple(names))
        if "weight" in given:
            _check_weights(self.weight)
        if "learning_rate" in given:
            check_positive("learning_rate", self.learning_rate)
        if "whole_groups" in given:
            check_boolean("whole_groups", self.whole_groups)
        if "relative" in given:
            check_real("relative", self.relative, low=0, high=math.inf, include_high=False)


def _check_weights(weight):
    if not isinstance(weight, dict):
        raise BadTypeError("weight must be a dict of columns, or of pairs of them, and positive numbers")
    for names, value in weight.items():
        pair = names if isinstance(names, tuple) else (names,)
        are_names = all(isinstance(name, (str, int)) and not isinstance(name, bool) for name in pair)
        if not (are_names and len(set(pair)) == len(pair) in (1, 2)):
            raise BadTypeError(f"weight is of columns, or of pairs (name, name); got {names!r}")
        check_positive(f"weight of {names!r}", value)
