"""Records of any kind, opened and not yet looked at; and the one look at all of them before anything is spent."""

import dataclasses
import hashlib
import os
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from sinkgen.data.check import as_doubles, as_records, check_groups, check_labels, check_order
from sinkgen.data.frames import is_foreign, to_pandas
from sinkgen.data.layout import Layout, make_layout
from sinkgen.data.table import Rows
from sinkgen.data.table_checks import check_columns, is_table
from sinkgen.exceptions import BadTypeError, BadValueError, FitError
from sinkgen.records import CHUNK, PIECE, ArraySource, AskedRecords, ChunkedSource, RecordSource
from sinkgen.sources.chunks import Chunks, none_of
from sinkgen.sources.files import ParquetFiles, parquet


class Data(NamedTuple):
    """Records that were opened, and not looked at.

    Attributes
    ----------
    source : RecordSource or AskedRecords
    layout : Layout
    """

    source: RecordSource | AskedRecords
    layout: Layout


class ReadOff(NamedTuple):
    """Records, of which something was made public before they came here: for the statement and the ledger.

    Attributes
    ----------
    X : object
        Whatever :func:`open_records` takes.
    facts : tuple of str
        What was read off the records without privacy, in words.
    """

    X: Any
    facts: tuple[str, ...]


def open_records(X, y=None, groups=None, *, as_array=False, watch=iter):
    """Make a record source of what the user gives; nothing is encoded yet.

    Parameters
    ----------
    X : array, numpy.memmap, data frame, path, what :func:`parquet` or :func:`chunks` return, or Dask collection; or a
        :class:`ReadOff` of one
    y : array, str or None
        Labels, or the name of the column that holds them.
    groups : array, str or None
        Whose each row is, or the name of the column that says it.
    as_array : bool
        Whether a data frame is to be taken as an array whose columns have names.
    watch : callable
        Wraps the parts of each pass, whose number is public: files, partitions, or all records as one. Where records
        lie in memory it is not called.

    Returns
    -------
    Data
    """
    if isinstance(X, ReadOff):
        data = open_records(X.X, y, groups, as_array=as_array, watch=watch)
        return data._replace(layout=dataclasses.replace(data.layout, read_off=X.facts))
    if hasattr(X, "asked"):
        X = X.asked()
    if isinstance(X, AskedRecords):
        if y is not None or groups is not None:
            raise BadTypeError("owners hold labels and groups: leave y and groups None")
        return Data(X, X.layout(as_array))
    if isinstance(X, (str, os.PathLike)):
        _check_path(X)
        X = parquet(X)
    if hasattr(X, "__dask_graph__"):
        from sinkgen.sources.distributed import open_dask

        return Data(*open_dask(X, y, groups, as_array, watch))
    if isinstance(X, (Chunks, ParquetFiles)):
        layout = X.layout(y, groups, as_array)
        return Data(ChunkedSource(_EqualPasses(X.parts(layout), watch)), layout)
    if isinstance(X, np.memmap):
        labels = check_labels(y, len(X))
        groups = groups if isinstance(groups, str) else check_groups(groups, len(X))
        layout = make_layout(X[:0], none_of(labels), none_of(groups))
        return Data(ChunkedSource(_EqualPasses([partial(_slices, X, labels, groups, layout)], watch)), layout)
    return _open_in_memory(X, y, groups, as_array)


def _check_path(path):
    """Refuse a file that is not Parquet by its name."""
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    if suffix not in (".parquet", ".pq", ".parq", "") and not os.path.isdir(path):
        known = {".csv": "read_csv(path)", ".tsv": "read_csv(path, sep='\\t')", ".gz": "read_csv(path)"}
        remedy = f"pass pandas.{known[suffix]}" if suffix in known else "read it, and pass what it holds"
        raise BadValueError(f"X is the path of a {suffix} file, and fit reads those of Parquet alone: {remedy}")


