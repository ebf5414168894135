"""What all chunks of one data set have in common, and how each is told apart into records and labels."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sinkgen.data.check import as_records, check_frame, check_groups, check_labels, record_dtype
from sinkgen.data.frames import FrameKind
from sinkgen.data.group_ids import GroupIds
from sinkgen.data.table import Rows
from sinkgen.data.table_checks import check_columns, is_table
from sinkgen.exceptions import BadTypeError, BadValueError
from sinkgen.records import Records


@dataclass(frozen=True)
class Layout:
    """Public facts of the chunks of a data set.

    Attributes
    ----------
    template : pandas.DataFrame or ndarray
        A chunk without records.
    label : str or None
        Name of the column that holds the labels; for data frames alone.
    labels : ndarray of shape (0,) or None
        Labels of no record, where there are labels.
    as_array : bool
        Whether a data frame is to be taken as an array whose columns have names.
    group : str or None
        Name of the column that says whose each row is; for data frames alone.
    groups : ndarray of shape (0,) or None
        Ids of no record, where it is known whose each row is.
    frame_kind : FrameKind or None
        What the data frame was, if it was of another library than pandas.
    read_off : tuple of str
        What is public of the records and was read off them, in words.
    """

    template: object
    label: str | None
    labels: np.ndarray | None
    as_array: bool
    group: str | None = None
    groups: np.ndarray | None = None
    frame_kind: FrameKind | None = None
    read_off: tuple = ()

    @property
    def has_groups(self):
        """Whether it is known whose each row is."""
        return self.groups is not None

    @property
    def group_ids(self):
        """Where the ids of groups stand, for a table; None without groups."""
        if not self.has_groups:
            return None
        ids = np.asarray(self.groups)
        template: Any = self.template
        if self.group is None:
            return GroupIds(None, 0, str(ids.dtype) if ids.dtype.kind == "i" else "object")
        features = [name for name in template.columns if name != self.label]
        dtype = template.dtypes[self.group]
        text = "category" if hasattr(dtype, "categories") else str(dtype)
        return GroupIds(self.group, features.index(self.group), text)

    @property
    def names(self):
        """Names of the columns without the label; None for arrays."""
        return tuple(self._features(self.template).columns) if is_table(self.template) else None

    @property
    def values(self):
        """The values of no record: :class:`Rows` or an array."""
        return self._values(self.template)

    def records(self, chunk, labels=None, groups=None):
        """The :class:`Records` of a chunk that is known to be like the template."""
        labels = chunk[self.label] if self.label is not None else labels
        groups = chunk[self.group] if self.group is not None else groups
        name = "groups" if self.group is None else f"column {self.group!r}, the groups,"
        return Records(self._values(chunk), check_labels(labels, len(chunk)), check_groups(groups, len(chunk), name))

    def checked(self, where, chunk, labels=None, groups=None):
        """The same, after a look at the chunk's columns and dtypes.

        Parameters
        ----------
        where : str
            What the chunk is called in a message, such as "chunk 3".

        Raises
        ------
        ValueError
            If it differs from the template; the message holds names and dtypes.
        """
        differs = _frames_differ if is_table(self.template) else _arrays_differ
        difference = differs(chunk, self.template)
        if not difference and (labels is None) != (self.labels is None or self.label is not None):
            difference = "labels come with some chunks and not with others"
        if not difference and (groups is None) != (self.groups is None or self.group is not None):
            difference = "groups come with some chunks and not with others"
        if difference:
            raise BadValueError(f"{where} is not like the first: {difference}")
        records = self.records(chunk, labels, groups)
        if self.groups is not None and records.groups.dtype != self.groups.dtype:
            raise BadValueError(f"{where} is not like the first: groups are numbers in one, and texts in the other")
        if self.labels is not None and not _same_kind(records.labels.dtype, self.labels.dtype):
            raise BadValueError(
                f"{where} is not like the first: labels have dtype {records.labels.dtype}, not {self.labels.dtype}"
            )
        return records

    def _features(self, frame):
        named = [name for name in (self.label, self.group) if name is not None]
        return frame.drop(columns=named) if named else frame

    def _values(self, chunk):
        if not is_table(chunk):
            return as_records(chunk)
        features = self._features(chunk)
        return check_frame(features) if self.as_array else Rows(features)


def make_layout(template, y=None, groups=None, *, as_array=False):
    """The layout of a data set.

    Parameters
    ----------
    template : pandas.DataFrame or array
        A chunk without records.
    y : str, ndarray of shape (0,), or None
        Name of the column that holds the labels, labels of no record, or no labels.
    groups : str, ndarray of shape (0,), or None
        Name of the column that says whose each row is, ids of no record, or no groups.
    as_array : bool

    Raises
    ------
    TypeError, ValueError
        If ``y`` or ``groups`` is no column of the table, or the columns are none that a table can have.
    """
    if not is_table(template):
        if isinstance(groups, str):
            raise BadTypeError("groups names a column, but X is an array: give groups as an array, one entry a row")
        return Layout(as_records(template), None, y, as_array, None, groups)
    check_columns(template)
    for what, name in (("y", y), ("groups", groups)):
        if isinstance(name, str) and name not in template.columns:
            raise BadValueError(f"{what} names a column that X lacks: {name!r}; X has {list(template.columns)}")
    if isinstance(y, str) and isinstance(groups, str) and y == groups:
        raise BadValueError("y and groups name the same column")
    label, group = (name if isinstance(name, str) else None for name in (y, groups))
    labels = y if label is None else np.asarray(template[label])
    ids = groups if group is None else check_groups(template[group], 0)
    layout = Layout(template, label, labels, as_array, group, ids)
    check_columns(layout._features(template))
    return layout


def name_of_labels(columns):
    """What rules call labels that have no column: "y", and where a column is called so, "y_" and so on.

    Examples
    --------
    >>> name_of_labels(["a", "b"]), name_of_labels(["y", "b"])
    ('y', 'y_')
    """
    name = "y"
    while name in columns:
        name += "_"
    return name


def _frames_differ(frame, template):
    if not is_table(frame):
        return f"it is no data frame, but {type(frame).__name__}"
    if list(frame.columns) != list(template.columns):
        missing = [name for name in template.columns if name not in frame.columns]
        extra = [name for name in frame.columns if name not in template.columns]
        return f"columns are missing {missing}, additional {extra}, or in another order"
    for name in template.columns:
        if not _same_dtype(frame.dtypes[name], template.dtypes[name]):
            return f"column {name!r} has dtype {frame.dtypes[name]}, not {template.dtypes[name]}"
    return None


def _arrays_differ(array, template):
    if is_table(array):
        return "it is a data frame"
    shape, dtype = np.shape(array)[1:], record_dtype(array)
    if shape != template.shape[1:]:
        return f"records have shape {shape}, not {template.shape[1:]}"
    return None if dtype == template.dtype else f"numbers have dtype {dtype}, not {template.dtype}"


def _same_dtype(one, other):
    # Each shard of a column of categories may know those alone that occur in it; text has several dtypes.
    are_categories = hasattr(one, "categories") and hasattr(other, "categories")
    are_text = all(str(dtype).startswith("str") for dtype in (one, other))
    return one == other or are_text or (are_categories and one.ordered == other.ordered)


def _same_kind(one, other):
    return one == other or (one.kind == other.kind and one.kind in "US")
