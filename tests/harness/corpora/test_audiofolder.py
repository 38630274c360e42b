import json
import math
import os
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import soundfile

from serbench.harness import worker
from serbench.harness.corpora import audiofolder
from serbench.harness.corpora.audiofolder import SPLIT_WORDS, load, verified
from serbench.harness.corpora.base import SPLITS, UNKNOWN
from serbench.harness.corpora.summary import summarise
from serbench.harness.corpora.tables import Table
from serbench.harness.errors import CorpusError, RequestError
from serbench.harness.plan import Training

Folder = Callable[..., Path]


def findings(folder: Path) -> tuple[str, ...]:
    """What `verified` and `load` find; that both find the same is asserted here."""
    found = verification(folder)
    with pytest.raises(CorpusError) as caught:
        load(str(folder))
    assert caught.value.findings == found
    return found


def verification(folder: Path) -> tuple[str, ...]:
    """What `verified` finds, which may be nothing."""
    try:
        verified(str(folder))
    except CorpusError as error:
        return error.findings or (str(error),)
    return ()


def test_a_good_folder_is_read(folder: Folder) -> None:
    corpus = load(str(folder()))
    assert corpus.name == "six"
    assert corpus.licence == "CC BY 4.0"
    assert (corpus.minimum, corpus.maximum) == (1, 5)
    assert corpus.dimensions == ("activation", "valence", "dominance")
    assert list(corpus.utterances["id"][:2]) == ["wav/a1.wav", "wav/a2.wav"]
    assert list(corpus.subset("test")["speaker"]) == ["cleo", "cleo"]
    assert list(corpus.utterances["samples"]) == [1600] * 6
    assert corpus.utterances["valence"].tolist() == [2, 4.5, 2.5, 4, 1, 5]
    assert math.isnan(corpus.utterances["dominance"][3])
    assert corpus.waveform("wav/a1.wav").shape == (1600,)
    assert corpus.ratings is None


def test_a_run_takes_each_split_for_itself(folder: Folder) -> None:
    data = worker._data(load(str(folder())), Training(), normalize=False, again=False)
    assert {split: rows.tolist() for split, rows in data.splits.items()} == {
        "train": [0, 1],
        "validation": [2, 3],
        "test": [4, 5],
    }
    assert data.audio.samples.tolist() == [1600] * 6


def test_the_folder_names_a_corpus_without_settings(folder: Folder, good: str) -> None:
    small = good.replace(",5", ",1").replace(",4.5", ",1").replace(",4", ",1")
    small = small.replace(",2.5", ",0.5").replace(",2", ",1").replace(",3", ",1")
    root = folder(small.replace("1.5", "-1"), toml=None)
    corpus = load(str(root))
    assert corpus.name == root.name
    assert (corpus.minimum, corpus.maximum) == (-1, 1)


def test_a_summary_says_what_is_there(folder: Folder) -> None:
    summary = summarise(verified(str(folder())))
    assert summary.utterances == 6
    assert summary.speakers == 3
    assert summary.splits == {"train": 2, "validation": 2, "test": 2}
    assert summary.hours == pytest.approx(6 * 0.1 / 3600)
    assert summary.labels["dominance"].labelled == 5
    assert summary.labels["activation"].histogram == (1, 1, 1, 0, 0, 0, 0, 1, 0, 2)
    assert summary.ratings_per_utterance is None


def test_arousal_is_activation(folder: Folder, good: str) -> None:
    assert "activation" in load(str(folder(good.replace("activation", "arousal")))).dimensions


def test_other_columns_and_cells_with_commas_and_line_breaks_do_no_harm(folder: Folder) -> None:
    rows = [
        "file_name,text,speaker,split,valence",
        'wav/a1.wav,"one, two\nthree",anna,train,2',
        "wav/b1.wav,x,bert,validation,2",
        "wav/c1.wav,x,cleo,test,oops",
    ]
    assert "metadata.csv, line 5, valence: 'oops' is not a number" in findings(
        folder("\n".join(rows))
    )


