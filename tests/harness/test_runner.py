"""A process for each run: however it ends, it ends as a result."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serbench.harness import corpora, heads, strategy, targets, worker
from serbench.harness.corpora.base import Corpus
from serbench.harness.heads.annotators import AnnotatorHead
from serbench.harness.heads.base import Head
from serbench.harness.metrics import DIMENSIONS, ccc
from serbench.harness.plan import CorpusRef, Elsewhere, Spec
from serbench.harness.request import Request, plan
from serbench.harness.results import Finished, Message, Note, Phase, Progress, Result, Score
from serbench.harness.runner import Runner
from serbench.harness.trainer import Data, Trainer

PLUGIN = '''
import os, signal
from dataclasses import dataclass
from typing import ClassVar
from serbench.harness.strategy import Strategy, register

@register("ends-{name}")
@dataclass(frozen=True, kw_only=True)
class Ends(Strategy):
    """Ends in a way of its own, after an epoch of the head alone."""

    head_only: ClassVar[bool] = True

    def adapt(self, backbone):
        backbone.freeze()

    def on_epoch_start(self, backbone, epoch):
        if epoch == 1:
            print("last words")
            {deed}
'''


def spec_of(label: str, *plugins: str, **changes: Any) -> Spec:
    request = Request(
        specs=(label,),
        plugins=plugins,
        settings={"limit": "6", "epochs": "2", "batch_size": "4"},
        device="cpu",
    )
    return dataclasses.replace(plan(request).specs[0], **changes)


def ending(runner: Runner, folder: Path, name: str, deed: str) -> Result:
    path = folder / f"ends_{name}.py"
    path.write_text(PLUGIN.format(name=name, deed=deed), "utf-8")
    try:
        return runner.run(spec_of(f"ends-{name}", str(path)), lambda _: None)
    finally:
        strategy.REGISTRY._entries.pop(f"ends-{name}", None)


Ran = tuple[Result, list[Message]]


@pytest.fixture(scope="module")
def ran(runner: Runner) -> Ran:
    """A run of two epochs, and all that it said."""
    heard: list[Message] = []
    return runner.run(spec_of("frozen"), heard.append), heard


def test_a_run_that_goes_well_tells_everything(ran: Ran) -> None:
    result, heard = ran
    assert result.status == "ok"
    phases = [(p.phase, p.epoch) for p in result.phases]
    epochs = [(phase, epoch) for epoch in (0, 1) for phase in ("train", "validate")]
    assert phases == [("setup", None), *epochs, ("test", None)]
    assert result.counts is not None
    assert result.counts.trainable_params == 0
    assert result.counts.head_params == 192 * 256 + 256 + 256 * 3 + 3
    assert result.counts.frozen_depth == result.counts.stages
    final = [s for s in result.scores if s.epoch is None and s.metric == "ccc"]
    assert [s.dimension for s in final] == ["activation", "valence", "dominance"]
    assert {s.split for s in final} == {"test"}
    assert all(len(p.predicted) == 6 for p in result.predictions)
    assert any(isinstance(message, Progress) for message in heard)
    train = [p for p in result.phases if p.phase == "train"]
    assert all(p.peak_host_bytes and p.peak_host_bytes > 50_000_000 for p in train)
    assert all(p.peak_vram_bytes is None for p in train), "not measured is not 0"
    assert all(p.flops and p.padded_audio_s for p in train)
    assert result.start_s is not None
    assert result.start_s > 0
    found = result.footprint
    assert found is not None
    assert found.weight_bytes == 4 * result.counts.total_params
    assert found.gradient_bytes == 4 * result.counts.head_params
    assert found.matmul_flops_per_s
    assert found.gpu_others is None


def test_the_matmul_peak_is_measured_once_a_device_and_precision() -> None:
    runner = Runner()
    peaks = []
    for label in ("frozen", "frozen", "frozen+bf16"):
        result = runner.run(spec_of(label), lambda _: None)
        assert result.footprint is not None
        peaks.append(result.footprint.matmul_flops_per_s)
    assert peaks[0] == peaks[1] != peaks[2]


def test_predictions_are_on_the_corpus_own_scale(ran: Ran) -> None:
    result, _ = ran
    labels = [label for p in result.predictions for label in p.labels]
    assert 1 <= min(labels) < 2.5 < max(labels) <= 7


def test_every_run_has_a_process_of_its_own(runner: Runner, tmp_path: Path) -> None:
    """What one leaves behind in its process, the next does not see."""
    deed = "import builtins; assert not hasattr(builtins, 'left'); builtins.left = 1"
    for name in ("tidily", "tidily-again"):
        assert ending(runner, tmp_path, name, deed).status == "ok"


@pytest.mark.parametrize(
    ("name", "deed", "status", "message"),
    [
        ("with-a-bug", "1 / 0", "failed", "ZeroDivisionError: division by zero"),
        ("without-memory", "raise MemoryError('9 TB for a batch of 4')", "oom", "9 TB"),
        (
            "on-the-device",
            "import torch; raise torch.OutOfMemoryError('CUDA out of memory')",
            "oom",
            "CUDA out of memory",
        ),
        ("too-large", "import torch; torch.empty(1 << 50)", "oom", "memory"),
        ("silently", "os._exit(3)", "failed", "exit code 3"),
        ("killed", "os.kill(os.getpid(), signal.SIGKILL)", "failed", "SIGKILL"),
        ("crashed", "os.kill(os.getpid(), signal.SIGSEGV)", "failed", "SIGSEGV"),
    ],
)
def test_a_run_that_ends_badly_is_a_result(
    name: str, deed: str, status: str, message: str, runner: Runner, tmp_path: Path
) -> None:
    result = ending(runner, tmp_path, name, deed)
    assert result.status == status
    assert result.message is not None
    assert message in result.message
    assert "\n" not in result.message
    trained = [p.epoch for p in result.phases if p.phase == "train"]
    assert trained == [0], "what was clocked before is kept"


def test_an_oom_names_the_batch_size(runner: Runner, tmp_path: Path) -> None:
    result = ending(runner, tmp_path, "hungry", "raise MemoryError('no more')")
    assert result.message == "no more (batch size 4)"


def test_the_last_words_of_a_crashed_process_are_kept(runner: Runner, tmp_path: Path) -> None:
    deed = "import sys; sys.stdout.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    result = ending(runner, tmp_path, "talking", deed)
    assert result.traceback is not None
    assert "last words" in result.traceback


def test_an_interrupt_ends_the_process_and_keeps_what_there_is(runner: Runner) -> None:
    def interrupt(message: Message) -> None:
        if isinstance(message, Phase) and message.phase == "validate":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        runner.run(spec_of("frozen"), interrupt)
    (result,) = caught.value.args
    assert result.status == "interrupted"
    assert [p.phase for p in result.phases] == ["setup", "train", "validate"]


def test_a_cache_that_does_not_fit_fails_that_run_alone(runner: Runner, tmp_path: Path) -> None:
    kept = str(tmp_path / "states")
    result = runner.run(
        spec_of("frozen+cache", cache_dir=kept, cache_limit_bytes=1000), lambda _: None
    )
    assert result.status == "failed"
    assert result.message is not None
    assert "limit" in result.message
    assert result.traceback is None
    assert runner.run(spec_of("frozen+cache", cache_dir=kept), lambda _: None).status == "ok"


def test_a_fresh_cache_is_paid_for_and_gone_afterwards(runner: Runner, tmp_path: Path) -> None:
    for _ in range(2):
        spec = spec_of("frozen+cache", cache_dir=str(tmp_path), fresh_cache=True)
        result = runner.run(spec, lambda _: None)
        assert [p.phase for p in result.phases].count("cache_fill") == 2
        assert list(tmp_path.iterdir()) == []


def test_a_run_without_scores_fills_its_cache_whole(runner: Runner, tmp_path: Path) -> None:
    """It never reads the validation split, so room for that would never be filled."""
    spec = spec_of("frozen+cache", cache_dir=str(tmp_path), fresh_cache=True, cost_only=True)
    result = runner.run(spec, lambda _: None)
    assert [p.phase for p in result.phases].count("cache_fill") == 1
    assert result.counts is not None
    assert result.filled_cache


def test_a_killed_runs_cache_serves_the_next(runner: Runner, tmp_path: Path) -> None:
    """The first is killed in its second epoch; the second finds all states and fills none."""
    plugin = tmp_path / "ends_midway.py"
    plugin.write_text(
        PLUGIN.format(name="midway", deed="os.kill(os.getpid(), signal.SIGKILL)"), "utf-8"
    )
    kept = str(tmp_path / "states")
    killed = runner.run(spec_of("ends-midway+cache", str(plugin), cache_dir=kept), lambda _: None)
    strategy.REGISTRY._entries.pop("ends-midway")
    assert killed.status == "failed"
    result = runner.run(spec_of("frozen+cache", cache_dir=kept), lambda _: None)
    assert result.status == "ok"
    assert "cache_fill" not in [p.phase for p in result.phases]


def test_a_cache_folder_that_cannot_be_made_fails_its_run_alone(
    runner: Runner, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    for fresh in (False, True):
        spec = spec_of("frozen+cache", cache_dir=str(tmp_path / "file" / "x"), fresh_cache=fresh)
        result = runner.run(spec, lambda _: None)
        assert result.status == "failed"
        assert result.message is not None
        assert "file" in result.message


def test_a_model_that_cannot_be_saved_does_not_fail_its_run(runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = runner.run(spec_of("frozen", save_dir=str(tmp_path / "file")), lambda _: None)
    assert result.status == "ok"
    assert result.model_path is None
    assert "was not saved" in result.notes[0]


def test_another_cut_is_another_cache(runner: Runner, tmp_path: Path) -> None:
    for seconds in (1.0, 0.999):
        training = dataclasses.replace(spec_of("frozen").training, max_seconds=seconds)
        spec = spec_of("frozen+cache", cache_dir=str(tmp_path), training=training)
        result = runner.run(spec, lambda _: None)
        assert [p.phase for p in result.phases].count("cache_fill") == 2
        assert result.filled_cache


def test_seeds_and_depths_share_where_they_can(runner: Runner, tmp_path: Path) -> None:
    kept = str(tmp_path)
    fills = []
    for label, seed in (("frozen+cache", 0), ("frozen+cache", 1), ("lora+cache", 0)):
        result = runner.run(spec_of(label, cache_dir=kept, seed=seed), lambda _: None)
        fills.append([p.phase for p in result.phases].count("cache_fill"))
    assert fills == [2, 0, 2]


def test_wrong_arithmetic_is_refused(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """`tests/harness/test_arithmetic.py` says where a kernel really is wrong."""
    from serbench.harness import arithmetic, worker

    wrong = arithmetic.Check("Conv1d 192→192, kernel 32, stride 1, 16 groups", 0.9)
    monkeypatch.setattr(worker, "check_kernels", lambda *_: [wrong])
    with pytest.raises(Exception, match="off by 90% from fp32"):
        worker.run(spec_of("frozen+bf16"), lambda _: None, matmul_flops_per_s=1.0)
    worker.run(spec_of("frozen"), lambda _: None, matmul_flops_per_s=1.0)


def test_steps_are_planned_for_the_turns_of_each_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the learning rate falls to nothing, also where a warmup makes fewer steps."""
    from serbench.harness import worker

    learners = []

    class Kept(Trainer):
        def fit(self, *arguments: Any) -> None:
            super().fit(*arguments)
            learners.append(self)

    monkeypatch.setattr(worker, "Trainer", Kept)
    spec = spec_of("frozen", cost_only=True)
    training = dataclasses.replace(spec.training, epochs=3)
    head = heads.parse("annotators:tasks=1+3,schedule=interleaved,warmup=1")
    spec = dataclasses.replace(spec, head=head, training=training)
    worker.run(spec, lambda _: None, matmul_flops_per_s=1.0)
    (learner,) = learners
    assert learner._step == learner.backbone.total_steps == 2 * (1 + 2 + 2)


