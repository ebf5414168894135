"""Many synthetic records, in partitions that are drawn each on its own: by Dask, or into Parquet files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sinkgen.data.table import TableFormat
from sinkgen.exceptions import BadValueError, OccupiedPathError
from sinkgen.generators.product import stratified
from sinkgen.generators.release import Release

GROUP = "group"  # name of a column of ids that had none


@dataclass(frozen=True)
class Bulk:
    """Synthetic records in partitions. A partition depends on the seed, its number and its size alone.

    Attributes
    ----------
    generator : torch.nn.Module
        Draws encoded records: ``draw(labels, random)``.
    release : Release
    n_records, partition_size : int
    seed : int
    label : str
        Name of the labels' column in a data frame.
    by_group : bool
        Whether it is groups that are counted, each with all its rows.
    """

    generator: Any
    release: Release
    n_records: int
    partition_size: int
    seed: int
    label: str
    by_group: bool = False

    def __post_init__(self):
        form: Any = self.release.form
        names = form.names or ()
        if self.by_group and form.group.name is None and GROUP in (*names, self.label):
            raise BadValueError(f"{GROUP!r} is to be the column of ids, and is a column already: give it another name")
        if self.release.labels is not None and self.label in names:
            raise BadValueError(f"label={self.label!r} is a column of the table already; give the labels another name")

    def __len__(self):
        return -(-self.n_records // self.partition_size)

    @property
    def is_table(self):
        """Whether records are rows of a data frame."""
        return self.release.form.names is not None

    @property
    def sizes(self):
        """Records of each partition."""
        last = self.n_records - (len(self) - 1) * self.partition_size
        return [self.partition_size] * (len(self) - 1) + [last]

    def arrays(self, i):
        """Records and labels of partition ``i``; labels are None where the release has none."""
        return self._draw(self.sizes[i], i)

    def frame(self, i):
        """Partition ``i`` as a data frame, with a column of the labels where there are some."""
        return self._framed(*self.arrays(i))

    def template(self):
        """A data frame like the partitions, without rows."""
        return self._framed(*self._draw(1, 0)).iloc[:0]

    def _draw(self, n, i):
        random = torch.Generator().manual_seed(_seed(self.seed, i))
        if self.by_group:
            X, y, ids = draw_groups(self.release, n, random, first=i * self.partition_size)
            return X if ids is None else X.assign(**{GROUP: ids}), y
        codes = stratified(self.release.class_weights, n, random)[torch.randperm(n, generator=random)]
        form, labels = self.release.form, self.release.labels
        drawn = self.generator.draw(codes, random)
        # Keys are numbered through all partitions.
        X = (
            form.decode(drawn, self.seed, i * self.partition_size)
            if isinstance(form, TableFormat)
            else form.decode(drawn)
        )
        return X, None if labels is None else labels.decode(codes)

    def _framed(self, X, y):
        return X if y is None else X.assign(**{self.label: y})


def draw_groups(release, n, random, *, order=None, first=0):
    """Groups with all their rows, whose ids count on from ``first``.

    Parameters
    ----------
    release : Release
        Of whole groups.
    n : int
    random : torch.Generator
    order : int, optional
        Place of the column by which rows of a group are sorted; that of the first dates that change by default.
    first : int

    Returns
    -------
    X : DataFrame
        With the ids where they stood, if they were a column.
    y : ndarray, or None
    ids : Series, or None
        Where they were no column.
    """
    form, generator = release.form, release.generator
    if order is None:
        dates = [j for j, of in enumerate(form.columns) if of.kind == "datetime" and not generator.constant[j]]
        order = dates[0] if dates else None
    drawn = generator.draw_people(n, random, order)
    X, numbers = form.decode(drawn.places), first + drawn.persons.numpy()
    y = None if release.labels is None else release.labels.decode(drawn.labels)
    if form.group.name is None:
        return X, y, form.group.ids(numbers)
    return form.group.put(X, numbers), y, None


def _seed(seed, i):
    return int(np.random.SeedSequence([seed, i]).generate_state(1, np.uint64)[0] >> 1)


def to_dask(bulk):
    """A dask.dataframe; or, of arrays, a dask.array, with one of labels where there are some."""
    import dask.array as da
    from dask import delayed

    shared = delayed(bulk, traverse=False)
    if bulk.is_table:
        import dask.dataframe as dd

        frames = [delayed(Bulk.frame)(shared, i) for i in range(len(bulk))]
        return dd.from_delayed(frames, meta=bulk.template(), verify_meta=False)
    pairs = [delayed(Bulk.arrays, nout=2)(shared, i) for i in range(len(bulk))]
    X, y = bulk._draw(1, 0)

    def joined(like, place):
        parts = zip(pairs, bulk.sizes, strict=True)
        return da.concatenate([da.from_delayed(pair[place], (n, *like.shape[1:]), like.dtype) for pair, n in parts])

    return joined(X, 0) if y is None else (joined(X, 0), joined(y, 1))


def to_parquet(bulk, path):
    """Write a file a partition into the folder ``path``.

    Raises
    ------
    ValueError
        If records are no rows of a table.
    FileExistsError
        If the folder holds something.
    """
    if not bulk.is_table:
        raise BadValueError(
            "Parquet holds tables: fit a data frame, or use sample_dask and its to_zarr or to_npy_stack"
        )
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise OccupiedPathError(f"{folder} is not empty")
    for i in range(len(bulk)):
        bulk.frame(i).to_parquet(folder / f"part.{i:05}.parquet", index=False)