def test_without_a_split_column_whole_speakers_are_parted(folder: Folder, good: str) -> None:
    rows = [line.split(",") for line in good.splitlines()]
    text = "\n".join(",".join(row[:2] + row[3:]) for row in rows)
    table = load(str(folder(text))).utterances
    assert set(table["split"]) == {"train", "validation", "test"}
    assert (table.groupby("speaker")["split"].nunique() == 1).all()


@pytest.mark.parametrize("word", SPLIT_WORDS)
def test_splits_have_their_usual_names(folder: Folder, good: str, word: str) -> None:
    meant = SPLIT_WORDS[word]
    for written in (word, word.upper(), word.capitalize()):
        table = load(str(folder(good.replace(f",{meant},", f",{written},")))).utterances
        assert list(table["split"]) == [split for split in SPLITS for _ in range(2)]


def test_a_folder_may_be_for_testing_only(folder: Folder, good: str) -> None:
    text = good.replace(",train,", ",test,").replace(",validation,", ",Test,")
    assert set(load(str(folder(text))).utterances["split"]) == {"test"}


@pytest.mark.parametrize("missing", SPLITS)
def test_other_splits_do_not_go_alone(folder: Folder, good: str, missing: str) -> None:
    lines = good.splitlines(keepends=True)
    text = "".join(line for line in lines if f",{missing}," not in line)
    assert findings(folder(text)) == (
        f"metadata.csv, split: no utterance is in the {missing} split",
    )


def test_nobody_knows_unknown_speakers_and_they_may_be_in_several_splits(
    folder: Folder, good: str
) -> None:
    text = good.replace("anna", "UNKNOWN").replace("bert", "unknown").replace("cleo", "Unknown")
    table = load(str(folder(text))).utterances
    assert set(table["speaker"]) == {UNKNOWN}
    assert set(table["split"]) == set(SPLITS)


def test_two_speakers_cannot_be_parted(folder: Folder) -> None:
    found = findings(folder("file_name,speaker,valence\nwav/a1.wav,a,1\nwav/b1.wav,b,2\n"))
    assert "at least 3" in found[0]
    assert found[0].startswith("metadata.csv, no column 'split'")


def test_jsonl_and_parquet_say_the_same_as_csv(folder: Folder) -> None:
    root = folder()
    expected = load(str(root))
    table = pd.read_csv(root / "metadata.csv")
    (root / "metadata.csv").unlink()
    table.to_json(root / "metadata.jsonl", orient="records", lines=True)
    assert load(str(root)).manifest_hash == expected.manifest_hash
    (root / "metadata.jsonl").unlink()
    table.to_parquet(root / "metadata.parquet")
    assert load(str(root)).manifest_hash == expected.manifest_hash


