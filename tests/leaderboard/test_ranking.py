from __future__ import annotations

import dataclasses
import json
from typing import Any

import audmetric
import pytest

from serbench.harness import heads
from serbench.harness.plan import Training
from serbench.leaderboard import queries, ranking
from serbench.leaderboard.ranking import Row

PROMISED = """
    label strategy config precision cached head backbone corpus machine runs failed
    ccc_activation ccc_activation_low ccc_activation_high ccc_valence ccc_valence_low
    ccc_valence_high ccc_dominance ccc_dominance_low ccc_dominance_high epoch_s audio_s_per_s
    cache_fill_s run_s speedup_vs_full time_saved_vs_full peak_vram_bytes peak_host_bytes
    trainable_params total_params rank pareto break_even_epoch synthetic derived cost_only stale
    device
"""


def ranked(recorder: Any, **options: Any) -> list[Row]:
    engine = queries.open_for_reading(str(recorder.path))
    runs = queries.configurations(engine)
    chosen = ranking.chosen_runs(runs, every_source=options.get("every_source", False))
    return ranking.rank(runs, queries.evidence(engine, chosen), **options)


def by_label(recorder: Any, **options: Any) -> dict[str, Row]:
    return {row.label: row for row in ranked(recorder, **options)}


def test_rows_have_the_promised_keys_and_are_json(filled: Any) -> None:
    row = dataclasses.asdict(ranked(filled)[0])
    assert set(PROMISED.split()) <= set(row)
    json.dumps(row, allow_nan=False)


def test_no_runs_no_rows(recorder: Any) -> None:
    assert ranked(recorder) == []


def test_seeds_are_aggregated(recorder: Any) -> None:
    for seed, epoch_s in enumerate((10.0, 30.0, 11.0)):
        recorder("full", seed=seed, epoch_s=epoch_s, vram=seed + 1)
    (row,) = ranked(recorder)
    runs = queries.configurations(recorder.engine)
    assert row.runs == 3
    assert row.epoch_s == 11.0
    assert row.peak_vram_bytes == 3
    assert row.ccc_valence == pytest.approx(sum(run["ccc_valence"] for run in runs) / 3)


def test_rows_that_differ_in_the_caches_type_alone_have_two_names(recorder: Any) -> None:
    for dtype in ("auto", "float16", "float32"):
        recorder("lora", cached=True, cache_dtype=dtype)
    rows = ranked(recorder)
    assert {row.label for row in rows} == {"lora+cache"}
    assert {row.name for row in rows} == {
        "lora+cache",
        "lora+cache (float16)",
        "lora+cache (float32)",
    }


def test_the_process_memory_has_the_source_of_its_peak(recorder: Any) -> None:
    recorder("full", seed=0, process_vram=(500, "process"))
    recorder("full", seed=1, process_vram=(700, "device delta"))
    recorder("full", seed=2)
    recorder("lora")
    rows = by_label(recorder)
    full, lora = rows["full"], rows["lora"]
    assert (full.peak_process_vram_bytes, full.process_vram_source) == (700, "device delta")
    assert (lora.peak_process_vram_bytes, lora.process_vram_source) == (None, None)


def test_point_and_interval_agree_with_audmetric(recorder: Any) -> None:
    run_id = recorder("full", noise=2.0)
    (row,) = ranked(recorder)
    frame = queries.predictions(recorder.engine, [run_id])
    part = frame[frame["dimension"] == "activation"]
    assert row.ccc_activation == pytest.approx(
        audmetric.concordance_cc(part["label"], part["predicted"])
    )
    figures = [row.ccc_activation_low, row.ccc_activation, row.ccc_activation_high]
    assert figures == sorted(set(figures), key=lambda figure: figure or 0.0)
    assert row.ccc_dominance is None
    assert row.ccc_dominance_low is None


