"""Opus files that are the same whenever they are written, and whole."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import ogg
import soundfile


def wave() -> np.ndarray:
    return 0.1 * np.sin(np.arange(16_000) / 10)


def test_twice_the_same_bytes_and_the_sound_survives(tmp_path: Path) -> None:
    for name in ("a", "b"):
        ogg.write_opus(tmp_path / f"{name}.opus", wave(), 16_000)
    assert (tmp_path / "a.opus").read_bytes() == (tmp_path / "b.opus").read_bytes()
    found, rate_hz = soundfile.read(tmp_path / "a.opus")
    assert rate_hz == 16_000
    assert np.corrcoef(found, wave())[0, 1] > 0.99


def test_the_checksum_is_the_one_that_libogg_writes(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.opus", wave(), 16_000, format="OGG", subtype="OPUS")
    written = bytearray((tmp_path / "a.opus").read_bytes())
    segments = written[26]
    page = written[: 27 + segments + sum(written[27 : 27 + segments])]
    (expected,) = struct.unpack_from("<I", page, 22)
    struct.pack_into("<I", page, 22, 0)
    assert ogg._page_checksum(page) == expected