def test_jsonl_findings_have_their_lines(folder: Folder) -> None:
    root = folder()
    (root / "metadata.csv").unlink()
    good = {"file_name": "wav/a1.wav", "speaker": 3, "split": "train", "valence": 1}
    lines = [
        json.dumps(good),
        "{",
        "[1]",
        json.dumps({**good, "valence": [1]}),
        '{"file_name": "\\ud800.wav", "speaker": "x", "split": "test", "valence": NaN}',
        "[" * 5000,
        '{"file_name": "wav/b1.wav", "speaker": "y", "split": "test", "valence": '
        + "9" * 999
        + "}",
    ]
    (root / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")
    found = "\n".join(findings(root))
    for wanted in (
        "line 2: not JSON",
        "line 3: not a JSON object",
        "line 4, valence: [1] is not a number",
        "line 4, file_name: 'wav/a1.wav' is there already, in line 1",
        "line 5, file_name: '\\ud800.wav' is not text",
        "line 5, valence: nan is not finite",
        "line 6: not JSON",
        "line 7, valence:",
    ):
        assert f"metadata.jsonl, {wanted}" in found


def test_parquet_findings_have_their_rows(folder: Folder) -> None:
    root = folder()
    table = pd.read_csv(root / "metadata.csv")
    (root / "metadata.csv").unlink()
    table.loc[2, "valence"] = math.inf
    table.to_parquet(root / "metadata.parquet")
    assert "metadata.parquet, row 3, valence: inf is not finite" in findings(root)[0]
    (root / "metadata.parquet").write_bytes(b"PAR1 no more")
    assert findings(root)[0].startswith("metadata.parquet: not Parquet")


RATINGS = """file_name,annotator,activation,valence
wav/a1.wav,r1,1,2
wav/a1.wav,r2,3,
wav/a2.wav,r1,4,4
wav/a2.wav,r2,5,5
wav/b1.wav,r1,2,2
wav/b1.wav,r2,2,3
wav/b1.wav,r2,4,3
wav/c1.wav,r1,1,1
"""


def test_ratings_label_what_the_metadata_do_not(folder: Folder, good: str) -> None:
    without = [line.split(",") for line in good.splitlines()]
    text = "\n".join(",".join([*row[:3], row[4]]) for row in without)
    corpus = load(str(folder(text, ratings=RATINGS)))
    assert corpus.dimensions == ("activation", "valence")
    table = corpus.utterances.set_index("id")
    assert table["valence"]["wav/a1.wav"] == 2, "the consensus column stays"
    assert table["activation"]["wav/a1.wav"] == 2, "the mean of 1 and 3"
    assert math.isnan(table["activation"]["wav/c2.wav"])


def test_a_rater_who_appears_twice_counts_once(folder: Folder, good: str) -> None:
    text = "\n".join(",".join(line.split(",")[:3]) for line in good.splitlines())
    corpus = load(str(folder(text, ratings=RATINGS)))
    assert corpus.ratings is not None
    assert len(corpus.ratings) == 7 + 6
    activation = corpus.utterances.set_index("id")["activation"]
    assert activation["wav/b1.wav"] == 2.5, "r1 gave 2, r2 gave 2 and 4"


WIDE = """file_name,activation:r2,arousal:r1,valence: r1,valence:r2
wav/a1.wav,3,1,2,
wav/a2.wav,5,4,4,5
wav/b1.wav,2,2,2,3
wav/b1.wav,4,,,3
wav/c1.wav,,1,1,
"""


def as_set(ratings: pd.DataFrame | None) -> set[tuple[object, ...]]:
    assert ratings is not None
    return set(ratings.itertuples(index=False, name=None))


def without_labels(good: str) -> str:
    return "".join(",".join(line.split(",")[:3]) + "\n" for line in good.splitlines())


def test_wide_ratings_say_the_same_as_long_ones(folder: Folder, good: str) -> None:
    text = without_labels(good)
    long = load(str(folder(text, ratings=RATINGS)))
    assert ("wav/b1.wav", "r2", "activation", 3.0) in as_set(long.ratings), "the mean of 2 and 4"
    wide = load(str(folder(text, ratings=WIDE)))
    assert as_set(wide.ratings) == as_set(long.ratings)
    assert wide.manifest_hash == long.manifest_hash


def test_wide_ratings_may_stand_in_the_metadata(folder: Folder, good: str) -> None:
    long = load(str(folder(without_labels(good), ratings=RATINGS)))
    rated = pd.read_csv(StringIO(WIDE)).groupby("file_name").mean()
    plain = pd.read_csv(StringIO(without_labels(good)))
    root = folder(plain.join(rated, on="file_name").to_csv(index=False))
    (root / "ratings.csv").unlink()
    corpus = load(str(root))
    assert corpus.manifest_hash == long.manifest_hash
    assert corpus.dimensions == ("activation", "valence")
    labelled = folder(pd.read_csv(StringIO(good)).join(rated, on="file_name").to_csv(index=False))
    assert load(str(labelled)).utterances["valence"][0] == 2, "consensus columns go before"


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@pytest.mark.parametrize("text", [RATINGS, WIDE])
def test_ratings_may_be_jsonl_and_parquet_too(
    folder: Folder, good: str, suffix: str, text: str
) -> None:
    root = folder(without_labels(good), ratings=text)
    expected = load(str(root)).manifest_hash
    table = pd.read_csv(root / "ratings.csv")
    (root / "ratings.csv").unlink()
    if suffix == "jsonl":
        table.to_json(root / "ratings.jsonl", orient="records", lines=True)
    else:
        table.to_parquet(root / "ratings.parquet")
    assert load(str(root)).manifest_hash == expected


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("file_name,annotator,valence:r\n", "line 1: the ratings are wide ('valence:r') and long"),
        ("file_name,valence,valence:r\n", "line 1: the ratings are wide ('valence:r') and long"),
        ("file_name,valence:\n", "line 1: the column 'valence:' names no annotator"),
        ("file_name,valence:a,valence: a\n", "line 1: there are two columns for 'valence:a'"),
        ("file_name,arousal:a,activation:a\n", "line 1: there are two columns for 'activation:a'"),
        ("file_name,valence:a\nwav/zz.wav,1\n", "line 2, file_name: a rating of 'wav/zz.wav'"),
        ("file_name,valence:a\nwav/a1.wav,x\n", "line 2, valence:a: 'x' is not a number"),
        ("file_name,valence:a\nwav/a1.wav,9\n", "line 2, valence:a: 9 is outside the scale"),
    ],
)
def test_wrong_wide_ratings_are_found(folder: Folder, text: str, wanted: str) -> None:
    rows = "" if text.count("\n") > 1 else "wav/a1.wav" + ",1" * text.count(",")
    (found,) = findings(folder(ratings=text + rows))
    assert found.startswith(f"ratings.csv, {wanted}")


