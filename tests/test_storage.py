import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from test_estimator import tiny_network

from sinkgen import DPSinkhornGenerator
from sinkgen.generators import distill


@pytest.fixture
def saved(blobs, tmp_path):
    gen = DPSinkhornGenerator(5, schema=(-4, 4), random_state=0).fit(*blobs)
    gen.save(tmp_path / "model")
    return gen, tmp_path / "model"


def test_a_loaded_model_draws_the_same_and_states_the_same(saved):
    gen, path = saved
    loaded = DPSinkhornGenerator.load(path)
    for one, other in zip(gen.sample(30, random_state=1), loaded.sample(30, random_state=1), strict=True):
        assert np.array_equal(one, other)
        assert one.dtype == other.dtype
    assert loaded.privacy_spent() == gen.privacy_spent()
    assert np.array_equal(loaded.classes_, gen.classes_)
    assert sorted(file.name for file in path.iterdir()) == ["model.json", "model.safetensors"]


@pytest.mark.parametrize("mechanism", ["semidual", "batch"])
@pytest.mark.parametrize("generator", ["mlp", "conv", tiny_network])
def test_networks_are_saved(mechanism, generator, tmp_path, monkeypatch):
    monkeypatch.setattr(distill, "STEPS", 2)
    X = np.random.default_rng(0).integers(0, 255, (60, 6, 6), dtype=np.uint8)
    gen = DPSinkhornGenerator(mechanism=mechanism, generator=generator, steps=3, random_state=0).fit(X)
    gen.save(tmp_path)
    if callable(generator):
        with pytest.raises(ValueError, match="generator of your own"):
            DPSinkhornGenerator.load(tmp_path)
    loaded = DPSinkhornGenerator.load(tmp_path, generator if callable(generator) else None)
    assert np.array_equal(gen.sample(5, random_state=0), loaded.sample(5, random_state=0))
    again = DPSinkhornGenerator.from_release(loaded.release_, generator="mlp")
    assert again.sample(2).shape == (2, 6, 6)


def test_the_file_holds_no_record_and_no_seed(saved, blobs):
    _, path = saved
    text = (path / "model.json").read_text()
    assert "seed" not in text.replace("reproducible_noise", "")
    content = json.loads(text)
    assert content["form"]["bounds"] == [[-4.0, 4.0]] * 3


def test_nothing_is_executed_by_loading(tmp_path):
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ("loading has executed code",)

    for name in ("model.json", "model.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="JSON"):
        DPSinkhornGenerator.load(tmp_path)


def test_damaged_or_newer_models_are_refused(saved):
    _, path = saved
    whole = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="no readable model"):
        DPSinkhornGenerator.load(path)
    (path / "model.safetensors").write_bytes(whole)
    content = json.loads((path / "model.json").read_text())
    (path / "model.json").write_text(json.dumps(content | {"format_version": 99}))
    with pytest.raises(ValueError, match="version 99"):
        DPSinkhornGenerator.load(path)
    del content["form"]
    (path / "model.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="no readable model"):
        DPSinkhornGenerator.load(path)
    with pytest.raises(FileNotFoundError):
        DPSinkhornGenerator.load(path / "nowhere")


def test_saving_replaces_whole_files(saved, monkeypatch):
    gen, path = saved
    before = (path / "model.safetensors").read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("sinkgen.storage.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        gen.save(path)
    assert (path / "model.safetensors").read_bytes() == before
    assert len(list(path.iterdir())) == 2
    assert torch.is_tensor(gen.release_.class_weights)


OLD = Path(__file__).parent / "models"  # written by sinkgen 0.1.0, never made anew: what users saved must load


def test_a_model_of_format_version_1_loads():
    loaded = DPSinkhornGenerator.load(OLD / "model-v1")
    X, y = loaded.sample(y=["yes"] * 50 + ["no"] * 50)
    assert X.shape == (100, 2)
    assert (np.abs(X) <= 4).all()
    assert y.tolist() == ["yes"] * 50 + ["no"] * 50
    assert X[:50].mean() > 1 > -1 > X[50:].mean()
    assert loaded.classes_.tolist() == ["no", "yes"]
    assert loaded.n_features_in_ == 2
    assert 4.9 < loaded.privacy_spent().epsilon <= 5
    assert len(loaded.privacy_spent().releases) == 6


def test_images_of_format_version_1_load(tmp_path):
    loaded = DPSinkhornGenerator.load(OLD / "images-v1")
    X = loaded.sample(200)
    assert X.dtype == np.uint8
    assert X.shape == (200, 4, 4)
    assert X[:, 2:].mean() > 2 * X[:, :2].mean()
    loaded.save(tmp_path)
    assert np.array_equal(
        DPSinkhornGenerator.load(tmp_path).sample(5, random_state=0), loaded.sample(5, random_state=0)
    )
