import hashlib
import subprocess
import sys
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from serbench.harness.corpora import generated
from serbench.harness.corpora.base import SPLITS, Corpus
from serbench.harness.corpora.generated import GeneratedCorpus, Recipe, Sound
from serbench.harness.corpora.summary import summarise
from serbench.harness.errors import RequestError
from serbench.harness.metrics import ccc


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return generated.load(None)


def test_its_size_and_splits(corpus: Corpus) -> None:
    table = corpus.utterances
    assert corpus.synthetic
    assert (corpus.minimum, corpus.maximum) == (1, 5)
    assert corpus.dimensions == ("activation", "valence", "dominance")
    assert (table.groupby("speaker").size() == 16).all()
    assert table.groupby("split")["speaker"].nunique().to_dict() == {
        "train": 8,
        "validation": 2,
        "test": 2,
    }
    assert table["samples"].between(16_000, 40_000).all()
    assert table["samples"].nunique() > 100


@pytest.mark.parametrize("split", SPLITS)
def test_each_split_has_the_whole_range_of_labels(corpus: Corpus, split: str) -> None:
    rows = corpus.utterances[corpus.utterances["split"] == split]
    for dimension in ("activation", "valence"):
        assert rows[dimension].min() < 1.6
        assert rows[dimension].max() > 4.4


def test_labels_are_the_means_of_3_to_5_ratings(corpus: Corpus) -> None:
    assert corpus.ratings is not None
    raters = corpus.ratings.groupby("utterance")["annotator"].nunique()
    assert set(raters) == {3, 4, 5}
    assert set(corpus.ratings["value"]) == {1, 2, 3, 4, 5}
    means = corpus.ratings.groupby(["dimension", "utterance"])["value"].mean()
    for dimension in corpus.dimensions:
        labels = corpus.utterances.set_index("id")[dimension]
        assert labels.to_dict() == means[dimension].to_dict()


def test_annotators_agree_but_not_wholly_and_dominance_goes_with_activation(
    corpus: Corpus,
) -> None:
    for label in summarise(corpus).labels.values():
        assert label.agreement is not None
        assert 0.5 < label.agreement < 0.9
    labels = corpus.utterances
    assert 0.5 < labels["activation"].corr(labels["dominance"]) < 0.95
    assert abs(labels["activation"].corr(labels["valence"])) < 0.2


def test_waveforms_are_sound_of_the_stated_length(corpus: Corpus) -> None:
    for row in corpus.utterances.iloc[::7].to_dict("records"):
        wave = corpus.waveform(row)
        assert wave.dtype == np.float32
        assert wave.shape == (row["samples"],)
        assert np.isfinite(wave).all()
        assert 0.01 < np.abs(wave).max() <= 1


