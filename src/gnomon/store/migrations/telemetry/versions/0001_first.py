"""The first telemetry schema: metrics, pairs, barriers, positions in the spool."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_METRIC_KEY = ("endpoint_id", "minute", "variant_id", "instance_id", "experiment_id", "name")


def upgrade() -> None:
    _metric_table("metric_counts", sa.Column("value", sa.Float, nullable=False))
    _metric_table("metric_histograms", sa.Column("counts", sa.LargeBinary, nullable=False))
    op.create_table(
        "pairs",
        sa.Column("experiment_id", sa.String, nullable=False),
        sa.Column("event_id", sa.String, nullable=False),
        sa.Column("endpoint_id", sa.String, nullable=False),
        sa.Column("at_s", sa.Float, nullable=False),
        sa.Column("production_variant_id", sa.String, nullable=False),
        sa.Column("shadow_variant_id", sa.String, nullable=False),
        sa.Column("production_instance_id", sa.String, nullable=False),
        sa.Column("shadow_instance_id", sa.String, nullable=False),
        sa.Column("production_status", sa.Integer, nullable=False),
        sa.Column("shadow_status", sa.Integer, nullable=False),
        sa.Column("production_failure", sa.String, nullable=False),
        sa.Column("shadow_failure", sa.String, nullable=False),
        sa.Column("production_latency_us", sa.BigInteger, nullable=False),
        sa.Column("shadow_latency_us", sa.BigInteger, nullable=False),
        sa.Column("production_body_bytes", sa.BigInteger, nullable=False),
        sa.Column("shadow_body_bytes", sa.BigInteger, nullable=False),
        sa.Column("same", sa.Boolean, nullable=True),
        sa.Column("difference", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("experiment_id", "event_id"),
    )
    op.create_table(
        "barriers",
        sa.Column("barrier_id", sa.String, nullable=False),
        sa.Column("incarnation_id", sa.String, nullable=False),
        sa.Column("at_s", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("barrier_id", "incarnation_id"),
    )
    op.create_table(
        "spool_positions",
        sa.Column("incarnation_id", sa.String, nullable=False),
        sa.Column("segment", sa.Integer, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("objects_done", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("incarnation_id", "segment"),
    )
    op.create_table(
        "finished_incarnations",
        sa.Column("incarnation_id", sa.String, primary_key=True),
        sa.Column("at_s", sa.Float, nullable=False),
    )


def _metric_table(name: str, value: sa.Column[object]) -> None:
    op.create_table(
        name,
        sa.Column("endpoint_id", sa.String, nullable=False),
        sa.Column("minute", sa.Integer, nullable=False),
        sa.Column("variant_id", sa.String, nullable=False),
        sa.Column("instance_id", sa.String, nullable=False),
        sa.Column("experiment_id", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        value,
        sa.PrimaryKeyConstraint(*_METRIC_KEY),
    )
    op.create_index(f"{name}_by_experiment", name, ["experiment_id", "minute"])
