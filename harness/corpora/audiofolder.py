"""A folder of audio with metadata.csv: the format for one's own data, and all that can be wrong.

`metadata.csv` (or `.jsonl`, `.parquet`) has `file_name` and `speaker`, optionally `split` (train,
validation, test; without it splits are made by speaker) and the labels `activation` (or
`arousal`), `valence`, `dominance`; an empty cell is not labelled. `ratings.csv` has `file_name`,
`annotator` and any of the dimensions; a dimension without a column in the metadata is labelled
with the mean of its ratings, and an annotator who rated an utterance twice counts once, with the
mean of both. `corpus.toml` may state `name`, `licence`, `citation`, `notes`, `synthetic`,
`derived`, and the scale as a table `[scale]` with `min` and `max`; a scale must be stated if a
label is outside [-1, 1].
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pandas as pd
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from serbench.harness.corpora.base import SPLITS, Corpus
from serbench.harness.corpora.folds import speaker_splits
from serbench.harness.corpora.recordings import probe
from serbench.harness.corpora.summary import Summary, summarise
from serbench.harness.errors import CorpusError, RequestError
from serbench.harness.metrics import DIMENSIONS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Report", "check", "load"]

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
ALIASES = {"arousal": "activation"}
KNOWN = {"file_name", "speaker", "split", "annotator", *DIMENSIONS, *ALIASES}
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, kw_only=True)
class Report:
    """What `check` found: everything that is wrong, or else what the corpus holds."""

    folder: str
    findings: tuple[str, ...]
    """One line each: file, line (or row of a Parquet table, from 1) and column, and what it is."""
    summary: Summary | None
    """None if there are findings."""


def check(folder: str) -> Report:
    """Read all but the audio itself, of which only the headers; wrong data does not raise."""
    try:
        return Report(folder=folder, findings=(), summary=summarise(load(folder)))
    except CorpusError as error:
        return Report(folder=folder, findings=error.findings or (str(error),), summary=None)


def load(root: str | None) -> Corpus:
    """Read an AudioFolder; the ids are the file names as written in the metadata.

    Raises:
        RequestError: no folder is given.
        CorpusError: something in it is wrong; `findings` has all of it.
    """
    if root is None:
        raise RequestError("audiofolder needs its folder: audiofolder=FOLDER")
    folder = Path(root).resolve()
    if not folder.is_dir():
        raise CorpusError(f"there is no folder {root}")
    reading = _Reading(folder)
    corpus = reading.corpus()
    if corpus is None:
        raise CorpusError(f"{root} is not a sound corpus", tuple(reading.findings))
    return corpus


class _Scale(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    min: float
    max: float

    @model_validator(mode="after")
    def _ascending(self) -> _Scale:
        if not self.min < self.max:
            raise ValueError("min must be below max")
        return self


class _Settings(BaseModel):
    """corpus.toml."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str | None = Field(None, min_length=1)
    scale: _Scale | None = None
    licence: str | None = Field(None, validation_alias=AliasChoices("licence", "license"))
    citation: str | None = None
    notes: str | None = None
    synthetic: bool = False
    derived: bool = False


@dataclass(frozen=True)
class _Table:
    """Known columns as they were read: text from CSV, Python values otherwise, None for empty."""

    file: str
    unit: str
    lines: list[int]
    columns: dict[str, list[Any]]

    def at(self, index: int, column: str) -> str:
        return f"{self.file}, {self.unit} {self.lines[index]}, {column}"

    @property
    def dimensions(self) -> list[str]:
        return [name for name in DIMENSIONS if name in self.columns]


