"""The report page: what it says, what it never lets through, and how a browser shows it."""

import math
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from browser import CHROMIUM, Browser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.tree import DecisionTreeClassifier

from sinkgen import DPSinkhornGenerator, PrivacySpent, html_report
from sinkgen.accounting import GaussianRelease
from sinkgen.report.charts import associations, draw_column

pytest.importorskip("jinja2")
pytest.importorskip("PIL")

SPENT = PrivacySpent.of([GaussianRelease("points", 20.0, steps=20)], 1e-5, assumptions=["bounds of <age>"])


def people(n, seed):
    random = np.random.default_rng(seed)
    earns = random.integers(2, size=n)
    frame = pd.DataFrame({
        "age": random.integers(18, 80, n),
        "score": random.normal(earns, 0.3, n),
        "gain": np.where(random.random(n) < 0.8, 0.0, random.exponential(1e6, n)),
        "city": random.choice([f"a town of the long name {k}, far away" for k in range(14)], n),
        "member": random.random(n) < 0.5,
        "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(900, size=n), unit="D"),
        "empty": pd.array([pd.NA] * n, dtype="string"),
        "Unabhängigkeitserklärungsunterzeichnerverzeichnis" * 2: np.where(random.random(n) < 0.2, np.nan, 1.0),
    })  # fmt: skip
    return frame, pd.Series(np.array(["no", "yes"])[earns], name="earns")


@pytest.fixture(scope="module")
def pages(digits):
    """Pages of a table and of images."""
    X, y = digits[0].reshape(-1, 8, 8), digits[1]
    return {
        "table": html_report(people(400, 0), people(400, 1), test=people(200, 2), spent=SPENT, random_state=0),
        "images": html_report((X[:300], y[:300]), (X[300:600], y[300:600]), spent=SPENT, random_state=0),
    }


class Reader(HTMLParser):
    """Tags that stand open, all tags and their attributes, and the text."""

    VOID = frozenset(["meta", "img", "br", "link"])

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in self.VOID:
            self.text += " "
        else:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data


def words(page):
    return re.sub(r"\s+", " ", Reader(page).text)


# --- What it says ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["table", "images"])
def test_page_is_whole_and_loads_and_runs_nothing(pages, name):
    reader = Reader(pages[name])
    assert not reader.open
    for tag, attributes in reader.tags:
        assert tag not in ("script", "link", "iframe", "object", "form")
        assert not [key for key in attributes if key.startswith("on") or key in ("href", "srcset")]
        assert attributes.get("src", "data:").startswith("data:image/png;base64,") or "src" not in attributes
    assert "url(" not in pages[name]
    assert all(attributes.get("alt") for tag, attributes in reader.tags if tag == "img")
    assert all("aria-label" in attributes for tag, attributes in reader.tags if tag == "svg")
    assert dict(reader.tags[0][1]) == {"lang": "en"}


def test_privacy_comes_first_in_plain_words_and_says_what_is_not_covered(pages):
    text = words(pages["table"])
    assert (
        text.index("This page itself is not private") < text.index("What is promised") < text.index("Column by column")
    )
    assert str(SPENT).splitlines()[0].rstrip(".") in text
    assert "at most 54.5 % of the time" in text
    assert "Taken as public, and so not protected: bounds of <age>." in text
    assert str(SPENT).split("\n")[4] in Reader(pages["table"]).text


def test_page_tells_scores_columns_and_how_they_go_together(pages):
    text = words(pages["table"])
    assert "to predict earns" in text
    assert "neither they nor the generator have seen" in text
    assert re.search(r"random forest \d\d(\.\d)? % \d\d(\.\d)? %", text)
    for name in people(2, 0)[0]:
        assert name in text
    assert "5 others" not in text
    assert "4 others" in text  # of fourteen towns
    assert "Missing: 100 % of the real cells" in text
    assert "2020-01-0" in text
    assert "How columns go together" in text
    assert "One row a class (0, 1, 2" in words(pages["images"])
    assert "the generator, though, was fitted to them" in words(pages["images"])


