"""A device's life on a recording disk, and a control plane that says what it knows meanwhile."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.agent.several import FULL, several
from tests.agent.world import SERVER, Factory, Plane, pictures

from edgeloop.agent.agent import Agent
from edgeloop.agent.readings import Readings
from edgeloop.agent.states import RESTING
from edgeloop.agent.transport import Reply
from edgeloop.errors import UnauthorizedError, UnreachableError
from edgeloop.protocol.messages import (
    Conditions,
    Desired,
    Probation,
    ReleaseRef,
    RolloutPlan,
    SampleRequest,
)
from edgeloop.release.bundle import MAIN, open_kept
from edgeloop.testing.clock import FakeClock
from edgeloop.testing.disk import Recorder, Recording
from edgeloop.testing.fleet import FakeFleet, Home
from edgeloop.types import Artifact

SOUTH = 90  # brighter inputs, where the bad release is bad
PLAN = RolloutPlan(min_answers=5, probation=Probation(answers=20))
TOLD = {"opt_in": True, "window_answers": 10, "signals_bytes": 1}  # whatever waits is merged
EARLY, LATE = "only a part came", "the line broke behind the last byte"


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the control plane knows at one moment, and so what must hold from then on."""

    desired: Desired
    key: str | None  # whom the token was spent on
    windows: Mapping[str, dict[str, Any]]
    samples: Mapping[str, dict[str, Any]]
    base: str | None  # the bundle that the device said it runs when it was last at rest
    ended: str | None  # the bundle whose update it said has ended

    @classmethod
    def nothing(cls) -> Known:
        """Before anything was said."""
        desired = Desired(poll_seconds=1)
        return cls(desired=desired, key=None, windows={}, samples={}, base=None, ended=None)


class Witness(Plane):
    """A control plane that says what it knows each time that this has changed."""

    def __init__(self, factory: Factory, clock: FakeClock) -> None:
        super().__init__(factory, clock)
        self.key: str | None = None
        self.base: str | None = None
        self.ended: str | None = None
        self.breaks: list[str] = []  # how the next blobs break off
        self.told: Any = lambda known: None

    def known(self) -> Known:
        return Known(
            desired=self.desired,
            key=self.key,
            windows=dict(self.windows),
            samples=dict(self.samples),
            base=self.base,
            ended=self.ended,
        )

    def recall(self, known: Known) -> None:
        self.desired, self.key = known.desired, known.key
        self.windows, self.samples = dict(known.windows), dict(known.samples)
        self.base, self.ended = known.base, known.ended

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, max_bytes: int
    ) -> Reply:
        before = self.known()
        reply = super().send(method, url, headers, body, max_bytes)
        if url.endswith("/v1/report"):
            self._hear(self.reports[-1])
        if url.endswith("/v1/enrol"):
            self._enrol(body)
        if self.known() != before:
            self.told(self.known())
        if "/blobs/" in url and self.breaks and reply.status < 300:
            return replace(reply, chunks=_broken(self.breaks.pop(0), reply.chunks))
        return reply

    def _hear(self, report: dict[str, Any]) -> None:
        if report["state"] in {str(state) for state in RESTING}:
            self.base = report["running"] and report["running"]["digest"]
            self.ended = report["outcome"] and report["outcome"]["digest"]

    def _enrol(self, body: bytes) -> None:
        key = hashlib.sha256(body[body.index(b"BEGIN PUBLIC") :][:120]).hexdigest()
        if self.key not in {None, key}:
            raise UnauthorizedError("token", "must be unused", got="spent on another key")
        self.key = key


