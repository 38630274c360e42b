"""WavLM's attention through its projection modules, so that adapters on them take part.

The library multiplies by `q_proj.weight` itself: a module that PEFT puts in the place of `q_proj`
is never called there, and its adapter would learn nothing.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

from torch import Tensor

from serbench.harness.dropout import attend

__all__ = ["attend_through_projections"]


def attend_through_projections(model: Any) -> None:
    """Let every attention of a `WavLMModel` call its projections; the results stay the same."""
    for layer in model.encoder.layers:
        attention = layer.attention
        attention.torch_multi_head_self_attention = MethodType(_attend, attention)


def _attend(
    attention: Any, hidden: Tensor, valid: Tensor | None, position_bias: Tensor
) -> tuple[Tensor, None]:
    """Attend over `hidden` (B, T, H), `valid` (B, T), with a bias (B·heads, T, T)."""
    batch, frames, width = hidden.shape

    def heads(projection: Any) -> Tensor:
        projected: Tensor = projection(hidden)
        return projected.view(batch, frames, attention.num_heads, -1).transpose(1, 2)

    query = heads(attention.q_proj)
    bias = position_bias.view(batch, attention.num_heads, frames, frames).to(query.dtype)
    if valid is not None:
        bias = bias.masked_fill(~valid.bool()[:, None, None, :], float("-inf"))
    key, value = heads(attention.k_proj), heads(attention.v_proj)
    context = attend(
        attention,
        query,
        key,
        value,
        bias,
        dropout=attention.dropout if attention.training else 0.0,
    )[0]
    return attention.out_proj(context.reshape(batch, frames, width)), None
