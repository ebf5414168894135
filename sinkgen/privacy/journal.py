"""What an unsaved fit goes on from: its secret key and all that it has released, on disk.

Training is a function of released values and public numbers alone. So a fit that starts again, reads the released
values from a journal, and draws what is not there yet by the same key, ends where the first would have ended: no state
of any optimiser is kept, and no record is looked at for a step that is in the journal.
"""

import hashlib
import json
import os
import struct
import uuid
import zlib
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple

from sinkgen._durable import HAS_LOCKS, append_durably, locked, sync_directory
from sinkgen._version import __version__
from sinkgen.exceptions import BadValueError, FitError

NAME = "unfinished-fit.journal"
_FRAME = struct.Struct("<QI")  # length and CRC of what follows


class Kept(NamedTuple):
    """Which journal on disk is that of a finished fit.

    Attributes
    ----------
    path : str
    charge_id : str
    """

    path: str
    charge_id: str

    def discard(self):
        """Erase the journal; not what lies there instead by now, and not while another fit uses it."""
        with suppress(FileNotFoundError, BlockingIOError), _claimed(os.path.dirname(self.path)):
            _erase(self.path, self.charge_id)


class Unkept:
    """What a fit without checkpoints has for a journal: secrets in memory, and nothing to go on from.

    Parameters
    ----------
    key : bytes
    seed : int, optional
    """

    charge_id = kept = None
    charged = False

    def __init__(self, key, seed=None):
        self.key, self.seed = key, seed

    def recall(self, what, step):
        """None: nothing is kept."""

    def keep(self, what, step, content):
        """Do nothing."""


class Journal:
    """Key, public seed and released values of one fit that is not saved yet; made by :func:`kept_journal`.

    Attributes
    ----------
    key : bytes
        Secret: with it and the values kept here, the noise can be taken off.
    seed : int
        Of the public stream (starting points, latents).
    charge_id : str
        Of the charge in the ledger, fixed before it is made: whether it was is seen there.
    kept : Kept
        What erases it later, when the file is closed.
    charged : bool
        Whether this process has seen to it that the charge is in the ledger.
    """

    def __init__(self, file):
        self._file = file
        self._is_reading = True
        line = file.readline()
        try:
            header = json.loads(line)
            self.key, self.seed = bytes.fromhex(header["key"]), header["seed"]
            self.charge_id, self._settings = header["charge"], header["settings"]
        except (ValueError, KeyError, TypeError):
            raise BadValueError(
                f"{file.name} is damaged, or no journal of a fit; give another checkpoint_dir"
            ) from None
        self.kept = Kept(file.name, self.charge_id)
        self.charged = False
        self._end = len(line)

    def check(self, settings):
        """Raise ValueError, naming what differs, unless the fit was begun with these settings."""
        asked = _digests(settings, self.key)
        differing = [name for name in {**self._settings, **asked} if self._settings.get(name) != asked.get(name)]
        if differing:
            raise BadValueError(
                f"checkpoint_dir holds a fit that is not saved, and was begun with another {', '.join(differing)}. "
                "Finish and save it as begun; or give another checkpoint_dir, or remove "
                f"{self._file.name}: what it spent stays spent"
            )

    def recall(self, what, step):
        """The content that was kept for a step of a release; None from the first on that was not.

        A record that was torn by the crash is dropped, with all behind it: nothing was made of them that left the fit,
        and their steps draw the same noise again.
        """
        if not self._is_reading:
            return None
        record = self._read_record()
        if record is None:
            self._is_reading = False
            self._file.truncate(self._end)
            return None
        head, content = record.split(b"\n", 1)
        if json.loads(head) != [what, step]:
            raise BadValueError(f"{self._file.name} is of another fit; give another checkpoint_dir")
        self._end += _FRAME.size + len(record)
        return content

    def keep(self, what, step, content):
        """Write the content of a step and sync it to disk; OSError if that fails, and then it must not be used."""
        record = json.dumps([what, step]).encode("ascii") + b"\n" + content
        try:
            append_durably(self._file, _FRAME.pack(len(record), zlib.crc32(record)) + record)
        except OSError as error:
            message = f"{error.strerror}: a release could not be kept in {self._file.name}, and was not used. "
            raise OSError(error.errno, f"{message}Make room, and fit again: it goes on from there") from error
        self._end += _FRAME.size + len(record)

    def _read_record(self):
        self._file.seek(self._end)
        frame = self._file.read(_FRAME.size)
        if len(frame) < _FRAME.size:
            return None
        length, checksum = _FRAME.unpack(frame)
        if length > os.fstat(self._file.fileno()).st_size - self._file.tell():
            return None
        record = self._file.read(length)
        return record if zlib.crc32(record) == checksum else None

    def erase(self):
        """Remove the file, and overwrite the key: what is left of it on a disk that writes in place."""
        os.unlink(self._file.name)
        with suppress(OSError):
            self._file.seek(0)
            self._file.write(bytes(4096))
            os.fsync(self._file.fileno())


