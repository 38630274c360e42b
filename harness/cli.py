"""Words to calls: the command line, and nothing that the calls could not do without it."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping, Set
from contextlib import nullcontext
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from serbench.harness import console, heads, plugins, strategy
from serbench.harness.errors import RequestError, SerbenchError
from serbench.harness.metrics import RANKINGS, several, size

if TYPE_CHECKING:
    from serbench.harness.session import Session
    from serbench.leaderboard.ranking import Row

__all__ = ["app", "main"]

FAILED, WRONG, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    help="Ways of finetuning a speech encoder for emotion recognition: their cost, and how well.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    pretty_exceptions_enable=False,
)
corpus_app = typer.Typer(help="One's own data.", no_args_is_help=True)
cache_app = typer.Typer(help="Frame states kept on disk.", no_args_is_help=True)
app.add_typer(corpus_app, name="corpus")
app.add_typer(cache_app, name="cache")

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Database = Annotated[str, typer.Option("--db", help="SQLite file or SQLAlchemy URL.")]
Plugins = Annotated[
    list[str] | None,
    typer.Option("--plugin", metavar="FILE.py", help="Also load this strategy or head."),
]
Machine = Annotated[str | None, typer.Option(help="Only this machine's rows.")]
Corpus = Annotated[str | None, typer.Option(help="Only this corpus.")]
Backbone = Annotated[str | None, typer.Option(help="Only this backbone.")]
Head = Annotated[str | None, typer.Option(help="Only this head.")]
Suite = Annotated[str | None, typer.Option(help="Only runs of this suite.")]
TestCorpus = Annotated[
    str | None, typer.Option(help="Scores on this further corpus instead of the own one.")
]
CacheDir = Annotated[
    str | None, typer.Option("--cache-dir", help="Where frame states lie; else the XDG cache.")
]


def main() -> None:
    """Run the command line; what is wrong with a request or with data is one message and exit 2."""
    try:
        app()
    except SerbenchError as error:
        _fail(error)


def _fail(error: SerbenchError) -> NoReturn:
    sys.stderr.write(f"serbench: {error}\n")
    sys.exit(WRONG)


def _tell_version(asked: bool) -> None:
    if asked:
        console.say(f"serbench {version('serbench')}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_tell_version, is_eager=True, help="Say which version this is."
        ),
    ] = False,
) -> None:
    pass


@app.command()
def run(
    specs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SPEC]...", help="name[:field=value,…][+bf16|+fp16][+cache]"),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="The suite 'quick', or --suite's.")] = False,
    suite: Annotated[str | None, typer.Option(help="A suite's name, or a TOML file.")] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Hub id, local folder, or a name of 'list backbones'.")
    ] = None,
    init: Annotated[str | None, typer.Option(help="pretrained or random weights.")] = None,
    corpus: Annotated[str | None, typer.Option(help="NAME, NAME=ROOT, or a folder.")] = None,
    folds: Annotated[
        str | None,
        typer.Option("--folds", "--fold", help="Folds by speaker: all, all/10, 1,2 or 1/10."),
    ] = None,
    test_corpus: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[=ROOT]", help="Also test on this one; it is not trained on."),
    ] = None,
    enrol: Annotated[
        int | None,
        typer.Option(metavar="N", help="Tell by N ratings whom new annotators are like."),
    ] = None,
    head: Annotated[
        list[str] | None,
        typer.Option(metavar="HEAD", help="What is predicted: name[:field=value,…]; one or more."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs at most.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Utterances a batch.")] = None,
    limit: Annotated[int | None, typer.Option(help="Utterances a split at most.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any other training setting."),
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Such as 0,1,2.")] = None,
    repeats: Annotated[
        int | None,
        typer.Option(metavar="N", help="Run each SPEC N times more, to tell the noise floor."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    db: Database = "runs.db",
    cache_dir: CacheDir = None,
    cache_limit: Annotated[
        str | None, typer.Option(help="The most that all caches may take, such as 20GB.")
    ] = None,
    cache_dtype: Annotated[
        str, typer.Option(help="auto (exactly what the run computes in), float16, …")
    ] = "auto",
    save: Annotated[
        str | None, typer.Option("--save", metavar="DIR", help="Keep the trained models here.")
    ] = None,
    plugin: Plugins = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run.")] = False,
    rerun: Annotated[bool, typer.Option("--rerun", help="Also what is finished.")] = False,
    as_json: Json = False,
) -> None:
    """Finetune, clock and score: each SPEC (or suite) with each seed, into the database."""
    from serbench.harness.request import Request, plan
    from serbench.harness.session import Interrupted, Session

    given = {"epochs": epochs, "batch_size": batch_size, "limit": limit}
    numbers = {name: str(value) for name, value in given.items() if value is not None}
    planned = plan(
        Request(
            specs=tuple(specs or ()),
            every=every,
            suite=suite,
            backbone=backbone,
            init=init,
            corpus=corpus,
            heads=tuple(head or ()),
            seeds=seeds,
            folds=folds,
            test_corpora=tuple(test_corpus or ()),
            enrol=enrol,
            repeats=repeats,
            device=device,
            plugins=tuple(plugin or ()),
            cache_dir=cache_dir,
            cache_limit=cache_limit,
            cache_dtype=cache_dtype,
            save_dir=save,
            settings={**_pairs(settings), **numbers},
        )
    )
    _warn_of_problems()
    session = Session(planned, db, rerun=rerun, as_json=as_json)
    if dry_run:
        session.tell()
        return
    try:
        failed = session.carry_out()
    except Interrupted as interrupted:
        sys.stderr.write(f"serbench: {interrupted}\n")
        sys.exit(INTERRUPTED)
    _print_ranking(session, as_json)
    if failed:
        sys.exit(FAILED)


def _print_ranking(session: Session, as_json: bool) -> None:
    first = session.planned.specs[0]
    found = _ranked(
        session.db,
        machine=str(session.machine["key"]),
        corpus=first.corpus_name,
        backbone=first.backbone,
    )
    rows = [row for row in map(dataclasses.asdict, found) if session.asked_for(row)]
    if as_json:
        console.print_json({"event": "ranking", "rows": rows}, compact=True)
    else:
        console.ranking_table(rows)


def _pairs(settings: list[str] | None) -> dict[str, str]:
    pairs = {}
    for item in settings or []:
        key, equals, value = item.partition("=")
        if not equals:
            raise RequestError(f"--set takes KEY=VALUE, not '{item}'")
        pairs[key.replace("-", "_")] = value
    return pairs


def _warn_of_problems() -> None:
    for origin, problem in plugins.problems().items():
        sys.stderr.write(f"serbench: left out {origin}: {problem}\n")


def _ranked(
    db: str, *, by: str = "ccc", test_corpus: str | None = None, **filters: str | None
) -> list[Row]:
    from serbench.leaderboard import queries, ranking

    engine = queries.open_for_reading(db)
    runs = queries.configurations(engine, test_corpus=test_corpus, **filters)
    chosen = ranking.chosen_runs(runs, by=by)
    evidence = queries.evidence(engine, chosen, test_corpus=test_corpus)
    current = {entry.name: entry.source_hash for entry in strategy.entries()}
    return ranking.rank(runs, evidence, by=by, current=current)


class Layout(str, Enum):
    """How `serbench rank` prints."""

    table = "table"
    csv = "csv"
    markdown = "markdown"
    latex = "latex"


@app.command()
def rank(
    db: Database = "runs.db",
    by: Annotated[
        str,
        typer.Option(
            metavar="SCORE", help="ccc, annotator_ccc, tvd or jsd, these with _told, tvd_true …"
        ),
    ] = "ccc",
    machine: Machine = None,
    corpus: Corpus = None,
    backbone: Backbone = None,
    head: Head = None,
    suite: Suite = None,
    test_corpus: TestCorpus = None,
    plugin: Plugins = None,
    layout: Annotated[
        Layout,
        typer.Option(
            "--format", help="A table for the terminal or a document, or all columns as CSV."
        ),
    ] = Layout.table,
    as_json: Json = False,
) -> None:
    """Rank what the database holds; only rows that compare share a table."""
    if as_json and layout is not Layout.table:
        raise RequestError("--json and --format are two ways of printing: name one")
    strategy.discover(tuple(plugin or ()))
    filters = {
        "machine": machine,
        "corpus": corpus,
        "backbone": backbone,
        "head": head,
        "suite": suite,
        "test_corpus": test_corpus,
    }
    rows = _ranked(db, by=_score(by), **filters)
    if not rows:
        _require(db, filters)
    if as_json:
        console.print_json([dataclasses.asdict(row) for row in rows])
    elif rows and layout is not Layout.table:
        sys.stdout.write(_exported(rows, layout))
    elif rows:
        console.ranking_table([dataclasses.asdict(row) for row in rows])
    else:
        console.say(f"{db} holds no runs; serbench run --all makes some")


def _require(db: str, filters: Mapping[str, str | None]) -> None:
    """Say what is wrong with filters, if there are any, by which nothing was found."""
    from serbench.leaderboard import queries, queries_filters

    queries_filters.require(queries.open_for_reading(db), filters)
    if any(filters.values()):
        raise RequestError(f"{db} holds no runs with all of {queries_filters.said(filters)}")


def _exported(rows: list[Row], layout: Layout) -> str:
    from serbench.leaderboard import exports, tables

    if layout is Layout.csv:
        return exports.csv(tables.of_all_groups(rows)).decode()
    write = exports.FORMATS[layout.value].write
    documents = (
        write(frame[tables.usual(frame, rows[0].ranked_by)], tables.formats(frame), title)
        for title, frame in tables.by_group(rows).items()
    )
    return "\n".join(document.decode() for document in documents)


def _score(name: str) -> str:
    if name not in RANKINGS:
        raise RequestError(f"rows are ranked by one of {', '.join(RANKINGS)}, not '{name}'")
    return name


@app.command()
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="SPEC, SPEC@HEAD, or the number of a run.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    db: Database = "runs.db",
    machine: Machine = None,
    corpus: Corpus = None,
    backbone: Backbone = None,
    head: Head = None,
    suite: Suite = None,
    test_corpus: TestCorpus = None,
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Set two rows, or two runs, beside each other: what can be told of their differences."""
    from serbench.leaderboard import comparison, queries, queries_filters

    strategy.discover(tuple(plugin or ()))
    engine = queries.open_for_reading(db)
    filters = {
        "machine": machine,
        "corpus": corpus,
        "backbone": backbone,
        "suite": suite,
        "test_corpus": test_corpus,
    }
    if a.isdecimal() or b.isdecimal():
        numbers = [int(text) for text in (a, b) if text.isdecimal()]
        runs = queries.comparable_with(engine, numbers, **filters)
    else:
        names = comparison.strategies(a, b)
        runs = queries.configurations(engine, strategies=names, **filters)
    unused = all("@" in text or text.isdecimal() for text in (a, b))
    if head or not runs:
        queries_filters.require(engine, {**filters, "head": None if unused else head})

    def compared(first: tuple[int, ...], second: tuple[int, ...]) -> comparison.Comparison:
        ids = (*first, *second)
        runs = queries.comparable_with(engine, ids, **filters)
        evidence = queries.evidence(engine, ids, test_corpus=test_corpus)
        return comparison.compare(runs, evidence, first, second)

    found = [compared(*pair) for pair in comparison.chosen(runs, a, b, head=head)]
    if as_json:
        console.print_json([dataclasses.asdict(each) for each in found])
        return
    for i, each in enumerate(found):
        if i:
            console.say()
        console.comparison_page(each)


