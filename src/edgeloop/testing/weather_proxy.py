"""Bad weather on a real wire: a proxy on this machine that spoils what passes, as ``weather`` says.

It knows as much of HTTP/1.1 as agents and control planes of ours speak: bodies with a length.
"""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from edgeloop.testing.weather import Fault, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeloop.clock import Clock
    from edgeloop.testing.weather import Weather

TIMEOUT = 30.0  # seconds
RESET = struct.pack("ii", 1, 0)  # a socket that is closed so says RST, not FIN
HOPS = frozenset({"connection", "keep-alive", "transfer-encoding"})


@dataclass(frozen=True, kw_only=True)
class _Asked:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class _Said:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@contextmanager
def blowing(server: str, weather: Weather, clock: Clock) -> Iterator[str]:
    """The address of a proxy to ``server`` (``http://host:port``), until the block ends."""
    handler = type("Handler", (_Handler,), {"wire": _Wire(server, weather, clock)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        proxy.daemon_threads = True
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{proxy.server_port}"
        finally:
            proxy.shutdown()
            thread.join()


class _Wire:
    """What is behind the proxy, and what is still on its way there."""

    def __init__(self, server: str, weather: Weather, clock: Clock) -> None:
        self._where, self.weather, self.clock = urlsplit(server).netloc, weather, clock
        self._late: list[tuple[int, _Asked]] = []  # how many may still overtake it
        self._lock = threading.Lock()

    def passed(self, asked: _Asked) -> _Said:
        with closing(http.client.HTTPConnection(self._where, timeout=TIMEOUT)) as wire:
            wire.request(asked.method, asked.path, asked.body or None, dict(asked.headers))
            reply = wire.getresponse()
            body = reply.read()
            headers = tuple(one for one in reply.getheaders() if one[0].lower() not in HOPS)
            return _Said(status=reply.status, headers=headers, body=body)

    def lost(self, asked: _Asked) -> None:
        """It arrives; nobody hears what is said to it."""
        with suppress(OSError, http.client.HTTPException):
            self.passed(asked)

    def late(self, asked: _Asked, overtaken: int) -> None:
        with self._lock:
            self._late.append((overtaken + 1, asked))

    def overtake(self) -> None:
        with self._lock:
            late = [(left - 1, asked) for left, asked in self._late]
            self._late = [(left, asked) for left, asked in late if left > 0]
        for left, asked in late:
            if left == 0:
                self.lost(asked)


class _Handler(BaseHTTPRequestHandler):
    """One connection of an agent."""

    wire: _Wire
    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT

    def do_GET(self) -> None:
        """Pass it on, as the weather lets it."""
        length = int(self.headers.get("Content-Length") or 0)
        headers = {n: v for n, v in self.headers.items() if n.lower() not in HOPS}
        body = self.rfile.read(length)
        asked = _Asked(method=self.command, path=self.path, headers=headers, body=body)
        fault = self.wire.weather.next()
        try:
            self._spoil(asked, fault)
        except (OSError, http.client.HTTPException):
            self._reset()
        finally:
            self.wire.overtake()

    do_POST = do_GET  # noqa: N815  (as the library calls it)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the library's name)
        """Say nothing."""

    def _spoil(self, asked: _Asked, fault: Fault | None) -> None:
        kind = fault and fault.kind
        if fault is None:
            self._reply(self.wire.passed(asked))
        elif kind in {Kind.CUT, Kind.RESET, Kind.REORDERED}:
            self._keep_from(asked, fault)
        elif kind is Kind.REFUSED:
            if fault.early:
                self.wire.lost(asked)
            page = (("Content-Length", "3"), ("Content-Type", "text/plain"))
            self._reply(_Said(status=fault.status, headers=page, body=b"no\n"))
        else:
            self._reply(*self._changed(asked, fault))

    def _keep_from(self, asked: _Asked, fault: Fault) -> None:
        if fault.kind is Kind.REORDERED:
            self.wire.late(asked, fault.overtaken)
        elif fault.kind is Kind.RESET:
            self.wire.lost(asked)
        self._reset()

    def _changed(self, asked: _Asked, fault: Fault) -> tuple[_Said, bytes]:
        """What was said, and what of it is sent: its headers stay as they are."""
        if fault.kind is Kind.DELAYED:
            self.wire.clock.sleep(fault.seconds)
        elif fault.kind is Kind.GARBLED:
            body = fault.flipped(asked.body)
            asked = _Asked(
                method=asked.method, path=asked.path, headers=asked.headers, body=body
            )  # fmt: skip
        said = self.wire.passed(asked)
        if fault.kind is Kind.DUPLICATED:
            again = self.wire.passed(asked)
            said = said if fault.early else again
        if fault.kind is Kind.TRUNCATED:
            return said, said.body[: int(fault.place * len(said.body))]
        if fault.kind is Kind.CORRUPTED:
            return said, fault.flipped(said.body)
        if fault.kind is Kind.WRONG_LENGTH:
            return said, fault.lengthened(said.body)
        return said, said.body

    def _reply(self, said: _Said, body: bytes | None = None) -> None:
        sent = said.body if body is None else body
        self.send_response_only(said.status)
        for name, value in said.headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(sent)
        if len(sent) != len(said.body):  # whoever waits for the rest must not wait for ever
            self._reset()

    def _reset(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.connection.close()
