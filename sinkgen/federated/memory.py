"""What an owner must not forget while a fit goes on: its secret of that fit, what it was asked, and what it told."""

import json
import os
from contextlib import contextmanager
from pathlib import Path

from sinkgen._durable import HAS_LOCKS, append_durably, locked
from sinkgen.exceptions import BadValueError, FitError
from sinkgen.privacy.streams import new_key

READABLE = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.")


class Memory:
    """Of one owner and one session; in memory, or also in a file from which another process goes on.

    Attributes
    ----------
    secret : bytes
        Of which noise and masks are made; of this owner and session alone.
    invitation : str
        Digest of what was agreed on.
    nonce : str
        Public; fresh at each opening, so that masks are, whatever the coordinator calls the session.
    nonces : dict of str to str, or None
        Of all owners, once a question has told them.
    """

    def __init__(self, secret, invitation, nonce, path=None):
        self.secret, self.invitation, self.nonce = secret, invitation, nonce
        self.nonces = None
        self._questions: dict[tuple, str] = {}
        self._rolls: dict[tuple, list] = {}
        self._path, self._end = path, 0

    @classmethod
    def of(cls, folder, owner, session, invitation):
        """A new memory; or what ``folder`` holds of the session.

        Raises
        ------
        ValueError
            If the folder's is of another owner or invitation, or is damaged.
        RuntimeError
            If the system has no POSIX file locks.
        """
        if folder is None:
            return cls(new_key(), invitation, new_key().hex())
        if not HAS_LOCKS:
            raise FitError("folder needs POSIX file locks, which this system lacks")
        if not session or not set(session) <= READABLE or session.startswith("."):
            raise BadValueError("a session's name is none that a file can have")
        os.makedirs(folder, mode=0o700, exist_ok=True)
        path = Path(folder) / f"{session}.session"
        with _locked_file(path) as file:
            lines, end = _lines(file)
            if not lines:
                new = {"owner": owner, "secret": new_key().hex(), "invitation": invitation, "nonce": new_key().hex()}
                append_durably(file, _line(new))
                lines, end = [new], len(_line(new))
            file.truncate(end)
        head = lines[0]
        if (head["owner"], head["invitation"]) != (owner, invitation):
            raise BadValueError("a fit of this session was agreed on otherwise, or by another owner, in this folder")
        own = cls(bytes.fromhex(head["secret"]), invitation, head["nonce"], path)
        for line in lines[1:]:
            own._learn(line)
        own._end = end
        return own

    def keep_nonces(self, nonces):
        """Those of all owners; ValueError if others were told before."""
        if self.nonces is None:
            self._keep({"nonces": nonces})
        elif self.nonces != nonces:
            raise BadValueError("a question comes with other nonces than the first: an owner was opened anew")

    def keep_question(self, place, digest):
        """That a step's noise meets this question; ValueError if it has met another."""
        if self._questions.get(place, digest) != digest:
            raise BadValueError(f"step {place[1]} of {place[0]!r} was asked before, with another question")
        if place not in self._questions:
            self._keep({"place": place, "question": digest})

    def keep_roll(self, place, present):
        """For whom a step is summed; ValueError if it was for others, or was not asked."""
        if place not in self._questions:
            raise BadValueError(f"step {place[1]} of {place[0]!r} was not asked, and is closed")
        if self._rolls.get(place, present) != present:
            raise BadValueError(f"step {place[1]} of {place[0]!r} was closed before, with another roll")
        if place not in self._rolls:
            self._keep({"place": place, "roll": present})

    def _keep(self, line):
        """Before anything is answered: what is not on the disk was not said."""
        if self._path is not None:
            with _locked_file(self._path) as file:
                if file.seek(0, os.SEEK_END) != self._end:
                    raise FitError("another process answers for this owner")
                append_durably(file, _line(line))
                self._end += len(_line(line))
        self._learn(line)

    def _learn(self, line):
        if "nonces" in line:
            self.nonces = line["nonces"]
        elif "question" in line:
            self._questions[tuple(line["place"])] = line["question"]
        else:
            self._rolls[tuple(line["place"])] = line["roll"]


@contextmanager
def _locked_file(path):
    with open(path, "r+b", buffering=0, opener=_for_its_owner) as file, locked(file):
        yield file


def _for_its_owner(path, flags):
    return os.open(path, flags | os.O_CREAT, 0o600)


def _line(content):
    return json.dumps(content).encode("ascii") + b"\n"


def _lines(file):
    """What was written whole, and where that ends: a line that a crash tore was never acted on."""
    file.seek(0)
    whole = file.read().rpartition(b"\n")[0]
    try:
        lines = [json.loads(line) for line in whole.split(b"\n")] if whole else []
    except ValueError:
        raise BadValueError("the folder holds a session that is damaged") from None
    return lines, len(whole) + bool(whole)
