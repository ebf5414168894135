"""How far a fit has come: what may be shown while it runs."""

from typing import NamedTuple


class FitProgress(NamedTuple):
    """How far a fit has come; public, for it depends on settings alone, never on the records.

    Attributes
    ----------
    what : str
        The stage: "private steps" or "refinements", which release; or "public fits" or "public steps", which work on
        what was released before.
    step, steps : int
        Steps of the stage that are done, and how many there are.
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
