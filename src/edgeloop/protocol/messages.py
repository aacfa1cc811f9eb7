"""The messages between agents, control plane and operators, as frozen pydantic models.

Version 1. An unknown field is ignored and a new field has a default, so that an agent and a server
one release apart understand each other; a change of meaning is a new version.
"""

import math
import unicodedata
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from edgeloop.errors import ProtocolError
from edgeloop.protocol import hours, selectors, stages

VERSION = 1
OLDEST = 1  # the oldest version that is still answered
VERSION_HEADER = "Edgeloop-Protocol"
TIME_HEADER = "Edgeloop-Time"  # the server's Unix time, for devices whose clock is wrong

MOST_SKETCHES = 200  # features of a window
LARGEST_SKETCH = 16 << 10  # characters of base64
MOST_LABELS = 64
MOST_FOLLOWED = 16  # things that a device follows beside its model
LONGEST_REASON = 4096  # characters that are kept; a longer one is cut, never refused

DigestText = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
LabelValue = Annotated[str, Field(pattern=r"^[^,=]{1,128}$")]  # what a selector can ask for
Labels = Annotated[dict[Name, LabelValue], Field(max_length=MOST_LABELS)]
Runtimes = Annotated[tuple[Name, ...], Field(max_length=32)]
Feature = Annotated[str, Field(min_length=1, max_length=256)]
Sketch = Annotated[str, Field(max_length=LARGEST_SKETCH, pattern=r"^[A-Za-z0-9+/]*={0,2}$")]
Count = Annotated[int, Field(ge=0, le=2**53)]  # fits a database's integer and a JSON number
PollSeconds = Annotated[float, Field(ge=0.1, le=3600)]
PublicPem = Annotated[str, Field(max_length=1024)]  # Ed25519 or P-256
Proof = Annotated[str, Field(max_length=256)]  # base64, see ``proofs``


def _selector(text: str) -> str:
    try:
        selectors.parse(text)
    except ProtocolError as error:
        raise ValueError(error.rule) from error
    return text


def _stage(stage: int | str) -> int | str:
    try:
        stages.stage_size(stage, 0)
    except ProtocolError as error:
        raise ValueError(error.rule) from error
    return stage


def _hours(text: str) -> str:
    try:
        hours.parse(text)
    except ProtocolError as error:
        raise ValueError(error.rule) from error
    return text


def _plain(text: str) -> str:
    """The same text without what no database, terminal or JSON need take, such as a NUL.

    It is left out and not refused: a device that may not say what it saw could say nothing more.
    """
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cs"})


def _cut(text: str) -> str:
    return text[:LONGEST_REASON]


