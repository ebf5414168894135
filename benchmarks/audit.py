"""What an audit of the defaults sees of the epsilon that is claimed, and whether it sees too little noise.

    python benchmarks/audit.py --epsilon 10 --seconds 300

Four kinds of data: arrays and tables, with labels and without. Each is audited twice: as it is, and with a tenth of the
noise, which has to be caught. Printed: one JSON row each. Of fits there are as many as the seconds allow, which the
first few tell.
"""

import argparse
import json
import time
import warnings
from unittest import mock

import numpy as np
import pandas as pd

from sinkgen import DPSinkhornGenerator, audit
from sinkgen.privacy.mechanism import GaussianMechanism

PEOPLE = pd.DataFrame({"age": [30, 40], "sex": ["F", "M"], "region": ["n", "s"], "hours": [38.5, 40.0]})
SCHEMA = {"age": (0, 100), "sex": ["F", "M"], "region": ["n", "e", "s", "w"], "hours": (0, 80)}
NUMBERS, LABELS = np.zeros((2, 4)), [0, 1]
CASES = {
    "arrays": ({"schema": (-4, 4)}, (NUMBERS,)),
    "arrays, labels": ({"schema": (-4, 4), "classes": LABELS}, (NUMBERS, LABELS)),
    "tables": ({"schema": SCHEMA}, (PEOPLE,)),
    "tables, labels": ({"schema": SCHEMA, "classes": LABELS}, (PEOPLE, LABELS)),
}
FIRST, CAUGHT = 8, 40  # fits with the record, and as many without: to tell how long they take, and of the mutant


def a_tenth():
    """A mutant of the mechanism."""
    noise = GaussianMechanism._noise
    return mock.patch.object(GaussianMechanism, "_noise", lambda self, *at: 0.1 * noise(self, *at))


def row(name, gen, data, fits, noise):
    """What one audit sees."""
    start, own = time.perf_counter(), time.process_time()
    found = audit(gen, *data, fits=fits)
    return {
        "data": name, "noise": noise, "claimed": found.claimed, "at least": round(found.at_least, 2),
        "rates alone": round(max(found.at_least_counted, 0), 2), "fits": fits, "told with": found.hits,
        "told without": found.alarms, "holds": found.holds, "processor s": round(time.process_time() - own, 1),
        "s": round(time.perf_counter() - start, 1),
    }  # fmt: skip


def main():
    """Print a row a kind of data and noise."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--epsilon", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=300.0, help="of a processor, for each audit")
    parser.add_argument("--fits", type=int, default=500, help="at most: with the record, and as many without")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in args.only:
        parameters, data = CASES[name]
        gen = DPSinkhornGenerator(args.epsilon, **parameters)
        start = time.process_time()
        audit(gen, *data, fits=FIRST)
        fits = int(args.seconds * FIRST / max(time.process_time() - start, 1e-9))
        print(json.dumps(row(name, gen, data, min(args.fits, max(FIRST, fits)), 1.0)), flush=True)
        with a_tenth():
            print(json.dumps(row(name, gen, data, CAUGHT, 0.1)), flush=True)


if __name__ == "__main__":
    main()
