"""Folders of speech as streams of samples and, frame by frame, the targets of pretraining."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
import torch
from acoustics import HOP, MELS, RATE_HZ, WINDOW, VoiceTracks, energy_db, log_mel, mfcc, voice
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor
from torch.nn import functional

__all__ = ["ENERGY", "GROUPS", "TARGETS", "VOICED", "VOICING", "Crops", "Streams", "build", "draw"]

_WIDTHS = {
    "log-mel": MELS,
    "energy": 1,
    "voicing": 1,
    "spread": MELS,
    "F0": 1,
    "formants": 3,
}
_ENDS = dict(zip(_WIDTHS, np.cumsum([*_WIDTHS.values()]).tolist(), strict=True))
GROUPS = {name: slice(end - _WIDTHS[name], end) for name, end in _ENDS.items()}
"""Columns of the targets: 40 log-mel bands, energy in dB, strength of voicing, spread of each band
around a frame, log2 of F0 and of three formants."""
VOICED = ("F0", "formants")
"""Groups that an unvoiced frame has no values of."""
TARGETS = sum(_WIDTHS.values())
ENERGY, VOICING = GROUPS["energy"].start, GROUPS["voicing"].start
HELD_OUT = 0.03
NOISES = "data_noise_"
"""Files of the Picovoice benchmark that hold noise and no speech."""


@dataclass(frozen=True)
class _Job:
    paths: tuple[Path, ...]
    speeds: tuple[float, ...]
    spread_frames: int


@dataclass(frozen=True)
class _Part:
    """Some files, joined: samples (T·320,), cepstra (T, 39) with each file's own mean and
    deviation taken out, and targets (T, TARGETS)."""

    samples: npt.NDArray[np.int16]
    cepstra: npt.NDArray[np.float16]
    targets: npt.NDArray[np.float16]


@dataclass(frozen=True)
class Streams:
    """Of each source and speed one stream: samples (T·320,), units (T,), targets (T, TARGETS).

    `mean` and `deviation` (TARGETS,) are those of the targets over everything.
    """

    samples: Mapping[str, npt.NDArray[np.int16]]
    units: Mapping[str, npt.NDArray[np.int16]]
    targets: Mapping[str, npt.NDArray[np.float16]]
    mean: npt.NDArray[np.float32]
    deviation: npt.NDArray[np.float32]
    hours: float


@dataclass(frozen=True)
class Crops:
    """A batch: waves (B, S), units (B, T), standardised targets (B, T, TARGETS), voiced (B, T)."""

    waves: Tensor
    units: Tensor
    targets: Tensor
    voiced: Tensor


def build(
    root: Path,
    sources: Sequence[str],
    speeds: Sequence[float],
    *,
    units: int,
    spread_frames: int,
    seed: int,
) -> Streams:
    """Read every source under `root` at every speed and cluster its cepstra into units.

    Args:
        root: holds a folder of .opus files for each source
        units: number of clusters
        spread_frames: how far to either side of a frame the spread of a band reaches

    Raises:
        SystemExit: a source has no files.
    """
    parts = {
        f"{source} {speed}": part
        for source in sources
        for speed, part in _joined(_jobs(root / source, speeds, spread_frames)).items()
    }
    rng = np.random.default_rng(seed)
    sample = [_some(part.cepstra, 200_000 // len(parts), rng) for part in parts.values()]
    clusters = MiniBatchKMeans(units, random_state=seed, n_init=3, batch_size=10_000)
    clusters.fit(np.concatenate(sample).astype(np.float32))
    several = np.concatenate([_some(p.targets, 20_000, rng) for p in parts.values()])
    mean, deviation = _moments(several.astype(np.float32))
    return Streams(
        samples={name: part.samples for name, part in parts.items()},
        units={name: _assigned(part.cepstra, clusters) for name, part in parts.items()},
        targets={name: part.targets for name, part in parts.items()},
        mean=mean,
        deviation=deviation,
        hours=sum(len(parts[f"{s} {speeds[0]}"].samples) * speeds[0] for s in sources)
        / RATE_HZ
        / 3600,
    )


def draw(
    streams: Streams,
    shares: Mapping[str, float],
    speeds: Sequence[float],
    *,
    batch_size: int,
    frames: int,
    gain_db: float,
    held_out: bool,
    rng: np.random.Generator,
) -> Crops:
    """Crops from sources by their shares, at a random speed, place and gain.

    With `held_out` from the last 3 % of each stream. Training hears the first second of them at
    another speed, and clusters and moments are those of all: enough to see whether it overfits.
    """
    picked = rng.choice(list(shares), batch_size, p=np.array([*shares.values()]))
    span = (frames - 1) * HOP + WINDOW
    waves = np.empty((batch_size, span), np.float32)
    units = np.empty((batch_size, frames), np.int64)
    targets = np.empty((batch_size, frames, TARGETS), np.float32)
    for row, source in enumerate(picked):
        name = f"{source} {rng.choice(speeds)}"
        total = len(streams.units[name]) - frames - 1
        border = int(total * (1 - HELD_OUT))
        start = int(rng.integers(border, total) if held_out else rng.integers(border - frames))
        gain = rng.uniform(-gain_db, gain_db)
        waves[row] = streams.samples[name][start * HOP : start * HOP + span]
        waves[row] *= 10 ** (gain / 20) / 32768
        units[row] = streams.units[name][start : start + frames]
        targets[row] = streams.targets[name][start : start + frames]
        targets[row, :, GROUPS["log-mel"]] += gain * np.log(10) / 10
        targets[row, :, ENERGY] += gain
    voiced = targets[..., VOICING] > 0
    targets = (targets - streams.mean) / streams.deviation
    return Crops(*map(torch.from_numpy, (waves.clip(-1, 1), units, targets, voiced)))


def _jobs(folder: Path, speeds: Sequence[float], spread_frames: int) -> list[_Job]:
    paths = [p for p in sorted(folder.glob("*.opus")) if not p.name.startswith(NOISES)]
    if not paths:
        raise SystemExit(f"there is no speech in {folder}")
    groups = [tuple(paths[i : i + 100]) for i in range(0, len(paths), 100)]
    return [_Job(group, tuple(speeds), spread_frames) for group in groups]


def _joined(jobs: Sequence[_Job]) -> dict[float, _Part]:
    with ProcessPoolExecutor() as pool:
        return _by_speed([*pool.map(_read, jobs)])


def _read(job: _Job) -> dict[float, _Part]:
    torch.set_num_threads(1)
    return _by_speed([_measured(path, job) for path in job.paths])


def _by_speed(pieces: Sequence[Mapping[float, _Part]]) -> dict[float, _Part]:
    return {speed: _whole([piece[speed] for piece in pieces]) for speed in pieces[0]}


def _whole(parts: Sequence[_Part]) -> _Part:
    return _Part(
        np.concatenate([p.samples for p in parts]),
        np.concatenate([p.cepstra for p in parts]),
        np.concatenate([p.targets for p in parts]),
    )


def _measured(path: Path, job: _Job) -> dict[float, _Part]:
    """One file at every speed; its voice is measured once, for it moves with the speed."""
    sound, rate_hz = soundfile.read(path, dtype="float32")
    heard = voice(soxr.resample(sound, rate_hz, RATE_HZ))
    return {
        speed: _sped(soxr.resample(sound, rate_hz * speed, RATE_HZ), heard, speed, job)
        for speed in job.speeds
    }


def _sped(wave: npt.NDArray[np.float32], heard: VoiceTracks, speed: float, job: _Job) -> _Part:
    wave = wave[: len(wave) // HOP * HOP]
    # A frame's window reaches 80 samples beyond its hop.
    padded = functional.pad(torch.from_numpy(wave), (0, WINDOW - HOP))[None]
    bands = log_mel(padded)
    strength, octaves = _at_frames(heard, speed, bands.shape[1])
    targets = torch.cat(
        [
            bands,
            energy_db(padded)[..., None],
            strength,
            _spread(bands, job.spread_frames),
            octaves,
        ],
        dim=-1,
    )[0]
    cepstra = mfcc(bands)[0]
    cepstra = (cepstra - cepstra.mean(0)) / (cepstra.std(0) + 1e-3)
    return _Part(
        (wave * 32767).clip(-32768, 32767).astype(np.int16),
        cepstra.numpy().astype(np.float16),
        targets.numpy().astype(np.float16),
    )


def _at_frames(heard: VoiceTracks, speed: float, frames: int) -> tuple[Tensor, Tensor]:
    """Strength of voicing (1, T, 1), and log2 of F0 and the formants (1, T, 4), which go straight
    across what is unvoiced."""
    times = (np.arange(frames) * HOP + WINDOW / 2) / RATE_HZ * speed
    columns = np.column_stack([heard.f0_hz, heard.formants_hz])
    voiced = (heard.strength > 0) & np.isfinite(columns).all(1)
    if not voiced.any():
        return torch.zeros(1, frames, 1), torch.zeros(1, frames, 4)
    octaves = [
        np.interp(times, heard.times[voiced], np.log2(column[voiced] * speed))
        for column in columns.T
    ]
    nearest = np.rint(np.interp(times, heard.times, np.arange(len(heard.times)))).astype(int)
    strength = np.where(voiced, heard.strength, 0)[nearest]
    return (
        torch.from_numpy(strength).float()[None, :, None],
        torch.from_numpy(np.stack(octaves, -1)).float()[None],
    )


def _spread(bands: Tensor, reach: int) -> Tensor:
    """Deviation of each band over `reach` frames to either side, (B, T, M) to (B, T, M)."""
    size = 2 * reach + 1

    def mean(values: Tensor) -> Tensor:
        return functional.avg_pool1d(
            values.transpose(1, 2), size, 1, reach, count_include_pad=False
        ).transpose(1, 2)

    centred = bands - bands.mean(1, keepdim=True)
    return (mean(centred**2) - mean(centred) ** 2).clamp(min=0).sqrt()


def _some(
    rows: npt.NDArray[np.float16], count: int, rng: np.random.Generator
) -> npt.NDArray[np.float16]:
    return rows[rng.integers(len(rows), size=count)]


def _moments(
    targets: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Mean and deviation of each column over the frames that have it."""
    mean, deviation = targets.mean(0), targets.std(0)
    voiced = targets[targets[:, VOICING] > 0]
    for name in VOICED:
        mean[GROUPS[name]] = voiced[:, GROUPS[name]].mean(0)
        deviation[GROUPS[name]] = voiced[:, GROUPS[name]].std(0)
    return mean, deviation


def _assigned(cepstra: npt.NDArray[np.float16], clusters: MiniBatchKMeans) -> npt.NDArray[np.int16]:
    blocks = [
        clusters.predict(cepstra[i : i + 100_000].astype(np.float32)).astype(np.int16)
        for i in range(0, len(cepstra), 100_000)
    ]
    return np.concatenate(blocks)
