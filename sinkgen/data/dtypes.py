"""What a dtype can hold; public."""

import numpy as np


def held_range(dtype):
    """Least and greatest number of a numeric dtype of numpy that are numbers of double precision; of others all.

    Bounds and cells that were learned may reach beyond: they were found by noisy counts, in octaves.

    Examples
    --------
    >>> held_range(np.dtype("int8")), held_range(np.dtype("float16"))
    ((-128.0, 127.0), (-65504.0, 65504.0))
    >>> held_range(np.dtype("int64"))[1] < 2**63
    True
    """
    if dtype.kind not in "iuf":
        return -np.inf, np.inf
    ends = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    last = float(ends.max)
    return float(ends.min), float(np.nextafter(last, 0)) if last > ends.max else last
