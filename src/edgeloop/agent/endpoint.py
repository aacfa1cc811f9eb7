"""Serve an agent's applications over HTTP; ``oip`` says what the paths are, beside ``/metrics``.

On loopback, unless it is told to be public. A POST says ``Content-Type: application/json``, and no
web page of another origin may ask. Every error is ``{"error": "...", "number": "E..."}``.
"""

from __future__ import annotations

import errno
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from edgeloop.agent import address, metrics, oip, unix_socket
from edgeloop.agent.address import LOOPBACK
from edgeloop.agent.inflight import InFlight
from edgeloop.errors import (
    EdgeloopError,
    InputMismatchError,
    ModelError,
    NoSlotError,
    NotFoundError,
    PortInUseError,
    PostponeError,
    ProtocolError,
)

if TYPE_CHECKING:
    from edgeloop.agent.agent import Agent
    from edgeloop.types import Json

logger = logging.getLogger(__name__)

LARGEST_BODY = 32 << 20  # bytes
LENGTH = re.compile(r"[0-9]{1,12}")
READ_SECONDS = 30.0
GRACE_SECONDS = 10.0  # for requests that are being answered when the agent ends
STATUS: dict[type[EdgeloopError], int] = {
    InputMismatchError: 400,
    ProtocolError: 400,
    NotFoundError: 404,
    PostponeError: 409,
    ModelError: 500,
    NoSlotError: 503,
}


@contextmanager
def serving(agent: Agent, listen: str, *, public: bool = False) -> Iterator[str]:
    """Serve ``agent`` on ``listen`` (``127.0.0.1:8080``, ``[::1]:8080``); gives the address.

    ``unix:/run/edgeloop/agent.sock`` is a socket that its owner alone may open. Port 0 takes any
    that is free. ``public`` lets it be any host of this machine, which whoever reaches may ask: TLS
    and who may ask what are a proxy's. At the end requests that are being answered get their
    answer.

    Raises:
        ProtocolError: the address is not this machine's own, or has no such port.
        PortInUseError: another program listens there.
    """
    in_flight = InFlight()
    server, shown = _listening(agent, in_flight, listen, public=public)
    thread = threading.Thread(
        target=server.serve_forever, name="endpoint", kwargs={"poll_interval": 0.2}
    )
    thread.start()
    try:
        yield shown
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        if left := in_flight.wait(GRACE_SECONDS):
            logger.warning("end.failed unanswered=%d seconds=%g", left, GRACE_SECONDS)


def _listening(
    agent: Agent, in_flight: InFlight, listen: str, *, public: bool
) -> tuple[ThreadingHTTPServer, str]:
    """A server, and the address by which applications ask it."""
    place = unix_socket.place_of(listen)
    if place is not None:  # no browser comes this way, by whatever name an application asks
        handler = _handler(agent, in_flight, public=True)
        handler.disable_nagle_algorithm = False  # which is TCP's
        return _UnixServer(place, handler), f"{unix_socket.PREFIX}{place.path}"
    host, port = address.parted(listen, public=public)
    try:
        server = _server(host)((host, port), _handler(agent, in_flight, public=public))
    except OSError as fault:
        if fault.errno != errno.EADDRINUSE:
            raise
        raise PortInUseError(
            f"address {listen}", "must be free", todo="Choose another port, or 0 for any"
        ) from fault
    shown = f"[{host}]" if ":" in host else host
    return server, f"http://{shown}:{server.server_port}"


def _server(host: str) -> type[ThreadingHTTPServer]:
    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True
        request_queue_size = 128

    return Server


class _UnixServer(ThreadingHTTPServer):
    """Listens on a path; at its end the path is free."""

    address_family = socket.AF_UNIX
    daemon_threads = True
    request_queue_size = 128
    _ours = False  # whether the path is

    def __init__(self, place: unix_socket.Place, handler: type[BaseHTTPRequestHandler]) -> None:
        self._place = place
        super().__init__((str(place.path), 0), handler)

    def server_bind(self) -> None:
        unix_socket.bind(self.socket, self._place)
        self.server_name, self.server_port, self._ours = "localhost", 0, True

    def server_close(self) -> None:
        if self._ours:  # while nobody else can take it: it is still listened on
            self._place.path.unlink(missing_ok=True)
        super().server_close()


def _handler(agent: Agent, in_flight: InFlight, *, public: bool) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        the_agent, open_to_all = agent, public
        meter, running = metrics.Meter(), in_flight

    return Handler


