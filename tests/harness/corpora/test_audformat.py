import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import audformat
import numpy as np
import pandas as pd
import pytest
import soundfile

from serbench.harness import corpora
from serbench.harness.corpora import audformat as loader
from serbench.harness.corpora.audformat import load
from serbench.harness.corpora.base import Corpus
from serbench.harness.errors import CorpusError, RequestError
from serbench.harness.plan import CorpusRef

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:audformat")

WriteWav = Callable[..., Path]
FILES = [f"wav/{speaker}{number}.wav" for speaker in "abc" for number in (1, 2)]
SPEAKERS = ["anna", "anna", "bert", "bert", "cleo", "cleo"]
SPLITS = {"train": slice(0, 2), "dev": slice(2, 4), "test": slice(4, 6)}
VALUES = [1.5, 2.0, 3.0, 4.0, 4.5, 5.0]
OTHERS = [5.0, 4.0, 3.0, 2.0, 1.0, 1.5]

Facts = Mapping[str, tuple[Sequence[Any], str | None, str | None]]
"""Of each column the values, the scheme and the rater."""


class Database:
    """A database of six files on its way to the disk, where its audio lies already."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.db = audformat.Database(
            "six", source="doi:10.1/six", license="CC-BY-4.0", description="Six tones."
        )
        self.scheme("arousal", minimum=1, maximum=5)
        self.scheme("valence", minimum=1, maximum=5)

    def scheme(self, name: str, dtype: str = "float", **facts: Any) -> None:
        self.db.schemes[name] = audformat.Scheme(dtype, **facts)

    def raters(self, **kinds: str) -> None:
        for name, kind in kinds.items():
            self.db.raters[name] = audformat.Rater(kind)

    def table(
        self, name: str, index: Any, columns: Facts, split: str | None = None, misc: bool = False
    ) -> None:
        if split is not None and split not in self.db.splits:
            self.db.splits[split] = audformat.Split(split)
        make = audformat.MiscTable if misc else audformat.Table
        self.db[name] = make(index, split_id=split)
        for column, (values, scheme, rater) in columns.items():
            self.db[name][column] = audformat.Column(scheme_id=scheme, rater_id=rater)
            self.db[name][column].set(list(values))

    def files(self, name: str, columns: Facts, split: str | None = None) -> None:
        """A filewise table of the files, or of those in the split."""
        part = SPLITS[split] if split else slice(None)
        cut = {
            name: (values[part], scheme, rater) for name, (values, scheme, rater) in columns.items()
        }
        self.table(name, audformat.filewise_index(FILES[part]), cut, split)

    def speakers(self) -> None:
        self.files("files", {"speaker": (SPEAKERS, None, None)})

    def gold(self, *dimensions: str) -> None:
        """What conventions ask for: a table for each split, and speakers in one about the files."""
        self.speakers()
        self.raters(gold_standard="vote")
        for split in SPLITS:
            columns = {name: (VALUES, name, "gold_standard") for name in dimensions}
            self.files(f"emotion.{split}.gold_standard", columns, split)

    def save(self, storage: str = "csv") -> str:
        self.db.save(str(self.folder), storage_format=storage)
        return str(self.folder)

    def load(self) -> Corpus:
        return load(self.save())

    def findings(self, **edits: tuple[str, str]) -> str:
        """What is found after some text in a file is replaced, one finding a line."""
        self.save()
        for name, (old, new) in edits.items():
            path = self.folder / (
                f"db.{name.replace('__', '.')}.csv" if name != "header" else "db.yaml"
            )
            text = path.read_text(encoding="utf-8")
            assert old in text
            path.write_text(text.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(CorpusError) as caught:
            load(str(self.folder))
        return "\n".join(caught.value.findings)


@pytest.fixture
def database(tmp_path: Path, write_wav: WriteWav) -> Database:
    for name in FILES:
        write_wav(tmp_path / name, seconds=2.0)
    return Database(tmp_path)


def labels(corpus: Corpus, dimension: str) -> list[float]:
    """Of the utterances sorted by id, which are the files in their order."""
    values: list[float] = corpus.utterances.sort_values("id")[dimension].tolist()
    return values


def test_a_database_by_the_conventions_is_read(database: Database) -> None:
    database.gold("arousal", "valence")
    corpus = database.load()
    table = corpus.utterances
    assert corpus.name == "six"
    assert corpus.licence == "CC-BY-4.0"
    assert corpus.citation == "doi:10.1/six"
    assert corpus.notes == "Six tones."
    assert (corpus.minimum, corpus.maximum) == (1, 5)
    assert corpus.dimensions == ("activation", "valence")
    assert corpus.ratings is None
    by_id = table.set_index("id").loc[FILES]
    assert by_id["speaker"].tolist() == SPEAKERS
    assert by_id["activation"].tolist() == VALUES
    assert by_id["split"].tolist() == [
        *["train"] * 2,
        *["validation"] * 2,
        *["test"] * 2,
    ]
    assert table["samples"].tolist() == [32_000] * 6
    assert "start_s" not in table
    assert corpus.waveform("wav/c2.wav").shape == (32_000,)


@pytest.mark.parametrize("storage", ["parquet", "pkl"])
def test_tables_may_be_stored_in_any_way(database: Database, storage: str) -> None:
    database.gold("arousal")
    expected = database.load().manifest_hash
    for path in database.folder.glob("db.*.csv"):
        path.unlink()
    assert load(database.save(storage)).manifest_hash == expected


def test_it_is_a_corpus_of_its_name(database: Database) -> None:
    database.gold("arousal")
    corpus = corpora.load(CorpusRef("audformat", database.save()))
    assert corpus.manifest_hash == load(str(database.folder)).manifest_hash


# Segments


def test_a_segment_is_an_utterance(database: Database) -> None:
    rng = np.random.default_rng(0)
    wave = rng.normal(0, 0.1, 48_000).astype(np.float32)
    soundfile.write(database.folder / "long.wav", wave, 16_000, subtype="FLOAT")
    index = audformat.segmented_index(
        ["long.wav", "long.wav", "long.wav", "wav/b1.wav", "wav/c1.wav"],
        [0, 0.5, 2.25, 0, 0],
        [0.5, 1.75, None, None, 1],
    )
    speakers = ["anna", "anna", "anna", "bert", "cleo"]
    database.table(
        "segments",
        index,
        {"arousal": (VALUES[:5], "arousal", None), "speaker": (speakers, None, None)},
    )
    corpus = database.load()
    table = corpus.utterances
    assert table["id"].tolist() == [
        "long.wav#0.000-0.500",
        "long.wav#0.500-1.750",
        "long.wav#2.250-",
        "wav/b1.wav",
        "wav/c1.wav#0.000-1.000",
    ]
    assert table["samples"].tolist() == [8000, 20_000, 12_000, 32_000, 16_000]
    np.testing.assert_array_equal(table["start_s"], [0, 0.5, 2.25, math.nan, 0])
    np.testing.assert_array_equal(corpus.waveform(1), wave[8000:28_000])
    np.testing.assert_array_equal(corpus.waveform(2), wave[36_000:])


def test_segments_and_files_of_one_table_of_speakers(database: Database) -> None:
    """A speaker of a part goes before the speaker of its file."""
    database.speakers()
    index = audformat.segmented_index([*FILES, FILES[0]], [0] * 6 + [1], [1] * 6 + [2])
    database.table("labels", index, {"valence": ([*VALUES, 2], "valence", None)})
    part = audformat.segmented_index([FILES[0]], [1], [2])
    database.table("turns", part, {"Speaker": (["dora"], None, None)})
    assert database.load().utterances["speaker"].tolist() == [*SPEAKERS, "dora"]


def test_the_speaker_of_a_segment_is_not_that_of_its_file(database: Database) -> None:
    index = audformat.segmented_index([FILES[0]] * 2, [0, 1], [1, 2])
    database.table("labels", index, {"valence": ([1, 2], "valence", None)})
    database.table("turns", index[:1], {"speaker": (["anna"], None, None)})
    assert database.findings() == (
        "db.labels.csv, line 3, speaker: 'wav/a1.wav#1.000-2.000': no table says who speaks"
    )


def test_a_segment_that_ends_a_little_behind_its_file_ends_with_it(
    database: Database, write_wav: WriteWav
) -> None:
    write_wav(database.folder / FILES[0], seconds=1.003, rate_hz=44_100)
    database.speakers()
    index = audformat.segmented_index(FILES, [0.1] * 6, [1.01] * 6)
    database.table("labels", index, {"valence": (VALUES, "valence", None)})
    corpus = database.load()
    assert corpus.utterances["samples"].tolist() == [14_448, *[14_560] * 5]
    assert corpus.waveform(0).shape == (14_448,)


def test_only_distinct_files_are_probed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    probed: list[Path] = []

    def watched(paths: Sequence[Path]) -> list[int | str]:
        probed.extend(paths)
        return [32_000] * len(paths)

    monkeypatch.setattr(loader, "probe", watched)
    database.speakers()
    starts = np.arange(6000) % 1000 / 1000
    index = audformat.segmented_index(np.repeat(FILES, 1000), starts, starts + 0.5)
    database.table("labels", index, {"valence": ([1] * 6000, "valence", None)})
    assert len(database.load().utterances) == 6000
    assert len(probed) == 6


# Dimensions and scales


@pytest.mark.parametrize(
    ("column", "scheme", "rater"),
    [
        ("AROUSAL", "any", None),
        ("Activation", "any", None),
        ("mean", "arousal", "vote"),
        ("arousal.vote", "any", "vote"),
    ],
)
def test_a_dimension_is_known_by_the_column_or_its_scheme(
    database: Database, column: str, scheme: str, rater: str | None
) -> None:
    database.speakers()
    database.raters(vote="vote")
    database.scheme("any", minimum=0, maximum=10)
    database.files("labels", {column: (VALUES, scheme, rater)})
    corpus = database.load()
    assert corpus.dimensions == ("activation",)
    assert labels(corpus, "activation") == VALUES


def test_what_only_sounds_like_a_dimension_is_none(database: Database) -> None:
    database.gold("arousal")
    database.scheme("arousal.confidence", minimum=0, maximum=1)
    database.scheme("words", "str")
    database.scheme("dominance", "str", labels=["low", "high"])
    database.files(
        "emotion",
        {
            "arousal.confidence": ([0.5] * 6, "arousal.confidence", "gold_standard"),
            "valence": (["good"] * 6, "words", None),
            "dominance": (["low"] * 6, "dominance", None),
        },
    )
    assert database.load().dimensions == ("activation",)


def test_different_scales_are_rescaled_to_minus_1_and_1(database: Database) -> None:
    database.speakers()
    database.scheme("valence-7", "int", minimum=1, maximum=7)
    database.files(
        "labels",
        {"arousal": (VALUES, "arousal", None), "valence": ([1, 2, 4, 5, 6, 7], "valence-7", None)},
    )
    corpus = database.load()
    assert (corpus.minimum, corpus.maximum) == (-1, 1)
    np.testing.assert_allclose(labels(corpus, "activation"), [-0.75, -0.5, 0, 0.5, 0.75, 1])
    np.testing.assert_allclose(labels(corpus, "valence"), [-1, -2 / 3, 0, 1 / 3, 2 / 3, 1])
    assert "rescaled to [-1, 1]" in str(corpus.notes)


def test_ratings_on_a_scale_of_their_own_are_rescaled_too(database: Database) -> None:
    database.gold("arousal")
    database.raters(r1="human")
    database.scheme("of-9", minimum=1, maximum=9)
    database.files("ratings", {"arousal.r1": ([1, 3, 5, 7, 9, 9], "of-9", "r1")})
    corpus = database.load()
    assert corpus.ratings is not None
    assert corpus.ratings["value"].tolist() == [-1, -0.5, 0, 0.5, 1, 1]


def test_the_scale_of_an_empty_column_does_not_matter(database: Database) -> None:
    database.gold("arousal")
    database.scheme("free")
    database.files("later", {"dominance": ([None] * 6, "free", None)})
    corpus = database.load()
    assert (corpus.minimum, corpus.maximum) == (1, 5)
    assert corpus.dimensions == ("activation",)


def test_without_a_scale_labels_are_in_minus_1_to_1(database: Database) -> None:
    database.speakers()
    database.scheme("free")
    database.files("labels", {"arousal": ([-1, 0, 0.5, 1, 0, None], "free", None)})
    corpus = database.load()
    assert (corpus.minimum, corpus.maximum) == (-1, 1)
    assert len(corpus.utterances) == 5, "what has no label is no utterance"


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        ({}, "db.yaml, scheme 'free': its scale has no minimum and no maximum"),
        ({"minimum": 1}, "db.yaml, scheme 'free': its scale has no maximum"),
        ({"minimum": 7, "maximum": 1}, "db.yaml, scheme 'free': its scale goes from 7 to 1"),
        (
            {"minimum": math.nan, "maximum": 7},
            "db.yaml, scheme 'free': its scale has no minimum",
        ),
    ],
)
def test_a_scale_has_to_be_known(database: Database, facts: dict[str, float], wanted: str) -> None:
    database.speakers()
    database.scheme("free")
    database.files("labels", {"arousal": (VALUES, "free", None)})
    for name, value in facts.items():
        setattr(database.db.schemes["free"], name, value)
    assert database.findings() == wanted


def test_without_a_scheme_the_column_is_named(database: Database) -> None:
    database.speakers()
    database.files("labels", {"arousal": (VALUES, None, None)})
    assert database.findings() == (
        "db.labels.csv, arousal: without a scheme, its scale has no minimum and no maximum"
    )


# Consensus and ratings


def rated(corpus: Corpus) -> dict[tuple[str, str, str], float]:
    assert corpus.ratings is not None
    index = corpus.ratings.set_index(["utterance", "annotator", "dimension"])["value"]
    found: dict[tuple[str, str, str], float] = index.to_dict()
    return found


def test_columns_of_raters_beside_a_gold_standard(database: Database) -> None:
    database.gold("arousal")
    database.raters(r1="human", r2="human")
    database.files("arousal", {"r1": (OTHERS, "arousal", "r1"), "r2": (VALUES, "arousal", "r2")})
    corpus = database.load()
    assert labels(corpus, "activation") == VALUES
    assert rated(corpus) == {
        (file, rater, "activation"): value
        for rater, values in (("r1", OTHERS), ("r2", VALUES))
        for file, value in zip(FILES, values, strict=True)
    }


def test_without_a_consensus_the_mean_over_raters_is_the_label(database: Database) -> None:
    database.gold("valence")
    database.raters(r1="human", r2="human")
    database.files("first", {"arousal": (OTHERS, "arousal", "r1")})
    database.files("second", {"arousal": ([1, None, *VALUES[2:]], "arousal", "r2")})
    corpus = database.load()
    assert labels(corpus, "activation") == [3, 4, 3, 3, 2.75, 3.25]
    assert labels(corpus, "valence") == VALUES
    assert len(rated(corpus)) == 11


def test_ratings_of_what_has_no_label_are_left_out(database: Database) -> None:
    """What the gold standard lacks in a dimension is not labelled with the mean."""
    database.speakers()
    database.raters(r1="human")
    index = audformat.filewise_index(FILES[1:])
    database.table("gold", index, {"arousal": (VALUES[1:], "arousal", None)})
    database.files("ratings", {"arousal.r1": (OTHERS, "arousal", "r1")})
    corpus = database.load()
    assert sorted(corpus.utterances["id"]) == FILES[1:]
    assert {utterance for utterance, _, _ in rated(corpus)} == set(FILES[1:])


@pytest.mark.parametrize("annotators", [["r1", "r2", "r3"], ["r1", "r1", "r1"]])
def test_a_unanimous_rating_at_the_end_of_the_scale_is_on_it(
    database: Database, annotators: list[str]
) -> None:
    """Three times 0.7 is less than 2.1 in floats."""
    database.speakers()
    database.scheme("share", minimum=0.7, maximum=1)
    columns: Facts = {
        "file": (FILES * 3, None, None),
        "annotator": (np.repeat(annotators, 6).tolist(), None, None),
        "arousal": ([0.7] * 18, "share", None),
    }
    database.table("ratings", pd.Index(range(18), name="number"), columns, misc=True)
    assert labels(database.load(), "activation") == [0.7] * 6


def test_a_misc_table_of_ratings_row_by_row(database: Database) -> None:
    database.speakers()
    levels = [[*FILES, FILES[0]], [*["r1"] * 6, "r2"]]
    index = pd.MultiIndex.from_arrays(levels, names=["file", "Rater"])
    columns: Facts = {
        "arousal": ([*VALUES, 5], "arousal", None),
        "valence": ([*VALUES, 5], "valence", None),
    }
    database.table("ratings.of.gold", index, columns, misc=True)
    database.files("other", {"valence": (OTHERS, "valence", None)})
    corpus = database.load()
    assert labels(corpus, "valence") == OTHERS, "ratings are no gold standard"
    assert rated(corpus)["wav/a1.wav", "r1", "activation"] == 1.5
    assert rated(corpus)["wav/a1.wav", "r2", "activation"] == 5
    assert labels(corpus, "activation") == [3.25, *VALUES[1:]]


def test_a_rater_who_appears_twice_counts_once(database: Database) -> None:
    database.speakers()
    columns: Facts = {
        "file": ([*FILES, FILES[0], FILES[0]], None, None),
        "annotator": ([*["r1"] * 6, "r2", "r1"], None, None),
        "arousal": ([*VALUES, 5, 2.5], "arousal", None),
        "valence": ([*VALUES, None, None], "valence", None),
    }
    database.table("ratings", pd.Index(range(8), name="number"), columns, misc=True)
    corpus = database.load()
    assert rated(corpus)["wav/a1.wav", "r1", "activation"] == 2, "the mean of 1.5 and 2.5"
    assert labels(corpus, "activation") == [3.5, *VALUES[1:]]
    assert labels(corpus, "valence") == VALUES


def test_a_segmented_table_of_ratings_row_by_row(database: Database) -> None:
    database.speakers()
    index = audformat.segmented_index(FILES, [0.5] * 6, [1.5] * 6)
    columns: Facts = {
        "arousal": (VALUES, "arousal", None),
        "rater": (["r1"] * 6, None, None),
    }
    database.table("ratings", index, columns)
    root = database.save()
    path = database.folder / "db.ratings.csv"
    first = path.read_text(encoding="utf-8").splitlines()[1]
    with path.open("a", encoding="utf-8") as file:
        file.write(first.replace("1.5,r1", "5,r2") + "\n")
    corpus = load(root)
    assert rated(corpus)["wav/a1.wav#0.500-1.500", "r2", "activation"] == 5
    assert labels(corpus, "activation") == [3.25, *VALUES[1:]]


@pytest.mark.parametrize("kind", ["vote", "ground truth", "other"])
def test_raters_who_are_no_people_are_a_consensus(database: Database, kind: str) -> None:
    database.speakers()
    database.raters(all=kind)
    database.files("labels", {"arousal": (VALUES, "arousal", "all")})
    corpus = database.load()
    assert corpus.ratings is None
    assert labels(corpus, "activation") == VALUES


@pytest.mark.parametrize(
    ("table", "column", "rater"),
    [("labels", "arousal", "gold"), ("a.Gold_Standard", "arousal", "r1"), ("a", "gold", "r1")],
)
def test_what_is_named_gold_is_a_consensus(
    database: Database, table: str, column: str, rater: str
) -> None:
    database.speakers()
    database.raters(**{rater: "human"})
    database.files(table, {column: (VALUES, "arousal", rater)})
    assert database.load().ratings is None


def test_what_machines_say_is_not_read(database: Database) -> None:
    database.speakers()
    database.raters(model="machine")
    database.files("labels", {"arousal": (VALUES, "arousal", None)})
    database.files("predicted", {"arousal": (OTHERS, "arousal", "model")})
    corpus = database.load()
    assert corpus.ratings is None
    assert labels(corpus, "activation") == VALUES


def test_gold_goes_before_any_other_consensus(database: Database) -> None:
    database.gold("arousal")
    database.files("other", {"arousal": (OTHERS, "arousal", None)})
    database.files("valence", {"valence": (OTHERS, "valence", None)})
    corpus = database.load()
    assert labels(corpus, "activation") == VALUES
    assert labels(corpus, "valence") == OTHERS


def test_tables_that_label_alike_are_one(database: Database) -> None:
    database.speakers()
    database.files("all", {"arousal": (VALUES, "arousal", None)})
    for split in SPLITS:
        database.files(f"only.{split}", {"arousal": (VALUES, "arousal", None)}, split)
    corpus = database.load()
    assert labels(corpus, "activation") == VALUES
    assert corpus.utterances["split"].tolist()[::2] == ["train", "validation", "test"]


def test_tables_that_do_not_are_named(database: Database) -> None:
    database.speakers()
    for name, values in (("first", VALUES), ("second", OTHERS)):
        database.files(
            name, {"arousal": (values, "arousal", None), "valence": (values, "valence", None)}
        )
    found = database.findings().splitlines()
    assert len(found) == 2
    assert found[0] == (
        "activation is labelled twice and not alike (db.first.csv, line 2, arousal: 1.5, "
        "db.second.csv, line 2, arousal: 5); the table that counts should have 'gold' in its name"
    )


# Speakers


def test_speakers_may_be_numbers(database: Database) -> None:
    database.gold("arousal")
    database.scheme("speaker", "int", labels=[3, 8, 14])
    database.files("files", {"speaker": ([3, 3, 8, 8, 14, 14], "speaker", None)})
    assert set(database.load().utterances["speaker"]) == {"3", "8", "14"}


def test_speakers_may_be_told_by_a_scheme_or_a_field_of_its_labels(database: Database) -> None:
    database.gold("arousal")
    expected = database.load().manifest_hash
    del database.db.tables["files"]
    database.scheme("speaker", "str", labels=["anna", "bert", "cleo"])
    database.files("files", {"who": (SPEAKERS, "speaker", None)})
    assert database.load().manifest_hash == expected

    fields = {"x": {"speaker": "anna"}, "y": {"speaker": "bert"}, "z": {"speaker": "cleo"}}
    sessions = ["x", "x", "y", "y", "z", "z"]
    del database.db.tables["files"], database.db.schemes["speaker"]
    database.scheme("session", "str", labels=fields)
    database.files("files", {"session": (sessions, "session", None)})
    assert database.load().manifest_hash == expected

    del database.db.tables["files"], database.db.schemes["session"]
    index = pd.Index(list("xyz"), name="session", dtype="string")
    database.table(
        "sessions", index, {"speaker": (["anna", "bert", "cleo"], None, None)}, misc=True
    )
    database.scheme("session", "str", labels="sessions")
    database.files("files", {"session": (sessions, "session", None)})
    assert database.load().manifest_hash == expected


def test_each_utterance_needs_one_speaker(database: Database) -> None:
    database.files("labels", {"arousal": (VALUES, "arousal", None)})
    assert database.findings() == "db.yaml: there is no column of speakers"
    database.speakers()
    found = database.findings(files=("b1.wav,bert", "b1.wav,"))
    assert found == "db.labels.csv, line 4, speaker: 'wav/b1.wav': no table says who speaks"
    database.files("more", {"speaker": (SPEAKERS, None, None)})
    found = database.findings(more=("c2.wav,cleo", "c2.wav,dora"))
    assert found == (
        "db.more.csv, line 7, speaker: 'wav/c2.wav' has 'dora' here and 'cleo' in "
        "db.files.csv, line 7, speaker"
    )


# Splits


def test_splits_may_be_told_by_tables_of_nothing_else(database: Database) -> None:
    database.speakers()
    index = audformat.segmented_index(FILES, [0] * 6, [1] * 6)
    database.table("labels", index, {"arousal": (VALUES, "arousal", None)})
    for split in SPLITS:
        database.files(split, {}, split)
    splits = database.load().utterances["split"].tolist()
    assert splits == [*["train"] * 2, *["validation"] * 2, *["test"] * 2]


def test_splits_of_tables_of_labels_go_before_others(database: Database) -> None:
    database.gold("arousal")
    database.files("age", {}, "train")
    database.db["age"].extend_index(audformat.filewise_index(FILES), inplace=True)
    splits = database.load().utterances.set_index("id")["split"]
    assert splits["wav/c1.wav"] == "test"


def test_without_splits_speakers_are_parted(database: Database) -> None:
    database.speakers()
    database.files("labels", {"arousal": (VALUES, "arousal", None)})
    table = database.load().utterances
    assert set(table["split"]) == {"train", "validation", "test"}
    assert (table.groupby("speaker")["split"].nunique() == 1).all()
    assert "there are no splits, and 2 speakers cannot be parted" in database.findings(
        files=("c1.wav,cleo\nwav/c2.wav,cleo", "c1.wav,bert\nwav/c2.wav,bert")
    )


def test_some_speakers_of_the_training_split_validate_if_none_do(database: Database) -> None:
    database.speakers()
    for split, part in (("train", slice(0, 4)), ("test", slice(4, 6))):
        database.db.splits[split] = audformat.Split(split)
        index = audformat.filewise_index(FILES[part])
        database.table(split, index, {"arousal": (VALUES[part], "arousal", None)}, split)
    corpus = database.load()
    splits = corpus.utterances.groupby("speaker")["split"].unique()
    assert splits["cleo"].tolist() == ["test"]
    assert sorted([*splits["anna"], *splits["bert"]]) == ["train", "validation"]
    assert "No split validates" in str(corpus.notes)


@pytest.mark.parametrize("kind", ["other", "validation"])
def test_a_split_of_another_type_is_left_out(database: Database, kind: str) -> None:
    database.gold("arousal")
    database.db.splits["spare"] = audformat.Split("other")
    database.db.splits["spare"].type = kind
    index = audformat.filewise_index(["wav/none.wav"])
    database.table("spare.gold", index, {"arousal": ([1], "arousal", None)}, "spare")
    assert database.load().utterances["id"].tolist() == [*FILES[2:4], *FILES[4:], *FILES[:2]]


def test_wrong_splits_are_found(database: Database) -> None:
    database.gold("arousal", "valence")
    index = audformat.filewise_index([FILES[0], FILES[5]])
    database.table("more.gold", index, {"arousal": ([1.5, 5], "arousal", None)}, "dev")
    database.files("loose.gold", {"valence": (VALUES, "valence", None)})
    assert database.findings().splitlines() == [
        "db.more.gold.csv, line 2, split: 'wav/a1.wav' has 'validation' here and 'train' in "
        "db.emotion.train.gold_standard.csv, line 2, split",
        "db.more.gold.csv, line 3, split: 'wav/c2.wav' has 'validation' here and 'test' in "
        "db.emotion.test.gold_standard.csv, line 3, split",
    ]


def test_an_utterance_in_no_split_is_found_if_others_are_in_one(
    database: Database, write_wav: WriteWav
) -> None:
    database.gold("arousal")
    write_wav(database.folder / "more.wav")
    index = audformat.filewise_index(["more.wav"])
    columns: Facts = {"arousal": ([1.5], "arousal", None), "speaker": (["dora"], None, None)}
    database.table("more.gold", index, columns)
    assert database.findings() == (
        "db.more.gold.csv, line 2, split: 'more.wav': is in no split, though others are"
    )


def test_a_split_without_labels_in_a_dimension_is_found(database: Database) -> None:
    database.gold("arousal")
    database.files("valence", {"valence": (VALUES, "valence", None)}, "dev")
    assert database.findings().splitlines() == [
        "db.yaml: no utterance of the test split has valence",
        "db.yaml: no utterance of the train split has valence",
    ]


def test_a_speaker_in_two_splits_is_found(database: Database) -> None:
    database.gold("arousal")
    found = database.findings(files=("c2.wav,cleo", "c2.wav,anna"))
    assert found == "speaker 'anna' is in more than one split"


# What is wrong


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("a2.wav,2.0", "no.wav,2.0", "line 3, file: 'wav/no.wav': there is no such file"),
        ("wav/a2.wav,2.0", "../a2.wav,2.0", "line 3, file: '../a2.wav': is not inside the folder"),
        ("wav/a2.wav,2.0", "/etc/a.wav,2.0", "line 3, file: '/etc/a.wav': is not inside"),
        ("wav/a2.wav,2.0", "db.yaml,2.0", "line 3, file: 'db.yaml': unreadable audio"),
        ("wav/a2.wav,2.0", ",2.0", "line 3, file: empty"),
        ("wav/a2.wav,2.0", "wav/a1.wav,2.0", "line 3, file: 'wav/a1.wav' is there already"),
        ("a2.wav,2.0", "a2.wav,5.1", "line 3, arousal: 5.1 is outside the scale from 1 to 5"),
        ("a2.wav,2.0", "a2.wav,-inf", "line 3, arousal: -inf is outside the scale"),
        ("a2.wav,2.0", "a2.wav,x", "could not convert string to float: 'x'"),
        ("wav/a1.wav,1.5", '"wav/a1.wav,1.5', "cannot be read (ParserError: "),
    ],
)
def test_each_mistake_in_a_table_is_found_where_it_is(
    database: Database, old: str, new: str, wanted: str
) -> None:
    database.speakers()
    database.files("labels", {"arousal": (VALUES, "arousal", None)})
    found = database.findings(labels=(old, new)).splitlines()
    assert any(line.startswith("db.labels") and wanted in line for line in found), found


@pytest.mark.parametrize(
    ("start", "end", "wanted"),
    [
        ("0 days 00:00:01", "0 days 00:00:02.1", "line 3, end: 'wav/a2.wav#1.000-2.100': goes on"),
        ("-1 days +23:59:59", "0 days 00:00:01", "start: 'wav/a2.wav#-1.000-1.000': starts before"),
        ("0 days 00:00:01", "0 days 00:00:01.02", "line 3, end: 'wav/a2.wav#1.000-1.020': shorter"),
        ("0 days 00:00:01", "0 days 00:00:00", "line 3, end: 'wav/a2.wav#1.000-0.000': shorter"),
        ("0 days 00:00:03", "", "line 3, end: 'wav/a2.wav#3.000-': shorter than the 0.025 s"),
        ("0 days 00:00:03", "0 days 00:00:04", "line 3, end: 'wav/a2.wav#3.000-4.000': goes on"),
        ("-1 days +23:59:58", "-1 days +23:59:59", "start: 'wav/a2.wav#-2.000--1.000': starts"),
        ("yesterday", "", "db.labels: cannot be read (ValueError: Could not convert 'yesterday'"),
    ],
)
def test_each_mistake_in_a_segment_is_found_where_it_is(
    database: Database, start: str, end: str, wanted: str
) -> None:
    database.speakers()
    index = audformat.segmented_index(FILES, [0] * 6, [1] * 6)
    database.table("labels", index, {"arousal": (VALUES, "arousal", None)})
    good = "wav/a2.wav,0 days,0 days 00:00:01"
    found = database.findings(labels=(good, f"wav/a2.wav,{start},{end}")).splitlines()
    assert len(found) == 1
    assert wanted in found[0]


def test_what_is_wrong_in_ratings_row_by_row(database: Database) -> None:
    database.speakers()
    index = pd.Index(range(6), name="number")
    columns: Facts = {
        "file": (FILES, None, None),
        "annotator": (["r1", None, *["r1"] * 4], None, None),
        "arousal": (["low", *VALUES[1:]], None, None),
    }
    database.table("ratings", index, columns, misc=True)
    assert database.findings().splitlines() == [
        "db.ratings.csv, line 3, annotator: empty",
        "db.ratings.csv, line 2, arousal: 'low' is not a number",
        "db.ratings.csv, arousal: without a scheme, its scale has no minimum and no maximum",
    ]


def test_a_rater_without_an_entry_is_found(database: Database) -> None:
    database.gold("arousal")
    database.raters(r1="human")
    database.files("ratings", {"arousal": (OTHERS, "arousal", "r1")})
    assert database.findings(header=("rater_id: r1", "rater_id: r2")) == (
        "db.yaml, column 'arousal' of table 'ratings': there is no rater 'r2'"
    )


def test_all_that_is_wrong_is_found_at_once(database: Database) -> None:
    database.gold("arousal", "valence")
    database.files("other", {"dominance": (VALUES, None, None)})
    database.files("age", {})
    database.save()
    (database.folder / "db.age.csv").unlink()
    (database.folder / FILES[1]).unlink()
    (database.folder / FILES[2]).write_bytes(b"")
    path = database.folder / "db.emotion.test.gold_standard.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("4.5", "45"), encoding="utf-8")
    with pytest.raises(CorpusError) as caught:
        load(str(database.folder))
    missing, *others = sorted(caught.value.findings)
    assert missing.startswith("db.age: cannot be read (RuntimeError: No file found for table")
    assert others == [
        "db.emotion.dev.gold_standard.csv, line 2, file: 'wav/b1.wav': the file is empty",
        "db.emotion.test.gold_standard.csv, line 2, arousal: 45 is outside the scale from 1 to 5",
        "db.emotion.test.gold_standard.csv, line 2, valence: 45 is outside the scale from 1 to 5",
        "db.emotion.train.gold_standard.csv, line 3, file: 'wav/a2.wav': there is no such file",
        "db.other.csv, dominance: without a scheme, its scale has no minimum and no maximum",
    ]


def test_a_column_that_a_table_lacks_is_found(database: Database) -> None:
    database.gold("arousal")
    root = database.save("parquet")
    path = database.folder / "db.emotion.dev.gold_standard.parquet"
    pd.read_parquet(path).drop(columns="arousal").to_parquet(path)
    with pytest.raises(CorpusError) as caught:
        load(root)
    assert caught.value.findings == (f"{path.name}: there is no column 'arousal'",)


def test_times_that_are_none_are_found(database: Database) -> None:
    database.speakers()
    rows = [(file, 0.0, 1.0, "r1") for file in FILES]
    index = pd.MultiIndex.from_tuples(rows, names=["file", "start", "end", "rater"])
    database.table("ratings", index, {"arousal": (VALUES, "arousal", None)}, misc=True)
    assert database.findings().splitlines() == [
        "db.ratings.csv, start: is not of type time",
        "db.ratings.csv, end: is not of type time",
    ]


@pytest.mark.parametrize("ending", ["csv", "parquet", "pkl"])
@pytest.mark.parametrize("content", [b"", b"PAR1 no more", b"\xff\xfe\n\xff"])
def test_a_table_that_cannot_be_read_is_found(
    database: Database, ending: str, content: bytes
) -> None:
    database.gold("arousal")
    root = database.save(ending)
    (database.folder / f"db.files.{ending}").write_bytes(content)
    with pytest.raises(CorpusError) as caught:
        load(root)
    (finding,) = caught.value.findings
    assert finding.startswith("db.files: cannot be read (")


def test_a_missing_table_and_one_of_two_ages_are_found(database: Database) -> None:
    database.gold("arousal")
    database.save("pkl")
    database.save("csv")
    (database.folder / "db.files.pkl").unlink()
    (database.folder / "db.files.csv").unlink()
    os.utime(database.folder / "db.emotion.dev.gold_standard.pkl", (0, 0))
    with pytest.raises(CorpusError) as caught:
        load(str(database.folder))
    older, missing = caught.value.findings
    assert older.startswith("db.emotion.dev.gold_standard: cannot be read (RuntimeError: ")
    assert "please delete the PKL file" in older
    assert missing.startswith("db.files: cannot be read (RuntimeError: No file found for table")


NO_LEVELS = """name: six
source: ''
usage: other
misc_tables:
  who: {levels: {}}
