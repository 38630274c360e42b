"""Which fold a run took its splits from, and which further corpora it was tested on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns; every run until now had its corpus's one split and was tested on that."""
    op.add_column("runs", sa.Column("fold", sa.String()))
    op.add_column("runs", sa.Column("elsewhere", sa.JSON()))
