"""The paper's ablation: how much of the self term to draw afresh, without noise, on scikit-learn's digits.

    python benchmarks/debias.py

For each fraction p, and for W alone, a network is trained by the batch mechanism at epsilon = inf. Printed: Sinkhorn
divergence (in squared pixel units of [0, 1]) and the accuracy of 3 nearest neighbours trained on synthetic digits, both
against held-out digits; mean and spread over seeds.
"""

import argparse
import json

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from sinkgen import DPSinkhornGenerator
from sinkgen.ot import sinkhorn_divergence, with_labels


def trial(debias, seed, steps):
    """Divergence and accuracy of one fit."""
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=seed, stratify=y)
    gen = DPSinkhornGenerator(
        np.inf, mechanism="batch", generator="mlp", debias=debias, steps=steps, sampling_rate=0.05,
        schema=(0, 16), classes=range(10), image_shape=(8, 8), random_state=seed,
    ).fit(X_train, y_train)  # fmt: skip
    X_new, y_new = gen.sample(y=y_test, random_state=seed)
    real, new = (
        with_labels(torch.as_tensor(x / 16, dtype=torch.float64), torch.as_tensor(labels), 10, 10.0)
        for x, labels in ((X_test, y_test), (X_new, y_new))
    )
    return sinkhorn_divergence(new, real, 0.05).item(), KNeighborsClassifier(3).fit(X_new, y_new).score(X_test, y_test)


def main():
    """Run all fractions; print a table and one JSON row."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    results = {}
    print("self term       divergence          3-NN")
    for debias in (0.0, 0.2, 0.4, 1.0, None):
        runs = np.array([trial(debias, seed, args.steps) for seed in range(args.seeds)])
        (divergence, accuracy), (spread, spread_) = runs.mean(0), runs.std(0)
        name = "none (W alone)" if debias is None else f"p = {debias:g}"
        print(f"{name:<14}  {divergence:.4f} +- {spread:.4f}  {accuracy:.3f} +- {spread_:.3f}", flush=True)
        results[name] = {"divergence": divergence, "accuracy": accuracy}
    print(json.dumps({"steps": args.steps, "seeds": args.seeds, "results": results}))


if __name__ == "__main__":
    main()