def test_it_is_the_same_in_another_process(corpus: Corpus) -> None:
    code = (
        "import hashlib; from serbench.harness.corpora import generated; "
        "c = generated.load(None); "
        "print(c.manifest_hash, hashlib.sha256(c.waveform('s03u005').tobytes()).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    digest = hashlib.sha256(corpus.waveform("s03u005").tobytes()).hexdigest()
    assert other.stdout.split() == [corpus.manifest_hash, digest]


def test_keys_tell_sounds_apart(corpus: Corpus) -> None:
    keys = {corpus.audio_key(name) for name in corpus.utterances["id"]}
    assert len(keys) == len(corpus.utterances)
    longer = generated.load("seconds=3")
    assert longer.audio_key("s00u000") not in keys
    assert longer.manifest_hash != corpus.manifest_hash


def sound(activation: float = 0.0, valence: float = 0.0, voice: int = 0) -> NDArray[np.float32]:
    return Sound(
        voice=voice, take=0, samples=32_000, activation=activation, valence=valence
    ).waveform()


def test_activation_is_loud() -> None:
    levels = [np.sqrt(np.mean(sound(activation=value) ** 2)) for value in (-1.0, 0.0, 1.0)]
    assert levels[1] > 1.5 * levels[0]
    assert levels[2] > 1.5 * levels[1]


def test_valence_raises_the_formants() -> None:
    def centroid(wave: NDArray[np.float32]) -> float:
        power = np.abs(np.fft.rfft(wave)) ** 2
        return float((power * np.arange(len(power))).sum() / power.sum())

    raised = [
        centroid(sound(valence=1, voice=voice)) / centroid(sound(valence=-1, voice=voice))
        for voice in range(6)
    ]
    assert np.mean(raised) > 1.05


def test_speakers_differ() -> None:
    assert not np.allclose(sound(voice=0), sound(voice=2), atol=0.01)


def test_labels_are_near_what_the_sounds_express_but_not_it(corpus: Corpus) -> None:
    assert isinstance(corpus, GeneratedCorpus)
    expressed = [sound.valence for sound in corpus.sounds]
    related = np.corrcoef(expressed, corpus.utterances["valence"])[0, 1]
    assert 0.9 < related < 0.995


def features(wave: NDArray[np.float32]) -> NDArray[np.float64]:
    """Level, spread and rise of the log power in 32 bands."""
    frames = np.lib.stride_tricks.sliding_window_view(wave, 512)[::160] * np.hanning(512)
    power = np.log(np.abs(np.fft.rfft(frames, axis=1)) ** 2 + 1e-8)
    bands = np.stack([part.mean(axis=1) for part in np.array_split(power, 32, axis=1)], axis=1)
    third = len(bands) // 3
    rise = bands[-third:].mean(axis=0) - bands[:third].mean(axis=0)
    return np.concatenate([bands.mean(axis=0), bands.std(axis=0), rise])


def test_labels_can_be_learnt_from_the_sound_but_not_read_off(corpus: Corpus) -> None:
    table = corpus.utterances
    inputs = np.stack([features(corpus.waveform(name)) for name in table["id"]])
    test = (table["split"] == "test").to_numpy()
    inputs = (inputs - inputs[~test].mean(axis=0)) / inputs[~test].std(axis=0)
    ridge = inputs[~test].T @ inputs[~test] + 30 * np.eye(inputs.shape[1])
    reached = {}
    for dimension in corpus.dimensions:
        labels = table[dimension].to_numpy()
        mean = labels[~test].mean()
        weights = np.linalg.solve(ridge, inputs[~test].T @ (labels[~test] - mean))
        reached[dimension] = ccc(labels[test], inputs[test] @ weights + mean)
    assert 0.8 < reached["activation"] < 0.99
    assert 0.4 < reached["valence"] < 0.95
    assert 0.3 < reached["dominance"] < 0.95


def test_it_is_fast(corpus: Corpus) -> None:
    names = list(corpus.utterances["id"][:30])
    corpus.waveform(names[0])
    spent = []
    for name in names:
        start = time.perf_counter()
        corpus.waveform(name)
        spent.append(time.perf_counter() - start)
    assert min(spent) < 0.005


def test_parameters_make_bigger_ones() -> None:
    bigger = generated.load("speakers=24,utterances=5,seconds=4")
    assert bigger.name == "generated=speakers=24,utterances=5,seconds=4"
    assert len(bigger.utterances) == 120
    assert set(bigger.utterances["samples"]) == {64_000}
    assert bigger.waveform("s23u004").shape == (64_000,)
    assert bigger.utterances.groupby("split")["speaker"].nunique()["train"] == 16


def test_the_name_holds_what_differs_from_the_defaults() -> None:
    assert generated.load("speakers=12,utterances=16").name == "generated"
    assert Recipe.parse(" seconds = 1.5 ").name == "generated=seconds=1.5"
    assert generated.load("speakers=3,utterances=1").name == "generated=speakers=3,utterances=1"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "sets nothing"),
        ("speaker=3", "'speaker=3' sets nothing"),
        ("speakers=3,speakers=4", "each once"),
        ("speakers", "speakers takes a number, not ''"),
        ("speakers=2.5", "speakers takes a number, not '2.5'"),
        ("speakers=2", "at least 3 speakers"),
        ("utterances=0", "at least 3 speakers and 1 utterance"),
        ("speakers=1000000", "at most"),
        ("seconds=0", "seconds go from 0.025"),
        ("seconds=nan", "seconds go from 0.025"),
        ("seconds=601", "to 600"),
    ],
)
def test_wrong_parameters_are_refused(text: str, wanted: str) -> None:
    with pytest.raises(RequestError, match=wanted):
        generated.load(text)
