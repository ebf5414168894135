"""Texture that released moments leave outside of the directions, and public variation of images."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import median_filter
from sklearn.datasets import load_sample_images

from sinkgen import DPSinkhornGenerator, PoorFitWarning
from sinkgen.denoise.spectra import Directions
from sinkgen.generators.particles import Particles
from sinkgen.generators.space import Space
from sinkgen.images.augment import random_affine
from sinkgen.images.curves import Table
from sinkgen.images.pixels import cosine_basis
from sinkgen.images.texture import EDGES, N_SLOPES, ROOT, WHITE, Texture, TextureModel, find_texture, wave_bands

D = 64


@pytest.fixture
def random():
    return torch.Generator().manual_seed(0)


def symmetric_noise(scale, random):
    noise = torch.randn(D, D, generator=random)
    return scale * (noise + noise.T) / 2


def nothing(D):
    return Directions(torch.zeros(D, 1), torch.ones(1), torch.zeros(1))


def images_of(spectrum, strength, shape, random):
    """Noise of a known texture, (20000, D)."""
    texture = Texture(shape)
    white = torch.randn(20_000, int(np.prod(shape)), generator=random)
    return texture.coloured(white, spectrum) * strength


@pytest.mark.parametrize("shape", [(8, 8), (6, 8, 3)])
def test_the_spectrum_is_that_of_what_the_directions_leave_out(shape, random):
    D, channels = int(np.prod(shape)), (*shape, 1)[2]
    basis = cosine_basis(*shape).float()
    n_bands = Texture(shape).n_bands
    spectrum = torch.randn(n_bands, channels, channels, generator=random) / torch.arange(1, n_bands + 1)[:, None, None]
    drawn = images_of(spectrum, 1.0, shape, random) @ basis
    directions = torch.linalg.qr(torch.randn(D, 3, generator=random)).Q
    far = 2 * torch.randn(len(drawn), 3, generator=random)
    rows = drawn - drawn @ directions @ directions.T + far @ directions.T
    held = Directions(directions, torch.full((3,), 4.0), far.square().mean(0))
    found = find_texture(rows.T @ rows / len(rows), held, shape, 0.0)
    products = [factors @ factors.mT for factors in (found.spectrum, spectrum)]
    # Of each band, the directions have taken a part.
    torch.testing.assert_close(products[0][1:], products[1][1:], rtol=0.35, atol=0.02)
    torch.testing.assert_close(found.strength.square().mean(), torch.tensor(1.0))


def test_of_large_images_finer_waves_than_are_held_follow_the_others(random):
    shape, bands = (40, 40), wave_bands(40, 40)
    spectrum = 0.8 ** torch.arange(int(bands.max()) + 1.0)[:, None, None]
    rows = images_of(spectrum, 1.0, shape, random)[:6000] @ cosine_basis(*shape).float()
    found = find_texture(rows.T @ rows / len(rows), nothing(1024), shape, 0.0)
    assert len(found.strength) == 1600
    torch.testing.assert_close(found.spectrum[1:].square(), spectrum[1:].square(), rtol=0.3, atol=0)


def test_texture_is_strong_where_it_was(random):
    where = torch.zeros(8, 8)
    where[2:6, 2:6] = 2.0
    spectrum = torch.ones(Texture((8, 8)).n_bands, 1, 1)
    rows = images_of(spectrum, where.flatten(), (8, 8), random) @ cosine_basis(8, 8).float()
    found = find_texture(rows.T @ rows / len(rows) + symmetric_noise(0.01, random), nothing(D), (8, 8), 0.01)
    torch.testing.assert_close(found.strength, where.flatten(), atol=0.2, rtol=0)


def test_pure_noise_gives_no_texture(random):
    found = [find_texture(symmetric_noise(1.0, random), nothing(D), (8, 8), 1.0) for _ in range(50)]
    # Three deviations in 64 waves: about one wave in six draws passes.
    assert sum(bool(model.strength.any()) for model in found) < 20


def test_channels_that_move_together_do_so_in_texture(random):
    grey = torch.randn(500, 64, 1, generator=random).expand(-1, -1, 3).flatten(1)
    rows = grey @ cosine_basis(8, 8, 3).float()
    found = find_texture(rows.T @ rows / len(rows), nothing(192), (8, 8, 3), 0.0)
    drawn = Texture((8, 8, 3)).coloured(torch.randn(50, 192, generator=random), found.spectrum).view(-1, 3)
    torch.testing.assert_close(drawn[:, 0], drawn[:, 1], atol=1e-3, rtol=0)


@pytest.mark.parametrize("shape", [(8, 8), (8, 4, 2)])
def test_texture_is_where_brightness_varies_and_outside_of_the_directions(shape, random):
    directions = torch.linalg.qr(torch.randn(D, 5, generator=random)).Q
    space = Space(torch.full((D,), 0.5), torch.full((D,), 3.0), directions)
    texture, white = Texture(shape), TextureModel(torch.full((D,), 0.1), WHITE, ROOT)
    images = torch.zeros(500, D)
    images[:, : D // 2] = 0.5
    drawn = texture.draw(images, white, space, torch.randn(500, D, generator=random)) - images
    gain = texture.gain(images, ROOT)
    assert float(gain[0, D // 2 - 1]) > 2 * float(gain[0, 0]) or shape != (8, 8)
    before = drawn / gain
    assert float(before[:, : D // 4].std()) == pytest.approx(0.1, rel=0.1)
    assert float((before @ directions).abs().max()) < 1e-5


def test_the_gains_are_those_that_the_records_have_where_they_are_as_steep_as_a_draw(random):
    """Ramps whose texture grows with their slope, and draws that are twice as steep as the ramps."""
    side, space = 16, Space(torch.full((256,), 0.5), torch.ones(256), torch.eye(256)[:, :0])
    ramps = torch.arange(side).expand(side, side).reshape(1, -1) - 7.5
    slopes = 0.001 * 30 ** torch.rand(4000, 1, generator=random)
    texture, strength = Texture((side, side)), torch.ones(256)

    def binned(steepness, far):
        out = []
        for part in (Table.of(ROOT)(steepness), far):
            bins = torch.bucketize(steepness, EDGES[1:-1])
            out.append(torch.zeros(N_SLOPES).index_add_(0, bins.flatten(), part.flatten()).double() / part.numel())
        return out

    steepness = texture.steepness(0.5 + slopes * ramps)
    expected, true = binned(steepness, 3 * slopes.expand_as(steepness))
    own, _ = binned(texture.steepness(0.5 + 2 * slopes * ramps), steepness)
    curve = texture.fit_gains(expected, true, own, 1e-6)
    inner = texture.steepness(0.5 + 2 * slopes * ramps).view(-1, side, side)[:, 8, 8]
    found = Table.of(curve)(inner)
    torch.testing.assert_close(found, 3 * slopes[:, 0], rtol=0.35, atol=0.002)
    torch.testing.assert_close(texture.fit_gains(expected, true, own, 10.0), ROOT)
    assert [part.shape for part in texture.by_steepness(torch.rand(3, 256), space, strength)] == [(3, N_SLOPES)] * 2


def test_affine_maps_are_small_and_differ_between_images(random):
    images = torch.zeros(200, 20, 20)
    images[:, 8:12, 8:12] = 1.0
    moved = random_affine(images, random)
    assert moved.shape == images.shape
    assert float(moved.min()) >= 0
    assert float(moved.max()) <= 1
    assert float(moved.std(0).max()) > 0.1
    torch.testing.assert_close(moved.mean((1, 2)).mean(), images.mean(), rtol=0.1, atol=0)
    weights = moved.sum((1, 2))[:, None]
    rows = (moved.sum(2) * torch.arange(20.0)).sum(1, keepdim=True) / weights
    assert 0.1 < float(rows.std()) < 1.5
    torch.testing.assert_close(random_affine(torch.full((3, 9, 9, 3), 0.5), random), torch.full((3, 9, 9, 3), 0.5))


# --- as a user sees it -----------------------------------------------------------------------------------------------


def blobs(n=3000, side=16, seed=0):
    """Bright discs of texture on black, of two sizes."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, n)
    grid = np.hypot(*(np.mgrid[:side, :side] - (side - 1) / 2))
    brightness = random.uniform(60, 220, (n, 1, 1)) + random.normal(0, 14, (n, side, side))
    X = (grid < np.where(y, 6, 4)[:, None, None]) * brightness.clip(0, 255)
    return X.astype(np.uint8), y


