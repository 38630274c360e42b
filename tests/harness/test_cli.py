"""The command line as people and scripts use it.

Each verb has a process of its own once, and where a process ends by a signal; all else is in this
one, through the same `main`.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serbench.harness import cli, strategy

CALL = (sys.executable, "-m", "serbench.harness")
SMALL = ("--limit", "6", "--epochs", "2", "--batch-size", "4", "--device", "cpu")
PROMISED = (
    "label strategy config precision cached head backbone corpus machine runs failed "
    "ccc_activation ccc_activation_low ccc_activation_high ccc_valence ccc_valence_low "
    "ccc_valence_high ccc_dominance ccc_dominance_low ccc_dominance_high epoch_s audio_s_per_s "
    "cache_fill_s run_s speedup_vs_full peak_vram_bytes peak_host_bytes trainable_params "
    "total_params rank pareto"
).split(" ")


def serbench(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CALL, *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "100", **environment},
        check=False,
    )


Call = Callable[..., Any]


def rows(db: Path, query: str) -> list[Any]:
    with sqlite3.connect(db) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose runs.db holds three small configurations, and a failed one."""
    folder = tmp_path_factory.mktemp("ran")
    specs = ("full", "top-layers:layers=3+bf16+cache", "lora:rank=8+bf16", "lora:targets=nothing")
    done = serbench("run", *specs, *SMALL, cwd=folder, XDG_CACHE_HOME=str(folder / "cache"))
    assert done.returncode == 1, done.stderr
    (folder / "stdout").write_text(done.stdout, "utf-8")
    return folder


def test_every_run_is_a_row(ran: Path) -> None:
    found = rows(ran / "runs.db", "SELECT label, status, message FROM runs ORDER BY id")
    assert [row[:2] for row in found] == [
        ("full", "ok"),
        ("top-layers:layers=3+bf16+cache", "ok"),
        ("lora:rank=8+bf16", "ok"),
        ("lora:targets=nothing", "failed"),
    ]
    assert "Target modules {'nothing'} not found" in found[3][2]


def test_a_row_has_its_figures_and_where_they_come_from(ran: Path) -> None:
    columns = (
        "epoch_s run_s peak_vram_bytes peak_host_bytes trainable_params total_params synthetic "
        "corpus backbone init command protocol device"
    ).split(" ")
    (values,) = rows(ran / "runs.db", f"SELECT {', '.join(columns)} FROM runs WHERE id = 1")
    row = dict(zip(columns, values, strict=True))
    assert 0 < row["epoch_s"] < row["run_s"]
    assert row["peak_vram_bytes"] is None
    assert row["peak_host_bytes"] > 100_000_000
    assert 0 < row["trainable_params"] < row["total_params"]
    assert row["synthetic"] == 1
    assert (row["corpus"], row["backbone"], row["init"]) == ("embedded", "tiny", "pretrained")
    assert row["command"].startswith("serbench run full ")
    (machine,) = rows(ran / "runs.db", "SELECT cpu, cores FROM machines")
    assert machine[0]


def test_without_a_terminal_each_run_is_a_line(ran: Path) -> None:
    text = (ran / "stdout").read_text("utf-8")
    assert text.startswith("ok          full  seed 0  ")
    assert "failed      lora:targets=nothing" in text
    assert "\x1b" not in text
    assert "[synthetic]" in text


def test_rank_json_has_what_scripts_rely_on(ran: Path) -> None:
    done = serbench("rank", "--json", cwd=ran)
    found = {row["label"]: row for row in json.loads(done.stdout)}
    assert len(found) == 4
    for row in found.values():
        assert not set(PROMISED) - set(row)
    cached = found["top-layers:layers=3+bf16+cache"]
    assert (cached["strategy"], cached["precision"], cached["cached"]) == (
        "top-layers",
        "bf16",
        True,
    )
    assert cached["config"]["layers"] == 3
    assert cached["cache_fill_s"] > 0
    assert cached["speedup_vs_full"] > 0
    assert found["full"]["speedup_vs_full"] == pytest.approx(1)
    assert found["full"]["cache_fill_s"] is None
    failed = found["lora:targets=nothing"]
    assert (failed["runs"], failed["failed"], failed["rank"]) == (0, 1, None)


