"""Which rollout a rollback undoes, and when a device's last report was signed."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Rollouts made before are no rollbacks; reports that came before count as signed long ago."""
    op.add_column("rollouts", sa.Column("undoes", sa.Integer))
    op.add_column(
        "devices", sa.Column("signed", sa.Integer, nullable=False, server_default=sa.text("0"))
    )
