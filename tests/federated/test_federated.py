"""Fits on records of several owners: equal to one machine's, and nothing else leaves an owner."""

import json
import threading
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from together import Together, assert_same

from sinkgen import DPSinkhornGenerator, Marginals, PrivacyLedger, Schema, federated
from sinkgen.accounting import GaussianRelease
from sinkgen.exceptions import BadValueError, FitError
from sinkgen.federated import messages, questions
from sinkgen.federated.memory import Memory
from sinkgen.privacy.masks import mask, neighbours
from sinkgen.privacy.queries import tables
from sinkgen.privacy.sealed import seal
from sinkgen.privacy.shares import NoiseShares, value_of
from sinkgen.records import CHUNK, ArraySource

NAMES = ("north", "south", "west")
KEYS = {name: federated.new_private_key() for name in (*NAMES, *map(str, range(10)))}
PUBLIC = {name: federated.public_key(key) for name, key in KEYS.items()}
PEERS = {name: PUBLIC[name] for name in NAMES}
ARRAYS = {"schema": (-4, 4), "classes": [0, 1], "random_state": 0}
TABLES = {
    "schema": Schema({"age": (17, 90), "town": ["A", "B", "C"], "height": (1.0, 2.5)}), "classes": ["no", "yes"],
    "random_state": 0,
}  # fmt: skip


def table(n, seed=0):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "age": random.integers(17, 91, n), "town": random.choice(["A", "B", "C"], n),
        "height": random.normal(1.7, 0.1, n),
    })  # fmt: skip
    return frame, np.where(random.random(n) < 0.3, "yes", "no")


def split(X, y, parts):
    take = (lambda rows: X.iloc[rows].reset_index(drop=True)) if hasattr(X, "iloc") else (lambda rows: X[rows])
    return [(take(rows), None if y is None else y[rows]) for rows in parts]


def by_chance(n, k=3):
    return np.array_split(np.random.default_rng(1).permutation(n), k)


def made(parts, names=NAMES, **settings):
    peers = {name: PUBLIC[name] for name in names}
    settings = {"epsilon": 5} | settings
    return [
        federated.Owner(name, *part, key=KEYS[name], peers=peers, **settings)
        for name, part in zip(names, parts, strict=True)
    ]


def federation(owners, X, y, exchange=None, **settings):
    peers = {owner.name: PUBLIC[owner.name] for owner in owners}
    exchange = exchange or federated.InProcess(owners)
    return federated.Federation(exchange, peers, X[:1], None if y is None else y[:1], **settings)


def both(parts, X, y, settings, *, honest, **terms):
    """The generator that owners make, and that of the same records and noise on one machine."""
    owners = made(parts)
    first = DPSinkhornGenerator(epsilon=5, **settings).fit(federation(owners, X, y, **terms))
    second = DPSinkhornGenerator(epsilon=5, **settings).fit(Together(owners, (X[:1], y[:1]), honest))
    return first, second


# --- The release -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split_by", ["chance", "class"])
def test_the_release_of_owners_is_that_of_one_machine_to_the_last_bit(digits, split_by):
    X, y = digits
    parts = by_chance(len(X)) if split_by == "chance" else [np.flatnonzero(y % 3 == i) for i in range(3)]
    settings = {"schema": (0, 16), "classes": range(10), "image_shape": (8, 8), "random_state": 0}
    assert_same(*both(split(X, y, parts), X, y, settings, honest=3))


def test_so_is_that_of_larger_images_with_all_that_is_learned_of_them(digits):
    X, y = np.kron(digits[0][:300].reshape(-1, 8, 8), np.ones((2, 2))), digits[1][:300] % 2
    settings = {"schema": (0, 16), "classes": range(2), "random_state": 0, "steps": 2}
    first, second = both(split(X, y, by_chance(300)), X, y, settings, honest=2, colluding=1)
    assert {"warps", "tones", "features"} <= {row.what for row in first.privacy_spent().releases}
    assert_same(first, second)


def test_so_is_that_of_tables(quick_tables):
    X, y = table(900)
    assert_same(*both(split(X, y, by_chance(900)), X, y, TABLES, honest=2, colluding=1))


