"""An interrupt before there is a command line, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupting())
sys.argv = ["serbench", "list"]
from serbench.harness.__main__ import main
main()
"""


@pytest.mark.parametrize(
    "module",
    ["serbench.harness.cli", "typer", "serbench.harness.metrics", "serbench.strategies.full"],
)
def test_an_interrupt_while_modules_are_imported_is_quiet(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(module=module)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_the_package_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "serbench.harness", "--version"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("serbench 0.")