class _Handler(BaseHTTPRequestHandler):
    """One request. Every reply is JSON, but for the metrics and an answer in pieces."""

    protocol_version = "HTTP/1.1"
    timeout = READ_SECONDS
    disable_nagle_algorithm = True  # head and body are two packets: the second would wait 40 ms
    the_agent: Agent
    open_to_all: bool
    meter: metrics.Meter
    running: InFlight

    def do_GET(self) -> None:
        with self.running:
            self._send(*self._outcome())

    # the library's names; what a path does not take is refused as JSON too
    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_HEAD = do_GET  # noqa: N815

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the library refuses before it asks us: a broken head, a method of nobody's."""
        del explain
        self._send(code, _said(ProtocolError("request", "must be HTTP/1.1", got=message)), {})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the library's name)
        """The journal logs answers; a line per request would say it twice."""

    def _outcome(self) -> tuple[int, Json, dict[str, str]]:
        """Status, body, and headers of its own."""
        headers = dict(self.headers.items())
        refused = refusal(self.command, headers, public=self.open_to_all)
        if refused is not None:
            return refused[0], _said(refused[1]), {}
        path, began = self.path.partition("?")[0], time.perf_counter()
        infers = path.endswith(("/infer", "/generate_stream"))
        try:
            outcome = self._answer(path)
        except EdgeloopError as fault:
            if infers:
                self.meter.failed(fault.number)
            status = next((s for kind, s in STATUS.items() if isinstance(fault, kind)), 500)
            return status, _said(fault), {}
        if infers and outcome[0] == 200 and not isinstance(outcome[1], Generator):
            self.meter.answered(time.perf_counter() - began)
        return outcome

    def _answer(self, path: str) -> tuple[int, Json, dict[str, str]]:
        if path == metrics.PATH and self.command == "GET":
            text = self.meter.written(self.the_agent)
            return 200, text, {"Content-Type": metrics.CONTENT_TYPE}
        route = oip.find(path, self.the_agent.settings.model)
        if self.command != route.method:
            rule = f"must be asked with {route.method}"
            fault = ProtocolError(f"path {path}", rule, got=self.command)
            return 405, _said(fault), {"Allow": route.method}
        body = self._body() if route.method == "POST" else {}
        return 200, route.work(self.the_agent, route.version, body), {}

    def _send(self, status: int, said: Json, about: Mapping[str, str]) -> None:
        if isinstance(said, Generator):
            self._send_events(said)
            return
        data = (said if isinstance(said, str) else json.dumps(said)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in {"Content-Type": "application/json", **about}.items():
            self.send_header(name, value)
        if status != 200:  # the body may not have been read
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _send_events(self, events: Generator[str]) -> None:
        """Each as it comes; a client that goes stops the model. The connection ends with them."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        began = time.perf_counter()
        with closing(events), suppress(ConnectionError, TimeoutError):
            for event in events:
                self.wfile.write(event.encode())
            self.meter.answered(time.perf_counter() - began)

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "")
        if not LENGTH.fullmatch(length) or int(length) > LARGEST_BODY:
            raise ProtocolError(
                "request body", f"must have a length of at most {LARGEST_BODY} bytes", got=length
            )
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as fault:
            raise ProtocolError("request body", "must be JSON", got=fault) from fault
        if not isinstance(body, dict):
            raise ProtocolError("request body", "must be a JSON object")
        return body


def refusal(
    method: str, headers: Mapping[str, str], *, public: bool = False
) -> tuple[int, EdgeloopError] | None:
    """Status and error for what a web page made a browser send here; None when there is none.

    A page can send a simple POST to any address without asking first, but never one of JSON. To a
    ``public`` endpoint anybody may come by any name, and still no page of another origin.
    """
    loopback = "must name this machine by loopback"
    host, origin = headers.get("Host", ""), headers.get("Origin")
    if not public and not _is_loopback(f"//{host}"):
        return 400, ProtocolError("header Host", loopback, got=repr(host))
    if origin is not None and not _is_loopback(origin) and not public:
        return 403, ProtocolError("header Origin", loopback, got=repr(origin))
    if public and origin is not None and origin.partition("//")[2] != host:
        return 403, ProtocolError("header Origin", f"must be of {host}", got=repr(origin))
    kind = headers.get("Content-Type", "")
    if method == "POST" and kind.partition(";")[0].strip().lower() != "application/json":
        rule = "must be application/json"
        return 415, ProtocolError("header Content-Type", rule, got=repr(kind))
    return None


def _is_loopback(address: str) -> bool:
    try:
        return urlsplit(address).hostname in LOOPBACK
    except ValueError:
        return False


def _said(fault: EdgeloopError) -> Json:
    return {"error": str(fault), "number": fault.number}