def test_many_annotators_may_rate_many_utterances() -> None:
    """More combinations than 32 bits number."""
    names = pa.array([f"u{i}" for i in range(50_000)], pa.large_string())
    rows = np.array([49_999], np.int32)
    ratings = Table(
        file="metadata.csv",
        lines=np.arange(50_000),
        words={},
        numbers={f"dominance:{i:05}": (rows, np.array([float(i)])) for i in range(20_000)},
        whole=True,
    )
    rated = audiofolder._long_form(ratings, np.arange(50_000, dtype=np.int32), names)
    assert rated is not None
    assert rated["utterance"].unique().tolist() == ["u49999"]
    assert rated["annotator"].astype(int).tolist() == rated["value"].tolist()


def test_ratings_stand_in_one_place(folder: Folder, good: str) -> None:
    text = good.replace("dominance", "dominance:r1")
    (found,) = findings(folder(text, ratings=RATINGS))
    assert found == (
        "metadata.csv, line 1: ratings, such as 'dominance:r1', stand either here or in ratings.csv"
    )
    root = folder(ratings=RATINGS)
    (root / "ratings.jsonl").write_text("{}", encoding="utf-8")
    assert findings(root) == ("ratings.csv and ratings.jsonl: only one of them can be the ratings",)


def test_an_annotator_of_json_has_a_name_that_can_be_kept(folder: Folder) -> None:
    root = folder()
    row = {"file_name": "wav/a1.wav", "valence:\ud800": 1}
    (root / "ratings.jsonl").write_text(json.dumps(row), encoding="utf-8")
    (found,) = findings(root)
    assert found == r"ratings.jsonl: the column 'valence:\ud800' names no annotator"


def test_a_row_that_cannot_be_read_makes_no_rating_strange(folder: Folder, good: str) -> None:
    text = good.replace("anna,train,1.5,2,3", "anna,train,1.5,2")
    assert findings(folder(text, ratings=RATINGS)) == (
        "metadata.csv, line 2: 5 cells, but 6 columns",
    )


def test_the_summary_tells_of_ratings(folder: Folder) -> None:
    summary = summarise(verified(str(folder(ratings=RATINGS))))
    assert summary.annotators == 2
    assert summary.ratings_per_utterance == pytest.approx(7 / 4)
    # Both rated a1, a2 and b1: (1, 4, 2) against (3, 5, 3).
    assert summary.labels["activation"].agreement == pytest.approx(
        2 * (29 / 3 - 77 / 9) / (14 / 9 + 8 / 9 + 16 / 9)
    )
    assert summary.labels["valence"].agreement is None, "they share two utterances only"


def with_durations(good: str, *seconds: str) -> str:
    """The good metadata with a column of durations, 0.1 s where none is given."""
    lines = good.splitlines()
    cells = ["duration", *seconds, *(["0.1"] * (len(lines) - 1 - len(seconds)))]
    return "".join(f"{line},{cell}\n" for line, cell in zip(lines, cells, strict=True))


