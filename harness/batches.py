"""Which utterances go through together, in which order, and how they are fetched ahead."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["Fetched", "batches_by_length", "ordered_batches", "prefetched"]

BUCKET_BATCHES = 8
"""Batches drawn from one bucket of neighbours in length: more pad less, fewer mix better."""
AHEAD = 2

T = TypeVar("T")
Indices = npt.NDArray[np.int64]


def batches_by_length(
    samples: npt.ArrayLike, batch_size: int, seed: int, epoch: int
) -> list[Indices]:
    """Compose an epoch's training batches: random buckets, cut by length, in random order.

    Args:
        samples: (N,) lengths.
        batch_size: utterances a batch; the last may have fewer, but never only one of many, since
            one utterance has no concordance.
        seed: with `epoch`, fixes the composition and the order.
        epoch: from 0.
    """
    rng = np.random.default_rng([seed, epoch])
    lengths = np.asarray(samples)
    order = rng.permutation(len(lengths))
    cut = [
        batch
        for bucket in _cut(order, batch_size * BUCKET_BATCHES)
        for batch in _cut(_by_length(bucket, lengths), batch_size)
    ]
    return [cut[i] for i in rng.permutation(len(cut))]


def ordered_batches(samples: npt.ArrayLike, batch_size: int) -> list[Indices]:
    """Batches for evaluation: by length, each utterance once."""
    lengths = np.asarray(samples)
    return _cut(_by_length(np.arange(len(lengths)), lengths), batch_size)


def _by_length(indices: Indices, lengths: Indices) -> Indices:
    return indices[np.argsort(lengths[indices], kind="stable")]


def _cut(order: Indices, size: int) -> list[Indices]:
    """Chunks of so many, and none of one: that one joins the chunk before it."""
    chunks = [order[i : i + size] for i in range(0, len(order), size)]
    if len(chunks) > 1 and len(chunks[-1]) == 1:
        chunks[-2:] = [np.concatenate(chunks[-2:])]
    return chunks


@dataclass(frozen=True)
class Fetched(Generic[T]):
    """A batch's indices, what was fetched for them, and the seconds that were waited for it."""

    indices: Indices
    data: T
    wait_s: float


def prefetched(batches: Sequence[Indices], fetch: Callable[[Indices], T]) -> Iterator[Fetched[T]]:
    """Fetch a few batches ahead in a thread while the caller works on the present one."""
    with ThreadPoolExecutor(1, thread_name_prefix="fetch") as pool:
        coming: list[Future[T]] = [pool.submit(fetch, batch) for batch in batches[:AHEAD]]
        try:
            for position, batch in enumerate(batches):
                start = time.perf_counter()
                data = coming.pop(0).result()
                wait_s = time.perf_counter() - start
                if position + AHEAD < len(batches):
                    coming.append(pool.submit(fetch, batches[position + AHEAD]))
                yield Fetched(batch, data, wait_s)
        finally:
            for future in coming:
                future.cancel()
