"""Two halves of a table whose categories bear other names, matched by transport between private releases.

    python benchmarks/align.py --train adult_train.csv --label income --schema benchmarks/schemas/adult.json --epsilon 1

The table is cut in two by chance; in one half every category is renamed, in random order. Each half is released on its
own, and the releases are aligned. Shares matched are of categories, and of records (of how often the category occurs in
the table), over all columns of categories; beside them those of matching by rank of frequency alone. One row a seed.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from sinkgen import DPSinkhornGenerator, Schema, federated


def renamed(frame, schema, random):
    """The frame and its schema with other names of all categories, and the names by column."""
    names = {}
    for name, column in schema.items():
        if column.values is not None:
            fresh = [f"{name}-{i:02}" for i in random.permutation(len(column.values))]
            names[name] = dict(zip(column.values, fresh, strict=True))
    other = frame.assign(**{name: frame[name].map(of) for name, of in names.items()})
    return other, {**schema, **{name: sorted(of.values()) for name, of in names.items()}}, names


def shares(matched, names, frame):
    """Shares of the categories, and of the records, whose match is right."""
    right = {name: [matched[name].get(old) == new for old, new in of.items()] for name, of in names.items()}
    often = {name: [np.mean(frame[name] == old) for old in of] for name, of in names.items()}
    by_records = np.mean([np.dot(right[name], often[name]) for name in names])
    return float(np.mean(np.concatenate(list(right.values())))), float(by_records)


def by_rank(one, other, names):
    """Categories matched by how often they are drawn."""
    ranks = {}
    for name, of in names.items():
        counts = [pd.Series(list(values)).map(frame[name].value_counts()).fillna(0).to_numpy()
                  for values, frame in ((of, one), (of.values(), other))]  # fmt: skip
        orders = [np.argsort(-count, kind="stable") for count in counts]
        old, new = list(of), list(of.values())
        ranks[name] = {old[i]: new[k] for i, k in zip(*orders, strict=True)}
    return ranks


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", required=True)
    parser.add_argument("--label", required=True)
    parser.add_argument("--schema", required=True)
    parser.add_argument("--epsilon", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    train = pd.read_csv(arguments.train)
    schema = dict(Schema.from_json(Path(arguments.schema).read_text()))
    classes = schema.pop(arguments.label).values
    for seed in arguments.seeds:
        random = np.random.default_rng(seed)
        halves = [train.iloc[rows] for rows in np.array_split(random.permutation(len(train)), 2)]
        other, other_schema, names = renamed(halves[1], schema, random)
        gens = [
            DPSinkhornGenerator(arguments.epsilon, schema=of, classes=classes, random_state=seed).fit(
                half.reset_index(drop=True), arguments.label
            )
            for half, of in ((halves[0], schema), (other, other_schema))
        ]
        found = federated.align(*gens, random_state=seed)
        ranks = by_rank(*(gen.sample(50_000, random_state=seed)[0] for gen in gens), names)
        row = {"seed": seed, "epsilon": arguments.epsilon}
        row |= dict(zip(("categories", "records"), shares(found.names, names, train), strict=True))
        row |= dict(zip(("categories_by_rank", "records_by_rank"), shares(ranks, names, train), strict=True))
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
