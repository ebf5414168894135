"""Coded tables beside peers, in one run: errors of all three-way marginals, one JSON row a method and seed.

    python -m venv peers && peers/bin/pip install dpmm
    python benchmarks/peers.py --python peers/bin/python --table aim_nltcs.csv.gz --domain aim_nltcs-domain.json
        --epsilon 1 --methods sinkgen aim mst

The table holds codes from 0 on; the domain says how many a column has. Every method gets the same: all columns are
categories whose values are public. The error is the mean over all sets of three columns of the total variation between
the real and the synthetic table's marginals. AIM's own workload is these marginals (--degree 3). Seconds are of a
processor, for the fit alone.
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from sinkgen import DPSinkhornGenerator

PEER = Path(__file__).with_name("peer.py")


def fit_ours(table, domain, epsilon, delta, seed):
    """As many records as the table has, drawn from a fit to it, and seconds."""
    schema = {name: list(range(domain[name])) for name in table}
    start = time.process_time()
    gen = DPSinkhornGenerator(epsilon, delta, schema=schema, random_state=seed).fit(table)
    seconds = time.process_time() - start
    return gen.sample(len(table), random_state=seed), seconds


def fit_peer(python, method, table, domain, options):
    """The same of a peer, in its own environment."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / name) for name in ("table.csv", "domain.json", "out.csv")]
        table.to_csv(paths[0], index=False)
        Path(paths[1]).write_text(json.dumps(domain))
        done = subprocess.run(
            [python, str(PEER), method, *paths, *options], stdout=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"{method} did not run")
        return pd.read_csv(paths[2]), json.loads(done.stdout.splitlines()[-1])["fit"]


def three_way_error(real, synthetic, domain):
    """Mean total variation of all three-way marginals."""
    codes = [table[real.columns].to_numpy().T for table in (real, synthetic)]
    errors = []
    for columns in itertools.combinations(range(real.shape[1]), 3):
        size = [domain[real.columns[j]] for j in columns]
        shares = [
            np.bincount(np.ravel_multi_index(part[list(columns)], size), minlength=np.prod(size)) / part.shape[1]
            for part in codes
        ]
        errors.append(0.5 * np.abs(shares[0] - shares[1]).sum())
    return float(np.mean(errors))


def main():
    """Fit all, and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--table", required=True, help="CSV of codes")
    parser.add_argument("--domain", required=True, help="JSON: number of codes of each column")
    parser.add_argument("--python", default=sys.executable, help="of an environment that has dpmm")
    parser.add_argument("--methods", nargs="+", choices=["sinkgen", "aim", "mst"], default=["sinkgen", "aim", "mst"])
    parser.add_argument("--epsilon", type=float, default=1.0)
    parser.add_argument("--delta", type=float, default=1e-5)
    parser.add_argument("--degree", type=int, default=3, help="columns of a marginal of AIM's workload")
    parser.add_argument("--iterations", type=int, help="of the peers' estimation; their defaults without")
    parser.add_argument("--seeds", type=int, default=1, help="of starts and samples; noise is always fresh")
    arguments = parser.parse_args()
    table, domain = pd.read_csv(arguments.table), json.loads(Path(arguments.domain).read_text())
    budget = (arguments.epsilon, arguments.delta)
    for seed, method in itertools.product(range(arguments.seeds), arguments.methods):
        if method == "sinkgen":
            drawn, seconds = fit_ours(table, domain, *budget, seed)
        else:
            names = ("epsilon", "delta", "degree", "iterations")
            given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
            options = [part for name, value in given.items() for part in (f"--{name}", str(value))]
            drawn, seconds = fit_peer(arguments.python, method, table, domain, options)
        row = {"table": Path(arguments.table).name.split(".")[0], "method": method, "epsilon": arguments.epsilon}
        row |= {"seed": seed, "error": round(three_way_error(table, drawn, domain), 4), "fit": round(seconds, 1)}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
