from __future__ import annotations

import threading

import numpy as np
import pytest

from serbench.harness.batches import Indices, batches_by_length, ordered_batches, prefetched

LENGTHS = np.random.default_rng(0).integers(1000, 90_000, 203).tolist()


def test_every_utterance_comes_once_an_epoch() -> None:
    for epoch in range(3):
        together = np.concatenate(batches_by_length(LENGTHS, 8, seed=0, epoch=epoch))
        assert sorted(together) == list(range(len(LENGTHS)))


def test_the_seed_fixes_the_order() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        batches = batches_by_length(LENGTHS, 8, seed=seed, epoch=epoch)
        return [int(index) for index in np.concatenate(batches)]

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(1, 0)
    assert order(0, 0) != order(0, 1)


def test_neighbours_in_length_go_together() -> None:
    lengths = np.asarray(LENGTHS)

    def padded(batches: list[Indices]) -> int:
        return sum(int(lengths[b].max()) * len(b) for b in batches)

    order = np.random.default_rng(1).permutation(len(lengths))
    at_random = [order[i : i + 8] for i in range(0, len(order), 8)]
    waste = padded(batches_by_length(LENGTHS, 8, 0, 0)) - lengths.sum()
    assert waste < 0.35 * (padded(at_random) - lengths.sum())
    assert padded(ordered_batches(LENGTHS, 8)) <= padded(batches_by_length(LENGTHS, 8, 0, 0))


@pytest.mark.parametrize("count", [1, 2, 8, 9, 17, 65, 129])
def test_no_batch_of_one_unless_there_is_but_one(count: int) -> None:
    for batches in (
        batches_by_length(LENGTHS[:count], 8, 0, 0),
        ordered_batches(LENGTHS[:count], 8),
    ):
        assert all(len(batch) > 1 for batch in batches) or count == 1
        assert max(len(batch) for batch in batches) <= 9


def test_prefetched_keeps_the_order_and_fetches_elsewhere() -> None:
    batches = ordered_batches(LENGTHS, 8)
    seen = [
        (fetched.indices.tolist(), fetched.data)
        for fetched in prefetched(batches, lambda b: (b.sum(), threading.current_thread().name))
    ]
    assert [indices for indices, _ in seen] == [batch.tolist() for batch in batches]
    assert all(data[1].startswith("fetch") for _, data in seen)
    assert [data[0] for _, data in seen] == [batch.sum() for batch in batches]


def test_prefetched_tells_of_what_went_wrong() -> None:
    def fetch(batch: object) -> None:
        raise OSError("unreadable")

    with pytest.raises(OSError, match="unreadable"):
        next(prefetched(ordered_batches(LENGTHS, 8), fetch))
