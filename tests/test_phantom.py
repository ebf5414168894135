"""The code of devices, without one: what lies on the device stays there, results are those of the CPU.

The phantom uses private hooks of torch: it was tried on the versions named below; elsewhere these tests are skipped.
"""

from collections import Counter

import numpy as np
import pandas as pd
import phantom
import pytest
import torch
from devices import CASES, Own, fit

from sinkgen import DPSinkhornGenerator
from sinkgen._groups import sort_by_class
from sinkgen.data.formats import ImageFormat
from sinkgen.generators import distill, tilt
from sinkgen.generators.tilt import Features
from sinkgen.images.tones import Tones
from sinkgen.ot import FeatureCost, sinkhorn_divergence
from sinkgen.privacy.queries.moments import (
    CountQuery,
    FeatureQuery,
    MeanQuery,
    MomentQuery,
    NormQuery,
    RadiusQuery,
    ScaleQuery,
    ToneQuery,
)
from sinkgen.privacy.queries.transport import TransportQuery
from sinkgen.records import ArraySource
from sinkgen.training.points import corrections

TRIED = ("2.13",)
if not torch.__version__.startswith(TRIED):
    pytest.skip(f"the phantom device was tried on torch {TRIED}", allow_module_level=True)
HERE = phantom.DEVICE


@pytest.fixture(autouse=True)
def quick(quick_tables, monkeypatch):
    """Hardly any steps of what is public, and few draws."""
    monkeypatch.setattr(distill, "STEPS", 2)
    monkeypatch.setattr(tilt, "STEPS", 3)
    monkeypatch.setattr(corrections, "LEAST_OF_CLASS", 64)
    monkeypatch.setattr(corrections, "MOST_OF_CLASS", 64)


@pytest.mark.filterwarnings("ignore::sinkgen.exceptions.ReproducibleNoiseWarning")
@pytest.mark.parametrize("name", CASES)
def test_a_fit_on_the_device_is_that_on_the_cpu(name, tmp_path):
    """Bit by bit, but for Adam's steps in one kernel, which round otherwise; nothing fitted is left on the device."""
    with phantom.device() as seen:
        there = fit(HERE, *CASES[name])
    here = fit("cpu", *CASES[name])
    there.save(tmp_path)
    factory = {"generator": Own} if there.generator is Own else {}
    for again in (there, DPSinkhornGenerator.load(tmp_path, **factory)):
        samples = [pd.DataFrame(np.asarray(of[0] if isinstance(of, tuple) else of).reshape(30, -1))
                   for of in (again.sample(30, random_state=1), here.sample(30, random_state=1))]  # fmt: skip
        pd.testing.assert_frame_equal(*samples, **({"rtol": 1e-5} if "batch" in name else {"check_exact": True}))
    assert seen.totals()["kernels"] > 0


@pytest.mark.parametrize("meet", [
    lambda x: x + torch.zeros(3, 4),
    lambda x: torch.zeros(4, 3) @ x,
    lambda x: torch.arange(12)[x.long()],
    lambda x: torch.zeros(()).add_(x.sum()),
    lambda x: torch.cat([x, torch.zeros(1, 4)]),
    lambda x: torch.randn(3, generator=torch.Generator(), device=HERE),
])  # fmt: skip
def test_devices_do_not_meet(meet):
    with phantom.device():
        x = torch.ones(3, 4, device=HERE)
        assert torch.equal((2 * x[torch.tensor([0, 2])] + torch.tensor(1.0)).cpu(), torch.full((2, 4), 3.0))
        with pytest.raises(phantom.MixedDevices):
            meet(x)
        with pytest.raises(TypeError, match="numpy"):
            np.asarray(x)


@pytest.mark.parametrize("backend", ["torch", "pot"])
def test_gradients_of_the_divergence(backend):
    def gradient(device):
        x, y = (torch.rand(n, 3, generator=torch.Generator().manual_seed(n)) for n in (12, 20))
        x = x.to(device).requires_grad_()
        sinkhorn_divergence(x, y.to(device), 0.1, debias=0.2, backend=backend).backward()
        return x.grad.cpu()

    with phantom.device():
        assert torch.equal(gradient(HERE), gradient("cpu"))


