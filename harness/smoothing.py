"""How fine and how smooth distributions of ratings are by default.

What heads declare and estimators apply, apart from both, so that naming a head takes no torch. The
figures are those of `docs/annotators.md`.
"""

from __future__ import annotations

__all__ = ["BANDWIDTH", "BINS", "CELLS", "OBSERVATIONS", "SHARPNESS"]

BANDWIDTH = 0.25
"""Of `binmass`, where the scale is [-1, 1]. Nearest to the truth are 0.28 from the ratings of five
annotators and 0.15 from those of fifty; this is within 0.003 and 0.03 of them, in TVD."""
CELLS = 4
"""Of an axis of a distribution, as published."""
BINS = 64
"""Of an axis of `diffkde`'s histogram, as published."""
SHARPNESS = 8.0
"""T of `diffkde`'s soft histogram, as published."""
OBSERVATIONS = 200
"""That `diffkde` draws, as published."""
