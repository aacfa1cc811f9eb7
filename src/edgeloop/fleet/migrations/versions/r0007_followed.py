"""What devices follow beside their model."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Devices from before follow nothing else."""
    op.create_table(
        "followed",
        sa.Column("device_id", sa.String, sa.ForeignKey("devices.id"), primary_key=True),
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("channel", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("report", sa.JSON, nullable=False),
        sa.Column("reported", sa.Double, nullable=False),
        sa.Column("changed", sa.Double, nullable=False),
    )
