"""A box of choices that the address keeps."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

__all__ = ["box"]


def box(title: str, names: Mapping[str, str], key: str, place: DeltaGenerator | None = None) -> str:
    """Let the reader choose one of some keys by its name.

    Args:
        title: of the box
        names: by key, the first of which is chosen to begin with
        key: of the box, and its name in the address
        place: where it stands; where the page is if none is given
    """
    chosen: str | None = (place or st).selectbox(
        title,
        list(names),
        format_func=names.__getitem__,
        key=key,
        bind="query-params",
        required=True,
    )
    return chosen or next(iter(names))
