"""Two rows, or two runs, beside each other: the ranking's figures, and what is told of them."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

from serbench.harness import heads
from serbench.harness.errors import RequestError
from serbench.harness.plan import Training
from serbench.leaderboard import comparison, queries, ranking
from serbench.leaderboard.comparison import Comparison


def compared(recorder: Any, a: str, b: str, **filters: str) -> list[Comparison]:
    engine = queries.open_for_reading(str(recorder.path))
    runs = queries.configurations(engine, **filters)
    return [
        comparison.compare(runs, queries.evidence(engine, (*first, *second)), first, second)
        for first, second in comparison.chosen(runs, a, b)
    ]


def costs(told: Comparison) -> dict[str, tuple[float | None, float | None, float | None]]:
    return {cost.key: (cost.a, cost.b, cost.ratio) for cost in told.costs}


@pytest.fixture
def both(recorder: Any) -> Any:
    """Two rows that can be told apart."""
    for seed in (0, 1, 2):
        recorder.spec("full", seed=seed, noise=0.4, epoch_s=30.0, vram=300)
        recorder.spec("lora:rank=16+bf16", seed=seed, noise=2.5, epoch_s=10.0, vram=200)
    return recorder


def test_the_figures_are_those_of_the_ranking(both: Any) -> None:
    (told,) = compared(both, "full", "lora:rank=16+bf16")
    engine = queries.open_for_reading(str(both.path))
    runs = queries.configurations(engine)
    rows = ranking.rank(runs, queries.evidence(engine, ranking.chosen_runs(runs)))
    full, lora = sorted(rows, key=lambda row: row.label)
    assert (told.a.run_ids, told.b.run_ids) == (full.run_ids, lora.run_ids)
    assert (told.group, told.corpus, told.machine) == (full.group, full.corpus, full.machine)
    for each in told.ccc[:2]:
        for side, row in (("a", full), ("b", lora)):
            for end in ("", "_low", "_high"):
                assert getattr(each, side + end) == getattr(row, f"ccc_{each.dimension}{end}")
    assert costs(told)["epoch_s"] == (full.epoch_s, lora.epoch_s, 3.0)
    assert costs(told)["run_s"] == (211.0, 71.0, 211 / 71)
    assert costs(told)["peak_vram_bytes"] == (300, 200, 1.5)
    assert costs(told)["trainable_params"] == (1_000, 1_000, 1.0)
    json.dumps(dataclasses.asdict(told), allow_nan=False)


def test_the_mean_is_of_the_ranked_dimensions(both: Any) -> None:
    (told,) = compared(both, "full", "lora:rank=16+bf16")
    activation, valence, mean = told.ccc
    assert [each.dimension for each in told.ccc] == ["activation", "valence", "mean"]
    assert mean.a == pytest.approx(((activation.a or 0) + (valence.a or 0)) / 2)
    assert mean.difference == pytest.approx((mean.a or 0) - (mean.b or 0))
    assert mean.difference_low is not None
    assert 0 < mean.difference_low < (mean.difference or 0) < (mean.difference_high or 0)
    assert mean.a_low is not None
    assert mean.a_low < (mean.a or 0) < (mean.a_high or 0)
    assert [each.better for each in told.ccc] == ["A", "A", "A"]
    (turned,) = compared(both, "lora:rank=16+bf16", "full")
    assert [each.better for each in turned.ccc] == ["B", "B", "B"]


@pytest.mark.parametrize("third", [0.9, 0.2])
@pytest.mark.parametrize("later", [0, 1, 3])
def test_rank_and_compare_tell_the_same_apart(recorder: Any, third: float, later: int) -> None:
    for seed, noise in enumerate((0.9, 0.9, third)):
        recorder.spec("full", seed=seed, noise=0.4)
        recorder.spec("lora", seed=seed + later, noise=noise)
    (told,) = compared(recorder, "full", "lora")
    engine = queries.open_for_reading(str(recorder.path))
    runs = queries.configurations(engine)
    rows = ranking.rank(runs, queries.evidence(engine, ranking.chosen_runs(runs)))
    assert told.ccc[-1].apart == (len({row.rank for row in rows}) == 2)
    assert told.paired_seeds == {0: (0, 1, 2), 1: (1, 2), 3: ()}[later]


@pytest.mark.parametrize("spelt", ["lora:alpha=16,rank=16+bf16", "lora:rank=016+bf16"])
def test_any_spelling_of_a_configuration_finds_it(both: Any, spelt: str) -> None:
    (told,) = compared(both, spelt, "full+fp32")
    assert (told.a.label, told.b.label) == ("lora:rank=16+bf16", "full")


def test_what_was_stated_of_a_head_makes_no_difference(recorder: Any) -> None:
    for seed, head in enumerate(("annotators", "annotators:tasks=1+3")):
        for name in ("full", "lora"):
            recorder.spec(name, seed=seed, head=heads.parse(head))
    for a in ("full@annotators", "full@annotators:tasks=1+3"):
        (told,) = compared(recorder, a, "lora@annotators:width=64")
        assert (told.a.name, told.a.seeds) == ("full@annotators", (0, 1))
    with pytest.raises(RequestError, match="is both"):
        compared(recorder, "full@annotators", "full@annotators:tasks=1+3")


def test_a_head_whose_plugin_is_not_here_is_compared(recorder: Any, gone: Any) -> None:
    for seed, stated in enumerate((frozenset[str](), frozenset({"width"}))):
        head = gone("gone", heads.parse("annotators").objective, stated)
        recorder.spec("full", seed=seed, head=head)
        recorder.spec("lora", seed=seed, head=head)
    (told,) = compared(recorder, "full@gone", "lora@gone:width=64")
    assert (told.a.name, told.a.seeds, told.b.seeds) == ("full@gone", (0, 1), (0, 1))
    with pytest.raises(RequestError, match="there is no head 'gane'"):
        compared(recorder, "full@gane", "lora@gone")


def test_what_tells_configurations_apart_is_matched(recorder: Any) -> None:
    texts = ("full", "full+cache", "full+bf16", "full:convolutions=true", "lora")
    for text in texts:
        recorder.spec(text)
    for text in texts[:-1]:
        (told,) = compared(recorder, text, "lora")
        assert told.a.label == text


def test_sides_that_differ_in_the_caches_type_alone_can_be_told(recorder: Any) -> None:
    recorder.spec("lora+cache")
    recorder.spec("lora+cache", cache_dtype="float16")
    (told,) = compared(recorder, "1", "2")
    assert (told.a.name, told.b.name) == ("lora+cache", "lora+cache (float16)")
    recorder.spec("full", cache_dtype="float16")
    both = compared(recorder, "lora+cache", "full")
    assert {(each.a.name, each.b.name) for each in both} == {
        ("lora+cache", "full"),
        ("lora+cache (float16)", "full"),
    }


def test_each_group_that_holds_both_is_compared(both: Any) -> None:
    both.spec("full", machine="machine-2")
    both.spec("lora:rank=16+bf16", machine="machine-2")
    both.spec("full", machine="machine-3")
    told = compared(both, "full", "lora:rank=16+bf16")
    assert {each.machine for each in told} == {"machine-1", "machine-2"}
    (one,) = compared(both, "full", "lora:rank=16+bf16", machine="machine-2")
    assert one.a.seeds == (0,)


def test_two_numbers_compare_these_two_runs(both: Any) -> None:
    (told,) = compared(both, "1", "4")
    assert (told.a.run_ids, told.a.seeds, told.a.label) == ((1,), (0,), "full")
    assert (told.b.run_ids, told.b.seeds, told.b.label) == ((4,), (1,), "lora:rank=16+bf16")
    first = queries.configurations(queries.open_for_reading(str(both.path)))[0]
    assert told.ccc[0].a == first["ccc_activation"]
    assert told.paired_seeds == ()


def test_a_run_and_its_repeat(recorder: Any) -> None:
    recorder.spec("full", epoch_s=10.0)
    recorder.spec("full", epoch_s=11.0, repeat=1)
    (told,) = compared(recorder, "1", "2")
    assert (told.a.repeat, told.b.repeat) == (0, 1)
    assert told.noise_epoch_share == pytest.approx(0.1)


def test_times_within_the_noise_are_ties(recorder: Any) -> None:
    for name, epoch_s in (("full", 10.0), ("lora", 10.9), ("dora", 11.1)):
        recorder.spec(name, epoch_s=epoch_s)
    (told,) = compared(recorder, "full", "lora")
    assert {cost.tie for cost in told.costs} == {None}
    assert "No run was made twice" in told.notes[-1]
    recorder.spec("full", epoch_s=11.0, repeat=1)
    (near,), (far,) = (compared(recorder, "full", name) for name in ("lora", "dora"))
    ties = {cost.key: cost.tie for cost in near.costs}
    assert (ties["epoch_s"], ties["run_s"], ties["peak_vram_bytes"]) == (True, True, None)
    assert {cost.key: cost.tie for cost in far.costs}["epoch_s"] is False
    assert "up to 10.0 % in an epoch's time" in near.notes[-1]
    assert "(1 pair)" in near.notes[-1]


def test_each_time_has_a_floor_of_its_own(recorder: Any) -> None:
    recorder.spec("full+cache", epoch_s=10.0, fill_s=40.0)
    recorder.spec("full+cache", epoch_s=10.0, fill_s=80.0, repeat=1)
    recorder.spec("lora", epoch_s=12.0)
    (told,) = compared(recorder, "full+cache", "lora")
    assert (told.noise_epoch_share, told.noise_run_share) == (0.0, 151 / 111 - 1)
    ties = {cost.key: cost.tie for cost in told.costs}
    assert (ties["epoch_s"], ties["run_s"]) == (False, True)


def test_what_differs_as_much_from_itself_is_not_told_apart(both: Any) -> None:
    both.spec("full", noise=9.0, repeat=1)
    (told,) = compared(both, "full", "lora:rank=16+bf16")
    assert told.noise_ccc is not None
    assert told.noise_ccc > (told.ccc[-1].difference or 0)
    assert told.ccc[-1].dimension == "mean"
    assert told.ccc[-1].better is None


def test_costs_that_neither_has_are_left_out_and_nothing_is_divided_by_zero(recorder: Any) -> None:
    recorder.spec("full", vram=None)
    recorder.spec("frozen", vram=None)
    (told,) = compared(recorder, "full", "frozen")
    assert "peak_vram_bytes" not in costs(told)
    assert costs(told)["peak_host_anonymous_bytes"] == (2**30, 2**30, 1.0)
    assert comparison._cost("trainable_params", 5, 0).ratio is None
    assert comparison._cost("trainable_params", 0, 5).ratio == 0


def test_rows_of_cost_have_no_ccc(recorder: Any) -> None:
    recorder.spec("full", noise=None, cost_only=True)
    recorder.spec("lora", noise=None, cost_only=True)
    (told,) = compared(recorder, "full", "lora")
    assert (told.ccc, told.cost_only) == ((), True)
    assert told.notes[0] == "These runs measured cost only."


def test_with_few_speakers_nothing_is_told(recorder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(recorder.__call__.__func__.__globals__, "SPEAKERS", 4)
    recorder.spec("full", noise=0.1)
    recorder.spec("lora", noise=5.0)
    (told,) = compared(recorder, "full", "lora")
    assert {each.better for each in told.ccc} == {None}
    assert told.ccc[0].difference_low is None
    assert told.notes[0] == (
        "There are 4 test speakers: with fewer than 5 no difference in CCC can be told."
    )


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ((0, 1, 2), "by speaker and seed, over the seeds both have: 0, 1, 2."),
        ((1, 2, 3), "by speaker and seed, over the seeds both have: 1, 2."),
        ((2, 3, 4), "by speaker alone, over all seeds of both"),
    ],
)
def test_the_pairing_is_said(recorder: Any, seeds: tuple[int, ...], said: str) -> None:
    for a, b in zip((0, 1, 2), seeds, strict=True):
        recorder.spec("full", seed=a)
        recorder.spec("lora", seed=b)
    (told,) = compared(recorder, "full", "lora")
    assert told.notes[0] == "Rows are ranked by the mean of activation and valence."
    assert said in told.notes[1]


def test_a_single_seed_is_said_to_be_one(recorder: Any) -> None:
    recorder.spec("full", seed=7)
    recorder.spec("lora", seed=7)
    (told,) = compared(recorder, "full", "lora")
    assert told.notes[1] == "Differences are of seed 7 alone: of other seeds they say nothing."


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("full", "dora"), r"no finished run of dora here"),
        (("vera", "full"), r"no finished run of vera here"),
        (("vera", "dora"), r"no finished run of vera and none of dora here"),
        (("full", "ia3"), r"no finished run of ia3 here"),
        (("full", "ful"), r"did you mean full"),
        (("full", "full+fp32"), r"'full' is both"),
        (("1", "1"), r"run 1 is both"),
        (("1", "full"), r"two specs or the numbers of two runs, not '1' and 'full'"),
        (("1", "99"), r"no run 99"),
        (("1", "7"), r"run 7 \(ia3\) has no figures: oom: too large"),
        (("1", "8"), r"run 1 does not compare with run 8: they differ in machine"),
    ],
)
def test_what_cannot_be_compared(both: Any, words: tuple[str, str], message: str) -> None:
    both.spec("ia3", status="oom", message="too large")
    both.spec("lora:rank=4", machine="machine-2")
    with pytest.raises(RequestError, match=message):
        compared(both, *words)


def test_what_keeps_the_nearest_rows_apart_is_named(recorder: Any) -> None:
    recorder.spec("full")
    recorder.spec("full", machine="machine-2", training=Training(epochs=9))
    other = Training(epochs=9, batch_size=4)
    recorder.spec("lora", machine="machine-2", device="cpu", training=other)
    with pytest.raises(RequestError) as caught:
        compared(recorder, "full", "lora")
    assert str(caught.value) == (
        "no run of full compares with one of lora: they differ in "
        "device (cuda:0 and cpu), batch_size (16 and 4)"
    )


def test_an_undefined_score_is_no_number(recorder: Any) -> None:
    recorder.spec("full")
    recorder.spec("lora", noise=math.nan)
    (told,) = compared(recorder, "full", "lora")
    assert (told.ccc[0].b, told.ccc[0].difference, told.ccc[0].better) == (None, None, None)
