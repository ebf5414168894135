"""Columns of which nearly all records are in one state, beside others."""

import numpy as np
import pandas as pd
import torch

from sinkgen import DPSinkhornGenerator
from sinkgen.accounting import GaussianRelease
from sinkgen.generators.coupling import value_scores
from sinkgen.privacy.mechanism import GaussianMechanism
from sinkgen.records import ArraySource
from sinkgen.training.tables.coupling import learn_moments

RARE = 1e-6


def test_they_are_not_coupled_to_others():
    frequencies = [torch.tensor([1 - RARE, RARE]), torch.full((4,), 0.25), torch.full((4,), 0.25), torch.ones(1)]
    random = np.random.default_rng(0)
    codes = torch.from_numpy(np.stack([np.zeros(500, int), *random.integers(4, size=(2, 500))], 1))
    mechanism = GaussianMechanism([GaussianRelease("moments", 5.0, 1.0)], noise_seed=0)
    source = ArraySource(codes, torch.zeros(500).long())
    scores = [value_scores(of, torch.arange(float(len(of)))) for of in frequencies[:3]] + [torch.zeros(1)]
    moments = learn_moments(source, frequencies, scores, 500.0, mechanism)
    assert moments.columns == [1, 2]
    assert moments.weights(4).abs().max() < 2


def test_they_leave_the_others_as_they_are():
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(1000, 12)), columns=list("abcdefghijkl")).assign(m=1.0)
    frame.loc[random.integers(1000, size=3), "m"] = 0.0
    schema = {name: (-4, 4) for name in frame}
    drawn = DPSinkhornGenerator(10, schema=schema, random_state=0).fit(frame).sample(1000, random_state=0)
    assert drawn.std()[:-1].between(0.8, 1.2).all()
    assert drawn.mean()[:-1].abs().max() < 0.25
