"""The order of the rooms, and what may never import what, read off the source.

Raw records reach the outside by the mechanism alone; who may touch what is a matter of folders here, so that a module
that nobody thought of is an error.
"""

import ast
from pathlib import Path

import pytest

import sinkgen

PACKAGE = Path(sinkgen.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
# Rooms (folders) and the modules beside them, from the bottom: a room imports from those below and from itself.
LEVELS = [
    {"_version", "_validation", "_durable", "_groups", "exceptions", "progress"},
    {"accounting", "denoise", "ot", "records", "report"},
    {"images", "privacy"},
    {"data"},
    {"generators", "sources"},
    {"parameters", "storage", "training"},
    {"fitting"},
    {"estimator"},
    {"cli", "tstr"},
    {"__init__", "__main__"},
]
# What may not be imported, whatever the levels say.
NEVER = {
    "generators": {"privacy", "records"},
    "images": {"privacy", "records"},
    "denoise": {"privacy", "records"},
    "report": {"privacy", "records"},
    "data": {"privacy"},
    "sources": {"privacy"},
    "ot": {"privacy", "records"},
    "privacy": {"generators", "images", "data"},
    "training": {"sources"},
}
# What sees records must not print, log, or write; nor may anything else that fit calls.
WRITERS = {"privacy/ledger.py", "storage.py", "privacy/journal.py"}


def tree(path):
    return ast.parse(path.read_text())


def room(path):
    """The folder, or the module beside the folders, to which a file belongs."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(source):
    """Rooms of the package that a module imports, in whatever form: ``import sinkgen.x``, ``from sinkgen import x``."""
    found = set()
    for node in ast.walk(source):
        names = []
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sinkgen":
            names = [node.module] if "." in node.module else [f"sinkgen.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split(".")[0] == "sinkgen"]
        assert not (isinstance(node, ast.ImportFrom) and node.level), "imports are absolute here"
        found |= {name.split(".")[1] if "." in name else "__init__" for name in names}
    # A name that is no room is one that the package itself gives: for it all of the package is imported.
    rooms = {room(path) for path in MODULES}
    return {name if name in rooms else "__init__" for name in found}


def levels():
    return {name: depth for depth, names in enumerate(LEVELS) for name in names}


def broken(own, others):
    """What of these imports a room may not have: names of rooms, with why."""
    level = levels()
    unknown = {other for other in {own, *others} if other not in level}
    if unknown:
        return {f"{name} is in no level of tests/test_layers.py" for name in unknown}
    upward = {
        f"{own} imports {other}, which is not below it"
        for other in others
        if other != own and level[other] >= level[own]
    }
    return upward | {f"{own} must never import {other}" for other in others & NEVER.get(own, set())}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downward_and_the_nevers_hold(path):
    others = imported(tree(path))
    # The command line starts with help alone, and imports the package where a command needs it.
    others -= {"__init__"} if room(path) == "cli" else set()
    assert not broken(room(path), others)


@pytest.mark.parametrize(
    ("own", "line", "why"),
    [
        ("denoise", "import sinkgen.privacy.mechanism", "denoise must never import privacy"),
        ("generators", "from sinkgen import records", "generators must never import records"),
        ("training", "from sinkgen.sources.open import open_records", "training must never import sources"),
        ("data", "from sinkgen.generators.space import Space", "not below it"),
        ("accounting", "from sinkgen import PrivacyLedger", "not below it"),
        ("attic", "import math", "attic is in no level"),
    ],
)
def test_what_is_forbidden_is_found(own, line, why):
    assert any(why in message for message in broken(own, imported(ast.parse(line))))


def test_few_files_lie_beside_the_rooms():
    assert len(list(PACKAGE.glob("*.py"))) <= 15


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_that_may_see_records_prints_or_logs(path):
    if str(path.relative_to(PACKAGE)) in WRITERS:
        return
    calls = [node.func for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    names = {func.id for func in calls if isinstance(func, ast.Name)}
    assert not names & {"print", "open", "input"}
    modules = {alias.name for node in ast.walk(tree(path)) if isinstance(node, ast.Import) for alias in node.names}
    assert not modules & {"logging", "sys"}


def called_methods(path):
    """Names of the methods that a module calls of other objects than ``self``."""
    calls = [node.func for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    return {
        func.attr for func in calls
        if isinstance(func, ast.Attribute) and not (isinstance(func.value, ast.Name) and func.value.id == "self")
    }  # fmt: skip


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_mechanism_adds_noise_and_only_it_evaluates_queries(path):
    called, place = called_methods(path), str(path.relative_to(PACKAGE))
    assert place == "privacy/mechanism.py" or not called & {"evaluate", "over"}
    assert place == "training/undeclared.py" or "release_labels" not in called
