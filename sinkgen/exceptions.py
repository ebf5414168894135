"""Warnings and errors that are this package's own."""

__all__ = ["BudgetExceededError", "DataFreeError", "PoorFitWarning", "PrivacyLeakWarning", "ReproducibleNoiseWarning"]


class DataFreeError(Exception):
    """An error of this package's own: its message names parameters, columns and what is allowed, and shows no data.

    So the command line shows it; the text of any other error may quote a cell.

    Examples
    --------
    >>> from sinkgen import DPSinkhornGenerator
    >>> try:
    ...     DPSinkhornGenerator(epsilon=-1).fit([[0.0]])
    ... except DataFreeError as error:
    ...     print(type(error).__name__, isinstance(error, ValueError))
    BadValueError True
    """


class BadValueError(DataFreeError, ValueError):
    """A value that a parameter, or the data, may not have."""


class BadTypeError(DataFreeError, TypeError):
    """A type that a parameter, or the data, may not have."""


class FitError(DataFreeError, RuntimeError):
    """Something that cannot be done now, whatever the parameters."""


class MissingPackageError(DataFreeError, ImportError):
    """A package of an extra that is not installed; the message names the extra."""


class OccupiedPathError(DataFreeError, FileExistsError):
    """A path at which something lies that would be lost."""


class PrivacyLeakWarning(UserWarning):
    """Something read from private data was taken as public, outside the privacy budget.

    Examples
    --------
    Make an error of it where nothing may leak:

    >>> import warnings
    >>> import numpy as np
    >>> from sinkgen import DPSinkhornGenerator
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", PrivacyLeakWarning)
    ...     DPSinkhornGenerator(metadata="trust").fit(np.zeros((100, 2)))
    Traceback (most recent call last):
    ...
    sinkgen.exceptions.PrivacyLeakWarning: taken from the data as public, outside the privacy budget: ...
    """


class ReproducibleNoiseWarning(UserWarning):
    """The noise was drawn from a fixed seed: whoever knows the seed can remove it.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> from sinkgen import DPSinkhornGenerator
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     gen = DPSinkhornGenerator(schema=(0, 1), noise_seed=0).fit(np.zeros((100, 2)))
    >>> caught[0].category.__name__, gen.privacy_spent().reproducible_noise
    ('ReproducibleNoiseWarning', True)
    """


class PoorFitWarning(UserWarning):
    """What was released shows that columns or classes are poorly known; the message names them and what to do.

    It depends on released numbers alone, and so costs no privacy. ``schema_`` of the fitted estimator says more.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> from sinkgen import DPSinkhornGenerator
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     gen = DPSinkhornGenerator(epsilon=0.01).fit(np.zeros((20, 1)))
    >>> caught[0].category.__name__
    'PoorFitWarning'
    >>> print(gen.schema_)
    0: learned
    POOR: the numbers of column 0 do not stand out of the noise: declare its bounds
    """


class BudgetExceededError(DataFreeError, RuntimeError):
    """A charge would exceed the budget of a :class:`~sinkgen.PrivacyLedger`; nothing was spent.

    Examples
    --------
    >>> import numpy as np
    >>> from sinkgen import DPSinkhornGenerator, PrivacyLedger
    >>> ledger = PrivacyLedger(epsilon=1.0, delta=1e-5)
    >>> try:
    ...     DPSinkhornGenerator(epsilon=2.0, schema=(0, 1), ledger=ledger).fit(np.zeros((100, 2)))
    ... except BudgetExceededError:
    ...     print("refused;", len(ledger), "charges")
    refused; 0 charges
    """
