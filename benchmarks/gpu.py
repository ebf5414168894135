"""What a card does, in seconds and as ratios to what cannot be less: one JSON line a row, with the card's name.

    python benchmarks/gpu.py                        # on the card
    python benchmarks/gpu.py --device cpu --small   # the same rows, small, to see that it runs

"step" is a step of the transport at 784 columns, 500 points and 60,000 records, over its two matrix products; "moments"
the matrix of second moments over X^T X; both are medians of paired runs on records that lie on the device. A fit is
``DPSinkhornGenerator(10, device=...).fit(X, y)`` on images made of ten Gaussian classes, data in main memory; "draws"
are 60,000 samples of it. ``asked`` is what issue and page ask of a card.
"""

import argparse
import json
import statistics
import time

import numpy as np
import torch

from sinkgen import DPSinkhornGenerator
from sinkgen._groups import sort_by_class
from sinkgen.ot import resolve_cost
from sinkgen.privacy.queries.moments import MomentQuery
from sinkgen.privacy.queries.transport import TransportQuery
from sinkgen.records import ArraySource

N_CLASSES = 10


def seconds(run, device):
    """Of the wall, until the device is done."""
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def ratio(whole, part, device, repeats=7):
    """Medians of both, and of their paired ratio, after a run of each that is not counted."""
    seconds(whole, device), seconds(part, device)
    pairs = [(seconds(whole, device), seconds(part, device)) for _ in range(repeats)]
    return [statistics.median(column) for column in zip(*((a, b, a / b) for a, b in pairs), strict=True)]


def measure_step(n, d, n_points, device):
    """Of all records of one class, which is what a step costs with the fewest kernels."""
    random = torch.Generator().manual_seed(0)
    values, points = (torch.rand(rows, d, generator=random).to(device) for rows in (n, n_points))
    source = ArraySource(values, torch.zeros(n, dtype=torch.long, device=device)).map(sort_by_class)
    query = TransportQuery(
        points.cpu(), torch.zeros(n_points).long(), torch.zeros(n_points), 2.0, resolve_cost("sqeuclidean"),
        clip=0.5, mass_clip=0.1,
    )  # fmt: skip
    plan = torch.rand(n_points, n, generator=random).to(device)
    return ratio(lambda: query.evaluate(source.chunks()), lambda: (values @ points.T, plan @ values), device)


def measure_moments(n, d, device):
    """Of all records together."""
    values = torch.rand(n, d, generator=torch.Generator().manual_seed(0)).to(device)
    query, source = MomentQuery(d, 1.0), ArraySource(values)
    return ratio(lambda: query.evaluate(source.chunks()), lambda: values.T @ values, device)


def images(n, shape):
    """Pictures of ten Gaussian classes, as bytes, and their labels."""
    random = np.random.default_rng(0)
    centres = random.integers(60, 190, (N_CLASSES, *shape)).astype(np.float32)
    labels = random.integers(N_CLASSES, size=n)
    noise = random.standard_normal((257, *shape), dtype=np.float32) * 25
    X = np.empty((n, *shape), dtype=np.uint8)
    for start in range(0, n, 4096):
        own = labels[start : start + 4096]
        X[start : start + 4096] = np.clip(centres[own] + noise[random.integers(257, size=len(own))], 0, 255)
    return X, labels


def measure_fit(n, shape, device):
    """Seconds of a fit and of 60,000 draws, and the largest share of the card's memory, in MiB."""
    X, y = images(n, shape)
    gen = DPSinkhornGenerator(10, schema=(0, 255), classes=range(N_CLASSES), device=str(device), random_state=0)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    fit = seconds(lambda: gen.fit(X, y), device)
    memory = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None
    draws = min(60_000, n)
    return fit, seconds(lambda: gen.sample(draws, random_state=0, device=str(device)), device), draws, memory


def main():
    """Print a line for each row."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="a three-hundredth of the records")
    parser.add_argument("--parts", nargs="+", default=["step", "moments", "fits"])
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    less = 300 if arguments.small else 1

    def show(what, **row):
        row = {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}
        print(json.dumps({"what": what, "card": card, "torch": torch.__version__, **row}), flush=True)

    if "step" in arguments.parts:
        whole, part, over = measure_step(60_000 // less, 784, 500, device)
        show("step", seconds=whole, products_seconds=part, ratio=over, asked=3.0)
    if "moments" in arguments.parts:
        whole, part, over = measure_moments(60_000 // less, 784, device)
        show("moments", seconds=whole, products_seconds=part, ratio=over, asked=2.0)
    if "fits" in arguments.parts:
        for n, shape, asked in [(60_000, (28, 28), 3), (200_000, (32, 32, 3), 10), (1_000_000, (32, 32, 3), 20)]:
            fit, sampling, draws, memory = measure_fit(n // less, shape, device)
            show("fit", records=n // less, shape=shape, seconds=fit, asked=asked, card_mib=memory)
            show("draws", n=draws, shape=shape, seconds=sampling, asked=1 if len(shape) == 2 else None)


if __name__ == "__main__":
    main()
