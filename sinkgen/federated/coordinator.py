"""The coordinator: asks owners for sums, and sees no sum without noise."""

import copy
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import torch

from sinkgen._validation import check_integer
from sinkgen._version import __version__
from sinkgen.exceptions import BadTypeError, BadValueError, FitError
from sinkgen.federated.messages import expect, field, pack, unpack
from sinkgen.federated.owner import described
from sinkgen.federated.questions import to_parts
from sinkgen.privacy.masks import KEY_BYTES, mask, neighbours
from sinkgen.privacy.shares import RANGE, value_of
from sinkgen.records import AskedRecords
from sinkgen.sources.open import open_records

# Releases of which the values are no sums over records, and cannot be added up.
NO_SUMS = {
    "gradients": "mechanism='batch' clips the gradient of a batch as a whole",
}

Exchange = Callable[[Mapping[str, bytes]], Mapping[str, bytes]]


class Federation:
    """Records of several owners, of which each keeps its own; a fit takes it in place of ``X``.

    Parameters
    ----------
    exchange : callable
        Carries messages: takes one for each owner, by name, and gives the replies of those who answer in time, whoever
        they are. :class:`InProcess`, :class:`Folder`, or what brings bytes to owners elsewhere, such as HTTP.
    owners : mapping of str to bytes
        Public key of each owner, by name; at least two.
    X, y : object
        Records of the same columns and dtypes as the owners', such as made-up ones; nothing else is looked at.
    colluding : int
        How many owners may tell the coordinator all that they know: the noise of the others is then still that of the
        statement. The release has ``sqrt(K / (K - colluding - absent))`` times the noise of one machine's.
    absent : int
        How many owners may be missing in a round, which is then summed without them.

    Raises
    ------
    TypeError, ValueError
        If there are too few owners, or ``X`` and ``y`` are none that can be fitted.

    Notes
    -----
    A round has two messages to each owner: a question, answered by a masked sum, and a roll of those who have answered,
    answered by the seeds of what does not cancel. See docs/federated.md for what that guarantees, and to whom.

    Examples
    --------
    >>> import numpy as np
    >>> from sinkgen import DPSinkhornGenerator, federated
    >>> keys = {name: federated.new_private_key() for name in ("north", "south", "west")}
    >>> public = {name: federated.public_key(key) for name, key in keys.items()}
    >>> random = np.random.default_rng(0)
    >>> owners = [  # each on a machine of its own
    ...     federated.Owner(name, random.normal(size=(200, 2)), key=key, peers=public, epsilon=5)
    ...     for name, key in keys.items()
    ... ]
    >>> hospitals = federated.Federation(federated.InProcess(owners), public, np.zeros((1, 2)))
    >>> DPSinkhornGenerator(epsilon=5, schema=(-4, 4)).fit(hospitals).sample(3).shape
    (3, 2)
    """

    def __init__(
        self, exchange: Exchange, owners: Mapping[str, bytes], X: Any, y: Any = None, *, colluding: int = 0,
        absent: int = 0,
    ) -> None:  # fmt: skip
        if len(owners) < 2:
            raise BadValueError(f"owners must be two or more, got {len(owners)}")
        for name, key in owners.items():
            if not isinstance(name, str) or not isinstance(key, bytes) or len(key) != KEY_BYTES:
                raise BadTypeError("owners must be public keys of 32 bytes, by names that are strings")
        self._exchange, self._owners, self._X, self._y = exchange, dict(sorted(owners.items())), X, y
        self._colluding = check_integer("colluding", colluding, low=0)
        self._absent = check_integer("absent", absent, low=0)
        if self._colluding + self._absent > len(owners) - 2:
            raise BadValueError(f"colluding and absent must leave at least 2 of {len(owners)} owners")

    def asked(self) -> AskedRecords:
        """Return the owners' records, as ``fit`` asks them.

        Returns
        -------
        AskedRecords

        Examples
        --------
        >>> import numpy as np
        >>> from sinkgen.federated import InProcess, new_private_key, public_key
        >>> public = {name: public_key(new_private_key()) for name in ("north", "south")}
        >>> Federation(InProcess([]), public, np.zeros((1, 2))).asked().assumptions()[0][:47]
        'noise is the sum of the shares of 2 owners, all'
        """
        return _OwnersRecords(Circle(self._exchange, self._owners, self._colluding, self._absent), self._X, self._y)


