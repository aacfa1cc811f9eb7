"""What a report shows, as frozen values that go to JSON with ``dataclasses.asdict``.

Times are Unix seconds by the control plane's clock. A release is named by its version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgeloop.loop.report.evidence import Saw


@dataclass(frozen=True, kw_only=True)
class CheckLine:
    """One finding of one release. ``bound`` is the limit as a number in the value's unit."""

    check: str
    verdict: str  # "pass", "fail", "not measured"
    value: float | None
    unit: str
    limit: str
    bound: float | None
    interval: tuple[float, float] | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What a release declared of one profile of inputs; shares 0..1."""

    profile: str
    rows: int
    disagreement: float | None  # None when there was no release to compare with
    claims: Mapping[str, float]  # the answer kind's own, by name


@dataclass(frozen=True, kw_only=True)
class VariantFacts:
    """One graph of a release with several; ``size`` in bytes, what others share counted to each."""

    name: str
    when: str  # its conditions as a person reads them
    size: int
    checks: tuple[CheckLine, ...]


@dataclass(frozen=True, kw_only=True)
class ReleaseFacts:
    """One release of the loop, with what was found of it before it went out."""

    version: int
    digest: str
    size: int  # bytes of everything that a device installs
    checks: tuple[CheckLine, ...]
    declared: tuple[Promise, ...]
    saw: tuple[Saw, ...] = ()
    variants: tuple[VariantFacts, ...] = ()  # the most wanted first; empty where there is one graph
    unread: tuple[str, ...] = ()  # pictures of its checks that cannot be drawn, and why


@dataclass(frozen=True, kw_only=True)
class Training:
    """One recipe step and its curves, one value per epoch."""

    digest: str
    plugin: str
    releases: tuple[int, ...]  # that came from it
    fine_tuned: bool
    curves: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class Node:
    """One box of the lineage: an artifact, or all checks of one release together."""

    id: str
    kind: str  # "snapshot", "model", "checks", "bundle" ...
    title: str
    detail: str
    parents: tuple[str, ...]
    release: int | None  # version, of a bundle


@dataclass(frozen=True, kw_only=True)
class Span:
    """A time in which a device ran one release, and tried another or none."""

    began: float
    ended: float
    running: int | None  # version; None before the first
    trying: int | None
    state: str


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Something that ended badly for one device in one rollout."""

    time: float
    kind: str  # "taken back", "failed", "rejected", "timed out"
    version: int | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One device's life in the report."""

    name: str
    group: str
    spans: tuple[Span, ...]
    marks: tuple[Mark, ...]


@dataclass(frozen=True, kw_only=True)
class RolloutFacts:
    """One rollout. ``offered`` counts devices that had it offered, ``succeeded`` its successes."""

    id: int
    version: int
    state: str
    reason: str
    began: float
    ended: float | None
    devices: int
    offered: int
    succeeded: int


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """One ``trigger.*`` note. ``version`` is the release that it is about."""

    time: float
    action: str
    group: str
    version: int | None
    reason: str
    led_to: int | None  # version of the release that was learned


@dataclass(frozen=True, kw_only=True)
class DriftPoint:
    """How far one group's newest inputs were from the nearest profile of its release."""

    time: float
    group: str
    version: int
    answers: int
    profile: str
    psi: Mapping[str, float]  # per input feature
    drifted: bool

    @property
    def worst(self) -> str:
        """The feature that moved most; "" when none could be compared."""
        return max(self.psi, key=lambda name: self.psi[name], default="")


@dataclass(frozen=True, kw_only=True)
class QualityPoint:
    """Answers of one group by one release in one stretch of time, as people confirmed them."""

    time: float  # the middle of the stretch
    group: str
    version: int
    confirmed: int
    quality: float  # sum of 0..1 over the confirmed


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Field quality of a group before its trigger fired, and with the release that came of it.

    Before: from the answers that the trigger judged on. After: all by the new release, or, when
    ``fresh``, those on inputs of which none was sent home as a sample.
    """

    group: str
    before: int  # version
    after: int
    confirmed: tuple[int, int]  # answers, before and after
    quality: tuple[float, float]  # mean 0..1, before and after
    fresh: bool = False


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What one device fetched for one release. ``version`` None is signed metadata and the like."""

    device: str
    version: int | None
    bytes: int
    fetched: int  # blobs
    had: int  # blobs of that release that it had before
    own: int  # fetched blobs that no other release has
    saved: int = 0  # bytes that deltas took less than the files that they made


@dataclass(frozen=True, kw_only=True)
class Answers:
    """How many answers the windows that came home tell of; ``unlogged`` are among the given."""

    given: int = 0
    failed: int = 0
    unlogged: int = 0  # that the device's log had no room for


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything in a report. What is empty was not there, and its section says so."""

    name: str
    channel: str
    limit: float  # of the population stability index
    features: int  # so many features beyond it are drift
    measure: str = "quality"  # what the answer kind calls the quality of an answer
    began: float = 0.0
    ended: float = 0.0
    releases: tuple[ReleaseFacts, ...] = ()
    trainings: tuple[Training, ...] = ()
    lineage: tuple[Node, ...] = ()
    lanes: tuple[Lane, ...] = ()
    rollouts: tuple[RolloutFacts, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    answers: Answers = Answers()
    drift: tuple[DriftPoint, ...] = ()
    quality: tuple[QualityPoint, ...] = ()
    turns: tuple[Turn, ...] = ()
    sent: tuple[Sent, ...] = ()
    unread: int = field(default=0)  # lines of the blob log that were broken

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of devices, sorted."""
        return tuple(sorted({lane.group for lane in self.lanes}))
