"""Numbers in, numbers out: bounded arrays and images to encoded records in [0, 1]^D, and back.

A *format* holds the public facts of a data set: shape of a record, dtype, bounds. It sees one record at a time and
can therefore be used on chunks of any size, on any machine.
"""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch

from sinkgen._device import sent
from sinkgen._validation import check_integer
from sinkgen.data.bounds import parse_bounds
from sinkgen.data.check import as_doubles, check_finite
from sinkgen.data.dtypes import held_range
from sinkgen.exceptions import BadValueError
from sinkgen.images.pixels import cosine_basis
from sinkgen.images.texture import Texture
from sinkgen.images.tones import Tones
from sinkgen.images.warps import Warps


@dataclass(frozen=True)
class NumericFormat:
    """Records of numbers within public bounds.

    Attributes
    ----------
    dtype : str
        Name of the dtype of what is decoded.
    bounds : tuple of (low, high), or None
        One pair a group of columns; None as long as they are not known.
    names : tuple of str or int, or None
        Names of the columns, where records are decoded into a data frame.
    declared : tuple of int
        Groups of which it is counted how many records lie outside of the declared bounds, and where within.
    """

    dtype: str
    bounds: tuple | None
    names: tuple | None = field(default=None, kw_only=True)
    declared: tuple = field(default=(), kw_only=True)

    @property
    def n_groups(self):
        """Number of groups of columns that have bounds of their own."""
        raise NotImplementedError

    @property
    def group_names(self):
        """What each group is told by."""
        raise NotImplementedError

    @property
    def record_shape(self):
        """Shape of one record as the user gave it."""
        raise NotImplementedError

    @property
    def network_shape(self):
        """Shape of one record as a network makes it: images as images, also where the user gave rows."""
        return self.record_shape

    @property
    def n_encoded(self):
        """Numbers in an encoded record, D."""
        return math.prod(self.record_shape)

    @property
    def missing(self):
        """Names of the releases that have to find what is not known."""
        return () if self.bounds and not self.declared else ("bounds",)

    @property
    def undeclared(self):
        """What the user could have declared and did not, for messages."""
        return () if self.bounds else ("schema (bounds of the numbers)",)

    @property
    def assumptions(self):
        """What is public without having been released."""
        return ("bounds of the numbers, as declared or by dtype",) if self.bounds else ()

    def check(self, values):
        """Raise ValueError if records hold what cannot be encoded."""
        check_finite(np.asarray(values))

    counted_rules: ClassVar[tuple] = ()

    def outside(self, values):
        """Of which declared groups each record lies outside in more than a few numbers, bool (m, len(declared))."""
        low, high = self._ends()
        rows = as_doubles(values).reshape(len(values), self.n_groups, -1)
        return ((rows < low) | (rows > high)).mean(2)[:, list(self.declared)] > FEW_OUTSIDE

    def extremes(self, chunks):
        """A few records that :meth:`observe` reads like all those of the chunks of values; an array."""
        parts = [np.stack([values.min(0), values.max(0)]) for values in map(np.asarray, chunks) if len(values)]
        return np.concatenate(parts) if parts else None

    def observe(self, X):
        """The same format, with what is missing read off records that are trusted to be public."""
        if self.bounds:
            return self
        rows = as_doubles(X).reshape(len(X), self.n_groups, -1)
        low, high = rows.min((0, 2)), rows.max((0, 2))
        return self.with_bounds(np.stack([low, np.where(high > low, high, low + 1)], 1))

    def with_bounds(self, bounds):
        """The same format, with bounds (n_groups, 2), as far as its dtype holds what lies between."""
        first, last = held_range(np.dtype(self.dtype))
        low, high = np.clip(np.asarray(bounds, dtype=np.float64).T, first, last)
        # All that was found may lie beyond: a little of the end that is nearest is left.
        high = np.where(high > low, high, np.minimum(high + np.maximum(np.abs(high) / 2, 1.0), last))
        low = np.where(high > low, low, high - np.maximum(np.abs(high) / 2, 1.0))
        return dataclasses.replace(self, bounds=tuple(zip(low.tolist(), high.tolist(), strict=True)), declared=())

    def encode(self, values, device="cpu"):
        """Encoded records: float32 tensor (m, D) in [0, 1], on a device. Values outside of the bounds are clipped."""
        values = np.asarray(values)
        if values.dtype != np.uint8 or self.n_groups > 1:
            return sent(torch.from_numpy(self._scaled(values)), device)
        # Bytes travel as they are, and of them there are but 256.
        raw = sent(torch.from_numpy(np.require(values, requirements=["C", "W"])).view(len(values), -1), device)
        of_bytes = sent(torch.from_numpy(self._scaled(np.arange(256, dtype=np.uint8))[:, 0].copy()), device)
        return of_bytes.index_select(0, raw.flatten().int()).view(raw.shape)

    def _scaled(self, values):
        low, high = self._ends()
        rows = as_doubles(values).reshape(len(values), self.n_groups, -1)
        # Clip in float64, before the cast: 1e300 is a value like any other.
        scaled = (np.clip(rows, low, high) - low) / (high - low)
        return scaled.reshape(len(rows), -1).astype(np.float32)

    def decode(self, encoded):
        """Array, or data frame, of the original shape and dtype, within the bounds, of encoded records (m, D)."""
        low, high = (sent(torch.from_numpy(end), encoded) for end in self._ends())
        rows = encoded.detach().double().view(len(encoded), self.n_groups, -1)
        values = rows.clamp(0, 1).mul_(high - low).add_(low)
        dtype = np.dtype(self.dtype)
        if dtype.kind != "f":
            values = values.round_().clamp_(low.ceil(), high.floor())
        values = (values.byte() if dtype == np.uint8 else values).cpu().numpy()  # as bytes they travel sooner
        values = values.reshape(len(encoded), *self.record_shape).astype(dtype, copy=False)
        return values if self.names is None else _frame(values, self.names)

    def _ends(self):
        bounds = np.asarray(self.bounds)
        return bounds[:, :1], bounds[:, 1:]

    def to_dict(self):
        """What :func:`format_from_dict` reads; JSON."""
        return {"kind": type(self).__name__, **dataclasses.asdict(self)}


