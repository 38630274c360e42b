"""Sound of every kind of file that corpora come in, as 16 kHz mono."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from serbench.harness.corpora.recordings import at_once, probe, read

PITCH_HZ, LEVEL, SECONDS = 440, 0.5, 1.5
SAMPLES = round(SECONDS * 16_000)
FORMATS = [
    ("wav", "PCM_16", 16_000, 1),
    ("wav", "PCM_U8", 11_025, 1),
    ("wav", "PCM_24", 44_100, 2),
    ("wav", "PCM_32", 96_000, 1),
    ("wav", "FLOAT", 48_000, 1),
    ("wav", "DOUBLE", 22_050, 6),
    ("wav", "ULAW", 8_000, 1),
    ("wav", "ALAW", 8_000, 1),
    ("flac", "PCM_16", 44_100, 1),
    ("flac", "PCM_24", 48_000, 2),
    ("ogg", "VORBIS", 44_100, 2),
    ("ogg", "VORBIS", 16_000, 1),
    ("ogg", "OPUS", 48_000, 1),
    ("ogg", "OPUS", 16_000, 2),
    ("mp3", "MPEG_LAYER_III", 44_100, 2),
    ("mp3", "MPEG_LAYER_III", 16_000, 1),
    ("aiff", "PCM_16", 32_000, 1),
]


@pytest.fixture(params=FORMATS, ids=lambda kind: "-".join(map(str, kind)))
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A tone in one of the formats, the same in all channels but the last, which is silent."""
    suffix, subtype, rate_hz, channels = request.param
    if not soundfile.check_format(suffix.upper(), subtype):
        pytest.skip(f"this libsndfile writes no {subtype}")
    time_s = np.arange(round(SECONDS * rate_hz)) / rate_hz
    wave = LEVEL * np.sin(2 * np.pi * PITCH_HZ * time_s)
    frames = np.repeat(wave[:, None], channels, axis=1)
    if channels > 1:
        frames[:, -1] = 0
        frames *= channels / (channels - 1)
    path = tmp_path / f"tone.{suffix}"
    # What overshoots full scale would be clipped, and not in every format alike.
    soundfile.write(path, frames * 0.9, rate_hz, subtype=subtype)
    return path


def test_every_format_gives_length_pitch_and_level(file: Path) -> None:
    assert probe([file]) == [pytest.approx(SAMPLES, abs=1)]
    wave = read(str(file), SAMPLES, whole=True)
    assert wave.shape == (SAMPLES,)
    assert wave.dtype == np.float32
    assert _pitch_hz(wave) == pytest.approx(PITCH_HZ, abs=1)
    assert _level(wave) == pytest.approx(0.9 * LEVEL, rel=0.02)


def test_a_part_of_a_file_is_what_is_there_in_the_whole(file: Path) -> None:
    whole = read(str(file), SAMPLES, whole=True)
    cut = read(str(file), 8000, whole=False)
    np.testing.assert_allclose(cut, whole[:8000], atol=2e-3)
    part = read(str(file), 8000, start_s=0.8, whole=False)
    # The resampler starts with silence where the part does.
    np.testing.assert_allclose(part[200:], whole[13_000:20_800], atol=2e-3)


def _pitch_hz(wave: NDArray[np.float32]) -> float:
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), n=16 * len(wave)))
    return float(spectrum.argmax() * 16_000 / (16 * len(wave)))


def _level(wave: NDArray[np.float32]) -> float:
    """Amplitude of the tone, away from the ends, where codecs fade."""
    inner = wave[1600:-1600].astype(np.float64)
    return float(np.sqrt(2 * np.mean(inner**2)))


def test_what_has_not_begun_is_not_begun_once_nobody_listens() -> None:
    begun: list[int] = []

    def slow(number: int) -> int:
        begun.append(number)
        time.sleep(0.01)
        return number

    results = at_once(slow, range(1000))
    assert next(results) == 0
    results.close()
    count = len(begun)
    assert count < 500
    time.sleep(0.05)
    assert len(begun) == count, "it goes on after it was closed"


@pytest.mark.parametrize("name", ["a.wav", "a.aiff"])
def test_a_file_that_ends_before_its_header_says_is_found_by_the_header(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    soundfile.write(path, np.full(16_000, 0.1), 16_000)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    (found,) = probe([path])
    assert isinstance(found, str)
    assert re.fullmatch(r"cut short: 159\d\d bytes of sound, and its header says 320\d\d", found)
    path.write_bytes(whole[: len(whole) - 32_000])
    (found,) = probe([path])
    assert re.match(r"cut short: [08] bytes of sound", str(found))


@pytest.mark.parametrize("stated", [32_000, 32_036, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_header_that_is_nearly_right_or_could_not_know_is_no_damage(
    stated: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.full(16_000, 0.1), 16_000)
    raw = path.read_bytes()
    path.write_bytes(raw[:40] + stated.to_bytes(4, "little") + raw[44:])
    assert probe([path]) == [16_000]