def transport_step(values, n_chunks):
    """What a step over so many chunks asks of the device."""
    random, size = torch.Generator().manual_seed(0), len(values) // n_chunks
    points = torch.rand(50, 20, generator=random)
    labels = torch.randint(10, (len(values),), generator=random)
    query = TransportQuery(
        points, torch.arange(50) // 5, torch.zeros(50), 0.1, FeatureCost(torch.nn.Identity()), clip=0.5, mass_clip=0.1
    )
    with phantom.device() as seen:
        there = ArraySource(values.to(HERE), labels.to(HERE), chunk_size=size).map(sort_by_class)
        before = Counter(seen.totals())
        found = query.evaluate(there.chunks())
    expected = query.evaluate(
        ArraySource(values, labels, chunk_size=len(values) // n_chunks).map(sort_by_class).chunks()
    )
    assert torch.equal(found, expected)
    return Counter(seen.totals()) - before


def test_a_step_waits_twice_a_chunk():
    """For where classes lie, and for whether the sum is finite; what is public is sent once, as the sum comes back."""
    values = torch.rand(3000, 20, generator=torch.Generator().manual_seed(1))
    one, three, twelve = (transport_step(values, n_chunks) for n_chunks in (1, 3, 12))
    assert three["waits"] - one["waits"] == 2 * 2
    assert twelve["waits"] - three["waits"] == 9 * 2
    assert one["sent"] == three["sent"] == twelve["sent"]
    assert twelve["brought"] - one["brought"] < 50 * 21 * 8  # the sum of all chunks comes back, not those of each


def grey(n):
    """Images of three classes that differ."""
    random, labels = np.random.default_rng(0), np.arange(n) % 3
    return (80 * labels[:, None, None] + random.integers(0, 90, (n, 16, 16))).astype(np.uint8), labels


@pytest.fixture(scope="module")
def pictures():
    """A fit of images on the processor, with all that images have."""
    return DPSinkhornGenerator(1e3, classes=range(3), steps=2, random_state=0, device="cpu").fit(*grey(300))


def test_images_are_drawn_where_they_are_wanted(pictures, tmp_path):
    wanted = pictures.sample(300, random_state=1)
    pictures.save(tmp_path)
    with phantom.device() as seen:
        found = pictures.sample(300, random_state=1, device=HERE)
        loaded = DPSinkhornGenerator.load(tmp_path, device=HERE)
        assert all(phantom.is_here(part) for part in loaded.generator_.state_dict().values())
        again = loaded.sample(300, random_state=1)
        loaded.save(tmp_path / "again")
    for drawn in (found, again, DPSinkhornGenerator.load(tmp_path / "again").sample(300, random_state=1)):
        assert all(np.array_equal(*pair) for pair in zip(drawn, wanted, strict=True))
    assert not any(phantom.is_here(part) for part in pictures.generator_.state_dict().values())
    # What stays on the processor are random numbers: an image's pixels are made on the device, and come as bytes.
    assert seen.totals()["brought"] < 2 * 300 * 256 + 2 * sum(
        part.numel() * part.element_size() for part in pictures.generator_.state_dict().values()
    )


def test_waits_of_draws_do_not_grow_with_their_number(pictures):
    def waits(n):
        with phantom.device() as seen:
            pictures.sample(n, random_state=1, device=HERE)
        return seen.totals()["waits"]

    assert waits(3000) == waits(30)


def test_classes_share_the_random_numbers_that_tilts_are_found_by():
    """A fit sends less than the texture alone would take of what is finished, if each of ten classes had its own."""
    X, y = grey(120)
    with phantom.device() as seen:
        gen = DPSinkhornGenerator(1e3, classes=range(10), steps=2, random_state=0, device=HERE).fit(X, y)
    assert len(gen.generator_.mixture.tilts) == 10
    assert seen.totals()["sent"] < 10 * corrections.FINISHED_OF_CLASS * 256 * 4
    # The search for each class's tilt looks at every step; all the rest of a fit together waits about 150 times.
    assert sum(n for site, n in seen.waits.items() if not site.startswith("sinkgen/generators/tilt.py")) < 180


def test_bytes_travel_as_bytes():
    X, form = grey(300)[0], ImageFormat("uint8", ((0, 255),), image_shape=(16, 16))
    with phantom.device() as seen:
        assert torch.equal(form.encode(X, HERE).cpu(), form.encode(X))
    assert seen.totals()["sent"] == X.size + 256 * 4
    assert seen.totals()["waits"] == 1  # of the look above


QUERIES = {
    "count": CountQuery(3),
    "norm": NormQuery(torch.zeros(20), 9.0),
    "mean": MeanQuery(torch.zeros(20), 1.0),
    "moments": MomentQuery(20, 1.0),
    "moments of classes": MomentQuery(20, 1.0, 3),
    "radius": RadiusQuery(9.0, 3, lambda classes: classes.records.values),
    "scale": ScaleQuery(1.0, 8.0, 3, 3, lambda classes: (classes.records.labels.clamp_min(0), classes.records.values)),
    "features": FeatureQuery(Features(torch.ones(20, 5)), 3, lambda records: records.values),
    "tones": ToneQuery(Tones((4, 5))),
}


@pytest.mark.parametrize("name", QUERIES)
def test_a_pass_waits_at_most_twice_a_chunk(name):
    random = torch.Generator().manual_seed(0)
    values, labels = torch.rand(600, 20, generator=random), torch.randint(-1, 3, (600,), generator=random)

    def waits(n_chunks):
        with phantom.device() as seen:
            source = ArraySource(values.to(HERE), labels.to(HERE), chunk_size=600 // n_chunks)
            before = seen.totals()["waits"]
            found = QUERIES[name].evaluate(source.chunks())
        expected = QUERIES[name].evaluate(ArraySource(values, labels, chunk_size=600 // n_chunks).chunks())
        assert torch.equal(found, expected)
        return seen.totals()["waits"] - before

    assert waits(6) - waits(2) <= 2 * 4


@pytest.mark.parametrize("name", ["nowhere", "cuda:99", 7.5])
def test_a_device_that_is_not_there_is_told(pictures, tmp_path, name):
    pictures.save(tmp_path)
    for use in (lambda: pictures.sample(3, device=name), lambda: DPSinkhornGenerator.load(tmp_path, device=name)):
        with pytest.raises(ValueError, match="device"):
            use()


def test_tables_are_drawn_on_the_processor(quick_tables):
    gen = DPSinkhornGenerator(1e3, schema={"a": (0, 8)}, random_state=0).fit(pd.DataFrame({"a": np.arange(99) % 9}))
    assert len(gen.sample(3, device="auto")) == len(gen.sample(3, device="cpu")) == 3
    with phantom.device(), pytest.raises(ValueError, match="tables are drawn on the processor"):
        gen.sample(3, device=HERE)
