"""All that a fit released: public, and with its statement. Nothing in this module sees a record."""

from dataclasses import dataclass, field

import torch

from sinkgen.accounting import PrivacySpent
from sinkgen.data.formats import NumericFormat
from sinkgen.data.labels import LabelSet
from sinkgen.data.table import TableFormat
from sinkgen.generators.quality import FittedSchema


@dataclass(frozen=True)
class Release:
    """All that a fit released. Whatever is made of it costs no more privacy.

    Attributes
    ----------
    generator : torch.nn.Module
        Draws encoded records: ``draw(labels, random)``.
    class_weights : Tensor of shape (n_classes,)
        Released frequency of each class; sum 1.
    form : NumericFormat or TableFormat
        How encoded records become what the user gave.
    labels : LabelSet or None
        None if the fit had no labels.
    spent : PrivacySpent
        The statement.
    schema : FittedSchema
        How well columns and classes are known; empty of models that older versions saved.

    Examples
    --------
    >>> import numpy as np
    >>> from sinkgen import DPSinkhornGenerator
    >>> X, y = np.random.default_rng(0).normal(size=(500, 2)), np.arange(500) % 2
    >>> release = DPSinkhornGenerator(epsilon=5, schema=(-4, 4), classes=[0, 1]).fit(X, y).release_
    >>> release.class_weights.shape, release.spent.epsilon <= 5
    (torch.Size([2]), True)
    """

    generator: torch.nn.Module
    class_weights: torch.Tensor
    form: NumericFormat | TableFormat
    labels: LabelSet | None
    spent: PrivacySpent
    schema: FittedSchema = field(default_factory=FittedSchema)
