"""What the user declares as public: bounds of numbers, and columns of a table."""

import dataclasses
import itertools
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Complex, Integral, Number, Real
from typing import TYPE_CHECKING, Any

import numpy as np

from sinkgen._validation import check_choice, check_real
from sinkgen.data.patterns import Pattern
from sinkgen.data.rules import Rule, rule_of
from sinkgen.exceptions import BadTypeError, BadValueError, PrivacyLeakWarning

if TYPE_CHECKING:
    from sinkgen.data.validation import SchemaCheck


def parse_bounds(schema, n_groups):
    """Bounds of each column, from a schema for arrays.

    Parameters
    ----------
    schema : None, (low, high), or a list of (low, high), one a column
        One pair holds for all columns.
    n_groups : int
        Number of columns (1 for images, whose pixels share their bounds).

    Returns
    -------
    tuple of (low, high), or None if nothing is declared

    Raises
    ------
    TypeError, ValueError
        If the schema is something else, has another length, or an interval is empty or not finite.

    Examples
    --------
    >>> parse_bounds((0, 16), 2)
    ((0.0, 16.0), (0.0, 16.0))
    """
    if schema is None:
        return None
    pairs = [schema] * n_groups if _is_pair(schema) else schema
    if not isinstance(pairs, (list, tuple)):
        raise BadTypeError(f"schema must be (low, high) or a list of them, got {type(schema).__name__}")
    if len(pairs) != n_groups:
        raise BadValueError(f"schema has {len(pairs)} entries for {n_groups} columns")
    return tuple(_interval(f"schema[{i}]", pair) for i, pair in enumerate(pairs))


def _is_pair(value):
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(isinstance(end, Real) for end in value)


def _interval(name, pair):
    if not _is_pair(pair):
        raise BadTypeError(f"{name} must be a pair of numbers (low, high)")
    low, high = map(float, pair)
    if not (low < high and math.isfinite(high - low)):
        raise BadValueError(f"{name} must be finite with low < high, and so must be high - low; got {pair!r}")
    return low, high


# --- Tables ----------------------------------------------------------------------------------------------------------

KINDS = ("float", "integer", "boolean", "category", "ordinal", "datetime")
NUMBERS = ("float", "integer", "datetime")
RULES_KEY = "rules"  # of the JSON of a schema
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
    return _interval("bounds", tuple(map(as_number, bounds)))


def as_number(value):
    """A finite number; of a date, what a clock shows, in seconds since 1970.

    Raises
    ------
    TypeError
        If it is neither, or a date with a time zone: nothing says what a clock of the column's zone shows then.
    """
    if isinstance(value, Real):
        return check_real("a bound, edge or atom", value, low=-1e300, high=1e300)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy would warn of a time zone, and take the clock of UTC
            date = np.datetime64(value, "us")
    except (TypeError, ValueError):
        date = np.datetime64("NaT")
    except Warning:
        raise BadTypeError(
            "a date has a time zone: give it as a clock of the column's zone shows it, without one, as by "
            ".tz_localize(None)"
        ) from None
    if np.isnat(date):
        raise BadTypeError("bounds, edges and atoms must be numbers or dates")
    return float(date.astype(np.int64)) / 1e6


def range_of(name, condition):
    """From where to where numbers lie that meet a condition on a column: one of them, or a pair, of which None is open.

    Examples
    --------
    >>> range_of("age", (30, None)), range_of("age", 5)
    ((30.0, inf), (5.0, 5.0))
    """
    low, high = condition if isinstance(condition, tuple) and len(condition) == 2 else (condition, condition)
    is_open = isinstance(condition, tuple)
    try:
        return (
            -math.inf if low is None and is_open else as_number(low),
            math.inf if high is None and is_open else as_number(high),
        )
    except (TypeError, ValueError):
        raise BadTypeError(
            f"column {name!r} holds numbers or dates: a condition is one, a pair (low, high), None for no end, or None "
            "for a missing cell"
        ) from None


