"""Warnings and errors that are this package's own."""


class PrivacyLeakWarning(UserWarning):
    """Something read from private data was taken as public, outside the privacy budget."""


class ReproducibleNoiseWarning(UserWarning):
    """The noise was drawn from a fixed seed: whoever knows the seed can remove it."""


class BudgetExceededError(RuntimeError):
    """A charge would exceed the budget of a :class:`~sinkgen.PrivacyLedger`; nothing was spent."""
