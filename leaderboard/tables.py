"""Rows and comparisons as people read them: which columns, in which unit, with which marks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pandas as pd

from serbench.harness.metrics import METRICS, RANKINGS, SCORED, folds_told, written
from serbench.leaderboard.comparison import Comparison
from serbench.leaderboard.ranking import Row
from serbench.leaderboard.settings import Setting

__all__ = [
    "CURVE",
    "FIXED",
    "NAME",
    "NOTES",
    "OWN",
    "SCALES",
    "best_first",
    "by_group",
    "costs",
    "distances",
    "explanations",
    "formats",
    "heading",
    "known_distances",
    "marks",
    "of_all_groups",
    "said_of_all",
    "scaled_title",
    "scores",
    "setting",
    "table",
    "usual",
]

FIGURES = (
    "epoch_s",
    "speedup_vs_full",
    "run_s",
    "cache_fill_s",
    "break_even_epoch",
    "audio_s_per_s",
    "peak_vram_bytes",
    "peak_host_anonymous_bytes",
    "peak_host_bytes",
    "peak_reserved_bytes",
    "peak_process_vram_bytes",
    "saved_activation_bytes",
    "optimizer_bytes",
    "utilisation",
    "data_wait_s",
    "energy_j",
    "flops_per_step",
    "trainable_params",
    "total_params",
)
USUAL_FIGURES = (
    "epoch_s",
    "speedup_vs_full",
    "run_s",
    "cache_fill_s",
    "peak_vram_bytes",
    "peak_host_anonymous_bytes",
    "trainable_params",
)
"""What is shown unless a reader asks for more."""
FIRST = ("ccc_activation", "ccc_valence", "ccc_dominance", "tvd")
"""Scores that stand before the figures, as does what rows are ranked by, with their intervals."""
READ_IN = {"bytes": (2.0**30, "GiB"), "parameters": (1e6, "millions")}
SCALES = {key: READ_IN[metric.unit] for key, metric in METRICS.items() if metric.unit in READ_IN}
"""What a stored figure is divided by to be read, and the name of the unit that results."""
NAME, NOTES, FRONT, SEEDS = "Configuration", "Notes", "Front", "Seeds"
OWN = "Own score"
CURVE = "Validation CCC"
FIXED = ("Rank", NAME, OWN)
"""Columns that a reader cannot hide."""
INTERVAL = "95 %"
HELP = {
    "Rank": (
        "Place in what rows are ranked by, among all rows of this comparison; rows that cannot be "
        "told apart share one."
    ),
    NAME: "Strategy and its settings, precision, cache, and after the @ the head.",
    OWN: "Mean of your weighted measures, each from 0 for the worst row to 1 for the best.",
    NOTES: "What to know before believing a row, and how its failed runs ended.",
    FRONT: "● where no other row is as good in score, time and memory, and better in one of them.",
    CURVE: (
        "CCC on the validation split after each epoch: mean of activation and valence and over "
        "seeds. All lines are drawn on one scale."
    ),
    SEEDS: "Seeds whose runs ended well: what scores are the mean over.",
}
"""What columns mean that are no measure."""
BANNERS = {"synthetic": "synthetic data", "derived": "derived labels", "cost_only": "cost only"}
"""Marks by the flags of rows of which pages have a banner."""


def scaled_title(key: str) -> str:
    """Label and unit of a measure, in the unit that people read it in."""
    metric = METRICS[key]
    unit = SCALES[key][1] if key in SCALES else metric.unit
    return f"{metric.label} ({unit})" if unit not in metric.label else metric.label


def said_of_all(rows: Sequence[Row]) -> set[str]:
    """The marks that all rows of a page have, and that it says above them."""
    return {text for flag, text in BANNERS.items() if all(getattr(row, flag) for row in rows)}


def marks(row: Row, told: Collection[str] = ()) -> str:
    """What a reader must know before believing a row; empty for most.

    Args:
        row: any
        told: marks that stand elsewhere, as from `said_of_all`
    """
    said = [
        (folds_told(vars(row)), row.folds is not None),
        *((text, getattr(row, flag)) for flag, text in BANNERS.items()),
        ("stale: the strategy has changed since", row.stale),
        (f"{row.failed} failed ({row.failure})", row.failed > 0),
    ]
    return "; ".join(text for text, holds in said if holds and text not in told)


def setting(row: Row | Setting) -> str:
    """What sets a row's group apart from others on the same machine, corpus and backbone."""
    parts = {"folds": row.folds, "fold_numbers": row.fold_numbers}
    training = ", ".join(f"{key} {value}" for key, value in row.training.items())
    scores = "cost only, " if row.cost_only else ""
    folds = f", {told}" if (told := folds_told(parts)) else ""
    return f"{scores}on {row.device}{folds}, {row.init} weights; {training}"


def table(
    rows: Sequence[Row],
    *,
    own: Mapping[tuple[int, ...], float | None] | None = None,
    curves: Mapping[tuple[int, ...], list[float]] | None = None,
) -> pd.DataFrame:
    """One line a row, numbers as numbers so that they sort; columns that all lack are left out.

    Args:
        rows: all ranked by the same
        own: a reader's own score, by `run_ids`
        curves: as from `curves.by_row`
    """
    lines = [_line(row, own or {}, curves or {}) for row in rows]
    filled = {name for line in lines for name, value in line.items() if value not in (None, "")}
    columns = [name for name in lines[0] if name in filled or name == "Rank"]
    # Rows without a rank would else make all ranks fractions.
    frame: pd.DataFrame = pd.DataFrame(lines, columns=columns).astype({"Rank": "Int64"})
    return frame


