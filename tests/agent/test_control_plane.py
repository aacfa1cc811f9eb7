"""What the agent says to the control plane, and makes of its replies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import pytest

from edgeloop.agent.control_plane import ControlPlane
from edgeloop.agent.transport import Reply
from edgeloop.errors import (
    ConflictError,
    EdgeloopError,
    ProtocolError,
    UnauthorizedError,
    UnreachableError,
)
from edgeloop.protocol import keys
from edgeloop.protocol.messages import TIME_HEADER, VERSION_HEADER, Desired, Report, State
from edgeloop.protocol.signatures import verify
from edgeloop.testing.clock import FakeClock

URL = "http://plane.test"
REPORT = Report(moves=1, state=State.IDLE, target="linux-x86")


class Server:
    """Answers with what ``script`` says next; checks every signature at ``now``."""

    def __init__(self, now: float) -> None:
        self.key, self.now = keys.generate(), now
        self.script: list[tuple[int, bytes, dict[str, str]]] = []
        self.headers: list[Mapping[str, str]] = []

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, max_bytes: int
    ) -> Reply:
        assert max_bytes > 0
        self.headers.append(headers)
        status, said, about = self.script.pop(0)
        if status != 401 and url.startswith(f"{URL}/"):
            verify(self.key.public_key(), method, url, headers, body, self.now)
        return Reply(status=status, headers=about, chunks=iter([said]))


@pytest.fixture
def server(clock: FakeClock) -> Server:
    return Server(clock.now())


@pytest.fixture
def plane(server: Server, clock: FakeClock) -> ControlPlane:
    return ControlPlane(URL, server.key, "d1", server, clock)


def test_every_request_is_signed_and_says_its_version(plane: ControlPlane, server: Server) -> None:
    server.script = [(200, b"{}", {})]
    plane.report(REPORT)
    assert server.headers[0][VERSION_HEADER] == "1"
    assert 'keyid="d1"' in server.headers[0]["Signature-Input"]


def test_an_etag_is_sent_back_and_304_means_no_change(plane: ControlPlane, server: Server) -> None:
    server.script = [(200, b'{"poll_seconds": 2}', {"etag": '"x"'}), (304, b"", {})]
    assert plane.desired() == Desired(poll_seconds=2)
    assert plane.desired() is None
    assert server.headers[1]["If-None-Match"] == '"x"'


def test_a_wish_that_changed_on_its_way_is_not_taken(plane: ControlPlane, server: Server) -> None:
    body = b'{"poll_seconds": 2}'
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    server.script = [(200, b'{"poll_seconds": 3}', {"etag": tag}), (200, body, {"etag": tag})]
    with pytest.raises(ProtocolError) as caught:
        plane.desired()
    assert str(caught.value) == (
        "[E606] reply of http://plane.test must come unchanged, got other bytes"
    )
    assert plane.desired() == Desired(poll_seconds=2)
    assert "If-None-Match" not in server.headers[1]


def test_a_wrong_clock_is_corrected_by_the_servers_time(
    plane: ControlPlane, server: Server, clock: FakeClock
) -> None:
    clock.jump(-86_400)
    told = {TIME_HEADER.lower(): str(server.now)}
    server.script = [(401, b"", told), (200, b"{}", {}), (200, b"{}", {})]
    plane.report(REPORT)
    plane.report(REPORT)
    assert len(server.headers) == 3


def test_a_refusal_with_the_right_time_is_not_tried_again(
    plane: ControlPlane, server: Server
) -> None:
    told = {TIME_HEADER.lower(): str(server.now)}
    server.script = [(401, b'{"error": {"number": "E602", "message": "unknown device"}}', told)]
    with pytest.raises(UnauthorizedError) as caught:
        plane.report(REPORT)
    assert str(caught.value) == (
        "[E602] control plane http://plane.test must accept the request, got unknown device"
    )


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ProtocolError),
        (403, UnauthorizedError),
        (409, ConflictError),
        (426, ProtocolError),
        (500, UnreachableError),
        (503, UnreachableError),
    ],
)
def test_a_status_has_its_error(
    plane: ControlPlane, server: Server, status: int, kind: type[EdgeloopError]
) -> None:
    server.script = [(status, b"<html>", {})]
    with pytest.raises(kind) as caught:
        plane.report(REPORT)
    assert str(caught.value) == (
        f"[{kind.number}] control plane http://plane.test must accept the request, "
        f"got status {status}"
    )


def test_a_reply_of_another_form_is_refused(plane: ControlPlane, server: Server) -> None:
    server.script = [(200, json.dumps({"poll_seconds": "soon"}).encode(), {})]
    with pytest.raises(ProtocolError) as caught:
        plane.desired()
    assert str(caught.value) == (
        "[E606] reply of http://plane.test must be a Desired of protocol 1, got 1 faults"
    )


def test_a_file_that_is_not_there_says_its_status(plane: ControlPlane, server: Server) -> None:
    server.script = [(404, b"", {})]
    with pytest.raises(UnreachableError) as caught:
        list(plane.fetch(f"{URL}/tuf/2.root.json", 100))
    assert caught.value.got == 404


def test_a_blob_is_asked_for_from_where_it_broke_off(plane: ControlPlane, server: Server) -> None:
    server.script = [(206, b"rest", {})]
    reply = plane.read_from(f"{URL}/blobs/sha256/aa", 100, 4)
    assert server.headers[0]["Range"] == "bytes=100-"
    assert b"".join(reply.chunks) == b"rest"


@pytest.mark.parametrize("said", ["inf", "1e300", "nan", "0", "-1e18", "soon", ""])
def test_a_time_that_no_clock_shows_is_not_believed(
    plane: ControlPlane, server: Server, said: str
) -> None:
    server.script = [(401, b"", {TIME_HEADER.lower(): said}), (200, b"{}", {})]
    with pytest.raises(UnauthorizedError):
        plane.report(REPORT)
    plane.report(REPORT)


@pytest.mark.parametrize("elsewhere", ["http://cache.test/x", "http://plane.test.evil/x"])
def test_the_time_of_another_server_is_not_believed(
    plane: ControlPlane, server: Server, elsewhere: str
) -> None:
    told = {TIME_HEADER.lower(): str(server.now + 86_400)}
    server.script = [(401, b"", told), (200, b"{}", {})]
    with pytest.raises(UnreachableError):
        plane.read_from(elsewhere, 0, 10)
    plane.report(REPORT)


def test_another_server_is_not_told_who_asks(plane: ControlPlane, server: Server) -> None:
    server.script = [(206, b"rest", {}), (200, b"rest", {})]
    plane.read_from("http://cache.test/blobs/aa", 100, 4)
    list(plane.fetch("http://plane.test.evil/tuf/1.root.json", 4))
    assert server.headers == [{"Range": "bytes=100-"}, {}]
