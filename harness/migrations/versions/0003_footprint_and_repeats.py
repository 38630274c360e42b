"""What a step takes whatever the device, what a GPU tells, and repeats for the noise floor."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_BYTES = (
    "peak_reserved_bytes",
    "peak_process_vram_bytes",
    "weight_bytes",
    "gradient_bytes",
    "optimizer_bytes",
    "saved_activation_bytes",
    "gpu_other_bytes",
)
_FLOATS = (
    "data_wait_s",
    "energy_j",
    "start_s",
    "flops_per_step",
    "step_audio_s",
    "matmul_flops_per_s",
    "utilisation",
)


def upgrade() -> None:
    """Add the columns; no run until now was a repeat, and the rest was not measured.

    The default of `repeat` stays: to alter a column SQLite needs the table made anew, and dropping
    the old one would delete every row that refers to a run.
    """
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("repeat", sa.Integer(), nullable=False, server_default="0"))
        for name in ("position", "step_utterances", "gpu_others"):
            runs.add_column(sa.Column(name, sa.Integer()))
        for name in _BYTES:
            runs.add_column(sa.Column(name, sa.BigInteger()))
        for name in _FLOATS:
            runs.add_column(sa.Column(name, sa.Double()))
        runs.add_column(sa.Column("process_vram_source", sa.String()))
    with op.batch_alter_table("phases") as phases:
        phases.add_column(sa.Column("flops", sa.Double()))
        phases.add_column(sa.Column("energy_j", sa.Double()))
        phases.add_column(sa.Column("peak_process_vram_bytes", sa.BigInteger()))
        phases.add_column(sa.Column("gpu_temperature_c", sa.Integer()))
        phases.add_column(sa.Column("gpu_clock_hz", sa.BigInteger()))
        phases.add_column(sa.Column("gpu_throttled", sa.String()))
