"""Rules: what is public about several columns of a table at once, and holds in every record that is drawn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from typing import Any

import numpy as np

from sinkgen.exceptions import BadTypeError, BadValueError

Name = str | int


class Rule:
    """What all rules have in common; see the classes that it is made for."""

    @property
    def names(self) -> tuple[Name, ...]:
        """Names of the columns that the rule is about, in its own order."""
        found: list[Name] = []
        self._mapped(lambda name: found.append(name) or name)  # type: ignore[func-returns-value]
        return tuple(found)

    @property
    def short_name(self) -> str:
        """Its kind, and what it is about, for messages."""
        return f"{type(self).__name__} of {', '.join(map(str, dict.fromkeys(self.names)))}"

    def renamed(self, names: Mapping[Any, Any]) -> "Rule":
        """The rule of columns that have other names."""
        return self._mapped(lambda name: names.get(name, name))

    def to_dict(self) -> dict[str, Any]:
        """What :func:`rule_of` reads; JSON values."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {"rule": type(self).__name__} | {name: _listed(value) for name, value in given.items()}

    def _mapped(self, of: Callable[[Name], Name]) -> "Rule":
        """The rule after each of its names went through a function."""
        raise NotImplementedError


@dataclass(frozen=True)
class Inequality(Rule):
    """One column of numbers or dates is at most another: ``low <= high``, wherever both are known.

    What is modelled in place of ``high`` is how far it lies above ``low``; private records in which it lies below count
    as if both were the same. Where ``low`` is missing, ``high`` follows the ``low`` of other records that were drawn.

    Parameters
    ----------
    low, high : str or int
        Names of columns.

    Raises
    ------
    ValueError
        If both are the same.

    Examples
    --------
    >>> Inequality("admitted", "discharged")
    Inequality(low='admitted', high='discharged')
    """

    low: Name
    high: Name

    def __post_init__(self) -> None:
        _check_names("Inequality", (self.low, self.high))

    def _mapped(self, of):
        return Inequality(of(self.low), of(self.high))


@dataclass(frozen=True)
class Sum(Rule):
    """A column is the sum of others, exactly: added up from left to right, in the order of ``parts``.

    ``total`` is not modelled, and nothing of it is asked of the private records. It is missing where a part is.

    Parameters
    ----------
    total : str or int
    parts : sequence of str or int
        Names of at least two columns of numbers.

    Raises
    ------
    TypeError, ValueError
        If ``parts`` are no such names.

    Examples
    --------
    >>> Sum("total", ["rent", "food"])
    Sum(total='total', parts=('rent', 'food'))
    """

    total: Name
    parts: tuple[Name, ...]

    def __init__(self, total: Name, parts: Sequence[Name]) -> None:
        object.__setattr__(self, "total", total)
        object.__setattr__(self, "parts", _sequence("Sum", "parts", parts))
        _check_names("Sum", (self.total, *self.parts))
        if len(self.parts) < 2:
            raise BadValueError("Sum: parts must name at least two columns")

    def _mapped(self, of):
        return Sum(of(self.total), [of(part) for part in self.parts])


@dataclass(frozen=True)
class FixedCombinations(Rule):
    """Some columns take certain values together alone, as a city and its state do.

    The columns are modelled as one, whose categories are the combinations. A private record with another one counts as
    the listed one that agrees with it most, in the first columns named if in as many.

    Parameters
    ----------
    columns : sequence of str or int
        Names of at least two columns.
    combinations : sequence of sequences, optional
        The values of the columns, in their order, as they may occur; None in them is a missing cell. By default those
        that occur often enough are learned on the budget.

    Raises
    ------
    TypeError, ValueError
        If these are no names, or a combination is not of one value a column.

    Examples
    --------
    >>> FixedCombinations(["city", "state"], [["Lyon", "France"], ["Rome", "Italy"]]).combinations
    (('Lyon', 'France'), ('Rome', 'Italy'))
    """

    columns: tuple[Name, ...]
    combinations: tuple[tuple[Any, ...], ...] | None

    def __init__(self, columns: Sequence[Name], combinations: Sequence[Sequence[Any]] | None = None) -> None:
        object.__setattr__(self, "columns", _sequence("FixedCombinations", "columns", columns))
        _check_names("FixedCombinations", self.columns)
        if combinations is not None:
            rows = [
                _sequence("FixedCombinations", "a combination", row)
                for row in _sequence("FixedCombinations", "combinations", combinations)
            ]
            if not rows or any(len(row) != len(self.columns) for row in rows):
                raise BadValueError(f"FixedCombinations: combinations must hold {len(self.columns)} values each")
            rows = [tuple(map(_scalar, row)) for row in rows]
            if len(set(rows)) != len(rows):
                raise BadValueError("FixedCombinations: combinations must be distinct")
            combinations = tuple(rows)
        object.__setattr__(self, "combinations", combinations)

    def _mapped(self, of):
        return FixedCombinations([of(name) for name in self.columns], self.combinations)


