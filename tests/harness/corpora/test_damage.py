"""Whatever happens to the tables of a folder, it ends in a corpus or in findings."""

import io
import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serbench.harness import cli
from serbench.harness.corpora.audiofolder import load
from serbench.harness.corpora.base import Corpus
from serbench.harness.errors import PRINTED, CorpusError

Folder = Callable[..., Path]
Files = dict[str, bytes]

METADATA = """file_name,speaker,split,duration,activation,valence,text
wav/a1.wav,anna,train,0.1,1.5,2,"one, two"
wav/a2.wav,anna,train,0.1,4,4.5,ä
wav/b1.wav,bert,Dev,,2,2.5,"three
four"
wav/b2.wav,bert,validation,0.1,5,,
wav/c1.wav,Unknown,test,0.1,1,1,
wav/c2.wav,cleo,test,0.1,5,5,
"""
LONG = """file_name,annotator,activation,valence,dominance
wav/a1.wav,r1,1,2,1
wav/b1.wav,r2,2,,3
wav/b1.wav,r2,4,3,3
wav/c1.wav,r1,1,3,2
"""
WIDE = """file_name,activation:r1,activation:r2,dominance:r1
wav/a1.wav,1,2,3
wav/b1.wav,,2,4
wav/c1.wav,3,,5
"""
TOML = b'name = "six"\nlicence = "CC0"\nsynthetic = true\n\n[scale]\nmin = 1\nmax = 5\n'


def in_format(text: str, suffix: str) -> bytes:
    table = pd.read_csv(io.StringIO(text))
    if suffix == "jsonl":
        return table.to_json(orient="records", lines=True, force_ascii=False).encode()
    if suffix == "csv":
        return text.encode()
    raw = io.BytesIO()
    table.to_parquet(raw, compression="snappy" if suffix == "parquet" else None)
    return raw.getvalue()