def _measured(value: Any) -> Any:
    """The same JSON, its texts plain, with null for each number that is none, as NaN is."""
    if isinstance(value, dict):
        return {_measured(key): _measured(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_measured(part) for part in value]
    if isinstance(value, str):
        return _plain(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


SelectorText = Annotated[str, AfterValidator(_selector)]
Stage = Annotated[int | str, AfterValidator(_stage)]
HoursText = Annotated[str, AfterValidator(_hours)]  # "22:30-04:00", local time
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Evidence = Annotated[dict[str, Any], AfterValidator(_measured)]
Reason = Annotated[str, AfterValidator(_plain), AfterValidator(_cut)]
Plain = AfterValidator(_plain)
Waiting = Annotated[str, Field(max_length=512), Plain]  # what for, before an update goes on
Version = Annotated[str, Field(max_length=128), Plain]  # a program's own


class Message(BaseModel):
    """What all messages share: frozen, unknown fields ignored, every number finite."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class State(StrEnum):
    """Where a device is in an update; the agent's table moves between these."""

    IDLE = "idle"
    SYNCING = "syncing"
    DOWNLOADING = "downloading"
    VERIFYING = "verifying"
    INSTALLING = "installing"
    TRYING = "trying"
    PROBATION = "probation"
    COMMITTED = "committed"
    ROLLED_BACK = "rolled back"
    FAILED = "failed"


class Result(StrEnum):
    """How an update ended on a device (AWS IoT Greengrass' deployment status codes)."""

    SUCCESSFUL = "SUCCESSFUL"
    FAILED_NO_STATE_CHANGE = "FAILED_NO_STATE_CHANGE"
    FAILED_ROLLBACK_COMPLETE = "FAILED_ROLLBACK_COMPLETE"
    FAILED_UNABLE_TO_ROLLBACK = "FAILED_UNABLE_TO_ROLLBACK"
    REJECTED = "REJECTED"  # this device may not or cannot take it: target, runtime, floor


class JobState(StrEnum):
    """Where one device is in one rollout (AWS IoT Jobs' words)."""

    QUEUED = "QUEUED"
    IN_PROGRESS = "IN_PROGRESS"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    REJECTED = "REJECTED"
    TIMED_OUT = "TIMED_OUT"
    REMOVED = "REMOVED"


class RolloutState(StrEnum):
    """Where a rollout is."""

    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    ROLLED_BACK = "rolled back"
    FINISHED = "finished"
    INCOMPLETE = "incomplete"  # a rollback that ended, and not every device is back

    @property
    def over(self) -> bool:
        """Whether it has ended, well or not: it offers nothing any more."""
        return self not in {RolloutState.DRAFT, RolloutState.RUNNING, RolloutState.PAUSED}


class ReleaseRef(Message):
    """One release of a channel: the number that people say, and the bundle's manifest digest."""

    name: Name
    channel: Name
    version: Annotated[int, Field(ge=1, le=2**53)]
    digest: DigestText


# device -> control plane


class Enrol(Message):
    """``POST /v1/enrol``: a one-time token makes a public key a device. Signed by that key."""

    token: Annotated[str, Field(max_length=256)]
    name: Name
    model: Name | None = None  # which it follows; None: an agent that does not say it yet
    channel: Name = "stable"  # of ``model``
    public_key: PublicPem
    labels: Labels = {}
    target: Name
    runtimes: Runtimes = ()
    agent_version: Version = ""


class Enrolled(Message):
    """The answer: the device's id, which is also the ``keyid`` of its signatures."""

    device: str
    poll_seconds: PollSeconds


class Claim(Message):
    """``POST /v1/claim``: a factory certificate makes a public key a device.

    Signed by the certificate's key; ``proof`` is by the key that it brings.
    """

    certificates: Annotated[str, Field(max_length=32 << 10)]  # PEM, the device's own first
    public_key: PublicPem
    proof: Proof
    labels: Labels = {}
    target: Name
    runtimes: Runtimes = ()
    agent_version: Version = ""


class Claimed(Message):
    """The answer: what the operator decided for this serial number."""

    device: str
    name: Name
    model: Name
    channel: Name
    labels: Labels = {}
    poll_seconds: PollSeconds


class Rotate(Message):
    """``POST /v1/rotate``: from its first use on, this key is the device's, and the old one not.

    Signed by the key that the device has; ``proof`` is by the one that it brings.
    """

    public_key: PublicPem
    proof: Proof


class Rotated(Message):
    """The answer: which key may now speak for the device beside its old one."""

    fingerprint: str


class CertificateRequest(Message):
    """``POST /v1/certificate``: for the connections of the device that signs this."""

    request: Annotated[str, Field(max_length=4096)]  # PKCS#10, PEM


class Certificate(Message):
    """The answer, in PEM."""

    certificate: str


class Outcome(Message):
    """How the newest update attempt ended."""

    digest: DigestText
    rollout: int | None
    result: Result
    reason: Reason = ""
    evidence: Evidence = {}


class Followed(Message):
    """What a device says of one more thing that it follows beside its model.

    ``checks`` is how many checks of the device have found it well since it was put in place.
    """

    name: Name
    channel: Name = "stable"
    kind: Name  # of payload, as in a bundle's description
    moves: Count = 0
    state: State = State.IDLE
    running: ReleaseRef | None = None
    previous: ReleaseRef | None = None
    trying: ReleaseRef | None = None
    checks: Count = 0
    outcome: Outcome | None = None
    waiting: Waiting = ""
    waiting_until: float | None = None


class Report(Message):
    """``POST /v1/report``: what the device says of itself.

    ``moves`` only grows, except on a device that lost its progress: it begins again at 0.
    """

    model: Name | None = None  # as in :class:`Enrol`
    channel: Name = "stable"

    moves: Count
    state: State
    running: ReleaseRef | None = None
    previous: ReleaseRef | None = None
    trying: ReleaseRef | None = None
    answers_since_switch: Count = 0
    variant: Name = "main"  # which graph of the running release answers
    # the variants that would be preferred -> why they are not used
    passed_over: Annotated[
        dict[Name, Annotated[str, Field(max_length=1024), Plain]], Field(max_length=16)
    ] = {}
    outcome: Outcome | None = None
    waiting: Waiting = ""
    waiting_until: float | None = None  # Unix seconds; None: when the world changes, nobody knows
    fetched: Count = 0  # bytes since the agent started: a long download is seen to go on
    target: Name
    runtimes: Runtimes = ()
    agent_version: Version = ""
    also: Annotated[tuple[Followed, ...], Field(max_length=MOST_FOLLOWED)] = ()


class Window(Message):
    """``POST /v1/windows``: signals of one window of answers of one bundle. Counted once by id."""

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    bundle: DigestText
    version: Count
    variant: Name = "main"  # which of its graphs answered
    began: float  # Unix seconds by the device's clock
    ended: float
    answers: Count
    errors: Count = 0
    unlogged: Count = 0  # answers that the device's log had no room for
    confirmed: Count = 0  # answers that a person confirmed or corrected
    complaints: Count = 0  # answers that a person complained about
    quality: Annotated[float, Field(ge=0)] = 0  # sum over confirmed of 0..1
    # feature -> t-digest, base64; not parsed here, so whoever merges skips what is none
    sketches: Annotated[dict[Feature, Sketch], Field(max_length=MOST_SKETCHES)] = {}

    @model_validator(mode="after")
    def _quality_is_a_part(self) -> Self:
        if self.quality > self.confirmed:
            rule = f"quality must be at most confirmed ({self.confirmed}): each answer gives 0..1"
            raise ValueError(rule)
        return self


class Windows(Message):
    """A batch of windows, oldest first."""

    windows: Annotated[tuple[Window, ...], Field(max_length=500)]


class Sample(Message):
    """One raw input with the truth that a person confirmed, from a device that opted in."""

    answer: Annotated[str, Field(max_length=256)]  # answer id in the device's log
    inputs: dict[str, str]  # input name -> base64 of its row as a file, see ``arrayfiles``
    truth: Any
    complaint: Annotated[str, Field(max_length=2000), Plain] = ""  # what the person said of it


class Samples(Message):
    """``POST /v1/samples``: what one device gives to one request. Counted once by answer id."""

    request: Count
    samples: Annotated[tuple[Sample, ...], Field(max_length=2000)]


# control plane -> device


class Wished(Message):
    """What one more thing should be that a device follows beside its model."""

    name: Name
    channel: Name = "stable"
    release: ReleaseRef | None = None
    rollout: int | None = None


class SampleRequest(Message):
    """Please send this many samples, taken from answers after now; only if you opted in."""

    id: int
    count: Annotated[int, Field(ge=1)]
    model: Name | None = None  # whose inputs; None: any


class Desired(Message):
    """``GET /v1/desired``: what the device should be. With an ETag; 304 when nothing changed."""

    release: ReleaseRef | None = None
    rollout: int | None = None
    samples: SampleRequest | None = None
    poll_seconds: PollSeconds = 5
    rotate_key: bool = False  # an operator wants it to have a new key
    client_certificate: bool = False  # whether devices are given certificates for TLS
    also: tuple[Wished, ...] = ()  # for what it said that it follows beside its model


# signed documents (targets of the channel's TUF role)


class Probation(Message):
    """How long and how strictly a new slot is watched beside the old one."""

    answers: Annotated[int, Field(ge=20)] = 200
    margin: Annotated[float, Field(gt=0, lt=1)] = 0.05  # above declared disagreement
    claim_margin: Annotated[float, Field(gt=0, lt=1)] = 0.08  # beside each declared claim
    errors: Annotated[float, Field(ge=0, lt=1)] = 0.01  # share of answers that may fail
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.01  # false alarms per probation


class Group(Message):
    """Devices that a selector names (``site=south``, ``all``), moved in stages.

    A stage is a count (``1``) or a share (``"50%"``) of the group, each containing the one before.
    """

    select: SelectorText
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)] = (1, "50%", "100%")


