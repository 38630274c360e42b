from __future__ import annotations

import dataclasses
import json
import shlex
from typing import Any

import pytest

from serbench.harness.errors import RequestError
from serbench.harness.plan import CorpusRef, Elsewhere, Training
from serbench.leaderboard import queries, recommendation
from serbench.leaderboard.configurations import groups
from serbench.leaderboard.recommendation import Limits, Recommendation

GB = 10**9


def told(recorder: Any, *, by: str = "ccc", **limits: Any) -> Recommendation:
    engine = queries.open_for_reading(str(recorder.path))
    runs = queries.configurations(engine)
    evidence = queries.evidence(engine, recommendation.chosen_runs(runs, Limits(**limits), by=by))
    (found,) = recommendation.recommend(runs, evidence, Limits(**limits), by=by)
    return found


def names(found: Recommendation) -> tuple[str | None, str | None]:
    chosen, runner_up = found.chosen, found.runner_up
    return chosen.name if chosen else None, runner_up.name if runner_up else None


def test_of_what_cannot_be_told_apart_the_quickest_is_taken(filled: Any) -> None:
    found = told(filled)
    assert names(found) == ("lora", "full")
    assert found.apart is False
    assert found.difference_low is not None
    assert found.difference_low < 0 < (found.difference_high or 0)
    assert (found.candidates, found.fitting) == (4, 4)
    assert "cannot be told apart" in found.reason
    assert "cannot be told apart" in recommendation.next_best(found)
    json.dumps(dataclasses.asdict(found), allow_nan=False)


def test_what_is_told_apart_wins_whatever_it_takes(recorder: Any) -> None:
    for seed in (0, 1, 2):
        recorder("full", noise=0.4, epoch_s=100.0, seed=seed)
        recorder("top-layers", noise=2.5, epoch_s=5.0, seed=seed)
    found = told(recorder)
    assert names(found) == ("full", "top-layers")
    assert found.apart is True
    assert "Every other one can be told apart" in found.reason
    assert "Next is top-layers: the two can be told apart" in recommendation.next_best(found)


