import hashlib
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load, load_file, save
from test_estimator import tiny_network

from sinkgen import DPSinkhornGenerator, lite
from sinkgen.generators import distill
from sinkgen.generators.networks import MLP
from sinkgen.storage import _digest


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


class FewLatents(MLP):
    latent_dim = 3


def test_a_class_with_latents_of_its_own_is_given_as_many(tmp_path, blobs):
    gen = DPSinkhornGenerator(mechanism="batch", generator=FewLatents, steps=2, schema=(-4, 4)).fit(*blobs)
    gen.save(tmp_path)
    loaded = DPSinkhornGenerator.load(tmp_path, FewLatents)
    for of in (gen, loaded):
        assert of.generator_.latents(5, torch.Generator()).shape == (5, 3)
    for one, other in zip(gen.sample(5, random_state=0), loaded.sample(5, random_state=0), strict=True):
        assert np.array_equal(one, other)


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
    (path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="missing"):
        DPSinkhornGenerator.load(path)
    with pytest.raises(FileNotFoundError):
        DPSinkhornGenerator.load(path / "nowhere")


def test_saving_replaces_whole_files(saved, monkeypatch):
    gen, path = saved
    before = (path / "model.safetensors").read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", fail)
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


def test_texture_of_format_version_11_is_as_strong_as_it_was(tmp_path):
    images = np.random.default_rng(0).integers(90, 110, (400, 16, 16), dtype=np.uint8)
    gen = DPSinkhornGenerator(50, steps=2, random_state=0).fit(images)
    gen.save(tmp_path)
    content = json.loads((tmp_path / "model.json").read_text())
    tensors = load((tmp_path / "model.safetensors").read_bytes())
    del tensors["release.spectrum"]
    tensors |= {"release.texture": torch.full((256,), 0.1), "release.tones": torch.zeros(0, 2, 513)}
    blob = save(tensors)
    content |= {"format_version": 11, "tensors_sha256": hashlib.sha256(blob).hexdigest()}
    content["sha256"] = _digest({name: value for name, value in content.items() if name != "sha256"})
    (tmp_path / "model.json").write_text(json.dumps(content))
    (tmp_path / "model.safetensors").write_bytes(blob)
    for loaded in (DPSinkhornGenerator.load(tmp_path), lite.load(tmp_path)):
        drawn = loaded.sample(300, random_state=0)
        drawn = drawn[0] if isinstance(drawn, tuple) else drawn
        assert (drawn / 255).std(0).mean() == pytest.approx(0.1, rel=0.25)


# --- Damage: a ValueError at once, or no damage ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(blobs, tmp_path_factory):
    """Two models of one shape, two of tables, one of images, one of a network; and what each draws."""
    folder = tmp_path_factory.mktemp("models")
    X, y = blobs
    images = np.random.default_rng(0).integers(0, 255, (80, 16, 16), dtype=np.uint8)
    people = pd.DataFrame({"age": [31, 64, 50, 22] * 60, "sex": list("FMMF") * 60})
    made = {
        "one": DPSinkhornGenerator(50, schema=(-4, 4)).fit(X, y),
        "other": DPSinkhornGenerator(0.5, schema=(-4, 4)).fit(X, y),
        "table": DPSinkhornGenerator(9, schema={"age": (0, 99), "sex": ["F", "M"]}).fit(people, [0, 1] * 120),
        "field": DPSinkhornGenerator(9, schema={"age": (0, 99), "sex": ["F", "M"]}).fit(people),
        "images": DPSinkhornGenerator(9, steps=2).fit(images),
        "network": DPSinkhornGenerator(9, schema=(-4, 4), mechanism="batch", steps=2, generator="mlp").fit(X),
    }
    for name, gen in made.items():
        gen.save(folder / name)
    return {name: (folder / name, told(gen)) for name, gen in made.items()}


