"""RAVDESS: acted North American English emotions, categories only, so its dimensions are derived.

Livingstone & Russo (2018), "The Ryerson Audio-Visual Database of Emotional Speech and Song
(RAVDESS)", PLoS ONE 13(5), doi:10.1371/journal.pone.0196391. All is in the name: modality, channel,
emotion, intensity, statement, repetition, actor.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from serbench.harness.corpora.base import Corpus
from serbench.harness.corpora.emotions import SOURCE, derived
from serbench.harness.corpora.folds import speaker_splits
from serbench.harness.corpora.named import named
from serbench.harness.corpora.releases import Release
from serbench.harness.errors import CorpusError

__all__ = ["EMOTIONS", "load"]

RELEASE = Release("ravdess", "Actor_01/, with files such as Actor_01/03-01-06-01-02-01-01.wav")

EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happiness",
    "04": "sadness",
    "05": "anger",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
INTENSITIES = {"01": "normal", "02": "strong"}

NAME = re.compile(
    r"Actor_(?P<speaker>0[1-9]|1\d|2[0-4])/03-01-(?P<emotion>0[1-8])-(?P<intensity>0[12])"
    r"-(?P<statement>0[12])-(?P<repetition>0[12])-(?P=speaker)\.wav"
)
SPEECH = "audio_speech_actors_01-24"
OTHER = re.compile(r"(?:0[12]-0[12]|03-02)(?:-\d\d){5}")
"""Songs, and the sound of videos, which is that of the audio files once more."""


def load(root: str | None) -> Corpus:
    """Read the speech in `Actor_01` to `Actor_24`, in the folder or in its speech folder.

    Speech folders are called `Audio_Speech_Actors_01-24`, in any case. If the folder holds actors
    too, it is a copy that some downloads contain, and is left alone. Splits are made by speaker.

    Raises:
        RequestError: no folder is given.
        CorpusError: the folder or its files are missing, or are not what those of RAVDESS are.
    """
    folder = _actors(RELEASE.folder(root))
    paths = [path for path in folder.glob("Actor_*/*.wav") if not OTHER.fullmatch(path.stem)]
    if not paths:
        raise RELEASE.lacks("Actor_*/*.wav of speech", folder)
    kind = "a name of RAVDESS, such as Actor_12/03-01-06-01-02-01-12.wav"
    table, findings = named(folder, sorted(paths), NAME, kind)
    if findings:
        raise CorpusError(f"ravdess: wrong files in {folder}", tuple(findings))
    return Corpus(
        name="ravdess",
        utterances=_utterances(table),
        minimum=-1.0,
        maximum=1.0,
        derived=True,
        licence="CC BY-NC-SA 4.0",
        citation="Livingstone & Russo (2018), doi:10.1371/journal.pone.0196391",
        notes=(
            "Acted speech, without the songs. Calm speech is not labelled, because the table lacks "
            f"a rating of that term. The other labels are {SOURCE}."
        ),
    )


def _actors(folder: Path) -> Path:
    """The folder that holds the actors' folders; the given one if there is none."""
    if any(folder.glob("Actor_*")):
        return folder
    speech = (each for each in sorted(folder.iterdir()) if each.name.lower() == SPEECH)
    return next(speech, folder)


def _utterances(table: pd.DataFrame) -> pd.DataFrame:
    emotions = table["emotion"].map(EMOTIONS)
    labels = derived(emotions)
    labelled: pd.DataFrame = table.assign(
        emotion=emotions,
        intensity=table["intensity"].map(INTENSITIES),
        split=speaker_splits(list(table["speaker"]), labels),
    ).join(labels)
    return labelled
