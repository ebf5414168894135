"""Seconds of several plausible data sets of Adult, with the income as a column and as labels.

    python benchmarks/data_sets.py --train adult_train.csv

Seconds are of the processor, of one thread.
"""

import argparse
import time
import warnings
from pathlib import Path

import pandas as pd
import torch

from sinkgen import DPSinkhornGenerator, Schema

SCHEMA = Path(__file__).parent / "schemas" / "adult.json"


def main():
    """Print a line a kind of fit."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--epsilon", type=float, default=1.0)
    parser.add_argument("--m", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    frame = pd.read_csv(args.train, keep_default_na=False, skipinitialspace=True)
    declared = Schema.from_json(SCHEMA.read_text())
    without = Schema({name: column for name, column in declared.items() if name != "income"})
    kinds = {
        "as a column": (declared, (frame,)),
        "as labels": (without, (frame.drop(columns="income"), frame.income.to_numpy())),
    }
    for name, (schema, data) in kinds.items():
        classes = sorted(set(frame.income)) if len(data) > 1 else None
        start = time.process_time()
        gen = DPSinkhornGenerator(args.epsilon, schema=schema, classes=classes, random_state=0).fit(*data)
        fitted = time.process_time()
        sets = gen.sample_posterior(args.m, random_state=0)
        rows = len(sets[0] if classes is None else sets[0][0])
        took = time.process_time() - fitted
        print(
            f"income {name:12s} fit {fitted - start:6.1f} s, {args.m} data sets of {rows} rows {took:6.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
