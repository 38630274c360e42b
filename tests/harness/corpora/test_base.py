import dataclasses
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from serbench.harness.corpora import base, folds, recordings
from serbench.harness.corpora.base import SPLITS, UNKNOWN, Corpus, Split
from serbench.harness.corpora.recordings import absent, probe
from serbench.harness.corpora.summary import summarise
from serbench.harness.errors import CorpusError

WriteWav = Callable[..., Path]


def table(folder: Path, **columns: Any) -> pd.DataFrame:
    names = ["a", "b", "c"]
    good: dict[str, Any] = {
        "id": names,
        "path": [str(folder / f"{name}.wav") for name in names],
        "speaker": ["s1", "s2", "s3"],
        "split": list(SPLITS),
        "samples": [1600] * 3,
        "valence": [1.0, 3.0, math.nan],
    }
    whole: pd.DataFrame = pd.DataFrame({**good, **columns})
    return whole


def ratings(**columns: Any) -> pd.DataFrame:
    good: dict[str, Any] = {
        "utterance": ["a", "a"],
        "annotator": ["r1", "r2"],
        "dimension": ["valence", "valence"],
        "value": [1.0, 2.0],
    }
    rated: pd.DataFrame = pd.DataFrame({**good, **columns})
    return rated


def corpus(folder: Path, rated: pd.DataFrame | None = None, **columns: Any) -> Corpus:
    return Corpus(
        name="three",
        utterances=table(folder, **columns),
        minimum=1.0,
        maximum=5.0,
        ratings=rated,
    )


@pytest.fixture
def three(tmp_path: Path, write_wav: WriteWav) -> Path:
    for name in ("a", "b", "c"):
        write_wav(tmp_path / "first" / f"{name}.wav")
    return tmp_path / "first"


def test_dimensions_are_those_with_a_column(tmp_path: Path) -> None:
    assert corpus(tmp_path).dimensions == ("valence",)
    both = corpus(tmp_path, activation=[1.0, 2.0, 3.0])
    assert both.dimensions == ("activation", "valence")


def test_scaling_goes_to_minus_1_and_1_and_back(tmp_path: Path) -> None:
    scaled = corpus(tmp_path).scaled([[1.0, 3.0, 5.0], [2.0, 4.0, math.nan]])
    np.testing.assert_allclose(scaled, np.array([[-1, 0, 1], [-0.5, 0.5, math.nan]]))
    np.testing.assert_allclose(corpus(tmp_path).unscaled([-1, 0, 0.5, 1]), [1, 3, 4, 5])


def test_only_unknown_speakers_may_be_in_two_splits(tmp_path: Path) -> None:
    assert len(corpus(tmp_path, speaker=[UNKNOWN, UNKNOWN, "s1"]).utterances) == 3


def test_every_fold_says_where_each_speaker_is(tmp_path: Path) -> None:
    whole: dict[str, Split] = {"s1": "train", "s2": "validation", "s3": "test"}
    with pytest.raises(CorpusError) as caught:
        dataclasses.replace(corpus(tmp_path), folds=(whole, {"s1": "test"}))
    assert caught.value.findings == (
        "fold 2 does not say where speaker 's2' is",
        "fold 2 does not say where speaker 's3' is",
    )


