"""Lists, due experiments and what an endpoint lacks are found by index; deployments are kept."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("endpoints", sa.Column("deployment", sa.Text, nullable=True))
    op.add_column("endpoints", sa.Column("wanted", sa.Integer, nullable=False, server_default="0"))
    op.add_column("experiments", sa.Column("due_at_s", sa.Float, nullable=True))
    for table in ("endpoints", "experiments"):
        for key, columns in {
            "creation": ["created_at_s", "id", "status", "name_key", "modified_at_s"],
            "status": ["status", "created_at_s", "id", "name_key", "modified_at_s"],
            "name": ["name_key", "id", "status", "created_at_s", "modified_at_s"],
        }.items():
            op.create_index(f"{table}_by_{key}", table, columns)
    for table in ("models", "endpoint_configs"):
        op.create_index(f"{table}_by_creation", table, ["created_at_s", "id", "name_key"])
    op.create_index("endpoint_configs_by_experiment", "endpoint_configs", ["experiment_id"])
    op.create_index("experiments_by_due", "experiments", ["due_at_s"])
    op.create_index("experiments_by_endpoint", "experiments", ["endpoint_id", "status"])
    op.create_index("instances_by_status", "instances", ["status", "endpoint_id"])
    _fill(op.get_bind())


def _fill(connection: sa.Connection) -> None:
    """The new columns of the rows that are there."""
    endpoints = connection.execute(sa.text("SELECT id, desired FROM endpoints")).all()
    for id_, desired in endpoints:
        spec = json.loads(desired)
        variants = [*spec["production"], *([spec["shadow"]] if spec.get("shadow") else [])]
        connection.execute(
            sa.text("UPDATE endpoints SET wanted = :wanted WHERE id = :id"),
            {"wanted": sum(variant["count"] for variant in variants), "id": id_},
        )
    experiments = connection.execute(
        sa.text(
            "SELECT id, status, plan FROM experiments "
            "WHERE status NOT IN ('Completed', 'Cancelled')"
        )
    ).all()
    for id_, status, plan in experiments:
        times = json.loads(plan)
        due_at_s = {"Created": times["starts_at_s"], "Running": times["ends_at_s"]}.get(status, 0.0)
        connection.execute(
            sa.text("UPDATE experiments SET due_at_s = :due_at_s WHERE id = :id"),
            {"due_at_s": due_at_s, "id": id_},
        )