def test_so_is_that_of_tables_of_which_bounds_are_learned(quick_tables):
    X, y = table(900)
    settings = TABLES | {"schema": {"town": ["A", "B", "C"]}}
    assert_same(*both(split(X, y, by_chance(900)), X, y, settings, honest=3))


def test_so_is_that_of_tables_without_labels(quick_tables):
    X, _ = table(900)
    owners = made(split(X, None, by_chance(900)))
    settings = {name: value for name, value in TABLES.items() if name != "classes"}
    first = DPSinkhornGenerator(epsilon=5, **settings).fit(federation(owners, X, None))
    second = DPSinkhornGenerator(epsilon=5, **settings).fit(Together(owners, (X[:1], None), 3))
    assert_same(first, second)
    assert not {"labelling", "interactions"} & {row.what for row in first.privacy_spent().releases}
    pd.testing.assert_index_equal(first.sample(9).columns, X.columns)


def test_refinements_of_tables_are_asked_of_owners(quick_tables):
    X, y = table(3000)
    owners = made(split(X, y, by_chance(3000)), epsilon=100)
    first = DPSinkhornGenerator(epsilon=100, **TABLES).fit(federation(owners, X, y))
    assert "refinements" in {row.what for row in first.privacy_spent().releases}
    assert_same(first, DPSinkhornGenerator(epsilon=100, **TABLES).fit(Together(owners, (X[:1], y[:1]), 3)))


@pytest.mark.parametrize("cost", ["l1", "l1+l2"])
def test_other_costs_are_asked_of_owners(blobs, cost):
    X, y = blobs
    assert_same(*both(split(X, y, by_chance(600)), X, y, ARRAYS | {"cost": cost}, honest=3))


def test_bounds_of_arrays_are_learned_from_owners(blobs):
    X, y = blobs
    assert_same(*both(split(X, y, by_chance(600)), X, y, ARRAYS | {"schema": None}, honest=3))


def test_without_noise_it_is_that_of_the_ordinary_fit(blobs):
    random = np.random.default_rng(0)
    X, y = random.normal(size=(2 * CHUNK + 300, 2)), random.integers(0, 2, 2 * CHUNK + 300)
    parts = split(X, y, [slice(0, CHUNK), slice(CHUNK, 2 * CHUNK), slice(2 * CHUNK, None)])
    settings = ARRAYS | {"steps": 4} | {"epsilon": np.inf}
    first = DPSinkhornGenerator(**settings).fit(federation(made(parts, epsilon=np.inf), X, y))
    assert_same(first, DPSinkhornGenerator(**settings).fit(X, y))


def test_labels_may_be_a_column_and_owners_may_have_none(quick_tables):
    X, y = table(600)
    frame = X.assign(answer=y)
    parts = [(frame.iloc[:200], "answer"), (frame.iloc[200:], "answer")]
    owners = made(parts, NAMES[:2])
    peers = {name: PUBLIC[name] for name in NAMES[:2]}
    fed = federated.Federation(federated.InProcess(owners), peers, frame[:1], "answer")
    gen = DPSinkhornGenerator(epsilon=5, **TABLES).fit(fed)
    assert list(gen.sample(5)[0].columns) == ["age", "town", "height"]


# --- Noise and masks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("honest", [3, 1])
def test_noise_of_owners_adds_up_to_the_statements_over_those_who_may_tell_theirs(honest):
    query, source = tables.MarginalQuery([4000]), seal(ArraySource(torch.full((1, 1), -1), torch.zeros(1).long()))
    rows = [GaussianRelease("marginals", 2.0)]
    shares = [NoiseShares(rows, bytes([i]) * 32, honest, 3).answer("marginals", 0, query, source) for i in range(3)]
    value = value_of(shares[0] + shares[1] + shares[2], query.sensitivity)
    assert np.std(value) == pytest.approx(2.0 * (3 / honest) ** 0.5, rel=0.05)
    assert abs(np.corrcoef(value_of(shares[0], 1.0), value_of(shares[1], 1.0))[0, 1]) < 0.06


