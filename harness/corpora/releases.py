"""How released files are read: text of unstated encoding, and findings in lists that end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["bounded", "decoded", "few"]

BOM = b"\xef\xbb\xbf"
MOST = 20
"""Findings of one kind that are told; a folder that is missing makes thousands."""


def decoded(raw: bytes) -> str:
    """Text from UTF-8, with or without a byte order mark, or else from Latin-1."""
    raw = raw.removeprefix(BOM)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def bounded(kinds: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """The findings of all kinds, a few of each."""
    return tuple(finding for kind in kinds for finding in few(kind))


def few(findings: Sequence[str]) -> list[str]:
    """The first findings of one kind, and how many more there are."""
    more = len(findings) - MOST
    return [*findings[:MOST], *([f"and {more:,} more like these"] if more > 0 else [])]