class Schema(Mapping):
    """Public facts of a table's columns: a mapping of names to :class:`Column`, which JSON can hold.

    Parameters
    ----------
    columns : mapping of str to (low, high), list of categories, dict, or Column
        A pair of numbers in a tuple bounds a number; a list holds categories; a dict holds the fields of Column.
    rules : sequence of rules, default=()
        What holds of several columns at once, in every record that is drawn: :class:`~sinkgen.Inequality`,
        :class:`~sinkgen.Sum`, :class:`~sinkgen.FixedCombinations`, :class:`~sinkgen.Within`, :class:`~sinkgen.Never`.
        They may name columns of which nothing else is declared, and the labels: by the name of their column, or as "y".

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


def kind_of(dtype, declared):
    """Kind of a column by its pandas dtype, where it is not declared; None for a dtype that no table can hold."""
    if declared.kind is not None:
        return declared.kind
    name, code = str(dtype), getattr(dtype, "kind", "O")
    if hasattr(dtype, "categories") and not name.startswith("interval"):
        return "ordinal" if dtype.ordered else "category"
    if declared.values is not None:
        return "category"
    if code == "b":
        return "boolean"
    if code in "iuf" or name.startswith("decimal"):
        return "integer" if code in "iu" else "float"
    if code == "M":
        return "datetime"
    return "category" if is_text(dtype) or name.startswith("dictionary") else None


def is_text(dtype):
    """Whether a pandas dtype is one of text, or of objects, that mostly are."""
    return str(dtype).startswith(("object", "str", "string", "large_string"))


def numbers_of(series, declared=None):
    """Cells of a pandas column of numbers or dates as float64, missing ones as nan; dates in seconds since 1970.

    Dates are what a clock and a calendar of their own time zone show: a day begins at midnight in all of them.

    Parameters
    ----------
    series : pandas.Series
    declared : Column or NumberColumn, optional
        How numbers or dates stand in a column of text; what cannot be read so is nan.
    """
    import pandas as pd

    if is_text(series.dtype):
        series = _read_text(series, declared)
    if series.dtype.kind != "M":
        numbers = series.to_numpy(dtype=np.float64, na_value=np.nan)
        is_short = str(series.dtype).lower().startswith("float32")
        return _shortest(numbers, np.float32) if is_short else _decimal(numbers)
    if isinstance(series.dtype, pd.ArrowDtype):
        values = _arrow_dates(series)
    else:
        values = (series if getattr(series.dtype, "tz", None) is None else series.dt.tz_localize(None)).to_numpy()
    seconds = values.astype("datetime64[us]").astype(np.int64) / 1e6
    return np.where(np.isnat(values), np.nan, seconds)


def _shortest(numbers, dtype):
    """The shortest decimals that are these numbers of a shorter dtype: 9.99, where it is 9.989999771118164."""
    found = numbers.copy()
    with np.errstate(over="ignore", invalid="ignore"):
        for digits in range(6, -1, -1):
            rounded = np.round(numbers, digits)
            found = np.where(rounded.astype(dtype) == numbers.astype(dtype), rounded, found)
    return found


def _decimal(numbers):
    """The same numbers; those that are thousandths but for rounding, as 0.7 - 0.13 is, as their decimals are read."""
    with np.errstate(over="ignore", invalid="ignore"):
        decimals = np.round(numbers, 3)
        is_near = (np.abs(numbers - decimals) <= 4 * np.spacing(np.abs(numbers))) & (np.abs(numbers) < 1e12)
    return np.where(is_near, decimals, numbers)


def _arrow_dates(series):
    import pyarrow
    import pyarrow.compute

    dates = pyarrow.array(series, from_pandas=True)
    if getattr(dates.type, "tz", None) is not None:
        dates = pyarrow.compute.local_timestamp(dates)
    return dates.cast(pyarrow.timestamp("us")).to_numpy(zero_copy_only=False)


def _read_text(series, declared):
    """Text, or numbers and dates as objects, as numbers or dates."""
    import pandas as pd

    if declared.kind == "datetime":
        if declared.format is not None:
            return pd.to_datetime(series.where(~series.map(_is_number)), format=declared.format, errors="coerce")
        return pd.to_datetime(series.where(series.map(_is_no_text)), errors="coerce")
    if declared.decimal is None:
        return pd.to_numeric(series.where(series.map(_may_be_double)), errors="coerce")
    texts = series.astype("str").str.strip()
    if declared.decimal == ",":
        texts = texts.where(~texts.str.contains(".", regex=False)).str.replace(",", ".", regex=False)
    return pd.to_numeric(texts, errors="coerce")


def _is_no_text(cell):
    return not isinstance(cell, str)


def _is_number(cell):
    """Whether a cell of a column of written dates is a number, that pandas would read as if it were written so."""
    return isinstance(cell, Number)


def _may_be_double(cell):
    """Whether a cell is neither text, nor complex, nor an integer beyond all doubles, for which pandas raises."""
    if isinstance(cell, Integral):
        return abs(int(cell)) <= float(np.finfo(float).max)
    return isinstance(cell, Real) or not isinstance(cell, (str, Complex))
