"""Requests to specs, suites, and the fingerprint by which a finished run is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from serbench.harness import corpora, heads
from serbench.harness.corpora import embedded, folds
from serbench.harness.corpora.base import Corpus, Split
from serbench.harness.errors import CorpusError, RequestError, SerbenchError
from serbench.harness.plan import CorpusRef, Spec, Suite, Training, fingerprint, suite_names
from serbench.harness.request import Request, plan, read_bytes, read_corpus

SOFTWARE = {"torch": "2", "transformers": "5", "peft": "1", "threads": None, "python": "3"}


def planned(*specs: str, **more: Any) -> list[Spec]:
    return plan(Request(specs=specs, **more)).specs


def test_quick_has_every_registered_strategy_and_three_seeds() -> None:
    from serbench.harness import strategy

    specs = planned(every=True)
    assert {spec.variant.name for spec in specs} == {e.name for e in strategy.entries()}
    assert {spec.seed for spec in specs} == {0, 1, 2}
    assert {"top-layers+bf16+cache", "frozen+cache"} <= {spec.label for spec in specs}
    assert all(spec.fresh_cache for spec in specs)


def test_seeds_are_interleaved() -> None:
    specs = planned("full", "frozen", seeds="2,0")
    assert [(s.seed, s.label) for s in specs] == [
        (0, "full"),
        (0, "frozen"),
        (2, "full"),
        (2, "frozen"),
    ]


def test_repeats_end_the_round_of_their_seed() -> None:
    specs = planned("full", "frozen", seeds="0,1", repeats=2, save_dir="models")
    assert [(s.seed, s.repeat, s.label) for s in specs[:6]] == [
        (0, 0, "full"),
        (0, 0, "frozen"),
        (0, 1, "full"),
        (0, 1, "frozen"),
        (0, 2, "full"),
        (0, 2, "frozen"),
    ]
    assert [(s.seed, s.repeat) for s in specs[6:]] == [(1, n) for n in (0, 0, 1, 1, 2, 2)]
    assert [s.save_dir is None for s in specs[:6]] == [False, False, True, True, True, True]
    prints = {fingerprint(s, "machine", SOFTWARE) for s in specs}
    assert len(prints) == len(specs), "a repeat is a run of its own"


@pytest.mark.parametrize(
    ("given", "repeated"),
    [
        ({"suite": "quick"}, {("top-layers", seed) for seed in (0, 1, 2)}),
        ({"suite": "cost"}, {("top-layers:layers=3+cache", 0), ("frozen", 0)}),
        ({"suite": "quick", "repeats": 0}, set()),
        (
            {"suite": "quick", "specs": ("top-layers:layers=3", "full"), "seeds": "4"},
            {("top-layers:layers=3", 4)},
        ),
        ({"suite": "quick", "specs": ("full",)}, set()),
        ({"suite": "quick", "specs": ("full",), "seeds": "4", "repeats": 1}, {("full", 4)}),
        ({"specs": ("full",)}, set()),
    ],
)
def test_a_suite_repeats_some_once(given: dict[str, Any], repeated: set[tuple[str, int]]) -> None:
    found = [s for s in plan(Request(**given)).specs if s.repeat]
    assert {(s.label, s.seed) for s in found} == repeated
    assert len(found) == len(repeated)


def test_a_seeds_round_goes_fold_by_fold() -> None:
    specs = planned("full", "frozen", folds="2,1/4", seeds="0,1", repeats=1)
    order = [(s.seed, s.repeat, s.fold, s.label) for s in specs]
    assert order[:4] == [
        (0, 0, "1/4", "full"), (0, 0, "1/4", "frozen"),
        (0, 0, "2/4", "full"), (0, 0, "2/4", "frozen"),
    ]  # fmt: skip
    assert [place[:2] for place in order] == [
        (s, r) for s in (0, 1) for r in (0, 1) for _ in "abcd"
    ]


def test_what_a_model_is_tested_on_elsewhere_is_named_and_marked() -> None:
    ((other,),) = [s.elsewhere for s in planned("full", **ELSEWHERE)]
    assert (other.ref, other.name, other.synthetic) == (CorpusRef("generated"), "generated", True)


def test_a_further_corpus_needs_a_test_split_and_a_dimension(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        soundfile.write(tmp_path / f"{name}.wav", rng.normal(0, 0.1, 1600), 16_000)
    lines = ["file_name,speaker,split,dominance", "a.wav,a,train,0", "b.wav,b,validation,0.5"]
    own = tmp_path / "metadata.csv"
    own.write_text("\n".join([*lines, "c.wav,c,test,1"]), "utf-8")
    (tmp_path / "corpus.toml").write_text('name = "own"', "utf-8")
    assert planned("full", test_corpora=(str(tmp_path),))[0].elsewhere[0].name == "own"
    with pytest.raises(RequestError, match="who gave a rating is not known of own"):
        planned("full", test_corpora=(str(tmp_path),), heads=("annotators",), enrol=3)
    other = tmp_path / "other"
    other.mkdir()
    for name in ("a", "b", "c"):
        (other / f"{name}.wav").write_bytes((tmp_path / f"{name}.wav").read_bytes())
    text = own.read_text("utf-8").replace("dominance", "valence")
    (other / "metadata.csv").write_text(text, "utf-8")
    with pytest.raises(RequestError, match="has valence, and 'own' teaches dominance"):
        planned("full", corpus=str(tmp_path), test_corpora=(str(other),))


def test_the_same_variant_twice_is_one_run() -> None:
    (spec,) = planned("lora:rank=8", "lora")
    assert spec.label == "lora:rank=8", "as it was asked for first"
    (plain,) = planned("lora")
    assert fingerprint(spec, "machine", SOFTWARE) == fingerprint(plain, "machine", SOFTWARE)


def test_flags_go_before_the_suite() -> None:
    (spec, *_) = planned(
        suite="quick", settings={"epochs": "9", "head_lr": "0.5"}, corpus="generated=speakers=3"
    )
    assert (spec.training.epochs, spec.training.head_lr, spec.training.batch_size) == (9, 0.5, 8)
    assert spec.corpus == CorpusRef("generated", "speakers=3")
    assert spec.corpus_name == "generated=speakers=3"


def test_the_cost_suite_scores_nothing() -> None:
    specs = planned(suite="cost")
    assert all(spec.cost_only for spec in specs)
    assert {spec.init for spec in specs} == {"random"}
    assert {spec.backbone for spec in specs} == {"wav2vec2-base"}


def test_every_shipped_suite_reads_and_parses() -> None:
    from serbench.harness import strategy

    assert {"quick", "cost", "icassp2025", "interspeech2024"} <= set(suite_names())
    strategy.discover()
    for name in suite_names():
        suite = Suite.load(name)
        assert [strategy.parse(text).label for text in suite.variants] == list(suite.variants)
        Training(**suite.training)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(), "nothing to run"),
        (Request(specs=("full",), every=True), "not both"),
        (
            Request(suite="quik"),
            "no suite 'quik'; there are cost, icassp2025, interspeech2024, quick",
        ),
        (Request(suite="icassp2025"), "icassp2025 needs --backbone"),
        (Request(suite="icassp2025", backbone="tiny"), "icassp2025 needs --corpus"),
        (Request(specs=("full+fp16",), device="cpu"), "fp16 with its gradient scaler needs CUDA"),
        (Request(specs=("full",), device="tpu"), "--device is auto, cpu"),
        (Request(specs=("full",), device="cuda:99"), "cuda:99"),
        (Request(specs=("full",), seeds="a"), "--seeds takes whole numbers"),
        (Request(specs=("full",), seeds="-1"), "from 0 on"),
        (Request(specs=("full",), repeats=-1), "--repeats takes a number from 0 on"),
        (Request(specs=("full",), folds="some"), "--folds takes all, all/10, or numbers"),
        (Request(specs=("full",), folds="0"), "no fold 0, only 1 to 5"),
        (Request(specs=("full",), folds="6"), "no fold 6, only 1 to 5"),
        (Request(specs=("full",), folds="1/2"), "at least 3 folds"),
        (Request(specs=("full",), folds="all/41"), "embedded has 40 speakers, too few for 41"),
        (Request(specs=("full",), test_corpora=("embedded",)), "a corpus 'embedded' already"),
        (Request(specs=("full",), test_corpora=("generated",) * 2), "'generated' already"),
        (Request(specs=("full",), test_corpora=("emodb=",)), "--test-corpus emodb=: the folder"),
        (Request(specs=("full",), heads=("nose",)), "no head 'nose'"),
        (
            Request(
                specs=("full",),
                heads=("annotators:schedule=interleaved",),
                settings={"accumulate": "2"},
            ),
            "a step for each task",
        ),
        (Request(specs=("full",), enrol=5), "--enrol is for the annotators of a --test-corpus"),
        (
            Request(specs=("full",), enrol=0, test_corpora=("generated",)),
            "--enrol takes a number of ratings from 1 on",
        ),
        (
            Request(
                specs=("full",), enrol=3, test_corpora=("generated",), heads=("mean-variance",)
            ),
            "no head here predicts single annotators",
        ),
        (Request(specs=("full",), settings={"optimizer": "adam"}), "optimizer: .*'adamw'"),
        (Request(specs=("full",), settings={"least_ratings": "1"}), "at least 2"),
        (Request(specs=("full",), corpus="generatd"), "did you mean generated"),
        (Request(specs=("full",), corpus="emodb="), "the folder after '=' is missing"),
        (Request(specs=("full",), corpus="emodb"), "emodb"),
        (Request(specs=("full",), init="zero"), "--init is"),
        (Request(specs=("full",), cache_dtype="int8"), "--cache-dtype is one of"),
        (Request(specs=("full",), cache_limit="much"), "'much' is no size"),
        (Request(specs=("full",), cache_limit="1e400"), "'1e400' is no size"),
        (Request(specs=("full",), settings={"epochs": "0"}), "epochs must be at least 1"),
        (Request(specs=("full",), settings={"epochs": "two"}), "epochs: .*valid integer"),
        (Request(specs=("full",), settings={"batch_size": "1"}), "batch_size must be at least 2"),
        (Request(specs=("full",), settings={"limit": "1"}), "at least 2 utterances"),
        (Request(specs=("full",), settings={"head_lr": "nan"}), "head_lr must be above 0"),
        (Request(specs=("full",), settings={"lr_scale": "0"}), "lr_scale must be above 0"),
        (Request(specs=("full",), settings={"warmup": "1"}), "share of the steps"),
        (
            Request(specs=("full",), settings={"weight_decay": "-1"}),
            "weight_decay must be at least 0",
        ),
        (Request(specs=("full",), settings={"head_lr": "inf"}), "head_lr must be finite"),
        (Request(specs=("full",), settings={"max_seconds": "inf"}), "max_seconds must be finite"),
        (
            Request(specs=("full",), settings={"max_seconds": "0.02"}),
            "at least 0.025, which an enc",
        ),
        (Request(specs=("lora:rank=0",)), "'lora:rank=0': rank is at least 1, not 0"),
        (Request(specs=("lora:layers=-1",)), "layers is at least 0, not -1"),
        (Request(specs=("full", "lora:layers=7")), "layers is at most the encoder's 6, not 7"),
        (
            Request(specs=("top-layers:layers=13",), backbone="hubert-base", init="random"),
            "layers is at most the encoder's 12, not 13",
        ),
        (Request(specs=("vera:dropout=1",)), "dropout is from 0 to below 1, not 1.0"),
        (Request(specs=("full:lr=0",)), "lr is above 0, not 0.0"),
        (Request(specs=("gradual:first=0",)), "first is at least 1, not 0"),
        (
            Request(specs=("full",), heads=("annotators:warmup=6",)),
            "annotators:warmup=6 needs at least 7 epochs to learn all that .*, and epochs=6",
        ),
        (Request(specs=("full",), settings={"colour": "1"}), "there are epochs, batch_size"),
    ],
)
def test_what_is_wrong_is_found_before_the_first_run(request_: Request, message: str) -> None:
    with pytest.raises(SerbenchError, match=message):
        plan(request_)


def test_settings_at_their_bounds_are_planned() -> None:
    specs = ("lora:rank=1,layers=6,dropout=0", "top-layers:layers=6", "top-layers:layers=1")
    heads = ("annotators:warmup=5",)
    settings = {"weight_decay": "0", "clip_norm": "inf", "max_seconds": "0.025"}
    assert len(planned(*specs, heads=heads, settings=settings)) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("variants = [", "suite.toml"),
        ("title = 'x'\nvariants = ['full']\ncolour = 1", "a suite has no 'colour'"),
        ("title = 'x'\nvariants = ['full']\n[training]\ncolour = 1", "a suite has no 'colour'"),
        ("variants = ['full']", "title"),
        ("title = 'x'\nvariants = 'full'", "variants"),
        ("title = 'x'\nvariants = ['full']\nseeds = 'all'", "seeds"),
        ("title = 'x'\nvariants = ['full']\n[training]\nepochs = 'ten'", "epochs"),
        ("title = 'x'\nvariants = ['full']\nrepeated = ['frozen']", "repeats frozen, but"),
        ("title = 'x'\nvariants = []\nbackbone = 'tiny'\ncorpus = 'generated'", "nothing to run"),
    ],
)
def test_a_wrong_suite_file_says_what_is_wrong(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "suite.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(RequestError, match=message):
        plan(Request(suite=str(path), backbone="tiny", corpus="generated"))


def test_a_suite_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'title = "mine"\nvariants = ["frozen"]\nbackbone = "tiny"\ncorpus = "generated"\n'
        "seeds = [4]\n[training]\nepochs = 1\n",
        "utf-8",
    )
    (spec,) = planned(suite=str(path))
    assert (spec.suite, spec.label, spec.seed, spec.training.epochs) == ("mine", "frozen", 4, 1)


ELSEWHERE: dict[str, Any] = {"test_corpora": ("generated",)}
BASE = planned("top-layers+bf16+cache", device="cpu")[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda s: dataclasses.replace(s, variant=planned("top-layers+cache")[0].variant),
        lambda s: dataclasses.replace(s, variant=planned("top-layers:lr=1+bf16+cache")[0].variant),
        lambda s: dataclasses.replace(s, source_hash="other"),
        lambda s: dataclasses.replace(s, backbone_hash="other"),
        lambda s: dataclasses.replace(s, corpus_hash="other"),
        lambda s: dataclasses.replace(s, seed=1),
        lambda s: dataclasses.replace(s, device="cuda:0"),
        lambda s: dataclasses.replace(s, head=heads.parse("distribution")),
        lambda s: dataclasses.replace(s, head=heads.parse("annotators")),
        lambda s: dataclasses.replace(s, head=heads.parse("annotators:bandwidth=0.3")),
        lambda s: dataclasses.replace(s, enrol=5),
        lambda s: dataclasses.replace(s, training=Training(optimizer="sgd")),
        lambda s: dataclasses.replace(s, cost_only=True),
        lambda s: dataclasses.replace(s, cache_dtype="float16"),
        lambda s: dataclasses.replace(s, training=Training(epochs=99)),
        lambda s: dataclasses.replace(s, fold="1/5"),
        lambda s: dataclasses.replace(s, fold="2/5"),
        lambda s: dataclasses.replace(s, elsewhere=planned("full", **ELSEWHERE)[0].elsewhere),
    ],
)
def test_whatever_changes_the_measurement_changes_the_fingerprint(
    change: Callable[[Spec], Spec],
) -> None:
    assert fingerprint(change(BASE), "m", SOFTWARE) != fingerprint(BASE, "m", SOFTWARE)


def test_so_do_the_machine_the_libraries_and_the_threads() -> None:
    before = fingerprint(BASE, "m", SOFTWARE)
    assert fingerprint(BASE, "other", SOFTWARE) != before
    for name in ("torch", "transformers", "peft", "threads"):
        assert fingerprint(BASE, "m", {**SOFTWARE, name: "other"}) != before
    assert fingerprint(BASE, "m", {**SOFTWARE, "python": "other"}) == before


def test_what_does_not_leaves_it_alone() -> None:
    for changes in ({"suite": "x"}, {"cache_dir": "/x"}, {"save_dir": "/x"}, {"plugins": ("x",)}):
        changed = dataclasses.replace(BASE, **changes)
        assert fingerprint(changed, "m", SOFTWARE) == fingerprint(BASE, "m", SOFTWARE)


@pytest.mark.parametrize(
    ("text", "size"), [("20GB", 20_000_000_000), ("500 M", 500_000_000), ("1e3", 1000), ("7B", 7)]
)
def test_sizes(text: str, size: int) -> None:
    assert read_bytes(text) == size


def test_corpora_by_name_root_and_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert read_corpus("generated") == CorpusRef("generated")
    assert read_corpus("emodb=mine") == CorpusRef("emodb", str(tmp_path / "mine"))
    assert read_corpus("mine") == CorpusRef(str(tmp_path / "mine"))


@pytest.mark.parametrize("option", ["save_dir", "cache_dir"])
def test_a_folder_that_cannot_be_made_is_refused_before_anything_runs(
    tmp_path: Path, option: str
) -> None:
    (tmp_path / "file").touch()
    flag = {"save_dir": "--save", "cache_dir": "--cache-dir"}[option]
    for name in ("file", "file/below"):
        with pytest.raises(RequestError, match=f"^{flag} .*: nothing can be written into .*file$"):
            planned("full", **{option: str(tmp_path / name)})
    (spec, *_) = planned("full", **{option: str(tmp_path / "new" / "folder")})
    assert getattr(spec, option) == str(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()


def test_a_corpus_with_findings_is_refused_with_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text("file_name,speaker,valence\na.wav,s,0\nb.wav,t,7\n")
    with pytest.raises(CorpusError) as caught:
        planned("full", corpus=str(tmp_path))
    assert len(caught.value.findings) >= 2


def test_a_corpus_without_all_splits_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "03a01Fa.wav", np.zeros(1600), 16_000)
    with pytest.raises(RequestError, match="'emodb' has no test and no validation split"):
        planned("full", corpus=f"emodb={tmp_path}")


def test_each_variant_is_run_with_each_head() -> None:
    chosen = ("annotators", "annotators:tasks=1+3", "distribution", " annotators ")
    specs = planned("full", "frozen", heads=chosen)
    assert [spec.name for spec in specs] == [
        "full@annotators",
        "full@distribution",
        "frozen@annotators",
        "frozen@distribution",
    ], "what is the same head is one"
    assert planned("full")[0].name == "full"


def test_a_later_setting_leaves_what_is_finished_finished() -> None:
    """The fingerprint of a run of before, as `runs.db` has it: anything else would run again."""
    spec = dataclasses.replace(
        BASE, backbone_hash="b", corpus_hash="c", source_hash="s", training=Training()
    )
    software = {"torch": "2", "transformers": "5", "peft": "0", "threads": 2}
    assert fingerprint(spec, "machine", software) == "a9339926c16f82c3ff4f9425"


@pytest.mark.parametrize("head", ["annotators", "distribution", "mean-variance", "evidential"])
def test_a_head_of_ratings_is_refused_where_there_are_none(head: str) -> None:
    bare = dataclasses.replace(embedded.load(None), ratings=None)
    with pytest.raises(RequestError, match="learns from single ratings"):
        heads.require(heads.parse(head), bare)


def test_a_head_of_annotators_is_refused_where_nobody_knows_them() -> None:
    anonymous = dataclasses.replace(embedded.load(None), anonymous=True)
    heads.require(heads.parse("distribution"), anonymous)
    with pytest.raises(RequestError, match="nobody knows who gave a rating"):
        heads.require(heads.parse("annotators"), anonymous)


def test_a_head_of_distributions_is_refused_without_valence() -> None:
    corpus = embedded.load(None)
    half = dataclasses.replace(corpus, utterances=corpus.utterances.drop(columns="valence"))
    heads.require(heads.parse("annotators:tasks=1"), half)
    for head in ("annotators:tasks=1+3", "distribution"):
        with pytest.raises(RequestError, match="has no valence"):
            heads.require(heads.parse(head), half)


def rated(*given: tuple[str, str], split: Split = "train", both: bool = True) -> Corpus:
    """The bundled corpus with the ratings of two utterances of a split alone: u or v, and whose."""
    corpus = embedded.load(None)
    first = dict(zip("uv", corpus.subset(split)["id"], strict=False))
    rows = [
        (first[utterance], annotator, dimension, 3.0)
        for utterance, annotator in given
        for dimension in (("activation", "valence") if both else ("activation",))
    ]
    ratings = pd.DataFrame(rows, columns=["utterance", "annotator", "dimension", "value"])
    return dataclasses.replace(corpus, ratings=ratings)


HEADS_OF_RATINGS = {
    "annotators": "nobody has rated an utterance that is trained on",
    "annotators:tasks=1": "nobody has rated an utterance that is trained on",
    "distribution": "has none of an utterance that is trained on",
    "mean-variance": "has none of an utterance that is trained on",
    "evidential": "has none of an utterance that is trained on",
}


@pytest.mark.parametrize(("head", "message"), HEADS_OF_RATINGS.items())
def test_ratings_of_the_test_split_alone_teach_nothing(head: str, message: str) -> None:
    corpus = rated(("u", "a"), ("u", "b"), split="test")
    with pytest.raises(RequestError, match=message):
        heads.require(heads.parse(head), corpus)


@pytest.mark.parametrize("head", ["annotators", "distribution", "mean-variance"])
def test_one_rater_an_utterance_is_no_distribution(head: str) -> None:
    chosen = heads.parse(head)
    with pytest.raises(RequestError, match=r"2 raters.* that is trained on"):
        heads.require(chosen, rated(("u", "a"), ("v", "b")))
    heads.require(chosen, rated(("u", "a"), ("u", "b")))


def test_raters_of_one_dimension_give_no_distribution_over_two() -> None:
    half = rated(("u", "a"), ("u", "b"), both=False)
    heads.require(heads.parse("mean-variance"), half)
    with pytest.raises(RequestError, match="2 raters of activation and valence"):
        heads.require(heads.parse("distribution"), half)


def test_one_rater_an_utterance_teaches_the_heads_of_ratings() -> None:
    for head in ("annotators:tasks=1", "evidential", "consensus"):
        heads.require(heads.parse(head), rated(("u", "a"), ("v", "b")))


def test_what_is_not_used_teaches_nothing() -> None:
    corpus = rated(("v", "a"), ("v", "b"))
    heads.require(heads.parse("annotators"), corpus)
    with pytest.raises(RequestError, match="nobody has rated"):
        heads.require(heads.parse("annotators"), corpus, limit=2)


def test_each_fold_must_have_what_a_head_learns_from(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = rated(("u", "a"), ("u", "b"))
    speaker = corpus.subset("train")["speaker"].iloc[0]
    roles = {n: set(split_of(corpus, f"{n}/4", speaker)) for n in range(1, 5)}
    monkeypatch.setattr(corpora, "load", lambda _: corpus)
    for number, (role,) in roles.items():
        asked = Request(specs=("full",), heads=("annotators",), folds=f"{number}/4")
        if role == "train":
            plan(asked)
        else:
            with pytest.raises(RequestError, match="nobody has rated"):
                plan(asked)
    assert len({role for (role,) in roles.values()}) == 3


def split_of(corpus: Corpus, fold: str, speaker: str) -> list[str]:
    table = folds.parted(corpus, fold).utterances
    return list(table["split"][table["speaker"] == speaker])
