"""Fit on real images, sample, train on synthetic and test on real: one JSON row and a picture.

    python benchmarks/images.py --data mnist.npz --epsilon 10

``--data`` holds X_train, y_train, X_test, y_test; "photographs" stands for patches of 20 x 20 of scikit-learn's two
photographs, smooth sky and petals beside leaves. The scores are those of the common protocol, a script that is given by
``--protocol`` and run as it is; its three classifiers see synthetic images alone, and are scored after their last step,
so that nothing is chosen on real images. ``--classifier long`` adds its network trained to convergence (12,000 steps),
``--classifier resnet`` a small residual network. ``specks`` is the share of pixels that are farther from the median of
their 3 x 3 neighbours than 999 of 1,000 pixels of the real test images; ``specks_on_smooth`` is the same where "far" is
relative to what is usual in the 5 x 5 pixels around: a pixel that is a speck in the sky is none among leaves.
``smooth`` is the share of images half of whose pixels are within 2 of 255 of that median, ``smooth_real`` that of the
real test images. Options that are not given here are the estimator's defaults.
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
from sklearn.datasets import load_sample_images

from sinkgen import DPSinkhornGenerator

ROOT = Path(__file__).resolve().parents[1]
USUAL = 2.0  # of 255: so far from the median of its neighbours a pixel is anywhere


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


def specks_on_smooth(X, real):
    """Share of pixels that are specks to what is around them: .001 of the real ones, by definition."""

    def relative(images):
        far = apart(images)
        return far / (USUAL + median_filter(far, (1, 5, 5)))

    return float((relative(X) > np.quantile(relative(real), 0.999)).mean())


def smooth(X):
    """Share of images half of whose pixels are as near their neighbours' median as any are."""
    return float((np.median(apart(X), (1, 2)) <= USUAL).mean())


def photographs(folder):
    """File of patches of scikit-learn's photographs; those to test on are of columns that no other is of."""
    random, parts, side = np.random.default_rng(0), {}, 20
    photos = load_sample_images().images
    cut = photos[0].shape[1] * 4 // 5
    for name, n, start, stop in (("train", 4000, 0, cut), ("test", 1000, cut, photos[0].shape[1])):
        patches = []
        for photo in photos:
            rows = random.integers(0, len(photo) - side, n)
            columns = random.integers(start, stop - side, n)
            patches += [photo[r : r + side, c : c + side] for r, c in zip(rows, columns, strict=True)]
        parts |= {f"X_{name}": np.stack(patches), f"y_{name}": np.repeat([0, 1], n)}
    np.savez(Path(folder) / "photographs.npz", **parts)
    return Path(folder) / "photographs.npz"


def fraction(text):
    """A number, None or "auto"."""
    return {"none": None, "auto": "auto"}[text] if text in ("none", "auto") else float(text)


def main():
    """Parse, fit, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help='npz with X_train, y_train, X_test, y_test; or "photographs"')
    parser.add_argument("--epsilon", type=float, default=10.0)
    parser.add_argument("--delta", type=float, default=1e-5)
    parser.add_argument("--mechanism", default="semidual")
    parser.add_argument("--generator", default="auto")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--sampling-rate", type=float)
    parser.add_argument("--debias", type=fraction, default="auto", help="fraction p, none or auto")
    parser.add_argument("--cost", default="sqeuclidean")
    parser.add_argument("--augment", default="auto", choices=["auto", "none", "affine"])
    parser.add_argument("--prior", help="npz whose X_train is taken for public")
    parser.add_argument("--samples", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="lr,mlp,cnn,fidelity", help="parts of the protocol")
    parser.add_argument("--protocol", default=ROOT.parent / "shared" / "eval" / "images.py", type=Path)
    parser.add_argument("--classifier", choices=["paper", *KINDS], default="paper", help="what is trained beside them")
    parser.add_argument("--out", default=ROOT / "output", type=Path, help="folder of the picture and the row")
    args = parser.parse_args()

    args.out.mkdir(parents=True, exist_ok=True)
    if args.data == "photographs":
        args.data = photographs(args.out)
    data = np.load(args.data)
    X, y = data["X_train"], data["y_train"]
    given = {name: getattr(args, name) for name in ("steps", "sampling_rate") if getattr(args, name) is not None}
    gen = DPSinkhornGenerator(
        args.epsilon, args.delta, mechanism=args.mechanism, generator=args.generator, debias=args.debias,
        cost=args.cost, augment=None if args.augment == "none" else args.augment, classes=np.unique(y),
        random_state=args.seed, prior=np.load(args.prior)["X_train"] if args.prior else None, **given,
    )  # fmt: skip
    start = time.perf_counter()
    gen.fit(X, y)
    fitted = time.perf_counter()
    X_new, y_new = gen.sample(args.samples, random_state=args.seed)
    sampled = time.perf_counter()
    spent = gen.privacy_spent()
    row = {
        "data": Path(args.data).stem, "mechanism": args.mechanism, "generator": args.generator, "seed": args.seed,
        **given, "debias": args.debias, "augment": args.augment, "cost": args.cost,
        "prior": args.prior and Path(args.prior).stem, "epsilon_asked": args.epsilon,
        "epsilon_spent": spent.epsilon, "delta": spent.delta,
        "fit_seconds": round(fitted - start, 2), "sample_seconds": round(sampled - fitted, 2),
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }  # fmt: skip
    name = f"{row['data']}-{args.mechanism}-{args.generator}-{args.augment}-eps{args.epsilon:g}-seed{args.seed}"
    name += f"-{args.cost}" if args.cost != "sqeuclidean" else ""
    name += f"-prior-{row['prior']}" if args.prior else ""
    grid(X_new, y_new).save(args.out / f"{name}.png")
    row["specks"] = round(specks(X_new[:10_000], data["X_test"]), 5)
    row["specks_on_smooth"] = round(specks_on_smooth(X_new[:10_000], data["X_test"]), 5)
    row |= {"smooth": round(smooth(X_new[:10_000]), 4), "smooth_real": round(smooth(data["X_test"]), 4)}
    if args.only:
        row |= score(args.protocol, args.data, X_new, y_new, args.only)
    if args.classifier != "paper":
        row[args.classifier] = accuracy(args.classifier, X_new, y_new, data["X_test"], data["y_test"], args.seed)
    (args.out / f"{name}.json").write_text(json.dumps(row) + "\n")
    print(json.dumps(row))


if __name__ == "__main__":
    main()
