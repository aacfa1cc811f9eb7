"""Bytes over real sockets on this machine: bounded, never waited for without end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from edgeloop.agent.transport import Pace, Urllib3Transport, paced
from edgeloop.errors import ProtocolError, UnreachableError
from edgeloop.testing.clock import FakeClock


class Handler(BaseHTTPRequestHandler):
    """``/big`` has 5,000 bytes, ``/short`` says so and has 10, ``/moved`` points elsewhere."""

    def do_GET(self) -> None:
        moved = self.path == "/moved"
        self.send_response(302 if moved else 200)
        self.send_header("Content-Length", "0" if moved else "5000")
        self.send_header("Location", "/big")
        self.end_headers()
        if not moved:
            self.wfile.write(bytes(10 if self.path == "/short" else 5000))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Got", self.headers["X-Sent"])
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_request_comes_back_with_status_headers_and_body(url: str) -> None:
    reply = Urllib3Transport().send("POST", url, {"X-Sent": "yes"}, b"hello", 100)
    assert (reply.status, reply.headers["x-got"], b"".join(reply.chunks)) == (200, "yes", b"hello")


def test_a_body_larger_than_allowed_is_broken_off(url: str) -> None:
    reply = Urllib3Transport().send("GET", f"{url}/big", {}, b"", 4999)
    with pytest.raises(ProtocolError) as caught:
        b"".join(reply.chunks)
    assert str(caught.value) == f"[E606] reply of {url}/big must have at most 4999 bytes"


def test_a_body_that_breaks_off_is_unreachable(url: str) -> None:
    reply = Urllib3Transport().send("GET", f"{url}/short", {}, b"", 5000)
    with pytest.raises(UnreachableError) as caught:
        b"".join(reply.chunks)
    assert str(caught.value) == (
        f"[E601] {url}/short must answer, got Connection broken: "
        "IncompleteRead(10 bytes read, 4990 more expected)"
    )


def test_a_redirect_is_not_followed(url: str) -> None:
    reply = Urllib3Transport().send("GET", f"{url}/moved", {}, b"", 5000)
    assert reply.status == 302


def test_nobody_there_is_unreachable() -> None:
    with pytest.raises(UnreachableError) as caught:
        Urllib3Transport().send("GET", "http://127.0.0.1:9/", {}, b"", 10)
    assert str(caught.value) == (
        "[E601] http://127.0.0.1:9/ must answer, got HTTPConnection(host='127.0.0.1', port=9): "
        "Failed to establish a new connection: [Errno 111] Connection refused"
    )


def test_a_trickle_is_broken_off() -> None:
    clock = FakeClock()

    def trickle() -> Iterator[bytes]:
        while True:
            clock.sleep(5)
            yield b"x"

    with pytest.raises(UnreachableError) as caught:
        list(paced("it", trickle(), clock, Pace(bytes_per_second=10, window_seconds=20)))
    assert str(caught.value) == (
        "[E601] it must come at 10 bytes/s or more, got 0 bytes/s over 20 s"
    )


@pytest.mark.parametrize(
    "begin",
    [
        b"HTTP/1.1 200 OK\r\nX-A: ",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=",
    ],
)
def test_a_trickle_outside_the_body_is_broken_off(
    begin: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeloop.agent.transport.HEAD_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=trickle_to, args=(server, begin))
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with pytest.raises(UnreachableError) as caught:
            b"".join(Urllib3Transport().send("GET", url, {}, b"", 100).chunks)
        thread.join(10)
    assert not thread.is_alive()
    assert str(caught.value) == "[E601] 127.0.0.1 must answer within 0.3 s"


def trickle_to(server: socket.socket, begin: bytes) -> None:
    """Send a byte now and then until the other side is gone."""
    connection, _ = server.accept()
    with connection, suppress(OSError):
        connection.recv(65536)
        connection.sendall(begin)
        while True:
            connection.sendall(b"a")
            time.sleep(0.02)
