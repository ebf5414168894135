"""Files that survive a crash: what was written is on the disk before anyone relies on it, or is not there at all."""

import os
from contextlib import contextmanager, suppress

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
