"""CREMA-D: acted American English emotions, categories only, so its dimensions are derived.

Cao, Cooper, Keutmann, Gur, Nenkova & Verma (2014), "CREMA-D: Crowd-sourced emotional multimodal
actors dataset", IEEE Transactions on Affective Computing 5(4), doi:10.1109/TAFFC.2014.2336244. The
intended category stands in the file's name; `finishedResponses.csv` has what each listener heard.
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from serbench.harness.corpora.base import Corpus
from serbench.harness.corpora.emotions import SOURCE, derived
from serbench.harness.corpora.folds import speaker_splits
from serbench.harness.corpora.named import named
from serbench.harness.corpora.recordings import probe, read
from serbench.harness.corpora.releases import Release, few
from serbench.harness.errors import CorpusError
from serbench.harness.metrics import DIMENSIONS

__all__ = ["EMOTIONS", "SILENT", "load"]

RELEASE = Release("cremad", "AudioWAV/, with files such as AudioWAV/1001_DFA_ANG_XX.wav")

EMOTIONS = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}
"""By the letters in the file's name."""
LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified"}

SILENT = "1076_MTI_SAD_XX"
"""A clip whose file holds nothing but zeros in the release."""
MISNAMED = "1040_ITH_SAD_X"
"""Lacks its last X in older releases, but not in the lists of responses."""

NAME = re.compile(
    r"(?P<speaker>10\d\d)_(?P<sentence>[A-Z]{3})_(?P<emotion>ANG|DIS|FEA|HAP|NEU|SAD)"
    rf"_(?P<level>LO|MD|HI|XX|(?<={MISNAMED[:-1]})X)\.wav"
)
HEARD = {letters[0]: emotion for letters, emotion in EMOTIONS.items()}
VOICE_ALONE, FACE_ALONE, BOTH = "1", "2", "3"
"""What a listener was given, in the column `queryType`."""


def load(root: str | None) -> Corpus:
    """Read the folder that holds `AudioWAV/`, or the `AudioWAV` folder itself.

    The labels are what the actor intended. With `finishedResponses.csv` beside `AudioWAV/`, the
    ratings are what each listener to the voice alone chose, by the same table: derived as well, and
    about other people than the labels. The level of 0 to 100 that came with the choice scales
    nothing, since no source says how it should; it is a column of the ratings, as `emotion` is.
    With `VideoDemographics.csv` there are columns `age`, `sex`, `race`, `ethnicity` of the actor.
    Splits are made by speaker.

    Raises:
        RequestError: no folder is given.
        CorpusError: the folder or its files are missing, or are not what those of CREMA-D are.
    """
    folder = RELEASE.folder(root)
    folder = folder / "AudioWAV" if (folder / "AudioWAV").is_dir() else folder
    paths = {_clip(path): path for path in sorted(folder.glob("*.wav"))}
    if not paths:
        raise RELEASE.lacks(".wav file", folder)
    silent = SILENT in paths and not _sounds(paths[SILENT])
    wanted = [path for clip, path in paths.items() if clip != SILENT or not silent]
    table, findings = named(folder, wanted, NAME, "a name of CREMA-D, such as 1001_DFA_ANG_XX.wav")
    heard, unheard = _responses(folder.parent / "finishedResponses.csv", paths)
    actors, unknown = _actors(folder.parent / "VideoDemographics.csv")
    if findings or unheard or unknown:
        raise CorpusError(f"cremad: wrong files in {folder}", (*findings, *unheard, *unknown))
    return _corpus(_utterances(table).join(actors, on="speaker"), heard, silent=silent)


def _corpus(utterances: pd.DataFrame, heard: pd.DataFrame, *, silent: bool) -> Corpus:
    ratings = _ratings(heard[heard["utterance"].isin(utterances["id"])])
    notes = [f"Acted speech. Labels are {SOURCE}; the category is what the actor intended."]
    if ratings is not None:
        notes.append(
            "Ratings are derived by the same table from the categories that listeners to the voice "
            "alone chose, so that the labels are not their means."
        )
    if silent:
        notes.append(f"{SILENT} is left out: its file has no sound.")
    return Corpus(
        name="cremad",
        utterances=utterances,
        minimum=-1.0,
        maximum=1.0,
        ratings=ratings,
        derived=True,
        licence="ODbL 1.0",
        citation="Cao et al. (2014), doi:10.1109/TAFFC.2014.2336244",
        notes=" ".join(notes),
    )


def _clip(path: Path) -> str:
    return f"{path.stem}X" if path.stem == MISNAMED else path.stem


