"""Every measure: its name, its unit, which way is better, and how it is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "DIMENSIONS",
    "ENROLLED",
    "METRICS",
    "ON_PLANE",
    "RANKED_DIMENSIONS",
    "RANKINGS",
    "SCORED",
    "STAND_INS",
    "Metric",
    "Ranking",
    "Sums",
    "Total",
    "Unit",
    "annotated",
    "ccc",
    "ccc_by_group",
    "count",
    "folds_told",
    "jsd",
    "noise_sentence",
    "several",
    "size",
    "stored",
    "tvd",
    "unranked_sentence",
    "written",
]

DIMENSIONS = ("activation", "valence", "dominance")
RANKED_DIMENSIONS = DIMENSIONS[:2]
"""Dominance is scored where a corpus has it, and too few have it to rank by it."""
ON_PLANE = "-".join(RANKED_DIMENSIONS)
"""Stands where a dimension does for both that distributions are over."""

SHORT = 3
"""Letters that tell dimensions apart."""

Unit = Literal[
    "CCC",
    "TVD",
    "nats",
    "s",
    "audio s/s",
    "×",
    "share",
    "epochs",
    "bytes",
    "parameters",
    "FLOP",
    "J",
]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One measure, as every table, chart and export shows it."""

    key: str
    """As in the objects of `rank --json`."""
    label: str
    """A column's heading."""
    unit: Unit
    higher_is_better: bool | None
    """None where neither end is better by itself."""
    description: str
    """What it is and how it is computed, for a reader new to it."""
    short: str = ""
    """Heads a column of a score where there is little room."""
    score: tuple[str, str] | None = None
    """Measure and dimension under which runs store it, if it is a score of the test split."""


def _concordance(dimension: str, what: str) -> Metric:
    return Metric(
        key=f"ccc_{dimension}",
        label=f"CCC {dimension}",
        unit="CCC",
        higher_is_better=True,
        description=(
            f"How well {dimension} ({what}) is predicted: concordance correlation coefficient of "
            "predictions and labels over all utterances of the test split together; 1 is perfect, "
            "0 is chance, and a wrong mean or spread counts against it as a wrong order does."
        ),
        short=dimension[:SHORT],
        score=("ccc", dimension),
    )


AGAINST = {
    "": ("", "the distribution of the utterance's ratings and that predicted for it"),
    "_told": (
        " told",
        "the distribution of the utterance's ratings and that predicted knowing who rated it",
    ),
    "_true": (
        " true",
        "the distribution that an utterance's simulated annotators rate by and that predicted",
    ),
}
"""By the end of its name what a distance of distributions is between."""


def _distances(name: str, unit: Unit, what: str) -> Iterator[Metric]:
    for suffix, (word, ends) in AGAINST.items():
        yield Metric(
            key=name + suffix,
            label=f"{name.upper()}{word}",
            unit=unit,
            higher_is_better=False,
            description=(
                f"{what} between {ends}, over activation and valence together: mean over the "
                "utterances of the test split that have a distribution; 0 is perfect."
            ),
            short=f"{name.upper()}{word}",
            score=(name + suffix, ON_PLANE),
        )


ENROLLED = "annotator_ccc_enrolled_"
"""Begins the name under which runs store a score of annotators that enrolled."""
_HOW = {
    "": "not knowing who rated",
    "_told": "knowing who rated",
    ENROLLED: "by whom they are like, of those that enrolled with a few ratings",
}


def annotated(dimension: str, how: str = "") -> str:
    """What the CCC of single annotators is, for a reader new to it.

    Args:
        how: they are predicted: the end of the score's name, or `ENROLLED`
    """
    return (
        f"How well the {dimension} that single annotators rated is predicted, {_HOW[how]}: CCC "
        "over each annotator's own ratings, unweighted mean over the annotators who rated enough "
        "of the test split."
    )


STAND_INS = {
    "one": "the nearest annotator",
    "two": "the mean of the two nearest",
    "random": "one at random, as a control",
    "none": "the mean of all",
}
"""By the end of that name who of those known from training stands for each."""


def _annotators() -> Iterator[Metric]:
    for suffix, word, short in (("", "", "each"), ("_told", " told", "told")):
        for dimension in RANKED_DIMENSIONS:
            yield Metric(
                key=f"annotator_ccc{suffix}_{dimension}",
                label=f"Annotators' CCC {dimension}{word}",
                unit="CCC",
                higher_is_better=True,
                description=annotated(dimension, suffix),
                short=f"{short} {dimension[:SHORT]}",
                score=(f"annotator_ccc{suffix}", dimension),
            )


