"""An owner of records: takes part in fits, and gives nothing that is not noisy, masked and agreed on."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sinkgen._types import Path
from sinkgen._validation import check_integer, check_real
from sinkgen._version import __version__
from sinkgen.accounting import GaussianRelease, compose
from sinkgen.data.layout import Layout
from sinkgen.data.table_checks import is_table
from sinkgen.exceptions import BadValueError, DataFreeError
from sinkgen.federated.memory import Memory
from sinkgen.federated.messages import expect, field, pack, unpack
from sinkgen.federated.questions import Question, from_parts, identity
from sinkgen.privacy.ledger import PrivacyLedger
from sinkgen.privacy.masks import derived, mask, neighbours, public_key, shared_secret
from sinkgen.privacy.query import SumQuery
from sinkgen.privacy.sealed import seal
from sinkgen.privacy.shares import NoiseShares
from sinkgen.sources.open import check_source, open_records

MOST_NUMBERS = 2**27  # of a question's value


class Owner:
    """Records that stay with their owner, in fits of :class:`Federation`.

    Parameters
    ----------
    name : str
    X, y : object
        What :meth:`sinkgen.DPSinkhornGenerator.fit` takes: an array or data frame, with labels or the name of their
        column, or none.
    key : bytes
        The owner's private key, :func:`sinkgen.federated.new_private_key`: secret.
    peers : mapping of str to bytes
        Public key of each owner by name, this one's too: as they were told by a way that the coordinator does not
        control.
    epsilon, delta : float
        What a fit may cost at most.
    colluding : int
        Against how many other owners, together with the coordinator, the noise of the rest has to protect at least.
    ledger : PrivacyLedger, optional
        Of this owner; charged once a fit, before its first answer.
    folder : path-like, optional
        Where the owner keeps what must not be forgotten while a fit goes on: its secret of that fit and what it was
        asked. An owner that is killed and started again with the same folder, key and records gives the answers that it
        would have given. Without one, a fit ends with the owner's process.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong type or out of range, or ``key`` is not that of ``peers``.
    ImportError
        Without the package cryptography.

    Notes
    -----
    An owner answers a step of a release once: the same question has the same answer, another one is refused. It makes
    the query itself, of the classes of this package, so that a contribution is clipped to what is proven; and it adds
    up what all releases cost before it takes part.

    Attributes
    ----------
    failure : Exception or None
        What went wrong last that was not refused in words of this package; for the owner's eyes, as it may show data.

    Examples
    --------
    >>> import numpy as np
    >>> from sinkgen import federated
    >>> key = federated.new_private_key()
    >>> public = {"north": federated.public_key(key), "south": federated.public_key(federated.new_private_key())}
    >>> owner = federated.Owner("north", np.zeros((5, 2)), key=key, peers=public, epsilon=1)

    See :class:`Federation` for a fit.
    """

    failure: Exception | None = None

    def __init__(
        self, name: str, X: Any, y: Any = None, *, key: bytes, peers: Mapping[str, bytes], epsilon: float,
        delta: float = 1e-5, colluding: int = 0, ledger: PrivacyLedger | None = None, folder: Path | None = None,
    ) -> None:  # fmt: skip
        if peers.get(name) != public_key(key):
            raise BadValueError(f"key is not that of owner {name!r} in peers")
        self.name, self._X, self._y, self._key, self._peers = name, X, y, key, dict(peers)
        self._epsilon, self._delta = check_real("epsilon", epsilon, low=0), check_real("delta", delta, low=0, high=1)
        self._colluding = check_integer("colluding", colluding, low=0)
        self._ledger, self._folder = ledger, folder
        self._sessions: dict[str, _Session] = {}

    def open(self, message: bytes) -> bytes:
        """Take part in a fit, or not: the answer to an invitation.

        Parameters
        ----------
        message : bytes

        Returns
        -------
        bytes

        Raises
        ------
        TypeError, ValueError
            If the invitation is not what this owner agrees to, or its records are not of the format; the message
            shows no data.

        Examples
        --------
        What :class:`Federation` does, with the bytes of one call:

        >>> import numpy as np
        >>> from sinkgen.federated import new_private_key, public_key
        >>> key = new_private_key()
        >>> owner = Owner("north", np.zeros((5, 2)), key=key, peers={"north": public_key(key)}, epsilon=1)
        >>> owner.open(b"hello")
        Traceback (most recent call last):
        ...
        sinkgen.exceptions.BadValueError: a message is damaged, or none of this protocol
        """
        invitation = unpack(message)
        expect(invitation, kind="invitation", version=__version__)
        session = field(invitation, "session", str)
        if session not in self._sessions:
            self._sessions[session] = self._agreed(invitation, hashlib.sha256(message).hexdigest())
        opened = self._sessions[session]
        if opened.memory.invitation != hashlib.sha256(message).hexdigest():
            raise BadValueError("a fit of this session was agreed on otherwise")
        return pack({"kind": "acceptance", "session": session, "owner": self.name, "nonce": opened.memory.nonce})

    def answer(self, message: bytes) -> bytes:
        """The masked sum of this owner's records that a question asks for.

        Parameters
        ----------
        message : bytes

        Returns
        -------
        bytes

        Raises
        ------
        ValueError
            If it was not agreed on, or another question has had its noise.
        BudgetExceededError
            If the owner's ledger does not allow for it.

        Examples
        --------
        What :class:`Federation` does, with the bytes of one call:

        >>> import numpy as np
        >>> from sinkgen.federated import new_private_key, public_key
        >>> key = new_private_key()
        >>> owner = Owner("north", np.zeros((5, 2)), key=key, peers={"north": public_key(key)}, epsilon=1)
        >>> owner.answer(b"hello")
        Traceback (most recent call last):
        ...
        sinkgen.exceptions.BadValueError: a message is damaged, or none of this protocol
        """
        question = unpack(message)
        session, place = self._place(question, "question")
        functions, query = _read_question(question)
        names = [identity(part, question.arrays) for part in question.content["question"]["functions"]]
        nonces = field(question, "nonces", dict)
        if set(nonces) != set(self._peers) or nonces[self.name] != session.memory.nonce:
            raise BadValueError("a question names other owners, or another opening, than this owner's")
        words = session.shares.answer(*place, query, session.after(functions, names))
        if self._ledger is not None:
            self._ledger.charge(what="federated fit", secure_noise=True, **session.charge)
        # Kept last: what cannot be answered was not asked.
        session.memory.keep_nonces(nonces)
        session.memory.keep_question(place, hashlib.sha256(message).hexdigest())
        words = words + mask(self._own_seed(session, place), len(words))
        tags = {}
        for peer in session.neighbours:
            secret = self._secret_with(session, peer)
            words = words + np.uint64(1 if self.name < peer else 2**64 - 1) * mask(_seed(secret, place), len(words))
            tags[peer] = derived(secret, "tag", *place).hex()
        content = {"kind": "answer", "session": session.name, "owner": self.name, "what": place[0], "step": place[1]}
        return pack(content | {"tags": tags}, {"sum": words.view(np.int64)})

    def close(self, message: bytes) -> bytes:
        """What stands between the coordinator and the sum of those on the roll: seeds of masks that do not cancel.

        They are told for one roll of each step, on which there have to be as many owners as were agreed on.

        Parameters
        ----------
        message : bytes

        Returns
        -------
        bytes

        Raises
        ------
        ValueError
            If another roll was closed before, or this one is none.

        Examples
        --------
        What :class:`Federation` does, with the bytes of one call:

        >>> import numpy as np
        >>> from sinkgen.federated import new_private_key, public_key
        >>> key = new_private_key()
        >>> owner = Owner("north", np.zeros((5, 2)), key=key, peers={"north": public_key(key)}, epsilon=1)
        >>> owner.close(b"hello")
        Traceback (most recent call last):
        ...
        sinkgen.exceptions.BadValueError: a message is damaged, or none of this protocol
        """
        roll = unpack(message)
        session, place = self._place(roll, "roll")
        present = field(roll, "present", list)
        if not set(present) <= set(self._peers) or len(set(present)) != len(present) or self.name not in present:
            raise BadValueError("a roll names owners that there are not, or not this one")
        if len(present) < session.least:
            raise BadValueError(f"a roll has {len(present)} owners, {session.least} were agreed on")
        session.memory.keep_roll(place, sorted(present))
        seeds = {self.name: self._own_seed(session, place).hex()}
        for peer in set(session.neighbours) - set(present):
            seeds[peer] = _seed(self._secret_with(session, peer), place).hex()
        content = {"kind": "seeds", "session": session.name, "owner": self.name, "what": place[0], "step": place[1]}
        return pack(content | {"seeds": seeds})

    def reply(self, message: bytes) -> bytes:
        """The reply to any message: of :meth:`open`, :meth:`answer` or :meth:`close`, or a refusal with its reason.

        Parameters
        ----------
        message : bytes

        Returns
        -------
        bytes

        Raises
        ------
        KeyboardInterrupt
            And what else ends a process; all other errors are refusals.

        Examples
        --------
        >>> import numpy as np
        >>> from sinkgen.federated import messages, new_private_key, public_key
        >>> key = new_private_key()
        >>> owner = Owner("north", np.zeros((5, 2)), key=key, peers={"north": public_key(key)}, epsilon=1)
        >>> messages.unpack(owner.reply(b"hello")).content["reason"]
        'a message is damaged, or none of this protocol'
        """
        calls = {"invitation": self.open, "question": self.answer, "roll": self.close}
        try:
            kind = unpack(message).content["kind"]
            if kind not in calls:
                raise BadValueError("an owner takes invitations, questions and rolls")
            return calls[kind](message)
        except DataFreeError as error:
            reason = str(error)
        except Exception as error:  # its words may be of the records
            self.failure = error
            reason = "an error that its owner alone may see, in its failure"
        return pack({"kind": "refusal", "owner": self.name, "reason": reason})

    # --- What it agrees to -------------------------------------------------------------------------------------------

    def _agreed(self, invitation, digest):
        owners = field(invitation, "owners", dict)
        if owners != {name: key.hex() for name, key in self._peers.items()}:
            wrong = sorted(name for name in {*owners, *self._peers} if owners.get(name) != _hex(self._peers.get(name)))
            raise BadValueError(f"owners differ from this one's peers, or have other keys there: {', '.join(wrong)}")
        colluding, absent = (field(invitation, what, int) for what in ("colluding", "absent"))
        if not self._colluding <= colluding < len(owners) - absent or absent < 0:
            raise BadValueError(f"noise protects against {colluding} colluding owners, {self._colluding} are wanted")
        try:
            releases = tuple(GaussianRelease(**row) for row in field(invitation, "releases", list))
        except TypeError:
            raise BadValueError("releases are none") from None
        delta = field(invitation, "delta", float)
        cost = compose(releases, delta, field(invitation, "accountant", str))
        if cost > self._epsilon * (1 + 1e-9) or delta > self._delta:
            raise BadValueError(
                f"the fit costs epsilon {cost:.6g} and delta {delta:g}; this owner agrees to "
                f"{self._epsilon:g} and {self._delta:g}"
            )
        data = self._opened_as(field(invitation, "layout", dict))
        check_source(data.source, from_parts(invitation.content.get("form"), invitation.arrays))
        memory = Memory.of(self._folder, self.name, field(invitation, "session", str), digest)
        near = neighbours(list(owners), self.name, colluding + absent)
        least = len(owners) - absent
        shares = NoiseShares(releases, memory.secret, least - colluding, len(owners))
        charge = {"releases": releases, "delta": delta, "id": f"{invitation.content['session']}/{self.name}"}
        return _Session(
            invitation.content["session"], memory, near, least, shares, charge, mapped=[("", seal(data.source))]
        )

    def _opened_as(self, wanted):
        """The records, opened as the invitation has it; refused if they are not of its columns and dtypes."""
        data = open_records(self._X, self._y, as_array=bool(wanted.get("as_array")))
        own = described(data.layout)
        if own != wanted:
            parts = [part for part in own if own[part] != wanted.get(part)]
            if "columns" in parts and own["columns"] and wanted.get("columns"):
                others = [column for column in wanted["columns"] if column not in own["columns"]]
                extra = [column for column in own["columns"] if column not in wanted["columns"]]
                if not others and not extra:
                    raise BadValueError(
                        f"owner {self.name!r} has the columns in another order than is asked about: bring them into "
                        f"this one, {wanted['columns']}"
                    )
                raise BadValueError(
                    f"owner {self.name!r} has not the columns that are asked about: lacks {others}, has {extra} instead"
                )
            told = ", ".join(f"{part} {own[part]!r} instead of {wanted.get(part)!r}" for part in parts)
            raise BadValueError(f"owner {self.name!r} has other records than are asked about: {told}")
        return data

    # --- Masks -------------------------------------------------------------------------------------------------------

    def _place(self, message, kind):
        """The session of a message, and the step that it is about."""
        expect(message, kind=kind)
        session = self._sessions.get(field(message, "session", str))
        if session is None:
            raise BadValueError("a message is of no session that is open here; send the invitation first")
        place = field(message, "what", str), field(message, "step", int)
        session.shares.check(*place)
        return session, place

    def _own_seed(self, session, place):
        return derived(session.memory.secret, "own mask", *place)

    def _secret_with(self, session, peer):
        nonces = session.memory.nonces
        if nonces is None:
            raise BadValueError("a roll came before its question")
        context = "/".join([session.name, *(f"{name}={nonces[name]}" for name in sorted((self.name, peer)))])
        return shared_secret(self._key, self._peers[peer], context.encode())


@dataclass
class _Session:
    """One fit that an owner takes part in.

    Attributes
    ----------
    name : str
    memory : Memory
    neighbours : list of str
        With whom masks are shared.
    least : int
        Owners that have to be on a roll.
    shares : NoiseShares
    charge : dict
        What the ledger is charged with.
    mapped : list of (str, SealedSource)
        Records after the functions of the question before, one more each.
    """

    name: str
    memory: Memory
    neighbours: list
    least: int
    shares: NoiseShares
    charge: dict
    mapped: list

    def after(self, functions, names):
        """The records after functions; what these have in common with the question before is not made again."""
        for i, (function, name) in enumerate(zip(functions, names, strict=True), 1):
            if len(self.mapped) <= i or self.mapped[i][0] != name:
                self.mapped[i:] = [(name, self.mapped[i - 1][1].map(function))]
        return self.mapped[len(functions)][1]


def described(layout: Layout) -> dict[str, Any]:
    """Public facts of a layout, as JSON: what all owners' records must have in common."""
    template: Any = layout.template
    table = is_table(template)
    labels = None if layout.labels is None else np.asarray(layout.labels).dtype
    return {
        "columns": [[name, str(dtype)] for name, dtype in template.dtypes.items()] if table else None,
        "shape": None if table else list(template.shape[1:]),
        "dtype": None if table else str(template.dtype),
        "label": layout.label,
        "labels": None if labels is None else "text" if labels.kind in "OUS" else str(labels),
        "as_array": layout.as_array and table,
    }


def _read_question(message):
    content = field(message, "question", dict)
    if set(content) != {"functions", "query"} or not isinstance(content["functions"], list):
        raise BadValueError("a question has no functions and query")
    if any(array.dtype.kind == "f" and np.isnan(array).any() for array in message.arrays.values()):
        raise BadValueError("a question holds NaN")
    functions, query = (from_parts(content[part], message.arrays) for part in ("functions", "query"))
    if not isinstance(query, SumQuery) or not all(map(callable, functions)):
        raise BadValueError("a question asks for no sum")
    if not 0 < query.sensitivity < np.inf or not 0 < query.size <= MOST_NUMBERS:
        raise BadValueError("a question's value has no size, or no bound")
    return Question(tuple(functions), query)


def _seed(secret, place):
    return derived(secret, "mask", *place)


def _hex(key):
    return None if key is None else key.hex()
