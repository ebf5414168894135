"""Records from files and streams: the same release as from memory, in little memory, and bad ones refused by name."""

import itertools
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import torch

from sinkgen import Column, DPSinkhornGenerator, PrivacyLeakWarning, PrivacyLedger
from sinkgen.records import CHUNK, ChunkedSource, Records
from sinkgen.sources.chunks import chunks
from sinkgen.sources.files import parquet

pytestmark = [
    pytest.mark.filterwarnings("ignore::sinkgen.exceptions.ReproducibleNoiseWarning"),
    pytest.mark.usefixtures("quick_tables"),
]
N = 3000
CUTS = (7, 64)


def generator(**given):
    return DPSinkhornGenerator(**{"epsilon": 2.0, "noise_seed": 1, "random_state": 0} | given)


def released(gen):
    """Every released tensor, and the statement."""
    drawn = gen.release_.generator
    parts = vars(drawn.mixture) if hasattr(drawn, "mixture") else drawn.state_dict()
    return parts, gen.privacy_spent()


def assert_same(one, other):
    (parts, spent), (other_parts, other_spent) = released(one), released(other)
    assert spent == other_spent
    for name, value in parts.items():
        assert torch.equal(value, other_parts[name]), name


def pieces(n_pieces, *arrays):
    """The arrays cut at uneven places, an empty piece among them."""
    ends = np.sort(np.random.default_rng(n_pieces).integers(0, N, n_pieces - 1))
    ends = [0, *ends.tolist(), N]
    return [tuple(array[start:end] for array in arrays) for start, end in itertools.pairwise(ends)]


@pytest.fixture(scope="module")
def numbers():
    random = np.random.default_rng(0)
    return random.normal(size=(N, 3)), random.integers(0, 2, N)


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": random.integers(17, 90, N),
            "income": random.lognormal(3, 1, N),
            "town": random.choice(["A", "B", "C"], N),
            "rooms": pd.array(random.integers(1, 6, N), dtype="Int64"),
            "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 900, N), unit="D"),
            "owner": random.random(N) < 0.3,
            "answer": random.choice(["no", "yes"], N),
        }
    )
    frame.loc[random.random(N) < 0.1, "rooms"] = pd.NA
    return frame


