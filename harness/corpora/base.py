"""The corpus contract: utterances, labels, ratings, audio at 16 kHz, identity and splits."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
import soundfile
import soxr
from numpy.typing import ArrayLike, NDArray

from serbench.harness.backbone import SAMPLE_RATE_HZ
from serbench.harness.errors import CorpusError
from serbench.harness.metrics import DIMENSIONS

__all__ = [
    "SAMPLE_RATE_HZ",
    "SHORTEST",
    "SPLITS",
    "Corpus",
    "LabelSummary",
    "Split",
    "Summary",
    "Utterance",
    "probe",
    "speaker_splits",
    "summarise",
    "utterance_id",
]

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
SHORTEST = 400
"""Samples in the receptive field of the convolutions of wav2vec 2.0 and its kin (25 ms): shorter
audio gives an encoder no frame."""

RESAMPLING = "mono-16k-soxr-hq"
REQUIRED = ("id", "path", "speaker", "split", "samples")
RATINGS = ("utterance", "annotator", "dimension", "value")
SHARES: dict[Split, float] = {"train": 0.6, "validation": 0.2, "test": 0.2}

Utterance: TypeAlias = "str | Mapping[Any, Any] | pd.Series[Any]"
"""An utterance's id, or anything whose `["id"]` is one, such as a row of `Corpus.utterances`."""


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
    on the corpus's own scale; NaN is not labelled. A speaker is in one split only."""
    minimum: float
    """Lower end of the scale."""
    maximum: float
    """Upper end of the scale."""
    ratings: pd.DataFrame | None = None
    """Long form: `utterance`, `annotator`, `dimension`, `value`; each combination once."""
    synthetic: bool = False
    """The audio is generated, so that scores say nothing about speech."""
    derived: bool = False
    """The labels come from categories by a table; whatever shows them must say so."""
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
        """Hash of ids, speakers, splits, lengths, labels, ratings, scale and file sizes.

        Neither the folder nor the time of a file enters, so that a copy elsewhere has the same.
        """
        digest = hashlib.blake2b(digest_size=16)
        for facts in self._manifest():
            digest.update(json.dumps(facts).encode() + b"\n")
        return digest.hexdigest()

    def _manifest(self) -> Iterable[tuple[object, ...]]:
        yield (float(self.minimum), float(self.maximum), *self.dimensions)
        columns = ["id", "speaker", "split", "samples", *self.dimensions]
        for row in self.utterances[columns].itertuples(index=False, name=None):
            yield (*row, self.content_key(str(row[0])))
        if self.ratings is not None:
            by = ["utterance", "annotator", "dimension"]
            ratings = self.ratings[list(RATINGS)].sort_values(by)
            yield from ratings.itertuples(index=False, name=None)

    def subset(self, split: Split) -> pd.DataFrame:
        """The utterances of one split, in the corpus's order, numbered from 0."""
        rows = self.utterances[self.utterances["split"] == split]
        renumbered: pd.DataFrame = rows.reset_index(drop=True)
        return renumbered

    def scaled(self, values: ArrayLike) -> NDArray[np.float64]:
        """From the corpus's own scale to [-1, 1], any shape."""
        given = np.asarray(values, dtype=np.float64)
        return 2 * (given - self.minimum) / (self.maximum - self.minimum) - 1

    def unscaled(self, values: ArrayLike) -> NDArray[np.float64]:
        """From [-1, 1] to the corpus's own scale, any shape."""
        given = np.asarray(values, dtype=np.float64)
        return (given + 1) / 2 * (self.maximum - self.minimum) + self.minimum

    def waveform(self, utterance: Utterance) -> NDArray[np.float32]:
        """Mono audio at 16 kHz with shape (samples,), channels averaged, full scale at ±1.

        Raises:
            CorpusError: the file cannot be read, or is no longer as long as it was.
        """
        path, samples = self._file(utterance)
        audio = _read(path)
        # Rounding may differ by one between the header's arithmetic and the resampler's.
        if abs(len(audio) - samples) > 1:
            raise CorpusError(
                f"{path} gives {len(audio)} samples at 16 kHz, not the {samples} its header "
                "promised: it is damaged, or has changed since"
            )
        fitted = np.zeros(samples, dtype=np.float32)
        fitted[: len(audio)] = audio[:samples]
        return fitted

    def audio_key(self, utterance: Utterance) -> str:
        """What identifies the audio on this machine, without reading it: path, size and time.

        Raises:
            CorpusError: the file is gone.
        """
        path = Path(self._file(utterance)[0])
        try:
            facts = path.stat()
        except OSError as error:
            raise CorpusError(f"{path} cannot be read: {error.strerror}") from error
        return _hashed(RESAMPLING, str(path.resolve()), facts.st_size, facts.st_mtime_ns)

    def content_key(self, utterance: Utterance) -> str:
        """What identifies the audio in the manifest, wherever it lies: the file's size in bytes.

        Raises:
            CorpusError: the file is gone.
        """
        path = Path(self._file(utterance)[0])
        try:
            return str(path.stat().st_size)
        except OSError as error:
            raise CorpusError(f"{path} cannot be read: {error.strerror}") from error

    def _file(self, utterance: Utterance) -> tuple[str, int]:
        path, samples = self._files[utterance_id(utterance)]
        if not isinstance(path, str):
            raise CorpusError(
                f"corpus '{self.name}': '{utterance_id(utterance)}' has no audio file"
            )
        return path, samples

    @cached_property
    def _files(self) -> dict[str, tuple[object, int]]:
        table = self.utterances
        return dict(
            zip(table["id"], zip(table["path"], table["samples"], strict=True), strict=True)
        )