@dataclass(frozen=True)
class ArrayFormat(NumericFormat):
    """Rows of a two-dimensional array; every column has bounds of its own.

    Examples
    --------
    >>> form = ArrayFormat("int64", ((0, 10), (-1, 1)), n_columns=2)
    >>> form.encode(np.array([[5, 1], [99, 0]]))
    tensor([[0.5000, 1.0000],
            [1.0000, 0.5000]])
    """

    n_columns: int = 0

    @property
    def n_groups(self):
        """The number of columns."""
        return self.n_columns

    @property
    def group_names(self):
        """Names of the columns, or their places."""
        return self.names or range(self.n_columns)

    @property
    def record_shape(self):
        """One row."""
        return (self.n_columns,)

    def warps(self):
        """None: there is nothing to deform."""
        return None

    def texture(self):
        """None: columns have no texture."""
        return None

    def tones(self):
        """None: columns are no images."""
        return None

    def public_basis(self):
        """None: the columns themselves are where variances are compared."""
        return None


@dataclass(frozen=True)
class ImageFormat(NumericFormat):
    """Images, (h, w) or (h, w, c), or rows that hold them; all pixels share their bounds.

    Examples
    --------
    >>> form = ImageFormat("uint8", ((0, 255),), image_shape=(2, 2))
    >>> form.decode(form.encode(np.full((1, 2, 2), 51))).tolist()
    [[[51, 51], [51, 51]]]
    """

    image_shape: tuple = ()
    as_rows: bool = False

    @property
    def n_groups(self):
        """One."""
        return 1

    @property
    def group_names(self):
        """All pixels."""
        return ("pixels",)

    @property
    def record_shape(self):
        """One image, or one row."""
        return (math.prod(self.image_shape),) if self.as_rows else tuple(self.image_shape)

    @property
    def network_shape(self):
        """(h, w) or (h, w, c)."""
        return tuple(self.image_shape)

    def warps(self):
        """Smooth deformations; none where images are too small to be interpolated without blur."""
        return Warps(self.image_shape) if self._has_details else None

    def texture(self):
        """Noise where images are bright; none where they are too small to have more than shapes."""
        return Texture(self.image_shape) if self._has_details else None

    def tones(self):
        """Brightness and details; none where images are too small to have any."""
        return Tones(self.image_shape) if self._has_details else None

    @property
    def _has_details(self):
        return min(self.image_shape[:2]) >= SMALLEST_DETAILED

    def public_basis(self):
        """Cosine waves: natural images have most of their variance in few of them."""
        return cosine_basis(*self.image_shape).float()


