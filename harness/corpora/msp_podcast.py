"""MSP-Podcast 1.8 to 1.12: spontaneous English from podcasts, rated by many annotators.

Lotfian & Busso (2019), "Building naturalistic emotionally balanced speech corpus by retrieving
emotional speech from existing podcast recordings", IEEE Transactions on Affective Computing 10,
doi:10.1109/TAFFC.2017.2736999. Test1 is the test split here, and Test2 that of
`msp_podcast_test2`; they share speakers, so no corpus has both. Test3 has no labels to read.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from serbench.harness.corpora.base import SPLITS, UNKNOWN, Corpus, Split
from serbench.harness.corpora.msp import LabelFile, first_there, long_form, quoted
from serbench.harness.corpora.releases import Release
from serbench.harness.errors import CorpusError

__all__ = ["load", "read"]

LABELS = tuple(
    f"{folder}/labels_{word}.csv"
    for folder in ("Labels", "labels")
    for word in ("consensus", "concensus")
)
AUDIO = ("Audios", "audio_16kHz", "Audio")
MINIMUM, MAXIMUM = 1.0, 7.0
COLUMNS = {"activation": "EmoAct", "valence": "EmoVal", "dominance": "EmoDom"}
PARTITIONS: dict[str, Split] = {
    "Train": "train",
    "Validation": "validation",
    "Development": "validation",
}
TESTS = ("Test1", "Test2", "Test3")


def load(root: str | None) -> Corpus:
    """Read a release's folder, with Test1 as the test split.

    Raises:
        RequestError: no folder is given.
        CorpusError: files are missing or wrong; `findings` has what is, 20 lines of a kind at most.
    """
    return read(root, name="msp_podcast", test="Test1")


def read(root: str | None, *, name: str, test: str) -> Corpus:
    """Read a release's folder, as a corpus of that name, with that one of its test sets.

    A speaker in several partitions stays in the last one only, of train, validation and test: the
    test set is whole, and nobody who is tested is heard in training. The column `partition` has
    the release's own word.

    Raises:
        RequestError: no folder is given.
        CorpusError: files are missing or wrong.
    """
    release = Release(name, "Labels/ and Audios/")
    folder = release.folder(root)
    labels = LabelFile(path=first_there(release, folder, LABELS), minimum=MINIMUM, maximum=MAXIMUM)
    ratings = LabelFile(
        path=labels.path.with_name("labels_detailed.csv"), minimum=MINIMUM, maximum=MAXIMUM
    )
    utterances = _parted(labels, test)
    straddling = _straddling(utterances)
    left_out = _left_out(utterances[straddling])
    utterances = _utterances(labels, utterances[~straddling], first_there(release, folder, AUDIO))
    rated = _ratings(ratings, utterances["id"]) if ratings.path.exists() else None
    findings = (*labels.findings, *ratings.findings)
    if findings:
        raise CorpusError(f"{name}: wrong files in {folder}", findings)
    return Corpus(
        name=name,
        utterances=utterances,
        minimum=MINIMUM,
        maximum=MAXIMUM,
        ratings=rated,
        licence="by agreement with the University of Texas at Dallas; not to be passed on",
        citation="Lotfian & Busso (2019), doi:10.1109/TAFFC.2017.2736999",
        notes=(
            f"Spontaneous speech from podcasts. {test} is the test split; the release's other test "
            f"sets are left out. {left_out}"
        ),
    )


def _parted(labels: LabelFile, test: str) -> pd.DataFrame:
    """The rows, by line, whose partition is in use, with `id`, `speaker`, `split`, `partition`."""
    rows = _rows(labels)
    partition = rows["Split_Set"].str.strip()
    unknown = ~partition.isin([*PARTITIONS, *TESTS])
    labels.tell(quoted(partition[unknown]) + " is no partition", "Split_Set")
    rows["id"] = rows["FileName"].str.strip().str.removesuffix(".wav")
    speaker = rows["SpkrID"].str.strip()
    rows["speaker"] = speaker.mask(speaker.str.lower().isin(["", "unknown"]), UNKNOWN)
    rows["partition"] = partition
    rows["split"] = partition.map({**PARTITIONS, test: "test"})
    kept: pd.DataFrame = rows[rows["split"].notna()]
    for split in SPLITS:
        if split not in set(kept["split"]):
            labels.findings.append(f"{labels.path.name}: no row is in the {split} split")
    twice = kept["id"][kept["id"].duplicated()]
    labels.tell(quoted(twice) + " is there already", "FileName")
    return kept


def _rows(labels: LabelFile) -> pd.DataFrame:
    """The cells that are needed, as text, by line and column name."""
    lines = labels.lines()
    header = [name.strip() for name in lines.iloc[0].split(",")]
    needed = ("FileName", *COLUMNS.values(), "SpkrID", "Split_Set")
    missing = [name for name in needed if header.count(name) != 1]
    if missing:
        findings = (f"line {lines.index[0]}: not one column '{name}'" for name in missing)
        raise CorpusError(f"{labels.path} is not MSP-Podcast's", tuple(findings))
    ragged = lines.str.count(",") != len(header) - 1
    labels.tell(quoted(lines[ragged]) + f" does not have {len(header)} cells")
    cells = lines[~ragged].str.split(",", expand=True)
    cells.columns = pd.Index(header)
    rows: pd.DataFrame = cells.iloc[1:].copy()
    return rows


def _straddling(rows: pd.DataFrame) -> pd.Series[bool]:
    """Which rows are of a speaker who is in a later split too."""
    order = rows["split"].map({split: place for place, split in enumerate(SPLITS)})
    last = order.groupby(rows["speaker"]).transform("max")
    return (order < last) & (rows["speaker"] != UNKNOWN)


def _left_out(rows: pd.DataFrame) -> str:
    if rows.empty:
        return "No speaker is in several of its partitions."
    return (
        "Left out of train or validation, because their speakers are in a later split too: "
        f"{len(rows):,} utterances (speakers: {rows['speaker'].nunique():,})."
    )


def _utterances(labels: LabelFile, rows: pd.DataFrame, audio: Path) -> pd.DataFrame:
    table = rows[["id", "speaker", "split", "partition"]].copy()
    table["path"] = f"{audio}/" + rows["id"] + ".wav"
    table["samples"] = labels.samples(table["path"], "FileName")
    for dimension, column in COLUMNS.items():
        table[dimension] = labels.numbers(rows[column], column)
    numbered: pd.DataFrame = table.reset_index(drop=True)
    return numbered


def _ratings(ratings: LabelFile, ids: pd.Series[str]) -> pd.DataFrame | None:
    lines = ratings.lines()
    if lines.iloc[0].replace(" ", "") != "FileName,EmoDetail":
        ratings.findings.append(
            f"{ratings.path.name}, line {lines.index[0]}: the columns are not FileName,EmoDetail"
        )
        return None
    # Details hold commas, quoted or not.
    cells = lines.str.partition(",")
    utterance = cells[0].str.strip().str.removesuffix(".wav")
    kept = utterance.isin(ids)
    if not kept.any():
        ratings.findings.append(f"{ratings.path.name}: no line rates one of the utterances")
    scored = ratings.scored(cells[2][kept].str.strip())
    scored["utterance"] = utterance[scored.index]
    return long_form(scored.rename(columns={"who": "annotator"}))
