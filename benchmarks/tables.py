"""Fit on a real table, sample, train on synthetic and test on real: one JSON row.

    python benchmarks/tables.py --train adult_train.csv --test adult_test.csv --label income --epsilon 1
        --schema benchmarks/schemas/adult.json --protocol tabular.py

The scores are those of the common protocol, a script that is given by ``--protocol`` and run as it is; as many rows are
drawn as the training table has. Without ``--test``, a fifth of the training table is held out, stratified by label.
Without ``--schema``, bounds, categories and bins are learned on the same budget; the labels too. With ``--method
naive-bayes`` it is the baseline instead that a method for tables has to beat.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import train_test_split

from sinkgen import DPSinkhornGenerator, Schema
from sinkgen.accounting import PrivacySpent
from sinkgen.accounting.budget import split_budget
from sinkgen.data.labels import declared_labels
from sinkgen.data.table import Rows, table_format
from sinkgen.denoise.frequencies import project_simplex
from sinkgen.generators.product import ProductMixture
from sinkgen.generators.release import Release
from sinkgen.privacy.mechanism import GaussianMechanism
from sinkgen.privacy.queries.tables import MarginalQuery
from sinkgen.records import ArraySource


def made_up(n, seed):
    """A table of n rows and 20 columns of all kinds, whose numbers and categories depend on a hidden group."""
    random = np.random.default_rng(seed)
    group = random.integers(8, size=n)
    columns = {}
    for j in range(8):
        columns[f"float{j}"] = random.normal(group * (j % 3), 1 + j)
        columns[f"category{j}"] = pd.Categorical.from_codes(
            (group + random.integers(4, size=n)) % 11, list("abcdefghijk")
        )
    columns["integer"] = random.poisson(group + 1)
    columns["boolean"] = random.random(n) < group / 8
    columns["date"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(2000, size=n), unit="D")
    columns["nullable"] = np.where(random.random(n) < 0.1, np.nan, group + random.random(n))
    return pd.DataFrame(columns), np.array(["no", "yes"])[(group > 4).astype(int)]


def naive_bayes(X, y, schema, classes, epsilon, delta):
    """Noisy naive Bayes: columns are independent within a class, numbers lie evenly in their bins.

    The whole budget goes to the one-way marginals within classes.
    """
    form, labels = table_format(X, schema), declared_labels(classes, y.to_numpy())
    if form.missing:
        raise ValueError("the baseline learns neither categories nor bins: give a --schema that has them")
    releases = split_budget(epsilon, delta, {"one-way": 1.0})
    source = ArraySource(form.states(form.encode(Rows(X))), labels.encode(y))
    query = MarginalQuery(form.widths, len(labels.classes))
    counts = GaussianMechanism(releases, delta).release("one-way", query, source)
    weights = torch.diag(project_simplex(counts.sum(1) / counts.sum()))
    frequencies = torch.cat([_frequencies(part) for part in counts.split(form.widths, 1)], 1)
    cells = (form.cell_states, form.cell_shares.expand(len(weights), -1))
    mixture = ProductMixture(weights, frequencies, form.widths, *cells)
    spent = PrivacySpent.of(releases, delta, "auto", form.assumptions)
    return DPSinkhornGenerator.from_release(Release(mixture, mixture.class_weights, form, labels, spent))


def _frequencies(counts):
    totals = counts.sum(1, keepdim=True)
    return torch.stack([project_simplex(row) for row in torch.where(totals > 0, counts / totals, 0.0)])


def score(protocol, train, test, synthetic, label):
    """What the protocol prints, as a dict."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: str(Path(folder) / f"{name}.csv") for name in ("train", "test", "synth")}
        for name, frame in zip(paths, (train, test, synthetic), strict=True):
            frame.to_csv(paths[name], index=False)
        options = [part for name, path in paths.items() for part in (f"--{name}", path)]
        command = [sys.executable, protocol, *options, "--label", label]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def read(path):
    """A table as it lies in the file: what is missing there stays text."""
    return pd.read_csv(path, keep_default_na=False, skipinitialspace=True)


def main():
    """Parse, fit, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--train", help="CSV of the real training table; a made-up one without")
    parser.add_argument("--test", help="CSV of the real test table")
    parser.add_argument("--label", help="name of the label column")
    parser.add_argument("--schema", help="JSON as Schema.to_json writes it")
    parser.add_argument("--method", choices=["sinkgen", "naive-bayes"], default="sinkgen")
    parser.add_argument("--label-as-column", action="store_true", help="fit without y: the label is one more column")
    parser.add_argument("--epsilon", type=float, default=1.0)
    parser.add_argument("--delta", type=float, default=1e-5)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the made-up table")
    parser.add_argument("--protocol", help="script of the common protocol; none: no scores")
    parser.add_argument("--out", help="CSV of the synthetic table, with the label")
    parser.add_argument("--seed", type=int, default=0, help="of starts and samples; noise is always fresh")
    arguments = parser.parse_args()
    if arguments.method == "naive-bayes" and not (arguments.label and arguments.schema):
        parser.error("--method naive-bayes needs --label and --schema")

    if arguments.train:
        train = read(arguments.train)
        if arguments.test:
            test = read(arguments.test)
        else:
            train, test = train_test_split(train, test_size=0.2, stratify=train[arguments.label], random_state=0)
        X, y, label = train.drop(columns=arguments.label), train[arguments.label], arguments.label
    else:
        (X, y), label = made_up(arguments.rows, arguments.seed), "label"
    schema = Schema.from_json(Path(arguments.schema).read_text()) if arguments.schema else Schema({})
    classes = schema[label].values if label in schema else None
    gen = DPSinkhornGenerator(arguments.epsilon, arguments.delta, random_state=arguments.seed)
    start, cpu_start = time.perf_counter(), time.process_time()
    columns = {name: column for name, column in schema.items() if name != label}
    if arguments.method == "naive-bayes":
        gen = naive_bayes(X, y, columns, classes, arguments.epsilon, arguments.delta)
    elif arguments.label_as_column:
        gen.set_params(schema=schema).fit(train)
    else:
        gen.set_params(schema=columns, classes=classes).fit(X, y)
    fit_seconds, fit_cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    start = time.perf_counter()
    if arguments.label_as_column:
        synthetic = gen.sample(len(X), random_state=arguments.seed)
    else:
        synthetic, labels = gen.sample(len(X), random_state=arguments.seed)
        synthetic[label] = labels
    result = {
        "train": Path(arguments.train).stem if arguments.train else f"made up, {len(X)} rows",
        "method": arguments.method,
        "epsilon": arguments.epsilon,
        "delta": arguments.delta,
        "schema": bool(arguments.schema),
        "label_as_column": arguments.label_as_column,
        "seed": arguments.seed,
        "fit_seconds": round(fit_seconds, 1),
        "fit_cpu_seconds": round(fit_cpu_seconds, 1),
        "sample_seconds": round(time.perf_counter() - start, 1),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }
    if arguments.out:
        synthetic.to_csv(arguments.out, index=False)
    if arguments.protocol:
        scores = score(arguments.protocol, train, test, synthetic[train.columns], label)
        result["auc"] = [scores[name]["auc"] for name in ("lr", "rf", "gb")]
        result["accuracy"] = [scores[name]["accuracy"] for name in ("lr", "rf", "gb")]
        result["tvd"] = [scores["tvd1_mean"], scores["tvd2_mean"]]
        result["worst_pair"] = [*scores["tvd2_worst_pair"], scores["tvd2_max"]]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
