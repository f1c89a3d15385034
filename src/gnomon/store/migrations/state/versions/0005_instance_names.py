"""CloudWatch asks for variants by their endpoint's name, also when that is deleted."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "instances_by_name",
        "instances",
        ["endpoint_name", "variant_name", "endpoint_id", "variant_id"],
    )
