"""A real agent is killed at random moments of its updates: it always answers, and counts once."""

from __future__ import annotations

import random
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

import pytest
from tests.agent.world import Factory

from edgeloop.agent import asked
from edgeloop.agent.asked import Asked
from edgeloop.clock import SystemClock
from edgeloop.fleet.client import FleetClient
from edgeloop.fleet.views import RolloutView
from edgeloop.protocol.messages import Group, Probation, ReleaseRef, RolloutPlan, Window
from edgeloop.testing.processes import child, control_plane, enrolled
from edgeloop.types import Artifact

SCRIPT = Path(__file__).with_name("killed_device.py")
PLAN = RolloutPlan(
    groups=(Group(select="all", stages=("100%",)),),
    soak_seconds=0,
    min_answers=5,
    probation=Probation(answers=20),
)
LONGEST_LIFE = 1.5  # seconds from a device's first answer until it is killed
PATIENCE = 60.0  # seconds


@dataclass
class Tale:
    """One device, its control plane, releases in turn good and bad, and what became of them."""

    work: Path
    fleet: FleetClient
    factory: Factory
    draw: random.Random = field(default_factory=lambda: random.Random(7))
    good: Artifact | None = None  # the newest bundle that is not bad

    @property
    def told(self) -> Path:
        return self.work / "told"

    def lines(self, word: str) -> list[str]:
        """What the device wrote behind ``word``, over all its lives."""
        text = self.told.read_text() if self.told.exists() else ""
        found = (line.split(" ", 1) for line in text.splitlines())
        return [rest for first, rest in found if first == word]

    @contextmanager
    def device(self) -> Iterator[Popen[bytes]]:
        """One life of the device, from its first answer on."""
        before = len(self.lines("alive"))
        folder = self.work / "devices" / "d1"
        line = [sys.executable, SCRIPT, "--folder", folder, "--told", self.told]
        with child(line, self.work / "d1.log") as process:
            self.until(lambda: len(self.lines("alive")) > before, process)
            yield process

    def until(self, happened: object, process: Popen[bytes]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not happened():  # type: ignore[operator]
            log = (self.work / "d1.log").read_text()
            assert process.poll() is None, f"the device ended by itself:\n{log}"
            assert time.monotonic() < deadline, f"the device did not answer in time:\n{log}"
            time.sleep(0.02)

    def next_rollout(self) -> None:
        """Begin another rollout where none is under way; every third release is a bad one."""
        known = self.fleet.rollouts()
        if known and not known[-1].state.over:
            return
        bad = self.factory.made % 3 == 2
        scale = 0.01 + self.factory.made * 1e-6
        made = self.factory.bundle(against=self.running(), scale=scale, mirrored=bad)
        self.good = self.good if bad else made
        ref: ReleaseRef = self.factory.publish(made, PLAN)
        asked.put(self.work / "devices" / "d1", Asked(retry=True))  # or it would rest by now
        self.fleet.create_rollout("sorter", "stable", ref.version)

    def running(self) -> Artifact | None:
        """The bundle in charge: one whose trial was killed too often is not, good as it was."""
        report = self.fleet.devices()[0].report
        now = report.running if report else None
        return None if now is None else self.factory.store.open(now.digest)

    def windows(self) -> list[Window]:
        """All that the control plane has."""
        found: list[Window] = []
        since = 0
        while page := self.fleet.windows(since=since):
            since = page[-1].seq
            found += [view.window for view in page]
        return found

    def logged(self) -> Counter[str]:
        """Answers by bundle, as the device's own log has them."""
        journal = self.work / "devices" / "d1" / "journal.sqlite"
        with closing(sqlite3.connect(journal)) as database:
            return Counter(
                dict(database.execute("SELECT bundle, count(*) FROM answers GROUP BY bundle"))
            )


@contextmanager
def opened(work: Path) -> Iterator[Tale]:
    """A device with a first release, not running."""
    factory = Factory(work, clock=SystemClock())
    (work / ".edgeloop").symlink_to(factory.store.folder)
    with control_plane(work) as fleet:
        enrolled(
            work, fleet, "d1", site="here", model="sorter", journal_rows=10_000_000,
            window_answers=20, window_seconds=1.0, report_seconds=0.5,
        )  # fmt: skip
        tale = Tale(work=work, fleet=fleet, factory=factory)
        tale.next_rollout()
        with tale.device() as process:
            tale.until(lambda: tale.fleet.rollouts()[-1].state.over, process)
        yield tale


def kill(tale: Tale, times: int) -> list[RolloutView]:
    """Kill it ``times`` times, then let it end its update and send what waits."""
    for _ in range(times):
        tale.next_rollout()
        with tale.device() as process:
            time.sleep(tale.draw.uniform(0, LONGEST_LIFE))
            process.kill()
    with tale.device() as process:
        tale.until(lambda: tale.fleet.rollouts()[-1].state.over, process)
    return tale.fleet.rollouts()


def judged(tale: Tale, times: int, rollouts: list[RolloutView]) -> str:
    """Check the promise; gives the line of the table."""
    windows = tale.windows()
    ids = Counter(window.id for window in windows)
    counted: Counter[str] = Counter()
    for window in windows:
        counted[window.bundle] += window.answers
    logged, acknowledged = tale.logged(), set(tale.lines("acknowledged"))
    assert len(tale.lines("alive")) == times + 2  # the first release, every kill, and the end
    assert tale.lines("wrong") == []
    assert acknowledged <= set(ids)  # nothing that was acknowledged is lost
    assert max(ids.values()) == 1
    assert not counted - logged  # no answer is counted twice
    ended = Counter(str(one.state) for one in rollouts)
    return (
        f"kills {times}, rollouts {dict(ended)}, answers {logged.total()}, counted"
        f" {counted.total()}, acknowledged windows {len(acknowledged)}, lost 0, doubled 0"
    )


def test_a_device_that_is_killed_answers_and_counts_once(tmp_path: Path) -> None:
    with opened(tmp_path) as tale:
        print(judged(tale, 12, kill(tale, 12)))


@pytest.mark.hard
def test_a_device_that_is_killed_500_times_answers_and_counts_once(tmp_path: Path) -> None:
    with opened(tmp_path) as tale:
        print(judged(tale, 500, kill(tale, 500)))