def _line(
    row: Row,
    own: Mapping[tuple[int, ...], float | None],
    curves: Mapping[tuple[int, ...], list[float]],
) -> dict[str, object]:
    line: dict[str, object] = {
        "Rank": row.rank,
        NAME: row.name,
        OWN: own.get(row.run_ids),
        NOTES: marks(row),
        FRONT: "●" if row.pareto else "",
    }
    others = {key: getattr(row, key) for key in SCORED}
    for key in dict.fromkeys((*RANKINGS[row.ranked_by].keys, *FIRST)):
        line[scaled_title(key)] = others.pop(key)
        line[f"{METRICS[key].label} {INTERVAL}"] = _interval(
            getattr(row, f"{key}_low"), getattr(row, f"{key}_high")
        )
    line[CURVE] = curves.get(row.run_ids)
    for key in FIGURES:
        value = getattr(row, key)
        divisor = SCALES[key][0] if key in SCALES else 1.0
        line[scaled_title(key)] = None if value is None else value / divisor
    return {
        **line,
        SEEDS: row.runs,
        **{scaled_title(key): value for key, value in others.items()},
    }


def usual(frame: pd.DataFrame, ranked_by: str) -> list[str]:
    """The columns of a table that are shown unless a reader asks for others."""
    first = dict.fromkeys((*RANKINGS[ranked_by].keys, *FIRST))
    kept = {
        *(*FIXED, NOTES, FRONT, CURVE, SEEDS),
        *(scaled_title(key) for key in (*first, *USUAL_FIGURES)),
        *(f"{METRICS[key].label} {INTERVAL}" for key in first),
    }
    return [name for name in map(str, frame) if name in kept]


def best_first(frame: pd.DataFrame, title: str) -> pd.DataFrame:
    """A table in the order of a column; lines that are equal in it, and empty ones, keep theirs."""
    better = {scaled_title(key): metric.higher_is_better for key, metric in METRICS.items()}
    down = title in (OWN, SEEDS) or bool(better.get(title))
    ordered: pd.DataFrame = frame.sort_values(title, ascending=not down, kind="stable")
    return ordered


def formats(frame: pd.DataFrame) -> dict[str, str]:
    """How a table's numbers are written, by column."""
    three = {CURVE, OWN, *(scaled_title(key) for key in SCORED)}
    whole = {"Rank", SEEDS}
    numbers = [name for name in map(str, frame) if name == CURVE or frame[name].dtype.kind in "if"]
    return {
        name: "%.3f" if name in three else "%.0f" if name in whole else "%.4g" for name in numbers
    }


def explanations(frame: pd.DataFrame) -> dict[str, str]:
    """What a table's columns mean, by their titles."""
    told = {scaled_title(key): metric.description for key, metric in METRICS.items()}
    intervals = {
        f"{METRICS[key].label} {INTERVAL}": (
            f"95 % interval of {METRICS[key].label}, from a bootstrap over test speakers and seeds."
            if key.startswith(("ccc", "tvd", "jsd"))
            else f"95 % interval of {METRICS[key].label}, over annotators and seeds."
        )
        for key in SCORED
    }
    return {name: text for name, text in {**told, **intervals, **HELP}.items() if name in frame}


def by_group(rows: Sequence[Row]) -> dict[str, pd.DataFrame]:
    """The table of each group of rows that compare, by what the group is, in words."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.group, []).append(row)
    return {heading(members[0]): table(members) for members in found.values()}


def of_all_groups(rows: Sequence[Row]) -> pd.DataFrame:
    """One table of all groups, whose first columns tell them apart: ranks are within each."""
    told = [
        {
            "Comparison": row.group,
            "Machine": f"{row.machine_name} ({row.machine})",
            "Corpus": row.corpus,
            "Tested on": row.tested_on,
            "Backbone": row.backbone,
            "Setting": setting(row),
        }
        for row in rows
    ]
    frame: pd.DataFrame = pd.concat([pd.DataFrame(told), table(rows)], axis=1)
    return frame


def heading(row: Row) -> str:
    """What all rows of a row's group are of."""
    corpus = (
        row.corpus if row.tested_on == row.corpus else f"{row.corpus}, tested on {row.tested_on}"
    )
    machine = f"{row.machine_name} ({row.machine})"
    return f"{row.backbone} on {corpus}, {machine}; {setting(row)}"


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


def known_distances(utterances: pd.DataFrame) -> list[str]:
    """Keys of those distances that all utterances have."""
    return [key for key in SCORED if key in utterances and utterances[key].notna().all()]


def distances(utterances: pd.DataFrame, utterance: str | None) -> str:
    """How far an utterance's distributions are from each other, or those of all in the mean."""
    chosen = utterances if utterance is None else utterances[utterances["utterance"] == utterance]
    told = [f"{METRICS[key].label} {chosen[key].mean():.3f}" for key in known_distances(chosen)]
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
