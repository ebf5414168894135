"""Local privacy: a record is made noisy where it lies, and no server is trusted.

That costs a lot of records; see docs/local.md for how many. Where owners can be trusted with their own records, see
:mod:`sinkgen.federated`.
"""

from sinkgen.local.randomizer import LocalEstimate, LocalRandomizer

__all__ = ["LocalEstimate", "LocalRandomizer"]