def test_pages_without_privacy_say_so():
    X = np.random.default_rng(0).normal(size=(90, 2))
    assert "nothing is known about how they protect" in words(html_report(X, X))
    for spent in (
        PrivacySpent.of([GaussianRelease("points", 0.0)], 1e-5),
        PrivacySpent.of([GaussianRelease("points", 9.0)], 1e-5, reproducible_noise=True),
    ):
        text = words(html_report(X, X, spent=spent))
        assert "There is no protection" in text
        assert "right at most" not in text
        assert "may be shared" not in text


def test_copies_are_pointed_out():
    X = np.random.default_rng(0).normal(size=(300, 2))
    assert "look into it" in words(html_report(X[:200], X[:200], test=X[200:]))
    assert "look into it" not in words(html_report(X[:100], X[100:200], test=X[200:]))


def test_many_columns_and_records_are_thinned():
    X = np.random.default_rng(0).normal(size=(400, 70))
    page = html_report(X, X[::-1], most_records=50, random_state=0)
    assert page.count('class="histogram"') == 60
    assert "10 more are left out" in words(page)
    assert "46 more are left out" in words(page)
    assert page == html_report(X, X[::-1], most_records=50, random_state=0)
    assert len(page) < 400_000


def test_one_column_numeric_target_and_colour(digits):
    random = np.random.default_rng(0)
    X = random.normal(size=(200, 1))
    page = words(html_report((X, 2 * X[:, 0]), (X, 2 * X[:, 0]), random_state=0))
    assert "R²" in page
    images = np.stack([digits[0][:60].reshape(-1, 8, 8)] * 3, 3)
    assert html_report(images, images).count("data:image/png") == 2
    with pytest.raises(ValueError, match="same columns"):
        html_report(X, random.normal(size=(200, 2)))


# --- What is computed ------------------------------------------------------------------------------------------------


def test_best_guess_is_that_of_the_best_test():
    # Of one Gaussian release: accept where the outcome is above the middle.
    for sigma in (0.5, 2.0, 20.0):
        spent = PrivacySpent.of([GaussianRelease("mean", sigma)], 1e-5)
        assert spent.best_guess() == pytest.approx(0.5 + 0.5 * math.erf(1 / (2 * sigma) / math.sqrt(2)))
    for row in (GaussianRelease("gradients", 1.1, 0.01, 1000), GaussianRelease("labels", 3.0, delta=1e-6)):
        spent = PrivacySpent.of([row], 1e-5)
        assert 0.5 < spent.best_guess() <= (math.exp(spent.epsilon) + 1e-5) / (1 + math.exp(spent.epsilon)) + 1e-12
    assert PrivacySpent(math.inf, 1e-5).best_guess() == 1
    assert PrivacySpent(1.0, 1e-5).best_guess() == pytest.approx(1 / (1 + math.exp(-1)), abs=1e-5)
    assert PrivacySpent(0.0, 1e-5).best_guess() == pytest.approx(0.5, abs=1e-5)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.lists(st.floats(-1e9, 1e9), max_size=30))
def test_histograms_hold_all_records(real, synthetic):
    chart = draw_column(np.array(real), np.array(synthetic, dtype=float))
    heights = np.array([height for *_, height in chart.bars])
    outline = np.array([[float(x) for x in point.split(",")] for point in chart.steps.split()])
    assert (heights >= 0).all()
    assert max(heights.max(), 60 - outline[:, 1].min()) == pytest.approx(60, abs=0.02)
    if synthetic:
        tops = 60 - outline[1:-1:2, 1]
        assert tops.sum() == pytest.approx(heights.sum(), rel=0.02, abs=0.3)  # both are shares, on one scale


def test_associations_tell_copies_functions_and_noise_apart():
    random = np.random.default_rng(0)
    first = random.integers(5, size=4000)
    bins = np.column_stack([first, (first * 3 + 1) % 5, random.integers(5, size=4000), np.zeros(4000, dtype=int)])
    matrix = associations(bins)
    assert matrix[0, 1] == pytest.approx(1)
    assert matrix[0, 2] < 0.03
    assert (matrix[:3, 3] == 0).all()
    assert (matrix == matrix.T).all()


