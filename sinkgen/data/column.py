"""What the user declares as public of one column of a table."""

import dataclasses
import itertools
import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from sinkgen._validation import check_choice, check_real
from sinkgen.data.bounds import as_number, interval
from sinkgen.data.patterns import Pattern
from sinkgen.exceptions import BadTypeError, BadValueError

KINDS = ("float", "integer", "boolean", "category", "ordinal", "datetime")
NUMBERS = ("float", "integer", "datetime")
LARGEST = 2.0**64  # what is larger and not declared counts as this


@dataclass(frozen=True)
class Column:
    """What is public about one column of a table; whatever is left out is learned, trusted or refused (``metadata``).

    Parameters
    ----------
    kind : {"float", "integer", "boolean", "category", "ordinal", "datetime"}, optional
        By default what the column's dtype says; a number with ``values`` is a category.
    bounds : (low, high), optional
        Ends of the numbers or dates, both included; what lies outside is clipped. Dates as ISO text, datetime or
        Timestamp.
    values : sequence, optional
        Categories; for "ordinal" in their order. A cell that is none of them counts for nothing in its column.
    edges : sequence, optional
        Ends of the bins in which numbers are counted, rising; a bin holds its left end. For integers the last edge is
        one more than the largest number. By default bins are learned on the budget.
    atoms : sequence, default=()
        Numbers that occur so often that they are states of their own; zero always is.
    nullable : bool, default=False
        Whether cells may be missing.
    step : float, optional
        Numbers are rounded down to multiples of it; for dates in seconds.
    format : str, optional
        How dates stand in a column of text, as for ``strftime``: ``"%d.%m.%Y"``. They come back so.
    decimal : {".", ","}, optional
        Mark before the decimals of numbers in a column of text. They come back so.
    parent : str or int, optional
        Name of the column of categories that this one's categories lie in, as a zip code lies in a state: they are
        drawn given the parent's, and depend on other columns through it alone. For thousands of categories. They are
        learned, unless a rule :class:`~sinkgen.FixedCombinations` of the parent and all that lies in it lists them.
    pattern : str, optional
        The column holds keys: texts that this regular expression describes, drawn apart from records; those of the
        private records are never looked at. What it may hold: :class:`~sinkgen.data.patterns.Pattern`.
    unique : bool, default=False
        Whether no key comes twice in a draw.
    drop : bool, default=False
        Whether the column is left out, of the fit and of what is drawn.
    of : {"group"}, optional
        Whether all rows of a group have the same cell, such as a patient's year of birth; for whole groups that are
        drawn, see :class:`~sinkgen.Marginals`.

    Raises
    ------
    TypeError, ValueError
        If what is declared contradicts itself.

    Examples
    --------
    >>> Column(bounds=(0, 120), nullable=True).bounds
    (0.0, 120.0)
    >>> Column(bounds=("2020-01-01", "2022-12-31"), format="%d.%m.%Y").kind
    'datetime'
    >>> Column(pattern="C[0-9]{6}", unique=True).pattern
    'C[0-9]{6}'
    """

    kind: str | None = None
    bounds: tuple | None = None
    values: tuple | None = None
    edges: tuple | None = None
    atoms: tuple = ()
    nullable: bool = False
    step: float | None = None
    format: str | None = None
    decimal: str | None = None
    parent: str | int | None = None
    pattern: str | None = None
    unique: bool = False
    drop: bool = False
    of: str | None = None

    def __post_init__(self):
        if self.kind is not None:
            check_choice("kind", self.kind, KINDS)
        if self.of is not None:
            check_choice("of", self.of, ("group",))
        _check_text(self.format, self.decimal)
        self._infer_kind()
        if self.values is not None and (self.bounds is not None or self.edges is not None or self.kind in NUMBERS):
            raise BadValueError("a column has either values or bounds and edges, by its kind")
        if self.kind in ("boolean", "category", "ordinal") and not (self.bounds is None and self.edges is None):
            raise BadValueError(f"a column of kind {self.kind!r} has no bounds and no edges")
        _check_apart(self)
        fields = {
            "values": _values(self.values),
            "edges": _edges(self.edges),
            "atoms": tuple(map(as_number, self.atoms)),
            "step": None if self.step is None else check_real("step", self.step, low=0, include_low=False),
        }
        fields["bounds"] = _column_bounds(self.bounds, fields["edges"])
        if fields["step"] is not None:
            largest = max(map(abs, (LARGEST, *(fields["bounds"] or ()), *fields["atoms"])))
            if math.isinf(largest / fields["step"]):
                raise BadValueError("step is so small that no number can be divided by it")
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def _infer_kind(self):
        """What only dates, or only numbers, can be declared as, says the kind."""
        ends = (*_listed(self.bounds), *_listed(self.edges), *_listed(self.atoms))
        are_dates = self.format is not None or not all(isinstance(end, Real) for end in ends)
        for told, kinds, what in (
            (are_dates, ("datetime",), "bounds of dates and format"),
            (self.decimal is not None, ("float", "integer"), "decimal"),
        ):
            if told and self.kind not in (None, *kinds):
                raise BadValueError(f"{what} are for columns of kind {' or '.join(map(repr, kinds))}")
            if told and self.kind is None:
                object.__setattr__(self, "kind", kinds[0])

    def to_dict(self) -> dict[str, Any]:
        """The fields that are not their defaults.

        Returns
        -------
        dict
            JSON values; ``Column(**...)`` of it is the column.

        Examples
        --------
        >>> Column(bounds=(0, 120), nullable=True).to_dict()
        {'bounds': (0.0, 120.0), 'nullable': True}
        """
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in given.items() if value not in (None, (), False)}


