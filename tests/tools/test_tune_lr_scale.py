"""What the grid reads out of a database of runs."""

from __future__ import annotations

from typing import Any

import pytest
import tune_lr_scale


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Rows as of `serbench rank --json`; run 1 was best in its second epoch."""
    rows = [
        {"label": "full", "run_ids": [1], "training": {"epochs": 3, "lr_scale": 5.0}},
        {"label": "full", "run_ids": [2], "training": {"epochs": 3, "lr_scale": 15.0}},
    ]
    epochs = {
        "1": [{"activation": 0.1, "valence": 0.2}, {"activation": 0.7, "valence": 0.5}],
        "2": [{"activation": 0.3, "valence": 0.3}, {"activation": 0.2, "valence": 0.2}],
    }

    def asked(*words: str) -> list[Any]:
        if words[0] == "rank":
            return [rows]
        return [{"epochs": [{"validation": scores} for scores in epochs[words[1]]]}]

    monkeypatch.setattr(tune_lr_scale, "asked", asked)
    return rows


@pytest.mark.usefixtures("database")
def test_the_best_epoch_counts() -> None:
    labels, scales, best = zip(*tune_lr_scale.validated("a.db"), strict=True)
    assert (labels, scales) == (("full", "full"), (5.0, 15.0))
    assert best == pytest.approx((0.6, 0.3))


def test_runs_of_other_settings_are_refused(database: list[dict[str, Any]]) -> None:
    database[1]["training"]["epochs"] = 10
    with pytest.raises(SystemExit, match="other settings"):
        tune_lr_scale.validated("a.db")