@given(st.integers(2, 12), st.integers(0, 10), st.randoms(use_true_random=False))
def test_owners_who_are_left_are_connected_by_masks(n, cuts, random):
    names = [f"{i:02}" for i in range(n)]
    left = set(random.sample(names, max(1, n - cuts)))
    seen, waiting = set(), [min(left)]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += [peer for peer in neighbours(names, name, cuts) if peer in left]
    assert seen == left
    for name in names:
        assert all(name in neighbours(names, peer, cuts) for peer in neighbours(names, name, cuts))


class Recorded:
    """Messages between a coordinator and owners, as they pass; ``change`` may give others instead of the replies."""

    def __init__(self, owners, change=None):
        self.carry, self.change, self.seen = federated.InProcess(owners), change, []

    def __call__(self, sent):
        replies = self.carry(sent)
        self.seen.append((sent, replies))
        return replies if self.change is None else self.change(sent, replies)


def kind_of(message):
    return messages.unpack(message).content["kind"]


def words_of(message):
    return messages.unpack(message).arrays["sum"].view(np.uint64)


@pytest.fixture
def fitted(blobs):
    """Owners, their messages, and the generator of a short fit."""
    X, y = blobs
    owners = made(split(X, y, by_chance(600)))
    wire = Recorded(owners)
    gen = DPSinkhornGenerator(epsilon=5, steps=2, **ARRAYS).fit(federation(owners, X, y, wire))
    return owners, wire, gen


def test_sums_are_hidden_until_all_are_there(fitted):
    wire = fitted[1]
    answers = [
        [words_of(reply) for reply in replies.values()] for _, replies in wire.seen
        if kind_of(next(iter(replies.values()))) == "answer"
    ]  # fmt: skip
    for words in answers:
        for some in (words[:1], words[1:2], words[:2], words[1:], words):  # the own masks hide even the sum of all
            total = sum(some).astype(np.float64) / 2.0**64
            assert len(total) < 200 or abs(total.mean() - 0.5) < 6 / (12 * len(total)) ** 0.5
    largest = max(answers, key=lambda words: len(words[0]))
    bits = np.unpackbits(np.concatenate(largest).view(np.uint8))
    assert abs(bits.mean() - 0.5) < 6 * 0.5 / len(bits) ** 0.5


def test_what_is_told_on_closing_is_of_the_own_mask_alone_when_all_are_there(fitted):
    wire = fitted[1]
    told = [
        messages.unpack(reply).content["seeds"] for _, replies in wire.seen for reply in replies.values()
        if kind_of(reply) == "seeds"
    ]  # fmt: skip
    assert told
    assert all(len(seeds) == 1 for seeds in told)


def test_once_own_masks_are_told_the_sum_of_all_can_be_read_and_no_other(fitted):
    """Also the masks of pairs are there: without them, closing a round would lay every owner's sum open."""
    answers, seeds, summed = {}, {}, []
    for _, replies in fitted[1].seen:
        for name, reply in replies.items():
            read = messages.unpack(reply)
            place = read.content.get("what"), read.content.get("step")
            if read.content["kind"] == "answer":
                answers[place, name] = read.arrays["sum"].view(np.uint64)
            elif read.content["kind"] == "seeds":
                seeds[place, name] = bytes.fromhex(read.content["seeds"][name])
    for place in {place for place, _ in answers}:
        bare = [answers[place, name] - mask(seeds[place, name], len(answers[place, name])) for name in NAMES]
        assert np.abs(sum(bare).view(np.int64)).max() < 2.0**50
        summed += [*bare, bare[0] + bare[1], bare[0] + bare[2], bare[1] + bare[2]]
    bits = np.unpackbits(np.concatenate(summed).view(np.uint8))
    assert abs(bits.mean() - 0.5) < 6 * 0.5 / len(bits) ** 0.5
    assert np.abs(np.concatenate(summed).view(np.int64).astype(float)).min() > 2.0**30


