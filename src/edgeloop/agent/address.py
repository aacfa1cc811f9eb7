"""The address on which an agent serves applications: loopback, unless it is told to be public."""

from __future__ import annotations

import re

from edgeloop.errors import ProtocolError

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
HIGHEST_PORT = 65_535
PORT = re.compile(r"[0-9]{1,5}")


def parted(listen: str, *, public: bool = False) -> tuple[str, int]:
    """Host and port of ``127.0.0.1:8080`` or ``[::1]:8080``; port 0 takes any that is free.

    ``public`` lets it be any host of this machine, such as ``0.0.0.0``.

    Raises:
        ProtocolError: the host is not this machine's own, or there is no such port.
    """
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    if public and host and PORT.fullmatch(port) and int(port) <= HIGHEST_PORT:
        return host, int(port)
    if host not in LOOPBACK or not PORT.fullmatch(port) or int(port) > HIGHEST_PORT:
        raise ProtocolError(
            f"listen address {listen!r}",
            f"must be loopback and a port of 0 to {HIGHEST_PORT}, such as 127.0.0.1:8080",
        )
    return host, int(port)