@dataclass(frozen=True)
class Within(Rule):
    """The range of a column of numbers or dates depends on a category.

    A number of a private record that lies outside counts as the nearest that is allowed.

    Parameters
    ----------
    column : str or int
        Of numbers or dates; where it is missing, the rule says nothing.
    given : str or int
        Of categories.
    bounds : mapping of categories to (low, high)
        Both ends included; None for no end. A category that is not named has no range of its own.

    Raises
    ------
    TypeError, ValueError
        If ``bounds`` is none of these.

    Examples
    --------
    >>> Within("age", given="school", bounds={"primary": (5, 12), "secondary": (10, 20)}).bounds
    (('primary', (5, 12)), ('secondary', (10, 20)))
    """

    column: Name
    given: Name
    bounds: tuple[tuple[Any, tuple[Any, Any]], ...]

    def __init__(self, column: Name, given: Name, bounds: Any) -> None:
        object.__setattr__(self, "column", column)
        object.__setattr__(self, "given", given)
        _check_names("Within", (column, given))
        pairs = bounds.items() if isinstance(bounds, Mapping) else _sequence("Within", "bounds", bounds)
        rows = []
        for pair in pairs:
            value, ends = _sequence("Within", "bounds", pair)
            ends = _sequence("Within", "bounds", ends)
            if len(ends) != 2:
                raise BadValueError("Within: bounds must map categories to pairs (low, high)")
            rows.append((_scalar(value), tuple(map(_end, ends))))
        if not rows:
            raise BadValueError("Within: bounds must name at least one category")
        object.__setattr__(self, "bounds", tuple(rows))

    def _mapped(self, of):
        return Within(of(self.column), of(self.given), self.bounds)


@dataclass(frozen=True)
class Never(Rule):
    """What cannot be: no record meets all of these conditions at once.

    Parameters
    ----------
    conditions : mapping of str or int to conditions
        As those of ``sample(conditions=)``: a category or a list of them, a number or date, ``(low, high)`` of numbers
        or dates, or None for a missing cell. At least two columns.

    Raises
    ------
    TypeError, ValueError
        If these are no conditions.

    Examples
    --------
    >>> Never({"sex": "male", "pregnant": ["yes", "unsure"]}).conditions
    (('sex', 'male'), ('pregnant', ('yes', 'unsure')))
    """

    conditions: tuple[tuple[Name, Any], ...]

    def __init__(self, conditions: Any) -> None:
        pairs = conditions.items() if isinstance(conditions, Mapping) else _sequence("Never", "conditions", conditions)
        rows = []
        for pair in pairs:
            name, wanted = _sequence("Never", "conditions", pair)
            is_list = isinstance(wanted, (list, tuple, set))
            rows.append((name, tuple(map(_end, wanted)) if is_list else _end(wanted)))
        object.__setattr__(self, "conditions", tuple(rows))
        _check_names("Never", [name for name, _ in rows])
        if len(rows) < 2:
            raise BadValueError("Never: conditions must name at least two columns")

    def _mapped(self, of):
        return Never([(of(name), wanted) for name, wanted in self.conditions])


RULES: dict[str, Any] = {kind.__name__: kind for kind in (Inequality, Sum, FixedCombinations, Within, Never)}


def rule_of(declared: Any) -> Rule:
    """A rule, or what its ``to_dict`` gave.

    Raises
    ------
    TypeError, ValueError
        If it is neither.

    Examples
    --------
    >>> rule_of({"rule": "Inequality", "low": "start", "high": "end"})
    Inequality(low='start', high='end')
    """
    if isinstance(declared, Rule):
        return declared
    if not isinstance(declared, Mapping) or declared.get("rule") not in RULES:
        raise BadTypeError(f"a rule must be one of {', '.join(RULES)}, or a dict that names one of these as 'rule'")
    given = {name: value for name, value in declared.items() if name != "rule"}
    try:
        return RULES[declared["rule"]](**given)
    except TypeError as error:
        if isinstance(error, BadTypeError):
            raise
        raise BadTypeError(f"{declared['rule']}: {error}".replace("__init__() ", "")) from None


def _listed(value):
    return [_listed(part) for part in value] if isinstance(value, tuple) else value


def _sequence(rule, what, value):
    if isinstance(value, str) or not isinstance(value, (Sequence, np.ndarray)):
        raise BadTypeError(f"{rule}: {what} must be a list, got {type(value).__name__}")
    return tuple(value)


def _check_names(rule, names):
    if not all(isinstance(name, (str, int)) for name in names) or len(set(names)) != len(names):
        raise BadValueError(f"{rule}: columns must be named by distinct texts or integers")


def _scalar(value):
    value = getattr(value, "item", lambda: value)()
    if not (value is None or isinstance(value, (str, bool, int, float))):
        raise BadTypeError(f"a value in a rule must be a text, a number, a boolean or None, got {type(value).__name__}")
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _end(value):
    """A scalar as JSON can hold it; dates as ISO text."""
    return value.isoformat() if isinstance(value, date) else _scalar(_of_numpy(value))


def _of_numpy(value):
    return str(value) if isinstance(value, np.datetime64) else value
