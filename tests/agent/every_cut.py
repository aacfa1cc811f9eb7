"""The trial of every disk that a power cut may leave of a device, and the table of all of them."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import numpy as np
from tests.agent.lives import TOLD, Known, Life, Release

from edgeloop.agent import control_plane, device, settings
from edgeloop.agent.agent import Agent
from edgeloop.testing.cuts import Crash, rebuild
from edgeloop.testing.disk import Recorder, Recording
from edgeloop.testing.fleet import FakeFleet

MEMORY = Path("/dev/shm")
SHOWN = 5  # failures


class BrickedError(AssertionError):
    """A device that a power cut has broken."""


class Trials:
    """Tries disks.

    To the end of its update each device goes whose way there may differ from all before: by the
    files of the update, or by the windows and samples that wait. Neither reads the other. With
    ``each``, of these only each so-many-th goes.
    """

    def __init__(self, life: Life, *, each: int = 1) -> None:
        self._life, self._each = life, each
        self._ways: set[bytes] = set()
        self._different = self.ended = 0  # devices that went to the end of their update

    def __call__(self, crash: Crash) -> bool:
        """Whether its way was new.

        Raises BrickedError unless the device that has this disk answers, and ends its update.
        """
        with _place() as place:
            rebuild(crash.disk, place)
            try:
                _look(place)
                return self._try(crash.note, place)
            except Exception as fault:
                raise BrickedError(f"{name(crash)}: {type(fault).__name__}: {fault}") from fault

    def recorded(self, crash: Crash) -> Recording:
        """What the device that has this disk does until its update ends: cuts of a second time."""
        plane = self._life.plane
        with _place() as place:
            rebuild(crash.disk, place)
            recorder = Recorder(place, crash.disk)
            plane.told = recorder.note
            with recorder.watching() as recording:
                recorder.note(crash.note)
                Trials(self._life)._try(crash.note, place)
            plane.told = lambda known: None
        return recording

    def _try(self, known: Known | None, place: Path) -> bool:
        life, plane, folder = self._life, self._life.plane, place / "d1"
        plane.recall(known or Known.nothing())
        plane.down, plane.reports = False, []
        with life.fleet(place) as fleet:
            if not (folder / "agent.json").exists():  # its owner does it again
                fleet.add("d1", "token", **TOLD)
            else:
                fleet.start("d1")
            waiting = _windows(folder)
            given = self._answers(fleet.agents["d1"])
            if known is None or known.desired.release is None:
                return False
            ways = {_update(folder, known), _books(folder, known)}
            if ways <= self._ways:
                return False
            self._ways |= ways
            self._different += 1
            if self._different % self._each == 0:
                self._end(fleet, folder, waiting, given)
                self.ended += 1
            return True

    def _answers(self, agent: Agent) -> int:
        """Whole, from a slot that may be in charge; by none only before there was one."""
        plane = self._life.plane
        wished = plane.desired.release
        allowed = {plane.base}
        if wished is not None and wished.digest != plane.ended:
            allowed.add(wished.digest)
        running = agent.slot().ref.digest if agent.ready else None
        assert running in allowed, f"{running} is in charge, not one of {allowed}"
        return 0 if running is None else self._golden(agent, self._life.maker.releases[running])

    def _golden(self, agent: Agent, release: Release) -> int:
        for row, image in enumerate(release.inputs):
            answer = agent.answer({"image": image})
            assert answer.bundle == release.ref.digest
            for output, values in answer.outputs.items():
                right = release.outputs[answer.variant][output][row]
                assert np.allclose(values[0], right, atol=1e-6)
        return len(release.inputs)

    def _end(self, fleet: FakeFleet, folder: Path, waiting: dict[str, int], given: int) -> None:
        """Offline at first, so that windows wait and are merged; then to the end of the update."""
        plane, agent, heard = self._life.plane, fleet.agents["d1"], []
        base, wished = plane.base, plane.desired.release
        due = sum((waiting | {key: one["answers"] for key, one in plane.windows.items()}).values())
        fleet.heard = lambda *answer: heard.append(answer)
        plane.down = True
        for _ in range(2):
            fleet.step()
        plane.down = False
        self._life.rest(fleet)
        right = wished.digest if self._life.maker.releases[wished.digest].good else base
        running = agent.slot().ref.digest
        assert running == right, f"{running} is in charge at the end"
        given += len(heard) + self._golden(agent, self._life.maker.releases[right])
        agent.hand_over()
        assert _windows(folder) == {}, "windows were not handed over"
        counted = sum(one["answers"] for one in plane.windows.values())
        assert counted == due + given, f"{counted} answers were counted of {due} + {given}"


def _look(place: Path) -> None:
    """No file of state, of settings, or of signed metadata is ever torn."""
    for path in place.rglob("*.json"):
        if path.name.startswith(".") or not path.exists():  # a draft; a link to what was lost
            continue
        try:
            json.loads(path.read_bytes())
        except ValueError as fault:
            raise AssertionError(f"{path.relative_to(place)} is torn: {fault}") from fault


def name(crash: Crash) -> str:
    """Where the power was cut, and what did not last, in words."""
    last = crash.last
    return f"cut behind operation {crash.cut} ({last.kind} {last.name}), {crash.loss}"


def _windows(folder: Path) -> dict[str, int]:
    with closing(sqlite3.connect(folder / "signals.sqlite")) as signals:
        rows = signals.execute("SELECT id, payload FROM windows").fetchall()
    return {key: json.loads(payload)["answers"] for key, payload in rows}


def _update(folder: Path, known: Known) -> bytes:
    """What decides how the update goes on. Not the log of answers, which nothing is decided by."""
    files = sorted(Path(place, name) for place, _, names in os.walk(folder) for name in names)
    plain = [p for p in files if ".sqlite" not in p.name and p.name != "lock" and p.is_file()]
    parts = [(str(path.relative_to(folder)), path.read_bytes()) for path in plain]
    return _hash("update", parts, known.desired, known.base, known.ended)


def _books(folder: Path, known: Known) -> bytes:
    """What decides what the control plane is still given."""
    with closing(sqlite3.connect(folder / "samples.sqlite")) as samples:
        kept = samples.execute("SELECT answer, payload IS NULL FROM samples").fetchall()
    with closing(sqlite3.connect(folder / "signals.sqlite")) as signals:
        sent = signals.execute("SELECT id, sent FROM windows ORDER BY seq").fetchall()
    return _hash("books", kept, sent, sorted(known.windows), sorted(known.samples))


def _hash(*parts: object) -> bytes:
    return hashlib.blake2b(repr(parts).encode()).digest()


@contextmanager
def swift() -> Iterator[None]:
    """Leave out what costs time and is of no disk: what is logged, signed, or read of packages."""
    known = functools.cache(version)
    level = logging.getLogger("edgeloop")
    before = level.level
    level.setLevel(logging.CRITICAL)
    try:
        with (
            mock.patch.object(device, "version", known),
            mock.patch.object(settings, "version", known),
            mock.patch.object(control_plane, "sign", return_value={"Signature": "left out"}),
        ):
            yield
    finally:
        level.setLevel(before)


@contextmanager
def _place() -> Iterator[Path]:
    """A folder that costs little, gone behind the block."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as place:
        yield Path(place)


