"""What the user declares as public of a table: columns, and rules."""

import dataclasses
import json
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sinkgen.data.column import NUMBERS, Column
from sinkgen.data.dtypes import kind_of
from sinkgen.data.numbers import numbers_of
from sinkgen.data.rules import Rule, rule_of
from sinkgen.exceptions import BadTypeError, BadValueError, PrivacyLeakWarning

if TYPE_CHECKING:
    from sinkgen.data.validation import SchemaCheck

RULES_KEY = "rules"  # of the JSON of a schema


class Schema(Mapping):
    """Public facts of a table's columns: a mapping of names to :class:`Column`, which JSON can hold.

    Parameters
    ----------
    columns : mapping of str to (low, high), list of categories, dict, or Column
        A pair of numbers in a tuple bounds a number; a list holds categories; a dict holds the fields of Column.
    rules : sequence of rules, default=()
        What holds of several columns at once, in every record that is drawn: :class:`~sinkgen.Inequality`,
        :class:`~sinkgen.Sum`, :class:`~sinkgen.FixedCombinations`, :class:`~sinkgen.Within`, :class:`~sinkgen.Never`.
        They may name columns of which nothing else is declared, and the labels: by the name of their column, or as
        ``"y"``, or ``"y_"`` where a column is called so.

    Raises
    ------
    TypeError, ValueError
        If a declaration is none of these; the message names the column.

    Examples
    --------
    >>> schema = Schema({"age": (17, 90), "sex": ["Female", "Male"]})
    >>> schema["age"].bounds, Schema.from_json(schema.to_json()) == schema
    ((17.0, 90.0), True)
    """

    def __init__(self, columns: Mapping[Any, Any], rules: Sequence[Any] = ()) -> None:
        if not isinstance(columns, Mapping):
            raise BadTypeError(f"schema must be a dict of columns, got {type(columns).__name__}")
        if isinstance(rules, (str, Mapping)) or not isinstance(rules, Sequence):
            raise BadTypeError(f"rules must be a list of rules, got {type(rules).__name__}")
        self._columns = {name: _column(name, declared) for name, declared in columns.items()}
        self.rules: tuple[Rule, ...] = tuple(map(rule_of, rules))
        if self.rules and RULES_KEY in self._columns:
            raise BadValueError(f"a table with rules cannot have a column {RULES_KEY!r}: give it another name")

    def __eq__(self, other):
        return Mapping.__eq__(self, other) and self.rules == getattr(other, "rules", ())

    __hash__ = None  # type: ignore[assignment]  # as of any mapping

    def __getitem__(self, name):
        return self._columns[name]

    def __iter__(self):
        return iter(self._columns)

    def __len__(self):
        return len(self._columns)

    def __repr__(self):
        return f"Schema({self._columns!r}{f', rules={list(self.rules)!r}' if self.rules else ''})"

    def to_json(self) -> str:
        """The schema as text, one column a line, to be edited and read again.

        Returns
        -------
        str

        Examples
        --------
        >>> print(Schema({"age": (17, 90), "sex": ["Female", "Male"]}).to_json(), end="")
        {
         "age": {"bounds": [17.0, 90.0]},
         "sex": {"values": ["Female", "Male"]}
        }
        """
        lines = [f" {json.dumps(str(name))}: {json.dumps(column.to_dict())}" for name, column in self.items()]
        if self.rules:
            rules = ",\n  ".join(json.dumps(rule.to_dict()) for rule in self.rules)
            lines.append(f" {json.dumps(RULES_KEY)}: [\n  {rules}\n ]")
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def from_json(cls, text: str) -> "Schema":
        """The schema whose :meth:`to_json` gave ``text``.

        Parameters
        ----------
        text : str

        Returns
        -------
        Schema

        Raises
        ------
        TypeError, ValueError
            If it is not JSON, or a column's declaration is none; the message names the column.

        Examples
        --------
        >>> Schema.from_json('{"age": {"bounds": [17, 90], "nullable": true}}')["age"].bounds
        (17.0, 90.0)
        """
        return cls.from_content(json.loads(text))

    @classmethod
    def from_content(cls, content: Any) -> "Schema":
        """The schema of what a JSON file holds: columns, and under "rules" a list of rules.

        Parameters
        ----------
        content : dict

        Returns
        -------
        Schema

        Raises
        ------
        TypeError, ValueError
            If a column's declaration, or a rule, is none.

        Examples
        --------
        >>> Schema.from_content({"rules": [{"rule": "Inequality", "low": "start", "high": "end"}]}).rules
        (Inequality(low='start', high='end'),)
        """
        listed = content.get(RULES_KEY) if isinstance(content, Mapping) else None
        if not (isinstance(listed, list) and all(isinstance(rule, Mapping) for rule in listed)):
            return cls(content)  # a column may have that name
        return cls({name: column for name, column in content.items() if name != RULES_KEY}, listed)

    @classmethod
    def from_frame(cls, frame: Any, *, trust: bool = False) -> "Schema":
        """Write down what a table shows: bounds, categories, whether cells are missing. None of it is private then.

        Parameters
        ----------
        frame : pandas.DataFrame
        trust : bool
            Must be True: what is read here leaks, unless the table is public or you edit what was private.

        Returns
        -------
        Schema

        Raises
        ------
        ValueError
            If ``trust`` is not True.

        Warns
        -----
        PrivacyLeakWarning
            Always.

        Examples
        --------
        >>> import warnings
        >>> import pandas as pd
        >>> public = pd.DataFrame({"age": [17, 90], "sex": ["Female", "Male"]})
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore", PrivacyLeakWarning)
        ...     schema = Schema.from_frame(public, trust=True)
        >>> schema["sex"].values
        ('Female', 'Male')
        """
        if trust is not True:
            raise BadValueError(
                "from_frame reads the table outside of any privacy budget: say trust=True if it is public"
            )
        message = "a schema was read off a table: all that it holds is taken as public"
        warnings.warn(message, PrivacyLeakWarning, stacklevel=2)
        return cls({name: _observed(frame[name]) for name in frame.columns})

    def validate(self, frame: Any) -> "SchemaCheck":
        """Look at a table's cells and tell which do not fit: for those who hold the records, before they fit.

        What it returns tells of single records, without any privacy. Nothing of it reaches a fit: what you change in
        the schema after it should be what you knew, or can know, without these records.

        Parameters
        ----------
        frame : data frame of pandas or another library

        Returns
        -------
        SchemaCheck
            Print it; ``fits`` says whether all is as declared.

        Raises
        ------
        TypeError, ValueError
            If ``frame`` is none that a table can be.

        Examples
        --------
        >>> import pandas as pd
        >>> people = pd.DataFrame({"age": [31, 50, 180], "sex": ["Female", "Male", "male"], "id": [1, 2, 3]})
        >>> print(Schema({"age": (0, 120), "sex": ["female", "male"], "wage": (0, 9)}).validate(people))
        3 records, looked at without privacy: this is for those who may see them, and nothing of it reaches a fit.
        age: int64, 1 lie outside of its bounds
        sex: str, 2 are none of its values: 'Female' (1), 'Male' (1)
        wage: declared, and ABSENT
        id: not declared; a fit learns it on its budget
        """
        from sinkgen.data.validation import validate

        return validate(self, frame)


