"""The first tables: machines, environments, runs, phases, scores, predictions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "environments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("serbench", sa.String()),
        sa.Column("python", sa.String()),
        sa.Column("torch", sa.String()),
        sa.Column("transformers", sa.String()),
        sa.Column("peft", sa.String()),
        sa.Column("cuda", sa.String()),
        sa.Column("commit", sa.String()),
        sa.Column("dirty", sa.Boolean()),
        sa.Column("threads", sa.Integer()),
        sa.Column("deterministic", sa.Boolean()),
        sa.PrimaryKeyConstraint("id", name="pk_environments"),
        sa.UniqueConstraint("key", name="uq_environments_key"),
    )
    op.create_table(
        "machines",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("cpu", sa.String()),
        sa.Column("cores", sa.Integer()),
        sa.Column("memory_bytes", sa.BigInteger()),
        sa.Column("gpu", sa.String()),
        sa.Column("gpu_count", sa.Integer()),
        sa.Column("gpu_memory_bytes", sa.BigInteger()),
        sa.Column("driver", sa.String()),
        sa.Column("os", sa.String()),
        sa.PrimaryKeyConstraint("id", name="pk_machines"),
        sa.UniqueConstraint("key", name="uq_machines_key"),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("message", sa.String()),
        sa.Column("traceback", sa.String()),
        sa.Column("notes", sa.JSON(), nullable=False),
        sa.Column("started_at", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("strategy", sa.String(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("source_hash", sa.String(), nullable=False),
        sa.Column("precision", sa.String(), nullable=False),
        sa.Column("cached", sa.Boolean(), nullable=False),
        sa.Column("head", sa.String(), nullable=False),
        sa.Column("backbone", sa.String(), nullable=False),
        sa.Column("init", sa.String(), nullable=False),
        sa.Column("backbone_hash", sa.String(), nullable=False),
        sa.Column("corpus", sa.String(), nullable=False),
        sa.Column("corpus_hash", sa.String(), nullable=False),
        sa.Column("synthetic", sa.Boolean(), nullable=False),
        sa.Column("derived", sa.Boolean(), nullable=False),
        sa.Column("cost_only", sa.Boolean(), nullable=False),
        sa.Column("suite", sa.String()),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("training", sa.JSON(), nullable=False),
        sa.Column("protocol", sa.Integer(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("command", sa.String(), nullable=False),
        sa.Column("machine_id", sa.Integer(), nullable=False),
        sa.Column("environment_id", sa.Integer(), nullable=False),
        sa.Column("trainable_params", sa.BigInteger()),
        sa.Column("head_params", sa.BigInteger()),
        sa.Column("total_params", sa.BigInteger()),
        sa.Column("frozen_depth", sa.Integer()),
        sa.Column("stages", sa.Integer()),
        sa.Column("cache_bytes", sa.BigInteger()),
        sa.Column("epoch_s", sa.Double()),
        sa.Column("cache_fill_s", sa.Double()),
        sa.Column("run_s", sa.Double()),
        sa.Column("audio_s_per_s", sa.Double()),
        sa.Column("peak_vram_bytes", sa.BigInteger()),
        sa.Column("peak_host_bytes", sa.BigInteger()),
        sa.Column("peak_host_anonymous_bytes", sa.BigInteger()),
        sa.Column("best_epoch", sa.Integer()),
        sa.Column("model_path", sa.String()),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name="fk_runs_environment_id"
        ),
        sa.ForeignKeyConstraint(["machine_id"], ["machines.id"], name="fk_runs_machine_id"),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
    )
    op.create_index("ix_runs_fingerprint", "runs", ["fingerprint"])
    op.create_table(
        "phases",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("phase", sa.String(), nullable=False),
        sa.Column("epoch", sa.Integer()),
        sa.Column("cold", sa.Boolean(), nullable=False),
        sa.Column("wall_s", sa.Double(), nullable=False),
        sa.Column("device_s", sa.Double()),
        sa.Column("data_wait_s", sa.Double()),
        sa.Column("audio_s", sa.Double()),
        sa.Column("padded_audio_s", sa.Double()),
        sa.Column("steps", sa.Integer()),
        sa.Column("loss", sa.Double()),
        sa.Column("peak_vram_bytes", sa.BigInteger()),
        sa.Column("peak_reserved_bytes", sa.BigInteger()),
        sa.Column("peak_host_bytes", sa.BigInteger()),
        sa.Column("peak_host_anonymous_bytes", sa.BigInteger()),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name="fk_phases_run_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_phases"),
    )
    op.create_index("ix_phases_run_id", "phases", ["run_id"])
    op.create_table(
        "predictions",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("corpus", sa.String(), nullable=False),
        sa.Column("split", sa.String(), nullable=False),
        sa.Column("dimension", sa.String(), nullable=False),
        sa.Column("utterance", sa.String(), nullable=False),
        sa.Column("speaker", sa.String(), nullable=False),
        sa.Column("predicted", sa.Double()),
        sa.Column("label", sa.Double()),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name="fk_predictions_run_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint(
            "run_id", "corpus", "split", "dimension", "utterance", name="pk_predictions"
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "scores",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("corpus", sa.String(), nullable=False),
        sa.Column("split", sa.String(), nullable=False),
        sa.Column("metric", sa.String(), nullable=False),
        sa.Column("dimension", sa.String(), nullable=False),
        sa.Column("epoch", sa.Integer()),
        sa.Column("value", sa.Double()),
        sa.Column("low", sa.Double()),
        sa.Column("high", sa.Double()),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name="fk_scores_run_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_scores"),
    )
    op.create_index("ix_scores_run_id", "scores", ["run_id"])


def downgrade() -> None:
    """Drop them, and what they hold."""
    op.drop_index("ix_scores_run_id", table_name="scores")
    op.drop_table("scores")
    op.drop_table("predictions")
    op.drop_index("ix_phases_run_id", table_name="phases")
    op.drop_table("phases")
    op.drop_index("ix_runs_fingerprint", table_name="runs")
    op.drop_table("runs")
    op.drop_table("machines")
    op.drop_table("environments")
