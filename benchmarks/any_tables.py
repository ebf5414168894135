"""Tables that nobody made for this, with nothing declared: which columns come out wrong, and was it told?

    python benchmarks/any_tables.py FILE... > rows.jsonl
    python benchmarks/any_tables.py --summary rows.jsonl

Files are CSV, Parquet, or frames that pandas has pickled (also with ``.compress`` at the end: LZMA); those with fewer
than 150 or more than 60,000 rows, or other than 3 to 60 columns, are left out. One JSON row a table goes to stdout. A
column is *wrong* if it is more than five times as far from the real one as two samples with replacement are from each
other, and more than a tenth of a standard deviation (of categories: of the records), or if a tenth more or fewer cells
are missing. It is *silently* wrong if nothing was said of it.
"""

import argparse
import json
import random
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import wasserstein_distance

from sinkgen import DPSinkhornGenerator
from sinkgen.exceptions import PoorFitWarning

ROWS, COLUMNS, TWINS = (150, 60_000), (3, 60), 6


def read(path):
    """A data frame, or None if the file holds none."""
    if path.suffix == ".csv":
        return pd.read_csv(path)
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    found = pd.read_pickle(path, compression="xz" if path.suffix == ".compress" else "infer")
    return found if isinstance(found, pd.DataFrame) else None


def distance(a, b):
    """Of numbers Wasserstein's, in standard deviations of the first; of others the total variation."""
    if pd.api.types.is_numeric_dtype(a) and not pd.api.types.is_bool_dtype(a):
        a, b = a.dropna().astype(float), b.dropna().astype(float)
        return wasserstein_distance(a, b) / (a.std() or 1.0) if min(len(a), len(b)) > 1 else float(len(a) > 1)
    shares = [of.astype(str).value_counts(normalize=True) for of in (a, b)]
    return 0.5 * shares[0].subtract(shares[1], fill_value=0).abs().sum()


def of_two_samples(column, rng):
    """Mean distance of two samples with replacement."""
    pairs = [[column.iloc[rng.integers(0, len(column), len(column))] for _ in range(2)] for _ in range(TWINS)]
    return float(np.mean([distance(*pair) for pair in pairs]))


def of_table(real, epsilon, seed):
    """What became of each column of a table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PoorFitWarning)
        gen = DPSinkhornGenerator(epsilon, random_state=seed).fit(real)
    drawn, rng = gen.sample(len(real), random_state=seed), np.random.default_rng(seed)
    rows = []
    for name in real:
        off, chance = distance(real[name], drawn[name]), of_two_samples(real[name], rng)
        is_lost = abs(real[name].isna().mean() - drawn[name].isna().mean()) > 0.1
        rows.append({
            "column": str(name), "distance": round(off, 4), "chance": round(chance, 4),
            "error": gen.schema_[name].error,
            "wrong": bool((off > 5 * chance and off > 0.1) or is_lost), "told": bool(gen.schema_[name].remarks),
            "good": bool(off < 2.5 * chance and off < 0.05),
        })  # fmt: skip
    return rows


def summary(tables):
    """Shares of columns, in lines."""
    rows = pd.DataFrame([row for table in tables for row in table.get("columns", ())])
    failed = [table["table"] for table in tables if "error" in table]
    silent, false = rows["wrong"] & ~rows["told"], rows["told"] & ~rows["wrong"]
    shares = {"wrong": rows["wrong"], "silent": silent, "false": false, "needless": rows["told"] & rows["good"]}
    told = ", ".join(f"{name} {of.mean():.3f}" for name, of in shares.items())
    far = rows.loc[silent, "distance"].max() if silent.any() else 0.0
    return [f"{len(tables)} tables, {len(rows)} columns: {told}; farthest silent {far:.2f}", f"failed: {failed}"]


def main():
    """Print a row of each table, or what files of rows come to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--epsilon", type=float, default=1.0)
    parser.add_argument("--most", type=int, help="of the tables, in random order")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--summary", nargs="+", type=Path, help="files of rows of earlier runs; fits nothing")
    args = parser.parse_args()
    if args.summary:
        print(*summary([json.loads(line) for path in args.summary for line in path.open()]), sep="\n")
        return
    files, seen = sorted(args.files), set()
    random.Random(args.seed).shuffle(files)
    for path in files:
        real = read(path)
        if real is None or not (ROWS[0] <= len(real) <= ROWS[1] and COLUMNS[0] <= real.shape[1] <= COLUMNS[1]):
            continue
        kind = (real.shape, *map(str, real.columns[:5]))  # packages share some
        if kind in seen or len(seen) == args.most:
            continue
        seen.add(kind)
        row = {"table": f"{path.parent.name}/{path.name}", "shape": real.shape}
        try:
            row["columns"] = of_table(real, args.epsilon, args.seed)
        except (TypeError, ValueError) as error:
            row["error"] = f"{type(error).__name__}: {error}"
        print(json.dumps(row))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
