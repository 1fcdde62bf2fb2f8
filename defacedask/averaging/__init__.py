"""Building an average head from a cohort: each head to the current average, all together to the mean shape."""

from defacedask.averaging.build import BuildResult, build_template

__all__ = ["BuildResult", "build_template"]
