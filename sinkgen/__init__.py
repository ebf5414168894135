"""Differentially private synthetic data by optimal transport."""

from sinkgen import accounting, ot, sources
from sinkgen._version import __version__
from sinkgen.accounting import PrivacySpent
from sinkgen.data.schema import Column, Schema
from sinkgen.estimator import DPSinkhornGenerator
from sinkgen.exceptions import BudgetExceededError, DataFreeError, PoorFitWarning, PrivacyLeakWarning
from sinkgen.generators.release import Release
from sinkgen.privacy.ledger import PrivacyLedger
from sinkgen.progress import FitProgress
from sinkgen.report.display import FidelityDisplay
from sinkgen.report.page import html_report
from sinkgen.report.scores import score_report
from sinkgen.settings import Batch, Marginals, Semidual
from sinkgen.tstr import SyntheticResampler, TSTRClassifier, TSTRRegressor, sample_from_pipeline

__all__ = [
    "Batch",
    "BudgetExceededError",
    "Column",
    "DPSinkhornGenerator",
    "DataFreeError",
    "FidelityDisplay",
    "FitProgress",
    "Marginals",
    "PoorFitWarning",
    "PrivacyLeakWarning",
    "PrivacyLedger",
    "PrivacySpent",
    "Release",
    "Schema",
    "Semidual",
    "SyntheticResampler",
    "TSTRClassifier",
    "TSTRRegressor",
    "__version__",
    "accounting",
    "html_report",
    "ot",
    "sample_from_pipeline",
    "score_report",
    "sources",
]
