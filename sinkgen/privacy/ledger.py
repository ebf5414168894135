"""What was spent, by whom, on disk.

A ledger is charged before anything is released, so it never holds less than what was released. It is an append-only
book: nothing in it is changed or taken back.
"""

import hashlib
import json
import os
import threading
import uuid
import weakref
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import NamedTuple

from sinkgen._durable import HAS_LOCKS, append_durably, locked
from sinkgen._types import Path
from sinkgen._validation import check_real
from sinkgen.accounting import GaussianRelease, PrivacySpent, compose
from sinkgen.accounting.gaussian import check_delta
from sinkgen.accounting.releases import check_releases
from sinkgen.accounting.statement import check_assumptions, round_up
from sinkgen.accounting.unit import RECORD, Unit
from sinkgen.exceptions import BadTypeError, BadValueError, BudgetExceededError, FitError

__all__ = ["LedgerEntry", "PrivacyLedger"]

_VERSION = 1


@dataclass(frozen=True)
class LedgerEntry:
    """One charge: all rows of one fit.

    Parameters
    ----------
    what : str
        What was charged, in words.
    time : str
        When, in UTC, as ISO 8601.
    releases : tuple of GaussianRelease
        Its rows; no data.
    id : str
        Unlike that of any other charge.
    delta : float
        The delta of its own statement.
    assumptions : tuple of str
        What it took as public.
    reproducible_noise : bool
        Whether its noise came from a fixed seed.
    secure_noise : bool
        Whether its noise came from a cipher.
    unit : Unit
        Whom it protects: a record, or a person.

    Raises
    ------
    TypeError, ValueError
        If a field is of the wrong type or out of range.

    Examples
    --------
    >>> entry = PrivacyLedger().charge([GaussianRelease("means", 10.0)], what="survey")
    >>> print(entry.what, round(entry.spent().epsilon, 3))
    survey 0.341
    """

    what: str
    time: str
    releases: Iterable[GaussianRelease]
    id: str
    delta: float = 1e-5
    assumptions: Iterable[str] = ()
    reproducible_noise: bool = False
    secure_noise: bool = False
    unit: Unit = RECORD

    def __post_init__(self):
        for text in (self.what, self.time, self.id):
            if not isinstance(text, str):
                raise BadTypeError(f"what, time and id must be strings, got {type(text).__name__}")
        checked = {
            "releases": check_releases(self.releases),
            "delta": check_delta(self.delta),
            "assumptions": check_assumptions(self.assumptions),
            "reproducible_noise": bool(self.reproducible_noise),
            "secure_noise": bool(self.secure_noise),
            "unit": Unit(**self.unit) if isinstance(self.unit, dict) else self.unit,
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def spent(self) -> PrivacySpent:
        """Return what this charge alone costs.

        Returns
        -------
        PrivacySpent

        Examples
        --------
        >>> entry = PrivacyLedger().charge([GaussianRelease("means", 10.0)])
        >>> round(entry.spent().epsilon, 3)
        0.341
        """
        names = ("assumptions", "reproducible_noise", "secure_noise", "unit")
        return PrivacySpent.of(self.releases, self.delta, **{name: getattr(self, name) for name in names})


class PrivacyLedger:
    """What was spent on one data set, by any number of fits.

    Give one ledger to all that touch the same records: generators, folds, settings of a search. Each fit charges it
    once, with all its releases, before the first of them; :meth:`total` says what they cost together.

    Parameters
    ----------
    path : path-like, optional
        File to keep the charges in, as lines of JSON; it is made by the first charge. Without it they live in memory,
        and only in the process that made the ledger.
    epsilon, delta : float, optional
        Budget, both or neither: a charge that would exceed it is refused.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong type or out of range, or only one of ``epsilon`` and ``delta`` is given.
    RuntimeError
        If a path is given on a system without POSIX file locks.

    Notes
    -----
    *What folds cost.* Every fit is a spend, also in cross-validation and search. Five folds of epsilon 10 each (delta
    1e-5) cost 28.4 together: not 10, for each of them looked at the records, and not 50, for their noise is
    independent and composition takes account of that (five of epsilon 1 cost 2.44). A final refit is a sixth. The
    ledger does not know which fold leaves out which record, and counts all of them for every record.

    *Copies.* ``sklearn.base.clone``, ``copy`` and pickling within a process all give the same ledger, never a new one.
    With a path, the ledger may be used from any number of threads and processes (``n_jobs=2``): every charge locks the
    file and reads it again. Without one, using it in another process is an error, never a silent zero.

    *The file.* Each line holds the SHA-256 of the line before and of itself, and is synced to disk before
    :meth:`charge` returns. A line that is damaged, missing or torn in the middle (a crash within ``charge``; then
    nothing was released on it) makes reading and charging fail with its number; nothing is mended by itself. If writing
    fails, the file is cut back to what it was and nothing counts as charged. Whole lines cut off at the end are noticed
    only by ledgers that had seen them: keep the file where nobody shortens it.

    Examples
    --------
    >>> ledger = PrivacyLedger(epsilon=3.0, delta=1e-5)
    >>> rows = [GaussianRelease("points", noise_multiplier=20.0, steps=20)]
    >>> for fold in range(5):
    ...     entry = ledger.charge(rows, what=f"fold {fold}")
    >>> len(ledger), round(ledger.total(delta=1e-5).epsilon, 2)
    (5, 1.99)
    >>> ledger.charge([GaussianRelease("means", noise_multiplier=1.0)])
    Traceback (most recent call last):
    ...
    sinkgen.exceptions.BudgetExceededError: charging 'fit' would bring ...
    """

    def __init__(self, path: Path | None = None, epsilon: float | None = None, delta: float | None = None) -> None:
        if (epsilon is None) != (delta is None):
            raise BadValueError("epsilon and delta make a budget together: give both or neither")
        if epsilon is not None:
            epsilon, delta = check_real("epsilon", epsilon, low=0, include_low=False), check_delta(delta)
        self.path = None if path is None else os.path.abspath(os.fspath(path))
        self.epsilon = epsilon
        self.delta = delta
        self._book = _MemoryBook(home=os.getpid()) if path is None else _FileBook(self.path)
        self._key = uuid.uuid4().hex
        _LIVE[self._key] = self

    def charge(
        self,
        releases: Iterable[GaussianRelease],
        *,
        what: str = "fit",
        delta: float = 1e-5,
        assumptions: Iterable[str] = (),
        reproducible_noise: bool = False,
        secure_noise: bool = False,
        unit: Unit = RECORD,
        id: str | None = None,
    ) -> LedgerEntry:
        """Enter all releases of one fit, before the first of them.

        Parameters
        ----------
        releases : iterable of GaussianRelease
            All its rows, each with all its steps.
        what : str
            What is charged, in words.
        delta : float
            The delta of the fit's own statement; the ledger's budget and :meth:`total` have theirs.
        assumptions : iterable of str
            What the fit takes as public.
        reproducible_noise : bool
            Whether its noise comes from a fixed seed.
        secure_noise : bool
            Whether its noise comes from a cipher.
        unit : Unit
            Whom the fit protects: a record, or a person. All charges of a ledger protect the same.
        id : str, optional
            Of a fit that goes on after a crash: if the ledger holds a charge of this id already, it is returned, and
            nothing is charged. By default a new one.

        Returns
        -------
        LedgerEntry

        Raises
        ------
        BudgetExceededError
            If the ledger has a budget and this charge would exceed it.
        TypeError, ValueError
            If a parameter is of the wrong type or out of range, the file is damaged, or a charge of this ``id`` has
            other releases, or the ledger's charges protect records and this one persons, or the other way round.
        RuntimeError
            If the ledger has no path and this is not its process.
        OSError
            If the file cannot be written. Whatever is raised, nothing was charged.

        Examples
        --------
        >>> PrivacyLedger().charge([GaussianRelease("means", 10.0)], what="survey").what
        'survey'
        """
        entry = LedgerEntry(
            what=what,
            time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            releases=releases,
            id=uuid.uuid4().hex if id is None else id,
            delta=delta,
            assumptions=assumptions,
            reproducible_noise=reproducible_noise,
            secure_noise=secure_noise,
            unit=unit,
        )
        return self._book.append(entry, self._check)

    def total(self, delta: float = 1e-5) -> PrivacySpent:
        """Return what all charges cost together, composed by one accountant.

        Parameters
        ----------
        delta : float
            Within (0, 1).

        Returns
        -------
        PrivacySpent

        Raises
        ------
        ValueError
            If ``delta`` is out of range or the file is damaged.
        RuntimeError
            If the ledger has no path and this is not its process.

        Examples
        --------
        >>> ledger = PrivacyLedger()
        >>> for survey in ("spring", "autumn"):
        ...     entry = ledger.charge([GaussianRelease("means", 10.0)], what=survey)
        >>> round(ledger.total().epsilon, 3)
        0.497
        """
        return _statement(self._book.entries(), delta)

    def _check(self, entries):
        if len({entry.unit.neighbours for entry in entries}) > 1:
            raise BadValueError(
                f"the ledger is of another neighbouring relation ({entries[0].unit.neighbours}) than this fit "
                f"({entries[-1].unit.neighbours}): they do not add up, so keep a ledger for each; nothing was charged"
            )
        if self.epsilon is None or self.delta is None:  # they are given together
            return
        after = compose(_rows(entries), self.delta)
        if after > self.epsilon:
            raise BudgetExceededError(
                f"charging {entries[-1].what!r} would bring the ledger to epsilon {after:.4g} at delta {self.delta:g}, "
                f"over its budget of {self.epsilon:g}; nothing was charged"
            )

    def __iter__(self):
        return iter(self._book.entries())

    def __len__(self):
        return len(self._book.entries())

    def __bool__(self):
        return True  # an empty ledger is a ledger: `if ledger:` must not lose charges

    def __repr__(self):
        given = {"path": self.path, "epsilon": self.epsilon, "delta": self.delta}
        return f"PrivacyLedger({', '.join(f'{key}={value!r}' for key, value in given.items() if value is not None)})"

    def __str__(self):
        entries = self._book.entries()
        lines = [f"Privacy ledger, {len(entries)} charge{'' if len(entries) == 1 else 's'}."]
        if self.epsilon is not None:
            lines.append(f"Budget: epsilon = {self.epsilon:g}, delta = {self.delta:g}.")
        for entry in entries:
            epsilon = round_up(entry.spent().epsilon)
            lines.append(f"{entry.time}  {entry.what}: epsilon = {epsilon}, delta = {entry.delta:g}")
        return "\n".join([*lines, "", "All charges together:", str(_statement(entries, self.delta or 1e-5))])

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def __sklearn_clone__(self):
        return self

    def __reduce__(self):
        return _restore, (self._key, self.path, self.epsilon, self.delta, self._book.seen)


def _rows(entries):
    return [release for entry in entries for release in entry.releases]


def _statement(entries, delta):
    return PrivacySpent.of(
        _rows(entries),
        delta,
        assumptions=dict.fromkeys(text for entry in entries for text in entry.assumptions),  # each once, in order
        reproducible_noise=any(entry.reproducible_noise for entry in entries),
        secure_noise=bool(entries) and all(entry.secure_noise for entry in entries),
        unit=max((entry.unit for entry in entries), key=lambda unit: unit.max_rows, default=RECORD),
    )


# Ledgers alive in this process, so that a pickle loaded beside its original is the original and not a second book that
# counts apart. Weak: it keeps no ledger alive, and holds no charge.
_LIVE: "weakref.WeakValueDictionary[str, PrivacyLedger]" = weakref.WeakValueDictionary()


def _restore(key, path, epsilon, delta, seen):
    """Return the ledger that was pickled if it lives here; else one on the same file, or one that refuses all use."""
    ledger = _LIVE.get(key)
    if ledger is None:
        fresh = PrivacyLedger(path, epsilon, delta)
        fresh._key = key
        fresh._book = _MemoryBook(home=None) if path is None else _FileBook(path, seen)
        ledger = _LIVE.setdefault(key, fresh)
    return ledger


# ---------------------------------------------------------------------------------------------------------------------
# Where charges are kept: a book has `entries()` and `append(entry, check)`, which returns the entry of that id that the
# book then holds; `check` is given all entries with a new one and raises to refuse it. `seen` goes into a pickle.
# ---------------------------------------------------------------------------------------------------------------------


def _find(entries, entry):
    """Return the entry of the same id, or None."""
    former = next((other for other in entries if other.id == entry.id), None)
    if former is not None and former.releases != entry.releases:
        raise BadValueError("the ledger holds a charge of this id with other releases")
    return former


class _MemoryBook:
    """Charges in the memory of the process ``home``."""

    seen = None

    def __init__(self, home):
        self._home = home
        self._entries: tuple[LedgerEntry, ...] = ()
        self._lock = threading.Lock()

    def entries(self):
        if os.getpid() != self._home:
            raise FitError(
                "this ledger is kept in memory only and was copied to another process, or outlived by its pickle: "
                "its charges are not here. Give the ledger a path, PrivacyLedger(path=...)"
            )
        return self._entries

    def append(self, entry, check):
        self.entries()  # in a forked process the lock might never open
        with self._lock:
            former = _find(self._entries, entry)
            if former is None:
                check((*self._entries, entry))
                self._entries = (*self._entries, entry)
            return former or entry


class _Tail(NamedTuple):
    """Where a file ends: the number of its lines, and the hash of the last."""

    lines: int
    digest: str


_EMPTY = _Tail(0, "")


class _FileBook:
    """Charges in a file of JSON lines, each with the hash of all lines up to it."""

    def __init__(self, path, seen=_EMPTY):
        if not HAS_LOCKS:
            raise FitError("a ledger with a path needs POSIX file locks, which this system lacks")
        self.path = path
        self.seen = seen  # the end of the file when last read, which must stay a part of it; set only under the lock

    def entries(self):
        seen = self.seen
        try:
            with open(self.path, "rb") as file, locked(file, shared=True):
                return self._read(file)[0]
        except FileNotFoundError:
            return self._verify(b"", seen)[0]

    def append(self, entry, check):
        with open(self.path, "a+b", buffering=0) as file, locked(file):
            entries, tail = self._read(file)
            former = _find(entries, entry)
            if former is not None:
                return former
            check((*entries, entry))
            line, digest = _write_line(entry, tail.digest)
            try:
                append_durably(file, line)
            except OSError as error:
                message = f"{error.strerror}: ledger {self.path} could not be written; nothing was charged or released"
                raise OSError(error.errno, message) from error
            self.seen = _Tail(tail.lines + 1, digest)
            return entry

    def _read(self, file):
        file.seek(0)
        entries, self.seen = self._verify(file.read(), self.seen)
        return entries, self.seen

    def _verify(self, content, seen):
        """Return the entries of the file's ``content``, and its tail; ValueError names the first line that is wrong."""
        entries, tails = [], [_EMPTY]
        for number, line in enumerate(content.splitlines(keepends=True), start=1):
            try:
                entry, digest = _read_line(line, tails[-1].digest)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise BadValueError(f"ledger {self.path}, line {number}: {_diagnosis(line)}") from error
            entries.append(entry)
            tails.append(_Tail(number, digest))
        if seen not in tails:
            raise BadValueError(f"ledger {self.path}, line {len(tails)}: charges seen earlier are missing or changed")
        return tuple(entries), tails[-1]


def _write_line(entry, previous):
    record = {"version": _VERSION} | asdict(entry)
    record["releases"] = [release.to_dict() for release in entry.releases]
    digest = _digest(record, previous)
    return _canonical(record | {"hash": digest}) + b"\n", digest


def _read_line(line, previous):
    record = json.loads(line)
    digest = record.pop("hash")
    if line != _canonical(record | {"hash": digest}) + b"\n" or digest != _digest(record, previous):
        raise BadValueError("hash")
    if record.pop("version") != _VERSION:
        raise BadValueError("version")
    releases = tuple(GaussianRelease.from_dict(release) for release in record.pop("releases"))
    return LedgerEntry(releases=releases, **record), digest


def _canonical(record):
    return json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _digest(record, previous):
    return hashlib.sha256(previous.encode("ascii") + _canonical(record)).hexdigest()


def _diagnosis(line):
    if not line.endswith(b"\n"):
        return (
            "incomplete. Either its charge was interrupted, and nothing was released on it, or the file was cut. "
            "Remove the line by hand if it was the former"
        )
    return "damaged, or not written after the line before it, or by another version; what was spent is unknown"
