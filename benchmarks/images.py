"""Fit on real images, sample, train on synthetic and test on real: one JSON row and a picture.

    python benchmarks/images.py --data mnist.npz --epsilon 10

``--data`` holds X_train, y_train, X_test, y_test. The scores are those of the common protocol, a script that is given
by ``--protocol`` and run as it is; its three classifiers see synthetic images alone, and are scored after their last
step, so that nothing is chosen on real images. ``--classifier long`` adds its network trained to convergence (12,000
steps), ``--classifier resnet`` a small residual network. ``specks`` is the share of pixels that are farther from the
median of their 3 x 3 neighbours than 999 of 1,000 pixels of the real test images. Options that are not given here are
the estimator's defaults.
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
from classifiers import KINDS, accuracy
from PIL import Image
from scipy.ndimage import median_filter

from sinkgen import DPSinkhornGenerator

ROOT = Path(__file__).resolve().parents[1]


def grid(X, y, rows=10, columns=20):
    """A picture of ``columns`` images of each of the first ``rows`` labels; white where there are too few."""
    lines = []
    for label in np.unique(y)[:rows]:
        own = X[y == label][:columns]
        empty = np.full((columns - len(own), *X.shape[1:]), 255, X.dtype)
        lines.append(np.concatenate([*own, *empty], axis=1))
    return Image.fromarray(np.concatenate(lines))


def score(protocol, data, X, y, only):
    """What the protocol prints, as a dict."""
    with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        np.savez(file, X=X, y=y)
        file.flush()
        command = [sys.executable, protocol, "--real", data, "--synth", file.name, "--only", only]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def apart(X):
    """How far each pixel (n, h, w) is from the median of its 3 x 3 neighbours, in the channel where it is farthest."""
    footprint = (1, 3, 3, 1)[: X.ndim]
    far = [np.abs(part - median_filter(part, footprint)) for part in np.array_split(X.astype(np.int16), 20)]
    far = np.concatenate(far)
    return far if far.ndim == 3 else far.max(3)


def specks(X, real):
    """Share of pixels that are specks: .001 of the real ones, by definition."""
    return float((apart(X) > np.quantile(apart(real), 0.999)).mean())


def fraction(text):
    """A number, None or "auto"."""
    return {"none": None, "auto": "auto"}[text] if text in ("none", "auto") else float(text)


def main():
    """Parse, fit, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="npz with X_train, y_train, X_test, y_test")
    parser.add_argument("--epsilon", type=float, default=10.0)
    parser.add_argument("--delta", type=float, default=1e-5)
    parser.add_argument("--mechanism", default="semidual")
    parser.add_argument("--generator", default="auto")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--sampling-rate", type=float)
    parser.add_argument("--debias", type=fraction, default="auto", help="fraction p, none or auto")
    parser.add_argument("--augment", default="auto", choices=["auto", "none", "affine"])
    parser.add_argument("--samples", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="lr,mlp,cnn,fidelity", help="parts of the protocol")
    parser.add_argument("--protocol", default=ROOT.parent / "shared" / "eval" / "images.py", type=Path)
    parser.add_argument("--classifier", choices=["paper", *KINDS], default="paper", help="what is trained beside them")
    parser.add_argument("--out", default=ROOT / "output", type=Path, help="folder of the picture and the row")
    args = parser.parse_args()

    data = np.load(args.data)
    X, y = data["X_train"], data["y_train"]
    given = {name: getattr(args, name) for name in ("steps", "sampling_rate") if getattr(args, name) is not None}
    gen = DPSinkhornGenerator(
        args.epsilon, args.delta, mechanism=args.mechanism, generator=args.generator, debias=args.debias,
        augment=None if args.augment == "none" else args.augment, classes=np.unique(y), random_state=args.seed, **given,
    )  # fmt: skip
    start = time.perf_counter()
    gen.fit(X, y)
    fitted = time.perf_counter()
    X_new, y_new = gen.sample(args.samples, random_state=args.seed)
    sampled = time.perf_counter()
    spent = gen.privacy_spent()
    row = {
        "data": Path(args.data).stem, "mechanism": args.mechanism, "generator": args.generator, "seed": args.seed,
        **given, "debias": args.debias, "augment": args.augment, "epsilon_asked": args.epsilon,
        "epsilon_spent": spent.epsilon, "delta": spent.delta,
        "fit_seconds": round(fitted - start, 2), "sample_seconds": round(sampled - fitted, 2),
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }  # fmt: skip
    args.out.mkdir(parents=True, exist_ok=True)
    name = f"{row['data']}-{args.mechanism}-{args.generator}-{args.augment}-eps{args.epsilon:g}-seed{args.seed}"
    grid(X_new, y_new).save(args.out / f"{name}.png")
    row["specks"] = round(specks(X_new[:10_000], data["X_test"]), 5)
    if args.only:
        row |= score(args.protocol, args.data, X_new, y_new, args.only)
    if args.classifier != "paper":
        row[args.classifier] = accuracy(args.classifier, X_new, y_new, data["X_test"], data["y_test"], args.seed)
    (args.out / f"{name}.json").write_text(json.dumps(row) + "\n")
    print(json.dumps(row))


if __name__ == "__main__":
    main()
