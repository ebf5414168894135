"""Files that survive a crash: what was written is on the disk before anyone relies on it, or is not there at all."""

import os
import secrets
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

HAS_LOCKS = fcntl is not None


@contextmanager
def locked(file, *, shared=False, wait=True):
    """Hold a POSIX lock on an open file or descriptor; BlockingIOError if another holds it and ``wait`` is false."""
    operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    fcntl.flock(file, operation if wait else operation | fcntl.LOCK_NB)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)  # closing alone leaves the lock to a process forked meanwhile


def append_durably(file, content):
    """Write ``content`` at the end and sync it to disk; whatever fails, the file is cut back to its former length."""
    former = file.seek(0, os.SEEK_END)
    try:
        left = memoryview(content)
        while left:
            left = left[file.write(left) :]
        os.fsync(file.fileno())
        if former == 0:
            sync_directory(os.path.dirname(file.name))
    except BaseException:
        with suppress(OSError):  # the error that matters is the first
            os.ftruncate(file.fileno(), former)
            os.fsync(file.fileno())
        raise


def sync_directory(path):
    """Make a new file's name as durable as its content."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replaced(path):
    """Give a path beside ``path`` to write a file or folder to; it takes the place of ``path`` once it is on the disk.

    Whatever interrupts the writing leaves what was at ``path`` as it was, and nothing beside it. What is no file, such
    as a pipe, is written in place.

    Parameters
    ----------
    path : path-like
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not (target.is_file() or target.is_dir()):
        yield target
        return
    aside = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    try:
        yield aside
        if aside.is_file():
            with aside.open("rb+") as file:
                os.fsync(file.fileno())
        os.replace(aside, target)
        if HAS_LOCKS:  # where folders can be opened
            sync_directory(target.parent)
    finally:
        if aside.is_dir():
            shutil.rmtree(aside, ignore_errors=True)
        aside.unlink(missing_ok=True)


@contextmanager
def room_for(folder, size):
    """Context in which ``size`` bytes of the disk of ``folder`` are held free, for a file that is written after it.

    Parameters
    ----------
    folder : path-like
        There.
    size : int

    Raises
    ------
    OSError
        If nothing can be written there, or not so much.
    """
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:  # of no name: whatever ends the process frees it
        left = memoryview(bytes(size))
        while left:
            left = left[file.write(left) :]
        os.fsync(file.fileno())
        yield
