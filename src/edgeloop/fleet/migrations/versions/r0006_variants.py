"""What each variant of a release needs, where they differ."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Releases from before have one graph."""
    nothing = sa.Column("alternatives", sa.JSON, nullable=False, server_default="[]")
    op.add_column("rollouts", nothing)
