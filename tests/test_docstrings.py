"""Every public name tells its parameters with their shapes, what it returns and raises, and shows an example that runs.

Examples are run where they stand (``--doctest-modules``, for all of the package); here they are counted.
"""

import ast
import importlib
import inspect
import re
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import pytest

import sinkgen
from sinkgen._validation import check_real

PACKAGE = Path(sinkgen.__file__).parent
# What they call would raise for values that their object cannot hold.
CHECKED_BEFORE = {"sinkgen.privacy.ledger.LedgerEntry.spent"}
SECTIONS = ("Parameters", "Attributes", "Returns", "Yields", "Raises", "Warns", "Notes", "References", "Examples")


def public_modules():
    """Every module without an underscore that says what is public by ``__all__``."""
    names = [".".join(("sinkgen", *path.relative_to(PACKAGE).with_suffix("").parts)) for path in PACKAGE.rglob("*.py")]
    names = [name.removesuffix(".__init__") for name in names]
    modules = [importlib.import_module(name) for name in sorted(names) if "._" not in name and "__" not in name]
    return [module for module in modules if hasattr(module, "__all__")]


def members(owner, name, thing):
    """A public thing and, of a class, its public methods and properties; those of our mixins, too."""
    yield name, thing
    if not inspect.isclass(thing) or issubclass(thing, BaseException):
        return
    mixins = [base for base in thing.__mro__ if base.__module__.startswith("sinkgen") and "Mixin" in base.__name__]
    for key, member in [pair for part in (thing, *mixins) for pair in vars(part).items()]:
        function = member
        for wrapper in ("__func__", "fget", "func", "fn"):  # classmethod, property, cached_property, available_if
            function = getattr(function, wrapper, function)
        if not key.startswith("_") and inspect.isfunction(function):
            yield f"{name}.{key}", function


def public_names():
    """Every public class, function and method once, under its shortest name."""
    found = {}
    for module in public_modules():
        for key in module.__all__:
            thing = getattr(module, key)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                for name, member in members(module, f"{module.__name__}.{key}", thing):
                    known = found.get(id(member))
                    if known is None or len(name) < len(known[0]):
                        found[id(member)] = name, member
    return dict(sorted(found.values()))


PUBLIC = public_names()


def sections(thing):
    """Sections of a docstring by their titles; the summary under ``""``."""
    parts = re.split(rf"^({'|'.join(SECTIONS)})\n-+\n", inspect.getdoc(thing) or "", flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


class Entry(NamedTuple):
    """What a section says of a name."""

    kind: str
    text: str


def described(section):
    """Names that a section describes, each with its entry: ``x, y : kind`` counts for both."""
    entries = re.findall(r"^(\S.*?)(?: : (.*))?\n((?:[ ]+.*\n|\n)*)", section.rstrip() + "\n", flags=re.MULTILINE)
    return {name.lstrip("*"): Entry(kind or names, text) for names, kind, text in entries for name in names.split(", ")}


def parameters(thing):
    """Names that a caller may give."""
    if inspect.isclass(thing) and (getattr(thing, "_is_protocol", False) or issubclass(thing, BaseException)):
        return []
    return [name for name in inspect.signature(thing).parameters if name not in ("self", "cls")]


# --- What a function returns and raises, as far as its source tells --------------------------------------------------


def body(thing):
    """Syntax tree of a function."""
    return ast.parse(inspect.cleandoc("\n" + inspect.getsource(inspect.unwrap(thing)))).body[0]


def raises_itself(node):
    return any(isinstance(inner, ast.Raise) and inner.exc is not None for inner in ast.walk(node))


def called(node):
    """Names of functions, and of methods of ``self``, that are called."""
    calls = [inner.func for inner in ast.walk(node) if isinstance(inner, ast.Call)]
    names = {func.id for func in calls if isinstance(func, ast.Name)}
    own = {f.attr for f in calls if isinstance(f, ast.Attribute) and getattr(f.value, "id", "") in ("self", "cls")}
    return names | own


def raising_names():
    """Names of the package's functions that raise, or call one that does; scikit-learn's check of a fit among them."""
    nodes = [node for path in PACKAGE.rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))]
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
    found, before = {"check_is_fitted"} | {node.name for node in functions if raises_itself(node)}, None
    while found != before:
        before = set(found)
        found |= {node.name for node in functions if called(node) & found}
    return found - {"__init__", "__post_init__"}


