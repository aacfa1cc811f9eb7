"""Downloads: resumed, verified, bounded in size and slowness."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgeloop.agent.blobs import RESERVE, Blobs
from edgeloop.agent.transport import Pace, Reply, bounded
from edgeloop.errors import DigestError, DiskFullError, ProtocolError, UnreachableError
from edgeloop.testing.clock import FakeClock
from edgeloop.types import Layer

DATA = bytes(range(256)) * 40
DIGEST = "sha256:" + hashlib.sha256(DATA).hexdigest()
LAYER = Layer(name="model.onnx", digest=DIGEST, size=len(DATA))


class Server:
    """Gives ``data`` in pieces; breaks off after ``breaks`` bytes, waits ``pause`` per piece."""

    def __init__(self, clock: FakeClock, data: bytes = DATA) -> None:
        self.clock, self.data = clock, data
        self.breaks: int | None = None
        self.pause = 0.0
        self.resumes = True
        self.asked: list[int] = []

    def read(self, digest: str, first: int, most: int) -> Reply:
        assert digest == DIGEST
        self.asked.append(first)
        status = 206 if first and self.resumes else 200
        body = self.data[first:] if status == 206 else self.data
        most = most if self.resumes or not first else len(self.data)
        return Reply(status=status, headers={}, chunks=bounded("x", self._pieces(body), most))

    def _pieces(self, body: bytes) -> Iterator[bytes]:
        sent = 0
        for start in range(0, len(body), 100):
            if self.breaks is not None and sent >= self.breaks:
                raise UnreachableError("x", "must answer", got="ProtocolError")
            self.clock.sleep(self.pause)
            yield body[start : start + 100]
            sent += 100


@pytest.fixture
def server(clock: FakeClock) -> Server:
    return Server(clock)


@pytest.fixture
def blobs(tmp_path: Path, server: Server, clock: FakeClock) -> Blobs:
    return Blobs(tmp_path, server.read, clock, Pace())


def test_a_blob_is_fetched_once_and_cannot_be_written(blobs: Blobs, server: Server) -> None:
    assert blobs.get(LAYER).read_bytes() == DATA
    blobs.get(LAYER)
    assert server.asked == [0]
    assert blobs.path(DIGEST).stat().st_mode & 0o222 == 0


def test_a_download_that_broke_off_resumes_where_it_was(blobs: Blobs, server: Server) -> None:
    server.breaks = 3000
    with pytest.raises(UnreachableError):
        blobs.get(LAYER)
    server.breaks = None
    assert blobs.get(LAYER).read_bytes() == DATA
    assert server.asked == [0, 3000]


def test_a_server_that_cannot_resume_gives_all_of_it_again(blobs: Blobs, server: Server) -> None:
    server.breaks = 3000
    with pytest.raises(UnreachableError):
        blobs.get(LAYER)
    server.breaks, server.resumes = None, False
    assert blobs.get(LAYER).read_bytes() == DATA
    assert server.asked == [0, 3000, 0]


def test_a_blob_with_a_changed_byte_is_refused_and_removed(
    blobs: Blobs, server: Server, tmp_path: Path
) -> None:
    server.data = DATA[:-1] + b"!"
    got = hashlib.sha256(server.data).hexdigest()
    for times in (2, 3, 4):  # in between the agent waits, as for a server that does not answer
        with pytest.raises(UnreachableError) as unreached:
            blobs.get(LAYER)
        assert str(unreached.value) == (
            f"[E601] blob {DIGEST} must come unchanged, got other bytes, {times} times"
        )
    with pytest.raises(DigestError) as caught:
        blobs.get(LAYER)
    assert str(caught.value) == (
        f"[E202] blob {DIGEST} must have that digest and 10240 bytes, got sha256:{got} and "
        "10240 bytes. It is not installed; the device keeps the slot that it has"
    )
    assert list((tmp_path / "partial").iterdir()) == []
    assert not blobs.path(DIGEST).exists()


def test_a_blob_that_does_not_end_is_broken_off_at_its_declared_size(
    blobs: Blobs, server: Server, tmp_path: Path
) -> None:
    server.data = DATA + bytes(100)
    for _ in (2, 3, 4):
        with pytest.raises(UnreachableError):
            blobs.get(LAYER)
    with pytest.raises(ProtocolError) as caught:
        blobs.get(LAYER)
    assert str(caught.value) == "[E606] reply of x must have at most 10240 bytes"
    assert sum(path.stat().st_size for path in (tmp_path / "partial").iterdir()) <= len(DATA)


def test_a_slow_download_is_broken_off_and_kept(blobs: Blobs, server: Server) -> None:
    server.pause = 1.0  # 100 bytes/s
    with pytest.raises(UnreachableError) as caught:
        blobs.get(LAYER)
    assert str(caught.value) == (
        f"[E601] blob {DIGEST} must come at 1024 bytes/s or more, got 100 bytes/s over 20 s"
    )
    server.pause = 0.0
    blobs.get(LAYER)
    assert server.asked == [0, 2000]


def test_a_download_that_ends_early_is_carried_on_later(blobs: Blobs, server: Server) -> None:
    server.data = DATA[:500]
    with pytest.raises(UnreachableError) as caught:
        blobs.get(LAYER)
    assert str(caught.value) == f"[E601] blob {DIGEST} must have 10240 bytes, got only 500 so far"
    server.data = DATA
    blobs.get(LAYER)
    assert server.asked == [0, 500]


def test_a_full_disk_is_seen_before_anything_is_fetched(
    blobs: Blobs, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(DiskFullError) as caught:
        blobs.get(LAYER)
    assert str(caught.value) == (
        f"[E203] disk of {tmp_path / 'blobs'} must have room for 8398848 bytes, got 1000 bytes "
        "free. Free space; the device keeps the slot that it has"
    )
    assert server.asked == []


def test_a_blob_that_changed_on_disk_is_found_and_removed(blobs: Blobs) -> None:
    path = blobs.get(LAYER)
    path.chmod(0o644)
    path.write_bytes(DATA[:-1] + b"!")
    with pytest.raises(DigestError):
        blobs.verify(LAYER)
    assert not path.exists()


def test_an_empty_blob_is_a_blob(blobs: Blobs) -> None:
    digest = "sha256:" + hashlib.sha256(b"").hexdigest()
    assert blobs.get(Layer(name="empty", digest=digest, size=0)).read_bytes() == b""


def test_what_no_slot_needs_is_removed(blobs: Blobs, tmp_path: Path) -> None:
    blobs.get(LAYER)
    (tmp_path / "partial" / "half").write_bytes(b"x")
    blobs.keep_only(frozenset({DIGEST}))
    assert blobs.path(DIGEST).exists()
    assert list((tmp_path / "partial").iterdir()) == []
    blobs.keep_only(frozenset())
    assert not blobs.path(DIGEST).exists()


def test_a_digest_that_is_a_path_is_refused(blobs: Blobs) -> None:
    with pytest.raises(DigestError) as caught:
        blobs.path("sha256:../../etc/passwd")
    assert str(caught.value) == (
        "[E202] digest 'sha256:../../etc/passwd' must be sha256: and 64 hex digits"
    )


def test_one_wrong_byte_on_the_way_is_fetched_again(blobs: Blobs, server: Server) -> None:
    wrong = [DATA[:-1] + b"!", DATA]
    server._pieces = lambda _: iter([wrong.pop(0)])  # type: ignore[method-assign]
    assert blobs.get(LAYER).read_bytes() == DATA
    assert server.asked == [0, 0]


def test_a_reply_that_is_too_long_is_fetched_again(blobs: Blobs, server: Server) -> None:
    wrong = [DATA + b"!", DATA]
    server._pieces = lambda _: iter([wrong.pop(0)])  # type: ignore[method-assign]
    assert blobs.get(LAYER).read_bytes() == DATA


def test_wrong_bytes_are_counted_since_the_last_right_ones(blobs: Blobs, server: Server) -> None:
    came = [DATA[:-1] + b"!", DATA] * 3
    server._pieces = lambda _: iter([came.pop(0)])  # type: ignore[method-assign]
    for _ in range(3):
        blobs.get(LAYER).unlink()


def test_what_was_fetched_before_needs_no_room_again(
    blobs: Blobs, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.breaks = 3000
    with pytest.raises(UnreachableError):
        blobs.get(LAYER)
    server.breaks = None
    room = SimpleNamespace(free=len(DATA) - 3000 + RESERVE)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: room)
    assert blobs.get(LAYER).read_bytes() == DATA
