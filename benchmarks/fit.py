"""Whole fits and the semidual step: seconds, peak memory, and the share of time in matrix products.

    python benchmarks/fit.py                      # the step, and fits against records, columns, budget; of tables too
    python benchmarks/fit.py --parts step --threads 2
    python benchmarks/fit.py --parts records --records 1000 1000000
    python benchmarks/fit.py --parts persons      # what a fit with groups= takes, over what it takes without

The step is ``TransportQuery`` over all records, the private work of one release; beside it stand its two matrix
products alone, in the same run. A fit is ``DPSinkhornGenerator().fit(X, y)`` in a process of its own, on mixtures of
Gaussians with 10 classes; its products' share is their number of operations at the speed of a large product, over its
seconds. Memory is the process's peak, before the fit (data included) and after it. How many points a fit places follows
from records and budget. Tables are data frames, every second column text, nothing declared; their "points" are the
components of the mixture. Images are made up, of ten classes, 28 x 28. Persons have 1 to 11 rows, as likely each, in
any order, of 20 columns; fits with and without ``groups=`` take turns, in one process. Seconds are of the processor on
one thread, else of the clock.
"""

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import torch
from gpu import images
from torch.utils.flop_counter import FlopCounterMode

from sinkgen import DPSinkhornGenerator
from sinkgen._groups import sort_by_class
from sinkgen.ot import resolve_cost
from sinkgen.privacy.queries.transport import TransportQuery
from sinkgen.records import ArraySource

STEP_CASES = [(60_000, 784, 500, 1), (60_000, 784, 500, 10), (60_000, 80, 500, 1), (60_000, 80, 500, 10)]
STEP_LIMIT = 1.5
N_CLASSES = 10
MOST_COUNTED = 100_000  # records of a fit that is repeated to count its operations


# --- The semidual step -----------------------------------------------------------------------------------------------


def timed(run):
    """Return the seconds that ``run()`` takes: of the processor on one thread, where other processes do not count."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    run()
    return clock() - start


def measure_step(n_records, d, n_points, n_classes, repeats):
    """Return the medians of a step's seconds, its products' seconds, and the paired ratio."""
    random = torch.Generator().manual_seed(0)
    records, points = (torch.rand(n, d, generator=random) for n in (n_records, n_points))
    labels = torch.randint(n_classes, (n_records,), generator=random).sort().values
    classes = torch.arange(n_points) * n_classes // n_points
    scale = float(resolve_cost("sqeuclidean").matrix(points, records[:500]).mean())
    clip = 0.5 * math.sqrt(scale)
    query = TransportQuery(
        points,
        classes,
        torch.zeros(n_points),
        0.02 * scale,
        resolve_cost("sqeuclidean"),
        clip=clip,
        mass_clip=0.2 * clip,
    )
    chunks = list(ArraySource(records, labels).map(sort_by_class).chunks())
    blocks = [
        (points[classes == c], chunk.values[chunk.labels == c]) for chunk in chunks for c in chunk.labels.unique()
    ]
    plans = [torch.rand(len(x), len(y), generator=random) for x, y in blocks]

    def step():
        query.evaluate(iter(chunks))

    def products():
        for (x, y), plan in zip(blocks, plans, strict=True):
            torch.mm(x, y.T)
            torch.mm(plan, y)

    step(), products()
    pairs = [(timed(step), timed(products)) for _ in range(repeats)]
    steps, alone = zip(*pairs, strict=True)
    return statistics.median(steps), statistics.median(alone), statistics.median(a / b for a, b in pairs)


def show_steps(repeats):
    """Print the step's table; return its rows."""
    print(f"{'records':>9}{'columns':>9}{'points':>8}{'classes':>9}{'step s':>9}{'products s':>12}{'ratio':>7}")
    rows = []
    for case in STEP_CASES:
        step, products, ratio = measure_step(*case, repeats)
        n_records, d, n_points, n_classes = case
        asked = d == 784
        verdict = ("pass" if ratio <= STEP_LIMIT else "short") + f" (at most {STEP_LIMIT})" if asked else ""
        print(
            f"{n_records:9}{d:9}{n_points:8}{n_classes:9}{step:9.3f}{products:12.3f}{ratio:7.2f}  {verdict}", flush=True
        )
        rows.append({"part": "step", "case": case, "step_s": step, "products_s": products, "ratio": ratio})
    return rows


