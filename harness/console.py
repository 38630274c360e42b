"""What a person, or a script, sees in the terminal."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from serbench.harness.metrics import (
    METRICS,
    RANKINGS,
    count,
    folds_told,
    noise_sentence,
    several,
    size,
    unranked_sentence,
    written,
)
from serbench.harness.plan import Spec
from serbench.harness.results import Message, Result
from serbench.harness.results import Progress as Step

if TYPE_CHECKING:
    from serbench.harness.corpora.checking import Report
    from serbench.harness.corpora.summary import Summary
    from serbench.leaderboard.comparison import Comparison, Side

__all__ = [
    "RunReport",
    "comparison_page",
    "corpus_page",
    "counted",
    "heading",
    "number",
    "print_json",
    "ranking_table",
    "say",
    "sure",
    "table",
]


def say(text: str = "") -> None:
    """Print a line; what looks like markup stays as it is."""
    console = Console(highlight=False)
    # A terminal breaks lines between words; a file or a pipe gets them whole.
    console.print(Text(text), soft_wrap=not console.is_terminal)


def print_json(value: Any, *, compact: bool = False) -> None:
    """Print JSON: one line if compact, for streams of events."""
    sys.stdout.write(json.dumps(value, indent=None if compact else 1, default=str) + "\n")
    sys.stdout.flush()


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
    """Print rows under headings, as wide as the terminal."""
    drawn = Table(title=title, title_justify="left", box=None, pad_edge=False, show_edge=False)
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    Console(highlight=False).print(drawn)


NAME_WIDTH = 18
"""What eighty columns leave for a spec string beside the figures, at least."""
PARTS = re.compile(r"(?<=[:,])|(?=@|\+\D)")
"""Where a spec string may be broken: `tasks=1+3` is one word."""
NAME = "strategy"
MAIN = ("ccc_activation", "ccc_valence")
"""Scores that always have a column."""


class RunReport:
    """Tells how the runs go: bars on a terminal, a line a run elsewhere, events as JSON."""

    def __init__(self, total: int, as_json: bool) -> None:
        self._total, self._json, self._done = total, as_json, 0
        self._console = Console(highlight=False)
        self._bars = self._console.is_terminal and not as_json
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._bars,
        )
        self._all = self._progress.add_task("all runs", total=total)
        self._one = self._progress.add_task("", total=1)

    def __enter__(self) -> RunReport:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def started(self, spec: Spec) -> None:
        """A run begins."""
        self._progress.reset(
            self._one,
            total=spec.training.epochs,
            description=f"{spec.name} {_seed(spec)}",
        )
        if self._json:
            print_json({"event": "started", **_named(spec)}, compact=True)

    def heard(self, spec: Spec, message: Message) -> None:
        """A run said something."""
        if not isinstance(message, Step) or message.phase != "train":
            return
        epochs = message.epoch + message.done / message.total
        self._progress.update(self._one, completed=round(epochs, 2))
        self._progress.update(
            self._all, completed=round(self._done + epochs / spec.training.epochs, 2)
        )

    def ended(self, spec: Spec, result: Result, run_id: int) -> None:
        """A run is over and stored."""
        self._done += 1
        self._progress.update(self._all, completed=self._done)
        wall_s = sum(phase.wall_s for phase in result.phases)
        if self._json:
            print_json(
                {
                    "event": "ended",
                    "run": run_id,
                    **_named(spec),
                    "status": result.status,
                    "message": result.message,
                    "wall_s": round(wall_s, 3),
                },
                compact=True,
            )
            return
        ccc = _final(result, spec.corpus_name)
        outcome = f"{wall_s:.1f} s{'  ' + ccc if ccc else ''}"
        line = f"{result.status:<11} {spec.name}  {_seed(spec)}  "
        line += outcome if result.status == "ok" else (result.message or "")
        self._progress.console.print(Text(line), soft_wrap=not self._console.is_terminal)
        tested = [f"{_final(result, each.name)} on {each.name}" for each in spec.elsewhere]
        for note in (*(tested if result.status == "ok" else ()), *result.notes):
            self._progress.console.print(Text(f"            {note}"), soft_wrap=True)


def _final(result: Result, corpus: str) -> str:
    """The CCC of each dimension on the test split of a corpus; empty for a run without scores."""
    scores = [
        f"{score.dimension} {score.value:.3f}"
        for score in result.scores
        if score.epoch is None and score.metric == "ccc" and score.corpus == corpus
    ]
    return f"CCC {', '.join(scores)}" if scores else ""


def _named(spec: Spec) -> dict[str, Any]:
    return {
        "label": spec.label,
        "head": spec.head.label,
        "seed": spec.seed,
        "fold": spec.fold,
        "repeat": spec.repeat,
    }


def _seed(spec: Spec) -> str:
    parts = ("seed", spec.seed), ("fold", spec.fold), ("repeat", spec.repeat or None)
    return " ".join(f"{name} {value}" for name, value in parts if value is not None)


def ranking_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print configurations in their order; a table for each group of rows that compare."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["group"], []).append(row)
    for members in groups.values():
        say()
        say(heading(members[0]))
        _ranked(members)
        for told in (unranked_sentence(members), noise_sentence(members[0])):
            if told:
                say(told)
    if groups:
        say()
        say(_legend(rows))


def _legend(rows: Sequence[Mapping[str, Any]]) -> str:
    by = RANKINGS[rows[0]["ranked_by"]]
    said = ["act, val: CCC on the test split"]
    shown = _scores(rows)
    if "tvd" in shown:
        said.append("TVD: between rated and predicted distribution, lower is better")
    if "annotator_ccc" in shown:
        said.append("each: CCC of single annotators, mean of act and val")
    if rows[0]["ranked_by"] != "ccc":
        said.append(f"ranked by {by.label}, {'higher' if by.higher_is_better else 'lower'} first")
    scored = [row for row in rows if not row["cost_only"]]
    if scored and all(by.of(row) is None for row in scored):
        said.append(f"no row has {by.label}")
    return " · ".join(
        (
            *said,
            "# shares a number where that cannot be told apart "
            "(95 %, paired by speaker and seed, and by more than noise; cost only: by seconds)",
            f"* on the Pareto front of {by.label}, time and memory",
        )
    )


def heading(row: Mapping[str, Any]) -> str:
    """The setting of rows that compare."""
    training = row["training"]
    facts = (
        f"{row['backbone']} ({row['init']} weights)",
        " in ".join(part for part in (row["corpus"], folds_told(row)) if part),
        *([f"tested on {row['tested_on']}"] if row["tested_on"] != row["corpus"] else []),
        f"{several(training['epochs'], 'epoch')} of batches of {training['batch_size']}",
        *(f"{key}={training[key]}" for key in ("limit",) if training[key] is not None),
        f"{row['device']} of machine {row['machine']}",
    )
    flags = (name for name in ("synthetic", "derived", "cost_only") if row[name])
    return " · ".join(facts) + "".join(f"  [{flag.replace('_', ' ')}]" for flag in flags)


def _ranked(rows: Sequence[Mapping[str, Any]]) -> None:
    columns = _columns(rows)
    console = Console(highlight=False)
    fixed = [_width(*column) for column in columns.items() if column[0] != NAME]
    left = {gap: console.width - sum(fixed) - gap * len(fixed) for gap in (2, 1)}
    gap = 2 if left[2] >= NAME_WIDTH else 1
    width = max(left[gap], NAME_WIDTH)
    columns[NAME] = [_broken(name, width) for name in columns[NAME]]
    drawn = Table(box=None, pad_edge=False, show_edge=False, padding=(0, gap, 0, 0))
    for heading in columns:
        if heading == NAME:
            drawn.add_column(heading, overflow="fold")
        else:
            drawn.add_column(heading, justify="right", no_wrap=True)
    for cells in zip(*columns.values(), strict=True):
        drawn.add_row(*map(Text, cells))
    console.print(drawn)


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Cells by heading."""
    scores = {
        ranking.short.replace(" ", "\n"): [number(ranking.of(row), ".3f") for row in rows]
        for ranking in (RANKINGS[name] for name in _scores(rows))
    }
    speed = [_speed(row["speedup_vs_full"]) for row in rows]
    memory = [row["peak_vram_bytes"] or row["peak_host_anonymous_bytes"] for row in rows]
    return {
        "#": [number(row["rank"], "d") + ("*" if row["pareto"] else " ") for row in rows],
        NAME: [str(row["name"]) for row in rows],
        **scores,
        "s/epoch": [number(row["epoch_s"], ".2f") for row in rows],
        **({"speed": speed} if set(speed) != {"–"} else {}),
        "memory": [size(each) for each in memory],
        "learns": [count(row["trainable_params"]) for row in rows],
        "runs": [f"{row['runs']}{_failed(row)}" for row in rows],
    }


