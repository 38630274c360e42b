"""How smooth a distribution of ratings is by default: what heads declare and estimators apply.

Apart from the estimators, so that naming a head takes no torch. The figures are those of
`docs/annotators.md`.
"""

from __future__ import annotations

__all__ = ["BANDWIDTH", "BINS", "OBSERVATIONS", "PUBLISHED_SHARPNESS", "SHARPNESS"]

BANDWIDTH = 0.25
"""Of `binmass`, where the scale is [-1, 1]. Nearest to the truth are 0.28 from the ratings of five
annotators and 0.15 from those of fifty; this is within 0.003 and 0.03 of them, in TVD."""
BINS = 64
"""Of an axis of `diffkde`'s histogram, as published."""
SHARPNESS = 64.0
"""T of `diffkde`'s histogram: a mean TVD of 0.02 to the labels' estimator, where 8 has 0.27."""
PUBLISHED_SHARPNESS = 8.0
OBSERVATIONS = 200
"""That `diffkde` draws, as published."""