def _column(name, declared):
    try:
        if isinstance(declared, Column):
            return declared
        if isinstance(declared, Mapping):
            return Column(**declared)
        if isinstance(declared, tuple):
            return Column(bounds=declared)
        if isinstance(declared, (list, np.ndarray, range)):
            return Column(values=tuple(declared))
    except (TypeError, ValueError) as error:
        raise type(error)(f"column {name!r}: {error}") from None
    raise BadTypeError(
        f"column {name!r} must be declared as a tuple (low, high), a list of categories, or a Column, "
        f"got {type(declared).__name__}"
    )


def _observed(series):
    nullable, present = bool(series.isna().any()), series.dropna()
    kind = kind_of(series.dtype, Column())
    if kind in NUMBERS:
        numbers = numbers_of(present)
        low, high = (numbers.min(), numbers.max()) if len(numbers) else (0.0, 1.0)
        return Column(kind, (low, high if high > low else low + 1), nullable=nullable)
    if kind == "boolean":
        return Column(kind, nullable=nullable)
    known = series.dtype.categories if kind == "ordinal" else sorted(set(present))
    return Column(kind, values=tuple(known) or ("none",), nullable=nullable)


def schema_of(schema, names):
    """What is declared, by a table's names of its columns.

    Parameters
    ----------
    schema : Schema, dict or None
    names : sequence
        Of the table's columns.

    Raises
    ------
    TypeError, ValueError
        If a declaration is none, or of a column that the table lacks.
    """
    schema = schema if isinstance(schema, Schema) else Schema({} if schema is None else schema)
    declared = by_names_of(names, schema)
    unknown = [name for name in declared if name not in set(names)]
    if unknown:
        raise BadValueError(f"schema names columns that X lacks: {unknown}; X has {list(names)}")
    by_text = _by_text(names)
    columns = {name: _with_parent(column, by_text) for name, column in declared.items()}
    return Schema(columns, [rule.renamed(by_text) for rule in schema.rules])


def _with_parent(column, by_text):
    parent = by_text.get(column.parent, column.parent)
    return column if column.parent is None else dataclasses.replace(column, parent=parent)


def by_names_of(names, schema):
    """Columns of a schema by a table's names: JSON has written those that are numbers as texts; dict."""
    by_text = _by_text(names)
    return {by_text.get(name, name): column for name, column in schema.items()}


def _by_text(names):
    return {str(name): name for name in names} | {name: name for name in names}
