"""The corpus contract: utterances, labels, ratings, audio at 16 kHz, identity and splits."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from serbench.harness.backbone import SAMPLE_RATE_HZ
from serbench.harness.corpora.recordings import RESAMPLING, SHORTEST, read
from serbench.harness.errors import CorpusError
from serbench.harness.metrics import DIMENSIONS

__all__ = [
    "SAMPLE_RATE_HZ",
    "SPLITS",
    "UNKNOWN",
    "Corpus",
    "Split",
    "Utterance",
]

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
UNKNOWN = "Unknown"
"""The speaker of utterances whose speaker nobody knows, and the only one who may be in more than
one split."""

REQUIRED = ("id", "path", "speaker", "split", "samples")
RATINGS = ("utterance", "annotator", "dimension", "value")
CHUNK = 65_536
"""Rows of a manifest that are text at a time."""
FOLDERS = 4096
"""Whose real paths are remembered; a million utterances lie in a thousand or so."""

Utterance: TypeAlias = "int | str | Mapping[Any, Any] | pd.Series[Any]"
"""An utterance's position in `Corpus.utterances`, its id, or anything whose `["id"]` is one, such
as a row of that table. The position is found fastest."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Corpus:
    """Utterances with their labels, and all that a run wants to know of them.

    Construction checks the contract, so that every loader inherits the check.

    Raises:
        CorpusError: the tables break the contract; every breach is a finding.
    """

    name: str
    utterances: pd.DataFrame
    """One row an utterance: `id` (str, unique), `path` (str, or None without a file), `speaker`
    (str), `split`, `samples` (int, at 16 kHz), and a column of floats for each labelled dimension,
    on the corpus's own scale; NaN is not labelled. A speaker is in one split only, but for those
    that are `UNKNOWN`. Text may be Arrow's or categories as well, which take a tenth of the memory.
    If there is a column `start_s`, an utterance is the part of its file that
    starts there, in seconds; NaN stands for the whole file."""
    minimum: float
    """Lower end of the scale."""
    maximum: float
    """Upper end of the scale."""
    ratings: pd.DataFrame | None = None
    """Long form: `utterance`, `annotator`, `dimension`, `value`; each combination once. The first
    three may be categories: what groups by them should say `observed=True`."""
    folds: tuple[Mapping[str, Split], ...] = ()
    """The corpus's own folds, if it has any: for each the split of every speaker."""
    synthetic: bool = False
    """Nobody spoke, or nobody listened, so that scores need not hold for real speech."""
    anonymous: bool = False
    """Nobody knows who gave a rating: an annotator's name tells ratings of one utterance apart, and
    nobody can be followed from one to another."""
    derived: bool = False
    """The labels come from categories by a table; whatever shows them must say so."""
    truth: Callable[[int], NDArray[np.float64]] | None = None
    """Where annotators are simulated: from a number of cells an axis to the true distribution of
    each utterance's ratings over activation and valence, (N, cells, cells). No model may see it."""
    licence: str | None = None
    citation: str | None = None
    notes: str | None = None
    """Where audio and labels come from, in a sentence or two."""

    def __post_init__(self) -> None:
        breaches = tuple(_breaches(self))
        if breaches:
            raise CorpusError(f"corpus '{self.name}' is not sound", breaches)

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Labelled dimensions, in the order activation, valence, dominance."""
        return tuple(name for name in DIMENSIONS if name in self.utterances.columns)

    @cached_property
    def manifest_hash(self) -> str:
        """Hash of ids, speakers, splits, folds, lengths, labels, ratings, scale and file sizes,
        and of whether annotators are anonymous.

        Neither the folder nor the time of a file enters, so that a copy elsewhere has the same.
        """
        digest = hashlib.blake2b(digest_size=16)
        for lines in self._manifest():
            digest.update(lines.encode())
        return digest.hexdigest()

    def _manifest(self) -> Iterable[str]:
        """JSON arrays, one a line: the scale, folds, every utterance, every rating."""
        yield json.dumps([float(self.minimum), float(self.maximum), *self.dimensions]) + "\n"
        if self.anonymous:
            yield json.dumps(["anonymous"]) + "\n"
        if self.folds:
            yield json.dumps([sorted(fold.items()) for fold in self.folds]) + "\n"
        table = self.utterances[["id", "speaker", "split", "samples", *self.dimensions]]
        for start in range(0, len(table), CHUNK):
            chunk = table.iloc[start : start + CHUNK]
            keys = [self.content_key(start + index) for index in range(len(chunk))]
            yield _json_lines(chunk.assign(content=keys))
        if self.ratings is not None:
            by = ["utterance", "annotator", "dimension"]
            ratings = self.ratings[list(RATINGS)].sort_values(by, key=_alphabetical)
            for start in range(0, len(ratings), CHUNK):
                yield _json_lines(ratings.iloc[start : start + CHUNK])

    def subset(self, split: Split) -> pd.DataFrame:
        """The utterances of one split, in the corpus's order, numbered from 0."""
        rows = self.utterances[self.utterances["split"] == split]
        renumbered: pd.DataFrame = rows.reset_index(drop=True)
        return renumbered

    def indices(self, split: Split, limit: int | None = None) -> NDArray[np.int64]:
        """Positions of a split's utterances, ascending; at most `limit` of them, evenly spread."""
        found: NDArray[np.int64] = np.flatnonzero(self.utterances["split"] == split)
        if limit is None or limit >= len(found):
            return found
        evenly = np.linspace(0, len(found) - 1, limit).round().astype(int)
        chosen: NDArray[np.int64] = found[evenly]
        return chosen

    def scaled(self, values: ArrayLike) -> NDArray[np.float64]:
        """From the corpus's own scale to [-1, 1], any shape."""
        given = np.asarray(values, dtype=np.float64)
        return 2 * (given - self.minimum) / (self.maximum - self.minimum) - 1

    def unscaled(self, values: ArrayLike) -> NDArray[np.float64]:
        """From [-1, 1] to the corpus's own scale, any shape."""
        given = np.asarray(values, dtype=np.float64)
        return (given + 1) / 2 * (self.maximum - self.minimum) + self.minimum

    def waveform(self, utterance: Utterance, longest: int | None = None) -> NDArray[np.float32]:
        """Mono audio at 16 kHz with shape (samples,), channels averaged, full scale at ±1.

        Args:
            utterance: which one.
            longest: samples after which it is cut; what is behind them is not decoded.

        Raises:
            CorpusError: the file cannot be read, or is no longer as long as it was.
        """
        index = self._position(utterance)
        samples, start_s = int(self._samples[index]), self._start_s(index)
        cut = longest is not None and longest < samples
        return read(
            self._path(index),
            longest if longest is not None and cut else samples,
            start_s=start_s or 0.0,
            whole=start_s is None and not cut,
        )

    def audio_key(self, utterance: Utterance) -> str:
        """What identifies the audio on this machine, without reading it: path, size and time.

        Raises:
            CorpusError: the file is gone.
        """
        index = self._position(utterance)
        facts, start_s = self._facts(index), self._start_s(index)
        part = () if start_s is None else (start_s, int(self._samples[index]))
        folder, name = os.path.split(self._path(index))
        path = os.path.join(self._real(folder), name)  # noqa: PTH118
        path = os.path.realpath(path) if os.path.islink(path) else path  # noqa: PTH114
        return _hashed(RESAMPLING, path, facts.st_size, facts.st_mtime_ns, *part)

    def content_key(self, utterance: Utterance) -> str:
        """What identifies the audio in the manifest, wherever it lies: the file's size in bytes.

        Raises:
            CorpusError: the file is gone.
        """
        index = self._position(utterance)
        size, start_s = str(self._facts(index).st_size), self._start_s(index)
        return size if start_s is None else f"{size} from {start_s:g} s"

    def _facts(self, index: int) -> os.stat_result:
        path = self._path(index)
        try:
            # A million of these are told apart from Path(…).stat() by seconds.
            return os.stat(path)  # noqa: PTH116
        except OSError as error:
            raise CorpusError(f"{path} cannot be read: {error.strerror}") from error

    def _path(self, index: int) -> str:
        path = self._paths[index]
        path = path.as_py() if isinstance(path, pa.Scalar) else path
        if not isinstance(path, str):
            name = self.utterances["id"].iloc[index]
            raise CorpusError(f"corpus '{self.name}': '{name}' has no audio file")
        return path

    def _start_s(self, index: int) -> float | None:
        if self._starts_s is None or np.isnan(self._starts_s[index]):
            return None
        return float(self._starts_s[index])

    @cached_property
    def _real(self) -> Callable[[str], str]:
        """Looks at the links on the way to a folder once, not for each file in it."""
        return lru_cache(FOLDERS)(os.path.realpath)

    def _position(self, utterance: Utterance) -> int:
        if isinstance(utterance, int):
            return utterance
        name = utterance if isinstance(utterance, str) else str(utterance["id"])
        (index,) = self._ids.get_indexer_for(pd.Index([name]))
        if index < 0:
            raise KeyError(name)
        return int(index)

    @cached_property
    def _ids(self) -> pd.Index[Any]:
        ids: pd.Index[Any] = pd.Index(self.utterances["id"])
        return ids

    @cached_property
    def _paths(self) -> Any:
        paths = self.utterances["path"]
        # One of Arrow's strings takes pandas five times as long as Arrow.
        return paths.array if paths.dtype == object else pa.array(paths)

    @cached_property
    def _samples(self) -> NDArray[np.int64]:
        return self.utterances["samples"].to_numpy(np.int64)

    @cached_property
    def _starts_s(self) -> NDArray[np.float64] | None:
        table = self.utterances
        return table["start_s"].to_numpy(np.float64) if "start_s" in table else None