def test_a_fold_has_its_own_splits_and_shares_the_cache(runner: Runner, tmp_path: Path) -> None:
    training = dataclasses.replace(spec_of("frozen").training, limit=None, epochs=1)
    tested, filled = [], []
    for fold in ("1/3", "2/3"):
        spec = spec_of(
            "frozen+cache",
            cache_dir=str(tmp_path),
            training=training,
            fold=fold,
            corpus=CorpusRef("generated", "speakers=6,utterances=3"),
            corpus_name="generated",
        )
        result = runner.run(spec, lambda _: None)
        assert result.status == "ok", result.message
        tested.append(set(result.predictions[0].utterances))
        filled.append(result.filled_cache)
    assert len(tested[0]) == len(tested[1]) == 6
    assert not tested[0] & tested[1]
    assert filled == [True, False], "the second finds most of it there"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_model_is_tested_elsewhere_without_training_on_it(runner: Runner, tmp_path: Path) -> None:
    plain = runner.run(spec_of("frozen+cache", cache_dir=str(tmp_path)), lambda _: None)
    other = Elsewhere(
        ref=CorpusRef("generated"), name="generated", hash="h", synthetic=True, derived=False
    )
    spec = spec_of("frozen+cache", cache_dir=str(tmp_path), elsewhere=(other,))
    result = runner.run(spec, lambda _: None)
    assert result.status == "ok", result.message
    own = {(s.split, s.metric, s.dimension, s.epoch): s.value for s in plain.scores}
    assert own == {
        (s.split, s.metric, s.dimension, s.epoch): s.value
        for s in result.scores
        if s.corpus == spec.corpus_name
    }, "it is the same model"
    elsewhere = [s for s in result.scores if s.corpus == "generated" and s.metric == "ccc"]
    assert {(s.split, s.epoch) for s in elsewhere} == {("test", None)}
    assert [s.dimension for s in elsewhere] == list(DIMENSIONS)
    predictions = [p for p in result.predictions if p.corpus == "generated"]
    (corpus,) = {corpora.load(each.ref) for each in spec.elsewhere}
    known = corpus.subset("test").set_index("id")
    for part in predictions:
        assert set(part.utterances) <= set(known.index)
        assert part.labels == tuple(known.loc[list(part.utterances), part.dimension])
        assert min(part.predicted) > 1, "on that corpus's own scale"
        truth, predicted = part.labels, part.predicted
        (score,) = [s for s in elsewhere if s.dimension == part.dimension]
        assert score.value == pytest.approx(ccc(truth, predicted), abs=1e-6)
    assert [p.phase for p in result.phases][-2:] == ["test", "elsewhere"]