schemes:
  speaker: {dtype: str, labels: who}
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (None, ""),
        (None, "[]"),
        (None, "- 1"),
        (None, "name: six"),
        (None, "name: [six"),
        (None, "\t:"),
        (None, "\ud800"),
        (None, "name: !python 3"),
        (None, NO_LEVELS),
        ("name: six", ""),
        ("usage: unrestricted", "usage: free"),
        ("split_id: train", "split_id: training"),
        ("type: vote", "type: 5"),
        ("type: vote", "[]"),
        ("minimum: 1", "dtype: 1"),
        ("tables:", "tables: 5\nrest:"),
        ("tables:", "tables:\n  5: {type: filewise}"),
        ("tables:", "tables: [5]\nrest:"),
    ],
)
def test_a_broken_header_is_one_message(database: Database, old: str | None, new: str) -> None:
    database.gold("arousal")
    root = database.save()
    header = database.folder / "db.yaml"
    good = header.read_text(encoding="utf-8")
    assert old is None or old in good
    text = new if old is None else good.replace(old, new, 1)
    header.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(CorpusError, match=r"db\.yaml cannot be read \(\w+: "):
        load(root)


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("minimum: 1", "minimum: [1]", "db.yaml, scheme 'arousal': its scale has no minimum"),
        ("minimum: 1", "minimum: one", "db.yaml, scheme 'arousal': its scale has no minimum"),
        ("rater_id: gold_standard", "rater_id: [r1]", "there is no rater '['r1']'"),
        ("scheme_id: arousal", "scheme_id: [arousal]", "cannot be read (TypeError: "),
        ("levels: {number: int}", "levels: 5", "db.numbers: cannot be read (TypeError: "),
    ],
)
def test_what_a_header_says_that_makes_no_sense_is_found(
    database: Database, old: str, new: str, wanted: str
) -> None:
    database.gold("arousal")
    database.table("numbers", pd.Index([1, 2], name="number"), {}, misc=True)
    assert wanted in database.findings(header=(old, new))


def test_a_database_without_labels(database: Database) -> None:
    database.speakers()
    with pytest.raises(CorpusError, match="has no labels of arousal, valence or dominance"):
        database.load()
    database.files("labels", {"arousal": ([None] * 6, "arousal", None)})
    with pytest.raises(CorpusError, match="has no labels of"):
        database.load()


def test_no_folder_and_no_header(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="audformat=FOLDER"):
        load(None)
    with pytest.raises(CorpusError, match=r"there is no db\.yaml in "):
        load(str(tmp_path))


def test_without_the_package_it_says_how_to_get_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = database.save()
    monkeypatch.setitem(sys.modules, "audformat", None)
    with pytest.raises(RequestError, match=r"pip install serbench\[audformat\]"):
        load(root)
