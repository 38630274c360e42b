"""CSV, JSON lines and Parquet as columns of words and numbers, with the line of every row.

They are read in chunks, so that little but the columns is ever held, and a wrong cell is a finding
with its line and column, and no reason to stop.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, TextIO, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = [
    "FORMATS",
    "Known",
    "Numbers",
    "Table",
    "Unreadable",
    "decoded",
    "named",
    "read",
    "shown",
]

Kind = Literal["word", "number"]
Known: TypeAlias = "Callable[[str], tuple[str, Kind] | None]"
"""What a column's name stands for, or None for a column that says nothing here."""
Numbers: TypeAlias = tuple[NDArray[np.int32], NDArray[np.float64]]
"""Rows (N,) that have a number, and the numbers (N,): most columns of raters are nearly empty."""
Cells: TypeAlias = "Sequence[Any] | pa.Array"

BOM = b"\xef\xbb\xbf"
CHUNK = 4096
"""Rows converted together: few enough to stay in the processor's cache."""
LONGEST_SHOWN = 60

T = TypeVar("T")


class Unreadable(Exception):  # noqa: N818 - findings, and no error of the program
    """Nothing more can be read of a file; the arguments are the findings."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """The known columns of a file; cells that were wrong are empty."""

    file: str
    lines: NDArray[np.int64]
    """Where each row is: its first line, or its number in a Parquet table, from 1."""
    words: Mapping[str, pa.Array]
    """Large strings, stripped; '' if wrong."""
    numbers: Mapping[str, Numbers]
    whole: bool
    """No row is left out."""

    def __len__(self) -> int:
        return len(self.lines)

    def row(self, index: int) -> str:
        """A row as people call it."""
        return f"{_unit(self.file)} {self.lines[index]}"

    def at(self, index: int, column: str) -> str:
        """A cell as findings call it."""
        return f"{self.file}, {self.row(index)}, {named(column)}"

    @property
    def head(self) -> str:
        """Where findings look for the names of the columns."""
        return _head(self.file)

    def dense(self, column: str) -> NDArray[np.float64]:
        """A column of numbers with a place for every row, NaN where there is none."""
        values = np.full(len(self), math.nan)
        if column in self.numbers:
            rows, given = self.numbers[column]
            values[rows] = given
        return values


def read(path: Path, known: Known, required: Sequence[str], findings: list[str]) -> Table | None:
    """Read the known columns of a table, in the format that its suffix names.

    Args:
        path: `.csv`, `.jsonl` or `.parquet`.
        known: of the columns. Words must not be empty; numbers may be.
        required: columns that must be there.
        findings: grows by all that is wrong.

    Returns:
        None if there are no rows, if a required column is missing or one is there twice, or if
        nothing can be read.
    """
    building = _Building(path.name, known, required, findings)
    try:
        FORMATS[path.suffix](path, building)
        return building.table()
    except Unreadable as unreadable:
        findings += unreadable.args
    except OSError as error:
        findings.append(f"{path.name}: cannot be read ({error.strerror or error})")
    return None


def shown(value: object) -> str:
    """A value in quotes as findings show it: in one line, and not too long."""
    return _cut(f"'{value}'" if isinstance(value, str) and value.isprintable() else repr(value))


def named(name: str) -> str:
    """A column's name as findings show it, likewise."""
    return _cut(name if name.isprintable() else repr(name))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


@contextmanager
def decoded(path: Path, findings: list[str], newline: str | None = None) -> Iterator[TextIO]:
    """A file's text, without a byte order mark, which is a finding.

    Raises:
        Unreadable: it is no file, or turns out not to be UTF-8.
        OSError: it cannot be read.
    """
    if not path.is_file():
        raise Unreadable(f"{path.name}: is not a file")
    with path.open("rb") as file:
        marked = file.read(len(BOM)) == BOM
    if marked:
        findings.append(
            f"{path.name}, line 1: starts with a byte order mark (BOM); save it as UTF-8 without "
            "one"
        )
    try:
        with path.open(encoding="utf-8-sig" if marked else "utf-8", newline=newline) as text:
            yield text
    except UnicodeDecodeError as error:
        raise Unreadable(_not_utf8(path, error)) from error


def _not_utf8(path: Path, error: UnicodeDecodeError) -> str:
    raw = path.read_bytes()
    try:
        raw.decode()
    except UnicodeDecodeError as found:
        error = found  # The one that was caught knows its place in a chunk only.
    line = raw.count(b"\n", 0, error.start) + 1
    return f"{path.name}, line {line}: not UTF-8 (byte 0x{error.object[error.start]:02x})"


