"""The types that are shipped: what is public is annotated in full, and a type checker can rely on it."""

import inspect
import re
from pathlib import Path

import pytest
from test_docstrings import PUBLIC

mypy = pytest.importorskip("mypy.api")
SCRIPTS = Path(__file__).parent / "typing"


def signatures():
    """The signature of every public function and method, and of every constructor that is written out."""
    for name, thing in PUBLIC.items():
        function = vars(thing).get("__init__") if inspect.isclass(thing) else inspect.unwrap(thing)
        if inspect.isfunction(function) and "sinkgen" in function.__module__ and function.__qualname__[:1] != "_":
            yield name, inspect.signature(function)


@pytest.mark.parametrize(("name", "signature"), list(signatures()))
def test_public_signatures_are_annotated_in_full(name, signature):
    if name in CONSTRUCTED:
        return
    left = [p.name for p in signature.parameters.values() if p.name not in ("self", "cls") and p.annotation is p.empty]
    assert not left
    assert signature.return_annotation is not signature.empty


# Named tuples, dataclasses and protocols: their fields are annotated, not a constructor that somebody wrote.
CONSTRUCTED = {
    name for name, thing in PUBLIC.items()
    if inspect.isclass(thing)
    and (hasattr(thing, "__dataclass_fields__") or hasattr(thing, "_fields") or getattr(thing, "_is_protocol", False))
}  # fmt: skip


# Inner parts of torch that no type of ours names, and that take as long to read as all else.
UNSEEN = (
    "_dynamo", "_export", "_functorch", "_higher_order_ops", "_inductor", "_subclasses", "ao", "distributed", "export",
    "fx", "onnx",
)  # fmt: skip


@pytest.fixture(scope="module")
def errors(tmp_path_factory):
    """Lines of each script in which `mypy --strict` finds a mistake."""
    folder = tmp_path_factory.mktemp("mypy")
    unseen = ",".join(f"torch.{part}.*" for part in UNSEEN)
    (folder / "mypy.ini").write_text(f"[mypy]\n[mypy-{unseen}]\nfollow_imports = skip\n")
    settings = ["--strict", "--follow-imports=silent", "--ignore-missing-imports", "--no-error-summary"]
    places = [f"--config-file={folder / 'mypy.ini'}", f"--cache-dir={folder / 'cache'}"]
    report, complaint, _ = mypy.run([*settings, *places, *map(str, SCRIPTS.glob("*.py"))])
    assert not complaint
    found = re.findall(r"(\w+\.py):(\d+): error", report)
    return {script.name: {int(line) for name, line in found if name == script.name} for script in SCRIPTS.glob("*.py")}


def test_a_correct_script_passes_strictly(errors):
    assert errors["consumer.py"] == set()


def test_every_mistake_of_a_script_is_found(errors):
    lines = (SCRIPTS / "mistaken.py").read_text().splitlines()
    marked = {n for n, line in enumerate(lines, 1) if line.endswith("# mistake")}
    assert len(marked) == 7
    assert errors["mistaken.py"] == marked
