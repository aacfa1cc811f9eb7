"""The launcher alone: no disk, interpreter or signal leaves a device without an agent."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeloop.agent import launcher
from edgeloop.agent.launcher import Launcher, Pointer

BOTH = Pointer(current="old", trying="new")


class BecameError(Exception):
    """Ends a launcher where it would become an agent."""


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Interpreter and name of what a launcher became."""
    seen: list[tuple[str, str]] = []

    def execve(python: str, _command: object, told: dict[str, str]) -> None:
        seen.append((python, told[launcher.ENVIRONMENT]))
        raise BecameError

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.setattr(launcher, "PAUSE", 0)
    return seen


def environment(folder: Path, name: str, lines: str) -> str:
    python = folder / launcher.PLACES / name / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\n{lines}\n")
    python.chmod(0o755)
    return str(python)


def run(folder: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        with pytest.raises(BecameError):
            Launcher(folder, ["run"]).run()
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
            signal.signal(number, handler)


def fill(patch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    patch.setattr(os, "fsync", full)


def test_a_start_that_a_full_disk_cannot_count_is_not_made_and_the_current_one_runs(
    tmp_path: Path,
    became: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    old = environment(tmp_path, "old", "")
    environment(tmp_path, "new", f"touch {tmp_path}/tried")
    launcher.write(tmp_path, BOTH)
    fill(monkeypatch)
    run(tmp_path)
    assert became == [(old, "old")]
    assert not (tmp_path / "tried").exists()
    assert capsys.readouterr().err == (
        "launcher.unnoted environment=new fault=[Errno 28] No space left on device\n"
    )


def test_a_log_on_the_full_disk_keeps_no_agent_from_its_start(
    tmp_path: Path, became: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = environment(tmp_path, "old", "")
    launcher.write(tmp_path, BOTH)
    fill(monkeypatch)
    with Path("/dev/full").open("w", buffering=1, encoding="utf-8") as log:
        monkeypatch.setattr(sys, "stderr", log)
        run(tmp_path)
        with pytest.raises(OSError, match="No space"):
            log.flush()  # which is what it had to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), log.fileno())
    assert became == [(old, "old")]


@pytest.mark.parametrize(("starts", "tried"), [(launcher.MOST_STARTS, False), (0, True)])
def test_a_trial_that_ends_on_a_full_disk_gives_way_all_the_same(
    tmp_path: Path,
    became: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    starts: int,
    *,
    tried: bool,
) -> None:
    old = environment(tmp_path, "old", "")
    environment(tmp_path, "new", f"touch {tmp_path}/tried; exec sleep 60")
    launcher.write(tmp_path, replace(BOTH, starts=starts, within_seconds=0.5))
    real = launcher.write

    def write(folder: Path, pointer: Pointer) -> None:
        if not pointer.trying:  # it is full from here on
            raise OSError(errno.ENOSPC, "No space left on device")
        real(folder, pointer)

    monkeypatch.setattr(launcher, "write", write)
    run(tmp_path)
    assert became == [(old, "old")]
    assert (tmp_path / "tried").exists() is tried


def test_an_environment_without_its_interpreter_is_not_said_to_run(
    tmp_path: Path, became: list[tuple[str, str]]
) -> None:
    python = tmp_path / launcher.PLACES / "old" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(tmp_path / "python-that-was-replaced")
    launcher.write(tmp_path, Pointer(current="old"))
    run(tmp_path)
    assert became == [(sys.executable, "")]


def test_a_stop_between_two_starts_of_a_trial_is_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(tmp_path, "new", f"echo >> {tmp_path}/tried; exit 1")
    launcher.write(tmp_path, Pointer(trying="new"))
    one = Launcher(tmp_path, ["run"])
    monkeypatch.setattr(time, "sleep", lambda _: one._end(signal.SIGTERM, None))
    monkeypatch.setattr(launcher, "LOOKED_EACH", 0)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(one, "_try", lambda _: (tmp_path / "tried").write_text("1") and 1)
    assert one.run() == 0
    assert (tmp_path / "tried").read_text() == "1"


def test_a_stop_while_a_trial_is_started_reaches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(tmp_path, "new", "exec sleep 60")
    launcher.write(tmp_path, Pointer(trying="new"))
    one, real = Launcher(tmp_path, ["run"]), subprocess.Popen

    def popen(*told: Any, **more: Any) -> Any:
        one._end(signal.SIGTERM, None)
        return real(*told, **more)

    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert one.run() == -signal.SIGTERM
    assert launcher.read(tmp_path).starts == 0  # it did not crash


def test_an_agent_whose_launcher_was_killed_before_it_began_does_not_begin() -> None:
    lines = (
        "import sys; from edgeloop.agent.launcher import _die_with as die; die(int(sys.argv[1]))"
    )
    of = [subprocess.run([sys.executable, "-c", lines, str(pid)], check=False).returncode
          for pid in (os.getpid(), 0)]  # fmt: skip
    assert of == [0, 1]


def test_no_module_of_the_folder_that_it_is_started_in_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('planted')\n")
    seen: list[list[str]] = []
    monkeypatch.setattr(os, "execve", lambda _python, command, _told: seen.append(command))
    Launcher(tmp_path, ["formats"])._become("")
    subprocess.run(seen[0], cwd=tmp_path, check=True, capture_output=True)
