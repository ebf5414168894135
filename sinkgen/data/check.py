"""Checks of what the user gives to fit. They come before anything is spent, and no message shows a value."""

import math
from collections.abc import Sequence
from numbers import Integral, Real

import numpy as np
import torch
from scipy import sparse

from sinkgen.exceptions import BadTypeError, BadValueError

OF_TORCH_ALONE = (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)  # numpy has none such


def check_records(X):
    """Return ``X`` as a finite numeric array of at least one record and one number each.

    Raises
    ------
    TypeError, ValueError
        As for :func:`as_records` and :func:`check_finite`, and if there is no record.
    """
    X = as_records(X)
    if not len(X):
        raise BadValueError("X has 0 records; at least 1 is needed")
    check_finite(X)
    return X


def as_records(X):
    """Return ``X`` as a numeric array of records with one number each at least; without a look at the numbers.

    Raises
    ------
    TypeError
        If ``X`` is sparse, or holds other things than numbers.
    ValueError
        If it has no columns, or is complex.
    """
    if sparse.issparse(X):
        raise BadTypeError("X is sparse; a dense array is needed: pass X.toarray()")
    if np.ma.is_masked(X):
        raise BadTypeError("X has masked entries, and no column is declared nullable; pass X.filled(value)")
    X = _as_array(X)
    if X.ndim < 2:
        raise BadValueError(f"X must have 2 to 4 dimensions, got {X.ndim}. Reshape your data: one record a row")
    if not math.prod(X.shape[1:]):
        raise BadValueError(f"X has no numbers: 0 feature(s) (shape={X.shape}) while a minimum of 1 is required.")
    return X


def as_doubles(values):
    """An array as float64; what lies beyond becomes infinity, in silence: a warning would tell of a record."""
    with np.errstate(over="ignore"):
        return np.asarray(values, dtype=np.float64)


def check_finite(X):
    """Check an array of numbers.

    Raises
    ------
    ValueError
        If it holds nan or infinity.
    """
    if X.dtype.kind == "f" and not np.isfinite(X).all():
        raise BadValueError("X contains NaN or infinity, and no column is declared nullable")


def check_frame(frame):
    """Return a data frame that is to be taken as an array, as one.

    Raises
    ------
    TypeError, ValueError
        If its columns are of several dtypes, or as for :func:`as_records`.
    """
    if len(set(frame.dtypes)) > 1:
        raise BadTypeError("X has columns of several dtypes: declare each in the schema, as a dict")
    return as_records(frame.to_numpy())


def record_dtype(X):
    """The dtype that :func:`as_records` gives: that of ``X``; where numbers are boxed one by one, always float64."""
    is_boxed, dtype = _is_boxed(X), as_array(X).dtype
    return np.dtype(np.float64) if dtype.hasobject or (is_boxed and dtype.kind in "biuf") else dtype


def _is_boxed(values):
    """Whether numbers come one by one, each of a dtype of its own."""
    return isinstance(values, Sequence) or getattr(getattr(values, "dtype", None), "hasobject", False)


def as_array(values):
    """``values`` as an array; tensors of torch wherever they lie, and of whatever numbers.

    Raises
    ------
    TypeError
        If it is a sparse tensor.

    Examples
    --------
    >>> import torch
    >>> as_array(torch.ones(2, dtype=torch.bfloat16, requires_grad=True))
    array([1., 1.], dtype=float32)
    """
    if not isinstance(values, torch.Tensor):
        return np.asarray(values)
    if values.layout != torch.strided:
        raise BadTypeError("a tensor is sparse; a dense one is needed: pass its to_dense()")
    held = values.detach().cpu().resolve_conj().resolve_neg()
    return (held.float() if held.dtype in OF_TORCH_ALONE else held).numpy()


def _as_array(X):
    is_boxed = _is_boxed(X)
    try:
        X = as_array(X)
    except BadTypeError:
        raise
    except (TypeError, ValueError, RuntimeError):  # ragged lists; the message of numpy might show what is in them
        raise BadValueError("X must be an array: its records differ in shape, or are no rows of numbers") from None
    if X.dtype.kind == "c":
        raise BadValueError("Complex data not supported: X must hold real numbers")
    if X.dtype.kind == "O":
        try:
            X = X.astype(np.float64)
        except (TypeError, ValueError, OverflowError):
            raise BadTypeError("X holds objects: all in this argument must be numbers or strings of numbers") from None
    if X.dtype.kind not in "biuf":
        raise BadTypeError(f"X must hold numbers, got dtype {X.dtype}")
    return X.astype(np.float64) if is_boxed else X  # one record's number must not choose the dtype of all


def check_labels(y, n_records):
    """Return ``y`` as a one-dimensional array of labels: integers, booleans, strings, or whole floats.

    Labels that come one by one, in a list or an array of objects, are strings or int64: no label chooses the dtype.

    Raises
    ------
    TypeError
        If the labels are neither numbers nor strings.
    ValueError
        If there is not one for each record, or numbers are not whole or not finite.
    """
    if y is None:
        return None
    is_boxed = _is_boxed(y)
    y = as_array(y)
    if not y.ndim:
        raise BadValueError("y must hold one label for each record of X, or be the name, as text, of a table's column")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or len(y) != n_records:
        raise BadValueError(f"y must hold one label for each record of X, got shape {y.shape}")
    y = unpack_numbers(y)
    if y.dtype.kind == "O" and _all_of(y, str):
        return y
    if y.dtype.kind == "O" and any(map(_is_nothing, y.tolist())):
        raise BadValueError("y holds missing labels: leave such records out, or give them a label of their own")
    if y.dtype.kind not in "biufU":
        what = "objects of other or several kinds" if y.dtype.kind == "O" else f"dtype {y.dtype}"
        raise BadTypeError(f"y must hold numbers or strings, got {what}: convert it by .astype('str')")
    if y.dtype.kind == "f" and not (np.isfinite(y).all() and (y == np.floor(y)).all()):
        raise BadValueError(
            "y holds numbers that are missing or not whole; a numeric target belongs into X as one more column"
        )
    if is_boxed and y.dtype.kind in "biuf":
        if y.dtype.kind in "uf" and (np.abs(y) >= 2.0**63).any():
            raise BadValueError("y holds numbers beyond those of int64")
        return y.astype(np.int64)
    return y + y.dtype.type(0) if y.dtype.kind == "f" else y  # minus zero is zero


def unpack_numbers(y):
    """``y`` as an array of numbers if it is one of objects that all are numbers; else as it is."""
    return np.array(y.tolist()) if y.dtype.kind == "O" and len(y) and _all_of(y, Real) else y


def _all_of(values, kind):
    return all(issubclass(found, kind) for found in set(map(type, values.tolist())))


def _is_nothing(value):
    return (
        value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, Real) and value != value)
    )


def _is_missing(value):
    return (isinstance(value, str) and not value.strip()) or _is_nothing(value)


def check_groups(groups, n_records, name="groups"):
    """Return ``groups`` as a one-dimensional array of int64, or of strings as objects.

    Raises
    ------
    TypeError
        If they are neither whole numbers nor strings.
    ValueError
        If there is not one for each record, or some are missing.
    """
    if groups is None:
        return None
    missing = f"{name} holds missing values: say whose each row is, or leave such rows out"
    if hasattr(groups, "isna") and np.asarray(groups.isna()).any():  # of pandas: whatever stands for a missing cell
        raise BadValueError(missing)
    groups = as_array(groups)
    if groups.ndim == 2 and groups.shape[1] == 1:
        groups = groups[:, 0]
    if not groups.ndim:
        raise BadValueError(f"{name} must hold one id for each record, or be the name, as text, of a table's column")
    if groups.ndim != 1 or len(groups) != n_records:
        raise BadValueError(f"{name} must hold one id for each record of X, got shape {groups.shape}")
    kind = groups.dtype.kind
    if kind in "UO":  # a blank text is a missing cell of a file: all who have it would be taken for one person
        values = groups.tolist()
        if any(map(_is_missing, values)):
            raise BadValueError(missing)
        if all(isinstance(value, (str, Integral)) for value in values):
            return np.array(list(map(str, values)), dtype=object)  # boxed one by one, 5 and "5" are the same
    if kind == "f" and not np.isfinite(groups).all():
        raise BadValueError(missing)
    is_whole = kind in "biu" or (kind == "f" and ((groups == np.floor(groups)) & (np.abs(groups) < 2.0**53)).all())
    if not is_whole:
        raise BadTypeError(
            f"{name} must hold whole numbers or strings, got dtype {groups.dtype}: convert it by .astype('str')"
        )
    return groups.astype(np.uint64 if kind == "u" else np.int64).view(np.int64)


def check_order(X, values, what):
    """Refuse a pandas object whose index is that of X in another order: by position it would be of other records."""
    if not (hasattr(X, "iloc") and hasattr(values, "iloc")):
        return
    one, other = X.index, values.index
    if len(one) == len(other) and not one.equals(other) and one.is_unique and other.isin(one).all():
        raise BadValueError(
            f"{what} has the index of X in another order: give {what}.loc[X.index], or an array in the order of X"
        )
