"""Saved models: a folder with one JSON and one safetensors file. Loading executes nothing."""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load, save

from sinkgen._durable import replaced
from sinkgen._version import __version__
from sinkgen.accounting import PrivacySpent
from sinkgen.accounting.unit import AUTO
from sinkgen.data.formats import format_from_dict
from sinkgen.data.labels import LabelSet
from sinkgen.data.table import TableFormat
from sinkgen.exceptions import BadTypeError, BadValueError
from sinkgen.generators.check import check_counts, check_release
from sinkgen.generators.columnwise import NO_CURVES as NO_COLUMNS
from sinkgen.generators.field import Field
from sinkgen.generators.networks import FACTORIES, make_network
from sinkgen.generators.particles import NO_SCALES, Particles, PointMixture
from sinkgen.generators.people import SIZES, PeopleMixture
from sinkgen.generators.product import ProductMixture
from sinkgen.generators.quality import FittedSchema
from sinkgen.generators.release import Release
from sinkgen.generators.space import Space
from sinkgen.generators.tilt import NO_TILT
from sinkgen.images.texture import ROOT, WHITE
from sinkgen.images.tones import NO_CURVES
from sinkgen.inference.counts import counts_from, flat_counts
from sinkgen.inference.moments import NoisyMoments
from sinkgen.lite import tensors as small
from sinkgen.lite.tensors import is_compact, restored

# Version 1 had no deformations of images, version 2 no texture, version 3 no tones and no cells within bins,
# version 5 no tilts.
# Version 6 had no digests, version 7 did not tell how well columns are known, version 8 had no released counts.
# Version 9 had no compact tensors, version 10 no rules.
# Until version 11 texture was white, and as strong as images are bright, not as they vary; tilts were of whole draws,
# which took four times as long, and are left out.
# Version 11 had no released moments.
# Until version 12 offsets were as long from all points of a class, and texture followed the same curve in all models.
# Version 13 had no curves of columns, and persons' numbers of rows by octaves.
FORMAT_VERSION = 14
# Parameters of the estimator that are kept: those that JSON can hold and that say how the model was made.
PARAMETERS = ("epsilon", "delta", "mechanism", "backend", "augment", "metadata", "accountant")
FIELDS = ("format_version", "sinkgen", "form", "labels", "spent", "generator", "own_generator", "parameters")
CUSTOM = "custom"  # the name of a generator of the user's own
# Fields of later versions; digests are of the other file, and of all other fields of this one.
ADDED = {"tensors_sha256": 7, "sha256": 7, "schema": 8, "counts": 9}


