"""Every Python block of the README and the docs runs, in order, in a folder of its own."""

import re
import warnings
from pathlib import Path

import pytest
from test_docstrings import PUBLIC

from sinkgen import PrivacyLeakWarning

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_blocks_run(page, digits, tmp_path, monkeypatch, capsys, quick_tables):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sinkgen.generators.distill.STEPS", 5)
    names = dict(zip(("X", "y"), digits, strict=True))
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PrivacyLeakWarning)
            exec(compile(block, page.name, "exec"), names)
    capsys.readouterr()


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_files_of_the_code_that_pages_name_exist():
    for page in PAGES:
        for path in re.findall(r"\b(?:sinkgen|benchmarks|examples|tests)/[\w/]+\.(?:py|json)\b", page.read_text()):
            assert (ROOT / path).exists(), f"{page.name}: {path}"


def test_tests_that_pages_name_exist():
    sources = {path.name: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    for page in PAGES:
        for file, name in re.findall(r"`(?:[\w/]*/)?(test_\w+\.py)::(\w+)`", page.read_text()):
            assert f"def {name}(" in sources.get(file, ""), f"{page.name}: {file}::{name}"


def test_every_public_name_is_in_the_reference():
    page = (ROOT / "docs" / "api.md").read_text()
    for name in PUBLIC:
        owner, _, last = name.rpartition(".")
        if owner not in PUBLIC:  # a class's methods are on its page
            assert re.search(rf"^ +(\w+\.)*{last}$", page, re.MULTILINE), f"{name} is not in docs/api.md"


def test_every_page_is_reached_from_the_start_page():
    reached, left = set(), ["index"]
    while left:
        name = left.pop()
        reached.add(name)
        trees = re.findall(r"^```\{toctree\}\n(.*?)^```", (ROOT / "docs" / f"{name}.md").read_text(), re.DOTALL | re.M)
        found = {line for tree in trees for line in tree.split("\n") if line and line[0] != ":"}
        left += sorted(found - reached - {"gallery/index"})
    assert reached == {page.stem for page in PAGES[1:]}


def test_pages_are_readable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import readability

    doors = [(ROOT / "docs" / f"{name}.md").read_text() for name in ("tutorials", "howto")]
    trees = [tree for text in doors for tree in re.findall(r"toctree\}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)]
    names = set(" ".join(trees).split())
    for page in [page for page in PAGES if page.stem in names | {"README"}]:
        found = readability.measure(page)
        assert found.reading_ease >= 50, f"{page.name}: reading ease {found.reading_ease:.0f}"
    for page in PAGES:
        found = readability.measure(page)
        assert found.sentence_length <= 20, f"{page.name}: {found.sentence_length:.1f} words a sentence"
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_every_page_has_an_example_but_menus_and_policy(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import readability

    without = {page.stem for page in PAGES if not readability.measure(page).has_example}
    assert without <= {"tutorials", "howto", "why", "reference", "api"} | {"changelog", "contributing", "references"}


def test_no_line_is_longer_than_a_screen():
    long = [f"{page.name}: {line}" for page in PAGES for line in page.read_text().splitlines() if len(line) > 120]
    assert not long, "\n".join(long)


def test_every_row_of_the_log_says_what_why_how_much_and_what_became_of_it():
    text = (ROOT / "docs" / "experiments.md").read_text()
    assert not re.search(r"^\* (?!- )", text, re.MULTILINE), "a row of a table starts with '* -', below a table's head"
    for table in re.findall(r"^```\{list-table\}\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for row in re.split(r"^\* - ", table, flags=re.MULTILINE)[1:]:
            cells = re.split(r"^  - ", row, flags=re.MULTILINE)
            assert [bool(cell.strip()) for cell in cells] == [True] * 4, row
