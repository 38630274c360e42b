"""The command line's way with corpora: check, import, and a run over damaged audio."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

Call = Callable[..., Any]
PLUGIN = '''"""Damages a file once the run has begun."""

import pathlib
from dataclasses import dataclass
from typing import ClassVar

from serbench.harness.strategy import Strategy, register


@register("careless")
@dataclass(frozen=True, kw_only=True)
class Careless(Strategy):
    """Trains the head, and halves a file of the training split."""

    head_only: ClassVar[bool] = True

    def adapt(self, backbone):
        backbone.freeze()
        path = pathlib.Path("{path}")
        path.write_bytes(path.read_bytes()[:9000])
'''


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Two utterances of each of six speakers, as flac."""
    folder = tmp_path / "mine"
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = ["file_name,speaker,split,valence"]
    splits = {"a": "train", "b": "train", "c": "validation", "d": "validation", "e": "test"}
    for speaker, split in {**splits, "f": "test"}.items():
        for number in (1, 2):
            name = f"{speaker}{number}.flac"
            soundfile.write(folder / name, rng.normal(0, 0.1, 16_000), 16_000)
            rows.append(f"{name},{speaker},{split},{rng.uniform(-1, 1):.3f}")
    (folder / "metadata.csv").write_text("\n".join(rows), "utf-8")
    return folder


def test_a_known_corpus_is_checked_by_its_name(call: Call) -> None:
    code, out, _ = call("corpus", "check", "generated=speakers=6,utterances=4", "--decode")
    assert code == 0
    assert "generated=speakers=6,utterances=4 is well  [synthetic]" in out
    assert "all 24, none damaged" in out


def test_all_of_a_check_is_json_for_scripts(call: Call, mine: Path) -> None:
    pytest.importorskip("vl_convert")
    silent = mine / "a1.flac"
    soundfile.write(silent, np.zeros(16_000), 16_000)
    code, out, _ = call("corpus", "check", "mine", "--json", "--decode", "--plots", "plots")
    told = json.loads(out)
    assert code == 0
    assert told["findings"] == []
    assert told["summary"]["splits"] == {"train": 4, "validation": 4, "test": 4}
    assert told["summary"]["labels"]["valence"]["alpha"] is None
    assert told["decoded"] == {"files": 12, "findings": [], "silent": [str(silent)]}
    assert told["pictures"] == ["plots/durations.png", "plots/labels.png"]


def test_damage_is_told_and_is_exit_2(call: Call, mine: Path) -> None:
    for name in ("a1.flac", "f2.flac"):
        (mine / name).write_bytes((mine / name).read_bytes()[:9000])
    assert call("corpus", "check", "mine")[0] == 0, "the headers are whole"
    code, out, error = call("corpus", "check", "mine", "--decode")
    assert (code, error) == (2, "")
    *findings, last = out.splitlines()
    assert last == "2 findings in mine"
    assert [line.split(":")[0] for line in findings] == [
        str(mine / "a1.flac"),
        str(mine / "f2.flac"),
    ]
    code, out, _ = call("corpus", "check", "mine", "--decode", "--json")
    told = json.loads(out)
    assert code == 2
    assert len(told["findings"]) == 2
    assert told["summary"]["utterances"] == 12, "what the tables tell is told all the same"


def test_a_wave_file_that_is_cut_short_is_told_without_decoding(call: Call, mine: Path) -> None:
    whole, _ = soundfile.read(mine / "a1.flac")
    soundfile.write(mine / "a1.wav", whole, 16_000)
    (mine / "a1.wav").write_bytes((mine / "a1.wav").read_bytes()[:9000])
    metadata = (mine / "metadata.csv").read_text("utf-8")
    (mine / "metadata.csv").write_text(metadata.replace("a1.flac", "a1.wav"), "utf-8")
    code, out, error = call("corpus", "check", "mine")
    assert (code, error) == (2, "")
    told = "cut short: 8956 bytes of sound, and its header says 32000"
    assert out.splitlines() == [
        f"metadata.csv, line 2, file_name: 'a1.wav': {told}",
        "1 finding in mine",
    ]


def test_wrong_tables_are_told_and_are_exit_2(call: Call, mine: Path) -> None:
    metadata = (mine / "metadata.csv").read_text("utf-8")
    (mine / "metadata.csv").write_text(metadata.replace("f,test", "f,tset"), "utf-8")
    code, out, _ = call("corpus", "check", "mine")
    assert code == 2
    assert out.count("there is no split 'tset'") == 2
    assert "decoded" not in out
    _, out, _ = call("corpus", "check", "mine", "--decode")
    assert out.endswith("no audio was decoded and nothing drawn: these come first\n")
    code, out, _ = call("corpus", "check", "mine", "--json")
    told = json.loads(out)
    assert (code, told["summary"]) == (2, None)
    assert sum("there is no split 'tset'" in finding for finding in told["findings"]) == 2