def _open_in_memory(X, y, groups, as_array):
    kind = None
    for what, given in (("y", y), ("groups", groups)):
        check_order(X, given, what)
    if is_foreign(X) and as_array:
        raise BadTypeError("a data frame that is to be taken as an array must be of pandas; pass X.to_pandas()")
    if is_foreign(X):
        X, kind = to_pandas(X)
    if is_table(X):
        check_columns(X)
    else:
        X = as_records(X)
    y = y if isinstance(y, str) and is_table(X) else check_labels(y, len(X))
    groups = groups if isinstance(groups, str) else check_groups(groups, len(X))
    layout = make_layout(X[:0], none_of(y), none_of(groups), as_array=as_array)
    records = layout.records(X, y, groups).numbered(0)
    return Data(ArraySource(*records), dataclasses.replace(layout, frame_kind=kind))


def _slices(X, labels, groups, layout):
    for start in range(0, len(X), PIECE):
        part = slice(start, start + PIECE)
        yield layout.records(X[part], *(None if own is None else own[part] for own in (labels, groups)))


class _EqualPasses:
    """Passes over parts, all of as many records.

    Parameters
    ----------
    parts : list of callable
        Each returns a fresh iterator over :class:`Records`.
    watch : callable
        See :func:`open_records`.
    """

    def __init__(self, parts, watch):
        self._parts, self._watch, self._n = parts, watch, None

    def __call__(self):
        n = 0
        for part in self._watch(self._parts):
            for records in part():
                n += len(records)
                yield records
        if self._n not in (None, n):
            raise FitError("the chunks are not those of the first pass: each pass must give the same records")
        self._n = n


def check_source(source, form):
    """One pass over all records before anything is spent.

    Raises
    ------
    TypeError, ValueError
        If there is no record, or a cell cannot be encoded; the message names the column and shows no value.
    """
    if not source.reduce(partial(_check, form), sum):
        raise BadValueError("X has 0 records; at least 1 is needed")


def _check(form, chunks):
    n = 0
    for records in chunks:
        form.check(records.values)
        if form.counted_rules:  # what cannot be held against a rule fails here, and not after the charge
            form.broken(records.values, records.labels)
        n += len(records)
    return n


# --- The same records again ------------------------------------------------------------------------------------------


def fingerprint(source: RecordSource | AskedRecords) -> int:
    """A number of 64 bits that other records, or these in another order, hardly share; private.

    However the records are cut into chunks and shards it is the same. Of their order it knows each place but for
    multiples of a chunk's size.
    """
    if isinstance(source, AskedRecords):
        return source.fingerprint
    return source.reduce(_hash_chunks, _add_hashes)


def _add_hashes(hashes):
    return sum(hashes) % 2**64


def _hash_chunks(chunks):
    total, place = 0, 0
    for records in chunks:
        n = len(records)
        hashes = _hash_values(records.values)
        if records.labels is not None:
            hashes = _mixed(hashes + _hash_labels(records.labels))
        if records.groups is not None:
            people = np.array([repr(name) for name in np.asarray(records.groups).tolist()])
            hashes = _mixed(hashes + _hash_labels(people))
        places = (np.arange(place, place + n) % CHUNK).astype(np.uint64)  # shards begin where chunks do
        total += int(_mixed(hashes + _mixed(places)).sum(dtype=np.uint64))
        place += n
    return total % 2**64


def _hash_values(values):
    if isinstance(values, Rows):
        import pandas as pd

        return pd.util.hash_pandas_object(values.frame, index=False).to_numpy(dtype=np.uint64)
    rows = as_doubles(values).reshape(len(values), -1) + 0.0  # minus zero is zero
    factors = np.random.Generator(np.random.Philox(0)).integers(2**63, size=rows.shape[1], dtype=np.uint64) * 2 + 1
    return _mixed((np.ascontiguousarray(rows).view(np.uint64) * factors).sum(1, dtype=np.uint64))


def _hash_labels(labels):
    present, places = np.unique(np.asarray(labels), return_inverse=True)
    texts = [hashlib.blake2b(repr(label).encode(), digest_size=8).digest() for label in present.tolist()]
    return np.frombuffer(b"".join(texts), np.uint64)[places.ravel()]


def _mixed(words):
    """The finaliser of splitmix64: a bijection of 64 bits in which each depends on all."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
