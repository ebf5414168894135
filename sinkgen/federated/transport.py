"""Ways for messages: within a process, and through a folder."""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path as Folders

from sinkgen._durable import replaced
from sinkgen._types import Path
from sinkgen.federated.owner import Owner


class InProcess:
    """Owners in this process, for trials.

    Parameters
    ----------
    owners : iterable of Owner

    Examples
    --------
    >>> InProcess([])({"north": b"hello"})
    {}

    See :class:`Federation` for a fit.
    """

    def __init__(self, owners: Iterable[Owner]) -> None:
        self._owners = {owner.name: owner for owner in owners}

    def __call__(self, messages: Mapping[str, bytes]) -> dict[str, bytes]:
        """The owners' replies."""
        return {name: self._owners[name].reply(message) for name, message in messages.items() if name in self._owners}


class Folder:
    """A folder that the coordinator and all owners can reach, such as a synchronised one.

    Parameters
    ----------
    path : path-like
    patience : float
        Seconds that a round waits for owners.
    every : float
        Seconds between looks.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as path:
    ...     Folder(path, patience=0.01)({"north": b"hello"})
    {}
    """

    def __init__(self, path: Path, *, patience: float = 600.0, every: float = 0.05) -> None:
        self._path, self._patience, self._every = Folders(path), patience, every

    def __call__(self, messages: Mapping[str, bytes]) -> dict[str, bytes]:
        """The replies of those who answer in time."""
        waiting = {}
        for name, message in messages.items():
            place = self._path / name
            place.mkdir(parents=True, exist_ok=True)
            stem = hashlib.sha256(message).hexdigest()
            with replaced(place / f"{stem}.message") as aside:
                aside.write_bytes(message)
            waiting[name] = place / f"{stem}.reply"
        replies, until = {}, time.monotonic() + self._patience
        while waiting and time.monotonic() < until:
            for name in [name for name, reply in waiting.items() if reply.exists()]:
                replies[name] = waiting.pop(name).read_bytes()
            time.sleep(self._every if waiting else 0)
        return replies


def serve(owner: Owner, path: Path, until: Callable[[], bool], *, every: float = 0.05) -> None:
    """Reply to the messages that come to a :class:`Folder`, for one owner.

    Parameters
    ----------
    owner : Owner
    path : path-like
    until : callable
        Whether it is time to stop; asked between looks.
    every : float
        Seconds between looks.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from sinkgen import federated
    >>> key = federated.new_private_key()
    >>> owner = Owner("north", np.zeros((5, 2)), key=key, peers={"north": federated.public_key(key)}, epsilon=1)
    >>> with tempfile.TemporaryDirectory() as path:
    ...     serve(owner, path, until=lambda: True)
    """
    place = Folders(path) / owner.name
    while not until():
        for message in sorted(place.glob("[0-9a-f]*.message")):  # not those that are being written
            with replaced(message.with_suffix(".reply")) as aside:
                aside.write_bytes(owner.reply(message.read_bytes()))
            message.unlink()
        time.sleep(every)
