"""Keys, noise and coins: what every guarantee is drawn from."""

import builtins
import hashlib
import itertools
from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sinkgen import DPSinkhornGenerator, PrivacyLedger
from sinkgen.accounting import GaussianRelease, PrivacySpent
from sinkgen.privacy.streams import KEY_BYTES, Coins, Streams, _gaps, new_key

SECURE = pytest.mark.parametrize("secure", [False, True], ids=["philox", "cipher"])


def test_keys_are_long_and_never_twice_the_same():
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert {len(key) for key in keys} == {KEY_BYTES} == {32}
    assert new_key(7) == new_key(7) != new_key(8)


@SECURE
def test_noise_is_standard_normal(secure):
    """Scale, shape, tails and neighbouring words; false alarm 1e-5 each."""
    values = Streams(new_key(0), secure=secure).normal("points", 0, (400, 500)).flatten().numpy()
    assert 1e-5 < stats.chi2.cdf((values**2).sum(), len(values)) < 1 - 1e-5
    assert stats.kstest(values, "norm").pvalue > 1e-5
    beyond = int((np.abs(values) > 3.5).sum())
    assert stats.binomtest(beyond, len(values), 2 * stats.norm.sf(3.5)).pvalue > 1e-5
    for lag in (1, 2, 4, 8):
        assert abs(np.corrcoef(values[:-lag], values[lag:])[0, 1]) < 5 / np.sqrt(len(values))


@SECURE
def test_every_step_of_every_release_has_streams_of_its_own(secure):
    """Noise of any two is uncorrelated, and so is a step's noise with its coins."""
    streams, n = Streams(new_key(1), secure=secure), 20_000
    drawn = {f"{what} {step}": streams.normal(what, step, (n,)).numpy() for what, step in product("ab", range(3))}
    in_sample = np.zeros(n)
    in_sample[streams.sampling("a", 0).rows(0, n, 0.5)] = 1.0
    rows = np.stack([*drawn.values(), in_sample])
    correlation = np.corrcoef(rows) - np.eye(len(rows))
    assert np.abs(correlation).max() < 6 / np.sqrt(n)


@SECURE
def test_a_step_that_is_repeated_draws_what_it_drew(secure):
    key = new_key()
    one, other = Streams(key, secure=secure), Streams(key, secure=secure)
    one.normal("points", 0, (5,))  # what was drawn before does not matter
    assert torch.equal(one.normal("points", 3, (40, 2)), other.normal("points", 3, (40, 2)))
    assert np.array_equal(one.sampling("points", 3).rows(0, 99, 0.3), other.sampling("points", 3).rows(0, 99, 0.3))


@SECURE
@given(
    start=st.integers(0, 2**40), n=st.integers(0, 50), rate=st.floats(0, 1, exclude_max=True), cut=st.integers(0, 50)
)
def test_whether_a_record_is_drawn_belongs_to_its_position(secure, start, n, rate, cut):
    coins, cut = Streams(new_key(2), secure=secure).sampling("points", 0), min(cut, n)
    whole = coins.rows(start, n, rate).tolist()
    assert whole == sorted(set(whole))
    assert whole == [*coins.rows(start, cut, rate), *(cut + coins.rows(start + cut, n - cut, rate))]


@pytest.mark.parametrize("rate", [1e-4, 50 / 60_000, 0.07, 0.5, 0.99, 1 - 2.0**-53])
def test_each_record_is_drawn_with_its_rate_and_never_more_often(rate):
    """The gaps in rational numbers: given that none was drawn since the last, the next is, with the rate."""
    threshold = int(rate * 2.0**64)
    gaps = _gaps(threshold)
    free = [Fraction(1), *(Fraction(part, 2**128) for part in reversed(gaps.exact))]
    hazards = [1 - after / before for before, after in pairwise(free[:2000])]
    assert max(hazards) <= Fraction(threshold, 2**64) <= rate
    assert min(hazards) > Fraction(threshold, 2**64) - Fraction(1, 2**96)
    assert len(gaps.exact) == gaps.block
    assert gaps.high.tolist() == [part >> 64 for part in gaps.exact]


