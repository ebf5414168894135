"""Where records may come from: arrays, data frames, mapped files, Parquet, chunks that are made anew, Dask.

:func:`parquet` and :func:`chunks` are for data that do not fit memory; ``fit`` takes what they return in place of
``X``. Nothing of the size of the data is held: each pass reads and encodes chunk by chunk.
"""

import dataclasses
import os
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from sinkgen.data.check import as_records, check_labels
from sinkgen.data.frames import is_foreign, to_pandas
from sinkgen.data.layout import Layout, make_layout
from sinkgen.data.table import check_columns, is_table
from sinkgen.sampling import PIECE, ArraySource, ChunkedSource, RecordSource

__all__ = ["chunks", "parquet"]


def parquet(path, columns=None):
    """Records in Parquet files, read again at each pass, by batches of a row group.

    Parameters
    ----------
    path : str, path-like, or list of them
        A file, a folder of files (with Hive partitions, if it has some), or several files.
    columns : sequence of str, optional
        Which columns are records; by default all but the label. Only these are read.

    Returns
    -------
    ParquetFiles
        For ``fit``, with the name of the label's column for ``y``.

    Raises
    ------
    ImportError
        Without pyarrow: ``pip install 'sinkgen[parquet]'``.
    FileNotFoundError
        If there is no file.
    ValueError
        If a column is unknown, or a file has other columns or types than the first: the message names the file.

    Notes
    -----
    Dtypes follow from the files' schema alone, which is public, never from the cells: integers and booleans that the
    schema allows to be missing become "Int64" and "boolean", unless pandas wrote down that they are not.

    Examples
    --------
    >>> import tempfile, pandas as pd, sinkgen
    >>> people = pd.DataFrame({"age": [31, 50] * 200, "member": [True, False] * 200})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     people.to_parquet(f"{folder}/people.parquet")
    ...     gen = sinkgen.DPSinkhornGenerator(epsilon=5, schema={"age": (18, 90)})
    ...     gen.fit(parquet(folder), y="member").sample(2)[0].columns.tolist()
    ['age']
    """
    return ParquetFiles(path, columns)


def chunks(make):
    """Records that are made anew, chunk by chunk, at each pass.

    Parameters
    ----------
    make : callable or iterable
        Returns an iterator over the chunks each time it is called; or a list of them. A chunk is an array, a pair
        ``(X, y)`` of arrays, or a pandas data frame; all have the same columns and dtypes, and every pass gives the
        same records in the same order.

    Returns
    -------
    Chunks
        For ``fit``; with data frames, ``y`` may be the name of the label's column.

    Raises
    ------
    TypeError
        If it is an iterator, which could be read only once.

    Examples
    --------
    >>> import sinkgen
    >>> def make():
    ...     for shard in range(5):
    ...         yield np.random.default_rng(shard).normal(size=(100, 2))
    >>> sinkgen.DPSinkhornGenerator(epsilon=5, schema=(-4, 4)).fit(chunks(make)).sample(3).shape
    (3, 2)
    """
    if isinstance(make, Iterator) or not (callable(make) or hasattr(make, "__iter__")):
        raise TypeError(
            "chunks needs a callable that returns a new iterator at each pass, or a list, "
            f"got {type(make).__name__}: a pass would use an iterator up"
        )
    return Chunks(make if callable(make) else partial(iter, make))


class Chunks:
    """What :func:`chunks` returns.

    Parameters
    ----------
    make : callable
    """

    def __init__(self, make):
        self._make = make

    def layout(self, y, as_array):
        """Public facts, of the first chunk."""
        if y is not None and not isinstance(y, str):
            raise TypeError("y must be the name of a column, or None where chunks are pairs (X, y)")
        first = next(iter(self._make()), None)
        if first is None:
            raise ValueError("X has 0 records; at least 1 is needed")
        values, labels = _pair(first)
        if y is not None and not is_table(values):
            raise TypeError("y names a column, but the chunks are arrays: give pairs (X, y)")
        values = values if is_table(values) else as_records(values)
        y = y if labels is None else check_labels(labels, len(values))
        return make_layout(values[:0], _none_of(y), as_array=as_array)

    def parts(self, layout):
        """One part, for the number of chunks may tell that of the records: what reads it once, checked."""
        return [partial(self._read, layout)]

    def _read(self, layout):
        for i, chunk in enumerate(self._make()):
            values, labels = _pair(chunk)
            if len(values):
                yield layout.checked(f"chunk {i}", values, labels)


