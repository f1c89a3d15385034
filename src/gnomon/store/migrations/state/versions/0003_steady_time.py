"""Time that only goes forward, whatever is done to the machine's clock."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "boots",
        sa.Column("boot_id", sa.String(64), primary_key=True),
        sa.Column("steady_offset_s", sa.Float, nullable=False),
    )
    op.add_column("events", sa.Column("steady_s", sa.Float, nullable=False, server_default="0"))
    op.create_index("ix_events_steady_s", "events", ["steady_s"])
    op.execute("UPDATE events SET steady_s = at_s")