def test_masks_and_noise_are_fresh_at_every_opening(blobs):
    X, y = blobs
    owners = made(split(X, y, by_chance(600)))
    wires = [Recorded(owners), Recorded(owners)]
    for wire in wires:
        DPSinkhornGenerator(epsilon=5, steps=1, **ARRAYS).fit(federation(owners, X, y, wire))
    one, other = ([replies for _, replies in wire.seen][1]["north"] for wire in wires)
    assert kind_of(one) == "answer"
    assert not (words_of(one) == words_of(other)).any()


def test_the_statement_says_whom_it_holds_against(blobs, fitted):
    X, y = blobs
    assert "an owner can take its own share of the noise off" in str(fitted[2].privacy_spent())
    gen = DPSinkhornGenerator(epsilon=5, steps=1, **ARRAYS).fit(
        federation(made(split(X, y, by_chance(600))), X, y, colluding=1)
    )
    assert "together with 1 of the owners" in str(gen.privacy_spent())


# --- Who is lost, killed, late ---------------------------------------------------------------------------------------


def test_killed_owners_and_coordinators_end_in_the_same_release_on_one_charge(blobs, tmp_path):
    X, y = blobs
    parts = split(X, y, by_chance(600))
    ledgers = {name: PrivacyLedger() for name in NAMES}

    def alive():
        return {
            name: federated.Owner(
                name, *part, key=KEYS[name], peers=PEERS, epsilon=5, ledger=ledgers[name], folder=tmp_path / name
            )
            for name, part in zip(NAMES, parts, strict=True)
        }

    random, owners, invitation, answers = np.random.default_rng(0), alive(), {}, {}
    killed = set(random.choice(np.arange(3, 20), 5, replace=False).tolist())
    rounds = iter(range(1000))

    def exchange(sent):
        n, replies = next(rounds), {}
        for name, message in sent.items():
            if kind_of(message) == "invitation":
                invitation[name] = message
            replies[name] = owners[name].reply(message)
            if n in killed:  # after it had answered, before that came; and once more when it is back
                owners[name] = alive()[name]
                owners[name].open(invitation[name])
                again = owners[name].reply(message)
                assert again == replies[name]
            answers.setdefault(message, replies[name])
        if n in (7, 12):
            raise KeyboardInterrupt
        return replies

    own = PrivacyLedger()
    gen = DPSinkhornGenerator(epsilon=5, steps=4, **ARRAYS, ledger=own, checkpoint_dir=tmp_path / "coordinator")
    kill = [federated.Federation(exchange, PEERS, X[:1], y[:1]) for _ in range(3)]
    for fed in kill[:2]:
        with pytest.raises(KeyboardInterrupt):
            gen.fit(fed)
    gen.fit(kill[2])
    settings = ARRAYS | {"epsilon": 5, "steps": 4}
    together = Together(list(owners.values()), (X[:1], y[:1]), 3)
    assert_same(gen, DPSinkhornGenerator(**settings).fit(together))
    assert len(own) == 1
    assert [len(ledger) for ledger in ledgers.values()] == [1, 1, 1]


def without(name, kind, times=1):
    """A change of replies: those of an owner to messages of a kind do not come, so many times."""
    left = [times]

    def change(sent, replies):
        if left[0] and kind_of(next(iter(sent.values()))) == kind:
            left[0] -= 1
            return {other: reply for other, reply in replies.items() if other != name}
        return replies

    return change


def test_a_round_is_summed_without_who_is_absent(blobs):
    X, y = blobs
    owners = made(split(X, y, by_chance(600)))
    gen = DPSinkhornGenerator(epsilon=5, **ARRAYS)
    gen.fit(federation(owners, X, y, Recorded(owners, without("south", "question", 3)), absent=1))
    rows = {row.what: row.noise_multiplier for row in gen.privacy_spent().releases}
    assert np.isfinite(gen.sample(10)[0]).all()
    assert rows == {
        row.what: row.noise_multiplier
        for row in DPSinkhornGenerator(epsilon=5, **ARRAYS).fit(X, y).privacy_spent().releases
    }