def test_durations_are_trusted_and_no_audio_is_opened(
    folder: Folder, good: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = load(str(folder(good)))
    root = folder(with_durations(good))
    probed: list[str] = []

    def watched(paths: list[str]) -> list[int]:
        probed.extend(paths)
        return [1600] * len(paths)

    monkeypatch.setattr(audiofolder, "probe", watched)
    corpus = load(str(root))
    assert not probed
    assert corpus.manifest_hash == plain.manifest_hash
    assert verification(root) == ()
    assert len(probed) == 6
    probed.clear()
    load(str(folder(with_durations(good, "", "0.1", " "))))
    assert [Path(path).name for path in probed] == ["a1.wav", "b1.wav"]


def test_a_wrong_duration_is_found_by_check_or_when_it_is_read(folder: Folder, good: str) -> None:
    root = folder(with_durations(good, "0.11", "0.2", "0.089"))
    corpus = load(str(root))
    assert corpus.utterances["samples"].tolist()[:3] == [1760, 3200, 1424]
    assert corpus.waveform(0).shape == (1760,), "10 ms is how durations may be rounded"
    for index in (1, 2):
        with pytest.raises(CorpusError, match=r"wav gives 1600 samples at 16 kHz, not the"):
            corpus.waveform(index)
    assert verification(root) == (
        "metadata.csv, line 3, duration: 'wav/a2.wav' is 0.100 s long, not 0.2 s",
        "metadata.csv, line 4, duration: 'wav/b1.wav' is 0.100 s long, not 0.089 s",
    )


@pytest.mark.parametrize("seconds", ["0", "-1", "0.024", "86401", "1e308"])
def test_a_duration_that_can_be_none_is_found(folder: Folder, good: str, seconds: str) -> None:
    (found,) = findings(folder(with_durations(good, seconds)))
    assert found.startswith(f"metadata.csv, line 2, duration: {float(seconds):g} s is not between")


@pytest.mark.parametrize(
    ("content", "wanted"),
    [(b"", "the file is empty"), (None, "there is no such file"), ("folder", "unreadable audio")],
)
def test_a_duration_makes_no_file(
    folder: Folder, good: str, content: bytes | str | None, wanted: str
) -> None:
    root = folder(with_durations(good))
    path = root / "wav" / "b1.wav"
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        path.mkdir()
    (found,) = findings(root)
    assert found.startswith(f"metadata.csv, line 4, file_name: 'wav/b1.wav': {wanted}")


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("wav/a2.wav,anna", "wav/no.wav,anna", "line 3, file_name: 'wav/no.wav': there is no such"),
        ("wav/a2.wav,anna", "../a2.wav,anna", "line 3, file_name: '../a2.wav' is not inside"),
        ("wav/a2.wav,anna", "/etc/a2.wav,anna", "line 3, file_name: '/etc/a2.wav' is not inside"),
        ("wav/a2.wav,anna", "C:\\a2.wav,anna", "line 3, file_name: 'C:\\a2.wav' is not inside"),
        ("wav/a2.wav,anna", ",anna", "line 3, file_name: empty"),
        ("wav/a2.wav", "./wav/a1.wav", "line 3, file_name: 'wav/a1.wav' is there already, in line"),
        ("wav/a2.wav,anna", "wav/a2.wav,", "line 3, speaker: empty"),
        (
            "a2.wav,anna",
            "a2.wav,cleo",
            "line 6, speaker: 'cleo' is in test here and in train in li",
        ),
        ("bert,validation,5", "bert,devel,5", "line 5, split: there is no split 'devel', only tra"),
        ("bert,validation,5", "bert,,5", "line 5, split: empty"),
        (",validation,", ",train,", "metadata.csv, split: no utterance is in the validation split"),
        ("1.5,2,3", "x,2,3", "line 2, activation: 'x' is not a number"),
        ("1.5,2,3", "1_5,2,3", "line 2, activation: '1_5' is not a number"),
        ("1.5,2,3", "nan,2,3", "line 2, activation: nan is not finite"),
        ("1.5,2,3", "1.5,-inf,3", "line 2, valence: -inf is not finite"),
        ("1.5,2,3", "1.5,2,5.01", "line 2, dominance: 5.01 is outside the scale from 1 to 5"),
        ("1.5,2,3", "1.5,2", "line 2: 5 cells, but 6 columns"),
        ("1.5,2,3", '1.5,"2"x,3', "line 2: not CSV"),
        ("file_name,", "file,", "line 1: there is no column 'file_name'"),
        (",speaker,", ",who,", "line 1: there is no column 'speaker'"),
        (",dominance", ",arousal", "line 1: there are two columns for 'activation'"),
        (",", ";", "line 1: columns are parted by ';', not by ','"),
        (",", "\t", "line 1: columns are parted by tabs, not by ','"),
        ("file_name", "\ufefffile_name", "line 1: starts with a byte order mark (BOM)"),
    ],
)
def test_each_mistake_is_found_where_it_is(
    folder: Folder, good: str, old: str, new: str, wanted: str
) -> None:
    assert old in good
    found = findings(folder(good.replace(old, new)))
    assert any(wanted in line for line in found), found
    assert all("metadata.csv" in line for line in found)