def test_an_utterance_may_be_a_part_of_its_file(tmp_path: Path) -> None:
    wave = np.linspace(-0.5, 0.5, 48_000, dtype=np.float32)
    soundfile.write(tmp_path / "long.wav", wave, 16_000, subtype="FLOAT")
    found = corpus(
        tmp_path,
        path=[str(tmp_path / "long.wav")] * 3,
        start_s=[0.5, 2.95, math.nan],
        samples=[8000, 1600, 48_000],
    )
    np.testing.assert_array_equal(found.waveform(0), wave[8000:16_000])
    np.testing.assert_array_equal(found.waveform(2), wave)
    assert len({found.audio_key(i) for i in range(3)}) == 3
    assert len({found.content_key(i) for i in range(3)}) == 3
    with pytest.raises(CorpusError, match="gives 800 samples at 16 kHz, not the 1600"):
        found.waveform(1)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_what_is_cut_off_is_not_decoded(
    rate_hz: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    noise = np.convolve(rng.normal(0, 0.1, 20 * rate_hz), np.ones(50) / 50, "same")
    soundfile.write(tmp_path / "a.wav", noise, rate_hz, subtype="FLOAT")
    found = corpus(tmp_path, samples=[320_000, 1600, 1600])
    whole = found.waveform("a")
    decoded = []
    read = soundfile.SoundFile.read

    def watched(*args: Any, **kwargs: Any) -> Any:
        frames = read(*args, **kwargs)
        decoded.append(len(frames))
        return frames

    monkeypatch.setattr(soundfile.SoundFile, "read", watched)
    np.testing.assert_allclose(found.waveform("a", 32_000), whole[:32_000], atol=1e-6)
    assert 2 * rate_hz <= decoded[0] <= 2.2 * rate_hz


def test_a_subset_is_one_split(tmp_path: Path) -> None:
    rows = corpus(tmp_path).subset("validation")
    assert list(rows["id"]) == ["b"]
    assert list(rows.index) == [0]


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        ({"id": ["a", "a", "c"]}, "'a' is there twice"),
        ({"split": ["train", "test", "dev"]}, "unknown split 'dev'"),
        ({"speaker": ["s1", "s2", "s1"]}, "speaker 's1' is in more than one split"),
        ({"samples": [1600, 1600, 399]}, "'c' is shorter than 400 samples"),
        ({"valence": [math.nan] * 3}, "no utterance has a label for valence"),
        ({"valence": [1.0, 5.1, 2.0]}, "'b': valence is outside the scale"),
    ],
)
def test_breaches_of_the_contract_are_found(
    tmp_path: Path, columns: dict[str, Any], wanted: str
) -> None:
    with pytest.raises(CorpusError) as caught:
        corpus(tmp_path, **columns)
    assert any(wanted in finding for finding in caught.value.findings)


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        ({"utterance": ["a", "z"]}, "unknown utterance"),
        ({"dimension": ["valence", "joy"]}, "unknown dimension"),
        ({"value": [1.0, math.nan]}, "outside the scale"),
        ({"annotator": ["r1", "r1"]}, "rated an utterance twice"),
    ],
)
def test_breaches_in_the_ratings_are_found(
    tmp_path: Path, columns: dict[str, Any], wanted: str
) -> None:
    with pytest.raises(CorpusError, match=wanted):
        corpus(tmp_path, ratings(**columns))


def test_missing_columns_and_an_empty_scale_are_found(tmp_path: Path) -> None:
    whole = table(tmp_path)
    with pytest.raises(CorpusError, match="no column speaker, samples"):
        Corpus(
            name="x", utterances=whole.drop(columns=["samples", "speaker"]), minimum=1, maximum=5
        )
    with pytest.raises(CorpusError, match="no label column"):
        Corpus(name="x", utterances=whole.drop(columns="valence"), minimum=1, maximum=5)
    with pytest.raises(CorpusError, match="the scale goes from 5 to 5"):
        Corpus(name="x", utterances=whole, minimum=5, maximum=5)


@pytest.mark.parametrize(
    ("rate_hz", "channels"), [(16_000, 1), (8_000, 1), (44_100, 2), (48_000, 1), (11_025, 3)]
)
def test_waveforms_are_mono_at_16_khz_and_as_long_as_said(
    tmp_path: Path, write_wav: WriteWav, rate_hz: int, channels: int
) -> None:
    path = write_wav(tmp_path / "a.wav", seconds=0.5037, rate_hz=rate_hz, channels=channels)
    (samples,) = probe([path])
    assert isinstance(samples, int)
    assert abs(samples - 0.5037 * 16_000) <= 1
    wave = corpus(tmp_path, samples=[samples] * 3).waveform("a")
    assert wave.dtype == np.float32
    assert wave.shape == (samples,)
    middle = slice(1000, samples - 1000)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(samples) / 16_000)
    np.testing.assert_allclose(wave[middle], expected[middle], atol=2e-3)


def test_channels_are_averaged(tmp_path: Path) -> None:
    both = np.stack([np.full(1600, 0.5), np.full(1600, -0.25)], axis=1)
    soundfile.write(tmp_path / "a.wav", both, 16_000)
    np.testing.assert_allclose(corpus(tmp_path).waveform("a"), 0.125, atol=1e-4)


def test_a_row_does_as_well_as_an_id(three: Path) -> None:
    found = corpus(three)
    row = found.utterances.iloc[1]
    np.testing.assert_array_equal(found.waveform(row), found.waveform("b"))
    assert found.audio_key(row) == found.audio_key({"id": "b"}) == found.audio_key("b")


