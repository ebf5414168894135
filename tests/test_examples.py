"""Every script of the gallery runs as it stands, warns of nothing, and draws at least one picture that is not blank."""

import runpy
from pathlib import Path

import matplotlib
import numpy as np
import pytest

EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "examples").glob("*.py"))
QUICK = {"plot_digits", "plot_promise", "plot_transport"}


@pytest.fixture
def figures(monkeypatch):
    """Matplotlib without a screen; what is open when the script ends."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "show", lambda *args, **kwargs: None)
    plt.close("all")
    yield lambda: [plt.figure(number) for number in plt.get_fignums()]
    plt.close("all")


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, id=p.stem, marks=[] if p.stem in QUICK else [pytest.mark.slow]) for p in EXAMPLES],
)
def test_runs_and_draws(path, figures, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SINKGEN_OUTPUT", raising=False)
    runpy.run_path(str(path), run_name="__main__")
    drawn = figures()
    assert drawn
    for figure in drawn:
        figure.canvas.draw()
        assert np.asarray(figure.canvas.buffer_rgba())[..., :3].std() > 5
    capsys.readouterr()


def test_every_example_is_a_page_of_the_gallery():
    order = (Path(__file__).resolve().parents[1] / "docs" / "conf.py").read_text()
    for path in EXAMPLES:
        assert f'"{path.stem.removeprefix("plot_")}"' in order, path
        assert path.stem.startswith("plot_")
        assert path.read_text().lstrip("r").startswith('"""\n'), path
