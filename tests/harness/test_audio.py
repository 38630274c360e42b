"""Audio that is kept, and what is read again."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pytest

from serbench.harness.audio import Audio, in_threads, kept_in_memory


def test_audio_is_read_once_as_far_as_there_is_room() -> None:
    read: list[int] = []

    def waves(indices: list[int]) -> Iterable[npt.NDArray[np.float32]]:
        read.extend(indices)
        return [np.full(100, index, np.float32) for index in indices]

    kept = kept_in_memory(waves, limit_bytes=2 * 400)
    for _ in range(3):
        for indices in ([5, 6], [7, 5]):
            assert [wave[0] for wave in kept(indices)] == indices
    assert read == [5, 6, 7, 7, 7], "the third has no room"


def test_something_small_still_goes_in_where_something_large_did_not() -> None:
    sizes = {0: 90, 1: 20, 2: 10}
    read: list[int] = []

    def waves(indices: list[int]) -> Iterable[npt.NDArray[np.float32]]:
        read.extend(indices)
        return [np.zeros(sizes[index], np.float32) for index in indices]

    kept = kept_in_memory(waves, limit_bytes=400)
    for _ in range(2):
        for index in sizes:
            kept([index])
    assert read == [0, 1, 2, 1]


def test_a_batch_is_read_in_threads_and_stays_in_order() -> None:
    # Each waits for the other, so that one after the other would never end.
    together = threading.Barrier(2)

    def read(index: int) -> npt.NDArray[np.float32]:
        together.wait(timeout=10)
        return np.full(index, index, np.float32)

    audio = Audio(in_threads(read, threads=2), np.arange(5))
    waves, samples = audio.batch(np.array([4, 2]))
    assert samples.tolist() == [4, 2]
    assert waves.tolist() == [[4, 4, 4, 4], [2, 2, 0, 0]]


def test_what_cannot_be_read_is_raised_where_the_batch_is_asked_for() -> None:
    def read(index: int) -> npt.NDArray[np.float32]:
        raise OSError(f"file {index}")

    with pytest.raises(OSError, match="file 3"):
        Audio(in_threads(read), np.arange(5)).batch(np.array([3, 4]))
