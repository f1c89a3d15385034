"""Metrics in the order in which CloudWatch asks for them, and by age."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_COLUMNS = ("endpoint_id", "minute", "variant_id", "instance_id", "experiment_id", "name")
_KEY = ("endpoint_id", "name", "variant_id", "minute", "instance_id", "experiment_id")


def upgrade() -> None:
    _rebuild("metric_counts", "value", sa.Float)
    _rebuild("metric_histograms", "counts", sa.LargeBinary)


def _rebuild(name: str, value: str, value_type: type[sa.types.TypeEngine[Any]]) -> None:
    """SQLite cannot change a primary key in place."""
    op.drop_index(f"{name}_by_experiment", name)
    op.rename_table(name, f"{name}_before")
    columns: dict[str, type[sa.types.TypeEngine[Any]]] = dict.fromkeys(_COLUMNS, sa.String)
    columns |= {"minute": sa.Integer, value: value_type}
    made = op.create_table(
        name,
        *(sa.Column(column, kind, nullable=False) for column, kind in columns.items()),
        sa.PrimaryKeyConstraint(*_KEY),
    )
    before = sa.table(f"{name}_before", *(sa.column(column) for column in columns))
    op.execute(made.insert().from_select(list(columns), sa.select(before)))
    op.drop_table(f"{name}_before")
    op.create_index(f"{name}_by_experiment", name, ["experiment_id", "minute"])
    op.create_index(f"{name}_by_minute", name, ["minute"])
