"""Tables in files: text cells to columns of the kinds that a schema declares, and a schema drafted from a table."""

import codecs
import csv
import dataclasses
import gzip
import json
import math
import warnings
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from sinkgen._durable import replaced
from sinkgen.cli.console import Refused
from sinkgen.data.column import Column
from sinkgen.data.dtypes import kind_of
from sinkgen.data.schema import Schema
from sinkgen.exceptions import PrivacyLeakWarning

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")
# What stands for a missing cell in a column of numbers, truth values or dates; in one of text only the empty cell does.
MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "?")
TRUTH = {"true": True, "false": False, "yes": True, "no": False, "t": True, "f": False, "1": True, "0": False}
MOST_CATEGORIES = 100  # a draft does not list more: such a column may hold names
LARGEST_INTEGER = 2**53
DAY = 86_400.0
FRACTIONS = ("float", "datetime")
NO_NUMBER = "-"
FEW_CATEGORIES, NEARLY_ALL = 20, 0.9  # different texts that may well be categories; share of them that tells of a kind
CODE = r"[+-]?0\d+"  # of a place, perhaps
WITH_COMMAS = r"[+-]?[\d.]*\d(,\d+)*"
DATE = r"\d{1,4}[./-](\d{1,2}|[A-Za-z]{3})[./-]\d{1,4}([T ]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?)?"


class Script(NamedTuple):
    """How a file is written, and what of it is not read.

    Attributes
    ----------
    encoding : str
    separator : str or None
        Of the fields of a line; None is that of ``, ; tab |`` which the first line has most of.
    decimal : str
        Mark before the decimals of numbers.
    drop : tuple of str
        Columns that are left out.
    """

    encoding: str = "utf-8-sig"
    separator: str | None = None
    decimal: str = "."
    drop: tuple = ()


DEFAULT = Script()


def script_of(encoding, separator, decimal, drop):
    """What the options of the command line say; Refused where they say nothing sensible."""
    separator = {"tab": "\t", "\\t": "\t"}.get(separator, separator)
    if separator is not None and len(separator) != 1:
        raise Refused("--separator must be one character, or tab")
    if decimal not in (".", ","):
        raise Refused("--decimal must be . or ,")
    try:
        name = codecs.lookup(encoding or "utf-8").name
    except LookupError:
        raise Refused(f"--encoding {encoding!r} is none that Python knows") from None
    return Script("utf-8-sig" if name == "utf-8" else name, separator, decimal, tuple(drop or ()))


def suffix_of(path):
    """The suffix of a table's file, such as ".csv.gz"; that of Parquet for a folder of its files; else None."""
    path = Path(path)
    if path.is_dir() and next(path.rglob("*.parquet"), None) is not None:
        return ".parquet"
    return next((suffix for suffix in SUFFIXES[::-1] if path.name.lower().endswith(suffix)), None)


def is_table(path):
    """Whether a path is that of a table."""
    return suffix_of(path) is not None


def read_table(path, schema=None, script=DEFAULT):
    """Read a table; columns of text become what the schema says.

    Of a file of text, columns that the schema says nothing of become what their cells look like: see
    :func:`observed_kinds`. Of Parquet they are what the file's own schema says, whatever the cells.

    Parameters
    ----------
    path : Path
        .csv, .tsv, either with .gz, or .parquet; or a folder of Parquet files.
    schema : mapping of str to Column, optional
    script : Script

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    Refused
        If the file is no such table.
    """
    frame = _read(path, script)
    unknown = [name for name in script.drop if name not in frame.columns]
    if unknown:
        raise Refused(f"--drop names columns that {path} lacks: {', '.join(unknown)}")
    frame = frame.drop(columns=list(script.drop))
    if not len(frame.columns) or not len(frame):
        raise Refused(f"{path} holds no rows" if len(frame.columns) else f"{path} holds no columns")
    schema = schema or {}
    nameless = [name for name in frame.columns if str(name).startswith(UNNAMED) and name not in schema]
    if nameless:
        raise Refused(
            f"{path} has a column without a name, {nameless[0]!r}: as an index it numbers the records, and would tell "
            f"how many there are. Leave it out by --drop {nameless[0]!r}, or give it a name"
        )
    observed = observed_kinds(path, frame.columns, schema)
    return pd.DataFrame(
        {name: _typed(frame[name], schema.get(name), name in observed, script.decimal) for name in frame.columns}
    )


UNNAMED = "Unnamed: "  # as pandas calls a column without a name, and its own index when it is read again


