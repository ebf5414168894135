"""Draws are chosen by what the records' mean features say of them, and by no more than the noise lets them say."""

import numpy as np
import pytest
import torch
from stages import make_stage

from sinkgen import DPSinkhornGenerator
from sinkgen.accounting import GaussianRelease
from sinkgen.data.formats import numeric_format
from sinkgen.generators.particles import Particles, PointMixture
from sinkgen.generators.space import Space
from sinkgen.generators.tilt import Features, fit_tilt, keep_one, make_features
from sinkgen.privacy.mechanism import GaussianMechanism
from sinkgen.sources.open import ArraySource
from sinkgen.training.points.corrections import with_tilts

SIDE = 16


@pytest.fixture
def random():
    return torch.Generator().manual_seed(0)


def blobs(n, centre, random):
    return torch.tensor([centre, 0.0]) + torch.randn(n, 2, generator=random)


def test_features_have_norm_one_whatever_the_draws(random):
    features = make_features(torch.randn(64, 3, generator=random), random)
    rows = features(1e3 * torch.randn(200, 3, generator=random))
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(200))
    assert features.size == rows.shape[1]


def test_draws_of_equal_features_have_finite_waves(random):
    assert torch.isfinite(make_features(torch.zeros(64, 2), random).waves).all()


def test_a_tilt_brings_the_mean_of_draws_to_the_records(random):
    draws, records = blobs(4000, 0.0, random), blobs(4000, 0.5, random)
    features = make_features(draws, random)
    tilt = fit_tilt(features(records).mean(0), features(draws), 1e-5, 4000.0)
    odds = torch.softmax(features(draws) @ tilt.weights, 0)
    assert float((odds @ draws)[0]) == pytest.approx(0.5, abs=0.1)
    assert 0.5 < tilt.effective_share < 0.95
    fresh = blobs(4000, 0.0, random)  # and so it does of draws that it has not seen
    assert float((torch.softmax(features(fresh) @ tilt.weights, 0) @ fresh)[0]) == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("noise", [0.03, 1.0])
def test_a_mean_that_may_be_noise_changes_little(noise, random):
    draws, records = blobs(2000, 0.0, random), blobs(2000, 0.0, random)
    features = make_features(draws, random)
    mean = features(records).mean(0) + noise * torch.randn(features.size, generator=random)
    assert fit_tilt(mean, features(draws), noise, 2000.0).effective_share > 0.9


def test_one_draw_of_each_pool_is_kept_by_its_odds(random):
    odds = torch.tensor([[0.0, 1.0, 2.0]]).expand(20_000, -1)
    found = torch.bincount(keep_one(odds, random), minlength=3) / 20_000
    torch.testing.assert_close(found, torch.softmax(odds[0], 0), atol=0.02, rtol=0)


def mixture_of_blobs():
    """Two classes about the middle of images of one colour, of unit variance in the space's coordinates."""
    basis = torch.full((SIDE**2, 1), 1 / SIDE)
    space = Space(torch.full((SIDE**2,), 0.5), torch.full((SIDE**2,), 1.0), basis)
    mixture = PointMixture(
        points=torch.zeros(2, 1), classes=torch.arange(2), mass=torch.ones(2), factors=torch.ones(2, 1, 1),
        radii=torch.zeros(2, 0), warp_factors=torch.zeros(2, 0, 0), texture=torch.zeros(SIDE**2),
        class_weights=torch.tensor([0.5, 0.5]),
    )  # fmt: skip
    return mixture, space


def tilted(noise, random):
    mixture, space = mixture_of_blobs()
    labels = torch.arange(2).repeat_interleave(3000)
    coordinates = torch.where(labels == 0, -0.6, 0.6)[:, None] + torch.randn(6000, 1, generator=random)
    source = ArraySource(space.lift(coordinates), labels)
    mechanism = GaussianMechanism([GaussianRelease("features", noise)], noise_seed=0)
    form = numeric_format(np.zeros((1, SIDE, SIDE)), schema=(0, 1))
    counts = torch.full((2,), 3000.0).double()
    stage = make_stage(source, counts, form, mechanism, None, random=random)
    return with_tilts(mixture, stage, space), space, form


def test_each_class_is_tilted_towards_its_own_records(random):
    mixture, space, form = tilted(1.0, random)
    drawn = space.project(Particles.of(mixture, space, form).draw(torch.arange(2).repeat_interleave(3000), random))
    assert -0.7 < float(drawn[:3000].mean()) < -0.3  # a pool of four goes part of such a long way
    assert 0.3 < float(drawn[3000:].mean()) < 0.7


def test_no_draws_are_none(random):
    mixture, space, form = tilted(1.0, random)
    drawn = Particles.of(mixture, space, form).draw(torch.zeros(0, dtype=torch.long), random)
    assert drawn.shape == (0, SIDE**2)


def test_where_noise_hides_the_means_draws_are_not_chosen(random):
    mixture, _, _ = tilted(3000.0, random)
    assert len(mixture.tilts) == 0


def test_a_fit_releases_features_of_images_alone():
    X = np.random.default_rng(0).integers(0, 256, (300, SIDE, SIDE), dtype=np.uint8)
    gen = DPSinkhornGenerator(10, schema=(0, 255), random_state=0)
    assert "features" in [row.what for row in gen.fit(X).privacy_spent().releases]
    rows = DPSinkhornGenerator(10, schema=(0, 255), random_state=0).fit(X[:, 0]).privacy_spent().releases
    assert "features" not in [row.what for row in rows]


def test_features_of_a_point_far_away_are_still_bounded():
    assert float(Features(torch.ones(2, 3))(torch.full((1, 2), 1e6)).norm()) == pytest.approx(1, abs=1e-5)


def test_odds_are_the_products_of_features_and_weights(random):
    features = Features(torch.randn(3, 40, generator=random))
    points, weights = torch.randn(6, 4, 3, generator=random), torch.randn(2, 80, generator=random)
    classes = torch.tensor([0, 1, 1, 0, 1, 0])
    wanted = torch.einsum("mkq,mq->mk", features(points.flatten(0, 1)).view(6, 4, -1), weights[classes])
    torch.testing.assert_close(features.odds(points, weights, classes), wanted, atol=1e-5, rtol=1e-4)
