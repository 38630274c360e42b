from __future__ import annotations

from collections.abc import Callable

import pandas as pd

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
