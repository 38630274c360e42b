from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from serbench.harness.metrics import METRICS, SCORED
from serbench.leaderboard import tables
from serbench.leaderboard.ranking import Row

Make = Callable[..., Row]


def test_numbers_are_numbers_in_the_unit_of_the_heading(row: Make) -> None:
    frame = tables.table([row(peak_vram_bytes=3 * 2**30, epoch_s=1.5, trainable_params=2_500_000)])
    assert frame[tables.scaled_title("peak_vram_bytes")].tolist() == [3.0]
    assert "(GiB)" in tables.scaled_title("peak_vram_bytes")
    assert frame[tables.scaled_title("epoch_s")].tolist() == [1.5]
    assert "(s)" in tables.scaled_title("epoch_s")
    assert frame[tables.scaled_title("trainable_params")].tolist() == [2.5]


def test_columns_that_all_rows_lack_are_left_out(row: Make) -> None:
    frame = tables.table([row(epoch_s=1.0), row(ccc_valence=0.5)])
    assert tables.scaled_title("ccc_valence") in frame
    assert tables.scaled_title("ccc_dominance") not in frame
    assert "Notes" not in frame


def test_a_zero_is_no_gap(row: Make) -> None:
    assert tables.scaled_title("trainable_params") in tables.table([row(trainable_params=0)])


def test_marks_say_what_a_reader_must_know(row: Make) -> None:
    assert tables.marks(row()) == ""
    said = tables.marks(
        row(synthetic=True, derived=True, cost_only=True, stale=True, failed=2, failure="oom")
    )
    for word in ("synthetic", "derived", "cost only", "stale", "2 failed (oom)"):
        assert word in said


def test_what_a_page_says_of_all_rows_is_not_said_of_each(row: Make) -> None:
    rows = [row(synthetic=True, derived=True, stale=True), row(synthetic=True, stale=True)]
    told = tables.said_of_all(rows)
    assert told == {"synthetic data"}
    stale = "stale: the strategy has changed since"
    assert [tables.marks(each, told) for each in rows] == [f"derived labels; {stale}", stale]
    assert all("synthetic data" in note for note in tables.table(rows)["Notes"])


def test_a_line_has_the_name_that_tells_it_from_others(row: Make) -> None:
    frame = tables.table([row(label="lora+cache", name="lora+cache (float16)")])
    assert frame["Configuration"].tolist() == ["lora+cache (float16)"]


def test_what_rows_are_ranked_by_comes_first_and_with_its_interval(row: Make) -> None:
    scores = {"ccc_valence": 0.5, "jsd": 0.25, "jsd_low": 0.2, "jsd_high": 0.3, "epoch_s": 1.0}
    by_ccc, by_jsd = (list(tables.table([row(ranked_by=by, **scores)])) for by in ("ccc", "jsd"))
    assert by_ccc == ["Rank", "Configuration", "CCC valence", "Epoch (s)", "Seeds", "JSD (nats)"]
    assert by_jsd[2:5] == ["JSD (nats)", "JSD 95 %", "CCC valence"]


def test_distances_are_of_an_utterance_or_of_all() -> None:
    utterances = pd.DataFrame(
        {"utterance": ["u", "v"], "raters": [5, 6], "tvd": [0.1, 0.3], "tvd_told": [0.2, None]}
    )
    assert tables.distances(utterances, None).startswith("5.5 raters an utterance; TVD 0.200.")
    assert tables.distances(utterances, "u").startswith("5 raters; TVD 0.100, TVD told 0.200.")


def test_intervals_are_written_out(row: Make) -> None:
    frame = tables.table([row(ccc_valence=0.5, ccc_valence_low=0.4, ccc_valence_high=0.6)])
    assert frame["CCC valence 95 %"].tolist() == ["0.400 to 0.600"]


def test_a_row_without_a_rank_leaves_the_others_whole(row: Make) -> None:
    frame = tables.table([row(rank=1), row(rank=None)])
    assert frame["Rank"].tolist()[0] == 1
    assert frame["Rank"].isna().tolist() == [False, True]
    assert str(frame["Rank"].dtype) == "Int64"


def test_curves_and_a_readers_own_score_are_columns_where_there_are_any(row: Make) -> None:
    rows = [row(run_ids=(1,)), row(run_ids=(2,))]
    frame = tables.table(rows, own={(1,): 0.5, (2,): None}, curves={(2,): [0.1, 0.2]})
    assert frame[tables.OWN].isna().tolist() == [False, True]
    assert frame[tables.CURVE].tolist() == [None, [0.1, 0.2]]
    bare = tables.table(rows)
    assert not {tables.OWN, tables.CURVE} & {*bare}


def test_the_usual_columns_are_those_that_most_ask_for(row: Make) -> None:
    frame = tables.table([row(epoch_s=1.0, energy_j=2.0, jsd=0.1, ccc_valence=0.5)])
    usual = tables.usual(frame, "ccc")
    assert usual == ["Rank", "Configuration", "CCC valence", "Epoch (s)", "Seeds"]
    assert "JSD (nats)" in tables.usual(frame, "jsd")


def test_a_column_orders_the_table_best_first(row: Make) -> None:
    given = [(0.5, 3.0), (None, 1.0), (0.9, None), (0.5, 2.0)]
    frame = tables.table([row(ccc_valence=ccc, epoch_s=epoch_s) for ccc, epoch_s in given])
    assert tables.best_first(frame, "CCC valence").index.tolist() == [2, 0, 3, 1]
    assert tables.best_first(frame, "Epoch (s)").index.tolist() == [1, 3, 0, 2]
    assert tables.best_first(frame, "Rank").index.tolist() == [0, 1, 2, 3]


def test_every_column_is_explained_and_every_number_has_a_format(row: Make) -> None:
    facts = {name: 1.0 for name in METRICS if hasattr(row(), name)}
    bounds = {f"{key}_{end}": 0.5 for key in SCORED for end in ("low", "high")}
    whole = row(**facts, **bounds, stale=True, pareto=True)
    frame = tables.table([whole], own={(1,): 1.0}, curves={(1,): [0.5]})
    assert set(tables.explanations(frame)) == set(frame)
    assert tables.explanations(frame)["Epoch (s)"] == METRICS["epoch_s"].description
    numbers = set(frame.select_dtypes("number"))
    assert set(tables.formats(frame)) == {*numbers, tables.CURVE}
    assert tables.formats(frame)["CCC valence"] == "%.3f"


def test_two_machines_share_no_table(row: Make) -> None:
    rows = [
        row(group="a", epoch_s=1.0),
        row(group="b", machine="machine-2", epoch_s=2.0),
        row(group="a", name="lora", epoch_s=3.0),
    ]
    first, second = tables.by_group(rows).items()
    assert "machine-1" in first[0]
    assert first[1]["Configuration"].tolist() == ["full", "lora"]
    assert "machine-2" in second[0]
    every = tables.of_all_groups(rows)
    assert every["Comparison"].tolist() == ["a", "b", "a"]
    assert every["Machine"].tolist()[1] == "H100 (machine-2)"