# --- Persons ---------------------------------------------------------------------------------------------------------


def show_persons(records, repeats):
    """Print by how much persons as the unit take longer than rows, medians of fits in turn; return the rows."""
    print(f"\npersons\n{'kind':>9}{'records':>9}{'rows s':>9}{'shares':>8}{'two rows':>10}")
    rows = []
    for kind in ("numbers", "table"):
        for n_records in records:
            X, y = (mixed_table if kind == "table" else mixture)(n_records, 20)
            random = np.random.default_rng(0)
            ids = np.repeat(np.arange(n_records), random.integers(1, 12, n_records))[:n_records]
            ids = random.permutation(ids)
            given = {} if kind == "table" else {"classes": range(N_CLASSES), "schema": (0, 1)}
            ways = {"rows": (None, None), "shares": (ids, None), "two rows": (ids, 2)}

            def fit(groups, k, X=X, y=y, given=given):
                DPSinkhornGenerator(1.0, random_state=0, max_rows_per_group=k, **given).fit(X, y, groups=groups)

            fit(None, None)
            turns = [{way: timed(lambda part=part: fit(*part)) for way, part in ways.items()} for _ in range(repeats)]
            seconds = statistics.median(turn["rows"] for turn in turns)
            ratios = {way: statistics.median(turn[way] / turn["rows"] for turn in turns) for way in ways}
            print(f"{kind:>9}{n_records:9}{seconds:9.2f}{ratios['shares']:8.2f}{ratios['two rows']:10.2f}", flush=True)
            rows.append({"part": "persons", "kind": kind, "records": n_records, "seconds": seconds, **ratios})
    return rows


# --- Whole fits ------------------------------------------------------------------------------------------------------


def mixture(n_records, d):
    """Return records of ten Gaussian classes in [0, 1]^d, and their labels."""
    random = np.random.default_rng(0)
    centres = random.uniform(0.3, 0.7, (N_CLASSES, d)).astype(np.float32)
    labels = random.integers(N_CLASSES, size=n_records)
    X = random.standard_normal((n_records, d), dtype=np.float32)
    X *= 0.1
    X += centres[labels]
    return np.clip(X, 0, 1, out=X), labels