# --- What it never lets through --------------------------------------------------------------------------------------

OWN_TAGS = {"html", "head", "meta", "title", "style", "body", "main", "section", "h1", "h2", "h3", "p", "div", "span"}
OWN_TAGS |= {"strong", "br", "dl", "dt", "dd", "ol", "li", "figure", "figcaption", "svg", "rect", "text", "table"}
OWN_TAGS |= {"caption", "thead", "tbody", "tr", "th", "td"}
NASTY = st.text(st.sampled_from("<>&\"'`/={}%() ab\n\u2028é"), min_size=1, max_size=20)


@pytest.fixture
def quick_scores(monkeypatch):
    """One small model in place of those that are trained by default."""
    monkeypatch.setattr("sinkgen.report.scores._default_models", lambda y, random: {"tree": DecisionTreeClassifier()})


@pytest.mark.usefixtures("quick_scores")
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(column=NASTY, category=NASTY, label=NASTY, title=NASTY)
def test_names_and_cells_are_text_never_markup(column, category, label, title):
    cells = pd.DataFrame({f"{column}<script>": [category + "<b onload='x'>", "plain"] * 15})
    y = pd.Series([label + "</style>", "other"] * 15, name=label)
    page = html_report((cells, y), (cells, y), title=title, random_state=0)
    reader = Reader(page)
    assert not reader.open
    assert {tag for tag, _ in reader.tags} <= OWN_TAGS
    assert not [key for _, attributes in reader.tags for key in attributes if key.startswith("on")]
    assert f"{column}<script>" in reader.text
    assert category + "<b onload='x'>" in reader.text


# --- How a browser shows it ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    with Browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


OVERFLOWING = """
[...document.querySelectorAll('body *')]
  .filter(e => !e.closest('pre, svg') && e.getBoundingClientRect().right > innerWidth + 0.5)
  .map(e => e.outerHTML.slice(0, 80))
"""
CONTRAST = """
(() => {
  const channels = color => color.match(/[0-9.]+/g).slice(0, 3).map(v => {
    v /= 255; return v <= 0.03928 ? v / 12.92 : Math.pow((v + 0.055) / 1.055, 2.4);
  });
  const light = color => channels(color).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = e => {
    const color = getComputedStyle(e).backgroundColor;
    return color === 'rgba(0, 0, 0, 0)' ? ground(e.parentElement) : color;
  };
  const ratios = [...document.querySelectorAll('p, li, dt, dd, th, td, h1, h2, h3, span, figcaption')]
    .filter(e => e.innerText)
    .map(e => [light(getComputedStyle(e).color), light(ground(e))].sort((a, b) => b - a))
    .map(([high, low]) => (high + 0.05) / (low + 0.05));
  return Math.min(...ratios);
})()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1400])
@pytest.mark.parametrize("name", ["table", "images"])
def test_page_in_a_browser(browser, pages, tmp_path, name, width, scheme):
    path = tmp_path / "report.html"
    path.write_text(pages[name], encoding="utf-8")
    browser.open(path, width=width, scheme=scheme)
    assert browser.complaints() == []
    assert browser.requests() == [path.as_uri()]
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(OVERFLOWING) == []
    assert browser.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    assert browser.evaluate(CONTRAST) >= 4.5  # WCAG 2, level AA
    is_dark = browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
    assert is_dark == (scheme == "dark")


def test_model_straight_to_a_page(blobs):
    gen = DPSinkhornGenerator(epsilon=10, schema=(-4, 4), classes=[0, 1], steps=4).fit(*blobs)
    text = words(html_report(blobs, gen.sample(400), spent=gen.privacy_spent(), title="Blobs"))
    assert text.strip().startswith("Blobs")
    assert "epsilon = 10" in text
