"""What activation, valence and dominance an emotion's name stands for."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pandas as pd

from serbench.harness.metrics import DIMENSIONS

__all__ = ["PAD", "SOURCE", "derived"]

PAD: dict[str, tuple[float, float, float]] = {
    "anger": (-0.51, 0.59, 0.25),
    "boredom": (-0.65, -0.62, -0.33),
    "disgust": (-0.60, 0.35, 0.11),
    "fear": (-0.64, 0.60, -0.43),
    "happiness": (0.81, 0.51, 0.46),
    "sadness": (-0.63, -0.27, -0.33),
    "surprise": (0.40, 0.67, -0.13),
    "neutral": (0.0, 0.0, 0.0),
}
"""Pleasure (valence), arousal (activation), dominance in [-1, 1]: mean ratings of the terms angry,
bored, disgusted, fearful, happy, sad and surprised in Russell & Mehrabian (1977), "Evidence for a
three-factor theory of emotions", Journal of Research in Personality 11, 273-294,
doi:10.1016/0092-6566(77)90037-X. Neutral is not among their terms; it is defined as the origin."""

SOURCE = (
    "derived from the emotion category by the ratings of emotion terms in Russell & Mehrabian "
    "(1977), doi:10.1016/0092-6566(77)90037-X"
)
"""Ends a sentence of a corpus's notes that begins with what is derived."""


def derived(emotions: Iterable[str]) -> pd.DataFrame:
    """Activation, valence and dominance for each emotion, a row each, numbered from 0.

    NaN for an emotion that `PAD` lacks.
    """
    values = [PAD.get(emotion, (math.nan,) * 3) for emotion in emotions]
    named = pd.DataFrame(values, columns=["valence", "activation", "dominance"], dtype=float)
    ordered: pd.DataFrame = named[list(DIMENSIONS)]
    return ordered
