"""One fit of a peer, in an environment of its own; :mod:`peers` runs it.

    python benchmarks/peer.py aim coded.csv domain.json out.csv --epsilon 1

The table is of codes, from 0 on, whose number a column the domain says; as many rows are drawn. Prints the processor
seconds of the fit. Needs dpmm, which brings AIM [1]_ and MST [2]_ on the graphical models of private-pgm:

    python -m venv peers && peers/bin/pip install dpmm

.. [1] McKenna, Mullins, Sheldon, Miklau, "AIM: An Adaptive and Iterative Mechanism for Differentially Private Synthetic
   Data", 2022.
.. [2] McKenna, Miklau, Sheldon, "Winning the NIST Contest", 2021.
"""

import argparse
import json
import sys
import time

import pandas as pd

try:
    from dpmm.models.aim import AIMGM
    from dpmm.models.mst import MSTGM
except ImportError:
    sys.exit("there is no dpmm: python -m venv peers && peers/bin/pip install dpmm; then --python peers/bin/python")


def main():
    """Read, fit, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("method", choices=["aim", "mst"])
    parser.add_argument("table")
    parser.add_argument("domain")
    parser.add_argument("out")
    parser.add_argument("--epsilon", type=float, required=True)
    parser.add_argument("--delta", type=float, default=1e-5)
    parser.add_argument("--degree", type=int, default=2, help="columns of a marginal of AIM's workload")
    parser.add_argument("--model-size", type=float, default=80, help="MB of AIM's graphical model")
    parser.add_argument(
        "--iterations", type=int, help="of the graphical model's estimation; the peer's default without"
    )
    arguments = parser.parse_args()
    table = pd.read_csv(arguments.table)
    with open(arguments.domain) as file:
        domain = json.load(file)
    given = {"epsilon": arguments.epsilon, "delta": arguments.delta, "domain": domain, "n_jobs": 1}
    if arguments.iterations is not None:
        given["n_iters"] = arguments.iterations
    if arguments.method == "aim":
        model = AIMGM(degree=arguments.degree, max_model_size=arguments.model_size, **given)
    else:
        model = MSTGM(**given)
    start = time.process_time()
    model.fit(table)
    seconds = time.process_time() - start
    model.generate(n_records=len(table))[table.columns].to_csv(arguments.out, index=False)
    print(json.dumps({"fit": round(seconds, 1)}))


if __name__ == "__main__":
    main()
