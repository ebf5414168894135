"""What must be known of the data besides the data: declared, learned on the budget, trusted, or refused."""

import warnings
from dataclasses import dataclass, field

import numpy as np

from sinkgen.data.labels import LabelSet, declared_labels, label_set
from sinkgen.exceptions import PrivacyLeakWarning
from sinkgen.queries import MagnitudeQuery, bounds_from_magnitudes

POLICIES = ("learn", "trust", "require")
UNKNOWN = {"bounds": "schema (bounds of the numbers)", "labels": "classes (the set of labels)"}

# Share of the budget (of mu squared) of each release that may be needed.
SHARES = {"bounds": 0.03, "labels": 0.02, "count": 0.02}
# Part of delta that a learned label set takes.
LABEL_DELTA = 0.1


@dataclass(frozen=True)
class Metadata:
    """Public facts, so far as they are known before the first release.

    Attributes
    ----------
    form : NumericFormat
        Its bounds may still be None.
    labels : LabelSet or None
        None where labels are unknown, or where there are none.
    y_dtype : numpy.dtype or None
        None without labels.
    assumptions : tuple of str
        What is public without having been released: for the privacy statement.
    """

    form: object
    labels: LabelSet | None
    y_dtype: np.dtype | None
    assumptions: tuple = field(default=())

    @property
    def missing(self):
        """Names of the releases that have to find what is missing."""
        bounds = () if self.form.bounds else ("bounds",)
        return bounds + (("labels",) if self.y_dtype is not None and self.labels is None else ("count",))


def collect(form, y, classes, policy):
    """Put together what the user declares, and settle the rest by policy.

    Parameters
    ----------
    form : NumericFormat
    y : ndarray or None
    classes : sequence or None
    policy : {"learn", "trust", "require"}

    Raises
    ------
    ValueError
        If something is missing and the policy is "require"; the message names the parameter.
    """
    labels = None if y is None or classes is None else declared_labels(classes, y)
    assumptions = ("shape and dtype of a record",)
    assumptions += ("bounds of the numbers, as declared or by dtype",) if form.bounds else ()
    assumptions += ("the set of labels, as declared",) if labels else ()
    metadata = Metadata(form, labels, None if y is None else y.dtype, assumptions)
    unknown = [UNKNOWN[what] for what in metadata.missing if what in UNKNOWN]
    if unknown and policy == "require":
        raise ValueError(f"metadata='require' and these are not declared: {', '.join(unknown)}")
    return metadata


def trust(metadata, X, y):
    """Read what is missing off the data, with a warning and a line in the statement."""
    taken = [UNKNOWN[what] for what in metadata.missing if what in UNKNOWN]
    if not taken:
        return metadata
    message = f"taken from the data as public, outside the privacy budget: {', '.join(taken)}"
    warnings.warn(message, PrivacyLeakWarning, stacklevel=4)
    form, labels = metadata.form, metadata.labels
    if form.bounds is None:
        rows = np.asarray(X, dtype=np.float64).reshape(len(X), form.n_groups, -1)
        low, high = rows.min((0, 2)), rows.max((0, 2))
        form = form.with_bounds(np.stack([low, np.where(high > low, high, low + 1)], 1))
    if labels is None and y is not None:
        labels = label_set(np.unique(y).tolist(), y.dtype)
    return Metadata(form, labels, metadata.y_dtype, (*metadata.assumptions, *taken))


def learn_form(metadata, source, mechanism):
    """The format with bounds: those it has, or released ones."""
    if metadata.form.bounds:
        return metadata.form
    query = MagnitudeQuery(metadata.form.n_groups, metadata.form.n_encoded)
    noise = mechanism.noise_multiplier("bounds") * query.sensitivity
    counts = mechanism.release("bounds", query, source)
    return metadata.form.with_bounds(bounds_from_magnitudes(counts, noise).tolist())


def learn_labels(metadata, source, mechanism):
    """The label set and noisy counts of its labels; None each where they were not to be learned.

    Raises
    ------
    ValueError
        If no label occurs often enough to stand out; the budget is spent then.
    """
    if "labels" not in metadata.missing:
        return metadata.labels, None
    kept = mechanism.release_labels("labels", source)
    if not kept.labels:
        raise ValueError("no label occurs often enough to be learned on this budget; declare classes")
    return label_set(kept.labels, metadata.y_dtype), kept.counts
