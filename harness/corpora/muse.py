"""MuSE: monologues of 28 speakers, stressed and not stressed, each sentence rated by a crowd.

Jaiswal, Bara, Luo, Burzo, Mihalcea & Mower Provost (2020), "MuSE: a Multimodal Dataset of Stressed
Emotion", LREC, 1499-1510. One CSV has a line for each sentence: its `Type` (S or NS), the means,
and the ratings in one cell, parted by `;`, without a word of who gave them. The columns `C_…`, by
workers who heard the sentences before too, and `S_…`, by the speakers themselves, are not read.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from serbench.harness.corpora.base import Corpus
from serbench.harness.corpora.folds import speaker_splits
from serbench.harness.corpora.recordings import probe
from serbench.harness.corpora.releases import Release, bounded, decoded
from serbench.harness.errors import CorpusError

__all__ = ["load"]

RELEASE = Release("muse", "the CSV of the ratings and the audio, at any depth")

NAME = "Sentence_name"
RATED = {"activation": "Activation", "valence": "Valence"}
"""What a dimension's columns begin with."""
COLUMNS = (
    NAME,
    "Type",
    *(f"{column}_{what}" for column in RATED.values() for what in ("Mean", "Annotation")),
)
MINIMUM, MAXIMUM = 1.0, 9.0

CONDITION = re.compile(r"(?P<non>n|non|not|un)?[\s_-]*s(?:tress|_|\b)", re.IGNORECASE)
"""How a `Type`, or the name of a folder of audio, begins: `NS`, `Stressed`, `Not Stressed`…"""


def load(root: str | None) -> Corpus:
    """Read a folder that holds, at any depth, the CSV of the ratings and the audio.

    Since nobody knows who gave a rating, it gets an annotator of its own, `SENTENCE#1` and so on:
    no annotator is in two utterances. The nth ratings of activation and of valence are taken to be
    one listener's if there are as many of both; else they get annotators apart.

    There are no official splits; speakers are parted as `folds.speaker_splits` does.

    Raises:
        RequestError: no folder is given.
        CorpusError: the folder or its files are missing, or are not what MuSE's are.
    """
    folder = RELEASE.folder(root)
    tables, audio = _walked(folder)
    reading = _Reading(folder, _labels(folder, tables))
    table = reading.utterances(audio)
    ratings = reading.ratings(table)
    if findings := bounded(reading.findings.values()):
        raise CorpusError(f"muse: wrong files in {folder}", findings)
    splits = speaker_splits(list(table["speaker"]), table[list(RATED)])
    return Corpus(
        name="muse",
        utterances=table.assign(split=splits),
        minimum=MINIMUM,
        maximum=MAXIMUM,
        ratings=ratings if len(ratings) else None,
        anonymous=True,
        licence="from its authors (University of Michigan), on their terms",
        citation="Jaiswal et al. (2020), https://aclanthology.org/2020.lrec-1.187",
        notes=(
            "Spontaneous monologues, from a session under stress and one without for each speaker. "
            "Crowd workers rated each sentence without those before it. The release does not say "
            "who gave a rating, so that no annotator is in two utterances."
        ),
    )


def _walked(folder: Path) -> tuple[list[Path], dict[str, list[Path]]]:
    """The CSV files, and the audio by the stem of its name."""
    tables: list[Path] = []
    audio: defaultdict[str, list[Path]] = defaultdict(list)
    for where, folders, files in os.walk(folder):
        folders.sort()
        for path in (Path(where, file) for file in sorted(files)):
            if path.suffix.lower() == ".csv":
                tables.append(path)
            elif path.suffix.lower() == ".wav":
                audio[path.stem].append(path)
    return tables, audio


