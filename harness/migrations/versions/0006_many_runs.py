"""Indexes by which one setting's runs, and their test scores, are found among very many."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"

_SETTING = (
    "machine_id",
    "corpus",
    "corpus_hash",
    "backbone",
    "backbone_hash",
    "init",
    "device",
    "cost_only",
    "protocol",
    "environment_id",
    "fold",
    "training",
    "repeat",
    "status",
)


def upgrade() -> None:
    """Add an index of settings, and make that of scores tell the split."""
    if op.get_bind().dialect.name == "sqlite":
        op.create_index("ix_runs_setting", "runs", _SETTING)
    op.drop_index("ix_scores_run_id", "scores")
    op.create_index("ix_scores_run_id", "scores", ("run_id", "split"))