def _hashed(*facts: object) -> str:
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()


def _alphabetical(column: pd.Series[Any]) -> pd.Series[Any]:
    """What sorts a column of text by its letters, whatever the order of its categories."""
    if not isinstance(column.dtype, pd.CategoricalDtype):
        return column
    return column.cat.reorder_categories(column.cat.categories.sort_values())


def _json_lines(table: pd.DataFrame) -> str:
    """Each row as `json.dumps` has it, on a line of its own."""
    columns = [_json(table[name]) for name in table]
    return "".join(f"[{', '.join(row)}]\n" for row in zip(*columns, strict=True))


def _json(column: pd.Series[Any]) -> NDArray[np.object_]:
    """Each value as JSON; equal ones, which are many, are written once."""
    if column.dtype == np.float64:
        # By their bits: -0.0 equals 0.0.
        bits, which = np.unique(column.to_numpy().view(np.int64), return_inverse=True)
        values = bits.view(np.float64).tolist()
    else:
        which, different = pd.factorize(column, use_na_sentinel=False)
        values = different.tolist()
    return np.array([json.dumps(value) for value in values], object)[which]


def _breaches(corpus: Corpus) -> Iterable[str]:
    table = corpus.utterances
    missing = [name for name in REQUIRED if name not in table.columns]
    if missing:
        yield f"utterances have no column {', '.join(missing)}"
        return
    if not corpus.minimum < corpus.maximum:
        yield f"the scale goes from {corpus.minimum:g} to {corpus.maximum:g}"
    yield from (f"utterance '{i}' is there twice" for i in table["id"][table["id"].duplicated()])
    for split in sorted(set(table["split"].unique()) - set(SPLITS)):
        yield f"unknown split '{split}'"
    spread = table.groupby("speaker", observed=True)["split"].nunique()
    straddling = spread.index[(spread > 1) & (spread.index != UNKNOWN)]
    yield from (f"speaker '{s}' is in more than one split" for s in straddling)
    short = table["id"][table["samples"] < SHORTEST]
    yield from (f"'{i}' is shorter than {SHORTEST} samples at 16 kHz" for i in short)
    if not corpus.dimensions:
        yield f"no label column: one of {', '.join(DIMENSIONS)} is needed"
    for name in corpus.dimensions:
        if not table[name].notna().any():
            yield f"no utterance has a label for {name}"
        outside = table[name].notna() & ~table[name].between(corpus.minimum, corpus.maximum)
        yield from (f"'{i}': {name} is outside the scale" for i in table["id"][outside])
    for number, fold in enumerate(corpus.folds, 1):
        missing = sorted(set(table["speaker"].unique()) - set(fold))
        yield from (f"fold {number} does not say where speaker '{s}' is" for s in missing)
    if corpus.ratings is not None:
        yield from _rating_breaches(corpus, corpus.ratings)


def _rating_breaches(corpus: Corpus, ratings: pd.DataFrame) -> Iterable[str]:
    missing = [name for name in RATINGS if name not in ratings.columns]
    if missing:
        yield f"ratings have no column {', '.join(missing)}"
        return
    if not ratings["utterance"].isin(corpus.utterances["id"]).all():
        yield "a rating is of an unknown utterance"
    if not ratings["dimension"].isin(DIMENSIONS).all():
        yield "a rating is of an unknown dimension"
    if not ratings["value"].between(corpus.minimum, corpus.maximum).all():
        yield "a rating is outside the scale"
    if ratings.duplicated(["utterance", "annotator", "dimension"]).any():
        yield "an annotator has rated an utterance twice in one dimension"
