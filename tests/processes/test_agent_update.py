"""The agent updates itself: real wheels, environments and processes, and a control plane."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
from tests.agent.world import Factory

from edgeloop.agent import launcher
from edgeloop.clock import SystemClock
from edgeloop.fleet.client import FleetClient
from edgeloop.protocol.messages import Abort, Group, RolloutPlan
from edgeloop.release.payloads import PayloadInfo, keep
from edgeloop.testing.processes import child, control_plane, enrolled

SOURCE = Path(__file__).parents[2] / "src" / "edgeloop"
PLAN = RolloutPlan(
    groups=(Group(select="all", stages=("100%",)),),
    soak_seconds=0,
    min_answers=0,
    abort=(Abort(of="FAILED", over=99),),
)
PATIENCE = 90.0  # seconds
LONGEST_LIFE = 12.0  # seconds from a start until it is killed
WITHIN = 6.0  # seconds that a new agent has until it must have reported
START = "def _run(told: argparse.Namespace) -> None:\n"
REPORT = '        self._accepted(self._post("/v1/report", message))\n'
BROKEN = {
    "exits": ("agent/__main__.py", START, START + "    raise SystemExit(3)\n"),
    "hangs": ("agent/__main__.py", START, START + "    threading.Event().wait()\n"),
    "mute": (
        "agent/control_plane.py",
        REPORT,
        '        raise UnreachableError("server", "must answer")\n',
    ),
    "newer": ("agent/states.py", "\nFORMAT = 1\n", "\nFORMAT = 2\n"),
    "no start": ("agent/__main__.py", "import argparse\n", "import no_such_module\n"),
}


def wheel(folder: Path, version: str, broken: str = "") -> Path:
    """This tree's edgeloop as a wheel of another version; broken on purpose in a named way."""
    path = folder / f"edgeloop-{version}-py3-none-any.whl"
    about = f"edgeloop-{version}.dist-info"
    files: dict[str, bytes] = {}
    for file in sorted(SOURCE.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            files[f"edgeloop/{file.relative_to(SOURCE)}"] = file.read_bytes()
    if broken:
        where, before, after = BROKEN[broken]
        text = files[f"edgeloop/{where}"].decode()
        assert text.count(before) == 1, where
        files[f"edgeloop/{where}"] = text.replace(before, after).encode()
    files[f"{about}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: edgeloop\nVersion: {version}\n".encode()
    )
    files[f"{about}/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = "".join(f"{name},,\n" for name in [*files, f"{about}/RECORD"])
    with zipfile.ZipFile(path, "w") as made:
        for name, data in {**files, f"{about}/RECORD": record.encode()}.items():
            made.writestr(name, data)
    return path


@dataclass
class Tale:
    """One device under its launcher, its control plane, and releases of the agent."""

    work: Path
    fleet: FleetClient
    factory: Factory
    made: int = 0
    draw: random.Random = field(default_factory=lambda: random.Random(11))

    @property
    def folder(self) -> Path:
        return self.work / "devices" / "d1"

    def release(self, broken: str = "") -> tuple[int, str]:
        """The rollout of another agent, and its version."""
        self.made += 1
        version = f"9.0.{self.made}"
        info = PayloadInfo(name="edgeloop-agent", payload="agent")
        bundle = keep(self.factory.store, info, [wheel(self.work, version, broken)])
        ref = self.factory.repository.publish(
            self.factory.store.layout.read(bundle.digest),
            name="edgeloop-agent", channel="stable", plan=PLAN, needs=info.needs,
        )  # fmt: skip
        return self.fleet.create_rollout(ref.name, ref.channel, ref.version).id, version

    @contextmanager
    def device(self) -> Iterator[Popen[bytes]]:
        line = [sys.executable, "-m", "edgeloop.agent.launcher", "--folder", self.folder]
        with child([*line, "--until-stdin-closes"], self.work / "d1.log") as process:
            yield process

    def until(self, happened: Callable[[], bool], process: Popen[bytes] | None = None) -> None:
        deadline = time.monotonic() + PATIENCE
        while not happened():
            assert time.monotonic() < deadline, (self.work / "d1.log").read_text()[-6000:]
            assert process is None or process.poll() is None, "the launcher ended"
            time.sleep(0.1)

    def over(self, rollout: int) -> Callable[[], bool]:
        return lambda: self.fleet.rollout(rollout).state.over

    @property
    def version(self) -> str:
        """Of the agent that reported last."""
        return self.fleet.devices()[0].agent_version

    @property
    def reason(self) -> str:
        jobs = self.fleet.rollouts()
        return self.fleet.rollout(jobs[-1].id).jobs[0].reason

    def follows(self) -> bool:
        report: Any = self.fleet.devices()[0].report
        return report is not None and bool(report.also)


@contextmanager
def opened(work: Path) -> Iterator[Tale]:
    factory = Factory(work, clock=SystemClock())
    (work / ".edgeloop").symlink_to(factory.store.folder)
    handler = {"kind": "agent", "within_seconds": WITHIN}
    with control_plane(work) as fleet:
        enrolled(
            work, fleet, "d1", site="here", model="sorter", report_seconds=0.5,
            follows=[{"name": "edgeloop-agent", "handler": handler}],
        )  # fmt: skip
        tale = Tale(work=work, fleet=fleet, factory=factory)
        with tale.device() as process:
            tale.until(tale.follows, process)
        yield tale


@pytest.fixture(scope="module")
def tale(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tale]:
    with opened(tmp_path_factory.mktemp("agent")) as made:
        yield made


def test_a_new_agent_takes_over_once_it_has_reported(tale: Tale) -> None:
    rollout, version = tale.release()
    with tale.device() as process:
        tale.until(tale.over(rollout), process)
        assert str(tale.fleet.rollout(rollout).jobs[0].state) == "SUCCEEDED", tale.reason
        tale.until(lambda: tale.version == version, process)
    pointer = launcher.read(tale.folder)
    assert (pointer.trying, bool(pointer.current)) == ("", True)
    with tale.device() as process:  # and it is this one that is started from then on
        told = tale.folder / "endpoint.json"
        tale.until(lambda: told.exists() and json.loads(told.read_text())["pid"] == process.pid)
        running = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")[0].decode()
        assert Path(running).parents[1].name == pointer.current


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("exits", "FAILED_ROLLBACK_COMPLETE: did not come to an end in 3 starts"),
        pytest.param(
            "hangs",
            f"FAILED_ROLLBACK_COMPLETE: did not report within {WITHIN:g} s",
            marks=pytest.mark.hard,
        ),
        ("mute", f"FAILED_ROLLBACK_COMPLETE: did not report within {WITHIN:g} s"),
        ("newer", "writes a newer format than this agent reads: progress.json"),
        pytest.param("no start", "No module named 'no_such_module'", marks=pytest.mark.hard),
    ],
)
def test_an_agent_that_is_broken_gives_way_to_the_one_before(
    tale: Tale, broken: str, reason: str
) -> None:
    before = tale.version
    rollout, _ = tale.release(broken)
    with tale.device() as process:
        tale.until(tale.over(rollout), process)
        assert reason in tale.reason
        assert tale.version == before


def killed(tale: Tale, times: int) -> None:
    """Kill launcher and agent at a random moment of each update; each still ends well."""
    for _ in range(times):
        rollout, version = tale.release()
        with tale.device() as process:
            time.sleep(tale.draw.uniform(0.2, LONGEST_LIFE))
            os.kill(process.pid, signal.SIGKILL)  # the one on trial dies with it
        with tale.device() as process:
            tale.until(tale.over(rollout), process)
            assert str(tale.fleet.rollout(rollout).jobs[0].state) == "SUCCEEDED", tale.reason
            tale.until(lambda version=version: tale.version == version, process)


def test_an_agent_that_is_killed_while_it_updates_itself_comes_to_an_end(tmp_path: Path) -> None:
    with opened(tmp_path) as tale:
        killed(tale, 2)


@pytest.mark.hard
def test_an_agent_that_is_killed_many_times_while_it_updates_itself(tmp_path: Path) -> None:
    with opened(tmp_path) as tale:
        killed(tale, 20)
        print(f"kills 20, agents released {tale.made}, devices without an agent 0")