def _seconds(key: str, label: str, description: str) -> Metric:
    return Metric(key=key, label=label, unit="s", higher_is_better=False, description=description)


def _bytes(key: str, label: str, description: str) -> Metric:
    return Metric(
        key=key, label=label, unit="bytes", higher_is_better=False, description=description
    )


def _parameters(key: str, label: str, better: bool | None, description: str) -> Metric:
    return Metric(
        key=key, label=label, unit="parameters", higher_is_better=better, description=description
    )


METRICS: dict[str, Metric] = {
    metric.key: metric
    for metric in (
        _concordance("activation", "calm to excited"),
        _concordance("valence", "negative to positive"),
        _concordance("dominance", "weak to strong"),
        *_distances("tvd", "TVD", "Total variation distance (½ Σ|p − q|)"),
        *_distances("jsd", "nats", "Jensen-Shannon divergence with the natural logarithm"),
        *_annotators(),
        _seconds(
            "epoch_s",
            "Epoch",
            "Wall-clock time of training once over the training split: median over the epochs "
            "after the first, which is cold; from the first batch asked for to the end of the last "
            "optimiser step, without validation, saving and cache filling.",
        ),
        Metric(
            key="audio_s_per_s",
            label="Throughput",
            unit="audio s/s",
            higher_is_better=True,
            description=(
                "Seconds of speech trained on in a second of wall-clock time: all audio of the "
                "warm epochs divided by all their time; padding does not count as audio."
            ),
        ),
        _seconds(
            "cache_fill_s",
            "Cache filling",
            "Wall-clock time for computing the frozen part of the encoder once for each utterance "
            "and storing what comes out; empty for a run without a cache.",
        ),
        _seconds(
            "run_s",
            "Whole run",
            "Wall-clock time of the run's phases: setup, cache filling, training, validation and "
            "test; saving the model and testing it on further corpora are left out.",
        ),
        Metric(
            key="speedup_vs_full",
            label="Speed-up",
            unit="×",
            higher_is_better=True,
            description=(
                "How many times shorter a warm epoch is than when the whole encoder is trained "
                "uncached in fp32, in the same setting on the same machine; 1 is equally long."
            ),
        ),
        Metric(
            key="time_saved_vs_full",
            label="Time saved",
            unit="share",
            higher_is_better=True,
            description=(
                "Share of a warm epoch's time that is saved against training the whole encoder "
                "uncached in fp32 on the same machine; below 0 if it takes longer."
            ),
        ),
        Metric(
            key="break_even_epoch",
            label="Break-even",
            unit="epochs",
            higher_is_better=False,
            description=(
                "Number of epochs after which filling the cache has paid: the first at which the "
                "cached run, filling included, is ahead of the same run without a cache; empty if "
                "it never is, or if there is no such pair of runs."
            ),
        ),
        Metric(
            key="noise_epoch_share",
            label="Noise of an epoch's time",
            unit="share",
            higher_is_better=None,
            description=(
                "By which share the time of a warm epoch differed, at most, when a run of the "
                "comparison was made twice; empty if none was."
            ),
        ),
        Metric(
            key="noise_run_share",
            label="Noise of the whole run's time",
            unit="share",
            higher_is_better=None,
            description=(
                "By which share the time of the whole run differed, at most, when a run of the "
                "comparison was made twice; empty if none was."
            ),
        ),
        Metric(
            key="noise_ccc",
            label="Noise of the CCC",
            unit="CCC",
            higher_is_better=None,
            description=(
                "By how much the mean CCC of the ranked dimensions differed, at most, when a run "
                "of the comparison was made twice; empty if none was."
            ),
        ),
        Metric(
            key="noise_tvd",
            label="Noise of the TVD",
            unit="TVD",
            higher_is_better=None,
            description=(
                "By how much the TVD differed, at most, when a run of the comparison was made "
                "twice; empty if none was."
            ),
        ),
        _bytes(
            "peak_vram_bytes",
            "GPU memory",
            "Most memory that the run's tensors held on the GPU while training (peak allocated, "
            "reset for each phase); empty without a GPU.",
        ),
        _bytes(
            "peak_reserved_bytes",
            "GPU memory reserved",
            "Most memory that the run's allocator had taken from the GPU while training, which is "
            "what must be free for it to fit; empty without a GPU.",
        ),
        _bytes(
            "peak_host_bytes",
            "Host memory",
            "Most resident memory of the run's process while training, mapped files included.",
        ),
        _bytes(
            "peak_host_anonymous_bytes",
            "Host memory of its own",
            "Most resident memory of the run's process while training that belongs to no file: "
            "mapped pages of a cache, which the system can drop at any time, are not in it.",
        ),
        _bytes(
            "cache_bytes",
            "Cache on disk",
            "Size of the stored outputs of the frozen part of the encoder; empty without a cache.",
        ),
        _bytes(
            "peak_process_vram_bytes",
            "GPU memory of the process",
            "Most memory of the run's process on the GPU while training as the driver counts it, "
            "context and kernels included; process_vram_source says how. Empty without a GPU.",
        ),
        _bytes(
            "weight_bytes",
            "Weights",
            "Bytes of all parameters and buffers of encoder, added modules and head.",
        ),
        _bytes(
            "gradient_bytes",
            "Gradients",
            "Bytes of the gradients of what learns.",
        ),
        _bytes(
            "optimizer_bytes",
            "Optimiser",
            "Bytes of the optimiser's state: two moments of each parameter that learns.",
        ),
        _bytes(
            "saved_activation_bytes",
            "Saved activations",
            "Bytes that a step keeps for its backward pass on this kind of device: each storage "
            "once, copies of weights in 16 bits included, for a batch of utterances that are all "
            "of the median length.",
        ),
        Metric(
            key="flops_per_step",
            label="Operations a step",
            unit="FLOP",
            higher_is_better=False,
            description=(
                "Floating-point operations of a step's matrix products, attentions and "
                "convolutions, forward and backward, a multiply and an add as two, for a batch of "
                "utterances that are all of the median length."
            ),
        ),
        Metric(
            key="utilisation",
            label="Utilisation",
            unit="share",
            higher_is_better=True,
            description=(
                "Operations a second in the warm epochs, padding included, as a share of what a "
                "large matrix product reaches on the same device at the same precision: how near "
                "a run is to what the device can do."
            ),
        ),
        _seconds(
            "data_wait_s",
            "Waiting for data",
            "Wall-clock time of a warm epoch in which a step had to wait for its batch.",
        ),
        Metric(
            key="energy_j",
            label="Energy",
            unit="J",
            higher_is_better=False,
            description=(
                "Energy that the whole GPU took in a warm epoch, whoever used it; empty without a "
                "GPU that counts it."
            ),
        ),
        _parameters(
            "trainable_params",
            "Trained",
            False,
            "Parameters of the encoder, and of what was added to it, that learn; the head, which "
            "always learns, is not counted.",
        ),
        _parameters(
            "head_params",
            "Head",
            None,
            "Parameters of the head, which turns the encoder's frames into predictions.",
        ),
        _parameters(
            "total_params",
            "Parameters",
            None,
            "All parameters of encoder, added modules and head, trained or not.",
        ),
    )
}
"""Every measure by its key."""
SCORED = {key: metric.score for key, metric in METRICS.items() if metric.score is not None}
"""By the key of each score of the test split the measure and dimension that runs store it under."""
_BY_NAMES = {metric.score: metric for metric in METRICS.values()}
_OTHERS = {
    "ccc": ("CCC", "CCC of what is predicted, knowing who rated, against the mean label."),
    "pair_ccc": ("CCC of ratings", "All single ratings against what is predicted of them."),
    "expectation_ccc": (
        "CCC of expectation",
        "The expectation of the predicted distribution against the mean label.",
    ),
    "tvd": ("TVD", "Total variation distance of the distribution of this dimension alone."),
    "jsd": ("JSD", "Jensen–Shannon divergence of the distribution of this dimension alone."),
}
"""What no rows are compared by: label, and what it is."""


