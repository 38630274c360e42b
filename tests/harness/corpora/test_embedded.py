import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from numpy.typing import NDArray

from serbench.harness.corpora import audiofolder, embedded, names
from serbench.harness.corpora.base import SPLITS, Corpus
from serbench.harness.corpora.embedded import FOLDER, POINTS, Annotators
from serbench.harness.corpora.summary import summarise
from serbench.harness.errors import RequestError
from serbench.harness.metrics import DIMENSIONS, ccc

TOOL = Path(__file__).parents[3] / "tools" / "embedded_corpus.py"
TABLES = ("metadata.csv", "ratings.csv", "annotators.csv", "percepts.csv", "corpus.toml")

needs_tool = pytest.mark.skipif(not TOOL.is_file(), reason="the tool is not beside the tests")
needs_espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng, which made the sound, is not installed"
)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return embedded.load(None)


@pytest.fixture(scope="module")
def sentences(corpus: Corpus) -> NDArray[np.str_]:
    table = pd.read_csv(FOLDER / "metadata.csv").set_index("file_name")
    said: NDArray[np.str_] = table.loc[corpus.utterances["id"], "sentence"].to_numpy(dtype=str)
    return said


def percepts(corpus: Corpus) -> NDArray[np.float64]:
    table = pd.read_csv(FOLDER / "percepts.csv").set_index("file_name")
    rows = table.loc[corpus.utterances["id"], list(DIMENSIONS)]
    heard: NDArray[np.float64] = rows.to_numpy(dtype=np.float64)
    return heard


def made(out: Path, *options: str) -> Path:
    subprocess.run([sys.executable, str(TOOL), str(out), *options], check=True)
    return out


# The corpus


def test_it_is_sound_and_says_what_it_is(corpus: Corpus) -> None:
    assert audiofolder.verified(str(FOLDER)).name == "embedded"
    assert corpus.name == "embedded"
    assert corpus.synthetic
    assert not corpus.derived
    assert corpus.licence == "CC0-1.0"
    assert "No person spoke" in str(corpus.notes)
    assert "synthetic" in names()["embedded"]
    assert (corpus.minimum, corpus.maximum) == (1, 7)
    assert corpus.dimensions == DIMENSIONS


def test_it_takes_no_folder() -> None:
    with pytest.raises(RequestError, match="embedded takes no folder"):
        embedded.load("anything")


def test_its_size(corpus: Corpus) -> None:
    seconds = corpus.utterances["samples"] / 16_000
    assert len(corpus.utterances) == 440
    assert round(seconds.max(), 2) == 1.98
    assert round(seconds.sum()) == 576
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) <= 8e6


def test_speakers_are_in_one_split_each(corpus: Corpus) -> None:
    table = corpus.utterances
    assert (table.groupby("speaker")["split"].nunique() == 1).all()
    speakers = table.groupby("split")["speaker"].nunique().to_dict()
    assert speakers == {"train": 22, "validation": 6, "test": 12}


@pytest.mark.parametrize("split", SPLITS)
def test_each_split_has_the_whole_range_of_labels(corpus: Corpus, split: str) -> None:
    rows = corpus.utterances[corpus.utterances["split"] == split]
    for dimension in DIMENSIONS:
        assert rows[dimension].min() < 2.2
        assert rows[dimension].max() > 5.8
    assert abs(rows["activation"].corr(rows["valence"])) < 0.2
    assert 0.4 < rows["activation"].corr(rows["dominance"]) < 0.85


def test_many_annotate_a_few_much(corpus: Corpus) -> None:
    assert corpus.ratings is not None
    assert set(corpus.ratings["value"]) == set(POINTS)
    raters = corpus.ratings.groupby("utterance")["annotator"].nunique()
    assert raters.between(3, 8).all()
    assert len(raters) == len(corpus.utterances)
    rated = corpus.ratings.groupby("annotator")["utterance"].nunique()
    assert len(rated) >= 40
    assert rated.max() > 8 * rated.min()
    for label in summarise(corpus).labels.values():
        assert label.agreement is not None
        assert 0.3 < label.agreement < 0.8


def test_the_label_is_the_mean_rating(corpus: Corpus) -> None:
    assert corpus.ratings is not None
    means = corpus.ratings.groupby(["dimension", "utterance"])["value"].mean()
    for dimension in DIMENSIONS:
        labels = corpus.utterances.set_index("id")[dimension]
        assert labels.to_dict() == means[dimension].to_dict()


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_the_sentence_does_not_tell_the_label(
    corpus: Corpus, sentences: NDArray[np.str_], dimension: str
) -> None:
    labels = corpus.utterances[dimension].groupby(sentences)
    between = (labels.size() * (labels.mean() - corpus.utterances[dimension].mean()) ** 2).sum()
    within = (labels.size() * labels.var(ddof=0)).sum()
    groups, count = labels.ngroups, len(sentences)
    # The upper 5 % of F with 11 and 428 degrees of freedom begin at 1.81.
    assert between / (groups - 1) / (within / (count - groups)) < 1.8
    train = (corpus.utterances["split"] == "train").to_numpy()
    means = corpus.utterances[dimension][train].groupby(sentences[train]).mean()
    guess = means[sentences[~train]].to_numpy()
    assert abs(ccc(corpus.utterances[dimension][~train].to_numpy(), guess)) < 0.15


