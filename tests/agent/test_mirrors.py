"""Blobs come from the nearest place that has them, over real HTTP servers and from a folder."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edgeloop.agent.blobs import Blobs
from edgeloop.agent.mirrors import Mirrors
from edgeloop.agent.sources import Server, source
from edgeloop.agent.transport import Pace, Reply, Urllib3Transport
from edgeloop.clock import SystemClock
from edgeloop.errors import EdgeloopError, UnreachableError
from edgeloop.testing.clock import FakeClock
from edgeloop.types import Layer

DATA = bytes(range(256)) * 1000
HEX = hashlib.sha256(DATA).hexdigest()
LAYER = Layer(name="model.onnx", digest=f"sha256:{HEX}", size=len(DATA))
BRISK = Pace(bytes_per_second=1e3, window_seconds=1.0)  # a busy machine keeps it, a drip not


class Handler(BaseHTTPRequestHandler):
    """Serves ``DATA`` at the server's path, as the server was told to behave."""

    place: Place

    def do_GET(self) -> None:
        self.place.asked.append((self.path, dict(self.headers.items())))
        self.place.behave(self)

    def give(self, data: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Place:
    """A server, what it was asked, and how it behaves."""

    behave: Callable[[Handler], None]
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""


class Quiet(ThreadingHTTPServer):
    daemon_threads = False  # each is over before the test is

    def handle_error(self, *_: object) -> None:
        """A device that leaves us is no news."""


@contextmanager
def serving(behave: Callable[[Handler], None]) -> Iterator[Place]:
    place = Place(behave)
    server = Quiet(("127.0.0.1", 0), type("Told", (Handler,), {"place": place}))
    place.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield place
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def good(handler: Handler) -> None:
    """Plain and whole; it resumes."""
    first = int(handler.headers.get("Range", "bytes=0-")[6:-1])
    handler.give(DATA[first:], 206 if first else 200)


def whole(handler: Handler) -> None:
    """As many small servers are: it cannot resume."""
    handler.give(DATA)


def wrong(handler: Handler) -> None:
    handler.give(DATA[:-1] + b"?")


def endless(handler: Handler) -> None:
    handler.give(DATA + DATA)


def missing(handler: Handler) -> None:
    handler.give(b"", 404)


def broken(handler: Handler) -> None:
    handler.give(b"", 500)


def half(handler: Handler) -> None:
    """The line breaks in the middle."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(DATA)))
    handler.end_headers()
    handler.wfile.write(DATA[: len(DATA) // 2])


def dripping(handler: Handler) -> None:
    """A byte now and then, for as long as somebody listens."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(DATA)))
    handler.end_headers()
    for byte in DATA:
        handler.wfile.write(bytes([byte]))
        time.sleep(0.05)


class Device:
    """A folder of blobs, mirrors in order, and a control plane that knows who asks."""

    def __init__(self, folder: Path, control_plane: Place, *mirrors: str) -> None:
        self.transport = Urllib3Transport()
        self.plane, self.asked_plane = control_plane, 0
        places = [source(address, self.transport) for address in mirrors]
        server = Server(name="plane", read=self._read)
        clock = SystemClock()
        self.mirrors = Mirrors(places, server, clock, BRISK)
        self.blobs = Blobs(folder, self.mirrors.read, clock, Pace(bytes_per_second=0))

    def _read(self, digest: str, first: int, most: int) -> Reply:
        self.asked_plane += 1
        headers = {"Range": f"bytes={first}-", "Signature": "s"}
        return self.transport.send("GET", f"{self.plane.url}/{digest}", headers, b"", most)

    def fetch(self) -> int:
        """How often the control plane was asked for the blob, which is here now."""
        assert self.blobs.get(LAYER).read_bytes() == DATA
        return self.asked_plane


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_a_mirror_is_asked_first_and_not_told_who_asks(tmp_path: Path, stack: ExitStack) -> None:
    plane, mirror = (stack.enter_context(serving(good)) for _ in range(2))
    assert Device(tmp_path, plane, f"{mirror.url}/models/").fetch() == 0
    ((path, headers),) = mirror.asked
    assert path == f"/models/{HEX}"
    assert {name.lower() for name in headers} <= {"host", "user-agent", "accept-encoding"}


@pytest.mark.parametrize("behave", [missing, broken, half, dripping, endless, wrong])
def test_a_mirror_that_fails_is_left_for_the_next(
    tmp_path: Path, stack: ExitStack, behave: Callable[[Handler], None]
) -> None:
    plane, bad, mirror = (stack.enter_context(serving(b)) for b in (good, behave, good))
    asked = Device(tmp_path, plane, bad.url, mirror.url).fetch()
    assert len(bad.asked) == 1
    assert asked == (1 if behave is wrong else 0)  # wrong bytes: no mirror is tried again


def test_the_next_place_goes_on_behind_the_bytes_that_came(
    tmp_path: Path, stack: ExitStack
) -> None:
    plane, bad, mirror = (stack.enter_context(serving(b)) for b in (good, half, good))
    Device(tmp_path, plane, bad.url, mirror.url).fetch()
    assert mirror.asked[0][1]["Range"] == f"bytes={len(DATA) // 2}-"


def test_a_mirror_that_cannot_resume_is_read_from_its_start(
    tmp_path: Path, stack: ExitStack
) -> None:
    plane, bad, mirror = (stack.enter_context(serving(b)) for b in (missing, half, whole))
    assert Device(tmp_path, plane, bad.url, mirror.url).fetch() == 0


def test_many_mirrors_of_wrong_bytes_hold_up_nothing(tmp_path: Path, stack: ExitStack) -> None:
    plane = stack.enter_context(serving(good))
    bad = [stack.enter_context(serving(wrong)).url for _ in range(4)]
    assert Device(tmp_path, plane, *bad).fetch() == 1


def test_a_mirror_that_failed_rests_and_one_that_lacks_a_blob_does_not(
    tmp_path: Path, stack: ExitStack
) -> None:
    plane, bad, lacking = (stack.enter_context(serving(b)) for b in (good, broken, missing))
    device = Device(tmp_path, plane, bad.url, lacking.url)
    for _ in range(3):
        device.fetch()
        device.blobs.path(LAYER.digest).unlink()
    assert (len(bad.asked), len(lacking.asked)) == (1, 3)


def test_when_every_place_fails_the_control_planes_fault_is_told(
    tmp_path: Path, stack: ExitStack
) -> None:
    plane, bad = (stack.enter_context(serving(b)) for b in (half, broken))
    with pytest.raises(UnreachableError) as caught:
        Device(tmp_path, plane, bad.url).fetch()
    assert "IncompleteRead" in str(caught.value)


def test_a_stick_is_a_mirror_and_what_it_lacks_comes_from_elsewhere(
    tmp_path: Path, stack: ExitStack
) -> None:
    plane = stack.enter_context(serving(good))
    stick = tmp_path / "my stick" / "sha256"
    device = Device(tmp_path / "device", plane, f"file://{tmp_path}/my%20stick/sha256")
    assert device.fetch() == 1  # it is not plugged in
    device.blobs.path(LAYER.digest).unlink()
    stick.mkdir(parents=True)
    (stick / HEX).write_bytes(DATA)
    assert device.fetch() == 1


WHY = {
    "link": "must be there, got Too many levels of symbolic links",
    "folder": "must be a plain file",
    "short": f"why=ended {len(DATA) - 1000} bytes early",
    "long": "why=wrong bytes",
}


@pytest.mark.parametrize("kind", WHY)
def test_what_is_no_whole_file_on_a_stick_is_not_taken(
    tmp_path: Path, stack: ExitStack, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    plane = stack.enter_context(serving(good))
    file = tmp_path / HEX
    match kind:
        case "link":
            file.symlink_to("/dev/zero")
        case "folder":
            file.mkdir()
        case "short":
            file.write_bytes(DATA[:1000])
        case "long":
            file.write_bytes(b"x" + DATA)
    assert Device(tmp_path / "device", plane, f"file://{tmp_path}").fetch() == 1
    line = caplog.messages[-1]
    assert line.endswith(WHY[kind])


def test_a_pipe_on_a_stick_is_not_read_from(tmp_path: Path, stack: ExitStack) -> None:
    """To read from a device or a pipe is to do something to it."""
    plane = stack.enter_context(serving(good))
    os.mkfifo(tmp_path / HEX)
    pipe = os.open(tmp_path / HEX, os.O_RDWR | os.O_NONBLOCK)
    stack.callback(os.close, pipe)
    os.write(pipe, b"mine")
    assert Device(tmp_path / "device", plane, f"file://{tmp_path}").fetch() == 1
    assert os.read(pipe, 10) == b"mine"


class Registry:
    """The route of the OCI distribution specification for blobs, with anonymous tokens."""

    def __init__(self, *, redirect: str = "") -> None:
        self.redirect, self.url = redirect, ""

    def __call__(self, handler: Handler) -> None:
        path, _, query = handler.path.partition("?")
        if path == "/token":
            assert query == "service=registry&scope=repository%3Aacme%2Fmodels%3Apull"
            handler.give(json.dumps({"token": "anybody"}).encode())
        elif path != f"/v2/acme/models/blobs/sha256:{HEX}":
            handler.give(b"", 404)
        elif handler.headers.get("Authorization") != "Bearer anybody":
            told = (
                f'realm="{self.url}/token",service="registry",scope="repository:acme/models:pull"'
            )
            handler.give(b"", 401, WWW_Authenticate=f"Bearer {told}")
        elif self.redirect:
            handler.give(b"", 307, Location=self.redirect)
        else:
            good(handler)


def test_a_registry_is_asked_as_its_specification_says(tmp_path: Path, stack: ExitStack) -> None:
    registry = Registry()
    plane, mirror = (stack.enter_context(serving(b)) for b in (good, registry))
    registry.url = mirror.url
    assert Device(tmp_path, plane, f"oci+{mirror.url}/acme/models").fetch() == 0


def test_a_registry_may_send_on_to_its_storage_which_gets_no_token(
    tmp_path: Path, stack: ExitStack
) -> None:
    plane, storage = (stack.enter_context(serving(good)) for _ in range(2))
    registry = Registry(redirect=f"{storage.url}/bucket/x")
    mirror = stack.enter_context(serving(registry))
    registry.url = mirror.url
    assert Device(tmp_path, plane, f"oci+{mirror.url}/acme/models").fetch() == 0
    ((path, headers),) = storage.asked
    assert path == "/bucket/x"
    assert "Authorization" not in headers


def test_a_mirror_that_sends_on_for_ever_is_left(tmp_path: Path, stack: ExitStack) -> None:
    plane = stack.enter_context(serving(good))
    mirror = stack.enter_context(serving(lambda h: h.give(b"", 302, Location="/again")))
    assert Device(tmp_path, plane, mirror.url).fetch() == 1
    assert len(mirror.asked) == 4


class SendsOn:
    """A transport whose every reply sends the asker to another address."""

    def __init__(self, place: str) -> None:
        self.place, self.asked = place, []

    def send(self, _method: str, url: str, *_: object) -> Reply:
        self.asked.append(url)
        return Reply(status=302, headers={"location": self.place}, chunks=iter(()))


def test_a_mirror_over_https_does_not_send_on_to_where_anybody_can_listen() -> None:
    transport = SendsOn("http://other/x")
    with pytest.raises(UnreachableError) as caught:
        source("https://mirror/blobs", transport).open(LAYER.digest, 0, LAYER.size)
    assert str(caught.value) == (
        "[E601] https://mirror/blobs must send on to https, got http://other/x"
    )
    assert transport.asked == [f"https://mirror/blobs/{HEX}"]


class Drip:
    """A transport on a clock of its own: a byte every nine seconds, which no socket times out."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock

    def send(self, *_: object) -> Reply:
        return Reply(status=200, headers={}, chunks=self._bytes())

    def _bytes(self) -> Iterator[bytes]:
        while True:
            self.clock.sleep(9)
            yield b"x"


def test_a_mirror_that_drips_is_left_within_a_minute() -> None:
    clock, left = FakeClock(), []

    def server(*_: object) -> Reply:
        left.append(clock.monotonic())
        raise UnreachableError("plane", "must answer")

    began = clock.monotonic()
    mirrors = Mirrors(
        [source("http://slow", Drip(clock))], Server(name="plane", read=server), clock, Pace()
    )
    with pytest.raises(EdgeloopError):
        list(mirrors.read(LAYER.digest, 0, LAYER.size).chunks)
    assert left[0] - began <= 60
