"""What a card would be asked by a fit and by draws, told without one: by the phantom device of the tests.

    python benchmarks/device.py                                  # made-up grey and colour images
    python benchmarks/device.py --data mnist.npz cifar10_20k.npz --lines 12

For each data set a row of the fit, ``DPSinkhornGenerator(10, device=...).fit(X, y)``, and one of draws by the fitted
model where it lies. The share is of the processor's seconds, on one thread, in operations of torch: those that would
run on the card, over all. What numpy and Python take besides is in neither. Waits are those of the host for the card;
those in passes over the records are told apart, for they grow with the number of chunks. Bytes are what travels, and of
these those of the records. With ``--lines`` the lines of the package are told that ask most, and those that keep the
processor busy.
"""

import argparse
import json
import sys
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


def watched(run):
    """What a device would be asked by ``run()``."""
    with phantom.device() as seen:
        run()
    return seen


def row(seen):
    """What was seen, as a row."""
    totals, forecast = seen.totals(), phantom.seconds(seen)
    here, there = totals["idle"], totals["seconds"]
    return {
        "share": round(there / (there + here), 3), "device_s": round(there, 2), "processor_s": round(here, 2),
        "kernels": totals["kernels"], "waits": totals["waits"], "waits_in_passes": in_passes(seen),
        "sent_mb": round(totals["sent"] / 1e6, 1), "records_mb": round(of_records(seen) / 1e6, 1),
        "brought_mb": round(totals["brought"] / 1e6, 1),
        "forecast_s": {key: round(of, 3) for key, of in forecast.items()},
    }  # fmt: skip


def of_records(seen):
    """Bytes of records that were sent, of labels too."""
    return sum(n for site, n in seen.sent.items() if site.startswith(("sinkgen/data/", "sinkgen/fitting.py")))


def in_passes(seen):
    """Waits in passes over the records: whether a chunk's sum is finite, where its classes lie, and a pass's sum."""
    return sum(n for site, n in seen.waits.items() if site.startswith(("sinkgen/privacy/", "sinkgen/_groups.py")))


def measure(path, most, n_draws, lines):
    """Print the rows of a data set."""
    X, y = read(path, most)
    gen = DPSinkhornGenerator(
        10, schema=(0, 255), classes=np.unique(y), device=phantom.DEVICE, random_state=0, noise_seed=0
    )  # fmt: skip
    runs = {
        "fit": (len(X), lambda: gen.fit(X, y)),
        "draws": (n_draws, lambda: gen.sample(n_draws, random_state=0, device=phantom.DEVICE)),
    }
    for what, (n, run) in runs.items():
        if n:
            seen = watched(run)
            print(json.dumps({"data": Path(path).stem, "what": what, "records": n, **row(seen)}), flush=True)
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
