"""Making an :class:`~sinkgen.data.arrangement.Arrangement` of what is declared, with all checks that need no record."""

import dataclasses
from typing import Any

import numpy as np

from sinkgen.data.arrangement import Arrangement
from sinkgen.data.boxes import check_conditions
from sinkgen.data.joint_columns import filler, joint_column
from sinkgen.data.patterns import KeyColumn
from sinkgen.data.rules import FixedCombinations, Inequality, Sum, Within
from sinkgen.data.table_columns import CategoryColumn, NumberColumn
from sinkgen.exceptions import BadTypeError, BadValueError


def arranged(columns, declared, rules, label):
    """The arrangement of a table, and its modelled columns; None if each column is modelled as it is.

    Parameters
    ----------
    columns : list of NumberColumn or CategoryColumn
        Formats of all columns that are not dropped, keys included.
    declared : mapping of names to Column
    rules : sequence of Rule
    label : str, int or None
        What rules call the labels, where there are some.

    Returns
    -------
    Arrangement or None
    list of NumberColumn, CategoryColumn or JointColumn

    Raises
    ------
    TypeError, ValueError
        If rules or parents name what they cannot, or contradict each other.
    """
    made = Arrangement(tuple(columns), tuple(rules), label)
    parents = {c.name: declared[c.name].parent for c in columns if c.name in declared}
    parents = {name: parent for name, parent in parents.items() if parent is not None}
    if columns and not (rules or parents or any(isinstance(column, KeyColumn) for column in columns)):
        return None, list(columns)
    for rule in rules:
        _check_rule(made, rule)
    check_conditions(made.rules, made.columns, label)
    _check_sums(made)
    families = _families(made, parents)
    joint = {name: family for family in families for name in family.members}
    _check_derived(made, joint)
    out: list = []
    for column in columns:
        if isinstance(column, KeyColumn) or column.name in made.totals:
            continue
        if column.name in joint:
            if joint[column.name] not in out:
                out.append(joint[column.name])
        elif column.name in made.lows:
            out.append(_rise_column(made, column))
        else:
            bounds = made.bounds.get(column.name)
            out.append(column if bounds is None or bounds == column.bounds else _bounded(made, column, bounds))
    if not out:
        raise BadValueError("X has no column to be modelled: all are keys, dropped, or made of others")
    names = [column.name for column in out]
    if len(set(names)) < len(names):
        raise BadValueError(f"rules make a column of a name that X has: rename one of {names}")
    return made, out


def _check_rule(made, rule):
    known = {column.name: column for column in made.columns}
    unknown = [name for name in rule.names if name not in known and name != made.label]
    if unknown:
        raise BadValueError(f"{rule!r} names columns that X lacks, or that are dropped: {unknown}; X has {list(known)}")
    for name in rule.names:
        if isinstance(known.get(name), KeyColumn):
            raise BadValueError(f"{rule!r} names {name!r}, which is a key: keys are drawn apart from records")
    numbers = rule.names if isinstance(rule, (Inequality, Sum)) else (rule.column,) if isinstance(rule, Within) else ()
    for name in numbers:
        if not isinstance(known.get(name), NumberColumn):
            what = "the labels" if name not in known else f"{name!r}"
            raise BadTypeError(f"{rule!r}: {what} must be a column of numbers or dates of X")
    if isinstance(rule, Within) and isinstance(known.get(rule.given), NumberColumn):
        raise BadTypeError(f"{rule!r}: {rule.given!r} must be a column of categories: declare its values")
    if isinstance(rule, Inequality) and len({known[name].kind == "datetime" for name in rule.names}) > 1:
        raise BadTypeError(f"{rule!r}: both must be numbers, or both dates")
    if isinstance(rule, FixedCombinations):
        _check_combined(made, rule, known)


def _check_combined(made, rule, known):
    if any(getattr(known.get(name), "kind", "") == "datetime" for name in rule.names):
        raise BadTypeError(f"{rule!r}: dates cannot be combined; declare them as text")
    if made.label in rule.names and rule.combinations is None:
        raise BadValueError(f"{rule!r} names the labels: declare its combinations")


def _check_sums(made):
    known = {column.name: column for column in made.columns}
    for total, parts in made.totals.items():
        rule, of = made.rule_for(total), [known[part] for part in parts]
        if any(column.kind == "datetime" for column in (known[total], *of)):
            raise BadTypeError(f"{rule!r}: dates have no sum; an Inequality keeps one date after another")
        if known[total].kind == "integer" and any(column.kind != "integer" for column in of):
            raise BadTypeError(f"{rule!r}: {total!r} holds whole numbers, and so must its parts")
        if any(column.nullable for column in of) and not known[total].nullable:
            raise BadValueError(f"{rule!r}: parts may be missing, and so may {total!r}: declare it nullable=True")
        bounds = [made.bounds.get(part) for part in parts]
        own = made.bounds.get(total)
        if own and all(bounds) and not (own[0] <= sum(b[0] for b in bounds) and sum(b[1] for b in bounds) <= own[1]):
            raise BadValueError(
                f"{rule!r}: its parts can add up to less or more than the bounds of {total!r}: leave these out, or "
                "declare narrower bounds of the parts"
            )


