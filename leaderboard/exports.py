"""How a table is written as a file: CSV, Parquet, Markdown, LaTeX."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

__all__ = ["FORMATS", "Format", "csv", "latex", "markdown", "parquet"]

GAP = "–"
"""Stands in a document where nothing was measured."""
MARKDOWN_SPECIAL = {character: f"\\{character}" for character in r"\`*_{}[]<>#|~$&!"}
LATEX_SPECIAL = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    "–": r"\textendash{}",
    "×": r"\texttimes{}",
    "●": r"\textbullet{}",
}
"""What LaTeX would take for a command, and what its default fonts lack."""
BOOKTABS = r"% needs \usepackage{booktabs}"
LIGATURE = re.compile(r"([-'])(?=\1)")
"""Two of them would be drawn as one dash, or as a quotation mark."""
ARGUMENT = ("[", "*")
"""At the beginning of a line these belong to the command before it."""
INTERVAL = re.compile(r"-[\d.]+ to -?[\d.]+")
FORMULA = ("=", "+", "-", "@", "\t", "\n")
"""What spreadsheets take for a formula begins so, unless it is an interval."""


def csv(frame: pd.DataFrame) -> bytes:
    """A table as CSV in UTF-8: full precision, nothing where nothing was measured.

    Lists of numbers are written as JSON. A text that a spreadsheet would run as a formula has an
    apostrophe before it.
    """
    written = frame.map(_in_csv).rename(columns=_in_csv)
    text: str = written.to_csv(index=False, lineterminator="\n")
    return text.encode()


def _in_csv(value: Any) -> Any:
    if isinstance(value, list):
        return json.dumps(value)
    if not isinstance(value, str):
        return value
    # A bare carriage return would end the line, and begin another cell.
    text = re.sub("\r\n?", "\n", value)
    return f"'{text}" if text.startswith(FORMULA) and not INTERVAL.fullmatch(text) else text


def parquet(frame: pd.DataFrame) -> bytes:
    """A table as Parquet: full precision, types and lists kept."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def markdown(
    frame: pd.DataFrame, formats: Mapping[str, str] | None = None, title: str = ""
) -> bytes:
    """A table as GitHub's Markdown, its texts escaped so that they show as they are.

    Args:
        frame: the table; its index is left out
        formats: how numbers are written, by column, such as `%.3f`; else `%g`
        title: a paragraph before the table
    """
    special = str.maketrans(MARKDOWN_SPECIAL)
    rules = ("---:" if number else "---" for number in _numeric(frame))
    lines = [
        *([title.translate(special), ""] if title else []),
        _in_pipes(str(name).translate(special) for name in frame),
        _in_pipes(rules),
        *(_in_pipes(cell.translate(special) for cell in line) for line in _cells(frame, formats)),
    ]
    return _joined(lines)


def latex(frame: pd.DataFrame, formats: Mapping[str, str] | None = None, title: str = "") -> bytes:
    """A table as LaTeX's `tabular` with the rules of booktabs, its texts escaped.

    Args:
        frame: as of `markdown`
        formats: likewise
        title: a comment before the table
    """
    special = str.maketrans(LATEX_SPECIAL)

    def line(cells: list[str]) -> str:
        escaped = (LIGATURE.sub(r"\1{}", cell.translate(special)) for cell in cells)
        text = " & ".join(escaped) + r" \\"
        return f"{{}}{text}" if text.startswith(ARGUMENT) else text

    places = "".join("r" if number else "l" for number in _numeric(frame))
    lines = [
        *([f"% {_in_one_line(title)}"] if title else []),
        BOOKTABS,
        rf"\begin{{tabular}}{{{places}}}",
        r"\toprule",
        line([_in_one_line(str(name)) for name in frame]),
        r"\midrule",
        *map(line, _cells(frame, formats)),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return _joined(lines)


@dataclass(frozen=True, kw_only=True)
class Format:
    """A kind of file that a table can be written as."""

    label: str
    suffix: str
    mime: str
    write: Callable[[pd.DataFrame, Mapping[str, str], str], bytes]
    """Of a table, how its numbers are written if it is a document, and that document's title."""


FORMATS = {
    "csv": Format(label="CSV", suffix=".csv", mime="text/csv", write=lambda frame, *_: csv(frame)),
    "parquet": Format(
        label="Parquet",
        suffix=".parquet",
        mime="application/vnd.apache.parquet",
        write=lambda frame, *_: parquet(frame),
    ),
    "markdown": Format(label="Markdown", suffix=".md", mime="text/markdown", write=markdown),
    "latex": Format(label="LaTeX", suffix=".tex", mime="application/x-tex", write=latex),
}
"""By the name that the command line knows it under."""


def _numeric(frame: pd.DataFrame) -> list[bool]:
    return [pd.api.types.is_numeric_dtype(dtype) for dtype in frame.dtypes]


def _cells(frame: pd.DataFrame, formats: Mapping[str, str] | None) -> list[list[str]]:
    columns = [
        [_written(value, (formats or {}).get(str(name), "%g")) for value in frame[name]]
        for name in frame
    ]
    return [list(line) for line in zip(*columns, strict=True)]


def _written(value: Any, number: str) -> str:
    if isinstance(value, list):
        return ", ".join(_written(each, number) for each in value)
    if isinstance(value, str):
        return _in_one_line(value)
    return GAP if value is None or pd.isna(value) else number % value


def _in_one_line(text: str) -> str:
    return " ".join(text.split())


def _in_pipes(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _joined(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