@dataclass
class Tally:
    """How many disks were tried, and how that ended."""

    operations: Counter[str] = field(default_factory=Counter)
    legal: int = 0
    equal: int = 0
    tried: int = 0
    failed: list[str] = field(default_factory=list)

    def count(self, recording: Recording) -> None:
        self.operations.update(str(one.kind) for one in recording.operations)

    def different(self, crashes: Iterable[Crash]) -> Iterator[Crash]:
        """Each disk once."""
        seen: set[bytes] = set()
        for crash in crashes:
            self.legal += 1
            if crash.key in seen:
                self.equal += 1
            else:
                seen.add(crash.key)
                yield crash

    def try_out(self, crash: Crash, trials: Trials) -> bool:
        """Whether its way was new."""
        self.tried += 1
        try:
            return trials(crash)
        except BrickedError as fault:
            self.failed.append(str(fault))
            return True

    def table(self, trials: Trials) -> str:
        """For people."""
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.operations.items()))
        rows = (
            ("operations recorded", f"{self.operations.total()} ({kinds})"),
            ("legal disks looked at", self.legal),
            ("equal ones left out", self.equal),
            ("crash states tried", self.tried),
            ("taken to the end of their update", trials.ended),
            ("failed", len(self.failed)),
        )
        shown = [f"{what:34}{got}" for what, got in rows] + self.failed[:SHOWN]
        return "\n".join(shown)
