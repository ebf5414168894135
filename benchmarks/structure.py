"""What tables without a label keep of what goes together: one JSON row a figure, budget and seed.

    python benchmarks/structure.py adult --train adult_train.csv --test adult_test.csv --epsilon 1 10
    python benchmarks/structure.py xor --epsilon 1 10
    python benchmarks/structure.py labelled --epsilon 1 10
    python benchmarks/structure.py slopes --seeds 30
    python benchmarks/structure.py few --epsilon 1 10
    python benchmarks/structure.py wide --columns 100 --seeds 1
    python benchmarks/structure.py wide --columns 24 --rows 24000 --epsilon 1 10

adult: boosting on synthetic rows, tested on real ones, with income, sex and marital status as target (relationship is
left out for the last two), distances of marginals in the bins of the schema, how many records keep education and its
number together, and husbands who are female. xor: 15,000 rows of eight fair bits and the exclusive or of three.
labelled: tables with y, ten classes of digits and of a tree, as a table and as an array, and that exclusive or. slopes:
5,000 rows of six columns, of which one is 1.79 and another .0196 times others, and noise. few: 500 to 5,000
rows of eight columns with correlations of .5, nothing declared but two classes: the mean correlation drawn without
labels, and with labels, and the area under the curve of a forest that tells these. wide: rows in which ten
hidden numbers move all columns, beside noisy naive Bayes, which here is columns without any dependence, in the same
even bins, and beside the real columns without dependence, which no noise allows.
"""

import argparse
import itertools
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from tables import naive_bayes, read

from sinkgen import Column, DPSinkhornGenerator, Schema
from sinkgen.data.table import Rows, table_format
from sinkgen.denoise.bins import MOST_BINS

SCHEMA = Path(__file__).parent / "schemas" / "adult.json"
MOST_PAIRS = 2000  # whose distances are measured
TARGETS = {
    "income": (">50K", []),
    "sex": ("Male", ["relationship"]),
    "marital-status": ("Married-civ-spouse", ["relationship"]),
}


def boosting(synthetic, test, target):
    """Area under the curve on real rows of boosted trees that have seen synthetic ones."""
    positive, left_out = TARGETS[target]
    features = synthetic.columns.drop([target, *left_out])
    text = [name for name in features if not pd.api.types.is_numeric_dtype(test[name])]
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    encoder = ColumnTransformer([("text", codes, text)], remainder="passthrough")
    is_text = [True] * len(text) + [False] * (len(features) - len(text))
    model = make_pipeline(encoder, HistGradientBoostingClassifier(categorical_features=is_text, random_state=0))
    model.fit(synthetic[features], synthetic[target] == positive)
    return roc_auc_score(test[target] == positive, model.predict_proba(test[features])[:, 1])


def distances(real, synthetic, schema):
    """Mean total variation of one-way and two-way marginals, in the states of the schema."""
    form = table_format(real, schema)
    codes = [form.states(form.encode(Rows(frame))).long().numpy() for frame in (real, synthetic)]
    return [np.mean([_distance(*codes, of) for of in itertools.combinations(range(real.shape[1]), k)]) for k in (1, 2)]


def _distance(real, synthetic, columns):
    size = [int(max(real[:, j].max(), synthetic[:, j].max())) + 1 for j in columns]
    counts = [np.bincount(np.ravel_multi_index(codes[:, columns].T, size), minlength=np.prod(size)) / len(codes)
              for codes in (real, synthetic)]  # fmt: skip
    return 0.5 * np.abs(counts[0] - counts[1]).sum()


def adult(arguments, epsilon, seed):
    """Every column may be the target, and dependencies are kept."""
    train, test = read(arguments.train), read(arguments.test)
    schema = Schema.from_json(SCHEMA.read_text())
    drawn, seconds = fit_and_draw(train, epsilon, seed, schema)
    number = dict(zip(train["education"], train["education-num"], strict=True))
    one, two = distances(train, drawn, schema)
    return {f"boosting, {target}": boosting(drawn, test, target) for target in TARGETS} | {
        "tvd1": one,
        "tvd2": two,
        "education kept": (drawn["education"].map(number) == drawn["education-num"]).mean(),
        "female husbands": ((drawn["relationship"] == "Husband") & (drawn["sex"] == "Female")).sum(),
        **seconds,
    }


