"""Run a command of the device's owner: bounded in time, its output kept, its group ended by id."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO

from edgeloop.errors import HandlerError

KEPT = 64 << 10  # bytes of output; the newest
SHOWN = 1024  # characters of it in a message
LOOKED_EACH = 0.05  # seconds
CONTROL = dict.fromkeys((*range(32), *range(127, 160)), " ")
PASSED_ON = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "XDG_RUNTIME_DIR", "DBUS_SYSTEM_BUS_ADDRESS")


class InterruptedCommandError(Exception):
    """The agent ends, and a command with it; nothing is known of what the command would give."""


class Commands:
    """Runs commands until :meth:`end` is called by another thread."""

    def __init__(self) -> None:
        self._end = threading.Event()

    def end(self) -> None:
        """End what runs, and whatever is run later."""
        self._end.set()

    def run(
        self, thing: str, command: Sequence[str], environment: Mapping[str, str], timeout: float
    ) -> str:
        """The end of what it printed. ``environment`` is beside a few variables of the agent's own.

        Raises:
            HandlerError: it is not there, failed, or took longer than ``timeout`` seconds.
            InterruptedCommandError: the agent ends.
        """
        try:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=_passed_on() | dict(environment),
                start_new_session=True,  # a group of its own, so that all of it can be ended
            )
        except OSError as fault:
            raise HandlerError(thing, "must be there to run", got=fault.strerror) from fault
        except ValueError as fault:  # a NUL byte, in a word or a variable
            raise HandlerError(
                thing, "must be told what a program can be told", got=fault
            ) from fault
        with process:
            try:
                said = self._listen(process, timeout)
            finally:
                _end_group(process)
        told = f"It said: {said.text[-SHOWN:] or 'nothing'}"
        if said.late:
            raise HandlerError(thing, f"must end within {timeout:g} s", todo=told)
        if process.returncode != 0:
            raise HandlerError(thing, "must end with status 0", got=process.returncode, todo=told)
        return said.text

    def _listen(self, process: subprocess.Popen[bytes], timeout: float) -> _Said:
        """Read until it has ended, or must. What it left running may keep its output open."""
        said, deadline = _Said(), time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            if process.stdout is not None:
                selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                ended = process.poll() is not None
                ready = selector.select(0 if ended else LOOKED_EACH)
                more = bool(ready) and said.read(process.stdout)
                if ended and not more:
                    return said
                if ready and not more and process.stdout is not None:  # closed, and it goes on
                    selector.unregister(process.stdout)
                if self._end.is_set():
                    raise InterruptedCommandError
                if time.monotonic() > deadline:
                    said.late = not ended
                    return said


def one_line(text: str) -> str:
    """Without what neither a variable of a program nor a database takes."""
    return " ".join(text.translate(CONTROL).split())


class _Said:
    """The newest of what a command printed."""

    def __init__(self) -> None:
        self._kept, self.late = b"", False

    def read(self, pipe: IO[bytes] | None) -> bool:
        """Read what there is; False at its end."""
        came = os.read(pipe.fileno(), KEPT) if pipe else b""
        self._kept = (self._kept + came)[-KEPT:]
        return bool(came)

    @property
    def text(self) -> str:
        """On one line, so that it fits a message."""
        return one_line(self._kept.decode(errors="replace"))


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """What a command that did not end by itself has started ends with it."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _passed_on() -> dict[str, str]:
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ}
