"""What may be concluded: estimates with the doubt that sampling and the noise of privacy leave."""

from sinkgen.inference.estimates import Estimate as Estimate
from sinkgen.inference.estimates import Interval as Interval
from sinkgen.inference.rules import combine as combine
from sinkgen.inference.rules import mean as mean
from sinkgen.inference.rules import proportion as proportion
from sinkgen.inference.rules import quantile as quantile
from sinkgen.inference.rules import regression as regression

__all__ = ["Estimate", "Interval", "combine", "mean", "proportion", "quantile", "regression"]
