"""How well a release knows its columns and classes, from released numbers alone: what is poor is said."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from sinkgen.denoise.cells import Cells
from sinkgen.generators.product import stratified

LIKE = 0.05  # share of a column's records from which it is told that they are clipped, or are none of its categories
MOST_OTHER = 0.1
KEYS = "; or if it holds keys, their pattern, such as Column(pattern='C[0-9]{6}', unique=True), or drop=True"
ALL_OTHER = "leave it out if it is an id, else "
NUMBERS_IN_TEXT = ", or of numbers kind=, of numbers or dates in text decimal= or format="
MUCH_TEXTURE = 0.05  # share of the records' variance, in fine details of images, that is not left out without a word
TOLD = 10  # remarks of a warning
DRAWS, LEAST_DRAWS, MOST_CELLS = 8192, 1024, 600_000  # of which it is told how far they are from what was released
FLAT = 0.01  # share of where its numbers lie, by which draws of a column vary at least
MUCH_UNSEEN = 0.1  # share of the records in which two columns may go together and are drawn as if they did not
MUCH_DRIFT = 0.1  # total variation of what a field draws of a column, to what was released
NARROW = 0.25  # of where the numbers of an array lie, that a cell is in which most do
FEW = 2.0  # times the noise of a state's count, that a class should have records


@dataclass(frozen=True)
class ColumnQuality:
    """What is known of one column.

    Attributes
    ----------
    name : str or int
    learned : bool
        Whether its bounds or values were not declared.
    missing, other, clipped : float
        Share of the records that are drawn missing, or as the category ``other``; and that lay outside of the declared
        bounds or values, or of the cells that were found.
    error : float
        About how far its numbers are off, on average, in their standard deviations; 0 for categories.
    remarks : tuple of str
        What is poor, and what to do.
    """

    name: Any
    learned: bool
    missing: float = 0.0
    other: float = 0.0
    clipped: float = 0.0
    error: float = 0.0
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClassQuality:
    """What is known of one class.

    Attributes
    ----------
    label : object
    records : float
        Noisy number.
    noise : float
        Standard deviation of the noise of the count of a state within the class; 0 where none is counted.
    remarks : tuple of str
    """

    label: Any
    records: float
    noise: float
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class FittedSchema(Mapping):
    """What was declared and learned of each column by its name, and how well it is known; print it.

    Attributes
    ----------
    columns : tuple of ColumnQuality
        Of tables; of arrays only those columns of which something is poor.
    classes : tuple of ClassQuality
        Empty without labels.
    whole : tuple of str
        What is poor of the records as a whole.

    Examples
    --------
    >>> column = ColumnQuality("age", True, remarks=("the numbers of 'age' do not stand out: declare its bounds",))
    >>> FittedSchema((column,)).remarks
    ("the numbers of 'age' do not stand out: declare its bounds",)
    >>> [name for name, of in FittedSchema((column,)).items() if of.remarks]
    ['age']
    """

    columns: tuple[ColumnQuality, ...] = ()
    classes: tuple[ClassQuality, ...] = ()
    whole: tuple[str, ...] = ()

    def __getitem__(self, name: Any) -> ColumnQuality:
        """The column of a name."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def __iter__(self) -> Iterator[Any]:
        return (column.name for column in self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def to_frame(self) -> pd.DataFrame:
        """One row a column."""
        fields = [field.name for field in dataclasses.fields(ColumnQuality) if field.name != "name"]
        rows = [[getattr(column, field) for field in fields] for column in self.columns]
        return pd.DataFrame(rows, index=pd.Index([*self], name="name"), columns=fields)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is poor, and what to do about it: of the whole first, then of classes and columns."""
        of_columns = [remark for column in self.columns for remark in column.remarks]
        return (*self.whole, *(remark for part in self.classes for remark in part.remarks), *of_columns)

    def summary(self) -> str:
        """The remarks in a line, the first few of them."""
        told, more = "; ".join(self.remarks[:TOLD]), len(self.remarks) - TOLD
        return told if more <= 0 else f"{told}; and {more} more: print schema_"

    def __str__(self) -> str:
        lines = [
            f"{column.name}: {'learned' if column.learned else 'declared'}"
            + "".join(
                f", {value:.0%} {what}"
                for what, value in (("missing", column.missing), ("other", column.other), ("clipped", column.clipped))
                if value >= 0.005
            )
            for column in self.columns
        ]
        lines += [f"class {part.label}: about {part.records:.0f} records" for part in self.classes]
        return "\n".join([*lines, *(f"POOR: {remark}" for remark in self.remarks)])

    def to_dict(self) -> dict[str, Any]:
        """What :meth:`from_dict` reads; JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> "FittedSchema":
        """The schema whose :meth:`to_dict` gave ``state``."""
        parts = {
            name: [part | {"remarks": tuple(part["remarks"])} for part in state[name]]
            for name in ("columns", "classes")
        }
        columns = tuple(ColumnQuality(**part) for part in parts["columns"])
        return cls(columns, tuple(ClassQuality(**part) for part in parts["classes"]), tuple(state.get("whole", ())))


def texture_remarks(is_told, missed, are_gains_told):
    """What is poor of the fine details of images, as a release has them.

    Parameters
    ----------
    is_told : bool
        Whether they stand out of the noise.
    missed : float
        Share of the records' variance that would not have.
    are_gains_told : bool
        Whether it is known where they are strong.
    """
    if not is_told and missed > MUCH_TEXTURE:
        return ("fine details of the images do not stand out of the noise, and are left out: raise epsilon",)
    if is_told and not are_gains_told:
        return (
            "where fine details of the images are strong is hidden by noise, smooth parts are grainy: raise epsilon",
        )
    return ()


def relation_remarks(unseen, *, are_some_known, are_correlated):
    """What is poor of how columns without labels go together.

    Parameters
    ----------
    unseen : float
        Share of the records by which a pair of columns may be from independent, and is drawn as if it were.
    are_some_known : bool
        Whether any pair is known.
    are_correlated : bool
        Whether any correlation of numbers is.

    Examples
    --------
    >>> relation_remarks(0.02, are_some_known=True, are_correlated=False)
    ()
    >>> relation_remarks(0.24, are_some_known=True, are_correlated=False)[0].partition(":")[0]
    'columns that go together in less than about 24% of the records are drawn as if independent, which noise hides'
    >>> relation_remarks(0.3, are_some_known=False, are_correlated=True)[0].partition(", for")[0]
    'all columns are drawn as if independent, but for correlations of numbers'
    """
    if unseen <= MUCH_UNSEEN:
        return ()
    but = ", but for correlations of numbers" if are_correlated else ""
    some = f"columns that go together in less than about {min(unseen, 1.0):.0%} of the records are drawn"
    what = some if are_some_known else "all columns are drawn"
    why = "which noise hides" if are_some_known else "for no two stand out as related, which noise hides"
    return (f"{what} as if independent{but}, {why}: raise epsilon, or give what is to be predicted as y",)


def rule_remarks(rules, shares):
    """What is told of rules that records break, by the share of them that does.

    Parameters
    ----------
    rules : sequence of Rule
    shares : sequence of float

    Examples
    --------
    >>> from sinkgen import Inequality
    >>> rule_remarks([Inequality("a", "b")], [0.31])[0].partition(":")[0]
    'about 31% of the records break the rule Inequality of a, b, and count as if they did not'
    """
    told = "and count as if they did not: mend the rule, or leave it out; Schema.validate looks at it"
    return tuple(
        f"about {min(share, 1.0):.0%} of the records break the rule {rule.short_name}, {told}"
        for rule, share in zip(rules, shares, strict=True) if share > LIKE
    )  # fmt: skip


def missing_remarks(hidden):
    """What is poor of where cells are missing: of each column that is drawn without, the share that noise may hide.

    Which of many columns have some, noise hides as well: what is told is told of all of them together.

    Parameters
    ----------
    hidden : sequence of float

    Examples
    --------
    >>> missing_remarks([0.02, 0.04])
    ()
    >>> missing_remarks([0.02, 0.2])
    ('up to about 20% of columns that are drawn without missing cells may be, which noise hides: raise epsilon',)
    """
    most = max(hidden, default=0.0)
    if most <= MOST_OTHER:
        return ()
    what = f"up to about {most:.0%} of columns that are drawn without missing cells may be"
    return (f"{what}, which noise hides: raise epsilon",)


class Hidden(NamedTuple):
    """What noise may hide of a column.

    Attributes
    ----------
    missing : float
        Share of its cells that may be missing, though more likely none are.
    other : float
        Share of them that may be none of its values.
    nested : float
        Share of them that are drawn as other, of a column within another.
    """

    missing: float = 0.0
    other: float = 0.0
    nested: float = 0.0


NOTHING_HIDDEN = Hidden()


def column_quality(column, found, outside, frequencies, covariance=None, *, hidden=NOTHING_HIDDEN, drift=0.0):
    """What is known of a table's column.

    Parameters
    ----------
    column : NumberColumn or CategoryColumn
    found : Counted or None
        What the counts of its numbers have shown, where its bins were learned.
    outside : float
        Share of the records outside of what was declared, as far as it stands out.
    frequencies : Tensor of shape (n_states,)
        Of its states, as they are drawn.
    covariance : Tensor of shape (n_states, n_states), optional
        Of the noise of its states' counts; of numbers that were counted.
    hidden : Hidden
    drift : float
        Total variation distance of what is drawn of it, to what was released.
    """
    missing = float(frequencies[-1]) if column.nullable else 0.0
    name = named(column.name)
    told: tuple[str, ...] = ()
    if hidden.missing > LIKE > missing:
        told = (f"about {hidden.missing:.0%} of {name} may be missing, or none, which noise hides: raise epsilon",)
    if drift > MUCH_DRIFT:
        off = f"{name} is drawn with other frequencies than were released, by {drift:.0%} of the records"
        told += (f"{off}: leave out columns that say nearly the same",)
    if hasattr(column, "values"):
        other = float(frequencies[column.n_states - column.nullable - 1]) if column.other else 0.0
        remarks = []
        if hidden.nested > MOST_OTHER:
            within = " and ".join(map(str, column.members[1:]))
            remedy = "list the combinations by a rule, FixedCombinations, or raise epsilon"
            remarks = [f"{hidden.nested:.0%} of {named(within)} are other, of which too few stand out: {remedy}"]
        elif other > MOST_OTHER:
            remedy = ALL_OTHER * (other > 1 - LIKE) + "declare its values"
            if other > 1 - LIKE:
                remedy += NUMBERS_IN_TEXT * (column.dtype != "category") + KEYS
            remarks = [f"{other:.0%} of {name} are other: {remedy}"]
        elif outside > 1 - LIKE:
            remarks = [f"no declared value of {name} occurs: declare those that do{_range_of_two(column.values)}"]
        elif outside > LIKE:
            remarks = [f"about {outside:.0%} of {name} are none of its declared values"]
        elif hidden.other > MOST_OTHER:
            share = f"up to about {hidden.other:.0%} of {name} may be other values than stand out of the noise"
            remarks = [f"{share}: declare its values, or raise epsilon"]
        return ColumnQuality(
            column.name, column.other, missing, max(other, hidden.nested), outside, 0.0, (*remarks, *told)
        )
    if found is None:
        remarks = outside_remarks(column.name, outside)
        return ColumnQuality(column.name, False, missing, 0.0, outside, 0.0, (*remarks, *told))
    known = found.doubt() if found.cells is None else _doubt_of(column, found, frequencies, covariance)
    told = (*number_remarks(column.name, found, known), *told)
    return ColumnQuality(column.name, not found.is_bounded, missing, 0.0, found.outside, known.error, told)


def group_quality(name, found, outside, spread):
    """How well the bounds of a column of an array, or of pixels, are known; public.

    Parameters
    ----------
    name : str or int
    found : Counted or None
        What the counts of its numbers have shown.
    outside : float
        Share of the records outside of declared bounds, as far as it stands out.
    spread : float
        Standard deviation of what is drawn, over the width of where its numbers lie; infinite of pixels
        and of what is true or false, which may well be the same everywhere.
    """
    told = outside_remarks(name, outside) or (range_remarks(name, found) if found is not None else ())
    if not told and spread < FLAT and (found is None or not _lies_in_one(found.cells)):
        drawn = f"of {named(name)} nearly one number is drawn, for noise hides how it goes together with others"
        told = (f"{drawn}: raise epsilon, or fit a data frame",)
    is_learned = found is not None and not found.is_bounded
    return ColumnQuality(name, is_learned, clipped=outside, remarks=told)


def _range_of_two(values):
    """What is to be added of values that may have been meant as bounds."""
    are_numbers = len(values) == 2 and all(isinstance(value, (int, float)) for value in values)
    return f"; a range stands in a tuple: ({values[0]}, {values[1]})" if are_numbers else ""


def _doubt_of(column, found, frequencies, covariance):
    """How far a table's numbers are off, as they are drawn."""
    n, bins = column.n_ordered, np.asarray(column.bins)
    starts, weights = np.flatnonzero(np.diff(bins, prepend=-1)), np.asarray(column.weights)
    shares = (frequencies[:n].double() / frequencies[:n].sum()).numpy()
    cells = Cells(np.asarray(column.edges), shares[bins] * weights / np.add.reduceat(weights, starts)[bins])
    return found.doubt(cells, starts, covariance[:n, :n].numpy())


def named(name):
    """A column as remarks name it: by its name, or by its place in an array."""
    return repr(name) if isinstance(name, str) else f"column {name}"


def outside_remarks(name, outside):
    """What is to be told of a share of records outside of declared bounds."""
    told = f"about {outside:.0%} of {named(name)} lie outside of its bounds: declare bounds that hold them"
    return (told,) if outside > LIKE else ()


def range_remarks(name, found):
    """What is poor of where counted numbers lie; for arrays, of which how they lie there is learned otherwise."""
    declare = _declare(found)
    if found.cells is None:
        return (f"the numbers of {named(name)} do not stand out of the noise: {declare}",)
    if found.outside > LIKE:
        where = "its bounds, or of where its numbers" if found.is_bounded else "where its numbers"
        lost = f"about {found.outside:.0%} of {named(name)} lie outside of {where} seem to lie"
        return (f"{lost}: declare bounds that hold them{', or raise epsilon' * found.is_bounded}",)
    return (_too_close(name, found),) if not found.is_resolved and _lies_in_one(found.cells) else ()


def _lies_in_one(cells):
    """Whether nearly all lie in one cell, or most in one that is narrow beside all."""
    cell = cells.shares.argmax()
    is_narrow = cells.edges[cell + 1] - cells.edges[cell] < NARROW * (cells.edges[-1] - cells.edges[0])
    return cells.shares[cell] > (0.5 if is_narrow else 1 - LIKE)


def _declare(found):
    return "declare tighter bounds" if found.is_bounded else "declare its bounds"


def _too_close(name, found):
    return f"the numbers of {named(name)} lie closer together than could be told apart: {_declare(found)}"


def number_remarks(name, found, known):
    """What is poor of counted numbers, of which so much is known."""
    if found.cells is None or found.outside > LIKE:
        return range_remarks(name, found)
    if found.is_constant and found.outside:
        others = f"about {found.outside:.0%} of {named(name)} are other numbers than the only one that stands out"
        return (f"{others}: {_declare(found)}, or raise epsilon",)
    if not known.is_much:
        hidden = FEW * found.noise / found.present if found.is_constant else 0.0
        told = f"all of {named(name)} seem to be one number, but up to about {hidden:.0%} may be others"
        return (f"{told}, which noise hides: raise epsilon",) if hidden > LIKE else ()
    if not found.is_resolved:
        return (_too_close(name, found),)
    remedy = "raise epsilon" if found.is_bounded else "declare its bounds, or raise epsilon"
    off = f"about {known.error:.0%} of" if known.error < 1 else "more than"
    return (f"the numbers of {named(name)} are off by {off} their spread: {remedy}",)


def class_quality(labels, counts, noise, unlabelled=0.0, *, are_known=True):
    """What is known of each class: whether its records stand out of the noise of what is counted of them.

    Parameters
    ----------
    labels : LabelSet or None
    counts : Tensor of shape (n_classes,)
        Noisy number of records of each.
    noise : float
        Standard deviation of the noise of the count of a state within the class.
    unlabelled : float
        Share of the records whose labels are none of these, as far as it stands out.
    are_known : bool
        Whether the label is not a stand-in for labels that did not stand out.
    """
    if labels is None:
        return ()
    names = labels.decode(range(len(labels.classes))).tolist()
    if not are_known:
        remark = f"no label stands out of the noise: all records are drawn with {names[0]!r}: declare classes"
        if isinstance(names[0], (int, float)) and not isinstance(names[0], bool):
            remark += ", or make a number that is to be predicted one of the table's columns"
        return (ClassQuality(names[0], float(counts.sum()), noise, (remark,)),)
    first, *others = [_class(name, float(n), noise) for name, n in zip(names, counts, strict=True)]
    if unlabelled > LIKE:
        remark = (
            f"about {unlabelled:.0%} of the records have labels that do not stand out of the noise: declare classes"
        )
        first = dataclasses.replace(first, remarks=(remark, *first.remarks))
    return (first, *others)


def _class(label, records, noise):
    is_poor = records < FEW * noise
    remark = f"class {label}: about {max(records, 0):.0f} records, noise about {noise:.0f}: merge it, or raise epsilon"
    return ClassQuality(label, records, noise, (remark,) if is_poor else ())


def drifts(generator):
    """Total variation distance of each column's frequencies among draws of a field to its own; of others 0."""
    if not hasattr(generator, "population"):
        return [0.0] * len(column_frequencies(generator))
    random = torch.Generator().manual_seed(0)
    n = min(DRAWS, max(LEAST_DRAWS, MOST_CELLS // len(generator.frequencies)))
    codes = generator.draw_states(stratified(generator.class_weights, n, random), True, random)
    parts = zip(codes, generator.frequencies, strict=True)
    found = [0.5 * float((torch.bincount(of, minlength=len(own)) / len(of) - own).abs().sum()) for of, own in parts]
    return found[:-1]


def column_frequencies(generator):
    """Frequencies of the states of each column of a table's generator; list of Tensor."""
    if isinstance(generator.frequencies, torch.Tensor):
        return list((generator.weights.sum(1) @ generator.frequencies).split(generator.widths.tolist()))
    return generator.frequencies[:-1]