def test_who_is_lost_is_named_and_the_fit_goes_on_when_he_is_back(blobs, tmp_path):
    X, y = blobs
    owners = made(split(X, y, by_chance(600)))
    gen = DPSinkhornGenerator(epsilon=5, steps=2, **ARRAYS, checkpoint_dir=tmp_path)
    for kind in ("question", "roll"):
        with pytest.raises(FitError, match="lost: south"):
            gen.fit(federation(owners, X, y, Recorded(owners, without("south", kind))))
    gen.fit(federation(owners, X, y))
    assert_same(gen, DPSinkhornGenerator(epsilon=5, steps=2, **ARRAYS).fit(Together(owners, (X[:1], y[:1]), 3)))


def test_one_who_does_not_take_part_ends_the_fit_before_it_is_charged(blobs):
    X, y = blobs
    owners, ledger = made(split(X, y, by_chance(600)), ledger=PrivacyLedger()), PrivacyLedger()
    fed = federation(owners, X, y, Recorded(owners, without("south", "invitation")))
    with pytest.raises(FitError, match="do not answer the invitation: south"):
        DPSinkhornGenerator(epsilon=5, **ARRAYS, ledger=ledger).fit(fed)
    assert not len(ledger)
    assert not len(owners[0]._ledger)


def sent_of(wire, kind):
    return next(message for sent, _ in wire.seen for message in sent.values() if kind_of(message) == kind)


def changed(message, **parts):
    read = messages.unpack(message)
    return messages.pack(read.content | parts, read.arrays)


def test_a_question_has_one_answer_and_a_step_one_question_and_one_roll(fitted):
    owners, wire, _ = fitted
    north = owners[0]
    question, roll = sent_of(wire, "question"), sent_of(wire, "roll")
    assert north.answer(question) == north.answer(question)
    assert north.close(roll) == north.close(roll)
    read = messages.unpack(question)
    other = json.loads(json.dumps(read.content).replace('"CountQuery", "with": [2]', '"CountQuery", "with": [3]'))
    assert other != read.content
    with pytest.raises(BadValueError, match="asked before, with another question"):
        north.answer(messages.pack(other, read.arrays))


def test_seeds_are_told_for_one_roll(blobs):
    X, y = blobs
    owners = made(split(X, y, by_chance(600)))
    wire = Recorded(owners)
    DPSinkhornGenerator(epsilon=5, steps=1, **ARRAYS).fit(federation(owners, X, y, wire, absent=1))
    roll = sent_of(wire, "roll")
    with pytest.raises(BadValueError, match="closed before, with another roll"):
        owners[0].close(changed(roll, present=["north", "south"]))
    with pytest.raises(BadValueError, match="1 owners, 2 were agreed on"):
        owners[0].close(changed(roll, present=["north"]))
    with pytest.raises(BadValueError, match="owners that there are not, or not this one"):
        owners[0].close(changed(roll, present=["south", "west"]))


# --- What is refused -------------------------------------------------------------------------------------------------


def refused(owners, X, y, match, error=FitError, exchange=None, settings=ARRAYS, **terms):
    ledger = PrivacyLedger()
    gen = DPSinkhornGenerator(epsilon=5, **settings, ledger=ledger)
    with pytest.raises(error, match=match):
        gen.fit(federation(owners, X, y, exchange, **terms))
    assert not len(ledger)
    assert not hasattr(gen, "release_")


def test_another_schema_is_refused_by_owner_and_column(quick_tables):
    X, y = table(300)
    parts = split(X, y, by_chance(300))
    parts[1] = (parts[1][0].rename(columns={"town": "city"}), parts[1][1])
    refused(made(parts), X, y, r"'south' refuses: .*lacks \[\['town', .*has \[\['city'", settings=TABLES)
    parts[1] = (parts[1][0].rename(columns={"city": "town"})[X.columns[::-1]], parts[1][1])
    refused(made(parts), X, y, "'south' refuses: .*in another order", settings=TABLES)
    parts[1] = (parts[0][0], None)
    refused(made(parts), X, y, "'south' refuses: .*labels None instead of 'text'", settings=TABLES)


def test_records_that_cannot_be_encoded_are_refused_without_being_shown(blobs):
    X, y = blobs
    parts = split(X, y, by_chance(600))
    parts[2][0][5, 1] = np.nan
    refused(made(parts), X, y, "'west' refuses: .*NaN")


