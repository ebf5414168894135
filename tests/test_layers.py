"""The order of the rooms, and what may never import what, read off the source.

Raw records reach the outside by the mechanism alone; who may touch what is a matter of folders here, so that a module
that nobody thought of is an error.
"""

import ast
import functools
from pathlib import Path

import pytest

import sinkgen

PACKAGE = Path(sinkgen.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
# Rooms (folders) and the modules beside them, from the bottom: a room imports from those below and from itself.
LEVELS = [
    {"_types", "_version", "exceptions"},
    {"_validation", "_device", "_durable", "_groups", "progress"},
    {"accounting", "denoise", "inference", "ot", "records", "settings"},
    {"images", "privacy", "report"},
    {"data"},
    {"lite"},
    {"generators", "sources"},
    {"parameters", "storage", "training"},
    {"fitting", "sampling"},
    {"estimator"},
    {"auditing", "planning"},
    {"cli", "federated", "local", "tstr"},
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
WRITERS = {"privacy/ledger.py", "storage.py", "privacy/journal.py", "federated/memory.py"}


@functools.cache
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


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_function_takes_more_than_six_positional_arguments(path):
    for function in ast.walk(tree(path)):
        if isinstance(function, ast.FunctionDef):
            names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
            # What an object, a class or torch's autograd hands in is not counted.
            assert len(set(names) - {"self", "cls", "ctx"}) <= 6, function.name


def test_few_files_lie_beside_the_rooms():
    assert len(list(PACKAGE.glob("*.py"))) <= 16


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
    # An audit's adversary knows all records but one, and what each query gives of them.
    asking = {"privacy/mechanism.py", "privacy/shares.py", "auditing/twins.py"}
    assert place in asking or not called & {"evaluate", "over"}
    assert place == "training/undeclared.py" or "release_labels" not in called


# --- The wall --------------------------------------------------------------------------------------------------------

# Every way to read records, and who may go it: the mechanism's room, the doors for data, and `trust` of the facts.
READERS = {"unseal", "_SOURCES", "ArraySource", "ChunkedSource", "open_records"}
READING_METHODS = READERS | {"gather", "reduce", "chunks"}
MAY_READ = {"privacy", "sources", "records"}
READS = {
    "data/facts.py": {"reduce"}, "estimator.py": {"open_records"}, "federated/owner.py": {"open_records"},
    "federated/coordinator.py": {"open_records"},  # of a template
    "auditing/audit.py": {"open_records"}, "auditing/twins.py": {"gather"},  # the adversary knows the others
}  # fmt: skip
# Torch has a gather of its own; rooms that can never hold a source of records are free of the rule.
CANNOT_HOLD_RECORDS = {"accounting", "denoise", "generators", "images", "ot", "report"}
MUTATORS = {"append", "extend", "insert", "add", "update", "setdefault", "put", "write", "copy_", "send", "save"}


def reads(source):
    """Names of the ways to read records that a module goes."""
    nodes = list(ast.walk(source))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    names |= {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    return names & READERS | {node.attr for node in nodes if isinstance(node, ast.Attribute)} & READING_METHODS


def sees_records(function):
    """Whether a function is one of those that are given records: by the name of a parameter, everywhere here."""
    return any(argument.arg in {"records", "encoded", "r"} for argument in function.args.args)


def keeps(function):
    """Whether a function puts something where it stays when the function has returned."""
    nodes = list(ast.walk(function))
    local = {argument.arg for node in nodes if isinstance(node, FUNCTIONS) for argument in node.args.args}
    local |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    local -= {"self"}

    def is_local(node):
        while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
            node = node.func if isinstance(node, ast.Call) else node.value
        return not isinstance(node, ast.Name) or node.id in local

    stored = [node for node in nodes if isinstance(node, (ast.Attribute, ast.Subscript))]
    stored = [node for node in stored if isinstance(node.ctx, (ast.Store, ast.Del))]
    calls = [node.func for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    calls = [func.value for func in calls if func.attr in MUTATORS]
    return any(isinstance(node, (ast.Nonlocal, ast.Global)) for node in nodes) or not all(
        is_local(node) for node in [*stored, *calls]
    )


FUNCTIONS = (ast.FunctionDef, ast.Lambda)


def keepers(source):
    """Lines of the functions that are given records and keep something."""
    functions = [node for node in ast.walk(source) if isinstance(node, FUNCTIONS) and sees_records(node)]
    return [function.lineno for function in functions if keeps(function)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_records_are_read_by_the_mechanism_alone(path):
    if room(path) in MAY_READ | CANNOT_HOLD_RECORDS:
        return
    assert reads(tree(path)) <= READS.get(str(path.relative_to(PACKAGE)), set())


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_is_given_records_keeps_nothing(path):
    if room(path) in {"training", "fitting", "privacy"}:
        assert not keepers(tree(path))


@pytest.mark.parametrize(
    "lines",
    [
        "raw = torch.cat([chunk.values for chunk in source.gather()])\npoints = raw[cdist(points, raw).argmin(1)]",
        "raw = source.reduce(list, sum)",
        "from sinkgen.privacy.sealed import unseal",
        "raw = list(sealed._SOURCES.values())",
    ],
)
def test_lines_that_read_records_are_found(lines):
    assert reads(ast.parse(lines))


@pytest.mark.parametrize(
    "lines",
    [
        "source.map(lambda records: kept.append(records.values) or records)",
        "def keep(records):\n    nonlocal seen\n    seen = records\n    return records",
        "def keep(records):\n    kept[0] = records\n    return records",
        "class Query:\n    def contribution(self, records):\n        self.seen = records",
        "def keep(records):\n    points.data.copy_(records.values)\n    return records",
    ],
)
def test_functions_that_keep_what_they_are_given_are_found(lines):
    assert keepers(ast.parse(lines))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_errors_are_of_classes_of_their_own(path):
    """What this package raises holds no data, and says so by its class: the command line may show it."""
    if room(path) == "exceptions":
        return
    raised = [node.exc for node in ast.walk(tree(path)) if isinstance(node, ast.Raise)]
    names = {error.func.id for error in raised if isinstance(error, ast.Call) and isinstance(error.func, ast.Name)}
    assert not names & {"Exception", "ValueError", "TypeError", "RuntimeError", "ImportError"}
