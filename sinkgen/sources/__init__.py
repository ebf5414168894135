"""Where records may come from: arrays, data frames, mapped files, Parquet, chunks that are made anew, Dask.

:func:`parquet` and :func:`chunks` are for data that do not fit memory; ``fit`` takes what they return in place of
``X``. Nothing of the size of the data is held: each pass reads and encodes chunk by chunk.
"""

from sinkgen.sources.chunks import chunks
from sinkgen.sources.files import parquet

__all__ = ["chunks", "parquet"]
