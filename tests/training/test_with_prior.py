"""A fit with a prior: better directions, the same releases, and nothing of the records but by these."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from stages import make_stage

from sinkgen import DPSinkhornGenerator, PrivacyLedger
from sinkgen.data.formats import numeric_format
from sinkgen.data.prior import Prior
from sinkgen.records import ArraySource
from sinkgen.settings import Semidual
from sinkgen.training.points.semidual import find_space

D = 40
PLANE = torch.linalg.qr(torch.randn(D, 3, generator=torch.Generator().manual_seed(5))).Q


def records(n, seed):
    """Of D numbers in [0, 1] that vary in three directions, none of which is an axis."""
    amounts = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed)) * torch.tensor([1.0, 0.6, 0.4])
    return (0.5 + 0.15 * amounts @ PLANE.T).clamp(0, 1)


def missed(gen):
    """Share of the variance of other records that lies outside of the directions."""
    fresh, space = gen.release_.form.encode(records(2000, 9).numpy()), gen.release_.generator.space
    basis = space.basis[:, :3]  # the first, which hold most
    off = fresh - fresh.mean(0)
    return float((off - off @ basis @ basis.T).square().sum() / off.square().sum())


def fit(prior, seed=0, **given):
    X = records(400, 1).numpy().astype("float64")
    usual = {"epsilon": 1.0, "schema": (0, 1), "random_state": seed, "prior": prior}
    return DPSinkhornGenerator(**usual | given).fit(X)


def test_directions_come_from_the_prior_where_noise_hides_them():
    public = records(500, 2).numpy().astype("float64")
    without, with_prior = np.mean([[missed(fit(prior, seed)) for prior in (None, public)] for seed in range(3)], 0)
    assert with_prior < 0.1 < 0.5 * without


def test_a_prior_that_holds_nothing_of_the_records_is_left_alone():
    others = torch.randn(D, 3, generator=torch.Generator().manual_seed(4))
    elsewhere = torch.linalg.qr(torch.cat([PLANE, others], 1)).Q[:, 3:]
    public = 0.5 + 0.1 * torch.randn(500, 3, generator=torch.Generator().manual_seed(3)) @ elsewhere.T
    plain, gen = (fit(prior, epsilon=50.0) for prior in (None, public.numpy().astype("float64")))
    assert missed(gen) < missed(plain) + 0.05


def test_a_prior_costs_nothing_and_the_statement_names_it(tmp_path):
    public = records(500, 2).numpy().astype("float64")
    plain, gen = fit(None), fit(public)
    assert gen.privacy_spent().releases == plain.privacy_spent().releases
    assert gen.privacy_spent().epsilon == plain.privacy_spent().epsilon
    assert "500 public records as prior" in str(gen.privacy_spent())
    gen.save(tmp_path / "model")
    again = DPSinkhornGenerator.load(tmp_path / "model")
    assert "500 public records as prior" in str(again.privacy_spent())
    np.testing.assert_array_equal(again.sample(20, random_state=0), gen.sample(20, random_state=0))


def test_an_estimator_with_a_prior_can_be_cloned():
    public = records(500, 2).numpy()
    np.testing.assert_array_equal(clone(DPSinkhornGenerator(prior=public)).prior, public)


@pytest.mark.parametrize(
    ("X", "given"),
    [
        (np.zeros((20, 3)), {"prior": np.zeros((5, 4))}),
        (np.zeros((20, 3)), {"prior": np.zeros((5, 3), "float32")}),
        (np.zeros((20, 3)), {"prior": DPSinkhornGenerator()}),
        (np.zeros((20, 3)), {"prior": "cifar"}),
        (np.zeros((20, 3)), {"prior": np.zeros((5, 3)), "mechanism": "batch"}),
        (pd.DataFrame({"a": [1.0, 2.0] * 10, "b": ["x", "y"] * 10}), {"prior": np.zeros((5, 2))}),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_spent(X, given):
    ledger = PrivacyLedger(epsilon=1.0, delta=1e-5)
    with pytest.raises((ValueError, TypeError)):
        DPSinkhornGenerator(1.0, ledger=ledger, **given).fit(X)
    assert len(ledger) == 0


class Deaf:
    """A mechanism whose answers do not depend on the records."""

    def release(self, what, query, source):
        value = torch.linspace(1, 2, query.size, dtype=torch.float64)
        return query.read(value)

    def noise_multiplier(self, what):
        return 1.0


def test_directions_depend_on_the_records_by_the_mechanism_alone():
    form = numeric_format(np.zeros((1, D)), schema=(0, 1))
    prior = Prior(records(100, 2).numpy().astype("float64"), "public records")
    found = [
        find_space(make_stage(ArraySource(values), torch.tensor([50.0]), form, Deaf(), Semidual(), prior=prior))
        for values in (records(50, 1), torch.zeros(50, D))
    ]
    for first, second in zip(found[0].space, found[1].space, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0)
