"""Frame states on disk: exact, resumable, shared, and of a size that is known beforehand."""

from __future__ import annotations

import errno
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import torch

from serbench.harness import cache
from serbench.harness.cache import ITEM_BYTES, StateCache, clear, stored
from serbench.harness.errors import CacheError

FRAMES = [3, 1, 5, 2]
WIDTH = 4
KEY = {"backbone": "b", "depth": "2"}


def opened(folder: Path, dtype: str = "float32", **more: object) -> StateCache:
    return StateCache(folder, KEY, FRAMES, WIDTH, dtype, **more)  # type: ignore[arg-type]


def states(indices: list[int], dtype: str = "float32") -> torch.Tensor:
    """Padded states, with something in the padding that must not come back."""
    generator = torch.Generator().manual_seed(sum(indices))
    longest = max(FRAMES[i] for i in indices)
    shape = (len(indices), longest, WIDTH)
    return torch.randn(shape, generator=generator).to(getattr(torch, dtype))


@pytest.mark.parametrize("dtype", ITEM_BYTES)
def test_what_goes_in_comes_out_bit_for_bit(dtype: str, tmp_path: Path) -> None:
    store = opened(tmp_path, dtype)
    given = states([2, 0, 1], dtype)
    assert not store.holds([2])
    store.write([2, 0, 1], given)
    assert store.holds([0, 1, 2])
    assert not store.holds([0, 3])
    read, lengths = store.read([0, 2])
    assert lengths.tolist() == [3, 5]
    assert read.dtype == given.dtype
    assert torch.equal(read[0, :3], given[1, :3])
    assert torch.equal(read[1], given[0])
    assert not read[0, 3:].any()


@pytest.mark.parametrize(("dtype", "item"), [("float32", 4), ("bfloat16", 2), ("float16", 2)])
def test_the_size_is_known_before_anything_is_written(
    dtype: str, item: int, tmp_path: Path
) -> None:
    store = opened(tmp_path, dtype)
    assert store.bytes == sum(FRAMES) * WIDTH * item
    assert (store.folder / "states.bin").stat().st_size == store.bytes
    assert (store.folder / "states.bin").stat().st_blocks * 512 >= store.bytes, "not reserved"


def test_a_run_goes_on_where_another_was_killed(tmp_path: Path) -> None:
    """Nothing is closed or flushed in between."""
    given = states([0, 1])
    opened(tmp_path).write([0, 1], given)
    again = opened(tmp_path)
    assert again.holds([0, 1])
    assert not again.holds([2])
    assert torch.equal(again.read([0])[0][0], given[0, :3])


def test_torn_frames_are_not_believed(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.write([0, 1, 2], states([0, 1, 2]))
    with (store.folder / "states.bin").open("r+b") as file:
        file.seek(5)
        file.write(b"\xff\xff\xff")
    again = opened(tmp_path)
    assert not again.holds([0])
    assert again.holds([1, 2])
    again.write([0], states([0]))
    assert torch.equal(opened(tmp_path).read([0])[0], states([0])[:, :3])


def test_two_runs_fill_one_cache(tmp_path: Path) -> None:
    first, second = opened(tmp_path), opened(tmp_path)
    assert first.folder == second.folder
    first.write([0], states([0]))
    second.write([3], states([3]))
    assert first.holds([0, 3])
    assert second.holds([0, 3])


def test_another_key_is_another_cache(tmp_path: Path) -> None:
    plain = opened(tmp_path).folder
    others = {
        opened(tmp_path, "bfloat16").folder,
        StateCache(tmp_path, {**KEY, "depth": "3"}, FRAMES, WIDTH, "float32").folder,
        StateCache(tmp_path, KEY, [*FRAMES, 1], WIDTH, "float32").folder,
    }
    assert plain not in others
    assert len(others) == 3


def test_an_explicit_limit_counts_all_caches(tmp_path: Path) -> None:
    size = sum(FRAMES) * WIDTH * 4
    opened(tmp_path, limit_bytes=size)
    with pytest.raises(CacheError, match="limit"):
        StateCache(tmp_path, {"depth": "9"}, FRAMES, WIDTH, "float32", limit_bytes=2 * size)
    opened(tmp_path, limit_bytes=size).close()
    assert len(stored(tmp_path)) == 1, "a cache that is there already needs no more room"


def test_a_full_disk_is_said_before_a_byte_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(100, 90, 10))
    with pytest.raises(CacheError, match="--cache-dir"):
        opened(tmp_path / "caches")
    assert stored(tmp_path / "caches") == []


def test_a_disk_that_fills_up_meanwhile_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache, "_allocate", full)
    with pytest.raises(CacheError, match="free"):
        opened(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_while_writing_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(CacheError, match="No space left"):
        store.write([0], states([0]))
    assert not opened(tmp_path).holds([0])


def test_states_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    broken = states([0])
    broken[0, 0, 0] = float("inf")
    with pytest.raises(CacheError, match="not finite"):
        opened(tmp_path).write([0], broken)


def test_what_was_removed_half_way_is_made_anew(tmp_path: Path) -> None:
    for name in ("states.bin", "marks.bin", "cache.json"):
        store = opened(tmp_path)
        store.write([0], states([0]))
        (store.folder / name).unlink()
        again = opened(tmp_path)
        assert again.holds([0]) == (name == "cache.json")
        again.close()
        clear(tmp_path)
        shutil.rmtree(store.folder, ignore_errors=True)


def test_what_a_killed_reservation_left_is_found_and_cleared(tmp_path: Path) -> None:
    draft = tmp_path / "0123.abc"
    draft.mkdir()
    (draft / "cache.json").write_text("{}")
    (draft / "states.bin").write_bytes(b"1234")
    (found,) = stored(tmp_path)
    assert found.filled == 0
    assert clear(tmp_path) == found.bytes > 4
    assert not draft.exists()


def test_closing_twice_is_harmless(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.close()
    store.close()


def test_a_folder_that_cannot_be_made_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CacheError, match="file"):
        opened(tmp_path / "file" / "caches")


def test_a_limit_can_be_for_a_folder_further_up(tmp_path: Path) -> None:
    size = opened(tmp_path / "one").bytes
    with pytest.raises(CacheError, match="limit"):
        opened(tmp_path / "two", limit_bytes=size, limited=tmp_path)


def test_info_and_clear(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.write([0, 2], states([0, 2]))
    (found,) = stored(tmp_path)
    assert found.filled == 0.5
    assert found.bytes >= store.bytes
    assert found.facts["backbone"] == "b"
    assert clear(tmp_path) == found.bytes
    assert stored(tmp_path) == []
