"""Which model a device follows, and a token and samples are for; what a release needs."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_DEVICES = sa.table(
    "devices",
    sa.column("id", sa.String),
    sa.column("report", sa.JSON),
    sa.column("model", sa.String),
    sa.column("channel", sa.String),
)


def upgrade() -> None:
    """Devices follow what they report running; of one that runs nothing, nothing is known."""
    for table in ("devices", "tokens"):
        op.add_column(table, sa.Column("model", sa.String))
        op.add_column(table, sa.Column("channel", sa.String))
    op.add_column("sample_requests", sa.Column("model", sa.String))
    nothing = sa.Column("needs", sa.JSON, nullable=False, server_default="[]")
    op.add_column("rollouts", nothing)
    connection = op.get_bind()
    for device, report in connection.execute(sa.select(_DEVICES.c.id, _DEVICES.c.report)).all():
        if running := (report or {}).get("running"):
            known = {"model": running["name"], "channel": running["channel"]}
            connection.execute(_DEVICES.update().where(_DEVICES.c.id == device).values(known))
