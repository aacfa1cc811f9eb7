"""What a rollout's start warned of, and integers of 64 bits where a server has narrower ones."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

WIDE = (  # the protocol's counts go to 2**53, and Unix seconds beyond 2**31
    ("devices", "moves"),
    ("devices", "signed"),
    ("nonces", "created"),
    ("rollouts", "version"),
    ("windows", "version"),
)


def upgrade() -> None:
    """Rollouts made before warned of nothing."""
    op.add_column(
        "rollouts", sa.Column("warnings", sa.JSON, nullable=False, server_default=sa.text("'[]'"))
    )
    if op.get_bind().dialect.name == "sqlite":
        return  # its integers are wide already
    for table, column in WIDE:
        op.alter_column(table, column, type_=sa.BigInteger, existing_nullable=False)
