"""Raw records reach the outside by the mechanism alone: who may touch what, read off the source."""

import ast
from pathlib import Path

import pytest

import sinkgen

PACKAGE = Path(sinkgen.__file__).parent
# What sees records must not print, log, or write; nor may anything else that fit calls.
SILENT = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name not in {"ledger.py", "storage.py", "journal.py"}]
# Layers, from the bottom; a module imports from its own layer's siblings listed here or from below only.
LAYERS = [
    {"exceptions", "_validation", "_version", "_durable", "streams", "frequencies", "pixels"},
    {"accounting", "ot", "sampling", "journal", "space", "warps", "texture", "tones", "tilt", "augment", "balance"},
    {"product"},
    {"mechanism", "ledger", "budget", "data", "progress"},
    {"queries", "generators"},
    {"release", "table_queries"},
    {"table_metadata"},
    {"metadata"},
    {"training", "storage"},
    {"plan"},
    {"cluster"},
    {"partitions"},
    {"distributed", "bulk"},
    {"sources", "parameters"},
    {"estimator"},
    {"columns", "tstr"},
    {"report", "charts"},
    {"html"},
    {"cli"},
    {"__main__"},
]


def tree(path):
    return ast.parse(path.read_text())


def imported(path):
    """Modules of the package that a file imports, by their first name below the package."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sinkgen"):
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("path", SILENT, ids=lambda path: path.stem)
def test_nothing_that_may_see_records_prints_or_logs(path):
    calls = [node.func for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    names = {func.id for func in calls if isinstance(func, ast.Name)}
    assert not names & {"print", "open", "input"}
    modules = {alias.name for node in ast.walk(tree(path)) if isinstance(node, ast.Import) for alias in node.names}
    assert not modules & {"logging", "sys"}


def test_imports_point_downward():
    level = {name: depth for depth, names in enumerate(LAYERS) for name in names}
    for path in sorted(PACKAGE.rglob("*.py")):
        own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if own in level:
            for other in imported(path) & set(level):
                assert other == own or level[other] < level[own] or own == "__init__", f"{own} imports {other}"


def test_only_the_mechanism_adds_noise_and_only_it_evaluates_queries():
    for path in PACKAGE.rglob("*.py"):
        calls = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
        methods = [node.func for node in calls if isinstance(node.func, ast.Attribute)]
        attributes = {
            func.attr for func in methods if not (isinstance(func.value, ast.Name) and func.value.id == "self")
        }
        if path.name != "mechanism.py":
            assert not attributes & {"evaluate", "over"}, path
            assert "release_labels" not in attributes or path.name == "metadata.py", path


def test_post_processing_knows_no_record_source():
    for name in ("release.py", "generators.py", "space.py", "storage.py", "training/distill.py", "training/support.py"):
        path = PACKAGE / name
        assert not imported(path) & {"sampling", "mechanism", "metadata"}, path
