from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa

from serbench.harness.plan import Training
from serbench.leaderboard import failures, queries_failures
from serbench.leaderboard.failures import Fit


def _fits(recorder: Any, failure_id: int) -> list[Fit]:
    return failures.fits(*queries_failures.fitted(recorder.engine, failure_id))


def _ids(recorder: Any, failure_id: int) -> list[int]:
    return [fit.run["id"] for fit in _fits(recorder, failure_id)]


def test_failures_come_newest_first_and_by_what_is_wanted(recorder: Any) -> None:
    recorder("full")
    oom = recorder("full", status="oom", seed=1)
    failed = recorder("lora", status="failed", machine="machine-2")
    interrupted = recorder("lora", status="interrupted", corpus_name="other")
    kinds = queries_failures.kinds(recorder.engine)

    def ids(**wanted: str | None) -> list[int]:
        found = [run["id"] for run in queries_failures.newest(recorder.engine, wanted, most=9)]
        assert failures.count(kinds, wanted) == len(found)
        return found

    assert ids() == [interrupted, failed, oom]
    assert ids(status="oom") == [oom]
    assert ids(strategy="lora", corpus=None) == [interrupted, failed]
    assert ids(corpus="other") == [interrupted]
    assert ids(machine="machine-2") == [failed]
    assert ids(machine="machine-2", status="oom") == []


def test_what_was_done_again_is_told(recorder: Any) -> None:
    recorder("full", status="failed", message="no room")
    recorder("full", status="failed", seed=1)
    again = recorder("full")
    frame = failures.table(queries_failures.newest(recorder.engine, {}, most=9))
    assert frame["Since then"].tolist() == ["", f"ended well as run {again}"]
    assert frame["Message"].tolist() == ["", "no room"]
    assert frame["Run"].tolist() == ["run?run=2", "run?run=1"]
    assert frame["When (UTC)"][1] == "2024-05-01 00:01"


def test_the_nearest_that_fitted_comes_first(recorder: Any) -> None:
    lora = recorder("lora")
    frozen = recorder("frozen", vram=2**20)
    smaller = recorder("full", training=Training(epochs=3, batch_size=4))
    bits = recorder("full", precision="bf16", training=Training(epochs=3, batch_size=4))
    failure = recorder("full", status="oom")
    found = _fits(recorder, failure)
    assert [fit.run["id"] for fit in found] == [smaller, bits, frozen, lora]
    assert found[0].changes == ("batch size 4 instead of 16",)
    assert found[1].changes == ("bf16 instead of fp32", "batch size 4 instead of 16")
    assert found[2].changes == ("frozen instead of full",)
    frame = failures.fitting(found)
    assert frame["Peak memory"].tolist() == ["2.15 GB", "2.15 GB", "1.05 MB", "2.15 GB"]
    assert frame["Batch size"].tolist() == [4, 4, 16, 16]


def test_fewer_layers_and_a_cache(recorder: Any) -> None:
    fewer = recorder.spec("top-layers:layers=1")
    cached = recorder.spec("top-layers+cache", cached=True)
    failure = recorder.spec("top-layers:layers=3", status="oom")
    told = {fit.run["id"]: fit.changes for fit in _fits(recorder, failure)}
    assert told[fewer] == ("layers 1 instead of 3",)
    assert "cached" in told[cached]


@pytest.mark.parametrize(
    "elsewhere",
    [{"machine": "machine-2"}, {"corpus_name": "other"}, {"backbone": "large"}, {"device": "cpu"}],
)
def test_what_fits_elsewhere_says_nothing(recorder: Any, elsewhere: dict[str, str]) -> None:
    recorder("lora", **elsewhere)
    recorder("vera", status="failed")
    assert _ids(recorder, recorder("full", status="oom")) == []


def test_the_same_with_another_seed_is_told_once(recorder: Any) -> None:
    recorder("full", seed=1)
    newest = recorder("full", seed=2)
    found = _fits(recorder, recorder("full", status="oom"))
    assert [fit.run["id"] for fit in found] == [newest]
    assert "another seed" in failures.fitting(found)["Otherwise"][0]


def test_settings_in_another_order_are_no_other_configuration(recorder: Any) -> None:
    first, second = recorder("full", seed=1), recorder("full", seed=2)
    with recorder.engine.begin() as connection:
        turned = {"id": first, "text": _turned(connection, first)}
        connection.execute(sa.text("UPDATE runs SET training = :text WHERE id = :id"), turned)
    failure = recorder("full", status="oom")
    assert len(queries_failures.fitted(recorder.engine, failure)[1]) == 2
    assert _ids(recorder, failure) == [second]


def _turned(connection: sa.Connection, run_id: int) -> str:
    text = connection.scalar(sa.text("SELECT training FROM runs WHERE id = :id"), {"id": run_id})
    return json.dumps(dict(reversed(json.loads(text).items())))


def test_only_the_nearest_are_told(recorder: Any) -> None:
    for size in range(2, 10):
        recorder("full", training=Training(epochs=3, batch_size=size))
    assert len(_ids(recorder, recorder("full", status="oom"))) == failures.MOST_FITS


def test_there_is_advice_for_every_end() -> None:
    assert any("--batch-size" in line for line in failures.advice("oom"))
    assert failures.advice("interrupted") != failures.advice("failed")
    assert failures.advice("a status of the future") == failures.advice("failed")
