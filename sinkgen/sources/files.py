"""Records in Parquet files."""

import os
from collections.abc import Sequence
from functools import partial

from sinkgen._types import Path
from sinkgen.data.layout import make_layout
from sinkgen.exceptions import BadTypeError, BadValueError, MissingPackageError
from sinkgen.records import PIECE


def parquet(path: Path | Sequence[Path], columns: Sequence[str] | None = None) -> "ParquetFiles":
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
        For ``fit``, with the names of columns for ``y`` and ``groups``.

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
            raise MissingPackageError("reading Parquet needs pyarrow; pip install 'sinkgen[parquet]'") from error
        path = [os.fspath(part) for part in path] if isinstance(path, (list, tuple)) else os.fspath(path)
        self._columns = None if columns is None else list(columns)
        self._schema = arrow.dataset(path, format="parquet", partitioning="hive").schema
        texts = [field.name for field in self._schema if str(field.type) in ("string", "large_string")]
        # Text as dictionaries: a batch then has each text once, and codes.
        form = arrow.ParquetFileFormat(dictionary_columns=texts, pre_buffer=False)
        self._dataset = arrow.dataset(path, format=form, partitioning="hive")

    def layout(self, y, groups, as_array):
        """Public facts, of the files' schema."""
        for what, name in (("y", y), ("groups", groups)):
            if name is not None and not isinstance(name, str):
                raise BadTypeError(f"{what} must be the name of a column of the Parquet files, or None")
        named = [name for name in (y, groups) if name is not None]
        index = index_columns(self._schema)
        every = [name for name in self._schema.names if name not in index]
        wanted = every if self._columns is None else list(dict.fromkeys([*self._columns, *named]))
        unknown = [name for name in dict.fromkeys([*wanted, *named]) if name not in every]
        if unknown:
            raise BadValueError(f"the Parquet files lack columns {unknown}; they have {every}")
        self._check_files(wanted)
        template = frame_of(self._schema.empty_table().select(wanted), self._schema)
        return make_layout(template, y, groups, as_array=as_array)

    def parts(self, layout):
        """The files, whose number is public: what reads each once."""
        return [partial(self._read, layout, fragment) for fragment in self._dataset.get_fragments()]

    def _read(self, layout, fragment):
        wanted = list(layout.template.columns)
        # Hive partitions are columns too, of the data set's schema and not of the file's.
        batches = fragment.to_batches(schema=self._dataset.schema, columns=wanted, batch_size=PIECE, batch_readahead=1)
        for batch in batches:
            if len(batch):
                yield layout.records(frame_of(batch, self._schema))

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
                raise BadValueError(f"{fragment.path} is not like the first file: column {told}")


def _told(types, name):
    return str(types[name]) if name in types else "missing"


def index_columns(schema):
    """Names of the columns that were the index of the pandas frame that was written."""
    return [name for name in (schema.pandas_metadata or {}).get("index_columns", ()) if isinstance(name, str)]


def frame_of(table, schema):
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
