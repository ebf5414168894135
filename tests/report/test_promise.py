"""What a review board reads: filled from the statement alone, true of it, and nothing rounded in its favour."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinkgen import PrivacySpent, board_text, html_report
from sinkgen.accounting import GaussianRelease, calibrate
from sinkgen.accounting.unit import RECORD, Unit
from sinkgen.report.promise import describe_privacy, percent


def statement(epsilon=1.0, unit=RECORD, **more):
    noise = calibrate(epsilon, 1e-5, 1.0, 1) if math.isfinite(epsilon) else 0.0
    return PrivacySpent.of([GaussianRelease("class counts", noise)], delta=1e-5, unit=unit, **more)


def test_the_text_holds_the_guarantee_its_meaning_and_every_release():
    text = board_text(statement(assumptions=["the range of each column"]), title="visits of 2020")
    assert text.startswith("# Privacy of synthetic data made from: visits of 2020\n")
    for part in ("epsilon = 1", "delta = 1e-05", "factor of at most 2.72", "the range of each column", "class counts"):
        assert part in text
    assert "One record is protected" in text
    assert "There is no protection" not in text
    assert max(map(len, text.splitlines())) < 400


def test_persons_are_named_and_their_rows_counted():
    text = board_text(statement(unit=Unit.of_groups(5)))
    assert "any one\nperson been left out" in text
    assert "count as 5 rows at most" in text
    assert "One record is protected" not in text
    assert "rows at most" not in board_text(statement(unit=Unit.of_groups(None)))


def test_the_page_names_whom_the_statement_protects():
    random = np.random.default_rng(0)
    X = random.normal(size=(60, 2))
    by_person = html_report(X, X, spent=statement(unit=Unit.of_groups(5)), random_state=0)
    assert "What is protected is one person, with all rows, which count as 5 at most." in by_person
    assert "one given person is among those" in by_person
    assert "Who stands in several records" not in by_person
    assert "What is protected is one record." in html_report(X, X, spent=statement(), random_state=0)


@pytest.mark.parametrize("spent", [statement(math.inf), statement(reproducible_noise=True)])
def test_a_fit_without_protection_is_called_one(spent):
    text = board_text(spent)
    assert "There is no protection" in text
    assert "factor of at most" not in text


def test_another_thing_than_a_statement_is_refused():
    with pytest.raises(TypeError, match="spent must be a PrivacySpent"):
        board_text("epsilon 1")


@given(st.floats(0.01, 13.0))
def test_numbers_are_never_below_what_holds(epsilon):
    facts = describe_privacy(statement(epsilon))
    spent = statement(epsilon).epsilon
    assert float(facts["factor"].replace(",", "")) >= math.exp(spent)
    odds = math.exp(spent) / 9
    assert float(facts["belief"].rstrip(" %")) / 100 >= odds / (1 + odds) - 1e-9
    assert float(facts["guess"].rstrip(" %")) / 100 >= statement(epsilon).best_guess() - 1e-9


def test_a_share_is_told_in_percent():
    assert (percent(0.123), percent(0.5), percent(0.1231, up=True)) == ("12.3 %", "50 %", "12.4 %")
