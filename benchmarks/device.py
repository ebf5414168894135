"""What a card would be asked by a fit and by draws, told without one: by the phantom device of the tests.

    python benchmarks/device.py                                  # made-up grey and colour images
    python benchmarks/device.py --data mnist.npz cifar10_20k.npz --lines 12

For each data set a row of the fit, ``DPSinkhornGenerator(10, device=...).fit(X, y)``, and one of draws by the fitted
model where it lies. The share is the processor's seconds of what would run on the card over all of the same on the
processor: what a card of infinite speed would leave is the rest. Waits are those of the host for the card; of a step of
the transport and of other passes they are told for each chunk of records. Bytes are what travels, and of these those of
the records. With ``--lines`` the lines of the package are told that ask most, and those that keep the processor busy.
"""

import argparse
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from sinkgen import DPSinkhornGenerator

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import phantom
from gpu import images


def read(path, most):
    """Images and labels: of a file, or made up."""
    if path in ("grey", "colour"):
        return images(most or 10_000, (28, 28) if path == "grey" else (32, 32, 3))
    data = np.load(path)
    return data["X_train"][:most], data["y_train"][:most]


def fitted(X, y, device):
    """A fit, and its seconds of the processor."""
    start = time.process_time()
    gen = DPSinkhornGenerator(
        10, schema=(0, 255), classes=np.unique(y), device=device, random_state=0, noise_seed=0
    ).fit(X, y)  # fmt: skip
    return gen, time.process_time() - start


def row(what, seen, alone):
    """What was seen, as a row; ``alone`` are the seconds of the same without a device."""
    totals = seen.totals()
    forecast = phantom.seconds(seen)
    return {
        "what": what, "processor_s": round(alone, 2), "share": round(totals["seconds"] / alone, 3),
        "kernels": totals["kernels"], "waits": totals["waits"], "sent_mb": round(totals["sent"] / 1e6, 1),
        "brought_mb": round(totals["brought"] / 1e6, 1),
        "forecast_s": {key: round(of, 3) for key, of in forecast.items()},
    }  # fmt: skip


def measure(path, most, n_draws, lines):
    """Print the rows of a data set."""
    X, y = read(path, most)
    there = "sample" if n_draws else None
    with phantom.device() as seen:
        gen, _ = fitted(X, y, phantom.DEVICE)
    here, alone = fitted(X, y, "cpu")
    name = Path(path).stem
    print(json.dumps({"data": name, "records": len(X), **row("fit", seen, alone)}), flush=True)
    if lines:
        print(seen.report(lines))
    if there is None:
        return
    start = time.process_time()
    here.sample(n_draws, random_state=0)
    alone = time.process_time() - start
    with phantom.device() as seen:
        gen.sample(n_draws, random_state=0, device=phantom.DEVICE)
    print(json.dumps({"data": name, "draws": n_draws, **row("draws", seen, alone)}), flush=True)
    if lines:
        print(seen.report(lines))


def main():
    """Print a line for each row."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", default=["grey", "colour"])
    parser.add_argument("--records", type=int, help="the first of them; all by default")
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--lines", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for path in arguments.data:
        measure(path, arguments.records, arguments.draws, arguments.lines)


if __name__ == "__main__":
    main()
