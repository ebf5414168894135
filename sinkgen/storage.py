"""Saved models: a folder with one JSON and one safetensors file. Loading executes nothing."""

import json
import os
import secrets
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from sinkgen._version import __version__
from sinkgen.accounting import PrivacySpent
from sinkgen.data.formats import format_from_dict
from sinkgen.data.labels import LabelSet
from sinkgen.data.table import TableFormat
from sinkgen.generators.networks import FACTORIES, make_network
from sinkgen.generators.particles import Mixture, Particles
from sinkgen.generators.product import ProductMixture
from sinkgen.generators.release import Release
from sinkgen.generators.space import Space
from sinkgen.generators.tilt import NO_TILT
from sinkgen.images.tones import NO_CURVES

# Version 1 had no deformations of images, version 2 no texture, version 3 no tones and no cells within bins,
# version 5 no tilts.
FORMAT_VERSION = 6


def save_model(path, release, generator, generator_name, parameters):
    """Write a release, and a generator made of it, into the folder ``path``.

    Parameters
    ----------
    path : str or Path
        Made if it does not exist; each file is written aside and then renamed.
    release : Release
    generator : Particles or Network
        May be the release's own.
    generator_name : str
        "particles", "mlp", "conv", or "custom" for the user's own module, whose weights alone are kept.
    parameters : dict
        JSON values: the estimator's parameters worth keeping.
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {"class_weights": release.class_weights, **_tensors("release", release.generator)}
    if generator is not release.generator:
        tensors |= _tensors("generator", generator)
    content = {
        "format_version": FORMAT_VERSION,
        "sinkgen": __version__,
        "form": release.form.to_dict(),
        "labels": release.labels.to_dict() if release.labels else None,
        "spent": release.spent.to_dict(),
        "generator": generator_name,
        "own_generator": generator is not release.generator,
        "parameters": parameters,
    }
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    _replace(folder / "model.safetensors", lambda aside: save_file(tensors, aside))
    _replace(folder / "model.json", lambda aside: aside.write_text(json.dumps(content, indent=1)))


def _tensors(prefix, generator):
    if isinstance(generator, Particles):
        parts = {**vars(generator.mixture), **generator.space._asdict()}
    elif isinstance(generator, ProductMixture):
        parts = generator.state_dict()
    else:
        parts = generator.module.state_dict()
    return {f"{prefix}.{name}": tensor for name, tensor in parts.items()}


def _replace(target, write):
    aside = target.with_name(f"{target.name}.{secrets.token_hex(4)}")
    try:
        write(aside)
        os.replace(aside, target)
    finally:
        aside.unlink(missing_ok=True)


class Loaded(NamedTuple):
    """What a saved model holds."""

    release: Release
    generator: torch.nn.Module
    generator_name: str
    parameters: dict


def load_model(path, factory=None):
    """Read what :func:`save_model` wrote, onto the CPU.

    Parameters
    ----------
    path : str or Path
    factory : callable, optional
        The user's own generator factory, for a model that was saved with one: code is never read from a file.

    Raises
    ------
    FileNotFoundError
        If there is no model at ``path``.
    ValueError
        If the files are not a model, are of a newer version, or need a factory that was not given.
    """
    folder = Path(path)
    content = _read_json(folder / "model.json")
    try:
        tensors = load_file(folder / "model.safetensors")
        read = TableFormat.from_dict if content["form"]["kind"] == TableFormat.__name__ else format_from_dict
        form, spent = read(content["form"]), PrivacySpent.from_dict(content["spent"])
        labels = LabelSet.from_dict(content["labels"]) if content["labels"] else None
        weights = tensors["class_weights"]
        build = _Builder(content["generator"], factory, form, len(weights))
        released = build(_part(tensors, "release"))
        release = Release(released, weights, form, labels, spent)
        generator = build(_part(tensors, "generator")) if content["own_generator"] else released
    except (SafetensorError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{folder} holds no readable model: {type(error).__name__}") from error
    return Loaded(release, generator, content["generator"], content["parameters"])


def _read_json(path):
    try:
        content = json.loads(path.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not JSON") from error
    version = content.get("format_version") if isinstance(content, dict) else None
    if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
        raise ValueError(f"{path} has format version {version!r}; this sinkgen reads versions up to {FORMAT_VERSION}")
    return content


def _part(tensors, prefix):
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(prefix + ".")}


def _upgrade(tensors):
    """Tensors of an older version, with what has been added since."""
    if "factors" not in tensors:
        return tensors
    added = {
        "waves": NO_TILT,
        "tilts": NO_TILT,
        "radii": torch.zeros(len(tensors["factors"]), 0),
        "warp_factors": torch.zeros(len(tensors["factors"]), 0, 0),
        "texture": torch.zeros(len(tensors["centre"])),
        "tones": NO_CURVES,
    }
    return added | tensors


class _Builder:
    """Makes a generator of its tensors: a mixture if they are one, else a network of the given name."""

    def __init__(self, name, factory, form, n_classes):
        self.name, self.factory, self.form, self.n_classes = name, factory, form, n_classes

    def __call__(self, tensors):
        tensors = _upgrade(tensors)
        if set(tensors) == {*Mixture.__dataclass_fields__, *Space._fields}:
            space = Space(*(tensors[name] for name in Space._fields))
            mixture = Mixture(**{name: tensors[name] for name in Mixture.__dataclass_fields__})
            return Particles.of(mixture, space, self.form)
        if {"weights", "frequencies", "widths", "parts"} <= set(tensors):
            if "cell_states" not in tensors:
                shares = self.form.cell_shares.expand(self.n_classes, -1)
                tensors |= {"cell_states": self.form.cell_states, "cell_shares": shares, "parts": None}
            return ProductMixture(**tensors | {"widths": tensors["widths"].tolist()})
        if self.name not in FACTORIES and self.factory is None:
            raise ValueError("the model was saved with a generator of your own: give load its factory as generator=")
        factory = self.name if self.name in FACTORIES else self.factory
        network = make_network(factory, self.form.network_shape, self.n_classes, torch.Generator().manual_seed(0))
        network.module.load_state_dict(tensors)
        return network