class Abort(Message):
    """Stop when more than ``over`` percent of the executed jobs ended as ``of``."""

    of: Annotated[str, Field(pattern=r"^(FAILED|REJECTED|TIMED_OUT|ALL)$")]
    over: Annotated[float, Field(ge=0, lt=100)]  # percent
    min_executed: Annotated[int, Field(ge=1)] = 1


class Asks(Message):
    """What must hold on a device before it takes a release up; without any, nothing must.

    What a device does not know of itself holds nothing back.
    """

    hours: Annotated[tuple[HoursText, ...], Field(max_length=16)] = ()  # in its local time
    days: tuple[Day, ...] = ()  # on which ``hours`` begin; empty means any
    download: Literal["in hours", "any time"] = "in hours"  # whether hours hold files back too
    charging: bool = False  # True: only while power comes from outside
    metered: bool = True  # False: no file comes over a metered link
    battery: Annotated[float, Field(gt=0, le=100)] | None = None  # percent, or more
    temperature: float | None = None  # degrees Celsius, or less

    @model_validator(mode="after")
    def _days_have_hours(self) -> Self:
        if self.days and not self.hours:
            raise ValueError("days must come with hours, which may be 00:00-24:00")
        return self


class Conditions(Asks):
    """What a release asks; none of it, and nothing of a device's own, holds past the deadline."""

    deadline_seconds: Annotated[float, Field(gt=0)] = 7 * 86_400  # since the device first waited


