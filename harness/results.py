"""What a run says of itself: the messages from its process, and the result that becomes rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Annotator",
    "Counts",
    "Distributions",
    "Failure",
    "Finished",
    "Footprint",
    "Message",
    "Note",
    "Phase",
    "PhaseName",
    "Predictions",
    "Progress",
    "Provenance",
    "Result",
    "Score",
    "Started",
    "Status",
]

Status = Literal["ok", "oom", "failed", "interrupted"]
PhaseName = Literal["setup", "cache_fill", "train", "validate", "test", "elsewhere", "save"]


@dataclass(frozen=True)
class Started:
    """The first word of a run's process."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run is: shown, never stored."""

    phase: PhaseName
    epoch: int
    done: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One clocked stretch of a run; what was not measured is None.

    `epoch` counts from 0 and is None for phases outside the epochs. `loss` is the mean training
    loss of the epoch. Host figures are of the run's own process. `flops` are the floating-point
    operations of the matrix products, attentions and convolutions in it. `energy_j` is the whole
    GPU's; the temperature is the highest, the clock the lowest that was seen, and
    `gpu_throttled` says why the GPU held it back, if it did.
    """

    phase: PhaseName
    wall_s: float
    epoch: int | None = None
    cold: bool = False
    device_s: float | None = None
    data_wait_s: float | None = None
    audio_s: float | None = None
    padded_audio_s: float | None = None
    steps: int | None = None
    loss: float | None = None
    peak_vram_bytes: int | None = None
    peak_reserved_bytes: int | None = None
    peak_host_bytes: int | None = None
    peak_host_anonymous_bytes: int | None = None
    flops: float | None = None
    energy_j: float | None = None
    peak_process_vram_bytes: int | None = None
    gpu_temperature_c: int | None = None
    gpu_clock_hz: int | None = None
    gpu_throttled: str | None = None


@dataclass(frozen=True, kw_only=True)
class Score:
    """One measure on one split; `low` and `high` bound its 95 % interval.

    `epoch` is set for the validation scores that model selection saw, None for the final ones.
    """

    corpus: str
    split: str
    metric: str
    dimension: str
    value: float
    low: float | None = None
    high: float | None = None
    epoch: int | None = None


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The selected model's predictions on one split and dimension, on the corpus's own scale.

    All four tuples have one entry an utterance.
    """

    corpus: str
    split: str
    dimension: str
    utterances: tuple[str, ...]
    speakers: tuple[str, ...]
    predicted: tuple[float, ...]
    labels: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Distributions:
    """The spread of each utterance's ratings over activation and valence, and what was predicted.

    `masses` holds (N, CELLS, CELLS) arrays or None under the names of `DistributionRow`'s columns,
    `distances` an entry an utterance under the names of its measures.
    """

    corpus: str
    split: str
    utterances: tuple[str, ...]
    raters: tuple[int, ...]
    masses: dict[str, NDArray[np.floating] | None]
    distances: dict[str, tuple[float | None, ...]]


@dataclass(frozen=True, kw_only=True)
class Annotator:
    """How well the ratings of one annotator were predicted, and how many they are."""

    corpus: str
    split: str
    dimension: str
    annotator: str
    ratings: int
    ccc: float
    ccc_told: float | None = None


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Parameters and cached bytes, counted once the strategy has adapted the backbone."""

    trainable_params: int
    head_params: int
    total_params: int
    frozen_depth: int
    stages: int
    cache_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Bytes and operations of one training step; None for what is not known.

    `saved_activation_bytes` and `flops_per_step` are for a batch of `step_utterances` that are all
    of the median length, `step_audio_s` together. `matmul_flops_per_s` is what the device reached
    in a large matrix product at the run's precision. `gpu_others` are other processes that held
    memory on the GPU when the run began.
    """

    weight_bytes: int | None = None
    gradient_bytes: int | None = None
    optimizer_bytes: int | None = None
    saved_activation_bytes: int | None = None
    flops_per_step: float | None = None
    step_utterances: int | None = None
    step_audio_s: float | None = None
    matmul_flops_per_s: float | None = None
    process_vram_source: str | None = None
    gpu_others: int | None = None
    gpu_other_bytes: int | None = None


@dataclass(frozen=True)
class Note:
    """Something a reader of the row should know."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The last message of a run that went well."""

    best_epoch: int | None
    model_path: str | None
    filled_cache: bool = False
    """The run itself put all that it reads from the cache there."""


@dataclass(frozen=True)
class Failure:
    """Why a run did not end well: one line for people, and the traceback if there is one."""

    status: Status
    message: str
    traceback: str | None = None


Message = (
    Started
    | Progress
    | Phase
    | Score
    | Predictions
    | Distributions
    | tuple[Annotator, ...]
    | Counts
    | Footprint
    | Note
    | Finished
    | Failure
)


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a number comes from. `machine` and `environment` are flat, as stored."""

    machine: dict[str, str | int | None]
    environment: dict[str, str | int | bool | None]
    command: str


@dataclass(kw_only=True)
class Result:
    """Everything a run said, gathered by the parent until it becomes rows."""

    status: Status = "interrupted"
    message: str | None = None
    traceback: str | None = None
    phases: list[Phase] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    predictions: list[Predictions] = field(default_factory=list)
    distributions: list[Distributions] = field(default_factory=list)
    annotators: list[tuple[Annotator, ...]] = field(default_factory=list)
    counts: Counts | None = None
    footprint: Footprint | None = None
    start_s: float | None = None
    """Seconds from asking for the run's process to its first word: what isolation costs."""
    best_epoch: int | None = None
    model_path: str | None = None
    filled_cache: bool = False
    notes: list[str] = field(default_factory=list)

    def add(self, message: Message) -> None:
        """Take in what the run's process said."""
        match message:
            case Phase():
                self.phases.append(message)
            case Score():
                self.scores.append(message)
            case Predictions():
                self.predictions.append(message)
            case Distributions():
                self.distributions.append(message)
            case tuple():
                self.annotators.append(message)
            case Counts():
                self.counts = message
            case Footprint():
                self.footprint = message
            case Note():
                self.notes.append(message.text)
            case Finished():
                self.status = "ok"
                self.best_epoch, self.model_path = message.best_epoch, message.model_path
                self.filled_cache = message.filled_cache
            case Failure():
                self.status, self.message = message.status, message.message
                self.traceback = message.traceback
            case Started() | Progress():
                pass
