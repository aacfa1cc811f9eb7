"""A socket of this machine's file system: for its owner or a group, never another program's."""

from __future__ import annotations

import grp
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from edgeloop.errors import PortInUseError, ProtocolError

PREFIX = "unix:"
LONGEST = 103  # bytes: the system takes 107, and a draft is named four longer
MODE, GROUP_MODE = 0o600, 0o660  # who may ask is who may open it
GROUP = "?group="
DRAFT = ".new"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a socket is, and the group whose members may ask; "" for its owner alone."""

    path: Path
    group: str = ""


def place_of(listen: str) -> Place | None:
    """The place of ``unix:/run/edgeloop/agent.sock``; None where it is another kind of address.

    ``?group=video`` behind the path names a group.

    Raises:
        ProtocolError: the path does not begin with ``/``, or is too long.
    """
    if not listen.startswith(PREFIX):
        return None
    path, _, group = listen.removeprefix(PREFIX).partition(GROUP)
    odd = listen.endswith(GROUP) or not path.startswith("/") or {"\0", "?"} & set(path)
    if odd or len(os.fsencode(path)) > LONGEST:
        raise ProtocolError(
            f"listen address {listen!r}",
            f"must be unix: and a path from / on, of at most {LONGEST} bytes without ?,"
            f" and {GROUP} with a group if one may ask",
            todo="Choose a shorter one, such as unix:/run/edgeloop/agent.sock",
        )
    return Place(path=Path(path), group=group)


def bind(listener: socket.socket, place: Place) -> None:
    """Bind ``listener`` to ``place``; a socket that a killed agent left there is replaced.

    It gets its mode under another name, so that it is nobody else's for a moment.

    Raises:
        PortInUseError: somebody listens there, or it is no socket.
        ProtocolError: there is no such group, or this agent's user is not in it.
    """
    _free(place.path)
    draft = place.path.with_name(place.path.name + DRAFT)
    draft.unlink(missing_ok=True)
    listener.bind(str(draft))
    if place.group:
        _give(draft, place.group)
    draft.chmod(GROUP_MODE if place.group else MODE)
    draft.replace(place.path)


def _give(draft: Path, group: str) -> None:
    try:
        os.chown(draft, -1, grp.getgrnam(group).gr_gid)
    except (KeyError, PermissionError) as fault:
        draft.unlink()
        raise ProtocolError(
            f"group {group!r}",
            "must be one of this system that the agent's user is in",
            got="no such group" if isinstance(fault, KeyError) else fault.strerror,
        ) from fault


def _free(path: Path) -> None:
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if is_socket and not _is_heard(path):
        return
    got = "another program on it" if is_socket else "a file that is no socket"
    raise PortInUseError(f"socket {path}", "must be free", got=got, todo="Choose another path")


def _is_heard(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(1)
        try:
            asking.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:  # a queue that is full, or not ours to open: somebody's
            return True
    return True
