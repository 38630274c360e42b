"""What happens inside a run's own process, from its `Spec` to its last message."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
import os
import pickle
import random
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from serbench.harness import backbone as backbones
from serbench.harness import corpora, footprint, heads, nvml, strategy
from serbench.harness.arithmetic import check_kernels
from serbench.harness.audio import Audio, in_threads, kept_in_memory, standardised
from serbench.harness.backbone import SAMPLE_RATE_HZ, Backbone, Located
from serbench.harness.batches import Indices
from serbench.harness.cache import StateCache, default_folder
from serbench.harness.corpora.base import SPLITS, Corpus, Split
from serbench.harness.corpora.folds import parted
from serbench.harness.distributions import CELLS
from serbench.harness.enrolment import Enrolment
from serbench.harness.errors import RequestError, SerbenchError, StrategyError
from serbench.harness.export import export
from serbench.harness.guard import Guard
from serbench.harness.heads import Known
from serbench.harness.heads.base import Head
from serbench.harness.heads.consensus import Consensus
from serbench.harness.meter import Gauge, Meter
from serbench.harness.metrics import ENROLLED, size
from serbench.harness.plan import Spec, Training
from serbench.harness.prefix import STATE_DTYPES
from serbench.harness.results import (
    Counts,
    Failure,
    Finished,
    Footprint,
    Message,
    Note,
    Progress,
    Score,
    Started,
)
from serbench.harness.scoring import Scored
from serbench.harness.stages import Stages
from serbench.harness.targets import annotators_of, ratings_of
from serbench.harness.trainer import Data, Evaluation, Trainer

__all__ = ["main", "run"]

PROGRESS_S = 0.2
"""Progress is told at most this often, so that telling costs nothing."""

Send = Callable[[Message], None]


def main(
    plugins: tuple[str, ...],
    pickled_spec: bytes,
    out: Connection,
    log: str,
    matmul_flops_per_s: float | None,
) -> None:
    """Run one spec and tell everything through `out`; whatever it prints goes to the file `log`."""
    # The parent decides what an interrupt means, and ends this process itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    with Path(log).open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        out.send(Started())
        strategy.discover(plugins)
        run(pickle.loads(pickled_spec), out.send, matmul_flops_per_s)
    except Exception as error:  # the border of a run's process: everything becomes a row
        out.send(_failure(error))


def _die_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _failure(error: Exception) -> Failure:
    if isinstance(error, SerbenchError):
        return Failure("failed", str(error))
    line = str(error).strip().partition("\n")[0] or type(error).__name__
    detail = "".join(traceback.format_exception(error))
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in line:
        return Failure("oom", line, detail)
    return Failure("failed", f"{type(error).__name__}: {line}", detail)


def run(spec: Spec, send: Send, matmul_flops_per_s: float | None = None) -> None:
    """Carry out one run and tell everything through `send`.

    Args:
        spec: the run.
        send: takes each message.
        matmul_flops_per_s: of this device at this precision, if an earlier run has measured it.

    Raises:
        SerbenchError: the request, the data or the strategy is wrong.
    """
    # Before CUDA starts: what is on the GPU by then is not this run's.
    with nvml.opened(spec.device) as gpu:
        others = None if gpu is None else gpu.others(cuda_started=torch.cuda.is_initialized())
        if others is not None and others.processes:
            held = "" if others.held_bytes is None else f" ({size(others.held_bytes)})"
            send(Note(f"others held memory on {spec.device}: {others.processes}{held}"))
        device = torch.device(spec.device)
        # Its look at the memory in use comes before CUDA's own.
        meter = Meter(device, send, gpu)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        # fp32 means fp32, whatever the surroundings prefer: TF32 would round products' inputs.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        peak = matmul_flops_per_s or footprint.matmul_flops_per_s(device, spec.variant.precision)
        surroundings = Footprint(
            matmul_flops_per_s=peak,
            gpu_others=others.processes if others else None,
            gpu_other_bytes=others.held_bytes if others else None,
        )
        send(surroundings)
        _carry_out(spec, meter, surroundings, send)


def _carry_out(spec: Spec, meter: Meter, surroundings: Footprint, send: Send) -> None:
    with meter.phase("setup") as gauge:
        corpus = corpora.load(spec.corpus)
        if spec.fold is not None:
            corpus = parted(corpus, spec.fold)
        learner, guard, head = _prepare(spec, corpus, meter, gauge, send)
    send(_counts(learner, head))
    try:
        validation = None if spec.cost_only else _tell_validation(corpus, send)
        learner.fit(validation)
        send(_footprint(learner, meter, surroundings))
        guard.check(learner.learned())
        if not spec.cost_only:
            _tell_test(spec, corpus, learner, send)
            _test_elsewhere(spec, corpus, learner, send)
        path = _save(spec, corpus, learner.backbone, head, meter, send)
    finally:
        learner.close()
    send(
        Finished(
            best_epoch=learner.best_epoch,
            model_path=path,
            filled_cache=learner.filled_cache,
        )
    )


def _footprint(learner: Trainer, meter: Meter, surroundings: Footprint) -> Footprint:
    memory = meter.process_memory
    return dataclasses.replace(
        learner.footprint,
        process_vram_source=None if memory is None else memory.source,
        matmul_flops_per_s=surroundings.matmul_flops_per_s,
        gpu_others=surroundings.gpu_others,
        gpu_other_bytes=surroundings.gpu_other_bytes,
    )


def _prepare(
    spec: Spec, corpus: Corpus, meter: Meter, gauge: Gauge, send: Send
) -> tuple[Trainer, Guard, Head]:
    variant, training, device = spec.variant, spec.training, meter.device
    encoder = backbones.load(
        Located(spec.backbone, spec.init, spec.backbone_folder, spec.backbone_hash)
    )
    data = _data(corpus, training, encoder.normalize, again=not spec.variant.cached)
    data = _with_ratings(data, corpus, spec.head.objective)
    _tell_of_cuts(spec, corpus, data, ("train",) if spec.cost_only else SPLITS, send)
    encoder.model.to(device).eval()
    with _aside(gauge):
        _refuse_wrong_kernels(spec, encoder, device)
    batches = math.ceil(len(data.splits["train"]) / training.batch_size)
    turns = sum(map(spec.head.objective.turns_in, range(training.epochs)))
    encoder.total_steps = math.ceil(batches / training.accumulate) * turns
    _seed(spec.seed)
    variant.strategy.adapt(encoder)
    encoder.model.to(device)
    if encoder.layer_weights is not None:
        encoder.layer_weights.data = encoder.layer_weights.data.to(device)
    annotators = data.ratings.annotators if data.ratings else ()
    head = heads.build(
        spec.head,
        Known(
            hidden_size=encoder.model.config.hidden_size,
            dimensions=corpus.dimensions,
            annotators=len(annotators),
        ),
    )
    with _aside(gauge):
        guard = Guard(encoder, spec.label, variant.strategy.head_only)
    learner = Trainer(
        encoder,
        head.to(device),
        data,
        variant=variant,
        training=training,
        seed=spec.seed,
        device=device,
        meter=meter,
        open_cache=_cache_opener(spec, corpus, data, encoder),
        progress=_throttled(send),
    )
    return learner, guard, head


@contextlib.contextmanager
def _aside(gauge: Gauge) -> Iterator[None]:
    """The harness's own checks are no cost of a strategy."""
    start = time.perf_counter()
    yield
    gauge.aside_s += time.perf_counter() - start


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _refuse_wrong_kernels(spec: Spec, encoder: Backbone, device: torch.device) -> None:
    precision = spec.variant.precision
    if precision == "fp32":
        return
    wrong = [c for c in check_kernels(encoder.model, device, precision) if not c.right]
    if wrong:
        raise RequestError(
            f"{precision} on this device computes {wrong[0].kernel} of {spec.backbone} wrong: its "
            f"result is off by {wrong[0].relative_error:.0%} from fp32, so no number of this run "
            "would mean anything (serbench doctor checks every precision)"
        )