def observed_kinds(path, names, schema):
    """Names of the columns whose kind can but be read off their cells: those of text of which nothing is declared."""
    if suffix_of(path) == ".parquet":
        return ()
    return tuple(name for name in names if _declared_kind(schema.get(name)) is None)


def _declared_kind(column):
    """What a declaration says of a column of text: its kind; numbers are "float" unless it says otherwise."""
    if column is None or column.kind is not None:
        return None if column is None else column.kind
    if column.values is not None or column.pattern is not None or column.parent is not None or column.drop:
        return "category"
    is_number = column.bounds is not None or column.edges is not None or column.atoms or column.step is not None
    return "float" if is_number else None


def write_table(frame, path):
    """Write a table as .csv, .tsv, either with .gz, or .parquet; the file is whole or not there."""
    suffix = suffix_of(path)
    with replaced(path) as aside:
        if suffix == ".parquet":
            frame.to_parquet(aside, index=False)
        else:
            separator = "\t" if suffix.startswith(".tsv") else ","
            compression = "gzip" if suffix.endswith(".gz") else None
            frame.to_csv(aside, index=False, sep=separator, compression=compression)


def _read(path, script):
    suffix = suffix_of(path)
    if not path.is_file() and not (path.is_dir() and suffix == ".parquet"):
        raise Refused(f"{path}: no such file")
    try:
        if suffix == ".parquet":
            return _read_parquet(path)
        separator = script.separator or _separator(path, script)
        header = _check_lines(path, separator, script)
        options = {"dtype": str, "na_filter": False, "skipinitialspace": True, "index_col": False}
        with _opened(path, script) as file:
            frame = pd.read_csv(file, sep=separator, **options).fillna("")
        return frame.set_axis([name if name else f"{UNNAMED}{place}" for place, name in enumerate(header)], axis=1)
    except ImportError:
        raise Refused("reading .parquet needs pyarrow: pip install 'sinkgen[cli]'") from None
    except Refused:
        raise
    except UnicodeError:
        encoding = script.encoding.removesuffix("-sig")
        raise Refused(f"{path} is not written in {encoding}: say --encoding, such as cp1252 or utf-16") from None
    except Exception as error:  # whose message may quote the file
        raise Refused(f"{path} cannot be read as {suffix[1:]}: {type(error).__name__}") from None


def _opened(path, script):
    opener = gzip.open if suffix_of(path).endswith(".gz") else open
    return opener(path, "rt", encoding=script.encoding, newline="")


def _read_parquet(path):
    import pyarrow.dataset

    from sinkgen.sources.files import frame_of, index_columns

    table = pyarrow.dataset.dataset(path, format="parquet", partitioning="hive").to_table()
    index = index_columns(table.schema)
    return frame_of(table.select([name for name in table.schema.names if name not in index]), table.schema)


def _separator(path, script):
    if suffix_of(path).startswith(".tsv"):
        return "\t"
    with _opened(path, script) as file:
        header = file.readline()
    return max(",;\t|", key=header.count)


def _check_lines(path, separator, script):
    """The names of the columns; refused are names that repeat, and lines that have not a field for each.

    pandas would rename columns, take the first of all for an index, and fill up lines with missing cells.
    """
    csv.field_size_limit(2**31 - 1)
    with _opened(path, script) as file:
        lines = csv.reader(file, delimiter=separator, skipinitialspace=True)
        header = next((line for line in lines if line), None)
        if header is None:
            raise Refused(f"{path} is empty: it needs a first line of column names, and rows")
        repeated = [name for name, count in Counter(header).items() if count > 1 and name]
        if repeated:
            raise Refused(f"{path} has several columns of one name: {', '.join(repeated)}")
        for line in lines:
            if line and len(line) != len(header):
                raise Refused(
                    f"{path}, line {lines.line_num}: {len(line)} fields, and the header has {len(header)}"
                    + " (separated by " + {"\t": "tabs"}.get(separator, repr(separator)) + ")"
                )  # fmt: skip
    return header


# --- From text to what is declared -----------------------------------------------------------------------------------


def _typed(cells, declared, is_observed, decimal):
    if not _is_text(cells) or (declared is None and not is_observed):
        return cells
    cells = cells.astype(object).where(cells.notna(), "")
    column = declared or Column(nullable=True)
    numbers = _with_points(cells, decimal)
    if column.values is not None:
        return _members(cells if isinstance(column.values[0], str) else numbers, column)
    if column.format or column.decimal:  # it comes back so written: the fit reads it
        return cells.where(~cells.isin(MISSING), None)
    kind = _observed_kind(cells, numbers) if is_observed else _declared_kind(column)
    cells = numbers if kind in ("integer", "float") else cells
    read = {"integer": _integers, "float": _floats, "boolean": _booleans, "datetime": _dates}.get(kind)
    if read is None:
        return cells.where(cells != "", None) if column.nullable else cells
    return read(cells.where(~cells.isin(MISSING), None), column.nullable)


