"""When an incarnation was cut off, so that reports can show what is missing."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("finished_incarnations", sa.Column("cut_off_at_s", sa.Float, nullable=True))