@app.command()
def recommend(
    max_memory: Annotated[
        str | None, typer.Option(help="Peak memory at most, such as 2GB.", metavar="SIZE")
    ] = None,
    max_epoch_s: Annotated[float | None, typer.Option(help="A warm epoch at most.")] = None,
    max_run_s: Annotated[
        float | None, typer.Option(help="The whole run at most, cache filling included.")
    ] = None,
    max_disk: Annotated[
        str | None, typer.Option(help="Cache at most, such as 500MB; 0 for none.", metavar="SIZE")
    ] = None,
    min_ccc: Annotated[
        float | None, typer.Option(help="Mean CCC of activation and valence at least.")
    ] = None,
    db: Database = "runs.db",
    by: Annotated[
        str, typer.Option(metavar="SCORE", help="What is best, as in 'serbench rank'.")
    ] = "ccc",
    machine: Machine = None,
    corpus: Corpus = None,
    backbone: Backbone = None,
    head: Head = None,
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Say which configuration to take within limits of cost; in each setting, the best there."""
    from serbench.harness.recommendation_page import print_recommendation
    from serbench.harness.request import read_bytes
    from serbench.leaderboard import queries, recommendation

    strategy.discover(tuple(plugin or ()))
    limits = recommendation.Limits(
        memory_bytes=None if max_memory is None else read_bytes(max_memory),
        epoch_s=max_epoch_s,
        run_s=max_run_s,
        disk_bytes=None if max_disk is None else read_bytes(max_disk),
        ccc=min_ccc,
    )
    by = _score(by)
    engine = queries.open_for_reading(db)
    filters = {"machine": machine, "corpus": corpus, "backbone": backbone, "head": head}
    runs = queries.configurations(engine, **filters)
    if not runs:
        _require(db, filters)
        raise RequestError(f"{db} holds no runs")
    evidence = queries.evidence(engine, recommendation.chosen_runs(runs, limits, by=by))
    found = recommendation.recommend(runs, evidence, limits, by=by)
    if as_json:
        console.print_json([dataclasses.asdict(each) for each in found])
        return
    for i, each in enumerate(found):
        if i:
            console.say()
        print_recommendation(each)


@app.command()
def show(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="A run's number.")],
    db: Database = "runs.db",
    as_json: Json = False,
) -> None:
    """Print everything that one run said."""
    from serbench.harness.run_page import print_run
    from serbench.leaderboard import queries

    found = queries.run(queries.open_for_reading(db), run_id)
    if as_json:
        console.print_json(found)
    else:
        print_run(found, _row_of(db, found))


def _row_of(db: str, run: dict[str, Any]) -> dict[str, Any] | None:
    """The row of the ranking that a run is part of; None for one that is replaced, or failed."""
    strategy.discover()
    filters = {key: run[key] for key in ("corpus", "backbone")}
    rows = _ranked(db, machine=run["machine"]["key"], **filters)
    return next((dataclasses.asdict(row) for row in rows if run["id"] in row.run_ids), None)


@app.command()
def leaderboard(db: Database = "runs.db") -> None:
    """Open the leaderboard in the browser."""
    from serbench.leaderboard.queries import open_for_reading

    open_for_reading(db)
    words = ("-m", "serbench.leaderboard", "--server.address=localhost")
    # In this process's place, so that whoever ends it ends the server.
    os.execv(sys.executable, [sys.executable, *words, "--", "--db", db])


@app.command()
def doctor(
    backbone: Annotated[str, typer.Option(help="Check the kernels of this geometry.")] = "tiny",
    init: Annotated[str, typer.Option(help="pretrained or random weights.")] = "pretrained",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    cache_dir: CacheDir = None,
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Check this machine: device, arithmetic in every precision, disk, plugins."""
    from serbench.harness.doctor import examine

    strategy.discover(tuple(plugin or ()))
    findings = examine(backbone, init, device, cache_dir)
    if as_json:
        console.print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        console.table(
            ("", "what", "found"), [("ok" if f.well else "!!", f.what, f.found) for f in findings]
        )
    if not all(finding.well for finding in findings):
        sys.exit(FAILED)


Folder = Annotated[str, typer.Option("--dir", help="Where to write the file.")]


@app.command("new-strategy")
def new_strategy(
    name: Annotated[str, typer.Argument(help="Such as norm-tuning.")], folder: Folder = "."
) -> None:
    """Write a strategy plugin to start from; it works as it is."""
    strategy.discover()
    path = _written("strategy", name, {entry.name for entry in strategy.entries()}, folder)
    console.say(
        f"Wrote {path}. It trains the layer norms until you change it.\n"
        f"  try it:  serbench run {name} --plugin {path}\n"
        f"  test it: SERBENCH_PLUGINS={path} pytest --pyargs serbench.harness.contract -k {name}"
    )


@app.command("new-head")
def new_head(
    name: Annotated[str, typer.Argument(help="Such as huber.")], folder: Folder = "."
) -> None:
    """Write a plugin of a head, which is what is predicted; it works as it is."""
    strategy.discover()
    path = _written("head", name, {entry.name for entry in heads.entries()}, folder)
    quickest = next(entry.name for entry in strategy.entries() if entry.cls.head_only)
    console.say(
        f"Wrote {path}. It learns the labels by their Huber loss until you change it.\n"
        f"  try it:  serbench run {quickest}+cache --head {name} --plugin {path}\n"
        f"  test it: SERBENCH_PLUGINS={path} pytest --pyargs serbench.harness.contract"
        f" -k head-{name}"
    )


def _written(kind: str, name: str, taken: Set[str], folder: str) -> Path:
    from serbench.harness.scaffold import write

    if name in taken:
        raise RequestError(f"there is a {kind} '{name}' already; choose another name")
    return write(kind, name, Path(folder))


class Kind(str, Enum):
    """What `serbench list` lists."""

    strategies = "strategies"
    heads = "heads"
    corpora = "corpora"
    backbones = "backbones"
    suites = "suites"


@app.command("list")
def list_(
    kind: Annotated[Kind | None, typer.Argument(help="All of them if not given.")] = None,
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Say what there is to choose from."""
    strategy.discover(tuple(plugin or ()))
    _warn_of_problems()
    chosen = [kind] if kind else list(Kind)
    if as_json:
        found = {each.value: _listed(each) for each in chosen}
        console.print_json(found[kind.value] if kind else found)
        return
    for each in chosen:
        entries = _listed(each)
        columns = [column for column in entries[0] if column != "origin"]
        rows = [[_in_a_cell(entry[column]) for column in columns] for entry in entries]
        console.table(("" if kind else f"{each.value}:", *columns[1:]), rows)
        console.say()


def _listed(kind: Kind) -> list[dict[str, Any]]:
    if kind is Kind.strategies:
        return [_plugin(entry, "what learns") for entry in strategy.entries()]
    if kind is Kind.heads:
        return [_plugin(entry, "what is predicted") for entry in heads.entries()]
    return [{"name": name, "what it is": text} for name, text in _summaries(kind).items()]


def _plugin(entry: plugins.Entry[Any], what: str) -> dict[str, Any]:
    return {
        "name": entry.name,
        what: entry.summary,
        "settings": entry.fields(),
        "origin": entry.origin,
    }


def _summaries(kind: Kind) -> dict[str, str]:
    from serbench.harness import backbone, corpora
    from serbench.harness.plan import Suite, suite_names

    if kind is Kind.corpora:
        return corpora.names()
    if kind is Kind.backbones:
        return backbone.names()
    return {name: Suite.load(name).title for name in suite_names()}


def _in_a_cell(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={plugins.written(each)}" for key, each in value.items())
    return str(value)


@corpus_app.command("check")
def corpus_check(
    corpus: Annotated[str, typer.Argument(metavar="CORPUS", help="NAME, NAME=ROOT, or a folder.")],
    decode: Annotated[
        bool, typer.Option("--decode", help="Also decode all audio to its end.")
    ] = False,
    plots: Annotated[
        str | None, typer.Option("--plots", metavar="DIR", help="Write pictures, as PNG.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say everything that is wrong with a corpus, or what is in it."""
    from serbench.harness.corpora import checking
    from serbench.harness.request import read_corpus

    ref = read_corpus(corpus)
    with console.counted("decoding") if decode else nullcontext() as tell:
        report = checking.check(ref, tell=tell, plots=plots)
    if as_json:
        console.print_json(dataclasses.asdict(report))
    elif report.findings:
        lines = [*report.findings, f"{several(len(report.findings), 'finding')} in {corpus}"]
        if report.summary is None and (decode or plots):
            lines.append("no audio was decoded and nothing drawn: these come first")
        # Of a large corpus there may be a million.
        sys.stdout.write("\n".join(lines) + "\n")
    else:
        console.corpus_page(report)
    if report.findings:
        sys.exit(WRONG)


@corpus_app.command("import")
def corpus_import(
    words: Annotated[
        list[str],
        typer.Argument(metavar="NAME [ROOT] OUT", help="A corpus, and the folder to be written."),
    ],
    link: Annotated[
        bool, typer.Option("--link", help="Symbolic links to the audio instead of copies.")
    ] = False,
) -> None:
    """Write any corpus as a folder in the AudioFolder format."""
    from serbench.harness import corpora
    from serbench.harness.corpora import importing
    from serbench.harness.request import read_corpus

    if len(words) not in (2, 3):
        raise RequestError("corpus import takes NAME, ROOT if the corpus has one, and OUT")
    *named, out = words
    ref = read_corpus("=".join(named))
    importing.require_apart(ref, Path(out))
    corpus = corpora.load(ref)
    try:
        with console.counted("importing") as tell:
            importing.write(corpus, Path(out), link=link, tell=tell)
    except KeyboardInterrupt:
        sys.stderr.write("serbench: interrupted; nothing was written\n")
        sys.exit(INTERRUPTED)
    utterances = several(len(corpus.utterances), "utterance")
    console.say(f"Wrote {utterances} of {corpus.name} to {out}")
    if corpus.folds:
        console.say(
            f"Its splits are kept; its own {len(corpus.folds)} folds are not, since the format has "
            "no place for them"
        )


@cache_app.command("info")
def cache_info(cache_dir: CacheDir = None, as_json: Json = False) -> None:
    """What is kept, and how much room it takes."""
    from serbench.harness import cache

    folder = Path(cache_dir) if cache_dir else cache.default_folder()
    found = cache.stored(folder)
    if as_json:
        console.print_json([dataclasses.asdict(entry) for entry in found])
        return
    console.table(
        ("backbone", "corpus", "depth", "precision", "dtype", "filled", "size"),
        [
            (
                *(e.facts[key] for key in ("backbone", "corpus", "depth", "precision", "dtype")),
                f"{e.filled:.0%}",
                size(e.bytes),
            )
            for e in found
        ],
        title=f"{folder}: {size(sum(e.bytes for e in found))}",
    )


@cache_app.command("clear")
def cache_clear(cache_dir: CacheDir = None) -> None:
    """Remove every cache in the folder."""
    from serbench.harness import cache

    folder = Path(cache_dir) if cache_dir else cache.default_folder()
    console.say(f"freed {size(cache.clear(folder))} in {folder}")