def test_more_than_an_owner_agrees_to_is_refused(blobs):
    X, y = blobs
    parts = split(X, y, by_chance(600))
    refused(made(parts, epsilon=4.9), X, y, "costs epsilon 5 and delta 1e-05; this owner agrees to 4.9")
    refused(made(parts, delta=1e-6), X, y, "agrees to 5 and 1e-06")
    refused(made(parts, colluding=1), X, y, "protects against 0 colluding owners, 1 are wanted")


def test_a_wrong_key_is_refused_by_name(blobs):
    X, y = blobs
    parts = split(X, y, by_chance(600))
    with pytest.raises(BadValueError, match="key is not that of owner 'north'"):
        federated.Owner("north", X, y, key=KEYS["south"], peers=PEERS, epsilon=1)
    owners = made(parts)
    owners[1] = federated.Owner("south", *parts[1], key=KEYS["south"], peers=PEERS | {"west": PUBLIC["0"]}, epsilon=5)
    refused(owners, X, y, "'south' refuses: .*other keys there: west")


def test_masks_that_do_not_cancel_are_refused_by_name(blobs):
    X, y = blobs
    owners = made(split(X, y, by_chance(600)))
    owners[1]._key = KEYS["0"]
    gen = DPSinkhornGenerator(epsilon=5, **ARRAYS)
    with pytest.raises(FitError, match="'north' and 'south' do not agree on their mask"):
        gen.fit(federation(owners, X, y))
    owners = made(split(X, y, by_chance(600)))

    def change(sent, replies):
        reply = messages.unpack(replies["west"])
        if reply.content["kind"] == "answer":
            # Moved by half of all numbers: what is random lies within the range now and then.
            moved = reply.arrays["sum"] ^ np.iinfo(np.int64).min
            replies = replies | {"west": messages.pack(reply.content, {"sum": moved})}
        return replies

    with pytest.raises(FitError, match="masks of owners do not cancel in step 0 of 'count'"):
        gen.fit(federation(owners, X, y, Recorded(owners, change)))


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"mechanism": "batch"}, "mechanism='batch'"),
        ({"classes": None}, "declare labels"),
        ({"metadata": "trust"}, "which owners keep"),
        ({"sampling_rate": 0.5}, "sampling_rate must be 1"),
    ],
)
def test_what_is_no_sum_is_refused_before_it_is_charged(blobs, settings, match):
    X, y = blobs
    refused(made(split(X, y, by_chance(600))), X, y, match, BadValueError, settings=ARRAYS | settings)


def test_targets_of_tables_without_labels_are_refused(quick_tables):
    X, _ = table(300)
    settings = {name: value for name, value in TABLES.items() if name != "classes"}
    settings["mechanism"] = Marginals(target="town")
    refused(made(split(X, None, by_chance(300))), X, None, "give the target as y", BadValueError, settings=settings)


def test_tables_of_sets_that_are_not_declared_are_refused(quick_tables):
    X, y = table(300)
    settings = TABLES | {"schema": {"age": (17, 90), "height": (1, 3)}}
    refused(made(split(X, y, by_chance(300))), X, y, "declare categories", BadValueError, settings=settings)


def test_too_few_owners_or_too_many_who_may_be_lost_are_refused(blobs):
    X, y = blobs
    owners = made(split(X, y, by_chance(600)))
    with pytest.raises(BadValueError, match="two or more"):
        federation(owners[:1], X, y)
    with pytest.raises(BadValueError, match="leave at least 2 of 3"):
        federation(owners, X, y, colluding=1, absent=1)


def malformed(message, random):
    """The message with something wrong: bytes that differ, are missing or come twice, or parts that are others'."""
    kind = random.integers(6)
    if kind == 0:
        place = random.integers(len(message))
        return message[:place] + bytes([message[place] ^ (1 + random.integers(255))]) + message[place + 1 :]
    if kind == 1:
        return message[: random.integers(len(message))]
    if kind == 2:
        return message + message
    if kind == 3:
        return random.bytes(random.integers(200))
    read = messages.unpack(message)
    if kind == 4 and read.arrays:
        name = str(random.choice(list(read.arrays)))
        arrays = {other: array for other, array in read.arrays.items() if other != name}
        return messages.pack(read.content, arrays | {name: np.full(3, np.nan)} if random.integers(2) else arrays)
    name = str(random.choice(sorted(set(read.content) - {"owner"})))
    others = [None, [], {}, "", -1, 2**70, float("nan"), "north", {"query": "CountQuery"}, [["deep"] * 3]]
    return messages.pack(read.content | {name: others[random.integers(len(others))]}, read.arrays)


