from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from serbench.harness.corpora import iemocap
from serbench.harness.corpora.folds import chosen, parted
from serbench.harness.corpora.summary import summarise
from serbench.harness.errors import CorpusError, RequestError

WriteWav = Callable[..., Path]
Release = Callable[..., Path]

HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]"
TURNS = """
[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
C-F1:\tNeutral; Anger;\t(curious)
A-E3:\tval 3; act 2; dom  2;\t()
A-E4:\tval 2; act 3; dom  3;\t(mildly aggravated (but polite), val 5; attitude)
A-F1:\tval 5; act 5; dom  5;\t()

[10.0100 - 11.3925]\tSes01F_impro01_M000\txxx\t[3.0000, 4.0000, 1.5000]
C-E2:\tFrustration;\t()
A-E3:\tval 2; act 4; dom  1;\t()
A-E4:\tval 4; act 4; dom  2;\t()
A-M1:\tval 1; act 1; dom  1;\t()
"""


def dialogue(session: int, name: str = "impro01", turns: str = TURNS) -> str:
    text = turns.replace("Ses01F_impro01", f"Ses0{session}F_{name}")
    return f"{HEADER}\n{text}\n"


@pytest.fixture
def release(tmp_path: Path, write_wav: WriteWav) -> Release:
    """Make a release of two turns a session; a text given takes the place of session 1's."""

    def make(text: str | bytes | None = None, sessions: str = "12345", audio: bool = True) -> Path:
        root = tmp_path / "IEMOCAP_full_release"
        for session in map(int, sessions):
            folder = root / f"Session{session}"
            evaluations = folder / "dialog" / "EmoEvaluation"
            (evaluations / "Self-evaluation").mkdir(parents=True)
            (evaluations / "Self-evaluation" / "Ses01F_f1_atr.txt").write_text("Ses :act 4;")
            (evaluations / f"._Ses0{session}F_impro01.txt").write_bytes(b"\0\5\x16\7")
            (evaluations / f"Ses0{session}F_impro01.txt").write_text(dialogue(session))
            for turn in ("F000", "M000") if audio else ():
                name = f"Ses0{session}F_impro01"
                write_wav(folder / "sentences" / "wav" / name / f"{name}_{turn}.wav", seconds=0.2)
        if text is not None:
            raw = text if isinstance(text, bytes) else text.encode()
            evaluation(root).write_bytes(raw)
        return root

    return make


def evaluation(root: Path) -> Path:
    return root / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt"


def findings(root: Path) -> tuple[str, ...]:
    with pytest.raises(CorpusError) as caught:
        iemocap.load(str(root))
    return caught.value.findings


def test_labels_are_the_means_in_the_order_of_the_release(release: Release) -> None:
    corpus = iemocap.load(str(release()))
    assert (corpus.minimum, corpus.maximum) == (1, 5)
    assert not corpus.derived
    table = corpus.utterances
    assert len(table) == 10
    columns = ["id", "speaker", "emotion", "valence", "activation", "dominance"]
    assert table[columns].to_numpy()[:2].tolist() == [
        ["Ses01F_impro01_F000", "Ses01F", "neu", 2.5, 2.5, 2.5],
        ["Ses01F_impro01_M000", "Ses01M", "xxx", 3.0, 4.0, 1.5],
    ]
    assert corpus.waveform("Ses05F_impro01_M000").shape == (3200,)


def test_evaluators_rate_and_actors_do_not(release: Release) -> None:
    corpus = iemocap.load(str(release()))
    assert corpus.ratings is not None
    rated = corpus.ratings[corpus.ratings["utterance"] == "Ses01F_impro01_F000"]
    values = rated.set_index(["annotator", "dimension"])["value"].to_dict()
    assert values == {
        ("E3", "valence"): 3,
        ("E3", "activation"): 2,
        ("E3", "dominance"): 2,
        ("E4", "valence"): 2,
        ("E4", "activation"): 3,
        ("E4", "dominance"): 3,
    }
    assert set(corpus.ratings["annotator"]) == {"E3", "E4"}
    assert corpus.notes is not None
    assert "10 self-reports" in corpus.notes
    summary = summarise(corpus)
    assert summary.annotators == 2
    assert summary.ratings_per_utterance == 2


def test_the_folder_above_the_release_will_do(release: Release) -> None:
    root = release()
    inner, outer = iemocap.load(str(root)), iemocap.load(str(root.parent))
    assert inner.manifest_hash == outer.manifest_hash


