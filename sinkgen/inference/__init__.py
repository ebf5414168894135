"""What may be concluded: estimates with the doubt that sampling and the noise of privacy leave."""

from sinkgen.inference.estimates import Estimate as Estimate
from sinkgen.inference.estimates import Interval as Interval

__all__ = ["Estimate", "Interval"]