def _labels(folder: Path, tables: Sequence[Path]) -> Path:
    """The one CSV that has the columns."""
    headers = {path.relative_to(folder): _header(path) for path in tables}
    named = [path for path, header in headers.items() if NAME in header]
    whole = [path for path in named if headers[path].issuperset(COLUMNS)]
    if len(whole) == 1:
        return folder / whole[0]
    if whole:
        findings = tuple(f"{path.as_posix()}: only one can be the labels" for path in whole)
        raise CorpusError(f"muse: {len(whole)} CSV files in {folder} have its columns", findings)
    lacking = (
        f"{path.as_posix()}, line 1: there is no column '{column}'"
        for path in named
        for column in COLUMNS
        if column not in headers[path]
    )
    wanted = f"CSV file with the columns {', '.join(COLUMNS)}"
    raise RELEASE.lacks(wanted, folder, tuple(lacking))


def _header(path: Path) -> set[str]:
    """Names of the columns; none if the file is no such table."""
    try:
        with path.open("rb") as file:
            # Other tables of the release may be large, and what is no table may have no lines.
            line = decoded(file.readline(1 << 16))
        return {cell.strip() for record in csv.reader([line], strict=True) for cell in record}
    except (OSError, csv.Error):
        return set()


def _condition(text: str) -> str | None:
    """S, NS, or None for what begins with neither."""
    match = CONDITION.match(text.strip())
    return match and ("NS" if match["non"] else "S")


