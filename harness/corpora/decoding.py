"""What only decoding audio to its end can tell: damage, samples that are no numbers, silence."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from serbench.harness.backbone import SAMPLE_RATE_HZ
from serbench.harness.corpora.base import Corpus
from serbench.harness.corpora.recordings import TOLERANCE_S, at_once, cut_short, reason
from serbench.harness.errors import CorpusError

__all__ = ["Decoded", "decode"]

QUIET = 1e-4
"""Half the range of samples below which a file is silent: three steps of 16 bits, full scale 1."""
AT_ONCE = 2**22
"""Samples decoded at a time, of all channels together; most utterances have fewer."""
STRAY_BYTES = 4096
"""What may stand behind the sound without being a chunk: padding, and tags put there by hand."""
OGG_PAGE_BYTES = 65_307
"""The longest page, by RFC 3533."""
LAST_PAGE = 0x04
"""The bit of a page's header that says so."""
BEHIND = re.compile(r"Unknown chunk marker \(\w+\) at position (\d+)")
"""From the log that libsndfile keeps while it reads a header."""


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """What came of decoding everything."""

    files: int
    """How many were decoded; an utterance without a file counts as one."""
    findings: tuple[str, ...]
    """Damage, one line each, with the path."""
    silent: tuple[str, ...]
    """Paths, or ids of utterances without a file, in which nothing is to be heard."""


@dataclass(frozen=True)
class _Heard:
    samples: float
    """At 16 kHz."""
    silent: bool


@dataclass(frozen=True)
class _Part:
    """What an utterance takes of a file."""

    utterance: str
    start_s: float
    """NaN for all of it."""
    samples: int


@dataclass(frozen=True)
class _Sound:
    """A file, or an utterance without one; the name is its path or id."""

    name: str
    listen: Callable[[], _Heard]
    parts: list[_Part]


def decode(corpus: Corpus, tell: Callable[[int, int], None] = lambda done, total: None) -> Decoded:
    """Decode all of a corpus's audio to its end, several files at a time; damage does not raise.

    Args:
        corpus: of any kind; a file of which several utterances are parts is decoded once.
        tell: is given the number of files that are done, and of all.
    """
    sounds = _sounds(corpus)
    findings: list[str] = []
    silent: list[str] = []
    for done, (sound, found) in enumerate(zip(sounds, at_once(_heard, sounds), strict=True), 1):
        if isinstance(found, str):
            findings.append(f"{sound.name}: {found}")
        else:
            findings += [f"{sound.name}: {what}" for what in _missing(sound, found)]
            silent += [sound.name] if found.silent else []
        tell(done, len(sounds))
    return Decoded(files=len(sounds), findings=tuple(findings), silent=tuple(silent))


def _sounds(corpus: Corpus) -> list[_Sound]:
    table = corpus.utterances
    starts_s = table["start_s"] if "start_s" in table else pd.Series(math.nan, table.index)
    found: dict[object, _Sound] = {}
    facts = zip(table["path"], table["id"], starts_s, table["samples"], strict=True)
    for index, (path, name, start_s, samples) in enumerate(facts):
        if isinstance(path, str):
            sound = found.setdefault(path, _Sound(path, partial(_file, path), []))
        else:
            sound = found[index] = _Sound(name, partial(_made, corpus, index), [])
        sound.parts.append(_Part(name, start_s, samples))
    return list(found.values())


def _heard(sound: _Sound) -> _Heard | str:
    try:
        return sound.listen()
    except CorpusError as error:
        return str(error)
    except (OSError, RuntimeError, ValueError) as error:
        return f"cannot be decoded ({reason(error)})"


def _made(corpus: Corpus, index: int) -> _Heard:
    """What a corpus without files gives."""
    wave = corpus.waveform(index)
    if not np.isfinite(wave).all():
        raise CorpusError("holds samples that are not finite")
    return _Heard(len(wave), _is_silent(wave.min(), wave.max()))


def _file(path: str) -> _Heard:
    with soundfile.SoundFile(path) as file:
        done, low, high = 0, math.inf, -math.inf
        while done < file.frames:
            wanted = min(AT_ONCE // file.channels, file.frames - done)
            block = file.read(wanted, dtype="float32", always_2d=True)
            done += len(block)
            # Behind a hole in it, an Ogg stream would go on.
            if len(block) < wanted:
                raise CorpusError(
                    f"is damaged: decoding stops after {done / file.samplerate:.2f} of "
                    f"{file.frames / file.samplerate:.2f} s"
                )
            # Both are NaN if any sample is.
            low, high = np.minimum(low, block.min()), np.maximum(high, block.max())
        if not np.isfinite([low, high]).all():
            raise CorpusError("holds samples that are not finite")
        _check_container(path, file)
        return _Heard(done * SAMPLE_RATE_HZ / file.samplerate, _is_silent(low, high))


def _is_silent(low: float, high: float) -> bool:
    return bool((high - low) / 2 < QUIET)


def _check_container(path: str, file: soundfile.SoundFile) -> None:
    """Find what libsndfile passes over."""
    log = file.extra_info
    if short := cut_short(log, file.frames / file.samplerate):
        raise CorpusError(f"is {short}")
    stray = BEHIND.search(log)
    if stray and (behind := Path(path).stat().st_size - int(stray[1])) > STRAY_BYTES:
        raise CorpusError(f"is longer than its header says: {behind} bytes lie behind the end")
    if file.format == "OGG" and not _is_closed(path):
        raise CorpusError("is cut short: its last page does not end the stream")


def _is_closed(path: str) -> bool:
    """Whether the last page of an Ogg file is there whole, and is marked as the last one."""
    with Path(path).open("rb") as file:
        file.seek(max(0, Path(path).stat().st_size - OGG_PAGE_BYTES))
        tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    lengths = page[27 : 27 + page[26]] if len(page) > 26 else b""
    return len(page) >= 27 + len(lengths) + sum(lengths) and bool(page[5] & LAST_PAGE)


def _missing(sound: _Sound, heard: _Heard) -> Iterator[str]:
    """Where utterances are not what the corpus says of their lengths."""
    tolerance = TOLERANCE_S * SAMPLE_RATE_HZ
    for part in sound.parts:
        if math.isnan(part.start_s):
            if abs(heard.samples - part.samples) > tolerance:
                yield (
                    f"is {heard.samples / SAMPLE_RATE_HZ:.2f} s long, not the "
                    f"{part.samples / SAMPLE_RATE_HZ:.2f} s that the corpus says"
                )
        elif (end := part.start_s * SAMPLE_RATE_HZ + part.samples) > heard.samples + tolerance:
            yield (
                f"ends after {heard.samples / SAMPLE_RATE_HZ:.2f} s, and its part "
                f"'{part.utterance}' at {end / SAMPLE_RATE_HZ:.2f} s"
            )