def told(gen):
    drawn = gen.sample(4, random_state=0)
    parts = drawn if isinstance(drawn, tuple) else (drawn,)
    return [np.asarray(part).tolist() for part in parts], str(gen.privacy_spent()), gen.get_params()


def is_harmless(path, expected):
    """Whether a model loads as what it was; any error but ValueError, and any other model, fails the test."""
    try:
        gen = DPSinkhornGenerator.load(path)
    except ValueError:
        return False
    assert told(gen)[:2] == expected[:2]
    return True


def damaged(blob, random):
    """One of several kinds of damage to the bytes of a file."""
    place, length = int(random.integers(len(blob))), int(random.integers(1, 40))
    noise = random.bytes(length)
    flipped = bytes([blob[place] ^ (1 << int(random.integers(8)))])
    return [
        blob[:place] + flipped + blob[place + 1 :],
        blob[:place],
        blob[:place] + blob[place + length :],
        blob[:place] + noise + blob[place:],
        blob[:place] + bytes(length) + blob[place + length :],
        blob[:place] + noise + blob[place + length :],
    ][int(random.integers(6))]


@pytest.mark.parametrize("file", ["model.json", "model.safetensors"])
@pytest.mark.parametrize("name", ["one", "table", "field", "images", "network"])
def test_seven_hundred_damaged_files_are_refused(name, file, models, tmp_path, record_property):
    path, expected = models[name]
    shutil.copytree(path, tmp_path / "m")
    whole, random = (path / file).read_bytes(), np.random.default_rng(0)
    n = 90
    record_property("counts", n)
    harmless = 0
    for _ in range(n):
        blob = damaged(whole, random)
        (tmp_path / "m" / file).write_bytes(blob)
        harmless += is_harmless(tmp_path / "m", expected) and blob != whole
    assert harmless <= (0 if file == "model.safetensors" else 9)  # of JSON, spaces may be others


def test_files_of_two_saves_are_no_model(models, tmp_path):
    shutil.copytree(models["one"][0], tmp_path / "m")
    shutil.copy(models["other"][0] / "model.json", tmp_path / "m")
    with pytest.raises(ValueError, match=r"model\.safetensors is not that"):
        DPSinkhornGenerator.load(tmp_path / "m")


