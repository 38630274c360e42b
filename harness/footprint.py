"""What a training step takes whatever the device: bytes, operations, and what the device can do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from serbench.harness.prefix import STATE_DTYPES
from serbench.harness.strategy import Precision

__all__ = ["Step", "bytes_of", "matmul_flops_per_s", "observed"]

MATRIX = {"cpu": 2048, "cuda": 8192}
"""Rows and columns of the square product: large enough that a larger one is no faster."""
PRODUCTS = 10
"""Half a second on two cores, once a command; other work on the machine disturbs some of them."""


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


def observed(step: Callable[[], object], weights: Iterable[Tensor]) -> Step:
    """Carry out a step and look at it; slow, so not for a step that is timed.

    Args:
        step: forward and backward.
        weights: tensors that are there anyhow, so that saving them takes nothing.
    """
    known = {tensor.untyped_storage().data_ptr() for tensor in weights}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    counter = FlopCounterMode(display=False, custom_mapping=_UNCOUNTED)
    with counter, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        step()
    return Step(counter.get_total_flops(), sum(kept.values()))


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Bytes of tensors, those that share a storage counted once."""
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


@torch.no_grad()
def matmul_flops_per_s(device: torch.device, precision: Precision) -> float:
    """What the device reaches in a large square matrix product: the best of a few."""
    size = MATRIX[device.type]
    a, b = (torch.randn(size, size, device=device).to(STATE_DTYPES[precision]) for _ in range(2))
    torch.mm(a, b)
    return 2 * size**3 / min(_seconds(lambda: torch.mm(a, b), device) for _ in range(PRODUCTS))


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