def test_audio_that_is_gone_changed_or_broken_is_named(three: Path, write_wav: WriteWav) -> None:
    found = corpus(three)
    (three / "a.wav").unlink()
    write_wav(three / "b.wav", seconds=0.2)
    (three / "c.wav").write_bytes(b"RIFF")
    for name in ("a", "b", "c"):
        with pytest.raises(CorpusError, match=str(three / f"{name}.wav")):
            found.waveform(name)
    with pytest.raises(CorpusError, match=r"a\.wav"):
        found.audio_key("a")
    with pytest.raises(CorpusError, match=r"a\.wav"):
        _ = found.manifest_hash


def test_audio_with_nans_is_refused(tmp_path: Path) -> None:
    wave = np.zeros(1600, dtype=np.float32)
    wave[7] = np.nan
    soundfile.write(tmp_path / "a.wav", wave, 16_000, subtype="FLOAT")
    with pytest.raises(CorpusError, match="not finite"):
        corpus(tmp_path).waveform("a")


def test_an_utterance_without_a_file_has_no_default_waveform(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="'a' has no audio file"):
        corpus(tmp_path, path=[None] * 3).waveform("a")


def test_the_audio_key_follows_path_size_and_time(three: Path, tmp_path: Path) -> None:
    found = corpus(three)
    key = found.audio_key("a")
    assert key != found.audio_key("b")
    (tmp_path / "link").symlink_to(three)
    assert corpus(tmp_path / "link").audio_key("a") == key
    os.utime(three / "a.wav", ns=(1, 1))
    assert found.audio_key("a") != key


def test_a_copy_elsewhere_has_the_same_manifest_hash(three: Path, tmp_path: Path) -> None:
    expected = corpus(three).manifest_hash
    shutil.copytree(three, tmp_path / "copy", copy_function=shutil.copyfile)
    assert corpus(tmp_path / "copy").manifest_hash == expected


@pytest.mark.parametrize(
    "columns",
    [
        {"speaker": ["s1", "s2", "s4"]},
        {"split": ["train", "test", "validation"]},
        {"samples": [1600, 1600, 1601]},
        {"valence": [1.0, 3.0, 3.0]},
        {"activation": [1.0, 3.0, 3.0]},
    ],
)
def test_the_manifest_hash_follows_the_table(three: Path, columns: dict[str, Any]) -> None:
    assert corpus(three, **columns).manifest_hash != corpus(three).manifest_hash


def test_the_manifest_hash_follows_files_ratings_and_scale(
    three: Path, write_wav: WriteWav
) -> None:
    plain = corpus(three)
    rated = corpus(three, ratings())
    other = corpus(three, ratings(value=[1.0, 3.0]))
    folds: Mapping[str, Split] = {"s1": "test", "s2": "train", "s3": "validation"}
    folded = dataclasses.replace(plain, folds=(folds,))
    wider = Corpus(name="three", utterances=table(three), minimum=1, maximum=7)
    nameless = dataclasses.replace(rated, anonymous=True)
    every = (plain, rated, other, wider, folded, nameless)
    hashes = {each.manifest_hash for each in every}
    assert len(hashes) == len(every)
    backwards = corpus(three, ratings().iloc[::-1])
    assert backwards.manifest_hash == rated.manifest_hash
    write_wav(three / "a.wav", seconds=0.2)
    assert corpus(three).manifest_hash not in hashes


def test_probing_says_what_is_wrong(tmp_path: Path, write_wav: WriteWav) -> None:
    good = write_wav(tmp_path / "good.wav")
    empty = tmp_path / "empty.wav"
    empty.touch()
    found = probe([good, empty, tmp_path / "none.wav", tmp_path, tmp_path / "a\0.wav"])
    assert found[:3] == [1600, "the file is empty", "there is no such file"]
    assert str(found[3]).startswith("unreadable audio")
    assert found[4] == "there is no such file"


def test_agreement_is_the_mean_ccc_of_pairs_who_share_three(tmp_path: Path) -> None:
    same: dict[str, list[int | None]] = {
        "r1": [1, 3, 5],
        "r2": [1, 3, 5],
        "r3": [5, 3, 1],
        "r4": [2, 2, None],
    }
    rows = [
        {"utterance": u, "annotator": r, "dimension": "valence", "value": float(v)}
        for r, values in same.items()
        for u, v in zip("abc", values, strict=True)
        if v is not None
    ]
    summary = summarise(corpus(tmp_path, pd.DataFrame(rows)))
    assert summary.annotators == 4
    assert summary.labels["valence"].agreement == pytest.approx((1 - 1 - 1) / 3)


