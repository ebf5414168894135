"""Several plausible data sets: centred where the release is, as far apart as its noise, and of the users' format."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import torch

from sinkgen import Column, DPSinkhornGenerator, PoorFitWarning, inference
from sinkgen.generators.coupling import kept_by_clipping
from sinkgen.generators.posterior import Posterior
from sinkgen.generators.redrawn import FromCells
from sinkgen.inference.moments import NoisyMoments

SCHEMA = {"age": Column(edges=(0, 20, 40, 60, 90)), "sex": ["F", "M"], "smokes": ["no", "yes"]}

SEEDS = {"random_state": 0, "noise_seed": 0}

pytestmark = pytest.mark.filterwarnings("ignore:noise_seed")


def people(n=1500):
    random = np.random.default_rng(0)
    age, sex = random.integers(0, 90, n), random.choice(["F", "M"], n)
    smokes = np.where(random.random(n) < np.where(sex == "M", 0.7, 0.2), "yes", "no")
    return pd.DataFrame({"age": age, "sex": sex, "smokes": smokes})


@pytest.fixture(scope="module")
def fitted():
    frame = people()
    old = np.where(frame.age > 50, "old", "young")
    return {
        "field": DPSinkhornGenerator(1, schema=SCHEMA, **SEEDS).fit(frame),
        "mixture": DPSinkhornGenerator(1, schema=SCHEMA, classes=["old", "young"], **SEEDS).fit(frame, old),
    }


@pytest.mark.parametrize("kind", ["field", "mixture"])
def test_sets_are_as_far_apart_as_the_noise_and_near_the_release(kind, fitted):
    gen = fitted[kind]
    sets = gen.sample_posterior(40, random_state=0)
    frames = [data if kind == "field" else data[0] for data in sets]
    n = Posterior(gen.release_).n_records
    assert {len(frame) for frame in frames} == {n}
    for name, value in (("sex", "F"), ("smokes", "yes")):
        shares = [(frame[name] == value).mean() for frame in frames]
        direct = gen.release_.proportion({name: value})
        noise = direct.standard_error * direct.privacy_share**0.5
        assert abs(np.mean(shares) - (people()[name] == value).mean()) < 4 * noise
        assert 0.5 * noise < np.std(shares) < 2 * direct.standard_error
    both = [((frame.sex == "M") & (frame.smokes == "yes")).mean() for frame in frames]
    assert abs(np.mean(both) - 0.35) < 0.08
    assert np.std(both) > 0
    age = inference.mean(sets, "age")
    assert abs(age.estimate - people().age.mean()) < 5 * age.standard_error
    assert 0 < age.privacy_share < 1


def test_sets_are_drawn_again_by_their_seed(fitted):
    one, other = (fitted["mixture"].sample_posterior(2, 50, random_state=3) for _ in range(2))
    for (X, y), (X_again, y_again) in zip(one, other, strict=True):
        pd.testing.assert_frame_equal(X, X_again)
        assert np.array_equal(y, y_again)
    assert len(one[0][0]) == 50


def test_without_noise_sets_agree_with_the_records(fitted):
    frame = people()
    gen = DPSinkhornGenerator(np.inf, schema=SCHEMA, random_state=0).fit(frame)
    shares = [pd.crosstab(data.sex, data.smokes, normalize="all") for data in gen.sample_posterior(3, random_state=0)]
    true = pd.crosstab(frame.sex, frame.smokes, normalize="all")
    assert all(np.abs(share - true).to_numpy().max() < 0.02 for share in shares)


@pytest.fixture(scope="module")
def numbers():
    random = np.random.default_rng(0)
    x = random.normal(size=(2500, 3))
    x[:, 1] = 0.7 * x[:, 0] + 0.7 * x[:, 1]
    frame = pd.DataFrame(x, columns=list("abc"))
    return frame, DPSinkhornGenerator(2, schema=dict.fromkeys(frame, (-6.0, 6.0)), **SEEDS).fit(frame)


def test_numbers_go_together_within_bins(numbers):
    frame, gen = numbers
    sets = gen.sample_posterior(6, random_state=0)
    slopes = [np.polyfit(data.a, data.b, 1)[0] for data in sets]
    true = np.polyfit(frame.a, frame.b, 1)[0]
    assert abs(np.mean(slopes) - true) < 0.06
    assert np.std(slopes) > 0.005
    assert abs(np.mean([data.a.corr(data.c) for data in sets])) < 0.1


def test_released_moments_are_near_the_truth_and_are_kept(numbers, tmp_path):
    frame, gen = numbers
    moments = gen.release_.moments
    spread = moments.products.diag().sqrt()
    assert moments.columns == [0, 1, 2]
    found = (moments.products / torch.outer(spread, spread)[: len(spread)])[:3, :3].numpy()
    noise = moments.noise / float(spread[:3].min()) ** 2
    # Clipping leaves a little less of each product.
    assert np.abs(found - frame.corr().to_numpy()).max() < 5 * noise + 0.06
    gen.save(tmp_path / "model")
    again = DPSinkhornGenerator.load(tmp_path / "model").release_.moments
    assert torch.equal(again.products, moments.products)
    assert (again.noise, again.clip) == (moments.noise, moments.clip)
    assert all(torch.equal(a, b) for a, b in zip(again.scores, moments.scores, strict=True))


def test_correlations_are_as_far_apart_as_their_noise(numbers):
    """Neither shrunk towards 0, nor by the draws of records: one standard deviation of the release, about."""
    frame, gen = numbers
    release = gen.release_
    found = np.array(
        [data.corr().to_numpy()[[0, 0, 1], [1, 2, 2]] for data in gen.sample_posterior(12, random_state=0)]
    )
    noise = release.moments.noise / release.moments.products.diag()[:3].mean().item()
    true = frame.corr().to_numpy()[[0, 0, 1], [1, 2, 2]]
    assert np.abs(found.mean(0) - true).max() < 4 * noise
    assert 0.4 * noise < found.std(0).mean() < 2 * noise + 2500**-0.5


def test_what_clipping_takes_of_products_is_known():
    random = torch.Generator().manual_seed(0)
    x = torch.randn(100_000, 6, generator=random, dtype=torch.float64)
    x[:, 1] = 0.3 * x[:, 0] + math.sqrt(1 - 0.09) * x[:, 1]
    ends = torch.linspace(-2.0, 2.0, 41, dtype=torch.float64)
    codes = torch.bucketize(x, (ends[1:] + ends[:-1]) / 2).T
    rows, clip = ends[codes.T], 3.0
    clipped = rows * (clip / rows.norm(dim=1, keepdim=True)).clamp_max(1)
    independent = torch.stack([of[torch.randperm(100_000, generator=random)] for of in codes])
    moments = NoisyMoments((ends,) * 6, torch.eye(6), 0.0, clip)
    kept = kept_by_clipping(moments, independent)[0, 1]
    left = (clipped[:, 0] @ clipped[:, 1]) / (rows[:, 0] @ rows[:, 1])
    assert 0.8 < left < 0.97
    assert abs(kept - left) < 0.02
    assert kept_by_clipping(moments._replace(clip=math.inf), independent)[0, 1] == 1


@pytest.mark.parametrize("correlation", [0.2, 0.5, 0.9])
def test_products_between_groups_are_a_known_share(correlation):
    x = torch.randn(200_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[:, 1] = correlation * x[:, 0] + math.sqrt(1 - correlation**2) * x[:, 1]
    groups = (torch.special.ndtr(x) * 4).long()
    means = torch.stack([x[groups[:, 0] == g, 0].mean() for g in range(4)])
    held = float((means.square().mean()) ** 2)
    between = float((means[groups[:, 0]] * means[groups[:, 1]]).mean())
    assert between == pytest.approx(correlation * FromCells((), (), 0.0, 0.0, held).share(correlation), abs=0.02)


def test_a_column_that_hardly_varies_has_no_part_in_products():
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(800, 3)), columns=list("abc"))
    frame["flag"] = "no"
    schema = {**dict.fromkeys("abc", (-6.0, 6.0)), "flag": ["no", "yes"]}
    gen = DPSinkhornGenerator(20, schema=schema, **SEEDS).fit(frame)
    assert gen.release_.moments.columns == [0, 1, 2]
    assert len(gen.sample_posterior(2, random_state=0)) == 2


def test_what_is_not_known_of_many_columns_is_told():
    random = np.random.default_rng(0)
    frame = pd.DataFrame({f"c{j}": random.choice(list("abc"), 300) for j in range(12)})
    gen = DPSinkhornGenerator(0.3, schema={name: list("abc") for name in frame}, **SEEDS).fit(frame)
    with pytest.warns(PoorFitWarning, match="was not released"):
        gen.sample_posterior(2, random_state=0)


def test_what_has_no_counts_is_refused(fitted):
    arrays = DPSinkhornGenerator(5, schema=(-4, 4), steps=2).fit(np.random.default_rng(0).normal(size=(300, 2)))
    with pytest.raises(TypeError, match="of tables"):
        arrays.sample_posterior()
    with pytest.raises(ValueError, match="holds no released counts"):
        Posterior(dataclasses.replace(fitted["field"].release_, counts=()))
    with pytest.raises(ValueError, match="m must be"):
        fitted["field"].sample_posterior(0)
    assert torch.is_tensor(fitted["field"].release_.counts[0].counts)


def test_columns_that_were_not_counted_together_do_not_share_what_a_third_shares_with_both():
    """Of ``a`` and ``c`` nothing stood out, though both go with ``b``: they are nearly independent, not given ``b``."""
    random = np.random.default_rng(0)
    a, c = random.choice(list("xyz"), 4000), random.choice(list("uvw"), 4000)
    b = np.where(random.random(4000) < 0.15 + 0.35 * (a == "x") + 0.35 * (c == "u"), "yes", "no")
    frame = pd.DataFrame({"a": a, "b": b, "c": c})
    schema = {"a": list("xyz"), "b": ["no", "yes"], "c": list("uvw")}
    gen = DPSinkhornGenerator(3, schema=schema, **SEEDS).fit(frame)
    assert {part.columns for part in gen.release_.counts if len(part.columns) == 2} >= {(0, 1), (1, 2)}
    sets = gen.sample_posterior(8, random_state=0)
    apart = [(data.a[data.c == "u"] == "x").mean() - (data.a[data.c != "u"] == "x").mean() for data in sets]
    assert abs(np.mean(apart)) < 0.03
