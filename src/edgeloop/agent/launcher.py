"""Start the agent in the environment that one file names; a new one on trial, with a way back.

``python -m edgeloop.agent.launcher --folder FOLDER`` is what a supervisor starts. It stays what it
was when the device was set up, uses nothing but Python itself, and reads ``environment.json``:
which environment is current ("" is the launcher's own), and which one is on trial. A trial is a
child of the launcher's; it ends when the new agent says in that file that it has reported to the
control plane. One that crashes ``MOST_STARTS`` times, power cuts counted, or does not report in
time gives way to the current one. A start that cannot be counted, as on a full disk, is not made:
the current one runs, and asks again. Outside a trial the launcher becomes the agent.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path

FORMAT = 1
FILE, PLACES = "environment.json", "environments"
ENVIRONMENT, LAUNCHER = "EDGELOOP_ENVIRONMENT", "EDGELOOP_LAUNCHER"
WATCHED, ALONE = "watched", "alone"  # whether the launcher waits behind the agent
AGAIN = 75  # exit status of a watched agent that wants to be started anew
MOST_STARTS = 3
LOOKED_EACH, PAUSE, GRACE = 0.2, 0.5, 10.0  # seconds
DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux
SAFE = ("-P",)  # no module of the folder that it happens to be started in


@dataclass(frozen=True, kw_only=True)
class Pointer:
    """``environment.json``. Names are those of folders under ``environments``."""

    format: int = FORMAT
    current: str = ""  # "" is the launcher's own
    trying: str = ""  # "" is none
    starts: int = 0  # of the one on trial
    within_seconds: float = 300.0  # from its start until it must have reported
    returned: str = ""  # the newest that gave way
    reason: str = ""


def read(folder: Path) -> Pointer:
    """The pointer of an agent's folder; without one, or a whole one, the launcher's own counts."""
    try:
        told = json.loads((folder / FILE).read_bytes())
        known = {one.name for one in fields(Pointer)}
        return Pointer(**{name: value for name, value in told.items() if name in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return Pointer()


def write(folder: Path, pointer: Pointer) -> None:
    """Replace the pointer: one rename, synced before and after."""
    draft = folder / f".{FILE}.new"
    with draft.open("wb") as stream:
        stream.write(json.dumps(asdict(pointer)).encode())
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(folder / FILE)
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def python_of(folder: Path, name: str) -> Path:
    """The interpreter of an environment; "" is the launcher's own."""
    return folder / PLACES / name / "bin" / "python" if name else Path(sys.executable)


def startable(folder: Path, name: str) -> bool:
    """Whether there is an interpreter; a system's new Python can leave a link to none."""
    return os.access(python_of(folder, name), os.X_OK)


class Launcher:
    """Of one folder; ``arguments`` are the agent's."""

    def __init__(self, folder: Path, arguments: Sequence[str]) -> None:
        self._folder, self._arguments = folder, tuple(arguments)
        self._child: subprocess.Popen[bytes] | None = None
        self._ending = False
        self._noted = True  # False: the disk took no pointer

    def run(self) -> int:
        """Become the current agent, or watch the one on trial; gives the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        while not self._ending and (pointer := self._counted()) is not None:
            status = self._try(pointer)
            after = read(self._folder)
            if self._ending and after.trying:
                self._note(replace(after, starts=max(0, after.starts - 1)))
            if self._ending or (after.current == pointer.trying and status != AGAIN):
                return status
            time.sleep(PAUSE)
        return 0 if self._ending else self._become(read(self._folder).current)

    def _counted(self) -> Pointer | None:
        """The trial whose next start is counted; None: none is to be tried, or can be counted."""
        pointer = read(self._folder)
        if not pointer.trying or not self._noted:
            return None
        if pointer.starts >= MOST_STARTS:
            self._give_up(pointer, f"did not come to an end in {pointer.starts} starts")
            return None
        self._note(replace(pointer, starts=pointer.starts + 1))
        return pointer if self._noted else None

    def _note(self, pointer: Pointer) -> None:
        """No disk keeps a device without an agent."""
        try:
            write(self._folder, pointer)
        except OSError as fault:
            self._noted = False
            _say(f"launcher.unnoted environment={pointer.trying} fault={fault}")

    def _become(self, name: str) -> int:
        """That environment, or, where it cannot be started, the launcher's own, which is told."""
        started = name if startable(self._folder, name) else ""
        python = str(python_of(self._folder, started))
        os.execve(python, self._command(python), self._environment(started, ALONE))  # noqa: S606

    def _try(self, pointer: Pointer) -> int:
        """Until it ends; or is ended, when it has not reported in time."""
        python = python_of(self._folder, pointer.trying)
        started = time.monotonic()
        try:
            self._child = subprocess.Popen(
                self._command(str(python)),
                env=self._environment(pointer.trying, WATCHED),
                start_new_session=True,
                preexec_fn=partial(_die_with, os.getpid()),  # noqa: PLW1509  (it has one thread)
            )
        except OSError:  # its interpreter is not there: as one that crashes
            return 1
        if self._ending:  # asked before there was somebody to pass it on to
            self._child.terminate()
        while self._child.poll() is None:
            if read(self._folder).trying != pointer.trying:  # it has reported, or goes back
                self._child.wait()
            elif time.monotonic() - started > pointer.within_seconds:
                self._kill(self._child)
                self._give_up(pointer, f"did not report within {pointer.within_seconds:g} s")
            else:
                time.sleep(LOOKED_EACH)
        return self._child.returncode

    def _give_up(self, pointer: Pointer, reason: str) -> None:
        back = replace(pointer, trying="", starts=0, returned=pointer.trying, reason=reason)
        self._note(back)
        _say(f"launcher.returned environment={pointer.trying} reason={reason}")

    def _kill(self, child: subprocess.Popen[bytes]) -> None:
        child.terminate()
        try:
            child.wait(GRACE)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()

    def _end(self, number: int, _frame: object) -> None:
        self._ending = True
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)

    def _command(self, python: str) -> list[str]:
        return [python, *SAFE, "-m", "edgeloop.agent", *self._arguments]

    def _environment(self, name: str, how: str) -> dict[str, str]:
        again = [sys.executable, *SAFE, "-m", "edgeloop.agent.launcher", *sys.argv[1:]]
        told = {"how": how, "command": again, "python": sys.executable}
        kept = dict(os.environ)
        if name:
            kept.pop("PYTHONPATH", None)  # it goes before what an environment brings
        return {**kept, ENVIRONMENT: name, LAUNCHER: json.dumps(told)}


def _say(line: str) -> None:
    """Whoever listens may be a file on the full disk."""
    with suppress(OSError):
        sys.stderr.write(f"{line}\n")


def _die_with(parent: int) -> None:
    """A launcher that is killed, a moment ago even, leaves no agent that would hold the folder."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def main(arguments: Sequence[str]) -> int:
    """``--folder FOLDER``, and what else ``run`` takes."""
    if len(arguments) < 2 or arguments[0] != "--folder":
        sys.stderr.write("usage: python -m edgeloop.agent.launcher --folder FOLDER [RUN OPTIONS]\n")
        return 2
    return Launcher(Path(arguments[1]), ["run", *arguments]).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
