"""Digests of what fits release, draw and state, to compare two commits bit by bit.

Noise and starts are seeded, and torch runs on one thread. Run `python benchmarks/same_release.py`
on both commits and compare the lines.
"""

import hashlib
import json
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits

from sinkgen import Column, DPSinkhornGenerator


def digits(size):
    """Digits as images (n, size, size) from 0 to 16, and their labels."""
    X, y = load_digits(return_X_y=True)
    return np.kron(X.reshape(-1, 8, 8), np.ones((size // 8, size // 8))), y


def table():
    """A table of every kind of column, with missing cells, and labels."""
    random, n = np.random.default_rng(0), 2000
    age = random.integers(18, 90, n)
    frame = pd.DataFrame({
        "age": age,
        "income": np.where(random.random(n) < 0.1, np.nan, random.lognormal(10, 0.5, n)),
        "sex": random.choice(["F", "M"], n),
        "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 700, n), unit="D"),
        "member": random.random(n) < age / 100,
    })  # fmt: skip
    return frame, np.where(random.random(n) < age / 120, "yes", "no")


def cases():
    """Name, parameters and data of each fit."""
    (small, labels), (large, _), (frame, y) = digits(8), digits(16), table()
    schema = {
        "age": (18, 90),
        "income": Column(bounds=(0, 2e5), nullable=True),
        "sex": ["F", "M"],
        "day": ("2020-01-01", "2022-01-01"),
    }
    rows = small.reshape(-1, 64)
    yield "array, nothing declared", {}, (rows,)
    yield "array, labels learned", {"schema": (0, 16), "epsilon": 3}, (rows, labels)
    yield "images of 8", {"schema": (0, 16), "classes": range(10), "epsilon": 10}, (small, labels)
    yield "images of 16", {"schema": (0, 16), "classes": range(10), "epsilon": 10}, (large, labels)
    yield "images, a network", {"schema": (0, 16), "epsilon": 10, "generator": "mlp"}, (small[:300],)
    yield "sampled steps", {"schema": (0, 16), "sampling_rate": 0.3, "cost": "l1"}, (rows,)
    batch = {"mechanism": "batch", "steps": 20, "schema": (0, 16)}
    yield "batch, array", batch | {"generator": "mlp"}, (rows, labels)
    yield "batch, images", batch, (small, labels)
    yield "table, nothing declared", {"epsilon": 3}, (frame,)
    yield "table, labels", {"schema": schema, "epsilon": 3, "classes": ["no", "yes"]}, (frame, y)


def digest(*values):
    """Twelve characters that change with any bit of arrays, frames, tensors or text."""
    hashed = hashlib.sha256()
    for value in values:
        if isinstance(value, pd.DataFrame):
            value = value.to_csv(float_format="%.17g")
        elif isinstance(value, torch.Tensor):
            value = value.numpy()
        hashed.update(value.tobytes() if isinstance(value, np.ndarray) else str(value).encode())
    return hashed.hexdigest()[:12]


def main():
    """Print a line of JSON for each case."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name, parameters, data in cases():
        gen = DPSinkhornGenerator(**parameters, noise_seed=1, random_state=2).fit(*data)
        drawn = gen.sample(200, random_state=3)
        parts = drawn if isinstance(drawn, tuple) else (drawn,)
        with tempfile.TemporaryDirectory() as folder:
            gen.save(folder)
            tensors = digest((Path(folder) / "model.safetensors").read_bytes().hex())
        print(json.dumps({
            "case": name, "release": tensors, "samples": digest(*parts), "statement": digest(gen.privacy_spent()),
        }))  # fmt: skip


if __name__ == "__main__":
    main()
