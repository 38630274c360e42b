from collections.abc import Callable
from pathlib import Path

import pytest

from serbench.harness.corpora import msp_improv
from serbench.harness.corpora.folds import chosen, parted
from serbench.harness.errors import CorpusError, RequestError

WriteWav = Callable[..., Path]
Release = Callable[..., Path]

EVALUATION = """UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:2.750000 ; V:3.500000 ; D:NaN ; N:3.250000;
WORKER00000012; Neutral; Neutral,Sad; A:3.000000; V:3.000000; D:NaN; N:4.000000;
Phase1-p2; Other; Other (tired; bored),A:1; A:2.000000; V:4.000000; D:2.000000; N:NaN;
WORKER00000012; Neutral; ; A:4.000000; V:4.000000; D:NaN; N:4.000000;

UTD-IMPROV-S20H-M01-R-MF11.avi; H; A:1.000000; V:5.000000; D:4.000000 ; N:5.000000;
WORKER00000034; Happy; Happy; A:1.000000; V:5.000000; D:4.000000; N:5.000000;

UTD-IMPROV-S05S-M05-S-MF02.avi; X; A:NaN; V:NaN; D:NaN ; N:NaN;

UTD-IMPROV-S03N-F04-T-FM107.avi; N; A:3.000000; V:3.000000; D:3.000000 ; N:3.000000;
WORKER00000034; Neutral; Neutral; A:5.000000; V:3.000000; D:3.000000; N:3.000000;
"""
PLACES = (
    "session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav",
    "session1/S20H/R/MSP-IMPROV-S20H-M01-R-MF11.wav",
    "session5/S05S/S/MSP-IMPROV-S05S-M05-S-MF02.wav",
    "session4/S03N/T/MSP-IMPROV-S03N-F04-T-FM107.wav",
)
IDS = [place.rpartition("/")[2].removesuffix(".wav") for place in PLACES]


@pytest.fixture
def release(tmp_path: Path, write_wav: WriteWav) -> Release:
    def make(
        evaluation: str | bytes = EVALUATION, file: str = "Evalution.txt", audio: str = "Audio"
    ) -> Path:
        root = tmp_path / "improv"
        for place in PLACES:
            write_wav(root / audio / place, rate_hz=44_100)
        raw = evaluation if isinstance(evaluation, bytes) else evaluation.encode()
        (root / file).write_bytes(raw)
        return root

    return make


def findings(root: Path) -> tuple[str, ...]:
    with pytest.raises(CorpusError) as caught:
        msp_improv.load(str(root))
    return caught.value.findings


def test_labels_are_the_means_and_activation_is_turned_round(release: Release) -> None:
    corpus = msp_improv.load(str(release()))
    table = corpus.utterances
    assert corpus.name == "msp_improv"
    assert (corpus.minimum, corpus.maximum) == (1, 5)
    assert "10.1109/TAFFC.2016.2515617" in str(corpus.citation)
    assert "6 minus" in str(corpus.notes)
    assert table["id"].tolist() == IDS
    assert table["speaker"].tolist() == ["F01", "M01", "M05", "F04"]
    assert table["split"].tolist() == ["train", "validation", "test", "test"]
    labels = table[["activation", "valence", "dominance"]]
    assert labels.iloc[0].tolist()[:2] == [3.25, 3.5]
    assert labels.iloc[1].tolist() == [5, 5, 4]
    assert labels.isna().sum(axis=1).tolist() == [1, 0, 3, 0]
    assert table["samples"].tolist() == [1600] * 4
    assert corpus.waveform(IDS[0]).shape == (1600,)


def test_ratings_are_turned_round_too_and_two_of_one_rater_count_once(release: Release) -> None:
    ratings = msp_improv.load(str(release())).ratings
    assert ratings is not None
    rated = {tuple(row[:3]): row[3] for row in ratings.itertuples(index=False, name=None)}
    assert rated == {
        (IDS[0], "WORKER00000012", "activation"): 2.5,
        (IDS[0], "WORKER00000012", "valence"): 3.5,
        (IDS[0], "Phase1-p2", "activation"): 4,
        (IDS[0], "Phase1-p2", "valence"): 4,
        (IDS[0], "Phase1-p2", "dominance"): 2,
        (IDS[1], "WORKER00000034", "activation"): 5,
        (IDS[1], "WORKER00000034", "valence"): 5,
        (IDS[1], "WORKER00000034", "dominance"): 4,
        (IDS[3], "WORKER00000034", "activation"): 1,
        (IDS[3], "WORKER00000034", "valence"): 3,
        (IDS[3], "WORKER00000034", "dominance"): 3,
    }


def test_the_split_is_the_published_one() -> None:
    members = {
        split: {name for name, held in msp_improv.SPEAKER_SPLITS.items() if held == split}
        for split in ("train", "validation", "test")
    }
    assert members == {
        "train": {"F01", "F03", "F05", "F06", "M02", "M03", "M04", "M06"},
        "validation": {"F02", "M01"},
        "test": {"F04", "M05"},
    }