FORMATS = ("csv", "csv", "csv", "jsonl", "parquet", "plain.parquet")
SOUND: dict[str, dict[str, bytes]] = {
    "metadata": {suffix: in_format(METADATA, suffix) for suffix in FORMATS},
    "long": {suffix: in_format(LONG, suffix) for suffix in FORMATS},
    "wide": {suffix: in_format(WIDE, suffix) for suffix in FORMATS},
}
PIECES = st.sampled_from(
    [
        *(
            b"",
            b"\0",
            b"\n",
            b"\r",
            b",",
            b";",
            b'"',
            b'""',
            b'"""',
            b"'''",
            b"\\",
            b"/",
            b"{",
            b"[",
        ),
        *(b"nan", b"-inf", b"1e999", b"-1e308", b"1e308", b"5e-324", b"9" * 5000, b"1_0", b"0x1"),
        *(
            b"null",
            b"true",
            b"[1]",
            b"{}",
            b'"\\ud800"',
            b"\\u0000",
            b"[" * 3000,
            b"0.1",
            b"-1",
            b"7",
        ),
        *(b"../x", b"/etc/passwd", b"C:\\x", b"a//b", b"wav/a1.wav", b"x" * 300, b"x" * 140_000),
        *(b"train", b"TEST", b"unknown", b"arousal", b"valence", b"activation:", b"speaker", b"r1"),
        *(b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xc2\x85", b"\xe2\x80\xa8", b"\x1b[2J"),
        *(b"[scale]", b"min = ", b"inf", b"2020-01-01", b"file_name", b"duration", b"1e5"),
    ]
)
ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "latin-1", "utf-8-sig", "cp037", "utf-7")


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Something that happens to a file."""
    kind = draw(
        st.sampled_from(
            [
                "insert",
                "replace",
                "flip",
                "cut",
                "drop",
                "repeat",
                "swap",
                "cell",
                "cells",
                "recode",
            ]
        )
    )
    share, other = draw(st.floats(0, 1)), draw(st.floats(0, 1))
    piece, encoding = draw(PIECES), draw(st.sampled_from(ENCODINGS))
    flipped = draw(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=4))

    def damage(raw: bytes) -> bytes:
        at = int(share * len(raw))
        if kind == "insert":
            return raw[:at] + piece + raw[at:]
        if kind == "replace":
            return raw[:at] + piece + raw[at + len(piece) :]
        if kind == "cut":
            return raw[:at]
        if kind == "flip":
            changed = bytearray(raw or b"\0")
            for place, byte in flipped:
                changed[int(place * (len(changed) - 1))] = byte
            return bytes(changed)
        if kind == "recode":
            return raw.decode("utf-8", "replace").encode(encoding, "replace")
        lines = raw.split(b"\n")
        one, two = (int(x * (len(lines) - 1)) for x in (share, other))
        if kind == "drop":
            del lines[one]
        elif kind == "repeat":
            lines.insert(two, lines[one])
        elif kind == "swap":
            lines[one], lines[two] = lines[two], lines[one]
        else:
            cells = lines[one].split(b",")
            place = int(other * (len(cells) - 1))
            if kind == "cell":
                cells[place] = piece
            else:
                cells[place], cells[-1] = cells[-1], cells[place]
            lines[one] = b",".join(cells)
        return b"\n".join(lines)

    return damage


@st.composite
def damaged(draw: st.DrawFn) -> Files:
    """The tables of a sound folder, in any of their formats, after one to three accidents."""
    suffix = draw(st.sampled_from(FORMATS))
    files = {f"metadata.{suffix.rpartition('.')[2]}": SOUND["metadata"][suffix]}
    form = draw(st.sampled_from([None, "long", "wide"]))
    if form:
        suffix = draw(st.sampled_from(FORMATS))
        files[f"ratings.{suffix.rpartition('.')[2]}"] = SOUND[form][suffix]
    files["corpus.toml"] = TOML
    for _ in range(draw(st.integers(1, 3))):
        file = draw(st.sampled_from(sorted(files)))
        files[file] = draw(damages())(files[file])
    return files


def written(root: Path, files: Files) -> Path:
    for path in root.iterdir():
        if path.is_file():
            path.unlink()
    for name, content in files.items():
        (root / name).write_bytes(content)
    return root


def loaded(root: Path) -> Corpus | tuple[str, ...]:
    try:
        return load(str(root))
    except CorpusError as error:
        return error.findings


def names_a_file(finding: str) -> bool:
    return any(name in finding for name in ("metadata.", "ratings.", "corpus.toml"))


ACCIDENTS = settings(
    max_examples=500,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.filterwarnings("error")
def test_damage_ends_in_a_corpus_or_in_findings(folder: Folder) -> None:
    root = folder()
    ends: Counter[str] = Counter()

    @ACCIDENTS
    @given(damaged())
    def survive(files: Files) -> None:
        end = loaded(written(root, files))
        if isinstance(end, Corpus):
            ends["corpus"] += 1
            assert end.utterances["id"].is_unique
            assert len(end.manifest_hash) == 32
        else:
            ends["findings"] += 1
            assert any(map(names_a_file, end)), end
            assert max(len(finding.encode()) for finding in end) < 500

    survive()
    assert ends["findings"] > 200
    assert ends["corpus"] > 30


def test_the_command_line_ends_with_one_message(
    folder: Folder,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root, db = folder(), tmp_path_factory.mktemp("db") / "runs.db"
    words = ("run", "frozen", "--corpus", str(root), "--device", "cpu", "--db", str(db))
    monkeypatch.setattr(sys, "argv", ["serbench", *words, "--dry-run"])
    ends: Counter[object] = Counter()

    @settings(ACCIDENTS, max_examples=40)
    @given(damaged())
    def survive(files: Files) -> None:
        written(root, files)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        ends[ended.value.code] += 1
        assert not db.exists()
        if ended.value.code:
            assert ended.value.code == 2
            assert out == ""
            assert err.startswith(f"serbench: {root} is not a sound corpus\n  ")
            assert "Traceback" not in err
            assert all(line.startswith("  ") for line in err.splitlines()[1:])

    survive()
    assert ends[2] > 15
    assert ends[0] > 3


def test_a_database_is_not_touched_when_the_corpus_is_wrong(
    folder: Folder,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = folder("nothing")
    db = tmp_path / "runs.db"
    db.write_bytes(b"as it was")
    os.utime(db, ns=(1, 1))
    words = ("run", "frozen", "--corpus", str(root), "--device", "cpu", "--db", str(db))
    monkeypatch.setattr(sys, "argv", ["serbench", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        f"serbench: {root} is not a sound corpus\n"
        "  metadata.csv, line 1: there is no column 'file_name'\n"
        "  metadata.csv, line 1: there is no column 'speaker'\n"
    )
    assert db.read_bytes() == b"as it was"
    assert db.stat().st_mtime_ns == 1


def test_thousands_of_findings_are_printed_in_part_and_kept_whole(
    folder: Folder, good: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "".join(f"wav/x{number}.wav,anna,train,1,1,1\n" for number in range(3000))
    root = folder(good + rows)
    with pytest.raises(CorpusError) as caught:
        load(str(root))
    lines = str(caught.value).splitlines()
    assert len(lines) == 1 + PRINTED + 1
    assert lines[-1] == f"  and {3000 - PRINTED} more"
    assert len(caught.value.findings) == 3000
    monkeypatch.setattr(sys, "argv", ["serbench", "corpus", "check", str(root), "--json"])
    with pytest.raises(SystemExit):
        cli.main()
    assert len(json.loads(capsys.readouterr().out)["findings"]) == 3000