def _sounds(path: Path) -> bool:
    (samples,) = probe([path])
    try:
        return isinstance(samples, int) and bool(read(str(path), samples, whole=True).any())
    except CorpusError:
        return False


def _utterances(table: pd.DataFrame) -> pd.DataFrame:
    emotions = table["emotion"].map(EMOTIONS)
    labels = derived(emotions)
    labelled: pd.DataFrame = table.assign(
        id=table["id"].replace(MISNAMED, f"{MISNAMED}X"),
        emotion=emotions,
        level=table["level"].replace("X", "XX").map(LEVELS),
        split=speaker_splits(list(table["speaker"]), labels),
    ).join(labels)
    return labelled


def _ratings(heard: pd.DataFrame) -> pd.DataFrame | None:
    """In long form, a row for each response and dimension; None without responses."""
    if heard.empty:
        return None
    numbered = heard.reset_index(drop=True)
    whole = numbered.join(derived(numbered["emotion"]))
    ratings: pd.DataFrame = whole.melt(
        id_vars=list(heard.columns), value_vars=list(DIMENSIONS), var_name="dimension"
    )
    return ratings


def _responses(path: Path, clips: Collection[str]) -> tuple[pd.DataFrame, list[str]]:
    """Each listener's last response to each voice alone, and what is wrong with the list."""
    columns = ["clipName", "localid", "respEmo", "respLevel"]
    table, findings = _csv(path, ["queryType", *columns])
    given = table["queryType"]
    voice = table.loc[given == VOICE_ALONE, columns]
    clip, listener, emotion, level = (voice[column] for column in columns)
    levels = pd.to_numeric(level, errors="coerce")
    # Where a listener gave no level, the release has the letter of the emotion once more.
    levelled = levels.between(0, 100) | (level == emotion)
    for wrong, fault in (
        (given[~given.isin([VOICE_ALONE, FACE_ALONE, BOTH])], "is not 1, 2 or 3"),
        (clip[~clip.isin(list(clips))].drop_duplicates(), "has no .wav file"),
        (listener[listener == ""], "is no listener"),
        (emotion[~emotion.isin(list(HEARD))], "is no emotion"),
        (level[~levelled], "is no level from 0 to 100"),
    ):
        findings += _cells(path, wrong, fault)
    heard = pd.DataFrame(
        {
            "utterance": clip,
            "annotator": listener,
            "emotion": emotion.map(HEARD),
            "level": levels,
        }
    )
    return heard.drop_duplicates(["utterance", "annotator"], keep="last"), findings


def _actors(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Age in years, sex, race and ethnicity by actor, no columns without the list; and findings."""
    if not path.exists():
        return pd.DataFrame(), []
    table, findings = _csv(path, ["ActorID", "Age", "Sex", "Race", "Ethnicity"])
    ages = pd.to_numeric(table["Age"], errors="coerce")
    actors = table["ActorID"]
    findings += _cells(path, table["Age"][~ages.between(0, 150)], "is no age")
    findings += _cells(path, actors[actors.duplicated()], "is there already")
    known = table.assign(Age=ages).set_index("ActorID").rename(columns=str.lower)
    return known, findings


def _csv(path: Path, columns: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """The columns as text, no rows without the file; and why it cannot be read."""
    nothing = pd.DataFrame(columns=columns, dtype=str)
    if not path.exists():
        return nothing, []
    try:
        text = io.StringIO(path.read_bytes().decode("utf-8-sig"))
        table = pd.read_csv(text, dtype=str, keep_default_na=False, skip_blank_lines=False)
    except OSError as error:
        return nothing, [f"{path.name}: cannot be read ({error.strerror})"]
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        byte = error.object[error.start]
        return nothing, [f"{path.name}, line {line}: not UTF-8 (byte 0x{byte:02x})"]
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        return nothing, [f"{path.name}: not CSV ({str(error).strip()})"]
    missing = [column for column in columns if column not in table]
    if missing:
        return nothing, [f"{path.name}, line 1: there is no column '{name}'" for name in missing]
    cells = table[columns].fillna("").reset_index(drop=True)
    return cells[(cells != "").any(axis=1)], []


def _cells(path: Path, cells: pd.Series[str], fault: str) -> list[str]:
    """A finding for each cell; rows are numbered from 0, below the line of the column names."""
    return few(
        [
            f"{path.name}, line {row + 2}, {cells.name}: {cell!r:.60} {fault}"
            for row, cell in zip(cells.index, cells, strict=True)
        ]
    )
