"""One run as a page that a person reads: how it ended, what it cost, where it was made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from serbench.harness.console import number, say, sure, table
from serbench.harness.metrics import ON_PLANE, SCORED, count, several, size
from serbench.harness.plan import named

__all__ = ["facts", "print_run"]

Run = Mapping[str, Any]
Facts = Iterable[tuple[str, str]]
ENDS = ("", "_told", "_true")
"""Of the names of distances, by what is told who rated, and what the distance is from."""
SPREAD = {metric for key, (metric, _) in SCORED.items() if not key.startswith("ccc")}
"""Scores of distributions and of single annotators, which have tables of their own."""


def print_run(run: Run, row: Run | None) -> None:
    """Print a run from `queries.run`, and what its row of the ranking says of it, if it has one."""
    name = named(run["label"], run["head"])
    say(f"run {run['id']}: {name}, seed {run['seed']}{_which(run)}: {run['status']}")
    if run["message"]:
        say(f"  {run['message']}")
    for note in run["notes"] or ():
        say(f"  note: {note}")
    for title, its in facts(run, row).items():
        say()
        table((title, ""), its)
    _phases(run["phases"])
    final = [score for score in run["scores"] if score["epoch"] is None]
    _scores([score for score in final if score["metric"] not in SPREAD])
    for corpus in dict.fromkeys(score["corpus"] for score in final):
        _distances(corpus, [score for score in final if score["corpus"] == corpus])
        _annotators(corpus, run)
    if run["traceback"]:
        say()
        say(run["traceback"])


def facts(run: Run, row: Run | None) -> dict[str, list[tuple[str, str]]]:
    """What there is to say of a run besides its phases and scores: name and text, by section.

    Args:
        run: from `queries.run`
        row: its row of the ranking, if it has one
    """
    sections: dict[str, Facts] = {
        "asked for": _asked(run),
        "time": (*_time(run), *_standing(run, row)),
        "memory": _memory(run),
        "compute": (*_compute(run), *_gpu(run)),
        "made by": _provenance(run),
    }
    return {title: list(its) for title, its in sections.items()}


def _which(run: Run) -> str:
    fold = f", fold {run['fold']}" if run["fold"] else ""
    return fold + (f", repeat {run['repeat']}" if run["repeat"] else "")


def _asked(run: Run) -> Iterable[tuple[str, str]]:
    yield "backbone", f"{run['backbone']} ({run['init']} weights, {run['backbone_hash']})"
    yield (
        "corpus",
        str(run["corpus"]) + _flags(run, "synthetic", "derived", "cost_only"),
    )
    if run["elsewhere"]:
        yield "also tested on", ", ".join(map(_other, run["elsewhere"]))
    if run["enrol"]:
        yield "ratings to enrol by", str(run["enrol"])
    yield "strategy", _pairs(run["config"]) or "no settings"
    yield "head", " ".join((run["head"].partition(":")[0], _pairs(run["head_config"]))).strip()
    yield "training", _pairs(run["training"])
    yield (
        "parameters",
        f"{count(run['trainable_params'])} trained in the backbone, "
        f"{count(run['head_params'])} in the head, {count(run['total_params'])} in all",
    )
    yield "frozen prefix", f"{number(run['frozen_depth'], 'd')} of {run['stages'] or '–'} stages"


def _other(corpus: Run) -> str:
    return str(corpus["name"]) + _flags(corpus, "synthetic", "derived")


def _flags(told: Run, *names: str) -> str:
    return "".join(f" [{name.replace('_', ' ')}]" for name in names if told[name])


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items())


def _time(run: Run) -> Iterable[tuple[str, str]]:
    cold = [p["wall_s"] for p in run["phases"] if p["phase"] == "train" and p["cold"]]
    epoch = f"{number(run['epoch_s'], '.3f')} s warm (median)"
    yield "epoch", epoch + (f", {cold[0]:.3f} s cold" if cold else "")
    yield "throughput", f"{number(run['audio_s_per_s'], '.1f')} s of audio a second{_padding(run)}"
    yield "waiting for data", f"{number(run['data_wait_s'], '.3f')} s of a warm epoch"
    yield "whole run", f"{number(run['run_s'], '.1f')} s{_start(run)}"
    if run["cached"]:
        fill_s = run["cache_fill_s"]
        found = "found filled, if in part" if run["status"] == "ok" else "filled in – s"
        filled = found if fill_s is None else f"filled in {fill_s:.2f} s"
        yield "cache", f"{size(run['cache_bytes'])}, {filled}"


def _padding(run: Run) -> str:
    trained = [p for p in run["phases"] if p["phase"] == "train" and p["padded_audio_s"]]
    padded = sum(p["padded_audio_s"] for p in trained)
    return f"; {1 - sum(p['audio_s'] for p in trained) / padded:.1%} padding" if padded else ""


def _start(run: Run) -> str:
    return "" if run["start_s"] is None else f", its process started in {run['start_s']:.2f} s"


def _standing(run: Run, row: Run | None) -> Iterable[tuple[str, str]]:
    if row is None:
        return
    if row["speedup_vs_full"]:
        saved = f"{row['time_saved_vs_full']:.1%} of its time saved"
        yield "all in fp32, uncached", f"its row {row['speedup_vs_full']:.3g}x as fast, {saved}"
    if run["cached"]:
        paid = row["break_even_epoch"]
        yield (
            "break-even",
            f"after {several(paid, 'epoch')}" if paid else "never, or not known",
        )
    yield "rank", f"{number(row['rank'], 'd')}, its row's of {several(row['runs'], 'seed')}"


def _memory(run: Run) -> Iterable[tuple[str, str]]:
    yield (
        "peaks in training",
        f"host {size(run['peak_host_bytes'])} resident, "
        f"{size(run['peak_host_anonymous_bytes'])} anonymous",
    )
    if run["peak_vram_bytes"] is not None:
        yield (
            "",
            f"GPU {size(run['peak_vram_bytes'])} allocated, {size(run['peak_reserved_bytes'])} "
            f"reserved, {size(run['peak_process_vram_bytes'])} by NVML "
            f"({run['process_vram_source'] or 'not told'})",
        )
    yield (
        "independent of device",
        f"weights {size(run['weight_bytes'])}, gradients {size(run['gradient_bytes'])}, "
        f"optimiser {size(run['optimizer_bytes'])}",
    )
    yield "saved activations", size(run["saved_activation_bytes"]) + _batch(run)


def _batch(run: Run) -> str:
    utterances = run["step_utterances"]
    if not utterances:
        return ""
    return f" for a batch of {utterances} × {run['step_audio_s'] / utterances:.2f} s"


def _compute(run: Run) -> Iterable[tuple[str, str]]:
    yield "a step", f"{_scaled(run['flops_per_step'])}FLOP{_batch(run)}"
    yield (
        "utilisation",
        f"{number(run['utilisation'], '.1%')} of {_scaled(run['matmul_flops_per_s'])}FLOP/s, "
        f"the matmul peak here in {run['precision']}",
    )


def _scaled(value: float | None) -> str:
    if value is None:
        return "– "
    for unit in ("", "k", "M", "G"):
        if value < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} T"


def _gpu(run: Run) -> Iterable[tuple[str, str]]:
    train = [phase for phase in run["phases"] if phase["phase"] == "train"]
    if run["energy_j"] is not None:
        yield "energy", f"{run['energy_j']:.0f} J of the whole GPU in a warm epoch"
    hottest = _extreme(max, train, "gpu_temperature_c")
    slowest = _extreme(min, train, "gpu_clock_hz")
    if hottest is not None or slowest is not None:
        told = {phase["gpu_throttled"] for phase in train} - {None}
        held = ", ".join(sorted(told - {""})) or ("nothing" if told else "not told")
        clock = number(slowest and slowest / 1e6, ".0f")
        yield (
            "GPU",
            f"up to {number(hottest, 'd')} °C, down to {clock} MHz; held back by: {held}",
        )
    if run["gpu_others"] is not None:
        yield "others on the GPU", f"{run['gpu_others']} ({size(run['gpu_other_bytes'])})"


def _extreme(choose: Callable[[Iterable[int]], int], phases: Sequence[Run], key: str) -> int | None:
    values = [phase[key] for phase in phases if phase[key] is not None]
    return choose(values) if values else None


def _provenance(run: Run) -> Iterable[tuple[str, str]]:
    machine, software = run["machine"], run["environment"]
    yield (
        "machine",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['gpu'] or 'no GPU'}; "
        f"run on {run['device']}",
    )
    names = ("serbench", "python", "torch", "transformers", "peft")
    yield "versions", ", ".join(f"{name} {software[name] or '–'}" for name in names)
    yield "threads", str(software["threads"] or "torch's own choice, one a core")
    commit = software["commit"] or "an installed package"
    yield "commit", commit + (", changed" if software["dirty"] else "")
    place = "" if run["position"] is None else f", number {run['position'] + 1} of its command"
    yield "started", f"{run['started_at']}{place}"
    yield "fingerprint", f"{run['fingerprint']} (protocol {run['protocol']})"
    yield "command", run["command"]


def _phases(phases: Sequence[Run]) -> None:
    columns = {
        "phase": [p["phase"] for p in phases],
        "epoch": [_epoch(p) for p in phases],
        "wall s": [number(p["wall_s"], ".3f") for p in phases],
        "device s": [number(p["device_s"], ".3f") for p in phases],
        "waited s": [number(p["data_wait_s"], ".3f") for p in phases],
        "audio s": [number(p["audio_s"], ".1f") for p in phases],
        "padded s": [number(p["padded_audio_s"], ".1f") for p in phases],
        "loss": [number(p["loss"], ".4f") for p in phases],
        "anonymous": [size(p["peak_host_anonymous_bytes"]) for p in phases],
        "VRAM": [size(p["peak_vram_bytes"]) for p in phases],
        "energy J": [number(p["energy_j"], ".0f") for p in phases],
    }
    filled = {name: cells for name, cells in columns.items() if set(cells) - {"–"}}
    say()
    table(tuple(filled), zip(*filled.values(), strict=True))


def _epoch(phase: Run) -> str:
    epoch = "" if phase["epoch"] is None else str(phase["epoch"])
    return f"{epoch} cold" if phase["cold"] else epoch


def _scores(final: Sequence[Run]) -> None:
    if not final:
        return
    say()
    table(
        ("corpus", "split", "measure", "dimension", "value", "95 % from", "to"),
        [
            (
                *(s[key] for key in ("corpus", "split", "metric", "dimension")),
                *(number(s[key], ".4f") for key in ("value", "low", "high")),
            )
            for s in final
        ],
    )


def _distances(corpus: str, final: Sequence[Run]) -> None:
    """Of the rated distributions from the predicted ones, those predicted being told, the true."""
    found = {(score["metric"], score["dimension"]): score for score in final}
    names = [key for key in found if key[0] in ("tvd", "jsd")]
    if not names:
        return
    say()
    table(
        (corpus, "not told", "told who rated", "from the true ones"),
        [
            (
                " ".join((metric.upper(), *([] if dimension == ON_PLANE else [dimension]))),
                *(_distance(found.get((metric + end, dimension))) for end in ENDS),
            )
            for metric, dimension in names
        ],
    )


def _distance(score: Run | None) -> str:
    return "–" if score is None else sure(score["value"], score["low"], score["high"])


def _annotators(corpus: str, run: Run) -> None:
    """How the CCC of single annotators is spread."""
    lines = [
        (f"{found['dimension']}{word}", found["annotators"], found["ratings"], found[key])
        for found in run["annotators"]
        if found["corpus"] == corpus
        for key, word in (("ccc", ""), ("ccc_told", " told"))
        if found[key] is not None
    ]
    if not lines:
        return
    say()
    table(
        (corpus, "people", "ratings", "mean", "lowest", "25 %", "median", "75 %", "highest"),
        [
            (name, str(annotators), ratings, *(number(value, ".3f") for value in spread))
            for name, annotators, ratings, spread in lines
        ],
    )
    say(
        "CCC of each annotator with at least "
        f"{run['training']['least_ratings']} ratings of the test split"
    )
