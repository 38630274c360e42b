"""The precision that a run's cache was asked to keep its states in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column; until now nothing but the default was ever stored."""
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("cache_dtype", sa.String()))
    runs_table = sa.table("runs", sa.column("cached"), sa.column("cache_dtype"))
    op.execute(runs_table.update().where(runs_table.c.cached).values(cache_dtype="auto"))
