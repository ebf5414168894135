"""What a privacy statement promises, in numbers that a person reads; for the report's page and for a review board."""

import math
from decimal import ROUND_CEILING, Context
from typing import Any

import numpy as np

from sinkgen.accounting import PrivacySpent
from sinkgen.accounting.unit import PERSONS
from sinkgen.exceptions import BadTypeError

__all__ = ["board_text"]

PRIOR = 0.1  # how likely the reader of the text for a board holds it that somebody takes part, before


def board_text(spent: PrivacySpent, *, title: str = "[name of the data]") -> str:
    """Return the text that a review board or a data protection officer needs of a fit, in plain words.

    It is drafted from the statement alone, so it may be shown to anyone. What no statement can know, such as the
    purpose and how the declared facts were known, is left open in square brackets.

    Parameters
    ----------
    spent : PrivacySpent
        The statement: ``gen.privacy_spent()``, or the total of a ledger.
    title : str, default="[name of the data]"
        Of the data.

    Returns
    -------
    str
        Markdown.

    Raises
    ------
    ModuleNotFoundError
        If jinja2 is missing.
    TypeError
        If ``spent`` is no statement.

    Examples
    --------
    >>> from sinkgen.accounting import GaussianRelease
    >>> text = board_text(PrivacySpent.of([GaussianRelease("means", 4.0)], delta=1e-5), title="Census of 2020")
    >>> print(text.splitlines()[0])
    # Privacy of synthetic data made from: Census of 2020
    """
    if not isinstance(spent, PrivacySpent):
        raise BadTypeError(f"spent must be a PrivacySpent, as privacy_spent() returns it, got {type(spent).__name__}")
    return render("board.md", title=title, **describe_privacy(spent)) + "\n"


def render(name, **page):
    """One of the report's templates, filled; cells are escaped where it is HTML."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sinkgen.report"), autoescape=name.endswith(".html"), trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    return environment.get_template(name).render(page)


def describe_privacy(spent: PrivacySpent) -> dict[str, Any]:
    """What is said of a :class:`~sinkgen.PrivacySpent`, as texts and numbers; bounds are rounded upwards.

    Examples
    --------
    >>> from sinkgen.accounting import GaussianRelease
    >>> facts = describe_privacy(PrivacySpent.of([GaussianRelease("means", 4.0)], delta=1e-5))
    >>> facts["guess"], facts["factor"], facts["belief"]
    ('55 %', '2.53', '22 %')
    """
    is_person = spent.neighbours == PERSONS
    guess = spent.best_guess()
    return {
        "is_private": math.isfinite(spent.epsilon) and not spent.reproducible_noise,
        "reproducible": spent.reproducible_noise,
        "headline": str(spent).splitlines()[0].rstrip("."),
        "guess": percent(guess, up=True),
        "mark": round(200 * (guess - 0.5), 1),
        "factor": _factor(spent.epsilon),
        "prior": percent(PRIOR),
        "belief": percent(_belief(spent.epsilon), up=True),
        "delta": np.format_float_positional(spent.delta, trim="-"),
        "unit": "person" if is_person else "record",
        "max_rows": spent.max_rows if is_person else None,
        "assumptions": spent.assumptions,
        "remarks": spent.remarks,
        "statement": str(spent),
    }


def _belief(epsilon):
    """What a belief of :data:`PRIOR` that somebody takes part may at most become, but for delta."""
    odds = PRIOR / (1 - PRIOR) * math.exp(min(epsilon, 700.0))
    return odds / (1 + odds)


def _factor(epsilon):
    factor = math.exp(min(epsilon, 700.0))
    if factor >= 1e6:
        return "more than a million"
    rounded = Context(prec=3 if factor < 1000 else 6, rounding=ROUND_CEILING).create_decimal_from_float(factor)
    return f"{rounded:f}" if factor < 1000 else f"{math.ceil(rounded):,}"


def percent(share, up=False):
    """A share as text; with ``up``, never less than it is."""
    value = math.ceil(1000 * share - 1e-9) / 10 if up else 100 * share
    return f"{value:.1f}".removesuffix(".0") + " %"