def test_folds_leave_one_session_out(release: Release) -> None:
    corpus = iemocap.load(str(release()))
    assert chosen("all", corpus) == ("1/5", "2/5", "3/5", "4/5", "5/5")
    wanted = [("1", "2"), ("2", "3"), ("3", "4"), ("4", "5"), ("5", "1")]
    for fold, (test, validation) in zip(chosen("all", corpus), wanted, strict=True):
        one = parted(corpus, fold)
        sessions = {split: set(one.subset(split)["id"].str[4]) for split in ("test", "validation")}
        assert sessions == {"test": {test}, "validation": {validation}}
        assert len(one.subset("train")) == 6
    last = parted(corpus, "5/5").utterances["split"]
    assert corpus.utterances["split"].tolist() == last.tolist()


def test_some_sessions_will_do_but_give_no_folds(release: Release) -> None:
    corpus = iemocap.load(str(release(sessions="145")))
    assert corpus.folds == ()
    splits = corpus.utterances.groupby("split")["speaker"].unique().map(sorted).to_dict()
    assert splits == {
        "validation": ["Ses01F", "Ses01M"],
        "train": ["Ses04F", "Ses04M"],
        "test": ["Ses05F", "Ses05M"],
    }


def test_a_speaker_is_told_by_the_last_letter(release: Release, write_wav: WriteWav) -> None:
    root = release()
    name = "Ses01M_script01_1b"
    text = dialogue(1).replace("Ses01F_impro01", name)
    (evaluation(root).parent / f"{name}.txt").write_text(text)
    for turn in ("F000", "M000"):
        write_wav(root / "Session1" / "sentences" / "wav" / name / f"{name}_{turn}.wav")
    speakers = iemocap.load(str(root)).utterances.set_index("id")["speaker"]
    assert speakers["Ses01M_script01_1b_F000"] == "Ses01F"
    assert speakers["Ses01M_script01_1b_M000"] == "Ses01M"


def test_blank_values_and_those_outside_the_scale_are_dropped(release: Release) -> None:
    text = dialogue(1)
    text = text.replace("val 3; act 2; dom  2;", "val 3; act ; dom  2;")
    text = text.replace("val 4; act 4; dom  2;", "val 6; act 4; dom  2;")
    text = text.replace("val 2; act 3; dom  3;", ";")
    text = text.replace("[3.0000, 4.0000, 1.5000]", "[4.0000, 4.0000, 1.5000]")
    corpus = iemocap.load(str(release(text)))
    assert corpus.ratings is not None
    first = corpus.ratings[corpus.ratings["utterance"].str.startswith("Ses01")]
    assert first[["utterance", "annotator", "dimension", "value"]].to_numpy().tolist() == [
        ["Ses01F_impro01_F000", "E3", "valence", 3],
        ["Ses01F_impro01_F000", "E3", "dominance", 2],
        ["Ses01F_impro01_M000", "E3", "activation", 4],
        ["Ses01F_impro01_M000", "E3", "valence", 2],
        ["Ses01F_impro01_M000", "E3", "dominance", 1],
        ["Ses01F_impro01_M000", "E4", "activation", 4],
        ["Ses01F_impro01_M000", "E4", "dominance", 2],
    ]
    assert corpus.notes is not None
    assert "(4 and 1 were dropped)" in corpus.notes


def test_a_label_on_dropped_values_is_the_mean_of_what_is_left(release: Release) -> None:
    text = dialogue(1)
    text = text.replace("val 3; act 2; dom  2;", "val ; act 2; dom ;")
    text = text.replace("val 2; act 3; dom  3;", "val 2; act 3; dom ;")
    text = text.replace("val 4; act 4; dom  2;", "val 9; act 4; dom  2;")
    text = text.replace("[3.0000, 4.0000, 1.5000]", "[5.5000, 4.0000, 1.5000]")
    corpus = iemocap.load(str(release(text)))
    labels = corpus.utterances[["activation", "valence", "dominance"]].to_numpy()
    np.testing.assert_array_equal(labels[0], [2.5, 2, np.nan])
    np.testing.assert_array_equal(labels[1], [4, 2, 1.5])
    assert corpus.notes is not None
    assert "but for 3 that rest on" in corpus.notes


def test_a_label_outside_the_scale_is_mended_and_one_inside_is_the_release_s(
    release: Release,
) -> None:
    text = dialogue(1).replace("[3.0000, 4.0000, 1.5000]", "[5.5000, 3.7000, 1.5000]")
    table = iemocap.load(str(release(text))).utterances
    assert table.loc[1, ["valence", "activation", "dominance"]].tolist() == [3, 3.7, 1.5]


