"""The mechanism "marginals", for tables: a mixture where there are labels or owners, else a field."""

from sinkgen.data.facts import Facts
from sinkgen.exceptions import BadValueError
from sinkgen.training.stage import Schedule, Stage, Trained
from sinkgen.training.tables.field import FieldSettings, plan_field, train_field
from sinkgen.training.tables.people.stage import PeopleSettings, plan_people, train_people
from sinkgen.training.tables.tabular import plan_mixture, train_mixture


def plan_marginals(mu: float, facts: Facts, given: dict) -> Schedule:
    """Settings and releases, from the budget's Gaussian-DP parameter and public facts alone."""
    if given.get("whole_groups"):
        return plan_people(mu, facts, given)
    given = {name: value for name, value in given.items() if name != "whole_groups"}
    if facts.y_dtype is not None:
        if "target" in given:
            raise BadValueError(
                "target is for tables without y, which is what is predicted where it is given: leave one out"
            )
        if "weight" in given:
            raise BadValueError("weight is for tables without y: leave one out, or make y one of the table's columns")
        return plan_mixture(mu, facts, given)
    if facts.sums_alone:  # a field asks how far pairs are from independent, which is no sum
        if not {"target", "weight"}.isdisjoint(given):
            raise BadValueError("target and weight need records of one owner: leave them out, or give the target as y")
        return plan_mixture(mu, facts, given)
    others = sorted(given.keys() - {"target", "weight"})
    if others:
        raise BadValueError(f"settings of Marginals are for tables with labels; leave out {', '.join(others)}")
    return plan_field(facts.form, given.get("target", ()), given.get("weight", {}))


def train_marginals(stage: Stage) -> Trained:
    """From encoded records, cells (m, n_columns) with classes, to what draws them."""
    if isinstance(stage.settings, PeopleSettings):
        return train_people(stage)
    return train_field(stage) if isinstance(stage.settings, FieldSettings) else train_mixture(stage)