def utterance_id(utterance: Utterance) -> str:
    """The id, from itself or from a row."""
    return utterance if isinstance(utterance, str) else str(utterance["id"])


def _hashed(*facts: object) -> str:
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()


def _breaches(corpus: Corpus) -> Iterable[str]:
    table = corpus.utterances
    missing = [name for name in REQUIRED if name not in table.columns]
    if missing:
        yield f"utterances have no column {', '.join(missing)}"
        return
    if not corpus.minimum < corpus.maximum:
        yield f"the scale goes from {corpus.minimum:g} to {corpus.maximum:g}"
    yield from (f"utterance '{i}' is there twice" for i in table["id"][table["id"].duplicated()])
    for split in sorted(set(table["split"]).symmetric_difference(SPLITS)):
        there = split in set(table["split"])
        yield f"unknown split '{split}'" if there else f"there is no {split} split"
    spread = table.groupby("speaker")["split"].nunique()
    yield from (f"speaker '{s}' is in more than one split" for s in spread.index[spread > 1])
    short = table["id"][table["samples"] < SHORTEST]
    yield from (f"'{i}' is shorter than {SHORTEST} samples at 16 kHz" for i in short)
    if not corpus.dimensions:
        yield f"no label column: one of {', '.join(DIMENSIONS)} is needed"
    for name in corpus.dimensions:
        if not table[name].notna().any():
            yield f"no utterance has a label for {name}"
        outside = table[name].notna() & ~table[name].between(corpus.minimum, corpus.maximum)
        yield from (f"'{i}': {name} is outside the scale" for i in table["id"][outside])
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


def _read(path: str) -> NDArray[np.float32]:
    try:
        frames, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise CorpusError(f"{path} cannot be read: {error}") from error
    mono = frames.mean(axis=1)
    if not np.isfinite(mono).all():
        raise CorpusError(f"{path} holds samples that are not finite")
    if rate_hz == SAMPLE_RATE_HZ:
        return np.asarray(mono, dtype=np.float32)
    resampled = soxr.resample(mono, rate_hz, SAMPLE_RATE_HZ, quality="HQ")
    return np.asarray(resampled, dtype=np.float32)