def test_rank_by_what_is_asked_for(ran: Path, call: Call) -> None:
    by_valence = json.loads(call("rank", "--by", "ccc_valence", "--json", cwd=ran).out)
    assert {row["ranked_by"] for row in by_valence} == {"ccc_valence"}
    by_tvd = json.loads(call("rank", "--by", "tvd", "--json", cwd=ran).out)
    assert {(row["tvd"], row["rank"]) for row in by_tvd} == {(None, None)}


@pytest.mark.parametrize("layout", [(), ("--json",), ("--format", "csv")])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--head", "nose"), "there are no runs with --head nose, only with consensus"),
        (("--head", "annotators"), "there are no runs with --head annotators, only with consensus"),
        (("--corpus", "other"), "there are no runs with --corpus other, only with embedded"),
        (("--suite", "quick"), "there are no runs with --suite quick, and none with any other"),
    ],
)
def test_a_filter_that_nothing_matches_is_one_message(
    words: tuple[str, ...], message: str, layout: tuple[str, ...], ran: Path, call: Call
) -> None:
    done = call("rank", *words, *layout, cwd=ran)
    assert (done.code, done.out, done.error) == (2, "", f"serbench: {message}\n")


def test_filters_that_match_nothing_together_are_one_message(call: Call) -> None:
    call("run", "frozen", *SMALL)
    call("run", "frozen", *SMALL, "--corpus", "generated", "--head", "mean-variance")
    words = ("--corpus", "embedded", "--head", "mean-variance")
    for verb in ("rank", "recommend"):
        done = call(verb, *words)
        assert (done.code, done.out) == (2, "")
        assert done.error == f"serbench: runs.db holds no runs with all of {' '.join(words)}\n"


def test_rank_prints_files_and_documents(ran: Path, call: Call) -> None:
    labels = [row["label"] for row in json.loads(call("rank", "--json", cwd=ran).out)]
    lines = list(csv.DictReader(call("rank", "--format", "csv", cwd=ran).out.splitlines()))
    assert [line["Configuration"] for line in lines] == labels
    assert {(line["Corpus"], line["Backbone"]) for line in lines} == {("embedded", "tiny")}
    assert lines[-1]["Rank"] == ""
    assert float(lines[0]["Epoch (s)"]) > 0
    markdown = call("rank", "--format", "markdown", cwd=ran).out
    assert markdown.startswith("tiny on embedded, ")
    assert markdown.count("\n| ") == 2 + len(labels)
    latex = call("rank", "--format", "latex", cwd=ran).out
    assert latex.count(r" \\") == 1 + len(labels)
    assert "Throughput" not in markdown + latex


def test_show_gives_one_run_whole(ran: Path, call: Call) -> None:
    run = json.loads(call("show", "2", "--json", cwd=ran).out)
    assert run["status"] == "ok"
    assert [epoch["epoch"] for epoch in run["epochs"]] == [0, 1]
    assert all(epoch["loss"] > 0 for epoch in run["epochs"])
    assert [phase["phase"] for phase in run["phases"]].count("cache_fill") == 2
    final = [score for score in run["scores"] if score["split"] == "test"]
    assert {score["dimension"] for score in final} == {"activation", "valence", "dominance"}
    page = serbench("show", "2", cwd=ran).stdout
    assert "top-layers:layers=3+bf16+cache, seed 0: ok" in page
    assert "cache_fill" in page
    for shown in (
        "of a warm epoch",
        "filled in",
        "independent of device",
        "saved activations",
        "GFLOP for a batch of",
        "the matmul peak here in bf16",
        "its row's of 1 seed",
        "number 2 of its command",
    ):
        assert shown in page


