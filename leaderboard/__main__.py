"""How the leaderboard is served: `python -m serbench.leaderboard -- --db runs.db`."""

from __future__ import annotations

import gc
import importlib
import pkgutil
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from streamlit.web import cli

from serbench.leaderboard import views

__all__ = ["main"]


def main(arguments: Sequence[str]) -> None:
    """Serve the pages until it is ended.

    What they import is read while the browser is still busy with Streamlit's own part.
    """
    threading.Thread(target=_import_pages, daemon=True).start()
    cli.main(["run", str(Path(__file__).with_name("app.py")), *arguments], prog_name="streamlit")


def _import_pages() -> None:
    for module in pkgutil.iter_modules(views.__path__, f"{views.__name__}."):
        importlib.import_module(module.name)
    # Nearly all that is there now stays: no need to look through it whenever a page is drawn.
    gc.freeze()


if __name__ == "__main__":
    main(sys.argv[1:])
