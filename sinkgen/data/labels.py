"""Labels in, labels out: the set of classes, and its codes."""

from dataclasses import dataclass

import numpy as np
import torch

from sinkgen.exceptions import BadValueError


@dataclass(frozen=True)
class LabelSet:
    """The classes that the generator knows.

    Attributes
    ----------
    classes : tuple
        Python scalars (int, float, str, bool), sorted.
    dtype : str
        Name of the dtype of decoded labels.

    Examples
    --------
    >>> labels = LabelSet(("cat", "dog"), "<U3")
    >>> labels.encode(np.array(["dog", "cow"])).tolist(), labels.decode([0, 1]).tolist()
    ([1, -1], ['cat', 'dog'])
    """

    classes: tuple
    dtype: str

    def encode(self, y):
        """Codes (m,) of labels, -1 for a label of no known class."""
        codes = {label: code for code, label in enumerate(self.classes)}
        present, places = np.unique(np.asarray(y), return_inverse=True)
        found = np.array([codes.get(label, -1) for label in present.tolist()], dtype=np.int64)
        return torch.from_numpy(found[places.ravel()])

    def decode(self, codes):
        """Labels (m,) of codes."""
        return np.array(self.classes, dtype=self.dtype)[np.asarray(codes)]

    def to_dict(self):
        """What :meth:`from_dict` reads; JSON."""
        return {"classes": list(self.classes), "dtype": self.dtype}

    @classmethod
    def from_dict(cls, state):
        """The set whose ``to_dict`` gave ``state``."""
        return cls(tuple(state["classes"]), state["dtype"])


def declared_labels(classes, y):
    """The label set that the user declares.

    Raises
    ------
    ValueError
        If ``classes`` is empty, repeats a label, or is of another kind (numbers, strings) than y.
    """
    try:
        array = np.asarray(classes)
    except ValueError:  # ragged
        array = np.empty(0)
    is_list = array.ndim == 1 and len(array) and (array.dtype.kind in "biufUS" or set(map(type, array)) == {str})
    if not is_list or len(np.unique(array)) != len(array) or (array.dtype.kind == "f" and not np.isfinite(array).all()):
        raise BadValueError("classes must be a non-empty list of distinct labels: all numbers, or all strings")
    if (array.dtype.kind in "US") != (_kind(y) in "US"):
        raise BadValueError("classes and y must be of one kind: both strings, or both numbers")
    is_own = array.dtype == bool or (array.dtype.kind in "US" and y.dtype != object)
    dtype = array.dtype if is_own else y.dtype
    return LabelSet(tuple(sorted(array.tolist())), _dtype_name(dtype))


def label_set(classes, y_dtype):
    """The label set of released or trusted classes.

    The length of the longest string in y is private: a string dtype is that of the classes alone.
    """
    dtype = np.asarray(classes).dtype if y_dtype.kind in "US" else y_dtype
    return LabelSet(tuple(classes), _dtype_name(dtype))


def stand_in(y_dtype):
    """The label set of records whose labels are not known: "unknown", or 0 where labels are numbers.

    Examples
    --------
    >>> stand_in(np.dtype("<U3")).classes, stand_in(np.dtype(bool)).classes, stand_in(np.dtype("int8")).classes
    (('unknown',), (False,), (0,))
    """
    return label_set(["unknown"] if y_dtype.kind in "OUS" else np.zeros(1, y_dtype).tolist(), y_dtype)


def _kind(y):
    return "U" if y.dtype == object else y.dtype.kind


def _dtype_name(dtype):
    return dtype.name if dtype.hasobject else dtype.str
