"""Beyond one machine's memory: equality, size, faults, bytes. Every figure of docs/distributed.md.

    python benchmarks/scale.py data --rows 10000000 --to /tmp/people     Parquet of 20 mixed columns, made up
    python benchmarks/scale.py fit --data /tmp/people                    time, and peak memory of the process
    python benchmarks/scale.py spread --data /tmp/people                 the same by Dask on two workers, and theirs
    python benchmarks/scale.py equal                                     array, chunks, Parquet, Dask: the same release
    python benchmarks/scale.py times                                     one step against records, points, columns
    python benchmarks/scale.py killed                                    a worker killed in random steps; a fit that is
                                                                         stuck for 5 minutes shows where, and ends
    python benchmarks/scale.py bytes                                     over the loopback, a step

Of ``bytes`` the loopback's counter is read: run it where nothing else uses that, such as ``unshare -n sh -c 'ip link
set lo up; python benchmarks/scale.py bytes'``.
"""

import argparse
import faulthandler
import os
import resource
import signal
import tempfile
import threading
import time
import warnings
from collections import Counter
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import torch

from sinkgen import DPSinkhornGenerator, PrivacyLedger
from sinkgen.exceptions import ReproducibleNoiseWarning
from sinkgen.ot import resolve_cost
from sinkgen.privacy.mechanism import GaussianMechanism
from sinkgen.privacy.queries.tables import PairQuery
from sinkgen.privacy.queries.transport import TransportQuery
from sinkgen.records import CHUNK, Records
from sinkgen.sources.chunks import chunks
from sinkgen.sources.open import open_records

PART = 1_000_000
MESSAGES, MESSAGES_A_PARTITION = 14_000, 1_200  # bytes; measured by this


def make_table(n, seed):
    """Rows of 20 mixed columns that depend on each other through a hidden class and a hidden score."""
    random = np.random.default_rng([7, seed])
    kind, score = random.integers(0, 6, n), random.normal(size=n)
    frame = {"age": np.clip(40 + 12 * score + 3 * kind + random.normal(0, 6, n), 17, 95).astype("int64")}
    for j in range(5):
        frame[f"amount{j}"] = np.exp(2 + 0.5 * score + 0.2 * j * kind + random.normal(0, 0.7, n)).round(2)
    for j in range(3):
        frame[f"rate{j}"] = 1 / (1 + np.exp(-score * (j - 1) - random.normal(0, 1, n)))
        frame[f"count{j}"] = random.poisson(np.exp(0.3 * kind / (j + 1)))
    for j, width in enumerate((3, 5, 8, 16, 40)):
        codes = (kind * (j + 2) + random.geometric(0.4, n)) % width
        frame[f"text{j}"] = pd.Categorical.from_codes(codes, [f"value {i}" for i in range(width)]).astype(str)
    frame["since"] = pd.Timestamp("2015-01-01") + pd.to_timedelta(random.integers(0, 4000, n), unit="D")
    frame["member"] = random.random(n) < 1 / (1 + np.exp(-score))
    frame["answer"] = np.where(score + 0.3 * kind + random.normal(0, 1, n) > 1, "yes", "no")
    return pd.DataFrame(frame)