def xor(arguments, epsilon, seed):
    """Share of the records whose last column is the exclusive or of three others."""
    bits = np.random.default_rng(seed).integers(2, size=(15_000, 9))
    bits[:, 8] = bits[:, 0] ^ bits[:, 1] ^ bits[:, 2]
    drawn, seconds = fit_and_draw(pd.DataFrame(bits.astype(bool), columns=[*"abcdefgh", "y"]), epsilon, seed)
    return {"kept": (drawn["y"] == drawn["a"] ^ drawn["b"] ^ drawn["c"]).mean(), **seconds}


def labelled(arguments, epsilon, seed):
    """Accuracy on real rows of a forest that has seen synthetic ones: a table, an array; and the XOR as a label."""
    random, found = np.random.default_rng(seed), {}
    digits = load_digits()
    tables = {"digits": (digits.data, digits.target), "tree": deep(random)}
    for name, (X, y) in tables.items():
        X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
        low, high = X.min(), X.max()
        frame = pd.DataFrame(X).rename(columns="x{}".format)
        ways = {"table": (frame, dict.fromkeys(frame, (low, high))), "array": (X, (low, high))}
        for way, (records, schema) in ways.items():
            gen = DPSinkhornGenerator(epsilon, schema=schema, classes=range(10), random_state=seed).fit(records, y)
            X_new, y_new = gen.sample(len(X), random_state=seed)
            model = RandomForestClassifier(random_state=0).fit(np.asarray(X_new), y_new)
            found[f"{name}, {way}"] = model.score(X_test, y_test)
        found[f"{name}, real"] = RandomForestClassifier(random_state=0).fit(X, y).score(X_test, y_test)
    bits = pd.DataFrame(random.integers(2, size=(15_000, 8)).astype(bool), columns=list("abcdefgh"))
    gen = DPSinkhornGenerator(epsilon, classes=[False, True], random_state=seed)
    drawn, y_new = gen.fit(bits, bits["a"] ^ bits["b"] ^ bits["c"]).sample(len(bits), random_state=seed)
    return found | {"xor kept": (y_new == drawn["a"] ^ drawn["b"] ^ drawn["c"]).mean()}


def deep(random):
    """Numbers in ten columns, of which a tree of depth four tells ten classes, nine times in ten."""
    x = random.random((20_000, 10))
    leaf = np.zeros(len(x), dtype=int)
    columns, cuts, classes = random.integers(10, size=16), random.uniform(0.35, 0.65, 16), random.permutation(16) % 10
    node = np.ones(len(x), dtype=int)
    for _ in range(4):
        right = x[np.arange(len(x)), columns[node]] > cuts[node]
        leaf, node = 2 * leaf + right, (2 * node + right) % 16
    return x, np.where(random.random(len(x)) < 0.9, classes[leaf], random.integers(10, size=len(x)))


