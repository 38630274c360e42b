"""What stands on the encoder and learns with it: which heads there are, and how to get one."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING

from serbench.harness.errors import RequestError

if TYPE_CHECKING:
    from serbench.harness.heads.base import Head

__all__ = ["HEADS", "build", "check"]

HEADS = {"consensus": "the mean rating of each dimension: masked mean pooling, CCC loss"}
"""Name of each head, which is also its module here, and what it predicts."""


def check(name: str) -> str:
    """Give back the name of a head.

    Raises:
        RequestError: there is none of that name.
    """
    if name not in HEADS:
        near = difflib.get_close_matches(name, HEADS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(HEADS)}"
        raise RequestError(f"there is no head '{name}'; {hint}")
    return name


def build(name: str, hidden_size: int, dimensions: int) -> Head:
    """A head for states of `hidden_size` values that predicts so many dimensions.

    Raises:
        RequestError: there is none of that name.
    """
    module = importlib.import_module(f"serbench.harness.heads.{check(name)}")
    head: Head = module.build(hidden_size, dimensions)
    return head
