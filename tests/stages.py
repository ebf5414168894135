"""Private stages for tests of one training loop."""

import torch

from sinkgen.ot import resolve_cost
from sinkgen.privacy.sealed import seal
from sinkgen.training.stage import Stage


def make_stage(source, counts, form, mechanism, settings, **given):
    """A stage over the records of ``source``, which are encoded; what is not given is as in a plain fit."""
    usual = {
        "cost": resolve_cost("sqeuclidean"), "backend": "torch", "generator": "auto", "device": torch.device("cpu"),
        "random": torch.Generator().manual_seed(0), "progress": lambda what: iter,
    }  # fmt: skip
    return Stage(seal(source), counts, form, mechanism, settings, **usual | given)