def test_all_mistakes_are_found_at_once(folder: Folder, good: str) -> None:
    text = good.replace("a1.wav,anna", "a1.wav,cleo").replace("1.5,2,3", "7,x,")
    text = "\ufeff" + text.replace("wav/b2", "wav/b7")
    found = findings(folder(text, drop=["c2"], ratings="file_name,annotator,valence\nz,r,9\n"))
    assert len(found) == 8, found


@pytest.mark.parametrize(("encoding", "byte"), [("latin-1", "0xe4"), ("utf-16", "0xff")])
def test_other_encodings_are_found(folder: Folder, good: str, encoding: str, byte: str) -> None:
    line = 2 if encoding == "latin-1" else 1
    raw = good.replace("anna", "ännä").encode(encoding)
    assert findings(folder(raw)) == (f"metadata.csv, line {line}: not UTF-8 (byte {byte})",)


@pytest.mark.parametrize("text", ["", "\n\n", "file_name,speaker,valence\n"])
def test_an_empty_table_is_found(folder: Folder, text: str) -> None:
    assert findings(folder(text))


@pytest.mark.parametrize(
    ("content", "wanted"),
    [(b"", "the file is empty"), (b"RIFFnothing", "unreadable audio"), (None, "too short")],
)
def test_bad_audio_is_found(folder: Folder, content: bytes | None, wanted: str) -> None:
    root = folder()
    if content is None:
        soundfile.write(root / "wav" / "b1.wav", np.zeros(100), 16_000)
    else:
        (root / "wav" / "b1.wav").write_bytes(content)
    (found,) = findings(root)
    assert found.startswith(f"metadata.csv, line 4, file_name: 'wav/b1.wav': {wanted}")
    assert str(root) not in found, "the path is told once"


def test_labels_outside_the_default_scale_ask_for_one(folder: Folder) -> None:
    (found,) = findings(folder(toml=None))
    assert "line 2, activation: 1.5 is outside [-1, 1] and no scale is stated" in found
    assert "[scale]" in found