class _Building:
    """A table that grows by chunks."""

    def __init__(
        self, file: str, known: Known, required: Sequence[str], findings: list[str]
    ) -> None:
        self.file, self.findings, self._known, self._required = file, findings, known, required
        self._lines: list[NDArray[np.int64]] = []
        self._words: dict[str, list[pa.Array]] = {}
        self._numbers: dict[str, list[Numbers]] = {}
        self.rows = 0
        self.whole = True

    def wants(self, name: str) -> bool:
        """Whether a column of this name is read."""
        return self._known(name) is not None

    def leave_out(self, line: int, what: str) -> None:
        """A row cannot be read."""
        self.whole = False
        self.findings.append(f"{self.file}, {_unit(self.file)} {line}: {what}")

    def check(self, header: Iterable[str]) -> None:
        """Look whether the columns are there, once each.

        Raises:
            Unreadable: they are not.
        """
        known = [found[0] for name in header if (found := self._known(name))]
        wrong = [f"there is no column '{name}'" for name in self._required if name not in known]
        twice = sorted({name for name in known if known.count(name) > 1})
        wrong += [f"there are two columns for {shown(name)}" for name in twice]
        if wrong:
            raise Unreadable(*(f"{_head(self.file)}: {what}" for what in wrong))

    def add(self, lines: Sequence[int], columns: Iterable[tuple[str, Cells]]) -> None:
        """Take in a chunk of rows; a column may be missing from some chunks."""
        for name, cells in columns:
            column, kind = self._known(name) or ("", "")
            if kind == "word":
                words, wrong = _words(cells)
                parts = self._words.setdefault(column, [])
                parts += [_nothing(self.rows - sum(map(len, parts))), words]
            elif kind == "number":
                rows, values, wrong = _numbers(cells)
                self._numbers.setdefault(column, []).append(
                    ((rows + self.rows).astype(np.int32), values)
                )
            else:
                continue
            where = f"{self.file}, {_unit(self.file)}"
            self.findings += [
                f"{where} {lines[row]}, {named(column)}: {what}" for row, what in wrong.items()
            ]
        self._lines.append(np.asarray(lines, np.int64))
        self.rows += len(lines)

    def table(self) -> Table | None:
        """What has come together; None without rows."""
        if not self.rows:
            if self.whole:
                self.findings.append(f"{self.file}: holds no rows")
            return None
        words = {
            name: pa.concat_arrays([*parts, _nothing(self.rows - sum(map(len, parts)))])
            for name, parts in self._words.items()
        }
        table = Table(
            file=self.file,
            lines=np.concatenate(self._lines),
            words={name: column.fill_null("") for name, column in words.items()},
            numbers={
                name: (np.concatenate([r for r, _ in parts]), np.concatenate([v for _, v in parts]))
                for name, parts in self._numbers.items()
            },
            whole=self.whole,
        )
        for name, column in words.items():
            empty = np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))
            self.findings += [f"{table.at(row, name)}: empty" for row in empty.tolist()]
        return table


def _nothing(rows: int) -> pa.Array:
    return pa.nulls(rows, pa.large_string())


def _unit(file: str) -> str:
    return "row" if file.endswith(".parquet") else "line"


def _head(file: str) -> str:
    return f"{file}, line 1" if file.endswith(".csv") else file


def _chunks(rows: Iterable[T]) -> Iterator[list[T]]:
    rows = iter(rows)
    while chunk := list(islice(rows, CHUNK)):
        yield chunk


# Formats


def _csv(path: Path, table: _Building) -> None:
    with decoded(path, table.findings, newline="") as text:
        records = _records(text, table)
        header = [cell.strip() for cell in next(records, (1, []))[1]]
        if not table.whole:
            return
        for mark, called in ((";", "';'"), ("\t", "tabs")):
            if len(header) == 1 and mark in header[0]:
                raise Unreadable(f"{path.name}, line 1: columns are parted by {called}, not by ','")
        table.check(header)
        wanted = [index for index, name in enumerate(header) if table.wants(name)]
        for chunk in _chunks(records):
            for line, record in chunk:
                if len(record) != len(header):
                    table.leave_out(line, f"{len(record)} cells, but {len(header)} columns")
            good = [each for each in chunk if len(each[1]) == len(header)]
            columns = list(zip(*(record for _, record in good), strict=True))
            if good:
                table.add([line for line, _ in good], [(header[i], columns[i]) for i in wanted])


def _records(text: TextIO, table: _Building) -> Iterator[tuple[int, list[str]]]:
    """Records that are not empty and their first lines, as a quoted cell may hold line breaks."""
    reader = csv.reader(text, strict=True)
    start = 1
    while True:
        try:
            for record in reader:
                if record:
                    yield start, record
                start = reader.line_num + 1
        except csv.Error as error:
            table.leave_out(start, f"not CSV ({error})")
            start = reader.line_num + 1
        else:
            return


def _jsonl(path: Path, table: _Building) -> None:
    header: dict[str, None] = {}
    with decoded(path, table.findings, newline="\n") as text:
        for chunk in _chunks(enumerate(text, 1)):
            lines, records = [], []
            for line, record in _objects(chunk, table):
                lines.append(line)
                records.append(record)
            names = [
                name for name in dict.fromkeys(chain.from_iterable(records)) if table.wants(name)
            ]
            header.update(dict.fromkeys(names))
            table.add(lines, [(name, [record.get(name) for record in records]) for name in names])
    if table.rows:
        table.check(header)


