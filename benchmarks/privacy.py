"""What secure noise and checkpoints cost.

    python benchmarks/privacy.py

Printed: nanoseconds a value of plain and of secure noise, nanoseconds a coin, milliseconds of a step that is kept in a
journal; seconds of a fit of scikit-learn's digits by each mechanism, plain, with secure noise, and with checkpoints,
in turn, least of several; and one JSON row.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
from sklearn.datasets import load_digits

from sinkgen import DPSinkhornGenerator
from sinkgen.privacy.journal import kept_journal
from sinkgen.privacy.streams import Streams, new_key


def seconds(run, repeats):
    """Least time of several runs."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


def streams(repeats, n=10**6):
    """Nanoseconds a value of noise and a coin, plain and secure."""
    rows = {}
    for name, secure in (("plain", False), ("secure", True)):
        made = Streams(new_key(), secure=secure)
        rows[f"{name} noise, ns a value"] = 1e9 * seconds(lambda made=made: made.normal("", 0, (n,)), repeats) / n
        coins = made.sampling("", 0)
        rows[f"{name} coins, ns a record"] = 1e9 * seconds(lambda coins=coins: coins.rows(0, n, 0.01), repeats) / n
    return rows


def journal(repeats, n_bytes=8 * 20 * 784):
    """Milliseconds to keep a step of the batch mechanism on MNIST."""
    with tempfile.TemporaryDirectory() as folder, kept_journal(folder, {}, key=new_key(), seed=0) as kept:
        kept.recall("", 0)
        return {"a kept step, ms": 1e3 * seconds(lambda: kept.keep("", 0, bytes(n_bytes)), 5 * repeats)}


def fits(repeats):
    """Seconds of a fit."""
    X, y = load_digits(return_X_y=True)
    public = {"epsilon": 10, "schema": (0, 16), "image_shape": (8, 8), "classes": range(10), "random_state": 0}
    rows = {}
    for mechanism, settings in (("semidual", {}), ("batch", {"steps": 150})):
        with tempfile.TemporaryDirectory() as folder:
            given = {
                "": {},
                ", secure noise": {"secure_noise": True},
                ", checkpoints": {"checkpoint_dir": Path(folder)},
            }
            for name, extra in given.items():
                gen = DPSinkhornGenerator(mechanism=mechanism, **public, **settings, **extra)
                rows[f"{mechanism}{name}, s"] = seconds(lambda gen=gen: gen.fit(X, y), repeats)
    return rows


def main():
    """Run all; print a table and one JSON row."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = streams(args.repeats) | journal(args.repeats) | fits(args.repeats)
    for name, value in rows.items():
        print(f"{name:<28} {value:8.3g}")
    print(json.dumps({name: round(value, 4) for name, value in rows.items()}))


if __name__ == "__main__":
    main()
