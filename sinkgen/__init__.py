"""Differentially private synthetic data by optimal transport.

What is public stands in ``__init__.pyi``; each name is imported when it is first used, so that a command's help, or a
program that only draws from a saved model, does not wait for torch.
"""

import lazy_loader

from sinkgen._version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