def stored(measure: str, dimension: str) -> tuple[str, str]:
    """Label and meaning of a score by the names that runs store it under; "" for no meaning."""
    metric = _BY_NAMES.get((measure, dimension))
    if metric:
        return metric.label, metric.description
    if measure.startswith(ENROLLED):
        who = STAND_INS.get(measure.removeprefix(ENROLLED), "")
        return f"Annotators' CCC {dimension}, enrolled: {who}", annotated(dimension, ENROLLED)
    name = next((name for name in AGAINST if name and measure.endswith(name)), "")
    bare, word = measure.removesuffix(name), AGAINST[name][0]
    if bare == "annotator_ccc" and name in _HOW:
        return f"Annotators' CCC {dimension}{word}", annotated(dimension, name)
    label, meaning = _OTHERS.get(bare, (measure, ""))
    return f"{label} {dimension}{word if meaning else ''}", meaning


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """What rows can be ranked by: the mean of some scores."""

    label: str
    short: str
    """Heads its column where there is little room."""
    keys: tuple[str, ...]
    """Of `METRICS`, all of one unit and direction."""

    @property
    def higher_is_better(self) -> bool:
        """Whether the first rank is the highest."""
        return bool(METRICS[self.keys[0]].higher_is_better)

    def of(self, row: Mapping[str, Any]) -> float | None:
        """A row's mean of those of the scores that it has; None if it has none."""
        known = [row[key] for key in self.keys if row[key] is not None]
        return sum(known) / len(known) if known else None


