import csv
import decimal
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from serbench.harness.corpora import tables
from serbench.harness.corpora.tables import Kind, Table, read, shown

Write = Callable[..., Path]


def known(name: str) -> tuple[str, Kind] | None:
    if name in ("name", "nom"):
        return "name", "word"
    return ("value", "number") if name == "value" else None


def columns(path: Path, *findings: str) -> Table | None:
    """The table; the findings are those that are given."""
    found: list[str] = []
    table = read(path, known, ("name",), found)
    assert tuple(found) == findings
    return table


def values(table: Table | None) -> list[tuple[int, str, float]]:
    assert table is not None
    words = table.words["name"].to_pylist()
    return list(zip(table.lines.tolist(), words, table.dense("value").tolist(), strict=True))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(suffix: str, content: str | bytes | dict[str, Any]) -> Path:
        path = tmp_path / f"t{suffix}"
        if isinstance(content, dict):
            pyarrow.parquet.write_table(pa.table(content), path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "CHUNK", 2)


def test_lines_are_exact_over_chunks_and_line_breaks_in_cells(write: Write) -> None:
    path = write(".csv", 'name,text,value\na,"1\r\n2\n3",1\n\nb,,\n c ,"\n", 3 \r\nd,,4\n')
    rows = values(columns(path))
    assert [row[:2] for row in rows] == [(2, "a"), (6, "b"), (7, "c"), (9, "d")]
    np.testing.assert_array_equal([row[2] for row in rows], [1, np.nan, 3, 4])


def test_the_three_formats_say_the_same(write: Write) -> None:
    names, numbers = ["a", "b", "c", "d", "e"], [1.5, None, -2.0, 1e-3, 7.0]
    rows = [("" if x is None else repr(x), name) for x, name in zip(numbers, names, strict=True)]
    text = "value,name\n" + "".join(f"{x},{name}\n" for x, name in rows)
    lines = "".join(
        json.dumps({"name": name, "value": x}) + "\n"
        for x, name in zip(numbers, names, strict=True)
    )
    read = [
        columns(write(".csv", text)),
        columns(write(".jsonl", lines)),
        columns(write(".parquet", {"name": names, "value": numbers})),
    ]
    for table in read:
        assert table is not None
        assert table.words["name"].to_pylist() == names
        np.testing.assert_array_equal(table.dense("value"), [1.5, np.nan, -2, 1e-3, 7])
        assert table.numbers["value"][0].tolist() == [0, 2, 3, 4]
    lined = [table.lines.tolist() for table in read if table]
    assert lined == [[2, 3, 4, 5, 6], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5]]


def test_a_column_of_json_may_come_late_and_go(write: Write) -> None:
    objects = [{}, {"text": "x"}, {"name": "c"}, {"name": "d", "value": 1}, {"value": 2}]
    table = columns(
        write(".jsonl", "\n".join(map(json.dumps, objects))),
        *(f"t.jsonl, line {line}, name: empty" for line in (1, 2, 5)),
    )
    assert [row[:2] for row in values(table)] == [(1, ""), (2, ""), (3, "c"), (4, "d"), (5, "")]
    np.testing.assert_array_equal([row[2] for row in values(table)], [np.nan] * 3 + [1, 2])


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (pa.array(["a", " b ", "c"]).dictionary_encode(), ["a", "b", "c"]),
        (pa.array([1, 2, 3], pa.uint8()), ["1", "2", "3"]),
        (pa.array(["a", "b", "c"], pa.large_string()), ["a", "b", "c"]),
    ],
)
def test_words_of_parquet(write: Write, cells: pa.Array, words: list[str]) -> None:
    table = columns(write(".parquet", {"name": cells, "value": [0.0] * 3}))
    assert [word for _, word, _ in values(table)] == words


@pytest.mark.parametrize(
    "cells",
    [
        pa.array([1, 2, 3], pa.int8()),
        pa.array([1, 2, 3], pa.float32()),
        pa.array([decimal.Decimal(i) for i in (1, 2, 3)]),
        pa.array(["1", "2 ", "3.0"]),
        pa.array(["1", "2", "3"]).dictionary_encode(),
    ],
)
def test_numbers_of_parquet(write: Write, cells: pa.Array) -> None:
    table = columns(write(".parquet", {"name": ["a", "b", "c"], "value": cells}))
    assert [number for _, _, number in values(table)] == [1, 2, 3]