class _Reading:
    """The labels' file being read: it goes on after a finding, so that all are found."""

    def __init__(self, folder: Path, labels: Path) -> None:
        self.folder = folder
        self.file = labels.relative_to(folder).as_posix()
        self.findings: defaultdict[str, list[str]] = defaultdict(list)
        """By kind."""
        self._lines: list[int] = []
        """Of the file, for each row."""
        self._cells = self._read(labels)

    def utterances(self, audio: Mapping[str, Sequence[Path]]) -> pd.DataFrame:
        """One row an utterance, without its split; what is wrong is a finding."""
        written, given = self._cells[NAME], self._cells["Type"]
        names = written.str.replace(r"\.wav$", "", case=False, regex=True)
        types = given.map(_condition).fillna("")
        twice = pd.DataFrame({"name": names, "type": types}).duplicated() & names.ne("")
        self._find(NAME, written, names.eq(""), "is no name")
        self._find(NAME, written, twice, "is there already")
        self._find("Type", given, types.eq(""), "is neither S nor NS")
        recordings = [
            self._recording(row, name, condition, audio) if name and condition else None
            for row, (name, condition) in enumerate(zip(names, types, strict=True))
        ]
        table: pd.DataFrame = pd.DataFrame(
            {
                # A name may be there once in each condition.
                "id": names.mask(names.duplicated(keep=False), names + "_" + types),
                "path": [str(recording) for recording in recordings],
                "speaker": names.str[:2],
                "samples": self._samples(recordings),
                "type": types,
                **{
                    name: self._numbers(f"{column}_Mean", self._cells[f"{column}_Mean"])
                    for name, column in RATED.items()
                },
            }
        )
        return table

    def ratings(self, table: pd.DataFrame) -> pd.DataFrame:
        """Each rating, by an annotator of this one utterance."""
        cells = {name: self._cells[f"{column}_Annotation"] for name, column in RATED.items()}
        counts = pd.DataFrame({name: lists.str.count(";") for name, lists in cells.items()})
        together = counts.nunique(axis=1).eq(1)
        parts = []
        for dimension, lists in cells.items():
            words = lists.str.split(";").explode().str.strip()
            ids = table["id"].reindex(words.index)
            prefix = np.where(together.reindex(words.index), "#", f"#{dimension} ")
            part = {
                "utterance": ids,
                "annotator": ids + prefix + (words.groupby(level=0).cumcount() + 1).astype(str),
                "dimension": dimension,
                "value": self._numbers(f"{RATED[dimension]}_Annotation", words),
            }
            parts.append(pd.DataFrame(part))
        rated: pd.DataFrame = pd.concat(parts, ignore_index=True).dropna(subset="value")
        return rated

    def _read(self, path: Path) -> pd.DataFrame:
        """The columns, as text."""
        header: list[str] = []
        records: list[list[str]] = []
        try:
            reader = csv.reader(io.StringIO(decoded(path.read_bytes()), newline=""), strict=True)
            header = [cell.strip() for cell in next(reader)]
            # A quoted cell may hold line breaks, so a record begins where the last one ended.
            start = reader.line_num + 1
            for record in reader:
                cells = [cell.strip() for cell in record]
                if len(cells) == len(header):
                    self._lines.append(start)
                    records.append(cells)
                elif any(cells):
                    what = f"{len(cells)} cells, but {len(header)} columns"
                    self.findings["cells"].append(f"{self.file}, line {start}: {what}")
                start = reader.line_num + 1
        except OSError as error:
            self.findings["file"].append(f"{self.file}: cannot be read ({error.strerror})")
        except csv.Error as error:
            self.findings["file"].append(f"{self.file}, line {reader.line_num}: not CSV ({error})")
        if not records:
            self.findings["file"].append(f"{self.file}: holds no utterances")
        columns = dict(zip(header, zip(*records, strict=True), strict=False))
        table: pd.DataFrame = pd.DataFrame(
            {name: columns.get(name, ()) for name in COLUMNS}, dtype=object
        )
        return table

    def _numbers(self, column: str, words: pd.Series[str]) -> pd.Series[float]:
        """The words as numbers; NaN for a blank, and for a finding."""
        numbers = pd.to_numeric(words.mask(words.eq("")), errors="coerce").astype(float)
        outside = numbers.notna() & ~numbers.between(MINIMUM, MAXIMUM)
        self._find(column, words, words.ne("") & numbers.isna(), "is not a number")
        self._find(column, words, outside, "is outside the scale from 1 to 9")
        return numbers

    def _find(self, column: str, words: pd.Series[str], wrong: pd.Series[bool], what: str) -> None:
        self.findings[what] += [
            f"{self._at(row, column)}: '{word:.60}' {what}"
            for row, word in zip(words.index[wrong].tolist(), words[wrong], strict=True)
        ]

    def _recording(
        self, row: int, name: str, condition: str, audio: Mapping[str, Sequence[Path]]
    ) -> Path | None:
        """The one file that can be the utterance; if there is none, that is a finding."""
        found = audio.get(name, ())
        fitting = [path for path in found if self._condition_of(path) == condition]
        # Where no folder tells the condition, all of the audio may lie.
        fitting = fitting or [path for path in found if self._condition_of(path) is None]
        if len(fitting) == 1:
            return fitting[0]
        names = ", ".join(map(self._name, fitting or found))
        what = f"which of these is it? {names}" if fitting else f"there is no {name}.wav"
        if found and not fitting:
            what += f" for Type {condition}, only {names}"
        self.findings["audio"].append(f"{self._at(row, NAME)}: {what}")
        return None

    def _condition_of(self, path: Path) -> str | None:
        """What the innermost folder tells whose name tells one."""
        names = reversed(path.relative_to(self.folder).parts[:-1])
        return next(filter(None, map(_condition, names)), None)

    def _samples(self, recordings: Sequence[Path | None]) -> list[int]:
        """Lengths; what is wrong with a file is a finding."""
        there = [recording for recording in recordings if recording is not None]
        lengths: dict[Path | None, int | str] = dict(zip(there, probe(there), strict=True))
        samples = []
        for row, recording in enumerate(recordings):
            found = lengths.get(recording, 0)
            if isinstance(found, str) and recording is not None:
                where = f"{self._at(row, NAME)}: '{self._name(recording)}'"
                self.findings["audio"].append(f"{where}: {found}")
            samples.append(found if isinstance(found, int) else 0)
        return samples

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def _at(self, row: int, column: str) -> str:
        return f"{self.file}, line {self._lines[row]}, {column}"