def test_malformed_messages_are_refused_and_nothing_changes(blobs):
    X, y = blobs
    owners, random, count = made(split(X, y, by_chance(600)), ledger=PrivacyLedger()), np.random.default_rng(0), [0]

    def exchange(sent):
        for name, message in sent.items():
            owner = next(owner for owner in owners if owner.name == name)
            for _ in range(4):
                reply = messages.unpack(owner.reply(malformed(message, random)))
                assert reply.content["kind"] == "refusal"
                assert "Error" not in reply.content["reason"] or "cannot be read" in reply.content["reason"]
                count[0] += 1
        return federated.InProcess(owners)(sent)

    gen = DPSinkhornGenerator(epsilon=5, steps=2, **ARRAYS).fit(federation(owners, X, y, exchange))
    assert count[0] >= 200
    assert_same(gen, DPSinkhornGenerator(epsilon=5, steps=2, **ARRAYS).fit(Together(owners, (X[:1], y[:1]), 3)))
    assert len(owners[0]._ledger) == 3  # one ledger for three owners here: one charge each


def test_malformed_replies_are_refused_by_name_and_the_fit_goes_on_from_there(blobs, tmp_path):
    X, y = blobs
    owners, random = made(split(X, y, by_chance(600))), np.random.default_rng(1)
    ledger = PrivacyLedger()
    gen = DPSinkhornGenerator(epsilon=5, steps=1, **ARRAYS, ledger=ledger, checkpoint_dir=tmp_path)
    n = [0]

    def change(sent, replies):
        n[0] += 1
        if n[0] % 3 == 0:  # the third of each attempt: the roll of a step that is not kept yet, or the next question
            return replies | {"south": malformed(replies["south"], random)}
        return replies

    for _ in range(40):
        fed = federation(owners, X, y, Recorded(owners, change))
        n[0] = 0
        with pytest.raises(FitError, match=r"owner 'south'|masks of owners do not cancel"):
            gen.fit(fed)
    gen.fit(federation(owners, X, y))
    assert_same(gen, DPSinkhornGenerator(epsilon=5, steps=1, **ARRAYS).fit(Together(owners, (X[:1], y[:1]), 3)))
    assert len(ledger) == 1


def test_replies_of_strangers_are_refused(blobs):
    X, y = blobs
    owners = made(split(X, y, by_chance(600)))
    refused(owners, X, y, "others than were asked: east", exchange=lambda sent: {"east": b""})


# --- Questions -------------------------------------------------------------------------------------------------------


def test_questions_are_read_as_they_were_made():
    query = tables.JointQuery(
        [tables.MarginalQuery([2, 3]), tables.SomeColumnsQuery(tables.MarginalQuery([4]), slice(1))], [0.7, 0.3]
    )
    parts, arrays = questions.to_parts(query)
    read = questions.from_parts(json.loads(json.dumps(parts, sort_keys=True)), arrays)
    assert type(read) is tables.JointQuery
    assert read.scales == query.scales
    assert read.queries[0].sensitivity == 2**0.5


def test_a_sensitivity_is_that_of_the_query_whatever_the_message_says():
    parts, arrays = questions.to_parts(tables.MarginalQuery([2, 3]))
    for told in ({"sensitivity": 1e-9}, {"with names": {"dict": {"sensitivity": 1e-9}}}):
        with suppress(BadValueError):
            assert questions.from_parts(parts | told, arrays).sensitivity == 2**0.5
    with pytest.raises(BadValueError, match="shares of queries must sum to 1"):
        questions.from_parts(
            questions.to_parts(tables.JointQuery([tables.MarginalQuery([2])], [1.0]))[0]
            | {"with": [[parts], [100.0]]}, arrays,
        )  # fmt: skip


