import numpy as np
import pytest
import torch

from sinkgen import DPSinkhornGenerator
from sinkgen.generators.space import Space
from sinkgen.images.warps import Warps
from sinkgen.training.points.variation import fit_warps, sharpen_points


def bumps(n, side=16, seed=0):
    """Images (n, side, side) of one smooth bump each, at places that vary by about a pixel."""
    random = np.random.default_rng(seed)
    i = np.arange(side)
    centres = side / 2 + random.normal(0, 1.2, (n, 2))
    squares = [(i[None] - centre[:, None]) ** 2 for centre in centres.T]
    images = np.exp(-(squares[0][:, :, None] + squares[1][:, None]) / 8)
    return (255 * images).round().astype(np.uint8), centres


@pytest.mark.parametrize("shape", [(8, 8), (9, 12), (6, 7, 3)])
def test_no_amount_changes_nothing(shape):
    images = torch.rand(4, int(np.prod(shape)), generator=torch.Generator().manual_seed(0))
    warps = Warps(shape)
    torch.testing.assert_close(warps.deform(images, torch.zeros(4, warps.size)), images)
    assert warps.size == 18


def test_the_first_field_of_an_axis_shifts_by_a_part_of_the_side():
    image = torch.zeros(1, 8, 8)
    image[0, 3, 4] = 1
    warps = Warps((8, 8))
    for field, shifted in ((0, (3, 3)), (warps.size // 2, (2, 4))):
        amounts = torch.zeros(1, warps.size)
        amounts[0, field] = 28 / 8
        moved = warps.deform(image.view(1, -1), amounts).view(8, 8)
        assert float(moved[shifted]) == pytest.approx(1, abs=1e-4)


def test_fields_move_pixels_alike_in_the_root_mean_square():
    warps = Warps((20, 20))
    lengths = (warps._fields * torch.tensor([28 / 2, 28 / 2])).square().sum(-1).mean((1, 2)).sqrt()
    torch.testing.assert_close(lengths, torch.ones(warps.size))


def test_tangents_predict_small_deformations():
    images = torch.from_numpy(bumps(3)[0] / 255).float().view(3, -1)
    warps = Warps((16, 16))
    amounts = 0.05 * torch.randn(3, warps.size, generator=torch.Generator().manual_seed(0))
    predicted = images + torch.einsum("nqd,nq->nd", warps.tangents(images), amounts)
    moved = warps.deform(images, amounts)
    assert (predicted - moved).norm() < 0.45 * (images - moved).norm()  # the rest is bilinear interpolation's


def test_amounts_explain_what_a_deformation_does():
    images = torch.from_numpy(bumps(1)[0] / 255).float().view(1, -1)
    warps = Warps((16, 16))
    space = Space(torch.zeros(256), torch.ones(256), torch.eye(256))
    fitted = fit_warps(warps, images, space, torch.full((256,), 1e-6))
    amounts = torch.zeros(5, warps.size)
    amounts[:, 0] = torch.linspace(-0.5, 0.5, 5)
    offsets = warps.deform(images.expand(5, -1), amounts) - images
    serving = torch.zeros(5, dtype=torch.long)
    _, left = fitted.explain(serving, offsets)
    assert left.norm() < 0.3 * offsets.norm()


def sharpened(images, scale):
    """Two classes of points, the second as much deformed as ``scale``, the first not at all."""
    warps, space = Warps((16, 16)), Space(torch.zeros(256), torch.ones(256), torch.eye(256))
    factors = torch.stack([torch.zeros(warps.size, warps.size), scale * torch.eye(warps.size)])
    classes = torch.tensor([0, 1, 1])
    return sharpen_points(images, classes, factors, warps, space, torch.Generator().manual_seed(0))


def test_sharpened_points_have_the_released_ones_as_the_mean_of_their_deformations():
    images = torch.from_numpy(bumps(3)[0] / 255).float().view(3, -1)
    warps, random = Warps((16, 16)), torch.Generator().manual_seed(1)

    def off(points):
        amounts = 0.5 * torch.randn(400, warps.size, generator=random)
        means = [warps.deform(point.expand(400, -1), amounts).mean(0) for point in points]
        return (torch.stack(means) - images[1:]).norm(dim=1)

    assert (off(sharpened(images, 0.5)[1:]) < 0.5 * off(images[1:])).all()


def test_only_points_that_are_deformed_are_sharpened():
    images = torch.from_numpy(bumps(3)[0] / 255).float().view(3, -1)
    sharp = sharpened(images, 0.5)
    assert torch.allclose(sharp[0], images[0], atol=1e-5)
    assert (sharp[1:].max(1).values > images[1:].max(1).values + 0.02).all()


def test_images_that_differ_by_shifts_are_drawn_shifted_and_not_blurred():
    images, centres = bumps(3000)
    gen = DPSinkhornGenerator(20, random_state=0).fit(images)
    drawn = gen.sample(500, random_state=0) / 255
    i = np.arange(16)
    found = (drawn.sum(2) @ i) / drawn.sum((1, 2))
    assert found.std() == pytest.approx(centres[:, 0].std(), rel=0.3)
    assert drawn.max((1, 2)).mean() > 0.85 * (images.max((1, 2)) / 255).mean()


def test_images_that_do_not_move_are_hardly_deformed():
    images = np.broadcast_to(bumps(1)[0], (2000, 16, 16))
    flicker = np.random.default_rng(0).uniform(0.6, 1, (2000, 1, 1))  # brightness varies, places do not
    gen = DPSinkhornGenerator(20, random_state=0).fit((images * flicker).astype(np.uint8))
    assert float(gen.release_.generator.mixture.warp_factors.norm()) < 0.5
