"""What a person sees: tables that fit the terminal, numbers that can be read."""

from __future__ import annotations

import dataclasses
import io
import json
from typing import Any

import pytest
from rich.console import Console

from serbench.harness import console
from serbench.harness.console import ranking_table
from serbench.harness.corpora.checking import Report
from serbench.harness.corpora.decoding import Decoded
from serbench.harness.corpora.summary import Durations, LabelSummary, Summary
from serbench.harness.metrics import SCORED, several, size
from serbench.harness.request import Request, plan
from serbench.harness.results import Result
from serbench.leaderboard.comparison import Accuracy, Comparison, Cost, Side

SPEC = plan(Request(specs=("frozen",))).specs[0]


def row(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "backbone": "wav2vec2-base",
        "corpus": "mine",
        "tested_on": "mine",
        "folds": None,
        "fold_numbers": (),
        "head": "consensus",
        "machine": "0123456789ab",
        "group": "g",
        "init": "pretrained",
        "device": "cpu",
        "training": {"epochs": 5, "batch_size": 8, "limit": None},
        "synthetic": False,
        "derived": False,
        "cost_only": False,
        "rank": 1,
        "pareto": True,
        "ccc_activation": 0.6123,
        "ccc_valence": -0.4321,
        "epoch_s": 1234.5,
        "speedup_vs_full": 12.345,
        "peak_vram_bytes": None,
        "peak_host_anonymous_bytes": 12_345_678_901,
        "trainable_params": 21_263_616,
        "runs": 3,
        "failed": 0,
        "noise_pairs": 0,
        "noise_epoch_share": None,
        "noise_run_share": None,
        "noise_ccc": None,
        "noise_tvd": None,
        "ranked_by": "ccc",
        **dict.fromkeys(key for key in SCORED if not key.startswith("ccc")),
        **changes,
    }


@pytest.mark.parametrize("width", [80, 200])
def test_the_ranking_fits_the_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    ranking_table([row("top-layers:layers=3+bf16+cache"), row("lora:rank=16+bf16", failed=2)])
    lines = capsys.readouterr().out.splitlines()
    table = [line for line in lines if "·" not in line]
    assert max(map(len, table)) <= width
    text = "\n".join(lines)
    name = "top-layers:layers=3" if width == 80 else "top-layers:layers=3+bf16+cache"
    assert f" {name} " in text, "broken within a word, or where there is room"
    for shown in ("0.612", "-0.432", "1234.50", "12.3x", "12.3 GB", "21.3M", "3 -2"):
        assert shown in text, f"{shown} is cut off"


def test_what_was_not_measured_is_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    unmeasured = "rank ccc_activation ccc_valence epoch_s speedup_vs_full peak_host_anonymous_bytes"
    nothing = dict.fromkeys(unmeasured.split(" "))
    ranking_table([row("full", **nothing, trainable_params=None, runs=0, failed=1)])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if " full " in line]
    assert line.count("–") == 6
    assert "0.0" not in line


def test_columns_of_what_some_heads_alone_have_are_there_where_a_row_has_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ranking_table([row("full")])
    assert not {"TVD", "each"} & set(_headings(capsys.readouterr().out))
    persons = {"annotator_ccc_activation": 0.5, "annotator_ccc_valence": 0.25}
    measured = row("full@annotators", **persons, tvd=0.1, tvd_told=0.2, runs=12, failed=3)
    ranking_table([row("full"), measured])
    out = capsys.readouterr().out
    assert _headings(out)[2:6] == ["act", "val", "each", "TVD"]
    assert max(len(line) for line in out.splitlines() if "·" not in line) <= 80
    (line,) = [line.split() for line in out.splitlines() if "@annotators" in line]
    assert line[4:6] == ["0.375", "0.100"]
    for shown in ("-0.432", "1234.50", "12.3x", "12.3 GB", "21.3M", "12 -3"):
        assert shown in out, f"{shown} is cut off"
    ranking_table([{**measured, "ranked_by": "tvd_told"}])
    out = capsys.readouterr().out
    assert _headings(out)[2:6] == ["act", "val", "each", "told"]
    assert "0.200" in out
    assert "0.100" not in out
    assert "ranked by TVD told, lower first" in out
    assert "Pareto front of TVD told, time and memory" in out
    assert "no row has" not in out
    ranking_table([row("full", ranked_by="jsd")])
    assert "no row has JSD" in capsys.readouterr().out