def _data(corpus: Corpus, training: Training, normalize: bool, *, again: bool) -> Data:
    """`again`: audio is asked for in every epoch."""
    table = corpus.utterances
    longest = int(training.max_seconds * SAMPLE_RATE_HZ)
    samples = np.minimum(table["samples"].to_numpy(np.int64), longest)
    indices = {split: corpus.indices(split, training.limit) for split in SPLITS}

    def waveform(index: int) -> npt.NDArray[np.float32]:
        cut = corpus.waveform(index, longest)
        return standardised(cut) if normalize else cut

    decoded = in_threads(waveform)
    read = kept_in_memory(decoded) if again else decoded
    return Data(Audio(read, samples), _labels(corpus, corpus.dimensions), indices)


def _with_ratings(data: Data, corpus: Corpus, objective: heads.Objective) -> Data:
    """The ratings too, and the distributions that the head learns from."""
    learnt_from = data.splits["train"]
    ratings = ratings_of(corpus, corpus.dimensions, annotators_of(corpus, learnt_from))
    if not objective.needs_distribution:
        return dataclasses.replace(data, ratings=ratings)
    distributions = np.full((len(data.labels), CELLS, CELLS), np.nan, np.float32)
    distributions[learnt_from] = ratings.distributions(learnt_from, objective.label_estimator())
    return dataclasses.replace(data, ratings=ratings, distributions=distributions)


