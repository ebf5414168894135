"""The report as one page of HTML, for people: what was promised, and how well synthetic records stand in for real ones.

The page compares with real records, without noise: like :mod:`sinkgen.report.scores`, it is for those who hold them.
"""

import base64
import io
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import check_random_state

from sinkgen._types import RandomState
from sinkgen._validation import check_integer
from sinkgen.accounting import PrivacySpent
from sinkgen.report.charts import associations, draw_column, draw_map, missing_share
from sinkgen.report.columns import Columns, Part, as_part, hold_out, named_columns
from sinkgen.report.promise import describe_privacy, percent, render
from sinkgen.report.scores import DIFFERENT, score_report

__all__ = ["html_report"]

MOST_RECORDS = {"table": 20_000, "images": 3_000}
LABELS = ("labels",)  # stands for them among the names of columns, of which none is a tuple
MOST_CHARTS = 60
MOST_IN_MAP = 24
MOST_CLASSES, IMAGES_A_CLASS, UNLABELLED_IMAGES = 10, 9, 60


def html_report(
    real: Any,
    synthetic: Any,
    *,
    test: Any = None,
    spent: PrivacySpent | None = None,
    title: str = "Synthetic data report",
    most_records: int | None = None,
    random_state: RandomState = None,
) -> str:
    """Write a page that compares synthetic records with real ones, after a privacy statement in plain words.

    Parameters
    ----------
    real : X or (X, y)
        What the generator was fitted to: array, images (n, h, w) or (n, h, w, c), or data frame; with labels or a
        numeric target if they are to be learned. The name of a y that is a Series stands on the page.
    synthetic : X or (X, y)
        What it drew.
    test : X or (X, y), default=None
        Real records that the generator has not seen. None holds out a third of ``real``.
    spent : PrivacySpent, default=None
        The statement: ``gen.privacy_spent()``.
    title : str
        Heading of the page.
    most_records : int, default=None
        At most so many records of each part are looked at, drawn at random; None is 20,000, and 3,000 images.
    random_state : int, numpy.random.RandomState or None, default=None
        Seeds the choice of records and the models.

    Returns
    -------
    str
        One whole page: styles and pictures are in it, nothing is loaded, nothing is run.

    Raises
    ------
    ImportError
        Without pandas and jinja2; with images, without pillow.
    ValueError
        If the parts differ in their columns, or only some of them have labels.

    Notes
    -----
    The page shows real records as they are. It is not covered by any privacy guarantee, and says so.

    Examples
    --------
    >>> from sinkgen import DPSinkhornGenerator
    >>> random = np.random.default_rng(0)
    >>> y = random.integers(2, size=600)
    >>> X = random.normal(y[:, None], 0.3, (600, 2))
    >>> gen = DPSinkhornGenerator(epsilon=10, schema=(-1, 2), classes=[0, 1]).fit(X, y)
    >>> page = html_report((X, y), gen.sample(600), spent=gen.privacy_spent(), random_state=0)
    >>> page.startswith("<!doctype html>"), "epsilon = 10" in page
    (True, True)
    """
    random = check_random_state(random_state)
    real, synthetic = as_part(real), as_part(synthetic)
    target = str(getattr(real.y, "name", None) or "the label")
    are_images = np.ndim(real.X) > 2
    most = MOST_RECORDS["images" if are_images else "table"] if most_records is None else most_records
    check_integer("most_records", most, low=10)
    train, held_out = hold_out(real, random) if test is None else (real, as_part(test))
    real, synthetic, train, held_out = (_thin(part, most, random) for part in (real, synthetic, train, held_out))
    scores = score_report(tuple(train), tuple(synthetic), test=tuple(held_out), random_state=random)
    page = {
        "title": title,
        "privacy": None if spent is None else describe_privacy(spent),
        "scores": _describe_scores(scores, held_out),
        "held_out": test is None,
        "target": target,
        "unit": "pixel" if are_images else "column",
    }
    page |= _image_sections(real, synthetic, target) if are_images else _column_sections(real, synthetic, target)
    return render("report.html", **page)


def _thin(part, most, random):
    if len(part.X) <= most:
        return part
    chosen = np.sort(random.permutation(len(part.X))[:most])
    X = part.X.iloc[chosen] if hasattr(part.X, "iloc") else np.asarray(part.X)[chosen]
    return Part(X, None if part.y is None else np.asarray(part.y)[chosen])


# --- Scores ----------------------------------------------------------------------------------------------------------


class Score(NamedTuple):
    """A model's score on real test records, as text and as lengths of bars in percent."""

    name: str
    synthetic: str
    real: str
    synthetic_length: float
    real_length: float


def _describe_scores(scores, test):
    rows = {name: (row["synthetic"], row["real"]) for name, row in scores.iterrows()}
    learned = [(name, *rows[name]) for name in rows if name.startswith(("accuracy, ", "R2, "))]
    is_accuracy = bool(learned) and learned[0][0].startswith("accuracy")
    show = percent if is_accuracy else "{:.2f}".format
    ratio, usual = rows["nearest-record ratio"]
    models = []
    for name, *both in learned:
        lengths = [100 * max(0.0, min(1.0, score)) for score in both]
        models.append(Score(name.split(", ", 1)[1], *map(show, both), *lengths))
    return {
        "models": models,
        "is_accuracy": is_accuracy,
        "baseline": percent(max(Counter(np.asarray(test.y).tolist()).values()) / len(test.y)) if is_accuracy else None,
        "one_way": [percent(share) for share in rows["one-way marginals"]],
        "two_way": [percent(share) for share in rows["two-way marginals"]] if "two-way marginals" in rows else None,
        "nearest": [f"{ratio:.2f}", f"{usual:.2f}"],
        "is_near": ratio < 0.5 * usual,
        "ids": [
            (name.removeprefix(DIFFERENT), *map(percent, rows[name])) for name in rows if name.startswith(DIFFERENT)
        ],
    }