def _check_derived(made, joint):
    names = [rule.total for rule in made.rules if isinstance(rule, Sum)] + list(made.lows)
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise BadValueError(f"{twice[0]!r} is made of others by two rules: {made.rule_for(twice[0])!r} and another one")
    for rule in made.rules:
        if isinstance(rule, (Inequality, Sum)):
            combined = [name for name in rule.names if name in joint]
        else:
            combined = [name for name in rule.names if name in names]
        if combined:
            raise BadValueError(
                f"{rule!r} names {combined[0]!r}, which another rule makes of others or combines with others: a "
                "column can be in one such rule alone"
            )
    made.derived  # noqa: B018  # raises where rules go round in a circle
    bounds = made.bounds
    for rule in made.rules:
        if isinstance(rule, Inequality) and rule.low in bounds and bounds[rule.low][0] >= bounds[rule.low][1]:
            raise BadValueError(f"{rule!r}: by their bounds {rule.low!r} always lies above {rule.high!r}")


def _families(made, parents):
    """Joint columns of parents with all that lies in them, and of fixed combinations."""
    known = {column.name: column for column in made.columns}
    roots: dict = {}
    for name, parent in parents.items():
        _check_parent(known, name, parent)
        seen = [name]
        while parent in parents:
            if parent in seen:
                raise BadValueError(f"columns {seen} are each other's parents")
            seen.append(parent)
            parent = parents[parent]
        roots.setdefault(parent, []).append(name)
    families = {(root, *names): root for root, names in roots.items()}
    listed: dict = {}
    for rule in (rule for rule in made.rules if isinstance(rule, FixedCombinations)):
        own = tuple(name for name in rule.names if name != made.label)
        own = next((family for family in families if set(family) == set(own)), own)
        if len(own) > 1:
            if own in listed:
                raise BadValueError(f"{rule!r}: two rules combine the same columns")
            listed[own] = _rows(rule, own)
    out = [_joint(known, names, listed.get(names), names in families) for names in dict.fromkeys([*families, *listed])]
    names = [name for family in out for name in family.members]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise BadValueError(
            f"{twice[0]!r} is combined with others twice, by rules FixedCombinations or as a parent: name all of these "
            "columns in one rule"
        )
    return out


def _check_parent(known, name, parent):
    if parent not in known:
        raise BadValueError(f"column {name!r}: its parent {parent!r} is no column of X, or is dropped")
    for own in (name, parent):
        if not isinstance(known[own], CategoryColumn):
            raise BadTypeError(
                f"column {name!r} lies in {parent!r}: {own!r} must be one of categories, by its dtype or kind"
            )


def _rows(rule, names):
    """Combinations in the order of ``names``; None if they are to be learned."""
    if rule.combinations is None:
        return None
    places = [rule.names.index(name) for name in names]
    return tuple(dict.fromkeys(tuple(row[place] for place in places) for row in rule.combinations))


def _joint(known, names, combinations, is_nested):
    of = [known[name] for name in names]
    nullable = of[0].nullable if is_nested else all(column.nullable for column in of)
    if combinations is not None:  # cells are missing where these say so alone
        present = [row for row in combinations if (row[0] if is_nested else set(row) - {None} or None) is not None]
        nullable, combinations = len(present) < len(combinations), present
    fillers = [filler(not isinstance(c, NumberColumn) and _is_text(c), c.nullable, _least(c)) for c in of]
    values = of[0].values if is_nested else None
    return joint_column(
        names, nullable=nullable, combinations=combinations, fillers=fillers, is_nested=is_nested, parents=values
    )


def _is_text(column):
    if column.values is not None:
        return isinstance(column.values[0], str)
    return not column.dtype.lower().startswith(("int", "uint", "float", "bool"))


def _least(column):
    if isinstance(column, NumberColumn):
        low = column.bounds[0] if column.bounds else 0.0
        return int(np.ceil(low)) if column.kind == "integer" else low
    return column.values[0] if column.values else False if column.kind == "boolean" else 0


def _rise_column(made, column):
    lows, bounds = made.lows[column.name], made.bounds
    of = [*(made[low] for low in lows), column]
    ends = [bounds[low][0] for low in lows if low in bounds]
    known: Any = (0.0, bounds[column.name][1] - max(ends)) if column.name in bounds and len(ends) == len(lows) else None
    steps = {c.step or (1.0 if c.kind == "integer" else None) for c in of}
    step: Any = steps.pop() if len(steps) == 1 else None
    kinds = {c.kind for c in of}
    kind = {("integer",): "integer", ("datetime",): "duration"}.get(tuple(kinds), "float")
    step = None if kind == "integer" and step == 1 else step
    return NumberColumn(made.above(column.name), "float64", kind, column.nullable, known, (0.0,), step)


def _bounded(made, column, bounds):
    if column.edges is not None:
        rule = next(r for r in made.rules if isinstance(r, Inequality) and r.low == column.name)
        raise BadValueError(
            f"{rule!r}: the edges of {column.name!r} end above the bounds of {rule.high!r}: end them there"
        )
    return dataclasses.replace(column, bounds=bounds)
