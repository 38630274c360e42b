"""Dropout on a CPU: masks from whole words of random bits, in one byte an element (0013)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface

__all__ = ["ATTENTION", "Bits", "LightDropout", "attend", "lighten"]

ATTENTION = "serbench"
"""Under this name the library finds `attend`."""
GRAIN = 1 << 16
"""Probabilities are multiples of 1 / GRAIN: what sixteen random bits can tell."""


class Bits:
    """Random bits in sixteens, the same for the same seed (SFC64; Doty-Humphrey, PractRand)."""

    def __init__(self, seed: int) -> None:
        self._source = np.random.SFC64(seed)

    def draw(self, shape: torch.Size) -> Tensor:
        """Integers from -GRAIN / 2 to GRAIN / 2 - 1, each as likely as any other, int16."""
        count = shape.numel()
        words = torch.from_numpy(self._source.random_raw(-(-count // 4)))
        return words.view(torch.int16)[:count].view(shape)


class LightDropout(nn.Dropout):
    """`nn.Dropout` with masks from `bits`; in eval mode, or with p = 0, it changes nothing."""

    def __init__(self, p: float, bits: Bits) -> None:
        super().__init__(p)
        self._bits = bits

    def forward(self, input: Tensor) -> Tensor:
        """Zero elements with probability p and scale the others, so that the mean stays."""
        dropped = round(self.p * GRAIN)
        if not self.training or dropped == 0:
            return input
        if dropped == GRAIN:
            return input * 0.0
        kept = self._bits.draw(input.shape) >= dropped - GRAIN // 2
        scale = GRAIN / (GRAIN - dropped)
        return _Masked.apply(input, kept.view(torch.uint8), scale)  # type: ignore[no-any-return, no-untyped-call]


class _Masked(torch.autograd.Function):
    """input × kept × scale; a product with bytes is vectorised, one with booleans is not."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, kept: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.scale = scale
        return (input * kept).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (kept,) = ctx.saved_tensors
        return (gradients[0] * kept).mul_(ctx.scale), None, None


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention in the form that the library calls.

    Args:
        module: the attention.
        query: (B, heads, T, H / heads), as `key` and `value`.
        key: what is looked at.
        value: what is taken from there.
        attention_mask: what broadcasts to (B, heads, T, T): true where a frame is seen, or numbers
            to add.
        scaling: of the products of query and key; one by the root of H / heads if None.
        dropout: probability of dropping a weight; `module.light_dropout` drops it, if there is one.

    Returns:
        (B, T, heads, H / heads), and no weights.
    """
    light = getattr(module, "light_dropout", None)
    if light is None or dropout == 0:
        context = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=attention_mask, dropout_p=dropout, scale=scaling
        )
        return context.transpose(1, 2), None
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = torch.matmul(query * scaling, key.transpose(-1, -2))
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        scores.masked_fill_(~attention_mask, float("-inf"))
    elif attention_mask is not None:
        scores += attention_mask
    weights = light(scores.softmax(-1))
    return torch.matmul(weights, value).transpose(1, 2), None


AttentionInterface.register(ATTENTION, attend)


def lighten(model: Any, seed: int) -> None:
    """Let every dropout in an encoder, and those of its attentions, take its masks from one source.

    Parameters and buffers stay what they are, and so does everything in eval mode.
    """
    bits = Bits(seed)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Dropout:
                setattr(parent, name, LightDropout(child.p, bits).train(child.training))
        if hasattr(parent, "q_proj") and parent.dropout > 0:
            parent.light_dropout = LightDropout(parent.dropout, bits).train(parent.training)
    model.config._attn_implementation = ATTENTION
