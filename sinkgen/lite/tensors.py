"""A model's tensors in few bytes: whole numbers of 8 bits, with a scale a row; and back. By numpy alone."""

from typing import Any

import numpy as np

from sinkgen.exceptions import BadValueError

ROWS = ("points", "basis", "waves", "tilts", "warp_factors")  # a scale for each row
SHARES = ("frequencies", "cell_shares")  # in [0, 1]: of their square roots 8 bits
CURVES = ("tones", "radii", "texture", "tilt")  # 11 bits each
OF_FIELDS = ("potentials", "targets", "heights", "frequencies", "scores", "coupling")  # 11 bits each
SCALE, TRIANGLE, SQUARED = ".scale", ".triangle", ".squared"
MOST_OF_POPULATION = 5000  # records that draws of a field start from


def compact(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors of a release, in about a fifth of the bytes; ValueError if they are those of a network.

    Parameters
    ----------
    tensors : dict of str to ndarray
        Of :class:`~sinkgen.generators.particles.PointMixture` with its space, of
        :class:`~sinkgen.generators.product.ProductMixture`, or of :class:`~sinkgen.generators.field.Field`.

    Notes
    -----
    Of a factor of a covariance the triangle is kept that has the same one. A share that is positive stays so. Of the
    records that a field starts from 5,000 are kept, of each class as large a share as before.
    """
    names = set(tensors)
    if "population" in names:
        return _compact_field(tensors)
    if not ({"points", "factors"} <= names or {"frequencies", "tilt"} <= names):
        raise BadValueError("compact=True is for what was released; a network is saved as it is")
    out: dict[str, np.ndarray] = {}
    for name, value in tensors.items():
        if name == "factors":
            lower = np.stack([np.asarray(np.linalg.qr(factor.T, mode="r")).T for factor in value.astype(np.float64)])
            rows, columns = np.tril_indices(lower.shape[1])
            out |= _scaled(name, lower, SCALE)
            out[name + TRIANGLE] = out.pop(name)[:, rows, columns]
        elif name in ROWS and value.size:
            out |= _scaled(name, value, SCALE)
        elif name in SHARES:
            out[name + SQUARED] = _root(value)
        elif value.dtype.kind in "iu" and value.size and value.min() >= 0 and value.max() < 2**15:
            out[name] = value.astype(np.int16)
        elif name == "parts" and np.isin(value, (0, 1)).all():
            out[name] = value.astype(np.uint8)
        elif name in CURVES:  # of the knots of tones, which are even in rank, every other
            out[name] = (value[..., ::2] if name == "tones" else value).astype(np.float16)
        else:
            out[name] = value.astype(np.float32) if value.dtype == np.float64 else value
    return out


def _compact_field(tensors):
    out: dict[str, np.ndarray] = {}
    for name, value in tensors.items():
        if name in OF_FIELDS:
            out[name] = value.astype(np.float16)
        elif name == "cell_shares":
            out[name + SQUARED] = _root(value)
        elif name == "population":
            by_class = value[:, value[-1].argsort(kind="stable")]
            kept = np.linspace(0, value.shape[1] - 1, min(value.shape[1], MOST_OF_POPULATION)).round().astype(int)
            out[name] = _short(by_class[:, kept])
        elif name == "parts" and not np.isin(value, (0, 1)).all():
            out[name] = value.astype(np.float32)
        else:
            out[name] = _short(value)
    return out


def _short(value):
    """Whole numbers in as few bytes as hold them."""
    kinds = (np.uint8, np.int16, np.int32, np.int64)
    return value.astype(next(kind for kind in kinds if (value.astype(kind) == value).all()))


def _root(shares):
    part = np.rint(255 * np.sqrt(shares))
    return np.where(shares > 0, np.maximum(part, 1), 0).astype(np.uint8)


def is_compact(tensors):
    """Whether tensors are those that :func:`compact` gave."""
    return any(name.endswith((SCALE, TRIANGLE, SQUARED)) for name in tensors)


def _scaled(name, value, suffix):
    scale = np.abs(value).max(-1, keepdims=True) / 127
    whole = np.rint(value / np.where(scale > 0, scale, 1)).astype(np.int8)
    return {name: whole, name + suffix: scale[..., 0].astype(np.float32)}


def restored(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors that :func:`compact` made small, and any others as they are.

    Examples
    --------
    >>> points = {"points": np.array([[0.5, -1.0]]), "factors": np.eye(2)[None]}
    >>> restored(compact(points))["points"].round(2).tolist()
    [[0.5, -1.0]]
    """
    out: dict[str, Any] = {}
    for name, value in tensors.items():
        if name.endswith(SCALE):
            continue
        if name.endswith(TRIANGLE):
            name = name.removesuffix(TRIANGLE)
            scale = tensors[name + SCALE]
            whole = np.zeros((*scale.shape, scale.shape[1]), dtype=np.float32)
            rows, columns = np.tril_indices(scale.shape[1])
            whole[:, rows, columns] = value
            out[name] = whole * scale[..., None]
        elif name.endswith(SQUARED):
            out[name.removesuffix(SQUARED)] = (value / 255.0) ** 2
        elif name + SCALE in tensors:
            out[name] = value * tensors[name + SCALE][..., None]
        else:
            out[name] = value.astype(np.float32) if value.dtype == np.float16 else value
    if "frequencies" + SQUARED in tensors:
        _sum_to_one(out["frequencies"], np.repeat(np.arange(len(out["widths"])), out["widths"]))
    if "cell_shares" + SQUARED in tensors:
        _sum_to_one(out["cell_shares"], out["cell_states"].astype(np.int64))
    if "population" in tensors and is_compact(tensors):
        widths = [*out["widths"].tolist(), int(out["n_classes"])]
        _sum_to_one(out["frequencies"][None], np.repeat(np.arange(len(widths)), widths))
    return out


def _sum_to_one(shares, groups):
    """Divide, in place, shares (m, k) by the sums of those of a group (k,)."""
    sums = np.stack([np.bincount(groups, row) for row in shares])
    shares /= np.maximum(sums[:, groups], 1e-300)