BACKWARDS = pd.CategoricalDtype(
    ["valence", "train", "test", "validation", "s3", "s2", "s1", "r2", "r10", "c", "b", "a"]
)


@pytest.mark.parametrize("text", ["string[pyarrow]", "category", BACKWARDS, object])
def test_how_text_is_held_does_not_matter(three: Path, text: Any) -> None:
    plain = corpus(three, ratings(utterance=["b", "a"], annotator=["r2", "r10"]))
    assert plain.ratings is not None
    held = dataclasses.replace(
        plain,
        utterances=plain.utterances.astype(dict.fromkeys(["id", "speaker", "split"], text)).astype(
            {"path": "category" if isinstance(text, pd.CategoricalDtype) else text}
        ),
        ratings=plain.ratings.astype(dict.fromkeys(["utterance", "annotator", "dimension"], text)),
    )
    assert held.manifest_hash == plain.manifest_hash
    assert [held.audio_key(i) for i in range(3)] == [plain.audio_key(i) for i in range(3)]
    np.testing.assert_array_equal(held.waveform("b"), plain.waveform("b"))
    assert summarise(held) == summarise(plain)
    assert folds.parted(held, "1/3").utterances["split"].tolist() == list(
        folds.parted(plain, "1/3").utterances["split"]
    )
    with pytest.raises(CorpusError) as caught:
        dataclasses.replace(held, folds=({"s1": "test"},))
    assert len(caught.value.findings) == 2
    if text in (object, "string[pyarrow]"):
        with pytest.raises(CorpusError, match="speaker 's1' is in more than one split"):
            corpus(three, speaker=pd.array(["s1", "s1", "s2"], text))


def test_the_manifest_hash_is_of_lines_of_json(three: Path) -> None:
    labelled = table(three, activation=[-0.0, 0.0, 1 / 3])
    rated = ratings(value=[1.5, 2.0])
    found = Corpus(name="x", utterances=labelled, minimum=-1.0, maximum=5.0, ratings=rated)
    size = str((three / "a.wav").stat().st_size)
    lines: list[list[object]] = [
        [-1.0, 5.0, "activation", "valence"],
        ["a", "s1", "train", 1600, -0.0, 1.0, size],
        ["b", "s2", "validation", 1600, 0.0, 3.0, size],
        ["c", "s3", "test", 1600, 1 / 3, math.nan, size],
        ["a", "r1", "valence", 1.5],
        ["a", "r2", "valence", 2.0],
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    assert found.manifest_hash == hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def test_the_manifest_hash_does_not_rest_on_its_chunks(
    three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (three / "c.wav").write_bytes(b"another size")
    expected = corpus(three, ratings()).manifest_hash
    monkeypatch.setattr(base, "CHUNK", 2)
    assert corpus(three, ratings()).manifest_hash == expected


def test_the_audio_key_is_of_the_file_that_a_link_leads_to(three: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("a", "b", "c"):
        (elsewhere / f"{name}.wav").symlink_to(three / f"{name}.wav")
    assert corpus(elsewhere).audio_key("a") == corpus(three).audio_key("a")


def test_a_length_may_be_rounded_to_10_ms(three: Path) -> None:
    rounded = corpus(three, samples=[1600 + 160, 1600 - 160, 1600 + 161])
    assert [len(rounded.waveform(i)) for i in (0, 1)] == [1760, 1440]
    assert not rounded.waveform(0)[1600:].any()
    with pytest.raises(CorpusError, match="gives 1600 samples at 16 kHz, not the 1761"):
        rounded.waveform(2)


def test_files_are_looked_for_without_being_opened(tmp_path: Path, write_wav: WriteWav) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("no audio", encoding="utf-8")
    names = ["good.wav", "empty.wav", "none.wav", "text.wav", ".", "a\0.wav"]
    write_wav(tmp_path / "good.wav")
    assert absent(str(tmp_path / name) for name in names) == {
        1: "the file is empty",
        2: "there is no such file",
        4: "unreadable audio (that is no file)",
        5: "there is no such file",
    }


def test_many_files_are_probed_in_turn(
    tmp_path: Path, write_wav: WriteWav, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "HANDED_OVER", 2)
    paths = [write_wav(tmp_path / f"{i}.wav", seconds=i / 10) for i in range(1, 6)]
    assert probe(paths) == [1600, 3200, 4800, 6400, 8000]
