"""Rules that forbid, as boxes of the states of a table's modelled columns."""

import numpy as np
import torch

from sinkgen.data.bounds import as_number
from sinkgen.data.categories import key_of
from sinkgen.data.joint_columns import JointColumn
from sinkgen.data.limits import Box
from sinkgen.data.rules import FixedCombinations, Never, Within
from sinkgen.data.table_columns import NumberColumn
from sinkgen.exceptions import BadTypeError, BadValueError

MOST_NAMED = 5  # values


def forbidden(rules, label):
    """What the rules forbid: pairs of a rule and conditions, each of a column's name, kind of condition and value.

    The kinds: "is" one of some categories; "in" and "out" of a range of numbers; "missing"; "given", whichever of the
    first two the column is of.
    """
    for rule in rules:
        if isinstance(rule, Never):
            yield rule, [(name, "missing" if wanted is None else "given", wanted) for name, wanted in rule.conditions]
        elif isinstance(rule, Within):
            for value, ends in rule.bounds:
                yield rule, [(rule.given, "is", (value,)), (rule.column, "out", ends)]
        elif isinstance(rule, FixedCombinations) and label in rule.names:
            yield from ((rule, conditions) for conditions in _unlisted(rule, label))


def _unlisted(rule, label):
    """Labels that do not go with the values of the other columns."""
    place = rule.names.index(label)
    allowed: dict = {}
    others = [(at, name) for at, name in enumerate(rule.names) if name != label]
    for row in rule.combinations:
        allowed.setdefault(tuple(row[at] for at, _ in others), []).append(row[place])
    for values, labels in allowed.items():
        own = zip(others, values, strict=True)
        yield [(name, "missing" if value is None else "is", (value,)) for (_, name), value in own] + [
            (label, "isn't", tuple(labels))
        ]
    if len(others) == 1:  # of one column, nothing else lists its values
        name = others[0][1]
        known = tuple(values[0] for values in allowed if values[0] is not None)
        yield [(name, "isn't", known)]


def check_conditions(rules, own_columns, label):
    """Raise an error, naming the rule, if one forbids what a column cannot hold by what is declared of it."""
    own = {column.name: column for column in own_columns}
    for rule, conditions in forbidden(rules, label):
        for name, kind, wanted in conditions:
            if kind == "missing" or name not in own:
                continue
            if isinstance(own[name], NumberColumn):
                range_in_rule(own[name], wanted)
            elif own[name].values is not None:
                _check_known(rule, f"{name!r}", own[name].values, wanted)


def unknown_remarks(rules, columns, label):
    """What is told of rules that name values of which none was learned; the columns as they were learned."""
    known = {column.name: column.values for column in columns if getattr(column, "values", None) is not None}
    told: dict = {}
    for rule, conditions in forbidden(rules, label):
        for name, kind, wanted in conditions:
            if kind == "missing" or name not in known or not known[name]:
                continue
            values = wanted if isinstance(wanted, tuple) else (wanted,)
            keys = set(map(key_of, known[name]))
            told.setdefault((rule, name), []).extend(value for value in values if key_of(value) not in keys)
    return tuple(
        f"the rule {rule.short_name} names {sorted(map(str, set(values)))}, and no such value of {name!r} stands out: "
        f"see how they are written, such as {list(known[name])[:MOST_NAMED]}"
        for (rule, name), values in told.items() if values
    )  # fmt: skip


def check_classes(rules, label, classes):
    """The same for the labels, where they are declared."""
    for rule, conditions in forbidden(rules, label):
        for name, _, wanted in conditions:
            if name == label:
                _check_known(rule, f"the label, {name!r},", classes, wanted)


def _check_known(rule, what, values, wanted):
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    unknown = [value for value in wanted if key_of(value) not in set(map(key_of, values))]
    if unknown:
        raise BadValueError(f"{rule!r}: {what} is declared to be one of {list(values)}, and not {unknown}")


def cuts(rules, column, label):
    """Where the cells of a column of numbers have to end, so that each lies in a range of a rule or outside of it."""
    found = []
    for _, conditions in forbidden(rules, label):
        for name, kind, wanted in conditions:
            if name == column.name and kind in ("given", "out"):
                low, high = range_in_rule(column, wanted)
                found += [end for end in (low, high) if np.isfinite(end)]
    return found


