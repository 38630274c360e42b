"""What can be wrong with a request or with the data, said in one clear message.

SerbenchError
├── RequestError        the words of a command, a spec string, a suite or a setting
├── StrategyError       a strategy that does not do what a strategy does
│   └── NameTakenError  a strategy that claims the name of another
├── BackboneError       an encoder that cannot be had, or is not one that is known
├── CorpusError         data that is wrong; carries every finding, not just the first
├── CacheError          frame states that do not fit on the disk or into the limit
└── DatabaseError       a database that cannot be read or written
"""

from __future__ import annotations

__all__ = [
    "BackboneError",
    "CacheError",
    "CorpusError",
    "DatabaseError",
    "NameTakenError",
    "RequestError",
    "SerbenchError",
    "StrategyError",
]


class SerbenchError(Exception):
    """Base of all that ends in exit code 2 and one message, without a traceback."""


class RequestError(SerbenchError):
    """The request itself is wrong."""


class StrategyError(SerbenchError):
    """A strategy breaks its contract."""


class NameTakenError(StrategyError):
    """Two strategies claim one name."""


class BackboneError(SerbenchError):
    """An encoder cannot be loaded or used."""


PRINTED = 50
"""Findings that a message repeats: a mistake in a script is one in every row that it wrote."""


class CorpusError(SerbenchError):
    """Data that is wrong; `findings` holds one line for each thing found, the message the first."""

    def __init__(self, message: str, findings: tuple[str, ...] = ()) -> None:
        more = len(findings) - PRINTED
        printed = (*findings[:PRINTED], f"and {more} more") if more > 0 else findings
        super().__init__("\n".join((message, *(f"  {finding}" for finding in printed))))
        self.findings = findings


class CacheError(SerbenchError):
    """Frame states do not fit on the disk, or not into the limit that was set."""


class DatabaseError(SerbenchError):
    """A database cannot be opened, read or written."""
