"""What must be known of the data besides the data: declared, learned on the budget, trusted, or refused."""

import warnings
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from sinkgen.data.formats import NumericFormat
from sinkgen.data.labels import LabelSet, declared_labels, label_set
from sinkgen.data.prior import Prior
from sinkgen.data.table import TableFormat
from sinkgen.exceptions import BadValueError, PrivacyLeakWarning

POLICIES = ("learn", "trust", "require")
LABELS = "classes (the set of labels)"

# Share of the budget (of mu squared) of each release that may be needed.
SHARES = {
    "bounds": 0.06, "categories": 0.1, "rare categories": 0.08, "bins": 0.3, "labels": 0.02, "count": 0.02,
    "outside": 0.005, "rows": 0.02,
}  # fmt: skip
# Steps of each: numbers are counted again in cells that get finer.
STEPS = {"bounds": 3, "bins": 4}
# Part of delta that each learned set takes.
OWN_DELTA = {"categories": 0.05, "rare categories": 0.05, "labels": 0.1}


@dataclass(frozen=True)
class Facts:
    """Public facts, so far as they are known before the first release.

    Attributes
    ----------
    form : NumericFormat or TableFormat
        What is not declared may still be missing in it.
    labels : LabelSet or None
        None where labels are unknown, or where there are none.
    y_dtype : numpy.dtype or None
        None without labels.
    assumptions : tuple of str
        What is public without having been released: for the privacy statement.
    prior : Prior or None
        Public records, where there are some.
    sums_alone : bool
        Whether the records can be asked for sums alone, and for nothing that is read off a sum before its noise.
    """

    form: NumericFormat | TableFormat
    labels: LabelSet | None
    y_dtype: np.dtype | None
    assumptions: tuple = field(default=())
    prior: Prior | None = None
    sums_alone: bool = False

    @property
    def missing(self):
        """Names of the releases that have to find what is missing, and whether what is declared fits."""
        outside = ("outside",) if self.form.declared or self.form.counted_rules else ()
        return (*self.form.missing, *["labels"] * self.labels_unknown, "count", *outside)

    @property
    def labels_unknown(self):
        """Whether there are labels, of a set that is not known."""
        return self.y_dtype is not None and self.labels is None

    @property
    def undeclared(self):
        """What the user could have declared and did not, for messages."""
        return (*self.form.undeclared, *[LABELS] * self.labels_unknown)


def collect(form, y, classes, policy, read_off=()):
    """Put together what the user declares, and settle the rest by policy.

    Parameters
    ----------
    form : NumericFormat or TableFormat
    y : ndarray or None
    classes : sequence or None
    policy : {"learn", "trust", "require"}
    read_off : tuple of str
        What was read off the records before, and so is no more private.

    Raises
    ------
    ValueError
        If something is missing and the policy is "require"; the message names the parameter.
    """
    labels = None if y is None or classes is None else declared_labels(classes, y)
    assumptions = ("shape and dtype of a record", *form.assumptions)
    assumptions += ("the set of labels, as declared",) if labels else ()
    assumptions += tuple(f"{fact}, read off the records" for fact in read_off)
    facts = Facts(form, labels, None if y is None else y.dtype, assumptions)
    undeclared = (*facts.undeclared, *read_off)
    if undeclared and policy == "require":
        raise BadValueError(f"metadata='require' and these are not declared: {', '.join(undeclared)}")
    return facts


def trust(facts, source):
    """Read what is missing off the data, with a warning and a line in the statement."""
    taken = facts.undeclared
    if not taken:
        return facts
    message = f"taken from the data as public, outside the privacy budget: {', '.join(taken)}"
    warnings.warn(message, PrivacyLeakWarning, stacklevel=5)  # the caller of fit
    form = facts.form
    extremes = source.reduce(partial(_extremes, form), partial(_join_extremes, form))
    labels = facts.labels
    if facts.labels_unknown:
        labels = label_set(sorted(source.reduce(_occurring, _union)), facts.y_dtype)
    return replace(facts, form=form.observe(extremes), labels=labels, assumptions=(*facts.assumptions, *taken))


def _extremes(form, chunks):
    return form.extremes(records.values for records in chunks)


def _join_extremes(form, shards):
    return form.extremes(extremes for extremes in shards if extremes is not None)


def _occurring(chunks):
    return _union(set(np.unique(records.labels).tolist()) for records in chunks)


def _union(sets):
    return set().union(*sets)
