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
    valid_seconds: Annotated[float, Field(gt=0)] = 86_400


class TokenView(Message):
    """The token itself; it is shown once and kept as a hash."""

    token: str
    labels: dict[str, str]
    model: str | None = None
    channel: str | None = None
    expires: float


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
    state: RolloutState
    reason: str
    opened: tuple[int, ...]  # per group the newest open stage; -1 before the first
    created: float
    started: float | None
    ended: float | None
    counts: dict[JobState, int]
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
