"""Audio files: how long they are by their headers, and their sound as 16 kHz mono."""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Callable, Generator, Iterable, Sequence
from itertools import islice
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from serbench.harness.backbone import SAMPLE_RATE_HZ
from serbench.harness.errors import CorpusError

__all__ = [
    "RESAMPLING",
    "SHORTEST",
    "TOLERANCE_S",
    "absent",
    "at_once",
    "cut_short",
    "part",
    "probe",
    "read",
    "reason",
]

RESAMPLING = "mono-16k-soxr-hq"
"""Names what `read` does to a file, so that what is kept of another way is not taken for it."""
SHORTEST = 400
"""Samples in the receptive field of the convolutions of wav2vec 2.0 and its kin (25 ms): shorter
audio gives an encoder no frame."""
POINTER = b"version https://git-lfs"
"""How a file begins that Git checks out where Git LFS is not installed."""
TOLERANCE_S = 0.01
"""How far a file may be from the length that it should have, which may be rounded to 10 ms."""
ENDLESS_BYTES = 0x7F000000
"""Lengths from here on mean that whoever wrote the header could not know it."""
STATED = re.compile(r"^ *(?:data|SSND) : (\d+) \(should be (\d+)\)", re.MULTILINE)
"""From the log that libsndfile keeps while it reads a header: it takes a file that was cut short
for a shorter one."""
HANDED_OVER = 4096
"""Files handed to the threads at a time: handing over a million takes over a gigabyte."""
MARGIN_S = 0.1
"""Read beyond the end of a part, so that the resampler's filter has what follows it."""
MP3_LEAD_S = 2.0
"""Read before a part of an MP3 file: a frame's bits may stand in frames before it, up to 511 bytes,
so that the decoder gives half a second of silence or worse after it was set to some place."""
THREADS = 8
"""Enough for the cores of most machines, and for a disk across a network."""

A = TypeVar("A")
B = TypeVar("B")


def read(path: str, samples: int, *, start_s: float = 0.0, whole: bool) -> NDArray[np.float32]:
    """So many samples of mono audio at 16 kHz, channels averaged, full scale at ±1.

    Args:
        path: of a file in any format, rate and channel count that libsndfile knows.
        samples: at 16 kHz; no more of the file than these is decoded, unless it should be whole.
        start_s: where in the file they start.
        whole: the file should end with them.

    Raises:
        CorpusError: the file cannot be read, or is not as long as that.
    """
    frames, rate_hz = _decoded(path, None if whole else samples / SAMPLE_RATE_HZ, start_s)
    # numpy's mean over an axis of one takes as long as decoding does.
    mono = frames[:, 0] if frames.shape[1] == 1 else frames.mean(axis=1)
    if not np.isfinite(mono).all():
        raise CorpusError(f"{path} holds samples that are not finite")
    if rate_hz != SAMPLE_RATE_HZ:
        mono = soxr.resample(mono, rate_hz, SAMPLE_RATE_HZ, quality="HQ")
    tolerance = round(TOLERANCE_S * SAMPLE_RATE_HZ)
    if len(mono) < samples - tolerance or (whole and len(mono) > samples + tolerance):
        raise CorpusError(
            f"{path} gives {len(mono)} samples at 16 kHz, not the {samples} that its header or "
            "the metadata promised: it is damaged, or has changed since"
        )
    fitted = np.zeros(samples, dtype=np.float32)
    fitted[: len(mono)] = mono[:samples]
    return fitted


def _decoded(path: str, seconds: float | None, start_s: float) -> tuple[NDArray[np.float32], int]:
    """Frames (T, channels) and their rate; to the end of the file if no seconds are named."""
    try:
        with soundfile.SoundFile(path) as file:
            rate_hz: int = file.samplerate
            count = -1 if seconds is None else math.ceil((seconds + MARGIN_S) * rate_hz)
            frames = part(file, round(start_s * rate_hz), count, "float32")
    except (OSError, RuntimeError, ValueError) as error:
        raise CorpusError(f"{path} cannot be read: {reason(error)}") from error
    return frames, rate_hz


