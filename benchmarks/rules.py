"""Rules, and categories that lie in a parent: what holds, what it costs in distance, and how long it takes.

    python benchmarks/rules.py --adult adult_train.csv --schema benchmarks/schemas/adult.json --epsilon 1 --seeds 3
    python benchmarks/rules.py --codes 2000 5000

Of Adult, three rules that its records keep but for a few: education and its number, husbands are male and wives female,
both are married. Printed are the share of drawn records that break one, and the mean total variation distance of all
columns and of all pairs (numbers in ten even bins), to the real records, with rules and without.
"""

import argparse
import itertools
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from sinkgen import Column, DPSinkhornGenerator, FixedCombinations, Never, Schema

MARRIED = ("Married-civ-spouse", "Married-AF-spouse")


def adult_rules(frame):
    """Rules of Adult, in public knowledge: the numbers of education are its order."""
    statuses = sorted(set(frame["marital-status"]) - set(MARRIED))
    pairs = frame[["education", "education-num"]].drop_duplicates().to_numpy().tolist()
    return [
        FixedCombinations(["education", "education-num"], pairs),
        Never({"relationship": "Husband", "sex": "Female"}),
        Never({"relationship": "Wife", "sex": "Male"}),
        Never({"relationship": ["Husband", "Wife"], "marital-status": statuses}),
    ]


def broken(frame, pairs):
    """Share of records that break one of them, told in other words."""
    known = set(map(tuple, pairs))
    numbers = [pair not in known for pair in zip(frame["education"], frame["education-num"], strict=True)]
    relationship, sex = frame["relationship"], frame["sex"]
    sexes = ((relationship == "Husband") & (sex == "Female")) | ((relationship == "Wife") & (sex == "Male"))
    unmarried = relationship.isin(["Husband", "Wife"]) & ~frame["marital-status"].isin(MARRIED)
    return float((np.array(numbers) | sexes | unmarried).mean())


def binned(real, frame):
    """Columns as codes; numbers in ten even bins of the real ones."""
    out = {}
    for name in real:
        if real[name].dtype.kind in "if" and real[name].nunique() > 20:
            edges = np.linspace(real[name].min(), real[name].max(), 11)[1:-1]
            out[name] = np.digitize(frame[name], edges)
        else:
            out[name] = frame[name].astype(str).to_numpy()
    return pd.DataFrame(out)


def distances(real, drawn):
    """Mean total variation distance of columns, and of pairs of columns."""

    def distance(names):
        shares = [part.value_counts(list(names), normalize=True) for part in (real, drawn)]
        return 0.5 * shares[0].subtract(shares[1], fill_value=0).abs().sum()

    pairs = itertools.combinations(real.columns, 2)
    return np.mean([distance([name]) for name in real]), np.mean([distance(pair) for pair in pairs])


def compare_adult(path, schema, epsilon, seeds):
    """Adult with its rules and without."""
    frame = pd.read_csv(path, skipinitialspace=True)
    columns = dict(Schema.from_json(Path(schema).read_text()))
    columns = {name: column for name, column in columns.items() if name in frame}
    rules = adult_rules(frame)
    pairs, real = rules[0].combinations, binned(frame, frame)
    print(f"real: {broken(frame, pairs):.4%} break a rule")
    for told, own in (("without", []), ("with", rules)):
        found = []
        for seed in range(seeds):
            start = time.process_time()
            gen = DPSinkhornGenerator(epsilon, schema=Schema(columns, own), random_state=seed).fit(frame)
            seconds = time.process_time() - start
            drawn = gen.sample(len(frame), random_state=seed)
            found.append((broken(drawn, pairs), *distances(real, binned(frame, drawn)), seconds))
        mean = np.mean(found, axis=0)
        print(f"{told} rules: {mean[0]:.4%} break one, distance {mean[1]:.4f} / {mean[2]:.4f}, fit {mean[3]:.1f} s")
        sys.stdout.flush()


def make_places(n_codes, n=30_000, n_states=50):
    """Codes in states, and columns that depend on the state."""
    random = np.random.default_rng(0)
    of, weights = random.integers(0, n_states, n_codes), 1 / (np.arange(n_codes) + 10.0)
    codes = random.choice(n_codes, n, p=weights / weights.sum())
    state = of[codes]
    frame = pd.DataFrame({"state": [f"S{s}" for s in state], "zip": [f"{code:05d}" for code in codes]})
    frame["price"] = state % 7 + random.normal(size=n)
    frame["kind"] = np.where(random.random(n) < (state % 3) / 3, "a", "b")
    return frame, sorted((f"S{s}", f"{code:05d}") for code, s in enumerate(of))


def compare_codes(n_codes, epsilon):
    """Thousands of codes: in a listed parent, a learned one, and as a column like others."""
    frame, pairs = make_places(n_codes)
    known = set(pairs)
    base = {"price": (-4, 11), "kind": ["a", "b"]}
    inside = {**base, "zip": Column(parent="state")}
    flat = {**base, "state": sorted({pair[0] for pair in pairs}), "zip": [pair[1] for pair in sorted(pairs)]}
    schemas = {
        "listed parent": Schema(inside, [FixedCombinations(["state", "zip"], pairs)]),
        "learned parent": Schema(inside), "no parent": Schema(flat),
    }  # fmt: skip
    for told, schema in schemas.items():
        start = time.process_time()
        gen = DPSinkhornGenerator(epsilon, schema=schema, random_state=0).fit(frame)
        seconds = time.process_time() - start
        drawn = gen.sample(len(frame), random_state=0)
        named = drawn[drawn["zip"] != "other"]
        kept = np.mean([pair in known for pair in zip(named["state"], named["zip"], strict=True)])
        apart, _ = distances(frame[["state", "zip"]], drawn[["state", "zip"]])
        print(
            f"{n_codes} codes, {told}: fit {seconds:.1f} s, state kept {kept:.1%}, "
            f"other {1 - len(named) / len(drawn):.0%}, mean distance of both columns {apart:.3f}"
        )
        sys.stdout.flush()


def main():
    """Read the arguments, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--adult", type=Path)
    parser.add_argument("--schema", type=Path, default=Path(__file__).parent / "schemas" / "adult.json")
    parser.add_argument("--epsilon", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--codes", type=int, nargs="*", default=[])
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    if given.adult is not None:
        compare_adult(given.adult, given.schema, given.epsilon, given.seeds)
    for n_codes in given.codes:
        compare_codes(n_codes, given.epsilon)


if __name__ == "__main__":
    main()
