"""Tones: images' brightness and details are brought to the records'."""

import numpy as np
import pytest
import torch

from sinkgen import DPSinkhornGenerator
from sinkgen.images.tones import NO_CURVES, Tones, _calm, _Differences, _Light

SHAPE = (16, 16)


@pytest.fixture
def random():
    return torch.Generator().manual_seed(0)


def strokes(n, random):
    """Black and white stripes, and what an average of such images looks like: grey."""
    phase = 6.3 * torch.rand(n, 1, 1, generator=random)
    wave = (torch.arange(16.0)[None, :, None] + phase).sin().expand(n, 16, 16)
    grey = 0.45 + 0.3 * wave + 0.05 * torch.randn(n, 16, 16, generator=random)
    return (wave > 0.6).float().flatten(1), grey.flatten(1)


def fitted(random, noise_scale=0.0):
    sharp, grey = strokes(400, random)
    tones = Tones(SHAPE)
    noise = noise_scale * torch.randn(4, 128, generator=random, dtype=torch.float64)
    curves = tones.fit_curves(tones.histograms(sharp) / len(sharp) + noise, grey.clamp(0, 1), noise_scale)
    return tones, curves, sharp, grey.clamp(0, 1)


def distance(tones, one, other):
    a, b = (tones.histograms(images) / len(images) for images in (one, other))
    return float((a.cumsum(1) - b.cumsum(1)).abs().mean())


@pytest.mark.parametrize(("channels", "n"), [(1, 4), (2, 4), (3, 6), (4, 6)])
def test_an_image_adds_a_distribution_for_each_histogram(channels, n):
    tones, D = Tones((4, 4, channels)), 16 * channels
    histograms = tones.histograms(torch.rand(5, D, generator=torch.Generator().manual_seed(1)))
    torch.testing.assert_close(histograms.sum(1), torch.full((n,), 5.0).double())
    for extreme in (torch.nan, 0.0, 7.0):
        assert float(tones.histograms(torch.full((1, D), extreme)).norm()) <= n**0.5


def test_values_are_counted_between_the_edges_of_their_bins(random):
    values = torch.cat([torch.rand(5000, generator=random), torch.tensor([0.0, 1.0, 0.5, 1 / 512, 1 - 1 / 512])])
    for kind, x in ((_Light, values), (_Differences, 2 * values - 1)):
        low, high = kind.edges[kind.bins(x).long()], kind.edges[kind.bins(x).long() + 1]
        assert bool(((low <= x + 1e-6) & (x <= high + 1e-6)).all())
        assert len(kind.edges) == 129


def test_grey_images_have_no_chroma_and_a_colour_counts_in_its_axis():
    tones = Tones((2, 2, 3))
    grey, red = torch.full((1, 12), 0.4), torch.tensor([[1.0, 0.0, 0.0] * 4])
    assert float(tones.histograms(grey)[4:, 63:65].sum()) == 2
    assert float(tones.histograms(red)[4, -1]) == 1
    assert torch.equal(tones.histograms(grey)[3], tones.histograms(grey.flip(1))[3])


def test_colours_go_to_the_records_own(random):
    tones, light = Tones((16, 16, 3)), torch.rand(300, 256, 1, generator=random)
    warm = (light * torch.tensor([1.0, 0.7, 0.4])).flatten(1)
    pale = (light * torch.tensor([0.8, 0.7, 0.6])).flatten(1)
    curves = tones.fit_curves(tones.histograms(warm) / len(warm), pale, 1e-5)
    toned = tones.apply(pale, curves).view(-1, 3)
    torch.testing.assert_close(toned.mean(0), warm.view(-1, 3).mean(0), atol=0.02, rtol=0)
    assert len(curves) == 15


def test_noise_in_empty_bins_brings_no_specks(random):
    """Details that no record has must not be drawn, however many bins of noise there are for them."""
    smooth = 0.5 + 0.02 * torch.randn(2000, 256, generator=random)
    tones, noise_scale = Tones(SHAPE), 1e-3
    noise = noise_scale * torch.randn(4, 128, generator=random, dtype=torch.float64)
    curves = tones.fit_curves(tones.histograms(smooth) / len(smooth) + noise, smooth, noise_scale)
    toned = tones.apply(smooth, curves)
    assert float(((toned - 0.5).abs() > 0.2).float().mean()) < 2e-4


def test_curves_bring_grey_draws_to_black_and_white(random):
    tones, curves, sharp, grey = fitted(random)
    toned = tones.apply(grey, curves)
    assert curves.shape == (13, *NO_CURVES.shape[1:])
    assert distance(tones, toned, sharp) < 0.2 * distance(tones, grey, sharp)
    extreme = ((toned < 0.02) | (toned > 0.98)).float().mean()
    assert float(extreme) > 0.9
    assert float(((toned > 0.5) == (sharp > 0.5)).float().mean()) > 0.9  # bright stays bright


def test_a_little_noise_hardly_matters_and_much_of_it_changes_nothing(random):
    tones, curves, sharp, grey = fitted(random, 0.002)
    assert distance(tones, tones.apply(grey, curves), sharp) < 0.3 * distance(tones, grey, sharp)
    tones, curves, _, grey = fitted(random, 0.3)
    assert distance(tones, tones.apply(grey, curves), grey) < 0.02


def test_draws_that_differ_by_no_more_than_noise_stay(random):
    _, grey = strokes(400, random)
    grey, tones = grey.clamp(0, 1), Tones(SHAPE)
    noise = 0.004 * torch.randn(4, 128, generator=random, dtype=torch.float64)
    curves = tones.fit_curves(tones.histograms(grey) / len(grey) + noise, grey, 0.004)
    assert float((tones.apply(grey, curves) - grey).abs().mean()) < 0.02


def test_curves_rise(random):
    _, curves, _, _ = fitted(random, 0.002)
    assert float(curves.diff(dim=2).min()) > -1e-5


def test_samples_of_black_and_white_images_are_black_and_white_and_load_as_saved(random, tmp_path):
    sharp, _ = strokes(2000, random)
    X = (255 * sharp.view(-1, *SHAPE).numpy()).astype(np.uint8)
    gen = DPSinkhornGenerator(10, schema=(0, 255), random_state=0).fit(X)
    assert "tones" in [row.what for row in gen.privacy_spent().releases]
    drawn = gen.sample(300, random_state=0)
    assert ((drawn < 10) | (drawn > 245)).mean() > 0.8
    assert abs(drawn.mean() - X.mean()) < 0.1 * X.mean()
    gen.save(tmp_path)
    np.testing.assert_array_equal(DPSinkhornGenerator.load(tmp_path).sample(300, random_state=0), drawn)


def test_the_largest_details_are_not_made_edges():
    """Records that are flat but for few of high contrast: in draws that are all alike no pixel becomes a speck."""
    before = torch.linspace(-0.2, 0.2, 513)
    after = before.clone()
    after[-5:], after[:5] = 0.9, -0.9
    _, calm = _calm(torch.stack([before, after]))
    torch.testing.assert_close(calm[5:-5], before[5:-5])
    assert float(calm.abs().max()) < 0.21
    steep = _calm(torch.stack([before, 3 * before]))
    torch.testing.assert_close(steep[1], 3 * before, atol=1e-5, rtol=0)
