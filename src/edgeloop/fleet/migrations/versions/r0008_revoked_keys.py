"""Keys that were revoked, which no device has again."""

import sqlalchemy as sa
from alembic import op

from edgeloop.protocol.keys import fingerprint, read_public

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """The keys of devices that are revoked now are kept; those of before were forgotten."""
    table = op.create_table(
        "revoked_keys",
        sa.Column("fingerprint", sa.String, primary_key=True),
        sa.Column("device_id", sa.String, sa.ForeignKey("devices.id"), nullable=False),
    )
    devices = sa.text("SELECT id, public_key FROM devices WHERE revoked")
    rows = [
        {"fingerprint": fingerprint(read_public(pem)), "device_id": device}
        for device, pem in op.get_bind().execute(devices)
    ]
    op.bulk_insert(table, rows)
