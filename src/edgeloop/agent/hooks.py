"""Run the programs that this device's owner put beside an update: ``hooks/before-trying`` ...

Before the work of a state: exit status 0 goes on, 75 says "not now", anything else refuses. After
it: told, and no status changes anything. They come from the device's folder and never from a
bundle, and one that others could have written is not run.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import stat
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeloop.agent.states import BUSY
from edgeloop.errors import HookError
from edgeloop.protocol.messages import State

if TYPE_CHECKING:
    from edgeloop.types import Json

logger = logging.getLogger(__name__)

FOLDER = "hooks"
NOT_NOW = 75  # EX_TEMPFAIL of sysexits.h
SECONDS = 60.0  # that one may take
ASKED = (State.DOWNLOADING, State.VERIFYING, State.INSTALLING, State.TRYING)
NAMES = frozenset({f"before-{state}" for state in ASKED} | {f"after-{state}" for state in BUSY})
KEPT = ("PATH", "HOME", "LANG", "TZ")  # of the agent's own environment
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
STDERR = 2  # where an agent logs; its stdout is for results


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """The hooks of a device's folder; without the folder ``hooks`` there are none."""

    folder: Path
    seconds: float = SECONDS

    def unknown(self) -> list[str]:
        """Names in the folder that no move has, such as those that are spelt wrong."""
        place = self.folder / FOLDER
        return sorted({one.name for one in place.iterdir()} - NAMES) if place.is_dir() else []

    def before(self, state: State, about: Mapping[str, Json]) -> bool:
        """Ask before the work of ``state``: whether it may go on now.

        Raises:
            HookError: the hook refused, did not end in time, or may not be run.
        """
        status = self._run(f"before-{state}", about)
        if status not in {0, NOT_NOW}:
            name = f"before-{state}"
            raise HookError(
                f"hook {name}",
                f"must end with status 0, or with {NOT_NOW} for not now",
                got=status,
                todo="The update was refused; the device keeps the slot that it has",
            )
        return status == 0

    def after(self, state: State, about: Mapping[str, Json]) -> None:
        """Tell that the work of ``state`` is over. Never raises."""
        try:
            status = self._run(f"after-{state}", about)
        except HookError as fault:
            logger.warning("hook.failed fault=%s", fault)
        else:
            if status:
                logger.warning("hook.failed name=after-%s status=%d", state, status)

    def _run(self, name: str, about: Mapping[str, Json]) -> int:
        """Its exit status; 0 where there is none."""
        path = self.folder / FOLDER / name
        try:
            if not path.is_symlink() and not path.exists():
                return 0
            check(path)
            return _ended(name, path, about, self.seconds)
        except OSError as fault:  # gone since it was looked for; or a folder that is closed
            raise HookError(f"hook {name}", "must be readable", got=fault.strerror) from fault


def check(path: Path) -> None:
    """Return when nobody but this agent's user or root can have written a hook.

    Raises:
        HookError: it or its folder is of, or writable by, others; it is no plain file of its own,
            or cannot be executed.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise HookError(f"hook {path.name}", "must be a plain file, and no link to one")
    for place in (path.parent, path):
        about = place.lstat()
        if about.st_uid not in {0, os.geteuid()} or about.st_mode & OTHERS_WRITE:
            raise HookError(
                f"{place.name if place == path.parent else f'hook {path.name}'}",
                "must belong to the agent's user or to root, and be writable by nobody else",
                got=f"owner {about.st_uid}, mode {stat.S_IMODE(about.st_mode):04o}",
                todo="Run `chmod go-w` on it, once you have looked at what it says",
            )
    if not os.access(path, os.X_OK):
        raise HookError(f"hook {path.name}", "must be one that can be executed")


def _ended(name: str, path: Path, about: Mapping[str, Json], seconds: float) -> int:
    try:
        process = subprocess.Popen(
            [str(path.resolve())],
            stdin=subprocess.PIPE,
            stdout=STDERR,
            stderr=STDERR,
            cwd=path.parent,
            env=_environment(about),
            start_new_session=True,  # a group of its own, so that all of it can be ended
        )
    except OSError as fault:
        raise HookError(f"hook {name}", "must be a program", got=fault.strerror) from fault
    try:
        process.communicate(json.dumps(about).encode(), timeout=seconds)
    except subprocess.TimeoutExpired as fault:
        raise HookError(f"hook {name}", f"must end within {seconds:g} s") from fault
    finally:
        _end(process)
    return process.returncode


def _end(process: subprocess.Popen[bytes]) -> None:
    """A hook that is late goes, with whatever it started in its group."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _environment(about: Mapping[str, Json]) -> dict[str, str]:
    """A little of the agent's own, and what is told, flat."""
    own = {name: os.environ[name] for name in KEPT if name in os.environ}
    plain = {k: v for k, v in about.items() if isinstance(v, str | int | float)}
    return own | {f"EDGELOOP_{name.upper()}": str(value) for name, value in plain.items()}
