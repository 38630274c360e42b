from __future__ import annotations

import io
import json
import re

import pandas as pd
import pytest

from serbench.leaderboard import exports

UNFRIENDLY = [
    r"a\b | c_d * e",
    "<img src=x onerror=alert(1)>",
    "50 % & $x^2$ #1 {y} ~z",
    "`code` [link](http://x) ![image] &amp;",
    "a--b '' c---d",
    "two\nlines",
]


@pytest.fixture
def frame() -> pd.DataFrame:
    count = len(UNFRIENDLY)
    given: pd.DataFrame = pd.DataFrame(
        {
            "Rank": pd.array([1, 1, 3, None, None, None], dtype="Int64"),
            "Name_|": UNFRIENDLY,
            "CCC": [0.12345678901, None, 1.0, 0.5, 0.25, -0.125],
            "Curve": [[0.1, 0.25], None, [0.5], None, None, None],
            "Empty": [""] * count,
        }
    )
    return given


def test_csv_reads_back_to_the_last_bit(frame: pd.DataFrame) -> None:
    read = pd.read_csv(io.BytesIO(exports.csv(frame)), dtype={"Rank": "Int64"})
    assert list(read) == list(frame)
    assert read["Name_|"].tolist() == UNFRIENDLY
    assert read["CCC"].equals(frame["CCC"])
    assert read["Rank"].equals(frame["Rank"])
    assert json.loads(read["Curve"][0]) == [0.1, 0.25]
    assert read["Curve"].isna().tolist() == [False, True, False, True, True, True]


def test_csv_holds_no_formula() -> None:
    formulas = ["=1+1", "+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\n=1", "-1 to =1"]
    harmless = ["lora:rank=8", "-0.012 to 0.034", "-0.2 to -0.1", "", None]
    frame = pd.DataFrame({"=Name": formulas + harmless, "CCC": -0.5})
    read = pd.read_csv(io.BytesIO(exports.csv(frame)), keep_default_na=False)
    assert list(read) == ["'=Name", "CCC"]
    assert read["'=Name"].tolist() == [*(f"'{text}" for text in formulas), *harmless[:-1], ""]
    assert (read["CCC"] == -0.5).all()
    assert exports.csv(pd.DataFrame({"a": ["\r=1", "x\r\ny"]})) == b'a\n"\'\n=1"\n"x\ny"\n'


def test_parquet_reads_back_with_its_types(frame: pd.DataFrame) -> None:
    read = pd.read_parquet(io.BytesIO(exports.parquet(frame.iloc[::-1])))
    assert list(read) == list(frame)
    assert read["Name_|"].tolist() == UNFRIENDLY[::-1]
    assert str(read["Rank"].dtype) == "Int64"
    assert read["CCC"].dtype == float
    assert list(read["Curve"].iloc[-1]) == [0.1, 0.25]


def in_one_line(text: str) -> str:
    return " ".join(text.split())


def test_markdown_reads_back_as_it_was_shown(frame: pd.DataFrame) -> None:
    text = exports.markdown(frame, {"CCC": "%.3f"}, "a_b").decode()
    title, empty, *lines = text.splitlines()
    assert (title, empty) == (r"a\_b", "")
    cells = [re.split(r"(?<!\\)\|", line.replace(r"\\", "\0"))[1:-1] for line in lines]
    assert {len(line) for line in cells} == {len(frame.columns)}
    # What a reader of Markdown does to escaped punctuation.
    read = [
        [re.sub(r"\\(.)", r"\1", c).replace("\0", "\\").strip() for c in line] for line in cells
    ]
    assert read[0] == list(frame)
    assert read[1] == ["---:", "---", "---:", "---", "---"]
    assert [line[1] for line in read[2:]] == [in_one_line(name) for name in UNFRIENDLY]
    assert [line[2] for line in read[2:]] == ["0.123", "–", "1.000", "0.500", "0.250", "-0.125"]
    assert read[2][3] == "0.1, 0.25"
    assert read[5][0] == "–"


def test_markdown_holds_no_markup_of_the_data(frame: pd.DataFrame) -> None:
    bare = re.sub(r"\\.", "", exports.markdown(frame).decode())
    assert not set("<>`*_[]&$~#") & set(bare)


def test_latex_reads_back_as_it_was_shown(frame: pd.DataFrame) -> None:
    text = exports.latex(frame, {"CCC": "%.3f"}, "50 %\n\\input{x}").decode()
    comment, needs, begin, top, head, middle, *body, bottom, end = text.splitlines()
    assert comment == r"% 50 % \input{x}"
    assert needs == r"% needs \usepackage{booktabs}"
    assert (begin, end) == (r"\begin{tabular}{rlrll}", r"\end{tabular}")
    assert (top, middle, bottom) == (r"\toprule", r"\midrule", r"\bottomrule")
    lines = [head, *body]
    assert all(line.endswith(r" \\") for line in lines)
    read = [
        [plain(cell) for cell in re.split(r"(?<!\\) & ", line.removesuffix(r" \\"))]
        for line in lines
    ]
    assert read[0] == list(frame)
    assert [line[1] for line in read[1:]] == [in_one_line(name) for name in UNFRIENDLY]
    assert [line[2] for line in read[1:3]] == ["0.123", "–"]


def plain(cell: str) -> str:
    """What LaTeX prints of an escaped text."""
    words = {
        "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<",
        "textgreater": ">", "textbar": "|", "textasciigrave": "`", "textendash": "–",
    }  # fmt: skip
    cell = re.sub(r"\\([a-z]+)\{\}", lambda found: words[found[1]], cell.replace(r"\\", "?"))
    return re.sub(r"\\([&%$#_{}])", r"\1", re.sub(r"(?<!\\)\{(?<!\\)\}", "", cell))


def test_latex_keeps_dashes_and_quotes_apart() -> None:
    text = exports.latex(pd.DataFrame({"a": ["b---c ''"]})).decode()
    assert "b-{}-{}-c '{}'" in text


def test_latex_takes_no_cell_for_an_argument_of_the_line_before() -> None:
    text = exports.latex(pd.DataFrame({"[0.5em]": ["[x]", "*", "b [c] *"]})).decode()
    assert text.splitlines()[3::2] == [
        r"{}[0.5em] \\",
        r"{}[x] \\",
        r"b [c] * \\",
        r"\end{tabular}",
    ]


def test_symbols_that_the_usual_fonts_lack_are_commands() -> None:
    text = exports.latex(pd.DataFrame({"Speed-up (×)": ["●"]})).decode()
    assert r"Speed-up (\texttimes{})" in text
    assert r"\textbullet{}" in text


def test_a_table_without_lines_is_a_table() -> None:
    empty = pd.DataFrame({"a": pd.Series([], dtype=float)})
    assert exports.csv(empty) == b"a\n"
    assert exports.markdown(empty) == b"| a |\n| ---: |\n"
    assert b"\\midrule\n\\bottomrule" in exports.latex(empty)
    assert pd.read_parquet(io.BytesIO(exports.parquet(empty))).empty
