"""One update of one device on a disk that is full now and then, and what must hold."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.agent.every_cut import MEMORY, swift
from tests.agent.lives import TOLD, Known, Life, Release

from edgeloop.agent.agent import Agent
from edgeloop.errors import DiskFullError, InputMismatchError
from edgeloop.protocol.messages import SampleRequest, State
from edgeloop.testing.fleet import FakeFleet
from edgeloop.testing.full_disk import FullDisk

PATIENCE = 60  # steps


class StuckError(AssertionError):
    """A device that a full disk has broken."""


@dataclass
class Update:
    """A device with one release, copied for each trial, which is to take the next one."""

    life: Life
    before: Path
    known: Known
    better: Release
    trials: int = 0
    failures: list[str] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)  # by result, while the disk was full

    def count(self) -> list[str]:
        """What needs room in this update, in order."""
        self.lost = 0
        with self._trial(lambda _: False) as (disk, fleet):
            self._live(fleet, disk)
        return disk.done

    def try_out(self, full: Callable[[int], bool], what: str, *, restart: bool = False) -> None:
        """One update with a disk that is ``full``; with ``restart`` it begins anew meanwhile."""
        self.trials += 1
        self.lost = 0
        try:
            with self._trial(full) as (disk, fleet):
                self._live(fleet, disk, restart=restart)
        except Exception as fault:  # noqa: BLE001  (whatever it is, the next trial goes on)
            self.failures.append(f"{what}: {type(fault).__name__}: {fault}")

    @contextmanager
    def _trial(self, full: Callable[[int], bool]) -> Iterator[tuple[FullDisk, FakeFleet]]:
        plane = self.life.plane
        plane.recall(self.known)
        plane.reports = []
        with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as made:
            place = Path(made) / "devices"
            shutil.copytree(self.before, place)
            self.room = True
            disk = FullDisk(place, lambda number: not self.room and full(number))
            with self.life.fleet(place) as fleet, disk.watching():
                fleet.start("d1")
                self.room = False
                yield disk, fleet
                self.room = True

    def _live(self, fleet: FakeFleet, disk: FullDisk, *, restart: bool = False) -> None:
        plane, ask = self.life.plane, fleet.traffic
        self.given, fleet.traffic = 0, None
        due = sum(one["answers"] for one in plane.windows.values())
        plane.wish(self.better.ref, 2, SampleRequest(id=2, count=10))
        for _ in range(PATIENCE // 3):
            self._step(fleet, ask)
            if restart and disk.failed:
                restart = False
                self._begin_again(fleet)
        told = plane.reports[-1] if plane.reports else {}
        self.ends[(told.get("outcome") or {}).get("result", "under way")] += 1
        self.room = True
        self._finish(fleet, ask)
        send_all(fleet.agents["d1"])
        counted = sum(one["answers"] for one in plane.windows.values()) - due
        assert counted == self.given - self.lost, f"{counted} answers counted of {self.given}"

    def _step(self, fleet: FakeFleet, ask: Any) -> None:
        """The application asks, whatever the disk is like; a person's word may find no room."""
        agent = fleet.agents["d1"]
        for inputs, truth in ask(agent):
            answer = agent.answer(inputs)
            self.given += 1
            if truth is not None:
                with suppress(DiskFullError, InputMismatchError):  # it is not in the log
                    agent.feedback(answer.id, truth)
        fleet.step()

    def _begin_again(self, fleet: FakeFleet) -> None:
        """The power fails, and the agent begins anew on the disk that is full."""
        opened = fleet.agents["d1"]._books.signals._open.values()
        self.lost += sum(window.answers for window in opened)
        fleet.cut_power("d1")
        agent = fleet.start("d1")
        assert agent.ready, "it has no slot behind its restart"

    def _finish(self, fleet: FakeFleet, ask: Any) -> None:
        """There is room again: the same release in a rollout of its own, if it failed before."""
        self.life.plane.wish(self.better.ref, 3, SampleRequest(id=3, count=10))
        for _ in range(PATIENCE):
            agent = fleet.agents["d1"]
            if agent.slot().ref == self.better.ref and agent.state is State.COMMITTED:
                return
            self._step(fleet, ask)
        raise StuckError(f"still {agent.state}, {agent.report().outcome}")


def send_all(agent: Agent) -> None:
    """Close its windows and send all that wait; :meth:`Agent.hand_over` sends what fits once."""
    agent.hand_over()
    while agent._books.signals.batch() is not None:
        agent._talk.send_windows()


@contextmanager
def prepared(folder: Path) -> Iterator[Update]:
    """A device that runs its first release, at rest."""
    with swift():
        life = Life(folder)
        place = folder / "before"
        place.mkdir()
        with life.fleet(place) as fleet:
            fleet.add("d1", "token", **TOLD)
            first = life.maker.first()
            life._wish(first, 1)
            life.rest(fleet)
            fleet.agents["d1"].hand_over()
        yield Update(life=life, before=place, known=life.plane.known(), better=life.maker.better())
