"""Many public tables, ours beside noisy naive Bayes: where is it ahead, beyond the spread of seeds?

    python benchmarks/tables_against_naive_bayes.py --protocol tabular.py >> rows.jsonl
    python benchmarks/tables_against_naive_bayes.py --protocol tabular.py --tables small >> rows.jsonl
    python benchmarks/tables_against_naive_bayes.py --protocol tabular.py --tables wine classes7-5000 --seeds 5
    python benchmarks/tables_against_naive_bayes.py --protocol tabular.py --tables small --methods naive-bayes \
        naive-bayes-quantiles bounds-1 bounds-10 bounds-100 undeclared >> rows.jsonl
    python benchmarks/tables_against_naive_bayes.py --summary rows.jsonl --method bounds-10

Tables come with scikit-learn or are made up (small: the twenty of at most 5,000 rows, a class of 2 % and 50 columns
among them); seven tenths are fitted, and the rest (2,000 rows at most) is the test table. "sinkgen" and "naive-bayes"
get the same declared schema: twelve even bins a number, all categories, the classes. "naive-bayes-quantiles" has bins
of equal counts, "bounds-10" knows of numbers only bounds ten times too wide, "undeclared" only the classes. One JSON
row a fit goes to stdout. The summary has means over seeds; a score is behind where its mean is below naive Bayes' by
more than the standard deviation of their difference, seed by seed.
"""

import argparse
import json
import runpy
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.model_selection import train_test_split
from tables import made_up, naive_bayes

from sinkgen import Column, DPSinkhornGenerator

N_BINS, MOST_TEST_ROWS = 12, 2000
SCORES = {"lr": 1, "rf": 1, "gb": 1, "tvd1": -1, "tvd2": -1}  # and whether more is better


def bundled(name):
    """A table of scikit-learn; targets that are numbers are cut into four classes, digits are 16 columns."""
    data = getattr(datasets, f"load_{name}")(as_frame=name != "digits")
    X, y = data.data, data.target
    if name == "digits":
        means = data.images.reshape(-1, 4, 2, 4, 2).mean((2, 4)).reshape(len(y), -1)
        X, y = pd.DataFrame(means), pd.Series(y)
    if name == "diabetes":
        y = pd.qcut(y, 4, labels=False)
    return X.rename(columns=lambda column: f"x{column}"), "c" + y.astype(str)


def classes(n_classes, n):
    """Clusters of ``n_classes`` classes in ten columns, every second one cut into six categories."""
    X, y = datasets.make_classification(
        n, 10, n_informative=6, n_redundant=2, n_classes=n_classes, n_clusters_per_class=2, random_state=n_classes
    )
    X = pd.DataFrame(X).rename(columns=lambda column: f"x{column}")
    for column in X.columns[::2]:
        X[column] = "v" + pd.qcut(X[column], 6, labels=False).astype(str)
    return X, pd.Series(y).map("c{}".format)


def independent(n_classes, n):
    """Columns that are independent within each class, as naive Bayes has it: eight of five categories."""
    random = np.random.default_rng(n_classes)
    y = random.choice(n_classes, n, p=random.dirichlet(np.full(n_classes, 3.0)))
    columns = {}
    for j in range(8):
        ends = random.dirichlet(np.full(5, 2.0), n_classes).cumsum(1)[y, :-1]
        columns[f"x{j}"] = [f"v{state}" for state in (random.random(n)[:, None] > ends).sum(1)]
    return pd.DataFrame(columns), pd.Series(y).map("c{}".format)


def rare(share, n):
    """Two classes, of which one has a small share of the records, in ten columns, every second one cut into six."""
    X, y = datasets.make_classification(
        n, 10, n_informative=6, n_redundant=2, weights=[1 - share], flip_y=0.0, random_state=0
    )  # fmt: skip
    X = pd.DataFrame(X).rename(columns=lambda column: f"x{column}")
    for column in X.columns[::2]:
        X[column] = "v" + pd.qcut(X[column], 6, labels=False).astype(str)
    return X, pd.Series(y).map("c{}".format)


def wide(n_columns, n):
    """Two classes in so many numbers, moved by five hidden ones of which the class follows, nearly."""
    random = np.random.default_rng(n_columns)
    hidden, mixing = random.normal(size=(n, 5)), random.normal(size=(5, n_columns))
    X = hidden @ mixing / 2 + random.normal(size=(n, n_columns))
    y = hidden @ random.normal(size=5) + random.normal(size=n) > 0
    return pd.DataFrame(X).rename(columns=lambda column: f"x{column}"), pd.Series(y.astype(int)).map("c{}".format)


def many_kinds(n):
    """The made-up table of ``benchmarks/tables.py``, its dates as days and without missing cells."""
    X, y = made_up(n, 0)
    X["date"] = (X["date"] - X["date"].min()).dt.days
    as_text = ["boolean", *X.columns[X.dtypes == "category"]]
    return X.fillna({"nullable": 0}).astype(dict.fromkeys(as_text, str)), pd.Series(y)


TABLES = {name: (bundled, name) for name in ("iris", "wine", "breast_cancer", "digits", "diabetes")}
TABLES |= {f"classes{k}-{n}": (classes, k, n) for n in (500, 5000, 50_000) for k in (3, 7, 15)}
TABLES |= {f"independent{k}-{n}": (independent, k, n) for n in (500, 5000, 50_000) for k in (2, 7)}
TABLES |= {f"kinds-{n}": (many_kinds, n) for n in (500, 5000, 50_000)}
TABLES |= {"rare-5000": (rare, 0.02, 5000), "wide50-500": (wide, 50, 500), "wide50-5000": (wide, 50, 5000)}
SMALL = [name for name in TABLES if not name.endswith("-50000")]  # twenty


