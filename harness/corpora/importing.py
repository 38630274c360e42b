"""Any corpus as a folder in the AudioFolder format, with its audio."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import soundfile

from serbench.harness.backbone import SAMPLE_RATE_HZ
from serbench.harness.corpora import audiofolder
from serbench.harness.corpora.base import Corpus
from serbench.harness.corpora.recordings import at_once, part, reason
from serbench.harness.errors import CorpusError, RequestError
from serbench.harness.plan import CorpusRef

__all__ = ["require_apart", "write"]

OWN = ("path", "samples", "start_s")
"""Columns of utterances that say where the audio was."""
RESERVED = ("file_name", "duration", "annotator", "arousal")
"""Columns of the format that a corpus's other columns must not be taken for."""
AUDIO = "audio"
LONGEST_NAME = 60
"""Letters of a part of a file's name: up to 240 bytes, and file systems end at 255."""
EXACT_IN_FLAC = ("PCM_S8", "PCM_16", "PCM_24")
ONLY_IN_WAV = ("PCM_32", "FLOAT", "DOUBLE")
FLAC_CHANNELS = 8
"""The most that the format has room for."""


def write(
    corpus: Corpus,
    out: Path,
    *,
    link: bool = False,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write a corpus to a folder from which `audiofolder.load` reads the same one.

    Files are copied as they are. Parts of files are cut out, at the file's own rate and exactly if
    the file holds PCM or floats; utterances without a file are written as 16 kHz floats. The ids
    become names of files; each stays in a column `id`. The folder is there whole, or not at all.

    Args:
        corpus: of any kind; of its folds only the present one, the splits, is kept.
        out: where to; it must not be there, or be empty.
        link: symbolic links instead of copies.
        tell: is given the number of utterances that are done, and of all.

    Raises:
        RequestError: `out` holds something, or cannot be written.
        CorpusError: audio cannot be read, or the format cannot express the corpus.
    """
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise RequestError(f"{out} is there already; name a folder that is not, or is empty")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as beside:
            folder = Path(beside) / out.name
            _fill(folder, corpus, link, tell)
            _read_back(folder, corpus)
            folder.rename(out)
    except OSError as error:
        raise RequestError(f"{error.filename or out}: {error.strerror}") from error


def require_apart(ref: CorpusRef, out: Path) -> None:
    """Make sure that neither the folder of a corpus nor the one to be written is in the other.

    Raises:
        RequestError: one is; what is written would become part of what is read.
    """
    root, out = Path(ref.root or ref.name), out.resolve()
    if not (root.is_absolute() and root.is_dir()):
        return
    if out.is_relative_to(root) or root.is_relative_to(out):
        raise RequestError(f"{out} and the corpus's {root} are one in the other: keep them apart")


def _fill(folder: Path, corpus: Corpus, link: bool, tell: Callable[[int, int], None]) -> None:
    sources = _sources(corpus)
    names = _names([source.utterance for source in sources], [source.suffix for source in sources])

    def put(index: int) -> None:
        target = folder / names[index]
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            _put(sources[index], corpus, index, target, link)
        except (RuntimeError, ValueError) as error:
            what = sources[index].path or sources[index].utterance
            raise CorpusError(f"{what} cannot become {names[index]}: {reason(error)}") from error

    folder.mkdir()
    # Whoever interrupts must wait for the threads, or they would write on.
    with closing(at_once(put, range(len(sources)))) as written:
        for done, _ in enumerate(written, 1):
            tell(done, len(sources))
    _metadata(corpus, names).to_csv(folder / "metadata.csv", index=False)
    if (rated := _ratings(corpus, names)) is not None:
        rated.to_csv(folder / "ratings.csv", index=False)
    (folder / "corpus.toml").write_text(_settings(corpus), encoding="utf-8")


def _read_back(folder: Path, corpus: Corpus) -> None:
    try:
        audiofolder.verified(str(folder))
    except CorpusError as error:
        message = f"{corpus.name} cannot be had in the AudioFolder format"
        raise CorpusError(message, error.findings) from error


@dataclass(frozen=True)
class _Source:
    """Where an utterance's audio is, and the suffix of the file that it becomes."""

    utterance: str
    path: str | None
    start_s: float
    """NaN for the whole file."""
    suffix: str


def _sources(corpus: Corpus) -> list[_Source]:
    table = corpus.utterances
    starts_s = table["start_s"] if "start_s" in table else pd.Series(math.nan, table.index)
    sources = []
    suffixes: dict[str, str] = {}
    for name, path, start_s in zip(table["id"], table["path"], starts_s, strict=True):
        if not isinstance(path, str):
            sources.append(_Source(name, None, math.nan, ".wav"))
        elif math.isnan(start_s):
            sources.append(_Source(name, path, start_s, Path(path).suffix or ".audio"))
        else:
            if path not in suffixes:
                suffixes[path] = _cut_suffix(path)
            sources.append(_Source(name, path, start_s, suffixes[path]))
    return sources


def _cut_suffix(path: str) -> str:
    try:
        found = soundfile.info(path)
    except (RuntimeError, OSError) as error:
        raise CorpusError(f"{path} cannot be read: {reason(error)}") from error
    fits = found.subtype not in ONLY_IN_WAV and found.channels <= FLAC_CHANNELS
    return ".flac" if fits else ".wav"


def _put(source: _Source, corpus: Corpus, index: int, target: Path, link: bool) -> None:
    if source.path is None:
        soundfile.write(target, corpus.waveform(index), SAMPLE_RATE_HZ, subtype="FLOAT")
    elif not math.isnan(source.start_s):
        samples = int(corpus.utterances["samples"].iloc[index])
        _cut(source.path, source.start_s, samples, target)
    elif link:
        target.symlink_to(Path(source.path).absolute())
    else:
        shutil.copyfile(source.path, target)


def _cut(path: str, start_s: float, samples: int, target: Path) -> None:
    with soundfile.SoundFile(path) as file:
        rate_hz: int = file.samplerate
        wanted = round(samples * rate_hz / SAMPLE_RATE_HZ)
        # As numbers of the file's own kind, since scaling them there and back would change them.
        own = "float64" if file.subtype in ("FLOAT", "DOUBLE") else "int32"
        frames = part(file, round(start_s * rate_hz), wanted, own)
        subtype = file.subtype if file.subtype in (*EXACT_IN_FLAC, *ONLY_IN_WAV) else "PCM_16"
    # The last part of a file may end a sample late, by rounding.
    if len(frames) < wanted - 1 - rate_hz / SAMPLE_RATE_HZ:
        raise CorpusError(f"{path} ends before its part of {samples} samples from {start_s:g} s")
    soundfile.write(target, frames, rate_hz, subtype=subtype)


def _names(utterances: list[str], suffixes: list[str]) -> list[str]:
    """Names of files that any file system takes, near the ids, and no two the same."""
    taken: set[str] = set()
    alike: Counter[str] = Counter()
    names = []
    for utterance, suffix in zip(utterances, suffixes, strict=True):
        stem, end = _plain(utterance.removesuffix(suffix)), _letters(suffix)
        name = f"{stem}{end}"
        # Some file systems do not tell capitals from small letters.
        while name.casefold() in taken:
            alike[stem] += 1
            name = f"{stem}-{alike[stem] + 1}{end}"
        taken.add(name.casefold())
        names.append(name)
    return names


def _plain(utterance: str) -> str:
    *folders, last = (_letters(part) for part in utterance.split("/"))
    # Without dots no folder has the name of a file, and none leads out.
    folders = [folder.replace(".", "_") for folder in folders if folder]
    inside = folders if folders[:1] == [AUDIO] else [AUDIO, *folders]
    return "/".join([*inside, last.lstrip(".") or "_"])


def _letters(text: str) -> str:
    composed = unicodedata.normalize("NFC", text)[:LONGEST_NAME]
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in composed)


