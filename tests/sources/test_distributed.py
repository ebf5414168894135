"""Dask: the release that memory gives, on threads and on a cluster, also when a worker dies."""

import itertools
import os
import signal
import threading
import time
from types import SimpleNamespace

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import torch
from distributed import Client, LocalCluster

from sinkgen import DPSinkhornGenerator, PrivacyLedger
from sinkgen._groups import sort_by_class
from sinkgen.accounting import GaussianRelease
from sinkgen.privacy.mechanism import GaussianMechanism
from sinkgen.privacy.queries.moments import MeanQuery
from sinkgen.privacy.streams import Streams, new_key
from sinkgen.records import CHUNK, Draw, Records
from sinkgen.sources import cluster as dask_cluster
from sinkgen.sources.open import open_records
from sinkgen.sources.partitions import Partitions

pytestmark = [
    pytest.mark.filterwarnings("ignore::sinkgen.exceptions.ReproducibleNoiseWarning"),
    pytest.mark.usefixtures("quick_tables"),
]
N = 3 * CHUNK + 100


def generator(**given):
    return DPSinkhornGenerator(**{"epsilon": 2.0, "noise_seed": 1, "random_state": 0, "schema": (-4, 4)} | given)


def assert_same(one, other):
    assert one.privacy_spent() == other.privacy_spent()
    for name, value in vars(other.release_.generator.mixture).items():
        assert torch.equal(vars(one.release_.generator.mixture)[name], value), name


@pytest.fixture(scope="module")
def numbers():
    random = np.random.default_rng(0)
    return random.normal(size=(N, 3)), random.integers(0, 2, N)


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(0)
    ages, towns = random.integers(17, 90, 400), random.choice(["A", "B"], 400)
    return pd.DataFrame({"age": ages, "town": towns, "answer": random.choice(["no", "yes"], 400)})


@pytest.fixture(scope="module")
def cluster():
    quiet = {"distributed.logging.distributed": "critical", "distributed.worker.profile.enabled": False}
    with dask.config.set(quiet), LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as made:
        yield made


def mapped(records):
    labels = None if records.labels is None else torch.tensor(np.asarray(records.labels))
    return Records(torch.tensor(np.asarray(records.values), dtype=torch.float32), labels)


def turned(records):
    """Products of matrices, which round by their shape, and another order."""
    return sort_by_class(
        Records(records.values @ torch.rand(3, 3, generator=torch.Generator().manual_seed(0)), records.labels)
    )


@pytest.fixture
def short_spans(monkeypatch):
    for module in ("records", "sources.distributed"):
        monkeypatch.setattr(f"sinkgen.{module}.SPAN", 2)


