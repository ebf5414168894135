"""What a fit makes depends on its records by the released values alone.

A fit is run and its released values are kept; then it is run on other records, of another number, and given those
values in place of its own. All that it makes must be the same to the last bit. So a loop that copies a record past the
door is caught, whatever way it takes: a source that it opens, a function given to ``map``, or a query that keeps what
it saw.
"""

import hashlib

import numpy as np
import pandas as pd
import pytest
import torch

from sinkgen import Batch, DPSinkhornGenerator, Marginals, Semidual
from sinkgen.fitting import TRAINERS
from sinkgen.generators.field import Field
from sinkgen.privacy import sealed
from sinkgen.privacy.journal import Unkept
from sinkgen.privacy.sealed import seal
from sinkgen.records import ArraySource, Records
from sinkgen.training import batch
from sinkgen.training.points import semidual
from sinkgen.training.tables import tabular

N = 300
PARAMETERS = {"epsilon": 50.0, "noise_seed": 0, "random_state": 0}


def arrays(seed):
    random = np.random.default_rng(seed)
    y = random.integers(2, size=N + seed)
    return random.uniform(-1, 1, (len(y), 3)) + y[:, None], y


def images(seed):
    random = np.random.default_rng(seed)
    return (random.uniform(0, 16, (N + seed, 16, 16)),)


def table(seed):
    X, y = arrays(seed)
    return pd.DataFrame({"a": X[:, 0], "b": np.where(X[:, 1] > 0, "u", "v"), "c": np.round(X[:, 2])}), y


def persons(seed):
    frame, y = table(seed)
    return frame, y, np.arange(len(frame)) // 3


