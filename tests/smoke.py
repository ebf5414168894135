"""What must work wherever the package is installed: `python tests/smoke.py`, without pytest, in any folder.

It fits an array, a table and pictures, saves, loads, and asks the command line for its help where that is installed.
"""

import importlib.util
import subprocess
import sys
import tempfile
import time

import numpy as np


def main():
    """Raise where something does not work."""
    start = time.perf_counter()
    import sinkgen

    seconds = time.perf_counter() - start
    loaded = "torch" in sys.modules
    random = np.random.default_rng(0)
    y = random.integers(2, size=300)
    X = np.clip(random.normal(y[:, None], 0.5, (300, 3)), -3, 4)
    cases = {
        "array": (X, {"schema": (-3, 4)}),
        "pictures": (random.integers(0, 256, (300, 16, 16), dtype=np.uint8), {}),
    }
    if importlib.util.find_spec("pandas"):
        import pandas as pd

        cases["table"] = (pd.DataFrame({"age": 20 + 10 * np.round(X[:, 0] + 3), "kind": np.where(y, "a", "b")}), {})
    for name, (data, settings) in cases.items():
        gen = sinkgen.DPSinkhornGenerator(10, classes=[0, 1], random_state=0, **settings).fit(data, y)
        with tempfile.TemporaryDirectory() as folder:
            gen.save(f"{folder}/model")
            again = sinkgen.DPSinkhornGenerator.load(f"{folder}/model")
        sample, labels = again.sample(20, random_state=0)
        assert np.asarray(sample).shape[1:] == np.asarray(data).shape[1:], name
        assert set(labels) <= {0, 1}, name
        print(f"{name}: {gen.privacy_spent().epsilon:.3f} spent")
    if importlib.util.find_spec("typer"):
        subprocess.run([sys.executable, "-m", "sinkgen", "--help"], check=True, capture_output=True)
    print(
        f"sinkgen {sinkgen.__version__} on Python {sys.version.split()[0]}: import {seconds:.2f} s",
        "with torch" * loaded,
    )
    assert not loaded, "import sinkgen has brought torch"


if __name__ == "__main__":
    main()