def _is_text(cells):
    return kind_of(cells.dtype, Column()) == "category" and not hasattr(cells.dtype, "categories")


def _with_points(cells, decimal):
    """Numbers with a point before their decimals; with another mark, what has points is no number."""
    if decimal == ".":
        return cells
    return cells.where(~cells.str.contains(".", regex=False), NO_NUMBER).str.replace(decimal, ".", regex=False)


def _observed_kind(cells, numbers):
    present, numbers = (of[~cells.isin(MISSING)].drop_duplicates() for of in (cells, numbers))
    if not len(present):
        return "category"
    if present.str.lower().isin(("true", "false")).all():
        return "boolean"
    if present.str.fullmatch(CODE).any():
        return "category"
    if present.str.fullmatch(r"[+-]?\d{1,15}").all():
        return "integer"
    if pd.to_numeric(numbers, errors="coerce").notna().all():
        return "float"
    is_date = present.str.match(r"\d{4}-\d{2}-\d{2}").all() and _to_dates(present).notna().all()
    return "datetime" if is_date else "category"


def told_of_text(cells, decimal):
    """What is to be said of text that nearly all is numbers or dates, as is not told by itself; else None.

    Each cell would be a category, most of them too rare to be learned: a budget would be spent on nothing. It names the
    column, and what to say or declare, and no cell.
    """
    if not _is_text(cells):
        return None
    present = cells[cells.notna() & ~cells.isin(MISSING)].drop_duplicates()
    if len(present) < FEW_CATEGORIES or present.str.fullmatch(CODE).any():
        return None
    told, kept = f"column {cells.name!r} holds ", 'declare it in --schema as {"kind": "category"} if they are codes'
    if pd.to_numeric(_with_points(present, decimal), errors="coerce").notna().mean() > NEARLY_ALL:
        number = '{"kind": "float", "nullable": true}, by which those are missing'
        return f"{told}numbers, but for some cells: declare it in --schema as {number}; or {kept}"
    if present.str.contains(",").mean() > 1 - NEARLY_ALL and present.str.fullmatch(WITH_COMMAS).mean() > NEARLY_ALL:
        comma = "say --decimal , if decimals follow these, and take them out if thousands do"
        return f"{told}numbers with commas: {comma}; or {kept}"
    if present.str.fullmatch(DATE).mean() > NEARLY_ALL:
        date = '{"kind": "datetime", "format": "%d.%m.%Y"}'
        return f"{told}dates: declare in --schema how they are written, as {date}; or {kept}"
    return None


def _floats(cells, nullable):
    numbers = pd.to_numeric(cells, errors="coerce").astype(np.float64)
    return numbers.where(np.isfinite(numbers))


def _integers(cells, nullable):
    numbers = _floats(cells, nullable).clip(-LARGEST_INTEGER, LARGEST_INTEGER).round()
    return numbers.astype("Int64" if nullable or numbers.isna().any() else np.int64)


def _booleans(cells, nullable):
    truth = cells.str.lower().map(TRUTH)
    return truth.astype("boolean" if nullable or truth.isna().any() else bool)


def _dates(cells, nullable):
    return _to_dates(cells).dt.tz_localize(None).astype("datetime64[s]")


def _to_dates(cells):
    return pd.to_datetime(cells, errors="coerce", format="ISO8601", utc=True)


def _members(cells, column):
    """Categories as the schema writes them. What is none of them stays something else, that counts for nothing."""
    values = column.values
    if all(isinstance(value, str) for value in values):
        is_missing = column.nullable and "" not in values
        return cells.where(cells != "", None) if is_missing else cells
    if all(isinstance(value, bool) for value in values):
        return _booleans(cells, column.nullable)
    if any(isinstance(value, str) for value in values):
        raise Refused(f"column {cells.name!r}: values in a schema must be all texts, or all numbers")
    numbers = pd.to_numeric(cells, errors="coerce").astype(np.float64)
    other = max(values) + 1
    numbers = numbers.where(numbers.isin(values) | (column.nullable & (cells == "")), other)
    if all(isinstance(value, int) for value in values):
        return numbers.astype("Int64" if column.nullable else np.int64)
    return numbers