def test_a_limit_rules_out_and_says_how_many(filled: Any) -> None:
    found = told(filled, epoch_s=30.0, disk_bytes=0)
    assert names(found) == ("top-layers", None)
    assert found.reason == "It is the only configuration within the limits."
    assert recommendation.next_best(found) == "Nothing else is within the limits."
    epoch, disk = found.rulings
    assert (epoch.key, epoch.ruled_out, epoch.alone, epoch.unknown) == ("epoch_s", 2, 2, 0)
    assert (disk.key, disk.ruled_out, disk.alone, disk.unknown) == ("disk_bytes", 1, 1, 0)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows of a group are told apart."""
    monkeypatch.setattr(recommendation, "BEST", 2)


@pytest.mark.usefixtures("few")
def test_of_many_the_best_within_the_limits_are_told_apart(recorder: Any) -> None:
    for seed in (0, 1, 2):
        for name, noise, epoch_s in (
            ("full", 0.1, 100.0),
            ("dora", 0.2, 90.0),
            ("lora", 1.0, 60.0),
            ("vera", 1.01, 50.0),
            ("ia3", 3.0, 10.0),
        ):
            recorder(name, noise=noise, epoch_s=epoch_s, seed=seed)
    found = told(recorder, epoch_s=60.0)
    assert names(found) == ("vera", "lora")
    assert found.apart is False
    assert "1 other of the next 1 cannot be told apart from it" in found.reason
    alone = told(recorder)
    assert names(alone) == ("full", "dora")
    assert "Each of the next 1 can be told apart from it." in alone.reason


def test_a_limit_that_is_met_exactly_holds(filled: Any) -> None:
    assert names(told(filled, epoch_s=60.0))[0] == "lora"
    assert names(told(filled, memory_bytes=2 * 2**30))[0] == "lora"


def test_the_limit_to_loosen_is_enough_and_no_more_than_that(filled: Any) -> None:
    limits: dict[str, Any] = {"epoch_s": 30.0, "ccc": 0.95}
    found = told(filled, **limits)
    assert names(found) == (None, None)
    assert found.command is None
    assert "None of the 4 configurations" in found.reason
    (way,) = found.loosen
    # A CCC that is a little lower is nearer than an epoch that is twice as long.
    assert (found.nearest, way.key, way.limit) == ("top-layers", "ccc", 0.95)
    assert way.to is not None
    assert names(told(filled, **{**limits, "ccc": way.to}))[0] == "top-layers"
    assert names(told(filled, **{**limits, "ccc": way.to + 0.001}))[0] is None


def test_fewest_limits_are_loosened_before_smallest(filled: Any) -> None:
    found = told(filled, epoch_s=9.99, run_s=499.0, memory_bytes=2 * GB)
    # The cached one breaks memory alone; all others break an epoch's time too.
    assert found.nearest == "top-layers+cache"
    (way,) = found.loosen
    assert (way.key, way.to) == ("memory_bytes", 2.15 * GB)


def test_suggested_limits_are_written_as_they_hold(recorder: Any) -> None:
    recorder("full", epoch_s=12.3456, vram=1_234_567_890)
    way, second = told(recorder, memory_bytes=1.0, epoch_s=1.0).loosen
    assert (way.to, second.to) == (1.24 * GB, 12.4)
    assert recommendation.told("memory_bytes", way.to) == "1.24 GB"
    assert recommendation.told("epoch_s", second.to) == "12.4 s"
    assert names(told(recorder, memory_bytes=way.to, epoch_s=second.to))[0] == "full"


def test_what_was_not_measured_is_within_no_limit(recorder: Any) -> None:
    recorder("full", cached=True)  # found its cache filled
    found = told(recorder, run_s=1e9)
    assert found.chosen is None
    assert [(each.ruled_out, each.unknown) for each in found.rulings] == [(1, 1)]
    assert [(way.key, way.to) for way in found.loosen] == [("run_s", None)]


def test_nothing_measured_nothing_recommended(recorder: Any) -> None:
    recorder("full", status="failed")
    found = told(recorder, epoch_s=1.0)
    assert (names(found), found.candidates, found.nearest) == ((None, None), 0, None)
    assert "No run here ended well" in found.reason


def test_cost_only_goes_by_time_and_its_noise(recorder: Any) -> None:
    for name, epoch_s in (("full", 10.0), ("lora", 10.4), ("vera", 20.0)):
        recorder(name, epoch_s=epoch_s, cost_only=True, noise=None)
    assert told(recorder).apart is None
    recorder("full", epoch_s=10.5, cost_only=True, noise=None, repeat=1)
    found = told(recorder)
    assert names(found) == ("full", "lora")
    assert (found.by, found.apart) == ("epoch_s", False)
    assert told(recorder, ccc=0.1).loosen[0].to is None


def test_few_speakers_leave_the_highest_score(filled: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("serbench.leaderboard.differences.FEWEST_SPEAKERS", 99)
    found = told(filled)
    assert names(found)[0] == "full"
    assert found.apart is None
    assert "8 test speakers" in found.reason


def test_what_is_best_can_be_another_score(spread: Any) -> None:
    assert names(told(spread)) == ("full", "lora")
    found = told(spread, by="tvd")
    assert names(found) == ("lora", "full")
    assert found.candidates == 2
    assert found.difference is not None
    assert found.difference < 0
    assert "the lowest TVD" in found.reason


@pytest.mark.parametrize(
    "limits", [{"epoch_s": -1.0}, {"run_s": float("nan")}, {"memory_bytes": float("inf")}]
)
def test_limits_are_numbers_from_0_on(limits: dict[str, float]) -> None:
    with pytest.raises(RequestError, match="from 0 on"):
        Limits(**limits)


def test_a_ccc_is_at_most_1() -> None:
    with pytest.raises(RequestError, match="from -1 to 1"):
        Limits(ccc=60.0)


def test_the_command_asks_for_the_stored_settings(recorder: Any) -> None:
    training = Training(epochs=4, batch_size=8, limit=100, lr_scale=8.0)
    recorder.spec("lora:rank=4+bf16+cache", training=training, cache_dtype="float16", fold="1/4")
    command = told(recorder).command
    assert command is not None
    assert (
        shlex.split(command)
        == (
            "serbench run lora:rank=4+bf16+cache --backbone tiny --init random --corpus made-up "
            "--head consensus --epochs 4 --batch-size 8 --set lr_scale=8.0 --limit 100 "
            "--cache-dtype float16 --folds 1/4"
        ).split()
    )


def test_the_command_names_what_scores_are_of(recorder: Any) -> None:
    other = Elsewhere(ref=CorpusRef("o"), name="other", hash="h", synthetic=False, derived=False)
    recorder("full", elsewhere=(other,))
    engine = queries.open_for_reading(str(recorder.path))
    runs = queries.configurations(engine, test_corpus="other")
    (group,) = groups(runs)
    (member,) = group.members
    words = shlex.split(recommendation.command(member))
    assert words[-2:] == ["--test-corpus", "other"]


def test_the_command_is_one_line_for_a_shell_whatever_the_names(recorder: Any) -> None:
    recorder("full; rm -rf ~", backbone="a b'c")
    command = told(recorder).command
    assert command is not None
    words = shlex.split(command)
    assert words[2] == "full; rm -rf ~"
    assert words[words.index("--backbone") + 1] == "a b'c"
