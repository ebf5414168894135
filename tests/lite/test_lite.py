"""Draws by numpy alone are those of torch but for chance, also of models in 8 bits."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sinkgen import DPSinkhornGenerator, lite
from sinkgen.exceptions import BadValueError
from sinkgen.generators.cliques import Clique
from sinkgen.generators.coupling import Coupling
from sinkgen.generators.field import Field
from sinkgen.generators.places import Places
from sinkgen.generators.product import ProductMixture
from sinkgen.images.texture import ROOT, Texture
from sinkgen.images.tones import Tones
from sinkgen.images.warps import Warps
from sinkgen.lite import images
from sinkgen.lite.field import Field as LiteField
from sinkgen.lite.mixture import Mixture
from sinkgen.lite.tensors import compact, is_compact, restored


@pytest.fixture(scope="module")
def pictures(digits, tmp_path_factory):
    """A generator of images with all that images have, saved whole and compact."""
    X, y = np.kron(digits[0][:400].reshape(-1, 8, 8), np.ones((2, 2))), digits[1][:400] % 3
    settings = {"schema": (0, 16), "classes": range(3), "random_state": 0, "noise_seed": 0, "steps": 5}
    with pytest.warns(UserWarning, match="noise_seed"):
        gen = DPSinkhornGenerator(epsilon=100, **settings).fit(X, y)
    return gen, *saved(gen, tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """A generator of a table of all kinds of columns, saved whole and compact."""
    random = np.random.default_rng(0)
    n = 3000
    frame = pd.DataFrame({
        "age": random.integers(17, 91, n), "town": random.choice(["A", "B", "C"], n, p=[0.6, 0.3, 0.1]),
        "height": random.normal(1.7, 0.1, n).round(2),
        "since": pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 365, n), "D"),
        "member": random.random(n) < 0.2,
    })  # fmt: skip
    frame.loc[random.random(n) < 0.1, "height"] = np.nan
    y = np.where(random.random(n) < np.where(frame["age"] > 50, 0.7, 0.1), "yes", "no")
    schema = {"age": (17, 90), "town": ["A", "B", "C"], "since": ("2024-01-01", "2024-12-31")}
    with pytest.warns(UserWarning, match="noise_seed"):
        gen = DPSinkhornGenerator(
            epsilon=20, schema=schema, classes=["no", "yes"], random_state=0, noise_seed=0
        ).fit(frame, y)  # fmt: skip
    return gen, *saved(gen, tmp_path_factory.mktemp("people"))


def saved(gen, folder):
    for name in ("whole", "compact"):
        gen.save(folder / name, compact=name == "compact")
    return folder / "whole", folder / "compact"


def size(folder):
    return (folder / "model.safetensors").stat().st_size


def test_numpy_draws_what_torch_draws_of_images(pictures):
    gen, *folders = pictures
    wanted, y = gen.sample(900, random_state=0)
    for folder in folders:
        drawn, labels = lite.load(folder).sample(900, random_state=1)
        assert drawn.dtype == wanted.dtype
        assert drawn.shape == wanted.shape
        assert (np.bincount(labels) == np.bincount(y)).all()
        for c in range(3):
            one, other = drawn[labels == c], wanted[y == c]
            noise = np.sqrt((one.var(0) + other.var(0)) / len(one))
            assert (np.abs(one.mean(0) - other.mean(0)) <= 5 * noise + 0.12).all()
        assert abs(drawn.std() - wanted.std()) < 0.1
        ranks = [0.2, 0.5, 0.8, 0.95]
        assert np.abs(np.quantile(drawn, ranks) - np.quantile(wanted, ranks)).max() < 0.5


def test_numpy_draws_what_torch_draws_of_tables(people):
    gen, *folders = people
    wanted, y = gen.sample(4000, random_state=0)
    for folder in folders:
        drawn, labels = lite.load(folder).sample(4000, random_state=1)
        drawn = pd.DataFrame(drawn)
        assert list(drawn) == list(wanted)
        assert abs((labels == "yes").mean() - (y == "yes").mean()) < 0.003
        assert abs(drawn["age"].mean() - wanted["age"].mean()) < 0.8
        assert abs(drawn["age"][labels == "yes"].mean() - wanted["age"][y == "yes"].mean()) < 1.5
        towns = [frame["town"].value_counts(normalize=True).reindex(["A", "B", "C"]) for frame in (drawn, wanted)]
        assert np.abs(towns[0] - towns[1]).max() < 0.01
        assert abs(drawn["height"].isna().mean() - wanted["height"].isna().mean()) < 0.01
        assert abs(drawn["height"].mean() - wanted["height"].mean()) < 0.01
        assert abs(drawn["since"].mean() - wanted["since"].mean()) < pd.Timedelta(days=8)
        assert drawn["age"].between(17, 90).all()
        assert drawn["member"].dtype == bool


@pytest.fixture(scope="module")
def exact():
    """A field of all that fields have, and the probability of each of its records, by enumeration."""
    random, widths = torch.Generator().manual_seed(0), (3, 5, 2, 2)
    whole = [torch.arange(width) for width in widths]
    cliques = [
        Clique((0, 1), (whole[0], torch.tensor([0, 1, 1, 1, 1]))),
        Clique((1, 3), (torch.tensor([0, 0, 1, 1, 1]), whole[3])),
        Clique((0, 2, 3), (whole[0], whole[2], whole[3])),
    ]  # fmt: skip
    potentials = [torch.randn(clique.shape, generator=random) for clique in cliques]
    heights = [0.5 * torch.randn(width, generator=random) for width in widths]
    scores = [torch.tensor([-0.8, 0.0, 0.8]), torch.zeros(5), torch.tensor([-1.0, 1.0]), torch.zeros(2)]
    weights = torch.zeros(4, 4)
    weights[0, 2] = weights[2, 0] = 0.7
    coupling = Coupling(scores, weights)
    codes = torch.cartesian_prod(*whole).T
    logits = sum(height[own] for height, own in zip(heights, codes, strict=True))
    logits = logits + sum(of.flatten()[clique.cells(codes)] for clique, of in zip(cliques, potentials, strict=True))
    own = coupling.of(codes.T)
    chances = torch.softmax(logits + 0.5 * ((own @ coupling.weights) * own).sum(1), 0).double()

    def sums(cells, n):
        return torch.zeros(n, dtype=torch.float64).index_add_(0, cells, chances)

    targets = [sums(clique.cells(codes), clique.size).view(clique.shape) for clique in cliques]
    frequencies = [sums(own, width) for own, width in zip(codes, widths, strict=True)]
    population = codes[:, torch.multinomial(chances, 6000, True, generator=random)]
    shares = torch.tensor([[1.0, 0.25, 0.75, 1, 1, 1, 1, 1, 1, 1, 1]])
    places = Places(widths[:-1], torch.tensor([0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9]), shares)
    field = Field(
        cliques, potentials, targets, heights, frequencies, population, places=places, coupling=coupling
    )  # fmt: skip
    return field, chances


@pytest.mark.parametrize("is_small", [False, True])
@pytest.mark.parametrize("alone", [True, False])
def test_numpy_draws_from_a_field_as_it_says(exact, is_small, alone):
    field, chances = exact
    tensors = {name: tensor.numpy() for name, tensor in field.tensors().items()}
    model = LiteField(restored(compact(tensors)) if is_small else tensors)
    labels = np.repeat([0, 1], np.rint(40_000 * field.frequencies[-1].numpy()).astype(int))
    rows = model._states(labels, alone, np.random.default_rng(0))
    number = np.ravel_multi_index(rows.T, (3, 5, 2, 2))
    found = np.bincount(number, minlength=len(chances)) / len(rows)
    # Draws are balanced, and as independent of each other as records of the population are.
    assert np.abs(found - chances.numpy()).max() < 0.01
    assert np.abs(found - chances.numpy()).sum() < 0.06
    assert (rows[:, -1] == labels).all()
    cells = np.floor(model.draw(labels, np.random.default_rng(0))[:, 0])
    of_state = np.bincount(cells.astype(int), minlength=4)
    assert abs(of_state[1] / of_state[1:3].sum() - 0.25) < 0.01


@pytest.fixture(scope="module")
def coupled():
    """A field of two numbers in four states each, of correlation .8, whose records are drawn from a coupling alone."""
    random, correlation = torch.Generator().manual_seed(0), 0.8
    numbers = torch.randn(20_000, 2, generator=random, dtype=torch.float64)
    numbers[:, 1] = correlation * numbers[:, 0] + (1 - correlation**2) ** 0.5 * numbers[:, 1]
    codes = (4 * torch.special.ndtr(numbers)).long().clamp_max(3)
    scores = torch.tensor([-1.32, -0.34, 0.34, 1.32])
    pair = Clique((0, 1), (torch.arange(4), torch.arange(4)))
    population = torch.cat([codes.T, torch.zeros(1, len(codes), dtype=torch.long)])
    target = pair.frequencies(population)
    # Sixteen cells a state, for numbers of four times four even parts.
    places = Places((4, 4), torch.arange(8).repeat_interleave(4), torch.full((1, 32), 0.25))
    field = Field(
        [pair], [(target / target.mean()).log()], [target], [torch.zeros(4), torch.zeros(4), torch.zeros(1)],
        [torch.full((4,), 0.25)] * 2 + [torch.ones(1)], population,
        places=places, coupling=Coupling([scores, scores, torch.zeros(1)], torch.zeros(3, 3)),
    )  # fmt: skip
    return field, torch.special.ndtr(numbers)


@pytest.mark.parametrize("is_lite", [False, True])
def test_numbers_go_together_within_their_states_as_states_do(coupled, is_lite):
    field, numbers = coupled
    if is_lite:
        model = LiteField({name: tensor.numpy() for name, tensor in field.tensors().items()})
        drawn = model.draw(np.zeros(20_000, dtype=int), np.random.default_rng(0))
    else:
        drawn = field.draw(torch.zeros(20_000, dtype=torch.long), torch.Generator().manual_seed(0)).numpy()
    assert (np.bincount(drawn.astype(int).ravel(), minlength=16) / 40_000).tolist() == pytest.approx(
        [1 / 16] * 16, abs=2e-3
    )
    wanted = np.corrcoef(numbers.numpy().T)[0, 1]
    assert abs(np.corrcoef(drawn.T)[0, 1] - wanted) < 0.03
    independent = np.corrcoef(np.floor(drawn / 4).T)[0, 1] * 15 / 16
    assert independent < wanted - 0.04  # what numbers drawn anywhere in their states would have


def test_tables_without_labels_are_compact_too(tmp_path, quick_tables):
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"a": random.integers(0, 9, 900), "b": random.choice(["u", "v"], 900)})
    gen = DPSinkhornGenerator(epsilon=50, schema={"a": (0, 8), "b": ["u", "v"]}, random_state=0).fit(frame)
    whole, small = saved(gen, tmp_path)
    assert size(small) < size(whole)
    for model in (lite.load(whole), lite.load(small), DPSinkhornGenerator.load(small)):
        drawn = pd.DataFrame(model.sample(900, random_state=0))
        assert abs(drawn["a"].mean() - 4) < 0.5
        assert abs((drawn["b"] == "u").mean() - (frame["b"] == "u").mean()) < 0.05


def test_labels_that_follow_from_columns_together_do_so_in_numpy_too():
    random = torch.Generator().manual_seed(0)
    weights, frequencies = torch.rand(4, 3, generator=random), torch.rand(4, 6, generator=random)
    frequencies = torch.cat([part / part.sum(1, keepdim=True) for part in frequencies.split(2, 1)], 1)
    plain = ProductMixture(weights / weights.sum(), frequencies, (2, 2, 2))
    whole = plain.with_cliques(torch.tensor([[0, 1, 0, 2, 0, 0]]), torch.randn(1, 4, 3, generator=random))
    codes = torch.cartesian_prod(*[torch.arange(2)] * 3)
    for mixture in (plain, whole):
        tensors = {name: tensor.numpy() for name, tensor in mixture.named_buffers()}
        for kept, error in ((tensors, 1e-5), (restored(compact(tensors)), 0.05)):
            for one, other in zip(Mixture(kept)._class_logits(codes.numpy()), mixture.class_logits(codes), strict=True):
                np.testing.assert_allclose(one, other, atol=error)
    older = {name: tensor.numpy() for name, tensor in plain.named_buffers() if not name.startswith("clique")}
    np.testing.assert_allclose(Mixture(older)._class_logits(codes.numpy())[1], plain.class_logits(codes)[1], atol=1e-5)


def test_labels_may_be_wanted(people, pictures):
    for _, whole, small in (people, pictures):
        for folder in (whole, small):
            model = lite.load(folder)
            wanted = np.array([model.classes_[-1]] * 5 + [model.classes_[0]] * 2)
            assert (model.sample(y=wanted, random_state=0)[1] == wanted).all()
            with pytest.raises(BadValueError, match="labels that the model does not know"):
                model.sample(y=["nobody"])
            with pytest.raises(BadValueError, match="n_samples"):
                model.sample(0)


def test_wanted_labels_bring_their_records(people):
    model = lite.load(people[1])
    ages = {label: np.mean(model.sample(y=[label] * 800, random_state=0)[0]["age"]) for label in ("no", "yes")}
    assert ages["yes"] > ages["no"] + 8


def test_the_same_seed_draws_the_same(people):
    one, other = (lite.load(people[2]).sample(50, random_state=3)[0] for _ in range(2))
    assert all(pd.Series(one[name]).equals(pd.Series(other[name])) for name in one)


def test_compact_models_are_small_and_load_as_any(pictures, people):
    for gen, whole, small in (pictures, people):
        assert size(small) < 0.27 * size(whole)
        again = DPSinkhornGenerator.load(small)
        assert again.privacy_spent() == gen.privacy_spent()
        assert len(again.sample(10)[0]) == 10


def test_a_network_is_not_made_compact():
    with pytest.raises(BadValueError, match="a network is saved as it is"):
        compact({"body.0.weight": np.ones((2, 3))})


@pytest.mark.parametrize("part", ["arrangement", "group"])
def test_tables_with_rules_or_groups_are_refused(people, tmp_path, part):
    content = json.loads((people[1] / "model.json").read_text())
    content["form"][part] = {"rules": []}
    (tmp_path / "model.json").write_text(json.dumps(content))
    (tmp_path / "model.safetensors").write_bytes((people[1] / "model.safetensors").read_bytes())
    with pytest.raises(BadValueError, match="rules, keys or groups"):
        lite.load(tmp_path)


def test_numbers_as_text_are_refused(people, tmp_path):
    content = json.loads((people[1] / "model.json").read_text())
    next(column for column in content["form"]["columns"] if column["type"] == "NumberColumn")["decimal"] = ","
    (tmp_path / "model.json").write_text(json.dumps(content))
    (tmp_path / "model.safetensors").write_bytes((people[1] / "model.safetensors").read_bytes())
    with pytest.raises(BadValueError, match="numbers or dates as text"):
        lite.load(tmp_path)


def test_damaged_models_are_refused(pictures, tmp_path):
    for name in ("model.json", "model.safetensors"):
        (tmp_path / name).write_bytes((pictures[2] / name).read_bytes())
    content = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.safetensors").write_bytes(b"x" + (tmp_path / "model.safetensors").read_bytes()[1:])
    with pytest.raises(BadValueError, match="not those that it was written with"):
        lite.load(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps(content)[:-5])
    with pytest.raises(BadValueError, match="no readable model"):
        lite.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        lite.load(tmp_path / "nothing")


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 1000))
def test_eight_bits_are_near(d, n, seed):
    random = np.random.default_rng(seed)
    tensors = {
        "points": random.normal(size=(n, d)).astype(np.float32), "factors": random.normal(size=(2, d, d)),
        "classes": np.zeros(n, dtype=np.int64), "tones": random.random((0, 2, 5)),
    }  # fmt: skip
    small = compact(tensors)
    assert is_compact(small)
    assert not is_compact(tensors)
    back = restored(small)
    assert set(back) == set(tensors)
    assert (np.abs(back["points"] - tensors["points"]) <= np.abs(tensors["points"]).max(1, keepdims=True) / 253).all()
    for made, factor in zip(back["factors"], tensors["factors"], strict=True):
        wanted = factor @ factor.T  # what is drawn with it depends on this alone
        assert np.abs(made @ made.T - wanted).max() <= 0.03 * np.abs(wanted).max()


def test_shares_in_eight_bits_sum_to_one_and_stay_possible():
    random = np.random.default_rng(0)
    shares = random.dirichlet(np.full(5, 0.2), size=3)
    frequencies = np.concatenate([shares, np.tile([1.0, 0.0], (3, 1))], 1)
    back = restored(compact({
        "frequencies": frequencies, "cell_shares": np.ones((1, 7)), "widths": np.array([5, 2]),
        "cell_states": np.arange(7), "tilt": np.zeros((7, 1)), "parts": np.tile([0.0, 1.0], (7, 1)),
    }))  # fmt: skip
    assert np.allclose(back["frequencies"][:, :5].sum(1), 1)
    assert ((back["frequencies"] > 0) == (frequencies > 0)).all()
    assert np.abs(back["frequencies"] - frequencies).max() < 0.01


@pytest.mark.parametrize("shape", [(9, 12), (8, 8, 3)])
def test_images_are_treated_as_torch_treats_them(shape):
    random = torch.Generator().manual_seed(0)
    x = torch.rand(6, int(np.prod(shape)), generator=random)
    warps = Warps(shape)
    amounts = torch.randn(6, warps.size, generator=random)
    moved = images.Warps(shape).apply(x.numpy(), amounts.numpy())
    assert np.abs(moved - warps.deform(x, amounts).numpy()).max() < 1e-4
    texture, numpy_texture = Texture(shape), images.Texture(shape)
    # Near zero the curve of roots is steep: how a processor rounds shows.
    assert np.abs(numpy_texture.gain(x.numpy(), images.root_curve()) - texture.gain(x, ROOT).numpy()).max() < 1e-3
    spectrum = torch.randn(texture.n_bands, texture.n_channels, texture.n_channels, generator=random)
    coloured = numpy_texture.coloured(x.numpy(), spectrum.numpy())
    assert np.abs(coloured - texture.coloured(x, spectrum).numpy()).max() < 1e-5
    tones, x = Tones(shape), torch.rand(300, int(np.prod(shape)), generator=random)
    even = torch.full((tones.n_histograms, 128), 1 / 128, dtype=torch.float64)
    curves = tones.fit_curves(even, x, 1e-6)
    for each in (curves, curves[:13]):
        drawn = images.Tones(shape).apply(x.numpy(), each.numpy())
        assert np.abs(drawn - tones.apply(x, each).numpy()).max() < 1e-2


def test_drawing_imports_numpy_alone(pictures, people):
    for _, _, folder in (pictures, people):
        program = (
            f"from sinkgen import lite\nlite.load({str(folder)!r}).sample(3)\nimport sys\n"
            "print([n for n in ('torch', 'scipy', 'sklearn', 'pandas', 'ot', 'opacus') if n in sys.modules])"
        )
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert run.stdout == "[]\n"