def save_model(path, release, generator, generator_name, parameters, *, compact=False):
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
    compact : bool
        Whether the release's tensors are kept in 8 bits, see :mod:`sinkgen.lite.tensors`, and without its counts.

    Raises
    ------
    ValueError
        If the release is none that can be compact.
    """
    folder = Path(path)
    parts = _tensors("release", release.generator)
    tensors = {"class_weights": release.class_weights, **(_compact(parts) if compact else parts)}
    if not compact:
        tensors |= {f"counts.{name}": tensor for name, tensor in flat_counts(release.counts).items()}
        moments = {} if release.moments is None else release.moments.tensors()
        tensors |= {f"moments.{name}": tensor for name, tensor in moments.items()}
    if generator is not release.generator:
        tensors |= _tensors("generator", generator)
    content = {
        "format_version": FORMAT_VERSION,
        "sinkgen": __version__,
        "form": release.form.to_dict(),
        "labels": release.labels.to_dict() if release.labels else None,
        "spent": release.spent.to_dict(),
        "schema": release.schema.to_dict(),
        "counts": [] if compact else [part.to_dict() for part in release.counts],
        "generator": generator_name,
        "own_generator": generator is not release.generator,
        "parameters": parameters,
    }
    blob = save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()})
    content["tensors_sha256"] = hashlib.sha256(blob).hexdigest()
    text = json.dumps(content | {"sha256": _digest(content)}, indent=None if compact else 1)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Both aside before either is renamed; cut between the two renamings, the digest tells.
        with replaced(folder / "model.json") as description, replaced(folder / "model.safetensors") as aside:
            description.write_text(text)
            aside.write_bytes(blob)
    except OSError as error:
        message = f"{error.strerror or error}: no model was written. The generator still holds it: save it elsewhere"
        raise OSError(error.errno, message, str(folder)) from error


def _digest(content):
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _tensors(prefix, generator):
    if isinstance(generator, Particles):
        parts = generator.mixture.parts() | generator.space._asdict()
    elif isinstance(generator, Field):
        parts = generator.tensors()
    elif isinstance(generator, ProductMixture):
        parts = generator.state_dict()
    else:
        parts = generator.module.state_dict()
    return {f"{prefix}.{name}": tensor.cpu() for name, tensor in parts.items()}


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
    text = (folder / "model.json").read_bytes()
    try:
        content = _parse(text)
        tensors = _read_tensors(folder / "model.safetensors", content)
        read = TableFormat.from_dict if content["form"]["kind"] == TableFormat.__name__ else format_from_dict
        if "declared" in content["form"]:  # older models kept it: of what was fitted nothing is left to be found
            content["form"]["declared"] = []
        form, spent = read(content["form"]), PrivacySpent.from_dict(content["spent"])
        labels = LabelSet.from_dict(content["labels"]) if content["labels"] else None
        schema = FittedSchema.from_dict(content.get("schema", {"columns": [], "classes": []}))
        weights = tensors["class_weights"]
        counts = counts_from(content.get("counts", []), _part(tensors, "counts"))
        moments = _part(tensors, "moments")
        mechanism = content["parameters"].get("mechanism")
        latent_dim = mechanism.get("latent_dim", AUTO) if isinstance(mechanism, dict) else AUTO
        build = _Builder(content["generator"], factory, form, len(weights), content["format_version"], latent_dim)
        if content["format_version"] < FORMAT_VERSION:
            tensors = {part: _upgraded(_part(tensors, part), form, len(weights)) for part in ("release", "generator")}
        else:
            tensors = {part: _part(tensors, part) for part in ("release", "generator")}
        released = build(tensors["release"])
        check_release(released, weights, form, labels)
        check_counts(counts, form, len(weights))
        generator = released
        if content["own_generator"]:
            generator = build(tensors["generator"])
            check_release(generator, weights, form, labels)
    except NotReadable as error:
        raise BadValueError(f"{folder}: {error}") from error.__cause__
    except Exception as error:
        told = f": {error}" if isinstance(error, ValueError) else ""
        raise BadValueError(f"{folder} holds no readable model: {type(error).__name__}{told}") from error
    known = NoisyMoments.from_tensors(moments) if moments else None
    release = Release(released, weights, form, labels, spent, schema, counts, known)
    parameters = dict(content["parameters"])
    if isinstance(form, TableFormat) and parameters.get("mechanism") == "semidual":  # as version 0.1 called it
        parameters["mechanism"] = "marginals"
    return Loaded(release, generator, content["generator"], parameters)


class NotReadable(ValueError):
    """What is wrong with a model's files, in words of its own."""


def _parse(text):
    try:
        content = json.loads(text)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise NotReadable("model.json is not JSON") from error
    version = content.get("format_version") if isinstance(content, dict) else None
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        message = f"it has format version {version!r}; this sinkgen reads versions up to {FORMAT_VERSION}"
        raise NotReadable(message)
    added = [name for name, since in ADDED.items() if version >= since]
    if set(content) != {*FIELDS, *added}:
        raise BadValueError("fields are missing, or unknown")
    if version >= 7 and content.pop("sha256") != _digest(content):
        raise BadValueError("model.json was changed, or damaged")
    unknown = set(content["parameters"]) - {*PARAMETERS}
    if unknown:
        raise BadValueError(f"parameters {sorted(unknown)} are none that a model has")
    if type(content["own_generator"]) is not bool or type(content["generator"]) is not str:
        raise BadTypeError("generator")
    return content


