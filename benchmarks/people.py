"""What it costs in utility and time to protect persons instead of rows: one JSON line a way, means over seeds.

    python benchmarks/people.py --train diabetes130_train.csv.gz --test diabetes130_test.csv.gz --group patient_nbr
        --label readmitted --drop encounter_id --epsilon 1

Ways: by row (no groups: a person with ten rows is not protected as a row is), by shares (``groups`` alone), "weighted"
(by shares, with a person's number of rows, in octaves, as one more column, by which rows that are drawn are weighted),
at most so many rows (``--most``), "auto" (as a release says), and what there is without ``groups``: the first row of
each person alone. "auc" is that of a boosted tree trained on synthetic rows and tested on real ones, of the label's
most frequent class against the others, and "auc_persons" the same where rows of a person share a weight of one; "tvd"
the mean distance of the columns' distributions from those of all rows, and "tvd_persons" from those of a row, at
random, of a person at random.
"""

import argparse
import json
import time
import warnings

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from sinkgen import DPSinkhornGenerator
from sinkgen.exceptions import ReproducibleNoiseWarning

OCTAVE = "rows of the person"


def auc(synthetic, test, label, positive, weights):
    """Of a boosted tree, on real rows of several weights: one figure for each."""
    texts = [name for name in synthetic if synthetic[name].dtype.kind not in "biuf" and name != label]
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan)
    model = make_pipeline(
        make_column_transformer((encoder, texts), remainder="passthrough"),
        HistGradientBoostingClassifier(max_iter=60, random_state=0),
    )
    model.fit(synthetic.drop(columns=label), synthetic[label] == positive)
    scores = model.predict_proba(test[synthetic.columns].drop(columns=label))[:, 1]
    return [roc_auc_score(test[label] == positive, scores, sample_weight=own) for own in weights]


def tvd(real, synthetic, weights):
    """Mean over columns of the total variation distance; numbers of many values by twenty quantiles of the real."""
    distances = []
    for name in synthetic:
        one, other = real[name], synthetic[name]
        if one.dtype.kind in "iuf" and one.nunique() > 30:
            edges = np.unique(one.quantile(np.linspace(0, 1, 21)[1:-1]))
            one, other = (pd.Series(np.searchsorted(edges, part), index=part.index) for part in (one, other))
        one, other = (part.astype(object).where(part.notna(), "missing").astype(str) for part in (one, other))
        p = weights.groupby(one.to_numpy()).sum() / weights.sum()
        q = other.value_counts(normalize=True)
        distances.append(0.5 * p.sub(q, fill_value=0).abs().sum())
    return float(np.mean(distances))


def n_rows_of(octaves):
    """About the mean of the numbers of rows in each; 1 where none is known."""
    found = pd.to_numeric(octaves, errors="coerce").fillna(0)
    return np.where(found > 0, 1.25 * 2**found, 1.0)


def main():
    """Print one line a way."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--label", required=True)
    parser.add_argument("--drop", nargs="*", default=[])
    parser.add_argument("--epsilon", type=float, default=1.0)
    parser.add_argument("--most", type=int, nargs="*", default=[2])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ways", nargs="*", default=["row", "shares", "weighted", "most", "first"])
    args = parser.parse_args()
    warnings.simplefilter("ignore", ReproducibleNoiseWarning)
    train, test = (pd.read_csv(path, low_memory=False).drop(columns=args.drop) for path in (args.train, args.test))
    positive = train[args.label].mode()[0]
    rows = train.groupby(args.group)[args.group].transform("size")
    everyone, persons = pd.Series(1.0, train.index), 1 / rows
    first = train.drop_duplicates(args.group)
    # As in the train rows: how many a person has in the test is chance.
    of_test = [None, 1 / test[args.group].map(rows.groupby(train[args.group]).first()).fillna(1)]
    ways = {"row": (train, None, None), "shares": (train, args.group, None), "first": (first, None, None)}
    ways["auto"] = (train, args.group, "auto")
    ways |= {f"most {k}": (train, args.group, k) for k in args.most}
    octaves = np.log2(rows + 0.5).astype(int)  # of one's own rows: others have no part in it
    ways["weighted"] = (train.assign(**{OCTAVE: octaves.astype(str)}), args.group, None)
    for way in ways:
        if way.split()[0] not in args.ways:
            continue
        found = []
        frame, group, k = ways[way]
        for seed in range(args.seeds):
            data = frame if group else frame.drop(columns=args.group)
            gen = DPSinkhornGenerator(args.epsilon, max_rows_per_group=k, random_state=seed, noise_seed=seed)
            start = time.process_time()
            gen.fit(data, args.label, groups=group)
            seconds = time.process_time() - start
            is_weighted = way == "weighted"
            X, y = gen.sample(4 * len(train) if is_weighted else len(train), random_state=seed)
            synthetic = X.assign(**{args.label: y})
            if is_weighted:
                weights = n_rows_of(synthetic.pop(OCTAVE))
                synthetic = synthetic.sample(len(train), replace=True, weights=weights, random_state=seed)
            scores = auc(synthetic, test, args.label, positive, of_test)
            found.append(
                {
                    "auc": scores[0], "auc_persons": scores[1], "seconds": seconds,
                    "tvd": tvd(train, synthetic, everyone), "tvd_persons": tvd(train, synthetic, persons),
                }
            )  # fmt: skip
        spent = gen.privacy_spent()
        row = {"way": way, "epsilon": args.epsilon, "neighbours": spent.neighbours, "max_rows": spent.max_rows}
        row["noise"] = {one.what: round(one.noise_multiplier * spent.max_rows, 3) for one in spent.releases}
        print(json.dumps(row | {key: round(np.mean([one[key] for one in found]), 4) for key in found[0]}), flush=True)


if __name__ == "__main__":
    main()
