"""Owners who do not pool beside one machine: whether releases are equal, what crosses the network, seconds.

    python benchmarks/federated.py --data mnist.npz --owners 3 10 100 --split chance
    python benchmarks/federated.py --train adult_train.csv --label income --schema benchmarks/schemas/adult.json
        --owners 3 10 100 --split class

For each number of owners one JSON row. ``equal`` is whether the release is, to the last bit, that of one machine that
holds the same records cut in the same places, with the same noise (``tests/federated/together.py``). ``one_machine``
are the seconds of the ordinary fit, ``seconds`` those of the federation, of which all owners run in this process, one
after the other. Bytes are of an owner in a round, both messages together, mean and largest.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from sinkgen import DPSinkhornGenerator, Schema, federated

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "federated"))
from together import Together, assert_same


class Counted:
    """Messages, counted as they pass."""

    def __init__(self, carry):
        self.carry, self.sent, self.received = carry, [], []

    def __call__(self, messages):
        replies = self.carry(messages)
        self.sent += map(len, messages.values())
        self.received += map(len, replies.values())
        return replies


def cut(y, n_owners, split):
    """Rows of each owner: by chance, or sorted by class, so that most owners have one class alone."""
    order = np.random.default_rng(0).permutation(len(y))
    if split == "class":
        order = order[np.argsort(np.asarray(y)[order], kind="stable")]
    return [np.sort(rows) for rows in np.array_split(order, n_owners)]


def take(X, rows):
    """Rows of an array or a data frame."""
    return X.iloc[rows].reset_index(drop=True) if hasattr(X, "iloc") else X[rows]


def equal(one, other):
    """Whether two generators hold the same release to the last bit."""
    try:
        assert_same(one, other)
    except AssertionError:
        return False
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data")
    parser.add_argument("--train")
    parser.add_argument("--label")
    parser.add_argument("--schema")
    parser.add_argument("--epsilon", type=float, default=1.0)
    parser.add_argument("--owners", type=int, nargs="+", default=[3, 10, 100])
    parser.add_argument("--split", choices=["chance", "class"], default="chance")
    parser.add_argument("--colluding", type=int, default=0)
    parser.add_argument("--no-compare", action="store_true", help="leave out the same fit on one machine")
    arguments = parser.parse_args()
    if arguments.data:
        data = np.load(arguments.data)
        X, y = data["X_train"], data["y_train"]
        settings = {"schema": (0, 255)}
    else:
        X = pd.read_csv(arguments.train)
        y = X[arguments.label].to_numpy()
        schema = Schema.from_json(Path(arguments.schema).read_text())
        settings = {"schema": {name: column for name, column in schema.items() if name != arguments.label}}
    settings |= {"epsilon": arguments.epsilon, "classes": np.unique(y).tolist(), "random_state": 0}
    start = time.perf_counter()
    DPSinkhornGenerator(**settings).fit(X, arguments.label or y)
    one_machine = time.perf_counter() - start
    for n_owners in arguments.owners:
        names = [f"{i:03}" for i in range(n_owners)]
        keys = {name: federated.new_private_key() for name in names}
        public = {name: federated.public_key(key) for name, key in keys.items()}
        owners = [
            federated.Owner(
                name, take(X, rows), arguments.label or y[rows], key=keys[name], peers=public, epsilon=arguments.epsilon
            )
            for name, rows in zip(names, cut(y, n_owners, arguments.split), strict=True)
        ]
        wire, template = Counted(federated.InProcess(owners)), (take(X, [0]), arguments.label or y[:1])
        hospitals = federated.Federation(wire, public, *template, colluding=arguments.colluding)
        start = time.perf_counter()
        gen = DPSinkhornGenerator(**settings).fit(hospitals)
        seconds = time.perf_counter() - start
        steps = sum(row.steps for row in gen.privacy_spent().releases)
        row = {
            "owners": n_owners, "split": arguments.split, "colluding": arguments.colluding, "steps": steps,
            "one_machine": round(one_machine, 1), "seconds": round(seconds, 1),
            "times": round(seconds / one_machine, 2),
            "sent": round(2 * np.mean(wire.sent)), "received": round(2 * np.mean(wire.received)),
            "largest_sent": max(wire.sent), "largest_received": max(wire.received),
        }  # fmt: skip
        if not arguments.no_compare:
            together = Together(owners, template, n_owners - arguments.colluding)
            row["equal"] = equal(gen, DPSinkhornGenerator(**settings).fit(together))
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
