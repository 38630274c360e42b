"""Frame states on disk, by (backbone weights, audio, depth, precision).

One folder a key. `states.bin` holds each utterance's valid frames behind one another, at places
that are known beforehand; `marks.bin` has a checksum of them, once they are written. So a
half-filled cache serves what it has, frames that a crash tore are filled again, and two runs may
fill one together: both would write the same states.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serbench.harness.errors import CacheError
from serbench.harness.metrics import size

if TYPE_CHECKING:
    import torch

__all__ = ["CACHE_DTYPES", "FORMAT", "StateCache", "Stored", "clear", "default_folder", "stored"]

FORMAT = 1
CACHE_DTYPES = ("auto", "float32", "bfloat16", "float16")
ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_CARRIERS = {4: np.int32, 2: np.int16}
"""NumPy has no bfloat16, so states travel as integers of the same width."""
_MARK = np.dtype(np.uint64)
_NO_MARKS = np.zeros(0, _MARK)


def default_folder() -> Path:
    """Where caches lie unless a folder is named: the XDG cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return Path(base) / "serbench" / "states"


class StateCache:
    """The states that enter one stage, for every utterance of a corpus.

    Args:
        folder: where caches lie.
        key: what the states depend on, as text pairs.
        frames: (N,) valid frames of each utterance.
        width: values a frame.
        dtype: one of `ITEM_BYTES`.
        limit_bytes: the most that all caches under `limited` may take together; None for no limit.
        limited: the folder that the limit is for; `folder` if None.

    Raises:
        CacheError: the states would not fit into the limit or on the disk. Nothing is left behind.
    """

    def __init__(
        self,
        folder: Path,
        key: dict[str, str],
        frames: npt.ArrayLike,
        width: int,
        dtype: str,
        *,
        limit_bytes: int | None = None,
        limited: Path | None = None,
    ) -> None:
        self._frames = np.asarray(frames, dtype=np.int64)
        self._starts = np.concatenate([[0], np.cumsum(self._frames)])
        self.width = width
        self.dtype = dtype
        self.bytes = int(self._starts[-1]) * width * ITEM_BYTES[dtype]
        facts = {**key, "width": str(width), "dtype": dtype, "format": str(FORMAT)}
        layout = hashlib.blake2b(self._frames.tobytes(), digest_size=8).hexdigest()
        text = json.dumps({**facts, "layout": layout}, sort_keys=True)
        self.folder = folder / hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
        self.written_bytes = 0
        self._open(limited or folder, facts, limit_bytes)

    def _open(self, root: Path, facts: dict[str, str], limit_bytes: int | None) -> None:
        states, marks = self.folder / "states.bin", self.folder / "marks.bin"
        count = len(self._frames)
        # A folder comes by one renaming, so one that is there and not whole was removed half-way.
        if self.folder.exists() and not self._is_whole():
            shutil.rmtree(self.folder, ignore_errors=True)
        if not self._is_whole():
            self._reserve(root, facts, limit_bytes)
        try:
            self._file: int | None = os.open(states, os.O_RDWR)
        except OSError as error:
            raise CacheError(f"{states}: {error.strerror}") from error
        carrier = _CARRIERS[ITEM_BYTES[self.dtype]]
        self._states = np.memmap(states, carrier, "r", shape=(int(self._starts[-1]), self.width))
        self._marks = np.memmap(marks, _MARK, "r+", shape=(count,))
        self._checked = np.zeros(count, dtype=bool)

    def _is_whole(self) -> bool:
        sizes = {
            "states.bin": self.bytes,
            "marks.bin": len(self._frames) * _MARK.itemsize,
        }
        return all(_has_size(self.folder / name, count) for name, count in sizes.items())

    def _reserve(self, root: Path, facts: dict[str, str], limit_bytes: int | None) -> None:
        """Take the whole space before the first state is written, under a name of its own."""
        taken = sum(entry.bytes for entry in stored(root))
        if limit_bytes is not None and taken + self.bytes > limit_bytes:
            raise CacheError(
                f"the cache needs {size(self.bytes)}; {size(taken)} of the limit of "
                f"{size(limit_bytes)} are taken (serbench cache clear frees them, --cache-limit "
                "raises it)"
            )
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.folder.parent).free
            if self.bytes > free:
                raise CacheError(self._disk_full(free))
            draft = Path(tempfile.mkdtemp(prefix=f"{self.folder.name}.", dir=self.folder.parent))
        except OSError as error:
            raise CacheError(f"{self.folder.parent}: {error.strerror}") from error
        try:
            # First, so that what a crash leaves of it can be found and cleared.
            described = {**facts, "utterances": str(int((self._frames > 0).sum()))}
            (draft / "cache.json").write_text(json.dumps(described, indent=1), encoding="utf-8")
            _allocate(draft / "states.bin", self.bytes)
            _allocate(draft / "marks.bin", len(self._frames) * _MARK.itemsize)
            draft.rename(self.folder)
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            if error.errno == errno.ENOSPC:
                raise CacheError(self._disk_full(free)) from error
            # Another run may have been first: its folder is as good as ours.
            if not self._is_whole():
                raise CacheError(f"{self.folder}: {error.strerror}") from error

    def _disk_full(self, free: int) -> str:
        return (
            f"the cache needs {size(self.bytes)} and {self.folder.parent} has {size(free)} free; "
            "name a folder on another disk with --cache-dir, or run without +cache"
        )

    def bytes_of(self, indices: npt.NDArray[np.int64]) -> int:
        """What the states of these utterances take."""
        return int(self._frames[indices].sum()) * self.width * ITEM_BYTES[self.dtype]

    def holds(self, indices: Sequence[int]) -> bool:
        """Whether the states of all these utterances are there."""
        return all(self._checked[index] or self._check(index) for index in indices)

    def _check(self, index: int) -> bool:
        """Whether an utterance's frames are whole; asked once a run."""
        mark = int(self._marks[index])
        rows = self._states[self._starts[index] : self._starts[index + 1]]
        self._checked[index] = mark != 0 and mark == _mark(rows)
        return bool(self._checked[index])

    def read(self, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """States (B, T, width), padded with zeros, and valid frames (B,)."""
        import torch

        lengths = self._frames[np.asarray(indices)]
        batch = np.zeros((len(lengths), int(lengths.max()), self.width), self._states.dtype)
        for row, index, length in zip(batch, indices, lengths, strict=True):
            start = self._starts[index]
            row[:length] = self._states[start : start + length]
        states = torch.from_numpy(batch).view(getattr(torch, self.dtype))
        return states, torch.from_numpy(lengths)

    def write(self, indices: Sequence[int], states: torch.Tensor) -> None:
        """Keep the valid frames of `states` (B, T, width), on the CPU and of the cache's dtype.

        Raises:
            CacheError: a state is not finite, or the disk fails.
        """
        import torch

        if not bool(torch.isfinite(states).all()):
            raise CacheError(f"a state to be cached is not finite in {self.dtype}")
        carried = states.view(torch.int16 if ITEM_BYTES[self.dtype] == 2 else torch.int32).numpy()
        row_bytes = self.width * ITEM_BYTES[self.dtype]
        for row, index in zip(carried, indices, strict=True):
            if self._checked[index]:
                continue
            data = np.ascontiguousarray(row[: self._frames[index]])
            self._write_at(_bytes(data), int(self._starts[index]) * row_bytes)
            self._marks[index] = _mark(data)
            self._checked[index] = True
            self.written_bytes += data.nbytes

    def _write_at(self, data: memoryview, offset: int) -> None:
        assert self._file is not None
        try:
            while data:
                count = os.pwrite(self._file, data, offset)
                data, offset = data[count:], offset + count
        except OSError as error:
            raise CacheError(f"{self.folder}: {error.strerror}") from error

    def close(self) -> None:
        """Bring what was written to the disk and let go of the files; harmless a second time."""
        if self._file is None:
            return
        os.fsync(self._file)
        self._marks.flush()
        os.close(self._file)
        self._file = None


def _mark(rows: npt.NDArray[np.generic]) -> int:
    """A checksum that is never 0, which stands for frames that are not there."""
    return zlib.crc32(_bytes(rows)) | 1 << 32


def _bytes(rows: npt.NDArray[np.generic]) -> memoryview:
    return memoryview(rows.view(np.uint8)).cast("B")  # type: ignore[arg-type]


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _allocate(path: Path, size: int) -> None:
    """Reserve blocks, not only a length: a write into a hole of a full disk would kill the run."""
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)


@dataclass(frozen=True)
class Stored:
    """A cache on disk: its folder, its size, the share of utterances that it has, and its key."""

    folder: Path
    bytes: int
    filled: float
    facts: dict[str, str]


def stored(folder: Path) -> list[Stored]:
    """Every cache under a folder."""
    found = []
    for path in sorted(folder.rglob("cache.json")):
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            files = {file.name: file for file in path.parent.iterdir()}
            taken = sum(file.stat().st_size for file in files.values())
            # One that is being reserved, or was when a run was killed, has no marks yet.
            marks = np.fromfile(files["marks.bin"], _MARK) if "marks.bin" in files else _NO_MARKS
        except (OSError, ValueError):
            continue  # being removed at this moment
        count = int(facts.get("utterances", len(marks)))
        filled = int((marks != 0).sum()) / max(1, count)
        found.append(Stored(path.parent, taken, filled, facts))
    return found


def clear(folder: Path) -> int:
    """Remove every cache under a folder and give back the bytes freed."""
    found = stored(folder)
    for cache in found:
        shutil.rmtree(cache.folder, ignore_errors=True)
    return sum(cache.bytes for cache in found)