def _pair(chunk):
    return chunk if isinstance(chunk, tuple) and len(chunk) == 2 else (chunk, None)


class ParquetFiles:
    """What :func:`parquet` returns.

    Parameters
    ----------
    path, columns
        See :func:`parquet`.
    """

    def __init__(self, path, columns=None):
        try:
            import pyarrow.dataset as arrow
        except ImportError as error:
            raise ImportError("reading Parquet needs pyarrow; pip install 'sinkgen[parquet]'") from error
        path = [os.fspath(part) for part in path] if isinstance(path, (list, tuple)) else os.fspath(path)
        self._columns = None if columns is None else list(columns)
        self._schema = arrow.dataset(path, format="parquet", partitioning="hive").schema
        texts = [field.name for field in self._schema if str(field.type) in ("string", "large_string")]
        # Text as dictionaries: a batch then has each text once, and codes.
        form = arrow.ParquetFileFormat(dictionary_columns=texts, pre_buffer=False)
        self._dataset = arrow.dataset(path, format=form, partitioning="hive")

    def layout(self, y, as_array):
        """Public facts, of the files' schema."""
        if y is not None and not isinstance(y, str):
            raise TypeError("y must be the name of a column of the Parquet files, or None")
        index = _index_columns(self._schema)
        every = [name for name in self._schema.names if name not in index]
        wanted = every if self._columns is None else [*self._columns, *([] if y in (None, *self._columns) else [y])]
        unknown = [name for name in wanted if name not in every]
        if unknown or y not in (None, *wanted):
            raise ValueError(f"the Parquet files lack columns {unknown or [y]}; they have {every}")
        self._check_files(wanted)
        template = _to_frame(self._schema.empty_table().select(wanted), self._schema)
        return make_layout(template, y, as_array=as_array)

    def parts(self, layout):
        """The files, whose number is public: what reads each once."""
        return [partial(self._read, layout, fragment) for fragment in self._dataset.get_fragments()]

    def _read(self, layout, fragment):
        wanted = list(layout.template.columns)
        # Hive partitions are columns too, of the data set's schema and not of the file's.
        batches = fragment.to_batches(schema=self._dataset.schema, columns=wanted, batch_size=PIECE, batch_readahead=1)
        for batch in batches:
            if len(batch):
                yield layout.records(_to_frame(batch, self._schema))

    def _check_files(self, wanted):
        first = None
        for fragment in self._dataset.get_fragments():
            schema = fragment.physical_schema
            names = set(wanted) if self._columns is not None else set(wanted) | set(schema.names)
            types = {name: schema.field(name).type for name in names if name in schema.names}
            first = types if first is None else first
            if types != first:
                differing = sorted(name for name in {*types, *first} if types.get(name) != first.get(name))
                told = ", ".join(f"{name!r} is {_told(types, name)}, not {_told(first, name)}" for name in differing)
                raise ValueError(f"{fragment.path} is not like the first file: column {told}")


def _told(types, name):
    return str(types[name]) if name in types else "missing"


def _index_columns(schema):
    return [name for name in (schema.pandas_metadata or {}).get("index_columns", ()) if isinstance(name, str)]