def test_annotators_elsewhere_are_strangers_though_they_bear_the_same_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    corpus = corpora.load(CorpusRef("embedded"))
    assert corpus.ratings is not None
    own = targets.annotators_of(corpus)
    assert own
    twin = dataclasses.replace(corpus, name="twin")
    other = Elsewhere(ref=CorpusRef("twin"), name="twin", hash="h", synthetic=True, derived=False)
    spec = dataclasses.replace(
        spec_of("frozen", elsewhere=(other,), enrol=4), head=heads.parse("annotators")
    )
    tested: list[Data] = []
    enrolled: list[dict[str, Any]] = []

    def enrolment(**given: Any) -> Any:
        enrolled.append(given)
        return SimpleNamespace(people=())

    monkeypatch.setattr(corpora, "load", lambda _: twin)
    monkeypatch.setattr(worker, "Enrolment", enrolment)
    monkeypatch.setattr(worker, "_tell", lambda *_: None)
    learner: Any = SimpleNamespace(
        backbone=SimpleNamespace(normalize=False), test_elsewhere=tested.append
    )
    worker._test_elsewhere(spec, corpus, learner, lambda _: None)
    (data,), (given,) = tested, enrolled
    assert data.ratings is not None
    assert set(own) <= set(data.ratings.people), "the same names"
    assert set(data.ratings.annotator) == {-1}
    assert data.ratings.annotators == ()
    assert given["ratings"] is data.ratings
    outside = set(given["outside"].tolist())
    assert outside == {*data.splits["train"].tolist(), *data.splits["validation"].tolist()}
    assert not outside & set(data.splits["test"].tolist())