def uneven(seed):
    """So that releases of the first choose rows, and those of the second would choose shares."""
    X, y = arrays(seed)
    return X, y, np.maximum(np.arange(len(y)) - (0 if seed else N // 2), 0) // (9 if seed else 1)


CASES = {
    "arrays": ({"schema": (-1, 2), "classes": [0, 1], "steps": 3}, arrays),
    "nothing declared": ({"steps": 3}, arrays),
    "images": ({"schema": (0, 16), "steps": 3}, images),
    "sampled": ({"schema": (-1, 2), "sampling_rate": 0.5, "steps": 3, "cost": "l1"}, arrays),
    "batch": ({"mechanism": "batch", "schema": (-1, 2), "steps": 3, "sampling_rate": 0.5}, arrays),
    "started": (
        {"mechanism": Batch(steps=3, points=6, start=Semidual(steps=3), directions=True), "schema": (-1, 2)},
        arrays,
    ),
    "tables": ({}, table),
    "tables without labels": ({}, lambda seed: table(seed)[:1]),
    "persons, bounded by a release": ({"schema": (-1, 2), "steps": 3, "max_rows_per_group": "auto"}, uneven),
    "persons": ({"mechanism": Marginals(whole_groups=True)}, persons),
}


def fitted(name, seed):
    parameters, data = CASES[name]
    return DPSinkhornGenerator(**PARAMETERS | parameters).fit(*data(seed))


def digest(gen):
    """Of all that a fit leaves: the generator's numbers, the format, labels and weights."""
    tensors = []
    for part in (gen.release_.generator, getattr(gen.release_.generator, "mixture", None)):
        tensors += [value for value in vars(part).values() if isinstance(value, torch.Tensor)] if part else []
    generator = gen.release_.generator
    own = generator.tensors() if isinstance(generator, Field) else generator.state_dict()
    tensors += [*own.values(), gen.release_.class_weights]
    spent = gen.privacy_spent()
    hashed = hashlib.sha256(repr((gen.release_.form, gen.release_.labels, spent.max_rows, spent.settings)).encode())
    for tensor in tensors:
        hashed.update(tensor.numpy().tobytes())
    return hashed.hexdigest()


def audit_wall(name, monkeypatch):
    """Whether other records, with the same released values, lead to the same fit."""
    kept = {}
    with monkeypatch.context() as patched:
        patched.setattr(Unkept, "keep", lambda self, what, step, content: kept.update({(what, step): content}))
        first = digest(fitted(name, 0))
    with monkeypatch.context() as patched:
        patched.setattr(Unkept, "recall", lambda self, what, step: kept[what, step])
        return digest(fitted(name, 1)) == first


@pytest.mark.filterwarnings("ignore:noise_seed")
@pytest.mark.usefixtures("quick_tables", "quick_networks")
@pytest.mark.parametrize("name", CASES)
def test_a_fit_is_a_function_of_what_it_released(name, monkeypatch):
    assert audit_wall(name, monkeypatch)


# --- Mutants that copy records past the door -------------------------------------------------------------------------


def opened(source):
    """All encoded values of a source, as one who knows this package would get at them."""
    return torch.cat([chunk.values for chunk in source.gather()])


def spied(source):
    """The same through a function given to ``map``, which is run when the source is asked anything."""
    seen = []

    def keep(records):
        seen.append(records.values)
        return records

    source.map(keep)
    return torch.cat(seen)


def nearest(points, records):
    return records[torch.cdist(points.double(), records.double()).argmin(1)].to(points)


def copies_points(read):
    """The points of the semidual mechanism are replaced by their nearest raw records."""
    train = semidual.train_semidual

    def mutant(stage):
        trained = train(stage)
        mixture, space = trained.generator.mixture, trained.generator.space
        mixture.points.copy_(nearest(mixture.points, space.project(read(stage.source))))
        return trained

    return "semidual", mutant


def copies_counts(read):
    """The frequencies of the first component of a table's mixture are those of the first record."""
    train = tabular.train_mixture

    def mutant(stage):
        trained = train(stage)
        trained.generator.frequencies[0][0] = float(read(stage.source)[0].double().sum())
        return trained

    return "marginals", mutant


def copies_weights(read):
    """The last bias of the batch mechanism's network is a raw record."""
    train = batch.train_batch

    def mutant(stage):
        trained = train(stage)
        with torch.no_grad():
            list(trained.generator.parameters())[-1].copy_(read(stage.source)[0])
        return trained

    return "batch", mutant


MUTANTS = {
    "points, by the source": ("arrays", copies_points, opened),
    "points, by a function given to map": ("arrays", copies_points, spied),
    "tables, by the source": ("tables", copies_counts, opened),
    "tables, by a function given to map": ("tables", copies_counts, spied),
    "batch, by the source": ("batch", copies_weights, opened),
    "batch, by a function given to map": ("batch", copies_weights, spied),
    "points, by what is behind the seal": ("arrays", copies_points, lambda source: opened(sealed.unseal(source))),
}


@pytest.mark.filterwarnings("ignore:noise_seed")
@pytest.mark.usefixtures("quick_tables")
@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_that_copy_records_past_the_door_are_caught(name, monkeypatch):
    case, mutate, read = MUTANTS[name]
    trainer, mutant = mutate(read)
    monkeypatch.setitem(TRAINERS, trainer, TRAINERS[trainer]._replace(train=mutant))
    try:
        caught = not audit_wall(case, monkeypatch)
    except AttributeError as error:  # a sealed source has nothing but map
        caught = "SealedSource" in str(error)
    assert caught


def test_a_sealed_source_can_be_mapped_and_nothing_else():
    source = seal(ArraySource(torch.zeros(3, 1), torch.zeros(3, dtype=torch.long)))
    assert [name for name in dir(source) if not name.startswith("_")] == ["map"]
    mapped = source.map(lambda records: Records(records.values + 1, records.labels))
    assert [name for name in dir(mapped) if not name.startswith("_")] == ["map"]
    assert not hasattr(source, "__dict__")
    for name in ("gather", "reduce", "chunks"):
        with pytest.raises(AttributeError):
            getattr(source, name)