def probe(paths: Sequence[Path]) -> list[int | str]:
    """For each file its length in samples at 16 kHz, from the header, or what is wrong with it."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(_probe, paths))


def _probe(path: Path) -> int | str:
    try:
        size = path.stat().st_size
    except (OSError, ValueError):
        return "there is no such file"
    if size == 0:
        return "the file is empty"
    try:
        header = soundfile.info(str(path))
    except (OSError, RuntimeError, ValueError) as error:
        # The library's message repeats the path, which the finding names already.
        return f"unreadable audio ({str(error).rpartition(': ')[2]})"
    samples = (2 * header.frames * SAMPLE_RATE_HZ + header.samplerate) // (2 * header.samplerate)
    if samples < SHORTEST:
        seconds = header.frames / header.samplerate
        return f"too short: {seconds:.3f} s, and an encoder needs {SHORTEST / SAMPLE_RATE_HZ} s"
    return int(samples)


def speaker_splits(speakers: Sequence[str], labels: pd.DataFrame | None = None) -> list[Split]:
    """Train, validation or test for each utterance, so that no speaker is in two of them.

    About 60, 20 and 20 % of the utterances, at least one speaker each. Of 64 hashed orders of the
    speakers the one is taken whose shares, and mean `labels` (a row an utterance), are nearest to
    the whole corpus's; so the result rests on the names and labels only, not on the order of rows.

    Raises:
        CorpusError: there are fewer than three speakers.
    """
    sizes = Counter(speakers)
    if len(sizes) < len(SPLITS):
        raise CorpusError(
            f"{len(sizes)} speakers cannot be parted into train, validation and test: "
            "at least 3 are needed"
        )
    sums = None if labels is None else _label_sums(speakers, labels)
    candidates = [_dealt(sizes, salt) for salt in range(64)]
    best = min(candidates, key=lambda dealt: _imbalance(dealt, sizes, sums))
    return [best[speaker] for speaker in speakers]


def _label_sums(speakers: Sequence[str], labels: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """For each speaker the sums of the standardised labels, then their counts, shape (2, D)."""
    values = labels.to_numpy(dtype=np.float64)
    known = ~np.isnan(values)
    counts = np.maximum(known.sum(axis=0), 1)
    centred = np.where(known, values - np.nansum(values, axis=0) / counts, 0.0)
    deviations = np.sqrt((centred**2).sum(axis=0) / counts)
    standard = centred / np.where(deviations > 0, deviations, 1.0)
    sums = {speaker: np.zeros((2, values.shape[1])) for speaker in speakers}
    for speaker, row, there in zip(speakers, standard, known, strict=True):
        sums[speaker] += row, there
    return sums


def _dealt(sizes: Mapping[str, int], salt: int) -> dict[str, Split]:
    """Deal the speakers, in a hashed order, to the split that is emptiest for its share."""
    total = sum(sizes.values())
    held: dict[Split, int] = dict.fromkeys(SPLITS, 0)
    dealt: dict[str, Split] = {}
    for speaker in sorted(sizes, key=lambda name: _hashed(salt, name)):
        split = min(SPLITS, key=lambda name: held[name] / (SHARES[name] * total))
        dealt[speaker] = split
        held[split] += sizes[speaker]
    return dealt


def _imbalance(
    dealt: Mapping[str, Split],
    sizes: Mapping[str, int],
    sums: Mapping[str, NDArray[np.float64]] | None,
) -> float:
    total = sum(sizes.values())
    cost = 0.0
    for split in SPLITS:
        members = sorted(speaker for speaker in dealt if dealt[speaker] == split)
        cost += abs(sum(sizes[member] for member in members) / total - SHARES[split])
        if sums is not None:
            cost += _label_distance(np.sum([sums[member] for member in members], axis=0))
    # Sums in another order of rows differ in the last bits, which must not decide.
    return round(cost, 9)


def _label_distance(sums: NDArray[np.float64]) -> float:
    """Mean distance of a split's mean labels from the corpus's, in tenths of a deviation."""
    totals, counts = sums
    # A split without a label in some dimension is worse than any imbalance.
    distances = np.where(counts > 0, np.abs(totals) / np.maximum(counts, 1), 100.0)
    return float(distances.mean()) / 10


@dataclass(frozen=True, kw_only=True)
class LabelSummary:
    """One dimension's labels, on the corpus's own scale."""

    labelled: int
    minimum: float
    mean: float
    maximum: float
    histogram: tuple[int, ...]
    """Utterances in ten equal bins from the lower to the upper end of the scale."""
    agreement: float | None
    """Mean CCC over all pairs of annotators who share at least 3 utterances; None without any."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a corpus holds, in a few numbers."""

    name: str
    utterances: int
    hours: float
    speakers: int
    splits: dict[str, int]
    """Utterances in each split."""
    annotators: int
    ratings_per_utterance: float | None
    """Mean number of annotators of a rated utterance."""
    labels: dict[str, LabelSummary]


def summarise(corpus: Corpus) -> Summary:
    """Count what is in a corpus, from its tables alone."""
    table, ratings = corpus.utterances, corpus.ratings
    per_utterance = None
    if ratings is not None and len(ratings):
        raters = ratings.groupby("utterance")["annotator"].nunique()
        per_utterance = float(raters.mean())
    return Summary(
        name=corpus.name,
        utterances=len(table),
        hours=int(table["samples"].sum()) / SAMPLE_RATE_HZ / 3600,
        speakers=int(table["speaker"].nunique()),
        splits={split: int((table["split"] == split).sum()) for split in SPLITS},
        annotators=0 if ratings is None else int(ratings["annotator"].nunique()),
        ratings_per_utterance=per_utterance,
        labels={name: _label_summary(corpus, name) for name in corpus.dimensions},
    )


def _label_summary(corpus: Corpus, dimension: str) -> LabelSummary:
    values = corpus.utterances[dimension].dropna().to_numpy(dtype=np.float64)
    counts, _ = np.histogram(values, bins=10, range=(corpus.minimum, corpus.maximum))
    return LabelSummary(
        labelled=len(values),
        minimum=float(values.min()),
        mean=float(values.mean()),
        maximum=float(values.max()),
        histogram=tuple(int(count) for count in counts),
        agreement=_agreement(corpus, dimension),
    )


def _agreement(corpus: Corpus, dimension: str) -> float | None:
    if corpus.ratings is None:
        return None
    one = corpus.ratings[corpus.ratings["dimension"] == dimension][["utterance", "annotator"]]
    one = one.assign(x=corpus.scaled(corpus.ratings.loc[one.index, "value"]))
    pairs = one.merge(one.rename(columns={"annotator": "other", "x": "y"}), on="utterance")
    pairs = pairs[pairs["annotator"] < pairs["other"]]
    pairs = pairs.assign(xx=pairs["x"] ** 2, yy=pairs["y"] ** 2, xy=pairs["x"] * pairs["y"])
    grouped = pairs.groupby(["annotator", "other"])[["x", "y", "xx", "yy", "xy"]]
    means = grouped.mean()[grouped.size() >= 3]
    # 2 cov / (var + var + (difference of the means)²), with the means multiplied out.
    covariance = means["xy"] - means["x"] * means["y"]
    spread = means["xx"] + means["yy"] - 2 * means["x"] * means["y"]
    measured = spread > 1e-12
    if not measured.any():
        return None
    return float((2 * covariance[measured] / spread[measured]).mean())
