"""What runs on Dask: on the current ``distributed.Client``, or else on threads."""

from contextlib import nullcontext

import dask
from dask.callbacks import Callback

LOST = (
    "the connection to the Dask scheduler was lost in the middle of a pass. What this fit may release was charged "
    "before its first pass and stays charged; nothing of this pass was released. Fit again on a running cluster"
)


def futures(collection):
    """What is in the memory of a cluster, or comes there, of a Dask collection."""
    try:
        from distributed import futures_of
    except ImportError:  # Dask's threads alone
        return []
    return futures_of(collection)


def held_to(worker):
    """Context in which tasks prefer a worker; not more, for where it has died, another has to."""
    return nullcontext() if worker is None else dask.annotate(workers=[worker], allow_other_workers=True)


def persist(value):
    """The value, of tasks that are computed once and kept where they are."""
    return dask.persist(value)[0]


def compute(value, parts=(), told=None):
    """The value; ``told()`` is called as each of the parts, which it is made of, is there."""
    client = current_client()
    try:
        if client is None:
            keys = {part.key for part in parts}
            with Callback(posttask=lambda key, *_: told() if key in keys else None):
                return dask.compute(value)[0]
        whole, *watched = client.compute([value, *parts])
        for _ in _as_completed(watched):
            told()
        return whole.result()
    except Exception as error:
        if type(error).__module__.split(".")[0] == "distributed" and _is_lost():
            raise RuntimeError(LOST) from error
        raise


def current_client():
    """The client of the cluster that Dask computes on; None where it does on threads."""
    return getattr(dask.base.get_scheduler(), "__self__", None)


def _as_completed(watched):
    from distributed import as_completed

    return as_completed(watched)


def _is_lost():
    from distributed import get_client

    try:
        return get_client().status != "running"
    except ValueError:  # there is none any more
        return True