def test_records_of_other_columns_are_no_question():
    source = ArraySource(torch.zeros(10, 14, dtype=torch.int16), torch.zeros(10).long())
    for query in (
        tables.MarginalQuery([5]),
        tables.PairQuery([5, 5]),
        tables.ServiceQuery(torch.ones(1, 1), torch.ones(1, 5), [5]),
    ):
        with pytest.raises(BadValueError, match="records that have others"):
            query.over(source, None)


@pytest.mark.parametrize("value", [lambda records: records, torch.nn.Linear(1, 1), open, {1: 2}, b"x"])
def test_nothing_else_can_be_sent(value):
    with pytest.raises(BadValueError, match="cannot be asked of owners"):
        questions.to_parts(value)


@pytest.mark.parametrize(
    "content",
    [
        {"function": "os.system"}, {"object": "open", "with": []},
        {"method": "map", "of": {"object": "L1Cost", "with": []}},
        {"partial": {"function": "builtins.eval"}, "with": ["1"]}, {"tensor": "9"}, {"query": "DistanceQuery"}, {},
        {"tuple": 3}, json.loads("[" * 25 + "]" * 25),
    ],
)  # fmt: skip
def test_nothing_else_is_read(content):
    with pytest.raises(BadValueError):
        questions.from_parts(content, {})


# --- Transport -------------------------------------------------------------------------------------------------------


def test_a_folder_carries_messages(blobs, tmp_path):
    X, y = blobs
    owners = made(split(X, y, by_chance(600)))
    done = threading.Event()
    threads = [threading.Thread(target=federated.serve, args=(owner, tmp_path, done.is_set)) for owner in owners]
    for thread in threads:
        thread.start()
    try:
        fed = federated.Federation(federated.Folder(tmp_path, every=0.005), PEERS, X[:1], y[:1])
        gen = DPSinkhornGenerator(epsilon=5, steps=1, **ARRAYS).fit(fed)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert_same(gen, DPSinkhornGenerator(epsilon=5, steps=1, **ARRAYS).fit(Together(owners, (X[:1], y[:1]), 3)))


def test_a_folder_does_not_wait_for_ever(tmp_path):
    assert federated.Folder(tmp_path, patience=0.01)({"north": b"hello"}) == {}


def test_a_session_belongs_to_one_process_of_an_owner(blobs, tmp_path):
    X, y = blobs
    owners = made(split(X, y, by_chance(600)), folder=tmp_path)
    with pytest.raises(FitError, match=r"'south' refuses: .*by another owner, in this folder"):
        DPSinkhornGenerator(epsilon=5, steps=1, **ARRAYS).fit(federation(owners, X, y))
    first, second = (Memory.of(tmp_path, "north", "session", "digest") for _ in range(2))
    assert (first.secret, first.nonce) == (second.secret, second.nonce)
    first.keep_question(("points", 0), "one")
    with pytest.raises(FitError, match="another process answers"):
        second.keep_question(("points", 0), "another")
    with pytest.raises(BadValueError, match="with another question"):
        Memory.of(tmp_path, "north", "session", "digest").keep_question(("points", 0), "another")


def test_a_line_that_a_crash_tore_was_never_acted_on(tmp_path):
    Memory.of(tmp_path, "north", "session", "digest").keep_question(("points", 0), "one")
    (file,) = tmp_path.glob("*.session")
    file.write_bytes(file.read_bytes()[:-3])
    Memory.of(tmp_path, "north", "session", "digest").keep_question(("points", 0), "another")
    file.write_bytes(b"{}}\n" + file.read_bytes())
    with pytest.raises(BadValueError, match="damaged"):
        Memory.of(tmp_path, "north", "session", "digest")
    with pytest.raises(BadValueError, match="none that a file can have"):
        Memory.of(tmp_path, "north", "../session", "digest")


def test_queries_know_what_they_were_made_with_also_as_copies():
    query = tables.MarginalQuery([2, 3], n_classes=2)
    assert query.asked == (([2, 3],), {"n_classes": 2})
    assert query._at("meta").asked == query.asked
