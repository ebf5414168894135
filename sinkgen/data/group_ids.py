"""Ids of groups: where they stood in a table, and made-up ones in their place."""

from dataclasses import dataclass
from typing import Any

from sinkgen.exceptions import BadValueError


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
        """Made-up ids (m,) of groups with these numbers, as a pandas column.

        Raises
        ------
        ValueError
            If the dtype holds no so large numbers: two groups would be of one id.
        """
        import pandas as pd

        series = pd.Series(numbers, name=self.name)
        if pd.api.types.is_numeric_dtype(self.dtype) and not pd.api.types.is_bool_dtype(self.dtype):
            made = series.astype(self.dtype)
            if not (made.astype("int64") == numbers).all():
                raise BadValueError(
                    f"there are more groups than ids of dtype {self.dtype}: draw fewer, or fit with a wider dtype"
                )
            return made
        named = series.map("group {}".format)
        return named if pd.api.types.is_bool_dtype(self.dtype) else named.astype(self.dtype)

    def put(self, frame, numbers):
        """A table with these ids in their place."""
        frame.insert(min(self.place, frame.shape[1]), self.name, self.ids(numbers))  # others may be dropped
        return frame
