"""Direct answers: unbiased where they were released, with errors that hold; of the model, and said so, elsewhere."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from sinkgen import Column, DPSinkhornGenerator
from sinkgen.accounting import GaussianRelease
from sinkgen.generators.cliques import Clique
from sinkgen.inference.counts import counts_from, flat_counts, pooled
from sinkgen.privacy.mechanism import GaussianMechanism
from sinkgen.privacy.queries.tables import CliqueQuery, GroupedPairQuery, JointQuery, MarginalQuery, PairQuery
from sinkgen.records import ArraySource

WIDTHS = (5, 4, 3)
SCHEMA = {"age": Column(edges=(0, 20, 40, 60, 90)), "sex": ["F", "M"], "smokes": ["no", "yes"]}


def source(n=400):
    codes = torch.stack(
        [torch.randint(width, (n,), generator=torch.Generator().manual_seed(width)) for width in WIDTHS]
    )
    return ArraySource(codes.T.contiguous(), torch.arange(n) % 2)


def queries():
    groups = (torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 1, 1, 0]))
    return {
        "cliques": CliqueQuery([Clique((0, 1), groups), Clique((3,), (torch.arange(2),))], [1.0, 3.0]),
        "joint": JointQuery([MarginalQuery(WIDTHS, 2), PairQuery(WIDTHS, 2)], [0.3, 0.7]),
        "groups": JointQuery(
            [MarginalQuery(WIDTHS, 2), GroupedPairQuery([torch.arange(width) // 2 for width in WIDTHS], 2)], [0.3, 0.7]
        ),
        "all classes": JointQuery([MarginalQuery(WIDTHS, 2), PairQuery(WIDTHS, 1)], [0.5, 0.5]),
    }


@pytest.mark.filterwarnings("ignore:noise_seed")
@pytest.mark.parametrize("name", queries())
def test_released_counts_are_true_ones_with_the_noise_that_they_tell(name):
    mechanism = GaussianMechanism([GaussianRelease(name, 7.0, steps=60)], noise_seed=0)
    for _ in range(60):
        mechanism.release(name, queries()[name], source())
    codes = torch.cat([next(iter(source().gather())).values.T, (torch.arange(400) % 2)[None]])
    noises = []
    for part in mechanism.counts:
        true = Clique(part.columns, part.groups).frequencies(codes) * 400
        noises.append(((part.counts - true) / part.noise).flatten())
    assert abs(float(torch.cat(noises).std()) - 1) < 0.06
    assert abs(float(torch.cat(noises).mean())) < 0.06
    found = pooled(mechanism.counts)
    assert len(found) == len(mechanism.counts) / 60
    assert found[0].noise == pytest.approx(mechanism.counts[0].noise / 60**0.5)
    again = counts_from([part.to_dict() for part in found], flat_counts(found))
    assert all(torch.allclose(a.counts, b.counts) and a[0] == b[0] for a, b in zip(again, found, strict=True))


def people(n=2000):
    random = np.random.default_rng(0)
    age, sex = random.integers(0, 90, n), random.choice(["F", "M"], n)
    smokes = np.where(random.random(n) < np.where(sex == "M", 0.7, 0.2), "yes", "no")
    return pd.DataFrame({"age": age, "sex": sex, "smokes": smokes})


@pytest.fixture(scope="module")
def fitted():
    frame = people()
    labels = np.where(frame.age > 50, "old", "young")
    return {
        "field": DPSinkhornGenerator(3, schema=SCHEMA, random_state=0).fit(frame).release_,
        "mixture": DPSinkhornGenerator(3, schema=SCHEMA, random_state=0, classes=["old", "young"])
        .fit(frame, labels)
        .release_,
    }


@pytest.mark.parametrize("kind", ["field", "mixture"])
def test_answers_are_near_the_truth_by_their_errors(kind, fitted):
    release, frame = fitted[kind], people()
    found = release.marginal(["smokes", "sex"])
    assert found.origin == "released"
    true = pd.crosstab(frame.smokes, frame.sex, normalize="all").to_numpy()
    assert (np.abs(found.shares - true) < 6 * found.privacy_errors).all()
    assert found.cells == (["no", "yes"], ["F", "M"])
    assert (found.standard_errors > found.sampling_errors).all()
    assert len(found.to_frame()) == 4
    age, smokers = release.mean("age"), release.proportion({"smokes": "yes"})
    assert abs(age.estimate - frame.age.mean()) < 6 * age.standard_error
    assert abs(smokers.estimate - (frame.smokes == "yes").mean()) < 6 * smokers.standard_error
    assert age.standard_error > frame.age.std() / len(frame) ** 0.5 * 0.9
    low, high = smokers.interval()
    assert low < smokers.estimate < high
    assert 0 < smokers.privacy_share < 1
    young = release.proportion({"age": (0, 19)})
    assert abs(young.estimate - (frame.age < 20).mean()) < 6 * young.standard_error


def test_labels_are_a_column(fitted):
    release, frame = fitted["mixture"], people()
    assert release.marginal("label").cells == (["old", "young"],)
    old = release.proportion({"label": "old"})
    assert abs(old.estimate - (frame.age > 50).mean()) < 6 * old.standard_error
    assert release.marginal(["label", "sex"]).shares.shape == (2, 2)


@pytest.mark.parametrize("kind", ["field", "mixture"])
def test_what_was_not_released_is_the_models_and_told(kind, fitted):
    release = dataclasses.replace(fitted[kind], counts=())  # as a model of an older version has it
    found = release.marginal(["sex", "smokes"])
    assert found.origin == "model"
    assert np.isnan(found.privacy_errors).all()
    assert "not known" in str(found)
    assert abs(found.shares[1, 1] - 0.35) < 0.06
    assert np.isnan(release.mean("age").standard_error)
    assert fitted[kind].marginal(["age", "sex", "smokes"]).origin == "model"


def test_saved_models_keep_what_was_released(fitted, tmp_path):
    DPSinkhornGenerator.from_release(fitted["field"]).save(tmp_path)
    loaded = DPSinkhornGenerator.load(tmp_path).release_
    assert loaded.mean("age").estimate == pytest.approx(fitted["field"].mean("age").estimate, abs=1e-4)
    assert loaded.marginal(["sex", "smokes"]).release == fitted["field"].marginal(["sex", "smokes"]).release


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda release: release.marginal(["sex", "sex"]), "different ones of"),
        (lambda release: release.marginal(["height"]), "different ones of"),
        (lambda release: release.mean("sex"), "holds no numbers"),
        (lambda release: release.proportion({"sex": "X"}), "knows the categories"),
        (lambda release: release.proportion({"sex": "F", "age": 3}), "one column"),
        (lambda release: release.proportion({"label": "none"}), "knows the labels"),
    ],
)
def test_questions_that_have_no_answer_are_refused(call, message, fitted):
    with pytest.raises((TypeError, ValueError), match=message):
        call(fitted["mixture"])


def test_of_arrays_nothing_is_answered_directly():
    X = np.random.default_rng(0).normal(size=(300, 2))
    release = DPSinkhornGenerator(5, schema=(-4, 4), steps=2).fit(X).release_
    assert len(release.counts) == 1
    with pytest.raises(TypeError, match="of tables"):
        release.mean(0)
