"""What a fit cost, in figures and in words."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from decimal import ROUND_CEILING, Context
from functools import cached_property
from typing import Any

from sinkgen._validation import check_boolean, check_choice, check_integer, check_real
from sinkgen.accounting.composition import compose, group_price, merge, price
from sinkgen.accounting.gaussian import check_delta, gaussian_delta, gaussian_epsilon, gaussian_mu, unsampled_mu
from sinkgen.accounting.releases import GaussianRelease, Row, check_fields, check_releases, from_json, to_json
from sinkgen.accounting.unit import PERSONS, RECORD, RECORDS, RELATIONS, Unit
from sinkgen.exceptions import BadTypeError, BadValueError

# Which accountant was asked for, by the name of that which answered.
_ASKED = {
    "analytic Gaussian": "auto",
    "analytic Gaussian, sampling disregarded": "auto",
    "none": "auto",
    "PRV": "prv",
    "RDP": "rdp",
}
_DIGITS = 1e-3  # numerical accountants differ by less between versions


@dataclass(frozen=True)
class PrivacySpent:
    """What a fit, or all fits on a ledger, cost: ``print`` it for a statement that can stand in a paper.

    Parameters
    ----------
    epsilon, delta : float
        The guarantee; ``epsilon`` is inf where there was none.
    neighbours : str
        The neighbouring relation: whether it is a record that is protected, or a person with all rows.
    accountant : str
        Name of the accountant that gave ``epsilon``.
    releases : tuple of GaussianRelease
        Everything that was released.
    assumptions : tuple of str
        What was taken as public, and so lies outside the guarantee.
    reproducible_noise : bool
        Whether the noise came from a fixed seed.
    secure_noise : bool
        Whether all noise came from a cipher, in sums of four normals.
    max_rows : int
        As how many rows a person counts at most; of fits that share a ledger, the most.
    settings : str
        The mechanism of the fit, with its settings; "" where several fits are told together.
    remarks : tuple of str
        What the release itself shows to be poorly known, and what to do; of one fit.

    Examples
    --------
    >>> rows = [GaussianRelease("class counts", 40.0), GaussianRelease("points", 20.0, steps=20)]
    >>> print(PrivacySpent.of(rows, delta=1e-5, assumptions=["the range of each column"]))
    Differential privacy: epsilon = 0.8254, delta = 1e-05.
    Neighbouring data sets: add or remove one record.
    Accountant: analytic Gaussian.
    <BLANKLINE>
    release       noise multiplier  sampling rate  steps   share
    class counts                40              1      1   1.2 %
    points                      20              1     20  98.8 %
    <BLANKLINE>
    Taken as public, outside the guarantee: the range of each column.
    Noise: fresh, keyed by the operating system.
    """

    epsilon: float
    delta: float
    neighbours: str = RECORDS
    accountant: str = ""
    releases: tuple[GaussianRelease, ...] = ()
    assumptions: tuple[str, ...] = ()
    reproducible_noise: bool = False
    secure_noise: bool = False
    max_rows: int = 1
    settings: str = ""
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        releases: Iterable[GaussianRelease],
        delta: float,
        accountant: str = "auto",
        assumptions: Iterable[str] = (),
        *,
        reproducible_noise: bool = False,
        secure_noise: bool = False,
        unit: Unit = RECORD,
        settings: str = "",
    ) -> "PrivacySpent":
        """Return the statement of ``releases``, priced by :func:`compose`.

        Parameters
        ----------
        releases : iterable of GaussianRelease
        delta : float
            Within (0, 1).
        accountant : {"auto", "prv", "rdp"}
            See :func:`compose`.
        assumptions : iterable of str
            What was taken as public.
        reproducible_noise : bool
            Whether the noise came from a fixed seed.
        secure_noise : bool
            Whether the noise came from a cipher.
        unit : Unit
            Whom the releases protect: a record, or a person.
        settings : str
            The mechanism, with its settings: one printable line.

        Returns
        -------
        PrivacySpent

        Raises
        ------
        TypeError, ValueError
            If a parameter is of the wrong type or out of range.

        Examples
        --------
        >>> PrivacySpent.of([GaussianRelease("means", 1.0)], delta=1e-5).accountant
        'analytic Gaussian'
        """
        rows, delta = check_releases(releases), check_delta(delta)
        epsilon, name = price(rows, delta, accountant)
        return cls(
            epsilon=epsilon,
            delta=delta,
            neighbours=unit.neighbours,
            max_rows=unit.max_rows,
            accountant=name,
            releases=rows,
            assumptions=check_assumptions(assumptions),
            reproducible_noise=bool(reproducible_noise),
            secure_noise=bool(secure_noise),
            settings=_check_line(settings),
        )

    def having_chosen(self, unit: Unit) -> "PrivacySpent":
        """The statement, where a release chose what counts of a person: it says so with the mechanism's settings.

        Parameters
        ----------
        unit : Unit
            That was chosen: shares of one, or at most so many rows.

        Returns
        -------
        PrivacySpent

        Examples
        --------
        >>> spent = PrivacySpent.of([GaussianRelease("rows", 1.0)], delta=1e-5, unit=Unit.of_groups("auto"))
        >>> print(spent.having_chosen(Unit.of_groups(3)).settings)
        of a person count, as a release chose, at most 3 rows
        """
        way = "all rows, in shares of one" if unit.shared else f"at most {unit.max_rows} rows"
        said = f"of a person count, as a release chose, {way}"
        return replace(self, max_rows=unit.max_rows, settings=f"{self.settings}; {said}".removeprefix("; "))

    @cached_property
    def shares(self) -> tuple[float, ...]:
        """Share of the budget that each release has, by its part of ``mu**2``; they sum to 1 if anything was spent.

        A release of a sample counts with the ``mu`` of a Gaussian release of all records that has its price. Releases
        without noise share all of it.

        Examples
        --------
        >>> rows = [GaussianRelease("means", 3.0), GaussianRelease("points", 3.0, steps=3)]
        >>> [round(share, 3) for share in PrivacySpent.of(rows, delta=1e-5).shares]
        [0.25, 0.75]
        """
        mus = [_equivalent_mu(release, self.delta) for release in self.releases]
        squares = [mu * mu for mu in mus]
        if math.inf in squares:
            squares = [float(square == math.inf) for square in squares]
        total = math.fsum(squares)
        return tuple(square / total if total else 0.0 for square in squares)

    def best_guess(self) -> float:
        """Return how often, at most, anyone guesses rightly whether a given record was among those fitted.

        The record was there or not by the toss of a coin; the guess is made with all other records and all outcomes in
        hand. Without any outcome it is right half of the time.

        Returns
        -------
        float
            From 0.5 to 1.

        Notes
        -----
        (epsilon, delta) bounds it by ``(exp(epsilon) + delta) / (exp(epsilon) + 1)`` [1]_; Gaussian releases of all
        records, of ``mu`` together, by ``Phi(mu / 2)``, with half of the releases' own deltas added. Sampling only
        lowers it. The lower of the two is returned.

        Raises
        ------
        ValueError
            If a release of the statement is out of range.

        References
        ----------
        .. [1] Kairouz, Oh, Viswanath, "The Composition Theorem for Differential Privacy", arXiv 1311.0776.
        .. [2] Dong, Roth, Su, "Gaussian Differential Privacy", arXiv 1905.02383.

        Examples
        --------
        >>> rows = [GaussianRelease("points", 20.0, steps=20)]
        >>> round(PrivacySpent.of(rows, delta=1e-5).best_guess(), 3)
        0.545
        """
        if self.epsilon == math.inf or self.reproducible_noise:
            return 1.0
        by_epsilon = (1 + self.delta * math.exp(-self.epsilon)) / (1 + math.exp(-self.epsilon))
        own = math.fsum(release.delta for release in self.releases)
        by_noise = 0.5 * (1 + gaussian_delta(0.0, unsampled_mu(merge(self.releases))) + own)
        # A statement without releases says no more than its epsilon.
        return min(1.0, by_epsilon, by_noise) if self.releases else by_epsilon

    def for_group(self, size: int) -> float:
        """Return the epsilon that holds, at the statement's delta, for so many records together, or so many persons.

        It is more than ``size`` times epsilon: that product holds at a larger delta alone.

        Parameters
        ----------
        size : int
            Records of the group, such as all those of one person; where a person is what the statement protects, the
            persons of the group. At least 1.

        Returns
        -------
        float
            Exact where all releases are of all records and none spends a delta of its own, else an upper bound; inf
            if no epsilon holds at this delta.

        Raises
        ------
        TypeError, ValueError
            If ``size`` is no positive integer.

        References
        ----------
        .. [1] Dong, Roth, Su, "Gaussian Differential Privacy", arXiv 1905.02383, theorem 2.14.
        .. [2] Vadhan, "The Complexity of Differential Privacy", 2017, lemma 2.2.

        Examples
        --------
        >>> from sinkgen.accounting import calibrate
        >>> spent = PrivacySpent.of([GaussianRelease("points", calibrate(1.0, 1e-5, 1.0, 20), steps=20)], delta=1e-5)
        >>> [round(spent.for_group(size), 2) for size in (1, 2, 10)]
        [1.0, 2.15, 14.43]
        """
        size = check_integer("size", size, low=1)
        if self.epsilon == math.inf:
            return math.inf
        if size == 1:
            return self.epsilon
        return max(self.epsilon, group_price(self.releases, self.delta, size, self.max_rows))

    def epsilon_after(self, steps_done: Mapping[str, int]) -> float:
        """Return about what the first steps of the releases cost, to be shown while a fit runs; no guarantee.

        The steps count by their :attr:`shares`, as Gaussian releases of all records do exactly.

        Parameters
        ----------
        steps_done : dict of str to int
            Steps made of each release, by its name.

        Returns
        -------
        float
            From 0 to ``epsilon``.

        Raises
        ------
        KeyError
            If ``steps_done`` lacks a release.

        Examples
        --------
        >>> spent = PrivacySpent.of([GaussianRelease("points", 20.0, steps=20)], delta=1e-5)
        >>> [round(spent.epsilon_after({"points": steps}), 3) for steps in (0, 10, 20)]
        [0.0, 0.561, 0.82]
        """
        rows = zip(self.releases, self.shares, strict=True)
        done = math.fsum(share * steps_done[row.what] / row.steps for row, share in rows if row.steps)
        if not done or not self.epsilon:
            return 0.0
        return min(self.epsilon, gaussian_epsilon(math.sqrt(done) * gaussian_mu(self.epsilon, self.delta), self.delta))

    def to_dict(self) -> dict[str, Any]:
        """Return the statement as JSON values.

        Returns
        -------
        dict
            An infinite epsilon is the string ``"inf"`` in it.

        Examples
        --------
        >>> PrivacySpent.of([], delta=1e-5).to_dict()["epsilon"]
        0.0
        """
        return asdict(self) | {
            "epsilon": to_json(self.epsilon),
            "releases": [release.to_dict() for release in self.releases],
            "assumptions": list(self.assumptions),
            "remarks": list(self.remarks),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "PrivacySpent":
        """Return the statement that :meth:`to_dict` wrote, composed anew: what it says is not believed.

        Parameters
        ----------
        content : dict

        Returns
        -------
        PrivacySpent

        Raises
        ------
        TypeError, ValueError
            If a field is missing, unknown or out of range, or epsilon is not what the releases cost together.

        Examples
        --------
        >>> spent = PrivacySpent.of([GaussianRelease("means", 1.0)], delta=1e-5)
        >>> PrivacySpent.from_dict(spent.to_dict()) == spent
        True
        """
        if isinstance(content, dict):
            content = {
                "secure_noise": False,
                "max_rows": 1,
                "settings": "",
                "remarks": (),
                **content,
            }  # unknown to the first versions
        check_fields(cls, content)
        for flag in ("reproducible_noise", "secure_noise"):
            check_boolean(flag, content[flag])
        unit = Unit(content["neighbours"], check_integer("max_rows", content["max_rows"], low=1))
        if unit.neighbours not in RELATIONS or not (unit.is_person or unit.max_rows == 1):
            raise BadValueError("the statement is of another neighbouring relation")
        check_choice("accountant", content["accountant"], _ASKED)
        rows = content["releases"]
        if not isinstance(rows, (list, tuple)):
            raise BadTypeError(f"releases must be a list, got {type(rows).__name__}")
        made = cls.of(
            [GaussianRelease.from_dict(row) for row in rows], content["delta"], _ASKED[content["accountant"]],
            content["assumptions"], reproducible_noise=content["reproducible_noise"],
            secure_noise=content["secure_noise"], unit=unit, settings=content["settings"],
        )  # fmt: skip
        stated = check_real("epsilon", from_json(content["epsilon"]), low=0)
        if not math.isclose(stated, made.epsilon, rel_tol=_DIGITS):
            raise BadValueError(f"the statement says epsilon {stated:g}, and its releases cost {made.epsilon:.4g}")
        remarks = check_assumptions(content["remarks"])
        return replace(made, epsilon=stated, accountant=content["accountant"], remarks=remarks)

    def __str__(self):
        return "\n".join([*self._guarantee(), "", *self._table(), "", *self._circumstances()])

    def _guarantee(self):
        yield f"Differential privacy: epsilon = {round_up(self.epsilon)}, delta = {self.delta:g}."
        if self.epsilon == math.inf:
            yield "NOT PRIVATE: no finite epsilon holds at this delta; the records are not protected."
        yield f"Neighbouring data sets: {self.neighbours}."
        if self.neighbours == PERSONS:
            rows = "one row" if self.max_rows == 1 else f"{self.max_rows} rows"
            yield f"All rows of a person together count as {rows} at most."
        yield f"Accountant: {self.accountant}."

    def _table(self):
        rows = [["release", "noise multiplier", "sampling rate", "steps", "own delta", "share"]]
        rows += [_cells(release, share) for release, share in zip(self.releases, self.shares, strict=True)]
        if not any(release.delta for release in self.releases):
            rows = [[*row[:4], row[5]] for row in rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for first, *rest in rows:
            yield "  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])])

    def _circumstances(self):
        if self.assumptions:
            yield f"Taken as public, outside the guarantee: {'; '.join(self.assumptions)}."
        if not any(release.steps and 0 < release.noise_multiplier < math.inf for release in self.releases):
            yield "Noise: none."
        elif self.reproducible_noise:
            yield "Noise: REPRODUCIBLE from a seed. The guarantee fails against whoever knows or guesses the seed."
        elif self.secure_noise:
            yield "Noise: fresh, of a cipher keyed by the operating system, in sums of four normals."
        else:
            yield "Noise: fresh, keyed by the operating system."
        if self.settings:
            yield f"Mechanism: {self.settings}."
        if self.remarks:
            yield "Poorly known, as what was released shows:"
            yield from (f"- {remark}" for remark in self.remarks)


def _cells(release, share):
    noise = f"{release.noise_multiplier:.5g}" if release.noise_multiplier else "0 (none)"
    rate, percent = f"{release.sampling_rate:.5g}", f"{100 * share:.1f} %"
    return [release.what, noise, rate, str(release.steps), f"{release.delta:g}", percent]


def _equivalent_mu(release, delta):
    if release.sampling_rate == 1 or not release.noise_multiplier or not release.steps:
        return unsampled_mu([Row(release.noise_multiplier, 1.0, release.steps)]) if release.steps else 0.0
    return gaussian_mu(compose([release], delta), delta)


def round_up(epsilon):
    """Return ``epsilon`` as text of four digits, rounded up: a statement must not promise more than was computed."""
    if not 0 < epsilon < math.inf:
        return f"{epsilon:g}"
    return f"{Context(prec=4, rounding=ROUND_CEILING).create_decimal_from_float(epsilon).normalize():f}"


def _check_line(text):
    if not isinstance(text, str):
        raise BadTypeError(f"settings must be a string, got {type(text).__name__}")
    if not text.isprintable():
        raise BadValueError("settings must be one line of printable characters")
    return text


def check_assumptions(assumptions):
    """Return ``assumptions`` as a tuple of strings, or raise TypeError."""
    if isinstance(assumptions, str) or not isinstance(assumptions, Iterable):
        raise BadTypeError(f"assumptions must be an iterable of strings, got {type(assumptions).__name__}")
    assumptions = tuple(assumptions)
    if not all(isinstance(text, str) for text in assumptions):
        raise BadTypeError("assumptions must hold strings only")
    return assumptions