RAISING = raising_names()


def may_raise(thing):
    """Whether calling a public thing may raise, by itself or by what it calls in this package."""
    if inspect.isclass(thing) and (getattr(thing, "_is_protocol", False) or issubclass(thing, BaseException)):
        return False
    functions = [vars(thing).get(key) for key in ("__init__", "__post_init__")] if inspect.isclass(thing) else [thing]
    functions = [function for function in functions if inspect.isfunction(function) and is_ours(function)]
    return any(raises_itself(node) or called(node) & RAISING for node in map(body, functions))


def is_ours(function):
    """Whether a function is written, not made by a decorator."""
    return inspect.getsourcefile(inspect.unwrap(function)) not in (None, "<string>")


def gives_back(thing):
    """Whether a function returns something."""
    nodes = [node for node in ast.walk(body(thing)) if isinstance(node, ast.Return)]
    return any(node.value is not None for node in nodes)


# --- What is missing -------------------------------------------------------------------------------------------------


def of_a_protocol(name):
    """Whether a method is told by the protocol that its class follows; its own docstring says what it does."""
    owner, _, method = name.rpartition(".")
    owner = PUBLIC.get(owner)
    told = [vars(p) for p in PUBLIC.values() if getattr(p, "_is_protocol", False) and p is not owner]
    return inspect.isclass(owner) and any(method in names for names in told)


def is_of_a_protocol_itself(name):
    """Whether a method has no body, so that no example of it can run."""
    return getattr(PUBLIC.get(name.rpartition(".")[0]), "_is_protocol", False)


def is_property(name):
    """Whether it is read without a call."""
    owner, _, key = name.rpartition(".")
    return isinstance(vars(PUBLIC.get(owner, object)).get(key), (property, cached_property))


def missing(name, thing):
    """What the docstring of a public name lacks."""
    told = sections(thing)
    entries = {key: described(told.get(key, "")) for key in ("Parameters", "Attributes", "Returns")}
    if not told[""].strip():
        yield "docstring"
    if of_a_protocol(name):
        return
    for parameter in parameters(thing):
        if parameter not in entries["Parameters"] | (entries["Attributes"] if inspect.isclass(thing) else {}):
            yield f"parameter {parameter}"
    for parameter in set(entries["Parameters"]) - set(parameters(thing)):
        yield f"no parameter {parameter}"
    for key, entry in (pair for found in entries.values() for pair in found.items()):
        if re.search(r"\b(array|ndarray|Tensor)\b", entry.kind) and not re.search("shape|[(]n", "".join(entry)):
            yield f"shape of {key}"
    if not is_property(name):
        if inspect.isfunction(thing) and gives_back(thing) and not told.keys() & {"Returns", "Yields"}:
            yield "Returns"
        if may_raise(thing) and "Raises" not in told and name not in CHECKED_BEFORE:
            yield "Raises"
    if ">>> " not in told.get("Examples", "") and not is_of_a_protocol_itself(name):
        yield "Examples"


@pytest.mark.parametrize("name", PUBLIC)
def test_docstring_is_whole(name):
    assert not list(missing(name, PUBLIC[name]))


def test_what_is_missing_is_found():
    def no_docstring(x):
        raise ValueError

    def bare(x):
        """Do.

        Parameters
        ----------
        x : Tensor
        y : int
        """
        return check_real("x", x)

    assert list(missing("no_docstring", no_docstring)) == ["docstring", "parameter x", "Raises", "Examples"]
    assert list(missing("bare", bare)) == ["no parameter y", "shape of x", "Returns", "Raises", "Examples"]


def test_public_modules_are_those_that_users_import():
    names = {module.__name__ for module in public_modules()}
    assert names >= {"sinkgen", "sinkgen.accounting", "sinkgen.exceptions", "sinkgen.privacy.ledger", "sinkgen.ot"}
    assert all(module.__doc__ for module in public_modules())