@given(rate=st.floats(1e-3, 0.99), start=st.integers(0, 2**33), n=st.integers(1, 300))
def test_a_sample_is_what_its_gaps_say(rate, start, n):
    """Against one jump after the other, compared in whole numbers of 128 bits; half of the upper words are ties."""
    gaps = _gaps(int(rate * 2.0**64))

    def word(i):
        drawn = int.from_bytes(hashlib.blake2b(f"{i}".encode(), digest_size=8).digest(), "little")
        return int(gaps.high[drawn % gaps.block]) if i % 2 and i < 2**96 else drawn

    def reference(block):
        end = -1
        for i in itertools.count():
            chunk, jump = divmod(i, gaps.jumps)
            at = gaps.jumps * block + jump + 2**64 * chunk
            uniform = word(at) << 64 | word(2**96 + at)
            end += 1 + sum(uniform < free for free in gaps.exact)
            if end >= gaps.block:
                return
            yield gaps.block * block + end

    coins = Coins(lambda first, m: np.array([word(i) for i in range(first, first + m)], dtype=np.uint64))
    blocks = range(start // gaps.block, (start + n - 1) // gaps.block + 1)
    expected = [row - start for block in blocks for row in reference(block) if start <= row < start + n]
    assert coins.rows(start, n, rate).tolist() == expected


@pytest.mark.parametrize(("word", "drawn"), [(0, 0), (2**64 - 1, 50_000)])
def test_all_records_can_be_drawn_and_none(word, drawn):
    coins = Coins(lambda start, n: np.full(n, word, dtype=np.uint64))
    assert len(coins.rows(7, 50_000, 1e-3)) == drawn


@SECURE
def test_a_small_sample_of_many_records_reads_few_words(secure):
    """Sixty records of sixty thousand are found without a word for each."""
    words = Streams(new_key(6), secure=secure).sampling("points", 0)._words
    read = []

    def counted(start, n):
        read.append(n)
        return words(start, n)

    assert 20 < len(Coins(counted).rows(0, 60_000, 1e-3)) < 120
    assert sum(read) < 300


@SECURE
def test_coins_fall_with_their_rate_far_beyond_one_piece(secure):
    coins, n = Streams(new_key(4), secure=secure).sampling("points", 0), 600_000
    rows = coins.rows(0, n, 0.1)
    assert stats.binomtest(len(rows), n, 0.1).pvalue > 1e-5
    assert stats.chisquare(np.histogram(rows, 50, (0, n))[0]).pvalue > 1e-5
    assert stats.chisquare(np.bincount(rows % 8)).pvalue > 1e-5


def test_pieces_of_cipher_noise_do_not_repeat():
    streams = Streams(new_key(0), secure=True)
    many, few = streams.normal("points", 0, (70_000,)), streams.normal("points", 0, (40_000,))
    assert torch.equal(many[:32_768], few[:32_768])
    assert len(many.unique()) == len(many)


# --- what users see of it --------------------------------------------------------------------------------------------


def test_statement_ledger_and_total_say_which_noise_it_was(blobs, tmp_path):
    ledger = PrivacyLedger(tmp_path / "ledger.jsonl")
    gen = DPSinkhornGenerator(schema=(-4, 4), classes=[0, 1], steps=3, ledger=ledger, secure_noise=True).fit(*blobs)
    spent = gen.privacy_spent()
    assert spent.secure_noise
    assert "of a cipher" in str(spent)
    assert PrivacySpent.from_dict(spent.to_dict()) == spent
    assert [entry.secure_noise for entry in PrivacyLedger(ledger.path)] == [True]
    assert ledger.total().secure_noise
    gen.set_params(secure_noise=False).fit(*blobs)
    assert not ledger.total().secure_noise
    assert "of a cipher" not in str(gen.privacy_spent())


def test_secure_and_plain_noise_of_one_seed_differ(blobs):
    gens = [
        DPSinkhornGenerator(schema=(-4, 4), steps=3, noise_seed=0, random_state=0, secure_noise=secure)
        for secure in (False, True, True)
    ]
    with pytest.warns(UserWarning, match="noise_seed"):
        plain, secure, again = (gen.fit(blobs[0]).release_.generator.mixture.points for gen in gens)
    assert not torch.equal(plain, secure)
    assert torch.equal(secure, again)


def test_without_the_package_the_error_says_what_to_install_and_nothing_is_spent(blobs, monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    ledger = PrivacyLedger()
    with pytest.raises(ImportError, match=r"sinkgen\[secure\]"):
        DPSinkhornGenerator(schema=(-4, 4), secure_noise=True, ledger=ledger).fit(*blobs)
    assert len(ledger) == 0


def test_a_statement_of_a_version_without_secure_noise_can_be_read():
    content = PrivacySpent.of([GaussianRelease("means", 1.0)], 1e-5).to_dict()
    del content["secure_noise"]
    assert not PrivacySpent.from_dict(content).secure_noise