class _Reading:
    """One folder being read: it goes on after a finding for as long as that makes sense."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.findings: list[str] = []

    def corpus(self) -> Corpus | None:
        """The corpus, or None if there are findings."""
        settings = self._settings()
        metadata = self._metadata()
        ratings = self._csv("ratings.csv", ("file_name", "annotator"))
        if metadata is None:
            return None
        utterances = self._utterances(metadata)
        rated = None if ratings is None else self._ratings(ratings, set(utterances["id"]))
        scale = self._scale(settings, [t for t in (metadata, ratings) if t is not None])
        if rated is not None:
            utterances = _with_means(utterances, rated)
        utterances = self._with_splits(metadata, utterances)
        self._check_labels(metadata, utterances)
        if self.findings:
            return None
        return Corpus(
            name=settings.name or self.folder.name,
            utterances=utterances,
            minimum=scale.min,
            maximum=scale.max,
            ratings=rated,
            **settings.model_dump(include={"licence", "citation", "notes", "synthetic", "derived"}),
        )

    # Files

    def _text(self, file: str) -> str | None:
        try:
            raw = (self.folder / file).read_bytes()
        except OSError as error:
            self.findings.append(f"{file}: cannot be read ({error.strerror})")
            return None
        if raw.startswith(BOM):
            self.findings.append(
                f"{file}, line 1: starts with a byte order mark (BOM); save it as UTF-8 without one"
            )
            raw = raw[len(BOM) :]
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            self.findings.append(f"{file}, line {line}: not UTF-8 (byte 0x{raw[error.start]:02x})")
            return None

    def _settings(self) -> _Settings:
        file = "corpus.toml"
        text = self._text(file) if (self.folder / file).exists() else None
        if text is None:
            return _Settings()
        try:
            return _Settings.model_validate(tomllib.loads(text))
        except ValidationError as error:
            for wrong in error.errors():
                where = ".".join(str(part) for part in wrong["loc"])
                self.findings.append(f"{file}, {where}: {wrong['msg']}")
        # A deeply nested array exhausts the parser's recursion.
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            self.findings.append(f"{file}: not TOML ({error})")
        return _Settings()

    def _metadata(self) -> _Table | None:
        there = [file for file in METADATA if (self.folder / file).exists()]
        if not there:
            self.findings.append(f"there is none of {', '.join(METADATA)}")
            return None
        if len(there) > 1:
            self.findings.append(f"{' and '.join(there)}: only one of them can be the metadata")
            return None
        required = ("file_name", "speaker")
        readers = {".csv": self._csv, ".jsonl": self._jsonl, ".parquet": self._parquet}
        return readers[Path(there[0]).suffix](there[0], required)

    def _csv(self, file: str, required: tuple[str, ...]) -> _Table | None:
        if not (self.folder / file).exists():
            return None
        text = self._text(file)
        if text is None:
            return None
        lines: list[int] = []
        records: list[list[str]] = []
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        try:
            # A quoted cell may hold line breaks, so a record's line is where the last one ended.
            start = 1
            for record in reader:
                if record:
                    lines.append(start)
                    records.append([cell.strip() for cell in record])
                start = reader.line_num + 1
        except csv.Error as error:
            self.findings.append(f"{file}, line {max(reader.line_num, 1)}: not CSV ({error})")
            return None
        return self._columns(file, lines, records, required)

    def _columns(
        self, file: str, lines: list[int], records: list[list[str]], required: tuple[str, ...]
    ) -> _Table | None:
        header = records[0] if records else []
        for mark, called in ((";", "';'"), ("\t", "tabs")):
            if len(header) == 1 and mark in header[0]:
                self.findings.append(f"{file}, line 1: columns are parted by {called}, not by ','")
                return None
        rows = []
        for line, record in zip(lines[1:], records[1:], strict=True):
            if len(record) == len(header):
                rows.append((line, dict(zip(header, record, strict=True))))
            else:
                self.findings.append(
                    f"{file}, line {line}: {len(record)} cells, but {len(header)} columns"
                )
        return self._table(file, "line", header, rows, required)

    def _jsonl(self, file: str, required: tuple[str, ...]) -> _Table | None:
        text = self._text(file)
        if text is None:
            return None
        rows: list[tuple[int, dict[str, Any]]] = []
        for number, line in enumerate(text.split("\n"), 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            # A number of thousands of digits is a ValueError, deep nesting a RecursionError.
            except (ValueError, RecursionError) as error:
                self.findings.append(f"{file}, line {number}: not JSON ({error})")
                continue
            if isinstance(record, dict):
                rows.append((number, record))
            else:
                self.findings.append(f"{file}, line {number}: not a JSON object")
        header = list(dict.fromkeys(key for _, record in rows for key in record))
        return self._table(file, "line", header, rows, required)

    def _parquet(self, file: str, required: tuple[str, ...]) -> _Table | None:
        import pyarrow.parquet

        try:
            table = pyarrow.parquet.read_table(self.folder / file)
            values = {
                name: table.column(index).to_pylist()
                for index, name in enumerate(table.column_names)
                if name in KNOWN
            }
        except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
            self.findings.append(f"{file}: not Parquet ({error})")
            return None
        rows = [
            (index + 1, {name: column[index] for name, column in values.items()})
            for index in range(table.num_rows)
        ]
        return self._table(file, "row", table.column_names, rows, required)

    def _table(
        self,
        file: str,
        unit: str,
        header: list[str],
        rows: list[tuple[int, dict[str, Any]]],
        required: tuple[str, ...],
    ) -> _Table | None:
        names = [ALIASES.get(name, name) for name in header if name in KNOWN]
        missing = [name for name in required if name not in names]
        where = f"{file}, line 1" if file.endswith(".csv") else file
        self.findings += [f"{where}: there is no column '{name}'" for name in missing]
        twice = sorted({name for name in names if names.count(name) > 1})
        self.findings += [f"{where}: there are two columns for '{name}'" for name in twice]
        if missing or twice:
            return None
        if not rows:
            self.findings.append(f"{file}: holds no rows")
            return None
        columns = {
            ALIASES.get(name, name): [
                None if record.get(name) == "" else record.get(name) for _, record in rows
            ]
            for name in header
            if name in KNOWN
        }
        return _Table(file, unit, [line for line, _ in rows], columns)

    # Cells

    def _words(self, table: _Table, column: str) -> list[str]:
        """The column as text; what is empty or no text is a finding, and '' in the list."""
        words = []
        for index, value in enumerate(table.columns[column]):
            word = _word(value)
            if word is None:
                what = "empty" if value is None else f"{value!r:.60} is not text"
                self.findings.append(f"{table.at(index, column)}: {what}")
            words.append(word or "")
        return words

    def _numbers(self, table: _Table, column: str) -> list[float]:
        """The column as numbers; NaN where it is empty, and where it is a finding."""
        numbers = []
        for index, value in enumerate(table.columns[column]):
            number = math.nan if value is None else _number(value)
            if number is None:
                self.findings.append(f"{table.at(index, column)}: {value!r:.60} is not a number")
            elif value is not None and not math.isfinite(number):
                self.findings.append(
                    f"{table.at(index, column)}: {value} is not finite (leave it empty if unrated)"
                )
            numbers.append(number if number is not None and math.isfinite(number) else math.nan)
        return numbers

    def _file_names(self, table: _Table) -> list[str]:
        names = []
        for index, word in enumerate(self._words(table, "file_name")):
            if word and _escapes(word):
                self.findings.append(
                    f"{table.at(index, 'file_name')}: '{word}' is not inside the folder"
                )
                word = ""
            names.append(PurePosixPath(word).as_posix() if word else "")
        return names

    # What the tables say

    def _utterances(self, table: _Table) -> pd.DataFrame:
        names = self._file_names(table)
        first: dict[str, int] = {}
        for index, name in enumerate(names):
            if name and first.setdefault(name, index) != index:
                self.findings.append(
                    f"{table.at(index, 'file_name')}: '{name}' is there already, in "
                    f"{table.unit} {table.lines[first[name]]}"
                )
        utterances: pd.DataFrame = pd.DataFrame(
            {
                "id": names,
                "path": [str(self.folder / name) for name in names],
                "speaker": self._words(table, "speaker"),
                "samples": self._samples(table, names),
                **{name: self._numbers(table, name) for name in table.dimensions},
            }
        )
        return utterances

    def _samples(self, table: _Table, names: list[str]) -> list[int]:
        samples = []
        for index, found in enumerate(probe([self.folder / name for name in names])):
            if isinstance(found, str) and names[index]:
                self.findings.append(f"{table.at(index, 'file_name')}: '{names[index]}': {found}")
            samples.append(found if isinstance(found, int) else 0)
        return samples

    def _ratings(self, table: _Table, known: set[str]) -> pd.DataFrame | None:
        names = self._file_names(table)
        for index, name in enumerate(names):
            if name and name not in known:
                self.findings.append(
                    f"{table.at(index, 'file_name')}: a rating of '{name}', which the metadata lack"
                )
        annotators = self._words(table, "annotator")
        if not table.dimensions:
            self.findings.append(f"{table.file}: there is no column of {', '.join(DIMENSIONS)}")
            return None
        parts = [
            pd.DataFrame(
                {
                    "utterance": names,
                    "annotator": annotators,
                    "dimension": dimension,
                    "value": self._numbers(table, dimension),
                }
            )
            for dimension in table.dimensions
        ]
        rated: pd.DataFrame = pd.concat(parts).dropna(subset="value")
        by = ["utterance", "annotator", "dimension"]
        return rated.groupby(by, sort=False, as_index=False).mean() if len(rated) else None

    def _scale(self, settings: _Settings, tables: list[_Table]) -> _Scale:
        """The stated scale, or [-1, 1]; labels outside it are findings."""
        scale = settings.scale or _Scale(min=-1.0, max=1.0)
        outside = [
            (f"{table.at(index, name)}", number)
            for table in tables
            for name in table.dimensions
            for index, value in enumerate(table.columns[name])
            if (number := _number(value)) is not None
            and math.isfinite(number)
            and not scale.min <= number <= scale.max
        ]
        if settings.scale is not None:
            self.findings += [
                f"{where}: {number:g} is outside the scale from {scale.min:g} to {scale.max:g}"
                for where, number in outside
            ]
        elif outside:
            where, number = outside[0]
            self.findings.append(
                f"{where}: {number:g} is outside [-1, 1] and no scale is stated: put a table "
                "[scale] with min = … and max = … into corpus.toml"
            )
        return scale

    def _with_splits(self, table: _Table, utterances: pd.DataFrame) -> pd.DataFrame:
        if "split" not in table.columns:
            dimensions = [name for name in DIMENSIONS if name in utterances.columns]
            labels = utterances[dimensions] if dimensions else None
            try:
                splits: list[Any] = list(speaker_splits(list(utterances["speaker"]), labels))
            except CorpusError as error:
                self.findings.append(f"{table.file}, no column 'split': {error}")
                splits = ["train"] * len(utterances)
        else:
            splits = self._words(table, "split")
            self.findings += _wrong_splits(table, splits)
            self.findings += _straddling(table, list(utterances["speaker"]), splits)
        parted: pd.DataFrame = utterances.assign(split=splits)
        return parted

    def _check_labels(self, table: _Table, utterances: pd.DataFrame) -> None:
        dimensions = [name for name in DIMENSIONS if name in utterances.columns]
        if not dimensions:
            self.findings.append(
                f"{table.file}: no labels; a column {', '.join(DIMENSIONS)} is needed, here or in "
                "ratings.csv"
            )
        for name in dimensions:
            for split in SPLITS:
                rows = utterances[utterances["split"] == split]
                if len(rows) and not rows[name].notna().any():
                    self.findings.append(
                        f"{table.file}, {name}: no utterance of the {split} split is labelled"
                    )


def _word(value: object) -> str | None:
    """Text, or a whole number as text (a speaker may be 3); None if it is neither, or empty."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        return None
    try:
        # JSON may escape half of a surrogate pair, which no file name or database can hold.
        value.encode("utf-8")
    except UnicodeEncodeError:
        return None
    return value.strip() or None


