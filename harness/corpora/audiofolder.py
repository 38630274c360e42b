"""A folder of audio with metadata.csv: the format for one's own data, and all that can be wrong.

`metadata.csv` (or `.jsonl`, `.parquet`) has `file_name` and `speaker` (`Unknown` if nobody knows),
optionally `split` (in the usual words; without it splits are made by speaker), `duration` (seconds,
which are trusted, so that no header is read) and the labels `activation` (or `arousal`), `valence`,
`dominance`; an empty cell is not labelled. `ratings.csv` (or the others) is long, with `file_name`,
`annotator` and any of the dimensions, or wide, with `file_name` and columns `DIMENSION:ANNOTATOR`;
such columns may stand in the metadata instead. A dimension that the metadata do not label is
labelled with the mean of its ratings, and an annotator who rated an utterance twice counts once,
with the mean of both. `corpus.toml` may state `name`, `licence`, `citation`, `notes`, `synthetic`,
`derived`, `anonymous` (raters), and the scale as a table `[scale]` with `min` and `max`; a scale
must be stated if a label is outside [-1, 1].
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from serbench.harness.backbone import SAMPLE_RATE_HZ
from serbench.harness.corpora.base import RATINGS, SPLITS, UNKNOWN, Corpus, Split
from serbench.harness.corpora.folds import speaker_splits
from serbench.harness.corpora.recordings import SHORTEST, TOLERANCE_S, absent, probe
from serbench.harness.corpora.tables import (
    FORMATS,
    Kind,
    Known,
    Table,
    Unreadable,
    decoded,
    named,
    read,
    shown,
)
from serbench.harness.errors import CorpusError, RequestError
from serbench.harness.metrics import DIMENSIONS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["SPLIT_WORDS", "load", "verified"]

ALIASES = {"arousal": "activation"}
SPLIT_WORDS: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""In lower case; those of Hugging Face's AudioFolder, and `development`."""
PLAIN = r"^[^/\\:.][^/\\:]*(/[^/\\:.][^/\\:]*)*$"
"""Paths that are surely inside the folder, and written in one way only."""
DAY_S = 86_400
"""Longer than any utterance: the column is in other units."""
CHUNK = 65_536
"""Paths held as Python's text at a time."""

Ints = NDArray[np.integer[Any]]


def load(root: str | None) -> Corpus:
    """Read an AudioFolder; the ids are the file names as written in the metadata.

    Where the metadata state durations, audio is not opened: what is not as long as that fails when
    it is read.

    Raises:
        RequestError: no folder is given.
        CorpusError: something in it is wrong; `findings` has all of it.
    """
    if root is None:
        raise RequestError("audiofolder needs its folder: audiofolder=FOLDER")
    return _load(root, verify=False)


def verified(root: str) -> Corpus:
    """Read an AudioFolder and the headers of all its audio, against which durations are held.

    Raises:
        CorpusError: something in it is wrong; `findings` has all of it.
    """
    return _load(root, verify=True)


def _load(root: str, *, verify: bool) -> Corpus:
    # Unlike Path's, it knows no exceptions.
    if not os.path.isdir(root):  # noqa: PTH112
        raise CorpusError(f"there is no folder {root}")
    folder = Path(root).resolve()
    try:
        str(folder).encode()
    except UnicodeEncodeError as error:
        raise CorpusError(f"the name of the folder {str(folder)!a} is not UTF-8") from error
    reading = _Reading(folder, verify)
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
        if not 0 < self.max - self.min < math.inf:
            raise ValueError("min must be below max, and both of a sensible size")
        return self


