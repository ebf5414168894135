"""What the privacy page counts, and the tests that its table names; `make privacy` runs those and prints the counts."""

import re
from collections import Counter
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "privacy.md"

# A test stands for one, or for what it records as "counts".
COUNTED = {
    "mutants caught / injected": ["test_mutants.py::test_mutants_are_caught", "test_distinguishing.py::test_a_tenth"],
    "kill points survived / tried": ["test_checkpoints.py::test_kill_9_at_twenty_random_points"],
    "malformed inputs refused / tried": [
        "test_malformed_input.py::test_malformed_input_is_refused",
        "test_accounting.py::test_bad_input_raises_at_once",
    ],
    "oracle points within bounds / all": [
        "test_accounting_oracles.py::test_grid",
        "test_accounting_oracles.py::test_one_kind",
        "test_accounting_oracles.py::test_other_deltas",
        "test_accounting_oracles.py::test_mixed_releases",
        "test_accounting_oracles.py::test_tensorflow_privacy",
        "test_accounting_oracles.py::test_opacus_own_tests",
        "test_accounting_oracles.py::test_microsoft",
    ],
}


def contracts():
    """Tests of each contract, by the page's table: {contract: [file.py or file.py::test]}."""
    rows = re.findall(r"^\| \*\*(.+?)\*\*.*\|(.*)\|$", PAGE.read_text(), flags=re.MULTILINE)
    return {name: re.findall(r"`(test_\w+\.py(?:::test_\w+)?)`", tests) for name, tests in rows}


def is_named(nodeid, names):
    """Whether a test's id belongs to one of the names."""
    place = nodeid.rpartition("/")[2]
    return any(place.startswith(name) for name in names)


def summary(reports):
    """Lines of counts, from the reports of tests that ran."""
    held, tried = Counter(), Counter()
    for title, names in COUNTED.items():
        for report in reports:
            if is_named(report.nodeid, names):
                n = dict(report.user_properties).get("counts", 1)
                tried[title] += n
                held[title] += n * report.passed
    for tests in contracts().values():
        own = [[report.passed for report in reports if is_named(report.nodeid, [name])] for name in tests]
        tried["contracts tested / all"] += 1
        held["contracts tested / all"] += all(own) and all(map(all, own))
    return [f"{title}: {held[title]} / {tried[title]}" for title in ("contracts tested / all", *COUNTED)]