def test_same_names_elsewhere_give_no_score_of_those_who_are_known(runner: Runner) -> None:
    """All generated corpora have the same annotators by name."""
    words = ("speakers=6,utterances=8", "speakers=9,utterances=8")
    refs = [CorpusRef("generated", each) for each in words]
    first, second = (corpora.load(ref) for ref in refs)
    assert set(annotators(first)) & set(annotators(second)), "the test is of this"
    other = Elsewhere(ref=refs[1], name=second.name, hash="h", synthetic=True, derived=False)
    spec = dataclasses.replace(
        spec_of("frozen", elsewhere=(other,)),
        corpus=refs[0],
        corpus_name=first.name,
        corpus_hash=first.manifest_hash,
        head=heads.parse("annotators"),
    )
    training = dataclasses.replace(spec.training, least_ratings=2, limit=20)
    result = runner.run(dataclasses.replace(spec, training=training), lambda _: None)
    assert result.status == "ok", result.message
    told = {s.corpus for s in result.scores if s.metric.endswith("_told")}
    assert told == {first.name}
    assert "tvd" in {s.metric for s in result.scores if s.corpus == second.name}


def annotators(corpus: Corpus) -> list[str]:
    assert corpus.ratings is not None
    return list(corpus.ratings["annotator"].unique())


