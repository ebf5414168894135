"""Whole fits of every kind of data, mechanism, network and cost: what must run on any device."""

import numpy as np
import pandas as pd
import torch

from sinkgen import DPSinkhornGenerator
from sinkgen.ot import FeatureCost

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(3, size=300)
ROWS = (0.3 * RANDOM.normal(size=(300, 6)) + LABELS[:, None]).clip(-4, 4)
IMAGES = RANDOM.integers(0, 256, (120, 16, 16), dtype=np.uint8)
TABLE = pd.DataFrame({"a": RANDOM.normal(size=800), "b": RANDOM.choice(["u", "v"], 800)}).assign(
    y=lambda t: np.where(t["a"] + RANDOM.normal(size=800) > 0, "yes", "no")
)


class Own(torch.nn.Linear):
    """A user's network."""

    def __init__(self, latent_dim, output_shape, n_classes):
        super().__init__(latent_dim, int(np.prod(output_shape)))

    def forward(self, latents, labels):
        return super().forward(latents).sigmoid()


BATCH = {"mechanism": "batch", "steps": 2, "sampling_rate": 0.1}
CASES = {
    "rows": ((ROWS, LABELS), {}),
    "rows, sampled": ((ROWS, LABELS), {"sampling_rate": 0.5}),
    "rows, self term": ((ROWS, LABELS), {"debias": 0, "backend": "pot"}),
    "rows, l1": ((ROWS, LABELS), {"cost": "l1+l2"}),
    "rows, mlp": ((ROWS, LABELS), {"generator": "mlp"}),
    "rows, own": ((ROWS, LABELS), {"generator": Own}),
    "rows, batch": ((ROWS, LABELS), BATCH),
    "rows, batch, pot": ((ROWS, LABELS), BATCH | {"backend": "pot"}),
    "rows, feature map": ((ROWS, LABELS), {"cost": FeatureCost(torch.nn.Linear(6, 4))}),
    "images": ((IMAGES, LABELS[:120]), {"schema": (0, 255), "steps": 2}),
    "images, batch": ((IMAGES, LABELS[:120]), BATCH | {"schema": (0, 255)}),
    "table": ((TABLE, None), {"schema": None, "classes": None}),
    "table, labels": ((TABLE, "y"), {"schema": None, "classes": None}),
}


def fit(device, data, settings):
    """A fit on a device, with noise that hardly moves a thing and is the same anywhere."""
    given = {"schema": (-4, 4), "classes": range(3), "random_state": 0, "noise_seed": 0} | settings
    return DPSinkhornGenerator(1e4, **given, device=device).fit(*data)
