"""What is drawn of a fitted estimator: records as they are asked for, data sets, groups, and many in partitions."""

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from sinkgen._types import Path, RandomState
from sinkgen._validation import check_integer
from sinkgen.data.check import check_labels
from sinkgen.data.table import TableFormat
from sinkgen.exceptions import BadTypeError, BadValueError, PoorFitWarning
from sinkgen.generators.bulk import Bulk, draw_groups, to_dask, to_parquet
from sinkgen.generators.conditioned import Conditioned
from sinkgen.generators.field import Field
from sinkgen.generators.people import PeopleMixture
from sinkgen.generators.posterior import Posterior
from sinkgen.generators.product import ProductMixture, stratified
from sinkgen.images.augment import AUGMENTATIONS, Augmented
from sinkgen.parameters import is_auto, torch_device, torch_stream
from sinkgen.training.rehearsal import check_device


class SamplingMixin:
    """Draws of what an estimator has released; no record is at hand here, and nothing is spent.

    Attributes
    ----------
    release_ : Release
    generator_ : torch.nn.Module
        Made of the release.
    augment : str, callable or None
        Of the estimator's parameters: how images vary beyond what was released.
    """

    release_: Any
    generator_: Any
    augment: str | Callable[..., Any] | None

    def sample(
        self,
        n_samples: int = 1,
        *,
        y: Any = None,
        conditions: Mapping[Any, Any] | None = None,
        n_groups: int | None = None,
        order_by: Any = None,
        device: str | None = None,
        random_state: RandomState = None,
    ) -> Any:
        """Draw synthetic records.

        Parameters
        ----------
        n_samples : int, default=1
            Number of records; not used where ``y`` is given.
        y : array of shape (n,), default=None
            Labels of the records wanted, in that order. By default labels come as often as their released frequencies
            say, in random order.
        conditions : dict, default=None
            For tables: what the records drawn have in common. Column to a category or a list of them, a number or date,
            ``(low, high)``, of which either may be None for no end, or None for a missing cell.
        n_groups : int, default=None
            Number of groups to draw, each with all its rows, instead of ``n_samples`` records; for tables that were
            fitted with ``groups`` and ``mechanism=Marginals(whole_groups=True)``. Each has a made-up id.
        order_by : str or int, default=None
            Column of numbers or dates by which the rows of a group are sorted. By default the first column of dates
            that changes within groups, if there is one.
        device : str, default=None
            Torch device on which arrays and images are drawn; by default that of the model, which is the processor, or
            what :meth:`load` was told. Tables are drawn on the processor. Random numbers are those of one stream of
            the processor: with a ``random_state`` the records are the same on any device, up to how it rounds.
        random_state : int, numpy.random.RandomState, numpy.random.Generator or None, default=None
            Without one, every call draws other records.

        Returns
        -------
        X : ndarray or data frame
            Like the array or table fitted: shape of a record, columns, dtypes, range of values.
        y : ndarray of shape (n,)
            Only if the estimator was fitted with labels.
        groups : Series of shape (n,)
            Only with ``n_groups``: the ids. Where ``fit`` was given the name of a column they are that column of X, and
            not returned beside it.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If ``n_samples`` is not positive, ``y`` holds a label that the generator does not know, or conditions name
            what the table lacks or cannot be met; or groups are wanted of a fit that knows none; or the device is not
            there, or does not draw tables.

        Examples
        --------
        >>> import numpy as np
        >>> from sinkgen import DPSinkhornGenerator
        >>> gen = DPSinkhornGenerator(epsilon=5, schema=(-4, 4)).fit(np.random.default_rng(0).normal(size=(500, 2)))
        >>> gen.sample(3).shape
        (3, 2)
        """
        check_is_fitted(self)
        release, source = self.release_, placed(self.generator_, device)
        random = torch_stream(random_state)
        if n_groups is not None:
            if y is not None or conditions is not None:
                raise BadValueError("n_groups draws groups as they come: leave y and conditions out")
            return self._sample_groups(n_groups, order_by, random)
        if order_by is not None:
            raise BadValueError("order_by sorts the rows of groups: give n_groups, too")
        generator, weights = self._varied(source), release.class_weights
        if conditions is not None:
            generator = self._condition(conditions)
            weights = self._possible(conditions) * generator.class_weights
        if y is None:
            n = check_integer("n_samples", n_samples, low=1)
            if conditions:
                return self._restored(*self._draw_of_any(generator, weights, n, conditions, random))
            # As often as their weights say, in random order: independent draws would add noise of their own.
            codes = stratified(weights, n, random)[torch.randperm(n, generator=random)]
        else:
            codes = self._codes(y)
            if conditions is not None and not self._possible(conditions)[codes].all():
                raise BadValueError("y holds labels that, by the rules, do not go with the conditions")
        return self._restored(self._draw(generator, codes, conditions or {}, random), codes)

    def sample_posterior(
        self, m: int = 20, n_samples: int | None = None, *, random_state: RandomState = None
    ) -> list[Any]:
        """Draw several data sets, each of which may have been the real one for all that the release tells.

        What they differ by is the noise of privacy: an analysis that is run on each of them shows how much of its
        result is noise, and :func:`sinkgen.inference.combine` makes one interval of theirs. Costs no more privacy.

        Parameters
        ----------
        m : int, default=20
            Number of data sets.
        n_samples : int, default=None
            Records of each; by default as many as there are real ones, nearly, which rules for intervals count on.
        random_state : int, numpy.random.RandomState, numpy.random.Generator or None, default=None
            Without one, every call draws other data sets.

        Returns
        -------
        list of data frames, or of pairs (X, y)
            As :meth:`sample` draws them.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        TypeError, ValueError
            If it was no table that was fitted, the model was saved by a version that kept no released counts, or a
            number is not positive.

        Warns
        -----
        PoorFitWarning
            If columns are so many, or the budget so small, that hardly anything is known of pairs of them.

        Examples
        --------
        >>> import numpy as np
        >>> import pandas as pd
        >>> from sinkgen import DPSinkhornGenerator, inference
        >>> people = pd.DataFrame({"age": np.arange(2000) % 80, "sex": ["F", "M"] * 1000})
        >>> gen = DPSinkhornGenerator(epsilon=5, schema={"age": (0, 80), "sex": ["F", "M"]}).fit(people)
        >>> sets = gen.sample_posterior(5)
        >>> share = inference.proportion(sets, {"sex": "F"})
        >>> len(sets), bool(abs(share.estimate - 0.5) < 0.1)
        (5, True)
        """
        check_is_fitted(self)
        m, random = check_integer("m", m, low=1), torch_stream(random_state)
        posterior = Posterior(self.release_)
        if posterior.is_vague:
            warnings.warn(
                "how most pairs of columns depend on each other was not released, and data sets cannot differ by as "
                "much as that leaves open: intervals of coefficients and of shares of several columns are too narrow. "
                "Raise epsilon, or fit the columns in question alone", PoorFitWarning, stacklevel=2,
            )  # fmt: skip
        n = posterior.n_records if n_samples is None else check_integer("n_samples", n_samples, low=1)
        drawn = (posterior.draw(n, random) for _ in range(m))
        return [self._restored(self.release_.form.decode(places), codes) for places, codes in drawn]

    def sample_dask(
        self,
        n_samples: int = 1,
        *,
        n_groups: int | None = None,
        label: str = "label",
        partition_size: int = 100_000,
        random_state: RandomState = None,
    ) -> Any:
        """Draw many synthetic records by Dask, in parallel, where they are wanted.

        Parameters
        ----------
        n_samples : int, default=1
        n_groups : int, default=None
            As for :meth:`sample`: groups with all their rows, instead of ``n_samples`` records. Ids that were no column
            of the table fitted are one more, "group".
        label : str, default="label"
            Name of the labels' column in a data frame.
        partition_size : int, default=100_000
            Records a partition, or groups.
        random_state : int, numpy.random.RandomState, numpy.random.Generator or None, default=None
            With one, each partition is the same again, whoever draws it.

        Returns
        -------
        X : dask.dataframe.DataFrame or dask.array.Array of shape (n_samples, ...)
            A data frame has the labels as one more column.
        y : dask.array.Array of shape (n_samples,)
            Only if arrays were fitted, with labels.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If ``n_samples``, ``n_groups`` or ``partition_size`` is not positive, or ``label`` names a column of the
            table; or groups are wanted of a fit that knows none.

        Examples
        --------
        >>> import numpy as np
        >>> from sinkgen import DPSinkhornGenerator
        >>> gen = DPSinkhornGenerator(epsilon=5, schema=(-4, 4)).fit(np.random.default_rng(0).normal(size=(500, 2)))
        >>> gen.sample_dask(250_000).chunks
        ((100000, 100000, 50000), (2,))
        """
        return to_dask(self._bulk(n_samples, n_groups, label, partition_size, random_state))

    def sample_to_parquet(
        self,
        path: Path,
        n_samples: int = 1,
        *,
        n_groups: int | None = None,
        label: str = "label",
        partition_size: int = 100_000,
        random_state: RandomState = None,
    ) -> None:
        """Draw many rows of a table into Parquet files, one after the other, and hold one of them at a time.

        The rows are those of :meth:`sample_dask` with the same ``random_state``; its ``.to_parquet(path)`` writes them
        in parallel.

        Parameters
        ----------
        path : str or Path
            A folder, made if it does not exist.
        n_samples, n_groups, label, partition_size, random_state
            As for :meth:`sample_dask`.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            As for :meth:`sample_dask`, and if it was no data frame that was fitted.
        FileExistsError
            If the folder holds something.

        Examples
        --------
        >>> import numpy as np
        >>> import tempfile, pandas as pd
        >>> from sinkgen import DPSinkhornGenerator
        >>> frame = pd.DataFrame(np.random.default_rng(0).normal(size=(500, 2)), columns=["a", "b"])
        >>> gen = DPSinkhornGenerator(epsilon=5, schema=(-4, 4)).fit(frame)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     gen.sample_to_parquet(folder, 1000, partition_size=500)
        ...     len(pd.read_parquet(folder))
        1000
        """
        to_parquet(self._bulk(n_samples, n_groups, label, partition_size, random_state), path)

    def _restored(self, X, codes):
        """Records and their labels as the user gave such."""
        release = self.release_
        if isinstance(release.form, TableFormat) and release.form.frame_kind is not None:
            X = release.form.frame_kind.restore(X)
        return X if release.labels is None else (X, release.labels.decode(codes))

    def _draw(self, generator, codes, conditions, random):
        """Records of these classes (m,)."""
        form = self.release_.form
        if not isinstance(form, TableFormat) or form.arrangement is None:
            return form.decode(generator.draw(codes, random))
        seed = int(torch.randint(2**62, (), generator=random))
        form.check_room(len(codes))
        return form.decode(Conditioned(generator, form, conditions).draw(codes, random), seed)

    def _draw_of_any(self, generator, weights, n, conditions, random):
        """Records that meet conditions, and their classes (n,), of which none is asked for."""
        form, seed = self.release_.form, int(torch.randint(2**62, (), generator=random))
        form.check_room(n)
        places, codes = Conditioned(generator, form, conditions).draw_of_any(weights, n, random)
        return form.decode(places, seed), codes

    def _possible(self, conditions):
        form = self.release_.form
        return form.possible_classes(form.allowed(conditions), len(self.release_.class_weights))

    def _sample_groups(self, n_groups, order_by, random):
        release, n = self.release_, self._number_of_groups(n_groups)
        X, y, ids = draw_groups(release, n, random, order=self._order(order_by))
        if release.form.frame_kind is not None:
            X = release.form.frame_kind.restore(X)
        given = [part for part in (X, y, ids) if part is not None]
        return given[0] if len(given) == 1 else tuple(given)

    def _number_of_groups(self, n_groups):
        n = check_integer("n_groups", n_groups, low=1)
        if not isinstance(self.release_.generator, PeopleMixture):
            raise BadValueError(
                "this fit knows no whole groups: fit a table with groups= and mechanism=Marginals(whole_groups=True)"
            )
        return n

    def _order(self, name):
        """Place of the column by which rows of a group are sorted."""
        form = self.release_.form
        if name is None:
            return None
        sortable = [column.name for column in form.columns if column.n_ordered]
        if name not in sortable:
            raise BadValueError(f"order_by must be a column of numbers, dates or ordered values: one of {sortable}")
        return form.names.index(name)

    def _varied(self, generator):
        if self.augment is None or is_auto(self.augment):
            return generator
        augment = AUGMENTATIONS[self.augment] if isinstance(self.augment, str) else self.augment
        return Augmented(generator, augment, self.release_.form.network_shape)

    def _condition(self, conditions):
        if not isinstance(self.generator_, (Field, ProductMixture)):
            raise BadValueError("conditions need a generator that was fitted to a table")
        if not isinstance(conditions, Mapping):
            raise BadTypeError(
                f"conditions must be a dict of column to value, got {type(conditions).__name__}: it holds for all "
                "records of a call. For a table of conditions, call sample for each of frame.to_dict('records')"
            )
        return self.generator_.condition(self.release_.form.allowed(conditions))

    def _codes(self, y):
        labels = self.release_.labels
        if labels is None:
            raise BadValueError("y was given, but the generator was fitted without labels")
        if isinstance(y, str) or np.ndim(y) == 0:
            raise BadTypeError("y must hold the label of each record wanted: for ten of one label, y=[label] * 10")
        if not len(y):
            raise BadValueError("y holds no label; at least 1 is needed")
        codes = labels.encode(check_labels(y, len(y)))
        if (codes < 0).any():
            raise BadValueError(f"y holds labels that the generator does not know; it knows {list(labels.classes)}")
        return codes

    def _bulk(self, n_samples, n_groups, label, partition_size, random_state):
        check_is_fitted(self)
        by_group = n_groups is not None
        n = self._number_of_groups(n_groups) if by_group else check_integer("n_samples", n_samples, low=1)
        size, seed = check_integer("partition_size", partition_size, low=1), torch_stream(random_state).initial_seed()
        return Bulk(self._varied(self.generator_), self.release_, n, size, seed, label, by_group)


def placed(generator, device):
    """The generator, or where it has to lie elsewhere a copy there.

    Raises
    ------
    ValueError
        If the device cannot be used, or it is a table that would be drawn there.
    """
    if device is None:
        return generator
    there = torch_device(device)
    if isinstance(generator, (Field, ProductMixture)):
        if there.type != "cpu" and not is_auto(device):
            raise BadValueError(f"tables are drawn on the processor, not on device {device!r}: leave device out")
        return generator
    check_device(there)
    return copy.deepcopy(generator).to(there)