class Circle(NamedTuple):
    """Owners, and what is agreed on about them; see :class:`Federation`."""

    exchange: Exchange
    owners: dict[str, bytes]
    colluding: int
    absent: int

    def neighbours(self, name):
        """With whom an owner shares masks."""
        return neighbours(list(self.owners), name, self.colluding + self.absent)


class _OwnersRecords(AskedRecords):
    """What a federation's owners hold, asked as :class:`~sinkgen.records.AskedRecords` are."""

    def __init__(self, circle, X, y):
        self._circle, self._X, self._y = circle, X, y
        self._functions: tuple = ()
        self._session, self._nonces = "", {}  # type: tuple[str, dict[str, str]]

    @property
    def noise_factor(self) -> float:
        """By how much noise is larger than the statement's, if no owner is absent."""
        n = len(self._circle.owners)
        return (n / (n - self._circle.colluding - self._circle.absent)) ** 0.5

    @property
    def fingerprint(self) -> int:
        """Of the owners' names and keys."""
        text = repr(self._circle[1:]).encode()
        return int.from_bytes(hashlib.sha256(text).digest()[:8], "little")

    def layout(self, as_array: bool) -> Any:
        """Public facts of the records."""
        layout = open_records(self._X, self._y, as_array=as_array).layout
        if layout.has_groups:
            raise BadValueError("groups are not bounded across owners: leave them out")
        return layout

    def assumptions(self) -> tuple[str, ...]:
        """What the statement says of owners."""
        n, others = len(self._circle.owners), "an owner can take its own share of the noise off"
        if self._circle.colluding:
            others = f"also together with {self._circle.colluding} of the owners, who know their own shares"
        return (
            f"noise is the sum of the shares of {n} owners, all of whom follow the protocol: the guarantee holds "
            f"against the coordinator and all who see the release; {others}",
        )

    def agree(self, terms):
        """Invite all owners; FitError, naming who does not take part and why, unless all do."""
        for row in terms.releases:
            if row.what in NO_SUMS:
                raise BadValueError(f"owners can be asked for sums alone, and {NO_SUMS[row.what]}")
            if row.delta:
                raise BadValueError(f"owners cannot be asked for sets that are not known: declare {row.what}")
            if row.sampling_rate != 1:
                raise BadValueError("owners are asked for sums over all records: sampling_rate must be 1")
        form, arrays = to_parts(terms.form)
        content = {
            "kind": "invitation", "version": __version__, "session": terms.session, "form": form,
            "owners": {name: key.hex() for name, key in self._circle.owners.items()},
            "colluding": self._circle.colluding, "absent": self._circle.absent,
            "releases": [asdict(row) for row in terms.releases], "delta": float(terms.delta),
            "accountant": terms.accountant, "layout": described(self.layout(self._is_array(terms.form))),
        }  # fmt: skip
        replies = self._ask(
            dict.fromkeys(self._circle.owners, pack(content, arrays)), kind="acceptance", session=terms.session
        )
        lost = sorted(set(self._circle.owners) - set(replies))
        if lost:
            raise FitError(f"owners do not answer the invitation: {', '.join(lost)}. Nothing was asked or charged")
        self._session = terms.session
        self._nonces = {name: _part(name, reply, "nonce", str) for name, reply in replies.items()}

    def _is_array(self, form):
        return hasattr(form, "n_groups")

    def map(self, function):
        """The same records after ``function``."""
        mapped = copy.copy(self)
        mapped._functions = (*self._functions, function)
        return mapped

    def ask(self, what, step, query):
        """The noisy sum of all owners who answer; FitError, naming who does not, where they are too few."""
        about = {"session": self._session, "what": what, "step": step}
        parts, arrays = to_parts((list(self._functions), query))
        functions, query_parts = parts["tuple"]
        question = {"functions": functions, "query": query_parts}
        message = pack({"kind": "question", "nonces": self._nonces, "question": question, **about}, arrays)
        answers = self._ask(dict.fromkeys(self._circle.owners, message), kind="answer", **about)
        self._require(answers, what, step)
        present = sorted(answers)
        words = sum(_words(name, answers[name], query.size) for name in present)
        self._check_tags({name: _part(name, reply, "tags", dict) for name, reply in answers.items()})
        roll = pack({"kind": "roll", "present": present, **about})
        seeds = self._ask(dict.fromkeys(present, roll), kind="seeds", **about)
        self._require(seeds, what, step, least=len(present))
        for name in present:
            words = words - self._left(name, _part(name, seeds[name], "seeds", dict), present, query.size)
        if not (np.abs(words.view(np.int64).astype(np.float64)) <= RANGE).all():
            raise FitError(f"the masks of owners do not cancel in step {step} of {what!r}; nothing of it was used")
        return torch.from_numpy(value_of(words, query.sensitivity))

    def _ask(self, messages, **wanted):
        """The owners' replies, read and checked; FitError, naming the owner, where one is none."""
        replies = self._circle.exchange(messages)
        strangers = sorted(set(replies) - set(messages))
        if strangers:
            raise FitError(f"replies came from others than were asked: {', '.join(map(str, strangers))}")
        read = {}
        for name, reply in replies.items():
            try:
                message = unpack(reply)
                if message.content["kind"] == "refusal":
                    raise FitError(f"owner {name!r} refuses: {str(message.content.get('reason'))[:500]}")
                expect(message, owner=name, **wanted)
            except BadValueError as error:
                raise FitError(f"owner {name!r}: {error}") from None
            read[name] = message
        return read

    def _require(self, replies, what, step, least=None):
        least = len(self._circle.owners) - self._circle.absent if least is None else least
        if len(replies) < least:
            lost = ", ".join(sorted(set(self._circle.owners) - set(replies)))
            raise FitError(
                f"{len(replies)} owners have answered in step {step} of {what!r}, {least} are needed; lost: {lost}. "
                "Nothing of it was seen. With checkpoint_dir a fit goes on when they are back, on the same charge"
            )

    def _check_tags(self, tags):
        """FitError, naming the two, where owners do not agree on their mask."""
        for name, of in tags.items():
            near = self._circle.neighbours(name)
            if set(of) != set(near) or not all(isinstance(tag, str) for tag in of.values()):
                raise FitError(f"owner {name!r} shares masks with others than it should")
        for name, of in tags.items():
            for peer, tag in of.items():
                if peer in tags and not hmac.compare_digest(tag.encode(), tags[peer][name].encode()):
                    raise FitError(f"owners {name!r} and {peer!r} do not agree on their mask: one has a wrong key")

    def _left(self, name, seeds, present, size):
        """What masks of an owner are in the sum that nobody else's cancels."""
        lost = set(self._circle.neighbours(name)) - set(present)
        if set(seeds) != {name, *lost}:
            raise FitError(f"owner {name!r} tells seeds of others than it should")
        total = mask(_seed(name, seeds[name]), size)
        for peer in lost:
            total = total + np.uint64(1 if name < peer else 2**64 - 1) * mask(_seed(name, seeds[peer]), size)
        return total


def _part(name, reply, part, kind):
    try:
        return field(reply, part, kind)
    except BadValueError as error:
        raise FitError(f"owner {name!r}: {error}") from None


def _words(name, answer, size):
    words = answer.arrays.get("sum")
    if words is None or set(answer.arrays) != {"sum"} or words.dtype != np.int64 or words.shape != (size,):
        raise FitError(f"owner {name!r} answers with other numbers than were asked for: {size} whole ones")
    return words.view(np.uint64)


def _seed(name, text):
    try:
        seed = bytes.fromhex(text)
    except (TypeError, ValueError):
        seed = b""
    if len(seed) != KEY_BYTES:
        raise FitError(f"owner {name!r} tells a seed that is none")
    return seed