def _check_apart(column):
    """Check what a column says of itself that is not modelled as others are."""
    given = [name for name in ("kind", "bounds", "values", "edges", "atoms", "step") if getattr(column, name)]
    if column.pattern is not None:
        if not isinstance(column.pattern, str):
            raise BadTypeError("pattern must be a text")
        Pattern.of(column.pattern)
        given += [name for name in ("nullable", "parent", "drop") if getattr(column, name)]
        if given:
            raise BadValueError(f"a column with a pattern is drawn apart from records: leave out {', '.join(given)}")
    elif column.unique:
        raise BadValueError("unique=True is for keys: declare their pattern, such as 'C[0-9]{6}'")
    if column.parent is not None and [name for name in given if name != "kind"]:
        raise BadValueError(
            "a column with a parent has its categories learned within it, or listed by a rule FixedCombinations: leave "
            f"out {', '.join(name for name in given if name != 'kind')}"
        )


def _values(values):
    if values is None:
        return None
    if isinstance(values, str) or not hasattr(values, "__iter__"):
        raise BadTypeError("values must be a list of categories")
    values = tuple(getattr(value, "item", lambda value=value: value)() for value in values)
    if not values or len(set(values)) != len(values):
        raise BadValueError("values must be a non-empty list of distinct categories")
    if not all(isinstance(value, (str, bool, int, float)) for value in values):
        raise BadTypeError("values must be strings, booleans or numbers; say nullable=True for missing cells")
    return values


def _check_text(form, decimal):
    if form is not None and (not isinstance(form, str) or "%" not in form):
        raise BadValueError("format must be text as for strftime, such as '%d.%m.%Y'")
    if decimal is not None:
        check_choice("decimal", decimal, (".", ","))


def _listed(values):
    return tuple(values) if isinstance(values, (list, tuple, np.ndarray)) else ()


def _edges(edges):
    if edges is None:
        return None
    edges = tuple(map(as_number, edges))
    if len(edges) < 2 or not all(low < high for low, high in itertools.pairwise(edges)):
        raise BadValueError("edges must be at least two finite numbers, rising")
    return edges


def _column_bounds(bounds, edges):
    if bounds is None:
        return None if edges is None else (edges[0], edges[-1])
    if not isinstance(bounds, (list, tuple)) or len(bounds) != 2:
        raise BadTypeError("bounds must be a pair (low, high)")
    return interval("bounds", tuple(map(as_number, bounds)))