@pytest.fixture(scope="module")
def folder(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("table")
    for i in range(3):
        part = table.iloc[1000 * i : 1000 * (i + 1)]
        part.to_parquet(path / f"part.{i}.parquet", row_group_size=300, index=False)
    return path


@pytest.mark.parametrize("given", [{}, {"metadata": "trust", "schema": None}], ids=str)
@pytest.mark.filterwarnings("ignore::sinkgen.exceptions.PrivacyLeakWarning")
def test_the_release_does_not_depend_on_how_numbers_came(numbers, given, tmp_path):
    given = {"schema": (-4, 4), "steps": 3} | given
    whole = generator(**given).fit(*numbers)
    for n_pieces in CUTS:
        assert_same(generator(**given).fit(chunks(pieces(n_pieces, *numbers))), whole)
    mapped = np.memmap(tmp_path / "numbers", dtype="f8", mode="w+", shape=numbers[0].shape)
    mapped[:] = numbers[0]
    assert_same(generator(**given).fit(mapped, numbers[1]), whole)


def test_the_batch_mechanism_reads_chunks(numbers):
    given = {"schema": (-4, 4), "mechanism": "batch", "generator": "mlp", "steps": 5}
    whole = generator(**given).fit(*numbers)
    chunked = generator(**given).fit(chunks(pieces(7, *numbers)))
    assert all(torch.equal(one, other) for one, other in zip(
        whole.generator_.parameters(), chunked.generator_.parameters(), strict=True
    ))  # fmt: skip


@pytest.mark.parametrize("metadata", ["learn", "trust"])
@pytest.mark.filterwarnings("ignore::sinkgen.exceptions.PrivacyLeakWarning")
def test_the_release_does_not_depend_on_how_a_table_came(table, folder, metadata):
    whole = generator(metadata=metadata).fit(table.drop(columns="answer"), table["answer"])
    frames = chunks([table.iloc[start : start + 777] for start in range(0, N, 777)])
    for X in (frames, folder, parquet(sorted(folder.iterdir())), table):
        again = generator(metadata=metadata).fit(X, y="answer")
        assert_same(again, whole)
    (X, y), (X_whole, y_whole) = again.sample(50, random_state=0), whole.sample(50, random_state=0)
    pd.testing.assert_frame_equal(X, X_whole)
    assert y.tolist() == y_whole.tolist()


def test_some_columns_of_parquet(folder):
    gen = generator(schema={"age": (17, 90)}).fit(parquet(folder, columns=["town", "age"]), y="answer")
    assert gen.feature_names_in_.tolist() == ["town", "age"]
    assert gen.classes_.tolist() == ["no", "yes"]


def test_dtypes_of_parquet_follow_from_its_schema_alone(tmp_path):
    """A missing cell in one file may not change the dtype of what is drawn."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for i, last in enumerate([3, None]):
        pq.write_table(pa.table({"n": [1, 2, last] * 50, "flag": [True, False, last is None] * 50}), tmp_path / f"{i}")
    X = (
        generator(schema={"n": Column("integer", (1, 3), nullable=True)})
        .fit(parquet([tmp_path / "0", tmp_path / "1"]))
        .sample(5)
    )
    assert X.dtypes.astype(str).to_dict() == {"n": "Int64", "flag": "boolean"}


def test_frames_with_bounds_are_arrays(numbers):
    X = numbers[0]
    frames = chunks([pd.DataFrame(part, columns=list("abc")) for (part,) in pieces(5, X)])
    assert_same(generator(schema=(-4, 4)).fit(frames), generator(schema=(-4, 4)).fit(X))
    assert generator(schema=(-4, 4)).fit(frames).sample(2).columns.tolist() == ["a", "b", "c"]


def test_nothing_of_the_size_of_the_data_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr("sinkgen.records.PIECE", 4096)
    n, d = 200_000, 8  # 13 MB as they lie in the file, half as encoded
    X = np.memmap(tmp_path / "X", dtype="f8", mode="w+", shape=(n, d))
    X[:] = np.random.default_rng(0).random((n, d))
    tracemalloc.start()
    generator(schema=(0, 1), steps=2).fit(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < n * d  # bytes of numpy's; torch's chunks are of one size


def refused(X, error, message, y=None, **given):
    ledger = PrivacyLedger()
    with pytest.raises(error, match=message) as caught:
        generator(ledger=ledger, **given).fit(X, y)
    assert not len(ledger)
    assert "secret" not in str(caught.value)


def test_bad_chunks_are_refused_by_name_before_anything_is_spent(numbers, table):
    X, y = numbers
    two = X[:10, :2]
    refused(chunks([X[:10], two]), ValueError, r"chunk 1 .*shape \(2,\)", schema=(0, 1))
    refused(chunks([X[:10], X[:10].astype("f4")]), ValueError, "chunk 1 .*float32, not float64")
    refused(chunks([(X[:10], y[:10]), (X[:10], y[:10].astype(str))]), ValueError, "chunk 1 .*labels have dtype")
    refused(chunks([(X[:10], y[:10]), X[:10]]), ValueError, "chunk 1 .*labels come")
    refused(chunks([X[:10], table]), ValueError, "chunk 1 .*data frame")
    refused(chunks([X[:10], np.full((2, 3), np.nan)]), ValueError, "NaN or infinity")
    refused(chunks([]), ValueError, "0 records")
    refused(chunks([X[:0]]), ValueError, "0 records")
    other = table.rename(columns={"age": "years"})
    refused(chunks([table, other]), ValueError, r"chunk 1 .*missing \['age'\], additional \['years'\]")
    refused(chunks([table, table.astype({"age": "float"})]), ValueError, "chunk 1 .*'age' has dtype float64, not int64")
    refused(chunks([table]), ValueError, "'wages'", y="wages")
    refused(chunks([X[:10]]), TypeError, "pairs", y="wages")
    refused(chunks([X[:10]]), TypeError, "name of a column", y=y)
    mixed = table.assign(town=pd.Series(["secret", 3] * (N // 2), dtype=object))
    refused(chunks([table.astype({"town": object}), mixed]), TypeError, "'town' holds mixed")


def test_bad_files_are_refused_by_name_before_anything_is_spent(table, folder, tmp_path):
    for i, frame in enumerate((table, table.rename(columns={"age": "years"}))):
        frame.to_parquet(tmp_path / f"{i}.parquet")
    refused(tmp_path, ValueError, r"1\.parquet is not like the first.*'age' is missing, not int64")
    refused(parquet(folder, columns=["wages"]), ValueError, r"lack columns \['wages'\]")
    refused(folder, ValueError, r"lack columns \['wages'\]", y="wages")
    refused(folder, TypeError, "name of a column", y=table["answer"])
    refused(tmp_path / "none.parquet", FileNotFoundError, "none")
    table.assign(age=table["age"].astype(float)).to_parquet(tmp_path / "1.parquet")
    refused(tmp_path, ValueError, r"1\.parquet .*'age' is double, not int64")


def test_an_iterator_would_be_used_up(numbers):
    with pytest.raises(TypeError, match="callable that returns a new iterator"):
        chunks(iter([numbers[0]]))


def test_passes_that_differ_are_noticed(numbers):
    lengths = iter([100, 100, 100, 50, 50, 50])

    def make():
        yield numbers[0][: next(lengths)]

    with pytest.raises(RuntimeError, match="each pass must give the same records"):
        generator(schema=(-4, 4), steps=2).fit(chunks(make))


def test_trust_warns_for_files_too(folder):
    with pytest.warns(PrivacyLeakWarning, match="schema\\['age'\\]"):
        generator(metadata="trust").fit(parquet(folder, columns=["age"]))


def watched_fit(X, y=None, **given):
    """What the callback is told."""
    seen = []
    generator(callback=seen.append, **given).fit(X, y)
    return [(progress.what, progress.step, progress.steps) for progress in seen], seen


def test_passes_over_files_are_told_file_by_file(folder):
    told, seen = watched_fit(folder, "answer", epsilon=0.2)
    passes = list(dict.fromkeys(what for what, _, _ in told if what.startswith("pass: ")))
    first = ("check", "count", "labels", "categories", "rare categories", "bins")
    others = {"cells", "marginals", "moments", "labelling", "interaction parities", "interactions"}
    assert passes[:6] == [f"pass: {what}" for what in first]
    # In which order, and whether those that marginals may stand in for are asked themselves, the noise decides.
    assert {"pass: cells", "pass: marginals"} <= set(passes[6:]) <= {f"pass: {what}" for what in others}
    for what in passes:
        steps = [step for other, *step in told if other == what]  # "bins" are counted several times
        assert steps == [[done, 3] for done in range(4)] * max(1, len(steps) // 4)
    assert [progress.epsilon for progress in seen] == sorted(progress.epsilon for progress in seen)
    assert seen[0].epsilon == 0


def test_what_is_told_of_passes_is_the_same_for_neighbouring_data(numbers, table, tmp_path):
    """Also where one record more or less is one chunk, or one row group, more or less."""
    given = {"schema": (-4, 4), "steps": 2}
    X = np.tile(numbers[0], (3, 1))[: CHUNK + 1]
    for chunked in (lambda X: chunks(np.array_split(X, range(100, len(X), 100))), lambda X: as_memmap(X, tmp_path)):
        told, fewer = (watched_fit(chunked(rows), **given)[0] for rows in (X, X[:-1]))
        assert told == fewer
        assert ("pass: points", 1, 1) in told
    for n in (N, N - 1):
        (tmp_path / str(n)).mkdir()
        for i, rows in enumerate((slice(0, 1000), slice(1000, n))):
            table.iloc[rows].to_parquet(tmp_path / str(n) / f"{i}.parquet", row_group_size=len(table) - 1001)
    assert watched_fit(tmp_path / str(N), "answer")[0] == watched_fit(tmp_path / str(N - 1), "answer")[0]


def as_memmap(X, folder):
    mapped = np.memmap(folder / f"{len(X)}.mapped", dtype="f8", mode="w+", shape=X.shape)
    mapped[:] = X
    return mapped


def test_nothing_is_told_of_passes_over_memory(numbers):
    assert {what for what, _, _ in watched_fit(numbers[0], schema=(-4, 4), steps=2)[0]} == {"private steps"}


def test_pieces_are_bounded_by_records_and_by_numbers():
    seen = []

    def encode(records):
        seen.append(records.values.shape)
        return Records(torch.zeros(len(records), 1))

    for make in (lambda: iter([np.zeros((100, 300, 300))]), lambda: iter([np.zeros((200_000, 2))])):
        source = ChunkedSource(lambda make=make: map(Records, make())).map(encode)
        assert source.reduce(lambda chunks: sum(map(len, chunks)), sum) in (100, 200_000)
    assert max(shape[0] for shape in seen) <= 2**16
    assert max(np.prod(shape) for shape in seen) <= 2**21