# --- Columns ---------------------------------------------------------------------------------------------------------


def _column_sections(real, synthetic, target):
    columns = Columns(real)
    views = [columns.view(part) for part in (real, synthetic)]
    cells = [{name: named_columns(part.X)[name] for name in columns.names} for part in (real, synthetic)]
    names = [str(name) for name in columns.names]
    if real.y is not None:
        names.append(target)
        for part, column in zip((real, synthetic), cells, strict=True):
            column[LABELS] = np.asarray(part.y)
    distances = [_distance(views[0].bins[:, k], views[1].bins[:, k]) for k in range(len(names))]
    drawn = [
        {
            "name": name,
            "difference": percent(distance),
            "distance": distance,
            "chart": draw_column(cells[0][key], cells[1][key]),
            "missing": [percent(missing_share(column[key])) for column in cells],
            "has_missing": any(missing_share(column[key]) for column in cells),
        }
        for name, distance, key in zip(names, distances, cells[0], strict=True)
    ]
    left_out = max(0, len(drawn) - MOST_CHARTS)
    if left_out:
        least = sorted(distances, reverse=True)[MOST_CHARTS - 1]
        drawn = [column for column in drawn if column["distance"] >= least][:MOST_CHARTS]
    return {"columns": drawn, "left_out": left_out, "map": _map(views, names, distances), "images": None}


def _distance(bins, others):
    size = max(bins.max(), others.max()) + 1
    shares = [np.bincount(codes, minlength=size) / len(codes) for codes in (bins, others)]
    return float(0.5 * np.abs(shares[0] - shares[1]).sum())


def _map(views, names, distances):
    """How columns go together, in real and in synthetic records; None for a single column."""
    if len(names) < 2:
        return None
    kept = np.sort(np.argsort(distances)[::-1][:MOST_IN_MAP]) if len(names) > MOST_IN_MAP else np.arange(len(names))
    names = [names[k] for k in kept]
    real, synthetic = (associations(view.bins[:, kept]) for view in views)
    difference = synthetic - real
    most = max(0.1, float(np.abs(difference).max()))
    lower = [(abs(difference[i, j]), i, j) for i in range(len(names)) for j in range(i)]
    return {
        "names": names,
        "left_out": len(distances) - len(names),
        "panels": [
            ("Real", "map", draw_map(real, names)),
            ("Synthetic", "map", draw_map(synthetic, names)),
            (f"Difference (full colour: {most:.2f})", "difference", draw_map(difference, names, most)),
        ],
        "mean": f"{np.mean([gap for gap, _, _ in lower]):.3f}",
        "worst": [
            (names[j], names[i], f"{real[i, j]:.2f}", f"{synthetic[i, j]:.2f}")
            for _, i, j in sorted(lower, reverse=True)[:5]
        ],
    }


# --- Images ----------------------------------------------------------------------------------------------------------


def _image_sections(real, synthetic, target):
    low, high = float(np.min(real.X)), float(np.max(real.X))
    classes = None if real.y is None else np.unique(real.y)[:MOST_CLASSES]
    sheets = [_sheet(part, classes, low, high) for part in (real, synthetic)]
    height, width = real.X.shape[1:3]
    summaries = {
        "mean brightness": lambda X: X.reshape(len(X), -1).mean(1),
        "contrast (standard deviation of the pixels)": lambda X: X.reshape(len(X), -1).std(1),
    }
    scaled = [(np.asarray(part.X, dtype=float) - low) / max(high - low, 1e-12) for part in (real, synthetic)]
    columns = {name: [summary(X) for X in scaled] for name, summary in summaries.items()}
    if real.y is not None:
        columns[target] = [np.asarray(part.y).astype(str) for part in (real, synthetic)]
    drawn = []
    for name, (first, second) in columns.items():
        kind = Columns(Part(first[:, None]))
        bins = [kind.view(Part(values[:, None])).bins[:, 0] for values in (first, second)]
        drawn.append({
            "name": name, "difference": percent(_distance(*bins)), "chart": draw_column(first, second),
            "missing": [], "has_missing": False,
        })  # fmt: skip
    images = {
        "real": sheets[0], "synthetic": sheets[1], "classes": None if classes is None else [str(c) for c in classes],
        "size": f"{height} by {width}",
    }  # fmt: skip
    return {"columns": drawn, "left_out": 0, "map": None, "images": images}


def _sheet(part, classes, low, high):
    """A picture of many images as a data URL: one row a class, its mean first; without classes, just many."""
    from PIL import Image

    X = np.asarray(part.X, dtype=float)
    if classes is None:
        rows = [X[k : k + 10] for k in range(0, min(len(X), UNLABELLED_IMAGES), 10)]
    else:
        members = [X[np.asarray(part.y) == label] for label in classes]
        rows = [
            np.concatenate([own.mean(0, keepdims=True), own[:IMAGES_A_CLASS]]) if len(own) else own for own in members
        ]
    height, width = X.shape[1:3]
    sheet = np.full((len(rows) * (height + 1) - 1, 10 * (width + 1) - 1, *X.shape[3:]), (low + high) / 2)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            sheet[i * (height + 1) :, j * (width + 1) :][:height, :width] = image
    pixels = np.clip(np.rint(255 * (sheet - low) / max(high - low, 1e-12)), 0, 255).astype(np.uint8)
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
