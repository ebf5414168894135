"""What runs on Dask: on the current ``distributed.Client``, or else on threads."""

import time
import warnings
from contextlib import contextmanager, nullcontext

import dask
from dask.callbacks import Callback
from dask.utils import parse_timedelta

from sinkgen.exceptions import FitError

CHARGED = (
    "Nothing of this pass was released; what the fit was charged, before its first release, stays charged. Fit again "
    "on a running cluster: with checkpoint_dir a fit goes on where it stopped, on the same charge"
)
LOST = f"the connection to the Dask scheduler was lost in the middle of a pass. {CHARGED}"
PATIENCE = "sinkgen.no-workers-timeout"  # a key of Dask's configuration


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


@contextmanager
def on_cluster(client):
    """Context in which tasks run on the cluster of a client, or if that is None on threads.

    Raises
    ------
    RuntimeError
        If the scheduler was lost, or is lost meanwhile.
    """
    if client is None:
        yield
        return
    try:
        if client.status != "running":
            raise FitError(LOST)
        with client.as_current():
            yield
    except Exception as error:
        if client.status != "running":
            raise FitError(LOST) from error
        raise


def compute(value, parts=(), told=None):
    """The value; ``told()`` is called as each of the parts, which it is made of, is there.

    Raises
    ------
    RuntimeError
        If no worker is left, and none comes.
    """
    client = current_client()
    if client is None:
        keys = {part.key for part in parts}
        with Callback(posttask=lambda key, *_: told() if key in keys else None):
            return dask.compute(value)[0]
    whole, *watched = client.compute([value, *parts])
    for _ in _as_completed(client, watched):
        told()
    for _ in _as_completed(client, [whole]):
        pass
    return whole.result()


def current_client():
    """The client of the cluster that Dask computes on; None where it does on threads."""
    return getattr(dask.base.get_scheduler(), "__self__", None)


def _as_completed(client, futures):
    """Yield futures as they are done, as long as there is somebody to do them: Dask waits for ever."""
    from distributed import as_completed

    done, patience = as_completed(futures), _Patience(client)
    while not done.is_empty():
        if done.has_ready():
            yield next(done)
        else:
            patience.look()
            time.sleep(0.005)


class _Patience:
    """How long a pass waits for workers where none is left."""

    EVERY = 5.0  # seconds between looks, each of which is a message to the scheduler and back

    def __init__(self, client):
        self._client, self._next, self._alone_since = client, time.monotonic() + self.EVERY, None
        self._limit = parse_timedelta(dask.config.get(PATIENCE, "10 minutes"))

    def look(self):
        """Warn where nobody is left; raise if that lasts."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self.EVERY
        if self._client.nthreads():
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
            told = f"no worker of the Dask cluster is left: the fit waits {self._limit:g} s for new ones, and then ends"
            warnings.warn(told, stacklevel=2)
        elif now - self._alone_since >= self._limit:
            raise FitError(
                f"no worker of the Dask cluster was left for {self._limit:g} s. {CHARGED}. For more patience: "
                f"dask.config.set({{{PATIENCE!r}: '1 hour'}})"
            )