def boxes(rules, columns, own_columns, label, classes):
    """The boxes (list of Box) of rules that forbid.

    Parameters
    ----------
    rules : sequence of Rule
    columns : sequence of NumberColumn, CategoryColumn or JointColumn
        Modelled, of which nothing is missing.
    own_columns : sequence
        The table's own.
    label : str, int or None
        What rules call the labels.
    classes : sequence
        The labels; of no use without them.
    """
    places: dict = {}
    for j, column in enumerate(columns):
        places |= dict.fromkeys(column.members if isinstance(column, JointColumn) else [column.name], j)
    own = {column.name: column for column in own_columns}
    out = []
    for rule, conditions in forbidden(rules, label):
        states: dict = {}
        for name, kind, wanted in conditions:
            if name == label and name not in places:
                j, found = len(columns), _of_values(classes, kind, wanted)
            else:
                j = places[name]
                found = _states(columns[j], own[name], kind, wanted)
            states[j] = states[j] & found if j in states else found
        out.append(Box(states, rule))
    return out


def _states(column, own, kind, wanted):
    """Which states (n_states,) of a modelled column meet a condition on the table's own."""
    if isinstance(column, JointColumn):
        return _of_joint(column, own, kind, wanted)
    out = torch.zeros(column.n_states, dtype=torch.bool)
    if kind == "missing":
        out[column.n_states - column.nullable :] = True
    elif isinstance(column, NumberColumn):
        low, high = range_in_rule(column, wanted)
        first = np.flatnonzero(np.diff(column.bins, prepend=-1))
        left = np.asarray(column.edges)[first]
        if column.step and column.bounds:  # as it is drawn: a multiple, at least the first within the bounds
            left = np.maximum(left, np.ceil(column.bounds[0] / column.step - 1e-9) * column.step)
        inside = (left >= low) & (left < high)
        out[: column.n_ordered] = torch.from_numpy(~inside if kind == "out" else inside)
    else:
        out[: len(column.values)] = _of_values(column.values, kind, wanted)
        out[len(column.values) : column.n_states - column.nullable] = kind == "isn't"
    return out


def _of_values(values, kind, wanted):
    keys = set(map(key_of, wanted if isinstance(wanted, tuple) else (wanted,)))
    return torch.tensor([(key_of(value) in keys) != (kind == "isn't") for value in values], dtype=torch.bool)


def _of_joint(column, own, kind, wanted):
    place, is_number = column.members.index(own.name), isinstance(own, NumberColumn)
    if column.is_nested and place:
        raise BadValueError(f"{own.name!r} lies in a parent, and only this can be in a rule that forbids")
    rows = [*column.combinations, *[(None,) * len(column.members)] * column.nullable]
    values = (
        list(dict.fromkeys([*column.parents, *[row[0] for row in rows[len(column.values) :]]]))
        if (column.is_nested)
        else [row[place] for row in rows]
    )
    if kind == "missing":
        found = [value is None for value in values]
    elif is_number:
        low, high = range_in_rule(own, wanted)
        found = [value is not None and (low <= value < high) != (kind == "out") for value in values]
    else:
        keys = set(map(key_of, wanted if isinstance(wanted, tuple) else (wanted,)))
        found = [value is not None and (key_of(value) in keys) != (kind == "isn't") for value in values]
    return torch.tensor(found, dtype=torch.bool)


def range_in_rule(column, wanted):
    """From where on, and up to below what, numbers lie in a condition."""
    ends = wanted if isinstance(wanted, tuple) else (wanted, wanted)
    if len(ends) != 2:
        raise BadTypeError(f"column {column.name!r} holds numbers or dates: a rule names one, or a pair (low, high)")
    low, high = (None if end is None else as_number(end) for end in ends)
    if low is not None and high is not None and low > high:
        raise BadValueError(f"column {column.name!r}: a rule names a range that ends before it begins")
    return column.span(-np.inf if low is None else low, np.inf if high is None else high)
