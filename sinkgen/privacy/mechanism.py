"""The one door from private to public: a bounded statistic, Gaussian noise, a charge.

A *query* says how much one record can move its value (its ``sensitivity``, in the Euclidean norm); the mechanism
adds noise of ``noise_multiplier * sensitivity`` to every coordinate. What leaves here may be looked at by anyone;
nothing else that depends on the records leaves at all.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.stats import norm

from sinkgen.accounting.unit import RECORD
from sinkgen.exceptions import BadValueError, FitError
from sinkgen.inference.counts import NoisyCounts
from sinkgen.privacy.groups import Secret, bound
from sinkgen.privacy.journal import Unkept
from sinkgen.privacy.query import Counting, Query
from sinkgen.privacy.sealed import SealedSource, seal, unseal
from sinkgen.privacy.streams import Streams, new_key
from sinkgen.records import AskedRecords, Draw, Records, RecordSource


class ThresholdedCounts(NamedTuple):
    """Labels whose noisy count passed the threshold, in sorted order, and those counts."""

    labels: list
    counts: torch.Tensor


class GaussianMechanism:
    """Releases queries on private records with Gaussian noise, within what was charged beforehand.

    Parameters
    ----------
    releases : sequence of GaussianRelease
        All that will be released, one row each: noise multiplier, sampling rate, number of steps.
    delta : float
        At which the fit's own statement is made.
    ledger : PrivacyLedger, optional
        Is charged with all rows at once, here, before anything is released; a ledger with a budget may refuse.
    noise_seed : int, optional
        Makes noise and sampling reproducible, and so removable by whoever knows the seed. By default both come from a
        key of the operating system's entropy, of which every step of every release derives two of its own.
    secure_noise : bool
        Whether noise and sampling come from a cipher, see :class:`~sinkgen.privacy.streams.Streams`.
    assumptions : sequence of str
        What is taken as public, for the ledger.
    unit : Unit
        Where it is a person, sources have to be bounded, by :meth:`bound`, before they are asked anything.
    journal : Journal, optional
        Holds the key, and what an earlier process released of this fit: that is read again, at no cost, and what is
        released now is kept there before it is returned.

    Notes
    -----
    Sum queries at sampling rate 1 are the Gaussian mechanism, otherwise the Poisson-sampled one [1]_, under addition
    or removal of one record; or of one person with all records, of which :meth:`bound` makes sure that they move a
    value by no more than the query's ``reach``.

    References
    ----------
    .. [1] Mironov, Talwar, Zhang, "Renyi Differential Privacy of the Sampled Gaussian Mechanism", arXiv 1908.10530.
    """

    def __init__(
        self, releases, delta=1e-5, *, ledger=None, noise_seed=None, secure_noise=False, assumptions=(), unit=RECORD,
        journal=None,
    ):  # fmt: skip
        self._rows = {row.what: row for row in releases}
        if len(self._rows) != len(releases):
            raise BadValueError("two releases bear the same name")
        self._left = {row.what: row.steps for row in releases}
        self._releasing = None
        self._unit, self._n_persons, self._most = unit, None, unit.max_rows
        self._journal = Unkept(new_key(noise_seed)) if journal is None else journal
        self._streams = Streams(self._journal.key, secure=secure_noise)
        if ledger is not None:
            ledger.charge(
                tuple(releases), delta=delta, assumptions=assumptions, reproducible_noise=noise_seed is not None,
                secure_noise=secure_noise, unit=unit, id=self._journal.charge_id,
            )  # fmt: skip
        self._journal.charged = True
        self._counts: list[NoisyCounts] = []

    def bound(self, source, unit=None):
        """The sealed source of the same records, in which the part of each person is bounded; itself for records.

        Parameters
        ----------
        source : SealedSource
            Where the unit is a person, of records that have the ids of their groups.
        unit : Unit, optional
            In place of that of the charge, where releases choose it: of no more rows than that, and of no fewer than
            of any source that was bounded before, which this mechanism may still be asked of.

        Returns
        -------
        SealedSource
        """
        if not self._unit.is_person:
            return source
        if unit is not None:
            if not unit.is_person or unit.max_rows > self._most:
                raise FitError("more rows of a person than were charged for")
            if self._n_persons is not None and unit.max_rows < self._unit.max_rows:
                raise FitError("fewer rows of a person than count in a source before")
            self._unit = unit
        bounded, self._n_persons = bound(unseal(source), self._unit, Secret(*self._streams.persons()))
        return seal(bounded)

    def release(self, what: str, query: Query, source: SealedSource | RecordSource) -> Any:
        """The noisy value of ``query`` on one batch of ``source``, as one step of the charged row ``what``.

        Parameters
        ----------
        what : str
            Name of a charged row that has steps left.
        query : Query
        source : RecordSource

        Returns
        -------
        object
            What the query's ``read`` makes of the noisy value.

        Raises
        ------
        RuntimeError
            If the row was not charged, or all its steps are used; nothing is released then.
        """
        row, step = self._spend(what)
        scale = row.noise_multiplier * query.reach(self._unit.max_rows)
        kept = self._journal.recall(what, step)
        if kept is None:
            self._require_bounded()
            value = self._noisy(what, step, query, unseal(source), scale)
            self._journal.keep(what, step, value.numpy().tobytes())
        else:
            value = torch.frombuffer(bytearray(kept), dtype=torch.float64).clone()  # aligned as the first was
        if isinstance(query, Counting):
            records = unseal(source)
            factor = records.noise_factor if isinstance(records, AskedRecords) else 1.0
            self._counts += query.counted(what, value, factor * scale)
        return query.read(value)

    @property
    def unit(self):
        """Public: what counts of a person."""
        return self._unit

    @property
    def counts(self) -> tuple[NoisyCounts, ...]:
        """Public: what was released so far of how many records lie in cells of columns, with its noise."""
        return tuple(self._counts)

    def _noisy(self, what, step, query, records, scale):
        if isinstance(records, AskedRecords):
            return records.ask(what, step, query)
        value = query.over(records, self._draw(what, step))
        return value + self._noise(what, step, value.shape, scale)

    def _draw(self, what, step):
        """The batch of a step; None where all records take part."""
        rate = self._rows[what].sampling_rate
        return None if rate == 1 else Draw(rate, self._streams.sampling(what, step), self._n_persons)

    def release_labels(self, what: str, source: SealedSource | RecordSource) -> ThresholdedCounts:
        """The labels that occur often enough, with noisy counts, when not even their set is public.

        See :meth:`release_sets`, of which this is one.
        """
        return self.release_sets(what, source, lambda records: [Counter(records.labels.tolist())], 1)[0]

    def release_sets(
        self,
        what: str,
        source: SealedSource | RecordSource,
        read: Callable[[Records], Sequence[Mapping[Any, int]]],
        n_sets: int,
    ) -> list[ThresholdedCounts]:
        """Of each of several sets that are not public, the members that occur often enough, with noisy counts.

        A record has at most one member in each set, and so adds a vector of norm ``sqrt(n_sets)``. Each occurring
        member's count gets noise ``s = noise_multiplier * sqrt(n_sets)``; those above ``1 + s * z`` are released, where
        z is the normal quantile of ``1 - delta_row / n_sets``: the members that a single record brought in pass with
        probability at most delta_row together, which is charged with the row.

        Of a person, k records count, in full: ``s`` is k times as large, and the threshold is the largest, for c from 1
        to k, of ``c + s * z_c`` with the quantile of ``1 - delta_row * c / (k * n_sets)``. A member of c records of a
        person then passes with probability at most ``c / k`` of what a set may spend, and all of them with all of it.

        Parameters
        ----------
        what : str
        source : RecordSource
        read : callable
            How many records of a chunk hold each member: one mapping of members to counts a set.
        n_sets : int

        Returns
        -------
        list of ThresholdedCounts

        References
        ----------
        .. [1] Swanberg, Globus-Harris, Griffith, Ritz, Groce, Bray, "DP-SIPS: A simpler, more scalable mechanism for
           differentially private partition selection", arXiv 2301.01998, section 2.
        """
        row, step = self._spend(what)
        if row.sampling_rate != 1:
            raise BadValueError("label sets are learned from a full pass")
        kept = self._journal.recall(what, step)
        if kept is None:
            sets = self._noisy_sets(what, step, row, source, read, n_sets)
            kept = json.dumps(sets).encode("ascii")
            self._journal.keep(what, step, kept)
        return [
            ThresholdedCounts(members, torch.tensor(counts, dtype=torch.float64))
            for members, counts in json.loads(kept)
        ]

    def _noisy_sets(self, what, step, row, source, read, n_sets):
        """Members and noisy counts of each set, as JSON holds them: both lists."""
        self._require_bounded()
        counts = unseal(source).reduce(partial(_count_members, read, n_sets), _add_counts)
        most = self._unit.max_rows
        scale = row.noise_multiplier * most * math.sqrt(n_sets)
        own = np.arange(1, most + 1)
        quantiles = norm.isf(row.delta * own / (most * n_sets)) if scale else 0.0
        threshold = float(np.max(own + scale * quantiles))
        noise = iter(self._noise(what, step, (sum(map(len, counts)),), scale).tolist())
        return [_threshold(count, noise, threshold) for count in counts]

    def _spend(self, what):
        """Take a step of a charged row; the row, and the step's number."""
        if not self._left.get(what):
            raise FitError(f"{what!r} was not charged, or all its steps are used")
        self._left[what] -= 1
        self._releasing = what
        row = self._rows[what]
        return row, row.steps - 1 - self._left[what]

    def _require_bounded(self):
        if self._unit.is_person and self._n_persons is None:
            raise FitError("the part of each person is not bounded")

    def noise_multiplier(self, what: str) -> float:
        """Public noise of a charged row, for a query whose value one record moves by at most 1."""
        return self._rows[what].noise_multiplier * self._unit.max_rows

    @property
    def releasing(self):
        """Public name of the row of which a step was released last, or is being released; None before the first."""
        return self._releasing

    @property
    def steps_done(self):
        """Public number of steps released so far of each charged row."""
        return {what: row.steps - self._left[what] for what, row in self._rows.items()}

    def _noise(self, what, step, shape, scale):
        if math.isinf(scale):
            raise BadValueError("the noise must be finite")
        return scale * self._streams.normal(what, step, shape)


def _count_members(read, n_sets, chunks):
    counts: list[Counter] = [Counter() for _ in range(n_sets)]
    for records in chunks:
        own = records if records.groups is None else records.take((records.groups[:, 2] > 0).nonzero()[:, 0].numpy())
        for count, members in zip(counts, read(own), strict=True):
            count.update(members)
    return counts


def _add_counts(shards):
    return [sum(parts, Counter()) for parts in zip(*shards, strict=True)]


def _threshold(counts, noise, threshold):
    noisy = {member: counts[member] + next(noise) for member in sorted(counts)}
    kept = {member: count for member, count in noisy.items() if count >= threshold}
    return list(kept), list(kept.values())
