"""What a step of the batch mechanism takes beside its floor: one pass forth and back, and the solver's products.

    python benchmarks/step.py --data mnist.npz

Processor milliseconds of one thread, the median of rounds in which both alternate; then what the parts of a step take.
"""

import argparse
import time
from statistics import median

import numpy as np
import torch

from sinkgen import Batch
from sinkgen.accounting import GaussianRelease
from sinkgen.data.formats import numeric_format
from sinkgen.generators.networks import FACTORIES
from sinkgen.ot import resolve_cost
from sinkgen.privacy.mechanism import GaussianMechanism
from sinkgen.privacy.sealed import seal
from sinkgen.privacy.streams import Streams, new_key
from sinkgen.records import ArraySource, Draw
from sinkgen.training.batch import BatchLoop
from sinkgen.training.stage import Stage


def milliseconds(call, repeats):
    """Mean processor time of a call."""
    start = time.process_time()
    for _ in range(repeats):
        call()
    return 1000 * (time.process_time() - start) / repeats


def floor(loop, settings, source, batch):
    """One pass forth and back of all points, and the products of both transport problems."""
    total = round(settings.points * (1 + settings.debias))
    random, cost = torch.Generator().manual_seed(0), resolve_cost("sqeuclidean")
    classes = torch.arange(total) % 10
    records = source.gather()[0].values[:batch]

    def call():
        points = loop.network(loop.network.latents(total, random), classes)
        for other in (records, points.detach()[-settings.points :]):
            x = points.detach()[: settings.points]
            kernel = torch.exp(-cost.matrix(x, other) / 100)
            left, right = torch.ones(len(x)), torch.ones(len(other))
            for _ in range(settings.iterations):
                left = torch.mv(kernel, right)
                right = torch.mv(kernel.t(), left)
            cost.weighted_gradient(kernel, x, other)
        points.backward(points.detach())

    return call


def main():
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="npz with X_train and y_train")
    parser.add_argument("--generator", default="mlp", choices=list(FACTORIES))
    parser.add_argument("--points", type=int, default=50)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--directions", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20, help="of a round")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = np.load(args.data)
    X, y = data["X_train"], data["y_train"]
    form = numeric_format(X, schema=None)
    source = ArraySource(form.encode(X), torch.as_tensor(y.astype(np.int64)))
    settings = Batch(
        steps=(args.rounds + 1) * args.steps, sampling_rate=args.batch / len(X), points=args.points, iterations=10,
        directions=args.directions,
    )  # fmt: skip
    rows = [GaussianRelease("gradients", 1.0, settings.sampling_rate, settings.steps)]
    rows += [GaussianRelease("norms", 1.0, steps=2), GaussianRelease("mean", 1.0), GaussianRelease("moments", 1.0)]
    mechanism = GaussianMechanism(rows)
    stage = Stage(
        seal(source), torch.full((10,), len(X) / 10), form, mechanism, settings, resolve_cost("sqeuclidean"), "torch",
        args.generator, torch.device("cpu"), torch.Generator().manual_seed(0), lambda name: iter,
    )  # fmt: skip
    loop = BatchLoop(stage)
    bare = floor(loop, settings, source, args.batch)
    loop.step(0.0)
    bare()
    for _ in range(args.steps - 1):
        loop.step(0.0)
    pairs = [
        (milliseconds(lambda: loop.step(0.0), args.steps), milliseconds(bare, args.steps)) for _ in range(args.rounds)
    ]
    steps, floors = zip(*pairs, strict=True)
    ratio = median(step / low for step, low in pairs)
    print(f"{args.generator}: step {median(steps):.2f} ms, floor {median(floors):.2f} ms, ratio {ratio:.2f}")
    streams = Streams(new_key())
    parts = {
        "sample": lambda: source.gather(Draw(settings.sampling_rate, streams.sampling("gradients", 7))),
        "noise, all pixels": lambda: streams.normal("gradients", 7, (args.points * form.n_encoded,)),
        "latents": lambda: loop.network.latents(60, stage.random),
        "Adam": loop._optimiser.step,
    }
    for name, call in parts.items():
        print(f"  {name}: {milliseconds(call, 30):.3f} ms")


if __name__ == "__main__":
    main()