def slopes(arguments, epsilon, seed):
    """Slopes of regressions on synthetic records over those of the records."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(5000, 6)) * [1, 1, 40, 1, 1, 1] + [0, 0, 50, 0, 0, 0]
    x[:, 1] = 1.79 * x[:, 0] + 1.2 * x[:, 1]
    x[:, 3] = 0.0196 * x[:, 2] + 0.6 * x[:, 3]
    frame = pd.DataFrame(x, columns=list("abcdef"))
    schema = {name: Column(bounds=(frame[name].mean() // 1 - width, frame[name].mean() // 1 + width))
              for name, width in zip("abcdef", (4, 10, 160, 5, 4, 4), strict=True)}  # fmt: skip
    drawn, seconds = fit_and_draw(frame, epsilon, seed, schema)
    ratio = {f"{b} on {a}": np.polyfit(drawn[a], drawn[b], 1)[0] / np.polyfit(frame[a], frame[b], 1)[0]
             for a, b in ("ab", "cd")}  # fmt: skip
    return ratio | seconds


def few(arguments, epsilon, seed):
    """Correlations drawn, and the area under the curve of a forest on real rows."""
    random, found = np.random.default_rng(seed), {}
    for n in (500, 1000, 2000, 5000):
        frames = [random.normal(size=(m, 8)) + random.normal(size=(m, 1)) for m in (n, 3000)]
        noise = [random.normal(size=len(x)) for x in frames]
        y, y_test = (x[:, :3] @ [1, 1, -1] + more > 0 for x, more in zip(frames, noise, strict=True))
        frame = pd.DataFrame(frames[0]).add_prefix("x")
        drawn, _ = fit_and_draw(frame, epsilon, seed)
        gen = DPSinkhornGenerator(epsilon, classes=[False, True], random_state=seed).fit(frame, y)
        X_new, y_new = gen.sample(n, random_state=seed)
        for way, made in (("without labels", drawn), ("with labels", X_new)):
            found[f"{n}, {way}"] = made.corr("spearman").to_numpy()[np.triu_indices(8, 1)].mean()
        model = RandomForestClassifier(min_samples_leaf=3, random_state=0).fit(X_new.to_numpy(), y_new)
        found[f"{n}, forest"] = roc_auc_score(y_test, model.predict_proba(frames[1])[:, 1])
    return found


def wide(arguments, epsilon, seed):
    """Errors of correlations over all pairs, distances of pairs in eight bins, and seconds."""
    random = np.random.default_rng(seed)
    hidden, mixing = random.normal(size=(arguments.rows, 10)), random.normal(size=(10, arguments.columns))
    x = hidden @ mixing / 3 + random.normal(size=(arguments.rows, arguments.columns))
    frame = pd.DataFrame(x).rename(columns="x{}".format)
    bins = arguments.bins or MOST_BINS
    declared = dict.fromkeys(frame, Column(bounds=(-6.0, 6.0), edges=tuple(np.linspace(-6, 6, bins + 1).tolist())))
    drawn, seconds = fit_and_draw(frame, epsilon, seed, declared if arguments.bins else dict.fromkeys(frame, (-6, 6)))
    simple = naive_bayes(frame, pd.Series(np.zeros(len(frame), dtype=int)), declared, [0], epsilon, 1e-5)
    simple = simple.sample(len(frame), random_state=seed)[0]
    pairs, found = np.triu_indices(arguments.columns, 1), {}
    apart = frame.apply(random.permutation)  # the best that columns without any dependence can do
    few = random.permutation(np.transpose(pairs))[:MOST_PAIRS]
    ends = np.linspace(-6, 6, 9)[1:-1]
    binned = [np.searchsorted(ends, table.to_numpy()) for table in (frame, drawn, simple, apart)]
    for name, other in zip(("tvd2", "tvd2 of naive Bayes", "tvd2 of independence"), binned[1:], strict=True):
        found[name] = np.mean([_distance(binned[0], other, pair) for pair in few])
    for kind in ("pearson", "spearman"):
        real, new = (table.corr(kind).to_numpy()[pairs] for table in (frame, drawn))
        found |= {f"{kind} error": np.abs(real - new).mean(), f"{kind} error of independence": np.abs(real).mean()}
    return found | seconds


FIGURES = {"adult": adult, "xor": xor, "labelled": labelled, "slopes": slopes, "few": few, "wide": wide}


def fit_and_draw(frame, epsilon, seed, schema=None):
    """As many records as were given, drawn from a fit to them, and processor seconds."""
    start = time.process_time()
    gen = DPSinkhornGenerator(epsilon, schema=schema, random_state=seed).fit(frame)
    fitted = time.process_time()
    drawn = gen.sample(len(frame), random_state=seed)
    return drawn, {"fit": fitted - start, "draw": time.process_time() - fitted}


def main():
    """Parse, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("figure", choices=list(FIGURES))
    parser.add_argument("--train", help="CSV of Adult's training table")
    parser.add_argument("--test", help="CSV of Adult's test table")
    parser.add_argument("--epsilon", type=float, nargs="+", default=[1.0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--rows", type=int, default=5000, help="of the wide table")
    parser.add_argument("--bins", type=int, default=MOST_BINS, help="even ones, declared of the wide table; 0: learned")
    arguments = parser.parse_args()
    measure = FIGURES[arguments.figure]
    for epsilon in arguments.epsilon:
        rows = []
        for seed in range(arguments.seeds):
            rows.append({name: round(float(value), 4) for name, value in measure(arguments, epsilon, seed).items()})
            print(json.dumps({"figure": arguments.figure, "epsilon": epsilon, "seed": seed, **rows[-1]}), flush=True)
        means = pd.DataFrame(rows).mean().round(4).to_dict()
        print(json.dumps({"figure": arguments.figure, "epsilon": epsilon, "seed": "mean", **means}), flush=True)


if __name__ == "__main__":
    main()
