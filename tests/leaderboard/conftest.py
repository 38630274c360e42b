from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import audmetric
import numpy as np
import pytest
import sqlalchemy as sa
from streamlit.testing.v1 import AppTest

from serbench.harness import heads, plan, records
from serbench.harness.metrics import ENROLLED, STAND_INS
from serbench.harness.nvml import MemorySource
from serbench.harness.results import (
    Annotator,
    Counts,
    Distributions,
    Footprint,
    Phase,
    Predictions,
    Provenance,
    Result,
    Score,
    Status,
)
from serbench.harness.scoring import DISTANCES
from serbench.harness.strategy import Precision, Strategy, Variant, discover, parse

START = datetime(2024, 5, 1, tzinfo=timezone.utc)
SPEAKERS = 8
UTTERANCES = 160
PERSONS = 12


@dataclass(frozen=True)
class Probe(Strategy):
    """Any strategy: nothing here trains."""

    rank: int = 8


class Gone(heads.Chosen):
    """A head whose plugin was here when it ran."""

    @property
    def source_hash(self) -> str:
        return "source-1"


def _spec(
    name: str,
    *,
    precision: Precision = "fp32",
    cached: bool = False,
    variant: Variant | None = None,
    **changes: Any,
) -> plan.Spec:
    facts: dict[str, Any] = {
        "source_hash": "source-1",
        "backbone": "tiny",
        "init": "random",
        "backbone_hash": "weights-1",
        "corpus": plan.CorpusRef("made-up"),
        "corpus_name": "made-up",
        "corpus_hash": "manifest-1",
        "head": heads.parse("consensus"),
        "training": plan.Training(epochs=3),
        "seed": 0,
        "device": "cuda:0",
    }
    made_up = Variant(name, Probe(), precision, cached)
    return plan.Spec(variant=variant or made_up, **{**facts, **changes})


def _phases(
    epoch_s: float, fill_s: float | None, vram: int | None, process_vram: int | None
) -> list[Phase]:
    fill = [] if fill_s is None else [Phase(phase="cache_fill", wall_s=fill_s)]
    train = [
        Phase(
            phase="train",
            epoch=epoch,
            cold=epoch == 0,
            wall_s=epoch_s * (5 if epoch == 0 else 1),
            audio_s=600.0,
            loss=1.0 - 0.1 * epoch,
            peak_vram_bytes=vram,
            peak_process_vram_bytes=process_vram,
            peak_host_bytes=3 * 2**30,
            peak_host_anonymous_bytes=2**30,
        )
        for epoch in range(3)
    ]
    return [Phase(phase="setup", wall_s=1.0), *fill, *train]


def _predictions(
    noise: float, seed: int, *, corpus: str = "made-up", fold: str | None = None
) -> list[Predictions]:
    """A fold has the utterances of every so-manieth speaker."""
    labels = np.random.default_rng(99).uniform(1, 7, UTTERANCES)
    generator = np.random.default_rng(seed)
    number, count = map(int, (fold or "1/1").split("/"))
    there = np.flatnonzero(np.arange(UTTERANCES) % SPEAKERS % count == number - 1)
    found = []
    for dimension in ("activation", "valence"):
        predicted = labels + noise * generator.standard_normal(UTTERANCES)
        found.append(
            Predictions(
                corpus=corpus,
                split="test",
                dimension=dimension,
                utterances=tuple(f"u{i:03}" for i in there),
                speakers=tuple(f"s{i % SPEAKERS}" for i in there),
                predicted=tuple(map(float, predicted[there])),
                labels=tuple(map(float, labels[there])),
            )
        )
    return found


def _distributions(
    noise: float, predictions: Predictions, generator: np.random.Generator
) -> Distributions:
    """Rated ones at random, and predicted ones that differ from them by so much."""
    count = len(predictions.utterances)
    rated = np.random.default_rng(98).dirichlet(np.ones(16), UTTERANCES)
    there = [int(name[1:]) for name in predictions.utterances]
    masses = {"rated": rated[there]}
    for name, more in (("predicted", 1.0), ("told", 0.5)):
        other = generator.dirichlet(np.ones(16), count)
        masses[name] = (masses["rated"] + more * noise * other) / (1 + more * noise)
    distances: dict[str, tuple[float | None, ...]] = {
        f"{measure}_true": (None,) * count for measure in DISTANCES
    }
    for measure, distance in DISTANCES.items():
        for end, name in (("", "predicted"), ("_told", "told")):
            distances[measure + end] = tuple(distance(masses[name], masses["rated"]).tolist())
    return Distributions(
        corpus=predictions.corpus,
        split="test",
        utterances=predictions.utterances,
        raters=tuple(5 + i % 3 for i in there),
        masses={
            **{name: each.reshape(count, 4, 4) for name, each in masses.items()},
            "true": None,
        },
        distances=distances,
    )


