from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serbench.leaderboard import charts, spreads, tables
from serbench.leaderboard.queries import Spreads
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


@pytest.fixture
def annotators() -> pd.DataFrame:
    """Of two runs of one row and one of another; the last is not told who rated."""
    frame: pd.DataFrame = pd.DataFrame(
        {
            "run_id": [1, 1, 1, 2, 2, 2, 3, 3],
            "dimension": "valence",
            "annotator": ["a", "b", "c", "a", "b", "c", "a", "b"],
            "ratings": 10,
            "ccc": [0.1, 0.2, 0.3, 0.3, 0.4, 0.5, -0.5, 0.5],
            "ccc_told": [0.2, 0.3, 0.4, 0.4, 0.5, 0.6, None, None],
        }
    )
    return frame


def test_annotators_are_means_over_seeds(row: Make, annotators: pd.DataFrame) -> None:
    rows = [row(name="x@annotators", run_ids=(1, 2)), row(name="x", run_ids=(3,))]
    each = spreads.persons(rows, annotators)
    assert len(each) == 3 + 3 + 2
    found = spreads.quartiles(each).set_index(["row", "way"])
    told = found.loc[("x@annotators", "told who rated")]
    assert told["annotators"] == 3
    assert told[list(charts.SPREAD)].tolist() == pytest.approx([0.4, 0.3, 0.35, 0.4, 0.45, 0.5])
    assert ("x", "told who rated") not in found.index
    assert found.loc[("x", "not told who rated"), "mean"] == pytest.approx(0)


def test_annotators_are_drawn_as_boxes_in_the_order_of_the_rows(
    row: Make, annotators: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row(name="x@annotators", run_ids=(1, 2)), row(name="x", run_ids=(3,))]
    each = spreads.persons(rows, annotators)
    spread = spreads.quartiles(each)
    drawn = charts.persons(each, spread, ["x@annotators", "other", "x"]).to_dict()
    assert [layer["mark"]["type"] for layer in drawn["layer"]] == ["rule", "bar", "tick", "circle"]
    assert drawn["layer"][0]["encoding"]["y"]["sort"] == ["x@annotators", "x"]
    ways = drawn["layer"][0]["encoding"]["color"]["scale"]["domain"]
    assert ways == ["not told who rated", "told who rated"]
    monkeypatch.setattr(charts, "MOST_DOTS", 2)
    many = charts.persons(each, spread, ["x@annotators", "x"]).to_dict()
    assert [layer["mark"]["type"] for layer in many["layer"]] == ["rule", "bar", "tick"]


def test_cells_lie_where_their_masses_are() -> None:
    rated = np.zeros((2, 4, 4))
    rated[0, 3, 0] = rated[1, 0, 1] = 1
    utterances = pd.DataFrame({"utterance": ["u", "v"]})
    given = Spreads(utterances=utterances, masses={"rated": rated})
    (cells,) = spreads.cells(given, "u").values()
    (full,) = cells[cells["mass"] == 1].to_dict("records")
    assert full == {
        "activation": 0.5, "activation_to": 1, "valence": -1, "valence_to": -0.5, "mass": 1,
    }  # fmt: skip
    (mean,) = spreads.cells(given, None).values()
    assert sorted(mean["mass"])[-2:] == [0.5, 0.5]
    assert mean["mass"].sum() == 1


def test_heat_maps_share_a_scale_and_name_their_axes() -> None:
    given = Spreads(
        utterances=pd.DataFrame({"utterance": ["u"]}), masses={"told": np.full((1, 4, 4), 1 / 16)}
    )
    drawn = charts.heat_map(spreads.cells(given, None)["told"], 0.3, "Told").to_dict()
    squares, numbers = (layer["encoding"] for layer in drawn["layer"])
    assert squares["color"]["scale"]["domain"] == [0, 0.3]
    for axis, name in (("x", "Valence"), ("y", "Activation")):
        assert (squares[axis]["field"], squares[axis]["title"]) == (name.lower(), name)
        assert squares[axis]["scale"]["domain"] == [-1, 1]
        assert squares[axis]["axis"]["values"] == [-1, -0.5, 0, 0.5, 1]
    assert numbers["text"]["field"] == "mass"
    assert drawn["title"] == "Told"


@pytest.mark.parametrize("count", [3, 8, 12])
def test_no_two_strategies_share_a_colour(count: int) -> None:
    names = [f"strategy-{i:02}" for i in range(count)]
    encoded: Any = charts._colour(pd.Series(names)).to_dict()
    scale = encoded["scale"]
    assert scale["domain"] == names
    shades = scale.get("range")
    assert len(set(shades)) == count if shades else scale["scheme"] == "tableau20"