def _tell_of_cuts(
    spec: Spec, corpus: Corpus, data: Data, splits: Sequence[Split], send: Send
) -> None:
    used = np.concatenate([data.splits[split] for split in splits])
    cut = int((corpus.utterances["samples"].to_numpy()[used] > data.audio.samples[used]).sum())
    if cut:
        limit = f"{spec.training.max_seconds:g} s"
        counts = f"{cut:,} of {len(used):,} utterances"
        send(Note(f"{counts} of {corpus.name} are longer than {limit} and are cut there"))


def _cache_opener(
    spec: Spec, corpus: Corpus, data: Data, encoder: Backbone
) -> Callable[[int, int], StateCache]:
    """Room for the splits that are read every epoch; for everything where folds share a cache."""
    read: tuple[Split, ...] = ("train",) if spec.cost_only else ("train", "validation")
    # Each fold of a suite pays for its own, as each of its seeds does.
    if spec.fold and not spec.fresh_cache and spec.training.limit is None:
        read = SPLITS

    def open_cache(depth: int, width: int) -> StateCache:
        stages = Stages(encoder)
        kept = np.sort(np.concatenate([data.splits[split] for split in read]))
        frames = np.zeros(len(data.audio.samples), np.int64)
        frames[kept] = stages.frames(torch.from_numpy(data.audio.samples[kept])).numpy()
        audio = hashlib.blake2b(digest_size=12)
        for index in kept:
            audio.update(corpus.audio_key(int(index)).encode())
        dtype = spec.cache_dtype
        if dtype == "auto":
            dtype = str(STATE_DTYPES[spec.variant.precision]).removeprefix("torch.")
        key = {
            "backbone": f"{spec.backbone} {spec.backbone_hash}",
            "corpus": corpus.name,
            "audio": audio.hexdigest(),
            "depth": str(depth),
            "precision": spec.variant.precision,
            "seconds": f"{spec.training.max_seconds:g}",
            "prefix": stages.digest(depth),
            "computed by": f"torch {torch.__version__} on {torch.device(spec.device).type}",
        }
        folder = Path(spec.cache_dir) if spec.cache_dir else default_folder()
        return StateCache(
            folder,
            key,
            frames,
            width,
            dtype,
            limit_bytes=spec.cache_limit_bytes,
            limited=folder.parent if spec.fresh_cache else folder,
        )

    return open_cache


