"""A `Spec` to its result in a process of its own: ok, oom, failed or interrupted, all are rows."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import pickle
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from serbench.harness.cache import default_folder
from serbench.harness.plan import Spec
from serbench.harness.results import Failure, Message, Result, Started

__all__ = ["PRELOADED", "Runner"]

PRELOADED = (
    "serbench.harness.worker",
    "serbench.harness.corpora.base",
    "transformers.models.wav2vec2.modeling_wav2vec2",
    "transformers.models.hubert.modeling_hubert",
    "transformers.models.wavlm.modeling_wavlm",
    "peft",
)
"""What the fork server imports once, so that each run starts with it at hand."""
PATIENCE_S = 5.0
"""How long a process may take to end after it was asked to."""
LOG_LINES = 20


class Runner:
    """Runs one spec after another, each in a process forked from a server that has the libraries.

    The server never touches CUDA, so every run makes its own context and its peaks are its own.
    """

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(PRELOADED))
        self._matmul: dict[tuple[str, str], float | None] = {}
        # The server inherits the mask: while it imports, an interrupt is the parent's business.
        # Starting the resource tracker lifts the mask, so that one comes first.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])

    def run(self, spec: Spec, on_message: Callable[[Message], None]) -> Result:
        """Carry a run out and gather what it says.

        A KeyboardInterrupt ends the run's process; the result so far is then the exception's
        argument, with the status `interrupted`.
        """
        result = Result()
        try:
            with _cache_folder(spec) as housed, tempfile.NamedTemporaryFile(suffix=".log") as log:
                self._supervise(housed, log.name, result, on_message)
        except OSError as error:
            # No room for the log or for the run's own cache: this run's misfortune alone.
            result.add(Failure("failed", f"{error.filename}: {error.strerror}"))
        if result.status == "oom":
            result.message = f"{result.message} (batch size {spec.training.batch_size})"
        return result

    def _supervise(
        self, spec: Spec, log: str, result: Result, on_message: Callable[[Message], None]
    ) -> None:
        oom_kills = _oom_kills()
        incoming, outgoing = self._context.Pipe(duplex=False)
        kind = (spec.device, spec.variant.precision)
        process = self._context.Process(
            target=_child,
            args=(spec.plugins, pickle.dumps(spec), outgoing, log, self._matmul.get(kind)),
        )
        asked = time.perf_counter()
        process.start()
        outgoing.close()
        try:
            self._listen(process, incoming, result, asked, on_message)
            process.join()
        except KeyboardInterrupt:
            _end(process)
            if result.status == "interrupted":
                result.message = "interrupted"
            raise KeyboardInterrupt(result) from None
        finally:
            incoming.close()
        if result.footprint is not None:
            self._matmul[kind] = result.footprint.matmul_flops_per_s
        if result.status == "interrupted":
            result.add(_death(process.exitcode, log, _oom_kills() > oom_kills))

    def _listen(
        self,
        process: BaseProcess,
        incoming: Connection,
        result: Result,
        asked: float,
        on_message: Callable[[Message], None],
    ) -> None:
        while True:
            wait([incoming, process.sentinel])
            try:
                # A process that has ended may have left messages behind.
                if not incoming.poll():
                    return
                message: Message = incoming.recv()
            except (EOFError, ConnectionResetError):
                return
            if isinstance(message, Started):
                result.start_s = time.perf_counter() - asked
            result.add(message)
            on_message(message)


def _child(*arguments: Any) -> None:
    # Imported here, for the parent does without the libraries.
    from serbench.harness import worker

    worker.main(*arguments)


def _end(process: BaseProcess) -> None:
    process.terminate()
    process.join(PATIENCE_S)
    if process.is_alive():
        process.kill()
        process.join()


def _death(exitcode: int | None, log: str, killed_for_memory: bool) -> Failure:
    """Why a process ended without a last word."""
    said = Path(log).read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
    detail = "\n".join(said) or None
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        if exitcode == -signal.SIGKILL and killed_for_memory:
            return Failure("oom", "the system ended the run's process for want of memory", detail)
        return Failure("failed", f"the run's process was ended by {name}", detail)
    return Failure("failed", f"the run's process ended with exit code {exitcode}", detail)


def _oom_kills() -> int:
    """How many processes the kernel has ended for want of memory; 0 where it does not tell."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


@contextlib.contextmanager
def _cache_folder(spec: Spec) -> Iterator[Spec]:
    """With `fresh_cache`, a folder of the run's own that goes with it, so that it pays in full."""
    if not (spec.fresh_cache and spec.variant.cached):
        yield spec
        return
    root = Path(spec.cache_dir) if spec.cache_dir else default_folder()
    root.mkdir(parents=True, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="run-", dir=root)
    try:
        yield dataclasses.replace(spec, cache_dir=folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
