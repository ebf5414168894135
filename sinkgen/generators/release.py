"""All that a fit released: public, and with its statement. Nothing in this module sees a record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from sinkgen.accounting import PrivacySpent
from sinkgen.data.formats import NumericFormat
from sinkgen.data.labels import LabelSet
from sinkgen.data.table import TableFormat
from sinkgen.generators import answers
from sinkgen.generators.answers import Marginal
from sinkgen.generators.quality import FittedSchema
from sinkgen.inference.counts import NoisyCounts
from sinkgen.inference.estimates import Estimate
from sinkgen.inference.moments import NoisyMoments


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
    counts : tuple of NoisyCounts
        Counts of columns and of combinations of columns as they were released, with their noise: what direct answers
        are made of. Empty of models that older versions saved; answers are then the model's, and say so.
    moments : NoisyMoments or None
        Mean products of the ranks of any two columns as they were released, with their noise; None where they were not.

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
    counts: tuple[NoisyCounts, ...] = ()
    moments: NoisyMoments | None = None

    def marginal(self, columns: Any) -> Marginal:
        """Shares of the records in the cells of a column, or of a few together, with standard errors.

        Where these counts were released, the answer is what was released: unbiased, with the known noise, which draws
        of the model are not. Else it is of draws of the model, and says so.

        Parameters
        ----------
        columns : str, int or list of them
            Names of columns; "label" is the label, where no column is called so.

        Returns
        -------
        Marginal

        Raises
        ------
        TypeError, ValueError
            If the release is not of a table, or a column is unknown.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> from sinkgen import DPSinkhornGenerator
        >>> people = pd.DataFrame({"sex": ["F", "M"] * 500, "smokes": ["no", "no", "no", "yes"] * 250})
        >>> schema = {"sex": ["F", "M"], "smokes": ["no", "yes"]}
        >>> release = DPSinkhornGenerator(epsilon=20, schema=schema).fit(people).release_
        >>> found = release.marginal(["sex", "smokes"])
        >>> found.shares.shape, found.origin, bool(abs(found.shares[1, 1] - 0.25) < 5 * found.privacy_errors[1, 1])
        ((2, 2), 'released', True)
        """
        return answers.marginal(self, columns)

    def histogram(self, column: str | int) -> Marginal:
        """Shares of the records in the bins, or the categories, of one column: its marginal.

        Parameters
        ----------
        column : str or int

        Returns
        -------
        Marginal

        Raises
        ------
        TypeError, ValueError
            As for :meth:`marginal`.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> from sinkgen import Column, DPSinkhornGenerator
        >>> ages = pd.DataFrame({"age": np.arange(1000) % 80})
        >>> release = DPSinkhornGenerator(20, schema={"age": Column(edges=(0, 40, 80))}).fit(ages).release_
        >>> release.histogram("age").cells
        ([Interval(0.0, 40.0, closed='left'), Interval(40.0, 80.0, closed='left')],)
        """
        return answers.histogram(self, column)

    def mean(self, column: str | int) -> Estimate:
        """Mean of a column of numbers, dates in seconds since 1970, of the records where it is not missing.

        Shares of its bins are what was released; where in a bin its numbers lie, on average, is the model's. Numbers
        beyond the bounds count as these.

        Parameters
        ----------
        column : str or int

        Returns
        -------
        Estimate

        Raises
        ------
        TypeError, ValueError
            As for :meth:`marginal`, and if the column holds categories.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> from sinkgen import DPSinkhornGenerator
        >>> ages = pd.DataFrame({"age": np.arange(2000) % 80})
        >>> low, high = DPSinkhornGenerator(20, schema={"age": (0, 80)}).fit(ages).release_.mean("age").interval(0.999)
        >>> bool(low < 39.5 < high)
        True
        """
        return answers.mean(self, column)

    def proportion(self, conditions: Mapping[Any, Any]) -> Estimate:
        """Share of the records that meet a condition.

        Parameters
        ----------
        conditions : dict of one column
            As :meth:`sinkgen.DPSinkhornGenerator.sample` takes them: a category or a list of them, a number or date,
            ``(low, high)``, of which either may be None for no end, or None for a missing cell.

        Returns
        -------
        Estimate

        Raises
        ------
        TypeError, ValueError
            As for :meth:`marginal`, and if the condition is none of that column.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> from sinkgen import DPSinkhornGenerator
        >>> ages = pd.DataFrame({"age": np.arange(2000) % 80})
        >>> release = DPSinkhornGenerator(20, schema={"age": (0, 80)}).fit(ages).release_
        >>> abs(release.proportion({"age": (20, 39)}).estimate - 0.25) < 0.1
        True
        """
        return answers.proportion(self, conditions)