def _mean_over(metric: str, label: str, short: str) -> Ranking:
    keys = [f"{metric}_{dimension}" for dimension in RANKED_DIMENSIONS]
    return Ranking(label=label, short=short, keys=tuple(keys))


RANKINGS: dict[str, Ranking] = {
    "ccc": _mean_over("ccc", "CCC", "mean"),
    "annotator_ccc": _mean_over("annotator_ccc", "annotators' CCC", "each"),
    "annotator_ccc_told": _mean_over("annotator_ccc_told", "annotators' CCC told", "told"),
    **{
        key: Ranking(label=METRICS[key].label, short=METRICS[key].short, keys=(key,))
        for key in SCORED
    },
}
"""What rows can be ranked by, by its name."""


@dataclass(frozen=True)
class Total:
    """A sum of so many values, by which the mean over parts of a whole is exact."""

    count: float
    sum: float

    def __add__(self, other: Total) -> Total:
        return Total(self.count + other.count, self.sum + other.sum)

    @property
    def value(self) -> float | None:
        """The mean; None of nothing."""
        return self.sum / self.count if self.count else None


@dataclass(frozen=True)
class Sums:
    """Sums over pairs of a prediction p and a truth y, by which parts of a whole add up exactly."""

    count: float
    p: float
    y: float
    pp: float
    yy: float
    py: float

    def __add__(self, other: Sums) -> Sums:
        return Sums(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def value(self) -> float | None:
        """As `ccc` of all the pairs; None where that is NaN."""
        n = self.count
        spread = n * (self.pp + self.yy) - 2 * self.p * self.y
        if n < 2 or spread <= 1e-12 * n * (self.pp + self.yy):
            return None
        return 2 * (n * self.py - self.p * self.y) / spread


def ccc(
    truth: Sequence[float] | NDArray[np.floating],
    prediction: Sequence[float] | NDArray[np.floating],
) -> float:
    """Concordance correlation coefficient over pooled utterances, in [-1, 1].

    2 cov / (var_truth + var_prediction + (mean_truth - mean_prediction)²) with population moments;
    Lin (1989), Biometrics 45, 255-268. Both are of shape (N,). Pairs with a NaN are left out. The
    result is NaN if fewer than 2 pairs remain, or if all truths and predictions are one and the
    same number; it is 0 if truth or prediction is constant otherwise.

    Raises:
        ValueError: the shapes differ.
    """
    import audmetric
    import numpy as np

    given = np.asarray(truth, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    if given[0].shape != given[1].shape:
        raise ValueError(f"{len(given[0])} truths, but {len(given[1])} predictions")
    known = ~(np.isnan(given[0]) | np.isnan(given[1]))
    kept = given[0][known], given[1][known]
    if len(kept[0]) < 2:
        return float("nan")
    # The formula would give 0/0, or whatever the rounding of the means makes of it.
    if 0.0 in (np.ptp(kept[0]), np.ptp(kept[1])):
        return float("nan") if np.array_equal(*kept) else 0.0
    return float(audmetric.concordance_cc(*kept))


def ccc_by_group(
    truth: NDArray[np.floating],
    prediction: NDArray[np.floating],
    group: NDArray[np.int64],
    groups: int,
) -> NDArray[np.float64]:
    """`ccc` within each group, (G,): the same to rounding, all at once.

    Args:
        truth: (N,)
        prediction: (N,)
        group: (N,), from 0 to `groups` - 1
        groups: G
    """
    import numpy as np

    known = ~(np.isnan(truth) | np.isnan(prediction))
    group = group[known]
    counts = np.bincount(group, minlength=groups)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        means: NDArray[np.float64] = np.bincount(group, values, groups) / np.maximum(counts, 1)
        return means

    x, y = truth[known].astype(np.float64), prediction[known].astype(np.float64)
    mean_x, mean_y = mean(x), mean(y)
    x, y = x - mean_x[group], y - mean_y[group]
    spread = mean(x * x) + mean(y * y) + (mean_x - mean_y) ** 2
    defined = (counts > 1) & (spread > 1e-12)
    found: NDArray[np.float64] = 2 * mean(x * y) / np.where(defined, spread, 1.0)
    found[~defined] = np.nan
    return found


def tvd(p: NDArray[np.floating], q: NDArray[np.floating]) -> NDArray[np.float64]:
    """Total variation distance ½ Σ|p − q| of each pair of distributions, in [0, 1].

    Both are of shape (N, …), each of N adding up to 1; the result is (N,).
    """
    import numpy as np

    difference = np.abs(np.asarray(p, np.float64) - np.asarray(q, np.float64))
    distance: NDArray[np.float64] = difference.reshape(len(difference), -1).sum(axis=1) / 2
    return distance


def jsd(p: NDArray[np.floating], q: NDArray[np.floating]) -> NDArray[np.float64]:
    """Jensen-Shannon divergence of each pair of distributions in nats, in [0, ln 2].

    ½ KL(p ‖ m) + ½ KL(q ‖ m) with m = (p + q) / 2 and the natural logarithm: Lin (1991), IEEE
    Trans. Inf. Theory 37, 145-151. Shapes as of `tvd`.
    """
    import numpy as np

    p, q = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (p, q))
    middle = (p + q) / 2

    def divergence(x: NDArray[np.float64]) -> NDArray[np.float64]:
        logarithm = np.log(np.where(x > 0, x, 1.0) / np.where(x > 0, middle, 1.0))
        terms: NDArray[np.float64] = (x * logarithm).sum(axis=1)
        return terms

    found: NDArray[np.float64] = np.maximum((divergence(p) + divergence(q)) / 2, 0.0)
    return found


def size(count: float | None) -> str:
    """Bytes for people; a dash for what was not measured."""
    if count is None:
        return "–"
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:  # what would be written as 1e+03
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def count(number: float | None) -> str:
    """Parameters for people; a dash for what was not measured."""
    if number is None:
        return "–"
    for unit in ("", "k", "M"):
        if number < 999.5:  # what would be written as 1e+03
            return f"{number:.3g}{unit}"
        number /= 1000
    return f"{number:.3g}G"


def several(number: int, what: str) -> str:
    """So many of something for people: `1 epoch`, `2 epochs`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def written(key: str, value: float | None) -> str:
    """A cost with its unit for people; a dash for what was not measured."""
    if METRICS[key].unit == "s":
        return "–" if value is None else f"{value:.2f} s"
    return size(value) if METRICS[key].unit == "bytes" else count(value)


def folds_told(row: Mapping[str, Any]) -> str:
    """Which folds a row's scores are of, such as `5 folds` or `folds 1, 2 of 5`; empty for none."""
    numbers, count = row["fold_numbers"], row["folds"]
    if count is None:
        return ""
    if len(numbers) == count:
        return f"{count} folds"
    ending = "s" if len(numbers) > 1 else ""
    return f"fold{ending} {', '.join(map(str, numbers))} of {count}"


def noise_sentence(row: Mapping[str, Any]) -> str:
    """The noise floor of a row's comparison for people; empty if no run was made twice."""
    times = {"noise_epoch_share": "an epoch's time", "noise_run_share": "the whole run's"}
    told = [f"{100 * row[k]:.1f} % in {what}" for k, what in times.items() if row[k] is not None]
    scores = {"noise_ccc": "CCC", "noise_tvd": "TVD"}
    told += [f"{row[key]:.3f} in {what}" for key, what in scores.items() if row[key] is not None]
    if not told:
        return ""
    pairs = several(row["noise_pairs"], "pair")
    return (
        f"The same run twice differed by up to {', '.join(told)} ({pairs}): smaller differences "
        "are ties."
    )


def unranked_sentence(rows: Sequence[Mapping[str, Any]]) -> str:
    """Why rows of one comparison have a score and no rank; empty if none has."""
    by = RANKINGS[rows[0]["ranked_by"]]
    keys = [key for key in by.keys if any(row[key] is not None for row in rows)]
    ranked = [row for row in rows if row["rank"] is not None]
    left = [
        row for row in rows if row["rank"] is None and all(row[key] is not None for key in keys)
    ]
    if not keys or not ranked or not left:
        return ""
    return (
        f"Of {len(rows):,} rows the {len(ranked)} best by {by.label} have a rank and intervals; "
        "the others follow in the order of their scores, untested."
    )