def test_every_file_is_sound(corpus: Corpus) -> None:
    for row in corpus.utterances.to_dict("records"):
        wave = corpus.waveform(row)
        assert wave.shape == (row["samples"],)
        assert np.isfinite(wave).all()
        assert 0.02 < np.abs(wave).max() <= 1.05
        assert np.sqrt(np.mean(wave**2)) > 0.003


# What the ratings are drawn from


def test_the_true_distribution_is_that_of_simulated_ratings(corpus: Corpus) -> None:
    annotators = Annotators.read()
    draws, rng = 60_000, np.random.default_rng(3)
    heard = percepts(corpus)[:4]
    who = rng.integers(0, len(annotators.names), draws)
    values = annotators.bias[who, None] + annotators.scale[who, None] * heard
    values += annotators.noise[who, None] * rng.standard_normal((draws, 4, 3))
    ratings = np.rint(np.clip(4 + 3 * values, 1, 7))
    simulated = (ratings[..., None] == POINTS).mean(axis=0)
    np.testing.assert_allclose(embedded.truth(corpus)[:4], simulated, atol=0.01)


def test_the_true_distribution_is_one(corpus: Corpus) -> None:
    mass = embedded.truth(corpus)
    assert mass.shape == (len(corpus.utterances), 3, 7)
    assert (mass >= 0).all()
    np.testing.assert_allclose(mass.sum(axis=-1), 1, atol=1e-12)
    expected = mass @ POINTS
    for index, dimension in enumerate(DIMENSIONS):
        assert np.corrcoef(expected[:, index], corpus.utterances[dimension])[0, 1] > 0.9


def test_one_who_hears_exactly_and_one_who_does_not_count() -> None:
    exact = np.array([[0.0], [0.0]]).repeat(3, axis=1)
    opposed = exact + np.array([[1.0], [-1.0]])
    two = Annotators(bias=exact, scale=opposed, noise=exact + 1e-6)
    ends = embedded.rating_mass(np.full((1, 3), 1.2), two)
    np.testing.assert_array_equal(ends[0, 0], [0.5, 0, 0, 0, 0, 0, 0.5])
    first = embedded.annotator_mass(np.full((1, 3), 1.2), two)[0]
    np.testing.assert_array_equal(first[0, 0], [0, 0, 0, 0, 0, 0, 1])


def test_the_ratings_are_drawn_from_the_model(corpus: Corpus) -> None:
    assert corpus.ratings is not None
    annotators = Annotators.read()
    mass = embedded.annotator_mass(percepts(corpus), annotators)
    ids = {name: index for index, name in enumerate(corpus.utterances["id"])}
    who = corpus.ratings["annotator"].map({n: i for i, n in enumerate(annotators.names)})
    which = corpus.ratings["utterance"].map(ids)
    dimension = corpus.ratings["dimension"].map({n: i for i, n in enumerate(DIMENSIONS)})
    drawn_from = mass[who.to_numpy(), which.to_numpy(), dimension.to_numpy()]
    means = drawn_from @ POINTS
    spreads = np.sqrt(drawn_from @ POINTS**2 - means**2)
    known = spreads > 0.1
    residuals = (corpus.ratings["value"].to_numpy() - means)[known] / spreads[known]
    for index in range(3):
        one = residuals[dimension.to_numpy()[known] == index]
        # Standard errors are some 0.02 with 2 300 ratings.
        assert abs(one.mean()) < 0.07
        assert one.std() == pytest.approx(1, abs=0.07)
    counts = (corpus.ratings["value"].to_numpy()[:, None] == POINTS).mean(axis=0)
    np.testing.assert_allclose(drawn_from.mean(axis=0), counts, atol=0.015)


def test_a_few_are_contrary_and_a_few_careless() -> None:
    annotators = Annotators.read()
    kinds = np.array(annotators.kinds)
    assert 2 <= (kinds == "contrary").sum() <= 6
    assert 2 <= (kinds == "careless").sum() <= 6
    assert (annotators.scale[kinds == "contrary", 1] < 0).all()
    assert (annotators.scale[kinds == "careless"] < 0.3).all()
    assert (annotators.scale[kinds == "careful"] > 0.3).all()


# How it was made


@needs_tool
def test_the_tables_are_those_the_tool_makes(tmp_path: Path) -> None:
    made(tmp_path / "again", "--tables")
    for name in TABLES:
        assert (tmp_path / "again" / name).read_text("utf-8") == (FOLDER / name).read_text("utf-8")


@needs_tool
@needs_espeak
def test_two_processes_make_the_same_sound(tmp_path: Path) -> None:
    first, second = (made(tmp_path / name, "--every", "100") for name in ("a", "b"))
    written = sorted(path.name for path in (first / "audio").iterdir())
    assert len(written) == 5
    for name in written:
        assert (first / "audio" / name).read_bytes() == (second / "audio" / name).read_bytes()


@needs_tool
@needs_espeak
def test_the_sound_is_that_of_the_bundle(tmp_path: Path) -> None:
    told = subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True, check=True)
    if " 1.51 " not in told.stdout:
        pytest.skip(f"the bundled sound was made with eSpeak NG 1.51, not {told.stdout.strip()}")
    audio = made(tmp_path / "again", "--every", "100") / "audio"
    for name in sorted(path.name for path in audio.iterdir()):
        again, _ = soundfile.read(audio / name)
        bundled, _ = soundfile.read(FOLDER / "audio" / name)
        # Another machine's Fourier transform or Opus encoder may round another way.
        assert len(again) == len(bundled)
        assert np.corrcoef(again, bundled)[0, 1] > 0.98