def test_the_newest_run_of_a_seed_counts(recorder: Any) -> None:
    recorder("full", epoch_s=10.0)
    newest = recorder("full", epoch_s=20.0)
    (row,) = ranked(recorder)
    assert (row.runs, row.epoch_s, row.run_ids) == (1, 20.0, (newest,))


def test_ties_share_a_rank_and_clear_differences_do_not(filled: Any) -> None:
    rows = by_label(filled)
    assert rows["full"].rank == rows["lora"].rank == 1
    assert rows["top-layers"].rank == 3
    assert rows["greedy"].rank is None
    assert [row.label for row in ranked(filled)][-1] == "greedy"


@pytest.mark.parametrize(("third", "ranks"), [(0.9, (1, 2)), (0.2, (1, 1))])
def test_a_difference_that_a_seed_turns_round_is_none(
    recorder: Any, third: float, ranks: tuple[int, int]
) -> None:
    for seed, noise in enumerate((0.9, 0.9, third)):
        recorder("full", seed=seed, noise=0.4)
        recorder("lora", seed=seed, noise=noise)
    rows = by_label(recorder)
    assert (rows["full"].rank, rows["lora"].rank) == ranks
    assert (rows["full"].ccc_valence or 0) > (rows["lora"].ccc_valence or 0)


