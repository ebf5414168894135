"""What eight bits cost: a saved model beside the same made compact, drawn by torch and by numpy alone.

    python benchmarks/compact.py --data mnist.npz --protocol images.py --epsilon 1
    python benchmarks/compact.py --train adult_train.csv --test adult_test.csv --label income
        --schema benchmarks/schemas/adult.json --protocol tabular.py --epsilon 1 [--unlabelled]

With ``--unlabelled`` the label is a column like any other, so that it is a field that is saved.
One fit; then, for each of ``--seeds`` samples, the scores of the common protocol: of the whole model drawn by torch,
and of the compact one drawn by :mod:`sinkgen.lite`. Sizes in bytes; seconds are of fresh interpreters, from their start
to the first sample, the least of ``--starts``; memory is the most that they held, in MiB.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from images import score as score_images
from tables import score as score_table

from sinkgen import DPSinkhornGenerator, Schema, lite

ROOT = Path(__file__).resolve().parents[1]
FIRST = """
import time
began, spent = time.perf_counter(), time.process_time()
{}.load({!r}).sample(1)
seconds = time.perf_counter() - began, time.process_time() - spent
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(*seconds, int(status["VmHWM"].split()[0]) / 1024)
"""
WAYS = {
    "torch": "from sinkgen import DPSinkhornGenerator\nDPSinkhornGenerator",
    "numpy": "from sinkgen import lite\nlite",
}


def size(folder):
    """Bytes of a saved model."""
    return sum(path.stat().st_size for path in Path(folder).iterdir())


def first_sample(way, folder, starts):
    """Least seconds, and processor seconds, from the import to the first sample, and MiB; of fresh interpreters."""
    command = [sys.executable, "-c", FIRST.format(WAYS[way], str(folder))]
    runs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout.split() for _ in range(starts)]
    return [round(min(float(run[i]) for run in runs), 3) for i in range(3)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data")
    parser.add_argument("--train")
    parser.add_argument("--test")
    parser.add_argument("--label")
    parser.add_argument("--schema")
    parser.add_argument("--unlabelled", action="store_true")
    parser.add_argument("--protocol", required=True)
    parser.add_argument("--epsilon", type=float, default=1.0)
    parser.add_argument("--only", default="cnn")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--starts", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.data:
        data = np.load(arguments.data)
        X, y = data["X_train"], data["y_train"]
        gen = DPSinkhornGenerator(arguments.epsilon, schema=(0, 255), classes=np.unique(y).tolist(), random_state=0)
        gen.fit(X, y)

        def score(X, y):
            return score_images(arguments.protocol, arguments.data, X, y, arguments.only)
    else:
        train, test = (pd.read_csv(path) for path in (arguments.train, arguments.test))
        schema = Schema.from_json(Path(arguments.schema).read_text())
        y = train[arguments.label]
        if arguments.unlabelled:
            gen = DPSinkhornGenerator(arguments.epsilon, schema=schema, random_state=0).fit(train)
        else:
            declared = {name: column for name, column in schema.items() if name != arguments.label}
            classes = schema[arguments.label].values
            gen = DPSinkhornGenerator(arguments.epsilon, schema=declared, classes=classes, random_state=0)
            gen.fit(train, arguments.label)

        def score(X, y=None):
            frame = pd.DataFrame(X) if y is None else pd.DataFrame(X).assign(**{arguments.label: y})
            found = score_table(arguments.protocol, train, test, frame[train.columns], arguments.label)
            return {name: found[name]["auc"] for name in ("lr", "rf", "gb")} | {"tvd2": found["tvd2_mean"]}

    with tempfile.TemporaryDirectory() as folder:
        folders = {name: f"{folder}/{name}" for name in ("whole", "compact")}
        for name, path in folders.items():
            gen.save(path, compact=name == "compact")
        sizes = {name: size(path) for name, path in folders.items()}
        result = {"bytes": sizes, "share": sizes["compact"] / sizes["whole"]}
        for way in WAYS:
            result[f"first sample, {way}"] = first_sample(way, folders["compact"], arguments.starts)
        models = {"whole": gen, "compact": lite.load(folders["compact"])}
        for seed in range(arguments.seeds):
            for name, model in models.items():
                drawn = model.sample(len(y), random_state=seed)
                result.setdefault(name, []).append(score(*drawn if isinstance(drawn, tuple) else (drawn,)))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
