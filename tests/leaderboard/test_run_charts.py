from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from serbench.leaderboard import queries, run_charts


@pytest.fixture
def run(recorder: Any) -> dict[str, Any]:
    return queries.run(recorder.engine, recorder("full", cached=True, fill_s=40.0, epoch_s=10.0))


def test_curves_have_a_line_an_epoch(run: dict[str, Any]) -> None:
    losses = run_charts.losses(run)
    assert losses.values.tolist() == [[0, 1.0], [1, 0.9], [2, 0.8]]
    told = run_charts.validations(run)
    assert told.values.tolist() == [[0, "valence", 0.0], [1, "valence", 0.1], [2, "valence", 0.2]]


def test_the_kept_epoch_is_marked(run: dict[str, Any]) -> None:
    frame = run_charts.losses(run)
    layers = run_charts.learning(frame, 1).to_dict()["layer"]
    assert [layer["mark"]["type"] for layer in layers] == ["rule", "line"]
    assert len(run_charts.learning(frame, None).to_dict()["layer"]) == 1


def test_a_loss_that_was_no_number_is_left_out(run: dict[str, Any]) -> None:
    run["epochs"][1]["loss"] = None
    assert run_charts.losses(run)["epoch"].tolist() == [0, 2]


def test_phases_follow_each_other(run: dict[str, Any]) -> None:
    frame = run_charts.phases(run)
    assert frame["phase"].tolist() == ["setup", "cache fill", "train", "train", "train"]
    assert frame["start_s"].tolist() == [0, 1, 41, 91, 101]
    assert frame["end_s"].tolist() == [1, 41, 91, 101, 111]
    assert frame["shade"].tolist() == [1, 1, 1, 0.7, 1]


def test_a_phase_keeps_its_colour(run: dict[str, Any]) -> None:
    def colours(frame: pd.DataFrame) -> dict[str, str]:
        scale = run_charts.phase_bar(frame).to_dict()["encoding"]["color"]["scale"]
        return dict(zip(scale["domain"], scale["range"], strict=True))

    frame = run_charts.phases(run)
    some = colours(frame[frame["phase"] != "cache fill"])
    assert some == {name: shade for name, shade in colours(frame).items() if name in some}
    assert list(some) == ["setup", "train"]


def test_columns_of_phases_that_all_lack_are_left_out(run: dict[str, Any]) -> None:
    columns = set(run_charts.phase_table(run))
    assert {"phase", "wall_s", "loss"} <= columns
    assert "energy_j" not in columns


PARTS = {
    "weight_bytes": 40,
    "gradient_bytes": 10,
    "optimizer_bytes": 20,
    "saved_activation_bytes": None,
}


def test_memory_adds_up_to_the_peak_where_it_ran() -> None:
    figures = {**PARTS, "peak_vram_bytes": 100, "peak_host_anonymous_bytes": 500}
    frame = run_charts.memory(figures)
    assert frame["part"].tolist() == ["Weights", "Gradients", "Optimiser", "Rest"]
    assert frame["bytes"].tolist() == [40, 10, 20, 30]
    assert frame["end"].tolist()[-1] == 100
    assert run_charts.memory({**figures, "peak_vram_bytes": None})["end"].max() == 500


def test_without_a_peak_above_its_parts_memory_has_no_rest() -> None:
    for peak in (None, 60):
        figures = {**PARTS, "peak_vram_bytes": peak, "peak_host_anonymous_bytes": peak}
        assert run_charts.REST not in set(run_charts.memory(figures)["part"])
    nothing = dict.fromkeys((*PARTS, "peak_vram_bytes", "peak_host_anonymous_bytes"))
    assert run_charts.memory(nothing).empty


def _predictions(count: int) -> pd.DataFrame:
    frame: pd.DataFrame = pd.DataFrame(
        {
            "dimension": "valence",
            "utterance": [f"u{i}" for i in range(count)],
            "speaker": "s",
            "label": [float(i) for i in range(count)],
            "predicted": 1.0,
        }
    )
    return frame


def test_more_utterances_than_can_be_seen_are_sampled_the_same_each_time() -> None:
    count = run_charts.MOST_POINTS + 1
    sample, whole = run_charts.points(_predictions(count), "valence")
    assert (len(sample), whole) == (run_charts.MOST_POINTS, count)
    assert sample["utterance"].is_unique
    assert sample.equals(run_charts.points(_predictions(count), "valence")[0])
    few, whole = run_charts.points(_predictions(3), "valence")
    assert (len(few), whole) == (3, 3)
    assert run_charts.points(_predictions(3), "activation")[1] == 0


def test_the_diagonal_spans_labels_and_predictions() -> None:
    frame, _ = run_charts.points(_predictions(5), "valence")
    frame["predicted"] = [-1.0, 1.0, 1.0, 1.0, 9.0]
    chart = run_charts.scatter(frame).to_dict()
    diagonal, dots = chart["layer"]
    line = chart["datasets"][diagonal["data"]["name"]]
    assert [(end["label"], end["predicted"]) for end in line] == [(-1, -1), (9, 9)]
    assert [each["title"] for each in dots["encoding"]["tooltip"]][:2] == ["Utterance", "Speaker"]


def test_scores_are_the_final_ones_with_their_meaning(run: dict[str, Any]) -> None:
    odd = {**run["scores"][0], "metric": "new", "dimension": "valence", "epoch": None}
    frame = run_charts.scores({**run, "scores": [*run["scores"], odd]})
    assert frame["Score"].tolist() == ["CCC activation", "CCC valence", "new valence"]
    assert frame["Value"].tolist()[:2] == [s["value"] for s in run["scores"][:2]]
    assert "concordance" in frame["Meaning"][0]
