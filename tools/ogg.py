"""Ogg Opus files that are the same to the byte whenever they are written."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

__all__ = ["write_opus"]


def write_opus(path: Path, wave: NDArray[np.float64], rate_hz: int) -> None:
    """One channel (S,), at libsndfile's default quality.

    libsndfile numbers each Ogg stream at random; here all have the same number.
    """
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate_hz, format="OGG", subtype="OPUS")
    path.write_bytes(_renumbered(buffer.getvalue()))


def _renumbered(ogg: bytes) -> bytes:
    """The same pages with stream number 1 in place of libsndfile's random one (RFC 3533, 6)."""
    data, start = bytearray(ogg), 0
    while start < len(data):
        segments = data[start + 26]
        end = start + 27 + segments + sum(data[start + 27 : start + 27 + segments])
        struct.pack_into("<I", data, start + 14, 1)
        struct.pack_into("<I", data, start + 22, 0)
        struct.pack_into("<I", data, start + 22, _page_checksum(data[start:end]))
        start = end
    return bytes(data)


def _page_checksum(page: bytes | bytearray) -> int:
    """CRC of an Ogg page: polynomial 0x04c11db7, nothing reflected, starting from 0."""
    remainder = 0
    for byte in page:
        remainder = (remainder << 8 & 0xFFFFFFFF) ^ CHECKSUMS[remainder >> 24 ^ byte]
    return remainder


def _checksums() -> list[int]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
        table.append(value)
    return table


CHECKSUMS = _checksums()