def test_one_speaker_gives_no_interval_and_no_difference(
    recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(recorder.__call__.__func__.__globals__, "SPEAKERS", 1)
    recorder("full", noise=0.1)
    recorder("lora", noise=5.0)
    rows = by_label(recorder)
    assert rows["full"].ccc_valence_low is None
    assert (rows["full"].rank, rows["lora"].rank) == (1, 1)


def test_failures_are_counted_until_they_are_replaced(recorder: Any) -> None:
    recorder("full", seed=0, status="oom", message="too large")
    recorder("full", seed=1, status="failed")
    recorder("full", seed=0)
    (row,) = ranked(recorder)
    assert (row.runs, row.failed, row.failure) == (1, 1, "failed")


def test_a_failed_configuration_shows_without_rank(recorder: Any) -> None:
    recorder("full", status="oom", message="too large")
    (row,) = ranked(recorder)
    assert (row.rank, row.runs, row.failed, row.pareto) == (None, 0, 1, False)
    assert row.failure == "oom: too large"


def test_cached_figures_come_from_runs_that_filled_the_cache(filled: Any) -> None:
    cached = by_label(filled)["top-layers+cache"]
    assert cached.cache_fill_s == 40.0
    assert cached.run_s == 1.0 + 40.0 + 7 * 5.0
    assert cached.runs == 3


def test_cached_figures_are_null_where_no_run_filled_it(recorder: Any) -> None:
    recorder("full", cached=True, fill_s=None)
    (row,) = ranked(recorder)
    assert (row.cache_fill_s, row.run_s, row.break_even_epoch) == (None, None, None)
    assert row.epoch_s == 10.0


@pytest.mark.parametrize(
    ("fill_s", "cached_s", "live_s", "expected"),
    [
        (40.0, 5.0, 25.0, 2),
        (41.0, 5.0, 25.0, 3),
        (0.3, 0.1, 0.2, 3),
        (0.0, 5.0, 25.0, 1),
        (1.0, 25.0, 25.0, None),
        (1.0, 30.0, 25.0, None),
    ],
)
def test_break_even(
    recorder: Any, fill_s: float, cached_s: float, live_s: float, expected: int | None
) -> None:
    recorder("full", epoch_s=live_s)
    recorder("full", cached=True, epoch_s=cached_s, fill_s=fill_s)
    rows = by_label(recorder)
    assert rows["full+cache"].break_even_epoch == expected
    assert rows["full"].break_even_epoch is None


def test_break_even_needs_a_live_row_of_the_same_precision(recorder: Any) -> None:
    recorder("full", epoch_s=50.0)
    recorder("full", cached=True, precision="bf16", epoch_s=5.0, fill_s=1.0)
    assert by_label(recorder)["full+bf16+cache"].break_even_epoch is None


def test_speedup_is_against_the_reference_of_the_same_comparison(recorder: Any) -> None:
    recorder("full", epoch_s=100.0)
    recorder("lora", epoch_s=25.0)
    recorder("lora", epoch_s=25.0, machine="machine-2")
    rows = {(row.label, row.machine): row for row in ranked(recorder)}
    assert rows["lora", "machine-1"].speedup_vs_full == 4.0
    assert rows["lora", "machine-1"].time_saved_vs_full == 0.75
    assert rows["full", "machine-1"].speedup_vs_full == 1.0
    assert rows["lora", "machine-2"].speedup_vs_full is None
    assert by_label(recorder, reference="lora")["full"].speedup_vs_full == 0.25


@pytest.mark.parametrize(
    "other",
    [
        {"machine": "machine-2"},
        {"device": "cpu"},
        {"backbone_hash": "weights-2"},
        {"corpus_hash": "manifest-2"},
        {"cost_only": True},
        {"training": Training(epochs=9)},
    ],
)
def test_only_what_compares_is_ranked_together(recorder: Any, other: dict[str, Any]) -> None:
    recorder("full", noise=0.1)
    recorder("lora", noise=4.0)
    assert [row.rank for row in ranked(recorder)] == [1, 2]
    recorder("bitfit", noise=4.0, **other)
    alone = by_label(recorder)["bitfit"]
    assert alone.rank == 1
    assert alone.group != by_label(recorder)["full"].group


def test_cost_only_rows_are_ranked_by_time(recorder: Any) -> None:
    for name, epoch_s in (("slow", 30.0), ("fast", 10.0), ("also-fast", 10.0)):
        recorder(name, noise=None, epoch_s=epoch_s, cost_only=True)
    rows = by_label(recorder)
    assert (rows["fast"].rank, rows["also-fast"].rank, rows["slow"].rank) == (1, 1, 3)
    assert rows["fast"].ccc_valence is None
    assert (rows["fast"].pareto, rows["slow"].pareto) == (True, False)


def test_cost_only_rows_within_the_noise_share_a_rank(recorder: Any) -> None:
    for name, epoch_s in (("first", 10.0), ("near", 10.9), ("far", 11.1)):
        recorder(name, noise=None, epoch_s=epoch_s, cost_only=True)
    assert [row.rank for row in ranked(recorder)] == [1, 2, 3]
    recorder("far", noise=None, epoch_s=12.21, cost_only=True, repeat=1)
    rows = by_label(recorder)
    assert rows["near"].noise_epoch_share == pytest.approx(0.1)
    assert {name: row.rank for name, row in rows.items()} == {"first": 1, "near": 1, "far": 3}


def test_the_noise_floor_is_the_largest_of_the_group(recorder: Any) -> None:
    scores = []
    for repeat, epoch_s in ((0, 10.0), (1, 8.0), (2, 11.0)):
        recorder("full", epoch_s=epoch_s, repeat=repeat)
        scores.append(_score(queries.configurations(recorder.engine)[-1]))
    recorder("lora", seed=1, epoch_s=10.0)
    recorder("lora", seed=2, epoch_s=99.0, repeat=1)
    recorder("bitfit", machine="machine-2")
    rows = by_label(recorder)
    for name in ("full", "lora"):
        row = rows[name]
        assert row.noise_pairs == 2, "a repeat without the run that it repeats is in none"
        assert row.noise_epoch_share == pytest.approx(10 / 8 - 1)
        # Setup takes a second, and the cold epoch five warm ones: 71 s, 57 s and 78 s.
        assert row.noise_run_share == pytest.approx(71 / 57 - 1)
        assert row.noise_ccc == pytest.approx(
            max(abs(scores[0] - scores[1]), abs(scores[0] - scores[2]))
        )
    other = rows["bitfit"]
    assert (other.noise_pairs, other.noise_epoch_share, other.noise_ccc) == (0, None, None)


def _score(run: Any) -> float:
    return float((run["ccc_activation"] + run["ccc_valence"]) / 2)


def test_repeats_count_for_nothing_else(filled: Any) -> None:
    before = ranked(filled)
    noisy = {"noise": 9.0, "epoch_s": 999.0, "vram": 2**40, "synthetic": True}
    filled("full", repeat=1, **noisy)
    filled("full", repeat=2, status="failed", synthetic=True)
    filled("vera", repeat=1, **noisy)
    filled("lora", repeat=1, source_hash="source-2", **noisy)
    after = ranked(filled)
    assert after[0].noise_pairs == 1
    # What differed by so much from itself tells nothing apart.
    assert {row.rank for row in after} == {1, None}
    unranked: dict[str, Any] = {key: None for key in vars(after[0]) if key.startswith("noise")}
    unranked["rank"] = None
    assert [dataclasses.replace(row, **unranked) for row in sorted(after, key=_label)] == [
        dataclasses.replace(row, **unranked) for row in sorted(before, key=_label)
    ]


def _label(row: Row) -> str:
    return row.label


def test_filling_a_cache_is_no_noise(recorder: Any) -> None:
    recorder("full", cached=True, fill_s=40.0)
    recorder("full", cached=True, repeat=1)
    (row,) = ranked(recorder)
    assert (row.noise_pairs, row.noise_epoch_share, row.noise_run_share) == (1, 0.0, None)


def test_pareto_weighs_ccc_time_and_memory(recorder: Any) -> None:
    recorder("good", noise=0.1, epoch_s=10.0, vram=100)
    recorder("small", noise=3.0, epoch_s=20.0, vram=50)
    recorder("quick", noise=3.0, epoch_s=5.0, vram=100)
    recorder("useless", noise=4.0, epoch_s=20.0, vram=100)
    front = {label for label, row in by_label(recorder).items() if row.pareto}
    assert front == {"good", "small", "quick"}


def test_pareto_takes_host_memory_where_there_is_no_other(recorder: Any) -> None:
    recorder("full", vram=None)
    assert ranked(recorder)[0].pareto


def test_the_latest_source_only_unless_asked(recorder: Any) -> None:
    recorder("full", epoch_s=10.0, source_hash="source-1")
    recorder("full", epoch_s=20.0, source_hash="source-2")
    (row,) = ranked(recorder)
    assert (row.epoch_s, row.stale) == (20.0, False)
    every = ranked(recorder, every_source=True)
    assert {row.source_hash for row in every} == {"source-1", "source-2"}
    assert ranked(recorder, current={"full": "source-3"})[0].stale
    assert not ranked(recorder, current={"full": "source-2"})[0].stale


def test_a_seed_without_a_score_leaves_the_row_without_one(recorder: Any) -> None:
    recorder("full", seed=0)
    recorder("full", seed=1, noise=None)
    recorder("lora", seed=0)
    rows = by_label(recorder)
    assert rows["full"].ccc_valence is None
    assert (rows["full"].rank, rows["lora"].rank) == (None, 1)


def test_what_a_head_states_of_its_defaults_makes_no_other_row(recorder: Any) -> None:
    for seed, head in enumerate(("annotators:tasks=1+3", "annotators", "annotators:tasks=1+3")):
        recorder("full", seed=seed, head=heads.parse(head))
    recorder("full", head=heads.parse("annotators:tasks=1"))
    engine = queries.open_for_reading(str(recorder.path))
    runs = queries.configurations(engine)
    rows = ranking.rank(runs, queries.evidence(engine, ranking.chosen_runs(runs)))
    assert {(row.name, row.runs) for row in rows} == {
        ("full@annotators", 3),
        ("full@annotators:tasks=1", 1),
    }