def test_two_rows_are_compared(ran: Path, call: Call) -> None:
    page = serbench("compare", "full", "lora+bf16", cwd=ran, COLUMNS="80").stdout
    assert "A  full  (run 1; seed 0)" in page
    assert "B  lora:rank=8+bf16  (run 3; seed 0)" in page
    assert re.search(r"^act +-?0\.\d{3} \(", page, re.MULTILINE)
    assert re.search(r"^Epoch +\d+\.\d\d s +\d+\.\d\d s +\d+\.\d\d", page, re.MULTILINE)
    assert "No run was made twice" in page
    (told,) = json.loads(call("compare", "1", "3", "--json", cwd=ran).out)
    assert (told["a"]["run_ids"], told["b"]["run_ids"]) == ([1], [3])
    assert {each["dimension"] for each in told["ccc"]} == {
        "activation",
        "valence",
        "dominance",
        "mean",
    }
    assert set(told["ccc"][0]) >= {"a", "a_low", "b_high", "difference", "difference_low", "apart"}
    times = {cost["key"]: cost for cost in told["costs"]}
    assert times["epoch_s"]["ratio"] == times["epoch_s"]["a"] / times["epoch_s"]["b"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("full", "lora:targets=nothing"), "no finished run of lora:targets=nothing here"),
        (("full", "frozen"), "no finished run of frozen here"),
        (("full", "lora+bf16", "--machine", "other"), "no runs with --machine other, only with "),
        (("full", "lora", "--head", "nose"), "no runs with --head nose, only with consensus"),
        (("1", "2", "--corpus", "other"), "no runs with --corpus other, only with embedded"),
        (("1", "4"), "run 4 (lora:targets=nothing) has no figures: failed"),
        (("1", "ful"), "two specs or the numbers of two runs"),
    ],
)
def test_what_cannot_be_compared_is_one_message(
    words: tuple[str, ...], message: str, ran: Path, call: Call
) -> None:
    done = call("compare", *words, cwd=ran)
    assert (done.code, done.out) == (2, "")
    assert message in done.error
    assert "Traceback" not in done.error


def test_a_configuration_is_recommended_within_limits(ran: Path, call: Call) -> None:
    page = serbench("recommend", "--max-disk", "0", cwd=ran, COLUMNS="80").stdout
    assert re.search(r"^Take (full|lora:rank=8\+bf16)$", page, re.MULTILINE)
    assert re.search(r"^disk +none +1 +1 +0 *$", page, re.MULTILINE)
    table = [line for line in page.splitlines() if line.startswith(("limit", "disk", "taken"))]
    assert max(map(len, table)) <= 80
    command = page[page.index("  serbench run ") :]
    assert max(map(len, command.splitlines())) <= 80
    (found,) = json.loads(call("recommend", "--max-disk", "0", "--json", cwd=ran).out)
    assert found["chosen"]["disk_bytes"] == 0
    assert found["command"].split()[:2] == ["serbench", "run"]
    # It is one, and asks for what is there already.
    words = shlex.split(command.replace("\\\n", ""))
    assert words == shlex.split(found["command"])
    again = call(*words[1:], "--device", "cpu", "--dry-run", "--json", cwd=ran)
    assert [each["done"] for each in json.loads(again.out)] == [True]


def test_where_nothing_fits_flags_are_told_that_do(ran: Path, call: Call) -> None:
    page = call("recommend", "--max-memory", "1MB", cwd=ran).out
    assert "None of the 3 configurations here is within the limits." in page
    (flags,) = re.findall(r"^Nearest is .*: it fits with (.*)$", page, re.MULTILINE)
    assert flags.startswith("--max-memory ")
    loosened = call("recommend", *flags.split(), cwd=ran)
    assert "1 of 3 are within the limits" in loosened.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--max-memory", "much"), "'much' is no size"),
        (("--max-run-s", "-1"), "the limit of the whole run is a number from 0 on"),
        (("--min-ccc", "2"), "a CCC is from -1 to 1"),
        (("--by", "wit"), "rows are ranked by one of"),
        (("--machine", "other"), "no runs with --machine other, only with "),
        (("--db", "none.db"), "there is no such file"),
    ],
)
def test_limits_that_make_no_sense_are_one_message(
    words: tuple[str, ...], message: str, ran: Path, call: Call
) -> None:
    done = call("recommend", *words, cwd=ran)
    assert (done.code, done.out) == (2, "")
    assert done.error.startswith("serbench: ")
    assert message in done.error
    assert len(done.error.splitlines()) == 1


def test_a_repeat_tells_the_noise_and_is_no_seed(call: Call) -> None:
    words = ("run", "frozen", *SMALL, "--repeats", "1")
    done = call(*words)
    assert done.code == 0, done.error
    assert "frozen  seed 0  " in done.out
    assert "frozen  seed 0 repeat 1  " in done.out
    assert "The same run twice differed by up to " in done.out
    assert "0.000 in CCC (1 pair)" in done.out
    (row,) = json.loads(call("rank", "--json").out)
    assert (row["runs"], row["run_ids"], row["noise_pairs"]) == (1, [1], 1)
    assert row["noise_epoch_share"] > 0
    listed = json.loads(call(*words, "--dry-run", "--json").out)
    assert [(each["repeat"], each["done"]) for each in listed] == [(0, True), (1, True)]