def _to_frame(table, schema):
    """The data frame of an Arrow table or batch; dtypes by the schema alone."""
    import pandas as pd

    known = {column["name"]: column["numpy_type"] for column in (schema.pandas_metadata or {}).get("columns", ())}
    masked = [
        field.name for field in schema
        if field.name in table.schema.names and field.nullable and str(field.type) in MASKED
        and known.get(field.name) != MASKED[str(field.type)].lower().replace("boolean", "bool")
    ]  # fmt: skip
    plain = [name for name in table.schema.names if name not in masked]
    settings = {"date_as_object": False, "ignore_metadata": True}
    frame = table.select(plain).to_pandas(**settings)
    if masked:
        types = {kind: getattr(pd, f"{name}Dtype")() for kind, name in MASKED.items()}
        by_type = {str(kind): dtype for kind, dtype in types.items()}
        held = table.select(masked).to_pandas(types_mapper=lambda kind: by_type.get(str(kind)), **settings)
        frame = pd.concat([frame, held], axis=1)[table.schema.names]
    return frame


# Arrow types without a missing cell of their own in numpy.
MASKED = {f"{sign}int{bits}": f"{sign.upper()}Int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
MASKED["bool"] = "Boolean"


class Data(NamedTuple):
    """Records that were opened, and not looked at.

    Attributes
    ----------
    source : RecordSource
    layout : Layout
    """

    source: RecordSource
    layout: Layout


def open_records(X, y=None, *, as_array=False, watch=iter):
    """Make a record source of what the user gives; nothing is encoded yet.

    Parameters
    ----------
    X : array, numpy.memmap, data frame, path, what :func:`parquet` or :func:`chunks` return, or Dask collection
    y : array, str or None
        Labels, or the name of the column that holds them.
    as_array : bool
        Whether a data frame is to be taken as an array whose columns have names.
    watch : callable
        Wraps the parts of each pass, whose number is public: files, partitions, or all records as one. Where records
        lie in memory it is not called.

    Returns
    -------
    Data
    """
    if isinstance(X, (str, os.PathLike)):
        X = parquet(X)
    if hasattr(X, "__dask_graph__"):
        from sinkgen.distributed import open_dask

        return Data(*open_dask(X, y, as_array, watch))
    if isinstance(X, (Chunks, ParquetFiles)):
        layout = X.layout(y, as_array)
        return Data(ChunkedSource(_Pass(X.parts(layout), watch)), layout)
    if isinstance(X, np.memmap):
        labels = check_labels(y, len(X))
        layout = make_layout(X[:0], _none_of(labels))
        return Data(ChunkedSource(_Pass([partial(_slices, X, labels, layout)], watch)), layout)
    return _open_in_memory(X, y, as_array)


def _open_in_memory(X, y, as_array):
    kind = None
    if is_foreign(X) and as_array:
        raise TypeError("a data frame that is to be taken as an array must be of pandas; pass X.to_pandas()")
    if is_foreign(X):
        X, kind = to_pandas(X)
    if is_table(X):
        check_columns(X)
    else:
        X = as_records(X)
    y = y if isinstance(y, str) and is_table(X) else check_labels(y, len(X))
    layout = make_layout(X[:0], _none_of(y), as_array=as_array)
    return Data(ArraySource(*layout.records(X, y)), dataclasses.replace(layout, frame_kind=kind))


def _none_of(y):
    return y if y is None or isinstance(y, str) else y[:0]


def _slices(X, labels, layout):
    for start in range(0, len(X), PIECE):
        part = slice(start, start + PIECE)
        yield layout.records(X[part], None if labels is None else labels[part])


class _Pass:
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
            raise RuntimeError("the chunks are not those of the first pass: each pass must give the same records")
        self._n = n


def check_source(source, form):
    """One pass over all records before anything is spent.

    Raises
    ------
    TypeError, ValueError
        If there is no record, or a cell cannot be encoded; the message names the column and shows no value.
    """
    if not source.reduce(partial(_check, form), sum):
        raise ValueError("X has 0 records; at least 1 is needed")


def _check(form, chunks):
    n = 0
    for records in chunks:
        form.check(records.values)
        n += len(records)
    return n
