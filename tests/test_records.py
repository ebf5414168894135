import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sinkgen.privacy.streams import Streams, new_key
from sinkgen.records import ArraySource, ChunkedSource, Draw, Records, rechunked


def array_source(n):
    return ArraySource(torch.arange(n)[:, None], torch.arange(n) % 3, chunk_size=7)


def chunked_source(n):
    values, labels = torch.arange(n)[:, None], torch.arange(n) % 3
    return ChunkedSource(lambda: (Records(values[i : i + 7], labels[i : i + 7]) for i in range(0, n, 7)))


SOURCES = pytest.mark.parametrize("make", [array_source, chunked_source])


def coins(seed, step=0):
    return Streams(new_key(seed)).sampling("points", step)


def drawn(source, rate=1, coins=None):
    draw = None if rate == 1 else Draw(rate, coins)
    return source.reduce(_numbers, _joined, draw)


def _numbers(chunks):
    return [int(value) for chunk in chunks for value in chunk.values.flatten()]


def _joined(parts):
    return list(itertools.chain.from_iterable(parts))


@SOURCES
def test_full_pass_yields_every_record_once(make):
    assert drawn(make(50)) == list(range(50))


@SOURCES
def test_map_acts_on_records_and_can_be_read_again(make):
    mapped = make(20).map(lambda records: Records(2 * records.values, records.labels))
    for _ in range(2):
        assert [int(v) for chunk in mapped.chunks() for v in chunk.values] == list(range(0, 40, 2))
        assert [int(c) for chunk in mapped.chunks() for c in chunk.labels] == [i % 3 for i in range(20)]


@SOURCES
def test_every_record_is_drawn_independently_with_the_rate(make):
    """Batch sizes are binomial and every record comes equally often; false alarm 1e-5 each."""
    n, rate, repeats = 60, 0.2, 2000
    batches = [drawn(make(n), rate, coins(1, step)) for step in range(repeats)]
    sizes = np.array(list(map(len, batches)))
    assert all(len(set(batch)) == len(batch) for batch in batches)
    assert stats.binomtest(int(sizes.sum()), n * repeats, rate).pvalue > 1e-5
    spread = sizes.var(ddof=1) * (repeats - 1) / (n * rate * (1 - rate))  # fixed-size batches would give 0
    assert 1e-5 < stats.chi2.cdf(spread, repeats - 1) < 1 - 1e-5
    counts = np.bincount(np.concatenate(batches), minlength=n)
    assert stats.chisquare(counts).pvalue > 1e-5


@SOURCES
def test_a_tiny_rate_gives_empty_batches_and_ends(make):
    assert drawn(make(30), 1e-6, coins(2)) == []


def test_batches_of_two_steps_differ():
    assert drawn(array_source(200), 0.5, coins(3, 0)) != drawn(array_source(200), 0.5, coins(3, 1))


@settings(deadline=None)
@given(n=st.integers(0, 300), cuts=st.lists(st.integers(1, 60), max_size=12), rate=st.floats(0, 0.99))
def test_the_sample_does_not_depend_on_the_chunks(n, cuts, rate):
    ends = [min(end, n) for end in np.cumsum(cuts)] + [n]
    values = torch.arange(n)[:, None]

    def read():
        return (Records(values[start:end]) for start, end in itertools.pairwise([0, *ends]))

    whole = drawn(ArraySource(values), rate, coins(5))
    assert drawn(ChunkedSource(read), rate, coins(5)) == whole
    assert drawn(ArraySource(values, chunk_size=3), rate, coins(5)) == whole


@settings(deadline=None)
@given(sizes=st.lists(st.integers(0, 40), max_size=12), size=st.integers(1, 30))
def test_chunks_of_one_size_hold_the_same_records(sizes, size):
    ends = np.cumsum(sizes) if sizes else np.array([0])
    values = torch.arange(int(ends[-1]))[:, None]
    read = (
        Records(values[start:end], values[start:end, 0] % 3) for start, end in itertools.pairwise([0, *ends.tolist()])
    )
    made = list(rechunked(read, itertools.repeat(size)))
    assert all(len(chunk) == size for chunk in made[:-1])
    assert not made or 0 < len(made[-1]) <= size
    assert [int(v) for chunk in made for v in chunk.values] == values.flatten().tolist()
    assert [int(v) for chunk in made for v in chunk.labels] == (values.flatten() % 3).tolist()
