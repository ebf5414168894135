"""Scattering coefficients: public features of images, each of its own image alone."""

import numpy as np
import pandas as pd
import pytest
import torch

from sinkgen import DPSinkhornGenerator
from sinkgen.ot import FeatureCost, Scattering, resolve_cost


def wave(turn, shape=(16, 16), frequency=3 * torch.pi / 4, phase=0.0):
    """An image (1, h * w) of waves in a direction."""
    rows, columns = torch.meshgrid(*(torch.arange(side).double() for side in shape), indexing="ij")
    along = rows * np.cos(turn) + columns * np.sin(turn)
    return (0.5 + 0.4 * torch.sin(frequency * along + phase)).reshape(1, -1).float()


@pytest.mark.parametrize("angle", range(4))
def test_a_wave_is_found_in_its_direction(angle):
    features = Scattering((16, 16))(wave(torch.pi * angle / 4)).view(25, 4, 4)[1:5, 1:3, 1:3].mean((1, 2))
    assert features.argmax() == angle
    assert features[angle] > 2 * features.sort().values[-2]


def test_a_shift_hardly_changes_features():
    map_, image, moved = Scattering((16, 16)), wave(0.4), wave(0.4, phase=2.0)
    apart = (map_(image) - map_(moved)).norm() / map_(image).norm()
    assert apart < 0.2 < 0.5 < (image - moved).norm() / (image - 0.5).norm()


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (5, 7, 2), (28, 28), (9, 8, 3)])
def test_each_image_has_features_of_its_own(shape):
    images = torch.rand(300, int(np.prod(shape)), generator=torch.Generator().manual_seed(0))
    map_ = Scattering(shape)
    features = map_(images)
    torch.testing.assert_close(features[[5]], map_(images[[5]]), rtol=1e-5, atol=1e-6)
    assert features.isfinite().all()
    assert map_(images[:0]).shape == (0, features.shape[1])


def test_gradients_are_those_of_small_changes():
    map_, random = Scattering((6, 5)), torch.Generator().manual_seed(0)
    image, way = (torch.rand(1, 30, generator=random) for _ in range(2))
    slope = torch.autograd.functional.jvp(map_, image, way)[1]
    torch.testing.assert_close(
        (map_(image + 1e-2 * way) - map_(image - 1e-2 * way)) / 2e-2, slope, rtol=0.02, atol=2e-3
    )


@pytest.mark.parametrize("arguments", [((4,),), ((4, 0),), ((4, 4, 1, 1),), ((4, 4), 0), ((4, 4), 2, 0)])
def test_what_is_no_image_is_refused(arguments):
    with pytest.raises(ValueError, match=r"image_shape|scales|angles"):
        Scattering(*arguments)


def test_the_name_stands_for_the_map_of_the_images():
    cost = resolve_cost("scattering", (8, 8))
    assert isinstance(cost, FeatureCost)
    assert cost.embed(torch.zeros(2, 64)).shape == (2, 100)
    with pytest.raises(ValueError, match="cost='scattering' compares images: give image_shape"):
        resolve_cost("scattering")


@pytest.mark.parametrize(("data", "told"), [
    (np.zeros((50, 3)), "compares images: give image_shape"),
    (pd.DataFrame({"a": np.arange(50.0)}), "cost.* no meaning for tables"),
])  # fmt: skip
def test_other_data_than_images_are_refused_before_the_charge(data, told):
    gen = DPSinkhornGenerator(1, cost="scattering")
    with pytest.raises(ValueError, match=told):
        gen.fit(data)
    assert not hasattr(gen, "release_")


@pytest.mark.parametrize("mechanism", ["semidual", "batch"])
def test_images_are_fitted_saved_and_drawn(mechanism, tmp_path):
    images = np.random.default_rng(0).random((60, 8, 8)).astype(np.float32)
    gen = DPSinkhornGenerator(5, cost="scattering", mechanism=mechanism, steps=2, schema=(0, 1), random_state=0)
    gen.fit(images).save(tmp_path / "model")
    drawn = DPSinkhornGenerator.load(tmp_path / "model").sample(3, random_state=0)
    assert drawn.shape == (3, 8, 8)
    np.testing.assert_array_equal(drawn, gen.sample(3, random_state=0))