def _headings(out: str) -> list[str]:
    return next(line.split() for line in out.splitlines() if "strategy" in line)


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (60, ["top-layers:layers=1+cache@annotators:tasks=1+3,shared=false"]),
        (36, ["top-layers:layers=1+cache", "@annotators:tasks=1+3,shared=false"]),
        (
            20,
            ["top-layers:layers=1", "+cache@annotators:", "tasks=1+3,", "shared=false"],
        ),
    ],
)
def test_long_names_break_between_the_parts_of_a_spec(width: int, lines: list[str]) -> None:
    name = "top-layers:layers=1+cache@annotators:tasks=1+3,shared=false"
    assert console._broken(name, width).splitlines() == lines


def test_rows_that_do_not_compare_are_apart_and_flagged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ranking_table([row("a", group="1"), row("b", group="2", synthetic=True, cost_only=True)])
    text = capsys.readouterr().out
    assert text.count("wav2vec2-base (pretrained weights) · mine") == 2
    assert text.count("5 epochs of batches of 8") == 2
    assert "[synthetic]  [cost only]" in text


def test_one_of_something_is_told_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    training = {"epochs": 1, "batch_size": 8, "limit": None}
    ranking_table([row("a", training=training)])
    assert " · 1 epoch of batches of 8 · " in capsys.readouterr().out
    assert [several(number, "run") for number in (0, 1, 2, 1000)] == [
        "0 runs",
        "1 run",
        "2 runs",
        "1,000 runs",
    ]


def test_the_noise_floor_is_told_below_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    ranking_table([row("full")])
    assert "twice" not in capsys.readouterr().out
    noise = {"noise_epoch_share": 0.0312, "noise_run_share": None, "noise_ccc": 0.0}
    ranking_table([row("full", noise_pairs=3, **noise)])
    assert (
        "The same run twice differed by up to 3.1 % in an epoch's time, 0.000 in CCC (3 pairs): "
        "smaller differences are ties."
    ) in capsys.readouterr().out


def side(name: str, *run_ids: int, repeat: int = 0) -> Side:
    seeds = tuple(range(len(run_ids)))
    return Side(label=name, name=name, run_ids=run_ids, seeds=seeds, repeat=repeat)


COMPARISON = Comparison(
    a=side("top-layers:layers=3+bf16+cache", 4, 5, 6),
    b=side("full", 7, repeat=1),
    group="g", backbone="wav2vec2-base", init="pretrained", corpus="mine", tested_on="mine",
    folds=None, fold_numbers=(),
    training={"epochs": 5, "batch_size": 8, "limit": None}, device="cpu", machine="0123456789ab",
    cost_only=False, synthetic=True, derived=False, test_speakers=12, paired_seeds=(0, 1, 2),
    ccc=(
        Accuracy(
            key="ccc_activation", dimension="activation", a=0.7444, a_low=0.641, a_high=0.829,
            b=0.6123, b_low=0.58, b_high=0.64,
            difference=0.1321, difference_low=0.0202, difference_high=0.2103,
            apart=True,
        ),
        Accuracy(
            key="ccc", dimension="mean",
            a=0.5, a_low=None, a_high=None, b=None, b_low=None, b_high=None,
            difference=None, difference_low=None, difference_high=None, apart=False,
        ),
    ),
    costs=(
        Cost(key="epoch_s", a=1.58, b=1.6, ratio=0.9875, tie=True),
        Cost(key="peak_host_anonymous_bytes", a=633e6, b=None, ratio=None, tie=None),
        Cost(key="trainable_params", a=21_263_616, b=90_170_496, ratio=0.2358, tie=None),
    ),
    distances=(
        Accuracy(
            key="tvd_told", dimension="activation-valence", a=0.6, a_low=0.55, a_high=0.65, b=0.7,
            b_low=0.65, b_high=0.75, difference=-0.1, difference_low=-0.15, difference_high=-0.05,
            apart=True,
        ),
    ),
    annotators=(),
    noise_pairs=0, noise_epoch_share=None, noise_run_share=None, noise_ccc=None, noise_tvd=None,
    notes=("First note.", "Second note."),
)  # fmt: skip


def test_a_comparison_fits_eighty_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    console.comparison_page(COMPARISON)
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if "·" not in line) <= 80
    words = [" ".join(line.split()) for line in lines]
    assert words[1:3] == [
        "A top-layers:layers=3+bf16+cache (runs 4, 5, 6; seeds 0, 1, 2)",
        "B full (run 7; seed 0, repeat 1)",
    ]
    for line in (
        "act 0.744 (0.64, 0.83) 0.612 (0.58, 0.64) +0.132 (+0.020, +0.210) A",
        "mean 0.500 – – neither",
        "TVD told 0.600 (0.55, 0.65) 0.700 (0.65, 0.75) -0.100 (-0.150, -0.050) A",
        "Epoch 1.58 s 1.60 s 0.99 within the noise",
        "Host memory of its own 633 MB – –",
        "Trained 21.3M 90.2M 0.24",
        "First note.",
        "Second note.",
    ):
        assert line in words