def _objects(
    lines: Iterable[tuple[int, str]], table: _Building
) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in lines:
        if line.isspace():
            continue
        try:
            record = json.loads(line)
        # A number of thousands of digits is a ValueError, deep nesting a RecursionError.
        except (ValueError, RecursionError) as error:
            table.leave_out(number, f"not JSON ({error})")
            continue
        if isinstance(record, dict):
            yield number, record
        else:
            table.leave_out(number, "not a JSON object")


def _parquet(path: Path, table: _Building) -> None:
    import pyarrow.parquet

    if not path.is_file():
        raise Unreadable(f"{path.name}: is not a file")
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            header = file.schema_arrow.names
            table.check(header)
            wanted = [name for name in header if table.wants(name)]
            start = 1
            for batch in file.iter_batches(CHUNK, columns=wanted, use_threads=False):
                table.add(
                    range(start, start + len(batch)),
                    zip(batch.schema.names, batch.columns, strict=True),
                )
                start += len(batch)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        reason = str(error).partition("\n")[0]
        raise Unreadable(f"{path.name}: not Parquet ({reason:.200})") from error


FORMATS: dict[str, Callable[[Path, _Building], None]] = {
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}


# Cells


def _words(cells: Cells) -> tuple[pa.Array, dict[int, str]]:
    """Large strings, null where empty and '' where wrong; and by row what is wrong."""
    wrong: dict[int, str] = {}
    text = _as_text(cells)
    if text is None:
        values = _values(cells)
        words = [_word(value) for value in values]
        wrong = {
            row: f"{shown(value)} is not text"
            for row, (value, word) in enumerate(zip(values, words, strict=True))
            if word is None and value is not None
        }
        text = pa.array(words, pa.large_string())
    text = pc.utf8_trim_whitespace(text)
    text = pc.replace_with_mask(text, pc.equal(text, ""), pa.scalar(None, pa.large_string()))
    nul = pc.fill_null(pc.match_substring(text, "\0"), False).to_numpy(zero_copy_only=False)
    wrong |= dict.fromkeys(np.flatnonzero(nul).tolist(), "holds a NUL character")
    if wrong:
        blank = np.zeros(len(text), bool)
        blank[list(wrong)] = True
        text = pc.if_else(pa.array(blank), "", text)
    return text, wrong


def _as_text(cells: Cells) -> pa.Array | None:
    """The cells as large strings if they are all text or whole numbers (a speaker may be 3)."""
    try:
        array = _as_array(cells)
        if pa.types.is_integer(array.type) or _holds_text(array.type):
            text = array.cast(pa.large_string())
            # Parquet may say that any bytes are text.
            text.validate(full=True)
            return text
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        pass
    return None


def _word(value: object) -> str | None:
    """Text, or a whole number as text; None if it is neither."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        return None
    try:
        # JSON may escape half of a surrogate pair, which no file name or database can hold.
        value.encode("utf-8")
    except UnicodeEncodeError:
        return None
    return value


def _numbers(cells: Cells) -> tuple[NDArray[np.int64], NDArray[np.float64], dict[int, str]]:
    """Rows that have a number, and these; and by row what is wrong with others."""
    floats = _as_floats(cells)
    if floats is None:
        values = _values(cells)
        numbers = [_number(value) for value in values]
        given = np.array([not _is_empty(value) for value in values], bool)
        dense = np.array([math.nan if each is None else each for each in numbers], np.float64)
    else:
        given = floats.is_valid().to_numpy(zero_copy_only=False)
        dense = floats.to_numpy(zero_copy_only=False)
    finite = np.isfinite(dense)
    wrong = {}
    for row in np.flatnonzero(given & ~finite).tolist():
        (value,) = _values(cells[row : row + 1])
        if _number(value) is None:
            wrong[row] = f"{shown(value)} is not a number"
        else:
            wrong[row] = f"{value!s:.{LONGEST_SHOWN}} is not finite (leave it empty if unrated)"
    rows = np.flatnonzero(given & finite)
    return rows, dense[rows], wrong


def _as_floats(cells: Cells) -> pa.Array | None:
    """The cells as floats, null where empty, if they are all numbers; some may not be finite."""
    try:
        array = _as_array(cells)
        if _holds_text(array.type):
            text = pc.utf8_trim_whitespace(array.cast(pa.large_string()))
            empty = pa.scalar(None, pa.large_string())
            array = pc.replace_with_mask(text, pc.equal(text, ""), empty)
        elif not _holds_numbers(array.type):
            return None
        return array.cast(pa.float64(), safe=False)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return None


def _number(value: object) -> float | None:
    """A float, maybe not a finite one; None if it is no number."""
    # Python reads 1_000 as a number; a label so written is a slip.
    if not isinstance(value, (str, int, float)) or isinstance(value, bool) or "_" in str(value):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _as_array(cells: Cells) -> pa.Array:
    array = cells if isinstance(cells, pa.Array) else pa.array(cells)
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _holds_text(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind))


def _holds_numbers(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def _values(cells: Cells) -> list[Any]:
    """The cells as Python's values; what is damaged is its type."""
    if not isinstance(cells, pa.Array):
        return list(cells)
    values = []
    for cell in cells:
        try:
            values.append(cell.as_py())
        except (ValueError, OverflowError):
            values.append(cell.type)
    return values
