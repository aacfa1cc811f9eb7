"""Start and stop a control plane of a folder as a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from pathlib import Path

from edgeloop.errors import (
    EdgeloopError,
    OverrideError,
    PortInUseError,
    UnreachableError,
    all_errors,
)
from edgeloop.fleet.client import FleetClient
from edgeloop.fleet.settings import DATABASE_VARIABLE, Settings, Tls
from edgeloop.types import Json

START_SECONDS = 60.0
STOP_SECONDS = 15.0
NUMBERED = re.compile(r"\[(E\d{3})\] (\S+) (.+)")  # an error of ours, as it is printed


def start(settings: Settings) -> Json:
    """Start a control plane that outlives this process; one that runs already is left alone.

    Gives its ``url`` and ``pid``.

    Raises:
        PortInUseError: another program listens on the port.
        OverrideError: the folder can be neither made nor written.
        EdgeloopError: what the new process ended with, where that is one of ours.
        UnreachableError: it did not come up; the end of its log is in the message.
    """
    running = _running(settings.folder)
    if running is not None:
        return running
    _make(settings.folder)
    log = settings.folder / "fleet.log"
    pid = _spawn(command(settings), log, {**os.environ, DATABASE_VARIABLE: settings.database})
    deadline = time.monotonic() + START_SECONDS
    while _alive(pid):
        running = _running(settings.folder)
        if running is not None and running["pid"] == pid:
            return running
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGTERM)
        time.sleep(0.05)
    raise _why(settings, log)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "fleet.log").open("a"):
            pass
    except OSError as error:
        rule = "must be a folder that can be written"
        raise OverrideError(f"--folder {folder}", rule, got=error.strerror) from error


def _spawn(line: list[str], log: Path, environment: dict[str, str]) -> int:
    """Start a process that outlives this one; gives its id."""
    write = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), write, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(line[0], line, environment, file_actions=files, setsid=True)


def command(settings: Settings) -> list[str]:
    """The command line of a control plane with these settings, all but its database."""
    return [
        sys.executable, "-m", "edgeloop.fleet",
        "--folder", str(settings.folder),
        "--repository", str(settings.repository),
        "--layout", str(settings.layout),
        "--host", settings.host,
        "--port", str(settings.port),
        "--poll-seconds", str(settings.poll_seconds),
        "--tick-seconds", str(settings.tick_seconds),
        *_tls(settings.tls),
    ]  # fmt: skip


def _tls(tls: Tls | None) -> list[str]:
    if tls is None:
        return []
    given = {"--tls-cert": tls.cert, "--tls-key": tls.key}
    options = [part for name, path in given.items() if path for part in (name, str(path))]
    names = (part for name in tls.names for part in ("--tls-name", name))
    return ["--tls", *options, *names, "--client-certificates", tls.clients.value]


def stop(folder: Path) -> bool:
    """End the control plane of a folder; False when none runs.

    Raises:
        UnreachableError: it did not end when it was asked.
    """
    running = _running(folder)
    if running is None:
        return False
    os.kill(running["pid"], signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while _alive(running["pid"]):
        if time.monotonic() > deadline:
            raise UnreachableError(
                f"control plane {running['pid']}",
                f"must end within {STOP_SECONDS:.0f} s of SIGTERM",
                todo="Look at fleet.log, then end it by its process id",
            )
        time.sleep(0.05)
    return True


def _running(folder: Path) -> Json | None:
    """What ``fleet.json`` says, when that process is alive and answers."""
    try:
        told = json.loads((folder / "fleet.json").read_bytes())
        if not _alive(told["pid"]):
            return None
        FleetClient.of_folder(folder).health()
    except (OSError, ValueError, KeyError, TypeError, UnreachableError):
        return None
    return told


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:  # somebody else's child: only its own parent can see it end
        return True


def _why(settings: Settings, log: Path) -> EdgeloopError:
    last = (log.read_text().strip().splitlines() or [""])[-1]
    if f"[{PortInUseError.number}]" in last:
        return PortInUseError(
            f"port {settings.port}",
            "must be free",
            got="another program on it",
            todo="Choose another with --port; 0 takes any free one",
        )
    found = NUMBERED.fullmatch(last)
    if found is not None:  # thing and rule are parted anywhere: the text is the same
        kind = next((one for one in all_errors() if one.number == found[1]), UnreachableError)
        return kind(found[2], found[3])
    thing = f"control plane of {settings.folder}"
    return UnreachableError(thing, "must come up", got=last, todo=f"See {log}")
