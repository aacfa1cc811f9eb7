"""Keys that follow others, revocation, tokens that enrol again, and what factories made."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Nothing that was there changes."""
    op.add_column("devices", sa.Column("next_key", sa.String))
    for name in ("rotate", "revoked"):
        no = sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false())
        op.add_column("devices", no)
    op.add_column("tokens", sa.Column("renews", sa.String))
    op.create_table(
        "factories",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("certificate", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("channel", sa.String, nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("listed_only", sa.Boolean, nullable=False),
        sa.Column("revoked", sa.Boolean, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
    )
    op.create_table(
        "serials",
        sa.Column("factory", sa.String, sa.ForeignKey("factories.name"), primary_key=True),
        sa.Column("serial", sa.String, primary_key=True),
        sa.Column("name", sa.String),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("device_id", sa.String, sa.ForeignKey("devices.id")),
        sa.Column("released", sa.Boolean, nullable=False),
    )