def test_cells_of_parquet_that_are_no_text_or_numbers(write: Write) -> None:
    broken = pa.StringArray.from_buffers(
        2, pa.py_buffer(np.array([0, 1, 2], np.int32).tobytes()), pa.py_buffer(b"a\xff")
    )
    columns(
        write(".parquet", {"name": broken, "value": [True, None]}),
        r"t.parquet, row 2, name: DataType(string) is not text",
        "t.parquet, row 1, value: True is not a number",
    )
    columns(
        write(".parquet", {"name": [1.0, 2.5], "value": [[1], [2]]}),
        "t.parquet, row 1, name: 1.0 is not text",
        "t.parquet, row 2, name: 2.5 is not text",
        "t.parquet, row 1, value: [1] is not a number",
        "t.parquet, row 2, value: [2] is not a number",
    )


@pytest.mark.parametrize("text", ["+1", " 1", "1.", "1e0", "10E-1", "\u0661"])
def test_what_python_takes_for_a_number_is_one(write: Write, text: str) -> None:
    assert values(columns(write(".csv", f"name,value\na,{text}\n")))[0][2] == 1


@pytest.mark.parametrize("text", ["1_0", "0x1", "1,5", "nan(1)", "--1", "1 2"])
def test_what_it_does_not_is_none(write: Write, text: str) -> None:
    path = write(".csv", f'name,value\na,"{text}"\n')
    columns(path, f"t.csv, line 2, value: '{text}' is not a number")


@pytest.mark.parametrize("text", ["nan", "-Infinity", "1e999"])
def test_what_is_not_finite_is_none_either(write: Write, text: str) -> None:
    columns(
        write(".csv", f"name,value\na,{text}\n"),
        f"t.csv, line 2, value: {text} is not finite (leave it empty if unrated)",
    )


def test_a_row_that_is_no_csv_hides_no_other_row(write: Write) -> None:
    path = write(".csv", 'name,value\n"a"b,1\nc,x\nd,1,2\ne,5\n"f,6\n')
    table = columns(
        path,
        "t.csv, line 2: not CSV (',' expected after '\"')",
        "t.csv, line 4: 3 cells, but 2 columns",
        "t.csv, line 3, value: 'x' is not a number",
        "t.csv, line 6: not CSV (unexpected end of data)",
    )
    assert [row[1] for row in values(table)] == ["c", "e"]
    assert table is not None
    assert not table.whole


def test_a_broken_header_is_the_only_finding(write: Write) -> None:
    path = write(".csv", '"name"x,value\na,1\n')
    assert columns(path, "t.csv, line 1: not CSV (',' expected after '\"')") is None


@pytest.mark.parametrize("name", ["a\0b", "\0"])
def test_a_nul_is_found(write: Write, name: str) -> None:
    columns(
        write(".jsonl", json.dumps({"name": name})),
        "t.jsonl, line 1, name: holds a NUL character",
    )


def test_cells_and_lines_may_be_long(write: Write) -> None:
    path = write(".csv", f"name,text\na,{'x' * csv.field_size_limit()}\nb,x\n")
    assert [row[1] for row in values(columns(path))] == ["a", "b"]
    path = write(".csv", f"name,text\na,{'x' * (csv.field_size_limit() + 1)}\nb,x\n")
    table = columns(path, "t.csv, line 2: not CSV (field larger than field limit (131072))")
    assert [row[1] for row in values(table)] == ["b"]
    found: list[str] = []
    read(write(".jsonl", json.dumps({"name": [1] * 100_000})), known, ("name",), found)
    assert len(found[0]) < 120
    assert len(shown("x" * 1000)) == tables.LONGEST_SHOWN + 1


def test_names_that_stand_for_one_column_are_found(write: Write) -> None:
    twice = "there are two columns for 'name'"
    columns(write(".csv", "name,nom\na,b\n"), f"t.csv, line 1: {twice}")
    columns(write(".csv", "name,name\na,b\n"), f"t.csv, line 1: {twice}")
    columns(write(".parquet", {"name": ["a"], "nom": ["b"]}), f"t.parquet: {twice}")
    several = '{"name": "a"}\n' * 3 + '{"nom": "b"}'
    columns(write(".jsonl", several), f"t.jsonl: {twice}")


def test_findings_show_what_is_there_in_one_line() -> None:
    assert shown("C:\\a") == "'C:\\a'"
    assert shown("a\nb") == r"'a\nb'"
    assert shown("\ud800") == r"'\ud800'"
    assert shown(["a"]) == "['a']"


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_what_is_no_file_is_found(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"t{suffix}").mkdir()
    columns(tmp_path / f"t{suffix}", f"t{suffix}: is not a file")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_bytes_that_are_no_text_are_found_in_their_line(write: Write, suffix: str) -> None:
    raw = b"\n" * 20_000 + b"\xff\n"
    columns(write(suffix, raw), f"t{suffix}, line 20001: not UTF-8 (byte 0xff)")
