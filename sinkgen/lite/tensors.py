"""A model's tensors in few bytes: whole numbers of 8 bits, with a scale a row; and back. By numpy alone."""

from typing import Any

import numpy as np

from sinkgen.exceptions import BadValueError

ROWS = ("points", "basis", "waves", "tilts", "warp_factors")  # a scale for each row
SHARES = ("frequencies", "cell_shares")  # in [0, 1]: of their square roots 8 bits
CURVES = ("tones", "radii", "texture", "tilt")  # 11 bits each
SCALE, TRIANGLE, SQUARED = ".scale", ".triangle", ".squared"


def compact(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors of a release, in about a fifth of the bytes; ValueError if they are not of points or a mixture.

    Parameters
    ----------
    tensors : dict of str to ndarray
        Of :class:`~sinkgen.generators.particles.PointMixture` with its space, or of
        :class:`~sinkgen.generators.product.ProductMixture`.

    Notes
    -----
    Of a factor of a covariance the triangle is kept that has the same one. A share that is positive stays so.
    """
    names = set(tensors)
    if not ({"points", "factors"} <= names or {"frequencies", "tilt"} <= names):
        raise BadValueError("compact=True is for points and mixtures; a network, or a field, is saved as it is")
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
            part = np.rint(255 * np.sqrt(value))
            out[name + SQUARED] = np.where(value > 0, np.maximum(part, 1), 0).astype(np.uint8)
        elif value.dtype.kind in "iu" and value.size and value.min() >= 0 and value.max() < 2**15:
            out[name] = value.astype(np.int16)
        elif name == "parts" and np.isin(value, (0, 1)).all():
            out[name] = value.astype(np.uint8)
        elif name in CURVES:  # of the knots of tones, which are even in rank, every other
            out[name] = (value[..., ::2] if name == "tones" else value).astype(np.float16)
        else:
            out[name] = value.astype(np.float32) if value.dtype == np.float64 else value
    return out


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
        starts = np.cumsum(out["widths"]) - out["widths"]
        _sum_to_one(out["frequencies"], np.repeat(np.arange(len(starts)), out["widths"]))
        _sum_to_one(out["cell_shares"], out["cell_states"])
    return out


def _sum_to_one(shares, groups):
    """Divide, in place, shares (m, k) by the sums of those of a group (k,)."""
    sums = np.stack([np.bincount(groups, row) for row in shares])
    shares /= np.maximum(sums[:, groups], 1e-300)