def mixed_table(n_records, n_columns):
    """Return a data frame of numbers and text that depend on a hidden class and a hidden score, and labels."""
    random = np.random.default_rng(0)
    kind, score = random.integers(6, size=n_records), random.normal(size=n_records)
    frame = {}
    for j in range(n_columns):
        if j % 2:
            width = (3, 5, 8, 16, 40)[j // 2 % 5]
            codes = (kind * (j + 2) + random.geometric(0.4, n_records)) % width
            frame[f"text{j}"] = pd.Categorical.from_codes(codes, [f"value {i}" for i in range(width)]).astype(str)
        else:
            frame[f"number{j}"] = np.exp(0.5 * score + 0.2 * (j % 5) * kind + random.normal(0, 0.7, n_records))
    return pd.DataFrame(frame), np.where(score + 0.3 * kind + random.normal(size=n_records) > 1, "yes", "no")


def grey(n_records, d):
    """Return made-up square images of d pixels, and labels."""
    return images(n_records, (math.isqrt(d),) * 2)


MAKERS = {"numbers": mixture, "table": mixed_table, "images": grey}


def peak_speed():
    """Return the operations a second of a large matrix product."""
    a = torch.rand(2048, 2048)
    torch.mm(a, a)
    return 2 * 2048**3 / min(timed(lambda: torch.mm(a, a)) for _ in range(3))


def measure_fit(kind, n_records, d, epsilon):
    """Fit once for the time and the memory, once more to count operations; return one row."""
    is_table = kind == "table"
    X, y = MAKERS[kind](n_records, d)
    start_memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def fit():
        given = {} if is_table else {"classes": range(N_CLASSES)}
        return DPSinkhornGenerator(epsilon, random_state=0, **given).fit(X, y)

    fitted = []
    seconds = timed(lambda: fitted.append(fit()))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    operations = math.nan
    if kind == "numbers" and n_records <= MOST_COUNTED:
        with FlopCounterMode(display=False) as counter:
            fit()
        operations = counter.get_total_flops()
    drawn = fitted[0].release_.generator
    return {
        "records": n_records,
        "columns": d,
        "epsilon": epsilon,
        "points": len(drawn.weights if is_table else drawn.mixture.points),
        "seconds": seconds,
        "start_mib": start_memory / 2**10,
        "peak_mib": memory / 2**10,
        "gflop": operations / 1e9,
        "share": operations / peak_speed() / seconds,
    }


def show_fits(part, cases, kind="numbers"):
    """Print a table of fits, each in a process of its own; return its rows."""
    print(f"\n{kind}\n{'records':>9}{'columns':>9}{'epsilon':>9}{'points':>8}{'s':>9}", end="")
    print(f"{'start MiB':>11}{'peak MiB':>10}{'share':>7}")
    rows = []
    for case in cases:
        command = [sys.executable, __file__, "--threads", str(torch.get_num_threads()), "--one", kind, *map(str, case)]
        row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(
            f"{row['records']:9}{row['columns']:9}{row['epsilon']:9g}{row['points']:8}{row['seconds']:9.2f}"
            f"{row['start_mib']:11.0f}{row['peak_mib']:10.0f}{row['share']:7.2f}",
            flush=True,
        )
        rows.append({"part": part, **row})
    return rows


def main():
    """Measure what is asked for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ["step", "records", "columns", "budget", "tables", "images", "persons"]
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--records", nargs="+", type=int, default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--columns", nargs="+", type=int, default=[16, 64, 256, 784])
    parser.add_argument("--budget", nargs="+", type=float, default=[0.3, 1.0, 3.0, 10.0])
    parser.add_argument("--tables", nargs="+", type=int, default=[5, 10, 20, 40], help="columns of tables")
    parser.add_argument("--images", nargs="+", type=int, default=[20_000, 60_000], help="images of 28 x 28")
    parser.add_argument("--persons", nargs="+", type=int, default=[20_000, 60_000, 200_000], help="records of persons")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", help="where to write the rows")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)  # a fit, in this process
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    if arguments.one:
        kind, n_records, d, epsilon = arguments.one
        print(json.dumps(measure_fit(kind, int(n_records), int(d), float(epsilon))))
        return
    rows = []
    if "records" in arguments.parts:
        rows += show_fits("records", [(n, 64, 1.0) for n in arguments.records])
    if "columns" in arguments.parts:
        rows += show_fits("columns", [(10_000, d, 1.0) for d in arguments.columns])
    if "budget" in arguments.parts:
        rows += show_fits("budget", [(100_000, 64, epsilon) for epsilon in arguments.budget])
    if "tables" in arguments.parts:
        rows += show_fits("tables", [(100_000, d, 1.0) for d in arguments.tables], kind="table")
    if "images" in arguments.parts:
        rows += show_fits("images", [(n, 784, 10.0) for n in arguments.images], kind="images")
    if "persons" in arguments.parts:
        rows += show_persons(arguments.persons, arguments.repeats)
    if "step" in arguments.parts:  # last: processes that start later count this one's peak memory as their own
        rows += show_steps(arguments.repeats)
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
