"""A socket of this machine's file system: for its owner alone, and never another program's."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from edgeloop.errors import PortInUseError, ProtocolError

PREFIX = "unix:"
LONGEST = 103  # bytes: the system takes 107, and a draft is named four longer
MODE = 0o600  # who may ask is who may open it
DRAFT = ".new"


def path_of(listen: str) -> Path | None:
    """The path of ``unix:/run/edgeloop/agent.sock``; None where it is another kind of address.

    Raises:
        ProtocolError: the path does not begin with ``/``, or is too long.
    """
    if not listen.startswith(PREFIX):
        return None
    path = listen.removeprefix(PREFIX)
    if not path.startswith("/") or "\0" in path or len(os.fsencode(path)) > LONGEST:
        raise ProtocolError(
            f"listen address {listen!r}",
            f"must be unix: and a path from / on, of at most {LONGEST} bytes",
            todo="Choose a shorter one, such as unix:/run/edgeloop/agent.sock",
        )
    return Path(path)


def bind(listener: socket.socket, path: Path) -> None:
    """Bind ``listener`` to ``path``; a socket that a killed agent left there is replaced.

    It gets its mode under another name, so that it is nobody else's for a moment.

    Raises:
        PortInUseError: somebody listens there, or it is no socket.
    """
    _free(path)
    draft = path.with_name(path.name + DRAFT)
    draft.unlink(missing_ok=True)
    listener.bind(str(draft))
    draft.chmod(MODE)
    draft.replace(path)


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