def _failed(row: Mapping[str, Any]) -> str:
    return f" -{row['failed']}" if row["failed"] else ""


def _scores(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which of `RANKINGS` have a column: CCC, and what rows are ranked by or some row has.

    Of distances, and of scores by annotator, the one that rows are ranked by stands for all.
    """
    by = rows[0]["ranked_by"]
    family = by.partition("_")[0]
    others = {"annotator": "annotator_ccc", "distance": "tvd"}
    if by not in ("ccc", *MAIN):
        others["distance" if family in ("tvd", "jsd") else family] = by
    return [
        *MAIN,
        *(n for n in others.values() if any(RANKINGS[n].of(row) is not None for row in rows)),
    ]


def _speed(times: float | None) -> str:
    return "–" if times is None else f"{times:.3g}x"


def _width(heading: str, cells: Iterable[str]) -> int:
    return max(map(len, (*heading.split("\n"), *cells)))


def _broken(name: str, width: int) -> str:
    """A name that is too wide goes on in further lines, each of whole parts of its spec."""
    lines = [""]
    for part in PARTS.split(name):
        if lines[-1] and len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def number(value: Any, form: str) -> str:
    """A figure in a format; a dash for what was not measured."""
    return "–" if value is None else format(value, form)


def comparison_page(comparison: Comparison) -> None:
    """Print two rows, or two runs, beside each other."""
    say(heading(vars(comparison)))
    for name, side in (("A", comparison.a), ("B", comparison.b)):
        say(f"{name}  {side.name}  ({_runs(side)})")
    told = (*comparison.ccc, *comparison.distances, *comparison.annotators)
    if told:
        say()
        _beside(
            ("score", "A (95 %)", "B (95 %)", "A - B (95 %)", "better"),
            [
                (
                    RANKINGS[each.key].short,
                    sure(each.a, each.a_low, each.a_high),
                    sure(each.b, each.b_low, each.b_high),
                    sure(each.difference, each.difference_low, each.difference_high, "+.3f"),
                    each.better or "neither",
                )
                for each in told
            ],
            gap=1,
        )
    if comparison.annotators:
        say("each: CCC of single annotators; told: knowing who rated")
    say()
    _beside(
        ("cost", "A", "B", "A / B", ""),
        [
            (
                METRICS[cost.key].label,
                written(cost.key, cost.a),
                written(cost.key, cost.b),
                number(cost.ratio, ".2f"),
                "within the noise" if cost.tie else "",
            )
            for cost in comparison.costs
        ],
    )
    say()
    for note in comparison.notes:
        say(note)


def _runs(side: Side) -> str:
    ending = "s" if len(side.run_ids) > 1 else ""
    repeat = f", repeat {side.repeat}" if side.repeat else ""
    return (
        f"run{ending} {', '.join(map(str, side.run_ids))}; "
        f"seed{ending} {', '.join(map(str, side.seeds))}{repeat}"
    )


def sure(value: float | None, low: float | None, high: float | None, form: str = ".2f") -> str:
    """A score with its interval, whose ends are in a format of their own."""
    told = number(value, "+.3f" if "+" in form else ".3f")
    return told if low is None or high is None else f"{told} ({low:{form}}, {high:{form}})"


def _beside(columns: Sequence[str], rows: Iterable[Sequence[str]], *, gap: int = 2) -> None:
    drawn = Table(box=None, pad_edge=False, show_edge=False, padding=(0, gap, 0, 0))
    for i, column in enumerate(columns):
        drawn.add_column(column, justify="right" if i else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    Console(highlight=False).print(drawn)


BARS = "▁▂▃▄▅▆▇█"


MOST_SILENT = 10
"""Silent files that are named."""


def corpus_page(report: Report) -> None:
    """Print what a sound corpus holds."""
    summary, decoded = report.summary, report.decoded
    assert summary is not None
    flags = "".join(f"  [{flag}]" for flag in ("synthetic", "derived") if getattr(summary, flag))
    say(f"{summary.name} is well{flags}")
    facts = {
        "utterances": f"{summary.utterances:,} ({_parts(summary.splits)})",
        "audio": _lengths(summary),
        "speakers": f"{summary.speakers:,}{_unknown(summary)}",
        "folds": f"{summary.folds} of its own" if summary.folds else "none of its own",
        "annotators": _raters(summary),
        "decoded": None if decoded is None else f"all {decoded.files:,}, none damaged",
        "licence": summary.licence,
        "citation": summary.citation,
        "notes": summary.notes,
    }
    table(("", ""), [(name, fact) for name, fact in facts.items() if fact])
    say()
    _beside(
        ("dimension", "labelled", "lowest", "mean", "highest", "histogram", "CCC", "alpha"),
        [
            (
                dimension,
                f"{label.labelled:,}",
                number(label.minimum, ".2f"),
                number(label.mean, ".2f"),
                number(label.maximum, ".2f"),
                _sparkline(label.histogram),
                number(label.agreement, ".2f"),
                number(label.alpha, ".2f"),
            )
            for dimension, label in summary.labels.items()
        ],
    )
    if any(label.pairs for label in summary.labels.values()):
        say()
        say(_agreement(summary))
        say("alpha: Krippendorff's, of interval data")
    silent = () if decoded is None else decoded.silent
    for name in silent[:MOST_SILENT]:
        say(f"nothing is to be heard in {name}")
    if len(silent) > MOST_SILENT:
        say(f"nor in {len(silent) - MOST_SILENT:,} more")
    for path in report.pictures:
        say(f"wrote {path}")


def _parts(splits: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {split}" for split, count in splits.items())


def _lengths(summary: Summary) -> str:
    lengths = summary.durations
    longer = f"{lengths.longer:,}" if lengths.longer else "none"
    return (
        f"{summary.hours:,.2f} h; {lengths.minimum_s:.2f} to {lengths.maximum_s:.2f} s, median "
        f"{lengths.median_s:.2f} s; {longer} longer than {lengths.cut_s:g} s"
    )


def _unknown(summary: Summary) -> str:
    unknown = summary.unknown_speaker
    return f", and {several(unknown, 'utterance')} of unknown ones" if unknown else ""


def _raters(summary: Summary) -> str:
    mean = summary.ratings_per_utterance
    if mean is None:
        return "none"
    many = "not told apart" if summary.annotators is None else f"{summary.annotators:,}"
    return f"{many}, {mean:.1f} an utterance; {several(summary.ratings, 'rating')}"


def _agreement(summary: Summary) -> str:
    pairs = max(label.pairs for label in summary.labels.values())
    some = any(label.sampled for label in summary.labels.values())
    which = f"{pairs:,}{' sampled' if some else ''} pairs of raters"
    return f"CCC: mean of {which} who share at least 3 utterances"


def _sparkline(counts: Sequence[int]) -> str:
    most = max(counts) or 1
    # What is not empty is never shown as if it were.
    return "".join(BARS[-(-count * (len(BARS) - 1) // most)] if count else " " for count in counts)


@contextlib.contextmanager
def counted(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar in the terminal while something long goes on; call what it gives with done and all."""
    console = Console(stderr=True, highlight=False)
    with Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
