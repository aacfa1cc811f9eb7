"""Which process works in an agent's folder: one at a time, for as long as it lives."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import IO

from edgeloop.errors import AgentFolderError

LOCK = "lock"  # locked while an agent runs; holds its process id


def hold(folder: Path) -> IO[bytes]:
    """Hold a folder; closing what is returned lets it go, and so does the end of the process.

    Raises:
        AgentFolderError: another agent holds it.
    """
    handle = (folder / LOCK).open("a+b")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as fault:
        pid = _pid(handle)
        handle.close()
        raise AgentFolderError(
            f"agent folder {folder}",
            "must be used by one agent",
            got=None if pid is None else f"one that runs already, process {pid}",
            todo="End the other one, or give this one a folder of its own",
        ) from fault
    with suppress(OSError):  # a full disk: the lock holds all the same, only the number is missing
        os.ftruncate(handle.fileno(), 0)
        os.write(handle.fileno(), str(os.getpid()).encode())
    return handle


def running(folder: Path) -> tuple[bool, int | None]:
    """Whether an agent works in ``folder`` now, and its process id where it is known.

    The lock tells, not the number: a process that was killed leaves its number behind.
    """
    try:
        handle = (folder / LOCK).open("rb")
    except FileNotFoundError:  # no agent ever ran here
        return False, None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True, _pid(handle)
    return False, None


def _pid(handle: IO[bytes]) -> int | None:
    handle.seek(0)
    told = handle.read(20)
    return int(told) if told.isdigit() else None
