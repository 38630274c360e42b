"""The command's first step: whoever interrupts it while modules are imported sees no traceback."""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Import the command line and run it."""
    try:
        from serbench.harness import cli

        cli.main()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)  # as shells say it, and as the command line itself does


if __name__ == "__main__":
    main()