@pytest.mark.usefixtures("short_spans")
@pytest.mark.parametrize("size", [CHUNK, 10_000, N // 64])
def test_the_partitions_make_no_difference(numbers, size):
    """Whole chunks, partitions that cut them, and partitions smaller than a chunk: the release of memory."""
    (X, y), given = numbers, {"steps": 4, "epsilon": 10.0, "classes": [0, 1]}
    cut = da.from_array(X, chunks=(size, 2))
    for rate in (1.0, 0.3):
        whole = generator(sampling_rate=rate, **given).fit(X, y)
        assert_same(generator(sampling_rate=rate, **given).fit(cut, da.from_array(y, chunks=1000)), whole)
    assert_same(generator(sampling_rate=rate, **given).fit(cut, y), whole)


@pytest.mark.usefixtures("short_spans")
@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_frames_of_unknown_length_are_cut_where_arrays_are(numbers, rate):
    """An empty partition too; and the places that records lie at are no matter."""
    (X, y), query = numbers, MeanQuery(torch.zeros(3), 2.0)
    draw = None if rate == 1 else Draw(rate, Streams(new_key(2)).sampling("points", 0))
    whole = query.over(open_records(X, y).source.map(mapped).map(turned), draw)
    frame = pd.DataFrame(X, columns=list("abc")).assign(label=y)
    ends = [0, 100, 100, 9_000, 9_001, 20_000, N]
    parts = [dask.delayed(frame.iloc[low:high]) for low, high in itertools.pairwise(ends)]
    source = open_records(dd.from_delayed(parts, meta=frame.iloc[:0]), "label", as_array=True).source
    assert torch.equal(query.over(source.map(mapped).map(turned), draw), whole)


def test_passes_are_told_by_partitions_however_they_are_cut(numbers):
    """The number of partitions is public, that of chunks is not: neighbouring data look alike."""
    told = []
    for first in (CHUNK // 2 + 1, CHUNK // 2 - 1):
        seen = []
        X = da.from_array(numbers[0][: first + 8000], chunks=((first, 8000), 3))
        generator(steps=2, callback=seen.append).fit(X)
        told.append([(progress.what, progress.step, progress.steps) for progress in seen])
    assert told[0] == told[1]
    assert [step for what, *step in told[0] if what == "pass: check"] == [[0, 2], [1, 2], [2, 2]]


def test_the_batch_mechanism_brings_its_batch_together(numbers):
    given = {"mechanism": "batch", "generator": "mlp", "steps": 3}
    whole = generator(**given).fit(*numbers).generator_.state_dict()
    spread = generator(**given).fit(da.from_array(numbers[0], chunks=(5000, 3)), numbers[1]).generator_.state_dict()
    assert all(torch.equal(spread[name], value) for name, value in whole.items())


def test_a_batch_is_in_order_wherever_its_parts_lie(numbers, monkeypatch):
    monkeypatch.setattr(Partitions, "homes", lambda self: [f"tcp://worker{i % 2}" for i in range(len(self))])
    monkeypatch.setattr(Partitions, "client", SimpleNamespace(nthreads=dict))
    source = open_records(da.from_array(numbers[0], chunks=(3000, 3))).source
    assert np.array_equal(np.concatenate([chunk.values for chunk in source.gather()]), numbers[0])
    assert source.reduce(lambda chunks: sum(map(len, chunks)), sum) == N


def test_a_dask_table_gives_the_release_of_memory(table):
    fits = [
        generator(epsilon=1.0, schema={"age": (17, 90)}).fit(X, y)
        for X, y in [
            (table, "answer"),
            (dd.from_pandas(table, npartitions=3), "answer"),
            (dd.from_pandas(table[["age", "town"]], npartitions=3), dd.from_pandas(table["answer"], npartitions=3)),
        ]
    ]
    for gen in fits[1:]:
        assert gen.privacy_spent() == fits[0].privacy_spent()
        assert torch.equal(gen.release_.generator.frequencies, fits[0].release_.generator.frequencies)


def refused(X, error, message, y=None, **given):
    ledger = PrivacyLedger()
    with pytest.raises(error, match=message) as caught:
        generator(ledger=ledger, **given).fit(X, y)
    assert not len(ledger)
    assert "secret" not in str(caught.value)


def test_bad_partitions_are_refused_by_name_before_anything_is_spent(numbers, table):
    X, y = numbers
    good = dd.from_pandas(table, npartitions=2)
    frames = [dask.delayed(table), dask.delayed(table.rename(columns={"age": "years"}))]
    other = dd.from_delayed(frames, meta=table.iloc[:0], verify_meta=False)
    refused(other, ValueError, r"partition 1 .*missing \['age'\]", schema=None)
    refused(good, ValueError, "'wages'", "wages", schema=None)
    refused(good, TypeError, "name of a column", table["answer"], schema=None)
    refused(good[["age"]], ValueError, "partitions of X", good.repartition(npartitions=1)["answer"], schema=None)
    cut = da.from_array(X, chunks=(5000, 3))
    short = dd.from_delayed([dask.delayed(table["answer"][:-1]), dask.delayed(table["answer"][:0])])
    refused(good[["age"]], ValueError, "one (label|entry) for each", short, schema=None)
    refused(cut, ValueError, "one (label|entry) for each", y[:-1])
    refused(cut, ValueError, "one (label|entry) for each", da.from_array(y[:-1]))
    refused(da.where(cut > 3.5, np.nan, cut), ValueError, "NaN or infinity")
    refused(dask.delayed(X), TypeError, "dask.array or a dask.dataframe")


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # of Dask's own to_parquet
def test_partitions_are_drawn_the_same_by_whoever(table, tmp_path):
    gen = generator(schema={"age": (17, 90)}).fit(table, "answer")
    drawn = gen.sample_dask(250, label="answer", partition_size=100, random_state=3)
    assert drawn.npartitions == 3
    whole = drawn.compute()
    assert whole.dtypes.equals(table.dtypes)
    assert len(whole) == 250
    assert not whole.iloc[:100].reset_index(drop=True).equals(whole.iloc[100:200].reset_index(drop=True))
    pd.testing.assert_frame_equal(drawn.partitions[1].compute(), whole.iloc[100:200])
    gen.sample_to_parquet(tmp_path / "one", 250, label="answer", partition_size=100, random_state=3)
    drawn.to_parquet(tmp_path / "other")
    for folder in ("one", "other"):
        pd.testing.assert_frame_equal(
            pd.read_parquet(tmp_path / folder).reset_index(drop=True), whole.reset_index(drop=True)
        )
    with pytest.raises(FileExistsError, match="not empty"):
        gen.sample_to_parquet(tmp_path / "one", 10)
    with pytest.raises(ValueError, match="label='town'"):
        gen.sample_dask(10, label="town")
    assert not gen.sample_dask(100).compute().equals(gen.sample_dask(100).compute())


def test_arrays_are_drawn_as_dask_arrays(numbers):
    gen = generator(steps=2).fit(*numbers)
    X, y = gen.sample_dask(25, partition_size=10, random_state=0)
    assert (X.chunks, y.chunks) == (((10, 10, 5), (3,)), ((10, 10, 5),))
    again, labels = gen.sample_dask(25, partition_size=10, random_state=0)
    assert (X.compute() == again.compute()).all()
    assert (y.compute() == labels.compute()).all()
    with pytest.raises(ValueError, match="Parquet holds tables"):
        gen.sample_to_parquet("unused", 10)


def slow(block):
    time.sleep(0.1)
    return block


def soon(act):
    threading.Timer(0.15, act).start()


@pytest.mark.slow  # two workers import all that a fit needs, and a third one after the fault
def test_a_worker_that_dies_changes_nothing(numbers, cluster):
    """Killed in the middle of the second of three steps: the same releases, to the last bit, and one charge."""
    query, killed = MeanQuery(torch.zeros(3), 2.0), []

    def steps(ledger, disturbed):
        mechanism = GaussianMechanism([GaussianRelease("points", 1.0, 0.5, 3)], ledger=ledger, noise_seed=1)
        for step in range(3):
            if disturbed and step == 1:
                pid = next(iter(client.run(os.getpid).values()))
                soon(lambda pid=pid: killed.append(os.kill(pid, signal.SIGKILL)))
            yield mechanism.release("points", query, source)

    with Client(cluster) as client:
        cut = da.from_array(numbers[0], chunks=(3000, 3)).map_blocks(slow)
        source, ledger = open_records(cut).source.map(mapped), PrivacyLedger()
        quiet, loud = list(steps(PrivacyLedger(), False)), list(steps(ledger, True))
    assert killed
    assert all(torch.equal(one, other) for one, other in zip(quiet, loud, strict=True))
    assert len(ledger) == 1


def test_a_lost_scheduler_leaves_the_charge(numbers, monkeypatch):
    ledger, release = PrivacyLedger(), GaussianMechanism.release
    X = da.from_array(numbers[0], chunks=(CHUNK, 3)).map_blocks(slow)
    quiet = {"distributed.logging.distributed": "critical", "distributed.comm.timeouts.connect": "1s"}
    quiet["scheduler"] = None  # to be set back at the end: a client that lost its own does not
    with (
        dask.config.set(quiet),
        LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as lost,
        Client(lost),
    ):

        def cut_off(*arguments):
            soon(lambda: lost.close(timeout=1))
            return release(*arguments)

        monkeypatch.setattr(GaussianMechanism, "release", cut_off)
        with pytest.raises(RuntimeError, match="scheduler was lost"):
            generator(steps=3, ledger=ledger).fit(X)
    assert len(ledger) == 1


def fit_while(numbers, monkeypatch, act, **given):
    """Fit on two workers in this process; ``act(cluster)`` is called soon after the first release begins."""
    monkeypatch.setattr(dask_cluster._Patience, "EVERY", 0.05)
    X, release, begun = da.from_array(numbers[0], chunks=(CHUNK, 3)).map_blocks(slow), GaussianMechanism.release, []
    with (
        dask.config.set({"distributed.logging.distributed": "critical"}),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0") as shrinking,
        Client(shrinking),
    ):

        def disturbed(*arguments):
            if not begun:
                begun.append(threading.Thread(target=act, args=[shrinking]))
                begun[0].start()
            return release(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(GaussianMechanism, "release", disturbed)
            try:
                return generator(steps=3, **given).fit(X)
            finally:
                begun[0].join()


def test_without_workers_a_fit_ends_and_goes_on_later_on_the_same_charge(numbers, monkeypatch, tmp_path):
    ledger = PrivacyLedger()
    kept = {"ledger": ledger, "checkpoint_dir": tmp_path}
    with (
        dask.config.set({"sinkgen.no-workers-timeout": "300 ms"}),
        pytest.warns(UserWarning, match=r"no worker .* is left: the fit waits 0\.3 s"),
        pytest.raises(RuntimeError, match=r"left for 0\.3 s\. .* stays charged\. .* goes on"),
    ):
        fit_while(numbers, monkeypatch, lambda shrinking: shrinking.scale(0), **kept)
    assert len(ledger) == 1
    assert_same(generator(steps=3, **kept).fit(numbers[0]), generator(steps=3).fit(numbers[0]))
    assert len(ledger) == 1


def test_workers_that_come_back_are_waited_for(numbers, monkeypatch):
    def shrink_and_grow(shrinking):
        shrinking.scale(0)
        time.sleep(0.5)
        shrinking.scale(1)

    with pytest.warns(UserWarning, match="waits 600 s"):
        assert_same(fit_while(numbers, monkeypatch, shrink_and_grow), generator(steps=3).fit(numbers[0]))
