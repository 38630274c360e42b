from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile

Folder = Callable[..., Path]


@pytest.fixture
def write_wav() -> Callable[..., Path]:
    """Write a tone: path, seconds, rate and channels."""
    return tone


def tone(path: Path, seconds: float = 0.1, rate_hz: int = 16_000, channels: int = 1) -> Path:
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    wave = 0.5 * np.sin(2 * np.pi * 440 * time_s)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.repeat(wave[:, None], channels, axis=1), rate_hz, subtype="PCM_16")
    return path


GOOD = """file_name,speaker,split,activation,valence,dominance
wav/a1.wav,anna,train,1.5,2,3
wav/a2.wav,anna,train,4,4.5,3
wav/b1.wav,bert,validation,2,2.5,1
wav/b2.wav,bert,validation,5,4,
wav/c1.wav,cleo,test,1,1,1
wav/c2.wav,cleo,test,5,5,5
"""
TOML = """name = "six"
licence = "CC BY 4.0"

[scale]
min = 1
max = 5
"""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Make a good folder of six utterances; a text given for a file takes the good one's place."""

    def make(
        metadata: str | bytes = GOOD,
        toml: str | None = TOML,
        drop: Iterable[str] = (),
        **files: str,
    ) -> Path:
        for name in ("a1", "a2", "b1", "b2", "c1", "c2"):
            if name not in drop:
                tone(tmp_path / "wav" / f"{name}.wav")
        raw = metadata if isinstance(metadata, bytes) else metadata.encode()
        (tmp_path / "metadata.csv").write_bytes(raw)
        if toml is not None:
            (tmp_path / "corpus.toml").write_text(toml, encoding="utf-8")
        for name, text in files.items():
            (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
        return tmp_path

    return make


@pytest.fixture
def good() -> str:
    """The metadata of the good folder."""
    return GOOD
