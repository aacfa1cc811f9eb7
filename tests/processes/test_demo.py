"""The demo as a new user runs it: real processes, killed on the way, and judged by itself.

One test, because each part goes on from the one before: a training takes longer than all else.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgeloop.errors import UnreachableError
from edgeloop.fleet.client import FleetClient
from edgeloop.store.artifacts import Store

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "examples" / "digits" / "demo.py"
LONGEST = 400.0  # seconds; a run takes about 200 on two cores


def start(work: Path, *options: str) -> subprocess.Popen[bytes]:
    log = (work.parent / "demo.log").open("ab")
    with log:
        return subprocess.Popen(
            [sys.executable, str(DEMO), "--work", str(work), *options],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL,
        )  # fmt: skip


def until(happened: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + LONGEST
    while not happened():
        assert process.poll() is None, "the demo ended early"
        assert time.monotonic() < deadline
        time.sleep(0.2)


def actions(work: Path) -> list[str]:
    """What the audit log of a running control plane says; empty while it does not answer."""
    try:
        return [line.action for line in FleetClient.of_folder(work / "fleet").audit()]
    except UnreachableError:
        return []


def processes_of(work: Path) -> Iterator[str]:
    """Command lines of processes that work in the demo's folder."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has just ended
            continue
        if str(work) in line and int(path.parent.name) != os.getpid():
            yield line


def nothing_left(work: Path) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not list(processes_of(work)):
            return True
        time.sleep(0.2)
    return False


def steps(work: Path) -> dict[str, str]:
    """Step key -> artifact of every deterministic step behind release 1 and 2."""
    store = Store(work / ".edgeloop")
    made = [a for a in store.artifacts() if a.kind in {"snapshot", "model", "bundle"}]
    return {a.made_by.key: a.digest for a in made if a.made_by.plugin != "source/field.v1"}


def test_the_demo_survives_a_kill_fails_without_its_trigger_and_then_tells_all_ten_points(
    tmp_path: Path,
) -> None:
    work = tmp_path / "demo-work"
    killed = start(work)
    try:
        until(lambda: "job.succeeded" in actions(work), killed)
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    assert nothing_left(work), list(processes_of(work))
    before = steps(work)

    assert start(work, "--no-trigger", "--patience", "45").wait(LONGEST) == 1
    log = (tmp_path / "demo.log").read_text()
    assert "the trigger must start a rollout" in " ".join(log.split())
    assert nothing_left(work), list(processes_of(work))

    assert start(work).wait(LONGEST) == 0, (tmp_path / "demo.log").read_text()[-4000:]
    assert nothing_left(work), list(processes_of(work))
    told = steps(work)
    assert before.items() <= told.items()
    page = (work / "report.html").read_text()
    assert page.count("<svg") >= 8
    assert "http://" not in page.replace("http://www.w3.org/", "")

    assert start(work).wait(LONGEST) == 0
    assert steps(work) == told
    points = json.loads((work / "points.json").read_text())
    assert [point["happened"] for point in points] == [True] * 10