def test_what_is_done_is_not_done_again(ran: Path, call: Call) -> None:
    done = call("run", "full", "lora+bf16", *SMALL, cwd=ran)
    assert done.code == 0
    assert "2 of 2 runs are in runs.db already; --rerun measures them anew" in done.out
    assert "1 of 1 run is in runs.db already" in call("run", "full", *SMALL, cwd=ran).out
    assert "lora:rank=8+bf16" in done.out, "the same by another name"
    assert rows(ran / "runs.db", "SELECT count(*) FROM runs") == [(4,)]


def test_what_failed_is_tried_again(ran: Path, call: Call) -> None:
    listed = json.loads(
        call("run", "full", "lora:targets=nothing", *SMALL, "--dry-run", "--json", cwd=ran).out
    )
    assert [(row["label"], row["done"]) for row in listed] == [
        ("full", True),
        ("lora:targets=nothing", False),
    ]


def test_json_is_an_event_a_line(call: Call) -> None:
    done = call("run", "frozen", *SMALL, "--json")
    events = [json.loads(line) for line in done.out.splitlines()]
    assert [event["event"] for event in events] == ["started", "ended", "ranking"]
    assert events[1]["status"] == "ok"
    assert events[2]["rows"][0]["label"] == "frozen"


def test_a_trained_model_is_kept_on_request(tmp_path: Path, call: Call) -> None:
    done = call("run", "frozen", "bottleneck", *SMALL, "--save", "models")
    assert done.code == 0, done.error
    assert (tmp_path / "models" / "tiny-embedded" / "frozen-seed0" / "model.safetensors").is_file()
    assert "cannot be merged into the library's classes" in done.out
    kept = rows(tmp_path / "runs.db", "SELECT label, model_path FROM runs ORDER BY id")
    assert kept[0][1].endswith("frozen-seed0")
    assert kept[1] == ("bottleneck", None)


def started(*words: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*CALL, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        start_new_session=True,
    )


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"'{text}' was never printed: {process.communicate()[1]}")


LONG = ("--limit", "40", "--epochs", "30", "--batch-size", "4", "--device", "cpu", "--json")


