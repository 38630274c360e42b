"""Damage that only decoding to the end shows."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from serbench.harness.corpora import generated
from serbench.harness.corpora.base import Corpus
from serbench.harness.corpora.decoding import decode
from serbench.harness.corpora.recordings import probe

Spoil = Callable[[bytes], bytes]
SECONDS, RATE_HZ = 10, 16_000


def noise(path: Path, subtype: str | None = None) -> Path:
    wave = 0.1 * np.random.default_rng(0).standard_normal(SECONDS * RATE_HZ)
    soundfile.write(path, wave, RATE_HZ, subtype=subtype)
    return path


def corpus(paths: list[Path], **columns: object) -> Corpus:
    """The files, and two good ones, so that each split has its own."""
    folder = paths[0].parent
    paths = [noise(folder / "good1.wav"), noise(folder / "good2.wav"), *paths]
    found = probe(paths)
    assert all(isinstance(samples, int) for samples in found), "the header check finds it already"
    table = pd.DataFrame(
        {
            "id": [path.stem for path in paths],
            "path": [str(path) for path in paths],
            "speaker": ["a", "b", *["c"] * (len(paths) - 2)],
            "split": ["train", "validation", *["test"] * (len(paths) - 2)],
            "samples": found,
            "valence": 0.0,
            **columns,
        }
    )
    return Corpus(name="spoilt", utterances=table, minimum=-1, maximum=1)


def half(raw: bytes) -> bytes:
    return raw[: len(raw) // 2]


def stated(riff: int, data: int) -> Spoil:
    """Lengths in the header of a wave file."""

    def spoil(raw: bytes) -> bytes:
        return raw[:4] + struct.pack("<I", riff) + raw[8:40] + struct.pack("<I", data) + raw[44:]

    return spoil


def hole(raw: bytes) -> bytes:
    middle = len(raw) // 2
    return raw[:middle] + bytes(300) + raw[middle + 300 :]


@pytest.mark.parametrize(
    ("name", "subtype", "spoil", "what"),
    [
        ("a.flac", None, half, "cannot be decoded"),
        ("a.flac", None, hole, "cannot be decoded"),
        ("a.wav", None, stated(320_036, 1600), "is longer than its header says: 318400 bytes"),
        ("a.ogg", "VORBIS", half, "is cut short: its last page does not end the stream"),
        ("a.ogg", "OPUS", half, "is cut short: its last page does not end the stream"),
        ("a.ogg", "VORBIS", hole, "is damaged: decoding stops after"),
        ("a.mp3", None, half, "is damaged: decoding stops after"),
    ],
)
def test_damage_is_found_that_headers_do_not_show(
    name: str, subtype: str | None, spoil: Spoil, what: str, tmp_path: Path
) -> None:
    path = noise(tmp_path / name, subtype)
    path.write_bytes(spoil(path.read_bytes()))
    decoded = decode(corpus([path]))
    (finding,) = decoded.findings
    assert finding.startswith(f"{path}: {what}")
    assert decoded.files == 3


@pytest.mark.parametrize("name", ["a.wav", "a.aiff"])
def test_what_was_cut_short_since_it_was_loaded_is_found(name: str, tmp_path: Path) -> None:
    path = noise(tmp_path / name)
    loaded = corpus([path])
    path.write_bytes(half(path.read_bytes()))
    (finding,) = decode(loaded).findings
    assert finding.startswith(f"{path}: is cut short: ")


@pytest.mark.parametrize("unknown", [0xFFFFFFFF, 0xFFFFFFFF - 36, 0x7FFFFFFF])
def test_a_header_that_could_not_know_the_length_is_no_damage(unknown: int, tmp_path: Path) -> None:
    path = noise(tmp_path / "piped.wav")
    path.write_bytes(stated(unknown, unknown)(path.read_bytes()))
    assert decode(corpus([path])).findings == ()


@pytest.mark.parametrize("behind", [b"TAG" + bytes(125), bytes(64), b"\xfe\x01\x02\x03" * 9])
def test_tags_and_padding_behind_the_sound_are_no_damage(behind: bytes, tmp_path: Path) -> None:
    path = noise(tmp_path / "tagged.wav")
    path.write_bytes(path.read_bytes() + behind)
    assert decode(corpus([path])).findings == ()


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_samples_that_are_no_numbers_are_found(wrong: float, tmp_path: Path) -> None:
    wave = np.zeros(RATE_HZ)
    wave[77] = wrong
    soundfile.write(tmp_path / "nan.wav", wave, RATE_HZ, subtype="FLOAT")
    (finding,) = decode(corpus([tmp_path / "nan.wav"])).findings
    assert finding == f"{tmp_path / 'nan.wav'}: holds samples that are not finite"


def test_silence_is_told_and_is_no_damage(tmp_path: Path) -> None:
    for name, level in (("zeros", 0.0), ("offset", 0.3)):
        soundfile.write(tmp_path / f"{name}.wav", np.full(RATE_HZ, level), RATE_HZ)
    decoded = decode(corpus([tmp_path / "zeros.wav", tmp_path / "offset.wav"]))
    assert decoded.findings == ()
    assert decoded.silent == (str(tmp_path / "zeros.wav"), str(tmp_path / "offset.wav"))


def test_all_that_is_wrong_is_told_in_the_order_of_the_corpus(tmp_path: Path) -> None:
    paths = [noise(tmp_path / f"{number}.flac") for number in range(6)]
    for path in paths[::2]:
        path.write_bytes(half(path.read_bytes()))
    told: list[tuple[int, int]] = []
    decoded = decode(corpus(paths), lambda done, total: told.append((done, total)))
    assert [finding.partition(":")[0] for finding in decoded.findings] == list(map(str, paths[::2]))
    assert told == [(done, 8) for done in range(1, 9)]


def test_lengths_that_the_corpus_tells_are_held_against_the_files(tmp_path: Path) -> None:
    paths = [noise(tmp_path / "whole.wav"), noise(tmp_path / "part.wav")]
    samples = [160_000, 160_000, 158_000, 16_000]
    starts_s = [math.nan, math.nan, math.nan, 9.5]
    found = decode(corpus(paths, samples=samples, start_s=starts_s)).findings
    assert found == (
        f"{paths[0]}: is 10.00 s long, not the 9.88 s that the corpus says",
        f"{paths[1]}: ends after 10.00 s, and its part 'part' at 10.50 s",
    )


def test_a_file_of_many_parts_is_decoded_once(tmp_path: Path) -> None:
    path = noise(tmp_path / "long.flac")
    table = corpus([path]).utterances
    parts = pd.concat([table[:2], *[table[2:]] * 4], ignore_index=True)
    parts = parts.assign(
        id=[f"u{number}" for number in range(6)],
        start_s=[math.nan, math.nan, 0, 0.5, 1, 1.5],
        samples=[160_000, 160_000, 8000, 8000, 8000, 8000],
    )
    decoded = decode(Corpus(name="parts", utterances=parts, minimum=-1, maximum=1))
    assert (decoded.files, decoded.findings) == (3, ())


def test_a_corpus_without_files_is_decoded_too() -> None:
    decoded = decode(generated.load("speakers=3,utterances=2"))
    assert (decoded.files, decoded.findings, decoded.silent) == (6, (), ())
