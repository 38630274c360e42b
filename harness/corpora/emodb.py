"""Berlin EmoDB: acted German emotions, categories only, so its dimensions are derived.

Burkhardt, Paeschke, Rolfes, Sendlmeier & Weiss (2005), "A database of German emotional speech",
Interspeech, doi:10.21437/Interspeech.2005-446. The category stands in the file's name.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from serbench.harness.corpora.base import Corpus, Split
from serbench.harness.corpora.recordings import probe
from serbench.harness.errors import CorpusError, RequestError

__all__ = ["EMOTIONS", "PAD", "SPEAKER_SPLITS", "load"]

EMOTIONS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "T": "sadness",
    "N": "neutral",
}
"""By the letter in the file's name, which is the first one of the German word."""

PAD: dict[str, tuple[float, float, float]] = {
    "anger": (-0.51, 0.59, 0.25),
    "boredom": (-0.65, -0.62, -0.33),
    "disgust": (-0.60, 0.35, 0.11),
    "fear": (-0.64, 0.60, -0.43),
    "happiness": (0.81, 0.51, 0.46),
    "sadness": (-0.63, -0.27, -0.33),
    "neutral": (0.0, 0.0, 0.0),
}
"""Pleasure (valence), arousal (activation), dominance in [-1, 1]: mean ratings of the terms angry,
bored, disgusted, fearful, happy and sad in Russell & Mehrabian (1977), "Evidence for a three-factor
theory of emotions", Journal of Research in Personality 11, 273-294,
doi:10.1016/0092-6566(77)90037-X. Neutral is not among their terms; it is defined as the origin."""

SPEAKER_SPLITS: dict[str, Split] = {
    **dict.fromkeys(("03", "08", "09", "10", "11", "13"), "train"),
    **dict.fromkeys(("12", "14"), "validation"),
    **dict.fromkeys(("15", "16"), "test"),
}
"""Half of each split's speakers are men (03 10 11, 12, 15), half women (08 09 13, 14, 16)."""

NAME = re.compile(r"(?P<speaker>\d\d)[ab]\d\d(?P<emotion>[WLEAFTN])[a-z]")


def load(root: str | None) -> Corpus:
    """Read the folder that holds `wav/`, or the `wav` folder itself.

    The splits are fixed: speakers 15 and 16 test, 12 and 14 validate, the other six train.

    Raises:
        RequestError: no folder is given.
        CorpusError: the folder or its files are missing, or are not what EmoDB's are.
    """
    if root is None:
        raise RequestError("emodb needs its folder: emodb=FOLDER, the one that holds wav/")
    folder = Path(root).resolve()
    folder = folder / "wav" if (folder / "wav").is_dir() else folder
    paths = sorted(folder.glob("*.wav"))
    if not paths:
        raise CorpusError(f"emodb: there are no .wav files in {folder}")
    return Corpus(
        name="emodb",
        utterances=_utterances(folder, paths),
        minimum=-1.0,
        maximum=1.0,
        derived=True,
        licence="CC0",
        citation="Burkhardt et al. (2005), doi:10.21437/Interspeech.2005-446",
        notes=(
            "Acted speech. Labels are derived from the emotion category by the ratings of emotion "
            "terms in Russell & Mehrabian (1977), doi:10.1016/0092-6566(77)90037-X."
        ),
    )


def _utterances(folder: Path, paths: list[Path]) -> pd.DataFrame:
    findings = []
    rows = []
    for path, samples in zip(paths, probe(paths), strict=True):
        named = NAME.fullmatch(path.stem)
        if named is None or named["speaker"] not in SPEAKER_SPLITS:
            findings.append(f"{path.name}: not a name of EmoDB, such as 03a01Fa.wav")
        elif isinstance(samples, str):
            findings.append(f"{path.name}: {samples}")
        else:
            rows.append(_row(path, samples, named["speaker"], EMOTIONS[named["emotion"]]))
    if findings:
        raise CorpusError(f"emodb: wrong files in {folder}", tuple(findings))
    table: pd.DataFrame = pd.DataFrame(rows)
    return table


def _row(path: Path, samples: int, speaker: str, emotion: str) -> dict[str, object]:
    valence, activation, dominance = PAD[emotion]
    return {
        "id": path.stem,
        "path": str(path),
        "speaker": speaker,
        "split": SPEAKER_SPLITS[speaker],
        "samples": samples,
        "emotion": emotion,
        "activation": activation,
        "valence": valence,
        "dominance": dominance,
    }
