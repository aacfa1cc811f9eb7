"""The control plane's tables. Times are Unix seconds by the server's clock."""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# the protocol's counts go to 2**53; SQLite's integers are as wide as they need to be
Wide = BigInteger().with_variant(Integer, "sqlite")


class Table(DeclarativeBase):
    """What all tables share."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {dict[str, Any]: JSON, list[Any]: JSON}


class DeviceRow(Table):
    """A device: its key, what it said last, and what operators decided about it."""

    __tablename__ = "devices"

    id: Mapped[str] = mapped_column(primary_key=True)  # the public key's fingerprint
    name: Mapped[str] = mapped_column(unique=True)
    public_key: Mapped[str]
    next_key: Mapped[str | None]  # speaks for it too, and alone from its first use on
    rotate: Mapped[bool]  # an operator wants it to have a new key
    revoked: Mapped[bool]  # not listened to until it is enrolled again
    model: Mapped[str | None]  # which it follows; None while an older agent has not said it
    channel: Mapped[str | None]  # None where ``model`` is
    labels: Mapped[dict[str, Any]]
    target: Mapped[str]
    runtimes: Mapped[list[Any]]
    agent_version: Mapped[str]
    enrolled: Mapped[float]
    state: Mapped[str | None]
    moves: Mapped[int] = mapped_column(Wide)
    report: Mapped[dict[str, Any] | None]
    last_seen: Mapped[float]
    reported: Mapped[float]  # when the last report came
    signed: Mapped[int] = mapped_column(
        Wide
    )  # when the last report was signed, by the device's clock
    changed: Mapped[float]  # when the last report that said something new came
    hold: Mapped[bool]
    pinned: Mapped[dict[str, Any] | None]  # a ReleaseRef
    decommissioned: Mapped[bool]


class RevokedKeyRow(Table):
    """A key that spoke for a device when it was revoked: no device has it ever again."""

    __tablename__ = "revoked_keys"

    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"))


class FollowedRow(Table):
    """What a device says of one thing that it follows beside its model."""

    __tablename__ = "followed"

    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    channel: Mapped[str]
    kind: Mapped[str]  # of payload
    report: Mapped[dict[str, Any]]
    reported: Mapped[float]  # when the last report came
    changed: Mapped[float]  # when the last report that said something new came


class TokenRow(Table):
    """A one-time enrolment token, by its sha256."""

    __tablename__ = "tokens"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    labels: Mapped[dict[str, Any]]
    created: Mapped[float]
    expires: Mapped[float]
    model: Mapped[str | None]  # what its device must follow; None: what the device says
    channel: Mapped[str | None]  # None where ``model`` is
    used_by: Mapped[str | None] = mapped_column(ForeignKey("devices.id"))
    renews: Mapped[str | None]  # the device that it enrols again; None: it makes a new one


class FactoryRow(Table):
    """A factory's authority: devices with a certificate under it may claim a place here."""

    __tablename__ = "factories"

    name: Mapped[str] = mapped_column(primary_key=True)
    certificate: Mapped[str]  # PEM
    model: Mapped[str]
    channel: Mapped[str]
    labels: Mapped[dict[str, Any]]
    listed_only: Mapped[bool]  # only serial numbers that an operator listed
    revoked: Mapped[bool]
    created: Mapped[float]


class SerialRow(Table):
    """One device of a factory, listed beforehand or come by itself; claimed once."""

    __tablename__ = "serials"

    factory: Mapped[str] = mapped_column(ForeignKey("factories.name"), primary_key=True)
    serial: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str | None]  # of the device; None: its serial number
    labels: Mapped[dict[str, Any]]
    device_id: Mapped[str | None] = mapped_column(ForeignKey("devices.id"))
    released: Mapped[bool]  # an operator lets it be claimed once more


class OperatorRow(Table):
    """An operator's bearer token, by its sha256."""

    __tablename__ = "operators"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    created: Mapped[float]


class RolloutRow(Table):
    """A release on its way to groups of devices."""

    __tablename__ = "rollouts"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    channel: Mapped[str]
    version: Mapped[int] = mapped_column(Wide)
    digest: Mapped[str]
    plan: Mapped[dict[str, Any]]
    targets: Mapped[list[Any]]
    needs: Mapped[list[Any]]
    alternatives: Mapped[list[Any]]  # what each variant needs, where they differ
    state: Mapped[str] = mapped_column(index=True)
    reason: Mapped[str]
    opened: Mapped[list[Any]]  # per group the newest open stage; -1 before the first
    created: Mapped[float]
    started: Mapped[float | None]
    ended: Mapped[float | None]
    undoes: Mapped[int | None]  # the rollout that it rolls back
    warnings: Mapped[list[Any]]  # what its plan does otherwise than it seems, found at the start


class JobRow(Table):
    """One device in one rollout."""

    __tablename__ = "jobs"
    __table_args__ = (Index("jobs_of_device", "device_id", "rollout_id"),)

    rollout_id: Mapped[int] = mapped_column(ForeignKey("rollouts.id"), primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    group_index: Mapped[int]
    stage_index: Mapped[int]
    state: Mapped[str] = mapped_column(index=True)
    offered: Mapped[float | None]
    ended: Mapped[float | None]
    reason: Mapped[str]
    evidence: Mapped[dict[str, Any]]


class WindowRow(Table):
    """The signals of one window, counted once by (device, id)."""

    __tablename__ = "windows"
    __table_args__ = (UniqueConstraint("device_id", "id", name="window_once"),)

    seq: Mapped[int] = mapped_column(primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"))
    id: Mapped[str]
    bundle: Mapped[str] = mapped_column(index=True)
    version: Mapped[int] = mapped_column(Wide)
    began: Mapped[float]  # by the device's clock, as is ``ended``
    ended: Mapped[float]
    received: Mapped[float]
    payload: Mapped[dict[str, Any]]


class SampleRequestRow(Table):
    """A request for samples: how many in all, and from each device at the most."""

    __tablename__ = "sample_requests"

    id: Mapped[int] = mapped_column(primary_key=True)
    selector: Mapped[str]
    count: Mapped[int]
    per_device: Mapped[int]
    model: Mapped[str | None]  # None: of any
    created: Mapped[float]
    closed: Mapped[float | None]


class SampleRow(Table):
    """One sample, counted once by (request, device, answer)."""

    __tablename__ = "samples"
    __table_args__ = (UniqueConstraint("request_id", "device_id", "answer", name="sample_once"),)

    seq: Mapped[int] = mapped_column(primary_key=True)
    request_id: Mapped[int] = mapped_column(ForeignKey("sample_requests.id"))
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"))
    answer: Mapped[str]
    received: Mapped[float]
    payload: Mapped[dict[str, Any]]


class AuditRow(Table):
    """Append-only: the database itself refuses to change or delete a row."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    time: Mapped[float]
    actor: Mapped[str]  # "device:<id>", "operator:<name>", "rules"
    action: Mapped[str] = mapped_column(index=True)
    subject: Mapped[str]  # "device:<id>", "rollout:<id>" ...
    detail: Mapped[dict[str, Any]]


class NonceRow(Table):
    """A signature that was seen; kept as long as it could still be replayed."""

    __tablename__ = "nonces"

    key_id: Mapped[str] = mapped_column(primary_key=True)
    nonce: Mapped[str] = mapped_column(primary_key=True)
    created: Mapped[int] = mapped_column(Wide, index=True)
