"""The page: `streamlit run leaderboard/app.py -- --db runs.db`, or `serbench leaderboard`."""

from __future__ import annotations

import functools

import streamlit as st

from serbench.harness.errors import DatabaseError
from serbench.leaderboard.views import (
    annotators,
    choose,
    compare,
    failures,
    ranking,
    run,
    tradeoffs,
)
from serbench.leaderboard.views.choices import chosen, show_warnings

# Comments, since Streamlit would draw strings. By address.
PAGES = {
    "ranking": ("Ranking", ":material/leaderboard:", ranking.page),
    "tradeoffs": ("Trade-offs", ":material/scatter_plot:", tradeoffs.page),
    "choose": ("Choose", ":material/task_alt:", choose.page),
    "compare": ("Compare", ":material/balance:", compare.page),
    "run": ("Run", ":material/query_stats:", run.page),
    "annotators": ("Annotators", ":material/groups:", annotators.page),
    "failures": ("Failures", ":material/error:", failures.page),
}
# Streamlit has the first page at the root; at an address of its name it is a page that no menu has.
FIRST = "ranking"


def main() -> None:
    """Draw what all pages have, and the page that the address names."""
    st.set_page_config(page_title="serbench", page_icon=":material/graphic_eq:", layout="wide")
    try:
        given = chosen()
        pages = [
            st.Page(
                functools.partial(draw, given),
                title=title,
                icon=icon,
                url_path=path,
                default=not path,
                visibility="hidden" if path == FIRST else "visible",
            )
            for path, (title, icon, draw) in {"": PAGES[FIRST], **PAGES}.items()
        ]
        page = st.navigation(pages)
        st.title(page.title)
        show_warnings(given)
        page.run()
    except DatabaseError as error:
        st.error("The database cannot be read.")
        st.code(str(error), language=None)


main()
