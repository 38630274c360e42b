"""Rows and comparisons as people read them: which columns, in which unit, with which marks."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from serbench.harness.metrics import METRICS, RANKINGS, SCORED, folds_told, written
from serbench.leaderboard.comparison import Comparison
from serbench.leaderboard.ranking import Row
from serbench.leaderboard.settings import Setting

__all__ = ["SCALES", "costs", "distances", "marks", "scaled_title", "scores", "setting", "table"]

FIGURES = (
    "epoch_s",
    "speedup_vs_full",
    "run_s",
    "cache_fill_s",
    "break_even_epoch",
    "audio_s_per_s",
    "peak_vram_bytes",
    "peak_host_anonymous_bytes",
    "saved_activation_bytes",
    "utilisation",
    "energy_j",
    "trainable_params",
)
FIRST = ("ccc_activation", "ccc_valence", "ccc_dominance", "tvd")
"""Scores that stand before the figures, as does what rows are ranked by, with their intervals."""
SCALES = {
    "peak_vram_bytes": (2.0**30, "GiB"),
    "peak_host_bytes": (2.0**30, "GiB"),
    "peak_host_anonymous_bytes": (2.0**30, "GiB"),
    "saved_activation_bytes": (2.0**30, "GiB"),
    "cache_bytes": (2.0**30, "GiB"),
    "trainable_params": (1e6, "millions"),
    "total_params": (1e6, "millions"),
}
"""What a stored figure is divided by to be read, and the name of the unit that results."""


def scaled_title(key: str) -> str:
    """Label and unit of a measure, in the unit that people read it in."""
    metric = METRICS[key]
    unit = SCALES[key][1] if key in SCALES else metric.unit
    return f"{metric.label} ({unit})" if unit not in metric.label else metric.label


def marks(row: Row) -> str:
    """What a reader must know before believing a row; empty for most."""
    said = [
        (folds_told(vars(row)), row.folds is not None),
        ("synthetic data", row.synthetic),
        ("derived labels", row.derived),
        ("cost only", row.cost_only),
        ("stale: the strategy has changed since", row.stale),
        (f"{row.failed} failed ({row.failure})", row.failed > 0),
    ]
    return "; ".join(text for text, holds in said if holds)


def setting(row: Row | Setting) -> str:
    """What sets a row's group apart from others on the same machine, corpus and backbone."""
    parts = {"folds": row.folds, "fold_numbers": row.fold_numbers}
    training = ", ".join(f"{key} {value}" for key, value in row.training.items())
    scores = "cost only, " if row.cost_only else ""
    folds = f", {told}" if (told := folds_told(parts)) else ""
    return f"{scores}on {row.device}{folds}, {row.init} weights; {training}"


def table(rows: Sequence[Row]) -> pd.DataFrame:
    """One line a row, numbers as numbers so that they sort; columns that all lack are left out."""
    lines = [_line(row) for row in rows]
    filled = {name for line in lines for name, value in line.items() if value not in (None, "")}
    columns = [name for name in lines[0] if name in filled or name == "Rank"]
    frame: pd.DataFrame = pd.DataFrame(lines, columns=columns)
    return frame


def _line(row: Row) -> dict[str, object]:
    line: dict[str, object] = {
        "Rank": row.rank,
        "Configuration": row.name,
        "Notes": marks(row),
        "Front": "●" if row.pareto else "",
    }
    others = {key: getattr(row, key) for key in SCORED}
    for key in dict.fromkeys((*RANKINGS[row.ranked_by].keys, *FIRST)):
        line[scaled_title(key)] = others.pop(key)
        line[f"{METRICS[key].label} 95 %"] = _interval(
            getattr(row, f"{key}_low"), getattr(row, f"{key}_high")
        )
    for key in FIGURES:
        value = getattr(row, key)
        divisor = SCALES[key][0] if key in SCALES else 1.0
        line[scaled_title(key)] = None if value is None else value / divisor
    return {
        **line,
        "Seeds": row.runs,
        **{scaled_title(key): value for key, value in others.items()},
    }


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.3f} to {high:.3f}"


def scores(comparison: Comparison) -> pd.DataFrame:
    """One line a score: both, their difference, and which is better."""
    frame: pd.DataFrame = pd.DataFrame(
        [
            {
                "Score": RANKINGS[each.key].label,
                "A": each.a,
                "A 95 %": _interval(each.a_low, each.a_high),
                "B": each.b,
                "B 95 %": _interval(each.b_low, each.b_high),
                "A - B": each.difference,
                "A - B 95 %": _interval(each.difference_low, each.difference_high),
                "Better": each.better or "cannot be told apart",
            }
            for each in (*comparison.ccc, *comparison.distances, *comparison.annotators)
        ]
    )
    return frame


def distances(utterances: pd.DataFrame, utterance: str | None) -> str:
    """How far an utterance's distributions are from each other, or those of all in the mean."""
    chosen = utterances if utterance is None else utterances[utterances["utterance"] == utterance]
    told = [
        f"{METRICS[key].label} {chosen[key].mean():.3f}"
        for key in SCORED
        if key in chosen and chosen[key].notna().all()
    ]
    raters = chosen["raters"].mean()
    who = f"{raters:.1f} raters an utterance" if utterance is None else f"{raters:.0f} raters"
    return f"{who}; {', '.join(told)}. Of two distributions that are the same all are 0."


def costs(comparison: Comparison) -> pd.DataFrame:
    """One line a cost: both, their ratio, and whether that is within the noise floor."""
    frame: pd.DataFrame = pd.DataFrame(
        [
            {
                "Cost": METRICS[cost.key].label,
                "A": written(cost.key, cost.a),
                "B": written(cost.key, cost.b),
                "A / B": cost.ratio,
                "Noise": "within the noise" if cost.tie else "",
            }
            for cost in comparison.costs
        ]
    )
    return frame
