"""serbench's command, called as a user would call it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

__all__ = ["asked", "called"]

SERBENCH = (sys.executable, "-m", "serbench.harness")


def called(*words: str) -> None:
    """`serbench WORDS`, its output shown.

    Raises:
        subprocess.CalledProcessError: it went wrong, and has said why.
    """
    subprocess.run([*SERBENCH, *words], check=True)


def asked(*words: str) -> list[Any]:
    """The JSON documents that `serbench WORDS --json` prints, one a line or one in all.

    Raises:
        subprocess.CalledProcessError: it went wrong, and has said why.
    """
    command = [*SERBENCH, *words, "--json"]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    try:
        return [json.loads(told)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in told.splitlines()]
