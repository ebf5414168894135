"""Measures and pictures of fidelity."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import KNeighborsClassifier

from sinkgen import DPSinkhornGenerator, FidelityDisplay, html_report, score_report
from sinkgen.report.scores import class_coverage

MEASURES = ["one-way marginals", "two-way marginals", "nearest-record ratio"]


def clouds(n, seed, mixed=False):
    random = np.random.default_rng(seed)
    y = random.integers(2, size=n)
    X = random.normal(y[:, None], [0.3, 1.0], (n, 2))
    if not mixed:
        return X, y
    frame = pd.DataFrame(X, columns=["a", "b"])
    frame["city"] = np.array(["Oslo", "Rome"])[y]
    frame["none"] = pd.array(np.where(random.random(n) < 0.2, pd.NA, y), dtype="Int64")
    frame["day"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 99, n), unit="D")
    frame.loc[frame.index[0], "day"] = pd.NaT
    return frame, np.array(["no", "yes"])[y]


@pytest.mark.parametrize("mixed", [False, True])
def test_records_of_the_same_law_reach_the_mark(mixed):
    report = score_report(
        clouds(600, 0, mixed), clouds(600, 1, mixed), test=clouds(600, 2, mixed), random_state=0
    )  # fmt: skip
    assert list(report.index) == ["accuracy, linear", "accuracy, random forest", "class coverage", *MEASURES]
    assert list(report.columns) == ["synthetic", "real"]
    assert np.allclose(report["synthetic"], report["real"], atol=0.1)
    assert (report.loc["accuracy, linear"] > 0.9).all()
    assert (report.loc["one-way marginals"] < 0.1).all()


def people(n, seed, names=10**9):
    random = np.random.default_rng(seed)
    ids = [f"u{number}" for number in random.integers(names, size=n)]
    return pd.DataFrame({"id": ids, "city": random.choice(["Oslo", "Rome"], n), "x": random.normal(size=n)})


def test_ids_are_left_out_and_told():
    real, other, test = (people(900, seed) for seed in range(3))
    report = score_report(real, other.assign(id="other"), test=test, random_state=0)
    without = score_report(*(part.drop(columns="id") for part in (real, other)), test=test.drop(columns="id"))
    assert report.loc["different cells, id"].tolist() == [1 / 900, 1]
    assert np.allclose(report.loc[MEASURES], without.loc[MEASURES])
    page = html_report(real, other.assign(id="other"), test=test, random_state=0)
    assert "id is left out of all measures" in page
    assert "<h3>id</h3>" not in page
    assert list(score_report(real[["id"]], real[["id"]], random_state=0).index) == [MEASURES[0], MEASURES[2]]


def test_categories_that_the_real_records_lack_are_not_one():
    """Names of which some recur: to lump them together is farther from other names than these are from each other."""
    real, other, test = (people(900, seed, names=2000)[["id", "x"]] for seed in range(3))
    lumped = other.assign(id=other["id"].where(other["id"].isin(real["id"]), "other"))
    distances = [
        score_report(real, X, test=test, random_state=0).loc["one-way marginals", "synthetic"] for X in (other, lumped)
    ]
    assert distances[1] > distances[0]


def test_a_class_that_is_not_drawn_is_seen():
    (X, y), (drawn, labels) = clouds(600, 0), clouds(600, 1)
    lost = (drawn[labels == 1], labels[labels == 1])
    models = {"neighbours": KNeighborsClassifier(1)}
    report = score_report((X, np.where(y == 0, "a", "b")), (drawn, np.where(labels == 0, "a", "b")), models=models)
    assert report.loc["class coverage", "synthetic"] > 0.9
    one = KNeighborsClassifier().fit(X, y)
    assert class_coverage(one, lost[0], X) < 0.65
    assert class_coverage(one, X, X) == 1


def test_copies_noise_and_shuffled_columns_are_told_apart():
    real, test = clouds(600, 0)[0], clouds(600, 2)[0]
    random = np.random.default_rng(3)
    shuffled = random.permuted(real, axis=0)
    copies, noise, shuffled = (
        score_report(real, X, test=test)["synthetic"] for X in (real, random.normal(5, 1, (600, 2)), shuffled)
    )
    assert list(copies.index) == MEASURES
    assert copies["nearest-record ratio"] == 0
    assert noise["one-way marginals"] > 0.7
    assert noise["nearest-record ratio"] > 5
    assert shuffled["one-way marginals"] < 0.1
    assert shuffled["two-way marginals"] > copies["two-way marginals"]


def test_without_a_test_set_a_third_is_held_out():
    X, y = clouds(300, 0)
    report = score_report((X, y), clouds(300, 1), random_state=0, models={"neighbours": KNeighborsClassifier()})
    assert report.index[0] == "accuracy, neighbours"
    pd.testing.assert_frame_equal(
        report, score_report((X, y), clouds(300, 1), random_state=0, models={"neighbours": KNeighborsClassifier()})
    )
    assert list(score_report(X, clouds(300, 1)[0]).index) == MEASURES


def test_numeric_targets_are_scored_by_regressors():
    random = np.random.default_rng(0)
    parts = []
    for _ in range(3):
        X = random.normal(size=(200, 2))
        parts.append((X, X @ [1.0, 2.0]))
    report = score_report(parts[0], parts[1], test=parts[2])
    assert list(report.index[:2]) == ["R2, linear", "R2, random forest"]
    assert (report.loc["R2, linear"] > 0.99).all()


def test_images_and_constant_columns(digits):
    X, y = digits[0][:400].reshape(-1, 8, 8), digits[1][:400]
    report = score_report((X[:200], y[:200]), (X[200:], y[200:]), random_state=0)
    assert np.isfinite(report.to_numpy()).all()
    assert np.isnan(score_report(np.zeros((30, 2)), np.zeros((30, 2))).loc["nearest-record ratio"]).all()


def test_parts_that_do_not_fit_are_refused():
    X, y = clouds(60, 0)
    with pytest.raises(ValueError, match="same columns"):
        score_report(X, X[:, :1])
    with pytest.raises(ValueError, match="all have labels"):
        score_report((X, y), X)


@pytest.fixture
def pyplot(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    yield plt
    plt.close("all")


@pytest.mark.parametrize("kind", ["marginals", "correlations", "samples"])
@pytest.mark.parametrize("data", ["rows", "mixed", "images", "colour"])
def test_pictures(kind, data, digits, pyplot):
    images = digits[0][:80].reshape(-1, 8, 8)
    real, synthetic = {
        "rows": (clouds(40, 0), clouds(30, 1)),
        "mixed": (clouds(40, 0, True), clouds(30, 1, True)),
        "images": (images[:40], images[40:]),
        "colour": (np.stack([images[:40]] * 3, 3), np.stack([images[40:]] * 3, 3)),
    }[data]
    display = FidelityDisplay.from_samples(real, synthetic, kind=kind)
    display.figure_.canvas.draw()
    columns = {"rows": 2, "mixed": 5, "images": 12, "colour": 12}[data]
    assert len([ax for ax in display.axes_ if ax.figure is not None]) == (columns if kind == "marginals" else 2)
    assert display.axes_[0].get_title()


def test_from_estimator_and_given_axes(blobs, pyplot):
    gen = DPSinkhornGenerator(schema=(-4, 4), classes=[0, 1], steps=4).fit(*blobs)
    display = FidelityDisplay.from_estimator(gen, blobs[0], random_state=0)
    assert display.synthetic.shape == blobs[0].shape
    figure, axes = pyplot.subplots(1, 3)
    assert display.plot(axes=axes).figure_ is figure
    with pytest.raises(ValueError, match="axes must be at least 3"):
        display.plot(axes=axes[:2])
    with pytest.raises(ValueError, match="kind"):
        display.plot("violins")


def test_matplotlib_is_imported_when_needed_only():
    code = "import sys, sinkgen; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
