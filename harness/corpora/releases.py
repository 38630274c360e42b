"""How released files are read: text of unstated encoding, and findings in lists that end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

__all__ = ["bounded", "decoded"]

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
    """The findings of all kinds, of each the first 20 and how many more there are."""
    return tuple(finding for kind in kinds for finding in _first(kind))


def _first(findings: Sequence[str]) -> Iterator[str]:
    yield from findings[:MOST]
    if len(findings) > MOST:
        yield f"and {len(findings) - MOST} more of this kind"