def _annotators(noise: float, corpus: str, generator: np.random.Generator) -> list[Annotator]:
    """Of each dimension, those told a little better than those not."""
    base = np.random.default_rng(97).uniform(0.2, 0.6, PERSONS)
    return [
        Annotator(
            corpus=corpus,
            split="test",
            dimension=dimension,
            annotator=f"a{i:02}",
            ratings=10 + i,
            ccc=float(base[i] - 0.1 * noise + 0.02 * generator.standard_normal()),
            ccc_told=float(base[i] - 0.05 * noise + 0.02 * generator.standard_normal()),
        )
        for dimension in ("activation", "valence")
        for i in range(PERSONS)
    ]


def _means(distributions: Distributions, annotators: list[Annotator]) -> list[Score]:
    means = {
        (measure, "activation-valence"): values
        for measure, values in distributions.distances.items()
        if None not in values
    }
    for dimension in ("activation", "valence"):
        its = [each for each in annotators if each.dimension == dimension]
        means["annotator_ccc", dimension] = tuple(each.ccc for each in its)
        means["annotator_ccc_told", dimension] = tuple(each.ccc_told for each in its)
    return [
        Score(
            corpus=distributions.corpus,
            split="test",
            metric=measure,
            dimension=dimension,
            value=float(np.mean(np.asarray(values, float))),
        )
        for (measure, dimension), values in means.items()
    ]


def _enrolled(asked: plan.Spec) -> list[Score]:
    """Of the further corpora, the better the earlier a way is named."""
    return [
        Score(
            corpus=other.name,
            split="test",
            metric=ENROLLED + way,
            dimension=dimension,
            value=0.5 - 0.1 * place - 0.01 * asked.seed,
        )
        for other in asked.elsewhere
        for dimension in ("activation", "valence")
        for place, way in enumerate(STAND_INS)
    ]


def _scores(predictions: list[Predictions]) -> list[Score]:
    final = [
        Score(
            corpus=part.corpus,
            split=part.split,
            metric="ccc",
            dimension=part.dimension,
            value=audmetric.concordance_cc(part.labels, part.predicted),
        )
        for part in predictions
    ]
    validation = [
        Score(
            corpus="made-up",
            split="validation",
            metric="ccc",
            dimension="valence",
            value=0.1 * epoch,
            epoch=epoch,
        )
        for epoch in range(3)
    ]
    return final + validation


SOFTWARE = {"python": "3.11", "torch": "2", "transformers": "5", "peft": "1", "threads": None}


class Recorder:
    """Writes made-up runs, each a minute after the one before."""

    def __init__(self, path: Path, former: Recorder | None = None) -> None:
        """Of a database of its own, which begins as a copy of a former one, if there is any."""
        self.path, self.written = path, 0
        if former is not None:
            shutil.copy(former.path, path)
            self.written = former.written
        self.engine: sa.Engine = records.open_database(str(path))

    def spec(self, text: str, **given: Any) -> int:
        """A run of what a spec string says, of a strategy that is registered."""
        return self(text, variant=parse(text), **given)

    def __call__(
        self,
        name: str,
        *,
        noise: float | None = 0.5,
        spread: float | None = None,
        epoch_s: float = 10.0,
        fill_s: float | None = None,
        vram: int | None = 2 * 2**30,
        process_vram: tuple[int, MemorySource] | None = None,
        status: Status = "ok",
        message: str | None = None,
        traceback: str | None = None,
        notes: tuple[str, ...] = (),
        command: str = "serbench run",
        machine: str = "machine-1",
        synthetic: bool = False,
        **spec: Any,
    ) -> int:
        asked = _spec(name, **spec)
        result = Result(status=status, message=message, traceback=traceback, notes=[*notes])
        if status == "ok":
            held_bytes, source = process_vram or (None, None)
            result.phases = _phases(epoch_s, fill_s, vram, held_bytes)
            result.footprint = Footprint(weight_bytes=2**20, process_vram_source=source)
            result.counts = Counts(
                trainable_params=1_000,
                head_params=100,
                total_params=90_000,
                frozen_depth=2,
                stages=6,
                cache_bytes=5_000 if asked.variant.cached else None,
            )
            result.filled_cache = fill_s is not None
        if status == "ok" and noise is not None:
            drawn = 1000 * asked.seed + self.written
            result.predictions = _predictions(noise, drawn, fold=asked.fold)
            for other in asked.elsewhere:
                result.predictions += _predictions(2 * noise, drawn, corpus=other.name)
            result.scores = _scores(result.predictions)
        if spread is not None:
            self._add_spread(result, spread, 1000 * asked.seed + self.written)
        if asked.enrol is not None:
            result.scores += _enrolled(asked)
        self.written += 1
        return records.record(
            self.engine,
            asked,
            result,
            Provenance(
                machine={"key": machine, "gpu": "H100"},
                environment={"key": "environment-1", **SOFTWARE},
                command=command,
            ),
            fingerprint=plan.fingerprint(asked, machine, SOFTWARE),
            started_at=START + timedelta(minutes=self.written),
            synthetic=synthetic,
            derived=False,
        )

    def _add_spread(self, result: Result, noise: float, seed: int) -> None:
        """Distributions and annotators, further from the truth the noisier."""
        for predictions in result.predictions[::2]:
            generator = np.random.default_rng(seed)
            distributions = _distributions(noise, predictions, generator)
            annotators = _annotators(noise, predictions.corpus, generator)
            result.distributions.append(distributions)
            result.annotators.append(tuple(annotators))
            result.scores += _means(distributions, annotators)


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    """To be copied: its tables take longer to make than most tests."""
    discover()
    return Recorder(tmp_path_factory.mktemp("empty") / "runs.db")


