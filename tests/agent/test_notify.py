"""What a service manager hears from an agent, and the unit by which systemd runs it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.agent.test_agent_program import first_line, folder, start
from tests.agent.world import World

from edgeloop.agent.notify import Notifier

UNIT = Path(__file__).parents[2] / "examples" / "systemd" / "edgeloop-agent.service"
__all__ = ["folder"]  # the fixture of a device with release 1


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A service manager's socket, named in the environment."""
    with TemporaryDirectory() as place, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"{place}/notify")
        heard.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", f"{place}/notify")
        yield heard


def hear(manager: socket.socket, what: bytes) -> None:
    while manager.recv(100) != what:
        pass


def test_an_agent_says_that_it_is_ready_lives_and_ends(
    folder: Path, manager: socket.socket
) -> None:
    with start(folder) as process, ExitStack() as whatever_happens:
        whatever_happens.callback(process.kill)
        first_line(process)
        assert manager.recv(100) == b"READY=1"
        assert manager.recv(100) == b"WATCHDOG=1"
        hear(manager, b"WATCHDOG=1")  # and goes on saying so
        process.send_signal(signal.SIGTERM)
        hear(manager, b"STOPPING=1")
        assert process.wait(20) == 0


def test_an_agent_that_hangs_is_not_heard(world: World) -> None:
    """Signs of life come from the loop itself, so that a loop that stands still gives none."""
    heard: list[str] = []

    class Stop:
        def __init__(self) -> None:
            self.turns = 0

        def is_set(self) -> bool:
            self.turns += 1
            return self.turns > 3

        def set(self) -> None:
            pass

        def wait(self, _: float) -> bool:
            return True

    world.agent.run(Stop(), lambda: heard.append("alive"))  # type: ignore[arg-type]
    assert heard == ["alive"] * 3


def test_signs_of_life_are_sent_once_a_second_at_the_most(manager: socket.socket) -> None:
    times = iter([0.0, 0.5, 0.9, 1.0, 1.5])
    told = Notifier(os.environ["NOTIFY_SOCKET"], lambda: next(times))
    for _ in range(5):
        told.alive()
    told.stopping()
    assert [manager.recv(100) for _ in range(3)] == [b"WATCHDOG=1", b"WATCHDOG=1", b"STOPPING=1"]


def test_a_manager_that_is_gone_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = Notifier(str(tmp_path / "gone"))
    told.ready()
    told.stopping()
    assert [record.message for record in caplog.records] == [
        "notify.failed message=READY=1 fault=[Errno 2] No such file or directory"
    ]


def test_without_a_manager_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    Notifier("").ready()
    assert caplog.records == []


def test_the_unit_starts_the_program_that_there_is() -> None:
    (line,) = (row for row in UNIT.read_text().splitlines() if row.startswith("ExecStart="))
    program, *arguments = line.removeprefix("ExecStart=").split()
    assert program == "/opt/edgeloop/bin/python"
    assert arguments == ["-m", "edgeloop.agent", "run", "--folder", "/var/lib/edgeloop"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_finds_no_fault_in_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/edgeloop/bin/python", sys.executable))
    line = ["systemd-analyze", "verify", "--man=no", str(unit)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_the_unit_exposes_little_by_systemds_own_count() -> None:
    line = ["systemd-analyze", "security", "--offline=true", "--threshold=25", str(UNIT)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout[-200:]  # 19 as it stands; 92 without confinement
