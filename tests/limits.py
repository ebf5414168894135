"""Ends of tests that might not end."""

import signal
from contextlib import contextmanager


@contextmanager
def time_limit(seconds):
    """Turn what would hang into a failure."""

    def expire(*_):
        raise AssertionError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
