"""The first tables, and the triggers that keep the audit log append-only."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_NEVER = "the audit log is append-only"


def upgrade() -> None:
    """Make everything; there is nothing before it."""
    _devices()
    _operators()
    _rollouts()
    _signals()
    _samples()
    _audit()


def _devices() -> None:
    op.create_table(
        "devices",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False, unique=True),
        sa.Column("public_key", sa.String, nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("target", sa.String, nullable=False),
        sa.Column("runtimes", sa.JSON, nullable=False),
        sa.Column("agent_version", sa.String, nullable=False),
        sa.Column("enrolled", sa.Double, nullable=False),
        sa.Column("state", sa.String),
        sa.Column("moves", sa.Integer, nullable=False),
        sa.Column("report", sa.JSON),
        sa.Column("last_seen", sa.Double, nullable=False),
        sa.Column("reported", sa.Double, nullable=False),
        sa.Column("changed", sa.Double, nullable=False),
        sa.Column("hold", sa.Boolean, nullable=False),
        sa.Column("pinned", sa.JSON),
        sa.Column("decommissioned", sa.Boolean, nullable=False),
    )
    op.create_table(
        "nonces",
        sa.Column("key_id", sa.String, primary_key=True),
        sa.Column("nonce", sa.String, primary_key=True),
        sa.Column("created", sa.Integer, nullable=False, index=True),
    )


def _operators() -> None:
    op.create_table(
        "tokens",
        sa.Column("sha256", sa.String, primary_key=True),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
        sa.Column("used_by", sa.String, sa.ForeignKey("devices.id")),
    )
    op.create_table(
        "operators",
        sa.Column("sha256", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
    )


def _rollouts() -> None:
    op.create_table(
        "rollouts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("channel", sa.String, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("plan", sa.JSON, nullable=False),
        sa.Column("targets", sa.JSON, nullable=False),
        sa.Column("state", sa.String, nullable=False, index=True),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("opened", sa.JSON, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("started", sa.Double),
        sa.Column("ended", sa.Double),
    )
    op.create_table(
        "jobs",
        sa.Column("rollout_id", sa.Integer, sa.ForeignKey("rollouts.id"), primary_key=True),
        sa.Column("device_id", sa.String, sa.ForeignKey("devices.id"), primary_key=True),
        sa.Column("group_index", sa.Integer, nullable=False),
        sa.Column("stage_index", sa.Integer, nullable=False),
        sa.Column("state", sa.String, nullable=False, index=True),
        sa.Column("offered", sa.Double),
        sa.Column("ended", sa.Double),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("evidence", sa.JSON, nullable=False),
        sa.Index("jobs_of_device", "device_id", "rollout_id"),
    )


def _signals() -> None:
    op.create_table(
        "windows",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("device_id", sa.String, sa.ForeignKey("devices.id"), nullable=False),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("bundle", sa.String, nullable=False, index=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("began", sa.Double, nullable=False),
        sa.Column("ended", sa.Double, nullable=False),
        sa.Column("received", sa.Double, nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.UniqueConstraint("device_id", "id", name="window_once"),
    )


def _samples() -> None:
    op.create_table(
        "sample_requests",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("selector", sa.String, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("per_device", sa.Integer, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("closed", sa.Double),
    )
    op.create_table(
        "samples",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("request_id", sa.Integer, sa.ForeignKey("sample_requests.id"), nullable=False),
        sa.Column("device_id", sa.String, sa.ForeignKey("devices.id"), nullable=False),
        sa.Column("answer", sa.String, nullable=False),
        sa.Column("received", sa.Double, nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.UniqueConstraint("request_id", "device_id", "answer", name="sample_once"),
    )


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("time", sa.Double, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False, index=True),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("detail", sa.JSON, nullable=False),
    )
    for statement in _guards(op.get_bind().dialect.name):
        op.execute(statement)


def _guards(dialect: str) -> list[str]:
    if dialect == "sqlite":
        refuse = f"BEGIN SELECT RAISE(ABORT, '{_NEVER}'); END"
        return [
            f"CREATE TRIGGER audit_no_{verb} BEFORE {verb} ON audit {refuse}"
            for verb in ("UPDATE", "DELETE")
        ]
    body = f"$$ BEGIN RAISE EXCEPTION '{_NEVER}'; END $$"
    guarded = "BEFORE UPDATE OR DELETE OR TRUNCATE ON audit FOR EACH STATEMENT"
    return [
        f"CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS {body}",
        f"CREATE TRIGGER audit_append_only {guarded} EXECUTE FUNCTION audit_refuse()",
    ]
