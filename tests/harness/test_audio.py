"""Audio that is kept, and what is read again."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from serbench.harness.audio import kept_in_memory


def test_audio_is_read_once_as_far_as_there_is_room() -> None:
    read: list[int] = []

    def wave(index: int) -> npt.NDArray[np.float32]:
        read.append(index)
        return np.full(100, index, np.float32)

    kept = kept_in_memory(wave, limit_bytes=2 * 400)
    for _ in range(3):
        for index in (5, 6, 7):
            assert (kept(index) == index).all()
    assert read == [5, 6, 7, 7, 7], "the third has no room"


def test_something_small_still_goes_in_where_something_large_did_not() -> None:
    sizes = {0: 90, 1: 20, 2: 10}
    read: list[int] = []

    def wave(index: int) -> npt.NDArray[np.float32]:
        read.append(index)
        return np.zeros(sizes[index], np.float32)

    kept = kept_in_memory(wave, limit_bytes=400)
    for _ in range(2):
        for index in sizes:
            kept(index)
    assert read == [0, 1, 2, 1]
