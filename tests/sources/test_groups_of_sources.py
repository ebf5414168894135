"""Persons whose rows come in chunks, files and partitions: the release is that of records in memory."""

import numpy as np
import pandas as pd
import pytest
import torch

from sinkgen import DPSinkhornGenerator, PrivacyLedger
from sinkgen.records import CHUNK
from sinkgen.sources import chunks, parquet

pytestmark = [
    pytest.mark.filterwarnings("ignore::sinkgen.exceptions.ReproducibleNoiseWarning"),
    pytest.mark.usefixtures("quick_tables"),
]
N = CHUNK + 900  # rows of a person lie in two chunks


def generator(**given):
    return DPSinkhornGenerator(**{"epsilon": 4.0, "noise_seed": 1, "random_state": 0, "steps": 2} | given)


def assert_same(one, other):
    assert one.privacy_spent() == other.privacy_spent()
    drawn, expected = (vars(gen.release_.generator.mixture) for gen in (one, other))
    assert all(torch.equal(value, expected[name]) for name, value in drawn.items())


@pytest.fixture(scope="module")
def numbers():
    random = np.random.default_rng(0)
    return random.normal(size=(N, 2)), random.integers(0, 2, N), random.integers(0, 3000, N)


@pytest.fixture(scope="module")
def table(numbers):
    X, y, ids = numbers
    town = np.where(X[:, 0] > 0, "A", "B")
    return pd.DataFrame({"age": X[:, 1].round(1), "town": town, "who": [f"patient-{i}" for i in ids], "answer": y})


@pytest.mark.parametrize("given", [{}, {"max_rows_per_group": 2, "sampling_rate": 0.3}], ids=str)
def test_numbers_come_as_they_will(numbers, given, tmp_path):
    X, y, ids = numbers
    given = {"schema": (-4, 4), "classes": [0, 1]} | given
    whole = generator(**given).fit(X, y, groups=ids)
    triples = [(X[i : i + 1999], y[i : i + 1999], ids[i : i + 1999]) for i in range(0, N, 1999)]
    assert_same(generator(**given).fit(chunks(triples)), whole)
    mapped = np.memmap(tmp_path / "numbers", dtype="f8", mode="w+", shape=X.shape)
    mapped[:] = X
    assert_same(generator(**given).fit(mapped, y, groups=ids), whole)


def test_tables_come_as_they_will(table, tmp_path):
    given = {"schema": {"age": (-4, 4), "town": ["A", "B"]}, "classes": [0, 1], "steps": "auto"}
    whole = generator(**given).fit(table, "answer", groups="who")
    for i in range(2):
        table.iloc[5000 * i : 5000 * (i + 1)].to_parquet(tmp_path / f"{i}.parquet", index=False)
    frames = chunks([table.iloc[i : i + 1999] for i in range(0, N, 1999)])
    for X in (frames, tmp_path, parquet(tmp_path, columns=["age", "town"])):
        again = generator(**given).fit(X, "answer", groups="who")
        assert again.feature_names_in_.tolist() == ["age", "town"]
        pd.testing.assert_frame_equal(again.sample(50, random_state=0)[0], whole.sample(50, random_state=0)[0])


def test_dask_partitions_come_as_they_will(numbers, table):
    dask = pytest.importorskip("dask")
    import dask.array as da
    import dask.dataframe as dd

    X, y, ids = numbers
    with dask.config.set(scheduler="synchronous"):
        given = {"schema": (-4, 4), "classes": [0, 1], "max_rows_per_group": 2, "sampling_rate": 0.3}
        whole = generator(**given).fit(X, y, groups=ids)
        parts = [da.from_array(part, chunks=(2500, *part.shape[1:])) for part in (X, y, ids)]
        for groups in (parts[2], ids):
            assert_same(generator(**given).fit(*parts[:2], groups=groups), whole)
        given = {"schema": {"age": (-4, 4), "town": ["A", "B"]}, "classes": [0, 1], "steps": "auto"}
        whole = generator(**given).fit(table, "answer", groups="who")
        again = generator(**given).fit(dd.from_pandas(table, npartitions=3), "answer", groups="who")
        drawn, expected = (gen.sample(50, random_state=0)[0] for gen in (again, whole))
        pd.testing.assert_frame_equal(drawn, expected, check_dtype=False)  # Dask has a text dtype of its own


def test_chunks_whose_ids_are_of_another_kind_are_refused_before_anything_is_spent(numbers, table):
    X, y, ids = numbers
    texts = np.array([f"patient-{i}" for i in ids])
    triples = [(X[:9], y[:9], ids[:9]), (X[9:], y[9:], texts[9:])]
    missing = table.assign(who=table["who"].where(table.index != N - 1))
    for made, groups, message in (
        (triples, None, "chunk 1 is not like the first: groups are numbers in one, and texts in the other"),
        ([triples[0], (X[9:], y[9:])], None, "chunk 1 is not like the first: groups come with some chunks"),
        ([missing[:99], missing[99:]], "who", "column 'who', the groups, holds missing values"),
        ([table[:99]], "nobody", "groups names a column that X lacks: 'nobody'"),
    ):
        ledger = PrivacyLedger()
        with pytest.raises(ValueError, match=message) as caught:
            generator(ledger=ledger, steps="auto").fit(chunks(made), groups=groups)
        assert "patient-" not in str(caught.value)
        assert not len(ledger)
    with pytest.raises(TypeError, match="groups must be the name of a column"):
        generator().fit(chunks(triples), groups=ids)