def test_the_folds_leave_one_session_out(release: Release) -> None:
    corpus = msp_improv.load(str(release()))
    assert len(corpus.folds) == 6
    for session, fold in enumerate(corpus.folds, 1):
        following = session % 6 + 1
        assert set(fold) == set(msp_improv.SPEAKER_SPLITS)
        assert {s for s, split in fold.items() if split == "test"} == {
            f"F0{session}",
            f"M0{session}",
        }
        assert {s for s, split in fold.items() if split == "validation"} == {
            f"F0{following}",
            f"M0{following}",
        }


def test_the_folds_are_those_that_a_run_takes(release: Release, write_wav: WriteWav) -> None:
    text, root = EVALUATION, release()
    for number in range(1, 7):
        for sex in ("F", "M"):
            text += f"UTD-IMPROV-S02N-{sex}0{number}-P-FM01.avi; N; A:3; V:3; D:3;\n"
            place = f"session{number}/S02N/P/MSP-IMPROV-S02N-{sex}0{number}-P-FM01.wav"
            write_wav(root / "Audio" / place)
    (root / "Evalution.txt").write_text(text)
    corpus = msp_improv.load(str(root))
    folds = chosen("all", corpus)
    assert len(folds) == 6
    assert set(parted(corpus, folds[5]).subset("test")["speaker"]) == {"F06", "M06"}
    assert set(parted(corpus, folds[5]).subset("validation")["speaker"]) == {"F01", "M01"}


def test_the_way_it_is_stored_makes_no_difference(release: Release, tmp_path: Path) -> None:
    plain = msp_improv.load(str(release())).manifest_hash
    text = EVALUATION.replace(";", " ; ").replace("\n\n", "\n \n\n").strip().replace("\n", "\r\n")
    raw = text.encode("utf-8-sig").replace(b"tired", b"tir\xe9")
    (tmp_path / "improv").rename(tmp_path / "first")
    root = release(raw, file="Evaluation.txt", audio=".")
    assert msp_improv.load(str(root)).manifest_hash == plain


def test_without_raters_there_are_no_ratings(release: Release) -> None:
    heads = [line for line in EVALUATION.splitlines() if line.startswith("UTD")]
    assert msp_improv.load(str(release("\n".join(heads)))).ratings is None


def test_all_that_is_wrong_is_named_by_line(release: Release) -> None:
    lines = EVALUATION.splitlines()
    lines[0] = lines[0].replace("2.750000", "0.500000").replace("3.500000", "3,5")
    lines[1] = lines[1].replace("V:3.000000", "V:6")
    lines[2] = lines[2].replace("Other (tired; bored),A:1; A:2.000000; ", "")
    lines.insert(0, "WORKER00000001; Sad; Sad; A:1; V:1; D:1; N:1;")
    lines += [
        "UTD-IMPROV-S01A-F07-P-FM01.avi; N; A:3; V:3; D:3;",
        "WORKER00000002; Sad; Sad; A:1; V:1; D:1;",
        "UTD-IMPROV-S01A-F02-P-FM01.avi; N; A:3; V:3; D:3;",
        "UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:3; V:3; D:3;",
    ]
    root = release("\n".join(lines))
    (root / "Audio" / PLACES[1]).write_bytes(b"")
    file = "Evalution.txt"
    assert set(findings(root)) == {
        f"{file}, line 1: '{lines[0]}' stands before the first utterance",
        f"{file}, line 2, A: '0.500000' is outside the scale from 1 to 5",
        f"{file}, line 2, V: '3,5' is not a number",
        f"{file}, line 3, V: '6' is outside the scale from 1 to 5",
        f"{file}, line 4: '{lines[3]}' is not such as 'WHO; …; A:3; V:3; D:3;'",
        f"{file}, line 7: 'MSP-IMPROV-S20H-M01-R-MF11.wav': the file is empty",
        f"{file}, line 14: 'UTD-IMPROV-S01A-F07-P-FM01.avi' is not such as "
        "UTD-IMPROV-S01A-F01-P-FM01.avi",
        f"{file}, line 16: 'MSP-IMPROV-S01A-F02-P-FM01.wav': there is no such file",
        f"{file}, line 17: 'UTD-IMPROV-S01A-F01-P-FM01.avi' is there already",
    }


def test_of_many_missing_files_the_first_and_the_number_are_named(release: Release) -> None:
    more = [f"UTD-IMPROV-S01A-F02-P-FM{i:02}.avi; N; A:3; V:3; D:3;" for i in range(50)]
    found = findings(release("\n".join([EVALUATION, *more])))
    assert len(found) == 21
    assert found[-1] == "and 30 more like these"


def test_missing_files_are_named(release: Release, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="msp_improv=FOLDER"):
        msp_improv.load(None)
    with pytest.raises(CorpusError, match=r"there is no Evaluation\.txt or Evalution\.txt in"):
        msp_improv.load(str(tmp_path))
    assert "stands before the first utterance" in findings(release("something else"))[0]
    with pytest.raises(CorpusError, match="is empty"):
        msp_improv.load(str(release("")))