def _broken(how: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    for number, chunk in enumerate(chunks):
        if how == EARLY and number == 1:
            break
        yield chunk
    raise UnreachableError("blobs", "must come", got=how)


@dataclass(frozen=True, kw_only=True)
class Release:
    """A bundle, whether it passes its probation, and what it answers to its golden rows."""

    ref: ReleaseRef
    good: bool
    inputs: Any
    outputs: Mapping[str, Mapping[str, Any]]  # variant -> output -> its answers


class Maker:
    """Who makes releases: one, two which is better, three which is bad in the south."""

    def __init__(self, folder: Path) -> None:
        self.factory = Factory(folder)
        self.releases: dict[str, Release] = {}

    def first(self) -> Release:
        self._one = self.factory.bundle(profiles={"clean": (0, 0.0)})
        return self._publish(self._one, good=True)

    def better(self) -> Release:
        """Of two graphs: ``fine`` wants half a battery, or a device that has none."""
        profiles = {"clean": (0, 0.0), "south": (SOUTH, 0.0)}
        both = {"against": self._one, "profiles": profiles}
        fine = (FULL, {**both, "scale": 0.013})
        self._two = several(self.factory, {**both, "scale": 0.012}, fine=fine)
        charging = PLAN.model_copy(update={"conditions": Conditions(charging=True)})
        return self._publish(self._two, good=True, plan=charging)

    def bad(self) -> Release:
        """It comes as a delta."""
        profiles = {"clean": (0, 0.0)}
        made = self.factory.bundle(against=self._two, profiles=profiles, scale=0.014, ceiling=75)
        return self._publish(made, good=False, bases=[self._two])

    def _publish(
        self,
        bundle: Artifact,
        *,
        good: bool,
        plan: RolloutPlan = PLAN,
        bases: Sequence[Artifact] = (),
    ) -> Release:
        ref = self.factory.publish(bundle, plan, bases=bases)
        opened = open_kept(self.factory.store, bundle.digest)
        golden = {one.name: opened.of(one.name).golden_samples() for one in opened.info.every}
        inputs, _ = golden[MAIN]
        outputs = {name: answers for name, (_, answers) in golden.items()}
        release = Release(ref=ref, good=good, inputs=inputs["image"], outputs=outputs)
        self.releases[bundle.digest] = release
        return release


@dataclass
class Life:
    """One device from its enrolment through a good and a bad update, on a disk that is recorded."""

    folder: Path
    recording: Recording = field(default_factory=Recording)

    def __post_init__(self) -> None:
        self.maker = Maker(self.folder / "made")
        self.clock = FakeClock()
        self.plane = Witness(self.maker.factory, self.clock)
        self.home = Home(server=SERVER, model="sorter", root=self.maker.factory.repository.root())

    def record(self) -> Recording:
        place = self.folder / "recorded"
        place.mkdir()
        recorder = Recorder(place)
        with recorder.watching() as self.recording, self.fleet(place) as fleet:
            self.plane.told = recorder.note
            fleet.add("d1", "token", **TOLD)
            self._live(fleet)
        self.plane.told = lambda known: None
        return self.recording

    def _live(self, fleet: FakeFleet) -> None:
        self._wish(self.maker.first(), 1)
        self.rest(fleet)
        self._wish(self.maker.better(), 2)
        self.plane.breaks += [EARLY, LATE]
        self._wait(fleet)
        self.rest(fleet)
        self._other_graph(fleet)
        self.plane.down = True
        for _ in range(3):
            fleet.step()
        self.plane.down = False
        self._wish(self.maker.bad(), 3)
        self.rest(fleet)
        fleet.agents["d1"].close()
        fleet.start("d1").hand_over()
        fleet.step()

    def _wait(self, fleet: FakeFleet) -> None:
        """For power, while a user says "not now"; a device that starts anew knows of no plug."""
        fleet.readings = Readings(charging=False)
        fleet.until(lambda: self.plane.reports[-1]["waiting"] == "power from outside")
        fleet.agents["d1"].postpone(20)
        fleet.step()
        fleet.readings = Readings(charging=True)
        fleet.until(lambda: self.plane.reports[-1]["waiting"] == '"not now" of a user')
        fleet.agents["d1"].postpone(0)

    def _other_graph(self, fleet: FakeFleet) -> None:
        """The battery runs low, and another graph of the same release answers from then on."""
        assert fleet.agents["d1"].slot().variant == "fine"
        fleet.readings = Readings(battery_percent=20, charging=False)
        fleet.until(lambda: self.plane.reports[-1]["variant"] == MAIN)

    def _wish(self, release: Release, rollout: int) -> None:
        self.plane.wish(release.ref, rollout, SampleRequest(id=rollout, count=10))
        self.plane.told(self.plane.known())

    def fleet(self, folder: Path) -> FakeFleet:
        return FakeFleet(folder, self.home, self.plane, self.clock, traffic=_traffic())

    def rest(self, fleet: FakeFleet) -> None:
        """Step until the update that is wished for has ended and was reported."""
        release = self.plane.desired.release
        assert release is not None
        agent = fleet.agents["d1"]
        fleet.until(lambda: self.plane.ended == release.digest and _told(agent, self.plane), 60)


def _told(agent: Agent, plane: Plane) -> bool:
    return bool(plane.reports) and plane.reports[-1]["moves"] == agent.report().moves


def _traffic() -> Any:
    asked = iter(range(1 << 30))

    def traffic(_: Agent) -> Iterator[tuple[dict[str, Any], Any]]:
        for row, image in enumerate(pictures(100 + next(asked), 10, SOUTH)):
            yield {"image": image}, ("left" if row % 2 == 0 else "right") if row < 2 else None

    return traffic