def data(rows, to):
    """Write the table, a file a million rows."""
    Path(to).mkdir(parents=True, exist_ok=True)
    for i in range(-(-rows // PART)):
        part = make_table(min(PART, rows - i * PART), i)
        part.to_parquet(f"{to}/part.{i:04}.parquet", row_group_size=250_000, index=False)
    print(f"{rows} rows x {part.shape[1]} columns in {to}")


def fit(X):
    """Fit all columns at epsilon 1, nothing declared."""
    start, busy = time.perf_counter(), time.process_time()
    gen = DPSinkhornGenerator(epsilon=1.0, verbose=1).fit(X, y="answer")
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    print(f"fit {seconds:.0f} s, {busy:.0f} s of this process, peak {peak():.2f} GiB")
    print(gen.sample(5)[0].T)
    print(gen.privacy_spent())


def peak():
    """Most memory that this process has had, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def spread(path):
    """The same fit, its passes on two workers."""
    import dask.dataframe as dd
    from distributed import Client

    with cluster() as made, Client(made) as client:
        fit(dd.read_parquet(path))
        print("workers:", *[f"peak {most:.2f} GiB" for most in client.run(peak).values()])


def released(gen):
    """All released numbers as one vector, and the statement."""
    drawn = gen.release_.generator
    parts = vars(drawn.mixture) if hasattr(drawn, "mixture") else drawn.state_dict()
    return torch.cat([part.double().flatten() for part in parts.values()]), gen.privacy_spent()


def equal(folder):
    """The same seeds and keys on an array, 7 and 64 chunks, Parquet, and Dask of whole and of odd chunks."""
    for given in ({"epsilon": 1.0}, {"epsilon": 10.0}, {"epsilon": 10.0, "sampling_rate": 0.3}):
        equal_numbers(folder, **given)
    for epsilon in (1.0, 10.0):
        equal_tables(folder, epsilon)


def seeded(**given):
    """A generator whose noise and sample are those of any other."""
    return DPSinkhornGenerator(**{"noise_seed": 0, "random_state": 0} | given)


def equal_numbers(folder, **given):
    """Labelled numbers; one of three classes is rare."""
    import dask.array as da

    n = 16 * CHUNK
    random = np.random.default_rng(0)
    y = random.choice(3, n, p=[0.6, 0.39, 0.01])
    X = (random.normal(size=(n, 5)) + y[:, None]).clip(-4, 4)
    frame = pd.DataFrame(X, columns=list("abcde")).assign(answer=y)
    Path(folder).mkdir(parents=True, exist_ok=True)
    frame.to_parquet(f"{folder}/numbers.parquet", row_group_size=10_000, index=False)

    def cut(pieces):
        return list(zip(np.array_split(X, pieces), np.array_split(y, pieces), strict=True))

    ways = {
        "7 chunks": (chunks(cut(7)), None),
        "64 chunks": (chunks(cut(64)), None),
        "Parquet": (f"{folder}/numbers.parquet", "answer"),
        "Dask, 8 partitions of whole chunks": (da.from_array(X, chunks=(2 * CHUNK, 5)), y),
        "Dask, 7 partitions that cut chunks": (da.from_array(X, chunks=(-(-n // 7), 5)), y),
        "Dask, 64 partitions that cut chunks": (da.from_array(X, chunks=(-(-n // 64), 5)), y),
    }
    given = {"schema": (-4, 4), "classes": range(3)} | given
    whole, spent = released(seeded(**given).fit(X, y))
    report(f"numbers {given}", ways, lambda way: released(seeded(**given).fit(*way)), whole, spent)


def equal_tables(folder, epsilon):
    """20 mixed columns, of which nothing is declared."""
    import dask.dataframe as dd

    table = make_table(50_000, 0)
    table.to_parquet(f"{folder}/table.parquet", row_group_size=10_000)
    ways = {
        "7 chunks": chunks([table.iloc[rows] for rows in np.array_split(np.arange(len(table)), 7)]),
        "Parquet": f"{folder}/table.parquet",
        "Dask, 7 partitions": dd.from_pandas(table, npartitions=7),
    }
    whole, spent = released(seeded(epsilon=epsilon).fit(table, "answer"))
    name = f"table {{'epsilon': {epsilon}}}"
    report(name, ways, lambda way: released(seeded(epsilon=epsilon).fit(way, "answer")), whole, spent)


def report(what, ways, fitted, whole, spent):
    """Print how far each way's release is from that of the array."""
    for name, way in ways.items():
        other, other_spent = fitted(way)
        same = other.shape == whole.shape
        distance = float((other - whole).norm() / whole.norm()) if same else float("nan")
        differing = f"{float((other != whole).float().mean()):.0%}" if same else "the shape"
        print(f"{what}: {name}: relative distance {distance:.1e}, differing {differing}, "
              f"same statement: {other_spent == spent}", flush=True)  # fmt: skip


def query_of(points, columns):
    """A step of the semidual mechanism."""
    x = torch.rand(points, columns, generator=torch.Generator().manual_seed(0))
    classes, potentials = torch.zeros(points, dtype=torch.long), torch.zeros(points)
    return TransportQuery(x, classes, potentials, 0.1, resolve_cost("sqeuclidean"), clip=0.5, mass_clip=0.1)


def as_tensors(records):
    """Encoded records of one class."""
    values = torch.from_numpy(np.asarray(records.values, dtype=np.float32))
    return Records(values, torch.zeros(len(records), dtype=torch.long))


def times():
    """One step against records, points and columns, read in chunks that are made anew; of tables, all pairs counted."""
    block = np.random.default_rng(0).random((100_000, 128), dtype=np.float32)
    base = {"records": 1_000_000, "points": 50, "columns": 16}
    varied = {
        "records": (100_000, 1_000_000, 10_000_000), "points": (50, 100, 200, 400, 800), "columns": (16, 32, 64, 128),
    }  # fmt: skip
    for name, values in varied.items():
        for value in values:
            case = base | {name: value}
            timed(case, block[:, : case["columns"]], query_of(case["points"], case["columns"]), as_tensors)
    codes = (24 * block).astype(np.int64)
    for columns in (5, 10, 20, 40):
        query = PairQuery([24] * columns, n_classes=2)
        timed({"records": 1_000_000, "columns of a table": columns}, codes[:, :columns], query, as_codes)


def timed(case, block, query, function):
    """Print the processor's seconds of one pass over a block that comes again and again."""
    X = chunks(lambda: (block for _ in range(case["records"] // len(block))))
    source = open_records(X).source.map(function)
    start = resource.getrusage(resource.RUSAGE_SELF)
    query.over(source, None)
    end = resource.getrusage(resource.RUSAGE_SELF)
    user, system = end.ru_utime - start.ru_utime, end.ru_stime - start.ru_stime
    print(f"{case}: {user + system:.2f} s of the processor, {system:.2f} of them the system's", flush=True)


def as_codes(records):
    """Codes of two classes."""
    values = torch.from_numpy(np.asarray(records.values, dtype=np.int64))
    return Records(values, values[:, 0] % 2)


def cluster():
    """Two workers of one thread on this machine, which fetch no partition from each other to balance their load."""
    from distributed import LocalCluster

    dask.config.set({"distributed.scheduler.work-stealing": False, "distributed.logging.distributed": "critical"})
    # By itself it gives up a worker that is not back after 15 s, which is less than the imports take under load.
    dask.config.set({"distributed.deploy.lost-worker-timeout": "5 minutes"})
    return LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit=None)


def killed():
    """SIGKILL to a worker in the middle of five random steps, a fit each."""
    import dask.array as da
    from distributed import Client

    X = np.random.default_rng(0).normal(size=(8 * CHUNK, 3)).clip(-4, 4)
    release, seen = GaussianMechanism.release, []

    def gen(ledger=None):
        given = {"epsilon": 1.0, "noise_seed": 0, "random_state": 0, "schema": (-4, 4), "steps": 5}
        return DPSinkhornGenerator(ledger=ledger, **given)

    with cluster() as made, Client(made) as client:
        spread = da.from_array(X, chunks=(CHUNK, 3)).map_blocks(slow)
        whole, spent = released(gen().fit(X))
        for fault, step in enumerate(np.random.default_rng(1).choice(5, 5, replace=True)):
            seen.clear()
            watchdog = threading.Timer(240, show_cluster, [made])
            watchdog.start()
            faulthandler.dump_traceback_later(300, exit=True)

            def watched(self, what, query, source, step=step):
                if what == "points":
                    seen.append(what)
                    if len(seen) == step + 1:
                        pid = next(iter(client.run(os.getpid).values()))
                        threading.Timer(0.1, os.kill, (pid, signal.SIGKILL)).start()
                return release(self, what, query, source)

            GaussianMechanism.release, ledger = watched, PrivacyLedger()
            other, other_spent = released(gen(ledger).fit(spread))
            GaussianMechanism.release = release
            faulthandler.cancel_dump_traceback_later()
            watchdog.cancel()
            distance = float((other - whole).norm() / whole.norm())
            result = f"distance {distance:.1e}, same statement {other_spent == spent}, charges {len(ledger)}"
            print(f"fault {fault}, step {step}: {result}", flush=True)


def show_cluster(made):
    """What scheduler and nannies are at, where a fit is stuck."""
    states = Counter((task.prefix.name, task.state) for task in list(made.scheduler.tasks.values()))
    nannies = [(nanny.status.name, nanny.process and nanny.process.status.name) for nanny in made.workers.values()]
    print(f"stuck: workers {list(made.scheduler.workers)}, nannies {nannies}, tasks {dict(states)}", flush=True)


def slow(block):
    """So that a step lasts long enough to be hit."""
    time.sleep(0.2)
    return block


def bytes_a_step():
    """Bytes over the loopback while a step runs, those of an idle cluster taken off, against the plan."""
    import dask.array as da
    from distributed import Client, wait

    cases = ((16, 200, 32), (16, 400, 64), (16, 1000, 64), (8, 200, 32), (32, 200, 32), (64, 200, 32))
    with cluster() as made, Client(made):
        for partitions, points, columns in cases:
            X = da.random.random((partitions * CHUNK, columns), chunks=(CHUNK, columns)).persist()
            wait(X)
            bytes_of_steps(X, points)
        # Partitions that cut chunks: in the first pass the rows at their ends go to a neighbour, and stay there.
        X = da.random.random((16 * CHUNK, 32), chunks=(-(-16 * CHUNK // 15), 32)).persist()
        wait(X)
        bytes_of_steps(X, 200)


def bytes_of_steps(X, points):
    """Print what the second step moves, and the third; the first places the rows of cut chunks."""
    source = open_records(X).source.map(as_tensors)
    query = query_of(points, X.shape[1])
    query.over(source, None)
    start, idle = loopback(), time.perf_counter()
    time.sleep(3)
    rate = (loopback() - start) / (time.perf_counter() - idle)
    start, begun = loopback(), time.perf_counter()
    for _ in range(2):
        query.over(source, None)
    seen = (loopback() - start - rate * (time.perf_counter() - begun)) / 2
    payload, plan = planned_bytes(query, X.npartitions)
    result = f"{seen:.0f} bytes, plan {plan}, {seen / plan:.2f}; of query and sums {payload}, {seen / payload:.2f}"
    print(f"{X.npartitions} partitions, {points} points x {X.shape[1]}: {result}", flush=True)


def planned_bytes(query, n_partitions, n_workers=2):
    """What query and sums take of a step's bytes, and all of it: with the messages about partitions in memory."""
    n, d = query.points.shape
    # The query to the scheduler and each worker; a sum from worker to worker, and by the scheduler back.
    payload = (n_workers + 1) * 4 * n * (d + 1) + (n_workers + 1) * 8 * n * (d + 1)
    return payload, payload + MESSAGES + MESSAGES_A_PARTITION * n_partitions


def loopback():
    """Bytes that the loopback has received."""
    lines = Path("/proc/self/net/dev").read_text().splitlines()
    return next(int(line.split(":")[1].split()[0]) for line in lines if line.strip().startswith("lo:"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["data", "fit", "spread", "equal", "times", "killed", "bytes"])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--data", "--to", dest="path", default=f"{tempfile.gettempdir()}/people")
    given = parser.parse_args()
    warnings.simplefilter("ignore", ReproducibleNoiseWarning)
    run = {
        "data": lambda: data(given.rows, given.path),
        "fit": lambda: fit(given.path),
        "spread": lambda: spread(given.path),
        "equal": lambda: equal(f"{tempfile.gettempdir()}/scale"),
        "times": times,
        "killed": killed,
        "bytes": bytes_a_step,
    }
    run[given.what]()