def test_an_evaluator_who_rated_twice_counts_once(release: Release) -> None:
    text = dialogue(1).replace("A-E4:\tval 2; act 3; dom  3;", "A-E3:\tval 4; act 3; dom  3;")
    corpus = iemocap.load(str(release(text)))
    assert corpus.ratings is not None
    first = corpus.ratings[corpus.ratings["utterance"] == "Ses01F_impro01_F000"]
    assert first["annotator"].tolist() == ["E3"] * 3
    assert first.set_index("dimension")["value"].to_dict() == {
        "activation": 2.5,
        "valence": 3.5,
        "dominance": 2.5,
    }


@pytest.mark.parametrize("comment", ["caf\xe9", "so\x85 on", "a\x0bb"])
def test_encodings_do_no_harm(release: Release, comment: str) -> None:
    root = release()
    wanted = iemocap.load(str(root)).manifest_hash
    text = dialogue(1).replace("curious", comment).replace("attitude", comment)
    for raw in (
        text.encode("latin-1"),
        text.encode("utf-8-sig").replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + text.encode("latin-1"),
    ):
        evaluation(root).write_bytes(raw)
        assert iemocap.load(str(root)).manifest_hash == wanted


def test_all_that_is_wrong_is_told_with_file_and_line(release: Release) -> None:
    lines = dialogue(1).splitlines()
    assert lines[4:6] == ["C-F1:\tNeutral; Anger;\t(curious)", "A-E3:\tval 3; act 2; dom  2;\t()"]
    lines[1] = "A-E3:\tval 3; act 2; dom  2;\t()"
    lines[4] = "hello"
    lines[5] = "A-E3:\tval three; act 2; dom  2;\t()"
    lines += [lines[2], "[1 - 2]\tSes01F_impro01_F001\tneu\t[2.5, 2.5]", lines[6]]
    lines += ["[1 - 2]\tSes06F_impro01_F001\tneu\t[2.5, 2.5, 2.5]"]
    lines += ["[1 - 2]\tSes01F_impro01_F002\tneu\t[2.5, nan, 2_5]"]
    root = release("\n".join(lines))
    (root / "Session2" / "dialog" / "EmoEvaluation" / "Ses02F_impro02.txt").write_text(HEADER)
    (root / "Session2" / "dialog" / "EmoEvaluation" / "Ses02F_impro03.txt").touch()
    (root / "Session3" / "dialog" / "EmoEvaluation" / "Ses03F_impro01.txt").unlink()
    folder = "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    found = findings(root)
    wanted = (
        f"{folder}, line 2: a rating before any utterance: A-E3:",
        f"{folder}, line 5: not a line of IEMOCAP: hello",
        f"{folder}, line 17: not an utterance of IEMOCAP",
        f"{folder}, line 19: not an utterance of IEMOCAP",
        f"{folder}, line 6: 'three' is not a number",
        f"{folder}, line 20: 'nan' is not a number",
        f"{folder}, line 20: '2_5' is not a number",
        f"{folder}, line 16: 'Ses01F_impro01_F000' is there already, in {folder}, line 3",
        "Session2/dialog/EmoEvaluation/Ses02F_impro02.txt: holds no utterances",
        "Session2/dialog/EmoEvaluation/Ses02F_impro03.txt: holds no utterances",
        "Session3/dialog/EmoEvaluation: there are no .txt files",
        f"{folder}, line 20: Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F002.wav: there",
    )
    assert len(found) == len(wanted)
    for start in wanted:
        assert any(finding.startswith(start) for finding in found), start


def test_a_release_without_utterances(release: Release) -> None:
    root = release("", sessions="1")
    assert findings(root) == (
        "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt: holds no utterances",
    )
    evaluation(root).unlink()
    assert findings(root) == ("Session1/dialog/EmoEvaluation: there are no .txt files",)


def test_missing_audio_is_told_twenty_times_at_most(release: Release) -> None:
    turns = "".join(
        f"[1 - 2]\tSes01F_impro01_F{n:03d}\tneu\t[2.5000, 2.5000, 2.5000]\n" for n in range(50)
    )
    found = findings(release(dialogue(1, turns=turns), sessions="1", audio=False))
    assert len(found) == 21
    assert found[0].endswith("wav/Ses01F_impro01/Ses01F_impro01_F000.wav: there is no such file")
    assert found[-1] == "and 30 more like these"


def test_a_folder_without_sessions(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="iemocap=FOLDER"):
        iemocap.load(None)
    (tmp_path / "Session9").mkdir()
    with pytest.raises(CorpusError, match="no folder Session1 to Session5 in "):
        iemocap.load(str(tmp_path))