@contextmanager
def kept_journal(folder, settings, *, key, seed, replaces=None):
    """Context of a fit with a journal: taken up if ``folder`` holds one, else begun.

    Parameters
    ----------
    folder : path-like
        Made if need be, for its owner's eyes only. One fit at a time.
    settings : dict of str to object
        Public settings, which the two must share; by name, compared by their ``repr``. Only hashes are kept.
    key : bytes
        Secret key, if the fit is a new one.
    seed : int
        Public seed, if the fit is a new one.
    replaces : Kept, optional
        A finished fit: this one does not go on from it, and once it has been charged that one is erased.

    Yields
    ------
    Journal
        It stays when the context ends, until its :class:`Kept` is discarded: a process that dies before the fit is
        saved has lost nothing. Where it ends by an error before anything was charged, a new one is erased.

    Raises
    ------
    ValueError
        If the fit was begun with other settings, or the file is damaged.
    RuntimeError
        If another fit uses the folder, or the system has no POSIX file locks.
    OSError
        If the file cannot be written.
    """
    if not HAS_LOCKS:
        raise FitError("checkpoint_dir needs POSIX file locks, which this system lacks")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = os.path.join(os.path.abspath(folder), NAME)
    with ExitStack() as claim:
        try:
            claim.enter_context(_claimed(os.path.dirname(path)))
        except BlockingIOError:
            raise FitError(f"another fit uses checkpoint_dir {folder}; give each fit its own") from None
        with _set_aside(path, replaces) as aside:
            is_new = not os.path.exists(path)
            if is_new:
                header = {"key": key.hex(), "seed": seed, "charge": uuid.uuid4().hex}
                _begin(path, header | {"settings": _digests(settings, key)})
            with open(path, "r+b", buffering=0) as file:
                journal = Journal(file)
                try:
                    journal.check(settings)
                    yield journal
                except BaseException:
                    if is_new and not journal.charged:
                        journal.erase()
                    raise
                finally:
                    aside.is_replaced = journal.charged


class _Aside:
    """Whether what was set aside is no longer needed."""

    is_replaced = False


@contextmanager
def _set_aside(path, replaces):
    """Context in which a finished fit's journal is out of the way; it comes back unless it has been replaced.

    A process that dies within leaves either it alone, under its other name, and then it is taken back by the next fit
    of the folder, or the new one beside it, and then that one stays.
    """
    former, aside = f"{path}.former", _Aside()
    if os.path.exists(former):
        if os.path.exists(path):
            _erase(former)
        else:
            os.replace(former, path)
    if replaces is not None and os.path.exists(path) and _charge_id(path) == replaces.charge_id:
        os.replace(path, former)
    try:
        yield aside
    finally:
        if os.path.exists(former):
            if aside.is_replaced:
                _erase(former)
            elif not os.path.exists(path):
                os.replace(former, path)


def _charge_id(path):
    with open(path, "r+b", buffering=0) as file:
        return Journal(file).charge_id


def _erase(path, charge_id=None):
    """Erase a journal, if it is the one of ``charge_id`` where that is given."""
    with suppress(BadValueError), open(path, "r+b", buffering=0) as file:
        journal = Journal(file)
        if charge_id in (None, journal.charge_id):
            journal.erase()


@contextmanager
def _claimed(folder):
    """Context in which no other fit uses the folder; BlockingIOError if one does."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with locked(descriptor, wait=False):
            yield
    finally:
        os.close(descriptor)


def _begin(path, header):
    """Write the header aside, for its owner's eyes only, and rename it: it is whole or not there."""
    aside = f"{path}.new"
    with suppress(FileNotFoundError):
        os.unlink(aside)
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(json.dumps(header).encode("ascii") + b"\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
    sync_directory(os.path.dirname(path))


def _digests(settings, key):
    """Keyed: one of them is of the records, and must tell of them to nobody who has not the key."""
    texts = {"sinkgen version": __version__, **{name: repr(value) for name, value in settings.items()}}
    return {name: hashlib.blake2b(text.encode(), key=key, digest_size=32).hexdigest() for name, text in texts.items()}