# --- A table and its target ------------------------------------------------------------------------------------------


def target_column(target, schema, classes):
    """How cells of text of the target are to be read: as declared; else as text, whatever stands in them.

    Parameters
    ----------
    target : str
    schema : mapping of str to Column
    classes : tuple or None
        Labels that are declared beside the schema.
    """
    declared = schema.get(target)
    is_number = declared is not None and (declared.bounds is not None or _declared_kind(declared) in FRACTIONS)
    if is_number:
        raise Refused(f"--target {target!r} is declared as a number; leave --target out: it is a column as others are")
    if declared is not None and declared.values is not None:
        return declared
    if classes is not None:
        return Column(values=classes)
    return declared if declared is not None and declared.kind is not None else Column("category")


def split_target(frame, target, classes):
    """The table without its target, and the target's labels; their dtype is the column's, whatever the cells.

    Parameters
    ----------
    frame : pandas.DataFrame
    target : str
    classes : tuple or None
        Declared labels.

    Raises
    ------
    Refused
        If labels are numbers that are not whole, or are missing where no declared label tells what else to read.
    """
    labels = frame[target]
    if kind_of(labels.dtype, Column()) in ("category", "ordinal"):
        y = labels.astype(object).where(labels.notna(), "").to_numpy()
        if classes is None and _are_fractions(labels):
            raise Refused(f"--target {target!r} holds numbers that are not whole; leave --target out")
    elif str(labels.dtype) == "boolean" or labels.dtype.name.lower().startswith(("int", "uint")):
        y = _whole_labels(labels, target, classes)
    else:
        y = labels.to_numpy()
    return frame.drop(columns=target), y


def _are_fractions(labels):
    numbers = pd.to_numeric(labels.astype(object), errors="coerce").astype(np.float64)
    return (numbers % 1 > 0).mean() > 0.5


def _whole_labels(labels, target, classes):
    missing = labels.isna()
    dtype = labels.dtype.name.lower().replace("boolean", "bool")
    if not missing.any():
        return labels.to_numpy().astype(dtype)
    if classes is None or dtype == "bool":
        raise Refused(
            f"--target {target!r} has missing cells; name its labels by --classes: rows without one then have no class"
        )
    return labels.fillna(max(classes) + 1).to_numpy().astype(dtype)  # a label that is not among them


# --- Drafting --------------------------------------------------------------------------------------------------------


def draft_schema(frame):
    """What a schema for this table might say. It is read off the cells: to be edited where they are private.

    Returns
    -------
    dict of str to dict
        Fields of Column; bounds are rounded outwards, and no more than MOST_CATEGORIES values are listed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PrivacyLeakWarning)  # the command tells it column by column
        observed = Schema.from_frame(frame, trust=True)
    return {str(name): _draft_column(frame[name], observed[name]) for name in frame.columns}


def _draft_column(series, observed):
    if observed.kind == "datetime":
        dates = series.dropna()
        first, last = (dates.min(), dates.max()) if len(dates) else (pd.Timestamp(0),) * 2
        step = {"step": DAY} if (dates == dates.dt.normalize()).all() else {}
        draft = {"kind": "datetime", "bounds": [f"{first.year}-01-01", f"{last.year + 1}-01-01"], **step}
    elif observed.bounds is not None:
        draft = {"kind": observed.kind, "bounds": _rounded_outwards(observed.bounds, observed.kind == "integer")}
    elif observed.values is not None and len(observed.values) > MOST_CATEGORIES:
        draft = {"kind": observed.kind}
    else:
        draft = dataclasses.replace(observed, nullable=False).to_dict()
        draft = {key: list(value) if isinstance(value, tuple) else value for key, value in draft.items()}
    return draft | ({"nullable": True} if observed.nullable else {})


def _rounded_outwards(bounds, is_integer):
    """Bounds at multiples of a power of ten that is between a tenth and a hundredth of their distance."""
    low, high = bounds
    step = 10.0 ** (math.floor(math.log10(high - low)) - 1)
    step = max(step, 1.0) if is_integer else step
    low, high = math.floor(low / step), math.ceil(high / step)
    ends = (low * step, high * step) if step >= 1 else (low / round(1 / step), high / round(1 / step))
    return [int(end) if is_integer else end for end in ends]


def to_json(draft):
    """One column a line, as :class:`~sinkgen.Schema` writes it."""
    lines = [f" {json.dumps(name)}: {json.dumps(column, ensure_ascii=False)}" for name, column in draft.items()]
    return "{\n" + ",\n".join(lines) + "\n}"