def _metadata(corpus: Corpus, names: list[str]) -> pd.DataFrame:
    table = corpus.utterances
    known = {"id", "speaker", "split", *corpus.dimensions}
    others = [name for name in table.columns if name not in {*known, *OWN, *RESERVED}]
    metadata: pd.DataFrame = table[["speaker", "split", *corpus.dimensions, "id", *others]].copy()
    metadata.insert(0, "file_name", names)
    metadata.insert(3, "duration", (table["samples"] / SAMPLE_RATE_HZ).round(6))
    return metadata


def _ratings(corpus: Corpus, names: list[str]) -> pd.DataFrame | None:
    """A row for each annotator of an utterance; None if nobody rated a labelled dimension."""
    if corpus.ratings is None:
        return None
    rated = corpus.ratings[corpus.ratings["dimension"].isin(corpus.dimensions)]
    wide = rated.pivot(index=["utterance", "annotator"], columns="dimension", values="value")
    wide = wide[[name for name in corpus.dimensions if name in wide]]
    named = dict(zip(corpus.utterances["id"], names, strict=True))
    table = wide.reset_index()
    table.insert(0, "file_name", table.pop("utterance").map(named))
    return table if len(table) else None


def _settings(corpus: Corpus) -> str:
    facts = {
        "name": corpus.name,
        "licence": corpus.licence,
        "citation": corpus.citation,
        "notes": corpus.notes,
        "synthetic": corpus.synthetic,
        "anonymous": corpus.anonymous,
        "derived": corpus.derived,
    }
    lines = [f"{key} = {_toml(value)}" for key, value in facts.items() if value is not None]
    scale = f"min = {float(corpus.minimum)}\nmax = {float(corpus.maximum)}"
    return "\n".join([*lines, "", "[scale]", scale, ""])


def _toml(value: str | bool) -> str:
    # TOML writes text and truth as JSON does, but for one letter.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
