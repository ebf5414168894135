"""Fits on records of several owners, of whom none gives its records, or a sum without noise, to anybody.

A :class:`Federation` goes into ``fit`` in place of ``X``; an :class:`Owner` takes part with three calls, ``open``,
``answer`` and ``close``, each of which takes bytes and returns bytes. See docs/federated.md.
"""

from sinkgen.federated.alignment import Alignment, align
from sinkgen.federated.coordinator import Federation
from sinkgen.federated.flower import Flower, flower_client
from sinkgen.federated.owner import Owner
from sinkgen.federated.transport import Folder, InProcess, serve
from sinkgen.privacy.masks import new_private_key, public_key

__all__ = [
    "Alignment",
    "Federation",
    "Flower",
    "Folder",
    "InProcess",
    "Owner",
    "align",
    "flower_client",
    "new_private_key",
    "public_key",
    "serve",
]
