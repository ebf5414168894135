"""Records behind the wall: what training holds of them.

Training is given a *sealed* source. It can be mapped, and asked about by the mechanism, and nothing else: the object
holds no record and no way to one, so that what a training loop makes can depend on records by releases alone.
"""

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from sinkgen.records import AskedRecords, Records, RecordSource

_SOURCES: "WeakKeyDictionary[SealedSource, RecordSource | AskedRecords]" = WeakKeyDictionary()


class SealedSource:
    """Private records that can be mapped, and that the mechanism alone can read; made by :func:`seal`.

    Examples
    --------
    >>> import torch
    >>> from sinkgen.records import ArraySource
    >>> sealed = seal(ArraySource(torch.zeros(5, 2)))
    >>> [name for name in dir(sealed) if not name.startswith("_")]
    ['map']
    """

    __slots__ = ("__weakref__",)

    def map(self, function: Callable[[Records], Records]) -> "SealedSource":
        """The sealed source of the same records after ``function``, which acts on each record alone.

        The function sees records and must keep none of them; ``tests/privacy/test_wall.py`` shows that what a fit
        makes is the same whatever it saw, once the released values are the same.
        """
        return seal(unseal(self).map(function))


def seal(source: RecordSource | AskedRecords) -> SealedSource:
    """A sealed source of the records of ``source``."""
    sealed = SealedSource()
    _SOURCES[sealed] = source
    return sealed


def unseal(source: "SealedSource | RecordSource") -> Any:
    """The records of a sealed source, for the mechanism; a source that is not sealed, as it is."""
    return _SOURCES[source] if isinstance(source, SealedSource) else source
