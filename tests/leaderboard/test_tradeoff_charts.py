from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from serbench.leaderboard import fronts, tradeoff_charts
from serbench.leaderboard.palette import COLOURS, HOLLOW
from serbench.leaderboard.ranking import Row
from serbench.leaderboard.sweeps import Line
from serbench.leaderboard.tradeoff_charts import Kind, Scale

Make = Callable[..., Row]
COLUMNS = ["x", "x_low", "x_high", "y", "y_low", "y_high", "front", "share"]


def standing(**by_run: tuple[Any, ...]) -> pd.DataFrame:
    index = pd.Index([(int(name[1:]),) for name in by_run], tupleize_cols=False)
    frame: pd.DataFrame = pd.DataFrame(list(by_run.values()), columns=COLUMNS, index=index)
    figures = [name for name in COLUMNS if name != "front"]
    frame[figures] = frame[figures].astype(float)
    return frame


def test_rows_are_read_in_their_units_and_fade_with_doubt(row: Make) -> None:
    rows = [row(run_ids=(1,)), row(name="lora", run_ids=(2,), cached=True), row(run_ids=())]
    told = standing(
        r1=(2**31, None, None, 0.5, 0.4, 0.6, True, 1.0),
        r2=(2**30, None, None, 0.5, 0.4, 0.6, False, 0.0),
    )
    points = tradeoff_charts.plotted(rows, told, "peak_vram_bytes", "ccc_valence")
    assert points["name"].tolist() == ["full", "lora"]
    assert points["x"].tolist() == [2, 1]
    assert points["y"].tolist() == [0.5, 0.5]
    assert points["features"].tolist() == ["live", "cached"]
    assert points["opacity"].tolist() == [1, tradeoff_charts.FAINT]
    unsure = tradeoff_charts.plotted(rows, told.assign(share=float("nan")), "epoch_s", "ccc")
    assert unsure["opacity"].tolist() == [1, 1]
    far = told.assign(share=[0.5, float("nan")])
    points = tradeoff_charts.plotted(rows, far, "epoch_s", "ccc")
    assert points["opacity"].tolist() == [pytest.approx(0.625), tradeoff_charts.FAINT]


def test_notes_are_what_the_page_does_not_say_of_all_rows(row: Make) -> None:
    def noted(*rows: Row) -> tuple[list[str], list[str]]:
        told = standing(
            r1=(9, None, None, 0.8, None, None, True, 0.9),
            r2=(1, None, None, 0.2, None, None, True, 1),
        )
        points = tradeoff_charts.plotted(rows, told, "epoch_s", "ccc")
        spec = tradeoff_charts.pareto(points, "epoch_s", "ccc").to_dict()
        (dots,) = [layer for layer in spec["layer"] if "tooltip" in layer["encoding"]]
        return points["notes"].tolist(), [each["title"] for each in dots["encoding"]["tooltip"]]

    notes, titles = noted(row(synthetic=True), row(run_ids=(2,), synthetic=True))
    assert notes == ["", ""]
    assert "Notes" not in titles
    notes, titles = noted(row(synthetic=True), row(run_ids=(2,), synthetic=True, failed=1))
    assert [bool(note) for note in notes] == [False, True]
    assert "Notes" in titles
    assert noted(row(synthetic=True), row(run_ids=(2,)))[0] == ["synthetic data", ""]


def test_the_chart_has_front_intervals_and_names(row: Make) -> None:
    rows = [row(run_ids=(1,)), row(name="lora", run_ids=(2,))]
    told = standing(
        r1=(9, None, None, 0.8, 0.7, 0.9, True, 0.9), r2=(1, 0.9, 1.1, 0.2, None, None, True, 1)
    )
    points = tradeoff_charts.plotted(rows, told, "epoch_s", "ccc")
    spec = tradeoff_charts.pareto(points, "epoch_s", "ccc").to_dict()
    assert [layer["mark"]["type"] for layer in spec["layer"]] == [
        "line", "rule", "rule", "point", "text",
    ]  # fmt: skip
    line, up, across, dots, _ = spec["layer"]

    def names(layer: dict[str, Any]) -> list[str]:
        return [point["name"] for point in spec["datasets"][layer["data"]["name"]]]

    assert (names(up), names(across), names(dots)) == (["full"], ["lora"], ["full", "lora"])
    assert line["mark"]["interpolate"] == "step-after"
    encoding = dots["encoding"]
    assert encoding["x"]["title"] == fronts.title("epoch_s")
    assert encoding["opacity"]["field"] == "opacity"
    titles = [each["title"] for each in encoding["tooltip"]]
    assert titles[0] == "Configuration"
    assert "On the front in" in titles


def front(*points: tuple[str, float, float, float | None]) -> pd.DataFrame:
    """Names, where they are, and the share of draws in which they are there."""
    told = {
        f"r{i}": (x, None, None, y, None, None, True, share)
        for i, (_, x, y, share) in enumerate(points)
    }
    frame = standing(**told).assign(
        name=[name for name, *_ in points],
        strategy="full",
        rank=1,
        features="live",
        notes="",
        opacity=1,
    )
    numbered: pd.DataFrame = frame.reset_index(drop=True)
    return numbered


def test_where_two_names_would_collide_the_surer_is_told() -> None:
    points = front(("left", 0, 0, 0.5), ("a" * 20, 5, 5, 0.2), ("b" * 20, 5.5, 5.3, 0.9))
    told = tradeoff_charts.named(points, ("linear", "linear"), first=-1, above=1)
    names = told.groupby("width")["name"].agg(set)
    assert names[200] == {"left", "b" * 20}
    assert names.iloc[-1] == {"left", "a" * 20, "b" * 20}
    assert (told.loc[told["name"] == "left", "side"] == 1).all()
    assert told["width"].lt(told["wider"]).all()
    untold = front(("c" * 20, 5, 5, None), ("d" * 20, 5.01, 5, None), ("left", 0, 0, None))
    told = tradeoff_charts.named(untold, ("linear", "linear"), first=-1, above=1)
    assert "c" * 20 in set(told["name"])


