"""What a training step takes, in bytes and operations, and what the device can do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from serbench.harness.prefix import STATE_DTYPES
from serbench.harness.strategy import Precision

__all__ = ["Cost", "Step", "bytes_of", "fitted", "matmul_flops_per_s", "observed"]

LOOKED_AT = ((2, 10), (2, 20), (2, 30), (3, 10))
"""Utterances and frames of the steps that are looked at: small, and enough to tell four terms; one
utterance alone has no concordance."""
MATRIX = {"cpu": 2048, "cuda": 4096}
"""Rows and columns of the square product: large enough that a larger one is no faster."""
PRODUCTS = 10
"""Half a second on two cores, once a command and precision; other work disturbs some of them."""


def _product(_: Any, left: Any, right: Any, **__: Any) -> int:
    return 2 * left[0] * left[1] * right[1]  # type: ignore[no-any-return]


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)  # type: ignore[no-any-return]


def _attention_backward(out: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_backward_flop_count(out, query, key, value)  # type: ignore[no-any-return]


_aten: Any = torch.ops.aten
_UNCOUNTED: dict[Any, Any] = {
    _aten.addmm_: _product,
    _aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
"""Operations that torch's own counter leaves out."""


@dataclass(frozen=True)
class Step:
    """What a step did: operations, and bytes that it kept for its backward pass.

    `flops` are of matrix products, attentions and convolutions, forward and backward, a multiply
    and an add as two. `saved_activation_bytes` count each storage once, and no weights.
    """

    flops: int
    saved_activation_bytes: int


def observed(forward: Callable[[], Tensor], weights: Iterable[Tensor]) -> Step:
    """Carry out a step and look at it; slow, so not for a step that is timed.

    What is saved by a part of the graph that is thrown away on the way counts too.

    Args:
        forward: gives the loss, whose backward pass follows if it has a gradient.
        weights: tensors that are there anyhow, so that saving them takes nothing.
    """
    saved: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        # Held until the end, so that no two of them have the same address.
        saved.append(tensor.detach())
        return saved[-1]

    with FlopCounterMode(display=False, custom_mapping=_UNCOUNTED) as counter:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = forward()
        if loss.requires_grad:
            loss.backward()
    there = _storages(weights)
    kept = sum(size for place, size in _storages(saved).items() if place not in there)
    return Step(counter.get_total_flops(), kept)


def _storages(tensors: Iterable[Tensor]) -> dict[int, int]:
    """Address and bytes of each storage."""
    storages = (tensor.untyped_storage() for tensor in tensors)
    return {storage.data_ptr(): storage.nbytes() for storage in storages}


Terms = tuple[float, float, float, float]


@dataclass(frozen=True)
class Cost:
    """What steps take by their size: exactly in operations, nearly in bytes.

    Both figures are sums of four terms: one a step, which is products and copies of weights alone,
    one an utterance, one a frame, and one for each pair of frames of an utterance, by attention.
    """

    flops_terms: Terms
    saved_bytes_terms: Terms

    def flops(self, utterances: int, frames: int) -> float:
        """Operations of a step with a padded batch of so many utterances of so many frames."""
        return _sum(self.flops_terms, utterances, frames)

    def saved_activation_bytes(self, utterances: int, frames: int) -> int:
        """Bytes that it keeps for its backward pass."""
        return round(_sum(self.saved_bytes_terms, utterances, frames))


def _amounts(utterances: int, frames: int) -> tuple[int, int, int, int]:
    return 1, utterances, utterances * frames, utterances * frames**2


def _sum(terms: Terms, utterances: int, frames: int) -> float:
    amounts = _amounts(utterances, frames)
    return sum(term * amount for term, amount in zip(terms, amounts, strict=True))


def fitted(step: Callable[[int, int], Step]) -> Cost:
    """The cost of steps of any size, from four small ones of so many utterances and frames."""
    steps = [step(*size) for size in LOOKED_AT]
    return Cost(
        _solved([each.flops for each in steps]),
        _solved([each.saved_activation_bytes for each in steps]),
    )


def _solved(values: Sequence[int]) -> Terms:
    amounts = np.array([_amounts(*size) for size in LOOKED_AT], dtype=np.float64)
    step, utterance, frame, pair = np.linalg.solve(amounts, np.array(values, dtype=np.float64))
    return float(step), float(utterance), float(frame), float(pair)


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Bytes of tensors, those that share a storage counted once."""
    return sum(_storages(tensors).values())


@torch.no_grad()
def matmul_flops_per_s(device: torch.device, precision: Precision) -> float:
    """What the device reaches in a large square matrix product: the best of a few."""
    size = MATRIX[device.type]
    a, b = (torch.randn(size, size, device=device).to(STATE_DTYPES[precision]) for _ in range(2))
    out = torch.mm(a, b)
    seconds = [_seconds(a, b, out) for _ in range(PRODUCTS)]
    del a, b, out
    if device.type == "cuda":
        # What the allocator keeps would count as the run's.
        torch.cuda.empty_cache()
    return 2 * size**3 / min(seconds)


def _seconds(left: Tensor, right: Tensor, out: Tensor) -> float:
    if out.is_cuda:
        torch.cuda.synchronize(out.device)
    start = time.perf_counter()
    torch.mm(left, right, out=out)
    if out.is_cuda:
        torch.cuda.synchronize(out.device)
    return time.perf_counter() - start
