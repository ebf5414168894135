"""What plans forecast, beside what fits give: one JSON row a table and budget.

    python benchmarks/plan.py --data FOLDER --epsilon 0.3 1 3 --seeds 3

FOLDER holds adult_train.csv, bank_marketing.csv and king_county_train.csv.gz; without it, the tables of scikit-learn
alone. A distance is the total variation of a column's categories or bins, on average over columns; a category is the
number of records that twice the noise of a column's counts is, on average over columns.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn import datasets

import sinkgen
from sinkgen import DPSinkhornGenerator, Schema
from sinkgen.data.table import Rows
from sinkgen.generators.quality import column_frequencies

SCHEMAS = Path(__file__).parent / "schemas"


def bounded(frame):
    """A schema with rounded bounds, and the categories that occur: what somebody who knows the field would declare."""
    found = {}
    for name, column in frame.items():
        if column.dtype.kind in "iuf":
            room = 0.05 * (column.max() - column.min())
            found[name] = (float(np.floor(column.min() - room)), float(np.ceil(column.max() + room)))
        else:
            found[name] = sorted(column.unique().tolist())
    return Schema(found)


def tables(folder):
    """Name, records, schema, labels or None of each table."""
    for name, load in (("breast cancer", datasets.load_breast_cancer), ("diabetes", datasets.load_diabetes)):
        frame = load(as_frame=True)
        yield name, frame.data, bounded(frame.data), frame.target.to_numpy() if name == "breast cancer" else None
    digits = datasets.load_digits(as_frame=True)
    frame = digits.data[[name for name in digits.data if digits.data[name].nunique() > 12]].iloc[:, :12]
    yield "digits, 12 pixels", frame, Schema({name: (0, 16) for name in frame}), None
    if folder is None:
        return
    adult = pd.read_csv(folder / "adult_train.csv", keep_default_na=False, skipinitialspace=True)
    declared = Schema.from_json((SCHEMAS / "adult.json").read_text())
    yield "adult", adult, declared, None
    own = Schema({name: column for name, column in declared.items() if name != "income"})
    yield "adult, income as y", adult.drop(columns="income"), own, adult.income.to_numpy()
    bank = pd.read_csv(folder / "bank_marketing.csv", keep_default_na=False)
    yield "bank", bank.drop(columns="y"), bounded(bank.drop(columns="y")), bank.y.to_numpy()
    houses = pd.read_csv(folder / "king_county_train.csv.gz").select_dtypes("number").dropna(axis=1)
    yield "king county", houses, bounded(houses), None


def noise_of(errors):
    """Of a cell's count alone: shares that sum to 1 have less."""
    return errors.min() / (1 - 1 / len(errors)) ** 0.5 if len(errors) > 1 else np.nan


def seen(gen, frame):
    """Mean distance of the columns, and records of the smallest category that stands out."""
    release, found = gen.release_, []
    states = release.form.states(release.form.encode(Rows(frame)).long())
    for codes, drawn in zip(states.T, column_frequencies(release.generator), strict=True):
        real = torch.bincount(codes.clamp_min(0), minlength=len(drawn)).double() / len(codes)
        found.append(float((real - drawn / drawn.sum()).abs().sum() / 2))
    noise = np.nanmean([noise_of(release.marginal(name).privacy_errors) for name in frame.columns])
    return np.mean(found), 2 * noise * len(frame)


def main():
    """Print a row a table and budget."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--epsilon", type=float, nargs="+", default=[0.3, 1.0, 3.0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", help="name of one table")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    for name, frame, schema, y in tables(args.data):
        if args.only not in (None, name):
            continue
        classes = None if y is None else sorted(set(y.tolist()))
        planned = sinkgen.plan(schema, len(frame), args.epsilon, classes=classes)
        for forecast in planned.forecasts:
            start, results = time.process_time(), []
            for seed in range(args.seeds):
                gen = DPSinkhornGenerator(forecast.epsilon, schema=schema, classes=classes, random_state=seed)
                results.append(seen(gen.fit(frame, y), frame))
            distance, category = np.mean(results, 0)
            print(json.dumps({
                "table": name, "epsilon": forecast.epsilon,
                "distance": round(float(distance), 4), "planned": round(forecast.distance, 4),
                "ratio": round(forecast.distance / max(float(distance), 1e-9), 2),
                "category": round(float(category), 1), "planned category": round(forecast.category, 1),
                "category ratio": round(forecast.category / float(category), 2),
                "s": round((time.process_time() - start) / args.seeds, 1), "planned s": round(planned.seconds, 1),
            }), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
