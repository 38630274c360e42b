"""Registration, discovery and the spec string."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from serbench.harness import plugins, strategy
from serbench.harness.errors import RequestError, StrategyError
from serbench.harness.strategy import Strategy, Variant, parse, register

pytestmark = pytest.mark.usefixtures("registries")

PLUGIN = """
from dataclasses import dataclass
from serbench.harness.strategy import Strategy, register

@register("{name}")
@dataclass(frozen=True, kw_only=True)
class Plugin(Strategy):
    \"\"\"A plugin.\"\"\"
"""


@pytest.mark.parametrize(
    "text",
    [
        "full",
        "full+bf16",
        "top-layers:layers=2+bf16+cache",
        "lora:rank=16,targets=q_proj/k_proj/v_proj,dropout=0.0+cache",
        "full:convolutions=true",
        "bitfit:lr=0.003+fp16",
    ],
)
def test_a_canonical_spec_string_reads_back_as_itself(text: str) -> None:
    assert parse(text).label == text
    assert parse(parse(text).label) == parse(text)


def test_defaults_and_order_do_not_make_another_variant() -> None:
    assert parse("lora:alpha=16,rank=8") == parse("lora")
    assert parse("lora:dropout=0,rank=4").label == "lora:rank=4,dropout=0.0"
    assert parse("lora:rank=8").label == "lora:rank=8", "what was stated stays"
    assert hash(parse("lora:rank=8")) == hash(parse("lora"))
    assert parse("full+cache+bf16").label == "full+bf16+cache"
    assert parse("full+fp32").label == "full"
    assert parse("full:lr=1e+3+bf16").label == "full:lr=1000.0+bf16", "that plus is no axis"


def test_the_configuration_has_every_field() -> None:
    assert parse("top-layers:layers=2").config == {"lr": 1e-4, "layers": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lorra", "did you mean lora"),
        ("lora:rnk=4", "lora takes lr="),
        ("lora:rank=four", "rank takes int, not 'four'"),
        ("lora:rank", "sets nothing"),
        ("full:convolutions=maybe", "takes bool"),
        ("lora:lr=nan", "lr takes float, not 'nan'"),
        ("full+bf17", r"'\+bf17' is none of"),
        ("full+bf16+fp16", "more than one precision"),
        ("full+cache+cache", "one axis twice"),
        ("", "no strategy ''"),
    ],
)
def test_a_wrong_spec_string_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        parse(text)


def test_a_second_claim_to_a_name_names_both_origins(tmp_path: Path) -> None:
    paths = [tmp_path / "one.py", tmp_path / "two.py"]
    for path in paths:
        path.write_text(PLUGIN.format(name="twice"), "utf-8")
    with pytest.raises(StrategyError, match=r"one\.py and .*two\.py"):
        strategy.discover(tuple(map(str, paths)))


def test_a_plugin_file_is_found_and_its_hash_follows_its_source(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN.format(name="mine"), "utf-8")
    strategy.discover((str(path),))
    entry = strategy.find("mine")
    before = entry.source_hash
    path.write_text(PLUGIN.format(name="mine") + "# changed\n", "utf-8")
    assert entry.source_hash != before
    assert parse("mine:lr=1").label == "mine:lr=1.0"


@pytest.mark.parametrize("text", ["import nothing_of_the_kind", "def broken(", None])
def test_a_plugin_file_that_was_asked_for_and_fails_is_an_error(
    text: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "broken.py"
    if text is not None:
        path.write_text(text, "utf-8")
    with pytest.raises(RequestError, match=r"--plugin .*broken\.py"):
        strategy.discover((str(path),))


def test_a_dropped_in_file_that_fails_is_told_and_the_rest_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import serbench.strategies

    (tmp_path / "dropped_broken.py").write_text("import nothing_of_the_kind", "utf-8")
    (tmp_path / "dropped_in.py").write_text(PLUGIN.format(name="dropped-in"), "utf-8")
    monkeypatch.setattr(
        serbench.strategies, "__path__", [*serbench.strategies.__path__, str(tmp_path)]
    )
    strategy.discover()
    assert strategy.find("dropped-in").origin == str(tmp_path / "dropped_in.py")
    (problem,) = plugins.problems().values()
    assert "nothing_of_the_kind" in problem
    for name in ("dropped_broken", "dropped_in"):
        sys.modules.pop(f"serbench.strategies.{name}", None)


def test_a_dropped_in_file_with_a_wrong_declaration_is_told_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import serbench.strategies

    text = PLUGIN.format(name="not a name")
    (tmp_path / "dropped_wrong.py").write_text(text, "utf-8")
    monkeypatch.setattr(
        serbench.strategies, "__path__", [*serbench.strategies.__path__, str(tmp_path)]
    )
    strategy.discover()
    (problem,) = plugins.problems().values()
    assert "no name for a strategy" in problem


def test_declarations_are_checked() -> None:
    class NoDataclass(Strategy):
        """No dataclass of its own, but its parent is one."""

    @dataclass
    class Thawed:
        lr: float = 0.1

    @dataclass(frozen=True, kw_only=True)
    class Demanding(Strategy):
        rank: int

    with pytest.raises(StrategyError, match="frozen dataclass"):
        register("thawed")(Thawed)  # type: ignore[type-var]
    with pytest.raises(StrategyError, match="'rank' has no default"):
        register("demanding")(Demanding)
    with pytest.raises(StrategyError, match="no name"):
        register("bad name")(NoDataclass)


def test_nothing_in_the_harness_names_a_strategy() -> None:
    folder = Path(strategy.__file__).parent
    names = {entry.cls.__module__.rpartition(".")[2] for entry in strategy.entries()}
    for path in folder.rglob("*.py"):
        text = path.read_text("utf-8")
        assert not any(f"strategies.{name}" in text for name in names), path


def test_variants_hash_by_their_settings() -> None:
    assert len({parse("lora"), parse("lora:rank=8"), parse("lora:rank=4")}) == 2
    assert isinstance(parse("full"), Variant)


@dataclass(frozen=True, kw_only=True)
class Indexing(Strategy):
    """Means a place from the end by -1."""

    layer: int = -1
    none: int = 0
    dropout: float = 0.0


@pytest.mark.parametrize("given", [{}, {"layer": -12}, {"none": 0, "lr": 1e-9, "dropout": 0.99}])
def test_defaults_tell_which_settings_can_work(given: dict[str, float]) -> None:
    Indexing(**given).check(2)  # type: ignore[arg-type]


def test_a_strategy_may_have_bounds_of_its_own() -> None:
    class Unbound(Indexing):
        def check(self, layers: int) -> None:
            if self.none > layers:
                raise ValueError("none is too many")

    Unbound(none=-1, lr=0.0).check(2)
    with pytest.raises(ValueError, match="too many"):
        Unbound(none=3).check(2)
    with pytest.raises(ValueError, match="none is at least 0, not -1"):
        Indexing(none=-1).check(2)


def test_every_default_can_work_with_a_usual_encoder() -> None:
    strategy.discover()
    for entry in strategy.entries():
        entry.cls().check(12)


def test_whole_numbers_of_what_counts_nothing_are_free() -> None:
    @dataclass(frozen=True)
    class Loose(Strategy):
        rank: int | None = None
        alpha: float = 16.0

    Loose(rank=0, alpha=0).check(2)
