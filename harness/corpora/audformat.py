"""A database in audEERING's audformat: which of its columns are labels, ratings and speakers.

The format is told at https://audeering.github.io/audformat/ and read by the package of that name,
which does what a header's YAML tags and a pickled table tell it to: a database has to be trusted
like a program.
"""

from __future__ import annotations

import lzma
import math
import pickle
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from serbench.harness.backbone import SAMPLE_RATE_HZ
from serbench.harness.corpora.base import Corpus, Split
from serbench.harness.corpora.folds import FOLDS, speaker_parts, speaker_splits
from serbench.harness.corpora.recordings import SHORTEST, probe
from serbench.harness.corpora.releases import Release
from serbench.harness.errors import CorpusError, RequestError
from serbench.harness.metrics import DIMENSIONS

__all__ = ["load"]

HEADER = "db.yaml"
RELEASE = Release("audformat", f"{HEADER}, as audformat.Database.save writes it")
STORED = ("pkl", "parquet", "csv")
"""Endings of a table's file, in the order in which the package looks for it."""
ALIASES = {"arousal": "activation"}
RATERS = ("rater", "annotator")
SPLIT_TYPES: dict[str, Split] = {"train": "train", "dev": "validation", "test": "test"}
UTTERANCE = ["file", "start", "end"]
"""What tells utterances apart; the times in nanoseconds, as audformat has them."""
TO_THE_END = -1
NS = 1_000_000_000
OVERHANG_S = 0.05
"""How far a segment may end behind its file and mean the file's end: such times are rounded."""
ALIKE = 1e-9
"""Labels that differ by less were rescaled from the same one."""
FAILURES = (
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    StopIteration,
    TypeError,
    ValueError,
    lzma.LZMAError,
    pickle.PickleError,
)
"""What the package raises at a header or a table that is broken: it checks little of it itself."""


def load(root: str | None) -> Corpus:
    """Read the folder that `audformat.Database.save` wrote; the ids are files or parts of them.

    Raises:
        RequestError: no folder is given, or the package `audformat` is not installed.
        CorpusError: something in it is wrong; `findings` has all of it.
    """
    folder = RELEASE.folder(root)
    if not (folder / HEADER).is_file():
        raise RELEASE.lacks(HEADER, folder)
    return _Reading(folder, _database(folder)).corpus()


def _database(folder: Path) -> Any:
    try:
        import audformat
        import yaml
    except ImportError as error:
        raise RequestError(
            f"audformat needs a package ({error}): pip install serbench[audformat]"
        ) from error
    try:
        db = audformat.Database.load(str(folder))
        # Names of different types, which YAML allows, fail only where they are sorted.
        list(db)
    except (*FAILURES, yaml.YAMLError) as error:
        raise CorpusError(
            f"audformat: {folder / HEADER} cannot be read ({_reason(error)})"
        ) from error
    return db


@dataclass(frozen=True)
class _Table:
    """A table about files, with `UTTERANCE` in each of its rows."""

    name: str
    file: str
    columns: dict[Any, Any]
    """What the header says of each."""
    split_type: str | None
    rows: pd.DataFrame

    def at(self, row: int, column: str) -> str:
        unit, first = ("line", 2) if self.file.endswith(".csv") else ("row", 1)
        return f"{self.file}, {unit} {row + first}, {column}"

    @property
    def raters(self) -> pd.Series[Any] | None:
        """Who gave the ratings of each row, where that is told row by row."""
        column = next((name for name in self.rows if str(name).lower() in RATERS), None)
        return None if column is None else _words(self.rows[column])


@dataclass(frozen=True)
class _Labels:
    """A column of labels in one dimension, and who gave them."""

    table: _Table
    column: Any
    dimension: str
    annotators: pd.Series[Any] | str | None
    """One for each row, one for all of them, or None for a consensus."""
    gold: bool

    def at(self, row: int) -> str:
        return self.table.at(row, self.column)