def _read_tensors(path, content):
    if not path.is_file():
        raise NotReadable("model.safetensors is missing")
    blob = path.read_bytes()
    if content["format_version"] >= 7 and content["tensors_sha256"] != hashlib.sha256(blob).hexdigest():
        raise BadValueError("model.safetensors is not that which model.json was written with, or damaged")
    return load(blob)


def _part(tensors, prefix):
    own = {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(prefix + ".")}
    if not is_compact(own):
        return own
    whole = {name: torch.from_numpy(array) for name, array in restored(_arrays(own)).items()}
    return {name: tensor if tensor.is_floating_point() else tensor.long() for name, tensor in whole.items()}


def _compact(tensors):
    parts = _arrays({name.removeprefix("release."): tensor for name, tensor in tensors.items()})
    return {f"release.{name}": torch.from_numpy(array) for name, array in small.compact(parts).items()}


def _arrays(tensors):
    return {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}


def _upgraded(tensors, form, n_classes):
    """Tensors of an older version, with what has been added since."""
    if "factors" in tensors:
        added = {
            "radii": torch.zeros(len(tensors["factors"]), 0),
            "warp_factors": torch.zeros(len(tensors["factors"]), 0, 0),
            "texture": torch.zeros(len(tensors["centre"])),
            "tones": NO_CURVES,
        }
        # Tilts of before there was a spectrum were of whole draws.
        whole = {} if "spectrum" in tensors else {"spectrum": WHITE, "waves": NO_TILT, "tilts": NO_TILT}
        return {"scales": NO_SCALES, "gains": ROOT, "columns": NO_COLUMNS} | added | tensors | whole
    if "size_frequencies" in tensors:  # of octaves, which are two halves now
        octaves = (SIZES.edges[:-1].double() + 0.5).log2().floor().long()
        firsts = torch.searchsorted(SIZES.bins, torch.arange(int(SIZES.bins[-1]) + 1))
        return tensors | {"size_frequencies": tensors["size_frequencies"][:, octaves[firsts]]}
    if "frequencies" in tensors and "cell_states" not in tensors:
        shares = form.cell_shares.expand(n_classes, -1)
        return tensors | {"cell_states": form.cell_states, "cell_shares": shares, "parts": None}
    return tensors


class _Builder:
    """Makes a generator of its tensors: a mixture if they are one, else a network of the given name."""

    def __init__(self, name, factory, form, n_classes, version, latent_dim):
        self.name, self.factory, self.form, self.n_classes = name, factory, form, n_classes
        self.latent_dim = latent_dim
        self.is_old = version < 12

    def __call__(self, tensors):
        if set(tensors) == {*PointMixture.__dataclass_fields__, *Space._fields}:
            space = Space(*(tensors[name] for name in Space._fields))
            mixture = PointMixture(**{name: tensors[name] for name in PointMixture.__dataclass_fields__})
            particles = Particles.of(mixture, space, self.form)
            return particles.with_even_texture(torch.Generator().manual_seed(0)) if self.is_old else particles
        if {"cliques", "potentials", "population"} <= set(tensors):
            return Field.from_tensors(tensors, self.form.limits)
        if {"weights", "frequencies", "widths", "parts", "cell_states", "cell_shares"} <= set(tensors):
            made = PeopleMixture if "types" in tensors else ProductMixture
            return made(**tensors | {"widths": tensors["widths"].tolist()}, limits=self.form.limits)
        if self.name == CUSTOM and self.factory is None:
            raise NotReadable("the model was saved with a generator of your own: give load its factory as generator=")
        if self.name not in (*FACTORIES, CUSTOM):
            raise BadValueError("the tensors are those of no generator")
        factory = self.name if self.name in FACTORIES else self.factory
        shape, random = self.form.network_shape, torch.Generator().manual_seed(0)
        network = make_network(factory, shape, self.n_classes, random, self.latent_dim)
        network.module.load_state_dict(tensors)
        return network
