"""MSP-Improv: pairs of actors who improvise, read, and talk between takes; rated by many.

Busso, Parthasarathy, Burmania, AbdelWahab, Sadoughi & Mower Provost (2017), "MSP-IMPROV: an acted
corpus of dyadic interactions to study emotion perception", IEEE Transactions on Affective Computing
8, doi:10.1109/TAFFC.2016.2515617. A block of the label file is an utterance's line with the means,
and a line for each rater. Activation is stored upside down.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from serbench.harness.corpora.base import Corpus, Split
from serbench.harness.corpora.msp import LabelFile, first_there, long_form, quoted
from serbench.harness.corpora.releases import Release
from serbench.harness.errors import CorpusError

__all__ = ["SPEAKER_SPLITS", "load"]

RELEASE = Release("msp_improv", "Evaluation.txt and Audio/, or the sessions themselves")
# The release spells it without the second a.
LABELS = ("Evaluation.txt", "Evalution.txt")
MINIMUM, MAXIMUM = 1.0, 5.0
HEAD = r"(?:UTD|MSP)-IMPROV-"
NAME = (
    rf"^{HEAD}(?P<turn>(?P<sentence>S\d\d[A-Z])-"
    r"(?P<speaker>[FM]0(?P<session>[1-6]))-(?P<condition>[A-Z])-[FM]{2}\d+)\.(?:avi|wav)$"
)

SPEAKER_SPLITS: dict[str, Split] = {
    **dict.fromkeys(("F01", "F03", "F05", "F06", "M02", "M03", "M04", "M06"), "train"),
    **dict.fromkeys(("F02", "M01"), "validation"),
    **dict.fromkeys(("F04", "M05"), "test"),
}
"""As in Tavernor, El-Tawil & Mower Provost (2024), "The whole is bigger than the sum of its parts:
modeling individual annotators to capture emotional variability", Interspeech, arXiv:2408.11956."""


def load(root: str | None) -> Corpus:
    """Read the folder that holds the label file and `Audio/`, or the sessions themselves.

    All utterances are there, also those that fewer than two people have rated. The folds leave one
    session of two speakers out; the next session validates.

    Raises:
        RequestError: no folder is given.
        CorpusError: files are missing or wrong; `findings` has what is, 20 lines of a kind at most.
    """
    folder = RELEASE.folder(root)
    labels = LabelFile(path=first_there(RELEASE, folder, LABELS), minimum=MINIMUM, maximum=MAXIMUM)
    lines = labels.lines()
    heads = lines.str.match(HEAD)
    utterances = _utterances(labels, lines[heads], folder)
    rated = _ratings(labels, lines, heads, utterances["id"])
    if labels.findings:
        raise CorpusError(f"msp_improv: wrong files in {folder}", tuple(labels.findings))
    return Corpus(
        name="msp_improv",
        utterances=utterances.reset_index(drop=True),
        minimum=MINIMUM,
        maximum=MAXIMUM,
        ratings=rated,
        folds=tuple(_fold(session) for session in range(1, 7)),
        licence="by agreement with the University of Texas at Dallas; not to be passed on",
        citation="Busso et al. (2017), doi:10.1109/TAFFC.2016.2515617",
        notes=(
            "Pairs of actors: improvised scenes, talk between takes, and sentences that are read. "
            "Activation is 6 minus the release's value, in which 1 is the most active."
        ),
    )


def _utterances(labels: LabelFile, heads: pd.Series[str], folder: Path) -> pd.DataFrame:
    """The utterances, by the line of their block's head."""
    table = labels.scored(heads)
    named = table["who"].str.extract(NAME)
    misnamed = named["turn"].isna()
    labels.tell(quoted(table["who"][misnamed]) + " is not such as UTD-IMPROV-S01A-F01-P-FM01.avi")
    twice = named["turn"].duplicated() & ~misnamed
    labels.tell(quoted(table["who"][twice]) + " is there already")
    named = named[~misnamed]
    table = _upright(table.loc[named.index])
    table["id"] = "MSP-IMPROV-" + named["turn"]
    table["speaker"] = named["speaker"]
    table["split"] = named["speaker"].map(SPEAKER_SPLITS)
    sessions = folder / "Audio" if (folder / "Audio").is_dir() else folder
    place = "/session" + named["session"] + "/" + named["sentence"] + "/" + named["condition"] + "/"
    table["path"] = str(sessions) + place + table["id"] + ".wav"
    table["samples"] = labels.samples(table["path"])
    utterances: pd.DataFrame = table.drop(columns="who")
    return utterances


def _ratings(
    labels: LabelFile, lines: pd.Series[str], heads: pd.Series[bool], ids: pd.Series[str]
) -> pd.DataFrame | None:
    block = pd.Series(lines.index, lines.index).where(heads).ffill()
    stray = block.isna()
    labels.tell(quoted(lines[stray]) + " stands before the first utterance")
    scored = _upright(labels.scored(lines[~heads & ~stray]))
    scored["utterance"] = block[scored.index].map(ids)
    return long_form(scored.rename(columns={"who": "annotator"}))


def _upright(scored: pd.DataFrame) -> pd.DataFrame:
    upright: pd.DataFrame = scored.assign(activation=MINIMUM + MAXIMUM - scored["activation"])
    return upright


def _fold(session: int) -> dict[str, Split]:
    """One session tests, the next validates, and the others train."""
    roles: dict[int, Split] = {session: "test", session % 6 + 1: "validation"}
    return {speaker: roles.get(int(speaker[1:]), "train") for speaker in SPEAKER_SPLITS}