FEW_OUTSIDE = 0.05  # share of an image's pixels: a resized one may go a little beyond in some
SMALLEST_DETAILED = 16  # pixels a side
CHANNELS = (1, 2, 3, 4)

FORMATS = {kind.__name__: kind for kind in (ArrayFormat, ImageFormat)}


def format_from_dict(state):
    """The format whose ``to_dict`` gave ``state``; TypeError, ValueError or KeyError if there is none."""
    state = dict(state)
    kind = FORMATS[state.pop("kind")]
    form = kind(**{key: _tuples(value) for key, value in state.items()})
    _check(form)
    return form


def _check(form):
    """Raise TypeError or ValueError unless a format that was read is one."""
    if np.dtype(form.dtype).kind not in "biuf":
        raise BadValueError("dtype is not one of numbers")
    for side in form.network_shape:
        check_integer("n_columns or image_shape", side, low=1)
    if isinstance(form, ImageFormat) and len(form.image_shape) not in (2, 3):
        raise BadValueError("image_shape must be (h, w) or (h, w, c)")
    if form.names is not None and len(form.names) != form.n_encoded:
        raise BadValueError("names must be one a column")
    if form.bounds is not None:
        parse_bounds(list(form.bounds), form.n_groups)


def _tuples(value):
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _frame(values, names):
    import pandas as pd

    return pd.DataFrame(values, columns=list(names))


def numeric_format(X, image_shape=None, schema=None, names=None):
    """The format of an array, from public facts alone: its dtype, its shape without the number of records.

    Parameters
    ----------
    X : ndarray of shape (n, columns), (n, h, w) or (n, h, w, c)
    image_shape : tuple, optional
        Shape of the image that each row of a two-dimensional ``X`` holds.
    schema : (low, high) or a list of them, optional
        See :func:`~sinkgen.data.bounds.parse_bounds`.
    names : tuple of str or int, optional
        Of the columns, where ``X`` comes from a data frame.

    Raises
    ------
    ValueError
        If ``X`` has a shape that is neither, or ``image_shape`` does not fit.
    """
    dtype = X.dtype.name
    form: NumericFormat
    if X.ndim == 2 and image_shape is None:
        form = ArrayFormat(dtype, None, X.shape[1], names=names)
    else:
        form = ImageFormat(dtype, None, _image_shape(X, image_shape), X.ndim == 2, names=names)
    bounds = parse_bounds(schema, form.n_groups)
    if bounds is not None:
        return _with_declared(form, bounds)
    if X.dtype == bool:
        bounds = ((0, 1),) * form.n_groups
    if X.dtype == np.uint8 and isinstance(form, ImageFormat):
        bounds = ((0, 255),)  # what the dtype says of pixels, whatever the data
    return form if bounds is None else form.with_bounds(bounds)


def _with_declared(form, bounds):
    """The format with bounds that records may lie outside of, unless these hold whatever the dtype can."""
    first, last = (0, 1) if np.dtype(form.dtype) == bool else held_range(np.dtype(form.dtype))
    declared = tuple(j for j, (low, high) in enumerate(bounds) if first < low or high < last)
    return dataclasses.replace(form.with_bounds(bounds), declared=declared)


def _image_shape(X, image_shape):
    if X.ndim not in (2, 3, 4):
        raise BadValueError(f"X must have 2, 3 or 4 dimensions, got {X.ndim}")
    if image_shape is None:
        if X.ndim == 4 and X.shape[1] in CHANNELS and X.shape[3] not in CHANNELS:
            raise BadValueError(
                f"X holds images of shape {X.shape[1:]}, whose channels seem to come first: pass "
                f"X.transpose(0, 2, 3, 1), or say image_shape={X.shape[1:]} if the last are the channels"
            )
        return tuple(X.shape[1:])
    is_sequence = isinstance(image_shape, (tuple, list, np.ndarray))
    if not is_sequence or len(image_shape) not in (2, 3):
        raise BadValueError(f"image_shape must be (h, w) or (h, w, c), got {image_shape!r}")
    shape = tuple(check_integer("image_shape", side, low=1) for side in image_shape)
    fits = math.prod(shape) == X.shape[1] if X.ndim == 2 else shape == X.shape[1:]
    if not fits:
        raise BadValueError(f"image_shape {shape} does not fit records of shape {X.shape[1:]}")
    return shape
