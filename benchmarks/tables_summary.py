"""Means over seeds of the rows that ``benchmarks/tables.py`` printed, and a figure of utility against epsilon.

for seed in 0 1 2; do python benchmarks/tables.py --train ... --epsilon 1 --seed $seed >> rows.jsonl; done
python benchmarks/tables_summary.py rows.jsonl --figure docs/tables.png
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
from summaries import epsilon_axis, read_rows, show

MODELS = ["logistic regression", "random forest", "boosted trees"]
DISTANCES = ["one-way", "two-way"]
# dpmm's AIM on Adult by the same protocol, one core, one seed: AUC, TVD.
AIM = {1: ([0.890, 0.901, 0.899], [0.014, 0.040]), 10: ([0.894, 0.905, 0.905], [0.010, 0.030])}


def read(path):
    """One row a run; lists are spread over columns."""
    rows = read_rows([path])
    rows[[f"AUC {model}" for model in MODELS]] = rows["auc"].tolist()
    rows["accuracy"] = rows["accuracy"].str[-1]
    rows[[f"TVD {kind}" for kind in DISTANCES]] = rows["tvd"].tolist()
    return rows


def summary(rows):
    """Mean of each score, and the number of seeds."""
    scores = [*[f"AUC {model}" for model in MODELS], "accuracy", *[f"TVD {kind}" for kind in DISTANCES]]
    groups = rows.groupby(["train", "method", "schema", "label_as_column", "epsilon"])
    return groups[[*scores, "fit_seconds", "fit_cpu_seconds", "peak_gb"]].mean().round(4).assign(seeds=groups.size())


def draw(rows, path):
    """AUC and distance of marginals against epsilon, for the first table in the file."""
    own = rows[(rows["train"] == rows["train"].iloc[0]) & rows["schema"] & ~rows["label_as_column"]]
    own = own[own["method"] == "sinkgen"]
    means = own.groupby("epsilon").mean(numeric_only=True)
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for panel, what, kinds, place in zip(panels, ("AUC", "TVD"), (MODELS, DISTANCES), (0, 1), strict=True):
        for i, kind in enumerate(kinds):
            (line,) = panel.plot(means.index, means[f"{what} {kind}"], marker="o", label=kind)
            panel.plot(
                list(AIM), [scores[place][i] for scores in AIM.values()], "s--", mfc="none", color=line.get_color()
            )
        epsilon_axis(panel, list(means.index))
        panel.legend(title="dashed: AIM")
    panels[0].set_ylabel("AUC on real rows,\ntrained on synthetic ones")
    panels[1].set_ylabel("total variation distance of marginals")
    panels[1].set_ylim(bottom=0)
    figure.savefig(path, dpi=120)


def main():
    """Read, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("rows", type=Path, help="file with a JSON row a line")
    parser.add_argument("--figure", type=Path, help="where to draw utility against epsilon")
    args = parser.parse_args()
    rows = read(args.rows)
    show(summary(rows))
    if args.figure:
        draw(rows, args.figure)


if __name__ == "__main__":
    main()
