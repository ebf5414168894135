"""Names for what many public signatures take."""

from os import PathLike

import numpy as np

Path = str | PathLike[str]
RandomState = int | np.random.RandomState | np.random.Generator | None
