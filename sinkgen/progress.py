"""How far a fit has come: what may be shown while it runs."""

import threading
import warnings
from contextlib import suppress
from typing import NamedTuple

from tqdm import tqdm

TICK = 1.0  # seconds between looks at a bar's clock


class FitProgress(NamedTuple):
    """How far a fit has come; public, for it depends on settings and on what was released alone.

    Which releases a table is asked for, and so which passes there are, may follow from the released number of records.

    Attributes
    ----------
    what : str
        The stage: "private steps" or "refinements", which release; or "public fits" or "public steps", which work on
        what was released before. Or a pass over records that are read anew each time, such as "pass: check" or "pass:
        bounds"; what it is for stands in the privacy statement.
    step, steps : int
        Steps of the stage that are done, and how many there are. The steps of a pass are the Parquet files, or the
        partitions of a Dask collection, whose number is taken as public; a pass over anything else is one step.
    epsilon : float
        About what was released so far, on the scale of the whole fit's epsilon. All of it was charged at the start.

    Examples
    --------
    >>> import numpy as np
    >>> from sinkgen import DPSinkhornGenerator
    >>> seen = []
    >>> gen = DPSinkhornGenerator(epsilon=1, steps=3, schema=(-4, 4), callback=seen.append)
    >>> gen = gen.fit(np.random.default_rng(0).normal(size=(500, 2)))
    >>> [(progress.what, progress.step, progress.steps) for progress in seen]
    [('private steps', 0, 3), ('private steps', 1, 3), ('private steps', 2, 3), ('private steps', 3, 3)]
    >>> 0 < seen[1].epsilon < seen[-1].epsilon <= 1
    True
    """

    what: str
    step: int
    steps: int
    epsilon: float


class Progress:
    """Shows how far a fit is, and tells its callback.

    As a context it keeps the clock of the bar moving, also where a step is a whole pass over the records: by the time
    alone, for what is done of such a step is not public.

    Parameters
    ----------
    verbose : int
        Whether bars are shown.
    callback : callable, optional
        Takes a :class:`FitProgress`.
    """

    def __init__(self, verbose, callback=None):
        self._verbose, self._callback = verbose, None if callback is None else _Unfailing(callback)
        self._bar, self._ended = None, threading.Event()
        self.follow(lambda: "check", lambda: 0.0)

    def __enter__(self):
        if self._verbose:
            threading.Thread(target=self._tick, daemon=True).start()
        return self

    def __exit__(self, *error):
        self._ended.set()
        if self._callback is not None and error[0] is None:
            self._callback.tell()

    def _tick(self):
        while not self._ended.wait(TICK):
            if self._bar is not None:
                self._bar.refresh()

    def follow(self, releasing, epsilon):
        """From now on, ask ``releasing()`` what a pass is for, and ``epsilon()`` what is spent so far."""
        self._releasing, self._epsilon = releasing, epsilon

    def steps(self, what, *, lasting=True):
        """Make what wraps the steps of a stage, which have a length; a bar that is not ``lasting`` goes at its end."""

        def shown(steps):
            off = not (self._verbose and len(steps))
            self._bar = bar = _Bar(steps, desc=what, leave=lasting, disable=off)
            return bar if self._callback is None else watched(bar, what, self._callback, self._epsilon)

        return shown

    def parts(self, parts):
        """Wrap the parts of one pass over the records; their number is public."""
        return self.steps(f"pass: {self._releasing()}", lasting=False)(parts)


def watched(steps, what, callback, epsilon):
    """Yield from ``steps``, which has a length, and tell ``callback`` at the start and after each.

    Parameters
    ----------
    steps : sized iterable
    what : str
    callback : callable
        Takes a :class:`FitProgress`.
    epsilon : callable
        What is spent so far.
    """
    if len(steps):
        callback(FitProgress(what, 0, len(steps), epsilon()))
    for done, step in enumerate(steps, start=1):
        yield step
        callback(FitProgress(what, done, len(steps), epsilon()))


class _Unfailing:
    """A callback whose errors end no fit whose budget is spent: it is not called again then, and a warning says so."""

    def __init__(self, callback):
        self._callback, self._error = callback, None

    def __call__(self, progress):
        if self._error is not None:
            return
        try:
            self._callback(progress)
        except Exception as error:
            self._error = error

    def tell(self):
        """Warn, when all is done: a warning that is made an error must not lose what has been paid for."""
        if self._error is not None:
            message = f"callback raised {type(self._error).__name__} and was not called again"
            warnings.warn(message, RuntimeWarning, stacklevel=4)  # the caller of fit


class _Bar(tqdm):
    """A bar that nobody may read any more, as after ``| head``: that must end no fit whose budget is spent."""

    def display(self, *arguments, **more):
        """Draw, if that can be done."""
        with suppress(OSError):
            return super().display(*arguments, **more)

    def clear(self, *arguments, **more):
        """Go, if that can be done."""
        with suppress(OSError):
            super().clear(*arguments, **more)

    def close(self):
        """End, if that can be done."""
        with suppress(OSError):
            super().close()
