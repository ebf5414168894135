"""Ids of groups: where they stood in a table, and made-up ones in their place."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class GroupIds:
    """Where ids of groups stood, and what they were.

    Attributes
    ----------
    name : str or int or None
        Of the column that held them; None where they came beside the table.
    place : int
        Of the column, among those that are not the label.
    dtype : str
        Name of the pandas dtype.

    Examples
    --------
    >>> import numpy as np
    >>> GroupIds("patient", 0, "int64").ids(np.array([0, 0, 1])).tolist()
    [0, 0, 1]
    """

    name: Any
    place: int
    dtype: str

    def ids(self, numbers):
        """Made-up ids (m,) of groups with these numbers, as a pandas column."""
        import pandas as pd

        series = pd.Series(numbers, name=self.name)
        if pd.api.types.is_integer_dtype(self.dtype):
            return series.astype(self.dtype)
        return series.map("group {}".format).astype(self.dtype)

    def put(self, frame, numbers):
        """A table with these ids in their place."""
        frame.insert(min(self.place, frame.shape[1]), self.name, self.ids(numbers))  # others may be dropped
        return frame
