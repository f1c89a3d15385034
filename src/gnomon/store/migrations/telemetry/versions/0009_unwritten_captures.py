"""Which captures have objects that their destination does not take: others need not wait."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "unwritten_captures",
        sa.Column("incarnation_id", sa.String, nullable=False),
        sa.Column("capture_id", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("incarnation_id", "capture_id"),
    )
