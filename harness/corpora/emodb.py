"""Berlin EmoDB: acted German emotions, categories only, so its dimensions are derived.

Burkhardt, Paeschke, Rolfes, Sendlmeier & Weiss (2005), "A database of German emotional speech",
Interspeech, doi:10.21437/Interspeech.2005-446. The category stands in the file's name;
`erkennung.txt` says how many of 20 listeners recognised it, and found it natural.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from serbench.harness.corpora.base import SPLITS, Corpus, Split
from serbench.harness.corpora.emotions import SOURCE, derived
from serbench.harness.corpora.named import named
from serbench.harness.corpora.releases import Release, few
from serbench.harness.errors import CorpusError

__all__ = ["EMOTIONS", "SPEAKER_SPLITS", "load"]

RELEASE = Release("emodb", "wav/, with files such as wav/03a01Fa.wav")

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

SPEAKER_SPLITS: dict[str, Split] = {
    **dict.fromkeys(("03", "08", "09", "10", "11", "13"), "train"),
    **dict.fromkeys(("12", "14"), "validation"),
    **dict.fromkeys(("15", "16"), "test"),
}
"""Half of each split's speakers are men (03 10 11, 12, 15), half women (08 09 13, 14, 16)."""

NAME = re.compile(
    rf"(?P<speaker>{'|'.join(SPEAKER_SPLITS)})[ab]\d\d(?P<letter>[WLEAFTN])[a-z]\.wav"
)
HEARD = re.compile(r"\d+\s*\t(\w+)\.wav\s*\t(\d+,\d+)\s*\t(\d+,\d+)\s*")
"""A line of `erkennung.txt`: number, file, recognised, natural, padded with no-break spaces."""


def load(root: str | None) -> Corpus:
    """Read the folder that holds `wav/`, or the `wav` folder itself.

    The splits are fixed: speakers 15 and 16 test, 12 and 14 validate, the other six train. The
    folds leave one speaker out: each tests one, in the order of their numbers, and validates on the
    next. If `erkennung.txt` lies beside `wav/`, the columns `recognised` and `natural` say what
    per cent of the listeners thought so.

    Raises:
        RequestError: no folder is given.
        CorpusError: the folder or its files are missing, or are not what EmoDB's are.
    """
    folder = RELEASE.folder(root)
    folder = folder / "wav" if (folder / "wav").is_dir() else folder
    paths = sorted(folder.glob("*.wav"))
    if not paths:
        raise RELEASE.lacks(".wav file", folder)
    table, findings = named(folder, paths, NAME, "a name of EmoDB, such as 03a01Fa.wav")
    heard, wrong = _heard(folder.parent / "erkennung.txt")
    if findings or wrong:
        raise CorpusError(f"emodb: wrong files in {folder}", (*findings, *wrong))
    return Corpus(
        name="emodb",
        utterances=_utterances(table, heard),
        minimum=-1.0,
        maximum=1.0,
        folds=_folds(sorted(set(table["speaker"]))),
        derived=True,
        licence="CC0",
        citation="Burkhardt et al. (2005), doi:10.21437/Interspeech.2005-446",
        notes=f"Acted speech. Labels are {SOURCE}.",
    )


def _utterances(table: pd.DataFrame, heard: pd.DataFrame) -> pd.DataFrame:
    emotions = table["letter"].map(EMOTIONS)
    table = table.assign(split=table["speaker"].map(SPEAKER_SPLITS), emotion=emotions)
    told = table.drop(columns="letter").join(heard, on="id")
    labelled: pd.DataFrame = told.join(derived(emotions))
    return labelled


def _folds(speakers: list[str]) -> tuple[dict[str, Split], ...]:
    """Leave one speaker out; none if there are too few to test, validate and train on."""
    if len(speakers) < len(SPLITS):
        return ()
    following = [*speakers[1:], speakers[0]]
    return tuple(
        {**dict.fromkeys(speakers, "train"), validated: "validation", tested: "test"}
        for tested, validated in zip(speakers, following, strict=True)
    )


def _heard(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Per cent of the listeners by file, no columns without the list; and what is wrong in it."""
    if not path.exists():
        return pd.DataFrame(), []
    try:
        lines = path.read_text(encoding="latin-1").split("\n")
    except OSError as error:
        return pd.DataFrame(), [f"{path.name}: cannot be read ({error.strerror})"]
    heard: dict[str, list[float]] = {}
    findings = []
    for number, line in enumerate(lines[1:], 2):
        where, match = f"{path.name}, line {number}", HEARD.fullmatch(line)
        if match is None:
            if line.strip():
                findings.append(
                    f"{where}: not four cells as in 3<tab>03a01Fa.wav<tab>90,00<tab>75,00"
                )
            continue
        file, *cells = match.groups()
        shares = [float(cell.replace(",", ".")) for cell in cells]
        for column, share in zip(("erkannt", "natuerlich"), shares, strict=True):
            if share > 100:
                findings.append(f"{where}, {column}: {share:g} is more than 100 per cent")
        if heard.setdefault(file, shares) is not shares:
            findings.append(f"{where}, Satz: '{file}.wav' is there already")
    table = pd.DataFrame.from_dict(heard, orient="index", columns=["recognised", "natural"])
    return table, few(findings)
