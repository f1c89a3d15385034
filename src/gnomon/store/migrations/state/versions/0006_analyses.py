"""How an experiment is judged, where it has settings of its own."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "analyses",
        sa.Column("experiment_id", sa.String(26), primary_key=True),
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("since_s", sa.Float),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("guardrails", sa.Text, nullable=False),
    )