@pytest.mark.parametrize(
    "text", ["", "[]", "3", "null", '"a"', "{}", "[" * 100_000, '{"format_version": true}', "\xff"]
)
def test_what_is_no_description_is_refused(text, models, tmp_path):
    shutil.copytree(models["one"][0], tmp_path / "m")
    (tmp_path / "m" / "model.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match="m"):
        DPSinkhornGenerator.load(tmp_path / "m")


def rewrite(path, change=None, tensors=None):
    """Save other content with digests that fit it, as one would who knows how."""
    content = json.loads((path / "model.json").read_text())
    held = load_file(path / "model.safetensors")
    for name, make in (tensors or {}).items():
        made = make(held.pop(name) if name in held else None)
        if made is not None:
            held[name] = made.contiguous()
    blob = save(held)
    (path / "model.safetensors").write_bytes(blob)
    del content["sha256"]
    if change:
        change(content)
    content["tensors_sha256"] = hashlib.sha256(blob).hexdigest()
    content["sha256"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    (path / "model.json").write_text(json.dumps(content))


def put(*keys, value):
    def change(content):
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


def entry(value):
    def make(tensor):
        tensor = tensor.clone()
        tensor.view(-1)[0] = value
        return tensor

    return make


POINTS = ("points", "mass", "factors", "radii")
TENSORS = {
    **{f"{name} of nan": ("one", {f"release.{name}": entry(torch.nan)}) for name in (*POINTS, "centre", "basis")},
    **{f"{name} infinite": ("one", {f"release.{name}": entry(torch.inf)}) for name in (*POINTS, "weights")},
    **{f"{name} negative": ("one", {f"release.{name}": entry(-1.0)}) for name in ("mass", "radii", "weights")},
    **{f"{name} cut": ("one", {f"release.{name}": lambda t: t[:-1]}) for name in (*POINTS, "centre", "classes")},
    **{f"{name} missing": ("one", {f"release.{name}": lambda t: None}) for name in (*POINTS, "basis", "classes")},
    **{f"{name} flat": ("one", {f"release.{name}": lambda t: t.flatten()[None]}) for name in POINTS},
    "no weight": ("one", {"release.weights": entry(0.0)}),
    "class weights negative": ("one", {"class_weights": entry(-0.5)}),
    "class weights of nan": ("one", {"class_weights": entry(torch.nan)}),
    "class weights of another sum": ("one", {"class_weights": lambda t: 2 * t}),
    "class weights of more classes": ("one", {"class_weights": lambda t: torch.cat([t, t]) / 2}),
    "class weights missing": ("one", {"class_weights": lambda t: None}),
    "an unknown tensor": ("one", {"release.more": lambda t: torch.zeros(3)}),
    "classes out of order": ("one", {"release.classes": lambda t: t.flip(0)}),
    "classes beyond": ("one", {"release.classes": lambda t: t + 1}),
    "classes below": ("one", {"release.classes": lambda t: t - 1}),
    "classes of floats": ("one", {"release.classes": lambda t: t.float()}),
    "one class": ("one", {"release.classes": lambda t: 0 * t}),
    "points of integers": ("one", {"release.points": lambda t: t.long()}),
    "texture of what is no image": ("one", {"release.texture": lambda t: t + 1}),
    "texture negative": ("images", {"release.texture": lambda t: t - 1}),
    "texture of nan": ("images", {"release.texture": entry(torch.nan)}),
    "warps cut": ("images", {"release.warp_factors": lambda t: t[:, :-1]}),
    "warps of another number": ("images", {"release.warp_factors": lambda t: t[:, :-1, :-1]}),
    "frequencies negative": ("table", {"release.frequencies": entry(-0.1)}),
    "frequencies of nan": ("table", {"release.frequencies": entry(torch.nan)}),
    "frequencies of another sum": ("table", {"release.frequencies": lambda t: 2 * t}),
    "widths of others": ("table", {"release.widths": lambda t: t.flip(0)}),
    "weights of nan": ("table", {"release.weights": entry(torch.nan)}),
    "shares negative": ("table", {"release.cell_shares": entry(-1.0)}),
    "shares missing": ("table", {"release.cell_shares": lambda t: None}),
    "parts beyond": ("table", {"release.parts": entry(7.0)}),
    "cells of others": ("table", {"release.cell_states": lambda t: 0 * t}),
    "a field's frequencies negative": ("field", {"release.frequencies": entry(-0.1)}),
    "a field's frequencies of another sum": ("field", {"release.frequencies": lambda t: 2 * t}),
    "heights of nan": ("field", {"release.heights": entry(torch.nan)}),
    "heights cut": ("field", {"release.heights": lambda t: t[:-1]}),
    "potentials of nan": ("field", {"release.potentials": entry(torch.nan)}),
    "potentials missing": ("field", {"release.potentials": lambda t: None}),
    "targets cut": ("field", {"release.targets": lambda t: t[:-1]}),
    "groups with gaps": ("field", {"release.groups": lambda t: 2 * t}),
    "groups cut": ("field", {"release.groups": lambda t: t[:-1]}),
    "cliques of others": ("field", {"release.cliques": lambda t: t + 7}),
    "cliques of one column": ("field", {"release.cliques": lambda t: 0 * t}),
    "a population of other states": ("field", {"release.population": lambda t: t + 100}),
    "a population of nobody": ("field", {"release.population": lambda t: t[:, :0]}),
    "a population of fewer columns": ("field", {"release.population": lambda t: t[:-1]}),
    "a field's parts beyond": ("field", {"release.parts": entry(7.0)}),
}
CONTENTS = {
    "a seed of the noise": ("one", put("parameters", "noise_seed", value=3)),
    "an unknown parameter": ("one", put("parameters", "more", value=3)),
    "a negative epsilon": ("one", put("parameters", "epsilon", value=-1)),
    "an epsilon of text": ("one", put("parameters", "epsilon", value="one")),
    "an unknown mechanism": ("one", put("parameters", "mechanism", value="magic")),
    "no parameters": ("one", put("parameters", value=None)),
    "an unknown field": ("one", put("more", value=1)),
    "a statement that says less": ("one", put("spent", "epsilon", value=0.01)),
    "a statement without releases": ("one", put("spent", "releases", value=[])),
    "another generator": ("one", put("generator", value=7)),
    "an unknown kind": ("one", put("form", "kind", value="Magic")),
    "no kind": ("one", put("form", value={})),
    "bounds of text": ("one", put("form", "bounds", value="wide")),
    "bounds of others": ("one", put("form", "bounds", value=[[0, 1]])),
    "bounds of nan": ("one", put("form", "bounds", value=[[float("nan"), 1]] * 3)),
    "bounds the wrong way round": ("one", put("form", "bounds", value=[[1, 0]] * 3)),
    "an unknown dtype": ("one", put("form", "dtype", value="int65")),
    "other columns": ("one", put("form", "n_columns", value=4)),
    "columns of text": ("one", put("form", "n_columns", value="3")),
    "labels of others": ("one", put("labels", "classes", value=[0])),
    "labels of no dtype": ("one", put("labels", "dtype", value="label")),
    "labels that are none": ("one", put("labels", value=3)),
    "images of another shape": ("images", put("form", "image_shape", value=[16, 17])),
    "images of no shape": ("images", put("form", "image_shape", value=[])),
    "fewer columns": ("table", lambda content: content["form"]["columns"].pop()),
    "a column of no type": ("table", put("form", "columns", 0, "type", value="Column")),
    "edges that fall": ("table", lambda content: content["form"]["columns"][0]["edges"].reverse()),
    "edges of text": ("table", put("form", "columns", 0, "edges", value="wide")),
    "another category": ("table", lambda content: content["form"]["columns"][1]["values"].append("X")),
    "a network of another kind": ("network", put("generator", value="conv")),
}


def test_ten_and_more_kinds_of_damage_are_listed():
    assert 8 * 90 + len(TENSORS) + len(CONTENTS) >= 700


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_that_fit_no_model_are_refused(name, models, tmp_path):
    model, tensors = TENSORS[name]
    shutil.copytree(models[model][0], tmp_path / "m")
    rewrite(tmp_path / "m", tensors=tensors)
    with pytest.raises(ValueError, match="no readable model"):
        DPSinkhornGenerator.load(tmp_path / "m")


@pytest.mark.parametrize("name", CONTENTS)
def test_a_description_that_fits_no_model_is_refused(name, models, tmp_path):
    model, change = CONTENTS[name]
    shutil.copytree(models[model][0], tmp_path / "m")
    rewrite(tmp_path / "m", change)
    with pytest.raises(ValueError, match=r"\w"):
        DPSinkhornGenerator.load(tmp_path / "m")


def test_what_is_rewritten_whole_is_read(models, tmp_path):
    path, expected = models["one"]
    shutil.copytree(path, tmp_path / "m")
    rewrite(tmp_path / "m")
    assert is_harmless(tmp_path / "m", expected)


def test_models_that_kept_which_bounds_were_declared_are_read(tmp_path):
    X = np.random.default_rng(0).normal(size=(200, 2))
    gen = DPSinkhornGenerator(epsilon=5, schema=(-4, 4), random_state=0).fit(X)
    gen.save(tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    content = json.loads(path.read_text())
    content["form"]["declared"] = [0, 1]
    content["sha256"] = _digest({name: value for name, value in content.items() if name != "sha256"})
    path.write_text(json.dumps(content))
    again = DPSinkhornGenerator.load(tmp_path / "model")
    np.testing.assert_array_equal(again.sample(5, random_state=0), gen.sample(5, random_state=0))