def absent(paths: Iterable[str]) -> dict[int, str]:
    """What is wrong with those that are no files with something in them, by position.

    None is opened.
    """
    wrong = {position: _absence(path) for position, path in enumerate(paths)}
    return {position: what for position, what in wrong.items() if what}


def part(file: soundfile.SoundFile, start: int, count: int, dtype: str) -> NDArray[Any]:
    """So many frames (T, channels) of an open file from one on, or all the rest if -1."""
    start = min(start, file.frames)
    lead = round(MP3_LEAD_S * file.samplerate) if file.subtype.startswith("MPEG") else 0
    lead = min(start, lead)
    file.seek(start - lead)
    frames: NDArray[Any] = file.read(
        count if count < 0 else lead + count, dtype=dtype, always_2d=True
    )
    return frames[lead:]


def reason(error: Exception) -> str:
    """What libsndfile says is wrong, without the path, which whoever reports it names."""
    return str(error).rpartition(": ")[2]


def at_once(call: Callable[[A], B], each: Iterable[A]) -> Generator[B, None, None]:
    """Call for several files at a time, in threads; the results come in order.

    Libsndfile and soxr leave the interpreter to others while they work. When the generator is
    closed, what has begun is waited for, and the rest is not begun.
    """
    # An executor starts its threads when there is work already, and one whose start is interrupted
    # would work on unnoticed.
    pool = ThreadPool(THREADS)
    waiting = iter(each)
    try:
        while portion := list(islice(waiting, HANDED_OVER)):
            yield from pool.imap(call, portion)
    finally:
        pool.terminate()
        pool.join()


def _absence(path: str | Path) -> str | None:
    try:
        facts = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return "there is no such file"
    if not stat.S_ISREG(facts.st_mode):
        return "unreadable audio (that is no file)"
    return None if facts.st_size else "the file is empty"


def probe(paths: Sequence[str | Path]) -> list[int | str]:
    """For each file its length in samples at 16 kHz, from the header, or what is wrong with it.

    A WAV or AIFF file is wrong if it is shorter than its header says, too.
    """
    return list(at_once(_probe, paths))


def _probe(path: str | Path) -> int | str:
    if missing := _absence(path):
        return missing
    try:
        header = soundfile.info(str(path))
    except (OSError, RuntimeError, ValueError) as error:
        if _is_pointer(path):
            return "a Git LFS pointer in place of the audio, which git lfs pull fetches"
        return f"unreadable audio ({reason(error)})"
    if short := cut_short(header.extra_info, header.frames / header.samplerate):
        return short
    samples = (2 * header.frames * SAMPLE_RATE_HZ + header.samplerate) // (2 * header.samplerate)
    if samples < SHORTEST:
        seconds = header.frames / header.samplerate
        return f"too short: {seconds:.3f} s, and an encoder needs {SHORTEST / SAMPLE_RATE_HZ} s"
    return int(samples)


def cut_short(log: str, there_s: float) -> str | None:
    """What is wrong with a WAV or AIFF file that holds less sound than its header says.

    Args:
        log: what libsndfile noted of the header
        there_s: seconds of sound that the file holds
    """
    found = STATED.search(log)
    stated, there = map(int, found.groups()) if found else (0, 0)
    missing = stated - there
    # Programs that count the header as sound are off by less.
    nearly = there_s > 0 and missing * there_s < TOLERANCE_S * there
    if stated >= ENDLESS_BYTES or missing <= 0 or nearly:
        return None
    return f"cut short: {there} bytes of sound, and its header says {stated}"


def _is_pointer(path: str | Path) -> bool:
    try:
        with Path(path).open("rb") as file:
            return file.read(len(POINTER)) == POINTER
    except OSError:
        return False