METHODS = ("sinkgen", "naive-bayes", "naive-bayes-quantiles", "bounds-1", "bounds-10", "bounds-100", "undeclared")


def schema_of(X, method):
    """What a method is told of the columns, as if the table were public; it is."""
    if method == "undeclared":
        return None
    if method.startswith("bounds"):
        times = (int(method.partition("-")[2]) - 1) / 2
        wider = {name: times * np.ptp(column) for name, column in X.items() if column.dtype.kind in "iuf"}
        known = {name: (X[name].min() - more, X[name].max() + more) for name, more in wider.items()}
        return declared(X) | {name: Column(bounds=bounds) for name, bounds in known.items()}
    if method == "naive-bayes-quantiles":
        return declared(X, lambda column: np.quantile(column, np.linspace(0, 1, N_BINS + 1)))
    return declared(X)


def declared(X, edges_of=lambda column: np.linspace(column.min(), column.max(), N_BINS + 1)):
    """A schema of everything; ``edges_of`` gives the ends of a number's bins."""
    schema = {}
    for name, column in X.items():
        if column.dtype.kind in "iuf":
            ends, is_whole = edges_of(column), column.dtype.kind != "f"
            ends[-1] += is_whole
            ends = np.unique(ends.round() if is_whole else ends)
            schema[name] = Column(bounds=(column.min(), column.max()), edges=tuple(ends.tolist()))
        else:
            schema[name] = sorted(column.unique())
    return schema


def run(name, epsilon, seed, methods, evaluate):
    """Rows of one table, split, and budget."""
    make, *given = TABLES[name]
    X, y = make(*given)
    labels, schemas = sorted(y.unique()), {method: schema_of(X, method) for method in methods}
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
    X_test, y_test = X_test[:MOST_TEST_ROWS], y_test[:MOST_TEST_ROWS]
    for method in methods:
        start = time.process_time()
        if method.startswith("naive-bayes"):
            gen = naive_bayes(X, y, schemas[method], labels, epsilon, 1e-5)
        else:
            estimator = DPSinkhornGenerator(epsilon, 1e-5, schema=schemas[method], classes=labels, random_state=seed)
            gen = estimator.fit(X, y)
        seconds = time.process_time() - start
        X_new, y_new = gen.sample(len(X), random_state=seed)
        with tempfile.TemporaryDirectory() as folder:
            paths = [str(Path(folder) / f"{part}.csv") for part in ("train", "test", "synthetic")]
            for path, rows, of_rows in zip(paths, (X, X_test, X_new), (y, y_test, y_new), strict=True):
                rows.assign(label=np.asarray(of_rows)).to_csv(path, index=False)
            found = evaluate(*paths, "label")
        scores = {model: float(found[model]["auc"]) for model in ("lr", "rf", "gb")}
        scores |= {f"tvd{k}": float(found[f"tvd{k}_mean"]) for k in (1, 2)}
        scores = {what: round(score, 4) for what, score in scores.items()}
        yield {"table": name, "epsilon": epsilon, "seed": seed, "method": method, **scores, "cpu": round(seconds, 1)}


def summary(rows, method, beside):
    """Means of each table and budget, and the scores in which naive Bayes is ahead beyond the spread."""
    rows = pd.DataFrame(rows).drop_duplicates(["table", "epsilon", "seed", "method"], keep="last")
    wide = rows.set_index(["table", "epsilon", "seed", "method"])[[*SCORES, "cpu"]].unstack("method")
    ours, other = (wide.xs(method, axis=1, level="method") for method in (method, beside))
    groups, scores, ahead = ["table", "epsilon"], list(SCORES), (other - ours)[list(SCORES)] * pd.Series(SCORES)
    mean, spread = ahead.groupby(groups).mean(), ahead.groupby(groups).std()
    behind = (mean > spread.fillna(0)) & (mean > 0)
    text = [part[scores].groupby(groups).mean().map("{:.3f}".format).agg(" ".join, axis=1) for part in (ours, other)]
    table = pd.concat(text, axis=1, keys=["ours", "naive Bayes"])
    table["behind in"] = [
        ", ".join(f"{what} {mean.loc[at, what]:.3f} ({spread.loc[at, what]:.3f})" for what in scores if row[what])
        for at, row in behind.iterrows()
    ]
    return table.assign(seeds=ahead.groupby(groups).size(), cpu=ours["cpu"].groupby(groups).mean().round(1))


def main():
    """Parse; fit and score, or sum up."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--protocol", help="script of the common protocol")
    parser.add_argument("--tables", nargs="+", choices=["small", *TABLES], default=list(TABLES))
    parser.add_argument("--epsilons", nargs="+", type=float, default=[0.1, 1.0, 10.0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS[:2])
    parser.add_argument("--method", choices=METHODS, default=METHODS[0], help="of the summary")
    parser.add_argument("--beside", choices=METHODS, default=METHODS[1], help="what the summary holds it against")
    parser.add_argument("--summary", nargs="+", type=Path, help="files of rows; fits nothing, later rows count")
    arguments = parser.parse_args()
    if arguments.summary:
        rows = [json.loads(line) for path in arguments.summary for line in path.read_text().splitlines()]
        print(summary(rows, arguments.method, arguments.beside).to_string())
        return
    if not arguments.protocol:
        parser.error("give --protocol or --summary")
    evaluate = runpy.run_path(arguments.protocol)["evaluate"]
    names = [name for given in arguments.tables for name in (SMALL if given == "small" else [given])]
    for name in names:
        for epsilon in arguments.epsilons:
            for seed in range(arguments.seeds):
                for row in run(name, epsilon, seed, arguments.methods, evaluate):
                    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