@pytest.mark.parametrize(("kind", "middle"), [("log", 65), ("linear", 36.4), ("symlog", 60.4)])
def test_names_are_where_the_axis_has_their_points(kind: Kind, middle: float) -> None:
    points = front(("a", 1, 0, 0.1), ("b", 10, 0, 0.1), ("c", 100, 0, 0.1))
    along = tradeoff_charts._along(points, "x", kind, 130).tolist()
    assert along == pytest.approx([30, middle, 100], abs=0.1)
    assert tradeoff_charts._along(points[:1], "x", kind, 130).tolist() == [65]


def test_long_names_are_as_short_as_they_are_drawn() -> None:
    points = front(("a", 0, 0, 0.1), ("b" * 500, 5, 5, 0.9), ("c", 9, 9, 0.9))
    told = tradeoff_charts.named(points, ("linear", "linear"), first=-1, above=1)
    assert told.loc[told["name"] == "b" * 500, "width"].min() <= 400


def test_an_interval_that_reaches_zero_has_a_place_on_its_axis() -> None:
    points = front(("a", 1, 0.2, 0.5), ("b", 2, 0.4, 0.5))
    points.loc[0, ["y_low", "y_high"]] = -0.1, 0.5
    spec = tradeoff_charts.pareto(points, "epoch_s", "ccc", y_scale="logarithmic").to_dict()
    (dots,) = [layer for layer in spec["layer"] if "shape" in layer["encoding"]]
    assert dots["encoding"]["y"]["scale"]["type"] == "symlog"


def test_nothing_to_draw_is_a_chart(row: Make) -> None:
    points = tradeoff_charts.plotted([row()], standing(), "epoch_s", "ccc")
    assert tradeoff_charts.pareto(points, "epoch_s", "ccc").to_dict()["layer"]


@pytest.mark.parametrize(
    ("values", "asked", "kind"),
    [
        ((1, 100), "automatic", "log"),
        ((1, 3), "automatic", "linear"),
        ((1, 100), "linear", "linear"),
        ((1, 3), "logarithmic", "log"),
        ((0, 100), "automatic", "linear"),
        ((0, 100), "logarithmic", "symlog"),
        ((), "automatic", "linear"),
    ],
)
def test_axes_are_as_asked_for(values: tuple[float, ...], asked: Scale, kind: str) -> None:
    assert tradeoff_charts.kind(pd.Series(values, dtype=float), asked) == kind


def test_a_setting_is_drawn_by_its_value(row: Make) -> None:
    rows = [row(run_ids=(run_id,)) for run_id in (1, 2, 3)]
    line = Line("top", tuple((3 * i, each) for i, each in enumerate(rows)))
    measured = pd.DataFrame(
        {"value": [2.0**30, 2.0**31], "low": [None, 2.0**30], "high": [None, 2.0**32]},
        index=pd.Index([(1,), (2,)], tupleize_cols=False),
    ).astype(float)
    points = tradeoff_charts.swept([line], measured, "peak_vram_bytes")
    assert points["setting"].tolist() == [0, 3]
    assert points["value"].tolist() == [1, 2]
    spec = tradeoff_charts.sweep(points, "layers", "peak_vram_bytes", ["top"]).to_dict()
    bars, line_layer = spec["layer"]
    assert len(spec["datasets"][bars["data"]["name"]]) == 1
    assert line_layer["encoding"]["x"]["title"] == "layers"
    assert fronts.title("peak_vram_bytes") in spec["title"]["text"]["expr"]
    assert {each["encoding"]["y"]["title"] for each in spec["layer"]} == {None}
    unsure = tradeoff_charts.sweep(
        points.assign(low=None), "layers", "peak_vram_bytes", ["top"]
    ).to_dict()
    assert [layer["mark"]["type"] for layer in unsure["layer"]] == ["line"]


def test_learning_is_drawn_with_its_target() -> None:
    each = pd.DataFrame(
        {"row": ["a", "a"], "run_id": [1, 1], "epoch": [0, 1], "seconds": [1.0, 2.0]}
    ).assign(ccc=0.5)
    spec = tradeoff_charts.learning(each, each, ["a"], 0.4).to_dict()
    means, runs, target = spec["layer"]
    assert runs["encoding"]["detail"]["field"] == "run_id"
    assert [p["epoch"] for p in spec["datasets"][means["data"]["name"]]] == [1, 2]
    assert spec["datasets"][target["data"]["name"]] == [{"target": 0.4}]


@pytest.mark.parametrize("count", [3, 8, 12])
def test_no_two_strategies_look_alike(count: int) -> None:
    names = [f"strategy-{i:02}" for i in range(count)]
    told = {f"r{i}": (i, None, None, 0.5, None, None, False, 0.5) for i in range(count)}
    points = standing(**told).assign(
        name=names, strategy=names, rank=1, features="live", notes="", opacity=1.0
    )
    spec = tradeoff_charts.pareto(points, "epoch_s", "ccc").to_dict()
    (dots,) = [layer for layer in spec["layer"] if "shape" in layer["encoding"]]
    scales = [dots["encoding"][channel]["scale"] for channel in ("color", "fill")]
    assert all(scale["domain"] == names for scale in scales)
    assert len(set(scales[0]["range"])) == count
    assert (HOLLOW in scales[1]["range"]) == (count > len(COLOURS))