class _Reading:
    """One database being read: it goes on after a finding for as long as that makes sense."""

    def __init__(self, folder: Path, db: Any) -> None:
        self.folder = folder
        self.db = db
        self.findings: list[str] = []
        self.remarks: list[str] = []
        self.tables = [table for name in db if (table := self._table(name)) is not None]
        self.complete = not self.findings
        self.labels = _preferred([each for table in self.tables for each in self._labels(table)])

    def corpus(self) -> Corpus:
        """The corpus.

        Raises:
            CorpusError: there are findings.
        """
        for table in {each.table.name: each.table for each in self.labels}.values():
            self._check_rows(table)
        values, minimum, maximum = self._values()
        utterances, ratings = self._utterances(values, minimum, maximum)
        utterances["samples"] = self._samples(utterances)
        if self.complete:
            utterances["speaker"] = self._speakers(utterances)
        self._stop()
        utterances["split"] = self._splits(utterances)
        self._check_labels(utterances)
        self._stop()
        return Corpus(
            name=_text(self.db.name) or self.folder.name,
            utterances=utterances.drop(columns=[*UTTERANCE, "labels", "row"]),
            minimum=minimum,
            maximum=maximum,
            ratings=ratings if len(ratings) else None,
            licence=_text(self.db.license),
            citation=_text(self.db.source),
            notes=" ".join(filter(None, [_text(self.db.description), *self.remarks])) or None,
        )

    def _stop(self) -> None:
        if self.findings:
            findings = tuple(dict.fromkeys(self.findings))
            raise CorpusError(f"audformat: {self.folder} is not a sound corpus", findings)

    def _at(self, utterance: Any, column: str) -> str:
        """Where the tables first have an utterance."""
        labels: _Labels = self.labels[utterance.labels]
        return labels.table.at(utterance.row, column)

    # Tables

    def _table(self, name: Any) -> _Table | None:
        """The table, or None if it is broken or not about files."""
        header = self.db[name]
        kind = getattr(header, "type", "misc")
        try:
            levels = (
                header.levels if kind == "misc" else UTTERANCE[: 1 if kind == "filewise" else 3]
            )
            expected = (*levels, *header.columns)
            if "file" not in expected:
                return None
            rows = header.df.reset_index()
        except FAILURES as error:
            self.findings.append(f"db.{name}: cannot be read ({_reason(error)})")
            return None
        stored = [f"db.{name}.{ending}" for ending in STORED]
        file = next(path for path in stored if (self.folder / path).exists())
        wrong = [f"{file}: there is no column '{each}'" for each in expected if each not in rows]
        if not wrong:
            rows["file"] = _words(rows["file"])
        for edge, otherwise in (("start", 0), ("end", TO_THE_END)):
            if edge not in expected or kind == "filewise":
                rows[edge] = otherwise
            elif pd.api.types.is_timedelta64_dtype(rows.get(edge)):
                times = rows[edge].astype("timedelta64[ns]").fillna(pd.Timedelta(otherwise, "ns"))
                rows[edge] = times.astype("int64")
            else:
                wrong.append(f"{file}, {edge}: is not of type time")
        self.findings += wrong
        split = self.db.splits.get(header.split_id)
        split_type = None if split is None else split.type
        return None if wrong else _Table(name, file, dict(header.columns), split_type, rows)

    def _labels(self, table: _Table) -> Iterator[_Labels]:
        if table.split_type not in (None, *SPLIT_TYPES):
            return
        by_row = table.raters
        for name, column in table.columns.items():
            dimension = self._dimension(name, column)
            kind = getattr(_entry(self.db.raters, column.rater_id), "type", None)
            if dimension is None or kind == "machine":
                continue
            if kind is None and column.rater_id is not None:
                where = f"{HEADER}, column '{name}' of table '{table.name}'"
                self.findings.append(f"{where}: there is no rater '{column.rater_id}'")
            names = (table.name, name, column.rater_id)
            gold = by_row is None and any("gold" in str(text).lower() for text in names)
            human = str(column.rater_id) if kind == "human" and not gold else None
            annotators = human if by_row is None else by_row
            yield _Labels(table, name, dimension, annotators, gold)

    def _dimension(self, name: Any, column: Any) -> str | None:
        """What a column of numbers labels, by its name without the rater's, or by its scheme's."""
        scheme = _entry(self.db.schemes, column.scheme_id)
        if scheme is not None and scheme.dtype not in ("int", "float"):
            return None
        names = (str(name).removesuffix(f".{column.rater_id}"), str(column.scheme_id))
        found = [ALIASES.get(text.lower(), text.lower()) for text in names]
        return next((text for text in found if text in DIMENSIONS), None)

    def _check_rows(self, table: _Table) -> None:
        rows = table.rows
        for row in rows.index[rows["file"].isna()]:
            self.findings.append(f"{table.at(row, 'file')}: empty")
        by_row = table.raters
        if by_row is None:
            twice = rows[rows.duplicated(UTTERANCE) & rows["file"].notna()]
            for row, name in zip(twice.index, _named(twice), strict=True):
                self.findings.append(f"{table.at(row, 'file')}: '{name}' is there already")
        else:
            for row in rows.index[by_row.isna()]:
                self.findings.append(f"{table.at(row, str(by_row.name))}: empty")

    # Labels and ratings

    def _values(self) -> tuple[pd.DataFrame, float, float]:
        """A row for each label and rating, and the ends of their scale.

        The columns are `UTTERANCE`, `dimension`, `annotator` (missing for a consensus), `value`,
        `labels` (which of `self.labels`) and `row`.
        """
        read = [(labels, self._numbers(labels)) for labels in self.labels]
        filled = [(labels, numbers) for labels, numbers in read if numbers.notna().any()]
        self.labels = [labels for labels, _ in filled]
        scales = [self._scale(*each) for each in filled]
        alike = len(set(scales)) == 1
        if not alike:
            self.remarks.append("Labels on different scales were each rescaled to [-1, 1].")
        parts = []
        for index, ((labels, own), (low, high)) in enumerate(zip(filled, scales, strict=True)):
            part = labels.table.rows[UTTERANCE].assign(
                dimension=labels.dimension,
                annotator=labels.annotators,
                value=own if alike else 2 * (own - low) / (high - low) - 1,
                labels=index,
            )
            parts.append(part[own.notna() & part["file"].notna()])
        if not any(map(len, parts)):
            self._stop()
            raise CorpusError(
                f"audformat: {self.folder} has no labels of arousal, valence or dominance (splits "
                "of type other and raters of type machine do not count)"
            )
        values = pd.concat(parts).reset_index(names="row")
        return values, *(scales[0] if alike else (-1.0, 1.0))

    def _numbers(self, labels: _Labels) -> pd.Series[float]:
        cells = labels.table.rows[labels.column].astype(object)
        numbers: pd.Series[float] = pd.to_numeric(cells, errors="coerce").astype(float)
        for row in numbers.index[cells.notna() & numbers.isna()]:
            self.findings.append(f"{labels.at(row)}: {cells[row]!r:.60} is not a number")
        return numbers

    def _scale(self, labels: _Labels, numbers: pd.Series[float]) -> tuple[float, float]:
        """The scheme's, or [-1, 1] where none is stated; a label outside is a finding."""
        scheme_id = labels.table.columns[labels.column].scheme_id
        scheme = _entry(self.db.schemes, scheme_id)
        ends: dict[str, Any] = {end: getattr(scheme, end, None) for end in ("minimum", "maximum")}
        if set(map(type, ends.values())) == {type(None)} and not (numbers.abs() > 1).any():
            return -1.0, 1.0
        lacking = [end for end, value in ends.items() if not _finite(value)]
        low, high = ends.values()
        if lacking or not low < high:
            wrong = (
                f"has no {' and no '.join(lacking)}" if lacking else f"goes from {low} to {high}"
            )
            where = f"{labels.table.file}, {labels.column}: without a scheme,"
            if scheme is not None:
                where = f"{HEADER}, scheme '{scheme_id}':"
            self.findings.append(f"{where} its scale {wrong}")
            return -1.0, 1.0
        for row in numbers.index[numbers.notna() & ~numbers.between(low, high)]:
            self.findings.append(
                f"{labels.at(row)}: {numbers[row]:g} is outside the scale from {low:g} to {high:g}"
            )
        return float(low), float(high)

    def _utterances(
        self, values: pd.DataFrame, minimum: float, maximum: float
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """What has a label, in the tables' order, and the ratings of it."""
        values["utterance"] = values.groupby(UTTERANCE, sort=False).ngroup()
        agreed = values[values["annotator"].isna()]
        rated = values[values["annotator"].notna()]
        self._check_agreed(agreed)
        labels = agreed.groupby(["utterance", "dimension"])["value"].first().unstack()
        by = ["utterance", "annotator", "dimension"]
        ratings = rated.groupby(by, sort=False, as_index=False)["value"].mean()
        # The mean of three times 0.7 is less than 0.7 in floats.
        ratings["value"] = ratings["value"].clip(minimum, maximum)
        means = ratings.groupby(["utterance", "dimension"])["value"].mean().unstack()
        means = means.clip(minimum, maximum)
        others = means[means.columns.difference(labels.columns)]
        labels = labels.join(others, how="outer").dropna(how="all")
        firsts = values.drop_duplicates("utterance").set_index("utterance")
        utterances = firsts[[*UTTERANCE, "labels", "row"]].join(labels, how="inner")
        utterances["id"] = _named(utterances)
        paths = {file: str(self.folder / file) for file in utterances["file"].unique()}
        utterances["path"] = utterances["file"].map(paths)
        starts_s = (utterances["start"] / NS).mask(utterances["id"] == utterances["file"])
        if starts_s.notna().any():
            utterances["start_s"] = starts_s
        ratings["utterance"] = ratings["utterance"].map(utterances["id"])
        return utterances.reset_index(drop=True), ratings.dropna(subset="utterance")

    def _check_agreed(self, agreed: pd.DataFrame) -> None:
        """Several columns may label an utterance only if they label it alike."""
        same = agreed.groupby(["utterance", "dimension"])["value"]
        unlike = agreed[same.transform("max") - same.transform("min") > ALIKE]
        for dimension, rows in unlike.groupby("dimension"):
            found = rows[rows["utterance"] == rows["utterance"].iloc[0]]
            said = ", ".join(
                f"{self.labels[row.labels].at(row.row)}: {row.value:g}"
                for row in found.itertuples()
            )
            self.findings.append(
                f"{dimension} is labelled twice and not alike ({said}); the table that counts "
                "should have 'gold' in its name"
            )

    def _samples(self, utterances: pd.DataFrame) -> pd.Series[int]:
        """Lengths at 16 kHz; a file that cannot be read, and a segment not in it, is a finding."""
        files = utterances.drop_duplicates("file")
        held = {}
        probed = probe([self.folder / name for name in files["file"]])
        for first, found in zip(files.itertuples(), probed, strict=True):
            path = PurePosixPath(str(first.file))
            if path.is_absolute() or ".." in path.parts:
                found = "is not inside the folder"
            if isinstance(found, str):
                self.findings.append(f"{self._at(first, 'file')}: '{first.file}': {found}")
            else:
                held[first.file] = found
        length = utterances["file"].map(held).astype(float)
        start, end = (utterances[edge] * SAMPLE_RATE_HZ / NS for edge in ("start", "end"))
        start, end = start.round(), end.round().where(utterances["end"] != TO_THE_END, length)
        samples = np.minimum(end, length) - start
        early, late = start < 0, end > length + OVERHANG_S * SAMPLE_RATE_HZ
        short = (samples < SHORTEST) & ~early & ~late
        self._find(utterances[early], "start", "starts before its file does")
        self._find(utterances[late], "end", "goes on behind the end of its file")
        self._find(
            utterances[short], "end", f"shorter than the {SHORTEST / SAMPLE_RATE_HZ} s needed"
        )
        whole: pd.Series[int] = samples.fillna(0).astype("int64")
        return whole

    def _find(self, utterances: pd.DataFrame, column: str, what: str) -> None:
        for each in utterances.itertuples():
            self.findings.append(f"{self._at(each, column)}: '{each.id}': {what}")

    # Speakers and splits

    def _speakers(self, utterances: pd.DataFrame) -> pd.Series[Any]:
        told = [(table, speakers) for table in self.tables for speakers in self._speaking(table)]
        if not told:
            self.findings.append(f"{HEADER}: there is no column of speakers")
            self._stop()
        speakers = self._lookup(utterances, "speaker", told)
        self._find(utterances[speakers.isna()], "speaker", "no table says who speaks")
        return speakers

    def _speaking(self, table: _Table) -> Iterator[pd.Series[Any]]:
        """Columns of speakers: by their name, or else their scheme's, or else one of its fields."""
        named = [name for name in table.rows if str(name).lower() == "speaker"]
        for name, column in table.columns.items():
            if not named and str(column.scheme_id).lower() == "speaker":
                yield _words(table.rows[name])
            elif not named and "speaker" in self._fields(column):
                try:
                    yield _words(column.get(map="speaker").reset_index(drop=True))
                except FAILURES as error:
                    self.findings.append(
                        f"{table.file}, {name}: has no speakers ({_reason(error)})"
                    )
        yield from (_words(table.rows[name]) for name in named)

    def _fields(self, column: Any) -> set[Any]:
        """What the header or another table tells of each label of a column's scheme."""
        labels = getattr(_entry(self.db.schemes, column.scheme_id), "labels", None)
        if isinstance(labels, str):
            return set(self.db.misc_tables[labels].columns)
        told = labels.values() if isinstance(labels, dict) else ()
        return {field for fields in told if isinstance(fields, dict) for field in fields}

    def _lookup(
        self, utterances: pd.DataFrame, what: str, told: Sequence[tuple[_Table, Any]]
    ) -> pd.Series[Any]:
        """What tables tell of each utterance, or else of its whole file; missing if they do not."""
        parts = [
            table.rows[UTTERANCE].assign(value=value, table=index)
            for index, (table, value) in enumerate(told)
        ]
        facts = pd.concat(parts).reset_index(names="row").dropna(subset="value")
        facts = facts.drop_duplicates([*UTTERANCE, "value"])
        first = facts.drop_duplicates(UTTERANCE)
        clashes = facts.drop(first.index).merge(first, on=UTTERANCE, suffixes=("", "_first"))
        for each in clashes[clashes["file"].isin(utterances["file"])].itertuples():
            here, there = told[each.table][0], told[each.table_first][0]
            self.findings.append(
                f"{here.at(each.row, what)}: '{each.file}' has '{each.value}' here and "
                f"'{each.value_first}' in {there.at(each.row_first, what)}"
            )
        whole = first[(first["start"] == 0) & (first["end"] == TO_THE_END)].set_index("file")
        exact = utterances[UTTERANCE].merge(first, how="left", on=UTTERANCE)["value"]
        found: pd.Series[Any] = exact.fillna(utterances["file"].map(whole["value"]))
        return found

    def _splits(self, utterances: pd.DataFrame) -> pd.Series[Any]:
        """The database's, told by the tables of labels or else by others; or made by speaker."""
        speakers, labels = utterances["speaker"], utterances[_dimensions(utterances)]
        told = _split({each.table.name: each.table for each in self.labels}.values())
        told = told or _split(self.tables)
        if not told:
            try:
                return pd.Series(speaker_splits(list(speakers), labels))
            except CorpusError as error:
                self.findings.append(f"{HEADER}: there are no splits, and {error}")
                self._stop()
        splits = self._lookup(utterances, "split", told)
        self._find(utterances[splits.isna()], "split", "is in no split, though others are")
        train = splits == "train"
        count = min(FOLDS, speakers[train].nunique())
        if count > 1 and "validation" not in set(splits):
            self.remarks.append("No split validates, so some speakers of the training split do.")
            parts = speaker_parts(list(speakers[train]), count, labels[train])
            splits[train] = ["validation" if part == 1 else "train" for part in parts]
        return splits

    def _check_labels(self, utterances: pd.DataFrame) -> None:
        for name in _dimensions(utterances):
            labelled = utterances.groupby("split")[name].count()
            for split in labelled.index[labelled == 0]:
                self.findings.append(f"{HEADER}: no utterance of the {split} split has {name}")


def _preferred(every: Sequence[_Labels]) -> list[_Labels]:
    """Ratings, and in each dimension the gold standard if there is one, or any other consensus."""
    golden = {each.dimension for each in every if each.gold}
    return [
        each
        for each in every
        if each.gold or each.annotators is not None or each.dimension not in golden
    ]


def _split(tables: Iterable[_Table]) -> list[tuple[_Table, Split]]:
    kinds = [(table, SPLIT_TYPES.get(table.split_type or "")) for table in tables]
    return [(table, split) for table, split in kinds if split is not None]


def _dimensions(utterances: pd.DataFrame) -> list[str]:
    return [name for name in DIMENSIONS if name in utterances]


def _named(rows: pd.DataFrame) -> list[str]:
    """The file's name, or for a part `file#start-end` in seconds, without end to the file's end."""
    return [
        file
        if (start, end) == (0, TO_THE_END)
        else f"{file}#{start / NS:.3f}-" + (f"{end / NS:.3f}" if end != TO_THE_END else "")
        for file, start, end in rows[UTTERANCE].itertuples(index=False, name=None)
    ]


def _words(cells: pd.Series[Any]) -> pd.Series[Any]:
    """The cells as text, missing where they are empty."""
    words = cells.astype("string").str.strip()
    return words.mask(words == "")


def _entry(entries: Any, key: object) -> Any:
    """What the header has under a key, or None."""
    return entries.get(key) if isinstance(key, Hashable) else None


def _finite(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _text(value: object) -> str | None:
    return None if value is None else str(value).strip() or None


def _reason(error: BaseException) -> str:
    """What an exception says, in one line; its kind where it says little."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