def _throttled(send: Send) -> Callable[[Progress], None]:
    last = 0.0

    def tell(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > PROGRESS_S or progress.done == progress.total:
            last = now
            send(progress)

    return tell


def _counts(learner: Trainer, head: Head) -> Counts:
    encoder = learner.backbone
    head_params = sum(p.numel() for p in head.parameters())
    weights = encoder.layer_weights
    mixing = 0 if weights is None else weights.numel()
    return Counts(
        trainable_params=sum(p.numel() for _, p in encoder.trainable()),
        head_params=head_params,
        total_params=sum(p.numel() for p in encoder.model.parameters()) + mixing + head_params,
        frozen_depth=learner.stages.frozen_depth(),
        stages=len(learner.stages),
        cache_bytes=learner.cache_bytes,
    )


def _tell_validation(corpus: Corpus, send: Send) -> Callable[[int, Evaluation], None]:
    def tell(epoch: int, evaluation: Evaluation) -> None:
        for dimension, value in zip(corpus.dimensions, evaluation.ccc, strict=True):
            send(
                Score(
                    corpus=corpus.name,
                    split="validation",
                    metric="ccc",
                    dimension=dimension,
                    value=value,
                    epoch=epoch,
                )
            )

    return tell


def _tell_test(spec: Spec, corpus: Corpus, learner: Trainer, send: Send) -> None:
    evaluation = learner.test()
    _tell(spec, corpus, corpus.dimensions, evaluation, learner.data, send)


def _test_elsewhere(spec: Spec, corpus: Corpus, learner: Trainer, send: Send) -> None:
    """Test on corpora that were not trained on, in the dimensions that both have."""
    for other in spec.elsewhere:
        found = corpora.load(other.ref)
        data = _data(found, spec.training, learner.backbone.normalize, again=False)
        data = dataclasses.replace(
            data,
            labels=_labels(found, corpus.dimensions),
            # Whoever has rated there is a stranger, whatever their name.
            ratings=ratings_of(found, corpus.dimensions, ()),
        )
        _tell_of_cuts(spec, found, data, ("test",), send)
        evaluation = learner.test_elsewhere(data)
        _tell(spec, found, corpus.dimensions, evaluation, data, send)
        if spec.enrol and spec.head.objective.needs_annotators:
            _test_enrolled(spec, found, corpus.dimensions, learner, data, send)


def _test_enrolled(
    spec: Spec,
    corpus: Corpus,
    dimensions: tuple[str, ...],
    learner: Trainer,
    data: Data,
    send: Send,
) -> None:
    """Let known annotators stand for those of a further corpus, who enrol by what is not tested."""
    assert data.ratings is not None
    assert spec.enrol is not None
    enrolment = Enrolment(
        ratings=data.ratings,
        outside=np.concatenate([data.splits["train"], data.splits["validation"]]),
        each=spec.enrol,
        seed=spec.seed,
    )
    count, people = len(enrolment.people), len(data.ratings.people)
    who = f"{count if people else 0} of {people} known annotators of {corpus.name}"
    send(Note(f"{who} have {spec.enrol} ratings outside its test split to enrol with"))
    if not (count and people):
        return

    def everybody(indices: npt.NDArray[np.int64]) -> Iterator[tuple[Indices, Tensor]]:
        return learner.everybody_elsewhere(data, indices)

    likeness = enrolment.likeness(everybody)
    if likeness is None:
        who = f"nobody of {corpus.name} enrols"
        send(Note(f"the head {spec.head.label} predicts no single annotators: {who}"))
        return
    tested, least = data.splits["test"], spec.training.least_ratings
    for way, column, value in enrolment.scores(likeness, tested, everybody, least):
        if dimensions[column] in corpus.dimensions:
            send(
                Score(
                    corpus=corpus.name,
                    split="test",
                    metric=ENROLLED + way,
                    dimension=dimensions[column],
                    value=value,
                )
            )


def _tell(
    spec: Spec,
    corpus: Corpus,
    dimensions: tuple[str, ...],
    evaluation: Evaluation,
    data: Data,
    send: Send,
) -> None:
    assert data.ratings is not None
    scored = Scored(
        corpus=corpus,
        dimensions=dimensions,
        evaluation=evaluation,
        ratings=data.ratings,
        least_ratings=spec.training.least_ratings,
    )
    for message in scored.messages():
        send(message)


def _labels(corpus: Corpus, dimensions: Sequence[str]) -> npt.NDArray[np.float32]:
    """Labels (N, D) in [-1, 1]; NaN where an utterance, or the whole corpus, has none."""
    table = corpus.utterances
    unlabelled = np.full(len(table), np.nan)
    columns = [corpus.scaled(table[d]) if d in table else unlabelled for d in dimensions]
    return np.stack(columns, axis=1).astype(np.float32)


def _save(
    spec: Spec, corpus: Corpus, encoder: Backbone, head: Head, meter: Meter, send: Send
) -> str | None:
    if spec.save_dir is None:
        return None
    if not isinstance(head, Consensus):
        label = spec.head.label
        send(Note(f"the head {label} has no place in the library's classes: nothing is saved"))
        return None
    name = "".join(c if c.isalnum() or c in "-_.+=" else "_" for c in spec.label)
    about = f"{Path(spec.backbone).name}-{Path(corpus.name).name}"
    fold = f"-fold{spec.fold.replace('/', 'of')}" if spec.fold else ""
    folder = Path(spec.save_dir) / about / f"{name}-seed{spec.seed}{fold}"
    try:
        with meter.phase("save"):
            scale = (corpus.minimum, corpus.maximum)
            export(encoder, head, corpus.dimensions, folder, scale=scale)
    except (StrategyError, OSError) as error:
        # The run is good all the same.
        send(Note(f"the model was not saved: {error}"))
        return None
    return str(folder)