def test_an_interrupt_leaves_rows_and_says_how_to_go_on(tmp_path: Path) -> None:
    process = started("run", "frozen+cache", "full", *LONG, cwd=tmp_path)
    wait_for_line(process, '"label": "full"')
    time.sleep(2)
    os.killpg(process.pid, signal.SIGINT)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "serbench run frozen+cache full" in error
    assert "Traceback" not in error
    found = rows(tmp_path / "runs.db", "SELECT label, status FROM runs ORDER BY id")
    assert found == [("frozen+cache", "ok"), ("full", "interrupted")]
    assert rows(tmp_path / "runs.db", "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("wait_s", [0.5, 2.0])
def test_an_interrupt_while_the_libraries_load_is_one_message(
    wait_s: float, tmp_path: Path
) -> None:
    process = started("run", "full", *LONG, cwd=tmp_path)
    wait_for_line(process, '"event": "started"')
    time.sleep(wait_s)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "This goes on with the rest" in error
    assert "Traceback" not in error


def test_a_killed_session_goes_on_with_what_is_missing(call: Call, tmp_path: Path) -> None:
    words = ("run", "frozen+cache", "weighted-sum+cache", *LONG, "--cache-dir", "states")
    process = started(*words, cwd=tmp_path)
    wait_for_line(process, '"label": "weighted-sum+cache"')
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert rows(tmp_path / "runs.db", "SELECT label, status FROM runs") == [("frozen+cache", "ok")]
    events = [json.loads(line) for line in call(*words).out.splitlines()]
    started_again = [event["label"] for event in events if event["event"] == "started"]
    assert started_again == ["weighted-sum+cache"]
    assert rows(tmp_path / "runs.db", "SELECT count(*) FROM runs WHERE status = 'ok'") == [(2,)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run",), "nothing to run"),
        (("run", "ful"), "did you mean full?"),
        (("run", "full", "--backbone", "nobody/nothing"), "--backbone FOLDER"),
        (("run", "full", "--corpus", "nowhere"), "neither a corpus nor a folder 'nowhere'"),
        (("run", "full", "--set", "epochs"), "KEY=VALUE"),
        (("run", "full", "--plugin", "nowhere.py"), "--plugin nowhere.py"),
        (("run", "full", "--db", "text.txt"), "text.txt"),
        (("run", "full", "--db", "/nowhere/at/all/runs.db"), "/nowhere/at/all"),
        (("rank", "--db", "none.db"), "none.db"),
        (("rank", "--by", "tdv"), "rows are ranked by one of ccc, annotator_ccc, "),
        (("rank", "--json", "--format", "csv"), "two ways of printing"),
        (("compare", "full", "lora", "--db", "none.db"), "none.db"),
        (("run", "full", "--repeats", "-1"), "--repeats takes a number from 0 on"),
        (("show", "1", "--db", "text.txt"), "text.txt"),
        (("corpus", "check", "nowhere"), "nowhere"),
        (("new-strategy", "a b"), "no name for a strategy"),
        (("new-strategy", "full"), "there is a strategy 'full' already"),
        (("leaderboard", "--db", "none.db"), "none.db"),
        (("leaderboard", "--db", "text.txt"), "text.txt"),
        (("run", "--nonsense"), "--nonsense"),
    ],
)
def test_bad_input_is_one_message_and_exit_2(
    words: tuple[str, ...],
    message: str,
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    (tmp_path / "text.txt").write_text("this is no database, whatever its name may be\n" * 40)
    done = call(*words)
    assert done.code == 2, done.error
    assert message in done.error + done.out
    assert "Traceback" not in done.error
    assert not (tmp_path / "runs.db").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "ful"), "serbench: there is no strategy 'ful'; did you mean full?"),
        (("recommend", "--max-memory", "much"), "serbench: 'much' is no size"),
        (("run", "--nonsense"), "No such option: --nonsense"),
    ],
)
def test_bad_input_ends_a_process_so_too(
    words: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    done = serbench(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1 or not message.startswith("serbench: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [("run",), ("corpus", "check"), ()])
def test_help_has_a_short_name(words: tuple[str, ...], call: Call) -> None:
    done = call(*words, "-h")
    assert done.code == 0
    assert done.out == call(*words, "--help").out


def test_list_starts_without_the_heavy_libraries() -> None:
    """A wall clock would tell of the machine's load; what is imported does not."""
    script = (
        "import sys\n"
        "sys.argv = ['serbench', 'list']\n"
        "from serbench.harness.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'peft', 'pandas', 'sqlalchemy', 'streamlit'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "HEAVY []" in done.stdout
    for word in ("top-layers", "consensus", "emodb", "wavlm-large", "icassp2025"):
        assert word in done.stdout


def test_doctor_is_well(tmp_path: Path) -> None:
    done = serbench("doctor", "--device", "cpu", "--json", cwd=tmp_path)
    found = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert done.returncode == 0
    assert "tiny on cpu: 9 kernels against fp32" in found["bf16"]["found"]
    assert found["bf16"]["well"]


def test_the_cache_is_told_of_and_cleared(call: Call, tmp_path: Path) -> None:
    kept_in = ("--cache-dir", "states")
    assert call("run", "frozen+cache", *SMALL, *kept_in).code == 0
    info = serbench("cache", "info", *kept_in, "--json", cwd=tmp_path)
    (kept,) = json.loads(info.stdout)
    assert kept["filled"] == 1.0
    assert kept["facts"]["depth"] == "9"
    assert kept["bytes"] > 0
    assert "freed" in call("cache", "clear", *kept_in).out
    assert json.loads(call("cache", "info", *kept_in, "--json").out) == []


def test_a_strategy_from_scratch_runs(call: Call, tmp_path: Path) -> None:
    assert serbench("new-strategy", "my-own", cwd=tmp_path).returncode == 0
    done = call("run", "my-own", "--plugin", "my_own.py", *SMALL)
    assert done.code == 0, done.error
    assert "ok          my-own  seed 0" in done.out


def test_a_head_from_scratch_is_tried_with_a_strategy_that_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first that learns the head alone, which is the quickest, whatever its name."""
    strategy.discover()
    probing = dataclasses.replace(strategy.find("frozen"), name="probing")
    monkeypatch.setattr(strategy, "entries", lambda: iter([strategy.find("full"), probing]))
    cli.new_head("my-own", str(tmp_path))
    assert "serbench run probing+cache --head my-own" in capsys.readouterr().out


@pytest.mark.data
def test_emodb_by_its_folder_is_marked_as_derived(call: Call, emodb: Path) -> None:
    done = call("run", "frozen", *SMALL, "--corpus", f"emodb={emodb}")
    assert done.code == 0, done.error
    assert "[derived]" in done.out
    (row,) = json.loads(call("rank", "--json").out)
    assert row["derived"] is True
    assert row["corpus"] == "emodb"
