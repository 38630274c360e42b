"""How releases are read: from which folder, in what encoding, with findings in lists that end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from serbench.harness.errors import CorpusError, RequestError

__all__ = ["Release", "bounded", "decoded", "few"]

BOM = b"\xef\xbb\xbf"
MOST = 20
"""Findings of one kind that are told; a folder that is missing makes thousands."""


@dataclass(frozen=True)
class Release:
    """What a corpus is called, and what its folder holds, to complete "the one that holds …"."""

    name: str
    holds: str

    def folder(self, root: str | None) -> Path:
        """The folder that was named.

        Raises:
            RequestError: none was.
            CorpusError: there is none of that name.
        """
        if root is None:
            raise RequestError(
                f"{self.name} needs its folder: {self.name}=FOLDER, the one that holds {self.holds}"
            )
        folder = Path(root).resolve()
        if not folder.is_dir():
            raise CorpusError(f"{self.name}: there is no folder {folder}")
        return folder

    def lacks(self, what: str, folder: Path, findings: tuple[str, ...] = ()) -> CorpusError:
        """That there is no such thing in a folder, and which one is wanted."""
        wanted = f"{self.name}=FOLDER is the one that holds {self.holds}"
        return CorpusError(f"{self.name}: there is no {what} in {folder}; {wanted}", findings)


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
