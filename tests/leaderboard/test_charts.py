from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from serbench.leaderboard import charts, tables
from serbench.leaderboard.ranking import Row

Make = Callable[..., Row]


def test_front_knows_which_way_is_better(row: Make) -> None:
    rows = [
        row(label="slow-good", epoch_s=9.0, ccc_valence=0.8),
        row(label="fast-bad", epoch_s=1.0, ccc_valence=0.2),
        row(label="slow-bad", epoch_s=9.0, ccc_valence=0.2),
        row(label="unknown", epoch_s=None, ccc_valence=0.9),
    ]
    labels = [r.label for r in charts.front(rows, "epoch_s", "ccc_valence")]
    assert labels == ["fast-bad", "slow-good"]
    by_throughput = charts.front(
        [row(audio_s_per_s=1.0, ccc_valence=0.5)], "audio_s_per_s", "ccc_valence"
    )
    assert len(by_throughput) == 1


def test_chart_draws_points_intervals_and_front(row: Make) -> None:
    rows = [
        row(epoch_s=9.0, ccc_valence=0.8, ccc_valence_low=0.7, ccc_valence_high=0.9),
        row(name="lora", epoch_s=1.0, ccc_valence=0.2),
    ]
    spec = charts.pareto(rows, "epoch_s", "ccc_valence").to_dict()
    kinds = [layer["mark"]["type"] for layer in spec["layer"]]
    assert kinds == ["line", "rule", "point", "text"]
    assert spec["layer"][2]["encoding"]["x"]["title"] == tables.scaled_title("epoch_s")
    assert spec["layer"][2]["encoding"]["tooltip"][0]["title"] == "Configuration"
    intervals = spec["datasets"][spec["layer"][1]["data"]["name"]]
    points = spec["datasets"][spec["layer"][2]["data"]["name"]]
    assert [point["name"] for point in points] == ["full", "lora"]
    assert [(point["low"], point["high"]) for point in intervals] == [(0.7, 0.9)]


def test_chart_reads_bytes_in_gibibytes(row: Make) -> None:
    spec = charts.pareto(
        [row(peak_vram_bytes=2**31, ccc_valence=0.5)], "peak_vram_bytes", "ccc_valence"
    ).to_dict()
    points = spec["datasets"][spec["layer"][2]["data"]["name"]]
    assert points[0]["x"] == 2.0
    assert "GiB" in spec["layer"][2]["encoding"]["x"]["title"]


def test_chart_of_nothing_is_a_chart(row: Make) -> None:
    assert charts.pareto([row()], "epoch_s", "ccc_valence").to_dict()["layer"]


@pytest.mark.parametrize(("values", "scale"), [((1.0, 100.0), "log"), ((1.0, 3.0), "linear")])
def test_wide_axes_are_logarithmic(row: Make, values: tuple[float, ...], scale: str) -> None:
    rows = [row(epoch_s=value, ccc_valence=0.5) for value in values]
    spec = charts.pareto(rows, "epoch_s", "ccc_valence").to_dict()
    assert spec["layer"][2]["encoding"]["x"]["scale"]["type"] == scale


@pytest.mark.parametrize("count", [3, 8, 12])
def test_no_two_strategies_share_a_colour(count: int) -> None:
    names = [f"strategy-{i:02}" for i in range(count)]
    encoded: Any = charts._colour(pd.Series(names)).to_dict()
    scale = encoded["scale"]
    assert scale["domain"] == names
    shades = scale.get("range")
    assert len(set(shades)) == count if shades else scale["scheme"] == "tableau20"
