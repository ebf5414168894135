"""What an import brings: nothing heavy, until it is used."""

import subprocess
import sys

import pytest

import sinkgen

HEAVY = ("torch", "numpy", "scipy", "sklearn", "pandas", "ot", "opacus")


def _imported(program):
    """Which heavy libraries a fresh interpreter holds after a program."""
    program = f"{program}\nimport sys\nprint([name for name in {HEAVY} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return run.stdout.splitlines()[-1]


@pytest.mark.parametrize("program", ["import sinkgen", "import sinkgen; dir(sinkgen)", "import sinkgen.cli.app"])
def test_an_import_waits_for_nothing_heavy(program):
    assert _imported(program) == "[]"


def test_a_schema_and_an_error_need_no_torch():
    assert "torch" not in _imported("from sinkgen import Column, Schema, DataFreeError, PoorFitWarning")


def test_every_public_name_is_there():
    assert {name: getattr(sinkgen, name) for name in sinkgen.__all__}.keys() >= {"DPSinkhornGenerator", "ot", "Schema"}
    with pytest.raises(AttributeError, match="sinkgen attribute nothing"):
        _ = sinkgen.nothing
