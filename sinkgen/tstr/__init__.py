"""Train on synthetic, test on real; and the generator as a part of pipelines."""

from sinkgen.tstr.classifier import TSTRClassifier
from sinkgen.tstr.pipelines import sample_from_pipeline
from sinkgen.tstr.regressor import TSTRRegressor
from sinkgen.tstr.resampler import SyntheticResampler

__all__ = ["SyntheticResampler", "TSTRClassifier", "TSTRRegressor", "sample_from_pipeline"]
