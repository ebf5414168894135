"""What local privacy costs: how good classifiers trained on synthetic records are, by the number of records.

    python benchmarks/local.py --train adult_train.csv --test adult_test.csv --label income
        --schema benchmarks/schemas/adult.json --protocol tabular.py --epsilon 4 --records 1000 10000 100000 1000000

Records are rows of the training table, drawn with replacement where more are wanted than it has: that shows what the
noise costs, not what more persons would bring. One JSON row a number of records; the last is what the same marginals
give without noise.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
from tables import score

from sinkgen import Schema
from sinkgen.local import LocalRandomizer

DRAWN = 32_561  # as many as the table has
NO_NOISE = 500.0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--label", required=True)
    parser.add_argument("--schema", required=True)
    parser.add_argument("--protocol", required=True)
    parser.add_argument("--epsilon", type=float, default=4.0)
    parser.add_argument("--records", type=int, nargs="+", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    train, test = (pd.read_csv(path) for path in (arguments.train, arguments.test))
    schema, label = Schema.from_json(Path(arguments.schema).read_text()), arguments.label
    declared = {name: column for name, column in schema.items() if name != label}
    random = np.random.default_rng(arguments.seed)
    for n in (*arguments.records, None):
        epsilon = NO_NOISE if n is None else arguments.epsilon
        randomizer = LocalRandomizer(declared, schema[label].values, epsilon)
        rows = random.integers(len(train), size=1_000_000) if n is None else random.integers(len(train), size=n)
        records = train.iloc[rows]
        reports = randomizer.randomize(records.drop(columns=label), records[label])
        estimate = randomizer.estimate(reports, like=train.drop(columns=label)[:1])
        X, y = estimate.sample(DRAWN, random_state=arguments.seed)
        X[label] = y
        found = score(arguments.protocol, train, test, X[train.columns], label)
        row = {"records": len(rows), "epsilon": math.inf if n is None else epsilon}
        row |= {"auc": [found[name]["auc"] for name in ("lr", "rf", "gb")], "bytes": reports.itemsize}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
