"""The runs of one command: what is done already, what is left, and how they end."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from serbench.harness import console
from serbench.harness.environment import environment, machine
from serbench.harness.metrics import several
from serbench.harness.plan import Spec, fingerprint
from serbench.harness.records import finished, open_database, record
from serbench.harness.request import Planned
from serbench.harness.results import Provenance, Result
from serbench.harness.runner import Runner

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["Interrupted", "Session"]

ENDING = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):  # noqa: N818 - what happened, and no error
    """Somebody ended the command; what was finished is stored. Says how to go on."""


class Session:
    """Carries out what was planned, one run after another, into a database.

    Args:
        planned: the runs, in their order.
        db: path or URL.
        rerun: also what is finished.
        as_json: events as JSON instead of lines for people.
    """

    def __init__(self, planned: Planned, db: str, *, rerun: bool, as_json: bool) -> None:
        self.planned, self.db = planned, db
        self._rerun, self._json = rerun, as_json
        self.machine, self._environment = machine(), environment()
        self._provenance = Provenance(
            machine=self.machine,
            environment=self._environment,
            command=shlex.join(["serbench", *sys.argv[1:]]),
        )
        key = str(self.machine["key"])
        self._prints = {fingerprint(spec, key, self._environment): spec for spec in planned.specs}

    def tell(self) -> None:
        """Print what would run, and run nothing."""
        from serbench.leaderboard.queries import open_for_reading

        there = Path(self.db).exists() or "://" in self.db
        done = self._done(open_for_reading(self.db)) if there else set()
        rows = [
            {
                "label": spec.label,
                "head": spec.head.label,
                "name": spec.name,
                "seed": spec.seed,
                "fold": spec.fold,
                "repeat": spec.repeat,
                "done": mark in done,
                "fingerprint": mark,
            }
            for mark, spec in self._prints.items()
        ]
        if self._json:
            console.print_json(rows)
            return
        console.table(
            ("run", "seed", "fold", "repeat", ""),
            [
                (
                    str(row["name"]),
                    str(row["seed"]),
                    str(row["fold"] or ""),
                    str(row["repeat"] or ""),
                    "done" if row["done"] else "to run",
                )
                for row in rows
            ],
        )

    def carry_out(self) -> int:
        """Run what is left, and give back how many runs did not end well.

        Raises:
            Interrupted: somebody ended the command.
            DatabaseError: rows could not be written.
        """
        engine = open_database(self.db)
        done = self._done(engine)
        if done and not self._json:
            runs = several(len(self._prints), "run")
            there = "is" if len(done) == 1 else "are"
            console.say(
                f"{len(done)} of {runs} {there} in {self.db} already; --rerun measures them anew"
            )
        left = {mark: spec for mark, spec in self._prints.items() if mark not in done}
        return self._run(engine, left) if left else 0

    def asked_for(self, row: Mapping[str, Any]) -> bool:
        """Whether a row of the ranking is one of those that were planned."""
        return _shown(row) in {_asked(spec) for spec in self.planned.specs}

    def _done(self, engine: sa.Engine) -> set[str]:
        return set() if self._rerun else finished(engine, self._prints)

    def _run(self, engine: sa.Engine, left: Mapping[str, Spec]) -> int:
        for each in ENDING:
            signal.signal(each, _interrupt_once)
        runner, failed = Runner(), 0
        with console.RunReport(len(left), self._json) as report:
            try:
                for position, (mark, spec) in enumerate(left.items()):
                    failed += not self._one(engine, runner, report, position, mark, spec)
            except KeyboardInterrupt:
                report.__exit__()
                raise Interrupted(
                    f"interrupted; what was finished is in {self.db}. This goes on with the "
                    f"rest:\n  {self._provenance.command}"
                ) from None
        return failed

    def _one(
        self,
        engine: sa.Engine,
        runner: Runner,
        report: console.RunReport,
        position: int,
        mark: str,
        spec: Spec,
    ) -> bool:
        """Carry out one run and store it; whether it ended well."""
        report.started(spec)
        started_at = datetime.now(timezone.utc)

        def write(result: Result) -> int:
            return record(
                engine,
                spec,
                result,
                self._provenance,
                fingerprint=mark,
                started_at=started_at,
                synthetic=self.planned.corpus.synthetic,
                derived=self.planned.corpus.derived,
                position=position,
            )

        try:
            result = runner.run(spec, lambda message: report.heard(spec, message))
        except KeyboardInterrupt as interrupt:
            if interrupt.args:
                write(interrupt.args[0])
            raise
        with _undisturbed():
            report.ended(spec, result, write(result))
        return result.status == "ok"


def _asked(spec: Spec) -> str:
    variant = spec.variant
    return _shown(
        {
            "strategy": variant.name,
            "config": variant.config,
            "head": spec.head.label,
            "head_config": spec.head.config,
            "precision": variant.precision,
            "cached": variant.cached,
            "training": dataclasses.asdict(spec.training),
            "folds": int(spec.fold.partition("/")[2]) if spec.fold else None,
        }
    )


def _shown(row: Mapping[str, Any]) -> str:
    """What tells a configuration from the others of one backbone and corpus."""
    keys = ("strategy", "config", "head_config", "precision", "cached", "training", "folds")
    head = row["head"].partition(":")[0]
    return json.dumps([head, *(row[key] for key in keys)], sort_keys=True)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Put an interrupt off until what was finished is written."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def _interrupt_once(*_: object) -> NoReturn:
    """Interrupt, and let nothing disturb the writing of what was interrupted."""
    for each in ENDING:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt
