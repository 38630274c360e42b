"""What a head was told, what it says of each annotator, and of each utterance's distribution."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

LATER = {"optimizer": "adamw", "schedule": "linear", "least_ratings": 10}
"""Training settings that there were not, and what every run until now did."""


def upgrade() -> None:
    """Add columns and tables; every run until now had the one head there was."""
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("head_config", sa.JSON(), nullable=False, server_default="{}"))
        runs.add_column(sa.Column("head_source", sa.String()))
        runs.add_column(sa.Column("enrol", sa.Integer()))
    _complete_settings()
    op.create_table(
        "distributions",
        *_where(),
        sa.Column("utterance", sa.String(), nullable=False),
        sa.Column("raters", sa.Integer(), nullable=False),
        sa.Column("rated", sa.JSON(), nullable=False),
        sa.Column("predicted", sa.JSON(), nullable=False),
        sa.Column("told", sa.JSON(none_as_null=True)),
        sa.Column("true", sa.JSON(none_as_null=True)),
        sa.Column("tvd", sa.Double(), nullable=False),
        sa.Column("jsd", sa.Double(), nullable=False),
        sa.Column("tvd_told", sa.Double()),
        sa.Column("jsd_told", sa.Double()),
        sa.Column("tvd_true", sa.Double()),
        sa.Column("jsd_true", sa.Double()),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name="fk_distributions_run_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "corpus", "split", "utterance", name="pk_distributions"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "annotators",
        *_where(),
        sa.Column("dimension", sa.String(), nullable=False),
        sa.Column("annotator", sa.String(), nullable=False),
        sa.Column("ratings", sa.Integer(), nullable=False),
        sa.Column("ccc", sa.Double()),
        sa.Column("ccc_told", sa.Double()),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name="fk_annotators_run_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint(
            "run_id", "corpus", "split", "dimension", "annotator", name="pk_annotators"
        ),
        sqlite_with_rowid=False,
    )


def _where() -> tuple[sa.Column[int], sa.Column[str], sa.Column[str]]:
    return (
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("corpus", sa.String(), nullable=False),
        sa.Column("split", sa.String(), nullable=False),
    )


def _complete_settings() -> None:
    """Without the later ones, the runs of before would compare with none that come."""
    runs = sa.table("runs", sa.column("id", sa.Integer), sa.column("training", sa.JSON))
    connection = op.get_bind()
    for run_id, training in connection.execute(sa.select(runs.c.id, runs.c.training)).all():
        settings = json.loads(training) if isinstance(training, str) else training
        connection.execute(
            sa.update(runs).where(runs.c.id == run_id).values(training={**settings, **LATER})
        )
