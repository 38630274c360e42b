"""Where rows differ, against figures found in another way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import audmetric
import numpy as np
import pandas as pd
import pytest

from serbench.leaderboard import comparison, contrasts, queries, queries_epochs
from serbench.leaderboard.contrasts import Shared

RUNS = {"full": (1, 3), "lora": (2, 4)}
SEEDS = {1: 0, 2: 0, 3: 1, 4: 1}


@pytest.fixture
def predictions(recorder: Any) -> pd.DataFrame:
    """Two rows of two seeds, of which the second is the better."""
    for seed in (0, 1):
        recorder("full", noise=1.0, seed=seed)
        recorder("lora", noise=0.2, seed=seed)
    return queries.predictions(queries.open_for_reading(str(recorder.path)), [1, 2, 3, 4])


def given_(predictions: pd.DataFrame) -> Shared:
    found = contrasts.shared(RUNS, SEEDS, predictions, "valence")
    assert found is not None
    return found


def of_run(predictions: pd.DataFrame, run_id: int) -> pd.DataFrame:
    its = predictions[(predictions["run_id"] == run_id) & (predictions["dimension"] == "valence")]
    ordered: pd.DataFrame = its.sort_values("utterance").reset_index()
    return ordered


def test_every_prediction_lies_at_its_row_seed_and_utterance(predictions: pd.DataFrame) -> None:
    shuffled = predictions.sample(frac=1, random_state=0)
    given = given_(shuffled)
    assert (given.rows, given.seeds) == (("full", "lora"), (0, 1))
    for run_id, (row, seed) in {1: (0, 0), 2: (1, 0), 3: (0, 1), 4: (1, 1)}.items():
        its = of_run(predictions, run_id)
        np.testing.assert_array_equal(given.predicted[row, seed], its["predicted"])
        np.testing.assert_array_equal(given.labels, its["label"])
        assert given.speakers.tolist() == its["speaker"].tolist()


def test_only_what_all_have_is_compared(predictions: pd.DataFrame) -> None:
    less = predictions[~((predictions["run_id"] == 2) & (predictions["utterance"] < "u010"))]
    less = less.copy()
    less.loc[(less["run_id"] == 3) & (less["utterance"] == "u020"), "predicted"] = np.nan
    assert given_(less).predicted.shape == (2, 2, 160 - 10 - 1)
    assert given_(less[less["run_id"] != 4]).seeds == (0,)
    apart = less[less["run_id"].isin([1, 4])]
    assert contrasts.shared(RUNS, SEEDS, apart, "valence") is None
    assert contrasts.shared(RUNS, SEEDS, less, "dominance") is None


@pytest.mark.parametrize("error", ["absolute", "squared"])
def test_errors_by_speaker(predictions: pd.DataFrame, error: str) -> None:
    frame = contrasts.error_by_speaker(given_(predictions), error).set_index("speaker")
    assert len(frame) == 8
    assert set(frame["row"]) == {"lora"}
    assert set(frame["utterances"]) == {20}
    of: dict[int, float] = {}
    for run_id in SEEDS:
        its = of_run(predictions, run_id)
        its = its[its["speaker"] == "s3"]
        off = its["predicted"] - its["label"]
        of[run_id] = (off.abs() if error == "absolute" else off**2).mean()
    found = frame.loc["s3"]
    seeds = sorted((of[2] - of[1], of[4] - of[3]))
    assert found["first"] == pytest.approx((of[1] + of[3]) / 2)
    assert found["value"] == pytest.approx((of[2] + of[4]) / 2)
    assert found["difference"] == pytest.approx(sum(seeds) / 2)
    assert [found["lowest"], found["highest"]] == pytest.approx(seeds)
    assert found["difference"] < 0


def test_ccc_by_speaker_is_of_those_with_enough_utterances(predictions: pd.DataFrame) -> None:
    number = predictions["utterance"].str[1:].astype(int)
    less = predictions[~((predictions["speaker"] == "s0") & (number > 70))]
    frame = contrasts.ccc_by_speaker(given_(less)).set_index("speaker")
    assert list(frame.index) == [f"s{i}" for i in range(1, 8)]
    ccc = {}
    for run_id in SEEDS:
        its = of_run(predictions, run_id)
        its = its[its["speaker"] == "s3"]
        ccc[run_id] = audmetric.concordance_cc(its["label"], its["predicted"])
    expected = (ccc[2] - ccc[1] + ccc[4] - ccc[3]) / 2
    assert frame.loc["s3", "difference"] == pytest.approx(expected)


def test_speakers_are_in_order_and_those_at_the_ends_remain() -> None:
    frame = pd.DataFrame({"speaker": list("abcde"), "difference": [0.2, -0.1, 0.0, 0.5, -0.7]})
    assert contrasts.ends(frame, 5) == ["e", "b", "c", "a", "d"]
    assert contrasts.ends(frame, 3) == ["e", "a", "d"]


def test_errors_by_range_of_the_label(predictions: pd.DataFrame) -> None:
    given = given_(predictions)
    frame = contrasts.by_label(given, "absolute")
    assert len(frame) == 5 * 2
    assert frame[frame["row"] == "full"]["utterances"].tolist() == [32] * 5
    assert frame[frame["row"] == "full"]["difference"].isna().all()
    at = given.labels >= np.quantile(given.labels, 0.8)
    off = np.abs(given.predicted - given.labels)[:, :, at].mean(axis=(1, 2))
    last = frame.iloc[-1]
    assert (last["row"], last["value"]) == ("lora", pytest.approx(off[1]))
    assert last["difference"] == pytest.approx(off[1] - off[0])
    assert last["low"] < last["difference"] < last["high"] < 0
    assert last["end"] == given.labels.max()


def test_ranges_of_labels_that_tie_are_fewer() -> None:
    labels = np.repeat([1.0, 2.0], [9, 1])
    given = Shared(
        rows=("a", "b"),
        seeds=(0,),
        speakers=np.repeat(["x", "y"], 5),
        labels=labels,
        predicted=np.stack([labels + 1, labels + 2])[:, None],
    )
    frame = contrasts.by_label(given, "absolute")
    assert frame["utterances"].sum() == 2 * 10
    assert frame["difference"].dropna().unique().tolist() == [1]
    # Two speakers are too few to draw from.
    assert frame["low"].isna().all()
    same = Shared(**{**vars(given), "labels": np.ones(10)})
    assert len(contrasts.by_label(same, "absolute")) == 2


def test_curves_are_means_over_seeds_from_epoch_one(recorder: Any) -> None:
    recorder("full", seed=0)
    recorder("full", seed=1)
    engine = queries.open_for_reading(str(recorder.path))
    told = queries_epochs.validation(engine, [1, 2], ["valence"])
    told.loc[(told["run_id"] == 2) & (told["epoch"] == 2), "ccc"] = 0.6
    frame = contrasts.curves({"full": (1, 2)}, {1: 0, 2: 1}, told)
    assert frame["epoch"].tolist() == [1, 2, 3]
    last = frame.iloc[-1]
    assert [last["mean"], last["lowest"], last["highest"]] == pytest.approx([0.4, 0.2, 0.6])
    assert last["seeds"] == 2
    none = queries_epochs.validation(engine, [1, 2], ["activation"])
    assert contrasts.curves({"full": (1, 2)}, {1: 0, 2: 1}, none).empty


def test_folds_count_for_their_mean() -> None:
    told = pd.DataFrame({"run_id": [1, 2, 3], "epoch": 0, "ccc": [0.2, 0.4, 0.9]})
    frame = contrasts.curves({"full": (1, 2, 3)}, {1: 0, 2: 0, 3: 1}, told)
    assert frame.iloc[0][["mean", "lowest", "highest"]].tolist() == pytest.approx([0.6, 0.3, 0.9])


def test_names_tell_rows_apart_and_do_not_depend_on_others(row: Callable[..., Any]) -> None:
    a, b, c = (row(name="lora", config={"rank": rank}) for rank in (8, 4, 2))
    other = row(name="full")
    names = contrasts.named([a, other, b])
    assert len(names) == 3
    assert names["full"] is other
    known = {id(each): name for name, each in contrasts.named([c, b, a]).items()}
    assert all(known[id(each)] == name for name, each in names.items() if each is not other)


def test_scores_of_one_kind_are_together_and_say_what_is_not_known(spread: Any) -> None:
    engine = queries.open_for_reading(str(spread.path))
    runs = queries.configurations(engine)
    of = {name: [run["id"] for run in runs if run["label"] == name] for name in ("lora", "vera")}
    first = [run["id"] for run in runs if run["label"] == "full"]
    told = {
        name: comparison.compare(runs, queries.evidence(engine, (*ids, *first)), ids, first)
        for name, ids in of.items()
    }
    frame = contrasts.scores(told)
    assert frame["Score"].tolist()[:2] == ["CCC activation"] * 2
    by = frame.set_index(["Score", "Row"])
    assert by.loc[("TVD", "lora"), "Verdict"] == "better"
    assert by.loc[("TVD", "vera"), "Verdict"] == "one of the two has none"
    assert by.loc[("CCC", "lora"), "Meaning"] == "Mean of CCC activation and CCC valence."
    assert contrasts.costs(told)["Row"].tolist()[:2] == ["lora", "vera"]