@pytest.mark.parametrize(
    ("toml", "wanted"),
    [
        ("[scale]\nmin = 5\nmax = 1\n", "corpus.toml, scale: Value error, min must be below max"),
        ("[scale]\nmin = 1\n", "corpus.toml, scale.max: Field required"),
        ("[scale]\nmin = 1\nmax = inf\n", "corpus.toml, scale.max:"),
        ("nmae = 'x'\n", "corpus.toml, nmae: Extra inputs are not permitted"),
        ("derived = 'yes'\n", "corpus.toml, derived:"),
        ("x = [", "corpus.toml: not TOML"),
        ("x = " + "[" * 5000, "corpus.toml: not TOML"),
        ("x = " + "9" * 5000, "corpus.toml: not TOML"),
        ("name = 'a\\nb'".replace("'", '"'), "corpus.toml, name: String should match pattern"),
        ("name = ''", "corpus.toml, name: String should match pattern"),
        ("[scale]\nmin = -1.7e308\nmax = 1.7e308\n", "corpus.toml, scale: Value error"),
        ("x" * 500 + " = 1", f"corpus.toml, {'x' * 60}…: Extra inputs"),
        ("\ufeffname = 'x'", "corpus.toml, line 1: starts with a byte order mark"),
    ],
)
def test_wrong_settings_are_found(folder: Folder, toml: str, wanted: str) -> None:
    assert findings(folder(toml=toml))[0].startswith(wanted)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("file_name,annotator,valence\nwav/zz.wav,r,2\n", "line 2, file_name: a rating of 'wav/zz"),
        ("file_name,annotator,valence\nwav/a1.wav,,2\n", "line 2, annotator: empty"),
        ("file_name,annotator,valence\nwav/a1.wav,r,9\n", "line 2, valence: 9 is outside the sca"),
        ("file_name,annotator\nwav/a1.wav,r\n", "there is no column of activation"),
        ("file_name,rater,valence\nwav/a1.wav,r,2\n", "line 1: there is no column 'annotator'"),
    ],
)
def test_wrong_ratings_are_found(folder: Folder, text: str, wanted: str) -> None:
    (found,) = findings(folder(ratings=text))
    assert found.startswith("ratings.csv")
    assert wanted in found


def test_ratings_that_are_all_empty_are_no_ratings(folder: Folder) -> None:
    text = "file_name,annotator,valence\nwav/a1.wav,r,\n"
    assert load(str(folder(ratings=text))).ratings is None


def test_no_labels_at_all_are_found(folder: Folder, good: str) -> None:
    text = "\n".join(",".join(line.split(",")[:3]) for line in good.splitlines())
    assert "no labels" in findings(folder(text))[0]


def test_a_split_without_labels_is_found(folder: Folder, good: str) -> None:
    text = good.replace("test,1,1,1", "test,1,,1").replace("test,5,5,5", "test,5,,5")
    assert findings(folder(text)) == (
        "metadata.csv, valence: no utterance of the test split is labelled",
    )


def test_one_table_of_metadata_is_needed(folder: Folder) -> None:
    root = folder()
    (root / "metadata.jsonl").write_text("{}", encoding="utf-8")
    assert "only one" in findings(root)[0]
    (root / "metadata.jsonl").unlink()
    (root / "metadata.csv").unlink()
    (finding,) = findings(root)
    assert finding.startswith(
        f"there is none of metadata.csv, metadata.jsonl, metadata.parquet in {root}, to name each"
    )


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no folder"):
        load(str(tmp_path / "none"))
    assert "no folder" in verification(tmp_path / "none")[0]
    with pytest.raises(RequestError, match="audiofolder=FOLDER"):
        load(None)


def test_a_folder_whose_name_is_no_text(folder: Folder, tmp_path: Path) -> None:
    folder()
    strange = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    Path(strange).symlink_to(tmp_path)
    assert len(load(strange).utterances) == 6, "what it points to has a name"
    Path(strange).unlink()
    Path(strange).mkdir()
    with pytest.raises(CorpusError, match=r"'.*\\udcff' is not UTF-8"):
        load(strange)


@pytest.mark.parametrize("root", ["a\0b", "x" * 5000, ""])
def test_what_can_be_no_folder(root: str) -> None:
    with pytest.raises(CorpusError, match="there is no folder"):
        load(root)


def test_a_unanimous_rating_at_the_end_of_the_scale_stays_on_it(folder: Folder) -> None:
    """The mean of three times 0.7 is a little less."""
    names = ("a1", "a2", "b1", "b2", "c1", "c2")
    splits = {"a": "train", "b": "validation", "c": "test"}
    lines = [f"wav/{name}.wav,{name[0]},{splits[name[0]]}\n" for name in names]
    metadata = "file_name,speaker,split\n" + "".join(lines)
    rows = [f"wav/{name}.wav,r{rater},0.7\n" for name in names for rater in range(3)]
    twice = ["wav/a1.wav,r0,0.7\n"] * 2
    root = folder(
        metadata,
        toml="[scale]\nmin = 0.7\nmax = 2",
        ratings="file_name,annotator,valence\n" + "".join(rows + twice),
    )
    assert set(load(str(root)).utterances["valence"]) == {0.7}