class RolloutPlan(Message):
    """The signed rollout document of a release: who, in what order, and when to stop."""

    groups: tuple[Group, ...] = (Group(select="all"),)
    soak_seconds: Annotated[float, Field(ge=0)] = 60
    deadline_seconds: Annotated[float, Field(gt=0)] = 3600  # silence past it is TIMED_OUT
    min_answers: Annotated[int, Field(ge=0)] = 20  # answers by the new slot before success counts
    probation: Probation = Probation()
    abort: tuple[Abort, ...] = (
        Abort(of="FAILED", over=5, min_executed=1),
        Abort(of="TIMED_OUT", over=20, min_executed=4),
    )
    conditions: Conditions = Conditions()
    urgent: bool = False  # sets every condition aside, a device's own and "not now" too
    bandwidth: Annotated[int, Field(ge=1024)] | None = None  # bytes/s that a device may fetch at
    postpone_seconds: Annotated[float, Field(ge=0)] = 86_400  # longest "not now" of a user


class Delta(Message):
    """A blob that makes the files of bundle ``to``, as far as they differ, of those of ``base``."""

    base: DigestText
    to: DigestText
    digest: DigestText
    size: Annotated[int, Field(gt=0)]


class Listed(Message):
    """One line of a channel's signed list."""

    version: int
    digest: DigestText
    size: int  # bytes of the manifest
    plan: RolloutPlan
    targets: tuple[Name, ...] = ()  # device classes; empty means any
    needs: tuple[Name, ...] = ()  # runtime and program steps that a device must have
    # what each variant needs, where they differ: all of one will do, whatever ``needs`` says
    alternatives: tuple[tuple[Name, ...], ...] = ()
    deltas: tuple[Delta, ...] = ()  # ways to it that may be shorter, some of them in several steps


class Delisted(Message):
    """A release that was taken off the list."""

    version: int
    digest: DigestText


class ChannelList(Message):
    """``<channel>/<name>.json``: every release that a device of this channel may install."""

    name: Name
    channel: Name
    floor: int = 1  # no device installs below this version
    delisted: tuple[Delisted, ...] = ()  # taken off; neither version nor bundle comes back
    releases: tuple[Listed, ...] = ()

    def find(self, digest: str) -> Listed | None:
        """The line of a bundle, or None when it is not (or no longer) listed."""
        return next((line for line in self.releases if line.digest == digest), None)
