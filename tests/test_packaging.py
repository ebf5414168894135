"""What a release says of itself in several places is the same in all."""

import configparser
import re
from pathlib import Path

from sinkgen import __version__

ROOT = Path(__file__).parent.parent


def test_versions_agree():
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1]
    changed = re.search(r"^## \[([0-9.]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    assert cited == changed == __version__


def test_extras_stand_on_the_page():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = dict(setup["options.extras_require"])
    page = (ROOT / "docs" / "install.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(extras)
    of_all = re.search(r"sinkgen\[(.+)\]", extras["all"])[1].split(",")
    assert set(of_all) == extras.keys() - {"all", "docs", "flower", "test"}