def enrolling() -> Spec:
    """Four ratings enrol each of another corpus's annotators."""
    other = Elsewhere(
        ref=CorpusRef("generated", "speakers=9,utterances=8"),
        name="generated:speakers=9,utterances=8",
        hash="h",
        synthetic=True,
        derived=False,
    )
    spec = dataclasses.replace(
        spec_of("frozen", elsewhere=(other,), enrol=4), head=heads.parse("annotators")
    )
    return dataclasses.replace(
        spec, training=dataclasses.replace(spec.training, least_ratings=2, limit=20)
    )


def test_a_head_that_predicts_no_annotators_enrols_nobody_and_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(AnnotatorHead, "everybody", Head.everybody)
    told: list[Message] = []
    worker.run(enrolling(), told.append, matmul_flops_per_s=1.0)
    notes = " ".join(m.text for m in told if isinstance(m, Note))
    assert "the head annotators predicts no single annotators" in notes
    metrics = {m.metric for m in told if isinstance(m, Score)}
    assert not any("enrolled" in metric for metric in metrics)
    assert isinstance(told[-1], Finished)


def test_annotators_of_another_corpus_enrol(runner: Runner) -> None:
    spec = enrolling()
    result = runner.run(spec, lambda _: None)
    assert result.status == "ok", result.message
    assert "annotators of generated" in " ".join(result.notes)
    elsewhere = {s.metric for s in result.scores if s.corpus.startswith("generated")}
    enrolled = {f"annotator_ccc_enrolled_{way}" for way in ("one", "two", "random", "none")}
    assert enrolled < elsewhere
    assert {"tvd", "jsd"} < elsewhere
    assert not any(metric.endswith("_told") for metric in elsewhere)
    own = {s.metric for s in result.scores if s.corpus == spec.corpus_name}
    assert {"tvd_told", "tvd_true", "annotator_ccc_told"} < own