@pytest.fixture
def recorder(empty: Recorder, tmp_path: Path) -> Recorder:
    return Recorder(tmp_path / "runs.db", empty)


@pytest.fixture
def gone() -> type[heads.Chosen]:
    """Makes heads whose plugin was here when they ran."""
    return Gone


@pytest.fixture
def make_spec() -> Callable[..., plan.Spec]:
    return _spec


@pytest.fixture(scope="session")
def full(empty: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    """To be copied: five configurations of one comparison, one of which never ended well."""
    recorder = Recorder(tmp_path_factory.mktemp("full") / "runs.db", empty)
    for seed in (0, 1, 2):
        recorder("full", noise=0.4, epoch_s=100.0, seed=seed, synthetic=True)
        recorder("lora", noise=0.41, epoch_s=60.0, seed=seed, synthetic=True)
        recorder("top-layers", noise=2.5, epoch_s=25.0, seed=seed, synthetic=True)
        recorder(
            "top-layers",
            cached=True,
            noise=2.5,
            epoch_s=5.0,
            fill_s=40.0 if seed == 0 else None,
            seed=seed,
            synthetic=True,
        )
    recorder("greedy", status="oom", message="batch of 16 does not fit", synthetic=True)
    return recorder


@pytest.fixture(scope="session")
def fill(full: Recorder) -> Callable[[Path], Recorder]:
    """Makes a database of five configurations, one of which never ended well."""
    return lambda path: Recorder(path, full)


@pytest.fixture
def filled(fill: Callable[[Path], Recorder], tmp_path: Path) -> Recorder:
    """Five configurations of one comparison, one of which never ended well."""
    return fill(tmp_path / "runs.db")


@pytest.fixture
def row() -> Callable[..., Any]:
    """A leaderboard row with every figure NULL but those given."""
    from serbench.leaderboard.ranking import Row

    def make(**given: Any) -> Row:
        facts: dict[str, Any] = {field.name: None for field in dataclasses.fields(Row)}
        facts.update(
            group="g", ranked_by="ccc", rank=1, pareto=False, label="full", name="full",
            strategy="full", config={},
            precision="fp32", cached=False, head="consensus", head_config={},
            backbone="tiny", init="random",
            corpus="made-up", machine="machine-1", machine_name="H100", device="cpu",
            training={"epochs": 3}, cost_only=False, synthetic=False, derived=False, stale=False,
            source_hash="s", runs=1, failed=0, run_ids=(1,), noise_pairs=0,
        )  # fmt: skip
        return Row(**{**facts, **given})

    return make


@pytest.fixture
def best(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets how many rows have intervals, wherever that is known."""
    from serbench.leaderboard import fronts, ranking, recommendation, shortlist
    from serbench.leaderboard.views import annotators, choices
    from serbench.leaderboard.views import ranking as page_of_ranking

    modules = (fronts, ranking, recommendation, shortlist, annotators, choices, page_of_ranking)

    def those(count: int) -> None:
        for module in modules:
            monkeypatch.setattr(module, "BEST", count)

    return those


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Draws one of the pages, the ranking unless said, of a database; the address may say more."""

    def run(path: Path, view: str = "ranking", **address: str) -> AppTest:
        monkeypatch.setenv("SERBENCH_DB", str(path))
        script = (
            f"from serbench.leaderboard.views import choices, {view}\n"
            f"chosen = choices.chosen()\n"
            f"choices.show_warnings(chosen)\n"
            f"{view}.page(chosen)"
        )
        shown = AppTest.from_string(script, default_timeout=60)
        shown.query_params.update(address)
        shown.run()
        assert not shown.exception
        return shown

    return run


@pytest.fixture
def spread(recorder: Any) -> Any:
    """Two rows with distributions, the better by CCC the worse by TVD, and one without."""
    for seed in (0, 1):
        recorder("full", noise=0.1, spread=2.0, seed=seed)
        recorder("lora", noise=1.0, spread=0.5, seed=seed)
        recorder("vera", noise=3.0, seed=seed)
    return recorder