def fit(**given):
    X, y = blobs()
    return DPSinkhornGenerator(100, classes=[0, 1], random_state=0, **given).fit(X, y)


@pytest.fixture(scope="module")
def textured():
    return fit()


def half_flat(n=3000, side=16, seed=0):
    """Plain images, and coarse shapes with grain: no pixel of the plain ones is off by more than 1."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, n)
    coarse = random.uniform(0, 1, (n, 4, 4, 1)).repeat(side // 4, 1).repeat(side // 4, 2)
    rough = 40 + 140 * coarse + random.normal(0, 30, (n, side, side, 3))
    flat = random.uniform(40, 215, (n, 1, 1, 3)) + random.uniform(-1, 1, (n, side, side, 3))
    X = np.where((random.random(n) < 0.5)[:, None, None, None], flat, rough)
    return X.clip(0, 255).astype(np.uint8), y


def test_flat_images_stay_flat_where_others_have_grain():
    X, y = half_flat()
    drawn, _ = DPSinkhornGenerator(50, classes=[0, 1], random_state=0).fit(X, y).sample(1000, random_state=0)
    off = [
        np.abs(images - median_filter(images, (1, 3, 3, 1))).mean((1, 2, 3))
        for images in (X.astype(int), drawn.astype(int))
    ]
    flat, grainy = np.quantile(off[1], [0.2, 0.8])
    assert flat < 6.5  # 10 with one texture for all
    assert grainy > 0.6 * np.quantile(off[0], 0.8)


def test_a_fit_says_that_details_which_noise_hides_are_left_out():
    random = np.random.default_rng(0)
    X = random.uniform(40, 215, (2000, 1, 1)) + random.normal(0, 20, (2000, 16, 16))
    X = X.clip(0, 255).astype(np.uint8)
    with pytest.warns(PoorFitWarning, match="fine details of the images do not stand out"):
        gen = DPSinkhornGenerator(0.5, random_state=0).fit(X)
    assert not gen.release_.generator.mixture.texture.any()
    assert "fine details" in str(gen.schema_)
    assert not DPSinkhornGenerator(50, random_state=0).fit(X).schema_.remarks


def test_samples_have_texture_where_records_do(textured):
    fitted = copy.deepcopy(textured)
    assert float(fitted.release_.generator.mixture.texture.max()) > 0
    drawn, _ = fitted.sample(400, random_state=0)
    fitted.generator_.texture = None
    smooth, _ = fitted.sample(400, random_state=0)
    real, rough, smoother = (
        np.abs(np.diff(X[:, 6:10, 6:10].astype(float), axis=2)).mean() for X in (blobs()[0], drawn, smooth)
    )
    assert 1.1 * smoother < rough < 1.2 * real
    assert drawn[:, 0].mean() < 0.3 * drawn[:, 6:10, 6:10].mean()


def test_augment_varies_what_is_drawn_and_nothing_else(textured):
    seen = []

    def darker(images, random):
        assert isinstance(random, torch.Generator)
        seen.append(images.shape)
        return images / 2

    plain = fit(augment=None)
    assert "warps" not in [row.what for row in plain.privacy_spent().releases]
    assert "warps" in [row.what for row in textured.privacy_spent().releases]
    bright, _ = plain.sample(50, random_state=3)
    dark, _ = DPSinkhornGenerator.from_release(plain.release_, augment=darker).sample(50, random_state=3)
    np.testing.assert_allclose(dark.astype(float), bright / 2, atol=1)
    assert seen == [(50, 16, 16)]
    moved, _ = DPSinkhornGenerator.from_release(plain.release_, augment="affine").sample(50, random_state=3)
    assert moved.shape == bright.shape
    assert not np.array_equal(moved, bright)
    parts = DPSinkhornGenerator.from_release(plain.release_, augment=lambda images, random: 0 * images)
    assert float(parts.sample_dask(30, random_state=0)[0].max().compute()) == 0


def test_a_loaded_model_without_texture_draws_the_same(textured, tmp_path):
    release = textured.release_
    drawn = release.generator
    mixture = replace(drawn.mixture, texture=torch.zeros_like(drawn.mixture.texture))
    plain = replace(release, generator=Particles.of(mixture, drawn.space, release.form))
    fitted = DPSinkhornGenerator.from_release(plain)
    fitted.save(tmp_path)
    again = DPSinkhornGenerator.load(tmp_path)
    # More than are drawn at once: what the first part draws moves the stream of the second.
    np.testing.assert_array_equal(again.sample(5000, random_state=0)[0], fitted.sample(5000, random_state=0)[0])


def test_augment_is_saved_by_name_and_never_as_code(textured, tmp_path):
    plain = DPSinkhornGenerator.from_release(textured.release_, augment="affine")
    plain.save(tmp_path / "named")
    again = DPSinkhornGenerator.load(tmp_path / "named")
    np.testing.assert_array_equal(again.sample(5, random_state=0)[0], plain.sample(5, random_state=0)[0])
    own = DPSinkhornGenerator.from_release(plain.release_, augment=lambda images, random: 1 - images)
    own.save(tmp_path / "own")
    with pytest.raises(ValueError, match="augment"):
        DPSinkhornGenerator.load(tmp_path / "own")
    again = DPSinkhornGenerator.load(tmp_path / "own", augment=own.augment)
    np.testing.assert_array_equal(again.sample(5, random_state=0)[0], own.sample(5, random_state=0)[0])


def test_colour_images_keep_their_colours():
    photos = load_sample_images().images
    random = np.random.default_rng(0)
    X, y = [], []
    for label, photo in enumerate(photos):
        rows, columns = (random.integers(0, side - 32, 600) for side in photo.shape[:2])
        X += [photo[r : r + 32, c : c + 32] for r, c in zip(rows, columns, strict=True)]
        y += [label] * 600
    X, y = np.stack(X), np.array(y)
    drawn, labels = DPSinkhornGenerator(10, classes=[0, 1], random_state=0).fit(X, y).sample(400, random_state=0)
    assert drawn.shape == (400, 32, 32, 3)
    assert drawn.dtype == np.uint8
    for label in (0, 1):
        means = [images[lab == label].mean((0, 1, 2)) for images, lab in ((X, y), (drawn, labels))]
        np.testing.assert_allclose(means[1], means[0], atol=25)
    # Neighbouring pixels of a photograph go together, and so do its colours.
    assert np.corrcoef(drawn[:, 5, 5, 0], drawn[:, 5, 6, 0])[0, 1] > 0.5
    assert np.corrcoef(drawn[..., 0].mean((1, 2)), drawn[..., 1].mean((1, 2)))[0, 1] > 0.5


@pytest.mark.parametrize("given", [{"augment": "flip"}, {"augment": 3}])
def test_unknown_augmentations_are_refused(given):
    with pytest.raises((TypeError, ValueError), match="augment"):
        fit(**given)


def test_augment_needs_images():
    with pytest.raises(ValueError, match="image_shape"):
        DPSinkhornGenerator(schema=(0, 1), augment="affine").fit(np.random.default_rng(0).random((50, 4)))


def test_large_images_are_fitted_in_their_coarse_waves():
    random = np.random.default_rng(0)
    coarse = np.kron(random.integers(60, 200, (300, 4, 5)), np.ones((10, 8)))
    X = (coarse + random.normal(0, 6, coarse.shape)).astype(np.uint8)
    gen = DPSinkhornGenerator(100, random_state=0).fit(X)
    drawn = gen.sample(200, random_state=0)
    assert drawn.shape == (200, 40, 40)
    corners = [images[:, :10, :8].reshape(len(images), -1).mean(1) for images in (X.astype(float), drawn)]
    assert corners[1].mean() == pytest.approx(corners[0].mean(), abs=12)
    assert corners[1].std() == pytest.approx(corners[0].std(), rel=0.35)
