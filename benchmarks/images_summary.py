"""Means over seeds of what ``benchmarks/images.py`` wrote, accuracy against epsilon, and samples side by side.

    for seed in 0 1 2; do python benchmarks/images.py --data mnist.npz --epsilon 10 --seed $seed; done
    python benchmarks/images_summary.py --figure docs/accuracy.png --samples docs/images.png

Every row in the folder is used; published values stand beside them as they were printed.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
from summaries import epsilon_axis, read_rows, show

ROOT = Path(__file__).resolve().parents[1]
SCORES = ["lr", "mlp", "cnn", "fd_cnn", "coverage", "nn_ratio", "fit_seconds"]
# Accuracy of a CNN, or the mean of several deep networks, trained on synthetic images; no public data; delta 1e-5.
PUBLISHED = {
    "mnist": {
        "DP-Sinkhorn (2111.01177)": {10: 83.2},
        "DPDM (2210.09929)": {0.2: 86.3, 1: 95.3, 10: 98.1},
        "DP-FETA": {1: 95.6, 10: 98.1},
        "FETA-Pro": {0.2: 86.2, 1: 97.1, 10: 98.6},
    },
    "fashion_mnist": {
        "DP-Sinkhorn (2111.01177)": {10: 71.1},
        "DPDM (2210.09929)": {0.2: 72.3, 1: 79.4, 10: 86.2},
        "DP-FETA": {1: 81.7, 10: 87.3},
        "FETA-Pro": {0.2: 70.2, 1: 82.3, 10: 88.3},
    },
}
COLOURS = dict(zip(PUBLISHED["mnist"], ["tab:red", "tab:purple", "tab:brown", "tab:pink"], strict=True))
OWN_COLOURS = {"auto": "tab:blue", "affine": "tab:cyan", "none": "tab:gray"}
LABELS = {"semidual": "sinkgen", "batch": "sinkgen, the paper's mechanism"}


def summary(rows):
    """Mean, half the range and number of seeds of each score."""
    groups = rows.groupby(["data", "mechanism", "augment", "epsilon_asked"])[[s for s in SCORES if s in rows]]
    means, spread, n = groups.mean(), (groups.max() - groups.min()) / 2, groups.size()
    text = means.round(2).astype(str) + " ± " + spread.round(2).astype(str)
    return text.assign(seeds=n)


def draw(rows, path):
    """Accuracy of the CNN against epsilon, one panel a data set."""
    names = [name for name in PUBLISHED if name in set(rows["data"])]
    figure, panels = plt.subplots(1, len(names), figsize=(5.2 * len(names), 4), squeeze=False, layout="constrained")
    for panel, name in zip(panels[0], names, strict=True):
        for (mechanism, augment), own in rows[rows["data"] == name].groupby(["mechanism", "augment"]):
            scores = own.groupby("epsilon_asked")["cnn"].agg(["mean", "min", "max"])
            label = LABELS[mechanism] + {"affine": ", affine", "none": ", no deformations"}.get(augment, "")
            colour = OWN_COLOURS[augment] if mechanism == "semidual" else "tab:olive"
            panel.plot(scores.index, scores["mean"], marker="o", label=label, linewidth=2, color=colour)
            panel.fill_between(scores.index, scores["min"], scores["max"], color=colour, alpha=0.2)
        for label, points in PUBLISHED[name].items():
            panel.plot(
                list(points), list(points.values()), "--", color=COLOURS[label], marker="s", label=label, lw=1, ms=4
            )
        epsilon_axis(panel, [0.1, 0.2, 0.5, 1, 3, 10])
        panel.set_title(name.replace("_", "-").upper())
    panels[0, 0].set_ylabel("accuracy on real test images, %, of a CNN\ntrained on synthetic ones")
    panels[0, 0].legend(fontsize=8)
    figure.savefig(path, dpi=120)


def draw_samples(rows, folder, path, columns=9):
    """Samples of each data set at falling epsilon, one panel each; ten labels, one a line."""
    runs = rows[(rows["mechanism"] == "semidual") & (rows["seed"] == 0) & rows["epsilon_asked"].isin([10, 1, 0.2])]
    names = [name for name in PUBLISHED if name in set(runs["data"])]
    figure, panels = plt.subplots(len(names), 3, figsize=(9, 3.5 * len(names)), squeeze=False, layout="constrained")
    for line, name in zip(panels, names, strict=True):
        for panel, epsilon in zip(line, (10, 1, 0.2), strict=True):
            panel.set_axis_off()
            own = runs[(runs["data"] == name) & (runs["epsilon_asked"] == epsilon)].sort_values("augment")
            if len(own):
                run = own.iloc[-1]
                file = f"{name}-semidual-{run['generator']}-{run['augment']}-eps{epsilon:g}-seed0.png"
                panel.imshow(plt.imread(folder / file)[:, : 28 * columns], cmap="gray")
                panel.set_title(f"{name.replace('_', '-').upper()}, epsilon {epsilon:g}")
    figure.savefig(path, dpi=100)


def main():
    """Read, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", default=ROOT / "output", type=Path, help="folder of the rows")
    parser.add_argument("--figure", type=Path, help="where to draw accuracy against epsilon")
    parser.add_argument("--samples", type=Path, help="where to draw samples at epsilon 10, 1 and 0.2")
    args = parser.parse_args()
    rows = read_rows(sorted(args.rows.glob("*-seed*.json")))
    show(summary(rows))
    if args.figure:
        draw(rows, args.figure)
    if args.samples:
        draw_samples(rows, args.rows, args.samples)


if __name__ == "__main__":
    main()