def _number(value: object) -> float | None:
    """A float, maybe not a finite one; None if it is no number."""
    # Python reads 1_000 as a number; a label so written is a slip.
    if not isinstance(value, (str, int, float)) or isinstance(value, bool) or "_" in str(value):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _escapes(name: str) -> bool:
    kinds = (PurePosixPath(name), PureWindowsPath(name))
    return any(path.anchor or ".." in path.parts for path in kinds)


def _with_means(utterances: pd.DataFrame, rated: pd.DataFrame) -> pd.DataFrame:
    """Add the mean rating as the label of each dimension that the metadata do not label."""
    means = rated.groupby(["dimension", "utterance"])["value"].mean()
    added = {
        name: utterances["id"].map(means.loc[name])
        for name in DIMENSIONS
        if name not in utterances.columns and name in means.index.get_level_values(0)
    }
    labelled: pd.DataFrame = utterances.assign(**added)
    return labelled


def _wrong_splits(table: _Table, splits: list[str]) -> Iterator[str]:
    for index, split in enumerate(splits):
        if split and split not in SPLITS:
            near = difflib.get_close_matches(split.lower(), SPLITS, n=1, cutoff=0.3)
            hint = f"; did you mean {near[0]}?" if near else ""
            yield f"{table.at(index, 'split')}: there is no split '{split}'{hint}"
    for wanted in SPLITS:
        if wanted not in splits:
            yield f"{table.file}, split: no utterance is in the {wanted} split"


def _straddling(table: _Table, speakers: list[str], splits: list[str]) -> Iterator[str]:
    first: dict[str, int] = {}
    told = set()
    for index, (speaker, split) in enumerate(zip(speakers, splits, strict=True)):
        held = first.setdefault(speaker, index)
        if speaker and split in SPLITS and splits[held] in SPLITS and splits[held] != split:
            if speaker not in told:
                yield (
                    f"{table.at(index, 'speaker')}: '{speaker}' is in {split} here and in "
                    f"{splits[held]} in {table.unit} {table.lines[held]}"
                )
            told.add(speaker)
