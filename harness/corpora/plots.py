"""A corpus in pictures: durations, labels, how raters agree, and how many rated what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from serbench.harness.corpora import agreement
from serbench.harness.corpora.base import SPLITS, Corpus
from serbench.harness.corpora.summary import CUT_S, Summary, raters_per_utterance, seconds
from serbench.harness.errors import RequestError

__all__ = ["draw", "require"]

BAR, RULE = "#0072B2", "#D55E00"
"""Of Okabe and Ito's palette, which the colour-blind can tell apart."""
SPLIT_COLOURS = ["#0072B2", "#E69F00", "#009E73"]
WIDTH, HEIGHT = 560, 300
PANEL = 260
MOST_BARS = 40
DENSITY = 2
"""Pixels of the picture to one of the chart's."""


def require() -> None:
    """Make sure that pictures can be drawn, before anything long begins.

    Raises:
        RequestError: the library that draws them is missing.
    """
    if find_spec("vl_convert") is None:
        raise RequestError("--plots needs vl-convert-python: pip install 'serbench[plots]'")


def draw(corpus: Corpus, summary: Summary, folder: Path) -> list[Path]:
    """Write PNG pictures of a corpus and give their paths; none of ratings where there are none.

    Raises:
        RequestError: the library that draws them is missing, or the folder cannot be written.
    """
    require()
    charts: dict[str, Callable[[Corpus, Summary], alt.Chart | alt.HConcatChart | alt.LayerChart]]
    charts = {"durations": durations, "labels": labels}
    if summary.ratings_per_utterance is not None:
        charts["ratings"] = ratings
    if any(label.pairs for label in summary.labels.values()):
        charts["agreement"] = agreements
    paths = {name: folder / f"{name}.png" for name in charts}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, chart in charts.items():
            drawn = chart(corpus, summary).configure_view(stroke=None)
            drawn.save(paths[name], scale_factor=DENSITY)
    except OSError as error:
        raise RequestError(f"--plots {folder}: {error.strerror}") from error
    return list(paths.values())


def durations(corpus: Corpus, summary: Summary) -> alt.LayerChart:
    """Histogram of durations, and where a run cuts them if it does."""
    longest = summary.durations.maximum_s
    bars = _bars(_binned(seconds(corpus), np.linspace(0, longest, MOST_BARS + 1)), "Duration in s")
    rule = alt.Chart(pd.DataFrame({"at": [CUT_S], "what": [f"cut at {CUT_S:g} s"]})).encode(
        x="at:Q"
    )
    cut = [
        rule.mark_rule(color=RULE, strokeWidth=2),
        rule.mark_text(color=RULE, align="left", dx=6, y=8).encode(text="what:N"),
    ]
    title = _title(summary, f"{summary.utterances:,} utterances, {summary.hours:.1f} h")
    return alt.LayerChart(
        layer=[bars, *(cut if longest > CUT_S else [])], title=title, width=WIDTH, height=HEIGHT
    )


def labels(corpus: Corpus, summary: Summary) -> alt.HConcatChart:
    """Histogram of each dimension's labels, by split."""
    edges = np.linspace(corpus.minimum, corpus.maximum, 21)
    splits = corpus.utterances["split"]
    panels = []
    for name in corpus.dimensions:
        parts = [
            _binned(corpus.utterances[name][splits == split].dropna(), edges).assign(split=split)
            for split in SPLITS
        ]
        colour = alt.Color(
            "split:N", title=None, scale=alt.Scale(domain=list(SPLITS), range=SPLIT_COLOURS)
        )
        chart = _bars(pd.concat(parts), name.capitalize()).encode(color=colour)
        panels.append(chart.properties(width=PANEL, height=HEIGHT))
    return alt.hconcat(*panels, title=_title(summary, "labels, on the corpus's own scale"))


def ratings(corpus: Corpus, summary: Summary) -> alt.Chart:
    """How many utterances were rated by how many annotators."""
    raters = raters_per_utterance(corpus)
    step = -(-int(raters.max()) // MOST_BARS)
    # A bar stands over its number.
    edges = np.arange(raters.min(), raters.max() + step + 1, step) - 0.5
    people = "" if summary.annotators is None else f"{summary.annotators:,} annotators, "
    title = _title(summary, f"{people}{raters.mean():.1f} an utterance")
    ticks = (edges[:-1] + 0.5).tolist()
    chart = _bars(_binned(raters, edges), "Annotators of an utterance", ticks=ticks)
    titled: alt.Chart = chart.properties(title=title, width=WIDTH, height=HEIGHT)
    return titled


def agreements(corpus: Corpus, summary: Summary) -> alt.HConcatChart:
    """Histogram of the CCC of pairs of annotators in each dimension, with their mean."""
    panels = []
    for name, rated in agreement.rated(corpus).items():
        label = summary.labels[name]
        if label.agreement is None:
            continue
        bars = _bars(
            _binned(agreement.pairs(rated).ccc.clip(-1, 1), np.linspace(-1, 1, MOST_BARS + 1)),
            "CCC of two annotators",
            "Pairs of annotators",
            ticks=(-1, -0.5, 0, 0.5, 1),
        )
        mean = alt.Chart(pd.DataFrame({"at": [label.agreement]})).encode(x="at:Q")
        known = "" if label.alpha is None else f", alpha {label.alpha:.2f}"
        panels.append(
            alt.LayerChart(
                layer=[bars, mean.mark_rule(color=RULE, strokeWidth=2)],
                title=alt.TitleParams(
                    f"{name}: mean CCC {label.agreement:.2f}{known}", fontWeight="normal"
                ),
                width=PANEL,
                height=HEIGHT,
            )
        )
    return alt.hconcat(*panels, title=_title(summary, "how far annotators agree"))


def _binned(values: ArrayLike, edges: NDArray[np.float64]) -> pd.DataFrame:
    counts, _ = np.histogram(np.asarray(values, np.float64), bins=edges)
    table: pd.DataFrame = pd.DataFrame({"from": edges[:-1], "to": edges[1:], "count": counts})
    return table


def _bars(
    table: pd.DataFrame,
    across: str,
    up: str = "Utterances",
    ticks: Sequence[float] | None = None,
) -> alt.Chart:
    axis = alt.Axis() if ticks is None else alt.Axis(values=ticks, format="~g")
    bars: alt.Chart = (
        alt.Chart(table)
        .mark_bar(color=BAR, binSpacing=0.5)
        .encode(
            x=alt.X("from:Q", title=across, bin="binned", axis=axis),
            x2="to:Q",
            y=alt.Y("count:Q", title=up, stack="zero"),
        )
    )
    return bars


def _title(summary: Summary, what: str) -> alt.TitleParams:
    flags = [name for name in ("synthetic", "derived") if getattr(summary, name)]
    text = f"{summary.name}{''.join(f' [{flag}]' for flag in flags)}: {what}"
    return alt.TitleParams(text, anchor="start", offset=12)