class _Settings(BaseModel):
    """corpus.toml."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str | None = Field(None, pattern=r"^\P{C}+$")
    scale: _Scale | None = None
    licence: str | None = Field(None, validation_alias=AliasChoices("licence", "license"))
    citation: str | None = None
    notes: str | None = None
    synthetic: bool = False
    anonymous: bool = False
    derived: bool = False


def _in_metadata(name: str) -> tuple[str, Kind] | None:
    if name in ("file_name", "speaker", "split"):
        return name, "word"
    return ("duration", "number") if name == "duration" else _rated(name)


def _in_ratings(name: str) -> tuple[str, Kind] | None:
    return (name, "word") if name in ("file_name", "annotator") else _rated(name)


def _rated(name: str) -> tuple[str, Kind] | None:
    """`DIMENSION` or `DIMENSION:ANNOTATOR`, with any alias replaced."""
    dimension, colon, annotator = (part.strip() for part in name.partition(":"))
    dimension = ALIASES.get(dimension, dimension)
    return (f"{dimension}{colon}{annotator}", "number") if dimension in DIMENSIONS else None


def _dimensions(table: Table) -> list[str]:
    return [name for name in DIMENSIONS if name in table.numbers]


def _wide(table: Table) -> list[str]:
    return [name for name in table.numbers if ":" in name]


class _Reading:
    """One folder being read: it goes on after a finding for as long as that makes sense."""

    def __init__(self, folder: Path, verify: bool) -> None:
        self.folder, self.verify = folder, verify
        self.findings: list[str] = []

    def corpus(self) -> Corpus | None:
        """The corpus, or None if there are findings."""
        settings = self._settings()
        metadata = self._table("metadata", _in_metadata, ("file_name", "speaker"))
        ratings = self._table("ratings", _in_ratings, ("file_name",))
        if metadata is None:
            return None
        names = self._file_names(metadata).dictionary_encode()
        self._check_names(metadata, names)
        rated = self._ratings(metadata, ratings, names)
        scale = self._scale(settings, [t for t in (metadata, ratings) if t is not None])
        utterances = self._with_splits(metadata, self._utterances(metadata, names, rated))
        self._check_labels(metadata, utterances)
        if self.findings:
            return None
        return Corpus(
            name=settings.name or self.folder.name or "/",
            utterances=utterances,
            minimum=scale.min,
            maximum=scale.max,
            ratings=rated,
            **settings.model_dump(exclude={"name", "scale"}),
        )

    # Files

    def _settings(self) -> _Settings:
        path = self.folder / "corpus.toml"
        if not _exists(path):
            return _Settings()
        try:
            with decoded(path, self.findings) as text:
                return _Settings.model_validate(tomllib.loads(text.read()))
        except Unreadable as unreadable:
            self.findings += unreadable.args
        except OSError as error:
            self.findings.append(f"{path.name}: cannot be read ({error.strerror})")
        except ValidationError as error:
            for wrong in error.errors():
                where = ".".join(str(part) for part in wrong["loc"])
                self.findings.append(f"{path.name}, {named(where)}: {wrong['msg']}")
        # A number of thousands of digits is a ValueError; a deeply nested array exhausts recursion.
        except (ValueError, RecursionError) as error:
            self.findings.append(f"{path.name}: not TOML ({error})")
        return _Settings()

    def _table(self, stem: str, known: Known, required: Sequence[str]) -> Table | None:
        files = [f"{stem}{suffix}" for suffix in FORMATS]
        there = [file for file in files if _exists(self.folder / file)]
        if len(there) > 1:
            self.findings.append(f"{' and '.join(there)}: only one of them can be the {stem}")
        elif there:
            return read(self.folder / there[0], known, required, self.findings)
        elif stem == "metadata":
            self.findings.append(
                f"there is none of {', '.join(files)} in {self.folder}, to name each file and its "
                "speaker; a corpus of another kind is NAME=FOLDER (serbench list corpora)"
            )
        return None

    # Utterances

    def _file_names(self, table: Table) -> pa.Array:
        """As they are in the folder, however they are written; '' if wrong."""
        names = table.words["file_name"]
        odd = pc.invert(pc.match_substring_regex(names, PLAIN))
        rows = np.flatnonzero(odd.to_numpy(zero_copy_only=False)).tolist()
        if not rows:
            return names
        tidy = []
        for row, name in zip(rows, names.take(rows).to_pylist(), strict=True):
            if _escapes(name):
                self.findings.append(
                    f"{table.at(row, 'file_name')}: {shown(name)} is not inside the folder"
                )
            tidy.append("" if not name or _escapes(name) else PurePosixPath(name).as_posix())
        return pc.replace_with_mask(names, odd, pa.array(tidy, pa.large_string()))

    def _check_names(self, table: Table, names: pa.DictionaryArray) -> None:
        codes = names.indices.to_numpy()
        if len(names.dictionary) == len(codes):
            return
        _, first = np.unique(codes, return_index=True)
        for row in np.flatnonzero(first[codes] != np.arange(len(codes))).tolist():
            if name := names[row].as_py():
                self.findings.append(
                    f"{table.at(row, 'file_name')}: {shown(name)} is there already, in "
                    f"{table.row(first[codes[row]])}"
                )

    def _utterances(
        self, table: Table, names: pa.DictionaryArray, rated: pd.DataFrame | None
    ) -> pd.DataFrame:
        ids = names.dictionary_decode()
        folder = pa.scalar(str(self.folder), pa.large_string())
        paths = pc.binary_join_element_wise(folder, ids, pa.scalar("/", pa.large_string()))
        speakers = table.words["speaker"]
        unknown = pc.equal(pc.utf8_lower(speakers), UNKNOWN.lower())
        utterances: pd.DataFrame = pd.DataFrame(
            {
                "id": _strings(ids),
                "path": _strings(paths),
                "speaker": _categories(pc.if_else(unknown, UNKNOWN, speakers)),
                "samples": self._samples(table, ids, paths),
                **{name: table.dense(name) for name in _dimensions(table)},
            }
        )
        return utterances if rated is None else _with_means(utterances, rated, names)

    def _samples(self, table: Table, names: pa.Array, paths: pa.Array) -> Ints:
        """Lengths at 16 kHz, as stated or else by the header; 0 if wrong."""
        stated_s = table.dense("duration")
        given = ~np.isnan(stated_s)
        sensible = (stated_s >= SHORTEST / SAMPLE_RATE_HZ) & (stated_s <= DAY_S)
        for row in np.flatnonzero(given & ~sensible).tolist():
            self.findings.append(
                f"{table.at(row, 'duration')}: {stated_s[row]:g} s is not between "
                f"{SHORTEST / SAMPLE_RATE_HZ:g} s, which an encoder needs, and {DAY_S} s"
            )
        samples: Ints = np.rint(np.where(sensible, stated_s, 0.0) * SAMPLE_RATE_HZ).astype(np.int64)
        sought = pc.not_equal(names, "").to_numpy(zero_copy_only=False)
        opened = sought & (~given | self.verify)
        for rows in _chunks(np.flatnonzero(sought & ~opened)):
            for row, wrong in absent(paths.take(rows).to_pylist()).items():
                self._wrong_file(table, int(rows[row]), names, wrong)
        for rows in _chunks(np.flatnonzero(opened)):
            for row, found in zip(rows.tolist(), probe(paths.take(rows).to_pylist()), strict=True):
                if isinstance(found, str):
                    self._wrong_file(table, row, names, found)
                elif not sensible[row]:
                    samples[row] = found
                elif abs(found - samples[row]) > TOLERANCE_S * SAMPLE_RATE_HZ:
                    self.findings.append(
                        f"{table.at(row, 'duration')}: {shown(names[row].as_py())} is "
                        f"{found / SAMPLE_RATE_HZ:.3f} s long, not {stated_s[row]:g} s"
                    )
        return samples

    def _wrong_file(self, table: Table, row: int, names: pa.Array, wrong: str) -> None:
        self.findings.append(f"{table.at(row, 'file_name')}: {shown(names[row].as_py())}: {wrong}")

    # Ratings

    def _ratings(
        self, metadata: Table, ratings: Table | None, names: pa.DictionaryArray
    ) -> pd.DataFrame | None:
        """Long form, with categories; None without ratings, and where they cannot be told."""
        if ratings is None:
            table, who = metadata, names.indices.to_numpy()
        else:
            table, who = ratings, self._rated_utterances(metadata, ratings, names.dictionary)
            if wide := _wide(metadata):
                self.findings.append(
                    f"{metadata.head}: ratings, such as {shown(wide[0])}, stand either here or in "
                    f"{ratings.file}"
                )
            if not self._has_one_form(ratings):
                return None
        nameless = [name for name in _wide(table) if not _is_name(name.partition(":")[2])]
        self.findings += [
            f"{table.head}: the column {shown(name)} names no annotator" for name in nameless
        ]
        return None if nameless else _long_form(table, who, names.dictionary)

    def _has_one_form(self, table: Table) -> bool:
        wide, dimensions = _wide(table), _dimensions(table)
        long = [*(name for name in ("annotator",) if name in table.words), *dimensions]
        wrong = None
        if wide and long:
            wrong = f"the ratings are wide ({shown(wide[0])}) and long ({shown(long[0])}) at once"
        elif not wide and "annotator" not in long:
            wrong = "there is no column 'annotator'"
        elif not wide and not dimensions:
            wrong = f"there is no column of {', '.join(DIMENSIONS)}"
        if wrong:
            self.findings.append(f"{table.head}: {wrong}")
        return wrong is None

    def _rated_utterances(self, metadata: Table, ratings: Table, known: pa.Array) -> Ints:
        """For each row its position among the known names, or -1."""
        names = self._file_names(ratings)
        who = pc.index_in(names, value_set=known).fill_null(-1).to_numpy(zero_copy_only=False)
        # What the metadata lack may be in a row that could not be read.
        for row in np.flatnonzero(who < 0).tolist() if metadata.whole else []:
            if name := names[row].as_py():
                self.findings.append(
                    f"{ratings.at(row, 'file_name')}: a rating of {shown(name)}, which the "
                    "metadata lack"
                )
        return np.asarray(who)

    # Labels and splits

    def _scale(self, settings: _Settings, tables: Sequence[Table]) -> _Scale:
        """The stated scale, or [-1, 1]; labels outside it are findings."""
        scale = settings.scale or _Scale(min=-1.0, max=1.0)
        outside = (
            (table.at(rows[index], name), values[index])
            for table in tables
            for name in (*_dimensions(table), *_wide(table))
            for rows, values in [table.numbers[name]]
            for index in np.flatnonzero((values < scale.min) | (values > scale.max)).tolist()
        )
        if settings.scale is not None:
            self.findings += [
                f"{where}: {number:g} is outside the scale from {scale.min:g} to {scale.max:g}"
                for where, number in outside
            ]
            return scale
        for where, number in islice(outside, 1):
            self.findings.append(
                f"{where}: {number:g} is outside [-1, 1] and no scale is stated: put a table "
                "[scale] with min = … and max = … into corpus.toml"
            )
        return scale

    def _with_splits(self, table: Table, utterances: pd.DataFrame) -> pd.DataFrame:
        if "split" in table.words:
            codes = self._splits(table)
            self._check_speakers(table, utterances["speaker"].cat, codes)
        else:
            codes = self._made_splits(table, utterances)
        parted: pd.DataFrame = utterances.assign(
            split=pd.Categorical.from_codes(codes, pd.Index(SPLITS))
        )
        return parted

    def _splits(self, table: Table) -> Ints:
        """Positions in SPLITS, or -1."""
        words = table.words["split"].dictionary_encode()
        meant = [SPLIT_WORDS.get(word.lower()) for word in words.dictionary.to_pylist()]
        which = np.array([-1 if split is None else SPLITS.index(split) for split in meant])
        codes: Ints = which[words.indices.to_numpy()]
        for row in np.flatnonzero(codes < 0).tolist():
            if word := words[row].as_py():
                self.findings.append(
                    f"{table.at(row, 'split')}: there is no split {shown(word)}, only "
                    f"{', '.join(SPLITS)}"
                )
        there = {SPLITS[code] for code in np.unique(codes[codes >= 0])}
        if there != {"test"}:
            self.findings += [
                f"{table.file}, split: no utterance is in the {split} split"
                for split in SPLITS
                if split not in there
            ]
        return codes

    def _made_splits(self, table: Table, utterances: pd.DataFrame) -> Ints:
        dimensions = [name for name in DIMENSIONS if name in utterances]
        labels = utterances[dimensions] if dimensions else None
        try:
            splits = speaker_splits(list(utterances["speaker"]), labels)
        except CorpusError as error:
            self.findings.append(f"{table.file}, no column 'split': {error}")
            return np.zeros(len(utterances), np.int64)
        return np.array([SPLITS.index(split) for split in splits])

    def _check_speakers(self, table: Table, speakers: Any, splits: Ints) -> None:
        """A known speaker is in one split: the first row that says otherwise is a finding."""
        nobody = speakers.categories.isin(["", UNKNOWN])
        codes = speakers.codes.to_numpy()
        rows = np.flatnonzero((splits >= 0) & ~nobody[codes])
        _, first, of = np.unique(codes[rows], return_index=True, return_inverse=True)
        before = rows[first][of]
        other = splits[rows] != splits[before]
        rows, before = rows[other], before[other]
        _, once = np.unique(codes[rows], return_index=True)
        for row, held in sorted(zip(rows[once].tolist(), before[once].tolist(), strict=True)):
            self.findings.append(
                f"{table.at(row, 'speaker')}: {shown(speakers.categories[codes[row]])} is in "
                f"{SPLITS[splits[row]]} here and in {SPLITS[splits[held]]} in {table.row(held)}"
            )

    def _check_labels(self, table: Table, utterances: pd.DataFrame) -> None:
        dimensions = [name for name in DIMENSIONS if name in utterances]
        if not dimensions:
            self.findings.append(
                f"{table.file}: no labels; a column {', '.join(DIMENSIONS)} is needed, here or in "
                "the ratings"
            )
        for name in dimensions:
            for split in SPLITS:
                mine = utterances.loc[utterances["split"] == split, name]
                if len(mine) and not mine.notna().any():
                    self.findings.append(
                        f"{table.file}, {name}: no utterance of the {split} split is labelled"
                    )


def _is_name(text: str) -> bool:
    return bool(text) and text.isprintable()


def _exists(path: Path) -> bool:
    # Path's raises where a folder may not be searched.
    return os.path.exists(path)  # noqa: PTH110


def _escapes(name: str) -> bool:
    kinds = (PurePosixPath(name), PureWindowsPath(name))
    return any(path.anchor or ".." in path.parts for path in kinds)


def _long_form(ratings: Table, who: Ints, utterances: pa.Array) -> pd.DataFrame | None:
    """What `Corpus.ratings` holds, with the mean of those who rated twice; None without ratings.

    Args:
        ratings: long or wide.
        who: (N,) position of each row's utterance, or -1.
        utterances: their names.
    """
    annotators, columns = _annotators(ratings)
    who = who.astype(np.int64)  # 32 bits do not number all combinations.
    shape = (len(DIMENSIONS), len(utterances), len(annotators))
    keys, values = [], []
    for name, by in columns:
        rows, given = ratings.numbers[name]
        known = who[rows] >= 0
        rows = rows[known]
        dimension = DIMENSIONS.index(name.partition(":")[0])
        keys.append((dimension * shape[1] + who[rows]) * shape[2] + by[rows])
        values.append(given[known])
    if not sum(map(len, keys)):
        return None
    rated = pd.Series(np.concatenate(values), index=np.concatenate(keys))
    if not rated.index.is_unique:
        rated = _mean(rated.groupby(level=0, sort=False))
    places = np.unravel_index(rated.index.to_numpy(), shape)
    names = {"dimension": DIMENSIONS, "utterance": _strings(utterances), "annotator": annotators}
    coded = {
        column: pd.Categorical.from_codes(place, pd.Index(categories))
        for place, (column, categories) in zip(places, names.items(), strict=True)
    }
    table: pd.DataFrame = pd.DataFrame({**coded, "value": rated.to_numpy()})[list(RATINGS)]
    return table


def _annotators(ratings: Table) -> tuple[list[str], list[tuple[str, Ints]]]:
    """The annotators; and the columns by dimension, with the annotator of every row."""
    if "annotator" in ratings.words:
        column = ratings.words["annotator"].dictionary_encode()
        by = column.indices.to_numpy()
        return column.dictionary.to_pylist(), [(name, by) for name in _dimensions(ratings)]
    wide = [(name, *name.split(":", 1)) for name in _wide(ratings)]
    annotators = sorted({annotator for _, _, annotator in wide})
    places = {annotator: place for place, annotator in enumerate(annotators)}
    return annotators, [
        (name, np.broadcast_to(places[annotator], len(ratings)))
        for dimension in DIMENSIONS
        for name, of, annotator in wide
        if of == dimension
    ]


def _with_means(
    utterances: pd.DataFrame, rated: pd.DataFrame, names: pa.DictionaryArray
) -> pd.DataFrame:
    """Add the mean rating as the label of each dimension that the metadata do not label."""
    added = {}
    for name in DIMENSIONS:
        mine = rated[rated["dimension"] == name]
        if name not in utterances and len(mine):
            means = _mean(mine["value"].groupby(mine["utterance"].cat.codes))
            labels = np.full(len(names.dictionary), math.nan)
            labels[means.index.to_numpy()] = means.to_numpy()
            added[name] = labels[names.indices.to_numpy()]
    labelled: pd.DataFrame = utterances.assign(**added)
    return labelled


def _mean(groups: Any) -> pd.Series[float]:
    """Means that no rounding takes beyond what they are of, and so beyond the scale's end."""
    means: pd.Series[float] = groups.mean().clip(groups.min(), groups.max())
    return means


def _strings(texts: pa.Array) -> Any:
    """Strings that stay Arrow's: a tenth of what as many of Python's take."""
    return pd.StringDtype("pyarrow").__from_arrow__(texts)  # type: ignore[attr-defined]


def _categories(texts: pa.Array) -> pd.Categorical:
    encoded = texts.dictionary_encode()
    return pd.Categorical.from_codes(encoded.indices.to_numpy(), encoded.dictionary.to_pylist())


def _chunks(rows: Ints) -> Iterator[Ints]:
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]