def test_a_run_is_told_by_its_seed_and_its_repeat(capsys: pytest.CaptureFixture[str]) -> None:
    for repeat, said in ((0, "seed 2  0.0 s"), (1, "seed 2 repeat 1  0.0 s")):
        spec = dataclasses.replace(SPEC, seed=2, repeat=repeat)
        console.RunReport(1, as_json=False).ended(spec, Result(status="ok"), 1)
        assert f"ok          frozen  {said}" in capsys.readouterr().out
        report = console.RunReport(1, as_json=True)
        report.started(spec)
        report.ended(spec, Result(status="ok"), 1)
        events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [event["repeat"] for event in events] == [repeat, repeat]


def test_names_are_not_markup(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("[red]name[/red]")
    console.table(("a",), [("[bold]b",)])
    out = capsys.readouterr().out
    assert "[red]name[/red]" in out
    assert "[bold]b" in out


@pytest.mark.parametrize(
    ("count", "text"), [(None, "–"), (0, "0 B"), (999, "999 B"), (21_263_616, "21.3 MB")]
)
def test_sizes(count: int | None, text: str) -> None:
    assert size(count) == text


def test_bars_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for terminal in (True, False):
        made = Console(file=io.StringIO(), force_terminal=terminal)
        monkeypatch.setattr(console, "Console", lambda made=made, **_: made)
        report = console.RunReport(2, as_json=False)
        assert report._progress.disable is not terminal
        assert console.RunReport(2, as_json=True)._progress.disable


def checked(summary: Summary, **changes: Any) -> Report:
    nothing = {"findings": (), "decoded": None, "pictures": ()}
    return Report(**{**nothing, "summary": summary, **changes})


def test_what_a_corpus_holds_fits_eighty_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    label = LabelSummary(
        labelled=151_654, minimum=-1.25, mean=4.0321, maximum=7.0,
        histogram=(0, 1, 50_000, 100_000, 0, 0, 0, 0, 0, 653),
        agreement=-0.321, pairs=1_234_567, sampled=True, alpha=0.4321,
    )  # fmt: skip
    summary = Summary(
        name="msp-podcast", utterances=151_654, hours=237.9,
        durations=Durations(minimum_s=1.91, median_s=5.1, maximum_s=11.94, longer=1234, cut_s=12),
        speakers=1403, unknown_speaker=23_456,
        splits={"train": 84_030, "validation": 19_815, "test": 47_809}, folds=5,
        annotators=29_500, ratings=1_061_578, ratings_per_utterance=7.0,
        labels=dict.fromkeys(("activation", "valence", "dominance"), label),
        synthetic=True, derived=True, licence="academic licence " * 6, citation="Doe", notes=None,
    )  # fmt: skip
    silent = tuple(f"{number}.wav" for number in range(12))
    decoded = Decoded(files=151_654, findings=(), silent=silent)
    console.corpus_page(checked(summary, decoded=decoded, pictures=("p.png",)))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    words = [" ".join(line.split()) for line in lines]
    for line in (
        "msp-podcast is well [synthetic] [derived]",
        "utterances 151,654 (84,030 train, 19,815 validation, 47,809 test)",
        "audio 237.90 h; 1.91 to 11.94 s, median 5.10 s; 1,234 longer than 12 s",
        "speakers 1,403, and 23,456 utterances of unknown ones",
        "folds 5 of its own",
        "annotators 29,500, 7.0 an utterance; 1,061,578 ratings",
        "decoded all 151,654, none damaged",
        "activation 151,654 -1.25 4.03 7.00 ▂▅█ ▂ -0.32 0.43",
        "CCC: mean of 1,234,567 sampled pairs of raters who share at least 3 utterances",
        "nothing is to be heard in 9.wav",
        "nor in 2 more",
        "wrote p.png",
    ):
        assert any(line in found for found in words), line
    assert not any("notes" in found for found in words)


def test_a_histogram_shows_even_the_least(capsys: pytest.CaptureFixture[str]) -> None:
    assert console._sparkline((0, 1, 10**6, 500_001)) == " ▂█▅"
    assert console._sparkline((0, 0)) == "  "


def test_long_work_is_counted_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with console.counted("decoding") as tell:
        tell(1, 2)
    assert capsys.readouterr() == ("", "")
    made = Console(file=io.StringIO(), force_terminal=True, width=80)
    monkeypatch.setattr(console, "Console", lambda **_: made)
    with console.counted("decoding") as tell:
        tell(1, 2)
    assert isinstance(made.file, io.StringIO)
    assert "1/2" in made.file.getvalue()
