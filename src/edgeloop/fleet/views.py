"""What operators send and see: the control plane's messages beside those of devices."""

from typing import Annotated, Any

from pydantic import Field

from edgeloop.protocol.messages import (
    JobState,
    Labels,
    Message,
    Name,
    ReleaseRef,
    Report,
    RolloutPlan,
    RolloutState,
    Sample,
    Window,
)


class Received(Message):
    """What the server now has of what was sent: safe to forget on the device."""

    accepted: tuple[str, ...]


class DeviceView(Message):
    """A device as an operator sees it. Times are Unix seconds."""

    id: str
    name: str
    model: str | None = None  # which it follows; None while an older agent has not said it
    channel: str | None = None
    labels: dict[str, str]
    target: str
    runtimes: tuple[str, ...]
    agent_version: str
    enrolled: float
    last_seen: float
    state: str | None  # None before the first report
    report: Report | None
    hold: bool
    pinned: ReleaseRef | None
    decommissioned: bool
    revoked: bool = False  # not listened to until it is enrolled again
    rotating: bool = False  # its new key was asked for, or not used yet


class PinOrder(Message):
    """Keep a device on one release, whatever rollouts say."""

    name: Name
    channel: Name
    version: Annotated[int, Field(ge=1)]


class TokenOrder(Message):
    """A one-time enrolment token, please. ``labels`` win over what the device says of itself.

    With ``model`` the token is for a device of that model and ``channel`` alone; an agent that does
    not say them yet is taken at the token's word.
    """

    labels: Labels = Field(default_factory=dict)
    model: Name | None = None
    channel: Name = "stable"  # of ``model``
    renews: str | None = None  # name or id of the device that it enrols again; None: a new one
    valid_seconds: Annotated[float, Field(gt=0)] = 86_400


class TokenView(Message):
    """The token itself; it is shown once and kept as a hash."""

    token: str
    labels: dict[str, str]
    model: str | None = None
    channel: str | None = None
    renews: str | None = None
    expires: float


class FactoryOrder(Message):
    """Let devices with a certificate under this authority claim a place."""

    name: Name
    certificate: Annotated[str, Field(max_length=16 << 10)]  # PEM
    model: Name
    channel: Name = "stable"
    labels: Labels = Field(default_factory=dict)
    listed_only: bool = False  # only serial numbers that are listed


class FactoryView(Message):
    """A factory, with how many of its devices are listed, and how many claimed."""

    name: str
    subject: str  # of the authority's certificate
    ends: float  # Unix seconds
    model: str
    channel: str
    labels: dict[str, str]
    listed_only: bool
    revoked: bool
    created: float
    listed: int
    claimed: int


class SerialLine(Message):
    """One device that a factory made."""

    serial: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]
    name: Name | None = None  # of the device; None: its serial number
    labels: Labels = Field(default_factory=dict)


class SerialsOrder(Message):
    """Serial numbers that may claim; one that is listed already is told anew."""

    lines: Annotated[tuple[SerialLine, ...], Field(min_length=1, max_length=500)]


class RolloutOrder(Message):
    """Bring a listed release to devices, by its signed plan."""

    name: Name
    channel: Name
    version: Annotated[int, Field(ge=1)]
    start: bool = True  # False leaves a draft


class RollbackOrder(Message):
    """Bring the devices of a selector back to a listed release, in one stage, by hand."""

    version: Annotated[int, Field(ge=1)]
    select: str = "all"


class JobView(Message):
    """One device in one rollout."""

    device: str
    device_name: str
    group: int
    stage: int
    state: JobState
    offered: float | None
    ended: float | None
    reason: str
    waiting: str = ""  # what the device says that it waits for, while its job is in progress
    variant: str | None = None  # which graph of this release answers there; None: another release
    evidence: dict[str, Any]


class RolloutView(Message):
    """A rollout. ``jobs`` is empty where many are listed."""

    id: int
    name: str
    channel: str
    version: int
    digest: str
    plan: RolloutPlan
    targets: tuple[str, ...]
    needs: tuple[str, ...] = ()
    alternatives: tuple[tuple[str, ...], ...] = ()
    state: RolloutState
    reason: str
    opened: tuple[int, ...]  # per group the newest open stage; -1 before the first
    created: float
    started: float | None
    ended: float | None
    counts: dict[JobState, int]
    variants: dict[str, int] = Field(default_factory=dict)  # devices by ``variant`` of its job
    undoes: int | None = None  # the rollout that this one rolls back
    warnings: tuple[str, ...] = ()  # what the plan does otherwise than it seems, since the start
    jobs: tuple[JobView, ...] = ()


class WindowView(Message):
    """A stored window with who sent it. ``seq`` only grows: ask for what is after it."""

    seq: int
    device: str
    name: str
    labels: dict[str, str]
    received: float
    window: Window


class SampleOrder(Message):
    """Samples, please: ``count`` in all, from each device ``per_device`` at the most."""

    select: str
    model: Name | None = None  # of its devices alone; None: of any
    count: Annotated[int, Field(ge=1, le=100_000)]
    per_device: Annotated[int, Field(ge=1)] | None = None  # None: as many as ``count``


class SampleRequestView(Message):
    """A request for samples, with how many came. ``closed`` is None while it waits for more."""

    id: int
    select: str
    model: str | None = None  # None: of any
    count: int
    per_device: int
    created: float
    closed: float | None
    received: int


class SampleView(Message):
    """A stored sample with who sent it."""

    seq: int
    request: int
    device: str
    labels: dict[str, str]
    received: float
    sample: Sample


class AuditLine(Message):
    """One line of the append-only log."""

    id: int
    time: float
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


class Note(Message):
    """What the watch process records: an alarm, a trigger that fired."""

    action: Annotated[str, Field(pattern=r"^trigger\.[a-z][a-z_.]{0,60}$")]
    subject: Annotated[str, Field(max_length=200)]
    detail: dict[str, Any] = Field(default_factory=dict)


class Health(Message):
    """Whether the control plane answers and its rules are applied."""

    status: str
    protocol: int
    ticked: float | None  # seconds since the rules were last applied
    time: float | None = None  # Unix seconds by the server's clock