def test_lengths_that_a_folder_states_are_held_against_its_files(call: Call, mine: Path) -> None:
    first, *lines = (mine / "metadata.csv").read_text("utf-8").splitlines()
    stated = [f"{first},duration", *(f"{line},1.0" for line in lines)]
    stated[3] = stated[3].replace(",1.0", ",1.5")
    (mine / "metadata.csv").write_text("\n".join(stated), "utf-8")
    code, out, _ = call("corpus", "check", "mine")
    assert code == 2
    assert "metadata.csv, line 4, duration: 'b1.flac' is 1.000 s long, not 1.5 s" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("check", "nowhere"), "neither a corpus nor a folder 'nowhere'"),
        (("check", "emodb"), "emodb=FOLDER"),
        (("import", "out"), "takes NAME, ROOT if the corpus has one, and OUT"),
        (("import", "emodb", "nowhere", "out"), "there is no folder"),
        (("import", "mine", "mine/out"), "are one in the other"),
        (("import", "audiofolder", "mine", "mine/deep/er"), "are one in the other"),
        (("import", "audiofolder", "mine", "mine"), "are one in the other"),
        (("import", "audiofolder", "mine", "."), "are one in the other"),
        (("import", "mine", "linked/out"), "are one in the other"),
        (("import", "emodbb", "nowhere", "out"), "did you mean emodb?"),
        (("import", "generated", "mine"), "mine is there already"),
    ],
)
def test_what_is_wrong_is_one_message(
    words: tuple[str, ...], message: str, call: Call, mine: Path
) -> None:
    (mine.parent / "linked").symlink_to(mine)
    before = sorted(mine.parent.rglob("*"))
    code, out, error = call("corpus", *words)
    assert code == 2
    assert message in out + error
    assert sorted(mine.parent.rglob("*")) == before


@pytest.mark.parametrize(
    "words",
    [
        ("generated", "speakers=6,utterances=2", "out"),
        ("generated=speakers=6,utterances=2", "out"),
    ],
)
def test_an_imported_corpus_is_well(words: tuple[str, ...], call: Call) -> None:
    code, out, _ = call("corpus", "import", *words)
    assert (code, out) == (0, "Wrote 12 utterances of generated=speakers=6,utterances=2 to out\n")
    assert call("corpus", "check", "out", "--decode")[0] == 0


def test_links_are_made_on_request(call: Call, mine: Path) -> None:
    assert call("corpus", "import", "audiofolder", "mine", "out", "--link")[0] == 0
    assert Path("out/audio/a1.flac").is_symlink()


def serbench(*words: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "serbench.harness", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        start_new_session=True,
    )


def test_an_interrupt_while_importing_leaves_nothing(tmp_path: Path) -> None:
    many = "generated=speakers=100,utterances=100"
    process = serbench("corpus", "import", many, "out", cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".out-*/out/audio/*.wav")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert (out, error) == ("", "serbench: interrupted; nothing was written\n")
    assert list(tmp_path.iterdir()) == []


def rows(db: Path, query: str) -> list[Any]:
    with sqlite3.connect(db) as connection:
        return connection.execute(query).fetchall()


def test_a_file_that_breaks_between_runs_fails_those_that_read_it(
    call: Call, tmp_path: Path, mine: Path
) -> None:
    (tmp_path / "careless.py").write_text(PLUGIN.format(path=mine / "a1.flac"), "utf-8")
    small = "--epochs 1 --batch-size 2 --device cpu --plugin careless.py --set max_seconds=0.9"
    other = "generated=speakers=3,utterances=2,seconds=1"
    corpora = ("--corpus", "mine", "--test-corpus", other)
    words = ("run", "frozen", "careless", "full", *corpora, *small.split(" "))
    code, out, error = call(*words)
    assert code == 1
    assert "Traceback" not in error
    found = rows(tmp_path / "runs.db", "SELECT label, status, message FROM runs ORDER BY id")
    assert [row[:2] for row in found] == [
        ("frozen", "ok"),
        ("careless", "failed"),
        ("full", "failed"),
    ]
    for _, _, message in found[1:]:
        assert message.startswith(f"{mine / 'a1.flac'} cannot be read: ")
    assert f"failed      careless  seed 0  {mine / 'a1.flac'} cannot be read" in out
    for count, name in ((12, "mine"), (2, other)):
        told = f"{count} of {count} utterances of {name} are longer than 0.9 s and are cut there"
        assert told in out
    assert rows(tmp_path / "runs.db", "SELECT count(*) FROM scores WHERE run_id = 1")[0][0] > 0
